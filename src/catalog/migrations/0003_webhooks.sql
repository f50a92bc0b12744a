-- Where the outbox goes: endpoints of webhooks, how far each one is, what is to be tried again, what became of each try;
-- and mails that wait for their delivery.

-- `kinds` and `programs` are lists; an empty one asks for all. While secrets rotate, `older_secret` signs as well, until
-- `older_until`.
CREATE TABLE webhooks (
    id           TEXT   NOT NULL PRIMARY KEY,
    address      TEXT   NOT NULL,
    description  TEXT   NOT NULL,
    kinds        TEXT   NOT NULL,
    programs     TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    reason       TEXT,
    secret       TEXT   NOT NULL,
    older_secret TEXT,
    older_until  BIGINT,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);

-- All rows of the outbox up to `seq` are dealt with: delivered, passed over, given up, or set aside in webhook_retries.
-- Who delivers is `holder` until `lease_until`. `failures` counts tries without a success between them, the first of them at
-- `failing_since` (0: none); with too many nothing is sent before `resume_at`. `logged` is the number of the last row of
-- webhook_deliveries.
CREATE TABLE webhook_cursors (
    webhook       TEXT   NOT NULL PRIMARY KEY REFERENCES webhooks (id),
    seq           BIGINT NOT NULL,
    logged        BIGINT NOT NULL,
    failures      BIGINT NOT NULL,
    failing_since BIGINT NOT NULL,
    resume_at     BIGINT NOT NULL,
    holder        TEXT   NOT NULL,
    lease_until   BIGINT NOT NULL
);

-- Rows of the outbox that an endpoint did not take, set aside so that those behind them go on.
CREATE TABLE webhook_retries (
    webhook  TEXT   NOT NULL REFERENCES webhooks (id),
    seq      BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    due_at   BIGINT NOT NULL,
    PRIMARY KEY (webhook, seq)
);
CREATE INDEX webhook_retries_due ON webhook_retries (webhook, due_at);

-- The log: the newest rows of each endpoint. `seq` is NULL for a test.
CREATE TABLE webhook_deliveries (
    webhook     TEXT   NOT NULL REFERENCES webhooks (id),
    number      BIGINT NOT NULL,
    seq         BIGINT,
    kind        TEXT   NOT NULL,
    message     TEXT   NOT NULL,
    attempt     BIGINT NOT NULL,
    at_ms       BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    result      TEXT   NOT NULL,
    status      BIGINT,
    error       TEXT,
    answer      TEXT,
    PRIMARY KEY (webhook, number)
);

CREATE TABLE mails (
    id          TEXT   NOT NULL PRIMARY KEY,
    recipient   TEXT   NOT NULL,
    subject     TEXT   NOT NULL,
    text_body   TEXT   NOT NULL,
    html_body   TEXT,
    state       TEXT   NOT NULL,
    attempts    BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    due_at      BIGINT NOT NULL,
    done_at     BIGINT,
    error       TEXT,
    holder      TEXT   NOT NULL,
    lease_until BIGINT NOT NULL
);
CREATE INDEX mails_due ON mails (due_at) WHERE state = 'waiting';
CREATE INDEX mails_recipient ON mails (recipient);
