//! Somebody who reads the mail of an address, and is no partner of the program yet.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Deserialize;

use super::{
    super::{
        PagesState,
        fault::Fault,
        given::{Form, Path},
        login::{self, Person},
        sheet::{Sheet, go, pages, show},
        visit::Visit,
        words::Words,
    },
    place::Place,
};
use crate::{
    catalog::audit::{Caller, as_caller},
    core::{
        limits::NAME_MAX_CHARS,
        page::{Block, Join},
    },
};

#[derive(Debug, Default, Deserialize)]
pub(super) struct JoinForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
}

/// What is wrong with each field.
#[derive(Debug, Default)]
pub(super) struct Problems {
    first_name: Option<String>,
    last_name: Option<String>,
}

struct Field<'a> {
    name: &'static str,
    label: String,
    autocomplete: &'static str,
    value: &'a str,
    problem: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "tracking/join.html")]
struct JoinPage<'a> {
    sheet: Sheet<'a>,
    place: &'a Place,
    before: Vec<Block>,
    after: Vec<Block>,
    is_open: bool,
    /// How it goes, or why it does not.
    intro: String,
    token: String,
    email: &'a str,
    fields: Vec<Field<'a>>,
}

pages!(JoinPage);

pub(super) fn page(
    place: &Place,
    visit: &Visit,
    person: &Person,
    form: &JoinForm,
    problems: &Problems,
) -> Result<Response, Fault> {
    let words = place.words(visit);
    let (before, after) = Place::around(words, &place.design().blocks.stats);
    let intro = match place.join() {
        Join::Open => words.say("track_join_intro"),
        Join::Review => words.own_or("track_join_intro", "join_intro_review"),
        Join::Closed => place.notice(words).unwrap_or_else(|| words.say("not_a_partner")),
    };
    let is_wrong = problems.first_name.is_some() || problems.last_name.is_some();
    let fields = vec![
        Field {
            name: "first_name",
            label: words.say("first_name"),
            autocomplete: "given-name",
            value: &form.first_name,
            problem: problems.first_name.as_deref(),
        },
        Field {
            name: "last_name",
            label: words.say("last_name"),
            autocomplete: "family-name",
            value: &form.last_name,
            problem: problems.last_name.as_deref(),
        },
    ];
    let page = JoinPage {
        sheet: place.sheet(words, words.say("track_join_title"))?,
        place,
        before,
        after,
        is_open: place.join() != Join::Closed,
        intro,
        token: person.form_token(),
        email: &person.email,
        fields,
    };
    Ok(show(if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page))
}

fn name(words: Words<'_>, typed: &str) -> Result<String, String> {
    let name: String = typed.trim().chars().filter(|c| !c.is_control()).collect();
    let half = NAME_MAX_CHARS / 2;
    if name.chars().count() > half { Err(words.with("too_long", "most", &half)) } else { Ok(name) }
}

/// `POST /r/{program}/join`
pub(super) async fn join(
    State(state): State<PagesState>,
    Path(program): Path<String>,
    visit: Visit,
    Form(form): Form<JoinForm>,
) -> Result<Response, Fault> {
    let place = Place::find(&state, &program).await?;
    let Some(person) = login::person(&state, &visit).await? else { return Ok(go(&place.path())) };
    person.check(&form.token)?;
    let words = place.words(&visit);
    let (first, last) = (name(words, &form.first_name), name(words, &form.last_name));
    let (Ok(first), Ok(last)) = (&first, &last) else {
        return page(&place, &visit, &person, &form, &Problems { first_name: first.err(), last_name: last.err() });
    };
    if first.is_empty() {
        let problems = Problems { first_name: Some(words.say("first_name_missing")), last_name: None };
        return page(&place, &visit, &person, &form, &problems);
    }
    let whole = format!("{first} {last}");
    let names = (first.as_str(), whole.trim());
    let joined = state.desk.join(&place.program, place.design(), &person.email, names);
    as_caller(Caller::system("tracking page"), joined).await?;
    Ok(go(&place.path()))
}
