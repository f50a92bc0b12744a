//! From clicks to reports, with everything that may happen on the way: clicks, leads, Stripe's payments and refunds come in any
//! order and more than once, and the process dies in the middle of any of them. In the end there are the same referrals,
//! rewards and reports.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Map, Value, json};
use sqlx::Row;
use tempfile::TempDir;

use crate::{
    catalog::{Catalog, Partner, Program, entity},
    core::{
        code::CodeBuf,
        cookie::Cookie,
        event::{Class, Event, Kind},
        id::{EventId, LaneId, VisitorId},
        key::{Key, KeyRing},
        time::{DAY_MS, Millis},
        token::Token,
    },
    io::clock::Clock,
    referral::{ClickFollower, Desk, inbound::Door, told::ToldLead},
    report::{Name, Question, Sources, Words},
    store::{
        Batch, Sink,
        sqlite::{FILE, SqliteReports, SqliteSink},
    },
};

/// 2026-03-01T12:00:00Z.
const NOON: i64 = 1_772_366_400_000;
const LANE: LaneId = LaneId(7);

/// What somebody tells us. `minute`s are counted from ten days before now.
#[derive(Clone, Debug)]
enum Told {
    Click { visitor: u8, partner: &'static str, minute: i64 },
    Lead { person: u8, visitor: Option<u8>, token: Option<&'static str>, minute: i64 },
    Paid { person: u8, invoice: usize, amount: i64, minute: i64 },
    PaidBack { invoice: usize, amount: i64, so_far: i64, minute: i64 },
}

fn at(minute: i64) -> Millis {
    Millis(NOON - 10 * DAY_MS + minute * 60_000)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn keys() -> KeyRing {
    KeyRing::new(vec![Key::new(1, &[1; 32])]).unwrap()
}

/// Dies after so many steps: what it has begun is left as it stands.
struct Dying<F> {
    work: Pin<Box<F>>,
    steps: u32,
}

impl<F: Future> Future for Dying<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if self.steps == 0 {
            return Poll::Ready(None);
        }
        self.steps -= 1;
        self.work.as_mut().poll(context).map(Some)
    }
}

/// One process: what it has open is gone with it.
struct Process {
    catalog: Catalog,
    sink: SqliteSink,
    reports: Arc<SqliteReports>,
    desk: Desk,
}

/// A machine, with the events of its journal's lane.
struct Machine {
    folder: TempDir,
    process: Process,
    lane: Vec<Event>,
}

impl Process {
    async fn start(folder: &TempDir) -> Process {
        let (clock, events) = (Clock::manual(Millis(NOON)), folder.path().join(FILE));
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, true, clock.clone()).await.unwrap();
        let sink = SqliteSink::open(&events, clock.clone()).await.unwrap();
        let reports = Arc::new(SqliteReports::open(&events).await.unwrap());
        let keys = Arc::new(ArcSwap::from_pointee(keys()));
        let desk = Desk::new(catalog.clone(), keys, clock).with_history(Arc::clone(&reports) as _);
        Process { catalog, sink, reports, desk }
    }

    /// As the pump does it: from the position that the sink holds.
    async fn deliver(&mut self, lane: &[Event]) {
        let position = self.sink.positions().await.unwrap().get(&LANE).copied().unwrap_or(0);
        let missing = &lane[usize::try_from(position).unwrap()..];
        let records = (position..).zip(missing.iter().map(Event::encode_to_vec)).collect();
        self.sink.store(&[Batch { lane: LANE, records, next: lane.len() as u64 }]).await.unwrap();
    }

    async fn tell(&mut self, told: &Told, lane: &[Event]) {
        match told {
            Told::Click { .. } => self.deliver(lane).await,
            Told::Lead { person, visitor, token, minute } => {
                let mut lead = json!({"program": "spring", "email": email(*person), "at": at(*minute).to_string()});
                if let Some(visitor) = visitor {
                    lead["cookie"] = json!(cookie(*visitor));
                }
                if let Some(partner) = token {
                    lead["token"] = json!(click_token(partner));
                }
                let read = ToldLead::read(object(lead.clone())).unwrap();
                self.desk.lead(&ToldLead { name: Some(lead.to_string()), ..read }, None).await.unwrap();
            }
            Told::Paid { .. } | Told::PaidBack { .. } => {
                let door = Door::read("stripe", Map::new()).unwrap();
                let body = stripe(told).to_string();
                for event in door.events("stripe", body.as_bytes(), &|token| self.desk.click(token)).unwrap() {
                    let name = "stripe".parse().unwrap();
                    self.desk.inbound(&name, &event.id, &event.kind, &event.deeds).await.unwrap();
                }
            }
        }
    }

