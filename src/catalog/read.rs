//! Reading items: one, a page of a list, all of them page by page.

use serde::Serialize;
use sqlx::AssertSqlSafe;

use super::{
    Catalog, CatalogError, Entity,
    entity::{Binder, RowReader},
    error::Mistake,
};
use crate::core::limits::{PAGE_DEFAULT_ROWS, PAGE_MAX_ROWS};

/// Some items of a list, in the order of their codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page begins; null at the end.
    pub next: Option<String>,
}

/// What a list is asked for.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Part of a code, name or address, in any case.
    pub search: Option<String>,
    /// [`Page::next`] of the page before.
    pub cursor: Option<String>,
    /// Rows; [`PAGE_DEFAULT_ROWS`] where none is given.
    pub limit: Option<u32>,
    /// Columns that must have exactly this value.
    pub only: Vec<(&'static str, String)>,
}

/// All columns of the rows that a condition finds.
pub(super) fn select<T: Entity>(condition: &str) -> String {
    format!("SELECT {}, created_at, updated_at FROM {} WHERE {condition}", T::COLUMNS.join(", "), T::KIND.table())
}

/// The condition that finds one row by its key.
pub(super) fn key_is<T: Entity>() -> String {
    T::KEY.iter().enumerate().map(|(at, key)| format!("{key} = ${}", at + 1)).collect::<Vec<_>>().join(" AND ")
}

/// The text as it stands in a LIKE pattern with `\` as the escape.
pub(super) fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

impl ListQuery {
    fn limit(&self) -> u32 {
        self.limit.unwrap_or(PAGE_DEFAULT_ROWS).clamp(1, PAGE_MAX_ROWS)
    }

    /// The statement and its parameters; one row more than asked for, to see whether there is a next page.
    fn statement<T: Entity>(&self) -> Result<(String, Binder), CatalogError> {
        let mut row = Binder::default();
        let mut conditions = Vec::new();
        let texts = self.only.iter().map(|(_, text)| text).chain(&self.search);
        if texts.into_iter().any(|text| text.contains('\0')) {
            // No text of ours has a NUL, and PostgreSQL does not even take one as a parameter.
            return Ok((format!("{} LIMIT 0", select::<T>("1 = 0")), row));
        }
        for (column, value) in &self.only {
            row.text(value);
            conditions.push(format!("{column} = ${}", row.len()));
        }
        if let Some(search) = self.search.as_deref().filter(|search| !search.is_empty()) {
            row.text(&format!("%{}%", escape_like(&search.to_lowercase())));
            let number = row.len();
            let columns: Vec<String> =
                T::SEARCHED.iter().map(|column| format!("LOWER({column}) LIKE ${number} ESCAPE '\\'")).collect();
            conditions.push(format!("({})", columns.join(" OR ")));
        }
        if let Some(cursor) = &self.cursor {
            let parts = decode_cursor::<T>(cursor)?;
            let numbers: Vec<String> = parts
                .iter()
                .map(|part| {
                    row.text(part);
                    format!("${}", row.len())
                })
                .collect();
            conditions.push(format!("({}) > ({})", T::KEY.join(", "), numbers.join(", ")));
        }
        let condition = if conditions.is_empty() { "1 = 1".to_owned() } else { conditions.join(" AND ") };
        let sql = format!("{} ORDER BY {} LIMIT {}", select::<T>(&condition), T::KEY.join(", "), self.limit() + 1);
        Ok((sql, row))
    }
}

fn encode_cursor<T: Entity>(last: &T) -> String {
    data_encoding::BASE64URL_NOPAD.encode(last.key().as_bytes())
}

fn decode_cursor<T: Entity>(cursor: &str) -> Result<Vec<String>, CatalogError> {
    let wrong =
        || CatalogError::Invalid(vec![Mistake::new("cursor", "is not one of ours: use `next` of the page before")]);
    let bytes = data_encoding::BASE64URL_NOPAD.decode(cursor.as_bytes()).map_err(|_| wrong())?;
    let parts: Vec<String> = String::from_utf8(bytes).map_err(|_| wrong())?.split('/').map(str::to_owned).collect();
    if parts.len() == T::KEY.len() && !parts.iter().any(|part| part.contains('\0')) { Ok(parts) } else { Err(wrong()) }
}

impl Catalog {
    /// One item by its key.
    pub async fn get<T: Entity>(&self, key: &[&str]) -> Result<T, CatalogError> {
        let sql = select::<T>(&key_is::<T>());
        let query = key.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, part| query.bind((*part).to_owned()));
        let rows = self.rows(query).await?;
        let row = rows.first().ok_or_else(|| CatalogError::NotFound { kind: T::KIND.label(), code: key.join("/") })?;
        T::from_row(&mut RowReader::new(row))
    }

    /// A page of a list.
    pub async fn list<T: Entity>(&self, query: &ListQuery) -> Result<Page<T>, CatalogError> {
        let (sql, row) = query.statement::<T>()?;
        let rows = self.rows(sqlx::query_with(AssertSqlSafe(sql), row.arguments)).await?;
        let limit = query.limit() as usize;
        let items: Vec<T> =
            rows.iter().take(limit).map(|row| T::from_row(&mut RowReader::new(row))).collect::<Result<_, _>>()?;
        let next = if rows.len() > limit { items.last().map(encode_cursor) } else { None };
        Ok(Page { items, next })
    }
}
