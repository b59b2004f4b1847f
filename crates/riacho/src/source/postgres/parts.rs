//! The rows of a table for a copy: read by one session, or, of a large table, in parts by several that see the same.
//!
//! Parts are ranges of places in the table's file (`ctid`): a row stays where it is for as long as a snapshot sees it, and no
//! index is needed. Of a partitioned table each partition has its own.

use super::{
    catalog::{Catalog, Origin, flag, ident, literal, number, text},
    connect::{Target, fault},
};
use futures_util::{StreamExt as _, pin_mut};
use riacho_core::source::{
    machine::Fault,
    postgres::{copy, table::Shape},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    vec,
};
use tokio::{sync::mpsc, task::JoinSet};

/// What is read: of which columns, and which rows.
pub(super) struct Select {
    /// The columns in SQL, those of the shape.
    pub(super) columns: String,
    /// A condition in SQL.
    pub(super) filter: Option<String>,
}

/// Keys and rows.
pub(super) type Batch = Vec<(Box<str>, Box<str>)>;

/// The rows of one table, in any order.
pub(super) struct Rows<'a> {
    work: Arc<Work>,
    batches: mpsc::Receiver<Result<Batch, Fault>>,
    /// This session's own reading.
    own: futures_util::future::Fuse<futures_util::future::BoxFuture<'a, ()>>,
    /// Dropped with this: those that have not begun are not waited for.
    _helpers: JoinSet<()>,
}

/// What sessions share that read one table.
struct Work {
    left: Mutex<Left>,
    shape: Shape,
    table: String,
}

/// Statements that nobody has taken yet, and how many are not read to their end.
struct Left {
    statements: vec::IntoIter<String>,
    unread: usize,
}

impl<'a> Rows<'a> {
    /// Begins to read `origin` in the transaction of `catalog`.
    pub(super) async fn read(
        catalog: &'a Catalog<'a>,
        target: &Arc<Target>,
        origin: &Origin,
        shape: &Shape,
        select: &Select,
    ) -> Result<Self, Fault> {
        let statements = statements(catalog, origin, select).await?;
        let helpers = (statements.len() / PARTS_EACH).min(HELPERS_MAX);
        let left = Left { unread: statements.len(), statements: statements.into_iter() };
        let (left, shape) = (Mutex::new(left), shape.clone());
        let work = Arc::new(Work { left, shape, table: origin.full_name() });
        let (sender, batches) = mpsc::channel(BATCHES_MAX);
        let mut helping = JoinSet::new();
        if helpers > 0 {
            let sql = "SELECT pg_catalog.pg_export_snapshot()";
            let snapshot = catalog.value(sql).await?.unwrap_or_default();
            for _ in 0..helpers {
                let begin =
                    Begin { target: Arc::clone(target), snapshot: snapshot.clone(), table: origin.only() };
                helping.spawn(help(begin, Arc::clone(&work), sender.downgrade()));
            }
        }
        let own = Arc::clone(&work);
        let own: futures_util::future::BoxFuture<'a, ()> =
            Box::pin(async move { own.read(catalog, sender).await });
        Ok(Self { work, batches, own: futures_util::FutureExt::fuse(own), _helpers: helping })
    }

    /// The next rows; none where all were read. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, Fault> {
        let next = tokio::select! {
            // Both go on where they were.
            next = self.batches.recv() => next,
            () = &mut self.own => self.batches.recv().await,
        };
        match next {
            Some(batch) => batch.map(Some),
            None if self.work.left().unread == 0 => Ok(None),
            None => Err(Fault::passing(format!("a part of `{}` was not read", self.work.table))),
        }
    }
}

impl Work {
    fn left(&self) -> std::sync::MutexGuard<'_, Left> {
        // Nothing is done under it that could fail.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Reads what nobody else does, until nothing is left.
    async fn read(&self, catalog: &Catalog<'_>, batches: mpsc::Sender<Result<Batch, Fault>>) {
        loop {
            let Some(statement) = self.left().statements.next() else { return };
            if let Err(fault) = self.read_one(catalog, &statement, &batches).await {
                // Where nobody asks any more, nobody need know.
                let _ = batches.send(Err(fault)).await;
                return;
            }
            self.left().unread -= 1;
        }
    }

    async fn read_one(
        &self,
        catalog: &Catalog<'_>,
        statement: &str,
        batches: &mpsc::Sender<Result<Batch, Fault>>,
    ) -> Result<(), Fault> {
        let lines = catalog.session.copy_out(statement).await.map_err(|err| fault(&err, catalog.target))?;
        pin_mut!(lines);
        let (mut rest, mut batch, mut bytes): (Vec<u8>, Batch, usize) = (Vec::new(), Vec::new(), 0);
        while let Some(got) = lines.next().await {
            let got = match got {
                Ok(got) => got,
                Err(err) if err.is_closed() => return Err(catalog.session.ended().await),
                Err(err) => return Err(fault(&err, catalog.target)),
            };
            // The server sends a line per message; nothing says that it must.
            let mut got = &got[..];
            while let Some(end) = memchr::memchr(b'\n', got) {
                let (line, more) = got.split_at(end);
                got = more.get(1..).unwrap_or_default();
                let row = if rest.is_empty() {
                    self.row(line)?
                } else {
                    rest.extend_from_slice(line);
                    self.row(&std::mem::take(&mut rest))?
                };
                bytes += row.0.len() + row.1.len();
                batch.push(row);
            }
            rest.extend_from_slice(got);
            if bytes >= BATCH_BYTES && batches.send(Ok(std::mem::take(&mut batch))).await.is_ok() {
                bytes = 0;
            }
        }
        let _ = batches.send(Ok(batch)).await;
        Ok(())
    }

