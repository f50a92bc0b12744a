//! `/v1/links`.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, Problem,
    items::{self, DeleteParameters, ListParameters, Object, parameters},
    problem::{BodyProblems, Problems},
};
use crate::catalog::{Link, Page};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, put, delete))
}

/// Links, in the order of their codes.
#[utoipa::path(get, path = "/v1/links", tag = "links", operation_id = "list_links", params(ListParameters),
    responses((status = 200, body = Page<Link>), Problems))]
async fn list(
    State(state): State<ApiState>,
    query: Result<Query<ListParameters>, QueryRejection>,
) -> Result<Json<Page<Link>>, Problem> {
    items::list(&state, parameters(query)?, Vec::new()).await
}

/// One link.
#[utoipa::path(get, path = "/v1/links/{code}", tag = "links", operation_id = "get_link", params(("code" = String, Path)),
    responses((status = 200, body = Link), Problems))]
async fn get(State(state): State<ApiState>, Path(code): Path<String>) -> Result<Json<Link>, Problem> {
    items::get(&state, &[&code]).await
}

/// Creates or replaces a link. What is not given is empty.
#[utoipa::path(put, path = "/v1/links/{code}", tag = "links", operation_id = "put_link", params(("code" = String, Path)),
    request_body = Link,
    responses((status = 200, description = "Replaced", body = Link), (status = 201, description = "Created", body = Link),
        Problems, BodyProblems))]
async fn put(State(state): State<ApiState>, Path(code): Path<String>, body: Object) -> Result<Response, Problem> {
    items::put::<Link>(&state, &[&code], body).await
}

/// Deletes a link that nothing refers to.
#[utoipa::path(delete, path = "/v1/links/{code}", tag = "links", operation_id = "delete_link",
    params(("code" = String, Path), DeleteParameters),
    responses((status = 204, description = "Deleted"),
        (status = 409, description = "Something refers to it", body = Problem, content_type = "application/problem+json"),
        Problems))]
async fn delete(
    State(state): State<ApiState>,
    Path(code): Path<String>,
    query: Result<Query<DeleteParameters>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    items::delete::<Link>(&state, &[&code], parameters(query)?.cascade).await
}
