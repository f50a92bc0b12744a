//! The whole way of one referral, as its parts see it: a browser that clicks and fills in a form, the business's Stripe, an API
//! client, and an HTTP server that gets webhooks. Forty days and two weeks pass by an injected clock.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

#[path = "webhooks/receiver.rs"]
#[allow(dead_code, reason = "each test uses its part")]
mod receiver;
#[path = "support/stripe.rs"]
mod stripe;
mod support;

use std::{net::SocketAddr, path::Path, thread::JoinHandle};

use fingerpost::{
    app::{self, Start},
    config,
    core::time::DAY_MS,
    io::clock::Clock,
};
use receiver::{Received, Receiver};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use support::{Client, Response, api, client, eventually};
use tokio_util::sync::CancellationToken;

const SHOP: &str = "https://shop.example";
const SECRET: &str = "whsec_0123456789abcdef";

/// A server in this process, by our clock.
struct World {
    folder: tempfile::TempDir,
    clock: Clock,
    stop: CancellationToken,
    server: JoinHandle<anyhow::Result<()>>,
    edge: SocketAddr,
    control: SocketAddr,
}

fn addresses(data: &Path) -> Option<(SocketAddr, SocketAddr)> {
    let text = std::fs::read_to_string(data.join("addresses.json")).ok()?;
    let addresses: Value = serde_json::from_str(&text).ok()?;
    let address = |value: &Value| value.as_str().unwrap().parse().unwrap();
    Some((address(&addresses["edge"][0]), address(&addresses["control"])))
}

impl World {
    fn start() -> World {
        let folder = tempfile::tempdir().unwrap();
        let settings = [
            ("EDGE__LISTEN", "127.0.0.1:0"),
            ("CONTROL__LISTEN", "127.0.0.1:0"),
            ("OPS__LISTEN", "127.0.0.1:0"),
            ("LOG__LEVEL", "warn"),
            ("WEBHOOKS__ALLOW_HOSTS", "127.0.0.1"),
            ("WEBHOOKS__POLL_INTERVAL", "20ms"),
        ];
        let settings = settings.map(|(key, value)| (format!("FINGERPOST__{key}"), value.to_owned()));
        let config = config::load(None, settings, Some(folder.path())).unwrap();
        let (clock, stop) = (Clock::shifted(), CancellationToken::new());
        let start = Start { demo: true, clock: clock.clone(), stop: stop.clone() };
        let server = std::thread::spawn(move || app::serve(config, &start));
        let (edge, control) = eventually("a server", || {
            assert!(!server.is_finished(), "the server has ended");
            addresses(folder.path())
        });
        World { folder, clock, stop, server, edge, control }
    }

