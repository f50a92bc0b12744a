//! All of a program at one moment: facts, what followed from them, what people have in common. Read without a lock, in one view.

use std::collections::{BTreeMap, HashMap};

use futures_util::TryStreamExt;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row, any::AnyRow};
use tokio::time::timeout;

use super::{
    super::{Catalog, CatalogError, Entity, Program, entity::RowReader, no_answer, read},
    contact::{ContactId, id},
    fact::{self, code},
    followed::{REFERRAL_COLUMNS, REWARD_COLUMNS, ReferralRow, RewardRow, referral, reward},
    related::{PartnerClicks, Related, RelatedLead},
};
use crate::core::{code::Code, fact::Case, limits::CATALOG_ANSWER_TIMEOUT, program::Status};

/// All of a program.
#[derive(Clone, Debug)]
pub struct History {
    pub program: Program,
    pub cases: BTreeMap<ContactId, Case>,
    pub referrals: Vec<ReferralRow>,
    pub rewards: Vec<RewardRow>,
    pub related: Related,
    /// Of each partner the parent, and whether the partner is active.
    pub partners: HashMap<Code, (Option<Code>, bool)>,
}

impl Catalog {
    /// All of a program; `None`: it has more than `most` referrals.
    pub async fn history(&self, program: &Code, most: u64) -> Result<Option<History>, CatalogError> {
        let mut connection = self.reader().await?;
        let read = self.read_history(&mut connection, program, most).await;
        if read.is_err() {
            connection.close_on_drop();
        }
        read
    }

    async fn read_history(
        &self,
        connection: &mut AnyConnection,
        program: &Code,
        most: u64,
    ) -> Result<Option<History>, CatalogError> {
        let mut tx = connection.begin_with(self.shared.vendor.begin_reading()).await?;
        let unknown = || CatalogError::NotFound { kind: "program", code: program.to_string() };
        let sql = read::select::<Program>(&read::key_is::<Program>());
        let row = sqlx::query(AssertSqlSafe(sql)).bind(program.to_string()).fetch_optional(&mut *tx).await?;
        let found = Program::from_row(&mut RowReader::new(&row.ok_or_else(unknown)?))?;
        let sql = "SELECT CAST(count(*) AS BIGINT) FROM referrals WHERE program = $1";
        let count: i64 = sqlx::query(sql).bind(program.to_string()).fetch_one(&mut *tx).await?.try_get(0)?;
        if u64::try_from(count).unwrap_or(0) > most {
            tx.rollback().await?;
            return Ok(None);
        }
        let mut history = History {
            program: found,
            cases: BTreeMap::new(),
            referrals: Vec::new(),
            rewards: Vec::new(),
            related: Related::default(),
            partners: HashMap::new(),
        };
        history.read_facts(&mut tx, program).await?;
        history.read_followed(&mut tx, program).await?;
        history.read_common(&mut tx).await?;
        tx.rollback().await?;
        Ok(Some(history))
    }

    /// People with leads in a program, behind one of them, in the order of their ids.
    pub async fn contacts_of(
        &self,
        program: &Code,
        behind: &str,
        limit: usize,
    ) -> Result<Vec<ContactId>, CatalogError> {
        let query = sqlx::query(
            "SELECT DISTINCT contact FROM referrals WHERE program = $1 AND contact > $2 ORDER BY contact LIMIT $3",
        );
        let query =
            query.bind(program.to_string()).bind(behind.to_owned()).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        self.rows(query).await?.iter().map(|row| id(row, 0)).collect()
    }

