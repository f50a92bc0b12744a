//! `damage`: random flips, cuts and deletions in the files of a journal, on the real disk. The start must succeed, and lose only
//! what was touched. Where the damage can be counted, it is counted exactly. `--size full` is 10,000 journals; `--seed N`
//! replays one.

use std::{collections::BTreeSet, fs, ops::Range, path::Path, path::PathBuf, process::ExitCode, time::Duration};

use crate::common;
use fingerpost::{
    core::{id::LaneId, time::Millis},
    io::{clock::Clock, disk::SystemDisk, sim::Rng},
    journal::{Damage, Durability, Journal, LaneReader, Settings, Written},
};
use serde_json::json;

const SEGMENT_BYTES: u64 = 8_192;
/// Where records begin in a segment.
const HEADER_BYTES: u64 = 4_096;
/// Of one record, beside its payload.
const HEAD_BYTES: u64 = 12;

/// Sequence number and payload.
type Record = (u64, Vec<u8>);

/// Where one record lies.
#[derive(Clone, Debug)]
struct Place {
    segment: PathBuf,
    bytes: Range<u64>,
}

struct History {
    payloads: Vec<Vec<u8>>,
    places: Vec<Place>,
    /// Sealed, as after a clean end; else as after kill -9.
    is_sealed: bool,
}

/// What was done to the files.
#[derive(Default)]
struct Harm {
    /// Records that cannot be expected back.
    touched: BTreeSet<usize>,
    /// The last segment lost its end, or all its headers are gone: how many records it held cannot be known.
    is_uncountable: bool,
}

#[derive(Default)]
struct Tally {
    records: u64,
    harmed: u64,
    lost: u64,
    counted: u64,
    torn_bytes: u64,
    exact: u64,
}

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => 0..arguments.size.pick(200, 10_000),
    };
    let count = seeds.end - seeds.start;
    let root = match tempfile::tempdir() {
        Ok(root) => root,
        Err(error) => {
            return common::report("damage", arguments.size, false, json!({ "error": error.to_string() }));
        }
    };
    let mut tally = Tally::default();
    for seed in seeds {
        let folder = root.path().join(seed.to_string());
        if let Err(error) = one(seed, &folder, &mut tally) {
            println!("seed {seed}: {error}\nreplay it with --seed {seed}");
            return common::report("damage", arguments.size, false, json!({ "seed": seed, "error": error }));
        }
        let _ = fs::remove_dir_all(&folder);
        if (seed + 1).is_multiple_of(1_000) {
            println!("{} journals, {} records harmed, {} lost", seed + 1, tally.harmed, tally.lost);
        }
    }
    let fields = json!({
        "journals": count, "records": tally.records, "harmed": tally.harmed, "lost": tally.lost,
        "counted": tally.counted, "torn_bytes": tally.torn_bytes, "counted_exactly": tally.exact,
    });
    common::report("damage", arguments.size, true, fields)
}

fn one(seed: u64, folder: &Path, tally: &mut Tally) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let settings = Settings {
        folder: folder.to_path_buf(),
        durability: Durability::Process,
        sync_interval: Duration::from_secs(1),
        segment_bytes: SEGMENT_BYTES,
        max_bytes: 0,
    };
    let open = || Journal::open(SystemDisk::shared(), settings.clone(), Clock::manual(Millis(0))).map_err(text);
    let lane = LaneId(u128::from(seed) << 64 | u128::from(rng.u64()));
    let written = write(&open()?, lane, &mut rng)?;
    let harm = harm(&written, &mut rng)?;

    let journal = open()?;
    let mut readers = journal.claim_orphans().map_err(text)?;
    let reader = readers.first_mut().ok_or("the lane was not found")?;
    let (read, damage) = read(reader)?;
    reader.remove().map_err(text)?;
    check(&written, &harm, &read, damage)?;
    tally.records += written.payloads.len() as u64;
    tally.harmed += harm.touched.len() as u64;
    tally.lost += written.payloads.len() as u64 - read.len() as u64;
    tally.counted += damage.records;
    tally.torn_bytes += damage.torn_bytes;
    tally.exact += u64::from(!harm.is_uncountable);
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A lane of one to five segments, and where each record lies in it.
fn write(journal: &Journal, lane: LaneId, rng: &mut Rng) -> Result<History, String> {
    let mut writer = journal.lane_with(lane, rng.u64()).map_err(text)?;
    let mut payloads = Vec::new();
    for _ in 0..1 + rng.below(40) {
        for _ in 0..1 + rng.below(8) {
            let len = rng.below(200);
            let payload: Vec<u8> = (0..len).map(|_| rng.u64() as u8).collect();
            writer.append_encoded(&payload).map_err(text)?;
            payloads.push(payload);
        }
        while writer.write() == Written::Waiting {
            if let Some(job) = writer.next_job() {
                writer.done(job.run());
            }
        }
        while let Some(job) = writer.next_job() {
            writer.done(job.run());
        }
    }
    let is_sealed = rng.chance(500);
    if is_sealed {
        writer.close();
        writer.seal();
        while let Some(job) = writer.next_job() {
            writer.done(job.run());
        }
    }
    let folder = writer.watch().folder().to_path_buf();
    let mut firsts: Vec<u64> = fs::read_dir(&folder)
        .map_err(text)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".seg")?.parse().ok())
        .collect();
    firsts.sort_unstable();
    let mut places = Vec::new();
    let mut at = HEADER_BYTES;
    for (sequence, payload) in payloads.iter().enumerate() {
        let segment = firsts.partition_point(|first| *first <= sequence as u64) - 1;
        if firsts[segment] == sequence as u64 {
            at = HEADER_BYTES;
        }
        let end = at + HEAD_BYTES + payload.len() as u64;
        places.push(Place { segment: folder.join(format!("{:020}.seg", firsts[segment])), bytes: at..end });
        at = end;
    }
    Ok(History { payloads, places, is_sealed })
}

