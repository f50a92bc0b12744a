//! People whom partners brought: a list, and for each one the whole story, from the click to what was issued, with who is credited and why.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    super::{
        fault::Fault,
        given::Path,
        reward::Told,
        sheet::{Sheet, go, pages, show},
        visit::Visit,
        words::Words,
    },
    DashboardState,
    field::{Field, Input},
    form::{Asked, Filled},
    frame::{Frame, frame, moment},
    grid::{self, Cell, EXPORT_ROWS, Grid, ROWS},
    items::ListPage,
    operator::Operator,
    overview,
};
use crate::{
    catalog::{
        CatalogError,
        record::{Contact, Payment, ReferralRow, ReferralView, RewardQuery, RewardRow},
    },
    core::{
        fact::{FactId, Verdict},
        limits::{GIFT_MAX_CHARS, PAGE_MAX_ROWS},
        review::Reason,
        terms::RewardState,
        time::Millis,
    },
    referral::{DeskError, attribution::Decision},
};

const PATH: &str = "/dashboard/referrals";
const COLUMNS: &[&str] = &["since", "program", "partner", "link", "ad", "score", "state"];

/// Something that happened on the way.
struct Step {
    at: String,
    what: String,
}

#[derive(Template)]
#[template(path = "dashboard/referral.html")]
struct ReferralPage<'a> {
    sheet: Sheet<'a>,
    frame: Frame,
    id: String,
    facts: Vec<(String, String)>,
    state: Cell,
    reason: String,
    reasons: &'a [Reason],
    steps: Vec<Step>,
    /// Who is credited and why, sentence by sentence.
    why: Vec<String>,
    rewards: Vec<(Told, String)>,
    note: Field,
}

pages!(ReferralPage);

/// What a referral is called where states are shown: one that waits for somebody says so.
pub(super) fn state(words: Words<'_>, referral: &ReferralRow) -> Cell {
    Cell::state(words, if referral.held { "held" } else { &referral.state })
}

/// `GET /dashboard/referrals`
pub(super) async fn list(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    let title = Words::new(visit.language).say("dash_referrals");
    let (words, sheet, frame) = frame(&visit, &operator, &asked, PATH, title)?;
    let (program, partner) = (asked.code("program"), asked.code("partner"));
    let catalog = &state.pages.catalog;
    let cursor = asked.some("cursor");
    let found = catalog.newest_referrals(program.as_deref(), partner.as_deref(), cursor, ROWS).await?;
    let text =
        |code: &Option<crate::core::code::Code>| Cell::text(code.as_ref().map(ToString::to_string).unwrap_or_default());
    let row = |referral: &ReferralRow| {
        vec![
            Cell::link(moment(words, referral.since), format!("{PATH}/{}", referral.id)).ranked_by(referral.since.0),
            Cell::text(referral.program.as_str()),
            Cell::link(referral.partner.as_str(), format!("/dashboard/partners/{}", referral.partner)),
            text(&referral.link),
            text(&referral.ad),
            Cell::ranked(referral.score.to_string(), i64::from(referral.score)),
            self::state(words, referral),
        ]
    };
    let rows = found.items.iter().map(row).collect();
    let grid = Grid::new(words, &asked, (PATH, &sheet.title), COLUMNS, rows, found.next.as_deref())
        .exported(&asked, "/dashboard/export/referrals");
    let page = ListPage {
        sheet,
        frame,
        intro: words.say("dash_intro_referrals"),
        add: None,
        path: PATH.to_owned(),
        filters: vec![
            overview::programs(&state, words, asked.text("program")).await?,
            Field::line(words, "partner", asked.text("partner")),
        ],
        problems: Vec::new(),
        grid,
    };
    Ok(show(StatusCode::OK, &page))
}

