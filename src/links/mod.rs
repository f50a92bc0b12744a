//! The in-memory index that the edge reads: what a code leads to, and who may be credited.
//!
//! Promise: a look-up takes one shard's read lock and no allocation, and never waits for the catalog. The catalog's change
//! feed is the only writer. Sizes matter here, a million times over: what most links do not have stands behind one
//! pointer ([`LinkMore`], [`PartnerMore`]).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dashmap::DashMap;
pub use map::{LinkMap, LinkRef};

use crate::core::{
    code::Code,
    preview::Preview,
    program::{Attribution, Status},
    rule::Rule,
    time::Millis,
};

mod map;

/// A destination that partners may promote, as it is put into the index.
#[derive(Debug)]
pub struct Link {
    /// A checked template (see [`crate::core::template`]).
    pub address: Box<str>,
    pub more: Option<Arc<LinkMore>>,
}

/// What most links do not have.
#[derive(Debug, Default)]
pub struct LinkMore {
    pub name: Box<str>,
    /// This partner only.
    pub partner: Option<Code>,
    /// These programs only; empty means all.
    pub programs: Box<[Code]>,
    pub rules: Box<[Rule]>,
    /// Where a visitor goes when the link is over or its partner may not use it.
    pub fallback: Option<Box<str>>,
    pub expires_at: Option<Millis>,
    pub max_clicks: Option<u64>,
    /// Counted clicks so far; kept only where `max_clicks` is set.
    pub clicks: AtomicU64,
    /// Hosts that `?to=` may name: exact, lower case.
    pub to_hosts: Box<[Box<str>]>,
    /// Query parameter of the click token; `None` means the default one.
    pub click_parameter: Option<Box<str>>,
    /// Query parameters that carry the partner's and the ad's code to the landing page, where wanted.
    pub partner_parameter: Option<Box<str>>,
    pub ad_parameter: Option<Box<str>>,
    /// How chats show the link.
    pub preview: Option<Box<Preview>>,
}

/// Whoever shares, as the edge needs it. 16 bytes.
#[derive(Debug)]
pub struct Partner {
    pub status: Status,
    pub more: Option<Arc<PartnerMore>>,
}

/// What most partners do not have.
#[derive(Debug, Default)]
pub struct PartnerMore {
    /// Programs that the partner is in, the preferred one first; empty means all.
    pub programs: Box<[Code]>,
    /// Links that the partner may use; empty means all.
    pub allowed: Box<[Code]>,
}

/// A program, as the edge needs it.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    pub name: Box<str>,
    pub status: Status,
    pub attribution: Attribution,
    /// For how long a touch can be credited, and a cookie lives.
    pub window_days: u32,
    /// `Domain` of the cookie; `None` leaves it to the host that answered.
    pub domain: Option<Arc<str>>,
    /// How chats show its links.
    pub preview: Option<Box<Preview>>,
}

/// What a slug stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareLink {
    pub link: Code,
    pub partner: Code,
    pub ad: Option<Code>,
}

type Map<K, V> = DashMap<K, V, foldhash::fast::RandomState>;

/// Shards of the large maps. Many, so that a shard is quick to grow, and quick to read while a snapshot is written: the feed
/// waits for one shard only, and visitors for none.
const SHARDS: usize = 256;

/// The index. Keys come from outside, so the hash is seeded at random in each process.
#[derive(Debug)]
pub struct Links {
    pub programs: Map<Code, Program>,
    pub links: LinkMap,
    pub partners: Map<Code, Partner>,
    /// `partner/ad`: both are codes, and `/` is in neither.
    pub ads: dashmap::DashSet<Box<str>, foldhash::fast::RandomState>,
    pub share_links: Map<Code, ShareLink>,
    /// The last change of the catalog that is in here.
    pub applied: AtomicU64,
}

/// How many of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub programs: usize,
    pub links: usize,
    pub partners: usize,
    pub ads: usize,
    pub share_links: usize,
}

impl Default for Links {
    fn default() -> Links {
        fn map<V>() -> Map<Code, V> {
            DashMap::with_hasher_and_shard_amount(foldhash::fast::RandomState::default(), SHARDS)
        }
        Links {
            programs: Map::default(),
            links: LinkMap::default(),
            partners: map(),
            ads: dashmap::DashSet::default(),
            share_links: map(),
            applied: AtomicU64::new(0),
        }
    }
}

impl Links {
    pub fn new() -> Links {
        Links::default()
    }

    pub fn is_empty(&self) -> bool {
        let Counts { programs, links, partners, ads, share_links } = self.counts();
        programs + links + partners + ads + share_links == 0
    }

    /// Makes room before a load, so that the tables do not grow step by step beside their old selves.
    pub fn reserve(&mut self, counts: Counts) {
        self.links.reserve(counts.links);
        // Without room the tables grow as they are filled, or the process ends there.
        // DashMap reserves as much in each shard.
        let _ = self.partners.try_reserve(counts.partners / SHARDS);
        let _ = self.share_links.try_reserve(counts.share_links / SHARDS);
    }

    /// Whether this partner has this ad. `scratch` is cleared and reused.
    pub fn has_ad(&self, partner: &str, ad: &str, scratch: &mut String) -> bool {
        scratch.clear();
        scratch.push_str(partner);
        scratch.push('/');
        scratch.push_str(ad);
        self.ads.contains(scratch.as_str())
    }

    pub fn insert_ad(&self, partner: &str, ad: &str) {
        self.ads.insert(format!("{partner}/{ad}").into());
    }

    pub fn remove_ad(&self, partner: &str, ad: &str) {
        self.ads.remove(format!("{partner}/{ad}").as_str());
    }

    /// Puts a link in, keeping the clicks that were counted for it.
    pub fn insert_link(&self, code: &Code, link: Link) {
        if let Some(more) = &link.more
            && let Some(before) = self.links.get(code.as_str())
        {
            let counted = before.more().map_or(0, |more| more.clicks.load(Ordering::Relaxed));
            more.clicks.fetch_max(counted, Ordering::Relaxed);
        }
        self.links.insert(code, &link.address, link.more);
    }

    /// Raises the counted clicks of a link to what the reports know.
    pub fn raise_clicks(&self, code: &str, total: u64) {
        if let Some(more) = self.links.get(code).as_ref().and_then(LinkRef::more) {
            more.clicks.fetch_max(total, Ordering::Relaxed);
        }
    }

    /// Links that end after a number of clicks.
    pub fn limited(&self) -> Vec<Code> {
        self.links
            .iter()
            .filter(|entry| entry.value().as_ref().is_some_and(|more| more.max_clicks.is_some()))
            .filter_map(|entry| entry.key().code().parse().ok())
            .collect()
    }

    pub fn counts(&self) -> Counts {
        Counts {
            programs: self.programs.len(),
            links: self.links.len(),
            partners: self.partners.len(),
            ads: self.ads.len(),
            share_links: self.share_links.len(),
        }
    }
}
