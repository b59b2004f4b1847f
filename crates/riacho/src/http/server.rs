//! Which connections are accepted, and how all of them end.

use super::{App, Gate, connection, connection::Serving};
use crate::{
    error::{Error, ErrorKind},
    feed::Feeder,
    limits::{Connections, Hit},
    log::{self, Log},
    metrics::Metrics,
    reactor::{self, Reactors},
    source::{Reload, SourceSettings, Sources},
};
use axum::Router;
use socket2::{Domain, Protocol, Socket, Type};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; the first that works of several.
    pub listen: Vec<SocketAddr>,
    /// The directory of the log.
    pub data: PathBuf,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections from one address.
    pub connections_per_address_max: usize,
    /// How long a drain may take.
    pub drain: Duration,
    /// Bounds of a connection.
    pub connection: connection::Settings,
    /// Bounds of requests.
    pub http: super::Settings,
    /// The log.
    pub log: log::Settings,
    /// The reactors.
    pub reactors: reactor::Settings,
    /// Where rows come from outside.
    pub sources: Vec<SourceSettings>,
    /// What they are after the configuration has changed.
    pub reload: Reload,
}

/// A server that runs.
pub struct Server {
    address: SocketAddr,
    log: Log,
    reactors: Arc<Reactors>,
    feeder: Arc<Feeder>,
    sources: Sources,
    drain: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    /// Drops the snapshots that are held for too long.
    expiring: JoinSet<()>,
}

impl Server {
    /// Opens the log, starts the reactors and listens. `extra` makes pages beside the protocol, such as the demo's.
    ///
    /// # Errors
    /// Where the log cannot be opened, the address not be listened on, or a thread not be started.
    pub async fn start(settings: Settings, extra: impl FnOnce(&Log) -> Router) -> Result<Self, Error> {
        let listener = listen(&settings.listen)?;
        let address = listener.local_addr().map_err(|err| {
            Error::new(ErrorKind::Unavailable, "learn the listening address").caused_by(err)
        })?;
        let (data, log_settings) = (settings.data.clone(), settings.log.clone());
        let runtime = tokio::runtime::Handle::current();
        let opened = tokio::task::spawn_blocking(move || {
            // The log starts a task of this runtime.
            let _within = runtime.enter();
            Log::open(&data, log_settings, crate::clock::now())
        });
        let panicked = |_| Error::new(ErrorKind::Failed, "open the log");
        let log = opened.await.map_err(panicked)?.map_err(|err| {
            Error::new(err.kind(), format!("open the log in {}", settings.data.display())).caused_by(err)
        })?;
        let reactors = Arc::new(Reactors::start(settings.reactors)?);
        let feeder = Feeder::start(log.clone())?;
        reactors.set_feeder(&feeder);
        log.set_sweepers(reactors.sweepers());
        let connections = Connections::new(settings.connections_max, settings.connections_per_address_max);
        let metrics = Arc::new(Metrics::new(Arc::clone(&connections)));
        let (drain, draining) = watch::channel(false);
        let sources = Sources::new(log.clone(), settings.reload);
        sources.run(settings.sources).await;
        let app = App::new(
            log.clone(),
            Arc::clone(&feeder),
            Arc::clone(&reactors),
            Arc::clone(&metrics),
            sources.clone(),
            settings.http.clone(),
            draining.clone(),
        );
        let mut expiring = JoinSet::new();
        expiring.spawn(Arc::clone(app.snapshots()).expire());
        let serving = Serving {
            gate: Gate::new(app, extra(&log)),
            reactors: Arc::clone(&reactors),
            metrics,
            settings: settings.connection,
            drain: draining,
        };
        let accept = Accept { serving, connections, drain_time: settings.drain };
        let accepting = tokio::spawn(accept.run(listener));
        Ok(Self { address, log, reactors, feeder, sources, drain, accepting, expiring })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its log, for publishers in the same process.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its sources.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Says goodbye to all readers, lets requests in flight finish within the drain time, and closes the log.
    ///
    /// Until they have, new connections are answered: readers are told when to come back.
    pub async fn stop(self) {
        let Self { log, reactors, feeder, sources, drain, accepting, mut expiring, .. } = self;
        // There is always a receiver: the accepting task.
        let _ = drain.send(true);
        let drained = tokio::spawn(async move { reactors.drain().await });
        if accepting.await.is_err() {
            tracing::error!("accepting task panicked");
        }
        if drained.await.is_err() {
            tracing::error!("drain of the reactors panicked");
        }
        expiring.shutdown().await;
        sources.stop().await;
        log.close().await;
        if tokio::task::spawn_blocking(move || feeder.close()).await.is_err() {
            tracing::error!("feeder panicked");
        }
    }
}

struct Accept {
    serving: Serving,
    connections: Arc<Connections>,
    drain_time: Duration,
}

impl Accept {
    // Accepts until the server drains, and then until all connections have ended or the drain time is over.
    async fn run(self, listener: TcpListener) {
        let mut tasks = JoinSet::new();
        let mut drain = self.serving.drain.clone();
        let drains = loop {
            tokio::select! {
                // Accepting is cancel safe, and a connection not accepted yet is accepted below.
                accepted = listener.accept() => self.accepted(accepted, &mut tasks).await,
                // Joined at once: until then a task that has ended keeps its memory.
                Some(_) = tasks.join_next() => {}
                drains = async { drain.wait_for(|drain| *drain).await.is_ok() } => break drains,
            }
        };
        if !drains {
            // The server was dropped, not stopped.
            return;
        }
        let over = tokio::time::sleep(self.drain_time);
        let mut over = std::pin::pin!(over);
        loop {
            tokio::select! {
                biased;
                // As above, and first: who was let into the backlog is answered. A task that was joined needs nothing more.
                accepted = listener.accept() => self.accepted(accepted, &mut tasks).await,
                ended = tasks.join_next() => {
                    if ended.is_none() {
                        return;
                    }
                }
                () = &mut over => {
                    tracing::warn!(connections = tasks.len(), "drain time is over: cutting what is left");
                    return;
                }
            }
        }
    }