    fn days_pass(&self, days: i64) {
        self.clock.advance(days * DAY_MS);
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Response {
        let token = std::fs::read_to_string(self.folder.path().join("admin-token")).unwrap();
        api(self.control, token.trim(), method, path, body)
    }

    fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.call(method, path, body);
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    fn get(&self, path: &str) -> Value {
        self.ok("GET", path, &Value::Null)
    }

    /// Stripe tells of something, signed at this moment.
    fn stripe(&self, event: &Value) -> Value {
        let (body, seconds) = (event.to_string().into_bytes(), self.clock.now().0 / 1_000);
        let tag = stripe::hex(SECRET, &[seconds.to_string().as_bytes(), b".", &body].concat());
        let signature = format!("t={seconds},v1={tag}");
        let mut client = Client::connect(self.edge).unwrap();
        let answer = client.send("POST", "/v1/inbound/stripe", &[("Stripe-Signature", &signature)], &body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["events"][0]["result"].clone()
    }

    /// `rule side state` of each reward.
    fn rewards(&self) -> Vec<String> {
        let items = self.get("/v1/rewards?limit=100")["items"].as_array().unwrap().clone();
        let text = |reward: &Value, field: &str| reward[field].as_str().unwrap().to_owned();
        let line =
            |reward: &Value| format!("{} {} {}", text(reward, "rule"), text(reward, "side"), text(reward, "state"));
        let mut rewards: Vec<String> = items.iter().map(line).collect();
        rewards.sort();
        rewards
    }

    /// The funnel's counts, in the order of its steps.
    fn funnel(&self) -> Vec<i64> {
        let rows = self.get("/v1/reports/funnel?program=spring&partner=abc123&visitors=true");
        rows.as_array().unwrap().iter().map(|row| row["count"].as_i64().unwrap_or(-1)).collect()
    }

    /// Waits until the funnel says so: events are on their way for a moment.
    fn funnel_becomes(&self, counts: [i64; 7]) {
        let deadline = std::time::Instant::now() + support::PATIENCE;
        while self.funnel() != counts {
            assert!(std::time::Instant::now() < deadline, "the funnel is {:?}, not {counts:?}", self.funnel());
            std::thread::yield_now();
        }
    }

    fn end(self) {
        self.stop.cancel();
        self.server.join().unwrap().unwrap();
    }
}

/// A browser: it keeps the cookie, and knows the page that it was sent to.
struct Browser {
    cookie: String,
    landing: url::Url,
}

impl Browser {
    fn click(world: &World, path: &str) -> Browser {
        let answer = Client::connect(world.edge).unwrap().get(path).unwrap();
        assert_eq!(answer.status, 302);
        let landing = url::Url::parse(answer.header("location").unwrap()).unwrap();
        Browser { cookie: answer.cookie().expect("a cookie").to_owned(), landing }
    }

    /// What `fp.js` keeps of the landing page's address.
    fn token(&self) -> String {
        self.landing.query_pairs().find(|(name, _)| name == "fpc").unwrap().1.into_owned()
    }

    /// What `fp.js` sends.
    fn beacon(&self, world: &World, body: &Value) -> Response {
        let headers = [
            ("User-Agent", client::BROWSER),
            ("Origin", SHOP),
            ("Cookie", self.cookie.as_str()),
            ("Content-Type", "text/plain;charset=UTF-8"),
        ];
        let body = body.to_string().into_bytes();
        Client::connect(world.edge).unwrap().send("POST", "/e", &headers, &body).unwrap()
    }
}

/// The webhooks of one kind, verified. They bear our clock's time, which the library cannot know.
fn told<'a>(received: &'a [Received], secret: &str, kind: &str) -> Vec<&'a Received> {
    let of_kind: Vec<&Received> = received.iter().filter(|one| one.json()["type"] == kind).collect();
    let webhook = Webhook::new(secret).unwrap();
    let is_signed = |one: &&Received| {
        let timestamp = one.header("webhook-timestamp").parse().unwrap();
        webhook.sign(&one.id(), timestamp, &one.body).unwrap() == one.header("webhook-signature")
    };
    assert!(of_kind.iter().all(is_signed), "{kind}: a wrong signature");
    of_kind
}

