//! Everything that is kept about somebody, one section a kind.

use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Column, Row, any::AnyRow};

use super::{PersonKey, Terms, places, terms::fields_named};
use crate::{
    catalog::{Catalog, CatalogError, entity::Binder, read::escape_like},
    core::{
        id::{EventId, VisitorId},
        limits::PERSON_ROWS_MAX,
        time::Millis,
    },
};

/// What the catalog has of a person.
#[derive(Clone, Debug, Default)]
pub struct Export {
    /// Sections by name, each a list of rows.
    pub sections: Map<String, Value>,
    /// Sections that have more rows than an export shows.
    pub truncated: Vec<String>,
    /// What the event store is to be asked for.
    pub visitors: Vec<VisitorId>,
    pub clicks: Vec<EventId>,
}

impl Export {
    /// Nothing is known of anybody by this name.
    pub fn is_empty(&self) -> bool {
        self.sections.values().all(|rows| rows.as_array().is_none_or(Vec::is_empty))
    }
}

/// Texts that hold JSON.
const JSON: &[&str] = &["metadata", "credited", "decision", "body", "programs", "allowed"];

impl Catalog {
    /// What is kept about a person here. Answers, the outbox and deliveries are searched for the person's ids and address.
    pub async fn person(&self, key: &PersonKey) -> Result<Export, CatalogError> {
        let contacts = self.person_contacts(key).await?;
        let mut export = Export::default();
        let names = self.names_of(key, &contacts).await?;
        for (section, sql) in SECTIONS {
            self.section(&mut export, section, sql, &contacts, &names).await?;
        }
        self.searched(&mut export, &contacts, &names).await?;
        let texts = |section: &str, field: &str| {
            let mut found = Vec::new();
            if let Some(rows) = export.sections.get(section) {
                fields_named(rows, field, &mut found);
            }
            found
        };
        let (visitors, clicks) = (texts("visitors", "visitor"), texts("leads", "click"));
        export.visitors = visitors.iter().filter_map(|id| visitor(id)).collect();
        export.clicks = clicks.iter().filter_map(|id| id.parse().ok()).collect();
        Ok(export)
    }

    /// E-mail addresses and external ids of a person, the one they were asked for by among them.
    async fn names_of(&self, key: &PersonKey, contacts: &[String]) -> Result<[Vec<String>; 2], CatalogError> {
        let mut row = Binder::default();
        let sql = format!("SELECT kind, value FROM contact_keys WHERE contact IN ({})", places(contacts, &mut row));
        let (mut emails, mut externals) = (Vec::new(), Vec::new());
        for row in self.rows(sqlx::query_with(AssertSqlSafe(sql), row.arguments)).await? {
            let list = if row.try_get::<&str, _>(0)? == "email" { &mut emails } else { &mut externals };
            list.push(row.try_get(1)?);
        }
        let list = if matches!(key, PersonKey::Email(_)) { &mut emails } else { &mut externals };
        if !list.iter().any(|known: &String| known == key.value()) {
            list.push(key.value().to_owned());
        }
        Ok([emails, externals])
    }

    async fn section(
        &self,
        export: &mut Export,
        section: &str,
        sql: &str,
        contacts: &[String],
        [emails, externals]: &[Vec<String>; 2],
    ) -> Result<(), CatalogError> {
        let mut row = Binder::default();
        let contacts = places(contacts, &mut row);
        let emails = places(emails, &mut row);
        let externals = places(externals, &mut row);
        let sql = sql.replace("{contacts}", &contacts).replace("{emails}", &emails).replace("{externals}", &externals);
        let sql = format!("{sql} LIMIT {}", PERSON_ROWS_MAX + 1);
        let rows = self.rows(sqlx::query_with(AssertSqlSafe(sql), row.arguments)).await?;
        keep(export, section, &rows)
    }

    /// What names them in texts.
    async fn searched(
        &self,
        export: &mut Export,
        contacts: &[String],
        [emails, _]: &[Vec<String>; 2],
    ) -> Result<(), CatalogError> {
        let named = Terms { contacts: contacts.to_vec(), emails: emails.clone(), ..Terms::default() };
        for (section, sql) in SEARCHED {
            let mut row = Binder::default();
            let mut conditions = Vec::new();
            for text in contacts.iter().chain(emails) {
                row.text(&format!("%{}%", escape_like(&text.to_lowercase())));
                conditions.push(format!("lower({{text}}) LIKE ${} ESCAPE '\\'", row.len()));
            }
            let texts: &[&str] = match *section {
                "deliveries" => &["o.body", "d.answer"],
                "uploads" => &["cells", "reason"],
                _ => &["body"],
            };
            let all: Vec<String> = texts.iter().map(|text| conditions.join(" OR ").replace("{text}", text)).collect();
            let sql = format!("{sql} AND ({}) ORDER BY 1, 2 LIMIT {}", all.join(" OR "), PERSON_ROWS_MAX + 1);
            let rows = self.rows(sqlx::query_with(AssertSqlSafe(sql), row.arguments)).await?;
            keep(export, section, &rows)?;
            // What ends with the address may be somebody else's.
            if let Some(Value::Array(rows)) = export.sections.get_mut(*section) {
                rows.retain(|row| named.is_named_in_json(row));
            }
        }
        Ok(())
    }
}

