//! The outbox: entries come with what they tell of, in order and without a gap; positions; what may be deleted.

use super::*;
use crate::{
    catalog::{
        outbox::{ALL_NODES, Entry, JOURNAL},
        write::Writing,
    },
    core::{
        event::{Event, Kind as EventKind},
        limits::RECORD_PAYLOAD_MAX_BYTES,
    },
};

fn entry(body: &str, is_event: bool) -> Entry {
    let event = Event { id: vec![7; 16], kind: EventKind::Lead as i32, sub1: body.to_owned(), ..Event::default() };
    Entry {
        kind: "referral.created",
        program: "spring".to_owned(),
        body: body.to_owned(),
        event: is_event.then_some(event),
    }
}

/// Numbers, kinds and bodies of all rows.
async fn rows(catalog: &Catalog) -> Vec<(u64, String)> {
    catalog.outbox_after(0, 1_000).await.unwrap().into_iter().map(|row| (row.seq, row.body)).collect()
}

#[tokio::test]
async fn entries_come_with_their_change_or_not_at_all() {
    let fixture = Fixture::spring(BACKEND).await;
    let mut told = fixture.catalog.told();
    let link = read_json::<Link>(json!({"code": "new", "address": "https://a.example"})).unwrap();
    let mut writing = Writing::begin(&fixture.catalog).await.unwrap();
    writing.upsert(std::slice::from_ref(&link)).await.unwrap();
    writing.tell(entry("lost", true)).await.unwrap();
    writing.rollback().await.unwrap();
    assert_eq!((rows(&fixture.catalog).await, fixture.catalog.outbox_last().await.unwrap()), (vec![], 0));
    assert!(!told.has_changed().unwrap());

    let mut writing = Writing::begin(&fixture.catalog).await.unwrap();
    writing.upsert(std::slice::from_ref(&link)).await.unwrap();
    writing.tell(entry("kept", true)).await.unwrap();
    writing.tell(entry("no event", false)).await.unwrap();
    writing.commit().await.unwrap();
    assert!(told.has_changed().unwrap());
    assert_eq!(*told.borrow_and_update(), 2);
    fixture.catalog.get::<Link>(&["new"]).await.unwrap();
    assert_eq!(fixture.catalog.position().await.unwrap().last, 5, "the feed has the change");
    let all = fixture.catalog.outbox_after(0, 10).await.unwrap();
    assert_eq!(rows(&fixture.catalog).await, [(1, "kept".to_owned()), (2, "no event".to_owned())]);
    let first = &all[0];
    assert_eq!(
        (first.node.as_str(), first.at, first.kind.as_str(), first.program.as_str()),
        ("nobody", NOON, "referral.created", "spring")
    );
    let event: Event = prost::Message::decode(first.event_bytes().unwrap().as_slice()).unwrap();
    assert_eq!((event.sub1.as_str(), event.id.len()), ("kept", 16));
    assert!(all[1].event.is_none() && all[1].event_bytes().is_err());
}

/// Followers of the feed have nothing to do: they are not woken, and their position stays.
#[tokio::test]
async fn entries_without_a_change_leave_the_feed_alone() {
    let fixture = Fixture::spring(BACKEND).await;
    fixture.catalog.committed().await;
    let before = fixture.catalog.position().await.unwrap();
    fixture.catalog.tell([entry("a", true), entry("b", false)]).await.unwrap();
    fixture.catalog.tell([entry("c", true)]).await.unwrap();
    assert_eq!(fixture.catalog.position().await.unwrap(), before);
    let woken = tokio::time::timeout(std::time::Duration::ZERO, fixture.catalog.committed()).await;
    assert!(woken.is_err(), "a follower was woken for nothing");
    assert_eq!(fixture.catalog.outbox_last().await.unwrap(), 3);
    put_link(&fixture.catalog, "woken").await;
    fixture.catalog.committed().await;
}

