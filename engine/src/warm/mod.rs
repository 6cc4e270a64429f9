//! Warming up: records that are likely to be wanted come into memory before somebody waits for them.
//!
//! ```text
//! keys       those of events that wait to be processed, as the host names them ([`Store::warm`](crate::Store::warm))
//! hot list   what was used most before a crash, hottest first, by sequential reads       (`list`, written by `collect`)
//! declared   states and key groups in the order that the host gave                       (`declared`)
//! fitting    all that there is, where memory has room for it
//! ```
//!
//! One thread of the engine does all of it, in this order of urgency, a few milliseconds of one store at a time. It holds a shard for some
//! microseconds at once, and no reader or writer ever waits for it: who misses something reads it, at once and himself. What memory has is
//! never replaced, so what was written meanwhile wins; and a value that was read is kept only while the shard still looks at the very slice
//! that it was read from: what was written, flushed and evicted since is in another. Where memory runs low warming up ends. Nothing here
//! can fail an operation: what can't be read is left to who needs it.

mod bring;
mod collect;
mod declared;
mod heat;
mod keys;
mod keyset;
mod list;
mod runs;

use crate::error::catch;
use crate::hot_list::Stack;
use crate::ids::KeyGroupRange;
use crate::manifest::StateMap;
use crate::options::WarmUp;
use crate::platform::storage::names;
use crate::platform::threads::{self, Condvar, Mutex};
use crate::shard::Shard;
use crate::stack::{Layer, Slice};
use crate::store::StoreInner;
use collect::Collector;
use declared::Declared;
use heat::Heat;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use keys::Wanted;

/// How long it works for one store before it is the next one's turn.
const TURN: Duration = Duration::from_millis(5);
/// For so long after a store began to be opened what nobody asked for isn't brought: the first answers have the disk for themselves.
const FIRST_ANSWERS: Duration = Duration::from_millis(20);
/// So many keys of a host wait at most; more are passed over.
pub const KEYS_MAX: usize = 1 << 17;
/// A list is written anew when a store wrote so many times its bytes since: it adds at most a share of one in so many to what is written.
const LIST_SHARE: u64 = 8;

/// What became of keys that were to be warmed.
#[derive(Debug, Default)]
pub struct Progress {
    left: Mutex<usize>,
    done: Condvar,
    brought: AtomicU64,
}

impl Progress {
    /// Of so many keys.
    pub fn of(keys: usize) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(keys), ..Self::default() })
    }

    fn finish(&self, keys: usize, brought: u64) {
        self.brought.fetch_add(brought, Ordering::Relaxed);
        let mut left = self.left.lock();
        *left = left.saturating_sub(keys);
        if *left == 0 {
            self.done.notify_all();
        }
    }

    /// Whether all of them were seen to.
    pub fn is_done(&self) -> bool {
        *self.left.lock() == 0
    }

    /// Waits until all of them were seen to.
    pub fn wait(&self) {
        let mut left = self.left.lock();
        while *left > 0 {
            self.done.wait(&mut left);
        }
    }

    /// How many of them were brought into memory.
    pub fn brought(&self) -> u64 {
        self.brought.load(Ordering::Relaxed)
    }
}

/// What a store's warming up counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Bytes and records that there are to be gone through.
    pub bytes: AtomicU64,
    /// See `bytes`.
    pub records: AtomicU64,
    /// Of those, bytes that were gone through.
    pub done_bytes: AtomicU64,
    /// Records that were.
    pub done_records: AtomicU64,
    /// Records that were brought into memory, also for keys of the host.
    pub brought: AtomicU64,
    /// Their keys and values, in bytes.
    pub brought_bytes: AtomicU64,
    /// Bytes of the hot lists that were written.
    pub list_bytes: AtomicU64,
    /// How long warming up has worked, in ns.
    pub worked_ns: AtomicU64,
}

