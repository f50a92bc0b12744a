//! The kinds of items as the dashboard shows them: where their pages are, what a list shows, which field takes what.

use super::{
    super::words::Words,
    field::{Field, Input},
};
use crate::{
    catalog::{Ad, Entity, Kind, Link, Partner, Program, ShareLink},
    core::{
        program::{Attribution, Status},
        terms::Credit,
    },
};

/// A kind of items that is kept here.
pub(super) trait Kept: Entity {
    /// Its pages are at `/dashboard/PLACE`; with `_` for `-`, part of its texts' names.
    const PLACE: &'static str;
    /// Fields that a list shows, the key first.
    const LISTED: &'static [&'static str];
    /// A published address does not change what it stands for: it is made anew.
    const CHANGES: bool = true;
    /// Share links, and a partner's ads, may go with it.
    const TAKES_ALONG: bool = false;
}

impl Kept for Program {
    const PLACE: &'static str = "programs";
    const LISTED: &'static [&'static str] = &["code", "name", "status", "attribution", "window_days"];
}

impl Kept for Link {
    const PLACE: &'static str = "links";
    const LISTED: &'static [&'static str] = &["code", "name", "address", "programs", "expires_at"];
    const TAKES_ALONG: bool = true;
}

impl Kept for Partner {
    const PLACE: &'static str = "partners";
    const LISTED: &'static [&'static str] = &["code", "name", "email", "parent", "programs", "status"];
    const TAKES_ALONG: bool = true;
}

impl Kept for Ad {
    const PLACE: &'static str = "ads";
    const LISTED: &'static [&'static str] = &["code", "partner", "name", "media_type", "start_date"];
    const TAKES_ALONG: bool = true;
}

impl Kept for ShareLink {
    const PLACE: &'static str = "share-links";
    const LISTED: &'static [&'static str] = &["slug", "link", "partner", "ad"];
    const CHANGES: bool = false;
}

/// The name of a kind's text: `dash_share_links`, `dash_add_share_links`.
pub(super) fn text<T: Kept>(beginning: &str) -> String {
    format!("{beginning}_{}", T::PLACE.replace('-', "_"))
}

/// Fields with a text `hint_NAME`.
pub(super) const HINTED: &[&str] = &[
    "code",
    "domain",
    "origins",
    "qualification",
    "rewards",
    "parent_shares",
    "review",
    "notify",
    "preview",
    "address",
    "programs",
    "allowed",
    "rules",
    "fallback",
    "expires_at",
    "to_hosts",
    "click_parameter",
    "slug",
    "parent",
];

/// JSON as people read it; what cannot be read stays as it was typed.
fn pretty(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| text.to_owned())
}

/// One field of an item. `value`: as a cell of CSV has it, or as it was typed.
pub(super) fn field<T: Kept>(words: Words<'_>, name: &'static str, value: &str) -> Field {
    let choice = |known: &'static [&'static str], value: &str| {
        // What was never said is the first word or the default, which a list of choices has to show.
        let value = if value.is_empty() { default_word(name) } else { value };
        Field::choice(words, name, known, value, None)
    };
    let field = match name {
        "status" => choice(Status::WORDS, value),
        "attribution" => choice(Attribution::WORDS, value),
        "credit" => choice(Credit::WORDS, value),
        "rewards" | "rules" => Field::new(words, name, Input::Area { rows: 10, code: true }, pretty(value)),
        "qualification" | "review" | "parent_shares" | "notify" | "preview" => {
            Field::new(words, name, Input::Area { rows: 4, code: true }, pretty(value))
        }
        "description" => Field::new(words, name, Input::Area { rows: 3, code: false }, value),
        "window_days" | "max_clicks" => Field::new(words, name, Input::Line("number"), value),
        "start_date" => Field::new(words, name, Input::Line("date"), value),
        "email" => Field::new(words, name, Input::Line("email"), value),
        _ => Field::line(words, name, value),
    };
    let field = if is_needed::<T>(name) { field.required() } else { field };
    if HINTED.contains(&name) { field.hinted(words.say(&format!("hint_{name}"))) } else { field }
}

/// A slug is drawn where none is given.
fn is_needed<T: Kept>(name: &str) -> bool {
    match T::KIND {
        Kind::ShareLink => matches!(name, "link" | "partner"),
        Kind::Link => matches!(name, "code" | "address"),
        Kind::Program | Kind::Partner | Kind::Ad => T::KEY.contains(&name),
    }
}

fn default_word(name: &str) -> &'static str {
    match name {
        "attribution" => Attribution::default().word(),
        "credit" => Credit::default().word(),
        _ => Status::default().word(),
    }
}

/// All fields of an item, as cells of CSV have them.
pub(super) fn fields<T: Kept>(words: Words<'_>, value: impl Fn(&'static str) -> String) -> Vec<Field> {
    T::FIELDS.iter().map(|name| field::<T>(words, name, &value(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::page::Language;

    fn texts<T: Kept>() -> Vec<String> {
        let own = ["dash", "dash_add", "dash_intro"].map(|beginning| text::<T>(beginning));
        own.into_iter().chain(T::FIELDS.iter().map(|name| format!("field_{name}"))).collect()
    }

    #[test]
    fn every_field_and_kind_has_its_words() {
        let hints = HINTED.iter().map(|name| format!("hint_{name}"));
        let choices = Status::WORDS.iter().chain(Attribution::WORDS).chain(Credit::WORDS);
        let all =
            [texts::<Program>(), texts::<Link>(), texts::<Partner>(), texts::<Ad>(), texts::<ShareLink>()].concat();
        let all = all.into_iter().chain(hints).chain(choices.map(|word| format!("word_{word}")));
        for name in all {
            for language in [Language::En, Language::De] {
                assert_ne!(Words::new(language).say(&name), name, "{language:?} has no text for it");
            }
        }
    }

    #[test]
    fn json_is_laid_out_and_what_is_none_stays() {
        let words = Words::new(Language::En);
        assert_eq!(field::<Program>(words, "rewards", "[{\"a\":1}]").value, "[\n  {\n    \"a\": 1\n  }\n]");
        assert_eq!(field::<Program>(words, "rewards", "[{").value, "[{");
        assert!(field::<Link>(words, "address", "").is_required && !field::<Link>(words, "partner", "").is_required);
        assert!(field::<Ad>(words, "partner", "").is_required && field::<ShareLink>(words, "link", "").is_required);
        assert_eq!(field::<Program>(words, "status", "").value, "active");
    }
}
