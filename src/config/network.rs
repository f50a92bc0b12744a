//! Address ranges: `10.0.0.0/8`, `2001:db8::/32`, or one address.

use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// A range of addresses. IPv4 is kept as IPv4-mapped IPv6, so that both compare alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: u128,
    mask: u128,
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an address or range: use one like 10.0.0.0/8 or 2001:db8::/32")]
pub struct NetworkError(String);

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        mapped(address) & self.mask == self.first
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let error = || NetworkError(text.to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.trim().parse().map_err(|_| error())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits: u32 = bits.map_or(Ok(width), str::parse).map_err(|_| error())?;
        if bits > width {
            return Err(error());
        }
        let free = width - bits;
        let mask = u128::MAX.checked_shl(free).unwrap_or(0);
        Ok(Network { first: mapped(address) & mask, mask })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_what_they_should() {
        let within = |range: &str, address: &str| range.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(within("10.0.0.0/8", "10.255.0.1") && !within("10.0.0.0/8", "11.0.0.1"));
        assert!(within("10.0.0.0/8", "::ffff:10.1.1.1"), "an IPv4 client on an IPv6 socket");
        assert!(within("127.0.0.1", "127.0.0.1") && !within("127.0.0.1", "127.0.0.2"));
        assert!(within("2001:db8::/32", "2001:db8:1::1") && !within("2001:db8::/32", "2001:db9::"));
        assert!(within("0.0.0.0/0", "1.2.3.4") && !within("0.0.0.0/0", "2001:db8::1"));
        assert!(within("::/0", "1.2.3.4"));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "x", "::/129", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong:?}");
        }
    }
}
