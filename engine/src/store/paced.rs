//! A store's pacer: what the store measures is told to it, and what the host knows.
//!
//! The store measures how long it took to open, how long its checkpoints take and what they write, how much has changed
//! since the last barrier, and how short memory is. The work that a crash would lose is the host's to replay, so the host
//! says how much it is ([`Store::observe_input`]) and how fast it goes ([`Store::observe_replay`]). `Paced::tell` is where
//! a changelog says it instead.

use super::{Store, StoreInner};
use crate::checkpoint::CheckpointInfo;
use crate::pacing::{Completed, Conflict, Decision, Pacer, Policy, Rates};
use crate::platform::threads::{self, Mutex};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A pacer and its clock. Its lock is taken last of all.
#[derive(Debug)]
pub(crate) struct Paced {
    started: Instant,
    /// Units of input that the host took since the store was opened; 0 where it doesn't count.
    input: AtomicU64,
    /// Bytes that were written beside checkpoints since the last one.
    beside: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pacer: Pacer,
    /// The input before the barrier of the newest complete checkpoint.
    before: u64,
    /// The number of the last checkpoint, and the input before those that are on their way, by number.
    number: u64,
    open: Vec<(u64, u64)>,
    /// What a checkpoint costs, where the host knows.
    lost: Option<Duration>,
}

/// Where the input stands just before a cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(u64);

impl Paced {
    /// Of a store that serves from now on; opening it began at `started`.
    pub fn new(policy: Policy, started: Instant) -> Self {
        let took = threads::since(started);
        let now_ns = nanoseconds(took);
        let mut pacer = Pacer::new(policy, false, now_ns);
        pacer.observe_open(now_ns, took);
        let state = State { pacer, before: 0, number: 0, open: Vec::new(), lost: None };
        Self { started, input: AtomicU64::new(0), beside: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// With a changelog its bytes are the work: it stands at `position`, and the checkpoint that was opened at `before`.
    pub fn opened_at(&self, before: u64, position: u64) {
        self.input.store(position, Ordering::Relaxed);
        self.state.lock().before = before;
    }

    /// So many bytes of the changelog were replayed in this time.
    pub fn replayed(&self, bytes: u64, took: Duration) {
        self.state.lock().pacer.observe_replay(self.now_ns(), bytes, took);
    }

    /// So many bytes were written beside checkpoints.
    pub fn wrote_beside(&self, bytes: u64) {
        self.beside.fetch_add(bytes, Ordering::Relaxed);
    }

    fn now_ns(&self) -> u64 {
        nanoseconds(threads::since(self.started))
    }

    /// To be taken before the first shard is cut: what comes in meanwhile counts as after the barrier.
    pub fn mark(&self) -> Mark {
        Mark(self.input.load(Ordering::Relaxed))
    }

    /// A checkpoint was cut. The number is what it is known by below.
    pub fn begun(&self, mark: Mark) -> u64 {
        let now_ns = self.now_ns();
        let mut state = self.state.lock();
        state.number += 1;
        let number = state.number;
        self.tell(&mut state, now_ns, Some(mark));
        state.open.push((number, mark.0));
        state.pacer.checkpoint_begun(now_ns, number);
        number
    }

    /// It is complete.
    pub fn completed(&self, number: u64, info: &CheckpointInfo, took: Duration) {
        let now_ns = self.now_ns();
        let mut state = self.state.lock();
        let Some(at) = state.open.iter().position(|&(open, _)| open == number) else { return };
        state.before = state.open.remove(at).1;
        // Of all processors, one at most was kept from the writers.
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get) as u32;
        let lost = state.lost.unwrap_or(took / processors);
        let written_bytes = info.new_bytes + self.beside.swap(0, Ordering::Relaxed);
        let changed_bytes = info.changed_bytes;
        let completed = Completed { took, lost, written_bytes, changed_bytes };
        state.pacer.checkpoint_completed(now_ns, number, completed);
        self.tell(&mut state, now_ns, None);
    }

    /// It was given up, unless it is complete.
    pub fn ended(&self, number: u64) {
        let now_ns = self.now_ns();
        let mut state = self.state.lock();
        state.open.retain(|&(open, _)| open != number);
        state.pacer.checkpoint_failed(now_ns, number);
    }

    /// Tells how much work there has been since the newest complete checkpoint, up to a mark or to now.
    fn tell(&self, state: &mut State, now_ns: u64, up_to: Option<Mark>) {
        let input = up_to.unwrap_or_else(|| self.mark()).0;
        // Uncounted, there has been some; the pacer then goes by the time.
        let work = if input == 0 { 1 } else { input - state.before.min(input) };
        state.pacer.observe_log(now_ns, work);
    }
}

impl StoreInner {
    /// Where the work stands just before a cut.
    pub fn mark_work(&self) -> Mark {
        if self.log.is_on() {
            self.paced.input.store(self.log.position(), Ordering::Relaxed);
        }
        self.paced.mark()
    }

