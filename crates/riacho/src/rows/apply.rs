//! The thread that brings what is published to the file, one batch per transaction.
//!
//! It waits a moment for more before it begins, since a transaction costs two syncs whatever its size. After a failure
//! it opens the file again and applies the same batch again, which comes to the same.

use super::{
    Core, Failure, LogEnd, RowsFile, RowsSettings,
    disk::{self, Reads},
    overlay::{BATCH_CHANGES, Overlay},
    write,
};
use crate::error::{Error, ErrorKind};
use redb::Database;
use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::Notify;

/// Opens the file and starts the thread.
pub(super) fn start(
    file: Box<dyn RowsFile>,
    settings: &RowsSettings,
    log: LogEnd,
) -> Result<(Arc<Core>, JoinHandle<()>), Error> {
    let (database, loaded) = disk::open(&*file, settings, log)?;
    let core = Arc::new(Core {
        label: file.label(),
        overlay: Mutex::new(Overlay::new(loaded)),
        work: Condvar::new(),
        quiet: Condvar::new(),
        less: Notify::new(),
        pending_bytes: AtomicUsize::new(0),
        pending_bytes_max: settings.pending_bytes_max,
    });
    let applier = Applier {
        core: Arc::clone(&core),
        file,
        settings: settings.clone(),
        database: Some(database),
        broken: false,
    };
    let thread = thread::Builder::new()
        .name("rows".into())
        .spawn(move || applier.run())
        .map_err(|err| Error::new(ErrorKind::Unavailable, "start the thread of the rows").caused_by(err))?;
    Ok((core, thread))
}

struct Applier {
    core: Arc<Core>,
    file: Box<dyn RowsFile>,
    settings: RowsSettings,
    /// None after a write that failed for want of room: redb wants it opened again.
    database: Option<Database>,
    /// A write has failed, or has not ended.
    broken: bool,
}

impl Applier {
    fn run(mut self) {
        loop {
            match disk::guarded(|| self.round()) {
                Ok(true) => {}
                Ok(false) => break,
                Err(err) => {
                    if !self.wait_for_room(err) {
                        break;
                    }
                }
            }
        }
        self.core.lock().end();
        self.wake_waiters();
        // After a failure for good, what redb still gives can still be read.
        drop(self.core.wait(self.core.lock(), |overlay| !overlay.is_closing()));
    }

    /// Applies one batch when there is one. False at the end.
    fn round(&mut self) -> Result<bool, redb::Error> {
        drop(self.core.gather());
        let fit = self.changes_that_fit();
        let batch = self.core.lock().batch(fit.min(BATCH_CHANGES));
        let Some(mut batch) = batch else { return Ok(false) };
        if batch.changes > fit || fit == 0 {
            return Err(redb::Error::Io(io::ErrorKind::StorageFull.into()));
        }
        let Some(database) = &self.database else { return self.reopen() };
        self.broken = true;
        let garbage = write::commit(database, &mut batch)?;
        let reads = Arc::new(Reads::begin(database)?);
        self.broken = false;
        self.core.lock().committed(&batch, reads, garbage);
        // One by one, so that nobody waits for long.
        for _ in 0..batch.layers {
            let mut layer = None;
            self.core.change(|overlay| {
                layer = overlay.prune();
                false
            });
            drop(layer);
        }
        if self.core.lock().fail(None) {
            tracing::info!(file = self.core.label, "there is room for rows again");
        }
        self.wake_waiters();
        Ok(true)
    }

    // The next batch is made from what the file says now.
    fn reopen(&mut self) -> Result<bool, redb::Error> {
        let (database, loaded) = disk::reopen(&*self.file, &self.settings)?;
        self.core.lock().reload(loaded);
        self.database = Some(database);
        self.broken = false;
        Ok(true)
    }

    // To run out of room in mid-write would close the file to readers until it is opened again.
    fn changes_that_fit(&self) -> usize {
        let room = self.file.room().unwrap_or(u64::MAX).saturating_sub(ROOM_BYTES);
        usize::try_from(room / CHANGE_ROOM_BYTES).unwrap_or(usize::MAX)
    }

    /// Says whether to try again, after a while.
    fn wait_for_room(&mut self, err: redb::Error) -> bool {
        let full = disk::is_full(&err);
        let failure = if full { Failure::Full } else { Failure::Failed };
        let news = self.core.lock().fail(Some(failure));
        if news {
            let error = disk::explain(err, "apply changes to", &self.core.label).chain();
            match failure {
                Failure::Full => tracing::warn!(error, "rows wait for room on the disk"),
                Failure::Failed => tracing::error!(error, "rows are applied no more until a restart"),
            }
        }
        if !full {
            return false;
        }
        if self.broken {
            self.database = None;
        }
        let overlay = self.core.lock();
        if overlay.is_closing() {
            return false;
        }
        let waited = self.core.work.wait_timeout_while(overlay, RETRY, |overlay| !overlay.is_closing());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        true
    }

    fn wake_waiters(&self) {
        let quiet = self.core.lock().is_quiet();
        if quiet {
            self.core.quiet.notify_all();
        }
        if !self.core.lags() || quiet {
            self.core.less.notify_waiters();
        }
    }
}

impl Core {
    /// Waits until there is a batch worth its transaction, or the end.
    fn gather(&self) -> MutexGuard<'_, Overlay> {
        let mut overlay = self.lock();
        overlay.want(Some(1));
        overlay = self.wait(overlay, |overlay| !overlay.has_work() && !overlay.is_closing());
        overlay.want(Some(BATCH_CHANGES));
        let gathered = self.work.wait_timeout_while(overlay, GATHER, |overlay| !overlay.is_urgent());
        let mut overlay = gathered.unwrap_or_else(PoisonError::into_inner).0;
        overlay.want(None);
        overlay
    }

    fn wait<'a>(
        &self,
        overlay: MutexGuard<'a, Overlay>,
        unless: impl Fn(&Overlay) -> bool,
    ) -> MutexGuard<'a, Overlay> {
        self.work.wait_while(overlay, |overlay| unless(overlay)).unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a change may wait for others to share its transaction with. A transaction costs half a millisecond however small
/// it is, which at a few changes a second is more than delivering them to a thousand readers.
const GATHER: Duration = Duration::from_millis(250);

/// When a full disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What a transaction may take on the disk, whatever its size, and for each change: a page or two in each table.
const ROOM_BYTES: u64 = 8 << 20;
const CHANGE_ROOM_BYTES: u64 = 12 << 10;
