//! What needs a real PostgreSQL to compare with: predicates, messages of logical replication, values.
//!
//! A binary of its own, since it needs the server's programs and takes seconds. Where they are not installed it says so and
//! passes, unless `SLOW=1` is set, as in `cargo xtask test`. `SEED=n` repeats one run.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "clippy knows test functions, not the helpers beside them"
)]

/// A database that lives as long as one script.
mod database;
/// Expressions and rows.
mod generate;
mod predicates;
/// Messages of logical replication, as servers of several versions write them.
mod replication;
/// Values of every type.
mod values;
/// Messages of logical replication in plain words.
#[path = "../it/support/replication.rs"]
mod words;

use database::Database;

/// All versions that are there, that of Debian first.
fn databases() -> Vec<Database> {
    let databases = Database::all();
    if databases.is_empty() {
        assert!(std::env::var_os("SLOW").is_none(), "PostgreSQL is not installed: cargo xtask setup");
        eprintln!("SKIPPED: PostgreSQL is not installed (apt-get install postgresql)");
    }
    databases
}
