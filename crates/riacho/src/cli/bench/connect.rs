//! Sockets to the server under load, from as many addresses as it takes.

use super::super::{Failure, client::Server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockAddr, Socket, Type};
use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _},
    time::Duration,
};

/// The server under load.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// What stands in `Host`.
    pub(super) host: String,
    /// The path that all others stand under, without a slash at its end.
    pub(super) base: String,
}

impl Target {
    pub(super) fn resolve(server: &Server) -> Result<Self, Failure> {
        let url = server.url();
        let (name, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
        let unknown = |why: String| Failure::Failed(format!("cannot resolve {name}: {why}"));
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let mut addresses = (bare, port).to_socket_addrs().map_err(|err| unknown(err.to_string()))?;
        let address = addresses.next().ok_or_else(|| unknown("no address".to_owned()))?;
        let host = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        Ok(Self { address, host, base: url.path().trim_end_matches('/').to_owned() })
    }

    /// Begins to connect, as connection `number` of all. On loopback each thousand comes from an address of its own, since
    /// one address has but 28,000 ports and a server may bound the connections of one.
    pub(super) fn begin(&self, number: usize) -> io::Result<TcpStream> {
        let socket =
            Socket::new(Domain::for_address(self.address), Type::STREAM.nonblocking().cloexec(), None)?;
        if number >= PER_ADDRESS && self.address.ip().is_loopback() && self.address.is_ipv4() {
            bind(&socket, number / PER_ADDRESS)?;
        }
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&SockAddr::from(self.address)) {
            Err(err) if err.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(err),
            _ => Ok(socket.into()),
        }
    }

    /// Connects, and waits for it.
    pub(super) fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, CONNECT_TIME_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

// Ports of connections closed a minute ago are not free yet: another process begins at another address, and an address
// that is full gives way to the next.
fn bind(socket: &Socket, group: usize) -> io::Result<()> {
    let first = std::process::id() as usize;
    let mut last = Err(ErrorKind::AddrInUse.into());
    for attempt in 0..ADDRESSES {
        let place = (first + group + attempt) % ADDRESSES;
        let address = Ipv4Addr::new(127, 0, 1, 1 + place as u8);
        last = socket.bind(&SockAddr::from(SocketAddr::new(IpAddr::V4(address), 0)));
        match &last {
            Err(err) if matches!(err.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable) => {}
            _ => return last,
        }
    }
    last
}

/// Raises the limit of open files as far as it goes, and fails if `needed` are more.
pub(super) fn allow_descriptors(needed: usize) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    // What cannot be raised is compared below.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = needed as u64 + DESCRIPTORS_OF_OURS;
    match allowed >= needed {
        true => Ok(()),
        false => Err(Failure::Failed(format!(
            "{needed} files would have to be open, and the limit is {allowed}; raise it, e.g. with `ulimit -n {needed}`"
        ))),
    }
}

/// Below the bound of connections from one address that servers have by default.
const PER_ADDRESS: usize = 8000;
const ADDRESSES: usize = 250;
const DESCRIPTORS_OF_OURS: u64 = 32;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
