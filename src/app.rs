//! A running server: the only place that knows everyone. Resolve → bind → run → drain.
//!
//! Order at the end: stop accepting, drain connections, seal the journal, flush the pump, write the snapshot. Every part
//! has a name and a deadline; a part that ends before it was told to ends the process, because half a server lies.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, ApiState, ops::OpsState},
    catalog::{
        self, Catalog, Follower,
        audit::{Caller, as_caller},
    },
    config::{self, Config},
    core::{
        limiter::Limiter,
        limits::{FORM_LEADS_PER_MINUTE, HANDED_MAX, LOGINS_PER_MINUTE},
    },
    edge::{self, HandedOver, tls::TlsHandle},
    enrich::{Enrich, GeoFiles},
    io::{clock::Clock, disk::SystemDisk, random},
    journal::{self, Journal},
    links::Links,
    pages,
    pump::{self, Pump},
    referral::Desk,
    store::{Reports, keep::Keeper},
    telemetry::{
        health::{Health, State},
        logs,
        metrics::Metrics,
    },
};

mod addresses;
mod click_limits;
mod clicks;
mod demo;
mod erasures;
mod handed;
mod history;
pub(crate) mod keys;
mod lanes;
pub(crate) mod load;
#[cfg(test)]
mod order_test;
mod outbox_lane;
mod release;
mod reload;
pub(crate) mod reports;
mod retention;
mod scrape;
mod senders;
mod sinks;
mod uploads;
mod workers;

use addresses::Addresses;
use outbox_lane::{Moved, OutboxLane};
use reload::Signals;
use senders::Senders;
use workers::Workers;

/// Threads of the control plane: the API, the catalog's follower, signals.
const CONTROL_THREADS: usize = 2;
/// How long a start waits for the clicks of limited links.
const CLICK_LIMITS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the control plane may take to end after everything else has.
const CONTROL_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// Fills an empty catalog with a small example.
    pub demo: bool,
    /// What time it is for everybody in it.
    pub clock: Clock,
    /// Ends it, as SIGTERM and SIGINT do.
    pub stop: CancellationToken,
}

impl Default for Start {
    fn default() -> Start {
        Start { demo: false, clock: Clock::System, stop: CancellationToken::new() }
    }
}

/// Serves until it is told to stop.
pub fn serve(config: Config, start: &Start) -> anyhow::Result<()> {
    let form = match config.log.format {
        config::LogFormat::Human => logs::Form::Human,
        config::LogFormat::Json => logs::Form::Json,
    };
    logs::install(form, &config.log.level)?;
    let metrics = Arc::new(Metrics::install()?);
    let control = control_runtime()?;
    let result = control.block_on(run(config, start, metrics));
    control.shutdown_timeout(CONTROL_STOP_TIMEOUT);
    result
}

fn control_runtime() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(CONTROL_THREADS).thread_name("control").enable_all();
    builder.build().context("cannot start the control plane's threads")
}

/// What was made from the configuration before anything listens.
struct Parts {
    config: Arc<Config>,
    clock: Clock,
    health: Health,
    shared: Arc<edge::Shared>,
    tls: Option<TlsHandle>,
    catalog: Catalog,
    follower: Follower,
    journal: Journal,
    reports: Arc<dyn Reports>,
    keeper: Arc<dyn Keeper>,
    senders: Senders,
    handed: HandedOver,
}

