//! Where an address is: country, region, city, network, from MaxMind DB files.
//!
//! A country database ships inside the binary (`config/geo/README.md` tells its source and licence). Files named in the
//! configuration are mapped into memory, and are to be replaced by rename only. Which file answers what:
//!
//! | | first choice | else |
//! |---|---|---|
//! | country | the country file | the city file; where that does not know, the one inside |
//! | region, city | the city file | empty |
//! | network | the ASN file | empty |
//!
//! Who looks up: each worker owns a [`GeoReader`], which sees a reload at its next look-up.

use std::{
    fmt::{self, Write},
    net::IpAddr,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::{ArcSwap, Cache};
use maxminddb::{LookupResult, MaxMindDbError, Mmap, Reader, WithinOptions};
use serde::Deserialize;

use super::{
    cut,
    geo_record::{CityRecord, CountryRecord, NetworkRecord},
};
use crate::core::limits::LABEL_MAX_BYTES;

static BUILT_IN: &[u8] = include_bytes!("../../config/geo/country.mmdb");

/// Records of a new file that are looked at before it is taken.
const SAMPLE_RECORDS: usize = 4_096;

/// Files named in the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct GeoFiles<'a> {
    pub country: Option<&'a Path>,
    pub city: Option<&'a Path>,
    pub asn: Option<&'a Path>,
}

/// Why a file cannot be used: which key names it, its path, and the mend.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    #[error("{key}: cannot open {}: {source}: check the path and its permissions", path.display())]
    Open { key: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "{key}: {} is damaged or no MaxMind DB file: {problem}: download it again and rename it into place",
        path.display()
    )]
    Damaged { key: &'static str, path: PathBuf, problem: String },
    #[error(
        "{key}: {} is a `{found}` database and holds no {wanted}: set {mend}",
        path.display()
    )]
    WrongKind { key: &'static str, path: PathBuf, found: String, wanted: &'static str, mend: &'static str },
    /// Only a bad update of `config/geo` can make it.
    #[error("the country database inside the binary is damaged: {0}")]
    BuiltIn(String),
}

impl GeoError {
    /// A short stable word for metrics and logs.
    pub fn tag(&self) -> &'static str {
        match self {
            GeoError::Open { .. } => "geo_open",
            GeoError::Damaged { .. } => "geo_damaged",
            GeoError::WrongKind { .. } => "geo_wrong_kind",
            GeoError::BuiltIn(_) => "geo_built_in",
        }
    }
}

/// Where an address is. What is not known is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// ISO 3166-1 alpha-2, upper case.
    pub country: &'a str,
    /// ISO 3166-2 without the country, or a name where the file has no code.
    pub region: &'a str,
    /// English name.
    pub city: &'a str,
    /// For example `AS64500 Example Net`.
    pub network: &'a str,
}

/// The databases of all workers, swapped whole on reload. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Geo(Arc<ArcSwap<Databases>>);

#[derive(Debug)]
struct Databases {
    built_in: Reader<&'static [u8]>,
    country: Option<Reader<Mmap>>,
    city: Option<Reader<Mmap>>,
    asn: Option<Reader<Mmap>>,
}

/// One worker's view.
pub struct GeoReader {
    current: Cache<Arc<ArcSwap<Databases>>, Arc<Databases>>,
    network: String,
}

// === impl Geo ===

impl Geo {
    pub fn load(files: GeoFiles<'_>) -> Result<Geo, GeoError> {
        Ok(Geo(Arc::new(ArcSwap::from_pointee(Databases::open(files)?))))
    }

    /// Opens the files again. After an error everything is as before.
    pub fn reload(&self, files: GeoFiles<'_>) -> Result<(), GeoError> {
        self.0.store(Arc::new(Databases::open(files)?));
        Ok(())
    }

    pub fn reader(&self) -> GeoReader {
        GeoReader { current: Cache::new(Arc::clone(&self.0)), network: String::with_capacity(LABEL_MAX_BYTES) }
    }
}

// === impl GeoReader ===

impl fmt::Debug for GeoReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeoReader").finish_non_exhaustive()
    }
}

impl GeoReader {
    /// Where this address is. Allocates nothing.
    pub fn lookup(&mut self, address: IpAddr) -> Place<'_> {
        let databases = self.current.load();
        let address = address.to_canonical();
        let city: CityRecord<'_> = find(databases.city.as_ref(), address).unwrap_or_default();
        let country = match &databases.country {
            Some(own) => find(Some(own), address).and_then(CountryRecord::code),
            None => city.country().or_else(|| find(Some(&databases.built_in), address).and_then(CountryRecord::code)),
        };
        self.network.clear();
        if let Some(record) = find::<_, NetworkRecord<'_>>(databases.asn.as_ref(), address) {
            // Writing into a String does not fail.
            let _ = write!(self.network, "{record}");
        }
        Place {
            country: country.unwrap_or_default(),
            region: cut(city.region(), LABEL_MAX_BYTES),
            city: cut(city.city(), LABEL_MAX_BYTES),
            network: cut(&self.network, LABEL_MAX_BYTES).trim_end(),
        }
    }
}

