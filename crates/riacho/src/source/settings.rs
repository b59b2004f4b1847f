//! What the configuration says of sources, checked.

use std::{
    fmt::{self, Debug, Formatter},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// One `[[source]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceSettings {
    /// Its name, unique: what `/sources` and logs call it, and part of what it is called in its database.
    pub name: Arc<str>,
    /// Where the rows come from.
    pub database: Database,
    /// Which tables; at least one.
    pub tables: Vec<TableSettings>,
}

/// Where rows come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Database {
    /// A file of SQLite.
    Sqlite(SqliteSettings),
    /// A database of PostgreSQL.
    Postgres(PostgresSettings),
    /// Tables of DynamoDB.
    DynamoDb(DynamoDbSettings),
}

/// A file of SQLite.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SqliteSettings {
    /// Its path.
    pub path: PathBuf,
    /// Whether triggers and the table of changes are made at start where they are missing.
    pub setup: bool,
}

/// A database of PostgreSQL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PostgresSettings {
    /// How to reach it: a URL, or `key=value` pairs, as libpq takes them.
    pub url: Secret,
    /// The publication that is used as it is; none: one of our own is made, and kept as `tables` says.
    pub publication: Option<String>,
    /// The replication slot; none: one named after the source.
    pub slot: Option<String>,
}

/// Tables of DynamoDB.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DynamoDbSettings {
    /// The region; none: as the AWS tools find it.
    pub region: Option<String>,
    /// The URL of the service; none: as the AWS tools find it.
    pub endpoint: Option<String>,
    /// The profile of the AWS configuration files; none: as the AWS tools find it.
    pub profile: Option<String>,
    /// An access key and its secret; none: as the AWS tools find them.
    pub access_key: Option<(String, Secret)>,
    /// Which way changes come.
    pub changes: Changes,
    /// Where the first rows come from.
    pub snapshot: FirstRows,
    /// What signs what is pushed to `/ingest`; needed where anything is.
    pub secret: Option<Secret>,
    /// How long a shard without news is left alone.
    pub poll: Duration,
    /// For how long a shard must have nothing new after a scan to be believed to have nothing older.
    pub settle: Duration,
    /// Read capacity units per second that a scan may take; none: what the table gives.
    pub rcu_max: Option<u32>,
}

/// Which way the changes of a table of DynamoDB come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Changes {
    /// Its stream is read.
    Poll,
    /// Its stream triggers a function that pushes them.
    Ingest,
    /// Both: the same change twice is one.
    Both,
}

/// Where the first rows of a table of DynamoDB come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstRows {
    /// The table is scanned.
    Scan,
    /// They are imported.
    Import,
}

impl Changes {
    /// The words for it in the configuration, in the order of [`Changes`].
    pub const WORDS: [&str; 3] = ["poll", "ingest", "both"];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Ingest => "ingest",
            Self::Both => "both",
        }
    }

    /// Whether streams are read.
    pub fn polls(self) -> bool {
        self != Self::Ingest
    }

    /// Whether changes are pushed.
    pub fn ingests(self) -> bool {
        self != Self::Poll
    }
}

impl FirstRows {
    /// The words for it in the configuration, in the order of [`FirstRows`].
    pub const WORDS: [&str; 2] = ["scan", "import"];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Import => "import",
        }
    }
}

impl Default for DynamoDbSettings {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            profile: None,
            access_key: None,
            changes: Changes::Poll,
            snapshot: FirstRows::Scan,
            secret: None,
            poll: Duration::from_millis(250),
            settle: Duration::from_secs(10),
            rcu_max: None,
        }
    }
}

/// A text that may hold a password: nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Tables that a source feeds, and what of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSettings {
    /// The name in the database, or a pattern with `*`; of PostgreSQL with its schema, `public` where none is said.
    pub table: String,
    /// What it is called here; none: as in the database, without `public.`. Not for patterns.
    pub name: Option<String>,
    /// The columns that are read; none: all. The key is always read.
    pub columns: Option<Vec<String>>,
    /// The rows that are read: an SQL expression, judged by the database.
    pub filter: Option<String>,
    /// DynamoDB: the names of the key's attributes, hash first, for a table nobody describes. Otherwise none.
    pub key: Option<Vec<String>>,
}

impl Database {
    /// What kind it is: the word of `--source` and `/sources`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
            Self::DynamoDb(_) => "dynamodb",
        }
    }
}

impl TableSettings {
    /// All of the table, or of the tables, `table`.
    pub fn all_of(table: &str) -> Self {
        Self { table: table.to_owned(), name: None, columns: None, filter: None, key: None }
    }

    /// Whether it is for more tables than one.
    pub fn is_pattern(&self) -> bool {
        self.table.contains('*')
    }

    /// Whether it is for the table `table` of the database.
    pub fn matches(&self, table: &str) -> bool {
        // `*` is any text: names of tables have no segments.
        let mut parts = self.table.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = table.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = rest.get(at + part.len()..).unwrap_or_default();
        }
        rest.ends_with(last)
    }
}
