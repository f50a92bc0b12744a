//! Which places webhooks may go to. Whoever may name an address could otherwise have this machine ask its own network:
//! services that trust whoever is inside, or a cloud's metadata with its credentials (server-side request forgery).
//!
//! A host is looked up at each try, what it resolves to is judged, and the connection goes to the judged address: a name
//! that leads elsewhere a moment later gains nothing. Redirects are never followed. `webhooks.allow_hosts` names places
//! inside that are meant.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::{Host, Url};

use crate::{
    config::outbox::InsideHost,
    core::limits::{ADDRESS_MAX_BYTES, WEBHOOK_ADDRESSES_MAX},
};

/// The places that are allowed.
#[derive(Clone, Debug)]
pub struct Guard {
    inside: Vec<InsideHost>,
}

/// Why a place is none to go to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refused {
    #[error(
        "{0} resolves to nothing that is public ({1}): use a public address, or name the host in webhooks.allow_hosts"
    )]
    NotPublic(String, String),
    #[error("{0}")]
    Address(String),
}

impl Guard {
    pub fn new(inside: Vec<InsideHost>) -> Guard {
        Guard { inside }
    }

    /// Checks an endpoint's address as it is written; where its name leads to is asked at each try. Gives it in its normal form.
    pub fn check_address(&self, text: &str) -> Result<String, String> {
        if text.len() > ADDRESS_MAX_BYTES {
            return Err(format!("has {} bytes: at most {ADDRESS_MAX_BYTES} are allowed", text.len()));
        }
        let url = Url::parse(text)
            .map_err(|error| format!("is not an address ({error}): give one like https://shop.example/hooks"))?;
        if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
            return Err("is not an address of the web: give one like https://shop.example/hooks".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a user name or password: remove it, signatures say who we are".to_owned());
        }
        if url.fragment().is_some() {
            return Err("holds a `#`, which is never sent: remove what follows it".to_owned());
        }
        if url.scheme() == "http" && !self.may_be_clear(&url) {
            return Err("is http: use https, or name the host in webhooks.allow_hosts".to_owned());
        }
        if let Some(address) = literal(&url)
            && !self.may_reach(&url, address)
        {
            return Err(format!("{address} is not public: use a public one, or name it in webhooks.allow_hosts"));
        }
        Ok(url.into())
    }

    /// Of these addresses of the address's host, those that may be connected to.
    pub(super) fn allowed(&self, url: &Url, found: &[SocketAddr]) -> Result<Vec<SocketAddr>, Refused> {
        // Also at each try: the setting may have changed since the endpoint was made.
        self.check_address(url.as_str()).map_err(Refused::Address)?;
        let allowed: Vec<SocketAddr> = found
            .iter()
            .copied()
            .filter(|address| self.may_reach(url, address.ip()))
            .take(WEBHOOK_ADDRESSES_MAX)
            .collect();
        if allowed.is_empty() {
            let found: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
            return Err(Refused::NotPublic(url.host_str().unwrap_or_default().to_owned(), found.join(", ")));
        }
        Ok(allowed)
    }

    fn may_reach(&self, url: &Url, address: IpAddr) -> bool {
        is_public(address) || self.names(url) || self.holds(address)
    }

    fn may_be_clear(&self, url: &Url) -> bool {
        self.names(url) || literal(url).is_some_and(|address| self.holds(address))
    }

    /// Whether the setting names this host.
    fn names(&self, url: &Url) -> bool {
        let Some(Host::Domain(host)) = url.host() else { return false };
        let host = host.trim_end_matches('.');
        self.inside.iter().any(|inside| matches!(inside, InsideHost::Name(name) if name == host))
    }

    /// Whether the setting holds this address.
    fn holds(&self, address: IpAddr) -> bool {
        self.inside.iter().any(|inside| matches!(inside, InsideHost::Network(network) if network.contains(address)))
    }
}

/// The host where it is an address and not a name. The parser has undone `0x7f.1`, `2130706433` and the like.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// What is not for everybody, or not for anybody (IANA's registry of special-purpose addresses; RFC 6890).
const NOT_PUBLIC_V4: [([u8; 4], u32); 17] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    // Carrier-grade NAT (RFC 6598); a cloud's metadata is at 100.100.100.200.
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // Metadata of a public address: 168.63.129.16 answers inside Azure only.
    ([168, 63, 129, 16], 32),
    // Link-local, with metadata at 169.254.169.254.
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    // IETF protocol assignments, with metadata at 192.0.0.192.
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    // The old 6to4 relays.
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Multicast; reserved, and broadcast.
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([255, 255, 255, 255], 32),
];

