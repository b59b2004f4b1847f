//! Every setting, and the plain structs that the parts of the server receive.
//!
//! A line of the table is at once the documented field, the default, the range and the sentence in help and docs.

use super::{
    listen::Listen,
    origins::Origins,
    read::Values,
    rules::StreamRules,
    shape::{Setting, Shape, Value, bytes, count, millis, parse_filter},
};
use crate::source::settings::{Changes, FirstRows};
use std::{path::PathBuf, time::Duration};
use tracing_subscriber::filter::Targets;

/// Defines one group: a struct with a field per setting, and the list of these settings.
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        pub struct $group:ident from $table:ident in $prefix:literal {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:literal, $shape:expr $(, flag $flag:literal)?; )+
        }
        $( beside { $( $(#[$extra_attribute:meta])* $extra:ident: $extra_type:ty ),+ } )?
    ) => {
        $(#[$attribute])*
        #[derive(Clone, PartialEq, Debug)]
        pub struct $group {
            $( $(#[doc = $doc])+ pub $field: $type, )+
            $( $( $(#[$extra_attribute])* pub $extra: $extra_type, )+ )?
        }

        impl $group {
            pub(super) fn read(values: &Values $($(, $extra: $extra_type)+)?) -> Self {
                Self {
                    $( $field: values.of(concat!($prefix, stringify!($field))), )+
                    $( $( $extra, )+ )?
                }
            }
        }

        static $table: &[Setting] = &[$(
            Setting {
                name: concat!($prefix, stringify!($field)),
                flag: settings!(@flag $($flag)?),
                default: $default,
                shape: $shape,
                doc: concat!($($doc, "\n"),+),
            },
        )+];
    };
    (@flag) => { None };
    (@flag $flag:literal) => { Some($flag) };
}

settings! {
    /// Where to listen and for whom.
    pub struct Http from HTTP in "" {
        /// The address to listen on: an IP address or a host name, and a port (0: one that the system picks).
        listen: Listen = "127.0.0.1:4700", Shape::Address, flag "listen";
        /// Serve everyone who reaches the address. Without it only loopback addresses are listened on, since no
        /// authentication exists yet.
        anonymous: bool = "false", Shape::Flag, flag "anonymous";
        /// Origins whose pages may use the server from a browser, with credentials: exact, as in
        /// `https://app.example`. `*` alone admits pages of every site, and for that without credentials.
        cors_origins: Origins = "", Shape::Origins, flag "cors-origins";
        /// How long open connections may take to end after SIGTERM before they are cut.
        drain: Duration = "10s", millis(0, 600_000), flag "drain";
    }
}

settings! {
    /// Where events are kept, which, and for how long.
    pub struct Log from LOG in "" {
        /// The directory of the log, made if it is not there; relative to the working directory.
        data: PathBuf = "riacho-data", Shape::Path, flag "data";
        /// Whether any stream or table comes into being on first use. If false, only those a `[[stream]]` or a `[[table]]`
        /// matches do.
        create: bool = "true", Shape::Flag, flag "create";
        /// How often events past what `keep` says are looked for and removed.
        trim_interval: Duration = "10s", millis(100, 3_600_000);
    } beside {
        /// What is configured per stream pattern, and per pattern of tables.
        streams: StreamRules
    }
}

settings! {
    /// How the rows of tables are kept and read.
    pub struct Tables from TABLES in "" {
        /// Memory for pages of the file of rows that are read again and again.
        rows_cache_bytes: usize = "32MiB", bytes(1 << 20, 1 << 40);
        /// How long a snapshot that is read in pages is held for its reader between two pages.
        snapshot_hold: Duration = "60s", millis(1_000, 3_600_000);
        /// How long a cache that many readers share may answer with a snapshot it has.
        snapshot_max_age: Duration = "1s", millis(0, 3_600_000);
    }
}

settings! {
    /// How events reach subscribers.
    pub struct Delivery from DELIVERY in "" {
        /// Tasks that own the sockets of plain SSE subscribers; 0 is one per core.
        reactors: usize = "0", count(0, 1024), flag "reactors";
        /// Silence on a connection after which a heartbeat is sent. `riacho follow` takes three times the default for a
        /// dead connection.
        heartbeat: Duration = "15s", millis(1_000, 300_000);
        /// What clients are told to wait before they reconnect, each a random 50 to 150 % of it.
        retry: Duration = "2s", millis(100, 600_000);
    }
}

settings! {
    /// What is written about the server's own doings, on stderr.
    pub struct Logging from LOGGING in "" {
        /// Lines for people or one JSON object per line.
        log_format: LogFormat = "text", Shape::Word(&["text", "json"]), flag "log-format";
        /// What is written: a level (off, error, warn, info, debug, trace) for all, `module=level` for one, or several of
        /// these with commas: `warn,riacho=debug`.
        log_level: Targets = "info", Shape::Filter, flag "log-level";
    }
}

settings! {
    /// What each connection, request and queue may take at most. Each limit that is hit is counted in `/metrics`.
    pub struct Limits from LIMITS in "limits." {
        /// Connections open at one time, in all. Lowered at start to what the limit of file descriptors allows.
        connections_max: usize = "100000", count(1, 100_000_000);
        /// Connections open at one time from one IP address.
        connections_per_address_max: usize = "10000", count(1, 100_000_000);
        /// Bytes of a request's line and headers.
        head_bytes_max: usize = "16KiB", bytes(1 << 10, 1 << 20);
        /// Time to send a request's line and headers.
        head_time_max: Duration = "10s", millis(100, 600_000);
        /// Bytes of one event's data.
        event_bytes_max: usize = "1MiB", bytes(1 << 10, 64 << 20);
        /// Events in one batch.
        batch_events_max: usize = "10000", count(1, 1_000_000);
        /// Bytes of a batch's body.
        batch_bytes_max: usize = "8MiB", bytes(1 << 10, 1 << 30);
        /// Bytes of all events that are being published and not yet answered.
        publish_bytes_in_flight_max: usize = "256MiB", bytes(1 << 10, 1 << 40);
        /// Bytes of one row: its value, a JSON object, or a patch of it.
        row_bytes_max: usize = "1MiB", bytes(1 << 10, 64 << 20);
        /// `stream=` parameters of one subscription.
        streams_per_subscription_max: usize = "100", count(1, 10_000);
        /// Streams that exist at one time.
        streams_max: usize = "1000000", count(1, 100_000_000);
        /// Idempotency keys that are remembered, each for fifteen minutes; beyond it requests with a new key are refused.
        idempotency_keys_max: usize = "1000000", count(1, 100_000_000);
        /// Views that exist at one time: what is read in a wire form of its own, a selection of streams or a filter of a
        /// table's rows. Readers who ask for the same share one.
        views_max: usize = "100000", count(1, 100_000_000);
        /// Snapshots that are held at one time for readers of pages.
        snapshots_max: usize = "100", count(1, 1_000_000);
        /// Memory of one view: the encoded events that its subscribers share. Slower readers are fed from the log.
        view_bytes_max: usize = "4MiB", bytes(64 << 10, 1 << 40);
        /// Memory of all views together.
        views_bytes_max: usize = "256MiB", bytes(64 << 10, 1 << 40);
        /// The newest part of the log that is kept in memory, from which nearly every reconnection is answered.
        tail_bytes_max: usize = "64MiB", bytes(64 << 10, 1 << 40);
        /// Memory of all `memory` streams together; beyond it their oldest events go first.
        memory_bytes_max: usize = "256MiB", bytes(64 << 10, 1 << 40);
        /// How long a long-poll request may be held; a longer `wait=` is refused.
        long_poll_wait_max: Duration = "60s", millis(0, 600_000);
        /// Events in one page of a long-poll answer.
        page_events_max: usize = "1000", count(1, 100_000);
        /// Bytes of one message that a client sends on a WebSocket; larger events are published by `POST`.
        websocket_message_bytes_max: usize = "64KiB", bytes(1 << 10, 16 << 20);
        /// Subscriptions of one WebSocket.
        websocket_subscriptions_max: usize = "100", count(1, 10_000);
    }
}

impl Limits {
    /// Connections that may be open where the process may open `descriptors` files: [`Limits::connections_max`] at most,
    /// and never so many that none is left for the log and the rest of the process.
    pub fn connections_within(&self, descriptors: u64) -> usize {
        let left = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(DESCRIPTORS_RESERVED);
        self.connections_max.min(left.max(1))
    }
}

/// How the server's own log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// One line of text per record.
    Text,
    /// One JSON object per line.
    Json,
}

/// Every setting of the server, in the order of the docs; those of `[[stream]]` and `[[table]]` are not among them.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    groups().flat_map(|(_, table)| table)
}

/// The settings under their headings.
pub(super) fn groups() -> impl Iterator<Item = (&'static str, &'static [Setting])> {
    [
        ("Listening", HTTP),
        ("Events", LOG),
        ("Tables", TABLES),
        ("Delivery", DELIVERY),
        ("The server's own log", LOGGING),
        ("Limits", LIMITS),
    ]
    .into_iter()
}

/// Settings of one `[[stream]]`.
pub(super) static STREAM: &[Setting] = &[
    Setting {
        name: "stream.match",
        flag: None,
        default: "",
        shape: Shape::Selector,
        doc: "The streams it is for: a name, or a pattern in which `*` is one segment and `**` the rest. Required.",
    },
    Setting {
        name: "stream.durability",
        flag: None,
        default: "durable",
        shape: Shape::Word(&["durable", "memory"]),
        doc: "`durable`: a publisher is answered when its event is on disk. `memory`: at once; a restart loses the events, \
              and subscribers are told.",
    },
    Setting {
        name: "stream.keep.age",
        flag: None,
        default: "",
        shape: millis(1_000, 36_500 * 86_400_000),
        doc: "Events older than this are removed.",
    },
    Setting {
        name: "stream.keep.bytes",
        flag: None,
        default: "",
        shape: bytes(1, 1 << 50),
        doc: "The oldest events are removed while a stream holds more than this, counted as records of the log: data, name, type and about 28 bytes each.",
    },
    Setting {
        name: "stream.keep.events",
        flag: None,
        default: "",
        shape: count(1, 1 << 50),
        doc: "The oldest events are removed while a stream holds more than this many.",
    },
    Setting {
        name: "stream.closed",
        flag: None,
        default: "false",
        shape: Shape::Flag,
        doc: "Readers are answered `204`, which tells a browser not to come back.",
    },
];

/// Settings of one `[[table]]`.
pub(super) static TABLE: &[Setting] = &[
    Setting {
        name: "table.match",
        flag: None,
        default: "",
        shape: Shape::Selector,
        doc: "The tables it is for: a name, or a pattern in which `*` is one segment and `**` the rest. Required.",
    },
    Setting {
        name: "table.tombstones",
        flag: None,
        default: "7d",
        shape: millis(1_000, 36_500 * 86_400_000),
        doc: "How long it is remembered that a row was deleted. A reader who was away for longer reads the table anew.",
    },
    Setting {
        name: "table.old_value",
        flag: None,
        default: "false",
        shape: Shape::Flag,
        doc: "Whether changes carry the row as it was before, as `old_value`.",
    },
    Setting {
        name: "table.schema",
        flag: None,
        default: "",
        shape: Shape::Path,
        doc: "The file of a JSON Schema that every row must satisfy; relative to the working directory.",
    },
    Setting {
        name: "table.keep.age",
        flag: None,
        default: "",
        shape: millis(1_000, 36_500 * 86_400_000),
        doc: "Single changes older than this are removed; the rows stay.",
    },
    Setting {
        name: "table.keep.bytes",
        flag: None,
        default: "",
        shape: bytes(1, 1 << 50),
        doc: "The oldest single changes are removed while they take more than this, counted as records of the log.",
    },
    Setting {
        name: "table.keep.events",
        flag: None,
        default: "",
        shape: count(1, 1 << 50),
        doc: "The oldest single changes are removed while there are more than this many.",
    },
];

/// Where the file is looked for; it can stand in no file itself.
pub static CONFIG: Setting = Setting {
    name: "config",
    flag: Some("config"),
    default: "riacho.toml",
    shape: Shape::Path,
    doc: "The configuration file. The default is passed over if it does not exist; a file named here must exist.",
};

/// Settings of one `[[source]]`.
pub(super) static SOURCES: &[Setting] = &[
    Setting {
        name: "source.name",
        flag: None,
        default: "",
        shape: Shape::Name,
        doc: "What it is called in `/sources` and logs, unique: small letters, digits and `_`. Without it: after the database.",
    },
    Setting {
        name: "source.sqlite",
        flag: None,
        default: "",
        shape: Shape::Path,
        doc: "The file of an SQLite database; relative to the working directory.",
    },
    Setting {
        name: "source.postgres",
        flag: None,
        default: "",
        shape: Shape::Url,
        doc: "A PostgreSQL database (14 or later) as a URL, as libpq takes it: `postgres://USER@HOST/DATABASE`. Without a \
              password in it, `PGPASSWORD` and the password file are looked at.",
    },
    Setting {
        name: "source.tables",
        flag: None,
        default: "",
        shape: Shape::Tables,
        doc: "Names of tables, or patterns with `*`; without it, all that have a key. Instead of a name may stand \
              `{ table = \"orders\", as = \"shop_orders\", columns = [\"id\", \"total\"], where = \"total > 0\" }`; for \
              DynamoDB without patterns and `where`, and where nobody describes the table with `key = [\"id\"]`.",
    },
    Setting {
        name: "source.setup",
        flag: None,
        default: "false",
        shape: Shape::Flag,
        doc: "SQLite: whether the triggers and the table of changes are made at start, as `riacho source setup` does.",
    },
    Setting {
        name: "source.publication",
        flag: None,
        default: "",
        shape: Shape::Name,
        doc: "PostgreSQL: a publication of yours, used as it is. Without it one named `riacho_NAME` is made and kept as \
              `tables` says.",
    },
    Setting {
        name: "source.slot",
        flag: None,
        default: "",
        shape: Shape::Name,
        doc: "PostgreSQL: the replication slot. Without it `riacho_NAME`. It is made where it is missing.",
    },
    Setting {
        name: "source.dynamodb",
        flag: None,
        default: "",
        shape: Shape::Name,
        doc: "Tables of DynamoDB: their region, or `default` to have it found as the AWS tools do (environment, profile, \
              instance). Credentials always are.",
    },
    Setting {
        name: "source.endpoint",
        flag: None,
        default: "",
        shape: Shape::Url,
        doc: "DynamoDB: the URL of the service, of an emulator for instance. Without it, `AWS_ENDPOINT_URL`, or the region's.",
    },
    Setting {
        name: "source.profile",
        flag: None,
        default: "",
        shape: Shape::Name,
        doc: "DynamoDB: a profile of the AWS configuration files. Without it, `AWS_PROFILE`, or none.",
    },
    Setting {
        name: "source.access_key_id",
        flag: None,
        default: "",
        shape: Shape::Name,
        doc: "DynamoDB: an access key, where one server reads several accounts. Without it, the AWS tools' own ways.",
    },
    Setting {
        name: "source.secret_access_key",
        flag: None,
        default: "",
        shape: Shape::Name,
        doc: "DynamoDB: the secret of `access_key_id`. It is not shown anywhere.",
    },
    Setting {
        name: "source.changes",
        flag: None,
        default: "",
        shape: Shape::Word(&Changes::WORDS),
        doc: "DynamoDB: `poll`: its stream is read. `ingest`: a Lambda function pushes them to `/ingest/dynamodb/NAME`. `both`: \
              either way; the same change twice is one. Without it: `ingest` where there is a secret for it, else `poll`.",
    },
    Setting {
        name: "source.ingest_secret",
        flag: None,
        default: "",
        shape: Shape::Name,
        doc: "DynamoDB: what signs requests to `/ingest`: `whsec_` and at least 24 bytes in base64 (Standard Webhooks).",
    },
    Setting {
        name: "source.ingest_secret_file",
        flag: None,
        default: "",
        shape: Shape::Path,
        doc: "DynamoDB: a file with that secret.",
    },
    Setting {
        name: "source.snapshot",
        flag: None,
        default: "scan",
        shape: Shape::Word(&FirstRows::WORDS),
        doc: "DynamoDB: where the first rows come from. `scan`: the table is scanned. `import`: by `riacho source import`.",
    },
    Setting {
        name: "source.poll",
        flag: None,
        default: "250ms",
        shape: millis(200, 60_000),
        doc: "DynamoDB: how long a shard without news is left alone. Each question is billed.",
    },
    Setting {
        name: "source.settle",
        flag: None,
        default: "10s",
        shape: millis(0, 600_000),
        doc: "DynamoDB: for how long a shard must have nothing new after a scan, before the table is announced: a stream may \
              be behind its table, and nothing tells by how much. Emulators need `0s`.",
    },
    Setting {
        name: "source.rcu_max",
        flag: None,
        default: "",
        shape: count(1, 10_000_000),
        doc: "DynamoDB: read capacity units per second that a scan takes at most. Without it, what the table gives.",
    },
];

/// One source by flags; more of them, and more about them, stand in the file.
pub static SOURCE: Setting = Setting {
    name: "source",
    flag: Some("source"),
    default: "",
    shape: Shape::Url,
    doc: "A database whose tables are served live: `sqlite:PATH`, `postgres://USER@HOST/DATABASE` or `dynamodb:TABLE`. \
          Several stand in the file, as `[[source]]`.",
};

/// Its tables.
pub static SOURCE_TABLE: Setting = Setting {
    name: "table",
    flag: Some("table"),
    default: "",
    shape: Shape::Name,
    doc: "A table of `--source`, or a pattern with `*`; several with commas. Without it, all that have a key.",
};

/// Whether it is prepared.
pub static SOURCE_SETUP: Setting = Setting {
    name: "setup",
    flag: Some("setup"),
    default: "false",
    shape: Shape::Flag,
    doc: "Whether what `--source` needs in its database (SQLite: triggers and a table of changes) is made at start.",
};

/// What `publish` and `follow` talk to; no setting of the server.
pub static SERVER: Setting = Setting {
    name: "server",
    flag: Some("server"),
    default: "http://127.0.0.1:4700",
    shape: Shape::Url,
    doc: "The server that `riacho publish`, `riacho follow` and `riacho source` talk to.",
};

/// What `source import` signs with; no setting of the server.
pub static INGEST_SECRET: Setting = Setting {
    name: "ingest_secret",
    flag: None,
    default: "",
    shape: Shape::Name,
    doc: "The secret of a source, with which `riacho source import` signs; `--secret-file` names a file that holds it.",
};

/// A value of the table as a field holds it.
pub(super) trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $result:expr;)+) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $pattern => $result,
                    _ => None,
                }
            }
        }
    )+};
}

from_value! {
    usize: Value::Number(n) | Value::Bytes(n) => usize::try_from(*n).ok();
    u64: Value::Number(n) | Value::Bytes(n) => Some(*n);
    Duration: Value::Time(time) => Some(*time);
    bool: Value::Flag(flag) => Some(*flag);
    PathBuf: Value::Text(text) => Some(text.into());
    String: Value::Text(text) => Some(text.clone());
    Vec<crate::source::TableSettings>: Value::Tables(tables) => Some(tables.clone());
    Listen: Value::Text(text) => Listen::parse(text);
    Targets: Value::Text(text) => parse_filter(text);
    Origins: Value::List(list) => Origins::parse(list);
    riacho_core::name::Selector: Value::Text(text) => Self::parse(text).ok();
    LogFormat: Value::Text(text) => match text.as_str() {
        "text" => Some(Self::Text),
        "json" => Some(Self::Json),
        _ => None,
    };
    super::Durability: Value::Text(text) => match text.as_str() {
        "durable" => Some(Self::Durable),
        "memory" => Some(Self::Memory),
        _ => None,
    };
}

// Segments being written and read, their indexes, the listener, epoll, stdio, and the library's own.
const DESCRIPTORS_RESERVED: usize = 256;
