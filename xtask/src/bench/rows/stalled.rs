//! 900 healthy readers of 300 events of 1 KiB a second, alone and beside 100 that never read.

use crate::bench::{
    client::Load,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results, rounded},
    row::{Case, Column, Goal, Row, ratio, warm},
    server::Server,
    stage::Cores,
};
use crate::command::output;
use anyhow::Result;
use std::{thread::sleep, time::Duration};

pub(crate) const ROW: Row = Row { name: "stalled", aliases: &[], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    let mut cases = Vec::new();
    for stalled in [0, 100] {
        for server in SERVERS {
            let case = Case::new(workload(stalled), server, move |stage| {
                let server = warm(stage, server, Cores::One, &[])?;
                let seconds = match size {
                    Size::Quick => 1,
                    Size::Usual => 10,
                    Size::Full => 60,
                };
                let stalled = if stalled == 0 { 0 } else { size.count(stalled).max(1) };
                let load = Load::on(stage, "run", &server, "bench")
                    .set("--subscribers", size.count(900) + stalled)
                    .set("--stalled", stalled)
                    .set("--size", 1024)
                    .set("--rate", 300)
                    .set("--idle", size.idle())
                    .set("--duration", format!("{seconds}s"))
                    .start()?;
                // Near the end, when what can fill up is full.
                sleep(Duration::from_millis(500 + seconds * 800));
                let kernel = kernel_bytes(&server, stalled);
                let mut figures = load.finish()?;
                if let Ok(bytes) = kernel {
                    figures.insert(KERNEL.to_owned(), rounded(bytes));
                }
                growth(&mut figures);
                Ok(figures)
            });
            cases.push(if server == Peer::Riacho { case } else { case.once() });
        }
    }
    cases
}

/// How much more memory the server has after the window than when all were connected and idle.
fn growth(figures: &mut Figures) {
    let get = |name: &str| figures.get(name).copied();
    let (Some(after), Some(each), Some(count)) =
        (get("memory_after.server_anon_bytes"), get("idle.server_anon_bytes_each"), get("subscribers"))
    else {
        return;
    };
    // `idle` is what each subscriber added; what the process had before is in neither.
    if let Some(before) = get("idle.server_anon_bytes") {
        figures.insert(GROWTH.to_owned(), rounded(after - before));
    } else {
        figures.insert(GROWTH.to_owned(), rounded(after - each * count));
    }
}

/// What the kernel holds for each of the `stalled` fullest sockets of the server: `w` of `skmem`, the write queue.
fn kernel_bytes(server: &Server, stalled: usize) -> Result<f64> {
    let sockets = output("ss", &["-tnmH", "state", "established", &format!("( sport = :{} )", server.port)])?;
    let mut queues: Vec<f64> = sockets.split("skmem:(").skip(1).filter_map(queued).collect();
    queues.sort_by(|a, b| b.total_cmp(a));
    queues.truncate(stalled);
    let count = u32::try_from(queues.len().max(1)).map_or(1.0, f64::from);
    Ok(queues.iter().sum::<f64>() / count)
}

fn queued(skmem: &str) -> Option<f64> {
    let fields = skmem.split(')').next()?;
    fields.split(',').find_map(|field| field.strip_prefix('w')?.parse().ok())
}

fn goals(results: &Results) -> Vec<Goal> {
    let get = |stalled, figure| results.get(ROW.name, workload(stalled), Peer::Riacho, figure);
    let p99 = "latency.p99";
    vec![
        Goal::at_most(
            "p99 of the healthy, against without the stalled",
            ratio(get(100, p99), get(0, p99)),
            1.2,
            Unit::Ratio,
        ),
        Goal::at_most("kernel memory per stalled reader", get(100, KERNEL), f64::from(32 << 10), Unit::Bytes),
        Goal::at_most(
            "memory that the stalled add (the view's bound)",
            get(100, GROWTH).zip(get(0, GROWTH)).map(|(with, without)| with - without),
            f64::from(4 << 20),
            Unit::Bytes,
        ),
    ]
}

fn workload(stalled: usize) -> &'static str {
    if stalled == 0 { "900 readers, none stalled" } else { "900 readers and 100 stalled" }
}

const KERNEL: &str = "kernel_bytes_each_stalled";

const GROWTH: &str = "memory_growth_bytes";

const SERVERS: [Peer; 3] = [Peer::Riacho, Peer::Axum, Peer::Nchan];

const COLUMNS: &[Column] = &[
    Column { heading: "p50 of the healthy", figure: "latency.p50", unit: Unit::Latency },
    Column { heading: "p99 of the healthy", figure: "latency.p99", unit: Unit::Latency },
    Column { heading: "kernel memory per stalled reader", figure: KERNEL, unit: Unit::Bytes },
    Column { heading: "memory growth", figure: GROWTH, unit: Unit::Bytes },
    Column { heading: "lost by the healthy", figure: "lost", unit: Unit::Count },
    Column { heading: "closed by the server", figure: "ended", unit: Unit::Count },
];
