//! Flushing: sealed epochs to one segment, and the segment into the stacks.
//!
//! A job names what was cut off, shard by shard. Jobs of a store run one after another, so epochs reach the disk in
//! order. A job that fails for want of room stays first in line: nothing is lost, and it is tried again.

use crate::checkpoint::{self, Request};
use crate::compact::hidden::{self, CONTAINERS_MAX};
use crate::error::{Class, Error, Result};
use crate::hot::dirty::DirtyList;
use crate::hot::record::{BASE, CHAIN, DEAD, ENTRY, ENTRY_TOMBSTONE, EXPIRY, Record, TOMBSTONE, VALUE};
use crate::hot::{FarMap, FarWalk, Sealed, compare_containers};
use crate::ids::{Epoch, KeyGroup, StateId};
use crate::key::{Key, VALUE_BYTES_MAX, prefix_of, push_entry_key, push_sort_key, sort_prefix};
use crate::options::Durability;
use crate::platform::arena::{Arena, Ref};
use crate::platform::threads::{self, Condvar, Mutex};
use crate::reclaim;
use crate::segment::{Entry, Kind, SegmentMeta, SegmentOptions, SegmentWriter};
use crate::shard::Shard;
use crate::spans;
use crate::stack::{LazySegment, Version};
use crate::states::{StateDef, StateKind};
use crate::store::StoreInner;
use crate::worker::{Pace, Task};
use std::cmp::Ordering as Order;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// How many tables' lists are copied while a shard is borrowed.
const LISTS_AT_ONCE: usize = 64;
/// After how many records a flush looks whether it may go on at once.
const RECORDS_A_LOOK: usize = 256;
/// How long a job that found no room on the disk waits before it is tried again.
const RETRY_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// What was cut off together.
#[derive(Debug)]
pub struct Job {
    /// The epochs, by shard.
    pub shards: Vec<(Arc<Shard>, Sealed)>,
    /// The checkpoint that they complete, if any.
    pub request: Option<Request>,
    /// The snapshot that they complete, if any.
    pub snapshot: Option<Arc<Taking>>,
    /// Of a transactional store, what was committed when they were cut.
    pub _cut: Option<Cut>,
    /// The last rollback before they were cut.
    pub rollback: u64,
}

/// Where a cut divides what was committed from what was not. As long as it lives nothing is merged across it: the checkpoint or
/// snapshot that was cut there is told apart by the epochs of segments.
#[derive(Debug)]
pub struct Cut {
    store: Weak<StoreInner>,
    epoch: u32,
}

impl Cut {
    /// At the last commit, if the store is transactional; the caller holds [`Queue::sealing`], as a commit does.
    pub fn new(store: &Arc<StoreInner>) -> Option<Self> {
        if !store.options.transactional {
            return None;
        }
        let epoch = store.committed_epoch();
        store.cuts.lock().push(epoch);
        Some(Self { store: Arc::downgrade(store), epoch })
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        let Some(store) = self.store.upgrade() else { return };
        let mut cuts = store.cuts.lock();
        if let Some(at) = cuts.iter().position(|&epoch| epoch == self.epoch) {
            cuts.swap_remove(at);
        }
    }
}

impl Job {
    /// What was cut off of some shards to free memory, or because nothing else leads to it any more.
    pub fn spill(shards: Vec<(Arc<Shard>, Sealed)>) -> Self {
        Self { shards, request: None, snapshot: None, _cut: None, rollback: 0 }
    }

    /// Whoever waits for its checkpoint or its snapshot learns that it failed.
    fn fail(&mut self, error: &Error) {
        if let Some(request) = self.request.take() {
            request.fail(error);
        }
        if let Some(snapshot) = self.snapshot.take() {
            snapshot.finish(Err(error.clone()));
        }
    }
}

/// A snapshot that is being taken: the arrangement of segments that has all that was cut off for it, and nothing later.
#[derive(Debug)]
pub struct Taking {
    /// What is of later epochs wasn't committed.
    up_to: u32,
    outcome: Mutex<Option<Result<Arc<Version>>>>,
    done: Condvar,
}

impl Taking {
    /// One that is to have what was committed up to an epoch.
    pub fn up_to(epoch: u32) -> Self {
        Self { up_to: epoch, outcome: Mutex::default(), done: Condvar::new() }
    }

