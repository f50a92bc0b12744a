//! The change feed, applied to the index in memory; and the whole catalog, loaded into it.
//!
//! A change row says only what changed, not how: whoever applies it reads the current rows. So applying twice, or a change
//! that a load had seen already, does no harm, and a load needs no lock: it notes the feed's position first.
//!
//! A number alone does not say where an index is: after a restore the numbers behind the backup are given again, to other
//! changes. So each row carries the random mark of its transaction, and a position is the last row's number and mark: a
//! catalog that holds this row has the same history up to it.

use std::{collections::HashMap, sync::Arc};

use futures_util::TryStreamExt;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row, any::AnyRow};
use tokio::time::timeout;

use super::{
    Ad, Catalog, CatalogError, Entity, Kind, Link, Partner, Program, ShareLink,
    entity::RowReader,
    no_answer,
    read::select,
    references::{pairs, singles},
};
use crate::{
    core::{
        code::Code,
        limits::{CATALOG_ANSWER_TIMEOUT, LOOKUP_CODES},
        program::Status,
    },
    links::{self, LinkMore, Links, PartnerMore},
};

/// Where the feed is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Random id of the catalog. A restored one has the same.
    pub(super) catalog: String,
    /// The last change; 0 before the first.
    pub(super) last: u64,
    /// That change's mark; 0 where there is none.
    pub(super) mark: i64,
}

/// A row of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) seq: u64,
    pub(super) mark: i64,
    pub(super) kind: Kind,
    pub(super) key: String,
}

/// Why the feed does not lead on from a position: everything is loaded anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// There is no position yet.
    Nowhere,
    /// The rows from there on are no longer all kept.
    Behind,
    /// The catalog has another id.
    Exchanged,
    /// The same catalog with another history: it never had the change at the position, or has another in its place.
    Restored,
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
        let sql = "SELECT catalog, next, mark FROM feed LEFT JOIN changes ON seq = next - 1 WHERE one = 1";
        let rows = self.rows(sqlx::query(sql)).await?;
        let row = rows.first().ok_or_else(|| CatalogError::Corrupt("the feed has no row".to_owned()))?;
        let (next, mark): (i64, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
        let last = u64::try_from(next - 1).unwrap_or(0);
        Ok(Position { catalog: row.try_get(0)?, last, mark: mark.unwrap_or(0) })
    }

    /// What has changed since `here`, in order, or why the feed cannot say. One query reads the row at `here` and those
    /// behind it, so that they are of one history.
    pub(super) async fn changes_since(
        &self,
        here: &Position,
        limit: u32,
    ) -> Result<Result<Vec<Change>, Lost>, CatalogError> {
        let mut changes = self.changes_from(here.last, limit.saturating_add(1)).await?;
        if here.last > 0 {
            match changes.first() {
                Some(row) if row.seq == here.last && row.mark == here.mark => drop(changes.remove(0)),
                Some(row) if row.seq == here.last => return Ok(Err(Lost::Restored)),
                _ => return Ok(Err(Lost::Behind)),
            }
        }
        let joins = changes.first().is_some_and(|first| first.seq == here.last + 1);
        Ok(if joins { Ok(changes) } else { Err(Lost::Behind) })
    }

    /// The change `seq` and those behind it, as far as they are there, in order.
    pub(super) async fn changes_from(&self, seq: u64, limit: u32) -> Result<Vec<Change>, CatalogError> {
        let query = sqlx::query("SELECT seq, mark, kind, code FROM changes WHERE seq >= $1 ORDER BY seq LIMIT $2")
            .bind(i64::try_from(seq).unwrap_or(i64::MAX))
            .bind(i64::from(limit));
        let rows = self.rows(query).await?;
        rows.iter()
            .map(|row| {
                let mut columns = RowReader::new(row);
                let (seq, mark) = (columns.integer()?, columns.integer()?);
                let kind = columns.word(Kind::from_word)?;
                Ok(Change { seq: u64::try_from(seq).unwrap_or(0), mark, kind, key: columns.text()?.to_owned() })
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
        let rows = self.rows(query.persistent(keys.len() == 1)).await?;
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
        let mut connection = self.reader().await?;
        if let Err(error) = self.load_over(&mut connection, links, &mut met).await {
            connection.close_on_drop();
            return Err(error);
        }
        if let Some(met) = met {
            sweep(links, met);
        }
        Ok(position)
    }

    async fn load_over(
        &self,
        connection: &mut AnyConnection,
        links: &Links,
        met: &mut Option<Met>,
    ) -> Result<(), CatalogError> {
        // One view of everything, so that a link which changes between the two statements over links is in one of them.
        let mut tx = connection.begin_with(self.shared.vendor.begin_reading()).await?;
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
            while let Some(row) = timeout(CATALOG_ANSWER_TIMEOUT, rows.try_next()).await.map_err(|_| no_answer())?? {
                put(links, &row, met)?;
            }
        }
        Ok(tx.rollback().await?)
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
        let Program { code, name, status, attribution, window_days, domain, preview, .. } = self;
        let (name, domain, preview) = (name.into(), domain.map(Into::into), preview.map(Box::new));
        links.programs.insert(code, links::Program { name, status, attribution, window_days, domain, preview });
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
                preview: self.preview.map(Box::new),
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
