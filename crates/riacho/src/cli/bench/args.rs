//! What `bench` is asked for: flags become plans that cannot be wrong.

use super::{
    super::{Env, Failure, client::Server},
    connect::Target,
    process::Process,
    tally::MARKER_BYTES_MAX,
};
use crate::config::SERVER;
use clap::{Args, ValueEnum};
use riacho_core::time::parse_duration;
use std::{fs, path::PathBuf, time::Duration};

/// What all of `bench` takes.
#[derive(Args, Debug)]
pub(super) struct CommonArgs {
    /// The server, e.g. http://127.0.0.1:4700, which is the default [env: RIACHO_SERVER]
    url: Option<String>,
    /// Print one JSON object instead of a table; times in microseconds.
    #[arg(long)]
    pub(super) json: bool,
    /// Also measure CPU time and memory of this process and its descendants.
    #[arg(long)]
    pid: Option<u32>,
    /// How long to publish, or else to receive.
    #[arg(long, default_value = "5s", value_parser = duration)]
    duration: Duration,
    /// How many numbers {n} stands for, from 0 and all of one length: 000 to 999. A path with {n} is so many paths; in a
    /// body {n} is the number of its event, and begins anew.
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    keys: u32,
}

#[derive(Args, Debug)]
pub(super) struct SubscribeArgs {
    /// How many subscribers.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    subscribers: u32,
    /// What they read, {n} being numbers (see --keys); subscriber i takes the path i modulo their number
    /// [default: /streams/bench]
    #[arg(long)]
    path: Vec<String>,
    /// More paths, one per line.
    #[arg(long, value_name = "FILE")]
    paths_from: Option<PathBuf>,
    /// How events come.
    #[arg(long, value_enum, default_value_t = Transport::Sse)]
    transport: Transport,
    /// The header `Accept` [default: that of the transport]
    #[arg(long)]
    accept: Option<String>,
    /// Another header of each subscription, e.g. 'Last-Event-ID: 5f2-1a'.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<String>,
    /// So many of the subscribers never read after the head.
    #[arg(long, default_value_t = 0)]
    stalled: u32,
    /// Subscriptions in flight while connecting.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connecting: u32,
    /// Streams of an HTTP/2 connection.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    streams_per_connection: u32,
    /// What stands before the stamp of each event, with the T that the event begins with [default: that of the transport]
    #[arg(long)]
    marker: Option<String>,
    /// A subscriber is connected when it has received this text, e.g. '"snapshot-end"'; no more than the head if not given.
    #[arg(long, value_name = "TEXT", value_parser = ready)]
    ready: Option<String>,
    /// Each source may begin with any sequence: for joining where another publishes already.
    #[arg(long)]
    join: bool,
    /// End when every subscriber has received so many events, within --duration; nothing is published.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    until: Option<u64>,
    /// How long to wait after connecting, to see what idle subscribers cost.
    #[arg(long, default_value = "1s", value_parser = duration)]
    idle: Duration,
}

#[derive(Args, Debug)]
pub(super) struct PublishArgs {
    /// Events per second in all, whatever the server does; 0: none with `run`, as fast as possible with `publish`
    /// [default: 30]
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Connections that publish.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Where to publish, in turn, {n} being numbers (see --keys) [default: what is read]
    #[arg(long)]
    pub(super) publish_path: Vec<String>,
    /// More of them, one per line.
    #[arg(long, value_name = "FILE")]
    publish_paths_from: Option<PathBuf>,
    /// Events per request.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// The type of a body with several events.
    #[arg(long, default_value = "application/x-ndjson")]
    batch_content_type: String,
    /// A line of a body with several events.
    #[arg(long, default_value = r#"{"data":"{event}"}"#, value_parser = template)]
    batch_template: String,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pipeline: u32,
    /// The body of a request with one event; {n} is a number, see --keys.
    #[arg(long, default_value = "{event}", value_parser = template)]
    body_template: String,
    /// The type of such a body.
    #[arg(long, default_value = "text/plain")]
    content_type: String,
    /// Another header of each publish.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    publish_header: Vec<String>,
    /// The method of a publish.
    #[arg(long, default_value = "POST", value_parser = method)]
    method: String,
    /// Bytes of an event, at least 33.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(33..=16 << 20))]
    size: u32,
    /// Stop after so many events in all.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// Which moment an event carries: when it was sent, or when it should have been.
    #[arg(long, value_enum, default_value_t = StampTime::Sent)]
    stamp: StampTime,
}

/// How subscribers read.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transport {
    /// Server-Sent Events on HTTP/1.1.
    Sse,
    /// Lines of JSON on HTTP/1.1.
    Ndjson,
    /// Pages of JSON, each asked for with the cursor of the one before, on HTTP/1.1.
    LongPoll,
    /// Server-Sent Events on HTTP/2, which the server is known to speak.
    SseHttp2,
}

