//! A running `fingerpost load`.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use super::{eventually, get, metric, server};

/// Killed when it is dropped.
#[derive(Debug)]
pub struct Loading {
    child: Child,
    pub ops: SocketAddr,
}

impl Loading {
    /// `settings` as in [`super::Options`].
    pub fn start(data: &Path, settings: &[(String, String)]) -> Loading {
        let addresses = data.join("load-addresses.json");
        let _ = std::fs::remove_file(&addresses);
        let child = server::command(data, &["load"])
            .envs(settings.iter().map(|(key, value)| (format!("FINGERPOST__{key}"), value)))
            .env("FINGERPOST__OPS__LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ops = eventually("the loader's address", || {
            let text = std::fs::read_to_string(&addresses).ok()?;
            serde_json::from_str::<serde_json::Value>(&text).ok()?["ops"].as_str()?.parse().ok()
        });
        Loading { child, ops }
    }

    /// As a whole: each of its parts.
    pub fn is_ready(&self) {
        eventually("a loader that is ready", || (get(self.ops, "/readyz").json()["state"] == "ready").then_some(()));
    }

    pub fn says(&self, words: &str) {
        eventually(words, || get(self.ops, "/readyz").text().contains(words).then_some(()));
    }

    /// Comes to say it without being ready before, and does not stop saying it while it tries so many times more.
    pub fn keeps_saying(&self, words: &str, tries: u32) {
        let looks = || {
            let ready = get(self.ops, "/readyz");
            assert_ne!(ready.json()["state"], "ready", "{words}");
            ready.text()
        };
        eventually(words, || looks().contains(words).then_some(()));
        let tried = || metric(self.ops, "fingerpost_load_retries_total ").unwrap_or(0.0);
        let enough = tried() + f64::from(tries);
        eventually("more tries", || {
            let text = looks();
            assert!(text.contains("degraded") && text.contains(words), "{text}");
            (tried() >= enough).then_some(())
        });
    }

    /// Errors of Kafka that were counted under this reason.
    pub fn kafka_errors(&self, reason: &str) -> f64 {
        let name = format!("fingerpost_kafka_errors_total{{reason=\"{reason}\"}} ");
        metric(self.ops, &name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// SIGTERM, then its end.
    pub fn stop(mut self) -> ExitStatus {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|sent| sent.success()));
        self.child.wait().expect("its end")
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
