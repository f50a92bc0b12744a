//! The one writer: a transaction that changes items and writes their rows into the change feed, or rows of the outbox (see
//! `outbox`), or both.
//!
//! Its first statement locks the feed's row, or the outbox's where no item is changed. Whoever writes waits there, also on
//! PostgreSQL, so that sequence numbers are given in the order of commits and without a gap.

use std::{collections::HashSet, sync::Arc};

use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use super::{
    Catalog, CatalogError, Entity, Kind, ShareLink, Shared,
    audit::{Caller, Deed, difference},
    entity::{Binder, RowReader},
    outbox::Entry,
    record::{group::Shares, seen::Seen, sums::Moved},
    references::Known,
    share_link,
    trip::Trips,
};
use crate::core::{
    limits::{CHANGES_KEPT, LOOKUP_CODES},
    time::Millis,
};

/// Names of what refers to an item that an answer lists.
const NAMED_MAX: i64 = 3;

/// A transaction that writes. Dropping it takes everything back.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) tx: Transaction<'static, Any>,
    pub(super) shared: Arc<Shared>,
    /// Items of one statement.
    pub(super) rows_max: usize,
    /// Changes of one statement.
    changes_max: usize,
    pub(super) known: Known,
    /// Sequence number of the next change; `None`: the feed's row is not locked.
    next: Option<i64>,
    /// Rows of the change feed were written.
    changed: bool,
    /// Random: tells this transaction's changes from others that had the same numbers before a restore.
    mark: i64,
    pending: Vec<(Kind, String)>,
    /// Entries of the outbox that are not written yet, and the last one's number that are.
    pub(super) untold: Vec<Entry>,
    pub(super) told: Option<i64>,
    /// Whoever this is done for, and rows of the audit log that are not written yet.
    pub(super) caller: Caller,
    pub(super) deeds: Vec<(Caller, Deed)>,
    pub(super) now: Millis,
    /// Of a transaction of facts: who shares it, which referrals moved, and what was read of the catalog.
    pub(super) shares: Shares,
    pub(super) moved: Moved,
    pub(super) seen: Seen,
    /// Statements that wait, and answers that are there already.
    pub(super) trips: Trips,
}

impl Writing {
    /// Begins a transaction that changes items.
    pub(super) async fn begin(catalog: &Catalog) -> Result<Writing, CatalogError> {
        let mut writing = Writing::over(catalog.writing().await?, catalog)?;
        writing.lock_feed().await?;
        Ok(writing)
    }

    /// Begins a transaction that need not change items: it locks the outbox, and wakes no follower. Where it changes an item
    /// all the same, PostgreSQL may end it for a deadlock ([`CatalogError::Busy`]).
    pub(super) async fn begin_facts(catalog: &Catalog) -> Result<Writing, CatalogError> {
        let mut writing = Writing::over(catalog.writing().await?, catalog)?;
        writing.lock_outbox().await?;
        Ok(writing)
    }

    /// The same for facts that share it, with the savepoint of the first one.
    pub(super) async fn begin_shared(catalog: &Catalog) -> Result<Writing, CatalogError> {
        let mut writing = Writing::over(catalog.writing().await?, catalog)?;
        writing.shares.is_shared = true;
        // One trip: see `trip`.
        let sql = "UPDATE outbox_head SET next = next WHERE one = 1; SAVEPOINT fact";
        sqlx::raw_sql(sql).execute(&mut *writing.tx).await?;
        Ok(writing)
    }

    fn over(tx: Transaction<'static, Any>, catalog: &Catalog) -> Result<Writing, CatalogError> {
        let shared = Arc::clone(&catalog.shared);
        let (rows_max, changes_max) = shared.vendor.bulk();
        Ok(Writing {
            tx,
            now: shared.clock.now(),
            shared,
            rows_max,
            changes_max,
            known: Known::default(),
            next: None,
            changed: false,
            mark: i64::from_le_bytes(crate::io::random::bytes::<8>()?),
            pending: Vec::new(),
            untold: Vec::new(),
            told: None,
            shares: Shares::default(),
            moved: Moved::default(),
            seen: Seen::default(),
            trips: Trips::default(),
            caller: Caller::current(),
            deeds: Vec::new(),
        })
    }

