//! What follows from the facts about one person in one program.

use serde::{Deserialize, Serialize};

use crate::core::{
    code::Code,
    fact::{Case, Conversion, Credited, FactId, Lead, Verdict},
    money::Money,
    terms::{Credit, Owed, Qualification, QualifyOn, RewardOn, RewardRule, RewardTo, RewardValue, Side},
    time::{DAY_MS, Millis},
};

/// What a program promises, as far as one referral goes.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub credit: Credit,
    pub qualification: &'a Qualification,
    pub rewards: &'a [RewardRule],
}

/// Where a referral stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Standing {
    Pending,
    Qualified {
        #[schema(value_type = String, format = DateTime)]
        at: Millis,
    },
    Rejected {
        #[schema(value_type = String, format = DateTime)]
        at: Millis,
        reason: String,
    },
}

/// Something that a rule owes for something that happened. What it is owed for and to whom makes its identity: however
/// often it is computed, it is the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earned {
    pub rule: Code,
    pub side: Side,
    /// The sale that earned it, or the referral itself.
    pub cause: FactId,
    pub at: Millis,
    pub value: Owed,
    /// Before that it is not due.
    pub held_until: Millis,
    /// Why it is not owed after all.
    pub reversed: Option<&'static str>,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whose referral it is; `None`: nobody brought this person.
    pub credited: Option<Credited>,
    /// The lead that made it a referral.
    pub lead: Option<FactId>,
    pub since: Option<Millis>,
    pub standing: Standing,
    pub earned: Vec<Earned>,
}

/// Why a reward is reversed.
pub const REFUNDED: &str = "the sale was paid back";
pub const REJECTED: &str = "the referral was rejected";

/// Computes what follows from the facts about `referral`. The order of `case` does not matter.
pub fn outcome(referral: FactId, case: Case, terms: Terms<'_>) -> Outcome {
    let case = case.in_order();
    let first = case.leads.first();
    let since = first.map(|lead| lead.place.at);
    let qualified = qualified_at(&case, terms.qualification);
    let lead = credited_lead(&case.leads, terms.credit, qualified);
    let standing = standing(&case, qualified);
    let mut outcome =
        Outcome { credited: None, lead: lead.map(|lead| lead.place.id), since, standing, earned: Vec::new() };
    let Some(lead) = lead else { return outcome };
    outcome.credited = lead.credited.clone();
    for rule in terms.rewards {
        for (cause, at, money, gone) in triggers(rule, &case, (referral, lead.place.at), qualified) {
            if rule.from.is_some_and(|from| at < from) || rule.until.is_some_and(|until| until <= at) {
                continue;
            }
            let Some(value) = owed(rule, money) else { continue };
            let rejected = matches!(outcome.standing, Standing::Rejected { .. });
            let reversed = if rejected { Some(REJECTED) } else { gone.then_some(REFUNDED) };
            let held_until = at.plus(i64::from(rule.hold_days) * DAY_MS);
            for side in sides(rule.to) {
                let (rule, value) = (rule.code.clone(), value.clone());
                outcome.earned.push(Earned { rule, side: *side, cause, at, value, held_until, reversed });
            }
        }
    }
    outcome
}

/// The lead whose partner has the credit.
fn credited_lead(leads: &[Lead], credit: Credit, qualified: Option<Millis>) -> Option<&Lead> {
    let mut credited = leads.iter().filter(|lead| lead.credited.is_some());
    match credit {
        Credit::First => credited.next(),
        Credit::Latest => {
            let first = credited.clone().next()?;
            credited.take_while(|lead| qualified.is_none_or(|at| lead.place.at <= at)).last().or(Some(first))
        }
    }
}

/// When the events (or a hand) said so. What was paid back later has qualified all the same: its rewards are reversed.
fn qualified_at(case: &Case, qualification: &Qualification) -> Option<Millis> {
    let since = case.leads.iter().find(|lead| lead.credited.is_some())?.place.at;
    let by_hand = case.rulings.iter().find(|ruling| ruling.verdict == Verdict::Qualify).map(|ruling| ruling.place.at);
    let by_rule = match qualification.on {
        QualifyOn::Lead => Some(since),
        QualifyOn::Hand => None,
        QualifyOn::Event => {
            let nth = qualification.nth.unwrap_or(1).max(1) as usize;
            let counting = |conversion: &&Conversion| counts(conversion, qualification, since);
            // A conversion may have come before its lead: the referral is then as old as the lead.
            case.conversions.iter().filter(counting).nth(nth - 1).map(|conversion| conversion.place.at.max(since))
        }
    };
    [by_hand, by_rule].into_iter().flatten().min()
}

