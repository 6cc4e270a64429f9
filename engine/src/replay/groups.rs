//! Replaying key group by key group: who asks for one that wasn't replayed has that done first, and a thread of the engine does the others
//! meanwhile, the range of a writer at a time.
//!
//! A *pass* goes through the changelog once, and does the changes of some key groups again, each in the gate of their shard. Whoever has to
//! wait for a key group that a long pass is at takes it over: the pass hands it over at the next block, with how far it came, and the
//! other goes on from there.
//!
//! Invariants:
//! - a key group is replayed by one pass at a time, in the order of the changelog, up to a position that is known exactly;
//! - nobody reads or writes a key group before it was replayed: a writer's quick paths are closed as long as its shard has one that
//!   wasn't ([`Core::replaying`](crate::shard::Core)), and all others come through [`demand`];
//! - a shard isn't cut otherwise before all of it was replayed.

use super::check_host;
use super::pass::Pass;
use crate::changelog::Tail;
use crate::error::{Class, Error, Result, catch};
use crate::ids::{KeyGroup, KeyGroupRange};
use crate::platform::threads::{self, Condvar, Mutex};
use crate::shard::Shard;
use crate::store::StoreInner;
use crate::writer::Writer;
use crate::{warm, write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Who asks for a key group takes others along that have as many changes together, in bytes: going through the changelog takes longer.
const TAKEN_ALONG_BYTES: u64 = 1 << 20;
/// The more were asked for before the more are taken along, up to this share of the changelog: replaying that takes about as long as going
/// through all of it.
const TAKEN_ALONG_SHARE: u64 = 16;
/// Nothing is handed over by a pass that has no more than this before it, in bytes.
const NEAR_END_BYTES: u64 = 4 << 20;
/// How long the background waits before it looks again: for memory, for room on the disk, or for what others are at.
const PAUSE: Duration = Duration::from_millis(50);

/// The key groups of a store that are replayed one by one.
#[derive(Debug)]
pub(super) struct ByGroup {
    active: AtomicBool,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug)]
struct State {
    /// `None` once nothing is left to be done.
    tail: Option<Arc<Tail>>,
    range: KeyGroupRange,
    groups: Vec<Group>,
    /// How many passes are under way.
    passes: usize,
    /// How many of them are for a key group that somebody waits for.
    demands: usize,
    /// How many of those there were.
    demanded: u64,
    /// When the first began.
    began: Option<Instant>,
    /// Ranges that were claimed, and wait to be warmed up.
    claimed: Vec<KeyGroupRange>,
    /// Ranges that have a thread in the background.
    helped: Vec<KeyGroupRange>,
    closed: bool,
}

/// How far a key group is.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// Its changes before this position were done again.
    from: u64,
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// Nobody is at it.
    Waiting,
    /// A pass is at it.
    Running,
    /// The same, and somebody wants to have it first.
    Wanted,
    /// It was replayed.
    Done,
}

/// What somebody wants to have replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aim {
    /// This key group, as soon as can be.
    Group(KeyGroup),
    /// All of these.
    Range(KeyGroupRange),
}

/// What is next on the way to an aim.
enum Next {
    /// Nothing.
    Done,
    /// This key group waits.
    Waiting(KeyGroup),
    /// Others are at what is left.
    Others,
}

impl State {
    fn group(&mut self, group: u16) -> Option<&mut Group> {
        self.groups.get_mut(usize::from(group.checked_sub(self.range.first())?))
    }

    fn of(&self, range: KeyGroupRange) -> impl Iterator<Item = (KeyGroup, At)> + '_ {
        let all = self.range.iter().zip(&self.groups).map(|(group, state)| (group, state.at));
        all.filter(move |(group, _)| range.contains(*group))
    }

    fn is_done(&self, range: KeyGroupRange) -> bool {
        self.of(range).all(|(_, at)| at == At::Done)
    }

    fn next(&mut self, aim: Aim) -> Next {
        match aim {
            Aim::Group(group) => match self.group(group.0) {
                None | Some(Group { at: At::Done, .. }) => Next::Done,
                Some(Group { at: At::Waiting, .. }) => Next::Waiting(group),
                Some(group) => {
                    group.at = At::Wanted;
                    Next::Others
                }
            },
            Aim::Range(range) => match self.of(range).find(|(_, at)| *at == At::Waiting) {
                Some((group, _)) => Next::Waiting(group),
                None if self.is_done(range) => Next::Done,
                None => Next::Others,
            },
        }
    }
}

