//! What would follow for all of a program, computed at once from all of its history: the same rules as in `follow`, which computes
//! one person at a time. Nothing is read or written here.

use std::collections::{BTreeMap, HashMap};

use super::{
    follow::{referral_row, shares},
    ledger::{Entry, OfPartner, OfRule, Withheld},
    outcome::{Outcome, Terms, outcome},
    review::{self, Judged, Subject, World},
    reward::{self, Key, NOT_EARNED, Wanted, is_taken_back, stand},
};
use crate::{
    catalog::{
        Program,
        record::{ContactId, History, ReferralRow, RewardRow},
    },
    core::{
        code::Code,
        fact::{Case, FactId},
        terms::{Owed, RewardRule, Side},
        time::Millis,
    },
};

/// A referral as it is and as it would be.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) before: ReferralRow,
    pub(super) after: ReferralRow,
    pub(super) rewards: Vec<PlannedReward>,
}

/// A reward as it is and as it would be. A new one has no id yet.
#[derive(Clone, Debug)]
pub(super) struct PlannedReward {
    pub(super) before: Option<RewardRow>,
    /// `None`: it would be gone without a trace.
    pub(super) after: Option<RewardRow>,
    /// As it is earned; `None`: it is not.
    wanted: Option<Wanted>,
}

impl Planned {
    pub(super) fn is_change(&self) -> bool {
        self.before != self.after || self.rewards.iter().any(|reward| reward.before != reward.after)
    }

    /// Grants or withholds what was earned, as the ledgers say.
    fn settle(&mut self, hints: &Hints, now: Millis) {
        let Planned { after: referral, rewards, .. } = self;
        for PlannedReward { before, after, wanted } in rewards {
            let Some(wanted) = wanted else { continue };
            wanted.withheld = hints.of(referral.id, &wanted.key());
            let id = before.as_ref().map_or(NO_ID, |before| before.id);
            *after = Some(wanted.row(referral, before.as_ref(), id, now));
        }
    }
}

/// What the limits of rules withhold: of each reward (referral, rule, side, cause) which limit, or nothing.
#[derive(Clone, Debug)]
pub(super) struct Hints {
    pub(super) program: Code,
    withheld: HashMap<(FactId, Code, Side, FactId), &'static str>,
}

impl Hints {
    pub(super) fn of(&self, referral: FactId, (rule, side, cause, _): &Key) -> Option<&'static str> {
        self.withheld.get(&(referral, rule.clone(), *side, *cause)).copied()
    }
}

/// What would follow for all of a program.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// In the order of history.
    pub(super) referrals: Vec<Planned>,
    pub(super) hints: Hints,
    /// The time at which rewards stand so.
    pub(super) at: Millis,
}

/// The id of what is not written yet.
const NO_ID: FactId = FactId([0; 16]);

impl Plan {
    /// What would follow from a history under the terms of `program`.
    pub(super) fn of(history: &History, program: &Program, now: Millis) -> Plan {
        let world = World::new(history.related.clone());
        let mut rewards: HashMap<FactId, Vec<RewardRow>> = HashMap::new();
        for row in &history.rewards {
            rewards.entry(row.referral).or_default().push(row.clone());
        }
        let terms = Terms { credit: program.credit, qualification: &program.qualification, rewards: &program.rewards };
        let mut referrals = Vec::with_capacity(history.referrals.len());
        for before in &history.referrals {
            // Of whom there is no lead any more nothing is computed: another referral has their facts.
            let Some(case) = history.cases.get(&before.contact) else { continue };
            let old = rewards.remove(&before.id).unwrap_or_default();
            let followed = outcome(before.id, case.clone(), terms);
            let judged = judged(&world, before.contact, case, &followed, program);
            let after = referral_row((before.contact, before.id), program, &followed, &judged);
            let (after, earned) = match after {
                Some(after) => (after, followed),
                None => (before.clone(), Outcome { earned: Vec::new(), ..followed }),
            };
            let rewards = plan_rewards(history, program, &after, earned, old, now);
            referrals.push(Planned { before: before.clone(), after, rewards });
        }
        let others: Vec<RewardRow> = rewards.into_values().flatten().collect();
        let mut withheld = HashMap::new();
        for rule in &program.rewards {
            go_through(rule, &referrals, &others, &mut withheld);
        }
        let hints = Hints { program: program.code.clone(), withheld };
        for planned in &mut referrals {
            planned.settle(&hints, now);
        }
        Plan { referrals, hints, at: now }
    }
}

