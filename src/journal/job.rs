//! What a lane asks the disk for beside plain writes: everything that may take long. A lane's helper thread runs these; a test
//! runs them whenever it likes, or never.

use std::{io, path::PathBuf, sync::Arc};

use super::{
    error::AppendError,
    record::HEAD_BYTES,
    shared::{Shared, count},
};
use crate::io::disk::DiskFile;

#[derive(Debug)]
#[must_use = "a job that nobody runs leaves its lane waiting"]
pub struct Job(pub(crate) Work);

/// What became of a job; goes back to the lane's [`super::LaneWriter::done`].
#[derive(Debug)]
#[must_use = "the lane waits for it"]
pub struct Done(pub(crate) Outcome);

#[derive(Debug)]
pub(crate) enum Work {
    /// Make a segment's bytes, and with `names` its name, durable.
    Sync { shared: Arc<Shared>, file: Arc<dyn DiskFile>, segment: u64, names: Option<PathBuf> },
    /// Create and reserve the next segment under a spare name.
    Prepare { shared: Arc<Shared>, path: PathBuf },
    /// End a segment that will take no more records, and give back what it does not need.
    Seal { shared: Arc<Shared>, segment: Sealing, last: bool },
}

#[derive(Debug)]
pub(crate) struct Sealing {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    /// Where the last committed record ends.
    pub(crate) end: u64,
    pub(crate) seal: [u8; HEAD_BYTES],
    /// The folder to sync as well; `None`: neither file nor folder.
    pub(crate) sync: Option<PathBuf>,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Synced { segment: u64, result: io::Result<()> },
    Prepared(Result<Spare, (AppendError, String)>),
    Sealed { result: io::Result<()>, last: bool },
}

/// A segment file that waits for its first record.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
}

impl Job {
    pub fn run(self) -> Done {
        Done(match self.0 {
            Work::Sync { shared, file, segment, names } => {
                count(&shared.counters.syncs, 1);
                let result = file.sync_data().and_then(|()| match &names {
                    Some(folder) => shared.disk.sync_dir(folder),
                    None => Ok(()),
                });
                Outcome::Synced { segment, result }
            }
            Work::Prepare { shared, path } => Outcome::Prepared(prepare(&shared, path)),
            Work::Seal { shared, segment, last } => Outcome::Sealed { result: segment.run(&shared), last },
        })
    }
}

fn prepare(shared: &Shared, path: PathBuf) -> Result<Spare, (AppendError, String)> {
    let bytes = shared.settings.segment_bytes;
    shared.reserve(&path, bytes).map_err(|error| {
        let reason = format!(
            "the journal has reached journal.max_bytes ({}): raise it, or look why the sink does not take events",
            shared.settings.max_bytes
        );
        (error, reason)
    })?;
    let result = shared.disk.create(&path).and_then(|file| {
        file.allocate(bytes)?;
        Ok(Arc::from(file))
    });
    match result {
        Ok(file) => Ok(Spare { file, path }),
        Err(error) => {
            // A half-made spare must not sit on the room that somebody else waits for.
            let _ = shared.disk.remove_file(&path);
            shared.ledger().set(path.clone(), 0);
            let kind = AppendError::of(&error);
            let mend = if kind == AppendError::Full { "make room" } else { "look at the disk" };
            Err((kind, format!("cannot reserve {bytes} bytes for {}: {error}; {mend}", path.display())))
        }
    }
}

impl Sealing {
    /// Writes the seal, then cuts: if only the first succeeds, a reader still stops there.
    pub(crate) fn cut(&self, shared: &Shared) -> io::Result<()> {
        let len = self.end + HEAD_BYTES as u64;
        let sealed = self.file.write_all_at(&self.seal, self.end);
        let cut = self.file.set_len(len);
        if cut.is_ok() {
            shared.ledger().shrink(&self.path, len);
        }
        sealed.and(cut)
    }

    fn run(&self, shared: &Shared) -> io::Result<()> {
        // A seal only makes damage easier to tell from a torn tail: what counts is the sync.
        let _ = self.cut(shared);
        let Some(folder) = &self.sync else { return Ok(()) };
        count(&shared.counters.syncs, 1);
        self.file.sync_data()?;
        shared.disk.sync_dir(folder)
    }
}
