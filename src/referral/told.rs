//! What somebody tells us about a person, read field by field and checked; all mistakes come at once.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::{
    catalog::{
        Mistake,
        fields::{Reader, Source},
        record::{Name, Person},
    },
    core::{
        code::Code,
        fact::FactId,
        limits::{METADATA_MAX_BYTES, NAME_MAX_CHARS},
        money::{Currency, Money},
        net,
        time::Millis,
    },
};

/// A lead as told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldLead {
    /// What its teller calls it: it is the same one each time it is told under this name.
    pub name: Option<String>,
    pub program: Code,
    pub person: Person,
    /// The click token that the landing page was given.
    pub token: Option<String>,
    /// The value of the visitor's cookie.
    pub cookie: Option<String>,
    /// A partner's code that the person gave.
    pub partner: Option<Code>,
    /// The network that the person came from, cut.
    pub network: Option<String>,
    /// A JSON object of the teller's own.
    pub metadata: String,
    /// When it happened; `None`: now.
    pub at: Option<Millis>,
}

/// By what a person is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    Referral(FactId),
    Email(String),
    External(String),
    Token(String),
    /// In several ways: see `further`.
    Names(Vec<Name>),
}

/// What a payment provider tells besides: a payment comes in several events, each with other names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Further {
    /// All names of the payment.
    pub payment: Vec<String>,
    /// What identifies the card or the account; only a keyed hash of it is kept.
    pub fingerprint: Option<String>,
    /// Whose word counts where several tell one conversion: the highest one's. `None`: the API's, which nobody changes.
    pub standing: Option<u8>,
}

/// Of what our own API tells.
pub const STANDING_API: i64 = 9;

/// A conversion as told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldConversion {
    pub whose: Whose,
    pub program: Option<Code>,
    pub event: String,
    pub money: Option<Money>,
    /// What makes it the same one when it is told again.
    pub invoice: Option<String>,
    pub source: String,
    pub further: Further,
    pub at: Option<Millis>,
}

/// Several names of one payment belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldPayment {
    pub names: Vec<String>,
    pub fingerprint: Option<String>,
}

/// What a refund's amount is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sum {
    /// Its own.
    #[default]
    One,
    /// All that went back under its name so far.
    SoFar,
    /// For good, whatever else was told under its name.
    ForGood,
}

/// Money that went back, as told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldRefund {
    /// Of the conversion.
    pub invoice: String,
    /// What makes it the same one when it is told again; `None`: there is one refund of this invoice.
    pub refund: Option<String>,
    /// Minor units; `None`: all of it.
    pub amount: Option<i64>,
    pub sum: Sum,
    /// Other names of its payment.
    pub payment: Vec<String>,
    pub reason: String,
    pub at: Option<Millis>,
}

/// Names of events when none is told.
const EVENT: &str = "sale";

/// Reads with `read`; fields that nobody knows are mistakes.
pub(super) fn whole<T>(
    mut object: Map<String, Value>,
    known: &[&str],
    read: impl FnOnce(&mut Reader<'_, Map<String, Value>>) -> Option<T>,
) -> Result<T, Vec<Mistake>> {
    let unknown: Vec<Mistake> = object
        .keys()
        .filter(|field| !known.contains(&field.as_str()))
        .map(|field| Mistake::new(field, format!("there is no such field: known are {}", known.join(", "))))
        .collect();
    let mut reader = Reader::new(&mut object);
    let item = read(&mut reader);
    let mut mistakes = reader.mistakes;
    mistakes.extend(unknown);
    match item {
        Some(item) if mistakes.is_empty() => Ok(item),
        _ => Err(mistakes),
    }
}

/// The network of an address; the address itself goes no further.
fn network(text: &str) -> Result<String, &'static str> {
    let address = text.parse::<IpAddr>().map_err(|_| "is no IP address: give one like 203.0.113.7 or 2001:db8::7")?;
    Ok(net::network(address))
}

fn time<S: Source>(reader: &mut Reader<'_, S>) -> Option<Millis> {
    reader.checked("at", |text| text.parse::<Millis>())
}

fn email<S: Source>(reader: &mut Reader<'_, S>) -> Option<String> {
    // What stands before the @ may matter to its host; in practice it is the same person.
    reader.email("email").map(|email| email.to_lowercase())
}

fn name<S: Source>(reader: &mut Reader<'_, S>, field: &'static str) -> Option<String> {
    let text = reader.line(field, NAME_MAX_CHARS);
    (!text.is_empty()).then_some(text)
}

fn money<S: Source>(reader: &mut Reader<'_, S>) -> Option<Money> {
    let before = reader.mistakes.len();
    let amount = reader.number("amount", 0..=crate::core::limits::AMOUNT_MAX_MINOR.unsigned_abs());
    let currency = reader.checked("currency", str::parse::<Currency>);
    match (amount, currency) {
        (Some(amount), Some(currency)) => Some(Money::new(i64::try_from(amount).unwrap_or(i64::MAX), currency)),
        (None, None) => None,
        (Some(_), None) if reader.mistakes.len() == before => {
            reader.mistake("currency", "is missing: an amount needs one, for example EUR");
            None
        }
        (None, Some(_)) if reader.mistakes.len() == before => {
            reader.mistake("amount", "is missing: a currency needs one, in minor units (1999 for 19.99)");
            None
        }
        _ => None,
    }
}

