//! Recovery: torn tails, damage, planted records, orphans, limits.

use super::*;
use crate::journal::{record, segment::HEADER_BYTES};
use proptest::prelude::*;

/// A lane that was killed after these groups.
fn killed(groups: &[&[&[u8]]]) -> SimDisk {
    let disk = SimDisk::new(1);
    let journal = open(&disk, &settings(Durability::Process));
    let mut writer = journal.lane_with(LANE, 99).unwrap();
    for payloads in groups {
        group(&mut writer, payloads).unwrap();
    }
    disk.kill();
    disk
}

/// Where a record of a killed lane's first segment begins, when all payloads before are `len` long.
fn offset(records: usize, len: usize) -> usize {
    HEADER_BYTES + records * (record::HEAD_BYTES + len)
}

#[test]
fn a_torn_tail_is_cut_and_is_no_damage() {
    for cut in 1..offset(1, 4) - HEADER_BYTES {
        let disk = killed(&[&[b"aaaa", b"bbbb"], &[b"cccc"]]);
        let torn = offset(2, 4) + cut..offset(3, 4);
        disk.corrupt(&segment(0), |bytes| bytes[torn].fill(0)).unwrap();
        let mut reader = orphan(&disk);
        assert_eq!(payloads(&read_all(&mut reader)), [b"aaaa", b"bbbb"]);
        assert_eq!(reader.damage().records, 0);
        assert!(reader.damage().torn_bytes <= cut as u64 && (cut < 4 || reader.damage().torn_bytes > 0));
        assert!(reader.finished());
    }
}

#[test]
fn damage_in_the_middle_costs_what_was_touched_and_is_counted() {
    for at in offset(1, 4)..offset(3, 4) {
        let disk = killed(&[&[b"aaaa"], &[b"bbbb"], &[b"cccc"], &[b"dddd"]]);
        disk.corrupt(&segment(0), |bytes| bytes[at] ^= 0x40).unwrap();
        let mut reader = orphan(&disk);
        let records = read_all(&mut reader);
        let lost = if at < offset(2, 4) { 1 } else { 2 };
        assert_eq!(records.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), {
            let mut rest = vec![0, 1, 2, 3];
            rest.remove(lost);
            rest
        });
        assert_eq!(reader.damage(), Damage { records: 1, torn_bytes: 0, segments: 0 }, "byte {at}");
    }
}

#[test]
fn a_hole_inside_the_last_group_is_a_torn_write_unless_a_seal_says_that_it_was_committed() {
    for (sealed, damaged) in [(false, 0), (true, 1)] {
        let disk = SimDisk::new(1);
        let journal = open(&disk, &settings(Durability::Process));
        let mut writer = journal.lane_with(LANE, 99).unwrap();
        group(&mut writer, &[b"aaaa"]).unwrap();
        group(&mut writer, &[b"bbbb", b"cccc"]).unwrap();
        if sealed {
            end(writer);
        }
        disk.kill();
        disk.corrupt(&segment(0), |bytes| bytes[offset(1, 4)] ^= 1).unwrap();
        let mut reader = orphan(&disk);
        assert_eq!(payloads(&read_all(&mut reader)), [b"aaaa", b"cccc"]);
        assert_eq!(reader.damage().records, damaged);
    }
}

#[test]
fn the_end_of_a_sealed_lane_can_only_be_damaged_not_torn() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, &settings(Durability::Process));
    let mut writer = journal.lane_with(LANE, 99).unwrap();
    group(&mut writer, &[b"aaaa"]).unwrap();
    group(&mut writer, &[b"bbbb"]).unwrap();
    end(writer);
    disk.kill();
    disk.corrupt(&segment(0), |bytes| bytes[offset(1, 4) + 13] ^= 1).unwrap();
    let mut reader = orphan(&disk);
    assert_eq!(payloads(&read_all(&mut reader)), [b"aaaa"]);
    assert_eq!(reader.damage(), Damage { records: 1, torn_bytes: 0, segments: 0 });
}

#[test]
fn a_record_that_a_visitor_planted_in_a_payload_is_never_believed() {
    // The visitor knows the format and the next sequence number, but not the salt. Only with that (the last one) would a
    // forged record pass, which shows that the forgery is good in everything else.
    for (salt, is_known) in [(0, false), (1, false), (98, false), (u64::MAX, false), (99, true)] {
        let mut planted = vec![0; record::HEAD_BYTES];
        planted.extend_from_slice(b"forged");
        record::finish(&mut planted, record::Key::new(salt), record::Kind::Event, 1, 0);
        let disk = killed(&[&[&planted], &[b"good"]]);
        disk.corrupt(&segment(0), |bytes| bytes[HEADER_BYTES] ^= 1).unwrap();
        let mut reader = orphan(&disk);
        let records = read_all(&mut reader);
        assert_eq!(payloads(&records), [if is_known { &b"forged"[..] } else { b"good" }], "salt {salt}");
    }
}