#[test]
fn from_click_to_reward_and_back() {
    let (world, receiver) = (World::start(), Receiver::start());
    let program = json!({
        "origins": [SHOP], "window_days": 30,
        "qualification": {"on": "event", "event": "sale"},
        "rewards": [{"code": "welcome", "to": "both", "on": "qualification", "hold_days": 14,
                     "value": {"fixed": {"amount": 500, "currency": "EUR"}}}],
    });
    world.ok("PUT", "/v1/programs/spring", &program);
    world.ok("PUT", "/v1/inbound/stripe", &json!({"kind": "stripe", "secrets": [SECRET]}));
    let hook = world.ok("POST", "/v1/webhooks", &json!({"address": receiver.url("/hook")}));
    let secret = hook["secret"].as_str().unwrap();
    let hears = |kind: &str, times: usize| {
        receiver.wait(kind, |received| told(received, secret, kind).len() >= times);
    };

    // A click, and the landing page.
    let browser = Browser::click(&world, "/go/haircare/abc123/website2");
    assert_eq!(browser.landing.host_str(), Some("shop.example"));
    let view = json!({"kind": "view", "token": browser.token()});
    assert!(browser.beacon(&world, &view).status < 300);
    world.funnel_becomes([1, 1, 1, 1, 0, 0, 0]);

    // The form on it.
    let form = json!({"kind": "lead", "program": "spring", "email": "Ann@Home.example", "first_name": "Ann",
                      "token": browser.token()});
    assert_eq!(browser.beacon(&world, &form).status, 202);
    let referrals = world.get("/v1/referrals?program=spring");
    let referral = &referrals["items"][0];
    assert_eq!((&referral["partner"], &referral["state"]), (&json!("abc123"), &json!("pending")), "{referrals:#}");
    let id = referral["id"].as_str().unwrap();
    world.funnel_becomes([1, 1, 1, 1, 1, 0, 0]);
    hears("referral.created", 1);

    // Forty days later they pay.
    world.days_pass(40);
    let invoice = json!({"id": "in_1", "object": "invoice", "amount_paid": 9_990, "currency": "eur",
                         "customer": "cus_1", "customer_email": "ann@home.example"});
    let paid = json!({"id": "evt_1", "object": "event", "type": "invoice.paid",
                      "created": world.clock.now().0 / 1_000, "data": {"object": invoice}});
    assert_eq!(world.stripe(&paid), "applied");
    assert_eq!(world.stripe(&paid), "again", "Stripe repeats itself");
    assert_eq!(world.get(&format!("/v1/referrals/{id}"))["state"], "qualified");
    assert_eq!(world.rewards(), ["welcome invited held", "welcome partner held"]);
    // Whoever has a reward held is rewarded, too.
    world.funnel_becomes([1, 1, 1, 1, 1, 1, 1]);
    hears("referral.qualified", 1);
    hears("reward.held", 2);

    // Held for two weeks: not a day less.
    world.days_pass(13);
    assert_eq!(world.rewards(), ["welcome invited held", "welcome partner held"]);
    world.days_pass(1);
    eventually("due rewards", || (world.rewards() == ["welcome invited due", "welcome partner due"]).then_some(()));
    hears("reward.due", 2);

    // Paid out.
    let due = world.get("/v1/rewards?state=due");
    let ids: Vec<&Value> = due["items"].as_array().unwrap().iter().map(|reward| &reward["id"]).collect();
    world.ok("POST", "/v1/rewards/issue", &json!({"rewards": ids, "reference": "transfer 7"}));
    assert_eq!(world.rewards(), ["welcome invited issued", "welcome partner issued"]);
    world.funnel_becomes([1, 1, 1, 1, 1, 1, 1]);
    hears("reward.issued", 2);
    let money = world.get("/v1/reports/money?program=spring");
    assert_eq!((&money[0]["revenue"], &money[0]["currency"]), (&json!(9_990), &json!("EUR")), "{money:#}");

    // And paid back: both sides are reversed together.
    let charge = json!({"id": "ch_1", "object": "charge", "invoice": "in_1", "amount": 9_990,
                        "amount_refunded": 9_990, "currency": "eur", "refunded": true});
    let refund = json!({"id": "evt_2", "object": "event", "type": "charge.refunded",
                        "created": world.clock.now().0 / 1_000, "data": {"object": charge}});
    assert_eq!(world.stripe(&refund), "applied");
    assert_eq!(world.rewards(), ["welcome invited reversed", "welcome partner reversed"]);
    hears("refund.created", 1);
    hears("reward.reversed", 2);
    let received = receiver.received();
    for (kind, times) in [
        ("referral.created", 1),
        ("referral.qualified", 1),
        ("reward.held", 2),
        ("reward.due", 2),
        ("reward.issued", 2),
        ("reward.reversed", 2),
        ("refund.created", 1),
    ] {
        assert_eq!(told(&received, secret, kind).len(), times, "{kind}: each once");
    }
    // They did qualify; nobody is owed anything for it.
    world.funnel_becomes([1, 1, 1, 1, 1, 1, 0]);

    // Who brought whom, in words.
    let explained = world.get(&format!("/v1/referrals/{id}/attribution"));
    let words: Vec<&str> = explained["words"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(words[0].starts_with("abc123 is credited: the program credits the"), "{words:#?}");
    assert!(words[1].starts_with("A click for abc123 on the link haircare on"), "{words:#?}");
    assert!(words[1].ends_with("(by the click token): it is credited."), "{words:#?}");
    world.end();
}
