//! The catalog in PostgreSQL, with the real binary and a real server: it goes away and comes back, several control planes
//! share it, a catalog moves there; and what is wrong is said in one line.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::Stdio,
};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use support::stack::{Part, Stack, unique};
use support::{Client, Options, Response, Server, api, eventually, get};

/// The last column of what a statement finds, as text.
fn sql(url: &str, text: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        let rows = connection.fetch_all(AssertSqlSafe(text.to_owned())).await;
        rows.unwrap_or_else(|error| panic!("{text}: {error}")).iter().map(|row| row.get(0)).collect()
    })
}

/// A new database on the stack's server.
fn database(stack: &Stack) -> String {
    let name = unique("edge");
    sql(&stack.postgres_url(), &format!("CREATE DATABASE {name}"));
    let mut url = url::Url::parse(&stack.postgres_url()).unwrap();
    url.set_path(&name);
    url.to_string()
}

fn on(url: &str) -> Options {
    Options::default().set("catalog.url", url)
}

/// PUT of a link.
fn put(server: &Server, code: &str) -> Response {
    let link = json!({ "address": format!("https://shop.example/{code}") });
    api(server.control, &server.token(), "PUT", &format!("/v1/links/{code}"), &link)
}

fn leads(server: &Server, code: &str) -> bool {
    let answer = get(server.edge, &format!("/go/{code}"));
    answer.header("location").is_some_and(|to| to.starts_with(&format!("https://shop.example/{code}")))
}

fn part(server: &Server, name: &str) -> Value {
    get(server.ops, "/readyz").json()["parts"][name].clone()
}

