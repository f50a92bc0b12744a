//! Endpoints of webhooks: where they are, how they fare, what was sent; a test, a new secret, and everything from a point on once more.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::{Map, Value};

use super::{
    super::{
        fault::Fault,
        given::Path,
        sheet::{Sheet, go, pages, show},
        visit::Visit,
        words::Words,
    },
    DashboardState,
    field::{Field, Input, mark},
    form::{Asked, Filled},
    frame::{Frame, frame, moment},
    grid::{Cell, Grid, ROWS},
    items::ListPage,
    operator::Operator,
};
use crate::{
    catalog::{
        CatalogError, Mistake,
        webhooks::{Delivery, ReplayFrom, Webhook, WebhookSettings, WebhookState, WebhookWithSecret},
    },
    core::time::Millis,
    outbox::OutboxError,
};

const PATH: &str = "/dashboard/webhooks";
const COLUMNS: &[&str] = &["address", "description", "state", "seq", "retries"];
const LOG: &[&str] = &["at", "kind", "result", "attempt", "status", "duration", "error"];
/// In the order of the form.
const FIELDS: [&str; 5] = ["address", "description", "kinds", "programs", "state"];
const STATES: [&str; 2] = ["active", "disabled"];

#[derive(Template)]
#[template(path = "dashboard/webhook.html")]
struct WebhookPage<'a> {
    sheet: Sheet<'a>,
    frame: Frame,
    /// None: it is to be made.
    id: Option<&'a str>,
    action: String,
    fields: Vec<Field>,
    problems: Vec<String>,
    /// Shown this once.
    secret: Option<String>,
    /// What came of a test.
    tested: Option<String>,
    standing: Vec<(String, String)>,
    replay: Field,
    log: Option<Grid>,
}

pages!(WebhookPage);

/// What the page says beside the endpoint itself.
#[derive(Default)]
struct Said {
    mistakes: Vec<Mistake>,
    secret: Option<String>,
    tested: Option<String>,
    /// What was typed as the point to send from again, and what is wrong with it.
    replay: Option<(String, String)>,
}

struct Looking<'a> {
    state: &'a DashboardState,
    visit: &'a Visit,
    operator: &'a Operator,
    asked: &'a Asked,
}

fn state_word(state: WebhookState) -> &'static str {
    match state {
        WebhookState::Active => STATES[0],
        WebhookState::Disabled => STATES[1],
    }
}

/// A field as it is stored.
fn stored(webhook: &Webhook, name: &str) -> String {
    match name {
        "address" => webhook.address.clone(),
        "description" => webhook.description.clone(),
        "kinds" => webhook.kinds.join("; "),
        "programs" => webhook.programs.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        _ => state_word(webhook.state).to_owned(),
    }
}

fn fields(words: Words<'_>, value: impl Fn(&str) -> String) -> Vec<Field> {
    let field = |name: &str| match name {
        "description" => Field::new(words, name, Input::Area { rows: 2, code: false }, value(name)),
        "state" => Field::choice(words, name, &STATES, &value(name), None),
        "address" => {
            Field::new(words, name, Input::Line("url"), value(name)).required().hinted(words.say("hint_webhook"))
        }
        "kinds" => Field::line(words, name, value(name)).hinted(words.say("hint_kinds")),
        _ => Field::line(words, name, value(name)).hinted(words.say("hint_programs")),
    };
    FIELDS.iter().map(|name| field(name)).collect()
}

