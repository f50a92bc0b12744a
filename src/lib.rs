//! Fingerpost: a redirect and click-ingest edge for referral programs.
//!
//! The promise: **every redirect that we answered is in the reports exactly once.** `docs/ARCHITECTURE.md` has the
//! picture; each room below opens with what it promises. A room imports only from rooms on floors below its own
//! (`tests/floors.rs` holds that).
//!
//! | floor | rooms |
//! |---|---|
//! | 5 | [`app`], [`cli`] |
//! | 4 | [`edge`], [`pump`], [`api`], [`pages`] |
//! | 3 | [`referral`], [`outbox`], [`report`] |
//! | 2 | [`catalog`], [`journal`], [`store`] |
//! | 1 | [`links`], [`enrich`], [`io`], [`telemetry`], [`config`] |
//! | 0 | [`core`], `testing` (the real stores, for tests) |

pub mod api;
pub mod app;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod core;
pub mod edge;
pub mod enrich;
pub mod io;
pub mod journal;
pub mod links;
pub mod outbox;
pub mod pages;
pub mod pump;
pub mod referral;
pub mod report;
pub mod store;
pub mod telemetry;
#[cfg(test)]
pub(crate) mod testing;
