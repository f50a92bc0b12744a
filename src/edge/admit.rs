//! What every request must be before the service sees it: sizes, one valid Host, one framing; and the answers to what is not.
//!
//! Sources: RFC 9112 §3 (request line), §3.2 (Host), §6 (framing), RFC 9113 §8.3.1 (`:authority`), RFC 9110 §15.5 and RFC 6585 §5 (statuses).

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::Full;

use crate::core::limits::{HEAD_MAX_BYTES, REQUEST_LINE_MAX_BYTES};

/// Why a request is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    TargetTooLong,
    HeadTooLarge,
    HostMissing,
    HostTwice,
    HostInvalid,
    HostDiffers,
    FramedTwice,
    Late,
}

impl Refusal {
    const fn status(self) -> StatusCode {
        match self {
            Refusal::TargetTooLong => StatusCode::URI_TOO_LONG,
            Refusal::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::Late => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// For whoever debugs a client.
    const fn text(self) -> &'static str {
        match self {
            Refusal::TargetTooLong => "The request line is too long: at most 8 KiB are taken.\n",
            Refusal::HeadTooLarge => "The request's header fields are too large: at most 16 KiB are taken.\n",
            Refusal::HostMissing => "The request names no host: send one Host field.\n",
            Refusal::HostTwice => "The request names more than one host: send one Host field.\n",
            Refusal::HostInvalid => {
                "The request's host is not one: send a host name or address, and a port if need be.\n"
            }
            Refusal::HostDiffers => "The request's Host field and its target name different hosts.\n",
            Refusal::FramedTwice => "The request has both Content-Length and Transfer-Encoding: send one of them.\n",
            Refusal::Late => "The request did not arrive in time.\n",
        }
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from_static(self.text().as_bytes())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// The same answer as HTTP/1.1 bytes, for where hyper gives none.
    pub(super) fn raw(self) -> String {
        let (status, text) = (self.status(), self.text());
        format!(
            "HTTP/1.1 {} {}\r\ncontent-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{text}",
            status.as_str(),
            status.canonical_reason().unwrap_or_default(),
            text.len()
        )
    }
}

/// Whether the service may see this request. Its sizes are looked at unless they are known to be small; `framed_twice` is asked only when it
/// has a Transfer-Encoding.
pub(super) fn check<B>(
    request: &Request<B>,
    is_small: bool,
    framed_twice: impl FnOnce() -> bool,
) -> Result<(), Refusal> {
    if !is_small {
        check_sizes(request)?;
    }
    let (mut host, mut encoded) = (None, false);
    for (name, value) in request.headers() {
        if name == header::HOST {
            if host.replace(value).is_some() {
                return Err(Refusal::HostTwice);
            }
        } else if name == header::TRANSFER_ENCODING {
            encoded = true;
        }
    }
    if encoded && framed_twice() {
        return Err(Refusal::FramedTwice);
    }
    check_host(request, host)
}

fn check_sizes<B>(request: &Request<B>) -> Result<(), Refusal> {
    let field = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
    if line_bytes(request) > REQUEST_LINE_MAX_BYTES {
        Err(Refusal::TargetTooLong)
    } else if request.headers().iter().map(field).sum::<usize>() > HEAD_MAX_BYTES {
        Err(Refusal::HeadTooLarge)
    } else {
        Ok(())
    }
}

/// The request line without its end; for HTTP/2 what it would be.
fn line_bytes<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let origin = match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) if request.version() != Version::HTTP_2 => {
            scheme.len() + "://".len() + authority.as_str().len()
        }
        _ => 0,
    };
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    request.method().as_str().len() + origin + path + "  HTTP/1.1".len()
}

fn check_host<B>(request: &Request<B>, host: Option<&HeaderValue>) -> Result<(), Refusal> {
    if let Some(host) = host
        && !is_host(host.as_bytes())
    {
        return Err(Refusal::HostInvalid);
    }
    match (request.uri().authority(), host) {
        (Some(authority), _) if !is_host(authority.as_str().as_bytes()) => Err(Refusal::HostInvalid),
        (Some(authority), Some(host)) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            Err(Refusal::HostDiffers)
        }
        (None, None) if request.version() > Version::HTTP_10 => Err(Refusal::HostMissing),
        // RFC 9112 §3.2: absolute-form does not free an HTTP/1.1 client from Host.
        (Some(_), None) if request.version() == Version::HTTP_11 => Err(Refusal::HostMissing),
        _ => Ok(()),
    }
}

