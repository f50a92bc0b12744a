//! What goes at once: everything that the catalog finds by a key. One transaction, with the row of the erasure that goes on
//! from there.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row};

use super::{
    ErasureView, PersonKey, Terms, places,
    terms::{fields_named, without_field},
    work,
};
use crate::{
    catalog::{
        Catalog, CatalogError, Partner, Program,
        audit::{Change, Deed},
        entity::Binder,
        read::escape_like,
        record::ERASED,
        write::Writing,
    },
    core::id::EventId,
};

impl Catalog {
    /// Erases a person: at once what is found by a key, afterwards what is gone through. One that is still under way for the same
    /// person is given back as it is. `late` is how long events may still be on their way.
    pub async fn erase_person(&self, key: &PersonKey, late: Duration) -> Result<ErasureView, CatalogError> {
        let contacts = self.person_contacts(key).await?;
        if contacts.is_empty()
            && let Some(running) = self.running_erasure(key).await?
        {
            return Ok(running);
        }
        let mut writing = Writing::begin(self).await?;
        writing.lock_outbox().await?;
        let terms = writing.terms(key, contacts).await?;
        let id = EventId::new(writing.now, crate::io::random::bytes()?).to_string();
        let late = i64::try_from(late.as_millis()).unwrap_or(i64::MAX);
        writing.open_erasure(&id, &terms, late).await?;
        writing.take_visitors(&id, &terms).await?;
        writing.clear_facts(&terms).await?;
        writing.clear_contacts(&terms.contacts).await?;
        writing.clear_mails(&terms).await?;
        writing.clear_logins(&terms).await?;
        writing.clear_partners(&terms).await?;
        writing.clear_notify(&terms).await?;
        let contact = terms.contacts.first().cloned().map_or(Value::Null, Value::from);
        let changes = vec![Change::new("contact", Value::Null, contact)];
        writing.audit(Deed::new("erase", "person", id.clone()).with(changes));
        writing.commit().await?;
        self.erasure(&id).await
    }

    /// An erasure that looks for this name and is not through yet.
    async fn running_erasure(&self, key: &PersonKey) -> Result<Option<ErasureView>, CatalogError> {
        let sql = format!("SELECT {}, terms FROM erasures WHERE state = 'running' ORDER BY id DESC", work::VIEW);
        for row in self.rows(sqlx::query(AssertSqlSafe(sql))).await? {
            let terms: &str = row.try_get("terms")?;
            let terms: Terms = serde_json::from_str(terms).unwrap_or_default();
            let list = if matches!(key, PersonKey::Email(_)) { &terms.emails } else { &terms.externals };
            if list.iter().any(|known| known == key.value()) {
                return work::view(&row).map(Some);
            }
        }
        Ok(None)
    }
}

impl Writing {
    /// A statement over the contacts, whose texts are `$1, …` behind the values.
    async fn run_over(&mut self, sql: &str, values: &[&str], list: &[String]) -> Result<u64, CatalogError> {
        let mut row = Binder::default();
        values.iter().for_each(|value| row.text(value));
        let sql = sql.replace("{list}", &places(list, &mut row));
        let done = sqlx::query_with(AssertSqlSafe(sql), row.arguments).execute(self.tx().await?).await?;
        Ok(done.rows_affected())
    }

    async fn found(&mut self, sql: &str, list: &[String]) -> Result<Vec<sqlx::any::AnyRow>, CatalogError> {
        let mut row = Binder::default();
        let sql = sql.replace("{list}", &places(list, &mut row));
        Ok(sqlx::query_with(AssertSqlSafe(sql), row.arguments).fetch_all(self.tx().await?).await?)
    }

