//! Views that the log appends to and that reactors and followers read.
//!
//! One [`SharedView`] per selection and wire form, made when its first subscriber comes and dropped after its last. The
//! log appends under its order lock; readers take the view's own lock for as long as it takes to clone an `Arc`.

use crate::{encode::txid, feed::shared::SharedSnapshot};
use indexmap::IndexMap;
use riacho_core::{
    event::{Event, Operation},
    name::{Selection, StreamName},
    position::{Epoch, Offset, Position},
    predicate::Index,
    table::{
        fold::Fold,
        terms::{self, Shown},
    },
    time::Millis,
    transport::Form,
    view::View,
};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// Bounds of views.
#[derive(Clone, Copy, Debug)]
pub struct ViewLimits {
    /// Bytes one view holds.
    pub view_bytes_max: usize,
    /// Bytes all views hold; above it, views shrink to [`SQUEEZED_BYTES`].
    pub views_bytes_max: usize,
}

/// What delivers a view's bytes to the sockets it owns: a reactor.
pub trait Sweeper: Send + Sync {
    /// The view has new events.
    fn dirty(&self, view: &Arc<SharedView>);
}

/// A view and who reads it.
pub struct SharedView {
    selection: Selection,
    form: Form,
    epoch: Epoch,
    state: Mutex<View>,
    limits: ViewLimits,
    total: Arc<AtomicUsize>,
    subscribers: AtomicUsize,
    /// Readers that are tasks; woken by `wake`.
    followers: AtomicUsize,
    wake: Notify,
    // Whether a publisher is about to wake the followers.
    wake_queued: AtomicBool,
    sides: Box<[Side]>,
    swept: Notify,
    /// Where rows are told at most once in a while.
    pace: Option<Arc<Pace>>,
    /// The bytes of a snapshot that those who come now may begin with.
    pub(crate) snapshot: Mutex<Option<Arc<SharedSnapshot>>>,
}

/// What one reactor and the log tell each other about a view.
pub struct Side {
    sweeper: Arc<dyn Sweeper>,
    /// Subscribers on this reactor.
    pub subscribers: AtomicUsize,
    /// Set by the log when it told the reactor of new events; cleared by the reactor before it looks.
    pub dirty: AtomicBool,
    /// The position up to which all of the reactor's subscribers that take bytes have been served.
    pub swept: AtomicU64,
}

/// Views to wake once the order lock is released.
#[derive(Default)]
pub struct Wakes(Vec<Wake>);

enum Wake {
    Side(Arc<SharedView>, usize),
    Followers(Arc<SharedView>),
    Lagging(Arc<SharedView>),
    Paced(Arc<SharedView>),
}

/// The views of one table's changes, by their predicates.
pub type Readers = Index<Reader>;

/// A view in [`Readers`]; equal to itself alone.
#[derive(Clone)]
pub struct Reader(pub Arc<SharedView>);

impl PartialEq for Reader {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl SharedView {
    /// The streams it selects.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Its wire form.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The epoch its cursors are of.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many subscribers it has.
    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// How many of them are tasks.
    pub fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    /// Its bytes. Hold it for a look, never across a wait or a send.
    pub fn lock(&self) -> MutexGuard<'_, View> {
        // A panic while appending leaves a prefix of whole events at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the reactor at `index` and the log share.
    pub fn side(&self, index: usize) -> Option<&Side> {
        self.sides.get(index)
    }

