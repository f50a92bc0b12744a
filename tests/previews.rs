//! What chats are shown of a shared link, by the real binary: a page for previewers where there is something to say, a redirect for
//! everybody else; and that none of it counts.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::{Client, Options, Response, Server, api, client::BROWSER, metric, rows};

/// Who fetches a link that is shared there, as it says of itself.
const CHATS: &[(&str, &str)] = &[
    ("WhatsApp", "WhatsApp/2.23.20.0 A"),
    ("WhatsApp on iOS, Signal", "WhatsApp/2"),
    ("Facebook, Messenger, Instagram", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"),
    (
        "iMessage",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
    ),
    ("X", "Twitterbot/1.0"),
    ("LinkedIn", "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)"),
    ("Slack", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"),
    ("Discord", "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"),
    ("Telegram", "TelegramBot (like TwitterBot)"),
    ("Skype, Teams", "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com"),
    ("Reddit", "Mozilla/5.0 (compatible; redditbot/1.0; +http://www.reddit.com/feedback)"),
    ("Pinterest", "Mozilla/5.0 (compatible; Pinterestbot/1.0; +http://www.pinterest.com/bot.html)"),
    ("Mastodon", "http.rb/5.1.1 (Mastodon/4.2.1; +https://mastodon.social/)"),
    ("Bluesky", "Mozilla/5.0 (compatible; Bluesky Cardyb/1.1; +mailto:support@bsky.app)"),
    ("Snapchat", "Snap URL Preview Service; bot; snapchat; https://developers.snap.com/robots"),
    ("LINE", "facebookexternalhit/1.1;line-poker/1.0"),
    ("KakaoTalk", "facebookexternalhit/1.1; kakaotalk-scrap/1.0; +https://devtalk.kakao.com/t/scrap/33984"),
    ("VK", "Mozilla/5.0 (compatible; vkShare; +http://vk.com/dev/Share)"),
];

/// Who gets the redirect: people, their tools and their apps, and machines that show nothing to anybody.
const OTHERS: &[(&str, &str)] = &[
    ("browser", BROWSER),
    ("curl", "curl/8.5.0"),
    ("search engine", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    (
        "WhatsApp's own browser",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 WhatsApp/24.1.78",
    ),
    (
        "Facebook's own browser",
        "Mozilla/5.0 (Linux; Android 16; Pixel 10; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/146.0 Mobile Safari/537.36 MetaIAB Facebook",
    ),
    (
        "Slack's own browser",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Slack/4.38.125 Chrome/124.0.6367.78 Electron/30.0.1 Safari/537.36",
    ),
];
const WHATSAPP: &str = CHATS[0].1;

struct Site {
    _folder: tempfile::TempDir,
    server: Server,
}

/// A link with a share link, and a program whose partner shares it.
fn site(options: &Options) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), options).unwrap();
    let site = Site { _folder: folder, server };
    site.put("/v1/programs/spring", &json!({"name": "Spring"}));
    site.put("/v1/partners/ann", &json!({"name": "Ann", "programs": ["spring"]}));
    site.put("/v1/links/shoes", &shoes(&Value::Null));
    let share = json!({"slug": "trail", "link": "shoes", "partner": "ann"});
    let answer = api(site.server.control, &site.server.token(), "POST", "/v1/share-links", &share);
    assert_eq!(answer.status, 201, "{}", answer.text());
    site.settle();
    site
}

fn shoes(preview: &Value) -> Value {
    json!({"name": "Shoes", "address": "https://shop.example/shoes?src={partner}", "programs": ["spring"], "preview": preview})
}

impl Site {
    fn put(&self, path: &str, body: &Value) {
        let answer = api(self.server.control, &self.server.token(), "PUT", path, body);
        assert!(answer.status == 200 || answer.status == 201, "{path}: {}", answer.text());
    }

    /// Waits until the edge has every change so far: a new link is in the index behind all that was changed before it.
    fn settle(&self) {
        let links = || metric(self.server.ops, "fingerpost_index_entries{kind=\"links\"} ");
        let before = links();
        let marker = format!("/v1/links/marker-{}", before.unwrap_or_default());
        self.put(&marker, &json!({"address": "https://shop.example/"}));
        support::eventually("the change", || (links() > before).then_some(()));
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut client = Client::connect(self.server.edge).unwrap();
        client.send(method, path, headers, b"").unwrap()
    }

