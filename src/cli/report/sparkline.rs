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
const SIGNS_MAX: usize = 31;
/// Lengths that one sign may stand for, hours.
const STEPS_HOURS: [i64; 8] = [1, 2, 3, 6, 12, 24, 168, 720];
/// Rows times hours (or days) that are asked for at most, some 350 bytes each: a table that is longer has no sparklines.
const CELLS_MAX: usize = 250_000;

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
    /// Signs of whole days begin with a day.
    fn new(since: Millis, until: Millis) -> Scale {
        let of = |start: i64, step: i64| Scale {
            start,
            step_ms: step * HOUR_MS,
            signs: ((until.0 - start).max(1) as usize).div_ceil((step * HOUR_MS) as usize),
        };
        let steps =
            STEPS_HOURS.into_iter().map(|step| of(if step < 24 { since.hour().0 } else { since.day().0 }, step));
        let days = (until.0 - since.day().0).max(1) / DAY_MS;
        steps
            .into_iter()
            .find(|scale| scale.signs <= SIGNS_MAX)
            .unwrap_or_else(|| of(since.day().0, (days / SIGNS_MAX as i64 + 1) * 24))
    }

    /// The coarsest dimension that these signs can be made of, and how many of its values they span.
    fn units(&self) -> (Dimension, usize) {
        let (unit, unit_ms) =
            if self.step_ms % DAY_MS == 0 { (Dimension::Day, DAY_MS) } else { (Dimension::Hour, HOUR_MS) };
        (unit, (self.step_ms / unit_ms) as usize * self.signs)
    }

    fn name(&self) -> String {
        let hours = self.step_ms / HOUR_MS;
        if hours % 24 == 0 { format!("{}d", hours / 24) } else { format!("{hours}h") }
    }

    fn at(&self, time: i64) -> usize {
        usize::try_from((time - self.start) / self.step_ms).unwrap_or(0).min(self.signs - 1)
    }

    /// The sum of these courses.
    fn line<'a>(&self, courses: impl IntoIterator<Item = &'a Course>) -> String {
        let mut signs = vec![0; self.signs];
        for (time, clicks) in courses.into_iter().flatten() {
            signs[self.at(*time)] += clicks;
        }
        draw(&signs)
    }
}

impl Timeline {
    /// Asks for the clicks of these rows (keys by `by`, some of `rows` rows) over the filter's range. A row that is one hour
    /// has no course; a row that is one day has its hours.
    pub(super) async fn of_clicks(
        reports: &dyn Reports,
        filter: &Filter,
        by: &[Dimension],
        keys: &[Vec<String>],
        rows: usize,
        now: Millis,
    ) -> anyhow::Result<Timeline> {
        if by.contains(&Dimension::Hour) || keys.is_empty() {
            return Ok(Timeline::default());
        }
        if let Some(at) = by.iter().position(|dimension| *dimension == Dimension::Day) {
            if rows.saturating_mul(24) > CELLS_MAX {
                return Ok(Timeline::default());
            }
            let clicks = courses(reports, filter, by, Dimension::Hour).await?;
            let line = |key: &Vec<String>| {
                let day = key[at].parse::<Millis>().unwrap_or_default();
                Scale::new(day, day.plus(DAY_MS)).line(clicks.get(key))
            };
            let rows = keys.iter().map(line).collect();
            return Ok(Timeline { step: "1h".to_owned(), rows, total: String::new() });
        }
        let class: &[Dimension] = if by.contains(&Dimension::Class) { &[Dimension::Class] } else { &[] };
        let all = courses(reports, filter, class, Dimension::Hour).await?;
        let first = all.values().filter_map(|hours| hours.keys().next()).min().map_or(now, |first| Millis(*first));
        let scale = Scale::new(filter.since.unwrap_or(first), filter.until.unwrap_or(now).max(first));
        let (unit, units) = scale.units();
        if rows.saturating_mul(units) > CELLS_MAX {
            return Ok(Timeline::default());
        }
        let clicks = courses(reports, filter, by, unit).await?;
        let rows = keys.iter().map(|key| scale.line(clicks.get(key))).collect();
        let counts =
            |key: &[String]| key.first().is_none_or(|class| Class::from_label(class).is_some_and(Class::counts));
        let total = scale.line(all.iter().filter(|(key, _)| counts(key)).map(|(_, course)| course));
        Ok(Timeline { step: scale.name(), rows, total })
    }
}

/// Clicks by the time at which their hour or day begins.
type Course = BTreeMap<i64, u64>;

/// The courses of all rows, by hours or days.
async fn courses(
    reports: &dyn Reports,
    filter: &Filter,
    by: &[Dimension],
    unit: Dimension,
) -> anyhow::Result<HashMap<Vec<String>, Course>> {
    let by = [by, &[unit]].concat();
    let query = ReachQuery { filter: filter.clone(), by, without_visitors: true };
    let mut courses = HashMap::<Vec<String>, Course>::new();
    for mut row in reports.reach(&query).await? {
        let time = row.key.pop().and_then(|time| time.parse::<Millis>().ok()).unwrap_or_default();
        *courses.entry(row.key).or_default().entry(time.0).or_default() += row.clicks;
    }
    Ok(courses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::event::{Event, Kind},
        store::model::{Model, START},
    };

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
        assert!(scale(50 * 365 * 24).1 <= SIGNS_MAX);
    }

    #[test]
    fn signs_of_days_are_calendar_days_and_a_long_table_has_none() {
        let click = |hours: i64, link: &str| Event {
            kind: Kind::Click as i32,
            class: Class::Human as i32,
            time_ms: START.0 + hours * HOUR_MS,
            link: link.to_owned(),
            ..Event::default()
        };
        let model = Model::new(vec![click(16, "a"), click(23, "a"), click(24, "a"), click(23, "b"), click(479, "b")]);
        let filter = Filter { since: Some(START.plus(15 * HOUR_MS)), ..Filter::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let of = |rows| {
            let keys = [vec!["a".to_owned()], vec!["b".to_owned()]];
            let now = START.plus(20 * DAY_MS);
            runtime.block_on(Timeline::of_clicks(&model, &filter, &[Dimension::Link], &keys, rows, now)).unwrap()
        };
        let timeline = of(CELLS_MAX / 20);
        assert_eq!(timeline.step, "1d");
        assert_eq!(timeline.rows, ["█▄··················", "█··················█"]);
        assert_eq!(timeline.total, "█▃·················▃");
        let long = of(CELLS_MAX / 20 + 1);
        assert!(long.step.is_empty() && long.rows.is_empty());
    }
}