    /// Counts a task that will wait on [`SharedView::woken`].
    pub fn add_follower(&self) {
        self.followers.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes it back.
    pub fn remove_follower(&self) {
        self.followers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Completes at the next append after the returned future was first polled or enabled.
    pub fn woken(&self) -> tokio::sync::futures::Notified<'_> {
        self.wake.notified()
    }

    /// Drops the bytes before `position` where all subscribers have passed it.
    pub fn release(&self, position: u64) {
        let freed = self.lock().release(position);
        self.total.fetch_sub(freed, Ordering::Relaxed);
    }

    /// Notes that the reactor at `index` has served its subscribers up to `position`.
    pub fn note_swept(&self, index: usize, position: u64) {
        if let Some(side) = self.side(index) {
            side.swept.store(position, Ordering::Release);
            self.swept.notify_waiters();
        }
    }

    /// Bytes by which the slowest sweep is behind the view's end.
    pub fn lag_bytes(&self) -> u64 {
        let end = self.lock().end();
        let served = self.sides.iter().filter(|side| side.subscribers.load(Ordering::Relaxed) > 0);
        served.map(|side| end.saturating_sub(side.swept.load(Ordering::Acquire))).max().unwrap_or(0)
    }

    /// Whether the slowest sweep is more than half the view's memory behind.
    fn lags(&self) -> bool {
        self.lag_bytes() > (self.limits.view_bytes_max / 2) as u64
    }

    /// Waits until the sweeps have caught up to within half the view's memory.
    async fn caught_up(&self) {
        loop {
            let swept = self.swept.notified();
            tokio::pin!(swept);
            swept.as_mut().enable();
            if !self.lags() {
                return;
            }
            swept.await;
        }
    }

    /// Who has its changes told, where that is at most once in a while and has not begun.
    pub fn begin_pace(&self) -> Option<Arc<Pace>> {
        self.pace.as_ref().filter(|pace| !pace.started.swap(true, Ordering::SeqCst)).cloned()
    }

    /// Whether rows are told at most once in a while.
    pub fn is_paced(&self) -> bool {
        self.pace.is_some()
    }

    /// Whether nothing waits to be told: look before at the log's head, and after at the view, to know that a reader has
    /// everything.
    pub fn is_quiet(&self) -> bool {
        // Somebody who has the lock keeps or tells something.
        let empty = |pace: &Pace| pace.pending.try_lock().is_ok_and(|pending| pending.fold.is_empty());
        self.pace.as_ref().is_none_or(|pace| empty(pace))
    }

    fn append(&self, offset: Offset, bytes: &[u8], now: Millis) -> u64 {
        let squeezed = self.total.load(Ordering::Relaxed) > self.limits.views_bytes_max;
        let bytes_max = if squeezed { SQUEEZED_BYTES } else { self.limits.view_bytes_max };
        let mut view = self.lock();
        view.append(offset, bytes, now);
        let freed = view.trim(bytes_max, now.saturating_sub(VIEW_AGE_MAX_MS));
        let end = view.end();
        drop(view);
        self.total.fetch_add(bytes.len(), Ordering::Relaxed);
        self.total.fetch_sub(freed, Ordering::Relaxed);
        end
    }
}

impl fmt::Debug for SharedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedView")
            .field("selection", &self.selection)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

impl Drop for SharedView {
    fn drop(&mut self) {
        let bytes = self.lock().bytes();
        self.total.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(pace) = &self.pace {
            *pace.lock() = Pending::default();
            pace.full.notify_one();
            pace.arrived.notify_one();
        }
    }
}

impl Side {
    /// A side served by `sweeper`.
    fn new(sweeper: Arc<dyn Sweeper>) -> Self {
        Self {
            sweeper,
            subscribers: AtomicUsize::new(0),
            dirty: AtomicBool::new(false),
            swept: AtomicU64::new(0),
        }
    }
}

impl Wakes {
    /// Wakes all, and gives the views whose sweeps lag so far that publishers should wait. Call it with no lock held:
    /// a woken reader takes locks at once.
    pub fn wake(self) -> Lagging {
        let mut lagging = Vec::new();
        for wake in self.0 {
            match wake {
                Wake::Side(view, index) => {
                    if let Some(side) = view.side(index) {
                        side.sweeper.dirty(&view);
                    }
                }
                Wake::Followers(view) => {
                    view.wake_queued.store(false, Ordering::SeqCst);
                    view.wake.notify_waiters();
                }
                Wake::Lagging(view) => lagging.push(view),
                Wake::Paced(view) => {
                    if let Some(pace) = &view.pace {
                        pace.wake();
                    }
                }
            }
        }
        Lagging(lagging)
    }
}

/// Views whose sweeps lag; usually none.
#[derive(Clone, Debug, Default)]
pub struct Lagging(Vec<Arc<SharedView>>);

impl Lagging {
    /// Waits for them, so that overload slows publishers instead of pushing readers out of the views' memory.
    pub async fn wait(self) {
        if self.0.is_empty() {
            return;
        }
        let all = async {
            for view in self.0 {
                view.caught_up().await;
            }
        };
        // In vain only where a reactor hangs; then it is no use to wait.
        let _ = tokio::time::timeout(LAG_PATIENCE, all).await;
    }
}

/// All views of a log. Lives under the log's order lock.
pub struct Views {
    by_selection: HashMap<(Selection, Form), Arc<SharedView>>,
    epoch: Epoch,
    limits: ViewLimits,
    total: Arc<AtomicUsize>,
    sweepers: Vec<Arc<dyn Sweeper>>,
    scratch: Scratch,
}

impl Views {
    /// No views yet.
    pub fn new(epoch: Epoch, limits: ViewLimits) -> Self {
        let scratch = Scratch::default();
        let total = Arc::new(AtomicUsize::new(0));
        Self { by_selection: HashMap::new(), epoch, limits, total, sweepers: Vec::new(), scratch }
    }

