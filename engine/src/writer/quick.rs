//! The quick paths of a writer: to values in memory that nothing stands in the way of. `engine/src/hot/quick.rs` says what is quick,
//! and why it matters.

use crate::batch::Operation;
use crate::changelog::record::Change;
use crate::hot::fetch::{Spot, has_rest};
use crate::hot::record::hash_area;
use crate::key::{KEY_BYTES_MAX, Key};
use crate::store::State;
use crate::write;
use crate::writer::Writer;

/// So many operations before it is its turn, what is left of a long value is fetched: the processor waits for some dozen lines at once.
const LONG_AHEAD: usize = 3;

/// What the quick path made of an update.
pub(super) enum QuickUpdate<V, F> {
    Done,
    /// Nothing: there is more to it.
    Not(F),
    /// The value was changed to something that doesn't take the old one's place, when so many transactions had been undone: if
    /// another is before it is written, what it was made of is gone.
    Changed(Option<V>, u64),
}

/// Whether a key is one that the quick paths look for. They compare it together with its length as records hold that, in 24 bits.
#[inline(always)]
const fn is_plain_key(key: Key<'_>) -> bool {
    key.namespace.is_empty() && key.key.len() <= KEY_BYTES_MAX
}

impl Writer {
    /// Does an update if nothing stands in the way of the quick path.
    #[inline(always)]
    pub(super) fn quick_update<V: AsRef<[u8]>, F: FnOnce(Option<&[u8]>) -> Option<V>>(
        &mut self,
        state: State,
        key: Key<'_>,
        change: F,
    ) -> QuickUpdate<V, F> {
        if !self.states.has_words(&self.store, state) || !is_plain_key(key) {
            return QuickUpdate::Not(change);
        }
        let Some(mut core) = write::enter_quickly(&self.shard, &mut self.token) else {
            return QuickUpdate::Not(change);
        };
        let core = &mut *core;
        let hash = hash_area(key.key, false, core.hot.seed);
        // A key group outside the range comes to one that there is no table for.
        let group = key.group.0.wrapping_sub(self.shard.range.first());
        let Some(mut found) = core.hot.quick(state.0.0, group, hash, key.key) else { return QuickUpdate::Not(change) };
        if !found.is_of(core.hot.current) {
            if self.store.options.transactional {
                return QuickUpdate::Not(change);
            }
            let at = found.at();
            let Some(quickened) = core.hot.quicken(state.0.0, group, hash, at) else { return QuickUpdate::Not(change) };
            found = quickened;
        }
        if let Err(value) = found.change(|old| change(Some(old))) {
            return QuickUpdate::Changed(value, core.hot.undone(state.0.0, group));
        }
        if let Some(log) = &mut core.log {
            log.word(state.0, key.group, key.key, found.value());
        }
        core.counts.operations += 1;
        core.counts.hits += 1;
        QuickUpdate::Done
    }

    /// Does an update of a value of any length that keeps it, if nothing else stands in the way; `change` is taken when it is called.
    #[inline]
    pub(super) fn quick_change<V: AsRef<[u8]>>(
        &mut self,
        state: State,
        key: Key<'_>,
        change: &mut Option<impl FnOnce(Option<&[u8]>) -> Option<V>>,
    ) -> QuickUpdate<V, ()> {
        if !self.states.is_plain(&self.store, state) || !is_plain_key(key) {
            return QuickUpdate::Not(());
        }
        let Some(mut core) = write::enter_quickly(&self.shard, &mut self.token) else { return QuickUpdate::Not(()) };
        let core = &mut *core;
        let hash = hash_area(key.key, false, core.hot.seed);
        let group = key.group.0.wrapping_sub(self.shard.range.first());
        let Some(record) = core.hot.quick_record(state.0.0, group, hash, key.key) else {
            return QuickUpdate::Not(());
        };
        let Some(change) = change.take() else { return QuickUpdate::Not(()) };
        self.states.note_length(state, record.value_len());
        if let Err(value) = core.hot.change_quickly(record, |old| change(Some(old))) {
            return QuickUpdate::Changed(value, core.hot.undone(state.0.0, group));
        }
        if let Some(log) = &mut core.log {
            log.change(state.0, key, Change::Put(core.hot.value_of(record)), None);
        }
        core.heed_log();
        core.counts.operations += 1;
        core.counts.hits += 1;
        QuickUpdate::Done
    }

    /// Does the puts that a batch goes on with, in order, until something stands in the way of the quick path: how many those were. What the
    /// keys lead to was fetched, to these places.
    pub(crate) fn quick_puts(&mut self, batch: &[(State, Key<'_>, Operation<'_>)], spots: &[Spot]) -> usize {
        let Some((_, _, Operation::Put(first))) = batch.first() else { return 0 };
        let Some(mut core) = write::enter_quickly(&self.shard, &mut self.token) else { return 0 };
        let core = &mut *core;
        let left = write::quick_operations_left(core.counts.operations);
        if has_rest(first.len()) {
            spots.iter().take(LONG_AHEAD).for_each(|spot| core.hot.fetch_rest(spot));
        }
        let mut done = 0;
        for (&(state, key, operation), spot) in batch.iter().zip(spots).take(left) {
            let Operation::Put(value) = operation else { break };
            if !self.states.is_plain(&self.store, state) || !is_plain_key(key) {
                break;
            }
            if has_rest(value.len())
                && let Some(later) = spots.get(done + LONG_AHEAD)
            {
                core.hot.fetch_rest(later);
            }
            let Some(record) = core.hot.quick_record(spot.state, spot.group, spot.hash, key.key) else { break };
            if core.hot.change_quickly(record, |_| Some(value)).is_err() {
                break;
            }
            done += 1;
            if let Some(log) = &mut core.log {
                log.change(state.0, key, Change::Put(value), None);
                core.heed_log();
                if core.is_unsettled(&self.shard) {
                    break;
                }
            }
        }
        core.counts.operations += done as u64;
        core.counts.hits += done as u64;
        done
    }

    /// Gives a value to `use_it` if nothing stands in the way of the quick path; gives `use_it` back if something does. A
    /// miss is as quick as a hit where memory knows that there is nothing.
    #[inline(always)]
    pub(super) fn quick_read<R, F: FnOnce(Option<&[u8]>) -> R>(
        &mut self,
        state: State,
        key: Key<'_>,
        use_it: F,
    ) -> Result<R, F> {
        let is_plain = self.states.is_plain(&self.store, state) && key.namespace.is_empty();
        if !is_plain || key.key.len() > KEY_BYTES_MAX {
            return Err(use_it);
        }
        let Some(mut core) = write::enter_quickly(&self.shard, &mut self.token) else { return Err(use_it) };
        let core = &mut *core;
        // A key group outside the range comes to one that there is no table for.
        let group = key.group.0.wrapping_sub(self.shard.range.first());
        let hash = hash_area(key.key, false, core.hot.seed);
        let Some(value) = core.hot.quick_value(state.0.0, group, hash, key.key) else { return Err(use_it) };
        core.counts.operations += 1;
        core.counts.hits += 1;
        Ok(use_it(value))
    }
}
