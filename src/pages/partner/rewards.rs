//! Rewards: what a partner is owed and has got, in all programs.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Deserialize;

use super::{
    super::{
        PagesState,
        fault::Fault,
        given::{Path, Query},
        reward::Told,
        sheet::{Sheet, pages, show},
        visit::Visit,
    },
    desk::{Desk, Tab, desk},
};
use crate::{catalog::record::RewardQuery, core::terms::Side};

/// Rewards of one page.
const ROWS: u32 = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    before: String,
}

#[derive(Template)]
#[template(path = "partner/rewards.html")]
struct RewardsPage<'a> {
    sheet: Sheet<'a>,
    desk: &'a Desk,
    tabs: Vec<Tab>,
    rewards: Vec<Told>,
    next: Option<String>,
}

pages!(RewardsPage);

/// `GET /partner/of/{partner}/rewards`
pub(super) async fn page(
    State(state): State<PagesState>,
    Path(partner): Path<String>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Result<Response, Fault> {
    let desk = desk!(&state, &visit, &partner);
    let wanted = RewardQuery {
        partner: Some(desk.partner.code.to_string()),
        side: Some(Side::Partner.word().to_owned()),
        newest: true,
        cursor: Some(asked.before).filter(|before| !before.is_empty()),
        limit: ROWS,
        ..RewardQuery::default()
    };
    let found = state.catalog.rewards(&wanted).await?;
    let rewards = found.items.iter().map(|reward| Told::new(desk.words, reward)).collect();
    let page = RewardsPage {
        sheet: desk.sheet("center_rewards")?,
        desk: &desk,
        tabs: desk.tabs("/rewards"),
        rewards,
        next: found.next,
    };
    Ok(show(StatusCode::OK, &page))
}
