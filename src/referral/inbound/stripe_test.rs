//! Stripe's events in any order, any number of times, in the shapes of old and new API versions: the same conversions, refunds
//! and people.

use std::sync::Arc;

use arc_swap::ArcSwap;
use proptest::prelude::*;
use serde_json::{Value, json};
use sqlx::Row;

use super::{
    super::{
        Desk,
        deed::{Deed, Effect},
        told::{ToldConversion, ToldLead, Whose},
    },
    stripe::{Settings, read},
};
use crate::{
    catalog::{Catalog, Partner, Program, entity, record::Name},
    core::{
        code::CodeBuf,
        id::EventId,
        key::{Key, KeyRing},
        time::Millis,
        token::Token,
    },
    io::clock::Clock,
};

/// 2026-03-01T12:00:00Z.
const NOON: i64 = 1_772_366_400_000;

fn event(id: &str, kind: &str, at: i64, object: &Value) -> String {
    json!({"id": id, "object": "event", "type": kind, "created": NOON / 1_000 + at, "data": {"object": object}})
        .to_string()
}

fn none(_: &str) -> Option<EventId> {
    None
}

fn deeds(kind: &str, object: &Value) -> (Vec<Deed>, &'static str) {
    let event = read(event("evt_1", kind, 0, object).as_bytes(), &Settings::default(), &none).unwrap();
    (event.deeds, event.why)
}

fn conversion(kind: &str, object: &Value) -> ToldConversion {
    match deeds(kind, object).0.pop() {
        Some(Deed::Conversion(told)) => *told,
        other => panic!("{other:?} is no conversion"),
    }
}

fn names(told: &ToldConversion) -> Vec<String> {
    let Whose::Names(names) = &told.whose else { panic!("names are expected") };
    names.iter().map(|Name { kind, value, .. }| format!("{} {value}", kind.word())).collect()
}

fn invoice() -> Value {
    json!({"id": "in_1", "object": "invoice", "amount_paid": 9_990, "currency": "eur", "customer": "cus_1",
        "customer_email": "Ann@Home.example", "status_transitions": {"paid_at": NOON / 1_000}})
}

fn session() -> Value {
    json!({"id": "cs_1", "object": "checkout.session", "mode": "subscription", "payment_status": "paid", "amount_total": 9_990,
        "currency": "eur", "invoice": "in_1", "payment_intent": null, "subscription": "sub_1", "customer": "cus_1",
        "client_reference_id": "c-7", "customer_email": null, "customer_details": {"email": "ann@home.example"}})
}

#[test]
fn a_person_is_named_in_a_fixed_order() {
    let mut told = session();
    told["metadata"] = json!({"external_id": "meta-7", "fpc": "forged"});
    let told = conversion("checkout.session.completed", &told);
    let expected = ["external meta-7", "external c-7", "email ann@home.example", "external cus_1", "customer cus_1"];
    assert_eq!(names(&told), expected);
    // On a subscription, where old and new versions have it.
    for place in ["/parent", "/subscription_details", "/lines"] {
        let mut told = invoice();
        let metadata = json!({"metadata": {"external_id": "sub-7"}});
        match place {
            "/parent" => told["parent"] = json!({"type": "subscription_details", "subscription_details": metadata}),
            "/lines" => told["lines"] = json!({"data": [metadata]}),
            _ => told["subscription_details"] = metadata,
        }
        assert_eq!(names(&conversion("invoice.paid", &told))[0], "external sub-7", "{place}");
    }
    // Expanded objects are as good as ids.
    let mut told = invoice();
    told["customer"] = json!({"id": "cus_1", "email": "other@home.example"});
    assert_eq!(names(&conversion("invoice.paid", &told))[1], "email other@home.example");
}

#[test]
fn a_payment_has_its_names_in_old_and_new_versions() {
    let payment = |told: &Value| conversion("invoice.paid", told).further.payment;
    let mut old = invoice();
    (old["payment_intent"], old["charge"]) = (json!("pi_1"), json!({"id": "ch_1"}));
    assert_eq!(payment(&old), ["in_1", "pi_1", "ch_1"]);
    let mut new = invoice();
    new["payments"] =
        json!({"data": [{"id": "inpay_1", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}}]});
    assert_eq!(payment(&new), ["in_1", "pi_1"]);
    assert_eq!(payment(&invoice()), ["in_1"]);
    let paid =
        json!({"id": "inpay_1", "invoice": "in_1", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}});
    assert!(
        matches!(&deeds("invoice_payment.paid", &paid).0[..], [Deed::Payment(told)] if told.names == ["in_1", "pi_1"])
    );
    let charge = json!({"id": "ch_1", "payment_intent": "pi_1", "payment_method_details": {"type": "card", "card": {"fingerprint": "F"}}});
    let (told, _) = deeds("charge.succeeded", &charge);
    assert!(matches!(&told[..], [Deed::Payment(told)] if told.fingerprint.as_deref() == Some("F")));
}

