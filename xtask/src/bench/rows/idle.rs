//! 10,000 subscribers that get nothing: what each costs to open, to keep, and to close.
//!
//! Riacho also with other numbers of connections being opened at once, since what its HTTP library needs while it reads
//! requests is not given back: the more at once, the more is left behind.

use crate::bench::{
    client::Load,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::Results,
    row::{Case, Column, Goal, Row},
    rows::fan_out::SERVERS,
    server::Server,
    stage::Cores,
};

pub(crate) const ROW: Row =
    Row { name: "idle", aliases: &["connections", "memory"], cases, columns: COLUMNS, goals };

pub(crate) const MEMORY: &str = "idle.server_anon_bytes_each";

/// How the workload that all servers have is called.
pub(crate) fn workload(connecting: usize) -> String {
    format!("10,000 subscribers, {connecting} opened at once")
}

fn cases(size: Size) -> Vec<Case> {
    let mut cases = Vec::new();
    for connecting in CONNECTING {
        for peer in SERVERS {
            if connecting != USUAL && peer != Peer::Riacho {
                continue;
            }
            cases.push(Case::new(workload(connecting), peer, move |stage| {
                // Not warmed up: what is asked is how memory grows from the start.
                let server = Server::start(stage, peer, Cores::One, &[])?;
                peer.prepare(&server, "bench")?;
                Load::on(stage, "subscribe", &server, "bench")
                    .set("--subscribers", size.count(10_000))
                    .set("--connecting", connecting)
                    .set("--idle", if size == Size::Quick { size.idle() } else { "1s" })
                    .set("--duration", "100ms")
                    .run()
            }));
        }
    }
    cases
}

fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for connecting in CONNECTING {
        let workload = workload(connecting);
        let get = |figure| results.get(ROW.name, &workload, Peer::Riacho, figure);
        goals.push(Goal::at_most(format!("{workload}: memory each"), get(MEMORY), 128.0, Unit::Bytes));
        let open = get("connect.server_cpu_us_each");
        goals.push(Goal::at_most(format!("{workload}: CPU per open"), open, 22.0, Unit::Micros));
        let close = get("close.server_cpu_us_each");
        goals.push(Goal::at_most(format!("{workload}: CPU per close"), close, 12.0, Unit::Micros));
    }
    goals
}

const CONNECTING: [usize; 3] = [1, USUAL, 512];

pub(crate) const USUAL: usize = 64;

const COLUMNS: &[Column] = &[
    Column { heading: "memory each", figure: MEMORY, unit: Unit::Bytes },
    Column { heading: "PSS each", figure: "idle.server_pss_bytes_each", unit: Unit::Bytes },
    Column { heading: "CPU per open", figure: "connect.server_cpu_us_each", unit: Unit::Micros },
    Column { heading: "CPU per close", figure: "close.server_cpu_us_each", unit: Unit::Micros },
    Column { heading: "all opened in", figure: "connect.seconds", unit: Unit::Seconds },
];
