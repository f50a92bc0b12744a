//! How facts come in from others, through the real binary: Stripe, webhooks with a mapping, forms, files.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

#[path = "support/stripe.rs"]
mod stripe;
mod support;

use std::{net::SocketAddr, path::Path};

use serde_json::{Value, json};
use support::{Client, Options, Response, Server, api, eventually, fails, metric, rows, run};

const SECRET: &str = "whsec_0123456789abcdef";
const OTHER: &str = "whsec_fedcba9876543210";

struct Business {
    folder: tempfile::TempDir,
    server: Server,
}

impl Business {
    fn open() -> Business {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
        let business = Business { folder, server };
        business.ok("PUT", "/v1/programs/spring", &json!({"qualification": {"on": "event"}, "origins": ["https://shop.example"],
            "rewards": [{"code": "share", "to": "partner", "on": "sale", "recurring_months": 12, "value": {"percent": 1_000}}]}));
        business
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Response {
        api(self.server.control, &self.server.token(), method, path, body)
    }

    fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.call(method, path, body);
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    fn rewards(&self) -> Vec<String> {
        let items = self.ok("GET", "/v1/rewards?limit=1000", &Value::Null)["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|reward| format!("{} {}", reward["owed"]["money"]["amount"], reward["state"].as_str().unwrap()))
            .collect()
    }

    fn upload(&self, kind: &str, csv: &str) -> Response {
        let authorization = format!("Bearer {}", self.server.token());
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "text/csv")];
        send(self.server.control, &format!("/v1/uploads?kind={kind}"), &headers, csv.as_bytes())
    }

    fn worked_off(&self, id: &str) -> Value {
        eventually("the upload", || {
            let upload = self.ok("GET", &format!("/v1/uploads/{id}"), &Value::Null);
            (upload["state"] == "done").then_some(upload)
        })
    }

    fn referrals(&self) -> usize {
        self.ok("GET", "/v1/referrals?limit=1000", &Value::Null)["items"].as_array().unwrap().len()
    }
}

fn send(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    Client::connect(address).unwrap().send("POST", path, headers, body).unwrap()
}

fn paid(event: &str, invoice: &str) -> Vec<u8> {
    let invoice = json!({"id": invoice, "object": "invoice", "amount_paid": 9_990, "currency": "eur", "customer_email": "ann@home.example"});
    json!({"id": event, "object": "event", "type": "invoice.paid", "created": jiff::Timestamp::now().as_second(), "data": {"object": invoice}})
        .to_string()
        .into_bytes()
}

