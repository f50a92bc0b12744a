-- From click to reward: what is told about people (facts), and what followed from it.

ALTER TABLE programs ADD COLUMN credit        TEXT NOT NULL DEFAULT 'first';
ALTER TABLE programs ADD COLUMN qualification TEXT NOT NULL DEFAULT '{}';
ALTER TABLE programs ADD COLUMN rewards       TEXT NOT NULL DEFAULT '[]';
ALTER TABLE programs ADD COLUMN parent_shares TEXT NOT NULL DEFAULT '[]';

-- A person whom the business knows. Two that turn out to be one become the older one; the other says so.
CREATE TABLE contacts (
    id         TEXT   NOT NULL PRIMARY KEY,
    email      TEXT,
    external   TEXT,
    first_name TEXT   NOT NULL,
    last_name  TEXT   NOT NULL,
    same_as    TEXT REFERENCES contacts (id),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- By what a contact is known: `kind` is email (lower case) or external.
CREATE TABLE contact_keys (
    kind    TEXT NOT NULL,
    value   TEXT NOT NULL,
    contact TEXT NOT NULL REFERENCES contacts (id),
    PRIMARY KEY (kind, value)
);
CREATE INDEX contact_keys_contact ON contact_keys (contact);

-- The browsers of a contact: bound when a lead comes with a visitor's cookie or a click of theirs.
CREATE TABLE contact_visitors (
    contact TEXT   NOT NULL REFERENCES contacts (id),
    visitor TEXT   NOT NULL,
    at_ms   BIGINT NOT NULL,
    PRIMARY KEY (contact, visitor)
);
CREATE INDEX contact_visitors_visitor ON contact_visitors (visitor);

-- Facts: leads. `at_ms` is when it happened, `told_ms` when it was told. `decision` is who was credited, with all candidates.
CREATE TABLE leads (
    id       TEXT   NOT NULL PRIMARY KEY,
    program  TEXT   NOT NULL REFERENCES programs (code),
    contact  TEXT   NOT NULL REFERENCES contacts (id),
    click    TEXT,
    metadata TEXT   NOT NULL,
    credited TEXT   NOT NULL,
    decision TEXT   NOT NULL,
    at_ms    BIGINT NOT NULL,
    told_ms  BIGINT NOT NULL
);
CREATE INDEX leads_contact ON leads (contact, program);
CREATE INDEX leads_click ON leads (click) WHERE click IS NOT NULL;

-- Facts: business events of a person. One whose person is not known yet waits under what it was told by. `invoice` is what
-- makes it the same one when it is told again.
CREATE TABLE conversions (
    id        TEXT     NOT NULL PRIMARY KEY,
    invoice   TEXT UNIQUE,
    contact   TEXT REFERENCES contacts (id),
    told_by   TEXT     NOT NULL,
    told_as   TEXT     NOT NULL,
    program   TEXT REFERENCES programs (code),
    event     TEXT     NOT NULL,
    amount    BIGINT,
    currency  TEXT,
    source    TEXT     NOT NULL,
    digest    TEXT     NOT NULL,
    at_ms     BIGINT   NOT NULL,
    told_ms   BIGINT   NOT NULL
);
CREATE INDEX conversions_contact ON conversions (contact) WHERE contact IS NOT NULL;
CREATE INDEX conversions_told ON conversions (told_by, told_as);

-- Facts: money that went back. It may come before the conversion that it belongs to. No amount: all of it.
CREATE TABLE refunds (
    id      TEXT   NOT NULL PRIMARY KEY,
    invoice TEXT   NOT NULL,
    amount  BIGINT,
    reason  TEXT   NOT NULL,
    digest  TEXT   NOT NULL,
    at_ms   BIGINT NOT NULL,
    told_ms BIGINT NOT NULL
);
CREATE INDEX refunds_invoice ON refunds (invoice);

-- Facts: what somebody decided by hand.
CREATE TABLE rulings (
    id      TEXT   NOT NULL PRIMARY KEY,
    program TEXT   NOT NULL REFERENCES programs (code),
    contact TEXT   NOT NULL REFERENCES contacts (id),
    verdict TEXT   NOT NULL,
    note    TEXT   NOT NULL,
    at_ms   BIGINT NOT NULL,
    told_ms BIGINT NOT NULL
);
CREATE INDEX rulings_contact ON rulings (contact, program);

-- What followed: a person that a partner brought. One a person and program.
CREATE TABLE referrals (
    id         TEXT   NOT NULL PRIMARY KEY,
    program    TEXT   NOT NULL REFERENCES programs (code),
    contact    TEXT   NOT NULL REFERENCES contacts (id),
    partner    TEXT   NOT NULL,
    link       TEXT,
    ad         TEXT,
    click      TEXT,
    lead       TEXT   NOT NULL REFERENCES leads (id),
    state      TEXT   NOT NULL,
    state_ms   BIGINT NOT NULL,
    reason     TEXT   NOT NULL,
    since_ms   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (contact, program)
);
CREATE INDEX referrals_partner ON referrals (partner, program, since_ms);
CREATE INDEX referrals_since ON referrals (program, since_ms);

-- What followed: what is owed. `rule`, `side`, `cause` and `level` make it the same one however often it is computed.
-- `level` 0 is the partner (or the invited), 1 its parent, and so on. `withheld` says which limit of the rule it met: such a
-- reward is reversed, and takes its place again when there is room.
CREATE TABLE rewards (
    id         TEXT     NOT NULL PRIMARY KEY,
    referral   TEXT     NOT NULL REFERENCES referrals (id),
    program    TEXT     NOT NULL,
    partner    TEXT     NOT NULL,
    rule       TEXT     NOT NULL,
    side       TEXT     NOT NULL,
    cause      TEXT     NOT NULL,
    level      SMALLINT NOT NULL,
    amount     BIGINT,
    currency   TEXT,
    gift       TEXT,
    state      TEXT     NOT NULL,
    reason     TEXT     NOT NULL,
    withheld   TEXT     NOT NULL,
    auto_issue SMALLINT NOT NULL,
    earned_ms  BIGINT   NOT NULL,
    held_ms    BIGINT   NOT NULL,
    issued_ms  BIGINT,
    reference  TEXT     NOT NULL,
    created_at BIGINT   NOT NULL,
    updated_at BIGINT   NOT NULL,
    UNIQUE (referral, rule, side, cause, level)
);
CREATE INDEX rewards_state ON rewards (state, held_ms);
CREATE INDEX rewards_partner ON rewards (partner, rule, earned_ms);
CREATE INDEX rewards_rule ON rewards (program, rule, earned_ms);

-- Answers that were given under an Idempotency-Key, so that the same request gets the same answer.
CREATE TABLE answers (
    scope  TEXT   NOT NULL,
    token  TEXT   NOT NULL,
    digest TEXT   NOT NULL,
    status BIGINT NOT NULL,
    body   TEXT   NOT NULL,
    at_ms  BIGINT NOT NULL,
    PRIMARY KEY (scope, token)
);
CREATE INDEX answers_at ON answers (at_ms);
