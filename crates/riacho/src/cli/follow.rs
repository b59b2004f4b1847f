//! `follow`: prints the events of streams as they come, and resumes by itself.

use super::{
    Env, Failure,
    client::{Problem, Server, ServerArg, Trouble, backoff, cause, http, random, retry_after, runtime},
    lines::Lines,
    resume::{Resume, Step},
    say,
};
use clap::Args;
use reqwest::{Response, Url};
use riacho_core::name::Selector;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::{self, BufWriter, Write as _},
    time::Duration,
};
use tokio::time::timeout;

#[derive(Args, Debug)]
pub(super) struct Follow {
    /// Streams, by name or by pattern (`*` is one segment, `**` the rest; quote them from the shell).
    #[arg(required = true, value_name = "STREAM")]
    streams: Vec<String>,
    /// Print each event as JSON: {"id","stream","type"?,"data","time"}.
    #[arg(long)]
    json: bool,
    /// Where to start: now, earliest, 10m (ago), an RFC 3339 time, or the id of an event to go on after it.
    #[arg(long, value_name = "PLACE", conflicts_with = "tail")]
    from: Option<String>,
    /// Start with the last N events.
    #[arg(long, value_name = "N")]
    tail: Option<u64>,
    /// End after N events.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    server: ServerArg,
}

impl Follow {
    pub(super) fn run(self, env: &Env) -> Result<(), Failure> {
        let server = self.server.resolve(env)?;
        let selectors: Result<Vec<_>, _> = self.streams.iter().map(|text| Selector::parse(text)).collect();
        let selectors = selectors.map_err(|err| Failure::Usage(format!("STREAM: the stream name {err}")))?;
        if self.count == Some(0) {
            return Ok(());
        }
        let follower = Follower {
            url: url(&server, &selectors),
            http: http()?,
            json: self.json,
            left: self.count,
            from: self.from.map(|from| ("from", from)).or(self.tail.map(|tail| ("tail", tail.to_string()))),
            resume: Resume::default(),
            trouble: Trouble::default(),
            attempt: 0,
        };
        runtime()?.block_on(follower.run())
    }
}

/// One subscription, over as many connections as it takes.
struct Follower {
    http: reqwest::Client,
    url: Url,
    json: bool,
    /// Events until the end, if there is one.
    left: Option<u64>,
    from: Option<(&'static str, String)>,
    resume: Resume,
    trouble: Trouble,
    /// Tries since the last sign of life.
    attempt: u32,
}

/// How a connection ended.
enum End {
    /// There is nothing more to do.
    Done,
    /// Try again, after this time at least.
    Lost(String, Duration),
    /// The server said goodbye.
    Left,
}

impl Follower {
    async fn run(mut self) -> Result<(), Failure> {
        let mut connected_before = false;
        loop {
            let pause = match self.connection(&mut connected_before).await? {
                End::Done => return Ok(()),
                End::Left => Duration::ZERO,
                End::Lost(why, pause) => {
                    self.trouble.is(format!("{why}; trying again"));
                    pause
                }
            };
            tokio::time::sleep(backoff(self.attempt, random()).max(pause)).await;
            self.attempt = self.attempt.saturating_add(1);
        }
    }

    async fn connection(&mut self, connected_before: &mut bool) -> Result<End, Failure> {
        let mut url = self.url.clone();
        let mut request = self.http.get(url.clone());
        match (self.resume.cursor(), &self.from) {
            (Some(cursor), _) => request = request.header("last-event-id", cursor),
            (None, from) => {
                if let Some((name, value)) = from {
                    url.query_pairs_mut().append_pair(name, value);
                    request = self.http.get(url);
                }
                if *connected_before {
                    say("the server gave no place to resume from; events since then may be missing here");
                }
            }
        }
        let request = request.header("accept", "application/x-ndjson");
        let response = match timeout(SILENCE_MAX, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(err)) => {
                return Ok(End::Lost(format!("cannot reach {}: {}", self.url, cause(&err)), Duration::ZERO));
            }
            Err(_) => return Ok(End::Lost(format!("no answer from {}", self.url), Duration::ZERO)),
        };
        match response.status().as_u16() {
            200 => {
                *connected_before = true;
                self.events(response).await
            }
            204 => {
                say("the stream is closed; nothing will come");
                Ok(End::Done)
            }
            status => {
                let pause = retry_after(response.headers());
                let body = timeout(SILENCE_MAX, response.bytes()).await;
                let problem = Problem::parse(&body.ok().and_then(Result::ok).unwrap_or_default());
                let text = problem.text(status);
                if problem.may_retry(status) {
                    Ok(End::Lost(text, pause))
                } else {
                    Err(Failure::Failed(text))
                }
            }
        }
    }

