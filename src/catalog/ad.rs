//! Ads: a partner's own labels for placements.

use serde::Serialize;

use super::{
    entity::{Binder, Entity, Kind, Reference, RowReader},
    error::CatalogError,
    fields::{Reader, Source},
};
use crate::core::{
    code::Code,
    limits::{DESCRIPTION_MAX_CHARS, MEDIA_TYPE_MAX_CHARS, NAME_MAX_CHARS},
    time::Millis,
};

/// A partner's own label for a placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Ad {
    #[schema(required = false, value_type = String, example = "abc123")]
    pub partner: Code,
    #[schema(required = false, value_type = String, example = "website2")]
    pub code: Code,
    #[schema(required = false)]
    pub name: String,
    #[schema(required = false)]
    pub description: String,
    /// In the partner's words, for example `banner`, `newsletter`, `podcast`.
    #[schema(required = false)]
    pub media_type: String,
    /// The day it began.
    #[schema(format = Date, example = "2026-03-01")]
    pub start_date: Option<String>,
    #[schema(value_type = String, format = DateTime, read_only)]
    pub created_at: Millis,
    #[schema(value_type = String, format = DateTime, read_only)]
    pub updated_at: Millis,
}

impl Entity for Ad {
    const KIND: Kind = Kind::Ad;
    const FIELDS: &'static [&'static str] = &["partner", "code", "name", "description", "media_type", "start_date"];
    const COLUMNS: &'static [&'static str] = Self::FIELDS;
    const KEY: &'static [&'static str] = &["partner", "code"];
    const SEARCHED: &'static [&'static str] = &["code", "name", "media_type"];

    fn read<S: Source>(reader: &mut Reader<'_, S>) -> Option<Ad> {
        let partner = reader.code("partner");
        let code = reader.code("code");
        let name = reader.line("name", NAME_MAX_CHARS);
        let description = reader.prose("description", DESCRIPTION_MAX_CHARS);
        let media_type = reader.line("media_type", MEDIA_TYPE_MAX_CHARS);
        let start_date = reader.date("start_date");
        Some(Ad {
            partner: partner?,
            code: code?,
            name,
            description,
            media_type,
            start_date,
            created_at: Millis(0),
            updated_at: Millis(0),
        })
    }

    fn bind(&self, row: &mut Binder) {
        row.text(&self.partner);
        row.text(&self.code);
        row.text(&self.name);
        row.text(&self.description);
        row.text(&self.media_type);
        row.optional_text(self.start_date.as_deref());
    }

    fn from_row(row: &mut RowReader<'_>) -> Result<Ad, CatalogError> {
        Ok(Ad {
            partner: row.code()?,
            code: row.code()?,
            name: row.text()?.to_owned(),
            description: row.text()?.to_owned(),
            media_type: row.text()?.to_owned(),
            start_date: row.optional_text()?.map(str::to_owned),
            created_at: Millis(row.integer()?),
            updated_at: Millis(row.integer()?),
        })
    }

    fn key_parts(&self) -> Vec<&str> {
        vec![&self.partner, &self.code]
    }

    fn references(&self) -> Vec<Reference> {
        vec![Reference::new("partner", Kind::Partner, &self.partner)]
    }

    fn set_times(&mut self, created_at: Millis, updated_at: Millis) {
        (self.created_at, self.updated_at) = (created_at, updated_at);
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.partner.to_string(),
            self.code.to_string(),
            self.name.clone(),
            self.description.clone(),
            self.media_type.clone(),
            self.start_date.clone().unwrap_or_default(),
        ]
    }
}
