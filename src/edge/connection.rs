//! One connection, from accept to close: PROXY header, TLS, protocol, requests, and an end that lets the last answer arrive.

use std::{
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    admit::{self, Refusal},
    counters::CloseReason,
    guard::FrameGuard,
    head::{self, HeadWatch},
    life::{Life, Phase},
    proxy::Parsed,
    socket::Socket,
    tls::TlsHandle,
    watched::{Stream, Watched},
    worker::{BodyWait, Registered},
};
use crate::core::limits;

/// Answers requests. A clone is made for each connection; nothing leaves the worker's thread.
pub trait Service: Clone + 'static {
    fn call(&self, request: Request<Incoming>, peer: &Rc<Peer>) -> impl Future<Output = Response<Full<Bytes>>>;
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address, or what the PROXY header says; IPv4 is never IPv4-mapped IPv6.
    pub address: SocketAddr,
    /// Whether the client speaks TLS with us.
    pub tls: bool,
}

/// What a listener's clients speak first.
#[derive(Clone, Debug)]
pub enum Kind {
    Clear,
    Tls(TlsHandle),
}

/// hyper's settings, made once a worker.
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<LocalExecutor>,
}

/// Everything a connection needs beside its socket.
pub(super) struct Settings<S> {
    pub(super) service: S,
    pub(super) protocols: Rc<Protocols>,
    pub(super) kind: Kind,
    pub(super) proxy_protocol: bool,
}

/// One connection's requests have this in common.
struct Shared<S> {
    service: S,
    peer: Rc<Peer>,
    life: Rc<Life>,
}

/// Runs the connection to its end.
pub(super) async fn run<S: Service>(tcp: TcpStream, from: SocketAddr, place: Registered, settings: Rc<Settings<S>>) {
    let life = Rc::clone(place.life());
    // Whatever is wrong with a connection concerns its client only; what operators need to know is counted by reason.
    let _ = serve(Socket::new(tcp), from, &life, &settings).await;
}

async fn serve<S: Service>(
    mut socket: Socket,
    from: SocketAddr,
    life: &Rc<Life>,
    settings: &Settings<S>,
) -> io::Result<()> {
    let mut address = SocketAddr::new(from.ip().to_canonical(), from.port());
    if settings.proxy_protocol {
        match until_ended(life, socket.proxy_header()).await?? {
            Some(Ok(Parsed::Header { source: Some(source), .. })) => {
                address = SocketAddr::new(source.ip().to_canonical(), source.port());
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                life.end(CloseReason::ProxyHeader);
                tracing::debug!(%from, "{error}");
                return Ok(());
            }
            None => return Ok(()),
        }
    }
    let shared = |tls| {
        let (service, life) = (settings.service.clone(), Rc::clone(life));
        Rc::new(Shared { service, peer: Rc::new(Peer { address, tls }), life })
    };
    match &settings.kind {
        Kind::Clear => match until_ended(life, socket.is_http2()).await?? {
            Some(true) => Box::pin(serve_http2(socket, &settings.protocols, shared(false))).await,
            Some(false) => serve_http1(socket, &settings.protocols, shared(false)).await,
            None => Ok(()),
        },
        Kind::Tls(handle) => {
            life.enter(Phase::Handshake);
            let handshake = TlsAcceptor::from(handle.current()).accept(socket);
            let tls =
                Box::new(until_ended(life, handshake).await?.inspect_err(|_| life.end(CloseReason::HandshakeFailed))?);
            life.enter(Phase::Preface);
            if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
                Box::pin(serve_http2(tls, &settings.protocols, shared(true))).await
            } else {
                Box::pin(serve_http1(tls, &settings.protocols, shared(true))).await
            }
        }
    }
}

/// The future's result, unless the connection has to end before; then dropping the socket closes it.
async fn until_ended<T>(life: &Life, future: impl Future<Output = T>) -> io::Result<T> {
    let mut future = pin!(future);
    life.until_ended(|cx| future.as_mut().poll(cx)).await.map_err(|reason| io::Error::other(reason.tag()))
}

// === HTTP/1 ===

