//! `/v1/rewards`: what is owed, and that it was given.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, Problem,
    items::{ListParameters, Object, parameters},
    problem::{BodyProblems, Problems},
};
use crate::{
    catalog::{
        Mistake, Page,
        record::{RewardQuery, RewardRow},
    },
    core::{
        fact::FactId,
        limits::{ISSUE_MAX, NAME_MAX_CHARS, PAGE_DEFAULT_ROWS},
        terms::RewardState,
    },
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(issue))
}

/// Which rewards are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Parameters {
    /// `pending`, `held`, `due`, `issued` or `reversed`.
    state: Option<String>,
    program: Option<String>,
    partner: Option<String>,
    referral: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Items of one page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Rewards that were given.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in OpenAPI")]
struct Issue {
    /// Ids of due rewards.
    rewards: Vec<String>,
    /// What you call it, for example a transfer's number.
    reference: String,
}

/// Rewards, the oldest first.
#[utoipa::path(get, path = "/v1/rewards", tag = "rewards", operation_id = "list_rewards", params(Parameters),
    responses((status = 200, body = Page<RewardRow>), Problems))]
async fn list(
    State(state): State<ApiState>,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Page<RewardRow>>, Problem> {
    let Parameters { state: wanted, program, partner, referral, cursor, limit } = parameters(query)?;
    if let Some(word) = &wanted
        && RewardState::from_word(word).is_none()
    {
        let problem = format!("`{word}` is no state: known are {}", RewardState::WORDS.join(", "));
        return Err(Problem::parameter(vec![Mistake::new("state", problem)]));
    }
    let limit = ListParameters { search: None, cursor: None, limit }.query(Vec::new())?.limit;
    let lower = |text: Option<String>| text.map(|text| text.to_ascii_lowercase());
    let query = RewardQuery {
        state: wanted,
        program: lower(program),
        partner: lower(partner),
        referral: lower(referral),
        cursor,
        limit: limit.unwrap_or(PAGE_DEFAULT_ROWS),
        ..RewardQuery::default()
    };
    Ok(Json(state.catalog.rewards(&query).await?))
}

/// Marks due rewards as issued, all of them or none. The same call again changes nothing.
#[utoipa::path(post, path = "/v1/rewards/issue", tag = "rewards", operation_id = "issue_rewards", request_body = Issue,
    responses((status = 200, body = Vec<RewardRow>), Problems, BodyProblems))]
async fn issue(State(state): State<ApiState>, body: Object) -> Result<Json<Vec<RewardRow>>, Problem> {
    let mut mistakes = Vec::new();
    let (mut rewards, mut reference): (Vec<FactId>, String) = (Vec::new(), String::new());
    for (field, value) in body.0 {
        match (field.as_str(), value) {
            ("rewards", serde_json::Value::Array(ids)) if (1..=ISSUE_MAX).contains(&ids.len()) => {
                for (at, id) in ids.iter().enumerate() {
                    match id.as_str().and_then(|text| text.parse().ok()) {
                        Some(id) => rewards.push(id),
                        None => {
                            mistakes.push(Mistake::new(format!("rewards[{at}]"), format!("{id} is no reward's id")));
                        }
                    }
                }
            }
            ("rewards", _) => mistakes.push(Mistake::new("rewards", format!("give a list of 1 to {ISSUE_MAX} ids"))),
            ("reference", serde_json::Value::String(text)) if text.chars().count() <= NAME_MAX_CHARS => {
                reference = text;
            }
            ("reference", _) => {
                mistakes.push(Mistake::new("reference", format!("give a text of at most {NAME_MAX_CHARS} characters")));
            }
            (other, _) => mistakes.push(Mistake::new(other, "there is no such field: known are rewards, reference")),
        }
    }
    if rewards.is_empty() && mistakes.is_empty() {
        mistakes.push(Mistake::new("rewards", "is missing: give the ids of due rewards"));
    }
    if !mistakes.is_empty() {
        return Err(Problem::invalid(mistakes));
    }
    Ok(Json(state.desk.issue(&rewards, &reference).await?))
}
