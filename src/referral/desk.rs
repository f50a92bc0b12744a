//! The doors: a fact comes in. It is written with everything that follows from it, in one transaction, and told to webhooks
//! and the event store in the same one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use serde_json::json;

use super::{
    clicks::Clicks,
    evidence::{Evidence, judge},
    follow,
    further::{fingerprint, known_lead, payment_name, rematch, tell_further},
    history::{event, follow},
    notice,
    once::{Once, answered, finish},
    rejudge::{rejudge, settle},
    told::{STANDING_API, Sum, ToldConversion, ToldLead, ToldRefund, Whose},
    whole::to_the_end,
};
use crate::{
    catalog::{
        Catalog, CatalogError, Mistake,
        audit::{Change, Deed},
        record::{
            Answer, ContactId, ConversionRow, FOR_GOOD, Known, LeadRow, Recording, ReferralRow, RefundRow, RewardRow,
            RulingRow, Told,
        },
    },
    core::{
        code::Code,
        event::Kind,
        fact::{self, FactId},
        id::EventId,
        key::KeyRing,
        terms::RewardState,
        token::Token,
    },
    io::clock::Clock,
    store::Reports,
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
    pub(super) fn mistake(field: &str, problem: impl Into<String>) -> DeskError {
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
    /// It was told before.
    pub again: bool,
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
    pub(super) catalog: Catalog,
    pub(super) keys: Arc<ArcSwap<KeyRing>>,
    pub(super) clock: Clock,
    pub(super) clicks: Option<Arc<Clicks>>,
}

impl Desk {
    pub fn new(catalog: Catalog, keys: Arc<ArcSwap<KeyRing>>, clock: Clock) -> Desk {
        Desk { catalog, keys, clock, clicks: None }
    }

    /// The same with an event store, whose clicks are candidates for the credit of leads.
    pub fn with_history(self, reports: Arc<dyn Reports>) -> Desk {
        Desk { clicks: Some(Arc::new(Clicks::new(reports))), ..self }
    }

    /// The click that a token of ours was given with.
    pub fn click(&self, token: &str) -> Option<EventId> {
        Token::decode(token.as_bytes(), &self.keys.load()).map(|token| token.click)
    }

    pub async fn lead(&self, told: &ToldLead, once: Option<&Once>) -> Result<Answer, DeskError> {
        let (desk, told, once) = (self.clone(), told.clone(), once.cloned());
        to_the_end(async move { desk.lead_whole(&told, once.as_ref()).await }).await
    }

    async fn lead_whole(&self, told: &ToldLead, once: Option<&Once>) -> Result<Answer, DeskError> {
        // Before the record is locked: nobody else waits for the event store.
        let asked = self.ask_history(told).await?;
        let mut record = self.catalog.record().await?;
        if let Some(answer) = answered(&mut record, once).await? {
            return Ok(answer);
        }
        asked.keep(&mut record).await?;
        let lead = self.take_lead(&mut record, told).await?;
        finish(record, once, 201, &lead).await
    }

    pub(super) async fn take_lead(&self, record: &mut Recording, told: &ToldLead) -> Result<LeadAnswer, DeskError> {
        let at = told.at.unwrap_or_else(|| record.now());
        let Evidence { click, visitor, candidates } = Evidence::of(told, &self.keys.load(), self.clock.now(), at);
        let names: Vec<(Known, &str)> = told.person.keys().collect();
        let partners: Vec<Code> = candidates.iter().map(|candidate| candidate.partner.clone()).collect();
        record.foresee_names(&names, None, Some(&told.program), &partners).await?;
        let Some(program) = record.program(&told.program).await? else {
            return Err(DeskError::mistake("program", format!("there is no program `{}`", told.program)));
        };
        if let Some(known) = known_lead(record, told).await? {
            return Ok(known);
        }
        let decision = judge(record, &program, candidates, at).await?;
        let (contact, _) = record.contact(&told.person).await?;
        if let Some(visitor) = visitor {
            record.bind_visitor(contact, visitor, at).await?;
        }
        let row = LeadRow {
            id: told.id(),
            program: told.program.clone(),
            contact,
            click,
            metadata: told.metadata.clone(),
            credited: decision.credited(),
            decision: serde_json::to_string(&decision).unwrap_or_default(),
            network: told.network.clone(),
            at,
        };
        let lead = record.lead(&row).await?;
        record.match_conversions(contact, &names).await?;
        let others = rematch(record, (contact, row.credited.as_ref()), &names, click).await?;
        // What the person's visitors did may say more than what came with the lead.
        let mut rejudged = rejudge(record, contact).await?;
        let decision = rejudged.told.remove(&lead).unwrap_or(decision);
        let credited = decision.credited();
        let data = json!({ "id": lead, "program": told.program, "contact": contact, "credited": credited, "at": at });
        let event = event(Kind::Lead, lead, at, &told.program, credited.as_ref());
        record.tell_event("lead.created", &told.program, data, event).await?;
        settle(record, contact, rejudged).await?;
        for other in others.into_iter().filter(|other| *other != contact) {
            follow(record, other).await?;
        }
        if let Some(click) = click {
            for concerned in record.match_click(click).await? {
                follow(record, concerned).await?;
            }
        }
        let referral = record.referral_of(contact, &told.program).await?;
        Ok(LeadAnswer { lead, contact, again: false, referral, attribution: decision.in_words() })
    }

    pub async fn convert(&self, told: &ToldConversion, once: Option<&Once>) -> Result<Answer, DeskError> {
        let (desk, told, once) = (self.clone(), told.clone(), once.cloned());
        to_the_end(async move { desk.convert_whole(&told, once.as_ref()).await }).await
    }

    async fn convert_whole(&self, told: &ToldConversion, once: Option<&Once>) -> Result<Answer, DeskError> {
        let mut record = self.catalog.record().await?;
        if let Some(answer) = answered(&mut record, once).await? {
            return Ok(answer);
        }
        let answer = self.take_conversion(&mut record, told).await?;
        finish(record, once, if answer.again { 200 } else { 201 }, &answer).await
    }

    pub(super) async fn take_conversion(
        &self,
        record: &mut Recording,
        told: &ToldConversion,
    ) -> Result<FactAnswer, DeskError> {
        let key = match &told.whose {
            Whose::Email(email) => Some((Known::Email, email.as_str())),
            Whose::External(id) => Some((Known::External, id.as_str())),
            _ => None,
        };
        record.foresee_names(key.as_slice(), told.invoice.as_deref(), told.program.as_ref(), &[]).await?;
        if let Some(program) = &told.program
            && record.program(program).await?.is_none()
        {
            return Err(DeskError::mistake("program", format!("there is no program `{program}`")));
        }
        let (told_by, told_as, contact) = self.whose(record, &told.whose).await?;
        let payment = fingerprint(record, told.further.fingerprint.as_deref()).await?;
        let (invoice, mut concerned) =
            payment_name(record, told.invoice.as_deref(), &told.further.payment, payment.as_deref()).await?;
        let standing = told.further.standing;
        let row = ConversionRow {
            invoice,
            contact,
            told_by,
            told_as,
            program: told.program.clone(),
            event: told.event.clone(),
            money: told.money,
            source: told.source.clone(),
            digest: told.digest(),
            payment,
            standing: standing.map_or(STANDING_API, i64::from),
            at: told.at.unwrap_or_else(|| record.now()),
        };
        let (id, again) = match record.conversion(&row).await? {
            Told::New(id) => (id, false),
            Told::Again(id) => (id, true),
            // A provider tells a payment in several events, and not all say the same.
            Told::Otherwise(id) if standing.is_some() => (id, true),
            Told::Otherwise(id) => {
                let known = json!(answer_for(record, id, true, contact).await?);
                let name = told.invoice.clone().unwrap_or_default();
                return Err(DeskError::Conflict { what: "invoice_id", name, known });
            }
        };
        if standing.is_some() {
            concerned.extend(tell_further(record, id, told, &row, again).await?);
        }
        let contact = if standing.is_some() { record.contact_of(id).await? } else { contact };
        concerned.extend(contact.filter(|_| !again));
        for contact in concerned {
            follow(record, contact).await?;
        }
        let answer = answer_for(record, id, again, contact).await?;
        Ok(answer)
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
            // Whose it is follows from all names.
            Whose::Names(_) => ("names", String::new(), None),
            Whose::Token(token) => {
                let Some(token) = Token::decode(token.as_bytes(), &self.keys.load()) else {
                    return Err(DeskError::mistake("token", "is not a click token of ours, or was changed on its way"));
                };
                ("click", token.click.to_string(), record.contact_of_click(token.click).await?)
            }
        })
    }

    pub async fn refund(&self, told: &ToldRefund, once: Option<&Once>) -> Result<Answer, DeskError> {
        let (desk, told, once) = (self.clone(), told.clone(), once.cloned());
        to_the_end(async move { desk.refund_whole(&told, once.as_ref()).await }).await
    }

    async fn refund_whole(&self, told: &ToldRefund, once: Option<&Once>) -> Result<Answer, DeskError> {
        let mut record = self.catalog.record().await?;
        if let Some(answer) = answered(&mut record, once).await? {
            return Ok(answer);
        }
        let answer = self.take_refund(&mut record, told).await?;
        finish(record, once, if answer.again { 200 } else { 201 }, &answer).await
    }

    pub(super) async fn take_refund(&self, record: &mut Recording, told: &ToldRefund) -> Result<FactAnswer, DeskError> {
        let (invoice, mut concerned) = payment_name(record, Some(&told.invoice), &told.payment, None).await?;
        let for_good = told.sum == Sum::ForGood;
        let row = RefundRow {
            id: told.id(),
            invoice: invoice.unwrap_or_default(),
            amount: told.amount,
            reason: told.reason.clone(),
            digest: if for_good { FOR_GOOD.to_owned() } else { told.digest() },
            at: told.at.unwrap_or_else(|| record.now()),
        };
        let (news, conflict) = if told.sum == Sum::One {
            let now = record.refund(&row).await?;
            (matches!(now, Told::New(_)), matches!(now, Told::Otherwise(_)))
        } else {
            (record.refund_in_all(&row, for_good).await?, false)
        };
        let contact = record.contact_of_invoice(&row.invoice).await?;
        concerned.extend(contact.filter(|_| news));
        for contact in concerned {
            follow(record, contact).await?;
        }
        let answer = answer_for(record, row.id, !news, contact).await?;
        if conflict {
            let name = told.refund.clone().unwrap_or_else(|| told.invoice.clone());
            return Err(DeskError::Conflict { what: "refund_id", name, known: json!(answer) });
        }
        Ok(answer)
    }

    /// A word by hand on a referral.
    pub async fn rule(&self, referral: FactId, verdict: fact::Verdict, note: &str) -> Result<ReferralRow, DeskError> {
        let mut record = self.catalog.record().await?;
        let Some(found) = record.referral_by_id(referral).await? else { return Err(no_referral(referral)) };
        let (program, contact) = (found.program.clone(), found.contact);
        // An approval speaks for what is there to be seen.
        let covers = match verdict {
            fact::Verdict::Approve => found.reasons.iter().map(|reason| reason.signal).collect(),
            _ => Vec::new(),
        };
        let row = RulingRow { program, contact, verdict, note: note.to_owned(), covers, at: record.now() };
        record.ruling(&row).await?;
        follow(&mut record, contact).await?;
        let after = record.referral_of(contact, &found.program).await?.ok_or_else(|| no_referral(referral))?;
        let changes = vec![Change::new("state", found.state, after.state.clone())];
        record.audit(None, Deed::new(verdict.word(), "referral", referral.to_string()).with(changes));
        if verdict == fact::Verdict::Approve {
            record.tell("referral.approved", &after.program, json!({ "referral": after, "note": note })).await?;
        }
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

fn no_referral(id: FactId) -> DeskError {
    DeskError::Catalog(CatalogError::NotFound { kind: "referral", code: id.to_string() })
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
