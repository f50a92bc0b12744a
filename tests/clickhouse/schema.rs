//! Migrations: repeatable, honest about what they will do, and clear when the database is not theirs.

use std::time::Duration;

use fingerpost::store::clickhouse::{Store, StoreError, VERSION};

use crate::{
    block_on,
    engine::{Database, migrate, settings, shared},
    insert::block,
    support::stack::{Part, Stack},
};

#[test]
fn a_migration_is_repeatable_and_a_look_changes_nothing() {
    block_on(async {
        let engine = shared();
        let database = Database::empty(settings(engine));
        let store = &database.store;
        let look = store.pending().await.unwrap();
        assert_eq!(look, store.pending().await.unwrap(), "a look changes nothing");
        let missing = store.check_schema().await.unwrap_err();
        assert!(matches!(&missing, StoreError::Fatal(text) if text.contains("run `fingerpost migrate`")), "{missing}");
        let said: Vec<&str> = look.iter().map(|change| change.what.as_str()).collect();
        assert!(said[0].starts_with("create the database"), "{said:?}");
        assert!(said[1].starts_with("apply version 1 (001_events): events, set_aside, positions"), "{said:?}");
        for change in &look {
            store.apply(change).await.unwrap();
            store.apply(change).await.unwrap();
        }
        store.check_schema().await.unwrap();
        assert_eq!(store.pending().await.unwrap(), []);
        assert_eq!(
            database.numbers("count(), uniqExact(version)", "DB.schema_versions").await,
            [u64::from(VERSION); 2]
        );
        // A migration that was cut short is an older schema, and is run again.
        database.run("ALTER TABLE DB.schema_versions DELETE WHERE version >= 2 SETTINGS mutations_sync = 1").await;
        let older = store.check_schema().await.unwrap_err().to_string();
        assert_eq!(
            older,
            format!("the database has schema version 1, this program needs {VERSION}: run `fingerpost migrate`")
        );
        migrate(store).await;
        store.check_schema().await.unwrap();
    });
}

#[test]
fn sums_that_are_new_are_made_of_what_is_there() {
    block_on(async {
        let database = Database::empty(settings(shared()));
        let store = &database.store;
        let (before, behind): (Vec<_>, Vec<_>) =
            store.pending().await.unwrap().into_iter().partition(|change| !change.what.contains("(006_lines)"));
        for change in &before {
            store.apply(change).await.unwrap();
        }
        store.insert(&block("t", 0..100), "t/0/0-100").await.unwrap();
        for change in &behind {
            store.apply(change).await.unwrap();
        }
        store.insert(&block("t", 100..150), "t/0/100-150").await.unwrap();
        let parts = |table: &str| format!("system.{table} WHERE database = '{}'", database.settings.database);
        database.until("count()", &format!("{} AND is_done = 0", parts("mutations")), 0).await;
        let active = "AND active AND table = 'reach_hourly'";
        let all = database.numbers("count()", &format!("{} {active}", parts("parts"))).await;
        for name in ["lines", "lines_by_day", "days"] {
            let made = format!("{} {active} AND name = '{name}'", parts("projection_parts"));
            assert_eq!(database.numbers("uniqExact(parent_name)", &made).await, all, "{name}");
        }
        assert_eq!(database.audit().await, 150);
    });
}

#[test]
fn a_newer_a_foreign_and_a_damaged_schema_are_told_apart() {
    block_on(async {
        let engine = shared();
        let database = Database::new(engine).await;
        let store = &database.store;
        database.run("DROP VIEW DB.funnel_daily_mv").await;
        let dropped = store.check_schema().await.unwrap_err().to_string();
        assert!(dropped.starts_with("funnel_daily_mv was dropped by hand: run `fingerpost migrate`"), "{dropped}");
        let changes = store.pending().await.unwrap();
        assert_eq!(changes[0].what, "make again what was dropped by hand: funnel_daily_mv");
        migrate(store).await;
        store.check_schema().await.unwrap();

        database.run("INSERT INTO DB.schema_versions VALUES (7777, '7777_later', 'x', now64(3), '9.9')").await;
        let newer = format!("this program knows schema version {VERSION}, the database has 7777: update the program");
        assert_eq!(store.check_schema().await.unwrap_err().to_string(), newer);
        assert_eq!(store.pending().await.unwrap_err().to_string(), newer);
        database.run("ALTER TABLE DB.schema_versions DELETE WHERE version = 7777 SETTINGS mutations_sync = 1").await;
        database
            .run("ALTER TABLE DB.schema_versions UPDATE checksum = 'x' WHERE version = 2 SETTINGS mutations_sync = 1")
            .await;
        let foreign = store.check_schema().await.unwrap_err().to_string();
        assert!(foreign.contains("other texts than this program's (002_rollups)"), "{foreign}");
    });
}

