//! Changed terms: a dry-run says exactly what they do, and history is as if they had been so from the beginning.

use std::collections::BTreeMap;

use super::*;
use crate::{
    catalog::record::{ReferralRow, RewardRow},
    core::fact::FactId,
    referral::{
        background::{beginning, terms_digest},
        dry_run::Trial,
        plan::Plan,
    },
};

/// Terms of every kind, few enough to meet.
fn any_terms() -> impl Strategy<Value = Value> {
    let rule = |code: &'static str, on: &'static str, to: &'static str, more: Value| {
        let mut rule =
            json!({"code": code, "on": on, "to": to, "value": {"fixed": {"amount": 100, "currency": "EUR"}}});
        rule.as_object_mut().unwrap().extend(object(more));
        rule
    };
    let rules = vec![
        rule(
            "welcome",
            "qualification",
            "both",
            json!({"hold_days": 4, "value": {"fixed": {"amount": 500, "currency": "EUR"}}}),
        ),
        rule("welcome", "qualification", "partner", json!({"value": {"fixed": {"amount": 700, "currency": "EUR"}}})),
        rule("share", "sale", "partner", json!({"recurring_months": 12, "value": {"percent": 1_000}})),
        rule("share", "sale", "partner", json!({"recurring_months": 12, "value": {"percent": 1_000}, "cap": 1})),
        rule("second", "lead", "partner", json!({"every": 2})),
        rule("second", "lead", "partner", json!({"milestones": [1]})),
        rule("capped", "sale", "both", json!({"recurring_months": 12, "cap": 2})),
        rule("capped", "sale", "both", json!({"recurring_months": 12, "cap": 1, "cap_period": "day"})),
        rule("budget", "sale", "both", json!({"recurring_months": 12, "budget": {"amount": 250, "currency": "EUR"}})),
        rule("gift", "lead", "invited", json!({"value": {"gift": "a mug"}})),
    ];
    let rules = proptest::sample::subsequence(rules, 0..=10).prop_map(|mut rules| {
        let mut codes = BTreeSet::new();
        rules.retain(|rule| codes.insert(rule["code"].to_string()));
        rules
    });
    let qualification = prop_oneof![
        Just(json!({})),
        Just(json!({"on": "lead"})),
        Just(json!({"nth": 2})),
        Just(json!({"over": {"amount": 2_500, "currency": "EUR"}})),
        Just(json!({"within_days": 2})),
    ];
    let review =
        (proptest::option::of(20..130_u32), 2..4_u32, 1..5_u32, any::<bool>()).prop_map(|(from, leads, days, all)| {
            let weights = if all { json!({}) } else { json!({"self_mail": 0, "same_mail": 10, "burst": 70}) };
            json!({"hold_from": from, "burst_leads": leads, "burst_minutes": days * 24 * 60, "weights": weights})
        });
    (rules, qualification, review).prop_map(
        |(rules, qualification, review)| json!({"rewards": rules, "qualification": qualification, "review": review}),
    )
}

/// The same, each reward issued by itself.
fn issued_by_themselves(mut terms: Value) -> Value {
    for rule in terms["rewards"].as_array_mut().unwrap() {
        rule["auto_issue"] = json!(true);
    }
    terms
}

fn trial(terms: &Value) -> Trial {
    let mut terms = object(terms.clone());
    terms.insert("program".to_owned(), json!("spring"));
    Trial::read(terms).unwrap()
}

type Rewards = BTreeMap<(FactId, String, &'static str, FactId, u8), RewardRow>;

fn key(row: &RewardRow) -> (FactId, String, &'static str, FactId, u8) {
    (row.referral, row.rule.to_string(), row.side.word(), row.cause, row.level)
}

/// Rewards by what makes them the same one; a new one's id says nothing.
fn by_key<'a>(rows: impl IntoIterator<Item = &'a RewardRow>) -> Rewards {
    rows.into_iter().map(|row| (key(row), RewardRow { id: FactId([0; 16]), ..row.clone() })).collect()
}

/// What is there.
async fn found(office: &Office) -> (BTreeMap<FactId, ReferralRow>, Rewards) {
    let program = "spring".parse().unwrap();
    let history = office.catalog.history(&program, 1_000).await.unwrap().unwrap();
    (history.referrals.into_iter().map(|row| (row.id, row)).collect(), by_key(&history.rewards))
}

/// What a plan says that will be there.
fn predicted(plan: &Plan) -> (BTreeMap<FactId, ReferralRow>, Rewards) {
    let rewards = plan.referrals.iter().flat_map(|planned| &planned.rewards);
    let referrals = plan.referrals.iter().map(|planned| (planned.after.id, planned.after.clone()));
    (referrals.collect(), by_key(rewards.filter_map(|reward| reward.after.as_ref())))
}

/// As far as somebody comes who is killed after the first person.
async fn follow_one_and_end(office: &Office) {
    let program: Program = office.catalog.get(&["spring"]).await.unwrap();
    let plan = office.desk.plan(&trial(&json!({}))).await.unwrap();
    let mut row = beginning(&program.code, terms_digest(&program), Millis(NOON));
    if let Some(first) = plan.referrals.iter().find(|planned| planned.is_change()) {
        assert!(office.desk.follow_some(&mut row, &[first.before.contact], Some(&plan.hints)).await.unwrap());
    }
}

