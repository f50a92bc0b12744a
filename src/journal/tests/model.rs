//! A writer and a reader, in lockstep with the simplest thing that could be right: a vector of what was acknowledged.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Append {
        len: usize,
    },
    Write,
    RunJob,
    Read {
        max_records: usize,
        max_bytes: usize,
    },
    Deliver,
    SeekBack,
    /// Leaves so much room on the disk.
    Full {
        room: u64,
    },
    Roomy,
    FailSyncs(bool),
    FailWrites(bool),
    Retry,
    Sync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop_oneof![0..120_usize, 0..2_500_usize].prop_map(|len| Step::Append { len }),
        6 => Just(Step::Write),
        6 => Just(Step::RunJob),
        3 => (1..20_usize, 1..4_000_usize).prop_map(|(max_records, max_bytes)| Step::Read { max_records, max_bytes }),
        1 => Just(Step::Deliver),
        1 => Just(Step::SeekBack),
        1 => (0..9_000_u64).prop_map(|room| Step::Full { room }),
        2 => Just(Step::Roomy),
        1 => any::<bool>().prop_map(Step::FailSyncs),
        1 => any::<bool>().prop_map(Step::FailWrites),
        2 => Just(Step::Retry),
        1 => Just(Step::Sync),
    ]
}

/// What must be true of the lane.
#[derive(Default)]
struct Model {
    /// Appended, in order, with their tickets; not decided yet.
    open: Vec<(Ticket, Vec<u8>)>,
    /// Sequence number is the index.
    acknowledged: Vec<Vec<u8>>,
    /// What the reader has handed out.
    read: usize,
    delivered: usize,
}

fn run(durability: Durability, steps: &[Step]) -> Result<(), TestCaseError> {
    let disk = SimDisk::new(3);
    let journal = open(&disk, &settings(durability));
    let mut writer = journal.lane_with(LANE, 99).unwrap();
    let mut reader = journal.reader(writer.watch());
    let mut jobs = std::collections::VecDeque::new();
    let mut model = Model::default();
    let mut faults = Faults::default();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Append { len } => {
                let payload = vec![number as u8; *len];
                if let Ok(ticket) = writer.append_encoded(&payload) {
                    model.open.push((ticket, payload));
                }
            }
            Step::Write => drop(writer.write()),
            Step::RunJob => {
                if let Some(job) = jobs.pop_front() {
                    writer.done(Job::run(job));
                }
            }
            Step::Read { max_records, max_bytes } => {
                let records = reader.next(*max_records, *max_bytes).unwrap();
                prop_assert!(records.len() <= *max_records);
                for (sequence, payload) in records {
                    prop_assert_eq!(sequence as usize, model.read);
                    prop_assert_eq!(Some(&payload), model.acknowledged.get(model.read));
                    model.read += 1;
                }
            }
            Step::Deliver => {
                reader.delivered(model.read as u64).unwrap();
                model.delivered = model.read;
            }
            Step::SeekBack => {
                reader.seek(model.delivered as u64);
                model.read = model.delivered;
            }
            Step::Full { room } => disk.set_room(Some(disk.used() + room)),
            Step::Roomy => disk.set_room(None),
            Step::FailSyncs(fail) => faults.sync = if *fail { 1_000 } else { 0 },
            Step::FailWrites(fail) => faults.write = if *fail { 1_000 } else { 0 },
            Step::Retry => writer.retry(),
            Step::Sync => writer.sync(),
        }
        disk.set_faults(faults);
        jobs.extend(std::iter::from_fn(|| writer.next_job()));
        let acknowledged = &mut model.acknowledged;
        model.open.retain(|(ticket, payload)| match writer.outcome(*ticket) {
            None => true,
            Some(Ok(())) => {
                acknowledged.push(payload.clone());
                false
            }
            Some(Err(_)) => false,
        });
        prop_assert_eq!(writer.watch().committed() as usize, model.acknowledged.len());
        prop_assert_eq!(writer.watch().lag() as usize, model.acknowledged.len() - model.delivered);
        prop_assert_eq!(reader.damage(), Damage::default());
        prop_assert_eq!(journal.stats().bytes, disk.used(), "the ledger is the disk");
    }
    // The weather clears up: everything that is left arrives, and the lane can be removed.
    disk.set_faults(Faults::default());
    disk.set_room(None);
    writer.close();
    while !writer.is_idle() {
        writer.write();
        writer.retry();
        jobs.extend(std::iter::from_fn(|| writer.next_job()));
        if let Some(job) = jobs.pop_front() {
            writer.done(Job::run(job));
        }
    }
    for (ticket, payload) in model.open.drain(..) {
        if writer.outcome(ticket) == Some(Ok(())) {
            model.acknowledged.push(payload);
        }
    }
    writer.seal();
    jobs.into_iter().for_each(|job| writer.done(job.run()));
    run_jobs(&mut writer);
    let rest = read_all(&mut reader);
    prop_assert_eq!(payloads(&rest), model.acknowledged[model.read..].iter().map(Vec::as_slice).collect::<Vec<_>>());
    prop_assert!(reader.finished());
    reader.remove().unwrap();
    prop_assert_eq!(disk.used(), 0);
    prop_assert_eq!(journal.stats().bytes, 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_does_as_the_model_does(disk: bool, steps in proptest::collection::vec(step(), 1..250)) {
        run(if disk { Durability::Disk } else { Durability::Process }, &steps)?;
    }
}