    async fn end(self) {
        self.sink.close().await;
        self.catalog.close().await;
    }
}

fn email(person: u8) -> String {
    format!("p{person}@home.example")
}

fn cookie(visitor: u8) -> String {
    let cookie = Cookie { visitor: VisitorId([visitor; 16]), expires: Millis(NOON + DAY_MS), touches: None };
    let mut text = Vec::new();
    cookie.encode(&keys(), &mut Vec::new(), &mut text);
    String::from_utf8(text).unwrap()
}

fn click_token(partner: &str) -> String {
    let code = |text: &str| CodeBuf::new(text.as_bytes()).unwrap();
    let click = EventId::new(at(-60), [partner.as_bytes()[0]; 10]);
    let token = Token { click, program: None, link: code("shop"), partner: Some(code(partner)), ad: None };
    let mut text = Vec::new();
    token.encode(&keys(), &mut Vec::new(), &mut text);
    String::from_utf8(text).unwrap()
}

fn stripe(told: &Told) -> Value {
    let (id, kind, minute, object) = match told {
        Told::Paid { person, invoice, amount, minute } => (
            format!("evt_{invoice}"),
            "invoice.paid",
            minute,
            json!({"id": format!("in_{invoice}"), "amount_paid": amount, "currency": "eur", "charge": format!("ch_{invoice}"),
                   "customer_email": email(*person), "status_transitions": {"paid_at": at(*minute).0 / 1_000}}),
        ),
        Told::PaidBack { invoice, amount, so_far, minute } => (
            format!("evt_{invoice}_{so_far}"),
            "charge.refunded",
            minute,
            json!({"id": format!("ch_{invoice}"), "invoice": format!("in_{invoice}"), "amount": amount,
                   "amount_refunded": so_far, "currency": "eur"}),
        ),
        other => panic!("{other:?} is not Stripe's"),
    };
    json!({"id": id, "object": "event", "type": kind, "created": at(*minute).0 / 1_000, "data": {"object": object}})
}

fn click(visitor: u8, partner: &str, minute: i64) -> Event {
    Event {
        id: EventId::new(at(minute), [visitor; 10]).0.into(),
        kind: Kind::Click as i32,
        class: Class::Human as i32,
        time_ms: at(minute).0,
        program: "spring".to_owned(),
        link: "shop".to_owned(),
        partner: partner.to_owned(),
        visitor: vec![visitor; 16],
        ..Event::default()
    }
}

impl Machine {
    async fn new() -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(&folder).await;
        let money = |amount: i64| json!({"fixed": {"amount": amount, "currency": "EUR"}});
        let program = json!({"code": "spring", "parent_shares": [1_000], "rewards": [
            {"code": "welcome", "to": "both", "on": "qualification", "hold_days": 4, "value": money(500)},
            {"code": "share", "to": "partner", "on": "sale", "recurring_months": 12, "value": {"percent": 1_000}},
            {"code": "second", "to": "partner", "on": "lead", "every": 2, "value": money(200)}]});
        process.catalog.put(entity::from_json::<Program>(object(program)).unwrap()).await.unwrap();
        for (code, parent) in [("top", None), ("ann", Some("top")), ("bob", None)] {
            let partner = json!({"code": code, "parent": parent});
            process.catalog.put(entity::from_json::<Partner>(object(partner)).unwrap()).await.unwrap();
        }
        Machine { folder, process, lane: Vec::new() }
    }

    /// Tells it; with `dies_after` steps the process dies first, a new one starts, and is told again.
    async fn tell(mut self, told: &Told, dies_after: Option<u32>) -> Machine {
        if let Told::Click { visitor, partner, minute } = told
            // The journal holds each click once.
            && !self.lane.iter().any(|known| known.time_ms == at(*minute).0)
        {
            self.lane.push(click(*visitor, partner, *minute));
        }
        if let Some(steps) = dies_after {
            let lived = Dying { work: Box::pin(self.process.tell(told, &self.lane)), steps }.await;
            if lived.is_none() {
                self.process.end().await;
                self.process = Process::start(&self.folder).await;
            }
        }
        self.process.tell(told, &self.lane).await;
        self
    }

    /// The background has its turn.
    async fn settle(&self) {
        let process = &self.process;
        let mut follower = ClickFollower::new(process.catalog.clone(), Arc::clone(&process.reports) as _, "here");
        while follower.turn().await.unwrap() {}
        process.desk.follow_due().await.unwrap();
        process.desk.release(1_000).await.unwrap();
    }

    /// Referrals and rewards without ids, and every report.
    async fn outcome(&self) -> Vec<String> {
        self.settle().await;
        sqlx::any::install_default_drivers();
        let url = format!("sqlite:{}", self.folder.path().join("catalog.db").display());
        let pool = sqlx::AnyPool::connect(&url).await.unwrap();
        const PERSON: &str = "(SELECT value FROM contact_keys WHERE contact = f.contact)";
        let mut lines = Vec::new();
        for sql in [
            format!(
                "SELECT 'referral ' || {PERSON} || ' of ' || f.partner || ' ' || f.state || ' ' || f.state_ms || ' ' || f.since_ms \
                     FROM referrals AS f"
            ),
            format!(
                "SELECT 'reward ' || {PERSON} || ' ' || w.partner || ' ' || w.rule || ' ' || w.side || ' ' || w.level || ' ' || \
                     w.amount || ' ' || w.state || ' ' || w.reason || ' ' || w.earned_ms || ' ' || w.held_ms \
                     FROM rewards AS w JOIN referrals AS f ON f.id = w.referral"
            ),
            "SELECT 'sale ' || invoice || ' ' || amount || ' ' || standing FROM conversions".to_owned(),
        ] {
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&pool).await.unwrap();
            lines.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        }
        pool.close().await;
        lines.sort();
        let sources = Sources { catalog: &self.process.catalog, events: &*self.process.reports };
        let words = Words { visitors: true, tz: Some("Europe/Berlin"), ..Words::default() };
        let question = Question::read(&words, Millis(NOON)).unwrap();
        for word in Name::WORDS {
            let table = sources.answer(Name::parse(word).unwrap(), &question).await.unwrap();
            lines.push(format!("{word}: {:?}", table.rows));
        }
        lines
    }
}

