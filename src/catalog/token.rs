//! The admin token: made on first start, kept as a hash.
//!
//! The token is 32 random bytes, so a plain hash is enough (nothing can be guessed from it). The file in the data folder is
//! for the operator; when it is lost the hash still verifies what was noted elsewhere.

use std::{io::Write, path::Path};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sqlx::Row;

use super::{Catalog, CatalogError};

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
                path: file.to_path_buf(),
                problem: format!("the admin token cannot be written: {error}"),
            }
        })?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2")
            .bind(HASH)
            .bind(HEXLOWER.encode(hash(&token).as_bytes()))
            .execute(self.writer().await?)
            .await?;
        Ok(TokenState::Made)
    }

    async fn stored_hash(&self) -> Result<Option<blake3::Hash>, CatalogError> {
        let row = sqlx::query("SELECT value FROM meta WHERE name = $1")
            .bind(HASH)
            .fetch_optional(self.readers().await?)
            .await?;
        let Some(row) = row else { return Ok(None) };
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
