//! Writing: claiming a shard, admission, and making room when memory is out.
//!
//! Every operation of a writer runs inside its shard's gate. One that finds no memory has changed nothing; the writer
//! makes room (evicts what is clean, spills what is dirty), leaves the gate while it waits for the flush, and tries
//! again.

use crate::changelog::buffer::{FULL_BYTES as LOG_BYTES_FULL, HELD_BYTES_MAX as LOG_BYTES_MAX};
use crate::error::{Error, Result};
use crate::flush::Job;
use crate::hot::{OutOfMemory, Probe};
use crate::ids::{KeyGroup, KeyGroupRange};
use crate::metrics::OperationKind;
use crate::platform::arena::CHUNK_BYTES;
use crate::platform::sync::gate::{CellBorrow, CellGuard, GatedCell, OwnerToken};
use crate::platform::threads;
use crate::shard::{Core, Shard};
use crate::states::StateDef;
use crate::store::{State, StoreInner};
use crate::writer::Writer;
use std::ops::DerefMut;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Why an operation stopped half-way, having changed nothing.
#[derive(Debug)]
pub enum Halt {
    /// No memory.
    Memory(OutOfMemory),
    /// Anything else.
    Error(Error),
}

impl From<OutOfMemory> for Halt {
    fn from(out: OutOfMemory) -> Self {
        Self::Memory(out)
    }
}

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// How often an operation tries to make room before it gives up.
const ATTEMPTS: u32 = 200;
/// From this attempt on whole chunks are emptied.
const CHUNKS_AT: u32 = 4;
/// How long to wait for readers before looking again.
const READERS_PAUSE: Duration = Duration::from_millis(1);
/// From this attempt on everything that is on disk leaves memory.
const EVERYTHING_AT: u32 = 7;
/// Operations between two looks at how much memory is left.
const TICKS: u64 = 64;
/// How many flushes of another shard are waited for to take memory from it.
const TAKES: u32 = 8;
/// Chunks in which free blocks are joined at an attempt, doubled by each: to go through one takes 10 to 100 µs.
const JOINED_CHUNKS: usize = 2;
/// Memory that grew by so many times what is free since the last cut is about to run out.
const GROWN_SHARE: usize = 2;
/// What eviction frees at once when memory runs low, in bytes.
const EVICT_BYTES: usize = 128 << 10;
/// How far the clock's hand goes for it between two looks: past so many empty tables, or a 64th as many pages.
const EVICT_STEPS: usize = 1 << 16;

/// Claims a range of a store's key groups for a writer.
pub(crate) fn claim(store: &Arc<StoreInner>, range: KeyGroupRange) -> Result<Writer> {
    store.check_cut()?;
    if !store.info.range.covers(range) {
        let of = store.info.range;
        let outside = if of.contains(KeyGroup(range.first())) { range.last() } else { range.first() };
        return Err(Error::OutsideRange { group: KeyGroup(outside), range: of });
    }
    let claims = store.claims.lock();
    let overlapping: Vec<Arc<Shard>> =
        store.shards.lock().iter().filter(|shard| shard.range.intersect(range).is_some()).cloned().collect();
    if let Some(shard) = overlapping.iter().find(|shard| shard.range == range) {
        let token = GatedCell::claim(&shard.cell).ok_or(Error::RangeClaimed { range })?;
        return Ok(Writer::new(store, shard, token));
    }
    // Shards cut otherwise: their writers are gone, so their state goes to disk and they go.
    let mut tokens = Vec::with_capacity(overlapping.len());
    for shard in &overlapping {
        tokens.push(GatedCell::claim(&shard.cell).ok_or(Error::RangeClaimed { range })?);
    }
    for (shard, token) in overlapping.iter().zip(&mut tokens) {
        if token.enter().hot.has_staged() {
            return Err(Error::Busy { problem: "a transaction is open in these key groups" });
        }
        if store.replay.has_waiting(shard.range) {
            return Err(Error::Busy { problem: "key groups that are cut otherwise are still being replayed" });
        }
        drain(store, shard, token)?;
    }
    // A commit is of all shards that there are by then, and of no epoch that begins meanwhile.
    let sealing = store.queue.sealing.lock();
    store.check()?;
    let states = store.states.read();
    let version = store.version.lock();
    let mut shards = store.shards.lock();
    for (shard, token) in overlapping.iter().zip(&mut tokens) {
        shard.leave();
        let mut departed = store.counts.departed.lock();
        let mut core = token.enter();
        // Before whoever writes these key groups next appends anything.
        store.log.append(|empty| core.take_log(empty));
        departed.owner.add(&core.counts);
        departed.copies += core.hot.copies;
        departed.latency.iter_mut().zip(&shard.latency).for_each(|(sum, latency)| latency.add_to(sum));
    }
    shards.retain(|shard| !overlapping.iter().any(|gone| Arc::ptr_eq(gone, shard)));
    let fresh_memory = || store.fresh_memory();
    let shard = store.new_shard(range, fresh_memory(), Arc::clone(&version));
    let empty = version.slices.iter().all(|slice| slice.layers.is_empty());
    let mut token = GatedCell::claim(&shard.cell).ok_or(Error::RangeClaimed { range })?;
    for def in states.iter() {
        // A state that was registered after the store was opened can be on disk once a shard of this store spilled it.
        let on_disk = !empty && (usize::from(def.id.0) < store.restored_states || store.has_flushed());
        // By its owner: borrowing would wait for the kernel where the process has just begun.
        shard.add_state_inside(&mut token.enter(), on_disk);
    }
    shards.push(Arc::clone(&shard));
    drop((shards, version, states, sealing));
    // Outside the locks that readers take: it waits for those that are inside.
    tokens.iter_mut().for_each(|token| token.enter().hot.abandon(fresh_memory()));
    drop(claims);
    Ok(Writer::new(store, &shard, token))
}

