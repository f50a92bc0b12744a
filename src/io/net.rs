//! Listening sockets. Each worker has its own socket of the same address (SO_REUSEPORT), so that the kernel spreads connections
//! and no worker waits for another one.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::core::limits::{SOCKET_BACKLOG, SOCKET_SEND_BUFFER_BYTES};

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", mend(.source))]
pub struct BindError {
    pub address: SocketAddr,
    pub source: io::Error,
}

fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => ": stop whoever holds it, or choose another port",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        _ => "",
    }
}

/// One listener for each worker, all of one address. For port 0 the kernel picks the first one's port and the others take the
/// same; ask [`TcpListener::local_addr`] which one it is.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Vec<TcpListener>, BindError> {
    let fail = |source| BindError { address, source };
    let mut listeners = Vec::with_capacity(workers);
    let mut address = address;
    for _ in 0..workers {
        let listener = listen(address).map_err(fail)?;
        address = listener.local_addr().map_err(fail)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 clients too, whatever the machine's default is.
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(SOCKET_BACKLOG)?;
    let listener = TcpListener::from(socket);
    prepare(&listener)?;
    Ok(listener)
}

/// What every listener needs. Linux gives these options on to accepted connections, which
/// saves the calls for each of them.
pub fn prepare(listener: &TcpListener) -> io::Result<()> {
    let socket = socket2::SockRef::from(listener);
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    // Without it the kernel would hold up to 4 MiB for a client that does not read.
    socket.set_send_buffer_size(SOCKET_SEND_BUFFER_BYTES)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn workers_share_a_port_that_the_kernel_picks() {
        let listeners = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }

    #[test]
    fn connections_inherit_what_the_listener_was_given() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
        let buffer = socket2::SockRef::from(&accepted).send_buffer_size().unwrap();
        assert!(buffer <= 2 * SOCKET_SEND_BUFFER_BYTES, "{buffer}");
    }

    #[test]
    fn the_wildcard_of_ipv6_takes_ipv4_too() {
        // A machine without IPv6 has nothing to show here.
        let Ok(mut listeners) = bind("[::]:0".parse().unwrap(), 1) else { return };
        let port = listeners.remove(0).local_addr().unwrap().port();
        let listener = bind(format!("[::]:{port}").parse().unwrap(), 1).unwrap();
        assert!(TcpStream::connect(("127.0.0.1", listener[0].local_addr().unwrap().port())).is_ok());
    }

    #[test]
    fn a_port_that_somebody_holds_is_named_with_its_mend() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let text = bind(address, 1).unwrap_err().to_string();
        assert!(text.contains(&address.to_string()) && text.contains("choose another port"), "{text}");
    }
}
