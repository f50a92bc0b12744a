//! What follows from the facts about a person, brought into the record.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    ledger::{Entry, OfPartner, OfRule, Withheld},
    notice,
    outcome::{Earned, Outcome, Standing, Terms, outcome},
    plan::{Hints, judged},
    review::{self, Judged, World},
    reward::{self, Key, NOT_EARNED, Wanted, is_taken_back, stand},
};
use crate::{
    catalog::{
        CatalogError, Program,
        record::{ContactId, Near, Recording, ReferralRow, RewardRow},
    },
    core::{
        code::Code,
        event::{Event, Kind},
        fact::{Case, FactId, Lead},
        limits::{LEADS_LOOKED_AROUND, NEIGHBOURS_MAX},
        review::Signal,
        terms::{Owed, RewardOn, RewardRule, RewardState, Side},
        time::Millis,
    },
};

/// Computes anew what follows for a person, in every program where they left a lead, and for those whom that concerns as well;
/// writes what has changed.
pub(super) async fn follow(record: &mut Recording, contact: ContactId) -> Result<(), CatalogError> {
    let concerned = follow_one(record, contact, None).await?;
    let mut done = 0;
    for neighbour in concerned {
        if done == NEIGHBOURS_MAX {
            record.follow_later(neighbour).await?;
        } else {
            follow_one(record, neighbour, None).await?;
            done += 1;
        }
    }
    notice::settle(record).await
}

/// The same for the person alone. Gives the others whom it concerns. `hints` says beforehand what limits withhold in one program.
pub(super) async fn follow_one(
    record: &mut Recording,
    contact: ContactId,
    hints: Option<&Hints>,
) -> Result<BTreeSet<ContactId>, CatalogError> {
    let mut concerned = BTreeSet::new();
    record.foresee(contact).await?;
    let mut rewards = record.rewards_of_person(contact).await?;
    for code in record.programs_of(contact).await? {
        let Some(program) = record.program(&code).await? else { continue };
        let case = record.case(contact, &code).await?;
        let terms = Terms { credit: program.credit, qualification: &program.qualification, rewards: &program.rewards };
        let old = record.referral_of(contact, &code).await?;
        let id = match &old {
            Some(old) => old.id,
            None => record.fresh_id()?,
        };
        let followed = outcome(id, case.clone(), terms);
        let world = surroundings(record, contact, &case, &followed, &program).await?;
        let judged = judged(&world, contact, &case, &followed, &program);
        let row = referral_row((contact, id), &program, &followed, &judged);
        if let Some(referral) = put_referral(record, row, old).await? {
            let hints = hints.filter(|hints| hints.program == program.code);
            let rewards = rewards.extract_if(.., |row| row.referral == referral.id).collect();
            put_rewards(record, &program, (&referral, rewards), followed.earned, hints).await?;
        }
        if record.has_united() {
            concerned.extend(review::related(&world, contact, &case, &program.review));
        } else {
            let neighbours = review::neighbours(&world, contact, &case, &program.review);
            for (neighbour, signals) in neighbours {
                if is_news(record, (&world, contact), (neighbour, &signals), &program).await? {
                    concerned.insert(neighbour);
                }
            }
        }
    }
    Ok(concerned)
}

/// What a person has in common with others.
async fn surroundings(
    record: &mut Recording,
    contact: ContactId,
    case: &Case,
    followed: &Outcome,
    program: &Program,
) -> Result<World, CatalogError> {
    let mut near: Vec<Near> = Vec::new();
    let credited = |lead: &&Lead| Some(lead.place.id) == followed.lead;
    // The lead that counts is there in any case.
    let leads = case.leads.iter().filter(credited).chain(case.leads.iter().filter(|lead| !credited(lead)));
    for lead in leads.take(LEADS_LOOKED_AROUND) {
        if let (Some(credited), Some(network)) = (&lead.credited, &lead.network) {
            near.push((credited.partner.clone(), network.clone(), lead.place.at));
        }
    }
    let reach_ms = review::reach_ms(&program.review);
    let partner = followed.credited.as_ref().map(|credited| &credited.partner);
    let related = record.related(contact, &program.code, partner, &near, reach_ms).await?;
    Ok(World::new(related).with_case(contact, case))
}