/// Flushes everything of a shard that is about to go.
fn drain(store: &Arc<StoreInner>, shard: &Arc<Shard>, token: &mut OwnerToken<Core>) -> Result<()> {
    loop {
        let seen = shard.progress();
        let sealing = store.queue.sealing.lock();
        // Of a store that failed nothing comes to its end; one that is closed has waited for all that was cut off.
        store.check()?;
        let mut core = token.enter();
        core.settle(shard);
        if !core.hot.is_dirty() && core.hot.in_flight() == 0 {
            return Ok(());
        }
        if let Some(sealed) = core.hot.seal(store.next_epoch()) {
            store.queue.push(store, Job::spill(vec![(Arc::clone(shard), sealed)]));
        }
        drop(core);
        drop(sealing);
        store.engine.hurry(|| shard.wait(seen));
        store.check()?;
        store.trouble.lock().clone().map_or(Ok(()), Err)?;
    }
}

/// Fails where more is staged than the store's options allow. One operation may go beyond that, and what is written as a whole is one.
#[inline]
pub(crate) fn check_staged(store: &StoreInner, token: &mut OwnerToken<Core>) -> Result<()> {
    let max_bytes = store.options.staged_bytes_max;
    // What is replayed is committed already.
    if max_bytes == usize::MAX || store.replay.is_active() {
        return Ok(());
    }
    let core = token.enter();
    let bytes = core.hot.staged_bytes();
    if bytes < max_bytes || core.in_event { Ok(()) } else { Err(Error::Staged { bytes, max_bytes }) }
}

/// Runs an operation in the shard's gate, making room and trying again when memory is out.
#[inline(always)]
pub(crate) fn run<R>(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    token: &mut OwnerToken<Core>,
    kind: OperationKind,
    mut operation: impl FnMut(&mut Core) -> Result<R, Halt>,
) -> Result<R> {
    let mut core = token.enter();
    core.counts.operations += 1;
    if core.counts.operations.is_multiple_of(TICKS) || core.is_unsettled(shard) {
        drop(core);
        return run_with_care(store, shard, token, kind, operation);
    }
    let out = match operation(&mut core) {
        Ok(value) => return Ok(value),
        Err(Halt::Error(error)) => return Err(error),
        Err(Halt::Memory(out)) => out,
    };
    let aborts = core.hot.aborts();
    core.hot.open_steps();
    drop(core);
    run_again(store, shard, token, operation, (out, aborts))
}

/// Goes into the gate for an operation that neither has to look at what changes slowly nor is to be timed.
#[inline(always)]
pub(crate) fn enter_quickly<'a>(shard: &Shard, token: &'a mut OwnerToken<Core>) -> Option<CellGuard<'a, Core>> {
    let core = token.enter();
    (!wants_care(shard, &core)).then_some(core)
}

