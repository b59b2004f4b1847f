//! Publishing and nothing else: how many events a second one core takes, and for how much.

use crate::bench::{
    client::Load,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::Results,
    row::{Case, Column, Goal, Row, warm},
    stage::Cores,
};

pub(crate) const ROW: Row = Row { name: "ingest", aliases: &[], cases, columns: COLUMNS, goals };

/// A way of publishing.
struct Way {
    workload: &'static str,
    connections: usize,
    pipeline: usize,
    batch: usize,
    cores: Cores,
}

fn cases(size: Size) -> Vec<Case> {
    let mut cases = Vec::new();
    for way in &WAYS {
        let servers: &[_] = match way {
            Way { cores: Cores::All, .. } => &DURABLE,
            Way { batch: 1, .. } => &SERVERS,
            // The peers know nothing like a batch, or each another.
            Way { .. } => &BATCHES,
        };
        for server in servers.iter().copied() {
            cases.push(Case::new(way.workload, server, move |stage| {
                let server = warm(stage, server, way.cores, &[])?;
                let mut figures = Load::on(stage, "publish", &server, "bench")
                    .set("--rate", 0)
                    .set("--connections", way.connections)
                    .set("--pipeline", way.pipeline)
                    .set("--batch", way.batch)
                    .set("--duration", size.time(2))
                    .run()?;
                if let (Some(events), Some(seconds)) =
                    (figures.get("window.acknowledged"), figures.get("window.seconds"))
                {
                    figures.insert(RATE.to_owned(), events / seconds);
                }
                Ok(figures)
            }));
        }
    }
    cases
}

fn goals(results: &Results) -> Vec<Goal> {
    let get = |way: usize, peer, figure| {
        WAYS.get(way).and_then(|way| results.get(ROW.name, way.workload, peer, figure))
    };
    let cpu = "window.server_cpu_us_per_publish";
    vec![
        Goal::at_least(
            "durable, one by one, events/s",
            get(0, Peer::RiachoDurable, RATE),
            50_000.0,
            Unit::Count,
        ),
        Goal::at_least(
            "durable, one by one, server on all cores, events/s",
            get(4, Peer::RiachoDurable, RATE),
            50_000.0,
            Unit::Count,
        ),
        Goal::at_least(
            "durable, batches of 64, events/s",
            get(2, Peer::RiachoDurable, RATE),
            500_000.0,
            Unit::Count,
        ),
        Goal::at_most("memory, pipelined, CPU per publish", get(1, Peer::Riacho, cpu), 6.0, Unit::Micros),
    ]
}

const RATE: &str = "events_per_second";

const WAYS: [Way; 5] = [
    Way { workload: "64 connections, one by one", connections: 64, pipeline: 1, batch: 1, cores: Cores::One },
    Way {
        workload: "8 connections, 32 requests in flight each",
        connections: 8,
        pipeline: 32,
        batch: 1,
        cores: Cores::One,
    },
    Way {
        workload: "64 connections, batches of 64",
        connections: 64,
        pipeline: 1,
        batch: 64,
        cores: Cores::One,
    },
    Way {
        workload: "64 connections, batches of 1,000",
        connections: 64,
        pipeline: 1,
        batch: 1_000,
        cores: Cores::One,
    },
    // Waiting for a disk and serving are two things to do.
    Way {
        workload: "64 connections, one by one, server on all cores",
        connections: 64,
        pipeline: 1,
        batch: 1,
        cores: Cores::All,
    },
];

const SERVERS: [Peer; 9] = [
    Peer::Riacho,
    Peer::RiachoDurable,
    Peer::Axum,
    Peer::Nchan,
    Peer::DurableStreams,
    Peer::DurableStreamsWal,
    Peer::Node,
    Peer::Mercure,
    Peer::Centrifugo,
];

const DURABLE: [Peer; 2] = [Peer::RiachoDurable, Peer::DurableStreamsWal];

const BATCHES: [Peer; 2] = [Peer::Riacho, Peer::RiachoDurable];

const COLUMNS: &[Column] = &[
    Column { heading: "events/s", figure: RATE, unit: Unit::Count },
    Column {
        heading: "server CPU per event",
        figure: "window.server_cpu_us_per_publish",
        unit: Unit::Micros,
    },
    Column { heading: "median acknowledgement", figure: "acknowledgement.p50", unit: Unit::Latency },
    Column { heading: "p99", figure: "acknowledgement.p99", unit: Unit::Latency },
];
