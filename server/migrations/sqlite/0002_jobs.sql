-- Jobs as their hosts tell of them. A list of them loads no output.
CREATE TABLE jobs (
    host       VARCHAR(36)  NOT NULL,
    job        VARCHAR(128) NOT NULL,               -- the host's name for it
    request    VARCHAR(128),                        -- that began it; NULL of a run of a cron entry
    cron       VARCHAR(64),                         -- the entry that it is a run of
    cmd        TEXT,                                -- its beginning, where it is known
    state      VARCHAR(16)  NOT NULL,               -- queued, running; done, failed, cancelled, expired, lost
    attempts   BIGINT       NOT NULL DEFAULT 0,
    retcode    BIGINT,                              -- from here on by the host's clock and NULL until the end
    accepted   BIGINT,
    started    BIGINT,
    ended      BIGINT,
    scheduled  BIGINT,
    missed     BIGINT       NOT NULL DEFAULT 0,
    gmt_create BIGINT       NOT NULL,               -- first heard of
    gmt_modify BIGINT       NOT NULL,
    PRIMARY KEY (host, job)
);
CREATE INDEX jobs_create ON jobs (gmt_create, host, job);
CREATE INDEX jobs_host ON jobs (host, gmt_create);
CREATE INDEX jobs_state ON jobs (state, gmt_create);
CREATE INDEX jobs_request ON jobs (request);
CREATE INDEX jobs_cron ON jobs (cron, host, ended);

-- One a job, whatever the host sends and however often: the key is what makes it so.
CREATE TABLE job_results (
    host       VARCHAR(36)  NOT NULL,
    job        VARCHAR(128) NOT NULL,
    entry      TEXT         NOT NULL,               -- as the interface shows it
    gmt_create BIGINT       NOT NULL,
    PRIMARY KEY (host, job)
);

-- Cron entries as their hosts accepted or listed them last.
CREATE TABLE cron (
    host       VARCHAR(36)  NOT NULL,
    name       VARCHAR(64)  NOT NULL,
    entry      TEXT         NOT NULL,               -- JSON object
    gmt_modify BIGINT       NOT NULL,
    PRIMARY KEY (host, name)
);
CREATE INDEX cron_name ON cron (name, host);

-- Requests that wait for their hosts. What they ask for is in the table `requests`.
CREATE TABLE queue (
    request    VARCHAR(128) NOT NULL,
    position   BIGINT       NOT NULL,               -- in requests.targets
    serial     BIGINT       NOT NULL,               -- grows: the order in which a host gets them
    host       VARCHAR(36)  NOT NULL,
    name       VARCHAR(255),                        -- the host's when it was asked
    expires    BIGINT       NOT NULL,
    sent       BIGINT,                              -- NULL: the host cannot have heard of it
    gmt_create BIGINT       NOT NULL,
    PRIMARY KEY (request, position)
);
