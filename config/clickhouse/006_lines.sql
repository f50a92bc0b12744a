-- Sums for the questions of every day. A line (program, link, partner, ad) has one row a day, and one of all time, with what counts
-- in a column each: a tenth of the rows that kinds and classes make. `days` answers what asks for no line: a row a day,
-- program, kind and class. Like all sums inside the parts of `reach_hourly` they hold what it holds, ledger included. A question
-- takes them when it writes the sums as they stand here (question.rs); questions by class still take `by_day` and `by_hour`.
ALTER TABLE {database}.reach_hourly{on_cluster} ADD PROJECTION IF NOT EXISTS lines (
    SELECT program, link, partner, ad, source,
           sumIf(count, kind = 'view' AND class IN ('human', 'repeat')),
           sumIf(count, kind = 'click' AND class IN ('human', 'repeat')),
           sumIf(count, kind = 'share' AND class IN ('human', 'repeat')),
           sumIf(count, kind IN ('click', 'view', 'share') AND class NOT IN ('human', 'repeat')),
           maxIf(last, kind = 'click' AND class IN ('human', 'repeat'))
    GROUP BY program, link, partner, ad, source);

ALTER TABLE {database}.reach_hourly{on_cluster} ADD PROJECTION IF NOT EXISTS lines_by_day (
    SELECT toStartOfDay(hour), program, link, partner, ad, source,
           sumIf(count, kind = 'view' AND class IN ('human', 'repeat')),
           sumIf(count, kind = 'click' AND class IN ('human', 'repeat')),
           sumIf(count, kind = 'share' AND class IN ('human', 'repeat')),
           sumIf(count, kind IN ('click', 'view', 'share') AND class NOT IN ('human', 'repeat')),
           maxIf(last, kind = 'click' AND class IN ('human', 'repeat'))
    GROUP BY toStartOfDay(hour), program, link, partner, ad, source);

ALTER TABLE {database}.reach_hourly{on_cluster} ADD PROJECTION IF NOT EXISTS days (
    SELECT toStartOfDay(hour), kind, class, program, source, sum(count)
    GROUP BY toStartOfDay(hour), kind, class, program, source);

-- What it answered, `lines` answers from a tenth of its rows; by class, `by_day`.
ALTER TABLE {database}.reach_hourly{on_cluster} DROP PROJECTION IF EXISTS of_all_time;

-- For the parts that are there already; it runs on in the background, and what comes behind it would wait: so it is the last.
ALTER TABLE {database}.reach_hourly{on_cluster}
    MATERIALIZE PROJECTION lines, MATERIALIZE PROJECTION lines_by_day, MATERIALIZE PROJECTION days
    SETTINGS mutations_sync = 0;
