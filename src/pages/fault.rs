//! What can go wrong on a page, told to its reader in their language: what happened, and what to do next. Who is registered is
//! never part of it.

use askama::Template;
use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    sheet::{self, Sheet, pages},
    visit::{Visit, is_from_here},
    words::Words,
};
use crate::{catalog::CatalogError, referral::desk::DeskError, report::Unanswered, store::ReportError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NotFound,
    /// There is no such program.
    Program,
    /// A form that another site sent.
    OtherSite,
    /// A form without its session's token.
    Expired,
    /// Too many from one network: after so many seconds again.
    Limited(u64),
    /// The catalog does not answer.
    Away,
    TooLarge,
    Method,
    /// Cookies need https.
    Https,
    /// The browser does not hold what it was given.
    Cookie,
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
            Fault::Https | Fault::Cookie => StatusCode::BAD_REQUEST,
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
            Fault::Cookie => words.say("error_cookie"),
        }
    }

    /// What an answer without words means.
    fn of_status(status: StatusCode) -> Option<Fault> {
        Some(match status {
            StatusCode::NOT_FOUND => Fault::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Fault::Method,
            StatusCode::PAYLOAD_TOO_LARGE => Fault::TooLarge,
            StatusCode::INTERNAL_SERVER_ERROR => Fault::Internal,
            status if status.is_client_error() => Fault::Expired,
            _ => return None,
        })
    }
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
}

pages!(FaultPage);

/// Around every page: refuses what other sites send, words what went wrong, and gives each answer its headers.
pub(super) async fn dress(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::of(&parts);
    let is_refused = !parts.method.is_safe() && !is_from_here(&parts.headers, &parts.uri);
    let mut response = match is_refused {
        true => Fault::OtherSite.into_response(),
        false => next.run(Request::from_parts(parts, body)).await,
    };
    let told = response.extensions_mut().remove::<Fault>();
    let has_body = response.headers().contains_key(header::CONTENT_TYPE);
    if let Some(fault) = told.or_else(|| if has_body { None } else { Fault::of_status(response.status()) }) {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = word(&fault, Words::new(visit.language));
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    sheet::finish(&mut response);
    response
}

fn word(fault: &Fault, words: Words<'_>) -> Response {
    let Ok(sheet) = Sheet::new(words, words.say("error_title")) else { return fault.status().into_response() };
    let mut response = sheet::show(fault.status(), &FaultPage { sheet, text: fault.words(words) });
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
