//! Which web pages of other sites may read.

/// The origins (WHATWG HTML, "Origin") whose pages may use the server from a browser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origins {
    /// Only pages this server sends, or that a proxy puts on the same origin.
    None,
    /// Pages of every site, and for that without cookies or other credentials: `Access-Control-Allow-Origin: *`.
    Any,
    /// Pages of these origins, with credentials; each as a browser sends it in `Origin`.
    Exact(Vec<String>),
}

impl Origins {
    /// Takes a list of `https://app.example`, or `*` alone.
    pub fn parse(list: &[String]) -> Option<Self> {
        match list {
            [] => Some(Self::None),
            [star] if star == "*" => Some(Self::Any),
            exact => exact.iter().all(|o| is_origin(o)).then(|| Self::Exact(exact.to_vec())),
        }
    }

    /// Whether a page of `origin` may read.
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::None => false,
            Self::Any => true,
            Self::Exact(list) => list.iter().any(|o| o == origin),
        }
    }
}

// The one form that browsers send: lower case, no path, no trailing slash, no port that the scheme implies. Any other
// would be accepted here and never match.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let implied = match scheme {
        "http" => "80",
        "https" => "443",
        _ => "",
    };
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'));
    let name_ok = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_'))
        }
    };
    let port_ok = port.is_none_or(|p| {
        p.bytes().all(|b| b.is_ascii_digit())
            && p.parse::<u16>().is_ok()
            && p != implied
            && !p.starts_with('0')
    });
    scheme_ok && name_ok && port_ok
}
