//! Logging in to the partner center.

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;

use super::super::{
    PagesState,
    fault::Fault,
    given::Form,
    login::{self, CodeForm, Door},
    sheet::{Sheet, go, pages, show},
    visit::{Cookie, Visit},
    words::Words,
};

const PATH: &str = "/partner";
const CODE: &str = "/partner/code";

#[derive(Template)]
#[template(path = "partner/email.html")]
struct EmailPage<'a> {
    sheet: Sheet<'a>,
    email: &'a str,
    problem: Option<String>,
    said: Option<String>,
}

#[derive(Template)]
#[template(path = "partner/code.html")]
struct CodePage<'a> {
    sheet: Sheet<'a>,
    intro: String,
    code: CodeForm,
}

/// Somebody who is logged in, and nobody's partner.
#[derive(Template)]
#[template(path = "partner/nobody.html")]
struct NobodyPage<'a> {
    sheet: Sheet<'a>,
    token: String,
    email: &'a str,
}

pages!(EmailPage, CodePage, NobodyPage);

#[derive(Debug, Deserialize)]
pub(super) struct EmailForm {
    #[serde(default)]
    email: String,
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

fn door(name: &str) -> Door<'_> {
    Door { program: None, name, anybody: false, embedded: false }
}

/// `GET /partner`
pub(super) async fn open(
    State(state): State<PagesState>,
    RawQuery(query): RawQuery,
    visit: Visit,
) -> Result<Response, Fault> {
    let words = Words::new(visit.language);
    let Some(person) = login::person(&state, &visit).await? else {
        let said = login::said(words, query.as_deref().unwrap_or_default());
        return email_page(words, "", None, said);
    };
    if let Some(partner) = state.catalog.partners_by_mail(&person.email).await?.first() {
        return Ok(go(&format!("{PATH}/of/{}", partner.code)));
    }
    let sheet = Sheet::new(words, words.say("center_title"))?;
    Ok(show(StatusCode::OK, &NobodyPage { sheet, token: person.form_token(), email: &person.email }))
}

fn email_page(words: Words<'_>, email: &str, problem: Option<String>, said: Option<String>) -> Result<Response, Fault> {
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let sheet = Sheet::new(words, words.say("center_title"))?;
    Ok(show(status, &EmailPage { sheet, email, problem, said }))
}

/// `POST /partner`
pub(super) async fn email(
    State(state): State<PagesState>,
    visit: Visit,
    Form(form): Form<EmailForm>,
) -> Result<Response, Fault> {
    state.admit(&visit)?;
    let words = Words::new(visit.language);
    match login::address(words, &form.email) {
        Ok(email) => login::ask(&state, &visit, door(&words.say("center_title")), &email, CODE).await,
        Err(problem) => email_page(words, &form.email, Some(problem), None),
    }
}

/// `GET /partner/code`
pub(super) async fn code_form(RawQuery(query): RawQuery, visit: Visit) -> Result<Response, Fault> {
    if visit.tokens(Cookie::Login).is_empty() {
        return Ok(go(PATH));
    }
    code_page(Words::new(visit.language), "", None, query.as_deref() == Some("sent"))
}

fn code_page(words: Words<'_>, typed: &str, problem: Option<String>, again: bool) -> Result<Response, Fault> {
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let sheet = Sheet::new(words, words.say("track_code_title"))?;
    let intro = if again { words.say("code_sent_again") } else { words.say("track_code_intro") };
    let code = CodeForm { typed: typed.to_owned(), problem, ..CodeForm::new(words, CODE.to_owned(), PATH) };
    Ok(show(status, &CodePage { sheet, intro, code }))
}

/// `POST /partner/code`
pub(super) async fn code(
    State(state): State<PagesState>,
    visit: Visit,
    Form(form): Form<TypedCode>,
) -> Result<Response, Fault> {
    state.admit(&visit)?;
    let words = Words::new(visit.language);
    match login::try_code(&state, &visit, words, door(""), &form.code, PATH).await? {
        Ok(response) => Ok(response),
        Err(problem) => code_page(words, &form.code, Some(problem), false),
    }
}

/// `POST /partner/code/new`
pub(super) async fn code_again(State(state): State<PagesState>, visit: Visit) -> Result<Response, Fault> {
    state.admit(&visit)?;
    let name = Words::new(visit.language).say("center_title");
    login::ask_again(&state, &visit, door(&name), PATH).await
}

/// `POST /partner/leave`
pub(super) async fn leave(
    State(state): State<PagesState>,
    visit: Visit,
    Form(form): Form<LeaveForm>,
) -> Result<Response, Fault> {
    let then = "/partner?left";
    let Some(person) = login::person(&state, &visit).await? else { return Ok(go(then)) };
    person.check(&form.token)?;
    login::leave(&state, &visit, &person, !form.everywhere.is_empty(), then).await
}
