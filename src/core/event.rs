//! The event on the wire: `fingerpost.v1.Event` of `config/proto/fingerpost.proto`.
//!
//! [`Event`] owns its fields and is what readers decode into. [`EventRef`] borrows them and is what the hot path encodes
//! from, straight into the journal's buffer; a test holds the two encodings equal, byte for byte.

use prost::{
    DecodeError, Message,
    bytes::BufMut,
    encoding::{
        DecodeContext, WireType, check_wire_type, decode_key, decode_varint, encode_varint, encoded_len_varint,
        key_len, skip_field,
    },
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    Unspecified = 0,
    Click = 1,
    View = 2,
    Share = 3,
    Lead = 4,
    Conversion = 5,
    Refund = 6,
    Reward = 7,
    /// Clicks that were answered while the journal could not take them.
    Missing = 15,
}

/// What made the request. All are kept; only `Human` and `Repeat` count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Class {
    Unspecified = 0,
    Human = 1,
    Repeat = 2,
    Bot = 3,
    Preview = 4,
    Prefetch = 5,
    Head = 6,
    Owner = 7,
    Test = 8,
}

/// The kind of device, from the user agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Device {
    Unspecified = 0,
    Desktop = 1,
    Mobile = 2,
    Tablet = 3,
    Tv = 4,
    Other = 5,
}

macro_rules! labels {
    ($name:ident { $($variant:ident = $label:literal),* $(,)? }) => {
        impl $name {
            /// Every value that an event may carry.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The word for it in reports, exports and metrics.
            pub const fn label(self) -> &'static str {
                match self { $name::Unspecified => "", $($name::$variant => $label),* }
            }

            pub fn from_label(label: &str) -> Option<$name> {
                match label { $($label => Some($name::$variant),)* _ => None }
            }
        }
    };
}

labels!(Kind {
    Click = "click",
    View = "view",
    Share = "share",
    Lead = "lead",
    Conversion = "conversion",
    Refund = "refund",
    Reward = "reward",
    Missing = "missing",
});
labels!(Class {
    Human = "human",
    Repeat = "repeat",
    Bot = "bot",
    Preview = "preview",
    Prefetch = "prefetch",
    Head = "head",
    Owner = "owner",
    Test = "test",
});
labels!(Device { Desktop = "desktop", Mobile = "mobile", Tablet = "tablet", Tv = "tv", Other = "other" });

impl Class {
    /// Whether reach counts it.
    pub const fn counts(self) -> bool {
        matches!(self, Class::Human | Class::Repeat)
    }
}

