//! A catalog moves to another database: all of it, proven, or nothing.

use sqlx::{Executor, Row as _};

use super::{
    feed::{Warnings, follower},
    record, *,
};
use crate::{
    catalog::{logins::Asking, mails::NewMail},
    telemetry::health::Health,
};

/// A catalog with rows in every table.
async fn grown(backend: Backend) -> (Fixture, String) {
    let fixture = Fixture::spring(backend).await;
    let file = fixture.folder.path().join("admin-token");
    fixture.catalog.ensure_admin_token(&file).await.unwrap();
    fixture.put::<Partner>(json!({"code": "z", "name": "Zoë \"Ω\" 李", "email": "z@shop.example"})).await;
    fixture.put::<Partner>(json!({"code": "a", "parent": "z"})).await;
    fixture.share(json!({"link": "haircare", "partner": "abc123", "ad": "website2"})).await;
    fixture
        .put::<Link>(json!({"code": "few", "address": "https://a.example", "max_clicks": i64::MAX, "expires_at": "1969-12-31", "partner": "z",
            "rules": [{"country": ["DE"], "address": "https://de.example"}]}))
        .await;
    let entry = crate::catalog::outbox::Entry {
        kind: "reward.due",
        program: "spring".to_owned(),
        body: "{}".to_owned(),
        event: None,
    };
    fixture.catalog.tell([entry]).await.unwrap();
    record::fill(&fixture.catalog).await;
    fixture.catalog.outbox_passed("", "webhooks", 1).await.unwrap();
    super::webhooks::fill(&fixture).await;
    super::persons::fill(&fixture.catalog).await;
    super::logins::fill(&fixture).await;
    (fixture, std::fs::read_to_string(&file).unwrap().trim().to_owned())
}

/// Everything that the catalog says of itself.
async fn picture(catalog: &Catalog) -> String {
    let everything = ListQuery::default();
    format!(
        "{:?}",
        (
            catalog.list::<Program>(&everything).await.unwrap(),
            catalog.list::<Partner>(&everything).await.unwrap(),
            catalog.list::<Link>(&everything).await.unwrap(),
            catalog.list::<Ad>(&everything).await.unwrap(),
            catalog.list::<ShareLink>(&everything).await.unwrap(),
            catalog.changes_from(0, 1_000).await.unwrap(),
            catalog.position().await.unwrap(),
            catalog.outbox_after(0, 10).await.unwrap(),
            (catalog.outbox_last().await.unwrap(), catalog.outbox_position("", "webhooks").await.unwrap()),
        )
    )
}

/// The copy is not told from its source: also not by an edge that followed it.
#[tokio::test]
async fn a_copy_is_the_same_catalog() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let (source, token) = grown(BACKEND).await;
        let target = Fixture::new(backend).await;
        let mut follower = follower(&source, &Health::default()).await;
        follower.catch_up().await.unwrap();
        let mut told = Vec::new();
        let copied = source.catalog.copy_to(&target.catalog, false, |progress| told.push(progress)).await.unwrap();
        for table in &copied {
            assert!(table.source.rows > 0, "{} is empty: `grown` should fill it", table.table);
            assert_eq!(table.source, table.target, "{}", table.table);
        }
        let last = told.last().unwrap();
        assert_eq!(last.done, last.total);
        assert_eq!(picture(&target.catalog).await, picture(&source.catalog).await);
        assert!(target.catalog.is_admin_token(&token).await.unwrap());

        let (warnings, _guard) = Warnings::catch();
        follower.catalog_is_now(target.catalog.clone());
        assert_eq!(follower.catch_up().await.unwrap(), 0, "nothing is loaded anew");
        target.put::<Link>(json!({"code": "later", "address": "https://a.example"})).await;
        assert_eq!(follower.catch_up().await.unwrap(), 1);
        assert_eq!(warnings.lines(), [""; 0]);
        let dangling = target.catalog.delete::<Partner>(&["z"], false).await;
        assert!(matches!(dangling, Err(CatalogError::InUse { .. })));
    }
}

