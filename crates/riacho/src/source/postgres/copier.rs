//! Copies of tables, made beside the stream, on a session of their own.
//!
//! A copy begins when every transaction has ended that ran when its table's changes began to be kept: so the snapshot sees
//! whatever the stream said before that, and of what it said since the snapshot itself tells.

use super::{
    catalog::{Catalog, ident, text},
    connect::Target,
    parts::{Rows, Select},
    prepare::Planned,
};
use crate::source::{Sink, copy::Copying};
use riacho_core::{
    name::StreamName,
    source::{
        change::SourceChange,
        machine::{Fault, Input},
        postgres::{kind::Types, stitch::Seen, table::Shape},
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
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
    waits: Arc<AtomicBool>,
) -> Fault {
    while let Some(order) = orders.recv().await {
        waits.store(true, Ordering::Relaxed);
        let session = match target.connect().await {
            Ok(session) => session,
            Err(fault) => return fault,
        };
        let catalog = Catalog { session: &session, target: &target };
        let begun = begin(&catalog, &sink, order, &mut orders).await;
        waits.store(false, Ordering::Relaxed);
        sink.tell(Input::Waits(None));
        let copying = async { copy_all((&catalog, &target), &sink, begun?, &copied).await };
        if let Err(fault) = copying.await {
            return fault;
        }
    }
    Fault::passing("the reader of the stream has ended")
}

async fn copy_all(
    (catalog, target): (&Catalog<'_>, &Arc<Target>),
    sink: &Sink,
    orders: Vec<Order>,
    copied: &mpsc::UnboundedSender<Copied>,
) -> Result<(), Fault> {
    // The first query takes the snapshot.
    let visibility = catalog.visibility().await?;
    // Whatever it sees was written before.
    let seen = Seen { visibility, upto: catalog.wal_end().await? };
    flush(catalog.target).await?;
    for Order { table, number } in orders {
        let (fingerprint, version, differing) = copy_one((catalog, target), sink, &table).await?;
        let (table, seen) = (table.of.stream, seen.clone());
        let done = Copied { table, number, seen, fingerprint, version, differing };
        if copied.send(done).is_err() {
            break;
        }
    }
    catalog.execute("COMMIT").await
}

// Begins a transaction for copies: all has ended that ran when they were ordered, and the tables stay as they are: one that is
// rewritten is empty for a snapshot of before. What is ordered meanwhile goes with them.
async fn begin(
    catalog: &Catalog<'_>,
    sink: &Sink,
    first: Order,
    more: &mut mpsc::UnboundedReceiver<Order>,
) -> Result<Vec<Order>, Fault> {
    let mut orders = vec![first];
    let (mut begun, mut waited) = (None, Duration::ZERO);
    loop {
        while let Ok(order) = more.try_recv() {
            orders.retain(|other| other.table.of.stream != order.table.of.stream);
            orders.push(order);
            begun = None;
        }
        let running = match &begun {
            Some(running) => running,
            None => {
                // So that whatever runs now is older than one that has ended: a snapshot does not tell of younger ones.
                flush(catalog.target).await?;
                begun.insert(catalog.visibility().await?)
            }
        };
        if catalog.visibility().await?.settled_after(running) && lock(catalog, &orders).await? {
            return Ok(orders);
        }
        waited += SETTLE_PAUSE;
        if waited.as_millis().is_multiple_of(WAITS_TOLD.as_millis()) {
            let waits = waits_for(catalog, &orders).await?;
            if waited == WAITS_TOLD {
                tracing::info!(source = &**sink.source(), waits, "a copy does not begin yet");
            }
            sink.tell(Input::Waits(Some(waits)));
        }
        tokio::time::sleep(SETTLE_PAUSE).await;
    }
}

// Begins the transaction, if the tables can be locked.
async fn lock(catalog: &Catalog<'_>, orders: &[Order]) -> Result<bool, Fault> {
    let tables: Vec<String> = orders.iter().map(|order| order.table.choice.origin.sql()).collect();
    catalog.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    // Shorter than the server's look for deadlocks, which might end the other one.
    catalog.execute("SET LOCAL lock_timeout = '500ms'").await?;
    match catalog.execute(&format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "))).await {
        Ok(()) => Ok(true),
        Err(fault) if fault.message.contains(LOCK_NOT_AVAILABLE) => {
            catalog.execute("ROLLBACK").await?;
            Ok(false)
        }
        // One that is gone, or no longer ours to read: that is looked at when the next plan is made.
        Err(fault) => Err(Fault::passing(fault.message)),
    }
}

// Who keeps a copy from beginning: who has one of the tables for itself, else the oldest transaction that writes.
async fn waits_for(catalog: &Catalog<'_>, orders: &[Order]) -> Result<String, Fault> {
    let tables: Vec<String> = orders.iter().map(|order| order.table.choice.origin.oid.to_string()).collect();
    let rows = catalog.rows(&WAITS.replace("$TABLES", &tables.join(", "))).await?;
    let Some(row) = rows.first() else {
        return Ok("a copy waits for transactions that were open before it to end".to_owned());
    };
    let who = text(row, 0).unwrap_or_default();
    Ok(match text(row, 1) {
        Some(seconds) => format!("a copy waits for {who}, open for {seconds} s, to end"),
        None => format!("a copy waits for {who} to end"),
    })
}

// Has all that was written so far survive a crash of the server: with `synchronous_commit = off` a snapshot sees what may be
// lost, and its transaction's number be given again.
async fn flush(target: &Target) -> Result<(), Fault> {
    let session = target.connect().await?;
    let catalog = Catalog { session: &session, target };
    catalog.execute("SELECT pg_catalog.pg_logical_emit_message(true, 'riacho', '')").await
}

// Gives the shape's fingerprint, the version, and what differs.
async fn copy_one(
    (catalog, target): (&Catalog<'_>, &Arc<Target>),
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
    let select = Select { columns: columns.join(", "), filter: choice.filter.clone() };
    let mut copying = Copying::begin(sink, &table.of, origin.rows);
    let mut rows = Rows::read(catalog, target, &origin, &shape, &select).await?;
    while let Some(batch) = rows.next().await? {
        for (key, row) in batch {
            copying.row(key, row).await?;
        }
    }
    let differing = match table.of.ready {
        true => copying.differing().await?,
        false => copying.end(Vec::new()).await.map(|()| Vec::new())?,
    };
    Ok((shape.fingerprint(), version, differing))
}

// The SQLSTATE, as faults show it.
const LOCK_NOT_AVAILABLE: &str = "55P03";
const SETTLE_PAUSE: Duration = Duration::from_millis(50);
// How often it is told what a copy waits for; a multiple of the pause.
const WAITS_TOLD: Duration = Duration::from_secs(2);
// The oldest is what others wait for. Whose times one may not see has none.
const WAITS: &str = "\
SELECT who, pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - since)) FROM (
  SELECT 0 AS place, 'the transaction of process ' || a.pid AS who, a.xact_start AS since, 0 AS age
  FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
  WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND l.relation IN ($TABLES)
  UNION ALL SELECT 1, 'the transaction of process ' || pid, xact_start, pg_catalog.age(backend_xid)
  FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
  UNION ALL SELECT 1, 'the prepared transaction `' || gid || '`', prepared, pg_catalog.age(transaction)
  FROM pg_catalog.pg_prepared_xacts
) AS waited ORDER BY place, age DESC LIMIT 1";
