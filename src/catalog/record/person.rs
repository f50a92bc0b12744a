//! All that is known of a person. Each question needs nothing but the person, whatever the others answer: so one trip
//! brings everything from which it is computed what follows ([`Recording::foresee`]).

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row;

use super::{
    super::{
        CatalogError, Partner, Program,
        trip::{Statement, statement},
    },
    Recording,
    contact::{ContactId, Known, known},
    fact,
    followed::{self, ReferralRow, RewardRow},
    history, names, related, touch,
};
use crate::core::{code::Code, fact::Case, id::EventId};

fn leads(contact: ContactId) -> Statement {
    statement("SELECT id, at_ms, credited, network, program FROM leads WHERE contact = $1 AND by_click < 2")
        .bind(contact.to_string())
}

/// Refunds of a conversion beyond its amount are as good as the amount.
fn conversions(contact: ContactId) -> Statement {
    statement(
        "SELECT c.id, c.at_ms, c.event, c.amount, c.currency, \
         CAST(COALESCE((SELECT sum(r.amount) FROM refunds AS r WHERE r.invoice = c.invoice), 0) AS BIGINT), \
         CAST((SELECT count(*) FROM refunds AS r WHERE r.invoice = c.invoice AND r.amount IS NULL) AS BIGINT), c.program \
         FROM conversions AS c WHERE c.contact = $1",
    )
    .bind(contact.to_string())
}

fn rulings(contact: ContactId) -> Statement {
    statement("SELECT id, at_ms, verdict, note, covers, program FROM rulings WHERE contact = $1")
        .bind(contact.to_string())
}

fn referrals(contact: ContactId) -> Statement {
    statement(format!("SELECT {} FROM referrals WHERE contact = $1", followed::REFERRAL_COLUMNS))
        .bind(contact.to_string())
}

fn rewards(contact: ContactId) -> Statement {
    statement(format!(
        "SELECT {} FROM rewards WHERE referral IN (SELECT id FROM referrals WHERE contact = $1)",
        followed::REWARD_COLUMNS
    ))
    .bind(contact.to_string())
}

/// What following a person asks.
pub(super) fn questions(contact: ContactId) -> Vec<Statement> {
    vec![
        leads(contact),
        conversions(contact),
        rulings(contact),
        referrals(contact),
        rewards(contact),
        related::common(contact),
        related::partners_of(contact),
        history::conversions(contact),
        history::refunds(contact),
    ]
}

impl Recording {
    /// Brings all that is known of a person.
    pub async fn foresee(&mut self, contact: ContactId) -> Result<(), CatalogError> {
        self.writing.foresee(questions(contact)).await
    }

    /// The same when a lead was written: also what it may change.
    pub async fn foresee_lead(
        &mut self,
        contact: ContactId,
        click: Option<EventId>,
        words: &[(&str, &str)],
        partner: Option<&Code>,
    ) -> Result<(), CatalogError> {
        let mut all = questions(contact);
        all.push(touch::bindings(contact));
        all.extend(click.map(fact::converted_by));
        all.extend(partner.map(related::partner));
        all.extend(words.iter().map(|(kind, value)| names::named(kind, value)));
        self.writing.foresee(all).await
    }

    /// Brings what a fact is looked up by.
    pub async fn foresee_names(
        &mut self,
        keys: &[(Known, &str)],
        payment: Option<&str>,
        program: Option<&Code>,
        partners: &[Code],
    ) -> Result<(), CatalogError> {
        let mut all: Vec<Statement> = keys.iter().map(|(kind, value)| known(*kind, value)).collect();
        all.extend(payment.map(names::payment));
        let seen = &self.writing.seen;
        let unseen = program.filter(|program| seen.item::<Program>(program).is_none());
        all.extend(unseen.map(|program| followed::item::<Program>(program)));
        let unseen = partners.iter().filter(|partner| seen.item::<Partner>(partner).is_none());
        all.extend(unseen.map(|partner| followed::item::<Partner>(partner)));
        self.writing.foresee(all).await
    }

    /// The programs in which a contact has left a lead.
    pub async fn programs_of(&mut self, contact: ContactId) -> Result<Vec<Code>, CatalogError> {
        let rows = leads(contact).rows(&mut self.writing).await?;
        let programs: BTreeSet<&str> = rows.iter().map(|row| row.try_get(4)).collect::<Result<_, _>>()?;
        programs.into_iter().map(fact::code).collect()
    }

    /// All that is known of a person in a program. Whoever asks is about to write what follows from it.
    pub async fn case(&mut self, contact: ContactId, program: &Code) -> Result<Case, CatalogError> {
        self.writing.moved.people.insert(contact);
        let mut case = Case::default();
        for row in leads(contact).rows(&mut self.writing).await?.iter() {
            if row.try_get::<&str, _>(4)? == program.as_str() {
                case.leads.push(fact::lead(row)?);
            }
        }
        for row in conversions(contact).rows(&mut self.writing).await?.iter() {
            if row.try_get::<Option<&str>, _>(7)?.is_none_or(|of| of == program.as_str()) {
                case.conversions.push(fact::conversion(row)?);
            }
        }
        for row in rulings(contact).rows(&mut self.writing).await?.iter() {
            if row.try_get::<&str, _>(5)? == program.as_str() {
                case.rulings.push(fact::ruling(row)?);
            }
        }
        Ok(case)
    }

    /// A person's referrals in all programs.
    pub async fn referrals_of(&mut self, contact: ContactId) -> Result<BTreeMap<Code, ReferralRow>, CatalogError> {
        if let Some(known) = self.writing.seen.referrals(contact) {
            return Ok(known.clone());
        }
        let rows = referrals(contact).rows(&mut self.writing).await?;
        let mut found = BTreeMap::new();
        for row in rows.iter() {
            let referral = followed::referral(row)?;
            found.insert(referral.program.clone(), referral);
        }
        self.writing.seen.know_referrals(contact, found.clone());
        Ok(found)
    }

    /// The rewards of all of a person's referrals.
    pub async fn rewards_of_person(&mut self, contact: ContactId) -> Result<Vec<RewardRow>, CatalogError> {
        rewards(contact).rows(&mut self.writing).await?.iter().map(followed::reward).collect()
    }
}
