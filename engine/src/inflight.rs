//! Reads in flight: lookups that a writer handed over and goes on without. A thread of the engine takes them to their
//! ends, those of many batches together, in one stream of reads.

use crate::cold::{self, ColdKey, Lookups};
use crate::error::{Error, Result};
use crate::ids::{KeyGroupRange, StateId};
use crate::key::{VALUE_BYTES_MAX, in_range};
use crate::platform::threads::{Condvar, Mutex};
use crate::stack::{Found, Lookup, Slice};
use crate::states::{StateDef, StateKind};
use crate::store::StoreInner;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many reads may be waiting for the disk, or for somebody to take their answers, before a store takes no more.
pub const READS_MAX: usize = 8192;
/// So many bytes of answers.
pub const BYTES_MAX: usize = 32 << 20;
/// After so many lookups it is another store's turn.
const A_TURN: usize = 16_384;

/// What is to be read from disk, and what to make of it.
#[derive(Debug)]
pub struct Miss {
    /// The place in its batch.
    pub index: usize,
    /// The state.
    pub def: Arc<StateDef>,
    /// What memory had of a list or of operands, oldest first: it comes on top of what is on disk.
    pub above: Vec<Vec<u8>>,
    /// The caller's clock when it was asked for, in ms.
    pub now_ms: u64,
    /// The way through the segments of that time.
    pub lookup: Lookup,
}

/// A read that is done.
#[derive(Debug)]
pub struct Answered {
    /// The place in its batch.
    pub index: usize,
    /// The value, or the elements of a list in their frames; `None` where there is nothing.
    pub value: Result<Option<Vec<u8>>>,
    /// The state.
    pub def: Arc<StateDef>,
    /// What was read from disk, for keeping it.
    pub cold: Option<Cold>,
}

/// Where a value was found on disk.
#[derive(Debug)]
pub struct Cold {
    /// The state.
    pub state: StateId,
    /// Where the key lies.
    pub sort_key: Vec<u8>,
    /// The segments that were looked through.
    pub slice: Arc<Slice>,
    /// When it expires, in ms.
    pub expiry_ms: Option<u64>,
    /// The epoch of its segment.
    pub epoch: u32,
}

impl Cold {
    /// Whether it lies in these key groups.
    pub fn is_in(&self, range: KeyGroupRange) -> bool {
        in_range(&self.sort_key, range)
    }
}

impl Answered {
    fn bytes(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.as_ref().map_or(0, Vec::len))
    }
}

/// Called when a batch is complete.
pub type Callback = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    answers: VecDeque<Answered>,
    /// How many reads are on their way.
    missing: usize,
    callback: Option<Callback>,
    /// How much of the answers counts against the store's limits: those of what was not in memory.
    reads: usize,
    bytes: usize,
    abandoned: bool,
}

/// What a ticket and those who read for it share.
pub struct Shared {
    state: Mutex<State>,
    done: Condvar,
    counts: Arc<Counts>,
}

/// What of a store is in flight.
#[derive(Debug, Default)]
pub struct Counts {
    /// On their way, or waiting to be taken.
    reads: AtomicUsize,
    /// Of answers waiting to be taken.
    bytes: AtomicUsize,
}

impl Counts {
    /// Whether a store takes no more for now.
    pub fn is_full(&self) -> bool {
        // Relaxed: limits, which one batch may exceed anyway.
        self.reads.load(Ordering::Relaxed) >= READS_MAX || self.bytes.load(Ordering::Relaxed) >= BYTES_MAX
    }

    fn release(&self, reads: usize, bytes: usize) {
        self.reads.fetch_sub(reads, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("missing", &self.state.lock().missing).finish_non_exhaustive()
    }
}

impl Shared {
    /// A batch with these answers, of which so many are missing.
    pub fn new(answers: Vec<Answered>, missing: usize, counts: &Arc<Counts>) -> Self {
        counts.reads.fetch_add(missing, Ordering::Relaxed);
        let state = State { answers: answers.into(), missing, reads: missing, ..State::default() };
        Self { state: Mutex::new(state), done: Condvar::new(), counts: Arc::clone(counts) }
    }

    /// Takes the answers that there are; whether there are none to come.
    pub fn take(&self) -> (Vec<Answered>, bool) {
        let mut state = self.state.lock();
        let answers: Vec<Answered> = state.answers.drain(..).collect();
        let done = state.missing == 0;
        let bytes = std::mem::take(&mut state.bytes);
        let reads = state.reads - state.missing;
        state.reads = state.missing;
        self.counts.release(reads, bytes);
        (answers, done)
    }

    /// Whether every answer is there.
    pub fn is_complete(&self) -> bool {
        self.state.lock().missing == 0
    }

    /// Waits until every answer is there.
    pub fn wait(&self) {
        let mut state = self.state.lock();
        while state.missing > 0 {
            self.done.wait(&mut state);
        }
    }

    /// Has `callback` called when every answer is there: at once if they are.
    pub fn on_complete(&self, callback: Callback) {
        let mut state = self.state.lock();
        if state.missing > 0 {
            state.callback = Some(callback);
            return;
        }
        drop(state);
        callback();
    }

    /// Nobody will take the answers.
    pub fn abandon(&self) {
        self.state.lock().abandoned = true;
        self.take();
    }