    /// Tells the pacer how things are, and asks it.
    fn ask<R>(&self, ask: impl FnOnce(&mut Pacer, u64) -> R) -> R {
        self.mark_work();
        let shards = self.shards.lock().clone();
        let dirty_bytes: usize = shards.iter().map(|shard| shard.cell.borrow().hot.dirty_bytes()).sum();
        let (budget_bytes, used_bytes, _) = self.memory_room();
        let paced = &self.paced;
        let now_ns = paced.now_ns();
        let mut state = paced.state.lock();
        paced.tell(&mut state, now_ns, None);
        state.pacer.observe_dirty(now_ns, dirty_bytes as u64);
        state.pacer.observe_memory(now_ns, used_bytes as u64, budget_bytes as u64);
        ask(&mut state.pacer, now_ns)
    }
}

/// Pacing checkpoints: see [`crate::pacing`] for the model, [`StoreOptions::checkpoint_policy`](crate::StoreOptions::checkpoint_policy) for the
/// policies.
impl Store {
    /// When the next checkpoint is due by the store's policy, and why; `None` where the policy knows of none.
    ///
    /// The engine cuts none by itself, as the offsets of the sources are the host's. A host that wants checkpoints by
    /// policy asks in its loop, and cuts one when it is due. Asking takes about as long as a barrier; what happens between two
    /// times isn't noticed, so ask at least ten times within the target, or when [`Decision::due_in`] is over.
    ///
    /// ```
    /// use alluvium::pacing::Policy;
    /// use alluvium::{Barrier, Engine, EngineOptions, StateOptions, Store, StoreOptions};
    /// use std::time::{Duration, Instant};
    /// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
    /// # let path = directory.path();
    ///
    /// let target = Duration::from_millis(100);
    /// let checkpoint_policy = Policy::RecoveryTime { target, max_write_amplification: 5.0 };
    /// let engine = Engine::open(EngineOptions::default())?;
    /// let store = Store::create(&engine, path, StoreOptions { checkpoint_policy, ..StoreOptions::default() })?;
    /// let counts = store.state(StateOptions::value("counts"))?;
    /// let mut writer = store.writer(store.range())?;
    /// let (mut label, mut look_at) = (0, Instant::now());
    /// # let until = Instant::now() + Duration::from_millis(500);
    /// for event in 0_u64.. {
    ///     writer.put(counts, store.key(&(event % 1_000).to_be_bytes()), &event.to_le_bytes())?;
    ///     store.observe_input(1);
    ///     if Instant::now() >= look_at {
    ///         let mut pause = target / 20;
    ///         if let Some(next) = store.next_checkpoint() {
    ///             if next.is_due() {
    ///                 label += 1;
    ///                 // A host puts the offsets of its sources here.
    ///                 writer.barrier(Barrier::new(label))?;
    ///             } else {
    ///                 pause = pause.min(next.due_in);
    ///             }
    ///         }
    ///         if let Some(conflict) = store.checkpoint_conflict() {
    ///             eprintln!("recovery would take {:?}: {:?}", conflict.reachable, conflict.cause);
    ///         }
    ///         look_at = Instant::now() + pause;
    ///     }
    ///     # if Instant::now() > until { break }
    /// }
    /// assert!(label > 1);
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    pub fn next_checkpoint(&self) -> Option<Decision> {
        if self.inner.options.checkpoint_policy == Policy::Manual {
            return None;
        }
        self.inner.ask(Pacer::next_checkpoint)
    }

    /// How long a recovery would take after a crash now: opening the store, replaying what came in since the barrier of the
    /// newest checkpoint that is complete here, and, where [`Store::observe_rates`] said enough for it, catching up.
    ///
    /// As long as the host counts no input, or never replayed any, the time since that barrier is taken for the replay:
    /// it went no faster the first time. What a host does before it opens the store, and after a checkpoint is complete
    /// here until it is elsewhere as well, isn't in it.
    pub fn predicted_recovery(&self) -> Duration {
        self.inner.ask(|pacer, now_ns| pacer.predicted_recovery(now_ns))
    }

    /// What stands in the way of [`Policy::RecoveryTime`], as of the last [`Store::next_checkpoint`]: target and cap contradict each other,
    /// or the target is out of reach.
    pub fn checkpoint_conflict(&self) -> Option<Conflict> {
        self.inner.paced.state.lock().pacer.conflict()
    }

    /// The host took so much from its sources: events or bytes, whatever it counts by. What it takes a second time after a
    /// recovery counts too. A few nanoseconds; from any thread. Nothing comes of it in a store with a changelog, whose bytes are counted instead.
    pub fn observe_input(&self, units: u64) {
        if !self.inner.log.is_on() {
            self.inner.paced.input.fetch_add(units, Ordering::Relaxed);
        }
    }

    /// After a recovery the host replayed so much from its sources, in units of [`Store::observe_input`], in this time. The
    /// last few such observations are what a replay is predicted by. Nothing comes of it while no input is counted, or in a store with a
    /// changelog, which measures its own.
    pub fn observe_replay(&self, units: u64, took: Duration) {
        let paced = &self.inner.paced;
        if paced.mark().0 > 0 && !self.inner.log.is_on() {
            paced.state.lock().pacer.observe_replay(paced.now_ns(), units, took);
        }
    }

    /// How fast input comes in, and how fast it could be worked off: then recovery includes catching up, and a
    /// checkpoint begins early enough for input that comes at full speed. To be said again when it changes; in any unit.
    pub fn observe_rates(&self, rates: Rates) {
        let paced = &self.inner.paced;
        paced.state.lock().pacer.observe_rates(paced.now_ns(), rates);
    }

    /// How much processing time a checkpoint costs, as the host measures it: throughput lost, not how long it takes. Until
    /// it is said, it is taken to be one processor's time from the barrier to the end, divided by all processors: more
    /// than it is, mostly. For [`Policy::Young`].
    pub fn observe_checkpoint_cost(&self, lost: Duration) {
        self.inner.paced.state.lock().lost = Some(lost);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
