//! What a lead says of who brought the person, and who of them may be credited.

use super::{
    attribution::{Candidate, Decision, Rules, Source, Verdict, decide},
    told::ToldLead,
};
use crate::{
    catalog::{CatalogError, Partner, Program, record::Recording},
    core::{
        code::Code,
        cookie::Cookie,
        id::{EventId, VisitorId},
        key::KeyRing,
        program::Status,
        time::Millis,
        token::Token,
        touch::Touch,
    },
};

/// What a lead says of who brought the person.
pub(super) struct Evidence {
    pub(super) click: Option<EventId>,
    pub(super) visitor: Option<VisitorId>,
    pub(super) candidates: Vec<Candidate>,
}

impl Evidence {
    /// `now` is the time, `at` the lead's. What is forged or damaged says nothing.
    pub(super) fn of(told: &ToldLead, keys: &KeyRing, now: Millis, at: Millis) -> Evidence {
        let mut candidates = Vec::new();
        let mut click = None;
        if let Some(token) = told.token.as_deref().and_then(|text| Token::decode(text.as_bytes(), keys)) {
            click = Some(token.click);
            candidates.extend(by_token(&token, &told.program));
        }
        let cookie = told.cookie.as_deref().and_then(|text| Cookie::decode(text.as_bytes(), keys, now));
        if let Some((first, last)) = cookie.as_ref().and_then(|cookie| cookie.touches) {
            candidates.push(by_touch(&first));
            if first != last {
                candidates.push(by_touch(&last));
            }
        }
        if let Some(partner) = &told.partner {
            candidates.push(Candidate {
                source: Source::Code,
                partner: partner.clone(),
                link: None,
                ad: None,
                click: None,
                at,
                other_program: None,
            });
        }
        Evidence { click, visitor: cookie.map(|cookie| cookie.visitor), candidates }
    }
}

/// The visitor whose cookie came with a lead.
pub(super) fn visitor_of(told: &ToldLead, keys: &KeyRing, now: Millis) -> Option<VisitorId> {
    let cookie = Cookie::decode(told.cookie.as_deref()?.as_bytes(), keys, now)?;
    Some(cookie.visitor)
}

/// Judges the candidates by the program's rules and the partners as they are.
pub(super) async fn judge(
    record: &mut Recording,
    program: &Program,
    candidates: Vec<Candidate>,
    at: Millis,
) -> Result<Decision, CatalogError> {
    let mut partners = std::collections::BTreeMap::new();
    for candidate in &candidates {
        if !partners.contains_key(&candidate.partner) {
            let found = record.item::<Partner>(&candidate.partner).await?;
            partners.insert(candidate.partner.clone(), may_be_credited(program, found.as_ref()));
        }
    }
    let rules = Rules { model: program.attribution, window_days: program.window_days };
    let unknown = || Err(Verdict::PartnerUnknown);
    Ok(decide(candidates, at, rules, |partner| partners.get(partner).cloned().unwrap_or_else(unknown)))
}

pub(super) fn may_be_credited(program: &Program, partner: Option<&Partner>) -> Result<(), Verdict> {
    let partner = partner.ok_or(Verdict::PartnerUnknown)?;
    if program.status != Status::Active {
        return Err(Verdict::ProgramInactive);
    }
    if partner.status != Status::Active {
        return Err(Verdict::PartnerInactive);
    }
    if !partner.programs.is_empty() && !partner.programs.contains(&program.code) {
        return Err(Verdict::PartnerNotInProgram);
    }
    Ok(())
}

fn by_token(token: &Token, program: &Code) -> Option<Candidate> {
    let of = token.program.map(Code::from);
    Some(Candidate {
        source: Source::Token,
        partner: Code::from(token.partner?),
        link: Some(Code::from(token.link)),
        ad: token.ad.map(Code::from),
        click: Some(token.click),
        at: token.click.time(),
        other_program: of.filter(|of| of != program),
    })
}

fn by_touch(touch: &Touch) -> Candidate {
    Candidate {
        source: Source::Cookie,
        partner: Code::from(touch.partner),
        link: Some(Code::from(touch.link)),
        ad: touch.ad.map(Code::from),
        click: Some(touch.click),
        at: touch.time(),
        other_program: None,
    }
}
