//! The visitor's cookie: found and verified, changed and signed, on each click.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fingerpost::{
    core::{
        code::CodeBuf,
        cookie::Cookie,
        id::{EventId, VisitorId},
        key::{Key, KeyRing},
        time::Millis,
        touch::Touch,
    },
    edge::visitor,
};

const NOW: Millis = Millis(1_772_368_200_000);

fn touch(ms: i64) -> Touch {
    let code = |text: &str| CodeBuf::new(text.as_bytes()).expect("a code");
    let click = EventId::new(NOW.plus(ms), [1; 10]);
    Touch { click, link: code("haircare"), partner: code("abc123"), ad: Some(code("website2")) }
}

fn benches(criterion: &mut Criterion) {
    let keys = KeyRing::new(vec![Key::new(1, &[1; 32])]).expect("keys");
    let cookie = visitor::after(None, VisitorId([7; 16]), Some(touch(-1_000)), NOW, 90);
    let (mut scratch, mut out) = (Vec::new(), Vec::new());
    visitor::set_cookie(&cookie, &keys, NOW, true, None, &mut scratch, &mut out);
    let value = out.split(|byte| *byte == b';').next().expect("a value").to_vec();
    let header = [b"_ga=GA1.1.123456789.1700000000; theme=dark; ".as_slice(), &value].concat();
    criterion.bench_function("cookie/find and verify", |bencher| {
        bencher.iter(|| Cookie::find([black_box(header.as_slice())].into_iter(), &keys, NOW));
    });
    criterion.bench_function("cookie/next and sign", |bencher| {
        bencher.iter(|| {
            let next = visitor::after(black_box(Some(&cookie)), cookie.visitor, Some(touch(0)), NOW, 90);
            visitor::set_cookie(&next, &keys, NOW, true, None, &mut scratch, &mut out);
        });
    });
}

criterion_group!(group, benches);
criterion_main!(group);
