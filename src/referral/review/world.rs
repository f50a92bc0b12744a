//! What people have in common, made ready to be asked: all of a program, or the surroundings of one person.

use std::collections::{BTreeSet, HashMap};

use crate::{
    catalog::record::{ContactId, PartnerClicks, Related},
    core::{
        code::Code,
        fact::{Case, Place},
        time::Millis,
    },
};

/// Who has what, both ways.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    of: HashMap<ContactId, BTreeSet<String>>,
    by: HashMap<String, BTreeSet<ContactId>>,
}

impl Shared {
    fn new(lines: Vec<(ContactId, String)>) -> Shared {
        let mut shared = Shared::default();
        for (contact, value) in lines {
            shared.by.entry(value.clone()).or_default().insert(contact);
            shared.of.entry(contact).or_default().insert(value);
        }
        shared
    }

    pub(super) fn of(&self, contact: ContactId) -> impl Iterator<Item = &String> {
        self.of.get(&contact).into_iter().flatten()
    }

    pub(super) fn by(&self, value: &str) -> impl Iterator<Item = ContactId> {
        self.by.get(value).into_iter().flatten().copied()
    }

    /// Who else has one of these.
    pub(super) fn others(&self, contact: ContactId) -> BTreeSet<ContactId> {
        self.of(contact).flat_map(|value| self.by(value)).filter(|other| *other != contact).collect()
    }

    /// Whether two have one in common.
    pub(super) fn is_shared(&self, one: ContactId, other: ContactId) -> bool {
        self.of.get(&one).zip(self.of.get(&other)).is_some_and(|(one, other)| !one.is_disjoint(other))
    }
}

/// What people have in common.
#[derive(Clone, Debug, Default)]
pub(in crate::referral) struct World {
    pub(super) mails: Shared,
    pub(super) payments: Shared,
    pub(super) visitors: Shared,
    /// Each one's first lead in the program.
    first: HashMap<ContactId, Place>,
    /// Leads of one partner from one network, in the order of history.
    sources: HashMap<(Code, String), Vec<(Place, ContactId)>>,
    partner_mails: HashMap<Code, String>,
    clicks: HashMap<Code, PartnerClicks>,
}

impl World {
    pub(in crate::referral) fn new(related: Related) -> World {
        let Related { mails, payments, visitors, leads, partners, clicks } = related;
        let mut world = World {
            mails: Shared::new(mails),
            payments: Shared::new(payments),
            visitors: Shared::new(visitors),
            first: HashMap::new(),
            sources: HashMap::new(),
            partner_mails: partners.into_iter().collect(),
            clicks: clicks.into_iter().map(|clicks| (clicks.partner.clone(), clicks)).collect(),
        };
        for lead in leads {
            world.came(lead.contact, lead.place);
            if let Some(source) = lead.source {
                world.sources.entry(source).or_default().push((lead.place, lead.contact));
            }
        }
        world.sort();
        world
    }

    /// The same with the leads of one person.
    pub(in crate::referral) fn with_case(mut self, contact: ContactId, case: &Case) -> World {
        for lead in &case.leads {
            self.came(contact, lead.place);
            let partner = lead.credited.as_ref().map(|credited| credited.partner.clone());
            if let Some(source) = partner.zip(lead.network.clone()) {
                self.sources.entry(source).or_default().push((lead.place, contact));
            }
        }
        self.sort();
        self
    }

    fn sort(&mut self) {
        for leads in self.sources.values_mut() {
            leads.sort_unstable();
            leads.dedup();
        }
    }

    fn came(&mut self, contact: ContactId, place: Place) {
        let first = self.first.entry(contact).or_insert(place);
        *first = (*first).min(place);
    }

    /// When somebody first came to the program.
    pub(super) fn first(&self, contact: ContactId) -> Option<Place> {
        self.first.get(&contact).copied()
    }

    pub(super) fn partner_mail(&self, partner: &Code) -> Option<&String> {
        self.partner_mails.get(partner)
    }

    pub(super) fn clicks(&self, partner: &Code) -> Option<&PartnerClicks> {
        self.clicks.get(partner)
    }

    /// Leads of a source that came at most `reach_ms` before or after a time.
    pub(super) fn near(&self, source: &(Code, String), at: Millis, reach_ms: i64) -> &[(Place, ContactId)] {
        let Some(leads) = self.sources.get(source) else { return &[] };
        let from = leads.partition_point(|(place, _)| place.at < at.plus(-reach_ms));
        let until = leads.partition_point(|(place, _)| place.at <= at.plus(reach_ms));
        &leads[from..until]
    }

    /// Whether so many different people came from a source within `reach_ms`, one of them at this time.
    pub(super) fn is_burst(&self, source: &(Code, String), at: Millis, people: usize, reach_ms: i64) -> bool {
        let near = self.near(source, at, reach_ms);
        // Each stretch that could be the burst begins with a lead; the last one at this very time.
        let beginnings = near.iter().rposition(|(place, _)| place.at <= at).map_or(0, |last| last + 1);
        (0..beginnings).rev().any(|from| {
            let end = near[from].0.at.plus(reach_ms);
            let mut met = BTreeSet::new();
            near[from..]
                .iter()
                .take_while(|(place, _)| place.at <= end)
                .any(|(_, contact)| met.insert(*contact) && met.len() >= people)
        })
    }
}
