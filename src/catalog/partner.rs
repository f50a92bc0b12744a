//! Partners: whoever shares.

use serde::Serialize;

use super::{
    entity::{Binder, Entity, Kind, Reference, RowReader},
    error::CatalogError,
    fields::{Reader, Source},
    sheet::join,
};
use crate::core::{code::Code, limits::NAME_MAX_CHARS, program::Status, time::Millis};

/// Whoever shares: a customer or an affiliate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Partner {
    #[schema(required = false, value_type = String, example = "abc123")]
    pub code: Code,
    #[schema(required = false)]
    pub name: String,
    #[schema(required = false)]
    pub first_name: String,
    pub email: Option<String>,
    /// The partner above this one. It exists, and nobody is above himself.
    #[schema(value_type = Option<String>)]
    pub parent: Option<Code>,
    /// Programs that the partner is in, the preferred one first; empty means all.
    #[schema(required = false, value_type = Vec<String>)]
    pub programs: Vec<Code>,
    #[schema(required = false)]
    pub status: Status,
    /// Links that the partner may use; empty means all. A link that does not exist yet may be named.
    #[schema(required = false, value_type = Vec<String>)]
    pub allowed: Vec<Code>,
    #[schema(value_type = String, format = DateTime, read_only)]
    pub created_at: Millis,
    #[schema(value_type = String, format = DateTime, read_only)]
    pub updated_at: Millis,
}

impl Entity for Partner {
    const KIND: Kind = Kind::Partner;
    const FIELDS: &'static [&'static str] =
        &["code", "name", "first_name", "email", "parent", "programs", "status", "allowed"];
    const COLUMNS: &'static [&'static str] = Self::FIELDS;
    const SEARCHED: &'static [&'static str] = &["code", "name", "first_name", "email"];

    fn read<S: Source>(reader: &mut Reader<'_, S>) -> Option<Partner> {
        let code = reader.code("code");
        let partner = Partner {
            code: "none".parse().ok()?,
            name: reader.line("name", NAME_MAX_CHARS),
            first_name: reader.line("first_name", NAME_MAX_CHARS),
            email: reader.email("email"),
            parent: reader.optional_code("parent"),
            programs: reader.codes("programs"),
            status: reader.word("status", Status::default(), Status::WORDS, Status::from_word),
            allowed: reader.codes("allowed"),
            created_at: Millis(0),
            updated_at: Millis(0),
        };
        if code.is_some() && partner.parent == code {
            reader.mistake("parent", "is the partner itself: name another partner, or none");
        }
        Some(Partner { code: code?, ..partner })
    }

    fn bind(&self, row: &mut Binder) {
        row.text(&self.code);
        row.text(&self.name);
        row.text(&self.first_name);
        row.optional_text(self.email.as_deref());
        row.optional_text(self.parent.as_deref());
        row.json(&self.programs);
        row.text(self.status.word());
        row.json(&self.allowed);
    }

    fn from_row(row: &mut RowReader<'_>) -> Result<Partner, CatalogError> {
        Ok(Partner {
            code: row.code()?,
            name: row.text()?.to_owned(),
            first_name: row.text()?.to_owned(),
            email: row.optional_text()?.map(str::to_owned),
            parent: row.optional_code()?,
            programs: row.json()?,
            status: row.word(Status::from_word)?,
            allowed: row.json()?,
            created_at: Millis(row.integer()?),
            updated_at: Millis(row.integer()?),
        })
    }

    fn key_parts(&self) -> Vec<&str> {
        vec![&self.code]
    }

    fn references(&self) -> Vec<Reference> {
        let parent = self.parent.iter().map(|parent| Reference::new("parent", Kind::Partner, parent));
        parent.chain(Reference::list("programs", Kind::Program, &self.programs)).collect()
    }

    fn set_times(&mut self, created_at: Millis, updated_at: Millis) {
        (self.created_at, self.updated_at) = (created_at, updated_at);
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.code.to_string(),
            self.name.clone(),
            self.first_name.clone(),
            self.email.clone().unwrap_or_default(),
            self.parent.as_ref().map(Code::to_string).unwrap_or_default(),
            join(&self.programs),
            self.status.word().to_owned(),
            join(&self.allowed),
        ]
    }
}
