//! `GET /v1/reports/{name}`: reports that join reach with what came of it.

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ApiState, Problem, items::parameters, problem::Problems, reports::answer};
use crate::{
    report::{Name, Question, Sources, Unanswered, Words},
    store::question,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(report))
}

/// What a report looks at.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// People who came, and events that happened, since: a length of time until now (`7d`) or a time (`2026-03-01`,
    /// `2026-03-01T12:00:00Z`). Without it: since ever.
    since: Option<String>,
    /// Written as `since`, not included. Without it: until now.
    until: Option<String>,
    program: Option<String>,
    link: Option<String>,
    partner: Option<String>,
    ad: Option<String>,
    /// The time zone in which days and months begin, by its IANA name; UTC where none is given.
    #[param(example = "Europe/Berlin")]
    tz: Option<String>,
    /// The customer base that participation is a part of; the number of partners where none is given.
    customers: Option<String>,
    /// Rows of a top list: 20 where nothing is said, at most 1000.
    limit: Option<String>,
    /// `true`: the funnel counts unique visitors too, from the rows of events.
    visitors: Option<bool>,
    /// `json` or `csv`, in the place of `Accept`.
    format: Option<String>,
}

/// A report by name: funnel, participation, rates, top-partners, top-links, top-ads, top-channels, money, motivators,
/// time-to-convert, cohorts, models.
#[utoipa::path(get, path = "/v1/reports/{name}", tag = "reports", operation_id = "report",
    params(("name" = String, Path, description = "One of the names above", example = "funnel"), Asked), responses(
    (status = 200, description = "The rows; their columns are those of the report (docs/analysts.md). Amounts are minor units of \
        the row's currency, rates are parts of 1", content((Vec<Object> = "application/json"), (String = "text/csv"))),
    Problems))]
async fn report(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let name = Name::parse(&name)
        .map_err(|error| Problem::new(StatusCode::NOT_FOUND, "not_found", "There is no such report", error.problem))?;
    let asked = parameters(asked)?;
    let filter = question::Words {
        since: asked.since.as_deref(),
        until: asked.until.as_deref(),
        program: asked.program.as_deref(),
        link: asked.link.as_deref(),
        partner: asked.partner.as_deref(),
        ad: asked.ad.as_deref(),
    };
    let words = Words {
        filter,
        tz: asked.tz.as_deref(),
        customers: asked.customers.as_deref(),
        limit: asked.limit.as_deref(),
        visitors: asked.visitors == Some(true),
    };
    let question = Question::read(&words, state.clock.now())?;
    let sources = Sources { catalog: &state.catalog, events: &*state.reports };
    answer(&headers, asked.format.as_deref(), &sources.answer(name, &question).await?)
}

impl From<Unanswered> for Problem {
    fn from(error: Unanswered) -> Problem {
        match error {
            Unanswered::Record(error) => error.into(),
            Unanswered::Events(error) => error.into(),
        }
    }
}