    /// One that is taken already.
    pub fn of(version: Arc<Version>) -> Self {
        Self { up_to: u32::MAX, outcome: Mutex::new(Some(Ok(version))), done: Condvar::new() }
    }

    fn finish(&self, outcome: Result<Arc<Version>>) {
        self.outcome.lock().get_or_insert(outcome);
        self.done.notify_all();
    }

    /// The arrangement, if it is there by now.
    pub fn poll(&self) -> Option<Result<Arc<Version>>> {
        self.outcome.lock().clone()
    }

    /// Waits for it.
    pub fn wait(&self) -> Result<Arc<Version>> {
        let mut outcome = self.outcome.lock();
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            self.done.wait(&mut outcome);
        }
    }
}

#[derive(Debug, Default)]
struct Line {
    jobs: VecDeque<Job>,
    running: bool,
    /// What nothing needs any more is to be deleted, before the next job: it may be what the disk is full of.
    untidy: bool,
}

/// A store's jobs.
#[derive(Debug, Default)]
pub struct Queue {
    line: Mutex<Line>,
    idle: Condvar,
    /// Held from the first cut of a barrier to the queueing of its job, so that jobs queue in the order of epochs.
    pub sealing: Mutex<()>,
    /// How many keep events from beginning.
    held_off: AtomicUsize,
}

/// Events that are known by their ids are kept from beginning, as long as it lives.
#[derive(Debug)]
pub struct HeldOff<'a>(&'a AtomicUsize);

impl Drop for HeldOff<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    /// Keeps events from beginning. An owner learns of it once its gate was borrowed since, which orders the two, and so this is Relaxed.
    pub fn hold_events_off(&self) -> HeldOff<'_> {
        self.held_off.fetch_add(1, Ordering::Relaxed);
        HeldOff(&self.held_off)
    }

    /// Whether somebody does; looked at inside the owner's gate.
    #[inline]
    pub fn holds_events_off(&self) -> bool {
        self.held_off.load(Ordering::Relaxed) > 0
    }

    /// Adds a job; the caller holds [`Queue::sealing`].
    pub fn push(&self, store: &Arc<StoreInner>, mut job: Job) {
        job.rollback = store.rollbacks.lock().last();
        let mut line = self.line.lock();
        line.jobs.push_back(job);
        if !line.running {
            line.running = true;
            store.engine.submit(Task::Flush(Arc::clone(store)));
        }
    }

    /// Has what nothing needs any more deleted in the background.
    pub fn tidy_up(&self, store: &Arc<StoreInner>) -> Result<()> {
        let mut line = self.line.lock();
        // Under the lock: closing waits for this line to be idle.
        store.check_open()?;
        line.untidy = true;
        if !line.running {
            line.running = true;
            store.engine.submit(Task::Flush(Arc::clone(store)));
        }
        Ok(())
    }

    /// Forgets the rollbacks that nothing in line was cut off before.
    pub fn forget_rollbacks(&self, store: &StoreInner) {
        let line = self.line.lock();
        if !line.running {
            store.rollbacks.lock().forget(u64::MAX);
        }
    }

    /// Whether no job is left.
    pub fn is_idle(&self) -> bool {
        !self.line.lock().running
    }

    /// Puts a job that found no room back in front. The checkpoints behind it fail as its own did: who waits for them
    /// would wait for room. Their changes stay in line.
    fn put_back(&self, job: Job, error: &Error) {
        let mut line = self.line.lock();
        for behind in &mut line.jobs {
            behind.fail(error);
        }
        line.jobs.push_front(job);
    }

    /// Takes a spill of what a shard has staged, above the epoch `committed`, out of the line, unless it is just being run: it
    /// may be one that finds no room.
    pub fn withdraw(&self, shard: &Arc<Shard>, committed: u32) -> Option<Job> {
        let mut line = self.line.lock();
        let is_it = |job: &Job| {
            let is_of = |(of, sealed): &(Arc<Shard>, Sealed)| Arc::ptr_eq(of, shard) && sealed.epoch > committed;
            job.request.is_none() && job.snapshot.is_none() && job.shards.iter().all(is_of) && !job.shards.is_empty()
        };
        let at = line.jobs.iter().position(is_it)?;
        line.jobs.remove(at)
    }

    /// As if a flush ran that never ends: jobs stay in line. One that runs is let end first, as it would take the line along.
    #[cfg(test)]
    pub fn hold(&self) {
        let mut line = self.line.lock();
        while line.running {
            self.idle.wait(&mut line);
        }
        line.running = true;
    }

    /// Waits until no job is left.
    pub fn wait_idle(&self) {
        let mut line = self.line.lock();
        while line.running {
            self.idle.wait(&mut line);
        }
    }
}

