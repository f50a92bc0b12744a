//! The stage "append": encode a click into a lane, and commit its group, on a real folder. Time per group; divide by its size.
//! Run with `cargo bench --bench append`; set `FINGERPOST_BENCH_DIR` to measure another disk than the temporary folder's.

#![allow(clippy::expect_used, reason = "a benchmark that cannot start has nobody to tell but the terminal")]

use std::{
    hint::black_box,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fingerpost::{
    core::event::{Class, EventRef, Kind},
    io::{
        clock::Clock,
        disk::{Disk, DiskFile, LockGuard, SystemDisk},
    },
    journal::{Durability, Journal, LaneReader, LaneWriter, Settings, Written},
};

/// What a click of a browser looks like: about 130 bytes.
fn click() -> EventRef<'static> {
    EventRef {
        id: &[1; 16],
        kind: Kind::Click as i32,
        class: Class::Human as i32,
        time_ms: 1_772_368_200_250,
        program: "spring",
        link: "haircare",
        partner: "abc123",
        ad: "website2",
        visitor: &[2; 16],
        country: "DE",
        address: &[192, 0, 2],
        referrer: "www.example.org",
        language: "de",
        browser: "Firefox",
        os: "Android",
        sub1: "12345",
        ..EventRef::default()
    }
}

/// A disk that takes everything and keeps nothing: what is left is our own work.
#[derive(Debug)]
struct Nowhere;

impl LockGuard for Nowhere {}

impl Disk for Nowhere {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn create(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Nowhere))
    }
    fn open(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Nowhere))
    }
    fn remove_file(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        Ok(Some(Box::new(Nowhere)))
    }
    fn is_locked(&self, _: &Path) -> io::Result<bool> {
        Ok(false)
    }
}

impl DiskFile for Nowhere {
    fn write_all_at(&self, bytes: &[u8], _: u64) -> io::Result<()> {
        black_box(bytes);
        Ok(())
    }
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    writer: LaneWriter,
    reader: LaneReader,
}

impl Bench {
    fn new(disk: Arc<dyn Disk>, durability: Durability) -> Bench {
        let root = std::env::var_os("FINGERPOST_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = tempfile::tempdir_in(root).expect("a folder to write to");
        let settings = Settings {
            folder: folder.path().join("journal"),
            durability,
            sync_interval: Duration::from_millis(500),
            segment_bytes: 16 << 20,
            max_bytes: 0,
        };
        let journal = Journal::open(disk, settings, Clock::System).expect("a journal");
        let writer = journal.lane().expect("a lane");
        let reader = journal.reader(writer.watch());
        Bench { _folder: folder, writer, reader }
    }

    fn group(&mut self, event: &EventRef<'_>, size: usize) {
        for _ in 0..size {
            black_box(self.writer.append(black_box(event))).expect("room");
        }
        while self.writer.write() == Written::Waiting {
            self.jobs();
        }
        self.jobs();
    }

    fn jobs(&mut self) {
        let mut rolled = false;
        while let Some(job) = self.writer.next_job() {
            self.writer.done(job.run());
            rolled = true;
        }
        // Old segments go, so that the disk does not fill up.
        if rolled {
            let committed = self.writer.watch().committed();
            let _ = self.reader.delivered(committed);
        }
    }
}

fn append(criterion: &mut Criterion) {
    let event = click();
    let mut group = criterion.benchmark_group("append");
    for size in [1, 8, 16, 32] {
        group.throughput(Throughput::Elements(size as u64));
        let mut bench = Bench::new(SystemDisk::shared(), Durability::Process);
        group.bench_function(BenchmarkId::new("process", size), |b| b.iter(|| bench.group(&event, size)));
    }
    for size in [1, 8, 16, 32] {
        group.throughput(Throughput::Elements(size as u64));
        let mut bench = Bench::new(Arc::new(Nowhere), Durability::Process);
        group.bench_function(BenchmarkId::new("without the kernel", size), |b| b.iter(|| bench.group(&event, size)));
    }
    let mut bench = Bench::new(SystemDisk::shared(), Durability::Disk);
    group.throughput(Throughput::Elements(32));
    group.bench_function(BenchmarkId::new("disk", 32), |b| b.iter(|| bench.group(&event, 32)));
    group.finish();

    let mut group = criterion.benchmark_group("checksum");
    for len in [64_usize, 142, 256] {
        let bytes = vec![7_u8; len];
        group.bench_function(BenchmarkId::from_parameter(len), |b| b.iter(|| crc_fast::crc32_iscsi(black_box(&bytes))));
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
