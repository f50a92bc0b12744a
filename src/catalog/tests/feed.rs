//! From the catalog to the index: every kind of change, a lost feed, a catalog that is away.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tracing::subscriber::DefaultGuard;

use super::{restore::Meets, *};
use crate::{
    links::{Counts, Links},
    telemetry::health::{Health, State},
};

pub(super) async fn follower(fixture: &Fixture, health: &Health) -> Follower {
    Follower::start(fixture.catalog.clone(), health.clone(), fixture.clock.clone(), fixture.options()).await
}

pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "in vain: {what}");
}

#[tokio::test]
async fn every_change_reaches_the_index() {
    let fixture = Fixture::spring(BACKEND).await;
    let mut follower = follower(&fixture, &Health::default()).await;
    follower.catch_up().await.unwrap();
    let links = follower.links();
    assert_eq!(links.counts(), Counts { programs: 1, links: 1, partners: 1, ads: 1, share_links: 0 });
    let mut scratch = String::new();
    assert!(links.has_ad("abc123", "website2", &mut scratch));
    assert!(links.links.get("haircare").unwrap().more().is_none(), "a plain link takes no more");

    fixture.put::<Program>(json!({"code": "spring", "status": "paused", "window_days": 5})).await;
    fixture.put::<Partner>(json!({"code": "p2", "allowed": ["haircare"]})).await;
    fixture
        .put::<Link>(json!({"code": "haircare", "name": "H", "address": "https://new.example", "max_clicks": 5}))
        .await;
    fixture.put::<Ad>(json!({"partner": "p2", "code": "mail"})).await;
    fixture.catalog.delete::<Ad>(&["abc123", "website2"], false).await.unwrap();
    let (share, _) = fixture.share(json!({"link": "haircare", "partner": "p2", "ad": "mail"})).await;
    assert_eq!(follower.catch_up().await.unwrap(), 6);

    assert_eq!(links.programs.get("spring").unwrap().window_days, 5);
    assert_eq!(links.partners.get("p2").unwrap().more.as_ref().unwrap().allowed.len(), 1);
    let link = links.links.get("haircare").unwrap();
    assert_eq!((link.address(), link.more().unwrap().max_clicks), ("https://new.example/", Some(5)));
    drop(link);
    assert!(links.has_ad("p2", "mail", &mut scratch) && !links.has_ad("abc123", "website2", &mut scratch));
    assert_eq!(links.share_links.get(share.slug.as_str()).unwrap().partner.as_str(), "p2");
    assert_eq!(links.applied.load(Ordering::Acquire), fixture.catalog.position().await.unwrap().last);

    let preview = json!({"title": "Hair", "image": "https://shop.example/a.jpg"});
    fixture.put::<Program>(json!({"code": "spring", "name": "Spring", "preview": preview})).await;
    fixture.put::<Link>(json!({"code": "haircare", "address": "https://new.example", "preview": preview})).await;
    follower.catch_up().await.unwrap();
    let of_program = links.programs.get("spring").unwrap();
    assert_eq!((&*of_program.name, of_program.preview.as_ref().unwrap().title.as_deref()), ("Spring", Some("Hair")));
    let of_link = links.links.get("haircare").unwrap();
    assert_eq!(of_link.more().unwrap().preview, of_program.preview);
    drop((of_program, of_link));
    fixture.put::<Link>(json!({"code": "haircare", "address": "https://new.example"})).await;
    follower.catch_up().await.unwrap();
    assert!(links.links.get("haircare").unwrap().more().is_none(), "PUT without a preview takes it away");

    fixture.catalog.delete::<Link>(&["haircare"], true).await.unwrap();
    follower.catch_up().await.unwrap();
    assert_eq!(links.counts(), Counts { programs: 1, links: 0, partners: 2, ads: 1, share_links: 0 });
}