#[test]
fn missing_segments_and_lost_headers_are_counted_and_stop_nothing() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, &settings(Durability::Process));
    let mut writer = journal.lane_with(LANE, 99).unwrap();
    let watch = Arc::clone(writer.watch());
    while reader::segments_in(&disk, watch.folder()).unwrap().len() < 4 {
        group(&mut writer, &[&[5; 200]]).unwrap();
    }
    let firsts = reader::segments_in(&disk, watch.folder()).unwrap();
    let all = watch.committed();
    disk.kill();
    disk.remove_file(&segment(firsts[1])).unwrap();
    disk.corrupt(&segment(firsts[2]), |bytes| bytes[..HEADER_BYTES].fill(0xee)).unwrap();
    let mut reader = orphan(&disk);
    let lost = firsts[2] - firsts[1];
    assert_eq!(read_all(&mut reader).len() as u64, all - lost, "the neighbours know the key");
    assert_eq!(reader.damage(), Damage { records: lost, torn_bytes: 0, segments: 0 });

    let disk2 = killed(&[&[b"aaaa"]]);
    disk2.corrupt(&segment(0), |bytes| bytes[..HEADER_BYTES].fill(0xee)).unwrap();
    let mut reader = orphan(&disk2);
    assert!(read_all(&mut reader).is_empty());
    assert!(reader.finished());
    assert_eq!(reader.damage().segments, 1);
}

#[test]
fn a_reader_goes_on_at_the_sinks_position_and_deletes_what_the_sink_holds() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, &settings(Durability::Process));
    let mut writer = journal.lane_with(LANE, 99).unwrap();
    let watch = Arc::clone(writer.watch());
    for n in 0..100_u8 {
        group(&mut writer, &[&[n; 200]]).unwrap();
    }
    disk.kill();
    let mut reader = orphan(&disk);
    let before = reader::segments_in(&disk, watch.folder()).unwrap();
    reader.seek(63);
    let records = read_all(&mut reader);
    assert_eq!((records[0].0, records.len()), (63, 37));
    reader.delivered(63).unwrap();
    let after = reader::segments_in(&disk, watch.folder()).unwrap();
    assert!(after.len() < before.len() && after[0] <= 63 && after[1] > 63);
    reader.seek(63);
    assert_eq!(read_all(&mut reader).len(), 37, "a reader may be sent back");
    assert_eq!(reader.damage(), Damage::default());
    reader.remove().unwrap();
    assert!(disk.list(std::path::Path::new(FOLDER)).unwrap().is_empty());
    assert_eq!(disk.used(), 0);
}

#[test]
fn of_two_claimers_only_one_wins_and_a_live_lane_is_nobodys() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { folder: folder.path().join("journal"), ..settings(Durability::Process) };
    let open =
        || Journal::open(crate::io::disk::SystemDisk::shared(), settings.clone(), Clock::manual(Millis(0))).unwrap();
    let (old, first, second) = (open(), open(), open());
    let mut writer = old.lane().unwrap();
    group(&mut writer, &[b"kept"]).unwrap();
    assert!(first.claim_orphans().unwrap().is_empty() && old.claim_orphans().unwrap().is_empty());
    drop((writer, old));
    let won = std::thread::scope(|scope| {
        let claims = [&first, &second].map(|journal| scope.spawn(move || journal.claim_orphans().unwrap()));
        claims.map(|claim| claim.join().unwrap())
    });
    assert_eq!(won.iter().map(Vec::len).sum::<usize>(), 1);
    let mut reader = won.into_iter().flatten().next().unwrap();
    assert!(first.claim_orphans().unwrap().is_empty() && second.claim_orphans().unwrap().is_empty());
    assert_eq!(payloads(&read_all(&mut reader)), [b"kept"]);
    drop(reader);
    let mut again = second.claim_orphans().unwrap();
    assert_eq!(payloads(&read_all(&mut again[0])), [b"kept"], "a claimer that dies leaves all as it was");
    again[0].remove().unwrap();
    assert_eq!(std::fs::read_dir(&settings.folder).unwrap().count(), 0);
}

#[test]
fn a_lane_of_a_newer_version_is_left_alone() {
    let disk = killed(&[&[b"aaaa"]]);
    disk.corrupt(&segment(0), |bytes| {
        for at in [0, 2_048] {
            bytes[at + 8] = 9;
            let checksum = crc_fast::crc32_iscsi(&bytes[at..at + 60]);
            bytes[at + 60..at + 64].copy_from_slice(&checksum.to_le_bytes());
        }
    })
    .unwrap();
    let journal = open(&disk, &settings(Durability::Process));
    assert!(journal.claim_orphans().unwrap().is_empty());
    let condition = journal.condition();
    assert!(condition.reason().contains("newer fingerpost (journal format 9)"), "{condition:?}");
    assert!(disk.open(&segment(0)).is_ok());
}

