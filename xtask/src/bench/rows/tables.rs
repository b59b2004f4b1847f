//! Live tables. No peer does the same, so Riacho is held against itself: a table against a stream, many filters against one.

/// One table, many subscribers, beside a stream.
pub(super) mod fan_out;
/// Many subscribers of one table, each of other rows.
pub(super) mod filters;
/// Rows are written.
pub(super) mod writes;
/// All rows at once, to many and to one.
pub(super) mod snapshots;

use crate::bench::{client::Load, http, machine::now, server::Server};
use anyhow::{Result, bail};
use std::{thread::sleep, time::Duration};

/// What stands before the stamp of a row: not in rows that were there before, which have no member `v`.
const MARKER: &str = r#""value":{"v":"T"#;

/// What a subscriber has received once it has all rows.
pub(super) const SNAPSHOT_END: &str = r#""snapshot-end""#;

/// Changes rows one by one, with `template` for the row.
fn putting(load: Load, template: &str) -> Load {
    load.set("--method", "PUT").set("--content-type", "application/json").set("--body-template", template)
}

/// Waits until the newest change is in the file of rows; tells how long that took.
pub(super) fn settle(server: &Server) -> Result<Duration> {
    let begin = now();
    let newest = http::metric(server.port, "riacho_offset")?;
    while http::metric(server.port, "riacho_rows_applied_offset")? < newest {
        if now() - begin > SETTLE_MAX {
            bail!("rows were not applied within {SETTLE_MAX:?}");
        }
        sleep(Duration::from_millis(10));
    }
    Ok(now() - begin)
}

const SETTLE_MAX: Duration = Duration::from_secs(60);
