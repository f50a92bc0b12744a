//! The time of day. One read a turn of the event loop is enough; whoever needs a time takes it as an argument.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::core::time::Millis;

/// Where the time comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    System,
    /// Stands still until a test moves it.
    Manual(Arc<AtomicI64>),
    /// The system's, so many milliseconds on: it goes by itself, and a test moves it on by days.
    Shifted(Arc<AtomicI64>),
}

impl Clock {
    pub fn manual(start: Millis) -> Clock {
        Clock::Manual(Arc::new(AtomicI64::new(start.0)))
    }

    pub fn shifted() -> Clock {
        Clock::Shifted(Arc::default())
    }

    pub fn now(&self) -> Millis {
        match self {
            Clock::System => system(),
            Clock::Manual(millis) => Millis(millis.load(Ordering::Relaxed)),
            Clock::Shifted(by) => system().plus(by.load(Ordering::Relaxed)),
        }
    }

    /// Moves a test's clock; the system's does not move for anybody.
    pub fn advance(&self, ms: i64) {
        match self {
            Clock::System => {}
            Clock::Manual(millis) | Clock::Shifted(millis) => {
                millis.fetch_add(ms, Ordering::Relaxed);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
fn system() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