/// What was typed, as the API takes it.
fn object(form: &Filled) -> Map<String, Value> {
    let entries = |text: &str| -> Value {
        text.split([';', ',', '\n', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).collect::<Vec<_>>().into()
    };
    let value = |name: &str| match name {
        "kinds" | "programs" => entries(form.text(name)),
        _ => form.text(name).into(),
    };
    FIELDS.iter().map(|name| ((*name).to_owned(), value(name))).collect()
}

impl Looking<'_> {
    fn read(&self, form: &Filled) -> Result<WebhookSettings, Vec<Mistake>> {
        WebhookSettings::read(object(form), |address| self.state.guard.check_address(address))
    }

    /// `form`: what was typed in the place of what is stored.
    async fn show(&self, webhook: Option<&Webhook>, form: Option<&Filled>, said: Said) -> Result<Response, Fault> {
        let title = Words::new(self.visit.language);
        let title = webhook.map_or_else(|| title.say("dash_add_webhooks"), |webhook| webhook.address.clone());
        let (words, sheet, frame) = frame(self.visit, self.operator, self.asked, PATH, title)?;
        let value = |name: &str| match (form, webhook) {
            (Some(form), _) => form.text(name).to_owned(),
            (None, Some(webhook)) => stored(webhook, name),
            (None, None) => String::new(),
        };
        let mut fields = fields(words, value);
        let mut problems = mark(&mut fields, &said.mistakes);
        if !said.mistakes.is_empty() {
            problems.insert(0, words.with("mistakes", "count", &said.mistakes.len()));
        }
        let is_wrong = !said.mistakes.is_empty() || said.replay.is_some();
        let (typed, problem) = said.replay.unzip();
        let replay = Field { problem, ..Field::line(words, "replay_from", typed.unwrap_or_default()) };
        let log = match webhook {
            Some(webhook) => Some(self.log(words, webhook).await?),
            None => None,
        };
        let page = WebhookPage {
            sheet,
            frame,
            id: webhook.map(|webhook| webhook.id.as_str()),
            action: webhook.map_or("/dashboard/add/webhooks".to_owned(), |webhook| format!("{PATH}/{}", webhook.id)),
            fields,
            problems,
            secret: said.secret,
            tested: said.tested,
            standing: webhook.map(|webhook| standing(words, webhook)).unwrap_or_default(),
            replay: replay.required().hinted(words.say("hint_replay")),
            log,
        };
        Ok(show(if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page))
    }

    async fn log(&self, words: Words<'_>, webhook: &Webhook) -> Result<Grid, Fault> {
        let cursor = self.asked.some("cursor").filter(|cursor| cursor.parse::<i64>().is_ok());
        let found = self.state.pages.catalog.webhook_deliveries(&webhook.id, cursor, ROWS).await?;
        let row = |delivery: &Delivery| {
            vec![
                Cell::text(moment(words, delivery.at)).ranked_by(delivery.at.0),
                Cell::text(delivery.kind.clone()),
                Cell::state(words, delivery.result.tag()),
                Cell::ranked(delivery.attempt.to_string(), delivery.attempt),
                Cell::text(delivery.status.map(|status| status.to_string()).unwrap_or_default()),
                Cell::ranked(format!("{} ms", delivery.duration_ms), delivery.duration_ms),
                Cell::text(delivery.error.clone().or_else(|| delivery.answer.clone()).unwrap_or_default()),
            ]
        };
        let rows = found.items.iter().map(row).collect();
        let path = format!("{PATH}/{}", webhook.id);
        Ok(Grid::new(words, self.asked, (&path, &words.say("dash_deliveries")), LOG, rows, found.next.as_deref()))
    }
}

/// How an endpoint fares.
fn standing(words: Words<'_>, webhook: &Webhook) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (words.say(&format!("field_{name}")), value);
    let mut facts = vec![
        fact("seq", webhook.seq.to_string()),
        fact("retries", webhook.retries.to_string()),
        fact("failures", webhook.failures.to_string()),
    ];
    facts.extend(webhook.reason.as_ref().map(|reason| fact("reason", reason.clone())));
    facts.extend(webhook.older_secret_until.map(|until| fact("older_secret", moment(words, until))));
    facts
}

/// `GET /dashboard/webhooks`
pub(super) async fn list(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    let title = Words::new(visit.language).say("dash_webhooks");
    let (words, sheet, frame) = frame(&visit, &operator, &asked, PATH, title)?;
    let found = state.pages.catalog.webhooks().await?;
    let row = |webhook: &Webhook| {
        vec![
            Cell::link(webhook.address.clone(), format!("{PATH}/{}", webhook.id)),
            Cell::text(webhook.description.clone()),
            Cell::state(words, state_word(webhook.state)),
            Cell::ranked(webhook.seq.to_string(), webhook.seq),
            Cell::ranked(webhook.retries.to_string(), webhook.retries),
        ]
    };
    let rows = found.items.iter().map(row).collect();
    let page = ListPage {
        grid: Grid::new(words, &asked, (PATH, &sheet.title), COLUMNS, rows, None),
        sheet,
        frame,
        intro: words.say("dash_intro_webhooks"),
        add: Some(("/dashboard/add/webhooks".to_owned(), words.say("dash_add_webhooks"))),
        path: PATH.to_owned(),
        filters: Vec::new(),
        problems: Vec::new(),
    };
    Ok(show(StatusCode::OK, &page))
}

/// `GET /dashboard/add/webhooks`
pub(super) async fn blank(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    Looking { state: &state, visit: &visit, operator: &operator, asked: &asked }.show(None, None, Said::default()).await
}

