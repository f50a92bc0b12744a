//! What an error of SQLite means for a batch: try again, stop and call somebody, or put a record aside.

use super::super::SinkError;

/// What to do about an error.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The same batch may work later.
    Retry(String),
    /// Somebody has to act first; the message says how.
    Fatal(String),
    /// A record's own fault: it goes aside, the others are stored.
    Data(String),
}

impl From<Verdict> for SinkError {
    fn from(verdict: Verdict) -> SinkError {
        match verdict {
            Verdict::Retry(message) => SinkError::Retry(message),
            // Data errors of single records never come this far; one of a whole statement is ours to mend.
            Verdict::Fatal(message) | Verdict::Data(message) => SinkError::Fatal(message),
        }
    }
}

/// Result codes, <https://www.sqlite.org/rescode.html>. The low byte is the primary code.
fn of_code(code: u32, message: &str) -> Verdict {
    let retry = |why: &str| Verdict::Retry(format!("{why}: {message}"));
    let fatal = |what_to_do: &str| Verdict::Fatal(format!("{message}: {what_to_do}"));
    match code & 0xff {
        5 | 6 => retry("another process is writing to events.db"),
        7 => retry("there is not enough memory"),
        10 => retry("the disk failed"),
        13 => retry("the disk is full, make room"),
        14 => retry("events.db cannot be opened, see that the data folder is there and open files are not used up"),
        9 | 15 | 17 => retry("the statement was interrupted"),
        18..=20 | 25 => Verdict::Data(message.to_owned()),
        3 | 8 | 23 => fatal("give this process write access to events.db and its folder"),
        11 => {
            fatal("events.db is damaged; stop, save what `sqlite3 events.db .recover` gives, and put that in its place")
        }
        26 => fatal("events.db is not a database; move it away, and a new one is made"),
        // 1 is an SQL error: a table or column is missing.
        1 => fatal("events.db does not have the tables of this version; run the version that made it, or move it away"),
        _ => fatal("this is not expected; keep events.db and report it"),
    }
}

/// Sorts every error of the driver.
pub(super) fn sort(error: &sqlx::Error) -> Verdict {
    use sqlx::Error;
    let message = error.to_string();
    match error {
        Error::Database(inner) => {
            of_code(inner.code().and_then(|code| code.parse().ok()).unwrap_or(u32::MAX), inner.message())
        }
        Error::Migrate(_) => Verdict::Fatal(format!(
            "{message}: events.db was made by another version; run that version or a newer one, or move the file away"
        )),
        Error::Io(_) | Error::PoolTimedOut | Error::WorkerCrashed | Error::PoolClosed | Error::BeginFailed => {
            Verdict::Retry(message)
        }
        // The program's own mistakes: no retry and no operator mends them.
        Error::Configuration(_)
        | Error::InvalidArgument(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::RowNotFound
        | Error::TypeNotFound { .. }
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnNotFound(_)
        | Error::ColumnDecode { .. }
        | Error::Encode(_)
        | Error::Decode(_)
        | Error::AnyDriverError(_)
        | Error::InvalidSavePointStatement => {
            Verdict::Fatal(format!("{message}: this is not expected; please report it"))
        }
        // `sqlx::Error` is non-exhaustive: what a later version adds is looked at by somebody.
        _ => Verdict::Fatal(format!("{message}: this is not expected; please report it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_troubles_are_tried_again_and_lasting_ones_say_what_to_do() {
        // BUSY, BUSY_SNAPSHOT, IOERR_FSYNC, FULL, CANTOPEN
        for code in [5, 517, 1034, 13, 14] {
            assert!(matches!(of_code(code, "x"), Verdict::Retry(_)), "{code}");
        }
        // READONLY_DBMOVED, CORRUPT_INDEX, NOTADB, a code of a later SQLite
        for code in [1032, 779, 26, 99] {
            assert!(matches!(of_code(code, "x"), Verdict::Fatal(ref text) if text.len() > 20), "{code}");
        }
        // CONSTRAINT_TRIGGER, TOOBIG, MISMATCH
        for code in [1811, 18, 20] {
            assert!(matches!(of_code(code, "x"), Verdict::Data(_)), "{code}");
        }
        assert!(matches!(sort(&sqlx::Error::PoolTimedOut), Verdict::Retry(_)));
        assert!(matches!(sort(&sqlx::Error::RowNotFound), Verdict::Fatal(_)));
    }
}
