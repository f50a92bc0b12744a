//! `/r/{program}`: the tracking page. Step one asks for the address; a mailed code leads to step two, which shows a person what
//! their referrals have become, and the link that they share. Everything about it is the program's to change (`core::page`).
//!
//! | file | |
//! |---|---|
//! | `place` | whose page it is, and how it looks |
//! | `enter` | step one: the address, the code |
//! | `stats` | step two |
//! | `join` | who is no partner yet becomes one |
//! | `preview` | all of it as the design makes it, for whoever designs it |

use axum::{
    Router,
    extract::{FromRef, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{PagesState, fault::Fault, given::Path};
use crate::core::code::Code;

mod enter;
mod join;
mod place;
mod preview;
mod stats;

pub(super) use preview::preview;

pub(super) fn routes() -> Router<PagesState> {
    Router::new()
        .route("/r/{program}", get(enter::open).post(enter::email))
        .route("/r/{program}/", get(enter::open))
        .route("/r/{program}/code", get(enter::code_form).post(enter::code))
        .route("/r/{program}/code/new", post(enter::code_again))
        .route("/r/{program}/join", get(enter::open).post(join::join))
        .route("/r/{program}/leave", post(enter::leave))
        .merge(files())
}

/// What pages show.
pub(super) fn files<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    PagesState: FromRef<S>,
{
    Router::new().route("/r/{program}/files/{name}", get(file))
}

/// A file of the page. Its address names its content (`?v=`), so it may be kept for long.
async fn file(
    State(state): State<PagesState>,
    Path((program, name)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let program: Code = program.parse().map_err(|_| Fault::NotFound)?;
    let file = state.catalog.page_file(&program, &name).await?;
    let mut response = file.body.into_response();
    let headers = response.headers_mut();
    let media_type =
        HeaderValue::from_str(&file.media_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    // Whatever it holds, it is shown and not run.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    Ok(response)
}