impl ByGroup {
    /// All key groups of a range; none where there is no tail.
    pub(super) fn new(tail: Option<Arc<Tail>>, range: KeyGroupRange) -> Self {
        let group = |tail: &Arc<Tail>| Group { from: tail.from, at: At::Waiting };
        let groups = tail.as_ref().map_or(Vec::new(), |tail| vec![group(tail); range.count()]);
        let active = AtomicBool::new(tail.is_some());
        let (claimed, helped) = (Vec::new(), Vec::new());
        let state = State {
            tail,
            range,
            groups,
            passes: 0,
            demands: 0,
            demanded: 0,
            began: None,
            claimed,
            helped,
            closed: false,
        };
        Self { active, state: Mutex::new(state), moved: Condvar::new() }
    }

    /// Whether something is still to be replayed.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        // Acquire pairs with the Release in `end`: who sees the end sees what was replayed.
        self.active.load(Ordering::Acquire)
    }

    /// Whether all of a range was replayed.
    pub(super) fn is_done(&self, range: KeyGroupRange) -> bool {
        self.state.lock().is_done(range)
    }

    /// Whether a range is warmed up when it was replayed.
    pub(super) fn put_off_warming(&self, range: KeyGroupRange) -> bool {
        let mut state = self.state.lock();
        let puts_off = !state.is_done(range);
        if puts_off {
            state.claimed.push(range);
        }
        puts_off
    }

    /// Waits for the passes that are under way; none begins after that.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.moved.notify_all();
        while state.passes > 0 {
            self.moved.wait(&mut state);
        }
    }

    /// What is next on the way to an aim.
    fn next(&self, aim: Aim) -> Next {
        self.state.lock().next(aim)
    }

    /// Waits until something came of what others are at.
    fn wait(&self, aim: Aim) {
        let mut state = self.state.lock();
        while !state.closed && matches!(state.next(aim), Next::Others) {
            self.moved.wait(&mut state);
        }
    }

    /// Begins with what waits of an aim in a shard, some others taken along; `None` where nothing does any more.
    fn begin(&self, aim: Aim, shard: &Arc<Shard>, is_long: bool) -> Option<Pass> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        let tail = Arc::clone(state.tail.as_ref()?);
        let mut pass = Pass::new(tail, shard, is_long);
        match aim {
            Aim::Range(range) => range.intersect(shard.range)?.iter().for_each(|group| state.take(&mut pass, group.0)),
            Aim::Group(group) => {
                state.take(&mut pass, group.0);
                // Those that come next.
                let bytes = pass.tail().bytes();
                let of_each = (bytes / state.range.count() as u64).max(1);
                let more = of_each.saturating_mul(state.demanded).min(bytes / TAKEN_ALONG_SHARE);
                let along = usize::try_from((TAKEN_ALONG_BYTES + more) / of_each).unwrap_or(usize::MAX);
                state.demanded += 1;
                if !pass.is_empty() {
                    let behind = group.0..=shard.range.last();
                    behind.skip(1).take(along).for_each(|group| state.take(&mut pass, group));
                }
            }
        }
        if pass.is_empty() {
            return None;
        }
        state.passes += 1;
        state.demands += usize::from(!is_long);
        state.began.get_or_insert_with(threads::now);
        Some(pass)
    }

    /// Waits as long as others are at key groups that somebody waits for: they would be kept out of the gate time and again.
    pub(super) fn give_way(&self) {
        let mut state = self.state.lock();
        while state.demands > 0 {
            self.moved.wait(&mut state);
        }
    }

    /// Hands over what others want to have first.
    pub(super) fn hand_over(&self, pass: &mut Pass, position: u64) {
        if pass.tail().to - position <= NEAR_END_BYTES {
            return;
        }
        let mut state = self.state.lock();
        let mut handed_over = false;
        for (group, from) in pass.groups() {
            if let Some(state) = state.group(group)
                && state.at == At::Wanted
            {
                *state = Group { from, at: At::Waiting };
                pass.leave(group);
                handed_over = true;
            }
        }
        if handed_over {
            self.moved.notify_all();
        }
    }
}

