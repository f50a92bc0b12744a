//! Programs, links, partners, ads and share links: a list, a form for each, and the way out of the catalog. One text for all kinds; what differs
//! stands in `kinds`.

use askama::Template;
use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};

use super::{
    super::{
        fault::Fault,
        given::Path,
        sheet::{Sheet, go, pages, show},
        visit::Visit,
        words::Words,
    },
    DashboardState,
    field::{Field, mark},
    form::{Asked, Filled},
    frame::{Frame, frame},
    grid::{self, Cell, EXPORT_ROWS, Grid, ROWS},
    kinds::{self, Kept, text},
    operator::Operator,
};
use crate::{
    catalog::{CatalogError, Entity, Kind, ListQuery, Mistake, ShareLink, entity},
    core::{code::Code, limits::PAGE_MAX_ROWS},
};

/// The pages of one kind.
pub(super) fn routes<T: Kept>() -> Router<DashboardState> {
    let place = T::PLACE;
    Router::new()
        .route(&format!("/dashboard/{place}"), get(list::<T>))
        .route(&format!("/dashboard/add/{place}"), get(blank::<T>).post(create::<T>))
        .route(&format!("/dashboard/{place}/{{*key}}"), get(open::<T>).post(change::<T>))
        .route(&format!("/dashboard/delete/{place}/{{*key}}"), get(ask_delete::<T>).post(delete::<T>))
        .route(&format!("/dashboard/export/{place}"), get(export::<T>))
}

fn path<T: Kept>() -> String {
    format!("/dashboard/{}", T::PLACE)
}

/// A list, of anything.
#[derive(Template)]
#[template(path = "dashboard/list.html")]
pub(super) struct ListPage<'a> {
    pub(super) sheet: Sheet<'a>,
    pub(super) frame: Frame,
    pub(super) intro: String,
    /// Where one more is added, and what the button says.
    pub(super) add: Option<(String, String)>,
    pub(super) path: String,
    /// What can be looked for.
    pub(super) filters: Vec<Field>,
    pub(super) problems: Vec<String>,
    pub(super) grid: Grid,
}

/// An item: to be made, or to be changed.
#[derive(Template)]
#[template(path = "dashboard/edit.html")]
struct EditPage<'a> {
    sheet: Sheet<'a>,
    frame: Frame,
    back: String,
    /// Where the form goes; none: nothing can be changed.
    action: Option<String>,
    fields: Vec<Field>,
    /// What is wrong with no field in particular.
    problems: Vec<String>,
    more: Vec<(String, String)>,
    delete: Option<String>,
}

#[derive(Template)]
#[template(path = "dashboard/delete.html")]
struct DeletePage<'a> {
    sheet: Sheet<'a>,
    frame: Frame,
    back: String,
    action: String,
    /// What refers to it.
    by: Vec<String>,
    takes_along: bool,
}

pages!(ListPage, EditPage, DeletePage);

/// The value of each of [`Entity::FIELDS`], as a cell of CSV has it.
fn value(names: &[&str], cells: &[String], wanted: &str) -> String {
    names.iter().position(|name| *name == wanted).and_then(|at| cells.get(at)).cloned().unwrap_or_default()
}

fn row<T: Kept>(words: Words<'_>, item: &T) -> Vec<Cell> {
    let cells = item.cells();
    let cell = |(at, name): (usize, &&'static str)| {
        let text = value(T::FIELDS, &cells, name);
        match *name {
            _ if at == 0 => Cell::link(text, format!("{}/{}", path::<T>(), item.key())),
            "status" => Cell::state(words, &text),
            "attribution" => Cell::text(super::field::called(words, &text)),
            "window_days" => Cell::ranked(text.clone(), text.parse().unwrap_or(0)),
            _ => Cell::text(text),
        }
    };
    T::LISTED.iter().enumerate().map(cell).collect()
}

