//! Clicks of people whom we know are brought into the record as they arrive in the event store.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    catalog::Catalog,
    config::{Config, stores::ReportsFrom},
    referral::{ClickFollower, ClicksError},
    store::Reports,
};

/// Between two looks, where answers are quick.
const INTERVAL: Duration = Duration::from_secs(1);
/// A look waits that many times as long as the last one took: a slow store is asked less often.
const PATIENCE: u32 = 10;
/// After a look that failed.
const PAUSE: Duration = Duration::from_secs(10);

/// ClickHouse is one for all; each machine's SQLite has its own clicks.
pub(super) fn follower(
    config: &Config,
    catalog: &Catalog,
    reports: &Arc<dyn Reports>,
) -> Result<ClickFollower, crate::catalog::CatalogError> {
    let store = match config.reports {
        ReportsFrom::Sqlite => format!("sqlite:{}", catalog.node()?),
        ReportsFrom::ClickHouse => "clickhouse".to_owned(),
    };
    Ok(ClickFollower::new(catalog.clone(), Arc::clone(reports), store))
}

pub(super) async fn follow(mut follower: ClickFollower, stop: CancellationToken) {
    let mut failed = false;
    loop {
        let begun = tokio::time::Instant::now();
        let turn: Result<bool, ClicksError> = tokio::select! {
            // A store that does not answer must not hold up the end.
            () = stop.cancelled() => return,
            turn = follower.turn() => turn,
        };
        let pause = match turn {
            Ok(more) => {
                failed = false;
                // What has piled up is worked off, and still leaves most of the time to others.
                if more { begun.elapsed() } else { INTERVAL.max(begun.elapsed() * PATIENCE) }
            }
            Err(error) => {
                // An event store that is not there yet is nothing to warn of.
                if !std::mem::replace(&mut failed, true) {
                    tracing::debug!(%error, "clicks of known contacts cannot be followed yet");
                }
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