/// Which moment a stamp is.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StampTime {
    Sent,
    Due,
}

/// What all of `bench` needs.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) target: Target,
    pub(super) process: Option<Process>,
    pub(super) duration: Duration,
    pub(super) keys: u32,
}

/// What subscribers do.
#[derive(Debug)]
pub(super) struct SubscribePlan {
    pub(super) subscribers: usize,
    pub(super) paths: Vec<String>,
    pub(super) transport: Transport,
    pub(super) accept: String,
    pub(super) headers: Vec<String>,
    pub(super) stalled: usize,
    pub(super) connecting: usize,
    /// Subscribers on each connection.
    pub(super) streams: usize,
    pub(super) marker: Vec<u8>,
    pub(super) ready: Option<String>,
    pub(super) join: bool,
    pub(super) until: Option<u64>,
    pub(super) idle: Duration,
}

impl SubscribePlan {
    /// Connections that subscribers take.
    pub(super) fn connections(&self) -> usize {
        self.subscribers.div_ceil(self.streams)
    }
}

/// What publishers do.
#[derive(Debug)]
pub(super) struct PublishPlan {
    /// None: as fast as possible.
    pub(super) rate: Option<f64>,
    pub(super) connections: usize,
    pub(super) paths: Vec<String>,
    pub(super) batch: u32,
    /// The body of a request, or a line of it where there are several.
    pub(super) template: String,
    pub(super) keys: u32,
    pub(super) content_type: String,
    pub(super) pipeline: usize,
    pub(super) headers: Vec<String>,
    pub(super) method: String,
    pub(super) size: usize,
    pub(super) events: Option<u64>,
    pub(super) stamp: StampTime,
    pub(super) duration: Duration,
}

impl CommonArgs {
    pub(super) fn plan(&self, env: &Env) -> Result<Common, Failure> {
        let variable = SERVER.env();
        let of_env =
            env.iter().find(|(name, _)| *name == *variable).map(|(_, value)| value.to_string_lossy());
        let (at, url) = match (&self.url, &of_env) {
            (Some(url), _) => ("URL", url.as_str()),
            (None, Some(url)) => (variable.as_str(), &**url),
            (None, None) => ("default", SERVER.default),
        };
        let server = Server::parse(url).map_err(|reason| Failure::Usage(format!("{at}: {reason}")))?;
        let process = match self.pid {
            None => None,
            Some(pid) => Some(
                Process::find(pid)
                    .ok_or_else(|| Failure::Usage(format!("--pid: there is no process {pid}")))?,
            ),
        };
        Ok(Common { target: Target::resolve(&server)?, process, duration: self.duration, keys: self.keys })
    }
}

impl SubscribeArgs {
    pub(super) fn plan(&self, common: &Common) -> Result<SubscribePlan, Failure> {
        let marker = self.marker.as_deref().unwrap_or(match self.transport {
            Transport::Sse | Transport::SseHttp2 => "data: T",
            Transport::Ndjson | Transport::LongPoll => "\"data\":\"T",
        });
        if marker.len() > MARKER_BYTES_MAX || !marker.ends_with('T') {
            let text =
                format!("--marker: expected up to {MARKER_BYTES_MAX} bytes that end in the T of the event");
            return Err(Failure::Usage(text));
        }
        if self.stalled > self.subscribers {
            return Err(Failure::Usage("--stalled: more than there are subscribers".to_owned()));
        }
        if self.ready.is_some() && self.stalled > 0 {
            return Err(Failure::Usage("--ready: those who never read, --stalled, never are".to_owned()));
        }
        let streams = if self.transport == Transport::SseHttp2 { self.streams_per_connection } else { 1 };
        if !self.stalled.is_multiple_of(streams) {
            let text = format!(
                "--stalled: streams of one connection stall together; expected a multiple of {streams}"
            );
            return Err(Failure::Usage(text));
        }
        if self.header.iter().map(String::len).sum::<usize>() > HEADERS_BYTES_MAX {
            return Err(Failure::Usage(format!("--header: more than {HEADERS_BYTES_MAX} bytes")));
        }
        let accept = self.accept.as_deref().unwrap_or(match self.transport {
            Transport::Sse | Transport::SseHttp2 => "text/event-stream",
            Transport::Ndjson => "application/x-ndjson",
            Transport::LongPoll => "application/json",
        });
        Ok(SubscribePlan {
            subscribers: self.subscribers as usize,
            paths: paths("--path", &self.path, self.paths_from.as_ref(), common.keys)?
                .unwrap_or_else(|| vec![PATH.to_owned()]),
            transport: self.transport,
            accept: accept.to_owned(),
            headers: self.header.clone(),
            stalled: self.stalled as usize,
            connecting: self.connecting as usize,
            streams: streams as usize,
            marker: marker.as_bytes().to_vec(),
            ready: self.ready.clone(),
            join: self.join,
            until: self.until,
            idle: self.idle,
        })
    }
}

