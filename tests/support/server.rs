//! Starts the real binary on free ports, in a folder of its own, and stops it in every way there is.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::{Duration, Instant},
};

/// Longest wait for anything that a server does by itself; a debug build on a busy machine needs some of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `edge.workers` and such, as environment variables without the prefix: `("EDGE__WORKERS", "1")`.
    pub settings: Vec<(String, String)>,
    pub arguments: Vec<String>,
    /// Runs the server under this command, for example `taskset -c 0`.
    pub under: Vec<String>,
}

impl Options {
    pub fn set(mut self, key: &str, value: impl Into<String>) -> Options {
        self.settings.push((key.to_uppercase().replace('.', "__"), value.into()));
        self
    }

    pub fn demo(mut self) -> Options {
        self.arguments.push("--demo".to_owned());
        self
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    pub child: Child,
    pub data: PathBuf,
    pub edge: SocketAddr,
    pub edge_tls: Option<SocketAddr>,
    pub control: SocketAddr,
    pub ops: SocketAddr,
    log: Arc<(Mutex<Vec<String>>, Condvar)>,
}

/// The binary under test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("FINGERPOST_BIN") {
        return path.into();
    }
    if let Some(path) = option_env!("CARGO_BIN_EXE_fingerpost") {
        return path.into();
    }
    // A load test lies in target/PROFILE/examples, the binary one above.
    let here = std::env::current_exe().expect("the path of this program");
    here.ancestors().nth(2).expect("a target folder").join("fingerpost")
}

/// A command of the binary on a data folder.
pub fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).arg("--data").arg(data).env_remove("FINGERPOST_CONFIG").env_remove("FINGERPOST_STACK");
    command
}

impl Server {
    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// Its log, when it ends or says nothing for too long.
    pub fn start(data: &Path, options: &Options) -> Result<Server, String> {
        let mut words: Vec<String> = options.under.clone();
        words.push(binary().display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("serve").arg("--data").arg(data).args(&options.arguments);
        for (key, value) in [
            ("EDGE__LISTEN", "127.0.0.1:0"),
            ("CONTROL__LISTEN", "127.0.0.1:0"),
            ("OPS__LISTEN", "127.0.0.1:0"),
            ("LOG__FORMAT", "json"),
        ] {
            command.env(format!("FINGERPOST__{key}"), value);
        }
        for (key, value) in &options.settings {
            command.env(format!("FINGERPOST__{key}"), value);
        }
        let _ = std::fs::remove_file(data.join("addresses.json"));
        let mut child = command
            .env_remove("FINGERPOST_CONFIG")
            .env_remove("FINGERPOST_STACK")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", words.join(" ")))?;
        let log = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let lines = follow(child.stderr.take().expect("a pipe"), Arc::clone(&log));
        if let Err(problem) = wait_ready(&lines) {
            let _ = child.kill();
            let _ = child.wait();
            let log = log.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
            return Err(format!("{problem}\n{log}"));
        }
        let text = std::fs::read_to_string(data.join("addresses.json")).map_err(|e| format!("addresses.json: {e}"))?;
        let addresses: serde_json::Value = serde_json::from_str(&text).map_err(|e| format!("addresses.json: {e}"))?;
        let address = |value: &serde_json::Value| value.as_str().and_then(|text| text.parse::<SocketAddr>().ok());
        Ok(Server {
            child,
            data: data.to_owned(),
            edge: address(&addresses["edge"][0]).ok_or("no edge address")?,
            edge_tls: address(&addresses["edge_tls"][0]),
            control: address(&addresses["control"]).ok_or("no control address")?,
            ops: address(&addresses["ops"]).ok_or("no ops address")?,
            log,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name} failed");
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// SIGTERM, then waits for the end.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        let deadline = Instant::now() + PATIENCE;
        let pid = self.pid();
        let (ended, end) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                if end.recv_timeout(deadline.saturating_duration_since(Instant::now()))
                    == Err(RecvTimeoutError::Timeout)
                {
                    eprintln!("the server did not end after SIGTERM");
                    let _ = Command::new("kill").arg("-9").arg(pid.to_string()).status();
                }
            });
            let status = self.child.wait().expect("wait");
            let _ = ended.send(());
            status
        })
    }

    /// Waits until a log line holds all of these texts.
    pub fn wait_for_log(&self, texts: &[&str]) -> String {
        let found = |lines: &[String]| lines.iter().find(|line| texts.iter().all(|text| line.contains(text))).cloned();
        let (lines, changed) = &*self.log;
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = found(&lines) {
                return line;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no log line with {texts:?} in:\n{}", lines.join("\n"));
            lines = changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn log(&self) -> Vec<String> {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The control API's token.
    pub fn token(&self) -> String {
        std::fs::read_to_string(self.data.join("admin-token")).expect("admin-token").trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects the log, and passes its lines on until somebody stops listening.
fn follow(stderr: std::process::ChildStderr, log: Arc<(Mutex<Vec<String>>, Condvar)>) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            log.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
            log.1.notify_all();
            let _ = sender.send(line);
        }
    });
    lines
}

fn wait_ready(lines: &Receiver<String>) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains("\"ready\"") => return Ok(()),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return Err("the server did not become ready".to_owned()),
            Err(RecvTimeoutError::Disconnected) => return Err("the server ended".to_owned()),
        }
    }
}
