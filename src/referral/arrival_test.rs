//! The record does not depend on the order in which facts arrive, also not where clicks are among them. Clicks are facts too: they come to the event
//! store, before their leads or after, and the follower brings them to the record whenever it has its turn.

use std::{collections::BTreeSet, sync::Arc};

use arc_swap::ArcSwap;
use proptest::prelude::*;
use serde_json::{Value, json};
use sqlx::Row;

use super::{
    ClickFollower, Desk,
    told::{ToldConversion, ToldLead, ToldRefund},
};
use crate::{
    catalog::{Catalog, Partner, Program, entity},
    core::{
        code::CodeBuf,
        cookie::Cookie,
        event::{Class, Event, Kind},
        id::{EventId, VisitorId},
        key::{Key, KeyRing},
        time::{DAY_MS, Millis},
        token::Token,
    },
    io::clock::Clock,
    store::model::Model,
};

/// 2026-03-01T12:00:00Z.
const NOON: i64 = 1_772_366_400_000;

/// A desk over a catalog of its own.
pub(super) struct Office {
    _folder: tempfile::TempDir,
    url: String,
    pub(super) desk: Desk,
    keys: KeyRing,
    pub(super) events: Arc<Model>,
    pub(super) follower: ClickFollower,
}

pub(super) fn object(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

impl Office {
    pub(super) async fn new(rewards: Value) -> Office {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Millis(NOON));
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, true, clock.clone()).await.unwrap();
        let keys = KeyRing::new(vec![Key::new(1, &[1; 32])]).unwrap();
        for program in [
            json!({"code": "spring", "rewards": rewards, "parent_shares": [1_000]}),
            json!({"code": "autumn", "rewards": rewards, "credit": "latest", "attribution": "first_touch", "window_days": 3}),
        ] {
            catalog.put(entity::from_json::<Program>(object(program)).unwrap()).await.unwrap();
        }
        for (code, parent) in [("top", None), ("ann", Some("top")), ("bob", None)] {
            let partner = json!({"code": code, "parent": parent});
            catalog.put(entity::from_json::<Partner>(object(partner)).unwrap()).await.unwrap();
        }
        let shared = Arc::new(ArcSwap::from_pointee(KeyRing::new(vec![Key::new(1, &[1; 32])]).unwrap()));
        let events = Arc::new(Model::default());
        let follower = ClickFollower::new(catalog.clone(), Arc::clone(&events) as _, "model");
        let desk = Desk::new(catalog, shared, clock).with_history(Arc::clone(&events) as _);
        Office { _folder: folder, url, desk, keys, events, follower }
    }

    /// The value of a visitor's cookie; it has seen no click that anybody is credited for.
    pub(super) fn cookie(&self, visitor: u8) -> String {
        let cookie = Cookie { visitor: VisitorId([visitor; 16]), expires: Millis(NOON + DAY_MS), touches: None };
        let mut text = Vec::new();
        cookie.encode(&self.keys, &mut Vec::new(), &mut text);
        String::from_utf8(text).unwrap()
    }

    /// A click token of this partner's.
    fn token(&self, partner: &str, day: i64) -> String {
        self.token_of(EventId::new(Millis(NOON - day * DAY_MS), [partner.as_bytes()[0]; 10]), partner)
    }

    /// The id of the click of this day.
    fn click(day: i64) -> EventId {
        EventId::new(Millis(NOON - day * DAY_MS), [day as u8; 10])
    }

    fn token_of(&self, click: EventId, partner: &str) -> String {
        let code = |text: &str| CodeBuf::new(text.as_bytes()).unwrap();
        let token = Token { click, program: None, link: code("shop"), partner: Some(code(partner)), ad: None };
        let mut text = Vec::new();
        token.encode(&self.keys, &mut Vec::new(), &mut text);
        String::from_utf8(text).unwrap()
    }

    pub(super) async fn tell(&self, fact: &Fact) {
        let at = |day: i64| Millis(NOON - day * DAY_MS).to_string();
        match fact {
            Fact::Click { visitor, partner, program, class, day } => {
                let time = Millis(NOON - day * DAY_MS);
                self.events.events.lock().unwrap().push(Event {
                    id: Self::click(*day).0.into(),
                    kind: Kind::Click as i32,
                    class: *class as i32,
                    time_ms: time.0,
                    program: (*program).to_owned(),
                    link: "shop".to_owned(),
                    partner: (*partner).to_owned(),
                    visitor: vec![*visitor; 16],
                    ..Event::default()
                });
            }
            Fact::Lead { program, visitor, email, external, partner, day, token } => {
                let mut lead = json!({"program": program, "at": at(*day)});
                if let Some(visitor) = visitor {
                    lead["cookie"] = json!(self.cookie(*visitor));
                }
                if let Some(email) = email {
                    lead["email"] = json!(format!("{email}@home.example"));
                }
                if let Some(external) = external {
                    lead["external_id"] = json!(external);
                }
                match partner {
                    Some(partner) if *token => lead["token"] = json!(self.token(partner, 60)),
                    Some(partner) => lead["partner"] = json!(partner),
                    None => {}
                }
                self.desk.lead(&ToldLead::read(object(lead)).unwrap(), None).await.unwrap();
            }
            Fact::Sale { invoice, whose, amount, day } => {
                let mut sale =
                    json!({"invoice_id": invoice.to_string(), "amount": amount, "currency": "EUR", "at": at(*day)});
                match whose {
                    Whose::Email(email) => sale["email"] = json!(format!("{email}@home.example")),
                    Whose::External(external) => sale["external_id"] = json!(external),
                    Whose::Token(partner) => sale["token"] = json!(self.token(partner, 60)),
                    Whose::Click(fact) => sale["token"] = json!(self.token_of(Self::click(*fact as i64 + 1), "ann")),
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
    pub(super) async fn told(&mut self) -> Vec<String> {
        self.follower.catch_up().await.unwrap();
        self.desk.follow_due().await.unwrap();
        self.desk.release(1_000).await.unwrap();
        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(&self.url).await.unwrap();
        let mut lines = Vec::new();
        // A person is whatever they are known by.
        const PERSON: &str = "(SELECT group_concat(value, '+') FROM (SELECT value FROM contact_keys \
                              WHERE contact = f.contact ORDER BY kind, value))";
        for sql in [
            format!(
                "SELECT 'referral ' || {PERSON} || ' in ' || f.program || ' of ' || f.partner || ' by ' || COALESCE(f.click, '') || ' ' || f.state || ' ' || f.state_ms || ' ' || f.since_ms \
                 FROM referrals AS f"
            ),
            format!(
                "SELECT 'reward ' || {PERSON} || ' ' || w.partner || ' ' || w.rule || ' ' || w.side || ' ' || w.level || ' ' || \
                 w.amount || ' ' || w.state || ' ' || w.withheld || ' ' || w.reason || ' ' || w.earned_ms || ' ' || w.held_ms \
                 FROM rewards AS w JOIN referrals AS f ON f.id = w.referral"
            ),
            format!(
                "SELECT 'lead ' || {PERSON} || ' ' || f.program || ' ' || f.by_click || f.at_ms || ' ' || f.decision FROM leads AS f"
            ),
            format!("SELECT 'sale ' || f.invoice || ' of ' || COALESCE({PERSON}, 'nobody') FROM conversions AS f"),
        ] {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&pool).await.unwrap();
            lines.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        }
        pool.close().await;
        lines.sort();
        lines
    }

    /// Conversions and refunds that belong to a referral, and were not told exactly once.
    async fn not_told_once(&self) -> Vec<String> {
        let pool = sqlx::AnyPool::connect(&self.url).await.unwrap();
        let told = |kind: &str, fact: &str| {
            format!(
                "(SELECT COUNT(*) FROM outbox WHERE kind = '{kind}' AND program = f.program AND body LIKE '%\"id\":\"' || {fact}.id || '\"%')"
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
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&pool).await.unwrap();
            wrong.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        }
        pool.close().await;
        wrong
    }
}

#[derive(Clone, Debug)]
pub(super) enum Whose {
    Email(char),
    External(String),
    Token(&'static str),
    /// By the click that is the fact of this number, if it is one.
    Click(usize),
}

#[derive(Clone, Debug)]
pub(super) enum Fact {
    Click {
        visitor: u8,
        partner: &'static str,
        program: &'static str,
        class: Class,
        day: i64,
    },
    Lead {
        program: &'static str,
        visitor: Option<u8>,
        email: Option<char>,
        external: Option<String>,
        partner: Option<&'static str>,
        day: i64,
        token: bool,
    },
    Sale {
        invoice: usize,
        whose: Whose,
        amount: i64,
        day: i64,
    },
    Refund {
        invoice: usize,
        amount: Option<i64>,
        day: i64,
    },
}

const FACTS_MAX: usize = 14;

fn partner() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("ann"), Just("bob")]
}

/// Facts about a few people who turn out to be fewer, no two at the same time.
fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let external = || (0..3_u8).prop_map(|id| format!("id-{id}"));
    let email = || prop_oneof![Just('x'), Just('y'), Just('z')];
    let program = || prop_oneof![2 => Just("spring"), 1 => Just("autumn")];
    let click = (
        1..4_u8,
        partner(),
        prop_oneof![4 => program(), 1 => Just("")],
        prop_oneof![4 => Just(Class::Human), 1 => Just(Class::Test)],
    )
        .prop_map(|(visitor, partner, program, class)| Fact::Click { visitor, partner, program, class, day: 0 });
    let lead = (
        program(),
        proptest::option::of(1..4_u8),
        proptest::option::of(email()),
        proptest::option::of(external()),
        proptest::option::of(partner()),
        any::<bool>(),
    )
        .prop_filter("somebody", |lead| lead.2.is_some() || lead.3.is_some())
        .prop_map(|(program, visitor, email, external, partner, token)| Fact::Lead {
            program,
            visitor,
            email,
            external,
            partner,
            day: 0,
            token,
        });
    let whose = prop_oneof![
        email().prop_map(Whose::Email),
        external().prop_map(Whose::External),
        partner().prop_map(Whose::Token),
        (0..FACTS_MAX).prop_map(Whose::Click),
    ];
    let sale = (whose, 1..5_000_i64).prop_map(|(whose, amount)| Fact::Sale { invoice: 0, whose, amount, day: 0 });
    let refund = (0..10_usize, proptest::option::of(1..5_000_i64)).prop_map(|(invoice, amount)| Fact::Refund {
        invoice,
        amount,
        day: 0,
    });
    let fact = prop_oneof![4 => click, 3 => lead, 3 => sale, 1 => refund];
    proptest::collection::vec(fact, 1..FACTS_MAX).prop_map(|mut facts| {
        let mut refunded = BTreeSet::new();
        for (at, fact) in facts.iter_mut().enumerate() {
            match fact {
                Fact::Click { day, .. } => *day = at as i64 + 1,
                // A browser is one person's: of two who share one, and are credited by the same click, none came first.
                Fact::Lead { day, visitor, email, .. } => {
                    *day = at as i64 + 1;
                    *visitor = visitor.and(*email).map(|email| email as u8 - b'x' + 1);
                }
                Fact::Sale { invoice, day, .. } => (*invoice, *day) = (at, at as i64 + 1),
                Fact::Refund { day, .. } => *day = at as i64 + 1,
            }
        }
        // One refund of an invoice: a second one under its name would be something else.
        facts.retain(|fact| !matches!(fact, Fact::Refund { invoice, .. } if !refunded.insert(*invoice)));
        facts
    })
}

