//! The destination's address: the link's template, the visitor's own query, and what is ours.
//!
//! The visitor's parameters win over the template's of the same name, never over ours. Everything comes out encoded, so
//! that no value can split a header. Pure.

use super::query::{Query, TEST, TO};
use crate::core::{limits::LOCATION_MAX_BYTES, percent};

/// One of our own parameters: its name, and its value, which is safe as it is (base64url, or a code).
#[derive(Clone, Copy, Debug)]
pub struct OwnParameter<'a> {
    pub name: &'a str,
    pub value: &'a [u8],
}

/// Appends to `out`: `address` (already rendered), then the visitor's query, then ours, the fragment last.
pub fn assemble(address: &[u8], visitor: Query<'_>, own: &[OwnParameter<'_>], out: &mut Vec<u8>) {
    let start = out.len();
    put(address, visitor, own, out);
    if out.len() - start > LOCATION_MAX_BYTES {
        // The visitor's own query is what can be without bound.
        out.truncate(start);
        put(address, Query::default(), own, out);
    }
}

fn put(address: &[u8], visitor: Query<'_>, own: &[OwnParameter<'_>], out: &mut Vec<u8>) {
    let (address, fragment) = split_at(address, b'#');
    let (path, template_query) = split_at(address, b'?');
    out.extend_from_slice(path);
    let mut separator = Separator { first: true };
    let is_own = |name: &[u8]| {
        let name = percent::decode_query(name);
        own.iter().any(|parameter| parameter.name.as_bytes() == &*name)
    };
    for pair in Query(template_query.unwrap_or_default()).pairs() {
        let overridden = !visitor.0.is_empty() && visitor.has(&percent::decode_query(pair.name));
        if !overridden && !is_own(pair.name) {
            separator.put(out);
            out.extend_from_slice(pair.whole);
        }
    }
    for pair in visitor.pairs() {
        if pair.name != TO && pair.name != TEST && !is_own(pair.name) {
            separator.put(out);
            percent::mend_query(pair.whole, out);
        }
    }
    for parameter in own {
        separator.put(out);
        percent::encode(parameter.name.as_bytes(), out);
        out.push(b'=');
        percent::encode(parameter.value, out);
    }
    if let Some(fragment) = fragment {
        out.push(b'#');
        out.extend_from_slice(fragment);
    }
}

struct Separator {
    first: bool,
}

impl Separator {
    fn put(&mut self, out: &mut Vec<u8>) {
        out.push(if self.first { b'?' } else { b'&' });
        self.first = false;
    }
}

