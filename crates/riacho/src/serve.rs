//! A configuration becomes a running server: `riacho serve` and `riacho demo`.

use crate::{
    clock,
    config::{Config, Durability, Keep, Listen, StreamRule, StreamRules},
    demo,
    error::{Error, ErrorKind},
    http::{
        self, connection,
        server::{Server, Settings},
    },
    log::{self, Batch, Condition, Entry, Log, RowWrite, TableWrite, store::StoreSettings},
    reactor,
    rows::RowsSettings,
    schema::Schemas,
    source::{Reload, TableSettings},
    view::ViewLimits,
};
use axum::Router;
use riacho_core::{
    event::{Data, EventType},
    name::{Selector, StreamName},
    table::batch::Action,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use std::{
    io::{self, Write as _},
    net::ToSocketAddrs,
    thread,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// Where the server cannot start.
pub fn run(config: &Config, demo: bool, reload: Reload) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|err| Error::new(ErrorKind::Unavailable, "start the runtime").caused_by(err))?;
    runtime.block_on(serve(config, demo, reload))
}

async fn serve(config: &Config, demo: bool, reload: Reload) -> Result<(), Error> {
    admit_listen(config)?;
    let mut settings = settings(config, raise_descriptors())?;
    settings.reload = reload;
    let shop = if demo { Some(set_the_stage(&mut settings).await?) } else { None };
    let handler = |err| Error::new(ErrorKind::Unavailable, "listen to signals").caused_by(err);
    let mut term = signal(SignalKind::terminate()).map_err(handler)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(handler)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(handler)?;
    let connections = settings.connections_max;
    let started = clock::instant();
    let server = Server::start(settings, |_| {
        shop.map_or_else(Router::new, |shop| demo::routes().merge(shop.routes()))
    })
    .await?;
    let feeding = demo.then(|| tokio::spawn(feed_demo(server.log().clone())));
    let address = server.address();
    tracing::info!(%address, data = %config.log.data.display(), connections_max = connections,
        start_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), "serving");
    if config.http.listen.is_loopback() {
        tracing::info!(
            "only this machine can reach the server; --listen with --anonymous opens it to others"
        );
    }
    if demo {
        // For a person, not for a log: whoever started the demo wants to open it. Without a stderr nobody looks.
        let _ = writeln!(io::stderr(), "\n  The demo is at http://{address}/demo/ (Ctrl-C ends it)\n");
    }
    // Not under systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let signal = loop {
        tokio::select! {
            // A signal is only waited for; one that comes while draining is not heard.
            _ = term.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hangup.recv() => {
                if let Err(problems) = server.sources().reload().await {
                    tracing::error!(error = problems, "sources stay as they are: the configuration is wrong");
                }
            }
        }
    };
    tracing::info!(signal, "draining");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    if let Some(feeding) = feeding {
        feeding.abort();
    }
    server.stop().await;
    tracing::info!("stopped");
    Ok(())
}

// What the demo wants of a server, and its database.
async fn set_the_stage(settings: &mut Settings) -> Result<demo::Shop, Error> {
    settings.log.rules = demo_rules(settings.log.rules.clone());
    let wanted = |table: &TableSettings| {
        !table.is_pattern() && table.name.as_ref().unwrap_or(&table.table) == demo::ORDERS_TABLE
    };
    if settings.sources.iter().any(|source| source.tables.iter().any(wanted)) {
        let op = format!(
            "start the demo: it has a table `{}` of its own, and so has a source; rename that one with `as`, or use \
             `riacho serve`",
            demo::ORDERS_TABLE
        );
        return Err(Error::new(ErrorKind::BadRequest, op));
    }
    let data = settings.data.clone();
    let opened = tokio::task::spawn_blocking(move || demo::Shop::open(&data, clock::now()));
    let shop = opened.await.map_err(|_| Error::new(ErrorKind::Failed, "make the demo's database"))??;
    settings.sources.push(shop.source());
    settings.reload = settings.reload.and(shop.source());
    Ok(shop)
}

