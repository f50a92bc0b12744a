//! Commands beside the server.

use crate::{
    output,
    support::{Client, Options, Server, fails, rows, run},
};

#[test]
fn the_journal_of_a_running_server_can_be_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    // The sink is away, so that the records are still there.
    std::fs::create_dir(folder.path().join("events.db")).unwrap();
    let server = Server::start(folder.path(), &Options::default().demo().set("edge.workers", "1")).unwrap();
    let mut client = Client::connect(server.edge).unwrap();
    for _ in 0..7 {
        assert_eq!(client.get("/go/haircare/abc123").unwrap().status, 302);
    }
    let journal = folder.path().join("journal").display().to_string();
    let said = run(folder.path(), &["journal", "inspect", &journal, "--format", "json"]);
    let lanes: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(lanes.as_array().unwrap().len(), 1, "{lanes:#}");
    let lane = &lanes[0];
    assert_eq!((&lane["records"], &lane["next"], &lane["damaged"]), (&7.into(), &7.into(), &0.into()), "{lane:#}");
    assert_eq!(lane["live"], true, "{lane:#}");
    // Looking changes nothing: the records arrive all the same.
    std::fs::remove_dir(folder.path().join("events.db")).unwrap();
    rows(folder.path(), 7);
    assert!(server.stop().success());
    let said = fails(folder.path(), &["journal", "inspect", "/no/such/folder"]);
    assert!(said.contains("/no/such/folder"), "{said}");
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let completions = run(folder.path(), &["completions", "bash"]);
    let manual = run(folder.path(), &["man"]);
    for command in ["serve", "import", "export", "report", "check", "health", "journal", "keys"] {
        assert!(completions.contains(command) && manual.contains(command), "{command}");
    }
    assert!(completions.contains("complete -F") && manual.contains(".TH fingerpost"));
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "they need no data folder");
}

#[test]
fn health_says_ready_alive_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    // The sink is away: degraded is still ready.
    std::fs::create_dir(folder.path().join("events.db")).unwrap();
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    let ops = server.ops.to_string();
    let said = run(folder.path(), &["health", "--address", &ops]);
    assert!(said.contains("\"parts\""), "{said}");
    assert_eq!(run(folder.path(), &["health", "--live", "--address", &ops]), "ok\n");
    // As in a container: it listens everywhere, and the same settings say where to ask.
    let settings = format!("0.0.0.0:{}", server.ops.port());
    assert!(output(folder.path(), &["health"], &[("ops.listen", &settings)]).status.success());
    let said = fails(folder.path(), &["health", "--address", &server.edge.to_string()]);
    assert!(said.contains("answers 404"), "{said}");
    assert!(server.stop().success());
    let said = fails(folder.path(), &["health", "--address", &ops]);
    assert!(said.contains("does the server run there?"), "{said}");
}
