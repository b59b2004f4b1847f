//! The address to listen on.

use std::{
    fmt::{self, Display, Formatter},
    net::IpAddr,
};

/// A host (an IP address or a name) and a port; port 0 is one that the system picks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    host: String,
    port: u16,
}

impl Listen {
    /// Takes `127.0.0.1:4700`, `[::1]:4700` or `localhost:4700`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        // `+80` is a number to Rust and a typing error to us.
        let port = port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok()).flatten()?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().ok().map(|_| inner)?,
            None => is_name_or_v4(host).then_some(host)?,
        };
        Some(Self { host: host.to_owned(), port })
    }

    /// The host: an address without brackets, or a name still to be resolved.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 for one that the system picks.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether only this machine can reach it. Of names only `localhost` counts: what others resolve to is not ours to say.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl Display for Listen {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

// A name of digits and dots alone is an address with a typing error, such as 127.0.0.
fn is_name_or_v4(host: &str) -> bool {
    let named = !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        && host.bytes().any(|b| b.is_ascii_alphabetic());
    named || host.parse::<std::net::Ipv4Addr>().is_ok()
}
