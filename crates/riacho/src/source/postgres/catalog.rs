//! What a server says of itself, its tables, publications and slots.

use super::connect::{Session, Target, fault};
use crate::source::TableSettings;
use riacho_core::source::{
    machine::Fault,
    postgres::{kind::Types, lsn::Lsn, snapshot::Visibility},
};
use std::str::FromStr;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

/// A session that is asked, and whose database it is.
pub(super) struct Catalog<'a> {
    pub(super) session: &'a Session,
    pub(super) target: &'a Target,
}

/// What a server is.
#[derive(Clone, Debug)]
pub(super) struct ServerInfo {
    /// Of `server_version_num`, e.g. 15.
    pub(super) major: u32,
    pub(super) wal_level: String,
    pub(super) in_recovery: bool,
    /// Whether the user may replicate.
    pub(super) may_replicate: bool,
    pub(super) user: String,
    pub(super) database: String,
}

/// A table, or what goes for one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    pub(super) oid: u32,
    pub(super) namespace: Box<str>,
    pub(super) name: Box<str>,
    /// `r`: table, `p`: partitioned table, `v`: view, ...
    pub(super) relkind: char,
    /// `d`, `n`, `f`, `i`.
    pub(super) identity: char,
    /// Whether it is a part of a partitioned table.
    pub(super) is_partition: bool,
    /// `p`: permanent, `u`: unlogged, `t`: temporary.
    pub(super) persistence: char,
    /// The statistics' guess.
    pub(super) rows: Option<u64>,
    pub(super) may_select: bool,
    pub(super) columns: Vec<OriginColumn>,
    /// The columns of the key, in its order; empty without.
    pub(super) key: Vec<Box<str>>,
    /// Its partitions and their files: the stream says nothing of one that comes with rows, goes or is emptied alone.
    partitions: Box<str>,
}

/// A column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct OriginColumn {
    pub(super) name: Box<str>,
    pub(super) type_oid: u32,
    /// Its place, and the transaction that last altered it: a column of the same name and type may be another one, or
    /// written anew.
    version: Box<str>,
    /// Whether it is computed from others: such columns are not replicated.
    pub(super) generated: bool,
}

/// A replication slot.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) plugin: String,
    pub(super) database: String,
    pub(super) active_pid: Option<String>,
    pub(super) confirmed: Option<Lsn>,
    /// Whether its WAL is gone, or it was invalidated otherwise.
    pub(super) lost: bool,
}

/// A table of a publication.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Published {
    pub(super) namespace: Box<str>,
    pub(super) name: Box<str>,
    /// The columns, where the server can say.
    pub(super) columns: Option<Vec<String>>,
    pub(super) filter: Option<String>,
}

impl Origin {
    /// A text that is another one where the rows may have become others without a word in the stream.
    pub(super) fn version(&self) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{:?} {} {}", column.name, column.type_oid, column.version))
            .collect();
        format!("{} {:?} [{}] {}", self.oid, self.key, columns.join(", "), self.partitions)
    }

    /// `schema.name`, as people write it.
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// The name in SQL.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", ident(&self.namespace), ident(&self.name))
    }

    /// The same without tables that inherit from it, whose rows the stream tells as theirs.
    pub(super) fn only(&self) -> String {
        let only = if self.relkind == 'p' { "" } else { "ONLY " };
        format!("{only}{}", self.sql())
    }

    /// What it is called here.
    pub(super) fn table_name(&self, settings: &TableSettings) -> String {
        match &settings.name {
            Some(name) => name.clone(),
            None if &*self.namespace == PUBLIC => self.name.to_string(),
            None => self.full_name(),
        }
    }

    /// Whether `settings` name it.
    pub(super) fn is_named(&self, settings: &TableSettings) -> bool {
        if settings.table.contains('.') {
            return settings.matches(&self.full_name());
        }
        &*self.namespace == PUBLIC && settings.matches(&self.name)
    }
}