// Until it is aborted. What cannot be published is left out: the next second has newer.
async fn feed_demo(log: Log) {
    let stocks = StreamName::of_table(demo::STOCKS_TABLE).expect("the demo's tables have names");
    let fed = log.feed(&stocks, &DEMO.into(), true);
    debug_assert!(fed.is_ok(), "nobody else feeds the tables of the demo");
    let chance = getrandom::u64().unwrap_or(0);
    let market = demo::Market::new(chance, |symbol| {
        // A row that cannot be read is begun anew.
        let row = log.rows().row(&stocks, symbol).ok()??;
        serde_json::from_str(&row.value).ok()
    });
    let trading = demo::trade(market, |rows| {
        let (log, stocks) = (log.clone(), stocks.clone());
        async move {
            write_demo(&log, &stocks, &rows).await;
        }
    });
    tokio::join!(publish_demo(log.clone()), trading);
}

// The rows as one transaction; nothing where there are none.
async fn write_demo(log: &Log, table: &StreamName, rows: &[(&'static str, Value)]) {
    let row = |(key, value): &(&'static str, Value)| RowWrite {
        key: (*key).into(),
        action: Action::Upsert(value.to_string().into()),
        condition: Condition::None,
    };
    let writes: Vec<RowWrite> = rows.iter().map(row).collect();
    if writes.is_empty() {
        return;
    }
    let write = TableWrite { table: table.clone(), writes, txid: None, key: None, source: Some(DEMO.into()) };
    if let Err(err) = log.write(write, None).await {
        tracing::debug!(table = table.table(), error = ?err, "demo rows not written");
    }
}

async fn publish_demo(log: Log) {
    demo::feed(|stream, event_type, data| {
        let log = log.clone();
        async move {
            let entry = Entry {
                stream: StreamName::parse(stream).expect("the demo's streams have names"),
                event_type: event_type
                    .map(|text| EventType::parse(text).expect("the demo's types are types")),
                data: Data::json(data.to_string()).expect("a JSON value is JSON"),
            };
            if let Err(err) = log.append(Batch { entries: vec![entry], key: None }).await {
                tracing::debug!(stream, error = ?err, "demo event not published");
            }
        }
    })
    .await;
}

// What the demo wants for its streams, unless configured otherwise.
fn demo_rules(rules: StreamRules) -> StreamRules {
    let rule = |stream, durability| StreamRule {
        matches: Selector::parse(stream).expect("the demo's streams have names"),
        durability,
        keep: Keep { events: Some(3600), ..Keep::DEFAULT },
        closed: false,
    };
    let exact = |name| Selector::parse(name).expect("the demo's tables have names");
    rules
        .or(rule(demo::CLOCK_STREAM, Durability::Durable))
        .or(rule(demo::METRICS_STREAM, Durability::Memory))
        .or_table(exact(demo::STOCKS_TABLE))
        .or_table(exact(demo::ORDERS_TABLE))
}

// Everyone who reaches the address may read and write everything, so an open address has to be asked for.
fn admit_listen(config: &Config) -> Result<(), Error> {
    if config.http.listen.is_loopback() || config.http.anonymous {
        return Ok(());
    }
    let op = format!(
        "listen on {}: no authentication exists yet, so everyone who reaches that address could read and write every \
         stream; add --anonymous if that is meant",
        config.http.listen
    );
    Err(Error::new(ErrorKind::BadRequest, op))
}

/// What a server is started with under `config`, in a process that may open `descriptors` files.
///
/// # Errors
/// Where the address to listen on cannot be resolved.
pub fn settings(config: &Config, descriptors: u64) -> Result<Settings, Error> {
    let limits = &config.limits;
    let delivery = &config.delivery;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let frame_bytes_min =
        if config.sources.is_empty() { FRAME_BYTES_MIN } else { FRAME_BYTES_MIN_OF_SOURCES };
    let frame_bytes_max = (limits.batch_bytes_max as u64).saturating_mul(3).max(frame_bytes_min);
    let schemas = Schemas::read(config.log.streams.tables().iter())?;
    // A row comes in as a body, which must fit.
    let row_bytes_max = limits.row_bytes_max.min(limits.publish_bytes_in_flight_max);
    Ok(Settings {
        listen: resolve(&config.http.listen)?,
        data: config.log.data.clone(),
        connections_max: limits.connections_within(descriptors),
        connections_per_address_max: limits.connections_per_address_max,
        drain: config.http.drain,
        connection: connection::Settings {
            head_bytes_max: limits.head_bytes_max,
            head_time_max: limits.head_time_max,
            heartbeat: delivery.heartbeat,
        },
        http: http::Settings {
            origins: config.http.cors_origins.clone(),
            heartbeat: delivery.heartbeat,
            retry: delivery.retry,
            event_bytes_max: limits.event_bytes_max,
            batch_events_max: limits.batch_events_max,
            batch_bytes_max: limits.batch_bytes_max,
            publish_bytes_in_flight_max: limits.publish_bytes_in_flight_max,
            streams_per_subscription_max: limits.streams_per_subscription_max,
            long_poll_wait_max: limits.long_poll_wait_max,
            page_events_max: limits.page_events_max,
            websocket_message_bytes_max: limits.websocket_message_bytes_max,
            websocket_subscriptions_max: limits.websocket_subscriptions_max,
            row_bytes_max,
            schemas: schemas.clone(),
            snapshot_hold: config.tables.snapshot_hold,
            snapshot_max_age: config.tables.snapshot_max_age,
            snapshots_max: limits.snapshots_max,
        },
        log: log::Settings {
            rules: config.log.streams.clone(),
            create: config.log.create,
            views: ViewLimits {
                view_bytes_max: limits.view_bytes_max,
                views_bytes_max: limits.views_bytes_max,
            },
            store: StoreSettings {
                segment_bytes_max: SEGMENT_BYTES_MAX.max(frame_bytes_max.saturating_mul(2)),
                frame_bytes_max,
                tail_bytes_max: limits.tail_bytes_max as u64,
                keys_age: KEYS_AGE,
                keys_max: limits.idempotency_keys_max,
                streams_max: limits.streams_max,
            },
            schemas,
            row_bytes_max,
            rows: RowsSettings {
                cache_bytes: config.tables.rows_cache_bytes,
                pending_bytes_max: ROWS_PENDING_BYTES_MAX,
            },
            views_max: limits.views_max,
            memory_bytes_max: limits.memory_bytes_max,
            streams_max: limits.streams_max,
            keys_max: limits.idempotency_keys_max,
            trim_interval: config.log.trim_interval,
        },
        reactors: reactor::Settings {
            count: if delivery.reactors == 0 { cores } else { delivery.reactors },
            heartbeat: delivery.heartbeat,
            retry: delivery.retry,
        },
        sources: config.sources.clone(),
        reload: Reload::new({
            let sources = config.sources.clone();
            move || Ok(sources.clone())
        }),
    })
}

fn resolve(listen: &Listen) -> Result<Vec<std::net::SocketAddr>, Error> {
    let addresses = (listen.host(), listen.port()).to_socket_addrs();
    let addresses = addresses.map_err(|err| {
        Error::new(ErrorKind::Unavailable, format!("resolve the address {listen}")).caused_by(err)
    })?;
    Ok(addresses.collect())
}

// Raises the limit of open files as far as the process may; gives what it is then.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(err) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = %err, "the limit of open files could not be raised");
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    tracing::info!(open_files_max = now, "limit of open files");
    now
}

// Who feeds the demo's table of stocks.
const DEMO: &str = "demo";
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
// Room for many publishers in one commit.
const FRAME_BYTES_MIN: u64 = 16 << 20;
// Room for a transaction of a database, the rows before among it, that is not told in parts.
const FRAME_BYTES_MIN_OF_SOURCES: u64 = 48 << 20;
// Changes that are visible and wait to be applied to the file of rows.
const ROWS_PENDING_BYTES_MAX: usize = 32 << 20;
// The least the protocol promises is ten minutes from the answer.
const KEYS_AGE: Duration = Duration::from_secs(15 * 60);
