//! Several processes write one catalog: the feed's numbers have no gap and come in the order of commits.

use super::*;

const WRITERS: u64 = 4;
const CHANGES: u64 = 25;

/// Puts until it is let in: busy is a clear answer, not a fault.
async fn put_patiently(catalog: &Catalog, code: String) {
    let link = read_json::<Link>(json!({"code": code, "address": "https://a.example"})).unwrap();
    while let Err(error) = catalog.put(link.clone()).await {
        assert!(matches!(error, CatalogError::Busy), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_sees_a_gap_while_several_processes_write() {
    let fixture = Fixture::new(BACKEND).await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let catalog = fixture.open(false).await.unwrap();
        writers.push(tokio::spawn(async move {
            for n in 0..CHANGES {
                put_patiently(&catalog, format!("w{writer}-{n}")).await;
            }
        }));
    }
    let mut last = 0;
    while last < WRITERS * CHANGES {
        for change in fixture.catalog.changes_from(last + 1, 1_000).await.unwrap() {
            assert_eq!(change.seq, last + 1, "a gap");
            last = change.seq;
            // What a number stands for is there as soon as the number is.
            fixture.catalog.get::<Link>(&[&change.key]).await.unwrap();
        }
        let finished = writers.iter().filter(|writer| writer.is_finished()).count();
        assert!(finished < writers.len() || fixture.catalog.position().await.unwrap().last >= last);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(fixture.catalog.position().await.unwrap().last, WRITERS * CHANGES);
}

/// A transaction that is given up half-way leaves neither rows nor a gap.
#[tokio::test]
async fn a_writer_that_gives_up_leaves_nothing() {
    let fixture = Fixture::new(BACKEND).await;
    let other = fixture.open(false).await.unwrap();
    let mut bulk = Bulk::<Program, ()>::begin(&other).await.unwrap();
    let item = read_json(json!({"code": "lost"})).unwrap();
    bulk.add(vec![Row { line: 2, item, cargo: () }]).await.unwrap();
    drop(bulk);
    put_patiently(&fixture.catalog, "kept".to_owned()).await;
    let changes = fixture.catalog.changes_from(0, 10).await.unwrap();
    assert_eq!(changes.iter().map(|change| (change.seq, change.key.as_str())).collect::<Vec<_>>(), [(1, "kept")]);
}
