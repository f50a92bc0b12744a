//! The simulated disk keeps its promises, and breaks them where it should.

use super::*;

const FOLDER: &str = "/data";

/// A file of zeros whose name and length are durable.
fn prepared(disk: &SimDisk, bytes: u64) -> Box<dyn DiskFile> {
    disk.create_dir_all(Path::new(FOLDER)).unwrap();
    let file = disk.create(&Path::new(FOLDER).join("file")).unwrap();
    file.allocate(bytes).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new(FOLDER)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file
}

fn content(disk: &SimDisk) -> Option<Vec<u8>> {
    let file = disk.open(&Path::new(FOLDER).join("file")).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

/// How one write looks after a power cut, over many seeds.
fn fates(sync: impl Fn(&SimDisk, &dyn DiskFile)) -> (u32, u32, u32) {
    let (mut all, mut none, mut torn) = (0, 0, 0);
    for seed in 0..300 {
        let disk = SimDisk::new(seed);
        let file = prepared(&disk, 4096);
        file.write_all_at(&[7; 2048], 1024).unwrap();
        sync(&disk, &*file);
        disk.power_cut();
        match content(&disk).unwrap().iter().filter(|byte| **byte == 7).count() {
            2048 => all += 1,
            0 => none += 1,
            _ => torn += 1,
        }
    }
    (all, none, torn)
}

#[test]
fn what_was_not_synced_is_kept_lost_or_torn_and_what_was_synced_is_there() {
    let (all, none, torn) = fates(|_, _| {});
    assert!(all > 30 && none > 30 && torn > 30, "{all} {none} {torn}");
    assert_eq!(fates(|_, file| file.sync_data().unwrap()), (300, 0, 0));
}

#[test]
fn a_sync_that_lies_and_a_sync_that_failed_lose_bytes_also_when_a_later_one_succeeds() {
    let (_, none, torn) = fates(|disk, file| {
        disk.set_lie(Lie::Sync);
        file.sync_data().unwrap();
    });
    assert!(none > 30 && torn > 30);
    let (_, none, torn) = fates(|disk, file| {
        disk.set_faults(Faults { sync: 1_000, ..Faults::default() });
        file.sync_data().unwrap_err();
        disk.set_faults(Faults::default());
        file.sync_data().unwrap();
    });
    assert!(none > 30 && torn > 30);
}

#[test]
fn names_are_durable_only_after_a_sync_of_their_folder() {
    let (mut lost, mut back) = (0, 0);
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        prepared(&disk, 512);
        let (old, new) = (Path::new(FOLDER).join("file"), Path::new(FOLDER).join("new"));
        disk.rename(&old, &new).unwrap();
        assert!(disk.open(&old).is_err() && disk.open(&new).is_ok());
        disk.power_cut();
        assert!(disk.open(&old).is_ok() != disk.open(&new).is_ok(), "a rename is one step");
        lost += u32::from(disk.open(&new).is_err());

        let disk = SimDisk::new(seed);
        prepared(&disk, 512);
        disk.remove_file(&old).unwrap();
        disk.power_cut();
        back += u32::from(disk.open(&old).is_ok());

        let disk = SimDisk::new(seed);
        prepared(&disk, 512);
        disk.rename(&old, &new).unwrap();
        disk.sync_dir(Path::new(FOLDER)).unwrap();
        disk.power_cut();
        assert!(disk.open(&new).is_ok());
    }
    assert!((20..80).contains(&lost) && (20..80).contains(&back), "{lost} {back}");
}

#[test]
fn a_kill_keeps_the_kernels_bytes_and_ends_locks_and_open_files() {
    let disk = SimDisk::new(1);
    let file = prepared(&disk, 512);
    file.write_all_at(b"kept", 0).unwrap();
    let lock = Path::new(FOLDER).join("lock");
    let guard = disk.lock(&lock).unwrap().unwrap();
    assert!(disk.lock(&lock).unwrap().is_none() && disk.is_locked(&lock).unwrap());
    disk.kill();
    let second = disk.lock(&lock).unwrap();
    assert!(second.is_some());
    drop(guard);
    assert!(disk.is_locked(&lock).unwrap(), "a dead claim must not end a living one");
    assert!(file.write_all_at(b"x", 0).is_err());
    assert_eq!(&content(&disk).unwrap()[..4], b"kept");
}

#[test]
fn a_full_disk_takes_what_fits_and_reserved_room_stays_reserved() {
    let disk = SimDisk::new(1);
    let file = prepared(&disk, 1_000);
    disk.set_room(Some(1_500));
    file.write_all_at(&[1; 1_000], 0).unwrap();
    let error = file.write_all_at(&[2; 1_000], 1_000).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 1_500, "a short write");
    assert!(disk.create(Path::new("/data/other")).unwrap().allocate(1).is_err());
    disk.set_room(Some(1_600));
    assert!(disk.open(Path::new("/data/other")).unwrap().allocate(100).is_ok());
}
