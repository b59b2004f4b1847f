//! Views that the log appends to and that reactors and followers read.
//!
//! One [`SharedView`] per selection and wire form, made when its first subscriber comes and dropped after its last. The
//! log appends under its order lock; readers take the view's own lock for as long as it takes to clone an `Arc`.

use riacho_core::{
    name::Selection,
    position::{Epoch, Offset},
    time::Millis,
    transport::Form,
    view::View,
};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
            let end = view.append(offset, bytes, now);
            let allowed = (self.limits.view_bytes_max / 2) as u64;
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