impl Catalog<'_> {
    /// Rows of one statement.
    ///
    /// # Errors
    /// Where the server refuses it or is gone.
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<SimpleQueryRow>, Fault> {
        let messages = match self.session.simple_query(sql).await {
            Ok(messages) => messages,
            // Why the connection ended is known to its driver alone.
            Err(err) if err.is_closed() => return Err(self.session.ended().await),
            Err(err) => return Err(fault(&err, self.target)),
        };
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    /// The first column of the first row.
    pub(super) async fn value(&self, sql: &str) -> Result<Option<String>, Fault> {
        Ok(self.rows(sql).await?.first().and_then(|row| text(row, 0)))
    }

    /// Runs a statement.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), Fault> {
        self.rows(sql).await.map(drop)
    }

    pub(super) async fn server(&self) -> Result<ServerInfo, Fault> {
        let sql = "SELECT current_setting('server_version_num'), current_setting('wal_level'), pg_is_in_recovery(), \
                   (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), \
                   current_user, current_database()";
        let rows = self.rows(sql).await?;
        let row = rows.first().ok_or_else(unexpected)?;
        let version: u32 = text(row, 0).and_then(|version| version.parse().ok()).ok_or_else(unexpected)?;
        Ok(ServerInfo {
            major: version / 10_000,
            wal_level: text(row, 1).unwrap_or_default(),
            in_recovery: flag(row, 2),
            may_replicate: flag(row, 3),
            user: text(row, 4).unwrap_or_default(),
            database: text(row, 5).unwrap_or_default(),
        })
    }

    /// All tables and views of users, by name; `only` of them, or all.
    pub(super) async fn origins(&self, only: Option<u32>) -> Result<Vec<Origin>, Fault> {
        let one = only.map(|oid| format!(" AND c.oid = {oid}")).unwrap_or_default();
        let tables = self.rows(&TABLES.replace("$ONE", &one)).await?;
        let columns = self.rows(&COLUMNS.replace("$ONE", &one)).await?;
        let keys = self.rows(&KEYS.replace("$ONE", &one)).await?;
        let mut origins: Vec<Origin> = tables.iter().filter_map(origin).collect();
        for row in &columns {
            let Some(origin) = of_oid(&mut origins, row) else { continue };
            let (Some(name), Some(type_oid)) = (text(row, 1), number(row, 2)) else { continue };
            let version = text(row, 4).unwrap_or_default().into();
            let (name, generated) = (name.into(), flag(row, 3));
            origin.columns.push(OriginColumn { name, type_oid, version, generated });
        }
        for row in &keys {
            let Some(origin) = of_oid(&mut origins, row) else { continue };
            let (primary, chosen) = (flag(row, 1), flag(row, 2));
            // What identifies a row in the stream is what it is called here.
            // Of a partitioned table the parts have identities of their own: the primary key is what they share.
            let by_index = origin.identity == 'i' && origin.relkind != 'p';
            let is_key = if by_index { chosen } else { primary };
            if let (true, Some(name)) = (is_key, text(row, 3)) {
                origin.key.push(name.into());
            }
        }
        Ok(origins)
    }

    /// What types are, by `types`.
    pub(super) async fn describe(&self, oids: &[u32], types: &mut Types) -> Result<(), Fault> {
        for row in self.rows(&Types::query(oids)).await? {
            // What the catalogue says in another form is text.
            let _ = types.add([row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)]);
        }
        Ok(())
    }

    pub(super) async fn slot(&self, name: &str, server: &ServerInfo) -> Result<Option<Slot>, Fault> {
        let lost = match server.major {
            ..=15 => "wal_status = 'lost'",
            16 => "wal_status = 'lost' OR coalesce(conflicting, false)",
            _ => "wal_status = 'lost' OR invalidation_reason IS NOT NULL",
        };
        let sql = format!(
            "SELECT plugin, database, active_pid, confirmed_flush_lsn, {lost} FROM pg_catalog.pg_replication_slots \
             WHERE slot_name = {}",
            literal(name)
        );
        let rows = self.rows(&sql).await?;
        let slot = |row: &SimpleQueryRow| Slot {
            plugin: text(row, 0).unwrap_or_default(),
            database: text(row, 1).unwrap_or_default(),
            active_pid: text(row, 2),
            confirmed: text(row, 3).and_then(|lsn| Lsn::parse(&lsn)),
            lost: flag(row, 4),
        };
        Ok(rows.first().map(slot))
    }

    /// The tables of a publication; none where there is no such publication. `Err` of the kinds of changes it leaves out.
    pub(super) async fn publication(
        &self,
        name: &str,
        server: &ServerInfo,
    ) -> Result<Option<Vec<Published>>, Fault> {
        let sql = format!(
            "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate FROM pg_catalog.pg_publication \
             WHERE pubname = {}",
            literal(name)
        );
        let rows = self.rows(&sql).await?;
        let Some(whole) = rows.first().map(|row| flag(row, 0)) else { return Ok(None) };
        if !whole {
            return Err(Fault::needs_person(
                format!("the publication `{name}` leaves out some kinds of changes"),
                format!(
                    "ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate');",
                    ident(name)
                ),
            ));
        }
        let more = if server.major >= 15 { ", array_to_json(attnames), rowfilter" } else { ", NULL, NULL" };
        let sql = format!(
            "SELECT schemaname, tablename{more} FROM pg_catalog.pg_publication_tables WHERE pubname = {} ORDER BY 1, 2",
            literal(name)
        );
        let published = |row: &SimpleQueryRow| {
            Some(Published {
                namespace: text(row, 0)?.into(),
                name: text(row, 1)?.into(),
                columns: text(row, 2).and_then(|names| serde_json::from_str(&names).ok()),
                filter: text(row, 3),
            })
        };
        Ok(Some(self.rows(&sql).await?.iter().filter_map(published).collect()))
    }

    /// What a query would see now.
    pub(super) async fn visibility(&self) -> Result<Visibility, Fault> {
        let text = self.value("SELECT pg_catalog.pg_current_snapshot()").await?;
        text.as_deref().and_then(Visibility::parse).ok_or_else(unexpected)
    }

    /// The end of the write-ahead log.
    pub(super) async fn wal_end(&self) -> Result<Lsn, Fault> {
        let text = self.value("SELECT pg_catalog.pg_current_wal_insert_lsn()").await?;
        text.as_deref().and_then(Lsn::parse).ok_or_else(unexpected)
    }
}