async fn serve_http1<S: Service, IO: Stream>(io: IO, protocols: &Protocols, shared: Rc<Shared<S>>) -> io::Result<()> {
    let life = Rc::clone(&shared.life);
    let service = service_fn(move |request| answer_http1(&shared, request));
    let watched = TokioIo::new(Watched::new(io, Rc::clone(&life), HeadWatch));
    let mut connection = protocols.http1.serve_connection(watched, service);
    let ended = life.until_ended(|cx| Pin::new(&mut connection).poll(cx)).await;
    let parts = connection.into_parts();
    let mut watched = parts.io.into_inner();
    let (answer, sending) = match ended {
        // hyper has no answer to these two.
        Err(CloseReason::Head) => (Some(Refusal::Late), true),
        Ok(_) if life.refusal.get().is_some() => (life.refusal.get(), true),
        Ok(Err(error)) if error.is_parse() => {
            life.worker.counters.count_closed(CloseReason::Refused);
            (None, true)
        }
        Ok(_) => (None, life.may_be_sending() || !parts.read_buf.is_empty()),
        Err(_) => return Ok(()),
    };
    if life.worker.is_forced() {
        return Ok(());
    }
    life.enter(Phase::Closing);
    // Behind half an answer nothing of ours would be understood.
    let answer = answer.filter(|_| !life.is_write_blocked());
    let close = close(&mut watched.io, answer, sending);
    timeout(life.worker.deadlines.linger, close).await.unwrap_or(Ok(()))
}

/// Writes the last answer and closes so that it arrives: what the client still sends is read for a while, since the kernel answers
/// unread bytes with a reset, and a reset destroys what the client has not read yet (RFC 9112 §9.6).
async fn close<IO: Stream>(io: &mut IO, answer: Option<Refusal>, sending: bool) -> io::Result<()> {
    if let Some(answer) = answer {
        io.write_all(answer.raw().as_bytes()).await?;
    }
    io.shutdown().await?;
    let mut rest = [0; 2_048];
    while sending && io.read(&mut rest).await? > 0 {}
    Ok(())
}

