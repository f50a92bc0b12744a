//! Facts as they are shown to who tries a mapping.

use serde_json::{Value, json};

use super::super::{
    deed::Deed,
    told::{ToldConversion, ToldLead, ToldPayment, ToldRefund, Whose},
};

/// What a fact says.
pub fn shown(deed: &Deed) -> Value {
    match deed {
        Deed::Lead(told) => {
            let ToldLead { program, person, token, partner, metadata, at, .. } = &**told;
            json!({ "fact": "lead", "program": program, "email": person.email, "external_id": person.external,
                "first_name": person.first_name, "last_name": person.last_name, "token": token, "partner": partner,
                "metadata": serde_json::from_str::<Value>(metadata).unwrap_or_default(), "at": at })
        }
        Deed::Conversion(told) => {
            let ToldConversion { whose, program, event, money, invoice, further, at, .. } = &**told;
            json!({ "fact": "conversion", "person": person(whose), "program": program, "event": event, "money": money,
                "invoice_id": invoice, "payment": further.payment, "at": at })
        }
        Deed::Refund(told) => {
            let ToldRefund { invoice, refund, amount, payment, reason, at, .. } = &**told;
            json!({ "fact": "refund", "invoice_id": invoice, "refund_id": refund, "amount": amount, "payment": payment,
                "reason": reason, "at": at })
        }
        Deed::Payment(told) => {
            let ToldPayment { names, fingerprint } = &**told;
            json!({ "fact": "payment", "payment": names, "fingerprint": fingerprint.is_some() })
        }
    }
}

/// By what a person is named, what counts most first.
fn person(whose: &Whose) -> Value {
    let one = |kind: &str, value: &str| json!([{ "by": kind, "is": value }]);
    match whose {
        Whose::Referral(id) => one("referral", &id.to_string()),
        Whose::Email(email) => one("email", email),
        Whose::External(id) => one("external_id", id),
        Whose::Token(token) => one("token", token),
        Whose::Names(names) => {
            names.iter().map(|name| json!({ "by": name.kind.word(), "is": name.value })).collect::<Vec<_>>().into()
        }
    }
}
