//! The text of a question and its values. All text comes from this folder; values travel as parameters (`{link:String}`) that
//! the server binds, and are never pasted.

use clickhouse::query::Query;

use super::super::{Dimension, Filter};
use crate::core::{
    limits::EVENT_TIME_MAX_MS,
    time::{HOUR_MS, Millis, SECOND_MS},
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

/// Binds the values of [`codes`] and [`hours`].
pub(super) fn bind(mut query: Query, filter: &Filter) -> Query {
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

/// Where a question reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// A rollup by hour: the view `reach`.
    Hours,
    /// The rows: `events`.
    Rows,
}

/// What a row is for: the expressions to group by, and the key that they make.
#[derive(Debug)]
pub(super) struct Grouping {
    /// `[toString(link), …]`, an `Array(String)`.
    pub(super) key: String,
    /// ` GROUP BY …`, or nothing.
    pub(super) by: String,
}

pub(super) fn grouping(by: &[Dimension], table: Table) -> Grouping {
    let hour = if table == Table::Rows { "toStartOfHour(time)" } else { "hour" };
    let mut keys = Vec::new();
    let mut groups = Vec::new();
    for dimension in by {
        let expression = match dimension {
            Dimension::Hour => hour.to_owned(),
            Dimension::Day => format!("toStartOfDay({hour})"),
            other => other.label().to_owned(),
        };
        keys.push(if dimension.is_time() {
            // As `Millis` writes them.
            format!("formatDateTime({expression}, '%Y-%m-%dT%H:%i:%S.000Z', 'UTC')")
        } else {
            format!("toString({expression})")
        });
        groups.push(expression);
    }
    Grouping {
        key: format!("CAST([{}], 'Array(String)')", keys.join(", ")),
        by: if groups.is_empty() { String::new() } else { format!(" GROUP BY {}", groups.join(", ")) },
    }
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
    fn the_same_dimensions_come_from_sums_and_from_rows() {
        let by = [Dimension::Day, Dimension::Link];
        assert_eq!(grouping(&by, Table::Hours).by, " GROUP BY toStartOfDay(hour), link");
        assert_eq!(grouping(&by, Table::Rows).by, " GROUP BY toStartOfDay(toStartOfHour(time)), link");
        assert_eq!(grouping(&[], Table::Rows).key, "CAST([], 'Array(String)')");
    }
}
