//! All of it on PostgreSQL, and what concerns a server: hints, lost connections, killed writers, refusals.

#![allow(clippy::duplicate_mod, reason = "each test runs on both databases")]

use std::{sync::Arc, time::Duration};

use feed::{follower, until};
use sqlx::{Executor, PgConnection, Row as _};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    links::Links,
    telemetry::health::{Health, State},
};

const BACKEND: Backend = Backend::Postgres;

#[path = "bulk.rs"]
mod bulk;
#[path = "copy.rs"]
mod copy;
#[path = "feed.rs"]
mod feed;
#[path = "items.rs"]
mod items;
#[path = "logins.rs"]
mod logins;
#[path = "names.rs"]
mod names;
#[path = "outbox.rs"]
mod outbox;
#[path = "persons.rs"]
mod persons;
#[path = "record.rs"]
mod record;
#[path = "touch.rs"]
mod touch;
#[path = "webhooks.rs"]
mod webhooks;
#[path = "writers.rs"]
mod writers;

/// Ends server processes of the fixture's database; how many.
async fn terminate(fixture: &Fixture, condition: &str) -> i64 {
    let mut connection = server::connect(&fixture.url).await;
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap().get(0)
}

async fn put_link(catalog: &Catalog, code: &str) {
    let link = read_json::<Link>(json!({"code": code, "address": "https://a.example"})).unwrap();
    catalog.put(link).await.unwrap();
}

/// A follower that polls once an hour, at work on the four changes of spring.
async fn hour_follower(fixture: &Fixture) -> (Arc<Links>, CancellationToken, JoinHandle<()>) {
    let options = FollowerOptions { poll_interval: Duration::from_secs(3_600), ..fixture.options() };
    let follower = Follower::start(fixture.catalog.clone(), Health::default(), fixture.clock.clone(), options).await;
    let (links, stop) = (follower.links(), CancellationToken::new());
    let task = tokio::spawn(follower.run(stop.clone()));
    until("the first load", || links.applied.load(Ordering::Acquire) == 4).await;
    (links, stop, task)
}

/// Waits until `count` listeners are there, none of them `but`.
async fn listener(connection: &mut PgConnection, but: i32) -> i32 {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
               AND application_name = 'fingerpost hints' AND query LIKE 'LISTEN%' AND state = 'idle' AND pid <> $1";
    let found = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Some(row) = sqlx::query(sql).bind(but).fetch_optional(&mut *connection).await.unwrap() {
                return row.get(0);
            }
        }
    });
    found.await.expect("a listener")
}

#[tokio::test]
async fn what_others_commit_waits_for_no_poll() {
    let fixture = Fixture::spring(BACKEND).await;
    let (links, stop, task) = hour_follower(&fixture).await;
    let other = fixture.open(false).await.unwrap();
    for seq in 5..10 {
        put_link(&other, &format!("new{seq}")).await;
        until("the hint", || links.applied.load(Ordering::Acquire) == seq).await;
    }
    stop.cancel();
    task.await.unwrap();
}

/// Whatever was missed meanwhile is taken when the listener comes back, and from then on hints arrive again.
#[tokio::test]
async fn a_listener_that_is_killed_comes_back() {
    let fixture = Fixture::spring(BACKEND).await;
    let (links, stop, task) = hour_follower(&fixture).await;
    let other = fixture.open(false).await.unwrap();
    let mut connection = server::connect(&fixture.url).await;
    let mut pid = 0;
    for seq in [5, 7, 9] {
        pid = listener(&mut connection, pid).await;
        assert_eq!(terminate(&fixture, "application_name = 'fingerpost hints'").await, 1);
        put_link(&other, &format!("meanwhile{seq}")).await;
        until("what was missed", || links.applied.load(Ordering::Acquire) == seq).await;
        listener(&mut connection, pid).await;
        put_link(&other, &format!("again{seq}")).await;
        until("the hint", || links.applied.load(Ordering::Acquire) == seq + 1).await;
    }
    stop.cancel();
    task.await.unwrap();
}