    fn row(&self, line: &[u8]) -> Result<(Box<str>, Box<str>), Fault> {
        let row = copy::columns(line).and_then(|columns| {
            let data = copy::data(&columns);
            Some((self.shape.key(&data)?, self.shape.row(&data)?))
        });
        row.ok_or_else(|| Fault::passing(format!("a row of `{}` came broken", self.table)))
    }
}

/// What a session needs that is to help.
struct Begin {
    target: Arc<Target>,
    snapshot: String,
    table: String,
}

// Reads parts beside the session that made the snapshot. Without it the copy only takes longer.
async fn help(begin: Begin, work: Arc<Work>, batches: mpsc::WeakSender<Result<Batch, Fault>>) {
    let Begin { target, snapshot, table } = begin;
    let begun = async {
        let session = target.connect().await?;
        let catalog = Catalog { session: &session, target: &target };
        catalog.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        catalog.execute(&format!("SET TRANSACTION SNAPSHOT {}", literal(&snapshot))).await?;
        // Not behind somebody who waits for the copy's own lock: that one would wait for this, and this for him.
        catalog.execute(&format!("LOCK TABLE {table} IN ACCESS SHARE MODE NOWAIT")).await?;
        Ok::<_, Fault>(session)
    };
    match begun.await {
        Ok(session) => {
            let catalog = Catalog { session: &session, target: &target };
            // None where all was read meanwhile.
            if let Some(batches) = batches.upgrade() {
                work.read(&catalog, batches).await;
            }
        }
        Err(fault) => tracing::debug!(table, error = fault.message, "a copy is made by fewer sessions"),
    }
}

// What together gives the rows of a table.
async fn statements(catalog: &Catalog<'_>, origin: &Origin, select: &Select) -> Result<Vec<String>, Fault> {
    let Select { columns, filter } = select;
    let mut files = Vec::new();
    for row in catalog.rows(&FILES.replace("$OID", &origin.oid.to_string())).await? {
        let (namespace, name) = (text(&row, 0).unwrap_or_default(), text(&row, 1).unwrap_or_default());
        let blocks: u64 = number(&row, 2).unwrap_or(0);
        files.push((format!("ONLY {}.{}", ident(&namespace), ident(&name)), blocks, flag(&row, 3)));
    }
    let all: u64 = files.iter().map(|(_, blocks, _)| blocks).sum();
    if all < LARGE_BLOCKS || files.iter().any(|(_, _, divisible)| !divisible) {
        let condition = filter.as_ref().map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
        return Ok(vec![format!("COPY (SELECT {columns} FROM {}{condition}) TO STDOUT", origin.only())]);
    }
    let filter = filter.as_ref().map(|filter| format!(" AND ({filter})")).unwrap_or_default();
    let step = PART_BLOCKS.max(all / PARTS_MAX);
    let mut statements = Vec::new();
    for (file, blocks, _) in files {
        let mut from = 0;
        loop {
            // The last has no end: whatever the file was when it was looked at.
            let upto = Some(from + step).filter(|upto| *upto < blocks);
            let end = upto.map(|upto| format!(" AND ctid < '({upto},0)'")).unwrap_or_default();
            statements.push(format!(
                "COPY (SELECT {columns} FROM {file} WHERE ctid >= '({from},0)'{end}{filter}) TO STDOUT"
            ));
            let Some(upto) = upto else { break };
            from = upto;
        }
    }
    Ok(statements)
}

// A table's files, their blocks, and whether they may be read by places: by us, past the root, and stored as heaps.
const FILES: &str = "\
SELECT n.nspname, c.relname,
  pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::pg_catalog.int8,
  c.relkind = 'r' AND coalesce(a.amname = 'heap', false) AND NOT pg_catalog.row_security_active(c.oid)
    AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
WHERE c.oid = $OID AND c.relkind = 'r'
  OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree($OID) WHERE isleaf)
ORDER BY c.oid";

// Sessions that help the copy's own.
const HELPERS_MAX: usize = 2;
// So that each session has some.
const PARTS_EACH: usize = 2;
// Of 8 KiB: what is smaller is read in one go.
const LARGE_BLOCKS: u64 = 8192;
const PART_BLOCKS: u64 = 2048;
const PARTS_MAX: u64 = 1024;
// Bytes of rows that are handed over at once, and how many such wait.
const BATCH_BYTES: usize = 64 * 1024;
const BATCHES_MAX: usize = 4;
