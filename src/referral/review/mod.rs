//! Review: what makes a referral doubtful, and whether somebody looks at it before anything is paid.
//!
//! **Promise.** Signals follow from facts and their times, never from the order of arrival. A fact that arrives late is brought to
//! those whom it concerns: [`neighbours`] says who they are. What the event store knows of a partner's clicks is asked now and
//! then and kept in the catalog: no lead waits for it.
//!
//! Two are the same person: the one who came first is not doubtful, the other one is. A burst makes all of it doubtful, also
//! those who came before it was one.
//!
//! **Held.** A referral with the program's score is held while one of its reasons is covered by no approval. An approval covers
//! the signals that whoever approved had before them: it outlives facts that say the same again, and does not speak for what
//! nobody had seen. Nothing is dropped: a held referral's rewards are there and wait.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    catalog::record::ContactId,
    core::{
        code::Code,
        fact::{Case, Lead, Verdict},
        mail,
        review::{Reason, Review, Signal},
        time::{Millis, SECOND_MS},
    },
};

mod disposable;
#[cfg(test)]
mod tests;
mod world;

pub(super) use world::World;

/// A referral that is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) contact: ContactId,
    pub(super) partner: &'a Code,
    /// The lead that is credited.
    pub(super) lead: &'a Lead,
}

/// What review says of a referral.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) reasons: Vec<Reason>,
    pub(super) score: u32,
    pub(super) held: bool,
}

/// Milliseconds within which leads are a burst.
pub(super) fn reach_ms(review: &Review) -> i64 {
    i64::from(review.burst_minutes) * 60 * SECOND_MS
}

/// Judges a referral of somebody who came `since`; `case` is all that was told of them.
pub(super) fn judge(world: &World, subject: Subject<'_>, case: &Case, since: Millis, review: &Review) -> Judged {
    let reasons = reasons(world, subject, review);
    let score = reasons.iter().map(|reason| reason.points).sum();
    let approved = case.rulings.iter().filter(|ruling| ruling.verdict == Verdict::Approve);
    let covered: BTreeSet<Signal> = approved.flat_map(|ruling| ruling.covers.iter().copied()).collect();
    let is_new = reasons.iter().any(|reason| !covered.contains(&reason.signal));
    let held =
        is_new && review.hold_from.is_some_and(|from| score >= from) && review.from.is_none_or(|from| from <= since);
    Judged { reasons, score, held }
}

/// All that speaks against a referral, in the order of signals.
fn reasons(world: &World, subject: Subject<'_>, review: &Review) -> Vec<Reason> {
    let all: [(Signal, Look); 10] = [
        (Signal::SelfMail, self_mail),
        (Signal::SelfPayment, self_payment),
        (Signal::SelfVisitor, self_visitor),
        (Signal::SameMail, same_mail),
        (Signal::SamePayment, same_payment),
        (Signal::DisposableMail, disposable_mail),
        (Signal::Burst, burst),
        (Signal::TooFast, too_fast),
        (Signal::BotShare, bot_share),
        (Signal::OwnClicks, own_clicks),
    ];
    all.into_iter()
        .filter_map(|(signal, look)| {
            let points = review.points(signal);
            let (words, other) = (points > 0).then(|| look(world, subject, review)).flatten()?;
            Some(Reason { signal, points, words, other })
        })
        .collect()
}

/// Why, in words, and who else it is about.
type Found = (String, Option<ContactId>);

