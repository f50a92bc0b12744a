//! Endpoints of webhooks as the API sees them: made, shown, changed, taken away; their secrets; where in the outbox they are.
//!
//! What a delivery does to an endpoint stands in `delivery`. Secrets leave this room in two ways only: once in the answer to
//! who made or rotated them, and to sign.

use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{
    Catalog, CatalogError, Mistake, Page,
    audit::{self, Change, Deed},
    entity::RowReader,
    fields::{Reader, Source},
};
use crate::{
    config::secret::Secret,
    core::{
        code::Code,
        id::EventId,
        limits::{DESCRIPTION_MAX_CHARS, WEBHOOK_KIND_MAX_BYTES, WEBHOOK_KINDS_MAX, WEBHOOKS_MAX},
        time::Millis,
    },
    io::random,
};

mod delivery;

pub use delivery::{Claim, Delivery, DeliveryResult, Retry, Step, WaitingRow};

/// Random bytes of a secret; Standard Webhooks asks for 24 to 64.
const SECRET_BYTES: usize = 32;

/// Whether an endpoint is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    #[default]
    Active,
    Disabled,
}

impl WebhookState {
    const WORDS: &'static [&'static str] = &["active", "disabled"];

    const fn word(self) -> &'static str {
        match self {
            WebhookState::Active => "active",
            WebhookState::Disabled => "disabled",
        }
    }

    fn from_word(word: &str) -> Option<WebhookState> {
        match word {
            "active" => Some(WebhookState::Active),
            "disabled" => Some(WebhookState::Disabled),
            _ => None,
        }
    }
}

/// What somebody wants of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    pub address: String,
    pub description: String,
    /// Empty: all.
    pub kinds: Vec<String>,
    /// Empty: all.
    pub programs: Vec<Code>,
    pub state: WebhookState,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Webhook {
    #[schema(example = "wh_0190163d8694739b9b4d")]
    pub id: String,
    #[schema(example = "https://shop.example/hooks/fingerpost")]
    pub address: String,
    pub description: String,
    /// The kinds of events that are sent; empty means all. `reward.*` stands for all that begin so.
    #[schema(example = json!(["referral.qualified", "reward.*"]))]
    pub kinds: Vec<String>,
    /// The programs whose events are sent; empty means all.
    #[schema(value_type = Vec<String>)]
    pub programs: Vec<Code>,
    pub state: WebhookState,
    /// Why it is disabled.
    pub reason: Option<String>,
    /// Until then messages carry a signature of the older secret as well.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub older_secret_until: Option<Millis>,
    /// Every event of the outbox up to this number was delivered, passed over, given up, or waits for its next try.
    pub seq: i64,
    /// Events that wait for their next try.
    pub retries: i64,
    /// Tries that failed since the last success.
    pub failures: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Millis,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Millis,
}

/// An endpoint with its newest secret: shown once.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct WebhookWithSecret {
    #[serde(flatten)]
    pub webhook: Webhook,
    /// Verifies our signatures. Keep it: it is not shown again.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    pub secret: Secret,
}

fn shown<S: serde::Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// From where an endpoint is served again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayFrom {
    /// This number of the outbox is the first one.
    Seq(i64),
    /// The first event at this time or behind it.
    Time(Millis),
}

/// Fields of an endpoint that are written; the others are ours, and ignored where somebody sends back what GET gave.
const FIELDS: [&str; 5] = ["address", "description", "kinds", "programs", "state"];
const OURS: [&str; 8] =
    ["id", "reason", "older_secret_until", "seq", "retries", "failures", "created_at", "updated_at"];

impl WebhookSettings {
    /// Reads a body; `check_address` knows which addresses are allowed.
    pub fn read(
        mut object: Map<String, Value>,
        check_address: impl FnOnce(&str) -> Result<String, String>,
    ) -> Result<WebhookSettings, Vec<Mistake>> {
        let mut reader = Reader::new(&mut object);
        let address = reader.required("address", check_address);
        let settings = WebhookSettings {
            address: address.unwrap_or_default(),
            description: reader.prose("description", DESCRIPTION_MAX_CHARS),
            kinds: kinds(&mut reader),
            programs: reader.codes("programs"),
            state: reader.word("state", WebhookState::Active, WebhookState::WORDS, WebhookState::from_word),
        };
        let mut mistakes = reader.mistakes;
        let unknown =
            object.keys().filter(|field| !FIELDS.contains(&field.as_str()) && !OURS.contains(&field.as_str()));
        mistakes.extend(
            unknown
                .map(|field| Mistake::new(field, format!("there is no such field: known are {}", FIELDS.join(", ")))),
        );
        if mistakes.is_empty() { Ok(settings) } else { Err(mistakes) }
    }
}