    /// Names the reactors; before the first view is made.
    pub fn set_sweepers(&mut self, sweepers: Vec<Arc<dyn Sweeper>>) {
        self.sweepers = sweepers;
    }

    /// The view of `selection` in `form`, if there is one.
    pub fn find(&self, selection: &Selection, form: Form) -> Option<&Arc<SharedView>> {
        self.by_selection.get(&(selection.clone(), form))
    }

    /// Makes a view that holds all events above `base`; the caller appends those already published.
    pub fn add(&mut self, selection: &Selection, form: Form, base: Offset) -> Arc<SharedView> {
        let view = Arc::new(SharedView {
            selection: selection.clone(),
            form,
            epoch: self.epoch,
            state: Mutex::new(View::new(base)),
            limits: self.limits,
            total: Arc::clone(&self.total),
            subscribers: AtomicUsize::new(0),
            followers: AtomicUsize::new(0),
            wake: Notify::new(),
            wake_queued: AtomicBool::new(false),
            sides: self.sweepers.iter().map(|sweeper| Side::new(Arc::clone(sweeper))).collect(),
            swept: Notify::new(),
            pace: selection.terms().and_then(|terms| terms.min_interval).map(Pace::new),
            snapshot: Mutex::new(None),
        });
        self.by_selection.insert((selection.clone(), form), Arc::clone(&view));
        view
    }

    /// Counts one more subscriber.
    pub fn enter(view: &SharedView) {
        view.subscribers.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts one less; whether it was the last.
    pub fn leave(view: &SharedView) -> bool {
        view.subscribers.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Drops `view` if nobody reads it; whether it did.
    pub fn remove_unused(&mut self, view: &Arc<SharedView>) -> bool {
        let key = (view.selection.clone(), view.form);
        // Two who each were the last may both come here, and a new view have taken the place meanwhile.
        let listed = self.by_selection.get(&key).is_some_and(|listed| Arc::ptr_eq(listed, view));
        let unused = listed && view.subscribers() == 0;
        if unused {
            self.by_selection.remove(&key);
        }
        unused
    }

    /// The views that select `name`, for a stream that comes into being.
    pub fn matching(&self, name: &str) -> Vec<Arc<SharedView>> {
        self.by_selection.values().filter(|view| view.selection.matches(name)).cloned().collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<SharedView>> {
        self.by_selection.values()
    }

    /// How many there are and how many bytes they hold.
    pub fn totals(&self) -> (usize, usize) {
        (self.by_selection.len(), self.total.load(Ordering::Relaxed))
    }

    /// Appends what `encode` writes to each of `views`, encoding once per form.
    pub fn append(
        &mut self,
        views: &[Arc<SharedView>],
        offset: Offset,
        now: Millis,
        wakes: &mut Wakes,
        encode: impl Fn(Form, &mut Vec<u8>),
    ) {
        if views.is_empty() {
            return;
        }
        self.scratch.clear();
        for view in views {
            let bytes = self.scratch.bytes(view.form, &encode);
            append(&self.limits, view, offset, now, bytes, wakes);
        }
    }

    /// Appends bytes that are encoded already, in the view's form; nothing where there are none.
    pub fn append_encoded(
        &self,
        view: &Arc<SharedView>,
        offset: Offset,
        now: Millis,
        bytes: &[u8],
        wakes: &mut Wakes,
    ) {
        if !bytes.is_empty() {
            append(&self.limits, view, offset, now, bytes, wakes);
        }
    }

    /// Appends the changes of one transaction, each with the readers of its table, to the views that are shown any of
    /// them: to each as one piece, encoded once for all that are shown the same in the same form.
    pub fn append_changes<'a>(
        &self,
        changes: impl Iterator<Item = (Option<&'a Readers>, &'a Arc<Event>)>,
        wakes: &mut Wakes,
    ) {
        let changes: Vec<_> = changes.collect();
        let Some((_, last)) = changes.last().copied() else { return };
        let ends = Ends::of(changes.iter().map(|(_, event)| *event));
        let mut shown_to = ShownTo::default();
        for (readers, event) in changes {
            if let Some(readers) = readers {
                shown_to.add(readers, event, &ends, wakes);
            }
        }
        let mut encoded: Vec<Encoded> = Vec::new();
        for (view, shown) in shown_to.views.values() {
            let upto = ends.of_view(view);
            let alike = Alike::of(view, shown, upto);
            if let Some(known) = encoded.iter().find(|known| known.alike == alike) {
                append(&self.limits, view, upto, last.time, &known.bytes, wakes);
                continue;
            }
            let mut bytes = Vec::new();
            let at = Position { epoch: self.epoch, offset: upto };
            view.form.changes(&mut bytes, at, txid(last), shown);
            append(&self.limits, view, upto, last.time, &bytes, wakes);
            if alike.is_some() && encoded.len() < ENCODED_MAX {
                encoded.push(Encoded { alike, bytes });
            }
        }
    }

    /// Tells the readers of `view`, which is paced, what has come together since it was last told.
    pub fn flush(&self, view: &Arc<SharedView>, now: Millis, wakes: &mut Wakes) {
        let (Some(pace), Some(terms)) = (&view.pace, view.selection.terms()) else { return };
        // Held until the view has the bytes: nobody may find nothing pending and nothing in the view.
        let mut pending = pace.lock();
        let Pending { fold, upto } = std::mem::take(&mut *pending);
        if fold.is_empty() {
            return;
        }
        // Who joined since the first of these changes has a state between.
        let shown = fold.told(terms);
        let at = Position { epoch: self.epoch, offset: upto };
        let txid = (shown.len() > 1).then(|| at.to_string());
        let mut bytes = Vec::new();
        view.form.changes(&mut bytes, at, txid.as_deref(), &shown);
        self.append_encoded(view, upto, now, &bytes, wakes);
        drop(pending);
    }
}

/// Where a transaction ends in each of its tables. Who reads some of them resumes from there, whatever other tables had
/// after it: it is the cursor that a reader gets who finds these changes in the log.
struct Ends<'a>(Vec<(&'a StreamName, Offset)>);

impl<'a> Ends<'a> {
    fn of(changes: impl Iterator<Item = &'a Arc<Event>>) -> Self {
        let mut ends: Vec<(&StreamName, Offset)> = Vec::new();
        for event in changes {
            match ends.iter_mut().find(|(table, _)| *table == &event.stream) {
                Some((_, end)) => *end = event.offset,
                None => ends.push((&event.stream, event.offset)),
            }
        }
        Self(ends)
    }