    /// Locks the feed's row, and tells the number of the next change.
    async fn lock_feed(&mut self) -> Result<i64, CatalogError> {
        if let Some(next) = self.next {
            return Ok(next);
        }
        let sql = "UPDATE feed SET next = next WHERE one = 1 RETURNING next";
        let next = sqlx::query(sql).fetch_one(self.tx().await?).await?.try_get(0)?;
        self.next = Some(next);
        Ok(next)
    }

    /// Creates or replaces items. Keys are unique among them.
    pub(super) async fn upsert<T: Entity>(&mut self, items: &[T]) -> Result<(), CatalogError> {
        self.forget();
        for chunk in items.chunks(self.rows_max) {
            let mut row = Binder::default();
            row.integer(self.now.0);
            for item in chunk {
                item.bind(&mut row);
            }
            // Few sizes come again: one, and a full chunk.
            let persistent = chunk.len() == 1 || chunk.len() == self.rows_max;
            sqlx::query_with(AssertSqlSafe(upsert_sql::<T>(chunk.len())), row.arguments)
                .persistent(persistent)
                .execute(self.tx().await?)
                .await?;
            for item in chunk {
                self.pending.push((T::KIND, item.key()));
            }
            self.write_changes(self.changes_max).await?;
        }
        Ok(())
    }

    /// Writes change rows in chunks, as long as at least `at_least` of them wait.
    async fn write_changes(&mut self, at_least: usize) -> Result<(), CatalogError> {
        while !self.pending.is_empty() && self.pending.len() >= at_least {
            let next = self.lock_feed().await?;
            let chunk: Vec<_> = self.pending.drain(..self.pending.len().min(self.changes_max)).collect();
            let mut row = Binder::default();
            row.integer(next);
            row.integer(self.now.0);
            row.integer(self.mark);
            for (kind, key) in &chunk {
                row.text(kind.word());
                row.text(key);
            }
            let persistent = chunk.len() == 1 || chunk.len() == self.changes_max;
            sqlx::query_with(AssertSqlSafe(changes_sql(chunk.len())), row.arguments)
                .persistent(persistent)
                .execute(self.tx().await?)
                .await?;
            self.next = Some(next + chunk.len() as i64);
            self.changed = true;
        }
        Ok(())
    }

    /// Makes all of it so.
    pub(super) async fn commit(mut self) -> Result<(), CatalogError> {
        self.write_changes(1).await?;
        self.write_outbox(1).await?;
        self.write_audit().await?;
        if let Some(next) = self.next.filter(|_| self.changed) {
            sqlx::query("UPDATE feed SET next = $1 WHERE one = 1").bind(next).execute(self.tx().await?).await?;
            sqlx::query("DELETE FROM changes WHERE seq < $1")
                .bind(next - CHANGES_KEPT)
                .execute(self.tx().await?)
                .await?;
            if let Some(hint) = self.shared.vendor.hint() {
                sqlx::query(hint).execute(self.tx().await?).await?;
            }
        }
        self.settle_waiting().await?;
        self.tx.commit().await?;
        if self.changed {
            self.shared.committed.notify_one();
        }
        if let Some(last) = self.told {
            self.shared.told.send_replace(u64::try_from(last).unwrap_or(0));
        }
        Ok(())
    }

    /// Forgets what was read: it may have been written in a part of the transaction that was taken back.
    pub(super) fn forget(&mut self) {
        self.seen = Seen::default();
        self.trips.forget();
    }

    pub(super) async fn rollback(self) -> Result<(), CatalogError> {
        Ok(self.tx.rollback().await?)
    }