/// A name in SQL.
pub(super) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    // With a backslash a plain literal would depend on `standard_conforming_strings`.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn unexpected() -> Fault {
    Fault::passing("PostgreSQL answered what was not asked for")
}

fn origin(row: &SimpleQueryRow) -> Option<Origin> {
    let letter = |at| text(row, at).and_then(|text| text.chars().next());
    Some(Origin {
        oid: number(row, 0)?,
        namespace: text(row, 1)?.into(),
        name: text(row, 2)?.into(),
        relkind: letter(3)?,
        identity: letter(4)?,
        is_partition: flag(row, 5),
        persistence: letter(6)?,
        rows: text(row, 7).and_then(|rows| rows.parse().ok()),
        may_select: flag(row, 8),
        columns: Vec::new(),
        key: Vec::new(),
        partitions: text(row, 9).unwrap_or_default().into(),
    })
}

fn of_oid<'a>(origins: &'a mut [Origin], row: &SimpleQueryRow) -> Option<&'a mut Origin> {
    let oid: u32 = number(row, 0)?;
    let at = origins.binary_search_by_key(&oid, |origin| origin.oid).ok()?;
    origins.get_mut(at)
}

pub(super) fn text(row: &SimpleQueryRow, at: usize) -> Option<String> {
    row.get(at).map(str::to_owned)
}

pub(super) fn number<T: FromStr>(row: &SimpleQueryRow, at: usize) -> Option<T> {
    row.get(at)?.parse().ok()
}

pub(super) fn flag(row: &SimpleQueryRow, at: usize) -> bool {
    row.get(at) == Some("t")
}

const PUBLIC: &str = "public";

// Sorted by OID, by which the others find their table.
const TABLES: &str = "\
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, c.relispartition, c.relpersistence,
  CASE WHEN c.reltuples >= 0 THEN c.reltuples::pg_catalog.int8 END,
  pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
  CASE WHEN c.relkind = 'p' THEN (
    WITH RECURSIVE parts (id) AS (
      SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = c.oid
      UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN parts ON i.inhparent = parts.id)
    SELECT pg_catalog.string_agg(p.oid || '/' || p.relfilenode, ' ' ORDER BY p.oid)
    FROM parts JOIN pg_catalog.pg_class AS p ON p.oid = parts.id) END
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')$ONE
ORDER BY c.oid";

const COLUMNS: &str = "\
SELECT c.oid, a.attname, a.atttypid, a.attgenerated <> '', a.attnum || '/' || a.xmin
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND c.relkind IN ('r', 'p')
  AND a.attnum > 0 AND NOT a.attisdropped$ONE
ORDER BY c.oid, a.attnum";

const KEYS: &str = "\
SELECT c.oid, i.indisprimary, i.indisreplident, a.attname
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_index AS i ON i.indrelid = c.oid
  CROSS JOIN LATERAL pg_catalog.unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND (i.indisprimary OR i.indisreplident)
  AND i.indimmediate AND i.indisvalid
  AND k.place <= i.indnkeyatts$ONE
ORDER BY c.oid, i.indexrelid, k.place";
