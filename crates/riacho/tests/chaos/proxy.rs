//! A TCP proxy that cuts connections at any byte, delays and stalls them, both ways.

use super::random::Random;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{sleep, timeout},
};

/// A proxy that runs until it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) faults: Arc<Faults>,
    task: tokio::task::JoinHandle<()>,
}

/// What it does to connections, and how often it did.
#[derive(Default)]
pub(crate) struct Faults {
    /// From now on it only passes bytes on.
    pub(crate) calm: AtomicBool,
    pub(crate) connections: AtomicU64,
    pub(crate) cuts: AtomicU64,
    pub(crate) stalls: AtomicU64,
}

impl Proxy {
    /// A proxy in front of `target`; about half its connections are cut before `bytes` went one way.
    pub(crate) async fn start(target: SocketAddr, seed: u64, name: &str, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Arc::<Faults>::default();
        let (shared, name) = (Arc::clone(&faults), name.to_owned());
        let task = tokio::spawn(async move {
            let mut number = 0_u64;
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                number += 1;
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let random = Random::new(seed, &format!("{name}/{number}"));
                tokio::spawn(connection(client, target, random, Arc::clone(&shared), bytes));
            }
        });
        Self { address, faults, task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(
    client: TcpStream,
    target: SocketAddr,
    mut random: Random,
    faults: Arc<Faults>,
    bytes: usize,
) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // Whether a cut shows as an end or as a reset; half a response may end either way.
    let reset = random.one_in(2);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (cut, is_cut) = watch::channel(false);
    let cut = Arc::new(cut);
    let upward = pump(from_client, to_server, random.clone(), &faults, bytes, is_cut.clone(), &cut);
    random.next();
    let downward = pump(from_server, to_client, random, &faults, bytes, is_cut, &cut);
    let ((from_client, to_server), (from_server, to_client)) = tokio::join!(upward, downward);
    for stream in [from_client.reunite(to_client).unwrap(), from_server.reunite(to_server).unwrap()] {
        if reset {
            let _ = stream.set_zero_linger();
        }
    }
}

// Passes bytes on until one side ends or the connection is cut; gives the halves back to be closed together.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut random: Random,
    faults: &Faults,
    bytes: usize,
    mut is_cut: watch::Receiver<bool>,
    cut: &watch::Sender<bool>,
) -> (OwnedReadHalf, OwnedWriteHalf) {
    let mut left = random.magnitude(2 * bytes);
    let mut stall_after = if random.one_in(8) { random.magnitude(bytes) } else { usize::MAX };
    let pass = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let calm = faults.calm.load(Ordering::Relaxed);
            let most = if random.one_in(4) { random.magnitude(buffer.len()) } else { buffer.len() };
            let count = from.read(&mut buffer[..most]).await.unwrap_or(0);
            if count == 0 {
                return;
            }
            if calm {
                if to.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
                continue;
            }
            if random.one_in(50) {
                sleep(random.millis(20)).await;
            }
            if stall_after < count {
                faults.stalls.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(200) + random.millis(600)).await;
                stall_after = usize::MAX;
            }
            stall_after = stall_after.saturating_sub(count);
            let passed = count.min(left);
            if to.write_all(&buffer[..passed]).await.is_err() {
                return;
            }
            left -= passed;
            if left == 0 {
                faults.cuts.fetch_add(1, Ordering::Relaxed);
                // Sometimes only after the other side has fallen silent about it.
                let _ = timeout(random.millis(20), std::future::pending::<()>()).await;
                return;
            }
        }
    };
    tokio::select! {
        // What was read and not written yet is lost: that is a cut.
        () = pass => {}
        _ = is_cut.wait_for(|cut| *cut) => {}
    }
    let _ = cut.send(true);
    (from, to)
}
