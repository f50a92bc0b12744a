//! The table of who arrives where, and who is credited for it.

use std::sync::Arc;

use super::*;
use crate::{
    core::{
        program::Attribution,
        rule::{Arm, Rule},
    },
    links::{Link, PartnerMore, Program, ShareLink},
};

fn code(text: &str) -> Code {
    text.parse().unwrap()
}

fn buf(text: &str) -> CodeBuf {
    CodeBuf::new(text.as_bytes()).unwrap()
}

fn codes(list: &[&str]) -> Box<[Code]> {
    list.iter().map(|text| code(text)).collect()
}

/// One program, one partner with one ad, one link, one share link.
fn index() -> Links {
    let links = Links::new();
    program_of(&links, "spring", Status::Active);
    partner_of(&links, "abc123", Status::Active, None);
    links.insert_ad("abc123", "website2");
    link_of(&links, "haircare", "https://shop.example/haircare", None);
    let share_link = ShareLink { link: code("haircare"), partner: code("abc123"), ad: Some(code("website2")) };
    links.share_links.insert(code("k3x9"), share_link);
    links
}

fn program_of(links: &Links, name: &str, status: Status) {
    let program = Program {
        status,
        attribution: Attribution::LastTouch,
        window_days: 30,
        domain: Some(format!("{name}.example").into()),
        name: name.into(),
        preview: None,
    };
    links.programs.insert(code(name), program);
}

fn partner_of(links: &Links, name: &str, status: Status, more: Option<PartnerMore>) {
    links.partners.insert(code(name), Partner { status, more: more.map(Arc::new) });
}

fn link_of(links: &Links, name: &str, address: &str, more: Option<LinkMore>) {
    links.insert_link(&code(name), Link { address: address.into(), more: more.map(Arc::new) });
}

struct Request {
    target: Option<Target>,
    query: &'static str,
    now: Millis,
    fallback: Option<&'static str>,
    visitor: Option<VisitorId>,
    counts: bool,
}

fn go(link: &str, partner: &str) -> Request {
    let target = Target { link: buf(link), partner: CodeBuf::new(partner.as_bytes()), ad: None, slug: None };
    Request {
        target: Some(target),
        query: "",
        now: Millis(1_000),
        fallback: None,
        visitor: Some(VisitorId([1; 16])),
        counts: true,
    }
}

/// The address and the redirect, or the status.
fn ask(links: &Links, request: &Request) -> Result<(String, Redirect), u16> {
    let query = Query(request.query.as_bytes());
    let own = query.own();
    let visit = Visit {
        now: request.now,
        click: EventId::new(request.now, [2; 10]),
        visitor: request.visitor,
        query,
        own: &own,
        country: "DE",
        language: "de",
        device: Device::Mobile,
        counts: request.counts,
    };
    let mut address = Vec::new();
    match resolve(links, request.target.as_ref(), request.fallback, &visit, &mut address, &mut String::new()) {
        Resolution::Redirect(redirect) => Ok((String::from_utf8(address).unwrap(), redirect)),
        Resolution::NotFound => Err(404),
        Resolution::Gone => Err(410),
    }
}

fn reason(links: &Links, request: &Request) -> Option<Reason> {
    let (_, redirect) = ask(links, request).unwrap();
    if redirect.credit.reason.is_some_and(|reason| reason != Reason::UnknownAd && reason != Reason::ToNotAllowed) {
        assert_eq!(redirect.credit.partner, None, "a reason not to credit, and yet somebody is credited");
        assert_eq!(redirect.credit.named, request.target.unwrap().partner, "the event must say who was named");
    }
    redirect.credit.reason
}

#[test]
fn a_partner_is_credited() {
    let links = index();
    let (address, redirect) = ask(&links, &go("haircare", "abc123")).unwrap();
    assert_eq!(address, "https://shop.example/haircare");
    assert_eq!((redirect.credit.partner, redirect.credit.reason), (Some(buf("abc123")), None));
    let (_, redirect) = ask(&links, &go("haircare", "")).unwrap();
    assert_eq!(redirect.credit.partner, None);
}

