//! The import: order does not matter, what is refused is told, everything or nothing.

use super::*;

pub(super) async fn import<T: Entity>(fixture: &Fixture, items: &[Value]) -> (Bulk<T, ()>, Vec<(u64, String)>) {
    let mut bulk = Bulk::<T, ()>::begin(&fixture.catalog).await.unwrap();
    let mut refused = Vec::new();
    for (rows, at) in items.chunks(2).zip(0u64..) {
        let rows = rows.iter().zip(0..).map(|(item, n)| Row {
            line: 2 + 2 * at + n,
            item: read_json::<T>(item.clone()).unwrap(),
            cargo: (),
        });
        refused.extend(bulk.add(rows.collect()).await.unwrap());
    }
    refused.extend(bulk.settle().await.unwrap());
    let mut refused: Vec<_> = refused.into_iter().map(|r| (r.line, r.mistakes[0].field.clone())).collect();
    refused.sort();
    (bulk, refused)
}

#[tokio::test]
async fn partners_may_stand_before_their_parents() {
    let fixture = Fixture::new().await;
    fixture.put::<Partner>(json!({"code": "old"})).await;
    let items = [
        json!({"code": "d", "parent": "c"}),
        json!({"code": "c", "parent": "b"}),
        json!({"code": "x", "parent": "y"}),
        json!({"code": "y", "parent": "x"}),
        json!({"code": "b", "parent": "a"}),
        json!({"code": "a", "parent": "old"}),
        json!({"code": "z", "parent": "nobody"}),
        json!({"code": "below-z", "parent": "z"}),
        json!({"code": "old", "parent": "d"}),
    ];
    let (bulk, refused) = import::<Partner>(&fixture, &items).await;
    let lines: Vec<u64> = refused.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [4, 5, 8, 9, 10], "the two circles and those below nobody: {refused:?}");
    assert_eq!(bulk.commit().await.unwrap(), 4);
    assert_eq!(fixture.catalog.get::<Partner>(&["d"]).await.unwrap().parent.unwrap().as_str(), "c");
}

#[tokio::test]
async fn a_code_that_stands_there_twice_is_refused_and_named() {
    let fixture = Fixture::new().await;
    let link = |code: &str| json!({"code": code, "address": "https://a.example"});
    let mut bulk = Bulk::<Link, ()>::begin(&fixture.catalog).await.unwrap();
    let rows = [link("a"), link("b"), link("A")].into_iter().zip(2..);
    let rows = rows.map(|(item, line)| Row { line, item: read_json(item).unwrap(), cargo: () }).collect();
    let refused = bulk.add(rows).await.unwrap();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].mistakes[0].problem.contains("line 2"), "{refused:?}");
    bulk.rollback().await.unwrap();
    assert!(fixture.catalog.get::<Link>(&["a"]).await.is_err(), "nothing was kept");
    assert_eq!(fixture.catalog.position().await.unwrap().last, 0);
}

#[tokio::test]
async fn many_rows_and_their_changes_are_written_in_one_transaction() {
    let fixture = Fixture::spring().await;
    let before = fixture.catalog.position().await.unwrap().last;
    let items: Vec<Value> =
        (0..1_234).map(|n| json!({"code": format!("bulk-{n}"), "address": format!("https://a.example/{n}")})).collect();
    let (bulk, refused) = import::<Link>(&fixture, &items).await;
    assert!(refused.is_empty());
    assert_eq!(bulk.commit().await.unwrap(), 1_234);
    let changes = fixture.catalog.changes_from(before + 1, 2_000).await.unwrap();
    assert_eq!(changes.len(), 1_234);
    assert!(changes.iter().zip(before + 1..).all(|(change, seq)| change.seq == seq), "no gap");
    assert!(changes.iter().all(|change| change.mark == changes[0].mark), "one transaction, one mark");
    assert_eq!(fixture.catalog.get::<Link>(&["bulk-1233"]).await.unwrap().address, "https://a.example/1233");
}

#[tokio::test]
async fn share_links_without_a_slug_are_not_doubled() {
    let fixture = Fixture::spring().await;
    let item = json!({"link": "haircare", "partner": "abc123"});
    let (bulk, refused) = import::<ShareLink>(&fixture, &[item.clone(), item.clone(), item]).await;
    assert!(refused.is_empty());
    bulk.commit().await.unwrap();
    assert_eq!(fixture.catalog.list::<ShareLink>(&ListQuery::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn the_feed_keeps_a_bounded_tail() {
    let fixture = Fixture::spring().await;
    // As if a million changes had been made since.
    let far = crate::core::limits::CHANGES_KEPT + 3;
    sqlx::query("UPDATE feed SET next = $1").bind(far).execute(&fixture.catalog.shared.writer).await.unwrap();
    fixture.put::<Program>(json!({"code": "late"})).await;
    let changes = fixture.catalog.changes_from(0, 10).await.unwrap();
    assert_eq!(changes.iter().map(|change| change.seq).collect::<Vec<_>>(), [4, far as u64], "1 to 3 are gone");
}
