//! The record of these people, written in bulk: the rows that a desk would write, and what a server that was there from the first day has
//! left beside them.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;

use fingerpost::{
    catalog::{Bulk, Catalog, Link, Partner, Program, Row, entity},
    core::{
        code::Code,
        fact::{Case, Conversion, FactId, Lead, Place},
        id::EventId,
        key::{Key, KeyRing},
        mail,
        money::Money,
        program::Attribution,
        terms::{Owed, RewardState},
        time::Millis,
    },
    io::clock::Clock,
    referral::{
        Desk,
        attribution::{Candidate, Rules, Source, decide},
        outcome::{Standing, Terms, outcome},
    },
};
use serde_json::{Map, Value, json};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteConnectOptions};

use super::people::{LINKS, PARTNERS, PROGRAMS, Person, currency};
use crate::common::Random;

/// Rows of one statement, and people of one transaction.
const ROWS: usize = 500;
const PEOPLE: usize = 20_000;

pub(crate) fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("{value} is no object") };
    object
}

pub(crate) fn program_terms(program: u64) -> Value {
    json!({
        "code": format!("program{program}"), "qualification": {"on": "event", "event": "sale"},
        "attribution": if program == 0 { "first_touch" } else { "last_touch" },
        "rewards": [
            {"code": "welcome", "to": "both", "on": "qualification", "hold_days": 14,
             "value": {"fixed": {"amount": 500, "currency": currency(program)}}},
            {"code": "share", "to": "partner", "on": "sale", "value": {"percent": 1_000}},
        ],
    })
}

/// The catalog's items: programs, links, partners.
pub(crate) async fn items(catalog: &Catalog) {
    for program in 0..PROGRAMS {
        catalog.put(entity::from_json::<Program>(object(program_terms(program))).unwrap()).await.unwrap();
    }
    let links = (0..LINKS).map(|link| json!({"code": format!("l{link}"), "address": "https://shop.example/x"}));
    bulk::<Link>(catalog, links.collect()).await;
    bulk::<Partner>(catalog, (0..PARTNERS).map(|partner| json!({"code": format!("p{partner}")})).collect()).await;
}

async fn bulk<T: fingerpost::catalog::Entity>(catalog: &Catalog, items: Vec<Value>) {
    let mut bulk = Bulk::<T, ()>::begin(catalog).await.unwrap();
    for chunk in items.chunks(500) {
        let row =
            |item: &Value| Row { line: 1, item: entity::from_json::<T>(object(item.clone())).unwrap(), cargo: () };
        assert!(bulk.add(chunk.iter().map(row).collect()).await.unwrap().is_empty());
    }
    assert!(bulk.settle().await.unwrap().is_empty());
    bulk.commit().await.unwrap();
}

/// Makes `DATA/catalog.db` with all of these people.
pub(crate) async fn fill(data: &Path, people: impl Iterator<Item = Person>, now: Millis) {
    let path = data.join("catalog.db");
    let catalog = Catalog::open(&format!("sqlite:{}", path.display()), true, Clock::System).await.unwrap();
    items(&catalog).await;
    // The terms are older than the first person: else a server would bring them to everybody at its next start.
    let keys = KeyRing::new(vec![Key::new(1, &[1; 32])]).unwrap();
    let desk = Desk::new(catalog.clone(), Arc::new(ArcSwap::from_pointee(keys)), Clock::System);
    desk.follow_terms().await.unwrap();
    let options =
        SqliteConnectOptions::new().filename(&path).pragma("synchronous", "OFF").pragma("cache_size", "-400000");
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let terms: Vec<Program> =
        (0..PROGRAMS).map(|program| entity::from_json(object(program_terms(program))).unwrap()).collect();
    let mut random = Random::new(7);
    let mut tables = Tables::default();
    let mut waiting = 0;
    for person in people {
        tables.add(&person, &terms[person.program as usize], now, &mut random);
        waiting += 1;
        if waiting == PEOPLE {
            tables.write(&mut connection).await;
            waiting = 0;
        }
    }
    tables.write(&mut connection).await;
    sqlx::Connection::close(connection).await.unwrap();
    // The sums are made by the program itself.
    catalog.count_missing().await.unwrap();
    catalog.close().await;
}