/// `GET /dashboard/{kind}`
async fn list<T: Kept>(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    let search = asked.text("search");
    let query = ListQuery {
        search: asked.some("search").map(str::to_owned),
        cursor: asked.some("cursor").map(str::to_owned),
        limit: Some(ROWS),
        ..ListQuery::default()
    };
    let found = match state.pages.catalog.list::<T>(&query).await {
        // Somebody's own idea of a cursor.
        Err(CatalogError::Invalid(_)) => return Ok(go(&path::<T>())),
        found => found?,
    };
    let title = Words::new(visit.language).say(&text::<T>("dash"));
    let (words, sheet, frame) = frame(&visit, &operator, &asked, &path::<T>(), title)?;
    let rows = found.items.iter().map(|item| row(words, item)).collect();
    let grid = Grid::new(words, &asked, (&path::<T>(), &sheet.title), T::LISTED, rows, found.next.as_deref())
        .exported(&asked, &format!("/dashboard/export/{}", T::PLACE));
    let page = ListPage {
        sheet,
        frame,
        intro: words.say(&text::<T>("dash_intro")),
        add: Some((format!("/dashboard/add/{}", T::PLACE), words.say(&text::<T>("dash_add")))),
        path: path::<T>(),
        filters: vec![Field::new(words, "search", super::field::Input::Line("search"), search)],
        problems: Vec::new(),
        grid,
    };
    Ok(show(StatusCode::OK, &page))
}

/// `GET /dashboard/export/{kind}`: what the search finds, as the import reads it.
async fn export<T: Kept>(State(state): State<DashboardState>, asked: Asked) -> Result<Response, Fault> {
    let mut query = ListQuery {
        search: asked.some("search").map(str::to_owned),
        limit: Some(PAGE_MAX_ROWS),
        ..ListQuery::default()
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    loop {
        let page = state.pages.catalog.list::<T>(&query).await?;
        rows.extend(page.items.iter().map(Entity::cells));
        query.cursor = page.next;
        if query.cursor.is_none() || rows.len() >= EXPORT_ROWS {
            break;
        }
    }
    grid::csv(T::PLACE, T::FIELDS, rows.into_iter())
}

/// The codes of a key; one that cannot be a code names nothing.
fn key(text: &str, parts: usize) -> Result<Vec<Code>, Fault> {
    let codes: Vec<Code> = text.split('/').map(str::parse).collect::<Result<_, _>>().map_err(|_| Fault::NotFound)?;
    if codes.len() == parts { Ok(codes) } else { Err(Fault::NotFound) }
}

async fn get_item<T: Kept>(state: &DashboardState, text: &str) -> Result<T, Fault> {
    let key = key(text, T::KEY.len())?;
    let key: Vec<&str> = key.iter().map(Code::as_str).collect();
    match state.pages.catalog.get::<T>(&key).await {
        Err(CatalogError::NotFound { .. }) => Err(Fault::NotFound),
        item => Ok(item?),
    }
}

/// What a form page is made of.
struct Editing<'a> {
    visit: &'a Visit,
    operator: &'a Operator,
    asked: &'a Asked,
    /// Of the item that is there; none: it is to be made.
    key: Option<&'a str>,
}

