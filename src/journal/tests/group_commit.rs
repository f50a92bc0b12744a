//! Group commit inside an event loop, on the simulated disk.

use std::rc::Rc;

use prost::Message;
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::core::{
    event::{Event, EventRef, Kind},
    time::HOUR_MS,
};

fn in_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(30), test).await.expect("a lane must never hang");
    });
}

fn click(count: u64) -> Event {
    Event { kind: Kind::Click as i32, count, ..Event::default() }
}

async fn record(lane: &Lane, event: &EventRef<'_>) -> Result<(), AppendError> {
    let ticket = lane.append(event)?;
    lane.committed(ticket).await
}

fn events(journal: &Journal) -> Vec<Event> {
    let mut reader = journal.reader(&journal.live()[0]);
    read_all(&mut reader).iter().map(|(_, payload)| Event::decode(payload.as_slice()).unwrap()).collect()
}

#[test]
fn many_requests_of_one_turn_share_one_write() {
    for durability in [Durability::Process, Durability::Disk] {
        in_worker(async move {
            let disk = SimDisk::new(1);
            let journal = open(&disk, &Settings { segment_bytes: 1 << 20, ..settings(durability) });
            let lane = Lane::start(journal.lane().unwrap()).unwrap();
            record(&lane, &click(1).borrow()).await.unwrap();
            let (writes, syncs) = (disk.writes(), disk.syncs());
            let requests: Vec<_> = (0..50_u64)
                .map(|n| {
                    let lane = lane.clone();
                    spawn_local(async move { record(&lane, &click(n).borrow()).await })
                })
                .collect();
            for request in requests {
                request.await.unwrap().unwrap();
            }
            assert_eq!(disk.writes() - writes, 1);
            if durability == Durability::Disk {
                assert_eq!(disk.syncs() - syncs, 1);
            }
            assert_eq!(lane.close().await, 0);
            assert_eq!(events(&journal).len(), 51);
            let stats = journal.stats();
            assert_eq!((stats.appended, stats.commits), (51, 2));
        });
    }
}

#[test]
fn the_disk_is_asked_to_confirm_at_the_interval_when_answers_do_not_wait_for_it() {
    in_worker(async {
        let disk = SimDisk::new(1);
        let journal = open(&disk, &settings(Durability::Process));
        let lane = Lane::start(journal.lane().unwrap()).unwrap();
        record(&lane, &click(1).borrow()).await.unwrap();
        while disk.syncs() == 0 {
            tokio::task::yield_now().await;
        }
        disk.power_cut();
        let mut reader = orphan(&disk);
        assert_eq!(read_all(&mut reader).len(), 1);
    });
}

#[test]
fn segments_roll_under_load_and_everything_arrives_in_order() {
    in_worker(async {
        let disk = SimDisk::new(1);
        let journal = open(&disk, &settings(Durability::Disk));
        let lane = Lane::start(journal.lane().unwrap()).unwrap();
        let watch = Arc::clone(lane.watch());
        let mut reader = journal.reader(&watch);
        let mut read = 0;
        for n in 0..2_000_u64 {
            let ticket = lane.append(&click(n + 1).borrow()).unwrap();
            if n % 7 == 0 {
                let listening = journal.listen();
                lane.committed(ticket).await.unwrap();
                listening.changed().await;
                for (sequence, payload) in reader.next(1_000, 1 << 20).unwrap() {
                    assert_eq!((sequence, Event::decode(payload.as_slice()).unwrap().count), (read, read + 1));
                    read += 1;
                }
                reader.delivered(read).unwrap();
            }
        }
        lane.close().await;
        read += read_all(&mut reader).len() as u64;
        assert_eq!(read, 2_000);
        assert!(watch.is_closed() && reader.finished());
        assert_eq!(reader.damage(), Damage::default());
        reader.remove().unwrap();
        assert!(journal.live().is_empty());
        assert_eq!(disk.used(), 0);
    });
}

