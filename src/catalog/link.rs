//! Links: destinations that partners may promote.

use serde::Serialize;

use super::{
    entity::{Binder, Entity, Kind, Reference, RowReader},
    error::CatalogError,
    fields::{Reader, Source},
    sheet::join,
};
use crate::core::{
    code::Code,
    limits::{NAME_MAX_CHARS, RULES_MAX_BYTES},
    preview::Preview,
    rule::{self, Rule},
    template,
    time::Millis,
};

/// A destination that partners may promote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Link {
    #[schema(required = false, value_type = String, example = "haircare")]
    pub code: Code,
    #[schema(required = false)]
    pub name: String,
    /// Where it leads: a template with placeholders behind the host.
    #[schema(example = "https://shop.example/haircare?src={partner}")]
    pub address: String,
    /// This partner only.
    #[schema(value_type = Option<String>)]
    pub partner: Option<Code>,
    /// These programs only; empty means all.
    #[schema(required = false, value_type = Vec<String>)]
    pub programs: Vec<Code>,
    /// The first rule whose conditions all hold chooses the destination.
    #[schema(required = false)]
    pub rules: Vec<Rule>,
    /// Where a visitor goes when the link is over or its partner may not use it.
    pub fallback: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Millis>,
    /// The link is over after that many counted clicks.
    #[schema(minimum = 1)]
    pub max_clicks: Option<u64>,
    /// Hosts that `?to=` may name: exact; empty allows none.
    #[schema(required = false)]
    pub to_hosts: Vec<String>,
    /// Query parameter of the click token; null means `fpc`.
    pub click_parameter: Option<String>,
    /// Query parameter that carries the partner's code to the landing page.
    pub partner_parameter: Option<String>,
    /// Query parameter that carries the ad's code to the landing page.
    pub ad_parameter: Option<String>,
    /// How chats show the link; what is missing is the program's.
    pub preview: Option<Preview>,
    #[schema(value_type = String, format = DateTime, read_only)]
    pub created_at: Millis,
    #[schema(value_type = String, format = DateTime, read_only)]
    pub updated_at: Millis,
}

impl Link {
    /// Whether nothing but code, name and address is set.
    pub(super) fn is_plain(&self) -> bool {
        self.partner.is_none()
            && self.programs.is_empty()
            && self.rules.is_empty()
            && self.fallback.is_none()
            && self.expires_at.is_none()
            && self.max_clicks.is_none()
            && self.to_hosts.is_empty()
            && self.click_parameter.is_none()
            && self.partner_parameter.is_none()
            && self.ad_parameter.is_none()
            && self.preview.is_none()
    }

    fn check_parameters<S: Source>(&self, reader: &mut Reader<'_, S>) {
        let given = [
            ("click_parameter", Some(self.click_parameter.as_deref().unwrap_or(crate::core::program::CLICK_PARAMETER))),
            ("partner_parameter", self.partner_parameter.as_deref()),
            ("ad_parameter", self.ad_parameter.as_deref()),
        ];
        for (at, (field, name)) in given.iter().enumerate() {
            if let Some(name) = name
                && let Some((other, _)) = given[..at].iter().find(|(_, other)| *other == Some(name))
            {
                reader.mistake(*field, format!("`{name}` is also the `{other}`: each needs a name of its own"));
            }
        }
    }
}

