//! Conversions that name their person in several ways, and payments that have several names.
//!
//! Providers tell one payment in several events, each with other names for the person and for the payment, in any order. So
//! nothing here depends on which came first: whose a conversion is follows from all names that are known by now, and the
//! name that a payment goes by is the least of all that were ever told together.

use std::collections::BTreeSet;

use sqlx::Row;

use super::{
    super::{
        CatalogError,
        trip::{Statement, statement},
    },
    Recording,
    contact::{ContactId, Known, id},
    fact::ConversionRow,
};
use crate::core::fact::FactId;

/// One way in which a person was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The lowest one that leads to somebody counts.
    pub place: i64,
    pub kind: NameKind,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// The id of a click that a lead came with.
    Click,
    Email,
    External,
    /// A provider's own id for the person: stands for whatever was told together with it.
    Customer,
}

impl NameKind {
    pub const fn word(self) -> &'static str {
        match self {
            NameKind::Click => "click",
            NameKind::Email => "email",
            NameKind::External => "external",
            NameKind::Customer => "customer",
        }
    }
}

/// A payment's names in the order in which one of them is chosen: an invoice, a payment intent, a charge, anything else.
fn class(name: &str) -> usize {
    ["in_", "pi_", "ch_", "py_"].iter().position(|prefix| name.starts_with(prefix)).unwrap_or(9)
}

/// Conversions that something new about this name concerns.
pub(super) fn named(kind: &str, value: &str) -> Statement {
    statement(
        "SELECT conversion FROM conversion_names WHERE kind = $1 AND value = $2 \
         UNION SELECT other.conversion FROM conversion_names AS named \
         JOIN conversion_names AS customer ON customer.conversion = named.conversion AND customer.kind = 'customer' \
         JOIN conversion_names AS other ON other.kind = 'customer' AND other.value = customer.value \
         WHERE named.kind = $1 AND named.value = $2",
    )
    .bind(kind)
    .bind(value)
}

/// The name that a payment goes by.
pub(super) fn payment(name: &str) -> Statement {
    statement("SELECT invoice FROM payment_names WHERE name = $1").bind(name)
}

impl Recording {
    /// Further names of a conversion's person; of one that was told by names, others have said whose they are.
    pub async fn add_names(&mut self, conversion: FactId, names: &[Name]) -> Result<(), CatalogError> {
        if !self.is_named(conversion).await? {
            return Ok(());
        }
        for name in names {
            statement(
                "INSERT INTO conversion_names (conversion, place, kind, value) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (conversion, kind, value) DO UPDATE SET place = \
                 CASE WHEN excluded.place < conversion_names.place THEN excluded.place ELSE conversion_names.place END",
            )
            .bind(conversion.to_string())
            .bind(name.place)
            .bind(name.kind.word())
            .bind(name.value.clone())
            .later(&mut self.writing);
        }
        Ok(())
    }

    /// Something new is known of these names: conversions that they concern go to whom they belong to now. Gives the
    /// contacts that have lost or won one.
    pub async fn rematch(&mut self, names: &[(&str, &str)]) -> Result<BTreeSet<ContactId>, CatalogError> {
        let mut conversions = BTreeSet::new();
        for (kind, value) in names {
            let rows = named(kind, value).rows(&mut self.writing).await?;
            for row in rows.iter() {
                conversions.insert(id(row, 0)?);
            }
        }
        let mut concerned = BTreeSet::new();
        for conversion in conversions {
            let (before, now) = (self.contact_of(conversion).await?, self.named(conversion).await?);
            if before != now {
                self.give(conversion, now).await?;
                self.united |= before.is_some();
                concerned.extend(before.into_iter().chain(now));
            }
        }
        Ok(concerned)
    }

    /// Whose a conversion is.
    pub async fn contact_of(&mut self, conversion: FactId) -> Result<Option<ContactId>, CatalogError> {
        let row = statement("SELECT contact FROM conversions WHERE id = $1 AND contact IS NOT NULL")
            .bind(conversion.to_string())
            .first(&mut self.writing)
            .await?;
        row.map(|row| id(&row, 0)).transpose()
    }

