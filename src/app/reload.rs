//! Signals: SIGHUP reads keys, certificates and geo files again (a bad one keeps what worked); SIGTERM and SIGINT end.

use anyhow::Context;
use metrics::counter;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::{geo_files, keys};
use crate::{
    config::Config,
    edge::{self, tls::TlsHandle},
    telemetry::names,
};

/// What is read again.
pub(super) const PARTS: [&str; 3] = [KEYS, GEO, CERTIFICATES];
const KEYS: &str = "keys";
const GEO: &str = "geo";
const CERTIFICATES: &str = "certificates";
/// What became of it.
pub(super) const RESULTS: [&str; 2] = [TAKEN, KEPT];
const TAKEN: &str = "taken";
const KEPT: &str = "kept";

/// The signals that we act on. From here on they wait for [`until_stopped`]; before, they end the process.
pub(super) struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// To be called before anybody can know that we run: who is ready must not die of a SIGHUP.
    pub(super) fn listen() -> anyhow::Result<Signals> {
        Ok(Signals {
            hang_up: signal(SignalKind::hangup()).context("SIGHUP cannot be handled")?,
            terminate: signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?,
        })
    }
}

/// Returns when the server is to end: `Some` names the part that ended by itself.
pub(super) async fn until_stopped(
    mut signals: Signals,
    config: &Config,
    shared: &edge::Shared,
    tls: Option<&TlsHandle>,
    part_ended: &mut mpsc::Receiver<&'static str>,
) -> Option<&'static str> {
    loop {
        tokio::select! {
            _ = signals.hang_up.recv() => reload(config, shared, tls),
            _ = signals.terminate.recv() => return None,
            _ = signals.interrupt.recv() => return None,
            part = part_ended.recv() => return part,
        }
    }
}

/// Each file by itself: one that is broken does not keep the others from being taken.
fn reload(config: &Config, shared: &edge::Shared, tls: Option<&TlsHandle>) {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Reloading]);
    let now = shared.clock.now();
    taken(KEYS, keys::load(&config.keys.file).map(|ring| shared.keys.store(ring.into())));
    taken(GEO, shared.enrich.geo.reload(geo_files(config)));
    if let Some(tls) = tls {
        taken(CERTIFICATES, tls.reload(&config.edge.tls.certificates, now));
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

fn taken<E: std::fmt::Display>(what: &'static str, result: Result<(), E>) {
    let outcome = match &result {
        Ok(()) => TAKEN,
        Err(_) => KEPT,
    };
    counter!(names::RELOADS, "what" => what, "result" => outcome).increment(1);
    match result {
        Ok(()) => tracing::info!(what, "reloaded"),
        Err(error) => tracing::error!(what, %error, "not reloaded: what worked is kept"),
    }
}
