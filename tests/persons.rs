//! Persons through the real binary: everything about somebody is told, and erased through kill -9; reports stay what they were.
//! A due reward is mailed once; what has had its time goes.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use std::{fs, path::Path};

use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use support::{Client, Options, Response, Server, api, client::BROWSER, eventually, rows};

const ADDRESS: &str = "ann@home.example";

fn options() -> Options {
    Options::default().set("sink.linger", "10ms").set("mail.poll_interval", "20ms").demo()
}

fn call(server: &Server, method: &str, path: &str, body: &Value) -> Response {
    api(server.control, &server.token(), method, path, body)
}

fn ok(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let answer = call(server, method, path, body);
    assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
    answer.json()
}

/// A click of a browser that is new, or has this cookie; the token and the cookie.
fn click(server: &Server, cookie: Option<&str>) -> (String, String) {
    let mut client = Client::connect(server.edge).unwrap();
    let path = "/go/haircare/abc123/website2?sub1=ann";
    let answer = match cookie {
        Some(cookie) => client.send("GET", path, &[("User-Agent", BROWSER), ("Cookie", cookie)], b"").unwrap(),
        None => client.get(path).unwrap(),
    };
    let location = url::Url::parse(answer.header("location").unwrap()).unwrap();
    let token = location.query_pairs().find(|(name, _)| name == "fpc").unwrap().1.into_owned();
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    (token, cookie)
}

/// Of `fp=VALUE`.
fn value(cookie: &str) -> &str {
    cookie.split_once('=').unwrap().1
}

/// What all reports of the event store say.
fn reports(server: &Server) -> Vec<Value> {
    let paths = ["reach?by=day,partner,country", "reach", "links", "reach?by=class"];
    paths.iter().map(|path| ok(server, "GET", &format!("/v1/reports/{path}"), &Value::Null)).collect()
}

fn erasure(server: &Server, id: &str) -> Value {
    ok(server, "GET", &format!("/v1/erasures/{id}"), &Value::Null)
}

/// No file of the folder holds this, the journal apart.
fn nowhere(folder: &Path, text: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            nowhere(&path, text);
        } else {
            let bytes = fs::read(&path).unwrap();
            let found = bytes.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()));
            assert!(!found, "{text} in {}", path.display());
        }
    }
}

#[test]
fn a_person_is_told_and_erased_through_kill_9_and_reports_stay() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &options()).unwrap();
    let rules = json!({"rewards": [{"code": "share", "to": "partner", "on": "sale", "value": {"percent": 1_000}}]});
    ok(&server, "PUT", "/v1/programs/spring", &rules);
    let (token, cookie) = click(&server, None);
    let (_, cookie) = click(&server, Some(&cookie));
    click(&server, None);
    let lead = json!({"program": "spring", "email": "Ann@Home.example", "external_id": "customer-7", "first_name": "Annabel",
        "token": token, "cookie": value(&cookie), "metadata": {"phone": "555-0199"}});
    let lead = ok(&server, "POST", "/v1/leads", &lead);
    ok(
        &server,
        "POST",
        "/v1/conversions",
        &json!({"email": ADDRESS, "amount": 9_990, "currency": "EUR", "invoice_id": "in_1"}),
    );
    let before = rows(folder.path(), 6);
    let told_before = reports(&server);

    let export = ok(&server, "GET", "/v1/persons/Ann@home.example", &Value::Null);
    for section in
        ["contacts", "known_by", "visitors", "leads", "conversions", "referrals", "rewards", "outbox", "events"]
    {
        assert!(!export[section].as_array().unwrap().is_empty(), "{section}: {export:#}");
    }
    assert_eq!(export["leads"][0]["metadata"]["phone"], "555-0199");
    assert_eq!(export["events"].as_array().unwrap().len(), 4, "two clicks, a lead, a conversion: {export:#}");
    let by_id = ok(&server, "GET", "/v1/persons?external_id=customer-7", &Value::Null);
    assert_eq!(by_id["leads"], export["leads"]);
    let visitor = export["visitors"][0]["visitor"].as_str().unwrap().to_owned();
    let click_id = export["leads"][0]["click"].as_str().unwrap().to_owned();

    let begun = call(&server, "DELETE", &format!("/v1/persons/{ADDRESS}"), &Value::Null);
    assert_eq!(begun.status, 202, "{}", begun.text());
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(begun.header("location").unwrap(), format!("/v1/erasures/{id}"));
    // In the middle of it, wherever that is.
    server.kill();
    let server = Server::start(folder.path(), &options()).unwrap();
    let done = eventually("the end of the erasure", || {
        let erasure = erasure(&server, &id);
        (erasure["state"] != "running").then_some(erasure)
    });
    assert_eq!((&done["state"], &done["problem"]), (&json!("complete"), &Value::Null), "{done:#}");
    assert!(done["progress"]["events"].as_u64().unwrap() >= 2, "{done:#}");

    assert_eq!(reports(&server), told_before, "reports, unique visitors among them");
    let after = rows(folder.path(), before.len());
    let text = serde_json::to_string(&after).unwrap();
    assert!(!text.contains(&visitor), "{visitor} in {text}");
    let of_click: Vec<&Value> = after.iter().filter(|row| row["id"] == click_id.as_str()).collect();
    assert_eq!((&of_click[0]["address"], &of_click[0]["sub1"]), (&json!(""), &json!("")), "{of_click:#?}");
    assert!(after.iter().all(|row| row["click"] != click_id.as_str()), "{after:#?}");
    assert_eq!(call(&server, "GET", &format!("/v1/persons/{ADDRESS}"), &Value::Null).status, 404);
    let referral = lead["referral"]["id"].as_str().unwrap();
    let stays = ok(&server, "GET", &format!("/v1/referrals/{referral}"), &Value::Null);
    assert_eq!((&stays["state"], &stays["person"]["email"]), (&json!("qualified"), &Value::Null), "{stays:#}");
    assert_eq!(ok(&server, "GET", "/v1/rewards?state=due", &Value::Null)["items"].as_array().unwrap().len(), 1);

    // The log of it names nobody.
    let log = ok(&server, "GET", "/v1/audit?kind=person", &Value::Null);
    assert_eq!((&log["items"][0]["action"], &log["items"][0]["code"]), (&json!("erase"), &json!(id)), "{log:#}");
    assert!(
        !serde_json::to_string(&ok(&server, "GET", "/v1/audit?limit=1000", &Value::Null))
            .unwrap()
            .contains("home.example")
    );

    // Told of again, with the browser of before: a new person. Of before there is
    // what the cookie says again: the click of its first touch, which says nothing any more.
    let (token, cookie) = click(&server, Some(&cookie));
    let again = json!({"program": "spring", "email": ADDRESS, "token": token, "cookie": value(&cookie)});
    let again = ok(&server, "POST", "/v1/leads", &again);
    assert_ne!(again["contact"], lead["contact"]);
    rows(folder.path(), before.len() + 2);
    let export = ok(&server, "GET", &format!("/v1/persons/{ADDRESS}"), &Value::Null);
    let events = export["events"].as_array().unwrap();
    let theirs: Vec<&Value> = events.iter().filter(|event| event["visitor"] == visitor.as_str()).collect();
    assert_eq!((theirs.len(), &theirs[0]["sub1"]), (1, &json!("ann")), "the new click only: {export:#}");
    assert!(events.iter().all(|event| event["id"] != click_id.as_str() || event["sub1"] == ""), "{events:#?}");
    assert!(server.stop().success());
    nowhere(&folder.path().join("journal"), ADDRESS);
}

