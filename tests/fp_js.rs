//! The snippet for landing pages: its size, how it is served, the line that puts it on a page, and what it does in a page. The page is a
//! small one in Node; where there is no Node (`apt-get install nodejs`) that part says so and is left out.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it ends at the first surprise")]

mod support;

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use aws_lc_rs::digest::{SHA384, digest};
use fingerpost::core::script::Script;
use support::{Client, Options, Server, client::BROWSER, fails, run};

#[test]
fn it_is_small() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/core/script/fp.js");
    let packed = Command::new("gzip").arg("-9c").arg(script).output().expect("gzip");
    assert!(packed.status.success() && !packed.stdout.is_empty());
    assert!(packed.stdout.len() <= 1_536, "{} bytes", packed.stdout.len());
}

/// The value of an attribute in the line.
fn attribute<'a>(line: &'a str, name: &str) -> &'a str {
    line.split_once(&format!("{name}=\"")).and_then(|(_, behind)| behind.split('"').next()).unwrap()
}

/// A changed script needs another line in the documentation. If the version before was released, its text has to stay as well: see
/// `src/core/script.rs`.
#[test]
fn the_line_of_the_documentation_is_the_one_that_the_command_prints() {
    let folder = tempfile::tempdir().unwrap();
    let line = run(folder.path(), &["snippet", "--url", "https://go.example/"]);
    assert_eq!(line.trim_end(), Script::current().tag("https://go.example"));
    let documentation = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/integrators.md");
    let text = std::fs::read_to_string(documentation).unwrap();
    assert!(text.lines().any(|found| found == line.trim_end()), "docs/integrators.md needs this line:\n{line}");
    let file = folder.path().join("fingerpost.toml");
    std::fs::write(&file, "[edge]\nurl = \"https://r.shop.example\"\n").unwrap();
    let line = run(folder.path(), &["snippet", "--config", file.to_str().unwrap()]);
    assert!(line.starts_with("<script src=\"https://r.shop.example/fp.js?v="), "{line}");
    assert!(fails(folder.path(), &["snippet"]).contains("--url"));
    for wrong in ["go.example", "javascript:alert(1)", "\"><script>"] {
        assert!(fails(folder.path(), &["snippet", "--url", wrong]).contains(wrong), "{wrong}");
    }
}

/// Follows the line as a browser does: its address, its hash, its cache.
#[test]
fn the_line_leads_to_the_script_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let line = Script::current().tag("https://go.example");
    let address = attribute(&line, "src").strip_prefix("https://go.example").unwrap();
    let mut client = Client::connect(server.edge).unwrap();
    let mut get = |path: &str, more: &[(&str, &str)]| {
        let headers = [&[("User-Agent", BROWSER), ("Origin", "https://shop.example")], more].concat();
        client.send("GET", path, &headers, b"").unwrap()
    };
    let named = get(address, &[]);
    assert_eq!((named.status, named.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    let hash = data_encoding::BASE64.encode(digest(&SHA384, &named.body).as_ref());
    assert_eq!(attribute(&line, "integrity"), format!("sha384-{hash}"));
    assert_eq!(named.header("access-control-allow-origin"), Some("*"), "crossorigin=anonymous asks for it");
    assert_eq!(named.header("cross-origin-resource-policy"), Some("cross-origin"));
    assert_eq!(named.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(named.header("set-cookie"), None);

    let newest = get("/fp.js", &[]);
    assert_eq!((&newest.body, newest.header("etag")), (&named.body, named.header("etag")));
    assert_eq!(newest.header("cache-control"), Some("public, max-age=3600"));
    let etag = newest.header("etag").unwrap().to_owned();
    for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}")] {
        let again = get("/fp.js", &[("If-None-Match", &known)]);
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(&*etag)), "{known}");
        assert_eq!(again.header("access-control-allow-origin"), Some("*"));
    }
    assert_eq!(get("/fp.js", &[("If-None-Match", "\"x\"")]).status, 200);
    // A version that this edge does not have: nobody may keep another text under its name.
    for unknown in ["/fp.js?v=0123456789abcdef", "/fp.js?v=", "/fp.js?v=%00"] {
        let other = get(unknown, &[]);
        assert_eq!((other.status, other.header("cache-control")), (200, Some("no-store")), "{unknown}");
    }
}

#[test]
fn it_remembers_fills_and_sends() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(folder.join("src/core/script/fp.js")).unwrap();
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
    assert_eq!(out.trim(), "22 cases", "{err}");
}
