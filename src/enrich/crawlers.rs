//! Machines among the User-Agents: `config/agents/crawlers.json` (npm `crawler-user-agents`, MIT), and what we judge
//! otherwise.
//!
//! The list's patterns are regular expressions, and nearly all of them are plain text: those go into one Aho-Corasick
//! automaton, the others into one `RegexSet`. A pattern tagged `social-preview` makes a preview, any other one a bot; a
//! preview wins over a bot, because the previewers' texts often name several machines.
//!
//! Where a tracking link differs from a web page, and we therefore from the list:
//!
//! - **A person types `curl`.** curl and HTTPie are tools for the terminal, and the first click that anybody makes here
//!   is one of curl's: it counts as human. Libraries that programs use (python-requests, Go-http-client, okhttp, also
//!   wget, which mirrors sites) stay bots. A script that calls curl is counted too; who wants to keep one out names it
//!   with `--user-agent`.
//! - **Apps that preview links also open them.** The in-app browser of WhatsApp or Viber sends `Mozilla/5.0 …` with the
//!   app's name behind it, their previewers the bare name: behind `Mozilla/` these names say nothing. `MetaIAB
//!   Facebook` is never a preview: it is Facebook's in-app browser, that is, a large part of all clicks.
//! - **Some names are phones too.** `Butterfly` is a crawler and a telephone of HTC's: it says nothing behind
//!   `Mozilla/` either. (16,000 texts of real devices, uap-core's own test, were read to find the few such names.)
//! - **Short names hide in longer ones.** `RED/` is in `WIRED/3.2`: a pattern of up to four letters must start a word.
//! - **No User-Agent at all** is a bot: every browser sends one.
//! - **Who gives an address is a machine.** No browser's text holds `+http`, or ends a name in `bot/`, `crawler/` or
//!   `spider/`: new crawlers are known by that before they are on the list.

use aho_corasick::{AhoCorasick, MatchKind};
use regex::bytes::{RegexSet, RegexSetBuilder};
use serde::Deserialize;

use super::Verdict;

const LIST: &str = include_str!("../../config/agents/crawlers.json");

/// Patterns of the list that are people's tools.
const PEOPLE: &[&str] = &["^curl", "^HTTPie\\/", "MetaIAB Facebook"];

/// Patterns of the list that name an app: a machine only when the text is not a browser's.
const APPS: &[&str] = &["WhatsApp", "Viber", "Tumblr\\/", "Bluesky\\/", "Notion\\/", "Feedly", "Lemmy", "Goodreads"];

/// The same for patterns that are names of phones as well.
const PHONES: &[&str] = &["Butterfly", "Sonic", "speedy"];

/// Previewers that the list does not have, or has without the tag.
const MORE_PREVIEWS: &[&str] = &[
    "Akkoma",
    "Bluesky Cardyb",
    "Google-PageRenderer",
    "Misskey/",
    "Nextcloud",
    "Pleroma",
    "developers.google.com/+/web/snippet",
    "kakaotalk-scrap",
    "line-poker",
];

/// What only machines say.
const MORE_BOTS: &[&str] =
    &["+http://", "+https://", "bot/", "Bot/", "BOT/", "crawler/", "Crawler/", "spider/", "Spider/"];

/// A pattern with fewer letters must start a word.
const SHORT_LETTERS: usize = 4;

/// Each thread's lazy automaton of the patterns that are no plain text may grow that far, bytes.
const EXPRESSIONS_DFA_BYTES: usize = 512 * 1024;

#[derive(Deserialize)]
struct Entry {
    pattern: String,
    #[serde(default)]
    tags: Vec<String>,
}

/// What sends, and its name on the list where that is plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine<'a> {
    pub(super) verdict: Verdict,
    pub(super) name: &'a str,
}

/// What a match means.
#[derive(Debug)]
struct Meaning {
    verdict: Verdict,
    name: String,
    starts_word: bool,
    /// Says nothing in a browser's text.
    not_in_browsers: bool,
}

/// The compiled list.
#[derive(Debug)]
pub(super) struct Crawlers {
    literals: AhoCorasick,
    literal_meanings: Vec<Meaning>,
    expressions: RegexSet,
    expression_meanings: Vec<Meaning>,
}

