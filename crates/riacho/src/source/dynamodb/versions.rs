//! Which record made each row, where changes may come twice: a function that pushes them is called again with those it has
//! pushed, and both ways at once bring each change by each.
//!
//! A hidden table beside the table has, by the row's key, the newest record that was taken. It is written in the
//! same transaction as the row, also where the row stays as it is. What is older than a stream keeps its records is swept.

use crate::{
    error::Error,
    log::{Becomes, SourceChange},
    rows::Rows,
    source::{
        Sink,
        copy::{blocking, unread},
    },
};
use riacho_core::{
    name::StreamName,
    source::{dynamodb::sequence::SequenceNumber, machine::Fault},
    time::Millis,
};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// The newest records of the rows of one table.
#[derive(Clone, Debug)]
pub(super) struct Versions {
    stream: StreamName,
}

/// A record, newer than those before it of the same item.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Version {
    /// The label of its stream, a time: a stream that was made later has newer records.
    pub(super) stream: Box<str>,
    pub(super) sequence: SequenceNumber,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    stream: Box<str>,
    sequence: Box<str>,
}

impl Versions {
    /// Those of the table that is called `table` here.
    ///
    /// # Errors
    /// Where the name is too long for it.
    pub(super) fn of(table: &str) -> Result<Self, Fault> {
        let stream = StreamName::of_versions(table);
        let stream =
            stream.map_err(|err| Fault::evident(format!("the name of the table `{table}` {err}")))?;
        Ok(Self { stream })
    }

    /// The newest records of these keys, as far as any is known.
    pub(super) async fn known(
        &self,
        rows: &Rows,
        keys: Vec<Box<str>>,
    ) -> Result<HashMap<Box<str>, Version>, Fault> {
        let (rows, stream) = (rows.clone(), self.stream.clone());
        let read = move || {
            let mut known = HashMap::with_capacity(keys.len());
            for key in keys {
                if let Some(version) = rows.row(&stream, &key)?.and_then(|row| Version::parse(&row.value)) {
                    known.insert(key, version);
                }
            }
            Ok(known)
        };
        blocking(read).await?.map_err(|err: Error| unread(&err))
    }

    /// Those of these keys whose records are newer than `at`, or may be; all that have one, where that is none.
    pub(super) async fn since(
        &self,
        rows: &Rows,
        keys: Vec<Box<str>>,
        at: Option<Millis>,
    ) -> Result<HashSet<Box<str>>, Fault> {
        let (rows, stream) = (rows.clone(), self.stream.clone());
        let before = at.map_or(0, |at| at.saturating_sub(CLOCKS_MS));
        let read = move || {
            let mut since = HashSet::with_capacity(keys.len());
            for key in keys {
                // It was made before it was taken.
                if rows.row(&stream, &key)?.is_some_and(|row| row.time >= before) {
                    since.insert(key);
                }
            }
            Ok(since)
        };
        blocking(read).await?.map_err(|err: Error| unread(&err))
    }

    /// That `version` is now the newest of `key`.
    pub(super) fn becomes(&self, key: &str, version: &Version) -> SourceChange {
        let Version { stream, sequence } = version;
        let stored = Stored { stream: stream.clone(), sequence: sequence.to_string().into() };
        let json = serde_json::to_string(&stored).unwrap_or_default();
        SourceChange { table: self.stream.clone(), key: key.into(), becomes: Becomes::Row(json.into()) }
    }

    /// That those of before `before` are forgotten; at most so many as one commit takes, after the key `after`. With the
    /// last key that was looked at, where there are more.
    pub(super) async fn sweep(
        &self,
        sink: &Sink,
        before: Millis,
        after: Option<Box<str>>,
    ) -> Result<(Vec<SourceChange>, Option<Box<str>>), Fault> {
        let snapshot = sink.rows().snapshot(&self.stream).map_err(|err| unread(&err))?;
        let table = self.stream.clone();
        let read = move || {
            let mut gone = Vec::new();
            let visited = snapshot.visit(after.as_deref(), SWEEP_BYTES, |row| {
                if row.time < before {
                    let (table, key) = (table.clone(), row.key.into());
                    gone.push(SourceChange { table, key, becomes: Becomes::Gone });
                }
            })?;
            Ok((gone, visited.last.filter(|_| !visited.done)))
        };
        blocking(read).await?.map_err(|err: Error| unread(&err))
    }
}

impl Version {
    fn parse(json: &str) -> Option<Self> {
        let Stored { stream, sequence } = serde_json::from_str(json).ok()?;
        Some(Self { stream, sequence: sequence.parse().ok()? })
    }
}

// So far our clock may be from the one that timed an export.
const CLOCKS_MS: Millis = 300_000;
// Bytes of rows that are looked at in one go.
const SWEEP_BYTES: usize = 1024 * 1024;
