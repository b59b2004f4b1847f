//! Long runs of the tests that break things on purpose, each with a seed of its own, until one fails.

use crate::command::{command, run as run_command};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Runs them over and over for so many minutes; the run that is under way then is the last.
pub(crate) fn run(minutes: u32) -> Result<()> {
    let (begun, time) = (now(), Duration::from_secs(60 * u64::from(minutes)));
    let mut runs = 0;
    while now() - begun < time {
        // One that fails prints its seed.
        for (test, rounds) in TESTS {
            let args = ["test", "--quiet", "-p", "riacho", "--test", "chaos", test, "--", "--nocapture"];
            run_command(command("cargo", &args).env("ROUNDS", rounds))?;
        }
        runs += 1;
    }
    eprintln!("chaos: {runs} runs of {TESTS:?} passed");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "how long is said by people, and decides nothing else")]
fn now() -> Instant {
    Instant::now()
}

// Whose names begin so, and how often in a run all comes to rest and is compared. What a run of DynamoDB does hangs on its seed.
const TESTS: [(&str, &str); 2] = [("postgres::", "100"), ("dynamodb::", "30")];
