//! Group commit: facts that wait for each other anyway share one transaction, and one flush of the disk.
//!
//! **Promise.** A fact that was answered is on the disk (SQLite: `synchronous = FULL`; PostgreSQL: its `synchronous_commit`):
//! [`Recording::commit`] returns when the shared transaction is committed. Each fact stands behind a savepoint of its own: one
//! that fails takes back what it wrote itself, and nothing else. Where the commit fails, all of the group are told so.
//!
//! Turns go in the order in which they are asked for. Whoever finds no open transaction begins one, and a closer that lines
//! up when the first fact is done: whoever waits by then still gets in. So nobody waits for a group to fill up, and a fact
//! that is alone is committed at once. The closer is a task of its own: it does not matter who gives up waiting.

use std::sync::Arc;

use tokio::{
    sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard, oneshot},
    time::timeout,
};

use super::{
    super::{Catalog, CatalogError, audit::Caller, trip::Savepoint, write::Writing},
    Recording, sums,
};
use crate::core::limits::CATALOG_BUSY_TIMEOUT;

/// The open transaction, where there is one; whoever holds the lock has the turn.
pub(in super::super) type Turn = Arc<Mutex<Option<Writing>>>;

/// Who waits for the end of a transaction, and what of it may still be taken back.
#[derive(Debug, Default)]
pub(in super::super) struct Shares {
    waiting: Vec<oneshot::Sender<Result<(), CatalogError>>>,
    /// The last fact is not to be kept: its savepoint is rolled back.
    undone: bool,
    /// Entries of the outbox, and rows of the audit log, before the last fact.
    untold: usize,
    deeds: usize,
    /// A transaction of facts: the outbox is written at its end.
    pub(in super::super) is_shared: bool,
}

/// The turn while it is held.
pub(in super::super) type Held = OwnedMappedMutexGuard<Option<Writing>, Writing>;

/// Takes the turn, and stands behind a savepoint of its own.
pub(super) async fn begin(catalog: &Catalog) -> Result<(Held, Option<oneshot::Sender<()>>), CatalogError> {
    let turn = Arc::clone(&catalog.shared.turn);
    let mut slot =
        timeout(CATALOG_BUSY_TIMEOUT, Arc::clone(&turn).lock_owned()).await.map_err(|_| CatalogError::Busy)?;
    let mut first_done = None;
    if slot.is_none() {
        *slot = Some(Writing::begin_shared(catalog).await?);
        let (done, is_done) = oneshot::channel();
        tokio::spawn(close(turn, is_done));
        first_done = Some(done);
    }
    let mut held = match OwnedMutexGuard::try_map(slot, Option::as_mut) {
        Ok(held) => held,
        Err(_) => return Err(CatalogError::Busy),
    };
    if first_done.is_none()
        && let Err(error) = settle(&mut held, true).await
    {
        abandon(&mut held, &error);
        return Err(error);
    }
    held.shares.undone = true;
    (held.shares.untold, held.shares.deeds) = (held.untold.len(), held.deeds.len());
    held.caller = Caller::current();
    held.now = held.shared.clock.now();
    Ok((held, first_done))
}

/// Keeps the last fact or takes it back, and makes a savepoint for another one.
async fn settle(writing: &mut Writing, another: bool) -> Result<(), CatalogError> {
    if writing.shares.undone {
        writing.trips.drop_waiting();
        // Where it waits, nothing was written.
        if writing.trips.savepoint != Savepoint::Waiting {
            run(writing, "ROLLBACK TO SAVEPOINT fact").await?;
        }
        let (untold, deeds) = (writing.shares.untold, writing.shares.deeds);
        writing.untold.truncate(untold);
        writing.deeds.truncate(deeds);
        writing.forget();
        writing.shares.undone = false;
    } else if another {
        writing.trips.savepoint = Savepoint::Waiting;
    }
    Ok(())
}

async fn run(writing: &mut Writing, sql: &'static str) -> Result<(), CatalogError> {
    sqlx::raw_sql(sql).execute(writing.tx().await?).await?;
    Ok(())
}

/// Tells all who wait that nothing was kept. What is left of the transaction goes with its closer.
fn abandon(writing: &mut Writing, error: &CatalogError) {
    for waiting in writing.shares.waiting.drain(..) {
        // Who no longer waits need not know.
        let _ = waiting.send(Err(again(error)));
    }
}

/// The same problem, for one more who has it.
fn again(error: &CatalogError) -> CatalogError {
    if matches!(error, CatalogError::Busy) { CatalogError::Busy } else { CatalogError::Unavailable(error.to_string()) }
}

/// Commits the group when it is its turn.
async fn close(turn: Turn, first_done: oneshot::Receiver<()>) {
    // Its sender is dropped when the first fact ends, in whatever way.
    let _ = first_done.await;
    let Some(mut writing) = turn.lock().await.take() else { return };
    let waiting = std::mem::take(&mut writing.shares.waiting);
    if waiting.is_empty() {
        let _ = writing.rollback().await;
        return;
    }
    let result = finish(writing).await;
    for waiting in waiting {
        let _ = waiting.send(result.as_ref().copied().map_err(again));
    }
}

async fn finish(mut writing: Writing) -> Result<(), CatalogError> {
    settle(&mut writing, false).await?;
    sums::follow(&mut writing).await?;
    writing.commit().await
}

impl Recording {
    /// Makes it so: returns when it is committed, together with others that waited for their turn.
    pub async fn commit(mut self) -> Result<(), CatalogError> {
        // What does not work is this fact's fault, and nobody else's.
        self.writing.settle_waiting().await?;
        let (sender, answer) = oneshot::channel();
        self.writing.shares.undone = false;
        self.writing.shares.waiting.push(sender);
        drop(self);
        answer.await.unwrap_or_else(|_| Err(CatalogError::Unavailable("the transaction was given up".to_owned())))
    }

    /// Takes it back, as dropping it does: before anybody else's fact begins, or the transaction ends.
    pub async fn rollback(self) -> Result<(), CatalogError> {
        drop(self);
        Ok(())
    }
}
