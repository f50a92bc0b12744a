//! The admin token: made on first start, kept as a hash.
//!
//! The token is 32 random bytes, so a plain hash is enough (nothing can be guessed from it). The file in the data folder is
//! for the operator; when it is lost the hash still verifies what was noted elsewhere.

use std::{io::Write, path::Path};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sqlx::Row;

use super::{
    Catalog, CatalogError,
    audit::{self, Deed},
};

const HASH: &str = "admin_token_hash";
const CONTEXT: &str = "fingerpost 2026 admin token v1";

/// How the token of an installation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It was made now and written to the file.
    Made,
    /// It was there before.
    Kept,
}

/// The hash that is stored.
fn hash(token: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key(CONTEXT, token.as_bytes()))
}

impl Catalog {
    /// Makes a token where the catalog has none, and writes it to `file` (mode 0600).
    pub async fn ensure_admin_token(&self, file: &Path) -> Result<TokenState, CatalogError> {
        if self.stored_hash().await?.is_some() {
            return Ok(TokenState::Kept);
        }
        let token = format!("fp_{}", BASE64URL_NOPAD.encode(&crate::io::random::bytes::<32>()?));
        // The file first: a hash whose token nobody has would lock everybody out.
        crate::io::disk::replace_file(file, 0o600, |out| writeln!(out, "{token}")).map_err(|error| {
            CatalogError::Open {
                place: file.display().to_string(),
                problem: format!("the admin token cannot be written: {error}"),
            }
        })?;
        let mut tx = self.writing().await?;
        let made = sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(HASH)
            .bind(HEXLOWER.encode(hash(&token).as_bytes()))
            .execute(&mut *tx)
            .await?;
        if made.rows_affected() > 0 {
            // Whoever came in with the one before has to show this one.
            sqlx::query("DELETE FROM sessions WHERE email = ''").execute(&mut *tx).await?;
            audit::note(&mut tx, self.shared.clock.now(), Deed::new("create", "token", "admin")).await?;
        }
        tx.commit().await?;
        if made.rows_affected() == 0 {
            // Another machine that began at the same moment has made the one that counts.
            std::fs::remove_file(file)?;
            return Ok(TokenState::Kept);
        }
        Ok(TokenState::Made)
    }

    async fn stored_hash(&self) -> Result<Option<blake3::Hash>, CatalogError> {
        let rows = self.rows(sqlx::query("SELECT value FROM meta WHERE name = $1").bind(HASH)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let value: String = row.try_get(0)?;
        let hash =
            blake3::Hash::from_hex(value).map_err(|e| CatalogError::Corrupt(format!("admin token hash: {e}")))?;
        Ok(Some(hash))
    }

    /// Whether this is the admin token. The comparison takes constant time.
    pub async fn is_admin_token(&self, token: &str) -> Result<bool, CatalogError> {
        // `blake3::Hash` compares in constant time.
        Ok(self.stored_hash().await?.is_some_and(|stored| stored == hash(token)))
    }
}
