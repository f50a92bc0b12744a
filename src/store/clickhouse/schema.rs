//! The schema: numbered files of `config/clickhouse`, embedded, applied by `fingerpost migrate`, checked by whoever writes
//! or reads.
//!
//! One text serves one server and a cluster: see [`fill`] for its placeholders. Every statement may be repeated, because
//! ClickHouse has no transactions over DDL: a migration that was cut short is simply run again. `schema_versions` keeps what
//! was applied and its checksum.

use std::fmt::{self, Write as _};

use super::{Store, error::StoreError};

/// One file.
#[derive(Debug)]
pub(super) struct Migration {
    pub(super) version: u32,
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal),* $(,)?) => {
        [$(Migration {
            version: $version,
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/clickhouse/", $name, ".sql")),
        }),*]
    };
}

/// Run first each time: the database, and the table of versions.
static FOUNDATION: Migration = {
    let [only] = migrations!(0 "000_schema_versions");
    only
};

/// All of them, in their order. Applied ones never change; what is to change is a new one.
pub(super) static MIGRATIONS: [Migration; 6] =
    migrations!(1 "001_events", 2 "002_rollups", 3 "003_names", 4 "004_projections", 5 "005_touches", 6 "006_lines");

/// The version that this program works with.
pub const VERSION: u32 = MIGRATIONS.len() as u32;

impl Migration {
    fn checksum(&self) -> String {
        blake3::hash(self.text.as_bytes()).to_hex().to_string()
    }

    /// The statements, without comments.
    pub(super) fn statements(&self) -> Vec<String> {
        let bare: Vec<&str> = self.text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        let bare = bare.join("\n");
        bare.split(";\n")
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(|s| s.trim_end_matches(';').to_owned())
            .collect()
    }

    /// The tables and views that it makes, and what it makes inside tables.
    fn makes(&self) -> Vec<Made> {
        self.statements().iter().filter_map(|statement| Made::by(statement)).collect()
    }

    /// Whether it makes or changes this table.
    fn works_on(&self, table: &str) -> bool {
        self.statements().iter().any(|statement| table_of(statement) == Some(table))
    }
}

/// The table or view that a statement of the schema makes or changes.
fn table_of(statement: &str) -> Option<&str> {
    statement.split_once("{database}.")?.1.split(['{', ' ', '\n']).next()
}

/// Something that a statement makes, and that somebody can drop.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    table: String,
    /// A projection or an index, with the words that begin it in the table's own CREATE statement: `PROJECTION by_day`.
    inside: Option<String>,
}

impl Made {
    fn by(statement: &str) -> Option<Made> {
        let table = table_of(statement)?.to_owned();
        if statement.starts_with("CREATE ") {
            let is_one = !statement.starts_with("CREATE DATABASE");
            return is_one.then_some(Made { table, inside: None });
        }
        let (kind, rest) = statement.split_once(" ADD ")?.1.split_once(" IF NOT EXISTS ")?;
        Some(Made { table, inside: Some(format!("{kind} {}", rest.split_whitespace().next()?)) })
    }

    /// All that the schema leaves in the end: what a later migration drops is not wanted.
    fn all() -> Vec<Made> {
        let mut all: Vec<Made> = Vec::new();
        for statement in MIGRATIONS.iter().flat_map(Migration::statements) {
            if let Some(made) = Made::by(&statement) {
                all.push(made);
            } else if let Some((head, name)) = statement.split_once(" DROP PROJECTION IF EXISTS ") {
                let words = Some(format!("PROJECTION {name}"));
                all.retain(|made| made.inside != words || table_of(head) != Some(made.table.as_str()));
            }
        }
        all
    }

    /// Whether it is among the tables, each with its CREATE statement.
    fn is_there(&self, tables: &[(String, String)]) -> bool {
        tables.iter().any(|(name, create)| {
            *name == self.table && self.inside.as_ref().is_none_or(|words| create.contains(&format!("{words} ")))
        })
    }
}

/// `reach_hourly`, or `reach_hourly (PROJECTION by_day)`.
impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inside {
            None => f.write_str(&self.table),
            Some(words) => write!(f, "{} ({words})", self.table),
        }
    }
}

/// In words; of what is inside a table that is itself among them nothing is said.
fn listed(made: &[Made]) -> String {
    let whole = |table: &str| made.iter().any(|made| made.inside.is_none() && made.table == table);
    let said = made.iter().filter(|made| made.inside.is_none() || !whole(&made.table));
    said.map(Made::to_string).collect::<Vec<_>>().join(", ")
}

