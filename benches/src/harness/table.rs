//! A store with one value state, as most benches use it.

use super::generate::{KEY_BYTES, KEY_GROUPS, Op, value};
use super::{Outcome, wrong};
use alluvium::{
    Barrier, CheckpointInfo, Engine, EngineOptions, KeyGroupRange, State, StateOptions, Store, StoreOptions, Writer,
};
use std::path::Path;
use std::time::{Duration, Instant};

/// An engine with a budget and all else by default.
pub fn engine(budget_bytes: usize) -> Outcome<Engine> {
    Ok(Engine::open(EngineOptions { memory_budget_bytes: budget_bytes, ..EngineOptions::default() })?)
}

/// The options of the benches' stores.
pub fn store_options() -> StoreOptions {
    StoreOptions {
        key_groups: KEY_GROUPS,
        range: KeyGroupRange::new(0, (KEY_GROUPS - 1) as u16),
        ..StoreOptions::default()
    }
}

/// A store, its one writer and one value state.
#[derive(Debug)]
pub struct Table {
    pub store: Store,
    pub writer: Writer,
    pub state: State,
    label: u64,
}

impl Table {
    pub fn create(engine: &Engine, path: &Path, options: StoreOptions) -> Outcome<Self> {
        Self::of(Store::create(engine, path, options)?)
    }

    pub fn open(engine: &Engine, path: &Path) -> Outcome<Self> {
        Self::of(Store::open(engine, path, store_options())?)
    }

    pub fn of(store: Store) -> Outcome<Self> {
        let state = store.state(StateOptions::value("values"))?;
        let writer = store.writer(store.range())?;
        Ok(Self { store, writer, state, label: 0 })
    }

    /// A barrier, asked for and waited for.
    pub fn checkpoint(&mut self) -> Outcome<CheckpointInfo> {
        Ok(self.barrier()?.wait()?)
    }

    /// A barrier, asked for.
    pub fn barrier(&mut self) -> Outcome<alluvium::Pending> {
        self.label += 1;
        Ok(self.writer.barrier(Barrier::new(self.label))?)
    }

    /// Puts 8-byte counters of 0 under the first `n` keys.
    pub fn load_counters(&mut self, n: u64) -> Outcome {
        for i in 0..n {
            self.writer.put(self.state, Op::of(i).key(), &0_u64.to_le_bytes())?;
        }
        Ok(())
    }

    /// Puts values of `LEN` bytes that don't compress under the first `n` keys, with a checkpoint after every `every`.
    pub fn load_values<const LEN: usize>(&mut self, n: u64, every: u64) -> Outcome {
        let mut bytes = [0; LEN];
        for i in 0..n {
            value(i, 0, &mut bytes);
            self.writer.put(self.state, Op::of(i).key(), &bytes)?;
            if i % every == every - 1 {
                self.checkpoint()?;
            }
        }
        Ok(())
    }

    /// Reads the first `n` keys' versions back here and there; those that nobody changed must be version 0.
    pub fn check_values<const LEN: usize>(&mut self, n: u64, samples: u64) -> Outcome {
        let mut bytes = [0; LEN];
        for i in (0..n).step_by((n / samples).max(1) as usize) {
            value(i, 0, &mut bytes);
            let right = self.writer.read(self.state, Op::of(i).key(), |found| found == Some(&bytes[..]))?;
            if !right {
                return wrong(format!("the value of key {i} is wrong"));
            }
        }
        Ok(())
    }

    /// Ends everything, in order.
    pub fn close(self) -> Outcome {
        drop(self.writer);
        Ok(self.store.close()?)
    }
}

/// Bytes of keys and values of `n` records.
pub fn live_bytes(n: u64, value_bytes: usize) -> u64 {
    n * (KEY_BYTES + value_bytes) as u64
}

/// One more on a counter.
#[inline]
pub fn plus_one(old: Option<&[u8]>) -> Option<[u8; 8]> {
    let old = old.and_then(|old| old.first_chunk::<8>()).map_or(0, |old| u64::from_le_bytes(*old));
    Some((old + 1).to_le_bytes())
}

/// Says when something that comes every so often is due.
#[derive(Debug)]
pub struct Every {
    period: Duration,
    next: Instant,
}

impl Every {
    pub fn new(period: Duration) -> Self {
        Self { period, next: Instant::now() + period }
    }

    pub fn is_due(&mut self) -> bool {
        let due = Instant::now() >= self.next;
        if due {
            self.next = Instant::now() + self.period;
        }
        due
    }
}
