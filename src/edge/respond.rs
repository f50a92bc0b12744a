//! Respond: from a decision to the bytes. Pure; header names and fixed values are made once, at compile time.

use bytes::{Bytes, BytesMut};
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION,
        REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::Full;

use crate::core::script::Script;

/// What the edge answers.
pub(crate) type Answer = Response<Full<Bytes>>;

const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NOINDEX: HeaderValue = HeaderValue::from_static("noindex");
/// What browsers do by default, said aloud: the landing page learns our host, not the path with the partner's code.
const REFERRER: HeaderValue = HeaderValue::from_static("strict-origin-when-cross-origin");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// A transparent GIF of one pixel (GIF89a).
const PIXEL: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\
\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

fn fixed(status: StatusCode, body: &'static [u8]) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.reserve(8);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(REFERRER_POLICY, REFERRER);
    headers.insert(X_ROBOTS_TAG, NOINDEX);
    answer
}

/// 302. Both texts are visible ASCII by construction; should one ever not be, nobody is redirected anywhere.
pub(crate) fn redirect(location: &[u8], cookie: Option<&[u8]>) -> Answer {
    let mut both = BytesMut::with_capacity(location.len() + cookie.map_or(0, <[u8]>::len));
    both.extend_from_slice(location);
    both.extend_from_slice(cookie.unwrap_or_default());
    let mut location_value = both.freeze();
    let cookie_value = location_value.split_off(location.len());
    let Ok(location_value) = HeaderValue::from_maybe_shared(location_value) else {
        return text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "This link's address cannot be sent. Its owner has to mend it.\n",
        );
    };
    let mut answer = fixed(StatusCode::FOUND, b"");
    answer.headers_mut().insert(LOCATION, location_value);
    if cookie.is_some()
        && let Ok(value) = HeaderValue::from_maybe_shared(cookie_value)
    {
        answer.headers_mut().insert(SET_COOKIE, value);
    }
    answer
}

/// 307, so that a form arrives as it was sent.
pub(crate) fn elsewhere(address: &str) -> Answer {
    let Ok(location) = HeaderValue::from_str(address) else {
        return text(StatusCode::BAD_REQUEST, "This address cannot be sent on.\n");
    };
    let mut answer = fixed(StatusCode::TEMPORARY_REDIRECT, b"");
    answer.headers_mut().insert(LOCATION, location);
    answer
}

pub(crate) fn text(status: StatusCode, body: &'static str) -> Answer {
    let mut answer = fixed(status, body.as_bytes());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    answer
}

pub(crate) fn method_not_allowed(allow: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed here. See the Allow header.\n");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

/// 503: the click could not be recorded and the configuration wants it refused then, or there is too much to do.
pub(crate) fn refused() -> Answer {
    let mut answer =
        text(StatusCode::SERVICE_UNAVAILABLE, "This click cannot be taken right now. Try again in a moment.\n");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    answer
}

/// 503: the control plane is not there, or has too much to do. Nothing was taken.
pub(crate) fn away() -> Answer {
    let mut answer = problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "",
        "the part of the server that takes this is away or busy: send it again in a moment",
    );
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    answer
}

/// The same to people.
pub(crate) fn page_away() -> Answer {
    let body = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
                <title>Not right now</title><h1>Not right now</h1><p>This page cannot be shown right now. Try again in a moment.</p>";
    let mut answer = preview(body.to_owned());
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    answer
}

pub(crate) fn pixel() -> Answer {
    let mut answer = fixed(StatusCode::OK, PIXEL);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    answer
}

/// A page of ours, with its own style and nothing else.
pub(crate) fn html(body: String) -> Answer {
    page(
        body,
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
}

/// A page for previewers, without any style.
pub(crate) fn preview(body: String) -> Answer {
    page(body, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
}

fn page(body: String, policy: &'static str) -> Answer {
    let mut answer = fixed(StatusCode::OK, b"");
    *answer.body_mut() = Full::new(Bytes::from(body));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    answer
}

/// The script for landing pages: cacheable, unlike everything else here. A version that the page names never changes. Whoever names one
/// that we do not have (yet: another edge may be newer) gets the current one, and nobody keeps it under that name.
pub(crate) fn script(named: Option<&[u8]>, known: Option<&HeaderValue>) -> Answer {
    let (script, keep) = match named.map(Script::find) {
        None => (Script::current(), "public, max-age=3600"),
        Some(Some(script)) => (script, "public, max-age=31536000, immutable"),
        Some(None) => (Script::current(), "no-store"),
    };
    let unchanged = known.is_some_and(|known| has_etag(known.as_bytes(), script.etag.as_bytes()));
    let mut answer =
        if unchanged { fixed(StatusCode::NOT_MODIFIED, b"") } else { fixed(StatusCode::OK, script.text.as_bytes()) };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(ETAG, HeaderValue::from_static(&script.etag));
    // With `integrity`, browsers ask for the script across origins without credentials; pages that isolate themselves ask for more.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    answer
}

/// Whether If-None-Match (RFC 9110 §13.1.2: a list, compared weakly) names this one. A cache that packs the text makes the tag weak.
fn has_etag(known: &[u8], etag: &[u8]) -> bool {
    let mut tags = known.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
}

/// An event from another page was taken.
pub(crate) fn taken() -> Answer {
    let mut answer = fixed(StatusCode::NO_CONTENT, b"");
    answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    answer
}

/// A browser may POST an event from any page; no credentials go with it.
pub(crate) fn preflight() -> Answer {
    let mut answer = taken();
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    answer
}

/// RFC 9457: which field, what is wrong, how to mend it.
pub(crate) fn problem(status: StatusCode, field: &str, problem: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(),
        "errors": [{ "field": field, "problem": problem }],
    });
    let mut answer = fixed(status, b"");
    *answer.body_mut() = Full::new(Bytes::from(body.to_string()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_has_its_headers_and_no_more() {
        let answer = redirect(b"https://shop.example/?fpc=x", Some(b"fp=abc; Path=/"));
        assert_eq!(answer.status(), 302);
        let header = |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap());
        assert_eq!(header("location"), Some("https://shop.example/?fpc=x"));
        assert_eq!(header("set-cookie"), Some("fp=abc; Path=/"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("x-robots-tag"), Some("noindex"));
        assert!(redirect(b"https://s/", None).headers().get("set-cookie").is_none());
    }

    #[test]
    fn people_are_told_by_a_page_that_nobody_is_there() {
        let answer = page_away();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(
            (&answer.headers()[RETRY_AFTER], &answer.headers()[CACHE_CONTROL]),
            (&"2".parse().unwrap(), &NO_STORE)
        );
    }

    #[test]
    fn a_tag_is_known_in_every_form() {
        for (known, is) in [
            ("\"a1\"", true),
            ("W/\"a1\"", true),
            ("\"b\", \"a1\"", true),
            ("*", true),
            ("a1", false),
            ("\"a\"", false),
            ("", false),
        ] {
            assert_eq!(has_etag(known.as_bytes(), b"\"a1\""), is, "{known}");
        }
    }

    #[test]
    fn an_address_that_would_split_the_head_is_never_sent() {
        assert_eq!(redirect(b"https://s/\r\nSet-Cookie: x", None).status(), 500);
    }
}
