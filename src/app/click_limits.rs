//! Links that end after a number of clicks: what the reports know is counted in, so that a restart, or another edge, does not
//! begin at zero. Between two looks edges that share a link may together overshoot its limit a little.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{links::Links, store::Reports};

/// Between two looks, where answers are quick.
const INTERVAL: Duration = Duration::from_secs(1);
/// A look waits that many times as long as the last answer took: a slow store is asked less often.
const PATIENCE: u32 = 10;

pub(super) async fn follow(links: Arc<Links>, reports: Arc<dyn Reports>, stop: CancellationToken) {
    let mut failed = false;
    loop {
        let asked = tokio::time::Instant::now();
        let taken = tokio::select! {
            // A store that does not answer must not hold up the end.
            () = stop.cancelled() => return,
            taken = take(&links, &*reports) => taken,
        };
        match taken {
            Ok(()) => failed = false,
            Err(error) if !std::mem::replace(&mut failed, true) => {
                tracing::debug!(%error, "clicks of limited links cannot be counted in yet");
            }
            Err(_) => {}
        }
        let pause = INTERVAL.max(asked.elapsed() * PATIENCE);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Raises the counters to what the reports know.
pub(super) async fn take(links: &Links, reports: &dyn Reports) -> Result<(), crate::store::ReportError> {
    let limited = links.limited();
    if limited.is_empty() {
        return Ok(());
    }
    for (code, clicks) in reports.link_clicks(&limited).await? {
        links.raise_clicks(code.as_str(), clicks);
    }
    Ok(())
}
