//! What the touches of a contact's visitors say about their leads: decisions are made again, and clicks stand for leads.
//!
//! A visitor speaks for the contact from the earliest lead on that came with it: for that lead, also what it clicked before.
//! Everything here follows from the record alone (leads with what came with them, bindings, touches), so it is the same
//! whichever of them came first.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    attribution::{Candidate, Decision, Origin, Rules, Source, Verdict, decide},
    by_click::{lead_id, wanted},
    evidence::may_be_credited,
    history::follow,
};
use crate::{
    catalog::{
        CatalogError, Partner, Program,
        record::{Binding, ContactId, DecidedLead, Recording, TouchRow, VisitorHistory},
    },
    core::{
        code::Code,
        fact::{FactId, Place},
        id::EventId,
        limits::HISTORY_CANDIDATES_MAX,
        time::{DAY_MS, Millis},
    },
};

/// What came of judging again.
#[derive(Debug, Default)]
pub(super) struct Rejudged {
    /// The decisions on the leads that somebody told.
    pub(super) told: BTreeMap<FactId, Decision>,
    /// Leads that a click stood for are not needed any more: [`Recording::sweep_click_leads`] when all is followed.
    pub(super) dropped: bool,
    /// Clicks of the contact's browsers by which conversions were told: whose they are may be known now.
    pub(super) converted: Vec<EventId>,
}

/// All touches of a contact, in order.
struct Touches {
    bindings: Vec<Binding>,
    touches: Vec<TouchRow>,
}

/// Whether partners may be credited, as the catalog has it now.
#[derive(Default)]
struct Partners(BTreeMap<Code, Result<(), Verdict>>);

impl Touches {
    async fn of(record: &mut Recording, contact: ContactId) -> Result<Touches, CatalogError> {
        let bindings = record.bindings(contact).await?;
        let visitors: Vec<_> = bindings.iter().map(|binding| binding.visitor).collect();
        let touches = record.touches_of(&visitors).await?;
        Ok(Touches { bindings, touches })
    }

    fn since(&self, touch: &TouchRow) -> Option<Millis> {
        self.bindings.iter().find(|binding| binding.visitor == touch.visitor).map(|binding| binding.since)
    }

    /// Clicks of visitors that were bound already, of this program.
    fn of_known(&self, program: &Code) -> impl Iterator<Item = &TouchRow> {
        self.touches.iter().filter(move |touch| {
            touch.program.as_ref() == Some(program) && self.since(touch).is_some_and(|since| touch.at >= since)
        })
    }

    /// Candidates for something at `at`. A click of no program is one for each.
    fn candidates(&self, program: &Code, at: Millis, window_days: u32) -> Vec<Candidate> {
        let oldest = at.plus(-i64::from(window_days) * DAY_MS);
        let fits = |touch: &&TouchRow| {
            (oldest..=at).contains(&touch.at)
                && touch.program.as_ref().is_none_or(|of| of == program)
                && self.since(touch).is_some_and(|since| since <= at)
        };
        let mut fitting: Vec<&TouchRow> = self.touches.iter().filter(fits).collect();
        if fitting.len() > HISTORY_CANDIDATES_MAX {
            let half = HISTORY_CANDIDATES_MAX / 2;
            fitting.drain(half..fitting.len() - half);
        }
        fitting.into_iter().map(candidate).collect()
    }

    /// Whether a visitor that speaks for something at `at` was never asked about.
    fn is_unasked(&self, at: Millis) -> bool {
        self.bindings.iter().any(|binding| binding.since <= at && binding.history == VisitorHistory::Unasked)
    }
}

fn candidate(touch: &TouchRow) -> Candidate {
    Candidate {
        source: Source::History,
        partner: touch.partner.clone(),
        link: touch.link.clone(),
        ad: touch.ad.clone(),
        click: Some(touch.click),
        at: touch.at,
        other_program: None,
    }
}

impl Partners {
    async fn know(
        &mut self,
        record: &mut Recording,
        program: &Program,
        candidates: &[Candidate],
    ) -> Result<(), CatalogError> {
        for candidate in candidates {
            if !self.0.contains_key(&candidate.partner) {
                let partner = record.item::<Partner>(&candidate.partner).await?;
                self.0.insert(candidate.partner.clone(), may_be_credited(program, partner.as_ref()));
            }
        }
        Ok(())
    }

    fn judge(&self, partner: &Code) -> Result<(), Verdict> {
        self.0.get(partner).cloned().unwrap_or(Err(Verdict::PartnerUnknown))
    }
}

/// Computes anew what follows for a person when something has happened that touches have a say in: a binding, a click.
pub(super) async fn refollow(record: &mut Recording, contact: ContactId) -> Result<(), CatalogError> {
    let rejudged = rejudge(record, contact).await?;
    settle(record, contact, rejudged).await
}

/// What follows when the leads of a contact were judged again.
pub(super) async fn settle(record: &mut Recording, contact: ContactId, rejudged: Rejudged) -> Result<(), CatalogError> {
    let mut concerned = BTreeSet::from([contact]);
    for click in rejudged.converted {
        concerned.extend(record.match_click(click).await?);
    }
    for contact in concerned {
        follow(record, contact).await?;
    }
    if rejudged.dropped {
        record.sweep_click_leads(contact).await?;
    }
    Ok(())
}

