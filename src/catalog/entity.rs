//! What the five kinds of items have in common: how they are read, stored and found.

use serde::Serialize;
use sqlx::{
    Row,
    any::{AnyArguments, AnyRow},
};

use super::{
    error::{CatalogError, Mistake},
    fields::{Reader, Source},
};
use crate::core::{code::Code, time::Millis};

/// The kinds of items, as the change feed names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Program,
    Partner,
    Link,
    Ad,
    ShareLink,
}

impl Kind {
    pub const ALL: &'static [Kind] = &[Kind::Program, Kind::Partner, Kind::Link, Kind::Ad, Kind::ShareLink];

    /// In the change feed.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Program => "program",
            Kind::Partner => "partner",
            Kind::Link => "link",
            Kind::Ad => "ad",
            Kind::ShareLink => "share_link",
        }
    }

    /// In a sentence.
    pub const fn label(self) -> &'static str {
        match self {
            Kind::ShareLink => "share link",
            other => other.word(),
        }
    }

    pub fn from_word(word: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.word() == word)
    }

    pub(super) const fn table(self) -> &'static str {
        match self {
            Kind::Program => "programs",
            Kind::Partner => "partners",
            Kind::Link => "links",
            Kind::Ad => "ads",
            Kind::ShareLink => "share_links",
        }
    }
}

/// One item's mention of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The field that mentions it.
    pub field: String,
    pub kind: Kind,
    /// As [`Entity::key`] has it.
    pub key: String,
}

impl Reference {
    pub(super) fn new(field: impl Into<String>, kind: Kind, key: &str) -> Reference {
        Reference { field: field.into(), kind, key: key.to_owned() }
    }

    /// References of a list of codes.
    pub(super) fn list<'a>(field: &'a str, kind: Kind, codes: &'a [Code]) -> impl Iterator<Item = Reference> + 'a {
        codes.iter().enumerate().map(move |(at, code)| Reference::new(format!("{field}[{at}]"), kind, code))
    }
}

/// An item of the catalog.
pub trait Entity: Clone + std::fmt::Debug + Serialize + Send + Sync + Sized + 'static {
    const KIND: Kind;
    /// The API's field names that can be written: also the columns of a CSV file.
    const FIELDS: &'static [&'static str];
    /// Columns of the table in the order of [`Entity::bind`] and [`Entity::from_row`], without the two times.
    const COLUMNS: &'static [&'static str];
    /// Columns of the primary key: the order of lists.
    const KEY: &'static [&'static str] = &["code"];
    /// Columns that a search looks into.
    const SEARCHED: &'static [&'static str];

    /// Reads and checks an item; the reader has the mistakes. `None` where they leave nothing to work with.
    fn read<S: Source>(reader: &mut Reader<'_, S>) -> Option<Self>;
    /// The values of [`Entity::COLUMNS`].
    fn bind(&self, row: &mut Binder);
    fn from_row(row: &mut RowReader<'_>) -> Result<Self, CatalogError>;
    /// The values of [`Entity::KEY`].
    fn key_parts(&self) -> Vec<&str>;
    /// What the item mentions.
    fn references(&self) -> Vec<Reference>;
    fn set_times(&mut self, created_at: Millis, updated_at: Millis);
    /// The cells of a line of CSV, in the order of [`Entity::FIELDS`].
    fn cells(&self) -> Vec<String>;

    /// The item's name in the change feed: its code, or `partner/ad`.
    fn key(&self) -> String {
        self.key_parts().join("/")
    }
}

/// Reads one item from any source.
pub fn read<T: Entity, S: Source>(source: &mut S) -> Result<T, Vec<Mistake>> {
    let mut reader = Reader::new(source);
    let item = T::read(&mut reader);
    match item {
        Some(item) if reader.mistakes.is_empty() => Ok(item),
        _ => Err(reader.mistakes),
    }
}

/// Reads an item from a JSON object; fields that nobody knows are mistakes, `created_at` and `updated_at` are ours and
/// ignored, so that what GET answered can be sent back.
pub fn from_json<T: Entity>(mut object: serde_json::Map<String, serde_json::Value>) -> Result<T, Vec<Mistake>> {
    let item = read::<T, _>(&mut object);
    object.remove("created_at");
    object.remove("updated_at");
    let unknown: Vec<Mistake> = object
        .iter()
        // A known field that is still there was null.
        .filter(|(field, _)| !T::FIELDS.contains(&field.as_str()))
        .map(|(field, _)| Mistake::new(field, format!("there is no such field: known are {}", T::FIELDS.join(", "))))
        .collect();
    match item {
        Ok(item) if unknown.is_empty() => Ok(item),
        Ok(_) => Err(unknown),
        Err(mut mistakes) => {
            mistakes.extend(unknown);
            Err(mistakes)
        }
    }
}

/// Collects the parameters of a statement.
#[derive(Default)]
pub struct Binder {
    pub(super) arguments: AnyArguments,
}

impl std::fmt::Debug for Binder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Binder({})", self.len())
    }
}