#[test]
fn who_is_asked_for_wrongly_is_told_how() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &options()).unwrap();
    let said = |path: &str| call(&server, "GET", path, &Value::Null);
    assert_eq!(said("/v1/persons/nobody@home.example").status, 404);
    assert_eq!(said("/v1/erasures/nope").status, 404);
    let wrong = said("/v1/persons/customer-7");
    assert_eq!((wrong.status, wrong.json()["errors"][0]["field"].clone()), (400, json!("email")));
    assert!(wrong.text().contains("/v1/persons?external_id=customer-7"), "{}", wrong.text());
    assert_eq!(said("/v1/persons").json()["errors"][0]["field"], "external_id");
    // Somebody of whom nothing is known is erased all the same: a text may name them.
    let begun = ok(&server, "DELETE", "/v1/persons/nobody@home.example", &Value::Null);
    assert_eq!(begun["contact"], Value::Null);
}

/// Mails in the folder, as text.
fn mails(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder.join("mails")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "eml"));
    paths.map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn a_due_reward_is_mailed_once_and_one_that_issues_itself_is_issued() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &options()).unwrap();
    let wrong = json!({"notify": {"addresses": ["nowhere"], "text": "{amout}"}});
    let wrong = call(&server, "PUT", "/v1/programs/spring", &wrong);
    assert_eq!((wrong.status, wrong.json()["errors"][0]["field"].clone()), (422, json!("notify.addresses[0]")));
    let day = |days: i64| {
        jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_hours(24 * days)).unwrap().to_string()
    };
    let rule = |code: &str, auto_issue: bool| {
        json!({"code": code, "to": "partner", "on": "sale", "hold_days": 14, "auto_issue": auto_issue,
            "value": {"fixed": {"amount": 500, "currency": "EUR"}}})
    };
    let program = json!({"name": "Spring", "rewards": [rule("hand", false), rule("auto", true)],
        "notify": {"addresses": ["ops@shop.example"], "partner": true, "subject": "{rule} for {partner}: {amount} {state}"}});
    ok(&server, "PUT", "/v1/programs/spring", &program);
    let lead = json!({"program": "spring", "email": ADDRESS, "partner": "abc123", "at": day(30)});
    ok(&server, "POST", "/v1/leads", &lead);
    // One is still held, one was due a week ago.
    let sale = |invoice: &str, days: i64| json!({"email": ADDRESS, "amount": 1_000, "currency": "EUR", "invoice_id": invoice, "at": day(days)});
    ok(&server, "POST", "/v1/conversions", &sale("in_1", 3));
    assert_eq!(ok(&server, "GET", "/v1/rewards?state=held", &Value::Null)["items"].as_array().unwrap().len(), 2);
    ok(&server, "POST", "/v1/conversions", &sale("in_2", 21));
    let all = eventually("four mails", || Some(mails(folder.path())).filter(|mails| mails.len() == 4));
    let count = |text: &str| all.iter().filter(|mail| mail.contains(text)).count();
    assert_eq!(count("Subject: hand for abc123: 5.00 EUR due"), 2, "{all:#?}");
    assert_eq!(count("Subject: auto for abc123: 5.00 EUR issued"), 2, "{all:#?}");
    assert_eq!((count("To: ops@shop.example"), count("To: jane@example.com")), (2, 2), "{all:#?}");
    let issued = ok(&server, "GET", "/v1/rewards?state=issued", &Value::Null);
    assert_eq!((issued["items"].as_array().unwrap().len(), &issued["items"][0]["rule"]), (1, &json!("auto")));
    let log = ok(&server, "GET", "/v1/audit?action=issue", &Value::Null)["items"].clone();
    assert_eq!((log.as_array().unwrap().len(), &log[0]["who"]), (1, &json!("system:auto-issue")), "{log:#}");

    // What is taken back and due again is not told again.
    let referral = ok(&server, "GET", "/v1/referrals", &Value::Null)["items"][0]["id"].as_str().unwrap().to_owned();
    for ruling in ["reject", "qualify"] {
        ok(&server, "POST", &format!("/v1/referrals/{referral}/{ruling}"), &json!({"note": "about ann"}));
    }
    let due = ok(&server, "GET", "/v1/rewards?state=due", &Value::Null)["items"].clone();
    assert_eq!(due.as_array().unwrap().len(), 1);
    let issue = json!({"rewards": [due[0]["id"]], "reference": "transfer 7"});
    ok(&server, "POST", "/v1/rewards/issue", &issue);
    let log = ok(&server, "GET", "/v1/audit?kind=referral", &Value::Null)["items"].clone();
    let deeds: Vec<&str> = log.as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(deeds, ["qualify", "reject"], "the newest first");
    let issued = ok(&server, "GET", "/v1/audit?kind=reward&who=token:admin", &Value::Null)["items"].clone();
    assert_eq!(
        issued[0]["changes"][1],
        json!({"field": "reference", "before": "", "after": "transfer 7"}),
        "{issued:#}"
    );
    // A mail that was queued would be there before the next one.
    ok(
        &server,
        "POST",
        "/v1/leads",
        &json!({"program": "spring", "external_id": "8", "partner": "abc123", "at": day(30)}),
    );
    let sale = json!({"external_id": "8", "amount": 1_000, "currency": "EUR", "invoice_id": "in_3", "at": day(20)});
    ok(&server, "POST", "/v1/conversions", &sale);
    eventually("two more mails for each of two rewards", || (mails(folder.path()).len() >= 8).then_some(()));
    assert_eq!(mails(folder.path()).len(), 8);
}

