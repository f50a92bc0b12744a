//! Doors for webhooks of others: how each is opened (`settings`, made and understood by `referral::inbound`), and the secrets,
//! which leave this room only to check signatures.

use serde::Serialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{
    Catalog, CatalogError, Mistake, Page,
    audit::{self, Change, Deed},
};
use crate::{
    config::secret::Secret,
    core::{code::Code, limits::INBOUND_MAX, time::Millis},
};

/// A door as everybody may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct InboundDoor {
    #[schema(value_type = String, example = "stripe")]
    pub name: Code,
    #[schema(example = "stripe")]
    pub kind: String,
    #[schema(value_type = Object)]
    pub settings: Value,
    /// How many secrets are accepted. They are not shown.
    pub secrets: usize,
    /// Events that had an effect, and those from which nothing followed.
    pub applied: i64,
    pub ignored: i64,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_event_at: Option<Millis>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Millis,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Millis,
}

/// A door with its secrets.
#[derive(Clone, Debug)]
pub struct InboundKeys {
    pub kind: String,
    pub settings: Value,
    pub secrets: Vec<Secret>,
}

const SELECT: &str = "SELECT name, kind, settings, secrets, created_at, updated_at, \
    (SELECT COUNT(*) FROM inbound_events WHERE endpoint = name AND result = 'applied'), \
    (SELECT COUNT(*) FROM inbound_events WHERE endpoint = name AND result = 'ignored'), \
    (SELECT MAX(at_ms) FROM inbound_events WHERE endpoint = name) FROM inbound";

fn not_found(name: &str) -> CatalogError {
    CatalogError::NotFound { kind: "inbound endpoint", code: name.to_owned() }
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, CatalogError> {
    serde_json::from_str(text).map_err(|error| CatalogError::Corrupt(format!("an inbound endpoint: {error}")))
}

fn door(row: &AnyRow) -> Result<InboundDoor, CatalogError> {
    let secrets: Vec<String> = json(row.try_get(3)?)?;
    let name: &str = row.try_get(0)?;
    Ok(InboundDoor {
        name: name.parse().map_err(|problem| CatalogError::Corrupt(format!("`{name}` {problem}")))?,
        kind: row.try_get(1)?,
        settings: json(row.try_get(2)?)?,
        secrets: secrets.len(),
        created_at: Millis(row.try_get(4)?),
        updated_at: Millis(row.try_get(5)?),
        applied: row.try_get(6)?,
        ignored: row.try_get(7)?,
        last_event_at: row.try_get::<Option<i64>, _>(8)?.map(Millis),
    })
}

impl Catalog {
    /// Makes a door or changes it. No secrets: those that are there stay. Gives it, and whether it is new.
    pub async fn put_inbound(
        &self,
        name: &Code,
        kind: &str,
        settings: &Value,
        secrets: Option<&[Secret]>,
    ) -> Result<(InboundDoor, bool), CatalogError> {
        let now = self.shared.clock.now();
        let texts: Option<Vec<&str>> = secrets.map(|secrets| secrets.iter().map(Secret::expose).collect());
        let texts = texts.map(|texts| Value::from(texts).to_string());
        let mut tx = self.writing().await?;
        let made = sqlx::query(
            "INSERT INTO inbound (name, kind, settings, secrets, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5) \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(name.to_string())
        .bind(kind.to_owned())
        .bind(settings.to_string())
        .bind(texts.clone().unwrap_or_else(|| "[]".to_owned()))
        .bind(now.0)
        .execute(&mut *tx)
        .await?
        .rows_affected()
            > 0;
        if made {
            let count: i64 = sqlx::query("SELECT COUNT(*) FROM inbound").fetch_one(&mut *tx).await?.try_get(0)?;
            if count > INBOUND_MAX {
                let problem = format!("there are {INBOUND_MAX} endpoints already: delete one that is not used");
                return Err(CatalogError::Invalid(vec![Mistake::new("name", problem)]));
            }
        } else {
            sqlx::query(
                "UPDATE inbound SET kind = $2, settings = $3, secrets = COALESCE($4, secrets), updated_at = $5 WHERE name = $1",
            )
            .bind(name.to_string())
            .bind(kind.to_owned())
            .bind(settings.to_string())
            .bind(texts)
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
        }
        let mut changes =
            vec![Change::new("kind", Value::Null, kind), Change::new("settings", Value::Null, settings.clone())];
        if secrets.is_some() {
            changes.push(Change::hidden("secrets"));
        }
        let action = if made { "create" } else { "update" };
        audit::note(&mut tx, now, Deed::new(action, "inbound", name.to_string()).with(changes)).await?;
        tx.commit().await?;
        Ok((self.inbound(name).await?, made))
    }

    pub async fn inbound(&self, name: &Code) -> Result<InboundDoor, CatalogError> {
        let rows =
            self.rows(sqlx::query(AssertSqlSafe(format!("{SELECT} WHERE name = $1"))).bind(name.to_string())).await?;
        door(rows.first().ok_or_else(|| not_found(name))?)
    }

    pub async fn inbounds(&self) -> Result<Page<InboundDoor>, CatalogError> {
        let rows = self.rows(sqlx::query(AssertSqlSafe(format!("{SELECT} ORDER BY name")))).await?;
        Ok(Page { items: rows.iter().map(door).collect::<Result<_, _>>()?, next: None })
    }

    /// To check what comes in at a door.
    pub async fn inbound_keys(&self, name: &Code) -> Result<InboundKeys, CatalogError> {
        let query = sqlx::query("SELECT kind, settings, secrets FROM inbound WHERE name = $1").bind(name.to_string());
        let rows = self.rows(query).await?;
        let row = rows.first().ok_or_else(|| not_found(name))?;
        let secrets: Vec<String> = json(row.try_get(2)?)?;
        let secrets = secrets.into_iter().map(Secret::new).collect();
        Ok(InboundKeys { kind: row.try_get(0)?, settings: json(row.try_get(1)?)?, secrets })
    }

    /// Whether an event had its effect before: asked without a lock, so that a flood of repetitions holds nobody up.
    pub async fn knows_inbound_event(&self, endpoint: &Code, event: &str) -> Result<bool, CatalogError> {
        let query = sqlx::query("SELECT 1 FROM inbound_events WHERE endpoint = $1 AND event = $2");
        Ok(!self.rows(query.bind(endpoint.to_string()).bind(event.to_owned())).await?.is_empty())
    }

    /// Takes a door away. What came in through it stays, and so do the names of its events.
    pub async fn delete_inbound(&self, name: &Code) -> Result<(), CatalogError> {
        let mut tx = self.writing().await?;
        let gone = sqlx::query("DELETE FROM inbound WHERE name = $1").bind(name.to_string()).execute(&mut *tx).await?;
        if gone.rows_affected() == 0 {
            return Err(not_found(name));
        }
        audit::note(&mut tx, self.shared.clock.now(), Deed::new("delete", "inbound", name.to_string())).await?;
        Ok(tx.commit().await?)
    }
}
