//! A store that is coming back: how far that is, and what is to be in memory first.

use super::{Store, StoreInner};
use crate::batch::Batch;
use crate::error::Result;
use crate::key::{push_entry_key, push_sort_key};
use crate::metrics::Metrics;
use crate::read;
use crate::states::StateKind;
use crate::warm::{self, Progress, Wanted};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a store that was opened is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecoveryStage {
    /// Something of the changelog is still to be replayed: key groups that nobody asked for yet are replayed meanwhile, or wait for
    /// a writer.
    Replaying,
    /// What was hot is still to be brought into memory: it serves, and reads from disk what isn't there.
    WarmingUp,
    /// Nothing is left to be done.
    Complete,
}

/// How far the recovery of a store is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Recovery {
    /// What it is at.
    pub stage: RecoveryStage,
    /// Since the store began to be opened.
    pub elapsed: Duration,
    /// Bytes of the changelog that there were to be replayed.
    pub replay_bytes: u64,
    /// How many of them were; of key groups that are still to be replayed their part is missing.
    pub replayed_bytes: u64,
    /// Bytes that there are to be brought into memory, about; 0 before the first range was claimed. Where memory is too small for
    /// all of them, warming up ends before.
    pub warm_up_bytes: u64,
    /// How many of them were gone through.
    pub warmed_up_bytes: u64,
    /// Records that there are to be brought into memory, about.
    pub warm_up_records: u64,
    /// How many of them were gone through: some are there already, or are not the newest of their keys.
    pub warmed_up_records: u64,
    /// Records that were brought into memory, those for [`Store::warm`] included.
    pub brought_records: u64,
    /// Their keys and values, in bytes.
    pub brought_bytes: u64,
    /// The part of all bytes, to be replayed and to be brought into memory, that is done: 0 to 1. It stays below 1 where memory was too small.
    pub restored: f64,
    /// How long the rest will take, at the rate so far; `None` before there is one, and zero where nothing is left.
    pub remaining: Option<Duration>,
}

/// Keys that are being brought into memory ([`Store::warm`]). Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Warming {
    progress: Arc<Progress>,
    keys: usize,
}

impl Warming {
    /// How many keys were taken up: fewer than were given where too many wait already.
    pub const fn keys(&self) -> usize {
        self.keys
    }

    /// Whether all of them were seen to.
    pub fn is_done(&self) -> bool {
        self.progress.is_done()
    }

    /// Waits until all of them were seen to.
    pub fn wait(&self) {
        self.progress.wait();
    }

    /// How many of them were brought into memory so far: the others are there already, or have nothing on disk.
    pub fn brought(&self) -> u64 {
        self.progress.brought()
    }
}

impl Store {
    /// Has what a batch's reads would find on disk brought into memory, in the background and many keys at once, for operations that are yet to
    /// come: those of events that wait to be processed, above all after a recovery. Its other operations are passed over, as are keys of key
    /// groups that nobody has a writer of.
    ///
    /// It takes no longer than to copy the keys. Who asks for one of them meanwhile reads it himself, at once, and what is written meanwhile
    /// stays. Room is made as for reading them: what was used lately doesn't leave memory for it. At most 131,072 keys of a store wait; of
    /// more the last are passed over ([`Warming::keys`]). What can't be read is left to who asks for it.
    ///
    /// [`Writer::prefetch`](crate::Writer::prefetch) is for what is in memory already.
    ///
    /// ```
    /// # use alluvium::{Engine, EngineOptions, StateOptions, Store, StoreOptions};
    /// use alluvium::{Batch, Operation};
    /// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
    /// # let engine = Engine::open(EngineOptions::default())?;
    /// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
    /// # let counts = store.state(StateOptions::value("counts"))?;
    /// let queued = [&b"JFK"[..], b"SEA"];
    /// let mut batch = Batch::new();
    /// queued.iter().for_each(|airport| batch.push(counts, store.key(airport), Operation::Get));
    /// let warming = store.warm(&batch)?;
    /// // ... the events before them are processed ...
    /// warming.wait();
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the keys, as a writer's: too long, outside the store's range, of no state or of one of another kind. Nothing is brought then.
    pub fn warm(&self, batch: &Batch<'_>) -> Result<Warming> {
        let store = &self.inner;
        store.check()?;
        let mut wanted = Vec::new();
        for (state, key, user_key) in batch.reads() {
            read::check_key(key, store.info.range)?;
            let mut sort_key = Vec::new();
            match user_key {
                Some(user_key) => {
                    read::check_user_key(user_key)?;
                    store.def(state, &[StateKind::Map])?;
                    push_entry_key(&mut sort_key, state.id(), key, user_key);
                }
                None => {
                    store.def(state, &[StateKind::Value, StateKind::Merging, StateKind::List])?;
                    push_sort_key(&mut sort_key, state.id(), key);
                }
            }
            wanted.push(Wanted { state: state.id(), sort_key });
        }
        let (progress, keys) = warm::keys(store, wanted);
        Ok(Warming { progress, keys })
    }

    /// How far the store is with coming back since it was opened: with replaying the changelog and with warming up
    /// ([`StoreOptions::warm_up`](crate::StoreOptions)). It serves all the while.
    pub fn recovery(&self) -> Recovery {
        self.inner.recovery()
    }
}

impl StoreInner {
    fn recovery(&self) -> Recovery {
        let counts = &self.warm.counts;
        let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let is_complete = self.warm.is_complete();
        let (replay_bytes, replayed_bytes) = self.replay.progress();
        let (warm_up_bytes, warm_up_records) = (load(&counts.bytes), load(&counts.records));
        let warmed_up_bytes = load(&counts.done_bytes).min(warm_up_bytes);
        let stage = match () {
            () if self.replay.is_active() => RecoveryStage::Replaying,
            () if !is_complete => RecoveryStage::WarmingUp,
            () => RecoveryStage::Complete,
        };
        let (all, done) = (replay_bytes + warm_up_bytes, replayed_bytes + warmed_up_bytes);
        let elapsed = self.warm.since_opened();
        let rate = |bytes: u64, ns: u64| bytes as f64 / ns.max(1) as f64;
        let left = |bytes: u64, rate: f64| Duration::from_nanos((bytes as f64 / rate) as u64);
        let remaining = match stage {
            RecoveryStage::Complete => Some(Duration::ZERO),
            RecoveryStage::WarmingUp => (warmed_up_bytes > 0)
                .then(|| left(warm_up_bytes - warmed_up_bytes, rate(warmed_up_bytes, load(&counts.worked_ns)))),
            RecoveryStage::Replaying => (done > 0).then(|| left(all - done, rate(done, elapsed.as_nanos() as u64))),
        };
        Recovery {
            stage,
            elapsed,
            replay_bytes,
            replayed_bytes,
            warm_up_bytes,
            warmed_up_bytes,
            warm_up_records,
            warmed_up_records: load(&counts.done_records).min(warm_up_records),
            brought_records: load(&counts.brought),
            brought_bytes: load(&counts.brought_bytes),
            restored: if all == 0 { f64::from(u8::from(is_complete)) } else { done as f64 / all as f64 },
            remaining,
        }
    }

    pub(super) fn fill_recovery(&self, metrics: &mut Metrics) {
        let recovery = self.recovery();
        metrics.hot_list_bytes = self.warm.counts.list_bytes.load(Ordering::Relaxed);
        metrics.warmed_records = recovery.brought_records;
        metrics.warmed_bytes = recovery.brought_bytes;
        metrics.restored_permille = (recovery.restored * 1_000.0) as u64;
    }
}
