//! A new version beside the old one: same data folder, same port for visitors; the old one is told to end when the new one is
//! ready. Nobody is refused, and every click counts once.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use crate::support::{Client, Options, Server, eventually, rows};

/// Clicks on connections of their own until it is told to stop; how many were answered.
fn click(edge: SocketAddr, stop: &AtomicBool, answered: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        let answer = Client::connect(edge).and_then(|mut client| client.get("/go/haircare/abc123"));
        let answer = answer.unwrap_or_else(|error| panic!("a visitor met the upgrade: {error}"));
        assert_eq!(answer.status, 302);
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_new_one_takes_over_and_no_visitor_notices() {
    let folder = tempfile::tempdir().unwrap();
    let old = Server::start(folder.path(), &Options::default().demo().set("edge.workers", "1")).unwrap();
    let edge = old.edge;
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let more = |by: usize| {
        let goal = answered.load(Ordering::Relaxed) + by;
        eventually("more clicks", || (answered.load(Ordering::Relaxed) >= goal).then_some(()));
    };
    let new = thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| click(edge, &stop, &answered))).collect();
        more(50);
        let options = Options::default().set("edge.workers", "1").set("edge.listen", edge.to_string());
        let new = Server::start(folder.path(), &options).unwrap();
        assert_eq!(new.edge, edge);
        more(50);
        assert_eq!(old.stop().code(), Some(0));
        more(50);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
        new
    });
    let answered = answered.into_inner();
    assert_eq!(rows(folder.path(), answered).len(), answered);
    assert!(new.stop().success());
}
