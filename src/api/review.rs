//! `/v1/review`: referrals that are held until somebody looks at them, and terms that are tried before they are switched on.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, Problem,
    items::{ListParameters, Object, parameters},
    problem::{BodyProblems, Problems},
    referrals::{Note, rule},
};
use crate::{
    catalog::{
        CatalogError, Mistake, Page,
        record::{Following, ReferralRow, ReviewItem, ReviewQuery},
    },
    core::{
        code::Code,
        fact::Verdict,
        limits::PAGE_DEFAULT_ROWS,
        review::{Review, Signal},
        terms::{Qualification, RewardRule},
        time::Millis,
    },
    referral::dry_run::{Prediction, Trial},
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(approve))
        .routes(routes!(reject))
        .routes(routes!(dry_run))
        .routes(routes!(following))
}

/// Which held referrals are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Parameters {
    program: Option<String>,
    partner: Option<String>,
    /// Only those with this signal among their reasons, for example `burst`.
    signal: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Items of one page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Terms to try on history. What is left out stays as the program has it.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in OpenAPI")]
struct NewTrial {
    #[schema(example = "spring")]
    program: String,
    qualification: Option<Qualification>,
    rewards: Option<Vec<RewardRule>>,
    review: Option<Review>,
    /// Only referrals that came since then are counted.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Millis>,
}

/// Referrals that are held, most urgent first: the highest score, then who has waited longest. `stake` is what waits with them.
#[utoipa::path(get, path = "/v1/review", tag = "review", operation_id = "list_review", params(Parameters),
    responses((status = 200, body = Page<ReviewItem>), Problems))]
async fn list(
    State(state): State<ApiState>,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Page<ReviewItem>>, Problem> {
    let Parameters { program, partner, signal, cursor, limit } = parameters(query)?;
    let limit = ListParameters { search: None, cursor: None, limit }.query(Vec::new())?.limit;
    let mut mistakes = Vec::new();
    let mut code = |field: &str, text: Option<String>| {
        text.and_then(|text| {
            let read = text.parse::<Code>();
            read.map_err(|error| mistakes.push(Mistake::new(field, format!("`{text}` {error}")))).ok()
        })
    };
    let (program, partner) = (code("program", program), code("partner", partner));
    let signal = signal.and_then(|word| {
        let found = Signal::from_word(&word);
        if found.is_none() {
            let known = Signal::WORDS.join(", ");
            mistakes.push(Mistake::new("signal", format!("`{word}` is no signal: known are {known}")));
        }
        found
    });
    if !mistakes.is_empty() {
        return Err(Problem::parameter(mistakes));
    }
    let query = ReviewQuery { program, partner, signal, cursor, limit: limit.unwrap_or(PAGE_DEFAULT_ROWS) };
    match state.catalog.review(&query).await {
        Err(CatalogError::Invalid(mistakes)) => Err(Problem::parameter(mistakes)),
        page => Ok(Json(page?)),
    }
}

/// Approves a referral: its rewards wait no longer. It speaks for the reasons that are there now; a new kind of reason holds it again.
/// It takes a rejection by hand back.
#[utoipa::path(post, path = "/v1/review/{referral}/approve", tag = "review", operation_id = "approve_referral",
    params(("referral" = String, Path)), request_body = Note,
    responses((status = 200, body = ReferralRow), Problems, BodyProblems))]
async fn approve(
    State(state): State<ApiState>,
    Path(text): Path<String>,
    body: Object,
) -> Result<Json<ReferralRow>, Problem> {
    rule(&state, &text, Verdict::Approve, body).await
}

/// Rejects a referral: what it earned is reversed.
#[utoipa::path(post, path = "/v1/review/{referral}/reject", tag = "review", operation_id = "reject_reviewed_referral",
    params(("referral" = String, Path)), request_body = Note,
    responses((status = 200, body = ReferralRow), Problems, BodyProblems))]
async fn reject(
    State(state): State<ApiState>,
    Path(text): Path<String>,
    body: Object,
) -> Result<Json<ReferralRow>, Problem> {
    rule(&state, &text, Verdict::Reject, body).await
}

/// Says what these terms would do to the program's history if they were switched on now. Writes nothing.
#[utoipa::path(post, path = "/v1/review/dry-run", tag = "review", operation_id = "dry_run", request_body = NewTrial,
    responses((status = 200, body = Prediction), Problems, BodyProblems))]
async fn dry_run(State(state): State<ApiState>, body: Object) -> Result<Json<Prediction>, Problem> {
    let trial = Trial::read(body.0).map_err(Problem::invalid)?;
    Ok(Json(state.desk.dry_run(&trial).await?))
}

/// How far a program's terms have reached its history: a change of them is followed for all its referrals in the background.
#[utoipa::path(get, path = "/v1/programs/{code}/following", tag = "programs", operation_id = "get_following",
    params(("code" = String, Path)), responses((status = 200, body = Following), Problems))]
async fn following(State(state): State<ApiState>, Path(text): Path<String>) -> Result<Json<Following>, Problem> {
    let missing = || CatalogError::NotFound { kind: "program", code: text.clone() };
    let code: Code = text.parse().map_err(|_| missing())?;
    Ok(Json(state.desk.following(&code).await?.ok_or_else(missing)?))
}
