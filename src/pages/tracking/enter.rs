//! Step one: the address, and the code that was mailed to it.

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;

use super::{
    super::{
        PagesState,
        fault::Fault,
        given::{Form, Path},
        login::{self, CodeForm},
        sheet::{Sheet, go, pages, show},
        visit::{Cookie, Visit},
    },
    join,
    place::Place,
    stats::{self, Figures},
};
use crate::core::page::{Block, Join};

#[derive(Template)]
#[template(path = "tracking/email.html")]
struct EmailPage<'a> {
    sheet: Sheet<'a>,
    place: &'a Place,
    before: Vec<Block>,
    after: Vec<Block>,
    intro: String,
    notice: Option<String>,
    email: &'a str,
    problem: Option<String>,
    said: Option<String>,
}

#[derive(Template)]
#[template(path = "tracking/code.html")]
struct CodePage<'a> {
    sheet: Sheet<'a>,
    place: &'a Place,
    before: Vec<Block>,
    after: Vec<Block>,
    intro: String,
    code: CodeForm,
}

#[derive(Template)]
#[template(path = "tracking/numbers.html")]
struct NumbersPage<'a> {
    sheet: Sheet<'a>,
    place: &'a Place,
    before: Vec<Block>,
    after: Vec<Block>,
    figures: Figures,
    more: String,
    email: &'a str,
}

pages!(EmailPage, CodePage, NumbersPage);

#[derive(Debug, Deserialize)]
pub(super) struct EmailForm {
    #[serde(default)]
    email: String,
    /// Not empty: a code is wanted, though the page shows numbers without one.
    #[serde(default)]
    code: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct TypedCode {
    #[serde(default)]
    code: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeaveForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    everywhere: String,
}

/// `GET /r/{program}`: what whoever is there may see.
pub(super) async fn open(
    State(state): State<PagesState>,
    Path(program): Path<String>,
    RawQuery(query): RawQuery,
    visit: Visit,
) -> Result<Response, Fault> {
    let place = Place::find(&state, &program).await?;
    let Some(person) = login::person(&state, &visit).await? else {
        return email_page(&place, &visit, "", None, query.as_deref().unwrap_or_default());
    };
    match state.desk.partner_by_mail(&place.program.code, &person.email).await? {
        Some(partner) => stats::page(&state, &visit, &place, &person, &partner).await,
        None => join::page(&place, &visit, &person, &join::JoinForm::default(), &join::Problems::default()),
    }
}

/// `said` is what stands behind the `?`: where somebody comes from.
pub(super) fn email_page(
    place: &Place,
    visit: &Visit,
    email: &str,
    problem: Option<String>,
    said: &str,
) -> Result<Response, Fault> {
    let words = place.words(visit);
    let (before, after) = Place::around(words, &place.design().blocks.email);
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let sheet = place.sheet(words, words.say("track_title"))?;
    let intro = match place.join() {
        Join::Closed => words.say("track_email_intro"),
        Join::Open | Join::Review => words.own_or("track_email_intro", "email_intro_join"),
    };
    let said = login::said(words, said);
    let notice = place.notice(words);
    Ok(show(status, &EmailPage { sheet, place, before, after, intro, notice, email, problem, said }))
}

/// `POST /r/{program}`: an address was typed.
pub(super) async fn email(
    State(state): State<PagesState>,
    Path(program): Path<String>,
    visit: Visit,
    Form(form): Form<EmailForm>,
) -> Result<Response, Fault> {
    let place = Place::find(&state, &program).await?;
    state.admit(&visit)?;
    let words = place.words(&visit);
    let email = match login::address(words, &form.email) {
        Ok(email) => email,
        Err(problem) => return email_page(&place, &visit, &form.email, Some(problem), ""),
    };
    if place.design().login_code || !form.code.is_empty() {
        return login::ask(&state, &visit, place.door(), &email, &format!("{}/code", place.path())).await;
    }
    // Whoever has no referrals and whoever is not there look the same, and are asked for the same.
    let partner = state.catalog.partner_code_by_mail(&place.program.code, &email).await?;
    let figures = Figures::of(&state, &place.program, &partner).await?;
    let values = stats::values(words, &place, figures, None);
    let words = words.about(&values);
    let (before, after) = Place::around(words, &place.design().blocks.stats);
    let sheet = place.sheet(words, words.say("track_title"))?;
    let more = words.say(if place.join() == Join::Closed { "numbers_only" } else { "numbers_only_join" });
    Ok(show(StatusCode::OK, &NumbersPage { sheet, place: &place, before, after, figures, more, email: &email }))
}

/// `GET /r/{program}/code`: where the code is typed in.
pub(super) async fn code_form(
    State(state): State<PagesState>,
    Path(program): Path<String>,
    RawQuery(query): RawQuery,
    visit: Visit,
) -> Result<Response, Fault> {
    let place = Place::find(&state, &program).await?;
    if visit.tokens(Cookie::Login).is_empty() {
        return Ok(go(&place.path()));
    }
    code_page(&place, &visit, "", None, query.as_deref() == Some("sent"))
}

pub(super) fn code_page(
    place: &Place,
    visit: &Visit,
    typed: &str,
    problem: Option<String>,
    again: bool,
) -> Result<Response, Fault> {
    let words = place.words(visit);
    let (before, after) = Place::around(words, &place.design().blocks.code);
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let sheet = place.sheet(words, words.say("track_code_title"))?;
    let intro = match (place.join(), again) {
        (Join::Closed, true) => words.say("code_sent_again"),
        (Join::Closed, false) => words.say("track_code_intro"),
        // Everybody is mailed one there.
        (_, true) => words.say("code_sent_again_join"),
        (_, false) => words.own_or("track_code_intro", "code_intro_join"),
    };
    let form = CodeForm::new(words, format!("{}/code", place.path()), &place.path());
    let code = CodeForm { typed: typed.to_owned(), problem, ..form };
    Ok(show(status, &CodePage { sheet, place, before, after, intro, code }))
}

/// `POST /r/{program}/code`: a code was typed.
pub(super) async fn code(
    State(state): State<PagesState>,
    Path(program): Path<String>,
    visit: Visit,
    Form(form): Form<TypedCode>,
) -> Result<Response, Fault> {
    let place = Place::find(&state, &program).await?;
    state.admit(&visit)?;
    match login::try_code(&state, &visit, place.words(&visit), place.door(), &form.code, &place.path()).await? {
        Ok(response) => Ok(response),
        Err(problem) => code_page(&place, &visit, &form.code, Some(problem), false),
    }
}

/// `POST /r/{program}/code/new`
pub(super) async fn code_again(
    State(state): State<PagesState>,
    Path(program): Path<String>,
    visit: Visit,
) -> Result<Response, Fault> {
    let place = Place::find(&state, &program).await?;
    state.admit(&visit)?;
    login::ask_again(&state, &visit, place.door(), &place.path()).await
}

/// `POST /r/{program}/leave`
pub(super) async fn leave(
    State(state): State<PagesState>,
    Path(program): Path<String>,
    visit: Visit,
    Form(form): Form<LeaveForm>,
) -> Result<Response, Fault> {
    let place = Place::find(&state, &program).await?;
    let then = format!("{}?left", place.path());
    let Some(person) = login::person(&state, &visit).await? else { return Ok(go(&then)) };
    person.check(&form.token)?;
    login::leave(&state, &visit, &person, !form.everywhere.is_empty(), &then).await
}
