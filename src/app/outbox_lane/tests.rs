//! The way of the outbox into the journal, killed at every step: processes on one data folder that append, drain, end, die by
//! kill -9 or power cut, on a disk that fails. In the end a sink has had each row exactly once.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::atomic::{AtomicI64, Ordering},
    task::{Context, Poll},
};

use super::*;
use crate::{
    app::lanes::JournalLanes,
    catalog::outbox::Entry,
    config,
    core::{
        event::{Event, EventRef, Kind},
        id::{EventId, LaneId},
    },
    io::{
        disk::{Disk, DiskFile, LockGuard},
        sim::{Faults, Rng, SimDisk},
    },
    journal::{Durability, Settings},
    pump::{LaneError, LaneSource, Lanes},
};

mod cases;
mod task;

const FOLDER: &str = "/data/journal";
const NOON: Millis = Millis(1_772_366_400_000);

// === A disk that a process can be cut off from ===

/// Calls that a process still makes before it is dead; what it does afterwards has no effect.
#[derive(Clone, Debug)]
struct Fuse(Arc<AtomicI64>);

impl Fuse {
    fn burn(&self) -> io::Result<()> {
        match self.0.fetch_sub(1, Ordering::Relaxed) > 0 {
            true => Ok(()),
            false => Err(io::Error::other("the process is dead")),
        }
    }

    fn is_burnt(&self) -> bool {
        self.0.load(Ordering::Relaxed) <= 0
    }
}

#[derive(Debug)]
struct FusedDisk(SimDisk, Fuse);

#[derive(Debug)]
struct FusedFile(Box<dyn DiskFile>, Fuse);

impl Disk for FusedDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.1.burn()?;
        self.0.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.1.burn()?;
        self.0.list(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.1.burn()?;
        Ok(Box::new(FusedFile(self.0.create(path)?, self.1.clone())))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.1.burn()?;
        Ok(Box::new(FusedFile(self.0.open(path)?, self.1.clone())))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.1.burn()?;
        self.0.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.1.burn()?;
        self.0.remove_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.1.burn()?;
        self.0.rename(from, to)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.1.burn()?;
        self.0.sync_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.1.burn()?;
        self.0.lock(path)
    }
    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.1.burn()?;
        self.0.is_locked(path)
    }
}

impl DiskFile for FusedFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.1.burn()?;
        self.0.write_all_at(bytes, offset)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.burn()?;
        self.0.read_at(buffer, offset)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.1.burn()?;
        self.0.allocate(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.1.burn()?;
        self.0.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.1.burn()?;
        self.0.len()
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.burn()?;
        self.0.sync_data()
    }
}

/// A future that is given up after so many looks at it.
struct Looks<F>(Pin<Box<F>>, u64);

impl<F: Future> Future for Looks<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if self.1 == 0 {
            return Poll::Ready(None);
        }
        self.1 -= 1;
        self.0.as_mut().poll(context).map(Some)
    }
}

// === What survives ===

/// What a sink holds: rows and positions in one step, as every sink promises.
#[derive(Debug, Default)]
struct Sink {
    positions: HashMap<LaneId, u64>,
    /// The ids of the events that have arrived with each number of the outbox.
    rows: BTreeMap<u64, Vec<Vec<u8>>>,
}

/// How a test breaks what the promise rests on, to show that it would notice.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Broken {
    #[default]
    Nothing,
    /// Who takes over does not look what lanes hold.
    Look,
    /// Lanes are removed before the catalog knows of their rows.
    Removal,
    /// The lane commits what the disk has not confirmed.
    Durability,
    /// The next batch is appended although the catalog does not know of the one before.
    Position,
}

struct World {
    disk: SimDisk,
    catalog: Catalog,
    folder: tempfile::TempDir,
    sink: Sink,
    rng: Rng,
    told: u64,
    broken: Broken,
}

