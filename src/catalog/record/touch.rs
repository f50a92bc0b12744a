//! Touches: the clicks of visitors who are bound to a contact, and how far the event store was asked for them.
//!
//! They are facts like the others. What the event store is asked once stands here, so that every decision can be made again
//! from the record alone, whether that store answers or has forgotten.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{
    super::{
        Catalog, CatalogError,
        trip::{Statement, statement},
    },
    Recording,
    contact::{ContactId, Person, id},
    fact::code,
};
use crate::core::{
    code::Code,
    fact::{Credited, FactId},
    id::{EventId, VisitorId},
    limits::VISITOR_TOUCHES_MAX,
    time::Millis,
};

/// A counted, credited click of a visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchRow {
    pub click: EventId,
    pub visitor: VisitorId,
    pub program: Option<Code>,
    pub link: Option<Code>,
    pub partner: Code,
    pub ad: Option<Code>,
    pub at: Millis,
}

/// How much of a visitor's history stands in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VisitorHistory {
    Unasked = 0,
    /// What the event store knew at the lead.
    AtLead = 1,
    /// What it knew when the visitor was bound already: whoever follows arriving clicks misses none from there on.
    Whole = 2,
}

/// A visitor of a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    pub visitor: VisitorId,
    /// The time of the earliest lead that came with this visitor.
    pub since: Millis,
    pub history: VisitorHistory,
}

/// A lead as it stands, with its decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedLead {
    pub id: FactId,
    pub program: Code,
    pub at: Millis,
    /// Nobody told it: a click of a known contact stands for it.
    pub by_click: bool,
    /// JSON.
    pub decision: String,
}

/// How far the clicks of one log were followed: everything below `next` was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickPosition {
    pub source: String,
    pub log: u32,
    pub next: u64,
}

const COLUMNS: &str = "click, visitor, program, link, partner, ad, at_ms";
/// Values of one statement.
const MANY: usize = 200;

/// `$from, $from+1, …`
fn places(from: usize, count: usize) -> String {
    (from..from + count).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ")
}

fn visitor(row: &AnyRow, column: usize) -> Result<VisitorId, CatalogError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| CatalogError::Corrupt(format!("`{text}` is no visitor")))
}

fn touch(row: &AnyRow) -> Result<TouchRow, CatalogError> {
    let click: &str = row.try_get(0)?;
    let optional = |text: Option<&str>| text.map(code).transpose();
    Ok(TouchRow {
        click: click.parse().map_err(|_| CatalogError::Corrupt(format!("`{click}` is no click")))?,
        visitor: visitor(row, 1)?,
        program: optional(row.try_get(2)?)?,
        link: optional(row.try_get(3)?)?,
        partner: code(row.try_get(4)?)?,
        ad: optional(row.try_get(5)?)?,
        at: Millis(row.try_get(6)?),
    })
}

impl Catalog {
    /// The visitors that are bound to whoever this person is, and how much is known of each.
    pub async fn visitors_of(&self, person: &Person) -> Result<Vec<(VisitorId, VisitorHistory)>, CatalogError> {
        let sql = "SELECT DISTINCT v.visitor, v.history FROM contact_keys AS k \
                   JOIN contact_visitors AS v ON v.contact = k.contact \
                   WHERE (k.kind = 'email' AND k.value = $1) OR (k.kind = 'external' AND k.value = $2)";
        let query = sqlx::query(sql)
            .bind(person.email.clone().unwrap_or_default())
            .bind(person.external.clone().unwrap_or_default());
        self.rows(query).await?.iter().map(|row| Ok((visitor(row, 0)?, history(row.try_get(1)?)))).collect()
    }

    /// Visitors whose history is to be asked since they were bound.
    pub async fn unasked_visitors(&self, limit: u32) -> Result<Vec<VisitorId>, CatalogError> {
        let sql = format!("SELECT DISTINCT visitor FROM contact_visitors WHERE history < 2 LIMIT {limit}");
        self.rows(sqlx::query(AssertSqlSafe(sql))).await?.iter().map(|row| visitor(row, 0)).collect()
    }