macro_rules! event {
    ($( $(#[doc = $doc:literal])* $field:ident : $kind:ident = $tag:literal ),* $(,)?) => {
        /// One row of history, owned. See the `.proto` for what each field means.
        #[derive(Clone, PartialEq, Message)]
        pub struct Event {
            $( $(#[doc = $doc])* #[prost($kind, tag = $tag)] pub $field: event!(@owned $kind), )*
        }

        /// One row of history, borrowed.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct EventRef<'a> {
            $( $(#[doc = $doc])* pub $field: event!(@borrowed 'a $kind), )*
        }

        impl EventRef<'_> {
            /// Encoded length, bytes.
            pub fn encoded_len(&self) -> usize {
                0 $( + event!(@len $kind, const { tag($tag) }, self.$field) )*
            }

            /// Appends the encoding: the bytes that [`Event`] would encode to.
            pub fn encode(&self, out: &mut impl BufMut) {
                $( event!(@encode $kind, const { tag($tag) }, self.$field, out); )*
            }
        }

        impl<'a> EventRef<'a> {
            /// Reads an encoding where it lies, with the same result as [`Event::decode`]: unknown fields are passed over, of
            /// a field that stands there twice the last one counts.
            pub fn decode(mut input: &'a [u8]) -> Result<EventRef<'a>, EventError> {
                let input = &mut input;
                let mut event = EventRef::default();
                while !input.is_empty() {
                    let (number, wire) = decode_key(input)?;
                    match number {
                        $( n if n == const { tag($tag) } => event.$field = event!(@decode $kind, wire, input), )*
                        _ => skip_field(wire, number, input, DecodeContext::default())?,
                    }
                }
                Ok(event)
            }
        }

        impl Event {
            pub fn borrow(&self) -> EventRef<'_> {
                EventRef { $( $field: event!(@borrow $kind, self.$field), )* }
            }
        }
    };
    (@owned string) => { String };
    (@owned bytes) => { Vec<u8> };
    (@owned int32) => { i32 };
    (@owned int64) => { i64 };
    (@owned uint32) => { u32 };
    (@owned uint64) => { u64 };
    (@borrowed $a:lifetime string) => { &$a str };
    (@borrowed $a:lifetime bytes) => { &$a [u8] };
    (@borrowed $a:lifetime $number:ident) => { event!(@owned $number) };
    (@borrow string, $value:expr) => { &$value };
    (@borrow bytes, $value:expr) => { &$value };
    (@borrow $number:ident, $value:expr) => { $value };
    (@len string, $tag:expr, $value:expr) => { text_len($tag, $value.as_bytes()) };
    (@len bytes, $tag:expr, $value:expr) => { text_len($tag, $value) };
    (@len $number:ident, $tag:expr, $value:expr) => { number_len($tag, $value as u64) };
    (@decode string, $wire:expr, $input:expr) => { take_text($wire, $input)? };
    (@decode bytes, $wire:expr, $input:expr) => { take_bytes($wire, $input)? };
    (@decode $number:ident, $wire:expr, $input:expr) => { take_number($wire, $input)? as event!(@owned $number) };
    (@encode string, $tag:expr, $value:expr, $out:expr) => { text($tag, $value.as_bytes(), $out) };
    (@encode bytes, $tag:expr, $value:expr, $out:expr) => { text($tag, $value, $out) };
    (@encode $number:ident, $tag:expr, $value:expr, $out:expr) => { number($tag, $value as u64, $out) };
}

event! {
    /// UUIDv7, 16 bytes.
    id: bytes = "1",
    /// A [`Kind`].
    kind: int32 = "2",
    /// A [`Class`].
    class: int32 = "3",
    /// Milliseconds since the Unix epoch.
    time_ms: int64 = "4",
    program: string = "5",
    link: string = "6",
    /// Who is credited; empty means nobody.
    partner: string = "7",
    ad: string = "8",
    /// The share link that was used.
    slug: string = "9",
    /// Of a share.
    channel: string = "10",
    /// 16 bytes, or empty when it is not known.
    visitor: bytes = "11",
    /// ISO 3166-1 alpha-2, upper case.
    country: string = "12",
    region: string = "13",
    city: string = "14",
    /// Autonomous system.
    network: string = "15",
    /// The client's address, cut: 3 bytes (/24) or 6 bytes (/48).
    address: bytes = "16",
    /// Host of the Referer.
    referrer: string = "17",
    /// First of Accept-Language, lower case.
    language: string = "18",
    /// A [`Device`].
    device: int32 = "19",
    browser: string = "20",
    os: string = "21",
    sub1: string = "22",
    sub2: string = "23",
    sub3: string = "24",
    sub4: string = "25",
    sub5: string = "26",
    /// Why nobody, or not all of what was asked for, is credited: a [`Reason`]'s label.
    reason: string = "27",
    /// The partner code that the URL named, when it is not credited.
    named: string = "28",
    /// The click that a view or a later event belongs to, 16 bytes.
    click: bytes = "29",
    /// The rule of the link that chose the destination, counted from 1.
    rule: uint32 = "30",
    /// How many events the row stands for; 0 means 1.
    count: uint64 = "31",
    /// Of what the control plane decided: its number in the catalog's outbox.
    sequence: uint64 = "32",
}

/// Why bytes are not an event.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EventError {
    #[error("{0}")]
    Wire(#[from] DecodeError),
    #[error("a field is longer than what is left")]
    Short,
    #[error("a text is not UTF-8: {0}")]
    Text(#[from] std::str::Utf8Error),
}

/// Field number of a literal tag, at compile time.
const fn tag(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let mut number = 0;
    let mut at = 0;
    while at < bytes.len() {
        number = number * 10 + (bytes[at] - b'0') as u32;
        at += 1;
    }
    number
}

fn text_len(tag: u32, value: &[u8]) -> usize {
    if value.is_empty() { 0 } else { key_len(tag) + encoded_len_varint(value.len() as u64) + value.len() }
}

fn number_len(tag: u32, value: u64) -> usize {
    if value == 0 { 0 } else { key_len(tag) + encoded_len_varint(value) }
}

/// Most keys, lengths and numbers are one byte: half of the encoding's time is saved by knowing that.
#[inline]
fn varint(value: u64, out: &mut impl BufMut) {
    if value < 0x80 { out.put_u8(value as u8) } else { encode_varint(value, out) }
}

#[inline]
fn text(tag: u32, value: &[u8], out: &mut impl BufMut) {
    if !value.is_empty() {
        varint(u64::from(tag << 3 | WireType::LengthDelimited as u32), out);
        varint(value.len() as u64, out);
        out.put_slice(value);
    }
}

#[inline]
fn number(tag: u32, value: u64, out: &mut impl BufMut) {
    if value != 0 {
        varint(u64::from(tag << 3 | WireType::Varint as u32), out);
        varint(value, out);
    }
}

fn take_bytes<'a>(wire: WireType, input: &mut &'a [u8]) -> Result<&'a [u8], EventError> {
    check_wire_type(WireType::LengthDelimited, wire)?;
    let length = usize::try_from(decode_varint(input)?).unwrap_or(usize::MAX);
    let (bytes, rest) = input.split_at_checked(length).ok_or(EventError::Short)?;
    *input = rest;
    Ok(bytes)
}

fn take_text<'a>(wire: WireType, input: &mut &'a [u8]) -> Result<&'a str, EventError> {
    Ok(std::str::from_utf8(take_bytes(wire, input)?)?)
}

fn take_number(wire: WireType, input: &mut &[u8]) -> Result<u64, EventError> {
    check_wire_type(WireType::Varint, wire)?;
    Ok(decode_varint(input)?)
}

impl Event {
    pub fn kind_label(&self) -> &'static str {
        self.kind().label()
    }

    pub fn kind(&self) -> Kind {
        Kind::try_from(self.kind).unwrap_or(Kind::Unspecified)
    }

    pub fn class(&self) -> Class {
        Class::try_from(self.class).unwrap_or(Class::Unspecified)
    }

    pub fn device(&self) -> Device {
        Device::try_from(self.device).unwrap_or(Device::Unspecified)
    }

    /// How many events this row stands for.
    pub fn weight(&self) -> u64 {
        self.count.max(1)
    }
}

