//! Clicks over time, a few signs a row.

use std::collections::{BTreeMap, HashMap};

use crate::{
    core::{
        event::Class,
        time::{DAY_MS, HOUR_MS, Millis},
    },
    store::{Dimension, Filter, ReachQuery, Reports},
};

const SIGNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// For a stretch of time without a click.
const NONE: char = '·';
/// Signs of one row at most.
const SIGNS_MAX: i64 = 31;
/// Lengths that one sign may stand for, hours.
const STEPS_HOURS: [i64; 8] = [1, 2, 3, 6, 12, 24, 168, 720];

/// The sparklines of a report's rows, and of their sum.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// What a sign stands for: `6h`; empty when there are no sparklines.
    pub(super) step: String,
    pub(super) rows: Vec<String>,
    pub(super) total: String,
}

/// Heights against the highest: none is a dot, the highest is a full block.
pub(super) fn draw(clicks: &[u64]) -> String {
    let most = clicks.iter().copied().max().unwrap_or(0).max(1);
    let sign = |clicks: &u64| match clicks {
        0 => NONE,
        // `most` itself is the last sign; u128 as products of counts may be large.
        _ => SIGNS[((u128::from(*clicks) * SIGNS.len() as u128).div_ceil(u128::from(most)) as usize).clamp(1, 8) - 1],
    };
    clicks.iter().map(sign).collect()
}

/// Where signs begin, and how long each is.
struct Scale {
    start: i64,
    step_ms: i64,
    signs: usize,
}

impl Scale {
    fn new(since: Millis, until: Millis) -> Scale {
        let start = since.hour().0;
        let hours = (until.0 - start).max(1).div_euclid(HOUR_MS) + i64::from((until.0 - start) % HOUR_MS != 0);
        let fits = |step: &&i64| hours.div_euclid(**step) < SIGNS_MAX;
        let step = STEPS_HOURS.iter().find(fits).copied().unwrap_or_else(|| hours / SIGNS_MAX + 1);
        Scale { start, step_ms: step * HOUR_MS, signs: ((hours + step - 1) / step).max(1) as usize }
    }

    fn name(&self) -> String {
        let hours = self.step_ms / HOUR_MS;
        if hours % 24 == 0 { format!("{}d", hours / 24) } else { format!("{hours}h") }
    }

    fn at(&self, time: i64) -> usize {
        usize::try_from((time - self.start) / self.step_ms).unwrap_or(0).min(self.signs - 1)
    }
}

impl Timeline {
    /// Asks for the clicks of these rows (keys by `by`) over the filter's range. A row that is one hour has no course; a
    /// row that is one day has its hours.
    pub(super) async fn of_clicks(
        reports: &dyn Reports,
        filter: &Filter,
        by: &[Dimension],
        keys: &[Vec<String>],
        now: Millis,
    ) -> anyhow::Result<Timeline> {
        if by.contains(&Dimension::Hour) || keys.is_empty() {
            return Ok(Timeline::default());
        }
        let mut finer = by.to_vec();
        finer.push(Dimension::Hour);
        let query = ReachQuery { filter: filter.clone(), by: finer, without_visitors: true };
        let mut clicks = HashMap::<Vec<String>, BTreeMap<i64, u64>>::new();
        for mut row in reports.reach(&query).await? {
            let hour = row.key.pop().and_then(|hour| hour.parse::<Millis>().ok()).unwrap_or_default();
            *clicks.entry(row.key).or_default().entry(hour.0).or_default() += row.clicks;
        }
        let daily = by.iter().position(|dimension| *dimension == Dimension::Day);
        let first = clicks.values().filter_map(|hours| hours.keys().next()).min().map_or(now, |first| Millis(*first));
        let scale = Scale::new(filter.since.unwrap_or(first), filter.until.unwrap_or(now).max(first));
        let line = |key: &Vec<String>| {
            let day = daily.and_then(|at| key[at].parse::<Millis>().ok());
            let own = day.map(|day| Scale::new(day, day.plus(DAY_MS)));
            let scale = own.as_ref().unwrap_or(&scale);
            let mut signs = vec![0; scale.signs];
            for (hour, count) in clicks.get(key).into_iter().flatten() {
                signs[scale.at(*hour)] += count;
            }
            draw(&signs)
        };
        let rows = keys.iter().map(line).collect();
        let (step, total) = if daily.is_some() {
            ("1h".to_owned(), String::new())
        } else {
            let mut signs = vec![0; scale.signs];
            let class = by.iter().position(|dimension| *dimension == Dimension::Class);
            let counts = |key: &[String]| class.is_none_or(|at| Class::from_label(&key[at]).is_some_and(Class::counts));
            for (_, hours) in clicks.iter().filter(|(key, _)| counts(key)) {
                hours.iter().for_each(|(hour, count)| signs[scale.at(*hour)] += count);
            }
            (scale.name(), draw(&signs))
        };
        Ok(Timeline { step, rows, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_against_the_highest() {
        assert_eq!(draw(&[0, 1, 4, 8]), "·▁▄█");
        assert_eq!(draw(&[1, 1_000_000]), "▁█");
        assert_eq!(draw(&[0, 0]), "··");
        assert_eq!(draw(&[u64::MAX, 1]), "█▁");
    }

    #[test]
    fn a_range_has_a_few_signs_of_round_length() {
        let start = Millis(1_772_323_200_000);
        let scale = |hours: i64| {
            let scale = Scale::new(start, start.plus(hours * HOUR_MS));
            (scale.name(), scale.signs)
        };
        assert_eq!(scale(24), ("1h".to_owned(), 24));
        assert_eq!(scale(7 * 24), ("6h".to_owned(), 28));
        assert_eq!(scale(30 * 24), ("1d".to_owned(), 30));
        assert_eq!(scale(0), ("1h".to_owned(), 1));
        assert!(scale(50 * 365 * 24).1 <= SIGNS_MAX as usize);
    }
}
