-- Supervised daemons. The columns up to `limits`, and the last two, are the seed's (section 3.1);
-- `checksum` and those from `check_timeout` on complete the definition.
CREATE TABLE daemon (
    `name`             CHAR(64) PRIMARY KEY NOT NULL,
    `version`          CHAR(64) NOT NULL,
    `url`              CHAR(512) NOT NULL,
    `checksum`         CHAR(71),
    `precheck`         CHAR(512),
    `precheck_retries` INT,
    `start`            CHAR(512) NOT NULL,
    `start_delay`      INT,
    `stop`             CHAR(512) NOT NULL,
    `stop_timeout`     INT,
    `check`            CHAR(64),
    `check_interval`   INT,
    `user`             CHAR(64),
    `group`            CHAR(64),
    `pidfile`          CHAR(512),
    `socket`           CHAR(512),
    `env`              TEXT,                -- an object, as JSON
    `limits`           TEXT,                -- an object, as JSON
    `check_timeout`    INT,
    `check_failures`   INT,
    `heartbeat`        INT,
    `max_restarts`     INT,
    `restart_window`   INT,
    -- What operators want of it: running, stoped, removed; and whether what runs is to be replaced.
    `wanted`           TEXT NOT NULL,
    `renew`            INT NOT NULL DEFAULT 0,
    -- What it is at, and since when, in milliseconds since 1970.
    `state`            TEXT NOT NULL,
    `since`            INT NOT NULL,
    `restarts`         INT NOT NULL DEFAULT 0,
    `reason`           TEXT,
    -- Its processes: the name of them all, the main one, and the kernel's boot id at that time.
    `family`           TEXT,
    `pid`              INT,
    `pid_start`        INT,
    `boot`             TEXT,
    -- Definitions, as JSON: which one the processes were started for, which one came up last.
    `started`          TEXT,
    `good`             TEXT,
    `installed`        TEXT,                -- the package that is installed, as JSON
    `gmt_modify`       TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    `gmt_create`       TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID;
