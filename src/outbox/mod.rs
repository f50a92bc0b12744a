//! What leaves by itself: webhooks, from the catalog's outbox, and mails, from its queue.
//!
//! **Promise.** A row of the outbox reaches every active endpoint that asks for its kind and program at least once, or the
//! log says that it was given up. Which rows an endpoint has had is stored in the catalog with each try. A crash between a
//! POST and its record makes a second POST with the same `webhook-id`: receivers drop by it what they have had. Exactly once
//! is not to be had over HTTP, and nothing here claims it.
//!
//! **Order, and what fails.** First tries go to an endpoint one after the other, in the order of the outbox. A row that fails
//! is set aside with its own schedule (doubling waits with jitter, for days), and the rows behind it go on: one event that a
//! receiver chokes on must not hold back those that it would take. So a receiver may see a later event first, and orders by
//! what the events say (`timestamp`, and the state in `data`). When several rows fail in a row it is the endpoint and not the
//! row: then it *rests*, with growing waits of at most minutes, and after each rest one event is spent on finding out whether
//! it is back. All others stay in the outbox, untried, and follow at once when it is, with what was set aside meanwhile.
//! Endpoints do not wait for each other.
//!
//! **Who delivers.** Of several control planes over one catalog, one at a time serves an endpoint: by a lease, taken with a
//! conditional UPDATE, and renewed with every record. Who lost it records nothing. Clocks that differ by more than the margin of
//! a lease cost second tries with the same `webhook-id`, nothing else.
//!
//! **Where webhooks may go**: `guard`.
//!
//! | file | |
//! |---|---|
//! | `webhooks` `visit` | the deliverer; one endpoint's turn |
//! | `attempt` | one try, and what it means; the test of an endpoint |
//! | `message` | body, id, signatures |
//! | `guard` `post` | where to; the request |
//! | `schedule` | when again |
//! | `mail` | the queue of mails, to a folder or a mail server |

use std::{fmt::Display, path::Path};

use crate::catalog::CatalogError;

mod attempt;
mod guard;
mod mail;
mod message;
mod post;
mod schedule;
mod visit;
mod webhooks;

pub use attempt::Tester;
pub use guard::Guard;
pub use mail::{Mailer, check_mail};
pub use post::check_webhooks;
pub use webhooks::Webhooks;

/// Why webhooks or mail cannot be made ready; and what stops a look into the catalog.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    #[error("{key}: {file} cannot be used: {problem}")]
    File { key: &'static str, file: String, problem: String },
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    #[error("{key}: {problem}")]
    Setting { key: &'static str, problem: String },
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("no random numbers: {0}")]
    Random(#[from] std::io::Error),
}

impl OutboxError {
    fn file(key: &'static str, file: &Path, problem: &dyn Display) -> OutboxError {
        OutboxError::File { key, file: file.display().to_string(), problem: problem.to_string() }
    }

    /// For logs.
    pub const fn tag(&self) -> &'static str {
        match self {
            OutboxError::File { .. } => "file",
            OutboxError::Tls(_) => "tls",
            OutboxError::Setting { .. } => "setting",
            OutboxError::Catalog(error) => error.tag(),
            OutboxError::Random(_) => "random",
        }
    }
}
