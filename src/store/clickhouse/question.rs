//! The text of a question and its values. All text comes from this folder; values travel as parameters (`{link:String}`) that
//! the server binds, and are never pasted.

use clickhouse::query::Query;

use super::super::{Dimension, Filter};
use crate::core::{
    limits::EVENT_TIME_MAX_MS,
    time::{DAY_MS, HOUR_MS, Millis, SECOND_MS},
};

/// Events that count.
pub(super) const COUNTED: &str = "class IN ('human', 'repeat')";

/// A time as whole seconds that a ClickHouse `DateTime` can hold (1970 to 2106).
fn seconds(time: Millis) -> u32 {
    u32::try_from((time.0 / SECOND_MS).max(0)).unwrap_or(u32::MAX)
}

/// Conditions of a filter, each beginning with ` AND `; [`bind`] gives the values.
pub(super) fn codes(filter: &Filter) -> String {
    let named = [
        (&filter.program, " AND program = {program:String}"),
        (&filter.link, " AND link = {link:String}"),
        (&filter.partner, " AND partner = {partner:String}"),
        (&filter.ad, " AND ad = {ad:String}"),
    ];
    named.iter().filter(|(code, _)| code.is_some()).map(|(_, text)| *text).collect()
}

/// Limits a column of times to the filter's range, in whole hours.
pub(super) fn hours(column: &str, filter: &Filter) -> String {
    let mut text = String::new();
    if filter.since.is_some() {
        text += &format!(" AND {column} >= toDateTime({{since:UInt32}}, 'UTC')");
    }
    if filter.until.is_some() {
        text += &format!(" AND {column} < toDateTime({{until:UInt32}}, 'UTC')");
    }
    text
}

/// Binds the values of [`codes`], [`hours`] and of each span.
pub(super) fn bind(mut query: Query, filter: &Filter, spans: &[Span]) -> Query {
    for (at, span) in spans.iter().enumerate() {
        query = span.bind(at, query);
    }
    if let Some(since) = filter.since {
        query = query.param("since", seconds(since.hour()));
    }
    if let Some(until) = filter.until {
        query = query.param("until", seconds(until.plus(HOUR_MS - 1).hour()));
    }
    let named =
        [("program", &filter.program), ("link", &filter.link), ("partner", &filter.partner), ("ad", &filter.ad)];
    for (name, code) in named {
        if let Some(code) = code {
            query = query.param(name, code.as_str());
        }
    }
    query
}

/// A time as milliseconds that [`fromUnixTimestamp64Milli`] takes for a column of events.
///
/// [`fromUnixTimestamp64Milli`]: https://clickhouse.com/docs/sql-reference/functions/type-conversion-functions
pub(super) fn milliseconds(time: Millis) -> i64 {
    time.0.clamp(0, EVENT_TIME_MAX_MS)
}

// === Dimensions ===

/// The dimensions as columns `d0`, `d1`, …, each followed by a comma; `hour` is how the table says the hour.
pub(super) fn columns(by: &[Dimension], hour: &str) -> String {
    let column = |(at, dimension): (usize, &Dimension)| match dimension {
        Dimension::Hour => format!("{hour} AS d{at}, "),
        Dimension::Day => format!("toStartOfDay({hour}) AS d{at}, "),
        other => format!("{} AS d{at}, ", other.label()),
    };
    by.iter().enumerate().map(column).collect()
}

/// `d0, d1, ` and so on.
pub(super) fn names(by: &[Dimension]) -> String {
    (0..by.len()).map(|at| format!("d{at}, ")).collect()
}

/// ` GROUP BY d0, d1`; nothing when there are none.
pub(super) fn group(by: &[Dimension]) -> String {
    if by.is_empty() { String::new() } else { format!(" GROUP BY {}", names(by).trim_end_matches(", ")) }
}

/// The row's key, an `Array(String)`: times as [`Millis`] writes them.
pub(super) fn key(by: &[Dimension]) -> String {
    let text = |(at, dimension): (usize, &Dimension)| match dimension.is_time() {
        true => format!("formatDateTime(d{at}, '%Y-%m-%dT%H:%i:%S.000Z', 'UTC')"),
        false => format!("toString(d{at})"),
    };
    let texts: Vec<String> = by.iter().enumerate().map(text).collect();
    format!("CAST([{}], 'Array(String)')", texts.join(", "))
}

// === Spans of time ===