/// A value of a row.
enum Field {
    Text(String),
    Number(i64),
    Null,
}

#[expect(clippy::needless_pass_by_value, reason = "texts, ids and codes, as they come")]
fn text(value: impl ToString) -> Field {
    Field::Text(value.to_string())
}

/// Rows of each table that wait to be written.
#[derive(Default)]
struct Tables {
    rows: [Vec<Vec<Field>>; 7],
}

const INTO: [&str; 7] = [
    "contacts (id, email, external, first_name, last_name, created_at, updated_at)",
    "contact_keys (kind, value, contact, normal)",
    "leads (id, program, contact, click, metadata, credited, decision, at_ms, told_ms)",
    "conversions (id, invoice, contact, told_by, told_as, program, event, amount, currency, source, digest, at_ms, told_ms)",
    "refunds (id, invoice, amount, reason, digest, at_ms, told_ms)",
    "referrals (id, program, contact, partner, link, ad, click, lead, state, state_ms, reason, since_ms, created_at, updated_at)",
    "rewards (id, referral, program, partner, rule, side, cause, level, amount, currency, gift, state, reason, withheld, \
     auto_issue, earned_ms, held_ms, issued_ms, reference, created_at, updated_at)",
];

impl Tables {
    fn add(&mut self, person: &Person, program: &Program, now: Millis, random: &mut Random) {
        let mut id = || {
            let mut bytes = [0; 10];
            bytes[..8].copy_from_slice(&random.next().to_le_bytes());
            FactId(EventId::new(person.at, bytes).0)
        };
        let (contact, lead, referral) = (id(), id(), id());
        let email = format!("person{}@home.example", person.number);
        self.rows[0].push(vec![
            text(contact),
            text(&email),
            Field::Null,
            text(""),
            text(""),
            Field::Number(now.0),
            Field::Number(now.0),
        ]);
        self.rows[1].push(vec![text("email"), text(&email), text(contact), text(mail::normal(&email))]);
        let code = |name: String| name.parse::<Code>().unwrap();
        let touch = Candidate {
            source: Source::Token,
            partner: code(format!("p{}", person.partner)),
            link: Some(code(format!("l{}", person.link))),
            ad: person.ad.then(|| code("ad1".to_owned())),
            click: Some(person.click),
            at: person.click.time(),
            other_program: None,
        };
        let by_code = person.code.map(|partner| Candidate {
            source: Source::Code,
            partner: code(format!("p{partner}")),
            link: None,
            ad: None,
            click: None,
            at: person.at,
            other_program: None,
        });
        let candidates = std::iter::once(touch).chain(by_code).collect();
        let model = if person.program == 0 { Attribution::FirstTouch } else { Attribution::LastTouch };
        let decision = decide(candidates, person.at, Rules { model, window_days: program.window_days }, |_| Ok(()));
        let credited = decision.credited();
        self.rows[2].push(vec![
            text(lead),
            text(&program.code),
            text(contact),
            text(person.click),
            text("{}"),
            text(serde_json::to_string(&credited).unwrap()),
            text(serde_json::to_string(&decision).unwrap()),
            Field::Number(person.at.0),
            Field::Number(now.0),
        ]);
        let place = Place { at: person.at, id: lead };
        let mut case =
            Case { leads: vec![Lead { place, credited: credited.clone(), network: None }], ..Case::default() };
        for (at, sale) in person.sales.iter().enumerate() {
            let money = Money::new(sale.amount, currency(person.program).parse().unwrap());
            let cause = id();
            let invoice = format!("in-{}-{at}", person.number);
            self.sale(&invoice, &email, (cause, contact), sale.at, money, now);
            if sale.paid_back {
                let cells = [
                    text(id()),
                    text(invoice),
                    Field::Null,
                    text(""),
                    text(""),
                    Field::Number(now.0),
                    Field::Number(now.0),
                ];
                self.rows[4].push(cells.into());
            }
            case.conversions.push(Conversion {
                place: Place { at: sale.at, id: cause },
                event: "sale".to_owned(),
                money: Some(money),
                refunded: 0,
                reversed: sale.paid_back,
            });
        }
        self.follow(program, (contact, referral), case, now, &mut id);
    }

