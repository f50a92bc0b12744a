//! The PROXY protocol, versions 1 and 2: a load balancer says whose connection it passes on.
//!
//! Source: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. On a listener that demands the header nobody else may be
//! able to connect: whoever can, can claim any address. `UNKNOWN`, `LOCAL` and addresses that are not TCP over IP keep the socket's own
//! address; TLVs are skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::core::limits::PROXY_HEADER_MAX_BYTES;

const V1_START: &[u8] = b"PROXY ";
/// With its CRLF, §2.1.
const V1_MAX_BYTES: usize = 107;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED_BYTES: usize = 16;
const _: () = assert!(V1_MAX_BYTES < PROXY_HEADER_MAX_BYTES);

/// How far these bytes get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Right so far: more bytes are needed.
    Incomplete,
    /// The header is `length` bytes long; what follows is the client's.
    Header { length: usize, source: Option<SocketAddr> },
}

#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProxyError {
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    #[error("the PROXY line is malformed")]
    Line,
    #[error("the PROXY line is longer than {V1_MAX_BYTES} bytes")]
    LineTooLong,
    #[error("the binary PROXY header has version and command {0:#04x}, which are unknown")]
    Command(u8),
    #[error("the binary PROXY header has family and protocol {0:#04x}, which are unknown")]
    Family(u8),
    #[error("the binary PROXY header is too short for its addresses")]
    Short,
    #[error("the binary PROXY header is longer than {PROXY_HEADER_MAX_BYTES} bytes")]
    TooLong,
}

/// Reads the header at the start of `bytes`.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    if starts_alike(bytes, V2_SIGNATURE) {
        v2(bytes)
    } else if starts_alike(bytes, V1_START) {
        v1(bytes)
    } else {
        Err(ProxyError::Missing)
    }
}

/// As far as both go, they are the same.
fn starts_alike(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes[..common] == start[..common]
}

/// `PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n`
fn v1(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let window = &bytes[..bytes.len().min(V1_MAX_BYTES)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if bytes.len() < V1_MAX_BYTES { Ok(Parsed::Incomplete) } else { Err(ProxyError::LineTooLong) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(ProxyError::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| ProxyError::Line)?;
    let length = end + 1;
    let mut words = line.split(' ').skip(1);
    let mut word = || words.next().ok_or(ProxyError::Line);
    let source = match word()? {
        // Whatever follows is to be ignored.
        "UNKNOWN" => return Ok(Parsed::Header { length, source: None }),
        "TCP4" => {
            let (from, to): (Result<Ipv4Addr, _>, Result<Ipv4Addr, _>) = (word()?.parse(), word()?.parse());
            to.map_err(|_| ProxyError::Line)?;
            IpAddr::V4(from.map_err(|_| ProxyError::Line)?)
        }
        "TCP6" => {
            let (from, to): (Result<Ipv6Addr, _>, Result<Ipv6Addr, _>) = (word()?.parse(), word()?.parse());
            to.map_err(|_| ProxyError::Line)?;
            IpAddr::V6(from.map_err(|_| ProxyError::Line)?)
        }
        _ => return Err(ProxyError::Line),
    };
    let source = SocketAddr::new(source, port(word()?)?);
    port(word()?)?;
    if words.next().is_some() {
        return Err(ProxyError::Line);
    }
    Ok(Parsed::Header { length, source: Some(source) })
}

/// Decimal digits and nothing else: `u16::from_str` would take a sign.
fn port(word: &str) -> Result<u16, ProxyError> {
    if !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ProxyError::Line);
    }
    word.parse().map_err(|_| ProxyError::Line)
}

/// Signature (12), version and command, family and protocol, length of the rest (2, big endian), addresses, TLVs.
fn v2(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let Some((fixed, rest)) = bytes.split_at_checked(V2_FIXED_BYTES) else { return Ok(Parsed::Incomplete) };
    let (command, family) = (fixed[12], fixed[13]);
    let rest_length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let length = V2_FIXED_BYTES + rest_length;
    if length > PROXY_HEADER_MAX_BYTES {
        return Err(ProxyError::TooLong);
    }
    if !matches!(command, 0x20 | 0x21) {
        return Err(ProxyError::Command(command));
    }
    if family >> 4 > 3 || family & 0x0f > 2 {
        return Err(ProxyError::Family(family));
    }
    let Some(rest) = rest.get(..rest_length) else { return Ok(Parsed::Incomplete) };
    // LOCAL is the balancer's own health check: its addresses, if any, mean nothing.
    let source = match (command, family) {
        (0x20, _) => None,
        (_, 0x11) => Some(v2_source::<4>(rest)?),
        (_, 0x21) => Some(v2_source::<16>(rest)?),
        _ => None,
    };
    Ok(Parsed::Header { length, source })
}