#[test]
fn a_full_disk_sheds_clicks_and_the_lane_recovers_by_itself_and_tells_how_many() {
    in_worker(async {
        let disk = SimDisk::new(1);
        let journal = open(&disk, &settings(Durability::Process));
        let lane = Lane::start(journal.lane().unwrap()).unwrap();
        disk.set_room(Some(0));
        let mut recorded = 0;
        let mut shed = 0;
        for _ in 0..200 {
            match record(&lane, &EventRef { city: "a city with a long name, to fill the segment", ..click(1).borrow() })
                .await
            {
                Ok(()) => recorded += 1,
                Err(error) => {
                    assert_eq!(error, AppendError::Full);
                    lane.shed(Millis(HOUR_MS + shed as i64 % 2 * HOUR_MS + 5));
                    shed += 1;
                }
            }
        }
        assert!(recorded > 10 && shed > 10, "{recorded} {shed}");
        assert!(matches!(journal.condition(), Condition::Refusing(reason) if reason.contains("make room")));
        assert_eq!(journal.stats().shed, shed);
        disk.set_room(None);
        while record(&lane, &click(2).borrow()).await.is_err() {
            lane.shed(Millis(HOUR_MS));
            shed += 1;
            // Lets the retry's timer run; the outer deadline bounds the loop.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(journal.condition(), Condition::Good);
        assert_eq!(lane.close().await, 0);
        let events = events(&journal);
        assert_eq!(events.iter().filter(|event| event.kind() == Kind::Click).count(), recorded + 1);
        let missing: Vec<_> = events.iter().filter(|event| event.kind() == Kind::Missing).collect();
        assert_eq!(missing.iter().map(|event| event.count).sum::<u64>(), shed);
        assert!(missing.iter().all(|event| event.id.len() == 16 && event.time_ms % HOUR_MS == 0));
        assert_eq!(missing.iter().map(|event| event.time_ms).max(), Some(2 * HOUR_MS));
    });
}

#[test]
fn a_failed_sync_refuses_its_group_seals_the_segment_and_is_never_repeated() {
    in_worker(async {
        let disk = SimDisk::new(1);
        let journal = open(&disk, &settings(Durability::Disk));
        let lane = Lane::start(journal.lane().unwrap()).unwrap();
        record(&lane, &click(1).borrow()).await.unwrap();
        disk.set_faults(Faults { sync: 1_000, ..Faults::default() });
        let syncs = disk.syncs();
        assert_eq!(record(&lane, &click(2).borrow()).await, Err(AppendError::Sync));
        assert_eq!(disk.syncs() - syncs, 1);
        let condition = journal.condition();
        assert!(condition.reason().contains("did not confirm"), "{condition:?}");
        assert_eq!(journal.stats().failed_syncs, 1);
        disk.set_faults(Faults::default());
        while record(&lane, &click(3).borrow()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(journal.condition(), Condition::Good);
        lane.close().await;
        disk.power_cut();
        let mut reader = orphan(&disk);
        let counts: Vec<u64> =
            read_all(&mut reader).iter().map(|(_, p)| Event::decode(p.as_slice()).unwrap().count).collect();
        assert_eq!(counts, [1, 3], "what was refused does not come back, also after a power cut");
        assert_eq!(reader.damage().records, 0);
    });
}

#[test]
fn a_worker_that_vanishes_leaves_what_it_committed() {
    let disk = SimDisk::new(1);
    let journal = open(&disk, &settings(Durability::Disk));
    let writer = journal.lane().unwrap();
    in_worker(async {
        let lane = Rc::new(Lane::start(writer).unwrap());
        record(&lane, &click(1).borrow()).await.unwrap();
        lane.append(&click(2).borrow()).unwrap();
    });
    let watch = journal.live().remove(0);
    assert!(watch.is_closed());
    assert_eq!(events(&journal).len(), 1);
}

#[test]
fn too_large_and_closed_are_refused_alone() {
    in_worker(async {
        let disk = SimDisk::new(1);
        let journal = open(&disk, &Settings { segment_bytes: 1 << 20, ..settings(Durability::Process) });
        let lane = Lane::start(journal.lane().unwrap()).unwrap();
        let city = "x".repeat(crate::core::limits::RECORD_PAYLOAD_MAX_BYTES);
        assert_eq!(lane.append(&EventRef { city: &city, ..click(1).borrow() }), Err(AppendError::TooLarge));
        record(&lane, &click(2).borrow()).await.unwrap();
        assert_eq!(lane.close().await, 0);
        assert_eq!(lane.append(&click(3).borrow()), Err(AppendError::Closed));
        assert_eq!(events(&journal).len(), 1);
    });
}
