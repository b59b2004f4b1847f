//! When to look at a file: the kernel says that something was written beside it.

use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
};
use std::{
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Watches a file of SQLite, its log or journal, and what comes and goes in its directory under their names.
pub(super) struct Watch {
    events: Option<AsyncFd<OwnedFd>>,
    paths: Vec<PathBuf>,
}

impl Watch {
    /// Watches the file at `path`. Where the kernel does not let us, nothing ever happens here.
    pub(super) fn new(path: &Path) -> Self {
        // SQLite follows symbolic links too.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let beside = |suffix: &str| {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let paths = vec![beside(""), beside("-wal"), beside("-journal")];
        let events = open(&path).inspect_err(|err| {
            tracing::warn!(file = %path.display(), error = %err, "file cannot be watched; it is looked at each second");
        });
        let watch = Self { events: events.ok(), paths };
        watch.files();
        watch
    }

    /// Waits until something was written.
    ///
    /// Cancel safe.
    pub(super) async fn written(&self) {
        let Some(events) = &self.events else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = events.readable().await else { return std::future::pending().await };
            let ours = self.take(events.get_ref());
            ready.clear_ready();
            if ours {
                // A log that came anew has no watch yet.
                self.files();
                return;
            }
        }
    }

    // Reads all events; whether one is about our files.
    fn take(&self, events: &OwnedFd) -> bool {
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut reader = inotify::Reader::new(events, &mut buffer);
        let mut ours = false;
        loop {
            match reader.next() {
                // Events of a directory name a file in it.
                Ok(event) => match event.file_name() {
                    None => ours = true,
                    Some(name) => {
                        let is = |path: &PathBuf| {
                            path.file_name().is_some_and(|own| own.as_bytes() == name.to_bytes())
                        };
                        ours |= self.paths.iter().any(is);
                    }
                },
                Err(Errno::INTR) => {}
                Err(_) => return ours,
            }
        }
    }

    fn files(&self) {
        let Some(events) = &self.events else { return };
        for path in &self.paths {
            // Most of the time two of the three are not there.
            let _ = inotify::add_watch(events, path, WatchFlags::MODIFY);
        }
    }
}

fn open(path: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let comes_and_goes =
        WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
    inotify::add_watch(&events, directory, comes_and_goes)?;
    // As for reactors: the function that replaces it is unsafe, and an OwnedFd stays what it is.
    #[expect(deprecated, reason = "see above")]
    AsyncFd::with_interest(events, Interest::READABLE)
}

const EVENTS_BYTES: usize = 4096;
