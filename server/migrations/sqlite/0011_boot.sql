-- What each host's boot told last.
CREATE TABLE boot_reports (
    host       VARCHAR(36)  NOT NULL PRIMARY KEY,
    hostname   VARCHAR(255) NOT NULL,               -- as boot has it
    version    VARCHAR(255) NOT NULL,               -- boot's own, as bootagent-1.2.4-x86_64
    uptime     BIGINT       NOT NULL,               -- seconds that boot has run
    step       BIGINT       NOT NULL,               -- seconds until its next report
    packages   TEXT         NOT NULL,               -- the kinds that the host takes: a JSON list
    gmt_modify BIGINT       NOT NULL                -- when it was told
);

-- The agents that boot looks after, as it told last.
CREATE TABLE boot_agents (
    host       VARCHAR(36)  NOT NULL,
    name       VARCHAR(64)  NOT NULL,
    version    VARCHAR(64)  NOT NULL,
    status     VARCHAR(16)  NOT NULL,               -- stoped, running, fatal, killed
    state      VARCHAR(16),                         -- the same exactly, as of a daemon
    uptime     BIGINT       NOT NULL,               -- seconds that it has run
    reason     TEXT,                                -- why it is not as it is wanted
    PRIMARY KEY (host, name)
);
CREATE INDEX boot_agents_name ON boot_agents (name, host);

-- What boot is to do on many hosts.
CREATE TABLE boot_jobs (
    id         VARCHAR(128) NOT NULL PRIMARY KEY,
    seq        BIGINT       NOT NULL,               -- what was made later has a higher one
    action     VARCHAR(16)  NOT NULL,
    name       VARCHAR(64)  NOT NULL,               -- the agent's; '': it is about boot's own settings
    version    VARCHAR(64),                         -- that it is to have; of a catalogue the newest
    who        VARCHAR(64)  NOT NULL,               -- by whom
    target     TEXT,                                -- the expression that selected hosts
    digest     VARCHAR(64)  NOT NULL,               -- SHA-256 of what was asked, in hex
    job        TEXT         NOT NULL,               -- as hosts get it, but for a login and what is in files
    url        TEXT,                                -- with its login, until nobody needs it any more
    files      TEXT         NOT NULL,               -- those of the catalogue: a JSON list, '[]' where it has a url
    hosts      BIGINT       NOT NULL,               -- how many
    batch      BIGINT,                              -- the most hosts that have it at once
    max_errors BIGINT,                              -- the most that may fail
    timeout    BIGINT       NOT NULL,               -- seconds that a host has for it
    expires    BIGINT       NOT NULL,               -- until when hosts may fetch it
    state      VARCHAR(16)  NOT NULL,               -- open, ended, cancelled, stopped
    gmt_create BIGINT       NOT NULL,
    gmt_modify BIGINT       NOT NULL
);
CREATE INDEX boot_jobs_seq ON boot_jobs (seq);
CREATE INDEX boot_jobs_state ON boot_jobs (state, seq);
CREATE INDEX boot_jobs_who ON boot_jobs (who, seq);

-- The same host by host.
CREATE TABLE boot_job_hosts (
    job        VARCHAR(128) NOT NULL,
    host       VARCHAR(36)  NOT NULL,
    position   BIGINT       NOT NULL,               -- in the order asked
    state      VARCHAR(16)  NOT NULL,               -- waiting, sent, done, failed, expired, cancelled
    file       BIGINT,                              -- the place of its file among the job's
    sent       BIGINT,                              -- when it was first given to the host
    due        BIGINT,                              -- until when its result is waited for
    ended      BIGINT,
    errcode    BIGINT,                              -- of its result; 1: it goes on
    message    TEXT,
    PRIMARY KEY (job, host)
);
CREATE INDEX boot_job_hosts_host ON boot_job_hosts (host, state);
CREATE INDEX boot_job_hosts_job ON boot_job_hosts (job, state);
CREATE INDEX boot_job_hosts_due ON boot_job_hosts (state, due);
