//! `/dashboard`: the operator's pages, on the control listener beside the API. Whoever has the admin token logs in with it, sees reach, the
//! funnel and live clicks, and does by forms what the API does: items, reviews, rewards, uploads, webhooks.
//!
//! **Promise.** Nothing but the log-in answers without a session ([`operator::admit`] stands before every route), nothing changes without the
//! session's token in the form ([`form::Filled`] checks it before a handler sees a field), and every change is in the audit log as the
//! dashboard's. Items are read by the readers of the API and the import, so a mistake here is a mistake there, and it is told at its field with
//! what was typed kept. Everything works without a script; with one, live clicks and uploads refresh themselves.
//!
//! | file | |
//! |---|---|
//! | `operator` | the log-in, the session, the way out |
//! | `form` `field` | what was typed, and the fields that it is typed into |
//! | `frame` `grid` | navigation; tables with their sorting, pages and exports |
//! | `overview` `pictures` `bars` `live` | reach, funnel, the best of each kind, the newest events |
//! | `items` `kinds` | programs, links, partners, ads, share links |
//! | `design` | how a program's tracking page looks, its files, its preview |
//! | `referrals` `review` `rewards` | people who came, why, and what is owed for them |
//! | `uploads` `webhooks` `audit` | files of facts; endpoints and deliveries; who changed what |

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, FromRef, Request},
    http::HeaderName,
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};

use super::{PagesState, assets, fault::Fault, sheet::go, tracking};
use crate::{
    catalog::{Ad, Link, Partner, Program, ShareLink},
    core::{
        limiter::Limiter,
        limits::{API_BODY_MAX_BYTES, UPLOAD_MAX_BYTES},
        net::{ClientAddress, OverHttps},
    },
    outbox::{Guard, Tester},
};

mod audit;
mod bars;
mod design;
mod field;
mod form;
mod frame;
mod grid;
mod items;
mod kinds;
mod live;
mod operator;
mod overview;
mod pictures;
mod referrals;
mod review;
mod rewards;
mod uploads;
mod webhooks;

/// What the dashboard works with.
#[derive(Clone, Debug)]
pub struct DashboardState {
    pub pages: PagesState,
    /// Of tries to log in.
    pub limiter: Arc<Limiter>,
    /// Where webhooks may go.
    pub guard: Arc<Guard>,
    pub tester: Tester,
    /// How long the older secret signs as well when secrets rotate.
    pub secret_overlap: Duration,
}

impl FromRef<DashboardState> for PagesState {
    fn from_ref(state: &DashboardState) -> PagesState {
        state.pages.clone()
    }
}

/// Body of a form with a file, bytes: the file, and what stands beside it.
const FILE_FORM_MAX_BYTES: usize = UPLOAD_MAX_BYTES + 64 * 1024;
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The whole dashboard.
pub(super) fn routes(state: DashboardState) -> Router {
    let guarded = pages()
        .merge(items::routes::<Program>())
        .merge(items::routes::<Link>())
        .merge(items::routes::<Partner>())
        .merge(items::routes::<Ad>())
        .merge(items::routes::<ShareLink>())
        .layer(DefaultBodyLimit::max(API_BODY_MAX_BYTES))
        .merge(files().layer(DefaultBodyLimit::max(FILE_FORM_MAX_BYTES)))
        .route_layer(middleware::from_fn_with_state(state.clone(), operator::admit));
    Router::new()
        .route("/", get(async || go(operator::HOME)))
        .route("/dashboard/", get(async || go(operator::HOME)))
        .route("/dashboard/login", get(operator::ask).post(operator::log_in))
        // A way that leads nowhere here is a page, and no problem of the API.
        .route("/dashboard/{*nothing}", get(async || Fault::NotFound))
        .merge(guarded)
        // What previews show.
        .merge(tracking::files())
        .merge(assets::routes())
        .layer(middleware::from_fn(arrive))
        .with_state(state)
}

fn pages() -> Router<DashboardState> {
    Router::new()
        .route("/dashboard", get(overview::page))
        .route("/dashboard/leave", post(operator::leave))
        .route("/dashboard/live", get(live::fragment))
        .route("/dashboard/report/{name}", get(overview::export))
        .route("/dashboard/design/{program}", get(design::page).post(design::save))
        .route("/dashboard/design/{program}/reset", post(design::reset))
        .route("/dashboard/design/{program}/preview/{step}", get(design::preview))
        .route("/dashboard/design/{program}/remove", post(design::remove_file))
        .route("/dashboard/referrals", get(referrals::list))
        .route("/dashboard/referrals/{id}", get(referrals::page).post(referrals::rule))
        .route("/dashboard/review", get(review::page).post(review::rule))
        .route("/dashboard/rewards", get(rewards::page))
        .route("/dashboard/rewards/confirm", post(rewards::confirm))
        .route("/dashboard/rewards/issue", post(rewards::issue))
        .route("/dashboard/export/rewards", get(rewards::export))
        .route("/dashboard/export/referrals", get(referrals::export))
        .route("/dashboard/uploads", get(uploads::list))
        .route("/dashboard/uploads/{id}", get(uploads::page).post(uploads::forget))
        .route("/dashboard/uploads/{id}/progress", get(uploads::progress))
        .route("/dashboard/uploads/{id}/refused", get(uploads::refused))
        .route("/dashboard/webhooks", get(webhooks::list))
        .route("/dashboard/add/webhooks", get(webhooks::blank).post(webhooks::create))
        .route("/dashboard/webhooks/{id}", get(webhooks::page).post(webhooks::change))
        .route("/dashboard/webhooks/{id}/{deed}", post(webhooks::act))
        .route("/dashboard/audit", get(audit::page))
        .route("/dashboard/export/audit", get(audit::export))
}

/// Forms that bring files.
fn files() -> Router<DashboardState> {
    Router::new()
        .route("/dashboard/add/uploads", post(uploads::create))
        .route("/dashboard/design/{program}/files", post(design::put_file))
}

/// Tells who is there: the other end of the connection, which may be a proxy. What a proxy says about https is believed of anybody: it decides
/// only whether a cookie is worth setting, and browsers keep ours on nothing but https (or `localhost`) in any case.
async fn arrive(mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let https = request.headers().get(FORWARDED_PROTO).is_some_and(|proto| proto == "https");
    if let Some(peer) = peer {
        request.extensions_mut().insert(ClientAddress(peer));
    }
    request.extensions_mut().insert(OverHttps(https));
    next.run(request).await
}
