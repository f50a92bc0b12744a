//! From click to reward through the real binary: what the API answers, what is owed, and what the event store has of it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::{Client, Options, Response, Server, api, eventually, rows};

/// A server with a program that rewards both sides two weeks after the first sale.
struct Business {
    /// Goes with the business.
    folder: tempfile::TempDir,
    server: Server,
}

impl Business {
    fn open() -> Business {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
        let business = Business { folder, server };
        let program = json!({
            "qualification": {"on": "event", "event": "sale"},
            "rewards": [
                {"code": "welcome", "to": "both", "on": "qualification", "hold_days": 14,
                 "value": {"fixed": {"amount": 500, "currency": "EUR"}}},
                {"code": "share", "to": "partner", "on": "sale", "value": {"percent": 1_000}},
            ],
        });
        let put = business.call("PUT", "/v1/programs/spring", &program);
        assert!(put.status < 300, "{}", put.text());
        business
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Response {
        api(self.server.control, &self.server.token(), method, path, body)
    }

    fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.call(method, path, body);
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// A click; the token that the landing page is given.
    fn click(&self) -> String {
        let answer = Client::connect(self.server.edge).unwrap().get("/go/haircare/abc123/website2").unwrap();
        let location = url::Url::parse(answer.header("location").unwrap()).unwrap();
        location.query_pairs().find(|(name, _)| name == "fpc").unwrap().1.into_owned()
    }

    fn rewards(&self, query: &str) -> Vec<Value> {
        self.ok("GET", &format!("/v1/rewards?{query}"), &Value::Null)["items"].as_array().unwrap().clone()
    }

    fn states(&self) -> Vec<String> {
        let text = |reward: &Value, field: &str| reward[field].as_str().unwrap().to_owned();
        let line =
            |reward: &Value| format!("{} {} {}", text(reward, "rule"), text(reward, "side"), text(reward, "state"));
        let mut states: Vec<String> = self.rewards("limit=1000").iter().map(line).collect();
        states.sort();
        states
    }
}

fn days_ago(days: i64) -> String {
    jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_hours(24 * days)).unwrap().to_string()
}

#[test]
fn a_click_becomes_a_lead_a_sale_a_reward_and_a_refund_takes_it_back() {
    let business = Business::open();
    let token = business.click();
    let lead = json!({"program": "spring", "email": "Ann@Home.example", "first_name": "Ann", "token": token});
    let lead = business.ok("POST", "/v1/leads", &lead);
    let referral = &lead["referral"];
    assert_eq!((&referral["partner"], &referral["ad"]), (&json!("abc123"), &json!("website2")), "{lead:#}");
    assert_eq!(referral["state"], "pending");
    assert!(lead["attribution"][0].as_str().unwrap().starts_with("abc123 is credited"), "{lead:#}");
    assert!(business.states().is_empty());

    let sale = json!({"email": "ann@home.example", "amount": 9_990, "currency": "EUR", "invoice_id": "in_1"});
    let sold = business.ok("POST", "/v1/conversions", &sale);
    assert_eq!(sold["referrals"][0]["state"], "qualified", "{sold:#}");
    assert_eq!(business.states(), ["share partner due", "welcome invited held", "welcome partner held"]);
    let due = business.rewards("state=due");
    assert_eq!(due[0]["owed"], json!({"money": {"amount": 999, "currency": "EUR"}}));
    let again = business.call("POST", "/v1/conversions", &sale);
    assert_eq!((again.status, again.json()["again"].clone()), (200, json!(true)));

    let issue = json!({"rewards": [due[0]["id"]], "reference": "transfer 7"});
    assert_eq!(business.ok("POST", "/v1/rewards/issue", &issue)[0]["state"], "issued");
    assert_eq!(business.ok("POST", "/v1/rewards/issue", &issue)[0]["reference"], "transfer 7", "again changes nothing");
    business.ok("POST", "/v1/refunds", &json!({"invoice_id": "in_1", "reason": "returned"}));
    assert_eq!(business.states(), ["share partner reversed", "welcome invited reversed", "welcome partner reversed"]);
    let share = &business.rewards("state=reversed").into_iter().find(|reward| reward["rule"] == "share").unwrap();
    assert!(share["issued_at"].is_string() && share["reason"] == "the sale was paid back", "{share:#}");

    let id = referral["id"].as_str().unwrap();
    let explained = business.ok("GET", &format!("/v1/referrals/{id}/attribution"), &Value::Null);
    let words = explained["words"].as_array().unwrap();
    assert!(words[1].as_str().unwrap().contains("by the click token): it is credited"), "{explained:#}");
    let person = business.ok("GET", &format!("/v1/referrals/{id}"), &Value::Null);
    assert_eq!(person["person"]["email"], "ann@home.example");

    let rows = rows(business.folder.path(), 5);
    let kinds: Vec<&str> = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    for kind in ["click", "lead", "conversion", "reward", "refund"] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    assert!(business.server.stop().success());
}

