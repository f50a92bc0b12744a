//! Facts: written once, never changed. What is told again under the same name is found, and compared by a digest.

use sqlx::{Row, any::AnyRow};

use super::{
    super::{
        CatalogError,
        trip::{Statement, statement},
    },
    ERASED, Recording,
    contact::{ContactId, Known, id},
    person,
};
use crate::core::{
    code::Code,
    fact::{Conversion, Credited, FactId, Lead, Place, Ruling, Verdict},
    id::EventId,
    money::Money,
    review::Signal,
    time::Millis,
};

/// Whether a fact is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    New(FactId),
    /// It was told before, in the same words.
    Again(FactId),
    /// Something else was told under this name.
    Otherwise(FactId),
}

#[derive(Clone, Debug)]
pub struct LeadRow {
    /// Where it was told under a name: the same for each time it is told.
    pub id: Option<FactId>,
    pub program: Code,
    pub contact: ContactId,
    pub click: Option<EventId>,
    /// A JSON object.
    pub metadata: String,
    /// Who was credited, as JSON: [`Credited`] or null, and the decision.
    pub credited: Option<Credited>,
    pub decision: String,
    /// The network that it came from, cut.
    pub network: Option<String>,
    pub at: Millis,
}

#[derive(Clone, Debug)]
pub struct ConversionRow {
    /// What makes it the same one when it is told again.
    pub invoice: Option<String>,
    /// `None`: nobody knows yet who it is.
    pub contact: Option<ContactId>,
    /// By what the person was told: `email`, `external`, `click` or `referral`, and the value.
    pub told_by: &'static str,
    pub told_as: String,
    pub program: Option<Code>,
    pub event: String,
    pub money: Option<Money>,
    /// Who told it: `api`, `stripe`, …
    pub source: String,
    /// Of everything that was told.
    pub digest: String,
    /// Keyed hash of the card's fingerprint.
    pub payment: Option<String>,
    /// Whose word counts where several tell it: the highest one's.
    pub standing: i64,
    pub at: Millis,
}

#[derive(Clone, Debug)]
pub struct RefundRow {
    /// A name that its source gives it; a second refund of that name is the same.
    pub id: FactId,
    pub invoice: String,
    /// Minor units of the conversion's currency; `None`: all of it.
    pub amount: Option<i64>,
    pub reason: String,
    pub digest: String,
    pub at: Millis,
}

/// Digest of a refund that is what it is for good, whatever else is told of it.
pub const FOR_GOOD: &str = "for good";

#[derive(Clone, Debug)]
pub struct RulingRow {
    pub program: Code,
    pub contact: ContactId,
    pub verdict: Verdict,
    pub note: String,
    /// With an approval: the signals that it covers.
    pub covers: Vec<Signal>,
    pub at: Millis,
}

/// Whose the conversions are that were told by a click.
pub(super) fn converted_by(click: EventId) -> Statement {
    statement("SELECT DISTINCT contact FROM conversions WHERE told_by = 'click' AND told_as = $1")
        .bind(click.to_string())
}