fn entry(random: u64, bytes: usize) -> Entry {
    let mut tail = [0; 10];
    tail[..8].copy_from_slice(&random.to_le_bytes());
    let event = Event {
        id: EventId::new(NOON, tail).0.to_vec(),
        kind: Kind::Lead as i32,
        time_ms: NOON.0,
        sub1: "x".repeat(bytes),
        ..Event::default()
    };
    Entry { kind: "referral.created", program: "spring".to_owned(), body: "{}".to_owned(), event: Some(event) }
}

fn catalog_in(folder: &Path) -> Catalog {
    let config = config::load(None, [], Some(folder)).unwrap();
    Catalog::configured(&config, Clock::manual(NOON)).unwrap()
}

impl World {
    fn new(seed: u64, broken: Broken) -> World {
        let folder = tempfile::tempdir().unwrap();
        let catalog = catalog_in(folder.path());
        let (disk, rng) = (SimDisk::new(seed), Rng::new(seed));
        World { disk, catalog, folder, sink: Sink::default(), rng, told: 0, broken }
    }

    async fn tell(&mut self, count: u64) {
        let entries: Vec<Entry> = (0..count)
            .map(|_| {
                let bytes = self.rng.below(120) as usize;
                entry(self.rng.u64(), bytes)
            })
            .collect();
        // A step that was given up may hold the one connection for a moment.
        self.catalog.tell(entries).await.unwrap();
        self.told += count;
    }

    fn start(&self, calls: i64) -> Option<Process> {
        let fuse = Fuse(Arc::new(AtomicI64::new(calls)));
        let settings = Settings {
            folder: FOLDER.into(),
            durability: Durability::Process,
            sync_interval: Duration::from_secs(3_600),
            segment_bytes: 8_192,
            max_bytes: 0,
        };
        let disk = Arc::new(FusedDisk(self.disk.clone(), fuse.clone()));
        let journal = Journal::open(disk, settings, Clock::manual(NOON)).ok()?;
        let moved = Arc::new(Moved::default());
        if self.broken == Broken::Removal {
            moved.know(u64::MAX);
        }
        let lanes = JournalLanes::new(journal.clone(), Arc::clone(&moved));
        Some(Process { journal, moved, lanes, mover: None, held: Vec::new(), fuse })
    }

    /// One more life, in which nothing goes wrong.
    async fn finish(&mut self) -> Process {
        let mut last = self.start(i64::MAX).unwrap();
        while last.step(self, u64::MAX).await.unwrap() > 0 {}
        if let Some(mover) = last.mover.take() {
            mover.end().await;
        }
        while last.pump(&mut self.sink).unwrap() {}
        last
    }

    /// Changes the catalog behind everybody's back.
    async fn sql(&self, text: &'static str) {
        use sqlx::{Connection, Executor};
        let url = format!("sqlite:{}", self.folder.path().join("catalog.db").display());
        sqlx::SqliteConnection::connect(&url).await.unwrap().execute(text).await.unwrap();
    }

    /// Nothing lost, nothing twice: or what is wrong.
    fn check(&self) -> Result<(), String> {
        let arrived = |row: u64| self.sink.rows.get(&row).map_or(0, Vec::len);
        let wrong: Vec<_> = (1..=self.told).map(|row| (row, arrived(row))).filter(|(_, times)| *times != 1).collect();
        match wrong.is_empty() && self.sink.rows.len() as u64 == self.told {
            true => Ok(()),
            false => Err(format!("rows and how often they arrived: {wrong:?} of {}", self.told)),
        }
    }
}

// === A process ===

struct Process {
    journal: Journal,
    moved: Arc<Moved>,
    lanes: JournalLanes,
    /// Before the fuse: what it drops reaches no disk.
    mover: Option<Mover>,
    held: Vec<Box<dyn LaneSource>>,
    fuse: Fuse,
}

