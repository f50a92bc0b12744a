//! What all pages have in common: the frame of the document, and the headers that keep it safe.
//!
//! **Content-Security-Policy**: nothing but our own files, scripts and styles by a nonce that is new each time, no inline handlers, no
//! frames but those that a program allows, forms to us only. A page asks nobody else for anything.

use askama::Template;
use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use data_encoding::BASE64URL_NOPAD;

use super::{assets, fault::Fault, words::Words};
use crate::{core::page::Design, io::random};

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// What the frame of a page is made of.
#[derive(Debug)]
pub(super) struct Sheet<'a> {
    pub(super) words: Words<'a>,
    pub(super) title: String,
    pub(super) nonce: String,
    /// The design's own style, made of checked values only.
    pub(super) style: String,
    /// Who may show the page in a frame.
    frames: String,
    /// It shows pages of ours in frames itself.
    shows_frames: bool,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(words: Words<'a>, title: impl Into<String>) -> Result<Sheet<'a>, Fault> {
        let nonce = BASE64URL_NOPAD.encode(&random::bytes::<16>().map_err(|error| Fault::internal(&error))?);
        Ok(Sheet {
            words,
            title: title.into(),
            nonce,
            style: String::new(),
            frames: "'none'".to_owned(),
            shows_frames: false,
        })
    }

    /// The same as a program wants it. `background` is the address of the picture behind everything.
    pub(super) fn with_design(self, design: &Design, background: Option<&str>) -> Sheet<'a> {
        let frames = if design.embed.is_empty() { self.frames } else { design.embed.join(" ") };
        Sheet { style: style(design, background), frames, ..self }
    }

    /// The same of a page that shows others of ours in frames.
    pub(super) fn showing_frames(self) -> Sheet<'a> {
        Sheet { shows_frames: true, ..self }
    }

    pub(super) fn css(&self) -> &'static str {
        assets::css()
    }

    pub(super) fn script(&self) -> &'static str {
        assets::script()
    }

    pub(super) fn icon(&self) -> &'static str {
        assets::icon()
    }
}

/// A design's variables. Every value was checked when the design was put (`core::page`).
fn style(design: &Design, background: Option<&str>) -> String {
    let mut rules = String::new();
    for (name, value) in design.colours.named() {
        if let Some(value) = value {
            rules += &format!("--{}:{value};", name.replace('_', "-"));
        }
    }
    // A page of which a colour is chosen does not change the others by itself: what was chosen on light cannot be read on dark.
    if !rules.is_empty() {
        rules += "color-scheme:light;";
    }
    for (name, value) in &design.variables {
        rules += &format!("--{name}:{value};");
    }
    let mut style = if rules.is_empty() { String::new() } else { format!(":root{{{rules}}}") };
    if let Some(address) = background {
        style +=
            &format!("body{{background-image:url(\"{address}\");background-size:cover;background-attachment:fixed}}");
    }
    style
}

/// A whole page.
pub(super) trait Page: Template {
    fn sheet(&self) -> &Sheet<'_>;
}

/// Pages that hold their sheet.
macro_rules! pages {
    ($($name:ident),+ $(,)?) => {
        $(impl $crate::pages::sheet::Page for $name<'_> {
            fn sheet(&self) -> &$crate::pages::sheet::Sheet<'_> {
                &self.sheet
            }
        })+
    };
}
pub(super) use pages;

/// The page as an answer.
pub(super) fn show(status: StatusCode, page: &impl Page) -> Response {
    let body = match page.render() {
        Ok(body) => body,
        Err(error) => return Fault::internal(&error).into_response(),
    };
    let sheet = page.sheet();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data:; media-src 'self'; \
         connect-src 'self'; {shown}form-action 'self'; base-uri 'none'; frame-ancestors {frames}",
        nonce = sheet.nonce,
        shown = if sheet.shows_frames { "frame-src 'self'; " } else { "" },
        frames = sheet.frames
    );
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(sheet.words.code()));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Headers of everything that the pages answer, where it has none of its own.
pub(super) fn finish(response: &mut Response) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (PERMISSIONS_POLICY, "camera=(), geolocation=(), microphone=(), payment=()"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// 303: a form was taken, and reloading the page does not send it again.
pub(super) fn go(address: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(address) else { return Fault::NotFound.into_response() };
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_design_becomes_variables() {
        let design: Design = serde_json::from_value(serde_json::json!({
            "colours": {"accent": "#0b6e4f", "on_accent": "#ffffff"}, "variables": {"radius": "12px"},
        }))
        .unwrap();
        assert_eq!(
            style(&design, None),
            ":root{--accent:#0b6e4f;--on-accent:#ffffff;color-scheme:light;--radius:12px;}"
        );
        assert_eq!(style(&Design::default(), None), "");
        for name in ["accent", "on_accent", "text", "surface", "background"] {
            let design = serde_json::from_value(serde_json::json!({"colours": {name: "#7a1f5c"}})).unwrap();
            assert!(style(&design, None).contains("color-scheme:light;"), "{name}");
        }
        let plain = Design { variables: [("radius".to_owned(), "2px".to_owned())].into(), ..Design::default() };
        assert_eq!(style(&plain, None), ":root{--radius:2px;}");
        assert!(style(&Design::default(), Some("/r/a/files/b.jpg")).contains("url(\"/r/a/files/b.jpg\")"));
    }
}
