//! Stretches of days that have sums of their own, and which of them make up a range.
//!
//! Stretches of a length stand side by side and begin on Mondays; a longer length is a multiple of the shorter ones. A stretch of
//! any length has about as many sums as there are partners and links, so a range is made of as few of them as can be: where it ends in the
//! second half of a long one, that one is added whole and what is outside is taken away.

/// 1970-01-05 was a Monday.
const MONDAY: i64 = 4;

/// The first day of the stretch of this length that holds a day (days since 1970-01-01). Of length 0 there is one, for all time.
pub const fn stretch(length: i64, day: i64) -> i64 {
    if length == 0 { 0 } else { day - (day - MONDAY).rem_euclid(length) }
}

/// Stretches of one length, side by side; `None`: without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub length: i64,
    /// The first one's first day, and the day behind the last one.
    pub from: Option<i64>,
    pub to: Option<i64>,
    /// 1: to be added, -1: to be taken away.
    pub sign: i64,
}

impl Piece {
    /// The first days of its stretches, where they are known and at most so many.
    pub fn firsts(&self, most: usize) -> Option<Vec<i64>> {
        let (from, to) = self.from.zip(self.to)?;
        let step = usize::try_from(self.length).ok().filter(|length| *length > 0)?;
        let firsts: Vec<i64> = (from..to).step_by(step).take(most + 1).collect();
        (firsts.len() <= most).then_some(firsts)
    }
}

/// The pieces that make up a range of days, `to` not included. `lengths`: longest first, 1 last. `signed`: pieces may be taken away.
pub fn cover(lengths: &[i64], (from, to): (Option<i64>, Option<i64>), signed: bool) -> Vec<Piece> {
    let Some((length, shorter)) = lengths.split_first() else { return Vec::new() };
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Vec::new();
    }
    let up = |day: i64| stretch(*length, day + length - 1);
    let piece = |from, to, sign| Piece { length: *length, from, to, sign };
    let (first, last) = (from.map(up), to.map(|day| stretch(*length, day)));
    let whole = |from: i64| piece(Some(from), Some(from + length), 1);
    if let (Some(from), Some(first), Some(to), Some(last)) = (from, first, to, last)
        && first > last
    {
        // Within one of them.
        let inside = || cover(shorter, (Some(from), Some(to)), signed);
        return if signed {
            fewer(inside(), || taken_from(whole(last), shorter, &[(last, from), (to, first)]))
        } else {
            inside()
        };
    }
    let mut pieces = Vec::new();
    if first.is_none() || last.is_none() || first < last {
        pieces.push(piece(first, last, 1));
    }
    // What is left at an end, or the stretch around it without the rest.
    let mut end = |from: i64, to: i64, around: i64, rest: (i64, i64)| {
        let inside = cover(shorter, (Some(from), Some(to)), signed);
        let outside = || taken_from(whole(around), shorter, &[rest]);
        pieces.extend(if signed && from < to { fewer(inside, outside) } else { inside });
    };
    if let (Some(from), Some(first)) = (from, first) {
        end(from, first, first - length, (first - length, from));
    }
    if let (Some(to), Some(last)) = (to, last) {
        end(last, to, last, (to, last + length));
    }
    pieces
}

/// A stretch without these days of it.
fn taken_from(whole: Piece, shorter: &[i64], without: &[(i64, i64)]) -> Vec<Piece> {
    let rest = without.iter().flat_map(|(from, to)| cover(shorter, (Some(*from), Some(*to)), true));
    std::iter::once(whole).chain(rest.map(|piece| Piece { sign: -piece.sign, ..piece })).collect()
}

/// Whichever has fewer stretches.
fn fewer(one: Vec<Piece>, other: impl FnOnce() -> Vec<Piece>) -> Vec<Piece> {
    let count = |pieces: &[Piece]| -> i64 {
        let stretches = |piece: &Piece| Some((piece.to? - piece.from?) / piece.length);
        pieces.iter().map(|piece| stretches(piece).unwrap_or(0)).sum()
    };
    let other = other();
    if count(&one) <= count(&other) { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each of some days is counted, and by how many stretches where that is known.
    fn counted(pieces: &[Piece], days: i64) -> Vec<i64> {
        let holds = |piece: &Piece, day: i64| {
            let first = stretch(piece.length, day);
            piece.from.is_none_or(|from| from <= first) && piece.to.is_none_or(|to| first < to)
        };
        (0..days).map(|day| pieces.iter().filter(|piece| holds(piece, day)).map(|piece| piece.sign).sum()).collect()
    }

    #[test]
    fn stretches_begin_on_mondays() {
        // 2026-03-01 was a Sunday.
        let sunday = 20_513;
        assert_eq!([0, 7, 28].map(|length| stretch(length, sunday)), [0, sunday - 6, 20_500]);
        assert!(
            [7, 28, 364].iter().all(|length| stretch(*length, stretch(*length, sunday)) == stretch(*length, sunday))
        );
        assert_eq!((20_500 - MONDAY) % 28, 0);
    }

    #[test]
    fn every_range_is_each_of_its_days_once() {
        const DAYS: i64 = 70;
        for lengths in [&[28, 7, 1][..], &[28, 1], &[364, 28, 1], &[1]] {
            for (from, to) in (0..DAYS).flat_map(|from| (from..DAYS).map(move |to| (from, to))) {
                for (from, to) in [(Some(from), Some(to)), (Some(from), None), (None, Some(to)), (None, None)] {
                    let within = |day: i64| from.is_none_or(|from| from <= day) && to.is_none_or(|to| day < to);
                    let expected: Vec<i64> = (0..DAYS).map(|day| i64::from(within(day))).collect();
                    for signed in [false, true] {
                        let pieces = cover(lengths, (from, to), signed);
                        assert_eq!(counted(&pieces, DAYS), expected, "{lengths:?} {from:?} {to:?} {pieces:?}");
                        assert!(signed || pieces.iter().all(|piece| piece.sign == 1));
                    }
                }
            }
        }
    }

    #[test]
    fn few_stretches_make_up_a_month() {
        let most = |signed: bool| {
            let count = |from: i64| {
                let pieces = cover(&[28, 7, 1], (Some(from), Some(from + 30)), signed);
                pieces.iter().map(|piece| piece.firsts(100).unwrap().len()).sum::<usize>()
            };
            (0..28).map(count).max().unwrap()
        };
        assert_eq!((most(false), most(true)), (12, 9));
    }
}
