-- Names of programs, links, partners and ads as the catalog has them, for reports: LEFT JOIN names_now. `fingerpost names` fills
-- them; a name that is gone from the catalog keeps its last word here, because old events still speak of it.
CREATE TABLE IF NOT EXISTS {database}.names{on_cluster} (
    kind       Enum8('program' = 1, 'link' = 2, 'partner' = 3, 'ad' = 4),
    partner    String,                 -- whose ad it is; '' for the others
    code       String,
    name       String,
    written_at DateTime64(3, 'UTC')
) ENGINE = {replacing:written_at}
ORDER BY (kind, partner, code);

CREATE VIEW IF NOT EXISTS {database}.names_now{on_cluster} AS
SELECT kind, partner, code, argMax(n.name, n.written_at) AS name FROM {database}.names AS n GROUP BY kind, partner, code;
