//! The rows that are written in bulk are those that a desk writes for the same facts.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use fingerpost::{
    catalog::Catalog,
    core::{
        code::CodeBuf,
        key::{Key, KeyRing},
        time::Millis,
        token::Token,
    },
    io::clock::Clock,
    referral::{
        Desk,
        told::{ToldConversion, ToldLead, ToldRefund},
    },
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Row as _, sqlite::SqliteConnectOptions};

use super::{
    people::{self, Person, currency},
    record::{self, object},
};

const PEOPLE: u64 = 300;
/// 2026-03-01T12:00:00Z.
const NOW: Millis = Millis(1_772_366_400_000);

/// Lines that one of the two records has and the other does not.
pub(crate) async fn differences(seed: u64) -> Vec<String> {
    let (told, written) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    tell(told.path(), seed).await;
    record::fill(written.path(), people::all(seed, PEOPLE, NOW), NOW).await;
    let (told, written) = (lines(told.path()).await, lines(written.path()).await);
    assert!(told.len() as u64 > 5 * PEOPLE, "{} lines tell too little", told.len());
    let missing = told.iter().filter(|line| !written.contains(line)).map(|line| format!("only the desk: {line}"));
    let more = written.iter().filter(|line| !told.contains(line)).map(|line| format!("only in bulk: {line}"));
    let mut all: Vec<String> = missing.chain(more).collect();
    if told.len() != written.len() {
        all.push(format!("{} lines and {} lines", told.len(), written.len()));
    }
    all
}

async fn tell(data: &Path, seed: u64) {
    let url = format!("sqlite:{}", data.join("catalog.db").display());
    let catalog = Catalog::open(&url, true, Clock::manual(NOW)).await.unwrap();
    record::items(&catalog).await;
    let ring = || KeyRing::new(vec![Key::new(1, &[1; 32])]).unwrap();
    let desk = Desk::new(catalog.clone(), Arc::new(ArcSwap::from_pointee(ring())), Clock::manual(NOW));
    for person in people::all(seed, PEOPLE, NOW) {
        tell_one(&desk, &ring(), &person).await;
    }
    catalog.close().await;
}

async fn tell_one(desk: &Desk, keys: &KeyRing, person: &Person) {
    let code = |text: String| CodeBuf::new(text.as_bytes()).unwrap();
    let token = Token {
        click: person.click,
        program: None,
        link: code(format!("l{}", person.link)),
        partner: Some(code(format!("p{}", person.partner))),
        ad: person.ad.then(|| code("ad1".to_owned())),
    };
    let mut text = Vec::new();
    token.encode(keys, &mut Vec::new(), &mut text);
    let email = format!("person{}@home.example", person.number);
    let lead = json!({
        "program": format!("program{}", person.program), "email": email, "token": String::from_utf8(text).unwrap(),
        "partner": person.code.map(|partner| format!("p{partner}")), "at": person.at.to_string(),
    });
    desk.lead(&ToldLead::read(object(lead)).unwrap(), None).await.unwrap();
    for (at, sale) in person.sales.iter().enumerate() {
        let invoice = format!("in-{}-{at}", person.number);
        let told = json!({
            "email": email, "event": "sale", "amount": sale.amount, "currency": currency(person.program),
            "invoice_id": invoice, "at": sale.at.to_string(),
        });
        desk.convert(&ToldConversion::read(object(told), "api").unwrap(), None).await.unwrap();
        if sale.paid_back {
            desk.refund(&ToldRefund::read(object(json!({"invoice_id": invoice}))).unwrap(), None).await.unwrap();
        }
    }
}

/// Everything that a record says, without ids.
async fn lines(data: &Path) -> Vec<String> {
    let options = SqliteConnectOptions::new().filename(data.join("catalog.db"));
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    const PERSON: &str = "(SELECT email FROM contacts WHERE id = f.contact)";
    let all = |columns: &str| {
        columns.split(' ').map(|c| format!("COALESCE({c}, '-')")).collect::<Vec<_>>().join(" || ' ' || ")
    };
    let mut lines = Vec::new();
    for sql in [
        format!("SELECT 'contact ' || {} FROM contacts AS f", all("email external first_name last_name same_as")),
        format!("SELECT 'key ' || kind || value || {PERSON} FROM contact_keys AS f"),
        format!(
            "SELECT 'lead ' || {PERSON} || {} FROM leads AS f",
            all("program click metadata credited decision at_ms")
        ),
        format!(
            "SELECT 'sale ' || {PERSON} || {} FROM conversions AS f",
            all("invoice told_by told_as program event amount currency source at_ms")
        ),
        format!("SELECT 'refund ' || {} FROM refunds", all("invoice amount reason")),
        format!(
            "SELECT 'referral ' || {PERSON} || {} FROM referrals AS f",
            all("program partner link ad click state state_ms reason since_ms")
        ),
        format!(
            "SELECT 'reward ' || {PERSON} || {} FROM rewards AS w JOIN referrals AS f ON f.id = w.referral",
            all(
                "w.program w.partner w.rule w.side w.level w.amount w.currency w.gift w.state w.reason w.withheld w.auto_issue w.earned_ms w.held_ms w.issued_ms w.reference"
            )
        ),
        format!(
            "SELECT 'figures ' || {PERSON} || g.figures FROM referral_figures AS g JOIN referrals AS f ON f.id = g.referral"
        ),
        format!(
            "SELECT 'people ' || {} FROM record_people WHERE lead + first_lead + last_lead > 0",
            all(
                "days at_day partner link ad program lead qualified rejected rewarded first_lead first_qualified last_lead last_qualified"
            )
        ),
        format!(
            "SELECT 'money ' || {} FROM record_money WHERE revenue_count + owed_count + issued_count + lost_count > 0",
            all(
                "days at_day partner link ad program currency revenue_count revenue refunded_count refunded owed_count owed issued_count issued lost_count lost"
            )
        ),
        format!(
            "SELECT 'sum ' || {} FROM record_days WHERE count <> 0 OR amount <> 0",
            all("days figure at_day program detail currency count amount")
        ),
    ] {
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        lines.extend(rows.iter().map(|row| row.get::<String, _>(0)));
    }
    lines.sort();
    lines
}
