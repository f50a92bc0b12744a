//! What a program makes of its tracking page, over HTTP: its own words with their values, its frames also where something goes wrong, a
//! page without a code, and what a program or a link that is over still shows.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use serde_json::json;
use support::{
    Options, api, eventually,
    people::{Browser, Site},
};

/// The link that a tracking page gives; none: it gives no link.
fn link(browser: &mut Browser, at: &str) -> Option<String> {
    let page = browser.get(at).text();
    let (_, behind) = page.split_once("<input id=\"link\"")?;
    behind.split("value=\"").nth(1)?.split('"').next().map(str::to_owned)
}

#[test]
fn a_programs_own_words_say_what_is_known() {
    let site = Site::start(Options::default().demo());
    let text = |text: &str| json!({"kind": "text", "text": text});
    let words = json!({
        "title": "Welcome to {program}", "button": "See {program}", "footer": "{program} & friends",
        "greeting": "Hi {first_name}, {referrals} so far", "share_intro": "{partner} shares {program}",
        "referrals_label": "Friends of {program} ({referrals})", "join_title": "Come to {program}",
    });
    site.put(
        "/v1/programs/spring/page",
        json!({
            "login_code": false, "join": "open", "texts": {"en": words},
            "blocks": {
                "email": {"before": [text("Only in {program}.")], "after": []},
                "stats": {"before": [text("Dear {first_name}, thanks!"), text("{referrals} of {program}")], "after": [
                    {"kind": "button", "text": "More for {partner}", "address": "https://shop.example/{partner}"}]},
            },
        }),
    );
    let all = |page: &str, said: &[&str]| {
        for said in said {
            assert!(page.contains(said), "{said}: {page}");
        }
        assert!(!page.contains("{first_name}") && !page.contains("{program}"), "{page}");
    };
    let mut browser = site.browser();
    all(
        &browser.get("/r/spring").text(),
        &["<h1>Welcome to Spring</h1>", ">See Spring</button>", "Spring &#38; friends", "<p>Only in Spring.</p>"],
    );
    // Whose numbers they are is not said to whoever has typed an address.
    let numbers = browser.post("/r/spring", &[("email", "jane@example.com")]).text();
    all(&numbers, &["<h1>Welcome to Spring</h1>", "Friends of Spring (0)", "<p>0 of Spring</p>"]);
    assert!(!numbers.contains("Dear") && !numbers.contains("Jane") && !numbers.contains("abc123"), "{numbers}");
    assert_eq!(browser.post("/r/spring", &[("email", "jane@example.com"), ("code", "1")]).status, 303);
    let code = site.code("jane@example.com", 0);
    assert_eq!(browser.post("/r/spring/code", &[("code", &code)]).status, 303);
    all(
        &browser.get("/r/spring").text(),
        &[
            "<h1>Hi Jane, 0 so far</h1>",
            "abc123 shares Spring",
            "<p>Dear Jane, thanks!</p>",
            "More for abc123",
            "href=\"https://shop.example/{partner}\"",
        ],
    );
    // Where a value cannot be known, it is refused.
    let wrong = json!({"texts": {"en": {"title": "Welcome, {first_name}"}}, "blocks": {"code": {"after": [text("{referrals}")]}}});
    let answer = api(site.server.control, &site.server.token(), "PUT", "/v1/programs/spring/page", &wrong);
    assert_eq!(answer.status, 422);
    let errors = answer.json()["errors"].clone();
    assert_eq!(
        (&errors[0]["field"], &errors[1]["field"]),
        (&json!("texts.en.title"), &json!("blocks.code.after[0].text"))
    );
}

