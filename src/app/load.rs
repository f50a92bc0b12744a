//! `fingerpost load`: a loader, its health and its metrics. Resolve → bind → run → drain, as the server does it.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::serve_http;
use crate::{
    api::ops::{self, OpsState},
    config::{self, Config},
    io::{clock::Clock, disk, random},
    pump::load::{Loaded, Loader, Options, Progress},
    store::{
        clickhouse::{ClickHouseTable, Store},
        kafka::KafkaSource,
    },
    telemetry::{health::Health, logs, metrics::Metrics},
};

/// Threads that speak with ClickHouse: while one range is sent, the next is made ready.
const THREADS: usize = 2;
/// How often samples are folded.
const UPKEEP_INTERVAL: Duration = Duration::from_millis(500);
/// How long what answers scrapes may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Where the loader says where it listens, in the data folder.
const ADDRESSES: &str = "load-addresses.json";

/// Loads until SIGTERM or SIGINT, or with `once` until everything is loaded. `watch` is given what to look at meanwhile.
pub(crate) fn load(config: &Config, once: bool, watch: impl FnOnce(Progress)) -> anyhow::Result<Loaded> {
    if config.kafka.brokers.is_empty() {
        bail!("kafka.brokers is not set: the loader takes events from Kafka; give at least one host:port");
    }
    if config.clickhouse.url.is_empty() {
        bail!(
            "clickhouse.url is not set: the loader brings events to ClickHouse; give an address like http://host:8123"
        );
    }
    let form = match config.log.format {
        config::LogFormat::Human => logs::Form::Human,
        config::LogFormat::Json => logs::Form::Json,
    };
    logs::install(form, &config.log.level)?;
    let metrics = Arc::new(Metrics::install()?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("load")
        .enable_all()
        .build()
        .context("cannot start the loader's threads")?;
    let result = runtime.block_on(run(config, once, metrics, watch));
    runtime.shutdown_timeout(STOP_TIMEOUT);
    result
}

async fn run(
    config: &Config,
    once: bool,
    metrics: Arc<Metrics>,
    watch: impl FnOnce(Progress),
) -> anyhow::Result<Loaded> {
    let (health, clock) = (Health::default(), Clock::System);
    let store = Store::new(&config.clickhouse)?;
    // Backfills are run by hand: what is wrong is said at once. A service waits until its stores are there.
    if once {
        store.check_schema().await?;
    }
    let source = config.load.source.clone().unwrap_or_else(|| config.kafka.topic.clone());
    let table = Arc::new(ClickHouseTable::new(store, source, clock.clone()));
    let topic = Box::new(KafkaSource::new(&config.kafka, &clock)?);
    let batch_max_events = usize::try_from(config.load.batch_max_events)?;
    let seed = u64::from_le_bytes(random::bytes::<8>()?);
    let options = Options::new(batch_max_events, config.load.batch_max_age, once, seed);
    let runtime = tokio::runtime::Handle::current();
    let loader = Loader::new(topic, table, options, health.clone(), clock, runtime);
    watch(loader.progress());

    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ops = if once { None } else { Some(listen(config).await?) };
    if let Some(ops) = ops {
        let render = Arc::clone(&metrics);
        let told = health.clone();
        let text = move || {
            told.publish();
            render.render(&[])
        };
        let state = OpsState { health: health.clone(), render: Arc::new(text) };
        tokio::spawn(serve_http(ops, ops::router(state), stop.clone()));
    }
    let upkeep = stop.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        while !upkeep.is_cancelled() {
            ticks.tick().await;
            metrics.upkeep();
        }
    });
    let thread = loader.spawn(stop.clone()).context("the loader's thread cannot start")?;
    let mut loaded = tokio::task::spawn_blocking(move || thread.join());
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let ended = tokio::select! {
        ended = &mut loaded => ended,
        _ = terminate.recv() => { stop.cancel(); loaded.await }
        _ = interrupt.recv() => { stop.cancel(); loaded.await }
    };
    let asked = stop.is_cancelled();
    stop.cancel();
    let Ok(loaded) = ended.context("the loader's end was not seen")? else {
        bail!("the loader has failed: see the log")
    };
    let loaded = loaded.map_err(anyhow::Error::msg)?;
    tracing::info!(events = loaded.events, set_aside = loaded.set_aside, ranges = loaded.ranges, "stopped");
    if once && asked {
        bail!("stopped before everything was loaded: what is committed stays, the next run goes on from there");
    }
    Ok(loaded)
}

/// Health and metrics.
async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let wanted = config.ops.listen;
    let listener = TcpListener::bind(wanted)
        .await
        .with_context(|| format!("cannot listen on {wanted} (ops.listen): free the address or choose another"))?;
    let ops: SocketAddr = listener.local_addr()?;
    let addresses = serde_json::json!({ "pid": std::process::id(), "ops": ops });
    std::fs::create_dir_all(&config.data)?;
    disk::replace_file(&config.data.join(ADDRESSES), 0o644, |out| writeln!(out, "{addresses:#}"))
        .with_context(|| format!("{ADDRESSES} cannot be written in {}", config.data.display()))?;
    tracing::info!(%ops, topic = config.kafka.topic, clickhouse = config.clickhouse.url, "loading");
    Ok(listener)
}
