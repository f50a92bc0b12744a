//! Every answer of the edge, and the record that it leaves.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use support::{Client, Options, Response, Server, api, client::BROWSER, metric, rows};

struct Site {
    _folder: tempfile::TempDir,
    server: Server,
    client: Client,
}

fn site(options: Options) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &options.demo()).unwrap();
    let client = Client::connect(server.edge).unwrap();
    Site { _folder: folder, server, client }
}

impl Site {
    fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send("GET", path, headers, b"")
    }

    fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let headers = [&[("User-Agent", BROWSER)], headers].concat();
        if let Ok(answer) = self.client.send(method, path, &headers, body) {
            return answer;
        }
        // The server may have ended the connection after an earlier error.
        self.client = Client::connect(self.server.edge).unwrap();
        self.client.send(method, path, &headers, body).unwrap()
    }

    fn rows(&self, count: usize) -> Vec<serde_json::Value> {
        rows(&self.server.data, count)
    }

    fn put(&self, path: &str, body: &serde_json::Value) {
        let answer = api(self.server.control, &self.server.token(), "PUT", path, body);
        assert!(answer.status == 200 || answer.status == 201, "{path}: {}", answer.text());
    }

    /// Adds a link, and waits until the edge knows it.
    fn put_live(&self, link: &str, body: &serde_json::Value) {
        let links = || metric(self.server.ops, "fingerpost_index_entries{kind=\"links\"} ");
        let before = links();
        self.put(&format!("/v1/links/{link}"), body);
        support::eventually("the link", || (links() > before).then_some(()));
    }
}

/// The destination without the token.
fn destination(answer: &Response) -> String {
    let mut url = url::Url::parse(answer.header("location").expect("a Location")).unwrap();
    let rest: Vec<(String, String)> =
        url.query_pairs().filter(|(name, _)| name != "fpc").map(|(n, v)| (n.into(), v.into())).collect();
    url.set_query(None);
    for (name, value) in rest {
        url.query_pairs_mut().append_pair(&name, &value);
    }
    url.into()
}

#[test]
fn wrong_requests_get_clear_answers_and_leave_no_record() {
    let mut site = site(Options::default());
    for (method, path, status) in [
        ("GET", "/go/nothing", 404),
        ("GET", "/nothing", 404),
        ("GET", "/nothing+", 404),
        ("GET", "/s/whatsapp/nothing", 404),
        ("GET", "/v/nothing.gif", 404),
        ("GET", "/", 404),
        ("GET", "/a/b/c", 404),
        ("GET", "/go/%zz", 400),
        ("GET", "/go/haircare/%", 400),
        ("POST", "/go/haircare", 405),
        ("DELETE", "/go/haircare", 405),
        ("PUT", "/k3x9", 405),
        ("GET", "/e", 405),
    ] {
        let answer = site.send(method, path, &[], b"");
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("location"), None);
        assert!(!answer.text().is_empty(), "{method} {path} says nothing");
        if status == 405 {
            assert!(answer.header("allow").is_some());
        }
    }
    let long = format!("/go/haircare?x={}", "y".repeat(9_000));
    assert_eq!(site.get(&long, &[]).status, 414);
    let big = "y".repeat(20_000);
    assert_eq!(site.get("/go/haircare", &[("X-Big", &big)]).status, 431);
    assert_eq!(site.send("POST", "/e", &[], &vec![b'x'; 5_000]).status, 413);
    assert_eq!(site.send("POST", "/e", &[], b"{}").status, 400);
    assert_eq!(site.get("/go/haircare", &[]).status, 302);
    assert_eq!(site.rows(1).len(), 1, "only the last one is recorded");
}

#[test]
fn every_class_is_kept_and_only_people_count() {
    let mut site = site(Options::default());
    let path = "/go/haircare/abc123/website2";
    let bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    let preview = "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)";
    let mut classes = vec!["human", "bot", "preview", "prefetch", "head", "test"];
    site.get(path, &[]);
    for (agent, status) in [(bot, 302), (preview, 200)] {
        assert_eq!(site.client.send("GET", path, &[("User-Agent", agent)], b"").unwrap().status, status);
    }
    assert_eq!(site.get(path, &[("Sec-Purpose", "prefetch;prerender")]).status, 302);
    let head = site.send("HEAD", path, &[], b"");
    assert!(head.status == 302 && head.header("location").is_some() && head.header("set-cookie").is_some());
    let test = site.get(&format!("{path}?fp_test=1"), &[]);
    assert!(!test.header("location").unwrap().contains("fp_test"));
    let mut seen: Vec<String> = site.rows(6).iter().map(|row| row["class"].as_str().unwrap().to_owned()).collect();
    seen.sort();
    classes.sort_unstable();
    assert_eq!(seen, classes);
    let report: serde_json::Value =
        serde_json::from_str(&support::run(&site.server.data, &["report", "links", "--format", "json"])).unwrap();
    assert_eq!((&report[0]["clicks"], &report[0]["not_counted"]), (&1.into(), &5.into()));
}

