//! `GET /v1/audit`: who changed what.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, Problem,
    items::{ListParameters, parameters},
    problem::Problems,
};
use crate::{
    catalog::{
        Page,
        audit::{AuditQuery, AuditRow},
    },
    core::limits::PAGE_DEFAULT_ROWS,
    store::{
        question::{self, Words},
        rows::{self, Table},
    },
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which rows are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Parameters {
    /// Who did it: `token:admin`, `dashboard:admin`, `cli:jane`, `system:retention`; `cli:*` for all that begin so.
    who: Option<String>,
    /// `program`, `link`, `partner`, `ad`, `share_link`, `webhook`, `referral`, `reward`, `person`, `token`, `events` and such.
    kind: Option<String>,
    /// The item's code, or id.
    code: Option<String>,
    /// `create`, `update`, `delete`, `import`, `issue`, `qualify`, `reject`, `erase` and such.
    action: Option<String>,
    /// A length of time until now (`7d`) or a time.
    since: Option<String>,
    /// Written as `since`, not included.
    until: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Rows of one page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Rows of the audit log, the newest first. As CSV the next page's cursor stands in the header `Next-Cursor`.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", operation_id = "list_audit", params(Parameters),
    responses((status = 200, content((Page<AuditRow> = "application/json"), (String = "text/csv"))), Problems))]
async fn list(
    State(state): State<ApiState>,
    headers: HeaderMap,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let asked = parameters(query)?;
    let limit = ListParameters { search: None, cursor: None, limit: asked.limit }.query(Vec::new())?.limit;
    let words = Words { since: asked.since.as_deref(), until: asked.until.as_deref(), ..Words::default() };
    let times = question::filter(&words, state.clock.now())?;
    let query = AuditQuery {
        who: asked.who,
        kind: asked.kind,
        // Codes are stored in lower case, ids have none other.
        code: asked.code.map(|code| code.to_lowercase()),
        action: asked.action,
        since: times.since,
        until: times.until,
        cursor: asked.cursor,
        limit: limit.unwrap_or(PAGE_DEFAULT_ROWS),
    };
    let page = state.catalog.audit(&query).await?;
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accepts.contains("text/csv") {
        return Ok(Json(page).into_response());
    }
    csv(&page)
}

fn csv(page: &Page<AuditRow>) -> Result<Response, Problem> {
    let mut text = Vec::new();
    table(&page.items).write_csv(&mut text).map_err(|error| Problem::internal(error.to_string()))?;
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    let mut response = ([(header::CONTENT_TYPE, kind)], text).into_response();
    if let Some(next) = page.next.as_deref().and_then(|next| HeaderValue::from_str(next).ok()) {
        response.headers_mut().insert("next-cursor", next);
    }
    Ok(response)
}

/// The same rows for people: changes in one cell, as JSON.
pub(crate) fn table(rows: &[AuditRow]) -> Table {
    let cells = |row: &AuditRow| {
        let changes = serde_json::to_string(&row.changes).unwrap_or_default();
        let at = row.at.to_string();
        [&row.id, &at, &row.who, &row.action, &row.kind, &row.code, &changes, &row.request]
            .map(|text| rows::Cell::Text(text.clone()))
            .into()
    };
    Table {
        columns: vec!["id", "at", "who", "action", "kind", "code", "changes", "request"],
        rows: rows.iter().map(cells).collect(),
    }
}
