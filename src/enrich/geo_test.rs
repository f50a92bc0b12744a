//! Geo against small databases that the test writes itself.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use mmdb::Value;

#[path = "../../tests/support/mmdb.rs"]
mod mmdb;

fn named(name: &'static str) -> Value {
    Value::Map(vec![("names", Value::Map(vec![("de", Value::Text("falsch")), ("en", Value::Text(name))]))])
}

fn coded(code: &'static str) -> Value {
    Value::Map(vec![
        ("geoname_id", Value::Uint32(1)),
        ("iso_code", Value::Text(code)),
        ("names", Value::Map(vec![("en", Value::Text("a name"))])),
    ])
}

fn city() -> Vec<u8> {
    let bern = Value::Map(vec![
        ("city", named("Bern")),
        ("continent", coded("EU")),
        ("country", coded("CH")),
        ("location", Value::Map(vec![("accuracy_radius", Value::Uint16(20))])),
        ("subdivisions", Value::List(vec![coded("BE"), coded("XX")])),
    ]);
    let long = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch upon Menai ä";
    let flat =
        Value::Map(vec![("country", Value::Text("GB")), ("region", Value::Text("Wales")), ("city", Value::Text(long))]);
    let nowhere = Value::Map(vec![("city", named("Atlantis"))]);
    mmdb::write("Test-City", &[("192.0.2.0", 24, bern), ("2001:db8:1::", 48, flat), ("9.9.9.0", 24, nowhere)])
}

fn asn() -> Vec<u8> {
    let record = |number, name| {
        Value::Map(vec![
            ("autonomous_system_number", Value::Uint32(number)),
            ("autonomous_system_organization", Value::Text(name)),
        ])
    };
    let flat = Value::Map(vec![("asn", Value::Text("AS64501")), ("as_name", Value::Text("Flat Net"))]);
    mmdb::write("Test-ASN", &[("192.0.2.0", 25, record(64_500, "Example Net")), ("2001:db8::", 32, flat)])
}

