//! What chats and social networks are shown of a link: Open Graph and Twitter Card tags in the place of the bare redirect.
//!
//! Only where the link or its program says how it is to look. A link of which nobody said anything is a redirect for previewers as
//! well: they follow it, and the landing page's own tags, with its picture, say more than a name of the catalog, which may
//! never have been meant for the public. Where something is said, names fill what is missing.
//!
//! The page is for machines that are known as previewers by their User-Agent. A browser that announces a preview (`X-Purpose`) may show a
//! person what it fetched: it is redirected. Whoever is taken for a previewer by mistake is sent on by the page, to the
//! destination that the redirect would have had: it comes from the catalog.

use askama::Template;

use super::resolve::Redirect;
use crate::{core::limits::PREVIEW_PAGE_ADDRESS_MAX_BYTES, links::Links};

/// The page. The refresh waits a little: some previewers take one at once for a redirect, and show the landing page instead.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = r##"<!doctype html>
<html lang="und" prefix="og: https://ogp.me/ns#"><head><meta charset="utf-8">
<title>{{ title }}</title>
<meta property="og:type" content="website">
<meta property="og:title" content="{{ title }}">
{% if let Some(description) = description %}<meta property="og:description" content="{{ description }}">
{% endif %}{% if let Some(image) = image %}<meta property="og:image" content="{{ image }}">
{% endif %}<meta property="og:url" content="{{ url }}">
<meta property="og:site_name" content="{{ site_name }}">
<meta name="twitter:card" content="{% if image.is_some() %}summary_large_image{% else %}summary{% endif %}">
<meta name="twitter:title" content="{{ title }}">
{% if let Some(description) = description %}<meta name="twitter:description" content="{{ description }}">
{% endif %}{% if let Some(image) = image %}<meta name="twitter:image" content="{{ image }}">
{% endif %}<link rel="canonical" href="{{ url }}">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="2; url={{ destination }}">
</head><body><p><a href="{{ destination }}" rel="nofollow">{{ title }}</a></p></body></html>
"##
)]
struct Page<'a> {
    title: &'a str,
    description: Option<&'a str>,
    image: Option<&'a str>,
    site_name: &'a str,
    url: &'a str,
    destination: &'a str,
}

/// The page of a link that is reached under `url` and leads to `destination`; `None` where a redirect says more, or where the
/// request leads elsewhere than the link does.
pub(super) fn page(links: &Links, redirect: &Redirect, url: &str, destination: &[u8]) -> Option<String> {
    let more = redirect.more.as_deref();
    let sent_away = redirect.credit.named.is_some() && more.is_some_and(|more| more.fallback.is_some());
    if redirect.fallback || sent_away || url.len().max(destination.len()) > PREVIEW_PAGE_ADDRESS_MAX_BYTES {
        return None;
    }
    let of_link = more.and_then(|more| more.preview.as_deref());
    // The program that is credited; where nobody is, the link's first one.
    let program = redirect.credit.program.as_deref();
    let program = program.or_else(|| more.and_then(|more| more.programs.first()).map(|code| code.as_str()));
    let program = program.and_then(|code| links.programs.get(code));
    let of_program = program.as_ref().and_then(|program| program.preview.as_deref());
    if of_link.is_none() && of_program.is_none() {
        return None;
    }
    let destination = std::str::from_utf8(destination).ok()?;
    let parsed = url::Url::parse(destination).ok()?;
    let host = parsed.host_str()?;
    let said = [of_link, of_program];
    let said = || said.into_iter().flatten();
    let program_name = program.as_ref().map(|program| &*program.name);
    let names = [more.map(|more| &*more.name), program_name];
    let name = names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or(host);
    let page = Page {
        title: said().find_map(|preview| preview.title.as_deref()).unwrap_or(name),
        description: said().find_map(|preview| preview.description.as_deref()),
        image: said().find_map(|preview| preview.image.as_deref()),
        site_name: said()
            .find_map(|preview| preview.site_name.as_deref())
            .or(program_name.filter(|name| !name.is_empty()))
            .unwrap_or(host),
        url,
        destination,
    };
    page.render().ok()
}

#[cfg(test)]
mod tests;
