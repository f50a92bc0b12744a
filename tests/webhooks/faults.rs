//! What may break: the process in the middle, the catalog; and several processes at once.

use std::collections::{BTreeMap, HashSet};

use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};

use crate::{
    endpoint, happen, happen_in, quick,
    receiver::{Received, Receiver, Reply},
    shown,
    support::{
        Options, Server, eventually, get,
        stack::{Part, Stack, unique},
    },
    with_catalog,
};

/// A new database on the stack's server.
fn database(stack: &Stack) -> String {
    let name = unique("webhooks");
    with_catalog(&stack.postgres_url(), async |connection| {
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    });
    let mut url = url::Url::parse(&stack.postgres_url()).unwrap();
    url.set_path(&name);
    url.to_string()
}

/// A lease that a killed process left ends soon.
fn short_lease() -> Options {
    quick().set("webhooks.timeout", "500ms")
}

/// kill -9 in the middle: nothing is lost, and what comes twice has the same id.
#[test]
fn kill_9_loses_nothing() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let mut server = Server::start(folder.path(), &short_lease()).unwrap();
    // Every tenth event fails at first, so that some wait for their second try when the process dies.
    receiver.rule(|request, before| Reply::Status(if request.n() % 10 == 0 && before == 0 { 500 } else { 200 }));
    let (id, secret) = endpoint(&server, &json!({ "address": receiver.url("/") }));
    for round in 0..3 {
        happen(folder.path(), "a", "", 100 * round + 1..=100 * (round + 1));
        let before = receiver.received().len();
        receiver.wait_for(before + 30);
        server.kill();
        server = Server::start(folder.path(), &short_lease()).unwrap();
    }
    let all = receiver.wait("all events, and the second tries", |received| {
        let taken = |request: &&Received| request.n() % 10 != 0;
        received.iter().filter(taken).map(Received::n).collect::<HashSet<_>>().len() == 270
            && (1..=30).all(|ten| received.iter().filter(|request| request.n() == 10 * ten).count() >= 2)
    });
    let mut ids: BTreeMap<i64, HashSet<String>> = BTreeMap::new();
    for request in &all {
        assert!(request.verifies(&secret));
        ids.entry(request.n()).or_default().insert(request.id());
    }
    assert!(ids.len() == 300 && ids.values().all(|ids| ids.len() == 1), "each event has one id: {ids:#?}");
    let mut seen = HashSet::new();
    let first_tries: Vec<i64> = all.iter().map(Received::n).filter(|n| seen.insert(*n)).collect();
    assert_eq!(first_tries, (1..=300).collect::<Vec<_>>(), "first tries are in order");
    eventually("the end", || {
        let webhook = shown(&server, &id);
        (webhook["seq"] == 300 && webhook["retries"] == 0).then_some(())
    });
    // One try was under way at each kill. (A busy machine may also run into a time-out.)
    let (sent, tries) = (receiver.received().len(), 300 + 30);
    assert!((tries..=tries + 15).contains(&sent), "{sent} requests where {tries} would do");
}

/// SIGTERM lets go of the endpoint: whoever comes next need not wait for a lease to end.
#[test]
fn a_stop_in_the_middle_leaves_the_rest_to_the_next() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let long_lease = || quick().set("webhooks.timeout", "300s");
    let server = Server::start(folder.path(), &long_lease()).unwrap();
    receiver.script([Reply::Status(200), Reply::Silence]);
    endpoint(&server, &json!({ "address": receiver.url("/") }));
    happen(folder.path(), "a", "", 1..=3);
    receiver.wait_for(2);
    assert!(server.stop().success());
    let _server = Server::start(folder.path(), &long_lease()).unwrap();
    let numbers: Vec<i64> = receiver.wait_for(4)[2..].iter().map(Received::n).collect();
    assert_eq!(numbers, [2, 3], "the second one had no answer");
}

#[test]
fn of_two_control_planes_one_delivers() {
    let (folders, url) =
        ([tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()], database(Stack::shared(&[Part::Postgres])));
    let options = quick().set("catalog.url", &url);
    let receiver = Receiver::start();
    let first = Server::start(folders[0].path(), &options).unwrap();
    let second = Server::start(folders[1].path(), &options).unwrap();
    let (id, _) = endpoint(&first, &json!({ "address": receiver.url("/") }));
    // A pause between them, so that the lease changes hands.
    for round in 0..5 {
        happen_in(&url, "a", "", 40 * round + 1..=40 * (round + 1));
        receiver.wait_for(usize::try_from(40 * (round + 1)).unwrap());
    }
    eventually("the end", || (shown(&first, &id)["seq"] == 200).then_some(()));
    let numbers: Vec<i64> = receiver.received().iter().map(Received::n).collect();
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>(), "each once, and in order");
    // Whoever it was: with the other one it goes on.
    first.kill();
    happen_in(&url, "a", "", 201..=220);
    receiver.wait_for(220);
    drop(second);
}

#[test]
fn webhooks_wait_for_the_catalog_and_go_on_by_themselves() {
    let stack = Stack::own(&[Part::Postgres], &[]);
    let (folder, url, receiver) = (tempfile::tempdir().unwrap(), database(&stack), Receiver::start());
    let server = Server::start(folder.path(), &short_lease().set("catalog.url", &url)).unwrap();
    endpoint(&server, &json!({ "address": receiver.url("/") }));
    happen_in(&url, "a", "", [1]);
    receiver.wait_for(1);
    let state = || get(server.ops, "/readyz").json()["parts"]["webhooks"]["state"].as_str().unwrap().to_owned();
    assert_eq!(state(), "ready");
    stack.kill(Part::Postgres);
    eventually("the complaint", || (state() == "degraded").then_some(()));
    assert_eq!(get(server.ops, "/readyz").status, 200, "visitors are answered");
    stack.start(Part::Postgres);
    eventually("the all-clear", || (state() == "ready").then_some(()));
    happen_in(&url, "a", "", [2]);
    receiver.wait("the second event", |received| received.iter().any(|request| request.n() == 2));
}
