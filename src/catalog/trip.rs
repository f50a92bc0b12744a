//! Statements of a transaction that writes, and how they travel to the database.
//!
//! SQLite has a thread of its own, and to go there and back costs more than most statements of a fact do. So what only writes
//! waits ([`Statement::later`]) and travels with the next question ([`Statement::rows`]); and what is certain to be asked is
//! asked in one trip ([`Writing::foresee`]), whose answers stand until something writes to a table that they were read from.
//! PostgreSQL takes one statement a message: there they go one after the other, in the same order.
//!
//! Whoever needs the connection itself takes it with [`Writing::tx`]: what waits has gone before.

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

use futures_util::TryStreamExt;
use sqlx::{
    AnyConnection, AssertSqlSafe, Either, Executor,
    any::{AnyArguments, AnyRow},
};

use super::{CatalogError, write::Writing};

/// A parameter.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    NoText,
    Integer(i64),
    NoInteger,
    /// Of a SMALLINT.
    Small(i32),
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Value {
        text.map_or(Value::NoText, Value::Text)
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Value {
        text.map(str::to_owned).into()
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Value {
        number.map_or(Value::NoInteger, Value::Integer)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Integer(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Value {
        Value::Small(number)
    }
}

impl Value {
    fn add_to(&self, arguments: &mut AnyArguments) {
        // Encoding a text or an integer for the Any driver puts it into a vector: nothing there can fail.
        let _ = match self {
            Value::Text(text) => sqlx::Arguments::add(arguments, text.clone()),
            Value::NoText => sqlx::Arguments::add(arguments, None::<String>),
            Value::Integer(number) => sqlx::Arguments::add(arguments, *number),
            Value::NoInteger => sqlx::Arguments::add(arguments, None::<i64>),
            Value::Small(number) => sqlx::Arguments::add(arguments, *number),
        };
    }
}

/// A statement without parameters yet.
pub(super) fn statement(text: impl Into<Cow<'static, str>>) -> Statement {
    Statement { sql: text.into(), values: Vec::new(), once: false }
}

/// A statement with its parameters.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Statement {
    sql: Cow<'static, str>,
    values: Vec<Value>,
    /// Its text does not come again.
    once: bool,
}

impl Statement {
    /// The text does not come again: it is not kept prepared.
    pub(super) fn once(self) -> Statement {
        Statement { once: true, ..self }
    }

    /// The next parameter.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Statement {
        self.values.push(value.into());
        self
    }

    /// It only writes, and nobody waits for it.
    pub(super) fn later(self, writing: &mut Writing) {
        writing.trips.forget_what(&self);
        writing.trips.waiting.push(self);
    }

    /// What it finds.
    pub(super) async fn rows(self, writing: &mut Writing) -> Result<Arc<Vec<AnyRow>>, CatalogError> {
        if let Some(rows) = writing.trips.known(&self) {
            return Ok(rows);
        }
        let mut answers = writing.travel(std::slice::from_ref(&self)).await?;
        Ok(Arc::new(answers.pop().unwrap_or_default()))
    }

    /// The first row of what it finds.
    pub(super) async fn first(self, writing: &mut Writing) -> Result<Option<FirstRow>, CatalogError> {
        let rows = self.rows(writing).await?;
        Ok((!rows.is_empty()).then_some(FirstRow(rows)))
    }

    /// The row of a question that always has one.
    pub(super) async fn only(self, writing: &mut Writing) -> Result<FirstRow, CatalogError> {
        Ok(self.first(writing).await?.ok_or(sqlx::Error::RowNotFound)?)
    }

    /// It writes, and says what (`RETURNING`). `foreseen` is asked behind it, in the same trip.
    pub(super) async fn done(
        self,
        writing: &mut Writing,
        foreseen: Vec<Statement>,
    ) -> Result<Vec<AnyRow>, CatalogError> {
        writing.trips.forget_what(&self);
        let all: Vec<Statement> = std::iter::once(self).chain(foreseen).collect();
        let mut answers = writing.travel(&all).await?.into_iter();
        let done = answers.next().unwrap_or_default();
        writing.trips.know(all.into_iter().skip(1).zip(answers));
        Ok(done)
    }

    /// The table that it writes to.
    fn table(&self) -> &str {
        let mut words = self.sql.split_whitespace();
        match words.next() {
            Some("UPDATE") => words.next().unwrap_or_default(),
            // INTO, FROM.
            _ => words.nth(1).unwrap_or_default(),
        }
    }

    fn arguments(&self) -> AnyArguments {
        let mut arguments = AnyArguments::default();
        self.values.iter().for_each(|value| value.add_to(&mut arguments));
        arguments
    }

    /// Adds it to a text of several statements, with parameters in the order in which they stand: SQLite looks for the name of
    /// one that has a name among all others, each time, and the driver asks for the name of each.
    fn append(&self, text: &mut String, arguments: &mut AnyArguments) {
        let mut rest = &*self.sql;
        while let Some(at) = rest.find('$') {
            let behind = &rest[at + 1..];
            let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
            let value =
                behind[..digits].parse::<usize>().ok().and_then(|number| self.values.get(number.checked_sub(1)?));
            text.push_str(&rest[..at]);
            text.push_str(if value.is_some() { "?" } else { "$" });
            if let Some(value) = value {
                value.add_to(arguments);
                rest = &behind[digits..];
            } else {
                rest = behind;
            }
        }
        text.push_str(rest);
        text.push(';');
    }
}

/// The first row of an answer that has one.
pub(super) struct FirstRow(Arc<Vec<AnyRow>>);

impl Deref for FirstRow {
    type Target = AnyRow;

    fn deref(&self) -> &AnyRow {
        &self.0[0]
    }
}

/// Answers that are there already, at most; older ones go.
const FORESEEN_MAX: usize = 32;

/// Statements that wait and travel together, at most; where there are more each goes by itself.
const TOGETHER_MAX: usize = 12;

/// The savepoint to which the part of the transaction that is being written can be taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Savepoint {
    #[default]
    Set,
    /// It travels before everything that waits. Until then the one of the part before is there.
    Waiting,
    /// Whoever sent it was given up before there was an answer.
    Unknown,
}