/// What happens to a few people, each at its own minute.
fn history() -> impl Strategy<Value = Vec<Told>> {
    let partner = || prop_oneof![Just("ann"), Just("bob")];
    let told = prop_oneof![
        3 => (0..3_u8, partner()).prop_map(|(visitor, partner)| Told::Click { visitor, partner, minute: 0 }),
        3 => (0..3_u8, proptest::option::of(0..3_u8), proptest::option::of(partner()))
            .prop_map(|(person, visitor, token)| Told::Lead { person, visitor, token, minute: 0 }),
        2 => (0..3_u8, 1_000..9_000_i64)
            .prop_map(|(person, amount)| Told::Paid { person, invoice: 0, amount, minute: 0 }),
    ];
    (proptest::collection::vec(told, 1..9), any::<u32>()).prop_map(|(mut history, refunds)| {
        let mut back = Vec::new();
        for (number, told) in history.iter_mut().enumerate() {
            let now = 10 + 10 * number as i64;
            match told {
                Told::Click { minute, .. } | Told::Lead { minute, .. } => *minute = now,
                Told::Paid { invoice, minute, amount, .. } => {
                    (*invoice, *minute) = (number, now);
                    let amount = *amount;
                    // In two parts, wholly, or not at all.
                    let parts: &[i64] = match (refunds >> (2 * number)) % 4 {
                        0 => &[400, amount],
                        1 => &[amount],
                        _ => &[],
                    };
                    back.extend((1..).zip(parts).map(|(part, so_far)| Told::PaidBack {
                        invoice: number,
                        amount,
                        so_far: *so_far,
                        minute: now + 100 + part,
                    }));
                }
                Told::PaidBack { .. } => {}
            }
        }
        history.extend(back);
        history
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn neither_order_nor_repetition_nor_crashes_matter(
        history in history(),
        order in proptest::collection::vec(any::<u32>(), 30),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut straight = Machine::new().await;
            for told in &history {
                straight = straight.tell(told, None).await;
            }
            let mut turned = Machine::new().await;
            let mut shuffled: Vec<(u32, &Told)> = order.iter().copied().zip(&history).collect();
            shuffled.sort_by_key(|(key, _)| *key);
            for (key, told) in &shuffled {
                turned = turned.tell(told, Some(key % 60)).await;
                // In between the background may have its turn, or not.
                if key % 5 == 0 {
                    turned.settle().await;
                }
            }
            for (_, told) in shuffled.iter().filter(|(key, _)| key % 3 == 0) {
                turned = turned.tell(told, None).await;
            }
            let (expected, found) = (straight.outcome().await, turned.outcome().await);
            prop_assert_eq!(expected, found);
            straight.process.end().await;
            turned.process.end().await;
            Ok(())
        })?;
    }
}
