-- boot's own. Times are milliseconds since 1970 in UTC.

-- What servers have asked boot to do: each (id, action, name) is done once.
CREATE TABLE boot_job (
    place   INTEGER PRIMARY KEY,                 -- the order in which they came
    id      TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    name    TEXT    NOT NULL,                    -- the agent's; empty where there is none
    job     TEXT    NOT NULL,                    -- as it came, JSON
    server  TEXT    NOT NULL,                    -- whose answer had it, HOST:PORT
    state   TEXT    NOT NULL,                    -- waiting, begun, undone, ended
    before  TEXT,                                -- what was there when it was begun, JSON
    errcode INTEGER,                             -- the result so far
    message TEXT,
    told    INTEGER NOT NULL DEFAULT 0,          -- whether a server has taken that
    came    INTEGER NOT NULL,
    ended   INTEGER,
    UNIQUE (id, action, name)
);

-- What jobs and enrolment have set: servers, step, wanted.
CREATE TABLE boot_setting (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID;
