//! What a request tells beyond its URL: where it comes from, what sent it, and which class of history it belongs to.
//!
//! Promises:
//! - Nothing here fails a request. What cannot be known is empty, and the click is recorded without it.
//! - An address goes in, a [`Place`] and a cut [`Prefix`] come out; the address itself is kept nowhere.
//! - What visitors send is bounded before it is looked at ([`crate::core::limits::AGENT_MAX_BYTES`]) and cut before it
//!   is kept ([`crate::core::limits::LABEL_MAX_BYTES`]).
//! - Databases are swapped whole, between two requests; a bad new file is an error and the old ones stay.
//!
//! Shared by all workers: [`Geo`] and [`Agents`]. Each worker's own, without a lock: [`GeoReader`] and [`AgentCache`].

use std::sync::Arc;

mod agent;
mod agent_cache;
mod class;
mod crawlers;
mod families;
mod geo;
mod geo_record;
mod language;

pub use agent::{Agent, Agents, Name, Verdict};
pub use agent_cache::AgentCache;
pub use class::{Purpose, Signals, classify};
pub use geo::{Geo, GeoError, GeoFiles, GeoReader, Place, Prefix, prefix};
pub use language::Language;

/// Everything that is loaded once and shared.
#[derive(Clone, Debug)]
pub struct Enrich {
    pub geo: Geo,
    pub agents: Arc<Agents>,
}

/// Why enrichment could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum EnrichError {
    #[error(transparent)]
    Geo(#[from] GeoError),
    /// Ours, and shipped inside: only a bad update of `config/agents` can make it.
    #[error("{0}")]
    Agents(String),
}

impl EnrichError {
    /// A short stable word for metrics and logs.
    pub fn tag(&self) -> &'static str {
        match self {
            EnrichError::Geo(error) => error.tag(),
            EnrichError::Agents(_) => "agents",
        }
    }
}

impl Enrich {
    /// Opens the databases and compiles the lists: `cargo bench --bench class` prints what that costs.
    pub fn load(files: GeoFiles<'_>) -> Result<Enrich, EnrichError> {
        Ok(Enrich { geo: Geo::load(files)?, agents: Arc::new(Agents::load().map_err(EnrichError::Agents)?) })
    }
}

/// The longest head of `text` that has at most `max` bytes and ends between two characters.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