/// Runs the first job in line.
pub fn run_next(store: &Arc<StoreInner>) {
    let (untidy, job) = {
        let mut line = store.queue.line.lock();
        (std::mem::take(&mut line.untidy), line.jobs.pop_front())
    };
    if untidy {
        reclaim::run(store);
    }
    if let Some(job) = job {
        run_job(store, job);
    }
    let mut line = store.queue.line.lock();
    store.rollbacks.lock().forget(line.jobs.front().map_or(u64::MAX, |next| next.rollback));
    if line.jobs.is_empty() && !line.untidy {
        line.running = false;
        store.queue.idle.notify_all();
    } else {
        store.engine.submit(Task::Flush(Arc::clone(store)));
    }
}

fn run_job(store: &Arc<StoreInner>, mut job: Job) {
    let shards: Vec<Arc<Shard>> = job.shards.iter().map(|(shard, _)| Arc::clone(shard)).collect();
    let outcome = crate::error::catch(|| run(store, &mut job));
    let mut again = false;
    if let Err(error) = outcome {
        job.fail(&error);
        let closed = store.closed.load(Ordering::Acquire);
        if error.class() == Class::Retry && !closed {
            store.queue.put_back(job, &error);
            *store.trouble.lock() = Some(error);
            again = true;
        } else {
            store.fail(&error);
        }
    } else {
        *store.trouble.lock() = None;
    }
    for shard in shards {
        shard.signal();
    }
    // After the view is published: whoever says so later sees that view.
    if store.clearing.lock().resumes() {
        store.engine.submit(Task::Clear(Arc::clone(store)));
    }
    if again {
        threads::sleep(RETRY_PAUSE);
    }
}

fn run(store: &Arc<StoreInner>, job: &mut Job) -> Result<()> {
    if let Some(error) = store.failure.lock().clone() {
        return Err(error);
    }
    let started = threads::now();
    if !job.shards.is_empty() {
        let (written, cleared) = write_segment(store, job)?;
        install(store, job, written, &cleared);
        // What was cut is on disk now; if the checkpoint below fails, it joins the next one. Who waits for memory need not
        // wait for that.
        job.shards.drain(..).for_each(|(shard, _)| shard.signal());
    }
    if let Some(snapshot) = job.snapshot.take() {
        // Before the next job: what it flushes was written later.
        let version = store.version_before(job.rollback);
        snapshot.finish(Ok(Version::up_to(&version, snapshot.up_to)));
    }
    tracing::debug!(elapsed_ns = threads::since(started).as_nanos() as u64, "flushed");
    if job.request.is_some() {
        match crate::compact::gather(store, job.rollback) {
            // A full disk: then it has more files.
            Err(error) if error.class() == Class::Retry => tracing::warn!(%error, "gathering was left out"),
            outcome => outcome?,
        }
    }
    if let Some(request) = job.request.take() {
        complete(store, request, job.rollback)?;
    }
    crate::compact::consider(store);
    Ok(())
}

/// Completes a checkpoint, which may build on one that nobody has synced yet.
fn complete(store: &Arc<StoreInner>, request: Request, rollback: u64) -> Result<()> {
    if let Err(error) = store.unsynced.sync(&*store.storage) {
        let error = Error::from(error);
        request.fail(&error);
        return if error.class() == Class::Retry { Ok(()) } else { Err(error) };
    }
    match checkpoint::complete(store, request, rollback) {
        // Nothing was written: it is what the checkpoint was to carry, and the next one may carry something else.
        Err(Error::Checkpoint { .. }) => Ok(()),
        outcome => outcome,
    }
}