    fn sale(
        &mut self,
        invoice: &str,
        email: &str,
        (id, contact): (FactId, FactId),
        at: Millis,
        money: Money,
        now: Millis,
    ) {
        self.rows[3].push(vec![
            text(id),
            text(invoice),
            text(contact),
            text("email"),
            text(email),
            Field::Null,
            text("sale"),
            Field::Number(money.amount),
            text(money.currency),
            text("api"),
            text(""),
            Field::Number(at.0),
            Field::Number(now.0),
        ]);
    }

    /// What follows from the facts.
    fn follow(
        &mut self,
        program: &Program,
        (contact, referral): (FactId, FactId),
        case: Case,
        now: Millis,
        id: &mut impl FnMut() -> FactId,
    ) {
        let terms = Terms { credit: program.credit, qualification: &program.qualification, rewards: &program.rewards };
        let followed = outcome(referral, case, terms);
        let credited = followed.credited.unwrap();
        let (state, at, reason) = match followed.standing {
            Standing::Pending => ("pending", followed.since.unwrap(), String::new()),
            Standing::Qualified { at } => ("qualified", at, String::new()),
            Standing::Rejected { at, reason } => ("rejected", at, reason),
        };
        let optional = |value: Option<String>| value.map_or(Field::Null, Field::Text);
        self.rows[5].push(vec![
            text(referral),
            text(&program.code),
            text(contact),
            text(&credited.partner),
            optional(credited.link.map(|link| link.to_string())),
            optional(credited.ad.map(|ad| ad.to_string())),
            optional(credited.click.map(|click| click.to_string())),
            text(followed.lead.unwrap()),
            text(state),
            Field::Number(at.0),
            text(reason),
            Field::Number(followed.since.unwrap().0),
            Field::Number(now.0),
            Field::Number(now.0),
        ]);
        for earned in followed.earned {
            let Owed::Money(money) = earned.value else { panic!("rules of money") };
            let (state, reason) = match earned.reversed {
                Some(reason) => (RewardState::Reversed, reason),
                None if now < earned.held_until => (RewardState::Held, ""),
                None => (RewardState::Due, ""),
            };
            self.rows[6].push(vec![
                text(id()),
                text(referral),
                text(&program.code),
                text(&credited.partner),
                text(earned.rule),
                text(earned.side.word()),
                text(earned.cause),
                Field::Number(0),
                Field::Number(money.amount),
                text(money.currency),
                Field::Null,
                text(state.word()),
                text(reason),
                text(""),
                Field::Number(0),
                Field::Number(earned.at.0),
                Field::Number(earned.held_until.0),
                Field::Null,
                text(""),
                Field::Number(now.0),
                Field::Number(now.0),
            ]);
        }
    }

    async fn write(&mut self, connection: &mut SqliteConnection) {
        sqlx::query("BEGIN").execute(&mut *connection).await.unwrap();
        for (into, rows) in INTO.into_iter().zip(&mut self.rows) {
            for chunk in rows.chunks(ROWS) {
                let mut query = QueryBuilder::<Sqlite>::new(format!("INSERT INTO {into} "));
                query.push_values(chunk, |mut values, row| {
                    for field in row {
                        match field {
                            Field::Text(text) => values.push_bind(text.clone()),
                            Field::Number(number) => values.push_bind(*number),
                            Field::Null => values.push("NULL"),
                        };
                    }
                });
                query.build().execute(&mut *connection).await.unwrap();
            }
            rows.clear();
        }
        sqlx::query("COMMIT").execute(&mut *connection).await.unwrap();
    }
}
