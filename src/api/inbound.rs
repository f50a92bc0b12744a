//! `/v1/inbound`: doors for webhooks of others, and what comes in through them.
//!
//! Whoever has the admin token makes a door and tries it; whoever knows one of its secrets sends events to it. Secrets are
//! never given back.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use metrics::counter;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, Problem,
    items::Object,
    problem::{BodyProblems, Problems},
};
use crate::{
    catalog::{
        CatalogError, Mistake, Page, Program,
        inbound::{InboundDoor, InboundKeys},
    },
    config::secret::Secret,
    core::{
        code::Code,
        limits::{INBOUND_BODY_MAX_BYTES, INBOUND_SECRET_MAX_BYTES, INBOUND_SECRET_MIN_BYTES, INBOUND_SECRETS_MAX},
    },
    referral::{
        deed::{Effect, Noted},
        inbound::{
            Door, Event, SignatureError, shown,
            signature::{self, STRIPE_HEADER},
        },
    },
    telemetry::names,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    for result in ["applied", "again", "ignored", "refused", "unsigned"] {
        counter!(names::INBOUND_EVENTS, "result" => result).increment(0);
    }
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, put, delete)).routes(routes!(try_it))
}

/// What anybody may call who knows a secret.
pub(super) fn public() -> Router<ApiState> {
    Router::new()
        .route("/v1/inbound/{name}", post(receive))
        .route("/v1/inbound/{name}/{secret}", post(receive_with_secret))
        .layer(DefaultBodyLimit::max(INBOUND_BODY_MAX_BYTES))
}

/// What a door is made of.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in OpenAPI")]
struct InboundBody {
    /// `stripe` or `generic`.
    #[schema(example = "stripe")]
    kind: String,
    /// All of them are accepted: give the new and the old one while they rotate. Without the field those that are there
    /// stay. They are not shown again.
    #[schema(example = json!(["whsec_…"]))]
    secrets: Option<Vec<String>>,
    /// Of `stripe`: `program`, `event`. Of `generic`: `auth`, `fact`, `fields`, `id`, `each`, `only`.
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
}

/// What became of the events of one request.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
struct Received {
    events: Vec<ReceivedEvent>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
struct ReceivedEvent {
    id: String,
    kind: String,
    /// `applied`, `again` (it had its effect before), or `ignored`.
    result: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    facts: Vec<Noted>,
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'static str,
}

/// What the events of a body would tell.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
struct Tried {
    id: String,
    kind: String,
    #[schema(value_type = Vec<Object>)]
    facts: Vec<Value>,
    /// Why nothing follows from it.
    why: &'static str,
}

fn code(name: &str) -> Result<Code, Problem> {
    name.parse().map_err(|_| CatalogError::NotFound { kind: "inbound endpoint", code: name.to_owned() }.into())
}

/// Doors, in the order of their names.
#[utoipa::path(get, path = "/v1/inbound", tag = "inbound", operation_id = "list_inbound",
    responses((status = 200, body = Page<InboundDoor>), Problems))]
async fn list(State(state): State<ApiState>) -> Result<Json<Page<InboundDoor>>, Problem> {
    Ok(Json(state.catalog.inbounds().await?))
}

/// One door: how it is set, and how much came in.
#[utoipa::path(get, path = "/v1/inbound/{name}", tag = "inbound", operation_id = "get_inbound", params(("name" = String, Path)),
    responses((status = 200, body = InboundDoor), Problems))]
async fn get(State(state): State<ApiState>, Path(name): Path<String>) -> Result<Json<InboundDoor>, Problem> {
    Ok(Json(state.catalog.inbound(&code(&name)?).await?))
}

/// Makes a door, or sets it anew.
#[utoipa::path(put, path = "/v1/inbound/{name}", tag = "inbound", operation_id = "put_inbound", params(("name" = String, Path)),
    request_body = InboundBody,
    responses((status = 200, description = "Replaced", body = InboundDoor),
        (status = 201, description = "Created", body = InboundDoor), Problems, BodyProblems))]