/// Writes everything that the job names into one segment. `None` where all of it died before it was cut off.
fn write_segment(store: &Arc<StoreInner>, job: &mut Job) -> Result<(Option<SegmentMeta>, Containers)> {
    job.shards.sort_by_key(|(shard, _)| shard.range.first());
    let states = store.states.read().clone();
    let lists: Vec<Lists> = job.shards.iter().map(|(shard, sealed)| lists_of(shard, sealed)).collect();
    let listed: usize = lists.iter().flatten().map(|list| list.filter_keys(&states)).sum();
    let expected = listed + job.shards.iter().map(|(_, sealed)| sealed.far.filter_keys()).sum::<usize>();
    let epochs = job.shards.iter().map(|(_, sealed)| sealed.epoch);
    let (low, high) = epochs.fold((u32::MAX, 0), |(low, high), epoch| (low.min(epoch), high.max(epoch)));
    let options = SegmentOptions {
        compress: store.options.compress,
        hash_seed: store.info.hash_seed,
        level: 0,
        epochs: (Epoch(low), Epoch(high)),
        expected_entries: (expected + 16) as u64,
        ..SegmentOptions::default()
    };
    let mut writer = SegmentWriter::create(&*store.storage, store.next_segment(), options)?;
    let mut pace = Pace::new(&store.engine.inner.workers);
    // Memory is short where no checkpoint was asked for.
    let may_wait = job.request.is_some() || job.snapshot.is_some();
    let mut rest = || {
        pace.rest(|| may_wait);
    };
    let mut cleared = Containers::new();
    for ((shard, sealed), lists) in job.shards.iter().zip(&lists) {
        cleared.append(&mut write_shard(store, (shard, sealed), lists, &states, &mut writer, &mut rest)?);
    }
    let durable = store.options.durability != Durability::Host;
    let Some((meta, bytes)) = writer.finish(durable)? else { return Ok((None, cleared)) };
    let counts = &store.counts;
    counts.flushes.fetch_add(1, Ordering::Relaxed);
    counts.spills.fetch_add(u64::from(job.request.is_none()), Ordering::Relaxed);
    counts.flushed_bytes.fetch_add(bytes, Ordering::Relaxed);
    counts.flushed_logical_bytes.fetch_add(meta.logical_bytes, Ordering::Relaxed);
    tracing::debug!(segment = %meta.id, bytes, entries = meta.entries, "flush");
    Ok((Some(meta), cleared))
}

/// The sort keys of maps of which something is cleared; not of all where there are very many.
type Containers = Vec<Vec<u8>>;

/// What changed in one table: the table's state and key group, and the list.
struct TableList {
    state: u16,
    group: u16,
    list: DirtyList,
}

type Lists = Vec<TableList>;

impl TableList {
    /// At most how many keys a filter holds of it: each entry of a map may come with its container's.
    fn filter_keys(&self, states: &[Arc<StateDef>]) -> usize {
        let is_map = states.get(usize::from(self.state)).is_some_and(|def| def.kind == StateKind::Map);
        self.list.len() * if is_map { 2 } else { 1 }
    }
}

/// What changed in a shard, in the order of a segment.
fn lists_of(shard: &Shard, sealed: &Sealed) -> Lists {
    let mut lists = Vec::with_capacity(sealed.tables.len());
    while lists.len() < sealed.tables.len() {
        // Borrowed for a moment only: the owner goes on between two batches.
        let some = shard.cell.borrow().hot.sealed_lists(sealed, lists.len(), LISTS_AT_ONCE);
        lists.extend(some.into_iter().map(|(state, group, list)| TableList { state, group, list }));
    }
    lists.sort_unstable_by_key(|list| (list.group, list.state));
    lists
}

fn write_shard(
    store: &StoreInner,
    (shard, sealed): (&Shard, &Sealed),
    lists: &[TableList],
    states: &[Arc<StateDef>],
    writer: &mut SegmentWriter<'_>,
    rest: &mut impl FnMut(),
) -> Result<Containers> {
    let (arena, commits) = (&*store.engine.inner.arena, store.options.transactional);
    let mut emitter =
        Emitter { arena, commits, sealed, key: Vec::new(), items: Vec::new(), cleared: Vec::new(), charged: 0 };
    let mut far = sealed.far.by_table();
    for TableList { state, group, list } in lists {
        let Some(def) = states.get(usize::from(*state)) else { continue };
        let far = FarWalk::new(far.remove(&(*state, *group)).unwrap_or_default());
        let group = KeyGroup(shard.range.first() + group);
        emitter.table(def, group, (list, far), writer, rest)?;
    }
    Ok(std::mem::take(&mut emitter.cleared))
}

