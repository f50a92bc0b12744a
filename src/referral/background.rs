//! What is brought to history in the background: changed terms of a program, what the event store says of partners' clicks, and those
//! who wait because one fact concerned too many.
//!
//! **Changed terms.** A change of credit, qualification, rewards, parents' shares or review of a program is followed for all its
//! referrals, as if the terms had been so from the beginning; what was issued stays issued. `from` of a rule protects history. It
//! is known by the digest of the terms with which history was followed last, so that a change is found whoever wrote it (the API, an
//! import, an upgrade), also after a crash. What changes is computed beforehand from one view of the catalog (`plan`), and then written
//! in short transactions, each told to webhooks as any change; what is done already does not change any more, so whoever begins again
//! goes on. At the end each rule's ledger is gone through once more, for facts that came in between.
//!
//! A program with too many referrals for that is followed person by person: the same in the end, but what limits of rules withhold may be
//! granted on the way.

use std::collections::{BTreeMap, HashMap};

use super::{
    Desk, DeskError,
    dry_run::Trial,
    follow::{follow_one, go_through},
    notice,
    plan::Hints,
    told::digest,
};
use crate::{
    catalog::{
        CatalogError, ListQuery, Program,
        record::{ContactId, Following, PartnerClicks},
    },
    core::{
        code::Code,
        event::Class,
        fact::FactId,
        limits::{
            CLICKS_JUDGED_MIN, CLICKS_LOOK_BACK, CLICKS_STEP_PERCENT, FOLLOW_BATCH, FOLLOW_LEDGER_ROWS, PAGE_MAX_ROWS,
            PLAN_REFERRALS_MAX,
        },
        time::Millis,
    },
    store::{Dimension, Filter, ReachQuery, ReachRow, ReportError, Reports},
};

/// Addresses of one transaction.
const MAILS: u32 = 500;

/// Before everything that is told: the year 1.
const LONG_AGO: Millis = Millis(-62_135_596_800_000);

/// Of what a program promises: other terms, another digest.
pub(super) fn terms_digest(program: &Program) -> String {
    let Program { credit, qualification, rewards, parent_shares, review, .. } = program;
    digest(&serde_json::json!([credit, qualification, rewards, parent_shares, review]).to_string())
}

pub(super) fn beginning(code: &Code, digest: String, started_at: Millis) -> Following {
    let (program, behind) = (code.clone(), String::new());
    Following { program, digest, started_at, ended_at: None, total: 0, done: 0, behind }
}

impl Desk {
    /// Gives addresses from before there was review what they are compared by. Then it has nothing to do.
    pub async fn fill_normal_mails(&self) -> Result<(), DeskError> {
        let mut pace = self.catalog.pace();
        loop {
            let mut record = self.catalog.record().await?;
            let filled = record.fill_normal_mails(MAILS).await?;
            notice::settle(&mut record).await?;
            record.commit().await?;
            pace.rest().await;
            if filled < MAILS as usize {
                return Ok(());
            }
        }
    }

    /// Computes anew what follows for all who wait for it.
    pub async fn follow_due(&self) -> Result<(), DeskError> {
        let mut pace = self.catalog.pace();
        while self.catalog.has_follow_due().await? {
            let mut record = self.catalog.record().await?;
            for contact in record.take_follow_due(FOLLOW_BATCH).await? {
                follow_one(&mut record, contact, None).await?;
            }
            notice::settle(&mut record).await?;
            record.commit().await?;
            pace.rest().await;
        }
        Ok(())
    }

    /// How far a program's terms have reached its history; `None`: there is no such program. Terms that nobody has looked at yet
    /// have reached nothing.
    pub async fn following(&self, code: &Code) -> Result<Option<Following>, DeskError> {
        let Some(program) = self.program(code, None).await? else { return Ok(None) };
        let digest = terms_digest(&program);
        let known = self.catalog.following(code).await?.filter(|row| row.digest == digest);
        Ok(Some(known.unwrap_or_else(|| beginning(code, digest, program.updated_at))))
    }

    /// Brings all changed terms to history.
    pub async fn follow_terms(&self) -> Result<(), DeskError> {
        self.follow_all_terms(PLAN_REFERRALS_MAX).await
    }