/// What stands before the first `byte`, and behind it.
fn split_at(text: &[u8], byte: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(byte, text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// The page that `?to=` asks for, in WHATWG form, when it is http or https, without user information, backslash or
/// control characters, and its host is exactly one of `hosts`. Source: <https://url.spec.whatwg.org/>.
pub fn other_page(to: &[u8], hosts: &[Box<str>]) -> Option<String> {
    if hosts.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(to).ok()?;
    if text.contains('\\') || text.chars().any(char::is_control) || text.trim() != text {
        return None;
    }
    let url = url::Url::parse(text).ok()?;
    let bare = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    // The parser forgives `https:/host` and `https:host`; a page that is meant is written whole.
    let whole = text.split_once(':').is_some_and(|(_, rest)| rest.starts_with("//") && !rest.starts_with("///"));
    // `user@` with an empty user name leaves no trace in the parsed form.
    let authority = text.split_once("//")?.1.split(['/', '?', '#']).next()?;
    let host = url.host_str()?;
    let listed = hosts.iter().any(|allowed| **allowed == *host);
    (bare && whole && !authority.contains('@') && listed).then(|| url.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assembled(address: &str, visitor: &str, own: &[OwnParameter<'_>]) -> String {
        let mut out = Vec::new();
        assemble(address.as_bytes(), Query(visitor.as_bytes()), own, &mut out);
        String::from_utf8(out).unwrap()
    }

    const TOKEN: OwnParameter<'static> = OwnParameter { name: "fpc", value: b"TOKEN" };

    #[test]
    fn the_visitors_query_wins_over_the_templates_and_never_over_ours() {
        for (address, visitor, expected) in [
            ("https://s/", "", "https://s/?fpc=TOKEN"),
            ("https://s/?a=1", "", "https://s/?a=1&fpc=TOKEN"),
            ("https://s/?a=1&b=2", "a=9", "https://s/?b=2&a=9&fpc=TOKEN"),
            ("https://s/?a=1", "%61=9", "https://s/?%61=9&fpc=TOKEN"),
            ("https://s/", "fpc=forged&x=1", "https://s/?x=1&fpc=TOKEN"),
            ("https://s/", "f%70c=forged", "https://s/?fpc=TOKEN"),
            ("https://s/?fpc=old", "", "https://s/?fpc=TOKEN"),
            ("https://s/p#top", "a=1", "https://s/p?a=1&fpc=TOKEN#top"),
            ("https://s/", "to=https://evil/&fp_test=1&sub1=x", "https://s/?sub1=x&fpc=TOKEN"),
            ("https://s/", "a=100%&b=\"<>", "https://s/?a=100%25&b=%22%3C%3E&fpc=TOKEN"),
        ] {
            assert_eq!(assembled(address, visitor, &[TOKEN]), expected, "{address} with {visitor}");
        }
    }

    #[test]
    fn without_a_token_nothing_is_added() {
        assert_eq!(assembled("https://s/", "", &[]), "https://s/");
        assert_eq!(assembled("https://s/?a=1#x", "b=2", &[]), "https://s/?a=1&b=2#x");
    }

    #[test]
    fn an_endless_query_is_left_behind() {
        let address = assembled("https://s/?a=1", &format!("x={}", "\"".repeat(6_000)), &[TOKEN]);
        assert_eq!(address, "https://s/?a=1&fpc=TOKEN");
    }

    #[test]
    fn only_listed_hosts_can_be_asked_for() {
        let hosts: Vec<Box<str>> = vec!["shop.example".into(), "xn--bcher-kva.example".into()];
        let allowed = |to: &str| other_page(to.as_bytes(), &hosts);
        assert_eq!(allowed("https://SHOP.example/x?y=1").as_deref(), Some("https://shop.example/x?y=1"));
        assert_eq!(allowed("https://bücher.example/").as_deref(), Some("https://xn--bcher-kva.example/"));
        assert_eq!(allowed("http://shop.example:8080/").as_deref(), Some("http://shop.example:8080/"));
        for refused in [
            "https://evil.example/",
            "https://shop.example.evil.example/",
            "https://sub.shop.example/",
            "https://shop.example@evil.example/",
            "https://user:pw@shop.example/",
            "https://@shop.example/",
            "//shop.example/",
            "/shop.example",
            "https:shop.example",
            "https:/shop.example",
            "https:///shop.example/",
            "javascript:alert(1)//shop.example",
            "data:text/html,x",
            "https://shop.example\\@evil.example/",
            "https://evil.example\\.shop.example/",
            "https://shop.example\t.evil.example/",
            " https://shop.example/",
            "https://shop.example/\r\nx: y",
            "ftp://shop.example/",
            "",
            "https://",
            "https://shop.example%2f@evil.example/",
            "https://evil.example#shop.example",
            "https://evil.example?shop.example",
            "https://shop.example./",
        ] {
            assert_eq!(allowed(refused), None, "{refused:?}");
        }
        assert_eq!(other_page(b"https://shop.example/", &[]), None, "an empty list allows none");
    }

    proptest! {
        #[test]
        fn whatever_the_visitor_sends_the_host_stays_and_nothing_splits(
            visitor in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut out = Vec::new();
            assemble(b"https://shop.example/p?a=1#f", Query(&visitor), &[TOKEN], &mut out);
            prop_assert!(out.iter().all(|byte| byte.is_ascii_graphic()), "{:?}", String::from_utf8_lossy(&out));
            let url = url::Url::parse(std::str::from_utf8(&out).unwrap()).unwrap();
            prop_assert_eq!(url.host_str(), Some("shop.example"));
            let tokens: Vec<_> = url.query_pairs().filter(|(name, _)| name == "fpc").collect();
            prop_assert_eq!(tokens.len(), 1);
            prop_assert_eq!(&tokens[0].1, "TOKEN");
        }

        #[test]
        fn a_page_that_is_let_through_is_on_a_listed_host(to in "https?:[/\\\\]{0,3}[a-z@:.#?%/\\\\]{0,12}(shop\\.example)?[a-z@:.#?/\\\\]{0,12}") {
            if let Some(address) = other_page(to.as_bytes(), &["shop.example".into()]) {
                prop_assert!(address.starts_with("https://shop.example") || address.starts_with("http://shop.example"), "{}", address);
                let url = url::Url::parse(&address).unwrap();
                prop_assert_eq!(url.host_str(), Some("shop.example"));
            }
        }
    }
}
