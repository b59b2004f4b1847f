//! Messages of logical replication as the plug-in `pgoutput` writes them, protocol versions 1 and 2.
//!
//! A message is what one `XLogData` of the replication stream holds. It is decoded alone, but for one thing: between
//! [`Message::StreamStart`] and [`Message::StreamStop`] messages of changes begin with the transaction they belong to,
//! and only the caller knows whether it is there (`in_stream`).
//! Spec: PostgreSQL, "Logical Replication Message Formats".

use super::lsn::Lsn;
use crate::time::Millis;
use std::fmt::{self, Display, Formatter};

/// Takes the bytes of one message. `in_stream`: whether it stands between a [`Message::StreamStart`] and its
/// [`Message::StreamStop`].
///
/// Texts and data are borrowed; what is allocated is bounded by a multiple of the bytes that are there, whatever lengths
/// they claim.
///
/// # Errors
/// Where the bytes are no message of these versions, or go on behind it.
pub fn decode(bytes: &[u8], in_stream: bool) -> Result<Message<'_>, Damage> {
    let mut fields = Fields(bytes);
    let message = fields.message(in_stream)?;
    if fields.0.is_empty() { Ok(message) } else { Err(Damage::Trailing) }
}

/// A message of logical replication.
///
/// `xid` is a transaction: of a change in a stream the one that made it, which may be a subtransaction of the stream's;
/// none outside of streams, where [`Message::Begin`] names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// A transaction begins, all of whose changes follow, up to [`Message::Commit`].
    Begin {
        /// Where its commit is.
        final_lsn: Lsn,
        /// When it was committed.
        commit_time: Millis,
        /// The transaction.
        xid: u32,
    },
    /// The transaction that began last is complete.
    Commit {
        /// Where its commit is: `final_lsn` of its [`Message::Begin`].
        commit_lsn: Lsn,
        /// Behind its commit: what to confirm once it is durable.
        end_lsn: Lsn,
        /// When it was committed.
        commit_time: Millis,
    },
    /// The transaction came to this server by replication.
    Origin {
        /// Where its commit is on the server it came from.
        commit_lsn: Lsn,
        /// What this server calls that server.
        name: &'a str,
    },
    /// What a table is from here on; comes before its first change, and again after it was altered.
    Relation {
        /// In a stream: the transaction.
        xid: Option<u32>,
        /// The table.
        relation: Relation,
    },
    /// The name of a type that is not built in; comes before the first [`Message::Relation`] with such a column.
    Type {
        /// In a stream: the transaction.
        xid: Option<u32>,
        /// The type's OID, which columns have in `type_oid`.
        id: u32,
        /// Its schema.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A row was inserted.
    Insert {
        /// In a stream: the transaction.
        xid: Option<u32>,
        /// The table's [`Relation::id`].
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row was updated.
    Update {
        /// In a stream: the transaction.
        xid: Option<u32>,
        /// The table's [`Relation::id`].
        relation: u32,
        /// What is known of the row before. None where the replica identity is a key that did not change.
        old: Option<Old<'a>>,
        /// The row after. [`Datum::Unchanged`] stands for large values that did not change.
        new: Tuple<'a>,
    },
    /// A row was deleted.
    Delete {
        /// In a stream: the transaction.
        xid: Option<u32>,
        /// The table's [`Relation::id`].
        relation: u32,
        /// What is known of the row.
        old: Old<'a>,
    },
    /// Tables were emptied.
    Truncate {
        /// In a stream: the transaction.
        xid: Option<u32>,
        /// The tables' [`Relation::id`], those that `CASCADE` reached among them.
        relations: Vec<u32>,
        /// Whether `CASCADE` was said.
        cascade: bool,
        /// Whether `RESTART IDENTITY` was said.
        restart_identity: bool,
    },
    /// What `pg_logical_emit_message` was given.
    Logical {
        /// In a stream: the transaction.
        xid: Option<u32>,
        /// Whether it is part of a transaction. If not, it may stand outside of any.
        transactional: bool,
        /// Where it is.
        lsn: Lsn,
        /// Who it is for.
        prefix: &'a str,
        /// What it says: any bytes.
        content: &'a [u8],
    },
    /// A piece of a transaction that has not ended yet, up to [`Message::StreamStop`].
    StreamStart {
        /// The transaction.
        xid: u32,
        /// Whether this is its first piece.
        first: bool,
    },
    /// The piece is complete.
    StreamStop,
    /// A transaction that came in pieces is committed.
    StreamCommit {
        /// The transaction.
        xid: u32,
        /// Where its commit is.
        commit_lsn: Lsn,
        /// Behind its commit: what to confirm once it is durable.
        end_lsn: Lsn,
        /// When it was committed.
        commit_time: Millis,
    },
    /// A transaction that came in pieces was rolled back, or a part of it.
    StreamAbort {
        /// The transaction.
        xid: u32,
        /// Whose changes are void: a subtransaction, or the transaction itself, then with all of its subtransactions.
        subxid: u32,
    },
}

/// A table, as changes to it are written.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Relation {
    /// Its OID, which it keeps when it is renamed.
    pub id: u32,
    /// Its schema. The server says nothing for `pg_catalog`; here it is named.
    pub namespace: Box<str>,
    /// Its name, without schema and quotes.
    pub name: Box<str>,
    /// What is said of rows before a change.
    pub replica_identity: ReplicaIdentity,
    /// Its columns that are published, in the order of the data in a [`Tuple`].
    pub columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Column {
    /// Whether it is part of the replica identity. With [`ReplicaIdentity::Full`] all columns are.
    pub key: bool,
    /// Its name.
    pub name: Box<str>,
    /// The OID of its type.
    pub type_oid: u32,
    /// What its type was declared with, e.g. a length (`atttypmod`); -1 for nothing.
    pub type_modifier: i32,
}

/// What is said of rows before a change (`ALTER TABLE ... REPLICA IDENTITY`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReplicaIdentity {
    /// The primary key.
    Default,
    /// Nothing; updates and deletes cannot be published.
    Nothing,
    /// All columns.
    Full,
    /// The columns of an index.
    Index,
}

