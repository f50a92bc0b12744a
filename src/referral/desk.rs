//! The doors: a fact comes in. It is written with everything that follows from it, in one transaction, and told to webhooks
//! and the event store in the same one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use serde_json::json;

use super::{
    evidence::{Evidence, judge},
    follow::{self, follow},
    notice,
    once::{Once, answered, finish},
    told::{ToldConversion, ToldLead, ToldRefund, Whose},
};
use crate::{
    catalog::{
        Catalog, CatalogError, Mistake,
        audit::{Change, Deed},
        record::{
            Answer, ContactId, ConversionRow, Known, LeadRow, Recording, ReferralRow, RefundRow, RewardRow, RulingRow,
            Told,
        },
    },
    core::{
        code::Code,
        event::{Event, Kind},
        fact::{self, FactId},
        key::KeyRing,
        terms::RewardState,
        time::Millis,
        token::Token,
    },
    io::clock::Clock,
};

#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Something else was told under this name before; this is what is known.
    #[error("{what} `{name}` was told before, and otherwise: give another {what}, or tell the same")]
    Conflict { what: &'static str, name: String, known: serde_json::Value },
}

impl DeskError {
    fn mistake(field: &str, problem: impl Into<String>) -> DeskError {
        DeskError::Catalog(CatalogError::Invalid(vec![Mistake::new(field, problem)]))
    }
}

/// What became of a lead.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LeadAnswer {
    #[schema(value_type = String)]
    pub lead: FactId,
    #[schema(value_type = String)]
    pub contact: ContactId,
    /// `None`: nobody brought this person.
    pub referral: Option<ReferralRow>,
    /// Why, in words.
    pub attribution: Vec<String>,
}

/// What became of a conversion or a refund.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FactAnswer {
    #[schema(value_type = String)]
    pub id: FactId,
    /// It was told before.
    pub again: bool,
    /// Referrals that it counts for.
    pub referrals: Vec<ReferralRow>,
    /// Why it counts for none.
    pub unmatched: Option<String>,
}

/// Takes facts in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Desk {
    catalog: Catalog,
    keys: Arc<ArcSwap<KeyRing>>,
    clock: Clock,
}

impl Desk {
    pub fn new(catalog: Catalog, keys: Arc<ArcSwap<KeyRing>>, clock: Clock) -> Desk {
        Desk { catalog, keys, clock }
    }

    pub async fn lead(&self, told: &ToldLead, once: Option<&Once>) -> Result<Answer, DeskError> {
        let mut record = self.catalog.record().await?;
        if let Some(answer) = answered(&mut record, once).await? {
            return Ok(answer);
        }
        let lead = self.take_lead(&mut record, told).await?;
        finish(record, once, 201, &lead).await
    }

    async fn take_lead(&self, record: &mut Recording, told: &ToldLead) -> Result<LeadAnswer, DeskError> {
        let Some(program) = record.program(&told.program).await? else {
            return Err(DeskError::mistake("program", format!("there is no program `{}`", told.program)));
        };
        let at = told.at.unwrap_or_else(|| record.now());
        let Evidence { click, visitor, candidates } = Evidence::of(told, &self.keys.load(), self.clock.now(), at);
        let decision = judge(record, &program, candidates, at).await?;
        let (contact, _) = record.contact(&told.person).await?;
        if let Some(visitor) = visitor {
            record.bind_visitor(contact, visitor).await?;
        }
        let credited = decision.credited();
        let row = LeadRow {
            program: told.program.clone(),
            contact,
            click,
            metadata: told.metadata.clone(),
            credited: credited.clone(),
            decision: serde_json::to_string(&decision).unwrap_or_default(),
            at,
        };
        let lead = record.lead(&row).await?;
        let names: Vec<(Known, &str)> =
            [(Known::Email, told.person.email.as_deref()), (Known::External, told.person.external.as_deref())]
                .into_iter()
                .filter_map(|(kind, value)| Some((kind, value?)))
                .collect();
        record.match_conversions(contact, &names).await?;
        let data = json!({ "id": lead, "program": told.program, "contact": contact, "credited": credited, "at": at });
        let event = event(Kind::Lead, lead, at, &told.program, credited.as_ref());
        record.tell_event("lead.created", &told.program, data, event).await?;
        follow(record, contact).await?;
        if let Some(click) = click {
            for concerned in record.match_click(click).await? {
                follow(record, concerned).await?;
            }
        }
        let referral = record.referral_of(contact, &told.program).await?;
        Ok(LeadAnswer { lead, contact, referral, attribution: decision.in_words() })
    }

