//! `/v1/webhooks`: endpoints, their secrets, their log; a test, a replay.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, Problem,
    items::{ListParameters, Object, parameters},
    problem::{BodyProblems, Problems},
};
use crate::{
    catalog::{
        Mistake, Page,
        webhooks::{Delivery, ReplayFrom, Webhook, WebhookSettings, WebhookState, WebhookWithSecret},
    },
    core::{limits::PAGE_DEFAULT_ROWS, time::Millis},
    outbox::{Guard, OutboxError, Tester},
};

/// What the resource needs besides the catalog.
#[derive(Clone, Debug)]
pub struct Webhooks {
    pub guard: Arc<Guard>,
    pub tester: Tester,
    /// How long the older secret signs as well when secrets rotate.
    pub secret_overlap: Duration,
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, put, delete))
        .routes(routes!(rotate_secret))
        .routes(routes!(test))
        .routes(routes!(replay))
        .routes(routes!(deliveries))
}

/// What an endpoint is made of. What is not given is empty: all kinds, all programs.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in OpenAPI")]
struct WebhookBody {
    /// https, and public; `webhooks.allow_hosts` names exceptions.
    #[schema(example = "https://shop.example/hooks/fingerpost")]
    address: String,
    description: Option<String>,
    /// Kinds of events; `reward.*` stands for all that begin so.
    #[schema(example = json!(["referral.qualified", "reward.*"]))]
    kinds: Option<Vec<String>>,
    /// Codes of programs.
    programs: Option<Vec<String>>,
    state: Option<WebhookState>,
}

/// From where an endpoint is served again.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in OpenAPI")]
struct ReplayBody {
    /// The number of an event (`seq`), or a time: the first event at or behind it. A later one than the endpoint is at skips
    /// what lies between.
    #[schema(value_type = String, example = "2026-03-01T00:00:00Z")]
    from: Value,
}

fn settings(state: &ApiState, body: Object) -> Result<WebhookSettings, Problem> {
    WebhookSettings::read(body.0, |address| state.webhooks.guard.check_address(address)).map_err(Problem::invalid)
}

/// Endpoints, in the order in which they were made.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", operation_id = "list_webhooks",
    responses((status = 200, body = Page<Webhook>), Problems))]
async fn list(State(state): State<ApiState>) -> Result<Json<Page<Webhook>>, Problem> {
    Ok(Json(state.catalog.webhooks().await?))
}

/// Makes an endpoint, which is sent what happens from now on. The answer is the only one that shows the secret.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", operation_id = "create_webhook", request_body = WebhookBody,
    responses((status = 201, description = "Created", body = WebhookWithSecret), Problems, BodyProblems))]
async fn create(State(state): State<ApiState>, body: Object) -> Result<Response, Problem> {
    let created = state.catalog.create_webhook(&settings(&state, body)?).await?;
    let location = HeaderValue::from_str(&format!("/v1/webhooks/{}", created.webhook.id));
    let mut response = (StatusCode::CREATED, Json(created)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// One endpoint: where it is, and how it fares.
#[utoipa::path(get, path = "/v1/webhooks/{id}", tag = "webhooks", operation_id = "get_webhook", params(("id" = String, Path)),
    responses((status = 200, body = Webhook), Problems))]
async fn get(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Json<Webhook>, Problem> {
    Ok(Json(state.catalog.webhook(&id).await?))
}

/// Replaces an endpoint's settings. What waits for its next try is tried at once; one that is made active again goes on where
/// it stopped.
#[utoipa::path(put, path = "/v1/webhooks/{id}", tag = "webhooks", operation_id = "put_webhook", params(("id" = String, Path)),
    request_body = WebhookBody, responses((status = 200, description = "Replaced", body = Webhook), Problems, BodyProblems))]
async fn put(State(state): State<ApiState>, Path(id): Path<String>, body: Object) -> Result<Json<Webhook>, Problem> {
    Ok(Json(state.catalog.update_webhook(&id, &settings(&state, body)?).await?))
}