async fn put_link(catalog: &Catalog, code: &str) {
    catalog.put(read_json::<Link>(json!({"code": code, "address": "https://a.example"})).unwrap()).await.unwrap();
}

/// More entries than one statement takes.
#[tokio::test]
async fn many_entries_of_one_transaction_keep_their_order() {
    let fixture = Fixture::new(BACKEND).await;
    let count = 2 * fixture.catalog.shared.vendor.bulk().0 + 3;
    fixture.catalog.tell((0..count).map(|n| entry(&n.to_string(), n % 2 == 0))).await.unwrap();
    let found = fixture.catalog.outbox_after(0, 10_000).await.unwrap();
    let wanted: Vec<(u64, String)> = (0..count).map(|n| (n as u64 + 1, n.to_string())).collect();
    assert_eq!(found.iter().map(|row| (row.seq, row.body.clone())).collect::<Vec<_>>(), wanted);
    assert_eq!(fixture.catalog.outbox_after(3, 2).await.unwrap().iter().map(|row| row.seq).collect::<Vec<_>>(), [4, 5]);
}

#[tokio::test]
async fn an_event_that_no_journal_takes_is_refused() {
    let fixture = Fixture::new(BACKEND).await;
    let largest = "x".repeat(RECORD_PAYLOAD_MAX_BYTES - 60);
    fixture.catalog.tell([entry(&largest, true)]).await.unwrap();
    let refused = fixture.catalog.tell([entry(&"x".repeat(RECORD_PAYLOAD_MAX_BYTES), true)]).await.unwrap_err();
    assert!(matches!(&refused, CatalogError::Invalid(mistakes) if mistakes[0].field == "event"), "{refused}");
    assert_eq!(fixture.catalog.outbox_last().await.unwrap(), 1, "nothing of it was kept");
}

