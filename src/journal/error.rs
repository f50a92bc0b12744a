//! What can go wrong in the journal, for callers and for people.

use std::{io, path::PathBuf};

/// Why a record was not taken. Nothing of it will be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the disk, or the journal's share of it, is full")]
    Full,
    #[error("the disk refused to write")]
    Io,
    #[error("the disk did not confirm that it had written")]
    Sync,
    #[error("too many records wait for the disk")]
    Busy,
    #[error("the record is larger than a record may be")]
    TooLarge,
    #[error("the lane is closed")]
    Closed,
}

impl AppendError {
    /// Short and stable, for metrics and logs.
    pub const fn tag(self) -> &'static str {
        match self {
            AppendError::Full => "full",
            AppendError::Io => "io",
            AppendError::Sync => "sync",
            AppendError::Busy => "busy",
            AppendError::TooLarge => "too_large",
            AppendError::Closed => "closed",
        }
    }

    pub(crate) fn of(error: &io::Error) -> AppendError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::Full,
            _ => AppendError::Io,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot {action} {path}: {error}; make the folder writable for this user, or set another `data` folder", path = .path.display())]
    Unusable { action: &'static str, path: PathBuf, error: io::Error },
    #[error("{path} was written by a newer fingerpost (journal format {version}): run that version until it is drained", path = .path.display())]
    Newer { path: PathBuf, version: u32 },
    #[error("cannot read {path}: {error}", path = .path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("cannot remove {path}: {error}", path = .path.display())]
    Remove { path: PathBuf, error: io::Error },
    #[error("the disk did not confirm what {path} holds: look at the disk, then restart", path = .path.display())]
    Unsynced { path: PathBuf },
    #[error("cannot start the journal's helper thread: {0}")]
    Thread(io::Error),
}

impl JournalError {
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, JournalError::Read { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }

    /// Short and stable, for metrics and logs.
    pub const fn tag(&self) -> &'static str {
        match self {
            JournalError::Unusable { .. } => "unusable",
            JournalError::Newer { .. } => "newer",
            JournalError::Read { .. } => "read",
            JournalError::Remove { .. } => "remove",
            JournalError::Unsynced { .. } => "unsynced",
            JournalError::Thread(_) => "thread",
        }
    }
}
