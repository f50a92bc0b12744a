//! `fingerpost journal inspect`: what an operator sees of a journal.

use std::time::Duration;

use assert_cmd::Command;
use fingerpost::{
    core::id::LaneId,
    io::{clock::Clock, disk::SystemDisk},
    journal::{Durability, Journal, Settings},
};
use serde_json::Value;

#[expect(clippy::unwrap_used, reason = "a helper of tests")]
fn inspect(arguments: &[&str]) -> String {
    let output =
        Command::cargo_bin("fingerpost").unwrap().args(["journal", "inspect"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn lanes_of_a_running_and_of_a_dead_process_are_told_apart_and_damage_is_counted() {
    let data = tempfile::tempdir().unwrap();
    let settings = Settings {
        folder: data.path().join("journal"),
        durability: Durability::Process,
        sync_interval: Duration::from_secs(1),
        segment_bytes: 1 << 20,
        max_bytes: 0,
    };
    let journal = Journal::open(SystemDisk::shared(), settings.clone(), Clock::System).unwrap();
    let mut lanes = [1, 2].map(|id| journal.lane_with(LaneId(id), 5).unwrap());
    for lane in &mut lanes {
        for _ in 0..3 {
            lane.append_encoded(b"a click").unwrap();
            lane.write();
        }
    }
    let [live, dead] = lanes;
    let dead_file = dead.watch().folder().join("00000000000000000000.seg");
    drop((dead, journal.live().pop()));
    let folder = data.path().to_str().unwrap();
    let lanes: Value = serde_json::from_str(&inspect(&[folder, "--format", "json"])).unwrap();
    assert_eq!(lanes.as_array().unwrap().len(), 2);
    for lane in lanes.as_array().unwrap() {
        assert_eq!((&lane["live"], &lane["records"], &lane["next"]), (&true.into(), &3.into(), &3.into()));
    }

    // Only the journal's end frees a lane of this process.
    let id = live.watch().id.to_string();
    drop((live, journal));
    let mut bytes = std::fs::read(&dead_file).unwrap();
    bytes[4096 + 19 + 5] ^= 1;
    std::fs::write(&dead_file, bytes).unwrap();
    let lanes: Value = serde_json::from_str(&inspect(&[folder, "--format", "json"])).unwrap();
    let lane = lanes.as_array().unwrap().iter().find(|lane| lane["lane"] != id.as_str()).unwrap();
    assert_eq!((&lane["live"], &lane["records"], &lane["damaged"]), (&false.into(), &2.into(), &1.into()));
    let table = inspect(&[&format!("{folder}/journal")]);
    assert!(table.starts_with("lane ") && table.contains("orphan") && table.lines().count() == 3, "{table}");
}

#[test]
fn a_wrong_folder_is_said() {
    let output =
        Command::cargo_bin("fingerpost").unwrap().args(["journal", "inspect", "/nowhere/at/all"]).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("/nowhere/at/all") && text.contains("journal folder"), "{text}");
}
