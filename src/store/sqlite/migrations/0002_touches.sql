-- Where the counted, credited clicks of a visitor stand, for attribution. An index on `visitor` would be written all over, as the ids
-- are random (measured with 3 million events: 12 to 22 µs an event instead of 2.4; one that begins with a stretch of `seq`: 3.1). So
-- the sink gathers the clicks of some thousand events and appends them as one run, sorted into 64 rows by the visitor's first
-- six bits. A question reads its row of each run.
CREATE TABLE visits (
    n       INTEGER PRIMARY KEY, -- 64 × the run's number + the visitor's first six bits
    first   INTEGER NOT NULL,    -- `seq` from which the run counts
    last    INTEGER NOT NULL,    -- the last event of the run
    entries BLOB    NOT NULL     -- 8 bytes a click: bytes 2 to 5 of the visitor's id, then `seq` - `first`, little endian
) STRICT;

-- The last event that `visits` holds; younger ones are looked through. One row.
CREATE TABLE visited (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO visited VALUES (1, 0);
