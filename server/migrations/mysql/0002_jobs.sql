-- Jobs as their hosts tell of them. A list of them loads no output.
CREATE TABLE jobs (
    host       VARCHAR(36)  NOT NULL,
    job        VARCHAR(128) NOT NULL,               -- the host's name for it
    request    VARCHAR(128),                        -- that began it; NULL of a run of a cron entry
    cron       VARCHAR(64),                         -- the entry that it is a run of
    cmd        MEDIUMTEXT,                          -- its beginning, where it is known
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
    PRIMARY KEY (host, job),
    INDEX jobs_create (gmt_create, host, job),
    INDEX jobs_host (host, gmt_create),
    INDEX jobs_state (state, gmt_create),
    INDEX jobs_request (request),
    INDEX jobs_cron (cron, host, ended)
) ENGINE = InnoDB;

-- One a job, whatever the host sends and however often: the key is what makes it so.
CREATE TABLE job_results (
    host       VARCHAR(36)  NOT NULL,
    job        VARCHAR(128) NOT NULL,
    entry      MEDIUMTEXT   NOT NULL,               -- as the interface shows it
    gmt_create BIGINT       NOT NULL,
    PRIMARY KEY (host, job)
) ENGINE = InnoDB;

-- Cron entries as their hosts accepted or listed them last.
CREATE TABLE cron (
    host       VARCHAR(36)  NOT NULL,
    name       VARCHAR(64)  NOT NULL,
    entry      MEDIUMTEXT   NOT NULL,               -- JSON object
    gmt_modify BIGINT       NOT NULL,
    PRIMARY KEY (host, name),
    INDEX cron_name (name, host)
) ENGINE = InnoDB;

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
) ENGINE = InnoDB;
