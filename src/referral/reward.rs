//! What becomes of a reward when what follows was computed again.

use super::{ledger::Withheld, outcome::Earned};
use crate::{
    catalog::record::{ReferralRow, RewardRow},
    core::{
        code::Code,
        fact::FactId,
        terms::{Owed, RewardState, Side},
        time::Millis,
    },
};

/// What is no longer earned at all: the facts say otherwise now.
pub(super) const NOT_EARNED: &str = "what was told since shows that it was not earned";

/// What makes a reward the same one.
pub(super) type Key = (Code, Side, FactId, u8);

pub(super) fn key(row: &RewardRow) -> Key {
    (row.rule.clone(), row.side, row.cause, row.level)
}

/// A reward as it is to be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) earned: Earned,
    pub(super) partner: Code,
    pub(super) level: u8,
    pub(super) owed: Owed,
    /// It waits until the referral qualifies.
    pub(super) pending: bool,
    pub(super) auto_issue: bool,
    /// Which limit of the rule it meets, where that is known beforehand; `None`: as it was.
    pub(super) withheld: Option<&'static str>,
}

impl Wanted {
    pub(super) fn key(&self) -> Key {
        (self.earned.rule.clone(), self.earned.side, self.earned.cause, self.level)
    }

    /// The same, where the rule's limits are asked afterwards: it is not issued by itself before that.
    pub(super) fn row_to_be_limited(
        &self,
        referral: &ReferralRow,
        old: Option<&RewardRow>,
        id: FactId,
        now: Millis,
    ) -> RewardRow {
        let mut row = self.row(referral, old, id, now);
        if row.state == RewardState::Issued && old.is_none_or(|old| old.issued_at.is_none()) {
            // Whoever releases what was held long enough issues it, if it is still there to be issued.
            (row.state, row.issued_at) = (RewardState::Held, None);
        }
        row
    }

    /// The row for it; `old` is what was there.
    pub(super) fn row(&self, referral: &ReferralRow, old: Option<&RewardRow>, id: FactId, now: Millis) -> RewardRow {
        let mut row = old.cloned().unwrap_or_else(|| RewardRow {
            id,
            referral: referral.id,
            program: referral.program.clone(),
            partner: self.partner.clone(),
            rule: self.earned.rule.clone(),
            side: self.earned.side,
            cause: self.earned.cause,
            level: self.level,
            owed: self.owed.clone(),
            state: RewardState::Pending,
            reason: String::new(),
            withheld: String::new(),
            auto_issue: self.auto_issue,
            earned_at: self.earned.at,
            held_until: self.earned.held_until,
            issued_at: None,
            reference: String::new(),
        });
        if row.issued_at.is_none() {
            (row.partner, row.owed) = (self.partner.clone(), self.owed.clone());
            (row.earned_at, row.held_until) = (self.earned.at, self.earned.held_until);
            row.auto_issue = self.auto_issue;
        }
        if let Some(withheld) = self.withheld
            && row.issued_at.is_none()
        {
            row.withheld = withheld.to_owned();
        }
        if self.earned.reversed.is_some() {
            // What is taken back has no place in the ledgers, and so nothing there withholds it.
            row.withheld = String::new();
        }
        stand(&mut row, self.earned.reversed, self.pending, now);
        row
    }
}

/// Puts a reward into the state in which it is at this time.
pub(super) fn stand(row: &mut RewardRow, reversed: Option<&str>, pending: bool, now: Millis) {
    let withheld =
        [Withheld::NotThisTime, Withheld::Cap, Withheld::Budget].into_iter().find(|w| w.tag() == row.withheld);
    (row.state, row.reason) = match (reversed, withheld) {
        (Some(reason), _) => (RewardState::Reversed, reason.to_owned()),
        _ if row.issued_at.is_some() => (RewardState::Issued, String::new()),
        (None, Some(withheld)) => (RewardState::Reversed, withheld.words().to_owned()),
        (None, None) if pending => (RewardState::Pending, String::new()),
        (None, None) if now < row.held_until => (RewardState::Held, String::new()),
        (None, None) if row.auto_issue => {
            row.issued_at = Some(now);
            (RewardState::Issued, String::new())
        }
        (None, None) => (RewardState::Due, String::new()),
    };
}

/// Whether it is reversed for its own sake, and not because a limit of the rule withholds it: then it takes no place in the
/// rule's ledgers.
pub(super) fn is_taken_back(row: &RewardRow) -> bool {
    row.state == RewardState::Reversed && row.withheld.is_empty()
}
