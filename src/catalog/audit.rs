//! The audit log: who changed what, written in the transaction of the change.
//!
//! **Promise.** Each change of an item, an endpoint, a token, each ruling, issue, import and erasure has its row, or did not
//! happen. A row says when, who, what was done to which kind and code, and what each field was and is. It holds no secret, and
//! no personal data: fields that may hold some are named, without their values, so that nothing here outlives an erasure.
//! Facts that machines tell (leads, conversions, refunds) are rows with their source and time themselves, and have no second
//! one here.
//!
//! Who calls is known to the task ([`as_caller`]): the API's door, a command or a background part says it once, and every
//! transaction that begins inside finds it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::{AnyConnection, AssertSqlSafe, any::AnyRow};

use super::{
    Catalog, CatalogError, Page,
    entity::{Binder, RowReader},
    write::Writing,
};
use crate::core::{id::EventId, time::Millis};

/// Rows of one statement.
const ROWS: usize = 100;
/// Characters of a value that a row shows.
const VALUE_MAX_CHARS: usize = 2_000;
/// Fields whose values are not shown: they may hold what points to a person, or a secret.
const HIDDEN: &[&str] = &["first_name", "last_name", "email", "external_id", "note", "notify", "secret", "metadata"];
/// The same of partners and their ads, who are people.
const HIDDEN_OF_PARTNERS: &[&str] = &["name", "description"];
/// Ours, and no news.
const TIMES: &[&str] = &["created_at", "updated_at"];

/// Who changes something, and in which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// `token:NAME`, `dashboard:NAME` (a session that was opened with that token), `cli:USER` or `system:PART`.
    pub who: String,
    /// Empty: none.
    pub request: String,
}

impl Caller {
    pub fn token(name: &str, request: impl Into<String>) -> Caller {
        Caller { who: format!("token:{name}"), request: request.into() }
    }

    /// The dashboard, in a session of the admin token.
    pub fn dashboard(request: impl Into<String>) -> Caller {
        Caller { who: "dashboard:admin".to_owned(), request: request.into() }
    }

    pub fn cli(user: &str) -> Caller {
        Caller { who: format!("cli:{user}"), request: String::new() }
    }

    pub fn system(part: &str) -> Caller {
        Caller { who: format!("system:{part}"), request: String::new() }
    }

    /// Whoever this task works for.
    pub fn current() -> Caller {
        CALLER.try_with(Clone::clone).unwrap_or_else(|_| Caller::system("fingerpost"))
    }
}

tokio::task_local! {
    static CALLER: Caller;
}

/// Everything that `work` changes was changed by this caller.
pub async fn as_caller<F: Future>(caller: Caller, work: F) -> F::Output {
    CALLER.scope(caller, work).await
}

/// What a field was and is. Both are missing where the value is not to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Change {
    pub field: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

impl Change {
    pub fn new(field: &str, before: impl Into<Value>, after: impl Into<Value>) -> Change {
        let value = |value: Value| (!value.is_null()).then(|| shortened(value));
        Change { field: field.to_owned(), before: value(before.into()), after: value(after.into()) }
    }

    pub(super) fn hidden(field: &str) -> Change {
        Change { field: field.to_owned(), before: None, after: None }
    }
}

/// A row that is to be written.
#[derive(Clone, Debug)]
pub struct Deed {
    action: &'static str,
    kind: &'static str,
    code: String,
    changes: Vec<Change>,
}

