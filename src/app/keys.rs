//! The key file on disk: made on first start, read again on SIGHUP, rotated by a command.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use crate::{
    config::keys::{self, KeyFileError},
    core::{key::KeyRing, time::Millis},
    io::{disk, random},
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("the key file {path} cannot be read or written ({source}): check the path and its permissions")]
    Io { path: String, source: io::Error },
    #[error("the key file {path}: {source}")]
    Content { path: String, source: KeyFileError },
}

impl KeysError {
    fn io(path: &Path, source: io::Error) -> KeysError {
        KeysError::Io { path: path.display().to_string(), source }
    }

    fn content(path: &Path, source: KeyFileError) -> KeysError {
        KeysError::Content { path: path.display().to_string(), source }
    }
}

fn read(path: &Path) -> Result<Option<String>, KeysError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KeysError::io(path, error)),
    }
}

/// The keys of a file that must be there.
pub(crate) fn load(path: &Path) -> Result<KeyRing, KeysError> {
    let text = read(path)?.ok_or_else(|| KeysError::io(path, io::ErrorKind::NotFound.into()))?;
    keys::parse(&text).map_err(|error| KeysError::content(path, error))
}

/// The keys of a file; it is made with one key where it is missing.
pub(crate) fn load_or_create(path: &Path, now: Millis) -> Result<KeyRing, KeysError> {
    if read(path)?.is_none() {
        rotate(path, now)?;
    }
    load(path)
}

/// Adds a key, which signs from the next reload on. Its id is returned.
pub(crate) fn rotate(path: &Path, now: Millis) -> Result<u8, KeysError> {
    let io = |error| KeysError::io(path, error);
    let text = read(path)?.unwrap_or_default();
    let secret = random::bytes().map_err(io)?;
    let (text, id) = keys::with_new_key(&text, secret, now).map_err(|error| KeysError::content(path, error))?;
    disk::replace_file(path, 0o600, |out| out.write_all(text.as_bytes())).map_err(io)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn made_once_private_and_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        assert_eq!(load_or_create(&path, Millis(0)).unwrap().signing_id(), 1);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(load_or_create(&path, Millis(0)).unwrap().signing_id(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "it is not made again");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(rotate(&path, Millis(1)).unwrap(), 2);
        assert_eq!(load(&path).unwrap().signing_id(), 2);
        fs::write(&path, "[[key]]\nid = 1\n").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("keys.toml"));
    }
}
