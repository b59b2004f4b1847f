//! Readers that stop reading: the others get everything meanwhile, memory stays bounded, and they themselves go on where
//! they stood, in the middle of an event.

use super::{
    PATIENCE,
    client::{Blocks, Body, ask},
    plan::{How, Ledger, Planned, Publisher, text},
    server::Server,
};
use serde_json::json;
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{Barrier, watch},
    task::JoinSet,
    time::timeout,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stall_disturb_nobody_and_go_on_in_mid_event() {
    let server = Server::start(&SETTINGS, "").await;
    let publisher = publisher();
    let all = Arc::new(vec![publisher]);
    let begun = Arc::new(Barrier::new(READERS + 1));
    let (read_on, may_read) = watch::channel(false);
    let (mut healthy, mut stalled) = (JoinSet::new(), JoinSet::new());
    for number in 0..READERS {
        let stalls = number % 20 == 0;
        let ledger = Ledger::new(&format!("reader {number} (stalls: {stalls})"), &[0], &all);
        let tasks = if stalls { &mut stalled } else { &mut healthy };
        let may_read = if stalls { may_read.clone() } else { watch::channel(true).1 };
        tasks.spawn(read(server.address, ledger, Arc::clone(&begun), may_read));
    }
    timeout(PATIENCE, begun.wait()).await.expect("all readers begin");
    let before = server.memory();

    let mut connection = TcpStream::connect(server.address).await.unwrap();
    for events in &all[0].requests {
        let lines: String =
            events.iter().map(|event| format!("{}\n", json!({"data": text(*event)}))).collect();
        let kind = "content-type: application/x-ndjson\r\n";
        let answer = ask(&mut connection, "POST", "/streams/s/0", kind, &lines).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    join(healthy, "healthy readers").await;
    let blocked = metric(server.address, "riacho_subscribers_blocked").await;
    assert_eq!(blocked, READERS / 20, "readers that are blocked");
    let grown = server.memory().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes more in memory with stalled readers");

    let helpings = metric(server.address, "riacho_helpings_total").await;
    read_on.send(true).unwrap();
    join(stalled, "stalled readers").await;
    let helpings = metric(server.address, "riacho_helpings_total").await - helpings;
    assert!(helpings >= READERS / 20, "stalled readers are fed from the log: {helpings} helpings");
    eprintln!("{grown} bytes more in memory with {blocked} readers stalled; {helpings} helpings for them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_of_a_trimmed_memory_stream_is_told_and_then_gets_what_is_kept() {
    let file = "[[stream]]\nmatch = \"m/*\"\ndurability = \"memory\"\nkeep = { events = 50 }\n";
    let server = Server::start(&SETTINGS, file).await;
    let mut stream = small(server.address).await;
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    let mut cursor: Option<String> = None;
    let mut body = Body::on(&mut stream, "/streams/m/0", "text/event-stream", None).await.unwrap();
    let mut blocks = Blocks::default();
    let mut seen: Vec<u64> = Vec::new();
    while cursor.is_none() {
        assert!(body.read(blocks.buffer()).await.unwrap());
        cursor = blocks.take().pop().and_then(|block| block.id);
    }
    for number in 1..=MEMORY_EVENTS {
        let data = text(Planned { line: (0, 0), number, bytes: 8 * 1024 });
        let answer = ask(&mut connection, "POST", "/streams/m/0", "", &data).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    // Goes on on the same connection, or is cut off in the middle of an event that is no longer kept, and resumes.
    let mut resets = 0;
    let reads = async {
        if collect(&mut body, &mut blocks, &mut cursor, &mut seen, &mut resets).await.is_err() {
            let again = TcpStream::connect(server.address).await.unwrap();
            let mut body =
                Body::on(again, "/streams/m/0", "text/event-stream", cursor.as_deref()).await.unwrap();
            let mut blocks = Blocks::default();
            collect(&mut body, &mut blocks, &mut cursor, &mut seen, &mut resets).await.unwrap();
        }
    };
    timeout(PATIENCE, reads).await.expect("the last event comes");
    assert_eq!(resets, 1, "resets");
    assert!(seen.is_sorted_by(|a, b| a < b), "in order, none twice: {seen:?}");
    let gaps = seen.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert_eq!(gaps, 1, "one gap, which the reset told: {seen:?}");
    assert!(
        seen.ends_with(&(MEMORY_EVENTS - 49..=MEMORY_EVENTS).collect::<Vec<_>>()),
        "what is kept: {seen:?}"
    );
}

// Reads until the last event; a gap without a reset fails.
async fn collect<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    body: &mut Body<S>,
    blocks: &mut Blocks,
    cursor: &mut Option<String>,
    seen: &mut Vec<u64>,
    resets: &mut usize,
) -> io::Result<()> {
    let mut told = false;
    while body.read(blocks.buffer()).await? {
        for block in blocks.take() {
            *cursor = block.id.clone().or(cursor.take());
            match (block.event.as_deref(), &block.data) {
                (Some("riacho.reset"), Some(_)) => {
                    *resets += 1;
                    told = true;
                }
                (None, None) => {}
                (None, Some(data)) => {
                    let number: u64 = data.split(' ').nth(2).unwrap().parse().unwrap();
                    let last = seen.last().copied().unwrap_or(0);
                    assert!(number == last + 1 || told, "{number} after {last} without a reset");
                    told = false;
                    seen.push(number);
                    if number == MEMORY_EVENTS {
                        return Ok(());
                    }
                }
                _ => panic!("unexpected {block:?}"),
            }
        }
    }
    Ok(())
}

// Begins, waits until it may read on, and reads everything on the one connection.
async fn read(
    address: SocketAddr,
    mut ledger: Ledger,
    begun: Arc<Barrier>,
    mut may_read: watch::Receiver<bool>,
) {
    let stream =
        if *may_read.borrow() { TcpStream::connect(address).await.unwrap() } else { small(address).await };
    let mut body = Body::on(stream, "/streams/s/0", "text/event-stream", None).await.unwrap();
    let mut blocks = Blocks::default();
    assert!(body.read(blocks.buffer()).await.unwrap(), "{ledger}: the first block");
    begun.wait().await;
    may_read.wait_for(|may_read| *may_read).await.unwrap();
    loop {
        for block in blocks.take() {
            let id = block.id.as_deref().unwrap();
            match &block.data {
                Some(data) => {
                    assert_eq!(block.event, None, "{ledger}");
                    ledger.event(id, None, data);
                }
                None => ledger.moved(id),
            }
        }
        if ledger.is_complete() {
            return;
        }
        let read = body.read(blocks.buffer()).await;
        assert!(matches!(read, Ok(true)), "{ledger}: the connection ended: {read:?}");
    }
}

// A connection that takes few bytes that nobody reads.
async fn small(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    socket.connect(address).await.unwrap()
}

async fn join(mut tasks: JoinSet<()>, whose: &str) {
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    };
    assert!(timeout(PATIENCE, all).await.is_ok(), "{whose} did not get everything");
}

/// The value of one metric.
pub(crate) async fn metric(address: SocketAddr, name: &str) -> usize {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let answer = ask(&mut stream, "GET", "/metrics", "", "").await.unwrap();
    let line = answer.body.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no metric {name}")).parse().unwrap()
}

// About 1.4 MB: many times what the kernel and a view hold for a reader that does not read.
fn publisher() -> Publisher {
    let mut number = 0;
    let mut event = |bytes| {
        number += 1;
        Planned { line: (0, 0), number, bytes }
    };
    let requests = (0..10)
        .map(|request| {
            let mut events: Vec<Planned> = (0..20).map(|small| event(1 + small * 300)).collect();
            events.extend((request % 3 == 0).then(|| event(200 * 1024)));
            events
        })
        .collect();
    Publisher { how: How::Batch, requests }
}

const READERS: usize = 400;
const MEMORY_EVENTS: u64 = 150;
// A helping from the log for each reader that is behind at one time, however much there is to read: 128 KiB of events
// and the one that goes beyond.
const GROWTH_BYTES_MAX: usize = READERS * (128 + 208) * 1024 + (16 << 20);
const SETTINGS: [(&str, &str); 4] = [
    ("RIACHO_LIMITS_EVENT_BYTES_MAX", "208KiB"),
    ("RIACHO_LIMITS_VIEW_BYTES_MAX", "208KiB"),
    ("RIACHO_LIMITS_VIEWS_BYTES_MAX", "208KiB"),
    ("RIACHO_LIMITS_TAIL_BYTES_MAX", "64KiB"),
];