#[test]
fn amounts_are_those_of_the_currency_and_nothing_paid_is_no_sale() {
    for (currency, amount, told) in
        [("eur", 1_999, "19.99 EUR"), ("jpy", 1_999, "1999 JPY"), ("isk", 500_000, "5000 ISK")]
    {
        let mut sale = invoice();
        (sale["currency"], sale["amount_paid"]) = (json!(currency), json!(amount));
        assert_eq!(conversion("invoice.paid", &sale).money.unwrap().to_string(), told);
    }
    let with = |base: Value, field: &str, value: Value| {
        let mut object = base;
        object[field] = value;
        object
    };
    for (kind, object, why) in [
        ("invoice.paid", with(invoice(), "amount_paid", json!(0)), "nothing was paid"),
        ("checkout.session.completed", with(session(), "payment_status", json!("unpaid")), "nothing was paid"),
        ("checkout.session.completed", with(session(), "amount_total", json!(0)), "nothing was paid"),
        ("invoice.paid", with(invoice(), "currency", json!("zzz")), "its amount or currency is not understood"),
        ("customer.created", json!({"id": "cus_1"}), "events of this type are not needed here"),
        (
            "charge.dispute.created",
            json!({"id": "dp_1", "charge": "ch_1", "status": "warning_needs_response"}),
            "an inquiry takes nothing back",
        ),
        (
            "charge.dispute.closed",
            json!({"id": "dp_1", "charge": "ch_1", "status": "lost"}),
            "a dispute that is not won changes nothing",
        ),
    ] {
        assert_eq!(deeds(kind, &object), (Vec::new(), why), "{kind}");
    }
}

struct Office {
    _folder: tempfile::TempDir,
    url: String,
    desk: Desk,
}

impl Office {
    async fn new() -> Office {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Millis(NOON + 86_400_000));
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, true, clock.clone()).await.unwrap();
        let object = |value: Value| value.as_object().unwrap().clone();
        let program = json!({"code": "spring", "qualification": {"on": "event"}, "rewards": [
            {"code": "share", "to": "partner", "on": "sale", "recurring_months": 12, "value": {"percent": 1_000}},
            {"code": "welcome", "to": "both", "on": "qualification", "value": {"fixed": {"amount": 500, "currency": "EUR"}}}]});
        catalog.put(entity::from_json::<Program>(object(program)).unwrap()).await.unwrap();
        catalog.put(entity::from_json::<Partner>(object(json!({"code": "bob"}))).unwrap()).await.unwrap();
        let desk = Desk::new(catalog, Arc::new(ArcSwap::from_pointee(keys())), clock);
        Office { _folder: folder, url, desk }
    }

    async fn tell(&self, told: &Told) {
        match told {
            Told::Lead(lead) => {
                let told = ToldLead::read(lead.as_object().unwrap().clone()).unwrap();
                self.desk.lead(&ToldLead { name: Some(lead.to_string()), ..told }, None).await.unwrap();
            }
            Told::Event(event) => {
                let event = read(event.as_bytes(), &Settings::default(), &|token| self.desk.click(token)).unwrap();
                let endpoint = "stripe".parse().unwrap();
                self.desk.inbound(&endpoint, &event.id, &event.kind, &event.deeds).await.unwrap();
            }
        }
    }

    /// Lines that are equal where two records say the same.
    async fn told(&self) -> Vec<String> {
        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(&self.url).await.unwrap();
        let person = "COALESCE((SELECT group_concat(value, '+') FROM (SELECT value FROM contact_keys WHERE contact = f.contact \
                      ORDER BY kind, value)), 'nobody')";
        let mut lines = Vec::new();
        for sql in [
            format!("SELECT 'sale ' || f.invoice || ' ' || f.event || ' ' || COALESCE(f.amount, 0) || ' ' || f.at_ms || ' ' || f.standing \
                     || ' ' || COALESCE(f.payment, '-') || ' of ' || {person} FROM conversions AS f"),
            "SELECT 'refund ' || invoice || ' ' || COALESCE(amount, 'all') FROM refunds".to_owned(),
            format!("SELECT 'referral ' || {person} || ' ' || f.state || ' ' || f.state_ms FROM referrals AS f"),
            // What the event store was told, in whatever pieces; a dispute may be won before it is told.
            "SELECT 'told ' || COUNT(*) || ' ' || COUNT(DISTINCT json_extract(body, '$.id')) FROM outbox WHERE kind = 'conversion.created'"
                .to_owned(),
            "SELECT 'told back ' || COALESCE(sum(json_extract(body, '$.amount')), 0) FROM outbox WHERE kind = 'refund.created'".to_owned(),
            "SELECT 'reward ' || rule || ' ' || side || ' ' || COALESCE(amount, 0) || ' ' || state || ' ' || reason FROM rewards".to_owned(),
        ] {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&pool).await.unwrap();
            lines.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        }
        pool.close().await;
        lines.sort();
        lines
    }
}

