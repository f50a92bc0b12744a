//! Logging in with a code that is mailed: the same for the tracking page and the partner center. What the catalog does so that
//! nobody learns who is registered stands in `catalog::logins`; here all answers are alike.

use axum::{
    http::{HeaderValue, header},
    response::Response,
};

use super::{
    PagesState,
    fault::Fault,
    sheet::go,
    visit::{Cookie, Visit, is_form_token},
    words::Words,
};
use crate::{
    catalog::{
        logins::{Asking, Tried, Who},
        mails::NewMail,
    },
    core::{
        code::Code,
        limits::{EMAIL_MAX_BYTES, LOGIN_CODE_DIGITS, LOGIN_CODES_PER_HOUR},
        net, notify,
    },
};

/// Stands behind the `?` where a browser has lost what it asked for a code with.
const LOST: &str = "lost";
/// Codes that a browser can use beside each other: as many as it may be mailed.
const CODES_KEPT: usize = LOGIN_CODES_PER_HOUR as usize;

/// Whose page it is: for the mail, and for what may follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door<'a> {
    /// None: the partner center.
    pub(super) program: Option<&'a Code>,
    /// How people call it.
    pub(super) name: &'a str,
    /// Who is nobody's partner yet is mailed a code too.
    pub(super) anybody: bool,
    /// Other sites may show the page.
    pub(super) embedded: bool,
}

/// Whoever is logged in.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// In lower case.
    pub(super) email: String,
    session: String,
}

impl Person {
    /// For the forms of this session.
    pub(super) fn form_token(&self) -> String {
        super::visit::form_token(&self.session)
    }

    /// Refuses a form that does not carry the session's token.
    pub(super) fn check(&self, token: &str) -> Result<(), Fault> {
        if is_form_token(&self.session, token) { Ok(()) } else { Err(Fault::Expired) }
    }
}

/// The form that asks for the code.
#[derive(Debug)]
pub(super) struct CodeForm {
    pub(super) path: String,
    pub(super) back: String,
    pub(super) label: String,
    pub(super) button: String,
    pub(super) hint: String,
    pub(super) typed: String,
    pub(super) problem: Option<String>,
}

impl CodeForm {
    /// `path` takes the code, `back` asks for an address.
    pub(super) fn new(words: Words<'_>, path: String, back: &str) -> CodeForm {
        CodeForm {
            path,
            back: back.to_owned(),
            label: words.with("code_label", "digits", &LOGIN_CODE_DIGITS),
            button: words.say("track_code_button"),
            hint: words.with("code_hint", "most", &LOGIN_CODES_PER_HOUR),
            typed: String::new(),
            problem: None,
        }
    }
}

/// An address as it was typed, in lower case; or what is wrong with it.
pub(super) fn address(words: Words<'_>, typed: &str) -> Result<String, String> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Err(words.say("email_missing"));
    }
    if typed.len() > EMAIL_MAX_BYTES || !notify::is_address(typed) {
        return Err(words.say("email_wrong"));
    }
    Ok(typed.to_lowercase())
}

/// What is said where an address is asked for, by what stands behind the `?`.
pub(super) fn said(words: Words<'_>, query: &str) -> Option<String> {
    match query {
        "left" => Some(words.say("logged_out")),
        LOST => Some(words.say("code_lost")),
        _ => None,
    }
}

/// The way back to where an address is asked for: the browser does not hold what a code was asked for with.
fn lost(page: &str) -> Response {
    go(&format!("{page}?{LOST}"))
}

/// Mails a code where somebody is there to get it, and sends the browser to where it is asked for.
pub(super) async fn ask(
    state: &PagesState,
    visit: &Visit,
    door: Door<'_>,
    email: &str,
    then: &str,
) -> Result<Response, Fault> {
    if !visit.is_safe() {
        return Err(Fault::Https);
    }
    let words = Words::new(visit.language);
    let values = |code: &str| [("code", code.to_owned()), ("program", door.name.to_owned())];
    let mail = |code: &str| NewMail {
        recipient: email.to_owned(),
        // A subject is one line, whatever a program is called.
        subject: words.tell("code_mail_subject", &values(code)).chars().filter(|c| !c.is_control()).collect(),
        text: words.tell("code_mail_text", &values(code)),
        html: None,
    };
    let network = visit.client.map(net::network).unwrap_or_default();
    let asking = Asking { program: door.program, email, network: &network, anybody: door.anybody };
    let token = state.catalog.ask_code(asking, mail).await?;
    let mut tokens = visit.tokens(Cookie::Login);
    tokens.push(&token);
    let kept = tokens.split_off(tokens.len().saturating_sub(CODES_KEPT)).join(".");
    Ok(with_cookies(go(then), Cookie::Login.set(&kept, door.embedded)))
}

/// Mails a new code to whoever asked for the last one on the page `page`.
pub(super) async fn ask_again(
    state: &PagesState,
    visit: &Visit,
    door: Door<'_>,
    page: &str,
) -> Result<Response, Fault> {
    for token in visit.tokens(Cookie::Login).into_iter().rev() {
        match state.catalog.asked_code(token).await? {
            Some((program, email)) if program.as_ref() == door.program => {
                return ask(state, visit, door, &email, &format!("{page}/code?sent")).await;
            }
            // That was long ago, or elsewhere.
            _ => {}
        }
    }
    Ok(lost(page))
}

/// Tries a code: opens a session and goes on to the page, or says what is wrong.
pub(super) async fn try_code(
    state: &PagesState,
    visit: &Visit,
    words: Words<'_>,
    door: Door<'_>,
    typed: &str,
    page: &str,
) -> Result<Result<Response, String>, Fault> {
    let tokens = visit.tokens(Cookie::Login);
    if tokens.is_empty() {
        return Ok(Ok(lost(page)));
    }
    if !typed.chars().any(|c| c.is_ascii_digit()) {
        return Ok(Err(words.with("code_missing", "digits", &LOGIN_CODE_DIGITS)));
    }
    let mut most = 0;
    // The newest is the likely one.
    for token in tokens.into_iter().rev() {
        match state.catalog.try_code(token, typed, &visit.agent).await? {
            Tried::Open { session } => {
                let opened = with_cookies(go(page), Cookie::Person.set(&session, door.embedded));
                return Ok(Ok(with_cookies(opened, Cookie::Login.clear())));
            }
            Tried::Wrong { left } => most = left.max(most),
            Tried::Over => {}
        }
    }
    Ok(Err(if most > 0 { words.with("tries_left", "tries", &most) } else { words.say("code_over") }))
}

/// Who is logged in.
pub(super) async fn person(state: &PagesState, visit: &Visit) -> Result<Option<Person>, Fault> {
    for session in visit.tokens(Cookie::Person).into_iter().rev() {
        if let Some(Who::Person(email)) = state.catalog.session(session, &visit.agent).await? {
            return Ok(Some(Person { email, session: session.to_owned() }));
        }
    }
    Ok(None)
}

/// Logs this browser out, or all of the person's.
pub(super) async fn leave(
    state: &PagesState,
    visit: &Visit,
    person: &Person,
    everywhere: bool,
    then: &str,
) -> Result<Response, Fault> {
    if everywhere {
        state.catalog.close_sessions(&Who::Person(person.email.clone())).await?;
    }
    for session in visit.tokens(Cookie::Person) {
        state.catalog.close_session(session).await?;
    }
    Ok(with_cookies(go(then), Cookie::Person.clear()))
}

pub(super) fn with_cookies(mut response: Response, cookies: Vec<HeaderValue>) -> Response {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