    /// By what the person may be named, before any of it is gone.
    async fn terms(&mut self, key: &PersonKey, contacts: Vec<String>) -> Result<Terms, CatalogError> {
        let mut terms = Terms { contacts, ..Terms::default() };
        let known = "SELECT kind, value FROM contact_keys WHERE contact IN ({list}) \
                     UNION SELECT 'email', email FROM contacts WHERE id IN ({list}) AND email IS NOT NULL \
                     UNION SELECT 'external', external FROM contacts WHERE id IN ({list}) AND external IS NOT NULL";
        let mut names: Vec<(bool, String)> = vec![(matches!(key, PersonKey::Email(_)), key.value().to_owned())];
        for row in self.found(known, &terms.contacts.clone()).await? {
            names.push((row.try_get::<&str, _>(0)? == "email", row.try_get(1)?));
        }
        for (is_email, name) in names {
            let (list, name) =
                if is_email { (&mut terms.emails, name.to_lowercase()) } else { (&mut terms.externals, name) };
            if !list.contains(&name) {
                list.push(name);
            }
        }
        // The click that a lead came with, and those that it was credited by, or might have been.
        for row in self
            .found("SELECT click, credited, decision FROM leads WHERE contact IN ({list})", &terms.contacts.clone())
            .await?
        {
            let told = json!({ "click": row.try_get::<Option<String>, _>(0)? });
            fields_named(&told, "click", &mut terms.clicks);
            for at in [1, 2] {
                let json: Value = serde_json::from_str(row.try_get(at)?).unwrap_or_default();
                fields_named(&json, "click", &mut terms.clicks);
            }
        }
        let partners = "SELECT code FROM partners WHERE lower(email) IN ({list})";
        for row in self.found(partners, &terms.emails.clone()).await? {
            terms.partners.push(row.try_get(0)?);
        }
        Ok(terms)
    }

    async fn open_erasure(&mut self, id: &str, terms: &Terms, late: i64) -> Result<(), CatalogError> {
        sqlx::query(
            "INSERT INTO erasures (id, contact, state, place, position, terms, progress, at_ms, look_at_ms, until_ms) \
             VALUES ($1, $2, 'running', $3, '', $4, '{}', $5, $5, $6)",
        )
        .bind(id.to_owned())
        .bind(terms.contacts.first().cloned())
        .bind(work::PLACES[0])
        .bind(serde_json::to_string(terms).unwrap_or_default())
        .bind(self.now.0)
        .bind(self.now.plus(late).0)
        .execute(self.tx().await?)
        .await?;
        Ok(())
    }

    /// The bond between browsers and person goes; the erasure remembers the browsers until it is closed.
    async fn take_visitors(&mut self, id: &str, terms: &Terms) -> Result<(), CatalogError> {
        let bound = "SELECT DISTINCT visitor FROM contact_visitors WHERE contact IN ({list})";
        for row in self.found(bound, &terms.contacts).await? {
            let replacement = data_encoding::HEXLOWER.encode(&crate::io::random::bytes::<16>()?);
            sqlx::query("INSERT INTO erasure_visitors (erasure, visitor, replacement) VALUES ($1, $2, $3)")
                .bind(id.to_owned())
                .bind(row.try_get::<String, _>(0)?)
                .bind(replacement)
                .execute(self.tx().await?)
                .await?;
        }
        for sql in [
            // Also where somebody else has used the browser: its clicks lose it in the event store, too.
            "DELETE FROM touches WHERE visitor IN (SELECT visitor FROM contact_visitors WHERE contact IN ({list}))",
            "DELETE FROM contact_visitors WHERE contact IN ({list})",
        ] {
            self.run_over(sql, &[], &terms.contacts).await?;
        }
        Ok(())
    }

