//! What can go wrong on a page, told to its reader in their language: what happened, and what to do next. Who is registered is
//! never part of it.

use askama::Template;
use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    sheet::{self, Sheet, pages},
    visit::{Visit, is_from_here},
    words::Words,
};
use crate::{
    catalog::{Catalog, CatalogError},
    core::{
        code::Code,
        net::BodyTooLarge,
        page::{Design, Language},
    },
    referral::desk::DeskError,
    report::Unanswered,
    store::ReportError,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NotFound,
    /// There is no such program.
    Program,
    /// A form that another site sent.
    OtherSite,
    /// A form without its session's token.
    Expired,
    /// What was sent cannot be read: not a form, or not as browsers send it.
    Malformed,
    /// Too many from one network: after so many seconds again.
    Limited(u64),
    /// The catalog does not answer.
    Away,
    TooLarge,
    Method,
    /// Cookies need https.
    Https,
    /// Our mistake: it is in the log.
    Internal,
}

impl Fault {
    pub(super) fn internal(error: &dyn std::fmt::Display) -> Fault {
        tracing::error!(%error, "a page has failed");
        Fault::Internal
    }

    const fn status(&self) -> StatusCode {
        match self {
            Fault::NotFound | Fault::Program => StatusCode::NOT_FOUND,
            Fault::OtherSite | Fault::Expired => StatusCode::FORBIDDEN,
            Fault::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Fault::Away | Fault::Internal => StatusCode::SERVICE_UNAVAILABLE,
            Fault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::Method => StatusCode::METHOD_NOT_ALLOWED,
            Fault::Https | Fault::Malformed => StatusCode::BAD_REQUEST,
        }
    }

    fn words(&self, words: Words<'_>) -> String {
        match self {
            Fault::NotFound => words.say("error_404"),
            Fault::Program => words.say("error_program"),
            Fault::OtherSite => words.say("error_403"),
            Fault::Expired => words.say("error_expired"),
            Fault::Limited(seconds) => words.with("error_429", "seconds", seconds),
            Fault::Away | Fault::Internal => words.say("error_503"),
            Fault::TooLarge => words.say("error_413"),
            Fault::Method => words.say("error_405"),
            Fault::Https => words.say("error_https"),
            Fault::Malformed => words.say("error_400"),
        }
    }

    /// What an answer without words means.
    fn of_status(status: StatusCode) -> Option<Fault> {
        Some(match status {
            StatusCode::NOT_FOUND => Fault::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Fault::Method,
            StatusCode::PAYLOAD_TOO_LARGE => Fault::TooLarge,
            StatusCode::INTERNAL_SERVER_ERROR => Fault::Internal,
            status if status.is_client_error() => Fault::Malformed,
            _ => return None,
        })
    }

    /// The way out of it.
    fn back(&self, path: &str, words: Words<'_>) -> Option<Back> {
        let is_below =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let back = |address: String, label: &str| Some(Back { address, label: words.say(label) });
        match program_of(path) {
            Some(_) if *self == Fault::Program => None,
            Some(program) => back(format!("/r/{program}"), "back_to_page"),
            None if is_below("/partner") => back("/partner".to_owned(), "to_partner_center"),
            None if is_below("/dashboard") => back("/dashboard".to_owned(), "back_to_dashboard"),
            None => None,
        }
    }
}

/// The program whose tracking page a path is of or below.
pub(super) fn program_of(path: &str) -> Option<Code> {
    path.strip_prefix("/r/")?.split('/').next()?.parse().ok()
}

/// A link out of a fault.
#[derive(Debug)]
struct Back {
    address: String,
    label: String,
}

impl From<CatalogError> for Fault {
    fn from(error: CatalogError) -> Fault {
        match error {
            CatalogError::NotFound { kind: "program", .. } => Fault::Program,
            CatalogError::NotFound { .. } => Fault::NotFound,
            CatalogError::Unavailable(_) | CatalogError::Busy => {
                tracing::warn!(%error, "a page cannot reach the catalog");
                Fault::Away
            }
            other => Fault::internal(&other),
        }
    }
}

