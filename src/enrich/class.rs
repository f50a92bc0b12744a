//! Which class of history a request belongs to. Pure: what is known about the request comes in as [`Signals`].
//!
//! The first line that holds decides, from what is certain about the request to what is guessed about its sender:
//!
//! | class | because | why it stands here |
//! |---|---|---|
//! | head | the method is HEAD | nobody saw a page, whoever asked |
//! | test | somebody marked the click as a test | said on purpose: outweighs all guesses |
//! | owner | the partner clicks their own link | known, not guessed |
//! | prefetch | the browser says that it fetches ahead | the visitor has not clicked (yet), whatever the sender is called |
//! | preview | a known link previewer, or `X-Purpose: preview` | a machine that shows the link to people |
//! | bot | a known crawler, library or monitor, or no User-Agent at all | a machine |
//! | repeat | the same visitor on the same link within the window | a person, again |
//! | human | nothing speaks against it | |
//!
//! All are kept, only human and repeat count, so a wrong guess can be found and corrected in the reports.

use super::Verdict;
use crate::core::event::Class;

/// What a browser says about why it asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    #[default]
    Navigate,
    /// `Sec-Purpose: prefetch` (also `prefetch;prerender`), `Purpose: prefetch`, `X-Purpose: prefetch`, `X-Moz:
    /// prefetch`.
    Prefetch,
    /// `Purpose: preview`, `X-Purpose: preview` (Safari's top sites, Facebook).
    Preview,
}

/// What is known about a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signals {
    pub method_is_head: bool,
    pub purpose: Purpose,
    pub verdict: Verdict,
    /// The visitor's last click on this link is within the repeat window.
    pub repeat: bool,
    /// The visitor is the link's own partner.
    pub owner: bool,
    /// The click is marked as a test.
    pub test: bool,
}

impl Purpose {
    /// Names of the headers that say it, lower case.
    pub const HEADERS: [&'static str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];

    /// What the values of those headers say together: prefetch wins.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Purpose {
        let mut purpose = Purpose::Navigate;
        for value in values {
            // A token, then parameters: `prefetch;prerender`, `prefetch;anonymous-client-ip`.
            let token = value.split(|byte| matches!(byte, b';' | b',')).next().unwrap_or_default().trim_ascii();
            if token.eq_ignore_ascii_case(b"prefetch") || token.eq_ignore_ascii_case(b"prerender") {
                return Purpose::Prefetch;
            }
            if token.eq_ignore_ascii_case(b"preview") {
                purpose = Purpose::Preview;
            }
        }
        purpose
    }
}

/// The class of a request; the table above is its text.
pub fn classify(signals: Signals) -> Class {
    let Signals { method_is_head, purpose, verdict, repeat, owner, test } = signals;
    match (purpose, verdict) {
        _ if method_is_head => Class::Head,
        _ if test => Class::Test,
        _ if owner => Class::Owner,
        (Purpose::Prefetch, _) => Class::Prefetch,
        (Purpose::Preview, _) | (_, Verdict::Preview) => Class::Preview,
        (_, Verdict::Bot) => Class::Bot,
        _ if repeat => Class::Repeat,
        _ => Class::Human,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_table_outweighs_those_below() {
        let mut signals = Signals {
            method_is_head: true,
            purpose: Purpose::Prefetch,
            verdict: Verdict::Preview,
            repeat: true,
            owner: true,
            test: true,
        };
        let mut seen = vec![classify(signals)];
        signals.method_is_head = false;
        seen.push(classify(signals));
        signals.test = false;
        seen.push(classify(signals));
        signals.owner = false;
        seen.push(classify(signals));
        signals.purpose = Purpose::Navigate;
        seen.push(classify(signals));
        signals.verdict = Verdict::Bot;
        seen.push(classify(signals));
        signals.verdict = Verdict::Browser;
        seen.push(classify(signals));
        signals.repeat = false;
        seen.push(classify(signals));
        let table = [
            Class::Head,
            Class::Test,
            Class::Owner,
            Class::Prefetch,
            Class::Preview,
            Class::Bot,
            Class::Repeat,
            Class::Human,
        ];
        assert_eq!(seen, table);
        assert_eq!(table.len(), Class::ALL.len(), "every class can be reached");
        assert_eq!(classify(Signals { purpose: Purpose::Preview, ..Signals::default() }), Class::Preview);
    }

    #[test]
    fn browsers_say_that_they_fetch_ahead_in_many_ways() {
        for value in ["prefetch", "prefetch;prerender", "prefetch;anonymous-client-ip", " Prefetch ", "prerender"] {
            assert_eq!(Purpose::of([value.as_bytes()]), Purpose::Prefetch, "{value:?}");
        }
        assert_eq!(Purpose::of([b"preview".as_slice()]), Purpose::Preview);
        assert_eq!(Purpose::of([b"preview".as_slice(), b"prefetch"]), Purpose::Prefetch);
        assert_eq!(Purpose::of([b"".as_slice(), b"navigate", b"unprefetch"]), Purpose::Navigate);
        assert_eq!(Purpose::of([]), Purpose::Navigate);
    }
}
