-- What hosts tell of themselves, section by section, as each told it last.
CREATE TABLE facts (
    host       VARCHAR(36)  NOT NULL,
    section    VARCHAR(32)  NOT NULL,
    digest     VARCHAR(64)  NOT NULL,               -- the agent's own
    value      MEDIUMTEXT   NOT NULL,               -- JSON, at most 32 KiB
    gmt_modify BIGINT       NOT NULL,
    PRIMARY KEY (host, section)
) ENGINE = InnoDB;
