//! Review through the real binary: each signal where it belongs and not elsewhere, what is held and for how long, and terms that are
//! tried before they are switched on.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::{Client, Options, Response, Server, api, eventually, run};

/// A server with a program that rewards each lead, and holds what is doubtful.
struct Business {
    folder: tempfile::TempDir,
    server: Server,
}

/// The partner's own address.
const OWN: &str = "jane@home.example";

impl Business {
    fn open() -> Business {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
        let business = Business { folder, server };
        business.ok("PUT", "/v1/partners/abc123", &json!({"name": "Jane", "email": OWN}));
        business.ok("PUT", "/v1/partners/other", &json!({"name": "Joe"}));
        business.promise(&json!({"hold_from": 50}));
        business
    }

    /// Gives the program these rules of review.
    fn promise(&self, review: &Value) {
        self.ok("PUT", "/v1/programs/spring", &program(review));
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Response {
        api(self.server.control, &self.server.token(), method, path, body)
    }

    fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.call(method, path, body);
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// A click: the token and the cookie's value.
    fn click(&self) -> (String, String) {
        let answer = Client::connect(self.server.edge).unwrap().get("/go/haircare/abc123/website2").unwrap();
        let location = url::Url::parse(answer.header("location").unwrap()).unwrap();
        let token = location.query_pairs().find(|(name, _)| name == "fpc").unwrap().1.into_owned();
        (token, answer.cookie().unwrap().trim_start_matches("fp=").to_owned())
    }

    /// A lead of the partner's, by code; the referral's id.
    fn lead(&self, email: &str, more: &Value) -> String {
        let mut lead = json!({"program": "spring", "email": email, "partner": "abc123"});
        lead.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let told = self.ok("POST", "/v1/leads", &lead);
        told["referral"]["id"].as_str().unwrap_or_else(|| panic!("{told:#}")).to_owned()
    }

    fn referral(&self, id: &str) -> Value {
        self.ok("GET", &format!("/v1/referrals/{id}"), &Value::Null)
    }

    fn signals(&self, id: &str) -> Vec<String> {
        let reasons = self.referral(id)["reasons"].as_array().unwrap().clone();
        reasons.iter().map(|reason| reason["signal"].as_str().unwrap().to_owned()).collect()
    }

    /// The states of a referral's rewards.
    fn states(&self, id: &str) -> Vec<String> {
        let rewards = self.ok("GET", &format!("/v1/rewards?referral={id}"), &Value::Null);
        rewards["items"].as_array().unwrap().iter().map(|reward| reward["state"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the program's terms have reached its history.
    fn followed(&self) -> Value {
        eventually("terms that have reached history", || {
            let following = self.ok("GET", "/v1/programs/spring/following", &Value::Null);
            following["ended_at"].is_string().then_some(following)
        })
    }
}

fn program(review: &Value) -> Value {
    json!({
        "review": review,
        "rewards": [
            {"code": "hello", "to": "partner", "on": "lead", "value": {"fixed": {"amount": 500, "currency": "EUR"}}},
            {"code": "share", "to": "partner", "on": "sale", "value": {"percent": 1_000}},
        ],
    })
}

fn hours_ago(hours: i64) -> String {
    jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_hours(hours)).unwrap().to_string()
}

#[test]
fn what_the_address_says() {
    let business = Business::open();
    let own = business.lead("Jane+2@home.example", &json!({}));
    assert_eq!(
        (business.signals(&own), business.states(&own)),
        (vec!["self_mail".to_owned()], vec!["pending".to_owned()])
    );
    let seen = business.referral(&own);
    assert_eq!((&seen["score"], &seen["held"]), (&json!(100), &json!(true)), "{seen:#}");
    assert_eq!(seen["reasons"][0]["words"], "The e-mail address is that of abc123, the partner");
    let clean = business.lead("bo@home.example", &json!({}));
    assert_eq!((business.signals(&clean), business.states(&clean)), (vec![], vec!["due".to_owned()]));
    let of_another = business.lead("jane+3@home.example", &json!({"partner": "other"}));
    assert_eq!(business.signals(&of_another), ["same_mail"], "not the partner's own, but known by the first lead");

    let disposable = business.lead("x@mailinator.com", &json!({}));
    assert_eq!(
        (business.signals(&disposable), business.states(&disposable)),
        (vec!["disposable_mail".to_owned()], vec!["due".to_owned()])
    );
    let kept = business.lead("x@mail.example", &json!({}));
    assert!(business.signals(&kept).is_empty());
    business
        .promise(&json!({"hold_from": 50, "disposable_domains": ["mail.example"], "weights": {"disposable_mail": 50}}));
    business.followed();
    assert_eq!(business.signals(&kept), ["disposable_mail"]);
    assert_eq!(
        (business.states(&kept), business.states(&disposable)),
        (vec!["pending".to_owned()], vec!["pending".to_owned()])
    );
}

/// Who came first is not the one who came again, whatever is told first.
#[test]
fn the_same_person_twice() {
    let business = Business::open();
    let first = business.lead("bo@gmail.com", &json!({"at": hours_ago(5)}));
    let again = business.lead("b.o+x@googlemail.com", &json!({"at": hours_ago(4)}));
    let another = business.lead("boo@gmail.com", &json!({"at": hours_ago(3)}));
    assert_eq!((business.signals(&first), business.signals(&another)), (vec![], vec![]));
    assert_eq!(
        (business.signals(&again), business.states(&again)),
        (vec!["same_mail".to_owned()], vec!["pending".to_owned()])
    );
    let contact = business.referral(&first)["contact"].clone();
    assert_eq!(business.referral(&again)["reasons"][0]["other"], contact);
    let late = business.lead("bo+late@gmail.com", &json!({"at": hours_ago(9)}));
    assert!(business.signals(&late).is_empty(), "it is the first one now");
    assert_eq!(
        (business.signals(&first), business.states(&first)),
        (vec!["same_mail".to_owned()], vec!["pending".to_owned()])
    );
}

#[test]
fn what_the_browser_says() {
    let business = Business::open();
    let ((own_token, own_cookie), (token, cookie)) = (business.click(), business.click());
    // A while after the click, so that only the browser speaks.
    let later = hours_ago(-1);
    business.lead(OWN, &json!({"token": own_token, "cookie": own_cookie, "at": later}));
    let own = business.lead("bo@home.example", &json!({"cookie": own_cookie, "at": later}));
    assert_eq!(business.signals(&own), ["self_visitor"]);
    let another =
        business.lead("eve@home.example", &json!({"token": token, "cookie": cookie, "partner": null, "at": later}));
    assert!(business.signals(&another).is_empty());

    let (token, _) = business.click();
    let fast = business.lead("fast@home.example", &json!({"token": token, "partner": null}));
    assert_eq!(
        (business.signals(&fast), business.states(&fast)),
        (vec!["too_fast".to_owned()], vec!["due".to_owned()]),
        "alone it is too little"
    );
}

/// What was paid with is known later than who somebody is: it reaches those who came before.
#[test]
fn what_the_payment_says() {
    let business = Business::open();
    let customer = business.lead(OWN, &json!({"partner": "other", "at": hours_ago(9)}));
    let own = business.lead("bo@home.example", &json!({"at": hours_ago(8)}));
    let first = business.lead("eve@home.example", &json!({"at": hours_ago(7)}));
    let same = business.lead("eva@home.example", &json!({"at": hours_ago(6)}));
    let clean = business.lead("joe@home.example", &json!({"at": hours_ago(5)}));
    let all = [&customer, &own, &first, &same, &clean];
    for (n, (id, card)) in all.into_iter().zip(["own", "own", "shared", "shared", "other"]).enumerate().rev() {
        let sale = json!({"referral": id, "amount": 100, "currency": "EUR", "invoice_id": format!("in_{n}"), "payment_fingerprint": card});
        business.ok("POST", "/v1/conversions", &sale);
    }
    assert_eq!(business.signals(&own), ["self_payment", "same_payment"]);
    assert_eq!(business.signals(&same), ["same_payment"]);
    for id in [&customer, &first, &clean] {
        assert!(business.signals(id).is_empty());
    }
    assert_eq!(business.states(&same), ["pending", "pending"]);
}

#[test]
fn a_burst_from_one_network_concerns_all_of_it() {
    let business = Business::open();
    let from = |email: &str, ip: &str| business.lead(email, &json!({"ip": ip}));
    let four: Vec<String> = (0..4).map(|n| from(&format!("p{n}@home.example"), &format!("192.0.2.{n}"))).collect();
    let elsewhere = from("q@home.example", "198.51.100.7");
    assert!(four.iter().chain([&elsewhere]).all(|id| business.signals(id).is_empty()));
    let fifth = from("p5@home.example", "::ffff:192.0.2.77");
    for id in four.iter().chain([&fifth]) {
        assert_eq!(business.signals(id), ["burst"], "those before it as well");
    }
    assert!(business.signals(&elsewhere).is_empty());
    let words = business.referral(&fifth)["reasons"][0]["words"].as_str().unwrap().to_owned();
    assert!(words.contains("192.0.2.0/24") && !words.contains("192.0.2.77"), "{words}");
    let wrong = json!({"program": "spring", "email": "a@home.example", "ip": "192.0.2"});
    assert_eq!(business.call("POST", "/v1/leads", &wrong).json()["errors"][0]["field"], "ip");
}

#[test]
fn bots_among_a_partners_clicks() {
    let mut business = Business::open();
    let of_bots = business.lead("bo@home.example", &json!({}));
    let of_another = business.lead("eve@home.example", &json!({"partner": "other"}));
    let bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    let mut client = Client::connect(business.server.edge).unwrap();
    for _ in 0..20 {
        client.send("GET", "/go/haircare/abc123", &[("User-Agent", bot)], b"").unwrap();
        client.get("/go/haircare/other").unwrap();
    }
    // Forty clicks, two leads, and a reward for each of them.
    support::rows(business.folder.path(), 44);
    // It is asked now and then, and when it starts.
    business.server.signal("TERM");
    business.server.child.wait().unwrap();
    business.server = Server::start(business.folder.path(), &Options::default()).unwrap();
    eventually("the partner's clicks", || (business.signals(&of_bots) == ["bot_share"]).then_some(()));
    assert!(business.signals(&of_another).is_empty());
    let next = business.lead("next@home.example", &json!({}));
    assert_eq!(business.signals(&next), ["bot_share"], "a lead knows it at once");
}

#[test]
fn what_is_held_waits_for_a_word_and_a_new_reason_holds_it_again() {
    let business = Business::open();
    let own = business.lead(OWN, &json!({"at": hours_ago(5)}));
    let again = business.lead("jane+x@home.example", &json!({"partner": "other", "at": hours_ago(4)}));
    let sale = json!({"referral": again, "amount": 9_990, "currency": "EUR", "invoice_id": "in_1"});
    business.ok("POST", "/v1/conversions", &sale);
    let list = business.ok("GET", "/v1/review", &Value::Null);
    let ids: Vec<&str> = list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [own.as_str(), again.as_str()], "the most doubtful first: {list:#}");
    assert_eq!(list["items"][1]["stake"], json!([{"amount": 1_499, "currency": "EUR"}]), "{list:#}");
    assert_eq!(list["items"][0]["person"]["email"], OWN);
    let page = business.ok("GET", "/v1/review?limit=1", &Value::Null);
    let next = page["next"].as_str().unwrap();
    let page = business.ok("GET", &format!("/v1/review?limit=1&cursor={next}"), &Value::Null);
    assert_eq!((page["items"][0]["id"].as_str(), &page["next"]), (Some(again.as_str()), &Value::Null));
    for (query, count) in [("signal=self_mail", 1), ("partner=other", 1), ("program=spring", 2), ("partner=nobody", 0)]
    {
        let page = business.ok("GET", &format!("/v1/review?{query}"), &Value::Null);
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}");
    }

    let approved = business.ok("POST", &format!("/v1/review/{again}/approve"), &json!({"note": "a couple"}));
    assert_eq!((&approved["held"], &approved["score"]), (&json!(false), &json!(60)));
    assert_eq!(business.states(&again), ["due", "due"]);
    business.ok(
        "POST",
        "/v1/conversions",
        &json!({"referral": again, "amount": 5, "currency": "EUR", "invoice_id": "in_2"}),
    );
    assert_eq!(business.referral(&again)["held"], false, "a fact that says nothing new changes nothing");
    for n in 0..4 {
        let from = json!({"partner": "other", "ip": "192.0.2.9", "at": hours_ago(4)});
        business.lead(&format!("p{n}@home.example"), &from);
    }
    business.lead("jane+x@home.example", &json!({"partner": "other", "ip": "192.0.2.9", "at": hours_ago(4)}));
    assert_eq!(business.referral(&again)["held"], false, "the lead that counts came from elsewhere");
    business.promise(&json!({"hold_from": 50, "disposable_domains": ["home.example"]}));
    business.followed();
    assert_eq!(business.signals(&again), ["same_mail", "disposable_mail"]);
    assert_eq!(
        (business.referral(&again)["held"].clone(), business.states(&again)),
        (json!(true), vec!["pending".to_owned(); 2])
    );

    business.ok("POST", &format!("/v1/review/{again}/reject"), &json!({"note": "the same person"}));
    assert_eq!(
        (business.referral(&again)["state"].clone(), business.states(&again)),
        (json!("rejected"), vec!["reversed".to_owned(); 2])
    );
    assert_eq!(business.ok("GET", "/v1/review?partner=other&signal=same_mail", &Value::Null)["items"], json!([]));
    let back = business.ok("POST", &format!("/v1/review/{again}/approve"), &json!({}));
    assert_eq!((&back["state"], &back["held"]), (&json!("qualified"), &json!(false)), "{back:#}");
}

#[test]
fn a_dry_run_says_what_switching_on_does() {
    let business = Business::open();
    business.promise(&json!({}));
    let kept = business.lead("bo@home.example", &json!({}));
    let doubtful = business.lead("jane+x@home.example", &json!({}));
    assert_eq!(
        (business.referral(&doubtful)["score"].clone(), business.states(&doubtful)),
        (json!(100), vec!["due".to_owned()]),
        "nobody is held unless the program says so"
    );
    let trial = json!({"program": "spring", "review": {"hold_from": 50}});
    let said = business.ok("POST", "/v1/review/dry-run", &trial);
    assert_eq!(
        (&said["referrals"], &said["changed"], &said["held"], &said["freed"]),
        (&json!(2), &json!(1), &json!(1), &json!(0)),
        "{said:#}"
    );
    assert_eq!(said["by_rule"][0]["wait"], json!({"count": 1, "amount": 500}), "{said:#}");
    assert_eq!(said["samples"][0]["after"]["reasons"][0]["signal"], "self_mail");
    assert_eq!(business.states(&doubtful), ["due"], "it writes nothing");
    std::fs::write(business.folder.path().join("trial.json"), trial.to_string()).unwrap();
    let file = business.folder.path().join("trial.json");
    let printed = run(business.folder.path(), &["review", "dry-run", file.to_str().unwrap(), "--format", "json"]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&printed["held"], &printed["by_rule"]), (&said["held"], &said["by_rule"]));
    let table = run(business.folder.path(), &["review", "dry-run", file.to_str().unwrap()]);
    assert!(table.contains("1 would be held"), "{table}");

