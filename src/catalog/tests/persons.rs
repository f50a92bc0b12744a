//! Who changed what, what is kept about a person, and what an erasure leaves.

use prost::Message;
use sqlx::Row as _;

use super::*;
use crate::{
    catalog::{
        audit::{AuditQuery, Caller, as_caller},
        mails::NewMail,
        outbox::Entry,
        persons::{ErasureState, PersonKey},
        record::{Answer, Answered, ConversionRow, Person, Told, TouchRow},
        retention::Expiring,
    },
    core::{
        event::{Event, Kind as EventKind},
        id::{EventId, VisitorId},
        money::Money,
        time::DAY_MS,
    },
};

const ADDRESS: &str = "ann@home.example";
const CLICK: EventId = EventId([4; 16]);

fn ann() -> PersonKey {
    PersonKey::email(" Ann@Home.example ")
}

/// An erasure that is under way.
pub(super) async fn fill(catalog: &Catalog) {
    let mut record = catalog.record().await.unwrap();
    let person = Person { email: Some("zed@home.example".to_owned()), ..Person::default() };
    let (contact, _) = record.contact(&person).await.unwrap();
    record.bind_visitor(contact, VisitorId([8; 16]), NOON).await.unwrap();
    record.commit().await.unwrap();
    catalog.erase_person(&PersonKey::email("zed@home.example"), std::time::Duration::ZERO).await.unwrap();
}

/// Rows of the log, the oldest first, without those of the fixture.
async fn deeds(catalog: &Catalog) -> Vec<String> {
    let query = AuditQuery { limit: 1_000, ..AuditQuery::default() };
    let rows = catalog.audit(&query).await.unwrap().items;
    rows.iter().rev().map(|row| format!("{} {} {} {}", row.who, row.action, row.kind, row.code)).collect()
}