/// The tables are taken from the migrations' text: here from the database itself, so that none is forgotten.
#[tokio::test]
async fn every_table_of_the_database_is_copied() {
    let fixture = Fixture::new(BACKEND).await;
    let sql = match BACKEND {
        Backend::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
        Backend::Postgres => "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = 'public'",
    };
    let rows = fixture.catalog.rows(sqlx::query(sql)).await.unwrap();
    let mut there: Vec<String> = rows.iter().map(|row| row.get(0)).filter(|name| name != "_sqlx_migrations").collect();
    let mut known: Vec<String> = schema::tables().iter().map(|name| (*name).to_owned()).collect();
    there.sort();
    known.sort();
    assert_eq!(known, there);
}

#[tokio::test]
async fn a_target_that_is_not_empty_is_left_alone_unless_it_may_be_replaced() {
    let (source, _) = grown(BACKEND).await;
    let target = Fixture::spring(BACKEND).await;
    target.put::<Link>(json!({"code": "old", "address": "https://a.example"})).await;
    let before = picture(&target.catalog).await;
    let refused = source.catalog.copy_to(&target.catalog, false, |_| ()).await.unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, CopyError::NotEmpty { .. }) && said.contains("feed, changes, programs"), "{said}");
    assert_eq!(picture(&target.catalog).await, before);
    source.catalog.copy_to(&target.catalog, true, |_| ()).await.unwrap();
    assert_eq!(picture(&target.catalog).await, picture(&source.catalog).await);
    let same = source.catalog.copy_to(&source.open(false).await.unwrap(), true, |_| ()).await.unwrap_err();
    assert!(matches!(same, CopyError::Same(_)), "{same}");
}

/// A database that stores something else than it was given.
#[tokio::test]
async fn a_copy_that_differs_is_taken_back() {
    let (source, _) = grown(BACKEND).await;
    let target = Fixture::new(BACKEND).await;
    let before = picture(&target.catalog).await;
    let trigger = match BACKEND {
        Backend::Sqlite => {
            "CREATE TRIGGER t AFTER INSERT ON links BEGIN UPDATE links SET name = 'x' WHERE code = NEW.code; END"
        }
        Backend::Postgres => {
            "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name = ''x''; RETURN NEW; END'; \
             CREATE TRIGGER t BEFORE INSERT ON links FOR EACH ROW EXECUTE FUNCTION t()"
        }
    };
    target.catalog.reader().await.unwrap().execute(trigger).await.unwrap();
    let error = source.catalog.copy_to(&target.catalog, false, |_| ()).await.unwrap_err();
    let CopyError::Different(tables) = error else { panic!("{error}") };
    let differ: Vec<_> = tables.iter().filter(|table| table.source != table.target).map(|table| table.table).collect();
    assert_eq!(differ, ["links"]);
    assert_eq!(picture(&target.catalog).await, before);
}

/// Writers that need neither the feed nor the outbox: a log-in, its mail.
#[tokio::test]
async fn nobody_writes_to_any_table_beside_a_copy() {
    let (source, _) = grown(BACKEND).await;
    let target = Fixture::new(BACKEND).await;
    let others = [source.open(false).await.unwrap(), target.open(false).await.unwrap()];
    let mut writers = Vec::new();
    let write = |catalog: Catalog| {
        tokio::spawn(async move {
            let asking = Asking { program: None, email: "late@home.example", network: "192.0.2.0/24", anybody: true };
            let mail = |code: &str| NewMail {
                recipient: "late@home.example".to_owned(),
                subject: "code".to_owned(),
                text: code.to_owned(),
                html: None,
            };
            catalog.ask_code(asking, mail).await
        })
    };
    let copied = source.catalog.copy_to(&target.catalog, false, |_| {
        if writers.is_empty() {
            writers.extend(others.iter().cloned().map(write));
        }
        assert!(writers.iter().all(|writer| !writer.is_finished()), "somebody wrote, or was turned away");
    });
    copied.await.unwrap();
    assert_eq!(writers.len(), 2);
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
}