    /// Facts stay, and what followed from them; what they say of the person goes.
    pub(in crate::catalog) async fn clear_facts(&mut self, terms: &Terms) -> Result<(), CatalogError> {
        for row in
            self.found("SELECT id, credited, decision FROM leads WHERE contact IN ({list})", &terms.contacts).await?
        {
            let [credited, decision] = [1, 2].map(|at| row.try_get::<&str, _>(at).map(without_clicks));
            sqlx::query("UPDATE leads SET click = NULL, network = NULL, metadata = '{}', credited = $2, decision = $3 WHERE id = $1")
                .bind(row.try_get::<String, _>(0)?)
                .bind(credited?)
                .bind(decision?)
                .execute(self.tx().await?)
                .await?;
        }
        let notes = "SELECT DISTINCT note FROM rulings WHERE contact IN ({list}) AND note <> ''";
        for row in self.found(notes, &terms.contacts).await? {
            let note: String = row.try_get(0)?;
            let sql = "UPDATE referrals SET reason = '' WHERE reason = $1 AND contact IN ({list})";
            self.run_over(sql, &[&note], &terms.contacts).await?;
        }
        for sql in [
            "UPDATE refunds SET reason = '' WHERE invoice IN (SELECT invoice FROM conversions WHERE contact IN ({list}))",
            "UPDATE rulings SET note = '' WHERE contact IN ({list})",
            "UPDATE referrals SET click = NULL WHERE contact IN ({list})",
        ] {
            self.run_over(sql, &[], &terms.contacts).await?;
        }
        // Its invoice stays: it makes a repetition harmless, and is in the business's own books. The digest is of the name, too.
        for sql in [
            // A payment's hash is of the person's card.
            "UPDATE payment_names SET payment = NULL WHERE payment IN (SELECT payment FROM conversions WHERE contact IN ({list}))",
            "DELETE FROM conversion_names WHERE conversion IN (SELECT id FROM conversions WHERE contact IN ({list}))",
        ] {
            self.run_over(sql, &[], &terms.contacts).await?;
        }
        for sql in [
            "UPDATE conversions SET told_by = $1, told_as = $1 WHERE told_by <> 'referral' AND contact IN ({list})",
            "UPDATE conversions SET digest = $1, payment = NULL WHERE contact IN ({list})",
        ] {
            self.run_over(sql, &[ERASED], &terms.contacts).await?;
        }
        for (kind, names) in [("email", &terms.emails), ("external", &terms.externals), ("click", &terms.clicks)] {
            let waiting = "UPDATE conversions SET told_by = $1, told_as = $1, digest = $1 \
                           WHERE told_by = $2 AND told_as IN ({list})";
            self.run_over(waiting, &[ERASED, kind], names).await?;
            let named = "DELETE FROM conversion_names WHERE conversion IN (SELECT conversion FROM conversion_names \
                         WHERE kind = $1 AND value IN ({list}))";
            self.run_over(named, &[kind], names).await?;
        }
        Ok(())
    }

    /// Contacts without a name, and without what they were known by.
    pub(in crate::catalog) async fn clear_contacts(&mut self, contacts: &[String]) -> Result<(), CatalogError> {
        self.run_over("DELETE FROM contact_keys WHERE contact IN ({list})", &[], contacts).await?;
        self.run_over("DELETE FROM contact_visitors WHERE contact IN ({list})", &[], contacts).await?;
        let sql =
            "UPDATE contacts SET email = NULL, external = NULL, first_name = '', last_name = '' WHERE id IN ({list})";
        self.run_over(sql, &[], contacts).await.map(drop)
    }

    /// Mails to them; one that was not sent yet is not sent.
    async fn clear_mails(&mut self, terms: &Terms) -> Result<(), CatalogError> {
        self.run_over("DELETE FROM mails WHERE lower(recipient) IN ({list})", &[], &terms.emails).await.map(drop)
    }

    /// Codes that they asked for, and browsers that are logged in with them.
    async fn clear_logins(&mut self, terms: &Terms) -> Result<(), CatalogError> {
        self.run_over("DELETE FROM login_codes WHERE email IN ({list})", &[], &terms.emails).await?;
        self.run_over("DELETE FROM sessions WHERE email IN ({list})", &[], &terms.emails).await.map(drop)
    }

    /// A partner keeps the code, which history speaks of.
    async fn clear_partners(&mut self, terms: &Terms) -> Result<(), CatalogError> {
        for code in &terms.partners {
            let Some(partner) = self.find::<Partner>(&[code]).await? else { continue };
            let nameless = Partner { name: String::new(), first_name: String::new(), email: None, ..partner };
            self.upsert(&[nameless]).await?;
        }
        Ok(())
    }

    async fn clear_notify(&mut self, terms: &Terms) -> Result<(), CatalogError> {
        for email in &terms.emails {
            let sql = "SELECT code FROM programs WHERE lower(notify) LIKE $1 ESCAPE '\\'";
            let pattern = format!("%\"{}\"%", escape_like(email));
            for row in sqlx::query(sql).bind(pattern).fetch_all(self.tx().await?).await? {
                let code: String = row.try_get(0)?;
                let Some(mut program) = self.find::<Program>(&[&code]).await? else { continue };
                program.notify.addresses.retain(|address| !terms.emails.contains(&address.to_lowercase()));
                self.upsert(&[program]).await?;
            }
        }
        Ok(())
    }
}

/// A credit or a decision that names no click.
fn without_clicks(json: &str) -> String {
    match serde_json::from_str::<Value>(json) {
        Ok(mut value) => {
            without_field(&mut value, "click");
            value.to_string()
        }
        Err(_) => json.to_owned(),
    }
}
