-- How facts come in from others: forms on other sites, payment providers, webhooks, uploads.

-- Sites whose forms may send leads: exact origins.
ALTER TABLE programs ADD COLUMN origins TEXT NOT NULL DEFAULT '[]';

-- `payment` is a keyed hash of what identifies a card or an account. `standing` is whose word on a conversion counts when
-- several tell it: the highest one's; 9 is our API's.
ALTER TABLE conversions ADD COLUMN payment  TEXT;
ALTER TABLE conversions ADD COLUMN standing BIGINT NOT NULL DEFAULT 9;

-- A conversion that others told names its person in several ways (`told_by` is 'names'): the one of the lowest `place` that
-- leads to a contact counts. `kind` is click, external, email, or customer: one of those says nothing by itself, but whatever
-- is told together with it once, it stands for.
CREATE TABLE conversion_names (
    conversion TEXT   NOT NULL REFERENCES conversions (id),
    place      BIGINT NOT NULL,
    kind       TEXT   NOT NULL,
    value      TEXT   NOT NULL,
    PRIMARY KEY (conversion, kind, value)
);
CREATE INDEX conversion_names_value ON conversion_names (kind, value);

-- One payment has several names (an invoice, a payment intent, a charge), and which belong together is told bit by bit.
-- `invoice` is the one that it goes by in conversions and refunds.
CREATE TABLE payment_names (
    name    TEXT NOT NULL PRIMARY KEY,
    invoice TEXT NOT NULL,
    payment TEXT
);
CREATE INDEX payment_names_invoice ON payment_names (invoice);

-- Conversions and refunds that webhooks and the event store were told of, each once a program: as soon as it belongs to a
-- referral there, whatever came first. `amount` is what was told of a refund; one that grows is told by as much as it grew.
CREATE TABLE facts_told (
    fact    TEXT NOT NULL,
    program TEXT NOT NULL,
    amount  BIGINT,
    PRIMARY KEY (fact, program)
);

-- Doors for webhooks of others. `secrets` is a list: all of them are accepted while they rotate.
CREATE TABLE inbound (
    name       TEXT   NOT NULL PRIMARY KEY,
    kind       TEXT   NOT NULL,
    settings   TEXT   NOT NULL,
    secrets    TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Each event that had its effect, written with it. `result` is applied or ignored.
CREATE TABLE inbound_events (
    endpoint TEXT   NOT NULL,
    event    TEXT   NOT NULL,
    kind     TEXT   NOT NULL,
    result   TEXT   NOT NULL,
    at_ms    BIGINT NOT NULL,
    PRIMARY KEY (endpoint, event)
);
CREATE INDEX inbound_events_at ON inbound_events (at_ms);

-- Files of facts. `position` bytes of `body` are worked off: `taken` lines told something new, `known` ones nothing new,
-- `refused` ones stand in upload_refused. The body goes when the work is done.
CREATE TABLE uploads (
    id         TEXT   NOT NULL PRIMARY KEY,
    kind       TEXT   NOT NULL,
    state      TEXT   NOT NULL,
    header     TEXT   NOT NULL,
    body       TEXT   NOT NULL,
    bytes      BIGINT NOT NULL,
    position   BIGINT NOT NULL,
    line       BIGINT NOT NULL,
    taken      BIGINT NOT NULL,
    known      BIGINT NOT NULL,
    refused    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX uploads_open ON uploads (created_at) WHERE state = 'waiting';

CREATE TABLE upload_refused (
    upload TEXT   NOT NULL REFERENCES uploads (id),
    line   BIGINT NOT NULL,
    reason TEXT   NOT NULL,
    cells  TEXT   NOT NULL,
    PRIMARY KEY (upload, line)
);