    pub(super) async fn find<T: Entity>(&mut self, key: &[&str]) -> Result<Option<T>, CatalogError> {
        let sql = super::read::select::<T>(&super::read::key_is::<T>());
        let query = key.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, part| query.bind((*part).to_owned()));
        let row = query.fetch_optional(self.tx().await?).await?;
        row.map(|row| T::from_row(&mut RowReader::new(&row))).transpose()
    }

    /// The share link that stands for the same link, partner and ad; the oldest where there are several.
    pub(super) async fn same_share_link(&mut self, wanted: &ShareLink) -> Result<Option<ShareLink>, CatalogError> {
        let sql = super::read::select::<ShareLink>(
            "link = $1 AND partner = $2 AND COALESCE(ad, '') = $3 ORDER BY created_at, slug LIMIT 1",
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(wanted.link.to_string())
            .bind(wanted.partner.to_string())
            .bind(ad_or_none(wanted).to_owned())
            .fetch_optional(self.tx().await?)
            .await?;
        row.map(|row| ShareLink::from_row(&mut RowReader::new(&row))).transpose()
    }

    /// Share links with generated slugs, without those whose link, partner and ad have one already.
    pub(super) async fn share_new(&mut self, wanted: &[&ShareLink]) -> Result<(), CatalogError> {
        let mut there = self.shared_already(wanted).await?;
        let mut fresh: Vec<ShareLink> = Vec::with_capacity(wanted.len());
        for link in wanted {
            if there.insert([link.link.to_string(), link.partner.to_string(), ad_or_none(link).to_owned()]) {
                fresh.push((*link).clone());
            }
        }
        let slugs: Vec<&str> = fresh.iter().map(|link| link.slug.as_str()).collect();
        let mut taken = if slugs.is_empty() { HashSet::new() } else { self.existing(Kind::ShareLink, &slugs).await? };
        for link in &mut fresh {
            if !taken.insert(link.slug.to_string()) {
                self.settle_slug(link).await?;
            }
        }
        self.upsert(&fresh).await
    }

    /// Link, partner and ad (or an empty text) of those that have a share link.
    async fn shared_already(&mut self, wanted: &[&ShareLink]) -> Result<HashSet<[String; 3]>, CatalogError> {
        let rows: Vec<String> =
            (0..wanted.len()).map(|n| format!("(${}, ${}, ${})", 3 * n + 1, 3 * n + 2, 3 * n + 3)).collect();
        // Both databases call the columns of VALUES so.
        let sql = format!(
            "SELECT DISTINCT column1, column2, column3 FROM (VALUES {}) AS wanted JOIN share_links \
             ON link = column1 AND partner = column2 AND COALESCE(ad, '') = column3",
            rows.join(", ")
        );
        let query = wanted.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, link| {
            query.bind(link.link.to_string()).bind(link.partner.to_string()).bind(ad_or_none(link).to_owned())
        });
        let rows = query.persistent(wanted.len() == LOOKUP_CODES).fetch_all(self.tx().await?).await?;
        rows.iter().map(|row| Ok([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?])).collect()
    }

    /// Draws until a generated slug is free.
    pub(super) async fn settle_slug(&mut self, item: &mut ShareLink) -> Result<(), CatalogError> {
        while self.find::<ShareLink>(&[&item.slug]).await?.is_some() {
            item.slug = share_link::random_slug()?;
        }
        Ok(())
    }

    async fn remove<T: Entity>(&mut self, key: &[&str]) -> Result<(), CatalogError> {
        self.forget();
        let before = self.find::<T>(key).await?;
        let changes = difference(T::KIND.word(), before.as_ref(), None);
        self.audit(Deed::new("delete", T::KIND.word(), key.join("/")).with(changes));
        let sql = format!("DELETE FROM {} WHERE {}", T::KIND.table(), super::read::key_is::<T>());
        let query = key.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, part| query.bind((*part).to_owned()));
        query.execute(self.tx().await?).await?;
        self.pending.push((T::KIND, key.join("/")));
        self.write_changes(self.changes_max).await
    }

    /// The first column of the rows that `condition` (over `$1`, `$2`) finds.
    async fn keys(&mut self, sql: &'static str, parts: &[&str], limit: i64) -> Result<Vec<String>, CatalogError> {
        let query = parts.iter().fold(sqlx::query(sql), |query, part| query.bind((*part).to_owned()));
        let rows = query.bind(limit).fetch_all(self.tx().await?).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Takes along what only makes sense with the item, and says what else refers to it.
    async fn clear_way(&mut self, kind: Kind, key: &[&str], cascade: bool) -> Result<Vec<String>, CatalogError> {
        if cascade {
            for slug in match kind {
                Kind::Link => self.keys(SHARE_LINKS_OF_LINK, key, i64::MAX).await?,
                Kind::Partner => self.keys(SHARE_LINKS_OF_PARTNER, key, i64::MAX).await?,
                Kind::Ad => self.keys(SHARE_LINKS_OF_AD, key, i64::MAX).await?,
                Kind::Program | Kind::ShareLink => Vec::new(),
            } {
                self.remove::<ShareLink>(&[&slug]).await?;
            }
            if kind == Kind::Partner {
                for ad in self.keys(ADS_OF_PARTNER, key, i64::MAX).await? {
                    self.remove::<super::Ad>(&[key[0], &ad]).await?;
                }
            }
        }
        let listed: Vec<String> = key.iter().map(|code| format!("%\"{}\"%", super::read::escape_like(code))).collect();
        let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
        let questions: &[(&str, &'static str, &[&str])] = match kind {
            Kind::Program => &[("links", LINKS_OF_PROGRAM, &listed), ("partners", PARTNERS_OF_PROGRAM, &listed)],
            Kind::Partner => &[
                ("partners below it", CHILDREN_OF_PARTNER, key),
                ("links", LINKS_OF_PARTNER, key),
                ("ads", ADS_OF_PARTNER, key),
                ("share links", SHARE_LINKS_OF_PARTNER, key),
            ],
            Kind::Link => &[("share links", SHARE_LINKS_OF_LINK, key)],
            Kind::Ad => &[("share links", SHARE_LINKS_OF_AD, key)],
            Kind::ShareLink => &[],
        };
        let mut by = Vec::new();
        for (what, sql, parts) in questions {
            let mut named = self.keys(sql, parts, NAMED_MAX + 1).await?;
            if named.len() > NAMED_MAX as usize {
                named[NAMED_MAX as usize] = "…".to_owned();
            }
            if !named.is_empty() {
                by.push(format!("{what}: {}", named.join(", ")));
            }
        }
        Ok(by)
    }
}

fn ad_or_none(link: &ShareLink) -> &str {
    link.ad.as_deref().unwrap_or_default()
}

const SHARE_LINKS_OF_LINK: &str = "SELECT slug FROM share_links WHERE link = $1 ORDER BY slug LIMIT $2";
const SHARE_LINKS_OF_PARTNER: &str = "SELECT slug FROM share_links WHERE partner = $1 ORDER BY slug LIMIT $2";
const SHARE_LINKS_OF_AD: &str = "SELECT slug FROM share_links WHERE partner = $1 AND ad = $2 ORDER BY slug LIMIT $3";
const ADS_OF_PARTNER: &str = "SELECT code FROM ads WHERE partner = $1 ORDER BY code LIMIT $2";
const LINKS_OF_PARTNER: &str = "SELECT code FROM links WHERE partner = $1 ORDER BY code LIMIT $2";
const CHILDREN_OF_PARTNER: &str = "SELECT code FROM partners WHERE parent = $1 ORDER BY code LIMIT $2";
const LINKS_OF_PROGRAM: &str = "SELECT code FROM links WHERE programs LIKE $1 ESCAPE '\\' LIMIT $2";
const PARTNERS_OF_PROGRAM: &str = "SELECT code FROM partners WHERE programs LIKE $1 ESCAPE '\\' LIMIT $2";

/// `INSERT … VALUES (…), (…) ON CONFLICT … DO UPDATE`: everything but the time of creation is replaced. `$1` is the time.
fn upsert_sql<T: Entity>(rows: usize) -> String {
    let columns = T::COLUMNS.join(", ");
    let width = T::COLUMNS.len();
    let mut sql = format!("INSERT INTO {} ({columns}, created_at, updated_at) VALUES ", T::KIND.table());
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..width {
            use std::fmt::Write;
            let _ = write!(sql, "${}, ", row * width + column + 2);
        }
        sql.push_str("$1, $1)");
    }
    let replaced: Vec<String> = T::COLUMNS
        .iter()
        .filter(|column| !T::KEY.contains(column))
        .chain(&["updated_at"])
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    format!("{sql} ON CONFLICT ({}) DO UPDATE SET {}", T::KEY.join(", "), replaced.join(", "))
}

