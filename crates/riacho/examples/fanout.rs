//! Measures what delivery costs: CPU time of a serving process per event delivered to N subscribers.
//!
//!     fanout limit ADDRESS RATE            the limit: accepts subscribers, sends each a frame RATE times a second
//!     fanout load ADDRESS PATH N RATE SECONDS PID
//!                                          N subscribers of PATH; publishes there at RATE (0: somebody else does)
//!
//! `load` prints events per second, CPU time of PID per delivery, and its memory per subscriber before the first event.
//! Both ends want a core of their own (`taskset`). Each is bounded by SECONDS.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]
#![expect(clippy::disallowed_methods, reason = "it measures time and is no part of the server")]

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    net::{SendFlags, send},
};
use std::{
    env, fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match *args.as_slice() {
        ["limit", address, rate] => limit(address, number(rate)),
        ["load", address, path, n, rate, seconds, pid] => {
            load(address, path, number(n), number(rate), number(seconds), number(pid))
        }
        _ => {
            eprintln!("usage: fanout limit ADDRESS RATE | fanout load ADDRESS PATH N RATE SECONDS PID");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("fanout: {err}");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// The bare send loop: what no server can go below.
fn limit(address: &str, rate: u64) -> std::io::Result<()> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let mut sockets = Vec::new();
    let body = format!("id: 59e6a1347fddf73f-ffff\ndata: {}\n\n", "x".repeat(100));
    let frame = format!("{:08x}\r\n{body}\r\n", body.len());
    let mut due = Instant::now();
    // Nobody subscribes or listens for longer than this.
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end {
        while let Ok((mut socket, _)) = listener.accept() {
            socket.set_nodelay(true)?;
            let mut head = [0; 1024];
            let _ = socket.read(&mut head)?;
            socket.write_all(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n",
            )?;
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
        if Instant::now() >= due {
            due += Duration::from_secs(1) / u32::try_from(rate.max(1)).unwrap_or(1);
            sockets.retain(|socket| {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                send(socket, frame.as_bytes(), flags).is_ok()
            });
        }
        thread::sleep(due.saturating_duration_since(Instant::now()).min(Duration::from_millis(5)));
    }
    Ok(())
}

fn load(address: &str, path: &str, n: u64, rate: u64, seconds: u64, pid: u64) -> std::io::Result<()> {
    let address: SocketAddr = address.parse().map_err(|_| std::io::Error::other("bad address"))?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let idle = memory(pid);
    let mut sockets = Vec::new();
    for number in 0..n {
        let mut socket = TcpStream::connect(address)?;
        let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n");
        socket.write_all(head.as_bytes())?;
        // One head in flight: what many at once leave behind in the server's heap is another question.
        if socket.read(&mut [0; 4096])? == 0 {
            return Err(std::io::Error::other("a subscription was refused"));
        }
        socket.set_nonblocking(true)?;
        epoll::add(&epoll, &socket, EventData::new_u64(number), EventFlags::IN | EventFlags::ET)?;
        sockets.push(socket);
    }
    thread::sleep(Duration::from_secs(2));
    drain(&epoll, &sockets, Duration::from_millis(500))?;
    let per_subscriber = (memory(pid).saturating_sub(idle) * 1024).checked_div(n).unwrap_or(0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(address, path, rate, &stop));
        let (cpu, started) = (cpu_micros(pid), Instant::now());
        let events = drain(&epoll, &sockets, Duration::from_secs(seconds))?;
        let (cpu, elapsed) = (cpu_micros(pid) - cpu, started.elapsed());
        stop.store(true, Ordering::Relaxed);
        let published = publisher.join().map_err(|_| std::io::Error::other("publisher panicked"))??;
        println!(
            "{n} subscribers: {published} published, {events} delivered, {:.0}/s, {:.2} us of server CPU per delivery, \
             {per_subscriber} bytes of memory per idle subscriber",
            events as f64 / elapsed.as_secs_f64(),
            cpu as f64 / events.max(1) as f64,
        );
        Ok(())
    })
}

// Reads what comes for `time`; counts events by their data lines.
fn drain(epoll: &rustix::fd::OwnedFd, sockets: &[TcpStream], time: Duration) -> std::io::Result<u64> {
    let end = Instant::now() + time;
    let mut ready = Vec::with_capacity(1024);
    let mut bytes = vec![0; 256 * 1024];
    let mut events = 0;
    while Instant::now() < end {
        ready.clear();
        let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        epoll::wait(epoll, spare_capacity(&mut ready), Some(&wait))?;
        for event in &ready {
            let Some(mut socket) = sockets.get(usize::try_from(event.data.u64()).unwrap_or(usize::MAX))
            else {
                continue;
            };
            loop {
                match socket.read(&mut bytes) {
                    Ok(0) => return Err(std::io::Error::other("a subscription ended")),
                    Ok(count) => {
                        let bytes = bytes.get(..count).unwrap_or_default();
                        events += bytes.windows(7).filter(|window| *window == b"\ndata: ").count() as u64;
                    }
                    Err(err) if err.kind() == ErrorKind::WouldBlock => break,
                    Err(err) => return Err(err),
                }
            }
        }
    }
    Ok(events)
}

fn publish(address: SocketAddr, path: &str, rate: u64, stop: &AtomicBool) -> std::io::Result<u64> {
    if rate == 0 {
        return Ok(0);
    }
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let data = "x".repeat(100);
    let request = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 100\r\n\r\n{data}");
    let (mut answer, mut count, mut due) = ([0; 4096], 0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1);
        socket.write_all(request.as_bytes())?;
        if socket.read(&mut answer)? == 0 {
            return Err(std::io::Error::other("the server closed the publisher's connection"));
        }
        count += 1;
    }
    Ok(count)
}

// User and system time of the process, in microseconds; the clock ticks 100 times a second.
fn cpu_micros(pid: u64) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).map(number).sum::<u64>() * 10_000
}

// Memory of its own, in KiB.
fn memory(pid: u64) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss_Anon:"));
    pss.and_then(|line| line.split_whitespace().next()).map_or(0, number)
}