impl Deed {
    pub fn new(action: &'static str, kind: &'static str, code: impl Into<String>) -> Deed {
        Deed { action, kind, code: code.into(), changes: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, changes: Vec<Change>) -> Deed {
        self.changes = changes;
        self
    }
}

/// What differs between two states of an item, field by field. `None`: it was not there, or is gone.
pub(super) fn difference<T: Serialize>(kind: &str, before: Option<&T>, after: Option<&T>) -> Vec<Change> {
    let of_partners = matches!(kind, "partner" | "ad");
    let hides = |name: &str| HIDDEN.contains(&name) || of_partners && HIDDEN_OF_PARTNERS.contains(&name);
    let fields = |item: Option<&T>| match item.map(serde_json::to_value) {
        Some(Ok(Value::Object(fields))) => fields,
        _ => Map::new(),
    };
    let (before, after) = (fields(before), fields(after));
    let nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    let mut names: Vec<&String> =
        before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))).collect();
    names.retain(|name| !TIMES.contains(&name.as_str()));
    names
        .into_iter()
        .filter_map(|name| {
            let (old, new) = (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
            if old == new || nothing(old) && nothing(new) {
                return None;
            }
            if hides(name) {
                return Some(Change::hidden(name));
            }
            Some(Change::new(name, old.clone(), new.clone()))
        })
        .collect()
}

/// A value that is longer than a reader's patience says how long it is.
fn shortened(value: Value) -> Value {
    match serde_json::to_string(&value) {
        Ok(text) if text.chars().count() > VALUE_MAX_CHARS => {
            let beginning: String = text.chars().take(VALUE_MAX_CHARS).collect();
            Value::from(format!("{beginning}… ({} bytes)", text.len()))
        }
        _ => value,
    }
}

impl Writing {
    /// The row is there as soon as the transaction is committed.
    pub(super) fn audit(&mut self, deed: Deed) {
        self.deeds.push((self.caller.clone(), deed));
    }

    /// The same, by somebody else than who began the transaction.
    pub(super) fn audit_by(&mut self, caller: Caller, deed: Deed) {
        self.deeds.push((caller, deed));
    }

    pub(super) async fn write_audit(&mut self) -> Result<(), CatalogError> {
        let deeds = std::mem::take(&mut self.deeds);
        let now = self.now;
        write(self.tx().await?, now, &deeds).await
    }
}

