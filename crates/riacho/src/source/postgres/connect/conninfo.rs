//! What a person wrote: a URL or pairs, in the forms of libpq ("Connection Strings" of PostgreSQL's manual).
//!
//! No message repeats any of the text: what does not parse may be a piece of a password.

use super::{ESCAPE, Env};
use percent_encoding::percent_decode_str;
use riacho_core::source::machine::Fault;
use std::collections::BTreeMap;

/// Parameters by libpq's names; none is there that libpq does not know, and none is empty.
#[derive(Default)]
pub(super) struct Params(BTreeMap<&'static str, String>);

impl Params {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.0.get(key).cloned()
    }

    /// The parts of a list; none where nothing is given.
    pub(super) fn list(&self, key: &str) -> Vec<String> {
        self.get(key).map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default()
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, Fault> {
        let Some(text) = self.get(key) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| Fault::evident(format!("`{key}` is no number")))
    }

    /// Takes a value unless there is one; false: libpq knows no such name.
    pub(super) fn fill(&mut self, key: &str, value: &str) -> bool {
        let Some(key) = known(key) else { return false };
        if !value.is_empty() {
            self.0.entry(key).or_insert_with(|| value.to_owned());
        }
        true
    }

    /// Takes a value, the last of several; empty: as if it were not given. False: libpq knows no such name.
    fn set(&mut self, key: &str, value: String) -> bool {
        let Some(key) = known(key) else { return false };
        if value.is_empty() {
            self.0.remove(key);
        } else {
            self.0.insert(key, value);
        }
        true
    }
}

/// A URL, or pairs.
pub(super) fn parse(text: &str) -> Result<Params, Fault> {
    let text = text.trim();
    match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        Some(rest) => url(rest),
        None => pairs(text),
    }
}

/// What the environment says of what is not given yet.
pub(super) fn fill(params: &mut Params, env: Env<'_>) {
    for (key, variable) in KEYS {
        if let Some(value) = variable.and_then(|variable| env.get(variable)) {
            params.fill(key, &value);
        }
    }
}

/// Refuses what would be less safe than asked for, were it ignored.
pub(super) fn refuse_unsupported(params: &Params) -> Result<(), Fault> {
    for (key, harmless) in UNSUPPORTED {
        if params.get(key).is_some_and(|value| !harmless.contains(&value)) {
            return Err(Fault::needs_person(
                format!("`{key}` is set for PostgreSQL to what Riacho cannot do"),
                format!("leave `{key}` out"),
            ));
        }
    }
    Ok(())
}

fn url(rest: &str) -> Result<Params, Fault> {
    let mut params = Params::default();
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, query),
        None => (rest, ""),
    };
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let hosts = match authority.split_once('@') {
        Some((user, hosts)) => {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            params.set("user", decoded(user)?);
            params.set("password", decoded(password)?);
            hosts
        }
        None => authority,
    };
    let mut names = Vec::new();
    let mut ports = Vec::new();
    for place in hosts.split(',') {
        let (name, port) = host_and_port(place)?;
        names.push(decoded(name)?);
        ports.push(decoded(port)?);
    }
    // Of nothing but commas and defaults nothing is given.
    if names.iter().any(|name| !name.is_empty()) || names.len() > 1 {
        params.set("host", names.join(","));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        params.set("port", ports.join(","));
    }
    params.set("dbname", decoded(database)?);
    for (at, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Fault::needs_person(format!("parameter {} of the URL has no `=`", at + 1), ESCAPE));
        };
        let (key, value) = (decoded(key)?, decoded(value)?);
        // As drivers of Java write it.
        let (key, value) = if key == "ssl" && value == "true" {
            ("sslmode".to_owned(), "require".to_owned())
        } else {
            (key, value)
        };
        if !params.set(&key, value) {
            return Err(unknown(at + 1, "parameter", ESCAPE));
        }
    }
    Ok(params)
}

fn host_and_port(place: &str) -> Result<(&str, &str), Fault> {
    let malformed = || Fault::needs_person("a host of the URL for PostgreSQL is malformed", ESCAPE);
    let Some(rest) = place.strip_prefix('[') else {
        let (host, port) = place.split_once(':').unwrap_or((place, ""));
        return if port.contains(':') { Err(malformed()) } else { Ok((host, port)) };
    };
    let (host, rest) = rest.split_once(']').ok_or_else(malformed)?;
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, port)),
        None if rest.is_empty() => Ok((host, "")),
        None => Err(malformed()),
    }
}

