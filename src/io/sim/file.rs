//! An open file of the simulated disk: what is written waits as a change until it is synced.

use std::io;

use super::{Change, Lie, SimDisk, State};
use crate::io::disk::DiskFile;

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) inode: u64,
    pub(super) epoch: u64,
}

impl SimFile {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.epoch != self.epoch || !state.files.contains_key(&self.inode) {
            return Err(io::Error::other("this file was opened before the crash"));
        }
        f(&mut state)
    }

    fn change(&self, state: &mut State, change: Change) {
        if let Some(file) = state.files.get_mut(&self.inode) {
            change.apply(&mut file.cached);
            file.pending.push(change);
        }
    }
}

impl DiskFile for SimFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|state| {
            state.writes += 1;
            let offset = offset as usize;
            let room = state.room_for(self.inode).saturating_sub(offset).min(bytes.len());
            let per_mille = state.faults.write;
            let (written, result) = if state.fails(per_mille) {
                (state.rng.below(bytes.len() as u64 + 1) as usize, Err(io::Error::other("injected: write")))
            } else if room < bytes.len() {
                (room, Err(io::ErrorKind::StorageFull.into()))
            } else {
                (bytes.len(), Ok(()))
            };
            let written = written.min(room);
            if written > 0 {
                self.change(state, Change::Write { offset, bytes: bytes[..written].to_vec() });
            }
            result
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|state| {
            let content = state.files.get(&self.inode).map_or(&[][..], |file| &file.cached);
            let rest = content.get(offset as usize..).unwrap_or_default();
            let len = rest.len().min(buffer.len());
            buffer[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(|state| {
            let per_mille = state.faults.create;
            if state.fails(per_mille) {
                return Err(io::Error::other("injected: allocate"));
            }
            if len as usize > state.room_for(self.inode) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.change(state, Change::Len(len as usize));
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state| {
            self.change(state, Change::Len(len as usize));
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.files.get(&self.inode).map_or(0, |file| file.cached.len() as u64)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state| {
            state.syncs += 1;
            let per_mille = state.faults.sync;
            let fails = state.fails(per_mille);
            let State { rng, files, lie, .. } = state;
            let Some(file) = files.get_mut(&self.inode) else { return Ok(()) };
            if fails {
                // Some of it reached the platter; the rest is forgotten, while readers still see it.
                for change in file.pending.drain(..) {
                    change.apply_partly(&mut file.durable, rng);
                }
                return Err(io::Error::other("injected: sync"));
            }
            if *lie != Lie::Sync {
                // Only what is still pending: what a failed sync dropped does not come back.
                for change in file.pending.drain(..) {
                    change.apply(&mut file.durable);
                }
            }
            Ok(())
        })
    }
}
