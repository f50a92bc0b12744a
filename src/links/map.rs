//! Links by their code, as small as they get: this map is the one that holds millions.
//!
//! A link's code and address stand in one text, which is the table's key; hashing and comparing look at the code alone. So an
//! entry is 24 bytes in the table (not 40) and one allocation (not two), and finding a link touches one piece of memory less.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use dashmap::{
    DashMap,
    mapref::{multiple::RefMulti, one::Ref},
};

use super::{LinkMore, SHARDS};
use crate::core::limits::CODE_MAX_BYTES;

const _: () = assert!(CODE_MAX_BYTES < 128, "the length of a code is one character of ASCII");

/// The code's length as one character, the code, the address.
pub struct Entry(Box<str>);

impl Entry {
    fn new(code: &str, address: &str) -> Entry {
        let mut text = String::with_capacity(1 + code.len() + address.len());
        text.push(char::from(code.len() as u8));
        text.push_str(code);
        text.push_str(address);
        Entry(text.into())
    }

    fn split(&self) -> (&str, &str) {
        let length = self.0.as_bytes().first().map_or(0, |length| usize::from(*length));
        self.0.get(1..).and_then(|text| text.split_at_checked(length)).unwrap_or_default()
    }

    pub fn code(&self) -> &str {
        self.split().0
    }

    pub fn address(&self) -> &str {
        self.split().1
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.code(), self.address())
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.code() == other.code()
    }
}
impl Eq for Entry {}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.code().hash(state);
    }
}

impl Borrow<str> for Entry {
    fn borrow(&self) -> &str {
        self.code()
    }
}

type More = Option<Arc<LinkMore>>;

/// Links by their code. Codes are checked ones ([`crate::core::code`]).
#[derive(Debug)]
pub struct LinkMap {
    entries: DashMap<Entry, More, foldhash::fast::RandomState>,
}

impl Default for LinkMap {
    fn default() -> LinkMap {
        LinkMap { entries: DashMap::with_hasher_and_shard_amount(foldhash::fast::RandomState::default(), SHARDS) }
    }
}

/// A link that was found. It holds a shard's read lock: let it go before an await or another call of the map.
#[derive(Debug)]
pub struct LinkRef<'a>(Ref<'a, Entry, More>);

impl LinkRef<'_> {
    /// A checked template (see [`crate::core::template`]).
    pub fn address(&self) -> &str {
        self.0.key().address()
    }

    pub fn more(&self) -> Option<&Arc<LinkMore>> {
        self.0.value().as_ref()
    }
}

impl LinkMap {
    /// Makes room for so many links; DashMap reserves as much in each shard.
    pub(super) fn reserve(&mut self, links: usize) {
        let _ = self.entries.try_reserve(links / SHARDS);
    }

    pub fn get(&self, code: &str) -> Option<LinkRef<'_>> {
        self.entries.get(code).map(LinkRef)
    }

    pub fn contains_key(&self, code: &str) -> bool {
        self.entries.contains_key(code)
    }

    /// Puts a link in, or replaces it in one step: nobody sees it missing.
    pub fn insert(&self, code: &str, address: &str, more: Option<Arc<LinkMore>>) {
        match self.entries.entry(Entry::new(code, address)) {
            // The key carries the address: it has to be exchanged as well, which a plain insert would not do.
            dashmap::Entry::Occupied(entry) => drop(entry.replace_entry(more)),
            dashmap::Entry::Vacant(entry) => drop(entry.insert(more)),
        }
    }

    pub fn remove(&self, code: &str) {
        self.entries.remove(code);
    }

    /// Keeps the links whose code passes.
    pub fn retain(&self, mut keep: impl FnMut(&str) -> bool) {
        self.entries.retain(|entry, _| keep(entry.code()));
    }

    /// Every link; the item's key has code and address, its value the rest.
    pub fn iter(&self) -> impl Iterator<Item = RefMulti<'_, Entry, More>> {
        self.entries.iter()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_link_leads_to_the_new_address() {
        let map = LinkMap::default();
        map.insert("one", "https://a.example/", None);
        map.insert("one-more", "https://b.example/", None);
        map.insert("one", "https://c.example/", Some(Arc::default()));
        assert_eq!(map.len(), 2);
        let found = map.get("one").unwrap();
        assert_eq!((found.address(), found.more().is_some()), ("https://c.example/", true));
        drop(found);
        assert_eq!(map.get("one-more").unwrap().address(), "https://b.example/");
        assert!(map.get("on").is_none() && map.get("").is_none());
        map.remove("one");
        assert!(!map.contains_key("one") && map.contains_key("one-more"));
        map.retain(|code| code != "one-more");
        assert!(map.is_empty());
    }

    #[test]
    fn the_longest_code_fits() {
        let (map, code) = (LinkMap::default(), "k".repeat(CODE_MAX_BYTES));
        map.insert(&code, "https://a.example/", None);
        assert_eq!(map.get(&code).unwrap().address(), "https://a.example/");
        assert_eq!(map.iter().next().unwrap().key().code(), code);
    }
}
