//! A naive event store in memory, and random history: what the real stores are compared with.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Mutex,
};

use proptest::prelude::*;

use super::{
    Arrived, BoxFuture, CreditedClick, Dimension, EventCursor, Filter, LinkRow, LinksQuery, Position, ReachQuery,
    ReachRow, ReportError, Reports, TouchQuery, counts,
};
use crate::core::{
    code::Code,
    event::{Event, Kind, Reason},
    id::{EventId, VisitorId},
    time::{HOUR_MS, Millis},
};

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) events: Mutex<Vec<Event>>,
}

impl Model {
    pub(crate) fn new(events: Vec<Event>) -> Model {
        Model { events: Mutex::new(events) }
    }

    fn of(&self, filter: &Filter, whole_hours: bool) -> Vec<Event> {
        let fits = |wanted: &Option<Code>, code: &str| wanted.as_ref().is_none_or(|wanted| wanted.as_str() == code);
        let since = filter.since.map(|since| if whole_hours { since.hour() } else { since });
        let until = filter.until.map(|until| if whole_hours { until.plus(HOUR_MS - 1).hour() } else { until });
        let wanted = |event: &&Event| {
            since.is_none_or(|since| event.time_ms >= since.0)
                && until.is_none_or(|until| event.time_ms < until.0)
                && fits(&filter.program, &event.program)
                && fits(&filter.link, &event.link)
                && fits(&filter.partner, &event.partner)
                && fits(&filter.ad, &event.ad)
        };
        self.events.lock().unwrap().iter().filter(wanted).cloned().collect()
    }
}

fn value(event: &Event, dimension: Dimension) -> String {
    match dimension {
        Dimension::Hour => Millis(event.time_ms).hour().to_string(),
        Dimension::Day => Millis(event.time_ms).day().to_string(),
        Dimension::Program => event.program.clone(),
        Dimension::Link => event.link.clone(),
        Dimension::Partner => event.partner.clone(),
        Dimension::Ad => event.ad.clone(),
        Dimension::Country => event.country.clone(),
        Dimension::Channel => event.channel.clone(),
        Dimension::Class => event.class().label().to_owned(),
    }
}

fn raise(event: &Event, views: &mut u64, clicks: &mut u64, shares: &mut u64) {
    match event.kind() {
        Kind::View => *views += event.weight(),
        Kind::Click => *clicks += event.weight(),
        Kind::Share => *shares += event.weight(),
        _ => {}
    }
}

fn sees_visitor(event: &Event) -> bool {
    !event.visitor.is_empty() && event.kind() != Kind::Share
}

impl Reports for Model {
    fn reach<'a>(&'a self, query: &'a ReachQuery) -> BoxFuture<'a, Result<Vec<ReachRow>, ReportError>> {
        let by = &query.by;
        let by_class = by.contains(&Dimension::Class);
        let times_only = by.iter().all(|dimension| matches!(dimension, Dimension::Hour | Dimension::Day));
        let no_codes =
            query.filter == Filter { since: query.filter.since, until: query.filter.until, ..Filter::default() };
        let mut rows = BTreeMap::<Vec<String>, (ReachRow, HashSet<Vec<u8>>)>::new();
        if by.is_empty() {
            rows.entry(Vec::new()).or_default();
        }
        for event in self.of(&query.filter, true) {
            let key = || by.iter().map(|dimension| value(&event, *dimension)).collect::<Vec<_>>();
            let reach = matches!(event.kind(), Kind::Click | Kind::View | Kind::Share);
            if reach && (by_class || counts(event.kind(), event.class())) {
                let (row, visitors) = rows.entry(key()).or_default();
                raise(&event, &mut row.views, &mut row.clicks, &mut row.shares);
                if sees_visitor(&event) {
                    visitors.insert(event.visitor.clone());
                }
            }
            if event.kind() == Kind::Missing && times_only && no_codes {
                rows.entry(key()).or_default().0.missing += event.weight();
            }
        }
        let mut rows: Vec<ReachRow> = rows
            .into_iter()
            .map(|(key, (row, visitors))| ReachRow {
                key,
                unique_visitors: (!query.without_visitors).then_some(visitors.len() as u64),
                ..row
            })
            .collect();
        rows.sort_by_key(|row| {
            let times: Vec<String> =
                (0..by.len()).filter(|at| by[*at].is_time()).map(|at| row.key[at].clone()).collect();
            (times, std::cmp::Reverse(row.clicks), row.key.clone())
        });
        Box::pin(async { Ok(rows) })
    }

