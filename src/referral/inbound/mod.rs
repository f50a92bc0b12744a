//! From what others send to facts. Pure: bodies, headers, secrets and the time come in, facts go out.
//!
//! **What is believed.** Nothing that is not signed with, or does not carry, one of the door's secrets. Signatures are
//! checked over the bytes as they came, before anything is read, in constant time; several secrets are accepted, so that they can
//! rotate. A signature that holds a time is good for five minutes.
//!
//! **What is done.** A body becomes events, each with an id that its sender gave and the facts that it tells. `desk` gives each
//! event its effect once, in one transaction with its id. What nobody needs is an event without facts: noted, answered 200,
//! so that its sender does not send it again for days.
//!
//! | file | |
//! |---|---|
//! | `signature` | who sent it |
//! | `stripe` | Stripe's events |
//! | `mapping` | anybody's events, by a description of where the fields are |
//! | `amount` | amounts as others write them |
//! | `sheet` | lines of CSV |

use serde_json::{Map, Value};

use super::deed::Deed;
use crate::{catalog::Mistake, core::id::EventId};

pub mod amount;
pub mod mapping;
pub mod sheet;
mod shown;
pub mod signature;
pub mod stripe;
#[cfg(test)]
mod stripe_test;

pub use shown::shown;
pub use signature::SignatureError;

/// The kinds of doors.
pub const KINDS: &[&str] = &["stripe", "generic"];

/// Something that happened elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What its sender calls it: it has its effect once.
    pub id: String,
    /// What sort of event it is, in the sender's words.
    pub kind: String,
    /// None: nothing follows from it, `why` says why.
    pub deeds: Vec<Deed>,
    pub why: &'static str,
}

/// What a door is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    Stripe(stripe::Settings),
    Generic(Box<mapping::Settings>),
}

impl Door {
    /// Reads the settings of a kind; all mistakes at once.
    pub fn read(kind: &str, settings: Map<String, Value>) -> Result<Door, Vec<Mistake>> {
        match kind {
            "stripe" => serde_json::from_value(Value::Object(settings))
                .map(Door::Stripe)
                .map_err(|error| vec![Mistake::new("settings", format!("is not as it should be: {error}"))]),
            "generic" => mapping::Settings::read(settings).map(|settings| Door::Generic(Box::new(settings))),
            other => {
                let problem = format!("`{other}` is not known: use one of {}", KINDS.join(", "));
                Err(vec![Mistake::new("kind", problem)])
            }
        }
    }

    /// The program that it names, and where.
    pub fn program(&self) -> Option<(&'static str, String)> {
        match self {
            Door::Stripe(settings) => settings.program.as_ref().map(|code| ("settings.program", code.to_string())),
            Door::Generic(settings) => settings.program().map(|code| ("settings.fields.program", code)),
        }
    }

    pub const fn kind(&self) -> &'static str {
        match self {
            Door::Stripe(_) => "stripe",
            Door::Generic(_) => "generic",
        }
    }

    /// As it is kept and shown.
    pub fn settings(&self) -> Value {
        match self {
            Door::Stripe(settings) => serde_json::to_value(settings),
            Door::Generic(settings) => serde_json::to_value(settings),
        }
        .unwrap_or_default()
    }

    /// The events in a body. `click` knows what a click token of ours says.
    pub fn events(
        &self,
        endpoint: &str,
        body: &[u8],
        click: &dyn Fn(&str) -> Option<EventId>,
    ) -> Result<Vec<Event>, Vec<Mistake>> {
        match self {
            Door::Stripe(settings) => stripe::read(body, settings, click).map(|event| vec![event]),
            Door::Generic(settings) => mapping::read(endpoint, body, settings),
        }
    }
}
