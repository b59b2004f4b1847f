//! `publish`: one event from the command line, or many from stdin.
//!
//! Every request carries an `Idempotency-Key` and is tried again until it is answered, one at a time: a restart of the
//! server neither loses nor repeats nor reorders an event.

use super::{
    Env, Failure,
    batch::{Batch, Form, Former, LINE_BYTES_MAX},
    client::{Problem, Server, ServerArg, Trouble, backoff, cause, http, random, retry_after, runtime},
    print, say,
};
use crate::clock;
use bytes::Bytes;
use clap::Args;
use reqwest::Url;
use riacho_core::{
    event::EventType,
    name::StreamName,
    time::{duration_text, parse_duration},
};
use serde::Deserialize;
use std::{
    io::{self, IsTerminal as _, Read},
    thread,
    time::Duration,
};
use tokio::sync::mpsc;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    riacho publish chat/lobby 'hello'\n  \
    riacho publish orders --json --type created '{\"id\":17}'\n  \
    tail -F access.log | riacho publish logs --lines\n  \
    riacho follow --json 'chat/**' | riacho publish --server http://other:4700")]
pub(super) struct Publish {
    /// The stream; without it, each line of stdin is {"stream","data","type"?}.
    stream: Option<String>,
    /// The data of one event; without it, all of stdin is, less a line break at its end.
    #[arg(conflicts_with_all = ["lines", "ndjson"])]
    data: Option<String>,
    /// Each line of stdin is the data of one event, published as it comes.
    #[arg(long, requires = "stream", conflicts_with = "ndjson")]
    lines: bool,
    /// Each line of stdin is {"data","type"?}, and "stream" without a STREAM: what `follow --json` prints.
    #[arg(long, conflicts_with_all = ["json", "event_type"])]
    ndjson: bool,
    /// The data is JSON; with --lines, that of each line.
    #[arg(long, requires = "stream")]
    json: bool,
    /// The type of the events.
    #[arg(long = "type", value_name = "TYPE", requires = "stream")]
    event_type: Option<String>,
    /// The Idempotency-Key of the one event: the same key and data again give the same event.
    #[arg(long, requires = "stream", conflicts_with_all = ["lines", "ndjson"])]
    key: Option<String>,
    /// Print the id of each event, or of the last of each batch.
    #[arg(long)]
    print_ids: bool,
    /// How long to try again while the server cannot be reached [default: 10s for one event, 10m for many]
    ///
    /// The server remembers what it took for 10 minutes; trying longer could repeat events.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    retry_for: Option<Duration>,
    #[command(flatten)]
    server: ServerArg,
}

impl Publish {
    pub(super) fn run(self, env: &Env) -> Result<(), Failure> {
        let server = self.server.resolve(env)?;
        let stream = self.stream.as_deref().map(stream_name).transpose()?;
        if let Some(event_type) = &self.event_type {
            EventType::parse(event_type)
                .map_err(|err| Failure::Usage(format!("--type: the event type {err}")))?;
        }
        let many = self.lines || self.ndjson || stream.is_none();
        let mut sender = Sender {
            http: http()?,
            url: url(&server, stream.as_ref())?,
            retry_for: self.retry_for.unwrap_or(if many { RETRY_FOR_MANY } else { RETRY_FOR_ONE }),
            print_ids: self.print_ids,
            trouble: Trouble::default(),
        };
        match many {
            true => {
                let form = match (self.lines, self.json) {
                    (true, false) => Form::Text { event_type: self.event_type },
                    (true, true) => Form::Json { event_type: self.event_type },
                    (false, _) => Form::Ndjson { streams: stream.is_none() },
                };
                if io::stdin().is_terminal() {
                    say("reading events from the terminal, one per line; Ctrl-D ends");
                }
                runtime()?.block_on(sender.many(form))
            }
            false => {
                let key = self.key.map_or_else(|| Ok(random_key()), |key| quoted_key(&key))?;
                let body = match self.data {
                    Some(data) => data,
                    None => whole_stdin()?,
                };
                if let Some(event_type) = &self.event_type {
                    sender.url.query_pairs_mut().append_pair("type", event_type);
                }
                let content = if self.json { "application/json" } else { "text/plain; charset=utf-8" };
                let sent = runtime()?.block_on(sender.send(content, key, body.into()));
                sent.map_err(|err| Failure::Failed(err.text()))?
            }
        }
    }
}

