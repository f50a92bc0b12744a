//! Kafka, ClickHouse and PostgreSQL for tests, through `load-tests/stack`.
//!
//! `FINGERPOST_STACK` names the folder of a running stack, kept up between runs; without it the parts are started for this
//! test process and end with it, however it ends. A part that does not come up is a failed test with the script's words,
//! never a skipped one.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
};

use serde_json::Value;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/load-tests/stack");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Kafka,
    Clickhouse,
    Postgres,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Kafka => "kafka",
            Part::Clickhouse => "clickhouse",
            Part::Postgres => "postgres",
        }
    }
}

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    dir: PathBuf,
    /// Ended by `drop`; a shared one ends with the process, or is somebody else's.
    own: bool,
}

impl Stack {
    /// The stack that the tests of this process share, with at least these parts. Take names from [`Stack::unique`], and do
    /// not kill its parts: that is what [`Stack::own`] is for.
    ///
    /// # Panics
    /// With the script's words, when a part does not come up.
    pub fn shared(parts: &[Part]) -> &'static Stack {
        static SHARED: OnceLock<Stack> = OnceLock::new();
        static UP: Mutex<Vec<Part>> = Mutex::new(Vec::new());
        let stack = SHARED.get_or_init(|| match std::env::var_os("FINGERPOST_STACK") {
            Some(dir) => Stack { dir: dir.into(), own: false },
            None => Stack { dir: folder("shared"), own: false },
        });
        // One at a time: who asks for a part that another test is starting waits for it.
        let mut up = UP.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<Part> = parts.iter().copied().filter(|part| !up.contains(part)).collect();
        if !missing.is_empty() {
            if std::env::var_os("FINGERPOST_STACK").is_none() {
                stack.up(&missing, &[]);
            }
            for part in missing {
                let told = stack.told(part);
                assert!(told.is_object(), "FINGERPOST_STACK has no {}: {SCRIPT} up --dir DIR", part.name());
                up.push(part);
            }
        }
        stack
    }

    /// A stack of the test's own, with options of `stack up` such as `--sasl`; it ends when it is dropped.
    ///
    /// # Panics
    /// With the script's words, when a part does not come up.
    pub fn own(parts: &[Part], options: &[&str]) -> Stack {
        let stack = Stack { dir: folder(&unique("own")), own: true };
        stack.up(parts, options);
        stack
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Kafka's `host:port`.
    pub fn brokers(&self) -> String {
        self.field(Part::Kafka, "brokers")
    }

    /// The listener that wants SASL, of a stack made with `--sasl`; user `fingerpost`, password `secret`.
    pub fn sasl_brokers(&self) -> String {
        self.field(Part::Kafka, "sasl_brokers")
    }

    /// What the script tells of Kafka: `tls_brokers`, `tls_ca`, `sasl_tls_brokers` of a stack made with `--tls` (and `--sasl`).
    pub fn kafka(&self, field: &str) -> String {
        self.field(Part::Kafka, field)
    }

    /// `http://host:port`; user `default`, no password unless the stack was made with `--password`.
    pub fn clickhouse_url(&self) -> String {
        self.field(Part::Clickhouse, "url")
    }

    /// `postgres://user@host:port/postgres`, whose user may create databases.
    pub fn postgres_url(&self) -> String {
        self.field(Part::Postgres, "url")
    }

    pub fn pid(&self, part: Part) -> u32 {
        let pid = self.told(part)["pid"].as_u64().expect("a pid");
        u32::try_from(pid).expect("a pid")
    }

    /// Makes topics, each given as `name:partitions` or `name:partitions:compact`; they have leaders when it returns.
    pub fn topics(&self, topics: &[&str]) {
        self.script("topics", topics);
    }

    /// kill -9; the data stays.
    pub fn kill(&self, part: Part) {
        self.script("kill", &[part.name()]);
    }

    /// A graceful end; the data stays.
    pub fn stop(&self, part: Part) {
        self.script("stop", &[part.name()]);
    }

    /// Starts a killed or stopped part again, on the same port and data, and waits until it answers.
    pub fn start(&self, part: Part) {
        self.script("start", &[part.name()]);
    }

    fn up(&self, parts: &[Part], options: &[&str]) {
        let owner = std::process::id().to_string();
        let mut arguments: Vec<&str> = parts.iter().map(|part| part.name()).collect();
        arguments.extend_from_slice(&["--for", &owner]);
        arguments.extend_from_slice(options);
        self.script("up", &arguments);
    }

    fn script(&self, command: &str, arguments: &[&str]) {
        let output = Command::new(SCRIPT).arg(command).args(arguments).arg("--dir").arg(&self.dir).output();
        let output = output.unwrap_or_else(|error| panic!("{SCRIPT}: {error}"));
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{SCRIPT} {command} {}: {words}", arguments.join(" "));
    }

    fn field(&self, part: Part, key: &str) -> String {
        let told = self.told(part);
        told[key].as_str().unwrap_or_else(|| panic!("{} has no {key}: {told}", part.name())).to_owned()
    }

    fn told(&self, part: Part) -> Value {
        let file = self.dir.join("stack.json");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut known: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        known[part.name()].take()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.own {
            // A failing test must keep its own words; the watcher ends what this cannot.
            let _ = Command::new(SCRIPT).args(["down", "--remove", "--dir"]).arg(&self.dir).output();
        }
    }
}

/// A name for a database, schema, topic or group that nobody else uses, in this run or another.
pub fn unique(name: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{name}_{}", &random[..16])
}

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("fingerpost-stack-{}-{name}", std::process::id()))
}
