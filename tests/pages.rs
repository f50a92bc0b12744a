//! People's pages over HTTP: what they never tell, what they refuse, and that whatever people write comes out as text. What a browser
//! makes of them is in `tests/pages/`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::{
    Client, Options, api,
    client::BROWSER,
    people::{Browser, Site, encoded},
};

/// What no page may let out as markup. After the Big List of Naughty Strings (MIT, <https://github.com/minimaxir/big-list-of-naughty-strings>).
const NAUGHTY: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    "<img src=x onerror=alert(1) />",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "{{7*7}} ${7*7} {% raw %}",
    "<a href=\"javascript:alert(1)\">x</a>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "田中さんにあげて下さい 👾 ﷽ \u{202e}txet",
    "Robert'); DROP TABLE partners;--",
    "=HYPERLINK(\"https://evil.example\")",
    "NULL",
    "%3Cscript%3Ealert(1)%3C/script%3E",
];

#[test]
fn forms_come_from_our_pages_and_with_the_sessions_token() {
    let site = Site::start(Options::default().demo());
    let mut browser = site.browser();
    browser.log_in(&site, "/r/spring", "jane@example.com");
    for path in ["/r/spring/leave", "/partner/leave", "/partner/of/abc123/ads", "/partner/of/abc123/generator"] {
        let other = browser.send("POST", path, &[("Sec-Fetch-Site", "cross-site")], "name=x");
        assert_eq!(other.status, 403, "{path}");
        let without = browser.post(path, &[("name", "x"), ("token", "AAAAAAAAAAAAAAAAAAAAAA")]);
        assert_eq!(without.status, 403, "{path}");
        assert!(without.text().contains("open for too long"), "{path}");
    }
    let token = browser.token("/partner/of/abc123");
    let made = browser.post("/partner/of/abc123/ads", &[("token", &token), ("name", "Summer banner")]);
    assert_eq!((made.status, made.header("location")), (303, Some("/partner/of/abc123/ads?made")));
    // The token of another session is none.
    let mut second = site.browser();
    second.cookies.clear();
    let answer = second.post("/partner/of/abc123/ads", &[("token", &token), ("name", "x")]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/partner")), "nobody is logged in there");
}

#[test]
fn nobody_opens_what_is_somebody_elses() {
    let site = Site::start(Options::default().demo());
    site.put("/v1/partners/rival", json!({"email": "rival@home.example", "programs": ["spring"]}));
    let mut browser = site.browser();
    browser.log_in(&site, "/partner", "rival@home.example");
    for end in ["", "/partners", "/ads", "/generator", "/stats", "/rewards", "/promote"] {
        assert_eq!(browser.get(&format!("/partner/of/rival{end}")).status, 200, "{end}");
        assert_eq!(browser.get(&format!("/partner/of/abc123{end}")).status, 404, "{end}");
        assert_eq!(site.browser().get(&format!("/partner/of/rival{end}")).status, 303, "{end}");
    }
    // Neither by another's ad, nor for somebody who is not below.
    let generated = browser.get("/partner/of/rival/generator?who=abc123&link=haircare");
    assert_eq!(generated.status, 422);
    let generated = browser.get("/partner/of/rival/generator?who=rival&link=haircare&ad=abc123%2Fwebsite2");
    assert_eq!(generated.status, 422);
    // Another browser cannot use the cookie.
    let (name, value) = browser.cookies[0].clone();
    let mut thief = site.browser();
    let cookie = format!("{name}={value}");
    let headers = [("Host", "localhost"), ("User-Agent", "another browser"), ("Cookie", cookie.as_str())];
    assert_eq!(thief.client.send("GET", "/partner/of/rival", &headers, b"").unwrap().status, 303);
}

#[test]
fn a_stale_cookie_beside_the_good_one_locks_nobody_out() {
    let site = Site::start(Options::default().demo());
    let value = |browser: &Browser, name: &str| {
        browser.cookies.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap()
    };
    let (mut old, mut new) = (site.browser(), site.browser());
    let codes = [&mut old, &mut new].into_iter().enumerate().map(|(at, browser)| {
        assert_eq!(browser.post("/r/spring", &[("email", "jane@example.com")]).status, 303);
        site.code("jane@example.com", at)
    });
    let code = codes.last().unwrap();
    let mut both = site.browser();
    // Browsers send the older one first.
    both.cookies = [&old, &new].map(|browser| ("__Host-fpl".to_owned(), value(browser, "__Host-fpl"))).to_vec();
    let entered = both.post("/r/spring/code", &[("code", &code)]);
    assert_eq!((entered.status, entered.header("location")), (303, Some("/r/spring")), "{}", entered.text());
    let cleared = |answer: &support::Response, name: &str| {
        let lines = answer.headers.iter().filter(|(header, _)| header == "set-cookie").map(|(_, line)| line);
        let of: Vec<&String> = lines.filter(|line| line.starts_with(&format!("{name}=;"))).collect();
        of.len() == 2 && of.iter().filter(|line| line.contains("Partitioned")).count() == 1
    };
    assert!(cleared(&entered, "__Host-fpl"), "{:?}", entered.headers);
    let good = value(&both, "__Host-fps");
    both.cookies = vec![("__Host-fps".to_owned(), "A".repeat(43)), ("__Host-fps".to_owned(), good.clone())];
    assert!(both.get("/r/spring").text().contains("Hello Jane!"));
    assert_eq!(both.get("/partner").header("location"), Some("/partner/of/abc123"));
    // Whoever logs out loses all of them.
    let token = both.token("/r/spring");
    let left = both.post("/r/spring/leave", &[("token", &token)]);
    assert!(left.status == 303 && cleared(&left, "__Host-fps"), "{:?}", left.headers);
    both.cookies = vec![("__Host-fps".to_owned(), good)];
    assert!(!both.get("/r/spring").text().contains("Hello Jane!"));
}

#[test]
fn a_page_without_https_says_that_logging_in_needs_it() {
    let site = Site::start(Options::default().demo());
    let headers = [
        ("Host", "shop.example"),
        ("User-Agent", BROWSER),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    let mut client = Client::connect(site.server.edge).unwrap();
    let answer = client.send("POST", "/r/spring", &headers, b"email=jane%40example.com").unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("Open this page with https"));
}

#[test]
fn whatever_people_write_comes_out_as_text() {
    let site = Site::start(Options::default().demo());
    let mut browser = site.browser();
    browser.log_in(&site, "/r/spring", "jane@example.com");
    for (at, text) in NAUGHTY.iter().enumerate() {
        site.put("/v1/programs/spring", json!({"name": text}));
        site.put(
            "/v1/partners/abc123",
            json!({"name": text, "first_name": text, "email": "jane@example.com", "programs": ["spring"]}),
        );
        site.put("/v1/partners/child", json!({"name": text, "parent": "abc123", "programs": ["spring"]}));
        site.put("/v1/links/haircare", json!({"name": text, "address": "https://shop.example/haircare"}));
        site.put("/v1/partners/abc123/ads/website2", json!({"name": text, "description": text, "media_type": text}));
        let design = json!({
            "logo_text": text, "texts": {"en": {"greeting": text, "share_intro": text, "footer": text}},
            "blocks": {"stats": {"before": [{"kind": "text", "text": text}], "after": [{"kind": "button", "text": text, "address": "https://shop.example/"}]}},
            "promotions": [{"kind": "mail", "subject": text, "text": text}],
        });
        // Braces are placeholders there, and an unknown one is told.
        if !text.contains('{') {
            site.put("/v1/programs/spring/page", design);
        }
        let mut seen = 0;
        for path in [
            "/r/spring",
            "/partner/of/abc123",
            "/partner/of/abc123/partners",
            "/partner/of/abc123/ads",
            "/partner/of/abc123/generator?who=child&link=haircare",
            "/partner/of/abc123/stats",
            "/partner/of/abc123/rewards",
            "/partner/of/abc123/promote",
        ] {
            let page = browser.get(path);
            assert_eq!(page.status, 200, "{path}: {text}");
            seen += usize::from(check_markup(path, &page.text(), text));
        }
        assert!(seen >= 6, "{at}: {text} is hardly shown");
        // What was typed comes back with the form.
        let token = browser.token("/partner/of/abc123/ads");
        let fields =
            [("token", token.as_str()), ("name", ""), ("description", text), ("media_type", text), ("code", text)];
        let page = browser.post("/partner/of/abc123/ads", &fields);
        assert_eq!(page.status, 422);
        assert!(check_markup("ads", &page.text(), text), "{text}");
    }
}

/// Whether a text stands on a page; it never does as markup.
fn check_markup(path: &str, page: &str, text: &str) -> bool {
    let nonce = page.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    for (at, _) in page.match_indices("<script") {
        assert!(
            page[at..].starts_with("<script src=\"/assets/pages-") && page[at..at + 120].contains(nonce),
            "{path}: {text}"
        );
    }
    for part in ["<svg onload", "<img src=x", "onmouseover='", "href=\"javascript", "<a href=\"javascript"] {
        assert!(!page.contains(part), "{path}: {text}");
    }
    let shown = text
        .replace('&', "&#38;")
        .replace('<', "&#60;")
        .replace('>', "&#62;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;");
    page.contains(&shown)
}

#[test]
fn pages_that_are_elsewhere_are_pointed_to() {
    let site =
        Site::start(Options::default().demo().set("pages.serve", "false").set("pages.url", "https://pages.example"));
    let mut browser = site.browser();
    for path in ["/r/spring", "/partner", "/r/spring/code?sent"] {
        let answer = browser.get(path);
        assert_eq!(
            (answer.status, answer.header("location")),
            (307, Some(format!("https://pages.example{path}").as_str()))
        );
    }
    assert_eq!(browser.get("/demo").status, 302, "redirects go on");
}

#[test]
fn every_answer_has_its_headers_and_says_what_is_wrong() {
    let site = Site::start(Options::default().demo());
    let mut browser = site.browser();
    for (method, path, status) in [
        ("GET", "/r/spring", 200),
        ("GET", "/r/SPRING", 200),
        ("HEAD", "/r/spring", 200),
        ("GET", "/r/nothing", 404),
        ("GET", "/r/spring/nothing", 404),
        ("GET", "/r/spring/files/none.png", 404),
        ("GET", "/partner/nothing", 404),
        ("GET", "/assets/nothing.css", 404),
        ("POST", "/r/spring", 422),
        ("PUT", "/r/spring", 405),
        ("POST", "/r/spring/code", 303),
    ] {
        let answer = browser.send(method, path, &[], if method == "POST" { "email=" } else { "" });
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        if status != 405 {
            let policy = answer.header("content-security-policy").unwrap_or_default();
            assert!(
                policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
                "{path}: {policy}"
            );
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        }
    }
    let page = browser.get("/r/spring").text();
    let css = page.split("href=\"").find(|part| part.starts_with("/assets/pages-")).unwrap().split('"').next().unwrap();
    let answer = browser.get(css);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
    let german = browser.send("GET", "/r/nothing", &[("Accept-Language", "de-AT,de;q=0.9")], "");
    assert!(german.text().contains("<html lang=\"de\">") && german.text().contains("Hier ist kein Programm"));
}

#[test]
fn what_cannot_be_read_is_told_by_a_page() {
    let site = Site::start(Options::default().demo());
    let mut browser = site.browser();
    browser.log_in(&site, "/partner", "jane@example.com");
    let large = format!("email={}", "a".repeat(40_000));
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let json = ("Content-Type", "application/json");
    for (method, path, kind, body, status, back) in [
        ("GET", "/r/%FF", form, "", 404, None),
        ("GET", "/r/%FF/code", form, "", 404, None),
        ("GET", "/r/spring/files/%FF", form, "", 404, Some("/r/spring")),
        ("GET", "/partner/of/%FF", form, "", 404, Some("/partner")),
        ("GET", "/r/nothing", form, "", 404, None),
        ("POST", "/r/spring", form, "email=%FF", 422, None),
        ("POST", "/r/spring", form, "email=a&email=b", 422, None),
        ("POST", "/r/spring", json, "{}", 400, Some("/r/spring")),
        ("POST", "/r/spring", form, &large, 413, Some("/r/spring")),
        ("POST", "/partner", json, "{}", 400, Some("/partner")),
        ("POST", "/partner", form, &large, 413, Some("/partner")),
        ("POST", "/partner/of/abc123/ads", json, "{}", 400, Some("/partner")),
        ("GET", "/partner/of/abc123/generator?who=abc123&who=b", form, "", 200, None),
        ("GET", "/partner/of/abc123/stats?days=%FF&days=7", form, "", 200, None),
    ] {
        let mut client = Client::connect(site.server.edge).unwrap();
        let cookie =
            browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let headers = [
            ("Host", "localhost"),
            ("User-Agent", BROWSER),
            ("Cookie", &cookie),
            ("Sec-Fetch-Site", "same-origin"),
            kind,
        ];
        let answer = client.send(method, path, &headers, body.as_bytes()).unwrap();
        let (case, text) = (format!("{method} {path}, {} bytes", body.len()), answer.text());
        assert_eq!(answer.status, status, "{case}: {text}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{case}: {text}");
        assert_eq!(text.contains("This did not work"), !matches!(status, 200 | 422), "{case}: {text}");
        if let Some(back) = back {
            assert!(text.contains(&format!("<a href=\"{back}\">")), "{case}: {text}");
        }
    }
    // What a browser no longer holds is asked for again, where it can be.
    let mut other = site.browser();
    for (path, to) in [("/r/spring/code", "/r/spring?lost"), ("/partner/code", "/partner?lost")] {
        let lost = other.post(path, &[("code", "123456")]);
        assert_eq!((lost.status, lost.header("location")), (303, Some(to)));
        assert_eq!(other.post(&format!("{path}/new"), &[]).header("location"), Some(to));
        let page = other.get(to).text();
        assert!(page.contains("ask for a new code") && page.contains("name=\"email\""), "{page}");
    }
}

#[test]
fn an_ads_mistakes_are_told_in_the_partners_language() {
    let site = Site::start(Options::default().demo());
    let mut browser = site.browser();
    browser.log_in(&site, "/partner", "jane@example.com");
    let token = browser.token("/partner/of/abc123/ads");
    let (long, bell) = ("x".repeat(2_001), "a\u{7}b");
    for (field, typed, en, de) in [
        ("code", "a b", "A code has letters", "Ein Code besteht aus"),
        ("code", &long[..60], "at most 48 characters", "höchstens 48 Zeichen"),
        ("name", "", "Give it a name.", "Geben Sie ihr einen Namen."),
        ("name", &long[..201], "at most 200 characters", "höchstens 200 Zeichen"),
        ("name", "…", "A code has letters", "Ein Code besteht aus"),
        ("name", bell, "characters that cannot be seen", "Zeichen, die man nicht sieht"),
        ("description", &long, "at most 2000 characters", "höchstens 2000 Zeichen"),
        ("media_type", &long[..65], "at most 64 characters", "höchstens 64 Zeichen"),
        ("start_date", "soon", "This is no day.", "Das ist kein Tag."),
    ] {
        for (language, said) in [("en", en), ("de", de)] {
            let fields = [("token", token.as_str()), ("name", "Ad"), (field, typed)];
            let fields: Vec<(&str, &str)> = fields
                .into_iter()
                .filter(|(name, value)| !(field == "name" && *name == "name" && *value == "Ad"))
                .collect();
            let body = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>();
            let path = "/partner/of/abc123/ads";
            let answer = browser.send("POST", path, &[("Accept-Language", language)], &body.join("&"));
            let text = answer.text();
            assert_eq!(answer.status, 422, "{field}: {typed}");
            assert!(text.contains(said), "{language}, {field}: {typed}\n{text}");
            let problems = text.matches("role=\"alert\"").count();
            assert_eq!(problems, 1, "{language}, {field}: {typed}\n{text}");
        }
    }
}

#[test]
fn a_design_that_is_wrong_is_told_field_by_field() {
    let site = Site::start(Options::default().demo());
    let put = |body: Value| api(site.server.control, &site.server.token(), "PUT", "/v1/programs/spring/page", &body);
    let answer = put(
        json!({"channels": ["pigeon"], "colours": {"accent": "red"}, "link": "nothing", "texts": {"en": {"slogan": "x"}}}),
    );
    assert_eq!(answer.status, 422);
    let fields: Vec<String> =
        answer.json()["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap().to_owned()).collect();
    assert_eq!(fields, ["channels[0]", "colours.accent", "texts.en.slogan", "link"]);
    assert_eq!(put(json!({"colour": "red"})).json()["errors"][0]["field"], "colour");
    let missing = put(json!({"logo": "logo.png"}));
    assert!(
        missing.status == 422 && missing.text().contains("/v1/programs/spring/page/files/logo.png"),
        "{}",
        missing.text()
    );
    let token = site.server.token();
    let file = |name: &str, body: &[u8]| {
        let authorization = format!("Bearer {token}");
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "image/png")];
        let path = format!("/v1/programs/spring/page/files/{name}");
        Client::connect(site.server.control).unwrap().send("PUT", &path, &headers, body).unwrap()
    };
    assert_eq!(file("logo.svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>").status, 415);
    assert_eq!(file("Logo.png", b"\x89PNG\r\n\x1a\n").status, 422);
    assert_eq!(file("logo.png", &vec![0; 600_000]).status, 413);
    assert_eq!(file("logo.png", b"\x89PNG\r\n\x1a\nrest").status, 200);
    assert_eq!(put(json!({"logo": "logo.png"})).status, 201);
    let shown = site.browser().get("/r/spring/files/logo.png");
    assert_eq!((shown.status, shown.header("content-type")), (200, Some("image/png")));
    assert_eq!(shown.header("content-security-policy"), Some("default-src 'none'; sandbox"));
}
