-- Whoever may call: users, their access tokens and sessions; and what was done by whom.

CREATE TABLE users (
    name       VARCHAR(64)  NOT NULL PRIMARY KEY,
    role       VARCHAR(16)  NOT NULL,               -- readonly, operator, admin
    password   VARCHAR(255),                        -- argon2id as PHC string; NULL: access tokens alone
    target     TEXT,                                -- the hosts that the user is limited to; NULL: all
    disabled   BIGINT       NOT NULL DEFAULT 0,     -- 0 or 1
    gmt_create BIGINT       NOT NULL,
    gmt_modify BIGINT       NOT NULL
) ENGINE = InnoDB;

CREATE TABLE access_tokens (
    owner      VARCHAR(64)  NOT NULL,               -- the user
    name       VARCHAR(64)  NOT NULL,
    hash       VARCHAR(64)  NOT NULL UNIQUE,        -- SHA-256 of the secret, in hex
    role       VARCHAR(16)  NOT NULL,               -- what it may at most
    target     TEXT,                                -- as the user's, beside it
    expires    BIGINT,
    used       BIGINT,
    gmt_create BIGINT       NOT NULL,
    PRIMARY KEY (owner, name)
) ENGINE = InnoDB;

CREATE TABLE sessions (
    hash       VARCHAR(64)  NOT NULL PRIMARY KEY,   -- SHA-256 of the cookie, in hex
    owner      VARCHAR(64)  NOT NULL,
    used       BIGINT       NOT NULL,
    expires    BIGINT       NOT NULL,               -- however much it is used
    gmt_create BIGINT       NOT NULL
) ENGINE = InnoDB;
CREATE INDEX sessions_owner ON sessions (owner);

CREATE TABLE audit (
    id         BIGINT       NOT NULL PRIMARY KEY,   -- grows
    who        VARCHAR(64)  NOT NULL,               -- the user, or who was claimed to be; '': nobody
    token      VARCHAR(64),                         -- the access token that was shown
    peer       VARCHAR(64)  NOT NULL,               -- the address that the call came from
    method     VARCHAR(16)  NOT NULL,
    path       TEXT         NOT NULL,
    what       TEXT,                                -- of a request to hosts its method, of others what changed
    detail     TEXT,                                -- the request's parameters (JSON), without a login
    target     TEXT,                                -- the expression that selected the hosts
    hosts      BIGINT       NOT NULL DEFAULT 0,     -- how many
    named      MEDIUMTEXT         NOT NULL,               -- [{"host","name"?}], the first of them
    request    VARCHAR(128),                        -- the id in requests
    status     BIGINT,                              -- HTTP; NULL: the caller left before the answer
    gmt_create BIGINT       NOT NULL
) ENGINE = InnoDB;
CREATE INDEX audit_create ON audit (gmt_create);
CREATE INDEX audit_who ON audit (who, id);

ALTER TABLE requests ADD COLUMN who VARCHAR(64);    -- by whom; NULL: from before this was known
CREATE INDEX requests_who ON requests (who, gmt_create, id);
