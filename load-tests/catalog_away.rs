//! The catalog is away, while the edge runs and when it starts: redirects go on, clicks are counted, and when it is back
//! the changes are live again by themselves.

use crate::{
    clicks, client,
    common::{self, Size},
    server::{self, Options, Server},
};
use std::{
    fs,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub(crate) fn main() -> ExitCode {
    let arguments = common::arguments();
    let away_for = match arguments.size {
        Size::Ci => Duration::from_secs(3),
        Size::Full => Duration::from_secs(60),
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = Options::default().demo().set("catalog.snapshot_interval", "200ms");
    let server = Server::start(folder.path(), &options).expect("a server");
    assert!(wait_for(|| folder.path().join("links.snapshot").exists()), "no snapshot was written");
    assert!(server.stop().success());

    // Away at start: where the database should be there is a folder.
    let (catalog, kept) = (folder.path().join("catalog.db"), folder.path().join("kept.db"));
    for suffix in ["", "-wal", "-shm"] {
        let from = format!("{}{suffix}", catalog.display());
        if fs::exists(&from).unwrap_or(false) {
            fs::rename(from, format!("{}{suffix}", kept.display())).expect("move the catalog away");
        }
    }
    fs::create_dir(&catalog).expect("a folder in its place");
    let server = Server::start(folder.path(), &Options::default()).expect("a server that starts without its catalog");
    let degraded = wait_for(|| client::get(server.ops, "/readyz").json()["parts"]["catalog"]["state"] == "degraded");
    let (stop, next_tag) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clicking = {
        let (stop, next_tag, edge) = (Arc::clone(&stop), Arc::clone(&next_tag), server.edge);
        std::thread::spawn(move || clicks::click_until(edge, &stop, &next_tag))
    };
    common::wait(away_for);
    let status_of_api =
        client::api(server.control, &server.token(), "GET", "/v1/links", &serde_json::Value::Null).status;

    fs::remove_dir(&catalog).expect("remove the folder");
    for suffix in ["", "-wal", "-shm"] {
        let from = format!("{}{suffix}", kept.display());
        if fs::exists(&from).unwrap_or(false) {
            fs::rename(from, format!("{}{suffix}", catalog.display())).expect("bring the catalog back");
        }
    }
    let ready = wait_for(|| client::get(server.ops, "/readyz").json()["state"] == "ready");
    let body = serde_json::json!({ "name": "Shoes", "address": "https://shop.example/shoes" });
    let put = client::api(server.control, &server.token(), "PUT", "/v1/links/shoes", &body).status;
    let changed = Instant::now();
    let live = wait_for(|| client::get(server.edge, "/go/shoes?sub1=0").status == 302);
    let live_ms = changed.elapsed().as_millis() as u64;
    stop.store(true, Ordering::Relaxed);
    let (answered, refused) = clicking.join().expect("a client");
    clicks::wait_drained(&server);
    assert!(server.stop().success());
    let counted = clicks::exported(folder.path());
    let (lost, _) = clicks::compare(&answered, &counted);
    let ok = degraded
        && ready
        && live
        && put == 201
        && status_of_api == 503
        && refused == 0
        && lost.is_empty()
        && !answered.is_empty();
    common::report(
        "catalog-away",
        arguments.size,
        ok,
        serde_json::json!({
            "away_seconds": away_for.as_secs(), "answered": answered.len(), "refused": refused, "lost": lost.len(),
            "said_degraded": degraded, "api_said": status_of_api, "ready_again": ready, "change_live_after_ms": live_ms,
        }),
    )
}

fn wait_for(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + server::PATIENCE;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        common::wait(Duration::from_millis(20));
    }
    false
}
