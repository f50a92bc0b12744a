//! The operator: logs in with the admin token, has a session in a cookie, and every form carries that session's token.
//!
//! A wrong token, one that is too long and none at all are answered alike. Nothing can be guessed of 32 random bytes; the limit on tries keeps
//! the catalog from being asked too often.

use askama::Template;
use axum::{
    extract::{FromRequestParts, RawQuery, Request, State},
    http::{Method, StatusCode, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    super::{
        fault::Fault,
        given::Form,
        login::with_cookies,
        sheet::{Sheet, go, pages, show},
        visit::{Cookie, Visit, form_token, is_form_token},
        words::Words,
    },
    DashboardState,
    form::Filled,
};
use crate::{
    catalog::{
        audit::{Caller, as_caller},
        logins::Who,
    },
    core::id::EventId,
    io::random,
};

pub(super) const HOME: &str = "/dashboard";
const LOGIN: &str = "/dashboard/login";
/// What is typed as the admin token, bytes: ours have less.
const TOKEN_MAX_BYTES: usize = 256;

/// Whoever is logged in. A handler that takes it has a session.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    session: String,
}

impl Operator {
    /// For the forms of this session.
    pub(super) fn form_token(&self) -> String {
        form_token(&self.session)
    }

    /// Refuses a form that does not carry the session's token.
    pub(super) fn check(&self, token: &str) -> Result<(), Fault> {
        if is_form_token(&self.session, token) { Ok(()) } else { Err(Fault::Expired) }
    }
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Operator, Fault> {
        parts.extensions.get::<Operator>().cloned().ok_or(Fault::Expired)
    }
}

/// Stands before every page but the log-in: lets a session through, and does what it asks for in the dashboard's name.
pub(super) async fn admit(State(state): State<DashboardState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let visit = Visit::of(&parts);
    let operator = match found(&state, &visit).await {
        Ok(Some(operator)) => operator,
        Ok(None) => return to_login(&parts),
        Err(fault) => return fault.into_response(),
    };
    parts.extensions.insert(operator);
    let id = EventId(random::bytes().unwrap_or_default()).to_string();
    as_caller(Caller::dashboard(id), next.run(Request::from_parts(parts, body))).await
}

async fn found(state: &DashboardState, visit: &Visit) -> Result<Option<Operator>, Fault> {
    for session in visit.tokens(Cookie::Admin) {
        if state.pages.catalog.session(session, &visit.agent).await? == Some(Who::Admin) {
            return Ok(Some(Operator { session: session.to_owned() }));
        }
    }
    Ok(None)
}

/// The way back leads to the page that was asked for, not to a form that was sent.
fn to_login(parts: &Parts) -> Response {
    let wanted = parts.uri.path_and_query().map_or(HOME, |wanted| wanted.as_str());
    if parts.method != Method::GET || wanted == HOME {
        return go(LOGIN);
    }
    let to: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
    go(&format!("{LOGIN}?to={to}"))
}

/// Where somebody wanted to go: a page of the dashboard, whatever else was asked for.
fn destination(wanted: &str) -> &str {
    let is_ours = wanted == HOME || wanted.starts_with("/dashboard/") || wanted.starts_with("/dashboard?");
    let is_plain = wanted.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if is_ours && is_plain && !wanted.starts_with(LOGIN) { wanted } else { HOME }
}

#[derive(Template)]
#[template(path = "dashboard/login.html")]
struct LoginPage<'a> {
    sheet: Sheet<'a>,
    to: &'a str,
    problem: Option<String>,
    said: Option<String>,
}

pages!(LoginPage);

fn login_page(words: Words<'_>, to: &str, problem: Option<String>, said: Option<String>) -> Result<Response, Fault> {
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let sheet = Sheet::new(words, words.say("dash_login_title"))?;
    Ok(show(status, &LoginPage { sheet, to, problem, said }))
}

/// `GET /dashboard/login`
pub(super) async fn ask(RawQuery(query): RawQuery, visit: Visit) -> Result<Response, Fault> {
    let query = query.unwrap_or_default();
    let to = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "to").map(|(_, to)| to);
    let words = Words::new(visit.language);
    let said = (query == "left").then(|| words.say("logged_out"));
    login_page(words, destination(to.as_deref().unwrap_or_default()), None, said)
}

#[derive(Deserialize)]
pub(super) struct LoginForm {
    #[serde(default)]
    admin_token: String,
    #[serde(default)]
    to: String,
}

/// `POST /dashboard/login`
pub(super) async fn log_in(
    State(state): State<DashboardState>,
    visit: Visit,
    Form(form): Form<LoginForm>,
) -> Result<Response, Fault> {
    if !visit.is_safe() {
        return Err(Fault::Https);
    }
    if let Some(client) = visit.client {
        state.limiter.admit(client, state.pages.clock.now()).map_err(Fault::Limited)?;
    }
    let (words, to) = (Words::new(visit.language), destination(&form.to));
    let given = form.admin_token.trim();
    let given = if given.len() <= TOKEN_MAX_BYTES { given } else { "" };
    if !state.pages.catalog.is_admin_token(given).await? {
        return login_page(words, to, Some(words.say("dash_login_wrong")), None);
    }
    let session = state.pages.catalog.open_admin_session(&visit.agent).await?;
    Ok(with_cookies(go(to), Cookie::Admin.set(&session, false)))
}

/// `POST /dashboard/leave`: logs this browser out, or all of them.
pub(super) async fn leave(
    State(state): State<DashboardState>,
    operator: Operator,
    form: Filled,
) -> Result<Response, Fault> {
    if form.text("everywhere").is_empty() {
        state.pages.catalog.close_session(&operator.session).await?;
    } else {
        state.pages.catalog.close_sessions(&Who::Admin).await?;
    }
    Ok(with_cookies(go(&format!("{LOGIN}?left")), Cookie::Admin.clear()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_stays_in_the_dashboard() {
        for (wanted, expected) in [
            ("/dashboard/rewards?state=due", "/dashboard/rewards?state=due"),
            ("/dashboard?since=7d", "/dashboard?since=7d"),
            ("", HOME),
            ("//evil.example/dashboard", HOME),
            ("/dashboardx", HOME),
            ("https://evil.example/dashboard/", HOME),
            ("/dashboard/\\evil", HOME),
            ("/dashboard/\r\nX: y", HOME),
            ("/dashboard/login?to=/dashboard/login", HOME),
        ] {
            assert_eq!(destination(wanted), expected, "{wanted:?}");
        }
    }
}
