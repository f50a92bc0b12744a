//! Decode: from a request's target to what is asked for. Pure.

use crate::core::{
    channel::Channel,
    code::CodeBuf,
    percent::{self, PercentError},
};

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/go/{link}[/{partner}[/{ad}]]`
    Go { link: CodeBuf, partner: Option<CodeBuf>, ad: Option<CodeBuf> },
    /// `/{slug}`
    Slug(CodeBuf),
    /// `/{slug}+`: where does it lead?
    About(CodeBuf),
    /// `/s/{channel}/{slug}`
    Share { channel: Channel, slug: CodeBuf },
    /// `/v/{slug}.gif`
    Pixel(CodeBuf),
    /// `/e`
    Beacon,
    /// `/fp.js`
    Script,
    /// `/v1/inbound/…`: a webhook of somebody else, for the control plane
    Inbound,
    /// `/r/…`, `/partner…`, `/assets/…`: people's pages, for the control plane
    Page,
    /// Nothing of ours, or not a code.
    Nothing,
}

/// The longest code needs at most `%XX` for each byte; what is longer is no code.
fn code(segment: &[u8]) -> Result<Option<CodeBuf>, PercentError> {
    Ok(CodeBuf::new(&percent::decode(segment)?))
}

/// Reads a path. Percent-encoding is decoded once, segment by segment, so that `%2F` is never a separator; a trailing
/// slash is fine; broken encoding is an error wherever it stands.
pub fn route(path: &[u8]) -> Result<Route, PercentError> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let mut segments = path.split(|byte| *byte == b'/');
    let parts: [Option<&[u8]>; 4] = std::array::from_fn(|_| segments.next());
    if let [Some(b"r" | b"assets"), Some(_), ..] | [Some(b"partner"), ..] = parts {
        percent::decode(path)?;
        return Ok(Route::Page);
    }
    if segments.next().is_some() {
        percent::decode(path)?;
        return Ok(Route::Nothing);
    }
    let found = match parts {
        [Some(b"go"), Some(link), partner, ad] => go(link, partner, ad)?,
        [Some(b"s"), Some(channel), Some(slug), None] => Channel::from_name(&percent::decode(channel)?)
            .zip(code(slug)?)
            .map(|(channel, slug)| Route::Share { channel, slug }),
        [Some(b"v"), Some(file), None, None] => {
            let file = percent::decode(file)?;
            file.strip_suffix(b".gif").and_then(CodeBuf::new).map(Route::Pixel)
        }
        [Some(b"e"), None, None, None] => Some(Route::Beacon),
        [Some(b"fp.js"), None, None, None] => Some(Route::Script),
        [Some(b"v1"), Some(b"inbound"), Some(_), _] => {
            percent::decode(path)?;
            Some(Route::Inbound)
        }
        [Some(slug), None, None, None] => {
            let slug = percent::decode(slug)?;
            match slug.strip_suffix(b"+") {
                Some(slug) => CodeBuf::new(slug).map(Route::About),
                None => CodeBuf::new(&slug).map(Route::Slug),
            }
        }
        _ => {
            percent::decode(path)?;
            None
        }
    };
    Ok(found.unwrap_or(Route::Nothing))
}

/// A link that is a code, and behind it only codes.
fn go(link: &[u8], partner: Option<&[u8]>, ad: Option<&[u8]>) -> Result<Option<Route>, PercentError> {
    let link = code(link)?;
    let partner = partner.map(code).transpose()?;
    let ad = ad.map(code).transpose()?;
    Ok(match (link, partner, ad) {
        (Some(link), None, None) => Some(Route::Go { link, partner: None, ad: None }),
        (Some(link), Some(Some(partner)), None) => Some(Route::Go { link, partner: Some(partner), ad: None }),
        (Some(link), Some(Some(partner)), Some(Some(ad))) => {
            Some(Route::Go { link, partner: Some(partner), ad: Some(ad) })
        }
        _ => None,
    })
}

/// What a method may do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Head,
    Post,
    /// A browser asks whether another page's script may POST.
    Preflight,
}

/// The verb, or the value of `Allow`.
pub fn verb(method: &http::Method, route: Route) -> Result<Verb, &'static str> {
    let (allowed, verb) = match (route, method) {
        (Route::Beacon, &http::Method::POST) => ("", Some(Verb::Post)),
        (Route::Beacon, &http::Method::OPTIONS) => ("", Some(Verb::Preflight)),
        (Route::Beacon, _) => ("POST, OPTIONS", None),
        (Route::Inbound, &http::Method::POST) => ("", Some(Verb::Post)),
        (Route::Inbound, _) => ("POST", None),
        (Route::Page, &http::Method::POST) => ("", Some(Verb::Post)),
        (Route::Page, &http::Method::GET) => ("", Some(Verb::Get)),
        (Route::Page, &http::Method::HEAD) => ("", Some(Verb::Head)),
        (Route::Page, _) => ("GET, HEAD, POST", None),
        (_, &http::Method::GET) => ("", Some(Verb::Get)),
        (_, &http::Method::HEAD) => ("", Some(Verb::Head)),
        _ => ("GET, HEAD", None),
    };
    verb.ok_or(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buf(text: &str) -> CodeBuf {
        CodeBuf::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn every_address_of_the_table() {
        let go = |link, partner: Option<&str>, ad: Option<&str>| Route::Go {
            link: buf(link),
            partner: partner.map(buf),
            ad: ad.map(buf),
        };
        for (path, expected) in [
            ("/go/haircare/abc123/website2", go("haircare", Some("abc123"), Some("website2"))),
            ("/go/HairCare/ABC123/", go("haircare", Some("abc123"), None)),
            ("/go/haircare", go("haircare", None, None)),
            ("/go/hair%63are", go("haircare", None, None)),
            ("/go/hair%2563are", Route::Nothing),
            ("/go/a%2Fb", Route::Nothing),
            ("/go", Route::Slug(buf("go"))),
            ("/go//abc123", Route::Nothing),
            ("/go/haircare//website2", Route::Nothing),
            ("/go/a/b/c/d", Route::Nothing),
            ("/go/a/b/c/d/e", Route::Nothing),
            ("/k3x9", Route::Slug(buf("k3x9"))),
            ("/K3x9/", Route::Slug(buf("k3x9"))),
            ("/k3x9+", Route::About(buf("k3x9"))),
            ("/k3x9%2B", Route::About(buf("k3x9"))),
            ("/s/whatsapp/k3x9", Route::Share { channel: Channel::Whatsapp, slug: buf("k3x9") }),
            ("/s/carrier-pigeon/k3x9", Route::Nothing),
            ("/v/k3x9.gif", Route::Pixel(buf("k3x9"))),
            ("/v/k3x9.png", Route::Nothing),
            ("/e", Route::Beacon),
            ("/fp.js", Route::Script),
            ("/v1/inbound/stripe", Route::Inbound),
            ("/v1/inbound/crm/secret", Route::Inbound),
            ("/v1/inbound", Route::Nothing),
            ("/v1/leads", Route::Nothing),
            ("/", Route::Nothing),
            ("/go/%00", Route::Nothing),
            ("/go/%0d%0aX:y", Route::Nothing),
            ("/../etc/passwd", Route::Nothing),
        ] {
            assert_eq!(route(path.as_bytes()), Ok(expected), "{path}");
        }
    }

    #[test]
    fn broken_encoding_is_said() {
        for path in ["/go/%", "/go/haircare/%zz", "/%4", "/a/b/c/d/e/f/%", "/nowhere/%xx", "/v/%.gif", "/s/%/k"] {
            assert_eq!(route(path.as_bytes()), Err(PercentError), "{path}");
        }
    }

    #[test]
    fn methods() {
        assert_eq!(verb(&http::Method::GET, Route::Nothing), Ok(Verb::Get));
        assert_eq!(verb(&http::Method::DELETE, Route::Slug(buf("x"))), Err("GET, HEAD"));
        assert_eq!(verb(&http::Method::GET, Route::Beacon), Err("POST, OPTIONS"));
        assert_eq!(verb(&http::Method::POST, Route::Beacon), Ok(Verb::Post));
        assert_eq!(verb(&http::Method::GET, Route::Inbound), Err("POST"));
    }

    proptest! {
        #[test]
        fn no_path_panics(path in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = route(&path);
        }
    }
}
