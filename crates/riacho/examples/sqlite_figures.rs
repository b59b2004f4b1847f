//! Measures a file of SQLite as a source: `cargo run --release -p riacho --example sqlite_figures -- DIRECTORY`.
//!
//! Prints the copy of a million rows of about 300 bytes, the memory it took, the time from a commit's return to the bytes
//! at a subscriber, and what waiting costs.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement")]

use axum::Router;
use riacho::{
    config::Config,
    http::server::Server,
    serve,
    source::{Database, SourceSettings, Sources, SqliteSettings, TableSettings},
};
use rusqlite::Connection;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

#[tokio::main]
async fn main() {
    let directory = PathBuf::from(std::env::args().nth(1).unwrap());
    let path = directory.join("figures.db");
    fill(&path);
    let args = [("listen", "127.0.0.1:0"), ("data", directory.join("data").to_str().unwrap())]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = serve::settings(&Config::from_parts(&args, &[], None).unwrap(), 4096).unwrap();
    let server = Server::start(settings, |_| Router::new()).await.unwrap();
    let table = TableSettings { table: "orders".to_owned(), name: None, columns: None, filter: None };
    let database = Database::Sqlite(SqliteSettings { path: path.clone(), setup: true });
    let wanted = vec![SourceSettings { name: "figures".into(), database, tables: vec![table] }];
    let sources = Sources::new(server.log().clone());

    let (idle, before) = (cpu_over(Duration::from_secs(5)).await, resident("VmRSS:"));
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let begun = Instant::now();
    sources.run(wanted).await;
    while !sources.list().iter().all(|info| info.state.as_str() == "live") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let taken = begun.elapsed();
    println!("copy: {:.2} s, {:.0} rows/s", taken.as_secs_f64(), f64::from(ROWS) / taken.as_secs_f64());
    println!("memory over idle: {} MiB at most", (resident("VmHWM:") - before) / 1024);
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("idle: {idle:.3} % of a core without, {:.3} % with", cpu_over(Duration::from_secs(20)).await);

    let address = server.address();
    let mut taken = tokio::task::spawn_blocking(move || latencies(address, &path)).await.unwrap();
    taken.sort();
    let at = |part: usize| taken.get(taken.len() * part / 100).unwrap();
    println!("commit to subscriber: median {:?}, p99 {:?}, max {:?}", at(50), at(99), taken.last().unwrap());
}

fn fill(path: &std::path::Path) {
    let mut db = Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = wal; CREATE TABLE orders (id INTEGER PRIMARY KEY, a TEXT, b REAL, c TEXT)",
    )
    .unwrap();
    let all = db.transaction().unwrap();
    let mut insert = all.prepare("INSERT INTO orders VALUES (?1, ?2, ?3, ?4)").unwrap();
    for id in 0..ROWS {
        let text = format!("{id:0>120}");
        insert.execute((id, &text, f64::from(id) / 7.0, &text)).unwrap();
    }
    drop(insert);
    all.commit().unwrap();
}

fn latencies(address: std::net::SocketAddr, path: &std::path::Path) -> Vec<Duration> {
    let mut socket = TcpStream::connect(address).unwrap();
    let target = "/tables/orders?where=c%3D'mark'";
    write!(socket, "GET {target} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n").unwrap();
    let (send, marks) = mpsc::channel();
    thread::spawn(move || {
        let (mut seen, mut buffer) = (String::new(), [0; 65536]);
        loop {
            let count = socket.read(&mut buffer).unwrap_or(0);
            seen.push_str(&String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()));
            if count == 0 {
                return;
            }
            while let Some(end) = seen.find("\n\n") {
                let block: String = seen.drain(..end + 2).collect();
                if let Some((_, rest)) = block.split_once("round-")
                    && send
                        .send((Instant::now(), rest.split('"').next().unwrap_or_default().to_owned()))
                        .is_err()
                {
                    return;
                }
            }
        }
    });
    let db = Connection::open(path).unwrap();
    db.busy_timeout(Duration::from_secs(10)).unwrap();
    thread::sleep(Duration::from_secs(8));
    let one = |round: u32| {
        let round_text = format!("round-{round}");
        db.execute("UPDATE orders SET c = 'mark', a = ?1 WHERE id = 5", [&round_text]).unwrap();
        let committed = Instant::now();
        loop {
            let (at, mark) = marks.recv_timeout(Duration::from_secs(10)).unwrap();
            if mark == round.to_string() {
                thread::sleep(Duration::from_millis(u64::from(round % 37)));
                return at.saturating_duration_since(committed);
            }
        }
    };
    (0..300).map(one).collect()
}

async fn cpu_over(time: Duration) -> f64 {
    let before = cpu();
    tokio::time::sleep(time).await;
    (cpu() - before) / time.as_secs_f64() * 100.0
}

// Seconds of all threads, to a nanosecond's grain.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

const ROWS: u32 = 1_000_000;