/// Hints are a help only: nobody listens here.
#[tokio::test]
async fn without_a_listener_polling_finds_it() {
    let fixture = Fixture::spring(BACKEND).await;
    let mut follower = follower(&fixture, &Health::default()).await;
    follower.catch_up().await.unwrap();
    assert_eq!(terminate(&fixture, "application_name = 'fingerpost hints'").await, 0);
    put_link(&fixture.open(false).await.unwrap(), "new").await;
    assert_eq!(follower.catch_up().await.unwrap(), 1);
}

/// As when its process is killed: the lock is free at once, its numbers are given to others.
#[tokio::test]
async fn a_writer_that_is_killed_leaves_nothing() {
    let fixture = Fixture::spring(BACKEND).await;
    let other = fixture.open(false).await.unwrap();
    let mut bulk = Bulk::<Program, ()>::begin(&other).await.unwrap();
    let row = Row { line: 2, item: read_json(json!({"code": "lost"})).unwrap(), cargo: () };
    bulk.add(vec![row]).await.unwrap();
    assert_eq!(terminate(&fixture, "state = 'idle in transaction'").await, 1);
    put_link(&fixture.catalog, "kept").await;
    let error = bulk.commit().await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    assert_eq!(fixture.catalog.position().await.unwrap().last, 5);
    assert!(matches!(other.get::<Program>(&["lost"]).await, Err(CatalogError::NotFound { .. })));
    put_link(&other, "again").await;
    assert_eq!(fixture.catalog.position().await.unwrap().last, 6);
}

/// All connections are gone, as behind a restart of the server: nobody notices.
#[tokio::test]
async fn lost_connections_are_made_again() {
    let fixture = Fixture::spring(BACKEND).await;
    for n in 0..3 {
        assert!(terminate(&fixture, "true").await > 0);
        put_link(&fixture.catalog, &format!("l{n}")).await;
        fixture.catalog.get::<Link>(&["haircare"]).await.unwrap();
    }
}

/// A connection through it can be cut like a cable.
struct Cable {
    address: std::net::SocketAddr,
    to: String,
    works: Option<JoinHandle<()>>,
}

impl Cable {
    async fn new(url: &str) -> (Cable, String) {
        let mut url = url::Url::parse(url).unwrap();
        let to = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        url.set_port(Some(address.port())).unwrap();
        let works = Some(tokio::spawn(Cable::pass(listener, to.clone())));
        (Cable { address, to, works }, url.to_string())
    }

    async fn pass(listener: TcpListener, to: String) {
        let mut connections = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(&to).await.unwrap();
            connections.spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    }

    async fn cut(&mut self) {
        let works = self.works.take().unwrap();
        works.abort();
        let _ = works.await;
    }

    async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.works = Some(tokio::spawn(Cable::pass(listener, self.to.clone())));
    }
}

/// At start and while running: the index serves, health tells, writes are refused clearly, and all comes right by itself.
#[tokio::test]
async fn the_edge_goes_on_while_the_server_is_away() {
    let fixture = Fixture::spring(BACKEND).await;
    let (mut cable, url) = Cable::new(&fixture.url).await;
    let open = |clock: &Clock| Catalog::new(&url, false, clock.clone()).unwrap();
    let catalog = open(&fixture.clock);
    let health = Health::default();
    let part = |name: &str| health.snapshot().1.get(name).cloned();
    for from_snapshot in [false, true] {
        if from_snapshot {
            cable.cut().await;
        }
        let catalog = if from_snapshot { open(&fixture.clock) } else { catalog.clone() };
        let follower = Follower::start(catalog.clone(), health.clone(), fixture.clock.clone(), fixture.options()).await;
        let (links, stop) = (follower.links(), CancellationToken::new());
        let task = tokio::spawn(follower.run(stop.clone()));
        if !from_snapshot {
            until("the first load", || links.applied.load(Ordering::Acquire) == 4).await;
            cable.cut().await;
        }
        until("the complaint", || part("catalog").is_some_and(|c| c.state == State::Degraded)).await;
        assert!(links.links.contains_key("haircare"));
        let link = read_json::<Link>(json!({"code": "x", "address": "https://a.example"})).unwrap();
        let refused = catalog.put(link).await.unwrap_err();
        assert!(matches!(&refused, CatalogError::Unavailable(why) if why.contains("start PostgreSQL")), "{refused}");
        let code = format!("back-{from_snapshot}");
        put_link(&fixture.catalog, &code).await;
        cable.mend().await;
        until("the change", || links.links.contains_key(code.as_str())).await;
        until("the all-clear", || part("catalog").is_some_and(|c| c.state == State::Ready)).await;
        stop.cancel();
        task.await.unwrap();
    }
}

