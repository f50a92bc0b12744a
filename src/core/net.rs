//! Network addresses: a client's as a request carries it, and cut, as it is kept.

use std::net::{IpAddr, Ipv6Addr};

/// Who sends a request that the edge hands over to the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Whether such a request came over https, to us or to a proxy that we trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverHttps(pub bool);

/// The body of such a request is too long, and was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyTooLarge;

/// The /24 of an IPv4 address, the /48 of an IPv6 one, in words: `203.0.113.0/24`. IPv4 inside IPv6 is IPv4.
pub fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// An origin as browsers write it (RFC 6454 §6.2): scheme, host, and port where it is not the scheme's own.
pub fn origin(text: &str) -> Result<String, String> {
    let wrong = || {
        "is not an origin: write it like https://shop.example, without a path and without a slash at the end".to_owned()
    };
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let origin = url.origin().ascii_serialization();
    let plain = matches!(url.scheme(), "http" | "https") && text.to_ascii_lowercase() == origin;
    if plain { Ok(origin) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_but_the_network() {
        for (address, expected) in [
            ("203.0.113.77", "203.0.113.0/24"),
            ("::ffff:203.0.113.77", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ] {
            assert_eq!(network(address.parse().unwrap()), expected);
        }
    }
}
