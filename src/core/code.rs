//! Codes: the names by which programs, links, partners, ads and share links stand in a URL.
//!
//! 1 to 48 ASCII letters, digits, `-`, `_` or `.`, not starting with `.`. They match without regard to case: a [`Code`] is always lower case.

use std::{borrow::Borrow, fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Serialize};

use super::limits::CODE_MAX_BYTES;

/// A valid code, lower case, on the heap: what the catalog and the index keep.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(Box<str>);

/// A valid code, lower case, on the stack: what a request is decoded into without an allocation.
#[derive(Clone, Copy)]
pub struct CodeBuf {
    len: u8,
    bytes: [u8; CODE_MAX_BYTES],
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodeError {
    #[error("is empty: give 1 to {CODE_MAX_BYTES} characters")]
    Empty,
    #[error("has {0} characters: at most {CODE_MAX_BYTES} are allowed")]
    TooLong(usize),
    #[error("has {0:?} at position {1}: only letters a-z, digits, `-`, `_` and `.` (not first) are allowed")]
    Character(char, usize),
    #[error("`{0}` is a word that Fingerpost's own addresses use: choose another slug")]
    Reserved(String),
}

/// First path segments that are ours: no share link may take them as its slug.
pub const RESERVED_SLUGS: &[&str] = &[
    "go",
    "s",
    "v",
    "e",
    "r",
    "fp.js",
    "healthz",
    "readyz",
    "metrics",
    "partner",
    "partners",
    "v1",
    "api",
    "admin",
    "static",
    "assets",
    "favicon.ico",
    "robots.txt",
    "sitemap.xml",
    "apple-touch-icon.png",
    "lead",
    "leads",
    "login",
    "logout",
    "dashboard",
];

const fn is_code_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

impl CodeBuf {
    /// The code that these bytes name, folded to lower case; `None` when they are not a code.
    pub fn new(text: &[u8]) -> Option<CodeBuf> {
        if text.is_empty() || text.len() > CODE_MAX_BYTES || text[0] == b'.' || !text.iter().copied().all(is_code_byte)
        {
            return None;
        }
        let mut bytes = [0; CODE_MAX_BYTES];
        for (to, from) in bytes.iter_mut().zip(text) {
            *to = from.to_ascii_lowercase();
        }
        Some(CodeBuf { len: text.len() as u8, bytes })
    }

    pub fn as_str(&self) -> &str {
        // Every byte was checked to be ASCII when the value was made.
        std::str::from_utf8(&self.bytes[..self.len as usize]).unwrap_or_default()
    }
}

impl Deref for CodeBuf {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for CodeBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for CodeBuf {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}
impl Eq for CodeBuf {}

impl Code {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A code that may stand alone as the first segment of a path.
    pub fn slug(text: &str) -> Result<Code, CodeError> {
        let code: Code = text.parse()?;
        if RESERVED_SLUGS.contains(&code.as_str()) {
            return Err(CodeError::Reserved(code.0.into()));
        }
        Ok(code)
    }
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Code, CodeError> {
        if text.is_empty() {
            return Err(CodeError::Empty);
        }
        if let Some((at, character)) =
            text.chars().enumerate().find(|&(at, c)| !u8::try_from(c).is_ok_and(is_code_byte) || (at == 0 && c == '.'))
        {
            return Err(CodeError::Character(character, at + 1));
        }
        if text.len() > CODE_MAX_BYTES {
            return Err(CodeError::TooLong(text.len()));
        }
        Ok(Code(text.to_ascii_lowercase().into()))
    }
}

impl From<&Code> for CodeBuf {
    fn from(code: &Code) -> CodeBuf {
        let mut bytes = [0; CODE_MAX_BYTES];
        bytes[..code.len()].copy_from_slice(code.as_bytes());
        CodeBuf { len: code.len() as u8, bytes }
    }
}

impl From<CodeBuf> for Code {
    fn from(code: CodeBuf) -> Code {
        Code(code.as_str().into())
    }
}

impl Borrow<str> for Code {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Deref for Code {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("`{text}` {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_agree_on_what_a_code_is() {
        for text in ["a", "AbC123", "john.doe", "x-y_z", &"k".repeat(CODE_MAX_BYTES)] {
            let code: Code = text.parse().unwrap();
            assert_eq!(CodeBuf::new(text.as_bytes()).unwrap().as_str(), code.as_str());
            assert_eq!(code.as_str(), text.to_ascii_lowercase());
        }
        for text in ["", ".a", "a b", "a/b", "ä", "a\0", "a\r\n", &"k".repeat(CODE_MAX_BYTES + 1)] {
            assert!(text.parse::<Code>().is_err(), "{text:?}");
            assert!(CodeBuf::new(text.as_bytes()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn our_own_words_are_no_slugs() {
        assert_eq!(Code::slug("GO"), Err(CodeError::Reserved("go".into())));
        assert!(Code::slug("gone").is_ok());
    }
}
