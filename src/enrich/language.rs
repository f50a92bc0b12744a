//! The language that a browser prefers.

use std::{fmt, ops::Deref};

use crate::core::limits::LANGUAGE_MAX_BYTES;

/// A language tag (RFC 5646), lower case, at most [`LANGUAGE_MAX_BYTES`], on the stack. Empty when it is not known.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Language {
    len: u8,
    bytes: [u8; LANGUAGE_MAX_BYTES],
}

impl Language {
    /// The tag with the highest weight of an Accept-Language header (RFC 9110 §12.5.4); the first one of equals. `*`,
    /// weight 0 and whatever is no tag are passed over; a tag that is too long is cut at a hyphen.
    pub fn preferred(header: &[u8]) -> Language {
        let mut best = (0, Language::default());
        for item in header.split(|byte| *byte == b',') {
            let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let Some(language) = parts.next().and_then(Language::tag) else { continue };
            let weight = parts.find_map(weight).unwrap_or(1_000);
            if weight > best.0 {
                best = (weight, language);
            }
            if weight == 1_000 {
                break;
            }
        }
        best.1
    }

    fn tag(text: &[u8]) -> Option<Language> {
        let is_tag = text.first().is_some_and(u8::is_ascii_alphabetic)
            && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        if !is_tag {
            return None;
        }
        let len = if text.len() <= LANGUAGE_MAX_BYTES {
            text.len()
        } else {
            text[..=LANGUAGE_MAX_BYTES].iter().rposition(|byte| *byte == b'-')?
        };
        let mut bytes = [0; LANGUAGE_MAX_BYTES];
        for (to, from) in bytes.iter_mut().zip(&text[..len]) {
            *to = from.to_ascii_lowercase();
        }
        Some(Language { len: len as u8, bytes })
    }

    pub fn as_str(&self) -> &str {
        // Every byte was checked to be ASCII when the value was made.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

/// Thousandths of `q=0.8`; what is no weight is `None`.
fn weight(parameter: &[u8]) -> Option<u32> {
    let (name, value) = parameter.split_at_checked(2)?;
    if !name.eq_ignore_ascii_case(b"q=") {
        return None;
    }
    let (whole, fraction) = value.split_at_checked(1)?;
    let fraction = fraction.strip_prefix(b".").unwrap_or_default();
    let mut digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(3);
    let thousandths =
        digits.try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')))?;
    match whole {
        b"0" => Some(thousandths),
        b"1" => Some(1_000),
        _ => None,
    }
}

impl Deref for Language {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_preferred_tag_is_found() {
        for (header, tag) in [
            ("de-DE,de;q=0.9,en;q=0.8", "de-de"),
            ("en;q=0.5, fr;q=0.7, it;q=0.7", "fr"),
            ("*, pt-BR;q=0.1", "pt-br"),
            ("en;q=0, nl;q=0.001", "nl"),
            ("en ; Q=0.2 , sv", "sv"),
            ("zh-Hant-TW", "zh-hant-tw"),
            ("sl-rozaj-biske-1994", "sl-rozaj-biske"),
            ("sl-rozaj-biske12-x", "sl-rozaj-biske12"),
            ("", ""),
            ("*", ""),
            ("en;q=2", "en"),
            ("1de, \u{e4}", ""),
            ("averyveryverylongword", ""),
            ("de\r\nX: y", ""),
        ] {
            assert_eq!(Language::preferred(header.as_bytes()).as_str(), tag, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn noise_gives_a_clean_tag_or_none(noise in proptest::collection::vec(any::<u8>(), 0..60)) {
            let language = Language::preferred(&noise);
            prop_assert!(language.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        }
    }
}
