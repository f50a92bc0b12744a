//! Destination addresses as templates: `https://shop.example/haircare?src={partner}`.
//!
//! Placeholders stand behind the host only, so that no request can choose where a visitor is sent; what is put in is
//! percent-encoded. An unknown placeholder is refused when the link is written, not when it is clicked.

use std::fmt;

use super::{limits::ADDRESS_MAX_BYTES, percent};

/// What a placeholder may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    Click,
    Program,
    Link,
    Partner,
    Ad,
    Slug,
    Country,
    Language,
    Device,
    /// `{sub1}` … `{sub5}`: 0 to 4.
    Sub(u8),
}

/// Every placeholder, for messages and documentation.
pub const PLACEHOLDERS: &str =
    "{click} {program} {link} {partner} {ad} {slug} {country} {language} {device} {sub1} {sub2} {sub3} {sub4} {sub5}";

impl Variable {
    fn from_name(name: &[u8]) -> Option<Variable> {
        Some(match name {
            b"click" => Variable::Click,
            b"program" => Variable::Program,
            b"link" => Variable::Link,
            b"partner" => Variable::Partner,
            b"ad" => Variable::Ad,
            b"slug" => Variable::Slug,
            b"country" => Variable::Country,
            b"language" => Variable::Language,
            b"device" => Variable::Device,
            [b's', b'u', b'b', digit @ b'1'..=b'5'] => Variable::Sub(digit - b'1'),
            _ => return None,
        })
    }
}

/// Why an address is refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    #[error("is empty: give a full address, for example https://shop.example/page")]
    Empty,
    #[error("has {0} bytes: at most {ADDRESS_MAX_BYTES} are allowed")]
    TooLong(usize),
    #[error("`{0}` is not an absolute address ({1}): give one like https://shop.example/page")]
    NotAnAddress(String, url::ParseError),
    #[error("`{0}:` is not allowed: only http and https are")]
    Scheme(String),
    #[error("holds a user name or password before the host: remove it")]
    UserInfo,
    #[error("holds {0:?}: encode it or remove it")]
    Character(char),
    #[error("`{{{0}}}` is not a placeholder: use one of {PLACEHOLDERS}")]
    Unknown(String),
    #[error("has a placeholder in its host: placeholders may stand in the path, the query and the fragment only")]
    InHost,
    #[error("has a `{{` that is not closed")]
    Unclosed,
}

/// Checks an address and returns it in WHATWG form (host in lower case and punycode, path and query encoded),
/// placeholders as they were.
pub fn check(address: &str) -> Result<String, TemplateError> {
    if address.is_empty() {
        return Err(TemplateError::Empty);
    }
    if address.len() > ADDRESS_MAX_BYTES {
        return Err(TemplateError::TooLong(address.len()));
    }
    if let Some(character) = address.chars().find(|&c| c.is_control() || c == '\\' || c.is_whitespace()) {
        return Err(TemplateError::Character(character));
    }
    // The parser would encode the braces: each placeholder is replaced by a word of its own and put back afterwards.
    let mut plain = String::with_capacity(address.len());
    let mut names = Vec::new();
    let mut rest = address;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, tail) = behind.split_once('}').ok_or(TemplateError::Unclosed)?;
        if Variable::from_name(name.as_bytes()).is_none() {
            return Err(TemplateError::Unknown(name.to_owned()));
        }
        plain.push_str(before);
        plain.push_str(&stand_in(names.len()));
        names.push(name);
        rest = tail;
    }
    plain.push_str(rest);
    let url = url::Url::parse(&plain).map_err(|error| TemplateError::NotAnAddress(address.to_owned(), error))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(TemplateError::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TemplateError::UserInfo);
    }
    let mut checked = String::from(url);
    for (number, name) in names.iter().enumerate() {
        let word = stand_in(number);
        let host_end = checked.find("://").and_then(|at| checked[at + 3..].find('/').map(|end| at + 3 + end));
        match (checked.find(&word), host_end) {
            (Some(at), Some(end)) if at > end => checked.replace_range(at..at + word.len(), &format!("{{{name}}}")),
            _ => return Err(TemplateError::InHost),
        }
    }
    if checked.len() > ADDRESS_MAX_BYTES {
        return Err(TemplateError::TooLong(checked.len()));
    }
    Ok(checked)
}

/// A word that survives the parser unchanged and that nobody writes by accident.
fn stand_in(number: usize) -> String {
    format!("fpvar0{number}x9q")
}

/// Appends the template to `out`, each placeholder's value encoded. `value` returns the raw value of a variable.
pub fn render<'a>(template: &str, out: &mut Vec<u8>, value: impl Fn(Variable) -> &'a [u8]) {
    let mut rest = template.as_bytes();
    while let Some(open) = memchr::memchr(b'{', rest) {
        out.extend_from_slice(&rest[..open]);
        let behind = &rest[open + 1..];
        let close = memchr::memchr(b'}', behind);
        match close.and_then(|close| Some((close, Variable::from_name(&behind[..close])?))) {
            Some((close, variable)) => {
                percent::encode(value(variable), out);
                rest = &behind[close + 1..];
            }
            None => {
                // `check` let no such template through; what stands there is still no header separator.
                percent::encode(b"{", out);
                rest = behind;
            }
        }
    }
    out.extend_from_slice(rest);
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variable::Sub(n) => write!(f, "sub{}", n + 1),
            other => f.write_str(&format!("{other:?}").to_lowercase()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_come_out_in_whatwg_form() {
        for (given, checked) in [
            ("https://Shop.Example", "https://shop.example/"),
            (
                "https://shop.example/{partner}/x?a={sub1}&b={click}#{ad}",
                "https://shop.example/{partner}/x?a={sub1}&b={click}#{ad}",
            ),
            ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
            ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
        ] {
            assert_eq!(check(given).as_deref(), Ok(checked));
        }
    }

    #[test]
    fn bad_addresses_say_why() {
        assert!(matches!(check("javascript:alert(1)"), Err(TemplateError::Scheme(_))));
        assert!(matches!(check("/relative"), Err(TemplateError::NotAnAddress(..))));
        assert!(matches!(check("https://user:pw@shop.example/"), Err(TemplateError::UserInfo)));
        assert!(matches!(check("https://{partner}.example/"), Err(TemplateError::InHost)));
        assert!(matches!(check("https://{partner}/"), Err(TemplateError::InHost)));
        assert!(matches!(check("https://shop.example/{nobody}"), Err(TemplateError::Unknown(_))));
        assert!(matches!(check("https://shop.example/{partner"), Err(TemplateError::Unclosed)));
        assert!(matches!(check("https://shop.example/\r\nx"), Err(TemplateError::Character('\r'))));
        assert!(matches!(check("https://shop.example\\@evil.example/"), Err(TemplateError::Character('\\'))));
        assert!(matches!(check(""), Err(TemplateError::Empty)));
    }

    #[test]
    fn values_are_encoded() {
        let mut out = Vec::new();
        render("https://shop.example/{partner}?s={sub1}&x=1", &mut out, |variable| match variable {
            Variable::Partner => b"abc123",
            Variable::Sub(0) => b"a&b=c\r\n#",
            _ => b"",
        });
        assert_eq!(out, b"https://shop.example/abc123?s=a%26b%3Dc%0D%0A%23&x=1");
    }
}
