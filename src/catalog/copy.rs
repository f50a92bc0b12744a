//! A catalog as it is, in another database: every row of every table, with the feed's position and marks, so that an edge
//! goes on from where it was when its catalog moves.
//!
//! **Promise.** The target holds exactly what the source held while nobody could write there, or is as it was before: one
//! transaction. It is committed only when the rows read back from it have the same number and the same checksum, table by
//! table, as the rows read from the source.
//!
//! The tables are those that the migrations make, the columns those that the database has: who adds one need not come here.

use futures_util::TryStreamExt;
use sqlx::{
    Any, AnyConnection, AssertSqlSafe, Row, Transaction,
    any::{AnyArguments, AnyRow},
};

use super::{
    Catalog, CatalogError,
    entity::Binder,
    schema,
    vendor::{ColumnType, Vendor},
};
use crate::core::limits::COPY_PARAMETERS_MAX;

#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("the source: {0}")]
    Source(CatalogError),
    #[error("the target: {0}")]
    Target(CatalogError),
    #[error("source and target are the same, {0}: name two catalogs")]
    Same(String),
    #[error(
        "there is a catalog in {place} already (rows in {}): choose an empty database, or say --replace to lose what is there",
        .tables.join(", ")
    )]
    NotEmpty { place: String, tables: Vec<&'static str> },
    #[error("the table {0} has other columns in the target: start this version of Fingerpost on both first")]
    Columns(&'static str),
    /// Nothing was changed.
    #[error("the copy is not equal to its source, and was taken back")]
    Different(Vec<Copied>),
}

/// What a table holds: the number of its rows, and the sum of their hashes, which no order changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub rows: u64,
    pub checksum: u128,
}

/// The proof for one table: each sum is of rows as they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    pub table: &'static str,
    pub source: Sum,
    pub target: Sum,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub table: &'static str,
    /// Rows that were written, and rows that were read back.
    pub done: u64,
    /// Twice the source's rows.
    pub total: u64,
}

/// A table as a copy sees it.
#[derive(Debug)]
struct Table {
    name: &'static str,
    /// In the order of names.
    columns: Vec<(String, ColumnType)>,
}

impl Catalog {
    /// Copies this catalog into an empty one, or, with `replace`, in the place of what is there. Meanwhile nobody can write to
    /// either, nor read a target in PostgreSQL, whose references are made anew.
    pub async fn copy_to(
        &self,
        target: &Catalog,
        replace: bool,
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<Copied>, CopyError> {
        if self.place() == target.place() {
            return Err(CopyError::Same(self.place()));
        }
        let mut from = lock(self, false).await.map_err(CopyError::Source)?;
        let mut to = lock(target, true).await.map_err(CopyError::Target)?;
        let tables = tables(self, &mut from, target, &mut to).await?;
        let filled = filled(&mut to).await.map_err(CopyError::Target)?;
        if !filled.is_empty() && !replace {
            return Err(CopyError::NotEmpty { place: target.place(), tables: filled });
        }
        let mut total = 0;
        for table in &tables {
            total += 2 * count(&mut from, table.name).await.map_err(CopyError::Source)?;
        }
        let mut done = 0;
        let mut step = |table, rows| {
            done += rows;
            progress(Progress { table, done, total });
        };

        let into = |error: CatalogError| CopyError::Target(error);
        let references = target.shared.vendor.references(&mut to, schema::tables()).await.map_err(into)?;
        for reference in &references {
            run(&mut to, &reference.drop).await.map_err(into)?;
        }
        for table in &tables {
            run(&mut to, &format!("DELETE FROM {}", table.name)).await.map_err(into)?;
        }
        let mut copied = Vec::with_capacity(tables.len());
        for table in &tables {
            let source = table.copy(&mut from, &mut to, &target.shared.vendor, &mut step).await?;
            copied.push(Copied { table: table.name, source, target: Sum::default() });
        }
        for reference in references.iter().filter(|reference| !reference.add.is_empty()) {
            run(&mut to, &reference.add).await.map_err(into)?;
        }
        for (table, copied) in tables.iter().zip(&mut copied) {
            copied.target = table.sum(&mut to, &mut step).await.map_err(into)?;
        }
        if copied.iter().any(|table| table.source != table.target) {
            return Err(CopyError::Different(copied));
        }
        if let Some(hint) = target.shared.vendor.hint() {
            run(&mut to, hint).await.map_err(into)?;
        }
        to.commit().await.map_err(|error| into(error.into()))?;
        target.shared.committed.notify_one();
        Ok(copied)
    }
}

/// A transaction beside which nobody writes, to any table: so all of its statements see the same.
async fn lock(catalog: &Catalog, writes: bool) -> Result<Transaction<'static, Any>, CatalogError> {
    let mut tx = catalog.writing().await?;
    for statement in catalog.shared.vendor.lock_tables(schema::tables(), writes) {
        run(&mut tx, &statement).await?;
    }
    Ok(tx)
}

/// All tables, which have the same columns on both sides.
async fn tables(
    source: &Catalog,
    from: &mut AnyConnection,
    target: &Catalog,
    to: &mut AnyConnection,
) -> Result<Vec<Table>, CopyError> {
    let mut tables = Vec::new();
    for name in schema::tables() {
        let columns = source.shared.vendor.columns(from, name).await.map_err(CopyError::Source)?;
        if target.shared.vendor.columns(to, name).await.map_err(CopyError::Target)? != columns || columns.is_empty() {
            return Err(CopyError::Columns(name));
        }
        tables.push(Table { name, columns });
    }
    Ok(tables)
}

