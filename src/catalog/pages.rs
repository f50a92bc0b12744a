//! How each program's tracking page looks, and the files that it shows. A program without a row has the page that an empty
//! design makes.

use data_encoding::BASE64;
use serde::Serialize;
use serde_json::Value;
use sqlx::Row;

use super::{
    Catalog, CatalogError, Link, Mistake,
    audit::{self, Change, Deed},
};
use crate::core::{
    code::Code,
    limits::PAGE_FILES_MAX,
    page::{Design, TEXTS},
    time::Millis,
};

/// A program's page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ProgramPage {
    #[schema(value_type = String)]
    pub program: Code,
    pub design: Design,
    /// What may be shown.
    pub files: Vec<PageFile>,
}

/// A file of a page, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PageFile {
    #[schema(example = "logo.png")]
    pub name: String,
    #[schema(example = "image/png")]
    pub media_type: String,
    pub bytes: u64,
    /// Names the content.
    pub digest: String,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Millis,
}

/// A file with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFileBody {
    pub media_type: String,
    pub digest: String,
    pub body: Vec<u8>,
}

fn not_found(kind: &'static str, code: &str) -> CatalogError {
    CatalogError::NotFound { kind, code: code.to_owned() }
}

impl Catalog {
    /// Reads a design as somebody gives it, with all its mistakes at once ([`CatalogError::Invalid`]).
    pub async fn read_design(&self, given: Value) -> Result<Design, CatalogError> {
        let design: Design = serde_json::from_value(given).map_err(|error| {
            let text = error.to_string();
            // `unknown field `x`, expected …` names the field first.
            let named = text.split('`').nth(1).filter(|_| text.starts_with("unknown field"));
            let field = named.unwrap_or("design").to_owned();
            CatalogError::Invalid(vec![Mistake::new(field, text)])
        })?;
        let mut mistakes: Vec<Mistake> =
            design.check(TEXTS).into_iter().map(|error| Mistake::new(error.field, error.problem)).collect();
        if let Some(link) = &design.link {
            match self.get::<Link>(&[link]).await {
                Err(CatalogError::NotFound { .. }) => {
                    mistakes.push(Mistake::new("link", format!("there is no link `{link}`")));
                }
                found => drop(found?),
            }
        }
        if mistakes.is_empty() { Ok(design) } else { Err(CatalogError::Invalid(mistakes)) }
    }

    /// The page of a program that exists; an empty design where it has none.
    pub async fn program_page(&self, program: &Code) -> Result<ProgramPage, CatalogError> {
        let sql = "SELECT COALESCE(p.design, '') FROM programs AS g LEFT JOIN pages AS p ON p.program = g.code \
                   WHERE g.code = $1";
        let rows = self.rows(sqlx::query(sql).bind(program.to_string())).await?;
        let text: &str = rows.first().ok_or_else(|| not_found("program", program))?.try_get(0)?;
        let corrupt = |error: serde_json::Error| CatalogError::Corrupt(format!("the page of {program}: {error}"));
        let design = match text {
            "" => Design::default(),
            text => serde_json::from_str(text).map_err(corrupt)?,
        };
        let sql = "SELECT name, media_type, bytes, digest, updated_at FROM page_files WHERE program = $1 ORDER BY name";
        let rows = self.rows(sqlx::query(sql).bind(program.to_string())).await?;
        let files = rows.iter().map(|row| {
            Ok(PageFile {
                name: row.try_get(0)?,
                media_type: row.try_get(1)?,
                bytes: u64::try_from(row.try_get::<i64, _>(2)?).unwrap_or(0),
                digest: row.try_get(3)?,
                updated_at: Millis(row.try_get(4)?),
            })
        });
        Ok(ProgramPage { program: program.clone(), design, files: files.collect::<Result<_, CatalogError>>()? })
    }

    /// Replaces a program's design; what it shows must be there. Gives the page, and whether it had none before.
    pub async fn put_page(&self, program: &Code, design: &Design) -> Result<(ProgramPage, bool), CatalogError> {
        let before = self.program_page(program).await?;
        let missing = design.files().into_iter().filter(|name| !before.files.iter().any(|file| file.name == **name));
        let mistakes: Vec<Mistake> = missing
            .map(|name| {
                let problem = format!(
                    "the page has no file `{name}`: put it there first, at /v1/programs/{program}/page/files/{name}"
                );
                Mistake::new("design", problem)
            })
            .collect();
        if !mistakes.is_empty() {
            return Err(CatalogError::Invalid(mistakes));
        }
        let now = self.shared.clock.now();
        let mut tx = self.writing().await?;
        let design = serde_json::to_value(design).unwrap_or_default();
        let made = sqlx::query(
            "INSERT INTO pages (program, design, created_at, updated_at) VALUES ($1, $2, $3, $3) \
             ON CONFLICT (program) DO UPDATE SET design = excluded.design, updated_at = excluded.updated_at \
             RETURNING created_at",
        )
        .bind(program.to_string())
        .bind(design.to_string())
        .bind(now.0)
        .fetch_one(&mut *tx)
        .await?;
        let made = made.try_get::<i64, _>(0)? == now.0;
        let old = serde_json::to_value(&before.design).unwrap_or_default();
        let changes = vec![Change::new("design", old, design)];
        let action = if made { "create" } else { "update" };
        audit::note(&mut tx, now, Deed::new(action, "page", program.to_string()).with(changes)).await?;
        tx.commit().await?;
        Ok((self.program_page(program).await?, made))
    }

