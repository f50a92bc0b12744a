//! Records that Kafka refuses for their own fault: `DATA/set-aside/LANE-SEQUENCE.json`, one file a record, durable before the
//! checkpoint passes it. A record that is set aside again is the same file again.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use data_encoding::BASE64;

use crate::{
    core::{id::LaneId, time::Millis},
    io::disk::replace_file,
};

#[derive(Debug)]
pub(super) struct Aside {
    folder: PathBuf,
}

impl Aside {
    pub(super) fn new(data: &Path) -> Aside {
        Aside { folder: data.join("set-aside") }
    }

    pub(super) fn keep(&self, lane: LaneId, sequence: u64, body: &[u8], reason: &str, now: Millis) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let record = serde_json::json!({
            "lane": lane.to_string(), "sequence": sequence, "reason": reason, "set_aside_at": now.to_string(),
            "event": BASE64.encode(body),
        });
        let path = self.folder.join(format!("{lane}-{sequence}.json"));
        replace_file(&path, 0o600, |file| writeln!(file, "{record:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_kept_whole_with_its_reason_once() {
        let data = tempfile::tempdir().unwrap();
        let aside = Aside::new(data.path());
        for _ in 0..2 {
            aside.keep(LaneId(7), 3, b"\x01\xff", "too large", Millis(0)).unwrap();
        }
        let files: Vec<_> = std::fs::read_dir(data.path().join("set-aside")).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(files[0].path()).unwrap()).unwrap();
        assert_eq!(kept["reason"], "too large");
        assert_eq!(BASE64.decode(kept["event"].as_str().unwrap().as_bytes()).unwrap(), b"\x01\xff");
    }
}
