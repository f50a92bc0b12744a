-- Review: what makes a referral doubtful, who looks at it first, and how changed terms reach history.

ALTER TABLE programs ADD COLUMN review TEXT NOT NULL DEFAULT '{}';

-- Under which an e-mail address is the same person's as another way to write it; NULL for other keys, and for addresses that were
-- written before this column: they are filled in at the next start.
ALTER TABLE contact_keys ADD COLUMN normal TEXT;
CREATE INDEX contact_keys_normal ON contact_keys (normal) WHERE normal IS NOT NULL;
CREATE INDEX contact_keys_unfilled ON contact_keys (kind) WHERE normal IS NULL AND kind = 'email';
CREATE INDEX conversions_payment ON conversions (payment) WHERE payment IS NOT NULL;

-- The network that a lead came from, cut to /24 or /48.
ALTER TABLE leads ADD COLUMN network TEXT;
CREATE INDEX leads_network ON leads (program, network, at_ms) WHERE network IS NOT NULL;

-- Which signals somebody who approved had before them.
ALTER TABLE rulings ADD COLUMN covers TEXT NOT NULL DEFAULT '[]';

-- `reasons` is the list that makes up the score. `held` is 1 while its rewards wait for somebody's word.
ALTER TABLE referrals ADD COLUMN score   BIGINT   NOT NULL DEFAULT 0;
ALTER TABLE referrals ADD COLUMN reasons TEXT     NOT NULL DEFAULT '[]';
ALTER TABLE referrals ADD COLUMN held    SMALLINT NOT NULL DEFAULT 0;
CREATE INDEX referrals_held ON referrals (score, since_ms, id) WHERE held = 1;

-- What the event store said of a partner's clicks when it was last asked: shares in percent, rounded so that they seldom change.
CREATE TABLE partner_clicks (
    partner TEXT   NOT NULL PRIMARY KEY,
    bots    BIGINT NOT NULL,
    own     BIGINT NOT NULL,
    at_ms   BIGINT NOT NULL
);

-- People of whom somebody has to compute anew what follows.
CREATE TABLE follow_due (
    contact TEXT NOT NULL PRIMARY KEY
);

-- With which terms the history of a program was last followed. `digest` is that of the terms; `ended_ms` NULL: it is being done,
-- and `behind` is the last contact where it goes person by person.
CREATE TABLE followed_terms (
    program    TEXT   NOT NULL PRIMARY KEY,
    digest     TEXT   NOT NULL,
    started_ms BIGINT NOT NULL,
    ended_ms   BIGINT,
    total      BIGINT NOT NULL,
    done       BIGINT NOT NULL,
    behind     TEXT   NOT NULL
);
