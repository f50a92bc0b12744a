//! Tests of the journal as a whole. `load-tests/power_cut.rs` and `damage.rs` go further, with many seeds.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::*;
use crate::{
    core::time::Millis,
    io::sim::{Faults, SimDisk},
};

mod group_commit;
mod model;
mod recovery;
mod sequenced;

const FOLDER: &str = "/data/journal";
const LANE: LaneId = LaneId(7);

fn settings(durability: Durability) -> Settings {
    Settings {
        folder: PathBuf::from(FOLDER),
        durability,
        sync_interval: Duration::from_millis(20),
        segment_bytes: 8_192,
        max_bytes: 0,
    }
}

fn open(disk: &SimDisk, settings: &Settings) -> Journal {
    Journal::open(disk.shared(), settings.clone(), Clock::manual(Millis(1_000))).unwrap()
}

/// Appends and writes one group, running every job at once.
fn group(writer: &mut LaneWriter, payloads: &[&[u8]]) -> Result<(), AppendError> {
    let mut ticket = None;
    for payload in payloads {
        ticket = Some(writer.append_encoded(payload)?);
    }
    while writer.write() == Written::Waiting {
        run_jobs(writer);
    }
    run_jobs(writer);
    writer.outcome(ticket.unwrap()).unwrap()
}

fn run_jobs(writer: &mut LaneWriter) {
    while let Some(job) = writer.next_job() {
        writer.done(job.run());
    }
}

fn end(mut writer: LaneWriter) {
    writer.close();
    writer.seal();
    run_jobs(&mut writer);
}

fn read_all(reader: &mut LaneReader) -> Vec<(u64, Vec<u8>)> {
    let mut records = Vec::new();
    loop {
        let batch = reader.next(3, 1 << 20).unwrap();
        if batch.is_empty() {
            return records;
        }
        records.extend(batch);
    }
}

fn payloads(records: &[(u64, Vec<u8>)]) -> Vec<&[u8]> {
    records.iter().map(|(_, payload)| payload.as_slice()).collect()
}

fn orphan(disk: &SimDisk) -> LaneReader {
    let mut orphans = open(disk, &settings(Durability::Process)).claim_orphans().unwrap();
    assert_eq!(orphans.len(), 1);
    orphans.remove(0)
}

fn segment(first: u64) -> PathBuf {
    segment::lane_folder(std::path::Path::new(FOLDER), LANE).join(segment::file_name(first))
}
