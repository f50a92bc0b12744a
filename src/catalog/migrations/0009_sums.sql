-- What reports are made of. Brought up to date in the transaction of the fact; nothing here cannot be computed anew.

-- What a referral adds to the sums, as it was counted last: JSON. What changes is counted by the difference.
CREATE TABLE referral_figures (
    referral TEXT NOT NULL PRIMARY KEY,
    figures  TEXT NOT NULL
);

-- Sums over the people who came in a stretch of days, of what came of them until now. `days` is its length (1, 7, 28; 0 is all
-- time) by partner, link and ad; -1 is one day with all of these together. `at_day` is its first day, in days since 1970-01-01 (UTC).
CREATE TABLE record_sums (
    days     SMALLINT NOT NULL,
    figure   TEXT     NOT NULL,
    at_day   BIGINT   NOT NULL,
    program  TEXT     NOT NULL,
    partner  TEXT     NOT NULL,
    link     TEXT     NOT NULL,
    ad       TEXT     NOT NULL,
    detail   TEXT     NOT NULL,
    currency TEXT     NOT NULL,
    count    BIGINT   NOT NULL,
    amount   BIGINT   NOT NULL,
    PRIMARY KEY (days, figure, at_day, program, partner, link, ad, detail, currency)
);

-- The people who came within some hours.
CREATE INDEX referrals_came ON referrals (since_ms);
CREATE INDEX referrals_link ON referrals (link, since_ms) WHERE link IS NOT NULL;