/// Whether the next operation has to look at what changes slowly, or is to be timed; asked inside the gate.
#[inline(always)]
pub(crate) fn wants_care(shard: &Shard, core: &Core) -> bool {
    (core.counts.operations + 1).is_multiple_of(TICKS) || core.is_unsettled(shard)
}

/// How many operations can be done at once by who has come in so, before one is to look at what changes slowly.
#[inline]
pub(crate) const fn quick_operations_left(counted: u64) -> usize {
    (TICKS - 1 - counted % TICKS) as usize
}

/// Every so many operations: looks at what changes slowly, and times the operation.
#[cold]
#[inline(never)]
fn run_with_care<R>(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    token: &mut OwnerToken<Core>,
    kind: OperationKind,
    mut operation: impl FnMut(&mut Core) -> Result<R, Halt>,
) -> Result<R> {
    if store.closed.load(Ordering::Relaxed) {
        return Err(Error::Closed);
    }
    if store.log.is_on() {
        move_log(store, token)?;
    }
    let mut core = token.enter();
    let started = core.counts.operations.is_multiple_of(TICKS).then(threads::now);
    core.answer_call();
    core.settle(shard);
    if started.is_some() {
        relieve(store, shard, &mut core);
    }
    let outcome = operation(&mut core);
    let aborts = core.hot.aborts();
    if matches!(outcome, Err(Halt::Memory(_))) {
        core.hot.open_steps();
    }
    drop(core);
    let outcome = match outcome {
        Ok(value) => Ok(value),
        Err(Halt::Error(error)) => Err(error),
        Err(Halt::Memory(out)) => run_again(store, shard, token, operation, (out, aborts)),
    };
    if let Some(started) = started {
        shard.latency[kind as usize].record(u64::try_from(threads::since(started).as_nanos()).unwrap_or(u64::MAX));
    }
    outcome
}

/// Moves what was appended to the changelog on, where it is time to. The writer waits where the disk takes less than it writes. The
/// caller is outside the gate.
fn move_log(store: &Arc<StoreInner>, token: &mut OwnerToken<Core>) -> Result<()> {
    let bytes = {
        let core = token.enter();
        // What an event changed is moved on with its record.
        if core.in_event { 0 } else { core.log.as_ref().map_or(0, |log| log.len()) }
    };
    if bytes < LOG_BYTES_FULL {
        return Ok(());
    }
    if store.log.is_behind() {
        store.check()?;
        store.engine.log(store);
        store.engine.hurry(|| store.log.catch_up())?;
    }
    // A cut that is under way takes it along, or is waiting for the disk.
    let sealing = if bytes < LOG_BYTES_MAX { store.queue.sealing.try_lock() } else { Some(store.queue.sealing.lock()) };
    if sealing.is_some() && store.log.append(|empty| token.enter().take_log(empty)) {
        store.engine.log(store);
    }
    Ok(())
}

/// Makes room and tries the operation again, until it has found memory, or there is none. It is between two steps since it has halted.
#[cold]
#[inline(never)]
fn run_again<R>(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    token: &mut OwnerToken<Core>,
    operation: impl FnMut(&mut Core) -> Result<R, Halt>,
    out: (OutOfMemory, u64),
) -> Result<R> {
    /// Ends the steps, also where the host's code panics in one.
    struct Steps<'a> {
        token: &'a mut OwnerToken<Core>,
    }
    impl Drop for Steps<'_> {
        fn drop(&mut self) {
            let mut core = self.token.enter();
            core.hot.close_steps();
            // What was left to do may have been done in another way, as memory no longer had what it began with.
            core.hot.set_unfinished(false);
        }
    }
    let steps = Steps { token };
    try_again(store, shard, steps.token, operation, out)
}

/// How somebody comes into a shard's gate.
trait Entrance {
    type Inside<'a>: DerefMut<Target = Core>
    where
        Self: 'a;

    fn enter(&mut self) -> Self::Inside<'_>;
}

impl Entrance for OwnerToken<Core> {
    type Inside<'a> = CellGuard<'a, Core>;

    fn enter(&mut self) -> CellGuard<'_, Core> {
        Self::enter(self)
    }
}

/// Of anybody, beside the owner or without one.
impl Entrance for &GatedCell<Core> {
    type Inside<'a>
        = CellBorrow<'a, Core>
    where
        Self: 'a;

    fn enter(&mut self) -> CellBorrow<'_, Core> {
        (**self).borrow()
    }
}