    async fn give(&mut self, conversion: FactId, contact: Option<ContactId>) -> Result<(), CatalogError> {
        statement("UPDATE conversions SET contact = $2 WHERE id = $1")
            .bind(conversion.to_string())
            .bind(contact.map(|contact| contact.to_string()))
            .later(&mut self.writing);
        Ok(())
    }

    async fn is_named(&mut self, conversion: FactId) -> Result<bool, CatalogError> {
        let row = statement("SELECT id FROM conversions WHERE id = $1 AND told_by = 'names'")
            .bind(conversion.to_string())
            .first(&mut self.writing)
            .await?;
        Ok(row.is_some())
    }

    /// Gives a conversion that was told by names to whom it belongs.
    async fn give_by_names(&mut self, conversion: FactId) -> Result<(), CatalogError> {
        if !self.is_named(conversion).await? {
            return Ok(());
        }
        let now = self.named(conversion).await?;
        self.give(conversion, now).await
    }

    /// Whose a conversion is by its names; where they lead to nobody, by those that were told with the same customer.
    async fn named(&mut self, conversion: FactId) -> Result<Option<ContactId>, CatalogError> {
        let own = "SELECT DISTINCT place, kind, value FROM conversion_names WHERE conversion = $1 AND kind <> 'customer' \
                   ORDER BY place, kind, value";
        let of_customer = "SELECT DISTINCT other.place, other.kind, other.value FROM conversion_names AS own \
                           JOIN conversion_names AS same ON same.kind = 'customer' AND same.value = own.value \
                           JOIN conversion_names AS other ON other.conversion = same.conversion AND other.kind <> 'customer' \
                           WHERE own.conversion = $1 AND own.kind = 'customer' ORDER BY other.place, other.kind, other.value";
        for sql in [own, of_customer] {
            let rows = statement(sql).bind(conversion.to_string()).rows(&mut self.writing).await?;
            for row in rows.iter() {
                let (kind, value): (&str, &str) = (row.try_get(1)?, row.try_get(2)?);
                if let Some(contact) = self.whose(kind, value).await? {
                    return Ok(Some(contact));
                }
            }
        }
        Ok(None)
    }

    async fn whose(&mut self, kind: &str, value: &str) -> Result<Option<ContactId>, CatalogError> {
        match kind {
            "click" => match value.parse::<FactId>() {
                Ok(click) => self.contact_of_click(crate::core::id::EventId(click.0)).await,
                Err(_) => Ok(None),
            },
            "email" => self.contact_by(Known::Email, value).await,
            "external" => self.contact_by(Known::External, value).await,
            _ => Ok(None),
        }
    }

    /// The name that a payment goes by, as far as we know.
    pub async fn payment(&mut self, name: &str) -> Result<String, CatalogError> {
        let row = payment(name).first(&mut self.writing).await?;
        row.map_or_else(|| Ok(name.to_owned()), |row| Ok(row.try_get(0)?))
    }

    /// These names are of one payment, `payment` is its fingerprint's hash. Gives the name that it goes by, and the contacts
    /// whose facts have moved.
    pub async fn one_payment(
        &mut self,
        names: &[String],
        payment: Option<&str>,
    ) -> Result<(String, BTreeSet<ContactId>), CatalogError> {
        let mut known = BTreeSet::new();
        for name in names {
            known.insert(self.payment(name).await?);
        }
        let best = known.iter().chain(names).min_by_key(|name| (class(name), name.as_str()));
        let Some(best) = best.cloned() else { return Ok((String::new(), BTreeSet::new())) };
        let mut concerned = BTreeSet::new();
        for before in known.iter().filter(|before| **before != best) {
            statement("UPDATE payment_names SET invoice = $2 WHERE invoice = $1")
                .bind(before.clone())
                .bind(best.clone())
                .later(&mut self.writing);
            concerned.extend(self.rename(before, &best).await?);
        }
        for name in names {
            statement("INSERT INTO payment_names (name, invoice, payment) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET \
                 invoice = excluded.invoice, payment = COALESCE(excluded.payment, payment_names.payment)")
            .bind(name.clone())
            .bind(best.clone())
            .bind(payment.map(str::to_owned))
            .later(&mut self.writing);
        }
        concerned.extend(self.mark_payment(&best).await?);
        Ok((best, concerned))
    }

