//! One life of a lane on the simulated disk, from a seed: random appends, commits, rolls, faults and readers, then a crash, then
//! recovery. Every record that was acknowledged must be there exactly once and in order; nothing that was refused may be.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    time::Duration,
};

use fingerpost::{
    core::{id::LaneId, time::Millis},
    io::{
        clock::Clock,
        sim::{Faults, Lie, Rng, SimDisk},
    },
    journal::{Durability, Job, Journal, LaneReader, LaneWriter, Settings, Ticket},
};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) recovered: u64,
    pub(crate) torn_bytes: u64,
    pub(crate) failed_syncs: u64,
    pub(crate) failed_writes: u64,
    pub(crate) kills: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.recovered += other.recovered;
        self.torn_bytes += other.torn_bytes;
        self.failed_syncs += other.failed_syncs;
        self.failed_writes += other.failed_writes;
        self.kills += other.kills;
    }
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    PowerCut,
    Kill,
}

/// What the worker knows of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open(Ticket),
    Acknowledged,
    Refused,
    /// Refused, and something was committed afterwards: it must never be seen again, whatever the disk does.
    Buried,
}

struct Life {
    rng: Rng,
    disk: SimDisk,
    journal: Journal,
    writer: LaneWriter,
    reader: LaneReader,
    jobs: VecDeque<Job>,
    fates: BTreeMap<u64, Fate>,
    next_record: u64,
    /// What a sink holds, by its own durable word: records in order, and the position.
    sink: Vec<u64>,
    position: u64,
    faulty: bool,
}

fn settings(rng: &mut Rng, end: End) -> Settings {
    let durability = if end == End::Kill && rng.chance(500) { Durability::Process } else { Durability::Disk };
    Settings {
        folder: PathBuf::from("/data/journal"),
        durability,
        sync_interval: Duration::from_millis(500),
        segment_bytes: 6_144 + 2_048 * rng.below(4),
        max_bytes: 0,
    }
}

/// A record's bytes: its number, and bytes that follow from it.
fn payload(record: u64) -> Vec<u8> {
    let mut bytes = record.to_le_bytes().to_vec();
    let mut rng = Rng::new(record);
    let len = rng.below(if record.is_multiple_of(17) { 900 } else { 150 });
    bytes.extend((0..len).map(|_| rng.u64() as u8));
    bytes
}

fn record_of(bytes: &[u8]) -> Result<u64, String> {
    let head = bytes.get(..8).and_then(|head| head.try_into().ok()).ok_or("a record without a number")?;
    let record = u64::from_le_bytes(head);
    if payload(record) == bytes {
        Ok(record)
    } else {
        Err(format!("record {record} has other bytes than were written"))
    }
}

/// Lives one life; the error says what was broken.
pub(crate) fn live(seed: u64, lie: Lie) -> Result<Tally, String> {
    let mut rng = Rng::new(seed);
    let end = if rng.chance(125) { End::Kill } else { End::PowerCut };
    let disk = SimDisk::new(rng.u64());
    disk.set_lie(lie);
    let settings = settings(&mut rng, end);
    let journal =
        Journal::open(disk.shared(), settings.clone(), Clock::manual(Millis(0))).map_err(|e| e.to_string())?;
    let lane = LaneId(u128::from(rng.u64()));
    let writer = journal.lane_with(lane, rng.u64()).map_err(|e| e.to_string())?;
    let reader = journal.reader(writer.watch());
    let steps = 1 + rng.below(150);
    let mut life = Life {
        rng,
        disk: disk.clone(),
        journal,
        writer,
        reader,
        jobs: VecDeque::new(),
        fates: BTreeMap::new(),
        next_record: 0,
        sink: Vec::new(),
        position: 0,
        faulty: false,
    };
    for _ in 0..steps {
        life.step()?;
    }
    let stats = life.journal.stats();
    match end {
        End::Kill => disk.kill(),
        End::PowerCut => disk.power_cut(),
    }
    disk.set_faults(Faults::default());
    disk.set_room(None);
    let Life { fates, mut sink, position, .. } = life;
    let before = sink.len();
    let torn_bytes = recover(&disk, &settings, lane, position, &mut sink)?;
    check(&fates, &sink, end)?;
    let count = |fate: fn(&Fate) -> bool| fates.values().filter(|f| fate(f)).count() as u64;
    Ok(Tally {
        acknowledged: count(|fate| *fate == Fate::Acknowledged),
        refused: count(|fate| matches!(fate, Fate::Refused | Fate::Buried)),
        recovered: (sink.len() - before) as u64,
        torn_bytes,
        failed_syncs: stats.failed_syncs,
        failed_writes: stats.failed_writes + stats.failed_reservations,
        kills: u64::from(end == End::Kill),
    })
}

impl Life {
    fn step(&mut self) -> Result<(), String> {
        match self.rng.below(100) {
            0..40 => self.append(),
            40..65 => drop(self.writer.write()),
            65..85 => self.run_job(),
            85..90 => self.read()?,
            90..94 => self.change_the_weather(),
            94..96 => self.writer.sync(),
            _ => self.writer.retry(),
        }
        while let Some(job) = self.writer.next_job() {
            self.jobs.push_back(job);
        }
        self.ask();
        Ok(())
    }

