//! A writer: the single owner of a range of key groups.

use crate::barrier::{Barrier, Pending};
use crate::batch::{self, Answers, Batch};
use crate::change;
use crate::commit::{self, Commit, Committed};
use crate::cursor::Cursor;
use crate::delete_range;
use crate::error::{Error, Result};
use crate::hot::Probe;
use crate::hot::fetch::{SPOTS, Spot};
use crate::hot::record::hash_area;
use crate::ids::{KeyGroup, KeyGroupRange};
use crate::inflight::{Answered, Shared};
use crate::key::{KEY_BYTES_MAX, Key};
use crate::metrics::OperationKind;
use crate::namespaces;
use crate::packed::Packed;
use crate::platform::sync::gate::OwnerToken;
use crate::platform::threads;
use crate::read;
use crate::replay;
use crate::scan::{self, MapRange};
use crate::shard::{Core, Shard};
use crate::states::{StateDef, StateKind};
use crate::store::{State, StoreInner};
use crate::ticket::{Answer, Ticket};
use crate::walk::Access;
use crate::write::{self, Halt};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

mod lists;
mod log;
mod quick;
#[cfg(test)]
mod refused;

use quick::QuickUpdate;

/// The exclusive owner of a store's key-group range: reads and writes without locks. It may move between threads, not
/// be shared by them; for that there is [`SharedWriter`].
///
/// Dropping it releases the range; what it wrote stays.
///
/// **Callbacks** (of `update`, `read`, `map_scan` and the like) run while the writer is inside its operation: a barrier,
/// [`Store::metrics`](crate::Store::metrics), another writer that is out of memory wait for them. So they must be short,
/// and must not call the store, another writer or a reader of it: they would wait for themselves.
///
/// Every operation can fail with [`Error::Budget`] (nothing can be spilled any more), with a
/// [`Class::Retry`](crate::Class::Retry) storage error while the disk is full, and with the errors of its arguments:
/// a key, user key or value that is too long, a key group outside the range, a state of another kind.
#[derive(Debug)]
pub struct Writer {
    store: Arc<StoreInner>,
    shard: Arc<Shard>,
    token: OwnerToken<Core>,
    states: write::Definitions,
    /// For events, kept for its memory.
    trace: crate::events::Trace,
}

impl Writer {
    pub(crate) fn new(store: &Arc<StoreInner>, shard: &Arc<Shard>, token: OwnerToken<Core>) -> Self {
        Self {
            store: Arc::clone(store),
            shard: Arc::clone(shard),
            token,
            states: write::Definitions::default(),
            trace: Default::default(),
        }
    }

    /// The key groups that this writer owns.
    pub fn range(&self) -> KeyGroupRange {
        self.shard.range
    }

    /// Sets the clock that decides what is expired, in ms; it belongs to the caller and is never read from the
    /// machine. It begins at 0 with every writer of a new range, so set it before the first operation where anything expires.
    /// Compaction purges by the lowest time that the writers of the store had set at the last barrier, and by an earlier one as soon
    /// as it is set: a writer that never sets it keeps everything from being purged.
    pub fn set_time_ms(&mut self, now_ms: u64) {
        self.token.enter().set_time_ms(now_ms, &self.store.purge_clock);
    }

    /// [`Store::barrier`](crate::Store::barrier) of the store that it writes, all its writers included. From the thread of
    /// the writer this is the shorter way, as its own range is cut without a handshake with other threads.
    pub fn barrier(&mut self, barrier: Barrier) -> Result<Pending> {
        crate::barrier::cut(&self.store, barrier, Some((&self.shard, &mut self.token)))
    }

    /// [`Store::commit`](crate::Store::commit) of the store that it writes, all its writers included, the shorter way.
    pub fn commit(&mut self, commit: Commit) -> Result<Committed> {
        commit::commit(&self.store, commit, Some((&self.shard, &mut self.token)))
    }

