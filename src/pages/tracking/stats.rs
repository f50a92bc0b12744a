//! Step two: what a person's referrals have become, and the link that they share.

use askama::Template;
use axum::{http::StatusCode, response::Response};
use jiff::tz::TimeZone;

use super::{
    super::{
        PagesState,
        chart::{self, Column, Columns},
        fault::Fault,
        icons::icon,
        login::Person,
        reward::Told,
        sheet::{Sheet, pages, show},
        visit::Visit,
        words::Words,
    },
    place::Place,
};
use crate::{
    catalog::{
        Partner, Program,
        record::{
            RewardQuery,
            figures::Figure,
            report::{By, People},
        },
    },
    core::{
        channel::Channel,
        page::{Block, Icons},
        program::Status,
        terms::Side,
        time::{DAY_MS, Millis},
    },
    store::{Dimension, Filter, ReachQuery},
};

/// Days of the picture.
const DAYS: i64 = 30;
/// Rewards that are shown.
const REWARDS: u32 = 50;

/// How many people came, and qualified.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) referrals: u64,
    pub(super) converted: u64,
}

impl Figures {
    pub(super) async fn of(state: &PagesState, program: &Program, partner: &str) -> Result<Figures, Fault> {
        let (program, partner) = (Some(program.code.to_string()), Some(partner.to_owned()));
        let people = People { program, partner, ..People::default() };
        let sums = state.catalog.sums(&people, &[Figure::Lead, Figure::Qualified], By::default(), &[]).await?;
        let count = |figure| {
            let of = sums.iter().filter(|(key, _)| key.figure == figure);
            u64::try_from(of.map(|(_, sum)| sum.count).sum::<i64>()).unwrap_or(0)
        };
        Ok(Figures { referrals: count(Figure::Lead), converted: count(Figure::Qualified) })
    }
}

struct Share {
    address: String,
    buttons: Vec<Button>,
    qr: Option<String>,
}

struct Button {
    address: String,
    label: String,
    outline: &'static str,
    /// Empty: the page's style says.
    colour: &'static str,
    /// It opens a page beside this one.
    leaves: bool,
}

#[derive(Template)]
#[template(path = "tracking/stats.html")]
struct StatsPage<'a> {
    sheet: Sheet<'a>,
    place: &'a Place,
    before: Vec<Block>,
    after: Vec<Block>,
    notice: Option<String>,
    figures: Figures,
    share: Option<Share>,
    no_link: String,
    clicks: Option<Columns>,
    rewards: Vec<Told>,
    more: bool,
    /// The partner's own place in the partner center.
    center: String,
    /// Other sites may show this page, but not that one.
    is_embedded: bool,
    token: String,
    email: &'a str,
}

pages!(StatsPage);

pub(super) async fn page(
    state: &PagesState,
    visit: &Visit,
    place: &Place,
    person: &Person,
    partner: &Partner,
) -> Result<Response, Fault> {
    let figures = Figures::of(state, &place.program, &partner.code).await?;
    let values = values(place.words(visit), place, figures, Some((&partner.first_name, &partner.code)));
    let words = place.words(visit).about(&values);
    // A link of a program that credits nobody is nothing to share.
    let share = match place.is_running() {
        true => state.desk.share_link(&place.program, place.design(), partner).await?,
        false => None,
    };
    let wanted = RewardQuery {
        program: Some(place.program.code.to_string()),
        partner: Some(partner.code.to_string()),
        limit: REWARDS,
        side: Some(Side::Partner.word().to_owned()),
        newest: true,
        ..RewardQuery::default()
    };
    let rewards = state.catalog.rewards(&wanted).await?;
    let title = match partner.first_name.as_str() {
        "" => words.say("greeting_nobody"),
        _ => words.say("track_greeting"),
    };
    let (before, after) = Place::around(words, &place.design().blocks.stats);
    let page = StatsPage {
        sheet: place.sheet(words, title)?,
        place,
        before,
        after,
        notice: notice(words, place, partner.status),
        figures,
        share: share.map(|share| shared(state, visit, words, place, &share.slug)),
        no_link: if place.is_running() { words.say("no_link") } else { String::new() },
        clicks: clicks(state, words, place, partner).await,
        more: rewards.next.is_some(),
        rewards: rewards.items.iter().map(|reward| Told::new(words, reward)).collect(),
        center: format!("/partner/of/{}", partner.code),
        is_embedded: place.door().embedded,
        token: person.form_token(),
        email: &person.email,
    };
    Ok(show(StatusCode::OK, &page))
}