#[test]
fn a_visitors_clicks_are_candidates_and_who_is_known_needs_no_form() {
    let business = Business::open();
    business.ok("PUT", "/v1/programs/autumn", &json!({"name": "Autumn"}));
    let link = json!({"name": "Sun care", "address": "https://shop.example/sun", "programs": ["autumn"]});
    business.ok("PUT", "/v1/links/suncare", &link);
    business.ok("PUT", "/v1/partners/top", &json!({"name": "Top"}));
    business.ok("PUT", "/v1/partners/jane", &json!({"name": "Jane", "parent": "top", "programs": ["autumn"]}));
    let mut browser = Client::connect(business.server.edge).unwrap();
    let mut go = |path: &str, fp: &str| {
        let answer =
            browser.send("GET", path, &[("User-Agent", support::client::BROWSER), ("Cookie", fp)], b"").unwrap();
        assert_eq!(answer.status, 302);
        answer.cookie().unwrap().to_owned()
    };
    // The cookie knows the first and the last click; the one between them stands in the history only.
    let mut fp = "none=yet".to_owned();
    for _ in 0..3 {
        fp = go("/go/haircare/abc123/website2", &fp);
    }
    let lead = json!({"program": "spring", "email": "ann@home.example", "cookie": fp.strip_prefix("fp=").unwrap()});
    let id = business.ok("POST", "/v1/leads", &lead)["referral"]["id"].as_str().unwrap().to_owned();
    let explained = eventually("the history among the candidates", || {
        let explained = business.ok("GET", &format!("/v1/referrals/{id}/attribution"), &Value::Null);
        explained["decisions"][0]["candidates"]
            .as_array()
            .unwrap()
            .iter()
            .any(|candidate| candidate["source"] == "history" && candidate["verdict"] == "not_last")
            .then_some(explained)
    });
    let words = explained["words"].to_string();
    assert!(words.contains("(by the history of the person's visitors): another touch was later"), "{explained:#}");
    assert_eq!(explained["parents"], json!([]));

    eventually("the link of jane", || {
        let location = Client::connect(business.server.edge).unwrap().get("/go/suncare/jane").unwrap();
        (location.header("location").unwrap().contains("fpc=")).then_some(())
    });
    go("/go/suncare/jane", &fp);
    let referral = eventually("a referral of jane", || {
        business.ok("GET", "/v1/referrals?partner=jane", &Value::Null)["items"].as_array().unwrap().first().cloned()
    });
    assert_eq!((&referral["program"], &referral["state"]), (&json!("autumn"), &json!("pending")), "{referral:#}");
    let id = referral["id"].as_str().unwrap();
    let explained = business.ok("GET", &format!("/v1/referrals/{id}/attribution"), &Value::Null);
    assert_eq!((&explained["decisions"][0]["source"], &explained["parents"]), (&json!("click"), &json!(["top"])));
    let words = explained["words"].as_array().unwrap();
    assert!(words[0].as_str().unwrap().contains("the click of a known contact"), "{explained:#}");
    assert_eq!(words.last().unwrap(), "jane has the parent top.");
    let view = business.ok("GET", &format!("/v1/referrals/{id}"), &Value::Null);
    assert_eq!((&view["person"]["email"], &view["parents"]), (&json!("ann@home.example"), &json!(["top"])));
    assert!(business.server.stop().success());
}

