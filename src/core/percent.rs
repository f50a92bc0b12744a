//! Percent-encoding (RFC 3986 §2.1): decoded once on the way in, never left raw on the way out.

use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// `%` without two hexadecimal digits behind it.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`%` must be followed by two hexadecimal digits")]
pub struct PercentError;

/// Decodes once. Borrows when there is nothing to decode.
pub fn decode(text: &[u8]) -> Result<Cow<'_, [u8]>, PercentError> {
    let Some(first) = memchr::memchr(b'%', text) else {
        return Ok(Cow::Borrowed(text));
    };
    let mut out = text[..first].to_vec();
    let mut rest = &text[first..];
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let (digits, tail) = tail.split_at_checked(2).ok_or(PercentError)?;
            out.push(hex(digits[0])? << 4 | hex(digits[1])?);
            rest = tail;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    Ok(Cow::Owned(out))
}

/// Decodes a query value: `+` is a space, and a stray `%` stands for itself. Other people's tracking parameters are
/// often broken; a visitor is not turned away for that.
pub fn decode_query(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        let digits = text.get(at..at + 2).and_then(|d| Some(hex(d[0]).ok()? << 4 | hex(d[1]).ok()?));
        match (byte, digits) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    Cow::Owned(out)
}

fn hex(digit: u8) -> Result<u8, PercentError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PercentError),
    }
}

/// Appends `text` with everything but RFC 3986's unreserved characters encoded: safe as a query value or a path segment.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    encode_with(text, out, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'));
}

/// Appends a query that is already encoded, mending what no URI may hold (controls, spaces, quotes, `#`, non-ASCII, stray `%`).
pub fn mend_query(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let escape = byte == b'%' && tail.len() >= 2 && hex(tail[0]).is_ok() && hex(tail[1]).is_ok();
        if escape || is_query_byte(byte) {
            out.push(byte);
        } else {
            push_encoded(byte, out);
        }
        rest = tail;
    }
}

/// `query = *( pchar / "/" / "?" )`, RFC 3986 §3.4, without `%`; brackets are let through as browsers do.
fn is_query_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?[]".contains(&byte)
}

fn encode_with(text: &[u8], out: &mut Vec<u8>, safe: impl Fn(u8) -> bool) {
    for &byte in text {
        if safe(byte) { out.push(byte) } else { push_encoded(byte, out) }
    }
}

fn push_encoded(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_decoded_once_and_only_once() {
        assert_eq!(decode(b"a%2Fb").unwrap().as_ref(), b"a/b");
        assert_eq!(decode(b"a%252Fb").unwrap().as_ref(), b"a%2Fb");
        for broken in [b"%".as_slice(), b"%4", b"%zz", b"a%4g"] {
            assert_eq!(decode(broken), Err(PercentError));
        }
        assert_eq!(decode_query(b"100%+of%20it").as_ref(), b"100% of it");
    }

    #[test]
    fn nothing_that_splits_a_header_comes_through() {
        let mut out = Vec::new();
        mend_query(b"a=1\r\nSet-Cookie: x\0\x7f\xff\"<>#%zz%41", &mut out);
        assert_eq!(out, b"a=1%0D%0ASet-Cookie:%20x%00%7F%FF%22%3C%3E%23%25zz%41");
    }

    proptest! {
        #[test]
        fn encode_then_decode_is_the_same(text in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut out = Vec::new();
            encode(&text, &mut out);
            prop_assert!(out.iter().all(u8::is_ascii_graphic));
            let decoded = decode(&out).unwrap().into_owned();
            prop_assert_eq!(decoded, text);
        }
    }
}
