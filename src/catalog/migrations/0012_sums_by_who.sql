-- Sums by who is credited, with a column a figure: a tenth of the rows, for whoever asks and for whoever tells. All referrals are counted
-- anew in the background at the first start; until then reports say less.
DROP TABLE record_sums;
DELETE FROM referral_figures;

-- Sums over the people who came in a stretch of days, of what came of them until now, by who is credited. `days` is its length
-- (1, 7, 28; 0 is all time), `at_day` its first day, in days since 1970-01-01 (UTC).
CREATE TABLE record_people (
    days            SMALLINT NOT NULL,
    at_day          BIGINT   NOT NULL,
    partner         TEXT     NOT NULL,
    link            TEXT     NOT NULL,
    ad              TEXT     NOT NULL,
    program         TEXT     NOT NULL,
    lead            BIGINT   NOT NULL,
    qualified       BIGINT   NOT NULL,
    rejected        BIGINT   NOT NULL,
    rewarded        BIGINT   NOT NULL,
    first_lead      BIGINT   NOT NULL,
    first_qualified BIGINT   NOT NULL,
    last_lead       BIGINT   NOT NULL,
    last_qualified  BIGINT   NOT NULL,
    PRIMARY KEY (days, at_day, partner, link, ad, program)
);

-- The same of sales and rewards: how many, and their amounts. Gifts have no currency.
CREATE TABLE record_money (
    days           SMALLINT NOT NULL,
    at_day         BIGINT   NOT NULL,
    partner        TEXT     NOT NULL,
    link           TEXT     NOT NULL,
    ad             TEXT     NOT NULL,
    program        TEXT     NOT NULL,
    currency       TEXT     NOT NULL,
    revenue_count  BIGINT   NOT NULL,
    revenue        BIGINT   NOT NULL,
    refunded_count BIGINT   NOT NULL,
    refunded       BIGINT   NOT NULL,
    owed_count     BIGINT   NOT NULL,
    owed           BIGINT   NOT NULL,
    issued_count   BIGINT   NOT NULL,
    issued         BIGINT   NOT NULL,
    lost_count     BIGINT   NOT NULL,
    lost           BIGINT   NOT NULL,
    PRIMARY KEY (days, at_day, partner, link, ad, program, currency)
);

-- The same of all partners, links and ads together, also of what is told apart by more than currency; `days` is 1 or 28.
CREATE TABLE record_days (
    days     SMALLINT NOT NULL,
    figure   TEXT     NOT NULL,
    at_day   BIGINT   NOT NULL,
    program  TEXT     NOT NULL,
    detail   TEXT     NOT NULL,
    currency TEXT     NOT NULL,
    count    BIGINT   NOT NULL,
    amount   BIGINT   NOT NULL,
    PRIMARY KEY (days, figure, at_day, program, detail, currency)
);
