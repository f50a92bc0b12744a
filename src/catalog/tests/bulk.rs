//! The import: order does not matter, what is refused is told, everything or nothing.

use super::*;

#[tokio::test]
async fn partners_may_stand_before_their_parents() {
    let fixture = Fixture::new(BACKEND).await;
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
    let fixture = Fixture::new(BACKEND).await;
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
    let fixture = Fixture::spring(BACKEND).await;
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

/// Neither with one another, nor with those that are there, nor with one that has a slug of its own.
#[tokio::test]
async fn share_links_without_a_slug_are_not_doubled() {
    let fixture = Fixture::spring(BACKEND).await;
    fixture.put::<Link>(json!({"code": "other", "address": "https://a.example"})).await;
    let plain = json!({"link": "haircare", "partner": "abc123"});
    let with_ad = json!({"link": "haircare", "partner": "abc123", "ad": "website2"});
    let named = json!({"slug": "named", "link": "other", "partner": "abc123"});
    let same = json!({"link": "other", "partner": "abc123"});
    for again in [false, true] {
        let items = [&plain, &with_ad, &same, &named, &plain, &with_ad, &plain].map(Clone::clone);
        let (bulk, refused) = import::<ShareLink>(&fixture, &items).await;
        assert!(refused.is_empty());
        bulk.commit().await.unwrap();
        let there = fixture.catalog.list::<ShareLink>(&ListQuery::default()).await.unwrap().items;
        let mut there: Vec<_> = there.iter().map(|l| (l.link.as_str(), l.ad.as_ref().map(|ad| ad.as_str()))).collect();
        there.sort_unstable();
        // The import hands over two lines at a time: `same` comes together with `named`.
        let expected = [("haircare", None), ("haircare", Some("website2")), ("other", None)];
        assert_eq!(there, expected, "again: {again}");
    }
}

#[tokio::test]
async fn the_feed_keeps_a_bounded_tail() {
    let fixture = Fixture::spring(BACKEND).await;
    // As if a million changes had been made since.
    let far = crate::core::limits::CHANGES_KEPT + 3;
    sqlx::query("UPDATE feed SET next = $1").bind(far).execute(&fixture.catalog.shared.writer).await.unwrap();
    fixture.put::<Program>(json!({"code": "late"})).await;
    let changes = fixture.catalog.changes_from(0, 10).await.unwrap();
    assert_eq!(changes.iter().map(|change| change.seq).collect::<Vec<_>>(), [4, far as u64], "1 to 3 are gone");
}
