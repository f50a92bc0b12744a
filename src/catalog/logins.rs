//! Who may log in, and who is: codes that are mailed, and the sessions that they open.
//!
//! **Nobody learns here who is registered.** Asking for a code does the same for every address: one transaction with the same
//! statements, a row of `login_codes`, a row of `mails`. For an address that nobody has, or that was mailed too often, the
//! mail's row is `silent`: it is never sent, and its code opens nothing. What goes out goes a moment later, at random.
//!
//! A code is bound to what the browser that asked for it holds, so it is of no use to anybody else; it is stored as a keyed hash, counts its
//! tries before it compares, and is used up once.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sqlx::{Any, Row, Transaction};

use super::{Catalog, CatalogError, mails, mails::NewMail};
use crate::{
    core::{
        code::Code,
        limits::{
            ADMIN_SESSION_TTL, LOGIN_CODE_DIGITS, LOGIN_CODE_TRIES, LOGIN_CODE_TTL, LOGIN_CODES_OF_ADDRESS_PER_HOUR,
            LOGIN_CODES_PER_HOUR, LOGIN_MAIL_SPREAD, SESSION_TTL,
        },
        time::Millis,
    },
    io::random,
};

const TOKEN_CONTEXT: &str = "fingerpost 2026 log-in token v1";
const CODE_CONTEXT: &str = "fingerpost 2026 log-in code v1";
const AGENT_CONTEXT: &str = "fingerpost 2026 session agent v1";
const HOUR_MS: i64 = 3_600_000;

/// What a code is asked for with.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The tracking page that it is asked for on; none: the partner center.
    pub program: Option<&'a Code>,
    /// In lower case.
    pub email: &'a str,
    /// Where it is asked from, cut ([`crate::core::net::network`]); empty where that is not known.
    pub network: &'a str,
    /// Somebody who is nobody's partner yet is mailed a code too: they may join.
    pub anybody: bool,
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// The browser's new session.
    Open { session: String },
    /// So many tries are left.
    Wrong { left: u32 },
    /// It was used, has expired, was tried too often, or was never asked for.
    Over,
}

/// Whose browser it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The operator, who had the admin token.
    Admin,
    /// Whoever reads the mail of this address, in lower case.
    Person(String),
}

/// The hash under which a browser's token is kept.
fn hash(token: &str) -> String {
    HEXLOWER.encode(&blake3::derive_key(TOKEN_CONTEXT, token.as_bytes()))
}

fn code_hash(token: &str, code: &str) -> String {
    let key = blake3::derive_key(CODE_CONTEXT, token.as_bytes());
    blake3::keyed_hash(&key, code.as_bytes()).to_hex().to_string()
}

fn agent_hash(agent: &[u8]) -> String {
    HEXLOWER.encode(&blake3::derive_key(AGENT_CONTEXT, agent)[..16])
}

fn new_token() -> Result<String, CatalogError> {
    Ok(BASE64URL_NOPAD.encode(&random::bytes::<32>()?))
}

/// Digits, each as likely as the others.
fn new_code() -> Result<String, CatalogError> {
    let codes = 10_u32.pow(LOGIN_CODE_DIGITS as u32);
    loop {
        let number = u32::from_le_bytes(random::bytes()?);
        if number < u32::MAX - u32::MAX % codes {
            return Ok(format!("{:0width$}", number % codes, width = LOGIN_CODE_DIGITS));
        }
    }
}

impl Catalog {
    /// Mails a code where somebody is there to get it. Gives what the browser is to keep, the same for everybody.
    pub async fn ask_code(
        &self,
        asking: Asking<'_>,
        mail: impl FnOnce(&str) -> NewMail + Send,
    ) -> Result<String, CatalogError> {
        let (token, code) = (new_token()?, new_code()?);
        let now = self.shared.clock.now();
        let spread = u32::from_le_bytes(random::bytes()?) % (LOGIN_MAIL_SPREAD.as_millis() as u32);
        let mut tx = self.writing().await?;
        sqlx::query("DELETE FROM login_codes WHERE expires_at < $1").bind(now.0 - HOUR_MS).execute(&mut *tx).await?;
        let sql = "SELECT (SELECT COUNT(*) FROM login_codes WHERE email = $1 AND created_at > $2 AND mailed = 1), \
                   (SELECT COUNT(*) FROM login_codes WHERE email = $1 AND created_at > $2 AND mailed = 1 AND network = $3), \
                   (SELECT COUNT(*) FROM partners WHERE email IS NOT NULL AND lower(email) = $1)";
        let query = sqlx::query(sql).bind(asking.email.to_owned()).bind(now.0 - HOUR_MS);
        let row = query.bind(asking.network.to_owned()).fetch_one(&mut *tx).await?;
        let (mailed, here, partners): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let is_free = here < LOGIN_CODES_PER_HOUR && mailed < LOGIN_CODES_OF_ADDRESS_PER_HOUR;
        let is_mailed = (partners > 0 || asking.anybody) && is_free;
        // What is not mailed has another code than the one that could be guessed at.
        let stored = code_hash(&token, if is_mailed { &code } else { "never mailed" });
        sqlx::query(
            "INSERT INTO login_codes (id, program, email, code, tries, used, created_at, expires_at, network, mailed) \
             VALUES ($1, $2, $3, $4, 0, 0, $5, $6, $7, $8)",
        )
        .bind(hash(&token))
        .bind(asking.program.map(ToString::to_string).unwrap_or_default())
        .bind(asking.email.to_owned())
        .bind(stored)
        .bind(now.0)
        .bind(now.plus(LOGIN_CODE_TTL.as_millis() as i64).0)
        .bind(asking.network.to_owned())
        .bind(i32::from(is_mailed))
        .execute(&mut *tx)
        .await?;
        let mail = mail(&code);
        let (mail, state) = match is_mailed {
            true => (mail, "waiting"),
            false => (NewMail { recipient: String::new(), text: "0".repeat(mail.text.len()), ..mail }, mails::SILENT),
        };
        mails::insert(&mut tx, &mail, state, now, now.plus(i64::from(spread))).await?;
        tx.commit().await?;
        Ok(token)
    }