/// Runs something in the gate of a shard for somebody who isn't its owner, making room and trying again when memory is out.
pub(crate) fn run_beside<R>(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    mut operation: impl FnMut(&mut Core) -> Result<R, Halt>,
) -> Result<R> {
    let mut cell = &*shard.cell;
    let mut core = cell.borrow();
    core.settle(shard);
    relieve(store, shard, &mut core);
    let out = match operation(&mut core) {
        Ok(value) => return Ok(value),
        Err(Halt::Error(error)) => return Err(error),
        Err(Halt::Memory(out)) => out,
    };
    let aborts = core.hot.aborts();
    drop(core);
    try_again(store, shard, &mut cell, operation, (out, aborts))
}

fn try_again<R>(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    token: &mut impl Entrance,
    mut operation: impl FnMut(&mut Core) -> Result<R, Halt>,
    (mut out, aborts): (OutOfMemory, u64),
) -> Result<R> {
    let mut before = Room::Made;
    for attempt in 1..=ATTEMPTS {
        let started = threads::now();
        let owed = attempt < CHUNKS_AT && store.share.is_owed(out.bytes.next_multiple_of(CHUNK_BYTES));
        let room = if owed && reclaim_elsewhere(store, shard, (out.bytes, 0)) {
            Room::Made
        } else {
            let mut core = token.enter();
            let seen = shard.progress();
            // What ended before `seen` was read is visible now; what ends later moves the progress on.
            core.settle(shard);
            let room = make_room(store, shard, &mut core, out, attempt);
            let wanted = (out.bytes, core.hot.memory.floor_bytes(out.bytes));
            drop(core);
            // Until everything was asked of this shard, it may have more to give than it gave. And what readers had kept may have come free
            // while the last of it was asked for, so it is tried once more.
            let gives_up = attempt > EVERYTHING_AT && before == Room::Elsewhere;
            await_room(store, shard, room, seen, wanted, gives_up)?;
            room
        };
        before = room;
        let mut core = token.enter();
        core.settle(shard);
        check_aborts(&core, aborts)?;
        if room == Room::Wait {
            core.counts.stalls += 1;
            core.counts.stall_ns += threads::since(started).as_nanos() as u64;
        }
        match operation(&mut core) {
            Ok(value) => return Ok(value),
            Err(Halt::Error(error)) => return Err(error),
            Err(Halt::Memory(again)) => out = again,
        }
    }
    Err(Error::Budget { bytes: out.bytes, budget_bytes: store.memory_room().0 })
}

/// Fails where a transaction was undone meanwhile: what the operation has read, and perhaps begun to write, was undone
/// with it.
pub(crate) fn check_aborts(core: &Core, before: u64) -> Result<()> {
    if core.hot.aborts() == before {
        return Ok(());
    }
    Err(Error::Busy { problem: "a transaction was undone in the middle of the operation" })
}

/// The same where what was read is a table's own: also where that was rolled back meanwhile.
pub(crate) fn check_undone(core: &Core, probe: &Probe<'_>, before: u64) -> Result<()> {
    if core.hot.undone(probe.state, probe.group) == before {
        return Ok(());
    }
    Err(Error::Busy {
        problem: "a transaction was undone, or the key group rolled back, in the middle of the operation",
    })
}

/// Waits for what [`make_room`] set going, outside the gate. Wanted are so many bytes, and so many that they leave to others.
fn await_room(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    room: Room,
    seen: u64,
    wanted: (usize, usize),
    gives_up: bool,
) -> Result<()> {
    store.check_cut()?;
    match room {
        Room::Made => Ok(()),
        Room::Wait => {
            store.engine.hurry(|| shard.wait(seen));
            store.check()?;
            // A full disk: the caller learns of it and can go on reading. What was cut off stays in line.
            store.trouble.lock().clone().map_or(Ok(()), Err)
        }
        Room::Barrier => {
            // Until it is cut. It takes what changed here along.
            drop(store.queue.sealing.lock());
            Ok(())
        }
        Room::Readers => {
            // One that another thread has the processor of holds what was freed since, so all that there is before long.
            if !reclaim_elsewhere(store, shard, wanted) {
                store.engine.hurry(|| threads::sleep(READERS_PAUSE));
            }
            Ok(())
        }
        Room::Elsewhere => {
            if reclaim_elsewhere(store, shard, wanted) || !gives_up {
                return Ok(());
            }
            Err(Error::Budget { bytes: wanted.0, budget_bytes: store.memory_room().0 })
        }
    }
}

