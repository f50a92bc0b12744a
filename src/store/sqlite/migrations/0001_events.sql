-- One row an event, in the order of arrival. What an event does not have is NULL.
-- `seq` never comes back after a deletion (AUTOINCREMENT): `summed` counts on that.
CREATE TABLE events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    id       BLOB    NOT NULL, -- UUIDv7, 16 bytes
    kind     INTEGER NOT NULL, -- fingerpost.v1.Kind; `event_log` has the words
    class    INTEGER NOT NULL, -- fingerpost.v1.Class
    time_ms  INTEGER NOT NULL, -- since the Unix epoch
    program  TEXT,
    link     TEXT,
    partner  TEXT,
    ad       TEXT,
    slug     TEXT,
    channel  TEXT,
    visitor  BLOB,             -- 16 bytes
    country  TEXT,
    region   TEXT,
    city     TEXT,
    network  TEXT,
    address  BLOB,             -- cut: 3 bytes (/24) or 6 bytes (/48)
    referrer TEXT,
    language TEXT,
    device   INTEGER,          -- fingerpost.v1.Device
    browser  TEXT,
    os       TEXT,
    sub1     TEXT,
    sub2     TEXT,
    sub3     TEXT,
    sub4     TEXT,
    sub5     TEXT,
    reason   TEXT,
    named    TEXT,
    click    BLOB,             -- 16 bytes
    rule     INTEGER,
    count    INTEGER           -- events that the row stands for; NULL means 1
) STRICT;

-- Reports and exports ask for a stretch of time. Every further index costs the sink: one on `visitor`, whose values are
-- random, nearly doubles its CPU (measured: from 2.7 to 4.9 µs an event), and so comes only with a report that needs it.
CREATE INDEX events_by_time ON events (time_ms);

-- Sums of all events up to `summed.seq`. Younger events are summed when they are asked for: see `reach`.
CREATE TABLE hourly (
    hour    INTEGER NOT NULL, -- its first millisecond since the Unix epoch
    kind    INTEGER NOT NULL,
    class   INTEGER NOT NULL,
    program TEXT    NOT NULL, -- '' means none, here and below
    link    TEXT    NOT NULL,
    partner TEXT    NOT NULL,
    ad      TEXT    NOT NULL,
    channel TEXT    NOT NULL,
    country TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    last_ms INTEGER NOT NULL, -- time of the last event
    PRIMARY KEY (hour, kind, class, program, link, partner, ad, channel, country)
) STRICT, WITHOUT ROWID;

-- Counted clicks of each link since ever, up to `summed.seq`, without those that came when it was over.
CREATE TABLE link_clicks (
    link   TEXT    NOT NULL PRIMARY KEY,
    clicks INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The last event that `hourly` and `link_clicks` hold. One row.
CREATE TABLE summed (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO summed VALUES (1, 0);

-- Journal position of each lane: the sequence number that comes next.
CREATE TABLE positions (
    lane BLOB    NOT NULL PRIMARY KEY, -- 16 bytes, big endian
    next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Records that are no events, or that the database refused.
CREATE TABLE set_aside (
    lane     BLOB    NOT NULL,
    sequence INTEGER NOT NULL,
    reason   TEXT    NOT NULL,
    body     BLOB    NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (lane, sequence)
) STRICT;

-- All sums, exact at any moment.
CREATE VIEW reach AS
SELECT hour, kind, class, program, link, partner, ad, channel, country, count, last_ms FROM hourly
UNION ALL
SELECT time_ms - time_ms % 3600000, kind, class, ifnull(program, ''), ifnull(link, ''), ifnull(partner, ''),
       ifnull(ad, ''), ifnull(channel, ''), ifnull(country, ''), ifnull(count, 1), time_ms
FROM events WHERE seq > (SELECT seq FROM summed);

-- Clicks that were answered but could not be recorded, by hour.
CREATE VIEW missing AS
SELECT hour, sum(count) AS clicks FROM reach WHERE kind = 15 GROUP BY hour;

-- Events as people read them.
CREATE VIEW event_log AS
SELECT lower(substr(hex(id), 1, 8) || '-' || substr(hex(id), 9, 4) || '-' || substr(hex(id), 13, 4) || '-'
             || substr(hex(id), 17, 4) || '-' || substr(hex(id), 21)) AS id,
       CASE kind WHEN 1 THEN 'click' WHEN 2 THEN 'view' WHEN 3 THEN 'share' WHEN 4 THEN 'lead' WHEN 5 THEN 'conversion'
                 WHEN 6 THEN 'refund' WHEN 7 THEN 'reward' WHEN 15 THEN 'missing' ELSE '' END AS kind,
       CASE class WHEN 1 THEN 'human' WHEN 2 THEN 'repeat' WHEN 3 THEN 'bot' WHEN 4 THEN 'preview'
                  WHEN 5 THEN 'prefetch' WHEN 6 THEN 'head' WHEN 7 THEN 'owner' WHEN 8 THEN 'test' ELSE '' END AS class,
       strftime('%Y-%m-%dT%H:%M:%S', time_ms / 1000, 'unixepoch') || printf('.%03dZ', time_ms % 1000) AS time,
       program, link, partner, ad, slug, channel, lower(hex(visitor)) AS visitor, country, region, city, network,
       lower(hex(address)) AS address, referrer, language,
       CASE device WHEN 1 THEN 'desktop' WHEN 2 THEN 'mobile' WHEN 3 THEN 'tablet' WHEN 4 THEN 'tv' WHEN 5 THEN 'other'
                   ELSE '' END AS device,
       browser, os, sub1, sub2, sub3, sub4, sub5, reason, named, lower(hex(click)) AS click, rule,
       ifnull(count, 1) AS count
FROM events;
