//! `/partner`: the partner center. Whoever logs in with a mailed code sees what is theirs: the links that they may use, the partners below them,
//! their ads, a generator of links, what their links have brought, their rewards, and what helps them to promote.
//!
//! One address may have several partners; each has its own pages below `/partner/of/{code}`, and only whoever reads the address's
//! mail opens them.
//!
//! | file | |
//! |---|---|
//! | `enter` | the address, the code, the way out |
//! | `desk` | whose pages they are, and what all of them have in common |
//! | `sites` `children` `ads` `generator` `stats` `rewards` `promote` | one page each |

use axum::{
    Router,
    routing::{get, post},
};

use super::PagesState;

mod ads;
mod children;
mod desk;
mod enter;
mod generator;
mod promote;
mod rewards;
mod sites;
mod stats;

pub(super) fn routes() -> Router<PagesState> {
    Router::new()
        .route("/partner", get(enter::open).post(enter::email))
        .route("/partner/", get(enter::open))
        .route("/partner/code", get(enter::code_form).post(enter::code))
        .route("/partner/code/new", post(enter::code_again))
        .route("/partner/leave", post(enter::leave))
        .route("/partner/of/{partner}", get(sites::page))
        .route("/partner/of/{partner}/partners", get(children::page))
        .route("/partner/of/{partner}/ads", get(ads::page).post(ads::create))
        .route("/partner/of/{partner}/generator", get(generator::page).post(generator::shorten))
        .route("/partner/of/{partner}/stats", get(stats::page))
        .route("/partner/of/{partner}/rewards", get(rewards::page))
        .route("/partner/of/{partner}/promote", get(promote::page))
}
