//! Cookies and click tokens. The first byte chooses: the bytes as they are (nobody has signed them: they must not be
//! believed), or signed by us (whatever the payload, reading does not panic, and what is read is written the same again).
#![no_main]

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use fingerpost::core::{
    cookie::Cookie,
    key::{Key, KeyRing, Purpose},
    time::Millis,
    token::Token,
};
use libfuzzer_sys::fuzz_target;

static KEYS: LazyLock<KeyRing> =
    LazyLock::new(|| KeyRing::new(vec![Key::new(1, &[1; 32]), Key::new(2, &[2; 32])]).expect("two keys"));

fuzz_target!(|bytes: &[u8]| {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    match mode % 4 {
        0 => {
            assert_eq!(Cookie::find([bytes].into_iter(), &KEYS, Millis(0)), None, "a forged cookie is believed");
            assert_eq!(Token::decode(bytes, &KEYS), None, "a forged token is believed");
        }
        1 => {
            let value = signed(Purpose::Cookie, bytes);
            assert_eq!(Token::decode(&value, &KEYS), None, "a cookie is no token");
            let Some(cookie) = Cookie::decode(&value, &KEYS, Millis(0)) else { return };
            let mut again = Vec::new();
            cookie.encode(&KEYS, &mut Vec::new(), &mut again);
            assert_eq!(Cookie::decode(&again, &KEYS, Millis(0)), Some(cookie));
            assert_eq!(Cookie::decode(&again, &KEYS, cookie.expires), None, "it is over");
        }
        2 => {
            let text = signed(Purpose::Token, bytes);
            assert_eq!(Cookie::decode(&text, &KEYS, Millis(0)), None, "a token is no cookie");
            let Some(token) = Token::decode(&text, &KEYS) else { return };
            let mut again = Vec::new();
            token.encode(&KEYS, &mut Vec::new(), &mut again);
            assert_eq!(Token::decode(&again, &KEYS), Some(token));
        }
        _ => {
            // One changed byte of a signed cookie.
            let Some((at, payload)) = bytes.split_first() else { return };
            let mut value = signed(Purpose::Cookie, payload);
            let at = usize::from(*at) % value.len();
            value[at] = if value[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(Cookie::decode(&value, &KEYS, Millis(0)), None, "byte {at} can be changed");
        }
    }
});

fn signed(purpose: Purpose, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    if let Some(key_id) = payload.get_mut(1) {
        *key_id = KEYS.signing_id();
    }
    KEYS.sign(purpose, &mut payload);
    BASE64URL_NOPAD.encode(&payload).into_bytes()
}
