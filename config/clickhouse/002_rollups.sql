-- Sums that outlive the rows. Each table has a deduplication window of its own: a block that comes again under its token
-- is dropped in every one of them (the insert says deduplicate_blocks_in_dependent_materialized_views).
--
-- **Ledger.** A part of a table is written whole or not at all, but the parts of one insert are not: a server that is
-- killed in between has the rows and not the sums. So each rollup also carries, in the same part as the sums, one row for
-- (month, source, partition) with the highest offset that the sums hold (GROUPING SETS; `kind` is '' there and the
-- counts are 0). The loader compares it with the rows and adds what is missing. Ask the views `reach`, `funnel` and
-- `uniques`, which leave the ledger out.
CREATE TABLE IF NOT EXISTS {database}.reach_hourly{on_cluster} (
    hour      DateTime('UTC'),
    kind      Enum8('' = 0, 'click' = 1, 'view' = 2, 'share' = 3, 'lead' = 4, 'conversion' = 5, 'refund' = 6, 'reward' = 7, 'missing' = 15),
    class     Enum8('' = 0, 'human' = 1, 'repeat' = 2, 'bot' = 3, 'preview' = 4, 'prefetch' = 5, 'head' = 6, 'owner' = 7, 'test' = 8),
    program   LowCardinality(String),
    link      LowCardinality(String),
    partner   String,
    ad        String,
    channel   LowCardinality(String),
    country   LowCardinality(String),
    source    LowCardinality(String), -- of the ledger, as the next two
    partition UInt32,
    offset    SimpleAggregateFunction(max, UInt64),
    count     SimpleAggregateFunction(sum, UInt64),
    last      SimpleAggregateFunction(max, DateTime64(3, 'UTC')) -- time of the last event
) ENGINE = {aggregating}
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, kind, class, program, link, partner, ad, channel, country, source, partition)
SETTINGS {window};

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.reach_hourly_mv{on_cluster} TO {database}.reach_hourly AS
SELECT if(grouping(of_hour) = 0, of_hour, toDateTime(of_month, 'UTC')) AS hour,
       kind, class, program, link, partner, ad, channel, country, source, partition,
       if(grouping(source) = 0, max(e.offset), 0) AS offset,
       if(grouping(of_hour) = 0, sum(e.count), 0) AS count,
       max(e.time) AS last
FROM (SELECT *, toStartOfHour(time) AS of_hour, toStartOfMonth(time) AS of_month FROM {database}.events) AS e
GROUP BY GROUPING SETS (
    (of_hour, kind, class, program, link, partner, ad, channel, country),
    (of_month, source, partition));

-- The way of a referral, by day: only clicks, views and shares that count, and all that follows. Amounts are with the rows.
CREATE TABLE IF NOT EXISTS {database}.funnel_daily{on_cluster} (
    day       Date,
    program   LowCardinality(String),
    link      LowCardinality(String),
    partner   String,
    kind      Enum8('' = 0, 'click' = 1, 'view' = 2, 'share' = 3, 'lead' = 4, 'conversion' = 5, 'refund' = 6, 'reward' = 7, 'missing' = 15),
    source    LowCardinality(String), -- of the ledger, as the next two
    partition UInt32,
    offset    SimpleAggregateFunction(max, UInt64),
    count     SimpleAggregateFunction(sum, UInt64),
    over      SimpleAggregateFunction(sum, UInt64) -- clicks among them that came when the link was over: they use none of its clicks up
) ENGINE = {aggregating}
PARTITION BY toYYYYMM(day)
ORDER BY (day, program, link, partner, kind, source, partition)
SETTINGS {window};

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.funnel_daily_mv{on_cluster} TO {database}.funnel_daily AS
SELECT if(grouping(of_day) = 0, of_day, of_month) AS day,
       program, link, partner, kind, source, partition,
       if(grouping(source) = 0, max(e.offset), 0) AS offset,
       if(grouping(of_day) = 0, sumIf(e.count, counted), 0) AS count,
       if(grouping(of_day) = 0, sumIf(e.count, kind = 'click' AND counted AND reason IN ('expired', 'max_clicks')), 0) AS over
FROM (SELECT *, toDate(time) AS of_day, toStartOfMonth(time) AS of_month,
             kind IN ('lead', 'conversion', 'refund', 'reward')
             OR (kind IN ('click', 'view', 'share') AND class IN ('human', 'repeat')) AS counted
      FROM {database}.events) AS e
GROUP BY GROUPING SETS ((of_day, program, link, partner, kind), (of_month, source, partition));

-- Different visitors among the clicks and views that count, as states: uniqCombined64Merge(visitors) adds them up over any
-- days and dimensions, within half a percent of the truth (exactly up to some thousand). Exact numbers come from the rows, as long as they
-- are kept; these stay.
CREATE TABLE IF NOT EXISTS {database}.uniques_daily{on_cluster} (
    day       Date,
    program   LowCardinality(String),
    link      LowCardinality(String),
    partner   String,
    source    LowCardinality(String), -- of the ledger, as the next two
    partition UInt32,
    offset    SimpleAggregateFunction(max, UInt64),
    visitors  AggregateFunction(uniqCombined64, Nullable(UUID))
) ENGINE = {aggregating}
PARTITION BY toYYYYMM(day)
ORDER BY (day, program, link, partner, source, partition)
SETTINGS {window};

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.uniques_daily_mv{on_cluster} TO {database}.uniques_daily AS
SELECT if(grouping(of_day) = 0, of_day, of_month) AS day,
       program, link, partner, source, partition,
       if(grouping(source) = 0, max(e.offset), 0) AS offset,
       uniqCombined64State(seen) AS visitors
FROM (SELECT *, toDate(time) AS of_day, toStartOfMonth(time) AS of_month,
             if(kind IN ('click', 'view') AND class IN ('human', 'repeat'), visitor, NULL) AS seen
      FROM {database}.events) AS e
GROUP BY GROUPING SETS ((of_day, program, link, partner), (of_month, source, partition));

-- The highest offset of each source and partition that was ever loaded: it stays when rows go.
CREATE TABLE IF NOT EXISTS {database}.loaded{on_cluster} (
    source    LowCardinality(String),
    partition UInt32,
    offset    SimpleAggregateFunction(max, UInt64)
) ENGINE = {aggregating}
ORDER BY (source, partition)
SETTINGS {window};

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.loaded_mv{on_cluster} TO {database}.loaded AS
SELECT source, partition, max(e.offset) AS offset FROM {database}.events AS e GROUP BY source, partition;

-- The sums without the ledger. Rows of one key may still be several: ask for sum(count) and max(last).
CREATE VIEW IF NOT EXISTS {database}.reach{on_cluster} AS
SELECT hour, kind, class, program, link, partner, ad, channel, country, count, last
FROM {database}.reach_hourly WHERE source = '';

CREATE VIEW IF NOT EXISTS {database}.funnel{on_cluster} AS
SELECT day, program, link, partner, kind, count, over FROM {database}.funnel_daily WHERE source = '';

CREATE VIEW IF NOT EXISTS {database}.uniques{on_cluster} AS
SELECT day, program, link, partner, visitors FROM {database}.uniques_daily WHERE source = '';

-- Clicks that were answered but could not be recorded, by hour.
CREATE VIEW IF NOT EXISTS {database}.missing{on_cluster} AS
SELECT hour, sum(r.count) AS clicks FROM {database}.reach AS r WHERE kind = 'missing' GROUP BY hour;
