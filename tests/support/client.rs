//! A small blocking HTTP/1.1 client: what a browser sends, one connection kept alive.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

pub const BROWSER: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36";

/// A connection that is kept alive.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
    pub address: SocketAddr,
}

#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// `fp=VALUE` of Set-Cookie.
    pub fn cookie(&self) -> Option<&str> {
        self.header("set-cookie").and_then(|value| value.split(';').next())
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Client { reader: BufReader::new(stream), address })
    }

    /// A GET as a browser sends it.
    pub fn get(&mut self, path: &str) -> std::io::Result<Response> {
        self.send("GET", path, &[("User-Agent", BROWSER)], b"")
    }

    /// Any request. Host is added where it is missing, and Content-Length where there is a body.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str("Host: r.example\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.reader.get_mut().write_all(&bytes)?;
        self.read(method == "HEAD")
    }

    /// Reads one response.
    pub fn read(&mut self, head_only: bool) -> std::io::Result<Response> {
        let ended = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(ended());
        }
        let status = line.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(ended)?;
        let mut response = Response { status, ..Response::default() };
        loop {
            line.clear();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(ended());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            response.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if head_only || status == 204 || status == 304 {
            return Ok(response);
        }
        match response.header("content-length").map(str::to_owned) {
            Some(length) => {
                response.body = vec![0; length.parse().map_err(|_| ended())?];
                self.reader.read_exact(&mut response.body)?;
            }
            None if response.header("transfer-encoding") == Some("chunked") => self.read_chunks(&mut response.body)?,
            None => {
                self.reader.read_to_end(&mut response.body)?;
            }
        }
        Ok(response)
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> std::io::Result<()> {
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
            let start = body.len();
            body.resize(start + size + 2, 0);
            self.reader.read_exact(&mut body[start..])?;
            body.truncate(start + size);
            if size == 0 {
                return Ok(());
            }
        }
    }
}

/// One GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Response {
    Client::connect(address)
        .and_then(|mut client| client.get(path))
        .unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

/// One request to the control API.
pub fn api(address: SocketAddr, token: &str, method: &str, path: &str, body: &serde_json::Value) -> Response {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    Client::connect(address)
        .and_then(|mut client| client.send(method, path, &headers, &body))
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// The value of a metric line that starts with `name` (labels included).
pub fn metric(ops: SocketAddr, name: &str) -> Option<f64> {
    let text = get(ops, "/metrics").text();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}
