//! The edge: answers tracking links.
//!
//! One request is one flat function of early returns (`service.rs`): decode → resolve → record → respond. `decode`,
//! `resolve` and `respond` are pure; the click is in the journal before its redirect leaves. Each worker is a thread with
//! its own runtime, listener and journal lane, and shares nothing that it writes.
//!
//! | files | what |
//! |---|---|
//! | `listener` `worker` `connection` `admit` `life` `watched` `socket` `counters` | connections, and every deadline of theirs |
//! | `tls` `proxy` `head` `guard` | what comes before a request: certificates, PROXY header, head limits, HTTP/2 floods |
//! | `service` `click` `note` | one request, from its head to its recorded answer |
//! | `decode` `query` `client` `sighting` | what is asked, and by whom |
//! | `resolve` `destination` `visitor` | where it leads, who is credited, what the cookie says |
//! | `record` `respond` `about` `preview` `beacon` | the event, the answer |
//! | `hand_over` | what the control plane answers: leads of forms, webhooks of others |

pub mod connection;
pub mod counters;
pub mod listener;
pub mod proxy;
pub mod tls;

mod about;
mod admit;
mod beacon;
mod click;
pub mod client;
pub mod decode;
pub mod destination;
mod guard;
mod hand_over;
mod head;
mod life;
mod note;
mod preview;
pub mod query;
pub mod record;
pub mod resolve;
mod respond;
mod service;
pub mod sighting;
mod socket;
pub mod visitor;
mod watched;
mod worker;

pub use hand_over::{Handed, HandedOver};
pub use service::{Edge, Settings, Shared};
