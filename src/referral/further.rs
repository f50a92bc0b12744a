//! What a payment provider tells besides: several names for one person, several for one payment, a card's fingerprint.

use std::collections::BTreeSet;

use super::{
    attribution::Decision,
    desk::{DeskError, LeadAnswer},
    told::{ToldConversion, ToldLead, Whose},
};
use crate::{
    catalog::{
        CatalogError,
        record::{ContactId, ConversionRow, Known, Name, Recording},
    },
    core::{
        fact::{Credited, FactId},
        id::EventId,
    },
};

/// A keyed hash of what identifies a card or an account: two that are the same can be told to be, and nothing else.
pub(super) async fn fingerprint(
    record: &mut Recording,
    fingerprint: Option<&str>,
) -> Result<Option<String>, CatalogError> {
    let Some(fingerprint) = fingerprint else { return Ok(None) };
    let key = blake3::derive_key("fingerpost 2026 payment fingerprint v1", record.hash_key().await?.as_bytes());
    let hash = blake3::keyed_hash(&key, fingerprint.as_bytes());
    Ok(Some(data_encoding::HEXLOWER.encode(&hash.as_bytes()[..16])))
}

/// The name that a payment goes by, and whose facts have moved because of what was told now.
pub(super) async fn payment_name(
    record: &mut Recording,
    invoice: Option<&str>,
    others: &[String],
    payment: Option<&str>,
) -> Result<(Option<String>, BTreeSet<ContactId>), CatalogError> {
    match invoice {
        None => Ok((None, BTreeSet::new())),
        Some(invoice) if others.is_empty() => Ok((Some(record.payment(invoice).await?), BTreeSet::new())),
        Some(invoice) => {
            let mut names = others.to_vec();
            names.push(invoice.to_owned());
            let (name, concerned) = record.one_payment(&names, payment).await?;
            Ok((Some(name), concerned))
        }
    }
}

/// What else is told with a conversion: the word that counts, the person's names. Gives who is concerned.
pub(super) async fn tell_further(
    record: &mut Recording,
    id: FactId,
    told: &ToldConversion,
    row: &ConversionRow,
    again: bool,
) -> Result<BTreeSet<ContactId>, CatalogError> {
    let mut concerned = BTreeSet::new();
    let names: &[Name] = if let Whose::Names(names) = &told.whose { names } else { &[] };
    record.add_names(id, names).await?;
    let words: Vec<(&str, &str)> = names.iter().map(|name| (name.kind.word(), name.value.as_str())).collect();
    concerned.extend(record.rematch(&words).await?);
    if again && record.retold(id, row).await? {
        concerned.extend(record.contact_of(id).await?);
    }
    if let Some(invoice) = &row.invoice {
        concerned.extend(record.mark_payment(invoice).await?);
    }
    Ok(concerned)
}

/// A lead has told more of these names: conversions that were told by several go to whom they belong to now.
pub(super) async fn rematch(
    record: &mut Recording,
    (contact, credited): (ContactId, Option<&Credited>),
    names: &[(Known, &str)],
    click: Option<EventId>,
) -> Result<BTreeSet<ContactId>, CatalogError> {
    let (click_id, click) = (click, click.map(|click| click.to_string()));
    let mut words: Vec<(&str, &str)> = names.iter().map(|(kind, value)| (kind.word(), *value)).collect();
    words.extend(click.as_deref().map(|click| ("click", click)));
    record.foresee_lead(contact, click_id, &words, credited.map(|credited| &credited.partner)).await?;
    record.rematch(&words).await
}

/// What was answered to a lead that was told under this name before.
pub(super) async fn known_lead(record: &mut Recording, told: &ToldLead) -> Result<Option<LeadAnswer>, DeskError> {
    let Some(lead) = told.id() else { return Ok(None) };
    let Some((contact, decision)) = record.lead_by_id(lead).await? else { return Ok(None) };
    let attribution = serde_json::from_str::<Decision>(&decision).map(|decision| decision.in_words());
    let referral = record.referral_of(contact, &told.program).await?;
    Ok(Some(LeadAnswer { lead, contact, again: true, referral, attribution: attribution.unwrap_or_default() }))
}
