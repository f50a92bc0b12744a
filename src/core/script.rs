//! The snippet for landing pages, `fp.js`: its text, its version, and the line that puts it on a page.
//!
//! A page may name a version (`/fp.js?v=…`), which browsers and CDNs then keep for a year, together with the hash of its text (`integrity`):
//! a browser runs nothing else. So a version that was released must stay: before its text changes it goes into the folder
//! `script` under its version's name, and into [`TEXTS`]. Otherwise pages that name it would stop counting at the next upgrade.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA384, digest};
use data_encoding::BASE64;

/// The texts that are served, the newest first.
const TEXTS: &[&str] = &[include_str!("script/fp.js")];

static SCRIPTS: LazyLock<Vec<Script>> = LazyLock::new(|| TEXTS.iter().map(|text| Script::new(text)).collect());

/// One version.
#[derive(Debug)]
pub struct Script {
    pub text: &'static str,
    /// 16 hexadecimal digits of the text's BLAKE3.
    pub version: String,
    /// As HTTP has it: the version in quotes.
    pub etag: String,
    /// The value of `integrity` (W3C Subresource Integrity): `sha384-` and the text's hash in base64.
    pub integrity: String,
}

impl Script {
    fn new(text: &'static str) -> Script {
        let version = blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
        let integrity = format!("sha384-{}", BASE64.encode(digest(&SHA384, text.as_bytes()).as_ref()));
        Script { text, etag: format!("\"{version}\""), version, integrity }
    }

    /// The newest one.
    pub fn current() -> &'static Script {
        &SCRIPTS[0]
    }

    /// The one that a page names.
    pub fn find(version: &[u8]) -> Option<&'static Script> {
        SCRIPTS.iter().find(|script| script.version.as_bytes() == version)
    }

    /// The line for a page, where visitors reach Fingerpost under `url` (without a slash at the end).
    pub fn tag(&self, url: &str) -> String {
        let Script { version, integrity, .. } = self;
        format!(
            r#"<script src="{url}/fp.js?v={version}" integrity="{integrity}" crossorigin="anonymous" async></script>"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_found_by_its_name() {
        for script in SCRIPTS.iter() {
            assert_eq!(Script::find(script.version.as_bytes()).unwrap().text, script.text);
        }
        assert_eq!(Script::current().text, TEXTS[0]);
        assert!(Script::find(b"").is_none() && Script::find(b"0").is_none());
    }
}
