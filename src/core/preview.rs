//! What chats and social networks show of a link that somebody shares: title, description, picture, name of the site.
//!
//! A program and a link may have one each; field by field the link's wins. Every field may be missing.

use serde::{Deserialize, Serialize};

use super::limits::{
    PREVIEW_DESCRIPTION_MAX_CHARS, PREVIEW_IMAGE_MAX_BYTES, PREVIEW_SITE_NAME_MAX_CHARS, PREVIEW_TITLE_MAX_CHARS,
};

/// What a shared link looks like in a chat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Preview {
    /// One line, at most 150 characters. Missing: the link's name, or the program's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 150, example = "Shoes for every trail")]
    pub title: Option<Box<str>>,
    /// One line, at most 300 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 300)]
    pub description: Option<Box<str>>,
    /// https address of a picture; 1200 × 630 pixels suit most chats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 1024, example = "https://shop.example/shoes.jpg")]
    pub image: Option<Box<str>>,
    /// One line, at most 100 characters. Missing: the program's name, or the destination's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 100, example = "Trail Shop")]
    pub site_name: Option<Box<str>>,
}

/// A mistake: the place below `preview`, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewError {
    pub field: &'static str,
    pub problem: String,
}

impl Preview {
    /// Longest checked one in JSON, bytes: a character takes at most four, and there are no control characters.
    pub const MAX_JSON_BYTES: usize = 64
        + 4 * (PREVIEW_TITLE_MAX_CHARS + PREVIEW_DESCRIPTION_MAX_CHARS + PREVIEW_SITE_NAME_MAX_CHARS)
        + PREVIEW_IMAGE_MAX_BYTES;

    /// The same in normal form, all mistakes at once. A field that says nothing is none; none of all is no preview.
    pub fn checked(self) -> Result<Option<Preview>, Vec<PreviewError>> {
        let mut mistakes = Vec::new();
        let mut keep = |field, checked: Result<Option<Box<str>>, String>| {
            checked.unwrap_or_else(|problem| {
                mistakes.push(PreviewError { field, problem });
                None
            })
        };
        let preview = Preview {
            title: keep(".title", line(self.title, PREVIEW_TITLE_MAX_CHARS)),
            description: keep(".description", line(self.description, PREVIEW_DESCRIPTION_MAX_CHARS)),
            image: keep(".image", self.image.filter(|text| !text.is_empty()).map(|text| image(&text)).transpose()),
            site_name: keep(".site_name", line(self.site_name, PREVIEW_SITE_NAME_MAX_CHARS)),
        };
        if mistakes.is_empty() { Ok((preview != Preview::default()).then_some(preview)) } else { Err(mistakes) }
    }
}

fn line(text: Option<Box<str>>, max: usize) -> Result<Option<Box<str>>, String> {
    let Some(text) = text else { return Ok(None) };
    let text = text.trim();
    let characters = text.chars().count();
    if characters > max {
        return Err(format!("has {characters} characters: at most {max} are allowed"));
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(format!("holds the control character {control:?}: give one line"));
    }
    Ok((!text.is_empty()).then(|| text.into()))
}

/// The picture's address in WHATWG form. Chats show no picture that is not https, or whose address is relative.
fn image(text: &str) -> Result<Box<str>, String> {
    let wrong = |why: &str| format!("`{text}` {why}: give one like https://shop.example/picture.jpg");
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(wrong("holds a space, a control character or a backslash"));
    }
    let url = url::Url::parse(text).map_err(|error| wrong(&format!("is not an absolute address ({error})")))?;
    if url.scheme() != "https" {
        return Err(wrong("is not an https address"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user name or password"));
    }
    let address = url.as_str();
    if address.len() > PREVIEW_IMAGE_MAX_BYTES {
        return Err(format!("has {} bytes: at most {PREVIEW_IMAGE_MAX_BYTES} are allowed", address.len()));
    }
    Ok(address.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: serde_json::Value) -> Preview {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_says_nothing_is_none() {
        for nothing in [
            serde_json::json!({}),
            serde_json::json!({"title": "", "image": ""}),
            serde_json::json!({"title": null, "site_name": "  "}),
        ] {
            assert_eq!(read(nothing).checked(), Ok(None));
        }
        let given = read(serde_json::json!({"title": " Shoes ", "image": "HTTPS://Shop.Example"}));
        let checked = given.checked().unwrap().unwrap();
        assert_eq!(serde_json::to_string(&checked).unwrap(), r#"{"title":"Shoes","image":"https://shop.example/"}"#);
        assert_eq!(checked.clone().checked(), Ok(Some(checked)), "the normal form stays as it is");
    }

    #[test]
    fn each_mistake_is_named_and_all_at_once() {
        let long = |count: usize| Some("ä".repeat(count).into());
        let wrong = Preview { title: long(151), description: long(301), image: long(1), site_name: long(101) };
        let fields: Vec<_> = wrong.checked().unwrap_err().into_iter().map(|mistake| mistake.field).collect();
        assert_eq!(fields, [".title", ".description", ".image", ".site_name"]);
        let longest = Preview { title: long(150), description: long(300), image: None, site_name: long(100) };
        assert!(longest.checked().is_ok());
        let lines = Preview { title: Some("a\nb".into()), ..Preview::default() };
        assert_eq!(lines.checked().unwrap_err()[0].field, ".title");
    }

    #[test]
    fn a_picture_is_at_an_https_address() {
        for refused in [
            "http://shop.example/a.jpg",
            "//shop.example/a.jpg",
            "/a.jpg",
            "data:image/png;base64,AA",
            "javascript:alert(1)",
            "https://user:pw@shop.example/a.jpg",
            "https://shop.example/a b.jpg",
            "https://shop.example\\a.jpg",
            "https://",
            &format!("https://shop.example/{}", "x".repeat(PREVIEW_IMAGE_MAX_BYTES)),
        ] {
            let preview = Preview { image: Some(refused.into()), ..Preview::default() };
            assert_eq!(preview.checked().unwrap_err()[0].field, ".image", "{refused}");
        }
    }

    proptest! {
        /// What was exported is imported as the same.
        #[test]
        fn what_is_taken_is_in_normal_form(text in "\\PC{0,20}", rest in "[\\PC]{0,20}") {
            let text: Box<str> = text.into();
            let (title, site_name) = (Some(text.clone()), Some(text.clone()));
            let image = Some(format!("https://shop.example/{rest}").into());
            let given = Preview { title, description: Some(text), image, site_name };
            if let Ok(Some(taken)) = given.checked() {
                prop_assert_eq!(taken.clone().checked(), Ok(Some(taken)));
            }
        }
    }

    #[test]
    fn the_longest_one_has_its_bound() {
        let widest = |count: usize| Some("😀".repeat(count).into());
        let longest = Preview {
            title: widest(PREVIEW_TITLE_MAX_CHARS),
            description: widest(PREVIEW_DESCRIPTION_MAX_CHARS),
            image: Some(format!("https://a/{}", "x".repeat(PREVIEW_IMAGE_MAX_BYTES - 10)).into()),
            site_name: widest(PREVIEW_SITE_NAME_MAX_CHARS),
        };
        let checked = longest.checked().unwrap().unwrap();
        assert!(serde_json::to_string(&checked).unwrap().len() <= Preview::MAX_JSON_BYTES);
    }
}