    /// [`Store::abort_transaction`](crate::Store::abort_transaction) of the store that it writes, all its writers included.
    pub fn abort_transaction(&mut self) -> Result<()> {
        commit::abort(&self.store, Some((&self.shard, &mut self.token)))
    }

    /// Fetches what memory has of these keys in these states into the processor's caches: their buckets, records, and of maps the
    /// container with the beginning of its order. Worth calling a few dozen keys ahead of operations on them, such as when the
    /// next events are known, and for one key that is about to be looked for in several states: cache misses that operations
    /// would wait for one after the other are waited for together. Nothing is read from disk and nothing changes; what is not a
    /// key or a state of this writer is passed over.
    pub fn prefetch<'k>(&mut self, states: &[State], keys: impl IntoIterator<Item = Key<'k>>) {
        self.fetch_ahead(keys.into_iter().flat_map(|key| states.iter().map(move |&state| (state, key))));
    }

    /// Runs an operation on one key of a state of one of these kinds.
    #[inline]
    fn at<R>(
        &mut self,
        timed_as: OperationKind,
        state: State,
        kinds: &[StateKind],
        key: Key<'_>,
        mut operation: impl FnMut(&mut Core, &StateDef, &Probe<'_>) -> Result<R, Halt>,
    ) -> Result<R> {
        let group = read::check_key(key, self.shard.range)?;
        let def = self.states.get(&self.store, state)?;
        if !kinds.contains(&def.kind) {
            return Err(wrong_kind(def, kinds));
        }
        if timed_as.writes() {
            write::check_staged(&self.store, &mut self.token)?;
        }
        replay::before_operation(&self.store, key.group)?;
        write::run(&self.store, &self.shard, &mut self.token, timed_as, |core| {
            if key.namespace.is_empty() {
                let probe = core.hot.probe(state.0.0, group, key.key, false);
                return operation(core, def, &probe);
            }
            let mut scratch = std::mem::take(&mut core.scratch);
            let (area, namespaced) = read::area(key, &mut scratch);
            let probe = core.hot.probe(state.0.0, group, area, namespaced);
            let outcome = operation(core, def, &probe);
            core.scratch = scratch;
            outcome
        })
    }

    /// The value, copied. For value and merging states.
    pub fn get(&mut self, state: State, key: Key<'_>) -> Result<Option<Vec<u8>>> {
        self.read(state, key, |value| value.map(<[u8]>::to_vec))
    }

    /// Gives the value to `use_it` where it lies. For value and merging states.
    #[inline]
    pub fn read<R>(&mut self, state: State, key: Key<'_>, use_it: impl FnOnce(Option<&[u8]>) -> R) -> Result<R> {
        match self.quick_read(state, key, use_it) {
            Ok(used) => Ok(used),
            Err(use_it) => self.full_read(state, key.group, key.key, key.namespace, use_it),
        }
    }

    /// A read in full generality, apart as [`Writer::full_update`] is.
    #[inline(never)]
    fn full_read<R>(
        &mut self,
        state: State,
        group: KeyGroup,
        key: &[u8],
        namespace: &[u8],
        use_it: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R> {
        let key = Key { group, key, namespace };
        let mut use_it = Some(use_it);
        let mut used = None;
        self.at(OperationKind::Read, state, &[StateKind::Value, StateKind::Merging], key, |core, def, probe| {
            if def.kind == StateKind::Merging {
                def.check_operator()?;
                let value = read::merged(core, def, key, probe)?;
                used = use_it.take().map(|use_it| use_it(value.as_deref()));
                return Ok(());
            }
            read::value(core, def, key, probe, |value| {
                if let Some(use_it) = use_it.take() {
                    used = Some(use_it(value));
                }
            })
        })?;
        used.ok_or_else(|| Error::Background("a read ended without an answer".into()))
    }

    /// Puts a value. For value and merging states; for these it has to be of a form that the operator takes.
    #[inline]
    pub fn put(&mut self, state: State, key: Key<'_>, value: &[u8]) -> Result<()> {
        // One of another length doesn't take a word's place, so there is nothing to look for.
        if value.len() == 8
            && let QuickUpdate::Done = self.quick_update(state, key, |_| Some(value))
        {
            return Ok(());
        }
        self.full_put(state, key.group, key.key, key.namespace, value)
    }

    /// A put in full generality, apart as [`Writer::full_update`] is.
    #[inline(never)]
    fn full_put(&mut self, state: State, group: KeyGroup, key: &[u8], namespace: &[u8], value: &[u8]) -> Result<()> {
        let key = Key { group, key, namespace };
        // Where words were looked for already, no other value can be overwritten with one.
        let was_looked_for = value.len() == 8 && self.states.has_words(&self.store, state);
        if !was_looked_for
            && let QuickUpdate::Done = self.quick_change(state, key, &mut Some(|_: Option<&[u8]>| Some(value)))
        {
            return Ok(());
        }
        change::check_value(value)?;
        self.at(OperationKind::Write, state, &[StateKind::Value, StateKind::Merging], key, |core, def, probe| {
            if def.kind == StateKind::Merging {
                def.check_operand(value)?;
            }
            change::put(core, def, key, probe, value)
        })
    }

    /// Deletes a value, a list, or a merging state's value.
    pub fn delete(&mut self, state: State, key: Key<'_>) -> Result<()> {
        let kinds = [StateKind::Value, StateKind::Merging, StateKind::List];
        self.at(OperationKind::Write, state, &kinds, key, |core, def, probe| change::delete(core, def, key, probe))
    }

    /// Reads a value and writes what `change` makes of it; `None` deletes. `change` is called once. For value states.
    #[inline]
    pub fn update<V: AsRef<[u8]>>(
        &mut self,
        state: State,
        key: Key<'_>,
        change: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Result<()> {
        match self.quick_update(state, key, change) {
            QuickUpdate::Done => Ok(()),
            QuickUpdate::Not(change) => self.full_update(state, key.group, key.key, key.namespace, Some(change), None),
            QuickUpdate::Changed(value, undone) => self.full_update::<_, fn(Option<&[u8]>) -> _>(
                state,
                key.group,
                key.key,
                key.namespace,
                None,
                Some((value, undone)),
            ),
        }
    }

    /// An update in full generality. Apart, and without a `Key` that would have to be built in memory, so that nothing of
    /// it burdens the quick one.
    #[inline(never)]
    fn full_update<V: AsRef<[u8]>, F: FnOnce(Option<&[u8]>) -> Option<V>>(
        &mut self,
        state: State,
        group: KeyGroup,
        key: &[u8],
        namespace: &[u8],
        change: Option<F>,
        changed: Option<(Option<V>, u64)>,
    ) -> Result<()> {
        let key = Key { group, key, namespace };
        let (mut change, mut changed) = (change, changed);
        match self.quick_change(state, key, &mut change) {
            QuickUpdate::Done => return Ok(()),
            QuickUpdate::Not(()) => {}
            QuickUpdate::Changed(value, undone) => changed = Some((value, undone)),
        }
        let undone = changed.as_ref().map(|(_, undone)| *undone);
        let mut changed = changed.map(|(value, _)| value);
        self.at(OperationKind::Update, state, &[StateKind::Value], key, |core, def, probe| {
            undone.map_or(Ok(()), |undone| write::check_undone(core, probe, undone))?;
            change::update(core, def, key, probe, &mut change, &mut changed)
        })
    }

    /// Merges an operand into a value, without reading what is on disk unless values expire. For merging states.
    pub fn merge(&mut self, state: State, key: Key<'_>, operand: &[u8]) -> Result<()> {
        change::check_value(operand)?;
        self.at(OperationKind::Append, state, &[StateKind::Merging], key, |core, def, probe| {
            change::merge(core, def, key, probe, operand)
        })
    }

    /// Moves what a key holds in some namespaces to another, `key`'s own, in one operation: their lists are appended to its
    /// list, in the order of `sources`, or their values merged into its value. The target isn't read unless values
    /// expire. A source that is the target, or has nothing, changes nothing. For list and merging states.
    pub fn merge_namespaces(&mut self, state: State, key: Key<'_>, sources: &[&[u8]]) -> Result<()> {
        let group = read::check_key(key, self.shard.range)?;
        for source in sources {
            read::check_key(key.in_namespace(source), self.shard.range)?;
        }
        let def = self.states.get(&self.store, state)?;
        if !namespaces::KINDS.contains(&def.kind) {
            return Err(wrong_kind(def, &namespaces::KINDS));
        }
        def.check_operator()?;
        write::check_staged(&self.store, &mut self.token)?;
        replay::before_operation(&self.store, key.group)?;
        namespaces::whole(&self.store, |progress| {
            write::run(&self.store, &self.shard, &mut self.token, OperationKind::Append, |core| {
                namespaces::merge(core, def, group, key, sources, progress)
            })
        })
    }

    /// The value of a map's entry, copied.
    pub fn map_get(&mut self, state: State, key: Key<'_>, user_key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.map_read(state, key, user_key, |value| value.map(<[u8]>::to_vec))
    }

    /// Gives the value of a map's entry to `use_it` where it lies.
    #[inline]
    pub fn map_read<R>(
        &mut self,
        state: State,
        key: Key<'_>,
        user_key: &[u8],
        use_it: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R> {
        read::check_user_key(user_key)?;
        let mut use_it = Some(use_it);
        let mut used = None;
        self.at(OperationKind::MapRead, state, &[StateKind::Map], key, |core, def, probe| {
            read::entry(core, def, key, probe, user_key, |value| {
                if let Some(use_it) = use_it.take() {
                    used = Some(use_it(value));
                }
            })
        })?;
        used.ok_or_else(|| Error::Background("a read ended without an answer".into()))
    }

    /// Whether a map has an entry.
    pub fn map_contains(&mut self, state: State, key: Key<'_>, user_key: &[u8]) -> Result<bool> {
        self.map_read(state, key, user_key, |value| value.is_some())
    }

    /// Puts an entry into a map.
    #[inline]
    pub fn map_put(&mut self, state: State, key: Key<'_>, user_key: &[u8], value: &[u8]) -> Result<()> {
        read::check_user_key(user_key)?;
        change::check_value(value)?;
        self.at(OperationKind::MapWrite, state, &[StateKind::Map], key, |core, def, probe| {
            change::map_put(core, def, key, probe, user_key, value)
        })
    }

    /// Deletes an entry of a map.
    pub fn map_delete(&mut self, state: State, key: Key<'_>, user_key: &[u8]) -> Result<()> {
        read::check_user_key(user_key)?;
        self.at(OperationKind::MapWrite, state, &[StateKind::Map], key, |core, def, probe| {
            change::map_delete(core, def, key, probe, user_key)
        })
    }

    /// Whether a map has no entry.
    pub fn map_is_empty(&mut self, state: State, key: Key<'_>) -> Result<bool> {
        let mut empty = true;
        self.map_scan(state, key, &MapRange::all(), |_, _| {
            empty = false;
            ControlFlow::Break(())
        })?;
        Ok(empty)
    }

    /// Deletes the entries of a map in a range, in whatever direction, without going through them: it takes as long for ten
    /// million as for a hundred, in memory or on disk. Entries that are put into the range afterwards stay. The memory comes
    /// free bit by bit, during the operations that follow.
    ///
    /// Ranges that overlap or touch become one. With more than 256 of one map that don't, deleted since the last flush, the
    /// next is deleted entry by entry, several operations of 256 each.
    ///
    /// # Errors
    /// [`Error::TooLong`] for a bound that is longer than any user key; else as for every operation.
    pub fn map_delete_range(&mut self, state: State, key: Key<'_>, range: &MapRange<'_>) -> Result<()> {
        let ends = delete_range::ends(range)?;
        let mut at_once = None;
        self.at(OperationKind::MapWrite, state, &[StateKind::Map], key, |core, def, probe| {
            let Some((from, to)) = &ends else { return Ok(()) };
            at_once = Some(delete_range::at_once(core, def, key, probe, (from, to.as_deref()))?);
            Ok(())
        })?;
        match (at_once, ends) {
            (Some(false), Some((from, to))) => self.delete_one_by_one(state, key, from, to.as_deref()),
            _ => Ok(()),
        }
    }

    pub(super) fn delete_one_by_one(
        &mut self,
        state: State,
        key: Key<'_>,
        mut from: Vec<u8>,
        to: Option<&[u8]>,
    ) -> Result<()> {
        let aborts = {
            let mut core = self.token.enter();
            // Nothing is rolled back in between.
            core.hot.open_steps();
            core.hot.aborts()
        };
        let outcome = loop {
            let more = self.at(OperationKind::MapWrite, state, &[StateKind::Map], key, |core, def, probe| {
                write::check_aborts(core, aborts)?;
                delete_range::one_by_one(core, def, key, probe, &mut from, to)
            });
            match more {
                Ok(true) => {}
                ended => break ended.map(drop),
            }
        };
        self.token.enter().hot.close_steps();
        outcome
    }

    /// Deletes the entries of a map whose time is below `before`: those whose user keys begin with it, as 8 bytes big-endian,
    /// so that they lie in the order of their times. It is [`Writer::map_delete_range`] of all user keys that sort before those
    /// 8 bytes; one call for each step of a window store's retention, of which a later one takes the place of the earlier.
    ///
    /// ```
    /// # use alluvium::{Engine, EngineOptions, StateOptions, Store, StoreOptions};
    /// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
    /// # let engine = Engine::open(EngineOptions::default())?;
    /// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
    /// let windows = store.state(StateOptions::map("windows"))?;
    /// let mut writer = store.writer(store.range())?;
    /// for time in [100_u64, 200, 300] {
    ///     writer.map_put(windows, store.key(b""), &[&time.to_be_bytes()[..], b"JFK"].concat(), b"1")?;
    /// }
    /// writer.map_expire(windows, store.key(b""), 300)?;
    /// let first = writer.map_first(windows, store.key(b""))?;
    /// assert_eq!(first.map(|(user_key, _)| user_key[..8].to_vec()), Some(300_u64.to_be_bytes().to_vec()));
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    pub fn map_expire(&mut self, state: State, key: Key<'_>, before: u64) -> Result<()> {
        let before = before.to_be_bytes();
        self.map_delete_range(state, key, &MapRange::between(Bound::Unbounded, Bound::Excluded(&before)))
    }

    /// Deletes all entries of a map.
    pub fn map_clear(&mut self, state: State, key: Key<'_>) -> Result<()> {
        self.at(OperationKind::MapWrite, state, &[StateKind::Map], key, |core, def, probe| {
            change::map_clear(core, def, key, probe)
        })
    }

    /// Calls `visit` with the (user key, value) of a map's entries in a range, in order, until it breaks.
    pub fn map_scan(
        &mut self,
        state: State,
        key: Key<'_>,
        range: &MapRange<'_>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        self.at(OperationKind::Scan, state, &[StateKind::Map], key, |core, def, probe| {
            scan::map(core, def, key, probe, range, &mut visit)
        })
    }

    /// The entry of a map with the smallest user key.
    pub fn map_first(&mut self, state: State, key: Key<'_>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.at(OperationKind::Scan, state, &[StateKind::Map], key, |core, def, probe| {
            crate::pop::first(core, def, key, probe)
        })
    }

    /// The entry of a map with the greatest user key.
    pub fn map_last(&mut self, state: State, key: Key<'_>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let mut found = None;
        self.map_scan(state, key, &MapRange::all().reversed(), |user_key, value| {
            found = Some((user_key.to_vec(), value.to_vec()));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Takes the entry with the smallest user key out of a map.
    pub fn map_pop_first(&mut self, state: State, key: Key<'_>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.map_pop_first_if(state, key, |_, _| true)
    }

    /// The same, but leaves the entry where it is unless `takes` says so of its user key and value, which may be asked more than once; returned
    /// is it in any case.
    pub fn map_pop_first_if(
        &mut self,
        state: State,
        key: Key<'_>,
        mut takes: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.at(OperationKind::MapWrite, state, &[StateKind::Map], key, |core, def, probe| {
            crate::pop::take_first(core, def, key, probe, &mut takes)
        })
    }

    /// Takes all entries with user keys below `below` out of a map and gives them to `visit`, in order: the timers that are due.
    ///
    /// The front of the map is held in memory a run at a time, and what was taken is hidden on disk as one range, however much
    /// was taken before: an entry costs neither a tombstone nor a look at those that went earlier. What was given to `visit` when
    /// an error comes is taken.
    pub fn map_pop_below(
        &mut self,
        state: State,
        key: Key<'_>,
        below: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> Result<()> {
        while self.map_pop_below_up_to(state, key, below, usize::MAX, &mut visit)? {}
        Ok(())
    }

    /// The same, but takes no more out than `bytes_max`, counted as [packed](crate::packed) records without key and namespace; true where there
    /// is more. Where the first entry alone is longer, nothing is taken: for callers that may have no room for what is out of the map.
    pub fn map_pop_below_up_to(
        &mut self,
        state: State,
        key: Key<'_>,
        below: &[u8],
        mut bytes_max: usize,
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> Result<bool> {
        let mut popped = crate::pop::Popped::default();
        loop {
            let more = self.at(OperationKind::MapWrite, state, &[StateKind::Map], key, |core, def, probe| {
                crate::pop::below(core, def, key, probe, (below, bytes_max), &mut popped)
            })?;
            for entry in popped.entries.iter() {
                bytes_max -= crate::pop::packed_bytes(entry.user_key, entry.value);
                visit(entry.user_key, entry.value);
            }
            if !more || popped.entries.is_empty() {
                return Ok(more);
            }
        }
    }

    /// Reads many keys of a value state: all are hashed and fetched first, and what memory doesn't have is read from
    /// disk together. `use_it` is called once for each key, with its index, in no particular order.
    pub fn get_many(&mut self, state: State, keys: &[Key<'_>], use_it: impl FnMut(usize, Option<&[u8]>)) -> Result<()> {
        let def = batch_state(&mut self.states, &self.store, self.shard.range, state, keys)?;
        batch::get_many(&self.store, &self.shard, &mut self.token, def, keys, use_it)
    }

    /// [`Writer::update`] of many keys of a value state: all are hashed and fetched first, and what memory doesn't
    /// have is read from disk together. A key that occurs twice is changed twice, in order. Where it fails some are changed.
    #[inline]
    pub fn update_many<V: AsRef<[u8]>>(
        &mut self,
        state: State,
        keys: &[Key<'_>],
        change: impl FnMut(usize, Option<&[u8]>) -> Option<V>,
    ) -> Result<()> {
        let def = batch_state(&mut self.states, &self.store, self.shard.range, state, keys)?;
        write::check_staged(&self.store, &mut self.token)?;
        batch::update_many(&self.store, &self.shard, &mut self.token, def, keys, change)
    }

    /// Does the operations of a batch, in order, reads among them, without waiting for the disk: what memory has is answered
    /// at once, what has to be read comes later ([`Writer::poll`]). Each read sees its key as it was at its place in the
    /// order, whatever is written afterwards. The reads of many batches are done together, by a thread of the engine.
    ///
    /// # Errors
    /// [`Error::Busy`] while [`Writer::is_full`] says so: then nothing was done; else as [`Writer::apply`].
    pub fn submit(&mut self, batch: &Batch) -> Result<Ticket> {
        self.store.check()?;
        if self.is_full() {
            return Err(Error::Busy { problem: "too many reads are in flight" });
        }
        let mut answers = Answers::default();
        batch::run(self, batch, &mut answers)?;
        let Answers { there, missing } = answers;
        let shared = Arc::new(Shared::new(there, missing.len(), &self.store.reads.counts));
        self.store.reads.push(&self.store, missing, &shared);
        Ok(Ticket::new(shared))
    }

    /// Whether so many reads are in flight, or answers not taken yet, that no batch is submitted for now: 8,192 reads of the
    /// store's writers together that the disk was needed for, or 32 MiB of answers.
    pub fn is_full(&self) -> bool {
        self.store.reads.counts.is_full()
    }

    /// The answers that came for a ticket of this writer since it was last asked, in no particular order. Values that were
    /// read from disk are kept in memory, as those of [`Writer::get`] are, and their time starts anew where reading does that.
    pub fn poll(&mut self, ticket: &mut Ticket) -> Result<Vec<Answer>> {
        let answers = ticket.take();
        for answered in &answers {
            let (Some(cold), Ok(Some(value))) = (&answered.cold, &answered.value) else { continue };
            let (def, first) = (&answered.def, self.shard.range.first());
            if !cold.is_in(self.shard.range) {
                continue;
            }
            let kept = write::run(&self.store, &self.shard, &mut self.token, OperationKind::Batch, |core| {
                batch::keep(core, def, first, cold, value)
            });
            if let Err(error) = kept {
                // The answer is right all the same; it is read again the next time.
                tracing::debug!(%error, "an answer was not kept");
            }
        }
        Ok(answers.into_iter().map(Answer::new).collect())
    }

    /// One read of a batch.
    pub(crate) fn look(
        &mut self,
        index: usize,
        state: State,
        kinds: &[StateKind],
        key: Key<'_>,
        user_key: Option<&[u8]>,
        answers: &mut Answers,
    ) -> Result<()> {
        user_key.map_or(Ok(()), read::check_user_key)?;
        let def = self.states.shared(&self.store, state)?;
        if def.kind == StateKind::Merging {
            def.check_operator()?;
        }
        let looked = self.at(OperationKind::Batch, state, kinds, key, |core, _, probe| {
            batch::look(core, &def, key, probe, user_key, index)
        })?;
        match looked {
            Ok(value) => answers.there.push(Answered { index, value: Ok(value), def, cold: None }),
            Err(miss) => answers.missing.push(miss),
        }
        Ok(())
    }

    /// Does the operations of a batch, in order: all keys are hashed and fetched first. Where one fails, those before
    /// it are done and those after it are not; the error says nothing of which, so check arguments before.
    pub fn apply(&mut self, batch: &Batch) -> Result<()> {
        batch::apply(self, batch)
    }

    /// Puts the next batch of what a cursor goes through into `out`, in the place of what is there; false at the end. See
    /// [`Cursor`] for what it sees of changes meanwhile.
    pub fn fetch(&mut self, cursor: &mut Cursor, out: &mut Packed) -> Result<bool> {
        let Self { store, shard, token, states, .. } = self;
        store.check()?;
        let def = states.get(store, cursor.state)?;
        cursor.fetch(&mut OwnAccess { store, shard, token }, def, out)
    }

    /// Fetches what memory has in these places, as [`Writer::prefetch`] does. They are the caller's to come up with, so that is done
    /// outside the gate.
    fn fetch_ahead<'k>(&mut self, places: impl Iterator<Item = (State, Key<'k>)>) {
        let mut places = places.peekable();
        while places.peek().is_some() {
            self.fetch_group(places.by_ref().take(SPOTS));
        }
    }

    /// The same of so many places that are fetched together; says what they are.
    pub(crate) fn fetch_group<'k>(&mut self, places: impl Iterator<Item = (State, Key<'k>)>) -> [Spot; SPOTS] {
        let (first, seed) = (self.shard.range.first(), self.store.info.hash_seed);
        let (mut spots, mut count, mut scratch) = ([Spot::default(); SPOTS], 0, Vec::new());
        for ((state, key), spot) in places.zip(&mut spots) {
            let (area, namespaced) = read::area(key, &mut scratch);
            // A key group outside the range comes to one that there is no table for.
            let group = key.group.0.wrapping_sub(first);
            *spot = Spot { state: state.0.0, group, hash: hash_area(area, namespaced, seed) };
            count += 1;
        }
        self.token.enter().hot.fetch(&spots[..count]);
        spots
    }
}

/// The store as its writer walks through it.
struct OwnAccess<'a> {
    store: &'a Arc<StoreInner>,
    shard: &'a Arc<Shard>,
    token: &'a mut OwnerToken<Core>,
}

impl Access for OwnAccess<'_> {
    fn store(&self) -> &Arc<StoreInner> {
        self.store
    }

    fn inside<R>(&mut self, group: KeyGroup, look: impl FnOnce(&mut Core, u16) -> R) -> Result<Option<R>> {
        let range = self.shard.range;
        if !range.contains(group) {
            return Err(Error::OutsideRange { group, range });
        }
        replay::before_operation(self.store, group)?;
        let mut core = self.token.enter();
        core.settle(self.shard);
        Ok(Some(look(&mut core, group.0 - range.first())))
    }

    fn now_ms(&mut self) -> u64 {
        self.token.enter().hot.now_ms
    }
}

