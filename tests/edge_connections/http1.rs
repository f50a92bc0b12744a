//! HTTP/1: what is answered, what is refused, and that nothing can be smuggled.

use fingerpost::{
    core::limits::{HEAD_MAX_BYTES, HEADERS_MAX, REQUEST_LINE_MAX_BYTES},
    edge::counters::CloseReason,
};

use super::{Options, Server, http_client::Raw, in_worker};

/// Sends the bytes on a fresh connection; the first answer, and whether the connection is over afterwards.
async fn ask(server: &Server, bytes: impl AsRef<[u8]>) -> (u16, bool) {
    let mut client = server.raw().await;
    // The server may refuse before it has read everything.
    let _ = client.try_send(bytes.as_ref()).await;
    let shown = String::from_utf8_lossy(&bytes.as_ref()[..bytes.as_ref().len().min(120)]).into_owned();
    let answer = client.answer().await.unwrap_or_else(|| panic!("no answer to {shown:?}"));
    let again = client.try_send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let alive = if again.is_ok() { client.answer().await } else { None };
    // HTTP/1.0 closes without a word, unless it says otherwise.
    let announced = answer.closes() || shown.contains("HTTP/1.0") && answer.field("connection").is_none();
    assert_eq!(announced, alive.is_none(), "{shown:?}: what it says of the connection is not so");
    (answer.status, alive.is_none())
}

