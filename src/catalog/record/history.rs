//! Conversions and refunds on their way to webhooks and the event store: each is told once a program, as soon as it belongs to a
//! referral there.

use sqlx::{Row, any::AnyRow};

use super::{
    super::{
        CatalogError,
        trip::{Statement, statement},
    },
    Recording,
    contact::{ContactId, id},
    fact::money,
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

/// A person's conversions, each with a program in which it was told: once a program, once where in none.
pub(super) fn conversions(contact: ContactId) -> Statement {
    statement(
        "SELECT c.id, c.program, t.program, c.event, c.amount, c.currency, c.at_ms FROM conversions AS c \
         LEFT JOIN facts_told AS t ON t.fact = c.id WHERE c.contact = $1 ORDER BY c.at_ms, c.id",
    )
    .bind(contact.to_string())
}

/// The same of the refunds of these conversions.
pub(super) fn refunds(contact: ContactId) -> Statement {
    statement(
        "SELECT r.id, c.program, t.program, r.invoice, r.amount, t.amount, r.at_ms FROM conversions AS c \
         JOIN refunds AS r ON r.invoice = c.invoice LEFT JOIN facts_told AS t ON t.fact = r.id \
         WHERE c.contact = $1 ORDER BY r.at_ms, r.id",
    )
    .bind(contact.to_string())
}

/// Facts in their order, each with the rows of one: fact, its program, and where it was told.
fn facts(rows: &[AnyRow]) -> Result<Vec<(FactId, &[AnyRow])>, CatalogError> {
    let mut facts = Vec::new();
    for rows in rows.chunk_by(|one, other| id(one, 0).ok() == id(other, 0).ok()) {
        facts.push((id(&rows[0], 0)?, rows));
    }
    Ok(facts)
}

/// The row of a fact that says it was told in this program.
fn told<'r>(rows: &'r [AnyRow], program: &Code) -> Option<&'r AnyRow> {
    rows.iter().find(|row| row.try_get::<Option<&str>, _>(2).ok().flatten() == Some(program.as_str()))
}

/// Whether a fact counts in this program.
fn counts_in(row: &AnyRow, program: &Code) -> Result<bool, CatalogError> {
    Ok(row.try_get::<Option<&str>, _>(1)?.is_none_or(|of| of == program.as_str()))
}

impl Recording {
    /// Conversions of a person that were not told yet; and whether there are any at all.
    pub async fn untold_conversions(
        &mut self,
        contact: ContactId,
    ) -> Result<(Vec<UntoldConversion>, bool), CatalogError> {
        let programs = self.referrals_of(contact).await?;
        let rows = conversions(contact).rows(&mut self.writing).await?;
        let mut untold = Vec::new();
        for (id, rows) in facts(&rows)? {
            let row = &rows[0];
            for program in programs.keys() {
                if counts_in(row, program)? && told(rows, program).is_none() {
                    untold.push(UntoldConversion {
                        id,
                        program: program.clone(),
                        event: row.try_get(3)?,
                        money: money(row.try_get(4)?, row.try_get(5)?)?,
                        at: Millis(row.try_get(6)?),
                    });
                }
            }
        }
        Ok((untold, !rows.is_empty()))
    }

    /// Refunds of a person's conversions that were not told yet, or have grown since.
    pub async fn untold_refunds(&mut self, contact: ContactId) -> Result<Vec<UntoldRefund>, CatalogError> {
        let programs = self.referrals_of(contact).await?;
        let rows = refunds(contact).rows(&mut self.writing).await?;
        let mut untold = Vec::new();
        for (id, rows) in facts(&rows)? {
            let row = &rows[0];
            let amount: Option<i64> = row.try_get(4)?;
            for program in programs.keys() {
                let told = told(rows, program).map(|row| row.try_get::<Option<i64>, _>(5)).transpose()?;
                let is_news = told.is_none_or(|told| amount.zip(told).is_some_and(|(amount, told)| amount > told));
                if counts_in(row, program)? && is_news {
                    untold.push(UntoldRefund {
                        id,
                        program: program.clone(),
                        invoice: row.try_get(3)?,
                        amount,
                        told: told.flatten(),
                        at: Millis(row.try_get(6)?),
                    });
                }
            }
        }
        Ok(untold)
    }

    /// Notes that a fact was told.
    pub async fn fact_told(&mut self, fact: FactId, program: &Code, amount: Option<i64>) -> Result<(), CatalogError> {
        statement(
            "INSERT INTO facts_told (fact, program, amount) VALUES ($1, $2, $3) \
             ON CONFLICT (fact, program) DO UPDATE SET amount = excluded.amount",
        )
        .bind(fact.to_string())
        .bind(program.to_string())
        .bind(amount)
        .later(&mut self.writing);
        Ok(())
    }
}
