//! Who changed what.

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    super::{fault::Fault, sheet::show, visit::Visit, words::Words},
    DashboardState,
    field::{Field, mark},
    form::Asked,
    frame::{frame, moment},
    grid::{self, Cell, EXPORT_ROWS, Grid, ROWS},
    items::ListPage,
    operator::Operator,
};
use crate::{
    catalog::{
        Mistake,
        audit::{AuditQuery, AuditRow, Change},
    },
    core::limits::PAGE_MAX_ROWS,
    store::question::{self, QuestionError},
};

const PATH: &str = "/dashboard/audit";
const COLUMNS: &[&str] = &["at", "who", "action", "kind", "code", "changes"];

fn query(state: &DashboardState, asked: &Asked) -> Result<AuditQuery, QuestionError> {
    let words =
        question::Words { since: asked.some("since"), until: asked.some("until"), ..question::Words::default() };
    let times = question::filter(&words, state.pages.clock.now())?;
    let text = |name: &str| asked.some(name).map(str::to_owned);
    Ok(AuditQuery {
        who: text("who"),
        kind: text("kind"),
        code: asked.code("code"),
        action: text("action"),
        since: times.since,
        until: times.until,
        cursor: text("cursor"),
        limit: ROWS,
    })
}

/// `status: active → paused`; a field whose values are not kept stands alone.
fn change(change: &Change) -> String {
    let value = |value: &Option<serde_json::Value>| match value {
        None => "–".to_owned(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    match (&change.before, &change.after) {
        (None, None) => change.field.clone(),
        (before, after) => format!("{}: {} → {}", change.field, value(before), value(after)),
    }
}

/// `GET /dashboard/audit`
pub(super) async fn page(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    let title = Words::new(visit.language).say("dash_audit");
    let (words, sheet, frame) = frame(&visit, &operator, &asked, PATH, title)?;
    let filter = |name: &str| Field::line(words, name, asked.text(name));
    let mut filters: Vec<Field> = ["who", "kind", "code", "action", "since"].map(filter).into();
    filters[4].label = words.say("field_since_when");
    filters[0].hint = Some(words.say("hint_who"));
    filters[4].hint = Some(words.say("hint_since"));
    let (query, problems) = match query(&state, &asked) {
        Ok(query) => (query, Vec::new()),
        Err(error) => {
            let problems = mark(&mut filters, &[Mistake::new(error.field, error.problem)]);
            (AuditQuery { limit: ROWS, ..AuditQuery::default() }, problems)
        }
    };
    let is_wrong = !problems.is_empty() || filters.iter().any(|field| field.problem.is_some());
    let found = state.pages.catalog.audit(&query).await?;
    let row = |row: &AuditRow| {
        let changes: Vec<String> = row.changes.iter().map(change).collect();
        vec![
            Cell::text(moment(words, row.at)).ranked_by(row.at.0),
            Cell::text(row.who.clone()),
            Cell::text(row.action.clone()),
            Cell::text(row.kind.clone()),
            Cell::text(row.code.clone()),
            Cell::text(shortened(&changes.join("; "))),
        ]
    };
    let rows = found.items.iter().map(row).collect();
    let grid = Grid::new(words, &asked, (PATH, &sheet.title), COLUMNS, rows, found.next.as_deref())
        .exported(&asked, "/dashboard/export/audit");
    let page = ListPage {
        sheet,
        frame,
        intro: words.say("dash_intro_audit"),
        add: None,
        path: PATH.to_owned(),
        filters,
        problems,
        grid,
    };
    Ok(show(if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page))
}

/// A page is for a look; the export has all of it.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 300;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

/// `GET /dashboard/export/audit`
pub(super) async fn export(State(state): State<DashboardState>, asked: Asked) -> Result<Response, Fault> {
    let Ok(mut query) = query(&state, &asked) else { return Err(Fault::NotFound) };
    (query.limit, query.cursor) = (PAGE_MAX_ROWS, None);
    let mut rows: Vec<Vec<String>> = Vec::new();
    loop {
        let page = state.pages.catalog.audit(&query).await?;
        rows.extend(page.items.into_iter().map(|row| {
            let changes = serde_json::to_string(&row.changes).unwrap_or_default();
            vec![row.id, row.at.to_string(), row.who, row.action, row.kind, row.code, changes, row.request]
        }));
        query.cursor = page.next;
        if query.cursor.is_none() || rows.len() >= EXPORT_ROWS {
            break;
        }
    }
    grid::csv("audit", &["id", "at", "who", "action", "kind", "code", "changes", "request"], rows.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::page::Language;

    #[test]
    fn every_column_has_its_words() {
        for name in COLUMNS.iter().map(|name| format!("field_{name}")) {
            for language in [Language::En, Language::De] {
                assert_ne!(Words::new(language).say(&name), name);
            }
        }
    }

    #[test]
    fn a_change_is_one_line() {
        let one = Change::new("status", "active", "paused");
        assert_eq!(change(&one), "status: active → paused");
        assert_eq!(change(&Change { field: "email".to_owned(), before: None, after: None }), "email");
        assert_eq!(change(&Change::new("window_days", serde_json::Value::Null, 30)), "window_days: – → 30");
        assert_eq!(shortened(&"x".repeat(400)).chars().count(), 301);
    }
}
