//! Files of facts that are worked off in the background.
//!
//! A step of the work is one transaction: the facts of some lines, what follows from them, the lines that were refused, and how
//! far the file is worked off. So whoever goes on after a kill begins where the last step ended, and nothing comes twice; and
//! of two who work on the same file one finds that its step was done.

use serde::Serialize;
use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{
    Catalog, CatalogError, Page,
    audit::{self, Change, Deed},
    record::Recording,
};
use crate::core::{id::EventId, time::Millis};

/// What a file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UploadKind {
    Leads,
    Conversions,
}

crate::core::program::words!(UploadKind { Leads = "leads", Conversions = "conversions" });

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UploadState {
    /// It is worked off, or waits for it.
    Waiting,
    Done,
}

crate::core::program::words!(UploadState { Waiting = "waiting", Done = "done" });

/// A file and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Upload {
    pub id: String,
    pub kind: UploadKind,
    pub state: UploadState,
    /// Of the file, and of them worked off.
    pub bytes: i64,
    pub bytes_done: i64,
    /// Lines worked off, without the first one.
    pub lines_done: i64,
    /// Lines that told something new.
    pub taken: i64,
    /// Lines that were known already.
    pub known: i64,
    /// Lines that were refused: `/v1/uploads/{id}/refused` has them with their reasons.
    pub refused: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Millis,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Millis,
}

/// A file that is not worked off yet.
#[derive(Clone, Debug)]
pub struct OpenUpload {
    pub id: String,
    pub kind: UploadKind,
    /// Names of the columns.
    pub header: Vec<String>,
    /// The whole file.
    pub body: String,
    /// Where the next line begins, bytes; and its number.
    pub position: i64,
    pub line: i64,
}

/// A line that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedLine {
    pub line: i64,
    pub reason: String,
    pub cells: Vec<String>,
}

/// What one step has done.
#[derive(Clone, Debug, Default)]
pub struct UploadStep {
    pub from: i64,
    pub to: i64,
    /// Number of the line behind it.
    pub line: i64,
    pub taken: i64,
    pub known: i64,
    pub refused: Vec<RefusedLine>,
    /// The file ends here.
    pub done: bool,
}

const COLUMNS: &str = "id, kind, state, bytes, position, line, taken, known, refused, created_at, updated_at";
/// Files that a list shows.
const LISTED_MAX: i64 = 1_000;

fn not_found(id: &str) -> CatalogError {
    CatalogError::NotFound { kind: "upload", code: id.to_owned() }
}

fn word<T>(row: &AnyRow, column: usize, from: impl Fn(&str) -> Option<T>) -> Result<T, CatalogError> {
    let word: &str = row.try_get(column)?;
    from(word).ok_or_else(|| CatalogError::Corrupt(format!("`{word}` is not known of an upload")))
}

/// A list of texts as it is stored.
fn names(list: &str) -> Result<Vec<String>, CatalogError> {
    serde_json::from_str(list).map_err(|error| CatalogError::Corrupt(format!("an upload: {error}")))
}

fn upload(row: &AnyRow) -> Result<Upload, CatalogError> {
    let (taken, known, refused): (i64, i64, i64) = (row.try_get(6)?, row.try_get(7)?, row.try_get(8)?);
    Ok(Upload {
        id: row.try_get(0)?,
        kind: word(row, 1, UploadKind::from_word)?,
        state: word(row, 2, UploadState::from_word)?,
        bytes: row.try_get(3)?,
        bytes_done: row.try_get(4)?,
        lines_done: taken + known + refused,
        taken,
        known,
        refused,
        created_at: Millis(row.try_get(9)?),
        updated_at: Millis(row.try_get(10)?),
    })
}

impl Catalog {
    /// Keeps a file until it is worked off. `header` are the names of its columns; then where its second
    /// line begins, and in which line that is.
    pub async fn create_upload(
        &self,
        kind: UploadKind,
        header: &[String],
        body: &str,
        (position, line): (usize, i64),
    ) -> Result<Upload, CatalogError> {
        let now = self.shared.clock.now();
        let id = format!("up_{}", data_encoding::HEXLOWER.encode(&EventId::new(now, crate::io::random::bytes()?).0));
        let mut tx = self.writing().await?;
        sqlx::query(
            "INSERT INTO uploads (id, kind, state, header, body, bytes, position, line, taken, known, refused, created_at, updated_at) \
             VALUES ($1, $2, 'waiting', $3, $4, $5, $6, $7, 0, 0, 0, $8, $8)",
        )
        .bind(id.clone())
        .bind(kind.word())
        .bind(serde_json::Value::from(header).to_string())
        .bind(body.to_owned())
        .bind(i64::try_from(body.len()).unwrap_or(i64::MAX))
        .bind(i64::try_from(position).unwrap_or(i64::MAX))
        .bind(line)
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        let changes = vec![
            Change::new("kind", serde_json::Value::Null, kind.word()),
            Change::new("bytes", serde_json::Value::Null, body.len()),
        ];
        audit::note(&mut tx, now, Deed::new("create", "upload", id.clone()).with(changes)).await?;
        tx.commit().await?;
        self.upload(&id).await
    }

