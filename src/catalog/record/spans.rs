//! Where the sums of a range stand: it is cut into whole stretches of days, which have sums, and what is left of the days at its ends, which
//! is read from the referrals themselves. So it is exact to the millisecond, in every time zone.

use super::sum_tables::STRETCHES_TOGETHER;
use crate::core::{
    stretch::{Piece, cover},
    time::{DAY_MS, Millis},
};

/// Lengths of the stretches by who is credited that a range is cut into.
const BY_WHO: [i64; 3] = [28, 7, 1];
/// Stretches that are named one by one, so that the index finds a partner in each of them.
const NAMED_MAX: usize = 40;

/// People who came in some hours, to be added or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) from: Option<Millis>,
    pub(super) to: Option<Millis>,
    pub(super) sign: i64,
}

/// The whole days nearest to a range, and what is to be added or taken away at its ends.
fn days(since: Option<Millis>, until: Option<Millis>) -> (Option<i64>, Option<i64>, Vec<End>) {
    let mut ends = Vec::new();
    let mut nearest = |at: Option<Millis>, is_since: bool| {
        let at = at?;
        let day = Millis(at.0 + DAY_MS / 2).day();
        // Before the day: the people between are added to a range that begins here, or taken from one that ends here.
        if at != day {
            let (from, to) = (Some(at.min(day)), Some(at.max(day)));
            ends.push(End { from, to, sign: if (at < day) == is_since { 1 } else { -1 } });
        }
        Some(day.0.div_euclid(DAY_MS))
    };
    let (from, to) = (nearest(since, true), nearest(until, false));
    (from, to, ends)
}

/// Where the sums of these people stand. `who`: by partner, link or ad.
pub(super) fn plan(since: Option<Millis>, until: Option<Millis>, who: bool) -> (Vec<Piece>, Vec<End>) {
    let (from, to, ends) = days(since, until);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return (Vec::new(), vec![End { from: since, to: until, sign: 1 }]);
    }
    let pieces = match (who, from, to) {
        (false, ..) => cover(&STRETCHES_TOGETHER, (from, to), true),
        (true, None, None) => vec![Piece { length: 0, from, to, sign: 1 }],
        (true, ..) => cover(&BY_WHO, (from, to), true),
    };
    (pieces, ends)
}

/// The rows of a piece. `named`: each stretch by itself.
pub(super) fn conditions(piece: &Piece, named: bool) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::stretch::stretch;

    /// For each hour of some months: how often it is counted.
    fn counted(since: Option<Millis>, until: Option<Millis>, who: bool) -> Vec<i64> {
        let (pieces, ends) = plan(since, until, who);
        let within = |value: i64, from: Option<i64>, to: Option<i64>| {
            from.is_none_or(|from| from <= value) && to.is_none_or(|to| value < to)
        };
        let of = |hour: i64| {
            let (at, day) = (hour * 3_600_000, hour.div_euclid(24));
            let in_pieces = pieces.iter().filter(|piece| within(stretch(piece.length, day), piece.from, piece.to));
            let in_ends = ends.iter().filter(|end| within(at, end.from.map(|at| at.0), end.to.map(|at| at.0)));
            in_pieces.map(|piece| piece.sign).sum::<i64>() + in_ends.map(|end| end.sign).sum::<i64>()
        };
        (0..24 * 120).map(of).collect()
    }

    #[test]
    fn every_range_is_each_of_its_hours_once() {
        let hours = [0, 1, 11, 13, 24, 36, 37, 24 * 4, 24 * 32 + 5, 24 * 60, 24 * 89 + 23, 24 * 110];
        let bounds = || std::iter::once(None).chain(hours.into_iter().map(Some));
        for (since, until) in bounds().flat_map(|since| bounds().map(move |until| (since, until))) {
            if since.zip(until).is_some_and(|(since, until)| since >= until) {
                continue;
            }
            let at = |hour: Option<i64>| hour.map(|hour| Millis(hour * 3_600_000));
            let within = |hour: i64| since.is_none_or(|since| since <= hour) && until.is_none_or(|until| hour < until);
            let expected: Vec<i64> = (0..24 * 120).map(|hour| i64::from(within(hour))).collect();
            for who in [false, true] {
                assert_eq!(counted(at(since), at(until), who), expected, "{since:?} to {until:?}, who: {who}");
            }
        }
    }

    #[test]
    fn no_more_than_half_a_day_is_read_at_an_end() {
        for hour in 0..48 {
            let (_, ends) = plan(Some(Millis(hour * 3_600_000)), None, true);
            let longest = ends.iter().filter_map(|end| Some(end.to?.0 - end.from?.0)).max().unwrap_or(0);
            assert!(longest <= DAY_MS / 2, "{hour}");
        }
    }
}
