//! From click to reward: leads, attribution, qualification, rewards.
//!
//! **Promise.** What is told about a person — leads, conversions, refunds, rulings by hand — are facts, each with the time at
//! which it happened. Everything else follows from them: who is credited, whether the referral qualified, what is owed. So
//! the order in which facts arrive does not matter, and a fact that arrives twice changes nothing; what follows is computed
//! anew with each fact, and written in the same transaction. What was paid out stays paid: a reward that was issued is never
//! changed, only marked as reversed.
//!
//! | file | |
//! |---|---|
//! | `attribution` | the candidates for the credit of a lead, who wins, and why each other one loses |
//! | `outcome` | what follows for one referral: its standing, and what was earned |
//! | `ledger` | what of it is granted: each n-th, milestones, caps, budgets, over all referrals of a partner or of a rule |
//! | `reward` | what becomes of a reward that was computed again |
//! | `by_click` | which clicks of a known contact stand for a lead |
//! | `review` | what makes a referral doubtful, and whether it is held until somebody looks at it |
//! | `plan` | what would follow for all of a program, and which of it is new |
//! | `told` | what somebody tells us, checked |
//! | `desk` | the doors: a fact comes in, in one transaction with what follows |
//! | `deed` | facts that others tell in one go: an event of a provider, lines of a file |
//! | `further` | what a payment provider tells besides: several names for a person, and for a payment |
//! | `inbound` | from what others send to facts: Stripe, webhooks with a mapping, lines of a file; signatures |
//! | `upload` | files of facts, step by step |
//! | `history` | the same, and what others are told of conversions and refunds |
//! | `evidence` | what a lead says of who brought the person, and who of them may be credited |
//! | `rejudge` | what the touches of a contact's visitors say about the leads |
//! | `clicks` | the event store's clicks: asked for at a lead, followed as they arrive |
//! | `whole` | a fact that was begun is brought to its end |
//! | `once` | requests that have their effect once |
//! | `follow` | what follows, brought into the record |
//! | `notice` | what is due, told by mail |
//! | `joining` | partners who join by themselves, and the link that each shares |
//! | `dry_run` | what changed terms would do, without doing it |
//! | `background` | changed terms, and what concerns many, brought to history |
//!
//! All but `desk`, `deed`, `further`, `evidence`, `once`, `whole`, `follow`, `joining`, `notice`, `history`, `rejudge`, `clicks`, `dry_run` and `background` are pure: they take facts, terms and time
//! as arguments and know no store.

#[cfg(test)]
mod arrival_test;
pub mod attribution;
mod background;
mod by_click;
mod clicks;
#[cfg(test)]
mod clicks_test;
pub mod deed;
pub mod desk;
pub mod dry_run;
mod evidence;
mod follow;
mod further;
mod history;
pub mod inbound;
mod joining;
pub mod ledger;
mod notice;
mod once;
pub mod outcome;
mod plan;
mod rejudge;
mod review;
mod reward;
#[cfg(test)]
mod sums_test;
#[cfg(test)]
mod tests;
pub mod told;
pub mod upload;
mod whole;

pub use background::AskError;
pub use clicks::{ClickFollower, ClicksError};
pub use desk::{Desk, DeskError};
pub use once::Once;