/// `POST /dashboard/add/webhooks`: the answer is the only one that shows the secret.
pub(super) async fn create(
    State(state): State<DashboardState>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    form: Filled,
) -> Result<Response, Fault> {
    let looking = Looking { state: &state, visit: &visit, operator: &operator, asked: &asked };
    let made = match looking.read(&form) {
        Ok(settings) => state.pages.catalog.create_webhook(&settings).await,
        Err(mistakes) => Err(CatalogError::Invalid(mistakes)),
    };
    match made {
        Ok(WebhookWithSecret { webhook, secret }) => {
            let said = Said { secret: Some(secret.expose().to_owned()), ..Said::default() };
            looking.show(Some(&webhook), None, said).await
        }
        Err(CatalogError::Invalid(mistakes)) => {
            looking.show(None, Some(&form), Said { mistakes, ..Said::default() }).await
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /dashboard/webhooks/{id}`
pub(super) async fn page(
    State(state): State<DashboardState>,
    Path(id): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    let webhook = state.pages.catalog.webhook(&id).await?;
    let looking = Looking { state: &state, visit: &visit, operator: &operator, asked: &asked };
    looking.show(Some(&webhook), None, Said::default()).await
}

/// `POST /dashboard/webhooks/{id}`
pub(super) async fn change(
    State(state): State<DashboardState>,
    Path(id): Path<String>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    form: Filled,
) -> Result<Response, Fault> {
    let webhook = state.pages.catalog.webhook(&id).await?;
    let looking = Looking { state: &state, visit: &visit, operator: &operator, asked: &asked };
    match looking.read(&form) {
        Ok(settings) => {
            state.pages.catalog.update_webhook(&id, &settings).await?;
            Ok(go(&format!("{PATH}/{id}?done=saved")))
        }
        Err(mistakes) => looking.show(Some(&webhook), Some(&form), Said { mistakes, ..Said::default() }).await,
    }
}

/// `POST /dashboard/webhooks/{id}/{deed}`: `test`, `rotate`, `replay`, `delete`.
pub(super) async fn act(
    State(state): State<DashboardState>,
    Path((id, deed)): Path<(String, String)>,
    operator: Operator,
    visit: Visit,
    asked: Asked,
    form: Filled,
) -> Result<Response, Fault> {
    let catalog = &state.pages.catalog;
    let webhook = catalog.webhook(&id).await?;
    let looking = Looking { state: &state, visit: &visit, operator: &operator, asked: &asked };
    let words = Words::new(visit.language);
    match deed.as_str() {
        "test" => {
            let tested = match state.tester.test(&id).await {
                Ok(delivery) => tested(words, &delivery),
                Err(OutboxError::Catalog(error)) => return Err(error.into()),
                Err(error) => return Err(Fault::internal(&error)),
            };
            looking.show(Some(&webhook), None, Said { tested: Some(tested), ..Said::default() }).await
        }
        "rotate" => {
            let overlap_ms = i64::try_from(state.secret_overlap.as_millis()).unwrap_or(i64::MAX);
            let until = state.pages.clock.now().plus(overlap_ms);
            let WebhookWithSecret { webhook, secret } = catalog.rotate_webhook_secret(&id, until).await?;
            let said = Said { secret: Some(secret.expose().to_owned()), ..Said::default() };
            looking.show(Some(&webhook), None, said).await
        }
        "replay" => {
            let typed = form.text("replay_from");
            let Some(from) = replay_from(typed) else {
                let replay = Some((typed.to_owned(), words.say("dash_replay_wrong")));
                return looking.show(Some(&webhook), None, Said { replay, ..Said::default() }).await;
            };
            match catalog.replay_webhook(&id, from).await {
                Ok(_) => Ok(go(&format!("{PATH}/{id}?done=replayed"))),
                Err(CatalogError::Invalid(mistakes)) => {
                    let problem = mistakes.iter().map(super::field::told).collect::<Vec<_>>().join("; ");
                    let replay = Some((typed.to_owned(), problem));
                    looking.show(Some(&webhook), None, Said { replay, ..Said::default() }).await
                }
                Err(error) => Err(error.into()),
            }
        }
        "delete" => {
            catalog.delete_webhook(&id).await?;
            Ok(go(&format!("{PATH}?done=deleted")))
        }
        _ => Err(Fault::NotFound),
    }
}

fn tested(words: Words<'_>, delivery: &Delivery) -> String {
    let result = super::field::called(words, delivery.result.tag());
    let more = delivery.error.clone().or_else(|| delivery.status.map(|status| status.to_string()));
    words.tell("dash_tested", &[("result", result), ("more", more.unwrap_or_default())])
}

/// The number of an event, or a time.
fn replay_from(text: &str) -> Option<ReplayFrom> {
    match text.parse::<i64>() {
        Ok(seq) => Some(seq).filter(|seq| *seq > 0).map(ReplayFrom::Seq),
        Err(_) => text.parse::<Millis>().ok().map(ReplayFrom::Time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog::webhooks::DeliveryResult, core::page::Language};

    #[test]
    fn every_column_and_result_has_its_words() {
        let fields = COLUMNS.iter().chain(LOG).chain(&FIELDS);
        let fields = fields.chain(&["seq", "retries", "failures", "reason", "older_secret", "replay_from"]);
        let results = DeliveryResult::ALL.map(|result| format!("word_{}", result.tag()));
        let states = STATES.map(|state| format!("word_{state}"));
        for name in fields.map(|name| format!("field_{name}")).chain(results).chain(states) {
            for language in [Language::En, Language::De] {
                assert_ne!(Words::new(language).say(&name), name);
            }
        }
    }

    #[test]
    fn a_replay_begins_at_a_number_or_a_time() {
        assert_eq!(replay_from("17"), Some(ReplayFrom::Seq(17)));
        assert_eq!(replay_from("1970-01-02"), Some(ReplayFrom::Time(Millis(86_400_000))));
        for wrong in ["", "0", "-1", "soon"] {
            assert_eq!(replay_from(wrong), None, "{wrong}");
        }
    }
}
