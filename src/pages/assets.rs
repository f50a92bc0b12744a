//! The files that all pages share: one style sheet, one small script, one icon. Their addresses name their content, so browsers keep
//! them for a year and get a new version at once.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Path,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::fault::Fault;

struct Asset {
    address: String,
    media_type: &'static str,
    body: &'static str,
}

fn asset(stem: &str, ending: &str, media_type: &'static str, body: &'static str) -> Asset {
    let digest = &blake3::hash(body.as_bytes()).to_hex()[..12];
    Asset { address: format!("/assets/{stem}-{digest}.{ending}"), media_type, body }
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset("pages", "css", "text/css; charset=utf-8", include_str!("static/pages.css")),
        asset("pages", "js", "text/javascript; charset=utf-8", include_str!("static/pages.js")),
        asset("icon", "svg", "image/svg+xml", include_str!("static/icon.svg")),
    ]
});

pub(super) fn css() -> &'static str {
    &ASSETS[0].address
}

pub(super) fn script() -> &'static str {
    &ASSETS[1].address
}

pub(super) fn icon() -> &'static str {
    &ASSETS[2].address
}

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/assets/{name}", get(give))
}

async fn give(Path(name): Path<String>) -> Response {
    let found = ASSETS.iter().find(|asset| asset.address.rsplit('/').next() == Some(name.as_str()));
    let Some(asset) = found else { return Fault::NotFound.into_response() };
    let mut response = asset.body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}