fn kinds<S: Source>(reader: &mut Reader<'_, S>) -> Vec<String> {
    reader.list("kinds", WEBHOOK_KINDS_MAX, |text| {
        let name = text.strip_suffix(".*").unwrap_or(text);
        let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if text.len() <= WEBHOOK_KIND_MAX_BYTES && name.split('.').all(is_word) {
            Ok(text.to_owned())
        } else {
            Err("is not a kind of event: write it like reward.due, or reward.* for all that begin so")
        }
    })
}

impl Webhook {
    /// Whether it asks for an event of this kind and program.
    pub fn wants(&self, kind: &str, program: &str) -> bool {
        let fits = |wanted: &String| match wanted.strip_suffix('*') {
            Some(beginning) => kind.starts_with(beginning),
            None => kind == wanted,
        };
        (self.kinds.is_empty() || self.kinds.iter().any(fits))
            && (self.programs.is_empty() || self.programs.iter().any(|wanted| wanted.as_str() == program))
    }

    fn settings(&self) -> WebhookSettings {
        WebhookSettings {
            address: self.address.clone(),
            description: self.description.clone(),
            kinds: self.kinds.clone(),
            programs: self.programs.clone(),
            state: self.state,
        }
    }

    fn from_row(row: &AnyRow) -> Result<Webhook, CatalogError> {
        let mut row = RowReader::new(row);
        Ok(Webhook {
            id: row.text()?.to_owned(),
            address: row.text()?.to_owned(),
            description: row.text()?.to_owned(),
            kinds: row.json()?,
            programs: row.json()?,
            state: row.word(WebhookState::from_word)?,
            reason: row.optional_text()?.map(str::to_owned),
            older_secret_until: row.optional_integer()?.map(Millis),
            seq: row.integer()?,
            retries: row.integer()?,
            failures: row.integer()?,
            created_at: Millis(row.integer()?),
            updated_at: Millis(row.integer()?),
        })
    }
}

/// In the order of [`Webhook::from_row`].
const SELECT: &str = "SELECT id, address, description, kinds, programs, state, reason, older_until, seq, \
     (SELECT COUNT(*) FROM webhook_retries WHERE webhook_retries.webhook = id), failures, created_at, updated_at";
const FROM: &str = "FROM webhooks JOIN webhook_cursors ON webhook_cursors.webhook = id";

fn not_found(id: &str) -> CatalogError {
    CatalogError::NotFound { kind: "webhook", code: id.to_owned() }
}

fn new_secret() -> Result<Secret, CatalogError> {
    let bytes = random::bytes::<SECRET_BYTES>()?;
    Ok(Secret::new(format!("whsec_{}", data_encoding::BASE64.encode(&bytes))))
}

fn list_text<T: Serialize>(list: &[T]) -> Result<String, CatalogError> {
    serde_json::to_string(list).map_err(|error| CatalogError::Corrupt(error.to_string()))
}