/// Makes all events older by so many days.
fn age_events(folder: &Path, days: i64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let path = folder.join("events.db");
        let mut connection = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
        let sql = "UPDATE events SET time_ms = time_ms - ?";
        sqlx::query(sql).bind(days * 86_400_000).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

/// What had its time is gone at the next start; sums stay, and a report says since when rows are complete.
#[test]
fn the_retention_takes_rows_and_leaves_sums() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &options()).unwrap();
    click(&server, None);
    rows(folder.path(), 1);
    assert_eq!(call(&server, "GET", "/v1/reports/reach", &Value::Null).header("fingerpost-rows-since"), None);
    assert!(server.stop().success());
    assert_eq!(support::run(folder.path(), &["audit", "--kind", "program", "--format", "csv"]).lines().count(), 2);
    let expired = |server: &Server| {
        let log = ok(server, "GET", "/v1/audit?who=system:retention", &Value::Null);
        log["items"].as_array().unwrap().iter().any(|row| row["kind"] == "audit").then_some(())
    };
    age_events(folder.path(), 500);
    let server = Server::start(folder.path(), &options().set("retention.audit", "1ms")).unwrap();
    eventually("the retention", || expired(&server));
    eventually("the end of old rows", || {
        let answer = call(&server, "GET", "/v1/reports/reach", &Value::Null);
        answer.header("fingerpost-rows-since").is_some().then_some(())
    });
    let reach = ok(&server, "GET", "/v1/reports/reach", &Value::Null);
    assert_eq!((&reach[0]["clicks"], &reach[0]["unique_visitors"]), (&json!(1), &json!(0)), "sums stay");
    assert!(rows(folder.path(), 0).is_empty());
    let metric = support::metric(server.ops, "fingerpost_expired_rows_total{kind=\"audit\"}");
    assert!(metric.unwrap() >= 1.0);
    assert!(server.stop().success());
    let never = options().set("retention.events", "never").set("retention.audit", "0");
    assert!(Server::start(folder.path(), &never).unwrap().stop().success());
}
