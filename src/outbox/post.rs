//! One POST to one endpoint: look the host up, judge where it leads, connect there, send, read the beginning of the answer.
//!
//! HTTP/1.1 over a connection of its own, so that every try is judged anew. Whom to believe: Mozilla's list of authorities as
//! it is compiled in (webpki-roots: the machine needs no such list, a container image without one works, and every edge
//! believes the same), and those of `webhooks.ca_file`.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::{
    OutboxError,
    guard::{Guard, Refused, literal},
};
use crate::{
    config::outbox::Webhooks,
    core::limits::{WEBHOOK_ANSWER_KEPT_BYTES, WEBHOOK_ANSWER_MAX_BYTES},
};

const USER_AGENT: &str = concat!("Fingerpost/", env!("CARGO_PKG_VERSION"));
/// Longest head of an answer, bytes.
const HEAD_MAX_BYTES: usize = 32 * 1024;

/// Sends messages. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Poster {
    guard: Arc<Guard>,
    tls: TlsConnectorConfig,
    connect_timeout: Duration,
    timeout: Duration,
}

/// Its own `Debug` is of no use and long.
#[derive(Clone)]
struct TlsConnectorConfig(Arc<ClientConfig>);

impl std::fmt::Debug for TlsConnectorConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConnectorConfig")
    }
}

/// What an endpoint said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The beginning of the body.
    pub(super) body: String,
    /// Retry-After, where it is a number of seconds.
    pub(super) retry_after: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("the address is not one any more: {0}")]
    Address(String),
    #[error("the host cannot be looked up: {0}")]
    LookUp(std::io::Error),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("HTTP: {}", causes(.0))]
    Http(hyper::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// hyper says what it was doing; its source says what went wrong.
fn causes(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl Poster {
    pub(super) fn new(settings: &Webhooks, guard: Arc<Guard>) -> Result<Poster, OutboxError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(file) = &settings.ca_file {
            for certificate in certificates("webhooks.ca_file", file)? {
                roots.add(certificate).map_err(|error| OutboxError::file("webhooks.ca_file", file, &error))?;
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| OutboxError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Poster {
            guard,
            tls: TlsConnectorConfig(Arc::new(config)),
            connect_timeout: settings.connect_timeout,
            timeout: settings.timeout,
        })
    }

    pub(super) async fn post(
        &self,
        address: &str,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Result<Answer, PostError> {
        let sent = timeout(self.timeout, self.send(address, headers, body)).await;
        sent.unwrap_or(Err(PostError::Timeout(self.timeout)))
    }

    async fn send(&self, address: &str, headers: &[(&'static str, String)], body: String) -> Result<Answer, PostError> {
        let url = Url::parse(address).map_err(|error| PostError::Address(error.to_string()))?;
        let request = request(&url, headers, body)?;
        let stream = self.connect(&url).await?;
        if url.scheme() == "http" {
            return exchange(stream, request).await;
        }
        let name = match url.host() {
            Some(Host::Domain(name)) => {
                ServerName::try_from(name.to_owned()).map_err(|error| PostError::Address(error.to_string()))?
            }
            Some(Host::Ipv4(address)) => ServerName::IpAddress(address.into()),
            Some(Host::Ipv6(address)) => ServerName::IpAddress(address.into()),
            None => return Err(PostError::Address("it has no host".to_owned())),
        };
        let connector = TlsConnector::from(Arc::clone(&self.tls.0));
        exchange(connector.connect(name, stream).await.map_err(PostError::Tls)?, request).await
    }

    /// Connects to the first of the judged addresses that answers.
    async fn connect(&self, url: &Url) -> Result<TcpStream, PostError> {
        let port = url.port_or_known_default().unwrap_or(443);
        let found: Vec<SocketAddr> = match (literal(url), url.host_str()) {
            (Some(address), _) => vec![SocketAddr::new(address, port)],
            (None, Some(host)) => tokio::net::lookup_host((host, port)).await.map_err(PostError::LookUp)?.collect(),
            (None, None) => Vec::new(),
        };
        let allowed = self.guard.allowed(url, &found)?;
        let connect = async {
            let mut last = std::io::Error::other("no address");
            for address in allowed {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(PostError::Connect(last))
        };
        let connected = timeout(self.connect_timeout, connect).await;
        connected.unwrap_or(Err(PostError::ConnectTimeout(self.connect_timeout)))
    }
}

/// Whether webhooks can be delivered with these settings.
pub fn check_webhooks(settings: &Webhooks) -> Result<(), OutboxError> {
    Poster::new(settings, Arc::new(Guard::new(settings.allow_hosts.clone()))).map(drop)
}

/// The certificates of a PEM file.
pub(super) fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, OutboxError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| OutboxError::file(key, file, &error))?;
    if certificates.is_empty() {
        return Err(OutboxError::file(key, file, &"it holds no certificate"));
    }
    Ok(certificates)
}

fn request(url: &Url, headers: &[(&'static str, String)], body: String) -> Result<Request<Full<Bytes>>, PostError> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut request = Request::post(target)
        .header(header::HOST, host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.body(Full::new(Bytes::from(body))).map_err(|error| PostError::Address(error.to_string()))
}

/// Sends a request and reads the answer's head, and its body as far as it is kept.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, PostError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(PostError::Http)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(PostError::Http)?;
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = beginning(response.into_body()).await;
        Ok(Answer { status, body, retry_after: retry_after.map(Duration::from_secs) })
    };
    let (mut exchange, connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
    tokio::select! {
        answer = &mut exchange => answer,
        // It ends when everything has been read; what it had to say is in the exchange's result.
        _ = connection => exchange.await,
    }
}

/// The answer's status is what counts: a body that breaks off takes nothing from it.
async fn beginning(mut body: Incoming) -> String {
    let (mut read, mut kept) = (0, Vec::new());
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        read += data.len();
        let room = WEBHOOK_ANSWER_KEPT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&data[..room.min(data.len())]);
        if read >= WEBHOOK_ANSWER_MAX_BYTES {
            break;
        }
    }
    // A text in the catalog has no NUL; nobody needs the other control characters.
    let text = String::from_utf8_lossy(&kept);
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
}
