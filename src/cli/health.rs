//! `fingerpost health`: asks a running server's ops listener, and ends well when it is ready. An image without a shell or
//! curl needs it for its health check; a script may wait with it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::Config;

/// Longest answer that is read, bytes: reasons of a dozen parts.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// Ask whether the process is alive, not whether it is ready
    #[arg(long)]
    live: bool,
    /// Where the ops listener is [default: ops.listen of the configuration]
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,
    /// How long an answer may take, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    timeout: u64,
}

pub(crate) fn run(global: &super::Global, args: Args) -> anyhow::Result<()> {
    let address = match args.address {
        Some(address) => address,
        None => reachable(&global.load()?),
    };
    let path = if args.live { "/healthz" } else { "/readyz" };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let asked = runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(args.timeout), ask(address, path))
            .await
            .with_context(|| format!("no answer within {} s", args.timeout))?
    });
    let (status, said) =
        asked.with_context(|| format!("{address}{path} cannot be asked: does the server run there?"))?;
    println!("{}", said.trim_end());
    if status.is_success() { Ok(()) } else { bail!("{address}{path} answers {status}") }
}

/// The listener's address as this machine reaches it: what listens everywhere is asked on the loopback.
fn reachable(config: &Config) -> SocketAddr {
    let mut address = config.ops.listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let stream = TcpStream::connect(address).await?;
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the runtime.
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())
        .context("a request")?;
    let answer = requests.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}