async fn run(config: Config, start: &Start, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    let parts = resolve(config, start).await?;
    let control = TcpListener::bind(parts.config.control.listen).await.with_context(|| listen("control", &parts))?;
    let ops = TcpListener::bind(parts.config.ops.listen).await.with_context(|| listen("ops", &parts))?;
    let sockets = workers::bind(&parts.config.edge)?;
    let addresses = Addresses::of(&sockets, &control, &ops)?;

    let Parts { config, clock, health, shared, tls, catalog, follower, journal, reports, keeper, senders, handed } =
        parts;
    let sink = sinks::open(&config, &clock)?;
    let signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let (ended, mut part_ended) = mpsc::channel::<&'static str>(1);
    let links = Arc::clone(&shared.links);
    // What a link has used up before is known before the first click, where the event store answers.
    let _ = tokio::time::timeout(CLICK_LIMITS_TIMEOUT, click_limits::take(&links, &*reports)).await;
    let workers = Workers::start(&config.edge, sockets, &shared, tls.as_ref(), &journal, &ended)?;
    let pump_stop = CancellationToken::new();
    let options = pump::Options::new(config.sink.linger, u64::from_le_bytes(random::bytes::<8>()?));
    let moved = Arc::new(Moved::default());
    let source = Box::new(lanes::JournalLanes::new(journal.clone(), Arc::clone(&moved)));
    let pump = Pump::new(source, sink, options, health.clone()).spawn(pump_stop.clone())?;
    let (pumped, outcome) = oneshot::channel();
    let joined = async move {
        let _ = pumped.send(tokio::task::spawn_blocking(move || pump.join()).await);
    };
    let pump = owned("the pump", joined, &pump_stop, &ended);

    let outbox_stop = CancellationToken::new();
    let outbox = OutboxLane {
        catalog: catalog.clone(),
        journal: journal.clone(),
        moved,
        health: health.clone(),
        clock: clock.clone(),
        retention: config.retention.outbox,
    };
    let outbox = owned("the outbox's lane", outbox.run(outbox_stop.clone()), &outbox_stop, &ended);

    let data = config.data.clone();
    let scrape =
        scrape::Scrape::new(metrics, &workers, journal, health.clone(), Arc::clone(&links), data, clock.clone());
    let desk = Desk::new(catalog.clone(), Arc::clone(&shared.keys), clock.clone()).with_history(Arc::clone(&reports));
    let state = ApiState {
        catalog: catalog.clone(),
        reports: Arc::clone(&reports),
        clock: clock.clone(),
        desk: desk.clone(),
        webhooks: senders.api,
        persons: api::Persons { keeper: Arc::clone(&keeper), late_events: config.retention.late_events },
        form_limiter: Arc::new(Limiter::new(FORM_LEADS_PER_MINUTE)),
    };
    let pages = pages::PagesState {
        catalog: catalog.clone(),
        reports: Arc::clone(&reports),
        desk: desk.clone(),
        clock: clock.clone(),
        limiter: Arc::new(Limiter::new(LOGINS_PER_MINUTE)),
        links_url: config.edge.url.clone(),
    };
    let dashboard = pages::DashboardState {
        pages: pages.clone(),
        limiter: Arc::new(Limiter::new(LOGINS_PER_MINUTE)),
        guard: Arc::clone(&state.webhooks.guard),
        tester: state.webhooks.tester.clone(),
        secret_overlap: state.webhooks.secret_overlap,
    };
    let handed_over = api::handed_over(state.clone()).merge(pages::public(pages));
    let api = pages::dashboard(dashboard).merge(api::router(state));
    let ops_router = api::ops::router(OpsState { health: health.clone(), render: scrape.render() });
    let sweeper = retention::Sweeper {
        catalog: catalog.clone(),
        keeper: Arc::clone(&keeper),
        retention: config.retention,
        clock: clock.clone(),
    };
    let tasks: Vec<JoinHandle<()>> = vec![
        owned("control listener", serve_http(control, api, stop.clone()), &stop, &ended),
        owned("what the edge hands over", handed::serve(handed, handed_over, stop.clone()), &stop, &ended),
        owned("ops listener", serve_http(ops, ops_router, stop.clone()), &stop, &ended),
        owned("catalog follower", follower.run(stop.clone()), &stop, &ended),
        owned("due rewards", release::follow(catalog.clone(), desk.clone(), stop.clone()), &stop, &ended),
        owned("changed terms", history::follow(desk.clone(), Arc::clone(&reports), stop.clone()), &stop, &ended),
        owned("uploads", uploads::follow(desk.clone(), stop.clone()), &stop, &ended),
        owned(
            "clicks of contacts",
            clicks::follow(clicks::follower(&config, &catalog, &reports)?, stop.clone()),
            &stop,
            &ended,
        ),
        owned("erasures", erasures::follow(catalog.clone(), Arc::clone(&keeper), stop.clone()), &stop, &ended),
        owned("retention", sweeper.run(stop.clone()), &stop, &ended),
        owned("click limits", click_limits::follow(links, reports, stop.clone()), &stop, &ended),
        owned("webhooks", senders.webhooks.run(stop.clone()), &stop, &ended),
        owned("mail", senders.mailer.run(stop.clone()), &stop, &ended),
        owned("upkeep", scrape.upkeep(stop.clone()), &stop, &ended),
    ];
    addresses.write(&config.data)?;
    tracing::info!(edge = ?addresses.edge, tls = ?addresses.edge_tls, control = %addresses.control, ops = %addresses.ops, "ready");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    if start.demo {
        demo::print(&config.data, &addresses);
    }

    let broken = tokio::select! {
        broken = reload::until_stopped(signals, &config, &shared, tls.as_ref(), &mut part_ended) => broken,
        () = start.stop.cancelled() => None,
    };
    health.set("server", State::NotReady, "it ends: connections are drained");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    // At once: a process that is there to take over begins with it.
    outbox_stop.cancel();
    let untold = workers.drain().await;
    let _ = tokio::time::timeout(CONTROL_STOP_TIMEOUT, outbox).await;
    pump_stop.cancel();
    let outcome = outcome.await.context("the pump's end was not seen")??;
    let _ = pump.await;
    stop.cancel();
    for task in tasks {
        let _ = tokio::time::timeout(CONTROL_STOP_TIMEOUT, task).await;
    }
    catalog.close().await;
    if untold > 0 {
        tracing::warn!(
            clicks = untold,
            "clicks were answered without a record, and the journal took no note of them to the end"
        );
    }
    match (broken, outcome) {
        (Some(part), _) => bail!("{part} ended by itself; the log says why"),
        (None, Ok(Ok(_))) => {
            tracing::info!("stopped");
            Ok(())
        }
        (None, Ok(Err(error))) => Err(error).context("the pump could not start"),
        (None, Err(_)) => bail!("the pump ended by itself; the log says why"),
    }
}

