//! A reward in words for whoever gets it: what, how it stands, and since or until when.

use super::words::Words;
use crate::{
    catalog::record::RewardRow,
    core::terms::{Owed, RewardState},
};

#[derive(Debug)]
pub(super) struct Told {
    pub(super) what: String,
    pub(super) program: String,
    pub(super) state: String,
    /// Its state's word, for the style.
    pub(super) class: &'static str,
    pub(super) when: String,
}

impl Told {
    pub(super) fn new(words: Words<'_>, reward: &RewardRow) -> Told {
        let day = |at| words.day(at);
        let (state, when) = match reward.state {
            RewardState::Pending => {
                (words.say("state_pending"), words.with("when_since", "day", &day(reward.earned_at)))
            }
            RewardState::Held => {
                (words.say("state_held"), words.with("when_held_until", "day", &day(reward.held_until)))
            }
            RewardState::Due => (words.say("state_due"), words.with("when_since", "day", &day(reward.held_until))),
            RewardState::Issued => {
                let at = reward.issued_at.unwrap_or(reward.held_until);
                (words.say("state_issued"), words.with("when_on", "day", &day(at)))
            }
            RewardState::Reversed => (words.say("state_reversed"), String::new()),
        };
        let what = match &reward.owed {
            Owed::Money(money) => money.to_string(),
            Owed::Gift(gift) => gift.clone(),
        };
        Told { what, program: reward.program.to_string(), state, class: reward.state.word(), when }
    }
}
