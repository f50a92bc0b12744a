-- The sums of closed days in three tables, each in the order in which it is asked, with a column for each of views, clicks and shares: a
-- third of the rows to look at for whoever asks by partner, and next to none for whoever asks by day or for all.

-- By who is credited. `days` is the length of the stretch that begins with `at_day` (days since 1970-01-01, UTC): 1, 7, 28, and 0 for all
-- time. Views, clicks and shares are those that count.
CREATE TABLE closed_who (
    days          INTEGER NOT NULL,
    at_day        INTEGER NOT NULL,
    partner       TEXT    NOT NULL,
    link          TEXT    NOT NULL,
    ad            TEXT    NOT NULL,
    program       TEXT    NOT NULL,
    views         INTEGER NOT NULL,
    clicks        INTEGER NOT NULL,
    shares        INTEGER NOT NULL,
    not_counted   INTEGER NOT NULL,
    last_click_ms INTEGER NOT NULL, -- of those that count; 0: there is none
    PRIMARY KEY (days, at_day, partner, link, ad, program)
) STRICT, WITHOUT ROWID;

-- By where it came from and what it is. `days`: 1, 28, 364.
CREATE TABLE closed_places (
    days    INTEGER NOT NULL,
    at_day  INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    class   INTEGER NOT NULL,
    program TEXT    NOT NULL,
    channel TEXT    NOT NULL,
    country TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (days, at_day, kind, class, program, channel, country)
) STRICT, WITHOUT ROWID;

-- By day alone.
CREATE TABLE closed_days (
    at_day  INTEGER NOT NULL,
    program TEXT    NOT NULL,
    views   INTEGER NOT NULL,
    clicks  INTEGER NOT NULL,
    shares  INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    PRIMARY KEY (at_day, program)
) STRICT, WITHOUT ROWID;

INSERT INTO closed_who
SELECT days, at_day, partner, link, ad, program, sum(iif(kind = 2 AND class = 1, count, 0)),
       sum(iif(kind = 1 AND class = 1, count, 0)), sum(iif(kind = 3 AND class = 1, count, 0)), sum(iif(class = 1, 0, count)),
       max(iif(kind = 1 AND class = 1, last_ms, 0))
FROM closed WHERE days >= 0 GROUP BY days, at_day, partner, link, ad, program;
-- 1970-01-05 was a Monday.
INSERT INTO closed_places
SELECT 1, at_day, kind, class, program, channel, country, count FROM closed WHERE days = -1;
INSERT INTO closed_places
SELECT 28, at_day - (at_day + 24) % 28 AS first, kind, class, program, channel, country, sum(count)
FROM closed_places WHERE days = 1 GROUP BY first, kind, class, program, channel, country;
INSERT INTO closed_places
SELECT 364, at_day - (at_day + 360) % 364 AS first, kind, class, program, channel, country, sum(count)
FROM closed_places WHERE days = 28 GROUP BY first, kind, class, program, channel, country;
INSERT INTO closed_days
SELECT at_day, program, sum(iif(kind = 2 AND class IN (1, 2), count, 0)), sum(iif(kind = 1 AND class IN (1, 2), count, 0)),
       sum(iif(kind = 3 AND class IN (1, 2), count, 0)), sum(iif(kind = 15, count, 0))
FROM closed_places WHERE days = 1 GROUP BY at_day, program;
DROP TABLE closed;
