//! How a program's tracking page looks: its design as JSON, by the API's reader; its files; and what all of it makes, in a frame beside it.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    super::{
        fault::Fault,
        given::Path,
        sheet::{Sheet, go, pages, show},
        tracking,
        visit::Visit,
        words::Words,
    },
    DashboardState,
    field::{Field, Input, told},
    form::{Asked, Filled, FilledWithFile},
    frame::{Frame, frame},
    operator::Operator,
};
use crate::{
    catalog::{CatalogError, Mistake, pages::ProgramPage},
    core::{
        code::Code,
        limits::PAGE_FILE_MAX_BYTES,
        media,
        page::{Design, is_file_name},
    },
};

/// Steps of the page that can be looked at, and the names of their texts.
const STEPS: [(&str, &str); 3] =
    [("email", "dash_step_email"), ("code", "dash_step_code"), ("stats", "dash_step_stats")];

struct File {
    name: String,
    media_type: String,
    size: String,
    address: String,
}

struct Step {
    label: String,
    address: String,
    is_current: bool,
}

#[derive(Template)]
#[template(path = "dashboard/design.html")]
struct DesignPage<'a> {
    sheet: Sheet<'a>,
    frame: Frame,
    program: &'a str,
    design: Field,
    problems: Vec<String>,
    files: Vec<File>,
    file: Field,
    steps: Vec<Step>,
    preview: String,
}

pages!(DesignPage);

/// What a page about a design needs to be shown once more.
struct Editing<'a> {
    state: &'a DashboardState,
    visit: &'a Visit,
    operator: &'a Operator,
    asked: &'a Asked,
    page: &'a ProgramPage,
}

async fn found(state: &DashboardState, program: &str) -> Result<ProgramPage, Fault> {
    let code: Code = program.parse().map_err(|_| Fault::Program)?;
    Ok(state.pages.catalog.program_page(&code).await?)
}

impl Editing<'_> {
    /// `typed`: the design as it was typed; none: as it is.
    fn show(&self, typed: Option<&str>, mistakes: &[Mistake], file_problem: Option<String>) -> Result<Response, Fault> {
        let program = self.page.program.as_str();
        let title = Words::new(self.visit.language).with("dash_design_title", "program", &program);
        let (words, sheet, frame) = frame(self.visit, self.operator, self.asked, "/dashboard/programs", title)?;
        let text = match typed {
            Some(text) => text.to_owned(),
            None => serde_json::to_string_pretty(&self.page.design).unwrap_or_default(),
        };
        let mut design = Field::new(words, "design", Input::Area { rows: 24, code: true }, text);
        design.hint = Some(words.say("hint_design"));
        let mut problems = Vec::new();
        if !mistakes.is_empty() {
            design.problem = Some(mistakes.iter().map(told).collect::<Vec<_>>().join("; "));
            problems.push(words.with("mistakes", "count", &mistakes.len()));
        }
        let mut file = Field::new(words, "file", Input::File { accept: "image/*,video/mp4,video/webm" }, "").required();
        file.hint = Some(words.with("hint_file", "most", &(PAGE_FILE_MAX_BYTES / 1024)));
        file.problem = file_problem;
        let current = self.asked.some("step").unwrap_or(STEPS[0].0);
        let step = |(step, name): &(&str, &str)| Step {
            label: words.say(name),
            address: format!("/dashboard/design/{program}?step={step}#preview"),
            is_current: *step == current,
        };
        let shown = STEPS.iter().find(|(step, _)| *step == current).map_or(STEPS[0].0, |(step, _)| *step);
        let files = self.page.files.iter().map(|file| File {
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size: format!("{} KiB", words.number(file.bytes.div_ceil(1024))),
            address: format!("/r/{program}/files/{}?v={}", file.name, file.digest),
        });
        let is_wrong = design.problem.is_some() || file.problem.is_some();
        let page = DesignPage {
            sheet: sheet.showing_frames(),
            frame,
            program,
            design,
            problems,
            files: files.collect(),
            file,
            steps: STEPS.iter().map(step).collect(),
            preview: format!("/dashboard/design/{program}/preview/{shown}"),
        };
        Ok(show(if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page))
    }

    fn done(&self, what: &str) -> Response {
        go(&format!("/dashboard/design/{}?done={what}", self.page.program))
    }

    fn catalog(&self) -> &crate::catalog::Catalog {
        &self.state.pages.catalog
    }
}

/// `GET /dashboard/design/{program}`
pub(super) async fn page(
    State(state): State<DashboardState>,
    Path(program): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    let page = &found(&state, &program).await?;
    Editing { state: &state, visit: &visit, operator: &operator, asked: &asked, page }.show(None, &[], None)
}