    pub async fn convert(&self, told: &ToldConversion, once: Option<&Once>) -> Result<Answer, DeskError> {
        let mut record = self.catalog.record().await?;
        if let Some(answer) = answered(&mut record, once).await? {
            return Ok(answer);
        }
        if let Some(program) = &told.program
            && record.program(program).await?.is_none()
        {
            return Err(DeskError::mistake("program", format!("there is no program `{program}`")));
        }
        let (told_by, told_as, contact) = self.whose(&mut record, &told.whose).await?;
        let row = ConversionRow {
            invoice: told.invoice.clone(),
            contact,
            told_by,
            told_as,
            program: told.program.clone(),
            event: told.event.clone(),
            money: told.money,
            source: told.source.clone(),
            digest: told.digest(),
            at: told.at.unwrap_or_else(|| record.now()),
        };
        let id = match record.conversion(&row).await? {
            Told::New(id) => id,
            Told::Again(id) => {
                let answer = answer_for(&mut record, id, true, contact).await?;
                return finish(record, once, 200, &answer).await;
            }
            Told::Otherwise(id) => {
                let known = json!(answer_for(&mut record, id, true, contact).await?);
                let name = told.invoice.clone().unwrap_or_default();
                return Err(DeskError::Conflict { what: "invoice_id", name, known });
            }
        };
        if let Some(contact) = contact {
            follow(&mut record, contact).await?;
        }
        let answer = answer_for(&mut record, id, false, contact).await?;
        for referral in &answer.referrals {
            let credited = credited(referral);
            let event = event(Kind::Conversion, id, row.at, &referral.program, Some(&credited));
            let data = json!({ "id": id, "event": row.event, "money": row.money, "referral": referral.id });
            record.tell_event("conversion.created", &referral.program, data, event).await?;
        }
        finish(record, once, 201, &answer).await
    }

    /// By what a conversion's person is known, and who that is as far as we know.
    async fn whose(
        &self,
        record: &mut Recording,
        whose: &Whose,
    ) -> Result<(&'static str, String, Option<ContactId>), DeskError> {
        Ok(match whose {
            Whose::Email(email) => ("email", email.clone(), record.contact_by(Known::Email, email).await?),
            Whose::External(id) => ("external", id.clone(), record.contact_by(Known::External, id).await?),
            Whose::Referral(id) => {
                let contact = record.referral_by_id(*id).await?.map(|referral| referral.contact);
                if contact.is_none() {
                    return Err(DeskError::mistake("referral", format!("there is no referral `{id}`")));
                }
                ("referral", id.to_string(), contact)
            }
            Whose::Token(token) => {
                let Some(token) = Token::decode(token.as_bytes(), &self.keys.load()) else {
                    return Err(DeskError::mistake("token", "is not a click token of ours, or was changed on its way"));
                };
                ("click", token.click.to_string(), record.contact_of_click(token.click).await?)
            }
        })
    }

    pub async fn refund(&self, told: &ToldRefund, once: Option<&Once>) -> Result<Answer, DeskError> {
        let mut record = self.catalog.record().await?;
        if let Some(answer) = answered(&mut record, once).await? {
            return Ok(answer);
        }
        let row = RefundRow {
            id: told.id(),
            invoice: told.invoice.clone(),
            amount: told.amount,
            reason: told.reason.clone(),
            digest: told.digest(),
            at: told.at.unwrap_or_else(|| record.now()),
        };
        let told_now = record.refund(&row).await?;
        let contact = record.contact_of_invoice(&told.invoice).await?;
        if matches!(told_now, Told::New(_))
            && let Some(contact) = contact
        {
            follow(&mut record, contact).await?;
        }
        let again = !matches!(told_now, Told::New(_));
        let answer = answer_for(&mut record, row.id, again, contact).await?;
        match told_now {
            Told::Again(_) => return finish(record, once, 200, &answer).await,
            Told::Otherwise(_) => {
                let name = told.refund.clone().unwrap_or_else(|| told.invoice.clone());
                return Err(DeskError::Conflict { what: "refund_id", name, known: json!(answer) });
            }
            Told::New(_) => {}
        }
        for referral in &answer.referrals {
            let credited = credited(referral);
            let event = event(Kind::Refund, row.id, row.at, &referral.program, Some(&credited));
            let data =
                json!({ "id": row.id, "invoice_id": row.invoice, "amount": row.amount, "referral": referral.id });
            record.tell_event("refund.created", &referral.program, data, event).await?;
        }
        finish(record, once, 201, &answer).await
    }

