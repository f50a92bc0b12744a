//! The ops listener: is the process alive, is it ready and if not why, and its metrics. Keep it inside: it asks nobody
//! who they are.

use std::{collections::BTreeMap, fmt, sync::Arc};

use axum::{
    Json, Router,
    extract::State as Shared,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use crate::telemetry::health::{Condition, Health, State};

/// The Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the ops listener shows.
#[derive(Clone)]
pub struct OpsState {
    pub health: Health,
    /// The metrics as Prometheus text, made anew at each scrape.
    pub render: Arc<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for OpsState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpsState").field("health", &self.health).finish_non_exhaustive()
    }
}

/// The body of `/readyz`.
#[derive(Serialize)]
struct Readiness {
    state: State,
    parts: BTreeMap<String, Condition>,
}

/// `/healthz`, `/readyz`, `/metrics`.
pub fn router(state: OpsState) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(nothing_here)
        .with_state(state)
}

/// The process answers: that is all that liveness says, so that a full disk never makes an orchestrator restart it.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Degraded is still ready: visitors are answered, and taking the machine out would lose more than it saves.
async fn readyz(Shared(ops): Shared<OpsState>) -> Response {
    let (state, parts) = ops.health.snapshot();
    let status = match state {
        State::Ready | State::Degraded => StatusCode::OK,
        State::NotReady => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(Readiness { state, parts })).into_response()
}

async fn metrics(Shared(ops): Shared<OpsState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], (ops.render)())
}

async fn nothing_here() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, "not found: this listener has /healthz, /readyz and /metrics\n")
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(health: &Health, method: &str, path: &str) -> (StatusCode, String, String) {
        let state = OpsState { health: health.clone(), render: Arc::new(|| "up 1\n".to_owned()) };
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router(state).oneshot(request).await.unwrap();
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap()).to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_gives_its_reasons() {
        let health = Health::default();
        let (status, _, body) = ask(&health, "GET", "/readyz").await;
        assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, r#"{"state":"not_ready","parts":{}}"#));

        health.ready("links");
        health.set("journal", State::Degraded, "the disk is full: make room");
        let (status, kind, body) = ask(&health, "GET", "/readyz").await;
        assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"));
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["state"], "degraded");
        assert_eq!(body["parts"]["journal"]["reason"], "the disk is full: make room");
        assert_eq!(body["parts"]["links"]["state"], "ready");

        health.set("links", State::NotReady, "no snapshot yet");
        assert_eq!(ask(&health, "GET", "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(&health, "GET", "/healthz").await.0, StatusCode::OK, "alive is not ready");
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let (status, kind, body) = ask(&Health::default(), "GET", "/metrics").await;
        assert_eq!((status, kind.as_str(), body.as_str()), (StatusCode::OK, METRICS_TYPE, "up 1\n"));
    }

    #[tokio::test]
    async fn everything_else_is_refused() {
        let (status, _, body) = ask(&Health::default(), "GET", "/v1/links").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(body.contains("/readyz"), "{body}");
        assert_eq!(ask(&Health::default(), "POST", "/metrics").await.0, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(ask(&Health::default(), "HEAD", "/healthz").await.0, StatusCode::OK);
    }
}
