//! The review queue: referrals that wait until somebody looks at them, the most urgent first, with what speaks against them and what is at stake.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    super::{
        fault::Fault,
        sheet::{Sheet, go, pages, show},
        visit::Visit,
        words::Words,
    },
    DashboardState,
    field::{Field, Input},
    form::{Asked, Filled},
    frame::{Frame, frame, moment},
    operator::Operator,
    overview, referrals,
};
use crate::{
    catalog::{
        CatalogError,
        record::{ReviewItem, ReviewQuery},
    },
    core::{
        fact::{FactId, Verdict},
        review::{Reason, Signal},
    },
};

const PATH: &str = "/dashboard/review";
/// Referrals of one page: each has a form of its own.
const SHOWN: u32 = 20;

struct Item {
    id: String,
    name: String,
    partner: String,
    program: String,
    since: String,
    score: String,
    reasons: Vec<Reason>,
    stake: String,
    note: Field,
}

#[derive(Template)]
#[template(path = "dashboard/review.html")]
struct ReviewPage<'a> {
    sheet: Sheet<'a>,
    frame: Frame,
    filters: Vec<Field>,
    items: Vec<Item>,
    first: Option<String>,
    next: Option<String>,
}

pages!(ReviewPage);

struct Looking<'a> {
    state: &'a DashboardState,
    visit: &'a Visit,
    operator: &'a Operator,
    asked: &'a Asked,
}

impl Looking<'_> {
    /// `wrong`: a note that cannot be taken, of which referral, and why.
    async fn show(&self, wrong: Option<(FactId, &str, String)>) -> Result<Response, Fault> {
        let title = Words::new(self.visit.language).say("dash_review");
        let (words, sheet, frame) = frame(self.visit, self.operator, self.asked, PATH, title)?;
        let asked = self.asked;
        let query = ReviewQuery {
            program: asked.text("program").parse().ok(),
            partner: asked.text("partner").parse().ok(),
            signal: Signal::from_word(asked.text("signal")),
            cursor: asked.some("cursor").map(str::to_owned),
            limit: SHOWN,
        };
        let found = match self.state.pages.catalog.review(&query).await {
            Err(CatalogError::Invalid(_)) => return Ok(go(PATH)),
            found => found?,
        };
        let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        let items = found.items.into_iter().map(|item| shown(words, item, wrong.as_ref()));
        let page = ReviewPage {
            sheet,
            frame,
            filters: vec![
                overview::programs(self.state, words, asked.text("program")).await?,
                Field::line(words, "partner", asked.text("partner")),
                Field::choice(
                    words,
                    "signal",
                    Signal::WORDS,
                    asked.text("signal"),
                    Some(words.say("dash_all_signals")),
                ),
            ],
            items: items.collect(),
            first: asked.some("cursor").map(|_| format!("{PATH}?{}", asked.with(&[("cursor", "")]))),
            next: found.next.map(|next| format!("{PATH}?{}", asked.with(&[("cursor", &next)]))),
        };
        Ok(show(status, &page))
    }
}

fn shown(words: Words<'_>, item: ReviewItem, wrong: Option<&(FactId, &str, String)>) -> Item {
    let ReviewItem { referral, person, stake, gifts } = item;
    let wrong = wrong.filter(|(id, ..)| *id == referral.id);
    let mut stake: Vec<String> = stake.iter().map(ToString::to_string).collect();
    if gifts > 0 {
        stake.push(words.with("dash_gifts", "count", &gifts));
    }
    let note =
        Field::new(words, "note", Input::Area { rows: 1, code: false }, wrong.map_or("", |(_, typed, _)| *typed));
    Item {
        name: referrals::called(words, &person),
        partner: referral.partner.to_string(),
        program: referral.program.to_string(),
        since: moment(words, referral.since),
        score: words.with("dash_score", "score", &referral.score),
        reasons: referral.reasons,
        stake: stake.join(", "),
        // Several forms on one page, each with its note.
        note: Field {
            name: format!("note-{}", referral.id),
            problem: wrong.map(|(.., problem)| problem.clone()),
            ..note
        },
        id: referral.id.to_string(),
    }
}

/// `GET /dashboard/review`
pub(super) async fn page(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    Looking { state: &state, visit: &visit, operator: &operator, asked: &asked }.show(None).await
}

/// `POST /dashboard/review`: approves or rejects one.
pub(super) async fn rule(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    mut form: Filled,
) -> Result<Response, Fault> {
    let id: FactId = form.text("referral").parse().map_err(|_| Fault::NotFound)?;
    let verdict = Verdict::from_word(form.text("verdict")).ok_or(Fault::NotFound)?;
    let typed = form.text(&format!("note-{id}")).to_owned();
    form.set("note", &typed);
    match referrals::note(Words::new(visit.language), &form) {
        Ok(note) => {
            referrals::say(&state, id, verdict, &note).await?;
            Ok(go(&format!("{PATH}?{}", asked.with(&[("cursor", ""), ("done", "ruled")]))))
        }
        Err(problem) => {
            let looking = Looking { state: &state, visit: &visit, operator: &operator, asked: &asked };
            looking.show(Some((id, &typed, problem))).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::page::Language;

    #[test]
    fn every_signal_and_verdict_has_its_words() {
        for word in Signal::WORDS.iter().chain(Verdict::WORDS) {
            for language in [Language::En, Language::De] {
                let name = format!("word_{word}");
                assert_ne!(Words::new(language).say(&name), name);
            }
        }
    }
}