/// The one who fills placeholders: database and cluster, both plain names.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) database: String,
    /// Empty: one server.
    pub(super) cluster: String,
}

/// Where replicas meet in Keeper. ClickHouse fills in the macros.
const REPLICATED: &str = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";

impl Form {
    fn engine(&self, kind: &str, version: &str) -> String {
        if self.cluster.is_empty() {
            return if version.is_empty() { kind.to_owned() } else { format!("{kind}({version})") };
        }
        let version = if version.is_empty() { String::new() } else { format!(", {version}") };
        format!("Replicated{kind}({REPLICATED}{version})")
    }

    fn value(&self, placeholder: &str) -> Option<String> {
        Some(match placeholder {
            "database" => format!("`{}`", self.database),
            "on_cluster" if self.cluster.is_empty() => String::new(),
            "on_cluster" => format!(" ON CLUSTER `{}`", self.cluster),
            "merge_tree" => self.engine("MergeTree", ""),
            "aggregating" => self.engine("AggregatingMergeTree", ""),
            // So many of the last inserts are known by their token. The loader does not rest on it: see `recover.rs`.
            "window" if self.cluster.is_empty() => "non_replicated_deduplication_window = 10000".to_owned(),
            "window" => {
                "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800".to_owned()
            }
            _ => self.engine("ReplacingMergeTree", placeholder.strip_prefix("replacing:")?),
        })
    }
}

