//! `/{slug}+`: where a share link leads, for people who look before they click. Nothing is recorded.

use std::fmt::{self, Write};

/// Text that comes out as text, in an element or an attribute.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// The page. `address` is the link's own, with its placeholders; it is shown, and not made a link, so that nobody arrives
/// uncounted.
pub(crate) fn page(slug: &str, name: &str, address: &str, varies: bool) -> String {
    let host = url::Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let name = if name.is_empty() { host.as_str() } else { name };
    let varies =
        if varies { "<p>It can lead elsewhere on some devices, in some countries or at some times.</p>" } else { "" };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
<title>Where does this link lead?</title><style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem;\
color-scheme:light dark}}code{{overflow-wrap:anywhere}}</style></head><body><h1>{host}</h1>\
<p>The link <code>/{slug}</code> leads to <strong>{name}</strong>:</p><p><code>{address}</code></p>{varies}\
<p><a href=\"/{slug}\">Go there</a></p></body></html>\n",
        host = Escaped(&host),
        slug = Escaped(slug),
        name = Escaped(name),
        address = Escaped(address),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_text_never_markup() {
        let page = super::page("k3x9", "<script>alert(1)</script>\"'&", "https://shop.example/?a=1&b={sub1}", false);
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
        assert!(page.contains("https://shop.example/?a=1&amp;b={sub1}"));
    }
}
