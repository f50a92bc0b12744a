//! The record does not depend on the order in which facts arrive, nor on how often.

use std::{collections::BTreeSet, sync::Arc};

use arc_swap::ArcSwap;
use proptest::prelude::*;
use serde_json::{Value, json};
use sqlx::Row;

mod terms;

use super::{
    Desk,
    told::{ToldConversion, ToldLead, ToldRefund},
};
use crate::{
    catalog::{Catalog, Partner, Program, entity},
    core::{
        code::CodeBuf,
        cookie::Cookie,
        id::{EventId, VisitorId},
        key::{Key, KeyRing},
        time::{DAY_MS, Millis},
        token::Token,
    },
    io::clock::Clock,
};

/// 2026-03-01T12:00:00Z.
pub(super) const NOON: i64 = 1_772_366_400_000;

/// A desk over a catalog of its own.
pub(super) struct Office {
    _folder: tempfile::TempDir,
    pub(super) catalog: Catalog,
    /// Looks at the tables.
    pub(super) pool: sqlx::AnyPool,
    clock: Clock,
    pub(super) desk: Desk,
    keys: KeyRing,
}

pub(super) fn object(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

impl Office {
    pub(super) async fn new(terms: &Value) -> Office {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Millis(NOON));
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, true, clock.clone()).await.unwrap();
        let keys = KeyRing::new(vec![Key::new(1, &[1; 32])]).unwrap();
        for (code, parent) in [("top", None), ("ann", Some("top")), ("bob", None)] {
            let partner = json!({"code": code, "parent": parent, "email": format!("{code}@partner.example")});
            catalog.put(entity::from_json::<Partner>(object(partner)).unwrap()).await.unwrap();
        }
        let shared = Arc::new(ArcSwap::from_pointee(KeyRing::new(vec![Key::new(1, &[1; 32])]).unwrap()));
        let desk = Desk::new(catalog.clone(), shared, clock.clone());
        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(&url).await.unwrap();
        let office = Office { _folder: folder, catalog, pool, clock, desk, keys };
        office.promise(terms).await;
        office
    }

    /// Gives the program these terms.
    async fn promise(&self, terms: &Value) {
        let mut program = object(json!({"code": "spring", "parent_shares": [1_000]}));
        program.extend(object(terms.clone()));
        self.catalog.put(entity::from_json::<Program>(program).unwrap()).await.unwrap();
    }

    /// A click token of this partner's.
    pub(super) fn token(&self, partner: &str, at: Millis) -> String {
        let code = |text: &str| CodeBuf::new(text.as_bytes()).unwrap();
        let click = EventId::new(at, [partner.as_bytes()[0]; 10]);
        let token = Token { click, program: None, link: code("shop"), partner: Some(code(partner)), ad: None };
        let mut text = Vec::new();
        token.encode(&self.keys, &mut Vec::new(), &mut text);
        String::from_utf8(text).unwrap()
    }

    /// The cookie of a browser that nobody is credited by.
    fn cookie(&self, visitor: u8) -> String {
        let cookie = Cookie { visitor: VisitorId([visitor; 16]), expires: Millis(NOON + DAY_MS), touches: None };
        let mut text = Vec::new();
        cookie.encode(&self.keys, &mut Vec::new(), &mut text);
        String::from_utf8(text).unwrap()
    }

    async fn tell(&self, fact: &Fact) {
        let at = |day: i64| Millis(NOON - day * DAY_MS).to_string();
        match fact {
            Fact::Lead { email, external, partner, day, token, from } => {
                let mut lead = json!({"program": "spring", "at": at(*day)});
                if let Some(email) = email {
                    lead["email"] = json!(address(*email));
                }
                if let Some(external) = external {
                    lead["external_id"] = json!(external);
                }
                if let Some((network, visitor)) = from {
                    lead["ip"] = json!(format!("192.0.{network}.7"));
                    lead["cookie"] = json!(self.cookie(*visitor));
                }
                match (partner, token) {
                    (Some(partner), Clicked::LongAgo) => {
                        lead["token"] = json!(self.token(partner, Millis(NOON - 60 * DAY_MS)));
                    }
                    (Some(partner), Clicked::JustNow) => {
                        lead["token"] = json!(self.token(partner, Millis(NOON - day * DAY_MS - 900)));
                    }
                    (Some(partner), Clicked::Never) => lead["partner"] = json!(partner),
                    (None, _) => {}
                }
                self.desk.lead(&ToldLead::read(object(lead)).unwrap(), None).await.unwrap();
            }
            Fact::Sale { invoice, whose, amount, day, card } => {
                let mut sale =
                    json!({"invoice_id": invoice.to_string(), "amount": amount, "currency": "EUR", "at": at(*day)});
                match whose {
                    Whose::Email(email) => sale["email"] = json!(address(*email)),
                    Whose::External(external) => sale["external_id"] = json!(external),
                    Whose::Token(partner) => {
                        sale["token"] = json!(self.token(partner, Millis(NOON - 60 * DAY_MS)));
                    }
                }
                if let Some(card) = card {
                    sale["payment_fingerprint"] = json!(format!("card {card}"));
                }
                self.desk.convert(&ToldConversion::read(object(sale), "test").unwrap(), None).await.unwrap();
            }
            Fact::Refund { invoice, amount, day } => {
                let refund = json!({"invoice_id": invoice.to_string(), "amount": amount, "at": at(*day)});
                self.desk.refund(&ToldRefund::read(object(refund)).unwrap(), None).await.unwrap();
            }
        }
    }

    /// What there is, without ids: lines that are equal where two records say the same.
    async fn told(&self) -> Vec<String> {
        self.desk.follow_due().await.unwrap();
        self.desk.release(1_000).await.unwrap();
        let mut lines = Vec::new();
        // A person is whatever they are known by.
        const PERSON: &str = "(SELECT group_concat(value, '+') FROM (SELECT value FROM contact_keys \
                              WHERE contact = f.contact ORDER BY kind, value))";
        for sql in [
            format!(
                "SELECT 'referral ' || {PERSON} || ' of ' || f.partner || ' ' || f.state || ' ' || f.state_ms || ' ' || f.since_ms \
                 || ' ' || f.score || ' ' || f.held || ' ' || (SELECT COALESCE(group_concat(json_extract(value, '$.signal') || ': ' || \
                 json_extract(value, '$.words'), ', '), '') FROM json_each(f.reasons)) FROM referrals AS f"
            ),
            format!(
                "SELECT 'reward ' || {PERSON} || ' ' || w.partner || ' ' || w.rule || ' ' || w.side || ' ' || w.level || ' ' || \
                 COALESCE(w.amount, w.gift) || ' ' || w.state || ' ' || w.withheld || ' ' || w.reason || ' ' || w.earned_ms || ' ' || w.held_ms \
                 FROM rewards AS w JOIN referrals AS f ON f.id = w.referral"
            ),
            format!("SELECT 'sale ' || f.invoice || ' of ' || COALESCE({PERSON}, 'nobody') FROM conversions AS f"),
            "SELECT 'people ' || days || ' ' || at_day || ' ' || partner || ' ' || link || ' ' || lead || ' ' || qualified || ' ' || rejected \
             || ' ' || rewarded || ' ' || first_lead || ' ' || first_qualified || ' ' || last_lead || ' ' || last_qualified \
             FROM record_people WHERE lead + first_lead + last_lead > 0"
                .to_owned(),
            "SELECT 'money ' || days || ' ' || at_day || ' ' || partner || ' ' || link || ' ' || currency || ' ' || revenue_count || ' ' || \
             revenue || ' ' || refunded || ' ' || owed_count || ' ' || owed || ' ' || issued || ' ' || lost FROM record_money \
             WHERE revenue_count + owed_count + issued_count + lost_count > 0"
                .to_owned(),
            "SELECT 'sum ' || days || ' ' || figure || ' ' || at_day || ' ' || detail || ' ' || currency || ' ' || count || ' ' || amount \
             FROM record_days WHERE count <> 0 OR amount <> 0"
                .to_owned(),
        ] {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await.unwrap();
            lines.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        }
        for (figure, table, recount) in RECOUNTS {
            let (count, amount) = match table {
                "record_people" => (figure.to_owned(), "0".to_owned()),
                _ => (format!("{figure}_count"), figure.to_owned()),
            };
            let by_who = ["0", "1", "7", "28"]
                .map(|days| format!("sum({count}), sum({amount}) FROM {table} WHERE days = {days}"));
            let together = ["1", "28"].map(|days| {
                format!("sum(count), sum(amount) FROM record_days WHERE figure = '{figure}' AND days = {days}")
            });
            let mut found = Vec::new();
            for sums in by_who.iter().chain(&together) {
                let row =
                    sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {sums}"))).fetch_one(&self.pool).await.unwrap();
                let number = |at: usize| row.get::<Option<i64>, _>(at).unwrap_or(0);
                found.push((number(0), number(1)));
            }
            let row = sqlx::query(recount).fetch_one(&self.pool).await.unwrap();
            let expected = (row.get::<i64, _>(0), row.get::<i64, _>(1));
            assert_eq!(found, [expected; 6], "{figure}");
        }
        lines.sort();
        lines
    }

    /// Conversions and refunds that belong to a referral, and were not told exactly once.
    async fn not_told_once(&self) -> Vec<String> {
        let told = |kind: &str, fact: &str| {
            format!(
                "(SELECT COUNT(*) FROM outbox WHERE kind = '{kind}' AND body LIKE '%\"id\":\"' || {fact}.id || '\"%')"
            )
        };
        let referral = "JOIN referrals AS f ON f.contact = c.contact AND (c.program IS NULL OR c.program = f.program)";
        let mut wrong = Vec::new();
        for sql in [
            format!(
                "SELECT 'sale ' || c.invoice FROM conversions AS c {referral} WHERE {} <> 1",
                told("conversion.created", "c")
            ),
            format!(
                "SELECT 'refund of ' || r.invoice FROM refunds AS r JOIN conversions AS c ON c.invoice = r.invoice {referral} WHERE {} <> 1",
                told("refund.created", "r")
            ),
        ] {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await.unwrap();
            wrong.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        }
        wrong
    }
}