/// How many tables there are, and how long their statements: columns, projections, indices and settings, in any order.
async fn tables(database: &Database) -> Vec<u64> {
    let from = format!("system.tables WHERE database = '{}'", database.settings.database);
    database.numbers("count(), sum(length(create_table_query))", &from).await
}

#[test]
fn what_was_dropped_comes_back_with_all_that_was_ever_made_of_it() {
    block_on(async {
        let database = Database::new(shared()).await;
        let store = &database.store;
        let as_made = tables(&database).await;
        let saved = async |whole: &[&str]| {
            let dropped = store.check_schema().await.unwrap_err().to_string();
            let pending = store.pending().await.unwrap();
            let said: Vec<String> = pending.into_iter().map(|change| change.what).collect();
            assert!(dropped.starts_with(whole[0]), "{dropped}");
            assert_eq!(said, whole[1..]);
            migrate(store).await;
            store.check_schema().await.unwrap();
            assert_eq!(store.pending().await.unwrap(), []);
            assert_eq!(tables(&database).await, as_made, "after {said:?}");
        };
        let again = "make again what was dropped by hand:";
        database.run("DROP TABLE DB.reach_hourly").await;
        let by = "reach_hourly (PROJECTION by_day), reach_hourly (PROJECTION by_country), \
                  reach_hourly (PROJECTION by_link), reach_hourly (PROJECTION by_hour)";
        let lines =
            "reach_hourly (PROJECTION lines), reach_hourly (PROJECTION lines_by_day), reach_hourly (PROJECTION days)";
        saved(&[
            "reach_hourly was dropped by hand",
            &format!("{again} reach_hourly"),
            &format!("{again} {by}"),
            &format!("{again} {lines}"),
        ])
        .await;
        // A migration that was cut short behind the table.
        database.run("ALTER TABLE DB.reach_hourly DROP PROJECTION by_day").await;
        saved(&[
            "reach_hourly (PROJECTION by_day) was dropped by hand",
            &format!("{again} reach_hourly (PROJECTION by_day)"),
            "apply version 6 (006_lines) again: reach_hourly",
        ])
        .await;
        database.run("DROP TABLE DB.events").await;
        saved(&[
            "events was dropped by hand",
            &format!("{again} events"),
            &format!("{again} events (INDEX by_visitor)"),
        ])
        .await;
        store.insert(&block("t", 0..100), "t/0/0-100").await.unwrap();
        assert_eq!(database.audit().await, 100, "the views are on the new tables");
    });
}

#[test]
fn retention_follows_the_setting() {
    block_on(async {
        let engine = shared();
        let mut database = Database::new(engine).await;
        for (days, said) in
            [(400, "keep events for 400 days"), (30, "keep events for 30 days"), (0, "keep events for ever")]
        {
            database.settings.retention = Duration::from_secs(days * 86_400);
            let store = Store::new(&database.settings).unwrap();
            let changes = store.pending().await.unwrap();
            assert!(changes.len() == 1 && changes[0].what.starts_with(said), "{changes:?}");
            migrate(&store).await;
            assert_eq!(store.pending().await.unwrap(), []);
        }
    });
}

#[test]
fn both_forms_are_clickhouse_to_its_own_parser() {
    block_on(async {
        let engine = shared();
        let mut cluster = settings(engine);
        cluster.cluster = "main".to_owned();
        let statements = Store::new(&cluster).unwrap().statements().unwrap();
        assert!(statements.len() > 15);
        for statement in statements {
            assert!(statement.contains(" ON CLUSTER `main`"), "{statement}");
            assert!(!statement.contains("ENGINE") || statement.contains("Replicated"), "{statement}");
            let quoted = statement.replace('\\', "\\\\").replace('\'', "\\'");
            let parsed = Database::empty(settings(engine))
                .numbers(&format!("length(formatQuery('{quoted}'))"), "system.one")
                .await;
            assert!(parsed[0] > 0);
        }
    });
}

#[test]
fn a_server_that_refuses_or_is_not_there_is_one_clear_line() {
    block_on(async {
        let engine = &Stack::own(&[Part::Clickhouse], &["--password", "right"]);
        let mut settings = settings(engine);
        settings.user = "default".to_owned();
        settings.password = fingerpost::config::secret::Secret::new("wrong");
        let refused = Store::new(&settings).unwrap().check_schema().await.unwrap_err();
        assert!(
            matches!(&refused, StoreError::Fatal(text) if text.contains("clickhouse.password") && !text.contains('\n')),
            "{refused}"
        );
        settings.password = fingerpost::config::secret::Secret::new("right");
        migrate(&Store::new(&settings).unwrap()).await;
        engine.kill(Part::Clickhouse);
        let away = Store::new(&settings).unwrap().check_schema().await.unwrap_err();
        assert!(
            matches!(&away, StoreError::Retry(text) if text.contains("does not answer at http://127.0.0.1:") && !text.contains('\n')),
            "{away}"
        );
    });
}
