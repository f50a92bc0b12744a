//! Who sent a webhook: signatures over the raw body, or a secret that comes along.

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use crate::{
    config::secret::Secret,
    core::{limits::SIGNATURE_TOLERANCE_SECONDS, time::Millis},
};

/// Why a webhook is not believed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignatureError {
    #[error("{0}: is missing: the sender's secret and this header say who sends it")]
    Missing(String),
    #[error("{0}: is not written as it should be")]
    Malformed(String),
    #[error(
        "{0}: its time is more than {SIGNATURE_TOLERANCE_SECONDS} seconds from ours: set the clocks, and send what is older anew"
    )]
    Stale(String),
    #[error(
        "{0}: fits none of the secrets of this endpoint: give it the sender's one, and pass the body on as it came"
    )]
    Wrong(String),
    #[error("this endpoint has no secret yet: nobody is believed")]
    NoSecret,
}

impl SignatureError {
    pub const fn tag(&self) -> &'static str {
        match self {
            SignatureError::Missing(_) => "missing",
            SignatureError::Malformed(_) => "malformed",
            SignatureError::Stale(_) => "stale",
            SignatureError::Wrong(_) => "wrong",
            SignatureError::NoSecret => "no_secret",
        }
    }
}

pub const STRIPE_HEADER: &str = "Stripe-Signature";

/// `t=<seconds>,v1=<hex>[,v1=<hex>…]`: HMAC-SHA256 of `<t>.<body>`; the key is the secret as it is written, with its `whsec_`.
pub fn stripe(header: Option<&str>, body: &[u8], secrets: &[Secret], now: Millis) -> Result<(), SignatureError> {
    let name = || STRIPE_HEADER.to_owned();
    if secrets.is_empty() {
        return Err(SignatureError::NoSecret);
    }
    let header = header.ok_or_else(|| SignatureError::Missing(name()))?;
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", seconds)) => time = Some(seconds),
            Some(("v1", hex)) => signatures.push(hex),
            _ => {}
        }
    }
    let time = time.filter(|_| !signatures.is_empty()).ok_or_else(|| SignatureError::Malformed(name()))?;
    let message = [time.as_bytes(), b".", body].concat();
    let fits = signatures
        .iter()
        .filter_map(|hex| decode(hex, Encoding::Hex))
        .any(|tag| secrets.iter().any(|secret| verify(Algorithm::Sha256, secret, &message, &tag)));
    if !fits {
        return Err(SignatureError::Wrong(name()));
    }
    fresh(time, now).then_some(()).ok_or_else(|| SignatureError::Stale(name()))
}

/// Whether a time in seconds is near enough.
fn fresh(seconds: &str, now: Millis) -> bool {
    seconds.parse::<i64>().is_ok_and(|seconds| {
        now.0.div_euclid(1_000).saturating_sub(seconds).unsigned_abs() <= SIGNATURE_TOLERANCE_SECONDS.unsigned_abs()
    })
}

/// How a sender shows who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// A header holds an HMAC of the body.
    Hmac {
        #[schema(example = "X-Hub-Signature-256")]
        header: String,
        #[serde(default)]
        algorithm: Algorithm,
        #[serde(default)]
        encoding: Encoding,
        /// What stands before the signature, for example `sha256=`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prefix: String,
        /// A header with the time in seconds: then `<time>.<body>` is signed, and the time must be near.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timestamp_header: Option<String>,
    },
    /// A header holds the secret: `Authorization: Bearer SECRET` where no other is named.
    Header {
        #[serde(default = "authorization")]
        header: String,
        #[serde(default = "bearer")]
        prefix: String,
    },
    /// The secret is the last part of the path, for senders who can do no more. Their logs, and those of proxies, know it.
    Path,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha512,
    /// For senders who still sign so.
    Sha1,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

fn authorization() -> String {
    "Authorization".to_owned()
}

fn bearer() -> String {
    "Bearer ".to_owned()
}

