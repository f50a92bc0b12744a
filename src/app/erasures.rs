//! Erasures of persons are worked off: first through the catalog, then through the event store, which may be away for a while.

use std::{sync::Arc, time::Duration};

use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::{
        Catalog, CatalogError,
        audit::{Caller, as_caller},
        persons::Erasing,
    },
    core::id::EventId,
    store::keep::{Erasure, Keeper},
    telemetry::names,
};

/// Between two looks for work.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn follow(catalog: Catalog, keeper: Arc<dyn Keeper>, stop: CancellationToken) {
    counter!(names::ERASED_ROWS).increment(0);
    let mut failed = false;
    loop {
        let worked = tokio::select! {
            () = stop.cancelled() => return,
            // A step that is given up half-way is as good as a kill.
            worked = as_caller(Caller::system("erasure"), step(&catalog, &*keeper)) => worked,
        };
        match worked {
            Ok(true) => continue,
            Ok(false) => failed = false,
            Err(error) if !std::mem::replace(&mut failed, true) => {
                tracing::warn!(%error, tag = error.tag(), "erasures wait for the catalog");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// One step of the erasure whose turn it is. `false`: there is nothing to do for now.
async fn step(catalog: &Catalog, keeper: &dyn Keeper) -> Result<bool, CatalogError> {
    let Some(erasing) = catalog.next_erasure().await? else {
        gauge!(names::ERASURES_WAITING).set(0.0);
        return Ok(false);
    };
    gauge!(names::ERASURES_WAITING).set(1.0);
    if !erasing.is_at_events() {
        catalog.erase_step(erasing).await?;
        return Ok(true);
    }
    match keeper.erase(&wanted(&erasing)).await {
        Ok(done) => {
            counter!(names::ERASED_ROWS).increment(done.events);
            // A store that works by itself is asked again after a while.
            let waits = !done.is_done && done.position == erasing.position;
            catalog.erased_events(erasing, (done.events, done.is_done), &done.clicks, done.position).await?;
            Ok(!waits)
        }
        Err(error) => {
            tracing::warn!(erasure = erasing.id, %error, "the event store cannot be erased from: it is tried again");
            catalog.erasure_waits(&erasing, &error.to_string()).await?;
            Ok(true)
        }
    }
}

fn wanted(erasing: &Erasing) -> Erasure {
    Erasure {
        visitors: erasing.visitors.clone(),
        clicks: erasing.terms.clicks.iter().filter_map(|click| click.parse::<EventId>().ok()).collect(),
        partners: erasing.terms.partners.iter().filter_map(|code| code.parse().ok()).collect(),
        until: erasing.at,
        position: erasing.position.clone(),
    }
}