impl Editing<'_> {
    fn page<T: Kept>(&self, value: impl Fn(&'static str) -> String, mistakes: &[Mistake]) -> Result<Response, Fault> {
        let title = match self.key {
            Some(key) => key.to_owned(),
            None => Words::new(self.visit.language).say(&text::<T>("dash_add")),
        };
        let (words, sheet, frame) = frame(self.visit, self.operator, self.asked, &path::<T>(), title)?;
        let mut fields = kinds::fields::<T>(words, value);
        for field in &mut fields {
            field.is_fixed = self.key.is_some() && (!T::CHANGES || T::KEY.contains(&field.name.as_str()));
        }
        let mut problems = mark(&mut fields, mistakes);
        if !mistakes.is_empty() {
            problems.insert(0, words.with("mistakes", "count", &mistakes.len()));
        }
        let action = match self.key {
            Some(key) => T::CHANGES.then(|| format!("{}/{key}", path::<T>())),
            None => Some(format!("/dashboard/add/{}", T::PLACE)),
        };
        let page = EditPage {
            sheet,
            frame,
            back: path::<T>(),
            action,
            fields,
            problems,
            more: self.key.map(|key| more::<T>(words, key)).unwrap_or_default(),
            delete: self.key.map(|key| format!("/dashboard/delete/{}/{key}", T::PLACE)),
        };
        let status = if mistakes.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        Ok(show(status, &page))
    }
}

/// Where else an item is seen.
fn more<T: Kept>(words: Words<'_>, key: &str) -> Vec<(String, String)> {
    let link = |address: String, name: &str| (address, words.say(name));
    match T::KIND {
        Kind::Program => vec![
            link(format!("/dashboard/design/{key}"), "dash_design"),
            link(format!("/dashboard?program={key}"), "dash_overview"),
            link(format!("/dashboard/referrals?program={key}"), "dash_referrals"),
        ],
        Kind::Partner => vec![
            link(format!("/dashboard/referrals?partner={key}"), "dash_referrals"),
            link(format!("/dashboard/rewards?state=all&partner={key}"), "dash_rewards"),
            link(format!("/dashboard/ads?search={key}"), "dash_ads"),
            link(format!("/dashboard/share-links?search={key}"), "dash_share_links"),
        ],
        Kind::Link => vec![link(format!("/dashboard/share-links?search={key}"), "dash_share_links")],
        Kind::Ad | Kind::ShareLink => Vec::new(),
    }
}

/// `GET /dashboard/add/{kind}`; what the address names is filled in.
async fn blank<T: Kept>(operator: Operator, visit: Visit, asked: Asked) -> Result<Response, Fault> {
    let editing = Editing { visit: &visit, operator: &operator, asked: &asked, key: None };
    editing.page::<T>(|name| asked.text(name).to_owned(), &[])
}

/// `POST /dashboard/add/{kind}`
async fn create<T: Kept>(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    mut form: Filled,
) -> Result<Response, Fault> {
    let editing = Editing { visit: &visit, operator: &operator, asked: &asked, key: None };
    let again = |form: &Filled, mistakes: &[Mistake]| editing.page::<T>(|name| form.text(name).to_owned(), mistakes);
    let item = match entity::read::<T, _>(&mut form) {
        Ok(item) => item,
        Err(mistakes) => return again(&form, &mistakes),
    };
    match put_new(&state, item).await {
        Ok(Made::New(key)) => Ok(go(&format!("{}/{key}?done=saved", path::<T>()))),
        Ok(Made::There(key)) if T::KIND == Kind::ShareLink => Ok(go(&format!("{}/{key}?done=known", path::<T>()))),
        Ok(Made::There(key)) => {
            let problem = Words::new(visit.language).with("dash_taken", "key", &key);
            again(&form, &[Mistake::new(T::KEY[T::KEY.len() - 1], problem)])
        }
        Err(CatalogError::Taken { slug }) => {
            let problem = Words::new(visit.language).with("dash_taken", "key", &slug);
            again(&form, &[Mistake::new("slug", problem)])
        }
        Err(CatalogError::Invalid(mistakes)) => again(&form, &mistakes),
        Err(error) => Err(error.into()),
    }
}

/// What became of an item that was to be made, with its key.
enum Made {
    New(String),
    There(String),
}