impl Auth {
    /// Checks a request. `header` gives a header's value, `path` is the part of the path that may hold a secret.
    pub fn check<'h>(
        &self,
        header: impl Fn(&str) -> Option<&'h str>,
        path: Option<&str>,
        body: &[u8],
        secrets: &[Secret],
        now: Millis,
    ) -> Result<(), SignatureError> {
        if secrets.is_empty() {
            return Err(SignatureError::NoSecret);
        }
        match self {
            Auth::Path => {
                let name = || "the last part of the path".to_owned();
                is_secret(path.ok_or_else(|| SignatureError::Missing(name()))?, secrets, name())
            }
            Auth::Header { header: name, prefix } => {
                let value = header(name).ok_or_else(|| SignatureError::Missing(name.clone()))?;
                let given = strip(value, prefix).ok_or_else(|| SignatureError::Malformed(name.clone()))?;
                is_secret(given, secrets, name.clone())
            }
            Auth::Hmac { header: name, algorithm, encoding, prefix, timestamp_header } => {
                let value = header(name).ok_or_else(|| SignatureError::Missing(name.clone()))?;
                let tag = strip(value, prefix).and_then(|text| decode(text, *encoding));
                let tag = tag.ok_or_else(|| SignatureError::Malformed(name.clone()))?;
                let time = match timestamp_header {
                    Some(name) => Some(header(name).ok_or_else(|| SignatureError::Missing(name.clone()))?),
                    None => None,
                };
                let message = match time {
                    Some(time) => [time.as_bytes(), b".", body].concat(),
                    None => body.to_vec(),
                };
                if !secrets.iter().any(|secret| verify(*algorithm, secret, &message, &tag)) {
                    return Err(SignatureError::Wrong(name.clone()));
                }
                let near = time.is_none_or(|time| fresh(time, now));
                near.then_some(()).ok_or_else(|| SignatureError::Stale(name.clone()))
            }
        }
    }
}

fn strip<'t>(value: &'t str, prefix: &str) -> Option<&'t str> {
    let (head, rest) = value.trim().split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest.trim())
}

/// Compared by their MACs under the secret: in constant time, and the length tells nothing either.
fn is_secret(given: &str, secrets: &[Secret], name: String) -> Result<(), SignatureError> {
    let same = |secret: &Secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        let tag = hmac::sign(&key, secret.expose().as_bytes());
        hmac::verify(&key, given.as_bytes(), tag.as_ref()).is_ok()
    };
    if secrets.iter().any(same) { Ok(()) } else { Err(SignatureError::Wrong(name)) }
}

fn decode(text: &str, encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Hex => data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
        Encoding::Base64 => data_encoding::BASE64.decode(text.as_bytes()).ok(),
    }
}