/// The record of this address; a damaged record is none.
fn find<'a, S: AsRef<[u8]>, R: Deserialize<'a>>(database: Option<&'a Reader<S>>, address: IpAddr) -> Option<R> {
    database?.lookup(address).ok()?.decode().ok()?
}

// === impl Databases ===

impl Databases {
    fn open(files: GeoFiles<'_>) -> Result<Databases, GeoError> {
        let country = Wanted {
            key: "geo.country",
            what: "country code",
            mend: "name a Country or City database",
            is_in: |found| Ok(found.decode::<CountryRecord<'_>>()?.is_some_and(|record| record.code().is_some())),
        };
        let city = Wanted {
            key: "geo.city",
            what: "city or region",
            mend: "name a City database, or move this one to geo.country",
            is_in: |found| {
                let record: Option<CityRecord<'_>> = found.decode()?;
                Ok(record.is_some_and(|record| !record.city().is_empty() || !record.region().is_empty()))
            },
        };
        let asn = Wanted {
            key: "geo.asn",
            what: "autonomous system",
            mend: "name an ASN database",
            is_in: |found| Ok(found.decode::<NetworkRecord<'_>>()?.is_some_and(|record| !record.is_empty())),
        };
        Ok(Databases {
            built_in: Reader::from_source(BUILT_IN).map_err(|error| GeoError::BuiltIn(error.to_string()))?,
            country: files.country.map(|path| country.open(path)).transpose()?,
            city: files.city.map(|path| city.open(path)).transpose()?,
            asn: files.asn.map(|path| asn.open(path)).transpose()?,
        })
    }
}

/// What a configured file must hold.
struct Wanted {
    key: &'static str,
    what: &'static str,
    mend: &'static str,
    is_in: fn(&LookupResult<'_, Mmap>) -> Result<bool, MaxMindDbError>,
}

impl Wanted {
    /// Maps a file and decodes its first records: one that is cut off, or holds something else, is refused now, instead
    /// of answering nothing later. Damage further behind costs the look-ups that meet it their place, and nothing else.
    fn open(&self, path: &Path) -> Result<Reader<Mmap>, GeoError> {
        let open_error = |source| GeoError::Open { key: self.key, path: path.to_owned(), source };
        let damaged = |error: MaxMindDbError| GeoError::Damaged {
            key: self.key,
            path: path.to_owned(),
            problem: error.to_string(),
        };
        // An empty file cannot be mapped, and a folder's error would speak of neither.
        let metadata = std::fs::metadata(path).map_err(open_error)?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(damaged(MaxMindDbError::invalid_database("it is empty or not a file")));
        }
        #[expect(unsafe_code, reason = "mapping shares a City file's 60 MB between processes and loads it at once")]
        // SAFETY: the mapped file must not change while it is mapped. The documentation of the `geo` keys demands that
        // files are replaced by rename, which leaves the mapped one as it is until the last reader of it is dropped.
        let reader = unsafe { Reader::open_mmap(path) }.map_err(|error| match error {
            MaxMindDbError::Io(source) | MaxMindDbError::Mmap(source) => open_error(source),
            error => damaged(error),
        })?;
        let mut useful = false;
        for network in reader.networks(WithinOptions::default()).map_err(damaged)?.take(SAMPLE_RECORDS) {
            useful |= network.and_then(|found| (self.is_in)(&found)).map_err(damaged)?;
        }
        if useful {
            return Ok(reader);
        }
        let found = reader.metadata().database_type.clone();
        Err(GeoError::WrongKind { key: self.key, path: path.to_owned(), found, wanted: self.what, mend: self.mend })
    }
}

// === Addresses, cut ===

/// What is left of an address: its network, /24 of IPv4 (3 bytes) or /48 of IPv6 (6 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    len: u8,
    bytes: [u8; 6],
}

impl Deref for Prefix {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Cuts an address; IPv4 inside IPv6 is IPv4.
pub fn prefix(address: IpAddr) -> Prefix {
    let mut bytes = [0; 6];
    let len = match address.to_canonical() {
        IpAddr::V4(v4) => {
            bytes[..3].copy_from_slice(&v4.octets()[..3]);
            3
        }
        IpAddr::V6(v6) => {
            bytes.copy_from_slice(&v6.octets()[..6]);
            6
        }
    };
    Prefix { len, bytes }
}

#[cfg(test)]
#[path = "geo_test.rs"]
mod tests;