/// An item that is there already is not replaced by a form that is to make one.
async fn put_new<T: Kept>(state: &DashboardState, item: T) -> Result<Made, CatalogError> {
    let catalog = &state.pages.catalog;
    // The one kind that is found by what it stands for.
    let share = (&item as &dyn std::any::Any).downcast_ref::<ShareLink>().cloned();
    if let Some(share) = share {
        let (share, is_new) = catalog.share(share).await?;
        return Ok(if is_new { Made::New(share.key()) } else { Made::There(share.key()) });
    }
    match catalog.get::<T>(&item.key_parts()).await {
        Ok(there) => return Ok(Made::There(there.key())),
        Err(CatalogError::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(Made::New(catalog.put(item).await?.0.key()))
}

/// `GET /dashboard/{kind}/{key}`
async fn open<T: Kept>(
    State(state): State<DashboardState>,
    Path(text): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    let item = get_item::<T>(&state, &text).await?;
    let (key, cells) = (item.key(), item.cells());
    let editing = Editing { visit: &visit, operator: &operator, asked: &asked, key: Some(&key) };
    editing.page::<T>(|name| value(T::FIELDS, &cells, name), &[])
}

/// `POST /dashboard/{kind}/{key}`
async fn change<T: Kept>(
    State(state): State<DashboardState>,
    Path(text): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    mut form: Filled,
) -> Result<Response, Fault> {
    let there = get_item::<T>(&state, &text).await?;
    if !T::CHANGES {
        return Err(Fault::Method);
    }
    // The address says which one it is, whatever the form says.
    for (name, part) in T::KEY.iter().zip(there.key_parts()) {
        form.set(name, part);
    }
    let key = there.key();
    let editing = Editing { visit: &visit, operator: &operator, asked: &asked, key: Some(&key) };
    let again = |form: &Filled, mistakes: &[Mistake]| editing.page::<T>(|name| form.text(name).to_owned(), mistakes);
    let item = match entity::read::<T, _>(&mut form) {
        Ok(item) => item,
        Err(mistakes) => return again(&form, &mistakes),
    };
    match state.pages.catalog.put(item).await {
        Ok(_) => Ok(go(&format!("{}/{key}?done=saved", path::<T>()))),
        Err(CatalogError::Invalid(mistakes)) => again(&form, &mistakes),
        Err(error) => Err(error.into()),
    }
}

fn delete_page<T: Kept>(
    (visit, operator, asked): (&Visit, &Operator, &Asked),
    key: &str,
    by: Vec<String>,
) -> Result<Response, Fault> {
    let title = Words::new(visit.language).with("dash_delete_title", "key", &key);
    let (_, sheet, frame) = frame(visit, operator, asked, &path::<T>(), title)?;
    let status = if by.is_empty() { StatusCode::OK } else { StatusCode::CONFLICT };
    let page = DeletePage {
        sheet,
        frame,
        back: format!("{}/{key}", path::<T>()),
        action: format!("/dashboard/delete/{}/{key}", T::PLACE),
        by,
        takes_along: T::TAKES_ALONG,
    };
    Ok(show(status, &page))
}

/// `GET /dashboard/delete/{kind}/{key}`: asks whether it is meant.
async fn ask_delete<T: Kept>(
    State(state): State<DashboardState>,
    Path(text): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    let key = get_item::<T>(&state, &text).await?.key();
    delete_page::<T>((&visit, &operator, &asked), &key, Vec::new())
}

/// `POST /dashboard/delete/{kind}/{key}`: deletes it, or says what refers to it.
async fn delete<T: Kept>(
    State(state): State<DashboardState>,
    Path(text): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    form: Filled,
) -> Result<Response, Fault> {
    let item = get_item::<T>(&state, &text).await?;
    let along = T::TAKES_ALONG && !form.text("along").is_empty();
    match state.pages.catalog.delete::<T>(&item.key_parts(), along).await {
        Ok(()) => Ok(go(&format!("{}?done=deleted", path::<T>()))),
        Err(CatalogError::InUse { by, .. }) => delete_page::<T>((&visit, &operator, &asked), &item.key(), by),
        Err(error) => Err(error.into()),
    }
}