/// What became of an attempt to make room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Room {
    /// Memory was freed here.
    Made,
    /// A flush is on its way.
    Wait,
    /// A barrier is being cut: nothing can be spilled meanwhile.
    Barrier,
    /// This shard has nothing left to give but what readers may be looking at.
    Readers,
    /// This shard has nothing left to give.
    Elsewhere,
}

/// Looks at how much memory is left, and evicts or spills before it runs out.
#[cold]
fn relieve(store: &Arc<StoreInner>, shard: &Arc<Shard>, core: &mut Core) {
    let (budget_bytes, used_bytes, free_bytes) = store.memory_room();
    let low = budget_bytes / 10;
    // A state that goes on growing so is spilled while there is room to go on meanwhile; one that fits waits for its checkpoint.
    // Of what is free its own part counts, as other shards grow as well.
    let own_free_bytes = || (free_bytes as u128 * core.hot.held_bytes() as u128 / used_bytes.max(1) as u128) as usize;
    let is_growing =
        || free_bytes < budget_bytes / GROWN_SHARE && core.hot.grown_bytes() / GROWN_SHARE > own_free_bytes();
    if store.share.is_below_minimum() || (free_bytes >= low && !is_growing()) {
        return;
    }
    core.hot.memory.set_floor();
    let dirty = core.hot.dirty_bytes();
    // The budget was lowered: what is clean goes by whole chunks, what is dirty is made clean first.
    let over = used_bytes.saturating_sub(budget_bytes);
    if over > 0 && core.hot.unflushed_bytes() <= core.hot.held_bytes() / 2 {
        core.hot.give_back(over.div_ceil(CHUNK_BYTES));
    }
    if core.hot.in_flight() == 0 && dirty > core.hot.held_bytes() / if over > 0 { 8 } else { 4 } {
        spill(store, shard, core);
    }
    if free_bytes >= low {
        return;
    }
    let slack = core.hot.memory.held_bytes().saturating_sub(core.hot.memory.used_bytes());
    if slack < low / 2 && core.hot.memory.held_bytes() > low {
        core.counts.evicted_bytes += core.hot.evict_within(EVICT_STEPS, EVICT_BYTES) as u64;
    }
}

/// What became of an attempt to spill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Spill {
    /// A flush is on its way.
    Begun,
    /// A barrier is being cut, which may be waiting for our gate.
    Barrier,
    /// Nothing changed since the last flush.
    Nothing,
}

/// Cuts the current epoch off and has it flushed without a manifest.
fn spill(store: &Arc<StoreInner>, shard: &Arc<Shard>, core: &mut Core) -> Spill {
    if !core.hot.is_dirty() && !core.hot.has_staged() {
        return Spill::Nothing;
    }
    let Some(_sealing) = store.queue.sealing.try_lock() else { return Spill::Barrier };
    if store.check_cut().is_err() {
        return Spill::Nothing;
    }
    // What is staged comes after what is committed: that has to be on disk before.
    let next = store.next_epoch();
    let sealed = if core.hot.is_dirty() { core.hot.seal(next) } else { core.hot.seal_staged(next) };
    let Some(sealed) = sealed else { return Spill::Nothing };
    tracing::debug!(epoch = sealed.epoch, bytes = sealed.dirty_bytes, "spill");
    store.queue.push(store, Job::spill(vec![(Arc::clone(shard), sealed)]));
    Spill::Begun
}