#[test]
fn a_stripe_event_counts_once_and_only_when_stripe_has_signed_it() {
    let business = Business::open();
    let made = business.call("PUT", "/v1/inbound/stripe", &json!({"kind": "stripe", "secrets": [SECRET, OTHER]}));
    assert_eq!((made.status, made.json()["secrets"].clone()), (201, json!(2)));
    business.ok("POST", "/v1/leads", &json!({"program": "spring", "email": "ann@home.example", "partner": "abc123"}));
    let body = paid("evt_1", "in_1");
    for (signature, part) in [
        (None, "Stripe-Signature: is missing"),
        (Some("t=1,v1=00".to_owned()), "fits none of the secrets"),
        (Some(stripe::signature("whsec_of_somebody_else", &body)), "fits none of the secrets"),
    ] {
        let headers: Vec<(&str, &str)> = signature.iter().map(|text| ("Stripe-Signature", text.as_str())).collect();
        let answer = send(business.server.control, "/v1/inbound/stripe", &headers, &body);
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/problem+json")));
        assert!(answer.json()["detail"].as_str().unwrap().contains(part), "{}", answer.text());
    }
    assert!(business.rewards().is_empty(), "no effect");
    // On the control listener, and on the edge, so that one domain serves all; by either secret.
    let tell = |address: SocketAddr, secret: &str, body: &[u8]| {
        let signature = stripe::signature(secret, body);
        let answer = send(address, "/v1/inbound/stripe", &[("Stripe-Signature", &signature)], body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["events"][0]["result"].clone()
    };
    let (edge, control) = (business.server.edge, business.server.control);
    assert_eq!(tell(edge, SECRET, &body), "applied");
    assert_eq!(tell(control, OTHER, &body), "again");
    assert_eq!(tell(edge, OTHER, &paid("evt_2", "in_1")), "applied", "another event of the same invoice");
    assert_eq!(business.rewards(), ["999 due"]);
    let other = json!({"id": "evt_3", "type": "customer.created", "data": {"object": {"id": "cus_1"}}}).to_string();
    assert_eq!(tell(edge, SECRET, other.as_bytes()), "ignored");
    let door = business.ok("GET", "/v1/inbound/stripe", &Value::Null);
    assert_eq!((&door["applied"], &door["ignored"]), (&json!(2), &json!(1)));
    assert!(!door.to_string().contains("whsec"), "secrets are not given back: {door}");
    let refunded = json!({"id": "evt_4", "type": "charge.refunded", "data": {"object":
        {"id": "ch_1", "invoice": "in_1", "amount": 9_990, "amount_refunded": 9_990, "currency": "eur"}}});
    assert_eq!(tell(edge, SECRET, refunded.to_string().as_bytes()), "applied");
    assert_eq!(business.rewards(), ["999 reversed"]);
    for (result, count) in [("applied", 3.0), ("again", 1.0), ("ignored", 1.0), ("unsigned", 3.0)] {
        let name = format!("fingerpost_inbound_events_total{{result=\"{result}\"}} ");
        assert_eq!(metric(business.server.ops, &name), Some(count), "{result}");
    }
    let log = business.server.log().join("\n");
    assert!(!log.contains("whsec") && !log.contains("home.example"), "{log}");
    // What GET gave can be sent back: the secrets stay.
    business.ok("PUT", "/v1/inbound/stripe", &door);
    assert_eq!(tell(edge, OTHER, &body), "again");
    business.ok("DELETE", "/v1/inbound/stripe", &Value::Null);
    assert_eq!(send(edge, "/v1/inbound/stripe", &[], &body).status, 404);
}

#[test]
fn a_webhook_with_a_mapping_is_tried_and_then_believed() {
    let business = Business::open();
    let door = json!({"kind": "generic", "secrets": [SECRET], "settings": {
        "auth": {"by": "hmac", "header": "X-Signature", "prefix": "sha256="}, "fact": "lead", "id": "eventId",
        "fields": {"program": {"is": "spring"}, "email": "/contact/email", "partner": "contact.referrer"}}});
    business.ok("PUT", "/v1/inbound/crm", &door);
    let body = json!({"eventId": 17, "contact": {"email": "eve@home.example", "referrer": "abc123"}});
    let tried = business.ok("POST", "/v1/inbound/crm/try", &body);
    assert_eq!((&tried[0]["id"], &tried[0]["facts"][0]["email"]), (&json!("17"), &json!("eve@home.example")));
    assert_eq!(business.referrals(), 0, "a try changes nothing");
    let nobody = json!({"eventId": 18, "contact": {"referrer": "abc123"}});
    let wrong = business.call("POST", "/v1/inbound/crm/try", &nobody);
    assert_eq!((wrong.status, wrong.json()["errors"][0]["field"].clone()), (422, json!("email")));
    let bytes = body.to_string().into_bytes();
    let signature = format!("sha256={}", stripe::hex(SECRET, &bytes));
    for result in ["applied", "again"] {
        let answer = send(business.server.edge, "/v1/inbound/crm", &[("X-Signature", &signature)], &bytes);
        assert_eq!(answer.json()["events"][0]["result"], result, "{}", answer.text());
    }
    assert_eq!(business.referrals(), 1);
    assert_eq!(send(business.server.edge, "/v1/inbound/crm", &[("X-Signature", "sha256=00")], &bytes).status, 400);
    // A sender who can do no more has the secret in the path.
    let mut by_path = door;
    by_path["settings"]["auth"] = json!({"by": "path"});
    business.ok("PUT", "/v1/inbound/zap", &by_path);
    let told = json!({"eventId": "z", "contact": {"email": "bo@home.example"}}).to_string();
    assert_eq!(send(business.server.edge, &format!("/v1/inbound/zap/{SECRET}"), &[], told.as_bytes()).status, 200);
    assert_eq!(send(business.server.edge, "/v1/inbound/zap/another", &[], told.as_bytes()).status, 400);
    for (door, field) in [
        (json!({"kind": "telegram", "secrets": [SECRET]}), "kind"),
        (json!({"kind": "stripe"}), "secrets"),
        (json!({"kind": "stripe", "secrets": ["short"]}), "secrets"),
        (json!({"kind": "stripe", "secrets": [SECRET], "settings": {"porgram": "spring"}}), "settings"),
        (json!({"kind": "stripe", "secrets": [SECRET], "settings": {"program": "nope"}}), "settings.program"),
    ] {
        let answer = business.call("PUT", "/v1/inbound/wrong", &door);
        assert_eq!(
            (answer.status, answer.json()["errors"][0]["field"].clone()),
            (422, json!(field)),
            "{}",
            answer.text()
        );
    }
}

/// Whether a text stands in any file of a folder.
fn holds(folder: &Path, text: &str) -> bool {
    let within = |path: &Path| {
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { holds(&path, text) } else { within(&path) }
    })
}

