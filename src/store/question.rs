//! A question to the reports as people write it, on the command line and in a URL: `since=7d`, `by=link,day`.

use super::{Dimension, Filter};
use crate::core::{code::Code, duration, time::Millis};

/// What is wrong with a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct QuestionError {
    pub field: &'static str,
    pub problem: String,
}

impl QuestionError {
    fn new(field: &'static str, problem: String) -> QuestionError {
        QuestionError { field, problem }
    }
}

/// The words of a question. Empty and absent are the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words<'a> {
    pub since: Option<&'a str>,
    pub until: Option<&'a str>,
    pub program: Option<&'a str>,
    pub link: Option<&'a str>,
    pub partner: Option<&'a str>,
    pub ad: Option<&'a str>,
}

/// What the words ask for. A length of time counts back from `now`.
pub fn filter(words: &Words<'_>, now: Millis) -> Result<Filter, QuestionError> {
    let filter = Filter {
        since: time("since", words.since, now)?,
        until: time("until", words.until, now)?,
        program: code("program", words.program)?,
        link: code("link", words.link)?,
        partner: code("partner", words.partner)?,
        ad: code("ad", words.ad)?,
    };
    match (filter.since, filter.until) {
        (Some(since), Some(until)) if since >= until => {
            Err(QuestionError::new("until", format!("{until} is not after `since`, which is {since}")))
        }
        _ => Ok(filter),
    }
}

/// A length of time before now (`7d`), or a point in time.
fn time(field: &'static str, text: Option<&str>, now: Millis) -> Result<Option<Millis>, QuestionError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if let Ok(length) = duration::parse(text) {
        let ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        return Ok(Some(Millis(now.0.saturating_sub(ms).max(0))));
    }
    text.parse().map(Some).map_err(|_| {
        let problem =
            format!("`{text}` is neither a length of time (24h, 7d) nor a time (2026-03-01, 2026-03-01T12:30:00Z)");
        QuestionError::new(field, problem)
    })
}

fn code(field: &'static str, text: Option<&str>) -> Result<Option<Code>, QuestionError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| QuestionError::new(field, format!("`{text}` {error}")))
}

/// `link,day`: the dimensions of a row.
pub fn dimensions(text: &str) -> Result<Vec<Dimension>, QuestionError> {
    let mut by = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let Some(dimension) = Dimension::from_label(word) else {
            let known: Vec<&str> = Dimension::ALL.iter().map(|dimension| dimension.label()).collect();
            return Err(QuestionError::new("by", format!("`{word}` is not known: choose from {}", known.join(", "))));
        };
        if by.contains(&dimension) {
            return Err(QuestionError::new("by", format!("`{word}` stands there twice")));
        }
        by.push(dimension);
    }
    Ok(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_772_368_200_250); // 2026-03-01T12:30:00.250Z

    #[test]
    fn lengths_count_back_and_times_stand() {
        let asked = |since, until| filter(&Words { since, until, ..Words::default() }, NOW);
        let week = asked(Some("7d"), None).unwrap();
        assert_eq!((week.since, week.until), (Some(NOW.plus(-7 * 86_400_000)), None));
        let march = asked(Some("2026-03-01"), Some("2026-03-01T12:30:00Z")).unwrap();
        assert_eq!(march.since, Some(NOW.day()));
        assert!(asked(Some("1h"), Some("2h")).unwrap_err().problem.contains("is not after"));
        assert_eq!(asked(Some("yesterday"), None).unwrap_err().field, "since");
        assert_eq!(asked(Some(""), None).unwrap(), Filter::default());
    }

    #[test]
    fn a_wrong_dimension_names_the_known_ones() {
        assert_eq!(dimensions("link, day").unwrap(), [Dimension::Link, Dimension::Day]);
        assert_eq!(dimensions("").unwrap(), []);
        let problem = dimensions("link,week").unwrap_err().to_string();
        assert_eq!(
            problem,
            "by: `week` is not known: choose from hour, day, program, link, partner, ad, country, channel, class"
        );
        assert!(dimensions("link,link").is_err());
    }

    #[test]
    fn a_code_is_a_code() {
        let words = Words { link: Some("HairCare"), ..Words::default() };
        assert_eq!(filter(&words, NOW).unwrap().link.unwrap().as_str(), "haircare");
        let words = Words { partner: Some("a b"), ..Words::default() };
        assert_eq!(filter(&words, NOW).unwrap_err().field, "partner");
    }
}