/// Tables with rows that a new catalog does not have. Rows that it has from the beginning are as they were as long as the
/// feed and the outbox have given no number.
async fn filled(connection: &mut AnyConnection) -> Result<Vec<&'static str>, CatalogError> {
    let mut filled = Vec::new();
    for name in schema::tables() {
        let sql = match *name {
            "feed" | "outbox_head" => format!("SELECT 1 FROM {name} WHERE next > 1"),
            name if schema::seeded().contains(&name) => continue,
            name => format!("SELECT 1 FROM {name} LIMIT 1"),
        };
        if sqlx::query(AssertSqlSafe(sql)).fetch_optional(&mut *connection).await?.is_some() {
            filled.push(*name);
        }
    }
    Ok(filled)
}

async fn count(connection: &mut AnyConnection, table: &str) -> Result<u64, CatalogError> {
    let sql = format!("SELECT CAST(count(*) AS BIGINT) FROM {table}");
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(connection).await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}

async fn run(connection: &mut AnyConnection, sql: &str) -> Result<(), CatalogError> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await?;
    Ok(())
}

impl Table {
    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn select(&self) -> AssertSqlSafe<String> {
        AssertSqlSafe(format!("SELECT {} FROM {}", self.names(), self.name))
    }

    fn insert(&self, rows: usize) -> AssertSqlSafe<String> {
        let width = self.columns.len();
        let row = |row: usize| (1..=width).map(|n| format!("${}", row * width + n)).collect::<Vec<_>>().join(", ");
        let rows: Vec<String> = (0..rows).map(|n| format!("({})", row(n))).collect();
        AssertSqlSafe(format!("INSERT INTO {} ({}) VALUES {}", self.name, self.names(), rows.join(", ")))
    }

    /// Adds a row to the sum, and to the parameters of a statement where there is one.
    fn take(&self, row: &AnyRow, sum: &mut Sum, mut into: Option<&mut Binder>) -> Result<(), CatalogError> {
        let mut hasher = blake3::Hasher::new();
        for (at, (_, kind)) in self.columns.iter().enumerate() {
            match kind {
                ColumnType::Text => {
                    let text: Option<&str> = row.try_get(at)?;
                    hash(&mut hasher, b't', text.map(str::as_bytes));
                    if let Some(into) = &mut into {
                        into.optional_text(text);
                    }
                }
                ColumnType::Integer => {
                    let integer: Option<i64> = row.try_get(at)?;
                    hash(&mut hasher, b'i', integer.map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
                    if let Some(into) = &mut into {
                        into.optional_integer(integer);
                    }
                }
            }
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        sum.checksum = sum.checksum.wrapping_add(u128::from_le_bytes(bytes));
        sum.rows += 1;
        Ok(())
    }

    async fn copy(
        &self,
        from: &mut AnyConnection,
        to: &mut AnyConnection,
        vendor: &Vendor,
        step: &mut impl FnMut(&'static str, u64),
    ) -> Result<Sum, CopyError> {
        let most = vendor.bulk().0.min(COPY_PARAMETERS_MAX / self.columns.len()).max(1);
        let (mut sum, mut waiting, mut values) = (Sum::default(), 0, Binder::default());
        let mut rows = sqlx::query(self.select()).fetch(from);
        loop {
            let row = rows.try_next().await.map_err(|error| CopyError::Source(error.into()))?;
            if let Some(row) = &row {
                self.take(row, &mut sum, Some(&mut values)).map_err(CopyError::Source)?;
                waiting += 1;
            }
            if waiting == most || (row.is_none() && waiting > 0) {
                let values = std::mem::take(&mut values).arguments;
                self.write(to, waiting, values, waiting == most).await.map_err(CopyError::Target)?;
                step(self.name, waiting as u64);
                waiting = 0;
            }
            if row.is_none() {
                return Ok(sum);
            }
        }
    }

    async fn write(
        &self,
        to: &mut AnyConnection,
        rows: usize,
        values: AnyArguments,
        again: bool,
    ) -> Result<(), CatalogError> {
        sqlx::query_with(self.insert(rows), values).persistent(again).execute(to).await?;
        Ok(())
    }

    /// Reads the table.
    async fn sum(
        &self,
        connection: &mut AnyConnection,
        step: &mut impl FnMut(&'static str, u64),
    ) -> Result<Sum, CatalogError> {
        let mut sum = Sum::default();
        let mut rows = sqlx::query(self.select()).fetch(connection);
        while let Some(row) = rows.try_next().await? {
            self.take(&row, &mut sum, None)?;
            step(self.name, 1);
        }
        Ok(sum)
    }
}

/// A value with its type and length, so that no two rows look alike.
fn hash(hasher: &mut blake3::Hasher, kind: u8, value: Option<&[u8]>) {
    match value {
        None => drop(hasher.update(b"-")),
        Some(value) => {
            hasher.update(&[kind]).update(&(value.len() as u64).to_le_bytes()).update(value);
        }
    }
}