/// Two statements.
const NEXT_SAVEPOINT: &str = "RELEASE SAVEPOINT fact;SAVEPOINT fact;";

/// What waits to travel, and what has come back before it was asked for.
#[derive(Default)]
pub(super) struct Trips {
    pub(super) savepoint: Savepoint,
    waiting: Vec<Statement>,
    foreseen: Vec<(Statement, Arc<Vec<AnyRow>>)>,
}

impl fmt::Debug for Trips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rows and parameters hold personal data.
        write!(f, "Trips({:?}, {} wait, {} foreseen)", self.savepoint, self.waiting.len(), self.foreseen.len())
    }
}

impl Trips {
    /// Nothing is known any more. What waits goes on waiting.
    pub(super) fn forget(&mut self) {
        self.foreseen.clear();
    }

    /// What waits is not to be done.
    pub(super) fn drop_waiting(&mut self) {
        self.waiting.clear();
        self.forget();
    }

    /// What was read of a table that is written to is not known any more.
    fn forget_what(&mut self, writes: &Statement) {
        let table = writes.table();
        self.foreseen.retain(|(known, _)| !known.sql.contains(table));
    }

    fn know(&mut self, answers: impl Iterator<Item = (Statement, Vec<AnyRow>)>) {
        self.foreseen.extend(answers.map(|(question, rows)| (question, Arc::new(rows))));
        self.foreseen.drain(..self.foreseen.len().saturating_sub(FORESEEN_MAX));
    }

    fn known(&self, statement: &Statement) -> Option<Arc<Vec<AnyRow>>> {
        let found = self.foreseen.iter().rev().find(|(known, _)| known == statement);
        found.map(|(_, rows)| Arc::clone(rows))
    }
}

impl Writing {
    /// Asks what will be asked, in one trip.
    pub(super) async fn foresee(&mut self, questions: Vec<Statement>) -> Result<(), CatalogError> {
        let questions: Vec<Statement> =
            questions.into_iter().filter(|question| self.trips.known(question).is_none()).collect();
        if questions.is_empty() {
            return Ok(());
        }
        let answers = self.travel(&questions).await?;
        self.trips.know(questions.into_iter().zip(answers));
        Ok(())
    }

    /// The connection, when everything that waits is done.
    pub(super) async fn tx(&mut self) -> Result<&mut AnyConnection, CatalogError> {
        self.trips.forget();
        if self.trips.savepoint != Savepoint::Set || !self.trips.waiting.is_empty() {
            self.travel(&[]).await?;
        }
        Ok(&mut self.tx)
    }

    /// Does what waits.
    pub(super) async fn settle_waiting(&mut self) -> Result<(), CatalogError> {
        if !self.trips.waiting.is_empty() {
            self.travel(&[]).await?;
        }
        Ok(())
    }

