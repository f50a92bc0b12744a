//! The edge: answers tracking links.
//!
//! One request is one flat function of early returns ([`service`]): decode → resolve → record → respond. `decode`,
//! `resolve` and `respond` are pure; the click is in the journal before its redirect leaves. Each worker is a thread with
//! its own runtime, listener and journal lane, and shares nothing that it writes.

mod about;
mod beacon;
mod client;
mod decode;
mod destination;
mod query;
mod resolve;
mod respond;
mod share;