/// A record to be written, with what it is sorted by.
#[derive(Clone, Copy)]
struct Item {
    /// For maps: twice the container's rank among the table's, plus 1 for entries.
    rank: u32,
    prefix: u64,
    at: Ref,
}

struct Emitter<'a> {
    arena: &'a Arena,
    /// Whether one key may have several versions, of commits one after the other.
    commits: bool,
    /// The epoch, with what was cut off when it was sealed: it was gone by then.
    sealed: &'a Sealed,
    key: Vec<u8>,
    items: Vec<Item>,
    cleared: Containers,
    charged: usize,
}

impl Drop for Emitter<'_> {
    fn drop(&mut self) {
        self.arena.uncharge(self.charged);
    }
}

fn compare_areas(arena: &Arena, a: Record, b: Record) -> Order {
    compare_containers(a.key_parts(arena), b.key_parts(arena))
}

/// How what was put far compares with a record of its table.
fn compare_far(arena: &Arena, (map, user_key): (&FarMap, &[u8]), record: Record) -> Order {
    let is_entry = matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE);
    let container = if is_entry { Record::load(arena, record.link(arena) as Ref) } else { record };
    // A container's own record comes before its entries.
    let entry = || if is_entry { user_key.cmp(record.area(arena)) } else { Order::Greater };
    compare_containers(map.parts(), container.key_parts(arena)).then_with(entry)
}

/// The order of two records' keys in one table.
fn compare_items(arena: &Arena, kind: StateKind, a: &Item, b: &Item) -> Order {
    a.rank.cmp(&b.rank).then(a.prefix.cmp(&b.prefix)).then_with(|| {
        let is_map = kind == StateKind::Map;
        if is_map && a.rank.is_multiple_of(2) {
            return Order::Equal;
        }
        let (a, b) = (Record::load(arena, a.at), Record::load(arena, b.at));
        if is_map { a.area(arena).cmp(b.area(arena)) } else { compare_areas(arena, a, b) }
    })
}

