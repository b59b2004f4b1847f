//! More deliveries asked than a write for each allows: who joins events on their way out, and what readers and publishers
//! notice of it.

use crate::bench::{
    client::Load,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::Results,
    row::{Case, Column, Goal, Row, ratio, thousands, warm},
    stage::Cores,
};

pub(crate) const ROW: Row = Row { name: "overload", aliases: &[], cases, columns: COLUMNS, goals };

pub(crate) const RATE: &str = "window.deliveries_per_second";

/// How a workload is called.
pub(crate) fn workload((subscribers, rate): (usize, usize)) -> String {
    format!("{} subscribers, {} events/s", thousands(subscribers), thousands(rate))
}

fn cases(size: Size) -> Vec<Case> {
    let mut cases = Vec::new();
    for load in LOADS {
        let (subscribers, rate) = load;
        // One write for each is 3 to 10 µs: beyond a million a second these only fall behind, for minutes.
        let servers: &[_] = if subscribers * rate > 1_000_000 { &FAST } else { &SERVERS };
        for server in servers.iter().copied() {
            // The disk's thread is a second one: the durable figures are for both cores.
            let cores = if server == Peer::RiachoDurable { Cores::All } else { Cores::One };
            let case = Case::new(workload(load), server, move |stage| {
                let server = warm(stage, server, cores, &[])?;
                Load::on(stage, "run", &server, "bench")
                    .set("--subscribers", size.count(subscribers))
                    .set("--rate", size.count(rate))
                    .set("--connections", if rate == 100 { 8 } else { 64 })
                    .lasting(size, 3)
                    .run()
            });
            cases.push(case.once_where_slow());
        }
    }
    cases
}

fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for load in LOADS {
        let workload = workload(load);
        let get = |peer, figure| results.get(ROW.name, &workload, peer, figure);
        let asked = f64::from(u32::try_from(load.0 * load.1).unwrap_or(u32::MAX));
        // What is asked is open-loop for a few seconds: the last events of it come a little after its end.
        let reach = (asked * 0.97).min(8e6);
        goals.push(Goal::at_least(
            format!("{workload}: deliveries/s"),
            get(Peer::Riacho, RATE),
            reach,
            Unit::Count,
        ));
        goals.push(Goal::at_most(format!("{workload}: lost"), get(Peer::Riacho, "lost"), 0.0, Unit::Count));
        goals.push(Goal::at_most(
            format!("{workload}: median acknowledgement"),
            get(Peer::Riacho, "acknowledgement.p50"),
            500.0,
            Unit::Latency,
        ));
        let p99 = ratio(get(Peer::Riacho, "latency.p99"), get(Peer::Axum, "latency.p99"));
        match load {
            (1_000, 1_000) => {
                goals.push(Goal::at_most(format!("{workload}: p99 against axum"), p99, 0.5, Unit::Ratio))
            }
            (10_000, 100) => goals.push(Goal::at_most(
                format!("{workload}: p99 against axum"),
                p99,
                1.0 / 3.0,
                Unit::Ratio,
            )),
            _ => {}
        }
        let durable = Peer::RiachoDurable;
        let what = format!("{workload}, durable: deliveries/s");
        goals.push(Goal::at_least(what, get(durable, RATE), (asked * 0.97).min(4.5e6), Unit::Count));
        let what = format!("{workload}, durable: median acknowledgement, fsync + 1 ms");
        let bound = results.sync_micros().unwrap_or(0.0) + 1_000.0;
        goals.push(Goal::at_most(what, get(durable, "acknowledgement.p50"), bound, Unit::Latency));
    }
    goals
}

pub(crate) const LOADS: [(usize, usize); 4] =
    [(1_000, 1_000), (1_000, 10_000), (10_000, 100), (10_000, 1_000)];

const SERVERS: [Peer; 9] = [
    Peer::Riacho,
    Peer::RiachoDurable,
    Peer::Axum,
    Peer::Nchan,
    Peer::DurableStreams,
    Peer::Node,
    Peer::BetterSse,
    Peer::Mercure,
    Peer::Centrifugo,
];

const FAST: [Peer; 3] = [Peer::Riacho, Peer::RiachoDurable, Peer::Axum];

const COLUMNS: &[Column] = &[
    Column { heading: "deliveries/s", figure: RATE, unit: Unit::Count },
    Column {
        heading: "server CPU per delivery",
        figure: "window.server_cpu_us_per_delivery",
        unit: Unit::Micros,
    },
    Column { heading: "p50", figure: "latency.p50", unit: Unit::Latency },
    Column { heading: "p99", figure: "latency.p99", unit: Unit::Latency },
    Column { heading: "median acknowledgement", figure: "acknowledgement.p50", unit: Unit::Latency },
    Column { heading: "lost", figure: "lost", unit: Unit::Count },
];
