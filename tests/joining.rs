//! Whoever becomes a partner on a tracking page: in which programs they are, who looks at them first, and that the link which they are given
//! credits them there.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::{
    Options, eventually,
    people::{Browser, Site},
    rows, run,
};

/// Two programs whose pages let people join, the second one as it is told.
fn two_programs(join: &str) -> Site {
    let site = Site::start(Options::default());
    for (program, join) in [("aopen", "open"), ("bother", join)] {
        site.put(&format!("/v1/programs/{program}"), json!({"name": program}));
        site.put(&format!("/v1/programs/{program}/page"), json!({"join": join}));
    }
    site
}

fn join(browser: &mut Browser, program: &str) {
    let at = format!("/r/{program}");
    let token = browser.token(&at);
    let joined = browser.post(&format!("{at}/join"), &[("token", &token), ("first_name", "Bo")]);
    assert_eq!((joined.status, joined.header("location")), (303, Some(at.as_str())), "{}", joined.text());
}

/// The path of the link that a tracking page gives; none: it gives no link.
fn link(browser: &mut Browser, program: &str) -> Option<String> {
    let page = browser.get(&format!("/r/{program}")).text();
    let (_, behind) = page.split_once("<input id=\"link\"")?;
    let address = behind.split("value=\"").nth(1)?.split('"').next()?;
    Some(address.rsplit_once('/').unwrap().1.to_owned())
}

#[test]
fn a_tracking_page_gives_a_link_that_credits_its_own_program() {
    let site = two_programs("open");
    site.put("/v1/links/any", json!({"address": "https://shop.example/any"}));
    let mut bo = site.browser();
    bo.log_in(&site, "/r/aopen", "bo@home.example");
    join(&mut bo, "aopen");
    let first = link(&mut bo, "aopen").expect("a link of all programs");
    join(&mut bo, "bother");
    // The same link would be credited to the program that they joined first.
    assert_eq!(link(&mut bo, "bother"), None);
    site.put("/v1/links/own", json!({"address": "https://shop.example/own", "programs": ["bother"]}));
    let second = link(&mut bo, "bother").expect("a link of this program");
    assert_eq!(link(&mut bo, "aopen").as_ref(), Some(&first));
    for slug in [&first, &second] {
        // What is not there yet is not recorded.
        eventually("the link", || (bo.get(&format!("/{slug}")).status == 302).then_some(()));
    }
    let mut credited: Vec<(Value, Value)> =
        rows(&site.server.data, 2).into_iter().map(|row| (row["link"].clone(), row["program"].clone())).collect();
    credited.sort_by_key(|(link, _)| link.to_string());
    assert_eq!(credited, [(json!("any"), json!("aopen")), (json!("own"), json!("bother"))]);
    // Who names no program is credited under the one that a link names, and by a link of all programs under none.
    site.put("/v1/partners/ann", json!({"email": "ann@home.example"}));
    let mut ann = site.browser();
    ann.log_in(&site, "/r/aopen", "ann@home.example");
    assert_eq!(link(&mut ann, "aopen"), None);
    assert!(link(&mut ann, "bother").is_some());
}

#[test]
fn an_active_partner_waits_where_a_program_looks_at_people_first() {
    let site = two_programs("review");
    site.put("/v1/links/own", json!({"address": "https://shop.example/own", "programs": ["bother"]}));
    let mut bo = site.browser();
    bo.log_in(&site, "/r/aopen", "bo@home.example");
    join(&mut bo, "aopen");
    join(&mut bo, "bother");
    let partners = site.get("/v1/partners")["items"].as_array().unwrap().clone();
    let stands = |program: &str| {
        let of: Vec<&Value> = partners.iter().filter(|partner| partner["programs"] == json!([program])).collect();
        assert_eq!(of.len(), 1, "{partners:#?}");
        (of[0]["code"].as_str().unwrap().to_owned(), of[0]["status"].clone())
    };
    assert_eq!(stands("aopen").1, "active");
    let (code, status) = stands("bother");
    assert_eq!(status, "pending");
    assert!(bo.get("/r/bother").text().contains("Somebody looks at your application"));
    assert!(!bo.get("/r/aopen").text().contains("Somebody looks at your application"));
    let slug = link(&mut bo, "bother").expect("the link that they will have");
    let data = site.server.data.clone();
    let mut click = || assert_eq!(bo.get(&format!("/{slug}")).status, 302);
    eventually("the link", || (site.browser().get(&format!("/{slug}+")).status == 200).then_some(()));
    click();
    assert_eq!(rows(&data, 1)[0]["program"], "");
    let mut partner = site.get(&format!("/v1/partners/{code}"));
    partner["status"] = json!("active");
    site.put(&format!("/v1/partners/{code}"), partner);
    eventually("a credited click", || {
        click();
        run(&data, &["export", "events", "--format", "ndjson"]).contains("\"program\":\"bother\"").then_some(())
    });
}
