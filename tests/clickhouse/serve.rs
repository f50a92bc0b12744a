//! The command line and the server over ClickHouse.

use crate::{
    block_on,
    engine::{Database, settings, shared},
    support::{self, Options, Server, eventually},
};

pub(crate) fn options(database: &Database) -> Options {
    Options::default()
        .set("sink.kind", "clickhouse")
        .set("clickhouse.url", &database.settings.url)
        .set("clickhouse.database", &database.settings.database)
        .set("sink.linger", "50ms")
        .set("edge.workers", "2")
        .demo()
}

fn command(database: &Database, data: &std::path::Path, arguments: &[&str]) -> (bool, String) {
    let output = support::server::command(data, arguments)
        .env("FINGERPOST__CLICKHOUSE__URL", &database.settings.url)
        .env("FINGERPOST__CLICKHOUSE__DATABASE", &database.settings.database)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn migrate_says_what_it_would_do_does_it_and_then_has_nothing_to_do() {
    let engine = shared();
    let database = Database::empty(settings(engine));
    let data = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| command(&database, data.path(), arguments);
    let (ok, would) = run(&["migrate", "--dry-run"]);
    assert!(
        ok && would.contains("ClickHouse: would create the database") && would.contains("would apply version 2"),
        "{would}"
    );
    assert_eq!(run(&["migrate", "--dry-run"]), (true, would.clone()), "it did nothing");
    assert_eq!(run(&["migrate"]), (true, would.replace("would ", "")));
    assert_eq!(run(&["migrate"]), (true, "ClickHouse: up to date (schema version 4)\n".to_owned()));
    let output = support::server::command(data.path(), &["migrate"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("clickhouse.url"), "{said}");
}

#[test]
fn every_click_of_a_killed_server_is_in_clickhouse_once_and_names_stand_beside() {
    let engine = shared();
    let database = Database::empty(settings(engine));
    let data = tempfile::tempdir().unwrap();
    let options = options(&database);
    let mut answered = 0;
    for round in 0..3 {
        let server = Server::start(data.path(), &options).unwrap();
        for _ in 0..50 {
            assert_eq!(support::get(server.edge, "/go/haircare/abc123/website2").status, 302);
            answered += 1;
        }
        if round == 0 {
            // Nobody has made the tables yet: redirects go on, and readiness says what to do.
            eventually("readiness to say it", || {
                let ready = support::get(server.ops, "/readyz");
                ready.text().contains("run `fingerpost migrate`").then_some(())
            });
            assert!(command(&database, data.path(), &["migrate"]).0);
        }
        server.kill();
    }
    let server = Server::start(data.path(), &options).unwrap();
    let count = |expected: u64| {
        eventually("all clicks", || {
            let rows = block_on(database.numbers("count()", "DB.events"));
            (rows == [expected]).then_some(())
        });
    };
    count(answered);
    server.stop();
    assert_eq!(block_on(database.audit()), answered);
    let (ok, said) = command(&database, data.path(), &["names", "--partners"]);
    assert!(ok && said.contains("1 names of programs"), "{said}");
    let named = block_on(database.numbers(
        "sum(r.count)",
        "DB.reach AS r LEFT JOIN DB.names_now AS n ON n.kind = 'link' AND n.code = r.link WHERE n.name != ''",
    ));
    assert_eq!(named, [answered]);
}
