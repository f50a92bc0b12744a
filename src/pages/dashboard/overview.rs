//! The overview: how far the programs reach, where people are lost on the way, who and what brings most, and what happens right now.
//!
//! Each picture is a report of its own. Where one cannot be answered, because the event store is away or the question is odd, it says so in
//! its place and the others stand.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    super::{
        chart::Columns,
        fault::Fault,
        given::Path,
        sheet::{Sheet, pages, show},
        visit::Visit,
        words::Words,
    },
    DashboardState,
    bars::Bars,
    field::{Field, mark},
    form::Asked,
    frame::{Frame, frame},
    grid,
    live::Live,
    operator::{HOME, Operator},
    pictures,
};
use crate::{
    catalog::{
        ListQuery, Mistake, Program,
        record::{ReviewQuery, RewardQuery},
    },
    core::{limits::PAGE_MAX_ROWS, terms::RewardState},
    report::{Name, Question, Sources, Unanswered, Words as Told, zoned},
    store::{
        Dimension, ReachQuery, ReachRow,
        question::{QuestionError, Words as Limits},
        rows::{self, Table},
    },
};

/// Since when, as the address says it; `all`: since ever.
const SINCE: [&str; 4] = ["7d", "30d", "90d", "all"];
const USUAL: &str = "30d";
/// Programs that are chosen from a list; where there are more, a code is typed.
const CHOICES: u32 = 200;

/// A number with its name.
struct Figure {
    label: String,
    value: String,
    address: Option<&'static str>,
}

/// One picture in bars.
struct Section {
    id: &'static str,
    title: String,
    bars: Option<Bars>,
    export: String,
}

#[derive(Template)]
#[template(path = "dashboard/overview.html")]
struct OverviewPage<'a> {
    sheet: Sheet<'a>,
    frame: Frame,
    filters: Vec<Field>,
    problems: Vec<String>,
    figures: Vec<Figure>,
    reach: Option<Columns>,
    reach_export: String,
    sections: Vec<Section>,
    is_away: bool,
    live: Live,
    live_address: String,
}

pages!(OverviewPage);

/// What the address asks for, or what is wrong with it.
fn question(state: &DashboardState, asked: &Asked) -> Result<Question, QuestionError> {
    let since = asked.some("since").unwrap_or(USUAL);
    let filter = Limits {
        since: Some(since).filter(|since| *since != "all"),
        program: asked.some("program"),
        ..Limits::default()
    };
    Question::read(&Told { filter, tz: asked.some("tz"), ..Told::default() }, state.pages.clock.now())
}

/// The same of nothing but the usual time.
fn usual(state: &DashboardState) -> Result<Question, Fault> {
    question(state, &Asked::default()).map_err(|error| Fault::internal(&error))
}

/// `GET /dashboard`
pub(super) async fn page(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    let title = Words::new(visit.language).say("dash_overview");
    let (words, sheet, frame) = frame(&visit, &operator, &asked, HOME, title)?;
    let mut filters = filters(&state, words, &asked).await?;
    let mut problems = Vec::new();
    let mut wrong = |error: QuestionError| problems = mark(&mut filters, &[Mistake::new(error.field, error.problem)]);
    let question = match question(&state, &asked) {
        Ok(question) => question,
        Err(error) => {
            wrong(error);
            usual(&state)?
        }
    };
    let look = Look { state: &state, words, question: &question };
    let query = asked.with(&[]);
    let (reach, is_away) = match look.reach(vec![Dimension::Day]).await {
        Ok(rows) => (rows, false),
        Err(zoned::ZonedError::Question(error)) => {
            wrong(error);
            (Vec::new(), false)
        }
        Err(zoned::ZonedError::Events(error)) => {
            tracing::warn!(%error, "the dashboard cannot show reach");
            (Vec::new(), true)
        }
    };
    let (since, now, zone) = (question.filter.since, question.now, &question.zone);
    let export = |name: &str| format!("/dashboard/report/{name}?{query}");
    let page = OverviewPage {
        sheet,
        frame,
        filters,
        problems,
        figures: look.figures(&reach).await?,
        reach: pictures::reach(words, &reach, since, now, zone),
        reach_export: export("reach"),
        sections: look.sections(export).await,
        is_away,
        live: Live::look(&state, words, question.filter.program.clone()).await,
        live_address: format!("/dashboard/live?{}", asked.with(&[("since", ""), ("tz", "")])),
    };
    let is_wrong = page.filters.iter().any(|field| field.problem.is_some());
    Ok(show(if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page))
}