/// Why nobody, or not all of what was asked for, is credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No link, or no share link, has this code: the visitor went to the general fallback.
    UnknownLink,
    /// No partner has this code.
    UnknownPartner,
    /// The partner is paused, rejected or pending.
    PartnerInactive,
    /// The link belongs to one other partner.
    LinkOfAnotherPartner,
    /// The partner is in none of the link's programs.
    PartnerNotInProgram,
    /// The partner may use other links only.
    LinkNotAllowed,
    /// The program is not active.
    ProgramInactive,
    /// The partner has no ad of this code; the partner is credited without it.
    UnknownAd,
    /// The link's time is over: the visitor went to its fallback.
    Expired,
    /// The link has had its clicks: the visitor went to its fallback.
    MaxClicks,
    /// `?to=` named a page that the link does not list; the visitor went to the link's own.
    ToNotAllowed,
}

impl Reason {
    /// Labels of those for whom the link was over: they are told, and take none of its clicks.
    pub const OVER: [&str; 2] = [Reason::Expired.label(), Reason::MaxClicks.label()];

    /// The word for it in events, reports and exports.
    pub const fn label(self) -> &'static str {
        match self {
            Reason::UnknownLink => "unknown_link",
            Reason::UnknownPartner => "unknown_partner",
            Reason::PartnerInactive => "partner_inactive",
            Reason::LinkOfAnotherPartner => "link_of_another_partner",
            Reason::PartnerNotInProgram => "partner_not_in_program",
            Reason::LinkNotAllowed => "link_not_allowed",
            Reason::ProgramInactive => "program_inactive",
            Reason::UnknownAd => "unknown_ad",
            Reason::Expired => "expired",
            Reason::MaxClicks => "max_clicks",
            Reason::ToNotAllowed => "to_not_allowed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), "[a-z0-9äß]{1,200}"]
    }

