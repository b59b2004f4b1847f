//! Copies of tables, made beside the stream, on a session of their own.
//!
//! A copy begins when every transaction has ended that ran when its table's changes began to be kept: so the snapshot sees
//! whatever the stream said before that, and of what it said since the snapshot itself tells.

use super::{
    catalog::{Catalog, ident},
    connect::Target,
    prepare::Planned,
};
use crate::source::{Sink, TableOf, copy::Copying};
use futures_util::{StreamExt as _, pin_mut};
use riacho_core::{
    name::StreamName,
    source::{
        change::SourceChange,
        machine::Fault,
        postgres::{copy, kind::Types, stitch::Seen, table::Shape},
    },
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// A table to be copied. Of several orders for one table the last counts.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) table: Planned,
    pub(super) number: u64,
}

/// A copy that is made, and durable but for what differs.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) table: StreamName,
    pub(super) number: u64,
    pub(super) seen: Seen,
    pub(super) fingerprint: String,
    /// Of the table as it was copied: [`Choice::version`](super::choose::Choice::version).
    pub(super) version: String,
    /// What differs of a table that readers have, to be committed.
    pub(super) differing: Vec<SourceChange>,
}

/// Makes the copies that are ordered, one after the other, until the orders end.
pub(super) async fn copier(
    target: Arc<Target>,
    sink: Sink,
    mut orders: mpsc::UnboundedReceiver<Order>,
    copied: mpsc::UnboundedSender<Copied>,
) -> Fault {
    let mut waiting: Vec<Order> = Vec::new();
    while orders.recv_many(&mut waiting, ORDERS_MAX).await > 0 {
        let session = match target.connect().await {
            Ok(session) => session,
            Err(fault) => return fault,
        };
        let catalog = Catalog { session: &session, target: &target };
        if let Err(fault) = copy_all(&catalog, &sink, std::mem::take(&mut waiting), &copied).await {
            return fault;
        }
    }
    Fault::passing("the reader of the stream has ended")
}

async fn copy_all(
    catalog: &Catalog<'_>,
    sink: &Sink,
    orders: Vec<Order>,
    copied: &mpsc::UnboundedSender<Copied>,
) -> Result<(), Fault> {
    // So that whatever runs now is older than one that has ended: a snapshot does not tell of younger ones.
    flush(catalog.target).await?;
    settle(catalog).await?;
    begin(catalog, &orders).await?;
    // The first query takes the snapshot.
    let visibility = catalog.visibility().await?;
    // Whatever it sees was written before.
    let seen = Seen { visibility, upto: catalog.wal_end().await? };
    flush(catalog.target).await?;
    for Order { table, number } in orders {
        let (fingerprint, version, differing) = copy_one(catalog, sink, &table).await?;
        let (table, seen) = (table.of.stream, seen.clone());
        let done = Copied { table, number, seen, fingerprint, version, differing };
        if copied.send(done).is_err() {
            break;
        }
    }
    catalog.execute("COMMIT").await
}

// Begins a transaction in which the tables stay as they are: one that is rewritten is empty for a snapshot of before.
async fn begin(catalog: &Catalog<'_>, orders: &[Order]) -> Result<(), Fault> {
    let tables: Vec<String> = orders.iter().map(|order| order.table.choice.origin.sql()).collect();
    let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "));
    loop {
        catalog.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        // Shorter than the server's look for deadlocks, which might end the other one.
        catalog.execute("SET LOCAL lock_timeout = '500ms'").await?;
        match catalog.execute(&lock).await {
            Ok(()) => return Ok(()),
            Err(fault) if fault.message.contains(LOCK_NOT_AVAILABLE) => catalog.execute("ROLLBACK").await?,
            // One that is gone, or no longer ours to read: that is looked at when the next plan is made.
            Err(fault) => return Err(Fault::passing(fault.message)),
        }
        tokio::time::sleep(SETTLE_PAUSE).await;
    }
}

// Has all that was written so far survive a crash of the server: with `synchronous_commit = off` a snapshot sees what may be
// lost, and its transaction's number be given again.
async fn flush(target: &Target) -> Result<(), Fault> {
    let session = target.connect().await?;
    let catalog = Catalog { session: &session, target };
    catalog.execute("SELECT pg_catalog.pg_logical_emit_message(true, 'riacho', '')").await
}