    fn links<'a>(&'a self, query: &'a LinksQuery) -> BoxFuture<'a, Result<Vec<LinkRow>, ReportError>> {
        let mut rows = BTreeMap::<[String; 3], (LinkRow, HashSet<Vec<u8>>)>::new();
        for event in self.of(&query.filter, true) {
            if !matches!(event.kind(), Kind::Click | Kind::View | Kind::Share) {
                continue;
            }
            let (row, visitors) =
                rows.entry([event.link.clone(), event.partner.clone(), event.ad.clone()]).or_default();
            if !event.class().counts() {
                row.not_counted += event.weight();
                continue;
            }
            raise(&event, &mut row.views, &mut row.clicks, &mut row.shares);
            if sees_visitor(&event) {
                visitors.insert(event.visitor.clone());
            }
            if event.kind() == Kind::Click {
                row.last_click = row.last_click.max(Some(Millis(event.time_ms)));
            }
        }
        let mut rows: Vec<LinkRow> = rows
            .into_iter()
            .map(|([link, partner, ad], (row, visitors))| LinkRow {
                link,
                partner,
                ad,
                unique_visitors: (!query.without_visitors).then_some(visitors.len() as u64),
                ..row
            })
            .collect();
        rows.sort_by_key(|row| (std::cmp::Reverse(row.clicks), row.link.clone(), row.partner.clone(), row.ad.clone()));
        Box::pin(async { Ok(rows) })
    }

    fn events<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventCursor>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Event>, ReportError>> {
        let mut events = self.of(filter, false);
        events.sort_by_key(|event| (event.time_ms, event.id.clone()));
        events.retain(|event| {
            after.is_none_or(|EventCursor { time, id }| (event.time_ms, event.id.as_slice()) > (time.0, &id.0))
        });
        events.truncate(limit as usize);
        Box::pin(async { Ok(events) })
    }

    fn link_clicks<'a>(&'a self, links: &'a [Code]) -> BoxFuture<'a, Result<Vec<(Code, u64)>, ReportError>> {
        let events = self.of(&Filter::default(), false);
        let clicks = |link: &Code| {
            events
                .iter()
                .filter(|e| e.link == link.as_str() && e.kind() == Kind::Click && e.class().counts())
                .filter(|e| !Reason::OVER.contains(&e.reason.as_str()))
                .map(Event::weight)
                .sum()
        };
        let all = links.iter().map(|link| (link.clone(), clicks(link))).collect();
        Box::pin(async { Ok(all) })
    }

    fn touches<'a>(&'a self, query: &'a TouchQuery) -> BoxFuture<'a, Result<Vec<CreditedClick>, ReportError>> {
        let mut touches: Vec<CreditedClick> = self.events.lock().unwrap().iter().filter_map(touch).collect();
        touches.retain(|touch| {
            query.visitors.contains(&touch.visitor)
                && query.since.is_none_or(|since| touch.time >= since)
                && query.until.is_none_or(|until| touch.time < until)
                && query.after.is_none_or(|EventCursor { time, id }| (touch.time, touch.id) > (time, id))
        });
        touches.sort();
        touches.truncate(query.limit as usize);
        Box::pin(async { Ok(touches) })
    }

    fn arrived<'a>(&'a self, behind: &'a [Position]) -> BoxFuture<'a, Result<Arrived, ReportError>> {
        let events = self.events.lock().unwrap();
        let seen = behind.first().map_or(0, |position| position.next as usize);
        let positions = if seen < events.len() {
            vec![Position { source: String::new(), partition: 0, next: events.len() as u64 }]
        } else {
            Vec::new()
        };
        let clicks = events[seen.min(events.len())..].iter().filter_map(touch).collect();
        Box::pin(async { Ok(Arrived { clicks, positions, more: false }) })
    }
}

/// An event as a touch, if it is one.
pub(crate) fn touch(event: &Event) -> Option<CreditedClick> {
    if event.kind() != Kind::Click || !event.class().counts() {
        return None;
    }
    let code = |text: &str| (!text.is_empty()).then(|| text.parse::<Code>().unwrap());
    Some(CreditedClick {
        time: Millis(event.time_ms),
        id: EventId(event.id.clone().try_into().unwrap()),
        visitor: VisitorId(event.visitor.clone().try_into().ok()?),
        program: code(&event.program),
        link: code(&event.link),
        partner: code(&event.partner)?,
        ad: code(&event.ad),
    })
}

