//! Anybody's webhooks: where in their body each of our fields is.
//!
//! A path is a JSON pointer (`/deal/amount`, RFC 6901) or has dots (`deal.amount`, `items.0.id`). Numbers are taken as they are
//! written, digit by digit, never through floating point. What a mapping gives is read by the same reader as the API's bodies,
//! so it has the same checks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::{
    super::{
        deed::Deed,
        told::{self, ToldConversion, ToldLead, ToldRefund},
    },
    Event, amount,
    signature::Auth,
};
use crate::{
    catalog::Mistake,
    core::{
        limits::INBOUND_FACTS_MAX,
        money::{Currency, Money},
    },
};

/// What a door is set to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub auth: Auth,
    pub fact: Fact,
    /// Where a list of facts is, when a body may hold several; the body itself may be a list.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub each: String,
    /// Where the id is that makes an event the same one when it is sent again; the whole body where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Facts only where all of these hold one of the texts; anything else is ignored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub only: BTreeMap<String, Vec<String>>,
    /// Our fields, as the API names them, and where they come from.
    pub fields: BTreeMap<String, Field>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    Lead,
    Conversion,
    Refund,
}

/// Where a field comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Field {
    /// A path.
    At(String),
    Described(Described),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Described {
    /// Paths; the first one that is there counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<String>,
    /// Always this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// How it is written there.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `amount`: 19.99, in the digits of the currency.
    Decimal,
    /// `at`: seconds, or milliseconds, since 1970.
    Seconds,
    Milliseconds,
}

impl Fact {
    const fn fields(self) -> &'static [&'static str] {
        match self {
            Fact::Lead => ToldLead::FIELDS,
            Fact::Conversion => ToldConversion::FIELDS,
            Fact::Refund => ToldRefund::FIELDS,
        }
    }
}

impl Settings {
    pub fn read(settings: Map<String, Value>) -> Result<Settings, Vec<Mistake>> {
        let settings: Settings = serde_json::from_value(Value::Object(settings))
            .map_err(|error| vec![Mistake::new("settings", format!("is not as it should be: {error}"))])?;
        let mut mistakes = Vec::new();
        let known = settings.fact.fields();
        for (field, from) in &settings.fields {
            let place = || format!("settings.fields.{field}");
            let from = from.described();
            let helper = field == "currency" && settings.fact == Fact::Refund;
            if !known.contains(&field.as_str()) && !helper {
                mistakes.push(Mistake::new(place(), format!("there is no such field: known are {}", known.join(", "))));
            }
            if from.is.is_some() != from.first.is_empty() {
                mistakes.push(Mistake::new(place(), "give a path, or paths in `first`, or a fixed value in `is`"));
            }
            let wanted = match from.form {
                Some(Form::Decimal) => Some("amount"),
                Some(Form::Seconds | Form::Milliseconds) => Some("at"),
                None => None,
            };
            if let Some(wanted) = wanted.filter(|wanted| wanted != field) {
                mistakes.push(Mistake::new(place(), format!("`as` is written so for `{wanted}` only: leave it out")));
            }
        }
        if settings.decimal() && !settings.fields.contains_key("currency") {
            mistakes.push(Mistake::new(
                "settings.fields.currency",
                "is missing: decimal amounts need it, to know their digits",
            ));
        }
        if mistakes.is_empty() { Ok(settings) } else { Err(mistakes) }
    }

    /// The program that every fact is for.
    pub fn program(&self) -> Option<String> {
        self.fields.get("program")?.described().is
    }

    fn decimal(&self) -> bool {
        self.fields.get("amount").is_some_and(|field| field.described().form == Some(Form::Decimal))
    }
}

impl Field {
    fn described(&self) -> Described {
        match self {
            Field::At(path) => Described { first: vec![path.clone()], ..Described::default() },
            Field::Described(described) => described.clone(),
        }
    }
}

