-- Who is told of a due reward, who changed what, and the erasure of a person.

-- JSON: to whom a due reward is mailed, and in which words.
ALTER TABLE programs ADD COLUMN notify TEXT NOT NULL DEFAULT '{}';

-- Rewards that were told by mail. What makes a reward the same one is its key here: its id is a new one when it was taken away
-- and earned again.
CREATE TABLE reward_notices (
    referral TEXT     NOT NULL,
    rule     TEXT     NOT NULL,
    side     TEXT     NOT NULL,
    cause    TEXT     NOT NULL,
    level    SMALLINT NOT NULL,
    at_ms    BIGINT   NOT NULL,
    PRIMARY KEY (referral, rule, side, cause, level)
);

-- Who changed what. `changes` is JSON: fields with what they were and are; no secret, and no personal data.
CREATE TABLE audit (
    id      TEXT   NOT NULL PRIMARY KEY,
    at_ms   BIGINT NOT NULL,
    who     TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    kind    TEXT   NOT NULL,
    code    TEXT   NOT NULL,
    changes TEXT   NOT NULL,
    request TEXT   NOT NULL
);
CREATE INDEX audit_of ON audit (kind, code, id);
CREATE INDEX audit_at ON audit (at_ms);

-- Erasures of persons. `place` is what is gone through next, `position` how far that is. `terms` is what is looked for (JSON); it is
-- emptied when the erasure is closed.
CREATE TABLE erasures (
    id          TEXT   NOT NULL PRIMARY KEY,
    contact     TEXT,
    state       TEXT   NOT NULL,
    place       TEXT   NOT NULL,
    position    TEXT   NOT NULL,
    terms       TEXT   NOT NULL,
    progress    TEXT   NOT NULL,
    problem     TEXT,
    at_ms       BIGINT NOT NULL,
    complete_ms BIGINT,
    look_at_ms  BIGINT NOT NULL,
    until_ms    BIGINT NOT NULL
);
CREATE INDEX erasures_open ON erasures (look_at_ms) WHERE state <> 'closed';

-- The browsers of who is erased, and the random id that takes the place of each in the event store. Gone when it is closed.
CREATE TABLE erasure_visitors (
    erasure     TEXT NOT NULL REFERENCES erasures (id),
    visitor     TEXT NOT NULL,
    replacement TEXT NOT NULL,
    PRIMARY KEY (erasure, visitor)
);
CREATE INDEX mails_done ON mails (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX webhook_deliveries_at ON webhook_deliveries (at_ms);
CREATE INDEX leads_metadata ON leads (told_ms) WHERE metadata <> '{}';