/// Of the global unicast addresses 2000::/3, those that are not for everybody: protocol assignments with Teredo, 6to4
/// (which holds an IPv4 address), and documentation. Everything outside 2000::/3 is refused anyway.
const NOT_PUBLIC_V6: [(u128, u32); 4] =
    [(0x2001 << 112, 23), (0x2001_0db8 << 96, 32), (0x2002 << 112, 16), (0x3fff << 112, 20)];
const GLOBAL_UNICAST: (u128, u32) = (0x2000 << 112, 3);
/// The well-known prefix of NAT64 (RFC 6052): the last 32 bits are an IPv4 address.
const NAT64: (u128, u32) = (0x0064_ff9b << 96, 96);

fn within(bits: u128, (network, prefix): (u128, u32)) -> bool {
    (bits ^ network) >> (128 - prefix) == 0
}

/// Whether everybody may reach this address.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            if let Some(mapped) = address.to_ipv4_mapped() {
                is_public_v4(mapped)
            } else if within(bits, NAT64) {
                is_public_v4(Ipv4Addr::from_bits((bits & u128::from(u32::MAX)) as u32))
            } else {
                within(bits, GLOBAL_UNICAST) && !NOT_PUBLIC_V6.iter().any(|network| within(bits, *network))
            }
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4
        .iter()
        .any(|(network, prefix)| (address.to_bits() ^ u32::from_be_bytes(*network)) >> (32 - prefix) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2400:cb00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
    }

    fn guard(inside: &[InsideHost]) -> Guard {
        Guard::new(inside.to_vec())
    }

    #[test]
    fn an_address_is_checked_as_it_is_written() {
        let nobody = guard(&[]);
        assert_eq!(nobody.check_address("https://Shop.Example/hooks?a=b").unwrap(), "https://shop.example/hooks?a=b");
        for (wrong, part) in [
            ("shop", "is not an address"),
            ("ftp://shop.example/", "not an address of the web"),
            ("http://shop.example/", "use https"),
            ("https://ann:secret@shop.example/", "user name or password"),
            ("https://shop.example/#x", "`#`"),
            ("https://127.0.0.1/", "127.0.0.1 is not public"),
            ("https://0x7f.1/", "127.0.0.1 is not public"),
            ("https://2130706433/", "127.0.0.1 is not public"),
            ("https://[::1]/", "::1 is not public"),
            ("https://[::ffff:10.0.0.1]/", "is not public"),
            ("https://169.254.169.254/latest/meta-data", "is not public"),
        ] {
            let problem = nobody.check_address(wrong).unwrap_err();
            assert!(problem.contains(part), "{wrong}: {problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn what_a_name_leads_to_decides() {
        let found = |addresses: &[&str]| -> Vec<SocketAddr> {
            addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 443)).collect()
        };
        let url = Url::parse("https://shop.example/").unwrap();
        let nobody = guard(&[]);
        assert_eq!(nobody.allowed(&url, &found(&["127.0.0.1", "1.1.1.1"])), Ok(found(&["1.1.1.1"])));
        let refused = nobody.allowed(&url, &found(&["127.0.0.1", "::1"])).unwrap_err().to_string();
        assert!(refused.contains("127.0.0.1, ::1") && refused.contains("allow_hosts"), "{refused}");
        assert!(nobody.allowed(&url, &[]).is_err());

        let named = guard(&[InsideHost::Name("shop.example".to_owned())]);
        assert_eq!(named.allowed(&url, &found(&["10.0.0.1"])), Ok(found(&["10.0.0.1"])));
        let other = Url::parse("https://other.example/").unwrap();
        assert!(named.allowed(&other, &found(&["10.0.0.1"])).is_err(), "only who is named");
        let ranged = guard(&[InsideHost::Network("10.0.0.0/8".parse().unwrap())]);
        assert_eq!(ranged.allowed(&other, &found(&["192.168.0.1", "10.0.0.1"])), Ok(found(&["10.0.0.1"])));
        assert!(
            ranged.check_address("http://10.0.0.1/").is_ok() && ranged.check_address("http://other.example/").is_err()
        );
    }
}
