//! Single cases, each with its story; the property that covers all of them is in the file above.

use super::*;

#[test]
fn a_lane_that_its_owner_moved_on_is_read_from_there() {
    block_on(async {
        let shared = Shared::default();
        let lane = LaneId(0);
        for _ in 0..20 {
            shared.append(lane, 0, false);
        }
        // The new process reads the positions first, and must ask again when it claims the old one's lane.
        shared.look(|world| world.lanes.get_mut(&lane).unwrap().owner = 9);
        let shutdown = CancellationToken::new();
        let run = pump(&shared, 5, options(), &Health::default()).run(shutdown.clone());
        let upgrade = async {
            tokio::task::yield_now().await;
            shared.look(|world| {
                let first: Vec<_> = (0..12u64).map(|n| (n, n.to_be_bytes().to_vec())).collect();
                world.store(&[Batch { lane, records: first, next: 12 }]);
                world.lanes.get_mut(&lane).unwrap().owner = 0;
            });
            while shared.look(|world| !world.lanes.is_empty()) {
                tokio::task::yield_now().await;
            }
            shutdown.cancel();
        };
        assert_eq!(tokio::join!(run, upgrade).0, Outcome::Drained);
        shared.look(|world| {
            assert!((0..20).all(|n| world.counted[&(lane, n)] == 1));
            assert!(world.positions.is_empty(), "forgotten");
        });
    });
}

/// The outbox's lane is made when its first entry comes, long after the start.
#[test]
fn a_lane_that_is_made_later_is_read() {
    block_on(async {
        let shared = Shared::default();
        let shutdown = CancellationToken::new();
        let run = pump(&shared, 5, options(), &Health::default()).run(shutdown.clone());
        let later = async {
            for lane in [LaneId(1), LaneId(2)] {
                tokio::task::yield_now().await;
                shared.append(lane, 5, false);
                shared.append(lane, 5, false);
                while shared.look(|world| world.counted.get(&(lane, 1)) != Some(&1)) {
                    tokio::task::yield_now().await;
                }
            }
            shutdown.cancel();
        };
        assert_eq!(tokio::join!(run, later).0, Outcome::Drained);
        shared.look(|world| assert_eq!(world.counted.values().copied().collect::<Vec<_>>(), [1; 4]));
    });
}

#[test]
fn a_broken_sink_is_told_in_readiness_and_mends_without_a_restart() {
    block_on(async {
        let shared = Shared::default();
        shared.append(LaneId(0), 0, false);
        shared.look(|world| world.faults = vec![Fault::Fatal; 1_000_000]);
        let health = Health::default();
        let shutdown = CancellationToken::new();
        let run = pump(&shared, 0, options(), &health).run(shutdown.clone());
        let mend = async {
            let sink = || health.snapshot().1.get("sink").cloned();
            while sink().is_none_or(|sink| sink.state != State::Degraded || !sink.reason.contains("mend it")) {
                shared.look(|world| world.faults.last_mut().map(|fault| *fault = Fault::Fatal));
                // `positions` fails with "away" first; let it pass once.
                if sink().is_some_and(|sink| sink.reason.contains("away")) {
                    shared.look(|world| world.faults.push(Fault::None));
                }
                tokio::task::yield_now().await;
            }
            shared.look(|world| world.faults.clear());
            while shared.look(|world| world.counted.is_empty()) {
                tokio::task::yield_now().await;
            }
            while sink().is_some_and(|sink| sink.state != State::Ready) {
                tokio::task::yield_now().await;
            }
            shutdown.cancel();
        };
        assert_eq!(tokio::join!(run, mend).0, Outcome::Drained);
    });
}

#[test]
fn shutdown_is_bounded_when_the_sink_hangs_or_fails() {
    for fault in [Fault::Never, Fault::BeforeCommit, Fault::Fatal] {
        let shared = Shared::default();
        for _ in 0..3 {
            shared.append(LaneId(0), 0, false);
        }
        shared.look(|world| {
            world.faults = vec![fault; 1_000_000];
            world.faults.push(Fault::None);
        });
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        let options = Options { flush_timeout: Duration::from_millis(20), ..options() };
        let outcome = block_on(pump(&shared, 0, options, &Health::default()).run(shutdown));
        assert_eq!(outcome, Outcome::Left { records: 3 }, "{fault:?}");
    }
}

#[test]
fn a_lane_that_cannot_be_read_does_not_stop_the_others() {
    block_on(async {
        let shared = Shared::default();
        shared.append(LaneId(0), 0, false);
        shared.append(LaneId(1), 0, false);
        shared.look(|world| world.lanes.get_mut(&LaneId(0)).unwrap().unreadable = true);
        let health = Health::default();
        let shutdown = CancellationToken::new();
        let run = pump(&shared, 0, options(), &health).run(shutdown.clone());
        let watch = async {
            while shared.look(|world| !world.counted.contains_key(&(LaneId(1), 0))) {
                tokio::task::yield_now().await;
            }
            let reader = || health.snapshot().1["journal-reader"].state;
            assert_eq!(reader(), State::Degraded);
            shared.look(|world| world.lanes.get_mut(&LaneId(0)).unwrap().unreadable = false);
            while reader() != State::Ready || shared.look(|world| world.counted.len() < 2) {
                tokio::task::yield_now().await;
            }
            shutdown.cancel();
        };
        assert_eq!(tokio::join!(run, watch).0, Outcome::Drained);
    });
}

/// A trickle is gathered into few batches; a backlog goes out in full ones without waiting.
#[test]
fn batches_wait_for_company_but_not_when_full() {
    block_on(async {
        let shared = Shared::default();
        for _ in 0..70 {
            shared.append(LaneId(0), 0, false);
        }
        let options = Options { linger: Duration::from_secs(3_600), batch_max_bytes: 1 << 20, ..options() };
        let shutdown = CancellationToken::new();
        let run = pump(&shared, 0, options, &Health::default()).run(shutdown.clone());
        let watch = async {
            while shared.look(|world| world.counted.len() < 70) {
                tokio::task::yield_now().await;
            }
            shutdown.cancel();
        };
        assert_eq!(tokio::join!(run, watch).0, Outcome::Drained);
        assert_eq!(shared.look(|world| (world.stores, world.largest)), (10, 7));
    });
}
