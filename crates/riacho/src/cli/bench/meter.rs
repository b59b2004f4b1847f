//! What the server and this thread used since a moment.

use super::{
    args::Common,
    process::{Cpu, Memory, Process},
};
use crate::clock;
use std::time::Instant;

/// Reads what the server uses, if its process is known.
#[derive(Debug)]
pub(super) struct Meter(Option<Process>);

/// A moment.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) at: Instant,
    /// The same by the real-time clock, in nanoseconds.
    pub(super) realtime: u64,
    server: Option<Cpu>,
    client: u64,
}

impl Meter {
    pub(super) fn of(common: &Common) -> Self {
        Self(common.process)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            server: self.0.map(Process::cpu),
            at: clock::instant(),
            realtime: clock::realtime_nanos(),
            client: clock::thread_cpu_nanos(),
        }
    }

    /// Microseconds of CPU time that the server took since.
    pub(super) fn server_micros(&self, mark: &Mark) -> Option<f64> {
        let (process, before) = (self.0?, mark.server.as_ref()?);
        Some(process.cpu().since(before) as f64 / 1e3)
    }

    pub(super) fn memory(&self) -> Option<Memory> {
        self.0.map(Process::memory)
    }
}

impl Mark {
    pub(super) fn seconds(&self) -> f64 {
        self.at.elapsed().as_secs_f64()
    }

    /// Nanoseconds of CPU time that this thread took since.
    pub(super) fn client_nanos(&self) -> u64 {
        clock::thread_cpu_nanos().saturating_sub(self.client)
    }
}