fn rewards() -> Value {
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
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn neither_order_nor_repetition_of_clicks_and_facts_matters(
        facts in facts(),
        order in proptest::collection::vec(any::<u32>(), FACTS_MAX),
    ) {
        block_on(async {
            let (mut straight, mut turned) = (Office::new(rewards()).await, Office::new(rewards()).await);
            for fact in &facts {
                straight.tell(fact).await;
            }
            let mut shuffled: Vec<(u32, &Fact)> = order.iter().copied().zip(&facts).collect();
            shuffled.sort_by_key(|(key, _)| *key);
            for (key, fact) in &shuffled {
                turned.tell(fact).await;
                // What has a name of its own may come again and again.
                if !matches!(fact, Fact::Lead { .. }) {
                    turned.tell(fact).await;
                }
                if key % 2 == 0 {
                    turned.follower.catch_up().await.unwrap();
                }
            }
            for (_, fact) in shuffled.iter().filter(|(key, _)| key % 3 == 0) {
                if !matches!(fact, Fact::Lead { .. }) {
                    turned.tell(fact).await;
                }
            }
            prop_assert_eq!(straight.told().await, turned.told().await);
            prop_assert_eq!((straight.not_told_once().await, turned.not_told_once().await), (Vec::new(), Vec::new()));
            for office in [&straight, &turned] {
                prop_assert_eq!(office.not_told_once().await, Vec::<String>::new());
            }
            Ok(())
        })?;
    }
}
