-- The outbox: what the control plane has decided, row by row, written in the transaction that decided it.

-- One row. `next` is the sequence number of the next entry: whoever writes entries locks it, so that numbers are given without
-- a gap and in the order of commits. Who changes items too locks the row of `feed` before.
CREATE TABLE outbox_head (
    one  SMALLINT NOT NULL PRIMARY KEY CHECK (one = 1),
    next BIGINT   NOT NULL
);
INSERT INTO outbox_head (one, next) VALUES (1, 1);

-- `node` is the data folder of the process that wrote the row: there the event goes into a journal. `body` is JSON, the `data`
-- of a webhook. `event` is an encoded fingerpost.v1.Event in base64, or NULL where the row is no event.
CREATE TABLE outbox (
    seq     BIGINT NOT NULL PRIMARY KEY,
    node    TEXT   NOT NULL,
    at_ms   BIGINT NOT NULL,
    kind    TEXT   NOT NULL,
    program TEXT   NOT NULL,
    body    TEXT   NOT NULL,
    event   TEXT
);
CREATE INDEX outbox_events ON outbox (node, seq) WHERE event IS NOT NULL;
CREATE INDEX outbox_at ON outbox (at_ms);

-- How far each consumer is: it is done with everything up to `seq`. The journal has one position a node; whoever takes the rows
-- of all nodes has the empty node.
CREATE TABLE outbox_positions (
    node     TEXT   NOT NULL,
    consumer TEXT   NOT NULL,
    seq      BIGINT NOT NULL,
    PRIMARY KEY (node, consumer)
);
