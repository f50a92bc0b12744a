//! The main job, end to end: a link is clicked, the visitor arrives, the click is counted.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use support::{Client, Options, Server, api, client::BROWSER, eventually, rows, run};

#[test]
fn a_link_is_clicked_the_visitor_arrives_the_click_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    let mut client = Client::connect(server.edge).unwrap();
    let answer = client.get("/go/haircare/abc123/website2").unwrap();
    assert_eq!(answer.status, 302);
    let location = url::Url::parse(answer.header("location").unwrap()).unwrap();
    assert_eq!(location.host_str(), Some("shop.example"));
    assert!(location.query_pairs().any(|(name, token)| name == "fpc" && token.len() > 40), "{location}");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("fp=") && cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    assert!(!cookie.contains("Secure"), "the request came in clear: {cookie}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    let report = eventually("the report", || {
        let text = run(folder.path(), &["report", "links", "--format", "json"]);
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        rows.first().cloned()
    });
    assert_eq!(
        (&report["link"], &report["partner"], &report["ad"], &report["clicks"], &report["unique_visitors"]),
        (&"haircare".into(), &"abc123".into(), &"website2".into(), &1.into(), &1.into())
    );
    let of_api = api(server.control, &server.token(), "GET", "/v1/reports/links", &serde_json::Value::Null);
    assert_eq!(of_api.status, 200, "{}", of_api.text());
    assert_eq!(of_api.json().as_array().unwrap().len(), 1);
    assert_eq!(of_api.json()[0]["clicks"], 1);

    let row = &rows(folder.path(), 1)[0];
    for (field, expected) in [
        ("kind", "click"),
        ("class", "human"),
        ("program", "spring"),
        ("link", "haircare"),
        ("partner", "abc123"),
        ("ad", "website2"),
        ("country", ""),
        ("address", "127.0.0.0/24"),
        ("browser", "Chrome"),
        ("device", "desktop"),
        ("reason", ""),
    ] {
        assert_eq!(row[field], expected, "{field} in {row:#}");
    }
    assert!(server.stop().success());
}

#[test]
fn curl_as_the_readme_shows_it_counts_as_a_click() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    let mut client = Client::connect(server.edge).unwrap();
    let headers = [("User-Agent", "curl/8.5.0"), ("Accept", "*/*")];
    assert_eq!(client.send("GET", "/go/haircare/abc123", &headers, b"").unwrap().status, 302);
    assert_eq!(rows(folder.path(), 1)[0]["class"], "human");
}

#[test]
fn a_second_click_is_a_repeat_of_the_same_visitor() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    let mut client = Client::connect(server.edge).unwrap();
    let first = client.get("/go/haircare/abc123/website2").unwrap();
    let cookie = first.cookie().unwrap().to_owned();
    let headers = [("User-Agent", BROWSER), ("Cookie", cookie.as_str())];
    client.send("GET", "/go/haircare/abc123/website2", &headers, b"").unwrap();
    client.send("GET", "/go/haircare/abc123", &headers, b"").unwrap();
    let rows = rows(folder.path(), 3);
    let classes: Vec<_> = rows.iter().map(|row| row["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["human", "repeat", "human"], "another ad is another touch");
    assert!(rows.iter().all(|row| row["visitor"] == rows[0]["visitor"] && row["visitor"] != ""));
}

#[test]
fn clicks_survive_kill_9_and_a_restart_reports_them_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::default().demo().set("sink.linger", "1h");
    let server = Server::start(folder.path(), &options).unwrap();
    let mut client = Client::connect(server.edge).unwrap();
    for _ in 0..10 {
        assert_eq!(client.get("/go/haircare/abc123").unwrap().status, 302);
    }
    server.kill();
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    assert_eq!(rows(folder.path(), 10).len(), 10);
    assert!(server.stop().success());
}
