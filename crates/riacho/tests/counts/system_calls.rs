//! System calls of the real binary, counted by `strace`: for each delivery, each slice of a sweep, each publish.
//!
//! `strace` needs no privileges to watch its own child; what else could count (perf, seccomp) needs them, or `unsafe`. It is a
//! Debian package that `cargo xtask setup` installs. Where it is missing, or the machine lets nobody trace, the test says so
//! and ends; but `SLOW=1`, as `cargo xtask test` sets it, wants it installed.

use super::{PATIENCE, Seen, count, subscribe};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

#[tokio::test]
async fn system_calls_are_one_for_each_delivery_and_few_for_each_slice_and_publish() {
    if !can_trace() {
        return;
    }
    let traced = Traced::start();
    let seen = Arc::new(Seen::default());
    let mut readers = JoinSet::new();
    for _ in 0..SUBSCRIBERS {
        let stream = subscribe(traced.address).await;
        readers.spawn(count(stream, Arc::clone(&seen)));
    }
    let mut publisher = TcpStream::connect(traced.address).await.unwrap();
    // The first finds everything cold.
    for name in ["counted", "unread", "durable"] {
        publish(&mut publisher, name).await;
    }
    seen.wait_for(SUBSCRIBERS).await;
    for name in ["counted", "unread", "durable"] {
        mark(&mut publisher).await;
        for event in 2..=EVENTS + 1 {
            publish(&mut publisher, name).await;
            if name == "counted" {
                seen.wait_for(event * SUBSCRIBERS).await;
            }
        }
    }
    mark(&mut publisher).await;
    let phases = traced.stop();
    eprintln!("{SUBSCRIBERS} subscribers, {EVENTS} publishes: {phases:#?}");
    let [delivered, unread, durable] = &*phases else { panic!("{} phases", phases.len()) };

    let all = |calls: &Calls| calls.values().sum::<usize>();
    let of = |calls: &Calls, name: &str| calls.get(name).copied().unwrap_or(0);
    // All have an event before the next is published: nothing can be sent together.
    let sends = of(delivered, "send");
    assert_eq!(sends, SUBSCRIBERS * EVENTS, "sends to subscribers");
    // The reactor looks at its epoll after a slice, and the runtime at the other one.
    let slices = SUBSCRIBERS / 16 + 1;
    let rest = all(delivered) - sends;
    assert!(rest <= EVENTS * (2 * slices + OF_PUBLISH) + SLACK, "{rest} calls beside the sends");
    // Read it, answer, wait for the next.
    assert!(all(unread) <= EVENTS * OF_PUBLISH + SLACK, "{} calls to publish in memory", all(unread));
    // In between it is handed to the log's thread, written, synced and handed back.
    assert_eq!(of(durable, "fdatasync"), EVENTS, "syncs: each publisher waits for its own here");
    assert!(all(durable) <= EVENTS * OF_DURABLE_PUBLISH + SLACK, "{} calls to publish durably", all(durable));
    assert_eq!(of(unread, "send") + of(durable, "send"), 0, "sends of what nobody reads");
}

/// Calls by name; those of the reactor to send are `send`.
type Calls = BTreeMap<String, usize>;

fn can_trace() -> bool {
    match Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => eprintln!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr)),
        Err(err) => {
            assert!(std::env::var_os("SLOW").is_none(), "strace: {err}; `cargo xtask setup` installs it");
            eprintln!("SKIPPED: strace: {err}; `cargo xtask setup` installs it");
        }
    }
    false
}

/// The real binary under `strace`.
struct Traced {
    strace: Child,
    server: Pid,
    address: SocketAddr,
    dir: TempDir,
}

impl Traced {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let memory = ["counted", "unread"]
            .map(|name| format!("[[stream]]\nmatch = \"{name}\"\ndurability = \"memory\"\n"));
        fs::write(dir.path().join("riacho.toml"), memory.concat()).unwrap();
        // Each thread's calls are in order, on whole lines; 12 bytes of what is sent tell who sends.
        let mut strace = Command::new("strace")
            .args(["-f", "-qq", "-s", "12", "-o", TRACE, env!("CARGO_BIN_EXE_riacho"), "serve"])
            .args(["--listen", "127.0.0.1:0", "--data", "data", "--reactors", "1", "--log-format", "json"])
            .env("TOKIO_WORKER_THREADS", "1")
            .env("RIACHO_HEARTBEAT", "5m")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the server did not start: {said:#?}"));
            let fields: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let field = |name| fields.get(name).and_then(serde_json::Value::as_str);
            if field("message") == Some("serving") {
                break field("address").unwrap().parse().unwrap();
            }
            said.push(line);
        };
        // Ends with the server; until then it must not be stopped by a full pipe.
        thread::spawn(move || lines.for_each(drop));
        let strace_pid = strace.id();
        let children = fs::read_to_string(format!("/proc/{strace_pid}/task/{strace_pid}/children")).unwrap();
        let server = children.trim().parse().ok().and_then(Pid::from_raw).unwrap();
        Self { strace, server, address, dir }
    }

    // The calls between one mark and the next.
    fn stop(mut self) -> Vec<Calls> {
        kill_process(self.server, Signal::TERM).unwrap();
        // Ends after the server, with all it saw in the file.
        self.strace.wait().unwrap();
        let trace = fs::read_to_string(self.dir.path().join(TRACE)).unwrap();
        let mut phases = Vec::new();
        for line in trace.lines() {
            if line.contains("\"GET /healthz") {
                phases.push(Calls::new());
            }
            // A call that another thread's interrupted has two lines.
            let Some(calls) = phases.last_mut().filter(|_| !line.contains(" resumed>")) else { continue };
            let call = line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('('));
            let Some((name, arguments)) = call else { continue };
            let chunk = name.starts_with("send") && arguments.contains("\"00000");
            *calls.entry(if chunk { "send".to_owned() } else { name.to_owned() }).or_default() += 1;
        }
        phases.pop();
        phases
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = kill_process(self.server, Signal::KILL);
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

async fn publish(stream: &mut TcpStream, name: &str) {
    let event = format!("{}{}", super::MARK, "x".repeat(99));
    ask(
        stream,
        &format!(
            "POST /streams/{name} HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{event}",
            event.len()
        ),
    )
    .await;
}

// A request whose like there is no other.
async fn mark(stream: &mut TcpStream) {
    ask(stream, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
}

// Asks, and reads the answer to its end.
async fn ask(stream: &mut TcpStream, request: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    let answer = async {
        loop {
            assert!(stream.read_buf(&mut raw).await.unwrap() > 0, "the server hung up");
            let text = String::from_utf8_lossy(&raw);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            assert!(head.starts_with("HTTP/1.1 2"), "{text}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return;
            }
        }
    };
    timeout(PATIENCE, answer).await.unwrap();
}

const TRACE: &str = "trace";
const SUBSCRIBERS: usize = 100;
const EVENTS: usize = 30;
// Receive, send, wait.
const OF_PUBLISH: usize = 3;
// 9, and some that depend on which thread is first.
const OF_DURABLE_PUBLISH: usize = 11;
// What marks and the ticks of clocks take meanwhile; less than one for each event.
const SLACK: usize = 20;
