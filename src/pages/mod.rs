//! People's pages, served by the binary itself: the tracking page of each program, and the partner center. Templates are checked when the program is built, pictures are
//! drawn here, nothing is loaded from anywhere else, and everything works without a script.
//!
//! **Promise.** A page never tells who is registered, shows a person nothing but their own, and takes no form that another site
//! sends. What a visitor, a partner or a program has written comes out as text, never as markup. A mistake brings the same page
//! again, with the field marked, what to do, and what was typed.
//!
//! The edge hands its requests over (`edge::hand_over`), so one domain serves all. Redirects never wait for a page.
//!
//! | file | |
//! |---|---|
//! | `visit` `given` | who is there: language, browser, cookies; whether a form is from here. What a request gives |
//! | `login` | a mailed code, asked for and tried; the session that it opens |
//! | `sheet` `fault` | the frame of all pages, and what goes wrong, in words |
//! | `words` | texts in languages, and a program's own |
//! | `chart` `icons` `assets` | pictures, and the files that all pages share |
//! | `reward` | a reward in words for whoever gets it |
//! | `tracking` `partner` | `/r/{program}`; `/partner` |
//! | `dashboard` | `/dashboard`, on the control listener |

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware};
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};

use crate::{
    catalog::Catalog,
    core::{
        limiter::Limiter,
        limits::{BODY_TIMEOUT, PAGE_FORM_MAX_BYTES},
    },
    io::clock::Clock,
    referral::Desk,
    store::Reports,
};

mod assets;
mod chart;
mod dashboard;
mod fault;
mod given;
mod icons;
mod login;
mod partner;
mod reward;
mod sheet;
mod tracking;
mod visit;
mod words;

pub use dashboard::DashboardState;
use fault::Fault;

/// What pages work with.
#[derive(Clone)]
pub struct PagesState {
    pub catalog: Catalog,
    pub reports: Arc<dyn Reports>,
    pub desk: Desk,
    pub clock: Clock,
    /// Of codes that are asked for, and tried.
    pub limiter: Arc<Limiter>,
    /// The address under which share links are reached, without a slash at the end; none: the one of each request.
    pub links_url: Option<String>,
}

impl std::fmt::Debug for PagesState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PagesState").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

impl PagesState {
    /// Whether one more may come from the visitor's network.
    fn admit(&self, visit: &visit::Visit) -> Result<(), Fault> {
        match visit.client {
            Some(client) => self.limiter.admit(client, self.clock.now()).map_err(Fault::Limited),
            None => Ok(()),
        }
    }
}

/// What anybody may open.
pub fn public(state: PagesState) -> Router {
    let catalog = state.catalog.clone();
    let routes = Router::new().merge(tracking::routes()).merge(partner::routes()).merge(assets::routes());
    finished(routes.with_state(state), Some(catalog))
}

/// What the operator may open: to be merged into the control listener's router.
pub fn dashboard(state: DashboardState) -> Router {
    finished(dashboard::routes(state), None)
}

/// What all pages have in common.
fn finished(router: Router, catalog: Option<Catalog>) -> Router {
    router
        .layer(DefaultBodyLimit::max(PAGE_FORM_MAX_BYTES))
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT))
        .layer(CatchPanicLayer::custom(|_| {
            axum::response::IntoResponse::into_response(Fault::internal(&"a handler has panicked"))
        }))
        .layer(middleware::from_fn_with_state(catalog, fault::dress))
}
