//! A range of which nobody knows how far it came: the process, the server or the connection died, or the answer did not
//! arrive in time. The state is asked, never guessed; so a crash in the middle of a recovery is recovered the same way.
//!
//! ```text
//! end inserts that still run ─▶ which rows are there? ─▶ sums behind their rows? add from the rows ─▶ insert what is missing
//! ```

use std::collections::BTreeMap;

use super::{Store, block::Block, error::StoreError, schema::MIGRATIONS, store::query_name};
use crate::core::{limits::REFUSED_ROWS_MAX, time::Millis};

/// A table of sums with a ledger in it.
pub(super) struct Rollup {
    pub(super) table: &'static str,
    /// Whether it has a ledger for each month, in the same part as the month's sums.
    monthly: bool,
    /// Where in the table's key the ledger stands, so that few rows are read. `DAY` is the month's first.
    place: &'static str,
}

pub(super) const ROLLUPS: [Rollup; 4] = [
    REACH,
    Rollup {
        table: "funnel_daily",
        monthly: true,
        place: "day = toDate(DAY) AND program = '' AND link = '' AND partner = '' AND kind = ''",
    },
    Rollup {
        table: "uniques_daily",
        monthly: true,
        place: "day = toDate(DAY) AND program = '' AND link = '' AND partner = ''",
    },
    LOADED,
];
/// It is nothing but a ledger.
const LOADED: Rollup = Rollup { table: "loaded", monthly: false, place: "1" };
const REACH: Rollup =
    Rollup { table: "reach_hourly", monthly: true, place: "hour = toDateTime(DAY, 'UTC') AND kind = ''" };

/// Highest offset by month (202611).
type ByMonth = BTreeMap<u32, u64>;

impl Rollup {
    /// What its view makes of events: the text behind `AS`.
    fn select(&self) -> Result<String, StoreError> {
        let head = format!("CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.{}_mv{{on_cluster}}", self.table);
        let mut statements = MIGRATIONS.iter().rev().flat_map(|migration| migration.statements());
        let view = statements.find(|statement| statement.starts_with(&head));
        let select = view.as_deref().and_then(|view| view.split_once(" AS\n")).map(|(_, select)| select.to_owned());
        select.ok_or_else(|| StoreError::Fatal(format!("the schema has no view of {}; please report it", self.table)))
    }
}

/// What the table holds at an offset.
#[derive(clickhouse::Row, serde::Deserialize)]
struct There {
    month: u32,
    offset: u64,
    /// Big endian.
    id: [u8; 16],
}

/// 202611 of a point in time: the partition of its row.
fn month_of(time: Millis) -> u32 {
    let date = jiff::Timestamp::from_millisecond(time.0).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
    u32::from(date.year().unsigned_abs()) * 100 + u32::from(date.month().unsigned_abs())
}

impl Store {
    /// Completes a range that may be there wholly, in part, or not at all: its rows, and its share of each rollup. The block
    /// holds the whole range; the token is that of the first try, or any of its own if there was none.
    pub async fn recover(&self, block: &Block, token: &str) -> Result<(), StoreError> {
        let Some(range) = block.range() else { return Ok(()) };
        self.fence(&block.source, block.partition).await?;
        let query = self.query(
            "SELECT toYYYYMM(e.time) AS month, e.offset AS offset, UUIDToNum(e.id) AS id FROM {database}.events AS e \
             WHERE e.source = ? AND e.partition = ? AND e.offset >= ? AND e.offset < ? ORDER BY e.offset",
        )?;
        let query = query.bind(&block.source).bind(block.partition).bind(range.start).bind(range.end);
        let there: Vec<There> = self.rows(query).await?;
        for row in &there {
            if block.id_at(row.offset).is_some_and(|ours| ours != row.id) {
                return Err(StoreError::Fatal(format!(
                    "{}, partition {}: another event stands at offset {} than in the table: the topic was made anew; give \
                     its rows a name of their own with load.source",
                    block.source, block.partition, row.offset
                )));
            }
        }
        let highest: ByMonth = there.iter().map(|row| (row.month, row.offset)).collect();
        for rollup in ROLLUPS.iter().filter(|rollup| rollup.monthly) {
            self.complete(rollup, block, &highest).await?;
        }
        let mut summed = ByMonth::new();
        for month in block.index.iter().map(|row| month_of(row.time)).collect::<std::collections::BTreeSet<_>>() {
            summed.extend(self.ledger(&REACH, block, month).await?.map(|offset| (month, offset)));
        }
        let missing = block.filtered(|row| {
            let is_there = there.binary_search_by_key(&row.offset, |there| there.offset).is_ok();
            // Summed, but no row: it was there and had its time (`retention.events`), or is set aside.
            let was_there = || summed.get(&month_of(row.time)).is_some_and(|highest| row.offset <= *highest);
            !is_there && !was_there()
        });
        match missing.range() {
            None => {}
            // Nothing of it is there: the token of the first try still guards against one that is on its way.
            Some(_) if missing.rows() == block.rows() => self.insert(block, token).await?,
            Some(left) => self.insert(&missing, &format!("{token}+{}-{}", left.start, left.end)).await?,
        }
        // Last: whoever reads up to it must not miss rows of another month that were not there yet.
        self.complete(&LOADED, block, &highest).await
    }

