//! One stream to 1,000 and 10,000 subscribers at about 30,000 deliveries a second: one event per write, nothing to join.
//!
//! Twice: plain loopback, where the sender's core also does the receivers' work, and with that work steered to the other
//! core, as a network card would have it.

use crate::bench::{
    client::Load,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::Results,
    row::{Case, Column, Goal, Row, ratio, thousands, warm},
    stage::Cores,
};

pub(crate) const ROW: Row = Row { name: "fan-out", aliases: &[], cases, columns: COLUMNS, goals };

/// The server's CPU for each event delivered.
pub(crate) const CPU: &str = "window.server_cpu_us_per_delivery";

/// How a workload is called.
pub(crate) fn workload(subscribers: usize, steered: bool) -> String {
    format!("{} subscribers, {}", thousands(subscribers), if steered { "steered" } else { "loopback" })
}

fn cases(size: Size) -> Vec<Case> {
    let mut cases = Vec::new();
    for steered in [false, true] {
        for subscribers in COUNTS {
            for server in SERVERS {
                cases.push(case(size, server, subscribers, steered).once_where_slow());
            }
        }
    }
    cases
}

fn case(size: Size, server: Peer, subscribers: usize, steered: bool) -> Case {
    Case::new(workload(subscribers, steered), server, move |stage| {
        stage.steer(steered)?;
        let server = warm(stage, server, Cores::One, &[])?;
        let figures = Load::on(stage, "run", &server, "bench")
            .set("--subscribers", size.count(subscribers))
            .set("--rate", DELIVERIES_PER_SECOND / size.count(subscribers))
            .set("--connections", 1)
            .lasting(size, 3)
            .run();
        stage.steer(false)?;
        figures
    })
}

fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for steered in [false, true] {
        for subscribers in COUNTS {
            let workload = workload(subscribers, steered);
            let cpu = |peer| results.get(ROW.name, &workload, peer, CPU);
            let bounds: &[_] = if steered { STEERED } else { PLAIN };
            for (peer, bound) in bounds {
                let what = format!("{workload}: CPU against {}", peer.title());
                goals.push(Goal::at_most(what, ratio(cpu(Peer::Riacho), cpu(*peer)), *bound, Unit::Ratio));
            }
        }
    }
    goals
}

pub(crate) const COUNTS: [usize; 2] = [1_000, 10_000];

/// About a third of what one core can send one by one.
pub(crate) const DELIVERIES_PER_SECOND: usize = 30_000;

pub(crate) const SERVERS: [Peer; 9] = [
    Peer::Riacho,
    Peer::Limit,
    Peer::Axum,
    Peer::Nchan,
    Peer::DurableStreams,
    Peer::Node,
    Peer::BetterSse,
    Peer::Mercure,
    Peer::Centrifugo,
];

const PLAIN: &[(Peer, f64)] = &[
    (Peer::Limit, 1.10),
    (Peer::DurableStreams, 1.0),
    (Peer::Axum, 1.0),
    (Peer::Nchan, 1.0),
    (Peer::Node, 1.0),
    (Peer::BetterSse, 1.0),
];

const STEERED: &[(Peer, f64)] = &[
    (Peer::Limit, 1.10),
    (Peer::DurableStreams, 0.6),
    (Peer::Axum, 0.5),
    (Peer::Nchan, 0.42),
    (Peer::Node, 1.0),
    (Peer::BetterSse, 1.0),
];

const COLUMNS: &[Column] = &[
    Column { heading: "server CPU per delivery", figure: CPU, unit: Unit::Micros },
    Column { heading: "p50", figure: "latency.p50", unit: Unit::Latency },
    Column { heading: "p99", figure: "latency.p99", unit: Unit::Latency },
    Column { heading: "lost", figure: "lost", unit: Unit::Count },
];
