//! `config/haproxy/haproxy.cfg` in front of two real edges: visitors arrive with their own address, and an edge that ends is
//! noticed by nobody.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::{
    accepts, read,
    support::{Client, Options, Server, eventually, get},
    tool,
};

/// Ended with the test.
pub(crate) struct Balancer(Child);

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Balancer {
    /// Under the shipped configuration, in front of these edges; waits until it knows that one of them is ready.
    pub(crate) fn start(folder: &Path, edges: [&Server; 2], visitors: u16, inside: u16) -> Balancer {
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, configuration(edges, visitors, inside)).unwrap();
        let mut command = tool("haproxy");
        let mut child = command.arg("-f").arg(&file).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop));
        let balancer = Balancer(child);
        eventually("a balancer with edges behind it", || (healthz(inside)? == 200).then_some(()));
        balancer
    }
}

/// What the balancer says of itself; nothing while it is not there.
fn healthz(inside: u16) -> Option<u16> {
    let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], inside))).ok()?;
    Some(client.get("/healthz").ok()?.status)
}

/// A port that nobody has at this moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The shipped configuration, with this machine's addresses in the place of Docker's names.
fn configuration(edges: [&Server; 2], visitors: u16, inside: u16) -> String {
    let mut text = read("config/haproxy/haproxy.cfg");
    let mut put = |what: &str, with: &str| {
        assert_eq!(text.matches(what).count(), 1, "{what}");
        text = text.replace(what, with);
    };
    put("bind :8080", &format!("bind 127.0.0.1:{visitors}"));
    put("bind :8404", &format!("bind 127.0.0.1:{inside}"));
    put(" check port 8082 ", " check ");
    // It refuses to start where it may not open two files for each connection.
    put("maxconn 20000", "maxconn 200");
    for (name, edge) in ["edge-1", "edge-2"].into_iter().zip(edges) {
        put(&format!("{name}:8080"), &format!("{} port {}", edge.edge, edge.ops.port()));
    }
    text
}

#[test]
fn haproxy_accepts_its_file() {
    accepts(tool("haproxy").args(["-c", "-f", "config/haproxy/haproxy.cfg"]));
}

#[test]
fn an_edge_that_ends_is_noticed_by_no_visitor() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::default().demo().set("edge.proxy_protocol", "true");
    let start = |name: &str| Server::start(&folder.path().join(name), &options).unwrap();
    let (one, two) = (start("one"), start("two"));
    let (visitors, inside) = (free_port(), free_port());
    let _balancer = Balancer::start(folder.path(), [&one, &two], visitors, inside);
    let visitors = SocketAddr::from(([127, 0, 0, 1], visitors));

    let click = || {
        let answer = Client::connect(visitors).unwrap().get("/go/haircare/abc123").unwrap();
        assert_eq!(answer.status, 302, "{}", answer.text());
    };
    for _ in 0..20 {
        click();
    }
    let redirects = |server: &Server| -> u64 {
        let text = get(server.ops, "/metrics").text();
        let lines = text.lines().filter(|line| line.starts_with("fingerpost_requests_total{outcome=\"redirect\""));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    assert!(redirects(&one) > 0 && redirects(&two) > 0, "both take part");
    assert_eq!(redirects(&one) + redirects(&two), 20, "and no request was sent twice");

    // New visitors all the time, while the first edge ends.
    let stop = AtomicBool::new(false);
    let (mut clicks, mut failures) = (0, Vec::new());
    std::thread::scope(|scope| {
        let visitor = || {
            let (mut clicks, mut failures) = (0_u64, Vec::new());
            while !stop.load(Relaxed) {
                match Client::connect(visitors).and_then(|mut client| client.get("/go/haircare/abc123")) {
                    Ok(answer) if answer.status == 302 => clicks += 1,
                    other => failures.push(format!("{other:?}")),
                }
            }
            (clicks, failures)
        };
        let several: Vec<_> = (0..4).map(|_| scope.spawn(visitor)).collect();
        assert!(one.stop().success());
        for _ in 0..20 {
            click();
        }
        stop.store(true, Relaxed);
        for visitor in several {
            let (more, failed) = visitor.join().unwrap();
            clicks += more;
            failures.extend(failed);
        }
    });
    println!("{clicks} clicks while an edge ended");
    assert!(clicks > 20 && failures.is_empty(), "{clicks} clicks, {failures:?}");
    let metrics = get(SocketAddr::from(([127, 0, 0, 1], inside)), "/metrics").text();
    assert!(metrics.contains("haproxy_server_status"), "Prometheus is answered: {metrics}");
    assert!(two.stop().success());
    eventually("a balancer that says that nobody is behind it", || (healthz(inside)? == 503).then_some(()));
}