#[tokio::test]
async fn counted_clicks_survive_a_change() {
    let fixture = Fixture::spring(BACKEND).await;
    fixture.put::<Link>(json!({"code": "few", "address": "https://a.example", "max_clicks": 5})).await;
    let mut follower = follower(&fixture, &Health::default()).await;
    follower.catch_up().await.unwrap();
    follower.links().raise_clicks("few", 4);
    fixture.put::<Link>(json!({"code": "few", "address": "https://b.example", "max_clicks": 9})).await;
    follower.catch_up().await.unwrap();
    let links = follower.links();
    let link = links.links.get("few").unwrap();
    assert_eq!(link.more().unwrap().clicks.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_feed_that_no_longer_reaches_back_leads_to_a_full_load() {
    let fixture = Fixture::spring(BACKEND).await;
    let mut follower = follower(&fixture, &Health::default()).await;
    follower.catch_up().await.unwrap();
    fixture.catalog.delete::<Ad>(&["abc123", "website2"], false).await.unwrap();
    fixture.put::<Link>(json!({"code": "new", "address": "https://a.example"})).await;
    sqlx::query("DELETE FROM changes WHERE seq <= 5").execute(&fixture.catalog.shared.writer).await.unwrap();
    follower.catch_up().await.unwrap();
    assert_eq!(follower.links().counts(), Counts { programs: 1, links: 2, partners: 1, ads: 0, share_links: 0 });
}

/// The row that the index has reached proves that the feed goes on from there: without it, all is loaded.
#[tokio::test]
async fn a_pruned_feed_is_followed_from_the_last_row_that_was_applied() {
    for (pruned, steps) in [(3, 2), (4, 1)] {
        let fixture = Fixture::spring(BACKEND).await;
        let (warnings, _guard) = Warnings::catch();
        let mut follower = follower(&fixture, &Health::default()).await;
        follower.catch_up().await.unwrap();
        fixture.catalog.delete::<Ad>(&["abc123", "website2"], false).await.unwrap();
        fixture.put::<Link>(json!({"code": "new", "address": "https://a.example"})).await;
        let prune = sqlx::query("DELETE FROM changes WHERE seq <= $1").bind(pruned);
        prune.execute(&fixture.catalog.shared.writer).await.unwrap();
        assert_eq!(follower.catch_up().await.unwrap(), steps, "two changes or one load");
        assert_eq!(follower.links().counts(), Counts { programs: 1, links: 2, partners: 1, ads: 0, share_links: 0 });
        assert_eq!(warnings.lines(), [""; 0], "pruning is no fault");
    }
}

#[tokio::test]
async fn another_catalog_leads_to_a_full_load() {
    let first = Fixture::spring(BACKEND).await;
    let mut follower = follower(&first, &Health::default()).await;
    follower.catch_up().await.unwrap();
    let other = Fixture::new(BACKEND).await;
    let (warnings, _guard) = Warnings::catch();
    follower.catalog_is_now(other.catalog.clone());
    follower.catch_up().await.unwrap();
    assert!(follower.links().is_empty());
    assert!(matches!(&warnings.lines()[..], [one] if one.contains("another one")), "{:?}", warnings.lines());
}

/// What is logged on this thread as a warning or worse.
#[derive(Clone, Default)]
pub(super) struct Warnings(Arc<Mutex<Vec<u8>>>);

impl Warnings {
    pub(super) fn catch() -> (Warnings, DefaultGuard) {
        let warnings = Warnings::default();
        let writer = warnings.clone();
        let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
        let guard = tracing::subscriber::set_default(lines.with_writer(move || writer.clone()).finish());
        (warnings, guard)
    }

    pub(super) fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl io::Write for Warnings {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Two changes are discarded by a restore, and `imports` others come in their place.
async fn after_a_restore_nothing_discarded_is_served(meets: Meets, imports: u64) {
    let fixture = Fixture::spring(BACKEND).await;
    let backup = fixture.back_up().await;
    let mut follower = follower(&fixture, &Health::default()).await;
    fixture.put::<Link>(json!({"code": "haircare", "address": "https://discarded.example"})).await;
    fixture.put::<Link>(json!({"code": "ghost", "address": "https://discarded.example"})).await;
    follower.catch_up().await.unwrap();
    assert!(follower.links().links.contains_key("ghost"));

    let restored = fixture.restored(&backup, imports).await;
    let mut follower = fixture.meet(follower, &restored, meets).await;
    let (warnings, _guard) = Warnings::catch();
    follower.catch_up().await.unwrap();
    let links = follower.links();
    assert!(!links.links.contains_key("ghost"), "a discarded link is served");
    assert_eq!(links.links.get("haircare").unwrap().address(), "https://shop.example/haircare");
    assert!(
        (0..imports).all(|n| links.links.contains_key(format!("item-{n}").as_str())),
        "an imported link is missing"
    );
    assert_eq!(links.counts().links, 1 + imports as usize);
    assert_eq!(links.applied.load(Ordering::Acquire), 4 + imports);

    restored.put::<Link>(json!({"code": "later", "address": "https://a.example"})).await;
    assert_eq!(follower.catch_up().await.unwrap(), 1, "from here on it follows again");
    assert!(links.links.contains_key("later"));
    assert!(matches!(&warnings.lines()[..], [one] if one.contains("another history")), "{:?}", warnings.lines());
}

#[tokio::test]
async fn a_restore_without_writes_meets_a_running_follower() {
    after_a_restore_nothing_discarded_is_served(Meets::Running, 0).await;
}

#[tokio::test]
async fn a_restore_and_as_many_writes_meet_a_running_follower() {
    after_a_restore_nothing_discarded_is_served(Meets::Running, 2).await;
}

#[tokio::test]
async fn a_restore_and_more_writes_meet_a_running_follower() {
    after_a_restore_nothing_discarded_is_served(Meets::Running, 5).await;
}

#[tokio::test]
async fn a_restore_without_writes_meets_a_snapshot() {
    after_a_restore_nothing_discarded_is_served(Meets::FromSnapshot, 0).await;
}

#[tokio::test]
async fn a_restore_and_as_many_writes_meet_a_snapshot() {
    after_a_restore_nothing_discarded_is_served(Meets::FromSnapshot, 2).await;
}

#[tokio::test]
async fn a_restore_and_more_writes_meet_a_snapshot() {
    after_a_restore_nothing_discarded_is_served(Meets::FromSnapshot, 5).await;
}

/// Before the first change there is no row to know again, and nothing that could have been discarded.
#[tokio::test]
async fn from_an_empty_catalog_the_feed_is_followed() {
    for meets in [Meets::Running, Meets::FromSnapshot] {
        let fixture = Fixture::new(BACKEND).await;
        let backup = fixture.back_up().await;
        let mut follower = follower(&fixture, &Health::default()).await;
        follower.catch_up().await.unwrap();
        let restored = fixture.restored(&backup, 3).await;
        let mut follower = fixture.meet(follower, &restored, meets).await;
        let (warnings, _guard) = Warnings::catch();
        assert_eq!(follower.catch_up().await.unwrap(), 3, "changes, no load");
        assert_eq!(follower.catch_up().await.unwrap(), 0);
        assert_eq!(follower.links().counts().links, 3);
        assert_eq!(warnings.lines(), [""; 0]);
    }
}

/// An unchanged catalog is known again.
#[tokio::test]
async fn a_restart_without_a_restore_loads_nothing() {
    let fixture = Fixture::spring(BACKEND).await;
    let backup = fixture.back_up().await;
    for meets in [Meets::Running, Meets::FromSnapshot] {
        let mut follower = follower(&fixture, &Health::default()).await;
        follower.catch_up().await.unwrap();
        let same = fixture.restored(&backup, 0).await;
        let mut follower = fixture.meet(follower, &same, meets).await;
        let (warnings, _guard) = Warnings::catch();
        assert_eq!(follower.catch_up().await.unwrap(), 0);
        assert_eq!(warnings.lines(), [""; 0]);
    }
}

/// The poll is an hour away: only the commit itself can have woken the follower.
#[tokio::test]
async fn what_this_process_commits_waits_for_no_poll() {
    let fixture = Fixture::spring(BACKEND).await;
    let options = FollowerOptions { poll_interval: Duration::from_secs(3_600), ..fixture.options() };
    let clock = fixture.clock.clone();
    let follower = Follower::start(fixture.catalog.clone(), Health::default(), clock, options).await;
    let (links, stop) = (follower.links(), CancellationToken::new());
    let task = tokio::spawn(follower.run(stop.clone()));
    until("the first load", || links.applied.load(Ordering::Acquire) == 4).await;
    for seq in 5..10 {
        fixture.put::<Link>(json!({"code": format!("new{seq}"), "address": "https://a.example"})).await;
        until("the change", || links.applied.load(Ordering::Acquire) == seq).await;
    }
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_change_of_others_is_live_within_a_poll_and_the_snapshot_is_written_at_the_end() {
    let fixture = Fixture::spring(BACKEND).await;
    let health = Health::default();
    let follower = follower(&fixture, &health).await;
    let (links, stop) = (follower.links(), CancellationToken::new());
    let task = tokio::spawn(follower.run(stop.clone()));
    until("the first load", || links.applied.load(Ordering::Acquire) == 4).await;
    let other = fixture.open(false).await.unwrap();
    let link = read_json::<Link>(json!({"code": "new", "address": "https://a.example"})).unwrap();
    other.put(link).await.unwrap();
    until("the change", || links.applied.load(Ordering::Acquire) == 5).await;
    assert!(links.links.contains_key("new"));
    stop.cancel();
    task.await.unwrap();
    let again = self::follower(&fixture, &Health::default()).await;
    assert!(again.is_loaded() && again.links().links.contains_key("new"));
}

#[tokio::test]
async fn without_snapshot_and_catalog_nothing_is_ready() {
    let fixture = Fixture::nowhere(BACKEND).await;
    let health = Health::default();
    let mut follower = follower(&fixture, &health).await;
    assert!(follower.catch_up().await.is_err());
    assert_eq!(health.snapshot().0, State::NotReady);
    assert!(!follower.is_loaded() && Arc::<Links>::strong_count(&follower.links()) > 0);
}

#[tokio::test]
async fn a_damaged_snapshot_is_left_aside_and_the_catalog_is_loaded() {
    let fixture = Fixture::spring(BACKEND).await;
    std::fs::write(fixture.folder.path().join(SNAPSHOT_FILE), "damaged").unwrap();
    let health = Health::default();
    let mut follower = Follower::start(fixture.catalog.clone(), health, Clock::System, fixture.options()).await;
    assert!(!follower.is_loaded());
    follower.catch_up().await.unwrap();
    assert_eq!(follower.links().counts().links, 1);
}

/// A link that changes from plain to not plain and back is in every load, whichever of its statements sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_sees_one_moment() {
    let fixture = Fixture::new(BACKEND).await;
    let writer = fixture.open(false).await.unwrap();
    let stop = CancellationToken::new();
    let flipping = tokio::spawn({
        let stop = stop.clone();
        async move {
            for flip in 0.. {
                let clicks = if flip % 2 == 0 { Value::Null } else { json!(7) };
                let link = json!({"code": "flip", "address": "https://a.example", "max_clicks": clicks});
                writer.put(read_json::<Link>(link).unwrap()).await.unwrap();
                if stop.is_cancelled() {
                    return flip;
                }
            }
            0
        }
    });
    let links = Links::new();
    let mut loads = 0;
    while fixture.catalog.position().await.unwrap().last < 300 {
        fixture.catalog.load_all(&links).await.unwrap();
        assert!(links.links.contains_key("flip") || links.is_empty() && loads == 0, "gone after {loads} loads");
        loads += u64::from(!links.is_empty());
    }
    stop.cancel();
    assert!(flipping.await.unwrap() >= 299 && loads > 10);
}

/// A snapshot of version 2 says nothing of names, and no change to come will: so it is served, and the catalog is loaded as a whole.
#[tokio::test]
async fn behind_the_version_before_the_catalog_is_loaded_as_a_whole() {
    let fixture = Fixture::spring(BACKEND).await;
    let preview = json!({"title": "Hair"});
    fixture.put::<Program>(json!({"code": "spring", "name": "Spring", "preview": preview})).await;
    let here = fixture.catalog.position().await.unwrap();
    std::fs::write(fixture.folder.path().join(SNAPSHOT_FILE), snapshot::version_2(&here)).unwrap();
    let mut follower = follower(&fixture, &Health::default()).await;
    let links = follower.links();
    assert!(follower.is_loaded() && links.links.contains_key("few"), "the snapshot is served");
    follower.catch_up().await.unwrap();
    assert!(!links.links.contains_key("few") && links.links.contains_key("haircare"));
    let program = links.programs.get("spring").unwrap();
    assert_eq!((&*program.name, program.preview.as_ref().unwrap().title.as_deref()), ("Spring", Some("Hair")));
}
