//! What the pages say, in the reader's language: Fluent messages (<https://projectfluent.org>), one file a language in `texts/`, and a
//! program's own words in their place where its page has some.

use std::sync::LazyLock;

use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};
use unic_langid::LanguageIdentifier;

use crate::core::page::{self, Block, Design, Language, PLACEHOLDERS};

type Bundle = FluentBundle<FluentResource>;

/// Names of messages that a program may replace begin so.
const OWN: &str = "track_";

static ENGLISH: LazyLock<Bundle> = LazyLock::new(|| bundle("en", include_str!("texts/en.ftl")));
static GERMAN: LazyLock<Bundle> = LazyLock::new(|| bundle("de", include_str!("texts/de.ftl")));

fn bundle(language: &str, text: &str) -> Bundle {
    let language: LanguageIdentifier = language.parse().unwrap_or_default();
    let mut bundle = Bundle::new_concurrent(vec![language]);
    // The marks around values would end up in titles and mails; templates set `dir` where it matters.
    bundle.set_use_isolating(false);
    // A test reads both files: what cannot be parsed there is not shipped.
    let resource = FluentResource::try_new(text.to_owned()).unwrap_or_else(|(resource, _)| resource);
    bundle.add_resource_overriding(resource);
    bundle
}

/// The words of one page.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    pub(super) language: Language,
    design: Option<&'a Design>,
    /// Who and what the page is about, as far as it is known, for the placeholders of a program's own words.
    values: &'a [(&'static str, String)],
}

impl std::fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Words({})", self.language.word())
    }
}

impl<'a> Words<'a> {
    pub(super) fn new(language: Language) -> Words<'a> {
        Words { language, design: None, values: &[] }
    }

    /// The same with a program's own words.
    pub(super) fn of(language: Language, design: &'a Design) -> Words<'a> {
        Words { language, design: Some(design), values: &[] }
    }

    /// The same where this is known.
    pub(super) fn about(self, values: &'a [(&'static str, String)]) -> Words<'a> {
        Words { values, ..self }
    }

    /// For `lang=`.
    pub(super) fn code(&self) -> &'static str {
        self.language.word()
    }

    /// A text without values.
    pub(super) fn say(&self, name: &str) -> String {
        self.tell(name, &[])
    }

    /// A text with one value.
    pub(super) fn with(&self, name: &str, key: &str, value: &(impl ToString + ?Sized)) -> String {
        self.tell(name, &[(key, value.to_string())])
    }

    /// A text with values. What nobody has words for comes out as its name: a test looks for all of them.
    pub(super) fn tell(&self, name: &str, values: &[(&str, String)]) -> String {
        if let Some(text) = self.own(name) {
            return self.filled(text, values);
        }
        let bundle = match self.language {
            Language::En => &*ENGLISH,
            Language::De => &*GERMAN,
        };
        let Some(pattern) = bundle.get_message(name).and_then(|message| message.value()) else {
            return name.to_owned();
        };
        let mut arguments = FluentArgs::new();
        let about = self.values.iter().map(|(key, value)| (*key, value));
        for (key, value) in about.chain(values.iter().map(|(key, value)| (*key, value))) {
            // Numbers choose plural forms. `012345` is none.
            let value = match value.parse::<u32>() {
                Ok(number) if number.to_string() == *value => FluentValue::from(number),
                _ => FluentValue::from(value.clone()),
            };
            arguments.set(key, value);
        }
        bundle.format_pattern(pattern, Some(&arguments), &mut Vec::new()).into_owned()
    }

    /// How a partner stands, by its status's word.
    pub(super) fn status(&self, word: &str) -> String {
        self.say(&format!("status_{word}"))
    }

    /// The first of two texts where the program has words of its own for it, and otherwise the second.
    pub(super) fn own_or(&self, name: &str, other: &str) -> String {
        self.say(if self.own(name).is_some() { name } else { other })
    }

    /// A program's text with its values; what has none yet is left out.
    fn filled(&self, text: &str, more: &[(&str, String)]) -> String {
        let value = |key: &str| {
            let more = more.iter().find(|(name, _)| *name == key).map(|(_, value)| value);
            let value = more.or_else(|| self.values.iter().find(|(name, _)| *name == key).map(|(_, value)| value));
            value.cloned().or_else(|| PLACEHOLDERS.contains(&key).then(String::new))
        };
        // Texts of before placeholders were looked at stay as they are.
        page::fill(text, value).unwrap_or_else(|_| text.to_owned())
    }

    /// A program's blocks with their values. One that needs a value that is not known here is left out.
    pub(super) fn blocks(&self, blocks: &[Block]) -> Vec<Block> {
        let is_missing = |key: &str| PLACEHOLDERS.contains(&key) && !self.values.iter().any(|(name, _)| *name == key);
        let is_whole = |text: &str| page::fill(text, |key| (!is_missing(key)).then(String::new)).is_ok();
        let known = blocks.iter().filter(|block| is_whole(block.text().1));
        known.map(|block| block.with_text(self.filled(block.text().1, &[]))).collect()
    }

    fn own(&self, name: &str) -> Option<&'a String> {
        let name = name.strip_prefix(OWN)?;
        self.design?.texts.get(&self.language)?.get(name)
    }

    /// A number as it is written in this language: `12,345` or `12.345`.
    pub(super) fn number(&self, number: impl std::borrow::Borrow<u64>) -> String {
        let digits = number.borrow().to_string();
        let separator = match self.language {
            Language::En => ',',
            Language::De => '.',
        };
        let mut out = String::with_capacity(digits.len() + digits.len() / 3);
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                out.push(separator);
            }
            out.push(digit);
        }
        out
    }

    /// A day: `1 Dec 2026` or `1. Dez. 2026`.
    pub(super) fn day(&self, at: crate::core::time::Millis) -> String {
        let zoned = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
        let month = self.say(&format!("month_{}", zoned.month()));
        match self.language {
            Language::En => format!("{} {month} {}", zoned.day(), zoned.year()),
            Language::De => format!("{}. {month} {}", zoned.day(), zoned.year()),
        }
    }
}

