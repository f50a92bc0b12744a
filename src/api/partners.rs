//! `/v1/partners`.

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
use crate::catalog::{Page, Partner};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, put, delete))
}

/// Partners, in the order of their codes.
#[utoipa::path(get, path = "/v1/partners", tag = "partners", operation_id = "list_partners", params(ListParameters),
    responses((status = 200, body = Page<Partner>), Problems))]
async fn list(
    State(state): State<ApiState>,
    query: Result<Query<ListParameters>, QueryRejection>,
) -> Result<Json<Page<Partner>>, Problem> {
    items::list(&state, parameters(query)?, Vec::new()).await
}

/// One partner.
#[utoipa::path(get, path = "/v1/partners/{code}", tag = "partners", operation_id = "get_partner", params(("code" = String, Path)),
    responses((status = 200, body = Partner), Problems))]
async fn get(State(state): State<ApiState>, Path(code): Path<String>) -> Result<Json<Partner>, Problem> {
    items::get(&state, &[&code]).await
}

/// Creates or replaces a partner. What is not given is empty.
#[utoipa::path(put, path = "/v1/partners/{code}", tag = "partners", operation_id = "put_partner", params(("code" = String, Path)),
    request_body = Partner,
    responses((status = 200, description = "Replaced", body = Partner), (status = 201, description = "Created", body = Partner),
        Problems, BodyProblems))]
async fn put(State(state): State<ApiState>, Path(code): Path<String>, body: Object) -> Result<Response, Problem> {
    items::put::<Partner>(&state, &[&code], body).await
}

/// Deletes a partner that nothing refers to.
#[utoipa::path(delete, path = "/v1/partners/{code}", tag = "partners", operation_id = "delete_partner",
    params(("code" = String, Path), DeleteParameters),
    responses((status = 204, description = "Deleted"),
        (status = 409, description = "Something refers to it", body = Problem, content_type = "application/problem+json"),
        Problems))]
async fn delete(
    State(state): State<ApiState>,
    Path(code): Path<String>,
    query: Result<Query<DeleteParameters>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    items::delete::<Partner>(&state, &[&code], parameters(query)?.cascade).await
}