    fn event() -> impl Strategy<Value = Event> {
        let texts = proptest::collection::vec(text(), 20);
        let bytes = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 4);
        (texts, bytes, any::<(i32, i32, i64, i32, u32, u64, u64)>()).prop_map(|(mut t, mut b, n)| {
            let mut next = || t.pop().unwrap_or_default();
            let mut next_bytes = || b.pop().unwrap_or_default();
            Event {
                id: next_bytes(),
                kind: n.0,
                class: n.1,
                time_ms: n.2,
                program: next(),
                link: next(),
                partner: next(),
                ad: next(),
                slug: next(),
                channel: next(),
                visitor: next_bytes(),
                country: next(),
                region: next(),
                city: next(),
                network: next(),
                address: next_bytes(),
                referrer: next(),
                language: next(),
                device: n.3,
                browser: next(),
                os: next(),
                sub1: next(),
                sub2: next(),
                sub3: next(),
                sub4: next(),
                sub5: next(),
                reason: next(),
                named: next(),
                click: next_bytes(),
                rule: n.4,
                count: n.5,
                sequence: n.6,
            }
        })
    }

    proptest! {
        #[test]
        fn borrowed_and_owned_encode_to_the_same_bytes(event in event()) {
            let mut borrowed = Vec::new();
            event.borrow().encode(&mut borrowed);
            prop_assert_eq!(&borrowed, &event.encode_to_vec());
            prop_assert_eq!(borrowed.len(), event.borrow().encoded_len());
            prop_assert_eq!(&Event::decode(borrowed.as_slice()).unwrap(), &event);
            prop_assert_eq!(EventRef::decode(&borrowed).unwrap(), event.borrow());
        }

        #[test]
        fn borrowed_and_owned_decode_damage_alike(event in event(), at in any::<usize>(), byte: u8, cut in any::<bool>()) {
            let mut bytes = event.encode_to_vec();
            prop_assume!(!bytes.is_empty());
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] = byte };
            match (Event::decode(bytes.as_slice()), EventRef::decode(&bytes)) {
                (Ok(owned), Ok(borrowed)) => prop_assert_eq!(owned.borrow(), borrowed),
                (Err(_), Err(_)) => {}
                (owned, borrowed) => prop_assert!(false, "{owned:?} {borrowed:?}"),
            }
        }
    }

    #[test]
    fn the_proto_file_has_the_same_fields_and_values() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/proto");
        let files = protox::compile(["fingerpost.proto"], [path]).unwrap();
        let file = &files.file[0];
        let message = file.message_type.iter().find(|m| m.name() == "Event").unwrap();
        let source = include_str!("event.rs");
        for field in &message.field {
            let kind = match field.r#type() as i32 {
                3 => "int64",
                4 => "uint64",
                9 => "string",
                12 => "bytes",
                13 => "uint32",
                14 => "int32", // an enum
                other => panic!("unexpected type {other}"),
            };
            let line = format!("    {}: {kind} = \"{}\",", field.name(), field.number());
            assert!(source.contains(&line), "the .proto has `{line}`, event.rs does not");
        }
        assert_eq!(
            message.field.len(),
            source
                .lines()
                .filter(|l| l.ends_with("\",")
                    && l.contains(" = \"")
                    && l.starts_with("    ")
                    && !l.starts_with("     ")
                    && l.contains(": "))
                .count()
        );
        for (name, values) in [
            ("Kind", Kind::ALL.iter().map(|v| (v.label().to_uppercase(), *v as i32)).collect::<Vec<_>>()),
            ("Class", Class::ALL.iter().map(|v| (v.label().to_uppercase(), *v as i32)).collect()),
            ("Device", Device::ALL.iter().map(|v| (v.label().to_uppercase(), *v as i32)).collect()),
        ] {
            let proto = file.enum_type.iter().find(|e| e.name() == name).unwrap();
            let theirs: Vec<_> =
                proto.value.iter().filter(|v| v.number() != 0).map(|v| (v.name().to_owned(), v.number())).collect();
            assert_eq!(theirs, values, "{name}");
        }
    }
}