/// Puts values in the place of `{database}`, `{on_cluster}`, `{merge_tree}`, `{aggregating}`, `{replacing:column}` and
/// `{window}`. Any other word in braces is a mistake.
pub(super) fn fill(text: &str, form: &Form) -> Result<String, StoreError> {
    let mut filled = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (placeholder, after) = after.split_once('}').unwrap_or((after, ""));
        let value = form.value(placeholder).ok_or_else(|| {
            StoreError::Fatal(format!("{{{placeholder}}} is not a placeholder of the schema; please report it"))
        })?;
        filled.push_str(before);
        filled.push_str(&value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// One thing that `fingerpost migrate` will do, or has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What, in words.
    pub what: String,
    work: Work,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    Foundation,
    /// Index into [`MIGRATIONS`].
    Migration(usize),
    /// Seconds; 0 keeps rows for ever.
    Retention(u64),
}

/// A row of `schema_versions`.
#[derive(Debug, serde::Deserialize, clickhouse::Row)]
struct Applied {
    version: u32,
    name: String,
    checksum: String,
}

/// What the database holds.
enum State {
    NoDatabase,
    Versions(Vec<Applied>),
}

impl Store {
    /// Whether the tables are those of this program; the error says what to do. Changes nothing.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let applied = match self.state().await? {
            State::Versions(applied) if !applied.is_empty() => applied,
            _ => {
                let database = &self.form().database;
                return Err(StoreError::Fatal(format!(
                    "the database `{database}` has no tables yet: run `fingerpost migrate`"
                )));
            }
        };
        check_versions(&applied)?;
        let has = applied.iter().map(|row| row.version).max().unwrap_or(0);
        if has < VERSION {
            return Err(StoreError::Fatal(format!(
                "the database has schema version {has}, this program needs {VERSION}: run `fingerpost migrate`"
            )));
        }
        match self.dropped().await?.as_slice() {
            [] => Ok(()),
            dropped => Err(StoreError::Fatal(format!(
                "{} was dropped by hand: run `fingerpost migrate` to make it again (sums of what was loaded meanwhile are not in it)",
                listed(dropped)
            ))),
        }
    }

    /// What is missing, in the order in which it has to be done; empty when nothing is. Changes nothing.
    pub async fn pending(&self) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::new();
        let database = &self.form().database;
        let applied = match self.state().await? {
            State::Versions(applied) => applied,
            State::NoDatabase => {
                let what = format!("create the database `{database}` and its table schema_versions");
                changes.push(Change { what, work: Work::Foundation });
                Vec::new()
            }
        };
        check_versions(&applied)?;
        let dropped = if applied.is_empty() { Vec::new() } else { self.dropped().await? };
        // Tables that are made again, wholly or in part: what later versions made of them has to be done again too.
        let mut again: Vec<String> = Vec::new();
        for (at, migration) in MIGRATIONS.iter().enumerate() {
            let (version, name) = (migration.version, migration.name);
            let makes = migration.makes();
            let what = if applied.iter().any(|row| row.version == version) {
                let lost: Vec<Made> = makes.into_iter().filter(|made| dropped.contains(made)).collect();
                let reworked: Vec<&str> =
                    again.iter().map(String::as_str).filter(|table| migration.works_on(table)).collect();
                let what = match (lost.is_empty(), reworked.is_empty()) {
                    (true, true) => continue,
                    (true, false) => format!("apply version {version} ({name}) again: {}", reworked.join(", ")),
                    (false, _) => format!("make again what was dropped by hand: {}", listed(&lost)),
                };
                again.extend(lost.into_iter().map(|made| made.table));
                again.dedup();
                what
            } else {
                let tables: Vec<String> =
                    makes.into_iter().filter(|made| made.inside.is_none()).map(|made| made.table).collect();
                let made = if tables.is_empty() { "changes of tables".to_owned() } else { tables.join(", ") };
                format!("apply version {version} ({name}): {made}")
            };
            changes.push(Change { what, work: Work::Migration(at) });
        }
        let wanted = self.retention().as_secs();
        let events_are_there =
            !applied.is_empty() && !dropped.iter().any(|made| made.inside.is_none() && made.table == "events");
        let has = if events_are_there { self.ttl().await? } else { 0 };
        if has != wanted {
            let what = match wanted {
                0 => "keep events for ever (retention.events)".to_owned(),
                _ => format!("keep events for {} days (retention.events)", wanted.div_ceil(86_400)),
            };
            changes.push(Change { what, work: Work::Retention(wanted) });
        }
        Ok(changes)
    }

    /// Does one of [`pending`](Store::pending). It may be repeated.
    pub async fn apply(&self, change: &Change) -> Result<(), StoreError> {
        match change.work {
            Work::Foundation => self.run_all(&FOUNDATION).await,
            Work::Migration(at) => {
                let migration = &MIGRATIONS[at];
                self.run_all(migration).await?;
                let row = "INSERT INTO {database}.schema_versions SELECT ?, ?, ?, now64(3), ? \
                           WHERE NOT (? IN (SELECT version FROM {database}.schema_versions))";
                let query = self.query(row)?.bind(migration.version).bind(migration.name).bind(migration.checksum());
                self.execute(query.bind(env!("CARGO_PKG_VERSION")).bind(migration.version)).await
            }
            Work::Retention(0) => {
                self.execute(self.query("ALTER TABLE {database}.events{on_cluster} REMOVE TTL")?).await
            }
            Work::Retention(seconds) => {
                let alter =
                    "ALTER TABLE {database}.events{on_cluster} MODIFY TTL toDateTime(time) + toIntervalSecond(?)";
                self.execute(self.query(alter)?.bind(seconds)).await
            }
        }
    }

    /// Every statement of the schema, filled in: what an operator would run by hand.
    pub fn statements(&self) -> Result<Vec<String>, StoreError> {
        let all = std::iter::once(&FOUNDATION).chain(&MIGRATIONS).flat_map(Migration::statements);
        all.map(|statement| fill(&statement, self.form())).collect()
    }

    async fn run_all(&self, migration: &Migration) -> Result<(), StoreError> {
        for statement in migration.statements() {
            self.execute(self.query_raw(&statement)?).await?;
        }
        Ok(())
    }

    async fn state(&self) -> Result<State, StoreError> {
        let tables = "SELECT count() FROM system.tables WHERE database = ? AND name = 'schema_versions'";
        if self.one::<u64>(self.query(tables)?.bind(&self.form().database)).await? == 0 {
            return Ok(State::NoDatabase);
        }
        let rows = "SELECT version, name, checksum FROM {database}.schema_versions ORDER BY version";
        Ok(State::Versions(self.rows(self.query(rows)?).await?))
    }

    /// Tables, views, projections and indices of the schema that are not there.
    async fn dropped(&self) -> Result<Vec<Made>, StoreError> {
        let query = self.query("SELECT name, create_table_query FROM system.tables WHERE database = ?")?;
        let there: Vec<(String, String)> = self.rows(query.bind(&self.form().database)).await?;
        Ok(Made::all().into_iter().filter(|made| !made.is_there(&there)).collect())
    }

    /// Seconds for which the table keeps rows; 0 is for ever.
    pub(super) async fn ttl(&self) -> Result<u64, StoreError> {
        let query = self.query("SELECT engine_full FROM system.tables WHERE database = ? AND name = 'events'")?;
        let engine: Option<String> = self.rows(query.bind(&self.form().database)).await?.pop();
        Ok(engine.as_deref().map_or(0, ttl_seconds))
    }
}

