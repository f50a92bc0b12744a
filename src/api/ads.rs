//! `/v1/partners/{partner}/ads`.

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
use crate::catalog::{Ad, Page, Partner};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, put, delete))
}

/// A partner's ads, in the order of their codes.
#[utoipa::path(get, path = "/v1/partners/{partner}/ads", tag = "ads", operation_id = "list_ads",
    params(("partner" = String, Path), ListParameters), responses((status = 200, body = Page<Ad>), Problems))]
async fn list(
    State(state): State<ApiState>,
    Path(partner): Path<String>,
    query: Result<Query<ListParameters>, QueryRejection>,
) -> Result<Json<Page<Ad>>, Problem> {
    let Json(Partner { code, .. }) = items::get(&state, &[&partner]).await?;
    items::list(&state, parameters(query)?, vec![("partner", code.to_string())]).await
}

/// One ad of a partner.
#[utoipa::path(get, path = "/v1/partners/{partner}/ads/{code}", tag = "ads", operation_id = "get_ad",
    params(("partner" = String, Path), ("code" = String, Path)), responses((status = 200, body = Ad), Problems))]
async fn get(
    State(state): State<ApiState>,
    Path((partner, code)): Path<(String, String)>,
) -> Result<Json<Ad>, Problem> {
    items::get(&state, &[&partner, &code]).await
}

/// Creates or replaces an ad of a partner. What is not given is empty.
#[utoipa::path(put, path = "/v1/partners/{partner}/ads/{code}", tag = "ads", operation_id = "put_ad",
    params(("partner" = String, Path), ("code" = String, Path)), request_body = Ad,
    responses((status = 200, description = "Replaced", body = Ad), (status = 201, description = "Created", body = Ad),
        Problems, BodyProblems))]
async fn put(
    State(state): State<ApiState>,
    Path((partner, code)): Path<(String, String)>,
    body: Object,
) -> Result<Response, Problem> {
    items::put::<Ad>(&state, &[&partner, &code], body).await
}

/// Deletes an ad that no share link refers to.
#[utoipa::path(delete, path = "/v1/partners/{partner}/ads/{code}", tag = "ads", operation_id = "delete_ad",
    params(("partner" = String, Path), ("code" = String, Path), DeleteParameters),
    responses((status = 204, description = "Deleted"),
        (status = 409, description = "Something refers to it", body = Problem, content_type = "application/problem+json"),
        Problems))]
async fn delete(
    State(state): State<ApiState>,
    Path((partner, code)): Path<(String, String)>,
    query: Result<Query<DeleteParameters>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    items::delete::<Ad>(&state, &[&partner, &code], parameters(query)?.cascade).await
}
