//! What changed terms would do to a program's history, without doing it.
//!
//! **Promise.** A dry-run says exactly what switching the same terms on then does, as long as nothing is told in between: both are the
//! same computation (`plan`) over the same history, and a test compares them reward by reward. It reads one view of the catalog, takes
//! no lock that a writer waits for, and writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Desk, DeskError,
    plan::{Plan, Planned, PlannedReward},
    told::whole,
};
use crate::{
    catalog::{
        Catalog, CatalogError, Mistake, Program,
        record::{ReferralRow, RewardRow},
    },
    core::{
        code::Code,
        limits::{DRY_RUN_SAMPLES, PLAN_REFERRALS_MAX},
        review::Review,
        terms::{self, Owed, Qualification, RewardRule, RewardState, Side},
        time::Millis,
    },
    io::clock::Clock,
};

/// Terms to try. What is not given stays as the program has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    pub program: Code,
    pub qualification: Option<Qualification>,
    pub rewards: Option<Vec<RewardRule>>,
    pub review: Option<Review>,
    /// Only referrals that came since then are counted.
    pub since: Option<Millis>,
}

impl Trial {
    pub const FIELDS: &'static [&'static str] = &["program", "qualification", "rewards", "review", "since"];

    pub fn read(object: Map<String, Value>) -> Result<Trial, Vec<Mistake>> {
        whole(object, Self::FIELDS, |reader| {
            let program = reader.code("program");
            let qualification = reader.json::<Option<Qualification>>("qualification");
            let rewards = reader.json::<Option<Vec<RewardRule>>>("rewards");
            let review = reader.json::<Option<Review>>("review");
            for (field, checked) in [
                ("qualification", qualification.as_ref().map_or(Ok(()), Qualification::check)),
                ("rewards", rewards.as_deref().map_or(Ok(()), terms::check_rewards)),
                ("review", review.as_ref().map_or(Ok(()), Review::check)),
            ] {
                if let Err(error) = checked {
                    reader.mistake(format!("{field}{}", error.field), error.problem);
                }
            }
            let since = reader.checked("since", |text| text.parse::<Millis>());
            Some(Trial { program: program?, qualification, rewards, review, since })
        })
    }

    /// The program as it would be.
    fn over(&self, program: &Program) -> Program {
        let Program { qualification, rewards, review, .. } = program.clone();
        Program {
            qualification: self.qualification.clone().unwrap_or(qualification),
            rewards: self.rewards.clone().unwrap_or(rewards),
            review: self.review.clone().unwrap_or(review),
            ..program.clone()
        }
    }
}

/// Rewards and what they come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Sum {
    pub count: u64,
    /// Minor units; of changed ones the difference.
    pub amount: i64,
}

impl Sum {
    fn add(&mut self, amount: i64) {
        self.count += 1;
        self.amount = self.amount.saturating_add(amount);
    }
}

/// What would become of rewards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Moved {
    /// Null: of all rules.
    #[schema(value_type = Option<String>)]
    pub rule: Option<Code>,
    /// Null: gifts.
    pub currency: Option<String>,
    /// Not owed now, and owed then.
    pub arise: Sum,
    /// Owed now and then: another amount, another partner, another state.
    pub change: Sum,
    /// Of the changed ones those that would begin to wait for somebody's word.
    pub wait: Sum,
    /// Owed now, and not then.
    pub go: Sum,
}

/// A reward in an example, now and then. Null: it is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SampleReward {
    #[schema(value_type = String)]
    pub rule: Code,
    pub side: Side,
    pub level: u8,
    pub before: Option<SampleState>,
    pub after: Option<SampleState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SampleState {
    pub owed: Owed,
    pub state: RewardState,
    pub reason: String,
}

/// An example: a referral now and then, with the rewards that change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Sample {
    pub before: ReferralRow,
    pub after: ReferralRow,
    pub rewards: Vec<SampleReward>,
}

/// What terms would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Prediction {
    #[schema(value_type = String)]
    pub program: Code,
    #[schema(value_type = String, format = DateTime)]
    pub at: Millis,
    /// Referrals that were looked at.
    pub referrals: u64,
    /// Those for which anything changes.
    pub changed: u64,
    /// Held then, and not now.
    pub held: u64,
    /// Held now, and not then.
    pub freed: u64,
    pub qualified: u64,
    pub rejected: u64,
    /// Qualified or rejected now, and pending then.
    pub reopened: u64,
    /// Another partner has the credit then.
    pub credited_otherwise: u64,
    pub by_rule: Vec<Moved>,
    pub by_currency: Vec<Moved>,
    /// Some of those that change: of each kind the most doubtful ones.
    pub samples: Vec<Sample>,
}

impl Desk {
    /// What these terms would do.
    pub async fn dry_run(&self, trial: &Trial) -> Result<Prediction, DeskError> {
        dry_run(&self.catalog, &self.clock, trial).await
    }

    pub(super) async fn plan(&self, trial: &Trial) -> Result<Plan, DeskError> {
        plan(&self.catalog, &self.clock, trial).await
    }
}

/// What these terms would do to the history in a catalog.
pub async fn dry_run(catalog: &Catalog, clock: &Clock, trial: &Trial) -> Result<Prediction, DeskError> {
    let plan = plan(catalog, clock, trial).await?;
    Ok(Prediction::of(trial, &plan))
}

