//! `?to=`: what is let through is a whole http or https address of exactly a listed host, without user information, and safe
//! in a header.
#![no_main]

use fingerpost::edge::destination::other_page;
use libfuzzer_sys::fuzz_target;

const HOSTS: [&str; 3] = ["shop.example", "www.shop.example", "xn--bcher-kva.example"];

fuzz_target!(|to: &[u8]| {
    assert_eq!(other_page(to, &[]), None, "an empty list allows none");
    let hosts = HOSTS.map(Box::from);
    let Some(page) = other_page(to, &hosts) else { return };
    assert!(page.bytes().all(|byte| byte.is_ascii_graphic()), "unsafe in a header: {page:?}");
    assert!(!page.contains('\\'), "{page}");
    // Read by hand, as a careless client would: between the slashes and the next delimiter stands the host and a port.
    let rest = page.strip_prefix("https://").or_else(|| page.strip_prefix("http://"));
    let rest = rest.unwrap_or_else(|| panic!("another scheme: {page}"));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    assert!(!authority.contains('@'), "user information: {page}");
    let host = authority.split(':').next().unwrap_or_default();
    assert!(HOSTS.contains(&host), "{host} is not listed: {page}");
    // And by the WHATWG rules.
    let url = url::Url::parse(&page).unwrap_or_else(|error| panic!("{error}: {page}"));
    assert!(url.host_str().is_some_and(|host| HOSTS.contains(&host)), "{page}");
    assert_eq!(other_page(page.as_bytes(), &hosts).as_deref(), Some(page.as_str()), "it is in its final form");
});
