//! `/v1/share-links`.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, Problem,
    items::{self, ListParameters, Object, parameters},
    problem::{BodyProblems, Problems},
};
use crate::catalog::{Page, ShareLink, entity};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, delete))
}

/// Which share links are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Parameters {
    /// Of this link.
    link: Option<String>,
    /// Of this partner.
    partner: Option<String>,
    /// Of this ad.
    ad: Option<String>,
    /// Part of a slug or of a code, in any case.
    search: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Items of one page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// What a share link is made of.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in OpenAPI")]
struct NewShareLink {
    /// Drawn at random where none is given.
    #[schema(example = "spring-hair")]
    slug: Option<String>,
    #[schema(example = "haircare")]
    link: String,
    #[schema(example = "abc123")]
    partner: String,
    #[schema(example = "website2")]
    ad: Option<String>,
}

/// Share links, in the order of their slugs.
#[utoipa::path(get, path = "/v1/share-links", tag = "share links", operation_id = "list_share_links", params(Parameters),
    responses((status = 200, body = Page<ShareLink>), Problems))]
async fn list(
    State(state): State<ApiState>,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Page<ShareLink>>, Problem> {
    let Parameters { link, partner, ad, search, cursor, limit } = parameters(query)?;
    let only = [("link", link), ("partner", partner), ("ad", ad)];
    let only = only.into_iter().filter_map(|(column, code)| Some((column, code?.to_ascii_lowercase()))).collect();
    items::list(&state, ListParameters { search, cursor, limit }, only).await
}

/// Makes a share link, or answers with the one that this link, partner and ad have already. With a slug of its own it is
/// another one, and the slug must be free.
#[utoipa::path(post, path = "/v1/share-links", tag = "share links", operation_id = "create_share_link",
    request_body = NewShareLink,
    responses((status = 200, description = "It was there already", body = ShareLink),
        (status = 201, description = "Created", body = ShareLink),
        (status = 409, description = "The slug is taken", body = Problem, content_type = "application/problem+json"),
        Problems, BodyProblems))]
async fn create(State(state): State<ApiState>, body: Object) -> Result<Response, Problem> {
    let wanted = entity::from_json::<ShareLink>(body.0).map_err(Problem::invalid)?;
    let (item, created) = state.catalog.share(wanted).await?;
    Ok(items::stored(&item, created, Some(&format!("/v1/share-links/{}", item.slug))))
}

/// One share link.
#[utoipa::path(get, path = "/v1/share-links/{slug}", tag = "share links", operation_id = "get_share_link",
    params(("slug" = String, Path)), responses((status = 200, body = ShareLink), Problems))]
async fn get(State(state): State<ApiState>, Path(slug): Path<String>) -> Result<Json<ShareLink>, Problem> {
    items::get(&state, &[&slug]).await
}

/// Deletes a share link: its short address answers 404 from then on.
#[utoipa::path(delete, path = "/v1/share-links/{slug}", tag = "share links", operation_id = "delete_share_link",
    params(("slug" = String, Path)), responses((status = 204, description = "Deleted"), Problems))]
async fn delete(State(state): State<ApiState>, Path(slug): Path<String>) -> Result<StatusCode, Problem> {
    items::delete::<ShareLink>(&state, &[&slug], false).await
}
