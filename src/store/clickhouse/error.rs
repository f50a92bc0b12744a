//! What an error of ClickHouse means: try again, somebody has to act, or the data's own fault. Sorted here and nowhere else.
//!
//! Codes: `src/Common/ErrorCodes.cpp` of ClickHouse; the text is `Code: 60. DB::Exception: … (UNKNOWN_TABLE)`.

use clickhouse::error::Error;

use super::super::{ReportError, SinkError};

/// Why ClickHouse did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The same may work later.
    #[error("{0}")]
    Retry(String),
    /// Somebody has to act first; the message says how.
    #[error("{0}")]
    Fatal(String),
    /// The table refuses a value of these rows.
    #[error("{0}")]
    Data(String),
}

impl StoreError {
    /// For metrics and logs.
    pub const fn tag(&self) -> &'static str {
        match self {
            StoreError::Retry(_) => "retry",
            StoreError::Fatal(_) => "fatal",
            StoreError::Data(_) => "data",
        }
    }
}

impl From<StoreError> for SinkError {
    fn from(error: StoreError) -> SinkError {
        match error {
            StoreError::Retry(text) => SinkError::Retry(text),
            // Refused rows are set aside one by one; what comes this far is a statement of ours.
            StoreError::Fatal(text) | StoreError::Data(text) => SinkError::Fatal(text),
        }
    }
}

impl From<StoreError> for ReportError {
    fn from(error: StoreError) -> ReportError {
        let (StoreError::Retry(text) | StoreError::Fatal(text) | StoreError::Data(text)) = error;
        ReportError::Unavailable(text)
    }
}

