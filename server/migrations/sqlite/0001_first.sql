-- Times are milliseconds since 1970 in UTC; maps are JSON texts. Types and
-- statements are the ones that SQLite and MySQL have in common.

CREATE TABLE hosts (
    id         VARCHAR(36)  NOT NULL PRIMARY KEY,   -- AgentSN: the certificate's common name
    name       VARCHAR(255) NOT NULL DEFAULT '',    -- for display
    region     VARCHAR(255),                        -- the operator's or the token's; NULL: the agent's own
    tags       TEXT,                                -- as region
    own_region VARCHAR(255) NOT NULL DEFAULT '',    -- what the agent says of itself
    own_tags   TEXT         NOT NULL,
    status     VARCHAR(16)  NOT NULL DEFAULT 'unknown',   -- unknown, online, offline
    version    VARCHAR(255) NOT NULL DEFAULT '',
    address    VARCHAR(64)  NOT NULL DEFAULT '',
    boot       VARCHAR(255) NOT NULL DEFAULT '',    -- the kernel's boot id
    last_seen  BIGINT,
    revoked    BIGINT,
    gmt_create BIGINT       NOT NULL,
    gmt_modify BIGINT       NOT NULL
);
CREATE INDEX hosts_name ON hosts (name);

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
);

CREATE TABLE tokens (
    id         VARCHAR(36)  NOT NULL PRIMARY KEY,
    hash       VARCHAR(64)  NOT NULL UNIQUE,        -- SHA-256 of the secret, in hex
    uses       BIGINT       NOT NULL,               -- that are left
    region     VARCHAR(255),
    tags       TEXT,
    expires    BIGINT       NOT NULL,
    gmt_create BIGINT       NOT NULL
);

CREATE TABLE requests (
    id         VARCHAR(128) NOT NULL PRIMARY KEY,
    digest     VARCHAR(64)  NOT NULL,               -- SHA-256 of what was asked of whom, in hex
    method     VARCHAR(255) NOT NULL,
    cmd        TEXT,
    params     TEXT         NOT NULL,
    targets    TEXT         NOT NULL,               -- [{"host","name"?}] in the order asked
    hosts      BIGINT       NOT NULL,
    succeeded  BIGINT       NOT NULL DEFAULT 0,
    failed     BIGINT       NOT NULL DEFAULT 0,
    deadline   BIGINT       NOT NULL,
    finished   BIGINT,
    gmt_create BIGINT       NOT NULL
);
CREATE INDEX requests_create ON requests (gmt_create, id);

-- Outputs live apart, so that a list of requests never loads them.
CREATE TABLE results (
    request    VARCHAR(128) NOT NULL,
    position   BIGINT       NOT NULL,               -- in requests.targets
    host       VARCHAR(255) NOT NULL,
    retcode    BIGINT       NOT NULL,
    finished   BIGINT       NOT NULL,
    entry      TEXT         NOT NULL,               -- as the interface shows it
    PRIMARY KEY (request, position)
);
