//! Partners by their address, and those who join by themselves.

use sqlx::{AssertSqlSafe, Row};

use super::{
    Catalog, CatalogError, Entity, Kind, Partner,
    audit::{Deed, difference},
    entity::RowReader,
    read,
    share_link::random_slug,
    write::Writing,
};
use crate::core::{code::Code, program::Status, time::Millis};

/// The code of a partner whom nobody can be.
pub const NOBODY: &str = "?";

/// Somebody who wants to join.
#[derive(Clone, Debug)]
pub struct Joining<'a> {
    pub program: &'a Code,
    /// In lower case; whoever asks has read its mail.
    pub email: &'a str,
    pub first_name: &'a str,
    pub name: &'a str,
    /// [`Status::Active`], or [`Status::Pending`] where somebody looks at them first.
    pub status: Status,
}

/// How somebody who is not in the program yet comes into it.
enum Entry {
    /// This partner of theirs is in one program more.
    Append(Partner),
    /// As a partner of their own, who stands so, below the same parent.
    New(Status, Option<Code>),
}

impl Entry {
    /// A partner's status is one for all its programs. So the one whom somebody already is goes along only where nobody needs to
    /// look at them, here or there; otherwise they become a second one, which waits or counts by itself. Whoever was
    /// stopped or refused elsewhere is looked at.
    fn of(known: &[Partner], status: Status) -> Entry {
        let has = |wanted: Status| known.iter().find(|partner| partner.status == wanted);
        let parent = known.first().and_then(|partner| partner.parent.clone());
        match (status, has(Status::Active)) {
            (Status::Active, Some(there)) => Entry::Append(there.clone()),
            (Status::Active, None) if has(Status::Paused).or(has(Status::Rejected)).is_some() => {
                Entry::New(Status::Pending, parent)
            }
            (status, _) => Entry::New(status, parent),
        }
    }
}

impl Partner {
    /// Whether it takes part in a program.
    pub fn is_in(&self, program: &Code) -> bool {
        self.programs.is_empty() || self.programs.contains(program)
    }
}

fn by_mail() -> String {
    read::select::<Partner>("email IS NOT NULL AND lower(email) = $1 ORDER BY created_at, code")
}

impl Catalog {
    /// Partners with this address (in lower case), the first one first.
    pub async fn partners_by_mail(&self, email: &str) -> Result<Vec<Partner>, CatalogError> {
        let rows = self.rows(sqlx::query(AssertSqlSafe(by_mail())).bind(email.to_owned())).await?;
        rows.iter().map(|row| Partner::from_row(&mut RowReader::new(row))).collect()
    }

    /// The code of the first one of them in a program; [`NOBODY`] where there is none. It is one row in either case, and takes as long.
    pub async fn partner_code_by_mail(&self, program: &Code, email: &str) -> Result<String, CatalogError> {
        let sql = "SELECT COALESCE((SELECT code FROM partners WHERE email IS NOT NULL AND lower(email) = $1 \
                   AND (programs = '[]' OR REPLACE(programs, $2, '') <> programs) ORDER BY created_at, code LIMIT 1), $3)";
        // Programs are JSON, and a code holds no quote.
        let query = sqlx::query(sql).bind(email.to_owned()).bind(format!("\"{program}\"")).bind(NOBODY);
        let rows = self.rows(query).await?;
        Ok(rows.first().map_or(Ok(NOBODY.to_owned()), |row| row.try_get(0))?)
    }

    /// Makes a partner of somebody, with a code of its own. Who is in the program already stays as they are; who is an active partner
    /// elsewhere is in this program too from now on, unless it wants to look at them. Gives the partner, and whether anything
    /// changed.
    pub async fn join(&self, joining: &Joining<'_>) -> Result<(Partner, bool), CatalogError> {
        let mut writing = Writing::begin(self).await?;
        let sql = by_mail();
        let rows =
            sqlx::query(AssertSqlSafe(sql)).bind(joining.email.to_owned()).fetch_all(writing.tx().await?).await?;
        let known: Vec<Partner> =
            rows.iter().map(|row| Partner::from_row(&mut RowReader::new(row))).collect::<Result<_, _>>()?;
        if let Some(there) = known.iter().find(|partner| partner.is_in(joining.program)) {
            writing.rollback().await?;
            return Ok((there.clone(), false));
        }
        let entry = Entry::of(&known, joining.status);
        let (before, partner) = match entry {
            Entry::Append(before) => {
                let mut programs = before.programs.clone();
                programs.push(joining.program.clone());
                let partner = Partner { programs, ..before.clone() };
                (Some(before), partner)
            }
            Entry::New(status, parent) => {
                let partner = Partner {
                    code: writing.fresh_code().await?,
                    name: joining.name.to_owned(),
                    first_name: joining.first_name.to_owned(),
                    email: Some(joining.email.to_owned()),
                    parent,
                    programs: vec![joining.program.clone()],
                    status,
                    allowed: Vec::new(),
                    created_at: Millis(0),
                    updated_at: Millis(0),
                };
                (None, partner)
            }
        };
        writing.check_one(&partner).await?;
        writing.upsert(std::slice::from_ref(&partner)).await?;
        let action = if before.is_some() { "update" } else { "create" };
        let changes = difference(Kind::Partner.word(), before.as_ref(), Some(&partner));
        writing.audit(Deed::new(action, Kind::Partner.word(), partner.key()).with(changes));
        let stored = writing.find::<Partner>(&[&partner.code]).await?;
        writing.commit().await?;
        Ok((stored.unwrap_or(partner), true))
    }
}

impl Writing {
    /// A code that no partner has.
    async fn fresh_code(&mut self) -> Result<Code, CatalogError> {
        loop {
            let code = random_slug()?;
            if self.find::<Partner>(&[&code]).await?.is_none() {
                return Ok(code);
            }
        }
    }
}