/// `GET /dashboard/export/referrals`
pub(super) async fn export(State(state): State<DashboardState>, asked: Asked) -> Result<Response, Fault> {
    let (program, partner) = (asked.code("program"), asked.code("partner"));
    let (mut rows, mut cursor): (Vec<Vec<String>>, Option<String>) = (Vec::new(), None);
    loop {
        let catalog = &state.pages.catalog;
        let page = catalog.referrals(program.as_deref(), partner.as_deref(), cursor.as_deref(), PAGE_MAX_ROWS).await?;
        let text = |code: &Option<crate::core::code::Code>| code.as_ref().map(ToString::to_string).unwrap_or_default();
        rows.extend(page.items.iter().map(|row| {
            vec![
                row.id.to_string(),
                row.since.to_string(),
                row.program.to_string(),
                row.partner.to_string(),
                text(&row.link),
                text(&row.ad),
                row.state.clone(),
                row.state_at.to_string(),
                row.reason.clone(),
                row.score.to_string(),
                row.held.to_string(),
            ]
        }));
        cursor = page.next;
        if cursor.is_none() || rows.len() >= EXPORT_ROWS {
            break;
        }
    }
    let columns = ["id", "since", "program", "partner", "link", "ad", "state", "state_at", "reason", "score", "held"];
    grid::csv("referrals", &columns, rows.into_iter())
}

/// A person's name, or whatever they are known by.
pub(super) fn called(words: Words<'_>, person: &Contact) -> String {
    let name = format!("{} {}", person.first_name, person.last_name);
    let known =
        [name.trim(), person.email.as_deref().unwrap_or_default(), person.external_id.as_deref().unwrap_or_default()];
    known.into_iter().find(|text| !text.is_empty()).map_or_else(|| words.say("dash_unknown"), str::to_owned)
}

/// The story of one referral, in the order in which things happened.
fn story(
    words: Words<'_>,
    referral: &ReferralRow,
    decisions: &[Decision],
    payments: &[Payment],
    rewards: &[RewardRow],
) -> Vec<Step> {
    let mut steps: Vec<(Millis, String)> = Vec::new();
    for decision in decisions {
        if let Some(winner) = decision.winner().filter(|winner| winner.click.is_some()) {
            let link = winner.link.as_ref().map(ToString::to_string).unwrap_or_default();
            let values = [("partner", winner.partner.to_string()), ("link", link)];
            steps.push((winner.at, words.tell("dash_story_click", &values)));
        }
        steps.push((decision.lead_at, words.say("dash_story_lead")));
    }
    for payment in payments {
        let money = payment.money.map(|money| money.to_string()).unwrap_or_default();
        let name = if payment.is_refund { "dash_story_refund" } else { "dash_story_payment" };
        steps.push((payment.at, words.tell(name, &[("event", payment.event.clone()), ("money", money)])));
    }
    match referral.state.as_str() {
        "qualified" => steps.push((referral.state_at, words.say("dash_story_qualified"))),
        "rejected" => steps.push((referral.state_at, words.with("dash_story_rejected", "reason", &referral.reason))),
        _ => {}
    }
    for reward in rewards {
        let what = Told::new(words, reward).what;
        let who = if reward.side.word() == "partner" { reward.partner.to_string() } else { words.say("word_invited") };
        let values =
            [("what", what), ("who", who), ("reference", reward.reference.clone()), ("reason", reward.reason.clone())];
        let mut step = |at: Millis, name: &str| steps.push((at, words.tell(name, &values)));
        step(reward.earned_at, "dash_story_earned");
        if matches!(reward.state, RewardState::Due | RewardState::Issued) {
            step(reward.held_until.max(reward.earned_at), "dash_story_due");
        }
        if let Some(at) = reward.issued_at {
            step(at, "dash_story_issued");
        }
        if reward.state == RewardState::Reversed {
            // When it was is not kept with it: it stands behind everything that it followed from.
            let behind = steps.iter().map(|(at, _)| *at).max().unwrap_or(reward.earned_at);
            steps.push((behind, words.tell("dash_story_reversed", &values)));
        }
    }
    steps.sort_by_key(|(at, _)| *at);
    // Several leads of one person may go back to the same click.
    steps.dedup();
    steps.into_iter().map(|(at, what)| Step { at: moment(words, at), what }).collect()
}

/// What to note with a ruling, or what is wrong with it.
pub(super) fn note(words: Words<'_>, form: &Filled) -> Result<String, String> {
    let note = form.text("note");
    match note.chars().count() <= GIFT_MAX_CHARS {
        true => Ok(note.to_owned()),
        false => Err(words.with("too_long", "most", &GIFT_MAX_CHARS)),
    }
}

struct Looking<'a> {
    state: &'a DashboardState,
    visit: &'a Visit,
    operator: &'a Operator,
    asked: &'a Asked,
    id: FactId,
}