impl State {
    /// Takes a key group that waits into a pass.
    fn take(&mut self, pass: &mut Pass, group: u16) {
        if let Some(state) = self.group(group)
            && state.at == At::Waiting
        {
            state.at = At::Running;
            pass.take(group, state.from);
        }
    }
}

/// Sees to it that a key group was replayed. The caller is outside every gate.
#[cold]
#[inline(never)]
pub(super) fn demand(store: &Arc<StoreInner>, group: KeyGroup) -> Result<()> {
    reach(store, Aim::Group(group))
}

/// Sees to it that a range was replayed. The caller is outside every gate.
pub(super) fn complete(store: &Arc<StoreInner>, range: KeyGroupRange) -> Result<()> {
    reach(store, Aim::Range(range))
}

fn reach(store: &Arc<StoreInner>, aim: Aim) -> Result<()> {
    let by_group = &store.replay.by_group;
    loop {
        let waiting = match by_group.next(aim) {
            Next::Done => return Ok(()),
            Next::Waiting(group) => Some(group),
            Next::Others => None,
        };
        // What was replayed can be read whatever became of the rest.
        store.check()?;
        let Some(group) = waiting else {
            store.engine.hurry(|| by_group.wait(aim));
            continue;
        };
        if let Some(tail) = by_group.tail() {
            check_host(store, &tail)?;
        }
        let shard = shard_of(store, group)?;
        let Some(mut pass) = by_group.begin(aim, &shard, matches!(aim, Aim::Range(_))) else { continue };
        let outcome = catch(|| {
            while pass.step(store)? {}
            Ok(())
        });
        end(store, &pass, &outcome);
        outcome?;
    }
}

/// The shard of a key group; one is made where no writer was claimed yet.
fn shard_of(store: &Arc<StoreInner>, group: KeyGroup) -> Result<Arc<Shard>> {
    let find = || store.shards.lock().iter().find(|shard| shard.range.contains(group)).cloned();
    if let Some(shard) = find() {
        return Ok(shard);
    }
    let helping = store.replay.helping.lock();
    if let Some(shard) = find() {
        return Ok(shard);
    }
    let of = store.info.range;
    let others: Vec<KeyGroupRange> = store.shards.lock().iter().map(|shard| shard.range).collect();
    let before = others.iter().filter(|range| range.last() < group.0).map(|range| range.last() + 1).max();
    let behind = others.iter().filter(|range| range.first() > group.0).map(|range| range.first() - 1).min();
    let range = KeyGroupRange::new(before.unwrap_or(of.first()), behind.unwrap_or(of.last()));
    drop(write::claim(store, range)?);
    drop(helping);
    start(store, range);
    find().ok_or_else(|| Error::Background("a shard left the store as soon as it was made".into()))
}

/// A writer of a range, whose key groups are replayed when they are asked for, and meanwhile.
pub(super) fn claim(store: &Arc<StoreInner>, range: KeyGroupRange) -> Result<Writer> {
    if let Some(tail) = store.replay.by_group.tail() {
        check_host(store, &tail)?;
    }
    // Nobody makes a shard meanwhile.
    let _helping = store.replay.helping.lock();
    let shards = store.shards.lock().clone();
    let mut others = shards.iter().filter(|shard| shard.range != range && shard.range.intersect(range).is_some());
    // Shards that are cut otherwise go, and take with them what they have; unless somebody has one of them, and the claim fails.
    if !others.clone().any(|shard| shard.cell.is_claimed()) {
        others.try_for_each(|shard| complete(store, shard.range))?;
    }
    let writer = write::claim(store, range)?;
    start(store, range);
    Ok(writer)
}