/// A person of whom there is something everywhere.
async fn known_everywhere(fixture: &Fixture) {
    let catalog = &fixture.catalog;
    fixture.put::<Partner>(json!({"code": "ann", "name": "Ann Other", "email": "ANN@home.example"})).await;
    record::fill(catalog).await;
    super::logins::log_in(fixture, ADDRESS).await;
    let notify = json!({"addresses": [ADDRESS, "ops@shop.example"]});
    fixture.put::<Program>(json!({"code": "spring", "notify": notify})).await;
    let mail = |recipient: &str, text: &str| NewMail {
        recipient: recipient.to_owned(),
        subject: "Hello".to_owned(),
        text: text.to_owned(),
        html: None,
    };
    catalog.queue_mail(&mail("Ann@home.example", "you")).await.unwrap();
    catalog.queue_mail(&mail("ops@shop.example", "about ann@home.example.")).await.unwrap();
    catalog.queue_mail(&mail("ops@shop.example", "about joann@home.example")).await.unwrap();
    let event = Event { id: vec![1; 16], kind: EventKind::Lead as i32, click: CLICK.0.to_vec(), ..Event::default() };
    let body = json!({"email": ADDRESS, "click": CLICK, "amount": 7}).to_string();
    let entry = |body, event| Entry { kind: "lead.created", program: "spring".to_owned(), body, event };
    let other = json!({"email": "joann@home.example"}).to_string();
    catalog.tell([entry(body, Some(event)), entry(other, None)]).await.unwrap();

    let mut record = catalog.record().await.unwrap();
    let touch = TouchRow {
        click: EventId([6; 16]),
        visitor: VisitorId([3; 16]),
        program: None,
        link: None,
        partner: "ann".parse().unwrap(),
        ad: None,
        at: NOON,
    };
    assert!(record.put_touch(&touch).await.unwrap());
    let sale = ConversionRow {
        invoice: Some("in_9".to_owned()),
        contact: None,
        told_by: "email",
        told_as: ADDRESS.to_owned(),
        program: None,
        event: "sale".to_owned(),
        money: Some(Money::new(500, "EUR".parse().unwrap())),
        source: "api".to_owned(),
        payment: Some("card-hash".to_owned()),
        standing: 9,
        digest: "d".to_owned(),
        at: NOON,
    };
    record.conversion(&sale).await.unwrap();
    let contact = record.contact_by(crate::catalog::record::Known::Email, ADDRESS).await.unwrap().unwrap();
    let answer = Answer { status: 201, body: json!({"contact": contact}).to_string() };
    record.keep_answer("leads", "key-1", "d1", &answer).await.unwrap();
    record.keep_answer("leads", ADDRESS, "d1", &Answer { status: 201, body: "{}".to_owned() }).await.unwrap();
    record.commit().await.unwrap();
    let header = ["email".to_owned(), "first_name".to_owned()];
    let body = "email,first_name\njoann@home.example,Jo\nann@home.example,Annabel\n";
    let upload =
        catalog.create_upload(crate::catalog::uploads::UploadKind::Leads, &header, body, (17, 2)).await.unwrap();
    let mut tx = catalog.writing().await.unwrap();
    for sql in [
        "INSERT INTO upload_refused (upload, line, reason, cells) VALUES ($1, 3, 'bad', '[\"ann@home.example\",\"Annabel\"]')",
        "INSERT INTO conversion_names (conversion, place, kind, value) SELECT id, 1, 'customer', 'cus_' || substr($1, 1, 3) \
         FROM conversions WHERE contact IS NOT NULL ON CONFLICT DO NOTHING",
    ] {
        sqlx::query(sql).bind(upload.id.clone()).execute(&mut *tx).await.unwrap();
    }
    let sql = "UPDATE leads SET click = $1, metadata = '{\"phone\":\"555\"}', decision = $2, credited = $3";
    sqlx::query(sql)
        .bind(CLICK.to_string())
        .bind(json!({"candidates": [{"click": CLICK, "partner": "abc123"}]}).to_string())
        .bind(json!({"partner": "abc123", "link": null, "ad": null, "click": CLICK}).to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// Everything that the database holds, as text.
async fn all_text(catalog: &Catalog) -> String {
    let mut text = String::new();
    for table in schema::tables().iter().filter(|table| !matches!(**table, "erasures" | "erasure_visitors")) {
        let rows = catalog.rows(sqlx::query(sqlx::AssertSqlSafe(format!("SELECT * FROM {table}")))).await.unwrap();
        for row in &rows {
            for at in 0..row.columns().len() {
                if let Ok(Some(cell)) = row.try_get::<Option<String>, _>(at) {
                    text += &format!("{table}: {cell}\n");
                }
            }
        }
    }
    text
}

async fn state(catalog: &Catalog, id: &str) -> ErasureState {
    catalog.erasure(id).await.unwrap().state
}

/// Works everything off but the event store, each step by a process of its own.
async fn work_off(fixture: &Fixture) -> u32 {
    let mut steps = 0;
    loop {
        let catalog = fixture.open(false).await.unwrap();
        let erasing = catalog.next_erasure().await.unwrap().unwrap();
        if erasing.is_at_events() {
            catalog.close().await;
            return steps;
        }
        // The same step twice: the second one is too late.
        catalog.erase_step(erasing.clone()).await.unwrap();
        catalog.erase_step(erasing).await.unwrap();
        catalog.close().await;
        steps += 1;
    }
}

#[tokio::test]
async fn an_export_has_everything_and_an_erasure_leaves_nothing_that_points_to_the_person() {
    let fixture = Fixture::spring(BACKEND).await;
    known_everywhere(&fixture).await;
    let catalog = &fixture.catalog;
    let export = catalog.person(&ann()).await.unwrap();
    for (section, rows) in &export.sections {
        assert!(!rows.as_array().unwrap().is_empty() || section == "deliveries", "{section} is empty: {export:#?}");
    }
    assert_eq!((export.visitors.clone(), export.clicks.clone()), (vec![VisitorId([3; 16])], vec![CLICK]));
    assert_eq!(export.sections["leads"][0]["metadata"], json!({"phone": "555"}));
    assert_eq!(export.sections["partners"][0]["code"], "ann");
    assert_eq!(
        catalog.person(&PersonKey::External("7".to_owned())).await.unwrap().sections["leads"],
        export.sections["leads"]
    );
    let money = "SELECT CAST(sum(amount) AS BIGINT), CAST(count(*) AS BIGINT) FROM conversions";
    let before = catalog.rows(sqlx::query(money)).await.unwrap();

    fixture.clock.advance(1);
    let erasure = catalog.erase_person(&ann(), std::time::Duration::from_secs(60)).await.unwrap();
    assert_eq!((erasure.state, erasure.place.as_str()), (ErasureState::Running, "mails"));
    let again = catalog.erase_person(&ann(), std::time::Duration::ZERO).await.unwrap();
    assert_eq!(again.id, erasure.id, "the one that is under way goes on");
    assert!(work_off(&fixture).await >= 4);
    let erasing = catalog.next_erasure().await.unwrap().unwrap();
    assert_eq!((erasing.visitors.len(), erasing.visitors[0].0), (1, VisitorId([3; 16])));
    assert_eq!(erasing.terms.clicks, [CLICK.to_string()]);
    catalog.erasure_waits(&erasing, "away").await.unwrap();
    assert_eq!(catalog.erasure(&erasure.id).await.unwrap().problem.as_deref(), Some("away"));
    fixture.clock.advance(5_000);
    let erasing = catalog.next_erasure().await.unwrap().unwrap();
    catalog.erased_events(erasing, (3, true), &[], "visitors:9:9".to_owned()).await.unwrap();
    let complete = catalog.erasure(&erasure.id).await.unwrap();
    assert_eq!((complete.state, complete.problem), (ErasureState::Complete, None));
    let progress = json!({"mails": 1, "outbox": 1, "deliveries": 0, "answers": 2, "uploads": 1, "refused_lines": 1,
        "events": 3});
    assert_eq!(Value::Object(complete.progress), progress);

    let text = all_text(catalog).await.to_lowercase();
    for gone in [
        " ann@home",
        "\"ann@home",
        "\"555\"",
        "ann other",
        "annabel",
        "cus_",
        &CLICK.to_string(),
        &VisitorId([3; 16]).to_string(),
    ] {
        assert!(!text.contains(gone), "{gone} in\n{text}");
    }
    assert!(text.contains("joann@home.example") && text.contains("ops@shop.example"), "others stay\n{text}");
    let after = catalog.rows(sqlx::query(money)).await.unwrap();
    assert_eq!(after[0].get::<i64, _>(0), before[0].get::<i64, _>(0), "amounts stay");
    let referral = catalog.referrals(Some("spring"), None, None, 10).await.unwrap().items.remove(0);
    let person = catalog.referral(referral.id).await.unwrap().person;
    assert_eq!((person.email, person.external_id, referral.state.as_str()), (None, None, "qualified"));
    assert!(catalog.person(&ann()).await.unwrap().is_empty());
    let events: Vec<_> =
        catalog.outbox_after(0, 1_000).await.unwrap().into_iter().filter(|row| row.event.is_some()).collect();
    let event = Event::decode(events[0].event_bytes().unwrap().as_slice()).unwrap();
    assert_eq!(
        (events.len(), event.click.len(), event.id),
        (1, 0, vec![1; 16]),
        "an event that was not taken yet is one"
    );

    // What is told again is harmless, and the person is a new one.
    let mut record = catalog.record().await.unwrap();
    let gone = record.answered("leads", "key-1", "another digest").await.unwrap();
    assert!(matches!(gone, Answered::Yes(Answer { status: 410, .. })), "{gone:?}");
    let person = Person { email: Some(ADDRESS.to_owned()), ..Person::default() };
    let (fresh, known) = record.contact(&person).await.unwrap();
    assert!(!known && Some(fresh.to_string()) != erasure.contact);
    let sale = ConversionRow {
        invoice: Some("in_1".to_owned()),
        contact: None,
        told_by: "email",
        told_as: ADDRESS.to_owned(),
        program: None,
        event: "sale".to_owned(),
        money: None,
        source: "api".to_owned(),
        payment: Some("card-hash".to_owned()),
        standing: 9,
        digest: "whatever".to_owned(),
        at: NOON,
    };
    assert!(matches!(record.conversion(&sale).await.unwrap(), Told::Again(_)));
    record.commit().await.unwrap();

    // Late events are looked for until the time is over; then it forgets what it looked for.
    fixture.clock.advance(60_000);
    let erasing = catalog.next_erasure().await.unwrap().unwrap();
    assert_eq!(erasing.position, "visitors:9:9");
    catalog.erased_events(erasing, (0, true), &[], "visitors:9:9".to_owned()).await.unwrap();
    assert_eq!(state(catalog, &erasure.id).await, ErasureState::Closed);
    assert!(catalog.next_erasure().await.unwrap().is_none());
    for table in ["erasures", "erasure_visitors"] {
        let rows = catalog.rows(sqlx::query(sqlx::AssertSqlSafe(format!("SELECT * FROM {table}")))).await.unwrap();
        let texts: Vec<String> =
            rows.iter().flat_map(|row| (0..row.columns().len()).filter_map(|at| row.try_get(at).ok())).collect();
        assert!(!texts.join(" ").contains("ann@home") && (table == "erasures" || rows.is_empty()), "{texts:?}");
    }
    let log = deeds(catalog).await;
    assert_eq!(
        log[log.len() - 2..],
        [
            format!("system:fingerpost erase person {}", erasure.id),
            format!("system:erasure close erasure {}", erasure.id)
        ]
    );
}

#[tokio::test]
async fn every_change_has_its_row_with_the_difference_and_without_what_points_to_anybody() {
    let fixture = Fixture::new(BACKEND).await;
    let catalog = &fixture.catalog;
    let caller = Caller::token("admin", "req-1");
    as_caller(caller, async {
        fixture.put::<Partner>(json!({"code": "jane", "email": "jane@home.example", "name": "Jane"})).await;
        fixture.put::<Partner>(json!({"code": "jane", "email": "j@home.example", "status": "paused"})).await;
        let settings = crate::catalog::webhooks::WebhookSettings::read(
            json!({"address": "https://shop.example/secret-path"}).as_object().unwrap().clone(),
            |address| Ok(address.to_owned()),
        );
        let hook = catalog.create_webhook(&settings.unwrap()).await.unwrap().webhook;
        catalog.rotate_webhook_secret(&hook.id, NOON).await.unwrap();
        catalog.delete_webhook(&hook.id).await.unwrap();
        catalog.delete::<Partner>(&["jane"], false).await.unwrap();
    })
    .await;
    let rows = catalog.audit(&AuditQuery { limit: 100, ..AuditQuery::default() }).await.unwrap().items;
    assert!(rows.iter().all(|row| row.who == "token:admin" && row.request == "req-1" && row.at == NOON), "{rows:#?}");
    let find = |action: &str, kind: &str| rows.iter().find(|row| row.action == action && row.kind == kind).unwrap();
    let update = serde_json::to_value(&find("update", "partner").changes).unwrap();
    assert_eq!(
        update,
        json!([{"field": "name"}, {"field": "email"}, {"field": "status", "before": "active", "after": "paused"}])
    );
    assert_eq!(find("delete", "partner").code, "jane");
    find("rotate_secret", "webhook");
    let text = serde_json::to_string(&rows).unwrap();
    for hidden in ["home.example", "Jane", "secret-path", "whsec_"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    assert!(text.contains("https://shop.example"), "{text}");

    // A change that fails leaves no row.
    let count = rows.len();
    assert!(fixture.try_put::<Partner>(json!({"code": "kim", "parent": "nobody"})).await.is_err());
    assert!(catalog.delete::<Partner>(&["nobody"], false).await.is_err());
    let page = |who: Option<&str>, cursor, limit| {
        let who = who.map(str::to_owned);
        let query = AuditQuery { who, cursor, limit, ..AuditQuery::default() };
        async move { catalog.audit(&query).await.unwrap() }
    };
    assert_eq!(page(Some("token:*"), None, 100).await.items.len(), count);
    assert_eq!(page(Some("token:adm"), None, 100).await.items.len(), 0, "a name is a whole name");
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let Page { items, next } = page(None, cursor, 2).await;
        seen.extend(items);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, rows, "pages add up");
}

#[tokio::test]
async fn an_import_has_a_row_for_each_item_that_it_changed() {
    let fixture = Fixture::spring(BACKEND).await;
    let catalog = &fixture.catalog;
    let before = deeds(catalog).await.len();
    fixture.clock.advance(1);
    as_caller(Caller::cli("jane"), async {
        let mut bulk: Bulk<Link, ()> = Bulk::begin(catalog).await.unwrap();
        let item = |code: &str, address: &str| read_json::<Link>(json!({"code": code, "address": address})).unwrap();
        let same = item("haircare", "https://shop.example/haircare");
        let rows = [same, item("suncare", "https://shop.example/sun")];
        let rows = (1..).zip(rows).map(|(line, item)| Row { line, item, cargo: () }).collect();
        assert!(bulk.add(rows).await.unwrap().is_empty());
        bulk.commit().await.unwrap();
    })
    .await;
    assert_eq!(deeds(catalog).await[before..], ["cli:jane create link suncare", "cli:jane import link "]);
}

#[tokio::test]
async fn what_has_had_its_time_goes_in_steps_and_a_lead_that_led_to_nothing_has_no_person() {
    let fixture = Fixture::spring(BACKEND).await;
    let catalog = &fixture.catalog;
    record::fill(catalog).await;
    let mut record = catalog.record().await.unwrap();
    let person = Person { email: Some("nothing@home.example".to_owned()), ..Person::default() };
    let (contact, _) = record.contact(&person).await.unwrap();
    let lead = crate::catalog::record::LeadRow {
        id: None,
        program: "spring".parse().unwrap(),
        contact,
        click: None,
        metadata: "{\"phone\":\"555\"}".to_owned(),
        network: Some("203.0.113.0/24".to_owned()),
        credited: None,
        decision: "{}".to_owned(),
        at: NOON,
    };
    record.lead(&lead).await.unwrap();
    record.commit().await.unwrap();
    assert_eq!(catalog.expire_leads(NOON, "").await.unwrap(), (0, None), "nothing is that old");
    assert_eq!(catalog.expire(Expiring::Metadata, NOON).await.unwrap(), 0);
    fixture.clock.advance(DAY_MS);
    let now = fixture.clock.now();
    assert_eq!(catalog.expire(Expiring::Metadata, now).await.unwrap(), 1);
    assert_eq!(catalog.expire(Expiring::Metadata, now).await.unwrap(), 0);
    assert_eq!(catalog.expire(Expiring::Answers, now).await.unwrap(), 1);
    assert_eq!(catalog.expire_leads(now, "").await.unwrap(), (1, None), "the one with a referral stays");
    assert_eq!(catalog.expire_leads(now, "").await.unwrap(), (0, None));
    assert!(catalog.person(&PersonKey::email("nothing@home.example")).await.unwrap().is_empty());
    assert!(!catalog.person(&ann()).await.unwrap().is_empty());
    let leads = catalog.rows(sqlx::query("SELECT id FROM leads")).await.unwrap();
    assert_eq!(leads.len(), 2, "leads stay as numbers");
    catalog.note_expired("leads", 1, now).await.unwrap();
    assert_eq!(deeds(catalog).await.last().unwrap(), "system:fingerpost expire leads ");
}
