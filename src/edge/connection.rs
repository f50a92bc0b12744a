//! tmp
#[derive(Debug)]
pub struct Peer {
    pub address: std::net::SocketAddr,
    pub tls: bool,
}