async fn put(State(state): State<ApiState>, Path(name): Path<String>, body: Object) -> Result<Response, Problem> {
    let name: Code =
        name.parse().map_err(|problem| Problem::invalid(vec![Mistake::new("name", format!("`{name}` {problem}"))]))?;
    let (door, secrets) = read(body.0).map_err(Problem::invalid)?;
    if let Some((field, program)) = door.program()
        && !is_program(&state, &program).await?
    {
        // Nobody would see it: the sender's tries would fail for days.
        return Err(Problem::invalid(vec![Mistake::new(field, format!("there is no program `{program}`"))]));
    }
    let known = match state.catalog.inbound(&name).await {
        Ok(_) => true,
        Err(CatalogError::NotFound { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    if secrets.is_none() && !known {
        let problem = "is missing: without a secret nobody is believed";
        return Err(Problem::invalid(vec![Mistake::new("secrets", problem)]));
    }
    let (door, created) = state.catalog.put_inbound(&name, door.kind(), &door.settings(), secrets.as_deref()).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(door)).into_response())
}

async fn is_program(state: &ApiState, text: &str) -> Result<bool, Problem> {
    let Ok(code) = text.parse::<Code>() else { return Ok(false) };
    match state.catalog.get::<Program>(&[code.as_str()]).await {
        Ok(_) => Ok(true),
        Err(CatalogError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn read(mut body: Map<String, Value>) -> Result<(Door, Option<Vec<Secret>>), Vec<Mistake>> {
    const KNOWN: [&str; 3] = ["kind", "secrets", "settings"];
    const OURS: [&str; 7] = ["name", "applied", "ignored", "last_event_at", "created_at", "updated_at", "secrets"];
    let mut mistakes: Vec<Mistake> = body
        .keys()
        .filter(|field| !KNOWN.contains(&field.as_str()) && !OURS.contains(&field.as_str()))
        .map(|field| Mistake::new(field, format!("there is no such field: known are {}", KNOWN.join(", "))))
        .collect();
    let secrets = match body.swap_remove("secrets") {
        // What GET gave, their number, changes nothing.
        None | Some(Value::Null | Value::Number(_)) => None,
        Some(Value::Array(list)) => match secrets(&list) {
            Ok(secrets) => Some(secrets),
            Err(problem) => {
                mistakes.push(Mistake::new("secrets", problem));
                None
            }
        },
        Some(_) => {
            mistakes.push(Mistake::new("secrets", "is not a list of texts: write it like [\"whsec_…\"]"));
            None
        }
    };
    let settings = match body.swap_remove("settings") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(settings)) => settings,
        Some(_) => {
            mistakes.push(Mistake::new("settings", "is not an object"));
            Map::new()
        }
    };
    let kind = body.get("kind").and_then(Value::as_str).unwrap_or_default();
    match Door::read(kind, settings) {
        Ok(door) if mistakes.is_empty() => Ok((door, secrets)),
        Ok(_) => Err(mistakes),
        Err(others) => {
            mistakes.extend(others);
            Err(mistakes)
        }
    }
}

fn secrets(list: &[Value]) -> Result<Vec<Secret>, String> {
    if list.is_empty() || list.len() > INBOUND_SECRETS_MAX {
        return Err(format!("give 1 to {INBOUND_SECRETS_MAX} of them"));
    }
    let fits = |secret: &str| {
        (INBOUND_SECRET_MIN_BYTES..=INBOUND_SECRET_MAX_BYTES).contains(&secret.len())
            && secret.bytes().all(|b| b.is_ascii_graphic())
    };
    let secret = |value: &Value| value.as_str().filter(|secret| fits(secret)).map(Secret::new);
    list.iter().map(secret).collect::<Option<_>>().ok_or_else(|| {
        format!("each has {INBOUND_SECRET_MIN_BYTES} to {INBOUND_SECRET_MAX_BYTES} visible ASCII characters: draw one with `openssl rand -hex 24`")
    })
}

/// Closes a door. What came in through it stays.
#[utoipa::path(delete, path = "/v1/inbound/{name}", tag = "inbound", operation_id = "delete_inbound",
    params(("name" = String, Path)), responses((status = 204, description = "Deleted"), Problems))]
