//! Who is asking: the client's address and scheme, through proxies that the configuration trusts. Pure.

use std::net::IpAddr;

use http::HeaderMap;

use crate::config::network::Network;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    pub https: bool,
}

/// The rightmost address of X-Forwarded-For that is not a trusted proxy, when the peer itself is trusted; else the peer.
/// What stands left of an address that we cannot read was written by who knows whom and is not believed.
pub fn client(peer: IpAddr, tls: bool, trusted: &[Network], headers: &HeaderMap) -> Client {
    let peer = peer.to_canonical();
    let trusts = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if trusted.is_empty() || !trusts(peer) {
        return Client { address: peer, https: tls };
    }
    let mut address = peer;
    let hops =
        headers.get_all("x-forwarded-for").into_iter().rev().flat_map(|value| value.as_bytes().rsplit(|b| *b == b','));
    for hop in hops {
        let Some(hop) = std::str::from_utf8(hop).ok().and_then(|hop| parse(hop.trim())) else { break };
        address = hop;
        if !trusts(hop) {
            break;
        }
    }
    // The nearest proxy's word is the last one.
    let proto = headers.get_all("x-forwarded-proto").into_iter().next_back();
    let said = proto.and_then(|value| value.as_bytes().rsplit(|b| *b == b',').next());
    let https = tls || said.is_some_and(|proto| proto.trim_ascii().eq_ignore_ascii_case(b"https"));
    Client { address, https }
}

/// An address, perhaps with a port or in brackets.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let address = match bare {
        Some(bare) => bare.parse().ok(),
        None => text.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip())),
    };
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], proto: Option<&str>) -> (String, bool) {
        let trusted: Vec<Network> = ["10.0.0.0/8", "2001:db8::/32"].iter().map(|n| n.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        if let Some(proto) = proto {
            headers.append("x-forwarded-proto", proto.parse().unwrap());
        }
        let client = client(peer.parse().unwrap(), false, &trusted, &headers);
        (client.address.to_string(), client.https)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.7"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.9", "10.0.0.7"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, garbage, 10.0.0.7"], "10.0.0.7"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["[2a00::1]:4711"], "2a00::1"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("2001:db8::1", &["203.0.113.9"], "203.0.113.9"),
        ] {
            assert_eq!(seen(peer, forwarded, None).0, expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn the_scheme_too() {
        assert!(seen("10.0.0.1", &[], Some("https")).1);
        assert!(!seen("10.0.0.1", &[], Some("https, http")).1);
        assert!(!seen("192.0.2.1", &[], Some("https")).1);
    }
}
