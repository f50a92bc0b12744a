//! Which words a page has, and that they are only words.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    core::{
        code::Code,
        event::Reason,
        preview::Preview,
        program::{Attribution, Status},
    },
    edge::resolve::Credit,
    links::{LinkMore, Program},
};

const URL: &str = "https://go.example/k3x9";
const DESTINATION: &[u8] = b"https://shop.example/shoes?a=1&fpc=TOKEN";

fn code(text: &str) -> Code {
    text.parse().unwrap()
}

fn preview(title: &str, description: &str, image: &str, site_name: &str) -> Box<Preview> {
    let text = |text: &str| (!text.is_empty()).then(|| text.into());
    let (title, description) = (text(title), text(description));
    Box::new(Preview { title, description, image: text(image), site_name: text(site_name) })
}

/// An index with one program.
fn index(name: &str, preview: Option<Box<Preview>>) -> Links {
    let links = Links::new();
    let (status, attribution) = (Status::Active, Attribution::LastTouch);
    let program = Program { name: name.into(), status, attribution, window_days: 30, domain: None, preview };
    links.programs.insert(code("spring"), program);
    links
}

/// A redirect of a link, credited under the program.
fn redirect(name: &str, preview: Option<Box<Preview>>) -> Redirect {
    let credit = Credit { program: Some((&code("spring")).into()), ..Credit::default() };
    let more = LinkMore { name: name.into(), preview, ..LinkMore::default() };
    let more = Some(Arc::new(more));
    Redirect { link: Some((&code("shoes")).into()), credit, rule: 0, more, fallback: false }
}

/// The content of a tag; `None` where there is none.
fn tag(page: &str, name: &str) -> Option<String> {
    let (_, behind) = page.split_once(&format!("\"{name}\" content=\""))?;
    Some(behind.split('"').next().unwrap().to_owned())
}

fn shown(links: &Links, redirect: &Redirect) -> Option<String> {
    page(links, redirect, URL, DESTINATION)
}

#[test]
fn field_by_field_the_links_words_win_over_the_programs() {
    let links = index("Spring", Some(preview("Program", "All of it", "https://shop.example/p.jpg", "Shop")));
    let page = shown(&links, &redirect("Shoes", Some(preview("Trail shoes", "", "https://shop.example/s.jpg", ""))));
    let page = page.unwrap();
    for (name, content) in [
        ("og:type", "website"),
        ("og:title", "Trail shoes"),
        ("og:description", "All of it"),
        ("og:image", "https://shop.example/s.jpg"),
        ("og:url", URL),
        ("og:site_name", "Shop"),
        ("twitter:card", "summary_large_image"),
        ("twitter:title", "Trail shoes"),
        ("twitter:description", "All of it"),
        ("twitter:image", "https://shop.example/s.jpg"),
    ] {
        assert_eq!(tag(&page, name).as_deref(), Some(content), "{name} in {page}");
    }
    assert!(page.contains("<title>Trail shoes</title>"), "{page}");
    assert!(page.contains(&format!("<link rel=\"canonical\" href=\"{URL}\">")), "{page}");
    let destination = "https://shop.example/shoes?a=1&#38;fpc=TOKEN";
    assert!(page.contains(&format!("content=\"2; url={destination}\"")), "{page}");
    assert!(page.contains(&format!("<a href=\"{destination}\"")) && !page.contains("<script"), "{page}");
    assert!(page.len() < 2_048, "{} bytes", page.len());
}

