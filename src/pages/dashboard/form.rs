//! What was typed into a form, and what stands in an address: names with values, some of them more than once.

use std::borrow::Cow;

use axum::{
    Form,
    extract::{FromRequest, FromRequestParts, Multipart, Query, Request},
    http::request::Parts,
    response::IntoResponse,
};

use super::{
    super::{fault::Fault, given::refused},
    operator::Operator,
};
use crate::catalog::fields::{Given, Source};

/// Names and values in their order. Values are without space around them, line ends are `\n`, and there is no NUL, which PostgreSQL does not
/// take even as a parameter.
#[derive(Clone, Debug, Default)]
struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn new(pairs: Vec<(String, String)>) -> Pairs {
        let clean = |text: String| text.replace("\r\n", "\n").replace('\0', "").trim().to_owned();
        Pairs(pairs.into_iter().map(|(name, value)| (name, clean(value))).collect())
    }

    fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// What a refused body means: what cannot be read does not carry the session's token either.
fn unread(rejection: impl IntoResponse) -> Fault {
    match refused(rejection) {
        Fault::Malformed => Fault::Expired,
        other => other,
    }
}

/// A form of the operator's. Whoever holds one knows that it carried the session's token.
#[derive(Clone, Debug, Default)]
pub(super) struct Filled(Pairs);

impl<S: Send + Sync> FromRequest<S> for Filled {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Filled, Fault> {
        let operator = request.extensions().get::<Operator>().cloned().ok_or(Fault::Expired)?;
        let Form(pairs) = Form::<Vec<(String, String)>>::from_request(request, state).await.map_err(unread)?;
        let filled = Filled(Pairs::new(pairs));
        operator.check(filled.text("token"))?;
        Ok(filled)
    }
}

impl Filled {
    /// The first value of a name; empty where there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.text(name)
    }

    /// All values of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The same with another value.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.0.retain(|(known, _)| known != name);
        self.0.0.push((name.to_owned(), value.to_owned()));
    }
}

/// Items are read from forms as they are from lines of CSV.
impl Source for Filled {
    fn take(&mut self, field: &'static str) -> Given<'_> {
        match self.text(field) {
            "" => Given::Nothing,
            text => Given::Text(Cow::Borrowed(text)),
        }
    }
}

/// A form with a file. Its token was checked as well; it stands before the file, so that nothing is read for nobody.
#[derive(Clone, Debug, Default)]
pub(super) struct FilledWithFile {
    fields: Pairs,
    /// What the browser calls it, and what it holds; both are empty where no file was chosen.
    pub(super) name: String,
    pub(super) body: Vec<u8>,
}

impl<S: Send + Sync> FromRequest<S> for FilledWithFile {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<FilledWithFile, Fault> {
        let operator = request.extensions().get::<Operator>().cloned().ok_or(Fault::Expired)?;
        let mut parts = Multipart::from_request(request, state).await.map_err(unread)?;
        let (mut pairs, mut form, mut is_ours) = (Vec::new(), FilledWithFile::default(), false);
        while let Some(part) = parts.next_field().await.map_err(unread)? {
            let name = part.name().unwrap_or_default().to_owned();
            if let Some(file) = part.file_name().map(str::to_owned) {
                if !is_ours {
                    return Err(Fault::Expired);
                }
                form.name = file;
                form.body = part.bytes().await.map_err(unread)?.into();
            } else {
                let value = part.text().await.map_err(unread)?;
                if name == "token" {
                    operator.check(&value)?;
                    is_ours = true;
                }
                pairs.push((name, value));
            }
        }
        form.fields = Pairs::new(pairs);
        if is_ours { Ok(form) } else { Err(Fault::Expired) }
    }
}

impl FilledWithFile {
    pub(super) fn text(&self, name: &str) -> &str {
        self.fields.text(name)
    }
}

/// What an address asks for behind its `?`.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(Pairs);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asked, Self::Rejection> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map(|Query(pairs)| pairs);
        Ok(Asked(Pairs::new(pairs.unwrap_or_default())))
    }
}

impl Asked {
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.text(name)
    }

    /// A value that is not empty.
    pub(super) fn some(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// A code in the spelling in which it is stored.
    pub(super) fn code(&self, name: &str) -> Option<String> {
        self.some(name).map(str::to_ascii_lowercase)
    }

    /// What stands behind the `?` of the same question with other values; an empty one is left out. What is said once (`done`) is not said
    /// again.
    pub(super) fn with(&self, changes: &[(&str, &str)]) -> String {
        let changed = |name: &str| name == "done" || changes.iter().any(|(other, _)| *other == name);
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let kept =
            self.0.0.iter().filter(|(name, _)| !changed(name)).map(|(name, value)| (name.as_str(), value.as_str()));
        query.extend_pairs(kept.chain(changes.iter().copied()).filter(|(_, value)| !value.is_empty()));
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_comes_without_what_nobody_sees() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let pairs = Pairs::new(vec![pair("a", " x\r\ny\0 "), pair("b", "1"), pair("b", "2")]);
        let mut form = Filled(pairs);
        assert_eq!(form.text("a"), "x\ny");
        assert_eq!(form.all("b").collect::<Vec<_>>(), ["1", "2"]);
        assert!(matches!(form.take("c"), Given::Nothing));
        form.set("b", "3");
        assert_eq!(form.all("b").collect::<Vec<_>>(), ["3"]);
    }

    #[test]
    fn a_question_is_asked_again_with_one_thing_changed() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let asked = Asked(Pairs(vec![pair("search", "a&b"), pair("done", "saved"), pair("sort", "name")]));
        assert_eq!(asked.with(&[("sort", "-name")]), "search=a%26b&sort=-name");
        assert_eq!(asked.with(&[("sort", "")]), "search=a%26b");
    }
}
