//! The click token: a signed word that travels to the landing page and says by itself who is to be credited, so that a
//! conversion months later needs no look-up.
//!
//! base64url of `version, key id, click id (16), program, link, partner, ad (each behind a length byte), MAC (16)`.

use data_encoding::BASE64URL_NOPAD;

use super::{
    code::CodeBuf,
    id::EventId,
    key::{KeyRing, Purpose},
    limits::TOKEN_RAW_MAX_BYTES,
    touch::{put_code, take, take_code},
};

const VERSION: u8 = 1;

/// What a token says. The click's time is in its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub click: EventId,
    pub program: Option<CodeBuf>,
    pub link: CodeBuf,
    /// `None`: a click that nobody is credited for.
    pub partner: Option<CodeBuf>,
    pub ad: Option<CodeBuf>,
}

impl Token {
    /// Appends the signed token to `out`. `scratch` is cleared and reused.
    pub fn encode(&self, keys: &KeyRing, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        scratch.clear();
        scratch.extend_from_slice(&[VERSION, keys.signing_id()]);
        scratch.extend_from_slice(&self.click.0);
        put_code(self.program.as_ref(), scratch);
        put_code(Some(&self.link), scratch);
        put_code(self.partner.as_ref(), scratch);
        put_code(self.ad.as_ref(), scratch);
        keys.sign(Purpose::Token, scratch);
        let start = out.len();
        out.resize(start + BASE64URL_NOPAD.encode_len(scratch.len()), 0);
        BASE64URL_NOPAD.encode_mut(scratch, &mut out[start..]);
    }

    /// What a token says, when it is whole and ours.
    pub fn decode(text: &[u8], keys: &KeyRing) -> Option<Token> {
        let mut raw = [0; TOKEN_RAW_MAX_BYTES];
        let raw = raw.get_mut(..BASE64URL_NOPAD.decode_len(text.len()).ok()?)?;
        BASE64URL_NOPAD.decode_mut(text, raw).ok()?;
        let mut input = keys.verify(Purpose::Token, *raw.get(1)?, raw)?;
        if take(&mut input, 2)?[0] != VERSION {
            return None;
        }
        let click = EventId(take(&mut input, 16)?.try_into().ok()?);
        let program = take_code(&mut input)?;
        let link = take_code(&mut input)??;
        let partner = take_code(&mut input)?;
        let ad = take_code(&mut input)?;
        input.is_empty().then_some(Token { click, program, link, partner, ad })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{key::Key, time::Millis};

    #[test]
    fn it_says_who_is_credited_and_nothing_else_is_believed() {
        let code = |text: &str| CodeBuf::new(text.as_bytes()).unwrap();
        let keys = KeyRing::new(vec![Key::new(1, &[1; 32]), Key::new(2, &[2; 32])]).unwrap();
        let token = Token {
            click: EventId::new(Millis(1_772_368_200_250), [3; 10]),
            program: Some(code("spring")),
            link: code("haircare"),
            partner: Some(code("abc123")),
            ad: None,
        };
        let mut text = Vec::new();
        token.encode(&keys, &mut Vec::new(), &mut text);
        assert_eq!(Token::decode(&text, &keys), Some(token));
        for at in 0..text.len() {
            let mut forged = text.clone();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(Token::decode(&forged, &keys), None, "byte {at}");
            assert_eq!(Token::decode(&text[..at], &keys), None, "cut at {at}");
        }
        let stranger = KeyRing::new(vec![Key::new(1, &[1; 32])]).unwrap();
        assert_eq!(Token::decode(&text, &stranger), None, "an unknown key");
    }
}
