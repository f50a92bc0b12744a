//! The change feed, applied to the index in memory; and the whole catalog, loaded into it.
//!
//! A change row says only what changed, not how: whoever applies it reads the current rows. So applying twice, or a change
//! that a load had seen already, does no harm, and a load needs no lock: it notes the feed's number first.

use std::{collections::HashMap, sync::Arc};

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{
    Ad, Catalog, CatalogError, Entity, Kind, Link, Partner, Program, ShareLink,
    entity::RowReader,
    read::select,
    references::{pairs, singles},
};
use crate::{
    core::{code::Code, limits::LOOKUP_CODES, program::Status},
    links::{self, LinkMore, Links, PartnerMore},
};

/// Where the feed is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Random id of the catalog: a restored or exchanged one is another catalog or behind.
    pub(super) catalog: String,
    /// The last change.
    pub(super) last: u64,
}

/// A row of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) seq: u64,
    pub(super) kind: Kind,
    pub(super) key: String,
}

/// Keys that a load has met, so that what is gone from the catalog can be taken out of a full index afterwards. 16 bytes of
/// BLAKE3 a key: two keys that share them will not happen.
#[derive(Debug, Default)]
struct Met(Vec<[u8; 16]>);

impl Met {
    fn mark(kind: Kind, key: &str) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind as u8]);
        hasher.update(key.as_bytes());
        let mut mark = [0; 16];
        mark.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        mark
    }

    fn note(&mut self, kind: Kind, key: &str) {
        self.0.push(Met::mark(kind, key));
    }

    fn has(&self, kind: Kind, key: &str) -> bool {
        self.0.binary_search(&Met::mark(kind, key)).is_ok()
    }
}

impl Catalog {
    pub(super) async fn position(&self) -> Result<Position, CatalogError> {
        let row = sqlx::query("SELECT catalog, next FROM feed WHERE one = 1").fetch_one(self.readers().await?).await?;
        let next: i64 = row.try_get(1)?;
        Ok(Position { catalog: row.try_get(0)?, last: u64::try_from(next - 1).unwrap_or(0) })
    }

    /// Changes behind `seq`, in order.
    pub(super) async fn changes_after(&self, seq: u64, limit: u32) -> Result<Vec<Change>, CatalogError> {
        let rows = sqlx::query("SELECT seq, kind, code FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(i64::try_from(seq).unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .fetch_all(self.readers().await?)
            .await?;
        rows.iter()
            .map(|row| {
                let seq: i64 = row.try_get(0)?;
                let mut columns = RowReader::new(row);
                let _seq = columns.integer()?;
                let kind = columns.word(Kind::from_word)?;
                Ok(Change { seq: u64::try_from(seq).unwrap_or(0), kind, key: columns.text()?.to_owned() })
            })
            .collect()
    }

    /// Brings the index to the current rows of what changed.
    pub(super) async fn apply(&self, links: &Links, changes: &[Change]) -> Result<(), CatalogError> {
        let mut by_kind: HashMap<Kind, Vec<&str>> = HashMap::new();
        for change in changes {
            by_kind.entry(change.kind).or_default().push(&change.key);
        }
        for (kind, mut keys) in by_kind {
            keys.sort_unstable();
            keys.dedup();
            for keys in keys.chunks(LOOKUP_CODES) {
                match kind {
                    Kind::Program => self.refresh::<Program>(links, keys).await?,
                    Kind::Partner => self.refresh::<Partner>(links, keys).await?,
                    Kind::Link => self.refresh::<Link>(links, keys).await?,
                    Kind::Ad => self.refresh::<Ad>(links, keys).await?,
                    Kind::ShareLink => self.refresh::<ShareLink>(links, keys).await?,
                }
            }
        }
        Ok(())
    }

    async fn refresh<T: Indexed>(&self, links: &Links, keys: &[&str]) -> Result<(), CatalogError> {
        let condition = match T::KEY {
            [key] => format!("{key} IN ({})", singles(keys.len())),
            columns => format!("({}) IN (VALUES {})", columns.join(", "), pairs(keys.len())),
        };
        let query = keys
            .iter()
            .flat_map(|key| key.split('/'))
            .fold(sqlx::query(AssertSqlSafe(select::<T>(&condition))), |query, part| query.bind(part.to_owned()));
        let rows = query.persistent(keys.len() == 1).fetch_all(self.readers().await?).await?;
        let mut gone: std::collections::HashSet<&str> = keys.iter().copied().collect();
        for row in &rows {
            let item = T::from_row(&mut RowReader::new(row))?;
            gone.remove(item.key().as_str());
            item.insert_into(links);
        }
        for key in gone {
            T::remove_from(links, key);
        }
        Ok(())
    }

    /// Loads everything; what is not in the catalog any more leaves the index. Returns where the feed was before.
    pub(super) async fn load_all(&self, links: &Links) -> Result<Position, CatalogError> {
        let position = self.position().await?;
        let mut met = (!links.is_empty()).then(Met::default);
        // One transaction, so that a link which changes between the two statements over links is in one of them.
        let mut tx = self.readers().await?.begin().await?;
        let statements: [(String, Put); 6] = [
            (select::<Program>("1 = 1"), put_item::<Program>),
            ("SELECT code, status, programs, allowed FROM partners".to_owned(), put_partner),
            ("SELECT code, address FROM links WHERE plain = 1".to_owned(), put_plain_link),
            (select::<Link>("plain = 0"), put_item::<Link>),
            ("SELECT partner, code FROM ads".to_owned(), put_ad),
            ("SELECT slug, link, partner, ad FROM share_links".to_owned(), put_share_link),
        ];
        for (sql, put) in statements {
            let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut *tx);
            while let Some(row) = rows.try_next().await? {
                put(links, &row, &mut met)?;
            }
        }
        tx.rollback().await?;
        if let Some(met) = met {
            sweep(links, met);
        }
        Ok(position)
    }
}

