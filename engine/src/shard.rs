//! A shard: the key groups of one writer, their hot tables and their view of the disk.
//!
//! The hot tables belong to whoever is inside the shard's gate: the writer during an operation, or an engine thread
//! that borrows them (for a barrier, a spill, eviction) while the writer is idle or between two operations. The view
//! (which segments there are, and up to which epoch everything is in them) is replaced as a whole in one step.

use crate::changelog::LogBuffer;
use crate::changelog::buffer::{Contents, HELD_BYTES_MAX};
use crate::changelog::record::Change;
use crate::hot::commits::Commits;
use crate::hot::table::Head;
use crate::hot::{Hot, Memory};
use crate::ids::{KeyGroup, KeyGroupRange, StateId};
use crate::key::Key;
use crate::metrics::OperationKind;
use crate::platform::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::platform::sync::gate::GatedCell;
use crate::platform::threads::{Condvar, Mutex, RwLock, RwLockWriteGuard};
use crate::purge_clock::PurgeClock;
use crate::stack::{Slice, Version};
use crate::stats::Histogram;
use std::sync::Arc;

/// How long a flush takes before those who wait for it say so.
const SLOW: std::time::Duration = std::time::Duration::from_secs(30);

/// What is on disk, as of one moment.
#[derive(Debug)]
pub struct View {
    /// The segments.
    pub version: Arc<Version>,
    /// Every record with a stamp up to this is in them.
    pub flushed: u32,
    /// Only segments of epochs up to this are looked at: others hold what isn't committed.
    pub up_to: u32,
}

impl View {
    /// All of a version's segments.
    pub const fn new(version: Arc<Version>, flushed: u32) -> Self {
        Self { version, flushed, up_to: u32::MAX }
    }

    /// The same without what was staged after the stamp `committed`.
    pub fn committed(&self, committed: u32) -> Self {
        Self { version: Arc::clone(&self.version), flushed: self.flushed, up_to: committed }
    }

    /// The slice of a key group, which the store must hold.
    #[inline]
    pub fn slice_of(&self, group: KeyGroup) -> Arc<Slice> {
        let slice = self.version.slice_of(group);
        if self.up_to == u32::MAX { Arc::clone(slice) } else { Slice::up_to(slice, self.up_to) }
    }
}

/// What readers see of a state's tables.
#[derive(Clone, Debug)]
pub struct StateHeads {
    /// The tables, by key group.
    pub main: Arc<[Head]>,
    /// The versions that a transaction keeps; none where nothing has to be committed.
    pub kept: Arc<[Head]>,
}

/// What the gate guards.
#[derive(Debug)]
pub struct Core {
    /// The hot tables.
    pub hot: Hot,
    /// The view that the owner goes by.
    pub view: Arc<View>,
    /// Of the view; or of none, where the next operation has to look at what changes slowly.
    view_number: u64,
    /// The owner's next operation is to look at more than the view.
    calls_owner: bool,
    /// Of the view.
    adopted: u64,
    /// Some key groups are still to be replayed, so that every operation has to look.
    replaying: bool,
    /// Buffers for building keys, reused.
    pub scratch: Vec<u8>,
    /// What the owner counts; see [`crate::metrics`].
    pub counts: crate::metrics::OwnerCounts,
    /// What was changed and is not in the changelog's stream yet; none without a changelog.
    pub log: Option<Box<LogBuffer>>,
    /// The owner is at an event that is known by its id, whose changes are committed and cut off together or not at all.
    pub in_event: bool,
    /// See [`Shard::has_events`].
    pub has_events: bool,
    /// The owner's time at the last cut or commit, or an earlier one that was set since; `u64::MAX` before any was set.
    taken_ms: u64,
}

/// What a shard is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShardKind {
    /// What is changed has to be committed.
    pub transactional: bool,
    /// What is changed goes to a changelog.
    pub logs: bool,
    /// Some of its key groups are still to be replayed, one by one.
    pub replaying: bool,
}