fn batch_state<'a>(
    states: &'a mut write::Definitions,
    store: &Arc<StoreInner>,
    range: KeyGroupRange,
    state: State,
    keys: &[Key<'_>],
) -> Result<&'a StateDef> {
    let def = states.get(store, state)?;
    if def.kind != StateKind::Value {
        return Err(wrong_kind(def, &[StateKind::Value]));
    }
    // One look at all, without a branch for each; which of them is wrong, and how, is found out only where one is.
    let (first, span) = (range.first(), range.last() - range.first());
    let is_wrong =
        |key: &Key<'_>| key.group.0.wrapping_sub(first) > span || key.key.len() + key.namespace.len() > KEY_BYTES_MAX;
    if keys.iter().fold(false, |any, key| any | is_wrong(key)) {
        keys.iter().try_for_each(|&key| read::check_key(key, range).map(drop))?;
    }
    if store.replay.is_by_group() {
        keys.iter().try_for_each(|key| replay::before_operation(store, key.group))?;
    }
    Ok(def)
}

fn wrong_kind(def: &StateDef, kinds: &[StateKind]) -> Error {
    let problem = format!("a {:?} state, the operation is for {kinds:?}", def.kind);
    Error::State { state: def.name.clone(), problem }
}

/// A writer that many threads share: one lock around a [`Writer`], on the same path.
///
/// ```
/// # use alluvium::{Engine, EngineOptions, SharedWriter, StateOptions, Store, StoreOptions};
/// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
/// # let engine = Engine::open(EngineOptions::default())?;
/// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
/// let counts = store.state(StateOptions::value("counts"))?;
/// let shared = SharedWriter::new(store.writer(store.range())?);
/// std::thread::scope(|scope| {
///     for name in [b"a", b"b"] {
///         let (shared, store) = (&shared, &store);
///         scope.spawn(move || shared.with(|writer| writer.put(counts, store.key(name), b"1")));
///     }
/// });
/// assert_eq!(shared.with(|writer| writer.get(counts, store.key(b"a")))?, Some(b"1".to_vec()));
/// # Ok::<(), alluvium::Error>(())
/// ```
#[derive(Debug)]
pub struct SharedWriter {
    writer: threads::Mutex<Writer>,
}

impl SharedWriter {
    /// Shares a writer.
    pub const fn new(writer: Writer) -> Self {
        Self { writer: threads::Mutex::new(writer) }
    }

    /// Uses the writer alone for a while; other threads wait.
    pub fn with<R>(&self, operation: impl FnOnce(&mut Writer) -> R) -> R {
        operation(&mut self.writer.lock())
    }

    /// Takes the writer back.
    pub fn into_inner(self) -> Writer {
        self.writer.into_inner()
    }
}