    async fn accepted(&self, accepted: std::io::Result<(TcpStream, SocketAddr)>, tasks: &mut JoinSet<()>) {
        match accepted {
            Ok((stream, address)) => self.admit(stream, address, tasks),
            Err(err) => {
                // Mostly too many open files: others must end first.
                tracing::warn!(error = %err, "connection not accepted");
                self.serving.metrics.limit("accept_failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr, tasks: &mut JoinSet<()>) {
        let metrics = &self.serving.metrics;
        metrics.accept();
        let permit = match self.connections.admit(address.ip()) {
            Ok(permit) => permit,
            // Closed without an answer: to a native EventSource any answer but 200 would be final.
            Err(Hit::Total) => return metrics.limit("connections_max"),
            Err(Hit::Address) => return metrics.limit("connections_per_address_max"),
        };
        tasks.spawn(self.serving.clone().serve(stream, address, permit));
    }
}

fn listen(addresses: &[SocketAddr]) -> Result<TcpListener, Error> {
    let mut failed = Error::new(ErrorKind::Unavailable, "listen: no address is given");
    for address in addresses {
        match bind(*address) {
            Ok(listener) => return Ok(listener),
            Err(err) => {
                failed = Error::new(ErrorKind::Unavailable, format!("listen on {address}")).caused_by(err);
            }
        }
    }
    Err(failed)
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Set on the listener and inherited by what it accepts, so that no connection costs a call for them.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_BYTES_MAX)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

// Unsent bytes that the kernel takes for one connection: bounds what a reader that stopped reading pins.
const NOTSENT_BYTES_MAX: u32 = 16 * 1024;
const BACKLOG: i32 = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
