//! A file of SQLite that is open, and what its errors mean to a person.

use crate::source::copy::blocking;
use riacho_core::source::machine::Fault;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// A connection, and which file it is to. Moved to where it may block, and back.
pub(super) struct File {
    pub connection: Connection,
    path: PathBuf,
    identity: (u64, u64),
}

impl File {
    /// Opens the file at `path`, which must exist.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let metadata = fs::metadata(path).map_err(|err| unopened(path, &err))?;
        if metadata.is_dir() {
            let message = format!("{} is a directory, not a file of SQLite", path.display());
            return Err(Fault::evident(message));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
            connection.busy_timeout(BUSY)?;
            // Nothing is read before this: it finds out what is no database.
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(connection)
        });
        let connection = opened.map_err(|err| fault(path, &err))?;
        Ok(Self { connection, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another file has its place, or none.
    pub(super) fn replaced(&self) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        fs::metadata(&self.path).map(identity).ok() != Some(self.identity)
    }

    /// Changes whenever another connection has committed.
    pub(super) fn data_version(&self) -> Result<i64, Fault> {
        self.number("PRAGMA data_version")
    }

    /// Changes with the schema.
    pub(super) fn schema_version(&self) -> Result<i64, Fault> {
        self.number("PRAGMA schema_version")
    }

    fn number(&self, sql: &str) -> Result<i64, Fault> {
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(self.failed())
    }

    /// Begins a read transaction where none is open.
    pub(super) fn begin(&self) -> Result<(), Fault> {
        match self.connection.is_autocommit() {
            true => self.connection.execute_batch("BEGIN").map_err(self.failed()),
            false => Ok(()),
        }
    }

    /// Ends the read transaction, if one is open.
    pub(super) fn end(&self) -> Result<(), Fault> {
        match self.connection.is_autocommit() {
            true => Ok(()),
            false => self.connection.execute_batch("ROLLBACK").map_err(self.failed()),
        }
    }

    /// What an error of this file is.
    pub(super) fn failed(&self) -> impl Fn(rusqlite::Error) -> Fault {
        |err| fault(&self.path, &err)
    }
}

/// Does `work` with the file where it may block. A file with which something failed is closed.
pub(super) async fn on<T: Send + 'static>(
    file: &mut Option<File>,
    work: impl FnOnce(&mut File) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    // None only after a fault, or where this was dropped half-way; both end the session.
    let Some(mut taken) = file.take() else {
        return Err(Fault::passing("the file was closed"));
    };
    let (taken, done) = blocking(move || {
        let done = work(&mut taken);
        (taken, done)
    })
    .await?;
    let done = done?;
    *file = Some(taken);
    Ok(done)
}

fn unopened(path: &Path, err: &io::Error) -> Fault {
    let path = path.display();
    match err.kind() {
        io::ErrorKind::NotFound => Fault::passing(format!("there is no file {path}"))
            .with_remedy("check the path: it is relative to where the server was started"),
        io::ErrorKind::PermissionDenied => Fault::needs_person(
            format!("no right to look at {path}"),
            "let the server's user into its directory",
        ),
        _ => Fault::passing(format!("{path} cannot be opened: {err}")),
    }
}

/// What `err` of the file at `path` is to a person.
pub(super) fn fault(path: &Path, err: &rusqlite::Error) -> Fault {
    let path = path.display();
    let rights =
        "let the server's user read and write the file and its directory: SQLite keeps files beside it";
    let room = "make room on its disk";
    match err.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Fault::needs_person(
            format!("{path} is not a file of SQLite, or it is encrypted"),
            "check the path",
        ),
        Some(ErrorCode::DatabaseCorrupt) => Fault::needs_person(
            format!("{path} is damaged: {err}"),
            "see what `PRAGMA integrity_check` says, then repair it with `.recover` or restore a copy",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Fault::passing(format!("{path} is locked by a program for longer than {} s", BUSY.as_secs()))
                .with_remedy("find the program that keeps a write transaction open")
        }
        Some(ErrorCode::DiskFull) => Fault::passing(format!("no room to write to {path}")).with_remedy(room),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            Fault::needs_person(format!("{path} cannot be opened or written: {err}"), rights)
        }
        _ => Fault::passing(format!("{path} cannot be read: {err}")),
    }
}

// How long another program may lock the file.
pub(super) const BUSY: Duration = Duration::from_secs(3);
