//! Facts that others tell in one go: what an event of a provider says, or some lines of a file. One transaction holds them
//! all, what follows from them, and the note that they were told.

use super::{
    desk::{Desk, DeskError},
    further::fingerprint,
    history::follow,
    told::{ToldConversion, ToldLead, ToldPayment, ToldRefund},
};
use crate::{
    catalog::{
        CatalogError, Mistake,
        record::{Inbound, Recording},
        uploads::{RefusedLine, UploadStep},
    },
    core::code::Code,
};

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    Lead(Box<ToldLead>),
    Conversion(Box<ToldConversion>),
    Refund(Box<ToldRefund>),
    Payment(Box<ToldPayment>),
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It has told these; some of them may have been known.
    Applied(Vec<Noted>),
    /// It had its effect before.
    Again,
}

/// What became of a fact.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Noted {
    /// lead, conversion, refund or payment.
    pub fact: &'static str,
    /// It was known before.
    pub again: bool,
    /// Why it counts for nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmatched: Option<String>,
}

/// A line of a file that can be told.
#[derive(Clone, Debug)]
pub struct Line {
    pub number: i64,
    pub deed: Deed,
    pub cells: Vec<String>,
}

/// What became of some lines.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    pub taken: i64,
    pub known: i64,
    pub refused: Vec<RefusedLine>,
}

impl Desk {
    async fn take(&self, record: &mut Recording, deed: &Deed) -> Result<Noted, DeskError> {
        Ok(match deed {
            Deed::Lead(told) => {
                let answer = self.take_lead(record, told).await?;
                Noted { fact: "lead", again: answer.again, unmatched: None }
            }
            Deed::Conversion(told) => {
                let answer = self.take_conversion(record, told).await?;
                Noted { fact: "conversion", again: answer.again, unmatched: answer.unmatched }
            }
            Deed::Refund(told) => {
                let answer = self.take_refund(record, told).await?;
                Noted { fact: "refund", again: answer.again, unmatched: answer.unmatched }
            }
            Deed::Payment(told) => {
                let hash = fingerprint(record, told.fingerprint.as_deref()).await?;
                for contact in record.one_payment(&told.names, hash.as_deref()).await?.1 {
                    follow(record, contact).await?;
                }
                Noted { fact: "payment", again: false, unmatched: None }
            }
        })
    }

    /// An event of somebody else: its facts and the note that it came are one transaction, so it has its effect once.
    pub async fn inbound(&self, endpoint: &Code, event: &str, kind: &str, deeds: &[Deed]) -> Result<Effect, DeskError> {
        if self.catalog.knows_inbound_event(endpoint, event).await? {
            return Ok(Effect::Again);
        }
        let mut record = self.catalog.record().await?;
        let inbound = Inbound { endpoint, event, kind, ignored: deeds.is_empty() };
        if !record.first_time(inbound).await? {
            return Ok(Effect::Again);
        }
        let mut noted = Vec::with_capacity(deeds.len());
        for deed in deeds {
            noted.push(self.take(&mut record, deed).await?);
        }
        record.commit().await?;
        Ok(Effect::Applied(noted))
    }

    /// Tells some lines of a file. One that cannot be told is refused by itself; what stops all of them is an error.
    async fn take_lines(&self, record: &mut Recording, lines: &[Line]) -> Result<Lines, DeskError> {
        let mut done = Lines::default();
        for line in lines {
            // Whatever is refused is refused before anything is written of it.
            match self.take(record, &line.deed).await {
                Ok(noted) if noted.again => done.known += 1,
                Ok(_) => done.taken += 1,
                Err(error) => {
                    let reason = reason(error)?;
                    done.refused.push(RefusedLine { line: line.number, reason, cells: line.cells.clone() });
                }
            }
        }
        Ok(done)
    }

    /// Tells some lines, or with `dry_run` finds out what would become of them.
    pub async fn import(&self, lines: &[Line], dry_run: bool) -> Result<Lines, DeskError> {
        let mut record = self.catalog.record().await?;
        let done = self.take_lines(&mut record, lines).await?;
        if dry_run {
            record.rollback().await?;
        } else {
            record.commit().await?;
        }
        Ok(done)
    }

    /// One step of the work on an uploaded file: its lines, and the note how far it is. False: somebody else has done it.
    pub async fn work_off(&self, upload: &str, lines: &[Line], mut step: UploadStep) -> Result<bool, DeskError> {
        let mut record = self.catalog.record().await?;
        let done = self.take_lines(&mut record, lines).await?;
        (step.taken, step.known) = (done.taken, done.known);
        step.refused.extend(done.refused);
        step.refused.sort_by_key(|refused| refused.line);
        if !record.upload_step(upload, &step).await? {
            record.rollback().await?;
            return Ok(false);
        }
        record.commit().await?;
        Ok(true)
    }
}

/// Why a line is refused; or the error that stops all of them.
fn reason(error: DeskError) -> Result<String, DeskError> {
    match error {
        DeskError::Catalog(CatalogError::Invalid(mistakes)) => Ok(in_words(&mistakes)),
        conflict @ DeskError::Conflict { .. } => Ok(conflict.to_string()),
        other => Err(other),
    }
}

/// Mistakes in one text.
pub fn in_words(mistakes: &[Mistake]) -> String {
    let words: Vec<String> = mistakes.iter().map(|mistake| format!("{}: {}", mistake.field, mistake.problem)).collect();
    words.join("; ")
}