/// A server that takes the connection and says nothing is away, too.
#[tokio::test]
async fn a_server_that_says_nothing_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://ann@{}/x", listener.local_addr().unwrap());
    let error = Catalog::open(&url, true, Clock::System).await.unwrap_err();
    assert!(matches!(&error, CatalogError::Unavailable(why) if why.contains("no word from")), "{error}");
}

#[tokio::test]
async fn a_server_that_refuses_is_quoted_with_what_to_do() {
    let fixture = Fixture::nowhere(BACKEND).await;
    let mut connection = server::connect(&fixture.url).await;
    let poor = format!("poor_{}", std::process::id());
    let role = format!("DROP ROLE IF EXISTS {poor}; CREATE ROLE {poor} LOGIN");
    connection.execute(sqlx::AssertSqlSafe(role)).await.unwrap();
    let change = |user: Option<&str>, path: Option<&str>, port: Option<u16>| {
        let mut url = url::Url::parse(&fixture.url).unwrap();
        url.set_username(user.unwrap_or("fingerpost")).unwrap();
        url.set_password(Some("hunter2")).unwrap();
        if let Some(path) = path {
            url.set_path(path);
        }
        url.set_port(port.or(url.port())).unwrap();
        url.to_string()
    };
    for (url, said) in [
        (change(Some("nobody"), None, None), "mend user and password"),
        (change(None, Some("nowhere"), None), "make it (`createdb`)"),
        (change(Some(&poor), None, None), "GRANT CREATE ON SCHEMA public"),
        (change(None, None, Some(1)), "nobody listens at"),
        (format!("{}?sslmode=require", change(None, None, None)), "sslmode"),
    ] {
        let catalog = Catalog::new(&url, true, Clock::System).unwrap();
        let error = catalog.ready().await.unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains('\n'), "{url}: {error}");
        assert!(!error.contains("hunter2") && !format!("{catalog:?}").contains("hunter2"), "{error}");
    }
}

/// Deadlocks and such pass: who asks again may be let in. A server that ends is away.
#[tokio::test]
async fn errors_are_sorted_by_their_code() {
    let fixture = Fixture::new(BACKEND).await;
    for (code, tag) in
        [("55P03", "busy"), ("40001", "busy"), ("40P01", "busy"), ("57P01", "unavailable"), ("53100", "unavailable")]
    {
        let raise = format!("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$");
        let mut connection = fixture.catalog.reader().await.unwrap();
        let error = connection.execute(sqlx::AssertSqlSafe(raise)).await.unwrap_err();
        assert_eq!(CatalogError::from(error).tag(), tag, "{code}");
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let fixture = Fixture::new(BACKEND).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'x', true, ''::bytea, 1)";
    server::connect(&fixture.url).await.execute(newer).await.unwrap();
    let error = fixture.open(true).await.unwrap_err();
    assert!(matches!(error, CatalogError::Newer { found: 999, .. }), "{error}");
}

/// An empty database in the place of a catalog would take every link away from an edge that has a snapshot.
#[tokio::test]
async fn an_empty_database_is_not_made_a_catalog_by_the_way() {
    let fixture = Fixture::nowhere(BACKEND).await;
    let error = fixture.open(false).await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("there is no catalog in postgres://"), "{error}");
    let row = server::connect(&fixture.url).await.fetch_one("SELECT to_regclass('feed') IS NULL").await.unwrap();
    assert!(row.get::<bool, _>(0), "nothing was made");
}