/// What webhooks were told, counted by kind.
async fn told_kinds(office: &Office) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for row in office.catalog.outbox_after(0, 10_000).await.unwrap() {
        *kinds.entry(row.kind).or_default() += 1;
    }
    kinds
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Item by item, also where rewards are issued by themselves and cannot be taken back.
    #[test]
    fn a_dry_run_says_exactly_what_switching_on_does(
        facts in facts(), before in any_terms(), after in any_terms(), auto: bool, later in 0..3_i64, killed: bool,
    ) {
        block_on(async {
            let after = if auto { issued_by_themselves(after) } else { after };
            let office = Office::new(&before).await;
            for fact in &facts {
                office.tell(fact).await;
            }
            office.desk.follow_due().await.unwrap();
            office.desk.follow_terms().await.unwrap();
            office.desk.release(1_000).await.unwrap();
            office.clock.advance(later * DAY_MS);
            office.desk.release(1_000).await.unwrap();
            let there = found(&office).await;
            let kinds = told_kinds(&office).await;

            let plan = office.desk.plan(&trial(&after)).await.unwrap();
            let prediction = office.desk.dry_run(&trial(&after)).await.unwrap();
            prop_assert_eq!(&found(&office).await, &there, "a dry-run writes nothing");
            prop_assert_eq!(&told_kinds(&office).await, &kinds, "and tells nothing");

            office.promise(&after).await;
            if killed {
                follow_one_and_end(&office).await;
            }
            office.desk.follow_terms().await.unwrap();
            let done = found(&office).await;
            prop_assert_eq!(&done, &predicted(&plan));
            let held = done.0.values().filter(|row| row.held && !there.0[&row.id].held).count() as u64;
            prop_assert_eq!(prediction.held, held);
            let changed = told_kinds(&office).await;
            let more = |kind: &str| changed.get(kind).copied().unwrap_or(0) - kinds.get(kind).copied().unwrap_or(0);
            prop_assert_eq!((more("referral.held"), more("referral.freed")), (prediction.held, prediction.freed));
            let owed = |rewards: &Rewards| -> i64 {
                rewards.values().filter(|row| row.state.word() != "reversed").filter_map(|row| match &row.owed {
                    crate::core::terms::Owed::Money(money) => Some(money.amount),
                    crate::core::terms::Owed::Gift(_) => None,
                }).sum()
            };
            let sums = prediction.by_currency.iter().filter(|moved| moved.currency.is_some());
            let moved: i64 = sums.map(|moved| moved.arise.amount + moved.change.amount + moved.go.amount).sum();
            prop_assert_eq!(owed(&done.1) - owed(&there.1), moved, "{:#?}", prediction.by_rule);
            office.desk.follow_terms().await.unwrap();
            prop_assert_eq!(&found(&office).await, &done, "a second time changes nothing");
            Ok(())
        })?;
    }

    /// As if the terms had been so from the beginning, however often they were changed, and whoever came in between.
    #[test]
    fn changed_terms_are_as_if_they_had_always_been_so(facts in facts(), first in any_terms(), last in any_terms(), half in 0..10_usize, large: bool) {
        block_on(async {
            let (changed, always) = (Office::new(&first).await, Office::new(&last).await);
            for (at, fact) in facts.iter().enumerate() {
                always.tell(fact).await;
                changed.tell(fact).await;
                if at == half {
                    changed.promise(&last).await;
                }
            }
            changed.promise(&last).await;
            // A program that is too large for a plan is followed person by person.
            changed.desk.follow_all_terms(if large { 0 } else { 1_000 }).await.unwrap();
            always.desk.follow_terms().await.unwrap();
            prop_assert_eq!(changed.told().await, always.told().await);
            Ok(())
        })?;
    }
}

/// What the event store says of clicks reaches those whom it concerns, and leaves them again.
#[tokio::test]
async fn the_clicks_of_partners_are_asked_and_kept() {
    use crate::{
        core::event::{Class, Event, Kind},
        store::model::Model,
    };
    let office = Office::new(&json!({"review": {"hold_from": 30}})).await;
    let lead = |partner: &'static str, email: char| Fact::Lead {
        email: Some(email),
        external: None,
        partner: Some(partner),
        day: 1,
        token: Clicked::Never,
        from: None,
    };
    office.tell(&lead("ann", 'x')).await;
    office.tell(&lead("bob", 'y')).await;
    let clicks = |partner: &str, class: Class, count: u64| Event {
        kind: Kind::Click as i32,
        class: class as i32,
        time_ms: NOON - DAY_MS,
        partner: partner.to_owned(),
        count,
        ..Event::default()
    };
    let signals = async || -> Vec<(String, Vec<String>, bool)> {
        office.desk.follow_due().await.unwrap();
        let (referrals, _) = found(&office).await;
        let words = |row: &ReferralRow| row.reasons.iter().map(|reason| reason.signal.word().to_owned()).collect();
        let mut all: Vec<_> = referrals.values().map(|row| (row.partner.to_string(), words(row), row.held)).collect();
        all.sort();
        all
    };
    let line = |partner: &str, words: &[&str], held: bool| {
        (partner.to_owned(), words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), held)
    };
    let clean = [line("ann", &[], false), line("bob", &[], false)];
    assert_eq!(signals().await, clean);
    let doubtful = Model::new(vec![
        clicks("ann", Class::Human, 40),
        clicks("ann", Class::Bot, 60),
        clicks("bob", Class::Human, 70),
        clicks("bob", Class::Owner, 30),
    ]);
    office.desk.ask_clicks(&doubtful).await.unwrap();
    assert_eq!(signals().await, [line("ann", &["bot_share"], true), line("bob", &["own_clicks"], false)]);
    let kinds = told_kinds(&office).await;
    office.desk.ask_clicks(&doubtful).await.unwrap();
    assert_eq!(signals().await[0].1, ["bot_share"]);
    assert_eq!(told_kinds(&office).await, kinds, "the same again tells nobody anything");
    let people = Model::new(vec![clicks("ann", Class::Human, 400), clicks("ann", Class::Bot, 60)]);
    office.desk.ask_clicks(&people).await.unwrap();
    assert_eq!(signals().await, clean);
}
