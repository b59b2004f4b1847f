//! Live tables against plain maps: random writers, readers that stall, are cut off and come back, crashes.
//!
//! All that is random comes from a seed, which every failure prints: `SEED=… cargo test -p riacho --test tables` runs that
//! one again, as far as the system's own timing allows. `SEEDS=…` says how many there are, from [`FIRST`] on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests and their helpers may"
)]

/// Randomness from one seed.
#[path = "../chaos/random.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod random;
/// What must be true, by plain maps.
mod model;
/// A client, by the rules of the protocol.
mod client;
/// One history.
mod history;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

/// What a history did last, told where it fails.
#[derive(Clone, Default, Debug)]
struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn tell(&self) -> String {
        let steps = self.0.lock().unwrap();
        let from = steps.len().saturating_sub(TOLD);
        let told = steps.iter().enumerate().skip(from);
        told.map(|(step, text)| format!("  step {step}: {text}\n")).collect()
    }
}

#[test]
fn no_history_shows_a_reader_anything_but_its_query_over_the_rows() {
    if let Some(seed) = number("SEED") {
        run(seed).unwrap();
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(2, usize::from) * THREADS_PER_CPU;
    let failed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.load(Ordering::Relaxed)
                    < number("FAILURES").map_or(FAILURES_MAX, |most| most as usize)
                {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    if let Err(told) = run(FIRST + seed) {
                        failed.fetch_add(1, Ordering::Relaxed);
                        failures.lock().unwrap().push(told);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

// One seed, on a thread of its own; what failed, where something did.
fn run(seed: u64) -> Result<(), String> {
    let trace = Trace::default();
    let told = trace.clone();
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(history::run(seed, &trace));
    };
    let thread = thread::Builder::new().name(format!("seed-{seed}")).spawn(body).unwrap();
    thread.join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        format!("SEED={seed} failed: {}\n{}", text.unwrap_or_default(), told.tell())
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

const SEEDS: u64 = 1000;
// Seeds of a run without `SEED`.
const FIRST: u64 = 1;
// A history waits for its feeders and for paced views now and then.
const THREADS_PER_CPU: usize = 2;
// So many seeds may fail before no other is tried.
const FAILURES_MAX: usize = 3;
// Steps that a failure tells.
const TOLD: usize = 25;
