//! Designs that pass, and mistakes with their places.

use super::*;

fn said(design: serde_json::Value) -> Vec<String> {
    let design: Design = serde_json::from_value(design).unwrap();
    design.check(TEXTS).into_iter().map(|error| format!("{}: {}", error.field, error.problem)).collect()
}

#[test]
fn a_design_of_everything_passes_and_an_empty_one_is_a_page() {
    assert_eq!(Design::default(), serde_json::from_str("{}").unwrap());
    assert!(Design::default().check(TEXTS).is_empty() && Design::default().login_code);
    let all = serde_json::json!({
        "join": "open", "login_code": false, "link": "haircare", "language": "de", "channels": ["sms", "x"], "icons": "white",
        "logo": "logo.png", "logo_text": "Shop", "background": "back.jpg",
        "colours": {"accent": "#0b6e4f", "on_accent": "#ffffff", "text": "#111111", "surface": "#fafafa", "background": "#eeeeee"},
        "variables": {"radius": "12px", "font": "Georgia, 'Times New Roman', serif", "shadow": "0 1px 2px rgb(0 0 0)"},
        "texts": {"en": {"greeting": "Hi {first_name}, {referrals} so far", "title": "Welcome to {program}"}},
        "blocks": {"email": {"before": [{"kind": "text", "text": "One\n\nTwo"}], "after": [
            {"kind": "picture", "file": "a.png", "alt": ""}, {"kind": "video", "file": "b.mp4", "title": "How it works"},
            {"kind": "button", "text": "Terms of {program}", "address": "https://shop.example/terms?x=1"}]},
            "stats": {"before": [{"kind": "text", "text": "Dear {first_name} ({partner}), thanks for {referrals}!"}], "after": []}},
        "embed": ["https://shop.example"],
    });
    assert_eq!(said(all), Vec::<String>::new());
}

#[test]
fn each_mistake_names_its_place_and_the_mend() {
    let block = |block: serde_json::Value| serde_json::json!({"blocks": {"stats": {"after": [block]}}});
    for (design, place) in [
        (serde_json::json!({"channels": ["whatsapp", "pigeon"]}), "channels[1]: `pigeon` is no channel: use whatsapp"),
        (serde_json::json!({"channels": ["x", "x"]}), "channels[1]: `x` stands there twice"),
        (serde_json::json!({"logo": "../logo.png"}), "logo: "),
        (serde_json::json!({"logo": "LOGO.png"}), "logo: "),
        (
            serde_json::json!({"colours": {"accent": "red"}}),
            "colours.accent: `red` is no colour: write it like #0b6e4f",
        ),
        (serde_json::json!({"colours": {"text": "#12345g"}}), "colours.text: "),
        (serde_json::json!({"variables": {"margin": "1px"}}), "variables.margin: there is no such variable"),
        (serde_json::json!({"variables": {"radius": "1px;} body{display:none"}}), "variables.radius: "),
        (serde_json::json!({"variables": {"font": "url(https://evil.example)"}}), "variables.font: "),
        (serde_json::json!({"variables": {"font": "'open"}}), "variables.font: "),
        (serde_json::json!({"variables": {"font": "</style><script>"}}), "variables.font: "),
        (serde_json::json!({"texts": {"en": {"slogan": "x"}}}), "texts.en.slogan: there is no such text"),
        (
            serde_json::json!({"texts": {"de": {"title": "{nome}"}}}),
            "texts.de.title: `{nome}` is not known: use {program}",
        ),
        (
            serde_json::json!({"texts": {"en": {"title": "Welcome, {first_name}"}}}),
            "texts.en.title: `{first_name}` is not known yet where this text stands: use {program}",
        ),
        (
            serde_json::json!({"texts": {"en": {"referrals_label": "{partner}"}}}),
            "texts.en.referrals_label: `{partner}` is not known yet where this text stands: use {referrals}, {conv",
        ),
        (
            serde_json::json!({"texts": {"en": {"share_intro": "{link}"}}}),
            "texts.en.share_intro: `{link}` is not known: use {first_name}, {referrals}",
        ),
        (
            serde_json::json!({"blocks": {"code": {"before": [{"kind": "text", "text": "Dear {first_name}"}]}}}),
            "blocks.code.before[0].text: `{first_name}` is not known yet where this text stands: use {program}",
        ),
        (
            block(serde_json::json!({"kind": "picture", "file": "a.png", "alt": "{nome}"})),
            "blocks.stats.after[0].alt: ",
        ),
        (serde_json::json!({"texts": {"en": {"title": "a\u{0}"}}}), "texts.en.title: holds the control character"),
        (
            block(serde_json::json!({"kind": "button", "text": "x", "address": "javascript:alert(1)"})),
            "blocks.stats.after[0].address: ",
        ),
        (
            block(serde_json::json!({"kind": "button", "text": "x", "address": "https://a@b.example"})),
            "blocks.stats.after[0].address: ",
        ),
        (
            block(serde_json::json!({"kind": "button", "text": " ", "address": "https://b.example"})),
            "blocks.stats.after[0].text: ",
        ),
        (block(serde_json::json!({"kind": "video", "file": "a.mp4", "title": ""})), "blocks.stats.after[0].title: "),
        (block(serde_json::json!({"kind": "picture", "file": "a/b.png", "alt": ""})), "blocks.stats.after[0].file: "),
        (serde_json::json!({"embed": ["https://shop.example/page"]}), "embed[0]: "),
    ] {
        let said = said(design.clone());
        assert!(said.len() == 1 && said[0].starts_with(place), "{design}: {said:?}");
    }
}

proptest::proptest! {
    /// Whatever passes stays inside one declaration of a style sheet inside a `<style>` element.
    #[test]
    fn a_css_value_never_leaves_its_place(text in "[ -~]{0,40}") {
        if is_css_value(&text) {
            let leaves = text.contains(|c| "<>;{}@\\/*:!".contains(c));
            proptest::prop_assert!(!leaves);
        }
    }
}
