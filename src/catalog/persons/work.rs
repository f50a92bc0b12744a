//! What is gone through afterwards. Each step looks at some rows of a place, takes the person out of them, and is committed with
//! how far it came, under the condition that nobody else was faster: so any process may work, and a kill costs one step.
//!
//! Who adds a place where persons are named adds its name to [`PLACES`] and its step here, or to `files` for uploaded ones.

use data_encoding::BASE64;
use prost::Message;
use serde_json::{Map, Value, json};
use sqlx::{Row, any::AnyRow};

use super::{ErasureState, ErasureView, Terms};
use crate::{
    catalog::{
        Catalog, CatalogError,
        audit::{Caller, Deed},
        entity::RowReader,
        record::ERASED,
        write::Writing,
    },
    core::{
        event::Event,
        id::{EventId, VisitorId},
        limits::{ERASURE_LOOK_INTERVAL, PERSON_CLICKS_MAX, SWEEP_ROWS},
        time::{Millis, SECOND_MS},
    },
};

/// In the order in which they are gone through. The last one is the event store.
pub(super) const PLACES: &[&str] = &["mails", "outbox", "deliveries", "answers", "uploads", "refused_lines", EVENTS];
const EVENTS: &str = "events";
/// The event store is away: it is tried again after that long.
const RETRY_MS: i64 = 5 * SECOND_MS;

pub(super) const VIEW: &str = "id, contact, state, place, progress, problem, at_ms, complete_ms, until_ms";

pub(super) fn view(row: &AnyRow) -> Result<ErasureView, CatalogError> {
    let mut row = RowReader::new(row);
    Ok(ErasureView {
        id: row.text()?.to_owned(),
        contact: row.optional_text()?.map(str::to_owned),
        state: row.word(ErasureState::from_word)?,
        place: row.text()?.to_owned(),
        progress: row.json()?,
        problem: row.optional_text()?.map(str::to_owned),
        at: Millis(row.integer()?),
        complete_at: row.optional_integer()?.map(Millis),
        until: Millis(row.integer()?),
    })
}

/// An erasure whose turn it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Erasing {
    pub id: String,
    pub state: ErasureState,
    pub at: Millis,
    /// When it may be closed.
    pub until: Millis,
    pub terms: Terms,
    /// Each browser, and what takes its place.
    pub visitors: Vec<(VisitorId, VisitorId)>,
    place: String,
    pub position: String,
    progress: Map<String, Value>,
}

impl Erasing {
    /// Whether the event store is what is to be gone through.
    pub fn is_at_events(&self) -> bool {
        self.place == EVENTS
    }

    fn count(&mut self, rows: u64) {
        let before = self.progress.get(&self.place).and_then(Value::as_u64).unwrap_or(0);
        self.progress.insert(self.place.clone(), json!(before + rows));
    }
}

/// What a step found: how many rows it looked at, where it ended, and what is to be done.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) position: Option<String>,
    pub(super) changes: Vec<Edit>,
}

/// A statement over one row: texts and numbers in the order of its parameters.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) sql: &'static str,
    pub(super) values: Vec<Bound>,
}

#[derive(Debug)]
pub(super) enum Bound {
    Text(Option<String>),
    Number(i64),
}

pub(super) fn text(value: impl Into<String>) -> Bound {
    Bound::Text(Some(value.into()))
}