async fn delete(State(state): State<ApiState>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    state.catalog.delete_inbound(&code(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows what a sample body would tell. Nothing is told, and no signature is asked for.
#[utoipa::path(post, path = "/v1/inbound/{name}/try", tag = "inbound", operation_id = "try_inbound",
    params(("name" = String, Path)), request_body = Object,
    responses((status = 200, body = Vec<Tried>), Problems, BodyProblems))]
async fn try_it(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Vec<Tried>>, Problem> {
    let name = code(&name)?;
    let keys = state.catalog.inbound_keys(&name).await?;
    let events = events(&state, &name, &keys, &body)?;
    let tried = |Event { id, kind, deeds, why }| Tried { id, kind, facts: deeds.iter().map(shown).collect(), why };
    Ok(Json(events.into_iter().map(tried).collect()))
}

fn door(keys: &InboundKeys) -> Result<Door, Problem> {
    let settings = keys.settings.as_object().cloned().unwrap_or_default();
    // It was checked when it was made: another version may have made it.
    Door::read(&keys.kind, settings).map_err(Problem::invalid)
}

fn events(state: &ApiState, name: &Code, keys: &InboundKeys, body: &[u8]) -> Result<Vec<Event>, Problem> {
    door(keys)?.events(name, body, &|token| state.desk.click(token)).map_err(Problem::invalid)
}

async fn receive(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Received>, Problem> {
    take(&state, &name, None, &headers, &body).await
}

async fn receive_with_secret(
    State(state): State<ApiState>,
    Path((name, secret)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Received>, Problem> {
    take(&state, &name, Some(&secret), &headers, &body).await
}

/// Takes a request in: who sent it, what it says, each event once.
async fn take(
    state: &ApiState,
    name: &str,
    secret: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Json<Received>, Problem> {
    let name = code(name)?;
    let keys = state.catalog.inbound_keys(&name).await?;
    if let Err(error) = believe(state, &keys, secret, headers, body)? {
        counter!(names::INBOUND_EVENTS, "result" => "unsigned").increment(1);
        tracing::info!(endpoint = %name, tag = error.tag(), "a webhook is not believed");
        let title = "Nobody that is known here has sent this";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "signature", title, error.to_string()));
    }
    let told = async {
        let mut received = Vec::new();
        for Event { id, kind, deeds, why } in events(state, &name, &keys, body)? {
            let effect = state.desk.inbound(&name, &id, &kind, &deeds).await?;
            let (result, facts) = match effect {
                Effect::Again => ("again", Vec::new()),
                Effect::Applied(_) if deeds.is_empty() => ("ignored", Vec::new()),
                Effect::Applied(facts) => ("applied", facts),
            };
            counter!(names::INBOUND_EVENTS, "result" => result).increment(1);
            received.push(ReceivedEvent { id, kind, result, facts, why });
        }
        Ok(Json(Received { events: received }))
    };
    told.await.inspect_err(|_: &Problem| counter!(names::INBOUND_EVENTS, "result" => "refused").increment(1))
}

/// Whether a request comes from who has a secret. The outer error is ours.
fn believe(
    state: &ApiState,
    keys: &InboundKeys,
    secret: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Result<(), SignatureError>, Problem> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let now = state.clock.now();
    Ok(match door(keys)? {
        Door::Stripe(_) => signature::stripe(header(STRIPE_HEADER), body, &keys.secrets, now),
        Door::Generic(settings) => settings.auth.check(header, secret, body, &keys.secrets, now),
    })
}
