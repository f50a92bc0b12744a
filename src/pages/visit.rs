//! What a request says about who is there: language, browser, address, cookies; and what our own cookies and forms are made of.
//!
//! Cookies are `__Host-` ones: no other host of the domain, and no page over http, can set or read them. They need https; browsers
//! take `localhost` for safe too. A page that other sites may show in a frame needs its cookies there (`SameSite=None`,
//! partitioned by the site that shows it). Browsers keep that one beside the other of the same name, and send both: so each is tried, and
//! whoever gets a new one loses the other. The log-in's cookie holds the tokens of the last codes: an older code is good for its time.

use std::net::IpAddr;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};
use data_encoding::BASE64URL_NOPAD;

use super::words::accepted;
use crate::core::{
    limits::{ADMIN_SESSION_TTL, LOGIN_CODE_TTL, SESSION_TTL},
    net::{ClientAddress, OverHttps},
    page::Language,
};

/// Tokens of one kind that are looked at, the last ones of those that are sent: each costs a look.
const TOKENS_MAX: usize = 5;
const FORM_CONTEXT: &str = "fingerpost 2026 form token v1";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Our cookies for people's browsers. The visitor's, `fp`, is the edge's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// Whoever asked for a code holds it.
    Login,
    /// A person who is logged in.
    Person,
    /// The operator. Another one: cookies do not tell ports apart.
    Admin,
}

impl Cookie {
    const fn name(self) -> &'static str {
        match self {
            Cookie::Login => "__Host-fpl",
            Cookie::Person => "__Host-fps",
            Cookie::Admin => "__Host-fpa",
        }
    }

    const fn seconds(self) -> u64 {
        match self {
            // What has expired is told so, for a while.
            Cookie::Login => 6 * LOGIN_CODE_TTL.as_secs(),
            Cookie::Person => SESSION_TTL.as_secs(),
            Cookie::Admin => ADMIN_SESSION_TTL.as_secs(),
        }
    }

    /// `Set-Cookie` lines that give the browser a value, and take the one away that it may hold of the other kind. That goes first: a
    /// browser that does not know partitions takes both for one.
    pub(super) fn set(self, value: &str, embedded: bool) -> Vec<HeaderValue> {
        let value = self.line(value, self.seconds(), embedded);
        if self == Cookie::Admin { vec![value] } else { vec![self.line("", 0, !embedded), value] }
    }

    /// Those that take all of them away.
    pub(super) fn clear(self) -> Vec<HeaderValue> {
        // The dashboard is shown in no frame.
        let kinds: &[bool] = if self == Cookie::Admin { &[false] } else { &[true, false] };
        kinds.iter().map(|embedded| self.line("", 0, *embedded)).collect()
    }

    fn line(self, value: &str, age: u64, embedded: bool) -> HeaderValue {
        let site = if embedded { "None; Partitioned" } else { "Lax" };
        let line = format!("{}={value}; Path=/; Max-Age={age}; Secure; HttpOnly; SameSite={site}", self.name());
        // Our tokens are base64.
        HeaderValue::from_str(&line).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// Who is there.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// The one of ours that the browser likes best.
    pub(super) language: Language,
    /// How the browser names itself: a session belongs to one.
    pub(super) agent: Vec<u8>,
    pub(super) client: Option<IpAddr>,
    https: bool,
    host: String,
    cookies: Vec<(String, String)>,
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Visit, Self::Rejection> {
        Ok(Visit::of(parts))
    }
}

impl Visit {
    pub(super) fn of(parts: &Parts) -> Visit {
        let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        Visit {
            language: accepted(text(header::ACCEPT_LANGUAGE)),
            agent: parts.headers.get(header::USER_AGENT).map(|agent| agent.as_bytes().to_vec()).unwrap_or_default(),
            client: parts.extensions.get::<ClientAddress>().map(|client| client.0),
            https: parts.extensions.get::<OverHttps>().is_some_and(|https| https.0),
            host: host(&parts.headers, &parts.uri).to_owned(),
            cookies: cookies(&parts.headers),
        }
    }

    /// What the browser holds, each token once and the newest one last; nothing that is not one of ours. A cookie may hold several,
    /// between dots.
    pub(super) fn tokens(&self, cookie: Cookie) -> Vec<&str> {
        let of = self.cookies.iter().filter(|(name, _)| name == cookie.name());
        let mut tokens: Vec<&str> = Vec::new();
        for token in of.flat_map(|(_, value)| value.split('.')).filter(|token| token.len() == 43) {
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
        tokens.split_off(tokens.len().saturating_sub(TOKENS_MAX))
    }

    /// Whether the browser keeps our cookies.
    pub(super) fn is_safe(&self) -> bool {
        let name = self.host.rsplit_once(':').map_or(self.host.as_str(), |(name, _)| name);
        self.https || matches!(name, "localhost" | "127.0.0.1" | "[::1]") || name.ends_with(".localhost")
    }

    /// The address under which this request reached us, without a slash at the end.
    pub(super) fn base(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.host)
    }
}

