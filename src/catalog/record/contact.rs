//! People. A contact is known by e-mail addresses and external ids, each of which belongs to one contact. Somebody who comes
//! with an address of one and an id of another shows that the two are one: everything of the younger contact becomes the
//! older one's.

use serde::Serialize;
use sqlx::{Row, any::AnyRow};

use super::{
    super::{
        CatalogError,
        trip::{Statement, statement},
    },
    Recording,
};
use crate::core::{fact::FactId, mail, time::Millis};

/// A contact's id.
pub type ContactId = FactId;

/// By what a person is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Known {
    /// An e-mail address, in lower case.
    Email,
    /// The id that the business's own programs know the person by.
    External,
}

impl Known {
    pub const fn word(self) -> &'static str {
        match self {
            Known::Email => "email",
            Known::External => "external",
        }
    }
}

/// Somebody as told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    pub email: Option<String>,
    pub external: Option<String>,
    pub first_name: String,
    pub last_name: String,
}

impl Person {
    pub fn keys(&self) -> impl Iterator<Item = (Known, &str)> {
        let email = self.email.as_deref().map(|value| (Known::Email, value));
        email.into_iter().chain(self.external.as_deref().map(|value| (Known::External, value)))
    }
}

/// A person whom the business knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Contact {
    #[schema(value_type = String)]
    pub id: ContactId,
    pub email: Option<String>,
    pub external_id: Option<String>,
    pub first_name: String,
    pub last_name: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Millis,
}

pub(super) const COLUMNS: &str = "id, email, external, first_name, last_name, created_at";

pub(super) fn id(row: &AnyRow, column: usize) -> Result<FactId, CatalogError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| CatalogError::Corrupt(format!("`{text}` is no id")))
}

pub(super) fn from_row(row: &AnyRow) -> Result<Contact, CatalogError> {
    Ok(Contact {
        id: id(row, 0)?,
        email: row.try_get(1)?,
        external_id: row.try_get(2)?,
        first_name: row.try_get(3)?,
        last_name: row.try_get(4)?,
        created_at: Millis(row.try_get(5)?),
    })
}

/// When a contact was made, and who it is.
pub(super) fn known(kind: Known, value: &str) -> Statement {
    statement(
        "SELECT c.id, c.created_at FROM contact_keys AS k JOIN contacts AS c ON c.id = k.contact \
         WHERE k.kind = $1 AND k.value = $2",
    )
    .bind(kind.word())
    .bind(value)
}

impl Recording {
    /// The contact that this person is, made where nobody knows them; and whether they were known. Names that are told
    /// take the place of none.
    pub async fn contact(&mut self, person: &Person) -> Result<(ContactId, bool), CatalogError> {
        let mut found: Vec<(i64, ContactId)> = Vec::new();
        let mut missing = Vec::new();
        for (kind, value) in person.keys() {
            match self.known(kind, value).await? {
                Some(known) if !found.contains(&known) => found.push(known),
                Some(_) => {}
                None => missing.push((kind, value)),
            }
        }
        found.sort();
        let Some((_, contact)) = found.first().copied() else {
            let contact = self.make(person).await?;
            self.name_keys(contact, &missing).await?;
            return Ok((contact, false));
        };
        for (_, younger) in &found[1..] {
            self.unite(contact, *younger).await?;
        }
        self.name_keys(contact, &missing).await?;
        self.name(contact, person).await?;
        Ok((contact, true))
    }

    /// When a contact was made, and who it is.
    async fn known(&mut self, kind: Known, value: &str) -> Result<Option<(i64, ContactId)>, CatalogError> {
        let row = known(kind, value).first(&mut self.writing).await?;
        row.map(|row| Ok((row.try_get(1)?, id(&row, 0)?))).transpose()
    }

    /// Whoever is known by this.
    pub async fn contact_by(&mut self, kind: Known, value: &str) -> Result<Option<ContactId>, CatalogError> {
        Ok(self.known(kind, value).await?.map(|(_, contact)| contact))
    }

    async fn make(&mut self, person: &Person) -> Result<ContactId, CatalogError> {
        let contact = self.fresh_id()?;
        statement(
            "INSERT INTO contacts (id, email, external, first_name, last_name, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6)",
        )
        .bind(contact.to_string())
        .bind(person.email.clone())
        .bind(person.external.clone())
        .bind(person.first_name.clone())
        .bind(person.last_name.clone())
        .bind(self.now().0)
        .later(&mut self.writing);
        Ok(contact)
    }

