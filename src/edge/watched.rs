//! The socket as hyper sees it: what passes is watched, and a client that does not read is noticed.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{counters::CloseReason, life::Life};

/// Looks at what arrives.
pub(super) trait Watch {
    /// Whether hyper's end of the connection closes the socket. If not, the socket is still ours afterwards.
    const CLOSES_SOCKET: bool;
    /// Before more is read: an error ends the connection.
    fn before_read(&mut self, life: &Life) -> io::Result<()>;
    /// The bytes that were read, never none.
    fn after_read(&mut self, life: &Life, chunk: &[u8]) -> io::Result<()>;
}

/// What HTTP runs on: the socket itself, or TLS on it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Makes the close a reset: the kernel throws away what a client does not read, instead of keeping it for minutes.
    fn reset_on_close(&self);
}

pub(super) struct Watched<IO: Stream, W> {
    pub(super) io: IO,
    life: Rc<Life>,
    watch: W,
}

impl<IO: Stream, W> Watched<IO, W> {
    pub(super) fn new(io: IO, life: Rc<Life>, watch: W) -> Watched<IO, W> {
        Watched { io, life, watch }
    }
}

impl<IO: Stream, W> Drop for Watched<IO, W> {
    fn drop(&mut self) {
        if self.life.ending() == Some(CloseReason::Write) {
            self.io.reset_on_close();
        }
    }
}

impl<IO: Stream, W: Watch + Unpin> AsyncRead for Watched<IO, W> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.watch.before_read(&this.life)?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let chunk = &buf.filled()[before..];
        if !chunk.is_empty() {
            this.watch.after_read(&this.life, chunk)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: Stream, W: Watch + Unpin> AsyncWrite for Watched<IO, W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.life.notice(Pin::new(&mut this.io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // An answer without a body is one buffer, and the kernel takes that cheaper without the list.
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        let this = self.get_mut();
        this.life.notice(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = this.life.notice(Pin::new(&mut this.io).poll_flush(cx));
        if flushed.is_ready() {
            this.life.write_flushed();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if W::CLOSES_SOCKET { Pin::new(&mut self.get_mut().io).poll_shutdown(cx) } else { self.poll_flush(cx) }
    }
}

impl Life {
    fn notice<T>(&self, written: Poll<T>) -> Poll<T> {
        if written.is_pending() {
            self.write_blocked();
        }
        written
    }
}