/// Program, time and time zone.
async fn filters(state: &DashboardState, words: Words<'_>, asked: &Asked) -> Result<Vec<Field>, Fault> {
    let since = asked.some("since").unwrap_or(USUAL);
    Ok(vec![
        programs(state, words, asked.text("program")).await?,
        Field::choice(words, "since", &SINCE, since, None),
        Field::line(words, "tz", asked.text("tz")).hinted(words.say("hint_tz")),
    ])
}

/// The choice of a program; where there are too many to choose from, its code is typed.
pub(super) async fn programs(state: &DashboardState, words: Words<'_>, chosen: &str) -> Result<Field, Fault> {
    let query = ListQuery { limit: Some(CHOICES), ..ListQuery::default() };
    let found = state.pages.catalog.list::<Program>(&query).await?;
    if found.next.is_some() {
        return Ok(Field::line(words, "program", chosen));
    }
    let name =
        |program: &Program| if program.name.is_empty() { program.code.to_string() } else { program.name.clone() };
    let mut choices = vec![(String::new(), words.say("dash_all_programs"))];
    choices.extend(found.items.iter().map(|program| (program.code.to_string(), name(program))));
    Ok(Field::new(words, "program", super::field::Input::Choice(choices), chosen.to_ascii_lowercase()))
}

/// A question on its way to be answered in pictures.
struct Look<'a> {
    state: &'a DashboardState,
    words: Words<'a>,
    question: &'a Question,
}