fn listen(which: &str, parts: &Parts) -> String {
    let address = if which == "control" { parts.config.control.listen } else { parts.config.ops.listen };
    format!("cannot listen on {address} ({which}.listen): free the address or choose another")
}

/// Everything that can be wrong is wrong before anybody is let in.
async fn resolve(config: Config, start: &Start) -> anyhow::Result<Parts> {
    let config = Arc::new(config);
    let clock = start.clock.clone();
    let health = Health::default();
    prepare_data_folder(&config.data)?;
    let keys = Arc::new(ArcSwap::from_pointee(keys::load_or_create(&config.keys.file, clock.now())?));
    let enrich = Enrich::load(geo_files(&config))?;
    let tls = match &config.edge.tls.certificates[..] {
        [] => None,
        certificates => Some(TlsHandle::new(edge::tls::load(certificates, clock.now())?)),
    };
    let journal = Journal::open(SystemDisk::shared(), journal_settings(&config), clock.clone())?;
    let catalog = Catalog::configured(&config, clock.clone())?;
    if start.demo {
        as_caller(Caller::system("demo"), demo::fill(&catalog)).await?;
    }
    let options = catalog::FollowerOptions {
        poll_interval: config.catalog.poll_interval,
        snapshot_interval: config.catalog.snapshot_interval,
        snapshot_file: config.data.join(catalog::SNAPSHOT_FILE),
    };
    let mut follower = Follower::start(catalog.clone(), health.clone(), clock.clone(), options).await;
    if let Err(error) = follower.catch_up().await
        && !follower.is_loaded()
    {
        return Err(error).context("there is neither a catalog nor a snapshot of it to serve");
    }
    if let Err(error) =
        as_caller(Caller::system("start"), catalog.ensure_admin_token(&config.data.join("admin-token"))).await
    {
        tracing::warn!(%error, "the admin token cannot be checked while the catalog is away");
    }
    let reports = reports::open(&config)?;
    let keeper = reports::keeper(&config, &clock)?;
    let senders = Senders::new(&config, &catalog, &health, &clock)?;
    let links: Arc<Links> = follower.links();
    let (control, handed) = mpsc::channel(HANDED_MAX);
    let (settings, control) = (edge_settings(&config), Some(control));
    let shared = Arc::new(edge::Shared { links, keys, enrich, clock: clock.clone(), settings, control });
    Ok(Parts { config, clock, health, shared, tls, catalog, follower, journal, reports, keeper, senders, handed })
}

