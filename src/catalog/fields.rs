//! How an item is read, field by field, from whatever brought it: a JSON object (the API) or a line of CSV (the import).
//!
//! Both doors share every check, and a reading goes on after a mistake, so that all of them are reported at once.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::Mistake;
use crate::core::{
    code::Code,
    limits::{CODE_LIST_MAX, EMAIL_MAX_BYTES, HOST_MAX_BYTES, PARAMETER_MAX_BYTES, TO_HOSTS_MAX},
    preview::Preview,
    template,
    time::Millis,
};

/// What a source has for a field.
#[derive(Debug)]
pub enum Given<'a> {
    Nothing,
    /// A cell of a sheet.
    Text(Cow<'a, str>),
    Json(Value),
}

/// Where fields come from.
pub trait Source {
    /// The field's value; it is asked for once.
    fn take(&mut self, field: &'static str) -> Given<'_>;
}

impl Source for Map<String, Value> {
    fn take(&mut self, field: &'static str) -> Given<'_> {
        match self.swap_remove(field) {
            None | Some(Value::Null) => Given::Nothing,
            Some(value) => Given::Json(value),
        }
    }
}

/// Reads fields and collects mistakes.
#[derive(Debug)]
pub struct Reader<'s, S> {
    source: &'s mut S,
    pub mistakes: Vec<Mistake>,
}

impl<'s, S: Source> Reader<'s, S> {
    pub fn new(source: &'s mut S) -> Reader<'s, S> {
        Reader { source, mistakes: Vec::new() }
    }

    pub fn mistake(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.mistakes.push(Mistake::new(field, problem));
    }

    /// A text; an empty one is none.
    pub fn text(&mut self, field: &'static str) -> Option<String> {
        let problem = match self.source.take(field) {
            Given::Nothing => return None,
            Given::Text(text) => return (!text.is_empty()).then(|| text.into_owned()),
            Given::Json(Value::String(text)) => return (!text.is_empty()).then_some(text),
            Given::Json(other) => format!("is {}: give a text in quotes", what(&other)),
        };
        self.mistake(field, problem);
        None
    }

    /// A text of at most `max` characters, without control characters (line breaks and tabs where `lines`).
    fn words(&mut self, field: &'static str, max: usize, lines: bool) -> String {
        let text = self.text(field).unwrap_or_default();
        if text.len() > max && text.chars().count() > max {
            self.mistake(field, format!("has {} characters: at most {max} are allowed", text.chars().count()));
        }
        if let Some(control) = text.chars().find(|c| c.is_control() && !(lines && matches!(c, '\n' | '\r' | '\t'))) {
            self.mistake(field, format!("holds the control character {control:?}: remove it"));
        }
        text
    }

    /// One line, for example a name.
    pub fn line(&mut self, field: &'static str, max: usize) -> String {
        self.words(field, max, false)
    }

    /// A longer text that may have line breaks.
    pub fn prose(&mut self, field: &'static str, max: usize) -> String {
        self.words(field, max, true)
    }

    /// A text that a check turns into something better.
    pub fn checked<T, E: std::fmt::Display>(
        &mut self,
        field: &'static str,
        check: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(field)?;
        match check(&text) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.mistake(field, problem.to_string());
                None
            }
        }
    }

    /// As [`Reader::checked`], and it must be there.
    pub fn required<T, E: std::fmt::Display>(
        &mut self,
        field: &'static str,
        check: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let before = self.mistakes.len();
        let value = self.checked(field, check);
        if value.is_none() && self.mistakes.len() == before {
            self.mistake(field, "is missing: give one");
        }
        value
    }

    pub fn code(&mut self, field: &'static str) -> Option<Code> {
        self.required(field, str::parse::<Code>)
    }

    pub fn optional_code(&mut self, field: &'static str) -> Option<Code> {
        self.checked(field, str::parse::<Code>)
    }

    pub fn optional_address(&mut self, field: &'static str) -> Option<String> {
        self.checked(field, template::check)
    }

