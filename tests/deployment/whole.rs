//! The compose file, played with processes in the place of containers: each service of ours has its command and its
//! environment, the names of the others are put where they listen here, and the balancer has its file. What visitors click
//! arrives in ClickHouse, each once, also what an edge recorded that was ended.

use std::{
    path::Path,
    process::{Child, Stdio},
};

use serde_yaml_ng::Value;

use crate::{
    balancer::{Balancer, free_port},
    compose::{filled, ours},
    entries, image, names,
    support::{
        self, Client, Options, Server,
        client::BROWSER,
        eventually,
        stack::{Part, Stack},
    },
    text,
};

/// Of ClickHouse's user; [`filled`] gives it to whoever asks for a password.
const PASSWORD: &str = "3f9a0c";
const VISITORS: usize = 40;

/// A service's settings as it has them in its container, with the addresses of here.
fn settings(service: &Value, stack: &Stack, keys: &Path) -> Vec<(String, String)> {
    let own = entries(&service["environment"]).map(|(key, value)| (key, filled(&text(value).unwrap_or_default())));
    let mut settings: Vec<(String, String)> = image::environment().into_iter().chain(own).collect();
    let here = [
        ("CATALOG__URL", stack.postgres_url()),
        ("KAFKA__BROKERS", stack.brokers()),
        ("CLICKHOUSE__URL", stack.clickhouse_url()),
        ("CLICKHOUSE__USER", "default".to_owned()),
        ("KEYS__FILE", keys.display().to_string()),
        ("EDGE__LISTEN", "127.0.0.1:0".to_owned()),
        ("CONTROL__LISTEN", "127.0.0.1:0".to_owned()),
        ("OPS__LISTEN", "127.0.0.1:0".to_owned()),
    ];
    settings.retain(|(key, _)| key != "FINGERPOST__DATA");
    for (key, value) in &mut settings {
        if let Some((_, address)) = here.iter().find(|(name, _)| key.strip_prefix("FINGERPOST__") == Some(name)) {
            value.clone_from(address);
        }
    }
    settings
}

fn edge(service: &Value, stack: &Stack, folder: &Path, name: &str) -> Server {
    let mut options = Options::default();
    for (key, value) in settings(service, stack, &folder.join("keys.toml")) {
        options = options.set(key.trim_start_matches("FINGERPOST__"), value);
    }
    // Somebody has to have made a link; the catalog is everybody's.
    let options = if name == "edge-1" { options.demo() } else { options };
    Server::start(&folder.join(name), &options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Ended with the test.
struct Loader(Child);

impl Drop for Loader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn process(service: &Value, stack: &Stack, folder: &Path) -> std::process::Command {
    let words = names(&service["command"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = support::server::command(folder, &words);
    command.envs(settings(service, stack, &folder.join("keys.toml")));
    command
}

#[test]
fn what_visitors_click_arrives_once_through_all_parts() {
    let folder = tempfile::tempdir().unwrap();
    let stack = Stack::own(&[Part::Kafka, Part::Clickhouse, Part::Postgres], &["--password", PASSWORD]);
    let services = ours();
    for _ in 0..2 {
        let output = process(&services["migrate"], &stack, folder.path()).output().unwrap();
        assert!(output.status.success(), "migrate, also again: {}", String::from_utf8_lossy(&output.stderr));
    }
    let one = edge(&services["edge-1"], &stack, folder.path(), "edge-1");
    let two = edge(&services["edge-2"], &stack, folder.path(), "edge-2");
    let loader = process(&services["loader"], &stack, folder.path()).stderr(Stdio::null()).spawn().unwrap();
    let _loader = Loader(loader);
    let (visitors, inside) = (free_port(), free_port());
    let _balancer = Balancer::start(folder.path(), [&one, &two], visitors, inside);

    // A new visitor, or one who was here before.
    let click = |cookie: Option<&str>| {
        let mut headers = vec![("User-Agent", BROWSER)];
        headers.extend(cookie.map(|cookie| ("Cookie", cookie)));
        let mut client = Client::connect(([127, 0, 0, 1], visitors).into()).unwrap();
        let answer = client.send("GET", "/go/haircare/abc123", &headers, b"").unwrap();
        assert_eq!(answer.status, 302, "{}", answer.text());
        answer.cookie().map(str::to_owned)
    };
    let cookies: Vec<String> = (0..VISITORS).map(|_| click(None).expect("a cookie")).collect();
    for edge in [&one, &two] {
        let ready = support::get(edge.ops, "/readyz").text();
        assert!(ready.contains("\"state\":\"ready\""), "{ready}");
    }
    assert!(one.stop().success());
    // Cookies that the first one has signed are good at the second: they have one key file.
    cookies.iter().for_each(|cookie| drop(click(Some(cookie))));
    let ask = |query: &str| -> Option<String> {
        let address = stack.clickhouse_url().trim_start_matches("http://").parse().unwrap();
        let headers = [("X-ClickHouse-User", "default"), ("X-ClickHouse-Key", PASSWORD)];
        let answer = Client::connect(address).ok()?.send("POST", "/", &headers, query.as_bytes()).ok()?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Some(answer.text().trim().to_owned())
    };
    let rows = "SELECT count(), uniqExact(id), uniqExact(partition, offset), uniqExact(visitor) FROM fingerpost.events";
    let clicks = 2 * VISITORS;
    let all = format!("{clicks}\t{clicks}\t{clicks}\t{VISITORS}");
    eventually("all clicks in ClickHouse", || (ask(rows)? == all).then_some(()));
    let sum =
        ask("SELECT sum(r.count) FROM fingerpost.reach AS r WHERE kind = 'click' AND class IN ('human', 'repeat')");
    assert_eq!(sum, Some(clicks.to_string()));
    assert!(two.stop().success());
}
