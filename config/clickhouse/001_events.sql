-- One row an event. Text that an event does not have is ''; an id that it does not have is NULL, so that uniqExact()
-- passes over it.
--
-- LowCardinality where values are few (programs, links, countries, browsers); plain strings where partners or visitors
-- choose them (partners, ads, slugs, sub1…5, referrers): there a dictionary costs more than it saves.
--
-- The key begins with the day, so that a question about days reads those days only; within a day it finds a program, a
-- link, a partner. Rows of one day come from neighbouring offsets: that lets the index `loaded_range` leave out nearly
-- everything when the loader asks which offsets are here.
--
-- `source`, `partition`, `offset` say where a row came from, and name it for ever: (topic, partition, offset) of Kafka, or
-- (lane, 0, sequence) of a journal. Anyone can audit: count() = uniqExact(source, partition, offset).
CREATE TABLE IF NOT EXISTS {database}.events{on_cluster} (
    id        UUID,                  -- UUIDv7
    kind      Enum8('' = 0, 'click' = 1, 'view' = 2, 'share' = 3, 'lead' = 4, 'conversion' = 5, 'refund' = 6, 'reward' = 7, 'missing' = 15),
    class     Enum8('' = 0, 'human' = 1, 'repeat' = 2, 'bot' = 3, 'preview' = 4, 'prefetch' = 5, 'head' = 6, 'owner' = 7, 'test' = 8),
    time      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    program   LowCardinality(String),
    link      LowCardinality(String),
    partner   String,                -- who is credited
    ad        String,
    slug      String,                -- the share link that was used
    channel   LowCardinality(String), -- of a share
    visitor   Nullable(UUID),        -- 16 random bytes
    country   LowCardinality(String), -- ISO 3166-1 alpha-2, upper case
    region    LowCardinality(String),
    city      LowCardinality(String),
    network   LowCardinality(String), -- autonomous system
    address   String,                -- cut: 203.0.113.0/24 or 2001:db8:1::/48
    referrer  String,                -- host of the Referer
    language  LowCardinality(String), -- first of Accept-Language, lower case
    device    Enum8('' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'other' = 5),
    browser   LowCardinality(String),
    os        LowCardinality(String),
    sub1      String,
    sub2      String,
    sub3      String,
    sub4      String,
    sub5      String,
    reason    LowCardinality(String), -- why nobody, or not all of what was asked for, is credited
    named     String,                -- the partner code that the URL named, when it is not credited
    click     Nullable(UUID),        -- the click that a view or a later event belongs to
    rule      UInt32,                -- the rule of the link that chose the destination, counted from 1
    count     UInt64,                -- how many events the row stands for, at least 1
    source    LowCardinality(String),
    partition UInt32,
    offset    UInt64 CODEC(Delta, ZSTD(1)),
    loaded_at DateTime('UTC') CODEC(Delta, ZSTD(1)),
    INDEX loaded_range (source, partition, offset) TYPE minmax GRANULARITY 1
) ENGINE = {merge_tree}
PARTITION BY toYYYYMM(time)
ORDER BY (toDate(time), program, link, partner, time)
SETTINGS {window}, ttl_only_drop_parts = 1;

-- Records that are no events, with the reason. A record that is set aside twice is one row after a merge: ask with FINAL.
CREATE TABLE IF NOT EXISTS {database}.set_aside{on_cluster} (
    source    LowCardinality(String),
    partition UInt32,
    offset    UInt64,
    reason    String,
    body      String,               -- the record's bytes
    at        DateTime64(3, 'UTC')
) ENGINE = {replacing:at}
ORDER BY (source, partition, offset);

-- Journal positions of the sink without Kafka: everything below `next` of the lane `source` is in `events` or `set_aside`.
CREATE TABLE IF NOT EXISTS {database}.positions{on_cluster} (
    source LowCardinality(String),
    next   SimpleAggregateFunction(max, UInt64)
) ENGINE = {aggregating}
ORDER BY source;