    /// Who asked for a code with this token, and on which program's page; nothing once that is long ago.
    pub async fn asked_code(&self, token: &str) -> Result<Option<(Option<Code>, String)>, CatalogError> {
        let query = sqlx::query("SELECT program, email FROM login_codes WHERE id = $1").bind(hash(token));
        let rows = self.rows(query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some((row.try_get::<&str, _>(0)?.parse().ok(), row.try_get(1)?)))
    }

    /// Tries a code for the browser that holds `token` and names itself `agent`.
    pub async fn try_code(&self, token: &str, code: &str, agent: &[u8]) -> Result<Tried, CatalogError> {
        let now = self.shared.clock.now();
        let mut tx = self.writing().await?;
        let row = sqlx::query(
            "UPDATE login_codes SET tries = tries + 1 WHERE id = $1 AND used = 0 AND tries < $2 AND expires_at > $3 \
             RETURNING code, email, tries",
        )
        .bind(hash(token))
        .bind(LOGIN_CODE_TRIES)
        .bind(now.0)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(Tried::Over) };
        let (stored, email, tries): (String, String, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        // Digits only, however they were typed in. `blake3::Hash` compares in constant time.
        let digits: String = code.chars().filter(char::is_ascii_digit).collect();
        let key = blake3::derive_key(CODE_CONTEXT, token.as_bytes());
        let is_right =
            blake3::Hash::from_hex(&stored).is_ok_and(|stored| stored == blake3::keyed_hash(&key, digits.as_bytes()));
        if !is_right {
            tx.commit().await?;
            let left = u32::try_from(LOGIN_CODE_TRIES - tries).unwrap_or(0);
            return Ok(if left > 0 { Tried::Wrong { left } } else { Tried::Over });
        }
        sqlx::query("UPDATE login_codes SET used = 1 WHERE id = $1").bind(hash(token)).execute(&mut *tx).await?;
        let session = self.new_session(&mut tx, &email, agent, now.plus(SESSION_TTL.as_millis() as i64)).await?;
        tx.commit().await?;
        Ok(Tried::Open { session })
    }

    /// A session of whoever has shown the admin token.
    pub async fn open_admin_session(&self, agent: &[u8]) -> Result<String, CatalogError> {
        let until = self.shared.clock.now().plus(ADMIN_SESSION_TTL.as_millis() as i64);
        let mut tx = self.writing().await?;
        let session = self.new_session(&mut tx, "", agent, until).await?;
        tx.commit().await?;
        Ok(session)
    }

    async fn new_session(
        &self,
        tx: &mut Transaction<'static, Any>,
        email: &str,
        agent: &[u8],
        until: Millis,
    ) -> Result<String, CatalogError> {
        let token = new_token()?;
        let now = self.shared.clock.now();
        sqlx::query("DELETE FROM sessions WHERE expires_at < $1").bind(now.0).execute(&mut **tx).await?;
        sqlx::query("INSERT INTO sessions (id, email, agent, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(hash(&token))
            .bind(email.to_owned())
            .bind(agent_hash(agent))
            .bind(now.0)
            .bind(until.0)
            .execute(&mut **tx)
            .await?;
        Ok(token)
    }

    /// Whose session it is; `None`: nobody's, another browser's, or it has ended.
    pub async fn session(&self, token: &str, agent: &[u8]) -> Result<Option<Who>, CatalogError> {
        let sql = "SELECT email FROM sessions WHERE id = $1 AND agent = $2 AND expires_at > $3";
        let query = sqlx::query(sql).bind(hash(token)).bind(agent_hash(agent)).bind(self.shared.clock.now().0);
        let rows = self.rows(query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let email: String = row.try_get(0)?;
        Ok(Some(if email.is_empty() { Who::Admin } else { Who::Person(email) }))
    }

    /// Logs one browser out.
    pub async fn close_session(&self, token: &str) -> Result<(), CatalogError> {
        let mut tx = self.writing().await?;
        sqlx::query("DELETE FROM sessions WHERE id = $1").bind(hash(token)).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Logs all of somebody's browsers out.
    pub async fn close_sessions(&self, who: &Who) -> Result<(), CatalogError> {
        let email = match who {
            Who::Admin => "",
            Who::Person(email) => email,
        };
        let mut tx = self.writing().await?;
        sqlx::query("DELETE FROM sessions WHERE email = $1").bind(email.to_owned()).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}
