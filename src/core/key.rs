//! Signing keys of cookies and click tokens, and their rotation.
//!
//! A MAC is keyed BLAKE3 cut to 16 bytes; cookies and tokens use keys derived from the same secret under different
//! contexts, so that neither can be passed off as the other. The newest key signs, all of them verify, an unknown key id
//! means "not signed by us".

use std::fmt;

use super::limits::MAC_BYTES;

/// Bytes of one secret.
pub const SECRET_BYTES: usize = 32;

/// What a MAC is for: part of the key derivation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The visitor's cookie.
    Cookie,
    /// The click token that travels to the landing page.
    Token,
}

/// One signing key. Its `Debug` shows the id only.
#[derive(Clone)]
pub struct Key {
    id: u8,
    cookie: [u8; SECRET_BYTES],
    token: [u8; SECRET_BYTES],
}

impl Key {
    pub fn new(id: u8, secret: &[u8; SECRET_BYTES]) -> Key {
        Key {
            id,
            cookie: blake3::derive_key("fingerpost 2026 visitor cookie v1", secret),
            token: blake3::derive_key("fingerpost 2026 click token v1", secret),
        }
    }

    pub fn id(&self) -> u8 {
        self.id
    }

    fn mac(&self, purpose: Purpose, message: &[u8]) -> blake3::Hash {
        let key = match purpose {
            Purpose::Cookie => &self.cookie,
            Purpose::Token => &self.token,
        };
        blake3::keyed_hash(key, message)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// All keys that verify; the last one signs.
#[derive(Clone, Debug)]
pub struct KeyRing {
    keys: Vec<Key>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyRingError {
    #[error("no key: at least one is needed")]
    Empty,
    #[error("key id {0} stands there twice: each key needs its own")]
    Duplicate(u8),
}

impl KeyRing {
    /// Keys in order of age: the newest last.
    pub fn new(keys: Vec<Key>) -> Result<KeyRing, KeyRingError> {
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        for (at, key) in keys.iter().enumerate() {
            if keys[..at].iter().any(|other| other.id == key.id) {
                return Err(KeyRingError::Duplicate(key.id));
            }
        }
        Ok(KeyRing { keys })
    }

    /// The id of the key that signs.
    pub fn signing_id(&self) -> u8 {
        self.newest().id
    }

    fn newest(&self) -> &Key {
        // `new` refuses an empty list.
        &self.keys[self.keys.len() - 1]
    }

    /// Appends the newest key's MAC over all of `message`.
    pub fn sign(&self, purpose: Purpose, message: &mut Vec<u8>) {
        let mac = self.newest().mac(purpose, message);
        message.extend_from_slice(&mac.as_bytes()[..MAC_BYTES]);
    }

    /// The part before the MAC, when the key is known and the MAC is right. The comparison takes constant time.
    pub fn verify<'a>(&self, purpose: Purpose, key_id: u8, signed: &'a [u8]) -> Option<&'a [u8]> {
        let key = self.keys.iter().rev().find(|key| key.id == key_id)?;
        let (message, mac) = signed.split_at_checked(signed.len().checked_sub(MAC_BYTES)?)?;
        let expected = key.mac(purpose, message);
        let difference = expected.as_bytes().iter().zip(mac).fold(0, |sum, (a, b)| sum | (a ^ b));
        (std::hint::black_box(difference) == 0).then_some(message)
    }
}