    /// The referrals of a program, counted.
    pub async fn count_referrals(&self, program: &Code) -> Result<u64, CatalogError> {
        let query = sqlx::query("SELECT CAST(count(*) AS BIGINT) FROM referrals WHERE program = $1");
        let rows = self.rows(query.bind(program.to_string())).await?;
        let count: i64 = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

/// Takes each row of a statement; `$1` is the program where there is one.
async fn each(
    tx: &mut AnyConnection,
    sql: String,
    program: Option<&Code>,
    mut take: impl FnMut(&AnyRow) -> Result<(), CatalogError>,
) -> Result<(), CatalogError> {
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    let mut rows = match program {
        Some(program) => query.bind(program.to_string()).fetch(tx),
        None => query.fetch(tx),
    };
    while let Some(row) = timeout(CATALOG_ANSWER_TIMEOUT, rows.try_next()).await.map_err(|_| no_answer())?? {
        take(&row)?;
    }
    Ok(())
}

impl History {
    async fn read_facts(&mut self, tx: &mut AnyConnection, program: &Code) -> Result<(), CatalogError> {
        let History { cases, related, .. } = self;
        let sql =
            "SELECT id, at_ms, credited, network, contact FROM leads WHERE program = $1 AND by_click < 2".to_owned();
        each(tx, sql, Some(program), |row| {
            let (lead, contact) = (fact::lead(row)?, id(row, 4)?);
            let partner = lead.credited.as_ref().map(|credited| credited.partner.clone());
            let source = partner.zip(lead.network.clone());
            related.leads.push(RelatedLead { contact, place: lead.place, source });
            cases.entry(contact).or_default().leads.push(lead);
            Ok(())
        })
        .await?;
        let sql = "SELECT c.id, c.at_ms, c.event, c.amount, c.currency, \
                   CAST(COALESCE((SELECT sum(r.amount) FROM refunds AS r WHERE r.invoice = c.invoice), 0) AS BIGINT), \
                   CAST((SELECT count(*) FROM refunds AS r WHERE r.invoice = c.invoice AND r.amount IS NULL) AS BIGINT), c.contact \
                   FROM conversions AS c WHERE c.contact IN (SELECT contact FROM leads WHERE program = $1) \
                   AND (c.program IS NULL OR c.program = $1)";
        each(tx, sql.to_owned(), Some(program), |row| {
            let contact = id(row, 7)?;
            cases.entry(contact).or_default().conversions.push(fact::conversion(row)?);
            Ok(())
        })
        .await?;
        let sql = "SELECT id, at_ms, verdict, note, covers, contact FROM rulings WHERE program = $1".to_owned();
        each(tx, sql, Some(program), |row| {
            cases.entry(id(row, 5)?).or_default().rulings.push(fact::ruling(row)?);
            Ok(())
        })
        .await
    }

    async fn read_followed(&mut self, tx: &mut AnyConnection, program: &Code) -> Result<(), CatalogError> {
        let History { referrals, rewards, .. } = self;
        let sql = format!("SELECT {REFERRAL_COLUMNS} FROM referrals WHERE program = $1 ORDER BY since_ms, id");
        each(tx, sql, Some(program), |row| {
            referrals.push(referral(row)?);
            Ok(())
        })
        .await?;
        let sql = format!("SELECT {REWARD_COLUMNS} FROM rewards WHERE program = $1");
        each(tx, sql, Some(program), |row| {
            rewards.push(reward(row)?);
            Ok(())
        })
        .await
    }

    async fn read_common(&mut self, tx: &mut AnyConnection) -> Result<(), CatalogError> {
        let History { related, partners, .. } = self;
        let Related { mails, payments, visitors, .. } = related;
        for (sql, into) in [
            ("SELECT contact, normal FROM contact_keys WHERE normal IS NOT NULL", mails),
            (
                "SELECT DISTINCT contact, payment FROM conversions WHERE payment IS NOT NULL AND contact IS NOT NULL",
                payments,
            ),
            ("SELECT contact, visitor FROM contact_visitors", visitors),
        ] {
            each(tx, sql.to_owned(), None, |row| {
                into.push((id(row, 0)?, row.try_get(1)?));
                Ok(())
            })
            .await?;
        }
        let sql = "SELECT p.code, p.email, c.bots, c.own, p.parent, p.status FROM partners AS p \
                   LEFT JOIN partner_clicks AS c ON c.partner = p.code";
        each(tx, sql.to_owned(), None, |row| {
            related.add_partner(row)?;
            let (parent, status): (Option<&str>, &str) = (row.try_get(4)?, row.try_get(5)?);
            let parent = parent.map(code).transpose()?;
            partners.insert(code(row.try_get(0)?)?, (parent, Status::from_word(status) == Some(Status::Active)));
            Ok(())
        })
        .await
    }

    /// As [`Recording::parents`](super::Recording::parents) finds them.
    pub fn parents(&self, partner: &Code, levels: usize) -> Vec<Option<Code>> {
        let (mut parents, mut next) = (Vec::new(), partner);
        while parents.len() < levels {
            let Some((Some(parent), _)) = self.partners.get(next) else { break };
            let active = self.partners.get(parent).is_some_and(|(_, active)| *active);
            parents.push(active.then(|| parent.clone()));
            next = parent;
        }
        parents
    }
}

impl Catalog {
    /// What is kept of partners' clicks.
    pub async fn partner_clicks(&self) -> Result<Vec<PartnerClicks>, CatalogError> {
        let rows = self.rows(sqlx::query("SELECT partner, bots, own FROM partner_clicks")).await?;
        let percent = |share: i64| u32::try_from(share).unwrap_or(0);
        rows.iter()
            .map(|row| {
                Ok(PartnerClicks {
                    partner: code(row.try_get(0)?)?,
                    bots: percent(row.try_get(1)?),
                    own: percent(row.try_get(2)?),
                })
            })
            .collect()
    }
}
