//! What we read of a MaxMind DB record, borrowed from the file: MaxMind's own fields, and the flat ones of IPinfo and
//! ip-location-db. Every field may be missing or of another shape.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Of a Country file (or a City file used as one).
#[derive(Debug, Default, Deserialize)]
pub(super) struct CountryRecord<'a> {
    #[serde(borrow, default)]
    country_code: Option<&'a str>,
    #[serde(borrow, default)]
    country: Coded<'a>,
    /// Where an address that moves (a satellite, an aeroplane) is registered.
    #[serde(borrow, default)]
    registered_country: Coded<'a>,
}

/// Of a City file.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CityRecord<'a> {
    #[serde(borrow, default)]
    country_code: Option<&'a str>,
    #[serde(borrow, default)]
    country: Coded<'a>,
    #[serde(borrow, default)]
    subdivisions: First<Coded<'a>>,
    #[serde(borrow, default, alias = "state1")]
    region: Option<&'a str>,
    #[serde(borrow, default)]
    city: Coded<'a>,
}

/// Of an ASN file.
#[derive(Debug, Default, Deserialize)]
pub(super) struct NetworkRecord<'a> {
    #[serde(default)]
    autonomous_system_number: Option<u32>,
    #[serde(borrow, default)]
    autonomous_system_organization: Option<&'a str>,
    /// With `AS` in front.
    #[serde(borrow, default)]
    asn: Option<&'a str>,
    #[serde(borrow, default)]
    as_name: Option<&'a str>,
}

impl<'a> CountryRecord<'a> {
    pub(super) fn code(self) -> Option<&'a str> {
        country_code(self.country_code)
            .or_else(|| country_code(self.country.code))
            .or_else(|| country_code(self.country.name))
            .or_else(|| country_code(self.registered_country.code))
    }
}

impl<'a> CityRecord<'a> {
    pub(super) fn country(&self) -> Option<&'a str> {
        country_code(self.country_code)
            .or_else(|| country_code(self.country.code))
            .or_else(|| country_code(self.country.name))
    }

    pub(super) fn region(&self) -> &'a str {
        self.subdivisions.0.code.or(self.subdivisions.0.name).or(self.region).unwrap_or_default()
    }

    pub(super) fn city(&self) -> &'a str {
        self.city.name.unwrap_or_default()
    }
}

/// Two upper-case letters, or it is none: a report groups by it.
fn country_code(code: Option<&str>) -> Option<&str> {
    code.filter(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()))
}

impl NetworkRecord<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.autonomous_system_number.is_none() && self.asn.is_none()
    }
}

impl fmt::Display for NetworkRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.autonomous_system_number, self.asn) {
            (Some(number), _) => write!(f, "AS{number}")?,
            (None, Some(asn)) => f.write_str(asn)?,
            (None, None) => return Ok(()),
        }
        match self.autonomous_system_organization.or(self.as_name) {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

/// MaxMind's map with `iso_code` and `names.en`, or a plain text, which is a name.
#[derive(Debug, Default)]
struct Coded<'a> {
    code: Option<&'a str>,
    name: Option<&'a str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Coded<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape<'a>(PhantomData<&'a str>);

        #[derive(Default, Deserialize)]
        struct Names<'a> {
            #[serde(borrow, default)]
            en: Option<&'a str>,
        }

        impl<'de: 'a, 'a> Visitor<'de> for Shape<'a> {
            type Value = Coded<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map with iso_code or names, or a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Coded { code: None, name: Some(text) })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut coded = Coded::default();
                while let Some(key) = map.next_key::<&'de str>()? {
                    match key {
                        "iso_code" => coded.code = Some(map.next_value()?),
                        "names" => coded.name = map.next_value::<Names<'a>>()?.en,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(coded)
            }
        }
        deserializer.deserialize_any(Shape(PhantomData))
    }
}

/// The first item of a list, without a `Vec` for the others.
#[derive(Debug, Default)]
struct First<T>(T);

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);

        impl<'de, T: Default + Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = First<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let first = items.next_element()?.unwrap_or_default();
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}