    /// The newest first.
    pub async fn uploads(&self) -> Result<Page<Upload>, CatalogError> {
        let sql = format!("SELECT {COLUMNS} FROM uploads ORDER BY created_at DESC, id DESC LIMIT {LISTED_MAX}");
        let rows = self.rows(sqlx::query(AssertSqlSafe(sql))).await?;
        Ok(Page { items: rows.iter().map(upload).collect::<Result<_, _>>()?, next: None })
    }

    pub async fn upload(&self, id: &str) -> Result<Upload, CatalogError> {
        if id.contains('\0') {
            return Err(not_found(id));
        }
        let sql = format!("SELECT {COLUMNS} FROM uploads WHERE id = $1");
        let rows = self.rows(sqlx::query(AssertSqlSafe(sql)).bind(id.to_owned())).await?;
        upload(rows.first().ok_or_else(|| not_found(id))?)
    }

    /// The names of a file's columns, and its lines that were refused.
    pub async fn refused_lines(&self, id: &str) -> Result<(Vec<String>, Vec<RefusedLine>), CatalogError> {
        self.upload(id).await?;
        let rows = self.rows(sqlx::query("SELECT header FROM uploads WHERE id = $1").bind(id.to_owned())).await?;
        let header = names(rows.first().ok_or_else(|| not_found(id))?.try_get(0)?)?;
        let query = sqlx::query("SELECT line, reason, cells FROM upload_refused WHERE upload = $1 ORDER BY line");
        let rows = self.rows(query.bind(id.to_owned())).await?;
        let line = |row: &AnyRow| {
            Ok(RefusedLine { line: row.try_get(0)?, reason: row.try_get(1)?, cells: names(row.try_get(2)?)? })
        };
        Ok((header, rows.iter().map(line).collect::<Result<_, CatalogError>>()?))
    }

    /// The oldest file that is not worked off.
    pub async fn open_upload(&self) -> Result<Option<OpenUpload>, CatalogError> {
        let sql = "SELECT id, kind, body, position, line, header FROM uploads WHERE state = 'waiting' ORDER BY created_at, id LIMIT 1";
        let rows = self.rows(sqlx::query(sql)).await?;
        let open = |row: &AnyRow| {
            Ok(OpenUpload {
                id: row.try_get(0)?,
                kind: word(row, 1, UploadKind::from_word)?,
                body: row.try_get(2)?,
                position: row.try_get(3)?,
                line: row.try_get(4)?,
                header: names(row.try_get(5)?)?,
            })
        };
        rows.first().map(open).transpose()
    }

    /// Forgets a file. What it told stays; what it has not told yet is not told.
    pub async fn delete_upload(&self, id: &str) -> Result<(), CatalogError> {
        self.upload(id).await?;
        let mut tx = self.writing().await?;
        for sql in ["DELETE FROM upload_refused WHERE upload = $1", "DELETE FROM uploads WHERE id = $1"] {
            sqlx::query(sql).bind(id.to_owned()).execute(&mut *tx).await?;
        }
        audit::note(&mut tx, self.shared.clock.now(), Deed::new("delete", "upload", id)).await?;
        Ok(tx.commit().await?)
    }
}

impl Recording {
    /// Notes a step of the work on a file, in the transaction of its facts. False: somebody else has done it, or the file is
    /// gone; take everything back.
    pub async fn upload_step(&mut self, id: &str, step: &UploadStep) -> Result<bool, CatalogError> {
        let changed = sqlx::query(
            "UPDATE uploads SET position = $3, line = $4, taken = taken + $5, known = known + $6, refused = refused + $7, \
             state = $8, updated_at = $9, body = CASE WHEN $8 = 'done' THEN '' ELSE body END \
             WHERE id = $1 AND position = $2 AND state = 'waiting'",
        )
        .bind(id.to_owned())
        .bind(step.from)
        .bind(step.to)
        .bind(step.line)
        .bind(step.taken)
        .bind(step.known)
        .bind(i64::try_from(step.refused.len()).unwrap_or(i64::MAX))
        .bind(if step.done { UploadState::Done.word() } else { UploadState::Waiting.word() })
        .bind(self.now().0)
        .execute(self.writing.tx().await?)
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        for refused in &step.refused {
            sqlx::query("INSERT INTO upload_refused (upload, line, reason, cells) VALUES ($1, $2, $3, $4)")
                .bind(id.to_owned())
                .bind(refused.line)
                .bind(refused.reason.clone())
                .bind(serde_json::Value::from(refused.cells.as_slice()).to_string())
                .execute(self.writing.tx().await?)
                .await?;
        }
        Ok(true)
    }
}