#[test]
fn a_form_sends_leads_from_allowed_pages_and_nothing_of_them_is_in_the_journal() {
    let business = Business::open();
    let edge = business.server.edge;
    let click = Client::connect(edge).unwrap().get("/go/haircare/abc123/website2").unwrap();
    let location = url::Url::parse(click.header("location").unwrap()).unwrap();
    let token = location.query_pairs().find(|(name, _)| name == "fpc").unwrap().1.into_owned();
    let lead = |email: &str| json!({"kind": "lead", "program": "spring", "email": email, "token": token});
    let from = |origin: &str, body: &Value| {
        let mut headers = vec![("Content-Type", "text/plain")];
        if !origin.is_empty() {
            headers.push(("Origin", origin));
        }
        send(edge, "/e", &headers, body.to_string().as_bytes())
    };
    let unknown = from("https://shop.example", &lead("ann@home.example"));
    assert_eq!(unknown.status, 202, "{}", unknown.text());
    assert_eq!(unknown.header("access-control-allow-origin"), Some("https://shop.example"));
    assert_eq!(
        (unknown.header("access-control-allow-credentials"), unknown.header("vary")),
        (Some("true"), Some("Origin"))
    );
    let slash =
        send(edge, "/e/", &[("Origin", "https://shop.example")], lead("ann@home.example").to_string().as_bytes());
    assert_eq!(slash.status, 202, "{}", slash.text());
    let known = from("https://shop.example", &lead("ann@home.example"));
    let head =
        |answer: &Response| answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect::<Vec<_>>();
    assert_eq!((known.status, &known.body, head(&known)), (unknown.status, &unknown.body, head(&unknown)));
    assert_eq!(business.referrals(), 1);
    for origin in ["", "null", "https://evil.example", "http://shop.example", "https://shop.example.evil.example"] {
        let answer = from(origin, &lead("eve@home.example"));
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None), "{origin}");
    }
    let mut no_program = lead("eve@home.example");
    no_program["program"] = json!("nope");
    let (answer, refused) =
        (from("https://shop.example", &no_program), from("https://evil.example", &lead("x@home.example")));
    assert_eq!((answer.status, answer.body), (403, refused.body), "a program that there is not answers the same");
    let mut trapped = lead("robot@home.example");
    trapped["trap"] = json!("http://spam.example");
    assert_eq!(from("https://shop.example", &trapped).body, unknown.body);
    let mut joined = lead("ann@home.example");
    joined["external_id"] = json!("c-1");
    let joined = from("https://shop.example", &joined);
    assert_eq!((joined.status, joined.json()["errors"][0]["field"].clone()), (422, json!("external_id")));
    assert_eq!(from("https://shop.example", &lead("nobody")).json()["errors"][0]["field"], "email");
    assert_eq!(business.referrals(), 1, "neither refused nor trapped ones count");
    let preflight =
        Client::connect(edge).unwrap().send("OPTIONS", "/e", &[("Origin", "https://shop.example")], b"").unwrap();
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, Some("POST")));
    let limited =
        (0..40).map(|_| from("https://shop.example", &lead("ann@home.example"))).find(|answer| answer.status == 429);
    assert!(limited.expect("a limit").header("retry-after").is_some());
    rows(
        business.folder.path(),
        1 + usize::try_from(
            metric(business.server.ops, "fingerpost_form_leads_total{result=\"taken\"} ").unwrap() as i64
        )
        .unwrap(),
    );
    assert!(!holds(&business.folder.path().join("journal"), "home.example"), "an e-mail address in the journal");
    assert!(!holds_events(business.folder.path()), "an e-mail address in the event store");
    assert!(!business.server.log().join("\n").contains("home.example"));
}

