//! My Ads: a partner's own labels for placements; made here, and seen in the statistics.

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    super::{
        PagesState,
        fault::Fault,
        given::{Form, Path},
        sheet::{Sheet, go, pages, show},
        visit::Visit,
        words::Words,
    },
    desk::{Desk, Tab, desk},
};
use crate::{
    catalog::{
        Ad, CatalogError, ListQuery, Mistake,
        audit::{Caller, as_caller},
        entity,
    },
    core::limits::{CODE_MAX_BYTES, DESCRIPTION_MAX_CHARS, MEDIA_TYPE_MAX_CHARS, NAME_MAX_CHARS, PAGE_MAX_ROWS},
};

/// Media that are offered; whatever else may be typed.
const MEDIA: &[&str] = &["banner", "blog", "newsletter", "podcast", "social", "video"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AdForm {
    token: String,
    code: String,
    name: String,
    description: String,
    media_type: String,
    start_date: String,
}

struct Field<'a> {
    name: &'static str,
    label: String,
    hint: String,
    kind: &'static str,
    value: &'a str,
    problem: Option<&'a str>,
}

struct Row {
    code: String,
    name: String,
    description: String,
    media_type: String,
    start_date: String,
}

#[derive(Template)]
#[template(path = "partner/ads.html")]
struct AdsPage<'a> {
    sheet: Sheet<'a>,
    desk: &'a Desk,
    tabs: Vec<Tab>,
    ads: Vec<Row>,
    fields: Vec<Field<'a>>,
    media: &'static [&'static str],
    made: bool,
}

pages!(AdsPage);

/// A partner's ads, in the order of their codes.
pub(super) async fn ads_of(state: &PagesState, partner: &str) -> Result<Vec<Ad>, Fault> {
    let only = vec![("partner", partner.to_owned())];
    let query = ListQuery { only, limit: Some(PAGE_MAX_ROWS), ..ListQuery::default() };
    Ok(state.catalog.list::<Ad>(&query).await?.items)
}

/// `GET /partner/of/{partner}/ads`
pub(super) async fn page(
    State(state): State<PagesState>,
    Path(partner): Path<String>,
    RawQuery(query): RawQuery,
    visit: Visit,
) -> Result<Response, Fault> {
    let desk = desk!(&state, &visit, &partner);
    write(&state, &desk, &AdForm::default(), &[], query.as_deref() == Some("made")).await
}

async fn write(
    state: &PagesState,
    desk: &Desk,
    form: &AdForm,
    mistakes: &[Mistake],
    made: bool,
) -> Result<Response, Fault> {
    let words = desk.words;
    let field = |name: &'static str, label: &str, hint: &str, kind, value| Field {
        name,
        label: words.say(label),
        hint: if hint.is_empty() { String::new() } else { words.say(hint) },
        kind,
        value,
        problem: mistakes.iter().find(|mistake| mistake.field == name).map(|mistake| mistake.problem.as_str()),
    };
    let fields = vec![
        field("name", "ad_name", "", "text", form.name.as_str()),
        field("code", "ad_code", "ad_code_hint", "text", form.code.as_str()),
        field("description", "ad_description", "", "area", form.description.as_str()),
        field("media_type", "ad_media", "ad_media_hint", "media", form.media_type.as_str()),
        field("start_date", "ad_start", "", "date", form.start_date.as_str()),
    ];
    let row = |ad: Ad| Row {
        code: ad.code.to_string(),
        name: ad.name,
        description: ad.description,
        media_type: ad.media_type,
        start_date: ad.start_date.unwrap_or_default(),
    };
    let page = AdsPage {
        sheet: desk.sheet("center_ads")?,
        desk,
        tabs: desk.tabs("/ads"),
        ads: ads_of(state, &desk.partner.code).await?.into_iter().map(row).collect(),
        fields,
        media: MEDIA,
        made,
    };
    Ok(show(if mistakes.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }, &page))
}

/// What is wrong with a field, in the page's language: the catalog says it in its own. `None`: nothing that a form's field can be blamed
/// for.
fn problem(words: Words<'_>, field: &str, typed: &str) -> Option<String> {
    let most = match field {
        "code" if typed.len() <= CODE_MAX_BYTES => return Some(words.say("ad_code_wrong")),
        "code" => CODE_MAX_BYTES,
        "start_date" => return Some(words.say("ad_start_wrong")),
        "description" => DESCRIPTION_MAX_CHARS,
        "media_type" => MEDIA_TYPE_MAX_CHARS,
        "name" => NAME_MAX_CHARS,
        _ => return None,
    };
    let is_long = typed.chars().count() > most;
    Some(if is_long { words.with("too_long", "most", &most) } else { words.say("odd_characters") })
}

/// A code out of a name: what a code may hold of it, in lower case, words joined by `-`.
fn code_of(name: &str) -> String {
    let plain: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join("-").chars().take(40).collect()
}

/// `POST /partner/of/{partner}/ads`
pub(super) async fn create(
    State(state): State<PagesState>,
    Path(partner): Path<String>,
    visit: Visit,
    Form(mut form): Form<AdForm>,
) -> Result<Response, Fault> {
    let desk = desk!(&state, &visit, &partner);
    desk.person.check(&form.token)?;
    let mut mistakes = Vec::new();
    if form.name.trim().is_empty() {
        mistakes.push(Mistake::new("name", desk.words.say("ad_name_missing")));
    }
    if form.code.trim().is_empty() {
        form.code = code_of(&form.name);
    }
    let fields = [
        ("partner", desk.partner.code.as_str()),
        ("code", form.code.trim()),
        ("name", form.name.trim()),
        ("description", form.description.trim()),
        ("media_type", form.media_type.trim()),
        ("start_date", form.start_date.trim()),
    ];
    let object: Map<String, Value> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.replace("\r\n", "\n").into())).collect();
    match entity::from_json::<Ad>(object) {
        Ok(ad) if mistakes.is_empty() => match state.catalog.get::<Ad>(&[&ad.partner, &ad.code]).await {
            Ok(_) => mistakes.push(Mistake::new("code", desk.words.say("ad_code_taken"))),
            Err(CatalogError::NotFound { .. }) => {
                as_caller(Caller::system("partner center"), state.catalog.put(ad)).await?;
                return Ok(go(&format!("{}/ads?made", desk.path())));
            }
            Err(error) => return Err(error.into()),
        },
        Ok(_) => {}
        Err(others) => {
            for other in others {
                let typed = fields.iter().find(|(name, _)| *name == other.field).map_or("", |(_, typed)| *typed);
                match problem(desk.words, &other.field, typed) {
                    // No name, no code: that the name is missing says it all.
                    Some(_) if other.field == "code" && form.name.trim().is_empty() && typed.is_empty() => {}
                    Some(problem) => mistakes.push(Mistake::new(other.field, problem)),
                    None => return Err(Fault::internal(&other.problem)),
                }
            }
        }
    }
    write(&state, &desk, &form, &mistakes, false).await
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_code_is_made_of_a_name() {
        for (name, expected) in
            [("Summer Banner 2026!", "summer-banner-2026"), ("  Ünicode ", "nicode"), ("<b>", "b"), ("…", "")]
        {
            assert_eq!(super::code_of(name), expected);
        }
    }
}