    /// One of a few words; `default` where none is given.
    pub fn word<T>(
        &mut self,
        field: &'static str,
        default: T,
        words: &'static [&'static str],
        from: impl Fn(&str) -> Option<T>,
    ) -> T {
        self.checked(field, |text| {
            from(text).ok_or_else(|| format!("`{text}` is not known: use one of {}", words.join(", ")))
        })
        .unwrap_or(default)
    }

    pub fn time(&mut self, field: &'static str) -> Option<Millis> {
        self.checked(field, str::parse::<Millis>)
    }

    /// A day of the calendar, `2026-03-01`.
    pub fn date(&mut self, field: &'static str) -> Option<String> {
        self.checked(field, |text| {
            text.parse::<jiff::civil::Date>()
                .map(|date| date.to_string())
                .map_err(|_| format!("`{text}` is not a date: write it like 2026-03-01"))
        })
    }

    /// A whole number within bounds.
    pub fn number(&mut self, field: &'static str, bounds: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let problem =
            |given: &str| format!("{given} is not a whole number from {} to {}", bounds.start(), bounds.end());
        let problem = match self.source.take(field) {
            Given::Nothing => return None,
            Given::Text(text) if text.is_empty() => return None,
            Given::Text(text) => match text.trim().parse() {
                Ok(number) if bounds.contains(&number) => return Some(number),
                _ => problem(&format!("`{text}`")),
            },
            Given::Json(value) => match value.as_u64() {
                Some(number) if bounds.contains(&number) => return Some(number),
                _ => problem(&what(&value)),
            },
        };
        self.mistake(field, problem);
        None
    }

    /// Entries of a list: a JSON array of texts, or texts between semicolons in a cell.
    fn entries(&mut self, field: &'static str, max: usize) -> Vec<String> {
        let entries = match self.source.take(field) {
            Given::Nothing => Ok(Vec::new()),
            Given::Text(text) => {
                Ok(text.split(';').map(str::trim).filter(|e| !e.is_empty()).map(str::to_owned).collect())
            }
            Given::Json(value) => serde_json::from_value::<Vec<String>>(value)
                .map_err(|_| "is not a list of texts: write it like [\"one\", \"two\"]".to_owned()),
        };
        match entries {
            Ok(entries) if entries.len() <= max => return entries,
            Ok(entries) => self.mistake(field, format!("has {} entries: at most {max} are allowed", entries.len())),
            Err(problem) => self.mistake(field, problem),
        }
        Vec::new()
    }

    /// A list whose entries are checked one by one; a repeated entry is kept once.
    pub(super) fn list<T: PartialEq, E: std::fmt::Display>(
        &mut self,
        field: &'static str,
        max: usize,
        check: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let mut list = Vec::new();
        for (at, entry) in self.entries(field, max).iter().enumerate() {
            match check(entry) {
                Ok(value) if list.contains(&value) => {}
                Ok(value) => list.push(value),
                Err(problem) => self.mistake(format!("{field}[{at}]"), format!("`{entry}`: {problem}")),
            }
        }
        list
    }

    pub fn codes(&mut self, field: &'static str) -> Vec<Code> {
        self.list(field, CODE_LIST_MAX, str::parse::<Code>)
    }

    pub fn hosts(&mut self, field: &'static str) -> Vec<String> {
        self.list(field, TO_HOSTS_MAX, host)
    }

    /// Anything that JSON describes; in a cell it stands as JSON text.
    pub fn json<T: DeserializeOwned + Default>(&mut self, field: &'static str) -> T {
        let value = match self.source.take(field) {
            Given::Nothing => return T::default(),
            Given::Text(text) if text.is_empty() => return T::default(),
            Given::Text(text) => serde_json::from_str(&text),
            Given::Json(value) => serde_json::from_value(value),
        };
        value.unwrap_or_else(|error| {
            self.mistake(field, format!("is not as it should be: {error}"));
            T::default()
        })
    }

    /// How chats show the item; in a cell it stands as JSON text.
    pub fn preview(&mut self, field: &'static str) -> Option<Preview> {
        self.json::<Option<Preview>>(field)?.checked().unwrap_or_else(|mistakes| {
            for mistake in mistakes {
                self.mistake(format!("{field}{}", mistake.field), mistake.problem);
            }
            None
        })
    }

    /// An e-mail address: a local part, one `@`, a host.
    pub fn email(&mut self, field: &'static str) -> Option<String> {
        self.checked(field, |text| {
            if text.len() > EMAIL_MAX_BYTES {
                return Err(format!("has {} bytes: at most {EMAIL_MAX_BYTES} are allowed", text.len()));
            }
            let wrong = || format!("`{text}` is not an e-mail address, for example ann@shop.example");
            let (local, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
            if local.is_empty()
                || local.len() > 64
                || local
                    .chars()
                    .any(|c| c.is_control() || c.is_whitespace() || matches!(c, '@' | '<' | '>' | ',' | ';'))
                || !domain.contains('.')
            {
                return Err(wrong());
            }
            Ok(format!("{local}@{}", host(domain).map_err(|_| wrong())?))
        })
    }

    /// The cookie's domain: a host name with a dot, not an IP address. A leading dot means the same and is dropped.
    pub fn domain(&mut self, field: &'static str) -> Option<String> {
        self.checked(field, |text| {
            let name = host(text.trim_start_matches('.'))?;
            if name.parse::<std::net::IpAddr>().is_ok() || name.starts_with('[') || !name.contains('.') {
                return Err(format!("`{text}` cannot be a cookie's domain: give a name like shop.example"));
            }
            Ok(name)
        })
    }

    /// The name of a query parameter that we append.
    pub fn parameter(&mut self, field: &'static str) -> Option<String> {
        self.checked(field, |text| {
            if text.len() > PARAMETER_MAX_BYTES {
                return Err(format!("has {} bytes: at most {PARAMETER_MAX_BYTES} are allowed", text.len()));
            }
            if let Some(wrong) =
                text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~')))
            {
                return Err(format!("holds {wrong:?}: only letters, digits, `-`, `_`, `.` and `~` are allowed"));
            }
            if text.eq_ignore_ascii_case("to") {
                return Err("`to` asks for another page: choose another name".to_owned());
            }
            Ok(text.to_owned())
        })
    }
}

/// An exact host name in lower case and punycode, without port or wildcard.
fn host(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not a host name: give one like shop.example, without scheme, port or path");
    if text.is_empty() || text.contains(['/', ':', '@', '*', '?', '#', '\\', '%']) && !text.starts_with('[') {
        return Err(wrong());
    }
    let host = url::Host::parse(text).map_err(|_| wrong())?.to_string();
    let host = host.strip_suffix('.').map_or(host.as_str(), |name| name).to_owned();
    if host.len() > HOST_MAX_BYTES || host.is_empty() {
        return Err(wrong());
    }
    Ok(host)
}

/// A short description of a JSON value, for messages.
fn what(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("`{text}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