    /// The program's page looks as one without a design again; its files stay.
    pub async fn delete_page(&self, program: &Code) -> Result<(), CatalogError> {
        let now = self.shared.clock.now();
        let mut tx = self.writing().await?;
        let sql = "DELETE FROM pages WHERE program = $1";
        if sqlx::query(sql).bind(program.to_string()).execute(&mut *tx).await?.rows_affected() == 0 {
            return Err(not_found("page", program));
        }
        audit::note(&mut tx, now, Deed::new("delete", "page", program.to_string())).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Puts a file where the program's page may show it.
    pub async fn put_page_file(
        &self,
        program: &Code,
        name: &str,
        media_type: &str,
        body: &[u8],
    ) -> Result<PageFile, CatalogError> {
        let others = self.program_page(program).await?.files;
        let count = others.iter().filter(|file| file.name != name).count();
        if i64::try_from(count).unwrap_or(i64::MAX) >= PAGE_FILES_MAX {
            let problem = format!("there are {PAGE_FILES_MAX} files already: delete one that is not shown");
            return Err(CatalogError::Invalid(vec![Mistake::new("name", problem)]));
        }
        let now = self.shared.clock.now();
        let digest = blake3::hash(body).to_hex()[..16].to_owned();
        let bytes = i64::try_from(body.len()).unwrap_or(i64::MAX);
        let mut tx = self.writing().await?;
        sqlx::query(
            "INSERT INTO page_files (program, name, media_type, digest, bytes, body, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (program, name) DO UPDATE SET media_type = excluded.media_type, \
             digest = excluded.digest, bytes = excluded.bytes, body = excluded.body, updated_at = excluded.updated_at",
        )
        .bind(program.to_string())
        .bind(name.to_owned())
        .bind(media_type.to_owned())
        .bind(digest.clone())
        .bind(bytes)
        .bind(BASE64.encode(body))
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        let changes = vec![Change::new("digest", Value::Null, digest.clone())];
        audit::note(&mut tx, now, Deed::new("update", "page file", format!("{program}/{name}")).with(changes)).await?;
        tx.commit().await?;
        let (name, media_type) = (name.to_owned(), media_type.to_owned());
        Ok(PageFile { name, media_type, bytes: body.len() as u64, digest, updated_at: now })
    }

    pub async fn page_file(&self, program: &Code, name: &str) -> Result<PageFileBody, CatalogError> {
        let sql = "SELECT media_type, digest, body FROM page_files WHERE program = $1 AND name = $2";
        let rows = self.rows(sqlx::query(sql).bind(program.to_string()).bind(name.to_owned())).await?;
        let row = rows.first().ok_or_else(|| not_found("file", name))?;
        let body = BASE64.decode(row.try_get::<&str, _>(2)?.as_bytes());
        let body = body.map_err(|error| CatalogError::Corrupt(format!("the file {program}/{name}: {error}")))?;
        Ok(PageFileBody { media_type: row.try_get(0)?, digest: row.try_get(1)?, body })
    }

    /// Takes a file away that no design shows.
    pub async fn delete_page_file(&self, program: &Code, name: &str) -> Result<(), CatalogError> {
        if self.program_page(program).await?.design.files().contains(&name) {
            return Err(CatalogError::InUse {
                kind: "file",
                code: name.to_owned(),
                by: vec![format!("page {program}")],
            });
        }
        let now = self.shared.clock.now();
        let mut tx = self.writing().await?;
        let query = sqlx::query("DELETE FROM page_files WHERE program = $1 AND name = $2");
        if query.bind(program.to_string()).bind(name.to_owned()).execute(&mut *tx).await?.rows_affected() == 0 {
            return Err(not_found("file", name));
        }
        audit::note(&mut tx, now, Deed::new("delete", "page file", format!("{program}/{name}"))).await?;
        tx.commit().await?;
        Ok(())
    }
}
