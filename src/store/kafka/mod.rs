//! Kafka as a place for events: many edges write there, `fingerpost load` takes them on to ClickHouse.
//!
//! **Promise.** One Kafka transaction holds a batch's events and, for each lane, a *checkpoint*: the sequence number that
//! the lane goes on with. Either all of it is there for who reads `read_committed`, or nothing. So the positions that
//! [`crate::store::Sink::positions`] gives are exactly those of the events.
//!
//! **Checkpoint.** A record of the compacted checkpoints topic: key the lane's 32 hexadecimal digits, value
//! `{"next":17}`; no value: the lane is gone. It is produced only when the broker holds all events of the transaction.
//!
//! **Who may have a transaction open.** A process that was killed leaves one open, and its last words may still be on their
//! way to the broker. Whoever takes over its lanes therefore notes the end of the checkpoints topic, and waits until
//! every transaction below that end is committed or aborted, before it reads: a commit that is still to come has its
//! checkpoint below that end already, because checkpoints are acknowledged before a commit is asked for. The broker ends
//! what a dead process left after `kafka.transaction_timeout`; ending it at once, by starting a producer with the same
//! transactional id, only saves time.
//!
//! **Transactional ids.** `fingerpost-NODE-SLOT`: NODE is random and stands in the data folder, SLOT is a lock file there, so
//! that an old and a new version may run beside one another on one folder. Two edges with the same id (a copied data
//! folder) fence each other off: that is said. While they do, lanes that both have are counted once; with ids of their own nothing
//! guards such lanes, so one of the two has to lose them first.
//!
//! **Errors** are sorted once, in `error.rs`. A producer that cannot go on is thrown away; the next one asks the broker what
//! became of the last transaction by reading the checkpoints again. A record that Kafka refuses for its own fault goes to
//! `DATA/set-aside/`, one file a record, before the checkpoint passes it.
//!
//! | file | |
//! |---|---|
//! | `client` | settings, statistics, what the library last complained about |
//! | `oauth` | the token of SASL OAUTHBEARER |
//! | `error` | what an error means |
//! | `slot` | transactional ids |
//! | `checkpoints` | reading and writing positions |
//! | `aside` | records that Kafka refuses |
//! | `blocking` | the library's calls that block |
//! | `sink` | events in, one transaction a batch |
//! | `source` | events out, for the loader: a member of a consumer group |
//! | `topics` | making the topics, and looking whether they are there |

mod aside;
mod blocking;
mod checkpoints;
mod client;
mod error;
mod oauth;
mod sink;
mod slot;
mod source;
#[cfg(test)]
mod tests;
pub mod topics;

pub use sink::KafkaSink;
pub use source::KafkaSource;