impl Looking<'_> {
    async fn show(&self, typed: &str, problem: Option<String>) -> Result<Response, Fault> {
        let catalog = &self.state.pages.catalog;
        let ReferralView { referral, person, parents } = catalog.referral(self.id).await?;
        let mut decisions: Vec<Decision> = Vec::new();
        for text in catalog.decisions(&referral).await? {
            decisions.push(serde_json::from_str(&text).map_err(|error| Fault::internal(&error))?);
        }
        let payments = catalog.payments(&referral).await?;
        let of = RewardQuery { referral: Some(self.id.to_string()), limit: PAGE_MAX_ROWS, ..RewardQuery::default() };
        let rewards = catalog.rewards(&of).await?.items;
        let title = called(Words::new(self.visit.language), &person);
        let (words, sheet, frame) = frame(self.visit, self.operator, self.asked, PATH, title)?;
        let mut why: Vec<String> = decisions.iter().flat_map(Decision::in_words).collect();
        if !parents.is_empty() {
            let chain: Vec<&str> = parents.iter().map(crate::core::code::Code::as_str).collect();
            why.push(format!("{} has the parent {}.", referral.partner, chain.join(", whose parent is ")));
        }
        let fact = |name: &str, value: String| (words.say(&format!("field_{name}")), value);
        let code = |code: &Option<crate::core::code::Code>| code.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut facts = vec![
            fact("program", referral.program.to_string()),
            fact("partner", referral.partner.to_string()),
            fact("link", code(&referral.link)),
            fact("ad", code(&referral.ad)),
            fact("email", person.email.clone().unwrap_or_default()),
            fact("external_id", person.external_id.clone().unwrap_or_default()),
            fact("since", moment(words, referral.since)),
        ];
        facts.retain(|(_, value)| !value.is_empty());
        let note = Field { problem, ..Field::new(words, "note", Input::Area { rows: 2, code: false }, typed) };
        let status = if note.problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        let told = |reward: &RewardRow| (Told::new(words, reward), reward.partner.to_string());
        let page = ReferralPage {
            sheet,
            frame,
            id: self.id.to_string(),
            facts,
            state: state(words, &referral),
            reason: referral.reason.clone(),
            reasons: &referral.reasons,
            steps: story(words, &referral, &decisions, &payments, &rewards),
            why,
            rewards: rewards.iter().map(told).collect(),
            note,
        };
        Ok(show(status, &page))
    }
}

/// `GET /dashboard/referrals/{id}`
pub(super) async fn page(
    State(state): State<DashboardState>,
    Path(text): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    let id = text.parse().map_err(|_| Fault::NotFound)?;
    Looking { state: &state, visit: &visit, operator: &operator, asked: &asked, id }.show("", None).await
}

/// Says a word by hand.
pub(super) async fn say(state: &DashboardState, id: FactId, verdict: Verdict, note: &str) -> Result<(), Fault> {
    match state.pages.desk.rule(id, verdict, note).await {
        Ok(_) => Ok(()),
        Err(DeskError::Catalog(CatalogError::NotFound { .. })) => Err(Fault::NotFound),
        Err(error) => Err(error.into()),
    }
}

/// `POST /dashboard/referrals/{id}`: qualifies, approves or rejects it.
pub(super) async fn rule(
    State(state): State<DashboardState>,
    Path(text): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    form: Filled,
) -> Result<Response, Fault> {
    let id: FactId = text.parse().map_err(|_| Fault::NotFound)?;
    let verdict = Verdict::from_word(form.text("verdict")).ok_or(Fault::NotFound)?;
    match note(Words::new(visit.language), &form) {
        Ok(note) => {
            say(&state, id, verdict, &note).await?;
            Ok(go(&format!("{PATH}/{id}?done=ruled")))
        }
        Err(problem) => {
            let looking = Looking { state: &state, visit: &visit, operator: &operator, asked: &asked, id };
            looking.show(form.text("note"), Some(problem)).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::page::Language;

    #[test]
    fn every_column_and_state_has_its_words() {
        let columns = COLUMNS.iter().chain(&["external_id", "email", "note"]).map(|name| format!("field_{name}"));
        let states = RewardState::WORDS.iter().chain(&["qualified", "rejected", "invited", "partner"]);
        for name in columns.chain(states.map(|word| format!("word_{word}"))) {
            for language in [Language::En, Language::De] {
                assert_ne!(Words::new(language).say(&name), name);
            }
        }
    }
}