fn keys() -> KeyRing {
    KeyRing::new(vec![Key::new(1, &[1; 32])]).unwrap()
}

fn token() -> String {
    let code = |text: &str| CodeBuf::new(text.as_bytes()).unwrap();
    let click = EventId::new(Millis(NOON - 86_400_000), [7; 10]);
    let token = Token { click, program: None, link: code("shop"), partner: Some(code("bob")), ad: None };
    let mut text = Vec::new();
    token.encode(&keys(), &mut Vec::new(), &mut text);
    String::from_utf8(text).unwrap()
}

#[derive(Clone, Debug)]
enum Told {
    Lead(Value),
    Event(String),
}

/// Two payments of a subscription and one of a shop, refunds, disputes, an end; everything that Stripe tells of them, in
/// the words of an old version or of a new one.
fn history(new: bool, by_token: bool, dispute: &str) -> Vec<Told> {
    let lead = if by_token {
        json!({"program": "spring", "external_id": "someone", "token": token(), "at": "2026-02-28T12:00:00Z"})
    } else {
        json!({"program": "spring", "external_id": "c-7", "partner": "bob", "at": "2026-02-28T12:00:00Z"})
    };
    let mut session = session();
    if by_token {
        session["client_reference_id"] = json!(token());
    }
    let mut first = invoice();
    // The second one names nobody but the customer.
    let mut second = json!({"id": "in_2", "amount_paid": 5_000, "currency": "eur", "customer": "cus_1",
        "status_transitions": {"paid_at": NOON / 1_000 + 60}});
    if !new {
        (first["payment_intent"], first["charge"]) = (json!("pi_1"), json!("ch_1"));
        (second["payment_intent"], second["charge"]) = (json!("pi_2"), json!("ch_2"));
    }
    let charge = |number: u8, refunded: i64| {
        let mut charge = json!({"id": format!("ch_{number}"), "amount": 9_990, "amount_refunded": refunded, "currency": "eur",
            "payment_intent": format!("pi_{number}"), "payment_method_details": {"type": "card", "card": {"fingerprint": format!("card{number}")}}});
        if !new {
            charge["invoice"] = json!(format!("in_{number}"));
        }
        charge
    };
    let paid = |number: u8| {
        json!({"id": format!("inpay_{number}"), "invoice": format!("in_{number}"),
        "payment": {"type": "payment_intent", "payment_intent": format!("pi_{number}")}})
    };
    let disputed = |status: &str| json!({"id": "dp_1", "charge": "ch_2", "payment_intent": "pi_2", "status": status, "reason": "fraudulent"});
    let mut events = vec![
        ("checkout.session.completed", session, 1),
        ("invoice.paid", first.clone(), 2),
        ("invoice.payment_succeeded", first, 3),
        ("charge.succeeded", charge(1, 0), 1),
        ("invoice.paid", second, 60),
        ("charge.refunded", charge(1, 1_000), 100),
        ("charge.refunded", charge(1, 3_000), 200),
        (
            "customer.subscription.deleted",
            json!({"id": "sub_1", "customer": "cus_1", "ended_at": NOON / 1_000 + 500}),
            500,
        ),
    ];
    if new {
        events.push(("invoice_payment.paid", paid(1), 2));
        events.push(("invoice_payment.paid", paid(2), 60));
    }
    match dispute {
        "open" => events.push(("charge.dispute.created", disputed("needs_response"), 300)),
        "won" => {
            events.push(("charge.dispute.created", disputed("needs_response"), 300));
            events.push(("charge.dispute.closed", disputed("won"), 400));
        }
        _ => {}
    }
    let told = events
        .into_iter()
        .enumerate()
        .map(|(at, (kind, object, second))| Told::Event(event(&format!("evt_{at}"), kind, second, &object)));
    [Told::Lead(lead)].into_iter().chain(told).collect()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn one_payment_counts_once_and_refunds_are_what_they_are_in_all() {
    for (new, by_token) in [(false, false), (true, false), (true, true)] {
        block_on(async {
            let office = Office::new().await;
            for told in history(new, by_token, "won") {
                office.tell(&told).await;
            }
            let lines = office.told().await;
            let who = if by_token { "someone" } else { "c-7" };
            let sales: Vec<&String> = lines.iter().filter(|line| line.starts_with("sale in_")).collect();
            assert_eq!(sales.len(), 2, "{lines:#?}");
            assert!(
                sales.iter().all(|line| line.ends_with(who) && !line.contains(" - ") || line.contains("in_2")),
                "{lines:#?}"
            );
            assert!(
                lines.contains(&"refund in_1 3000".to_owned()) && lines.contains(&"refund in_2 0".to_owned()),
                "{lines:#?}"
            );
            assert!(
                lines.iter().any(|line| line.starts_with("reward share partner 699 ")),
                "ten percent of what is left: {lines:#?}"
            );
            assert!(lines.iter().any(|line| line.starts_with("reward share partner 500 ")), "{lines:#?}");
            assert!(lines.iter().any(|line| line.starts_with(&format!("referral {who} qualified"))), "{lines:#?}");
        });
    }
}

#[test]
fn a_dispute_takes_all_of_it_back() {
    block_on(async {
        let office = Office::new().await;
        for told in history(true, false, "open") {
            office.tell(&told).await;
        }
        let lines = office.told().await;
        assert!(lines.contains(&"refund in_2 all".to_owned()), "{lines:#?}");
        assert!(lines.contains(&"reward share partner 500 reversed the sale was paid back".to_owned()), "{lines:#?}");
    });
}

#[test]
fn an_event_has_its_effect_once_and_what_is_not_needed_is_noted() {
    block_on(async {
        let office = Office::new().await;
        let told = history(true, false, "none");
        let Told::Event(sale) = &told[2] else { panic!("an event") };
        let sale = read(sale.as_bytes(), &Settings::default(), &none).unwrap();
        let endpoint = "stripe".parse().unwrap();
        let first = office.desk.inbound(&endpoint, &sale.id, &sale.kind, &sale.deeds).await.unwrap();
        assert!(matches!(&first, Effect::Applied(noted) if !noted[0].again));
        assert_eq!(office.desk.inbound(&endpoint, &sale.id, &sale.kind, &sale.deeds).await.unwrap(), Effect::Again);
        assert_eq!(
            office.desk.inbound(&endpoint, "evt_x", "customer.created", &[]).await.unwrap(),
            Effect::Applied(Vec::new())
        );
        assert_eq!(office.desk.inbound(&endpoint, "evt_x", "customer.created", &[]).await.unwrap(), Effect::Again);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn neither_order_nor_repetition_matters(
        new: bool,
        by_token: bool,
        dispute in prop_oneof![Just("none"), Just("open"), Just("won")],
        order in proptest::collection::vec(any::<u32>(), 20),
    ) {
        block_on(async {
            let (straight, turned) = (Office::new().await, Office::new().await);
            let told = history(new, by_token, dispute);
            for told in &told {
                straight.tell(told).await;
            }
            let mut shuffled: Vec<(u32, &Told)> = order.iter().copied().zip(&told).collect();
            shuffled.sort_by_key(|(key, _)| *key);
            for (key, told) in &shuffled {
                turned.tell(told).await;
                if key % 3 == 0 {
                    turned.tell(told).await;
                }
            }
            for (_, told) in shuffled.iter().filter(|(key, _)| key % 2 == 0) {
                turned.tell(told).await;
            }
            prop_assert_eq!(anonymous(straight.told().await), anonymous(turned.told().await));
            Ok(())
        })?;
    }
}

/// Without the hashes, whose key is each catalog's own.
fn anonymous(lines: Vec<String>) -> Vec<String> {
    let hash = |word: &str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words =
        |line: String| line.split(' ').map(|word| if hash(word) { "#" } else { word }).collect::<Vec<_>>().join(" ");
    lines.into_iter().map(words).collect()
}
