-- Coarser sums of the same rollups, for reports over months: an hour's sums by country and partner are nearly as many as the
-- events. Projections live inside the parts of their table, so they hold exactly what it holds, ledger included; ClickHouse
-- takes the smallest one that answers a question (`toStartOfDay(hour)` where the question is about days), and makes them anew
-- when it merges.
ALTER TABLE {database}.reach_hourly{on_cluster} MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild';

-- Reports by link, partner, ad and day.
ALTER TABLE {database}.reach_hourly{on_cluster} ADD PROJECTION IF NOT EXISTS by_day (
    SELECT toStartOfDay(hour), kind, class, program, link, partner, ad, source, sum(count), max(last)
    GROUP BY toStartOfDay(hour), kind, class, program, link, partner, ad, source);

-- The same without a beginning and an end.
ALTER TABLE {database}.reach_hourly{on_cluster} ADD PROJECTION IF NOT EXISTS of_all_time (
    SELECT kind, class, program, link, partner, ad, source, sum(count), max(last)
    GROUP BY kind, class, program, link, partner, ad, source);

-- Reports by country and channel.
ALTER TABLE {database}.reach_hourly{on_cluster} ADD PROJECTION IF NOT EXISTS by_country (
    SELECT toStartOfDay(hour), kind, class, program, country, channel, source, sum(count), max(last)
    GROUP BY toStartOfDay(hour), kind, class, program, country, channel, source);

-- The same of one link.
ALTER TABLE {database}.reach_hourly{on_cluster} ADD PROJECTION IF NOT EXISTS by_link (
    SELECT link, toStartOfDay(hour), kind, class, program, country, channel, source, sum(count), max(last)
    GROUP BY link, toStartOfDay(hour), kind, class, program, country, channel, source);

-- Reports by hour.
ALTER TABLE {database}.reach_hourly{on_cluster} ADD PROJECTION IF NOT EXISTS by_hour (
    SELECT hour, kind, class, program, source, sum(count), max(last)
    GROUP BY hour, kind, class, program, source);

-- How many clicks a link has had, since ever: edges ask it again and again.
ALTER TABLE {database}.funnel_daily{on_cluster} MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild';

ALTER TABLE {database}.funnel_daily{on_cluster} ADD PROJECTION IF NOT EXISTS by_link (
    SELECT link, kind, source, sum(count), sum(over)
    GROUP BY link, kind, source);
