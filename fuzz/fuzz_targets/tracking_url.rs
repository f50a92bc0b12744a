//! Any request target: decoding does not panic, codes come out in normal form, and the destination that the visitor's query
//! is added to stays one safe header value that leads where the link says.
#![no_main]

use fingerpost::{
    core::{code::CodeBuf, limits::LOCATION_MAX_BYTES},
    edge::{
        decode::{Route, route},
        destination::{OwnParameter, assemble},
        query::Query,
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|target: &[u8]| {
    let at = target.iter().position(|byte| *byte == b'?');
    let (path, query) = at.map_or((target, &b""[..]), |at| (&target[..at], &target[at + 1..]));
    if let Ok(route) = route(path) {
        codes(route).into_iter().flatten().for_each(check_code);
    }
    let query = Query(query);
    let own = query.own();
    assert!(own.subs.iter().all(|sub| sub.len() <= 128 && !sub.chars().any(char::is_control)));

    // hyper takes no control characters, spaces and bytes above ASCII in a target; whatever it takes must not split a header.
    let address = b"https://shop.example/page?keep=1&lang=de#part";
    let parameters = [OwnParameter { name: "fpc", value: b"token" }, OwnParameter { name: "ref", value: b"abc123" }];
    let mut location = Vec::new();
    assemble(address, query, &parameters, &mut location);
    assert!(location.len() <= LOCATION_MAX_BYTES);
    http::HeaderValue::from_bytes(&location).expect("a header value");
    let text = std::str::from_utf8(&location).expect("ASCII");
    let url = url::Url::parse(text).expect("an address");
    assert_eq!((url.scheme(), url.host_str(), url.path()), ("https", Some("shop.example"), "/page"), "{text}");
    assert_eq!(url.fragment(), Some("part"), "{text}");
    let values = |name: &str| url.query_pairs().filter(|(key, _)| key == name).map(|(_, v)| v.into_owned()).collect();
    let (token, partner): (Vec<String>, Vec<String>) = (values("fpc"), values("ref"));
    assert_eq!((token, partner), (vec!["token".to_owned()], vec!["abc123".to_owned()]), "ours win: {text}");
});

fn codes(route: Route) -> [Option<CodeBuf>; 3] {
    match route {
        Route::Go { link, partner, ad } => [Some(link), partner, ad],
        Route::Slug(slug) | Route::About(slug) | Route::Pixel(slug) | Route::Share { slug, .. } => {
            [Some(slug), None, None]
        }
        Route::Beacon | Route::Script | Route::Inbound | Route::Nothing => [None, None, None],
    }
}

/// A code is its own normal form.
fn check_code(code: CodeBuf) {
    let again = CodeBuf::new(code.as_str().as_bytes()).expect("a code is a code");
    assert_eq!(again.as_str(), code.as_str());
    assert_eq!(code.as_str(), code.as_str().to_ascii_lowercase());
}
