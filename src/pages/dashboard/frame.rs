//! What all pages of the dashboard have in common: navigation, the way out, what was done a moment ago.

use super::{
    super::{fault::Fault, sheet::Sheet, visit::Visit, words::Words},
    form::Asked,
    operator::Operator,
};
use crate::core::time::Millis;

/// The pages, in the order of the navigation: the address, and the name of the text.
const TABS: &[(&str, &str)] = &[
    ("/dashboard", "dash_overview"),
    ("/dashboard/programs", "dash_programs"),
    ("/dashboard/links", "dash_links"),
    ("/dashboard/partners", "dash_partners"),
    ("/dashboard/ads", "dash_ads"),
    ("/dashboard/share-links", "dash_share_links"),
    ("/dashboard/referrals", "dash_referrals"),
    ("/dashboard/review", "dash_review"),
    ("/dashboard/rewards", "dash_rewards"),
    ("/dashboard/uploads", "dash_uploads"),
    ("/dashboard/webhooks", "dash_webhooks"),
    ("/dashboard/audit", "dash_audit"),
];

/// What may have been done before a page is shown: `?done=`, and the text.
const DONE: &[(&str, &str)] = &[
    ("saved", "dash_done_saved"),
    ("deleted", "dash_done_deleted"),
    ("known", "dash_done_known"),
    ("issued", "dash_done_issued"),
    ("ruled", "dash_done_ruled"),
    ("replayed", "dash_done_replayed"),
    ("file", "dash_done_file"),
];

/// One entry of the navigation.
#[derive(Debug)]
pub(super) struct Tab {
    pub(super) address: &'static str,
    pub(super) label: String,
    pub(super) is_current: bool,
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) tabs: Vec<Tab>,
    /// For the forms of this session.
    pub(super) token: String,
    /// What was done a moment ago.
    pub(super) said: Option<String>,
}

/// The frame of a page below `address`, and its sheet.
pub(super) fn frame(
    visit: &Visit,
    operator: &Operator,
    asked: &Asked,
    address: &str,
    title: impl Into<String>,
) -> Result<(Words<'static>, Sheet<'static>, Frame), Fault> {
    let words = Words::new(visit.language);
    let tab = |(page, name): &(&'static str, &str)| Tab {
        address: page,
        label: words.say(name),
        is_current: *page == address,
    };
    let said = DONE.iter().find(|(done, _)| *done == asked.text("done")).map(|(_, name)| words.say(name));
    let frame = Frame { tabs: TABS.iter().map(tab).collect(), token: operator.form_token(), said };
    Ok((words, Sheet::new(words, title)?, frame))
}

/// A point in time for people: `1 Dec 2026, 12:30`. UTC.
pub(super) fn moment(words: Words<'_>, at: Millis) -> String {
    format!("{}, {}", words.day(at), clock(at, "%H:%M"))
}

/// The time of the day, UTC.
pub(super) fn clock(at: Millis, form: &str) -> String {
    let zoned = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
    zoned.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::page::Language;

    #[test]
    fn every_text_of_the_frame_is_there() {
        for language in [Language::En, Language::De] {
            let words = Words::new(language);
            for (_, name) in TABS.iter().chain(DONE) {
                assert_ne!(words.say(name), *name);
            }
        }
    }

    #[test]
    fn a_moment_is_told_in_words() {
        assert_eq!(moment(Words::new(Language::En), Millis(1_772_368_200_250)), "1 Mar 2026, 12:30");
    }
}