impl Catalog {
    /// A new endpoint. What happened before is not sent to it.
    pub async fn create_webhook(&self, settings: &WebhookSettings) -> Result<WebhookWithSecret, CatalogError> {
        let (now, secret) = (self.shared.clock.now(), new_secret()?);
        // Its beginning is the time: lists are in the order of making.
        let id = EventId::new(now, random::bytes()?);
        let id = format!("wh_{}", &data_encoding::HEXLOWER.encode(&id.0)[..20]);
        let mut tx = self.writing().await?;
        sqlx::query(
            "INSERT INTO webhooks (id, address, description, kinds, programs, state, secret, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        )
        .bind(id.clone())
        .bind(settings.address.clone())
        .bind(settings.description.clone())
        .bind(list_text(&settings.kinds)?)
        .bind(list_text(&settings.programs)?)
        .bind(settings.state.word())
        .bind(secret.expose().to_owned())
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO webhook_cursors (webhook, seq, logged, failures, failing_since, resume_at, holder, lease_until) \
             VALUES ($1, (SELECT next - 1 FROM outbox_head WHERE one = 1), 0, 0, 0, 0, '', 0)",
        )
        .bind(id.clone())
        .execute(&mut *tx)
        .await?;
        let count: i64 = sqlx::query("SELECT COUNT(*) FROM webhooks").fetch_one(&mut *tx).await?.try_get(0)?;
        if count > WEBHOOKS_MAX {
            let problem = format!("there are {WEBHOOKS_MAX} webhooks already: delete one that is not used");
            return Err(CatalogError::Invalid(vec![Mistake::new("address", problem)]));
        }
        audit::note(&mut tx, now, Deed::new("create", KIND, id.clone()).with(settings_changed(None, Some(settings))))
            .await?;
        tx.commit().await?;
        Ok(WebhookWithSecret { webhook: self.webhook(&id).await?, secret })
    }

    /// All of them, in the order in which they were made.
    pub async fn webhooks(&self) -> Result<Page<Webhook>, CatalogError> {
        let rows = self.rows(sqlx::query(AssertSqlSafe(format!("{SELECT} {FROM} ORDER BY id")))).await?;
        Ok(Page { items: rows.iter().map(Webhook::from_row).collect::<Result<_, _>>()?, next: None })
    }

    pub async fn webhook(&self, id: &str) -> Result<Webhook, CatalogError> {
        check_id(id)?;
        let sql = format!("{SELECT} {FROM} WHERE id = $1");
        let rows = self.rows(sqlx::query(AssertSqlSafe(sql)).bind(id.to_owned())).await?;
        Webhook::from_row(rows.first().ok_or_else(|| not_found(id))?)
    }

    /// Changes an endpoint, and goes on at once where it stopped or waited.
    pub async fn update_webhook(&self, id: &str, settings: &WebhookSettings) -> Result<Webhook, CatalogError> {
        let before = self.webhook(id).await?;
        let mut tx = self.writing().await?;
        // Somebody has mended something: all is tried at once. The cursor comes first, as in every record of a try.
        for sql in [
            "UPDATE webhook_cursors SET failures = 0, failing_since = 0, resume_at = 0 WHERE webhook = $1",
            "UPDATE webhook_retries SET due_at = 0 WHERE webhook = $1",
        ] {
            sqlx::query(sql).bind(id.to_owned()).execute(&mut *tx).await?;
        }
        let changed = sqlx::query(
            "UPDATE webhooks SET address = $2, description = $3, kinds = $4, programs = $5, state = $6, updated_at = $7, \
             reason = CASE WHEN $6 = 'active' THEN NULL WHEN state = 'disabled' THEN reason ELSE 'by hand' END WHERE id = $1",
        )
        .bind(id.to_owned())
        .bind(settings.address.clone())
        .bind(settings.description.clone())
        .bind(list_text(&settings.kinds)?)
        .bind(list_text(&settings.programs)?)
        .bind(settings.state.word())
        .bind(self.shared.clock.now().0)
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() == 0 {
            return Err(not_found(id));
        }
        let changes = settings_changed(Some(&before.settings()), Some(settings));
        audit::note(&mut tx, self.shared.clock.now(), Deed::new("update", KIND, id).with(changes)).await?;
        tx.commit().await?;
        self.webhook(id).await
    }

    /// Deletes an endpoint with its log.
    pub async fn delete_webhook(&self, id: &str) -> Result<(), CatalogError> {
        check_id(id)?;
        let mut tx = self.writing().await?;
        for sql in [
            // First what every record of a try locks first.
            "DELETE FROM webhook_cursors WHERE webhook = $1",
            "DELETE FROM webhook_retries WHERE webhook = $1",
            "DELETE FROM webhook_deliveries WHERE webhook = $1",
        ] {
            sqlx::query(sql).bind(id.to_owned()).execute(&mut *tx).await?;
        }
        let gone = sqlx::query("DELETE FROM webhooks WHERE id = $1").bind(id.to_owned()).execute(&mut *tx).await?;
        if gone.rows_affected() == 0 {
            return Err(not_found(id));
        }
        audit::note(&mut tx, self.shared.clock.now(), Deed::new("delete", KIND, id)).await?;
        Ok(tx.commit().await?)
    }

