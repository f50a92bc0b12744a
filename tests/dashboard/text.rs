//! What people type comes out as text, on every page.

use serde_json::json;

use crate::{
    Business,
    support::{Operator, operator::encoded},
};

/// From the list of naughty strings (<https://github.com/minimaxir/big-list-of-naughty-strings>): markup, quotes, templates, directions.
const NAUGHTY: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(2)>",
    "' onmouseover='alert(3)",
    "</title></textarea><svg/onload=alert(4)>",
    "{{ 7*7 }}${7*7}<%= 7*7 %>",
    "javascript:alert(5)",
    "&lt;b&gt;&amp;",
    "=cmd|' /C calc'!A0",
    "\u{202e}txt.exe\u{2066}",
    "Ω≈ç√∫˜µ≤≥÷ 田中さん 👩‍👩‍👧‍👦",
    "]]><!--",
];

/// Nothing of it has become markup.
fn is_text(place: &str, page: &str) {
    for markup in ["<script>alert", "<img src=x", "<svg/onload", "' onmouseover='alert", "&lt;b&gt;", "]]><!--"] {
        assert!(!page.contains(markup), "{place}: {markup} became markup");
    }
    assert!(!page.contains("href=\"javascript:"), "{place}");
    assert!(!page.contains("49${"), "{place}: a template was run");
}

#[test]
fn what_people_type_is_never_markup() {
    let business = Business::open();
    let operator = Operator::new(&business.server);
    for (n, text) in NAUGHTY.iter().enumerate() {
        business.ok("PUT", &format!("/v1/programs/n{n}"), &json!({"name": text}));
        business.ok("PUT", &format!("/v1/links/n{n}"), &json!({"name": text, "address": "https://shop.example/"}));
        business.ok("PUT", &format!("/v1/partners/n{n}"), &json!({"name": text, "first_name": text}));
        let ad = json!({"name": text, "description": text, "media_type": text});
        business.ok("PUT", &format!("/v1/partners/n{n}/ads/ad"), &ad);
        let lead = json!({"program": "spring", "email": format!("n{n}@home.example"), "first_name": text, "partner": "abc123"});
        let referral = business.ok("POST", "/v1/leads", &lead)["referral"]["id"].as_str().unwrap().to_owned();
        let sale = json!({"email": format!("n{n}@home.example"), "event": "sale", "amount": 100, "currency": "EUR"});
        business.ok("POST", "/v1/conversions", &sale);
        let reward = business.rewards("due").first().unwrap()["id"].as_str().unwrap().to_owned();
        let issue = [("reward", reward.as_str()), ("reference", *text)];
        assert_eq!(operator.submit("/dashboard/rewards/issue", &issue).status, 303, "{text}");
        let page = operator.page(&format!("/dashboard/referrals/{referral}"));
        is_text(text, &page);
        for kind in ["programs", "links", "partners"] {
            is_text(text, &operator.page(&format!("/dashboard/{kind}/n{n}")));
        }
        is_text(text, &operator.page(&format!("/dashboard/ads/n{n}/ad")));
        // Typed into every search, and into forms that refuse it.
        let query = encoded(&[
            ("search", *text),
            ("program", *text),
            ("partner", *text),
            ("tz", *text),
            ("who", *text),
            ("state", *text),
        ]);
        for place in ["", "/programs", "/partners", "/referrals", "/review", "/rewards", "/audit"] {
            is_text(place, &operator.get(&format!("/dashboard{place}?{query}")).text());
        }
        let fields = [("code", *text), ("name", *text), ("address", *text), ("rules", *text), ("description", *text)];
        for kind in ["programs", "links", "partners", "ads", "share-links", "webhooks"] {
            let answer = operator.submit(&format!("/dashboard/add/{kind}"), &fields);
            assert_eq!(answer.status, 422, "{kind} {text}");
            is_text(kind, &answer.text());
        }
        is_text("design", &operator.submit("/dashboard/design/spring", &[("design", *text)]).text());
        let file = operator.upload(
            "/dashboard/add/uploads",
            &[("kind", "leads")],
            (text.split('"').next().unwrap(), text.as_bytes()),
        );
        is_text("upload", &file.text());
        is_text("login", &operator.get(&format!("/dashboard/login?{}", encoded(&[("to", *text)]))).text());
    }
    for place in [
        "",
        "/programs",
        "/links",
        "/partners",
        "/ads",
        "/share-links",
        "/referrals",
        "/rewards?state=issued",
        "/audit",
    ] {
        is_text(place, &operator.page(&format!("/dashboard{place}")));
    }
    let partners = operator.page("/dashboard/partners");
    assert!(
        partners.contains("&#60;script&#62;alert(1)&#60;/script&#62;") && partners.contains("田中さん"),
        "{partners}"
    );
    let csv = operator.page("/dashboard/export/partners?search=n7");
    assert!(csv.contains("'=cmd|") && !csv.contains(",=cmd"), "{csv}");
}