impl Counts {
    fn brought(&self, records: u64, bytes: u64) {
        self.brought.fetch_add(records, Ordering::Relaxed);
        self.brought_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn passed(&self, records: u64, bytes: u64) {
        self.done_records.fetch_add(records, Ordering::Relaxed);
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Line {
    running: bool,
    keys: VecDeque<(Vec<Wanted>, Arc<Progress>)>,
    keys_waiting: usize,
    /// Claimed, and not warmed up yet.
    claimed: Vec<KeyGroupRange>,
    /// Not claimed since the store was opened.
    unclaimed: Vec<KeyGroupRange>,
    list_is_due: bool,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.claimed.is_empty() && !self.list_is_due
    }
}

/// A pass through what a range is warmed up with.
#[derive(Debug)]
enum Pass {
    List(list::Pass),
    Declared(Declared),
}

/// What the thread is at.
#[derive(Debug, Default)]
struct Work {
    pass: Option<Pass>,
    collector: Option<Collector>,
    heat: Heat,
    list: Option<Arc<crate::hot_list::List>>,
}

/// A store's warming up.
#[derive(Debug)]
pub struct Warm {
    line: Mutex<Line>,
    idle: Condvar,
    work: Mutex<Work>,
    /// See there.
    pub counts: Counts,
    /// Nothing of a pass is left, nor will be: all was claimed and gone through, or memory was full.
    complete: AtomicBool,
    opened: Instant,
    /// The hot lists in the directory, ascending.
    lists: Mutex<Vec<u64>>,
    next_list: AtomicU64,
    /// How long the last list was, in bytes, and what the store had written when it was begun; none yet where that is `None`.
    last_list: Mutex<Option<(u64, u64)>>,
}

impl Warm {
    /// What a store begins with that began to be opened at `opened`, has a range of key groups and these hot lists, and is new or not.
    pub fn new(warm_up: &WarmUp, range: KeyGroupRange, files: &[String], is_new: bool, opened: Instant) -> Self {
        let mut lists: Vec<u64> = files.iter().filter_map(|name| names::parse_hot_list_name(name)).collect();
        lists.sort_unstable();
        let next_list = lists.last().map_or(1, |last| last.wrapping_add(1));
        let warms = match warm_up {
            WarmUp::Nothing => false,
            WarmUp::Fitting => !is_new,
            WarmUp::Hottest => !lists.is_empty(),
            WarmUp::Declared(_) => true,
        };
        let unclaimed = if warms { vec![range] } else { Vec::new() };
        Self {
            line: Mutex::new(Line { unclaimed, ..Line::default() }),
            idle: Condvar::new(),
            work: Mutex::default(),
            counts: Counts::default(),
            complete: AtomicBool::new(!warms),
            opened,
            lists: Mutex::new(lists),
            next_list: AtomicU64::new(next_list),
            last_list: Mutex::new(None),
        }
    }

    /// Whether all that was to be warmed up is, as far as there was room.
    pub fn is_complete(&self) -> bool {
        // Acquire pairs with the Release where it is set: who sees it sees the counts.
        self.complete.load(Ordering::Acquire)
    }

    /// How long ago the store began to be opened.
    pub fn since_opened(&self) -> Duration {
        threads::since(self.opened)
    }

    /// Waits until the thread is at nothing of the store. Where the store is closed nothing comes after that.
    pub fn wait_idle(&self) {
        let mut line = self.line.lock();
        while line.running {
            self.idle.wait(&mut line);
        }
    }

    fn add(store: &Arc<StoreInner>, add: impl FnOnce(&mut Line)) {
        let starts = {
            let mut line = store.warm.line.lock();
            add(&mut line);
            let starts = !line.running && !line.is_empty();
            line.running |= starts;
            starts
        };
        if starts {
            store.engine.inner.workers.warm(store);
        }
    }
}

/// A range was claimed, and nothing of it is to be replayed: it is warmed up, if it wasn't yet.
pub(crate) fn claimed(store: &Arc<StoreInner>, range: KeyGroupRange) {
    if store.warm.is_complete() {
        return;
    }
    Warm::add(store, |line| {
        let mut left = Vec::new();
        for piece in std::mem::take(&mut line.unclaimed) {
            let Some(shared) = piece.intersect(range) else {
                left.push(piece);
                continue;
            };
            line.claimed.push(shared);
            if piece.first() < shared.first() {
                left.push(KeyGroupRange::new(piece.first(), shared.first() - 1));
            }
            if shared.last() < piece.last() {
                left.push(KeyGroupRange::new(shared.last() + 1, piece.last()));
            }
        }
        line.unclaimed = left;
    });
}

/// Has keys brought into memory that the host is about to ask for; says how many there was room for.
pub(crate) fn keys(store: &Arc<StoreInner>, mut wanted: Vec<Wanted>) -> (Arc<Progress>, usize) {
    let (mut progress, mut keys) = (Progress::of(0), 0);
    Warm::add(store, |line| {
        wanted.truncate(KEYS_MAX.saturating_sub(line.keys_waiting));
        keys = wanted.len();
        progress = Progress::of(keys);
        if keys > 0 {
            // They are taken from the end.
            wanted.reverse();
            line.keys_waiting += keys;
            line.keys.push_back((wanted, Arc::clone(&progress)));
        }
    });
    (progress, keys)
}

/// A checkpoint is complete: perhaps the hot list is to be written anew.
pub(crate) fn checkpointed(store: &Arc<StoreInner>) {
    if !store.warm.is_complete() {
        return;
    }
    if store.options.hot_list_bytes == 0 {
        // One that nobody goes on with is of no use to anybody.
        for number in std::mem::take(&mut *store.warm.lists.lock()) {
            if let Err(error) = store.storage.remove(&names::hot_list_name(number)) {
                tracing::warn!(%error, "a hot list could not be removed");
            }
        }
        return;
    }
    let is_due = {
        let mut last = store.warm.last_list.lock();
        let (bytes, at) = last.get_or_insert_with(|| (newest_list_bytes(store), 0));
        written(store).saturating_sub(*at) >= bytes.saturating_mul(LIST_SHARE)
    };
    if is_due {
        Warm::add(store, |line| line.list_is_due = true);
    }
}

fn newest_list_bytes(store: &StoreInner) -> u64 {
    let Some(&number) = store.warm.lists.lock().last() else { return 0 };
    store.storage.open(&names::hot_list_name(number)).map_or(0, |file| file.len())
}

/// What a store has written to segments since it was opened, in bytes.
fn written(store: &StoreInner) -> u64 {
    store.counts.flushed_bytes.load(Ordering::Relaxed) + store.counts.compacted_bytes.load(Ordering::Relaxed)
}

/// Works for a store for a moment; on the engine's thread for that. Whether there is more.
pub(crate) fn run(store: &Arc<StoreInner>) -> bool {
    // The last hold of a store that was let go of without being closed is ours.
    let is_wanted = store.check().is_ok() && Arc::strong_count(store) > 1;
    let more = is_wanted
        && catch(|| Ok(turn(store))).unwrap_or_else(|error| {
            tracing::warn!(%error, "warming up was given up");
            give_up(store);
            false
        });
    if !is_wanted {
        give_up(store);
    }
    let mut line = store.warm.line.lock();
    if is_wanted && (more || !line.is_empty()) {
        return true;
    }
    // What came just now of a store that is closed is nobody's any more.
    let keys = std::mem::take(&mut line.keys);
    line.running = false;
    drop(line);
    store.warm.idle.notify_all();
    finish_all(&keys);
    false
}

fn finish_all(keys: &VecDeque<(Vec<Wanted>, Arc<Progress>)>) {
    keys.iter().for_each(|(wanted, progress)| progress.finish(wanted.len(), 0));
}

/// Leaves everything as it is, for good.
pub(crate) fn leave(store: &StoreInner) {
    give_up(store);
    store.warm.line.lock().running = false;
    store.warm.idle.notify_all();
}

/// Leaves everything as it is; who waits for keys goes on.
fn give_up(store: &StoreInner) {
    *store.warm.work.lock() = Work::default();
    store.warm.complete.store(true, Ordering::Release);
    let mut line = store.warm.line.lock();
    let keys = std::mem::take(&mut *line).keys;
    line.running = true;
    drop(line);
    finish_all(&keys);
}

/// Does what is most urgent; whether there is more.
fn turn(store: &Arc<StoreInner>) -> bool {
    let until = threads::now() + TURN;
    let more = warm_keys(store, until);
    let mut work = store.warm.work.lock();
    if more || threads::now() >= until {
        return true;
    }
    if work.pass.is_none() {
        work.pass = next_pass(store, &mut work.list);
    }
    if let Some(pass) = &mut work.pass {
        let started = threads::now();
        let more = match pass {
            Pass::List(pass) => pass.go_on(store, until),
            Pass::Declared(pass) => pass.go_on(store, until),
        };
        let worked_ns = u64::try_from(threads::since(started).as_nanos()).unwrap_or(u64::MAX);
        store.warm.counts.worked_ns.fetch_add(worked_ns, Ordering::Relaxed);
        if more {
            return true;
        }
        work.pass = None;
    }
    let line = store.warm.line.lock();
    if !line.claimed.is_empty() {
        return true;
    }
    if line.unclaimed.is_empty() && !store.warm.is_complete() {
        work.list = None;
        store.warm.complete.store(true, Ordering::Release);
    }
    drop(line);
    write_list(store, &mut work, until)
}

/// Memory is as full as warming up may make it: what is left is colder than what is there.
fn is_full(store: &StoreInner) {
    let mut line = store.warm.line.lock();
    line.claimed.clear();
    line.unclaimed.clear();
}

/// Brings the keys that the host named first; whether there are more.
fn warm_keys(store: &Arc<StoreInner>, until: Instant) -> bool {
    loop {
        let (some, progress) = {
            let mut line = store.warm.line.lock();
            let Some((wanted, progress)) = line.keys.front_mut() else { return false };
            let some = wanted.split_off(wanted.len().saturating_sub(keys::AT_ONCE));
            let progress = Arc::clone(progress);
            if wanted.is_empty() {
                line.keys.pop_front();
            }
            line.keys_waiting -= some.len();
            (some, progress)
        };
        let keys = some.len();
        // Whoever waits goes on, also where an operator of the host panics.
        let brought = catch(|| Ok(keys::look_up(store, some, true).brought)).unwrap_or(0);
        progress.finish(keys, brought);
        if threads::now() >= until {
            return true;
        }
    }
}

/// The pass through what the ranges are warmed up with that were claimed.
fn next_pass(store: &Arc<StoreInner>, list: &mut Option<Arc<crate::hot_list::List>>) -> Option<Pass> {
    let ranges = std::mem::take(&mut store.warm.line.lock().claimed);
    if ranges.is_empty() {
        return None;
    }
    match &store.options.warm_up {
        WarmUp::Nothing => None,
        WarmUp::Fitting if bring::all_fits(store, &ranges) => {
            threads::sleep(FIRST_ANSWERS.saturating_sub(store.warm.since_opened()));
            Some(Pass::Declared(Declared::everything(store, &ranges)))
        }
        WarmUp::Fitting | WarmUp::Hottest => {
            if list.is_none() {
                *list = list::newest(store);
            }
            Some(Pass::List(list::Pass::new(list.as_ref()?, ranges)))
        }
        WarmUp::Declared(parts) => Some(Pass::Declared(Declared::new(store, parts, &ranges))),
    }
}

/// Goes on with the hot list, if it is being written or due.
fn write_list(store: &Arc<StoreInner>, work: &mut Work, until: Instant) -> bool {
    if work.collector.is_none() && std::mem::take(&mut store.warm.line.lock().list_is_due) {
        let bytes = store.warm.last_list.lock().map_or(0, |(bytes, _)| bytes);
        *store.warm.last_list.lock() = Some((bytes, written(store)));
        work.heat.begin(store);
        work.collector = Some(Collector::new(store));
    }
    let Some(collector) = &mut work.collector else { return false };
    match collector.go_on(store, &mut work.heat, until) {
        Ok(true) => true,
        Ok(false) => {
            work.collector = None;
            false
        }
        Err(error) => {
            tracing::warn!(%error, "the hot list was not written");
            work.collector = None;
            false
        }
    }
}

/// Whether nothing of a slice has to be waited for until a host brings it: nobody's reads are asked of a host before those that somebody waits for,
/// and the thread is that of all stores.
fn is_at_hand(store: &StoreInner, slice: &Slice) -> bool {
    store.fetches.is_none() || slice.layers.iter().all(|layer| layer.segment.is_here())
}

/// The place of the shard that a key group belongs to now.
fn shard_of(shards: &[Arc<Shard>], group: u16) -> Option<usize> {
    shards.iter().position(|shard| shard.range.contains(crate::ids::KeyGroup(group)) && !shard.is_gone())
}

/// What identifies a stack: equal stacks hold the same.
fn stack_of(layers: &[Layer]) -> Stack {
    let mut bytes = Vec::with_capacity(layers.len() * 24);
    for layer in layers {
        bytes.extend_from_slice(&layer.segment.id().0.to_le_bytes());
        match &*layer.map {
            StateMap::Identity => bytes.push(0),
            StateMap::Pairs(pairs) => {
                bytes.push(1);
                bytes.extend_from_slice(&(pairs.len() as u32).to_le_bytes());
                for (from, to) in pairs {
                    bytes.extend_from_slice(&from.0.to_le_bytes());
                    bytes.extend_from_slice(&to.0.to_le_bytes());
                }
            }
        }
        // Values of older schemas, and what they have yet to go through.
        let older = layer.older.as_ref().map_or(&[][..], |older| older.states());
        bytes.extend_from_slice(&(older.len() as u32).to_le_bytes());
        for (state, conversions) in older {
            bytes.extend_from_slice(&state.0.to_le_bytes());
            bytes.extend_from_slice(&(conversions.len() as u32).to_le_bytes());
            for name in conversions.iter().map(|conversion| conversion.name()) {
                bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
                bytes.extend_from_slice(name.as_bytes());
            }
        }
    }
    Stack { layers: layers.len() as u32, digest: crate::checksum::digest(&bytes) }
}

#[cfg(test)]
mod tests;
