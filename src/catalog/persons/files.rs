//! An erasure goes through uploaded files: lines that wait to be worked off, and lines that were refused.

use serde_json::Value;
use sqlx::Row;

use super::{
    Terms,
    work::{Bound, Edit, Erasing, Step, text},
};
use crate::{
    catalog::{Catalog, CatalogError},
    core::limits::SWEEP_ROWS,
};

impl Catalog {
    /// One file a step: it may be large.
    pub(super) async fn step_uploads(&self, erasing: &Erasing) -> Result<Step, CatalogError> {
        let sql =
            "SELECT id, body FROM uploads WHERE id > $1 AND created_at <= $2 AND state = 'waiting' ORDER BY id LIMIT 1";
        let rows = self.rows(sqlx::query(sql).bind(erasing.position.clone()).bind(erasing.at.0)).await?;
        let mut step = Step::default();
        for row in &rows {
            let (id, body): (String, &str) = (row.try_get(0)?, row.try_get(1)?);
            if let Some(body) = without_lines(&erasing.terms, body) {
                // What is worked off meanwhile has no body any more.
                let sql = "UPDATE uploads SET body = $2 WHERE id = $1 AND state = 'waiting'";
                step.changes.push(Edit { sql, values: vec![text(id.clone()), text(body)] });
            }
            step.position = Some(id);
        }
        Ok(step)
    }

    pub(super) async fn step_refused_lines(&self, erasing: &Erasing) -> Result<Step, CatalogError> {
        let sql = "SELECT upload, line, reason, cells FROM upload_refused WHERE upload > $1 OR (upload = $1 AND line > $2) \
                   ORDER BY upload, line LIMIT $3";
        let (upload, line) = erasing.position.rsplit_once('/').unwrap_or(("", "0"));
        let query = sqlx::query(sql).bind(upload.to_owned()).bind(line.parse::<i64>().unwrap_or(0));
        let rows = self.rows(query.bind(i64::from(SWEEP_ROWS))).await?;
        let mut step = Step::default();
        for row in &rows {
            let (upload, line): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
            let cells: Value = serde_json::from_str(row.try_get(3)?).unwrap_or_default();
            if erasing.terms.is_named_in(row.try_get(2)?) || erasing.terms.is_named_in_json(&cells) {
                let sql = "UPDATE upload_refused SET reason = 'the person was erased', cells = '[]' WHERE upload = $1 AND line = $2";
                step.changes.push(Edit { sql, values: vec![text(upload.clone()), Bound::Number(line)] });
            }
            step.position = Some(format!("{upload}/{line}"));
        }
        Ok(step)
    }
}

/// A file whose lines that name the person hold nothing; all others stand where they stood, because the work goes by bytes.
fn without_lines(terms: &Terms, body: &str) -> Option<String> {
    if !terms.is_named_in(body) {
        return None;
    }
    let line = |line: &str| if terms.is_named_in(line) { "*".repeat(line.len()) } else { line.to_owned() };
    Some(body.split('\n').map(line).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_and_no_byte_moves() {
        let terms = Terms { emails: vec!["ann@home.example".to_owned()], ..Terms::default() };
        let body = "email\njoann@home.example\nAnn@home.example,Zoë\n\nb@c.example\n";
        let clean = without_lines(&terms, body).unwrap();
        assert_eq!(clean.len(), body.len());
        assert_eq!(clean.lines().nth(2), Some("*".repeat("Ann@home.example,Zoë".len()).as_str()));
        assert_eq!(clean.lines().filter(|line| line.contains('@')).count(), 2);
        assert_eq!(without_lines(&terms, &clean), None);
    }
}
