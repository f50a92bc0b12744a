//! The disk, behind a trait: the machine's own, and (in tests) a simulated one that loses, reorders and tears what was not
//! synced.
//!
//! Promise of every implementation: after `sync_data` of a file and `sync_dir` of its folder, the bytes and the name are there
//! after a power cut. Before, anything may be there: all, none, or any part of it, in any order.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A folder tree that can hold a journal.
pub trait Disk: Send + Sync + std::fmt::Debug {
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names (not paths) in a folder, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// A new file; an error when it exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// An existing file, to read.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name in the same folder, in one step; a file of that name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Claims a lock file for this process (created where missing); `None` when somebody else holds it. Dropping the
    /// guard, or the end of the process, gives it back.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>>;
    /// Whether somebody holds this lock file. Creates nothing; a missing file is not held.
    fn is_locked(&self, path: &Path) -> io::Result<bool>;
}

/// A claim that ends when it is dropped.
pub trait LockGuard: Send + Sync + std::fmt::Debug {}

/// An open file. Offsets are bytes from its start.
#[expect(clippy::len_without_is_empty, reason = "a size on disk, not a collection's")]
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// Writes all of `bytes` at `offset`, or fails; after an error any part may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads up to `buffer.len()` bytes; 0 is the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Reserves room so that later writes below `len` cannot fail for want of it; the file is `len` long afterwards and
    /// reads as zeros where nothing was written.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    /// fdatasync: never retried by anybody after a failure.
    fn sync_data(&self) -> io::Result<()>;
}

/// The machine's disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

#[derive(Debug)]
struct FileLock(#[expect(dead_code, reason = "held for its flock")] File);
impl LockGuard for FileLock {}

impl SystemDisk {
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(SystemDisk)
    }
}

impl Disk for SystemDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).create_new(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            // Whoever held it before may have deleted the file in the meantime: such a lock keeps nobody out.
            Ok(()) if is_same_file(&file, path) => Ok(Some(Box::new(FileLock(file)))),
            Ok(()) | Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(named)) => ours.dev() == named.dev() && ours.ino() == named.ino(),
        _ => false,
    }
}

impl DiskFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        // glibc's posix_fallocate would write zeros where the file system cannot reserve; the plain call says so instead.
        match rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => File::set_len(self, len),
            Err(error) => Err(error.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}

/// How much a file system holds, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    /// What this process may still take.
    pub free: u64,
}

/// The room on the file system that holds `path` (POSIX `statvfs`).
pub fn space(path: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(path)?;
    Ok(Space { total: found.f_blocks * found.f_frsize, free: found.f_bavail * found.f_frsize })
}

/// Writes a file so that after a power cut either the old or the new content is there, whole: a neighbour is written, synced
/// and renamed over it.
pub fn replace_file(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file name is needed"))?;
    let neighbour: PathBuf = folder.join(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    let result = (|| {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&neighbour)?;
        let mut writer = io::BufWriter::with_capacity(1 << 20, file);
        write(&mut writer)?;
        writer.flush()?;
        writer.get_ref().sync_all()?;
        fs::rename(&neighbour, path)?;
        File::open(folder)?.sync_all()
    })();
    if result.is_err() {
        let _ = fs::remove_file(&neighbour);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_told_and_a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let Space { total, free } = space(folder.path()).unwrap();
        assert!(total > 0 && free <= total, "{free} of {total}");
        assert_eq!(space(&folder.path().join("missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
