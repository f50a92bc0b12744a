//! Transactional ids: one for each process that writes from a data folder at the same time.
//!
//! `DATA/kafka/slot-N` is locked by the process that uses the id `fingerpost-NODE-N`, where NODE is the data folder's own
//! name. The file says `open` while its process may have a transaction open: a slot that says so and is not locked was left
//! by a process that died.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::io::node;

/// Processes that write from one data folder at the same time: an old and a new version, with some room.
const SLOTS: usize = 8;
const OPEN: &str = "open\n";

/// A transactional id that is this process's own while it holds the slot.
#[derive(Debug)]
pub(super) struct Slot {
    file: File,
    number: usize,
    pub(super) transactional_id: String,
}

/// The slots of one data folder.
#[derive(Debug)]
pub(super) struct Slots {
    folder: PathBuf,
    /// What the ids begin with.
    base: String,
}

impl Slots {
    /// `base`: the configured name, or none for the folder's own.
    pub(super) fn new(data: &Path, base: Option<&str>) -> io::Result<Slots> {
        let folder = data.join("kafka");
        std::fs::create_dir_all(&folder)?;
        let base = match base {
            Some(base) => base.to_owned(),
            None => format!("fingerpost-{}", node::name(data)?),
        };
        Ok(Slots { folder, base })
    }

    /// The first slot that no process holds.
    pub(super) fn claim(&self) -> io::Result<Slot> {
        for number in 0..SLOTS {
            if let Some(mut slot) = self.lock(number, true)? {
                slot.write(OPEN)?;
                return Ok(slot);
            }
        }
        Err(io::Error::other(format!("{SLOTS} processes write from this data folder already")))
    }

    /// Slots that dead processes left with, perhaps, an open transaction.
    pub(super) fn abandoned(&self, own: &Slot) -> io::Result<Vec<Slot>> {
        let mut found = Vec::new();
        for number in (0..SLOTS).filter(|number| *number != own.number) {
            if let Some(mut slot) = self.lock(number, false)?
                && slot.read()? == OPEN
            {
                found.push(slot);
            }
        }
        Ok(found)
    }

    fn lock(&self, number: usize, create: bool) -> io::Result<Option<Slot>> {
        let path = self.folder.join(format!("slot-{number}"));
        let file = match OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Slot { file, number, transactional_id: format!("{}-{number}", self.base) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Slot {
    fn read(&mut self) -> io::Result<String> {
        let mut text = String::new();
        self.file.rewind()?;
        self.file.read_to_string(&mut text)?;
        Ok(text)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(text.as_bytes())
    }

    /// No transaction of this id is open.
    pub(super) fn ended(&mut self) -> io::Result<()> {
        self.write("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_has_an_id_of_its_own_and_the_folder_keeps_its_name() {
        let data = tempfile::tempdir().unwrap();
        let slots = Slots::new(data.path(), None).unwrap();
        let (first, second) = (slots.claim().unwrap(), slots.claim().unwrap());
        assert!(first.transactional_id.starts_with("fingerpost-") && first.transactional_id.ends_with("-0"));
        assert_eq!(second.transactional_id.strip_suffix("-1"), first.transactional_id.strip_suffix("-0"));
        let id = first.transactional_id.clone();
        drop(first);
        assert_eq!(Slots::new(data.path(), None).unwrap().claim().unwrap().transactional_id, id);
        let named = Slots::new(data.path(), Some("berlin")).unwrap();
        assert_eq!(named.claim().unwrap().transactional_id, "berlin-0");
    }

    #[test]
    fn what_a_dead_process_left_open_is_found_until_it_was_ended() {
        let data = tempfile::tempdir().unwrap();
        let slots = Slots::new(data.path(), None).unwrap();
        let own = slots.claim().unwrap();
        let other = slots.claim().unwrap();
        assert!(slots.abandoned(&own).unwrap().is_empty(), "it is alive");
        drop(other);
        let mut left = slots.abandoned(&own).unwrap();
        assert_eq!(left.len(), 1);
        left[0].ended().unwrap();
        drop(left);
        assert!(slots.abandoned(&own).unwrap().is_empty());
    }
}
