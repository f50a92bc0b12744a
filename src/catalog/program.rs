//! Programs: attribution model, window, the cookie's domain.

use serde::Serialize;

use super::{
    entity::{Binder, Entity, Kind, Reference, RowReader},
    error::CatalogError,
    fields::{Reader, Source},
};
use crate::core::{
    code::Code,
    limits::{NAME_MAX_CHARS, ORIGINS_MAX, WINDOW_MAX_DAYS},
    net,
    notify::Notify,
    preview::Preview,
    program::{Attribution, Status, WINDOW_DAYS},
    review::Review,
    terms::{self, Credit, Qualification, RewardRule},
    time::Millis,
};

/// A referral or affiliate program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Program {
    #[schema(required = false, value_type = String, example = "spring")]
    pub code: Code,
    #[schema(required = false)]
    pub name: String,
    #[schema(required = false)]
    pub status: Status,
    /// Which touch is credited.
    #[schema(required = false)]
    pub attribution: Attribution,
    /// For how many days a touch can be credited, and the cookie lives.
    #[schema(required = false, minimum = 1, maximum = 3650)]
    pub window_days: u32,
    /// Domain of the cookie; null leaves it to the host that answered.
    pub domain: Option<String>,
    /// Sites whose forms may send leads (`POST /e`), for example `https://shop.example`. None: no form may.
    #[schema(required = false, example = json!(["https://shop.example"]))]
    pub origins: Vec<String>,
    /// Whose referral a person is when several partners brought them.
    #[schema(required = false)]
    pub credit: Credit,
    /// When a referral qualifies.
    #[schema(required = false)]
    pub qualification: Qualification,
    /// What is owed, and for what.
    #[schema(required = false)]
    pub rewards: Vec<RewardRule>,
    /// What a partner's parent gets of the partner's rewards, its parent, and so on: basis points, at most three levels.
    #[schema(required = false)]
    pub parent_shares: Vec<u32>,
    /// What makes a referral doubtful, and from when on somebody looks at it first.
    #[schema(required = false)]
    pub review: Review,
    /// Who is mailed when a reward is due.
    #[schema(required = false)]
    pub notify: Notify,
    /// How chats show the program's links, where these say nothing else.
    pub preview: Option<Preview>,
    #[schema(value_type = String, format = DateTime, read_only)]
    pub created_at: Millis,
    #[schema(value_type = String, format = DateTime, read_only)]
    pub updated_at: Millis,
}

impl Entity for Program {
    const KIND: Kind = Kind::Program;
    const FIELDS: &'static [&'static str] = &[
        "code",
        "name",
        "status",
        "attribution",
        "window_days",
        "domain",
        "origins",
        "credit",
        "qualification",
        "rewards",
        "parent_shares",
        "review",
        "notify",
        "preview",
    ];
    const COLUMNS: &'static [&'static str] = Self::FIELDS;
    const SEARCHED: &'static [&'static str] = &["code", "name"];

    fn read<S: Source>(reader: &mut Reader<'_, S>) -> Option<Program> {
        let code = reader.code("code");
        let program = Program {
            code: "none".parse().ok()?,
            name: reader.line("name", NAME_MAX_CHARS),
            status: reader.word("status", Status::default(), Status::WORDS, Status::from_word),
            attribution: reader.word("attribution", Attribution::default(), Attribution::WORDS, Attribution::from_word),
            window_days: reader.number("window_days", 1..=WINDOW_MAX_DAYS).map_or(WINDOW_DAYS, |days| days as u32),
            domain: reader.domain("domain"),
            origins: reader.list("origins", ORIGINS_MAX, net::origin),
            credit: reader.word("credit", Credit::default(), Credit::WORDS, Credit::from_word),
            qualification: reader.json("qualification"),
            rewards: reader.json("rewards"),
            parent_shares: reader.json("parent_shares"),
            review: reader.json("review"),
            notify: reader.json("notify"),
            preview: reader.preview("preview"),
            created_at: Millis(0),
            updated_at: Millis(0),
        };
        for (field, checked) in [
            ("qualification", program.qualification.check()),
            ("rewards", terms::check_rewards(&program.rewards)),
            ("parent_shares", terms::check_parent_shares(&program.parent_shares)),
            ("review", program.review.check()),
        ] {
            if let Err(error) = checked {
                reader.mistake(format!("{field}{}", error.field), error.problem);
            }
        }
        if let Err(error) = program.notify.check() {
            reader.mistake(format!("notify{}", error.field), error.problem);
        }
        Some(Program { code: code?, ..program })
    }

    fn bind(&self, row: &mut Binder) {
        row.text(&self.code);
        row.text(&self.name);
        row.text(self.status.word());
        row.text(self.attribution.word());
        row.integer(i64::from(self.window_days));
        row.optional_text(self.domain.as_deref());
        row.json(&self.origins);
        row.text(self.credit.word());
        row.text(&serde_json::to_string(&self.qualification).unwrap_or_default());
        row.json(&self.rewards);
        row.json(&self.parent_shares);
        row.text(&serde_json::to_string(&self.review).unwrap_or_default());
        row.text(&serde_json::to_string(&self.notify).unwrap_or_default());
        row.optional_json(self.preview.as_ref());
    }

    fn from_row(row: &mut RowReader<'_>) -> Result<Program, CatalogError> {
        Ok(Program {
            code: row.code()?,
            name: row.text()?.to_owned(),
            status: row.word(Status::from_word)?,
            attribution: row.word(Attribution::from_word)?,
            window_days: u32::try_from(row.integer()?).unwrap_or(WINDOW_DAYS),
            domain: row.optional_text()?.map(str::to_owned),
            origins: row.json()?,
            credit: row.word(Credit::from_word)?,
            qualification: row.json()?,
            rewards: row.json()?,
            parent_shares: row.json()?,
            review: row.json()?,
            notify: row.json()?,
            preview: row.optional_json()?,
            created_at: Millis(row.integer()?),
            updated_at: Millis(row.integer()?),
        })
    }

    fn key_parts(&self) -> Vec<&str> {
        vec![&self.code]
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }

    fn set_times(&mut self, created_at: Millis, updated_at: Millis) {
        (self.created_at, self.updated_at) = (created_at, updated_at);
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.code.to_string(),
            self.name.clone(),
            self.status.word().to_owned(),
            self.attribution.word().to_owned(),
            self.window_days.to_string(),
            self.domain.clone().unwrap_or_default(),
            super::sheet::join(&self.origins),
            self.credit.word().to_owned(),
            json_cell(&self.qualification, self.qualification == Qualification::default()),
            json_cell(&self.rewards, self.rewards.is_empty()),
            json_cell(&self.parent_shares, self.parent_shares.is_empty()),
            json_cell(&self.review, self.review == Review::default()),
            json_cell(&self.notify, self.notify == Notify::default()),
            json_cell(&self.preview, self.preview.is_none()),
        ]
    }
}

/// A value as a cell of a sheet: what says nothing is empty.
fn json_cell<T: Serialize>(value: &T, nothing: bool) -> String {
    if nothing { String::new() } else { serde_json::to_string(value).unwrap_or_default() }
}