fn decoded(text: &str) -> Result<String, Fault> {
    let malformed =
        || Fault::needs_person("the URL for PostgreSQL has a `%` that stands for nothing", ESCAPE);
    let mut escapes = text.split('%');
    escapes.next();
    let hex = |escape: &str| escape.len() >= 2 && escape.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !escapes.all(hex) {
        return Err(malformed());
    }
    let text = percent_decode_str(text).decode_utf8().map_err(|_| malformed())?;
    if text.contains('\0') { Err(malformed()) } else { Ok(text.into_owned()) }
}

// key = value, key = 'value with spaces and \' and \\'
fn pairs(text: &str) -> Result<Params, Fault> {
    let mut params = Params::default();
    let mut chars = text.chars().peekable();
    for at in 1.. {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            break;
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err(Fault::needs_person(
                format!("pair {at} of what is given for PostgreSQL has no `=`"),
                QUOTE,
            ));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let value = value(&mut chars)
            .ok_or_else(|| Fault::needs_person("a quote is open in what is given for PostgreSQL", QUOTE))?;
        if value.contains('\0') || !params.set(&key, value) {
            return Err(unknown(at, "pair", QUOTE));
        }
    }
    Ok(params)
}

fn value(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let quoted = chars.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match chars.next() {
            Some('\\') => value.extend(chars.next()),
            Some('\'') if quoted => return Some(value),
            Some(c) if c.is_whitespace() && !quoted => return Some(value),
            Some(c) => value.push(c),
            None => return (!quoted).then_some(value),
        }
    }
}

fn unknown(at: usize, what: &str, remedy: &str) -> Fault {
    let message = format!("{what} {at} of what is given for PostgreSQL has a name that libpq does not know");
    Fault::needs_person(message, remedy)
}

fn known(key: &str) -> Option<&'static str> {
    KEYS.iter().map(|(known, _)| *known).find(|known| *known == key)
}

const QUOTE: &str = "write values with spaces as 'a b', and `'` and `\\` in them as \\' and \\\\";

// libpq's names, and the variables that stand for them where they are not given.
const KEYS: [(&str, Option<&str>); 50] = [
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("port", Some("PGPORT")),
    ("dbname", Some("PGDATABASE")),
    ("user", Some("PGUSER")),
    ("password", Some("PGPASSWORD")),
    ("passfile", Some("PGPASSFILE")),
    ("service", Some("PGSERVICE")),
    ("servicefile", Some("PGSERVICEFILE")),
    ("options", Some("PGOPTIONS")),
    // PGAPPNAME is of whoever started us; who wants another name says it for this source.
    ("application_name", None),
    ("fallback_application_name", None),
    ("client_encoding", None),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("keepalives", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("keepalives_count", None),
    ("tcp_user_timeout", None),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslpassword", None),
    ("sslcertmode", Some("PGSSLCERTMODE")),
    ("sslcrl", Some("PGSSLCRL")),
    ("sslcrldir", Some("PGSSLCRLDIR")),
    ("sslsni", Some("PGSSLSNI")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslcompression", Some("PGSSLCOMPRESSION")),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    ("min_protocol_version", Some("PGMINPROTOCOLVERSION")),
    ("max_protocol_version", Some("PGMAXPROTOCOLVERSION")),
    ("sslkeylogfile", None),
    ("requiressl", Some("PGREQUIRESSL")),
    ("requirepeer", Some("PGREQUIREPEER")),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("gssencmode", Some("PGGSSENCMODE")),
    ("gsslib", Some("PGGSSLIB")),
    ("gssdelegation", Some("PGGSSDELEGATION")),
    ("krbsrvname", Some("PGKRBSRVNAME")),
    ("replication", None),
    ("scram_client_key", None),
    ("scram_server_key", None),
    ("oauth_issuer", None),
    ("oauth_client_id", None),
];

// What would be less safe, or other than asked for, were it ignored; and which values of it change nothing.
const UNSUPPORTED: [(&str, &[&str]); 18] = [
    ("sslpassword", &[]),
    ("sslcertmode", &["allow"]),
    ("sslcrl", &[]),
    ("sslcrldir", &[]),
    ("sslnegotiation", &["postgres"]),
    ("sslsni", &["1"]),
    ("ssl_min_protocol_version", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("ssl_max_protocol_version", &["TLSv1.3"]),
    ("requirepeer", &[]),
    ("require_auth", &[]),
    ("channel_binding", &["disable", "prefer"]),
    ("gssencmode", &["disable", "prefer"]),
    ("load_balance_hosts", &["disable"]),
    ("client_encoding", &["UTF8", "utf8", "UTF-8", "utf-8", "auto"]),
    ("replication", &[]),
    ("scram_client_key", &[]),
    ("scram_server_key", &[]),
    ("oauth_issuer", &[]),
];
