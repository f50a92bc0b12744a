//! Slow clients: each is closed at its own deadline, and a good client beside it is served all the while.

use std::time::{Duration, Instant};

use fingerpost::edge::{
    counters::CloseReason,
    listener::{Deadlines, Kind},
};
use tokio::task::spawn_local;

use super::{
    BIG, Options, Server,
    http_client::{Raw, frame, patiently},
    in_worker, tls,
};

const DEADLINE: Duration = Duration::from_millis(150);
/// Two sweeps, and a machine that others use too. All other deadlines are an hour away.
const LATEST: Duration = Duration::from_secs(10);

fn only(set: impl FnOnce(&mut Deadlines)) -> Options {
    let mut options = Options::default();
    set(&mut options.deadlines);
    options
}

/// Asks on one connection until told to stop, and says how often it was answered.
fn good_client(server: &Server) -> impl AsyncFnOnce() -> u32 + use<> {
    let (address, stop) = (server.address, tokio_util::sync::CancellationToken::new());
    let stopped = stop.clone();
    let asking = spawn_local(async move {
        let mut client = Raw::connect(address).await;
        let mut answers = 0;
        while !stopped.is_cancelled() {
            assert_eq!(client.get("/good").await.status, 200);
            answers += 1;
            tokio::task::yield_now().await;
        }
        answers
    });
    async move || {
        stop.cancel();
        patiently("the good client", asking).await.expect("the good client is unharmed")
    }
}

/// The bad client sends `opening`, then `drip` again and again, and is closed for `reason` at the deadline.
async fn is_closed(what: &str, options: Options, opening: &[u8], drip: &[u8], reason: CloseReason) -> Vec<u8> {
    let server = Server::start(options);
    let good = good_client(&server);
    let mut bad = server.raw().await;
    let begun = Instant::now();
    bad.send(opening).await;
    let said = if drip.is_empty() { bad.closed().await } else { drip_until_closed(&mut bad, drip).await };
    let took = begun.elapsed();
    assert!(took >= DEADLINE && took < LATEST, "{what}: closed after {took:?}");
    assert_eq!(server.closed(reason), 1, "{what}");
    let others = CloseReason::ALL.into_iter().filter(|other| *other != reason);
    assert_eq!(others.map(|other| server.closed(other)).sum::<u64>(), 0, "{what}");
    assert!(good().await > 10, "{what}: the good client was held up");
    said
}

/// One byte at a time, often enough that no gap is as long as the deadline.
async fn drip_until_closed(bad: &mut Raw, drip: &[u8]) -> Vec<u8> {
    let mut pace = tokio::time::interval(DEADLINE / 10);
    for byte in drip.iter().cycle().take(1_000) {
        pace.tick().await;
        if bad.try_send([*byte]).await.is_err() {
            return Vec::new();
        }
        if bad.is_closed_now().await {
            return Vec::new();
        }
    }
    panic!("it was never closed");
}

#[test]
fn silence() {
    in_worker(async {
        let options = || only(|deadlines| deadlines.preface = DEADLINE);
        is_closed("silence", options(), b"", b"", CloseReason::Preface).await;
        is_closed("half a preface", options(), &frame::PREFACE[..10], b"", CloseReason::Preface).await;
        // Its own bytes, one by one: all of them take longer than the deadline.
        is_closed("a dripping preface", options(), &frame::PREFACE[..1], &frame::PREFACE[1..], CloseReason::Preface)
            .await;
    });
}

#[test]
fn proxy_header() {
    in_worker(async {
        let options = || Options { proxy_protocol: true, ..only(|deadlines| deadlines.preface = DEADLINE) };
        for opening in [&b""[..], b"PROXY TCP4 1.2.3.4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02"] {
            let server = Server::start(options());
            let mut bad = server.raw().await;
            bad.send(opening).await;
            bad.closed().await;
            assert_eq!(server.closed(CloseReason::Preface), 1, "{opening:?}");
        }
    });
}

#[test]
fn http1_head() {
    in_worker(async {
        let options = || only(|deadlines| deadlines.head = DEADLINE);
        let said = is_closed("half a head", options(), b"GET / HT", b"", CloseReason::Head).await;
        assert!(said.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&said));
        is_closed("a dripping head", options(), b"GET / HTTP/1.1\r\nX: ", b"x", CloseReason::Head).await;
        let pipelined = b"GET / HTTP/1.1\r\nHost: test\r\n\r\nGET / HTTP/1.1\r\n";
        is_closed("half a second head", options(), pipelined, b"", CloseReason::Head).await;
    });
}

#[test]
fn http1_body() {
    in_worker(async {
        let options = || only(|deadlines| deadlines.body = DEADLINE);
        let half = b"POST /e HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nhalf";
        let said = is_closed("half a body", options(), half, b"", CloseReason::Body).await;
        assert!(said.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&said));
        let mut dripping = options();
        dripping.deadlines.linger = Duration::ZERO;
        is_closed("a dripping body", dripping, half, b"x", CloseReason::Body).await;
    });
}

#[test]
fn idle_after_a_request() {
    in_worker(async {
        let get = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
        let said = is_closed("idle", only(|deadlines| deadlines.idle = DEADLINE), get, b"", CloseReason::Idle).await;
        assert!(said.starts_with(b"HTTP/1.1 200 "));
    });
}

