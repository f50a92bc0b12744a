//! Link Tracking Stats: hits, opt-ins and orders of each link and ad.

use std::collections::BTreeMap;

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Deserialize;

use super::{
    super::{
        PagesState,
        fault::Fault,
        given::{Path, Query},
        sheet::{Sheet, pages, show},
        visit::Visit,
    },
    desk::{Desk, Tab, desk},
};
use crate::{
    catalog::record::{
        figures::Figure,
        report::{By, People},
    },
    core::time::{DAY_MS, Millis},
    store::{Filter, LinksQuery},
};

/// Lines that are shown: those with most hits.
const LINES: usize = 200;
/// Lengths of time to choose from, in days; 0: all.
const SPANS: &[i64] = &[7, 30, 90, 0];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    days: String,
}

#[derive(Clone, Debug, Default)]
struct Line {
    hits: u64,
    opt_ins: u64,
    orders: u64,
}

struct Row {
    link: String,
    ad: String,
    hits: String,
    opt_ins: String,
    orders: String,
}

struct Span {
    days: i64,
    label: String,
    is_current: bool,
}

#[derive(Template)]
#[template(path = "partner/stats.html")]
struct StatsPage<'a> {
    sheet: Sheet<'a>,
    desk: &'a Desk,
    tabs: Vec<Tab>,
    spans: Vec<Span>,
    rows: Vec<Row>,
    total: Row,
    more: bool,
    /// The event store does not answer: hits are missing.
    is_away: bool,
}

pages!(StatsPage);

/// `GET /partner/of/{partner}/stats`
pub(super) async fn page(
    State(state): State<PagesState>,
    Path(partner): Path<String>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Result<Response, Fault> {
    let desk = desk!(&state, &visit, &partner);
    let words = desk.words;
    let days = asked.days.parse().ok().filter(|days| SPANS.contains(days)).unwrap_or(30);
    let since = (days > 0).then(|| Millis((state.clock.now().0.div_euclid(DAY_MS) + 1 - days) * DAY_MS));
    let mut lines = BTreeMap::<(String, String), Line>::new();
    let filter = Filter { since, partner: Some(desk.partner.code.clone()), ..Filter::default() };
    let hits = state.reports.links(&LinksQuery { filter, without_visitors: true }).await;
    let is_away = hits.is_err();
    for row in hits.unwrap_or_default() {
        lines.entry((row.link, row.ad)).or_default().hits += row.clicks;
    }
    let people = People { since, partner: Some(desk.partner.code.to_string()), ..People::default() };
    let by = By { link: true, ad: true, ..By::default() };
    for (key, sum) in state.catalog.sums(&people, &[Figure::Lead, Figure::Revenue], by, &[]).await? {
        let line = lines.entry((key.who.link.clone(), key.who.ad.clone())).or_default();
        let count = u64::try_from(sum.count).unwrap_or(0);
        if key.figure == Figure::Lead {
            line.opt_ins += count;
        } else {
            line.orders += count;
        }
    }
    let mut lines: Vec<((String, String), Line)> = lines.into_iter().collect();
    lines
        .sort_by(|(a, one), (b, other)| other.hits.cmp(&one.hits).then(other.opt_ins.cmp(&one.opt_ins)).then(a.cmp(b)));
    let sum = |of: fn(&Line) -> u64| words.number(lines.iter().map(|(_, line)| of(line)).sum::<u64>());
    let total = Row {
        link: words.say("stats_total"),
        ad: String::new(),
        hits: sum(|line| line.hits),
        opt_ins: sum(|line| line.opt_ins),
        orders: sum(|line| line.orders),
    };
    let row = |((link, ad), line): &((String, String), Line)| Row {
        link: if link.is_empty() { words.say("stats_no_link") } else { link.clone() },
        ad: ad.clone(),
        hits: words.number(line.hits),
        opt_ins: words.number(line.opt_ins),
        orders: words.number(line.orders),
    };
    let span = |span: &i64| Span {
        days: *span,
        label: if *span == 0 { words.say("stats_all_time") } else { words.with("stats_days", "days", span) },
        is_current: *span == days,
    };
    let page = StatsPage {
        sheet: desk.sheet("center_stats")?,
        desk: &desk,
        tabs: desk.tabs("/stats"),
        spans: SPANS.iter().map(span).collect(),
        rows: lines.iter().take(LINES).map(row).collect(),
        more: lines.len() > LINES,
        total,
        is_away,
    };
    Ok(show(StatusCode::OK, &page))
}