    async fn events(&mut self, mut response: Response) -> Result<End, Failure> {
        let content =
            response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("nothing named");
        if !content.starts_with("application/x-ndjson") {
            let text =
                format!("{} answers with {content}, not with events; is it a Riacho server?", self.url);
            return Err(Failure::Failed(text));
        }
        self.trouble.is_over();
        let mut out = BufWriter::new(io::stdout().lock());
        let mut lines = Lines::default();
        let mut goodbye = false;
        loop {
            let piece = match timeout(SILENCE_MAX, response.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) if goodbye => return Ok(End::Left),
                // What stands after the last line end was cut off and will come again.
                Ok(Ok(None)) => return Ok(lost("the connection was closed")),
                Ok(Err(err)) => return Ok(lost(&format!("the connection was lost: {}", cause(&err)))),
                Err(_) => {
                    return Ok(lost(&format!("the connection was silent for {} s", SILENCE_MAX.as_secs())));
                }
            };
            lines.push(&piece);
            while let Some(line) = lines.next() {
                match self.resume.take(line, self.json) {
                    Ok(Step::Print(text)) => {
                        self.attempt = 0;
                        writeln!(out, "{text}").map_err(|err| Failure::of_stdout(&err))?;
                        if let Some(left) = &mut self.left {
                            *left -= 1;
                            if *left == 0 {
                                out.flush().map_err(|err| Failure::of_stdout(&err))?;
                                return Ok(End::Done);
                            }
                        }
                    }
                    Ok(step @ (Step::Say(_) | Step::Goodbye(_))) => {
                        // In the order of what happened, also where both go to one terminal.
                        out.flush().map_err(|err| Failure::of_stdout(&err))?;
                        goodbye |= matches!(step, Step::Goodbye(_));
                        if let Step::Say(text) | Step::Goodbye(text) = step {
                            say(text);
                        }
                    }
                    Ok(Step::Nothing) => self.attempt = 0,
                    Err(reason) => {
                        return Ok(lost(&format!("the server sent a line that is no event: {reason}")));
                    }
                }
            }
            if lines.pending() > LINE_BYTES_MAX {
                let text = format!("the server sent a line longer than {} MiB", LINE_BYTES_MAX >> 20);
                return Err(Failure::Failed(text));
            }
            out.flush().map_err(|err| Failure::of_stdout(&err))?;
            if is_unread() {
                return Err(Failure::Unread);
            }
        }
    }
}

/// Whether the reader of a piped stdout has gone. Without events no write would fail; a heartbeat is time to look.
fn is_unread() -> bool {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let polled = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_ok() && fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR))
}

fn lost(why: &str) -> End {
    End::Lost(why.to_owned(), Duration::ZERO)
}

/// One stream has a URL of its own; several, and the few names that cannot stand in a path, go into the query.
fn url(server: &Server, selectors: &[Selector]) -> Url {
    let one = match selectors {
        [Selector::Exact(name)] => server.streams(Some(name)),
        _ => None,
    };
    one.unwrap_or_else(|| {
        let mut url = server.streams(None).expect("only names are refused");
        url.query_pairs_mut().extend_pairs(selectors.iter().map(|s| ("stream", s.as_str())));
        url
    })
}

/// Three heartbeats; a connection that gives no sign of life for so long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// The longest event a server can be configured to take, with every byte escaped.
const LINE_BYTES_MAX: usize = 512 << 20;
