//! What `publish` and `follow` share: the server's address, its answers, waiting before another try.

use super::{Env, Failure, say};
use crate::config::SERVER;
use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Url, header::HeaderMap};
use riacho_core::name::StreamName;
use serde::Deserialize;
use std::{error::Error, time::Duration};

#[derive(Args, Debug)]
pub(super) struct ServerArg {
    /// The server to talk to [default: http://127.0.0.1:4700, RIACHO_SERVER]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// A server's address: `http`, a host, and perhaps a path it lives under.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Server(Url);

impl ServerArg {
    pub(super) fn resolve(&self, env: &Env) -> Result<Server, Failure> {
        let variable = SERVER.env();
        let from_env =
            env.iter().find(|(name, _)| *name == *variable).map(|(_, value)| value.to_string_lossy());
        let (at, text) = match (&self.server, &from_env) {
            (Some(flag), _) => ("--server", flag.as_str()),
            (None, Some(value)) => (variable.as_str(), &**value),
            (None, None) => ("default", SERVER.default),
        };
        Server::parse(text).map_err(|reason| Failure::Usage(format!("{at}: {reason}")))
    }
}

impl Server {
    /// Takes `http://host:port/path`; without a scheme `http` is meant.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refusal = || format!("expected a URL like http://127.0.0.1:4700, got `{text}`");
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole).map_err(|_| refusal())?;
        match url.scheme() {
            "http" if url.query().is_none() && url.fragment().is_none() => Ok(Self(url)),
            "https" => Err(format!("this build speaks no TLS; use an http:// address, got `{text}`")),
            _ => Err(refusal()),
        }
    }

    /// Where it is.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// `/streams` or, with a name, the URL of one stream; none for the few names that cannot stand in a path.
    pub(super) fn streams(&self, name: Option<&StreamName>) -> Option<Url> {
        let mut path = format!("{}/streams", self.0.path().trim_end_matches('/'));
        if let Some(name) = name {
            // Every URL parser on the way removes these, encoded or not.
            if name.as_str().split('/').any(|segment| segment == "." || segment == "..") {
                return None;
            }
            path.push('/');
            path.extend(utf8_percent_encode(name.as_str(), PATH_ENCODED));
        }
        let mut url = self.0.clone();
        url.set_path(&path);
        Some(url)
    }
}

/// An error's `application/problem+json` (RFC 9457), as far as it was one.
#[derive(Deserialize, Default, Debug)]
pub(super) struct Problem {
    title: Option<String>,
    detail: Option<String>,
    retry: Option<bool>,
}

impl Problem {
    pub(super) fn parse(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// Its sentence, or at least the status.
    pub(super) fn text(&self, status: u16) -> String {
        match (&self.title, &self.detail) {
            (Some(title), Some(detail)) => format!("{title}: {detail}"),
            (Some(text), None) | (None, Some(text)) => text.clone(),
            (None, None) => format!("the server answered with status {status} and no explanation"),
        }
    }

    /// Whether another try can help: what the problem says, or else what its status usually means.
    pub(super) fn may_retry(&self, status: u16) -> bool {
        self.retry.unwrap_or(matches!(status, 408 | 429 | 500..))
    }
}

/// A client for one command.
pub(super) fn http() -> Result<reqwest::Client, Failure> {
    let tls = crate::tls::believing_nobody().map_err(Failure::Failed)?;
    reqwest::Client::builder()
        // Without it reqwest looks for a provider of cryptography of the process, and panics.
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIME_MAX)
        // A redirected POST becomes a GET, whose good answer would pass for that of the POST.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("riacho/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|err| Failure::Failed(format!("cannot make a HTTP client: {}", cause(&err))))
}

/// A runtime for one command: one thread, as it does one thing.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|err| Failure::Failed(format!("cannot start: {err}")))
}

/// Why a request failed: the innermost cause, since the outer ones only say that it did.
pub(super) fn cause(err: &reqwest::Error) -> String {
    let mut cause: &dyn Error = err;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// How long to wait before try number `attempt` (from 0): full jitter, a random part of a bound that doubles.
pub(super) fn backoff(attempt: u32, random: u64) -> Duration {
    let bound = BACKOFF_BASE.saturating_mul(1 << attempt.min(16)).min(BACKOFF_MAX);
    let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random % (millis + 1))
}

/// A random number; 0 if the system has none, which only costs the jitter.
pub(super) fn random() -> u64 {
    getrandom::u64().unwrap_or(0)
}

/// How long the server asks to be left alone, within reason.
pub(super) fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(0);
    Duration::from_secs(seconds).min(RETRY_AFTER_MAX)
}

/// Trouble that lasts is said once, and once that it is over.
#[derive(Default, Debug)]
pub(super) struct Trouble(Option<String>);

impl Trouble {
    pub(super) fn is(&mut self, text: String) {
        if self.0.as_ref() != Some(&text) {
            say(&text);
            self.0 = Some(text);
        }
    }

    pub(super) fn is_over(&mut self) {
        if self.0.take().is_some() {
            say("connected again");
        }
    }
}

/// What a path segment keeps as it is: unreserved characters (RFC 3986) and the separator.
const PATH_ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
const BACKOFF_BASE: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