    /// Does what waits, then asks; gives the rows of each question.
    async fn travel(&mut self, questions: &[Statement]) -> Result<Vec<Vec<AnyRow>>, CatalogError> {
        if self.trips.savepoint == Savepoint::Unknown {
            return Err(CatalogError::Unavailable("a fact was given up on its way to the database".to_owned()));
        }
        let waiting = std::mem::take(&mut self.trips.waiting);
        let marks = self.trips.savepoint == Savepoint::Waiting;
        if marks {
            self.trips.savepoint = Savepoint::Unknown;
        }
        if !self.shared.vendor.takes_several() {
            return self.travel_one_by_one(&waiting, questions, marks).await;
        }
        // Texts that come once only would push those that come again out of the driver's store of prepared ones.
        let alone = if waiting.len() > TOGETHER_MAX { waiting.len() } else { 0 };
        for statement in &waiting[..alone] {
            let marks = self.trips.savepoint != Savepoint::Set;
            self.travel_at_once(std::slice::from_ref(statement), &[], marks).await?;
        }
        let marks = self.trips.savepoint != Savepoint::Set;
        let mut answers = self.travel_at_once(&waiting[alone..], questions, marks).await?;
        Ok(answers.split_off(waiting.len() - alone))
    }

    async fn travel_one_by_one(
        &mut self,
        waiting: &[Statement],
        questions: &[Statement],
        marks: bool,
    ) -> Result<Vec<Vec<AnyRow>>, CatalogError> {
        if marks {
            sqlx::raw_sql(NEXT_SAVEPOINT).execute(&mut *self.tx).await?;
            self.trips.savepoint = Savepoint::Set;
        }
        let mut answers = Vec::with_capacity(waiting.len() + questions.len());
        for statement in waiting.iter().chain(questions) {
            let query = sqlx::query_with(AssertSqlSafe(statement.sql.to_string()), statement.arguments());
            let query = query.persistent(!statement.once);
            answers.push(query.fetch_all(&mut *self.tx).await?);
        }
        Ok(answers.split_off(waiting.len()))
    }

    async fn travel_at_once(
        &mut self,
        waiting: &[Statement],
        questions: &[Statement],
        marks: bool,
    ) -> Result<Vec<Vec<AnyRow>>, CatalogError> {
        if waiting.is_empty() && questions.is_empty() && !marks {
            return Ok(Vec::new());
        }
        let (mut text, mut arguments) = (String::new(), AnyArguments::default());
        if marks {
            text.push_str(NEXT_SAVEPOINT);
        }
        let all = waiting.iter().chain(questions);
        all.for_each(|statement| statement.append(&mut text, &mut arguments));
        let mut marks_left = if marks { 2 } else { 0 };
        let (mut answers, mut rows) = (Vec::with_capacity(waiting.len() + questions.len()), Vec::new());
        let once = waiting.iter().chain(questions).any(|statement| statement.once);
        let query = sqlx::query_with(AssertSqlSafe(text), arguments).persistent(!once);
        let mut steps = self.tx.fetch_many(query);
        while let Some(step) = steps.try_next().await? {
            match step {
                Either::Right(row) => rows.push(row),
                Either::Left(_) if marks_left > 0 => {
                    marks_left -= 1;
                    if marks_left == 0 {
                        self.trips.savepoint = Savepoint::Set;
                    }
                }
                Either::Left(_) => answers.push(std::mem::take(&mut rows)),
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_stand_in_the_order_of_their_use() {
        let (mut text, mut arguments) = (String::new(), AnyArguments::default());
        statement("SELECT $2, '$', $1, $2").bind("a").bind(1_i64).append(&mut text, &mut arguments);
        statement("SELECT $1").bind(None::<i64>).append(&mut text, &mut arguments);
        assert_eq!(text, "SELECT ?, '$', ?, ?;SELECT ?;");
        assert_eq!(sqlx::Arguments::len(&arguments), 4);
    }

    #[test]
    fn what_was_read_of_a_table_stands_until_it_is_written_to() {
        let table = |text| statement(text).table().to_owned();
        assert_eq!(table("INSERT INTO leads (id) VALUES ($1)"), "leads");
        assert_eq!(table("UPDATE rewards SET state = $1"), "rewards");
        assert_eq!(table("DELETE FROM contacts WHERE id = $1"), "contacts");
        let mut trips = Trips::default();
        let questions =
            ["SELECT id FROM leads", "SELECT l.id FROM conversions AS c JOIN leads AS l", "SELECT 1 FROM rewards"];
        trips.know(questions.map(|text| (statement(text), Vec::new())).into_iter());
        trips.forget_what(&statement("UPDATE leads SET click = $1"));
        let known = questions.map(|text| trips.known(&statement(text)).is_some());
        assert_eq!(known, [false, false, true]);
        assert!(trips.known(&statement("SELECT 1 FROM rewards").bind("other")).is_none());
    }
}