/// The first language of `Accept-Language` (RFC 9110 §12.5.4) that we speak; English otherwise.
pub(super) fn accepted(header: Option<&str>) -> Language {
    let mut best = (0, Language::En);
    for range in header.unwrap_or_default().split(',').take(20) {
        let mut parts = range.split(';');
        let tag = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.trim().strip_prefix("q=").map(str::to_owned));
        let quality = quality.map_or(1_000, |q| q.parse::<f32>().map_or(0, |q| (q.clamp(0.0, 1.0) * 1_000.0) as u32));
        let language = tag.split('-').next().and_then(Language::from_word);
        if let Some(language) = language
            && quality > best.0
        {
            best = (quality, language);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const FILES: [(&str, &str); 2] = [("en", include_str!("texts/en.ftl")), ("de", include_str!("texts/de.ftl"))];

    fn names(text: &str) -> BTreeSet<&str> {
        let lines = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()));
        lines.filter_map(|line| Some(line.split_once('=')?.0.trim())).collect()
    }

    #[test]
    fn all_languages_say_the_same_things_and_are_well_formed() {
        for (language, text) in FILES {
            assert!(FluentResource::try_new(text.to_owned()).is_ok(), "{language}");
            assert_eq!(names(text), names(FILES[0].1), "{language}");
        }
    }

    #[test]
    fn what_a_program_may_replace_is_what_begins_with_track() {
        let own: BTreeSet<&str> = names(FILES[0].1).into_iter().filter_map(|name| name.strip_prefix(OWN)).collect();
        assert_eq!(own, page::TEXTS.iter().copied().collect());
    }

    #[test]
    fn every_word_that_is_asked_for_is_there() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pages");
        let known = names(FILES[0].1);
        let (mut files, mut asked) = (vec![folder], 0);
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for part in [".say(\"", ".with(\"", ".tell(\"", ".own_or(\""] {
                for behind in text.split(part).skip(1) {
                    let name = behind.split('"').next().unwrap();
                    assert!(known.contains(name), "{}: there is no text `{name}`", path.display());
                    asked += 1;
                }
            }
        }
        assert!(asked > 20, "{asked}");
    }

    #[test]
    fn the_readers_language_is_the_one_they_like_best_that_we_speak() {
        for (header, expected) in [
            ("", Language::En),
            ("fr", Language::En),
            ("de", Language::De),
            ("fr,de-AT;q=0.8,en;q=0.9", Language::En),
            ("fr, de-AT;q=0.8, en;q=0.5", Language::De),
            ("de;q=0", Language::En),
            ("*;q=x,de;q=2", Language::De),
        ] {
            assert_eq!(accepted(Some(header)), expected, "{header}");
        }
    }

    #[test]
    fn numbers_and_a_programs_own_words() {
        assert_eq!(Words::new(Language::En).number(1_234_567), "1,234,567");
        assert_eq!(Words::new(Language::De).number(999), "999");
        let texts = [("button".to_owned(), "Go, {first_name}! {partner}".to_owned())].into();
        let design = Design { texts: [(Language::En, texts)].into(), ..Design::default() };
        let words = Words::of(Language::En, &design);
        assert_eq!(words.with("track_button", "first_name", &"<Ann>"), "Go, <Ann>! ");
        let about = [("first_name", "Bo".to_owned()), ("program", "Spring".to_owned())];
        let words = words.about(&about);
        assert_eq!(words.say("track_button"), "Go, Bo! ");
        assert_eq!(words.say("track_footer"), "Spring", "also in the place of Fluent's variables");
        assert_eq!(words.own_or("track_button", "copy"), "Go, Bo! ");
        assert_eq!(words.own_or("track_title", "copy"), "Copy");
        let text = |text: &str| Block::Text { text: text.to_owned() };
        let blocks = ["Dear {first_name}", "{referrals} so far", "{7*7} {"].map(text);
        assert_eq!(words.blocks(&blocks), [text("Dear Bo"), text("{7*7} {")]);
        assert_eq!(Words::of(Language::De, &design).say("track_button"), "Empfehlungen ansehen");
        assert_eq!(
            words.tell("code_mail_subject", &[("code", "012345".to_owned()), ("program", "Spring".to_owned())]),
            "012345 is your code for Spring"
        );
        assert_eq!(words.with("tries_left", "tries", &1), "That is not the code. One try is left.");
    }
}