fn host<'a>(headers: &'a HeaderMap, uri: &'a axum::http::Uri) -> &'a str {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    uri.authority().map(axum::http::uri::Authority::as_str).or(named).unwrap_or_default()
}

fn cookies(headers: &HeaderMap) -> Vec<(String, String)> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| name.starts_with("__Host-fp")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// Whether a form comes from a page of ours: what the browser says by itself, which no page can change.
pub(super) fn is_from_here(headers: &HeaderMap, uri: &axum::http::Uri) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin";
    }
    match headers.get(header::ORIGIN).map(HeaderValue::to_str) {
        // Not a browser of today, which would say one or the other.
        None => true,
        Some(Ok(origin)) => {
            origin.split_once("://").is_some_and(|(_, named)| named.eq_ignore_ascii_case(host(headers, uri)))
        }
        Some(Err(_)) => false,
    }
}

/// What a form of somebody who is logged in carries: bound to the session, and of no use for anything else.
pub(super) fn form_token(session: &str) -> String {
    let key = blake3::derive_key(FORM_CONTEXT, session.as_bytes());
    BASE64URL_NOPAD.encode(&key[..16])
}

/// Whether a form carries the session's token. Takes constant time.
pub(super) fn is_form_token(session: &str, given: &str) -> bool {
    let hash = |text: &str| blake3::hash(text.as_bytes());
    hash(&form_token(session)) == hash(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let request =
            headers.iter().fold(axum::http::Request::post("/r/spring"), |r, (name, value)| r.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_form_comes_from_here_or_is_refused() {
        for (headers, expected) in [
            (vec![("host", "r.example"), ("sec-fetch-site", "same-origin")], true),
            (vec![("host", "r.example"), ("sec-fetch-site", "same-site")], false),
            (vec![("host", "r.example"), ("sec-fetch-site", "cross-site"), ("origin", "http://r.example")], false),
            (vec![("host", "r.example"), ("sec-fetch-site", "none")], false),
            (vec![("host", "r.example:8080"), ("origin", "http://r.example:8080")], true),
            (vec![("host", "r.example"), ("origin", "https://evil.example")], false),
            (vec![("host", "r.example"), ("origin", "null")], false),
            (vec![("host", "r.example")], true),
        ] {
            let parts = parts(&headers);
            assert_eq!(is_from_here(&parts.headers, &parts.uri), expected, "{headers:?}");
        }
    }

    #[test]
    fn cookies_are_found_and_are_bound_to_this_host() {
        let token = "A".repeat(43);
        let other = "B".repeat(43);
        let line = format!("fp=x; __Host-fps={token}; __Host-fpl=short; __Host-fps={other}; __Host-fps={token}");
        let visit = Visit::of(&parts(&[("host", "localhost:8080"), ("cookie", &line), ("accept-language", "de")]));
        assert_eq!(visit.tokens(Cookie::Person), [token.as_str(), other.as_str()]);
        assert!(visit.tokens(Cookie::Login).is_empty() && visit.tokens(Cookie::Admin).is_empty());
        assert!(visit.is_safe() && visit.base() == "http://localhost:8080" && visit.language == Language::De);
        assert!(!Visit::of(&parts(&[("host", "shop.example")])).is_safe());
        let many: Vec<String> = (10..40).map(|n| format!("{n}{}", "x".repeat(41))).collect();
        let line = format!("__Host-fps={}; __Host-fps={}", many[..20].join("."), many[20..].join("."));
        assert_eq!(Visit::of(&parts(&[("cookie", &line)])).tokens(Cookie::Person), many[25..]);
    }

    #[test]
    fn a_new_cookie_takes_the_others_place() {
        let (lax, framed) = ("Secure; HttpOnly; SameSite=Lax", "Secure; HttpOnly; SameSite=None; Partitioned");
        let plain = Cookie::Person.set("new", false);
        assert_eq!(plain[0], format!("__Host-fps=; Path=/; Max-Age=0; {framed}"));
        assert_eq!(plain[1], format!("__Host-fps=new; Path=/; Max-Age=7200; {lax}"));
        let embedded = Cookie::Login.set("new", true);
        assert_eq!(embedded[0], format!("__Host-fpl=; Path=/; Max-Age=0; {lax}"));
        assert_eq!(embedded[1], format!("__Host-fpl=new; Path=/; Max-Age=3600; {framed}"));
        let none = Cookie::Person.clear();
        assert_eq!(none[0], format!("__Host-fps=; Path=/; Max-Age=0; {framed}"));
        assert_eq!(none[1], format!("__Host-fps=; Path=/; Max-Age=0; {lax}"));
        assert_eq!((Cookie::Admin.set("new", false).len(), Cookie::Admin.clear().len()), (1, 1));
    }

    #[test]
    fn a_form_token_is_of_one_session() {
        assert!(is_form_token("one", &form_token("one")));
        assert!(!is_form_token("two", &form_token("one")) && !is_form_token("one", ""));
    }
}
