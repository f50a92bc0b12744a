//! HTTP/2: good clients, malformed requests, floods.

use bytes::Bytes;
use fingerpost::{
    core::limits::{H2_STREAMS_MAX, HEAD_MAX_BYTES, REQUEST_LINE_MAX_BYTES},
    edge::counters::CloseReason,
};
use tokio::task::spawn_local;

use super::{
    BIG, Options, Server,
    http_client::{frame::*, patiently},
    in_worker,
};

#[test]
fn prior_knowledge() {
    in_worker(async {
        let server = Server::start(Options::default());
        let client = server.http2().await;
        // Who asks before the server's SETTINGS have come may be refused some streams.
        assert_eq!(client.get("/first").await.unwrap().0, 200);
        let asking: Vec<_> = (0..300)
            .map(|number| {
                let client = client.clone();
                spawn_local(async move { client.get(&format!("/{number}")).await.unwrap() })
            })
            .collect();
        for (number, asked) in asking.into_iter().enumerate() {
            let (status, body) = asked.await.unwrap();
            assert_eq!(status, 200);
            assert!(String::from_utf8(body).unwrap().starts_with(&format!("GET http://test/{number} ")));
        }
        let post = http::Request::post("http://test/e").body(Bytes::from(vec![b'x'; 40_000])).unwrap();
        let (status, body) = client.send(post).await.unwrap();
        assert!(status == 200 && body.ends_with(b" 40000"), "more than one window");
        let (status, body) = client.get("/big").await.unwrap();
        assert_eq!((status, body.len()), (200, BIG));
    });
}

#[test]
fn sizes_and_hosts() {
    in_worker(async {
        let server = Server::start(Options::default());
        let client = server.http2().await;
        let get = |uri: String, field: Option<(&str, String)>| {
            let mut request = http::Request::get(uri);
            if let Some((name, value)) = field {
                request = request.header(name, value);
            }
            request.body(Bytes::new()).unwrap()
        };
        let path = |length: usize| format!("http://test/{}", "x".repeat(length - "GET / HTTP/1.1".len()));
        let cases = [
            (get(path(REQUEST_LINE_MAX_BYTES), None), 200),
            (get(path(REQUEST_LINE_MAX_BYTES + 1), None), 414),
            (get("http://test/".into(), Some(("x", "x".repeat(HEAD_MAX_BYTES - 1_000)))), 200),
            (get("http://test/".into(), Some(("x", "x".repeat(HEAD_MAX_BYTES)))), 431),
            (get("http://test/".into(), Some(("host", "test".into()))), 200),
            (get("http://test/".into(), Some(("host", "other".into()))), 400),
            (get("http://user@test/".into(), None), 400),
        ];
        for (request, expected) in cases {
            let shown = format!("{:.80}", request.uri());
            let (status, _) = client.send(request).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
            assert_eq!(status, expected, "{shown}");
        }
        assert_eq!(server.service.calls.get(), 3);
    });
}

/// The frames that the server sends until it closes or `enough` says so: kind, flags, stream, payload.
async fn frames(raw: &mut super::Raw, enough: impl Fn(&[Frame]) -> bool) -> Vec<Frame> {
    let mut bytes = Vec::new();
    let mut frames = Vec::new();
    loop {
        while bytes.len() >= 9 {
            let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
            if bytes.len() < 9 + length {
                break;
            }
            let frame: Vec<u8> = bytes.drain(..9 + length).collect();
            let stream = u32::from_be_bytes(frame[5..9].try_into().unwrap());
            frames.push(Frame { kind: frame[3], stream, payload: frame[9..].to_vec() });
        }
        if enough(&frames) {
            return frames;
        }
        let read = patiently("frames", tokio::io::AsyncReadExt::read_buf(&mut raw.io, &mut bytes)).await;
        if !read.is_ok_and(|read| read > 0) {
            return frames;
        }
    }
}

struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