fn country(code: &'static str) -> Vec<u8> {
    mmdb::write("Test-Country", &[("192.0.2.0", 24, Value::Map(vec![("country", coded(code))]))])
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    /// Puts a file into place as an operator must: written beside, then renamed.
    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        let beside = self.0.path().join("new");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(beside, &path).unwrap();
        path
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_database_inside_knows_countries() {
    let mut reader = Geo::load(GeoFiles::default()).unwrap().reader();
    // Whole blocks that one country's registry holds: they are unlikely to move.
    for (text, country) in [
        ("193.0.6.139", "NL"),
        ("8.8.8.8", "US"),
        ("::ffff:8.8.8.8", "US"),
        ("2001:4860:4860::8888", "US"),
        ("133.11.0.1", "JP"),
        ("127.0.0.1", ""),
        ("10.1.2.3", ""),
        ("::1", ""),
    ] {
        assert_eq!(reader.lookup(address(text)), Place { country, ..Place::default() }, "{text}");
    }
}

#[test]
fn files_of_the_configuration_tell_more() {
    let folder = Folder::new();
    let (city, asn) = (folder.put("city.mmdb", &city()), folder.put("asn.mmdb", &asn()));
    let files = GeoFiles { country: None, city: Some(&city), asn: Some(&asn) };
    let mut reader = Geo::load(files).unwrap().reader();
    let bern = Place { country: "CH", region: "BE", city: "Bern", network: "AS64500 Example Net" };
    assert_eq!(reader.lookup(address("192.0.2.1")), bern);
    assert_eq!(reader.lookup(address("::ffff:192.0.2.1")), bern, "IPv4 inside IPv6 is IPv4");
    assert_eq!(reader.lookup(address("192.0.2.200")).network, "", "the other half of the /24");
    let flat = reader.lookup(address("2001:db8:1::5"));
    assert_eq!((flat.country, flat.region, flat.network), ("GB", "Wales", "AS64501 Flat Net"));
    assert!(flat.city.starts_with("Llanfair") && flat.city.len() <= LABEL_MAX_BYTES, "{}", flat.city);
    let atlantis = reader.lookup(address("9.9.9.9"));
    assert_eq!((atlantis.city, atlantis.country.len()), ("Atlantis", 2), "the country inside helps out");
    assert_eq!(reader.lookup(address("8.8.8.8")).country, "US");

    let country = folder.put("country.mmdb", &country("LI"));
    let mut reader = Geo::load(GeoFiles { country: Some(&country), ..files }).unwrap().reader();
    assert_eq!(reader.lookup(address("192.0.2.1")), Place { country: "LI", ..bern }, "the country file decides");
    assert_eq!(reader.lookup(address("8.8.8.8")).country, "", "and nobody else is asked");
}

#[test]
fn a_reload_is_seen_and_a_bad_one_keeps_what_worked() {
    let folder = Folder::new();
    let path = folder.put("country.mmdb", &country("CH"));
    let files = GeoFiles { country: Some(&path), ..GeoFiles::default() };
    let geo = Geo::load(files).unwrap();
    let mut reader = geo.reader();
    assert_eq!(reader.lookup(address("192.0.2.1")).country, "CH");

    let new = country("AT");
    folder.put("country.mmdb", &new);
    assert_eq!(reader.lookup(address("192.0.2.1")).country, "CH", "nobody has asked for a reload");
    geo.reload(files).unwrap();
    assert_eq!(reader.lookup(address("192.0.2.1")).country, "AT");

    for (bad, tag) in [
        (&new[..new.len() / 2], "geo_damaged"),
        (b"<html>404</html>", "geo_damaged"),
        (b"", "geo_damaged"),
        (&asn(), "geo_wrong_kind"),
    ] {
        folder.put("country.mmdb", bad);
        let error = geo.reload(files).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.tag(), tag, "{message}");
        assert!(message.starts_with("geo.country: ") && message.contains(path.to_str().unwrap()), "{message}");
        assert_eq!(reader.lookup(address("192.0.2.1")).country, "AT", "after {message}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(geo.reload(files).unwrap_err().tag(), "geo_open");
    assert_eq!(reader.lookup(address("192.0.2.1")).country, "AT");
}

#[test]
fn each_key_wants_its_own_kind_of_database() {
    let folder = Folder::new();
    let (country, asn) = (folder.put("country.mmdb", &country("CH")), folder.put("asn.mmdb", &asn()));
    let wrong = |files| Geo::load(files).unwrap_err().to_string();
    let message = wrong(GeoFiles { city: Some(&country), ..GeoFiles::default() });
    assert!(
        message.contains("`Test-Country` database and holds no city") && message.contains("geo.country"),
        "{message}"
    );
    let message = wrong(GeoFiles { asn: Some(&country), ..GeoFiles::default() });
    assert!(message.contains("name an ASN database"), "{message}");
    let message = wrong(GeoFiles { country: Some(&asn), ..GeoFiles::default() });
    assert!(message.contains("holds no country code"), "{message}");
    let message = wrong(GeoFiles { country: Some(folder.0.path()), ..GeoFiles::default() });
    assert!(message.contains("empty or not a file"), "{message}");
}

#[test]
fn addresses_are_cut() {
    assert_eq!(*prefix(address("192.0.2.77")), [192, 0, 2]);
    assert_eq!(*prefix(address("::ffff:192.0.2.77")), [192, 0, 2]);
    assert_eq!(*prefix(address("2001:db8:1:2::3")), [0x20, 0x01, 0x0d, 0xb8, 0, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_damaged_file_is_refused_or_answers_without_harm(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut bytes = city();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = Folder::new();
        let path = folder.put("city.mmdb", &bytes);
        if let Ok(geo) = Geo::load(GeoFiles { city: Some(&path), ..GeoFiles::default() }) {
            let mut reader = geo.reader();
            for text in ["192.0.2.1", "2001:db8:1::5", "9.9.9.9", "255.255.255.255", "::"] {
                prop_assert!(reader.lookup(address(text)).city.len() <= LABEL_MAX_BYTES);
            }
        }
    }
}