#[test]
fn without_a_code_a_page_shows_numbers_and_mails_one_to_whoever_wants_more() {
    let site = Site::start(Options::default().demo());
    site.put("/v1/programs/spring/page", json!({"login_code": false, "join": "open"}));
    let mut bo = site.browser();
    let page = bo.post("/r/spring", &[("email", "bo@home.example")]);
    assert!(page.status == 200 && link(&mut bo, "/r/spring").is_none());
    let page = page.text();
    assert!(page.contains("<button name=\"code\" value=\"1\">Mail me a code</button>"), "{page}");
    assert!(page.contains("<input type=\"hidden\" name=\"email\" value=\"bo@home.example\">"), "{page}");
    assert!(page.contains("or the way to join"), "{page}");
    let asked = bo.post("/r/spring", &[("email", "bo@home.example"), ("code", "1")]);
    assert_eq!((asked.status, asked.header("location")), (303, Some("/r/spring/code")));
    let code = site.code("bo@home.example", 0);
    assert_eq!(bo.post("/r/spring/code", &[("code", &code)]).header("location"), Some("/r/spring"));
    let token = bo.token("/r/spring");
    assert_eq!(bo.post("/r/spring/join", &[("token", &token), ("first_name", "Bo")]).status, 303);
    assert!(link(&mut bo, "/r/spring").is_some());
}

#[test]
fn an_older_code_stays_good_beside_a_newer_one() {
    let site = Site::start(Options::default().demo());
    let mut jane = site.browser();
    assert_eq!(jane.post("/r/spring", &[("email", "jane@example.com")]).status, 303);
    let first = site.code("jane@example.com", 0);
    assert_eq!(jane.post("/r/spring/code/new", &[]).header("location"), Some("/r/spring/code?sent"));
    // Of two mails of one moment either may be the second by name: that there are two is what is waited for.
    site.code("jane@example.com", 1);
    let page = jane.get("/r/spring/code?sent").text();
    assert!(page.contains("The older one is still good") && page.contains("At most 5 codes an hour"), "{page}");
    assert_eq!(jane.post("/r/spring/code", &[("code", &first)]).header("location"), Some("/r/spring"));
    assert!(jane.get("/r/spring").text().contains("Hello Jane!"));
}

#[test]
fn what_goes_wrong_in_a_frame_is_told_in_it() {
    let site = Site::start(Options::default().demo());
    site.put(
        "/v1/programs/spring/page",
        json!({"embed": ["https://shop.example"], "language": "de", "colours": {"accent": "#7a1f5c"}}),
    );
    let mut browser = site.browser();
    for (path, status) in [("/r/spring/nothing", 404), ("/r/spring/files/none.png", 404)] {
        let answer = browser.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            answer.status == status && policy.ends_with("frame-ancestors https://shop.example"),
            "{path}: {policy}"
        );
        let page = answer.text();
        assert!(page.contains("<html lang=\"de\">") && page.contains("--accent:#7a1f5c"), "{page}");
        assert!(page.contains("<a href=\"/r/spring\">Zurück zur Seite</a>"), "{page}");
    }
    for path in ["/r/nothing", "/partner/nothing"] {
        let policy = browser.get(path).header("content-security-policy").unwrap().to_owned();
        assert!(policy.ends_with("frame-ancestors 'none'"), "{path}: {policy}");
    }
    let page = browser.get("/r/spring").text();
    assert!(page.contains("color-scheme:light;"), "what was chosen on light is not put on dark: {page}");
}