impl Emitter<'_> {
    fn table(
        &mut self,
        def: &StateDef,
        group: KeyGroup,
        (list, mut far): (&DirtyList, FarWalk<'_>),
        writer: &mut SegmentWriter<'_>,
        rest: &mut impl FnMut(),
    ) -> Result<()> {
        self.gather(def, list);
        let arena = self.arena;
        let mut index = 0;
        while index < self.items.len() {
            if let Some(ahead) = self.items.get(index + 8) {
                arena.prefetch(ahead.at);
            }
            if index % RECORDS_A_LOOK == 0 {
                rest();
            }
            let first = index;
            index += 1;
            while self.commits
                && index < self.items.len()
                && compare_items(arena, def.kind, &self.items[first], &self.items[index]) == Order::Equal
            {
                index += 1;
            }
            let newest = Record::load(arena, self.items[first].at);
            self.emit_far(def.id, group, &mut far, Some(newest), writer, rest)?;
            self.emit_newest(def, group, first..index, writer)?;
        }
        self.emit_far(def.id, group, &mut far, None, writer, rest)
    }

    /// Writes what was put far and comes before a record; all that is left, where there is none.
    fn emit_far(
        &mut self,
        state: StateId,
        group: KeyGroup,
        far: &mut FarWalk<'_>,
        record: Option<Record>,
        writer: &mut SegmentWriter<'_>,
        rest: &mut impl FnMut(),
    ) -> Result<()> {
        let mut written = 0_usize;
        while let Some((map, entry)) = far.peek() {
            match record.map_or(Order::Less, |record| compare_far(self.arena, (map, entry.user_key), record)) {
                Order::Greater => break,
                // The record is newer.
                Order::Equal => {}
                Order::Less => {
                    let (key, namespace) = map.parts();
                    self.key.clear();
                    push_entry_key(&mut self.key, state, Key { group, key, namespace }, entry.user_key);
                    writer.add(Entry { sort_key: &self.key, kind: Kind::Put, expiry_ms: None, value: entry.value })?;
                    written += 1;
                    if written.is_multiple_of(RECORDS_A_LOOK) {
                        rest();
                    }
                }
            }
            far.pass();
        }
        Ok(())
    }

    /// Gathers the records of a list, in the order in which they are written.
    fn gather(&mut self, def: &StateDef, list: &DirtyList) {
        self.items.clear();
        if self.items.capacity() < list.len() {
            self.items.reserve_exact(list.len());
            let bytes = self.items.capacity() * size_of::<Item>();
            self.arena.charge_forced(bytes - self.charged);
            self.charged = bytes;
        }
        let (arena, items) = (self.arena, &mut self.items);
        list.for_each(arena, |at| {
            arena.prefetch(at);
            items.push(Item { rank: 0, prefix: 0, at });
        });
        let cut_off = &self.sealed.cut_off;
        items.retain(|item| {
            let record = Record::load(arena, item.at);
            let is_entry = matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE);
            record.kind() != DEAD && !(is_entry && cut_off.has(record.link(arena), record.area(arena)))
        });
        if def.kind == StateKind::Map {
            self.rank_entries();
        } else {
            for item in &mut self.items {
                let record = Record::load(arena, item.at);
                item.prefix = sort_prefix(record.key_parts(arena).0);
            }
        }
        // Of one key's, the newest first: there are several where some were committed one after the other.
        self.items.sort_unstable_by(|a, b| {
            compare_items(arena, def.kind, a, b)
                .then_with(|| Record::load(arena, b.at).stamp(arena).cmp(&Record::load(arena, a.at).stamp(arena)))
        });
    }

    /// Writes what the versions of one key come to, which are all of them that were committed since the last flush.
    fn emit_newest(
        &mut self,
        def: &StateDef,
        group: KeyGroup,
        versions: std::ops::Range<usize>,
        writer: &mut SegmentWriter<'_>,
    ) -> Result<()> {
        let newest = Record::load(self.arena, self.items[versions.start].at);
        let is_part = |record: Record| record.kind() == CHAIN && !record.has(BASE);
        if versions.len() == 1 || !is_part(newest) {
            return self.emit(def.id, group, newest, def.kind, writer);
        }
        let (mut parts, mut base, mut whole) = (Vec::new(), None, false);
        for item in &self.items[versions] {
            let version = Record::load(self.arena, item.at);
            if is_part(version) {
                parts.push(sealed_value(self.arena, version));
                continue;
            }
            base = (version.kind() != TOMBSTONE).then(|| sealed_value(self.arena, version));
            whole = true;
            break;
        }
        // At time 0, when nothing has expired.
        let value = def.fold_within(base, parts.into_iter().rev(), 0, VALUE_BYTES_MAX)?;
        let (key, namespace) = newest.key_parts(self.arena);
        self.key.clear();
        push_sort_key(&mut self.key, def.id, Key { group, key, namespace });
        let kind = if whole { Kind::Put } else { Kind::Merge };
        writer.add(Entry { sort_key: &self.key, kind, expiry_ms: newest.expiry_ms(self.arena), value: &value })?;
        Ok(())
    }

    /// Ranks a map state's items by their containers' keys, and entries by their user keys' first bytes.
    fn rank_entries(&mut self) {
        let arena = self.arena;
        let container = |item: &Item| {
            let record = Record::load(arena, item.at);
            match record.kind() {
                ENTRY | ENTRY_TOMBSTONE => (record.link(arena) as Ref, Some(record)),
                _ => (item.at, None),
            }
        };
        let mut containers: Vec<Ref> = self.items.iter().map(|item| container(item).0).collect();
        containers.sort_unstable();
        containers.dedup();
        containers.sort_by(|&a, &b| compare_areas(arena, Record::load(arena, a), Record::load(arena, b)));
        let mut ranks = HashMap::with_capacity(containers.len());
        let mut rank = 0;
        for (index, &at) in containers.iter().enumerate() {
            // A container and the tombstone that clears it are two records with one key.
            let same = index > 0 && {
                let last = Record::load(arena, containers[index - 1]);
                compare_areas(arena, last, Record::load(arena, at)) == Order::Equal
            };
            rank += u32::from(!same);
            ranks.insert(at, rank);
        }
        for item in &mut self.items {
            let (at, entry) = container(item);
            let rank = ranks.get(&at).copied().unwrap_or(0);
            item.rank = rank * 2 + u32::from(entry.is_some());
            item.prefix = entry.map_or(0, |entry| prefix_of(entry.area(arena)));
        }
    }

    fn emit(
        &mut self,
        state: StateId,
        group: KeyGroup,
        record: Record,
        kind: StateKind,
        writer: &mut SegmentWriter<'_>,
    ) -> Result<()> {
        let arena = self.arena;
        let is_entry = matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE);
        let container = if is_entry { Record::load(arena, record.link(arena) as Ref) } else { record };
        let (key, namespace) = container.key_parts(arena);
        let key = Key { group, key, namespace };
        self.key.clear();
        if is_entry {
            push_entry_key(&mut self.key, state, key, record.area(arena));
        } else {
            push_sort_key(&mut self.key, state, key);
        }
        let written = match record.kind() {
            VALUE | ENTRY => Kind::Put,
            CHAIN if record.has(BASE) => Kind::Put,
            CHAIN => Kind::Merge,
            TOMBSTONE if kind == StateKind::Map => Kind::Clear,
            TOMBSTONE | ENTRY_TOMBSTONE => Kind::Delete,
            _ => return Ok(()),
        };
        let tombstone = written.is_tombstone();
        let clear;
        let value = match written {
            // What earlier epochs cleared is written by their own flushes: a later Clear would hide what was put after it.
            Kind::Clear => {
                match spans::clear_of_epochs(sealed_value(arena, record), self.sealed.after, self.sealed.epoch) {
                    Some(value) => {
                        if self.cleared.len() < CONTAINERS_MAX {
                            self.cleared.push(self.key.clone());
                        }
                        clear = value;
                        &clear
                    }
                    None => return Ok(()),
                }
            }
            Kind::Delete => &[][..],
            _ => sealed_value(arena, record),
        };
        let expiry_ms = if tombstone || !record.has(EXPIRY) { None } else { record.expiry_ms(arena) };
        writer.add(Entry { sort_key: &self.key, kind: written, expiry_ms, value })?;
        Ok(())
    }
}

