//! Whether what an item mentions exists, asked once for each code of a transaction.

use std::collections::{HashMap, HashSet};

use sqlx::{AssertSqlSafe, Row};

use super::{CatalogError, Entity, Kind, Mistake, entity::Reference, write::Writing};
use crate::core::limits::{LOOKUP_CODES, PARENTS_MAX};

/// What a transaction has learnt about other items.
#[derive(Debug, Default)]
pub(super) struct Known {
    exists: HashMap<Kind, HashMap<String, bool, foldhash::fast::RandomState>>,
    /// A partner's parent, as it is or will be with this transaction.
    parents: HashMap<String, Option<String>, foldhash::fast::RandomState>,
}

impl Known {
    fn exists(&self, reference: &Reference) -> bool {
        self.exists.get(&reference.kind).and_then(|keys| keys.get(&reference.key)).copied().unwrap_or(false)
    }

    /// An item that this transaction writes.
    pub(super) fn accept<T: Entity>(&mut self, item: &T, references: &[Reference]) {
        if T::KIND == Kind::Partner {
            let parent = references.iter().find(|r| r.kind == Kind::Partner).map(|r| r.key.clone());
            self.parents.insert(item.key(), parent);
            self.exists.entry(Kind::Partner).or_default().insert(item.key(), true);
        }
    }
}

impl Writing {
    /// Refuses a single item that mentions what is not there.
    pub(super) async fn check_one<T: Entity>(&mut self, item: &T) -> Result<(), CatalogError> {
        let references = item.references();
        self.look_up(references.iter()).await?;
        let mistakes = self.missing(item, &references).await?;
        if mistakes.is_empty() { Ok(()) } else { Err(CatalogError::Invalid(mistakes)) }
    }

    /// Asks the database about all codes that are not known yet.
    pub(super) async fn look_up<'r>(
        &mut self,
        references: impl Iterator<Item = &'r Reference>,
    ) -> Result<(), CatalogError> {
        let mut unknown: HashMap<Kind, HashSet<&str>> = HashMap::new();
        for reference in references {
            if !self.known.exists.get(&reference.kind).is_some_and(|keys| keys.contains_key(&reference.key)) {
                unknown.entry(reference.kind).or_default().insert(&reference.key);
            }
        }
        for (kind, keys) in unknown {
            let keys: Vec<&str> = keys.into_iter().collect();
            for chunk in keys.chunks(LOOKUP_CODES) {
                let found = self.existing(kind, chunk).await?;
                let known = self.known.exists.entry(kind).or_default();
                known.extend(chunk.iter().map(|key| ((*key).to_owned(), found.contains(*key))));
            }
        }
        Ok(())
    }

    /// Which of these keys are there.
    pub(super) async fn existing(&mut self, kind: Kind, keys: &[&str]) -> Result<HashSet<String>, CatalogError> {
        let sql = match kind {
            Kind::Ad => {
                format!("SELECT partner, code FROM ads WHERE (partner, code) IN (VALUES {})", pairs(keys.len()))
            }
            Kind::ShareLink => format!("SELECT slug FROM share_links WHERE slug IN ({})", singles(keys.len())),
            _ => format!("SELECT code FROM {} WHERE code IN ({})", kind.table(), singles(keys.len())),
        };
        let query = keys
            .iter()
            .flat_map(|key| key.split('/'))
            .fold(sqlx::query(AssertSqlSafe(sql)), |query, part| query.bind(part.to_owned()));
        // Sizes differ from call to call: no use in keeping each statement.
        let rows = query.persistent(keys.len() == 1).fetch_all(self.tx().await?).await?;
        rows.iter()
            .map(|row| {
                let first: String = row.try_get(0)?;
                Ok(if kind == Kind::Ad { format!("{first}/{}", row.try_get::<String, _>(1)?) } else { first })
            })
            .collect()
    }

    /// What an item mentions and is not there. The references were looked up before.
    pub(super) async fn missing<T: Entity>(
        &mut self,
        item: &T,
        references: &[Reference],
    ) -> Result<Vec<Mistake>, CatalogError> {
        let mut mistakes = Vec::new();
        for reference in references {
            let Reference { field, kind, key } = reference;
            if !self.known.exists(reference) {
                let hint = if *kind == Kind::Ad { "create it under that partner first" } else { "create it first" };
                mistakes.push(Mistake::new(field, format!("there is no {} `{key}`: {hint}", kind.label())));
            } else if T::KIND == Kind::Partner && *kind == Kind::Partner {
                mistakes.extend(self.parent_mistake(&item.key(), key).await?);
            }
        }
        Ok(mistakes)
    }

    /// Follows the parents upwards, to see that a partner does not stand above itself.
    async fn parent_mistake(&mut self, partner: &str, parent: &str) -> Result<Option<Mistake>, CatalogError> {
        let mut above = parent.to_owned();
        for _ in 0..PARENTS_MAX {
            if above == partner {
                let problem = format!("`{parent}` stands below `{partner}` already: that would be a circle");
                return Ok(Some(Mistake::new("parent", problem)));
            }
            match self.parent_of(&above).await? {
                Some(next) => above = next,
                None => return Ok(None),
            }
        }
        Ok(Some(Mistake::new("parent", format!("has more than {PARENTS_MAX} partners above it: use fewer levels"))))
    }

    async fn parent_of(&mut self, partner: &str) -> Result<Option<String>, CatalogError> {
        if let Some(parent) = self.known.parents.get(partner) {
            return Ok(parent.clone());
        }
        let row = sqlx::query("SELECT parent FROM partners WHERE code = $1")
            .bind(partner.to_owned())
            .fetch_optional(self.tx().await?)
            .await?;
        let parent: Option<String> = row.map(|row| row.try_get(0)).transpose()?.flatten();
        self.known.parents.insert(partner.to_owned(), parent.clone());
        Ok(parent)
    }
}

/// `$1, $2, …`
pub(super) fn singles(count: usize) -> String {
    (1..=count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

/// `($1, $2), ($3, $4), …`
pub(super) fn pairs(count: usize) -> String {
    (0..count).map(|n| format!("(${}, ${})", 2 * n + 1, 2 * n + 2)).collect::<Vec<_>>().join(", ")
}
