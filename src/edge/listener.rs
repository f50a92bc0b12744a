//! A worker's front door: accepts connections on its own sockets, ends those that are past a deadline, and drains on request.

use std::{fmt, io, net::SocketAddr, pin::pin, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{self, Protocols, Settings},
    worker::Worker,
};
pub use super::{
    connection::{Kind, Peer, Service},
    counters::{CloseReason, ConnectionCounters},
    worker::Deadlines,
};
use crate::core::limits::ACCEPT_PAUSE;

/// How often a worker that cannot accept says so.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// What a worker is given.
pub struct WorkerSetup {
    /// Bound and listening, see [`crate::io::net`].
    pub listeners: Vec<(std::net::TcpListener, Kind)>,
    /// Every connection must open with a PROXY header.
    pub proxy_protocol: bool,
    pub max_connections: usize,
    pub deadlines: Deadlines,
    pub counters: Arc<ConnectionCounters>,
    /// Cancelled: stop accepting, finish what is under way.
    pub drain: CancellationToken,
    /// What is not finished by then is ended.
    pub drain_timeout: Duration,
}

impl fmt::Debug for WorkerSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerSetup").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

/// Serves until `drain` is cancelled and the last connection has ended. Runs on the worker's own current-thread runtime, within a
/// [`tokio::task::LocalSet`].
pub async fn serve<S: Service>(setup: WorkerSetup, service: S) -> io::Result<()> {
    let WorkerSetup { listeners, proxy_protocol, max_connections, deadlines, counters, drain, drain_timeout } = setup;
    let worker = Worker::new(counters, deadlines, max_connections);
    let protocols = Protocols::new();
    let mut doors: Vec<JoinHandle<()>> = Vec::with_capacity(listeners.len());
    for (listener, kind) in listeners {
        crate::io::net::prepare(&listener)?;
        let listener = TcpListener::from_std(listener)?;
        let (service, protocols) = (service.clone(), Rc::clone(&protocols));
        let settings = Rc::new(Settings { service, protocols, kind, proxy_protocol });
        let door = Door { worker: Rc::clone(&worker), settings };
        doors.push(tokio::task::spawn_local(door.stand_open(listener, drain.clone())));
    }

    // A LocalSet polls its root future at every turn, so that one must not do more than wait.
    let watch = tokio::task::spawn_local(watch(worker, doors, drain, drain_timeout));
    watch.await.map_err(io::Error::other)
}

/// Keeps the deadlines, and at the end the order: doors closed, connections finished, the rest ended.
async fn watch(worker: Rc<Worker>, doors: Vec<JoinHandle<()>>, drain: CancellationToken, drain_timeout: Duration) {
    let mut sweeps = interval(worker.deadlines.sweep);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    until(&worker, &mut sweeps, drain.cancelled()).await;
    worker.begin_drain();
    for door in doors {
        // It ends by itself now; a panic in it has been reported already.
        let _ = door.await;
    }
    until(&worker, &mut sweeps, timeout(drain_timeout, worker.emptied())).await;
    worker.force_drain();
    // They are woken and have nothing to wait for; who holds one back now loses it with the runtime.
    let _ = timeout(Duration::from_secs(1), worker.emptied()).await;
}

/// Sweeps until the future is ready.
async fn until<F: Future>(worker: &Worker, sweeps: &mut tokio::time::Interval, future: F) {
    let mut future = pin!(future);
    loop {
        tokio::select! {
            biased;
            _ = &mut future => return,
            _ = sweeps.tick() => worker.sweep(),
        }
    }
}

/// One listening socket.
struct Door<S> {
    worker: Rc<Worker>,
    settings: Rc<Settings<S>>,
}

impl<S: Service> Door<S> {
    /// Accepts until drained. Several connections are taken at a stretch; tokio's cooperative budget bounds how many.
    async fn stand_open(self, listener: TcpListener, drain: CancellationToken) {
        let mut drained = pin!(drain.cancelled());
        let mut complained: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut drained => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, from)) => self.take(tcp, from),
                // The client was gone before we came: only its own connection is lost.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
                        complained = Some(Instant::now());
                        tracing::error!(
                            open = self.worker.counters.open(),
                            "cannot accept connections: {error}: raise the limit of open files (ulimit -n, LimitNOFILE)"
                        );
                    }
                    // Those that wait stay in the kernel's queue meanwhile, and open connections are served.
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        self.empty_queue(listener);
    }

    /// Closing a listener resets who waits in its queue, so they are taken first.
    fn empty_queue(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((tcp, from)) = listener.accept() {
            if tcp.set_nonblocking(true).is_ok()
                && let Ok(tcp) = TcpStream::from_std(tcp)
            {
                self.take(tcp, from);
            }
        }
    }

    fn take(&self, tcp: TcpStream, from: SocketAddr) {
        let Some(place) = self.worker.admit() else { return };
        tokio::task::spawn_local(connection::run(tcp, from, place, Rc::clone(&self.settings)));
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut, WouldBlock};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | TimedOut | WouldBlock
    )
}
