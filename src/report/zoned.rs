//! Reach by the days of a time zone. Event stores have sums of UTC hours: days are made of them where they begin with one.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::question::date;
use crate::{
    core::time::{HOUR_MS, Millis},
    store::{Dimension, ReachQuery, ReachRow, ReportError, Reports, in_order, question::QuestionError},
};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ZonedError {
    #[error(transparent)]
    Question(#[from] QuestionError),
    #[error(transparent)]
    Events(#[from] ReportError),
}

fn refused(field: &'static str, problem: &str) -> ZonedError {
    ZonedError::Question(QuestionError { field, problem: problem.to_owned() })
}

/// Reach as asked; days are those of the zone, written with its offset.
pub async fn reach(events: &dyn Reports, query: &ReachQuery, zone: &TimeZone) -> Result<Vec<ReachRow>, ZonedError> {
    if !query.by.contains(&Dimension::Day) || *zone == TimeZone::UTC {
        return Ok(events.reach(query).await?);
    }
    if !query.without_visitors {
        let problem = "visitors cannot be added up over the hours of a day elsewhere: leave them out \
                       (visitors=false, --no-visitors), or ask by=day without tz";
        return Err(refused("tz", problem));
    }
    let mut by: Vec<Dimension> = query.by.iter().copied().filter(|dimension| *dimension != Dimension::Day).collect();
    if !by.contains(&Dimension::Hour) {
        by.push(Dimension::Hour);
    }
    let hours = events.reach(&ReachQuery { by: by.clone(), ..query.clone() }).await?;
    let mut rows = BTreeMap::<Vec<String>, ReachRow>::new();
    for row in hours {
        let value = |wanted: Dimension| by.iter().position(|dimension| *dimension == wanted).map(|at| &row.key[at]);
        let hour: Millis = value(Dimension::Hour).and_then(|hour| hour.parse().ok()).unwrap_or_default();
        let day = date(hour, zone);
        if day != date(hour.plus(HOUR_MS - 1), zone) {
            let problem = "days of this zone begin within a UTC hour, and reach has sums of whole ones: ask by=hour, \
                           without tz, or count the events of `fingerpost export events`";
            return Err(refused("tz", problem));
        }
        let begins = day
            .to_zoned(zone.clone())
            .map_or_else(|_| day.to_string(), |zoned| zoned.strftime("%Y-%m-%dT%H:%M:%S.000%:z").to_string());
        let key = query.by.iter().map(|dimension| match dimension {
            Dimension::Day => begins.clone(),
            other => value(*other).cloned().unwrap_or_default(),
        });
        let sum = rows.entry(key.collect()).or_default();
        sum.views += row.views;
        sum.clicks += row.clicks;
        sum.shares += row.shares;
        sum.missing += row.missing;
    }
    Ok(in_order(rows.into_iter().map(|(key, row)| ReachRow { key, ..row }).collect(), &query.by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::event::{Class, Event, Kind},
        report::question::zone,
        store::model::{Model, START},
    };

    fn ask(tz: &str, without_visitors: bool) -> Result<Vec<(String, u64)>, String> {
        let click = |hours: i64| Event {
            kind: Kind::Click as i32,
            class: Class::Human as i32,
            time_ms: START.0 + hours * HOUR_MS,
            ..Event::default()
        };
        // 2026-02-28T22:00Z, 23:00Z, and the day after.
        let model = Model::new(vec![click(-2), click(-1), click(0), click(22), click(23), click(18)]);
        let query = ReachQuery { by: vec![Dimension::Day], without_visitors, ..ReachQuery::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rows = runtime.block_on(reach(&model, &query, &zone(Some(tz)).unwrap())).map_err(|e| e.to_string())?;
        Ok(rows.into_iter().map(|row| (row.key.concat(), row.clicks)).collect())
    }

    #[test]
    fn days_begin_at_midnight_there() {
        let day = |text: &str, clicks| (text.to_owned(), clicks);
        let berlin = [
            day("2026-02-28T00:00:00.000+01:00", 1),
            day("2026-03-01T00:00:00.000+01:00", 4),
            day("2026-03-02T00:00:00.000+01:00", 1),
        ];
        assert_eq!(ask("Europe/Berlin", true).unwrap(), berlin);
        assert_eq!(ask("UTC", true).unwrap()[0], day("2026-02-28T00:00:00.000Z", 2));
    }

    #[test]
    fn what_sums_cannot_say_is_refused() {
        assert!(ask("Asia/Kolkata", true).unwrap_err().contains("within a UTC hour"));
        assert!(ask("Europe/Berlin", false).unwrap_err().contains("visitors=false"));
    }
}
