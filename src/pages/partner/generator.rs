//! Link Generator: who drives the traffic, where to, by which ad; then the link, its parts explained, to copy and as a QR code, and a short
//! one on request.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Deserialize;

use super::{
    super::{
        PagesState, chart,
        fault::Fault,
        given::{Form, Path, Query},
        sheet::{Sheet, pages, show},
        visit::Visit,
    },
    ads::ads_of,
    desk::{Desk, Tab, called, desk},
};
use crate::{
    catalog::{
        Ad, Link, Partner,
        audit::{Caller, as_caller},
    },
    core::code::Code,
};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    token: String,
    who: String,
    link: String,
    /// `partner/ad`; empty: none.
    ad: String,
}

struct Choice {
    value: String,
    label: String,
    is_chosen: bool,
}

/// Choices that belong to somebody.
struct Group {
    label: String,
    choices: Vec<Choice>,
}

struct Part {
    text: String,
    meaning: String,
}

struct Made {
    address: String,
    parts: Vec<Part>,
    qr: Option<String>,
    short: Option<String>,
}

#[derive(Default)]
struct Problems {
    who: Option<String>,
    link: Option<String>,
    ad: Option<String>,
}

#[derive(Template)]
#[template(path = "partner/generator.html")]
struct GeneratorPage<'a> {
    sheet: Sheet<'a>,
    desk: &'a Desk,
    tabs: Vec<Tab>,
    wanted: Wanted,
    who: Vec<Choice>,
    links: Vec<Choice>,
    ads: Vec<Group>,
    problems: Problems,
    made: Option<Made>,
}

pages!(GeneratorPage);

/// `GET /partner/of/{partner}/generator`
pub(super) async fn page(
    State(state): State<PagesState>,
    Path(partner): Path<String>,
    visit: Visit,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Fault> {
    let desk = desk!(&state, &visit, &partner);
    write(&state, &desk, wanted, false).await
}

/// `POST /partner/of/{partner}/generator`: the same with a short link, which is made where there is none.
pub(super) async fn shorten(
    State(state): State<PagesState>,
    Path(partner): Path<String>,
    visit: Visit,
    Form(wanted): Form<Wanted>,
) -> Result<Response, Fault> {
    let desk = desk!(&state, &visit, &partner);
    desk.person.check(&wanted.token)?;
    write(&state, &desk, wanted, true).await
}

async fn write(state: &PagesState, desk: &Desk, wanted: Wanted, short: bool) -> Result<Response, Fault> {
    let words = desk.words;
    let mut people = vec![desk.partner.clone()];
    people.extend(desk.children(state).await?);
    let mut ads: Vec<(usize, Ad)> = Vec::new();
    for (at, partner) in people.iter().enumerate().take(ADS_OF_MAX) {
        ads.extend(ads_of(state, &partner.code).await?.into_iter().map(|ad| (at, ad)));
    }
    let is_asked = !wanted.link.is_empty();
    let who = people
        .iter()
        .find(|partner| partner.code.as_str() == wanted.who)
        .or_else(|| people.first().filter(|_| wanted.who.is_empty()));
    let links = state.desk.links_for(None, who.unwrap_or(&desk.partner)).await?;
    let mut problems = Problems::default();
    if who.is_none() {
        problems.who = Some(words.say("generator_who_wrong"));
    }
    let link = links.iter().find(|link| link.code.as_str() == wanted.link);
    if is_asked && link.is_none() {
        problems.link = Some(words.say("generator_link_wrong"));
    }
    let ad = ads.iter().find(|(at, ad)| format!("{}/{}", people[*at].code, ad.code) == wanted.ad);
    let ad = match (&wanted.ad, ad, who) {
        (text, _, _) if text.is_empty() => None,
        (_, Some((_, ad)), Some(who)) if ad.partner == who.code => Some(ad),
        _ => {
            problems.ad = Some(words.say("generator_ad_wrong"));
            None
        }
    };
    let made = match (who, link) {
        (Some(who), Some(link)) if problems.ad.is_none() => Some(make(state, desk, who, link, ad, short).await?),
        _ => None,
    };
    let choice = |partner: &Partner| Choice {
        value: partner.code.to_string(),
        label: if partner.code == desk.partner.code {
            words.with("generator_me", "name", &called(partner))
        } else {
            called(partner).to_owned()
        },
        is_chosen: who.is_some_and(|who| who.code == partner.code),
    };
    let groups = people.iter().enumerate().map(|(at, partner)| Group {
        label: called(partner).to_owned(),
        choices: ads
            .iter()
            .filter(|(of, _)| *of == at)
            .map(|(_, ad)| {
                let value = format!("{}/{}", partner.code, ad.code);
                let label = if ad.name.is_empty() { ad.code.to_string() } else { ad.name.clone() };
                Choice { is_chosen: value == wanted.ad, value, label }
            })
            .collect(),
    });
    let has_problem = problems.who.is_some() || problems.link.is_some() || problems.ad.is_some();
    let page = GeneratorPage {
        sheet: desk.sheet("center_generator")?,
        desk,
        tabs: desk.tabs("/generator"),
        who: people.iter().map(choice).collect(),
        links: links
            .iter()
            .map(|link| Choice {
                value: link.code.to_string(),
                label: if link.name.is_empty() { link.code.to_string() } else { link.name.clone() },
                is_chosen: link.code.as_str() == wanted.link,
            })
            .collect(),
        ads: groups.filter(|group| !group.choices.is_empty()).collect(),
        wanted,
        problems,
        made,
    };
    Ok(show(if has_problem { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page))
}

/// Partners whose ads are offered.
const ADS_OF_MAX: usize = 50;

async fn make(
    state: &PagesState,
    desk: &Desk,
    who: &Partner,
    link: &Link,
    ad: Option<&Ad>,
    short: bool,
) -> Result<Made, Fault> {
    let words = desk.words;
    let part = |text: &str, name: &str, called: &str| Part {
        text: text.to_owned(),
        meaning: words.with(name, "name", &called),
    };
    let link_name = if link.name.is_empty() { &*link.code } else { &link.name };
    let mut parts = vec![
        Part { text: format!("{}/go/", desk.base), meaning: words.say("generator_part_us") },
        part(&link.code, "generator_part_link", link_name),
        part(&format!("/{}", who.code), "generator_part_partner", called(who)),
    ];
    if let Some(ad) = ad {
        parts.push(part(
            &format!("/{}", ad.code),
            "generator_part_ad",
            if ad.name.is_empty() { &ad.code } else { &ad.name },
        ));
    }
    let code: Option<&Code> = ad.map(|ad| &ad.code);
    let short = match short {
        true => {
            let made = state.desk.share_link_of(&link.code, &who.code, code);
            let share = as_caller(Caller::system("partner center"), made).await?;
            Some(format!("{}/{}", desk.base, share.slug))
        }
        false => None,
    };
    let address = desk.link(&link.code, &who.code, code.map(Code::as_str));
    Ok(Made { qr: chart::qr(short.as_ref().unwrap_or(&address)), address, parts, short })
}
