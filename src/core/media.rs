//! What a program's page may show, told by how it begins. SVG is not among it: it can hold scripts.

type Begins = fn(&[u8]) -> bool;

const MEDIA: &[(&str, Begins)] = &[
    ("image/png", |body| body.starts_with(b"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", |body| body.starts_with(b"\xff\xd8\xff")),
    ("image/gif", |body| body.starts_with(b"GIF87a") || body.starts_with(b"GIF89a")),
    ("image/webp", |body| body.starts_with(b"RIFF") && body.get(8..12) == Some(b"WEBP")),
    ("video/mp4", |body| body.get(4..8) == Some(b"ftyp")),
    ("video/webm", |body| body.starts_with(b"\x1a\x45\xdf\xa3")),
];

/// The media type of what can be shown; `None`: it cannot.
pub fn media_type(body: &[u8]) -> Option<&'static str> {
    MEDIA.iter().find(|(_, is)| is(body)).map(|(name, _)| *name)
}

/// All that can be shown, for messages.
pub fn known() -> String {
    MEDIA.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_it_begins_as() {
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\n..."), Some("image/png"));
        assert_eq!(media_type(b"RIFF....WEBPVP8 "), Some("image/webp"));
        for other in [&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..], b"RIFF", b"", b"<script>"] {
            assert_eq!(media_type(other), None);
        }
        assert!(known().starts_with("image/png, image/jpeg"));
    }
}
