//! A TCP connection with the bytes that were read ahead of it: to find the PROXY header and the protocol, some must be read before
//! it is known whose they are. (Peeking does not do: it would spin on the first half of a header.)

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{
    guard::PREFACE,
    proxy::{self, Parsed},
    watched::Stream,
};

/// Room for what a client sends at first, bytes; grows when a PROXY header needs more.
const AHEAD_BYTES: usize = 2_048;

pub(super) struct Socket {
    tcp: TcpStream,
    ahead: BytesMut,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream) -> Socket {
        Socket { tcp, ahead: BytesMut::new() }
    }

    /// Reads more ahead; false at the end.
    async fn read_ahead(&mut self) -> io::Result<bool> {
        self.ahead.reserve(AHEAD_BYTES);
        Ok(self.tcp.read_buf(&mut self.ahead).await? > 0)
    }

    /// Takes the PROXY header off; `None` when the client went away before it was whole.
    pub(super) async fn proxy_header(&mut self) -> io::Result<Option<Result<Parsed, proxy::ProxyError>>> {
        loop {
            match proxy::parse(&self.ahead) {
                Ok(Parsed::Incomplete) => {}
                Ok(parsed @ Parsed::Header { length, .. }) => {
                    self.ahead.advance(length);
                    return Ok(Some(Ok(parsed)));
                }
                Err(error) => return Ok(Some(Err(error))),
            }
            if !self.read_ahead().await? {
                return Ok(None);
            }
        }
    }

    /// Whether the client speaks HTTP/2 with prior knowledge; `None` when it went away before it said anything.
    pub(super) async fn is_http2(&mut self) -> io::Result<Option<bool>> {
        loop {
            let common = self.ahead.len().min(PREFACE.len());
            if self.ahead[..common] != PREFACE[..common] {
                return Ok(Some(false));
            }
            if common == PREFACE.len() {
                return Ok(Some(true));
            }
            if !self.read_ahead().await? {
                return Ok((common > 0).then_some(false));
            }
        }
    }
}

impl Stream for Socket {
    fn reset_on_close(&self) {
        let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
    }
}

impl Stream for Box<TlsStream<Socket>> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return Pin::new(&mut this.tcp).poll_read(cx, buf);
        }
        let length = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead[..length]);
        this.ahead.advance(length);
        if this.ahead.is_empty() {
            // Gives the memory back.
            this.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