fn verify(algorithm: Algorithm, secret: &Secret, message: &[u8], tag: &[u8]) -> bool {
    let algorithm = match algorithm {
        Algorithm::Sha256 => hmac::HMAC_SHA256,
        Algorithm::Sha512 => hmac::HMAC_SHA512,
        Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    };
    hmac::verify(&hmac::Key::new(algorithm, secret.expose().as_bytes()), message, tag).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_772_366_400_000);

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new(*text)).collect()
    }

    fn signed(algorithm: hmac::Algorithm, secret: &str, message: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), message)
    }

    fn stripe_header(secret: &str, seconds: i64, body: &[u8]) -> String {
        let message = [seconds.to_string().as_bytes(), b".", body].concat();
        let tag = signed(hmac::HMAC_SHA256, secret, &message);
        format!("t={seconds},v0=00,v1={}", data_encoding::HEXLOWER.encode(tag.as_ref()))
    }

    /// Made with openssl: `printf '1772366400.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test`.
    #[test]
    fn a_signature_made_elsewhere_fits() {
        let header = "t=1772366400,v1=423eaca490dc90f990738fb794aeaf13bc5ebdb56ba71a34ff498d8927382f0c";
        assert_eq!(stripe(Some(header), br#"{"id":"evt_1"}"#, &secrets(&["whsec_test"]), NOW), Ok(()));
    }

    #[test]
    fn a_stripe_signature_is_of_this_body_this_secret_and_this_time() {
        let now = NOW.0 / 1_000;
        let body = br#"{"id":"evt_1"}"#;
        let both = secrets(&["whsec_new", "whsec_old"]);
        for secret in ["whsec_new", "whsec_old"] {
            for seconds in [now - 300, now, now + 300] {
                assert_eq!(stripe(Some(&stripe_header(secret, seconds, body)), body, &both, NOW), Ok(()));
            }
        }
        let good = stripe_header("whsec_new", now, body);
        let tag =
            |header: &str, body: &[u8], secrets: &[Secret]| stripe(Some(header), body, secrets, NOW).unwrap_err().tag();
        assert_eq!(tag(&good, br#"{"id":"evt_2"}"#, &both), "wrong");
        assert_eq!(tag(&good, body, &secrets(&["whsec_other"])), "wrong");
        assert_eq!(tag(&good.replace(&format!("t={now}"), &format!("t={}", now + 1)), body, &both), "wrong");
        assert_eq!(tag(&stripe_header("whsec_new", now - 301, body), body, &both), "stale");
        assert_eq!(tag(&stripe_header("whsec_new", now + 301, body), body, &both), "stale");
        assert_eq!(tag("v1=00", body, &both), "malformed");
        assert_eq!(tag(&format!("t={now}"), body, &both), "malformed");
        assert_eq!(tag(&format!("t={now},v1=zz"), body, &both), "wrong");
        assert_eq!(tag(&good, body, &[]), "no_secret");
        assert_eq!(stripe(None, body, &both, NOW).unwrap_err().tag(), "missing");
    }

    #[test]
    fn others_sign_in_other_ways() {
        let body = b"{}";
        let auth = |json: serde_json::Value| serde_json::from_value::<Auth>(json).unwrap();
        let keys = secrets(&["first-secret", "second"]);
        let sha1 = data_encoding::HEXUPPER.encode(signed(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, "second", body).as_ref());
        let sha256 = data_encoding::BASE64.encode(signed(hmac::HMAC_SHA256, "first-secret", body).as_ref());
        let timed = data_encoding::HEXLOWER.encode(signed(hmac::HMAC_SHA512, "second", b"1772366400.{}").as_ref());
        let hub = auth(
            serde_json::json!({"by": "hmac", "header": "X-Hub-Signature", "algorithm": "sha1", "prefix": "sha1="}),
        );
        let plain = auth(serde_json::json!({"by": "hmac", "header": "X-Signature", "encoding": "base64"}));
        let time = auth(
            serde_json::json!({"by": "hmac", "header": "X-Signature", "algorithm": "sha512", "timestamp_header": "X-Time"}),
        );
        let header = auth(serde_json::json!({"by": "header"}));
        let path = auth(serde_json::json!({"by": "path"}));
        let check = |auth: &Auth, headers: &[(&str, &str)], path: Option<&str>, body: &[u8]| {
            let find = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            auth.check(find, path, body, &keys, NOW).map_err(|error| error.tag())
        };
        assert_eq!(check(&hub, &[("X-Hub-Signature", &format!("sha1={sha1}"))], None, body), Ok(()));
        assert_eq!(check(&hub, &[("X-Hub-Signature", &sha1)], None, body), Err("malformed"));
        assert_eq!(check(&hub, &[("X-Hub-Signature", &format!("sha1={sha1}"))], None, b"{ }"), Err("wrong"));
        assert_eq!(check(&plain, &[("X-Signature", &sha256)], None, body), Ok(()));
        assert_eq!(check(&time, &[("X-Signature", &timed), ("X-Time", "1772366400")], None, body), Ok(()));
        assert_eq!(check(&time, &[("X-Signature", &timed), ("X-Time", "1772366401")], None, body), Err("wrong"));
        assert_eq!(check(&time, &[("X-Signature", &timed)], None, body), Err("missing"));
        assert_eq!(check(&header, &[("Authorization", "bearer second")], None, body), Ok(()));
        assert_eq!(check(&header, &[("Authorization", "Bearer secon")], None, body), Err("wrong"));
        assert_eq!(check(&header, &[("Authorization", "second")], None, body), Err("malformed"));
        assert_eq!(check(&path, &[], Some("first-secret"), body), Ok(()));
        assert_eq!(check(&path, &[], Some("first-secret2"), body), Err("wrong"));
        assert_eq!(check(&path, &[], None, body), Err("missing"));
    }
}