#[test]
fn links_and_programs_that_are_over_are_not_offered() {
    let site = Site::start(Options::default().demo());
    let mut jane = site.browser();
    jane.log_in(&site, "/r/spring", "jane@example.com");
    let first = link(&mut jane, "/r/spring").unwrap();
    let page = jane.get("/r/spring").text();
    assert!(page.contains("<a href=\"/partner/of/abc123\">To the partner center</a>"), "{page}");
    let over = json!({"name": "Old", "address": "https://shop.example/old", "programs": ["spring"], "expires_at": "2020-01-01T00:00:00Z"});
    site.put("/v1/links/aa-old", over);
    let full = json!({"name": "Full", "address": "https://shop.example/full", "programs": ["spring"], "max_clicks": 1});
    site.put("/v1/links/aa-full", full);
    // What is not there yet is not recorded.
    eventually("the link", || (jane.client.get("/go/aa-full/abc123").unwrap().status == 302).then_some(()));
    support::rows(&site.server.data, 1);
    assert_eq!(link(&mut jane, "/r/spring").as_ref(), Some(&first));
    for path in ["/partner/of/abc123", "/partner/of/abc123/generator"] {
        let page = jane.get(path).text();
        assert!(page.contains("Hair care") && !page.contains("Old") && !page.contains("Full"), "{path}: {page}");
    }
    assert_eq!(jane.get("/partner/of/abc123/generator?link=aa-old").status, 422);
    // Whoever is stopped is told so, everywhere.
    let mut partner = site.get("/v1/partners/abc123");
    for (status, said) in
        [("pending", "Somebody looks at your application"), ("rejected", "Your participation is stopped")]
    {
        partner["status"] = json!(status);
        site.put("/v1/partners/abc123", partner.clone());
        for path in ["/r/spring", "/partner/of/abc123", "/partner/of/abc123/generator"] {
            assert!(jane.get(path).text().contains(said), "{status}: {path}");
        }
    }
    partner["status"] = json!("active");
    site.put("/v1/partners/abc123", partner);
    // A program that is stopped lets nobody join, and its page says why.
    site.put("/v1/programs/spring/page", json!({"join": "open"}));
    let mut bo = site.browser();
    bo.log_in(&site, "/r/spring", "bo@home.example");
    let token = bo.token("/r/spring");
    site.put("/v1/programs/spring", json!({"name": "Spring", "status": "paused"}));
    let said = "Spring is not running right now";
    let joined = bo.post("/r/spring/join", &[("token", &token), ("first_name", "Bo")]);
    assert_eq!(joined.status, 303);
    let page = bo.get("/r/spring").text();
    assert!(page.contains(said) && !page.contains("name=\"first_name\""), "{page}");
    assert_eq!(site.get("/v1/partners")["items"].as_array().unwrap().len(), 1);
    let page = jane.get("/r/spring").text();
    assert!(page.contains(said) && !page.contains("<input id=\"link\""), "{page}");
    assert!(site.browser().get("/r/spring").text().contains(said));
}

#[test]
fn who_may_join_is_told_so_from_the_first_step() {
    let site = Site::start(Options::default().demo());
    for (join, email, code, joining) in [
        ("closed", "to see your referrals and rewards.", "If this address is known here", "nobody can join here"),
        ("open", "rewards, or to join.", "A code is on its way to this address", "you get a link of your own at once"),
        (
            "review",
            "rewards, or to join.",
            "A code is on its way to this address",
            "Somebody looks at your application first",
        ),
    ] {
        site.put("/v1/programs/spring/page", json!({"join": join}));
        let mut browser = site.browser();
        assert!(browser.get("/r/spring").text().contains(email), "{join}");
        assert_eq!(browser.post("/r/spring", &[("email", "jane@example.com")]).status, 303);
        assert!(browser.get("/r/spring/code").text().contains(code), "{join}");
        let person = format!("{join}@home.example");
        if join == "closed" {
            // Nobody else is mailed there: somebody who is a partner elsewhere comes by.
            site.put("/v1/programs/other", json!({}));
            site.put("/v1/partners/other", json!({"email": person, "programs": ["other"]}));
        }
        let mut other = site.browser();
        other.log_in(&site, "/r/spring", &person);
        let page = other.get("/r/spring").text();
        assert!(page.contains(joining), "{join}: {page}");
    }
    // A program's own words go before.
    site.put("/v1/programs/spring/page", json!({"join": "review", "texts": {"en": {"email_intro": "My own words."}}}));
    assert!(site.browser().get("/r/spring").text().contains("My own words."));
}