impl Process {
    /// One step of the mover, given up after some looks. `Some(0)`: there is nothing to move.
    async fn step(&mut self, world: &World, looks: u64) -> Option<usize> {
        if self.mover.is_none() {
            self.mover = Mover::take_over(&world.catalog, &self.journal, &self.moved).ok()?;
            let mover = self.mover.as_mut()?;
            if world.broken == Broken::Look {
                mover.found.clear();
            }
            if world.broken == Broken::Durability {
                mover.lane = self.journal.lane().ok();
            }
        }
        let mover = self.mover.as_mut()?;
        match Looks(Box::pin(mover.step()), looks).await {
            Some(result) => result.ok().map(|step| step.moved),
            // The catalog has gone away, or the process has.
            None => {
                match looks % 2 {
                    0 => self.fuse.0.store(0, Ordering::Relaxed),
                    _ if world.broken == Broken::Position => mover.unsaved = None,
                    _ => {}
                }
                None
            }
        }
    }

    /// One round of the pump, which may die between any two of its steps. Whether it had something to do.
    fn pump(&mut self, sink: &mut Sink) -> Result<bool, LaneError> {
        let mut new = self.lanes.live();
        new.extend(self.lanes.claim_orphans()?);
        for mut lane in new {
            if let Some(position) = sink.positions.get(&lane.id()) {
                lane.seek(*position)?;
            }
            self.held.push(lane);
        }
        let mut at = 0;
        let mut busy = false;
        while let Some(lane) = self.held.get_mut(at) {
            let before = lane.position();
            let records = lane.next(3, 1 << 20)?;
            // The sink is elsewhere: nobody reaches it who is dead.
            self.fuse.burn().map_err(|error| LaneError(error.to_string()))?;
            for (_, payload) in &records {
                let event = EventRef::decode(payload).unwrap();
                sink.rows.entry(event.sequence).or_default().push(event.id.to_vec());
            }
            let next = lane.position();
            sink.positions.insert(lane.id(), next);
            lane.delivered(next)?;
            busy |= next > before;
            if lane.finished() {
                lane.remove()?;
                sink.positions.remove(&lane.id());
                self.held.remove(at);
                busy = true;
            } else {
                at += 1;
            }
        }
        Ok(busy)
    }
}

/// Many lives of up to two processes at once; what the sink has had in the end.
async fn run(seed: u64, broken: Broken) -> Result<(), String> {
    let mut world = World::new(seed, broken);
    world.catalog.ready().await.unwrap();
    let mut processes: Vec<Process> = Vec::new();
    for _ in 0..60 {
        let faults = if world.rng.chance(200) { 30 } else { 0 };
        world.disk.set_faults(Faults { write: faults, sync: faults, create: faults });
        if processes.is_empty() || (processes.len() == 1 && world.rng.chance(150)) {
            let calls = if world.rng.chance(500) { 400 } else { 100_000 };
            let calls = world.rng.below(calls) as i64;
            processes.extend(world.start(calls));
        }
        let count = processes.len() as u64;
        let at = world.rng.below(count.max(1)) as usize;
        match world.rng.below(20) {
            0 => {
                world.disk.power_cut();
                processes.clear();
            }
            1 if count > 0 => drop(processes.remove(at)),
            2 if count > 0 => {
                if let Some(mover) = processes.remove(at).mover.take() {
                    mover.end().await;
                }
            }
            3..8 => {
                let rows = if world.rng.chance(100) { 120 } else { world.rng.below(6) };
                world.tell(rows).await;
            }
            8..14 if count > 0 => {
                let looks = if world.rng.chance(200) { world.rng.below(12) } else { u64::MAX };
                processes[at].step(&world, looks).await;
            }
            _ if count > 0 => drop(processes[at].pump(&mut world.sink)),
            _ => {}
        }
        processes.retain(|process| !process.fuse.is_burnt());
    }
    world.disk.set_faults(Faults::default());
    processes.clear();
    let last = world.finish().await;
    if broken == Broken::Nothing {
        assert!(last.held.is_empty(), "seed {seed}: lanes are left");
    }
    world.check().map_err(|wrong| format!("seed {seed}: {wrong}"))
}
