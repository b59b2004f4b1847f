//! Recorded messages of logical replication as people read them, and the same whatever numbers a server gave away.

use riacho_core::source::postgres::{
    lsn::Lsn,
    pgoutput::{Datum, Message, Old, Tuple, decode},
};
use std::collections::HashMap;

/// One line for each line of hex. Tables and types are their names, transactions are counted in order; places in the
/// log and times are left out where they differ from run to run, and checked to fit to each other.
pub(crate) fn describe(hex: &str) -> String {
    let mut reader = Reader::default();
    hex.lines().map(|line| reader.line(&bytes(line)) + "\n").collect()
}

/// The bytes that hex digits say.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[derive(Default)]
struct Reader {
    in_stream: bool,
    final_lsn: Option<Lsn>,
    end_lsn: Lsn,
    xids: Vec<u32>,
    names: HashMap<u32, String>,
}

impl Reader {
    fn line(&mut self, bytes: &[u8]) -> String {
        let message = decode(bytes, self.in_stream).unwrap_or_else(|err| panic!("{err}: {bytes:?}"));
        match message {
            Message::Begin { final_lsn, commit_time, xid } => {
                assert!(final_lsn >= self.end_lsn, "commits are in order");
                self.final_lsn = Some(final_lsn);
                format!("begin {}{}", self.xid(xid), old(commit_time))
            }
            Message::Commit { commit_lsn, end_lsn, commit_time } => {
                assert_eq!(self.final_lsn.take(), Some(commit_lsn));
                self.ends(commit_lsn, end_lsn);
                format!("commit{}", old(commit_time))
            }
            Message::Origin { commit_lsn, name } => format!("origin {name} {commit_lsn}"),
            Message::Relation { xid, relation } => {
                let name = format!("{}.{}", relation.namespace, relation.name);
                self.names.insert(relation.id, name.clone());
                let columns: Vec<String> = relation
                    .columns
                    .iter()
                    .map(|column| {
                        let kind = self.names.get(&column.type_oid).cloned();
                        let kind = kind.unwrap_or_else(|| column.type_oid.to_string());
                        let key = if column.key { "key " } else { "" };
                        format!("{key}{:?} {kind} {}", column.name, column.type_modifier)
                    })
                    .collect();
                let identity = relation.replica_identity;
                format!("{}relation {name} {identity:?} ({})", self.within(xid), columns.join(", "))
            }
            Message::Type { xid, id, namespace, name } => {
                self.names.insert(id, format!("{namespace}.{name}"));
                format!("{}type {namespace}.{name}", self.within(xid))
            }
            Message::Insert { xid, relation, new } => {
                format!("{}insert {} {}", self.within(xid), self.names[&relation], tuple(&new))
            }
            Message::Update { xid, relation, old, new } => {
                let old = old.as_ref().map_or(String::new(), |old| before(old) + " ");
                format!("{}update {} {old}{}", self.within(xid), self.names[&relation], tuple(&new))
            }
            Message::Delete { xid, relation, old } => {
                format!("{}delete {} {}", self.within(xid), self.names[&relation], before(&old))
            }
            Message::Truncate { xid, relations, cascade, restart_identity } => {
                let tables: Vec<&str> = relations.iter().map(|id| &*self.names[id]).collect();
                let tables = tables.join(" ");
                format!("{}truncate {tables} cascade={cascade} restart={restart_identity}", self.within(xid))
            }
            Message::Logical { xid, transactional, lsn, prefix, content } => {
                assert!(lsn > Lsn(0));
                let content = content.escape_ascii();
                format!("{}message transactional={transactional} {prefix} {content}", self.within(xid))
            }
            Message::StreamStart { xid, first } => {
                assert!(!std::mem::replace(&mut self.in_stream, true));
                format!("stream start {} first={first}", self.xid(xid))
            }
            Message::StreamStop => {
                assert!(std::mem::replace(&mut self.in_stream, false));
                "stream stop".to_owned()
            }
            Message::StreamCommit { xid, commit_lsn, end_lsn, commit_time } => {
                self.ends(commit_lsn, end_lsn);
                format!("stream commit {}{}", self.xid(xid), old(commit_time))
            }
            Message::StreamAbort { xid, subxid } => {
                format!("stream abort {} {}", self.xid(xid), self.xid(subxid))
            }
        }
    }

    fn ends(&mut self, commit_lsn: Lsn, end_lsn: Lsn) {
        assert!(commit_lsn >= self.end_lsn && end_lsn > commit_lsn);
        self.end_lsn = end_lsn;
    }

    fn xid(&mut self, xid: u32) -> String {
        let known = self.xids.iter().position(|known| *known == xid).unwrap_or_else(|| {
            self.xids.push(xid);
            self.xids.len() - 1
        });
        format!("#{}", known + 1)
    }

    fn within(&mut self, xid: Option<u32>) -> String {
        assert_eq!(xid.is_some(), self.in_stream);
        xid.map_or(String::new(), |xid| self.xid(xid) + " ")
    }
}

/// A time that was given and not taken from a clock.
fn old(millis: u64) -> String {
    if millis < 1_600_000_000_000 { format!(" at {millis}") } else { String::new() }
}

fn before(old: &Old<'_>) -> String {
    match old {
        Old::Key(tuple) => format!("key {}", self::tuple(tuple)),
        Old::Full(tuple) => format!("full {}", self::tuple(tuple)),
    }
}

fn tuple(tuple: &Tuple<'_>) -> String {
    let data: Vec<String> = tuple
        .iter()
        .map(|datum| match datum {
            Datum::Null => "null".to_owned(),
            Datum::Unchanged => "unchanged".to_owned(),
            Datum::Text(text) if text.len() > 100 => format!("{} bytes", text.len()),
            Datum::Text(text) => format!("{text:?}"),
            Datum::Binary(bytes) if bytes.len() > 100 => format!("{} bytes", bytes.len()),
            Datum::Binary(bytes) => format!("'{}'", bytes.escape_ascii()),
        })
        .collect();
    format!("({})", data.join(", "))
}