    fn get(&self, path: &str, agent: &str) -> Response {
        self.ask("GET", path, &[("User-Agent", agent)])
    }
}

fn unescaped(text: &str) -> String {
    [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The content of a tag, as a reader of HTML sees it.
fn tag(page: &str, name: &str) -> Option<String> {
    let (_, behind) = page.split_once(&format!("\"{name}\" content=\""))?;
    Some(unescaped(behind.split('"').next().unwrap()))
}

/// Where the page sends people who land there.
fn leads_to(page: &str) -> url::Url {
    let refresh = tag(page, "refresh").unwrap();
    url::Url::parse(refresh.strip_prefix("2; url=").unwrap()).unwrap()
}

#[test]
fn every_chat_is_shown_the_link_and_everybody_else_is_redirected() {
    let site = site(&Options::default().set("edge.url", "https://go.example"));
    let preview = json!({"title": "Shoes for every trail", "description": "Light & dry", "image": "https://shop.example/shoes.jpg"});
    site.put("/v1/links/shoes", &shoes(&preview));
    site.settle();
    for (chat, agent) in CHATS {
        for path in ["/trail", "/go/shoes/ann"] {
            let answer = site.get(path, agent);
            let (page, url) = (answer.text(), format!("https://go.example{path}"));
            assert_eq!(answer.status, 200, "{chat}");
            for (name, content) in [
                ("og:type", "website"),
                ("og:title", "Shoes for every trail"),
                ("og:description", "Light & dry"),
                ("og:image", "https://shop.example/shoes.jpg"),
                ("og:url", url.as_str()),
                ("og:site_name", "Spring"),
                ("twitter:card", "summary_large_image"),
                ("twitter:title", "Shoes for every trail"),
            ] {
                assert_eq!(tag(&page, name).as_deref(), Some(content), "{name} for {chat}");
            }
            assert!(page.contains(&format!("<link rel=\"canonical\" href=\"{url}\">")));
            assert!(page.len() < 2_560, "{} bytes", page.len());
            for (name, value) in [
                ("content-type", "text/html; charset=utf-8"),
                ("x-content-type-options", "nosniff"),
                ("x-robots-tag", "noindex"),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(answer.header(name), Some(value), "{chat}");
            }
            let policy = answer.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
            assert!(!page.contains("<script") && !page.contains("<style") && !page.contains(" on"), "{page}");
            assert_eq!((answer.header("set-cookie"), answer.header("location")), (None, None), "{chat}");
            let to = leads_to(&page);
            assert_eq!((to.host_str(), to.path()), (Some("shop.example"), "/shoes"));
        }
    }
    for (who, agent) in OTHERS {
        let answer = site.get("/trail", agent);
        assert_eq!((answer.status, answer.body.len()), (302, 0), "{who}");
    }
    // Said by a browser, which may show a person what it fetched.
    let ahead = site.ask("GET", "/trail", &[("User-Agent", BROWSER), ("X-Purpose", "preview")]);
    assert_eq!(ahead.status, 302);
    let head = site.ask("HEAD", "/trail", &[("User-Agent", WHATSAPP)]);
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!((head.header("set-cookie"), head.body.len()), (None, 0));

    let chats = 2 * CHATS.len();
    let rows = rows(&site.server.data, chats + OTHERS.len() + 2);
    let count = |class: &str| rows.iter().filter(|row| row["class"] == class && row["kind"] == "click").count();
    assert_eq!((count("preview"), count("head"), count("bot")), (chats + 1, 1, 1));
    assert_eq!(count("human"), OTHERS.len() - 1);
    assert!(rows.iter().all(|row| row["link"] == "shoes" && row["partner"] == "ann"));
    let report: Value =
        serde_json::from_str(&support::run(&site.server.data, &["report", "links", "--format", "json"])).unwrap();
    let shoes = report.as_array().unwrap().iter().find(|row| row["link"] == "shoes").unwrap();
    assert_eq!((&shoes["clicks"], &shoes["not_counted"]), (&json!(OTHERS.len() - 1), &json!(chats + 3)));
    let page = "fingerpost_requests_total{outcome=\"preview\",class=\"preview\"} ";
    assert_eq!(metric(site.server.ops, page), Some(chats as f64));
}

#[test]
fn the_program_speaks_where_the_link_does_not() {
    let site = site(&Options::default());
    assert_eq!(site.get("/trail", WHATSAPP).status, 302, "nobody said anything: the landing page speaks");
    site.put("/v1/programs/spring", &json!({"name": "Spring", "preview": {"image": "https://shop.example/p.jpg"}}));
    site.settle();
    let page = site.get("/trail?sub1=a%22b&x=%0a", WHATSAPP).text();
    let words = |page: &str| ["og:title", "og:image", "og:site_name"].map(|name| tag(page, name).unwrap());
    assert_eq!(words(&page), ["Shoes", "https://shop.example/p.jpg", "Spring"]);
    assert_eq!(tag(&page, "og:description"), None);
    let url = "http://r.example/trail?sub1=a%22b&x=%0a";
    assert_eq!(tag(&page, "og:url").as_deref(), Some(url), "marks stay with a link that is shared on");
    assert!(leads_to(&page).query_pairs().any(|(name, value)| (&*name, &*value) == ("src", "ann")));

    site.put("/v1/links/shoes", &shoes(&json!({"title": "Trail shoes", "site_name": "Shop"})));
    site.settle();
    let page = site.get("/go/shoes", WHATSAPP).text();
    assert_eq!(words(&page), ["Trail shoes", "https://shop.example/p.jpg", "Shop"], "nobody is credited here");

    site.put("/v1/links/shoes", &json!({"name": "Shoes", "address": "https://shop.example/shoes"}));
    site.put("/v1/programs/spring", &json!({"name": "Spring"}));
    site.settle();
    assert_eq!(site.get("/trail", WHATSAPP).status, 302, "PUT without a preview takes it away");
}

#[test]
fn who_would_be_led_elsewhere_sees_no_page_of_the_link() {
    let site = site(&Options::default());
    let said = json!({"title": "Shoes"});
    let link = |more: Value| {
        let mut link =
            json!({"name": "S", "address": "https://shop.example/s", "preview": said, "to_hosts": ["blog.example"]});
        link.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        link
    };
    let past = "2020-01-01T00:00:00Z";
    site.put("/v1/links/open", &link(json!({})));
    site.put("/v1/links/over", &link(json!({"expires_at": past, "fallback": "https://shop.example/late"})));
    site.put("/v1/links/gone", &link(json!({"expires_at": past})));
    site.put("/v1/links/few", &link(json!({"max_clicks": 1})));
    site.settle();
    let location = |path: &str| {
        let answer = site.get(path, WHATSAPP);
        (answer.status, answer.header("location").unwrap_or_default().split(['?', '&']).next().unwrap().to_owned())
    };
    let redirect = |address: &str| (302, address.to_owned());
    assert_eq!(location("/go/open").0, 200);
    assert_eq!(location("/go/open?to=https://blog.example/post"), redirect("https://blog.example/post"));
    assert_eq!(location("/go/over"), redirect("https://shop.example/late"));
    assert_eq!((location("/go/gone").0, location("/go/nothing").0), (410, 404));
    // Pages take none of a link's clicks.
    assert_eq!([location("/go/few").0, location("/go/few").0], [200, 200]);
    assert_eq!((site.get("/go/few", BROWSER).status, site.get("/go/few", BROWSER).status), (302, 410));
    // No destination comes from the request.
    for path in
        ["/go/open?to=https://evil.example/", "/go/open?url=https://evil.example/", "/go/open?x=%22%3E%3Cscript%3E"]
    {
        let page = site.get(path, WHATSAPP);
        match page.status {
            200 => assert_eq!(leads_to(&page.text()).host_str(), Some("shop.example"), "{path}"),
            _ => assert!(page.header("location").unwrap().starts_with("https://shop.example/"), "{path}"),
        }
        assert!(!page.text().contains("<script"), "{path}");
    }
}

/// Names that break what is not careful: markup, quotes, templates, directions, combining marks, nothing to see.
const NAUGHTY: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><script>alert(1)</script>",
    "'><img src=x onerror=alert(1)>",
    "</title><svg/onload=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "<!--<script>",
    "]]>",
    "&lt;script&gt;",
    "&#34;&quot;&amp;",
    "javascript:alert(1)",
    "0; url=https://evil.example/",
    "{{ 7*7 }} {% raw %} ${7*7} #{7*7} <%= 7 %>",
    "%3Cscript%3E %22 %0d%0aSet-Cookie: x",
    "\\\"\\'\\<",
    "Ω≈ç√∫˜µ≤≥÷",
    "田中さんにあげて下さい",
    "😍 👩‍👩‍👧‍👦 🇺🇸",
    "\u{202e}olleh\u{202c}",
    "הָיְתָהtestالصفحات",
    "Z̮̞̠͙͔ͅḀ̗̞͈̻̗Ḷ͙͎̯̹̞͓G̻O̭̗̮",
    "\u{feff}\u{200b}x",
    "＂＞＜ﬁ",
    "undefined",
    "NULL",
    "1;DROP TABLE links",
    "`$(touch x)`",
    "../../../etc/passwd",
];

#[test]
fn whatever_a_link_is_called_appears_as_text() {
    let site = site(&Options::default());
    let marker = |at: usize| format!("https://shop.example/{at}.jpg");
    for (at, text) in NAUGHTY.iter().enumerate() {
        let preview = json!({"title": text, "description": text, "site_name": text, "image": marker(at)});
        site.put(&format!("/v1/links/l{at}"), &json!({"address": "https://shop.example/", "preview": preview}));
        let program = json!({"name": text, "preview": {"image": marker(at)}});
        site.put(&format!("/v1/programs/p{at}"), &program);
        let link = json!({"name": text, "address": "https://shop.example/", "programs": [format!("p{at}")]});
        site.put(&format!("/v1/links/n{at}"), &link);
    }
    site.settle();
    let plain = site.get("/go/l24", WHATSAPP).text();
    for (at, text) in NAUGHTY.iter().enumerate() {
        for path in [format!("/go/l{at}"), format!("/go/n{at}")] {
            let page = site.get(&path, WHATSAPP).text();
            assert_eq!(tag(&page, "og:title").as_deref(), Some(*text), "{path}");
            assert_eq!(tag(&page, "twitter:title").as_deref(), Some(*text), "{path}");
            assert_eq!(tag(&page, "og:site_name").as_deref(), Some(*text), "{path}");
            assert_eq!(tag(&page, "og:image"), Some(marker(at)), "{path}");
            let (_, title) = page.split_once("<title>").unwrap();
            assert_eq!(unescaped(title.split('<').next().unwrap()), *text);
            if path.starts_with("/go/l") {
                for character in ['<', '>', '"', '\''] {
                    assert_eq!(page.matches(character).count(), plain.matches(character).count(), "{text}: {page}");
                }
            }
        }
    }
}

/// A change of a preview has its row in the log, and the description of the API knows the fields.
#[test]
fn the_log_and_the_description_tell_of_it() {
    let site = site(&Options::default());
    site.put("/v1/links/shoes", &shoes(&json!({"title": "Shoes"})));
    let token = site.server.token();
    let log = api(site.server.control, &token, "GET", "/v1/audit?kind=link&code=shoes&limit=1", &Value::Null).json();
    let change = json!([{"field": "preview", "after": {"title": "Shoes"}}]);
    assert_eq!(log["items"][0]["changes"], change, "{log}");
    let described = api(site.server.control, &token, "GET", "/v1/openapi.json", &Value::Null).json();
    let schemas = &described["components"]["schemas"];
    for field in ["title", "description", "image", "site_name"] {
        assert!(schemas["Preview"]["properties"][field].is_object(), "{field} in {}", schemas["Preview"]);
    }
    assert!(
        schemas["Link"]["properties"]["preview"].is_object() && schemas["Program"]["properties"]["preview"].is_object()
    );
    let wrong = json!({"address": "https://shop.example/", "preview": {"title": "x".repeat(151), "image": "http://a.example/"}});
    let answer = api(site.server.control, &token, "PUT", "/v1/links/wrong", &wrong);
    let fields: Vec<Value> =
        answer.json()["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!((answer.status, fields), (422, vec![json!("preview.title"), json!("preview.image")]));
}