/// Says how a pass ended.
fn end(store: &Arc<StoreInner>, pass: &Pass, outcome: &Result<()>) {
    if let Err(error) = outcome
        && error.class() != Class::Retry
        && !matches!(error, Error::Closed)
    {
        // Reopening the store begins anew.
        store.fail(error);
    }
    let by_group = &store.replay.by_group;
    let mut state = by_group.state.lock();
    for (group, from) in pass.groups() {
        if let Some(state) = state.group(group) {
            *state = Group { from, at: if outcome.is_ok() { At::Done } else { At::Waiting } };
        }
    }
    let warmed: Vec<KeyGroupRange> = match outcome {
        Ok(()) => {
            let mut claimed = std::mem::take(&mut state.claimed);
            let warmed = claimed.extract_if(.., |range| state.is_done(*range)).collect();
            state.claimed = claimed;
            warmed
        }
        Err(_) => Vec::new(),
    };
    let is_shard_done = state.is_done(pass.shard().range);
    let all = state.range;
    let ended = state.is_done(all).then(|| state.tail.take()).flatten();
    let took = state.began.map(threads::since);
    drop(state);
    if is_shard_done {
        pass.shard().cell.borrow().end_replay();
    }
    if let (Some(tail), Some(took)) = (ended, took) {
        by_group.active.store(false, Ordering::Release);
        store.replay.active.store(false, Ordering::Release);
        if store.log.is_on() {
            store.paced.replayed(tail.bytes(), took);
        }
        tracing::info!(path = %store.storage.root().display(), bytes = tail.bytes(), ?took, "changelog replayed");
    }
    warmed.into_iter().for_each(|range| warm::claimed(store, range));
    // The last thing: who closes the store waits for it.
    let mut state = by_group.state.lock();
    state.passes -= 1;
    state.demands -= usize::from(!pass.is_long());
    drop(state);
    by_group.moved.notify_all();
}

impl ByGroup {
    fn tail(&self) -> Option<Arc<Tail>> {
        self.state.lock().tail.clone()
    }
}

/// Has a range replayed in the background, as far as nobody asks for it before.
fn start(store: &Arc<StoreInner>, range: KeyGroupRange) {
    {
        let mut state = store.replay.by_group.state.lock();
        if state.is_done(range) || state.helped.contains(&range) {
            return;
        }
        state.helped.push(range);
    }
    let weak = Arc::downgrade(store);
    store.engine.inner.workers.run_apart("alluvium-replay", move || run(&weak, range));
}

/// Goes on until all of a range was replayed, or the store is gone, closed or failed. It holds the store for a block of the changelog at a time, so
/// that one that is dropped goes soon.
fn run(store: &Weak<StoreInner>, range: KeyGroupRange) {
    crate::platform::threads::work_in_background();
    while let Some(more) = run_pass(store, range) {
        if !more {
            threads::sleep(PAUSE);
        }
    }
}

/// Makes one pass; whether anything came of it. `None` at the end.
fn run_pass(weak: &Weak<StoreInner>, range: KeyGroupRange) -> Option<bool> {
    let mut pass = {
        let store = weak.upgrade()?;
        store.check().ok()?;
        let by_group = &store.replay.by_group;
        let group = match by_group.next(Aim::Range(range)) {
            Next::Done => return None,
            Next::Others => return Some(false),
            Next::Waiting(group) => group,
        };
        let shard = store.shards.lock().iter().find(|shard| shard.range.contains(group)).cloned()?;
        match by_group.begin(Aim::Range(range), &shard, true) {
            Some(pass) => pass,
            None => return Some(false),
        }
    };
    loop {
        let store = weak.upgrade()?;
        let outcome = match catch(|| pass.step(&store)) {
            Ok(true) => continue,
            outcome => outcome.map(drop),
        };
        end(&store, &pass, &outcome);
        return match outcome {
            Ok(()) => Some(true),
            Err(error) if error.class() == Class::Retry => Some(false),
            Err(_) => None,
        };
    }
}