/// Several processes write, items as well as entries: a reader that goes from number to number misses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_misses_an_entry_while_several_processes_write() {
    const WRITERS: u64 = 4;
    const ENTRIES: u64 = 40;
    let fixture = Fixture::new(BACKEND).await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let catalog = fixture.open(false).await.unwrap();
        writers.push(tokio::spawn(async move {
            for n in 0..ENTRIES {
                let body = format!("w{writer}-{n}");
                while let Err(error) = tell(&catalog, &body, writer % 2 == 0).await {
                    assert!(matches!(error, CatalogError::Busy), "{error}");
                }
            }
        }));
    }
    let (mut last, mut next) = (0, [0; WRITERS as usize]);
    while last < WRITERS * ENTRIES {
        for row in fixture.catalog.outbox_after(last, 1_000).await.unwrap() {
            assert_eq!(row.seq, last + 1, "a gap");
            last = row.seq;
            let (writer, n) = row.body[1..].split_once('-').unwrap();
            let next = &mut next[writer.parse::<usize>().unwrap()];
            assert_eq!(n.parse::<u64>().unwrap(), *next, "out of order");
            *next += 1;
        }
        let finished = writers.iter().filter(|writer| writer.is_finished()).count();
        assert!(finished < writers.len() || fixture.catalog.outbox_last().await.unwrap() >= last);
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn tell(catalog: &Catalog, body: &str, with_item: bool) -> Result<(), CatalogError> {
    if !with_item {
        return catalog.tell([entry(body, true)]).await;
    }
    let mut writing = Writing::begin(catalog).await?;
    let link = read_json::<Link>(json!({"code": body, "address": "https://a.example"})).unwrap();
    writing.upsert(&[link]).await?;
    writing.tell(entry(body, true)).await?;
    writing.commit().await
}

#[tokio::test]
async fn a_node_takes_its_own_events_from_its_position_on() {
    let fixture = Fixture::new(BACKEND).await;
    let [one, other] = [1, 2].map(|n| {
        let folder = fixture.folder.path().join(format!("node{n}"));
        std::fs::create_dir(&folder).unwrap();
        let url = crate::config::CatalogUrl::parse(&fixture.url).unwrap();
        Catalog::at(&url, false, fixture.clock.clone(), Some(&folder)).unwrap()
    });
    let (node, others) = (one.node().unwrap().to_owned(), other.node().unwrap().to_owned());
    assert_ne!(node, others);
    for n in 0..3 {
        one.tell([entry(&format!("one{n}"), true), entry("webhook", false)]).await.unwrap();
        other.tell([entry(&format!("other{n}"), true)]).await.unwrap();
    }
    let events = |node: String, limit| {
        let catalog = fixture.catalog.clone();
        async move {
            let rows = catalog.outbox_events(&node, limit).await.unwrap();
            rows.into_iter().map(|row| (row.seq, row.body)).collect::<Vec<_>>()
        }
    };
    let of = |numbers: &[(u64, &str)]| numbers.iter().map(|(n, body)| (*n, (*body).to_owned())).collect::<Vec<_>>();
    assert_eq!(events(node.clone(), 2).await, of(&[(1, "one0"), (4, "one1")]));
    assert_eq!(one.outbox_waiting(&node, 100).await.unwrap(), 3);
    assert_eq!(one.outbox_waiting(&node, 2).await.unwrap(), 2);
    one.outbox_passed(&node, JOURNAL, 4).await.unwrap();
    one.outbox_passed(&node, JOURNAL, 1).await.unwrap();
    assert_eq!(one.outbox_position(&node, JOURNAL).await.unwrap(), 4, "positions only rise");
    assert_eq!(events(node.clone(), 10).await, of(&[(7, "one2")]));
    assert_eq!(events(others.clone(), 10).await.len(), 3, "the other one's are where they were");
    assert_eq!(one.outbox_position(&others, JOURNAL).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_old_goes_when_all_have_passed_it() {
    let fixture = Fixture::new(BACKEND).await;
    let catalog = &fixture.catalog;
    let node = catalog.node().unwrap();
    catalog.tell([entry("event", true), entry("webhook", false), entry("event", true)]).await.unwrap();
    fixture.clock.advance(1_000);
    catalog.tell([entry("young", false)]).await.unwrap();
    catalog.outbox_passed(ALL_NODES, "webhooks", 0).await.unwrap();
    let purge = async || catalog.outbox_purge(Millis(NOON.0 + 1), 10).await.unwrap();
    let left = async || rows(catalog).await.iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
    assert_eq!((purge().await, left().await), (0, vec![1, 2, 3, 4]), "webhooks have taken none");
    catalog.outbox_passed(ALL_NODES, "webhooks", 4).await.unwrap();
    assert_eq!((purge().await, left().await), (1, vec![1, 3, 4]), "the events are not in the journal");
    catalog.outbox_passed(node, JOURNAL, 1).await.unwrap();
    assert_eq!((purge().await, left().await), (1, vec![3, 4]));
    catalog.outbox_passed(node, JOURNAL, 3).await.unwrap();
    catalog.outbox_passed(ALL_NODES, "late", 2).await.unwrap();
    assert_eq!((purge().await, left().await), (0, vec![3, 4]), "one consumer has not passed it");
    catalog.outbox_forget(ALL_NODES, "late").await.unwrap();
    assert_eq!((purge().await, left().await), (1, vec![4]), "what is young stays");
    catalog.tell([entry("next", false)]).await.unwrap();
    assert_eq!(left().await, [4, 5], "numbers go on");

    fixture.clock.advance(1_000);
    catalog.tell((0..5).map(|_| entry("old", false))).await.unwrap();
    catalog.outbox_passed(ALL_NODES, "webhooks", 100).await.unwrap();
    fixture.clock.advance(1_000);
    assert_eq!(catalog.outbox_purge(fixture.clock.now(), 4).await.unwrap(), 4, "not more at once than it is asked for");
    assert_eq!(left().await, [8, 9, 10], "the oldest go first");
}
