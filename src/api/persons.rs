//! `/v1/persons`: everything that is kept about somebody, and its erasure; `/v1/erasures`: how that fares.
//!
//! A person is asked for by e-mail in the path, or by external id: `/v1/persons?external_id=…`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ApiState, Problem, items::parameters, problem::Problems};
use crate::{
    catalog::{
        CatalogError, Mistake,
        persons::{ErasureView, PersonKey},
    },
    core::limits::{EMAIL_MAX_BYTES, PERSON_ROWS_MAX},
    store::{keep::Keeper, rows},
};

/// What the resource needs besides the catalog.
#[derive(Clone)]
pub struct Persons {
    pub keeper: Arc<dyn Keeper>,
    /// How late an event may come.
    pub late_events: Duration,
}

impl std::fmt::Debug for Persons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Persons").field("late_events", &self.late_events).finish_non_exhaustive()
    }
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(export, erase)).routes(routes!(export_by, erase_by)).routes(routes!(erasure))
}

/// Who is asked for where it is not an address.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Parameters {
    /// The id that your own programs know the person by.
    external_id: Option<String>,
}

/// Everything that is kept about a person, one section a kind; each is a list of rows.
#[derive(Serialize, utoipa::ToSchema)]
struct PersonExport {
    /// `contacts`, `known_by`, `visitors`, `leads`, `conversions`, `refunds`, `rulings`, `referrals`, `rewards`, `mails`,
    /// `partners`, `outbox`, `deliveries`, `answers`, `events`.
    #[serde(flatten)]
    sections: Map<String, Value>,
    /// Sections of which there is more than is shown.
    truncated: Vec<String>,
}

fn by_email(text: &str) -> Result<PersonKey, Problem> {
    if text.contains('@') && text.len() <= EMAIL_MAX_BYTES && !text.contains('\0') {
        return Ok(PersonKey::email(text));
    }
    let problem = format!("`{text}` is not an e-mail address: for an external id ask /v1/persons?external_id={text}");
    Err(Problem::parameter(vec![Mistake::new("email", problem)]))
}

fn by_query(query: Result<Query<Parameters>, QueryRejection>) -> Result<PersonKey, Problem> {
    match parameters(query)?.external_id {
        Some(id) if !id.is_empty() && !id.contains('\0') => Ok(PersonKey::External(id)),
        _ => {
            let problem = "is missing: give one, or ask for an e-mail address with /v1/persons/{email}";
            Err(Problem::parameter(vec![Mistake::new("external_id", problem)]))
        }
    }
}

/// Everything that is kept about a person, everywhere.
#[utoipa::path(get, path = "/v1/persons/{email}", tag = "persons", operation_id = "export_person",
    params(("email" = String, Path, example = "ann@home.example")), responses((status = 200, body = PersonExport), Problems))]
async fn export(State(state): State<ApiState>, Path(email): Path<String>) -> Result<Json<PersonExport>, Problem> {
    told(&state, &by_email(&email)?).await
}

/// The same, asked for by external id.
#[utoipa::path(get, path = "/v1/persons", tag = "persons", operation_id = "export_person_by_id", params(Parameters),
    responses((status = 200, body = PersonExport), Problems))]
async fn export_by(
    State(state): State<ApiState>,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<PersonExport>, Problem> {
    told(&state, &by_query(query)?).await
}

async fn told(state: &ApiState, key: &PersonKey) -> Result<Json<PersonExport>, Problem> {
    let mut export = state.catalog.person(key).await?;
    if export.is_empty() {
        let (PersonKey::Email(code) | PersonKey::External(code)) = key.clone();
        return Err(CatalogError::NotFound { kind: "person", code }.into());
    }
    let mut events = Vec::new();
    if !export.visitors.is_empty() || !export.clicks.is_empty() {
        events = state.persons.keeper.events_of(&export.visitors, &export.clicks, PERSON_ROWS_MAX + 1).await?;
    }
    if events.len() > PERSON_ROWS_MAX as usize {
        events.truncate(PERSON_ROWS_MAX as usize);
        export.truncated.push("events".to_owned());
    }
    let object = |event| {
        let cells = rows::EVENT_COLUMNS.iter().zip(rows::event(event));
        cells.map(|(name, cell)| ((*name).to_owned(), serde_json::to_value(cell).unwrap_or_default())).collect()
    };
    let events: Vec<Value> = events.iter().map(|event| Value::Object(object(event))).collect();
    export.sections.insert("events".to_owned(), Value::Array(events));
    Ok(Json(PersonExport { sections: export.sections, truncated: export.truncated }))
}

/// Erases a person: at once what says who they are, then everything else in the background. The same call again goes on with
/// an erasure that is under way.
#[utoipa::path(delete, path = "/v1/persons/{email}", tag = "persons", operation_id = "erase_person",
    params(("email" = String, Path, example = "ann@home.example")),
    responses((status = 202, description = "Begun; `Location` says where to ask how it fares", body = ErasureView), Problems))]
async fn erase(State(state): State<ApiState>, Path(email): Path<String>) -> Result<Response, Problem> {
    begun(&state, &by_email(&email)?).await
}

/// The same, asked for by external id.
#[utoipa::path(delete, path = "/v1/persons", tag = "persons", operation_id = "erase_person_by_id", params(Parameters),
    responses((status = 202, description = "Begun; `Location` says where to ask how it fares", body = ErasureView), Problems))]
async fn erase_by(
    State(state): State<ApiState>,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    begun(&state, &by_query(query)?).await
}

async fn begun(state: &ApiState, key: &PersonKey) -> Result<Response, Problem> {
    let erasure = state.catalog.erase_person(key, state.persons.late_events).await?;
    let location = HeaderValue::from_str(&format!("/v1/erasures/{}", erasure.id));
    let mut response = (StatusCode::ACCEPTED, Json(erasure)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// How an erasure fares.
#[utoipa::path(get, path = "/v1/erasures/{id}", tag = "persons", operation_id = "get_erasure", params(("id" = String, Path)),
    responses((status = 200, body = ErasureView), Problems))]
async fn erasure(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Json<ErasureView>, Problem> {
    Ok(Json(state.catalog.erasure(&id).await?))
}
