//! The bearer token (RFC 6750).

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{ApiState, Problem};

/// Lets only those through who know the admin token.
pub(super) async fn require_token(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let Some(token) = bearer(request.headers()) else {
        return refuse(
            "Bearer realm=\"fingerpost\"",
            "send `Authorization: Bearer TOKEN`; the token is in admin-token in the data folder",
        );
    };
    match state.catalog.is_admin_token(token).await {
        Ok(true) => next.run(request).await,
        Ok(false) => {
            refuse("Bearer realm=\"fingerpost\", error=\"invalid_token\"", "this token is not the admin token")
        }
        Err(error) => Problem::from(error).into_response(),
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
