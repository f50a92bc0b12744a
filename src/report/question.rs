//! A question as people write it. Days and months begin in a time zone that may be named.

use crate::{
    core::{duration, time::Millis},
    store::{
        Filter,
        question::{self, QuestionError},
    },
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// Rows of a top list when nobody says how many, and at most.
const TOP_ROWS: usize = 20;
const TOP_ROWS_MAX: usize = 1_000;
/// More customers than there are people.
const CUSTOMERS_MAX: u64 = 10_000_000_000;

/// The words of a question. Empty and absent are the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words<'a> {
    pub filter: question::Words<'a>,
    /// A time zone's IANA name; none: UTC.
    pub tz: Option<&'a str>,
    pub customers: Option<&'a str>,
    pub limit: Option<&'a str>,
    pub visitors: bool,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    pub filter: Filter,
    pub zone: TimeZone,
    /// The customer base; none: the partners who joined.
    pub customers: Option<u64>,
    /// Rows of a top list.
    pub limit: usize,
    /// Unique visitors as well: they alone need the rows of events.
    pub visitors: bool,
    pub now: Millis,
}

/// A time zone by its IANA name, for example `Europe/Berlin`.
pub fn zone(name: Option<&str>) -> Result<TimeZone, QuestionError> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(TimeZone::UTC) };
    TimeZone::get(name).map_err(|_| QuestionError {
        field: "tz",
        problem: format!("`{name}` is no time zone: give an IANA name, for example Europe/Berlin or UTC"),
    })
}

/// A filter whose dates begin in a time zone: `since=2026-03-01` is the first midnight of March there.
pub fn filter(words: &question::Words<'_>, zone: &TimeZone, now: Millis) -> Result<Filter, QuestionError> {
    let midnight = |text: Option<&str>| {
        let text = text?;
        let date: Date = text.parse().ok().filter(|_| text.len() == "2026-03-01".len())?;
        Some(Millis(date.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond()).to_string())
    };
    let (since, until) = (midnight(words.since), midnight(words.until));
    let words =
        question::Words { since: since.as_deref().or(words.since), until: until.as_deref().or(words.until), ..*words };
    question::filter(&words, now)
}

fn number(field: &'static str, text: Option<&str>, most: u64) -> Result<Option<u64>, QuestionError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    let problem = || QuestionError { field, problem: format!("`{text}` is no number from 1 to {most}") };
    number.map(Some).ok_or_else(problem)
}

impl Question {
    /// What the words ask for. A length of time counts back from `now`.
    pub fn read(words: &Words<'_>, now: Millis) -> Result<Question, QuestionError> {
        let zone = zone(words.tz)?;
        let limit = number("limit", words.limit, TOP_ROWS_MAX as u64)?;
        Ok(Question {
            filter: filter(&words.filter, &zone, now)?,
            zone,
            customers: number("customers", words.customers, CUSTOMERS_MAX)?,
            limit: limit.map_or(TOP_ROWS, |limit| usize::try_from(limit).unwrap_or(TOP_ROWS_MAX)),
            visitors: words.visitors,
            now,
        })
    }
}

/// The day in which an instant lies.
pub(super) fn date(at: Millis, zone: &TimeZone) -> Date {
    Timestamp::from_millisecond(at.0).unwrap_or_default().to_zoned(zone.clone()).date()
}

/// The months that hold any of this time: the first day of each, and when it begins and ends.
pub(super) fn months(since: Millis, until: Millis, zone: &TimeZone) -> Vec<(Date, Millis, Millis)> {
    let begins = |date: Date| {
        let zoned = date.to_zoned(zone.clone());
        zoned.map_or(until, |zoned| Millis(zoned.timestamp().as_millisecond()))
    };
    let mut months = Vec::new();
    let mut first = date(since, zone).first_of_month();
    while begins(first) < until {
        let Ok(next) = first.checked_add(jiff::Span::new().months(1)) else { break };
        months.push((first, begins(first), begins(next)));
        first = next;
    }
    months
}

/// `15m`, `6h`, `30d`.
pub(super) fn length(ms: i64) -> String {
    duration::shortest(std::time::Duration::from_millis(ms.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_772_368_200_250); // 2026-03-01T12:30:00.250Z

    #[test]
    fn dates_begin_in_the_zone_and_times_stand() {
        let asked = |tz: &str, since: &str| {
            let filter = question::Words { since: Some(since), ..question::Words::default() };
            let words = Words { filter, tz: Some(tz), ..Words::default() };
            Question::read(&words, NOW).unwrap().filter.since.unwrap().to_string()
        };
        assert_eq!(asked("Europe/Berlin", "2026-01-15"), "2026-01-14T23:00:00.000Z");
        assert_eq!(asked("Europe/Berlin", "2025-07-15"), "2025-07-14T22:00:00.000Z");
        assert_eq!(asked("Asia/Kathmandu", "2026-01-15"), "2026-01-14T18:15:00.000Z");
        assert_eq!(asked("Asia/Kathmandu", "2026-01-15T00:00:00Z"), "2026-01-15T00:00:00.000Z");
        assert_eq!(asked("", "7d"), NOW.plus(-7 * 86_400_000).to_string());
    }

    #[test]
    fn months_follow_the_calendar_of_the_zone() {
        let zone = zone(Some("America/New_York")).unwrap();
        let since = "2026-02-28T23:00:00Z".parse().unwrap();
        let months = months(since, "2026-04-01T04:00:00Z".parse().unwrap(), &zone);
        let told: Vec<String> = months.iter().map(|(first, from, to)| format!("{first} {from} {to}")).collect();
        // Summer time begins in March.
        assert_eq!(
            told,
            [
                "2026-02-01 2026-02-01T05:00:00.000Z 2026-03-01T05:00:00.000Z",
                "2026-03-01 2026-03-01T05:00:00.000Z 2026-04-01T04:00:00.000Z",
            ]
        );
    }

    #[test]
    fn wrong_words_name_the_field_and_the_mend() {
        for (words, field, part) in [
            (Words { tz: Some("Berlin"), ..Words::default() }, "tz", "Europe/Berlin"),
            (Words { limit: Some("0"), ..Words::default() }, "limit", "from 1 to 1000"),
            (Words { customers: Some("-1"), ..Words::default() }, "customers", "no number"),
        ] {
            let error = Question::read(&words, NOW).unwrap_err();
            assert!(error.field == field && error.problem.contains(part), "{error}");
        }
    }
}
