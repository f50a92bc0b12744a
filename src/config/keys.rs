//! The key file: secrets that sign cookies and click tokens.
//!
//! ```toml
//! [[key]]
//! id = 1
//! secret = "64 hexadecimal digits"
//! created = "2026-03-01T12:00:00Z"
//! ```
//! The last key signs, all verify. Every machine of an installation needs the same file. Text in, text out: whoever calls
//! reads and writes the file.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::Deserialize;

use crate::core::{
    key::{Key, KeyRing, SECRET_BYTES},
    time::Millis,
};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: u8,
    secret: String,
    created: Millis,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({})", self.id)
    }
}

/// What is wrong with a key file. Never quotes a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyFileError {
    #[error("it is not as it should be: each [[key]] needs `id` (1 to 255), `secret` and `created`")]
    Form,
    #[error("the secret of key {0} is not {digits} lower-case hexadecimal digits", digits = 2 * SECRET_BYTES)]
    Secret(u8),
    #[error("{0}")]
    Ring(#[from] crate::core::key::KeyRingError),
    #[error("all 255 key ids are in use: remove the oldest keys")]
    Full,
}

fn read(text: &str) -> Result<KeyFile, KeyFileError> {
    // The parser's own message would quote the line, and with it the secret.
    let built = config::Config::builder().add_source(config::File::from_str(text, config::FileFormat::Toml)).build();
    built.and_then(config::Config::try_deserialize).map_err(|_| KeyFileError::Form)
}

/// The keys of this file's text.
pub fn parse(text: &str) -> Result<KeyRing, KeyFileError> {
    ring(&read(text)?)
}

fn ring(file: &KeyFile) -> Result<KeyRing, KeyFileError> {
    let keys = file.key.iter().map(|entry| {
        let secret =
            HEXLOWER.decode(entry.secret.as_bytes()).ok().and_then(|bytes| <[u8; SECRET_BYTES]>::try_from(bytes).ok());
        Ok(Key::new(entry.id, &secret.ok_or(KeyFileError::Secret(entry.id))?))
    });
    Ok(KeyRing::new(keys.collect::<Result<_, KeyFileError>>()?)?)
}

/// The text with one more key, which signs from the next reload on, and that key's id. An empty text is a new file.
pub fn with_new_key(text: &str, secret: [u8; SECRET_BYTES], now: Millis) -> Result<(String, u8), KeyFileError> {
    let mut file = read(text)?;
    let newest = file.key.last().map_or(0, |entry| entry.id);
    let id = (1..=255u8)
        .map(|step| newest.wrapping_add(step))
        .find(|id| *id != 0 && file.key.iter().all(|entry| entry.id != *id))
        .ok_or(KeyFileError::Full)?;
    file.key.push(Entry { id, secret: HEXLOWER.encode(&secret), created: now });
    ring(&file)?;
    let head = "# Signs cookies and click tokens. Keep it secret, and the same on every machine. The last key signs.\n"
        .to_owned();
    let text = file.key.iter().fold(head, |text, Entry { id, secret, created }| {
        format!("{text}\n[[key]]\nid = {id}\nsecret = \"{secret}\"\ncreated = \"{created}\"\n")
    });
    Ok((text, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_added_and_the_newest_signs() {
        let (one, id) = with_new_key("", [1; 32], Millis(0)).unwrap();
        assert_eq!((id, parse(&one).unwrap().signing_id()), (1, 1));
        let (two, id) = with_new_key(&one, [2; 32], Millis(1)).unwrap();
        assert_eq!((id, parse(&two).unwrap().signing_id()), (2, 2));
        assert!(two.contains(&HEXLOWER.encode(&[1; 32])), "the older key is kept");
    }

    #[test]
    fn a_broken_file_is_refused_without_quoting_a_secret() {
        let bad = "[[key]]\nid = 1\nsecret = \"hunter2\"\ncreated = \"2026-03-01T00:00:00Z\"\n";
        assert_eq!(parse(bad).unwrap_err(), KeyFileError::Secret(1));
        assert_eq!(parse("[[key]]\nid = 1\nsecret = hunter2\n").unwrap_err(), KeyFileError::Form);
        assert!(matches!(parse("").unwrap_err(), KeyFileError::Ring(_)));
    }
}