/// A stretch of hours, or of whole days: those are in coarser sums, which only a condition on days can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    days: bool,
    from: Option<Millis>,
    to: Option<Millis>,
}

/// Cuts a filter's range, in whole hours, into whole days and the hours before and behind them.
pub(super) fn spans(filter: &Filter, by: &[Dimension]) -> Vec<Span> {
    let from = filter.since.map(Millis::hour);
    let to = filter.until.map(|until| until.plus(HOUR_MS - 1).hour());
    let first = from.map(|from| from.plus(DAY_MS - 1).day());
    let last = to.map(Millis::day);
    if by.contains(&Dimension::Hour) || first.zip(last).is_some_and(|(first, last)| first >= last) {
        return vec![Span { days: false, from, to }];
    }
    let mut spans = vec![Span { days: true, from: first, to: last }];
    if from != first {
        spans.push(Span { days: false, from, to: first });
    }
    if to != last {
        spans.push(Span { days: false, from: last, to });
    }
    spans
}

impl Span {
    /// Conditions, each beginning with ` AND `; [`Span::bind`] gives the values.
    pub(super) fn condition(self, at: usize) -> String {
        let column = if self.days { "toStartOfDay(hour)" } else { "hour" };
        let mut text = String::new();
        if self.from.is_some() {
            text += &format!(" AND {column} >= toDateTime({{from{at}:UInt32}}, 'UTC')");
        }
        if self.to.is_some() {
            text += &format!(" AND {column} < toDateTime({{to{at}:UInt32}}, 'UTC')");
        }
        text
    }

    pub(super) fn bind(self, at: usize, mut query: Query) -> Query {
        if let Some(from) = self.from {
            query = query.param(&format!("from{at}"), seconds(from));
        }
        if let Some(to) = self.to {
            query = query.param(&format!("to{at}"), seconds(to));
        }
        query
    }
}

/// Sums of `reach_hourly` by these dimensions and by what `also` makes of kind and class: `n` events, `l` the last one's time.
pub(super) fn sums(by: &[Dimension], also: &str, condition: &str, spans: &[Span]) -> String {
    let dimensions = columns(by, "hour");
    let of = |(at, span): (usize, &Span)| {
        format!(
            "SELECT {dimensions}{also}, sum(r.count) AS n, max(r.last) AS l FROM reach_hourly AS r \
             WHERE source = '' AND {condition}{} GROUP BY {}{also}",
            span.condition(at),
            names(by),
        )
    };
    spans.iter().enumerate().map(of).collect::<Vec<_>>().join(" UNION ALL ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_range_are_the_range_s_ends() {
        assert_eq!([Millis(i64::MIN), Millis(-1), Millis(1_999)].map(seconds), [0, 0, 1]);
        assert_eq!(seconds(Millis(i64::MAX)), u32::MAX);
        assert_eq!(milliseconds(Millis(i64::MAX)), EVENT_TIME_MAX_MS);
    }

    #[test]
    fn a_range_is_whole_days_and_the_hours_around_them() {
        let hour = |hours: i64| Some(Millis(hours * HOUR_MS));
        let cut = |since: Option<Millis>, until: Option<Millis>, by: &[Dimension]| {
            let filter = Filter { since, until, ..Filter::default() };
            let hours = |time: Option<Millis>| time.map(|time| time.0 / HOUR_MS);
            spans(&filter, by).iter().map(|span| (span.days, hours(span.from), hours(span.to))).collect::<Vec<_>>()
        };
        let (days, hours) = (true, false);
        assert_eq!(cut(None, None, &[]), [(days, None, None)]);
        assert_eq!(cut(hour(24), hour(72), &[]), [(days, Some(24), Some(72))]);
        assert_eq!(
            cut(Some(Millis(5 * HOUR_MS + 7)), Some(Millis(80 * HOUR_MS + 7)), &[Dimension::Day]),
            [(days, Some(24), Some(72)), (hours, Some(5), Some(24)), (hours, Some(72), Some(81))]
        );
        assert_eq!(cut(hour(5), None, &[]), [(days, Some(24), None), (hours, Some(5), Some(24))]);
        assert_eq!(cut(hour(5), hour(30), &[]), [(hours, Some(5), Some(30))], "no whole day");
        assert_eq!(cut(hour(24), hour(72), &[Dimension::Hour]), [(hours, Some(24), Some(72))]);
        assert_eq!(cut(hour(30), hour(5), &[]), [(hours, Some(30), Some(5))], "an empty range stays empty");
    }
}