/// Looks for one signal.
type Look = fn(&World, Subject<'_>, &Review) -> Option<Found>;

fn self_mail(world: &World, subject: Subject<'_>, _: &Review) -> Option<Found> {
    let own = world.partner_mail(subject.partner)?;
    let is_own = world.mails.of(subject.contact).any(|mail| mail == own);
    is_own.then(|| (format!("The e-mail address is that of {}, the partner", subject.partner), None))
}

/// The partner as a customer, under the partner's own address.
fn own_contacts<'a>(world: &'a World, subject: Subject<'a>) -> impl Iterator<Item = ContactId> + 'a {
    let own = world.partner_mail(subject.partner);
    own.into_iter().flat_map(|mail| world.mails.by(mail)).filter(move |contact| *contact != subject.contact)
}

fn self_payment(world: &World, subject: Subject<'_>, _: &Review) -> Option<Found> {
    let own = own_contacts(world, subject).find(|own| world.payments.is_shared(*own, subject.contact))?;
    Some((format!("It was paid as {}, the partner, pays", subject.partner), Some(own)))
}

fn self_visitor(world: &World, subject: Subject<'_>, _: &Review) -> Option<Found> {
    let own = own_contacts(world, subject).find(|own| world.visitors.is_shared(*own, subject.contact))?;
    Some((format!("The browser is one of {}, the partner", subject.partner), Some(own)))
}

/// Of these people the one who came first, if that was before the subject.
fn earlier(world: &World, subject: Subject<'_>, others: BTreeSet<ContactId>) -> Option<ContactId> {
    let came = world.first(subject.contact)?;
    let places = others.into_iter().filter_map(|other| Some((world.first(other)?, other)));
    places.min().filter(|(first, _)| *first < came).map(|(_, other)| other)
}

fn same_mail(world: &World, subject: Subject<'_>, _: &Review) -> Option<Found> {
    let other = earlier(world, subject, world.mails.others(subject.contact))?;
    Some(("Somebody who came before has the same e-mail address, written in another way".to_owned(), Some(other)))
}

fn same_payment(world: &World, subject: Subject<'_>, _: &Review) -> Option<Found> {
    let other = earlier(world, subject, world.payments.others(subject.contact))?;
    Some(("Somebody who came before paid the same way".to_owned(), Some(other)))
}

fn disposable_mail(world: &World, subject: Subject<'_>, review: &Review) -> Option<Found> {
    let mut hosts = world.mails.of(subject.contact).map(|mail| mail::host(mail));
    let host = hosts.find(|host| disposable::is_disposable(host, &review.disposable_domains))?;
    Some((format!("Addresses at {host} are thrown away"), None))
}

fn source(lead: &Lead) -> Option<(Code, String)> {
    let partner = lead.credited.as_ref().map(|credited| credited.partner.clone());
    partner.zip(lead.network.clone())
}

fn burst(world: &World, subject: Subject<'_>, review: &Review) -> Option<Found> {
    let source = source(subject.lead)?;
    let (people, minutes) = (review.burst_leads, review.burst_minutes);
    let is_burst = world.is_burst(&source, subject.lead.place.at, people as usize, reach_ms(review));
    let (partner, network) = source;
    let words =
        || format!("{people} people or more of {partner} came from the network {network} within {minutes} minutes");
    is_burst.then(|| (words(), None))
}

fn too_fast(_: &World, subject: Subject<'_>, review: &Review) -> Option<Found> {
    let click = subject.lead.credited.as_ref()?.click?;
    let after = subject.lead.place.at.0 - click.time().0;
    let limit = i64::from(review.fast_seconds) * SECOND_MS;
    let words = || format!("The name was left {after} ms after the click; a person takes {} s", review.fast_seconds);
    (0..limit).contains(&after).then(|| (words(), None))
}

fn bot_share(world: &World, subject: Subject<'_>, review: &Review) -> Option<Found> {
    let bots = world.clicks(subject.partner)?.bots;
    let words = || format!("{bots} % of the clicks of {}, the partner, are bots'", subject.partner);
    (bots >= review.bot_percent).then(|| (words(), None))
}

fn own_clicks(world: &World, subject: Subject<'_>, review: &Review) -> Option<Found> {
    let own = world.clicks(subject.partner)?.own;
    let words = || format!("{own} % of the clicks of {}, the partner, are the partner's own", subject.partner);
    (own >= review.own_percent).then(|| (words(), None))
}

/// Whom a fact about somebody concerns as well, each with the signals that it may have for them.
pub(super) fn neighbours(
    world: &World,
    contact: ContactId,
    case: &Case,
    review: &Review,
) -> BTreeMap<ContactId, BTreeSet<Signal>> {
    let mut found: BTreeMap<ContactId, BTreeSet<Signal>> = BTreeMap::new();
    let mut add = |other: ContactId, signal: Signal| {
        if other != contact {
            found.entry(other).or_default().insert(signal);
        }
    };
    let came = world.first(contact);
    let later = |other: &ContactId| world.first(*other).zip(came).is_some_and(|(other, came)| came < other);
    world.mails.others(contact).into_iter().filter(later).for_each(|other| add(other, Signal::SameMail));
    for other in world.payments.others(contact) {
        add(other, Signal::SelfPayment);
        if later(&other) {
            add(other, Signal::SamePayment);
        }
    }
    world.visitors.others(contact).into_iter().for_each(|other| add(other, Signal::SelfVisitor));
    let (people, reach) = (review.burst_leads as usize, reach_ms(review));
    for lead in &case.leads {
        let Some(source) = source(lead) else { continue };
        for (place, other) in world.near(&source, lead.place.at, reach) {
            if world.is_burst(&source, place.at, people, reach) {
                add(*other, Signal::Burst);
            }
        }
    }
    found
}

/// Everybody who has anything in common with somebody.
pub(super) fn related(world: &World, contact: ContactId, case: &Case, review: &Review) -> BTreeSet<ContactId> {
    let mut found: BTreeSet<ContactId> = BTreeSet::new();
    for shared in [&world.mails, &world.payments, &world.visitors] {
        found.extend(shared.others(contact));
    }
    for source in case.leads.iter().filter_map(|lead| Some((source(lead)?, lead.place.at))) {
        found.extend(world.near(&source.0, source.1, reach_ms(review)).iter().map(|(_, other)| *other));
    }
    found.remove(&contact);
    found
}

/// Whether somebody is a partner, by their addresses.
pub(super) fn is_partner(world: &World, contact: ContactId, partner_mail: &str) -> bool {
    world.mails.of(contact).any(|mail| mail == partner_mail)
}