fn make_room(store: &Arc<StoreInner>, shard: &Arc<Shard>, core: &mut Core, out: OutOfMemory, attempt: u32) -> Room {
    // What was cut off first, as far as it helps: it may be very much.
    let wanted = (out.bytes * 2).max(EVICT_BYTES);
    if core.hot.free_cuts(wanted) && attempt < CHUNKS_AT {
        return Room::Made;
    }
    while core.hot.has_chores() {
        core.hot.work();
    }
    // The budget may have become smaller than what the last one left to the index.
    core.hot.memory.set_floor();
    if core.hot.give_back_empty() > 0 {
        return Room::Made;
    }
    // A budget that was lowered: what is above it goes first, or blocks that come free would be used again for ever.
    let (budget_bytes, used_bytes, _) = store.memory_room();
    let over = used_bytes.saturating_sub(budget_bytes);
    if over > 0 {
        core.hot.give_back(over.div_ceil(CHUNK_BYTES));
    }
    if has_given_back_for_far(core) {
        return Room::Made;
    }
    // Blocks come free here and there. If that doesn't help, more do, and neighbours are joined; to empty whole chunks
    // is the last resort, as it takes a sweep over all tables.
    let wanted = ((out.bytes * 2).max(EVICT_BYTES) << (attempt - 1).min(5)).min(core.hot.memory.held_bytes() / 4);
    let block_bytes = core.hot.memory.take_missed_bytes();
    let evicted = if attempt > 1 && attempt < CHUNKS_AT && block_bytes > 0 {
        let alike = core.hot.evict_blocks(EVICT_STEPS, wanted, block_bytes);
        // There may be none of that size.
        alike + if alike < wanted { core.hot.evict(wanted - alike) } else { 0 }
    } else {
        core.hot.evict(wanted)
    };
    core.counts.evicted_bytes += evicted as u64;
    if attempt > 1 {
        core.hot.memory.records().coalesce(JOINED_CHUNKS << attempt.min(5));
    }
    if attempt < CHUNKS_AT && evicted >= wanted {
        return Room::Made;
    }
    let mut freed = false;
    let mostly_dirty = core.hot.unflushed_bytes() > core.hot.held_bytes() / 8;
    if attempt >= CHUNKS_AT || !mostly_dirty {
        let chunks = if attempt < EVERYTHING_AT { out.bytes.div_ceil(CHUNK_BYTES) + 1 } else { usize::MAX };
        let held = core.hot.memory.held_bytes();
        core.hot.give_back(chunks);
        freed = core.hot.memory.held_bytes() < held;
        // What was freed may be too little each time anew: an operation that needs a chunk for a record and one for the
        // index takes the first, and gives it back when it doesn't get the second. So what is dirty has to go as well.
        if freed && attempt < EVERYTHING_AT {
            return Room::Made;
        }
    }
    if core.hot.in_flight() > 0 {
        return Room::Wait;
    }
    match spill(store, shard, core) {
        Spill::Begun => Room::Wait,
        Spill::Barrier => Room::Barrier,
        Spill::Nothing if freed && attempt < 2 * EVERYTHING_AT => Room::Made,
        Spill::Nothing if evicted > 0 && attempt <= EVERYTHING_AT => Room::Made,
        Spill::Nothing if core.hot.memory.awaits_readers() => Room::Readers,
        Spill::Nothing => Room::Elsewhere,
    }
}

/// Whether whole chunks were given back for what is put far, if that is what found no room: most of it comes back with its flush. Where
/// much is dirty, that is flushed instead.
fn has_given_back_for_far(core: &mut Core) -> bool {
    let far_bytes = core.hot.take_missed_far();
    if far_bytes == 0 || core.hot.unflushed_bytes() > core.hot.held_bytes() / 4 {
        return false;
    }
    let held = core.hot.memory.held_bytes();
    core.hot.give_back(far_bytes.div_ceil(CHUNK_BYTES));
    core.hot.memory.held_bytes() < held
}

/// Takes memory from the engine's other shards, whose writers may be idle: what is clean goes, what is dirty is
/// spilled. Wanted are so many bytes, and so many that they leave to others. The caller is outside every gate. False where nobody has
/// anything to give.
fn reclaim_elsewhere(store: &Arc<StoreInner>, own: &Arc<Shard>, (bytes, floor_bytes): (usize, usize)) -> bool {
    let chunks = bytes.div_ceil(CHUNK_BYTES) + 8;
    let mut shards: Vec<(usize, Arc<StoreInner>, Arc<Shard>)> = Vec::new();
    // Closed ones have given up theirs, and their directories.
    let is_of_help = |other: &&Arc<StoreInner>| {
        let bytes = bytes.next_multiple_of(CHUNK_BYTES);
        other.check_open().is_ok() && store.share.is_helped_by(&other.share, bytes, floor_bytes)
    };
    for other in store.engine.stores().iter().filter(is_of_help) {
        for shard in other.shards.lock().iter().filter(|shard| !Arc::ptr_eq(shard, own)) {
            let held = shard.cell.borrow().hot.held_bytes();
            shards.push((held, Arc::clone(other), Arc::clone(shard)));
        }
    }
    shards.sort_by_key(|&(held, ..)| std::cmp::Reverse(held));
    for (_, other, shard) in shards {
        if take_from(&other, &shard, bytes, chunks) {
            return true;
        }
    }
    false
}