/// 2026-03-01T00:00:00Z
pub(crate) const START: Millis = Millis(1_772_323_200_000);

/// An event of the first two days from [`START`]: few values, so that they meet; `number` makes its id unique.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    let word = |words: &'static [&'static str]| proptest::sample::select(words).prop_map(str::to_owned);
    let codes = (
        word(&["", "spring", "autumn"]),
        word(&["", "haircare", "skincare", "suncare"]),
        word(&["", "abc123", "xyz"]),
        word(&["", "website2", "x.com"]),
        word(&["", "whatsapp", "email"]),
        word(&["", "DE", "FR"]),
    );
    let kinds: Vec<i32> = [1, 1, 1, 2, 3, 4, 15].into();
    let numbers = (0..48 * HOUR_MS, proptest::sample::select(kinds), 0..9i32, 0..4u64, 0..6u8, any::<[u8; 8]>());
    (codes, numbers).prop_map(|((program, link, partner, ad, channel, country), (time, kind, class, count, v, id))| {
        let time = START.plus(time);
        let mut random = [0; 10];
        random[..8].copy_from_slice(&id);
        Event {
            id: EventId::new(time, random).0.into(),
            kind,
            class,
            time_ms: time.0,
            program,
            link,
            partner,
            ad,
            channel,
            visitor: if v == 0 { Vec::new() } else { vec![v; 16] },
            country,
            count,
            ..Event::default()
        }
    })
}

pub(crate) fn history(most: usize) -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(event(), 0..most)
}

/// A question of any shape.
pub(crate) fn question() -> impl Strategy<Value = ReachQuery> {
    let by = proptest::sample::subsequence(Dimension::ALL.to_vec(), 0..=3).prop_shuffle();
    let code = |code: &'static str| proptest::option::weighted(0.2, Just(code.parse::<Code>().unwrap()));
    let time = || proptest::option::of((0..48 * HOUR_MS).prop_map(|ms| START.plus(ms)));
    let filter = (time(), time(), code("spring"), code("haircare"), code("abc123"), code("website2"))
        .prop_map(|(since, until, program, link, partner, ad)| Filter { since, until, program, link, partner, ad });
    (filter, by, any::<bool>()).prop_map(|(filter, by, without_visitors)| ReachQuery { filter, by, without_visitors })
}

/// A question about touches of any shape, and the size of its pages.
pub(crate) fn touch_question() -> impl Strategy<Value = TouchQuery> {
    let visitors = proptest::sample::subsequence((0..7_u8).collect::<Vec<u8>>(), 0..=4);
    let time = || proptest::option::weighted(0.3, (0..48 * HOUR_MS).prop_map(|ms| START.plus(ms)));
    (visitors, time(), time(), 1..20_u32).prop_map(|(visitors, since, until, limit)| TouchQuery {
        visitors: visitors.into_iter().map(|visitor| VisitorId([visitor; 16])).collect(),
        since,
        until,
        after: None,
        limit,
    })
}

/// All pages of the answer.
pub(crate) async fn all_touches(reports: &dyn Reports, query: &TouchQuery) -> Vec<CreditedClick> {
    let (mut all, mut query) = (Vec::new(), query.clone());
    loop {
        let page = reports.touches(&query).await.unwrap();
        assert!(page.len() <= query.limit as usize);
        let Some(last) = page.last() else { return all };
        query.after = Some(EventCursor { time: last.time, id: last.id });
        all.extend(page);
    }
}

/// Follows what arrives to its end; gives each click once, in their order, and moves the positions.
pub(crate) async fn all_arrived(reports: &dyn Reports, positions: &mut Vec<Position>) -> Vec<CreditedClick> {
    let mut all = std::collections::BTreeSet::new();
    loop {
        let arrived = reports.arrived(positions).await.unwrap();
        all.extend(arrived.clicks);
        for moved in arrived.positions {
            positions.retain(|known| (&known.source, known.partition) != (&moved.source, moved.partition));
            positions.push(moved);
        }
        if !arrived.more {
            return all.into_iter().collect();
        }
    }
}