/// `uri-host [ ":" port ]` of RFC 9110 §7.2, with a host that is not empty.
fn is_host(text: &[u8]) -> bool {
    let after = match text {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let literal = std::str::from_utf8(&rest[..end]).unwrap_or_default();
            if literal.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            &rest[end + 1..]
        }
        _ => {
            let end = text.iter().position(|byte| !NAME_BYTES[usize::from(*byte)]).unwrap_or(text.len());
            if end == 0 {
                return false;
            }
            &text[end..]
        }
    };
    match after {
        [] => true,
        [b':', port @ ..] => {
            port.iter().all(u8::is_ascii_digit)
                && (port.is_empty() || std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok()))
        }
        _ => false,
    }
}

/// Bytes of a reg-name (RFC 3986 §3.2.2): unreserved, sub-delims and `%`.
const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~%!$&'()*+,;=";
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in [
            "a",
            "go.example.com",
            "go.example.com:8080",
            "127.0.0.1",
            "[::1]",
            "[2001:db8::1]:443",
            "x:",
            "a_b",
            "%41",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "a/b",
            "user@a",
            "a:b",
            "a:65536",
            "a:+1",
            "[::1",
            "::1",
            "[::1]x",
            "[1.2.3.4]",
            "a,b c",
            "ä",
            "a:80:80",
            "a\0",
            "a?b",
            "a#b",
            "a\\b",
            "[]",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad:?}");
        }
    }

    fn request(version: Version, uri: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::new(());
        *request.version_mut() = version;
        *request.uri_mut() = uri.parse().unwrap();
        for host in hosts {
            request.headers_mut().append(header::HOST, HeaderValue::from_str(host).unwrap());
        }
        request
    }

    #[test]
    fn who_is_asked_must_be_clear() {
        use Refusal::{HostDiffers, HostInvalid, HostMissing, HostTwice};
        let (old, one, two) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        type Case<'a> = (Version, &'a str, &'a [&'a str], Result<(), Refusal>);
        let cases: [Case<'_>; 17] = [
            (one, "/", &["a"], Ok(())),
            (one, "/", &[], Err(HostMissing)),
            (old, "/", &[], Ok(())),
            (old, "/", &["a b"], Err(HostInvalid)),
            (old, "/", &["a", "a"], Err(HostTwice)),
            (one, "/", &[""], Err(HostInvalid)),
            (one, "/", &["a", "a"], Err(HostTwice)),
            (one, "/", &["a", "b"], Err(HostTwice)),
            (one, "http://a/", &["A"], Ok(())),
            (one, "http://a/", &["b"], Err(HostDiffers)),
            (one, "http://a/", &[], Err(HostMissing)),
            (one, "http://u@a/", &["u@a"], Err(HostInvalid)),
            (two, "https://a/", &[], Ok(())),
            (two, "https://a/", &["a"], Ok(())),
            (two, "https://a/", &["b"], Err(HostDiffers)),
            (two, "https://u@a/", &[], Err(HostInvalid)),
            (two, "/", &[], Err(HostMissing)),
        ];
        for (version, uri, hosts, expected) in cases {
            assert_eq!(check(&request(version, uri, hosts), false, || false), expected, "{version:?} {uri} {hosts:?}");
        }
    }

    #[test]
    fn sizes_are_exact() {
        let line = |length: usize| {
            let path = format!("/{}", "x".repeat(length - "GET / HTTP/1.1".len()));
            check(&request(Version::HTTP_11, &path, &["a"]), false, || false)
        };
        assert_eq!(line(REQUEST_LINE_MAX_BYTES), Ok(()));
        assert_eq!(line(REQUEST_LINE_MAX_BYTES + 1), Err(Refusal::TargetTooLong));
        let head = |length: usize| {
            let mut request = request(Version::HTTP_11, "/", &["a"]);
            let value = "x".repeat(length - "host: a\r\nx: \r\n".len());
            request.headers_mut().insert("x", value.parse().unwrap());
            check(&request, false, || false)
        };
        assert_eq!(head(HEAD_MAX_BYTES), Ok(()));
        assert_eq!(head(HEAD_MAX_BYTES + 1), Err(Refusal::HeadTooLarge));
    }

    #[test]
    fn a_raw_answer_is_whole() {
        let text = Refusal::TargetTooLong.raw();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 414 URI Too Long\r\n"), "{head}");
        assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
        assert!(head.ends_with(&format!("\r\ncontent-length: {}", body.len())), "{head}");
    }
}
