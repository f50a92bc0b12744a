//! Items as lines of a sheet (CSV): the same field names as the API's, lists between semicolons, rules and the like as JSON.
//!
//! A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return for a formula (OWASP, "CSV
//! injection"). Such a cell is written with a `'` before it, and reading takes exactly that away again: a cell gets one
//! more `'` whenever it begins with any number of them and then one of these characters, so nothing is lost on a round
//! trip.

use std::borrow::Cow;

use super::{
    entity::Entity,
    fields::{Given, Source},
};

fn looks_like_a_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// The cell as it is written.
pub fn neutralise(cell: &str) -> Cow<'_, str> {
    if looks_like_a_formula(cell) { Cow::Owned(format!("'{cell}")) } else { Cow::Borrowed(cell) }
}

/// The cell as it was meant.
pub fn restore(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if looks_like_a_formula(rest) => rest,
        _ => cell,
    }
}

/// Texts in one cell.
pub(super) fn join<T: AsRef<str>>(list: &[T]) -> String {
    list.iter().map(T::as_ref).collect::<Vec<_>>().join(";")
}

/// The column in which an import says why it refused a line. Reading leaves it out, so that the mended file of refused lines
/// can be imported as it is.
pub const REASON: &str = "reason";

/// Which cell holds which field.
#[derive(Clone, Debug)]
pub struct Header {
    fields: Vec<&'static str>,
}

impl Header {
    /// Reads the first line. The error says what is wrong with it.
    pub fn new<'a, T: Entity>(names: impl Iterator<Item = &'a str>) -> Result<Header, String> {
        let known = || format!("known are {}", T::FIELDS.join(", "));
        let mut fields = Vec::new();
        for name in names {
            let name = name.trim_start_matches('\u{feff}').trim();
            match T::FIELDS.iter().chain(&[REASON]).find(|field| **field == name) {
                None => return Err(format!("there is no column `{name}`: {}", known())),
                Some(field) if fields.contains(field) => return Err(format!("the column `{name}` stands there twice")),
                Some(field) => fields.push(*field),
            }
        }
        match T::KEY.iter().find(|key| !fields.contains(key) && **key != "slug") {
            Some(key) => Err(format!("the column `{key}` is missing: {}", known())),
            None => Ok(Header { fields }),
        }
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// One line, cell by cell.
#[derive(Debug)]
pub struct Line<'a> {
    header: &'a Header,
    record: &'a csv::StringRecord,
}

impl<'a> Line<'a> {
    pub fn new(header: &'a Header, record: &'a csv::StringRecord) -> Line<'a> {
        Line { header, record }
    }
}

impl Source for Line<'_> {
    fn take(&mut self, field: &'static str) -> Given<'_> {
        let cell = self.header.fields.iter().position(|name| *name == field).and_then(|at| self.record.get(at));
        match cell {
            None | Some("") => Given::Nothing,
            Some(cell) => Given::Text(Cow::Borrowed(restore(cell))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_are_neutralised() {
        for (cell, written) in
            [("=1+1", "'=1+1"), ("@x", "'@x"), ("\t=x", "'\t=x"), ("'=x", "''=x"), ("'x", "'x"), ("plain", "plain")]
        {
            assert_eq!(neutralise(cell), written);
            assert_eq!(restore(written), cell);
        }
    }

    proptest! {
        #[test]
        fn a_round_trip_loses_nothing(cell in "['=+@a\\t\\r-]{0,6}") {
            let written = neutralise(&cell);
            prop_assert!(!written.starts_with(['=', '+', '-', '@', '\t', '\r']));
            prop_assert_eq!(restore(&written), cell.as_str());
        }
    }
}
