//! The snapshots that are being read, and for how long: what is removed meanwhile stays in the file of rows until they
//! are dropped.
//!
//! A body that is being sent and a reader between two pages hold theirs by an id, and find it gone when its time is over.

use crate::{clock, http::problem::Problem, rows::Snapshot};
use http::StatusCode;
use riacho_core::{name::StreamName, position::Offset, table::terms::Terms};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// What a snapshot is of, and what is shown of it.
#[derive(Debug)]
pub(in crate::http) struct Of {
    pub(super) table: StreamName,
    pub(super) terms: Terms,
    pub(super) offset: Offset,
}

/// All snapshots that are being read.
pub(in crate::http) struct Snapshots {
    held: Mutex<HashMap<u128, Held>>,
    hold: Duration,
    paged_max: usize,
    /// Wakes who waits for the first.
    begun: Notify,
}

struct Held {
    snapshot: Snapshot,
    of: Arc<Of>,
    until: Instant,
    pages: Pages,
}

/// Whether a snapshot is read in pages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pages {
    /// In one go.
    No,
    /// There are more.
    More,
    /// The last was given; kept for a reader that has not got it, while there is room.
    Over,
}

/// One answer's share of a snapshot.
pub(super) struct Reading {
    snapshots: Arc<Snapshots>,
    id: u128,
    of: Arc<Of>,
    /// Whether the snapshot stays after this.
    stays: bool,
}

impl Snapshots {
    /// None yet. Each is held for `hold`; at most `paged_max` are for readers of pages.
    pub(in crate::http) fn new(hold: Duration, paged_max: usize) -> Arc<Self> {
        Arc::new(Self { held: Mutex::default(), hold, paged_max, begun: Notify::new() })
    }

    /// How many are held.
    pub(in crate::http) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Drops those whose time is over, and all when this is dropped.
    pub(in crate::http) async fn expire(self: Arc<Self>) {
        let all = All(self);
        loop {
            let next = all.0.lock().values().map(|held| held.until).min();
            let Some(next) = next else {
                all.0.begun.notified().await;
                continue;
            };
            // Not one by one, where there are many.
            let next = next.max(clock::instant() + EXPIRY_PAUSE);
            tokio::time::sleep_until(next.into()).await;
            let now = clock::instant();
            // Dropped after the lock: that may take a while.
            let gone: Vec<Held> =
                all.0.lock().extract_if(|_, held| held.until <= now).map(|(_, held)| held).collect();
            drop(gone);
        }
    }

    /// Begins to read `snapshot`; `paged` where there may be more than one page.
    ///
    /// # Errors
    /// `snapshots_max`.
    pub(super) fn begin(
        self: &Arc<Self>,
        snapshot: Snapshot,
        of: Of,
        paged: bool,
    ) -> Result<Reading, Problem> {
        let of = Arc::new(of);
        let pages = if paged { Pages::More } else { Pages::No };
        let held = Held { snapshot, of: Arc::clone(&of), until: clock::instant() + self.hold, pages };
        // Nobody can guess it: who has it was given it.
        let id = u128::from(crate::log::random()) << 64 | u128::from(crate::log::random());
        let mut gone = None;
        let mut all = self.lock();
        if paged && all.values().filter(|held| held.pages != Pages::No).count() >= self.paged_max {
            let over = all.iter().filter(|(_, held)| held.pages == Pages::Over);
            let Some(oldest) = over.min_by_key(|(_, held)| held.until).map(|(id, _)| *id) else {
                let detail = "as many snapshots are read in pages as may be (limit snapshots_max)";
                return Err(Problem::overloaded("snapshots_max", detail).limited_by("snapshots_max"));
            };
            gone = all.remove(&oldest);
        }
        all.insert(id, held);
        drop(all);
        drop(gone);
        self.begun.notify_one();
        Ok(Reading { snapshots: Arc::clone(self), id, of, stays: false })
    }

    /// Goes on where the page before ended: what is to be read, and after which key.
    ///
    /// # Errors
    /// `parameter_invalid` where `token` is none, `snapshot_gone` where its time is over.
    pub(super) fn go_on(self: &Arc<Self>, token: &str) -> Result<(Reading, Box<str>), Problem> {
        let (id, key) = self::token(token).ok_or_else(|| {
            let detail = "`after` is what the page before has as `next`";
            Problem::bad("parameter_invalid", "Bad parameter", detail)
        })?;
        let until = clock::instant() + self.hold;
        let mut all = self.lock();
        let Some(held) = all.get_mut(&id).filter(|held| held.pages != Pages::No) else {
            let detail = "the snapshot is held no longer; begin again with the first page";
            return Err(Problem::new(StatusCode::GONE, "snapshot_gone", "Snapshot gone", detail));
        };
        held.until = until;
        let of = Arc::clone(&held.of);
        Ok((Reading { snapshots: Arc::clone(self), id, of, stays: true }, key))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends all readings with the task that ends some.
struct All(Arc<Snapshots>);

impl Drop for All {
    fn drop(&mut self) {
        let gone = std::mem::take(&mut *self.0.lock());
        drop(gone);
    }
}

impl Reading {
    /// What is read.
    pub(super) fn of(&self) -> &Of {
        &self.of
    }

    /// The snapshot, for as long as it takes to read a bit of it; none when its time is over.
    pub(super) fn lend(&self) -> Option<Snapshot> {
        self.snapshots.lock().get(&self.id).map(|held| held.snapshot.clone())
    }

    /// Keeps the snapshot for the page after `key`; gives what to ask for it by.
    pub(super) fn next(&mut self, key: &str) -> String {
        self.stays = true;
        self.note(Pages::More);
        let mut token = format!("{:032x}-", self.id);
        for byte in key.bytes() {
            for nibble in [byte >> 4, byte & 15] {
                token.extend(char::from_digit(u32::from(nibble), 16));
            }
        }
        token
    }

    /// There is no page after this one.
    pub(super) fn last(&mut self) {
        if self.stays {
            self.note(Pages::Over);
        }
    }

    fn note(&self, pages: Pages) {
        if let Some(held) = self.snapshots.lock().get_mut(&self.id) {
            held.pages = pages;
            held.until = clock::instant() + self.snapshots.hold;
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if !self.stays {
            let gone = self.snapshots.lock().remove(&self.id);
            drop(gone);
        }
    }
}

/// The snapshot and the key that a token of [`Reading::next`] stands for.
pub(in crate::http) fn token(token: &str) -> Option<(u128, Box<str>)> {
    let (id, key) = token.split_once('-')?;
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if id.len() != 32 || !hex(id) || !hex(key) {
        return None;
    }
    let pairs = key.as_bytes().chunks(2);
    let byte =
        |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok();
    let key = String::from_utf8(pairs.map(byte).collect::<Option<_>>()?).ok()?;
    Some((u128::from_str_radix(id, 16).ok()?, key.into()))
}

const EXPIRY_PAUSE: Duration = Duration::from_millis(100);