#[test]
fn who_asks_not_to_be_known_is_not() {
    let mut site = site(Options::default().set("edge.honour_dnt", "true"));
    let cookie = site.get("/go/haircare/abc123", &[]).cookie().unwrap().to_owned();
    for header in [("Sec-GPC", "1"), ("DNT", "1")] {
        let answer = site.get("/go/haircare/abc123", &[header, ("Cookie", &cookie)]);
        assert_eq!(answer.status, 302);
        assert_eq!(answer.header("set-cookie"), None);
        assert_eq!(answer.header("location"), Some("https://shop.example/haircare"), "no token either");
    }
    let rows = site.rows(3);
    assert_eq!(rows.iter().filter(|row| row["visitor"] == "").count(), 2);
    assert!(rows.iter().all(|row| row["partner"] == "abc123"), "the click counts and is credited");
}

#[test]
fn a_forged_cookie_is_a_new_visitor_and_never_an_error() {
    let mut site = site(Options::default());
    let cookie = site.get("/go/haircare/abc123", &[]).cookie().unwrap().to_owned();
    let other = site.get("/go/haircare/abc123", &[]).cookie().unwrap().to_owned();
    let cut = &cookie[..cookie.len() - 4];
    let mut swapped = cookie[..40].to_owned();
    swapped.push_str(&other[40..]);
    for forged in ["fp=", "fp=AAAA", "fp=%00", cut, &swapped, &cookie.to_uppercase()] {
        assert_eq!(site.get("/go/haircare/abc123", &[("Cookie", forged)]).status, 302, "{forged}");
    }
    let rows = site.rows(8);
    let visitors: std::collections::HashSet<_> = rows.iter().map(|row| row["visitor"].as_str().unwrap()).collect();
    assert_eq!(visitors.len(), 8, "nobody is taken for somebody else");
    assert!(rows.iter().all(|row| row["class"] == "human"));
}

#[test]
fn nothing_that_a_visitor_sends_splits_a_header() {
    let mut site = site(Options::default());
    for path in [
        "/go/haircare/abc123?x=%0d%0aSet-Cookie:%20evil=1",
        "/go/haircare/abc123?sub1=%0d%0a%0d%0a%3Cscript%3E",
        "/go/haircare/abc123?x=%00%7f",
        "/go/haircare/abc123?%0aX-Evil:1=%0a",
    ] {
        let answer = site.get(path, &[]);
        assert_eq!(answer.status, 302, "{path}");
        assert!(answer.headers.iter().all(|(name, value)| !name.contains("evil") && !value.contains("evil=1;")));
        assert_eq!(answer.headers.iter().filter(|(name, _)| name == "set-cookie").count(), 1);
    }
}

#[test]
fn to_leads_to_listed_hosts_only() {
    let mut site = site(Options::default());
    site.put_live(
        "open",
        &serde_json::json!({"name": "Open", "address": "https://shop.example/", "to_hosts": ["blog.example"]}),
    );
    assert_eq!(
        destination(&site.get("/go/open?to=https%3A%2F%2Fblog.example%2Fpost", &[])),
        "https://blog.example/post"
    );
    for refused in [
        "https://evil.example/",
        "//evil.example",
        "https://blog.example@evil.example/",
        "javascript:alert(1)",
        "https://blog.example%5c@evil.example",
    ] {
        let answer = site.get(&format!("/go/open?to={refused}"), &[]);
        assert_eq!(destination(&answer), "https://shop.example/", "{refused}");
    }
    assert_eq!(destination(&site.get("/go/haircare?to=https://blog.example/", &[])), "https://shop.example/haircare");
}

