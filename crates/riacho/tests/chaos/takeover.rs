//! A connection leaves hyper for a reactor in awkward moments, and leaves the reactor at the end of an event.

use super::{
    PATIENCE,
    client::{Block, Blocks, Body, ask},
    server::Server,
    stall::metric,
};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

#[tokio::test]
async fn a_connection_that_published_reads_afterwards() {
    let server = Server::start(&[], "").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for data in ["a", "b"] {
        assert_eq!(ask(&mut stream, "POST", "/streams/x", "", data).await.unwrap().status, 201);
    }
    let mut body = Body::on(stream, "/streams/x?from=earliest", "text/event-stream", None).await.unwrap();
    publish(server.address, "c").await;
    assert_eq!(events(&mut body, 3).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_stream_asked_for_behind_an_answer_that_is_not_read_yet_comes_after_it_whole() {
    let server = Server::start(&[], "").await;
    let large = "x".repeat(500_000);
    publish(server.address, &large).await;
    publish(server.address, &large).await;
    for round in 0..ROUNDS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        let page = "GET /streams/x?from=earliest HTTP/1.1\r\nhost: x\r\naccept: application/json\r\n\r\n";
        let events_from = "GET /streams/x?tail=1 HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n";
        stream.write_all(format!("{page}{events_from}").as_bytes()).await.unwrap();
        // The answer to the first request does not fit into the socket, so the second one's waits behind it.
        let mut raw = Vec::new();
        let read = async {
            while !raw[raw.len().saturating_sub(1000)..].windows(6).any(|window| window == b"retry:") {
                assert!(stream.read_buf(&mut raw).await.unwrap() > 0, "round {round}: ended");
            }
            let mut rest = vec![0; large.len()];
            stream.read_exact(&mut rest).await.unwrap();
            raw.append(&mut rest);
        };
        assert!(timeout(PATIENCE, read).await.is_ok(), "round {round}: {} bytes came", raw.len());
        let text = String::from_utf8(raw).unwrap();
        let (_, second) = text.rsplit_once("HTTP/1.1 200 OK").unwrap();
        assert!(second.contains("content-type: text/event-stream"), "round {round}");
        let (head, chunks) = second.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("transfer-encoding: chunked"), "round {round}");
        assert!(chunks.contains("\r\n0007") && chunks.contains("data: xxx"), "round {round}: {chunks:.200}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_says_goodbye_between_events_and_never_within_one() {
    let mut server = Server::start(&[], "").await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut healthy = Body::on(stream, "/streams/x", "text/event-stream", None).await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    let stream = socket.connect(server.address).await.unwrap();
    let mut stalled = Body::on(stream, "/streams/x", "text/event-stream", None).await.unwrap();
    let large = "x".repeat(1_000_000);
    publish(server.address, &large).await;
    assert_eq!(events(&mut healthy, 1).await, [large.as_str()]);
    // Nothing of it was read, so the other one is in the middle of the event.
    assert_eq!(metric(server.address, "riacho_subscribers_blocked").await, 1);

    server.stop().await;

    let (mut raw, mut goodbye) = (Blocks::default(), Vec::new());
    while timeout(PATIENCE, healthy.read(raw.buffer())).await.unwrap().unwrap() {
        goodbye.extend(raw.take());
    }
    assert!(
        matches!(&goodbye[..], [Block { event: Some(event), .. }] if event == "riacho.goodbye"),
        "{goodbye:?}"
    );

    let mut raw = Blocks::default();
    let ended = loop {
        match timeout(PATIENCE, stalled.read(raw.buffer())).await.unwrap() {
            Ok(true) => {}
            ended => break ended,
        }
    };
    assert!(ended.is_err(), "the body of a reader in mid-event was ended as if it were whole");
    assert!(!stalled.is_between_chunks(), "the reader was not in mid-event");
    let blocks = raw.take();
    assert!(blocks.iter().all(|block| block.data.is_none() && block.event.is_none()), "{blocks:?}");
}

async fn publish(address: SocketAddr, data: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(&mut stream, "POST", "/streams/x", "", data).await.unwrap().status, 201);
}

// The data of the next events.
async fn events(body: &mut Body<TcpStream>, count: usize) -> Vec<String> {
    let mut blocks = Blocks::default();
    let mut events = Vec::new();
    while events.len() < count {
        assert!(timeout(PATIENCE, body.read(blocks.buffer())).await.unwrap().unwrap());
        events.extend(blocks.take().into_iter().filter_map(|block| block.data));
    }
    events
}

const ROUNDS: usize = 10;
