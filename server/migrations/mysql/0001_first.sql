-- The same tables as SQLite's. Times are milliseconds since 1970 in UTC; maps are JSON texts, which
-- may be longer than the 64 KiB of a TEXT. All of them are in the database's own collation, which
-- polaris sets before: by code points, and with the blanks at the end, as SQLite compares.

CREATE TABLE hosts (
    id         VARCHAR(36)  NOT NULL PRIMARY KEY,   -- AgentSN: the certificate's common name
    name       VARCHAR(255) NOT NULL DEFAULT '',    -- for display
    region     VARCHAR(255),                        -- the operator's or the token's; NULL: the agent's own
    tags       MEDIUMTEXT,                          -- as region
    own_region VARCHAR(255) NOT NULL DEFAULT '',    -- what the agent says of itself
    own_tags   MEDIUMTEXT   NOT NULL,
    status     VARCHAR(16)  NOT NULL DEFAULT 'unknown',   -- unknown, online, offline
    version    VARCHAR(255) NOT NULL DEFAULT '',
    address    VARCHAR(64)  NOT NULL DEFAULT '',
    boot       VARCHAR(255) NOT NULL DEFAULT '',    -- the kernel's boot id
    last_seen  BIGINT,
    revoked    BIGINT,
    gmt_create BIGINT       NOT NULL,
    gmt_modify BIGINT       NOT NULL,
    INDEX hosts_name (name)
) ENGINE = InnoDB;

CREATE TABLE plugins (
    id         VARCHAR(36)  NOT NULL PRIMARY KEY,
    name       VARCHAR(128) NOT NULL,
    version    VARCHAR(64)  NOT NULL,
    arch       VARCHAR(32)  NOT NULL DEFAULT '',
    os         VARCHAR(32)  NOT NULL DEFAULT '',
    file       VARCHAR(255) NOT NULL DEFAULT '',
    checksum   VARCHAR(128) NOT NULL DEFAULT '',
    gmt_create BIGINT       NOT NULL,
    gmt_modify BIGINT       NOT NULL,
    UNIQUE (name, version, arch, os)
) ENGINE = InnoDB;

CREATE TABLE tokens (
    id         VARCHAR(36)  NOT NULL PRIMARY KEY,
    hash       VARCHAR(64)  NOT NULL UNIQUE,        -- SHA-256 of the secret, in hex
    uses       BIGINT       NOT NULL,               -- that are left
    region     VARCHAR(255),
    tags       MEDIUMTEXT,
    expires    BIGINT       NOT NULL,
    gmt_create BIGINT       NOT NULL
) ENGINE = InnoDB;

CREATE TABLE requests (
    id         VARCHAR(128) NOT NULL PRIMARY KEY,
    digest     VARCHAR(64)  NOT NULL,               -- SHA-256 of what was asked of whom, in hex
    method     VARCHAR(255) NOT NULL,
    cmd        MEDIUMTEXT,
    params     MEDIUMTEXT   NOT NULL,
    targets    MEDIUMTEXT   NOT NULL,               -- [{"host","name"?}] in the order asked
    hosts      BIGINT       NOT NULL,
    succeeded  BIGINT       NOT NULL DEFAULT 0,
    failed     BIGINT       NOT NULL DEFAULT 0,
    deadline   BIGINT       NOT NULL,
    finished   BIGINT,
    gmt_create BIGINT       NOT NULL,
    INDEX requests_create (gmt_create, id)
) ENGINE = InnoDB;

-- Outputs live apart, so that a list of requests never loads them.
CREATE TABLE results (
    request    VARCHAR(128) NOT NULL,
    position   BIGINT       NOT NULL,               -- in requests.targets
    host       VARCHAR(255) NOT NULL,
    retcode    BIGINT       NOT NULL,
    finished   BIGINT       NOT NULL,
    entry      MEDIUMTEXT   NOT NULL,               -- as the interface shows it
    PRIMARY KEY (request, position)
) ENGINE = InnoDB;
