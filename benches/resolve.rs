//! Resolve: a look-up among a million links, who is credited, and the destination put together.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, criterion_group, criterion_main};
use fingerpost::{
    core::{
        code::{Code, CodeBuf},
        event::Device,
        id::{EventId, VisitorId},
        program::Status,
        rule::Rule,
        time::Millis,
    },
    edge::{
        decode::Route,
        destination::{self, OwnParameter},
        query::Query,
        resolve::{self, Visit},
    },
    links::{Link, LinkMore, Links, Partner},
};

const LINKS: u64 = 1_000_000;

fn code(text: &str) -> Code {
    text.parse().expect("a code")
}

fn index() -> Links {
    let links = Links::new();
    for n in 0..LINKS {
        let address = format!("https://shop.example/collections/spring/products/item-{n:07}");
        links.insert_link(&code(&format!("l{n:07}")), Link { address: address.into(), more: None });
    }
    let rules = vec![
        Rule { country: vec!["AT".into()], address: "https://shop.example/at".into(), ..Rule::default() },
        Rule { device: vec!["mobile".into()], address: "https://shop.example/m?p={partner}".into(), ..Rule::default() },
    ];
    let more = LinkMore { rules: rules.into(), ..LinkMore::default() };
    links.insert_link(&code("ruled"), Link { address: "https://shop.example/".into(), more: Some(Arc::new(more)) });
    links.partners.insert(code("abc123"), Partner { status: Status::Active, more: None });
    links
}

fn benches(criterion: &mut Criterion) {
    let links = index();
    let query = Query(b"utm_source=instagram&sub1=story");
    let own = query.own();
    let visit = Visit {
        now: Millis(1_772_368_200_000),
        click: EventId::new(Millis(1_772_368_200_000), [2; 10]),
        visitor: Some(VisitorId([1; 16])),
        query,
        own: &own,
        country: "DE",
        language: "de",
        device: Device::Mobile,
        counts: true,
    };
    let (mut address, mut scratch, mut location) = (Vec::new(), String::new(), Vec::new());
    // A walk over all links in an order that no cache foresees.
    let mut at = 0;
    criterion.bench_function("resolve/one of a million links", |bencher| {
        bencher.iter(|| {
            at = (at + 7_368_787) % LINKS;
            let link = CodeBuf::new(format!("l{at:07}").as_bytes()).expect("a code");
            let route = Route::Go { link, partner: CodeBuf::new(b"abc123"), ad: None };
            let target = resolve::target(&links, route);
            black_box(resolve::resolve(&links, target.as_ref(), None, &visit, &mut address, &mut scratch));
        });
    });
    let ruled = resolve::target(
        &links,
        Route::Go { link: (&code("ruled")).into(), partner: CodeBuf::new(b"abc123"), ad: None },
    );
    criterion.bench_function("resolve/rules and a template", |bencher| {
        bencher.iter(|| black_box(resolve::resolve(&links, ruled.as_ref(), None, &visit, &mut address, &mut scratch)));
    });
    let token = [OwnParameter { name: "fpc", value: &[b'A'; 96] }];
    criterion.bench_function("resolve/assemble the destination", |bencher| {
        bencher.iter(|| {
            location.clear();
            destination::assemble(black_box(b"https://shop.example/item?color=red"), query, &token, &mut location);
        });
    });
}

criterion_group!(group, benches);
criterion_main!(group);