    fn append(&mut self) {
        for _ in 0..=self.rng.below(6) {
            let record = self.next_record;
            self.next_record += 1;
            let fate = match self.writer.append_encoded(&payload(record)) {
                Ok(ticket) => Fate::Open(ticket),
                Err(_) => Fate::Buried,
            };
            self.fates.insert(record, fate);
        }
    }

    fn run_job(&mut self) {
        if let Some(job) = self.jobs.pop_front() {
            self.writer.done(job.run());
        }
    }

    fn change_the_weather(&mut self) {
        self.faulty = !self.faulty && self.rng.chance(600);
        let mut per_mille = || if self.rng.chance(500) { self.rng.below(400) as u32 } else { 0 };
        let faults = Faults { write: per_mille(), sync: per_mille(), create: per_mille() };
        let full = self.rng.chance(300);
        self.disk.set_faults(if self.faulty { faults } else { Faults::default() });
        self.disk.set_room((self.faulty && full).then(|| self.disk.used() + self.rng.below(2_000)));
    }

    /// Takes the outcomes as the worker sees them.
    fn ask(&mut self) {
        let mut committed = false;
        for fate in self.fates.values_mut() {
            if let Fate::Open(ticket) = *fate
                && let Some(outcome) = self.writer.outcome(ticket)
            {
                *fate = if outcome.is_ok() { Fate::Acknowledged } else { Fate::Refused };
                committed |= outcome.is_ok();
            }
        }
        if committed {
            self.fates.values_mut().filter(|fate| **fate == Fate::Refused).for_each(|fate| *fate = Fate::Buried);
        }
    }

    /// The pump: reads what is committed, stores it, and lets the reader delete what the sink holds.
    fn read(&mut self) -> Result<(), String> {
        let max = 1 + self.rng.below(40) as usize;
        let Ok(records) = self.reader.next(max, 1 << 20) else { return Ok(()) };
        for (_, bytes) in &records {
            let record = record_of(bytes)?;
            if self.fates.get(&record) != Some(&Fate::Acknowledged) {
                return Err(format!("record {record} was delivered while it was {:?}", self.fates.get(&record)));
            }
            self.sink.push(record);
        }
        self.position = self.reader.position();
        if self.reader.damage().records > 0 {
            return Err(format!("a live lane shows damage: {:?}", self.reader.damage()));
        }
        // A failed deletion is tried again the next time.
        let _ = self.reader.delivered(self.position);
        Ok(())
    }
}

/// A new process: claims the lane, goes to the sink's position, reads on, removes the lane. Returns the torn bytes.
fn recover(
    disk: &SimDisk,
    settings: &Settings,
    lane: LaneId,
    position: u64,
    sink: &mut Vec<u64>,
) -> Result<u64, String> {
    let open = || Journal::open(disk.shared(), settings.clone(), Clock::manual(Millis(0))).map_err(|e| e.to_string());
    let journal = open()?;
    let readers = journal.claim_orphans().map_err(|e| e.to_string())?;
    let mut torn_bytes = 0;
    for mut reader in readers {
        if reader.lane() != lane {
            return Err(format!("a lane {} that nobody made", reader.lane()));
        }
        if position > 0 {
            reader.seek(position);
        }
        while !reader.finished() {
            for (_, bytes) in reader.next(7, 4_096).map_err(|e| e.to_string())? {
                sink.push(record_of(&bytes)?);
            }
        }
        let damage = reader.damage();
        if damage.records > 0 {
            return Err(format!("a crash is not damage, but {damage:?} is reported"));
        }
        torn_bytes += damage.torn_bytes;
        reader.remove().map_err(|e| e.to_string())?;
    }
    drop(journal);
    disk.power_cut();
    if !open()?.claim_orphans().map_err(|e| e.to_string())?.is_empty() {
        return Err("a removed lane came back".to_owned());
    }
    Ok(torn_bytes)
}

fn check(fates: &BTreeMap<u64, Fate>, sink: &[u64], end: End) -> Result<(), String> {
    if let Some(pair) = sink.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!("record {} was delivered after record {}", pair[1], pair[0]));
    }
    for (record, fate) in fates {
        let delivered = sink.binary_search(record).is_ok();
        let wrong = match fate {
            Fate::Acknowledged => !delivered,
            Fate::Buried => delivered,
            // The disk may keep what it refused to confirm, if the power goes before anything else is committed.
            Fate::Refused => delivered && end == End::Kill,
            Fate::Open(_) => false,
        };
        if wrong {
            let delivered = if delivered { "delivered" } else { "lost" };
            return Err(format!("record {record} was {fate:?} and is {delivered} ({end:?})"));
        }
    }
    match sink.iter().find(|record| !fates.contains_key(record)) {
        Some(record) => Err(format!("record {record} was never written")),
        None => Ok(()),
    }
}
