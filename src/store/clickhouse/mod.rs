//! ClickHouse: raw events, and sums behind materialized views that outlive them (`config/clickhouse`).
//!
//! **Promise:** each event is one row and is in each sum once, whatever is killed or repeated. ClickHouse has no transaction
//! over several tables, so the promise rests on three things:
//!
//! 1. *One range is one insert block under one token.* The token makes a repetition harmless while the tables remember it.
//! 2. *Rows say where they come from* (`source`, `partition`, `offset`). Which offsets are there can be asked at any time.
//! 3. *Rollups say how far they are.* Each keeps, in the same part as its sums, the highest offset that they hold, by month,
//!    source and partition: the ledger. A part is written whole or not at all. So a server that was killed between the rows
//!    and a rollup is noticed, and what is missing is added from the rows.
//!
//! [`Store::insert`] is for a range that was never tried. After any error or restart [`Store::recover`] finds out what is
//! there and completes it: that is right even when the token is long forgotten. It counts on this: offsets of a source and
//! partition are inserted in ascending order, a range only after the one before it is complete; and rows come before
//! rollups (ClickHouse commits the table's own parts before those of its views; a test kills it in between).
//!
//! | file | what |
//! |---|---|
//! | `store.rs` | the connection, inserting, which offsets are there |
//! | `recover.rs` | a range of which nobody knows how far it came |
//! | `block.rs` | rows of an insert, from events; `column.rs` has them as ClickHouse reads them fastest |
//! | `sink.rs` | the sink without Kafka |
//! | `load.rs` | the loader's ranges |
//! | `beside.rs` | records set aside, positions, names |
//! | `reports.rs` | reading; `question.rs` makes the statements' common parts, `answer.rs` takes their rows |
//! | `touches.rs` | the touches of visitors, and what arrived |
//! | `keep.rs` | forgetting |
//! | `schema.rs` | migrations and the check of the schema |
//! | `error.rs` | which errors are worth another try |

mod answer;
mod beside;
mod block;
mod column;
mod error;
mod keep;
mod load;
mod question;
mod recover;
mod reports;
mod schema;
mod sink;
mod store;
#[cfg(test)]
mod tests;
mod touches;

pub use beside::{Aside, NameRow, Named};
pub use block::Block;
pub use error::StoreError;
pub use keep::ClickHouseKeeper;
pub use load::ClickHouseTable;
pub use reports::ClickHouseReports;
pub use schema::{Change, VERSION};
pub use sink::ClickHouseSink;
pub use store::Store;
