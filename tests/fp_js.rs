//! The snippet for landing pages: its size, and what it does in a page. The page is a small one in Node; where there is no
//! Node (`apt-get install nodejs`) that part says so and is left out.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

#[test]
fn it_is_small() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/edge/fp.js");
    let packed = Command::new("gzip").arg("-9c").arg(script).output().expect("gzip");
    assert!(packed.status.success() && !packed.stdout.is_empty());
    assert!(packed.stdout.len() <= 1_536, "{} bytes", packed.stdout.len());
}

#[test]
fn it_remembers_fills_and_sends() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(folder.join("src/edge/fp.js")).unwrap();
    let page = std::fs::read_to_string(folder.join("tests/support/page.js")).unwrap();
    let node =
        Command::new("node").arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut node = match node {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("left out: there is no `node` here (apt-get install nodejs)");
            return;
        }
        other => other.expect("node"),
    };
    let program = page.replace("__SCRIPT__", &serde_json::to_string(&script).unwrap());
    node.stdin.take().expect("a pipe").write_all(program.as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(out.trim(), "8 cases", "{err}");
}
