//! What can go wrong with the catalog, for a person to read.

use serde::Serialize;

/// One mistake in what somebody gave us: which field, what is wrong, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Mistake {
    /// The API's field name, with the place inside it where there is one, for example `rules[0].address`.
    pub field: String,
    pub problem: String,
}

impl Mistake {
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Mistake {
        Mistake { field: field.into(), problem: problem.into() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("the catalog cannot be opened at {place}: {problem}")]
    Open { place: String, problem: String },
    #[error(
        "the catalog was written by a newer version of Fingerpost (schema {found}, this one knows {known}): start that \
         version, or restore a catalog of this one"
    )]
    Newer { found: i64, known: i64 },
    /// The database does not answer; trying again may help.
    #[error("the catalog does not answer: {0}")]
    Unavailable(String),
    /// Another process holds the catalog's one write lock.
    #[error("the catalog is being written by somebody else (an import, perhaps): try again in a moment")]
    Busy,
    #[error("{}", lines(.0))]
    Invalid(Vec<Mistake>),
    #[error("there is no {kind} `{code}`")]
    NotFound { kind: &'static str, code: String },
    /// What still refers to the thing that should go.
    #[error("the {kind} `{code}` is still in use: {}", .by.join("; "))]
    InUse { kind: &'static str, code: String, by: Vec<String> },
    #[error("the slug `{slug}` stands for something else already: choose another one, or give none")]
    Taken { slug: String },
    #[error("the catalog holds what it should not: {0}")]
    Corrupt(String),
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("{}: {}", mistake.field, mistake.problem)).collect::<Vec<_>>().join("; ")
}

impl CatalogError {
    /// For metrics and logs.
    pub const fn tag(&self) -> &'static str {
        match self {
            CatalogError::Open { .. } => "open",
            CatalogError::Newer { .. } => "newer",
            CatalogError::Unavailable(_) => "unavailable",
            CatalogError::Busy => "busy",
            CatalogError::Invalid(_) => "invalid",
            CatalogError::NotFound { .. } => "not_found",
            CatalogError::InUse { .. } => "in_use",
            CatalogError::Taken { .. } => "taken",
            CatalogError::Corrupt(_) => "corrupt",
        }
    }

    /// Whether the same call may succeed later without anybody changing it.
    pub const fn is_passing(&self) -> bool {
        matches!(self, CatalogError::Unavailable(_) | CatalogError::Busy)
    }
}

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> CatalogError {
        match &error {
            sqlx::Error::Database(database) => {
                super::vendor::sort(&**database).unwrap_or_else(|| CatalogError::Unavailable(error.to_string()))
            }
            sqlx::Error::PoolTimedOut => CatalogError::Busy,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => CatalogError::Corrupt(error.to_string()),
            _ => CatalogError::Unavailable(error.to_string()),
        }
    }
}

impl From<std::io::Error> for CatalogError {
    fn from(error: std::io::Error) -> CatalogError {
        CatalogError::Unavailable(error.to_string())
    }
}
