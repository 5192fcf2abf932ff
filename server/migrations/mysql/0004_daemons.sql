-- Daemons as their hosts told of them last.
CREATE TABLE daemons (
    host       VARCHAR(36)  NOT NULL,
    name       VARCHAR(64)  NOT NULL,
    version    VARCHAR(64)  NOT NULL,
    status     VARCHAR(16)  NOT NULL,               -- stoped, installing, starting, running, stopping, backoff, killed, fatal
    wanted     VARCHAR(16)  NOT NULL,               -- running, stoped, removed
    pid        BIGINT,
    since      BIGINT       NOT NULL,               -- by the host's clock
    restarts   BIGINT       NOT NULL,
    seq        BIGINT,                              -- of the event that told so; NULL: the host told of all it has
    gmt_modify BIGINT       NOT NULL,               -- when it was told
    PRIMARY KEY (host, name),
    INDEX daemons_name (name, host)
) ENGINE = InnoDB;

-- What daemons came to, and why. One an id, whatever the host sends and however often.
CREATE TABLE daemon_events (
    host       VARCHAR(36)  NOT NULL,
    id         VARCHAR(128) NOT NULL,               -- the host's name for it
    daemon     VARCHAR(64)  NOT NULL,
    since      BIGINT       NOT NULL,               -- by the host's clock
    seq        BIGINT       NOT NULL,
    removed    BIGINT       NOT NULL,               -- 1: from then on there was no such daemon
    retcode    BIGINT       NOT NULL,
    detail     MEDIUMTEXT,
    entry      MEDIUMTEXT   NOT NULL,               -- as the interface shows it
    gmt_create BIGINT       NOT NULL,
    PRIMARY KEY (host, id),
    INDEX daemon_events_daemon (host, daemon, gmt_create, seq),
    INDEX daemon_events_removed (host, daemon, removed, since),
    INDEX daemon_events_host (host, gmt_create, seq)
) ENGINE = InnoDB;
