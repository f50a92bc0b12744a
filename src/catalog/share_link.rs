//! Share links: slugs, each for one (link, partner, ad).

use serde::Serialize;

use super::{
    entity::{Binder, Entity, Kind, Reference, RowReader},
    error::CatalogError,
    fields::{Reader, Source},
};
use crate::core::{code::Code, limits::SLUG_GENERATED_CHARS, time::Millis};

/// Letters and digits that nobody takes for one another: no 0 o, 1 l i.
const ALPHABET: &[u8; 31] = b"23456789abcdefghjkmnpqrstuvwxyz";

/// The short link of one partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ShareLink {
    #[schema(value_type = String, example = "k3vw9xq2")]
    pub slug: Code,
    #[schema(value_type = String, example = "haircare")]
    pub link: Code,
    #[schema(value_type = String, example = "abc123")]
    pub partner: Code,
    /// An ad of that partner.
    #[schema(value_type = Option<String>, example = "website2")]
    pub ad: Option<Code>,
    #[schema(value_type = String, format = DateTime, read_only)]
    pub created_at: Millis,
    #[schema(value_type = String, format = DateTime, read_only)]
    pub updated_at: Millis,
    /// Nobody chose the slug: if there is a share link of the same link, partner and ad, that one is meant.
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) generated: bool,
}

/// A slug of random letters. 248 = 8 × 31: bytes from there on are thrown away, so that every letter is equally likely.
pub(super) fn random_slug() -> Result<Code, CatalogError> {
    loop {
        let mut slug = String::with_capacity(SLUG_GENERATED_CHARS);
        let bytes = crate::io::random::bytes::<{ 2 * SLUG_GENERATED_CHARS }>()?;
        for byte in bytes.into_iter().filter(|byte| *byte < 248).take(SLUG_GENERATED_CHARS) {
            slug.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
        }
        if slug.len() == SLUG_GENERATED_CHARS
            && let Ok(slug) = Code::slug(&slug)
        {
            return Ok(slug);
        }
    }
}

impl Entity for ShareLink {
    const KIND: Kind = Kind::ShareLink;
    const FIELDS: &'static [&'static str] = &["slug", "link", "partner", "ad"];
    const COLUMNS: &'static [&'static str] = Self::FIELDS;
    const KEY: &'static [&'static str] = &["slug"];
    const SEARCHED: &'static [&'static str] = &["slug", "link", "partner"];

    fn read<S: Source>(reader: &mut Reader<'_, S>) -> Option<ShareLink> {
        let before = reader.mistakes.len();
        let given = reader.checked("slug", Code::slug);
        let generated = given.is_none() && reader.mistakes.len() == before;
        let slug = if generated {
            random_slug().map_err(|error| reader.mistake("slug", error.to_string())).ok()
        } else {
            given
        };
        let link = reader.code("link");
        let partner = reader.code("partner");
        let ad = reader.optional_code("ad");
        Some(ShareLink {
            slug: slug?,
            link: link?,
            partner: partner?,
            ad,
            created_at: Millis(0),
            updated_at: Millis(0),
            generated,
        })
    }

    fn bind(&self, row: &mut Binder) {
        row.text(&self.slug);
        row.text(&self.link);
        row.text(&self.partner);
        row.optional_text(self.ad.as_deref());
    }

    fn from_row(row: &mut RowReader<'_>) -> Result<ShareLink, CatalogError> {
        Ok(ShareLink {
            slug: row.code()?,
            link: row.code()?,
            partner: row.code()?,
            ad: row.optional_code()?,
            created_at: Millis(row.integer()?),
            updated_at: Millis(row.integer()?),
            generated: false,
        })
    }

    fn key_parts(&self) -> Vec<&str> {
        vec![&self.slug]
    }

    fn references(&self) -> Vec<Reference> {
        let mut references = vec![
            Reference::new("link", Kind::Link, &self.link),
            Reference::new("partner", Kind::Partner, &self.partner),
        ];
        references.extend(self.ad.iter().map(|ad| Reference::new("ad", Kind::Ad, &format!("{}/{ad}", self.partner))));
        references
    }

    fn set_times(&mut self, created_at: Millis, updated_at: Millis) {
        (self.created_at, self.updated_at) = (created_at, updated_at);
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.slug.to_string(),
            self.link.to_string(),
            self.partner.to_string(),
            self.ad.as_ref().map(Code::to_string).unwrap_or_default(),
        ]
    }
}