#[test]
fn a_request_without_authority() {
    in_worker(async {
        let server = Server::start(Options::default());
        let mut client = server.raw().await;
        // :method GET, :scheme http, :path /, nothing else; then the same with a Host field, as a gateway may send it.
        client.send([opening(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x82, 0x86, 0x84])].concat()).await;
        let answers = frames(&mut client, |frames| frames.iter().any(|frame| frame.kind == HEADERS)).await;
        let answer = answers.iter().find(|frame| frame.kind == HEADERS).unwrap();
        // 0x8c: `:status 400` in HPACK's static table; 0x88: 200.
        assert_eq!((answer.stream, answer.payload[0]), (1, 0x8c));
        let with_host = [&[0x82, 0x86, 0x84, 0x0f, 38 - 15, 4][..], b"test"].concat();
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, &with_host)).await;
        let answers = frames(&mut client, |frames| frames.iter().any(|frame| frame.kind == HEADERS)).await;
        let answer = answers.iter().find(|frame| frame.kind == HEADERS).unwrap();
        assert_eq!((answer.stream, answer.payload[0]), (3, 0x88));
    });
}

/// Sends the frame again and again until the server ends the connection; a good client is served afterwards.
async fn floods(what: &str, opening: Vec<u8>, mut next: impl FnMut(u32) -> Vec<u8>) -> Server {
    let server = Server::start(Options::default());
    let good = server.http2().await;
    let raw = server.raw().await;
    let (mut reader, mut writer) = raw.io.into_split();
    // Who floods and does not read would be stopped by back-pressure alone.
    spawn_local(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
    let ended = async {
        tokio::io::AsyncWriteExt::write_all(&mut writer, &opening).await?;
        for number in 0..200_000 {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &next(number)).await?;
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    assert!(patiently(what, ended).await.is_err(), "{what}: 200,000 frames were taken");
    assert_eq!(good.get("/good").await.unwrap().0, 200, "{what}");
    server.open(1).await;
    server
}

#[test]
fn floods_end_the_connection_early() {
    in_worker(async {
        let control = [
            ("PING", frame(PING, 0, 0, &[0; 8])),
            ("PING acknowledgements", frame(PING, 1, 0, &[0; 8])),
            ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
            ("SETTINGS with values", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
            ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
            ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
            ("unknown frames", frame(0xbb, 0, 0, b"?")),
        ];
        for (what, bytes) in control {
            let server = floods(what, opening(), |_| bytes.clone()).await;
            assert_eq!(server.closed(CloseReason::Flood), 1, "{what}");
        }
    });
}

#[test]
fn empty_data_and_endless_headers() {
    in_worker(async {
        let post = [&[0x83, 0x86, 0x84, 0x01, 4][..], b"test"].concat();
        let open = [opening(), frame(HEADERS, END_HEADERS, 1, &post)].concat();
        floods("empty DATA", open, |_| frame(DATA, 0, 1, &[])).await;
        let open = [opening(), frame(HEADERS, END_STREAM, 1, &get_block())].concat();
        floods("empty CONTINUATION", open.clone(), |_| frame(CONTINUATION, 0, 1, &[])).await;
        // A literal field without indexing: `x: y`.
        floods("CONTINUATION", open, |_| frame(CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y'].repeat(100))).await;
    });
}

#[test]
fn rapid_reset() {
    in_worker(async {
        let server = floods("rapid reset", opening(), |number| {
            let stream = 2 * number + 1;
            [get(stream), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
        })
        .await;
        assert!(server.service.calls.get() < 1_000, "{} requests were served", server.service.calls.get());
    });
}

#[test]
fn more_streams_than_allowed_are_refused() {
    in_worker(async {
        let server = Server::start(Options::default());
        let mut client = server.raw().await;
        let slow = [&[0x82, 0x86, 0x01, 4][..], b"test", &[0x04, 5], b"/slow"].concat();
        let asked: Vec<u8> = (0..H2_STREAMS_MAX + 5)
            .flat_map(|number| frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &slow))
            .collect();
        client.send([opening(), asked].concat()).await;
        let refused = |frames: &[Frame]| frames.iter().filter(|frame| frame.kind == RST_STREAM).count();
        let answers = frames(&mut client, |frames| refused(frames) == 5).await;
        assert_eq!(refused(&answers), 5);
        server.called(H2_STREAMS_MAX).await;
        drop(client);
        server.open(0).await;
    });
}

/// A service future ends with its stream: nothing is left of a client that went away.
#[test]
fn streams_end_with_their_connection() {
    in_worker(async {
        let server = Server::start(Options::default());
        let client = server.http2().await;
        let asked = {
            let client = client.clone();
            spawn_local(async move { client.get("/slow").await })
        };
        server.called(1).await;
        assert_eq!(server.service.busy.get(), 1);
        asked.abort();
        drop(client);
        server.open(0).await;
        server.until("the stream's end", || server.service.busy.get() == 0).await;
    });
}
