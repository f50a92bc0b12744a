//! What is told about a person: leads, conversions, rulings. Facts are ordered by the time at which they happened, then by their ids: never by arrival.

use serde::{Deserialize, Serialize};

use super::{code::Code, id::EventId, money::Money, review::Signal, time::Millis};

/// A fact's place in history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    pub at: Millis,
    /// Tells apart what happened in the same millisecond, the same way every time.
    pub id: FactId,
}

/// A fact's id: a UUIDv7, or 16 bytes derived from what the fact's source calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactId(pub [u8; 16]);

/// As a UUID.
impl std::fmt::Display for FactId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        EventId(self.0).fmt(f)
    }
}

impl std::str::FromStr for FactId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<FactId, uuid::Error> {
        text.parse::<EventId>().map(|id| FactId(id.0))
    }
}

impl Serialize for FactId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FactId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<FactId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Somebody who is credited: a partner, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credited {
    pub partner: Code,
    pub link: Option<Code>,
    pub ad: Option<Code>,
    /// The click; none where a partner's code was given without one.
    pub click: Option<EventId>,
}

/// A person left their name: a form, a registration, a call by the business's own program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    pub place: Place,
    /// Who is credited for this lead, by its decision.
    pub credited: Option<Credited>,
    /// The network that it came from, where somebody said so: `203.0.113.0/24` or `2001:db8:1::/48`.
    pub network: Option<String>,
}

/// A business event of a person: a sale, a subscription, anything with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    pub place: Place,
    pub event: String,
    pub money: Option<Money>,
    /// Minor units that were paid back by now; at most `money`'s amount.
    pub refunded: i64,
    /// Taken back as a whole, also one without an amount.
    pub reversed: bool,
}

/// Name of the event by which a subscription ends: nothing is paid, and it qualifies only where a program names it.
pub const SUBSCRIPTION_ENDED: &str = "subscription_ended";

impl Conversion {
    /// Whether it is an end rather than a beginning.
    pub fn is_end(&self) -> bool {
        self.event == SUBSCRIPTION_ENDED
    }

    /// What is left of it; `None`: it had no amount, or nothing is left.
    pub fn net(&self) -> Option<Money> {
        let money = self.money?;
        let left = money.amount.saturating_sub(self.refunded);
        (!self.reversed && left > 0).then_some(Money { amount: left, ..money })
    }

    /// Whether it was taken back as a whole.
    pub fn is_gone(&self) -> bool {
        self.reversed || self.money.is_some_and(|money| money.amount > 0 && self.refunded >= money.amount)
    }
}

/// What somebody decided by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    pub place: Place,
    pub verdict: Verdict,
    pub note: String,
    /// With an approval: the signals that whoever approved had before them.
    pub covers: Vec<Signal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Qualify,
    Reject,
    /// Review: it is fine, whatever the signals say.
    Approve,
}

super::program::words!(Verdict { Qualify = "qualify", Reject = "reject", Approve = "approve" });

/// All that is known of one person in one program, in any order.
#[derive(Clone, Debug, Default)]
pub struct Case {
    pub leads: Vec<Lead>,
    pub conversions: Vec<Conversion>,
    pub rulings: Vec<Ruling>,
}

impl Case {
    /// Puts everything into the order of history.
    pub fn in_order(mut self) -> Case {
        self.leads.sort_by_key(|lead| lead.place);
        self.conversions.sort_by_key(|conversion| conversion.place);
        self.rulings.sort_by_key(|ruling| ruling.place);
        self
    }
}