#[test]
fn names_fill_what_nobody_said() {
    let image = || Some(preview("", "", "https://shop.example/p.jpg", ""));
    let title_and_site = |links: &Links, redirect: &Redirect| {
        let page = shown(links, redirect).unwrap();
        assert_eq!(tag(&page, "og:description"), None);
        (tag(&page, "og:title").unwrap(), tag(&page, "og:site_name").unwrap())
    };
    let pair = |title: &str, site: &str| (title.to_owned(), site.to_owned());
    assert_eq!(title_and_site(&index("Spring", image()), &redirect("Shoes", None)), pair("Shoes", "Spring"));
    assert_eq!(title_and_site(&index("Spring", image()), &redirect("", None)), pair("Spring", "Spring"));
    let plain = Redirect { more: None, ..redirect("", None) };
    assert_eq!(title_and_site(&index("Spring", image()), &plain), pair("Spring", "Spring"));
    assert_eq!(title_and_site(&index("", image()), &plain), pair("shop.example", "shop.example"));
    // Nobody is credited: the link's first program speaks for it.
    let more = LinkMore { programs: Box::new([code("spring")]), ..LinkMore::default() };
    let uncredited = Redirect { more: Some(Arc::new(more)), credit: Credit::default(), ..redirect("", None) };
    assert_eq!(title_and_site(&index("Spring", image()), &uncredited), pair("Spring", "Spring"));
    // Without a picture the card is the small one.
    let page = shown(&index("Spring", None), &redirect("", Some(preview("Shoes", "", "", "")))).unwrap();
    assert_eq!((tag(&page, "twitter:card").as_deref(), tag(&page, "og:image")), (Some("summary"), None));
}

#[test]
fn where_there_is_nothing_to_say_or_the_way_leads_elsewhere_there_is_no_page() {
    let said = || Some(preview("Shoes", "", "", ""));
    let links = index("Spring", None);
    assert!(shown(&links, &redirect("Shoes", None)).is_none(), "a name alone");
    assert!(shown(&links, &Redirect { more: None, ..redirect("", None) }).is_none());
    assert!(shown(&links, &redirect("", said())).is_some());
    assert!(shown(&links, &Redirect { fallback: true, ..redirect("", said()) }).is_none(), "the link is over");
    let more = |fallback: Option<&str>| {
        Some(Arc::new(LinkMore { fallback: fallback.map(Into::into), preview: said(), ..LinkMore::default() }))
    };
    let refused =
        || Credit { named: Some((&code("ann")).into()), reason: Some(Reason::PartnerInactive), ..Credit::default() };
    let of_refused = |fallback| Redirect { more: more(fallback), credit: refused(), ..redirect("", None) };
    assert!(shown(&links, &of_refused(None)).is_some(), "the link leads where it always does");
    assert!(shown(&links, &of_refused(Some("https://shop.example/sorry"))).is_none());
    let long = format!("https://shop.example/{}", "x".repeat(PREVIEW_PAGE_ADDRESS_MAX_BYTES));
    assert!(page(&links, &redirect("", said()), URL, long.as_bytes()).is_none());
    assert!(page(&links, &redirect("", said()), &long, DESTINATION).is_none());
    assert!(page(&links, &redirect("", said()), URL, b"\xff").is_none());
}

#[test]
fn the_longest_page_has_a_bound() {
    let quotes = |count: usize| "\"".repeat(count);
    let address = format!("https://shop.example/?{}", "&".repeat(PREVIEW_PAGE_ADDRESS_MAX_BYTES - 22));
    let image = format!("https://shop.example/{}", "'".repeat(1_003));
    let of_link = Some(preview(&quotes(150), &quotes(300), &image, &quotes(100)));
    let page = page(&index("", None), &redirect("", of_link), &address, address.as_bytes()).unwrap();
    assert!(page.len() < 96 * 1_024, "{} bytes", page.len());
}

proptest! {
    #[test]
    fn whatever_the_words_are_they_stay_words(
        title in "[\\PC<>\"'&]{1,60}", description in "[\\PC<>\"'&]{1,60}", name in "[\\PC<>\"'&]{1,60}", site in "[\\PC<>\"'&]{1,60}",
    ) {
        let links = index(&name, None);
        let page = shown(&links, &redirect("", Some(preview(&title, &description, "", &site)))).unwrap();
        let empty = shown(&links, &redirect("", Some(preview("t", "d", "", "s")))).unwrap();
        for character in ['<', '>', '"'] {
            prop_assert_eq!(page.matches(character).count(), empty.matches(character).count(), "{}", &page);
        }
        prop_assert!(!page.contains('\''));
    }
}