/// What a sum must be, counted in the rows.
const RECOUNTS: [(&str, &str, &str); 5] = [
    ("lead", "record_people", "SELECT count(*), 0 FROM referrals"),
    ("qualified", "record_people", "SELECT count(*), 0 FROM referrals WHERE state = 'qualified'"),
    (
        "owed",
        "record_money",
        "SELECT count(*), CAST(COALESCE(sum(amount), 0) AS BIGINT) FROM rewards WHERE state IN ('held', 'due')",
    ),
    (
        "lost",
        "record_money",
        "SELECT count(*), CAST(COALESCE(sum(amount), 0) AS BIGINT) FROM rewards WHERE state = 'reversed' AND issued_ms IS NOT NULL",
    ),
    (
        "revenue",
        "record_money",
        "SELECT count(*), CAST(COALESCE(sum(c.amount), 0) AS BIGINT) FROM conversions AS c JOIN referrals AS r \
         ON r.contact = c.contact WHERE r.state <> 'rejected'",
    ),
];

/// Few addresses: x twice, written in two ways, and one of a partner.
fn address(who: char) -> String {
    match who {
        'X' => "x+shop@home.example".to_owned(),
        'a' => "ann@partner.example".to_owned(),
        who => format!("{who}@home.example"),
    }
}