#[test]
fn a_share_link_stands_for_link_partner_and_ad() {
    let links = index();
    let target = target(&links, Route::Slug(buf("k3x9"))).unwrap();
    let (_, redirect) = ask(&links, &Request { target: Some(target), ..go("x", "") }).unwrap();
    assert_eq!((redirect.credit.partner, redirect.credit.ad), (Some(buf("abc123")), Some(buf("website2"))));
    assert_eq!(super::target(&links, Route::Slug(buf("nobody"))), None);
}

#[test]
fn who_may_not_use_a_link_is_not_credited_and_the_visitor_arrives() {
    let links = index();
    partner_of(&links, "paused", Status::Paused, None);
    partner_of(
        &links,
        "autumn-only",
        Status::Active,
        Some(PartnerMore { programs: codes(&["autumn"]), ..PartnerMore::default() }),
    );
    partner_of(
        &links,
        "other-links",
        Status::Active,
        Some(PartnerMore { allowed: codes(&["shoes"]), ..PartnerMore::default() }),
    );
    link_of(
        &links,
        "personal",
        "https://s/p",
        Some(LinkMore { partner: Some(code("somebody")), ..LinkMore::default() }),
    );
    link_of(
        &links,
        "spring-only",
        "https://s/s",
        Some(LinkMore { programs: codes(&["spring"]), ..LinkMore::default() }),
    );
    program_of(&links, "autumn", Status::Paused);
    for (link, partner, expected) in [
        ("haircare", "nobody", Reason::UnknownPartner),
        ("haircare", "paused", Reason::PartnerInactive),
        ("personal", "abc123", Reason::LinkOfAnotherPartner),
        ("spring-only", "autumn-only", Reason::PartnerNotInProgram),
        ("haircare", "autumn-only", Reason::ProgramInactive),
        ("haircare", "other-links", Reason::LinkNotAllowed),
    ] {
        assert_eq!(reason(&links, &go(link, partner)), Some(expected), "{link}/{partner}");
    }
    let (_, redirect) = ask(&links, &go("spring-only", "abc123")).unwrap();
    assert_eq!((redirect.credit.program, redirect.credit.window_days), (Some(buf("spring")), 30));
    assert_eq!(redirect.credit.domain.as_deref(), Some("spring.example"));
}

#[test]
fn a_links_fallback_takes_those_who_may_not() {
    let links = index();
    let more =
        LinkMore { fallback: Some("https://s/sorry".into()), partner: Some(code("somebody")), ..LinkMore::default() };
    link_of(&links, "personal", "https://s/p", Some(more));
    assert_eq!(ask(&links, &go("personal", "abc123")).unwrap().0, "https://s/sorry");
    assert_eq!(ask(&links, &go("personal", "")).unwrap().0, "https://s/p");
}

#[test]
fn an_unknown_ad_is_left_out_and_the_partner_is_credited() {
    let links = index();
    let mut request = go("haircare", "abc123");
    request.target.as_mut().unwrap().ad = Some(buf("website9"));
    let (_, redirect) = ask(&links, &request).unwrap();
    assert_eq!((redirect.credit.partner, redirect.credit.ad), (Some(buf("abc123")), None));
    assert_eq!(redirect.credit.reason, Some(Reason::UnknownAd));
}

#[test]
fn unknown_and_over() {
    let links = index();
    assert_eq!(ask(&links, &go("nothing", "abc123")).unwrap_err(), 404);
    let fallback = Some("https://s/home");
    assert_eq!(ask(&links, &Request { fallback, ..go("nothing", "abc123") }).unwrap().0, "https://s/home");
    assert_eq!(
        ask(&links, &Request { fallback, target: None, ..go("x", "") }).unwrap().1.credit.reason,
        Some(Reason::UnknownLink)
    );
    link_of(&links, "old", "https://s/old", Some(LinkMore { expires_at: Some(Millis(1_000)), ..LinkMore::default() }));
    assert_eq!(ask(&links, &Request { now: Millis(999), ..go("old", "abc123") }).unwrap().0, "https://s/old");
    assert_eq!(ask(&links, &go("old", "abc123")).unwrap_err(), 410);
    assert_eq!(reason(&links, &Request { fallback, ..go("old", "abc123") }), Some(Reason::Expired));
}