/// Judges all leads of a contact again, and finds the clicks that stand for one. What changes is written; what follows from it
/// is not computed here.
pub(super) async fn rejudge(record: &mut Recording, contact: ContactId) -> Result<Rejudged, CatalogError> {
    let touches = Touches::of(record, contact).await?;
    let mut rejudged = Rejudged::default();
    if touches.bindings.is_empty() {
        return Ok(rejudged);
    }
    if !touches.touches.is_empty() {
        rejudged.converted = record.converted_clicks(contact).await?;
    }
    let mut by_program: BTreeMap<Code, Vec<DecidedLead>> = BTreeMap::new();
    for lead in record.decided_leads(contact).await? {
        by_program.entry(lead.program.clone()).or_default().push(lead);
    }
    let clicked: BTreeSet<Code> = touches.touches.iter().filter_map(|touch| touch.program.clone()).collect();
    for program in clicked {
        by_program.entry(program).or_default();
    }
    for (code, leads) in by_program {
        let Some(program) = record.program(&code).await? else { continue };
        let mut partners = Partners::default();
        let mut places: Vec<(Place, Option<Code>)> = Vec::new();
        for lead in leads.iter().filter(|lead| !lead.by_click) {
            // One that cannot be read was decided by another version: it stands as it is.
            let Ok(old) = serde_json::from_str::<Decision>(&lead.decision) else { continue };
            let decision = again(record, (&program, &touches), &mut partners, &old).await?;
            let credited = decision.credited();
            if decision != old {
                record.decide_lead(lead.id, credited.as_ref(), &text(&decision)).await?;
            }
            places.push((Place { at: lead.at, id: lead.id }, credited.map(|credited| credited.partner)));
            rejudged.told.insert(lead.id, decision);
        }
        let by_click: Vec<DecidedLead> = leads.into_iter().filter(|lead| lead.by_click).collect();
        rejudged.dropped |=
            put_by_click(record, contact, (&program, &touches), &mut partners, places, by_click).await?;
    }
    Ok(rejudged)
}

async fn again(
    record: &mut Recording,
    (program, touches): (&Program, &Touches),
    partners: &mut Partners,
    old: &Decision,
) -> Result<Decision, CatalogError> {
    let history = touches.candidates(&program.code, old.lead_at, old.window_days);
    partners.know(record, program, &history).await?;
    let decision = old.again(history, |partner| partners.judge(partner));
    Ok(Decision { history_unasked: touches.is_unasked(old.lead_at), ..decision })
}

fn text(decision: &Decision) -> String {
    serde_json::to_string(decision).unwrap_or_default()
}

/// Makes the leads that clicks stand for be those that are wanted. Gives whether any was dropped.
async fn put_by_click(
    record: &mut Recording,
    contact: ContactId,
    (program, touches): (&Program, &Touches),
    partners: &mut Partners,
    told: Vec<(Place, Option<Code>)>,
    old: Vec<DecidedLead>,
) -> Result<bool, CatalogError> {
    let known: Vec<&TouchRow> = touches.of_known(&program.code).collect();
    if known.is_empty() && old.is_empty() {
        return Ok(false);
    }
    let all: Vec<Candidate> = touches.touches.iter().map(candidate).collect();
    partners.know(record, program, &all).await?;
    let before: BTreeMap<FactId, Decision> =
        old.iter().filter_map(|lead| Some((lead.id, serde_json::from_str(&lead.decision).ok()?))).collect();
    let judge = |touch: &&TouchRow| {
        let history = |days| touches.candidates(&program.code, touch.at, days);
        let partner = |code: &Code| partners.judge(code);
        let decision = match before.get(&lead_id(contact, &program.code, touch.click)) {
            Some(old) => old.again(history(old.window_days), partner),
            None => {
                let rules = Rules { model: program.attribution, window_days: program.window_days };
                decide(history(rules.window_days), touch.at, rules, partner)
            }
        };
        Decision { source: Origin::Click, history_unasked: touches.is_unasked(touch.at), ..decision }
    };
    let mut clicks: Vec<(Place, &TouchRow)> = known
        .into_iter()
        .map(|touch| (Place { at: touch.at, id: lead_id(contact, &program.code, touch.click) }, touch))
        .collect();
    clicks.sort_by_key(|(place, _)| *place);
    let told = told.iter().map(|(place, partner)| (*place, partner.as_ref())).collect();
    let wanted = wanted(told, clicks.into_iter(), program.credit, judge);
    for (place, decision) in &wanted {
        if before.get(&place.id) != Some(decision) {
            let (id, program, at) = (place.id, program.code.clone(), place.at);
            let lead = DecidedLead { id, program, at, by_click: true, decision: text(decision) };
            record.put_click_lead(contact, &lead, decision.credited().as_ref()).await?;
        }
    }
    let mut dropped = false;
    for lead in old.iter().filter(|lead| wanted.iter().all(|(place, _)| place.id != lead.id)) {
        record.drop_click_lead(lead.id).await?;
        dropped = true;
    }
    Ok(dropped)
}