/// A row's data, one for each of [`Relation::columns`].
pub type Tuple<'a> = Vec<Datum<'a>>;

/// What is known of a row before a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Old<'a> {
    /// The columns of the replica identity; all others are [`Datum::Null`], whatever they were.
    Key(Tuple<'a>),
    /// The whole row.
    Full(Tuple<'a>),
}

/// A column's value in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Datum<'a> {
    /// NULL.
    Null,
    /// A large (TOASTed) value that did not change, and so is not there.
    Unchanged,
    /// The value as the type's output function writes it.
    Text(&'a str),
    /// The value as the type's send function writes it; only where the option `binary` was asked for.
    Binary(&'a [u8]),
}

/// Why bytes are no message. `Display` is a sentence without a stop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Damage {
    /// They end too early.
    Short,
    /// No message begins with this byte.
    Message(u8),
    /// A field holds what it may not.
    Shape,
    /// A text is not UTF-8; the connection must have asked for it (`client_encoding`).
    Text,
    /// They go on behind the message.
    Trailing,
}

impl Display for Damage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the message ends too early"),
            Self::Message(byte) => write!(f, "no message is called '{}'", byte.escape_ascii()),
            Self::Shape => f.write_str("a field holds what it may not"),
            Self::Text => f.write_str("a text is not UTF-8"),
            Self::Trailing => f.write_str("the bytes go on behind the message"),
        }
    }
}

impl std::error::Error for Damage {}

