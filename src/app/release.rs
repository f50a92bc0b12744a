//! Rewards become due when their time has come; and referrals that no sum knows yet are counted.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    catalog::Catalog,
    referral::{Desk, DeskError},
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Rewards of one transaction.
const BATCH: i64 = 500;

pub(super) async fn follow(catalog: Catalog, desk: Desk, stop: CancellationToken) {
    let (mut failed, mut counted) = (false, false);
    loop {
        if !counted {
            counted = tokio::select! {
                () = stop.cancelled() => return,
                missing = catalog.count_missing() => {
                    if let Ok(referrals @ 1..) = missing {
                        tracing::info!(referrals, "all referrals are in the sums that reports are made of");
                    }
                    missing.is_ok()
                }
            };
        }
        let released = tokio::select! {
            () = stop.cancelled() => return,
            released = release(&catalog, &desk) => released,
        };
        match released {
            Ok(()) => failed = false,
            Err(error) if !std::mem::replace(&mut failed, true) => {
                tracing::warn!(%error, "rewards cannot become due yet");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn release(catalog: &Catalog, desk: &Desk) -> Result<(), DeskError> {
    // Looking takes no lock from anybody.
    while catalog.has_rewards_to_release().await? {
        desk.release(BATCH).await?;
    }
    Ok(())
}