/// One writer's key groups.
#[derive(Debug)]
pub struct Shard {
    /// Which key groups.
    pub range: KeyGroupRange,
    /// The hot tables behind their gate.
    pub cell: Arc<GatedCell<Core>>,
    view: RwLock<Arc<View>>,
    view_number: AtomicU64,
    /// How far its changes are committed, where they have to be.
    pub commits: Option<Arc<Commits>>,
    heads: RwLock<Vec<StateHeads>>,
    heads_number: AtomicU64,
    /// Whether its owner ever began with an event that is known by its id.
    has_events: AtomicBool,
    /// Set when its state went to disk and the shard left its store, as another range was claimed.
    gone: AtomicBool,
    /// How long operations took, by kind; one in 64 is timed.
    pub latency: [Histogram; OperationKind::COUNT],
    /// How many flushes have ended, for those who wait for memory.
    progress: Mutex<u64>,
    moved: Condvar,
}

impl Shard {
    /// An empty shard over what is on disk.
    pub fn new(
        range: KeyGroupRange,
        memory: Memory,
        seed: u64,
        epoch: u32,
        version: Arc<Version>,
        kind: ShardKind,
    ) -> Self {
        let view = Arc::new(View::new(version, epoch - 1));
        let mut memory = memory;
        memory.set_floor();
        let mut hot = Hot::new(memory, seed, range.count(), epoch);
        // No two shards of a key group ever count alike: a walk may outlive the one that it began with.
        hot.deletions = u64::from(epoch) << 32;
        let commits = kind.transactional.then(|| Arc::new(Commits::new(epoch - 1)));
        if let Some(commits) = &commits {
            hot.set_transactional(Arc::clone(commits));
        }
        let core = Core {
            hot,
            view: Arc::clone(&view),
            view_number: if kind.replaying { u64::MAX } else { 0 },
            calls_owner: false,
            adopted: 0,
            replaying: kind.replaying,
            scratch: Vec::new(),
            counts: crate::metrics::OwnerCounts::default(),
            log: kind.logs.then(Box::default),
            in_event: false,
            has_events: false,
            taken_ms: u64::MAX,
        };
        Self {
            range,
            cell: Arc::new(GatedCell::new(core)),
            view: RwLock::new(view),
            view_number: AtomicU64::new(0),
            commits,
            heads: RwLock::new(Vec::new()),
            heads_number: AtomicU64::new(0),
            has_events: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            latency: std::array::from_fn(|_| Histogram::new()),
            progress: Mutex::new(0),
            moved: Condvar::new(),
        }
    }

    /// Adds the tables of the next state. `on_disk` says whether there may be state of it on disk.
    pub fn add_state(&self, on_disk: bool) {
        self.add_state_inside(&mut self.cell.borrow(), on_disk);
    }

    /// The same, by who is inside already.
    pub fn add_state_inside(&self, core: &mut Core, on_disk: bool) {
        let tables = |count| (0..count).map(|_| Head::default()).collect();
        let main: Arc<[Head]> = tables(self.range.count());
        let kept: Arc<[Head]> = tables(if self.commits.is_some() { self.range.count() } else { 0 });
        if on_disk {
            main.iter().for_each(|head| head.set_spilled(true));
        }
        core.hot.add_state(Arc::clone(&main), Arc::clone(&kept));
        self.heads.write().push(StateHeads { main, kept });
        // Pairs with `heads_number`: who sees the number finds the tables.
        self.heads_number.fetch_add(1, Ordering::Release);
    }

    /// What readers see of the tables, by state, and a number that changes with it.
    pub fn heads(&self) -> (u64, Vec<StateHeads>) {
        let heads = self.heads.read();
        (self.heads_number.load(Ordering::Acquire), heads.clone())
    }

    /// The number of [`Shard::heads`].
    pub fn heads_number(&self) -> u64 {
        self.heads_number.load(Ordering::Acquire)
    }