/// The bytes not yet read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn message(&mut self, in_stream: bool) -> Result<Message<'a>, Damage> {
        Ok(match self.u8()? {
            b'B' => Message::Begin { final_lsn: self.lsn()?, commit_time: self.time()?, xid: self.u32()? },
            b'C' => {
                self.no_flags()?;
                Message::Commit { commit_lsn: self.lsn()?, end_lsn: self.lsn()?, commit_time: self.time()? }
            }
            b'O' => Message::Origin { commit_lsn: self.lsn()?, name: self.string()? },
            b'R' => Message::Relation { xid: self.xid(in_stream)?, relation: self.relation()? },
            b'Y' => Message::Type {
                xid: self.xid(in_stream)?,
                id: self.u32()?,
                namespace: self.namespace()?,
                name: self.string()?,
            },
            b'I' => {
                let (xid, relation) = (self.xid(in_stream)?, self.u32()?);
                Message::Insert { xid, relation, new: self.new_tuple()? }
            }
            b'U' => {
                let (xid, relation) = (self.xid(in_stream)?, self.u32()?);
                let old = if self.0.first() == Some(&b'N') { None } else { Some(self.old_tuple()?) };
                Message::Update { xid, relation, old, new: self.new_tuple()? }
            }
            b'D' => {
                Message::Delete { xid: self.xid(in_stream)?, relation: self.u32()?, old: self.old_tuple()? }
            }
            b'T' => self.truncate(in_stream)?,
            b'M' => self.logical(in_stream)?,
            b'S' => Message::StreamStart { xid: self.u32()?, first: self.flag()? },
            b'E' => Message::StreamStop,
            b'c' => {
                let xid = self.u32()?;
                self.no_flags()?;
                let (commit_lsn, end_lsn) = (self.lsn()?, self.lsn()?);
                Message::StreamCommit { xid, commit_lsn, end_lsn, commit_time: self.time()? }
            }
            b'A' => Message::StreamAbort { xid: self.u32()?, subxid: self.u32()? },
            byte => return Err(Damage::Message(byte)),
        })
    }

    fn relation(&mut self) -> Result<Relation, Damage> {
        let (id, namespace, name) = (self.u32()?, self.namespace()?, self.string()?);
        let replica_identity = match self.u8()? {
            b'd' => ReplicaIdentity::Default,
            b'n' => ReplicaIdentity::Nothing,
            b'f' => ReplicaIdentity::Full,
            b'i' => ReplicaIdentity::Index,
            _ => return Err(Damage::Shape),
        };
        let columns = self.list(|fields| {
            Ok(Column {
                key: fields.flag()?,
                name: fields.string()?.into(),
                type_oid: fields.u32()?,
                type_modifier: i32::from_be_bytes(fields.array()?),
            })
        })?;
        Ok(Relation { id, namespace: namespace.into(), name: name.into(), replica_identity, columns })
    }

    fn truncate(&mut self, in_stream: bool) -> Result<Message<'a>, Damage> {
        let (xid, count, options) = (self.xid(in_stream)?, self.u32()?, self.u8()?);
        if options & !(CASCADE | RESTART_IDENTITY) != 0 {
            return Err(Damage::Shape);
        }
        let relations = self.items(count, Self::u32)?;
        Ok(Message::Truncate {
            xid,
            relations,
            cascade: options & CASCADE != 0,
            restart_identity: options & RESTART_IDENTITY != 0,
        })
    }

    fn logical(&mut self, in_stream: bool) -> Result<Message<'a>, Damage> {
        let (xid, transactional) = (self.xid(in_stream)?, self.flag()?);
        let (lsn, prefix, content) = (self.lsn()?, self.string()?, self.bytes()?);
        Ok(Message::Logical { xid, transactional, lsn, prefix, content })
    }

    fn new_tuple(&mut self) -> Result<Tuple<'a>, Damage> {
        if self.u8()? != b'N' {
            return Err(Damage::Shape);
        }
        self.tuple()
    }

    fn old_tuple(&mut self) -> Result<Old<'a>, Damage> {
        match self.u8()? {
            b'K' => Ok(Old::Key(self.tuple()?)),
            b'O' => Ok(Old::Full(self.tuple()?)),
            _ => Err(Damage::Shape),
        }
    }

    fn tuple(&mut self) -> Result<Tuple<'a>, Damage> {
        self.list(|fields| {
            Ok(match fields.u8()? {
                b'n' => Datum::Null,
                b'u' => Datum::Unchanged,
                b't' => Datum::Text(text(fields.bytes()?)?),
                b'b' => Datum::Binary(fields.bytes()?),
                _ => return Err(Damage::Shape),
            })
        })
    }

    /// As many items as the two bytes before them say.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, Damage>) -> Result<Vec<T>, Damage> {
        let count = u16::from_be_bytes(self.array()?);
        self.items(count.into(), item)
    }

    // Collecting results reserves nothing, so a count is believed only as far as there are bytes for it.
    fn items<T>(
        &mut self,
        count: u32,
        item: impl Fn(&mut Self) -> Result<T, Damage>,
    ) -> Result<Vec<T>, Damage> {
        (0..count).map(|_| item(self)).collect()
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Damage> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(Damage::Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        self.take(N)?.try_into().map_err(|_| Damage::Short)
    }

    fn u8(&mut self) -> Result<u8, Damage> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Damage> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn flag(&mut self) -> Result<bool, Damage> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damage::Shape),
        }
    }

    fn no_flags(&mut self) -> Result<(), Damage> {
        if self.u8()? == 0 { Ok(()) } else { Err(Damage::Shape) }
    }

    fn lsn(&mut self) -> Result<Lsn, Damage> {
        Ok(Lsn(u64::from_be_bytes(self.array()?)))
    }

    fn time(&mut self) -> Result<Millis, Damage> {
        Ok(millis(i64::from_be_bytes(self.array()?)))
    }

    fn xid(&mut self, in_stream: bool) -> Result<Option<u32>, Damage> {
        if in_stream { Ok(Some(self.u32()?)) } else { Ok(None) }
    }

    /// Bytes behind their length.
    fn bytes(&mut self) -> Result<&'a [u8], Damage> {
        let n = self.u32()?;
        self.take(n as usize)
    }

    /// A text before a zero byte.
    fn string(&mut self) -> Result<&'a str, Damage> {
        let end = memchr::memchr(0, self.0).ok_or(Damage::Short)?;
        let string = text(self.take(end)?)?;
        self.take(1)?;
        Ok(string)
    }

    fn namespace(&mut self) -> Result<&'a str, Damage> {
        Ok(Some(self.string()?).filter(|name| !name.is_empty()).unwrap_or("pg_catalog"))
    }
}

fn text(bytes: &[u8]) -> Result<&str, Damage> {
    std::str::from_utf8(bytes).map_err(|_| Damage::Text)
}

/// Microseconds since 2000-01-01T00:00:00Z, PostgreSQL's count, as milliseconds since 1970; before that is 0.
pub fn millis(micros: i64) -> Millis {
    Millis::try_from(micros.div_euclid(1000).saturating_add(MILLIS_1970_TO_2000)).unwrap_or(0)
}

const MILLIS_1970_TO_2000: i64 = 946_684_800_000;

const CASCADE: u8 = 1;
const RESTART_IDENTITY: u8 = 2;
