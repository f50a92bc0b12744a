//! A simulated disk, in memory, that behaves as badly as a real one may: what was not synced is lost, kept or torn at a power
//! cut, sector by sector and in any order; names that no folder sync has covered come and go; writes, syncs and creations fail.
//! All from one seed, so that every failure can be replayed.
//!
//! What it promises is what [`super::disk`] promises, and nothing more: `tests` below break each promise on purpose and see
//! that it is missed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::disk::{Disk, DiskFile, LockGuard};

mod file;
use file::SimFile;

/// What a disk writes in one piece, bytes.
const SECTOR_BYTES: usize = 512;

/// Random numbers from a seed (SplitMix64), for simulations only.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub const fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.u64() % end
    }

    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1_000) < u64::from(per_mille)
    }
}

/// How often what goes wrong, per thousand calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A write brings only a part to the file, or nothing, and fails.
    pub write: u32,
    /// fdatasync fails; what it should have covered is dropped, as Linux does, and a later sync does not bring it back.
    pub sync: u32,
    /// Creating or reserving a file fails.
    pub create: u32,
}

/// Breaks the disk's own promise, to prove that a test would notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lie {
    #[default]
    None,
    /// `sync_data` does nothing and says that all is well.
    Sync,
    /// `sync_dir` does nothing and says that all is well.
    SyncDir,
}

/// Cheap to clone; all clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rng: Rng,
    faults: Faults,
    lie: Lie,
    /// Bytes that all files together may take; `None` is no limit.
    room: Option<u64>,
    files: BTreeMap<u64, Inode>,
    next_inode: u64,
    folders: BTreeMap<PathBuf, Folder>,
    /// Folders that were removed, until a sync of the parent makes that durable.
    removed: BTreeMap<PathBuf, Folder>,
    locks: BTreeSet<PathBuf>,
    /// Grows with every crash: what was opened before is dead.
    epoch: u64,
    writes: u64,
    syncs: u64,
}

/// What is on the platter, what the kernel shows, and how to get from one to the other.
#[derive(Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    cached: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Len(usize),
}

#[derive(Debug, Default)]
struct Folder {
    /// Whether a sync of the parent has covered it.
    is_durable: bool,
    durable: BTreeMap<String, u64>,
    cached: BTreeMap<String, u64>,
    pending: Vec<Rename>,
}

/// A change of names: `from` goes, `to` comes. Creation has no `from`, removal no `to`.
#[derive(Debug)]
struct Rename {
    from: Option<String>,
    to: Option<(String, u64)>,
}

