//! Readers that resume: each follows its streams through one proxy until it has all that is planned, and checks every
//! event as it comes.

use super::{
    client::{Block, Blocks, Body, ask},
    plan::Ledger,
    random::Random,
};
use serde_json::Value;
use std::{
    io,
    io::BufRead,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};
use tokio::{net::TcpStream, time::sleep};

/// How a reader reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    /// As a browser does: `from=earliest` in the address, and `Last-Event-ID` once there was an id.
    Sse,
    /// Lines of JSON.
    Ndjson,
    /// Page by page.
    LongPoll,
}

/// A reader, its way of reading and what it asks for.
pub(crate) struct Reader {
    pub(crate) transport: Transport,
    pub(crate) target: String,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
}

impl Reader {
    /// Reads until it has everything.
    pub(crate) async fn run(self, address: SocketAddr, mut random: Random) {
        let mut cursor: Option<String> = None;
        while !self.ledger.lock().unwrap().is_complete() {
            self.ledger.lock().unwrap().connections += 1;
            // However a connection ends, the next one goes on from the cursor.
            let _ = match self.transport {
                Transport::Sse => self.sse(address, &mut cursor).await,
                Transport::Ndjson => self.ndjson(address, &mut cursor).await,
                Transport::LongPoll => self.long_poll(address, &mut cursor).await,
            };
            sleep(random.millis(20)).await;
        }
    }

    async fn sse(&self, address: SocketAddr, cursor: &mut Option<String>) -> io::Result<()> {
        let target = with(&self.target, "from=earliest");
        let mut body = Body::open(address, &target, "text/event-stream", cursor.as_deref()).await?;
        let mut blocks = Blocks::default();
        while body.read(blocks.buffer()).await? {
            for block in blocks.take() {
                if let Some(id) = &block.id {
                    *cursor = Some(id.clone());
                }
                if self.block(&block) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    // Enters a block; whether the reader has everything.
    fn block(&self, block: &Block) -> bool {
        let mut ledger = self.ledger.lock().unwrap();
        let id = block.id.as_deref().unwrap();
        match (&block.data, block.event.as_deref()) {
            (None, None) => ledger.moved(id),
            (Some(_), Some("riacho.goodbye")) => ledger.moved(id),
            (Some(data), None) if self.target.contains("/s/") => {
                ledger.event(id, None, data);
            }
            (Some(data), None) => {
                let value: Value = serde_json::from_str(data).unwrap();
                ledger.event(id, value["stream"].as_str(), value["data"].as_str().unwrap());
            }
            _ => panic!("{ledger}: unexpected {block:?}"),
        }
        ledger.is_complete()
    }

    async fn ndjson(&self, address: SocketAddr, cursor: &mut Option<String>) -> io::Result<()> {
        let target = with(&self.target, "from=earliest");
        let mut body = Body::open(address, &target, "application/x-ndjson", cursor.as_deref()).await?;
        let mut raw = Vec::new();
        while body.read(&mut raw).await? {
            let Some(end) = raw.iter().rposition(|byte| *byte == b'\n') else { continue };
            let lines: Vec<u8> = raw.drain(..=end).collect();
            for line in std::str::from_utf8(&lines).unwrap().split_terminator('\n') {
                if self.line(&serde_json::from_str(line).unwrap(), cursor) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    // Enters an event in its JSON form; whether the reader has everything.
    fn line(&self, line: &Value, cursor: &mut Option<String>) -> bool {
        let mut ledger = self.ledger.lock().unwrap();
        let id = line["id"].as_str().unwrap();
        match line["type"].as_str() {
            None => {
                ledger.event(id, line["stream"].as_str(), line["data"].as_str().unwrap());
            }
            Some("riacho.heartbeat" | "riacho.goodbye") => ledger.moved(id),
            Some(_) => panic!("{ledger}: unexpected {line}"),
        }
        *cursor = Some(id.to_owned());
        ledger.is_complete()
    }

    async fn long_poll(&self, address: SocketAddr, cursor: &mut Option<String>) -> io::Result<()> {
        let mut stream = TcpStream::connect(address).await?;
        loop {
            let from = cursor.as_deref().unwrap_or("earliest");
            let target = with(&self.target, &format!("wait=5s&from={from}"));
            let answer = ask(&mut stream, "GET", &target, "accept: application/json\r\n", "").await?;
            assert_eq!(answer.status, 200, "{target}: {}", answer.body);
            let page: Value = serde_json::from_str(&answer.body).unwrap();
            let mut entered = None;
            for event in page["events"].as_array().unwrap() {
                self.line(event, &mut entered);
            }
            let next = page["cursor"].as_str().unwrap();
            self.ledger.lock().unwrap().moved(next);
            *cursor = Some(next.to_owned());
            if self.ledger.lock().unwrap().is_complete() {
                return Ok(());
            }
        }
    }
}

/// `riacho follow`, which resumes by itself; ends once it has printed all.
pub(crate) fn follow(address: SocketAddr, selected: &str, ledger: &Mutex<Ledger>) {
    let wanted = ledger.lock().unwrap().wanted();
    let mut child = Command::new(env!("CARGO_BIN_EXE_riacho"))
        .args(["follow", selected, "--json", "--from", "earliest", "--count", &wanted.to_string()])
        .args(["--server", &format!("http://{address}")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for line in std::io::BufReader::new(child.stdout.take().unwrap()).lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let mut ledger = ledger.lock().unwrap();
        let event_type = line["type"].as_str();
        assert!(event_type.is_none(), "{ledger}: unexpected {line}");
        ledger.event(line["id"].as_str().unwrap(), line["stream"].as_str(), line["data"].as_str().unwrap());
    }
    assert!(child.wait().unwrap().success(), "riacho follow failed");
    let ledger = ledger.lock().unwrap();
    assert!(ledger.is_complete(), "{ledger}: riacho follow ended early");
}

fn with(target: &str, parameter: &str) -> String {
    let joint = if target.contains('?') { '&' } else { '?' };
    format!("{target}{joint}{parameter}")
}
