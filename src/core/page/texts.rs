//! The page's own words: which there are, and which values may stand in each. A value that is not known where a text stands is refused
//! when the design is put, rather than left out when it is read.

use super::Mistakes;

/// Texts of the tracking page that a program may replace.
pub const TEXTS: &[&str] = &[
    "button",
    "clicks_title",
    "code_button",
    "code_intro",
    "code_title",
    "converted_label",
    "email_intro",
    "email_label",
    "footer",
    "greeting",
    "join_button",
    "join_intro",
    "join_title",
    "referrals_label",
    "rewards_title",
    "share_intro",
    "share_title",
    "title",
];

/// Placeholders of texts and blocks, where somebody is logged in and is a partner.
pub const PLACEHOLDERS: &[&str] = &["first_name", "referrals", "converted_referrals", "program", "partner"];
/// Where it is known whose numbers they are, but not who is looking.
const OF_NUMBERS: &[&str] = &["referrals", "converted_referrals", "program"];
/// Where nobody is known yet.
pub(super) const OF_NOBODY: &[&str] = &["program"];
/// Placeholders of promotions.
pub const PROMOTION_PLACEHOLDERS: &[&str] = &["link", "first_name", "partner", "program"];

/// What may stand in a text, by its name.
pub(super) fn placeholders_of(text: &str) -> &'static [&'static str] {
    match text {
        "clicks_title" | "greeting" | "rewards_title" | "share_intro" | "share_title" => PLACEHOLDERS,
        // They stand beside the numbers that are shown without a code as well.
        "converted_label" | "referrals_label" => OF_NUMBERS,
        _ => OF_NOBODY,
    }
}

/// Puts values in the place of `{name}`. The error is a placeholder without one; a brace that closes nothing is a brace.
pub fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    super::super::notify::fill(text, value)
}

impl Mistakes {
    /// Refuses placeholders that have no value there.
    pub(super) fn placeholders(&mut self, field: String, text: &str, known: &[&str]) {
        let Err(unknown) = fill(text, |name| known.contains(&name).then(String::new)) else { return };
        let names: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
        let is_elsewhere = PLACEHOLDERS.iter().any(|name| unknown == format!("{{{name}}}"));
        let problem = if is_elsewhere { "is not known yet where this text stands" } else { "is not known" };
        self.add(field, format!("`{unknown}` {problem}: use {}", names.join(", ")));
    }
}