    /// Says that the owner is about to begin with its first event. The caller holds the `sealing` lock, which orders this with those who ask.
    pub fn note_events(&self, core: &mut Core) {
        core.has_events = true;
        self.has_events.store(true, Ordering::Relaxed);
    }

    /// Whether the owner ever began with an event that is known by its id; asked under the `sealing` lock.
    pub fn has_events(&self) -> bool {
        self.has_events.load(Ordering::Relaxed)
    }

    /// Says that the shard left its store.
    pub fn leave(&self) {
        // Pairs with `is_gone`: who sees it looks for the shards that took its place; who doesn't began before.
        self.gone.store(true, Ordering::Release);
    }

    /// Whether the shard left its store; its tables are not looked at any more then.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// The current view and its number.
    pub fn view(&self) -> (u64, Arc<View>) {
        let view = self.view.read();
        (self.view_number.load(Ordering::Acquire), Arc::clone(&view))
    }

    /// The number of the current view: while it stays, so does the view.
    #[inline]
    pub fn view_number(&self) -> u64 {
        self.view_number.load(Ordering::Acquire)
    }

    /// Replaces the view in one step. `flushed` of `None` leaves that as it is.
    pub fn publish(&self, version: Arc<Version>, flushed: Option<u32>) {
        let mut view = self.view.write();
        let flushed = flushed.unwrap_or(0).max(view.flushed);
        *view = Arc::new(View::new(version, flushed));
        // Pairs with `view_number`. A record is evicted after the owner saw the view that has it on disk, so a reader that
        // misses the record sees a number at least as high.
        self.view_number.fetch_add(1, Ordering::Release);
    }

    /// Keeps everybody from taking the view until another takes its place: for changes of the tables that go with it. Whoever took it
    /// before and looks at the tables meanwhile finds in the end that there is another, and starts again.
    pub fn hold_view(&self) -> HeldView<'_> {
        let view = self.view.write();
        // Before anything of the tables is changed, which is done with Release: who sees some of that sees this. Nobody sees the
        // number alone, as it is read together with the view, under its lock.
        self.view_number.fetch_add(1, Ordering::Release);
        HeldView { shard: self, view }
    }

    /// Tells those who wait that a flush has ended, well or not.
    pub fn signal(&self) {
        *self.progress.lock() += 1;
        self.moved.notify_all();
    }

    /// How many flushes have ended.
    pub fn progress(&self) -> u64 {
        *self.progress.lock()
    }

    /// Waits until a flush has ended since `seen`, however long the disk takes.
    pub fn wait(&self, seen: u64) {
        let mut progress = self.progress.lock();
        while *progress == seen {
            if self.moved.wait_for(&mut progress, SLOW).timed_out() {
                tracing::warn!(range = %self.range, waited_s = SLOW.as_secs(), "a flush is slow");
            }
        }
    }
}

/// The view of a shard, while nobody else can take it.
#[derive(Debug)]
pub struct HeldView<'a> {
    shard: &'a Shard,
    view: RwLockWriteGuard<'a, Arc<View>>,
}

impl HeldView<'_> {
    /// Replaces the view; what is flushed stays as it is.
    pub fn publish(mut self, version: Arc<Version>) {
        let flushed = self.view.flushed;
        *self.view = Arc::new(View::new(version, flushed));
        // Pairs with `view_number`, as in `Shard::publish`.
        self.shard.view_number.fetch_add(1, Ordering::Release);
    }
}

impl Core {
    /// Appends what was changed to the changelog, if there is one.
    #[inline]
    pub fn log(&mut self, state: StateId, key: Key<'_>, change: Change<'_>, expiry_ms: Option<u64>) {
        if let Some(log) = &mut self.log {
            log.change(state, key, change, expiry_ms);
        }
        self.heed_log();
    }

    /// Has the next operation look after a buffer of the changelog that grew long: a few long values are enough for that.
    pub fn heed_log(&mut self) {
        if self.log.as_ref().is_some_and(|log| log.len() >= HELD_BYTES_MAX) {
            self.unsettle();
        }
    }