fn counts(conversion: &Conversion, qualification: &Qualification, since: Millis) -> bool {
    // Who leaves has not qualified, unless a program asks for just that.
    let named =
        if qualification.event.is_empty() { !conversion.is_end() } else { qualification.event == conversion.event };
    let enough = qualification.over.is_none_or(|over| {
        conversion.money.is_some_and(|money| money.currency == over.currency && money.amount >= over.amount)
    });
    let in_time =
        qualification.within_days.is_none_or(|days| conversion.place.at <= since.plus(i64::from(days) * DAY_MS));
    named && enough && in_time
}

/// The last word by hand stands.
fn standing(case: &Case, qualified: Option<Millis>) -> Standing {
    // An approval takes a rejection back.
    match (case.rulings.last(), qualified) {
        (Some(ruling), _) if ruling.verdict == Verdict::Reject => {
            Standing::Rejected { at: ruling.place.at, reason: ruling.note.clone() }
        }
        (_, Some(at)) => Standing::Qualified { at },
        (_, None) => Standing::Pending,
    }
}

/// What a rule owes something for: the fact, when, the amount that is left of it, and whether it was taken back.
fn triggers(
    rule: &RewardRule,
    case: &Case,
    (referral, since): (FactId, Millis),
    qualified: Option<Millis>,
) -> Vec<(FactId, Millis, Option<Money>, bool)> {
    match rule.on {
        // The referral itself is the cause: which lead or conversion it was may change with what arrives late.
        RewardOn::Lead => vec![(referral, since, None, false)],
        RewardOn::Qualification => {
            qualified.map(|at| (referral, at, None, is_taken_back(case, at))).into_iter().collect()
        }
        RewardOn::Sale => {
            let wanted =
                |sale: &&Conversion| sale.money.is_some() && (rule.event.is_empty() || rule.event == sale.event);
            let mut sales = case.conversions.iter().filter(wanted).peekable();
            let Some(first) = sales.peek().map(|first| first.place.at) else { return Vec::new() };
            let until = rule.recurring_months.map(|months| months_later(first, months));
            sales
                .enumerate()
                .take_while(|(at, sale)| *at == 0 || until.is_some_and(|until| sale.place.at < until))
                .map(|(_, sale)| (sale.place.id, sale.place.at, sale.net().or(sale.money), sale.is_gone()))
                .collect()
        }
    }
}

/// Whether all that it may have qualified by was paid back.
fn is_taken_back(case: &Case, qualified: Millis) -> bool {
    let by_hand = case.rulings.iter().any(|ruling| ruling.verdict == Verdict::Qualify);
    let may_have = |conversion: &&Conversion| conversion.place.at <= qualified && !conversion.is_end();
    let mut before = case.conversions.iter().filter(may_have).peekable();
    !by_hand && before.peek().is_some() && before.all(Conversion::is_gone)
}

/// The same day and time so many months later, or the last day of a shorter month (UTC).
fn months_later(at: Millis, months: u32) -> Millis {
    let later = jiff::Timestamp::from_millisecond(at.0).ok().and_then(|at| {
        let span = jiff::Span::new().try_months(i64::from(months)).ok()?;
        at.to_zoned(jiff::tz::TimeZone::UTC).checked_add(span).ok()
    });
    later.map_or(Millis(i64::MAX), |later| Millis(later.timestamp().as_millisecond()))
}

fn owed(rule: &RewardRule, money: Option<Money>) -> Option<Owed> {
    match &rule.value {
        RewardValue::Fixed(money) => Some(Owed::Money(*money)),
        RewardValue::Gift(text) => Some(Owed::Gift(text.clone())),
        RewardValue::Percent(points) => {
            let share = money?.share(*points);
            (share.amount > 0).then_some(Owed::Money(share))
        }
    }
}