    /// A word by hand on a referral.
    pub async fn rule(&self, referral: FactId, verdict: fact::Verdict, note: &str) -> Result<ReferralRow, DeskError> {
        let mut record = self.catalog.record().await?;
        let Some(found) = record.referral_by_id(referral).await? else { return Err(no_referral(referral)) };
        let (program, contact) = (found.program.clone(), found.contact);
        let row = RulingRow { program, contact, verdict, note: note.to_owned(), at: record.now() };
        record.ruling(&row).await?;
        follow(&mut record, contact).await?;
        let after = record.referral_of(contact, &found.program).await?.ok_or_else(|| no_referral(referral))?;
        let changes = vec![Change::new("state", found.state, after.state.clone())];
        record.audit(None, Deed::new(verdict.word(), "referral", referral.to_string()).with(changes));
        record.commit().await?;
        Ok(after)
    }

    /// Marks due rewards as issued under a reference. All of them or none.
    pub async fn issue(&self, rewards: &[FactId], reference: &str) -> Result<Vec<RewardRow>, DeskError> {
        let mut record = self.catalog.record().await?;
        let mut issued = Vec::with_capacity(rewards.len());
        let mut mistakes = Vec::new();
        for (at, id) in rewards.iter().enumerate() {
            let field = format!("rewards[{at}]");
            let Some(before) = record.reward_by_id(*id).await? else {
                mistakes.push(Mistake::new(field, format!("there is no reward `{id}`")));
                continue;
            };
            // The same call again changes nothing.
            if before.state == RewardState::Issued && before.reference == reference {
                issued.push(before);
                continue;
            }
            if before.state != RewardState::Due {
                let problem = format!("`{id}` is {}: only a due reward can be issued", before.state.word());
                mistakes.push(Mistake::new(field, problem));
                continue;
            }
            let (state, issued_at) = (RewardState::Issued, Some(record.now()));
            let row = RewardRow { state, issued_at, reference: reference.to_owned(), ..before.clone() };
            record.put_reward(&row).await?;
            follow::tell(&mut record, Some(&before), &row).await?;
            record.audit(None, notice::issued(&before, &row));
            issued.push(row);
        }
        if !mistakes.is_empty() {
            return Err(DeskError::Catalog(CatalogError::Invalid(mistakes)));
        }
        record.commit().await?;
        Ok(issued)
    }

    /// Makes due what has been held long enough, at most `limit` rewards. Gives how many.
    pub async fn release(&self, limit: i64) -> Result<usize, DeskError> {
        let mut record = self.catalog.record().await?;
        let held = record.rewards_to_release(limit).await?;
        for before in &held {
            let mut row = before.clone();
            super::reward::stand(&mut row, None, false, record.now());
            record.put_reward(&row).await?;
            follow::tell(&mut record, Some(before), &row).await?;
        }
        notice::settle(&mut record).await?;
        record.commit().await?;
        Ok(held.len())
    }
}

/// A row of history for the event store.
fn event(kind: Kind, id: FactId, at: Millis, program: &Code, credited: Option<&fact::Credited>) -> Event {
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

fn no_referral(id: FactId) -> DeskError {
    DeskError::Catalog(CatalogError::NotFound { kind: "referral", code: id.to_string() })
}

fn credited(referral: &ReferralRow) -> fact::Credited {
    let ReferralRow { partner, link, ad, click, .. } = referral.clone();
    fact::Credited { partner, link, ad, click }
}

/// The referrals that a fact about this person counts for.
async fn answer_for(
    record: &mut Recording,
    id: FactId,
    again: bool,
    contact: Option<ContactId>,
) -> Result<FactAnswer, CatalogError> {
    let Some(contact) = contact else {
        let why = "nobody knows this person yet: it is kept, and counts when their lead comes";
        return Ok(FactAnswer { id, again, referrals: Vec::new(), unmatched: Some(why.to_owned()) });
    };
    let mut referrals = Vec::new();
    for program in record.programs_of(contact).await? {
        referrals.extend(record.referral_of(contact, &program).await?);
    }
    let why = "no partner brought this person: it is kept, and counts when a lead says who did";
    let unmatched = referrals.is_empty().then(|| why.to_owned());
    Ok(FactAnswer { id, again, referrals, unmatched })
}
