//! Files of facts: taken here, worked off in the background. A page shows how far each is, and which lines were refused and why.

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    super::{
        fault::Fault,
        given::Path,
        sheet::{Sheet, go, pages, show},
        visit::Visit,
        words::Words,
    },
    DashboardState,
    field::{Field, Input, told},
    form::{Asked, Filled, FilledWithFile},
    frame::{Frame, frame, moment},
    grid::{self, Cell, Grid},
    operator::Operator,
};
use crate::{
    catalog::{
        sheet::{REASON, restore},
        uploads::{RefusedLine, Upload, UploadKind, UploadState},
    },
    core::limits::UPLOAD_MAX_BYTES,
    referral::upload,
};

const PATH: &str = "/dashboard/uploads";
const COLUMNS: &[&str] = &["at", "kind", "state", "taken", "known", "refused", "bytes"];
/// Refused lines that a page shows; the file has all.
const SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "dashboard/uploads.html")]
struct UploadsPage<'a> {
    sheet: Sheet<'a>,
    frame: Frame,
    fields: Vec<Field>,
    grid: Grid,
}

#[derive(Template)]
#[template(path = "dashboard/progress.html")]
struct Progress {
    words: Words<'static>,
    state: Cell,
    is_done: bool,
    percent: i64,
    taken: String,
    known: String,
    refused: String,
}

#[derive(Template)]
#[template(path = "dashboard/upload.html")]
struct UploadPage<'a> {
    sheet: Sheet<'a>,
    frame: Frame,
    id: &'a str,
    progress: Progress,
    lines: Vec<(i64, String, String)>,
    more: bool,
}

pages!(UploadsPage, UploadPage);

impl Progress {
    fn new(words: Words<'static>, upload: &Upload) -> Progress {
        let number = |count: i64| words.number(u64::try_from(count).unwrap_or(0));
        Progress {
            words,
            state: Cell::state(words, upload.state.word()),
            is_done: upload.state == UploadState::Done,
            percent: percent(upload),
            taken: number(upload.taken),
            known: number(upload.known),
            refused: number(upload.refused),
        }
    }
}

/// How much of it is worked off.
fn percent(upload: &Upload) -> i64 {
    if upload.state == UploadState::Done {
        return 100;
    }
    upload.bytes_done.saturating_mul(100).checked_div(upload.bytes).unwrap_or(0).clamp(0, 99)
}

async fn list_page(
    state: &DashboardState,
    (operator, visit, asked): (&Operator, &Visit, &Asked),
    kind: &str,
    problem: Option<String>,
) -> Result<Response, Fault> {
    let title = Words::new(visit.language).say("dash_uploads");
    let (words, sheet, frame) = frame(visit, operator, asked, PATH, title)?;
    let found = state.pages.catalog.uploads().await?;
    let count = |count: i64| Cell::ranked(words.number(u64::try_from(count).unwrap_or(0)), count);
    let row = |upload: &Upload| {
        vec![
            Cell::link(moment(words, upload.created_at), format!("{PATH}/{}", upload.id))
                .ranked_by(upload.created_at.0),
            Cell::text(super::field::called(words, upload.kind.word())),
            Cell::state(words, upload.state.word()),
            count(upload.taken),
            count(upload.known),
            count(upload.refused),
            Cell::ranked(format!("{} %", percent(upload)), percent(upload)),
        ]
    };
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let mut file = Field::new(words, "file", Input::File { accept: ".csv,text/csv" }, "").required();
    file.hint = Some(words.with("hint_upload", "most", &(UPLOAD_MAX_BYTES / 1024 / 1024)));
    file.problem = problem;
    let page = UploadsPage {
        fields: vec![Field::choice(words, "kind", UploadKind::WORDS, kind, None), file],
        grid: Grid::new(words, asked, (PATH, &sheet.title), COLUMNS, found.items.iter().map(row).collect(), None),
        sheet,
        frame,
    };
    Ok(show(status, &page))
}

/// `GET /dashboard/uploads`
pub(super) async fn list(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    list_page(&state, (&operator, &visit, &asked), "", None).await
}

/// `POST /dashboard/add/uploads`
pub(super) async fn create(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    form: FilledWithFile,
) -> Result<Response, Fault> {
    let words = Words::new(visit.language);
    match taken(&state, words, &form).await? {
        Ok(upload) => Ok(go(&format!("{PATH}/{}", upload.id))),
        Err(problem) => list_page(&state, (&operator, &visit, &asked), form.text("kind"), Some(problem)).await,
    }
}