impl Crawlers {
    /// About 3 ms and 1 MiB.
    pub(super) fn load() -> Result<Crawlers, String> {
        let entries: Vec<Entry> =
            serde_json::from_str(LIST).map_err(|error| format!("config/agents/crawlers.json: {error}"))?;
        let (mut literals, mut literal_meanings) = (Vec::new(), Vec::new());
        let (mut expressions, mut expression_meanings) = (Vec::new(), Vec::new());
        for Entry { pattern, tags } in entries {
            if PEOPLE.contains(&pattern.as_str()) {
                continue;
            }
            let preview = tags.iter().any(|tag| tag == "social-preview");
            let verdict = if preview { Verdict::Preview } else { Verdict::Bot };
            let not_in_browsers = APPS.iter().chain(PHONES).any(|name| *name == pattern);
            match literal(&pattern) {
                Some(text) => {
                    let starts_word = text.bytes().filter(u8::is_ascii_alphanumeric).count() <= SHORT_LETTERS;
                    let name = text.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
                    literal_meanings.push(Meaning { verdict, name, starts_word, not_in_browsers });
                    literals.push(text);
                }
                None => {
                    let name = String::new();
                    expression_meanings.push(Meaning { verdict, name, starts_word: false, not_in_browsers });
                    expressions.push(pattern);
                }
            }
        }
        for (more, verdict) in [(MORE_PREVIEWS, Verdict::Preview), (MORE_BOTS, Verdict::Bot)] {
            literals.extend(more.iter().map(ToString::to_string));
            let meaning = |_| Meaning { verdict, name: String::new(), starts_word: false, not_in_browsers: false };
            literal_meanings.extend(more.iter().map(meaning));
        }
        Ok(Crawlers {
            literals: AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .build(literals)
                .map_err(|error| format!("config/agents/crawlers.json: {error}"))?,
            literal_meanings,
            expressions: RegexSetBuilder::new(expressions)
                .unicode(false)
                .dfa_size_limit(EXPRESSIONS_DFA_BYTES)
                .build()
                .map_err(|error| format!("config/agents/crawlers.json: {error}"))?,
            expression_meanings,
        })
    }

    /// What sends this User-Agent: of several names the first that decides.
    pub(super) fn find(&self, agent: &str) -> Machine<'_> {
        if agent.trim().is_empty() {
            return Machine { verdict: Verdict::Bot, name: "" };
        }
        let text = agent.as_bytes();
        let browser = text.starts_with(b"Mozilla/");
        let mut machine = Machine { verdict: Verdict::Browser, name: "" };
        let literals = self.literals.find_overlapping_iter(text).filter_map(|found| {
            let meaning = &self.literal_meanings[found.pattern().as_usize()];
            let inside_word = found.start() > 0 && text[found.start() - 1].is_ascii_alphanumeric();
            (!(meaning.starts_word && inside_word)).then_some(meaning)
        });
        for meaning in literals {
            machine.consider(meaning, browser);
            if machine.verdict == Verdict::Preview {
                return machine;
            }
        }
        for found in &self.expressions.matches(text) {
            machine.consider(&self.expression_meanings[found], browser);
        }
        machine
    }
}

impl<'a> Machine<'a> {
    fn consider(&mut self, meaning: &'a Meaning, browser: bool) {
        let heavier = meaning.verdict > self.verdict || meaning.verdict == self.verdict && self.name.is_empty();
        if heavier && !(meaning.not_in_browsers && browser) {
            *self = Machine { verdict: meaning.verdict, name: &meaning.name };
        }
    }
}

