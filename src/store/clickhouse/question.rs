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

/// ` GROUP BY d0, d1 HAVING …`: without dimensions one row, else rows in which something is.
pub(super) fn group(by: &[Dimension], having: &str) -> String {
    if by.is_empty() { String::new() } else { format!(" GROUP BY {}{having}", names(by).trim_end_matches(", ")) }
}

/// ` ORDER BY …` in the order of [`in_order`](super::super::in_order), which then has less to do.
pub(super) fn order(by: &[Dimension]) -> String {
    let all = || by.iter().enumerate();
    let times = all().filter(|(_, dimension)| dimension.is_time()).map(|(at, _)| format!("d{at}, "));
    let others = all().filter(|(_, dimension)| !dimension.is_time()).map(|(at, _)| format!(", d{at}"));
    format!(" ORDER BY {}clicks DESC{}", times.collect::<String>(), others.collect::<String>())
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
    /// What it holds is taken away from the other spans.
    minus: bool,
    from: Option<Millis>,
    to: Option<Millis>,
}

/// Cuts a filter's range, in whole hours, into whole days and the hours before and behind them. A first day of which most is in the
/// range is taken whole, without its hours before the range: the fewer hours, the fewer sums to read. (At the end this would not do:
/// the last click could be one behind the range. Before it, none is the last one.)
pub(super) fn spans(filter: &Filter, by: &[Dimension]) -> Vec<Span> {
    let from = filter.since.map(Millis::hour);
    let to = filter.until.map(|until| until.plus(HOUR_MS - 1).hour());
    let first = from.map(|from| from.plus(DAY_MS - 1).day());
    let last = to.map(Millis::day);
    if by.contains(&Dimension::Hour) || first.zip(last).is_some_and(|(first, last)| first >= last) {
        return vec![Span { days: false, minus: false, from, to }];
    }
    let mut spans = Vec::with_capacity(3);
    let midnight = from.map(Millis::day);
    let minus = from.zip(midnight).is_some_and(|(from, midnight)| from.0 - midnight.0 < DAY_MS / 2);
    if minus {
        spans.push(Span { days: true, minus: false, from: midnight, to: last });
    } else {
        spans.push(Span { days: true, minus: false, from: first, to: last });
    }
    if from != first {
        let (from, to) = if minus { (midnight, from) } else { (from, first) };
        spans.push(Span { days: false, minus, from, to });
    }
    if to != last {
        spans.push(Span { days: false, minus: false, from: last, to });
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

// === Sums ===

/// Views, clicks and shares that count, as config/clickhouse/006_lines.sql sums them: by other words they would not be found there.
const OF_LINES: [(&str, &str); 3] = [
    ("v", "sumIf(r.count, kind = 'view' AND class IN ('human', 'repeat'))"),
    ("c", "sumIf(r.count, kind = 'click' AND class IN ('human', 'repeat'))"),
    ("s", "sumIf(r.count, kind = 'share' AND class IN ('human', 'repeat'))"),
];
/// The same of what does not count.
const NOT_COUNTED: (&str, &str) =
    ("o", "sumIf(r.count, kind IN ('click', 'view', 'share') AND class NOT IN ('human', 'repeat'))");
/// The last click that counts.
const LAST: &str = "maxIf(r.last, kind = 'click' AND class IN ('human', 'repeat')) AS l";
/// None.
const NEVER: &str = "fromUnixTimestamp64Milli(toInt64(0), 'UTC') AS l";

/// How `reach_hourly` is summed up. Coarser sums, from which the engine answers, are of one form or of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `n` events of each kind: by hour, day, class, country, channel.
    Kinds,
    /// `v`, `c`, `s`: by program, link, partner, ad and day.
    Lines,
    /// The same with `o` and `l`.
    WholeLines,
}

impl Form {
    /// Which one answers a question.
    pub(super) fn of(filter: &Filter, by: &[Dimension]) -> Form {
        let is_line = |dimension: &Dimension| matches!(dimension, Dimension::Link | Dimension::Partner | Dimension::Ad);
        let in_lines =
            |dimension: &Dimension| is_line(dimension) || matches!(dimension, Dimension::Day | Dimension::Program);
        let of_line = filter.link.is_some() || filter.partner.is_some() || filter.ad.is_some();
        if (of_line || by.iter().any(is_line)) && by.iter().all(in_lines) { Form::Lines } else { Form::Kinds }
    }

    /// What is summed up by these dimensions, one row for each of them (and each kind) and span. Sums are signed: see [`total`].
    pub(super) fn sums(self, by: &[Dimension], condition: &str, spans: &[Span]) -> String {
        let keys = format!("{}{}", names(by), if self == Form::Kinds { "kind, " } else { "" });
        let keys = keys.trim_end_matches(", ");
        let group = if keys.is_empty() { String::new() } else { format!(" GROUP BY {keys}") };
        let of = |(at, span): (usize, &Span)| {
            let (dimensions, columns) = (columns(by, "hour"), self.columns(span.minus));
            let when = span.condition(at);
            format!("SELECT {dimensions}{columns} FROM reach_hourly AS r WHERE source = ''{condition}{when}{group}")
        };
        spans.iter().enumerate().map(of).collect::<Vec<_>>().join(" UNION ALL ")
    }

    fn columns(self, minus: bool) -> String {
        let sign = if minus { "-" } else { "" };
        let signed = |(name, sum): &(&str, &str)| format!("{sign}toInt64({sum}) AS {name}");
        let lines = || OF_LINES.iter().map(signed).collect::<Vec<_>>().join(", ");
        match self {
            Form::Kinds => format!("kind, {}", signed(&("n", "sum(r.count)"))),
            Form::Lines => lines(),
            Form::WholeLines => {
                format!("{}, {}, {}", lines(), signed(&NOT_COUNTED), if minus { NEVER } else { LAST })
            }
        }
    }
}

/// A sum over all spans as a number from 0 on. Below it falls only where an insert lands between two spans' reading.
pub(super) fn total(sum: &str) -> String {
    format!("toUInt64(greatest({sum}, 0))")
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
            let kind = |span: &Span| match span {
                Span { days: true, .. } => "days",
                Span { minus: true, .. } => "without hours",
                _ => "hours",
            };
            spans(&filter, by).iter().map(|span| (kind(span), hours(span.from), hours(span.to))).collect::<Vec<_>>()
        };
        assert_eq!(cut(None, None, &[]), [("days", None, None)]);
        assert_eq!(cut(hour(24), hour(72), &[]), [("days", Some(24), Some(72))]);
        assert_eq!(
            cut(Some(Millis(15 * HOUR_MS + 7)), Some(Millis(80 * HOUR_MS + 7)), &[Dimension::Day]),
            [("days", Some(24), Some(72)), ("hours", Some(15), Some(24)), ("hours", Some(72), Some(81))]
        );
        assert_eq!(cut(hour(12), None, &[]), [("days", Some(24), None), ("hours", Some(12), Some(24))]);
        assert_eq!(cut(hour(11), None, &[]), [("days", Some(0), None), ("without hours", Some(0), Some(11))]);
        assert_eq!(cut(hour(5), hour(30), &[]), [("hours", Some(5), Some(30))], "no whole day");
        assert_eq!(cut(hour(24), hour(72), &[Dimension::Hour]), [("hours", Some(24), Some(72))]);
        assert_eq!(cut(hour(30), hour(5), &[]), [("hours", Some(30), Some(5))], "an empty range stays empty");
    }
}