#[test]
fn max_bytes_refuses_as_a_full_disk_does_and_counts_other_processes_too() {
    let disk = SimDisk::new(1);
    let limited = Settings { max_bytes: 3 * 8_192, ..settings(Durability::Process) };
    let other = open(&disk, &limited);
    let other_lane = other.lane().unwrap();
    let journal = open(&disk, &limited);
    let mut writer = journal.lane_with(LANE, 99).unwrap();
    let mut taken = 0_u64;
    let error = loop {
        match group(&mut writer, &[&[1; 500]]) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, AppendError::Full);
    assert!(matches!(journal.condition(), Condition::Refusing(reason) if reason.contains("journal.max_bytes")));
    assert!(journal.stats().bytes <= 3 * 8_192 && journal.stats().failed_reservations > 0);
    writer.retry();
    run_jobs(&mut writer);
    assert_eq!(group(&mut writer, &[b"still full"]), Err(AppendError::Full));
    // The sink takes what there is; that makes room.
    let mut reader = journal.reader(writer.watch());
    assert_eq!(read_all(&mut reader).len() as u64, taken);
    drop(other_lane);
    other.claim_orphans().unwrap().is_empty().then_some(()).unwrap();
    let mut closed = other.reader(&other.live()[0]);
    closed.remove().unwrap();
    journal.claim_orphans().unwrap();
    writer.retry();
    run_jobs(&mut writer);
    group(&mut writer, &[b"room again"]).unwrap();
    assert_eq!(journal.condition(), Condition::Good);
    assert_eq!(payloads(&read_all(&mut reader)), [b"room again"]);
    assert_eq!(reader.damage(), Damage::default());
}

#[test]
fn an_unwritable_folder_is_said_at_the_start_with_its_path() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let settings = Settings { folder: file.path().join("journal"), ..settings(Durability::Process) };
    let error = Journal::open(crate::io::disk::SystemDisk::shared(), settings, Clock::System).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("cannot create") && text.contains("/journal") && text.contains("make the folder writable"),
        "{text}"
    );
    assert_eq!(error.tag(), "unusable");
}

#[test]
fn looking_into_a_journal_changes_nothing() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, &settings(Durability::Process));
    let mut writer = journal.lane_with(LANE, 99).unwrap();
    group(&mut writer, &[b"aaaa", b"bbbb"]).unwrap();
    let shared = disk.shared();
    let lanes = inspect(&shared, std::path::Path::new(FOLDER)).unwrap();
    assert_eq!(lanes.len(), 1);
    let lane = &lanes[0];
    assert_eq!((lane.live, lane.segments, lane.first, lane.next, lane.records), (true, 1, 0, 2, 2));
    assert_eq!((lane.damaged, lane.torn_bytes, lane.bytes), (0, 0, 2 * 8_192), "with the spare");
    disk.kill();
    assert!(!inspect(&shared, std::path::Path::new(FOLDER)).unwrap()[0].live);
    assert_eq!(read_all(&mut orphan(&disk)).len(), 2);
}

proptest! {
    #[test]
    fn hostile_segments_are_read_to_their_end(
        bytes in proptest::collection::vec(any::<u8>(), 0..6_000),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        count in 1..30_usize,
    ) {
        read_hostile_segment(&bytes);
        let payload = [3; 40];
        let payloads: Vec<&[u8]> = (0..count).map(|_| &payload[..]).collect();
        let disk = killed(&[&payloads]);
        let mut real = Vec::new();
        disk.corrupt(&segment(0), |bytes| real.clone_from(bytes)).unwrap();
        prop_assert_eq!(read_hostile_segment(&real), count as u64);
        for (at, value) in flips {
            let at = at.index(real.len());
            real[at] = value;
        }
        prop_assert!(read_hostile_segment(&real) <= count as u64);
    }
}

/// The key that reads a segment without a header stands in another one, which stays as long as somebody may need it.
#[test]
fn a_segment_that_lost_its_header_is_read_to_its_end_by_whoever_comes() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, &settings(Durability::Process));
    let mut writer = journal.lane_with(LANE, 99).unwrap();
    let payload = [7; 3_000];
    for _ in 0..3 {
        group(&mut writer, &[&payload]).unwrap();
    }
    drop((writer, journal));
    disk.kill();
    for first in [1, 2] {
        disk.corrupt(&segment(first), |bytes| bytes[..HEADER_BYTES].fill(0)).unwrap();
    }
    for sequence in 0..3 {
        let mut reader = orphan(&disk);
        reader.seek(sequence);
        assert_eq!(reader.next(1, 1).unwrap(), [(sequence, payload.to_vec())]);
        reader.delivered(sequence + 1).unwrap();
        assert_eq!(reader.damage(), Damage::default());
    }
    let mut reader = orphan(&disk);
    reader.seek(3);
    assert!(read_all(&mut reader).is_empty() && reader.finished());
    reader.remove().unwrap();
    assert_eq!(disk.used(), 0);
}