impl Binder {
    fn add<'t, T: sqlx::Encode<'t, sqlx::Any> + sqlx::Type<sqlx::Any>>(&mut self, value: T) {
        // Encoding a text or an integer for the Any driver puts it into a vector: nothing there can fail.
        let _ = sqlx::Arguments::add(&mut self.arguments, value);
    }

    pub fn text(&mut self, text: &str) {
        self.add(text.to_owned());
    }

    pub fn optional_text(&mut self, text: Option<&str>) {
        self.add(text.map(str::to_owned));
    }

    pub fn integer(&mut self, value: i64) {
        self.add(value);
    }

    pub fn optional_integer(&mut self, value: Option<i64>) {
        self.add(value);
    }

    /// A list or rules, as JSON text.
    pub fn json<T: Serialize>(&mut self, value: &[T]) {
        // The common case by far costs nothing.
        if value.is_empty() {
            self.text("[]");
        } else {
            self.text(&serde_json::to_string(value).unwrap_or_default());
        }
    }

    /// JSON text, or NULL.
    pub fn optional_json<T: Serialize>(&mut self, value: Option<&T>) {
        self.add(value.map(|value| serde_json::to_string(value).unwrap_or_default()));
    }

    pub(super) fn len(&self) -> usize {
        sqlx::Arguments::len(&self.arguments)
    }
}

/// Takes the columns of a row one after the other.
pub struct RowReader<'r> {
    row: &'r AnyRow,
    at: usize,
}

impl std::fmt::Debug for RowReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowReader({})", self.at)
    }
}

impl<'r> RowReader<'r> {
    pub(super) fn new(row: &'r AnyRow) -> RowReader<'r> {
        RowReader { row, at: 0 }
    }

    fn next<T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>>(&mut self) -> Result<T, CatalogError> {
        self.at += 1;
        Ok(self.row.try_get(self.at - 1)?)
    }

    pub fn text(&mut self) -> Result<&'r str, CatalogError> {
        self.next()
    }

    pub fn optional_text(&mut self) -> Result<Option<&'r str>, CatalogError> {
        self.next()
    }

    pub fn integer(&mut self) -> Result<i64, CatalogError> {
        self.next()
    }

    pub fn optional_integer(&mut self) -> Result<Option<i64>, CatalogError> {
        self.next()
    }

    pub fn code(&mut self) -> Result<Code, CatalogError> {
        let text = self.text()?;
        text.parse().map_err(|problem| CatalogError::Corrupt(format!("`{text}` {problem}")))
    }

    pub fn optional_code(&mut self) -> Result<Option<Code>, CatalogError> {
        match self.optional_text()? {
            None => Ok(None),
            Some(text) => {
                text.parse().map(Some).map_err(|problem| CatalogError::Corrupt(format!("`{text}` {problem}")))
            }
        }
    }

    pub fn json<T: serde::de::DeserializeOwned + Default>(&mut self) -> Result<T, CatalogError> {
        match self.text()? {
            "[]" => Ok(T::default()),
            text => serde_json::from_str(text).map_err(|problem| CatalogError::Corrupt(format!("`{text}`: {problem}"))),
        }
    }

    pub fn optional_json<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>, CatalogError> {
        let Some(text) = self.optional_text()? else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|problem| CatalogError::Corrupt(format!("`{text}`: {problem}")))
    }

    /// A word of ours, for example a status.
    pub fn word<T>(&mut self, from: impl Fn(&str) -> Option<T>) -> Result<T, CatalogError> {
        let text = self.text()?;
        from(text).ok_or_else(|| CatalogError::Corrupt(format!("`{text}` is no word that is known here")))
    }
}
