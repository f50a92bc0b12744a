//! SIGTERM: what is under way is finished, nobody new is let in, and the end comes within its bound.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixDatagram,
    time::Duration,
};

use crate::{
    support::{Client, Options, PATIENCE, Server, client::BROWSER, eventually, get, rows},
    within,
};

const BODY: &[u8] = br#"{"kind":"view","slug":"demo"}"#;

/// A POST whose head has arrived, which is proved by the `100 Continue`, and whose body has not.
struct Slow(BufReader<TcpStream>);

impl Slow {
    fn begin(edge: SocketAddr) -> Slow {
        let mut stream = TcpStream::connect(edge).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "POST /e HTTP/1.1\r\nHost: r.example\r\nUser-Agent: {BROWSER}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            BODY.len()
        )
        .unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
        reader.read_line(&mut line).unwrap();
        Slow(reader)
    }

    fn finish(mut self) -> String {
        self.0.get_mut().write_all(BODY).unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }
}

#[test]
fn a_request_under_way_is_answered_and_nobody_new_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    let (edge, data) = (server.edge, server.data.clone());
    let slow = Slow::begin(edge);
    server.signal("TERM");
    server.wait_for_log(&["draining connections"]);
    eventually("the listener's end", || TcpStream::connect(edge).is_err().then_some(()));
    let readiness = get(server.ops, "/readyz");
    assert_eq!((readiness.status, get(server.ops, "/healthz").status), (503, 200), "balancers look elsewhere");
    assert!(readiness.json()["parts"]["server"]["reason"].as_str().unwrap().contains("drained"));
    assert_eq!(slow.finish(), "HTTP/1.1 204 No Content\r\n");
    let mut server = server;
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert_eq!(rows(&data, 1)[0]["kind"], "view", "its event is delivered before the end");
    let names = std::fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["outbox.lock"], "drained lanes are removed");
}

#[test]
fn idle_connections_do_not_hold_the_end_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default().demo()).unwrap();
    let mut used = Client::connect(server.edge).unwrap();
    assert_eq!(used.get("/go/haircare").unwrap().status, 302);
    let _silent = TcpStream::connect(server.edge).unwrap();
    let mut ops = Client::connect(server.ops).unwrap();
    assert_eq!(ops.get("/healthz").unwrap().status, 200);
    // edge.drain_timeout is 20 s.
    let status = within("end with idle connections", Duration::from_secs(15), || server.stop());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_client_that_never_finishes_is_left_after_the_bound() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::default().demo().set("edge.drain_timeout", "1s");
    let server = Server::start(folder.path(), &options).unwrap();
    let _slow = Slow::begin(server.edge);
    // Its own deadline, BODY_TIMEOUT, is 10 s.
    let status = within("end with a client that never finishes", Duration::from_secs(9), || server.stop());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_service_manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).expect("a notification");
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let under = vec!["env".to_owned(), format!("NOTIFY_SOCKET={}", path.display())];
    let options = Options { under, ..Options::default() };
    let server = Server::start(&folder.path().join("data"), &options).unwrap();
    assert_eq!(told(), "READY=1");
    server.signal("HUP");
    assert!(told().starts_with("RELOADING=1"));
    assert_eq!(told(), "READY=1");
    assert!(server.stop().success());
    assert_eq!(told(), "STOPPING=1");
}

#[test]
fn log_lines_are_json() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &Options::default().demo().set("log.level", "debug")).unwrap();
    let mut client = Client::connect(server.edge).unwrap();
    client.get("/go/haircare/abc123").unwrap();
    server.signal("HUP");
    server.wait_for_log(&["reloaded", "\"keys\""]);
    server.signal("TERM");
    server.wait_for_log(&["\"stopped\""]);
    let lines = server.log();
    assert!(lines.len() > 3);
    for line in &lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "target"] {
            assert!(line[field].is_string(), "{field} in {line}");
        }
        // A crate of somebody else's may log without words.
        let target = line["target"].as_str().unwrap();
        assert!(line["message"].is_string() || !target.starts_with("fingerpost"), "{line}");
    }
}