    /// Those of these visitors that are bound to somebody.
    pub async fn bound_among(&self, visitors: &BTreeSet<VisitorId>) -> Result<BTreeSet<VisitorId>, CatalogError> {
        let mut bound = BTreeSet::new();
        for some in visitors.iter().collect::<Vec<_>>().chunks(MANY) {
            let sql = format!("SELECT visitor FROM contact_visitors WHERE visitor IN ({})", places(1, some.len()));
            let query =
                some.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, visitor| query.bind(visitor.to_string()));
            for row in self.rows(query).await? {
                bound.insert(visitor(&row, 0)?);
            }
        }
        Ok(bound)
    }

    /// How far the clicks of an event store were followed.
    pub async fn click_positions(&self, store: &str) -> Result<Vec<ClickPosition>, CatalogError> {
        let query =
            sqlx::query("SELECT source, log, next FROM click_positions WHERE store = $1").bind(store.to_owned());
        let position = |row: &AnyRow| {
            let (log, next): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
            let log = u32::try_from(log).unwrap_or(u32::MAX);
            Ok(ClickPosition { source: row.try_get(0)?, log, next: next.unsigned_abs() })
        };
        self.rows(query).await?.iter().map(position).collect()
    }
}

fn history(number: i32) -> VisitorHistory {
    match number {
        0 => VisitorHistory::Unasked,
        1 => VisitorHistory::AtLead,
        _ => VisitorHistory::Whole,
    }
}

/// The visitors of a contact.
pub(super) fn bindings(contact: ContactId) -> Statement {
    statement("SELECT visitor, at_ms, history FROM contact_visitors WHERE contact = $1").bind(contact.to_string())
}

impl Recording {
    /// Binds a browser to a contact; `at` is the lead's time. The earliest one counts.
    pub async fn bind_visitor(
        &mut self,
        contact: ContactId,
        visitor: VisitorId,
        at: Millis,
    ) -> Result<(), CatalogError> {
        statement(
            "INSERT INTO contact_visitors (contact, visitor, at_ms, history) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (contact, visitor) DO UPDATE SET at_ms = excluded.at_ms \
             WHERE excluded.at_ms < contact_visitors.at_ms",
        )
        .bind(contact.to_string())
        .bind(visitor.to_string())
        .bind(at.0)
        .bind(if self.asked.contains(&visitor) { VisitorHistory::AtLead } else { VisitorHistory::Unasked } as i32)
        .later(&mut self.writing);
        Ok(())
    }

    /// What the event store knew of these visitors just now stands in the record, also for who is bound in this transaction.
    pub async fn history_asked(&mut self, visitors: &[VisitorId]) -> Result<(), CatalogError> {
        self.asked.extend(visitors);
        self.history_is(visitors, VisitorHistory::AtLead).await
    }

    /// The history of these visitors stands in the record now.
    pub async fn history_is(&mut self, visitors: &[VisitorId], history: VisitorHistory) -> Result<(), CatalogError> {
        for some in visitors.chunks(MANY) {
            let sql = format!(
                "UPDATE contact_visitors SET history = $1 WHERE history < $1 AND visitor IN ({})",
                places(2, some.len())
            );
            let query = statement(sql).bind(history as i32);
            let query = some.iter().fold(query, |query, visitor| query.bind(visitor.to_string()));
            query.later(&mut self.writing);
        }
        Ok(())
    }

    pub async fn bindings(&mut self, contact: ContactId) -> Result<Vec<Binding>, CatalogError> {
        let rows = bindings(contact).rows(&mut self.writing).await?;
        let binding = |row: &AnyRow| {
            let (visitor, since) = (visitor(row, 0)?, Millis(row.try_get(1)?));
            Ok(Binding { visitor, since, history: history(row.try_get(2)?) })
        };
        rows.iter().map(binding).collect()
    }