/// Sends requests one after the other.
struct Sender {
    http: reqwest::Client,
    url: Url,
    retry_for: Duration,
    print_ids: bool,
    trouble: Trouble,
}

/// Stdin, as batches.
struct Input {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    former: Former,
    ended: bool,
}

impl Input {
    /// What is at hand, at least one line; empty at the end of stdin. Beside it what is wrong with what follows.
    async fn batch(&mut self) -> (Batch, Option<String>) {
        let mut batch = Batch::default();
        loop {
            if let Err(wrong) = self.former.fill(&mut batch) {
                return (batch, Some(wrong));
            }
            if batch.is_full() || self.ended {
                return (batch, None);
            }
            // Only an empty batch waits; another one takes what is at hand and goes.
            let piece = match batch.is_empty() {
                true => self.pieces.recv().await,
                false => match self.pieces.try_recv() {
                    Ok(piece) => Some(piece),
                    Err(mpsc::error::TryRecvError::Empty) => return (batch, None),
                    Err(mpsc::error::TryRecvError::Disconnected) => None,
                },
            };
            match piece {
                Some(Ok(piece)) => self.former.push(&piece),
                Some(Err(err)) => return (batch, Some(format!("cannot read stdin: {err}"))),
                None => {
                    self.former.end();
                    self.ended = true;
                }
            }
        }
    }
}

/// What the server says to a request that it took.
#[derive(Deserialize)]
struct Answer {
    id: String,
}

/// Why a request will not be answered well.
enum SendError {
    /// The server takes less at once.
    TooLarge(String),
    Refused(String),
    GaveUp(String),
}

impl Sender {
    async fn many(&mut self, form: Form) -> Result<(), Failure> {
        let mut input = Input { pieces: read_stdin(), former: Former::new(form), ended: false };
        let mut warned = false;
        loop {
            let (batch, wrong) = input.batch().await;
            let replaced = input.former.replaced;
            if replaced > 0 && !warned {
                warned = true;
                say("a line is not UTF-8; U+FFFD stands for its bad bytes, and will for those of others");
            }
            let last = batch.is_empty();
            self.batches(batch).await?;
            if let Some(what) = wrong {
                return Err(Failure::Failed(format!("stdin: {what}; the lines before it are published")));
            }
            if last {
                if replaced > 0 {
                    say(format_args!("lines with U+FFFD for bytes that were not UTF-8: {replaced}"));
                }
                return Ok(());
            }
        }
    }

