//! The operating record: contacts, facts about them, and the referrals and rewards that followed.
//!
//! A [`Recording`] is one transaction, or a part of one that is kept or taken back as a whole (`group`). Whoever takes a fact
//! in writes it and everything that follows from it in the same one: what follows is never older or younger than the facts.
//! Recordings come one after the other, also from several machines: the first statement of a transaction locks one row. So
//! what one of them reads stays true until it commits.
//!
//! | file | |
//! |---|---|
//! | `contact` | people: found by what they are known by, and made one when two turn out to be |
//! | `pace` | the background gives way |
//! | `person` | all that is known of one, asked in one trip |
//! | `fact` | leads, conversions, refunds, rulings |
//! | `names` | people and payments that others call by several names |
//! | `history` | conversions and refunds that others were told of |
//! | `inbound` | events of others that had their effect |
//! | `followed` | referrals and rewards |
//! | `touch` | touches of visitors, and how far the event store was followed |
//! | `notice` | rewards that were told by mail |
//! | `answer` | answers under an Idempotency-Key |
//! | `look` | what others read: one, and pages of a list |
//! | `related` | what people have in common: addresses, payments, browsers, networks |
//! | `review` | what is held until somebody looks at it |
//! | `whole` | all of a program at one moment, for a dry-run and for changed terms |
//! | `followed_terms` | how far changed terms have reached history |
//! | `group` | facts that wait share a transaction |
//! | `seen` | what a transaction has read already |
//! | `sums` | what reports are made of, brought up to date in the same transaction |
//! | `sum_tables` | where they are kept |
//! | `figures` | what one referral adds to the sums |
//! | `report` | the sums, asked |
//! | `spans` | where the sums of a range stand |

use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::Ordering,
};

use serde_json::Value;
use tokio::sync::oneshot;

use super::{
    Catalog, CatalogError,
    audit::{Caller, Deed},
    mails::NewMail,
    outbox::Entry,
};
use crate::core::{
    code::Code,
    event::Event,
    fact::FactId,
    id::{EventId, VisitorId},
    time::Millis,
};

mod answer;
mod contact;
mod fact;
pub mod figures;
mod followed;
mod followed_terms;
pub(super) mod group;
mod history;
mod inbound;
mod look;
mod names;
mod notice;
mod pace;
mod person;
mod related;
pub mod report;
mod review;
pub(super) mod seen;
mod spans;
mod sum_tables;
pub(super) mod sums;
mod touch;
mod whole;

pub use answer::{Answer, Answered};
pub use contact::{Contact, ContactId, Known, Person};
pub use fact::{ConversionRow, FOR_GOOD, LeadRow, RefundRow, RulingRow, Told};
pub use followed::{ReferralRow, RewardRow};
pub use followed_terms::Following;
pub use history::{UntoldConversion, UntoldRefund};
pub use inbound::Inbound;
pub use look::{Payment, ReferralView, RewardQuery};
pub use names::{Name, NameKind};
pub use pace::Pace;
pub use related::{Near, PartnerClicks, Related, RelatedLead};
pub use review::{ReviewItem, ReviewQuery};
pub use touch::{Binding, ClickPosition, DecidedLead, TouchRow, VisitorHistory};
pub use whole::History;

/// Takes the place of a digest, and of a name by which somebody was told, when the person is erased. Whatever is told under such
/// a name again is the same.
pub(super) const ERASED: &str = "erased";

/// One transaction of the record. Dropping it takes everything back.
#[derive(Debug)]
pub struct Recording {
    pub(super) writing: group::Held,
    /// Dropped with the first recording of a group.
    _first: Option<oneshot::Sender<()>>,
    /// Visitors whose history was brought into this transaction: they are bound with it.
    asked: BTreeSet<VisitorId>,
    /// Rewards that became due or were issued by themselves.
    due: Vec<FactId>,
    /// Rewards as they were written last.
    put: HashMap<FactId, RewardRow>,
    /// Two people turned out to be one, or a conversion went from one to another: what others had in common with them may be gone.
    united: bool,
}

impl Catalog {
    /// Begins to record.
    pub async fn record(&self) -> Result<Recording, CatalogError> {
        let (writing, first) = group::begin(self).await?;
        self.shared.begun.fetch_add(1, Ordering::Relaxed);
        Ok(Recording {
            writing,
            _first: first,
            asked: BTreeSet::new(),
            due: Vec::new(),
            put: HashMap::new(),
            united: false,
        })
    }
}

impl Recording {
    /// The time of this transaction.
    pub fn now(&self) -> Millis {
        self.writing.now
    }

    /// Whether two people turned out to be one in this transaction, or a conversion went from one to another.
    pub const fn has_united(&self) -> bool {
        self.united
    }

    /// A new id of this transaction's time.
    pub fn fresh_id(&self) -> Result<FactId, CatalogError> {
        Ok(FactId(EventId::new(self.now(), crate::io::random::bytes::<10>()?).0))
    }

    /// Tells webhooks of something.
    pub async fn tell(&mut self, kind: &'static str, program: &Code, data: Value) -> Result<(), CatalogError> {
        self.tell_all(kind, program, data, None).await
    }

    /// The same, and the event store too.
    pub async fn tell_event(
        &mut self,
        kind: &'static str,
        program: &Code,
        data: Value,
        event: Event,
    ) -> Result<(), CatalogError> {
        self.tell_all(kind, program, data, Some(event)).await
    }

    async fn tell_all(
        &mut self,
        kind: &'static str,
        program: &Code,
        data: Value,
        event: Option<Event>,
    ) -> Result<(), CatalogError> {
        let entry = Entry { kind, program: program.to_string(), body: data.to_string(), event };
        self.writing.tell(entry).await
    }

    /// A row of the audit log: by whoever this is done for, or by `caller`.
    pub fn audit(&mut self, caller: Option<Caller>, deed: Deed) {
        match caller {
            Some(caller) => self.writing.audit_by(caller, deed),
            None => self.writing.audit(deed),
        }
    }

    /// The mail leaves when this transaction is committed, and only then.
    pub async fn mail(&mut self, mail: &NewMail) -> Result<(), CatalogError> {
        self.writing.mail(mail).await.map(drop)
    }
}