/// Takes memory from one shard; false where it has none to give. Whatever keeps its store from spilling is its own
/// trouble, and not the caller's.
fn take_from(store: &Arc<StoreInner>, shard: &Arc<Shard>, bytes: usize, chunks: usize) -> bool {
    for _ in 0..TAKES {
        let seen = shard.progress();
        let mut core = shard.cell.borrow();
        let held = core.hot.held_bytes();
        core.settle(shard);
        // Of what was cut off no more than helps: its owner may be waiting.
        while !core.hot.free_cuts(bytes.max(EVICT_BYTES)) && core.hot.has_chores() {
            core.hot.work();
        }
        // Long values have chunks of their own, which eviction gives back at once.
        core.hot.evict(bytes.max(EVICT_BYTES));
        core.hot.give_back(chunks);
        if core.hot.held_bytes() < held {
            return true;
        }
        if store.check().is_err() || store.trouble.lock().is_some() {
            return false;
        }
        let spilled = if core.hot.in_flight() > 0 { Spill::Begun } else { spill(store, shard, &mut core) };
        if spilled == Spill::Nothing {
            // All is clean: it goes, down to what lies in chunks that others keep busy.
            core.hot.give_back(usize::MAX);
            return core.hot.held_bytes() < held;
        }
        drop(core);
        if spilled == Spill::Barrier {
            drop(store.queue.sealing.lock());
            continue;
        }
        store.engine.hurry(|| shard.wait(seen));
    }
    false
}

/// What quick paths there are to a state's values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum QuickState {
    /// None: it isn't a value state, or its values expire.
    None,
    /// To values of 8 bytes; it is tried first, as it is the shortest.
    Words,
    /// To values of any length, of which the last one that was changed didn't have 8 bytes.
    Bytes,
}

/// A writer's copies of the states' definitions, and the number of the registration that they are as of.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    defs: Vec<Arc<StateDef>>,
    /// What is known of each for the quick paths.
    quick: Vec<QuickState>,
    number: u64,
}

impl Definitions {
    /// The definition of a state.
    #[inline]
    pub fn get(&mut self, store: &StoreInner, state: State) -> Result<&StateDef> {
        if self.number != store.states_number.load(Ordering::Acquire) {
            self.renew(store);
        }
        match self.defs.get(usize::from(state.0.0)) {
            Some(def) => Ok(def),
            None => Err(unknown(state)),
        }
    }

    /// The definition of a state, to be kept.
    pub fn shared(&mut self, store: &StoreInner, state: State) -> Result<Arc<StateDef>> {
        self.get(store, state)?;
        self.defs.get(usize::from(state.0.0)).cloned().ok_or_else(|| unknown(state))
    }

    #[inline(always)]
    fn quick(&self, store: &StoreInner, state: State) -> QuickState {
        if self.number != store.states_number.load(Ordering::Acquire) {
            return QuickState::None;
        }
        self.quick.get(usize::from(state.0.0)).copied().unwrap_or(QuickState::None)
    }

    /// Whether it is known to be a value state whose values don't expire.
    #[inline(always)]
    pub fn is_plain(&self, store: &StoreInner, state: State) -> bool {
        self.quick(store, state) != QuickState::None
    }

    /// The same, and its values may be of 8 bytes.
    #[inline(always)]
    pub fn has_words(&self, store: &StoreInner, state: State) -> bool {
        self.quick(store, state) == QuickState::Words
    }

    /// Notes of a state that is plain how long the last of its values was that was changed.
    #[inline]
    pub fn note_length(&mut self, state: State, bytes: usize) {
        if let Some(quick) = self.quick.get_mut(usize::from(state.0.0)) {
            *quick = if bytes == 8 { QuickState::Words } else { QuickState::Bytes };
        }
    }

    /// A host may bring a merge operator, or another time to live, after the writer was made.
    #[cold]
    fn renew(&mut self, store: &StoreInner) {
        let states = store.states.read();
        self.number = store.states_number.load(Ordering::Acquire);
        self.defs.clone_from(&states);
        let quick = |def: &Arc<StateDef>| if def.is_plain() { QuickState::Words } else { QuickState::None };
        self.quick = states.iter().map(quick).collect();
    }
}

#[cold]
fn unknown(state: State) -> Error {
    Error::State { state: format!("number {}", state.0.0), problem: "not a state of this store".into() }
}
