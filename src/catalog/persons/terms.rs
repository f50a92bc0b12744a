//! What an erasure looks for in texts, and how it is taken out of them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// By what a person may be named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// In lower case.
    pub emails: Vec<String>,
    pub externals: Vec<String>,
    pub contacts: Vec<String>,
    pub clicks: Vec<String>,
    /// Codes of partners that they were.
    pub partners: Vec<String>,
}

/// What takes the place of a value that named a person.
const GONE: Value = Value::Null;

impl Terms {
    /// Whether a free text names the person: by e-mail address, or by an id of ours.
    pub fn is_named_in(&self, text: &str) -> bool {
        if text.is_empty() {
            return false;
        }
        let lower = text.to_lowercase();
        self.emails.iter().any(|email| names_address(&lower, email))
            || self.clicks.iter().chain(&self.contacts).any(|id| lower.contains(id.as_str()))
    }

    /// Whether a JSON value names the person: as a free text does, or as a whole value by an external id.
    pub fn is_named_in_json(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.externals.contains(text) || self.is_named_in(text),
            Value::Array(list) => list.iter().any(|value| self.is_named_in_json(value)),
            Value::Object(fields) => fields.values().any(|value| self.is_named_in_json(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// Takes out every value that names the person by address, external id or click. A contact's id stays: it points to
    /// nobody any more. Says whether there was one.
    pub fn take_out(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => {
                let lower = text.to_lowercase();
                let gone = self.externals.contains(text)
                    || self.emails.iter().any(|email| names_address(&lower, email))
                    || self.clicks.contains(&lower);
                if gone {
                    *value = GONE;
                }
                gone
            }
            // All of them, not only up to the first.
            Value::Array(list) => list.iter_mut().map(|value| u32::from(self.take_out(value))).sum::<u32>() > 0,
            Value::Object(fields) => fields.values_mut().map(|value| u32::from(self.take_out(value))).sum::<u32>() > 0,
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
}

/// Whether an address stands in a text, and not as the end of a longer one: `ann@x.example` is not in `joann@x.example`.
fn names_address(text: &str, address: &str) -> bool {
    let of_address = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    text.match_indices(address).any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let mut behind = text[at + found.len()..].chars();
        let next = behind.next();
        // A full stop behind it ends a sentence, unless the name goes on.
        let goes_on = match next {
            Some('.') => behind.next().is_some_and(char::is_alphanumeric),
            Some(c) => c.is_alphanumeric() || matches!(c, '-' | '_'),
            None => false,
        };
        !before.is_some_and(of_address) && !goes_on
    })
}

/// Every text in fields of this name, wherever they stand.
pub(super) fn fields_named(value: &Value, name: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| fields_named(value, name, found)),
        Value::Object(fields) => {
            for (field, value) in fields {
                match value.as_str() {
                    Some(text) if field == name => {
                        if !found.iter().any(|known| known == text) {
                            found.push(text.to_owned());
                        }
                    }
                    _ => fields_named(value, name, found),
                }
            }
        }
        _ => {}
    }
}

/// Empties every field of this name, wherever it stands.
pub(super) fn without_field(value: &mut Value, name: &str) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|value| without_field(value, name)),
        Value::Object(fields) => {
            for (field, value) in fields {
                if field == name {
                    *value = GONE;
                } else {
                    without_field(value, name);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn terms() -> Terms {
        Terms { emails: vec!["ann@home.example".to_owned()], externals: vec!["7".to_owned()], ..Terms::default() }
    }

    #[test]
    fn an_address_is_found_as_a_whole_and_in_any_case() {
        for text in [
            "ann@home.example",
            "to Ann@Home.example.",
            "<ANN@home.example>",
            "x=ann@home.example&y",
            "\"ann@home.example\"",
        ] {
            assert!(terms().is_named_in(text), "{text}");
        }
        for text in ["joann@home.example", "x.ann@home.example", "ann@home.example.org", "ann@home.examples", "", "7"] {
            assert!(!terms().is_named_in(text), "{text}");
        }
    }

    #[test]
    fn only_values_that_name_somebody_are_taken_out() {
        let mut value = json!({"id": "x7", "external_id": "7", "list": ["a", "mail ann@home.example now"], "n": 7});
        assert!(terms().is_named_in_json(&value) && terms().take_out(&mut value));
        assert_eq!(value, json!({"id": "x7", "external_id": null, "list": ["a", null], "n": 7}));
        assert!(!terms().take_out(&mut value), "a second time changes nothing");
    }

    #[test]
    fn a_field_is_emptied_wherever_it_stands() {
        let mut value = json!({"click": "a", "candidates": [{"click": "b", "partner": "p"}, {"click": "a"}]});
        let mut found = Vec::new();
        fields_named(&value, "click", &mut found);
        assert_eq!(found, ["a", "b"]);
        without_field(&mut value, "click");
        assert_eq!(value, json!({"click": null, "candidates": [{"click": null, "partner": "p"}, {"click": null}]}));
    }
}