/// Puts a row into the index.
type Put = fn(&Links, &AnyRow, &mut Option<Met>) -> Result<(), CatalogError>;

fn note(met: &mut Option<Met>, kind: Kind, key: &str) {
    if let Some(met) = met {
        met.note(kind, key);
    }
}

fn put_item<T: Indexed>(links: &Links, row: &AnyRow, met: &mut Option<Met>) -> Result<(), CatalogError> {
    let item = T::from_row(&mut RowReader::new(row))?;
    note(met, T::KIND, &item.key());
    item.insert_into(links);
    Ok(())
}

fn put_partner(links: &Links, row: &AnyRow, met: &mut Option<Met>) -> Result<(), CatalogError> {
    let mut columns = RowReader::new(row);
    let code = columns.code()?;
    note(met, Kind::Partner, &code);
    let status = columns.word(Status::from_word)?;
    links.partners.insert(code, partner(status, columns.json()?, columns.json()?));
    Ok(())
}

fn put_plain_link(links: &Links, row: &AnyRow, met: &mut Option<Met>) -> Result<(), CatalogError> {
    let mut columns = RowReader::new(row);
    let code = columns.code()?;
    note(met, Kind::Link, &code);
    links.links.insert(&code, columns.text()?, None);
    Ok(())
}

fn put_ad(links: &Links, row: &AnyRow, met: &mut Option<Met>) -> Result<(), CatalogError> {
    let mut columns = RowReader::new(row);
    let (partner, code) = (columns.code()?, columns.code()?);
    note(met, Kind::Ad, &format!("{partner}/{code}"));
    links.insert_ad(&partner, &code);
    Ok(())
}

fn put_share_link(links: &Links, row: &AnyRow, met: &mut Option<Met>) -> Result<(), CatalogError> {
    let mut columns = RowReader::new(row);
    let slug = columns.code()?;
    note(met, Kind::ShareLink, &slug);
    let share_link = links::ShareLink { link: columns.code()?, partner: columns.code()?, ad: columns.optional_code()? };
    links.share_links.insert(slug, share_link);
    Ok(())
}

/// Takes out what a load has not met.
fn sweep(links: &Links, mut met: Met) {
    met.0.sort_unstable();
    links.programs.retain(|code, _| met.has(Kind::Program, code));
    links.partners.retain(|code, _| met.has(Kind::Partner, code));
    links.links.retain(|code| met.has(Kind::Link, code));
    links.ads.retain(|key| met.has(Kind::Ad, key));
    links.share_links.retain(|code, _| met.has(Kind::ShareLink, code));
}

fn partner(status: Status, programs: Vec<Code>, allowed: Vec<Code>) -> links::Partner {
    let more = (!programs.is_empty() || !allowed.is_empty())
        .then(|| Arc::new(PartnerMore { programs: programs.into(), allowed: allowed.into() }));
    links::Partner { status, more }
}

/// An item's place in the index.
trait Indexed: Entity {
    fn insert_into(self, links: &Links);
    fn remove_from(links: &Links, key: &str);
}

impl Indexed for Program {
    fn insert_into(self, links: &Links) {
        let Program { code, status, attribution, window_days, domain, .. } = self;
        let domain = domain.map(Into::into);
        links.programs.insert(code, links::Program { status, attribution, window_days, domain });
    }

    fn remove_from(links: &Links, key: &str) {
        links.programs.remove(key);
    }
}

impl Indexed for Partner {
    fn insert_into(self, links: &Links) {
        links.partners.insert(self.code, partner(self.status, self.programs, self.allowed));
    }

    fn remove_from(links: &Links, key: &str) {
        links.partners.remove(key);
    }
}

impl Indexed for Link {
    /// A name alone is not worth the 200 bytes of [`LinkMore`]: where nothing else is set the edge goes without it.
    fn insert_into(self, links: &Links) {
        let more = (!self.is_plain()).then(|| {
            Arc::new(LinkMore {
                name: self.name.into(),
                partner: self.partner,
                programs: self.programs.into(),
                rules: self.rules.into(),
                fallback: self.fallback.map(Into::into),
                expires_at: self.expires_at,
                max_clicks: self.max_clicks,
                clicks: 0.into(),
                to_hosts: self.to_hosts.into_iter().map(Into::into).collect(),
                click_parameter: self.click_parameter.map(Into::into),
                partner_parameter: self.partner_parameter.map(Into::into),
                ad_parameter: self.ad_parameter.map(Into::into),
            })
        });
        links.insert_link(&self.code, links::Link { address: self.address.into(), more });
    }

    fn remove_from(links: &Links, key: &str) {
        links.links.remove(key);
    }
}

impl Indexed for Ad {
    fn insert_into(self, links: &Links) {
        links.insert_ad(&self.partner, &self.code);
    }

    fn remove_from(links: &Links, key: &str) {
        links.ads.remove(key);
    }
}

impl Indexed for ShareLink {
    fn insert_into(self, links: &Links) {
        let ShareLink { slug, link, partner, ad, .. } = self;
        links.share_links.insert(slug, links::ShareLink { link, partner, ad });
    }

    fn remove_from(links: &Links, key: &str) {
        links.share_links.remove(key);
    }
}
