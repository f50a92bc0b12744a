//! Changed terms, and what the event store says of partners' clicks, are brought to history.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    core::limits::{CLICKS_ASK_INTERVAL, FOLLOW_POLL_INTERVAL},
    referral::{Desk, DeskError},
    store::Reports,
};

pub(super) async fn follow(desk: Desk, reports: Arc<dyn Reports>, stop: CancellationToken) {
    let (mut failed, mut is_silent, mut is_filled) = (false, false, false);
    let mut ask_at = Instant::now();
    loop {
        let work = async {
            if Instant::now() >= ask_at {
                ask_at = Instant::now() + CLICKS_ASK_INTERVAL;
                // Without an answer what was known stays.
                match desk.ask_clicks(&*reports).await {
                    Ok(()) => is_silent = false,
                    Err(error) if !std::mem::replace(&mut is_silent, true) => {
                        tracing::info!(%error, "the clicks of partners are not known anew: review goes by what was known");
                    }
                    Err(_) => {}
                }
            }
            step(&desk, &mut is_filled).await
        };
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = work => done,
        };
        match done {
            Ok(()) => failed = false,
            Err(error) if !std::mem::replace(&mut failed, true) => {
                tracing::warn!(%error, "changed terms cannot be brought to history yet: it is tried again");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FOLLOW_POLL_INTERVAL) => {}
        }
    }
}

async fn step(desk: &Desk, is_filled: &mut bool) -> Result<(), DeskError> {
    if !*is_filled {
        desk.fill_normal_mails().await?;
        *is_filled = true;
    }
    desk.follow_due().await?;
    desk.follow_terms().await
}