    /// The people to whom these visitors are bound.
    pub async fn contacts_of(&mut self, visitors: &BTreeSet<VisitorId>) -> Result<BTreeSet<ContactId>, CatalogError> {
        let mut contacts = BTreeSet::new();
        for some in visitors.iter().collect::<Vec<_>>().chunks(MANY) {
            let sql = format!(
                "SELECT DISTINCT v.contact FROM contact_visitors AS v JOIN contacts AS c ON c.id = v.contact \
                 WHERE c.same_as IS NULL AND v.visitor IN ({})",
                places(1, some.len())
            );
            let query = some.iter().fold(statement(sql), |query, visitor| query.bind(visitor.to_string()));
            for row in query.rows(&mut self.writing).await?.iter() {
                contacts.insert(id(row, 0)?);
            }
        }
        Ok(contacts)
    }

    /// Keeps a touch; one that is there already changes nothing. Gives whether it is new.
    pub async fn put_touch(&mut self, touch: &TouchRow) -> Result<bool, CatalogError> {
        let text = |code: &Option<Code>| code.as_ref().map(Code::to_string);
        let done = sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO touches ({COLUMNS}) SELECT $1, $2, $3, $4, $5, $6, CAST($7 AS BIGINT) \
             WHERE (SELECT count(*) FROM touches WHERE visitor = $2) < {VISITOR_TOUCHES_MAX} ON CONFLICT (click) DO NOTHING"
        )))
        .bind(touch.click.to_string())
        .bind(touch.visitor.to_string())
        .bind(text(&touch.program))
        .bind(text(&touch.link))
        .bind(touch.partner.to_string())
        .bind(text(&touch.ad))
        .bind(touch.at.0)
        .execute(self.writing.tx().await?)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// All touches of these visitors, in order.
    pub async fn touches_of(&mut self, visitors: &[VisitorId]) -> Result<Vec<TouchRow>, CatalogError> {
        let mut touches = Vec::new();
        for some in visitors.chunks(MANY) {
            let sql = format!("SELECT {COLUMNS} FROM touches WHERE visitor IN ({})", places(1, some.len()));
            let query = some.iter().fold(statement(sql), |query, visitor| query.bind(visitor.to_string()));
            for row in query.rows(&mut self.writing).await?.iter() {
                touches.push(touch(row)?);
            }
        }
        touches.sort_by_key(|touch| (touch.at, touch.click));
        Ok(touches)
    }

    /// Whose browser a click came from: the person's who was bound to it first, and before the click.
    pub(super) async fn contact_of_touch(&mut self, click: EventId) -> Result<Option<ContactId>, CatalogError> {
        let row = statement("SELECT v.contact FROM touches AS t JOIN contact_visitors AS v ON v.visitor = t.visitor AND v.at_ms <= t.at_ms \
             WHERE t.click = $1 ORDER BY v.at_ms, v.contact LIMIT 1")
            .bind(click.to_string())
            .first(&mut self.writing).await?;
        row.map(|row| id(&row, 0)).transpose()
    }

    /// Clicks of this contact's browsers by which conversions were told.
    pub async fn converted_clicks(&mut self, contact: ContactId) -> Result<Vec<EventId>, CatalogError> {
        let rows = statement("SELECT DISTINCT t.click FROM contact_visitors AS v JOIN touches AS t ON t.visitor = v.visitor AND t.at_ms >= v.at_ms \
             JOIN conversions AS c ON c.told_by = 'click' AND c.told_as = t.click WHERE v.contact = $1 ORDER BY t.click")
            .bind(contact.to_string())
            .rows(&mut self.writing).await?;
        let click = |row: &AnyRow| {
            let text: &str = row.try_get(0)?;
            text.parse().map_err(|_| CatalogError::Corrupt(format!("`{text}` is no click")))
        };
        rows.iter().map(click).collect()
    }

    // === Leads and their decisions ===

    pub async fn decided_leads(&mut self, contact: ContactId) -> Result<Vec<DecidedLead>, CatalogError> {
        let rows =
            statement("SELECT id, program, at_ms, by_click, decision FROM leads WHERE contact = $1 AND by_click < 2")
                .bind(contact.to_string())
                .rows(&mut self.writing)
                .await?;
        let lead = |row: &AnyRow| {
            let by_click: i32 = row.try_get(3)?;
            Ok(DecidedLead {
                id: id(row, 0)?,
                program: code(row.try_get(1)?)?,
                at: Millis(row.try_get(2)?),
                by_click: by_click != 0,
                decision: row.try_get(4)?,
            })
        };
        rows.iter().map(lead).collect()
    }

    pub async fn decide_lead(
        &mut self,
        lead: FactId,
        credited: Option<&Credited>,
        decision: &str,
    ) -> Result<(), CatalogError> {
        statement("UPDATE leads SET credited = $2, decision = $3 WHERE id = $1")
            .bind(lead.to_string())
            .bind(serde_json::to_string(&credited).unwrap_or_default())
            .bind(decision.to_owned())
            .later(&mut self.writing);
        Ok(())
    }

    /// Makes a lead that nobody told, or changes it to be so. It has no click of its own to look for: a conversion's click
    /// belongs to the lead that came with it.
    pub async fn put_click_lead(
        &mut self,
        contact: ContactId,
        lead: &DecidedLead,
        credited: Option<&Credited>,
    ) -> Result<(), CatalogError> {
        statement(
            "INSERT INTO leads (id, program, contact, metadata, credited, decision, at_ms, told_ms, by_click) \
             VALUES ($1, $2, $3, '{}', $4, $5, $6, $7, 1) \
             ON CONFLICT (id) DO UPDATE SET credited = excluded.credited, decision = excluded.decision, by_click = 1",
        )
        .bind(lead.id.to_string())
        .bind(lead.program.to_string())
        .bind(contact.to_string())
        .bind(serde_json::to_string(&credited).unwrap_or_default())
        .bind(lead.decision.clone())
        .bind(lead.at.0)
        .bind(self.now().0)
        .later(&mut self.writing);
        Ok(())
    }

    /// A lead that nobody told is not needed any more.
    pub async fn drop_click_lead(&mut self, lead: FactId) -> Result<(), CatalogError> {
        let query = statement("UPDATE leads SET by_click = 2 WHERE id = $1 AND by_click = 1");
        query.bind(lead.to_string()).later(&mut self.writing);
        Ok(())
    }

    /// Removes what [`Recording::drop_click_lead`] named, when nothing speaks of it any more.
    pub async fn sweep_click_leads(&mut self, contact: ContactId) -> Result<(), CatalogError> {
        statement("DELETE FROM leads WHERE contact = $1 AND by_click = 2 AND id NOT IN (SELECT lead FROM referrals)")
            .bind(contact.to_string())
            .later(&mut self.writing);
        Ok(())
    }

    // === Following ===

    /// Moves the positions, if they still stand where they were when the clicks were asked for: else somebody else has
    /// followed them meanwhile.
    pub async fn move_click_positions(
        &mut self,
        store: &str,
        before: &[ClickPosition],
        moved: &[ClickPosition],
    ) -> Result<bool, CatalogError> {
        for position in moved {
            let was = before.iter().find(|old| (&old.source, old.log) == (&position.source, position.log));
            let done = sqlx::query(
                "INSERT INTO click_positions (store, source, log, next) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (store, source, log) DO UPDATE SET next = excluded.next WHERE click_positions.next = $5",
            )
            .bind(store.to_owned())
            .bind(position.source.clone())
            .bind(i64::from(position.log))
            .bind(i64::try_from(position.next).unwrap_or(i64::MAX))
            .bind(was.map_or(-1, |was| i64::try_from(was.next).unwrap_or(i64::MAX)))
            .execute(self.writing.tx().await?)
            .await?;
            if done.rows_affected() == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
