-- Coarser sums of the days before `closed_until`, for reports over months: an hour's sums are nearly as many as its events.
-- `days` is the length of the stretch that begins with `at_day` (days since 1970-01-01, UTC):
--   1, 7, 28, and 0 for all time: by kind, program, link, partner and ad; class is 1 for what counts, 3 for what does not
--   -1: one day, by kind, class, program, channel and country
-- They hold exactly what `hourly` holds of these days, also where it comes late.
CREATE TABLE closed (
    days    INTEGER NOT NULL,
    at_day  INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    class   INTEGER NOT NULL,
    program TEXT    NOT NULL,
    link    TEXT    NOT NULL,
    partner TEXT    NOT NULL,
    ad      TEXT    NOT NULL,
    channel TEXT    NOT NULL,
    country TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (days, at_day, kind, class, program, link, partner, ad, channel, country)
) STRICT, WITHOUT ROWID;

-- The first day that is not in `closed`. One row; 0: none is.
CREATE TABLE closed_until (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    day INTEGER NOT NULL
) STRICT;
INSERT INTO closed_until VALUES (1, 0);

-- Sums of the events that `hourly` does not hold yet.
CREATE VIEW young_reach AS
SELECT time_ms - time_ms % 3600000 AS hour, kind, class, ifnull(program, '') AS program, ifnull(link, '') AS link,
       ifnull(partner, '') AS partner, ifnull(ad, '') AS ad, ifnull(channel, '') AS channel, ifnull(country, '') AS country,
       ifnull(count, 1) AS count, time_ms AS last_ms
FROM events WHERE seq > (SELECT seq FROM summed);
