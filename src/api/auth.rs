//! The bearer token (RFC 6750), and who calls: what a request changes is in the audit log under the token's name and the
//! request's id.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{ApiState, Problem};
use crate::{
    catalog::audit::{Caller, as_caller},
    core::{id::EventId, limits::IDEMPOTENCY_KEY_MAX_BYTES},
    io::random,
};

/// The name of the one token that there is.
const ADMIN: &str = "admin";
const REQUEST_ID: header::HeaderName = header::HeaderName::from_static("x-request-id");

/// Lets only those through who know the admin token.
pub(super) async fn require_token(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let Some(token) = bearer(request.headers()) else {
        return refuse(
            "Bearer realm=\"fingerpost\"",
            "send `Authorization: Bearer TOKEN`; the token is in admin-token in the data folder",
        );
    };
    match state.catalog.is_admin_token(token).await {
        Ok(true) => {
            let id = request_id(request.headers());
            let caller = Caller::token(ADMIN, id.clone());
            let mut response = as_caller(caller, next.run(request)).await;
            if let Ok(id) = HeaderValue::from_str(&id) {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            response
        }
        Ok(false) => {
            refuse("Bearer realm=\"fingerpost\", error=\"invalid_token\"", "this token is not the admin token")
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

/// The id that the client (or a proxy) gave the request, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).map(str::trim);
    match given.filter(|id| !id.is_empty() && id.len() <= IDEMPOTENCY_KEY_MAX_BYTES) {
        Some(id) => id.to_owned(),
        None => EventId(random::bytes().unwrap_or_default()).to_string(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refuse(challenge: &'static str, detail: &str) -> Response {
    let mut response =
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "The token is missing or wrong", detail).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}
