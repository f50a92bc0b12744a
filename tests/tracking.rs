//! What a program makes of its tracking page, over HTTP: its own words with their values, its frames also where something goes wrong, a
//! page without a code, and what a program or a link that is over still shows.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use serde_json::json;
use support::{Options, people::Site};

#[test]
fn an_older_code_stays_good_beside_a_newer_one() {
    let site = Site::start(Options::default().demo());
    let mut jane = site.browser();
    assert_eq!(jane.post("/r/spring", &[("email", "jane@example.com")]).status, 303);
    let first = site.code("jane@example.com", 0);
    assert_eq!(jane.post("/r/spring/code/new", &[]).header("location"), Some("/r/spring/code?sent"));
    let second = site.code("jane@example.com", 1);
    assert_ne!(first, second, "one in a million");
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
