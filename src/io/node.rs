//! The name of a data folder: random, kept in its file `node`, and the same for ever. What the folder writes elsewhere
//! (Kafka's transactions, rows of the catalog's outbox) is known by it, so a copied folder must not keep it.

use std::{fs, io, path::Path};

use data_encoding::HEXLOWER;

use super::random;

/// Where the name was kept when only the Kafka sink had use for it.
const FORMER: &str = "kafka/node";

/// The folder's name, 16 hexadecimal digits; made when it is first asked for. Whoever makes it at once agrees on the
/// first one's.
pub fn name(data: &Path) -> io::Result<String> {
    let path = data.join("node");
    if let Some(name) = read(&path)? {
        return Ok(name);
    }
    let name = match read(&data.join(FORMER))? {
        Some(former) => former,
        None => HEXLOWER.encode(&random::bytes::<8>()?),
    };
    // Also two threads of one process may be at it.
    let new = data.join(format!("node.{}", HEXLOWER.encode(&random::bytes::<8>()?)));
    fs::write(&new, &name)?;
    fs::File::open(&new)?.sync_all()?;
    let linked = fs::hard_link(&new, &path);
    fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => fs::File::open(data)?.sync_all()?,
    }
    read(&path)?.ok_or_else(|| io::Error::other(format!("{} is gone as soon as it was made", path.display())))
}

/// An empty file is none: it is removed.
fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(name) if !name.trim().is_empty() => Ok(Some(name.trim().to_owned())),
        Ok(_) => fs::remove_file(path).map(|()| None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_kept() {
        let data = tempfile::tempdir().unwrap();
        let first = name(data.path()).unwrap();
        assert_eq!(first.len(), 16);
        assert_eq!(name(data.path()).unwrap(), first);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "nothing else is left");
        assert_ne!(name(tempfile::tempdir().unwrap().path()).unwrap(), first);
        fs::write(data.path().join("node"), "\n").unwrap();
        assert_ne!(name(data.path()).unwrap(), first, "an empty file is none");
    }

    #[test]
    fn all_who_make_it_at_once_agree() {
        for _ in 0..50 {
            let data = tempfile::tempdir().unwrap();
            let names: Vec<String> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| name(data.path()).unwrap())).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
        }
    }

    #[test]
    fn a_folder_that_had_a_name_for_kafka_keeps_it() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("kafka")).unwrap();
        fs::write(data.path().join(FORMER), "0123456789abcdef").unwrap();
        assert_eq!(name(data.path()).unwrap(), "0123456789abcdef");
    }
}
