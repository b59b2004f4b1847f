//! moto: an emulator that shares nothing with Amazon's, on a port of 127.0.0.1. `cargo xtask setup` fetches it.
//!
//! Known to be wrong: one shard with the same id for every table, a record for a write that changes nothing, and after a
//! stream is disabled every write fails. So only for streams that stay.

use super::{local::target, program::Program};

/// A running emulator.
pub(crate) struct Moto {
    _program: Program,
    port: u16,
}

impl Moto {
    /// Starts one, with nothing in it.
    pub(crate) async fn start() -> Self {
        let server = target().join("moto/bin/moto_server");
        assert!(server.exists(), "moto is installed: cargo xtask setup");
        let args = |moto: &mut std::process::Command| {
            moto.args(["-H", "127.0.0.1", "-p", "0"]);
        };
        let (program, port) = Program::start(server.to_str().unwrap(), args, "http://127.0.0.1:").await;
        Self { _program: program, port }
    }

    /// `http://127.0.0.1:PORT`, of tables and streams.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}