impl Catalog {
    /// An erasure whose turn it is.
    pub async fn next_erasure(&self) -> Result<Option<Erasing>, CatalogError> {
        let sql = "SELECT id, state, at_ms, until_ms, terms, place, position, progress FROM erasures \
                   WHERE state <> 'closed' AND look_at_ms <= $1 ORDER BY look_at_ms, id LIMIT 1";
        let rows = self.rows(sqlx::query(sql).bind(self.shared.clock.now().0)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut row = RowReader::new(row);
        let mut erasing = Erasing {
            id: row.text()?.to_owned(),
            state: row.word(ErasureState::from_word)?,
            at: Millis(row.integer()?),
            until: Millis(row.integer()?),
            terms: row.json()?,
            place: row.text()?.to_owned(),
            position: row.text()?.to_owned(),
            progress: row.json()?,
            visitors: Vec::new(),
        };
        let sql = "SELECT visitor, replacement FROM erasure_visitors WHERE erasure = $1 ORDER BY visitor";
        for row in self.rows(sqlx::query(sql).bind(erasing.id.clone())).await? {
            let [old, new] = [0, 1].map(|at| row.try_get::<&str, _>(at).map(uuid::Uuid::try_parse));
            if let (Ok(old), Ok(new)) = (old?, new?) {
                erasing.visitors.push((VisitorId(old.into_bytes()), VisitorId(new.into_bytes())));
            }
        }
        Ok(Some(erasing))
    }

    /// Goes through some rows of the place that an erasure is at.
    pub async fn erase_step(&self, mut erasing: Erasing) -> Result<(), CatalogError> {
        let (place, position) = (erasing.place.clone(), erasing.position.clone());
        let step = match place.as_str() {
            "mails" => self.step_mails(&erasing).await?,
            "outbox" => self.step_outbox(&erasing).await?,
            "deliveries" => self.step_deliveries(&erasing).await?,
            "answers" => self.step_answers(&erasing).await?,
            "uploads" => self.step_uploads(&erasing).await?,
            "refused_lines" => self.step_refused_lines(&erasing).await?,
            other => return Err(CatalogError::Corrupt(format!("an erasure has no place `{other}`"))),
        };
        erasing.count(step.changes.len() as u64);
        match step.position {
            Some(position) => erasing.position = position,
            None => {
                let at = PLACES.iter().position(|known| *known == place).unwrap_or(0);
                erasing.place = PLACES.get(at + 1).copied().unwrap_or(EVENTS).to_owned();
                erasing.position = String::new();
            }
        }
        let mut writing = Writing::begin_facts(self).await?;
        for Edit { sql, values } in step.changes {
            let query = values.into_iter().fold(sqlx::query(sql), |query, value| match value {
                Bound::Text(text) => query.bind(text),
                Bound::Number(number) => query.bind(number),
            });
            query.execute(writing.tx().await?).await?;
        }
        let now = writing.now;
        if writing.advance(&erasing, (&place, &position), now, None).await? { writing.commit().await } else { Ok(()) }
    }

    /// The event store has done a step: `events` rows were changed, `clicks` of theirs found.
    pub async fn erased_events(
        &self,
        mut erasing: Erasing,
        (events, is_done): (u64, bool),
        clicks: &[EventId],
        position: String,
    ) -> Result<(), CatalogError> {
        let before = erasing.position.clone();
        erasing.count(events);
        erasing.position = position;
        for click in clicks.iter().map(EventId::to_string) {
            if !erasing.terms.clicks.contains(&click) && erasing.terms.clicks.len() < PERSON_CLICKS_MAX {
                erasing.terms.clicks.push(click);
            }
        }
        let mut writing = Writing::begin_facts(self).await?;
        let now = writing.now;
        let mut look_at = now;
        if is_done {
            if now >= erasing.until {
                erasing.state = ErasureState::Closed;
                erasing.terms = Terms::default();
                sqlx::query("DELETE FROM erasure_visitors WHERE erasure = $1")
                    .bind(erasing.id.clone())
                    .execute(writing.tx().await?)
                    .await?;
                let deed = Deed::new("close", "erasure", erasing.id.clone());
                writing.audit_by(Caller::system("erasure"), deed);
            } else {
                erasing.state = ErasureState::Complete;
                let pause = i64::try_from(ERASURE_LOOK_INTERVAL.as_millis()).unwrap_or(i64::MAX);
                look_at = now.plus(pause).min(erasing.until);
            }
        }
        if writing.advance(&erasing, (EVENTS, &before), look_at, None).await? { writing.commit().await } else { Ok(()) }
    }

    /// The event store does not answer: the erasure says so, and waits.
    pub async fn erasure_waits(&self, erasing: &Erasing, problem: &str) -> Result<(), CatalogError> {
        let mut writing = Writing::begin_facts(self).await?;
        let look_at = writing.now.plus(RETRY_MS);
        let from = (erasing.place.as_str(), erasing.position.as_str());
        if writing.advance(erasing, from, look_at, Some(problem)).await? { writing.commit().await } else { Ok(()) }
    }

    async fn step_mails(&self, erasing: &Erasing) -> Result<Step, CatalogError> {
        let sql = "SELECT id, subject, text_body, html_body FROM mails WHERE id > $1 AND created_at <= $2 ORDER BY id LIMIT $3";
        let rows = self.page(sql, erasing, text(erasing.position.clone())).await?;
        let mut step = Step::default();
        for row in &rows {
            let id: String = row.try_get(0)?;
            let texts = [row.try_get::<Option<&str>, _>(1)?, row.try_get(2)?, row.try_get(3)?];
            if texts.iter().flatten().any(|text| erasing.terms.is_named_in(text)) {
                step.changes.push(Edit { sql: "DELETE FROM mails WHERE id = $1", values: vec![text(id.clone())] });
            }
            step.position = Some(id);
        }
        Ok(step)
    }

    async fn step_outbox(&self, erasing: &Erasing) -> Result<Step, CatalogError> {
        let sql = "SELECT seq, body, event FROM outbox WHERE seq > $1 AND at_ms <= $2 ORDER BY seq LIMIT $3";
        let position = erasing.position.parse().unwrap_or(0);
        let rows = self.page(sql, erasing, Bound::Number(position)).await?;
        let mut step = Step::default();
        for row in &rows {
            let seq: i64 = row.try_get(0)?;
            let (body, event): (&str, Option<&str>) = (row.try_get(1)?, row.try_get(2)?);
            let (clean, less) = (cleaned(&erasing.terms, body), event.and_then(|event| unclicked(erasing, event)));
            if clean.is_some() || less.is_some() {
                let body = clean.unwrap_or_else(|| body.to_owned());
                let event = less.or_else(|| event.map(str::to_owned));
                let values = vec![Bound::Number(seq), text(body), Bound::Text(event)];
                step.changes.push(Edit { sql: "UPDATE outbox SET body = $2, event = $3 WHERE seq = $1", values });
            }
            step.position = Some(seq.to_string());
        }
        Ok(step)
    }

    async fn step_deliveries(&self, erasing: &Erasing) -> Result<Step, CatalogError> {
        let sql = "SELECT webhook, number, error, answer FROM webhook_deliveries WHERE (webhook > $1 OR (webhook = $1 \
                   AND number > $4)) AND at_ms <= $2 ORDER BY webhook, number LIMIT $3";
        let (webhook, number) = erasing.position.rsplit_once('/').unwrap_or(("", "0"));
        let query = sqlx::query(sql).bind(webhook.to_owned()).bind(erasing.at.0).bind(i64::from(SWEEP_ROWS));
        let rows = self.rows(query.bind(number.parse::<i64>().unwrap_or(0))).await?;
        let mut step = Step::default();
        for row in &rows {
            let (webhook, number): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
            let texts = [row.try_get::<Option<&str>, _>(2)?, row.try_get(3)?];
            if texts.iter().flatten().any(|text| erasing.terms.is_named_in(text)) {
                let sql =
                    "UPDATE webhook_deliveries SET error = NULL, answer = NULL WHERE webhook = $1 AND number = $2";
                step.changes.push(Edit { sql, values: vec![text(webhook.clone()), Bound::Number(number)] });
            }
            step.position = Some(format!("{webhook}/{number}"));
        }
        Ok(step)
    }

    async fn step_answers(&self, erasing: &Erasing) -> Result<Step, CatalogError> {
        let sql = "SELECT scope, token, body FROM answers WHERE (scope > $1 OR (scope = $1 AND token > $4)) \
                   AND at_ms <= $2 ORDER BY scope, token LIMIT $3";
        let (scope, token) = erasing.position.split_once('/').unwrap_or(("", ""));
        let query = sqlx::query(sql).bind(scope.to_owned()).bind(erasing.at.0).bind(i64::from(SWEEP_ROWS));
        let rows = self.rows(query.bind(token.to_owned())).await?;
        let mut step = Step::default();
        for row in &rows {
            let (scope, token, body): (String, String, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let json: Value = serde_json::from_str(body).unwrap_or_default();
            step.position = Some(format!("{scope}/{token}"));
            if erasing.terms.is_named_in(&token) {
                let sql = "DELETE FROM answers WHERE scope = $1 AND token = $2";
                step.changes.push(Edit { sql, values: vec![text(scope), text(token)] });
            } else if erasing.terms.is_named_in_json(&json) {
                // The key goes on making a repetition harmless; the digest is of the request, and the request names them.
                let sql = "UPDATE answers SET digest = $3, status = 410, body = $4 WHERE scope = $1 AND token = $2";
                step.changes.push(Edit { sql, values: vec![text(scope), text(token), text(ERASED), text(gone())] });
            }
        }
        Ok(step)
    }

    async fn page(&self, sql: &'static str, erasing: &Erasing, after: Bound) -> Result<Vec<AnyRow>, CatalogError> {
        let query = match after {
            Bound::Text(text) => sqlx::query(sql).bind(text),
            Bound::Number(number) => sqlx::query(sql).bind(number),
        };
        self.rows(query.bind(erasing.at.0).bind(i64::from(SWEEP_ROWS))).await
    }
}

impl Writing {
    /// Writes how far an erasure is, if it is still where this step began.
    async fn advance(
        &mut self,
        to: &Erasing,
        (place, position): (&str, &str),
        look_at: Millis,
        problem: Option<&str>,
    ) -> Result<bool, CatalogError> {
        let done = sqlx::query(
            "UPDATE erasures SET state = $2, place = $3, position = $4, terms = $5, progress = $6, problem = $7, \
             look_at_ms = $8, complete_ms = CASE WHEN $2 = 'running' THEN NULL ELSE COALESCE(complete_ms, $9) END \
             WHERE id = $1 AND place = $10 AND position = $11 AND state <> 'closed'",
        )
        .bind(to.id.clone())
        .bind(to.state.word())
        .bind(to.place.clone())
        .bind(to.position.clone())
        .bind(serde_json::to_string(&to.terms).unwrap_or_default())
        .bind(Value::Object(to.progress.clone()).to_string())
        .bind(problem.map(str::to_owned))
        .bind(look_at.0)
        .bind(self.now.0)
        .bind(place.to_owned())
        .bind(position.to_owned())
        .execute(self.tx().await?)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

/// A body without what names the person, where it named them.
fn cleaned(terms: &Terms, body: &str) -> Option<String> {
    let mut json: Value = serde_json::from_str(body).ok()?;
    terms.take_out(&mut json).then(|| json.to_string())
}

/// An event that may still be on its way, without the click or the browser of the person.
fn unclicked(erasing: &Erasing, event: &str) -> Option<String> {
    let mut event = Event::decode(BASE64.decode(event.as_bytes()).ok()?.as_slice()).ok()?;
    let click = <[u8; 16]>::try_from(event.click.as_slice()).map(|id| EventId(id).to_string()).unwrap_or_default();
    let replaced = erasing.visitors.iter().find(|(old, _)| event.visitor == old.0).map(|(_, new)| new.0.to_vec());
    if !erasing.terms.clicks.contains(&click) && replaced.is_none() {
        return None;
    }
    event.click.clear();
    event.visitor = replaced.unwrap_or(event.visitor);
    Some(BASE64.encode(&event.encode_to_vec()))
}

/// What a repetition of an erased request is answered with.
fn gone() -> String {
    json!({
        "type": "urn:fingerpost:problem:erased", "title": "The person was erased", "status": 410,
        "detail": "what was answered under this key was about a person who has been erased: use a new key to tell of them again",
    })
    .to_string()
}
