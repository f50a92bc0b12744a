//! Tables: columns that sort by links where all rows are there, pages by a cursor, an export beside them.

use askama::Template;
use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    super::{fault::Fault, words::Words},
    form::Asked,
};
use crate::{catalog::sheet::neutralise, store::rows::Table};

/// Rows of one page.
pub(super) const ROWS: u32 = 50;
/// Rows of one export; the API and the command line have no such end.
pub(super) const EXPORT_ROWS: usize = 100_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    /// Where it leads.
    pub(super) address: Option<String>,
    /// It is a state, shown as a label of this class.
    pub(super) state: Option<String>,
    /// By what it sorts, where that is not its text.
    rank: Option<i64>,
    is_number: bool,
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), ..Cell::default() }
    }

    pub(super) fn link(text: impl Into<String>, address: String) -> Cell {
        Cell { text: text.into(), address: Some(address), ..Cell::default() }
    }

    /// One of our words: `class` is its own name.
    pub(super) fn state(words: Words<'_>, class: &str) -> Cell {
        Cell { text: super::field::called(words, class), state: Some(class.to_owned()), ..Cell::default() }
    }

    /// The same, sorted by this.
    #[must_use]
    pub(super) fn ranked_by(self, rank: i64) -> Cell {
        Cell { rank: Some(rank), ..self }
    }

    /// A number.
    pub(super) fn ranked(text: String, rank: i64) -> Cell {
        Cell { text, rank: Some(rank), is_number: true, ..Cell::default() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) label: String,
    /// Where a press on it leads: the same rows by this column.
    pub(super) address: Option<String>,
    /// For `aria-sort`.
    pub(super) sorted: Option<&'static str>,
    pub(super) is_number: bool,
}

#[derive(Clone, Debug, Template)]
#[template(path = "dashboard/grid.html")]
pub(super) struct Grid {
    /// What the table is called.
    title: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// Addresses of the first page, where this is not it, and of the next.
    pub(super) first: Option<String>,
    pub(super) next: Option<String>,
    pub(super) export: Option<String>,
    /// What is said where there are no rows.
    pub(super) none: String,
    to_first: String,
    to_next: String,
    to_export: String,
}

impl Grid {
    /// Columns by their names, each called by the text `field_NAME`; rows are sorted as the address asks for where all of them are there.
    pub(super) fn new(
        words: Words<'_>,
        asked: &Asked,
        (path, title): (&str, &str),
        columns: &[&str],
        mut rows: Vec<Vec<Cell>>,
        next: Option<&str>,
    ) -> Grid {
        let is_whole = next.is_none() && asked.some("cursor").is_none();
        let wanted = asked.text("sort");
        let (name, is_down) = wanted.strip_prefix('-').map_or((wanted, false), |name| (name, true));
        let sorted = columns.iter().position(|column| *column == name).filter(|_| is_whole);
        if let Some(at) = sorted {
            let key = |row: &Vec<Cell>| row.get(at).map(|cell| (cell.rank, cell.text.to_lowercase()));
            rows.sort_by_key(key);
            if is_down {
                rows.reverse();
            }
        }
        let address = |changes: &[(&str, &str)]| format!("{path}?{}", asked.with(changes));
        let column = |(at, name): (usize, &&str)| {
            let is_this = sorted == Some(at);
            let next = if is_this && !is_down { format!("-{name}") } else { (*name).to_owned() };
            Column {
                label: words.say(&format!("field_{name}")),
                address: (is_whole && rows.len() > 1).then(|| address(&[("sort", &next)])),
                sorted: is_this.then_some(if is_down { "descending" } else { "ascending" }),
                is_number: rows.iter().any(|row| row.get(at).is_some_and(|cell| cell.is_number)),
            }
        };
        Grid {
            title: title.to_owned(),
            columns: columns.iter().enumerate().map(column).collect(),
            first: asked.some("cursor").map(|_| address(&[("cursor", "")])),
            next: next.map(|next| address(&[("cursor", next), ("sort", "")])),
            export: None,
            none: words.say("dash_nothing"),
            to_first: words.say("dash_first"),
            to_next: words.say("dash_next"),
            to_export: words.say("dash_export"),
            rows,
        }
    }

    /// The same with a file of all its rows, not only this page's.
    #[must_use]
    pub(super) fn exported(self, asked: &Asked, path: &str) -> Grid {
        let query = asked.with(&[("cursor", ""), ("sort", "")]);
        let mark = if query.is_empty() { "" } else { "?" };
        Grid { export: Some(format!("{path}{mark}{query}")), ..self }
    }
}

/// A file of comma-separated values (RFC 4180) for people's spreadsheets: no cell is one that they would run.
pub(super) fn csv(name: &str, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<Response, Fault> {
    let mut sheet = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let failed = |error: csv::Error| Fault::internal(&error);
    sheet.write_record(columns).map_err(failed)?;
    for cells in rows {
        sheet.write_record(cells.iter().map(|cell| neutralise(cell).into_owned())).map_err(failed)?;
    }
    let body = sheet.into_inner().map_err(|error| Fault::internal(&error))?;
    Ok(file(name, body))
}

/// A report as such a file.
pub(super) fn report_csv(name: &str, table: &Table) -> Result<Response, Fault> {
    let mut body = Vec::new();
    table.write_csv(&mut body).map_err(|error| Fault::internal(&error))?;
    Ok(file(name, body))
}

/// `name` is ours: letters, digits and dashes.
fn file(name: &str, body: Vec<u8>) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.csv\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::page::Language;

    fn asked(query: &str) -> Asked {
        use axum::extract::FromRequestParts;
        let request = axum::http::Request::get(format!("/x?{query}")).body(()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(Asked::from_request_parts(&mut request.into_parts().0, &())).unwrap()
    }

    fn grid(query: &str, next: Option<&str>) -> Grid {
        let row = |name: &str, number: i64| vec![Cell::text(name), Cell::ranked(number.to_string(), number)];
        let rows = vec![row("b", 10), row("A", 9), row("c", 11)];
        Grid::new(Words::new(Language::En), &asked(query), ("/x", "Things"), &["name", "bytes"], rows, next)
    }

    fn first(grid: &Grid) -> Vec<&str> {
        grid.rows.iter().map(|row| row[0].text.as_str()).collect()
    }

    #[test]
    fn rows_sort_by_text_and_by_number_where_all_are_there() {
        let sorted = grid("sort=name", None);
        assert_eq!(first(&sorted), ["A", "b", "c"]);
        assert_eq!(
            (sorted.columns[0].sorted, sorted.columns[0].address.as_deref()),
            (Some("ascending"), Some("/x?sort=-name"))
        );
        assert_eq!(first(&grid("sort=-bytes", None)), ["c", "b", "A"]);
        let part = grid("sort=name", Some("z"));
        assert_eq!(first(&part), ["b", "A", "c"], "a page of many is in the order of the list");
        assert_eq!((part.columns[0].address.as_ref(), part.next.as_deref()), (None, Some("/x?cursor=z")));
        assert_eq!(first(&grid("sort=nothing", None)), ["b", "A", "c"]);
    }
}
