//! What follows from the facts about a person, and what others are told of the facts themselves: a conversion, and a refund, once
//! a program, as soon as it belongs to a referral there. So it is told as well when the lead comes last.

use serde_json::json;

use super::follow;
use crate::{
    catalog::{
        CatalogError,
        record::{ContactId, Recording, ReferralRow, UntoldConversion, UntoldRefund},
    },
    core::{
        code::Code,
        event::{Event, Kind},
        fact::{Credited, FactId},
        time::Millis,
    },
};

/// Computes anew what follows for a person, writes what has changed, and tells what was not told yet.
pub(super) async fn follow(record: &mut Recording, contact: ContactId) -> Result<(), CatalogError> {
    follow::follow(record, contact).await?;
    let (conversions, any) = record.untold_conversions(contact).await?;
    for conversion in conversions {
        if let Some(referral) = record.referral_of(contact, &conversion.program).await? {
            tell_conversion(record, &referral, conversion).await?;
        }
    }
    if any {
        for refund in record.untold_refunds(contact).await? {
            if let Some(referral) = record.referral_of(contact, &refund.program).await? {
                tell_refund(record, &referral, refund).await?;
            }
        }
    }
    Ok(())
}

async fn tell_conversion(
    record: &mut Recording,
    referral: &ReferralRow,
    conversion: UntoldConversion,
) -> Result<(), CatalogError> {
    let UntoldConversion { id, program, event: name, money, at } = conversion;
    let event = event(Kind::Conversion, id, at, &program, Some(&credited(referral)));
    let data = json!({ "id": id, "event": name, "money": money, "referral": referral.id });
    record.tell_event("conversion.created", &program, data, event).await?;
    record.fact_told(id, &program, None).await
}

async fn tell_refund(record: &mut Recording, referral: &ReferralRow, refund: UntoldRefund) -> Result<(), CatalogError> {
    let UntoldRefund { id, program, invoice, amount, told, at } = refund;
    // A refund that came to nothing (a dispute that was won) is none.
    if amount != Some(0) {
        // What grows is an event of its own by as much as it has grown.
        let grown = amount.map(|amount| amount - told.unwrap_or(0));
        let event_id = if told.is_some() { record.fresh_id()? } else { id };
        let event = event(Kind::Refund, event_id, at, &program, Some(&credited(referral)));
        let data = json!({ "id": id, "invoice_id": invoice, "amount": grown, "referral": referral.id });
        record.tell_event("refund.created", &program, data, event).await?;
    }
    record.fact_told(id, &program, amount).await
}

/// A row of history for the event store.
pub(super) fn event(kind: Kind, id: FactId, at: Millis, program: &Code, credited: Option<&Credited>) -> Event {
    let text = |code: Option<&Code>| code.map(Code::to_string).unwrap_or_default();
    Event {
        id: id.0.to_vec(),
        kind: kind as i32,
        time_ms: at.0,
        program: program.to_string(),
        partner: text(credited.map(|credited| &credited.partner)),
        link: text(credited.and_then(|credited| credited.link.as_ref())),
        ad: text(credited.and_then(|credited| credited.ad.as_ref())),
        click: credited.and_then(|credited| credited.click).map_or_else(Vec::new, |click| click.0.to_vec()),
        ..Event::default()
    }
}

fn credited(referral: &ReferralRow) -> Credited {
    let ReferralRow { partner, link, ad, click, .. } = referral.clone();
    Credited { partner, link, ad, click }
}