impl Entity for Link {
    const KIND: Kind = Kind::Link;
    const FIELDS: &'static [&'static str] = &[
        "code",
        "name",
        "address",
        "partner",
        "programs",
        "rules",
        "fallback",
        "expires_at",
        "max_clicks",
        "to_hosts",
        "click_parameter",
        "partner_parameter",
        "ad_parameter",
        "preview",
    ];
    const COLUMNS: &'static [&'static str] = &[
        "code",
        "name",
        "address",
        "partner",
        "programs",
        "rules",
        "fallback",
        "expires_at",
        "max_clicks",
        "to_hosts",
        "click_parameter",
        "partner_parameter",
        "ad_parameter",
        "preview",
        "plain",
    ];
    const SEARCHED: &'static [&'static str] = &["code", "name", "address"];

    fn read<S: Source>(reader: &mut Reader<'_, S>) -> Option<Link> {
        let code = reader.code("code");
        let mut link = Link {
            code: "none".parse().ok()?,
            name: reader.line("name", NAME_MAX_CHARS),
            address: reader.required("address", template::check).unwrap_or_default(),
            partner: reader.optional_code("partner"),
            programs: reader.codes("programs"),
            rules: reader.json("rules"),
            fallback: reader.optional_address("fallback"),
            expires_at: reader.time("expires_at"),
            max_clicks: reader.number("max_clicks", 1..=i64::MAX as u64),
            to_hosts: reader.hosts("to_hosts"),
            click_parameter: reader.parameter("click_parameter"),
            partner_parameter: reader.parameter("partner_parameter"),
            ad_parameter: reader.parameter("ad_parameter"),
            preview: reader.preview("preview"),
            created_at: Millis(0),
            updated_at: Millis(0),
        };
        if let Err(error) = rule::check(&mut link.rules) {
            reader.mistake(format!("rules{}", error.field), error.problem);
        }
        let rules_bytes =
            if link.rules.is_empty() { 0 } else { serde_json::to_string(&link.rules).map_or(0, |t| t.len()) };
        if rules_bytes > RULES_MAX_BYTES {
            reader.mistake("rules", format!("have {rules_bytes} bytes as JSON: at most {RULES_MAX_BYTES} are allowed"));
        }
        link.check_parameters(reader);
        link.code = code?;
        Some(link)
    }

    fn bind(&self, row: &mut Binder) {
        row.text(&self.code);
        row.text(&self.name);
        row.text(&self.address);
        row.optional_text(self.partner.as_deref());
        row.json(&self.programs);
        row.json(&self.rules);
        row.optional_text(self.fallback.as_deref());
        row.optional_integer(self.expires_at.map(|time| time.0));
        row.optional_integer(self.max_clicks.map(|clicks| i64::try_from(clicks).unwrap_or(i64::MAX)));
        row.json(&self.to_hosts);
        row.optional_text(self.click_parameter.as_deref());
        row.optional_text(self.partner_parameter.as_deref());
        row.optional_text(self.ad_parameter.as_deref());
        row.optional_json(self.preview.as_ref());
        row.integer(i64::from(self.is_plain()));
    }

    fn from_row(row: &mut RowReader<'_>) -> Result<Link, CatalogError> {
        let mut link = Link {
            code: row.code()?,
            name: row.text()?.to_owned(),
            address: row.text()?.to_owned(),
            partner: row.optional_code()?,
            programs: row.json()?,
            rules: row.json()?,
            fallback: row.optional_text()?.map(str::to_owned),
            expires_at: row.optional_integer()?.map(Millis),
            max_clicks: row.optional_integer()?.and_then(|clicks| u64::try_from(clicks).ok()),
            to_hosts: row.json()?,
            click_parameter: row.optional_text()?.map(str::to_owned),
            partner_parameter: row.optional_text()?.map(str::to_owned),
            ad_parameter: row.optional_text()?.map(str::to_owned),
            preview: row.optional_json()?,
            created_at: Millis(0),
            updated_at: Millis(0),
        };
        let _plain = row.integer()?;
        link.created_at = Millis(row.integer()?);
        link.updated_at = Millis(row.integer()?);
        Ok(link)
    }

    fn key_parts(&self) -> Vec<&str> {
        vec![&self.code]
    }

    fn references(&self) -> Vec<Reference> {
        let partner = self.partner.iter().map(|partner| Reference::new("partner", Kind::Partner, partner));
        partner.chain(Reference::list("programs", Kind::Program, &self.programs)).collect()
    }

    fn set_times(&mut self, created_at: Millis, updated_at: Millis) {
        (self.created_at, self.updated_at) = (created_at, updated_at);
    }

    fn cells(&self) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        vec![
            self.code.to_string(),
            self.name.clone(),
            self.address.clone(),
            self.partner.as_ref().map(Code::to_string).unwrap_or_default(),
            join(&self.programs),
            if self.rules.is_empty() { String::new() } else { serde_json::to_string(&self.rules).unwrap_or_default() },
            text(&self.fallback),
            self.expires_at.map(|time| time.to_string()).unwrap_or_default(),
            self.max_clicks.map(|clicks| clicks.to_string()).unwrap_or_default(),
            join(&self.to_hosts),
            text(&self.click_parameter),
            text(&self.partner_parameter),
            text(&self.ad_parameter),
            self.preview.as_ref().map(|it| serde_json::to_string(it).unwrap_or_default()).unwrap_or_default(),
        ]
    }
}
