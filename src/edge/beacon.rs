//! `POST /e`: an event from a landing page, as JSON (any content type, since `sendBeacon` sends text).

use serde::Deserialize;

use crate::core::{
    channel::Channel, code::CodeBuf, event::Kind, id::EventId, key::KeyRing, limits::SUBS, token::Token,
};

use super::resolve::Target;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    kind: String,
    /// The click token that the landing page was reached with.
    #[serde(default)]
    token: String,
    /// Or the share link that the page belongs to.
    #[serde(default)]
    slug: String,
    /// Of a share.
    #[serde(default)]
    channel: String,
    #[serde(default)]
    sub1: String,
    #[serde(default)]
    sub2: String,
    #[serde(default)]
    sub3: String,
    #[serde(default)]
    sub4: String,
    #[serde(default)]
    sub5: String,
}

/// A view or a share on another page.
#[derive(Debug, PartialEq)]
pub(crate) struct Beacon {
    pub(crate) kind: Kind,
    pub(crate) of: Subject,
    pub(crate) channel: Option<Channel>,
    pub(crate) subs: [String; SUBS],
}

/// What the event is about.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub(crate) enum Subject {
    /// A click of ours, by its token: signed, so it is believed.
    Click { click: EventId, target: Target, program: Option<CodeBuf> },
    /// A share link, to be looked up.
    Slug(CodeBuf),
}

/// Which field is wrong, and how to mend it.
#[derive(Debug, PartialEq)]
pub(crate) struct Mistake {
    pub(crate) field: &'static str,
    pub(crate) problem: String,
}

fn mistake<T>(field: &'static str, problem: impl Into<String>) -> Result<T, Mistake> {
    Err(Mistake { field, problem: problem.into() })
}

/// Whether a body is a form's lead. It holds an e-mail address: it is for the control plane, and nothing of it is recorded here.
pub(crate) fn is_lead(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    // Most bodies are views.
    memchr::memmem::find(body, b"lead").is_some()
        && serde_json::from_slice::<Kind>(body).is_ok_and(|body| body.kind == "lead")
}

/// Reads a body.
pub(crate) fn read(body: &[u8], keys: &KeyRing) -> Result<Beacon, Mistake> {
    let body: Body = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return mistake("", format!("this is not the JSON that is expected: {error}")),
    };
    let kind = match body.kind.as_str() {
        "view" => Kind::View,
        "share" => Kind::Share,
        other => return mistake("kind", format!("`{other}` is not taken here: use view, share or lead")),
    };
    let of = match (body.token.as_str(), body.slug.as_str()) {
        ("", "") => return mistake("token", "is missing: send the click token (`token`) or a share link's `slug`"),
        ("", slug) => match CodeBuf::new(slug.as_bytes()) {
            Some(slug) => Subject::Slug(slug),
            None => return mistake("slug", "is not a share link's code"),
        },
        (token, _) => match Token::decode(token.as_bytes(), keys) {
            Some(Token { click, program, link, partner, ad }) => {
                Subject::Click { click, target: Target { link, partner, ad, slug: None }, program }
            }
            None => return mistake("token", "was not signed here: send the value of `fpc` as it came"),
        },
    };
    let channel = match body.channel.as_str() {
        "" => None,
        name => match Channel::from_name(name.as_bytes()) {
            Some(channel) => Some(channel),
            None => {
                return mistake("channel", format!("`{}` is not a channel that is known here", name.escape_debug()));
            }
        },
    };
    Ok(Beacon { kind, of, channel, subs: [body.sub1, body.sub2, body.sub3, body.sub4, body.sub5] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{key::Key, time::Millis};

    fn keys() -> KeyRing {
        KeyRing::new(vec![Key::new(1, &[1; 32])]).unwrap()
    }

    fn code(text: &str) -> CodeBuf {
        CodeBuf::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_signed_token_is_believed_and_a_forged_one_is_named() {
        let click = EventId::new(Millis(1_772_368_200_250), [3; 10]);
        let token = Token { click, program: None, link: code("haircare"), partner: Some(code("abc123")), ad: None };
        let mut text = Vec::new();
        token.encode(&keys(), &mut Vec::new(), &mut text);
        let token = String::from_utf8(text).unwrap();
        let body = format!(r#"{{"kind":"view","token":"{token}","sub1":"x"}}"#);
        let beacon = read(body.as_bytes(), &keys()).unwrap();
        assert!(
            matches!(beacon.of, Subject::Click { click: c, target: Target { partner: Some(p), .. }, .. } if c == click && p == code("abc123"))
        );
        assert_eq!(beacon.subs[0], "x");
        let forged = body.replace(&token, &format!("{}A", &token[..token.len() - 1]));
        assert_eq!(read(forged.as_bytes(), &keys()).unwrap_err().field, "token");
    }

    #[test]
    fn a_lead_is_told_from_all_else() {
        for (body, is) in [
            (r#"{"kind": "lead", "email": "a@home.example"}"#, true),
            (r#"{"email": "a@home.example", "kind":"lead"}"#, true),
            (r#"{"kind": "\u006cead"}"#, false),
            (r#"{"kind": "view", "sub1": "lead"}"#, false),
            (r#"{"kind": "view", "of": {"kind": "lead"}}"#, false),
            ("lead", false),
        ] {
            assert_eq!(is_lead(body.as_bytes()), is, "{body}");
        }
    }

    #[test]
    fn each_mistake_names_its_field() {
        for (body, field) in [
            ("", ""),
            ("{", ""),
            (r#"{"kind":"click","slug":"x"}"#, "kind"),
            (r#"{"kind":"view"}"#, "token"),
            (r#"{"kind":"view","slug":"a b"}"#, "slug"),
            (r#"{"kind":"share","slug":"x","channel":"pigeon"}"#, "channel"),
            (r#"{"kind":"view","slug":"x","surprise":1}"#, ""),
        ] {
            assert_eq!(read(body.as_bytes(), &keys()).unwrap_err().field, field, "{body}");
        }
        assert_eq!(
            read(br#"{"kind":"share","slug":"x","channel":"email"}"#, &keys()).unwrap().channel,
            Some(Channel::Email)
        );
    }
}
