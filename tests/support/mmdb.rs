//! Writes small MaxMind DB files (format 2.0, IPv6 tree with IPv4 below `::/96`, 24-bit records), so that tests need no
//! vendor's data. <https://maxmind.github.io/MaxMind-DB/>

#![allow(clippy::unwrap_used, reason = "a test may end where it cannot go on")]

use std::net::IpAddr;

/// A value of a record.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(&'static str),
    Uint16(u16),
    Uint32(u32),
    Uint64(u64),
    List(Vec<Value>),
    Map(Vec<(&'static str, Value)>),
}

#[derive(Clone, Copy)]
enum Record {
    Empty,
    Node(usize),
    Data(usize),
}

/// The bytes of a database of this type: each network is an address and the length of its prefix.
pub(crate) fn write(database_type: &'static str, networks: &[(&str, u8, Value)]) -> Vec<u8> {
    let mut tree = vec![[Record::Empty; 2]];
    let mut data = Vec::new();
    for (address, prefix, value) in networks {
        let (bits, prefix) = match address.parse().unwrap() {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), prefix + 96),
            IpAddr::V6(v6) => (u128::from(v6), *prefix),
        };
        let mut node = 0;
        for depth in 0..prefix - 1 {
            let side = (bits >> (127 - depth) & 1) as usize;
            node = match tree[node][side] {
                Record::Node(next) => next,
                _ => {
                    tree.push([Record::Empty; 2]);
                    let next = tree.len() - 1;
                    tree[node][side] = Record::Node(next);
                    next
                }
            };
        }
        tree[node][(bits >> (128 - prefix) & 1) as usize] = Record::Data(data.len());
        encode(value, &mut data);
    }
    let mut out = Vec::new();
    for record in tree.iter().flatten() {
        let number = match record {
            Record::Empty => tree.len(),
            Record::Node(node) => *node,
            Record::Data(offset) => tree.len() + 16 + offset,
        };
        out.extend_from_slice(&(number as u32).to_be_bytes()[1..]);
    }
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = Value::Map(vec![
        ("node_count", Value::Uint32(tree.len() as u32)),
        ("record_size", Value::Uint16(24)),
        ("ip_version", Value::Uint16(6)),
        ("database_type", Value::Text(database_type)),
        ("languages", Value::List(vec![Value::Text("en")])),
        ("binary_format_major_version", Value::Uint16(2)),
        ("binary_format_minor_version", Value::Uint16(0)),
        ("build_epoch", Value::Uint64(1_772_368_200)),
        ("description", Value::Map(vec![("en", Value::Text("made by a test"))])),
    ]);
    encode(&metadata, &mut out);
    out
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            head(2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Uint16(number) => number_of(5, &number.to_be_bytes(), out),
        Value::Uint32(number) => number_of(6, &number.to_be_bytes(), out),
        Value::Uint64(number) => number_of(9, &number.to_be_bytes(), out),
        Value::List(values) => {
            head(11, values.len(), out);
            values.iter().for_each(|value| encode(value, out));
        }
        Value::Map(pairs) => {
            head(7, pairs.len(), out);
            for (key, value) in pairs {
                encode(&Value::Text(key), out);
                encode(value, out);
            }
        }
    }
}

fn number_of(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    head(kind, bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// The control byte: type and size; sizes from 29 take one more byte.
fn head(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (short, more) = if size < 29 { (size as u8, None) } else { (29, Some(u8::try_from(size - 29).unwrap())) };
    if kind <= 7 {
        out.push(kind << 5 | short);
    } else {
        out.extend_from_slice(&[short, kind - 7]);
    }
    out.extend(more);
}
