//! A worker without file descriptors: open connections are served, and new ones as soon as there is room again. In a program of its own,
//! because the limit is the process's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "support/http.rs"]
mod http_client;

use std::{net::TcpStream, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use fingerpost::{
    edge::listener::{ConnectionCounters, Deadlines, Kind, Peer, Service, WorkerSetup, serve},
    io::net,
};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use rustix::process::{Resource, getrlimit, setrlimit};

use http_client::{Raw, patiently};

#[derive(Clone)]
struct Fine;

impl Service for Fine {
    async fn call(&self, _: Request<Incoming>, _: &Rc<Peer>) -> Response<Full<Bytes>> {
        Response::new(Full::from("fine"))
    }
}

#[test]
fn it_goes_on_when_there_is_room_again() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = net::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let counters: Arc<ConnectionCounters> = Arc::default();
        let drain = tokio_util::sync::CancellationToken::new();
        let setup = WorkerSetup {
            listeners: vec![(listener, Kind::Clear)],
            proxy_protocol: false,
            max_connections: 1_000,
            deadlines: Deadlines::default(),
            counters: Arc::clone(&counters),
            drain: drain.clone(),
            drain_timeout: Duration::ZERO,
        };
        let done = tokio::task::spawn_local(serve(setup, Fine));
        let mut old = Raw::connect(address).await;
        assert_eq!(old.get("/").await.status, 200);

        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(100);
        setrlimit(Resource::Nofile, limit).unwrap();
        // Nothing here waits, so the worker, on this thread, has no turn: the clients take every descriptor there is.
        let mut waiting: Vec<TcpStream> = std::iter::from_fn(|| TcpStream::connect(address).ok()).collect();
        assert!(waiting.len() > 10, "{}", waiting.len());
        for _ in 0..100 {
            assert_eq!(old.get("/").await.status, 200, "who is here already is served");
        }
        assert_eq!(counters.accepted(), 1, "nobody else can be");

        let newest = waiting.pop().unwrap();
        // Most of them go away; the last one in the queue is answered.
        waiting.truncate(waiting.len() / 4);
        newest.set_nonblocking(true).unwrap();
        let mut newest = Raw::over(tokio::net::TcpStream::from_std(newest).unwrap());
        assert_eq!(newest.get("/").await.status, 200);
        drain.cancel();
        patiently("the end", done).await.unwrap().unwrap();
    });
}
