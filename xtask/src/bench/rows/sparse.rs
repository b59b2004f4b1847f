//! Many streams with few subscribers each, and subscribers of many streams.

use crate::bench::{
    client::Load,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results},
    row::{Case, Column, Goal, Row, list, ratio, warm},
    rows::fan_out::CPU,
    stage::{Cores, Stage},
};
use anyhow::Result;

pub(crate) const ROW: Row = Row { name: "sparse", aliases: &[], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    let mut cases: Vec<_> =
        ALONE.map(|peer| Case::new(ONE_EACH, peer, move |stage| one_each(stage, size, peer))).into();
    let riacho = Peer::Riacho;
    cases.push(Case::new(ONE_STREAM, riacho, move |stage| one_stream(stage, size)));
    cases.push(Case::new(TEN_OF, riacho, move |stage| ten_of(stage, size)));
    cases.push(Case::new(PATTERN, riacho, move |stage| pattern(stage, size)));
    cases
}

/// A stream for each of 1,000 subscribers, 3,000 events a second in all.
fn one_each(stage: &Stage, size: Size, peer: Peer) -> Result<Figures> {
    let server = warm(stage, peer, Cores::One, &[])?;
    let names: Vec<_> = (0..size.count(1_000)).map(|at| format!("s{at}")).collect();
    for name in &names {
        peer.prepare(&server, name)?;
    }
    let subscribe = list(&server, "subscribe", names.iter().map(|name| peer.subscribe_path(name)))?;
    let publish = list(&server, "publish", names.iter().map(|name| peer.publish_path(name)))?;
    Load::new(stage, "run", &server)
        .set("--paths-from", subscribe.display())
        .set("--publish-paths-from", publish.display())
        .set("--subscribers", names.len())
        .set("--rate", size.count(3_000))
        .set("--connections", 8)
        .lasting(size, 3)
        .run()
}

/// What the others are compared with: as many deliveries of one stream.
fn one_stream(stage: &Stage, size: Size) -> Result<Figures> {
    let server = warm(stage, Peer::Riacho, Cores::One, &[])?;
    Load::on(stage, "run", &server, "bench")
        .set("--subscribers", size.count(10_000))
        .set("--rate", 3)
        .set("--connections", 1)
        .lasting(size, 4)
        .run()
}

/// Each of 10,000 subscribers has its own ten of 1,000 streams.
fn ten_of(stage: &Stage, size: Size) -> Result<Figures> {
    let server = warm(stage, Peer::Riacho, Cores::One, &[])?;
    let (subscribers, streams) = (size.count(10_000), size.count(1_000));
    let subscribe = list(
        &server,
        "subscribe",
        (0..subscribers).map(|subscriber| {
            // Spread by primes, so that no two subscribers have the same ten.
            let names =
                (0..10).map(|nth| (subscriber * 7 + nth * 101 + subscriber / streams * nth) % streams);
            let query: Vec<_> = names.map(|name| format!("stream=memory/s{name}")).collect();
            format!("/streams?{}", query.join("&"))
        }),
    )?;
    let publish =
        list(&server, "publish", (0..streams).map(|at| server.peer.publish_path(&format!("s{at}"))))?;
    Load::new(stage, "run", &server)
        .set("--marker", ENVELOPE)
        .set("--paths-from", subscribe.display())
        .set("--publish-paths-from", publish.display())
        .set("--subscribers", subscribers)
        .set("--rate", size.count(300))
        .set("--connections", 8)
        .lasting(size, 4)
        .run()
}

/// 1,000 subscribers of a pattern that 10,000 streams match.
fn pattern(stage: &Stage, size: Size) -> Result<Figures> {
    let server = warm(stage, Peer::Riacho, Cores::One, &[])?;
    let streams = size.count(10_000);
    let publish =
        list(&server, "publish", (0..streams).map(|at| server.peer.publish_path(&format!("many/{at}"))))?;
    // Every stream comes into being first.
    Load::new(stage, "publish", &server)
        .set("--publish-paths-from", publish.display())
        .set("--rate", 0)
        .set("--connections", 8)
        .set("--events", streams)
        .set("--duration", "20s")
        .run()?;
    Load::new(stage, "run", &server)
        .set("--marker", ENVELOPE)
        .set("--path", "/streams?stream=memory/many/*")
        .set("--publish-paths-from", publish.display())
        .set("--subscribers", size.count(1_000))
        .set("--rate", 30)
        .set("--connections", 8)
        .lasting(size, 4)
        .run()
}

fn goals(results: &Results) -> Vec<Goal> {
    let cpu = |workload, peer| results.get(ROW.name, workload, peer, CPU);
    let riacho = |workload| cpu(workload, Peer::Riacho);
    let single = riacho(ONE_STREAM);
    vec![
        Goal::at_most(
            "one subscriber each, CPU against axum",
            ratio(riacho(ONE_EACH), cpu(ONE_EACH, Peer::Axum)),
            1.0,
            Unit::Ratio,
        ),
        Goal::at_most(
            "ten streams each, CPU against one stream",
            ratio(riacho(TEN_OF), single),
            1.5,
            Unit::Ratio,
        ),
        Goal::at_most("a pattern, CPU against one stream", ratio(riacho(PATTERN), single), 1.5, Unit::Ratio),
    ]
}

const ONE_EACH: &str = "1,000 streams, a subscriber each, 3,000 events/s";

const ONE_STREAM: &str = "10,000 subscribers of one stream, for comparison";

const TEN_OF: &str = "10,000 subscribers, each of 10 of 1,000 streams";

const PATTERN: &str = "1,000 subscribers of a pattern, 10,000 streams";

/// Where several streams are read, data comes with the name of its stream.
const ENVELOPE: &str = r#""data":"T"#;

const ALONE: [Peer; 4] = [Peer::Riacho, Peer::Limit, Peer::Axum, Peer::Nchan];

const COLUMNS: &[Column] = &[
    Column { heading: "server CPU per delivery", figure: CPU, unit: Unit::Micros },
    Column { heading: "p50", figure: "latency.p50", unit: Unit::Latency },
    Column { heading: "p99", figure: "latency.p99", unit: Unit::Latency },
    Column { heading: "lost", figure: "lost", unit: Unit::Count },
];