    fn of_view(&self, view: &SharedView) -> Offset {
        let read =
            |(table, _): &&(&StreamName, Offset)| self.0.len() == 1 || view.selection.matches(table.as_str());
        self.0.iter().filter(read).map(|(_, end)| *end).max().unwrap_or(0)
    }
}

/// What each view is shown of a transaction; by the view's address.
#[derive(Default)]
struct ShownTo<'a> {
    views: IndexMap<usize, (Arc<SharedView>, ShownChanges<'a>)>,
}

type ShownChanges<'a> = Vec<(&'a Event, Shown<'a>)>;

impl<'a> ShownTo<'a> {
    fn add(&mut self, readers: &Readers, event: &'a Arc<Event>, ends: &Ends<'_>, wakes: &mut Wakes) {
        let (old, new) = (terms::before(event), terms::after(event));
        let mut matches: IndexMap<usize, (&Arc<SharedView>, bool, bool)> = IndexMap::new();
        for reader in old.map(|row| readers.matching(row)).unwrap_or_default() {
            matches.insert(Arc::as_ptr(&reader.0).addr(), (&reader.0, true, false));
        }
        for reader in new.map(|row| readers.matching(row)).unwrap_or_default() {
            matches.entry(Arc::as_ptr(&reader.0).addr()).or_insert((&reader.0, false, true)).2 = true;
        }
        for (place, (view, was, is)) in matches {
            if let Some(pace) = &view.pace {
                if pace.hold(event, ends.of_view(view)) {
                    wakes.0.push(Wake::Paced(Arc::clone(view)));
                }
                continue;
            }
            let terms = view.selection.terms();
            let shown = terms.and_then(|terms| terms.show_matching(old.filter(|_| was), new.filter(|_| is)));
            if let Some(shown) = shown {
                let entry = self.views.entry(place).or_insert_with(|| (Arc::clone(view), Vec::new()));
                entry.1.push((event, shown));
            }
        }
    }
}

/// What a transaction was encoded as, for views that are shown the same of it.
struct Encoded {
    alike: Option<Alike>,
    bytes: Vec<u8>,
}

/// Views of which this is equal are shown the same bytes; of none where rows are projected.
#[derive(PartialEq, Eq)]
struct Alike {
    form: Form,
    old_value: bool,
    upto: Offset,
    changes: Vec<(Offset, Operation)>,
}

impl Alike {
    fn of(view: &SharedView, shown: &[(&Event, Shown<'_>)], upto: Offset) -> Option<Self> {
        let terms = view.selection.terms().filter(|terms| terms.columns.is_none())?;
        let changes = shown.iter().map(|(event, shown)| (event.offset, shown.operation)).collect();
        Some(Self { form: view.form, old_value: terms.old_value, upto, changes })
    }
}

/// Changes that come together until the readers of a view may be told again.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    pending: Mutex<Pending>,
    /// Something is pending, or the view is gone.
    arrived: Notify,
    /// More is pending than may be, or the view is gone.
    full: Notify,
    started: AtomicBool,
}

#[derive(Debug, Default)]
struct Pending {
    fold: Fold,
    /// The end of the last transaction in it, whether or not the reader is shown that.
    upto: Offset,
}

impl Pace {
    fn new(interval: Duration) -> Arc<Self> {
        let (pending, arrived, full) = (Mutex::default(), Notify::new(), Notify::new());
        Arc::new(Self { interval, pending, arrived, full, started: AtomicBool::new(false) })
    }

