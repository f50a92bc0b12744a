//! What is owed, and that it was given: due rewards are chosen, looked at once more with their sums, and issued under one reference, all of them
//! or none.

use std::collections::BTreeMap;

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    super::{
        fault::Fault,
        reward::Told,
        sheet::{Sheet, go, pages, show},
        visit::Visit,
        words::Words,
    },
    DashboardState,
    field::{Field, told},
    form::{Asked, Filled},
    frame::{Frame, frame, moment},
    grid::{self, EXPORT_ROWS, ROWS},
    operator::Operator,
    overview,
};
use crate::{
    catalog::{
        CatalogError,
        record::{RewardQuery, RewardRow},
    },
    core::{
        fact::FactId,
        limits::{ISSUE_MAX, NAME_MAX_CHARS, PAGE_MAX_ROWS},
        money::{Currency, Money},
        terms::{Owed, RewardState},
    },
    referral::DeskError,
};

const PATH: &str = "/dashboard/rewards";

struct Row {
    id: String,
    told: Told,
    partner: String,
    referral: String,
    side: String,
    rule: String,
    earned: String,
    reference: String,
}

#[derive(Template)]
#[template(path = "dashboard/rewards.html")]
struct RewardsPage<'a> {
    sheet: Sheet<'a>,
    frame: Frame,
    filters: Vec<Field>,
    rows: Vec<Row>,
    /// These can be issued.
    is_due: bool,
    all_chosen: bool,
    choose_all: String,
    problem: Option<String>,
    first: Option<String>,
    next: Option<String>,
    export: String,
}

#[derive(Template)]
#[template(path = "dashboard/issue.html")]
struct IssuePage<'a> {
    sheet: Sheet<'a>,
    frame: Frame,
    rows: Vec<Row>,
    count: String,
    sums: Vec<String>,
    reference: Field,
    problems: Vec<String>,
}

pages!(RewardsPage, IssuePage);

fn row(words: Words<'_>, reward: &RewardRow) -> Row {
    Row {
        id: reward.id.to_string(),
        told: Told::new(words, reward),
        partner: reward.partner.to_string(),
        referral: reward.referral.to_string(),
        side: words.say(&format!("word_{}", reward.side.word())),
        rule: reward.rule.to_string(),
        earned: moment(words, reward.earned_at),
        reference: reward.reference.clone(),
    }
}

/// Which rewards the address asks for: the due ones where it says nothing.
fn query(asked: &Asked) -> (Option<RewardState>, RewardQuery) {
    let wanted = match asked.some("state") {
        None => Some(RewardState::Due),
        Some(word) => RewardState::from_word(word),
    };
    let query = RewardQuery {
        state: wanted.map(|state| state.word().to_owned()),
        program: asked.code("program"),
        partner: asked.code("partner"),
        cursor: asked.some("cursor").map(str::to_owned),
        limit: ROWS,
        ..RewardQuery::default()
    };
    (wanted, query)
}

struct Looking<'a> {
    state: &'a DashboardState,
    visit: &'a Visit,
    operator: &'a Operator,
    asked: &'a Asked,
}

impl Looking<'_> {
    async fn show(&self, problem: Option<String>) -> Result<Response, Fault> {
        let title = Words::new(self.visit.language).say("dash_rewards");
        let (words, sheet, frame) = frame(self.visit, self.operator, self.asked, PATH, title)?;
        let asked = self.asked;
        let (wanted, query) = query(asked);
        let found = self.state.pages.catalog.rewards(&query).await?;
        let all_chosen = asked.text("choose") == "all";
        let choose = if all_chosen { "" } else { "all" };
        let (states, any) = (RewardState::WORDS, "all");
        let known: Vec<&str> = states.iter().copied().chain([any]).collect();
        let page = RewardsPage {
            sheet,
            frame,
            filters: vec![
                Field::choice(words, "state", &known, wanted.map_or(any, RewardState::word), None),
                overview::programs(self.state, words, asked.text("program")).await?,
                Field::line(words, "partner", asked.text("partner")),
            ],
            rows: found.items.iter().map(|reward| row(words, reward)).collect(),
            is_due: wanted == Some(RewardState::Due),
            all_chosen,
            choose_all: format!("{PATH}?{}", asked.with(&[("choose", choose)])),
            first: asked.some("cursor").map(|_| format!("{PATH}?{}", asked.with(&[("cursor", "")]))),
            next: found.next.map(|next| format!("{PATH}?{}", asked.with(&[("cursor", &next)]))),
            export: format!("/dashboard/export/rewards?{}", asked.with(&[("cursor", ""), ("choose", "")])),
            problem,
        };
        let status = if page.problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        Ok(show(status, &page))
    }

    /// Asks whether these are meant. `reference` was typed already.
    async fn ask(&self, form: &Filled, problem: Option<String>, problems: Vec<String>) -> Result<Response, Fault> {
        let words = Words::new(self.visit.language);
        let Ok(ids) = chosen(form) else { return self.show(Some(words.say("dash_issue_nothing"))).await };
        let rewards = self.state.pages.catalog.rewards_of_ids(&ids).await?;
        let (words, sheet, frame) = frame(self.visit, self.operator, self.asked, PATH, words.say("dash_issue_title"))?;
        let is_wrong = problem.is_some() || !problems.is_empty();
        let reference = Field { problem, ..Field::line(words, "reference", form.text("reference")) };
        let page = IssuePage {
            sheet,
            frame,
            count: words.with("dash_issue_count", "count", &rewards.len()),
            sums: sums(words, &rewards),
            rows: rewards.iter().map(|reward| row(words, reward)).collect(),
            reference: reference.required().hinted(words.say("hint_reference")),
            problems,
        };
        Ok(show(if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page))
    }
}