/// Writes rows in their order: later ones have greater ids.
async fn write(tx: &mut AnyConnection, now: Millis, deeds: &[(Caller, Deed)]) -> Result<(), CatalogError> {
    for (at, chunk) in deeds.chunks(ROWS).enumerate() {
        let mut row = Binder::default();
        for (number, (caller, deed)) in chunk.iter().enumerate() {
            let counter = u16::try_from(at * ROWS + number).unwrap_or(u16::MAX);
            let id = EventId::in_order(now, counter.min(0x0fff), crate::io::random::bytes()?);
            row.text(&id.to_string());
            row.integer(now.0);
            row.text(&caller.who);
            row.text(deed.action);
            row.text(deed.kind);
            row.text(&deed.code);
            row.json(&deed.changes);
            row.text(&caller.request);
        }
        let values = |row: usize| {
            let values: Vec<String> = (1..=8).map(|column| format!("${}", row * 8 + column)).collect();
            format!("({})", values.join(", "))
        };
        let rows: Vec<String> = (0..chunk.len()).map(values).collect();
        let sql = format!("INSERT INTO audit ({COLUMNS}) VALUES {}", rows.join(", "));
        let persistent = chunk.len() == 1 || chunk.len() == ROWS;
        sqlx::query_with(AssertSqlSafe(sql), row.arguments).persistent(persistent).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Writes one row into a transaction that changes no items.
pub(super) async fn note(tx: &mut AnyConnection, now: Millis, deed: Deed) -> Result<(), CatalogError> {
    write(tx, now, &[(Caller::current(), deed)]).await
}

// === Reading ===

const COLUMNS: &str = "id, at_ms, who, action, kind, code, changes, request";

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AuditRow {
    pub id: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Millis,
    /// `token:NAME`, `dashboard:NAME`, `cli:USER` or `system:PART`.
    #[schema(example = "token:admin")]
    pub who: String,
    /// `create`, `update`, `delete`, `import`, `issue`, `qualify`, `reject`, `erase` and such.
    pub action: String,
    /// `program`, `link`, `partner`, `ad`, `share_link`, `webhook`, `referral`, `reward`, `person`, `token` and such.
    pub kind: String,
    pub code: String,
    /// What each field was and is. A field without values has changed, and its values are not kept here.
    pub changes: Vec<Change>,
    /// `X-Request-Id` of the request; empty where it was none.
    pub request: String,
}

impl AuditRow {
    fn from_row(row: &AnyRow) -> Result<AuditRow, CatalogError> {
        let mut row = RowReader::new(row);
        Ok(AuditRow {
            id: row.text()?.to_owned(),
            at: Millis(row.integer()?),
            who: row.text()?.to_owned(),
            action: row.text()?.to_owned(),
            kind: row.text()?.to_owned(),
            code: row.text()?.to_owned(),
            changes: row.json()?,
            request: row.text()?.to_owned(),
        })
    }
}

/// Which rows are wanted; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// A whole name, or a beginning that ends with `*`: `cli:*`.
    pub who: Option<String>,
    pub kind: Option<String>,
    pub code: Option<String>,
    pub action: Option<String>,
    /// Inclusive.
    pub since: Option<Millis>,
    /// Exclusive.
    pub until: Option<Millis>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    pub limit: u32,
}

impl Catalog {
    /// Rows of the audit log, the newest first.
    pub async fn audit(&self, wanted: &AuditQuery) -> Result<Page<AuditRow>, CatalogError> {
        let mut sql = format!("SELECT {COLUMNS} FROM audit WHERE 1 = 1");
        let mut values = Binder::default();
        let beginning = wanted.who.as_deref().and_then(|who| who.strip_suffix('*'));
        let pattern = beginning.map(|beginning| format!("{}%", super::read::escape_like(beginning)));
        for (condition, value) in [
            (" AND who LIKE $# ESCAPE '\\'", pattern.as_ref()),
            (" AND who = $#", wanted.who.as_ref().filter(|_| pattern.is_none())),
            (" AND kind = $#", wanted.kind.as_ref()),
            (" AND code = $#", wanted.code.as_ref()),
            (" AND action = $#", wanted.action.as_ref()),
            (" AND id < $#", wanted.cursor.as_ref()),
        ] {
            if let Some(value) = value {
                values.text(value);
                sql += &condition.replace('#', &values.len().to_string());
            }
        }
        for (condition, time) in [(" AND at_ms >= $#", wanted.since), (" AND at_ms < $#", wanted.until)] {
            if let Some(time) = time {
                values.integer(time.0);
                sql += &condition.replace('#', &values.len().to_string());
            }
        }
        sql += &format!(" ORDER BY id DESC LIMIT {}", wanted.limit + 1);
        let rows = self.rows(sqlx::query_with(AssertSqlSafe(sql), values.arguments)).await?;
        let mut items = rows.iter().map(AuditRow::from_row).collect::<Result<Vec<_>, _>>()?;
        let more = items.len() > wanted.limit as usize;
        items.truncate(wanted.limit as usize);
        let next = items.last().filter(|_| more).map(|last| last.id.clone());
        Ok(Page { items, next })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_names_what_changed_and_hides_what_points_to_a_person() {
        let before =
            json!({"code": "a", "status": "active", "email": "ann@home.example", "programs": [], "created_at": 1});
        let after = json!({"code": "a", "status": "paused", "email": null, "programs": null, "created_at": 2});
        let changes = difference("partner", Some(&before), Some(&after));
        let written = serde_json::to_value(&changes).unwrap();
        assert_eq!(
            written,
            json!([{"field": "status", "before": "active", "after": "paused"}, {"field": "email"}]),
            "an empty list and none are the same, times are no news"
        );
        assert!(difference("partner", Some(&before), Some(&before)).is_empty());
        let made = serde_json::to_value(difference("partner", None, Some(&before))).unwrap();
        assert_eq!(made[0], json!({"field": "code", "after": "a"}));
    }

    #[test]
    fn a_long_value_is_cut() {
        let change = Change::new("rules", "", "x".repeat(10_000));
        assert!(change.after.unwrap().as_str().unwrap().chars().count() < 2_100);
    }
}
