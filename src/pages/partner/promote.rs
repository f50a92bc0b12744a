//! Promote: banners and mails that a program offers, with the partner's link already in place.

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
use crate::{
    catalog::{ListQuery, Program, pages::ProgramPage},
    core::{
        limits::PAGE_MAX_ROWS,
        page::{Promotion, fill},
    },
};

struct Banner {
    id: String,
    picture: String,
    alt: String,
    /// To paste into a page: markup, shown as text.
    snippet: String,
}

struct Mail {
    id: String,
    subject: String,
    text: String,
    /// `mailto:` with both in place.
    address: String,
}

struct Offer {
    program: String,
    banners: Vec<Banner>,
    mails: Vec<Mail>,
}

#[derive(Template)]
#[template(path = "partner/promote.html")]
struct PromotePage<'a> {
    sheet: Sheet<'a>,
    desk: &'a Desk,
    tabs: Vec<Tab>,
    offers: Vec<Offer>,
}

pages!(PromotePage);

/// `GET /partner/of/{partner}/promote`
pub(super) async fn page(
    State(state): State<PagesState>,
    Path(partner): Path<String>,
    visit: Visit,
) -> Result<Response, Fault> {
    let desk = desk!(&state, &visit, &partner);
    let query = ListQuery { limit: Some(PAGE_MAX_ROWS), ..ListQuery::default() };
    let programs = state.catalog.list::<Program>(&query).await?.items;
    let mut offers = Vec::new();
    for program in programs.iter().filter(|program| desk.partner.is_in(&program.code)) {
        let page = state.catalog.program_page(&program.code).await?;
        if page.design.promotions.is_empty() {
            continue;
        }
        let Some(share) = state.desk.share_link(program, &page.design, &desk.partner).await? else { continue };
        offers.push(offer(&desk, program, &page, &format!("{}/{}", desk.base, share.slug), &visit.base()));
    }
    let page = PromotePage { sheet: desk.sheet("center_promote")?, desk: &desk, tabs: desk.tabs("/promote"), offers };
    Ok(show(StatusCode::OK, &page))
}

fn offer(desk: &Desk, program: &Program, page: &ProgramPage, link: &str, base: &str) -> Offer {
    let name = if program.name.is_empty() { program.code.to_string() } else { program.name.clone() };
    let value = |key: &str| {
        Some(match key {
            "link" => link.to_owned(),
            "first_name" => desk.partner.first_name.clone(),
            "partner" => desk.partner.code.to_string(),
            "program" => name.clone(),
            _ => String::new(),
        })
    };
    let filled = |text: &str| fill(text, value).unwrap_or_default();
    let mut offer = Offer { program: name.clone(), banners: Vec::new(), mails: Vec::new() };
    for (at, promotion) in page.design.promotions.iter().enumerate() {
        let id = format!("{}-{at}", program.code);
        match promotion {
            Promotion::Banner { file, alt } => {
                let digest = page.files.iter().find(|found| found.name == *file).map_or("", |found| &found.digest);
                let picture = format!("/r/{}/files/{file}?v={digest}", program.code);
                let source = format!("{base}{picture}");
                let snippet = format!(
                    "<a href=\"{}\"><img src=\"{}\" alt=\"{}\"></a>",
                    attribute(link),
                    attribute(&source),
                    attribute(alt)
                );
                offer.banners.push(Banner { id, picture, alt: alt.clone(), snippet });
            }
            Promotion::Mail { subject, text } => {
                let (subject, text) = (filled(subject), filled(text));
                let encode = |text: &str| {
                    let mut out = Vec::new();
                    crate::core::percent::encode(text.as_bytes(), &mut out);
                    String::from_utf8(out).unwrap_or_default()
                };
                let address =
                    format!("mailto:?subject={}&body={}", encode(&subject), encode(&text.replace('\n', "\r\n")));
                offer.mails.push(Mail { id, subject, text, address });
            }
        }
    }
    offer
}

/// A text as it stands in an attribute between double quotes.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}