/// The text that a pattern stands for, when it stands for one only.
fn literal(pattern: &str) -> Option<String> {
    let mut text = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            // An escaped letter is a class (`\d`), anything else escaped is itself.
            '\\' => text.push(characters.next().filter(|next| !next.is_ascii_alphanumeric())?),
            '.' | '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => return None,
            character => text.push(character),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Example {
        pattern: String,
        #[serde(default)]
        tags: Vec<String>,
        #[serde(default)]
        instances: Vec<String>,
    }

    #[test]
    fn every_example_of_the_list_is_recognised() {
        let crawlers = Crawlers::load().unwrap();
        let examples: Vec<Example> = serde_json::from_str(LIST).unwrap();
        let mut count = 0;
        for Example { pattern, tags, instances } in examples {
            let people = PEOPLE.contains(&pattern.as_str());
            for instance in instances {
                let verdict = crawlers.find(&instance).verdict;
                let app_in_browser = APPS.contains(&pattern.as_str()) && instance.starts_with("Mozilla/");
                if people {
                    assert_eq!(verdict, Verdict::Browser, "{instance}");
                } else if tags.iter().any(|tag| tag == "social-preview") && !app_in_browser {
                    assert_eq!(verdict, Verdict::Preview, "{pattern}: {instance}");
                } else if !app_in_browser {
                    assert_ne!(verdict, Verdict::Browser, "{pattern}: {instance}");
                }
                count += 1;
            }
        }
        assert!(count > 2_000, "{count}");
    }

    #[test]
    fn our_exceptions_are_patterns_of_the_list() {
        for pattern in PEOPLE.iter().chain(APPS).chain(PHONES) {
            assert!(LIST.contains(&format!("\"pattern\": {}", serde_json::to_string(pattern).unwrap())), "{pattern}");
        }
    }

    #[test]
    fn people_are_no_machines() {
        let crawlers = Crawlers::load().unwrap();
        for agent in [
            "curl/8.5.0",
            "HTTPie/3.2.2",
            "xh/0.22",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/470.0.0.38.105;FBDV/iPhone14,5;FBSN/iOS;FBLC/en_US]",
            "Mozilla/5.0 (Linux; Android 16; Pixel 10; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/146.0 Mobile Safari/537.36 MetaIAB Facebook",
            "Mozilla/5.0 (Linux; Android 14; SM-S918B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36 Instagram 335.0.0.35.102 Android",
            "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/120.0 Mobile Safari/537.36 [Pinterest/Android]",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 WhatsApp/24.1.78",
            "Mozilla/5.0 (Linux; Android 12; CUBOT X50) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 4.1.1; HTC Butterfly Build/JRO03C) AppleWebKit/535.19 (KHTML, like Gecko) Chrome/18.0.1025.166 Mobile Safari/535.19",
            "Mozilla/5.0 (iPad; U; CPU iPhone OS 7_0 like Mac OS X; de-DE) WIRED/3.2.3.11.87970",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 [LinkedInApp]/9.29",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Slack/4.38.125 Chrome/124.0.6367.78 Electron/30.0.1 Safari/537.36",
        ] {
            assert_eq!(crawlers.find(agent).verdict, Verdict::Browser, "{agent}");
        }
    }

    #[test]
    fn machines_are_known_also_when_no_list_has_them() {
        let crawlers = Crawlers::load().unwrap();
        for (agent, verdict) in [
            ("", Verdict::Bot),
            (" \t", Verdict::Bot),
            ("python-requests/2.31", Verdict::Bot),
            ("Go-http-client/2.0", Verdict::Bot),
            ("okhttp/4.12.0", Verdict::Bot),
            ("Wget/1.21.3", Verdict::Bot),
            ("Mozilla/5.0 (compatible; NobodyKnowsMe/1.0; +https://nobody.example/robot)", Verdict::Bot),
            ("Novelbot/0.1", Verdict::Bot),
            ("facebookexternalhit/1.1 Facebot Twitterbot/1.0", Verdict::Preview),
            ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", Verdict::Preview),
            ("WhatsApp/2.23.20.0 A", Verdict::Preview),
            ("TelegramBot (like TwitterBot)", Verdict::Preview),
            ("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", Verdict::Preview),
            ("LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)", Verdict::Preview),
            ("Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", Verdict::Preview),
            ("http.rb/5.1.1 (Mastodon/4.2.1; +https://mastodon.social/)", Verdict::Preview),
        ] {
            assert_eq!(crawlers.find(agent).verdict, verdict, "{agent}");
        }
    }

    #[test]
    fn a_pattern_is_literal_or_it_is_not() {
        assert_eq!(literal("pinterest\\.com\\/bot"), Some("pinterest.com/bot".to_owned()));
        for pattern in ["^curl", "[wW]get", "a.b", "\\d", "a|b", "x$", "(^| )s"] {
            assert_eq!(literal(pattern), None, "{pattern}");
        }
    }
}
