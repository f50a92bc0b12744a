//! `/v1/programs`.

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
use crate::catalog::{Page, Program};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, put, delete))
}

/// Programs, in the order of their codes.
#[utoipa::path(get, path = "/v1/programs", tag = "programs", operation_id = "list_programs", params(ListParameters),
    responses((status = 200, body = Page<Program>), Problems))]
async fn list(
    State(state): State<ApiState>,
    query: Result<Query<ListParameters>, QueryRejection>,
) -> Result<Json<Page<Program>>, Problem> {
    items::list(&state, parameters(query)?, Vec::new()).await
}

/// One program.
#[utoipa::path(get, path = "/v1/programs/{code}", tag = "programs", operation_id = "get_program", params(("code" = String, Path)),
    responses((status = 200, body = Program), Problems))]
async fn get(State(state): State<ApiState>, Path(code): Path<String>) -> Result<Json<Program>, Problem> {
    items::get(&state, &[&code]).await
}

/// Creates or replaces a program. What is not given is empty.
#[utoipa::path(put, path = "/v1/programs/{code}", tag = "programs", operation_id = "put_program", params(("code" = String, Path)),
    request_body = Program,
    responses((status = 200, description = "Replaced", body = Program), (status = 201, description = "Created", body = Program),
        Problems, BodyProblems))]
async fn put(State(state): State<ApiState>, Path(code): Path<String>, body: Object) -> Result<Response, Problem> {
    items::put::<Program>(&state, &[&code], body).await
}

/// Deletes a program that nothing refers to.
#[utoipa::path(delete, path = "/v1/programs/{code}", tag = "programs", operation_id = "delete_program",
    params(("code" = String, Path), DeleteParameters),
    responses((status = 204, description = "Deleted"),
        (status = 409, description = "Something refers to it", body = Problem, content_type = "application/problem+json"),
        Problems))]
async fn delete(
    State(state): State<ApiState>,
    Path(code): Path<String>,
    query: Result<Query<DeleteParameters>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    items::delete::<Program>(&state, &[&code], parameters(query)?.cascade).await
}
