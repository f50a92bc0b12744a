//! Uploaded files of facts are worked off.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::referral::{Desk, DeskError};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

pub(super) async fn follow(desk: Desk, stop: CancellationToken) {
    let mut failed = false;
    loop {
        let done = tokio::select! {
            // A step that is cut off was never done: the next start goes on there.
            () = stop.cancelled() => return,
            done = work_off(&desk) => done,
        };
        match done {
            Ok(()) => failed = false,
            Err(error) if !std::mem::replace(&mut failed, true) => {
                tracing::warn!(%error, "uploaded files cannot be worked off yet");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn work_off(desk: &Desk) -> Result<(), DeskError> {
    while desk.work_off_next().await? {}
    Ok(())
}