/// The exception's code, when the server sent one.
pub(super) fn code(text: &str) -> Option<u32> {
    let rest = text.split_once("Code: ")?.1;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// The exception without its frame: `Table fingerpost.events does not exist. (UNKNOWN_TABLE)`.
fn said(text: &str) -> &str {
    let text = text.split_once("DB::Exception: ").map_or(text, |(_, said)| said);
    let text = text.split_once(" (version ").map_or(text, |(said, _)| said);
    text.lines().next().unwrap_or_default().trim()
}

fn of_exception(code: u32, text: &str) -> StoreError {
    let said = said(text);
    let retry = |why: &str| StoreError::Retry(format!("{why}: {said}"));
    let fatal = |what_to_do: &str| StoreError::Fatal(format!("{what_to_do}: {said}"));
    match code {
        // --- Later, by itself ---
        159 | 160 | 209 | 718 => retry("ClickHouse took too long"),
        // Connections between its servers.
        95 | 96 | 198 | 203 | 210 | 279 | 297 | 519 | 749 => retry("ClickHouse cannot reach its own servers"),
        // Memory, also while it is short for others' queries.
        173 | 241 => retry("ClickHouse has not enough memory for this insert"),
        201 | 202 | 364 | 700 | 745 => retry("ClickHouse has too much to do"),
        // Merges are behind, or mutations; they catch up.
        252 | 692 => retry("ClickHouse cannot merge as fast as parts arrive"),
        // Keeper, replicas, quorum: they come back or are brought back.
        225 | 234 | 242 | 244 | 254 | 265 | 285 | 286 | 289 | 319 | 369 | 415 | 416 | 529 | 568 | 571 | 999 => {
            retry("ClickHouse's replicas or its Keeper are not ready")
        }
        // The server ends, or somebody ended the query.
        236 | 394 | 677 | 733 | 734 | 735 => retry("ClickHouse gave the query up"),
        // Its disk. Room is made without our doing; a read that fails may be the network's fault.
        74 | 75 | 76 | 204 | 243 | 294 | 425 | 499 | 500 | 660 => retry("ClickHouse's disk failed or is full"),
        // Queries of one id, tables locked by a merge or a DDL statement.
        216 | 384 | 473 | 517 | 738 => retry("something else holds the table"),
        // The bytes did not arrive as they were sent.
        3 | 23 | 24 | 32 | 33 | 40 | 271 => retry("the data was cut short on its way"),
        // --- Somebody has to act ---
        81 => fatal("the database is missing: run `fingerpost migrate`"),
        60 | 218 => fatal("a table is missing: run `fingerpost migrate`"),
        8 | 10 | 16 | 47 => fatal("the tables are not of this version: run `fingerpost migrate`"),
        192..=194 | 516 | 720 => {
            fatal("ClickHouse refuses the user or its password: mend clickhouse.user and clickhouse.password")
        }
        195 => fatal("ClickHouse lets nobody in from this address: allow it for the user"),
        164 | 291 | 452 | 472 | 497 => {
            fatal("the user may not do this: grant it the rights that docs/operator.md lists")
        }
        115 => fatal("this ClickHouse is too old: version 25.8 or newer is needed"),
        170 | 701 => fatal("clickhouse.cluster names a cluster that the server does not know"),
        139 => fatal("the server lacks the macros {shard} and {replica} or a Keeper, which clickhouse.cluster needs"),
        246 => fatal("ClickHouse's own data is damaged: look into its log"),
        // --- The rows' own fault ---
        // A constraint or a type that somebody put on the table; a partition limit that somebody set.
        6 | 38 | 41 | 53 | 69 | 70 | 72 | 117 | 131 | 248 | 321 | 349 | 376 | 395 | 407 | 469 | 691 => {
            StoreError::Data(said.to_owned())
        }
        // Everything else is a statement that is wrong (ours, or a table that was changed by hand).
        _ => fatal("ClickHouse refuses a statement; if its tables were not changed by hand, please report it"),
    }
}

/// Sorts every error of the client. `url` is named where nobody answers.
pub(super) fn sort(error: &Error, url: &str) -> StoreError {
    let deepest = |error: &(dyn std::error::Error + 'static)| {
        let mut cause = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        cause.to_string()
    };
    match error {
        Error::BadResponse(text) => match code(text) {
            Some(code) => of_exception(code, text),
            // A proxy's page, or a status without words.
            None => StoreError::Retry(format!("{url} does not answer as ClickHouse does: {}", said(text))),
        },
        Error::Network(cause) => {
            let text = deepest(&**cause);
            StoreError::Retry(format!("ClickHouse does not answer at {url} (clickhouse.url): {text}"))
        }
        Error::TimedOut => StoreError::Retry(format!("ClickHouse at {url} took longer than clickhouse.timeout")),
        Error::Decompression(_) | Error::Compression(_) => StoreError::Retry(format!("{url}: {error}")),
        Error::InvalidParams(cause) => StoreError::Fatal(format!("clickhouse.url {url} cannot be used: {cause}")),
        Error::Unsupported(text) => StoreError::Fatal(format!("{url}: {text}")),
        Error::SchemaMismatch(_)
        | Error::NotEnoughData
        | Error::RowNotFound
        | Error::InvalidColumnsHeader(_)
        | Error::InvalidUtf8Encoding(_)
        | Error::InvalidTagEncoding(_)
        | Error::VariantDiscriminatorIsOutOfBound(_)
        | Error::SequenceMustHaveLength
        | Error::DeserializeAnyNotSupported
        | Error::DataFormat(_)
        | Error::Custom(_)
        | Error::Other(_) => StoreError::Fatal(format!("{error}: this is not expected; please report it")),
        // The enum is non-exhaustive: what a later version adds is looked at by somebody.
        _ => StoreError::Fatal(format!("{error}: this is not expected; please report it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(text: &str) -> StoreError {
        sort(&Error::BadResponse(text.to_owned()), "http://ch:8123")
    }

    #[test]
    fn exceptions_are_sorted_by_their_code_and_say_what_to_do() {
        let missing = exception(
            "Code: 60. DB::Exception: Table fingerpost.events does not exist. (UNKNOWN_TABLE) (version 25.8.2.1)",
        );
        assert_eq!(
            missing,
            StoreError::Fatal(
                "a table is missing: run `fingerpost migrate`: Table fingerpost.events does not exist. (UNKNOWN_TABLE)"
                    .into()
            )
        );
        for code in [159, 210, 241, 252, 242, 999, 236, 243] {
            assert_eq!(exception(&format!("Code: {code}. DB::Exception: x")).tag(), "retry", "{code}");
        }
        for code in [81, 516, 497, 62, 1002, 65_000] {
            assert_eq!(exception(&format!("Code: {code}. DB::Exception: x")).tag(), "fatal", "{code}");
        }
        for code in [469, 117] {
            assert_eq!(exception(&format!("Code: {code}. DB::Exception: x")).tag(), "data", "{code}");
        }
    }

    #[test]
    fn what_is_not_clickhouse_is_tried_again() {
        assert_eq!(exception("<html>502 Bad Gateway</html>").tag(), "retry");
        assert_eq!(sort(&Error::TimedOut, "x").tag(), "retry");
        assert_eq!(sort(&Error::NotEnoughData, "x").tag(), "fatal");
    }
}