/// The events in a body.
pub fn read(endpoint: &str, body: &[u8], settings: &Settings) -> Result<Vec<Event>, Vec<Mistake>> {
    let wrong = |problem: String| vec![Mistake::new("body", problem)];
    let text = std::str::from_utf8(body).map_err(|_| wrong("is not UTF-8".to_owned()))?;
    let whole: &RawValue = serde_json::from_str(text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
    let place = if settings.each.is_empty() { Some(whole) } else { find(whole, &settings.each) };
    let place =
        place.ok_or_else(|| vec![Mistake::new(&settings.each, "is not there: it should hold a list of facts")])?;
    let items = if place.get().starts_with('[') {
        serde_json::from_str::<Vec<&RawValue>>(place.get()).map_err(|error| wrong(error.to_string()))?
    } else {
        vec![place]
    };
    if items.len() > INBOUND_FACTS_MAX {
        return Err(wrong(format!("holds {} facts: at most {INBOUND_FACTS_MAX} are taken at once", items.len())));
    }
    items.into_iter().map(|item| event(endpoint, item, settings)).collect()
}

fn event(endpoint: &str, item: &RawValue, settings: &Settings) -> Result<Event, Vec<Mistake>> {
    let id = match &settings.id {
        Some(path) => match find(item, path).and_then(scalar) {
            Some(id) if !id.is_empty() && id.len() <= 255 => id,
            _ => return Err(vec![Mistake::new(path, "is missing: it names the event")]),
        },
        None => told::digest(item.get()),
    };
    let kind = format!("{:?}", settings.fact).to_lowercase();
    let holds = |(path, wanted): (&String, &Vec<String>)| {
        find(item, path).and_then(scalar).is_some_and(|found| wanted.contains(&found))
    };
    if !settings.only.iter().all(holds) {
        return Ok(Event { id, kind, deeds: Vec::new(), why: "it is not one of those that are wanted (`only`)" });
    }
    let object = object(item, settings)?;
    let deed = match settings.fact {
        Fact::Lead => {
            let name = Some(format!("{endpoint} {id}"));
            Deed::Lead(Box::new(ToldLead { name, ..ToldLead::read(object)? }))
        }
        Fact::Conversion => Deed::Conversion(Box::new(ToldConversion::read(object, endpoint)?)),
        Fact::Refund => Deed::Refund(Box::new(ToldRefund::read(object)?)),
    };
    Ok(Event { id, kind, deeds: vec![deed], why: "" })
}

/// The API's body that an item becomes.
pub fn object(item: &RawValue, settings: &Settings) -> Result<Map<String, Value>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut object = Map::new();
    for (field, from) in &settings.fields {
        let from = from.described();
        let found = match &from.is {
            Some(is) => Some(is.clone().into()),
            None => from.first.iter().find_map(|path| value(find(item, path)?, field)),
        };
        let Some(found) = found else { continue };
        match formed(found, from.form) {
            Ok(value) => {
                object.insert(field.clone(), value);
            }
            Err(problem) => mistakes.push(Mistake::new(field, problem)),
        }
    }
    if let Some(Value::String(text)) = object.get("amount").cloned() {
        let currency = object.get("currency").and_then(Value::as_str).map(str::parse::<Currency>);
        let whole = |money: Money| money.amount.unsigned_abs();
        let amount = match currency {
            Some(Ok(currency)) if settings.decimal() => amount::decimal(&text, currency).map(whole),
            Some(Ok(currency)) => amount::minor(&text, currency).map(whole),
            // The reader says what is wrong with the currency, or that it is missing.
            _ => text.parse::<u64>().map_err(|_| format!("`{text}` is not an amount in whole minor units")),
        };
        match amount {
            Ok(amount) => {
                object.insert("amount".to_owned(), amount.into());
            }
            Err(problem) => mistakes.push(Mistake::new("amount", problem)),
        }
    }
    if settings.fact == Fact::Refund {
        object.remove("currency");
    }
    if mistakes.is_empty() { Ok(object) } else { Err(mistakes) }
}

fn formed(value: Value, form: Option<Form>) -> Result<Value, String> {
    let per_second = match form {
        Some(Form::Seconds) => 1_000,
        Some(Form::Milliseconds) => 1,
        _ => return Ok(value),
    };
    let text = value.as_str().unwrap_or_default();
    let number: i64 = text.parse().map_err(|_| format!("`{text}` is not a whole number of seconds or milliseconds"))?;
    Ok(crate::core::time::Millis(number.saturating_mul(per_second)).to_string().into())
}

/// What stands at a path.
fn find<'b>(within: &'b RawValue, path: &str) -> Option<&'b RawValue> {
    let mut at = within;
    let segments: Vec<String> = match path.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect(),
        None => path.split('.').map(str::to_owned).collect(),
    };
    for segment in segments {
        let text = at.get();
        at = if text.starts_with('{') {
            serde_json::from_str::<BTreeMap<String, &RawValue>>(text).ok()?.remove(&segment)?
        } else {
            let index: usize = segment.parse().ok()?;
            serde_json::from_str::<Vec<&RawValue>>(text).ok()?.get(index).copied()?
        };
    }
    Some(at)
}

/// A text, or a number as it is written.
fn scalar(raw: &RawValue) -> Option<String> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok(),
        b'{' | b'[' => None,
        _ if raw.get() == "null" => None,
        _ => Some(raw.get().to_owned()),
    }
}