impl PublishArgs {
    /// What to publish; none if nothing is. `read` is where subscribers are, if there are any.
    pub(super) fn plan(
        &self,
        common: &Common,
        read: Option<&SubscribePlan>,
    ) -> Result<Option<PublishPlan>, Failure> {
        let until = read.and_then(|read| read.until);
        let rate = self.rate.unwrap_or(if until.is_some() { 0.0 } else { RATE });
        match (read, until) {
            (Some(_), Some(_)) if rate > 0.0 => {
                return Err(Failure::Usage(
                    "--until: needs --rate 0: it is for what is there already".to_owned(),
                ));
            }
            (Some(_), _) if rate == 0.0 => return Ok(None),
            _ => {}
        }
        let given = (&self.publish_path, self.publish_paths_from.as_ref());
        let paths = paths("--publish-path", given.0, given.1, common.keys)?
            .or_else(|| read.map(|read| read.paths.clone()))
            .unwrap_or_else(|| vec![PATH.to_owned()]);
        let several = self.batch > 1;
        Ok(Some(PublishPlan {
            rate: (rate > 0.0).then_some(rate),
            connections: self.connections as usize,
            paths,
            batch: self.batch,
            template: if several { &self.batch_template } else { &self.body_template }.clone(),
            keys: common.keys,
            content_type: if several { &self.batch_content_type } else { &self.content_type }.clone(),
            pipeline: self.pipeline as usize,
            headers: self.publish_header.clone(),
            method: self.method.clone(),
            size: self.size as usize,
            events: self.events,
            stamp: self.stamp,
            duration: common.duration,
        }))
    }
}

fn paths(
    flag: &str,
    given: &[String],
    file: Option<&PathBuf>,
    keys: u32,
) -> Result<Option<Vec<String>>, Failure> {
    let mut paths = given.to_vec();
    if let Some(file) = file {
        let text = fs::read_to_string(file)
            .map_err(|err| Failure::Usage(format!("cannot read {}: {err}", file.display())))?;
        paths.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    let is_bad = |path: &&String| !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(bad) = paths.iter().find(is_bad) {
        return Err(Failure::Usage(format!(
            "{flag}: expected a path like /streams/a, percent-encoded, got `{bad}`"
        )));
    }
    let numbered = |path: String| -> Vec<String> {
        if !path.contains(NUMBER) {
            return vec![path];
        }
        let width = number_width(keys);
        (0..keys).map(|key| path.replace(NUMBER, &format!("{key:0width$}"))).collect()
    };
    let paths: Vec<String> = paths.into_iter().flat_map(numbered).collect();
    Ok((!paths.is_empty()).then_some(paths))
}

/// Digits of each of so many numbers from 0.
pub(super) fn number_width(keys: u32) -> usize {
    keys.saturating_sub(1).to_string().len()
}

fn duration(text: &str) -> Result<Duration, String> {
    let found = parse_duration(text).ok_or_else(|| "expected a duration like 250ms or 10s".to_owned())?;
    if found <= DURATION_MAX { Ok(found) } else { Err("expected at most a day".to_owned()) }
}

fn rate(text: &str) -> Result<f64, String> {
    let found = text.parse::<f64>().ok().filter(|rate| (0.0..=RATE_MAX).contains(rate));
    found.ok_or_else(|| "expected events per second, like 1000 or 0.5".to_owned())
}

fn header(text: &str) -> Result<String, String> {
    let good = |name: &str, value: &str| {
        http::HeaderName::from_bytes(name.as_bytes()).is_ok() && http::HeaderValue::from_str(value).is_ok()
    };
    match text.split_once(':').map(|(name, value)| (name, value.trim())) {
        Some((name, value)) if good(name, value) => Ok(format!("{name}: {value}")),
        _ => Err("expected a header like 'Name: value'".to_owned()),
    }
}

fn ready(text: &str) -> Result<String, String> {
    match text.len() {
        1..=MARKER_BYTES_MAX => Ok(text.to_owned()),
        _ => Err(format!("expected 1 to {MARKER_BYTES_MAX} bytes")),
    }
}

fn method(text: &str) -> Result<String, String> {
    http::Method::from_bytes(text.as_bytes())
        .map(|_| text.to_owned())
        .map_err(|_| "expected a method like PUT".to_owned())
}

fn template(text: &str) -> Result<String, String> {
    match text.matches("{event}").count() {
        1 => Ok(text.to_owned()),
        _ => Err("expected {event} in it, once".to_owned()),
    }
}

/// What stands for a number in paths and templates.
pub(super) const NUMBER: &str = "{n}";

const PATH: &str = "/streams/bench";
const RATE: f64 = 30.0;
const RATE_MAX: f64 = 1e9;
const HEADERS_BYTES_MAX: usize = 8 << 10;
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
