//! What follows from the facts about a person, brought into the record.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    ledger::{Entry, OfPartner, OfRule, Withheld},
    notice,
    outcome::{Earned, Outcome, Standing, Terms, outcome},
    reward::{self, Key, NOT_EARNED, Wanted, is_taken_back, stand},
};
use crate::{
    catalog::{
        CatalogError, Program,
        record::{ContactId, Recording, ReferralRow, RewardRow},
    },
    core::{
        code::Code,
        event::{Event, Kind},
        fact::FactId,
        terms::{Owed, RewardOn, RewardRule, RewardState, Side},
        time::Millis,
    },
};

/// Computes anew what follows for a person, in every program where they left a lead, and writes what has changed.
pub(super) async fn follow(record: &mut Recording, contact: ContactId) -> Result<(), CatalogError> {
    for code in record.programs_of(contact).await? {
        let Some(program) = record.program(&code).await? else { continue };
        let case = record.case(contact, &code).await?;
        let terms = Terms { credit: program.credit, qualification: &program.qualification, rewards: &program.rewards };
        let old = record.referral_of(contact, &code).await?;
        let id = match &old {
            Some(old) => old.id,
            None => record.fresh_id()?,
        };
        let followed = outcome(id, case, terms);
        if let Some(referral) = put_referral(record, (contact, id), &program, old, &followed).await? {
            put_rewards(record, &program, &referral, followed.earned, &followed.standing).await?;
        }
    }
    notice::settle(record).await
}

async fn put_referral(
    record: &mut Recording,
    (contact, id): (ContactId, FactId),
    program: &Program,
    old: Option<ReferralRow>,
    followed: &Outcome,
) -> Result<Option<ReferralRow>, CatalogError> {
    let (Some(credited), Some(lead), Some(since)) = (followed.credited.clone(), followed.lead, followed.since) else {
        return Ok(old);
    };
    let (state, state_at, reason) = match &followed.standing {
        Standing::Pending => ("pending", since, String::new()),
        Standing::Qualified { at } => ("qualified", *at, String::new()),
        Standing::Rejected { at, reason } => ("rejected", *at, reason.clone()),
    };
    let row = ReferralRow {
        id,
        program: program.code.clone(),
        contact,
        partner: credited.partner,
        link: credited.link,
        ad: credited.ad,
        click: credited.click,
        lead,
        state: state.to_owned(),
        state_at,
        reason,
        since,
    };
    if old.as_ref() != Some(&row) {
        record.put_referral(&row).await?;
        let kind = match &old {
            None => "referral.created",
            Some(old) if old.state != row.state && row.state == "qualified" => "referral.qualified",
            Some(old) if old.state != row.state && row.state == "rejected" => "referral.rejected",
            Some(_) => "referral.changed",
        };
        record.tell(kind, &row.program, json!(row)).await?;
        // A lead that qualifies at once is two things that happened.
        if old.is_none() && row.state == "qualified" {
            record.tell("referral.qualified", &row.program, json!(row)).await?;
        }
    }
    Ok(Some(row))
}

async fn put_rewards(
    record: &mut Recording,
    program: &Program,
    referral: &ReferralRow,
    earned: Vec<Earned>,
    standing: &Standing,
) -> Result<(), CatalogError> {
    let parents = record.parents(&referral.partner, program.parent_shares.len()).await?;
    let mut old: BTreeMap<Key, RewardRow> =
        record.rewards_of(referral.id).await?.into_iter().map(|row| (reward::key(&row), row)).collect();
    let mut touched: Vec<RewardRow> = Vec::new();
    for earned in earned {
        for wanted in shares(program, referral, &parents, &earned, standing) {
            let before = old.remove(&wanted.key());
            let id = match &before {
                Some(row) => row.id,
                None => record.fresh_id()?,
            };
            let row = wanted.row(referral, before.as_ref(), id, record.now());
            put_if_changed(record, before.as_ref(), &row, &mut touched).await?;
        }
    }
    // What is left was earned by what was known before, and is not any more. Only what was issued leaves a trace.
    for (_, before) in old {
        let mut row = before.clone();
        row.withheld = String::new();
        stand(&mut row, Some(NOT_EARNED), false, record.now());
        put_if_changed(record, Some(&before), &row, &mut touched).await?;
        if row.issued_at.is_none() {
            record.remove_reward(row.id).await?;
        }
    }
    for rule in program.rewards.iter().filter(|rule| OfPartner::is_needed(rule) || rule.budget.is_some()) {
        let moved = touched.iter().filter(|row| row.rule == rule.code && row.level == 0);
        if let Some(place) = moved.map(|row| (row.earned_at, row.cause)).min() {
            // A change of partners moves two ledgers, a budget that of all.
            let one = touched.iter().all(|row| row.level != 0 || row.partner == referral.partner);
            let partner = (rule.budget.is_none() && one).then_some(&referral.partner);
            go_through(record, program, rule, (referral.id, partner), place).await?;
        }
    }
    Ok(())
}

