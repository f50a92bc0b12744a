-- Rows of `events` from before this time were deleted (retention.events); their sums stay. One row, none as long as nothing went.
CREATE TABLE kept (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    since_ms INTEGER NOT NULL
) STRICT;