/// Deletes an endpoint with its log.
#[utoipa::path(delete, path = "/v1/webhooks/{id}", tag = "webhooks", operation_id = "delete_webhook",
    params(("id" = String, Path)), responses((status = 204, description = "Deleted"), Problems))]
async fn delete(State(state): State<ApiState>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    state.catalog.delete_webhook(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Draws a new secret and shows it, this once. The older one signs as well for `webhooks.secret_overlap`.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate-secret", tag = "webhooks", operation_id = "rotate_webhook_secret",
    params(("id" = String, Path)), responses((status = 200, body = WebhookWithSecret), Problems))]
async fn rotate_secret(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<WebhookWithSecret>, Problem> {
    let overlap_ms = i64::try_from(state.webhooks.secret_overlap.as_millis()).unwrap_or(i64::MAX);
    let older_until = state.clock.now().plus(overlap_ms);
    Ok(Json(state.catalog.rotate_webhook_secret(&id, older_until).await?))
}

/// Sends a message of the type `webhook.test` at once, also to a disabled endpoint, and answers with what came of it.
#[utoipa::path(post, path = "/v1/webhooks/{id}/test", tag = "webhooks", operation_id = "test_webhook",
    params(("id" = String, Path)), responses((status = 200, body = Delivery), Problems))]
async fn test(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Json<Delivery>, Problem> {
    match state.webhooks.tester.test(&id).await {
        Ok(delivery) => Ok(Json(delivery)),
        Err(OutboxError::Catalog(error)) => Err(error.into()),
        Err(error) => {
            tracing::error!(%error, tag = error.tag(), "a webhook cannot be tested");
            Err(Problem::internal(error.to_string()))
        }
    }
}

/// Sends everything from a point on again, with the same `webhook-id`s.
#[utoipa::path(post, path = "/v1/webhooks/{id}/replay", tag = "webhooks", operation_id = "replay_webhook",
    params(("id" = String, Path)), request_body = ReplayBody,
    responses((status = 200, body = Webhook), Problems, BodyProblems))]
async fn replay(State(state): State<ApiState>, Path(id): Path<String>, body: Object) -> Result<Json<Webhook>, Problem> {
    let from = replay_from(&body).map_err(|mistake| Problem::invalid(vec![mistake]))?;
    Ok(Json(state.catalog.replay_webhook(&id, from).await?))
}

fn replay_from(body: &Object) -> Result<ReplayFrom, Mistake> {
    if let Some(field) = body.0.keys().find(|field| *field != "from") {
        return Err(Mistake::new(field, "there is no such field: known is from"));
    }
    let wrong = "is neither an event's number (seq) nor a time: give one like 17, or \"2026-03-01T12:30:00Z\"";
    match body.0.get("from") {
        None | Some(Value::Null) => Err(Mistake::new("from", "is missing: give an event's number (seq), or a time")),
        Some(Value::Number(number)) => {
            number.as_i64().filter(|seq| *seq > 0).map(ReplayFrom::Seq).ok_or_else(|| Mistake::new("from", wrong))
        }
        Some(Value::String(text)) => {
            text.parse::<Millis>().map(ReplayFrom::Time).map_err(|_| Mistake::new("from", wrong))
        }
        Some(_) => Err(Mistake::new("from", wrong)),
    }
}

/// Which part of a log is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LogParameters {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Rows of one page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// The tries of an endpoint, the newest first. The last thousand are kept.
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries", tag = "webhooks", operation_id = "list_webhook_deliveries",
    params(("id" = String, Path), LogParameters), responses((status = 200, body = Page<Delivery>), Problems))]
async fn deliveries(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    query: Result<Query<LogParameters>, QueryRejection>,
) -> Result<Json<Page<Delivery>>, Problem> {
    let LogParameters { cursor, limit } = parameters(query)?;
    let query = ListParameters { search: None, cursor, limit }.query(Vec::new())?;
    let limit = query.limit.unwrap_or(PAGE_DEFAULT_ROWS);
    Ok(Json(state.catalog.webhook_deliveries(&id, query.cursor.as_deref(), limit).await?))
}
