//! Any bytes as the start of a connection from a proxy: a header never claims bytes that are not there, what follows it
//! changes nothing, and no prefix of it is an error or another header.
#![no_main]

use fingerpost::{
    core::limits::PROXY_HEADER_MAX_BYTES,
    edge::proxy::{Parsed, parse},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    match whole {
        Ok(Parsed::Header { length, .. }) => {
            assert!(length <= bytes.len() && length <= PROXY_HEADER_MAX_BYTES);
            assert_eq!(parse(&bytes[..length]), whole, "what follows a header matters");
            for end in 0..length {
                assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete), "cut at {end}");
            }
        }
        Ok(Parsed::Incomplete) => assert!(bytes.len() < PROXY_HEADER_MAX_BYTES, "somebody would wait for ever"),
        // More bytes mend nothing.
        Err(error) => assert_eq!(parse(&[bytes, b"\r\n"].concat()), Err(error)),
    }
});
