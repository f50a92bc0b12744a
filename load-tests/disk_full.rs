//! The disk fills up under load: redirects go on, what is shed is counted exactly, and it recovers without a restart.
//!
//! The whole data folder lies on a small tmpfs. A ballast file takes the room and gives it back, several times. At the end
//! every answered click is a row or one of the clicks that the report calls missing: answered = rows + missing.

use crate::{
    clicks, client,
    common::{self, Size},
    server::{self, Options, Server},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const CLIENTS: usize = 8;

/// A small file system of its own, taken down when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path, size: &str) -> Result<SmallDisk, String> {
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(path).status();
        match status {
            Ok(status) if status.success() => Ok(SmallDisk(path.to_owned())),
            _ => {
                Err("disk-full needs a small tmpfs: run it as root, or inside `unshare --user --map-root-user --mount`"
                    .into())
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    // The disk holds every click of the whole run with room to spare: only the ballast fills it.
    let (rounds, full_for, disk_size) = match arguments.size {
        Size::Ci => (2, Duration::from_secs(3), "512m"),
        Size::Full => (10, Duration::from_secs(10), "4g"),
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = match SmallDisk::mount(folder.path(), disk_size) {
        Ok(disk) => disk,
        Err(problem) => {
            println!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let options = Options::default().demo().set("journal.segment_bytes", "256KiB").set("edge.workers", "2");
    let server = Server::start(&disk.0, &options).expect("a server");
    let stop = Arc::new(AtomicBool::new(false));
    let next_tag = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (stop, next_tag, edge) = (Arc::clone(&stop), Arc::clone(&next_tag), server.edge);
            std::thread::spawn(move || clicks::click_until(edge, &stop, &next_tag))
        })
        .collect();
    let mut fell = true;
    let mut recovered = true;
    for round in 0..rounds {
        let shed_before = shed(&server);
        fill(&disk.0.join("ballast"));
        let full_since = Instant::now();
        fell &= wait_for(|| shed(&server) > shed_before && state(&server) == "degraded");
        common::wait(full_for.saturating_sub(full_since.elapsed()));
        fs::remove_file(disk.0.join("ballast")).expect("remove the ballast");
        recovered &= wait_for(|| state(&server) == "ready");
        println!("  round {}: {} clicks shed so far", round + 1, shed(&server));
    }
    stop.store(true, Ordering::Relaxed);
    let (mut answered, mut refused) = (Vec::new(), 0);
    for client in clients {
        let (tags, no) = client.join().expect("a client");
        answered.extend(tags);
        refused += no;
    }
    clicks::wait_drained(&server);
    let shed = shed(&server);
    assert!(server.stop().success(), "the server ended with an error");
    let counted = clicks::exported(&disk.0);
    let (_, twice) = clicks::compare(&answered, &counted);
    let rows: u64 = counted.values().sum();
    let (sum, missing) = clicks::reported(&disk.0);
    let exact = answered.len() as u64 == rows + missing && missing == shed && sum == rows;
    let ok = exact && twice.is_empty() && refused == 0 && missing > 0 && rows > 0 && fell && recovered;
    common::report(
        "disk-full",
        arguments.size,
        ok,
        serde_json::json!({
            "rounds": rounds, "answered": answered.len(), "rows": rows, "missing_in_report": missing, "shed_metric": shed,
            "twice": twice.len(), "refused": refused, "readiness_fell": fell, "recovered_without_restart": recovered,
        }),
    )
}

/// Takes all the room there is.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).expect("the ballast");
    let block = vec![1; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&[1]).is_ok() {}
}

fn shed(server: &Server) -> u64 {
    client::metric(server.ops, "fingerpost_clicks_shed_total ").unwrap_or(0.0) as u64
}

fn state(server: &Server) -> String {
    client::get(server.ops, "/readyz").json()["state"].as_str().unwrap_or_default().to_owned()
}

fn wait_for(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + server::PATIENCE;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        common::wait(Duration::from_millis(50));
    }
    false
}