    // Keeps a change for later; whether somebody has to be told: of the first, or that it is more than may be kept.
    fn hold(&self, event: &Arc<Event>, upto: Offset) -> bool {
        let mut pending = self.lock();
        let first = pending.fold.is_empty();
        pending.fold.add(event);
        pending.upto = upto;
        first || pending.fold.bytes() > PACED_BYTES_MAX
    }

    fn wake(&self) {
        self.arrived.notify_one();
        if self.lock().fold.bytes() > PACED_BYTES_MAX {
            self.full.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the pending changes of a paced view told, at most once in its interval and the first at once, until the view is
/// gone. `flush` tells what is pending.
pub async fn pace(pace: Arc<Pace>, view: Weak<SharedView>, flush: impl Fn(&Arc<SharedView>)) {
    loop {
        pace.arrived.notified().await;
        let Some(shared) = view.upgrade() else { return };
        flush(&shared);
        drop(shared);
        tokio::select! {
            // Both only wait: what is pending stays.
            () = tokio::time::sleep(pace.interval) => {}
            () = pace.full.notified() => {}
        }
    }
}

fn append(
    limits: &ViewLimits,
    view: &Arc<SharedView>,
    offset: Offset,
    now: Millis,
    bytes: &[u8],
    wakes: &mut Wakes,
) {
    let end = view.append(offset, bytes, now);
    let allowed = (limits.view_bytes_max / 2) as u64;
    let mut lags = false;
    for (index, side) in view.sides.iter().enumerate() {
        if side.subscribers.load(Ordering::Relaxed) == 0 {
            continue;
        }
        lags |= end.saturating_sub(side.swept.load(Ordering::Acquire)) > allowed;
        if !side.dirty.swap(true, Ordering::SeqCst) {
            wakes.0.push(Wake::Side(Arc::clone(view), index));
        }
    }
    if lags && !wakes.0.iter().any(|w| matches!(w, Wake::Lagging(v) if Arc::ptr_eq(v, view))) {
        wakes.0.push(Wake::Lagging(Arc::clone(view)));
    }
    if view.followers.load(Ordering::SeqCst) > 0 && !view.wake_queued.swap(true, Ordering::SeqCst) {
        wakes.0.push(Wake::Followers(Arc::clone(view)));
    }
}

/// The current event in the forms that are wanted, each encoded once.
#[derive(Default)]
struct Scratch {
    forms: [Vec<u8>; Form::COUNT],
}

impl Scratch {
    fn clear(&mut self) {
        for bytes in &mut self.forms {
            bytes.clear();
        }
    }

    fn bytes(&mut self, form: Form, encode: impl Fn(Form, &mut Vec<u8>)) -> &[u8] {
        let Some(bytes) = self.forms.get_mut(form.index()) else { return &[] };
        if bytes.is_empty() {
            bytes.shrink_to(SCRATCH_BYTES_KEPT);
            encode(form, bytes);
        }
        bytes
    }
}

/// What a view keeps while all views together are over their bound.
pub const SQUEEZED_BYTES: usize = 64 * 1024;

// Older events leave a view: whoever misses them is fed from the log.
const VIEW_AGE_MAX_MS: Millis = 60_000;
// A publisher waits this long at most for readers that take bytes but not fast enough.
const LAG_PATIENCE: Duration = Duration::from_secs(5);
const SCRATCH_BYTES_KEPT: usize = 256 * 1024;
// What a paced view holds back at most, about; above it its readers are told before their time.
const PACED_BYTES_MAX: usize = 1024 * 1024;
// Encodings of one transaction that are looked through for one that fits.
const ENCODED_MAX: usize = 8;
