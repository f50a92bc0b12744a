//! The visitor's cookie, before and after this request. Pure.

use std::{io::Write, time::Duration};

use crate::core::{
    cookie::{self, Cookie},
    id::VisitorId,
    key::KeyRing,
    time::{DAY_MS, Millis, SECOND_MS},
    touch::Touch,
};

/// The longest life that browsers give a cookie, days (RFC 6265bis §5.5).
const COOKIE_MAX_DAYS: u32 = 400;

/// What the cookie says after a request: the visitor, the first touch that can still be credited, and the last one.
pub fn after(
    before: Option<&Cookie>,
    visitor: VisitorId,
    touch: Option<Touch>,
    now: Millis,
    window_days: u32,
) -> Cookie {
    let window_ms = i64::from(window_days.min(COOKIE_MAX_DAYS)) * DAY_MS;
    let expires = before.map_or(Millis(0), |cookie| cookie.expires).max(now.plus(window_ms));
    let earlier = before.and_then(|cookie| cookie.touches);
    let touches = match (earlier, touch) {
        (earlier, None) => earlier,
        (None, Some(touch)) => Some((touch, touch)),
        (Some((first, last)), Some(touch)) => {
            let credited = |touch: &Touch| touch.time().plus(window_ms) > now;
            let first = [first, last].into_iter().find(credited).unwrap_or(touch);
            Some((first, touch))
        }
    };
    // Whole seconds, rounded up: the browser must not forget before we do.
    Cookie { visitor, expires: Millis(expires.0 + (-expires.0).rem_euclid(SECOND_MS)), touches }
}

/// Whether this click repeats the visitor's last one within `window`.
pub fn repeats(before: Option<&Cookie>, touch: &Touch, window: Duration) -> bool {
    let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
    before.and_then(|cookie| cookie.touches).is_some_and(|(_, last)| {
        (last.link, last.partner, last.ad) == (touch.link, touch.partner, touch.ad)
            && touch.time().0 - last.time().0 < window_ms
    })
}

/// Writes the value of `Set-Cookie` into `out` (cleared first).
pub fn set_cookie(
    cookie: &Cookie,
    keys: &KeyRing,
    now: Millis,
    secure: bool,
    domain: Option<&str>,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.extend_from_slice(cookie::NAME.as_bytes());
    out.push(b'=');
    cookie.encode(keys, scratch, out);
    // Writing into a Vec does not fail.
    let _ = write!(out, "; Path=/; Max-Age={}; HttpOnly; SameSite=Lax", (cookie.expires.0 - now.0) / SECOND_MS);
    if secure {
        out.extend_from_slice(b"; Secure");
    }
    if let Some(domain) = domain {
        out.extend_from_slice(b"; Domain=");
        out.extend_from_slice(domain.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{code::CodeBuf, id::EventId, key::Key};

    const NOW: Millis = Millis(1_772_368_200_000);
    const DAY: Duration = Duration::from_secs(86_400);
    const VISITOR: VisitorId = VisitorId([7; 16]);

    fn touch(days_ago: i64, partner: &str) -> Touch {
        let code = |text: &str| CodeBuf::new(text.as_bytes()).unwrap();
        Touch {
            click: EventId::new(NOW.plus(-days_ago * DAY_MS), [1; 10]),
            link: code("haircare"),
            partner: code(partner),
            ad: None,
        }
    }

    #[test]
    fn first_stays_last_moves() {
        let one = after(None, VISITOR, Some(touch(5, "a")), NOW, 30);
        assert_eq!(one.touches, Some((touch(5, "a"), touch(5, "a"))));
        let two = after(Some(&one), VISITOR, Some(touch(0, "b")), NOW, 30);
        assert_eq!(two.touches, Some((touch(5, "a"), touch(0, "b"))));
        let uncredited = after(Some(&two), VISITOR, None, NOW, 30);
        assert_eq!(uncredited.touches, two.touches, "a click without credit forgets nobody");
        assert_eq!(two.expires, NOW.plus(30 * DAY_MS));
    }

    #[test]
    fn a_first_touch_out_of_its_window_gives_way() {
        let old = Cookie { visitor: VISITOR, expires: NOW.plus(1), touches: Some((touch(40, "a"), touch(20, "b"))) };
        assert_eq!(
            after(Some(&old), VISITOR, Some(touch(0, "c")), NOW, 30).touches,
            Some((touch(20, "b"), touch(0, "c")))
        );
        let older = Cookie { touches: Some((touch(50, "a"), touch(40, "b"))), ..old };
        assert_eq!(
            after(Some(&older), VISITOR, Some(touch(0, "c")), NOW, 30).touches,
            Some((touch(0, "c"), touch(0, "c")))
        );
    }

    #[test]
    fn the_same_again_soon_is_a_repeat() {
        let before = after(None, VISITOR, Some(touch(1, "a")), NOW, 30);
        assert!(repeats(Some(&before), &touch(0, "a"), 2 * DAY));
        assert!(!repeats(Some(&before), &touch(0, "a"), DAY / 2), "too long ago");
        assert!(!repeats(Some(&before), &touch(0, "b"), 2 * DAY), "somebody else's link");
        assert!(!repeats(None, &touch(0, "a"), 2 * DAY));
    }

    #[test]
    fn the_header_has_its_attributes() {
        let keys = KeyRing::new(vec![Key::new(1, &[1; 32])]).unwrap();
        let cookie = after(None, VISITOR, Some(touch(0, "a")), NOW, 30);
        let mut out = Vec::new();
        set_cookie(&cookie, &keys, NOW, true, Some("shop.example"), &mut Vec::new(), &mut out);
        let text = String::from_utf8(out).unwrap();
        let (value, attributes) = text.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure; Domain=shop.example");
        assert_eq!(Cookie::find([value.as_bytes()].into_iter(), &keys, NOW), Some(cookie));
    }
}
