//! Stripe's events, in the shapes of its older and newer API versions.
//!
//! **One payment is told several times**: `checkout.session.completed` and `invoice.paid` are both sent for the first payment of
//! a subscription, `invoice.paid` and `invoice.payment_succeeded` for each one. They are one conversion, because it goes by the
//! invoice's id where there is one, and else by the payment intent's. Which invoice a payment intent and a charge belong to
//! stands in the invoice before the version 2025-03-31 (`invoice.payment_intent`, `invoice.charge`, `charge.invoice`) and in
//! `invoice_payment.paid` since; where both are told, the names are one payment, in whatever order they come. The invoice's
//! word counts more than the session's.
//!
//! **Who it is**, the first of these that leads to somebody; where none does, what was told of the same customer elsewhere:
//! 1. a click token in `metadata.fpc`, or in `client_reference_id`
//! 2. `metadata.external_id`, as an external id
//! 3. `client_reference_id`, as an external id
//! 4. the e-mail address: `customer_email`, `customer_details.email`, `receipt_email`, `billing_details.email`
//! 5. the customer's id (`cus_…`), as an external id
//!
//! **Money back.** `charge.refunded` says how much of a charge was refunded so far, so the largest sum counts. A dispute
//! takes all of it back, until it is closed as won. An inquiry (`warning_…`) takes nothing.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    super::{
        deed::Deed,
        told::{Further, Sum, ToldConversion, ToldPayment, ToldRefund, Whose},
    },
    Event, amount,
};
use crate::{
    catalog::{
        Mistake,
        record::{Name, NameKind},
    },
    core::{
        code::Code,
        fact::SUBSCRIPTION_ENDED,
        id::EventId,
        limits::{EMAIL_MAX_BYTES, NAME_MAX_CHARS},
        money::{Currency, Money},
        time::Millis,
    },
};

/// What can be set for Stripe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Payments count in this program only.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Code>,
    /// What payments are called; `sale` where nothing is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// Whose word on a payment counts: the higher one's.
const SESSION: u8 = 1;
const INVOICE: u8 = 2;

const SOURCE: &str = "stripe";

/// Reads an event. The signature was checked before.
pub fn read(body: &[u8], settings: &Settings, click: &dyn Fn(&str) -> Option<EventId>) -> Result<Event, Vec<Mistake>> {
    let mistake = |field: &str, problem: String| vec![Mistake::new(field, problem)];
    let event: Value =
        serde_json::from_slice(body).map_err(|error| mistake("body", format!("is not JSON: {error}")))?;
    let text = |field: &str| {
        let found = event[field].as_str().filter(|text| !text.is_empty() && text.len() <= 255);
        found.map(str::to_owned).ok_or_else(|| mistake(field, "is missing: this is not an event of Stripe".to_owned()))
    };
    let (id, kind) = (text("id")?, text("type")?);
    let at = event["created"].as_i64().map(seconds);
    let object = Object { object: &event["data"]["object"], settings, click, at };
    let found = match kind.as_str() {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => object.session(),
        "invoice.paid" | "invoice.payment_succeeded" => object.invoice(),
        "invoice_payment.paid" => object.invoice_payment(),
        "charge.succeeded" => Ok(object.charge_names().map(Deed::Payment).into_iter().collect()),
        "charge.refunded" => object.refund(),
        "charge.dispute.created" => object.dispute(),
        "charge.dispute.closed" => object.dispute_closed(),
        "customer.subscription.deleted" => object.ended(),
        _ => Err("events of this type are not needed here"),
    };
    let (deeds, why) = found.map_or_else(|why| (Vec::new(), why), |deeds| (deeds, ""));
    let why = if deeds.is_empty() && why.is_empty() { "it names nothing that is not known" } else { why };
    Ok(Event { id, kind, deeds, why })
}

type Found = Result<Vec<Deed>, &'static str>;

const INCOMPLETE: &str = "it lacks its id";
const NOTHING_PAID: &str = "nothing was paid";
const CURRENCY: &str = "its amount or currency is not understood";

struct Object<'e> {
    object: &'e Value,
    settings: &'e Settings,
    click: &'e dyn Fn(&str) -> Option<EventId>,
    at: Option<Millis>,
}