/// Section and statement. The browsers of a person and their clicks lead on to the event store.
const SECTIONS: &[(&str, &str)] = &[
    (
        "contacts",
        "SELECT id, email, external AS external_id, first_name, last_name, same_as, created_at, updated_at FROM contacts \
         WHERE id IN ({contacts}) ORDER BY id",
    ),
    ("known_by", "SELECT kind, value FROM contact_keys WHERE contact IN ({contacts}) ORDER BY kind, value"),
    ("visitors", "SELECT visitor, at_ms FROM contact_visitors WHERE contact IN ({contacts}) ORDER BY at_ms, visitor"),
    (
        "touches",
        "SELECT visitor, click, program, link, partner, ad, at_ms FROM touches WHERE visitor IN \
         (SELECT visitor FROM contact_visitors WHERE contact IN ({contacts})) ORDER BY at_ms, click",
    ),
    (
        "leads",
        "SELECT id, program, contact, click, metadata, credited, decision, at_ms, told_ms FROM leads \
         WHERE contact IN ({contacts}) ORDER BY at_ms, id",
    ),
    (
        "conversions",
        "SELECT id, invoice, contact, told_by, told_as, program, event, amount, currency, source, at_ms, told_ms \
         FROM conversions WHERE contact IN ({contacts}) OR (told_by = 'email' AND told_as IN ({emails})) \
         OR (told_by = 'external' AND told_as IN ({externals})) ORDER BY at_ms, id",
    ),
    (
        "conversion_names",
        "SELECT conversion, place, kind, value FROM conversion_names WHERE conversion IN (SELECT id FROM conversions \
         WHERE contact IN ({contacts})) OR (kind = 'email' AND value IN ({emails})) \
         OR (kind = 'external' AND value IN ({externals})) ORDER BY conversion, place, kind, value",
    ),
    (
        "refunds",
        "SELECT id, invoice, amount, reason, at_ms, told_ms FROM refunds WHERE invoice IN (SELECT invoice FROM conversions \
         WHERE contact IN ({contacts}) OR (told_by = 'email' AND told_as IN ({emails})) \
         OR (told_by = 'external' AND told_as IN ({externals}))) ORDER BY at_ms, id",
    ),
    (
        "rulings",
        "SELECT id, program, contact, verdict, note, at_ms, told_ms FROM rulings WHERE contact IN ({contacts}) \
         ORDER BY at_ms, id",
    ),
    (
        "referrals",
        "SELECT id, program, contact, partner, link, ad, click, lead, state, state_ms, reason, since_ms FROM referrals \
         WHERE contact IN ({contacts}) ORDER BY since_ms, id",
    ),
    (
        "rewards",
        "SELECT id, referral, program, partner, rule, side, cause, level, amount, currency, gift, state, reason, earned_ms, \
         held_ms, issued_ms, reference FROM rewards WHERE referral IN (SELECT id FROM referrals \
         WHERE contact IN ({contacts})) ORDER BY earned_ms, id",
    ),
    (
        "mails",
        "SELECT id, recipient, subject, text_body AS text, html_body AS html, state, created_at, done_at, error FROM mails \
         WHERE lower(recipient) IN ({emails}) ORDER BY created_at, id",
    ),
    (
        "login_codes",
        "SELECT program, tries, used, created_at, expires_at FROM login_codes WHERE email IN ({emails}) ORDER BY created_at",
    ),
    ("sessions", "SELECT created_at, expires_at FROM sessions WHERE email IN ({emails}) ORDER BY created_at"),
    (
        "partners",
        "SELECT code, name, first_name, email, parent, programs, status, allowed, created_at, updated_at FROM partners \
         WHERE lower(email) IN ({emails}) ORDER BY code",
    ),
];

/// The same for what names them in texts; a condition is added.
const SEARCHED: &[(&str, &str)] = &[
    ("outbox", "SELECT seq, kind, program, at_ms, body FROM outbox WHERE 1 = 1"),
    (
        "deliveries",
        "SELECT d.webhook, d.number, d.seq, d.kind, d.attempt, d.at_ms, d.result, d.status, d.error, d.answer, o.body \
         FROM webhook_deliveries AS d LEFT JOIN outbox AS o ON o.seq = d.seq WHERE 1 = 1",
    ),
    ("uploads", "SELECT upload, line, reason, cells AS body FROM upload_refused WHERE 1 = 1"),
    ("answers", "SELECT scope, token, status, body, at_ms FROM answers WHERE 1 = 1"),
];

fn visitor(text: &str) -> Option<VisitorId> {
    uuid::Uuid::try_parse(text).ok().map(|id| VisitorId(id.into_bytes()))
}

fn keep(export: &mut Export, section: &str, rows: &[AnyRow]) -> Result<(), CatalogError> {
    let most = PERSON_ROWS_MAX as usize;
    if rows.len() > most {
        export.truncated.push(section.to_owned());
    }
    let rows = rows.iter().take(most).map(object).collect::<Result<Vec<_>, _>>()?;
    export.sections.insert(section.to_owned(), Value::Array(rows));
    Ok(())
}

/// A row as an object: times as RFC 3339, JSON as what it is.
fn object(row: &AnyRow) -> Result<Value, CatalogError> {
    let mut fields = Map::new();
    for (at, column) in row.columns().iter().enumerate() {
        let name = column.name();
        let value = match (row.try_get::<Option<String>, _>(at), row.try_get::<Option<i64>, _>(at)) {
            (Ok(Some(text)), _) if JSON.contains(&name) => {
                serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text))
            }
            (Ok(Some(text)), _) => Value::String(text),
            (_, Ok(Some(number))) if name.ends_with("_ms") || name.ends_with("_at") => json!(Millis(number)),
            (_, Ok(Some(number))) => json!(number),
            (Ok(None), _) | (_, Ok(None)) => Value::Null,
            // A SMALLINT of PostgreSQL.
            (Err(_), Err(_)) => json!(row.try_get::<Option<i32>, _>(at)?),
        };
        let name = name.strip_suffix("_ms").map_or_else(|| name.to_owned(), |name| format!("{name}_at"));
        fields.insert(if name == "at_at" { "at".to_owned() } else { name }, value);
    }
    Ok(Value::Object(fields))
}