/// `POST /dashboard/design/{program}`
pub(super) async fn save(
    State(state): State<DashboardState>,
    Path(program): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    form: Filled,
) -> Result<Response, Fault> {
    let page = &found(&state, &program).await?;
    let editing = Editing { state: &state, visit: &visit, operator: &operator, asked: &asked, page };
    let typed = form.text("design");
    let given = if typed.is_empty() { "{}" } else { typed };
    let read = match serde_json::from_str(given) {
        Ok(value) => editing.catalog().read_design(value).await,
        Err(error) => Err(CatalogError::Invalid(vec![Mistake::new("design", format!("is no JSON: {error}"))])),
    };
    match put(&editing, read).await {
        Ok(()) => Ok(editing.done("saved")),
        Err(CatalogError::Invalid(mistakes)) => editing.show(Some(typed), &mistakes, None),
        Err(error) => Err(error.into()),
    }
}

async fn put(editing: &Editing<'_>, design: Result<Design, CatalogError>) -> Result<(), CatalogError> {
    editing.catalog().put_page(&editing.page.program, &design?).await.map(drop)
}

/// `POST /dashboard/design/{program}/reset`: back to the defaults; files stay.
pub(super) async fn reset(
    State(state): State<DashboardState>,
    Path(program): Path<String>,
    _form: Filled,
) -> Result<Response, Fault> {
    let program = found(&state, &program).await?.program;
    match state.pages.catalog.delete_page(&program).await {
        // It was never designed.
        Ok(()) | Err(CatalogError::NotFound { .. }) => Ok(go(&format!("/dashboard/design/{program}?done=saved"))),
        Err(error) => Err(error.into()),
    }
}

/// A file's name as pages may name it: `My Logo.PNG` becomes `my-logo.png`.
fn file_name(given: &str) -> Option<String> {
    let name = given.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let (stem, ending) = name.rsplit_once('.')?;
    let plain = |text: &str| -> String {
        let kept = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        text.chars().map(kept).collect::<String>().trim_matches('-').to_owned()
    };
    Some(format!("{}.{}", plain(stem), plain(ending))).filter(|name| is_file_name(name))
}

/// `POST /dashboard/design/{program}/files`
pub(super) async fn put_file(
    State(state): State<DashboardState>,
    Path(program): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    form: FilledWithFile,
) -> Result<Response, Fault> {
    let page = &found(&state, &program).await?;
    let editing = Editing { state: &state, visit: &visit, operator: &operator, asked: &asked, page };
    let words = Words::new(visit.language);
    let refuse = |problem: String| editing.show(None, &[], Some(problem));
    if form.body.is_empty() {
        return refuse(words.say("dash_file_missing"));
    }
    let Some(name) = file_name(&form.name) else { return refuse(words.say("dash_file_name")) };
    if form.body.len() > PAGE_FILE_MAX_BYTES {
        return refuse(words.with("dash_file_large", "most", &(PAGE_FILE_MAX_BYTES / 1024)));
    }
    let Some(media_type) = media::media_type(&form.body) else {
        return refuse(words.with("dash_file_kind", "known", &media::known()));
    };
    match editing.catalog().put_page_file(&page.program, &name, media_type, &form.body).await {
        Ok(_) => Ok(editing.done("file")),
        Err(CatalogError::Invalid(mistakes)) => refuse(mistakes.iter().map(told).collect::<Vec<_>>().join("; ")),
        Err(error) => Err(error.into()),
    }
}

/// `POST /dashboard/design/{program}/remove`: takes a file away that the design does not show.
pub(super) async fn remove_file(
    State(state): State<DashboardState>,
    Path(program): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    form: Filled,
) -> Result<Response, Fault> {
    let page = &found(&state, &program).await?;
    let editing = Editing { state: &state, visit: &visit, operator: &operator, asked: &asked, page };
    match editing.catalog().delete_page_file(&page.program, form.text("name")).await {
        Ok(()) => Ok(editing.done("deleted")),
        Err(CatalogError::InUse { code, .. }) => {
            let problem = Words::new(visit.language).with("dash_file_shown", "name", &code);
            editing.show(None, &[], Some(problem))
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /dashboard/design/{program}/preview/{step}`
pub(super) async fn preview(
    State(state): State<DashboardState>,
    Path((program, step)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Fault> {
    tracking::preview(&state.pages, &visit, &program, &step).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::page::Language;

    #[test]
    fn a_files_name_becomes_one_of_ours() {
        for (given, expected) in [
            ("logo.png", Some("logo.png")),
            ("C:\\pictures\\My Logo (2).PNG", Some("my-logo--2.png")),
            ("../../etc/passwd", None),
            ("a.b.gif", Some("a-b.gif")),
            ("Ünï.png", Some("n.png")),
            ("???.png", None),
            ("noending", None),
            ("", None),
        ] {
            assert_eq!(file_name(given).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn every_step_has_its_words() {
        for (_, name) in STEPS {
            for language in [Language::En, Language::De] {
                assert_ne!(Words::new(language).say(name), name);
            }
        }
    }
}