/// Makes the folder, and says at once when it cannot be written.
fn prepare_data_folder(data: &Path) -> anyhow::Result<()> {
    let mend = || not_writable(data);
    // It holds keys and e-mail addresses: nobody else's to read.
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700).recursive(true).create(data).with_context(mend)?;
    probe(data).with_context(mend)
}

/// Says the same beforehand, and makes nothing: a folder that is not there yet can be made in the nearest one above it.
pub(crate) fn check_data_folder(data: &Path) -> anyhow::Result<()> {
    let above = data.ancestors().find(|folder| folder.exists());
    probe(above.unwrap_or(Path::new("."))).with_context(|| not_writable(data))
}

fn not_writable(data: &Path) -> String {
    format!("the data folder {} cannot be written: make it writable, or name another with --data", data.display())
}

/// A file can be made here, and removed again.
fn probe(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(&probe)
}

pub(crate) fn geo_files(config: &Config) -> GeoFiles<'_> {
    GeoFiles {
        country: config.geo.country.as_deref(),
        city: config.geo.city.as_deref(),
        asn: config.geo.asn.as_deref(),
    }
}

fn journal_settings(config: &Config) -> journal::Settings {
    journal::Settings {
        folder: config.data.join("journal"),
        durability: match config.journal.durability {
            config::Durability::Process => journal::Durability::Process,
            config::Durability::Disk => journal::Durability::Disk,
        },
        sync_interval: config.journal.sync_interval,
        segment_bytes: config.journal.segment_bytes,
        max_bytes: config.journal.max_bytes,
    }
}

fn edge_settings(config: &Config) -> edge::Settings {
    edge::Settings {
        trusted_proxies: config.edge.trusted_proxies.clone(),
        url: config.edge.url.clone(),
        fallback: config.edge.fallback.clone(),
        pages: config.pages.elsewhere().map(str::to_owned),
        honour_dnt: config.edge.honour_dnt,
        repeat_window: config.edge.repeat_window,
        secure_cookie: config.edge.secure_cookie,
        when_full: config.journal.when_full,
    }
}

/// Runs a part of the control plane. Its end before `stop` is the end of the process.
fn owned(
    name: &'static str,
    part: impl Future<Output = ()> + Send + 'static,
    stop: &CancellationToken,
    ended: &mpsc::Sender<&'static str>,
) -> JoinHandle<()> {
    let (stop, ended) = (stop.clone(), ended.clone());
    let watched = tokio::spawn(part);
    tokio::spawn(async move {
        let result = watched.await;
        if let Err(error) = &result {
            tracing::error!(part = name, %error, "a part has failed");
        }
        if !stop.is_cancelled() {
            let _ = ended.try_send(name);
        }
    })
}

async fn serve_http(listener: TcpListener, router: axum::Router, stop: CancellationToken) {
    let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await }).await;
    if let Err(error) = served {
        tracing::error!(%error, "a listener has failed");
    }
}
