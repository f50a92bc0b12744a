//! The edge's workers: one thread a core, each with its own runtime, sockets and journal lane.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    config,
    edge::{
        self, Edge,
        listener::{self, ConnectionCounters, Deadlines, Kind, WorkerSetup},
        tls::TlsHandle,
    },
    io::{net, random::Random},
    journal::{Journal, Lane, LaneWriter},
    telemetry::edge::{EdgeCounters, EdgeWriter},
};

/// How long the disk may take to seal a lane at the end.
const LANE_CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Sockets of all workers, bound and listening.
pub(super) struct Sockets {
    pub(super) clear: Vec<SocketAddr>,
    pub(super) tls: Vec<SocketAddr>,
    of_workers: Vec<Vec<(TcpListener, bool)>>,
}

/// Binds every address once for each worker.
pub(super) fn bind(edge: &config::Edge) -> anyhow::Result<Sockets> {
    let mut sockets = Sockets { clear: Vec::new(), tls: Vec::new(), of_workers: Vec::new() };
    sockets.of_workers.resize_with(edge.workers, Vec::new);
    let addresses = edge.listen.iter().map(|address| (*address, false));
    for (address, tls) in addresses.chain(edge.tls.listen.iter().map(|address| (*address, true))) {
        let key = if tls { "edge.tls.listen" } else { "edge.listen" };
        let bound = net::bind(address, edge.workers).context(key)?;
        if let Some(first) = bound.first() {
            let bound_address = first.local_addr()?;
            if tls { sockets.tls.push(bound_address) } else { sockets.clear.push(bound_address) }
        }
        for (worker, listener) in sockets.of_workers.iter_mut().zip(bound) {
            worker.push((listener, tls));
        }
    }
    Ok(sockets)
}

pub(super) struct Workers {
    threads: Vec<JoinHandle<u64>>,
    pub(super) counters: Vec<Arc<EdgeCounters>>,
    pub(super) connections: Vec<Arc<ConnectionCounters>>,
    drain: CancellationToken,
    drain_timeout: Duration,
}

/// Says that a worker has ended, unless it was told to.
struct EndGuard {
    ended: mpsc::Sender<&'static str>,
    drain: CancellationToken,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if !self.drain.is_cancelled() {
            let _ = self.ended.try_send("an edge worker");
        }
    }
}

impl Workers {
    pub(super) fn start(
        edge: &config::Edge,
        sockets: Sockets,
        shared: &Arc<edge::Shared>,
        tls: Option<&TlsHandle>,
        journal: &Journal,
        ended: &mpsc::Sender<&'static str>,
    ) -> anyhow::Result<Workers> {
        let drain = CancellationToken::new();
        let mut workers = Workers {
            threads: Vec::new(),
            counters: Vec::new(),
            connections: Vec::new(),
            drain: drain.clone(),
            drain_timeout: edge.drain_timeout,
        };
        for (number, listeners) in sockets.of_workers.into_iter().enumerate() {
            let kind = |tls_socket: bool| match (tls, tls_socket) {
                (Some(handle), true) => Kind::Tls(handle.clone()),
                _ => Kind::Clear,
            };
            let connections = Arc::new(ConnectionCounters::default());
            let setup = WorkerSetup {
                listeners: listeners.into_iter().map(|(listener, tls)| (listener, kind(tls))).collect(),
                proxy_protocol: edge.proxy_protocol,
                max_connections: edge.max_connections,
                deadlines: Deadlines::default(),
                counters: Arc::clone(&connections),
                drain: drain.clone(),
                drain_timeout: edge.drain_timeout,
            };
            let writer = EdgeWriter::new();
            workers.counters.push(writer.counters());
            workers.connections.push(connections);
            let lane = journal.lane()?;
            let random = Random::from_kernel().context("the kernel gives no randomness")?;
            let (shared, guard) = (Arc::clone(shared), EndGuard { ended: ended.clone(), drain: drain.clone() });
            let thread = std::thread::Builder::new().name(format!("edge-{number}")).spawn(move || {
                let _guard = guard;
                work(setup, shared, lane, random, writer)
            });
            workers.threads.push(thread.context("cannot start an edge worker")?);
        }
        Ok(workers)
    }

    /// Stops accepting, lets connections finish, seals the lanes. Returns the clicks that were answered without a record and
    /// that no record tells of.
    pub(super) async fn drain(self) -> u64 {
        tracing::info!(timeout_s = self.drain_timeout.as_secs(), "draining connections");
        self.drain.cancel();
        let joined = tokio::task::spawn_blocking(move || {
            self.threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
        });
        joined.await.unwrap_or_default()
    }
}

/// One worker's life, on its thread.
fn work(setup: WorkerSetup, shared: Arc<edge::Shared>, lane: LaneWriter, random: Random, counters: EdgeWriter) -> u64 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "an edge worker cannot start its runtime");
            return 0;
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let lane = match Lane::start(lane) {
            Ok(lane) => lane,
            Err(error) => {
                tracing::error!(%error, "an edge worker cannot start its journal lane");
                return 0;
            }
        };
        let edge = Edge::new(shared, lane.clone(), random, counters);
        if let Err(error) = listener::serve(setup, edge).await {
            tracing::error!(%error, "an edge worker cannot listen");
        }
        // A disk that hangs must not hold up the end: what is not sealed, the next process drains.
        tokio::time::timeout(LANE_CLOSE_TIMEOUT, lane.close()).await.unwrap_or_else(|_| {
            tracing::error!("a journal lane cannot be sealed in time: the disk does not answer");
            0
        })
    })
}