/// Keeps a file, or says what is wrong with it.
async fn taken(
    state: &DashboardState,
    words: Words<'_>,
    form: &FilledWithFile,
) -> Result<Result<Upload, String>, Fault> {
    let Some(kind) = UploadKind::from_word(form.text("kind")) else { return Err(Fault::NotFound) };
    if form.body.is_empty() {
        return Ok(Err(words.say("dash_file_missing")));
    }
    if form.body.len() > UPLOAD_MAX_BYTES {
        return Err(Fault::TooLarge);
    }
    let file = match std::str::from_utf8(&form.body) {
        Ok(file) if !file.contains('\0') => file,
        _ => return Ok(Err(words.say("dash_file_text"))),
    };
    let begun = match upload::begin(kind, file) {
        Ok(begun) => begun,
        Err(mistake) => return Ok(Err(told(&mistake))),
    };
    let place = (begun.position, begun.line);
    Ok(Ok(state.pages.catalog.create_upload(kind, &begun.header, file, place).await?))
}

/// `GET /dashboard/uploads/{id}`
pub(super) async fn page(
    State(state): State<DashboardState>,
    Path(id): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    let upload = state.pages.catalog.upload(&id).await?;
    let (_, lines) = state.pages.catalog.refused_lines(&id).await?;
    let title = Words::new(visit.language).with("dash_upload_title", "kind", upload.kind.word());
    let (words, sheet, frame) = frame(&visit, &operator, &asked, PATH, title)?;
    let shown = |line: &RefusedLine| (line.line, line.reason.clone(), line.cells.join(", "));
    let page = UploadPage {
        sheet,
        frame,
        id: &id,
        progress: Progress::new(words, &upload),
        lines: lines.iter().take(SHOWN).map(shown).collect(),
        more: lines.len() > SHOWN,
    };
    Ok(show(StatusCode::OK, &page))
}

/// `GET /dashboard/uploads/{id}/progress`: how far it is, alone, for the script that refreshes it.
pub(super) async fn progress(
    State(state): State<DashboardState>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Response, Fault> {
    let upload = state.pages.catalog.upload(&id).await?;
    let body = Progress::new(Words::new(visit.language), &upload).render().map_err(|error| Fault::internal(&error))?;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

/// `GET /dashboard/uploads/{id}/refused`: the refused lines with their reasons, to be mended and uploaded again.
pub(super) async fn refused(State(state): State<DashboardState>, Path(id): Path<String>) -> Result<Response, Fault> {
    let (columns, lines) = state.pages.catalog.refused_lines(&id).await?;
    let reasons = columns.iter().position(|name| name == REASON);
    let names: Vec<&str> = columns.iter().map(String::as_str).filter(|name| *name != REASON).chain([REASON]).collect();
    let rows = lines.into_iter().map(|RefusedLine { line, reason, cells }| {
        let kept = cells.into_iter().enumerate().filter(|(at, _)| Some(*at) != reasons);
        // What was given neutralised comes back as it was.
        let kept = kept.map(|(_, cell)| restore(&cell).to_owned());
        let mut row: Vec<String> = kept.collect();
        // The reason stands under its name, also where a line was short.
        row.resize(row.len().max(names.len() - 1), String::new());
        row.push(format!("line {line}: {reason}"));
        row
    });
    let rows: Vec<Vec<String>> = rows.collect();
    grid::csv("refused", &names, rows.into_iter())
}

/// `POST /dashboard/uploads/{id}`: forgets it. What it told stays.
pub(super) async fn forget(
    State(state): State<DashboardState>,
    Path(id): Path<String>,
    _form: Filled,
) -> Result<Response, Fault> {
    state.pages.catalog.delete_upload(&id).await?;
    Ok(go(&format!("{PATH}?done=deleted")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::page::Language;

    #[test]
    fn every_column_and_word_is_there() {
        let columns = COLUMNS.iter().chain(&["file"]).map(|name| format!("field_{name}"));
        let words = UploadKind::WORDS.iter().chain(UploadState::WORDS).map(|word| format!("word_{word}"));
        for name in columns.chain(words) {
            for language in [Language::En, Language::De] {
                assert_ne!(Words::new(language).say(&name), name);
            }
        }
    }
}