impl Recording {
    pub async fn lead(&mut self, lead: &LeadRow) -> Result<FactId, CatalogError> {
        let id = match lead.id {
            Some(id) => id,
            None => self.fresh_id()?,
        };
        let credited = serde_json::to_string(&lead.credited).unwrap_or_default();
        statement(
            "INSERT INTO leads (id, program, contact, click, metadata, credited, decision, network, at_ms, told_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(id.to_string())
        .bind(lead.program.to_string())
        .bind(lead.contact.to_string())
        .bind(lead.click.map(|click| click.to_string()))
        .bind(lead.metadata.clone())
        .bind(credited)
        .bind(lead.decision.clone())
        .bind(lead.network.clone())
        .bind(lead.at.0)
        .bind(self.now().0)
        .later(&mut self.writing);
        Ok(id)
    }

    /// Conversions that waited for this person are theirs now.
    pub async fn match_conversions(&mut self, contact: ContactId, names: &[(Known, &str)]) -> Result<(), CatalogError> {
        for (kind, value) in names {
            statement("UPDATE conversions SET contact = $1 WHERE contact IS NULL AND told_by = $2 AND told_as = $3")
                .bind(contact.to_string())
                .bind(kind.word())
                .bind((*value).to_owned())
                .later(&mut self.writing);
        }
        Ok(())
    }

    /// Conversions that were told by a click belong to the earliest lead that came with it. Gives whose they were before,
    /// where that was somebody else.
    pub async fn match_click(&mut self, click: EventId) -> Result<Vec<ContactId>, CatalogError> {
        let whose = converted_by(click).rows(&mut self.writing).await?;
        // Most leads come before any conversion.
        if whose.is_empty() {
            return Ok(Vec::new());
        }
        let Some(owner) = self.contact_of_click(click).await? else { return Ok(Vec::new()) };
        statement("UPDATE conversions SET contact = $2 WHERE told_by = 'click' AND told_as = $1")
            .bind(click.to_string())
            .bind(owner.to_string())
            .later(&mut self.writing);
        let mut concerned = vec![owner];
        for row in whose.iter() {
            if row.try_get::<Option<&str>, _>(0)?.is_some() {
                concerned.push(id(row, 0)?);
            }
        }
        concerned.sort();
        concerned.dedup();
        // Payments go along: who had one in common with somebody may have no more.
        self.united |= concerned.len() > 1;
        Ok(concerned)
    }

    /// Whose lead came with this click, the earliest one's; else whose browser it was.
    pub async fn contact_of_click(&mut self, click: EventId) -> Result<Option<ContactId>, CatalogError> {
        let row = statement("SELECT contact FROM leads WHERE click = $1 ORDER BY at_ms, id LIMIT 1")
            .bind(click.to_string())
            .first(&mut self.writing)
            .await?;
        match row {
            Some(row) => id(&row, 0).map(Some),
            None => self.contact_of_touch(click).await,
        }
    }

    pub async fn conversion(&mut self, told: &ConversionRow) -> Result<Told, CatalogError> {
        let id = self.fresh_id()?;
        let written = statement(
            "INSERT INTO conversions (id, invoice, contact, told_by, told_as, program, event, amount, currency, source, \
             digest, at_ms, told_ms, payment, standing) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (invoice) DO NOTHING \
             RETURNING id",
        )
        .bind(id.to_string())
        .bind(told.invoice.clone())
        .bind(told.contact.map(|contact| contact.to_string()))
        .bind(told.told_by)
        .bind(told.told_as.clone())
        .bind(told.program.as_ref().map(Code::to_string))
        .bind(told.event.clone())
        .bind(told.money.map(|money| money.amount))
        .bind(told.money.map(|money| money.currency.code()))
        .bind(told.source.clone())
        .bind(told.digest.clone())
        .bind(told.at.0)
        .bind(self.now().0)
        .bind(told.payment.clone())
        .bind(told.standing);
        let behind = told.contact.map(person::questions).unwrap_or_default();
        if written.done(&mut self.writing, behind).await?.is_empty() {
            let row = statement("SELECT id, digest FROM conversions WHERE invoice = $1")
                .bind(told.invoice.clone())
                .only(&mut self.writing)
                .await?;
            return again(&row, &told.digest);
        }
        Ok(Told::New(id))
    }

    pub async fn refund(&mut self, told: &RefundRow) -> Result<Told, CatalogError> {
        let row = statement("SELECT id, digest FROM refunds WHERE id = $1")
            .bind(told.id.to_string())
            .first(&mut self.writing)
            .await?;
        if let Some(row) = row {
            return again(&row, &told.digest);
        }
        statement("INSERT INTO refunds (id, invoice, amount, reason, digest, at_ms, told_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(told.id.to_string())
            .bind(told.invoice.clone())
            .bind(told.amount)
            .bind(told.reason.clone())
            .bind(told.digest.clone())
            .bind(told.at.0)
            .bind(self.now().0)
            .later(&mut self.writing);
        Ok(Told::New(told.id))
    }

    /// A lead that was told under a name before: whose it is, and its decision as JSON.
    pub async fn lead_by_id(&mut self, lead: FactId) -> Result<Option<(ContactId, String)>, CatalogError> {
        let row = statement("SELECT contact, decision FROM leads WHERE id = $1")
            .bind(lead.to_string())
            .first(&mut self.writing)
            .await?;
        row.map(|row| Ok((id(&row, 0)?, row.try_get(1)?))).transpose()
    }

    /// A refund that is told as a growing sum, or for good whatever else was told: it replaces what was told under its name.
    /// Whether that changes anything.
    pub async fn refund_in_all(&mut self, told: &RefundRow, for_good: bool) -> Result<bool, CatalogError> {
        let row = statement("SELECT amount, digest FROM refunds WHERE id = $1")
            .bind(told.id.to_string())
            .first(&mut self.writing)
            .await?;
        let Some(row) = row else {
            self.refund(told).await?;
            return Ok(true);
        };
        let (before, digest): (Option<i64>, &str) = (row.try_get(0)?, row.try_get(1)?);
        let grows = match (before, told.amount) {
            _ if digest == FOR_GOOD => false,
            _ if for_good => true,
            (Some(before), Some(amount)) => amount > before,
            (before, _) => before.is_some(),
        };
        if grows {
            statement("UPDATE refunds SET amount = $2, digest = $3 WHERE id = $1")
                .bind(told.id.to_string())
                .bind(told.amount)
                .bind(told.digest.clone())
                .later(&mut self.writing);
        }
        Ok(grows)
    }

    /// Whose conversion has this invoice; `None`: there is none, or nobody knows whose.
    pub async fn contact_of_invoice(&mut self, invoice: &str) -> Result<Option<ContactId>, CatalogError> {
        let row = statement("SELECT contact FROM conversions WHERE invoice = $1 AND contact IS NOT NULL")
            .bind(invoice.to_owned())
            .first(&mut self.writing)
            .await?;
        row.map(|row| id(&row, 0)).transpose()
    }

    pub async fn ruling(&mut self, ruling: &RulingRow) -> Result<FactId, CatalogError> {
        let id = self.fresh_id()?;
        statement(
            "INSERT INTO rulings (id, program, contact, verdict, note, covers, at_ms, told_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(id.to_string())
        .bind(ruling.program.to_string())
        .bind(ruling.contact.to_string())
        .bind(ruling.verdict.word())
        .bind(ruling.note.clone())
        .bind(serde_json::to_string(&ruling.covers).unwrap_or_default())
        .bind(ruling.at.0)
        .bind(self.now().0)
        .later(&mut self.writing);
        Ok(id)
    }
}

fn again(row: &AnyRow, digest: &str) -> Result<Told, CatalogError> {
    let (known, told): (FactId, &str) = (id(row, 0)?, row.try_get(1)?);
    Ok(if told == digest || told == ERASED { Told::Again(known) } else { Told::Otherwise(known) })
}

pub(super) fn code(text: &str) -> Result<Code, CatalogError> {
    text.parse().map_err(|problem| CatalogError::Corrupt(format!("`{text}` {problem}")))
}

pub(super) fn money(amount: Option<i64>, currency: Option<&str>) -> Result<Option<Money>, CatalogError> {
    let Some((amount, currency)) = amount.zip(currency) else { return Ok(None) };
    let currency = currency.parse().map_err(|problem| CatalogError::Corrupt(format!("{problem}")))?;
    Ok(Some(Money::new(amount, currency)))
}

fn place(row: &AnyRow) -> Result<Place, CatalogError> {
    Ok(Place { id: id(row, 0)?, at: Millis(row.try_get(1)?) })
}

pub(super) fn lead(row: &AnyRow) -> Result<Lead, CatalogError> {
    let credited: &str = row.try_get(2)?;
    let credited = serde_json::from_str(credited).map_err(|p| CatalogError::Corrupt(format!("`{credited}`: {p}")))?;
    Ok(Lead { place: place(row)?, credited, network: row.try_get(3)? })
}

pub(super) fn conversion(row: &AnyRow) -> Result<Conversion, CatalogError> {
    let all: i64 = row.try_get(6)?;
    Ok(Conversion {
        place: place(row)?,
        event: row.try_get(2)?,
        money: money(row.try_get(3)?, row.try_get(4)?)?,
        refunded: row.try_get(5)?,
        reversed: all > 0,
    })
}

pub(super) fn ruling(row: &AnyRow) -> Result<Ruling, CatalogError> {
    let word: &str = row.try_get(2)?;
    let verdict = Verdict::from_word(word).ok_or_else(|| CatalogError::Corrupt(format!("`{word}` is no verdict")))?;
    let covers: &str = row.try_get(4)?;
    let covers = serde_json::from_str(covers).map_err(|p| CatalogError::Corrupt(format!("`{covers}`: {p}")))?;
    Ok(Ruling { place: place(row)?, verdict, note: row.try_get(3)?, covers })
}