#[derive(Clone, Debug)]
enum Whose {
    Email(char),
    External(String),
    Token(&'static str),
}

/// By what a lead names its partner: by a click or a code.
#[derive(Clone, Copy, Debug)]
enum Clicked {
    LongAgo,
    JustNow,
    Never,
}

#[derive(Clone, Debug)]
enum Fact {
    Lead {
        email: Option<char>,
        external: Option<String>,
        partner: Option<&'static str>,
        day: i64,
        token: Clicked,
        /// Network and browser.
        from: Option<(u8, u8)>,
    },
    Sale {
        invoice: usize,
        whose: Whose,
        amount: i64,
        day: i64,
        card: Option<u8>,
    },
    Refund {
        invoice: usize,
        amount: Option<i64>,
        day: i64,
    },
}

fn partner() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("ann"), Just("bob")]
}

/// Facts about a few people who turn out to be fewer, no two at the same time.
fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let external = || (0..3_u8).prop_map(|id| format!("id-{id}"));
    let email = || prop_oneof![Just('x'), Just('X'), Just('y'), Just('z'), Just('a')];
    let lead = (
        proptest::option::of(email()),
        proptest::option::of(external()),
        proptest::option::of(partner()),
        prop_oneof![Just(Clicked::LongAgo), Just(Clicked::JustNow), Just(Clicked::Never)],
        proptest::option::of((0..2_u8, 0..3_u8)),
    )
        .prop_filter("somebody", |lead| lead.0.is_some() || lead.1.is_some())
        .prop_map(|(email, external, partner, token, from)| Fact::Lead {
            email,
            external,
            partner,
            day: 0,
            token,
            from,
        });
    let whose = prop_oneof![
        email().prop_map(Whose::Email),
        external().prop_map(Whose::External),
        partner().prop_map(Whose::Token)
    ];
    let sale = (whose, 1..5_000_i64, proptest::option::of(0..2_u8)).prop_map(|(whose, amount, card)| Fact::Sale {
        invoice: 0,
        whose,
        amount,
        day: 0,
        card,
    });
    let refund = (0..10_usize, proptest::option::of(1..5_000_i64)).prop_map(|(invoice, amount)| Fact::Refund {
        invoice,
        amount,
        day: 0,
    });
    let fact = prop_oneof![3 => lead, 3 => sale, 1 => refund];
    proptest::collection::vec(fact, 1..10).prop_map(|mut facts| {
        let mut refunded = BTreeSet::new();
        for (at, fact) in facts.iter_mut().enumerate() {
            match fact {
                Fact::Lead { day, .. } => *day = at as i64 + 1,
                Fact::Sale { invoice, day, .. } => (*invoice, *day) = (at, at as i64 + 1),
                Fact::Refund { day, .. } => *day = at as i64 + 1,
            }
        }
        // One refund of an invoice: a second one under its name would be something else.
        facts.retain(|fact| !matches!(fact, Fact::Refund { invoice, .. } if !refunded.insert(*invoice)));
        facts
    })
}

