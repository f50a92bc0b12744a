//! A person, everywhere in the catalog: told to them, and erased.
//!
//! **Promise of an erasure.** The call that asks for it takes away, in one transaction, what says who the person is: e-mail,
//! external id, names, browsers, metadata, notes, the clicks that their leads name, mails to them, and a partner's name and
//! address where they are one. What the business must be able to prove stays and points to nobody: a contact without a name, its
//! leads, conversions, referrals and rewards with their amounts and states. What is said of them in other places is gone through
//! afterwards, step by step, and each step is committed with how far it came: a kill at any moment ends complete. Whoever is
//! told of again is a new person.
//!
//! Between the call and its end the erasure itself remembers what it looks for (`terms`, `erasure_visitors`); nothing leads
//! from there to anything that stays. That is emptied when it is closed: after the time in which late events may still come.
//!
//! | file | |
//! |---|---|
//! | `export` | everything that is kept about somebody |
//! | `erase` | what goes at once |
//! | `terms` | what is looked for in texts |
//! | `work` `files` | what is gone through afterwards: mails, the outbox, deliveries, answers, uploaded files, the event store |

use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::AssertSqlSafe;
use sqlx::Row;

use super::{Catalog, CatalogError, entity::Binder};
use crate::core::time::Millis;

mod erase;
mod export;
mod files;
mod terms;
mod work;

pub use terms::Terms;
pub use work::Erasing;

/// By what a person is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersonKey {
    /// In lower case.
    Email(String),
    External(String),
}

impl PersonKey {
    pub fn email(text: &str) -> PersonKey {
        PersonKey::Email(text.trim().to_lowercase())
    }

    const fn kind(&self) -> &'static str {
        match self {
            PersonKey::Email(_) => "email",
            PersonKey::External(_) => "external",
        }
    }

    fn value(&self) -> &str {
        match self {
            PersonKey::Email(value) | PersonKey::External(value) => value,
        }
    }
}

/// How an erasure fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasureState {
    /// Places are gone through.
    Running,
    /// Everything that was there is gone. Late events are still looked for.
    Complete,
    /// It has forgotten what it looked for.
    Closed,
}

impl ErasureState {
    const fn word(self) -> &'static str {
        match self {
            ErasureState::Running => "running",
            ErasureState::Complete => "complete",
            ErasureState::Closed => "closed",
        }
    }

    fn from_word(word: &str) -> Option<ErasureState> {
        [ErasureState::Running, ErasureState::Complete, ErasureState::Closed].into_iter().find(|s| s.word() == word)
    }
}

/// An erasure as others see it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ErasureView {
    pub id: String,
    /// The contact that stays, without a name.
    pub contact: Option<String>,
    pub state: ErasureState,
    /// What is gone through at present.
    pub place: String,
    /// Rows that were changed or deleted, by place.
    pub progress: Map<String, Value>,
    /// Why it does not go on.
    pub problem: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub at: Millis,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub complete_at: Option<Millis>,
    /// Until then events that come late are looked for.
    #[schema(value_type = String, format = DateTime)]
    pub until: Millis,
}

/// `$1, $2, …` for so many values, behind those that are bound already.
fn places(values: &[String], row: &mut Binder) -> String {
    if values.is_empty() {
        return "NULL".to_owned();
    }
    let mut text = Vec::with_capacity(values.len());
    for value in values {
        row.text(value);
        text.push(format!("${}", row.len()));
    }
    text.join(", ")
}

impl Catalog {
    /// The contact that is known by this, and those that turned out to be the same person.
    async fn person_contacts(&self, key: &PersonKey) -> Result<Vec<String>, CatalogError> {
        let sql = "SELECT contact FROM contact_keys WHERE kind = $1 AND value = $2";
        let rows = self.rows(sqlx::query(sql).bind(key.kind()).bind(key.value().to_owned())).await?;
        let mut all: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let mut at = 0;
        while let Some(one) = all.get(at) {
            let sql = "SELECT id FROM contacts WHERE same_as = $1 ORDER BY id";
            let rows = self.rows(sqlx::query(sql).bind(one.clone())).await?;
            for row in &rows {
                let id: String = row.try_get(0)?;
                if !all.contains(&id) {
                    all.push(id);
                }
            }
            at += 1;
        }
        Ok(all)
    }

    /// One erasure.
    pub async fn erasure(&self, id: &str) -> Result<ErasureView, CatalogError> {
        let not_found = || CatalogError::NotFound { kind: "erasure", code: id.to_owned() };
        if id.contains('\0') {
            return Err(not_found());
        }
        let sql = format!("SELECT {} FROM erasures WHERE id = $1", work::VIEW);
        let rows = self.rows(sqlx::query(AssertSqlSafe(sql)).bind(id.to_owned())).await?;
        work::view(rows.first().ok_or_else(not_found)?)
    }
}
