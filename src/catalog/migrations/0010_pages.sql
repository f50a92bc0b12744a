-- Pages: how a program's looks, who may log in with a mailed code, and who is logged in.

-- `design` is JSON, as the API takes it.
CREATE TABLE pages (
    program    TEXT   NOT NULL PRIMARY KEY REFERENCES programs (code) ON DELETE CASCADE,
    design     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Pictures and clips of a page: `body` is base64, `digest` names its content in addresses.
CREATE TABLE page_files (
    program    TEXT   NOT NULL REFERENCES programs (code) ON DELETE CASCADE,
    name       TEXT   NOT NULL,
    media_type TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    bytes      BIGINT NOT NULL,
    body       TEXT   NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (program, name)
);

-- A code that was asked for, whether it was mailed or not: nobody can tell from here who is registered. `id` is the hash of
-- what the browser holds; `code` is keyed with that too, so that a copy of this table opens nothing. `program` is empty where it
-- was asked for in the partner center.
CREATE TABLE login_codes (
    id         TEXT   NOT NULL PRIMARY KEY,
    program    TEXT   NOT NULL,
    email      TEXT   NOT NULL,
    code       TEXT   NOT NULL,
    tries      BIGINT NOT NULL,
    used       SMALLINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX login_codes_email ON login_codes (email, created_at);
CREATE INDEX login_codes_end ON login_codes (expires_at);

-- `id` is the hash of what the browser holds. `email` is whose it is; empty: the operator's, who logged in with the admin token.
-- `agent` is the hash of the browser's name: the session of one browser is no other's.
CREATE TABLE sessions (
    id         TEXT   NOT NULL PRIMARY KEY,
    email      TEXT   NOT NULL,
    agent      TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_email ON sessions (email);
CREATE INDEX sessions_end ON sessions (expires_at);

-- Whoever logs in is found by the address.
CREATE INDEX partners_email ON partners (lower(email)) WHERE email IS NOT NULL;
