//! The click token: signed on each click, verified on each beacon and conversion.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fingerpost::core::{
    code::CodeBuf,
    id::EventId,
    key::{Key, KeyRing},
    time::Millis,
    token::Token,
};

fn code(text: &str) -> Option<CodeBuf> {
    CodeBuf::new(text.as_bytes())
}

fn benches(criterion: &mut Criterion) {
    let keys = KeyRing::new(vec![Key::new(1, &[1; 32])]).expect("keys");
    let token = Token {
        click: EventId::new(Millis(1_772_368_200_250), [3; 10]),
        program: code("spring"),
        link: code("haircare").expect("a code"),
        partner: code("abc123"),
        ad: code("website2"),
    };
    let (mut scratch, mut text) = (Vec::new(), Vec::new());
    criterion.bench_function("token/sign", |bencher| {
        bencher.iter(|| {
            text.clear();
            black_box(&token).encode(&keys, &mut scratch, &mut text);
        });
    });
    criterion.bench_function("token/verify", |bencher| bencher.iter(|| Token::decode(black_box(&text), &keys)));
}

criterion_group!(group, benches);
criterion_main!(group);
