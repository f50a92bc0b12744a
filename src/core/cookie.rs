//! The visitor's cookie: who the browser is, and which clicks brought it here first and last.
//!
//! Value: base64url of `version, key id, visitor (16), expiry (u32 seconds, little endian), first touch, last touch, MAC (16)`. The MAC
//! covers everything before it; the cookie's name is part of the key (see [`super::key`]). At most 512 bytes with its name.

use data_encoding::BASE64URL_NOPAD;

use super::{
    id::VisitorId,
    key::{KeyRing, Purpose},
    limits::{COOKIE_MAX_BYTES, COOKIE_RAW_MAX_BYTES},
    time::{Millis, SECOND_MS},
    touch::{Touch, take},
};

/// Name of the cookie.
pub const NAME: &str = "fp";

const VERSION: u8 = 1;
/// Set when the last touch is the first one and is not repeated.
const VERSION_ONE_TOUCH: u8 = 2;
/// Set when nobody has been credited yet.
const VERSION_NO_TOUCH: u8 = 3;

/// What the cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    pub visitor: VisitorId,
    /// When the browser forgets it, and we too: whole seconds.
    pub expires: Millis,
    /// First and last touch, when anybody has been credited.
    pub touches: Option<(Touch, Touch)>,
}

impl Cookie {
    /// Appends the signed value to `out`. `scratch` is cleared and reused.
    pub fn encode(&self, keys: &KeyRing, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        scratch.clear();
        scratch.push(match &self.touches {
            None => VERSION_NO_TOUCH,
            Some((first, last)) if first == last => VERSION_ONE_TOUCH,
            Some(_) => VERSION,
        });
        scratch.push(keys.signing_id());
        scratch.extend_from_slice(&self.visitor.0);
        let expires_s = u32::try_from(self.expires.0 / SECOND_MS).unwrap_or(u32::MAX);
        scratch.extend_from_slice(&expires_s.to_le_bytes());
        if let Some((first, last)) = &self.touches {
            first.encode(scratch);
            if first != last {
                last.encode(scratch);
            }
        }
        keys.sign(Purpose::Cookie, scratch);
        let start = out.len();
        out.resize(start + BASE64URL_NOPAD.encode_len(scratch.len()), 0);
        BASE64URL_NOPAD.encode_mut(scratch, &mut out[start..]);
    }

    /// The cookie behind a value, when it is whole, ours and not expired.
    pub fn decode(value: &[u8], keys: &KeyRing, now: Millis) -> Option<Cookie> {
        let mut raw = [0; COOKIE_RAW_MAX_BYTES];
        if value.len() > COOKIE_MAX_BYTES {
            return None;
        }
        let len = BASE64URL_NOPAD.decode_len(value.len()).ok()?;
        let raw = raw.get_mut(..len)?;
        BASE64URL_NOPAD.decode_mut(value, raw).ok()?;
        let mut input = keys.verify(Purpose::Cookie, *raw.get(1)?, raw)?;
        let version = take(&mut input, 2)?[0];
        let visitor = VisitorId(take(&mut input, 16)?.try_into().ok()?);
        let expires_s = u32::from_le_bytes(take(&mut input, 4)?.try_into().ok()?);
        let touches = match version {
            VERSION => Some((Touch::decode(&mut input)?, Touch::decode(&mut input)?)),
            VERSION_ONE_TOUCH => Touch::decode(&mut input).map(|touch| (touch, touch)),
            VERSION_NO_TOUCH => None,
            _ => return None,
        };
        let cookie = Cookie { visitor, expires: Millis(i64::from(expires_s) * SECOND_MS), touches };
        (input.is_empty() && cookie.expires > now).then_some(cookie)
    }

