//! Signals: SIGHUP reads keys, certificates and geo files again (a bad one keeps what worked); SIGTERM and SIGINT end.

use anyhow::Context;
use metrics::counter;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{geo_files, keys};
use crate::{
    config::Config,
    edge::{self, tls::TlsHandle},
    telemetry::names,
};

/// Returns when the server is to end: `Some` names the part that ended by itself.
pub(super) async fn until_stopped(
    config: &Config,
    shared: &edge::Shared,
    tls: Option<&TlsHandle>,
    part_ended: &mut mpsc::Receiver<&'static str>,
) -> anyhow::Result<Option<&'static str>> {
    let mut hang_up = signal(SignalKind::hangup()).context("SIGHUP cannot be handled")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    loop {
        tokio::select! {
            _ = hang_up.recv() => reload(config, shared, tls),
            _ = terminate.recv() => return Ok(None),
            _ = interrupt.recv() => return Ok(None),
            part = part_ended.recv() => return Ok(part),
        }
    }
}

/// Each file by itself: one that is broken does not keep the others from being taken.
fn reload(config: &Config, shared: &edge::Shared, tls: Option<&TlsHandle>) {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Reloading]);
    let now = shared.clock.now();
    taken("keys", keys::load(&config.keys.file).map(|ring| shared.keys.store(ring.into())));
    taken("geo", shared.enrich.geo.reload(geo_files(config)));
    if let Some(tls) = tls {
        taken("certificates", tls.reload(&config.edge.tls.certificates, now));
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

fn taken<E: std::fmt::Display>(what: &'static str, result: Result<(), E>) {
    let outcome = match &result {
        Ok(()) => "taken",
        Err(_) => "kept",
    };
    counter!(names::RELOADS, "what" => what, "result" => outcome).increment(1);
    match result {
        Ok(()) => tracing::info!(what, "reloaded"),
        Err(error) => tracing::error!(what, %error, "not reloaded: what worked is kept"),
    }
}
