//! How far changed terms have reached history, and who else waits to be computed anew.

use serde::Serialize;
use sqlx::{Row, any::AnyRow};

use super::{
    super::{Catalog, CatalogError},
    Recording,
    contact::{ContactId, id},
    fact::code,
};
use crate::core::{code::Code, mail, time::Millis};

/// How far a program's terms have reached its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Following {
    #[schema(value_type = String)]
    pub program: Code,
    /// Of the terms.
    #[serde(skip)]
    pub digest: String,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Millis,
    /// Null: it is being done.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Millis>,
    /// People for whom something changes, as far as it is known.
    pub total: u64,
    /// Of these so many are done.
    pub done: u64,
    /// The last contact, where it goes person by person.
    #[serde(skip)]
    pub behind: String,
}

const COLUMNS: &str = "program, digest, started_ms, ended_ms, total, done, behind";

fn from_row(row: &AnyRow) -> Result<Following, CatalogError> {
    let number = |at: usize| Ok::<u64, CatalogError>(u64::try_from(row.try_get::<i64, _>(at)?).unwrap_or(0));
    let ended: Option<i64> = row.try_get(3)?;
    Ok(Following {
        program: code(row.try_get(0)?)?,
        digest: row.try_get(1)?,
        started_at: Millis(row.try_get(2)?),
        ended_at: ended.map(Millis),
        total: number(4)?,
        done: number(5)?,
        behind: row.try_get(6)?,
    })
}

impl Catalog {
    /// How far each program's terms have reached.
    pub async fn followings(&self) -> Result<Vec<Following>, CatalogError> {
        let sql = format!("SELECT {COLUMNS} FROM followed_terms");
        self.rows(sqlx::query(sqlx::AssertSqlSafe(sql))).await?.iter().map(from_row).collect()
    }

    /// The same of one program; `None`: nobody has looked at it yet.
    pub async fn following(&self, program: &Code) -> Result<Option<Following>, CatalogError> {
        let sql = format!("SELECT {COLUMNS} FROM followed_terms WHERE program = $1");
        let rows = self.rows(sqlx::query(sqlx::AssertSqlSafe(sql)).bind(program.to_string())).await?;
        rows.first().map(from_row).transpose()
    }

    /// Whether somebody waits to be computed anew.
    pub async fn has_follow_due(&self) -> Result<bool, CatalogError> {
        Ok(!self.rows(sqlx::query("SELECT contact FROM follow_due LIMIT 1")).await?.is_empty())
    }
}

impl Recording {
    pub async fn put_following(&mut self, row: &Following) -> Result<(), CatalogError> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        sqlx::query(
            "INSERT INTO followed_terms (program, digest, started_ms, ended_ms, total, done, behind) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (program) DO UPDATE SET digest = excluded.digest, \
             started_ms = excluded.started_ms, ended_ms = excluded.ended_ms, total = excluded.total, done = excluded.done, \
             behind = excluded.behind",
        )
        .bind(row.program.to_string())
        .bind(row.digest.clone())
        .bind(row.started_at.0)
        .bind(row.ended_at.map(|at| at.0))
        .bind(number(row.total))
        .bind(number(row.done))
        .bind(row.behind.clone())
        .execute(self.writing.tx().await?)
        .await?;
        Ok(())
    }

    /// Somebody is to be computed anew in the background.
    pub async fn follow_later(&mut self, contact: ContactId) -> Result<(), CatalogError> {
        sqlx::query("INSERT INTO follow_due (contact) VALUES ($1) ON CONFLICT (contact) DO NOTHING")
            .bind(contact.to_string())
            .execute(self.writing.tx().await?)
            .await?;
        Ok(())
    }

    /// Takes people who wait to be computed anew: in this transaction, or they wait again.
    pub async fn take_follow_due(&mut self, limit: usize) -> Result<Vec<ContactId>, CatalogError> {
        let rows = sqlx::query("SELECT contact FROM follow_due ORDER BY contact LIMIT $1")
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.writing.tx().await?)
            .await?;
        let due: Vec<ContactId> = rows.iter().map(|row| id(row, 0)).collect::<Result<_, _>>()?;
        for contact in &due {
            sqlx::query("DELETE FROM follow_due WHERE contact = $1")
                .bind(contact.to_string())
                .execute(self.writing.tx().await?)
                .await?;
        }
        Ok(due)
    }

    /// Addresses that were written before there was a column for what they have in common with others: at most `limit` of them
    /// get it. Gives how many.
    pub async fn fill_normal_mails(&mut self, limit: u32) -> Result<usize, CatalogError> {
        let rows = sqlx::query("SELECT value FROM contact_keys WHERE kind = 'email' AND normal IS NULL LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(self.writing.tx().await?)
            .await?;
        for row in &rows {
            let value: String = row.try_get(0)?;
            sqlx::query("UPDATE contact_keys SET normal = $2 WHERE kind = 'email' AND value = $1")
                .bind(value.clone())
                .bind(mail::normal(&value))
                .execute(self.writing.tx().await?)
                .await?;
        }
        Ok(rows.len())
    }
}