#[expect(unsafe_code, reason = "reads records that the owner may not touch")]
fn sealed_value(arena: &Arena, record: Record) -> &[u8] {
    // SAFETY: the record's epoch is sealed and not flushed: the owner changes and frees nothing of it.
    unsafe { record.value(arena) }
}

/// Puts the segment on top of the stacks and moves the shards' flushed epochs on, in one step for each shard.
fn install(store: &Arc<StoreInner>, job: &Job, written: Option<SegmentMeta>, cleared: &[Vec<u8>]) {
    let states = store.states.read().len();
    let mut version = store.version.lock();
    let mut flushed = None;
    if let Some(meta) = written {
        let segment = Arc::new(LazySegment::new(&store.storage, &store.engine.inner.cache, Arc::new(meta)));
        let mut rollbacks = store.rollbacks.lock();
        *version = Arc::new(version.with_flushed_outside(&segment, &rollbacks.since(job.rollback), states));
        rollbacks.flushed(&segment, job.rollback, states);
        flushed = Some((segment, Arc::clone(&version)));
    }
    for shard in store.shards.lock().iter() {
        let flushed = job.shards.iter().find(|(of, _)| Arc::ptr_eq(of, shard)).map(|(_, sealed)| sealed.epoch);
        shard.publish(Arc::clone(&version), flushed);
    }
    drop(version);
    let Some((segment, version)) = flushed else { return };
    if version.segments().iter().all(|of| of.id() != segment.id()) {
        // All of it was rolled back meanwhile.
        reclaim::note(&mut store.catalogue.lock(), &[segment]);
        return;
    }
    if let Err(error) = hidden::note(store, &version, &segment, cleared) {
        // Only when it is merged depends on it. Whoever reads what is damaged learns of it.
        tracing::warn!(%error, "what deletions hide is not known");
    }
}
