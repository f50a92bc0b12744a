//! My Referral Partners: the partners below this one, with what they have brought.

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
    desk::{Desk, Tab, called, desk},
};
use crate::{
    catalog::record::{
        figures::Figure,
        report::{By, People},
    },
    store::{Filter, ReachQuery},
};

/// Partners whose clicks are asked for.
const SHOWN: usize = 100;

struct Child {
    name: String,
    code: String,
    state: &'static str,
    since: String,
    /// `None`: the event store is away.
    clicks: Option<String>,
    referrals: String,
    converted: String,
}

#[derive(Template)]
#[template(path = "partner/children.html")]
struct ChildrenPage<'a> {
    sheet: Sheet<'a>,
    desk: &'a Desk,
    tabs: Vec<Tab>,
    children: Vec<Child>,
}

pages!(ChildrenPage);

/// `GET /partner/of/{partner}/partners`
pub(super) async fn page(
    State(state): State<PagesState>,
    Path(partner): Path<String>,
    visit: Visit,
) -> Result<Response, Fault> {
    let desk = desk!(&state, &visit, &partner);
    let words = desk.words;
    let found = desk.children(&state).await?;
    let codes: Vec<String> = found.iter().take(SHOWN).map(|child| child.code.to_string()).collect();
    let sums = match codes.is_empty() {
        true => crate::catalog::record::figures::Sums::new(),
        false => {
            let by = By { partner: true, ..By::default() };
            state.catalog.sums(&People::default(), &[Figure::Lead, Figure::Qualified], by, &codes).await?
        }
    };
    let count = |code: &str, figure: Figure| {
        let of = sums.iter().filter(|(key, _)| key.figure == figure && key.who.partner == code);
        words.number(u64::try_from(of.map(|(_, sum)| sum.count).sum::<i64>()).unwrap_or(0))
    };
    let mut children = Vec::new();
    for child in found.iter().take(SHOWN) {
        let filter = Filter { partner: Some(child.code.clone()), ..Filter::default() };
        let reach = state.reports.reach(&ReachQuery { filter, by: Vec::new(), without_visitors: true }).await;
        let clicks = reach.ok().map(|rows| words.number(rows.first().map_or(0, |row| row.clicks)));
        children.push(Child {
            name: called(child).to_owned(),
            code: child.code.to_string(),
            state: child.status.word(),
            since: words.day(child.created_at),
            clicks,
            referrals: count(&child.code, Figure::Lead),
            converted: count(&child.code, Figure::Qualified),
        });
    }
    let page =
        ChildrenPage { sheet: desk.sheet("center_children")?, desk: &desk, tabs: desk.tabs("/partners"), children };
    Ok(show(StatusCode::OK, &page))
}