/// Requests large answers and reads none of them.
#[test]
fn http1_client_that_does_not_read() {
    in_worker(async {
        let server = Server::start(only(|deadlines| deadlines.write = DEADLINE));
        let good = good_client(&server);
        let mut bad = server.raw().await;
        let begun = Instant::now();
        bad.send(b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n".repeat(100)).await;
        server.until("the close", || server.closed(CloseReason::Write) == 1).await;
        assert!(begun.elapsed() >= DEADLINE && begun.elapsed() < LATEST);
        assert!(server.service.calls.get() < 10_000, "the good client's are among them");
        assert!(good().await > 10);
        let received = bad.closed().await.len();
        assert!(received < 100 * BIG / 2, "what it did not read was not kept for it: {received} bytes");
    });
}

#[test]
fn tls_handshake() {
    in_worker(async {
        let certificates = tls::Folder::new();
        let options = |deadlines: Deadlines| Options {
            kind: Kind::Tls(certificates.handle(&["one.example"])),
            deadlines,
            ..Options::default()
        };
        let deadlines = only(|deadlines| deadlines.handshake = DEADLINE).deadlines;
        for opening in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
            let server = Server::start(options(deadlines));
            let mut bad = server.raw().await;
            bad.send(opening).await;
            bad.closed().await;
            assert_eq!(server.closed(CloseReason::Handshake), 1, "{opening:?}");
        }
        // A handshake and then nothing.
        let server = Server::start(options(only(|deadlines| deadlines.preface = DEADLINE).deadlines));
        let mut bad = Raw::over(certificates.connect(&server, "one.example", &[]).await);
        bad.closed().await;
        assert_eq!(server.closed(CloseReason::Preface), 1);
    });
}

#[test]
fn http2_idle() {
    in_worker(async {
        let options = || only(|deadlines| deadlines.idle = DEADLINE);
        let ping = [frame::opening(), frame::frame(frame::PING, 0, 0, &[0; 8])].concat();
        is_closed("no request", Options { ..short_linger(options()) }, &ping, b"", CloseReason::Idle).await;
        let asked = [frame::opening(), frame::get(1)].concat();
        let said = is_closed("one request", short_linger(options()), &asked, b"", CloseReason::Idle).await;
        assert!(said.windows(9).any(|window| window[3] == 7 && window[5..9] == [0; 4]), "a GOAWAY comes first");
    });
}

/// The raw client does not acknowledge the PING with which a graceful end begins.
fn short_linger(mut options: Options) -> Options {
    options.deadlines.linger = Duration::from_millis(50);
    options
}

#[test]
fn http2_pings_do_not_keep_an_idle_connection() {
    in_worker(async {
        let server = Server::start(short_linger(only(|deadlines| deadlines.idle = DEADLINE)));
        let mut bad = server.raw().await;
        bad.send(frame::opening()).await;
        let mut pace = tokio::time::interval(DEADLINE / 10);
        patiently("the close", async {
            while server.closed(CloseReason::Idle) == 0 {
                pace.tick().await;
                let _ = bad.try_send(frame::frame(frame::PING, 0, 0, &[0; 8])).await;
            }
        })
        .await;
    });
}

#[test]
fn http2_half_a_frame_or_header_block() {
    in_worker(async {
        let options = || only(|deadlines| deadlines.head = DEADLINE);
        let half = [frame::opening(), frame::get(1)[..12].to_vec()].concat();
        is_closed("half a frame", options(), &half, b"", CloseReason::Head).await;
        let block = frame::get_block();
        let open = [frame::opening(), frame::frame(frame::HEADERS, frame::END_STREAM, 1, &block[..3])].concat();
        is_closed("half a header block", options(), &open, b"", CloseReason::Head).await;
    });
}

/// A stream's body has the same deadline as HTTP/1's; its connection lives on.
#[test]
fn http2_body() {
    in_worker(async {
        let server = Server::start(only(|deadlines| deadlines.body = DEADLINE));
        let tcp = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (requests, connection) = h2::client::handshake(tcp).await.unwrap();
        spawn_local(connection);
        let mut requests = patiently("ready", requests.ready()).await.unwrap();
        let post = http::Request::post("http://test/e").body(()).unwrap();
        let begun = Instant::now();
        let (late, mut stream) = requests.send_request(post, false).unwrap();
        stream.send_data("half".into(), false).unwrap();
        assert_eq!(patiently("408", late).await.unwrap().status(), 408);
        assert!(begun.elapsed() >= DEADLINE);
        let get = http::Request::get("http://test/").body(()).unwrap();
        let (good, _) = patiently("ready", requests.ready()).await.unwrap().send_request(get, true).unwrap();
        assert_eq!(patiently("200", good).await.unwrap().status(), 200);
    });
}

/// A client with no window for our answer is one that does not read.
#[test]
fn http2_client_that_gives_no_window() {
    in_worker(async {
        let no_window = frame::frame(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
        let asked = [frame::PREFACE, &no_window, &frame::get(1)].concat();
        let options = only(|deadlines| deadlines.write = DEADLINE);
        is_closed("no window", options, &asked, b"", CloseReason::Write).await;
    });
}
