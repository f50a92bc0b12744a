//! Errors as RFC 9457 has them.

use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    catalog::{CatalogError, Mistake},
    store::{ReportError, question::QuestionError},
};

pub(super) const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong (RFC 9457), and for wrong input every mistake with its field.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Names the kind of problem; never changes.
    #[serde(rename = "type")]
    #[schema(example = "urn:fingerpost:problem:invalid")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Mistake>,
    /// With a conflict: what was answered before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<serde_json::Value>,
}

/// The problems that every operation may answer with.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "describes answers in OpenAPI")]
pub(super) enum Problems {
    /// The request is not understood.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] Problem),
    /// The token is missing or wrong.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] Problem),
    /// There is no such item.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// The catalog does not answer, or somebody else writes: try again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}

/// The further problems of an operation that takes a body.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "describes answers in OpenAPI")]
pub(super) enum BodyProblems {
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    /// The body is not JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(#[to_schema] Problem),
    /// Mistakes in the body, all of them, each with its field.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
}

impl Problem {
    pub fn new(status: StatusCode, tag: &str, title: &str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("urn:fingerpost:problem:{tag}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            known: None,
        }
    }

    /// Mistakes in what was sent.
    pub fn invalid(errors: Vec<Mistake>) -> Problem {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.field, one.problem),
            more => format!("{} fields need mending", more.len()),
        };
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem { errors, ..Problem::new(status, "invalid", "The item is not as it should be", detail) }
    }

    /// A query parameter that is wrong.
    pub fn parameter(errors: Vec<Mistake>) -> Problem {
        let status = StatusCode::BAD_REQUEST;
        Problem { status: status.as_u16(), ..Problem::invalid(errors) }
            .titled("parameter", "A query parameter is wrong")
    }

    fn titled(mut self, tag: &str, title: &str) -> Problem {
        (self.kind, self.title) = (format!("urn:fingerpost:problem:{tag}"), title.to_owned());
        self
    }

    pub fn internal(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Our mistake", detail)
    }

    /// A problem for an answer that has only a status.
    pub(super) fn of_status(status: StatusCode, method: &Method, path: &str, allowed: Option<&str>) -> Problem {
        let (tag, detail) = match status {
            StatusCode::NOT_FOUND => ("no_route", format!("there is nothing at {path}: see /v1/openapi.json")),
            StatusCode::METHOD_NOT_ALLOWED => {
                let allowed = allowed.unwrap_or("other methods");
                ("method", format!("{method} is not possible at {path}: use {allowed}"))
            }
            StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the body is too large".to_owned()),
            StatusCode::REQUEST_TIMEOUT => ("timeout", "the body did not come in time".to_owned()),
            _ => ("request", "the request is not understood".to_owned()),
        };
        Problem::new(status, tag, status.canonical_reason().unwrap_or("Error"), detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Problem {
        let (tag, detail) = (error.tag(), error.to_string());
        match error {
            CatalogError::Invalid(mistakes) if mistakes.iter().all(|mistake| mistake.field == "cursor") => {
                Problem::parameter(mistakes)
            }
            CatalogError::Invalid(mistakes) => Problem::invalid(mistakes),
            CatalogError::NotFound { .. } => Problem::new(StatusCode::NOT_FOUND, tag, "There is no such item", detail),
            CatalogError::InUse { by, .. } => {
                let errors = by.into_iter().map(|by| Mistake::new("code", format!("referred to by {by}"))).collect();
                Problem { errors, ..Problem::new(StatusCode::CONFLICT, tag, "The item is in use", detail) }
            }
            CatalogError::Taken { .. } => Problem::new(StatusCode::CONFLICT, tag, "The slug is taken", detail),
            CatalogError::Unavailable(_)
            | CatalogError::Busy
            | CatalogError::Open { .. }
            | CatalogError::Newer { .. } => {
                tracing::warn!(error = detail, tag, "the API cannot reach the catalog");
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, tag, "The catalog does not answer", detail)
            }
            CatalogError::Corrupt(_) => {
                tracing::error!(error = detail, tag, "the catalog is not as it should be");
                Problem::internal(detail)
            }
        }
    }
}

impl From<QuestionError> for Problem {
    fn from(error: QuestionError) -> Problem {
        Problem::parameter(vec![Mistake::new(error.field, error.problem)])
    }
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Problem {
        let detail = error.to_string();
        match error {
            ReportError::Unavailable(_) => {
                let title = "The event store does not answer";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title, detail)
            }
            ReportError::Invalid(_) => {
                Problem::new(StatusCode::BAD_REQUEST, "parameter", "The question is not understood", detail)
            }
        }
    }
}
