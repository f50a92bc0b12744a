//! `/{slug}+`: where a share link leads, for people who look before they click. Nothing is recorded.

use askama::Template;

/// The page. The address is shown, and not made a link, so that nobody arrives uncounted.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = r##"<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Where does this link lead?</title><style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem;
color-scheme:light dark}code{overflow-wrap:anywhere}</style></head><body><h1>{{ host }}</h1>
<p>The link <code>/{{ slug }}</code> leads to <strong>{{ name }}</strong>:</p><p><code>{{ address }}</code></p>
{% if varies %}<p>It can lead elsewhere on some devices, in some countries or at some times.</p>{% endif %}
<p><a href="/{{ slug }}">Go there</a></p></body></html>
"##
)]
struct Page<'a> {
    host: &'a str,
    slug: &'a str,
    name: &'a str,
    address: &'a str,
    varies: bool,
}

/// `address` is the link's own, with its placeholders.
pub(crate) fn page(slug: &str, name: &str, address: &str, varies: bool) -> askama::Result<String> {
    let host = url::Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let name = if name.is_empty() { host.as_str() } else { name };
    Page { host: &host, slug, name, address, varies }.render()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_text_never_markup() {
        let page = super::page("k3x9", "<script>alert(1)</script>\"'&", "https://shop.example/?a=1&b={sub1}", false);
        let page = page.unwrap();
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62;&#34;&#39;&#38;"), "{page}");
        assert!(page.contains("https://shop.example/?a=1&#38;b={sub1}"), "{page}");
    }
}
