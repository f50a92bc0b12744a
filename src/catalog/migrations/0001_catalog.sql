-- The catalog. The same text runs on SQLite and PostgreSQL: TEXT, BIGINT (epoch milliseconds), SMALLINT (0 or 1) only;
-- lists and rules are JSON in TEXT.

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- One row. `next` is the sequence number of the next change: whoever writes locks this row first, so that numbers are
-- given without a gap and in the order of commits.
CREATE TABLE feed (
    one     SMALLINT NOT NULL PRIMARY KEY CHECK (one = 1),
    catalog TEXT     NOT NULL,
    next    BIGINT   NOT NULL
);
INSERT INTO feed (one, catalog, next) VALUES (1, '', 1);

-- `mark` is a random number of the transaction. After a backup is restored the numbers are given again; the marks are not.
CREATE TABLE changes (
    seq   BIGINT NOT NULL PRIMARY KEY,
    kind  TEXT   NOT NULL,
    code  TEXT   NOT NULL,
    at_ms BIGINT NOT NULL,
    mark  BIGINT NOT NULL
);

CREATE TABLE programs (
    code        TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    status      TEXT   NOT NULL,
    attribution TEXT   NOT NULL,
    window_days BIGINT NOT NULL,
    domain      TEXT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);

CREATE TABLE partners (
    code       TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    first_name TEXT   NOT NULL,
    email      TEXT,
    parent     TEXT REFERENCES partners (code),
    programs   TEXT   NOT NULL,
    status     TEXT   NOT NULL,
    allowed    TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX partners_parent ON partners (parent) WHERE parent IS NOT NULL;

-- `plain` is 1 where nothing but code, name and address is set: the edge keeps such a link in 24 bytes and its address.
CREATE TABLE links (
    code              TEXT     NOT NULL PRIMARY KEY,
    name              TEXT     NOT NULL,
    address           TEXT     NOT NULL,
    partner           TEXT REFERENCES partners (code),
    programs          TEXT     NOT NULL,
    rules             TEXT     NOT NULL,
    fallback          TEXT,
    expires_at        BIGINT,
    max_clicks        BIGINT,
    to_hosts          TEXT     NOT NULL,
    click_parameter   TEXT,
    partner_parameter TEXT,
    ad_parameter      TEXT,
    plain             SMALLINT NOT NULL,
    created_at        BIGINT   NOT NULL,
    updated_at        BIGINT   NOT NULL
);
CREATE INDEX links_partner ON links (partner) WHERE partner IS NOT NULL;

CREATE TABLE ads (
    partner     TEXT   NOT NULL REFERENCES partners (code),
    code        TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    description TEXT   NOT NULL,
    media_type  TEXT   NOT NULL,
    start_date  TEXT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (partner, code)
);

CREATE TABLE share_links (
    slug       TEXT   NOT NULL PRIMARY KEY,
    link       TEXT   NOT NULL REFERENCES links (code),
    partner    TEXT   NOT NULL REFERENCES partners (code),
    ad         TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    FOREIGN KEY (partner, ad) REFERENCES ads (partner, code)
);
CREATE INDEX share_links_link ON share_links (link, partner, ad);
CREATE INDEX share_links_partner ON share_links (partner, ad);
