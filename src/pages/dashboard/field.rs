//! The fields of a form: what each is called, what it takes, what stands in it, and what is wrong with it.

use askama::Template;

use super::super::words::Words;
use crate::catalog::Mistake;

/// What a field takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// One line; the type of `<input>`.
    Line(&'static str),
    /// Several lines; `code`: in letters of one width.
    Area {
        rows: u32,
        code: bool,
    },
    /// One of these values, each with what people call it.
    Choice(Vec<(String, String)>),
    File {
        accept: &'static str,
    },
}

#[derive(Clone, Debug, Template)]
#[template(path = "dashboard/field.html")]
pub(super) struct Field {
    /// Also its id on the page.
    pub(super) name: String,
    pub(super) label: String,
    pub(super) hint: Option<String>,
    pub(super) input: Input,
    pub(super) value: String,
    pub(super) problem: Option<String>,
    pub(super) is_required: bool,
    /// It is shown, and cannot be changed.
    pub(super) is_fixed: bool,
}

impl Field {
    /// A field whose label is the text `field_NAME`.
    pub(super) fn new(words: Words<'_>, name: &str, input: Input, value: impl Into<String>) -> Field {
        Field {
            name: name.to_owned(),
            label: words.say(&format!("field_{name}")),
            hint: None,
            input,
            value: value.into(),
            problem: None,
            is_required: false,
            is_fixed: false,
        }
    }

    pub(super) fn line(words: Words<'_>, name: &str, value: impl Into<String>) -> Field {
        Field::new(words, name, Input::Line("text"), value)
    }

    /// One of some words of ours, each called by the text `word_WORD`; nothing chosen is called by the text `none`.
    pub(super) fn choice(words: Words<'_>, name: &str, known: &[&str], value: &str, none: Option<String>) -> Field {
        let all = none.into_iter().map(|label| (String::new(), label));
        let choices = all.chain(known.iter().map(|word| ((*word).to_owned(), called(words, word))));
        Field::new(words, name, Input::Choice(choices.collect()), value)
    }

    #[must_use]
    pub(super) fn hinted(self, hint: String) -> Field {
        Field { hint: Some(hint), ..self }
    }

    #[must_use]
    pub(super) fn required(self) -> Field {
        Field { is_required: true, ..self }
    }

    fn is_of(&self, mistake: &Mistake) -> bool {
        base(&mistake.field) == self.name
    }

    /// What describes it, for those who do not see it: ids of the page.
    fn described(&self) -> String {
        let problem = self.problem.as_ref().map(|_| format!("{}-problem", self.name));
        let hint = self.hint.as_ref().map(|_| format!("{}-hint", self.name));
        problem.into_iter().chain(hint).collect::<Vec<_>>().join(" ")
    }
}

/// What people call one of our words.
pub(super) fn called(words: Words<'_>, word: &str) -> String {
    words.say(&format!("word_{}", word.replace('-', "_")))
}

/// The field that a mistake lies in: `rewards` of `rewards[0].value`.
fn base(field: &str) -> &str {
    field.split(['[', '.']).next().unwrap_or(field)
}

/// Marks each field that something is wrong with. Gives what belongs to none of them.
pub(super) fn mark(fields: &mut [Field], mistakes: &[Mistake]) -> Vec<String> {
    for field in fields.iter_mut() {
        let own: Vec<String> = mistakes.iter().filter(|mistake| field.is_of(mistake)).map(told).collect();
        if !own.is_empty() {
            field.problem = Some(own.join("; "));
        }
    }
    mistakes.iter().filter(|mistake| !fields.iter().any(|field| field.is_of(mistake))).map(told).collect()
}

/// A mistake as a sentence: `rewards[0].value is missing`.
pub(super) fn told(mistake: &Mistake) -> String {
    format!("{} {}", mistake.field, mistake.problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::page::Language;

    #[test]
    fn mistakes_stand_at_their_fields() {
        let words = Words::new(Language::En);
        let mut fields = [Field::line(words, "code", "a b"), Field::line(words, "rewards", "[]")];
        let mistakes =
            [Mistake::new("rewards[0].to", "is wrong"), Mistake::new("rewards", "is odd"), Mistake::new("other", "x")];
        assert_eq!(mark(&mut fields, &mistakes), ["other x"]);
        assert_eq!(fields[0].problem, None);
        assert_eq!(fields[1].problem.as_deref(), Some("rewards[0].to is wrong; rewards is odd"));
        assert_eq!(fields[1].described(), "rewards-problem");
    }
}
