//! Many items in one transaction: the import.
//!
//! Order does not matter: a partner whose parent stands further down waits until the end. What is refused is handed back
//! with its reasons; whoever imports decides whether the rest is committed.

use std::collections::{HashMap, hash_map::Entry};

use super::{
    Catalog, CatalogError, Entity, Kind, Mistake, ShareLink,
    audit::{Change, Deed, difference},
    write::Writing,
};
use crate::core::limits::{AUDIT_IMPORT_ROWS, LOOKUP_CODES};

/// An item and where it came from.
#[derive(Clone, Debug)]
pub struct Row<T, C> {
    /// Number of the line, for messages.
    pub line: u64,
    pub item: T,
    /// What the caller wants back with a refusal.
    pub cargo: C,
}

/// A line that was not taken.
#[derive(Debug)]
pub struct Refused<C> {
    pub line: u64,
    pub mistakes: Vec<Mistake>,
    pub cargo: C,
}

/// An import. Dropping it takes everything back.
#[derive(Debug)]
pub struct Bulk<T, C> {
    writing: Writing,
    /// The line in which a key was seen first.
    seen: HashMap<String, u64, foldhash::fast::RandomState>,
    /// Partners whose parent is not there yet.
    waiting: Vec<Row<T, C>>,
    stored: u64,
}

impl<T: Entity, C> Bulk<T, C> {
    /// Begins; from here to the end nobody else writes.
    pub async fn begin(catalog: &Catalog) -> Result<Bulk<T, C>, CatalogError> {
        let writing = Writing::begin(catalog).await?;
        Ok(Bulk { writing, seen: HashMap::default(), waiting: Vec::new(), stored: 0 })
    }

    /// Takes some rows; returns those that are refused.
    pub async fn add(&mut self, rows: Vec<Row<T, C>>) -> Result<Vec<Refused<C>>, CatalogError> {
        let mut refused = Vec::new();
        let mut fresh = Vec::with_capacity(rows.len());
        for row in rows {
            match self.seen.entry(row.item.key()) {
                Entry::Vacant(place) => {
                    place.insert(row.line);
                    fresh.push(row);
                }
                Entry::Occupied(place) => {
                    let problem = format!("`{}` stands in line {} already: keep one", place.key(), place.get());
                    let mistakes = vec![Mistake::new(T::KEY[T::KEY.len() - 1], problem)];
                    refused.push(Refused { line: row.line, mistakes, cargo: row.cargo });
                }
            }
        }
        let (_, later) = self.take(fresh).await?;
        for (row, mistakes) in later {
            if T::KIND == Kind::Partner && mistakes.iter().all(|mistake| mistake.field == "parent") {
                self.waiting.push(row);
            } else {
                refused.push(Refused { line: row.line, mistakes, cargo: row.cargo });
            }
        }
        Ok(refused)
    }

    /// Stores the rows whose references are there, in their order; returns how many, and the others with what they lack.
    async fn take(&mut self, rows: Vec<Row<T, C>>) -> Result<(usize, Vec<(Row<T, C>, Vec<Mistake>)>), CatalogError> {
        let mut others = Vec::new();
        let mut items = Vec::with_capacity(rows.len());
        let references: Vec<_> = rows.iter().map(|row| row.item.references()).collect();
        self.writing.look_up(references.iter().flatten()).await?;
        for (row, references) in rows.into_iter().zip(references) {
            let mistakes = self.writing.missing(&row.item, &references).await?;
            if mistakes.is_empty() {
                self.writing.known.accept(&row.item, &references);
                items.push(row.item);
            } else {
                others.push((row, mistakes));
            }
        }
        let taken = items.len();
        self.store(items).await?;
        self.stored += taken as u64;
        Ok((taken, others))
    }

    async fn store(&mut self, items: Vec<T>) -> Result<(), CatalogError> {
        if self.stored + items.len() as u64 <= AUDIT_IMPORT_ROWS {
            self.audit(&items).await?;
        }
        let Some(share_links) = (&items as &dyn std::any::Any).downcast_ref::<Vec<ShareLink>>() else {
            return self.writing.upsert(&items).await;
        };
        let (generated, given): (Vec<&ShareLink>, Vec<&ShareLink>) = share_links.iter().partition(|l| l.generated);
        let given: Vec<ShareLink> = given.into_iter().cloned().collect();
        self.writing.upsert(&given).await?;
        for chunk in generated.chunks(LOOKUP_CODES) {
            self.writing.share_new(chunk).await?;
        }
        Ok(())
    }

    /// A row of the audit log for each item that is not as it was. Slugs that are drawn have their row in the import's own.
    async fn audit(&mut self, items: &[T]) -> Result<(), CatalogError> {
        for item in items {
            let drawn = (item as &dyn std::any::Any).downcast_ref::<ShareLink>().is_some_and(|link| link.generated);
            let before = if drawn { None } else { self.writing.find::<T>(&item.key_parts()).await? };
            let changes = difference(T::KIND.word(), before.as_ref(), Some(item));
            if !drawn && !changes.is_empty() {
                let action = if before.is_some() { "update" } else { "create" };
                self.writing.audit(Deed::new(action, T::KIND.word(), item.key()).with(changes));
            }
        }
        Ok(())
    }

    /// Settles the rows that wait for others: again and again, as long as that brings something. Returns those that are
    /// left over.
    pub async fn settle(&mut self) -> Result<Vec<Refused<C>>, CatalogError> {
        let mut rows = std::mem::take(&mut self.waiting);
        loop {
            let (taken, others) = self.take(rows).await?;
            if taken == 0 {
                let refuse = |(row, mistakes): (Row<T, C>, _)| Refused { line: row.line, mistakes, cargo: row.cargo };
                return Ok(others.into_iter().map(refuse).collect());
            }
            rows = others.into_iter().map(|(row, _)| row).collect();
        }
    }

    /// Items stored so far.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    pub async fn commit(mut self) -> Result<u64, CatalogError> {
        let items = Change::new("items", serde_json::Value::Null, self.stored);
        self.writing.audit(Deed::new("import", T::KIND.word(), "").with(vec![items]));
        self.writing.commit().await?;
        Ok(self.stored)
    }

    pub async fn rollback(self) -> Result<(), CatalogError> {
        self.writing.rollback().await
    }
}