impl Rename {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        if let Some(from) = &self.from {
            names.remove(from);
        }
        if let Some((to, inode)) = &self.to {
            names.insert(to.clone(), *inode);
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => put(content, *offset, bytes),
            Change::Len(len) => content.resize(*len, 0),
        }
    }

    /// What a power cut leaves of it: all, nothing, or some of its sectors.
    fn apply_partly(&self, content: &mut Vec<u8>, rng: &mut Rng) {
        let fate = rng.below(3);
        match self {
            _ if fate == 0 => {}
            Change::Write { offset, bytes } if fate == 1 => {
                let mut at = 0;
                while at < bytes.len() {
                    let end = ((offset + at) / SECTOR_BYTES + 1) * SECTOR_BYTES - offset;
                    let end = end.min(bytes.len());
                    if rng.chance(500) {
                        put(content, offset + at, &bytes[at..end]);
                    }
                    at = end;
                }
            }
            whole => whole.apply(content),
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl SimDisk {
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(State {
            rng: Rng::new(seed),
            faults: Faults::default(),
            lie: Lie::None,
            room: None,
            files: BTreeMap::new(),
            next_inode: 0,
            folders: BTreeMap::from([(PathBuf::from("/"), Folder { is_durable: true, ..Folder::default() })]),
            removed: BTreeMap::new(),
            locks: BTreeSet::new(),
            epoch: 0,
            writes: 0,
            syncs: 0,
        })))
    }

    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub fn set_lie(&self, lie: Lie) {
        self.state().lie = lie;
    }

    /// Leaves only so many bytes for all files together; `None` takes the limit away.
    pub fn set_room(&self, room: Option<u64>) {
        self.state().room = room;
    }

    /// Bytes that all named files take now.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Successful and failed calls of `write_all_at` so far.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Calls of `sync_data` so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The process dies: locks end, open files are dead, the kernel keeps everything.
    pub fn kill(&self) {
        let mut state = self.state();
        state.locks.clear();
        state.epoch += 1;
    }

    /// The power goes: of what was not synced, anything may be left.
    pub fn power_cut(&self) {
        let mut state = self.state();
        let State { rng, files, folders, removed, .. } = &mut *state;
        for file in files.values_mut() {
            for change in file.pending.drain(..) {
                change.apply_partly(&mut file.durable, rng);
            }
            file.cached.clone_from(&file.durable);
        }
        for (path, folder) in std::mem::take(removed) {
            if folder.is_durable && rng.chance(500) {
                folders.entry(path).or_insert(folder);
            }
        }
        folders.retain(|_, folder| folder.is_durable || rng.chance(500));
        let all: BTreeSet<PathBuf> = folders.keys().cloned().collect();
        folders.retain(|path, _| path.ancestors().all(|folder| all.contains(folder)));
        for folder in folders.values_mut() {
            folder.is_durable = true;
            for rename in std::mem::take(&mut folder.pending) {
                if rng.chance(500) {
                    rename.apply(&mut folder.durable);
                }
            }
            folder.cached.clone_from(&folder.durable);
        }
        state.forget_unnamed();
        state.locks.clear();
        state.epoch += 1;
    }

    /// Changes bytes of a file behind everybody's back.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.inode(path)?;
        let file = state.files.get_mut(&inode).ok_or(io::ErrorKind::NotFound)?;
        change(&mut file.cached);
        file.durable.clone_from(&file.cached);
        file.pending.clear();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn used(&self) -> u64 {
        let named: BTreeSet<u64> = self.folders.values().flat_map(|folder| folder.cached.values().copied()).collect();
        named.iter().filter_map(|inode| self.files.get(inode)).map(|file| file.cached.len() as u64).sum()
    }

    /// How far a file may reach.
    fn room_for(&self, inode: u64) -> usize {
        let own = self.files.get(&inode).map_or(0, |file| file.cached.len());
        match self.room {
            None => usize::MAX,
            Some(room) => own + room.saturating_sub(self.used()) as usize,
        }
    }

    fn folder(&mut self, path: &Path) -> io::Result<&mut Folder> {
        self.folders.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change_name(&mut self, folder: &Path, rename: Rename) -> io::Result<()> {
        let folder = self.folder(folder)?;
        rename.apply(&mut folder.cached);
        folder.pending.push(rename);
        Ok(())
    }

    fn inode(&mut self, path: &Path) -> io::Result<u64> {
        let (folder, name) = split(path)?;
        self.folder(folder)?.cached.get(&name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn forget_unnamed(&mut self) {
        let named: BTreeSet<u64> = self.folders.values().flat_map(|folder| folder.cached.values().copied()).collect();
        self.files.retain(|inode, _| named.contains(inode));
    }

    fn fails(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.rng.chance(per_mille)
    }
}

fn split(path: &Path) -> io::Result<(&Path, String)> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => Ok((folder, name.to_string_lossy().into_owned())),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        for folder in path.ancestors().filter(|folder| *folder != Path::new("")) {
            state.folders.entry(folder.to_path_buf()).or_default();
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        let mut names: Vec<String> = state.folder(path)?.cached.keys().cloned().collect();
        let folders = state.folders.keys().filter(|folder| folder.parent() == Some(path));
        names.extend(folders.filter_map(|folder| Some(folder.file_name()?.to_string_lossy().into_owned())));
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let per_mille = state.faults.create;
        if state.fails(per_mille) {
            return Err(io::Error::other("injected: create"));
        }
        if state.inode(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (folder, name) = split(path)?;
        state.next_inode += 1;
        let inode = state.next_inode;
        state.change_name(folder, Rename { from: None, to: Some((name, inode)) })?;
        state.files.insert(inode, Inode::default());
        let epoch = state.epoch;
        Ok(Box::new(SimFile { disk: self.clone(), inode, epoch }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let inode = state.inode(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode, epoch: state.epoch }))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.inode(path)?;
        let (folder, name) = split(path)?;
        state.change_name(folder, Rename { from: Some(name), to: None })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.folder(path)?.cached.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        if let Some(folder) = state.folders.remove(path) {
            state.removed.insert(path.to_path_buf(), folder);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.inode(from)?;
        let (folder, from) = split(from)?;
        let (_, to) = split(to)?;
        state.change_name(folder, Rename { from: Some(from), to: Some((to, inode)) })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.lie == Lie::SyncDir {
            return Ok(());
        }
        let folder = state.folder(path)?;
        folder.durable.clone_from(&folder.cached);
        folder.pending.clear();
        for (_, child) in state.folders.iter_mut().filter(|(child, _)| child.parent() == Some(path)) {
            child.is_durable = true;
        }
        state.removed.retain(|child, _| child.parent() != Some(path));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let mut state = self.state();
        if state.locks.contains(path) {
            return Ok(None);
        }
        if state.inode(path).is_err() {
            let (folder, name) = split(path)?;
            state.next_inode += 1;
            let inode = state.next_inode;
            state.change_name(folder, Rename { from: None, to: Some((name, inode)) })?;
            state.files.insert(inode, Inode::default());
        }
        state.locks.insert(path.to_path_buf());
        Ok(Some(Box::new(SimLock { disk: self.clone(), path: path.to_path_buf(), epoch: state.epoch })))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        Ok(self.state().locks.contains(path))
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    epoch: u64,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.epoch == self.epoch {
            state.locks.remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