fn holds_events(folder: &Path) -> bool {
    let events = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut events = events.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("events.db"));
    events.any(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains("home.example"))
}

const LEADS: &str = "program,email,partner,first_name\nspring,a@home.example,abc123,'=A\nspring,nobody,abc123,=B\n\
                     nope,c@home.example,abc123,C\nspring,d@home.example,abc123,D\n";

#[test]
fn an_uploaded_file_is_worked_off_line_by_line_and_again_without_effect() {
    let business = Business::open();
    let kept = business.upload("leads", LEADS);
    assert_eq!(kept.status, 202, "{}", kept.text());
    let id = kept.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(kept.header("location"), Some(format!("/v1/uploads/{id}").as_str()));
    let done = business.worked_off(&id);
    let counts =
        |upload: &Value| ["lines_done", "taken", "known", "refused"].map(|field| upload[field].as_i64().unwrap());
    assert_eq!((counts(&done), &done["bytes_done"]), ([4, 2, 0, 2], &json!(LEADS.len())));
    assert_eq!(business.referrals(), 2);
    let authorization = format!("Bearer {}", business.server.token());
    let refused = Client::connect(business.server.control)
        .unwrap()
        .send("GET", &format!("/v1/uploads/{id}/refused"), &[("Authorization", &authorization)], b"")
        .unwrap();
    let text = refused.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "program,email,partner,first_name,reason");
    assert!(
        lines[1].starts_with("spring,nobody,abc123,'=B,") && lines[1].contains("line 3: email: `nobody`"),
        "{text}"
    );
    assert!(
        lines[2].starts_with("nope,c@home.example,abc123,C,")
            && lines[2].contains("line 4: program: there is no program"),
        "{text}"
    );
    // The mended file of refused lines, and the same file again.
    let again = business.upload("leads", LEADS).json();
    assert_eq!(counts(&business.worked_off(again["id"].as_str().unwrap())), [4, 0, 2, 2]);
    let mended = text.replace("nobody", "b@home.example").replace("nope", "spring");
    let mended = business.upload("leads", &mended).json();
    assert_eq!(counts(&business.worked_off(mended["id"].as_str().unwrap())), [2, 2, 0, 0]);
    assert_eq!(business.referrals(), 4);
    for (kind, file, status, part) in [
        ("leads", "email\n", 422, "`program` is missing"),
        ("conversions", "email,external_id\n", 422, "one key column"),
        ("rewards", "email\n", 400, "leads, conversions"),
    ] {
        let answer = business.upload(kind, file);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.json()["errors"][0]["problem"].as_str().unwrap().contains(part), "{}", answer.text());
    }
    let authorized = [("Authorization", authorization.as_str()), ("Content-Type", "text/csv"), ("Expect", "")];
    let large = vec![b'x'; 16 * 1024 * 1024 + 1];
    let answer = Client::connect(business.server.control).unwrap().send(
        "POST",
        "/v1/uploads?kind=leads",
        &authorized[..2],
        &large,
    );
    assert!(answer.map_or(true, |answer| answer.status == 413), "too large");
    assert_eq!(business.ok("GET", "/v1/uploads", &Value::Null)["items"].as_array().unwrap().len(), 3);
}