/// hyper calls this while it parses, so what happens before the future begins still finds the head's bytes as they came.
fn answer_http1<S: Service>(
    shared: &Rc<Shared<S>>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> + use<S> {
    let shared = Rc::clone(shared);
    let has_body = !request.body().is_end_stream();
    let sizes_known = shared.life.head_is_small();
    let admitted = admit::check(&request, sizes_known, || head::is_framed_twice(&shared.life));
    shared.life.request_begins(has_body);
    async move {
        let life = &shared.life;
        let mut response = match admitted {
            Ok(()) => {
                let wait = has_body.then(|| life.worker.body_wait());
                let mut call = pin!(shared.service.call(request, &shared.peer));
                let late = || refuse_http1(life, Refusal::Late, CloseReason::Body);
                poll_fn(|cx| poll_in_time(wait.as_deref(), call.as_mut(), cx, late)).await
            }
            Err(refusal) => refuse_http1(life, refusal, CloseReason::Refused),
        };
        if life.said_close() || life.worker.is_draining() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        life.request_ends();
        Ok(response)
    }
}

#[cold]
fn refuse_http1(life: &Life, refusal: Refusal, reason: CloseReason) -> Response<Full<Bytes>> {
    life.worker.counters.count_closed(reason);
    life.say_close();
    refusal.response()
}

/// The service's answer, or `late` when the request's body has not arrived in time.
fn poll_in_time<F: Future>(
    wait: Option<&BodyWait>,
    call: Pin<&mut F>,
    cx: &mut Context<'_>,
    late: impl FnOnce() -> F::Output,
) -> Poll<F::Output> {
    match wait {
        Some(wait) if wait.poll_expired(cx) => Poll::Ready(late()),
        _ => call.poll(cx),
    }
}

// === HTTP/2 ===

async fn serve_http2<S: Service, IO: Stream>(io: IO, protocols: &Protocols, shared: Rc<Shared<S>>) -> io::Result<()> {
    let life = Rc::clone(&shared.life);
    let watched = TokioIo::new(Watched::new(io, Rc::clone(&life), FrameGuard::new()));
    let service = service_fn(move |request| answer_http2(&shared, request));
    let mut connection = pin!(protocols.http2.serve_connection(watched, service));
    let mut told = false;
    let ended = life
        .until_ended(|cx| {
            if !told && life.worker.is_draining() {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(cx)
        })
        .await;
    match ended {
        Ok(ended) => ended.map_err(io::Error::other),
        // Nobody waits for anything: time for a GOAWAY, so that the client opens a new connection for its next request.
        Err(CloseReason::Idle | CloseReason::Drain) if !life.worker.is_forced() => {
            if !told {
                connection.as_mut().graceful_shutdown();
            }
            timeout(life.worker.deadlines.linger, connection)
                .await
                .map_or(Ok(()), |ended| ended.map_err(io::Error::other))
        }
        Err(_) => Ok(()),
    }
}

fn answer_http2<S: Service>(
    shared: &Rc<Shared<S>>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Answer>, Infallible>> + use<S> {
    let (shared, stream) = (Rc::clone(shared), OpenStream::new(&shared.life));
    let has_body = !request.body().is_end_stream();
    let admitted = admit::check(&request, false, || false);
    async move {
        let response = match admitted {
            Ok(()) => {
                let wait = has_body.then(|| shared.life.worker.body_wait());
                let mut call = pin!(shared.service.call(request, &shared.peer));
                poll_fn(|cx| poll_in_time(wait.as_deref(), call.as_mut(), cx, || Refusal::Late.response())).await
            }
            Err(refusal) => refusal.response(),
        };
        Ok(response.map(|body| Answer::new(body, stream)))
    }
}

/// A stream from its request to its answer's last byte, or to its reset.
struct OpenStream(Rc<Life>);

impl OpenStream {
    fn new(life: &Rc<Life>) -> OpenStream {
        life.stream_begins();
        OpenStream(Rc::clone(life))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.stream_ends();
    }
}

/// An answer's body: hyper drops it when the client's window has taken the last byte.
struct Answer {
    body: Full<Bytes>,
    stream: OpenStream,
}

impl Answer {
    fn new(body: Full<Bytes>, stream: OpenStream) -> Answer {
        stream.0.answer_begins();
        Answer { body, stream }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.stream.0.answer_ends();
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs HTTP/2 streams beside their connection, on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

// === impl Protocols ===

impl Protocols {
    pub(super) fn new() -> Rc<Protocols> {
        let mut http1 = http1::Builder::new();
        // Deadlines are ours (see `worker`); hyper's would take a timer for each head. Its bounds of a head stand behind ours (see `head`), its
        // 100 header fields are its default, which it keeps without an allocation only when nobody sets it.
        http1
            .header_read_timeout(None)
            // A client that has said all may listen on (RFC 9112 §9.6), and what it asked is recorded anyway. Looking for its end while we
            // work would also cost a read and a new buffer for each request.
            .half_close(true)
            .max_header_size(limits::REQUEST_LINE_MAX_BYTES + limits::HEAD_MAX_BYTES + 4)
            .max_buf_size(limits::REQUEST_LINE_MAX_BYTES + limits::HEAD_MAX_BYTES + 1_024);
        let mut http2 = http2::Builder::new(LocalExecutor);
        http2
            .max_concurrent_streams(limits::H2_STREAMS_MAX)
            .max_header_list_size(limits::HEAD_MAX_BYTES as u32)
            .initial_stream_window_size(limits::H2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::H2_CONNECTION_WINDOW_BYTES)
            .max_pending_accept_reset_streams(limits::H2_PENDING_RESETS_MAX)
            .max_local_error_reset_streams(limits::H2_PENDING_RESETS_MAX)
            .max_send_buf_size(limits::H2_SEND_BUFFER_BYTES);
        Rc::new(Protocols { http1, http2 })
    }
}

const _: () = assert!(limits::HEADERS_MAX == 100, "hyper's default, see Protocols::new");

impl fmt::Debug for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocols")
    }
}