/// The ids that were chosen; an error where there are none, or more than one call issues.
fn chosen(form: &Filled) -> Result<Vec<FactId>, ()> {
    let ids: Vec<FactId> = form.all("reward").filter_map(|id| id.parse().ok()).collect();
    if (1..=ISSUE_MAX).contains(&ids.len()) { Ok(ids) } else { Err(()) }
}

/// What they come to, a sum a currency, and how many are no money.
fn sums(words: Words<'_>, rewards: &[RewardRow]) -> Vec<String> {
    let (mut money, mut gifts): (BTreeMap<Currency, i64>, u64) = (BTreeMap::new(), 0);
    for reward in rewards {
        match &reward.owed {
            Owed::Money(owed) => {
                let sum = money.entry(owed.currency).or_default();
                *sum = sum.saturating_add(owed.amount);
            }
            Owed::Gift(_) => gifts += 1,
        }
    }
    let gifts = (gifts > 0).then(|| words.with("dash_gifts", "count", &gifts));
    money.into_iter().map(|(currency, amount)| Money { amount, currency }.to_string()).chain(gifts).collect()
}

/// `GET /dashboard/rewards`
pub(super) async fn page(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    Looking { state: &state, visit: &visit, operator: &operator, asked: &asked }.show(None).await
}

/// `POST /dashboard/rewards/confirm`
pub(super) async fn confirm(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    form: Filled,
) -> Result<Response, Fault> {
    Looking { state: &state, visit: &visit, operator: &operator, asked: &asked }.ask(&form, None, Vec::new()).await
}

/// `POST /dashboard/rewards/issue`
pub(super) async fn issue(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    form: Filled,
) -> Result<Response, Fault> {
    let looking = Looking { state: &state, visit: &visit, operator: &operator, asked: &asked };
    let words = Words::new(visit.language);
    let Ok(ids) = chosen(&form) else { return looking.show(Some(words.say("dash_issue_nothing"))).await };
    let reference = form.text("reference");
    // Who has to find it again in their own books needs a name for it.
    if reference.is_empty() {
        return looking.ask(&form, Some(words.say("dash_reference_missing")), Vec::new()).await;
    }
    if reference.chars().count() > NAME_MAX_CHARS {
        return looking.ask(&form, Some(words.with("too_long", "most", &NAME_MAX_CHARS)), Vec::new()).await;
    }
    match state.pages.desk.issue(&ids, reference).await {
        Ok(_) => Ok(go(&format!("{PATH}?done=issued"))),
        Err(DeskError::Catalog(CatalogError::Invalid(mistakes))) => {
            looking.ask(&form, None, mistakes.iter().map(told).collect()).await
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /dashboard/export/rewards`
pub(super) async fn export(State(state): State<DashboardState>, asked: Asked) -> Result<Response, Fault> {
    let (_, mut query) = query(&asked);
    (query.limit, query.cursor) = (PAGE_MAX_ROWS, None);
    let mut rows: Vec<Vec<String>> = Vec::new();
    loop {
        let page = state.pages.catalog.rewards(&query).await?;
        rows.extend(page.items.iter().map(cells));
        query.cursor = page.next;
        if query.cursor.is_none() || rows.len() >= EXPORT_ROWS {
            break;
        }
    }
    let columns = [
        "id",
        "program",
        "partner",
        "referral",
        "rule",
        "side",
        "level",
        "amount",
        "currency",
        "gift",
        "state",
        "reason",
        "earned_at",
        "held_until",
        "issued_at",
        "reference",
    ];
    grid::csv("rewards", &columns, rows.into_iter())
}

/// Amounts stand in minor units, as everywhere outside.
fn cells(reward: &RewardRow) -> Vec<String> {
    let (amount, currency, gift) = match &reward.owed {
        Owed::Money(money) => (money.amount.to_string(), money.currency.to_string(), String::new()),
        Owed::Gift(gift) => (String::new(), String::new(), gift.clone()),
    };
    vec![
        reward.id.to_string(),
        reward.program.to_string(),
        reward.partner.to_string(),
        reward.referral.to_string(),
        reward.rule.to_string(),
        reward.side.word().to_owned(),
        reward.level.to_string(),
        amount,
        currency,
        gift,
        reward.state.word().to_owned(),
        reward.reason.clone(),
        reward.earned_at.to_string(),
        reward.held_until.to_string(),
        reward.issued_at.map(|at| at.to_string()).unwrap_or_default(),
        reward.reference.clone(),
    ]
}