    /// The same; a program with more than `most` referrals is followed person by person.
    pub(super) async fn follow_all_terms(&self, most: u64) -> Result<(), DeskError> {
        let known: HashMap<Code, Following> =
            self.catalog.followings().await?.into_iter().map(|row| (row.program.clone(), row)).collect();
        let mut query = ListQuery { limit: Some(PAGE_MAX_ROWS), ..ListQuery::default() };
        loop {
            let page = self.catalog.list::<Program>(&query).await?;
            for program in page.items {
                let digest = terms_digest(&program);
                let before = known.get(&program.code).filter(|row| row.digest == digest);
                if before.is_none_or(|row| row.ended_at.is_none()) {
                    let row = before.cloned().unwrap_or_else(|| beginning(&program.code, digest, self.clock.now()));
                    self.follow_program(row, most).await?;
                }
            }
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Brings a program's terms to its history; goes on where somebody ended before.
    async fn follow_program(&self, mut row: Following, most: u64) -> Result<(), DeskError> {
        let count = self.catalog.count_referrals(&row.program).await?;
        let finished = match count {
            0 => true,
            count if count > most => self.follow_each(&mut row, count).await?,
            _ => self.follow_plan(&mut row).await?,
        };
        if finished {
            let mut record = self.catalog.record().await?;
            row.ended_at = Some(record.now());
            record.put_following(&row).await?;
            notice::settle(&mut record).await?;
            record.commit().await?;
            tracing::info!(program = %row.program, people = row.done, "the program's terms have reached its history");
        }
        Ok(())
    }

    /// Those for whom something changes, as it was computed beforehand. `false`: the terms have changed meanwhile.
    async fn follow_plan(&self, row: &mut Following) -> Result<bool, DeskError> {
        let trial =
            Trial { program: row.program.clone(), qualification: None, rewards: None, review: None, since: None };
        let plan = self.plan(&trial).await?;
        let changed = plan.referrals.iter().filter(|planned| planned.is_change());
        let changed: Vec<ContactId> = changed.map(|planned| planned.before.contact).collect();
        row.total = row.done + changed.len() as u64;
        let mut pace = self.catalog.pace();
        for contacts in changed.chunks(FOLLOW_BATCH) {
            if !self.follow_some(row, contacts, Some(&plan.hints)).await? {
                return Ok(false);
            }
            pace.rest().await;
        }
        self.follow_ledgers(row).await
    }

    /// All people of a program, one after the other.
    async fn follow_each(&self, row: &mut Following, count: u64) -> Result<bool, DeskError> {
        row.total = count;
        let mut pace = self.catalog.pace();
        loop {
            let contacts = self.catalog.contacts_of(&row.program, &row.behind, FOLLOW_BATCH).await?;
            let Some(last) = contacts.last() else { return self.follow_ledgers(row).await };
            row.behind = last.to_string();
            if !self.follow_some(row, &contacts, None).await? {
                return Ok(false);
            }
            pace.rest().await;
        }
    }

    /// Computes anew what follows for some people, in one transaction with the progress.
    pub(super) async fn follow_some(
        &self,
        row: &mut Following,
        contacts: &[ContactId],
        hints: Option<&Hints>,
    ) -> Result<bool, DeskError> {
        let mut record = self.catalog.record().await?;
        match record.program(&row.program).await? {
            Some(program) if terms_digest(&program) == row.digest => {}
            _ => return Ok(false),
        }
        for contact in contacts {
            follow_one(&mut record, *contact, hints).await?;
        }
        row.done += contacts.len() as u64;
        record.put_following(row).await?;
        notice::settle(&mut record).await?;
        record.commit().await?;
        Ok(true)
    }

    /// Goes through the ledgers of all rules, in short transactions.
    async fn follow_ledgers(&self, row: &Following) -> Result<bool, DeskError> {
        let Some(first) = self.program(&row.program, Some(&row.digest)).await? else { return Ok(false) };
        let mut pace = self.catalog.pace();
        for rule in &first.rewards {
            let mut place = Some((LONG_AGO, FactId([0; 16])));
            while let Some(from) = place {
                let mut record = self.catalog.record().await?;
                let Some(program) = record.program(&row.program).await? else { return Ok(false) };
                if terms_digest(&program) != row.digest {
                    return Ok(false);
                }
                place = go_through(&mut record, &program, rule, (None, None), from, Some(FOLLOW_LEDGER_ROWS)).await?;
                notice::settle(&mut record).await?;
                record.commit().await?;
                pace.rest().await;
            }
        }
        Ok(true)
    }

    /// A program; with a digest: if these are its terms.
    async fn program(&self, code: &Code, digest: Option<&str>) -> Result<Option<Program>, DeskError> {
        let found = match self.catalog.get::<Program>(&[code.as_str()]).await {
            Err(CatalogError::NotFound { .. }) => None,
            found => Some(found?),
        };
        Ok(found.filter(|program| digest.is_none_or(|digest| terms_digest(program) == digest)))
    }

    /// Asks the event store for the clicks of all partners, and keeps what has changed.
    pub async fn ask_clicks(&self, reports: &dyn Reports) -> Result<(), AskError> {
        let back = i64::try_from(CLICKS_LOOK_BACK.as_millis()).unwrap_or(i64::MAX);
        let query = ReachQuery {
            filter: Filter { since: Some(self.clock.now().plus(-back)), ..Filter::default() },
            by: vec![Dimension::Partner, Dimension::Class],
            without_visitors: true,
        };
        let rows = reports.reach(&query).await?;
        let mut now = shares(&rows);
        let known = self.catalog.partner_clicks().await.map_err(DeskError::from)?;
        for before in &known {
            // Of whom too little is left nothing is said any more.
            now.entry(before.partner.clone()).or_insert((0, 0));
        }
        let is_known = |partner: &Code, bots: u32, own: u32| {
            known.iter().any(|row| row.partner == *partner && (row.bots, row.own) == (bots, own))
        };
        for (partner, (bots, own)) in now {
            if !is_known(&partner, bots, own) {
                let mut record = self.catalog.record().await.map_err(DeskError::from)?;
                record.put_partner_clicks(&PartnerClicks { partner, bots, own }).await.map_err(DeskError::from)?;
                record.commit().await.map_err(DeskError::from)?;
            }
        }
        Ok(())
    }
}

/// Why the clicks of partners are not known anew.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Reports(#[from] ReportError),
    #[error(transparent)]
    Desk(#[from] DeskError),
}

/// Of each partner with enough clicks the share of bots and of the partner's own, percent in steps.
fn shares(rows: &[ReachRow]) -> BTreeMap<Code, (u32, u32)> {
    let mut clicks: BTreeMap<Code, (u64, u64, u64)> = BTreeMap::new();
    for row in rows {
        let [partner, class] = &row.key[..] else { continue };
        let Ok(partner) = partner.parse::<Code>() else { continue };
        let (all, bots, own) = clicks.entry(partner).or_default();
        *all += row.clicks;
        if class == Class::Bot.label() {
            *bots += row.clicks;
        }
        if class == Class::Owner.label() {
            *own += row.clicks;
        }
    }
    let step = |part: u64, all: u64| {
        let percent = part.saturating_mul(100) / all.max(1);
        u32::try_from(percent - percent % CLICKS_STEP_PERCENT).unwrap_or(0)
    };
    clicks
        .into_iter()
        .filter(|(_, (all, ..))| *all >= CLICKS_JUDGED_MIN)
        .map(|(partner, (all, bots, own))| (partner, (step(bots, all), step(own, all))))
        .filter(|(_, shares)| *shares != (0, 0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_in_steps_and_of_those_with_enough_clicks() {
        let row = |partner: &str, class: Class, clicks: u64| ReachRow {
            key: vec![partner.to_owned(), class.label().to_owned()],
            clicks,
            ..ReachRow::default()
        };
        let rows = [
            row("ann", Class::Human, 40),
            row("ann", Class::Bot, 57),
            row("ann", Class::Owner, 3),
            row("bob", Class::Human, 16),
            row("bob", Class::Owner, 4),
            row("eve", Class::Bot, 19),
            row("joe", Class::Human, 500),
            row("", Class::Bot, 500),
        ];
        let found: Vec<(String, (u32, u32))> =
            shares(&rows).into_iter().map(|(code, s)| (code.to_string(), s)).collect();
        assert_eq!(found, [("ann".to_owned(), (55, 0)), ("bob".to_owned(), (0, 20))]);
    }
}
