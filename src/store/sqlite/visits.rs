//! Where the touches of a visitor stand: runs of pointers into `events`, gathered by the sink and appended behind the rows.
//!
//! Visitors' ids are random: whatever keeps them sorted one by one writes all over itself. A run is sorted once, in memory, and
//! costs an append. `migrations/0002_touches.sql` has the format and the figures.

use sqlx::{Row, SqliteConnection};

use super::{
    record::Binder,
    sink::{VISITS, in_chunks},
    touches::CREDITED,
};
use crate::core::{
    event::{Class, EventRef, Kind},
    id::VisitorId,
    limits::VISITS_RUN_EVENTS,
};

/// Rows of a run.
pub(super) const BUCKETS: i64 = 64;
const ENTRY_BYTES: usize = 8;

/// A click whose run is not written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Visit {
    bucket: u8,
    key: [u8; 4],
    seq: i64,
}

/// Which row of a run is a visitor's, and what stands for it there.
pub(super) fn place(visitor: &[u8]) -> Option<(u8, [u8; 4])> {
    let [first, a, b, c, d, ..] = *visitor else { return None };
    Some((first >> 2, [a, b, c, d]))
}

/// The numbers of events in a run's row that may be this visitor's.
pub(super) fn hits(visitor: VisitorId, first: i64, entries: &[u8]) -> impl Iterator<Item = i64> {
    let key = place(&visitor.0).map(|(_, key)| key);
    entries.chunks_exact(ENTRY_BYTES).filter_map(move |entry| {
        let (of, delta) = entry.split_at(4);
        let delta: [u8; 4] = delta.try_into().ok()?;
        (key.as_ref().map(<[u8; 4]>::as_slice) == Some(of)).then(|| first + i64::from(u32::from_le_bytes(delta)))
    })
}

/// The clicks that are gathered but not written yet.
#[derive(Debug)]
pub(super) struct Visits {
    visits: Vec<Visit>,
    /// Events of a run.
    pub(super) run: i64,
}

impl Default for Visits {
    fn default() -> Visits {
        Visits { visits: Vec::new(), run: VISITS_RUN_EVENTS }
    }
}

impl Visits {
    pub(super) fn add_event(&mut self, event: &EventRef<'_>, seq: i64) {
        let counts = event.kind == Kind::Click as i32 && Class::try_from(event.class).is_ok_and(Class::counts);
        if counts && !event.partner.is_empty() {
            self.add(event.visitor, seq);
        }
    }

    fn add(&mut self, visitor: &[u8], seq: i64) {
        if let Some((bucket, key)) = place(visitor) {
            self.visits.push(Visit { bucket, key, seq });
        }
    }

    /// Gathers anew what stands behind `visited`, and writes what makes whole runs. Gives the last event that is written.
    pub(super) async fn gather(
        &mut self,
        connection: &mut SqliteConnection,
        mut visited: i64,
        newest: i64,
    ) -> Result<i64, sqlx::Error> {
        self.visits.clear();
        // A file that is older than its runs may have many of them to make.
        while visited < newest {
            let to = newest.min(visited.saturating_add(self.run));
            let sql = format!("SELECT seq, visitor FROM events NOT INDEXED WHERE seq > ? AND seq <= ? AND {CREDITED}");
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(visited).bind(to).fetch_all(&mut *connection).await?;
            for row in &rows {
                self.add(row.try_get(1)?, row.try_get(0)?);
            }
            if to - visited < self.run {
                break;
            }
            visited = self.write(connection, visited, to).await?;
        }
        Ok(visited)
    }

    /// Writes a run, if enough events have come. Gives the last event that is written.
    pub(super) async fn write_due(
        &mut self,
        connection: &mut SqliteConnection,
        visited: i64,
        newest: i64,
    ) -> Result<i64, sqlx::Error> {
        if newest.saturating_sub(visited) < self.run {
            Ok(visited)
        } else {
            self.write(connection, visited, newest).await
        }
    }

    async fn write(
        &mut self,
        connection: &mut SqliteConnection,
        visited: i64,
        newest: i64,
    ) -> Result<i64, sqlx::Error> {
        let last: Option<i64> =
            sqlx::query("SELECT max(n) FROM visits").fetch_one(&mut *connection).await?.try_get(0)?;
        let run = last.map_or(0, |last| last / BUCKETS + 1);
        self.visits.sort_unstable();
        let rows: Vec<&[Visit]> = self.visits.chunk_by(|a, b| a.bucket == b.bucket).collect();
        let bind = |row: &&[Visit], values: &mut Binder| {
            let mut entries = Vec::with_capacity(row.len() * ENTRY_BYTES);
            for visit in *row {
                entries.extend_from_slice(&visit.key);
                let delta = u32::try_from(visit.seq - visited).unwrap_or(u32::MAX);
                entries.extend_from_slice(&delta.to_le_bytes());
            }
            values.number(run * BUCKETS + i64::from(row[0].bucket));
            values.number(visited);
            values.number(newest);
            values.bytes(&entries);
        };
        in_chunks(connection, &VISITS, 4, &rows, bind).await?;
        sqlx::query("UPDATE visited SET seq = ?").bind(newest).execute(&mut *connection).await?;
        // Runs whose events are gone go too, some with each new one.
        sqlx::query(
            "DELETE FROM visits WHERE n IN (SELECT n FROM visits ORDER BY n LIMIT ?) \
             AND last < (SELECT min(seq) FROM events)",
        )
        .bind(2 * BUCKETS)
        .execute(connection)
        .await?;
        self.visits.clear();
        Ok(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_a_visitors_events_from_others() {
        let visitor = VisitorId([7, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(place(&visitor.0), Some((1, [1, 2, 3, 4])));
        assert_eq!(place(b"abc"), None);
        let entries = [[1, 2, 3, 4, 5, 0, 0, 0], [1, 2, 3, 5, 6, 0, 0, 0], [1, 2, 3, 4, 0, 1, 0, 0]].concat();
        assert_eq!(hits(visitor, 100, &entries).collect::<Vec<_>>(), [105, 356]);
    }
}
