//! Where the server listens, once it does: logged, and written to `DATA/addresses.json` for scripts and tests (port 0 takes
//! a free port).

use std::{io::Write, net::SocketAddr, path::Path};

use anyhow::Context;
use serde::Serialize;
use tokio::net::TcpListener;

use super::workers::Sockets;
use crate::io::disk;

pub(super) const FILE: &str = "addresses.json";

#[derive(Clone, Debug, Serialize)]
pub(super) struct Addresses {
    pub(super) pid: u32,
    pub(super) edge: Vec<SocketAddr>,
    pub(super) edge_tls: Vec<SocketAddr>,
    pub(super) control: SocketAddr,
    pub(super) ops: SocketAddr,
}

impl Addresses {
    pub(super) fn of(sockets: &Sockets, control: &TcpListener, ops: &TcpListener) -> anyhow::Result<Addresses> {
        Ok(Addresses {
            pid: std::process::id(),
            edge: sockets.clear.clone(),
            edge_tls: sockets.tls.clone(),
            control: control.local_addr()?,
            ops: ops.local_addr()?,
        })
    }

    pub(super) fn write(&self, data: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        disk::replace_file(&data.join(FILE), 0o644, |out| writeln!(out, "{text}"))
            .with_context(|| format!("{FILE} cannot be written in {}", data.display()))
    }
}