impl From<DeskError> for Fault {
    fn from(error: DeskError) -> Fault {
        match error {
            DeskError::Catalog(error) => error.into(),
            other @ DeskError::Conflict { .. } => Fault::internal(&other),
        }
    }
}

impl From<ReportError> for Fault {
    fn from(error: ReportError) -> Fault {
        tracing::warn!(%error, "a page cannot reach the event store");
        Fault::Away
    }
}

impl From<Unanswered> for Fault {
    fn from(error: Unanswered) -> Fault {
        match error {
            Unanswered::Record(error) => error.into(),
            Unanswered::Events(error) => error.into(),
        }
    }
}

impl IntoResponse for Fault {
    /// Without a body: [`dress`] gives it one in the reader's language.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage<'a> {
    sheet: Sheet<'a>,
    text: String,
    back: Option<Back>,
}

pages!(FaultPage);

/// Around every page: refuses what other sites send, words what went wrong, and gives each answer its headers. The catalog, where it is
/// given, says how the program's page looks on which it went wrong, and which sites may show that.
pub(super) async fn dress(State(catalog): State<Option<Catalog>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::of(&parts);
    let path = parts.uri.path().to_owned();
    let is_too_large = parts.extensions.get::<BodyTooLarge>().is_some();
    let is_refused = !parts.method.is_safe() && !is_from_here(&parts.headers, &parts.uri);
    let mut response = match (is_refused, is_too_large) {
        (true, _) => Fault::OtherSite.into_response(),
        (false, true) => Fault::TooLarge.into_response(),
        (false, false) => next.run(Request::from_parts(parts, body)).await,
    };
    let told = response.extensions_mut().remove::<Fault>();
    let is_page = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| !is_plain(kind));
    if let Some(fault) = told.or_else(|| if is_page { None } else { Fault::of_status(response.status()) }) {
        let allow = response.headers_mut().remove(header::ALLOW);
        let design = match (&catalog, program_of(&path)) {
            // Where it does not answer, the page looks as the defaults have it.
            (Some(catalog), Some(program)) => catalog.program_page(&program).await.map(|page| page.design).ok(),
            _ => None,
        };
        response = word(&fault, visit.language, &path, &design.unwrap_or_default());
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    sheet::finish(&mut response);
    response
}

/// What the framework says by itself; no page of ours is of that kind.
fn is_plain(kind: &HeaderValue) -> bool {
    kind.as_bytes().starts_with(b"text/plain")
}

fn word(fault: &Fault, language: Language, path: &str, design: &Design) -> Response {
    let words = Words::new(design.language.unwrap_or(language));
    let Ok(sheet) = Sheet::new(words, words.say("error_title")) else { return fault.status().into_response() };
    let sheet = sheet.with_design(design, None);
    let page = FaultPage { sheet, text: fault.words(words), back: fault.back(path, words) };
    let mut response = sheet::show(fault.status(), &page);
    let wait = match fault {
        Fault::Limited(seconds) => Some(*seconds),
        Fault::Away | Fault::Internal => Some(2),
        _ => None,
    };
    if let Some(seconds) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_way_out_of_what_went_wrong() {
        let words = Words::new(Language::En);
        let back = |fault: Fault, path: &str| fault.back(path, words).map(|back| back.address);
        for (path, expected) in [
            ("/r/spring", Some("/r/spring")),
            ("/r/Spring/code", Some("/r/spring")),
            ("/r/%FF", None),
            ("/partner/of/abc123/ads", Some("/partner")),
            ("/partners", None),
            ("/dashboard", Some("/dashboard")),
            ("/assets/none.css", None),
        ] {
            assert_eq!(back(Fault::NotFound, path).as_deref(), expected, "{path}");
        }
        assert_eq!(back(Fault::Program, "/r/nothing"), None, "it leads nowhere");
    }
}
