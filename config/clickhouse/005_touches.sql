-- The events of a visitor: whoever leaves a lead is asked about with a few visitors' ids, out of all events. The index says of
-- nearly all granules that they hold none of them. It lives in the parts of its table, so it holds exactly what they hold.
ALTER TABLE {database}.events{on_cluster} ADD INDEX IF NOT EXISTS by_visitor visitor TYPE bloom_filter(0.001) GRANULARITY 1;

-- For the parts that are there already; it runs on in the background. A part without it is looked through whole.
ALTER TABLE {database}.events{on_cluster} MATERIALIZE INDEX by_visitor;