impl ToldLead {
    pub const FIELDS: &'static [&'static str] = &[
        "program",
        "email",
        "external_id",
        "first_name",
        "last_name",
        "token",
        "cookie",
        "partner",
        "ip",
        "metadata",
        "at",
    ];

    pub fn read(object: Map<String, Value>) -> Result<ToldLead, Vec<Mistake>> {
        whole(object, Self::FIELDS, |reader| {
            let program = reader.code("program");
            let person = Person {
                email: email(reader),
                external: name(reader, "external_id"),
                first_name: reader.line("first_name", NAME_MAX_CHARS),
                last_name: reader.line("last_name", NAME_MAX_CHARS),
            };
            // One that is wrong has said so already.
            let named = |mistake: &Mistake| matches!(mistake.field.as_str(), "email" | "external_id");
            if person.email.is_none() && person.external.is_none() && !reader.mistakes.iter().any(named) {
                reader.mistake("email", "is missing, and so is external_id: give at least one of them");
            }
            let metadata = reader.json::<Map<String, Value>>("metadata");
            let metadata = Value::Object(metadata).to_string();
            if metadata.len() > METADATA_MAX_BYTES {
                let bytes = metadata.len();
                reader.mistake("metadata", format!("has {bytes} bytes: at most {METADATA_MAX_BYTES} are allowed"));
            }
            let (token, cookie) = (reader.text("token"), reader.text("cookie"));
            let (partner, at) = (reader.optional_code("partner"), time(reader));
            let network = reader.checked("ip", network);
            Some(ToldLead { name: None, program: program?, person, token, cookie, partner, network, metadata, at })
        })
    }
}

impl ToldLead {
    /// The same for each time this lead is told, where it has a name.
    pub(super) fn id(&self) -> Option<FactId> {
        self.name.as_ref().map(|name| named(&format!("lead|{}|{name}", self.program)))
    }
}

impl ToldConversion {
    pub const FIELDS: &'static [&'static str] = &[
        "referral",
        "email",
        "external_id",
        "token",
        "program",
        "event",
        "amount",
        "currency",
        "invoice_id",
        "payment_fingerprint",
        "at",
    ];

    pub fn read(object: Map<String, Value>, source: &str) -> Result<ToldConversion, Vec<Mistake>> {
        whole(object, Self::FIELDS, |reader| {
            let mut told: Vec<Whose> = Vec::new();
            told.extend(reader.checked("referral", str::parse::<FactId>).map(Whose::Referral));
            told.extend(name(reader, "external_id").map(Whose::External));
            told.extend(email(reader).map(Whose::Email));
            told.extend(reader.text("token").map(Whose::Token));
            let whose = match told.len() {
                1 => told.pop(),
                0 => {
                    if reader.mistakes.is_empty() {
                        reader.mistake("email", "nobody is named: give referral, external_id, email or token");
                    }
                    None
                }
                _ => {
                    reader.mistake(
                        "email",
                        "somebody is named twice: give one of referral, external_id, email and token",
                    );
                    None
                }
            };
            Some(ToldConversion {
                program: reader.optional_code("program"),
                event: name(reader, "event").unwrap_or_else(|| EVENT.to_owned()),
                money: money(reader),
                invoice: name(reader, "invoice_id"),
                source: source.to_owned(),
                further: Further { fingerprint: name(reader, "payment_fingerprint"), ..Further::default() },
                at: time(reader),
                whose: whose?,
            })
        })
    }

    /// Says the same for the same words, to tell a repetition from something else under the same invoice.
    pub(super) fn digest(&self) -> String {
        let ToldConversion { whose, program, event, money, .. } = self;
        digest(&format!("{whose:?}|{program:?}|{event}|{money:?}"))
    }
}

impl ToldRefund {
    pub const FIELDS: &'static [&'static str] = &["invoice_id", "refund_id", "amount", "reason", "at"];

    pub fn read(object: Map<String, Value>) -> Result<ToldRefund, Vec<Mistake>> {
        whole(object, Self::FIELDS, |reader| {
            let invoice = reader.required("invoice_id", |text| {
                if text.chars().count() <= NAME_MAX_CHARS { Ok(text.to_owned()) } else { Err("is too long") }
            });
            let amount = reader.number("amount", 1..=crate::core::limits::AMOUNT_MAX_MINOR.unsigned_abs());
            Some(ToldRefund {
                refund: name(reader, "refund_id"),
                amount: amount.and_then(|amount| i64::try_from(amount).ok()),
                sum: Sum::One,
                payment: Vec::new(),
                reason: reader.line("reason", NAME_MAX_CHARS),
                at: time(reader),
                invoice: invoice?,
            })
        })
    }

    /// The same for each time this refund is told.
    pub(super) fn id(&self) -> FactId {
        let name = self.refund.as_deref().unwrap_or_default();
        // By then another name of the payment may be the one that it goes by.
        let invoice = if self.payment.is_empty() { self.invoice.as_str() } else { "" };
        named(&format!("refund|{invoice}|{name}"))
    }

    pub(super) fn digest(&self) -> String {
        digest(&format!("{:?}|{:?}", self.invoice, self.amount))
    }
}

/// The id of a fact that its teller has named.
fn named(text: &str) -> FactId {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    FactId(id)
}

/// Of a text, in 32 hexadecimal digits.
pub fn digest(text: &str) -> String {
    data_encoding::HEXLOWER.encode(&blake3::hash(text.as_bytes()).as_bytes()[..16])
}