const fn sides(to: RewardTo) -> &'static [Side] {
    match to {
        RewardTo::Partner => &[Side::Partner],
        RewardTo::Invited => &[Side::Invited],
        RewardTo::Both => &[Side::Partner, Side::Invited],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::fact::{Place, Ruling};

    const DAY: i64 = DAY_MS;

    fn place(day: i64, id: u8) -> Place {
        Place { at: Millis(day * DAY), id: FactId([id; 16]) }
    }

    fn lead(day: i64, id: u8, partner: &str) -> Lead {
        let partner = partner.parse().ok();
        let credited = partner.map(|partner| Credited { partner, link: None, ad: None, click: None });
        Lead { place: place(day, id), credited, network: None }
    }

    fn sale(day: i64, id: u8, amount: i64, refunded: i64) -> Conversion {
        let money = Some(Money::new(amount, "EUR".parse().unwrap()));
        Conversion { place: place(day, id), event: "sale".to_owned(), money, refunded, reversed: false }
    }

    fn ruling(day: i64, id: u8, verdict: Verdict) -> Ruling {
        Ruling { place: place(day, id), verdict, note: "seen".to_owned(), covers: Vec::new() }
    }

    fn rules(json: serde_json::Value) -> Vec<RewardRule> {
        serde_json::from_value(json).unwrap()
    }

    fn both() -> Vec<RewardRule> {
        rules(serde_json::json!([
            {"code": "welcome", "to": "both", "on": "qualification", "hold_days": 14,
             "value": {"fixed": {"amount": 500, "currency": "EUR"}}},
            {"code": "share", "to": "partner", "on": "sale", "recurring_months": 2, "value": {"percent": 1_000}},
        ]))
    }

    fn told(case: Case, rewards: &[RewardRule], qualification: &Qualification, credit: Credit) -> Outcome {
        outcome(FactId([99; 16]), case, Terms { credit, qualification, rewards })
    }

    fn lines(outcome: &Outcome) -> Vec<String> {
        let value = |owed: &Owed| match owed {
            Owed::Money(money) => money.to_string(),
            Owed::Gift(text) => text.clone(),
        };
        outcome
            .earned
            .iter()
            .map(|e| format!("{} {:?} {} day {} {:?}", e.rule, e.side, value(&e.value), e.at.0 / DAY, e.reversed))
            .collect()
    }

    #[test]
    fn a_sale_qualifies_and_both_sides_are_owed() {
        let case = Case {
            leads: vec![lead(10, 1, "ann")],
            conversions: vec![sale(50, 2, 9_990, 0), sale(80, 3, 1_000, 500), sale(200, 4, 9_990, 0)],
            rulings: Vec::new(),
        };
        let outcome = told(case, &both(), &Qualification::default(), Credit::First);
        assert_eq!(outcome.standing, Standing::Qualified { at: Millis(50 * DAY) });
        assert_eq!(
            lines(&outcome),
            [
                "welcome Partner 5.00 EUR day 50 None",
                "welcome Invited 5.00 EUR day 50 None",
                "share Partner 9.99 EUR day 50 None",
                "share Partner 0.50 EUR day 80 None",
            ]
        );
        assert_eq!(outcome.earned[0].held_until, Millis(64 * DAY));
    }

    #[test]
    fn a_refund_reverses_both_sides_and_a_rejection_everything() {
        let mut case =
            Case { leads: vec![lead(10, 1, "ann")], conversions: vec![sale(50, 2, 9_990, 9_990)], rulings: Vec::new() };
        let refunded = told(case.clone(), &both(), &Qualification::default(), Credit::First);
        assert!(refunded.earned.iter().all(|earned| earned.reversed == Some(REFUNDED)), "{refunded:?}");
        assert_eq!(refunded.earned.len(), 3);
        case.conversions = vec![sale(50, 2, 9_990, 0)];
        case.rulings = vec![ruling(60, 5, Verdict::Reject)];
        let rejected = told(case.clone(), &both(), &Qualification::default(), Credit::First);
        assert!(matches!(rejected.standing, Standing::Rejected { .. }));
        assert!(rejected.earned.iter().all(|earned| earned.reversed == Some(REJECTED)), "{rejected:?}");
        assert_eq!(rejected.earned.len(), 3);
        case.rulings.push(ruling(61, 6, Verdict::Qualify));
        let again = told(case, &both(), &Qualification::default(), Credit::First);
        assert_eq!(again.standing, Standing::Qualified { at: Millis(50 * DAY) });
        assert_eq!(lines(&again).len(), 3);
    }

    #[test]
    fn qualification_asks_for_what_it_says() {
        let case =
            |conversions: Vec<Conversion>| Case { leads: vec![lead(10, 1, "ann")], conversions, rulings: Vec::new() };
        let pending = |case: Case, json: serde_json::Value| {
            let qualification: Qualification = serde_json::from_value(json).unwrap();
            told(case, &[], &qualification, Credit::First).standing == Standing::Pending
        };
        let two = || vec![sale(11, 2, 100, 0), sale(40, 3, 5_000, 0)];
        assert!(!pending(case(two()), serde_json::json!({"nth": 2})));
        assert!(pending(case(two()), serde_json::json!({"nth": 3})));
        assert!(!pending(case(two()), serde_json::json!({"over": {"amount": 5_000, "currency": "EUR"}})));
        assert!(pending(case(two()), serde_json::json!({"over": {"amount": 5_000, "currency": "USD"}})));
        let over = serde_json::json!({"over": {"amount": 5_000, "currency": "EUR"}, "within_days": 29});
        assert!(pending(case(two()), over));
        assert!(pending(case(two()), serde_json::json!({"event": "subscription"})));
        assert!(!pending(case(Vec::new()), serde_json::json!({"on": "lead"})));
        assert!(pending(case(two()), serde_json::json!({"on": "hand"})));
    }

    #[test]
    fn the_first_partner_keeps_the_credit_unless_the_program_says_otherwise() {
        let case = || Case {
            leads: vec![lead(9, 9, ""), lead(10, 1, "ann"), lead(20, 2, "bob"), lead(90, 3, "eve")],
            conversions: vec![sale(50, 4, 100, 0)],
            rulings: Vec::new(),
        };
        let whose = |credit| told(case(), &[], &Qualification::default(), credit).credited.unwrap().partner;
        assert_eq!(*whose(Credit::First), *"ann");
        assert_eq!(*whose(Credit::Latest), *"bob", "eve came after it had qualified");
        let nobody = Case { leads: vec![lead(9, 9, "")], conversions: vec![sale(50, 4, 100, 0)], rulings: Vec::new() };
        let nobody = told(nobody, &both(), &Qualification::default(), Credit::First);
        assert_eq!((nobody.credited, nobody.standing, nobody.earned.len()), (None, Standing::Pending, 0));
    }

    fn any_case() -> impl Strategy<Value = Case> {
        let leads = proptest::collection::vec((0..100_i64, "(ann|bob)?"), 0..4);
        let sales = proptest::collection::vec((0..100_i64, 0..2_000_i64, 0..2_000_i64), 0..5);
        let rulings = proptest::collection::vec((0..100_i64, 0..3_u8), 0..3);
        (leads, sales, rulings).prop_map(|(leads, sales, rulings)| {
            let verdict = |n| [Verdict::Qualify, Verdict::Reject, Verdict::Approve][usize::from(n)];
            let number = |at: usize| u8::try_from(at).unwrap();
            Case {
                leads: leads.iter().enumerate().map(|(n, (day, who))| lead(*day, number(n), who)).collect(),
                conversions: (10..).zip(sales).map(|(n, (day, amount, back))| sale(day, n, amount, back)).collect(),
                rulings: (20..).zip(rulings).map(|(n, (day, what))| ruling(day, n, verdict(what))).collect(),
            }
        })
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(case in any_case(), seed: u64, latest: bool) {
            let credit = if latest { Credit::Latest } else { Credit::First };
            let expected = told(case.clone(), &both(), &Qualification::default(), credit);
            let mut shuffled = case;
            let mut state = seed | 1;
            let mut random = move |below: usize| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state % below as u64) as usize
            };
            for at in (1..shuffled.leads.len()).rev() {
                shuffled.leads.swap(at, random(at + 1));
            }
            for at in (1..shuffled.conversions.len()).rev() {
                shuffled.conversions.swap(at, random(at + 1));
            }
            for at in (1..shuffled.rulings.len()).rev() {
                shuffled.rulings.swap(at, random(at + 1));
            }
            prop_assert_eq!(told(shuffled, &both(), &Qualification::default(), credit), expected);
        }

        /// What is owed for one thing to one side is owed once.
        #[test]
        fn nothing_is_earned_twice(case in any_case()) {
            let outcome = told(case, &both(), &Qualification::default(), Credit::First);
            let mut keys: Vec<_> = outcome.earned.iter().map(|e| (e.rule.clone(), e.side, e.cause)).collect();
            let all = keys.len();
            keys.sort();
            keys.dedup();
            prop_assert_eq!(keys.len(), all);
        }
    }
}