/// As the API has it: everything is a text, but metadata.
fn value(raw: &RawValue, field: &str) -> Option<Value> {
    if field == "metadata" {
        return serde_json::from_str(raw.get()).ok().filter(|value: &Value| !value.is_null());
    }
    scalar(raw).filter(|text| !text.is_empty()).map(Value::String)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(json: &Value) -> Settings {
        Settings::read(json.as_object().unwrap().clone()).unwrap()
    }

    fn deal() -> Settings {
        settings(&json!({
            "auth": {"by": "header"}, "fact": "conversion", "id": "/eventId", "only": {"deal.stage": ["closedwon"]},
            "fields": {
                "email": {"first": ["/contact/email", "contact.mail"]},
                "amount": {"first": ["deal.amount"], "as": "decimal"},
                "currency": {"is": "EUR"},
                "invoice_id": "deal.id",
                "at": {"first": ["occurredAt"], "as": "milliseconds"},
            },
        }))
    }

    fn told(settings: &Settings, body: &Value) -> Result<ToldConversion, Vec<String>> {
        let events = read("crm", body.to_string().as_bytes(), settings);
        let events = events.map_err(|mistakes| {
            mistakes.into_iter().map(|m| format!("{}: {}", m.field, m.problem)).collect::<Vec<_>>()
        })?;
        match events.into_iter().next().unwrap().deeds.pop() {
            Some(Deed::Conversion(told)) => Ok(*told),
            other => Err(vec![format!("{other:?}")]),
        }
    }

    fn body() -> Value {
        json!({"eventId": 7, "occurredAt": 1_772_366_400_000_i64, "contact": {"mail": "Ann@Home.example"},
            "deal": {"id": 4711, "amount": "1999.90", "stage": "closedwon"}})
    }

    #[test]
    fn fields_are_found_where_the_mapping_says() {
        let told = told(&deal(), &body()).unwrap();
        assert_eq!(told.whose, super::super::super::told::Whose::Email("ann@home.example".to_owned()));
        assert_eq!(told.money.unwrap().to_string(), "1999.90 EUR");
        assert_eq!((told.invoice.as_deref(), told.source.as_str()), (Some("4711"), "crm"));
        assert_eq!(told.at.unwrap().to_string(), "2026-03-01T12:00:00.000Z");
    }

    #[test]
    fn numbers_are_taken_digit_by_digit() {
        // As a float 0.07 + … may become another cent; and a long one loses digits.
        for (written, amount) in
            [("0.07", 7), ("19.99", 1_999), ("1.10", 110), ("9007199254740.93", 900_719_925_474_093)]
        {
            let text = body().to_string().replace("\"1999.90\"", written);
            let events = read("crm", text.as_bytes(), &deal()).unwrap();
            let Some(Deed::Conversion(told)) = events[0].deeds.first() else { panic!("a conversion") };
            assert_eq!(told.money.unwrap().amount, amount, "{written}");
        }
        let text = body().to_string().replace("\"1999.90\"", "1.5e3");
        assert!(read("crm", text.as_bytes(), &deal()).is_err(), "what may be rounded is refused");
    }

    #[test]
    fn what_is_not_wanted_is_ignored_and_what_is_wrong_is_named() {
        let mut other = body();
        other["deal"]["stage"] = json!("lost");
        let events = read("crm", other.to_string().as_bytes(), &deal()).unwrap();
        assert!(events[0].deeds.is_empty() && events[0].id == "7");
        let mut wrong = body();
        wrong["deal"]["amount"] = json!("12,50");
        assert!(told(&deal(), &wrong).unwrap_err()[0].starts_with("amount: `12,50` is not an amount in EUR"));
        let mut nameless = body();
        nameless.as_object_mut().unwrap().remove("eventId");
        assert!(told(&deal(), &nameless).unwrap_err()[0].starts_with("/eventId: is missing"));
        nameless = body();
        nameless["contact"] = json!({});
        assert!(told(&deal(), &nameless).unwrap_err()[0].starts_with("email: nobody is named"));
    }

    #[test]
    fn a_body_may_hold_several() {
        let lead = settings(&json!({"auth": {"by": "path"}, "fact": "lead", "each": "/data/items",
            "fields": {"program": {"is": "spring"}, "email": "/a~1b"}}));
        let body = r#"{"data": {"items": [{"a/b": "x@home.example"}, {"a/b": "y@home.example"}]}}"#;
        let events = read("crm", body.as_bytes(), &lead).unwrap();
        assert_eq!(events.len(), 2);
        assert_ne!(events[0].id, events[1].id);
        assert!(read("crm", b"{}", &lead).is_err());
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let wrong = |json: Value| -> Vec<String> {
            Settings::read(json.as_object().unwrap().clone()).unwrap_err().into_iter().map(|m| m.field).collect()
        };
        let with = |fields: Value| json!({"auth": {"by": "path"}, "fact": "conversion", "fields": fields});
        assert_eq!(wrong(with(json!({"mail": "/x"}))), ["settings.fields.mail"]);
        assert_eq!(wrong(with(json!({"email": {"is": "a", "first": ["/x"]}}))), ["settings.fields.email"]);
        assert_eq!(wrong(with(json!({"email": {"first": ["/x"], "as": "decimal"}}))), ["settings.fields.email"]);
        assert_eq!(wrong(with(json!({"amount": {"first": ["/x"], "as": "decimal"}}))), ["settings.fields.currency"]);
        assert_eq!(wrong(json!({"auth": {"by": "nothing"}, "fact": "lead", "fields": {}})), ["settings"]);
    }
}
