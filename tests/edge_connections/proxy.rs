//! The PROXY protocol on a listener that demands it.

use fingerpost::edge::{counters::CloseReason, listener::Kind};

use super::{
    Options, Server,
    http_client::{Http2, Raw},
    in_worker, tls,
};

fn demanded() -> Server {
    Server::start(Options { proxy_protocol: true, ..Options::default() })
}

/// A version 2 header of an IPv4 client, 192.0.2.7:1000, with a TLV behind the addresses.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xc0\0\x02\x07\x0a\0\0\x01\x03\xe8\0\x50\x04\0\x02ab";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[test]
fn the_client_is_whom_the_header_names() {
    in_worker(async {
        let server = demanded();
        let headers: [(&[u8], Option<&str>); 6] = [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 1000 80\r\n", Some("192.0.2.7:1000")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 1000 80\r\n", Some("[2001:db8::7]:1000")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1000 80\r\n", Some("192.0.2.7:1000")),
            (b"PROXY UNKNOWN\r\n", None),
            (BINARY, Some("192.0.2.7:1000")),
            (LOCAL, None),
        ];
        for (header, named) in headers {
            for cut in [0, 1, header.len() - 1, header.len()] {
                let mut client = server.raw().await;
                let own = client.io.local_addr().unwrap().to_string();
                client.send(&header[..cut]).await;
                tokio::task::yield_now().await;
                client.send([&header[cut..], b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n"].concat()).await;
                let text = client.answer().await.unwrap().text();
                assert_eq!(text, format!("GET /a {} false 0", named.unwrap_or(&own)), "{header:?} cut at {cut}");
                assert_eq!(client.get("/b").await.status, 200);
            }
        }
    });
}

#[test]
fn without_a_header_nobody_is_served() {
    in_worker(async {
        let server = demanded();
        let openings: [&[u8]; 4] = [
            b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
            b"PROXY TCP4 nobody 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
            b"\x16\x03\x01\x02\x00",
        ];
        for opening in openings {
            let mut client = server.raw().await;
            client.send(opening).await;
            assert_eq!(client.closed().await, b"");
        }
        assert_eq!(server.closed(CloseReason::ProxyHeader), 4);
        assert_eq!(server.service.calls.get(), 0);
        // And where none is demanded, none is believed.
        let server = Server::start(Options::default());
        let mut client = server.raw().await;
        client.send(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
        assert_eq!(client.answer().await.unwrap().status, 400);
    });
}

#[test]
fn tls_and_http2_behind_a_header() {
    in_worker(async {
        let folder = tls::Folder::new();
        let kind = Kind::Tls(folder.handle(&["one.example"]));
        let server = Server::start(Options { proxy_protocol: true, kind, ..Options::default() });
        let mut tcp = server.raw().await;
        tcp.send(BINARY).await;
        let mut client = Raw::over(folder.handshake(tcp.io, "one.example", &[]).await.unwrap());
        assert_eq!(client.get("/").await.text(), "GET / 192.0.2.7:1000 true 0");

        let server = demanded();
        let mut tcp = server.raw().await;
        tcp.send(BINARY).await;
        let (_, body) = Http2::over(tcp.io).await.get("/").await.unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), "GET http://test/ 192.0.2.7:1000 false 0");
    });
}
