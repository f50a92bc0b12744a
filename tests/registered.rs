//! Who is registered? No page tells: not by its answer, not by its time, not by what becomes of its mails.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use std::time::Instant;

use serde_json::json;
use support::{
    Options, eventually,
    people::{Site, encoded},
};

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// How far apart two samples are, in standard deviations of what chance makes of equal ones (Mann and Whitney's U).
fn apart(one: &[f64], other: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        one.iter().map(|time| (*time, true)).chain(other.iter().map(|time| (*time, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ranks: f64 = all.iter().enumerate().filter(|(_, (_, is_one))| *is_one).map(|(at, _)| at as f64 + 1.0).sum();
    let (n, m) = (one.len() as f64, other.len() as f64);
    let u = ranks - n * (n + 1.0) / 2.0;
    (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

/// Where an address can be typed, with how many known ones (as many others are typed), and what is answered.
struct Door {
    path: &'static str,
    each: usize,
    status: u16,
}

/// 2,000 addresses, half of them registered, in random order, and fewer at the other doors: the same status, the same bytes, the same time.
#[test]
fn nobody_learns_who_is_registered() {
    const EACH: usize = 1_000;
    let doors = [
        Door { path: "/r/spring", each: EACH, status: 303 },
        // Without a code the page shows numbers: those of nobody look like those of whoever has none.
        Door { path: "/r/plain", each: EACH / 2, status: 200 },
        Door { path: "/partner", each: EACH / 2, status: 303 },
    ];
    let options = Options::default().demo().set("edge.trusted_proxies", "127.0.0.1");
    let site = Site::start(options);
    site.put("/v1/programs/plain", json!({"name": "Plain"}));
    site.put("/v1/programs/plain/page", json!({"login_code": false}));
    for at in 0..EACH {
        let email = format!("known{at:04}@home.example");
        site.put(&format!("/v1/partners/known{at}"), json!({"programs": ["spring", "plain"], "email": email}));
    }
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let told: Vec<String> = doors.iter().filter_map(|door| tells(&site, door, seed)).collect();
    assert!(told.is_empty(), "the times tell who is registered: {told:#?}");
    // Those who are registered are mailed, and nobody else.
    let expected = doors.iter().filter(|door| door.status == 303).map(|door| door.each).sum();
    let mailed = eventually("all mails", || {
        let count = std::fs::read_dir(site.server.data.join("mails")).ok()?.count();
        (count >= expected).then_some(count)
    });
    assert_eq!(mailed, expected);
}

/// Whether a door tells who is known, and how.
fn tells(site: &Site, door: &Door, seed: u64) -> Option<String> {
    let mut order: Vec<(bool, usize)> = (0..door.each).flat_map(|at| [(true, at), (false, at)]).collect();
    let mut state = seed | 1;
    for at in (1..order.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(at, (state >> 33) as usize % (at + 1));
    }
    let mut browser = site.browser();
    let (mut times, mut answers) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for (number, (is_known, at)) in order.iter().enumerate() {
        let email = format!("{}{at:04}@home.example", if *is_known { "known" } else { "other" });
        // Each from a network of its own: how many one network may ask for is another test's.
        let from = format!("10.{}.{}.1", number / 250, number % 250);
        let body = format!("email={}", encoded(&email));
        browser.cookies.clear();
        let asked = Instant::now();
        let answer = browser.send("POST", door.path, &[("X-Forwarded-For", &from)], &body);
        let took = asked.elapsed().as_secs_f64() * 1e3;
        let which = usize::from(!is_known);
        times[which].push(took);
        let headers: Vec<String> = answer
            .headers
            .iter()
            .filter(|(name, _)| name != "date")
            .map(|(name, value)| format!("{name}: {}", without_random(value)))
            .collect();
        // What was typed stands there again.
        answers[which].push((answer.status, headers, without_random(&answer.text().replace(&email, "EMAIL"))));
    }
    let first = &answers[0][0];
    assert_eq!(first.0, door.status, "{}", door.path);
    assert!(answers[0].iter().chain(&answers[1]).all(|answer| answer == first), "{}: all answers are alike", door.path);
    let [known, other] = &mut times;
    let z = apart(known, other);
    // This measure sees a quarter of a difference in these very times; else it would not be worth much.
    let slower: Vec<f64> = known.iter().map(|time| time * 1.25).collect();
    let seen = apart(&slower, other);
    let text = format!(
        "{}: n = {}, status {} and {} bytes each; median {:.3} ms known, {:.3} ms unknown; {z:+.2} standard deviations apart \
         ({seen:+.2} if known ones took a quarter longer)",
        door.path,
        2 * door.each,
        first.0,
        first.2.len(),
        median(known),
        median(other)
    );
    println!("{text}");
    assert!(seen - z > 4.0, "this run could not have seen a quarter of a difference: {text}");
    (z.abs() >= 4.0).then_some(text)
}

/// The same without what is drawn anew for each answer: tokens of cookies and nonces, which are as long in each.
fn without_random(text: &str) -> String {
    let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut parts = text.split_inclusive(|c: char| !is_token(c));
    let mut out = String::with_capacity(text.len());
    for part in &mut parts {
        let token = part.trim_end_matches(|c: char| !is_token(c));
        let is_random =
            matches!(token.len(), 22 | 43) || token.strip_prefix("nonce-").is_some_and(|rest| rest.len() == 22);
        out.push_str(&if is_random { part.replace(token, &"?".repeat(token.len())) } else { part.to_owned() });
    }
    out
}

#[test]
fn one_network_may_ask_only_so_often() {
    let site = Site::start(Options::default().demo());
    let mut browser = site.browser();
    let statuses: Vec<u16> =
        (0..25).map(|at| browser.post("/r/spring", &[("email", &format!("a{at}@home.example"))]).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 20, "{statuses:?}");
    let limited = browser.post("/partner", &[("email", "a@home.example")]);
    assert_eq!(limited.status, 429);
    assert!(limited.header("retry-after").unwrap().parse::<u64>().unwrap() <= 60);
    assert!(limited.text().contains("Too many tries came from your network"));
}

#[test]
fn a_mail_server_that_is_down_never_shows_who_is_registered() {
    let options = Options::default().demo();
    let site = Site::start(
        options.set("mail.smtp_host", "127.0.0.1").set("mail.smtp_port", "1").set("mail.smtp_security", "none"),
    );
    let mut browser = site.browser();
    let answers: Vec<_> = ["jane@example.com", "nobody@example.com"]
        .map(|email| {
            browser.cookies.clear();
            let answer = browser.post("/r/spring", &[("email", email)]);
            let page = browser.get("/r/spring/code");
            let page = page.text();
            let nonce = page.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
            (answer.status, answer.header("location").map(str::to_owned), page.replace(&nonce, "NONCE"))
        })
        .into();
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, 303);
}
