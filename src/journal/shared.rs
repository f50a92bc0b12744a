//! What all lanes of a journal share: settings, the ledger of bytes on disk, counters, how each lane is, and the signal that
//! wakes the pump. Everything here is touched once a group or once a segment, never once a record.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering, fence},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{LaneWatch, error::AppendError};
use crate::{
    core::id::LaneId,
    io::{clock::Clock, disk::Disk},
};

/// When a group counts as committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the kernel has it.
    Process,
    /// When the disk has confirmed it.
    Disk,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// Holds one folder a lane; made where missing.
    pub folder: PathBuf,
    pub durability: Durability,
    /// With [`Durability::Process`], how often the disk is asked to confirm.
    pub sync_interval: Duration,
    /// Size of a segment file, reserved ahead.
    pub segment_bytes: u64,
    /// All lanes together; 0 means as much as the disk has.
    pub max_bytes: u64,
}

/// How the journal, or one lane, is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    Good,
    /// It takes records, but something that was promised is at risk; the text says what, and what to do.
    Degraded(String),
    /// It takes no records; the text says why and what to do.
    Refusing(String),
}

impl Condition {
    pub fn reason(&self) -> &str {
        match self {
            Condition::Good => "",
            Condition::Degraded(reason) | Condition::Refusing(reason) => reason,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Condition::Good => 0,
            Condition::Degraded(_) => 1,
            Condition::Refusing(_) => 2,
        }
    }
}

/// Counted since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) appended: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) shed: AtomicU64,
    pub(crate) failed_writes: AtomicU64,
    pub(crate) failed_syncs: AtomicU64,
    pub(crate) failed_reservations: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) torn_bytes: AtomicU64,
    pub(crate) unreadable_segments: AtomicU64,
}

/// What metrics show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of segments and spares on disk, all lanes of the folder.
    pub bytes: u64,
    /// Lanes of this process and orphans that it drains.
    pub lanes: u64,
    pub appended: u64,
    /// Groups that were committed.
    pub commits: u64,
    pub syncs: u64,
    /// Clicks answered without a record.
    pub shed: u64,
    pub failed_writes: u64,
    pub failed_syncs: u64,
    /// Segments that could not be created or reserved, `max_bytes` included.
    pub failed_reservations: u64,
    /// Records that are gone because of damage.
    pub damaged: u64,
    pub torn_bytes: u64,
    /// Segments of which not even the number of records is known.
    pub unreadable_segments: u64,
}

/// Bytes of every file on disk that a limit counts.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    files: HashMap<PathBuf, u64>,
    ours: u64,
    /// Lanes that other processes hold, as last seen.
    pub(crate) foreign: u64,
}

impl Ledger {
    pub(crate) fn total(&self) -> u64 {
        self.ours + self.foreign
    }

    pub(crate) fn knows(&self, path: &std::path::Path) -> bool {
        self.files.contains_key(path)
    }

    /// Sets the size of a file; 0 forgets it.
    pub(crate) fn set(&mut self, path: PathBuf, bytes: u64) {
        let before = if bytes == 0 { self.files.remove(&path) } else { self.files.insert(path, bytes) };
        self.ours = self.ours + bytes - before.unwrap_or(0);
    }

    /// A file that was cut; one that is gone already stays gone.
    pub(crate) fn shrink(&mut self, path: &PathBuf, bytes: u64) {
        if self.files.contains_key(path) {
            self.set(path.clone(), bytes);
        }
    }
}

/// Wakes the one who waits for commits. Costs the writer a fence and a load when nobody waits.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    waiting: AtomicBool,
    notify: Notify,
}

impl Signal {
    pub(crate) fn raise(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) && self.waiting.swap(false, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    pub(crate) fn arm(&self) {
        self.waiting.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(crate) async fn raised(&self) {
        self.notify.notified().await;
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) counters: Counters,
    pub(crate) signal: Signal,
    ledger: Mutex<Ledger>,
    /// This process's lanes, until their folder is gone.
    lanes: Mutex<BTreeMap<LaneId, Arc<LaneWatch>>>,
    orphans: AtomicU64,
    conditions: Mutex<BTreeMap<LaneId, Condition>>,
    /// Lanes of which a sync has failed: asked again, the disk would say that all is well.
    unsynced: Mutex<BTreeSet<LaneId>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, settings: Settings, clock: Clock) -> Shared {
        Shared {
            disk,
            settings,
            clock,
            counters: Counters::default(),
            signal: Signal::default(),
            ledger: Mutex::default(),
            lanes: Mutex::default(),
            orphans: AtomicU64::new(0),
            conditions: Mutex::default(),
            unsynced: Mutex::default(),
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(&self.ledger)
    }

    pub(crate) fn lanes(&self) -> MutexGuard<'_, BTreeMap<LaneId, Arc<LaneWatch>>> {
        locked(&self.lanes)
    }

    /// Books `bytes` for a new file, if the limit allows it.
    pub(crate) fn reserve(&self, path: &std::path::Path, bytes: u64) -> Result<(), AppendError> {
        let mut ledger = self.ledger();
        let max = self.settings.max_bytes;
        if max != 0 && ledger.total() + bytes > max {
            return Err(AppendError::Full);
        }
        ledger.set(path.to_path_buf(), bytes);
        Ok(())
    }

    pub(crate) fn orphan_claimed(&self) {
        self.orphans.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn orphan_gone(&self) {
        self.orphans.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn unsynced(&self) -> MutexGuard<'_, BTreeSet<LaneId>> {
        locked(&self.unsynced)
    }

    /// Says how a lane is. A change is logged here, once.
    pub(crate) fn set_condition(&self, lane: LaneId, condition: Condition) {
        let mut conditions = locked(&self.conditions);
        let before = conditions.get(&lane).unwrap_or(&Condition::Good);
        if *before == condition {
            return;
        }
        match &condition {
            Condition::Good => tracing::info!(%lane, "the journal takes records again"),
            bad => tracing::warn!(%lane, "{}", bad.reason()),
        }
        if condition == Condition::Good {
            conditions.remove(&lane)
        } else {
            conditions.insert(lane, condition)
        };
    }

    /// Lanes that are gone have nothing to say any more.
    pub(crate) fn forget_conditions(&self, gone: impl Fn(LaneId) -> bool) {
        locked(&self.conditions).retain(|lane, _| !gone(*lane));
    }

    /// The worst lane's.
    pub(crate) fn condition(&self) -> Condition {
        locked(&self.conditions).values().max_by_key(|condition| condition.rank()).cloned().unwrap_or_default()
    }

    pub(crate) fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Stats {
            bytes: self.ledger().total(),
            lanes: self.lanes().len() as u64 + get(&self.orphans),
            appended: get(&counters.appended),
            commits: get(&counters.commits),
            syncs: get(&counters.syncs),
            shed: get(&counters.shed),
            failed_writes: get(&counters.failed_writes),
            failed_syncs: get(&counters.failed_syncs),
            failed_reservations: get(&counters.failed_reservations),
            damaged: get(&counters.damaged),
            torn_bytes: get(&counters.torn_bytes),
            unreadable_segments: get(&counters.unreadable_segments),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
