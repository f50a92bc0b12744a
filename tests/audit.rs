//! The audit log through the real binary: who changed what by the API, by an import, by itself; filters, pages, CSV, the command.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};
use support::{Options, Server, api, run};

fn ok(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let answer = api(server.control, &server.token(), method, path, body);
    assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

fn log(server: &Server, query: &str) -> Vec<Value> {
    ok(server, "GET", &format!("/v1/audit?limit=1000&{query}"), &Value::Null)["items"].as_array().unwrap().clone()
}

/// A request with headers of its own; the whole answer as text.
fn raw(server: &Server, head: &str) -> String {
    let mut stream = TcpStream::connect(server.control).unwrap();
    let request = format!("{head}\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n", server.token());
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn every_way_to_change_something_leaves_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    let begun = log(&server, "");
    assert!(begun.iter().all(|row| row["who"] == "system:demo" || row["who"] == "system:start"), "{begun:#?}");
    assert_eq!(log(&server, "kind=token").len(), 1);

    let partner = |email: &str| json!({"name": "Kim", "email": email});
    ok(&server, "PUT", "/v1/partners/kim", &partner("kim@home.example"));
    ok(&server, "PUT", "/v1/partners/kim", &partner("kim@work.example"));
    ok(&server, "PUT", "/v1/partners/kim", &json!({"name": "Kim", "email": "kim@work.example", "status": "paused"}));
    let file = folder.path().join("links.csv");
    std::fs::write(&file, "code,address\nhaircare,https://shop.example/new\nsuncare,https://shop.example/sun\n")
        .unwrap();
    run(folder.path(), &["import", "links", file.to_str().unwrap()]);
    ok(&server, "DELETE", "/v1/partners/kim", &Value::Null);

    let deeds: Vec<Value> = log(&server, "who=token:admin");
    let words: Vec<&str> = deeds.iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(words, ["delete", "update", "update", "create"], "the newest first: {deeds:#?}");
    assert_eq!(deeds[1]["changes"], json!([{"field": "status", "before": "active", "after": "paused"}]));
    assert_eq!(deeds[2]["changes"], json!([{"field": "email"}]), "an address is not kept");
    let imported = log(&server, "who=cli:*");
    let words: Vec<String> = imported.iter().map(|row| format!("{} {}", row["action"], row["code"])).collect();
    assert_eq!(words.len(), 3, "{imported:#?}");
    assert_eq!(log(&server, "code=HAIRCARE&action=update")[0]["changes"][1]["after"], "https://shop.example/new");
    assert!(!serde_json::to_string(&log(&server, "")).unwrap().contains("kim@"));

    // Pages, the request's id, CSV, and the command line.
    let first = ok(&server, "GET", "/v1/audit?limit=2", &Value::Null);
    let next = first["next"].as_str().unwrap();
    let second = ok(&server, "GET", &format!("/v1/audit?limit=2&cursor={next}"), &Value::Null);
    let both: Vec<Value> =
        [&first, &second].iter().flat_map(|page| page["items"].as_array().unwrap().clone()).collect();
    assert_eq!(both, log(&server, "")[..4]);
    let deleted = raw(&server, "DELETE /v1/links/suncare HTTP/1.1\r\nX-Request-Id: ticket-7");
    assert!(deleted.starts_with("HTTP/1.1 204") && deleted.contains("x-request-id: ticket-7"), "{deleted}");
    assert_eq!(log(&server, "kind=link&action=delete")[0]["request"], "ticket-7");
    let csv = raw(&server, "GET /v1/audit?kind=link&action=delete HTTP/1.1\r\nAccept: text/csv");
    assert!(
        csv.contains("id,at,who,action,kind,code,changes,request\r\n") || csv.contains("changes,request\n"),
        "{csv}"
    );
    assert!(csv.contains(",token:admin,delete,link,suncare,"), "{csv}");
    let told = run(folder.path(), &["audit", "--kind", "link", "--action", "delete"]);
    assert!(told.lines().count() == 2 && told.contains(",token:admin,delete,link,suncare,"), "{told}");
    let wrong = api(server.control, &server.token(), "GET", "/v1/audit?since=soon", &Value::Null);
    assert_eq!((wrong.status, wrong.json()["errors"][0]["field"].clone()), (400, json!("since")), "{}", wrong.text());

    // What fails leaves nothing; what a machine tells is a row of its own.
    let count = log(&server, "").len();
    let refused = api(server.control, &server.token(), "PUT", "/v1/partners/lee", &json!({"parent": "nobody"}));
    assert_eq!(refused.status, 422);
    ok(&server, "POST", "/v1/leads", &json!({"program": "spring", "email": "a@b.example", "partner": "abc123"}));
    assert_eq!(log(&server, "").len(), count);
}
