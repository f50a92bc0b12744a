//! Test clients for HTTP: raw HTTP/1 over any stream, so that a test decides about each byte, and HTTP/2 through the `h2` crate. Every wait
//! has an end: a test that would hang fails.

// Each test program uses its own part of it.
#![allow(dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::{future::Future, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The future's result, or a failed test.
pub(crate) async fn patiently<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing for {PATIENCE:?}"))
}

/// An HTTP/1 response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in order.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection of which the test writes every byte.
#[derive(Debug)]
pub(crate) struct Raw<IO = TcpStream> {
    pub(crate) io: IO,
    unread: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Raw {
        let io = patiently("connect", TcpStream::connect(address)).await.expect("connects");
        io.set_nodelay(true).expect("a socket option");
        Raw::over(io)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Raw<IO> {
    pub(crate) fn over(io: IO) -> Raw<IO> {
        Raw { io, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the server takes the bytes");
    }

    /// For what the server may well refuse by closing.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        patiently("send", async {
            self.io.write_all(bytes.as_ref()).await?;
            self.io.flush().await
        })
        .await
    }

    /// A GET over this connection.
    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        self.answer().await.expect("an answer")
    }

    /// The next response; `None` when the connection ended before one began.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            if !self.read_more("a response's head").await {
                assert!(self.unread.is_empty(), "cut: {}", String::from_utf8_lossy(&self.unread));
                return None;
            }
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).take(end).collect()).expect("a head is text");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {head}"));
        let fields: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("no field: {line}")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, fields, body: Vec::new() };
        let length = answer.field("content-length").map_or(0, |length| length.parse().expect("a length"));
        while self.unread.len() < length {
            assert!(self.read_more("a response's body").await, "the body is cut");
        }
        answer.body = self.unread.drain(..length).collect();
        Some(answer)
    }

    /// Waits for the server to close, by end or reset, and gives what it said before.
    pub(crate) async fn closed(&mut self) -> Vec<u8> {
        while self.read_more("the close").await {}
        std::mem::take(&mut self.unread)
    }

    /// Whether the server has closed, without waiting. What it has said is thrown away.
    pub(crate) async fn is_closed_now(&mut self) -> bool {
        let mut said = [0; 4_096];
        tokio::select! {
            biased;
            read = self.io.read(&mut said) => !matches!(read, Ok(n) if n > 0),
            () = tokio::task::yield_now() => false,
        }
    }

    async fn read_more(&mut self, what: &str) -> bool {
        let read = patiently(what, self.io.read_buf(&mut self.unread)).await;
        read.is_ok_and(|read| read > 0)
    }
}

/// An HTTP/2 client that behaves.
#[derive(Clone, Debug)]
pub(crate) struct Http2 {
    requests: h2::client::SendRequest<Bytes>,
}

impl Http2 {
    /// Over a connected stream. Must run in a `LocalSet`.
    pub(crate) async fn over<IO: AsyncRead + AsyncWrite + Unpin + 'static>(io: IO) -> Http2 {
        let (requests, connection) = patiently("HTTP/2 handshake", h2::client::handshake(io)).await.expect("HTTP/2");
        tokio::task::spawn_local(async move {
            // The test notices by its requests when the connection ends.
            let _ = connection.await;
        });
        Http2 { requests }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Http2 {
        Http2::over(patiently("connect", TcpStream::connect(address)).await.expect("connects")).await
    }

    pub(crate) async fn get(&self, target: &str) -> Result<(u16, Vec<u8>), h2::Error> {
        let uri = format!("http://test{target}");
        self.send(http::Request::get(uri).version(http::Version::HTTP_2).body(Bytes::new()).expect("a request")).await
    }

    /// A whole request, a whole answer.
    pub(crate) async fn send(&self, request: http::Request<Bytes>) -> Result<(u16, Vec<u8>), h2::Error> {
        patiently("HTTP/2 request", async {
            let (head, body) = request.into_parts();
            let mut requests = self.requests.clone().ready().await?;
            let (answer, mut stream) = requests.send_request(http::Request::from_parts(head, ()), body.is_empty())?;
            if !body.is_empty() {
                stream.send_data(body, true)?;
            }
            let (head, mut body) = answer.await?.into_parts();
            let mut bytes = Vec::new();
            while let Some(data) = body.data().await {
                let data = data?;
                let _ = body.flow_control().release_capacity(data.len());
                bytes.extend_from_slice(&data);
            }
            Ok((head.status.as_u16(), bytes))
        })
        .await
    }
}

/// Raw HTTP/2 frames, RFC 9113 §4.1.
pub(crate) mod frame {
    pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;

    pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// Preface and empty SETTINGS: what every client sends first.
    pub(crate) fn opening() -> Vec<u8> {
        [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
    }

    /// `GET / http://test` in HPACK without the dynamic table.
    pub(crate) fn get_block() -> Vec<u8> {
        [&[0x82, 0x86, 0x84, 0x01, 4][..], b"test"].concat()
    }

    /// A whole GET on a stream.
    pub(crate) fn get(stream: u32) -> Vec<u8> {
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &get_block())
    }
}