#[test]
fn requests_on_one_connection() {
    in_worker(async {
        let server = Server::start(Options::default());
        let mut client = server.raw().await;
        let local = client.io.local_addr().unwrap();
        for number in 0..3 {
            let answer = client.get(&format!("/{number}")).await;
            assert_eq!((answer.status, answer.text()), (200, format!("GET /{number} {local} false 0")));
        }
        let pipelined: String = (0..50).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: test\r\n\r\n")).collect();
        client.send(&pipelined).await;
        for number in 0..50 {
            assert_eq!(client.answer().await.unwrap().text(), format!("GET /{number} {local} false 0"));
        }
        for byte in "GET /slowly HTTP/1.1\r\nHost: test\r\n\r\n".bytes() {
            client.send([byte]).await;
        }
        assert_eq!(client.answer().await.unwrap().text(), format!("GET /slowly {local} false 0"));
        client.send("POST /p HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
        assert_eq!(client.answer().await.unwrap().text(), format!("POST /p {local} false 3"));
        let body = "x".repeat(20_000);
        client.send(format!("POST /p HTTP/1.1\r\nHost: test\r\nContent-Length: 20000\r\n\r\n{body}")).await;
        assert_eq!(client.answer().await.unwrap().text(), format!("POST /p {local} false 20000"));
        client.send("GET /last HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await;
        assert!(client.answer().await.unwrap().closes());
        assert_eq!(client.closed().await, b"");
        server.open(0).await;
        assert_eq!(CloseReason::ALL.map(|reason| server.closed(reason)).iter().sum::<u64>(), 0);
    });
}

#[test]
fn ways_to_ask() {
    in_worker(async {
        let server = Server::start(Options::default());
        let cases = [
            ("GET / HTTP/1.1\r\nHost: test\r\n\r\n", 200, false),
            ("GET / HTTP/1.1\nHost: test\n\n", 200, false),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n", 200, false),
            ("GET / HTTP/1.0\r\n\r\n", 200, true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, false),
            ("GET http://test:80/x HTTP/1.1\r\nHost: test:80\r\n\r\n", 200, false),
            ("HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", 200, true),
            ("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n", 200, false),
            // An upgrade to HTTP/2 is not offered, so the request is answered as it is.
            (
                "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
                200,
                false,
            ),
        ];
        for (bytes, status, closes) in cases {
            if bytes.starts_with("HEAD") {
                // Its answer has a length and no body.
                let mut client = server.raw().await;
                client.send(bytes).await;
                let said = String::from_utf8(client.closed().await).unwrap();
                assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("\r\n\r\n"), "{said}");
                continue;
            }
            assert_eq!(ask(&server, bytes).await, (status, closes), "{bytes:?}");
        }
    });
}

/// Who has said all may still listen (RFC 9112 §9.6).
#[test]
fn half_closed_clients_are_answered() {
    in_worker(async {
        let server = Server::start(Options::default());
        let mut client = server.raw().await;
        client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").await;
        tokio::io::AsyncWriteExt::shutdown(&mut client.io).await.unwrap();
        server.called(1).await;
        server.service.let_go.notify_waiters();
        assert_eq!(client.answer().await.unwrap().status, 200);
        assert_eq!(client.closed().await, b"");
        server.open(0).await;
    });
}

#[test]
fn one_valid_host() {
    in_worker(async {
        let server = Server::start(Options::default());
        for head in [
            "GET / HTTP/1.1\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n",
            "GET / HTTP/1.1\r\nHost: u@a\r\n",
            "GET / HTTP/1.1\r\nHost: a:99999\r\n",
            "GET / HTTP/1.1\r\nHost: \u{e9}\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: b\r\n",
            "GET http://a/ HTTP/1.1\r\n",
            "GET / HTTP/1.0\r\nHost: a, b\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n",
        ] {
            let bytes = format!("{head}\r\n");
            assert_eq!(ask(&server, bytes).await, (400, true), "{head:?}");
        }
        assert_eq!(server.service.calls.get(), 0, "the service saw none of them");
        assert_eq!(server.closed(CloseReason::Refused), 13);
    });
}

#[test]
fn sizes_at_their_bounds() {
    in_worker(async {
        let server = Server::start(Options::default());
        let line = |length: usize| {
            let path = "x".repeat(length - "GET / HTTP/1.1".len());
            format!("GET /{path} HTTP/1.1\r\nHost: test\r\n\r\n")
        };
        let head = |length: usize| {
            let value = "x".repeat(length - "Host: test\r\nX: \r\n".len());
            format!("GET / HTTP/1.1\r\nHost: test\r\nX: {value}\r\n\r\n")
        };
        let fields = |count: usize| {
            let fields: String = (1..count).map(|number| format!("X-{number}: x\r\n")).collect();
            format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
        };
        let cases = [
            ("line", line(REQUEST_LINE_MAX_BYTES), 200),
            ("line", line(REQUEST_LINE_MAX_BYTES + 1), 414),
            ("line", line(REQUEST_LINE_MAX_BYTES + 10), 414),
            ("line", line(3 * REQUEST_LINE_MAX_BYTES), 414),
            ("line", line(300_000), 414),
            ("line", "x".repeat(300_000), 414),
            ("head", head(HEAD_MAX_BYTES), 200),
            ("head", head(HEAD_MAX_BYTES + 1), 431),
            ("head", head(2 * HEAD_MAX_BYTES), 431),
            ("head", head(300_000), 431),
            ("fields", fields(HEADERS_MAX), 200),
            ("fields", fields(HEADERS_MAX + 1), 431),
            ("fields", fields(1_000), 431),
        ];
        for (what, bytes, status) in cases {
            assert_eq!(ask(&server, &bytes).await, (status, status != 200), "{what} of {} bytes", bytes.len());
        }
        assert_eq!(server.closed(CloseReason::Refused), 10, "each is counted once");
        let both = [line(REQUEST_LINE_MAX_BYTES), head(HEAD_MAX_BYTES)];
        let mut client = server.raw().await;
        client.send(both.concat()).await;
        assert_eq!((client.answer().await.unwrap().status, client.answer().await.unwrap().status), (200, 200));
        let (largest, _) = both[0].split_once("\r\n").unwrap();
        let (_, fields) = both[1].split_once("\r\n").unwrap();
        client.send(format!("{largest}\r\n{fields}")).await;
        assert_eq!(client.answer().await.unwrap().status, 200, "both at their bounds at once");
        assert_eq!(
            server.service.calls.get(),
            3 + 3 + 3,
            "three at a bound, each with another after it, and these three"
        );
    });
}

/// The same, behind other requests of the same connection and in the same packets.
#[test]
fn sizes_of_later_requests() {
    in_worker(async {
        let server = Server::start(Options::default());
        let good = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
        let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9000\r\n\r\n".to_owned() + &"x".repeat(9_000);
        let long_line = format!("GET /{} HTTP/1.1\r\n", "x".repeat(100_000));
        let long_head = format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(100_000));
        for (before, after, status) in [
            (good, &long_line, 414),
            (good, &long_head, 431),
            (post.as_str(), &long_line, 414),
            (post.as_str(), &long_head, 431),
        ] {
            let mut client = server.raw().await;
            client.send(before).await;
            assert_eq!(client.answer().await.unwrap().status, 200);
            let _ = client.try_send(format!("{good}{good}{after}")).await;
            let answers = [client.answer().await, client.answer().await, client.answer().await];
            assert_eq!(answers.map(|answer| answer.unwrap().status), [200, 200, status]);
            client.closed().await;
        }
    });
}

