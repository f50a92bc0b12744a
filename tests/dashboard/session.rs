//! Who gets in, and what a form needs.

use serde_json::{Value, json};

use crate::{
    Business,
    support::{Operator, operator::encoded},
};

const PAGES: &[&str] = &[
    "/dashboard",
    "/dashboard/live",
    "/dashboard/report/funnel",
    "/dashboard/programs",
    "/dashboard/programs/spring",
    "/dashboard/add/programs",
    "/dashboard/delete/programs/spring",
    "/dashboard/export/programs",
    "/dashboard/design/spring",
    "/dashboard/design/spring/preview/stats",
    "/dashboard/links",
    "/dashboard/partners",
    "/dashboard/ads",
    "/dashboard/share-links",
    "/dashboard/referrals",
    "/dashboard/export/referrals",
    "/dashboard/review",
    "/dashboard/rewards",
    "/dashboard/export/rewards",
    "/dashboard/uploads",
    "/dashboard/webhooks",
    "/dashboard/add/webhooks",
    "/dashboard/audit",
    "/dashboard/export/audit",
];

/// Every form, with fields that would do something.
const FORMS: &[(&str, &[(&str, &str)])] = &[
    ("/dashboard/leave", &[("everywhere", "1")]),
    ("/dashboard/add/programs", &[("code", "stolen")]),
    ("/dashboard/programs/spring", &[("name", "Stolen")]),
    ("/dashboard/delete/links/haircare", &[("along", "1")]),
    ("/dashboard/design/spring", &[("design", "{\"join\": \"open\"}")]),
    ("/dashboard/design/spring/reset", &[]),
    ("/dashboard/design/spring/remove", &[("name", "logo.png")]),
    ("/dashboard/rewards/confirm", &[]),
    ("/dashboard/rewards/issue", &[("reference", "x")]),
    ("/dashboard/review", &[("verdict", "approve")]),
    ("/dashboard/add/webhooks", &[("address", "https://hooks.example/")]),
    ("/dashboard/add/uploads", &[("kind", "leads")]),
];

/// A page without what is new each time.
fn lasting(page: &str) -> String {
    let mut parts = page.split("nonce=\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('"').map_or("", |(_, rest)| rest))
}

#[test]
fn nothing_answers_without_a_session_and_wrong_tokens_are_answered_alike() {
    let business = Business::open();
    let nobody = Operator::nobody(&business.server);
    assert_eq!(nobody.get("/").header("location"), Some("/dashboard"));
    for page in PAGES {
        let answer = nobody.get(page);
        assert_eq!(answer.status, 303, "GET {page}");
        assert!(answer.header("location").unwrap().starts_with("/dashboard/login"), "GET {page}");
        assert!(answer.body.is_empty(), "GET {page} tells something");
    }
    for (form, fields) in FORMS {
        let answer = nobody.post(form, fields);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/dashboard/login")), "POST {form}");
    }
    let long = "x".repeat(10_000);
    let token = business.server.token();
    let almost = token.replace('_', "-");
    let answers = ["", "fp_wrong", long.as_str(), almost.as_str(), &token[1..]];
    let answers = answers.map(|token| {
        let answer = nobody.post("/dashboard/login", &[("admin_token", token)]);
        assert_eq!((answer.status, answer.cookie()), (422, None), "{token}");
        lasting(&answer.text())
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]) && answers[0].contains("not the admin token"));
    // Somebody who makes up a session has none.
    let forged = Operator { cookie: format!("__Host-fpa={}", "A".repeat(43)), ..Operator::nobody(&business.server) };
    assert_eq!(forged.get("/dashboard").status, 303);

    let operator = Operator::new(&business.server);
    for page in PAGES {
        let answer = operator.get(page);
        assert_eq!(answer.status, 200, "GET {page}: {}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"), "GET {page}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "GET {page}");
        assert!(answer.body.len() < 48 * 1024, "GET {page} has {} bytes", answer.body.len());
    }
    assert_eq!(operator.get("/dashboard/nothing/here").status, 404);
    assert_eq!(operator.get("/dashboard/programs/nobody").status, 404);
    // The API beside it is what it was.
    assert_eq!(
        business.call("GET", "/v1/nothing", &Value::Null).header("content-type"),
        Some("application/problem+json")
    );
}

