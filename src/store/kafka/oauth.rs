//! SASL OAUTHBEARER (RFC 7628) with a token out of a file, as a sidecar or a projected volume keeps it fresh.

use data_encoding::BASE64URL_NOPAD;
use rdkafka::client::OAuthToken;

use crate::core::time::Millis;

/// A token that does not say when it ends is read again after that long, milliseconds.
const UNKNOWN_LIFE_MS: i64 = 300_000;

#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("kafka.token_file {file} cannot be read: {error}")]
    Read { file: String, error: std::io::Error },
    #[error("kafka.token_file {0} is empty: it must hold a token (a JWT)")]
    Empty(String),
}

/// The claims that matter here (RFC 7519 §4.1).
#[derive(Debug, Default, serde::Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    /// Seconds since the epoch.
    exp: Option<f64>,
}

/// The token as it stands in the file now. The broker verifies it; we only look when it ends.
pub(super) fn token(file: &str, now: Millis) -> Result<OAuthToken, TokenError> {
    let text = std::fs::read_to_string(file).map_err(|error| TokenError::Read { file: file.to_owned(), error })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(TokenError::Empty(file.to_owned()));
    }
    let claims = claims(token).unwrap_or_default();
    let lifetime_ms = claims.exp.map_or(now.0 + UNKNOWN_LIFE_MS, |seconds| (seconds * 1_000.0) as i64);
    Ok(OAuthToken { token: token.to_owned(), principal_name: claims.sub, lifetime_ms })
}

fn claims(token: &str) -> Option<Claims> {
    let payload = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_772_366_400_000);

    fn read(text: &str) -> Result<OAuthToken, TokenError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        token(&file.path().to_string_lossy(), NOW)
    }

    #[test]
    fn a_token_says_who_it_is_for_and_when_it_ends() {
        let payload = BASE64URL_NOPAD.encode(br#"{"sub":"edge-1","exp":1772370000}"#);
        let token = read(&format!("head.{payload}.signature\n")).unwrap();
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("edge-1", 1_772_370_000_000));
        assert!(token.token.ends_with(".signature"));
    }

    #[test]
    fn a_token_that_says_nothing_is_read_again_soon() {
        assert_eq!(read("opaque").unwrap().lifetime_ms, NOW.0 + UNKNOWN_LIFE_MS);
        assert!(read(" \n").err().unwrap().to_string().contains("is empty"));
        assert!(token("/nowhere/token", NOW).err().unwrap().to_string().contains("/nowhere/token cannot be read"));
    }
}
