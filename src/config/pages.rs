//! Where people's pages are: tracking pages and the partner center.

use super::reader::Reader;
use crate::core::template;

/// `[pages]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    /// Whether this machine answers them.
    pub serve: bool,
    /// The address under which people reach them, without a slash at the end; `None`: the one of their request.
    pub url: Option<String>,
}

impl Pages {
    /// Where people are sent for pages, from a machine that has none.
    pub fn elsewhere(&self) -> Option<&str> {
        if self.serve { None } else { self.url.as_deref() }
    }
}

/// An address that others are put behind.
pub(super) fn base(text: &str) -> Result<String, String> {
    let checked = template::check(text).map_err(|error| error.to_string())?;
    if text.contains(['{', '?', '#']) {
        return Err(format!("`{text}` is more than a base address: give scheme, host and port only"));
    }
    Ok(checked.trim_end_matches('/').to_owned())
}

pub(super) fn read(reader: &mut Reader) -> Pages {
    let pages = Pages { serve: reader.boolean("pages.serve", true), url: reader.optional("pages.url", base) };
    if !pages.serve && pages.url.is_none() {
        let problem = "says that pages are elsewhere, and nothing says where: give pages.url, or set it to true";
        reader.mistake("pages.serve", problem);
    }
    pages
}
