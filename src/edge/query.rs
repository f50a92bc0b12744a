//! The visitor's query: read in place, pair by pair, at most [`QUERY_PARAMETERS_MAX`] of them.

use std::borrow::Cow;

use crate::core::{
    limits::{QUERY_PARAMETERS_MAX, SUB_MAX_BYTES, SUBS},
    percent,
};

/// Asks for another page of the link's hosts; ours, never passed on.
pub const TO: &[u8] = b"to";
/// Marks a request as a test; ours, never passed on.
pub const TEST: &[u8] = b"fp_test";

/// A query as it came, without the `?`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<'a>(pub &'a [u8]);

/// `name=value` as it came, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    /// Both, with the `=` if there was one.
    pub whole: &'a [u8],
}

impl<'a> Query<'a> {
    pub fn pairs(self) -> impl Iterator<Item = Pair<'a>> {
        self.0.split(|byte| *byte == b'&').filter(|whole| !whole.is_empty()).take(QUERY_PARAMETERS_MAX).map(|whole| {
            match memchr::memchr(b'=', whole) {
                Some(at) => Pair { name: &whole[..at], value: &whole[at + 1..], whole },
                None => Pair { name: whole, value: b"", whole },
            }
        })
    }

    /// The decoded value of the first parameter of that name.
    pub fn get(self, name: &[u8]) -> Option<Cow<'a, [u8]>> {
        self.pairs()
            .find(|pair| *percent::decode_query(pair.name) == *name)
            .map(|pair| percent::decode_query(pair.value))
    }

    pub fn has(self, name: &[u8]) -> bool {
        self.pairs().any(|pair| *percent::decode_query(pair.name) == *name)
    }

    /// What the query says to us, in one pass.
    pub fn own(self) -> Own<'a> {
        let mut own = Own::default();
        for pair in self.pairs() {
            match pair.name {
                [b's', b'u', b'b', digit @ b'1'..=b'5'] => {
                    let sub = &mut own.subs[usize::from(digit - b'1')];
                    if sub.is_empty() {
                        *sub = clean(percent::decode_query(pair.value));
                    }
                }
                TO if own.to.is_none() => own.to = Some(percent::decode_query(pair.value)),
                TEST => own.test = true,
                _ => {}
            }
        }
        own
    }
}

/// Parameters with a meaning to us.
#[derive(Debug, Default)]
pub struct Own<'a> {
    pub subs: [Cow<'a, str>; SUBS],
    pub to: Option<Cow<'a, [u8]>>,
    pub test: bool,
}

impl<'a> Own<'a> {
    /// What a beacon's body says instead.
    pub fn of(subs: &'a [String; SUBS]) -> Own<'a> {
        Own { subs: std::array::from_fn(|at| clean(Cow::Borrowed(subs[at].as_bytes()))), to: None, test: false }
    }
}

/// What stands in place of an e-mail address.
const MAIL: &str = "[e-mail]";

/// A text fit to be kept: valid UTF-8, no control characters, no e-mail address, at most [`SUB_MAX_BYTES`].
pub fn clean(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    let text = match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    };
    let text = match without_mail(&text) {
        Some(text) => Cow::Owned(text),
        None => text,
    };
    if text.len() <= SUB_MAX_BYTES && !text.chars().any(char::is_control) {
        return text;
    }
    let mut kept: String = text.chars().filter(|c| !c.is_control()).collect();
    kept.truncate(kept.floor_char_boundary(SUB_MAX_BYTES));
    Cow::Owned(kept)
}

/// The text with each e-mail address replaced, also one that was encoded twice; `None` where there is none. Partners put
/// addresses into their parameters, and none may reach the journal.
fn without_mail(text: &str) -> Option<String> {
    let word = |c: char| c.is_alphanumeric() || "._%+-!#$'*/?^`{|}~".contains(c);
    let (at, width) = match (text.find('@'), text.find("%40")) {
        (Some(plain), Some(encoded)) if encoded < plain => (encoded, 3),
        (Some(plain), _) => (plain, 1),
        (None, encoded) => (encoded?, 3),
    };
    let (before, behind) = (&text[..at], &text[at + width..]);
    let local = before.trim_end_matches(word);
    let domain = behind.trim_start_matches(|c: char| c.is_alphanumeric() || ".-".contains(c));
    let is_mail = local.len() < before.len() && behind[..behind.len() - domain.len()].contains('.');
    let rest = if is_mail { domain } else { behind };
    let tail = without_mail(rest);
    match (is_mail, tail) {
        (true, tail) => Some(format!("{local}{MAIL}{}", tail.as_deref().unwrap_or(rest))),
        (false, Some(tail)) => Some(format!("{}{tail}", &text[..at + width])),
        (false, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_they_came() {
        let query = Query(b"a=1&&b&c=%20x=y&sub1=hello+world&sub1=second&fp_test&to=https%3A%2F%2Fx%2F");
        assert_eq!(query.pairs().count(), 7);
        assert_eq!(query.get(b"c").unwrap().as_ref(), b" x=y");
        assert!(query.has(b"b") && !query.has(b"d"));
        let own = query.own();
        assert_eq!(own.subs[0], "hello world");
        assert_eq!(own.to.unwrap().as_ref(), b"https://x/");
        assert!(own.test);
    }

    #[test]
    fn at_most_64_parameters_are_kept() {
        let many = (0..1_000).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join("&");
        assert_eq!(Query(many.as_bytes()).pairs().count(), 64);
        assert!(!Query(many.as_bytes()).has(b"k64"));
    }

    #[test]
    fn no_mail_address_is_kept() {
        for (text, kept) in [
            ("jane@doe.example", "[e-mail]"),
            ("from jane.o'neil+x@mail.doe.example, thanks", "from [e-mail], thanks"),
            ("jane%40doe.example", "[e-mail]"),
            ("a@b.c;d@e.f", "[e-mail];[e-mail]"),
            ("@brand", "@brand"),
            ("10@noon", "10@noon"),
            ("x@y @ jane@doe.example", "x@y @ [e-mail]"),
        ] {
            assert_eq!(clean(Cow::Borrowed(text.as_bytes())), kept);
        }
    }

    #[test]
    fn kept_texts_are_clean_and_short() {
        assert_eq!(clean(Cow::Borrowed(b"a\0b\r\nc\x7f")), "abc");
        assert_eq!(clean(Cow::Borrowed("a\u{8f}b".as_bytes())), "ab", "found by fuzz/tracking_url");
        let long = "ä".repeat(200);
        assert!(clean(Cow::Borrowed(long.as_bytes())).len() <= SUB_MAX_BYTES);
        assert_eq!(clean(Cow::Borrowed(b"\xff")), "\u{fffd}");
    }
}