#[test]
fn a_link_ends_after_its_clicks_and_bots_take_none() {
    let links = index();
    link_of(&links, "few", "https://s/few", Some(LinkMore { max_clicks: Some(2), ..LinkMore::default() }));
    let request = go("few", "abc123");
    for _ in 0..5 {
        assert!(ask(&links, &Request { counts: false, ..go("few", "abc123") }).is_ok());
    }
    assert!(ask(&links, &request).is_ok() && ask(&links, &request).is_ok());
    assert_eq!(ask(&links, &request).unwrap_err(), 410);
    // A change of the link keeps what was counted; raising the limit opens it again.
    link_of(&links, "few", "https://s/few", Some(LinkMore { max_clicks: Some(3), ..LinkMore::default() }));
    assert!(ask(&links, &request).is_ok());
    assert_eq!(ask(&links, &request).unwrap_err(), 410);
    links.raise_clicks("few", 1);
    assert_eq!(ask(&links, &request).unwrap_err(), 410, "a counter never falls");
}

#[test]
fn to_leads_to_listed_hosts_only() {
    let links = index();
    link_of(
        &links,
        "open",
        "https://s/p",
        Some(LinkMore { to_hosts: Box::new(["shop.example".into()]), ..LinkMore::default() }),
    );
    let request = |link, query| Request { query, ..go(link, "abc123") };
    assert_eq!(
        ask(&links, &request("open", "to=https://shop.example/%7Bclick%7D")).unwrap().0,
        "https://shop.example/%7Bclick%7D"
    );
    assert_eq!(
        ask(&links, &request("open", "to=https://shop.example/?a={click}")).unwrap().0,
        "https://shop.example/?a={click}"
    );
    let refused = request("open", "to=https://evil.example/");
    assert_eq!(ask(&links, &refused).unwrap().0, "https://s/p");
    assert_eq!(reason(&links, &refused), Some(Reason::ToNotAllowed));
    assert_eq!(
        ask(&links, &refused).unwrap().1.credit.partner,
        Some(buf("abc123")),
        "the click is credited all the same"
    );
    assert_eq!(
        ask(&links, &request("haircare", "to=https://shop.example/")).unwrap().0,
        "https://shop.example/haircare"
    );
}

#[test]
fn rules_and_templates() {
    let links = index();
    let rules = vec![
        Rule { country: vec!["AT".into()], address: "https://s/at".into(), ..Rule::default() },
        Rule {
            country: vec!["DE".into()],
            split: vec![Arm { weight: 1, address: "https://s/{country}/{partner}?s={sub1}&c={click}".into() }],
            ..Rule::default()
        },
    ];
    link_of(&links, "ruled", "https://s/{link}", Some(LinkMore { rules: rules.into(), ..LinkMore::default() }));
    let (address, redirect) = ask(&links, &Request { query: "sub1=a%26b", ..go("ruled", "abc123") }).unwrap();
    let click = EventId::new(Millis(1_000), [2; 10]);
    assert_eq!(address, format!("https://s/DE/abc123?s=a%26b&c={click}"));
    assert_eq!(redirect.rule, 2);
    let (address, _) = ask(&links, &Request { visitor: None, ..go("ruled", "abc123") }).unwrap();
    assert!(address.ends_with("&c="), "who asked not to be known gets no id: {address}");
    link_of(&links, "ruled", "https://s/{link}/{ad}x", None);
    assert_eq!(ask(&links, &go("ruled", "abc123")).unwrap().0, "https://s/ruled/x");
}