/// Whether what is found out about somebody else is not known of them yet.
async fn is_news(
    record: &mut Recording,
    (world, contact): (&World, ContactId),
    (neighbour, signals): (ContactId, &BTreeSet<Signal>),
    program: &Program,
) -> Result<bool, CatalogError> {
    for referral in record.referrals_of(neighbour).await?.into_values() {
        let has = |signal: Signal| referral.reasons.iter().any(|reason| reason.signal == signal);
        for signal in signals.iter().filter(|signal| !has(**signal)) {
            let is_own = matches!(signal, Signal::SelfPayment | Signal::SelfVisitor);
            if !is_own && referral.program == program.code && program.review.points(*signal) > 0 {
                return Ok(true);
            }
            // They have it in common with their partner, if that is who this person is.
            if is_own
                && let Some(mail) = record.mail_of_partner(&referral.partner).await?
                && review::is_partner(world, contact, &mail)
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The referral that follows; `None`: nobody brought this person.
pub(super) fn referral_row(
    (contact, id): (ContactId, FactId),
    program: &Program,
    followed: &Outcome,
    judged: &Judged,
) -> Option<ReferralRow> {
    let (credited, lead, since) = (followed.credited.clone()?, followed.lead?, followed.since?);
    let (state, state_at, reason) = match &followed.standing {
        Standing::Pending => ("pending", since, String::new()),
        Standing::Qualified { at } => ("qualified", *at, String::new()),
        Standing::Rejected { at, reason } => ("rejected", *at, reason.clone()),
    };
    Some(ReferralRow {
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
        score: judged.score,
        reasons: judged.reasons.clone(),
        // Who is rejected waits for nothing.
        held: judged.held && state != "rejected",
    })
}

/// Writes a referral and tells what became of it: each thing that happened, or that something has changed.
async fn put_referral(
    record: &mut Recording,
    row: Option<ReferralRow>,
    old: Option<ReferralRow>,
) -> Result<Option<ReferralRow>, CatalogError> {
    let Some(row) = row else { return Ok(old) };
    if old.as_ref() == Some(&row) {
        return Ok(old);
    }
    record.put_referral(&row).await?;
    let state = old.as_ref().map_or("pending", |old| old.state.as_str());
    let was_held = old.as_ref().is_some_and(|old| old.held);
    let mut kinds = Vec::new();
    if old.is_none() {
        kinds.push("referral.created");
    }
    match row.state.as_str() {
        "qualified" if state != "qualified" => kinds.push("referral.qualified"),
        "rejected" if state != "rejected" => kinds.push("referral.rejected"),
        _ => {}
    }
    if row.held && !was_held {
        kinds.push("referral.held");
    }
    if was_held && !row.held && row.state != "rejected" {
        kinds.push("referral.freed");
    }
    if kinds.is_empty() {
        kinds.push("referral.changed");
    }
    for kind in kinds {
        record.tell(kind, &row.program, json!(row)).await?;
    }
    Ok(Some(row))
}

async fn put_rewards(
    record: &mut Recording,
    program: &Program,
    (referral, rewards): (&ReferralRow, Vec<RewardRow>),
    earned: Vec<Earned>,
    hints: Option<&Hints>,
) -> Result<(), CatalogError> {
    let parents = record.parents(&referral.partner, program.parent_shares.len()).await?;
    let mut old: BTreeMap<Key, RewardRow> = rewards.into_iter().map(|row| (reward::key(&row), row)).collect();
    let mut touched: Vec<RewardRow> = Vec::new();
    for earned in earned {
        for mut wanted in shares(program, referral, &parents, &earned) {
            wanted.withheld = hints.and_then(|hints| hints.of(referral.id, &wanted.key()));
            let before = old.remove(&wanted.key());
            let id = match &before {
                Some(row) => row.id,
                None => record.fresh_id()?,
            };
            let row = match limits(program, &wanted) {
                true if hints.is_none() => wanted.row_to_be_limited(referral, before.as_ref(), id, record.now()),
                _ => wanted.row(referral, before.as_ref(), id, record.now()),
            };
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
    if hints.is_some() {
        return Ok(());
    }
    for rule in program.rewards.iter().filter(|rule| has_limits(rule)) {
        let moved = touched.iter().filter(|row| row.rule == rule.code && row.level == 0);
        if let Some(place) = moved.map(|row| (row.earned_at, row.cause)).min() {
            // A change of partners moves two ledgers, a budget that of all.
            let one = touched.iter().all(|row| row.level != 0 || row.partner == referral.partner);
            let partner = (rule.budget.is_none() && one).then_some(&referral.partner);
            go_through(record, program, rule, (Some(referral.id), partner), place, None).await?;
        }
    }
    Ok(())
}

/// Whether a rule grants only some of what it is earned for.
fn has_limits(rule: &RewardRule) -> bool {
    OfPartner::is_needed(rule) || rule.budget.is_some()
}

fn limits(program: &Program, wanted: &Wanted) -> bool {
    program.rewards.iter().any(|rule| rule.code == wanted.earned.rule && has_limits(rule))
}

/// Whether a rule's rewards for a referral wait: for the first sale that counts, or for somebody's word.
pub(super) fn pending_of(rule: &RewardRule, referral: &ReferralRow) -> bool {
    referral.held || (rule.on == RewardOn::Sale && referral.state == "pending")
}

/// A reward and the parents' shares in it.
pub(super) fn shares(
    program: &Program,
    referral: &ReferralRow,
    parents: &[Option<Code>],
    earned: &Earned,
) -> Vec<Wanted> {
    let rule = program.rewards.iter().find(|rule| rule.code == earned.rule);
    let pending = rule.is_some_and(|rule| pending_of(rule, referral));
    let auto_issue = rule.is_some_and(|rule| rule.auto_issue);
    let wanted = |partner: &Code, level: usize, owed: Owed| Wanted {
        earned: earned.clone(),
        partner: partner.clone(),
        level: u8::try_from(level).unwrap_or(u8::MAX),
        owed,
        pending,
        auto_issue,
        withheld: None,
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
/// what they are a share of. Goes through at most `limit` of them, and gives the place from which it is to go on.
pub(super) async fn go_through(
    record: &mut Recording,
    program: &Program,
    rule: &RewardRule,
    (referral, partner): (Option<FactId>, Option<&Code>),
    place: (Millis, FactId),
    limit: Option<u32>,
) -> Result<Option<(Millis, FactId)>, CatalogError> {
    let since = OfPartner::counts_since(rule, place.0);
    let mut partners: BTreeMap<(Side, Code), OfPartner<'_>> = BTreeMap::new();
    let spent = match rule.budget {
        Some(budget) => record.spent_before(&program.code, &rule.code, budget.currency.code(), place).await?,
        None => 0,
    };
    let mut of_rule = OfRule::behind(rule, spent);
    let ledger = record.ledger_from(&program.code, &rule.code, partner, place, limit).await?;
    let is_full = limit.is_some_and(|limit| ledger.len() >= limit as usize);
    let next = ledger.last().filter(|_| is_full).map(|last| (last.earned_at, last.cause));
    for row in ledger {
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
        if !entry.reversed && (withheld != row.withheld || Some(row.referral) == referral) {
            withhold(record, rule, &row, withheld).await?;
        }
    }
    Ok(next)
}

/// Grants a reward and its parents' shares, or withholds them.
async fn withhold(
    record: &mut Recording,
    rule: &RewardRule,
    of: &RewardRow,
    withheld: &str,
) -> Result<(), CatalogError> {
    let pending = record.referral_by_id(of.referral).await?.is_some_and(|referral| pending_of(rule, &referral));
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