/// RFC 9112 §6 and §11.2: whatever could be read in two ways is refused, and what follows it is never taken for a request.
#[test]
fn nothing_is_smuggled() {
    in_worker(async {
        let server = Server::start(Options::default());
        let hidden = "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n";
        let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n{body}{hidden}");
        let cases = [
            post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n"),
            post("transfer-encoding: Chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n"),
            post("Content-Length: 4\r\nContent-Length: 5\r\n", "abcd"),
            post("Content-Length: 4, 5\r\n", "abcd"),
            post("Content-Length: +4\r\n", "abcd"),
            post("Content-Length: -1\r\n", ""),
            post("Content-Length: 0x4\r\n", "abcd"),
            post("Content-Length: 4 \r\n 5\r\n", "abcd"),
            post("Content-Length: 99999999999999999999\r\n", "abcd"),
            post("Content-Length:\r\n", ""),
            post("Content-Length : 4\r\n", "abcd"),
            post(" Content-Length: 4\r\n", "abcd"),
            post("Transfer-Encoding: gzip\r\n", ""),
            post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
            post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
            post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
            post("Transfer-Encoding:\u{b}chunked\r\n", "0\r\n\r\n"),
            post("X: a\0b\r\n", ""),
            post("X: a\rb\r\n", ""),
            format!("POST / HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
            format!("GET  / HTTP/1.1\r\nHost: test\r\n\r\n{hidden}"),
            format!("GET / HTTP/1.1 \r\nHost: test\r\n\r\n{hidden}"),
            format!("GET / HTTP/1.2\r\nHost: test\r\n\r\n{hidden}"),
            format!("GET / HTTP/2.0\r\nHost: test\r\n\r\n{hidden}"),
            format!("GET\r\nHost: test\r\n\r\n{hidden}"),
            format!("G\u{1}T / HTTP/1.1\r\nHost: test\r\n\r\n{hidden}"),
        ];
        let mut wrong = Vec::new();
        for bytes in &cases {
            let before = server.service.calls.get();
            let mut client = server.raw().await;
            client.send(bytes).await;
            let said = String::from_utf8(client.closed().await).unwrap();
            if !said.starts_with("HTTP/1.1 400 ")
                || said.matches("HTTP/1.1 ").count() != 1
                || server.service.calls.get() != before
            {
                wrong.push(format!(
                    "{:?} was answered {:?}",
                    &bytes[..bytes.len() - hidden.len()],
                    said.lines().next()
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// The bytes of one head may come in any packets; what is framed twice is refused or at least ends the connection.
#[test]
fn framed_twice_byte_by_byte() {
    in_worker(async {
        let server = Server::start(Options::default());
        let mut client = server.raw().await;
        for byte in
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".bytes()
        {
            client.send([byte]).await;
        }
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.closes()), (400, true));
        client.closed().await;
    });
}

#[test]
fn a_body_that_nobody_reads_is_never_taken_for_a_request() {
    in_worker(async {
        let server = Server::start(Options::default());
        let hidden = "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n";
        for (method, sent) in [("GET", hidden.len()), ("POST", 1_000_000)] {
            let mut client = server.raw().await;
            let head = format!("{method} /deaf HTTP/1.1\r\nHost: test\r\nContent-Length: {sent}\r\n\r\n");
            client.send(head).await;
            let calls = server.service.calls.get();
            server.called(calls + 1).await;
            client.send(hidden.repeat(sent / hidden.len())).await;
            let said = String::from_utf8(client.ended().await).unwrap();
            assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
            assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
            assert_eq!(server.service.calls.get(), calls + 1);
        }
    });
}

impl Raw {
    /// Closes our side too, so that a connection that is kept alive ends as well.
    async fn ended(&mut self) -> Vec<u8> {
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut self.io).await;
        self.closed().await
    }
}

#[test]
fn a_full_worker_closes_at_once_and_recovers() {
    in_worker(async {
        let server = Server::start(Options { max_connections: 2, ..Options::default() });
        let mut first = server.raw().await;
        let mut second = server.raw().await;
        assert_eq!((first.get("/").await.status, second.get("/").await.status), (200, 200));
        assert_eq!(server.raw().await.closed().await, b"");
        assert_eq!((server.closed(CloseReason::TooMany), server.counters.accepted()), (1, 2));
        assert_eq!(first.get("/").await.status, 200);
        drop(first);
        server.open(1).await;
        assert_eq!(server.raw().await.get("/").await.status, 200);
    });
}
