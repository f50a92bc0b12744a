//! Lanes of the outbox: they always wait for the disk, and what they hold at their ends is found, by whoever looks.

use prost::Message;

use super::*;
use crate::core::event::Event;

/// An event of the outbox; its id repeats its number.
fn told(sequence: u64) -> Vec<u8> {
    Event { id: vec![sequence as u8; 16], sequence, sub1: "x".repeat(200), ..Event::default() }.encode_to_vec()
}

fn numbers(journal: &Journal) -> Vec<u64> {
    let found = journal.sequenced().unwrap();
    assert!(found.iter().all(|record| record.id == [record.sequence as u8; 16]));
    let mut numbers: Vec<u64> = found.iter().map(|record| record.sequence).collect();
    numbers.sort_unstable();
    numbers
}

fn settle(writer: &mut LaneWriter, sequences: std::ops::RangeInclusive<u64>) -> Result<(), AppendError> {
    let tickets: Vec<Ticket> = sequences.map(|sequence| writer.append_encoded(&told(sequence)).unwrap()).collect();
    writer.settle(*tickets.last().unwrap())
}

#[test]
fn the_last_segment_tells_and_clicks_tell_nothing() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, &settings(Durability::Process));
    let mut clicks = journal.lane_with(LaneId(1), 9).unwrap();
    group(&mut clicks, &[&Event { sub1: "a click".to_owned(), ..Event::default() }.encode_to_vec()]).unwrap();
    assert_eq!(numbers(&journal), [0; 0]);
    let mut writer = journal.durable_lane().unwrap();
    assert_eq!(numbers(&journal), [0; 0], "an empty lane");
    // 8 KiB of a segment hold one such group and a half.
    settle(&mut writer, 1..=10).unwrap();
    assert_eq!(numbers(&journal), (1..=10).collect::<Vec<_>>());
    settle(&mut writer, 11..=20).unwrap();
    assert_eq!(numbers(&journal), (11..=20).collect::<Vec<_>>(), "the position covers the groups before");
    let mut other = journal.durable_lane().unwrap();
    settle(&mut other, 21..=22).unwrap();
    assert_eq!(numbers(&journal), (11..=22).collect::<Vec<_>>(), "all lanes");

    drop((writer, other, clicks, journal));
    let next = open(&disk, &settings(Durability::Process));
    assert_eq!(numbers(&next), (11..=22).collect::<Vec<_>>(), "also those that nobody holds");
    let mut orphans = next.claim_orphans().unwrap();
    let mut highest: Vec<_> = orphans.iter().map(LaneReader::sequenced_to).collect();
    highest.sort_unstable();
    assert_eq!(highest, [None, Some(20), Some(22)]);
    assert_eq!(numbers(&next), (11..=22).collect::<Vec<_>>(), "and those that somebody drains");
    for orphan in &mut orphans {
        read_all(orphan);
        orphan.delivered(orphan.position()).unwrap();
    }
    assert_eq!(numbers(&next), (11..=22).collect::<Vec<_>>(), "as long as they are there");
    orphans.iter_mut().for_each(|orphan| orphan.remove().unwrap());
    assert_eq!(numbers(&next), [0; 0]);
}

/// Whatever the settings say: what may be delivered is there after a power cut, with its place.
#[test]
fn a_durable_lane_commits_what_the_disk_has_confirmed() {
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let journal = open(&disk, &settings(Durability::Process));
        let mut writer = journal.durable_lane().unwrap();
        settle(&mut writer, 1..=10).unwrap();
        settle(&mut writer, 11..=15).unwrap();
        let ticket = writer.append_encoded(&told(16)).unwrap();
        writer.write();
        assert_eq!(writer.outcome(ticket), None, "the disk has not confirmed it");
        assert_eq!(writer.watch().committed(), 15);
        drop(writer);
        disk.power_cut();
        let next = open(&disk, &settings(Durability::Process));
        let found = numbers(&next);
        assert!((11..=15).all(|number| found.contains(&number)), "seed {seed}: {found:?}");
        let records = read_all(&mut next.claim_orphans().unwrap()[0]);
        let last = Event::decode(records.last().unwrap().1.as_slice()).unwrap();
        assert_eq!(Some(&last.sequence), found.last(), "seed {seed}: what is told is what is delivered");
    }
}

/// A process died before the disk had its last group; the next one finds it. A power cut then does not take it away.
#[test]
fn what_was_told_stays() {
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let journal = open(&disk, &settings(Durability::Process));
        let mut writer = journal.durable_lane().unwrap();
        settle(&mut writer, 1..=3).unwrap();
        writer.append_encoded(&told(4)).unwrap();
        writer.write();
        drop((writer, journal));
        disk.kill();
        assert_eq!(numbers(&open(&disk, &settings(Durability::Process))), [1, 2, 3, 4]);
        disk.power_cut();
        assert_eq!(numbers(&open(&disk, &settings(Durability::Process))), [1, 2, 3, 4], "seed {seed}");
    }
}

#[test]
fn a_group_that_the_disk_refused_can_be_settled_again() {
    let disk = SimDisk::new(4);
    let journal = open(&disk, &settings(Durability::Process));
    let mut writer = journal.durable_lane().unwrap();
    settle(&mut writer, 1..=3).unwrap();
    for faults in [Faults { sync: 1_000, ..Faults::default() }, Faults { write: 1_000, ..Faults::default() }] {
        disk.set_faults(faults);
        assert!(settle(&mut writer, 4..=5).is_err());
        assert_eq!(writer.watch().committed(), 3);
        disk.set_faults(Faults::default());
        writer.retry();
        writer.run_jobs();
        assert!(!writer.is_failed());
    }
    settle(&mut writer, 4..=5).unwrap();
    let mut reader = journal.reader(writer.watch());
    let sequences: Vec<u64> =
        read_all(&mut reader).iter().map(|(_, payload)| Event::decode(payload.as_slice()).unwrap().sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
}

#[test]
fn a_lock_of_the_folder_is_one_process_s() {
    let disk = SimDisk::new(5);
    let [one, other] = [(); 2].map(|()| open(&disk, &settings(Durability::Process)));
    let claim = one.claim("outbox.lock").unwrap();
    assert!(claim.is_some() && other.claim("outbox.lock").unwrap().is_none());
    drop(claim);
    assert!(other.claim("outbox.lock").unwrap().is_some());
    assert_eq!(other.live().len() + other.other_lanes().unwrap(), 0, "it is no lane");
}
