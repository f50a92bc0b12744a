//! Conversions and refunds on their way to webhooks and the event store: each is told once a program, as soon as it belongs to a
//! referral there.

use sqlx::{Row, any::AnyRow};

use super::{
    super::CatalogError,
    Recording,
    contact::{ContactId, id},
    fact::{code, money},
};
use crate::core::{code::Code, fact::FactId, money::Money, time::Millis};

/// A conversion that belongs to a referral, and was not told yet.
#[derive(Clone, Debug)]
pub struct UntoldConversion {
    pub id: FactId,
    pub program: Code,
    pub event: String,
    pub money: Option<Money>,
    pub at: Millis,
}

/// The same of a refund, or of as much as it has grown.
#[derive(Clone, Debug)]
pub struct UntoldRefund {
    pub id: FactId,
    pub program: Code,
    pub invoice: String,
    /// In all; `None`: all of the sale.
    pub amount: Option<i64>,
    /// Told before.
    pub told: Option<i64>,
    pub at: Millis,
}

impl Recording {
    /// Conversions of a person that were not told yet; and whether there are any at all.
    pub async fn untold_conversions(
        &mut self,
        contact: ContactId,
    ) -> Result<(Vec<UntoldConversion>, bool), CatalogError> {
        let rows = sqlx::query(
            "SELECT c.id, f.program, c.event, c.amount, c.currency, c.at_ms, t.fact FROM conversions AS c \
             JOIN referrals AS f ON f.contact = c.contact AND (c.program IS NULL OR c.program = f.program) \
             LEFT JOIN facts_told AS t ON t.fact = c.id AND t.program = f.program WHERE c.contact = $1 ORDER BY c.at_ms, c.id",
        )
        .bind(contact.to_string())
        .fetch_all(&mut *self.writing.tx)
        .await?;
        let mut untold = Vec::new();
        for row in &rows {
            if row.try_get::<Option<&str>, _>(6)?.is_none() {
                untold.push(UntoldConversion {
                    id: id(row, 0)?,
                    program: code(row.try_get(1)?)?,
                    event: row.try_get(2)?,
                    money: money(row.try_get(3)?, row.try_get(4)?)?,
                    at: Millis(row.try_get(5)?),
                });
            }
        }
        Ok((untold, !rows.is_empty()))
    }

    /// Refunds of a person's conversions that were not told yet, or have grown since.
    pub async fn untold_refunds(&mut self, contact: ContactId) -> Result<Vec<UntoldRefund>, CatalogError> {
        let rows = sqlx::query(
            "SELECT r.id, f.program, r.invoice, r.amount, t.amount, r.at_ms FROM conversions AS c \
             JOIN referrals AS f ON f.contact = c.contact AND (c.program IS NULL OR c.program = f.program) \
             JOIN refunds AS r ON r.invoice = c.invoice \
             LEFT JOIN facts_told AS t ON t.fact = r.id AND t.program = f.program \
             WHERE c.contact = $1 AND (t.fact IS NULL OR r.amount > t.amount) ORDER BY r.at_ms, r.id",
        )
        .bind(contact.to_string())
        .fetch_all(&mut *self.writing.tx)
        .await?;
        let refund = |row: &AnyRow| {
            Ok(UntoldRefund {
                id: id(row, 0)?,
                program: code(row.try_get(1)?)?,
                invoice: row.try_get(2)?,
                amount: row.try_get(3)?,
                told: row.try_get(4)?,
                at: Millis(row.try_get(5)?),
            })
        };
        rows.iter().map(refund).collect()
    }

    /// Notes that a fact was told.
    pub async fn fact_told(&mut self, fact: FactId, program: &Code, amount: Option<i64>) -> Result<(), CatalogError> {
        sqlx::query(
            "INSERT INTO facts_told (fact, program, amount) VALUES ($1, $2, $3) \
             ON CONFLICT (fact, program) DO UPDATE SET amount = excluded.amount",
        )
        .bind(fact.to_string())
        .bind(program.to_string())
        .bind(amount)
        .execute(&mut *self.writing.tx)
        .await?;
        Ok(())
    }
}