fn serve_fails(data: &Path, url: &str) -> String {
    let mut command = support::server::command(data, &["serve"]);
    for key in ["EDGE__LISTEN", "CONTROL__LISTEN", "OPS__LISTEN"] {
        command.env(format!("FINGERPOST__{key}"), "127.0.0.1:0");
    }
    command.env("FINGERPOST__CATALOG__URL", url).env("FINGERPOST__LOG__LEVEL", "off");
    let output = assert_cmd::Command::from_std(command).timeout(support::PATIENCE).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn clicks_go_on_while_postgres_is_away_and_all_comes_right_by_itself() {
    let stack = Stack::own(&[Part::Postgres], &[]);
    let (folder, url) = (tempfile::tempdir().unwrap(), database(&stack));
    let server = Server::start(folder.path(), &on(&url)).unwrap();
    assert_eq!(put(&server, "first").status, 201);
    eventually("the link", || leads(&server, "first").then_some(()));

    stack.kill(Part::Postgres);
    eventually("the complaint", || (part(&server, "catalog")["state"] == "degraded").then_some(()));
    let mut client = Client::connect(server.edge).unwrap();
    for _ in 0..50 {
        assert_eq!(client.get("/go/first").unwrap().status, 302);
    }
    let refused = put(&server, "second");
    assert_eq!(refused.status, 503, "{}", refused.text());
    let problem = refused.json();
    assert_eq!(problem["title"], "The catalog does not answer");
    assert!(problem["detail"].as_str().unwrap().contains("start PostgreSQL"), "{problem}");

    let token = server.token();
    assert!(server.stop().success());
    let server = Server::start(folder.path(), &on(&url)).unwrap();
    assert!(leads(&server, "first"), "from the snapshot");
    let ready = get(server.ops, "/readyz");
    assert_eq!((ready.status, &ready.json()["state"]), (200, &json!("degraded")), "{}", ready.text());
    assert_eq!(part(&server, "links")["state"], "ready");

    stack.start(Part::Postgres);
    eventually("the all-clear", || (part(&server, "catalog")["state"] == "ready").then_some(()));
    assert_eq!(server.token(), token, "the token is the one of before");
    assert_eq!(put(&server, "second").status, 201);
    eventually("the new link", || leads(&server, "second").then_some(()));

    // The other way round: it is killed and back before anybody looks.
    stack.kill(Part::Postgres);
    stack.start(Part::Postgres);
    assert_eq!(put(&server, "third").status, 201, "a lost connection is made again");
    eventually("the new link", || leads(&server, "third").then_some(()));
    // Every one of the clicks: the first, 50 while it was away, and those with which links were looked for.
    drop(client);
    assert!(server.stop().success());
    let events = support::run(folder.path(), &["export", "events", "--format", "ndjson"]);
    assert!(events.lines().count() >= 54, "{events}");
}

/// Two machines, one catalog. The poll is an hour away: only a hint can tell one of the other's changes.
#[test]
fn a_change_on_one_machine_is_live_on_the_other() {
    let (folders, url) =
        ([tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()], database(Stack::shared(&[Part::Postgres])));
    let options = on(&url).set("catalog.poll_interval", "1h");
    let servers = folders.each_ref().map(|folder| Server::start(folder.path(), &options).unwrap());
    let with_token: Vec<bool> = folders.iter().map(|folder| folder.path().join("admin-token").exists()).collect();
    assert_eq!(with_token, [true, false], "one token, made by the first");
    fs::copy(folders[0].path().join("admin-token"), folders[1].path().join("admin-token")).unwrap();
    for round in 0..3 {
        for (from, to) in [(0, 1), (1, 0)] {
            let code = format!("r{round}-{from}");
            assert_eq!(put(&servers[from], &code).status, 201);
            eventually("the other one's link", || leads(&servers[to], &code).then_some(()));
        }
    }
}

/// kill -9 in the middle of an import: nothing of it stays, and nobody waits for its lock.
#[test]
fn a_killed_import_leaves_nothing() {
    let (folder, url) = (tempfile::tempdir().unwrap(), database(Stack::shared(&[Part::Postgres])));
    let server = Server::start(folder.path(), &on(&url)).unwrap();
    let mut command = support::server::command(&folder.path().join("other"), &["import", "links", "-"]);
    command.env("FINGERPOST__CATALOG__URL", &url).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut import = command.spawn().unwrap();
    let mut lines = import.stdin.take().unwrap();
    lines.write_all(b"code,address\n").unwrap();
    for n in 0..20_000 {
        writeln!(lines, "lost-{n},https://shop.example/{n}").unwrap();
    }
    let writing = "SELECT 'yes' FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction' \
                   AND backend_xid IS NOT NULL";
    eventually("the import to be at work", || (!sql(&url, writing).is_empty()).then_some(()));
    import.kill().unwrap();
    import.wait().unwrap();
    assert_eq!(put(&server, "kept").status, 201);
    assert_eq!(sql(&url, "SELECT code FROM links"), ["kept"]);
    assert_eq!(sql(&url, "SELECT seq::text FROM changes"), ["1"]);
    eventually("the link", || leads(&server, "kept").then_some(()));
}

/// A grown installation moves from SQLite to PostgreSQL and back: its edge goes on from where it was.
#[test]
fn a_catalog_moves_without_a_reload() {
    let (folder, url) = (tempfile::tempdir().unwrap(), database(Stack::shared(&[Part::Postgres])));
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    assert_eq!(put(&server, "first").status, 201);
    eventually("the link", || leads(&server, "first").then_some(()));
    let token = server.token();
    assert!(server.stop().success());

    let said = support::run(folder.path(), &["catalog", "copy", "config", &url]);
    for table in ["meta", "feed", "changes", "programs", "partners", "links", "ads", "share_links"] {
        let line = said.lines().find(|line| line.starts_with(&format!("{table} "))).unwrap_or_else(|| panic!("{said}"));
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert!(cells.len() == 4 && cells[1] == cells[2] && cells[1] != "0" && cells[3].len() == 32, "{line}");
    }
    assert!(said.lines().last().unwrap().ends_with("all are there"), "{said}");

    let server = Server::start(folder.path(), &on(&url)).unwrap();
    eventually("the catalog", || (part(&server, "catalog")["state"] == "ready").then_some(()));
    assert!(server.log().iter().all(|line| !line.contains("index loaded from the catalog")), "{:?}", server.log());
    assert!(leads(&server, "first"));
    let ours = api(server.control, &token, "GET", "/v1/links/first", &Value::Null);
    assert_eq!(ours.status, 200, "the token is believed: {}", ours.text());
    assert_eq!(put(&server, "second").status, 201);
    eventually("the new link", || leads(&server, "second").then_some(()));
    assert!(server.stop().success());

    let back = format!("sqlite:{}", folder.path().join("catalog.db").display());
    let refused = support::fails(folder.path(), &["catalog", "copy", &url, &back]);
    assert!(refused.contains("a catalog in") && refused.contains("--replace"), "{refused}");
    support::run(folder.path(), &["catalog", "copy", &url, &back, "--replace"]);
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    assert!(leads(&server, "second"));
    assert!(server.log().iter().all(|line| !line.contains("index loaded from the catalog")), "{:?}", server.log());
}

/// Each refusal at a first start is one line that says what to do, and no password.
#[test]
fn what_is_wrong_at_a_first_start_is_said_in_one_line() {
    let stack = Stack::own(&[Part::Postgres], &[]);
    let superuser = stack.postgres_url();
    let url = database(&stack).replace("fingerpost@", "ann:hunter2@");
    sql(&superuser, "CREATE ROLE ann LOGIN PASSWORD 'right'");
    let hba = sql(&superuser, "SHOW hba_file").remove(0);
    let rules = fs::read_to_string(&hba).unwrap();
    fs::write(&hba, format!("host all ann 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
    sql(&superuser, "SELECT pg_reload_conf()::text");
    let folder = tempfile::tempdir().unwrap();
    let port = url::Url::parse(&url).unwrap().port().unwrap();
    eventually("the new rules", || serve_fails(folder.path(), &url).contains("password").then_some(()));
    for (url, expected) in [
        (url.clone(), "password authentication failed for user \"ann\": mend user and password in catalog.url"),
        (url.replace("hunter2", "right"), "GRANT CREATE ON SCHEMA public to it"),
        (format!("{superuser}-not"), "database \"postgres-not\" does not exist: make it (`createdb`)"),
        (superuser.replace(&port.to_string(), "1"), "start PostgreSQL, or mend catalog.url"),
    ] {
        let said = serve_fails(folder.path(), &url);
        assert!(said.contains(expected), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        assert!(!said.contains("hunter2") && !said.contains("right"), "{said}");
    }
    let wrong = support::server::command(folder.path(), &["check"])
        .env("FINGERPOST__CATALOG__URL", format!("{url}?sslmod=require"))
        .output()
        .unwrap();
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("catalog.url (FINGERPOST__CATALOG__URL): has a parameter `sslmod`"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn migrate_makes_the_catalog_and_says_so_beforehand() {
    let stack = Stack::shared(&[Part::Postgres]);
    let (folder, url) = (tempfile::tempdir().unwrap(), database(stack));
    let run = |arguments: &[&str]| {
        let mut command = support::server::command(folder.path(), arguments);
        let output = command.env("FINGERPOST__CATALOG__URL", &url).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.success(), said)
    };
    let tables = || sql(&url, "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'").remove(0);
    let (ok, would) = run(&["migrate", "--dry-run"]);
    assert!(ok && would.starts_with("PostgreSQL: would apply version 1 (catalog)\n"), "{would}");
    assert_eq!(tables(), "0", "it did nothing");
    assert_eq!(run(&["migrate"]), (true, would.replace("would ", "")));
    assert_ne!(tables(), "0");
    for arguments in [&["migrate"][..], &["migrate", "--dry-run"]] {
        let (ok, said) = run(arguments);
        assert!(
            ok && said.starts_with("PostgreSQL: up to date (schema version ") && said.lines().count() == 1,
            "{said}"
        );
    }
    sql(&url, "DELETE FROM _sqlx_migrations WHERE version > 1 RETURNING version::text");
    sql(&url, "INSERT INTO _sqlx_migrations SELECT 7777, 'later', now(), true, ''::bytea, 0 RETURNING version::text");
    let (ok, said) = run(&["migrate", "--dry-run"]);
    assert!(!ok && said.contains("PostgreSQL was not migrated") && said.contains("7777"), "{said}");
    // Where a machine knows a catalog, an empty database is the wrong one.
    let (wrong, known) = (database(stack), tempfile::tempdir().unwrap());
    fs::write(known.path().join("links.snapshot"), "").unwrap();
    let mut command = support::server::command(known.path(), &["migrate", "--dry-run"]);
    let output = command.env("FINGERPOST__CATALOG__URL", &wrong).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("there is no catalog in postgres://"), "{said}");
}

/// `sslmode=verify-full` believes the authority in `sslrootcert`, and nobody else.
#[test]
fn the_way_to_postgres_can_be_over_tls() {
    let stack = Stack::own(&[Part::Postgres], &[]);
    let folder = tempfile::tempdir().unwrap();
    let superuser = stack.postgres_url();
    let home = sql(&superuser, "SHOW data_directory").remove(0);
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let owner = fs::metadata(&home).unwrap();
    for (name, text) in [("server.crt", made.cert.pem()), ("server.key", made.signing_key.serialize_pem())] {
        let path = Path::new(&home).join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    sql(&superuser, "ALTER SYSTEM SET ssl = on");
    sql(&superuser, "SELECT pg_reload_conf()::text");
    eventually("TLS", || (sql(&superuser, "SHOW ssl") == ["on"]).then_some(()));
    let url = database(&stack);
    for (name, certificate, works) in [("right.pem", &made, true), ("other.pem", &other, false)] {
        let authority = folder.path().join(name);
        fs::write(&authority, certificate.cert.pem()).unwrap();
        let url = format!("{url}?sslmode=verify-full&sslrootcert={}", authority.display());
        let data = folder.path().join(format!("data-{works}"));
        if works {
            let server = Server::start(&data, &on(&url)).unwrap();
            let encrypted = "SELECT DISTINCT ssl::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                             WHERE application_name LIKE 'fingerpost%'";
            assert_eq!(sql(&superuser, encrypted), ["true"]);
            assert_eq!(put(&server, "first").status, 201);
        } else {
            let said = serve_fails(&data, &url);
            assert!(said.contains("mend sslmode and sslrootcert in catalog.url"), "{said}");
        }
    }
}
