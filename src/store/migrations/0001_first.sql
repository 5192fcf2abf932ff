-- Times are milliseconds since 1970 in UTC.

-- Requests that were begun, so that none is run twice. Each command adds a row here and one to
-- its neighbour, at their ends: that costs a tenth of what an index or a growing row would.
CREATE TABLE request (
    place  INTEGER PRIMARY KEY,         -- grows with time
    id     TEXT    NOT NULL,
    seen   INTEGER NOT NULL
);
CREATE TABLE reply (
    place  INTEGER PRIMARY KEY,         -- the request's
    frame  BLOB    NOT NULL
);

-- Jobs under way, and the latest that are not.
CREATE TABLE job (
    place      INTEGER PRIMARY KEY,     -- the order of acceptance
    id         TEXT    NOT NULL UNIQUE,
    definition TEXT    NOT NULL,        -- command and terms, as JSON
    state      TEXT    NOT NULL,        -- queued, running, done, failed, cancelled, expired, lost
    accepted   INTEGER NOT NULL,
    due        INTEGER NOT NULL,        -- when the next attempt may begin
    attempts   INTEGER NOT NULL DEFAULT 0,
    started    INTEGER,                 -- the last attempt
    ended      INTEGER,
    retcode    INTEGER,
    cron       TEXT,                    -- the entry that it is a run of
    scheduled  INTEGER,                 -- when that was due
    missed     INTEGER NOT NULL DEFAULT 0,
    pid        INTEGER,                 -- of the last attempt
    pid_start  INTEGER,                 -- its start time, as proc(5) has it
    boot       TEXT                     -- the kernel's boot id at that time
);
CREATE INDEX job_state ON job (state, place);

CREATE TABLE cron (
    name       TEXT PRIMARY KEY,
    definition TEXT    NOT NULL,        -- timing and job, as JSON
    since      INTEGER NOT NULL,        -- when it was first set
    last       INTEGER                  -- the latest time that was seen to
) WITHOUT ROWID;

-- Results that the server has not acknowledged. Numbers are never used twice.
CREATE TABLE outbox (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    frame BLOB    NOT NULL,
    bytes INTEGER NOT NULL,
    bare  INTEGER NOT NULL DEFAULT 0    -- its output was dropped, or there was none
);