    /// Sets the owner's time. Where it goes back, compaction mustn't go by a later one from now on.
    #[inline]
    pub fn set_time_ms(&mut self, now_ms: u64, clock: &PurgeClock) {
        self.hot.now_ms = now_ms;
        if now_ms < self.taken_ms {
            self.taken_ms = now_ms;
            clock.go_back(now_ms);
        }
    }

    /// The owner's time, for a cut or a commit.
    pub fn take_time_ms(&mut self) -> u64 {
        if self.taken_ms != u64::MAX {
            self.taken_ms = self.hot.now_ms;
        }
        self.hot.now_ms
    }

    /// Has the owner's next operation look at what changes slowly, as if there were a newer view.
    pub fn unsettle(&mut self) {
        self.view_number = u64::MAX;
        self.calls_owner = true;
    }

    /// The owner is about to do so. Whoever else settles leaves that to it.
    pub fn answer_call(&mut self) {
        self.calls_owner = false;
    }

    /// Takes what was appended to the changelog; leaves an empty buffer in its place.
    pub fn take_log(&mut self, empty: Vec<u8>) -> Contents {
        match &mut self.log {
            Some(log) => log.take(empty),
            None => Contents { bytes: empty, ..Contents::default() },
        }
    }

    /// Takes over the newest view.
    #[cold]
    pub fn adopt(&mut self, shard: &Shard) {
        let (number, view) = shard.view();
        self.hot.adopt_flushed(view.flushed);
        // Where nothing is on disk any more, a miss in memory is an answer again.
        for slice in view.version.slices.iter().filter(|slice| slice.layers.is_empty()) {
            for group in slice.range.intersect(shard.range).into_iter().flat_map(KeyGroupRange::iter) {
                self.hot.set_resident(group.0 - shard.range.first());
            }
        }
        self.view = view;
        self.adopted = number;
    }

    /// Says that all of its key groups were replayed.
    pub fn end_replay(&mut self) {
        self.replaying = false;
        self.unsettle();
    }

    /// Whether there is a newer view, or something left behind by a flush: then [`Core::settle`] is due.
    #[inline(always)]
    pub fn is_unsettled(&self, shard: &Shard) -> bool {
        shard.view_number() != self.view_number || self.hot.has_chores()
    }

    /// What is done at the start of every operation: the newest view, and a little of what flushes left behind.
    #[inline]
    pub fn settle(&mut self, shard: &Shard) {
        let number = shard.view_number();
        if number != self.view_number {
            if number != self.adopted {
                self.adopt(shard);
            }
            self.view_number = if self.replaying || self.calls_owner { u64::MAX } else { self.adopted };
        }
        if self.hot.has_chores() {
            self.hot.work();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::options::{Durability, EngineOptions, StoreOptions};
    use crate::states::StateOptions;
    use crate::{Engine, Store};

    /// A thread that came into the gate between two of a writer's operations, as warming up does, took the call away that a long buffer of the changelog
    /// is: up to 63 long values were buffered before the next look.
    #[test]
    fn a_long_buffer_is_moved_on_by_the_next_operation_whoever_came_in_between() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 64 << 20, ..Default::default() }).unwrap();
        let options = StoreOptions { durability: Durability::Changelog, ..Default::default() };
        let store = Store::create(&engine, directory.path(), options).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let shard = Arc::clone(&store.inner.shards.lock()[0]);
        let buffered = || shard.cell.borrow().log.as_ref().map_or(0, |log| log.len());
        for n in 0..4_u8 {
            writer.put(state, store.key(&[n]), &vec![n; HELD_BYTES_MAX]).unwrap();
            assert!(buffered() >= HELD_BYTES_MAX);
            assert!(buffered() < 2 * HELD_BYTES_MAX, "the one before was moved on");
            shard.cell.borrow().settle(&shard);
        }
    }
}