async fn plan(catalog: &Catalog, clock: &Clock, trial: &Trial) -> Result<Plan, DeskError> {
    let code = &trial.program;
    let known = catalog.history(code, PLAN_REFERRALS_MAX).await;
    let history = known.map_err(|error| match error {
        CatalogError::NotFound { .. } => DeskError::mistake("program", format!("there is no program `{code}`")),
        error => error.into(),
    })?;
    let Some(history) = history else {
        let problem = format!(
            "`{code}` has more than {PLAN_REFERRALS_MAX} referrals, and all of them are looked at at once: try the terms on a copy with \
             fewer"
        );
        return Err(DeskError::mistake("program", problem));
    };
    let (program, now) = (trial.over(&history.program), clock.now());
    // It keeps a thread busy for a while.
    let plan = tokio::task::spawn_blocking(move || Plan::of(&history, &program, now)).await;
    Ok(plan.map_err(|error| CatalogError::Corrupt(format!("the computation ended early: {error}")))?)
}

impl Prediction {
    fn of(trial: &Trial, plan: &Plan) -> Prediction {
        let counted: Vec<&Planned> = plan
            .referrals
            .iter()
            .filter(|planned| trial.since.is_none_or(|since| planned.after.since >= since))
            .collect();
        let count = |is: fn(&Planned) -> bool| counted.iter().filter(|planned| is(planned)).count() as u64;
        let mut sums: BTreeMap<(Option<Code>, Option<String>), Moved> = BTreeMap::new();
        for reward in counted.iter().flat_map(|planned| &planned.rewards) {
            let Some(row) = reward.after.as_ref().or(reward.before.as_ref()) else { continue };
            let currency = money(row).map(|(_, currency)| currency.to_owned());
            for rule in [None, Some(row.rule.clone())] {
                let key = (rule.clone(), currency.clone());
                let moved = sums.entry(key).or_default();
                (moved.rule, moved.currency) = (rule, currency.clone());
                moved.add(reward);
            }
        }
        let none = Sum::default();
        let moved = sums.into_values().filter(|moved| (moved.arise, moved.change, moved.go) != (none, none, none));
        let (by_currency, by_rule) = moved.partition(|moved| moved.rule.is_none());
        Prediction {
            program: trial.program.clone(),
            at: plan.at,
            referrals: counted.len() as u64,
            changed: count(Planned::is_change),
            held: count(is_held),
            freed: count(is_freed),
            qualified: count(is_qualified),
            rejected: count(|planned| is_now(planned, "rejected")),
            reopened: count(|planned| is_now(planned, "pending")),
            credited_otherwise: count(|planned| planned.before.partner != planned.after.partner),
            by_rule,
            by_currency,
            samples: samples(&counted),
        }
    }
}

fn is_now(planned: &Planned, state: &str) -> bool {
    planned.before.state != state && planned.after.state == state
}

fn is_held(planned: &Planned) -> bool {
    !planned.before.held && planned.after.held
}

fn is_freed(planned: &Planned) -> bool {
    planned.before.held && !planned.after.held
}

fn is_qualified(planned: &Planned) -> bool {
    is_now(planned, "qualified")
}

fn money(row: &RewardRow) -> Option<(i64, &'static str)> {
    match row.owed {
        Owed::Money(money) => Some((money.amount, money.currency.code())),
        Owed::Gift(_) => None,
    }
}

fn amount(row: &RewardRow) -> i64 {
    money(row).map_or(0, |(amount, _)| amount)
}

impl Moved {
    fn add(&mut self, reward: &PlannedReward) {
        let owed = |row: &&RewardRow| row.state != RewardState::Reversed;
        match (reward.before.as_ref().filter(owed), reward.after.as_ref().filter(owed)) {
            (None, Some(after)) => self.arise.add(amount(after)),
            (Some(before), None) => self.go.add(-amount(before)),
            (Some(before), Some(after)) => {
                let says = |row: &RewardRow| (row.owed.clone(), row.partner.clone(), row.state);
                if says(before) != says(after) {
                    self.change.add(amount(after) - amount(before));
                }
                if before.state != RewardState::Pending && after.state == RewardState::Pending {
                    self.wait.add(amount(after));
                }
            }
            (None, None) => {}
        }
    }
}

/// Of each kind of change the most doubtful referrals.
fn samples(counted: &[&Planned]) -> Vec<Sample> {
    let mut changed: Vec<&Planned> = counted.iter().filter(|planned| planned.is_change()).copied().collect();
    changed.sort_by_key(|planned| (std::cmp::Reverse(planned.after.score), planned.after.since, planned.after.id));
    let kinds: [fn(&Planned) -> bool; 5] =
        [is_held, is_freed, is_qualified, |planned| is_now(planned, "pending"), |_| true];
    let mut chosen: BTreeSet<usize> = BTreeSet::new();
    for (kind, is) in kinds.iter().enumerate() {
        let room = DRY_RUN_SAMPLES * (kind + 1) / kinds.len();
        for (at, planned) in changed.iter().enumerate() {
            if chosen.len() < room && is(planned) {
                chosen.insert(at);
            }
        }
    }
    chosen.into_iter().map(|at| sample(changed[at])).collect()
}

fn sample(planned: &Planned) -> Sample {
    let state = |row: &RewardRow| SampleState { owed: row.owed.clone(), state: row.state, reason: row.reason.clone() };
    let changed = planned.rewards.iter().filter(|reward| reward.before != reward.after);
    let rewards = changed.filter_map(|reward| {
        let row = reward.after.as_ref().or(reward.before.as_ref())?;
        Some(SampleReward {
            rule: row.rule.clone(),
            side: row.side,
            level: row.level,
            before: reward.before.as_ref().map(state),
            after: reward.after.as_ref().map(state),
        })
    });
    Sample { before: planned.before.clone(), after: planned.after.clone(), rewards: rewards.collect() }
}
