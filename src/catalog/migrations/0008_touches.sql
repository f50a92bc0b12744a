-- The clicks of people whom we know, as far as they may be credited.

-- How much of the visitor's history in the event store stands in `touches`: 0 nothing yet; 1 what the store knew at the lead;
-- 2 what it knew after that, from when on whoever follows arriving clicks misses none. `at_ms` is the time of the earliest lead
-- that bound the visitor.
ALTER TABLE contact_visitors ADD COLUMN history SMALLINT NOT NULL DEFAULT 0;
CREATE INDEX contact_visitors_unasked ON contact_visitors (visitor) WHERE history < 2;

-- Facts: counted, credited clicks of visitors that are bound to a contact. They come from the event store and stay here when
-- it forgets them.
CREATE TABLE touches (
    click   TEXT   NOT NULL PRIMARY KEY,
    visitor TEXT   NOT NULL,
    program TEXT,
    link    TEXT,
    partner TEXT   NOT NULL,
    ad      TEXT,
    at_ms   BIGINT NOT NULL
);
CREATE INDEX touches_visitor ON touches (visitor, at_ms);

-- How far arriving clicks were followed, in each log of an event store.
CREATE TABLE click_positions (
    store    TEXT   NOT NULL,
    source   TEXT   NOT NULL,
    log      BIGINT NOT NULL,
    next     BIGINT NOT NULL,
    PRIMARY KEY (store, source, log)
);

-- 1: nobody told it; a click of a known contact stands for it. 2: the same, and it is not needed any more.
ALTER TABLE leads ADD COLUMN by_click SMALLINT NOT NULL DEFAULT 0;