    fn land(&self, answer: Answered) {
        let mut state = self.state.lock();
        state.missing -= 1;
        if state.abandoned {
            state.reads -= 1;
            self.counts.release(1, 0);
        } else {
            let bytes = answer.bytes();
            state.bytes += bytes;
            self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
            state.answers.push_back(answer);
        }
        if state.missing > 0 {
            return;
        }
        let callback = state.callback.take();
        self.done.notify_all();
        drop(state);
        if let Some(callback) = callback {
            // A host's panic is the host's: it must not take the thread along that all stores read by.
            drop(crate::error::catch(|| {
                callback();
                Ok(())
            }));
        }
    }
}

type Waiting = (Miss, Arc<Shared>);

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    running: bool,
}

/// A store's reads in flight.
#[derive(Debug, Default)]
pub struct Reads {
    line: Mutex<Line>,
    idle: Condvar,
    /// How much there is.
    pub counts: Arc<Counts>,
}

impl Reads {
    /// Hands lookups over.
    pub fn push(&self, store: &Arc<StoreInner>, misses: Vec<Miss>, batch: &Arc<Shared>) {
        let starts = {
            let mut line = self.line.lock();
            line.waiting.extend(misses.into_iter().map(|miss| (miss, Arc::clone(batch))));
            let starts = !line.running && !line.waiting.is_empty();
            line.running |= starts;
            starts
        };
        if starts {
            store.engine.inner.workers.read(store);
        }
    }

    /// Whether nothing waits for the disk.
    pub fn is_idle(&self) -> bool {
        !self.line.lock().running
    }

    /// Waits until nothing waits for the disk.
    pub fn wait_idle(&self) {
        let mut line = self.line.lock();
        while line.running {
            self.idle.wait(&mut line);
        }
    }
}

/// Takes what is in line to its end; on the engine's reading thread.
pub fn run(store: &Arc<StoreInner>) {
    let mut turn = Turn { store, under_way: HashMap::new(), next: 0 };
    let outcome = crate::error::catch(|| {
        let blocks_read = cold::run(&*store.storage, &mut turn, false);
        store.counts.blocks_read.fetch_add(blocks_read, Ordering::Relaxed);
        Ok(())
    });
    if let Err(error) = outcome {
        // Code of the host panicked (a merge operator): whoever waits learns of it.
        for (_, (miss, batch)) in turn.under_way.drain() {
            batch.land(failed(miss, &error));
        }
    }
    {
        let mut line = store.reads.line.lock();
        if line.waiting.is_empty() {
            line.running = false;
            store.reads.idle.notify_all();
            return;
        }
    }
    store.engine.inner.workers.read(store);
}

/// What is under way of one store's reads.
struct Turn<'a> {
    store: &'a Arc<StoreInner>,
    /// By name; the lookup itself is elsewhere meanwhile.
    under_way: HashMap<usize, (Pending, Arc<Shared>)>,
    next: usize,
}

/// A [`Miss`] without its lookup.
struct Pending {
    index: usize,
    def: Arc<StateDef>,
    above: Vec<Vec<u8>>,
    now_ms: u64,
}

fn failed(miss: Pending, error: &Error) -> Answered {
    Answered { index: miss.index, value: Err(error.clone()), def: miss.def, cold: None }
}

impl Lookups for Turn<'_> {
    fn next(&mut self) -> Option<ColdKey> {
        if self.next == A_TURN {
            return None;
        }
        let (Miss { index, def, above, now_ms, lookup }, batch) = self.store.reads.line.lock().waiting.pop_front()?;
        let name = self.next;
        self.next += 1;
        self.under_way.insert(name, (Pending { index, def, above, now_ms }, batch));
        Some((name, lookup))
    }

    fn done(&mut self, name: usize, outcome: Result<Lookup>) {
        let Some((miss, batch)) = self.under_way.remove(&name) else { return };
        let answer = match outcome {
            Err(error) => failed(miss, &error),
            // The operator is the host's code, and may panic.
            Ok(lookup) => match crate::error::catch(|| answer(&miss, lookup)) {
                Ok((value, cold)) => Answered { index: miss.index, value: Ok(value), def: miss.def, cold },
                Err(error) => failed(miss, &error),
            },
        };
        batch.land(answer);
    }
}

/// What a lookup came to, with what memory had on top.
fn answer(miss: &Pending, lookup: Lookup) -> Result<(Option<Vec<u8>>, Option<Cold>)> {
    let Pending { def, above, now_ms, .. } = miss;
    let (slice, sort_key, found) = lookup.into_parts();
    let Found { base, operands, expiry_ms, epoch } = found;
    let is_whole = def.kind == StateKind::Merging && operands.is_empty() && above.is_empty();
    if matches!(def.kind, StateKind::List | StateKind::Merging) && !is_whole {
        if base.is_none() && operands.is_empty() && above.is_empty() {
            return Ok((None, None));
        }
        let operands = operands.iter().rev().chain(above).map(Vec::as_slice);
        let value = def.fold_within(base.as_deref(), operands, *now_ms, VALUE_BYTES_MAX)?;
        let gone = def.kind == StateKind::List && value.is_empty();
        return Ok(((!gone).then_some(value), None));
    }
    let cold = base.is_some().then(|| Cold { state: def.id, sort_key, slice, expiry_ms, epoch: epoch.0 });
    Ok((base, cold))
}