/// `$1` is the first sequence number, `$2` the time, `$3` the mark; then a kind and a code each.
fn changes_sql(rows: usize) -> String {
    let values: Vec<String> = (0..rows)
        .map(|row| format!("(CAST($1 AS BIGINT) + {row}, ${}, ${}, $2, $3)", 2 * row + 4, 2 * row + 5))
        .collect();
    format!("INSERT INTO changes (seq, kind, code, at_ms, mark) VALUES {}", values.join(", "))
}

impl Catalog {
    /// Creates or replaces an item. Returns it as stored, and whether it is new.
    pub async fn put<T: Entity>(&self, mut item: T) -> Result<(T, bool), CatalogError> {
        let mut writing = Writing::begin(self).await?;
        writing.check_one(&item).await?;
        let before = writing.find::<T>(&item.key_parts()).await?;
        let created = before.is_none();
        writing.upsert(std::slice::from_ref(&item)).await?;
        match writing.find::<T>(&item.key_parts()).await? {
            Some(stored) => item = stored,
            None => return Err(CatalogError::Corrupt("a row that was just written is not there".to_owned())),
        }
        let action = if created { "create" } else { "update" };
        let changes = difference(T::KIND.word(), before.as_ref(), Some(&item));
        writing.audit(Deed::new(action, T::KIND.word(), item.key()).with(changes));
        writing.commit().await?;
        Ok((item, created))
    }