    async fn name_keys(&mut self, contact: ContactId, keys: &[(Known, &str)]) -> Result<(), CatalogError> {
        for (kind, value) in keys {
            let normal = (*kind == Known::Email).then(|| mail::normal(value));
            statement("INSERT INTO contact_keys (kind, value, contact, normal) VALUES ($1, $2, $3, $4)")
                .bind(kind.word())
                .bind((*value).to_owned())
                .bind(contact.to_string())
                .bind(normal)
                .later(&mut self.writing);
        }
        Ok(())
    }

    async fn name(&mut self, contact: ContactId, person: &Person) -> Result<(), CatalogError> {
        statement(
            "UPDATE contacts SET email = COALESCE(email, $2), external = COALESCE(external, $3), \
             first_name = CASE WHEN first_name = '' THEN $4 ELSE first_name END, \
             last_name = CASE WHEN last_name = '' THEN $5 ELSE last_name END, updated_at = $6 \
             WHERE id = $1 AND (email IS NULL OR external IS NULL OR first_name = '' OR last_name = '')",
        )
        .bind(contact.to_string())
        .bind(person.email.clone())
        .bind(person.external.clone())
        .bind(person.first_name.clone())
        .bind(person.last_name.clone())
        .bind(self.now().0)
        .later(&mut self.writing);
        Ok(())
    }

    /// Two that turned out to be one person. A program in which both are referrals keeps the older contact's; what was
    /// issued for the younger one's stays with it, all else is computed anew.
    async fn unite(&mut self, older: ContactId, younger: ContactId) -> Result<(), CatalogError> {
        const FOLDED: &str = "SELECT id FROM referrals WHERE contact = $2 AND program IN \
                              (SELECT program FROM referrals WHERE contact = $1)";
        let issued = format!("SELECT referral FROM rewards WHERE issued_ms IS NOT NULL AND referral IN ({FOLDED})");
        let folded = statement(FOLDED.to_owned())
            .bind(older.to_string())
            .bind(younger.to_string())
            .rows(&mut self.writing)
            .await?;
        self.writing.seen.forget_people();
        self.put.clear();
        for row in folded.iter() {
            self.writing.moved.referrals.insert(id(row, 0)?);
        }
        self.united = true;
        for change in [
            format!("DELETE FROM rewards WHERE referral IN ({FOLDED}) AND issued_ms IS NULL"),
            format!("DELETE FROM referrals WHERE id IN ({FOLDED}) AND id NOT IN ({issued})"),
            format!(
                "UPDATE referrals SET state = 'rejected', reason = 'this person is another referral of the program' \
                 WHERE id IN ({FOLDED})"
            ),
            format!("UPDATE referrals SET contact = $1 WHERE contact = $2 AND id NOT IN ({FOLDED})"),
            "UPDATE contact_keys SET contact = $1 WHERE contact = $2".to_owned(),
            "INSERT INTO contact_visitors (contact, visitor, at_ms, history) SELECT CAST($1 AS TEXT), visitor, at_ms, history \
             FROM contact_visitors WHERE contact = $2 ON CONFLICT (contact, visitor) DO UPDATE SET at_ms = excluded.at_ms \
             WHERE excluded.at_ms < contact_visitors.at_ms"
                .to_owned(),
            "DELETE FROM contact_visitors WHERE contact = $2 AND contact <> $1".to_owned(),
            "UPDATE leads SET contact = $1 WHERE contact = $2".to_owned(),
            "UPDATE conversions SET contact = $1 WHERE contact = $2".to_owned(),
            "UPDATE rulings SET contact = $1 WHERE contact = $2".to_owned(),
            "UPDATE contacts SET same_as = $1 WHERE id = $2".to_owned(),
        ] {
            statement(change).bind(older.to_string()).bind(younger.to_string()).later(&mut self.writing);
        }
        let names = statement(format!("SELECT {COLUMNS} FROM contacts WHERE id = $1"))
            .bind(younger.to_string())
            .only(&mut self.writing)
            .await?;
        let Contact { email, external_id, first_name, last_name, .. } = from_row(&names)?;
        self.name(older, &Person { email, external: external_id, first_name, last_name }).await
    }
}
