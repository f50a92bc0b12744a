-- What `fingerpost migrate` has applied. It runs this file first, each time.
CREATE DATABASE IF NOT EXISTS {database}{on_cluster};

CREATE TABLE IF NOT EXISTS {database}.schema_versions{on_cluster} (
    version    UInt32,
    name       LowCardinality(String), -- of the file in config/clickhouse
    checksum   String,                 -- BLAKE3 of the file, as hexadecimal digits
    applied_at DateTime64(3, 'UTC'),
    applied_by String                  -- version of the program
) ENGINE = {merge_tree} ORDER BY version;