    /// The share link of this link, partner and ad: the one that is there already, unless the wanted one has a slug of its
    /// own. Returns it, and whether it is new.
    pub async fn share(&self, mut wanted: ShareLink) -> Result<(ShareLink, bool), CatalogError> {
        let mut writing = Writing::begin(self).await?;
        writing.check_one(&wanted).await?;
        let there = if wanted.generated {
            writing.same_share_link(&wanted).await?
        } else {
            writing.find::<ShareLink>(&[&wanted.slug]).await?
        };
        if let Some(there) = there {
            writing.rollback().await?;
            let same = (&there.link, &there.partner, &there.ad) == (&wanted.link, &wanted.partner, &wanted.ad);
            return if same { Ok((there, false)) } else { Err(CatalogError::Taken { slug: wanted.slug.to_string() }) };
        }
        if wanted.generated {
            writing.settle_slug(&mut wanted).await?;
        }
        wanted.set_times(writing.now, writing.now);
        writing.upsert(std::slice::from_ref(&wanted)).await?;
        let changes = difference(Kind::ShareLink.word(), None, Some(&wanted));
        writing.audit(Deed::new("create", Kind::ShareLink.word(), wanted.key()).with(changes));
        writing.commit().await?;
        wanted.generated = false;
        Ok((wanted, true))
    }

    /// Deletes an item. What refers to it stands in the way ([`CatalogError::InUse`]); with `cascade`, share links, and a
    /// partner's ads, go with it.
    pub async fn delete<T: Entity>(&self, key: &[&str], cascade: bool) -> Result<(), CatalogError> {
        let (kind, code) = (T::KIND.label(), key.join("/"));
        let mut writing = Writing::begin(self).await?;
        if writing.find::<T>(key).await?.is_none() {
            return Err(CatalogError::NotFound { kind, code });
        }
        let by = writing.clear_way(T::KIND, key, cascade).await?;
        if !by.is_empty() {
            return Err(CatalogError::InUse { kind, code, by });
        }
        writing.remove::<T>(key).await?;
        writing.commit().await
    }
}