fn seconds(seconds: i64) -> Millis {
    Millis(seconds.saturating_mul(1_000))
}

/// An id, or the expanded object that has it.
fn id(value: &Value) -> Option<String> {
    let id = value.as_str().or_else(|| value["id"].as_str())?;
    (!id.is_empty() && id.len() <= NAME_MAX_CHARS).then(|| id.to_owned())
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().map(str::trim).filter(|text| !text.is_empty())
}

impl Object<'_> {
    fn id(&self, field: &str) -> Option<String> {
        id(&self.object[field])
    }

    fn money(&self, field: &str) -> Result<Money, &'static str> {
        let currency = self.object["currency"].as_str().and_then(|code| code.parse::<Currency>().ok());
        let money = self.object[field].as_i64().zip(currency).and_then(|(sum, currency)| amount::stripe(sum, currency));
        money.ok_or(CURRENCY)
    }

    /// What somebody wrote on the object, or on the subscription that it is for.
    fn metadata(&self, key: &str) -> Option<&str> {
        let object = self.object;
        let places = [
            &object["metadata"],
            &object["parent"]["subscription_details"]["metadata"],
            &object["subscription_details"]["metadata"],
            &object["lines"]["data"][0]["metadata"],
        ];
        places.into_iter().find_map(|metadata| text(&metadata[key]))
    }

    fn names(&self) -> Vec<Name> {
        let object = self.object;
        let mut names: Vec<Name> = Vec::new();
        let mut name = |place: i64, kind: NameKind, value: String| {
            let fits = value.len() <= NAME_MAX_CHARS && !value.chars().any(char::is_control);
            if fits && !names.iter().any(|name| name.kind == kind && name.value == value) {
                names.push(Name { place, kind, value });
            }
        };
        let reference = text(&object["client_reference_id"]);
        for token in [self.metadata("fpc"), reference].into_iter().flatten() {
            if let Some(click) = (self.click)(token) {
                name(1, NameKind::Click, click.to_string());
            }
        }
        if let Some(external) = self.metadata("external_id") {
            name(2, NameKind::External, external.to_owned());
        }
        if let Some(reference) = reference.filter(|text| (self.click)(text).is_none()) {
            name(3, NameKind::External, reference.to_owned());
        }
        let emails = [
            &object["customer_email"],
            &object["customer_details"]["email"],
            &object["receipt_email"],
            &object["billing_details"]["email"],
            &object["customer"]["email"],
        ];
        for email in emails.into_iter().filter_map(text).filter(|email| email.contains('@')) {
            if email.len() <= EMAIL_MAX_BYTES {
                name(4, NameKind::Email, email.to_lowercase());
            }
        }
        if let Some(customer) = self.id("customer") {
            name(5, NameKind::External, customer.clone());
            name(6, NameKind::Customer, customer);
        }
        names
    }

    fn conversion(
        &self,
        event: &str,
        money: Option<Money>,
        payment: Vec<String>,
        standing: u8,
        at: Option<Millis>,
    ) -> Deed {
        Deed::Conversion(Box::new(ToldConversion {
            whose: Whose::Names(self.names()),
            program: self.settings.program.clone(),
            event: event.to_owned(),
            money,
            invoice: payment.first().cloned(),
            source: SOURCE.to_owned(),
            further: Further { payment, fingerprint: None, standing: Some(standing) },
            at: at.or(self.at),
        }))
    }

    fn sale(&self) -> &str {
        self.settings.event.as_deref().unwrap_or("sale")
    }

    fn session(&self) -> Found {
        let object = self.object;
        if object["payment_status"].as_str() != Some("paid") || object["amount_total"].as_i64().unwrap_or(0) == 0 {
            return Err(NOTHING_PAID);
        }
        let money = self.money("amount_total")?;
        let mut payment: Vec<String> = [self.id("invoice"), self.id("payment_intent")].into_iter().flatten().collect();
        // A payment whose name comes with another event would be told twice.
        if payment.is_empty() {
            payment.extend(self.id("id"));
        }
        if payment.is_empty() {
            return Err(INCOMPLETE);
        }
        Ok(vec![self.conversion(self.sale(), Some(money), payment, SESSION, None)])
    }

    fn invoice(&self) -> Found {
        let object = self.object;
        if object["amount_paid"].as_i64().unwrap_or(0) == 0 {
            return Err(NOTHING_PAID);
        }
        let money = self.money("amount_paid")?;
        let mut payment = vec![self.id("id").ok_or(INCOMPLETE)?];
        payment.extend(self.id("payment_intent"));
        payment.extend(self.id("charge"));
        for paid in object["payments"]["data"].as_array().into_iter().flatten() {
            payment.extend(id(&paid["payment"]["payment_intent"]));
            payment.extend(id(&paid["payment"]["charge"]));
        }
        let paid_at = object["status_transitions"]["paid_at"].as_i64().map(seconds);
        Ok(vec![self.conversion(self.sale(), Some(money), payment, INVOICE, paid_at)])
    }

    /// Since the version 2025-03-31: which invoice a payment is for.
    fn invoice_payment(&self) -> Found {
        let payment = &self.object["payment"];
        let names = [self.id("invoice"), id(&payment["payment_intent"]), id(&payment["charge"])];
        let names: Vec<String> = names.into_iter().flatten().collect();
        if names.len() < 2 {
            return Err(INCOMPLETE);
        }
        Ok(vec![Deed::Payment(Box::new(ToldPayment { names, fingerprint: None }))])
    }

    /// The names of a charge's payment, and its card's fingerprint.
    fn charge_names(&self) -> Option<Box<ToldPayment>> {
        let names: Vec<String> =
            [self.id("invoice"), self.id("payment_intent"), self.id("id")].into_iter().flatten().collect();
        let method = &self.object["payment_method_details"];
        let kind = method["type"].as_str().unwrap_or("card");
        let fingerprint = text(&method[kind]["fingerprint"]).map(str::to_owned);
        (names.len() > 1 || fingerprint.is_some()).then(|| Box::new(ToldPayment { names, fingerprint }))
    }

    fn refund(&self) -> Found {
        let charge = self.id("id").ok_or(INCOMPLETE)?;
        let mut payment: Vec<String> = [self.id("invoice"), self.id("payment_intent")].into_iter().flatten().collect();
        payment.push(charge.clone());
        let so_far = self.money("amount_refunded")?;
        if so_far.amount == 0 {
            return Err("nothing was refunded");
        }
        let mut deeds: Vec<Deed> = self.charge_names().map(Deed::Payment).into_iter().collect();
        deeds.push(self.back(&charge, payment, Some(so_far.amount), Sum::SoFar, "refunded"));
        Ok(deeds)
    }

    fn back(&self, name: &str, payment: Vec<String>, amount: Option<i64>, sum: Sum, reason: &str) -> Deed {
        Deed::Refund(Box::new(ToldRefund {
            invoice: payment.first().cloned().unwrap_or_default(),
            refund: Some(format!("{SOURCE} {name}")),
            amount,
            sum,
            payment,
            reason: reason.to_owned(),
            at: self.at,
        }))
    }

    fn disputed(&self, amount: Option<i64>, sum: Sum) -> Found {
        let dispute = self.id("id").ok_or(INCOMPLETE)?;
        let payment: Vec<String> = [self.id("payment_intent"), self.id("charge")].into_iter().flatten().collect();
        if payment.is_empty() {
            return Err(INCOMPLETE);
        }
        let reason = format!("disputed: {}", text(&self.object["reason"]).unwrap_or("for no reason given"));
        Ok(vec![self.back(&dispute, payment, amount, sum, &reason)])
    }

    fn dispute(&self) -> Found {
        if text(&self.object["status"]).is_some_and(|status| status.starts_with("warning")) {
            return Err("an inquiry takes nothing back");
        }
        self.disputed(None, Sum::SoFar)
    }

    fn dispute_closed(&self) -> Found {
        if text(&self.object["status"]) != Some("won") {
            return Err("a dispute that is not won changes nothing");
        }
        self.disputed(Some(0), Sum::ForGood)
    }

    fn ended(&self) -> Found {
        let subscription = self.id("id").ok_or(INCOMPLETE)?;
        let at = self.object["ended_at"].as_i64().map(seconds);
        Ok(vec![self.conversion(SUBSCRIPTION_ENDED, None, vec![subscription], INVOICE, at)])
    }
}