pub(super) fn terms() -> Value {
    let review = json!({"hold_from": 60, "burst_leads": 2, "burst_minutes": 3 * 24 * 60});
    json!({"review": review, "rewards": rewards()})
}

pub(super) fn rewards() -> Value {
    json!([
        {"code": "welcome", "to": "both", "on": "qualification", "hold_days": 4, "value": {"fixed": {"amount": 500, "currency": "EUR"}}},
        {"code": "share", "to": "partner", "on": "sale", "recurring_months": 12, "value": {"percent": 1_000}},
        {"code": "second", "to": "partner", "on": "lead", "every": 2, "value": {"fixed": {"amount": 200, "currency": "EUR"}}},
        {"code": "capped", "to": "partner", "on": "sale", "recurring_months": 12, "cap": 2, "value": {"fixed": {"amount": 100, "currency": "EUR"}}},
        {"code": "budget", "to": "both", "on": "sale", "recurring_months": 12, "budget": {"amount": 250, "currency": "EUR"},
         "value": {"fixed": {"amount": 100, "currency": "EUR"}}},
    ])
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn neither_order_nor_repetition_of_facts_matters(facts in facts(), order in proptest::collection::vec(any::<u32>(), 20)) {
        block_on(async {
            let (straight, turned) = (Office::new(&terms()).await, Office::new(&terms()).await);
            for fact in &facts {
                straight.tell(fact).await;
            }
            let mut shuffled: Vec<(u32, &Fact)> = order.iter().copied().zip(&facts).collect();
            shuffled.sort_by_key(|(key, _)| *key);
            for (_, fact) in &shuffled {
                turned.tell(fact).await;
                // What has a name of its own may come again and again.
                if !matches!(fact, Fact::Lead { .. }) {
                    turned.tell(fact).await;
                }
            }
            for (_, fact) in shuffled.iter().filter(|(key, _)| key % 3 == 0) {
                if !matches!(fact, Fact::Lead { .. }) {
                    turned.tell(fact).await;
                }
            }
            prop_assert_eq!(straight.told().await, turned.told().await);
            for office in [&straight, &turned] {
                prop_assert_eq!(office.not_told_once().await, Vec::<String>::new());
            }
            Ok(())
        })?;
    }
}