/// What a program's own words may say, where the numbers are known, and maybe the partner's first name and code.
pub(super) fn values(
    words: Words<'_>,
    place: &Place,
    figures: Figures,
    partner: Option<(&str, &str)>,
) -> Vec<(&'static str, String)> {
    let mut values = vec![
        ("referrals", words.number(figures.referrals)),
        ("converted_referrals", words.number(figures.converted)),
        ("program", place.name().to_owned()),
    ];
    if let Some((first_name, code)) = partner {
        values.extend([("first_name", first_name.to_owned()), ("partner", code.to_owned())]);
    }
    values
}

/// The same with the figures of nobody.
pub(super) fn example(state: &PagesState, visit: &Visit, place: &Place) -> Result<Response, Fault> {
    let figures = Figures { referrals: 12, converted: 5 };
    let values = values(place.words(visit), place, figures, Some(("Ann", "partner")));
    let words = place.words(visit).about(&values);
    let (before, after) = Place::around(words, &place.design().blocks.stats);
    let page = StatsPage {
        sheet: place.sheet(words, words.say("track_greeting"))?,
        place,
        before,
        after,
        notice: None,
        figures,
        share: Some(shared(state, visit, words, place, "example2")),
        no_link: String::new(),
        clicks: None,
        more: false,
        rewards: Vec::new(),
        center: "/partner".to_owned(),
        is_embedded: place.door().embedded,
        token: String::new(),
        email: "ann@home.example",
    };
    Ok(show(StatusCode::OK, &page))
}

fn notice(words: Words<'_>, place: &Place, status: Status) -> Option<String> {
    match status {
        Status::Active => place.notice(words),
        Status::Pending => Some(words.say("waiting_for_review")),
        Status::Paused | Status::Rejected => Some(words.say("paused")),
    }
}

fn shared(state: &PagesState, visit: &Visit, words: Words<'_>, place: &Place, slug: &str) -> Share {
    let base = state.links_url.clone().unwrap_or_else(|| visit.base());
    let channels = place.design().channels.iter().filter_map(|name| Channel::from_name(name.as_bytes()));
    let is_coloured = place.design().icons == Icons::Regular;
    let button = |channel: Channel| {
        let icon = icon(channel);
        Button {
            address: format!("{base}/s/{}/{}", channel.name(), slug),
            label: words.with("share_on", "channel", &icon.label),
            outline: icon.outline,
            colour: if is_coloured { icon.colour } else { "" },
            leaves: !matches!(channel, Channel::Email | Channel::Sms),
        }
    };
    let address = format!("{base}/{slug}");
    Share { qr: chart::qr(&address), address, buttons: channels.map(button).collect() }
}

/// The picture of the last days; nothing while the event store is away.
async fn clicks(state: &PagesState, words: Words<'_>, place: &Place, partner: &Partner) -> Option<Columns> {
    let today = Millis(state.clock.now().0.div_euclid(DAY_MS) * DAY_MS);
    let first = today.plus(-(DAYS - 1) * DAY_MS);
    let filter = Filter {
        since: Some(first),
        program: Some(place.program.code.clone()),
        partner: Some(partner.code.clone()),
        ..Filter::default()
    };
    let query = ReachQuery { filter, by: vec![Dimension::Day], without_visitors: true };
    let rows = match state.reports.reach(&query).await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::warn!(%error, "a tracking page cannot show clicks");
            return None;
        }
    };
    let day = |at: Millis| {
        let date = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_zoned(TimeZone::UTC).date();
        date.to_string()
    };
    let columns: Vec<Column> = (0..DAYS)
        .map(|n| {
            let at = first.plus(n * DAY_MS);
            let key = day(at);
            let of = rows.iter().find(|row| row.key.first().is_some_and(|found| found.starts_with(&key)));
            Column { label: words.day(at), value: of.map_or(0, |row| row.clicks) }
        })
        .collect();
    let total: u64 = columns.iter().map(|column| column.value).sum();
    let summary = match columns.iter().max_by_key(|column| column.value) {
        Some(best) if total > 0 => words.tell(
            "clicks_summary",
            &[("total", words.number(total)), ("most", words.number(best.value)), ("day", best.label.clone())],
        ),
        _ => words.say("clicks_none"),
    };
    let most = columns.iter().map(|column| column.value).max().unwrap_or(0);
    Some(Columns::new(words.say("track_clicks_title"), summary, words.number(most), &columns))
}