impl Look<'_> {
    /// An answer; nothing where there is none, which the log says.
    fn told<T, E: std::fmt::Display>(&self, answer: Result<T, E>) -> Option<T> {
        answer.inspect_err(|error| tracing::warn!(%error, "the dashboard cannot show a report")).ok()
    }

    async fn reach(&self, by: Vec<Dimension>) -> Result<Vec<ReachRow>, zoned::ZonedError> {
        let query = ReachQuery { filter: self.question.filter.clone(), by, without_visitors: true };
        zoned::reach(&*self.state.pages.reports, &query, &self.question.zone).await
    }

    async fn answer(&self, name: Name) -> Result<Table, Unanswered> {
        let sources = Sources { catalog: &self.state.pages.catalog, events: &*self.state.pages.reports };
        sources.answer(name, self.question).await
    }

    async fn figures(&self, reach: &[ReachRow]) -> Result<Vec<Figure>, Fault> {
        let (catalog, words) = (&self.state.pages.catalog, self.words);
        let sum = |of: fn(&ReachRow) -> u64| words.number(reach.iter().map(of).sum::<u64>());
        let program = self.question.filter.program.clone();
        let due = RewardQuery {
            state: Some(RewardState::Due.word().to_owned()),
            program: program.as_ref().map(ToString::to_string),
            limit: PAGE_MAX_ROWS,
            ..RewardQuery::default()
        };
        let held = ReviewQuery { program, limit: PAGE_MAX_ROWS, ..ReviewQuery::default() };
        let (due, held) = (catalog.rewards(&due).await?, catalog.review(&held).await?);
        let many = |count: usize, more: bool| format!("{}{}", words.number(count as u64), if more { "+" } else { "" });
        let figure = |name: &str, value: String, address| Figure { label: words.say(name), value, address };
        Ok(vec![
            figure("dash_clicks", sum(|row| row.clicks), None),
            figure("dash_views", sum(|row| row.views), None),
            figure("dash_shares", sum(|row| row.shares), None),
            figure("dash_to_review", many(held.items.len(), held.next.is_some()), Some("/dashboard/review")),
            figure("dash_due", many(due.items.len(), due.next.is_some()), Some("/dashboard/rewards")),
        ])
    }

    async fn sections(&self, export: impl Fn(&str) -> String) -> Vec<Section> {
        let words = self.words;
        let section = |id: &'static str, bars: Option<Bars>, name: &str| {
            let title = words.say(&format!("dash_{id}"));
            Section { id, title, bars, export: export(name) }
        };
        // The report's first column, by one of its numbers.
        let best = |id: &'static str, answer: Option<Table>, number: &str, name: &str| {
            let title = words.say(&format!("dash_{id}"));
            let bars = answer.and_then(|table| pictures::best(words, title, pictures::column(&table, number)));
            section(id, bars, name)
        };
        let funnel = self.told(self.answer(Name::Funnel).await);
        let partners = self.told(self.answer(Name::TopPartners).await);
        let links = self.told(self.answer(Name::TopLinks).await);
        let ads = self.told(self.answer(Name::TopAds).await);
        let channels = self.told(self.answer(Name::TopChannels).await);
        let countries = self.told(self.reach(vec![Dimension::Country]).await).unwrap_or_default();
        let countries = countries.into_iter().map(|row| (row.key.concat(), row.clicks)).collect();
        let countries = pictures::best(words, words.say("dash_countries"), countries);
        vec![
            section("funnel", funnel.and_then(|table| pictures::funnel(words, &table)), "funnel"),
            best("top_partners", partners, "clicks", "top-partners"),
            best("top_links", links, "clicks", "top-links"),
            best("top_ads", ads, "clicks", "top-ads"),
            best("channels", channels, "shares", "top-channels"),
            section("countries", countries, "countries"),
        ]
    }
}

/// `GET /dashboard/report/{name}`: what a picture is made of, as CSV.
pub(super) async fn export(
    State(state): State<DashboardState>,
    Path(name): Path<String>,
    asked: Asked,
) -> Result<Response, Fault> {
    let Ok(question) = question(&state, &asked) else { return Err(Fault::NotFound) };
    let look = Look { state: &state, words: Words::new(crate::core::page::Language::En), question: &question };
    let by = match name.as_str() {
        "reach" => Some(vec![Dimension::Day]),
        "countries" => Some(vec![Dimension::Country]),
        _ => None,
    };
    if let Some(by) = by {
        let table = match look.reach(by.clone()).await {
            Ok(found) => rows::reach(&by, &found),
            Err(zoned::ZonedError::Events(error)) => return Err(error.into()),
            Err(zoned::ZonedError::Question(_)) => return Err(Fault::NotFound),
        };
        return grid::report_csv(if by == [Dimension::Day] { "reach" } else { "countries" }, &table);
    }
    let name = Name::from_word(&name).ok_or(Fault::NotFound)?;
    grid::report_csv(name.word(), &look.answer(name).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::page::Language;

    #[test]
    fn every_picture_and_time_has_its_words() {
        let sections =
            ["funnel", "top_partners", "top_links", "top_ads", "channels", "countries"].map(|id| format!("dash_{id}"));
        let steps = ["joined", "shared", "clicks", "visitors", "leads", "qualified", "rewarded"];
        let names = sections.into_iter().chain(steps.map(|step| format!("dash_step_{step}")));
        for name in names.chain(SINCE.map(|since| format!("word_{since}"))).chain(["field_tz".to_owned()]) {
            for language in [Language::En, Language::De] {
                assert_ne!(Words::new(language).say(&name), name);
            }
        }
    }
}