    /// Draws a new secret. The one that was the newest signs as well until `older_until`.
    pub async fn rotate_webhook_secret(
        &self,
        id: &str,
        older_until: Millis,
    ) -> Result<WebhookWithSecret, CatalogError> {
        check_id(id)?;
        let secret = new_secret()?;
        let mut tx = self.writing().await?;
        let changed = sqlx::query(
            "UPDATE webhooks SET older_secret = secret, older_until = $2, secret = $3, updated_at = $4 WHERE id = $1",
        )
        .bind(id.to_owned())
        .bind(older_until.0)
        .bind(secret.expose().to_owned())
        .bind(self.shared.clock.now().0)
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() == 0 {
            return Err(not_found(id));
        }
        audit::note(&mut tx, self.shared.clock.now(), Deed::new("rotate_secret", KIND, id)).await?;
        tx.commit().await?;
        Ok(WebhookWithSecret { webhook: self.webhook(id).await?, secret })
    }

    /// Sends the endpoint everything from here on, again or, where that is further on, without what lies between. What waits
    /// for its next try and lies behind that point is sent with the rest.
    pub async fn replay_webhook(&self, id: &str, from: ReplayFrom) -> Result<Webhook, CatalogError> {
        check_id(id)?;
        let mut tx = self.writing().await?;
        // Whoever delivers just now loses the lease: what it has sent is sent again rather than passed over. A write comes
        // first, because SQLite lets nobody write who has read before another one wrote.
        let changed = sqlx::query(
            "UPDATE webhook_cursors SET failures = 0, failing_since = 0, resume_at = 0, holder = '', lease_until = 0 \
             WHERE webhook = $1",
        )
        .bind(id.to_owned())
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() == 0 {
            return Err(not_found(id));
        }
        let first: i64 = match from {
            ReplayFrom::Seq(seq) => seq,
            ReplayFrom::Time(time) => {
                let sql = "SELECT COALESCE((SELECT MIN(seq) FROM outbox WHERE at_ms >= $1), next) FROM outbox_head";
                sqlx::query(sql).bind(time.0).fetch_one(&mut *tx).await?.try_get(0)?
            }
        };
        let sql = "UPDATE webhook_cursors SET seq = $2 WHERE webhook = $1";
        sqlx::query(sql).bind(id.to_owned()).bind(first.saturating_sub(1).max(0)).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM webhook_retries WHERE webhook = $1 AND seq >= $2")
            .bind(id.to_owned())
            .bind(first)
            .execute(&mut *tx)
            .await?;
        let from = vec![Change::new("from", serde_json::Value::Null, first)];
        audit::note(&mut tx, self.shared.clock.now(), Deed::new("replay", KIND, id).with(from)).await?;
        tx.commit().await?;
        self.webhook(id).await
    }
}

/// In the audit log.
const KIND: &str = "webhook";

/// What differs between two states of an endpoint. An address may hold a secret behind its host: that is not shown.
fn settings_changed(before: Option<&WebhookSettings>, after: Option<&WebhookSettings>) -> Vec<Change> {
    let fields = |settings: &WebhookSettings| {
        let host = url::Url::parse(&settings.address).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        let WebhookSettings { description, kinds, programs, state, .. } = settings;
        let fields = serde_json::json!({"address": host, "description": description, "kinds": kinds, "programs": programs,
            "state": state.word()});
        (settings.address.clone(), fields)
    };
    let (before, after) = (before.map(fields), after.map(fields));
    let part = |state: &Option<(String, serde_json::Value)>| state.as_ref().map(|(_, fields)| fields.clone());
    let mut changes = audit::difference(KIND, part(&before).as_ref(), part(&after).as_ref());
    if let (Some((old, fields)), Some((new, _))) = (&before, &after)
        && old != new
        && !changes.iter().any(|change| change.field == "address")
    {
        // The same host, another path or secret.
        changes.push(Change::new("address", fields["address"].clone(), fields["address"].clone()));
    }
    changes
}

/// No id of ours has a NUL, and PostgreSQL does not even take one as a parameter.
fn check_id(id: &str) -> Result<(), CatalogError> {
    if id.contains('\0') { Err(not_found(id)) } else { Ok(()) }
}
