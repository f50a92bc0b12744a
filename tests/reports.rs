//! From click to reward in figures, through the real binary: each report over HTTP, the same on the command line, and what it
//! says after a refund.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::{Client, Options, Server, api, eventually, fails, run};

struct Shop {
    folder: tempfile::TempDir,
    server: Server,
}

impl Shop {
    fn open() -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
        let shop = Shop { folder, server };
        shop.ok(
            "PUT",
            "/v1/programs/spring",
            &json!({
                "qualification": {"on": "event", "event": "sale"},
                "rewards": [{"code": "share", "to": "partner", "on": "sale", "value": {"percent": 1_000}}],
            }),
        );
        shop
    }

    fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = api(self.server.control, &self.server.token(), method, path, body);
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    fn report(&self, question: &str) -> Vec<Value> {
        self.ok("GET", &format!("/v1/reports/{question}"), &Value::Null).as_array().unwrap().clone()
    }

    /// A click; the token that the landing page is given.
    fn click(&self) -> String {
        let answer = Client::connect(self.server.edge).unwrap().get("/go/haircare/abc123/website2").unwrap();
        let location = url::Url::parse(answer.header("location").unwrap()).unwrap();
        location.query_pairs().find(|(name, _)| name == "fpc").unwrap().1.into_owned()
    }

    fn lead(&self, name: &str) {
        let email = format!("{name}@home.example");
        self.ok("POST", "/v1/leads", &json!({"program": "spring", "email": email, "token": self.click()}));
    }

    fn sale(&self, name: &str, amount: u32, currency: &str) {
        let (email, invoice) = (format!("{name}@home.example"), format!("in-{name}-{currency}"));
        let sale = json!({"email": email, "amount": amount, "currency": currency, "invoice_id": invoice});
        self.ok("POST", "/v1/conversions", &sale);
    }
}

/// The values of a column.
fn column(rows: &[Value], name: &str) -> Vec<Value> {
    rows.iter().map(|row| row[name].clone()).collect()
}

#[test]
fn every_report_tells_the_same_story() {
    let shop = Shop::open();
    for name in ["ann", "bob", "eve", "joe"] {
        shop.lead(name);
    }
    shop.sale("ann", 10_000, "EUR");
    shop.sale("ann", 5_000, "USD");
    shop.sale("bob", 2_000, "EUR");
    let funnel = eventually("four clicks in the reports", || {
        let funnel = shop.report("funnel?program=spring&visitors=true");
        (funnel[2]["count"] == 4).then_some(funnel)
    });
    assert_eq!(column(&funnel, "step"), ["joined", "shared", "clicks", "visitors", "leads", "qualified", "rewarded"]);
    assert_eq!(column(&funnel, "count")[1..], [1, 4, 4, 4, 2, 2].map(Value::from));
    assert_eq!(column(&funnel, "rate")[3..], [1.0, 1.0, 0.5, 1.0].map(Value::from));

    let money = shop.report("money");
    assert_eq!(column(&money, "currency"), ["EUR", "USD"], "currencies are never added up");
    assert_eq!(column(&money, "revenue"), [12_000, 5_000].map(Value::from));
    // The first sale of each person earns.
    assert_eq!(column(&money, "cost"), [1_200, 0].map(Value::from));
    assert_eq!(
        (&money[0]["cost_per_qualified"], &money[0]["roi"], &money[1]["roi"]),
        (&json!(600), &json!(9.0), &Value::Null)
    );

    shop.ok("POST", "/v1/refunds", &json!({"invoice_id": "in-bob-EUR"}));
    let money = shop.report("money?tz=Asia/Kathmandu&since=2020-01-01");
    assert_eq!(
        (&money[0]["refunded"], &money[0]["revenue"], &money[0]["cost"]),
        (&json!(2_000), &json!(10_000), &json!(1_000))
    );
    let top = shop.report("top-partners?limit=1");
    assert_eq!((&top[0]["partner"], &top[0]["clicks"], &top[0]["leads"]), (&json!("abc123"), &json!(4), &json!(4)));
    assert_eq!(column(&shop.report("top-ads"), "ad")[0], "website2");
    let rule = &shop.report("motivators")[0];
    assert_eq!((&rule["rule"], &rule["people"], &rule["cost"]), (&json!("share"), &json!(1), &json!(1_000)));
    let models = shop.report("models");
    assert_eq!((&models[0]["first_touch_leads"], &models[0]["last_touch_leads"]), (&json!(4), &json!(4)));
    let waits = shop.report("time-to-convert");
    assert!(
        waits.iter().any(|row| row["way"] == "click_to_lead" && row["row"] == "p50" && row["people"] == 4),
        "{waits:?}"
    );
    let cohorts = shop.report("cohorts?tz=America/New_York");
    assert_eq!((&cohorts[0]["people"], &cohorts[0]["months_after"]), (&json!(4), &json!(0)));
    let participation = shop.report("participation?customers=200");
    assert_eq!(participation[0]["participation_rate"], json!(0.005));
    assert_eq!(shop.report("money?until=2020-01-01"), Vec::<Value>::new());

    let shown = run(shop.folder.path(), &["report", "money", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&shown).unwrap(), shop.report("money"));
    let table = run(shop.folder.path(), &["report", "funnel"]);
    assert!(table.contains("biggest drop") && table.contains('█'), "{table}");
    assert!(fails(shop.folder.path(), &["report", "funel"]).contains("top-partners, top-links"));
    let unknown = api(shop.server.control, &shop.server.token(), "GET", "/v1/reports/funel", &Value::Null);
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("choose from reach, links, funnel"), "{}", unknown.text());
    assert!(shop.server.stop().success());
}
