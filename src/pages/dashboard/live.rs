//! The newest events. The event store gives events forwards in time, so the look goes back by growing lengths until there is enough to show;
//! it is short in a busy house and cheap in a quiet one.

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    super::{fault::Fault, visit::Visit, words::Words},
    DashboardState,
    form::Asked,
    frame::clock,
};
use crate::{
    core::{
        code::Code,
        event::{Class, Event},
        time::{DAY_MS, HOUR_MS, Millis, SECOND_MS},
    },
    store::{Filter, Reports},
};

/// Events that are shown.
const SHOWN: usize = 12;
/// Events of one look.
const LOOK_ROWS: u32 = 500;
/// How far back one look after the other goes.
const LOOKS_MS: [i64; 5] = [2 * SECOND_MS, 30 * SECOND_MS, 10 * 60 * SECOND_MS, 6 * HOUR_MS, 7 * DAY_MS];

struct Row {
    at: String,
    what: String,
    link: String,
    partner: String,
    ad: String,
    from: String,
    class: String,
    counts: bool,
}

#[derive(Template)]
#[template(path = "dashboard/live.html")]
pub(super) struct Live {
    words: Words<'static>,
    rows: Vec<Row>,
    is_away: bool,
}

/// The newest events, the newest first.
async fn newest(
    reports: &dyn Reports,
    program: Option<Code>,
    now: Millis,
) -> Result<Vec<Event>, crate::store::ReportError> {
    let mut found: Vec<Event> = Vec::new();
    for back in LOOKS_MS {
        let filter = Filter { since: Some(now.plus(-back)), program: program.clone(), ..Filter::default() };
        let looked = reports.events(&filter, None, LOOK_ROWS).await?;
        // There are more than one look takes: what is newest is not among them, the look before knows better.
        if looked.len() >= LOOK_ROWS as usize && !found.is_empty() {
            break;
        }
        found = looked;
        if found.len() >= SHOWN {
            break;
        }
    }
    found.reverse();
    found.truncate(SHOWN);
    Ok(found)
}

fn row(words: Words<'_>, event: &Event) -> Row {
    let place = [&event.city, &event.country].map(String::as_str).into_iter().filter(|part| !part.is_empty());
    let from = if event.channel.is_empty() { place.collect::<Vec<_>>().join(", ") } else { event.channel.clone() };
    Row {
        at: clock(Millis(event.time_ms), "%H:%M:%S"),
        what: words.say(&format!("dash_event_{}", event.kind().label())),
        link: event.link.clone(),
        partner: event.partner.clone(),
        ad: event.ad.clone(),
        from,
        // What the control plane decided is nobody's request.
        class: match event.class() {
            Class::Unspecified => String::new(),
            class => words.say(&format!("dash_class_{}", class.label())),
        },
        counts: event.class() == Class::Unspecified || event.class().counts(),
    }
}

impl Live {
    pub(super) async fn look(state: &DashboardState, words: Words<'static>, program: Option<Code>) -> Live {
        let events = newest(&*state.pages.reports, program, state.pages.clock.now()).await;
        if let Err(error) = &events {
            tracing::warn!(%error, "the dashboard cannot show live clicks");
        }
        let is_away = events.is_err();
        Live { words, rows: events.unwrap_or_default().iter().map(|event| row(words, event)).collect(), is_away }
    }
}

/// `GET /dashboard/live`: the list alone, for the script that refreshes it.
pub(super) async fn fragment(
    State(state): State<DashboardState>,
    visit: Visit,
    asked: Asked,
) -> Result<Response, Fault> {
    let live = Live::look(&state, Words::new(visit.language), asked.text("program").parse().ok()).await;
    let body = live.render().map_err(|error| Fault::internal(&error))?;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::{event::Kind, page::Language},
        store::model::{Model, START},
    };

    fn events(count: i64, every_ms: i64) -> Vec<Event> {
        let event = |n: i64| Event {
            kind: Kind::Click as i32,
            class: Class::Human as i32,
            time_ms: START.0 - n * every_ms,
            link: format!("l{n}"),
            id: vec![0; 16],
            ..Event::default()
        };
        (1..=count).map(event).collect()
    }

    fn look(events: Vec<Event>) -> Vec<String> {
        let model = Model::new(events);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(newest(&model, None, START)).unwrap();
        found.into_iter().map(|event| event.link).collect()
    }

    #[test]
    fn the_newest_come_first_however_busy_it_is() {
        assert_eq!(look(events(3, HOUR_MS)), ["l1", "l2", "l3"]);
        assert_eq!(look(events(1_000, SECOND_MS))[..2], ["l1", "l2"]);
        // Nothing within the first look's time but one, and far more than a look takes behind it.
        let mut busy = events(1, SECOND_MS);
        busy.extend(
            events(5_000, 1).into_iter().map(|event| Event { time_ms: event.time_ms - 20 * SECOND_MS, ..event }),
        );
        assert_eq!(look(busy), ["l1"]);
        assert!(look(Vec::new()).is_empty());
    }

    #[test]
    fn every_kind_and_class_has_its_words() {
        for language in [Language::En, Language::De] {
            let words = Words::new(language);
            let kinds = Kind::ALL.iter().map(|kind| format!("dash_event_{}", kind.label()));
            for name in kinds.chain(Class::ALL.iter().map(|class| format!("dash_class_{}", class.label()))) {
                assert_ne!(words.say(&name), name);
            }
        }
    }
}
