//! Where the sums for a question stand: the coarsest that answer it for the days that are closed, and those of hours around them.
//!
//! Stretches and hours beyond the range's ends are taken away where that is less to look at: their numbers are negative. Where the last click
//! is asked for, which cannot be taken away, everything is added.
//!
//! Every part of a source has the same columns: a dimension each (`d0`, `d1`, …), then views, clicks, shares, what is missing, what does
//! not count, and the time of the last click that counts (0: there is none). Texts that name a program, link, partner or ad are bound
//! once, as `?1` and so on, for all parts.

use super::super::{Dimension, Filter};
use crate::core::{
    stretch::{Piece, cover},
    time::{DAY_MS, HOUR_MS},
};

/// Stretches that are named one by one, so that the index finds a partner in each of them.
const NAMED_MAX: usize = 1_000;

/// What a question asks of sums.
pub(super) struct Asked<'a> {
    pub(super) filter: &'a Filter,
    pub(super) by: &'a [Dimension],
    /// All classes, as different dimensions or in different columns; else what does not count is left out.
    pub(super) all_classes: bool,
    /// Also the last click.
    pub(super) last_click: bool,
}

impl Asked<'_> {
    fn asks(&self, wanted: &[Dimension]) -> bool {
        wanted.iter().any(|dimension| self.by.contains(dimension))
    }

    /// What is missing has no dimension but time.
    fn asks_missing(&self) -> bool {
        self.filter.is_time_only() && self.by.iter().all(|dimension| dimension.is_time())
    }

    /// The names of the filter, in the order of their numbers.
    pub(super) fn names(&self) -> Vec<(&'static str, String)> {
        let Filter { program, link, partner, ad, .. } = self.filter;
        let all = [("program", program), ("link", link), ("partner", partner), ("ad", ad)];
        all.into_iter().filter_map(|(column, code)| Some((column, code.as_ref()?.as_str().to_owned()))).collect()
    }

    fn conditions(&self) -> String {
        let names = self.names();
        names.iter().enumerate().map(|(at, (column, _))| format!(" AND {column} = ?{}", at + 1)).collect()
    }

    /// What is looked at of rows that have kind and class.
    fn kinds(&self) -> String {
        let class = if self.all_classes { "" } else { " AND class IN (1, 2)" };
        let missing = if self.asks_missing() { " OR kind = 15" } else { "" };
        format!("(kind IN (1, 2, 3){class}{missing})")
    }

    /// The dimensions as columns; `day` is the first millisecond of a row's day.
    fn dimensions(&self, hour: &str, day: &str) -> String {
        let column = |(at, dimension): (usize, &Dimension)| match dimension {
            Dimension::Hour => format!("{hour} AS d{at}, "),
            Dimension::Day => format!("{day} AS d{at}, "),
            other => format!("{} AS d{at}, ", other.label()),
        };
        self.by.iter().enumerate().map(column).collect()
    }

    /// The dimensions as columns over `events`, equal to those over sums.
    pub(super) fn of_rows(&self) -> String {
        let column = |(at, dimension): (usize, &Dimension)| match dimension {
            Dimension::Hour => format!("time_ms - time_ms % {HOUR_MS} AS d{at}, "),
            Dimension::Day => format!("time_ms - time_ms % {DAY_MS} AS d{at}, "),
            Dimension::Class => format!("class AS d{at}, "),
            text => format!("ifnull({}, '') AS d{at}, ", text.label()),
        };
        self.by.iter().enumerate().map(column).collect()
    }

    /// The rows of `events` in which visitors are counted.
    pub(super) fn rows(&self) -> String {
        let class = if self.all_classes { "" } else { " AND class IN (1, 2)" };
        let (from, to) = self.hours_range();
        let from = from.map(|from| format!(" AND time_ms >= {from}")).unwrap_or_default();
        let to = to.map(|to| format!(" AND time_ms < {to}")).unwrap_or_default();
        format!("kind IN (1, 2){class}{from}{to}{}", self.conditions())
    }

    /// The filter's range in whole hours.
    fn hours_range(&self) -> (Option<i64>, Option<i64>) {
        let Filter { since, until, .. } = self.filter;
        (since.map(|since| since.hour().0), until.map(|until| until.plus(HOUR_MS - 1).hour().0))
    }

    /// Sums of hours, from a table or view that has them by everything.
    fn hours(&self, table: &str, (from, to): (Option<i64>, Option<i64>), sign: i64) -> String {
        let from = from.map(|from| format!(" AND hour >= {from}")).unwrap_or_default();
        let to = to.map(|to| format!(" AND hour < {to}")).unwrap_or_default();
        // By class, each class counts for itself.
        let counts = if self.asks(&[Dimension::Class]) { "1" } else { "class IN (1, 2)" };
        let count = if sign < 0 { "-count" } else { "count" };
        format!(
            "SELECT {}iif(kind = 2 AND {counts}, {count}, 0) AS views, iif(kind = 1 AND {counts}, {count}, 0) AS clicks, \
             iif(kind = 3 AND {counts}, {count}, 0) AS shares, iif(kind = 15, {count}, 0) AS missing, \
             iif({counts}, 0, {count}) AS not_counted, iif(kind = 1 AND {counts}, last_ms, 0) AS last_click_ms \
             FROM {table} WHERE {}{from}{to}{}",
            self.dimensions("hour", &format!("hour - hour % {DAY_MS}")),
            self.kinds(),
            self.conditions()
        )
    }

    /// Stretches of days by who is credited.
    fn who(&self, piece: Piece) -> String {
        let rows = if self.all_classes { "" } else { " AND views + clicks + shares > 0" };
        let minus = minus(piece);
        format!(
            "SELECT {}{minus}views AS views, {minus}clicks AS clicks, {minus}shares AS shares, 0 AS missing, \
             {minus}not_counted AS not_counted, last_click_ms FROM closed_who WHERE {}{rows}{}",
            self.dimensions("0", &format!("at_day * {DAY_MS}")),
            stretches(piece, self.filter.partner.is_some()),
            self.conditions()
        )
    }

    /// Stretches of days by class, channel and country.
    fn places(&self, piece: Piece) -> String {
        let minus = minus(piece);
        format!(
            "SELECT {}iif(kind = 2, {minus}count, 0) AS views, iif(kind = 1, {minus}count, 0) AS clicks, \
             iif(kind = 3, {minus}count, 0) AS shares, iif(kind = 15, {minus}count, 0) AS missing, 0 AS not_counted, \
             0 AS last_click_ms FROM closed_places WHERE {} AND {}{}",
            self.dimensions("0", &format!("at_day * {DAY_MS}")),
            stretches(piece, false),
            self.kinds(),
            self.conditions()
        )
    }

    /// Days by themselves.
    fn days(&self, (from, to): (Option<i64>, Option<i64>)) -> String {
        let from = from.map(|day| format!(" AND at_day >= {day}")).unwrap_or_default();
        let to = to.map(|day| format!(" AND at_day < {day}")).unwrap_or_default();
        let missing = if self.asks_missing() { "missing" } else { "0" };
        format!(
            "SELECT {}views, clicks, shares, {missing} AS missing, 0 AS not_counted, 0 AS last_click_ms \
             FROM closed_days WHERE 1{from}{to}{}",
            self.dimensions("0", &format!("at_day * {DAY_MS}")),
            self.conditions()
        )
    }

    /// The parts, where days before `until` are closed.
    pub(super) fn source(&self, until: i64) -> String {
        use Dimension::{Ad, Channel, Class, Country, Day, Hour, Link, Partner};
        let filter = self.filter;
        let named = filter.link.is_some() || filter.partner.is_some() || filter.ad.is_some();
        let who = named || self.asks(&[Link, Partner, Ad]);
        let by_day = self.asks(&[Day]);
        let (from, to) = self.hours_range();
        // By day, an hour that is taken away would have to be of the same day.
        let signed = !self.last_click && !by_day;
        let first = from.map(|from| {
            let rounded = if signed && from + DAY_MS / 2 < until * DAY_MS { DAY_MS / 2 } else { DAY_MS - 1 };
            (from + rounded).div_euclid(DAY_MS)
        });
        let last = to.map_or(until, |to| to.div_euclid(DAY_MS).min(until));
        let places = self.asks(&[Channel, Country, Class]);
        if self.asks(&[Hour]) || (who && places) || first.unwrap_or(0) >= last {
            return self.hours("reach", (from, to), 1);
        }
        // Nothing stands behind the last closed day: an open end needs no shorter stretches.
        let range = (first, (last < until).then_some(last));
        let mut parts: Vec<String> = match (who, by_day) {
            (true, true) => cover(&[1], range, false).into_iter().map(|piece| self.who(piece)).collect(),
            (true, false) if range == (None, None) => {
                vec![self.who(Piece { length: 0, from: None, to: None, sign: 1 })]
            }
            (true, false) => cover(&[28, 7, 1], range, signed).into_iter().map(|piece| self.who(piece)).collect(),
            (false, true) if places => cover(&[1], range, false).into_iter().map(|piece| self.places(piece)).collect(),
            (false, true) => vec![self.days(range)],
            (false, false) => cover(&[364, 28, 1], range, signed).into_iter().map(|piece| self.places(piece)).collect(),
        };
        if let Some((from, first)) = from.zip(first.map(|first| first * DAY_MS))
            && from != first
        {
            let sign = if from < first { 1 } else { -1 };
            parts.push(self.hours("hourly", (Some(from.min(first)), Some(from.max(first))), sign));
        }
        parts.push(self.hours("hourly", (Some(last * DAY_MS), to), 1));
        parts.push(self.hours("young_reach", (from, to), 1));
        parts.join(" UNION ALL ")
    }
}

const fn minus(piece: Piece) -> &'static str {
    if piece.sign < 0 { "-" } else { "" }
}

/// The stretches of a piece; where a partner is named, each by itself as far as they are known.
fn stretches(piece: Piece, named: bool) -> String {
    if piece.length == 0 {
        return "days = 0 AND at_day = 0".to_owned();
    }
    let days = format!("days = {}", piece.length);
    if let Some(firsts) = piece.firsts(NAMED_MAX).filter(|_| named) {
        let firsts: Vec<String> = firsts.iter().map(ToString::to_string).collect();
        return format!("{days} AND at_day IN ({})", firsts.join(", "));
    }
    let from = piece.from.map(|day| format!(" AND at_day >= {day}")).unwrap_or_default();
    let to = piece.to.map(|day| format!(" AND at_day < {day}")).unwrap_or_default();
    format!("{days}{from}{to}")
}