// Waits until all that runs now has ended.
async fn settle(catalog: &Catalog<'_>) -> Result<(), Fault> {
    let begun = catalog.visibility().await?;
    let mut waited = Duration::ZERO;
    while !catalog.visibility().await?.settled_after(&begun) {
        if waited == SETTLE_TOLD {
            tracing::info!(
                transactions = begun.xip().len(),
                "a copy waits for transactions that were open before it to end"
            );
        }
        waited += SETTLE_PAUSE;
        tokio::time::sleep(SETTLE_PAUSE).await;
    }
    Ok(())
}

// Gives the shape's fingerprint, the version, and what differs.
async fn copy_one(
    catalog: &Catalog<'_>,
    sink: &Sink,
    table: &Planned,
) -> Result<(String, String, Vec<SourceChange>), Fault> {
    let choice = &table.choice;
    // As the snapshot has it: it may have been altered since the plan was made.
    let origin = catalog.origins(Some(choice.origin.oid)).await?.pop();
    let origin = origin.ok_or_else(|| Fault::passing(format!("the table `{}` is gone", table.of.origin)))?;
    let version = choice.version(&origin);
    let readable: Vec<(&str, u32)> = origin
        .columns
        .iter()
        .filter(|column| !column.generated)
        .map(|column| (&*column.name, column.type_oid))
        .collect();
    let mut types = Types::default();
    let oids: Vec<u32> = readable.iter().map(|(_, oid)| *oid).filter(|oid| !types.knows(*oid)).collect();
    if !oids.is_empty() {
        catalog.describe(&oids, &mut types).await?;
    }
    let keyless = |column: Box<str>| {
        // What it is now is known to the next plan.
        Fault::passing(format!("the key of `{}` has no column `{column}` any more", table.of.origin))
    };
    let wanted = choice.wanted.columns.as_deref();
    let read: Vec<(&str, u32)> = readable
        .into_iter()
        .filter(|(name, _)| {
            wanted.is_none_or(|wanted| wanted.iter().any(|wanted| wanted == name))
                || choice.wanted.key.iter().any(|key| **key == **name)
        })
        .collect();
    let shape = Shape::new(read.iter().copied(), &choice.wanted.key, None, &types).map_err(keyless)?;
    let columns: Vec<String> = read.iter().map(|(name, _)| ident(name)).collect();
    let filter = choice.filter.as_ref().map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
    let sql = format!("COPY (SELECT {} FROM {}{filter}) TO STDOUT", columns.join(", "), origin.only());
    let differing = copy_rows(catalog, sink, &table.of, &shape, (&sql, origin.rows)).await?;
    Ok((shape.fingerprint(), version, differing))
}

async fn copy_rows(
    catalog: &Catalog<'_>,
    sink: &Sink,
    table: &TableOf,
    shape: &Shape,
    (sql, rows): (&str, Option<u64>),
) -> Result<Vec<SourceChange>, Fault> {
    let mut copying = Copying::begin(sink, table, rows);
    let lines =
        catalog.session.copy_out(sql).await.map_err(|err| super::connect::fault(&err, catalog.target))?;
    pin_mut!(lines);
    let mut rest: Vec<u8> = Vec::new();
    while let Some(bytes) = lines.next().await {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(err) if err.is_closed() => return Err(catalog.session.ended().await),
            Err(err) => return Err(super::connect::fault(&err, catalog.target)),
        };
        // The server sends a line per message; nothing says that it must.
        let mut bytes = &bytes[..];
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, more) = bytes.split_at(end);
            bytes = more.get(1..).unwrap_or_default();
            if rest.is_empty() {
                copy_row(&mut copying, table, shape, line).await?;
            } else {
                rest.extend_from_slice(line);
                copy_row(&mut copying, table, shape, &std::mem::take(&mut rest)).await?;
            }
        }
        rest.extend_from_slice(bytes);
    }
    match table.ready {
        true => copying.differing().await,
        false => copying.end(Vec::new()).await.map(|()| Vec::new()),
    }
}

async fn copy_row(
    copying: &mut Copying<'_>,
    table: &TableOf,
    shape: &Shape,
    line: &[u8],
) -> Result<(), Fault> {
    let row = copy::columns(line).and_then(|columns| {
        let data = copy::data(&columns);
        Some((shape.key(&data)?, shape.row(&data)?))
    });
    match row {
        Some((key, row)) => copying.row(key, row).await,
        None => Err(Fault::passing(format!("a row of `{}` came broken", table.origin))),
    }
}

// The SQLSTATE, as faults show it.
const LOCK_NOT_AVAILABLE: &str = "55P03";
// Orders taken together: they share one snapshot.
const ORDERS_MAX: usize = 1024;
const SETTLE_PAUSE: Duration = Duration::from_millis(50);
// When it is worth a line of the log.
const SETTLE_TOLD: Duration = Duration::from_secs(5);