/// Killed in the middle, it goes on where it was: no line is lost, none counts twice.
#[test]
fn an_upload_survives_kill_9() {
    let mut business = Business::open();
    let count = 3_000;
    let mut file = "program,email,partner\n".to_owned();
    for number in 0..count {
        file.push_str(&format!("spring,p{number}@home.example,abc123\n"));
    }
    let id = business.upload("leads", &file).json()["id"].as_str().unwrap().to_owned();
    let mut kills = 0;
    for _ in 0..3 {
        let before = business.ok("GET", &format!("/v1/uploads/{id}"), &Value::Null)["lines_done"].as_i64().unwrap();
        let now = eventually("another step", || {
            let upload = business.ok("GET", &format!("/v1/uploads/{id}"), &Value::Null);
            (upload["lines_done"].as_i64().unwrap() > before || upload["state"] == "done").then_some(upload)
        });
        kills += i64::from(now["state"] != "done");
        let folder = business.folder;
        business.server.kill();
        let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
        business = Business { folder, server };
    }
    assert!(kills > 0, "it was never killed in the middle");
    let done = business.worked_off(&id);
    assert_eq!((&done["taken"], &done["known"], &done["refused"]), (&json!(count), &json!(0), &json!(0)));
    let mut people = 0;
    let mut cursor = String::new();
    loop {
        let page = business.ok("GET", &format!("/v1/referrals?limit=1000{cursor}"), &Value::Null);
        people += page["items"].as_array().unwrap().len();
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(people, count);
}

#[test]
fn a_file_is_imported_from_the_command_line() {
    let business = Business::open();
    let folder = business.folder.path();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let leads = write("leads.csv", LEADS);
    let error = fails(folder, &["import", "leads", &leads]);
    assert!(
        error.contains("2 of 4 lines are bad, nothing was imported") && error.contains("line 3: email: `nobody`"),
        "{error}"
    );
    assert!(error.contains("line 4: program: there is no program `nope`"), "{error}");
    assert_eq!(business.referrals(), 0);
    let tried = run(folder, &["import", "leads", &leads, "--skip-bad", "--dry-run"]);
    assert!(tried.contains("2 leads could be imported, 0 are known already; nothing was changed"), "{tried}");
    assert_eq!(business.referrals(), 0);
    let told = run(folder, &["import", "leads", &leads, "--skip-bad"]);
    assert!(told.contains("2 leads imported, 0 were known already") && told.contains("2 lines refused"), "{told}");
    let told = run(folder, &["import", "leads", &leads, "--skip-bad"]);
    assert!(told.contains("0 leads imported, 2 were known already"), "twice changes nothing: {told}");
    assert_eq!(business.referrals(), 2);
    let refused = std::fs::read_to_string(format!("{leads}.refused.csv")).unwrap();
    assert!(refused.starts_with("program,email,partner,first_name,reason\n"), "{refused}");
    let sales = write(
        "sales.csv",
        "email,amount,currency,invoice_id,event\na@home.example,1000,EUR,in_1,sale\nd@home.example,2000,EUR,,sale\n",
    );
    for told in ["2 conversions imported, 0 were", "0 conversions imported, 2 were"] {
        let answer = run(folder, &["import", "conversions", &sales]);
        assert!(answer.contains(told), "{answer}");
    }
    let mut rewards = business.rewards();
    rewards.sort();
    assert_eq!(rewards, ["100 due", "200 due"]);
    let other = write("other.csv", "email,amount,currency,invoice_id\na@home.example,5000,EUR,in_1\n");
    let error = fails(folder, &["import", "conversions", &other]);
    assert!(error.contains("line 2: invoice_id `in_1` was told before, and otherwise"), "{error}");
}

#[test]
fn a_card_is_known_again_by_a_hash() {
    let business = Business::open();
    business.ok(
        "POST",
        "/v1/conversions",
        &json!({"email": "a@home.example", "invoice_id": "1", "payment_fingerprint": "Xt5EWLLDS7FJjR1c"}),
    );
    business.ok(
        "POST",
        "/v1/conversions",
        &json!({"email": "b@home.example", "invoice_id": "2", "payment_fingerprint": "Xt5EWLLDS7FJjR1c"}),
    );
    business.ok(
        "POST",
        "/v1/conversions",
        &json!({"email": "c@home.example", "invoice_id": "3", "payment_fingerprint": "another"}),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hashes: Vec<String> = runtime.block_on(async {
        sqlx::any::install_default_drivers();
        let url = format!("sqlite:{}", business.folder.path().join("catalog.db").display());
        let pool = sqlx::AnyPool::connect(&url).await.unwrap();
        let rows = sqlx::query("SELECT payment FROM conversions ORDER BY invoice").fetch_all(&pool).await.unwrap();
        rows.iter().map(|row| sqlx::Row::get(row, 0)).collect()
    });
    assert!(hashes[0] == hashes[1] && hashes[0] != hashes[2] && hashes[0].len() == 32, "{hashes:?}");
    assert!(!holds(business.folder.path(), "Xt5EWLLDS7FJjR1c"), "the fingerprint itself is kept nowhere");
}