#[test]
fn what_was_held_long_enough_is_due_and_what_came_first_matches_later() {
    let business = Business::open();
    let sale =
        json!({"external_id": "c-7", "amount": 2_000, "currency": "EUR", "invoice_id": "in_2", "at": days_ago(20)});
    let unmatched = business.ok("POST", "/v1/conversions", &sale);
    assert!(unmatched["unmatched"].as_str().unwrap().contains("when their lead comes"), "{unmatched:#}");
    business.ok("POST", "/v1/refunds", &json!({"invoice_id": "in_2", "amount": 500}));
    let lead = json!({"program": "spring", "external_id": "c-7", "email": "bo@home.example", "partner": "ABC123", "at": days_ago(40)});
    business.ok("POST", "/v1/leads", &lead);
    eventually("both sides due", || {
        (business.states() == ["share partner due", "welcome invited due", "welcome partner due"]).then_some(())
    });
    // A lead, three rewards, and what waited for the lead.
    let rows = rows(business.folder.path(), 6);
    let count = |kind: &str| rows.iter().filter(|row| row["kind"] == kind).count();
    assert_eq!((count("lead"), count("reward"), count("conversion"), count("refund")), (1, 3, 1, 1), "{rows:#?}");
    let share = &business.rewards("partner=abc123").into_iter().find(|reward| reward["rule"] == "share").unwrap();
    assert_eq!(share["owed"]["money"]["amount"], 150, "ten percent of what was not paid back");
}

#[test]
fn mistakes_and_conflicts_say_what_to_do() {
    let business = Business::open();
    let invalid = business.call("POST", "/v1/leads", &json!({"program": "spring", "mail": "x"}));
    assert_eq!(invalid.status, 422);
    let errors = invalid.json()["errors"].as_array().unwrap().clone();
    let fields: Vec<&str> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["email", "mail"]);
    let nothing = business.call("POST", "/v1/leads", &json!({})).json();
    let fields: Vec<&Value> = nothing["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["program", "email"], "all mistakes at once");
    let unknown = business.call("POST", "/v1/leads", &json!({"program": "nope", "email": "a@b.example"}));
    assert_eq!((unknown.status, unknown.json()["errors"][0]["field"].clone()), (422, json!("program")));
    let sale = |amount: u32| json!({"email": "a@b.example", "amount": amount, "currency": "EUR", "invoice_id": "in_9"});
    business.ok("POST", "/v1/conversions", &sale(100));
    let conflict = business.call("POST", "/v1/conversions", &sale(200));
    assert_eq!(conflict.status, 409, "{}", conflict.text());
    assert!(conflict.json()["known"]["id"].is_string(), "{}", conflict.text());
    for (body, field) in [
        (json!({"email": "a@b.example", "amount": 5}), "currency"),
        (json!({"email": "a@b.example", "amount": 5, "currency": "EURO"}), "currency"),
        (json!({"email": "a@b.example", "external_id": "7"}), "email"),
        (json!({"token": "forged"}), "token"),
        (json!({"referral": "00000000-0000-0000-0000-000000000000"}), "referral"),
    ] {
        let answer = business.call("POST", "/v1/conversions", &body);
        assert_eq!((answer.status, answer.json()["errors"][0]["field"].clone()), (422, json!(field)), "{body}");
    }
    let program = json!({"rewards": [{"code": "x", "to": "both", "on": "lead", "value": {"percent": 10}}]});
    let refused = business.call("PUT", "/v1/programs/spring", &program);
    assert_eq!(refused.json()["errors"][0]["field"], "rewards[0].value.percent", "{}", refused.text());
}

#[test]
fn a_word_by_hand_stands_and_is_the_last_one() {
    let business = Business::open();
    let lead = json!({"program": "spring", "email": "eve@home.example", "partner": "abc123"});
    let lead = business.ok("POST", "/v1/leads", &lead);
    let id = lead["referral"]["id"].as_str().unwrap().to_owned();
    let qualified = business.ok("POST", &format!("/v1/referrals/{id}/qualify"), &json!({"note": "by phone"}));
    assert_eq!(qualified["state"], "qualified");
    assert_eq!(business.states(), ["welcome invited held", "welcome partner held"]);
    let rejected = business.ok("POST", &format!("/v1/referrals/{id}/reject"), &json!({"note": "an employee"}));
    assert_eq!((&rejected["state"], &rejected["reason"]), (&json!("rejected"), &json!("an employee")));
    assert_eq!(business.states(), ["welcome invited reversed", "welcome partner reversed"]);
}