    /// The valid cookie with the newest last touch among all of that name in these `Cookie` header values.
    pub fn find<'a>(headers: impl Iterator<Item = &'a [u8]>, keys: &KeyRing, now: Millis) -> Option<Cookie> {
        headers
            .flat_map(|header| header.split(|byte| *byte == b';'))
            .filter_map(|pair| pair.trim_ascii().strip_prefix(NAME.as_bytes())?.strip_prefix(b"="))
            .filter_map(|value| Cookie::decode(value, keys, now))
            .max_by_key(|cookie| cookie.touches.map(|(_, last)| last.time()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{code::CodeBuf, id::EventId, key::Key, limits::CODE_MAX_BYTES};
    use proptest::prelude::*;

    fn ring(ids: &[u8]) -> KeyRing {
        KeyRing::new(ids.iter().map(|id| Key::new(*id, &[*id; 32])).collect()).unwrap()
    }

    fn touch(ms: i64, partner: &str) -> Touch {
        let code = |text: &str| CodeBuf::new(text.as_bytes()).unwrap();
        Touch {
            click: EventId::new(Millis(ms), [7; 10]),
            link: code("haircare"),
            partner: code(partner),
            ad: Some(code("website2")),
        }
    }

    fn cookie(first: Touch, last: Touch) -> Cookie {
        Cookie { visitor: VisitorId([9; 16]), expires: Millis(2_000_000_000_000), touches: Some((first, last)) }
    }

    fn value(cookie: &Cookie, keys: &KeyRing) -> Vec<u8> {
        let mut out = Vec::new();
        cookie.encode(keys, &mut Vec::new(), &mut out);
        out
    }

    const NOW: Millis = Millis(1_772_368_200_000);

    #[test]
    fn the_longest_cookie_fits() {
        let long = "k".repeat(CODE_MAX_BYTES);
        let code = CodeBuf::new(long.as_bytes()).unwrap();
        let touch = |ms| Touch { click: EventId::new(Millis(ms), [7; 10]), link: code, partner: code, ad: Some(code) };
        let cookie = cookie(touch(1), touch(2));
        let value = value(&cookie, &ring(&[1]));
        assert!(NAME.len() + 1 + value.len() <= COOKIE_MAX_BYTES, "{}", value.len());
        assert_eq!(Cookie::decode(&value, &ring(&[1]), NOW), Some(cookie));
    }

    #[test]
    fn keys_rotate() {
        let (one, two) = (touch(1_000, "abc123"), touch(2_000, "xyz"));
        let old = value(&cookie(one, two), &ring(&[1]));
        assert_eq!(Cookie::decode(&old, &ring(&[1, 2]), NOW), Some(cookie(one, two)), "an older key still verifies");
        let new = value(&cookie(one, two), &ring(&[1, 2]));
        assert_ne!(old, new, "the newest key signs");
        assert_eq!(Cookie::decode(&new, &ring(&[1]), NOW), None, "an unknown key is no cookie");
    }

    #[test]
    fn of_two_valid_cookies_the_newer_last_touch_counts() {
        let keys = ring(&[1]);
        let older = value(&cookie(touch(1, "a"), touch(10, "a")), &keys);
        let newer = value(&cookie(touch(1, "b"), touch(20, "b")), &keys);
        let forged = b"fp=AAAAAAAA".to_vec();
        let header = [b"x=1; fp=".as_slice(), &newer, b"; fp=", &older, b";", &forged].concat();
        assert_eq!(
            Cookie::find([header.as_slice()].into_iter(), &keys, NOW).unwrap().touches.unwrap().1,
            touch(20, "b")
        );
    }

    #[test]
    fn an_expired_cookie_is_none() {
        let keys = ring(&[1]);
        let value = value(&Cookie { expires: NOW, ..cookie(touch(1, "a"), touch(1, "a")) }, &keys);
        assert_eq!(Cookie::decode(&value, &keys, NOW), None);
        assert!(Cookie::decode(&value, &keys, NOW.plus(-1)).is_some());
    }

    proptest! {
        #[test]
        fn whatever_is_changed_makes_it_worthless(at in 0usize..1_000, bit in 0u8..8) {
            let keys = ring(&[1]);
            let mut value = value(&cookie(touch(1, "abc123"), touch(2, "xyz")), &keys);
            let at = at % value.len();
            value[at] ^= 1 << bit;
            prop_assert_eq!(Cookie::decode(&value, &keys, NOW), None);
        }

        #[test]
        fn noise_is_no_cookie(noise in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(Cookie::decode(&noise, &ring(&[1]), NOW), None);
        }
    }
}