/// `… TTL toDateTime(time) + toIntervalSecond(34560000) SETTINGS …`
fn ttl_seconds(engine: &str) -> u64 {
    let number = engine.split_once("toIntervalSecond(").and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
    match number {
        Some(seconds) => seconds,
        // Somebody's own expression: any wish differs from it.
        None if engine.contains(" TTL ") => u64::MAX,
        None => 0,
    }
}

/// Newer than this program, or another text than ours under one of our numbers.
fn check_versions(applied: &[Applied]) -> Result<(), StoreError> {
    let newest = applied.iter().map(|row| row.version).max().unwrap_or(0);
    if newest > VERSION {
        return Err(StoreError::Fatal(format!(
            "this program knows schema version {VERSION}, the database has {newest}: update the program"
        )));
    }
    let mut changed = String::new();
    for row in applied {
        let ours = MIGRATIONS.iter().find(|migration| migration.version == row.version);
        if ours.is_none_or(|ours| ours.checksum() != row.checksum) {
            let _ = write!(changed, "{}{}", if changed.is_empty() { "" } else { ", " }, row.name);
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    Err(StoreError::Fatal(format!(
        "the database was made from other texts than this program's ({changed}): use the program that made it, or another \
         clickhouse.database"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(cluster: &str) -> Form {
        Form { database: "fp".into(), cluster: cluster.into() }
    }

    #[test]
    fn both_forms_come_from_one_text() {
        let text = "CREATE TABLE {database}.t{on_cluster} (a Int8) ENGINE = {replacing:a} ORDER BY a SETTINGS {window}";
        assert_eq!(
            fill(text, &form("")).unwrap(),
            "CREATE TABLE `fp`.t (a Int8) ENGINE = ReplacingMergeTree(a) ORDER BY a SETTINGS non_replicated_deduplication_window = 10000"
        );
        assert_eq!(
            fill(text, &form("main")).unwrap(),
            "CREATE TABLE `fp`.t ON CLUSTER `main` (a Int8) ENGINE = \
             ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', a) ORDER BY a SETTINGS \
             replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800"
        );
        assert!(fill("{databse}.t", &form("")).is_err());
    }

    #[test]
    fn every_file_is_embedded_in_its_place_and_may_be_repeated() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/clickhouse");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
            .collect();
        files.sort();
        let ours: Vec<String> = std::iter::once(&FOUNDATION)
            .chain(&MIGRATIONS)
            .map(|migration| format!("{}.sql", migration.name))
            .collect();
        assert_eq!(files, ours);
        for (at, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version as usize, at + 1);
            assert!(migration.name.starts_with(&format!("{:03}_", migration.version)));
        }
        for migration in std::iter::once(&FOUNDATION).chain(&MIGRATIONS) {
            for statement in migration.statements() {
                let repeatable = [
                    " IF NOT EXISTS {database}",
                    " ADD PROJECTION IF NOT EXISTS ",
                    " ADD INDEX IF NOT EXISTS ",
                    " MATERIALIZE INDEX ",
                    " MATERIALIZE PROJECTION ",
                    " DROP PROJECTION IF EXISTS ",
                    " MODIFY SETTING ",
                ];
                assert!(repeatable.iter().any(|words| statement.contains(words)), "{statement}");
                assert!(statement.contains("{on_cluster}"), "{statement}");
                for cluster in ["", "main"] {
                    fill(&statement, &form(cluster)).unwrap();
                }
            }
        }
        let made: Vec<String> = Made::all().iter().map(Made::to_string).collect();
        for one in ["events", "reach_hourly_mv", "reach_hourly (PROJECTION lines)", "events (INDEX by_visitor)"] {
            assert!(made.iter().any(|made| made == one), "{one}: {made:?}");
        }
        let later = "reach_hourly (PROJECTION of_all_time)";
        assert!(made.iter().all(|made| made != later), "a later version drops it: {made:?}");
    }

    #[test]
    fn the_time_to_live_is_read_back() {
        assert_eq!(ttl_seconds("MergeTree ORDER BY a TTL toDateTime(time) + toIntervalSecond(60) SETTINGS b = 1"), 60);
        assert_eq!(ttl_seconds("MergeTree ORDER BY a SETTINGS ttl_only_drop_parts = 1"), 0);
        assert_eq!(ttl_seconds("MergeTree ORDER BY a TTL time + toIntervalDay(1)"), u64::MAX);
    }
}