    business.promise(&json!({"hold_from": 50}));
    let following = business.followed();
    assert_eq!((&following["total"], &following["done"]), (&json!(1), &json!(1)));
    assert_eq!(
        (business.states(&doubtful), business.states(&kept)),
        (vec!["pending".to_owned()], vec!["due".to_owned()])
    );
    let back = business.ok("POST", "/v1/review/dry-run", &json!({"program": "spring", "review": {}}));
    assert_eq!((&back["held"], &back["freed"]), (&json!(0), &json!(1)));
}

#[test]
fn mistakes_say_what_to_do() {
    let business = Business::open();
    for (query, field) in
        [("signal=luck", "signal"), ("cursor=x", "cursor"), ("program=a%20b", "program"), ("limit=0", "limit")]
    {
        let answer = business.call("GET", &format!("/v1/review?{query}"), &Value::Null);
        assert_eq!((answer.status, answer.json()["errors"][0]["field"].clone()), (400, json!(field)), "{query}");
    }
    for (trial, field) in [
        (json!({}), "program"),
        (json!({"program": "nope"}), "program"),
        (json!({"program": "spring", "review": {"hold_from": 0}}), "review.hold_from"),
        (
            json!({"program": "spring", "rewards": [{"code": "x", "to": "both", "on": "lead", "value": {"percent": 10}}]}),
            "rewards[0].value.percent",
        ),
        (json!({"program": "spring", "since": "yesterday"}), "since"),
        (json!({"program": "spring", "reviews": {}}), "reviews"),
    ] {
        let answer = business.call("POST", "/v1/review/dry-run", &trial);
        assert_eq!((answer.status, answer.json()["errors"][0]["field"].clone()), (422, json!(field)), "{trial}");
    }
    let refused = business.call("PUT", "/v1/programs/spring", &program(&json!({"weights": {"burst": 5_000}})));
    assert_eq!(refused.json()["errors"][0]["field"], "review.weights.burst", "{}", refused.text());
    let nobody = "00000000-0000-0000-0000-000000000000";
    assert_eq!(business.call("POST", &format!("/v1/review/{nobody}/approve"), &json!({})).status, 404);
    assert_eq!(business.call("GET", "/v1/programs/nope/following", &Value::Null).status, 404);
}
