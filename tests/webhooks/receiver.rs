//! A receiver of webhooks: a real HTTP or HTTPS server that keeps every request and answers as it is told.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::PrivateKeyDer;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::PATIENCE;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn id(&self) -> String {
        self.header("webhook-id")
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// `data.n` of the events that these tests write.
    pub(crate) fn n(&self) -> i64 {
        self.json()["data"]["n"].as_i64().unwrap_or(-1)
    }

    /// By the reference library.
    pub(crate) fn verifies(&self, secret: &str) -> bool {
        Webhook::new(secret).unwrap().verify(&self.body, &self.headers).is_ok()
    }
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Status(u16),
    /// 503, with Retry-After in seconds.
    Later(u32),
    /// 302 to there.
    Redirect(String),
    /// This status with that many bytes.
    Long(u16, usize),
    /// Nothing at all.
    Silence,
}

type Rule = Box<dyn Fn(&Received, usize) -> Reply + Send>;

struct State {
    received: Vec<Received>,
    /// Used up one by one; then the rule.
    script: VecDeque<Reply>,
    rule: Rule,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Shared,
    _runtime: tokio::runtime::Runtime,
}

/// A certificate for `localhost` that signed itself: who serves it, and the file that makes others believe it.
pub(crate) struct Tls {
    pub(crate) ca_file: PathBuf,
    pub(crate) acceptor: TlsAcceptor,
}

impl Tls {
    pub(crate) fn new(folder: &Path) -> Tls {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let ca_file = folder.join("authority.pem");
        std::fs::write(&ca_file, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Tls { ca_file, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

impl Receiver {
    /// Answers 200 to everything.
    pub(crate) fn start() -> Receiver {
        Receiver::over(None)
    }

    pub(crate) fn over(tls: Option<TlsAcceptor>) -> Receiver {
        let state = State { received: Vec::new(), script: VecDeque::new(), rule: Box::new(|_, _| Reply::Status(200)) };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, tls, Arc::clone(&state)));
        Receiver { address, state, _runtime: runtime }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, under the machine's own name.
    pub(crate) fn url_by_name(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://localhost:{}{path}", self.address.port())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next requests are answered so, one by one; those behind them by the rule.
    pub(crate) fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.lock().script.extend(replies);
    }

    /// `rule` gets the request, and how many came with its `webhook-id` before.
    pub(crate) fn rule(&self, rule: impl Fn(&Received, usize) -> Reply + Send + 'static) {
        self.lock().rule = Box::new(rule);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.lock().received.clone()
    }

    /// Waits until what has come is enough.
    pub(crate) fn wait(&self, what: &str, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        while !enough(&state.received) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}: {:#?}", state.received);
            state = self.state.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.received.clone()
    }

    pub(crate) fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait(&format!("{count} requests"), |received| received.len() >= count)
    }
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, state: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&state)));
            let connection = hyper::server::conn::http1::Builder::new();
            match tls {
                None => drop(connection.serve_connection(TokioIo::new(stream), service).await),
                Some(tls) => {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    drop(connection.serve_connection(TokioIo::new(stream), service).await);
                }
            }
        });
    }
}

async fn answer(request: Request<Incoming>, state: Shared) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(Response::default()) };
    let received = Received { target: head.uri.to_string(), headers: head.headers, body: body.to_bytes() };
    let reply = {
        let mut state = state.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.received.iter().filter(|other| other.id() == received.id()).count();
        let scripted = state.script.pop_front();
        let reply = scripted.unwrap_or_else(|| (state.rule)(&received, before));
        state.received.push(received);
        reply
    };
    state.1.notify_all();
    let response =
        |status: u16, body: String| Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap();
    Ok(match reply {
        Reply::Status(status) => response(status, format!("this is {status}")),
        Reply::Long(status, bytes) => response(status, "x".repeat(bytes)),
        Reply::Later(seconds) => {
            let mut response = response(503, String::new());
            response.headers_mut().insert("retry-after", seconds.into());
            response
        }
        Reply::Redirect(to) => {
            let mut response = response(302, String::new());
            response.headers_mut().insert("location", to.parse().unwrap());
            response
        }
        Reply::Silence => std::future::pending().await,
    })
}
