//! My Sales Websites: the links that a partner may use, with the addresses to share.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    super::{
        PagesState,
        fault::Fault,
        given::Path,
        sheet::{Sheet, pages, show},
        visit::Visit,
    },
    desk::{Desk, Tab, desk},
};

struct Site {
    name: String,
    /// Where it leads, without its placeholders' part.
    leads_to: String,
    address: String,
    id: String,
}

#[derive(Template)]
#[template(path = "partner/sites.html")]
struct SitesPage<'a> {
    sheet: Sheet<'a>,
    desk: &'a Desk,
    tabs: Vec<Tab>,
    sites: Vec<Site>,
}

pages!(SitesPage);

/// `GET /partner/of/{partner}`
pub(super) async fn page(
    State(state): State<PagesState>,
    Path(partner): Path<String>,
    visit: Visit,
) -> Result<Response, Fault> {
    let desk = desk!(&state, &visit, &partner);
    let links = state.desk.links_for(None, &desk.partner).await?;
    let site = |(at, link): (usize, &crate::catalog::Link)| Site {
        name: if link.name.is_empty() { link.code.to_string() } else { link.name.clone() },
        leads_to: link.address.split(['?', '{']).next().unwrap_or_default().to_owned(),
        address: desk.link(&link.code, &desk.partner.code, None),
        id: format!("site-{at}"),
    };
    let sites = links.iter().enumerate().map(site).collect();
    let page = SitesPage { sheet: desk.sheet("center_sites")?, desk: &desk, tabs: desk.tabs(""), sites };
    Ok(show(StatusCode::OK, &page))
}
