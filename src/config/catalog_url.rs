//! Where the catalog is. The URL of a PostgreSQL server holds a password, so it prints without one.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use url::Url;

/// Parameters of a PostgreSQL URL, as libpq names them. The driver logs one that it does not know, with its value.
const PARAMETERS: [&str; 6] = ["host", "sslmode", "sslrootcert", "sslcert", "sslkey", "options"];

/// `sqlite:PATH` or `postgres://user:password@host:port/database`, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct CatalogUrl {
    whole: String,
    /// What people may see.
    shown: String,
}

impl CatalogUrl {
    /// The error says what is wrong with it; it repeats no password.
    pub fn parse(text: &str) -> Result<CatalogUrl, String> {
        if text.strip_prefix("sqlite:").is_some_and(|path| !path.trim_start_matches('/').is_empty()) {
            return Ok(CatalogUrl { whole: text.to_owned(), shown: text.to_owned() });
        }
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            let scheme = text.split_once(':').map_or("it", |(scheme, _)| scheme);
            return Err(format!(
                "`{scheme}` is not known here: use sqlite:PATH or postgres://user:password@host/database"
            ));
        }
        let mut url = Url::parse(text).map_err(|error| {
            format!("is no URL ({error}): write postgres://user:password@host:5432/database, other characters as %40")
        })?;
        if url.path().trim_matches('/').is_empty() {
            return Err("names no database: write postgres://user:password@host/database".to_owned());
        }
        for (key, _) in url.query_pairs() {
            if key == "password" {
                return Err(
                    "has the password among its parameters: write postgres://user:password@host/database".to_owned()
                );
            }
            if !PARAMETERS.contains(&&*key) {
                return Err(format!(
                    "has a parameter `{key}`, which is not known: known are {}",
                    PARAMETERS.join(", ")
                ));
            }
        }
        if url.set_password(None).is_err() && url.password().is_some() {
            return Err("names no host: write postgres://user:password@host/database".to_owned());
        }
        url.set_query(None);
        Ok(CatalogUrl { whole: text.to_owned(), shown: url.to_string() })
    }

    /// The catalog in this file.
    pub fn file(path: &Path) -> CatalogUrl {
        let url = format!("sqlite:{}", path.display());
        CatalogUrl { whole: url.clone(), shown: url }
    }

    /// The file, where the catalog is one.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        let path = self.whole.strip_prefix("sqlite:")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        Some(PathBuf::from(path.split('?').next().unwrap_or(path)))
    }

    /// For the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.whole
    }
}

impl fmt::Display for CatalogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for CatalogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CatalogUrl({})", self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_does_not_print() {
        let text = "postgresql://ann:hunter2@db.example:5433/catalog?sslmode=require";
        let url = CatalogUrl::parse(text).unwrap();
        assert_eq!(url.to_string(), "postgresql://ann@db.example:5433/catalog");
        assert_eq!(format!("{url:?}"), "CatalogUrl(postgresql://ann@db.example:5433/catalog)");
        assert_eq!(url.expose(), text);
        let socket = CatalogUrl::parse("postgres:///catalog?host=/run/postgresql").unwrap();
        assert_eq!(socket.to_string(), "postgres:///catalog");
    }

    #[test]
    fn files_have_a_path() {
        for (url, path) in [
            ("sqlite:a/b.db", "a/b.db"),
            ("sqlite://a.db", "a.db"),
            ("sqlite:///a/b.db", "/a/b.db"),
            ("sqlite:/a.db?x", "/a.db"),
        ] {
            assert_eq!(CatalogUrl::parse(url).unwrap().sqlite_path(), Some(PathBuf::from(path)), "{url}");
        }
        assert_eq!(CatalogUrl::parse("postgres://localhost/x").unwrap().sqlite_path(), None);
    }

    #[test]
    fn mistakes_are_told_without_the_password() {
        for (url, said) in [
            ("mysql://ann:hunter2@db/x", "`mysql` is not known"),
            ("hunter2", "not known"),
            ("sqlite:", "not known"),
            ("postgres://ann:hunter2@db", "names no database"),
            ("postgres://ann:hunter2@db:port/x", "is no URL"),
            ("postgres://ann:hunter2@/x", "is no URL"),
            ("postgres://ann@db/x?password=hunter2", "among its parameters"),
            ("postgres://ann@db/x?pasword=hunter2", "`pasword`, which is not known"),
        ] {
            let error = CatalogUrl::parse(url).unwrap_err();
            assert!(error.contains(said) && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
