//! What a transaction of facts has read already, and nobody else can change before it ends: asked once.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
};

use super::{
    super::{Entity, entity::Kind},
    contact::ContactId,
    followed::ReferralRow,
};
use crate::core::code::Code;

/// Emptied where a part of the transaction is taken back, and where items change.
#[derive(Debug, Default)]
pub(in super::super) struct Seen {
    items: HashMap<(Kind, String), Box<dyn Any + Send + Sync>>,
    referrals: HashMap<ContactId, BTreeMap<Code, ReferralRow>>,
}

impl Seen {
    pub(super) fn item<T: Entity>(&self, key: &str) -> Option<Option<T>> {
        self.items.get(&(T::KIND, key.to_owned()))?.downcast_ref::<Option<T>>().cloned()
    }

    pub(super) fn put_item<T: Entity>(&mut self, key: &str, item: Option<T>) {
        self.items.insert((T::KIND, key.to_owned()), Box::new(item));
    }

    pub(super) fn referrals(&self, contact: ContactId) -> Option<&BTreeMap<Code, ReferralRow>> {
        self.referrals.get(&contact)
    }

    pub(super) fn know_referrals(&mut self, contact: ContactId, referrals: BTreeMap<Code, ReferralRow>) {
        self.referrals.insert(contact, referrals);
    }

    pub(super) fn put_referral(&mut self, row: ReferralRow) {
        if let Some(known) = self.referrals.get_mut(&row.contact) {
            known.insert(row.program.clone(), row);
        }
    }

    /// Two contacts became one.
    pub(super) fn forget_people(&mut self) {
        self.referrals.clear();
    }
}