/// Source address, destination address, source port, destination port.
fn v2_source<const BYTES: usize>(rest: &[u8]) -> Result<SocketAddr, ProxyError>
where
    IpAddr: From<[u8; BYTES]>,
{
    let addresses = rest.get(..2 * BYTES + 4).ok_or(ProxyError::Short)?;
    let (source, ports) = (addresses.first_chunk::<BYTES>(), &addresses[2 * BYTES..]);
    let source = IpAddr::from(*source.ok_or(ProxyError::Short)?);
    Ok(SocketAddr::new(source, u16::from_be_bytes([ports[0], ports[1]])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(length: usize, source: &str) -> Result<Parsed, ProxyError> {
        Ok(Parsed::Header { length, source: (!source.is_empty()).then(|| source.parse().unwrap()) })
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
    }

    #[test]
    fn lines() {
        let good = [
            ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "192.0.2.1:56324"),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", "[2001:db8::1]:56324"),
            ("PROXY UNKNOWN\r\n", ""),
            ("PROXY UNKNOWN ff ff 1 2\r\n", ""),
        ];
        for (line, source) in good {
            assert_eq!(parse(line.as_bytes()), header(line.len(), source), "{line}");
            let followed = format!("{line}GET / HTTP/1.1\r\n");
            assert_eq!(parse(followed.as_bytes()), header(line.len(), source), "{line}");
            for end in 0..line.len() {
                assert_eq!(parse(&line.as_bytes()[..end]), Ok(Parsed::Incomplete), "{line} cut at {end}");
            }
        }
        let bad = [
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.2 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
            "PROXY UDP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            "PROXY \r\n",
        ];
        for line in bad {
            assert_eq!(parse(line.as_bytes()), Err(ProxyError::Line), "{line}");
        }
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(ProxyError::Missing));
        assert_eq!(parse(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 107]].concat()), Err(ProxyError::LineTooLong));
    }

    #[test]
    fn binary_headers() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 4, 1, 187];
        let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[9; 16], &[0xdc, 4, 1, 187]].concat();
        let with_tlv = [&v4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        let good: [(u8, u8, &[u8], &str); 7] = [
            (0x21, 0x11, &v4, "192.0.2.1:56324"),
            (0x21, 0x21, &v6, "[2001:db8::1]:56324"),
            (0x21, 0x11, &with_tlv, "192.0.2.1:56324"),
            (0x20, 0x11, &v4, ""),
            (0x20, 0x00, &[], ""),
            (0x21, 0x00, &[1, 2, 3], ""),
            (0x21, 0x31, &[0; 216], ""),
        ];
        for (command, family, rest, source) in good {
            let bytes = binary(command, family, rest);
            assert_eq!(parse(&bytes), header(bytes.len(), source), "{command:#x} {family:#x}");
            assert_eq!(parse(&[&bytes[..], b"\x16\x03"].concat()), header(bytes.len(), source));
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete), "cut at {end}");
            }
        }
        assert_eq!(parse(&binary(0x31, 0x11, &v4)), Err(ProxyError::Command(0x31)));
        assert_eq!(parse(&binary(0x22, 0x11, &v4)), Err(ProxyError::Command(0x22)));
        assert_eq!(parse(&binary(0x21, 0x51, &v4)), Err(ProxyError::Family(0x51)));
        assert_eq!(parse(&binary(0x21, 0x11, &v4[..11])), Err(ProxyError::Short));
        assert_eq!(parse(&binary(0x21, 0x21, &v4)), Err(ProxyError::Short));
        assert_eq!(parse(&binary(0x21, 0x11, &[0; PROXY_HEADER_MAX_BYTES])), Err(ProxyError::TooLong));
    }

    proptest! {
        /// Nothing panics, a header never claims bytes that are not there, and no prefix of a header is an error or another header.
        #[test]
        fn any_bytes(start in 0usize..4, tail in prop::collection::vec(any::<u8>(), 0..300)) {
            let start: &[u8] = [&b""[..], V1_START, V2_SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"][start];
            let bytes = [start, &tail].concat();
            let whole = parse(&bytes);
            if let Ok(Parsed::Header { length, .. }) = whole {
                prop_assert!(length <= bytes.len() && length <= PROXY_HEADER_MAX_BYTES);
                prop_assert_eq!(parse(&bytes[..length]), whole);
                for end in 0..length {
                    prop_assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete));
                }
            }
            if whole.is_ok() {
                prop_assert!(bytes.is_empty() || bytes[0] == b'P' || bytes[0] == b'\r');
            }
        }

        #[test]
        fn every_line_that_a_proxy_writes_is_read(from: std::net::SocketAddrV6, to: std::net::SocketAddrV6) {
            let line = format!("PROXY TCP6 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
            let source = Some(SocketAddr::new(IpAddr::V6(*from.ip()), from.port()));
            prop_assert_eq!(parse(line.as_bytes()), Ok(Parsed::Header { length: line.len(), source }));
        }
    }
}
