//! The edge: answers tracking links.
//!
//! One request is one flat function of early returns ([`service`]): decode → resolve → record → respond. `decode`,
//! `resolve` and `respond` are pure; the click is in the journal before its redirect leaves. Each worker is a thread with
//! its own runtime, listener and journal lane, and shares nothing that it writes.

mod about;
mod beacon;
mod click;
mod client;
pub mod connection;
mod decode;
mod destination;
pub mod listener;
mod note;
mod query;
mod record;
mod resolve;
mod respond;
mod service;
mod share;
mod sighting;
mod visitor;

pub use service::{Edge, Settings, Shared};
