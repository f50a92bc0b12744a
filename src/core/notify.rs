//! Whom a program tells of a due reward by mail, and in which words. Empty tells nobody.

use serde::{Deserialize, Serialize};

use super::limits::{EMAIL_MAX_BYTES, NAME_MAX_CHARS, NOTIFY_MAX, NOTIFY_TEXT_MAX_CHARS};

/// What may stand in the words of a mail, in braces.
pub const PLACEHOLDERS: &[&str] =
    &["amount", "partner", "partner_name", "program", "program_name", "reward", "rule", "side", "state"];

/// The subject where a program has none of its own.
const SUBJECT: &str = "{program_name}: a reward of {amount} is {state}";
/// The same for the text.
const TEXT: &str = "A reward of {amount} for {partner_name} ({partner}) in {program_name} is {state}.\n\n\
                    Rule: {rule}\nReward: {reward}\n";

/// Mail about due rewards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// Who is told of every reward of the program.
    #[schema(required = false)]
    pub addresses: Vec<String>,
    /// Whether partners are told of their own rewards, at the address that the partner has.
    #[schema(required = false)]
    pub partner: bool,
    /// Empty: a subject in English.
    #[schema(required = false)]
    pub subject: String,
    /// Empty: a text in English.
    #[schema(required = false)]
    pub text: String,
}

/// A mistake: the place below `notify`, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyError {
    pub field: String,
    pub problem: String,
}

impl Notify {
    pub fn check(&self) -> Result<(), NotifyError> {
        let wrong = |field: &str, problem: String| Err(NotifyError { field: field.to_owned(), problem });
        if self.addresses.len() > NOTIFY_MAX {
            let problem = format!("has {} addresses: at most {NOTIFY_MAX} are allowed", self.addresses.len());
            return wrong(".addresses", problem);
        }
        if let Some(at) = self.addresses.iter().position(|address| !is_address(address)) {
            let problem = format!("`{}` is not an e-mail address, for example ann@shop.example", self.addresses[at]);
            return wrong(&format!(".addresses[{at}]"), problem);
        }
        if self.subject.chars().count() > NAME_MAX_CHARS || self.subject.chars().any(char::is_control) {
            return wrong(".subject", format!("give one line of at most {NAME_MAX_CHARS} characters"));
        }
        if self.text.chars().count() > NOTIFY_TEXT_MAX_CHARS {
            return wrong(".text", format!("give at most {NOTIFY_TEXT_MAX_CHARS} characters"));
        }
        for (field, text) in [(".subject", &self.subject), (".text", &self.text)] {
            if let Err(unknown) = fill(text, |name| PLACEHOLDERS.contains(&name).then(String::new)) {
                let known = PLACEHOLDERS.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ");
                return wrong(field, format!("`{unknown}` is not known: use {known}"));
            }
        }
        Ok(())
    }

    /// Subject and text with their values; what has no value is empty.
    pub fn words(&self, value: impl Fn(&str) -> Option<String>) -> (String, String) {
        let value = |name: &str| Some(value(name).unwrap_or_default());
        let or = |own: &str, default: &str| {
            let text = if own.is_empty() { default } else { own };
            fill(text, value).unwrap_or_default()
        };
        // A subject is one line, whatever a name holds.
        let subject = or(&self.subject, SUBJECT).chars().filter(|c| !c.is_control()).collect();
        (subject, or(&self.text, TEXT))
    }
}

/// Whether a text is one e-mail address.
pub fn is_address(text: &str) -> bool {
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';' | '"');
    text.len() <= EMAIL_MAX_BYTES
        && text.rsplit_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && !local.contains('@') && host.contains('.') && !host.ends_with('.')
        })
        && !text.contains(odd)
}

/// Puts values in the place of `{name}`. The error is a placeholder without one; a brace that closes nothing is a brace.
pub(super) fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        filled.push_str(before);
        filled.push_str(&value(name).ok_or_else(|| format!("{{{name}}}"))?);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(notify: &Notify) -> Result<(), String> {
        notify.check().map_err(|error| format!("{}: {}", error.field, error.problem))
    }

    #[test]
    fn mistakes_name_their_place_and_the_mend() {
        let texts = |text: &str| Notify { text: text.to_owned(), ..Notify::default() };
        assert_eq!(
            checked(&texts("{amount} for {partner}, { and }")).unwrap_err(),
            checked(&texts("{ and }")).unwrap_err()
        );
        assert!(checked(&texts("{amout}")).unwrap_err().starts_with(".text: `{amout}` is not known: use {amount}"));
        assert_eq!(checked(&texts("{amount} for {partner}")), Ok(()));
        for wrong in ["ann", "@home.example", "a b@home.example", "ann@home", "a@b@home.example", "Ann <a@b.example>"] {
            let addresses = vec!["ok@home.example".to_owned(), wrong.to_owned()];
            let said = checked(&Notify { addresses, ..Notify::default() }).unwrap_err();
            assert!(said.starts_with(".addresses[1]: "), "{wrong}: {said}");
        }
        let subject = Notify { subject: "a\nb".to_owned(), ..Notify::default() };
        assert!(checked(&subject).unwrap_err().starts_with(".subject"));
    }

    #[test]
    fn words_have_their_values_and_a_name_breaks_no_header() {
        let own = Notify { subject: "{partner_name}: {amount}".to_owned(), ..Notify::default() };
        let value = |name: &str| match name {
            "amount" => Some("5.00 EUR".to_owned()),
            "partner_name" => Some("Jane\r\nBcc: x".to_owned()),
            _ => None,
        };
        let (subject, text) = own.words(value);
        assert_eq!(subject, "JaneBcc: x: 5.00 EUR");
        assert!(text.starts_with("A reward of 5.00 EUR for Jane"), "{text}");
    }
}
