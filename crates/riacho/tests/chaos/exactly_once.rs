//! Nothing is lost, repeated or out of order while connections are cut and the server is killed.

use super::{
    PATIENCE,
    client::ask,
    plan::{How, Ledger, Line, Planned, Publisher, STREAMS, plan, stream_name, text},
    proxy::Proxy,
    random::{Random, seed},
    readers::{Reader, Transport, follow},
    server::Server,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};
use tokio::{net::TcpStream, task::JoinSet, time::sleep};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_repeated_while_connections_are_cut_and_the_server_is_killed() {
    run("default limits", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_repeated_by_readers_that_are_fed_from_disk() {
    // A view of its own may hold any event; all together above their bound, each keeps no more than 64 KiB.
    let least = [
        ("RIACHO_LIMITS_EVENT_BYTES_MAX", "208KiB"),
        ("RIACHO_LIMITS_VIEW_BYTES_MAX", "208KiB"),
        ("RIACHO_LIMITS_VIEWS_BYTES_MAX", "208KiB"),
        ("RIACHO_LIMITS_TAIL_BYTES_MAX", "64KiB"),
        ("RIACHO_HEARTBEAT", "1s"),
    ];
    run("least memory", &least).await;
}

async fn run(name: &str, settings: &[(&'static str, &str)]) {
    let seed = seed();
    eprintln!("{name}: SEED={seed}");
    let ran = tokio::spawn({
        let settings: Vec<(&'static str, String)> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        async move { chaos(seed, &settings).await }
    });
    if let Err(err) = ran.await {
        panic!("{name}: SEED={seed} replays this\n{err}");
    }
}

async fn chaos(seed: u64, settings: &[(&'static str, String)]) {
    let mut settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.push(("RIACHO_RETRY", "100ms"));
    let mut server = Server::start(&settings, "").await;
    let proxy = Proxy::start(server.address, seed, "proxy", CUT_BYTES).await;
    let publishers = plan(seed, events());
    let total: usize = publishers.iter().flat_map(|publisher| &publisher.requests).map(Vec::len).sum();

    let mut ledgers = Vec::new();
    let mut tasks = JoinSet::new();
    for (number, (transport, target, streams)) in readers().into_iter().enumerate() {
        let ledger = Ledger::new(&format!("{transport:?} {target}"), &streams, &publishers);
        let ledger = Arc::new(Mutex::new(ledger));
        ledgers.push(Arc::clone(&ledger));
        let random = Random::new(seed, &format!("reader/{number}"));
        tasks.spawn(Reader { transport, target, ledger }.run(proxy.address, random));
    }
    let all: Vec<usize> = (0..STREAMS).collect();
    let ledger = Arc::new(Mutex::new(Ledger::new("riacho follow", &all, &publishers)));
    ledgers.push(Arc::clone(&ledger));
    // It waits longer before it comes back than the readers here do.
    let gentle = Proxy::start(server.address, seed, "gentle", 16 * CUT_BYTES).await;
    let address = gentle.address;
    tasks.spawn_blocking(move || follow(address, "s/*", &ledger));

    let acknowledged = Arc::new(Mutex::new(HashMap::new()));
    let mut publishing = JoinSet::new();
    for (number, publisher) in publishers.into_iter().enumerate() {
        let random = Random::new(seed, &format!("publishing/{number}"));
        publishing.spawn(publish(number, publisher, proxy.address, random, Arc::clone(&acknowledged)));
    }
    let mut random = Random::new(seed, "killer");
    let (mut kills, mut stops) = (0, 0);
    while !publishing.is_empty() {
        tokio::select! {
            // A publisher that ended or a reader that failed; neither is lost, as both sets are asked again.
            ended = publishing.join_next() => ended.unwrap().unwrap(),
            Some(ended) = tasks.join_next() => ended.unwrap(),
            () = sleep(Duration::from_millis(300) + random.millis(1500)) => {
                if random.one_in(3) {
                    server.stop().await;
                    stops += 1;
                } else {
                    server.kill().await;
                    kills += 1;
                }
                server.restart().await;
            }
        }
    }
    let finishing = async {
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    };
    if tokio::time::timeout(PATIENCE, finishing).await.is_err() {
        let states: Vec<String> = ledgers.iter().map(|ledger| ledger.lock().unwrap().to_string()).collect();
        panic!("readers did not get everything:\n{}\nserver:\n{}", states.join("\n"), server.said());
    }

    let acknowledged = Arc::into_inner(acknowledged).unwrap().into_inner().unwrap();
    assert_eq!(acknowledged.len(), total, "acknowledged events");
    let logged = read_all(server.address).await;
    assert_eq!(logged.len(), total, "events in the log");
    assert!(logged == acknowledged, "the log has other events than were acknowledged");
    server.stop().await;
    let faults = &proxy.faults;
    eprintln!(
        "{total} events, {kills} kills, {stops} stops, {} connections, {} cuts, {} stalls",
        faults.connections.load(Ordering::Relaxed),
        faults.cuts.load(Ordering::Relaxed),
        faults.stalls.load(Ordering::Relaxed)
    );
    for ledger in ledgers {
        eprintln!("  {}", ledger.lock().unwrap());
    }
}

// Each transport with one stream, with several and with a pattern.
fn readers() -> Vec<(Transport, String, Vec<usize>)> {
    let all: Vec<usize> = (0..STREAMS).collect();
    vec![
        (Transport::Sse, "/streams/s/0".to_owned(), vec![0]),
        (Transport::Sse, "/streams/s/1".to_owned(), vec![1]),
        (Transport::Sse, "/streams/s/1".to_owned(), vec![1]),
        (Transport::Sse, "/streams?stream=s%2F*".to_owned(), all.clone()),
        (Transport::Sse, "/streams?stream=s%2F2&stream=s%2F3&stream=s%2F5".to_owned(), vec![2, 3, 5]),
        (Transport::Sse, "/streams?stream=s%2F4&stream=no%2F**".to_owned(), vec![4]),
        (Transport::Ndjson, "/streams/s/2".to_owned(), vec![2]),
        (Transport::Ndjson, "/streams?stream=**".to_owned(), all.clone()),
        (Transport::LongPoll, "/streams/s/3".to_owned(), vec![3]),
        (Transport::LongPoll, "/streams?stream=s%2F*".to_owned(), all),
    ]
}

// Publishes all, one request after the other, each until it is acknowledged; notes the offset of every event.
async fn publish(
    number: usize,
    publisher: Publisher,
    address: SocketAddr,
    mut random: Random,
    acknowledged: Arc<Mutex<HashMap<(Line, u64), u64>>>,
) {
    let mut connection = None;
    for (request, events) in publisher.requests.iter().enumerate() {
        let headers =
            format!("content-type: {}\r\nidempotency-key: {number}-{request}\r\n", kind(publisher.how));
        let target = match publisher.how {
            How::Mixed => "/streams".to_owned(),
            How::Single | How::Batch => format!("/streams/{}", stream_name(events[0].line.1)),
        };
        let body = body(publisher.how, events);
        let last = loop {
            if connection.is_none() {
                connection = TcpStream::connect(address).await.ok();
            }
            let Some(stream) = &mut connection else { continue };
            match ask(stream, "POST", &target, &headers, &body).await {
                Ok(answer) if answer.status == 201 => {
                    let answer: Value = serde_json::from_str(&answer.body).unwrap();
                    assert_eq!(answer["count"], events.len(), "{target} {number}-{request}");
                    let (_, offset) = answer["id"].as_str().unwrap().split_once('-').unwrap();
                    break u64::from_str_radix(offset, 16).unwrap();
                }
                Ok(answer) => assert_eq!(answer.status, 503, "{target} {number}-{request}: {}", answer.body),
                Err(_) => {}
            }
            connection = None;
            sleep(random.millis(20)).await;
        };
        let mut acknowledged = acknowledged.lock().unwrap();
        for (event, offset) in events.iter().zip(last + 1 - events.len() as u64..) {
            let before = acknowledged.insert((event.line, event.number), offset);
            assert_eq!(before, None, "{event:?} was planned twice");
        }
    }
}

fn kind(how: How) -> &'static str {
    if how == How::Single { "text/plain" } else { "application/x-ndjson" }
}

fn body(how: How, events: &[Planned]) -> String {
    let line = |event: &Planned| match how {
        How::Mixed => format!("{}\n", json!({"stream": stream_name(event.line.1), "data": text(*event)})),
        How::Single | How::Batch => format!("{}\n", json!({"data": text(*event)})),
    };
    if how == How::Single { text(events[0]) } else { events.iter().map(line).collect() }
}

// What the log holds at the end, read page by page.
async fn read_all(address: SocketAddr) -> HashMap<(Line, u64), u64> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut events = HashMap::new();
    let mut cursor = "earliest".to_owned();
    let mut last = 0;
    loop {
        let target = format!("/streams?stream=**&from={cursor}");
        let answer = ask(&mut stream, "GET", &target, "accept: application/json\r\n", "").await.unwrap();
        let page: Value = serde_json::from_str(&answer.body).unwrap();
        for event in page["events"].as_array().unwrap() {
            let (_, offset) = event["id"].as_str().unwrap().split_once('-').unwrap();
            let offset = u64::from_str_radix(offset, 16).unwrap();
            assert!(offset > last, "offset {offset} after {last}");
            last = offset;
            let data = event["data"].as_str().unwrap();
            let numbers: Vec<usize> = data.split(' ').take(3).map_while(|word| word.parse().ok()).collect();
            let &[publisher, in_stream, number] = &numbers[..] else { panic!("not ours: {event}") };
            let before = events.insert(((publisher, in_stream), number as u64), offset);
            assert_eq!(before, None, "twice in the log: {event}");
        }
        if page["more"] == false {
            return events;
        }
        page["cursor"].as_str().unwrap().clone_into(&mut cursor);
    }
}

// Of each of the two runs.
fn events() -> usize {
    std::env::var("CHAOS_EVENTS").map_or(EVENTS, |events| events.parse().unwrap()).div_ceil(2)
}

const EVENTS: usize = 110_000;
// About the bytes after which connections are cut.
const CUT_BYTES: usize = 1 << 20;