/// What review says of somebody's referral.
pub(super) fn judged(world: &World, contact: ContactId, case: &Case, followed: &Outcome, program: &Program) -> Judged {
    let (Some(credited), Some(since)) = (&followed.credited, followed.since) else { return Judged::default() };
    let Some(lead) = case.leads.iter().find(|lead| Some(lead.place.id) == followed.lead) else {
        return Judged::default();
    };
    let subject = Subject { contact, partner: &credited.partner, lead };
    review::judge(world, subject, case, since, &program.review)
}

fn plan_rewards(
    history: &History,
    program: &Program,
    referral: &ReferralRow,
    followed: Outcome,
    old: Vec<RewardRow>,
    now: Millis,
) -> Vec<PlannedReward> {
    let parents = history.parents(&referral.partner, program.parent_shares.len());
    let mut old: BTreeMap<Key, RewardRow> = old.into_iter().map(|row| (reward::key(&row), row)).collect();
    let mut planned = Vec::new();
    for earned in followed.earned {
        for wanted in shares(program, referral, &parents, &earned) {
            let before = old.remove(&wanted.key());
            let id = before.as_ref().map_or(NO_ID, |before| before.id);
            // What is issued by itself is issued when the ledgers have been asked.
            let unsettled = Wanted { auto_issue: false, ..wanted.clone() };
            let after = Some(unsettled.row(referral, before.as_ref(), id, now));
            planned.push(PlannedReward { before, after, wanted: Some(wanted) });
        }
    }
    for (_, before) in old {
        let mut row = before.clone();
        row.withheld = String::new();
        stand(&mut row, Some(NOT_EARNED), false, now);
        let after = row.issued_at.is_some().then_some(row);
        planned.push(PlannedReward { before: Some(before), after, wanted: None });
    }
    planned
}

/// Goes through a rule's whole ledger, in its order, and notes what its limits withhold.
fn go_through(
    rule: &RewardRule,
    referrals: &[Planned],
    others: &[RewardRow],
    hints: &mut HashMap<(FactId, Code, Side, FactId), &'static str>,
) {
    let planned =
        referrals.iter().flat_map(|planned| planned.rewards.iter().filter_map(|reward| reward.after.as_ref()));
    let mut ledger: Vec<&RewardRow> =
        planned.chain(others).filter(|row| row.rule == rule.code && row.level == 0).collect();
    // As SQL orders it.
    ledger.sort_by_key(|row| (row.earned_at, row.cause, row.side.word()));
    let mut partners: BTreeMap<(Side, &Code), OfPartner<'_>> = BTreeMap::new();
    let mut of_rule = OfRule::new(rule);
    for row in ledger {
        let of_partner = partners.entry((row.side, &row.partner)).or_insert_with(|| OfPartner::new(rule));
        let money = match row.owed {
            Owed::Money(money) => Some(money),
            Owed::Gift(_) => None,
        };
        let entry = Entry { at: row.earned_at, money, reversed: is_taken_back(row) };
        let granted = of_partner.next(entry).and_then(|()| of_rule.next(entry));
        if !entry.reversed {
            let key = (row.referral, rule.code.clone(), row.side, row.cause);
            hints.insert(key, granted.err().map_or("", Withheld::tag));
        }
    }
}