#[test]
fn links_end_and_have_fallbacks() {
    let mut site = site(Options::default().set("edge.fallback", "https://shop.example/home"));
    let past = "2020-01-01T00:00:00Z";
    site.put_live("over", &serde_json::json!({"name": "O", "address": "https://shop.example/o", "expires_at": past, "fallback": "https://shop.example/late"}));
    site.put_live("gone", &serde_json::json!({"name": "G", "address": "https://shop.example/g", "expires_at": past}));
    assert_eq!(destination(&site.get("/go/over/abc123", &[])), "https://shop.example/late");
    assert_eq!(destination(&site.get("/go/gone", &[])), "https://shop.example/home");
    assert_eq!(destination(&site.get("/go/unknown", &[])), "https://shop.example/home");
    let reasons: Vec<String> = site.rows(3).iter().map(|row| row["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons, ["expired", "expired", "unknown_link"]);
}

#[test]
fn max_clicks_holds_over_a_restart() {
    let mut site = site(Options::default());
    site.put_live("few", &serde_json::json!({"name": "F", "address": "https://shop.example/f", "max_clicks": 3}));
    assert_eq!(site.get("/go/few", &[]).status, 302);
    assert_eq!(site.get("/go/few", &[]).status, 302);
    site.rows(2);
    let Site { _folder: folder, server, .. } = site;
    assert!(server.stop().success());
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    let mut client = Client::connect(server.edge).unwrap();
    assert_eq!(client.get("/go/few").unwrap().status, 302);
    assert_eq!(client.get("/go/few").unwrap().status, 410);
}

#[test]
fn who_came_too_late_does_not_use_a_raised_limit_up() {
    let mut site = site(Options::default());
    let link = |max_clicks: u32| {
        serde_json::json!({
            "name": "F", "address": "https://shop.example/f", "fallback": "https://shop.example/late", "max_clicks": max_clicks,
        })
    };
    site.put_live("few", &link(1));
    let arrived = |site: &mut Site| destination(&site.get("/go/few", &[]));
    assert_eq!(arrived(&mut site), "https://shop.example/f");
    for _ in 0..3 {
        assert_eq!(arrived(&mut site), "https://shop.example/late");
    }
    site.rows(4);
    let Site { _folder: folder, server, .. } = site;
    assert!(server.stop().success());
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    let client = Client::connect(server.edge).unwrap();
    let mut site = Site { _folder: folder, server, client };
    assert_eq!(arrived(&mut site), "https://shop.example/late", "the restart knows the click");
    site.put("/v1/links/few", &link(2));
    support::eventually("the raised limit", || (arrived(&mut site) == "https://shop.example/f").then_some(()));
    assert_eq!(arrived(&mut site), "https://shop.example/late");
}

#[test]
fn a_prefetched_link_credits_nobody() {
    let mut site = site(Options::default());
    let path = "/go/haircare/abc123";
    let plain = site.get("/go/haircare", &[]).cookie().unwrap().len();
    let prefetched = site.get(path, &[("Sec-Purpose", "prefetch")]).cookie().unwrap().to_owned();
    assert_eq!(prefetched.len(), plain, "it knows the visitor, and no touch");
    assert!(site.get(path, &[("Cookie", &prefetched)]).cookie().unwrap().len() > plain);
}

#[test]
fn share_links_lead_are_shown_shared_and_viewed() {
    let mut site = site(Options::default());
    let answer = api(
        site.server.control,
        &site.server.token(),
        "POST",
        "/v1/share-links",
        &serde_json::json!({"slug": "k3x9", "link": "haircare", "partner": "abc123", "ad": "website2"}),
    );
    assert!(answer.status == 201, "{}", answer.text());
    support::eventually("the share link", || (site.client.get("/k3x9+").unwrap().status == 200).then_some(()));
    assert_eq!(destination(&site.get("/K3X9", &[])), "https://shop.example/haircare");
    let page = site.get("/k3x9+", &[]);
    assert!(page.text().contains("https://shop.example/haircare") && page.header("content-security-policy").is_some());
    let share = site.get("/s/whatsapp/k3x9", &[]);
    assert_eq!(share.header("location"), Some("https://wa.me/?text=http%3A%2F%2Fr.example%2Fk3x9"));
    let pixel = site.get("/v/k3x9.gif", &[]);
    assert_eq!((pixel.status, pixel.header("content-type")), (200, Some("image/gif")));
    let beacon = site.send(
        "POST",
        "/e",
        &[("Content-Type", "text/plain")],
        br#"{"kind":"share","slug":"k3x9","channel":"email"}"#,
    );
    assert_eq!((beacon.status, beacon.header("access-control-allow-origin")), (204, Some("*")));
    let rows = site.rows(4);
    let kinds: Vec<_> =
        rows.iter().map(|row| (row["kind"].as_str().unwrap(), row["channel"].as_str().unwrap())).collect();
    assert_eq!(kinds, [("click", ""), ("share", "whatsapp"), ("view", ""), ("share", "email")]);
    assert!(rows.iter().all(
        |row| row["partner"] == "abc123" && row["ad"] == "website2" && row["slug"] != "" || row["kind"] == "share"
    ));
}

#[test]
fn a_landing_page_sends_a_view_with_the_token_it_was_reached_by() {
    let mut site = site(Options::default());
    let click = site.get("/go/haircare/abc123", &[]);
    let location = url::Url::parse(click.header("location").unwrap()).unwrap();
    let token = location.query_pairs().find(|(name, _)| name == "fpc").unwrap().1.into_owned();
    let body = serde_json::json!({"kind": "view", "token": token}).to_string();
    assert_eq!(site.send("POST", "/e", &[], body.as_bytes()).status, 204);
    let forged = body.replace(&token[..4], "AAAA");
    let answer = site.send("POST", "/e", &[], forged.as_bytes());
    assert_eq!((answer.status, &answer.json()["errors"][0]["field"]), (400, &"token".into()));
    let rows = site.rows(2);
    let (click, view) = (&rows[0], &rows[1]);
    assert_eq!((&view["kind"], &view["click"], &view["partner"]), (&"view".into(), &click["id"], &"abc123".into()));
    let script = site.get("/fp.js", &[]);
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(site.get("/fp.js", &[("If-None-Match", script.header("etag").unwrap())]).status, 304);
}

#[test]
fn forwarded_addresses_are_believed_from_trusted_proxies_only() {
    for (trusted, expected) in [("", "127.0.0.0/24"), ("127.0.0.0/8", "8.8.8.0/24")] {
        let mut site = site(Options::default().set("edge.trusted_proxies", trusted));
        let headers = [("X-Forwarded-For", "1.1.1.1, 8.8.8.8"), ("X-Forwarded-Proto", "https")];
        let answer = site.get("/go/haircare", &headers);
        assert_eq!(answer.header("set-cookie").unwrap().contains("; Secure"), !trusted.is_empty());
        let row = &site.rows(1)[0];
        assert_eq!(row["address"], expected);
        assert_eq!(row["country"], if trusted.is_empty() { "" } else { "US" });
    }
}

#[test]
fn rules_choose_and_templates_are_filled() {
    let mut site = site(Options::default().set("edge.trusted_proxies", "127.0.0.0/8"));
    site.put_live(
        "ruled",
        &serde_json::json!({
            "name": "Ruled", "address": "https://shop.example/{link}?p={partner}&keep=1", "partner_parameter": "ref", "click_parameter": "cid",
            "rules": [
                {"country": ["US"], "device": ["mobile"], "address": "https://us.example/{country}"},
                {"query": [{"name": "src", "value": "mail"}], "address": "https://mail.example/{sub2}"},
            ],
        }),
    );
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";
    let from_us = [("User-Agent", phone), ("X-Forwarded-For", "8.8.8.8")];
    let location = |answer: &Response| {
        answer.header("location").unwrap().split("&cid=").next().unwrap().split("?cid=").next().unwrap().to_owned()
    };
    let answer = site.client.send("GET", "/go/ruled/abc123", &from_us, b"").unwrap();
    assert_eq!(location(&answer), "https://us.example/US?ref=abc123");
    assert_eq!(
        location(&site.get("/go/ruled/abc123?src=mail&sub2=a%26b", &[])),
        "https://mail.example/a%26b?src=mail&sub2=a%26b&ref=abc123"
    );
    assert_eq!(
        location(&site.get("/go/ruled/abc123?p=mine&x=1", &[])),
        "https://shop.example/ruled?keep=1&p=mine&x=1&ref=abc123"
    );
    let rules: Vec<_> = site.rows(3).iter().map(|row| row["rule"].clone()).collect();
    assert_eq!(rules, [serde_json::json!(1), serde_json::json!(2), serde_json::json!(0)]);
}

#[test]
fn no_full_address_and_no_mail_is_written_anywhere() {
    let mut site = site(Options::default().set("edge.trusted_proxies", "127.0.0.0/8").set("log.level", "trace"));
    let headers = [("X-Forwarded-For", "203.0.113.77"), ("Referer", "https://jane@doe.example/?to=jane@doe.example")];
    site.get("/go/haircare/abc123?sub1=jane@doe.example&sub2=jane%40doe.example&sub3=jane%2540doe.example", &headers);
    let beacon = br#"{"kind":"view","slug":"demo","sub5":"for jane@doe.example"}"#;
    assert_eq!(site.send("POST", "/e", &headers, beacon).status, 204);
    let rows = site.rows(2);
    assert_eq!((&rows[0]["sub1"], &rows[0]["sub3"]), (&"[e-mail]".into(), &"[e-mail]".into()));
    assert_eq!(rows[1]["sub5"], "for [e-mail]");
    let log = site.server.log().join("\n");
    let mut found = Vec::new();
    let mut look = |name: String, bytes: &[u8]| {
        for needle in [&b"203.0.113.77"[..], b"jane@doe", b"jane%40doe", &[203, 0, 113, 77]] {
            if bytes.windows(needle.len()).any(|window| window == needle) {
                found.push(format!("{needle:?} in {name}"));
            }
        }
    };
    look("the log".into(), log.as_bytes());
    let mut folders = vec![site.server.data.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                look(path.display().to_string(), &std::fs::read(&path).unwrap());
            }
        }
    }
    assert!(found.is_empty(), "{found:?}");
}
