//! The connection layer of the edge, as clients see it: good ones are served whatever bad ones do.
//!
//! Each test runs a worker in its own thread-bound runtime, on port 0, with a service that says who asked.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../support/http.rs"]
mod http_client;

mod deadlines;
mod drain;
mod http1;
mod http2;
mod proxy;
mod tls;

use std::{cell::Cell, future::Future, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use fingerpost::{
    edge::{
        counters::{CloseReason, ConnectionCounters},
        listener::{Deadlines, Kind, Peer, Service, WorkerSetup, serve},
    },
    io::net,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use http_client::{Http2, Raw, patiently};

/// Answers `method target address tls body-length`; `/slow` waits until it is let go, `/big` is 256 KiB, `/deaf` leaves the body alone.
#[derive(Clone, Default)]
struct Echo {
    calls: Rc<Cell<u32>>,
    /// Calls that have neither ended nor been dropped.
    busy: Rc<Cell<u32>>,
    let_go: Rc<Notify>,
}

struct Busy(Rc<Cell<u32>>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

const BIG: usize = 256 * 1024;

impl Service for Echo {
    async fn call(&self, request: Request<Incoming>, peer: &Rc<Peer>) -> Response<Full<Bytes>> {
        self.calls.set(self.calls.get() + 1);
        self.busy.set(self.busy.get() + 1);
        let _busy = Busy(Rc::clone(&self.busy));
        let (head, body) = request.into_parts();
        match head.uri.path() {
            "/big" => return Response::new(Full::new(Bytes::from(vec![b'x'; BIG]))),
            "/deaf" => return Response::new(Full::default()),
            "/slow" => self.let_go.notified().await,
            _ => {}
        }
        let Ok(body) = body.collect().await else { return Response::new(Full::from("cut")) };
        let text = format!("{} {} {} {} {}", head.method, head.uri, peer.address, peer.tls, body.to_bytes().len());
        Response::new(Full::from(text))
    }
}

/// A worker under test.
struct Server {
    address: SocketAddr,
    service: Echo,
    counters: Arc<ConnectionCounters>,
    drain: CancellationToken,
    done: JoinHandle<std::io::Result<()>>,
}

struct Options {
    deadlines: Deadlines,
    kind: Kind,
    proxy_protocol: bool,
    max_connections: usize,
    drain_timeout: Duration,
}

impl Default for Options {
    /// No deadline that a test does not ask for comes near.
    fn default() -> Options {
        let hour = Duration::from_secs(3_600);
        let deadlines = Deadlines {
            preface: hour,
            handshake: hour,
            head: hour,
            body: hour,
            write: hour,
            idle: hour,
            linger: Duration::from_secs(10),
            drain_idle: hour,
            sweep: Duration::from_millis(10),
        };
        Options { deadlines, kind: Kind::Clear, proxy_protocol: false, max_connections: 1_000, drain_timeout: hour }
    }
}

impl Server {
    fn start(options: Options) -> Server {
        let listener = net::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let (service, counters, drain) = (Echo::default(), Arc::default(), CancellationToken::new());
        let setup = WorkerSetup {
            listeners: vec![(listener, options.kind)],
            proxy_protocol: options.proxy_protocol,
            max_connections: options.max_connections,
            deadlines: options.deadlines,
            counters: Arc::clone(&counters),
            drain: drain.clone(),
            drain_timeout: options.drain_timeout,
        };
        let done = tokio::task::spawn_local(serve(setup, service.clone()));
        Server { address, service, counters, drain, done }
    }

    async fn raw(&self) -> Raw {
        Raw::connect(self.address).await
    }

    async fn http2(&self) -> Http2 {
        Http2::connect(self.address).await
    }

    fn closed(&self, reason: CloseReason) -> u64 {
        self.counters.closed(reason)
    }

    /// Waits until as many connections are open.
    async fn open(&self, count: u64) {
        self.until("connections", || self.counters.open() == count).await;
    }

    /// Waits until as many requests have reached the service.
    async fn called(&self, count: u32) {
        self.until("calls", || self.service.calls.get() == count).await;
    }

    async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        patiently(what, async {
            while !condition() {
                // The condition changes only when the worker, on this very thread, has its turn.
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn done(self) {
        patiently("the worker's end", self.done).await.unwrap().unwrap();
    }
}

/// Runs a test the way a worker runs.
fn in_worker<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}