    /// Facts that were told under another name of the payment.
    async fn rename(&mut self, before: &str, now: &str) -> Result<BTreeSet<ContactId>, CatalogError> {
        let mut concerned = BTreeSet::new();
        concerned.extend(self.contact_of_invoice(before).await?);
        concerned.extend(self.contact_of_invoice(now).await?);
        let told = |row: Option<sqlx::any::AnyRow>| {
            row.map(|row| Ok::<_, CatalogError>((id(&row, 0)?, row.try_get::<i64, _>(1)?)))
        };
        let mut found = Vec::new();
        for invoice in [before, now] {
            let row = sqlx::query("SELECT id, standing FROM conversions WHERE invoice = $1")
                .bind(invoice.to_owned())
                .fetch_optional(self.writing.tx().await?)
                .await?;
            found.push(told(row).transpose()?);
        }
        // Told twice under two names: the one with the higher standing stays, and has the names of both.
        if let [Some((first, first_standing)), Some((second, second_standing))] = found[..] {
            let (stays, goes) = if first_standing > second_standing { (first, second) } else { (second, first) };
            for sql in [
                "INSERT INTO conversion_names (conversion, place, kind, value) SELECT CAST($1 AS TEXT), place, kind, value \
                 FROM conversion_names WHERE conversion = $2 ON CONFLICT (conversion, kind, value) DO NOTHING",
                "DELETE FROM conversion_names WHERE conversion = $2 AND $1 <> $2",
                "DELETE FROM conversions WHERE id = $2 AND $1 <> $2",
                "DELETE FROM conversion_names WHERE conversion = $1 AND $1 <> $2 \
                 AND NOT EXISTS (SELECT 1 FROM conversions WHERE id = $1 AND told_by = 'names')",
            ] {
                sqlx::query(sql)
                    .bind(stays.to_string())
                    .bind(goes.to_string())
                    .execute(self.writing.tx().await?)
                    .await?;
            }
            self.give_by_names(stays).await?;
        }
        for sql in [
            "UPDATE conversions SET invoice = $2 WHERE invoice = $1",
            "UPDATE refunds SET invoice = $2 WHERE invoice = $1",
        ] {
            sqlx::query(sql).bind(before.to_owned()).bind(now.to_owned()).execute(self.writing.tx().await?).await?;
        }
        concerned.extend(self.contact_of_invoice(now).await?);
        Ok(concerned)
    }

    /// A conversion has the fingerprint that any name of its payment was told with. Gives whose it is, where that is news.
    pub async fn mark_payment(&mut self, invoice: &str) -> Result<Option<ContactId>, CatalogError> {
        let changed = sqlx::query(
            "UPDATE conversions SET payment = (SELECT MIN(payment) FROM payment_names WHERE invoice = $1) \
             WHERE invoice = $1 AND payment IS NULL \
             AND EXISTS (SELECT 1 FROM payment_names WHERE invoice = $1 AND payment IS NOT NULL)",
        )
        .bind(invoice.to_owned())
        .execute(self.writing.tx().await?)
        .await?;
        if changed.rows_affected() == 0 { Ok(None) } else { self.contact_of_invoice(invoice).await }
    }

    /// The same conversion as somebody else tells it: their word counts where it stands higher. Whether it did.
    pub async fn retold(&mut self, conversion: FactId, told: &ConversionRow) -> Result<bool, CatalogError> {
        let changed = sqlx::query(
            "UPDATE conversions SET program = $3, event = $4, amount = $5, currency = $6, source = $7, digest = $8, at_ms = $9, \
             standing = $2 WHERE id = $1 AND standing < $2",
        )
        .bind(conversion.to_string())
        .bind(told.standing)
        .bind(told.program.as_ref().map(crate::core::code::Code::to_string))
        .bind(told.event.clone())
        .bind(told.money.map(|money| money.amount))
        .bind(told.money.map(|money| money.currency.code()))
        .bind(told.source.clone())
        .bind(told.digest.clone())
        .bind(told.at.0)
        .execute(self.writing.tx().await?)
        .await?;
        Ok(changed.rows_affected() > 0)
    }
}