/// A reward and the parents' shares in it.
fn shares(
    program: &Program,
    referral: &ReferralRow,
    parents: &[Option<Code>],
    earned: &Earned,
    standing: &Standing,
) -> Vec<Wanted> {
    let rule = program.rewards.iter().find(|rule| rule.code == earned.rule);
    let pending = *standing == Standing::Pending && rule.is_some_and(|rule| rule.on == RewardOn::Sale);
    let auto_issue = rule.is_some_and(|rule| rule.auto_issue);
    let wanted = |partner: &Code, level: usize, owed: Owed| Wanted {
        earned: earned.clone(),
        partner: partner.clone(),
        level: u8::try_from(level).unwrap_or(u8::MAX),
        owed,
        pending,
        auto_issue,
    };
    let mut all = vec![wanted(&referral.partner, 0, earned.value.clone())];
    if let (Side::Partner, Owed::Money(money)) = (earned.side, &earned.value) {
        for (at, (parent, share)) in parents.iter().zip(&program.parent_shares).enumerate() {
            let share = money.share(*share);
            if let Some(parent) = parent
                && share.amount > 0
            {
                all.push(wanted(parent, at + 1, Owed::Money(share)));
            }
        }
    }
    all
}

async fn put_if_changed(
    record: &mut Recording,
    before: Option<&RewardRow>,
    row: &RewardRow,
    touched: &mut Vec<RewardRow>,
) -> Result<(), CatalogError> {
    if before == Some(row) {
        return Ok(());
    }
    record.put_reward(row).await?;
    tell(record, before, row).await?;
    // What it leaves behind moves as well as what it takes.
    touched.extend(before.cloned());
    touched.push(row.clone());
    Ok(())
}

/// Tells a change of a reward's state.
pub(super) async fn tell(
    record: &mut Recording,
    before: Option<&RewardRow>,
    row: &RewardRow,
) -> Result<(), CatalogError> {
    if before.is_some_and(|before| before.state == row.state) {
        return Ok(());
    }
    let kind = match row.state {
        RewardState::Pending => "reward.pending",
        RewardState::Held => "reward.held",
        RewardState::Due => "reward.due",
        RewardState::Issued => "reward.issued",
        RewardState::Reversed => "reward.reversed",
    };
    // It is history from the moment on which it is owed for good.
    let was_due = before.is_some_and(|before| matches!(before.state, RewardState::Due | RewardState::Issued));
    if !matches!(row.state, RewardState::Due | RewardState::Issued) || was_due {
        return record.tell(kind, &row.program, json!(row)).await;
    }
    record.mark_due(row.id);
    let event = Event {
        id: record.fresh_id()?.0.to_vec(),
        kind: Kind::Reward as i32,
        time_ms: record.now().0,
        program: row.program.to_string(),
        partner: row.partner.to_string(),
        ..Event::default()
    };
    record.tell_event(kind, &row.program, json!(row), event).await
}

/// Goes through a rule's ledger from a place on, and grants or withholds what comes there and later. Parents' shares go with
/// what they are a share of.
async fn go_through(
    record: &mut Recording,
    program: &Program,
    rule: &RewardRule,
    (referral, partner): (FactId, Option<&Code>),
    place: (Millis, FactId),
) -> Result<(), CatalogError> {
    let since = OfPartner::counts_since(rule, place.0);
    let mut partners: BTreeMap<(Side, Code), OfPartner<'_>> = BTreeMap::new();
    let spent = match rule.budget {
        Some(budget) => record.spent_before(&program.code, &rule.code, budget.currency.code(), place).await?,
        None => 0,
    };
    let mut of_rule = OfRule::behind(rule, spent);
    for row in record.ledger_from(&program.code, &rule.code, partner, place).await? {
        let whose = (row.side, row.partner.clone());
        if !partners.contains_key(&whose) {
            let ledger = (row.side, &row.partner);
            let (times, granted) = record.counted_before(&program.code, &rule.code, ledger, place, since).await?;
            partners.insert(whose.clone(), OfPartner::behind(rule, place.0, times, granted));
        }
        let Some(of_partner) = partners.get_mut(&whose) else { continue };
        let money = match row.owed {
            Owed::Money(money) => Some(money),
            Owed::Gift(_) => None,
        };
        let entry = Entry { at: row.earned_at, money, reversed: is_taken_back(&row) };
        let granted = of_partner.next(entry).and_then(|()| of_rule.next(entry));
        let withheld = granted.err().map_or("", Withheld::tag);
        // A share of a parent may be new where the partner's own part is as it was.
        if !entry.reversed && (withheld != row.withheld || row.referral == referral) {
            withhold(record, rule, &row, withheld).await?;
        }
    }
    Ok(())
}

/// Grants a reward and its parents' shares, or withholds them.
async fn withhold(
    record: &mut Recording,
    rule: &RewardRule,
    of: &RewardRow,
    withheld: &str,
) -> Result<(), CatalogError> {
    let pending = rule.on == RewardOn::Sale
        && record.referral_by_id(of.referral).await?.is_some_and(|referral| referral.state == "pending");
    let all = record.rewards_of(of.referral).await?;
    let same = |row: &&RewardRow| (&row.rule, row.side, row.cause) == (&of.rule, of.side, of.cause);
    let other = |row: &&RewardRow| row.withheld != withheld && row.issued_at.is_none() && !is_taken_back(row);
    for before in all.iter().filter(same).filter(other) {
        let mut row = before.clone();
        row.withheld = withheld.to_owned();
        stand(&mut row, None, pending, record.now());
        record.put_reward(&row).await?;
        tell(record, Some(before), &row).await?;
    }
    Ok(())
}
