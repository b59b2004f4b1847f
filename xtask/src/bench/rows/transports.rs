//! Every way out of Riacho, at the same rate to as many subscribers.

use crate::bench::{
    client::Load,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::Results,
    row::{Case, Column, Goal, Row, ratio, warm},
    rows::fan_out::CPU,
    stage::Cores,
};

pub(crate) const ROW: Row = Row { name: "transports", aliases: &[], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    let mut cases = vec![case(size, Peer::Axum, "sse")];
    cases.extend(TRANSPORTS.map(|transport| case(size, Peer::Riacho, transport)));
    cases
}

fn case(size: Size, server: Peer, transport: &'static str) -> Case {
    Case::new(workload(transport), server, move |stage| {
        let server = warm(stage, server, Cores::One, &[])?;
        Load::on(stage, "run", &server, "bench")
            .set("--transport", transport)
            .set("--subscribers", size.count(1_000))
            .set("--rate", 30)
            .set("--connections", 1)
            .lasting(size, 4)
            .run()
    })
}

fn goals(results: &Results) -> Vec<Goal> {
    let http2 = results.get(ROW.name, &workload("sse-http2"), Peer::Riacho, CPU);
    let axum = results.get(ROW.name, &workload("sse"), Peer::Axum, CPU);
    vec![Goal::at_most("SSE over HTTP/2 against axum over HTTP/1.1", ratio(http2, axum), 1.0, Unit::Ratio)]
}

fn workload(transport: &str) -> String {
    format!("1,000 subscribers, {transport}")
}

const TRANSPORTS: [&str; 4] = ["sse", "ndjson", "long-poll", "sse-http2"];

const COLUMNS: &[Column] = &[
    Column { heading: "server CPU per delivery", figure: CPU, unit: Unit::Micros },
    Column { heading: "p50", figure: "latency.p50", unit: Unit::Latency },
    Column { heading: "p99", figure: "latency.p99", unit: Unit::Latency },
    Column { heading: "bytes", figure: "window.bytes", unit: Unit::Bytes },
    Column { heading: "lost", figure: "lost", unit: Unit::Count },
];
