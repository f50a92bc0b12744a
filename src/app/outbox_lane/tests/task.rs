//! The task around the mover: it moves what is told, deletes what is old, says when the catalog is away, and ends when told to.

use super::*;

fn task(catalog: &Catalog, disk: &SimDisk, clock: Clock) -> OutboxLane {
    let settings = Settings {
        folder: FOLDER.into(),
        durability: Durability::Process,
        sync_interval: Duration::from_secs(3_600),
        segment_bytes: 8_192,
        max_bytes: 0,
    };
    OutboxLane {
        catalog: catalog.clone(),
        journal: Journal::open(disk.shared(), settings, Clock::manual(NOON)).unwrap(),
        moved: Arc::new(Moved::default()),
        health: Health::default(),
        clock,
        retention: Duration::from_secs(30 * 86_400),
    }
}

async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let found = async {
        while !look().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_moves_what_is_told_deletes_what_is_old_and_ends_when_told_to() {
    let mut world = World::new(1, Broken::Nothing);
    let clock = Clock::manual(NOON);
    let task = task(&world.catalog, &world.disk, clock.clone());
    let (journal, moved, stop) = (task.journal.clone(), Arc::clone(&task.moved), CancellationToken::new());
    world.tell(3).await;
    clock.advance(29 * 86_400_000);
    let running = tokio::spawn(task.run(stop.clone()));
    let node = world.catalog.node().unwrap().to_owned();
    let position = async || world.catalog.outbox_position(&node, JOURNAL).await.unwrap();
    until("the first rows", async || position().await == 3).await;
    world.catalog.tell([entry(9, 9)]).await.unwrap();
    until("the next one", async || position().await == 4).await;
    assert_eq!(world.catalog.outbox_after(0, 10).await.unwrap().len(), 4, "nothing is old yet");
    stop.cancel();
    running.await.unwrap();
    let [lane] = &journal.live()[..] else { panic!("one lane") };
    assert!(lane.is_closed() && lane.committed() == 4 && moved.is_known(moved.appended_to(lane.id)));
    assert_eq!(moved.appended_to(lane.id), 4);

    clock.advance(2 * 86_400_000);
    let next = self::task(&world.catalog, &world.disk, clock);
    let stop = CancellationToken::new();
    let running = tokio::spawn(next.run(stop.clone()));
    until("the end of old rows", async || world.catalog.outbox_after(0, 10).await.unwrap().is_empty()).await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_that_the_catalog_is_away_and_goes_on_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    // Where a snapshot is there was a catalog: none is made in its place.
    std::fs::write(folder.path().join(crate::catalog::SNAPSHOT_FILE), "").unwrap();
    let catalog = catalog_in(folder.path());
    let task = task(&catalog, &SimDisk::new(2), Clock::manual(NOON));
    let (health, stop) = (task.health.clone(), CancellationToken::new());
    let running = tokio::spawn(task.run(stop.clone()));
    let part = || health.snapshot().1.get(OUTBOX).cloned();
    until("the complaint", async || part().is_some_and(|part| part.state == State::Degraded)).await;
    assert!(part().unwrap().reason.contains("waits in the catalog"), "{:?}", part());
    let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
    Catalog::open(&url, true, Clock::manual(NOON)).await.unwrap().close().await;
    until("the all-clear", async || part().is_some_and(|part| part.state == State::Ready)).await;
    stop.cancel();
    running.await.unwrap();
}

/// A process whose turn does not come ends all the same, and leaves no lane behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_its_turn_can_be_stopped() {
    let mut world = World::new(3, Broken::Nothing);
    world.tell(1).await;
    let mut holder = world.start(i64::MAX).unwrap();
    assert_eq!(holder.step(&world, u64::MAX).await, Some(1));
    let task = task(&world.catalog, &world.disk, Clock::manual(NOON));
    // A lane that this process drains waits for the holder's word.
    let (moved, journal, stop) = (Arc::clone(&task.moved), task.journal.clone(), CancellationToken::new());
    assert!(!moved.is_known(1));
    let running = tokio::spawn(task.run(stop.clone()));
    until("the holder's position", async || moved.is_known(1)).await;
    assert!(journal.live().is_empty());
    stop.cancel();
    running.await.unwrap();
}
