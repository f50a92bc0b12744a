//! What stands beside the events: records that are none, journal positions of the sink without Kafka, and names. They are few, so
//! they travel as rows (RowBinary, <https://clickhouse.com/docs/interfaces/formats/RowBinary>: the values of Native, row by row).

use super::{Store, column, error::StoreError};
use crate::core::time::Millis;

/// A record that is no event, or that the tables refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    pub source: String,
    pub partition: u32,
    pub offset: u64,
    pub reason: String,
    /// The record's bytes.
    pub body: Vec<u8>,
    pub at: Millis,
}

/// What a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Program = 1,
    Link = 2,
    Partner = 3,
    Ad = 4,
}

/// A name as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRow {
    pub kind: Named,
    /// Whose ad it is; empty for the others.
    pub partner: String,
    pub code: String,
    pub name: String,
}

impl Store {
    /// Keeps records aside. Doing it again changes nothing.
    pub async fn set_aside(&self, rows: &[Aside]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut data = Vec::new();
        for row in rows {
            column::text(&row.source, &mut data);
            data.extend_from_slice(&row.partition.to_le_bytes());
            data.extend_from_slice(&row.offset.to_le_bytes());
            column::text(&row.reason, &mut data);
            column::bytes(&row.body, &mut data);
            data.extend_from_slice(&row.at.0.to_le_bytes());
        }
        let sql = "INSERT INTO {database}.set_aside (source, partition, offset, reason, body, at) FORMAT RowBinary";
        self.send(sql, data, "", "").await
    }

    /// Journal positions: for each lane the sequence number that comes next.
    pub(super) async fn positions(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let sql = "SELECT p.source, max(p.next) FROM {database}.positions AS p GROUP BY p.source";
        self.rows(self.query(sql)?).await
    }

    /// Moves positions; never back.
    pub(super) async fn set_positions(&self, positions: &[(String, u64)]) -> Result<(), StoreError> {
        let mut data = Vec::new();
        for (source, next) in positions {
            column::text(source, &mut data);
            data.extend_from_slice(&next.to_le_bytes());
        }
        self.send("INSERT INTO {database}.positions (source, next) FORMAT RowBinary", data, "", "").await
    }

    pub(super) async fn forget_position(&self, source: &str) -> Result<(), StoreError> {
        self.execute(self.query("DELETE FROM {database}.positions{on_cluster} WHERE source = ?")?.bind(source)).await
    }

    /// Adds names, or takes their newer wording. A name that is not among them stays: old events still speak of it.
    pub async fn put_names(&self, rows: &[NameRow], at: Millis) -> Result<(), StoreError> {
        let mut data = Vec::new();
        for row in rows {
            data.push(row.kind as u8);
            column::text(&row.partner, &mut data);
            column::text(&row.code, &mut data);
            column::text(&row.name, &mut data);
            data.extend_from_slice(&at.0.to_le_bytes());
        }
        let sql = "INSERT INTO {database}.names (kind, partner, code, name, written_at) FORMAT RowBinary";
        if rows.is_empty() { Ok(()) } else { self.send(sql, data, "", "").await }
    }
}
