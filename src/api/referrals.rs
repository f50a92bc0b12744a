//! `/v1/referrals`: the people whom partners brought, and why they are credited.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, Problem,
    items::{ListParameters, Object, parameters},
    problem::{BodyProblems, Problems},
};
use crate::{
    catalog::{
        CatalogError, Mistake, Page,
        record::{ReferralRow, ReferralView},
    },
    core::{
        code::Code,
        fact::{FactId, Verdict},
        limits::GIFT_MAX_CHARS,
    },
    referral::attribution::Decision,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(attribution))
        .routes(routes!(qualify))
        .routes(routes!(reject))
}

/// Which referrals are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Parameters {
    program: Option<String>,
    partner: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Items of one page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Why a referral is credited as it is: one decision for each of its leads, in the order of their times.
#[derive(Serialize, utoipa::ToSchema)]
struct Explained {
    referral: ReferralRow,
    /// The partner's parent, its parent, and so on, who share in the partner's rewards.
    #[schema(value_type = Vec<String>)]
    parents: Vec<Code>,
    /// The whole story in words.
    words: Vec<String>,
    decisions: Vec<Decision>,
}

/// What to note with a ruling.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in OpenAPI")]
pub(super) struct Note {
    note: Option<String>,
}

pub(super) fn id(kind: &'static str, text: &str) -> Result<FactId, Problem> {
    text.parse().map_err(|_| CatalogError::NotFound { kind, code: text.to_owned() }.into())
}

/// Referrals, the oldest first.
#[utoipa::path(get, path = "/v1/referrals", tag = "referrals", operation_id = "list_referrals", params(Parameters),
    responses((status = 200, body = Page<ReferralRow>), Problems))]
async fn list(
    State(state): State<ApiState>,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Page<ReferralRow>>, Problem> {
    let Parameters { program, partner, cursor, limit } = parameters(query)?;
    let limit = ListParameters { search: None, cursor: None, limit }.query(Vec::new())?.limit;
    let lower = |text: Option<String>| text.map(|text| text.to_ascii_lowercase());
    let (program, partner) = (lower(program), lower(partner));
    let limit = limit.unwrap_or(crate::core::limits::PAGE_DEFAULT_ROWS);
    Ok(Json(state.catalog.referrals(program.as_deref(), partner.as_deref(), cursor.as_deref(), limit).await?))
}

/// One referral and the person it is about.
#[utoipa::path(get, path = "/v1/referrals/{id}", tag = "referrals", operation_id = "get_referral",
    params(("id" = String, Path)), responses((status = 200, body = ReferralView), Problems))]
async fn get(State(state): State<ApiState>, Path(text): Path<String>) -> Result<Json<ReferralView>, Problem> {
    Ok(Json(state.catalog.referral(id("referral", &text)?).await?))
}

/// Who is credited and why: all candidates, and what became of each.
#[utoipa::path(get, path = "/v1/referrals/{id}/attribution", tag = "referrals", operation_id = "explain_referral",
    params(("id" = String, Path)), responses((status = 200, body = Explained), Problems))]
async fn attribution(State(state): State<ApiState>, Path(text): Path<String>) -> Result<Json<Explained>, Problem> {
    let ReferralView { referral, parents, .. } = state.catalog.referral(id("referral", &text)?).await?;
    let mut decisions: Vec<Decision> = Vec::new();
    for text in state.catalog.decisions(&referral).await? {
        decisions.push(serde_json::from_str(&text).map_err(|error| Problem::internal(error.to_string()))?);
    }
    let mut words: Vec<String> = decisions.iter().flat_map(Decision::in_words).collect();
    if !parents.is_empty() {
        let chain: Vec<&str> = parents.iter().map(Code::as_str).collect();
        words.push(format!("{} has the parent {}.", referral.partner, chain.join(", whose parent is ")));
    }
    Ok(Json(Explained { referral, parents, words, decisions }))
}

/// Qualifies a referral by hand.
#[utoipa::path(post, path = "/v1/referrals/{id}/qualify", tag = "referrals", operation_id = "qualify_referral",
    params(("id" = String, Path)), request_body = Note,
    responses((status = 200, body = ReferralRow), Problems, BodyProblems))]
async fn qualify(
    State(state): State<ApiState>,
    Path(text): Path<String>,
    body: Object,
) -> Result<Json<ReferralRow>, Problem> {
    rule(&state, &text, Verdict::Qualify, body).await
}

/// Rejects a referral by hand: what it earned is reversed.
#[utoipa::path(post, path = "/v1/referrals/{id}/reject", tag = "referrals", operation_id = "reject_referral",
    params(("id" = String, Path)), request_body = Note,
    responses((status = 200, body = ReferralRow), Problems, BodyProblems))]
async fn reject(
    State(state): State<ApiState>,
    Path(text): Path<String>,
    body: Object,
) -> Result<Json<ReferralRow>, Problem> {
    rule(&state, &text, Verdict::Reject, body).await
}

pub(super) async fn rule(
    state: &ApiState,
    text: &str,
    verdict: Verdict,
    body: Object,
) -> Result<Json<ReferralRow>, Problem> {
    let mut mistakes = Vec::new();
    let mut note = String::new();
    for (field, value) in body.0 {
        match (field.as_str(), value) {
            ("note", serde_json::Value::String(text)) if text.chars().count() <= GIFT_MAX_CHARS => note = text,
            ("note", serde_json::Value::Null) => {}
            ("note", _) => {
                mistakes.push(Mistake::new("note", format!("give a text of at most {GIFT_MAX_CHARS} characters")));
            }
            (other, _) => mistakes.push(Mistake::new(other, "there is no such field: known is note")),
        }
    }
    if !mistakes.is_empty() {
        return Err(Problem::invalid(mistakes));
    }
    Ok(Json(state.desk.rule(id("referral", text)?, verdict, &note).await?))
}