    /// One batch, in as many parts as the server needs.
    async fn batches(&mut self, batch: Batch) -> Result<(), Failure> {
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.send("application/x-ndjson", random_key(), part.body().into()).await {
                Ok(printed) => printed?,
                Err(SendError::TooLarge(text)) => match part.halves() {
                    Some((first, rest)) => parts.extend([rest, first]),
                    None => return Err(Failure::Failed(text)),
                },
                Err(err) => {
                    let place = format!("lines {} to {} of stdin", part.first, part.last);
                    return Err(Failure::Failed(match err {
                        SendError::GaveUp(text) => format!("{place} may not be published: {text}"),
                        other => format!("{place} are not published: {}", other.text()),
                    }));
                }
            }
        }
        Ok(())
    }

    /// One request, tried until it is answered. The inner result is that of printing the id.
    async fn send(
        &mut self,
        content: &'static str,
        key: String,
        body: Bytes,
    ) -> Result<Result<(), Failure>, SendError> {
        let started = clock::instant();
        let mut attempt = 0;
        loop {
            let request = self
                .http
                .post(self.url.clone())
                .header("content-type", content)
                .header("idempotency-key", &key)
                .timeout(ANSWER_TIME_MAX)
                .body(body.clone());
            let (why, pause) = match answer(request).await {
                Ok((status, _, answer)) if (200..300).contains(&status) => {
                    // Only an id says that the event is stored; a stray web server says 200 to anything.
                    let Ok(Answer { id }) = serde_json::from_slice(&answer) else {
                        let text = format!("{} answers without an id; is it a Riacho server?", self.url);
                        return Err(SendError::Refused(text));
                    };
                    self.trouble.is_over();
                    return Ok(self.print_id(&id));
                }
                Ok((status, pause, answer)) => {
                    let problem = Problem::parse(&answer);
                    let text = problem.text(status);
                    if !problem.may_retry(status) {
                        return Err(match status {
                            413 => SendError::TooLarge(text),
                            _ => SendError::Refused(text),
                        });
                    }
                    (text, pause)
                }
                Err(err) => (format!("cannot reach {}: {}", self.url, cause(&err)), Duration::ZERO),
            };
            let wait = backoff(attempt, random()).max(pause);
            if started.elapsed() + wait > self.retry_for {
                let text = format!("{why}; gave up after {}", duration_text(self.retry_for));
                return Err(SendError::GaveUp(text));
            }
            self.trouble.is(format!("{why}; trying again for {}", duration_text(self.retry_for)));
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    fn print_id(&self, id: &str) -> Result<(), Failure> {
        if self.print_ids { print(format_args!("{id}\n")) } else { Ok(()) }
    }
}

impl SendError {
    fn text(self) -> String {
        match self {
            Self::TooLarge(text) | Self::Refused(text) | Self::GaveUp(text) => text,
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(u16, Duration, Bytes), reqwest::Error> {
    let response = request.send().await?;
    let (status, pause) = (response.status().as_u16(), retry_after(response.headers()));
    Ok((status, pause, response.bytes().await?))
}

/// Pieces of stdin as they come, a bounded number ahead of what is sent.
fn read_stdin() -> mpsc::Receiver<io::Result<Bytes>> {
    let (pieces, receiver) = mpsc::channel(PIECES_AHEAD);
    // Nothing can end a read of stdin but its end; the thread ends with it, with the receiver, or with the process.
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = match stdin.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => Ok(Bytes::copy_from_slice(piece.get(..count).unwrap_or_default())),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                Err(err) => Err(err),
            };
            let failed = read.is_err();
            if pieces.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

fn whole_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let bound = LINE_BYTES_MAX as u64 + 1;
    io::stdin()
        .lock()
        .take(bound)
        .read_to_end(&mut bytes)
        .map_err(|err| Failure::Failed(format!("cannot read stdin: {err}")))?;
    if bytes.len() > LINE_BYTES_MAX {
        let text =
            format!("stdin is longer than {} MiB; --lines publishes line by line", LINE_BYTES_MAX >> 20);
        return Err(Failure::Failed(text));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| {
        Failure::Failed(
            "stdin is not UTF-8, and events are text; encode it first, e.g. with base64".to_owned(),
        )
    })?;
    // As in `$(...)`, but one: `echo hello |` means hello.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn stream_name(text: &str) -> Result<StreamName, Failure> {
    StreamName::parse(text).map_err(|err| Failure::Usage(format!("STREAM: the stream name {err}")))
}

fn url(server: &Server, stream: Option<&StreamName>) -> Result<Url, Failure> {
    server.streams(stream).ok_or_else(|| {
        Failure::Usage(
            "STREAM: `.` and `..` as segments cannot stand in a URL; give lines with \"stream\" on stdin instead"
                .to_owned(),
        )
    })
}

// The draft has the key as a structured-field string, which is quoted.
fn quoted_key(key: &str) -> Result<String, Failure> {
    if key.is_empty() || !key.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(Failure::Usage("--key: expected printable ASCII characters".to_owned()));
    }
    Ok(format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\"")))
}

fn random_key() -> String {
    let mut bytes = [0; 16];
    // Without randomness a key could be one that the server knows, and the event would be lost.
    getrandom::fill(&mut bytes).expect("the system gives random numbers");
    format!("\"{:032x}\"", u128::from_be_bytes(bytes))
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a duration like 250ms or 10m".to_owned())
}

const RETRY_FOR_ONE: Duration = Duration::from_secs(10);
/// As long as servers remember keys at least.
const RETRY_FOR_MANY: Duration = Duration::from_secs(600);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
const PIECE_BYTES: usize = 64 << 10;
const PIECES_AHEAD: usize = 16;
