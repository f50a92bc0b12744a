//! What reports are made of: any range of time, asked in any way, is the sum of its people.

use proptest::prelude::*;
use serde_json::json;
use sqlx::Row;

use super::{
    tests::{NOON, Office, block_on, object, rewards},
    told::{ToldConversion, ToldLead},
};
use crate::{
    catalog::record::{
        figures::{Figure, Figures, Key, Sums, Who},
        report::{By, People},
    },
    core::time::{HOUR_MS, Millis},
};

/// Hours before noon, partner, whether the partner's click was on another day, and the amount of a sale.
fn person() -> impl Strategy<Value = (i64, &'static str, bool, Option<i64>)> {
    let partner = prop_oneof![Just("ann"), Just("bob")];
    (0..24 * 100_i64, partner, any::<bool>(), proptest::option::of(1..5_000_i64))
}

fn people() -> impl Strategy<Value = People> {
    let at = || proptest::option::weighted(0.8, (0..24 * 100_i64).prop_map(|hours| Millis(NOON - hours * HOUR_MS)));
    let partner = proptest::option::weighted(0.3, prop_oneof![Just("ann".to_owned()), Just("bob".to_owned())]);
    (at(), at(), partner).prop_map(|(one, other, partner)| {
        let (since, until) =
            if one.zip(other).is_some_and(|(one, other)| one > other) { (other, one) } else { (one, other) };
        People { since, until, partner, ..People::default() }
    })
}

async fn tell(office: &Office, number: usize, (hours, partner, touched, amount): (i64, &str, bool, Option<i64>)) {
    let at = Millis(NOON - hours * HOUR_MS);
    let email = format!("{number}@home.example");
    let mut lead = json!({"program": "spring", "email": email, "partner": partner, "at": at.to_string()});
    if touched {
        let other = if partner == "ann" { "bob" } else { "ann" };
        lead["token"] = json!(office.token(other, at.plus(-30 * HOUR_MS)));
    }
    office.desk.lead(&ToldLead::read(object(lead)).unwrap(), None).await.unwrap();
    if let Some(amount) = amount {
        let currency = if amount % 2 == 0 { "EUR" } else { "USD" };
        let sale = json!({"email": email, "amount": amount, "currency": currency, "invoice_id": email, "at": at.plus(5).to_string()});
        office.desk.convert(&ToldConversion::read(object(sale), "test").unwrap(), None).await.unwrap();
    }
}

/// The same from what each referral adds, one by one.
async fn recount(office: &Office, people: &People, figures: &[Figure], by: By) -> Sums {
    let rows = sqlx::query("SELECT figures FROM referral_figures").fetch_all(&office.pool).await.unwrap();
    let mut sums = Sums::new();
    for row in rows {
        let added: Figures = serde_json::from_str(row.get(0)).unwrap();
        let came = Millis(added.since);
        if people.since.is_some_and(|since| came < since) || people.until.is_some_and(|until| came >= until) {
            continue;
        }
        for (key, sum) in added.sums() {
            let is_theirs = people.partner.as_ref().is_none_or(|partner| *partner == key.who.partner);
            if figures.contains(&key.figure) && is_theirs {
                let who = Who { partner: if by.partner { key.who.partner } else { String::new() }, ..Who::default() };
                let detail = if by.detail { key.detail } else { String::new() };
                let program = if by.program { key.program } else { String::new() };
                sums.entry(Key { who, detail, program, ..key }).or_default().add(sum);
            }
        }
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_range_is_the_sum_of_its_people(
        all in proptest::collection::vec(person(), 1..12), questions in proptest::collection::vec(people(), 12)
    ) {
        block_on(async {
            let office = Office::new(&json!({"rewards": rewards()})).await;
            for (number, person) in all.iter().enumerate() {
                tell(&office, number, *person).await;
            }
            let of_partners = [Figure::Lead, Figure::Qualified, Figure::Revenue, Figure::Owed, Figure::FirstLead, Figure::LastLead];
            let others = [Figure::Rule, Figure::LeadToQualified, Figure::RevenueAfter, Figure::RulePeople];
            let (together, partner) = (By::default(), By { partner: true, ..By::default() });
            let rule = By { program: true, detail: true, ..By::default() };
            for people in &questions {
                for (figures, by) in [(&of_partners[..], together), (&of_partners[..], partner), (&others[..], rule)] {
                    let sums = office.catalog.sums(people, figures, by, &[]).await.unwrap();
                    prop_assert_eq!(sums, recount(&office, people, figures, by).await, "{:?} {:?}", people, by);
                }
            }
            Ok(())
        })?;
    }
}