#[test]
fn the_way_in_leads_on_and_the_way_out_can_be_for_all_browsers() {
    let business = Business::open();
    let nobody = Operator::nobody(&business.server);
    let asked = nobody.get("/dashboard/rewards?state=held");
    let way = asked.header("location").unwrap().to_owned();
    assert_eq!(way, "/dashboard/login?to=%2Fdashboard%2Frewards%3Fstate%3Dheld");
    let page = nobody.page(&way);
    let to = crate::support::operator::hidden(&page, "to").unwrap();
    let token = business.server.token();
    let entered = nobody.post("/dashboard/login", &[("admin_token", &token), ("to", &to)]);
    assert_eq!((entered.status, entered.header("location")), (303, Some("/dashboard/rewards?state=held")));
    let cookie = entered.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-fpa=") && cookie.contains("; Secure; HttpOnly; SameSite=Lax"), "{cookie}");

    let (one, other, third) =
        (Operator::new(&business.server), Operator::new(&business.server), Operator::new(&business.server));
    assert_eq!(one.submit("/dashboard/leave", &[]).header("location"), Some("/dashboard/login?left"));
    assert_eq!((one.get("/dashboard").status, other.get("/dashboard").status), (303, 200));
    assert_eq!(other.submit("/dashboard/leave", &[("everywhere", "1")]).status, 303);
    assert_eq!((other.get("/dashboard").status, third.get("/dashboard").status), (303, 303));
    // A session belongs to the browser that opened it.
    let fourth = Operator::new(&business.server);
    let host = format!("localhost:{}", business.server.control.port());
    let thief = [("Host", host.as_str()), ("User-Agent", "another"), ("Cookie", fourth.cookie.as_str())];
    let mut client = crate::support::Client::connect(business.server.control).unwrap();
    assert_eq!(client.send("GET", "/dashboard", &thief, b"").unwrap().status, 303);
}

#[test]
fn a_form_needs_the_sessions_token_and_no_other_site_sends_one() {
    let business = Business::open();
    let operator = Operator::new(&business.server);
    let before = business.ok("GET", "/v1/audit", &Value::Null);
    for (form, fields) in FORMS {
        assert_eq!(operator.post(form, fields).status, 403, "POST {form} without a token");
        let wrong = [*fields, &[("token", "AAAAAAAAAAAAAAAAAAAAAA")][..]].concat();
        assert_eq!(operator.post(form, &wrong).status, 403, "POST {form} with another token");
        let all = [*fields, &[("token", operator.token.as_str())][..]].concat();
        let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "cross-site")];
        let answer = operator.send("POST", form, &headers, encoded(&all).as_bytes());
        assert_eq!(answer.status, 403, "POST {form} from another site");
    }
    let other =
        Operator { token: "x".to_owned(), cookie: operator.cookie.clone(), ..Operator::nobody(&business.server) };
    let file = ("logo.png", &b"\x89PNG\r\n\x1a\n"[..]);
    assert_eq!(other.upload("/dashboard/design/spring/files", &[], file).status, 403);
    assert_eq!(business.ok("GET", "/v1/audit", &Value::Null), before, "nothing has changed");
    // With the token it does, in the dashboard's name.
    assert_eq!(operator.submit("/dashboard/add/programs", &[("code", "autumn")]).status, 303);
    let row = &business.ok("GET", "/v1/audit?limit=1", &Value::Null)["items"][0];
    assert_eq!(
        (&row["who"], &row["action"], &row["code"]),
        (&json!("dashboard:admin"), &json!("create"), &json!("autumn"))
    );
    assert!(operator.page("/dashboard/audit?who=dashboard:admin").contains("autumn"));
}

#[test]
fn too_many_tries_have_to_wait() {
    let business = Business::open();
    let nobody = Operator::nobody(&business.server);
    let waits = (0..60).find_map(|_| {
        let answer = nobody.post("/dashboard/login", &[("admin_token", "fp_wrong")]);
        (answer.status == 429).then(|| answer.header("retry-after").unwrap().to_owned())
    });
    assert!(waits.unwrap().parse::<u64>().unwrap() > 0);
}
