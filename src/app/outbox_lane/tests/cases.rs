//! The property, what would break it, and single cases.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_arrives_exactly_once() {
    for seed in 0..300 {
        run(seed, Broken::Nothing).await.unwrap();
    }
}

/// Each of the things that the promise rests on is needed: without it the same test fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_of_its_reasons_the_promise_is_broken() {
    for broken in [Broken::Look, Broken::Removal, Broken::Durability, Broken::Position] {
        let mut seeds = 0..2_000;
        loop {
            let seed = seeds.next().unwrap_or_else(|| panic!("{broken:?} was not noticed"));
            if run(seed, broken).await.is_err() {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_processes_moves_and_the_other_takes_over() {
    let mut world = World::new(1, Broken::Nothing);
    let (mut one, mut other) = (world.start(i64::MAX).unwrap(), world.start(i64::MAX).unwrap());
    world.tell(3).await;
    assert_eq!(one.step(&world, u64::MAX).await, Some(3));
    world.tell(2).await;
    assert_eq!(other.step(&world, u64::MAX).await, None, "it is not its turn");
    drop(one);
    assert_eq!(other.step(&world, u64::MAX).await, Some(2));
    drop(other);
    world.finish().await;
    world.check().unwrap();
}

/// As after a kill between append and position; and as after a restore, which gives a number to another event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_the_catalog_does_not_know_is_known_by_number_and_id() {
    for is_restored in [false, true] {
        let mut world = World::new(2, Broken::Nothing);
        world.tell(3).await;
        assert_eq!(world.start(i64::MAX).unwrap().step(&world, u64::MAX).await, Some(3));
        world.sql("DELETE FROM outbox_positions").await;
        if is_restored {
            world.sql("UPDATE outbox SET event = (SELECT event FROM outbox WHERE seq = 1) WHERE seq = 3").await;
        }
        let last = world.finish().await;
        assert!(last.held.is_empty(), "the lane is removed");
        let arrived: Vec<usize> = world.sink.rows.values().map(Vec::len).collect();
        assert_eq!(arrived, if is_restored { [1, 1, 2] } else { [1, 1, 1] });
        assert!(!is_restored || world.sink.rows[&3].contains(&world.sink.rows[&1][0]), "the other event has arrived");
    }
}

/// The lane of a process that died stays, until the catalog has the position; then it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_is_not_removed_before_the_catalog_knows_what_it_holds() {
    let mut world = World::new(3, Broken::Nothing);
    world.tell(3).await;
    assert_eq!(world.start(i64::MAX).unwrap().step(&world, u64::MAX).await, Some(3));
    world.sql("DELETE FROM outbox_positions").await;
    let mut process = world.start(i64::MAX).unwrap();
    while process.pump(&mut world.sink).unwrap() {}
    assert_eq!(process.held.len(), 1, "drained, and still there");
    assert!(process.moved.is_asked());
    assert_eq!(process.step(&world, u64::MAX).await, Some(3), "found, not appended again");
    while process.pump(&mut world.sink).unwrap() {}
    assert!(process.held.is_empty());
    world.check().unwrap();
}

/// Rows that somebody else wrote, or damaged: they are set aside, and the queue moves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_no_event_stops_nobody() {
    let mut world = World::new(4, Broken::Nothing);
    world.tell(5).await;
    world.sql("UPDATE outbox SET event = 'not base64' WHERE seq = 1").await;
    world.sql("UPDATE outbox SET event = '/w==' WHERE seq = 2").await;
    world.sql("UPDATE outbox SET event = '' WHERE seq = 3").await;
    // `rule` is 1, and `sub1` has 18,000 letters: more than a record may have.
    let large = "UPDATE outbox SET event = '8AEBsgHQjAFh' || replace(hex(zeroblob(5999)), '00', 'YWFh') || 'YWE=' WHERE seq = 4";
    world.sql(large).await;
    world.finish().await;
    assert_eq!(world.sink.rows.keys().copied().collect::<Vec<_>>(), [5]);
    let node = world.catalog.node().unwrap();
    assert_eq!(world.catalog.outbox_position(node, JOURNAL).await.unwrap(), 5);
    assert_eq!(world.catalog.outbox_after(0, 10).await.unwrap().len(), 5, "they stay to be looked at");
}

/// More than a group takes at once: the rest comes with the next steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_larger_than_a_group_is_moved_in_parts() {
    let mut world = World::new(5, Broken::Nothing);
    world.tell(500).await;
    let mut process = world.start(i64::MAX).unwrap();
    let first = process.step(&world, u64::MAX).await.unwrap();
    assert!((1..500).contains(&first), "{first} of 500 in a group of 4 KB");
    drop(process);
    world.finish().await;
    world.check().unwrap();
}
