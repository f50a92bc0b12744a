//! The JSON API on the control listener: one file a resource.
//!
//! - Bearer token on everything but `GET /v1/openapi.json`, which describes it all.
//! - PUT creates (201) or replaces (200) an item as a whole: what is not given is empty. Lists come in pages, in the order of
//!   codes: `?search=`, `?limit=`, `?cursor=` (the `next` of the page before).
//! - Every error is a problem (RFC 9457), `application/problem+json`. Mistakes in a body come all at once, each with its
//!   field and the mend. Fields that nobody knows are refused.
//! - A change that was answered is on the disk, and on the edge within a poll of the feed.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef, Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};
use utoipa::openapi::{
    OpenApi,
    security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    catalog::Catalog,
    core::{
        limiter::Limiter,
        limits::{API_BODY_MAX_BYTES, BODY_TIMEOUT},
    },
    io::clock::Clock,
    referral::Desk,
    store::Reports,
};

mod ads;
pub(crate) mod audit;
mod auth;
mod facts;
mod figures;
mod forms;
mod inbound;
mod items;
mod links;
pub mod ops;
mod pages;
mod partners;
mod persons;
mod problem;
mod programs;
mod referrals;
mod reports;
mod review;
mod rewards;
mod share_links;
mod since;
mod uploads;
mod webhooks;

#[cfg(test)]
mod tests;

pub use persons::Persons;
pub use problem::Problem;
pub use webhooks::Webhooks;

/// What the handlers work with.
#[derive(Clone)]
pub struct ApiState {
    pub catalog: Catalog,
    pub reports: Arc<dyn Reports>,
    pub clock: Clock,
    pub desk: Desk,
    pub webhooks: Webhooks,
    pub persons: Persons,
    /// Of leads that forms send.
    pub form_limiter: Arc<Limiter>,
}

impl FromRef<ApiState> for Arc<dyn Reports> {
    fn from_ref(state: &ApiState) -> Arc<dyn Reports> {
        Arc::clone(&state.reports)
    }
}

impl FromRef<ApiState> for Clock {
    fn from_ref(state: &ApiState) -> Clock {
        state.clock.clone()
    }
}

impl std::fmt::Debug for ApiState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiState").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Fingerpost",
        description = "Programs, links, partners, ads and share links; what became of them. Every change is live on the \
                       edge within a second. Send `Authorization: Bearer TOKEN`, with the token from `admin-token` in the \
                       data folder.",
    ),
    security(("token" = [])),
    tags(
        (name = "programs"), (name = "links"), (name = "partners"), (name = "ads"), (name = "share links"), (name = "referrals"),
        (name = "rewards"), (name = "review"), (name = "reports"), (name = "webhooks"), (name = "persons"), (name = "audit"),
        (name = "inbound"), (name = "uploads"),
    )
)]
struct Description;

/// The description of the API, in OpenAPI.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "description", security(()), responses((status = 200, body = Object)))]
async fn openapi(State(document): State<Arc<OpenApi>>) -> Response {
    axum::Json(&*document).into_response()
}

/// All resources, each with its description.
fn resources(state: &ApiState) -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(programs::routes())
        .merge(pages::routes())
        .merge(links::routes())
        .merge(partners::routes())
        .merge(ads::routes())
        .merge(share_links::routes())
        .merge(facts::routes())
        .merge(referrals::routes())
        .merge(rewards::routes())
        .merge(review::routes())
        .merge(reports::routes().route_layer(middleware::from_fn_with_state(state.clone(), since::say)))
        .merge(figures::routes().route_layer(middleware::from_fn_with_state(state.clone(), since::say)))
        .merge(webhooks::routes())
        .merge(audit::routes())
        .merge(persons::routes())
        .merge(inbound::routes())
        .merge(uploads::routes())
}

/// The whole API.
pub fn router(state: ApiState) -> Router {
    let public: OpenApiRouter<Arc<OpenApi>> = OpenApiRouter::new().routes(routes!(openapi));
    let (public, described) = public.split_for_parts();
    let guarded = resources(&state).route_layer(middleware::from_fn_with_state(state.clone(), auth::require_token));
    let description = OpenApiRouter::with_openapi(<Description as utoipa::OpenApi>::openapi());
    let (guarded, mut document) = description.merge(guarded).split_for_parts();
    document.merge(described);
    let token = Http::builder().scheme(HttpAuthScheme::Bearer).description(Some("The admin token")).build();
    document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(token));
    let router = guarded.merge(inbound::public()).with_state(state).merge(public.with_state(Arc::new(document)));
    finished(router)
}

/// What the edge hands over: forms and webhooks, from anybody.
pub fn handed_over(state: ApiState) -> Router {
    finished(forms::routes().merge(inbound::public()).with_state(state))
}

/// What all answers have in common.
fn finished(router: Router) -> Router {
    router
        .layer(DefaultBodyLimit::max(API_BODY_MAX_BYTES))
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT))
        .layer(CatchPanicLayer::custom(|_| Problem::internal("a part of the program failed").into_response()))
        .layer(middleware::from_fn(finish))
}

/// Gives every answer the headers that it needs, and every error that is not a problem yet its form.
async fn finish(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let status = response.status();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == problem::CONTENT_TYPE);
    if (status.is_client_error() || status.is_server_error()) && !is_problem {
        let allow = response.headers().get(header::ALLOW).cloned();
        let allowed = allow.as_ref().and_then(|value| value.to_str().ok()).map(str::to_owned);
        response = Problem::of_status(status, &method, &path, allowed.as_deref()).into_response();
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