    /// After [`StoreError::Data`]: stores what the tables take, and says which offsets they refuse and why. Halves the block
    /// until it is found, in the order of the offsets. When too many are refused the table is at fault, not they.
    pub async fn salvage(&self, block: &Block, token: &str) -> Result<Vec<(u64, String)>, StoreError> {
        let mut refused = Vec::new();
        let mut left = vec![block.clone()];
        while let Some(block) = left.pop() {
            let Some(range) = block.range() else { continue };
            match self.recover(&block, &format!("{token}/{}-{}", range.start, range.end)).await {
                Ok(()) => {}
                Err(StoreError::Data(reason)) if block.rows() == 1 && refused.len() == REFUSED_ROWS_MAX => {
                    return Err(StoreError::Fatal(format!(
                        "a table refuses row after row: was it changed by hand? {reason}"
                    )));
                }
                Err(StoreError::Data(reason)) if block.rows() == 1 => refused.push((range.start, reason)),
                Err(StoreError::Data(_)) => {
                    let middle = block.index[block.rows() / 2].offset;
                    left.push(block.filtered(|row| row.offset >= middle));
                    left.push(block.filtered(|row| row.offset < middle));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    /// Adds to a rollup what it lacks of the rows up to `highest`.
    async fn complete(&self, rollup: &Rollup, block: &Block, highest: &ByMonth) -> Result<(), StoreError> {
        let all_months = highest.values().max().map(|offset| (0, *offset));
        let wanted: Vec<(u32, u64)> =
            if rollup.monthly { highest.clone().into_iter().collect() } else { all_months.into_iter().collect() };
        for (month, offset) in wanted {
            let ledger = self.ledger(rollup, block, month).await?;
            if ledger.is_some_and(|ledger| ledger >= offset) {
                continue;
            }
            let from = ledger.map_or(0, |ledger| ledger + 1);
            let (table, source, partition) = (rollup.table, &block.source, block.partition);
            tracing::info!(
                table,
                source,
                partition,
                month,
                from,
                to = offset,
                "sums are behind their rows: they are added"
            );
            let mut rows = "(SELECT * FROM {database}.events AS r WHERE r.source = ? AND r.partition = ? \
                            AND r.offset >= ? AND r.offset <= ?"
                .to_owned();
            rows.push_str(if rollup.monthly { " AND toYYYYMM(r.time) = ?)" } else { ")" });
            let select = rollup.select()?.replace("{database}.events", &rows);
            let query = self.query(&format!("INSERT INTO {{database}}.{table} {select}"))?;
            let mut query = query.bind(source).bind(partition).bind(from).bind(offset);
            if rollup.monthly {
                query = query.bind(month);
            }
            for (setting, value) in self.insert_settings() {
                query = query.with_setting(setting, value);
            }
            let token = format!("{table}:{source}:{partition}:{month}:{from}-{offset}");
            let query = query.with_setting("insert_deduplication_token", token);
            self.execute(query.with_setting("query_id", self.query_id(&query_name(source, partition)))).await?;
        }
        Ok(())
    }

    /// The highest offset that a rollup's sums of this month hold.
    async fn ledger(&self, rollup: &Rollup, block: &Block, month: u32) -> Result<Option<u64>, StoreError> {
        let day = format!("'{:04}-{:02}-01'", month / 100, month % 100);
        let query = self.query(&format!(
            "SELECT max(r.offset), count() > 0 FROM {{database}}.{} AS r WHERE r.source = ? AND r.partition = ? AND {}",
            rollup.table,
            rollup.place.replace("DAY", &day)
        ))?;
        let (offset, any): (u64, bool) = self.one(query.bind(&block.source).bind(block.partition)).await?;
        Ok(any.then_some(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rollup_has_its_view_over_events() {
        for rollup in &ROLLUPS {
            assert_eq!(rollup.select().unwrap().matches("{database}.events").count(), 1, "{}", rollup.table);
        }
    }

    #[test]
    fn months_are_those_of_utc() {
        let month = |text: &str| month_of(text.parse().unwrap());
        assert_eq!(month("2026-10-31T23:59:59.999Z"), 202_610);
        assert_eq!(month("2026-11-01"), 202_611);
    }
}