/// Does one to four bad things.
fn harm(written: &History, rng: &mut Rng) -> Result<Harm, String> {
    let mut harm = Harm::default();
    let last = written.places.last().ok_or("nothing was written")?.clone();
    for _ in 0..1 + rng.below(4) {
        let victim = &written.places[rng.below(written.places.len() as u64) as usize];
        let Ok(mut bytes) = fs::read(&victim.segment) else { continue };
        let is_last = victim.segment == last.segment;
        let used = written.places.iter().filter(|place| place.segment == victim.segment).map(|p| p.bytes.end).max();
        let used = used.unwrap_or(HEADER_BYTES).min(bytes.len() as u64);
        let range = match rng.below(10) {
            // One header copy: costs nothing.
            0 => {
                let copy = 2_048 * rng.below(2);
                copy..copy + 64
            }
            // Both: the neighbours know the key, if there are any.
            1 => {
                harm.is_uncountable |= is_last || bytes.is_empty();
                0..HEADER_BYTES
            }
            // The end is cut off.
            2 => {
                let cut = HEADER_BYTES + rng.below(used - HEADER_BYTES + 1);
                harm.is_uncountable |= is_last;
                bytes.truncate(cut as usize);
                cut..used
            }
            // The whole segment is gone.
            3 => {
                harm.is_uncountable |= is_last;
                fs::remove_file(&victim.segment).map_err(text)?;
                touch(&mut harm, written, victim, 0..used);
                continue;
            }
            // Bytes are overwritten.
            _ => {
                let longest = if rng.chance(200) { 2_000 } else { 30 };
                let from = HEADER_BYTES + rng.below(used - HEADER_BYTES + 1);
                from..(from + 1 + rng.below(longest)).min(used)
            }
        };
        let zero = rng.chance(300);
        let end = range.end.min(bytes.len() as u64);
        for at in range.start.min(end)..end {
            let byte = &mut bytes[at as usize];
            *byte = if zero { 0 } else { *byte ^ (1 + rng.below(255) as u8) };
        }
        fs::write(&victim.segment, &bytes).map_err(text)?;
        touch(&mut harm, written, victim, range);
    }
    // The tail of a lane that was not sealed says nothing about what stood there.
    let tail_harmed = harm.touched.contains(&(written.places.len() - 1));
    harm.is_uncountable |= tail_harmed;
    if !written.is_sealed {
        // A hole inside the last group is taken for a torn write, so it is not counted.
        let last_segment: Vec<usize> =
            (0..written.places.len()).filter(|at| written.places[*at].segment == last.segment).collect();
        let tail = last_segment.iter().rev().take(8);
        harm.is_uncountable |= tail.into_iter().any(|at| harm.touched.contains(at));
    }
    // A lane without any header left cannot be read at all.
    let headers_left = written.places.iter().any(|place| {
        fs::read(&place.segment).is_ok_and(|bytes| {
            [0, 2_048].iter().any(|at| bytes.get(*at..at + 8).is_some_and(|magic| magic == b"FPOSTSEG"))
        })
    });
    if !headers_left {
        harm.touched.extend(0..written.places.len());
        harm.is_uncountable = true;
    }
    Ok(harm)
}

fn touch(harm: &mut Harm, written: &History, victim: &Place, range: Range<u64>) {
    for (at, place) in written.places.iter().enumerate() {
        let hit = place.bytes.start < range.end && range.start < place.bytes.end;
        if place.segment == victim.segment && hit {
            harm.touched.insert(at);
        }
    }
}

fn read(reader: &mut LaneReader) -> Result<(Vec<Record>, Damage), String> {
    // The sink knows the lane from its first record on.
    reader.seek(0);
    let mut records = Vec::new();
    while !reader.finished() {
        records.extend(reader.next(50, 1 << 16).map_err(text)?);
    }
    Ok((records, reader.damage()))
}

fn check(written: &History, harm: &Harm, read: &[Record], damage: Damage) -> Result<(), String> {
    if read.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return Err("sequence numbers do not rise".to_owned());
    }
    let mut seen = BTreeSet::new();
    for (sequence, payload) in read {
        if written.payloads.get(*sequence as usize) != Some(payload) {
            return Err(format!("record {sequence} has bytes that were not written"));
        }
        seen.insert(*sequence as usize);
    }
    if let Some(lost) = (0..written.payloads.len()).find(|at| !seen.contains(at) && !harm.touched.contains(at)) {
        return Err(format!("record {lost} was not touched, and is lost"));
    }
    let lost = (written.payloads.len() - read.len()) as u64;
    if damage.records > lost || (!harm.is_uncountable && damage.records != lost) {
        let missing: Vec<usize> = (0..written.payloads.len()).filter(|at| !seen.contains(at)).collect();
        return Err(format!(
            "{lost} records are lost, {damage:?} is reported: {missing:?} of {}",
            written.payloads.len()
        ));
    }
    Ok(())
}
