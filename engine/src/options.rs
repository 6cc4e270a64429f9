//! Options of engines and stores, checked once when they are opened.

use crate::error::{Error, Result};
use crate::ids::KeyGroupRange;
use crate::pacing::Policy;
use crate::platform::arena::Share;
use crate::platform::storage::{PageCache, SegmentSink, StorageChoice};
use std::sync::Arc;

/// The smallest memory budget, in bytes.
pub const BUDGET_BYTES_MIN: usize = 4 << 20;

/// The smallest limit of a part of it, in bytes.
pub const SHARE_BYTES_MIN: usize = 1 << 20;

/// Options of an [`Engine`](crate::Engine).
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The hard limit on what all stores together keep in memory, in bytes; at least 4 MiB.
    pub memory_budget_bytes: usize,
    /// Up to where the budget can be raised later, in bytes of address space; at least the budget, at most 32 GiB.
    pub memory_ceiling_bytes: usize,
    /// Background threads for flushing and compaction; at least 1.
    pub threads: usize,
    /// Which I/O back end to use.
    pub storage: StorageChoice,
    /// What of segments goes through the system's page cache, which is no part of the budget: single reads, unless said otherwise.
    pub page_cache: PageCache,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            memory_budget_bytes: 256 << 20,
            memory_ceiling_bytes: 0,
            threads: 2,
            storage: StorageChoice::Auto,
            page_cache: PageCache::default(),
        }
    }
}

impl EngineOptions {
    pub(crate) fn validate(&self) -> Result<()> {
        let problem = |option, problem: &str| Err(Error::Options { option, problem: problem.into() });
        if self.memory_budget_bytes < BUDGET_BYTES_MIN {
            return problem("memory_budget_bytes", "less than 4 MiB");
        }
        if self.memory_budget_bytes > 32 << 30 {
            return problem("memory_budget_bytes", "more than 32 GiB");
        }
        if self.threads == 0 || self.threads > 64 {
            return problem("threads", "not in 1 to 64");
        }
        Ok(())
    }
}

/// How far the engine goes to make a checkpoint survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// A checkpoint is complete when its files are durable on this machine's disk.
    #[default]
    Checkpoint,
    /// The host copies each checkpoint's files away itself: nothing is synced here.
    Host,
    /// As [`Durability::Checkpoint`], and what is [committed](crate::Store::commit) between two checkpoints lasts as well: changes are
    /// appended to a changelog, and recovery replays it ([`StoreOptions::changelog`]).
    Changelog,
}

/// How a store's changelog is written ([`Durability::Changelog`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangelogOptions {
    /// How long a commit may wait for others, of all stores of the engine, so that one sync makes them durable together.
    pub delay: std::time::Duration,
    /// It waits no longer where so much is to be written, in bytes.
    pub bytes: usize,
    /// How long its files are, in bytes: at least 1 MiB. Each takes its room when it is begun, and goes when a checkpoint has all of it.
    pub file_bytes: u64,
    /// Where there is no more than this to be replayed, in bytes, a store is opened with all of it checked, and a range is replayed before its
    /// writer is there. Of more, each key group is checked and replayed when it is first asked for, and all the others meanwhile: the first reads come much earlier,
    /// and everything is there later.
    pub whole_replay_bytes: u64,
}

impl Default for ChangelogOptions {
    fn default() -> Self {
        let delay = std::time::Duration::from_millis(10);
        Self { delay, bytes: 1 << 20, file_bytes: 64 << 20, whole_replay_bytes: 64 << 20 }
    }
}

/// How far back the past of a store can be read and brought back, by position of its changelog
/// ([`Store::as_of_position`](crate::Store::as_of_position)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// So many of the newest complete checkpoints are kept, whatever becomes of them otherwise, and the changelog from the oldest of
    /// them on; 0: none. Nothing is kept longer than without it where it is 1.
    pub checkpoints: usize,
}

/// A part of an engine's memory budget, for a group of stores: a slot's, say
/// ([`Engine::memory_share`](crate::Engine::memory_share)). Cheap to clone; it is given back when the last clone and the last
/// store in it are gone.
#[derive(Clone, Debug)]
pub struct MemoryShare(pub(crate) Arc<Share>);

impl MemoryShare {
    /// What its stores have taken, in bytes.
    pub fn used_bytes(&self) -> usize {
        self.0.used_bytes()
    }

    /// Changes its limit, in bytes. A smaller one takes effect as writers work: they spill and give back what is above it.
    pub fn set_limit_bytes(&self, bytes: usize) {
        self.0.set_limit_bytes(bytes);
    }
}

/// Whose word decides how long a checkpoint is kept. One that is [retained](crate::Store::retain), and the newest, stay
/// whatever comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Retention {
    /// Nobody's: the newest are kept, as many as [`StoreOptions::retained_checkpoints`] says.
    #[default]
    Newest,
    /// The host's, which says of each checkpoint what became of it: [`confirm`](crate::Store::confirm),
    /// [`abort`](crate::Store::abort), [`subsume`](crate::Store::subsume), in any order, late, or never. The newest confirmed
    /// ones are kept, as many as [`StoreOptions::retained_checkpoints`] says, and those that came after them.
    Host {
        /// At most so many of those, the newest: a host that is never heard of again must not fill the disk.
        unconfirmed_max: usize,
    },
}

/// What is brought into memory when a store was opened, beside what is asked for. It serves meanwhile: who asks for something that isn't
/// there yet reads it at once, and nobody waits for the rest. It ends where memory is nearly full.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum WarmUp {
    /// Nothing: what is asked for is read from disk, and stays.
    Nothing,
    /// All that there is, in the order of its keys, where memory has room for all of it; else what [`WarmUp::Hottest`] brings.
    #[default]
    Fitting,
    /// What was used most before, hottest first, by sequential reads; where the store has a hot list
    /// ([`StoreOptions::hot_list_bytes`]), else nothing.
    Hottest,
    /// These parts one after the other, each in the order of key groups, states and keys; all that there is, where there are none.
    Declared(Vec<WarmPart>),
}

/// A part of a store that is to be in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WarmPart {
    /// The state's name; `None`: all states. One that isn't there is passed over.
    pub state: Option<String>,
    /// The key groups; `None`: all of them.
    pub groups: Option<KeyGroupRange>,
}

/// Options of a [`Store`](crate::Store).
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How many key groups the whole job has: 1 to 65,536. Fixed when the store is created.
    pub key_groups: u32,
    /// The key groups of this store; within `0..key_groups`.
    pub range: KeyGroupRange,
    /// What makes a checkpoint complete.
    pub durability: Durability,
    /// How the changelog is written, where there is one.
    pub changelog: ChangelogOptions,
    /// How far back the past can be read by position; needs a changelog.
    pub history: History,
    /// When checkpoints are due, for a host that asks ([`Store::next_checkpoint`](crate::Store::next_checkpoint)). The engine
    /// takes none by itself.
    pub checkpoint_policy: Policy,
    /// How many of the newest checkpoints are kept; at least 1. Others go once they are subsumed, unless retained.
    pub retained_checkpoints: usize,
    /// Whose word decides which are.
    pub retention: Retention,
    /// Whether segments are compressed (LZ4) where it pays.
    pub compress: bool,
    /// The part of the engine's memory budget that the store lives in, with others of its group
    /// ([`Engine::memory_share`](crate::Engine::memory_share)); `None`: the whole.
    pub memory_share: Option<MemoryShare>,
    /// What no other store takes of that memory, in bytes, used or not.
    pub memory_minimum_bytes: usize,
    /// How many [snapshots](crate::Snapshot) may live at once: each keeps files on disk.
    pub snapshots_max: usize,
    /// Whether segments that aren't in the directory are asked of the host ([`Store::fetches`](crate::Store::fetches)). Without
    /// it a segment that is missing is an error.
    pub fetch: bool,
    /// Where the bytes of segments go while they are written, beside the disk.
    pub sink: Option<Arc<dyn SegmentSink>>,
    /// Whether what is written is *staged* until it is [committed](crate::Store::commit): checkpoints have what the last
    /// commit left, and with it its offsets and metadata.
    pub transactional: bool,
    /// How much each writer may have staged, in bytes, about: while there is more, its writes fail with [`Error::Staged`]. What
    /// doesn't fit into memory is spilled.
    pub staged_bytes_max: usize,
    /// How long the hot list is, in bytes, about: a file beside the checkpoints with the records that are used most, so that they
    /// return by sequential reads after a crash ([`WarmUp::Hottest`]). It is written anew now and then, after a checkpoint, and adds an eighth
    /// to what the store writes at most. 0: none is kept.
    pub hot_list_bytes: usize,
    /// What is brought into memory once the store is open and its ranges are claimed.
    pub warm_up: WarmUp,
    /// The seed of the store's hashes; `None` draws one. Stores that will be merged by rescaling may share one.
    pub hash_seed: Option<u64>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            key_groups: 128,
            range: KeyGroupRange::new(0, 127),
            durability: Durability::Checkpoint,
            changelog: ChangelogOptions::default(),
            history: History::default(),
            checkpoint_policy: Policy::Manual,
            retained_checkpoints: 1,
            retention: Retention::Newest,
            compress: true,
            memory_share: None,
            memory_minimum_bytes: 0,
            snapshots_max: 16,
            fetch: false,
            sink: None,
            transactional: false,
            staged_bytes_max: usize::MAX,
            hot_list_bytes: 0,
            warm_up: WarmUp::default(),
            hash_seed: None,
        }
    }
}

impl StoreOptions {
    pub(crate) fn validate(&self) -> Result<()> {
        let problem = |option, problem: &str| Err(Error::Options { option, problem: problem.into() });
        if self.key_groups == 0 || self.key_groups > 1 << 16 {
            return problem("key_groups", "not in 1 to 65,536");
        }
        if u32::from(self.range.last()) >= self.key_groups {
            return problem("range", "goes past the last key group");
        }
        if self.changelog.file_bytes < 1 << 20 || self.changelog.file_bytes > 1 << 40 {
            return problem("changelog.file_bytes", "not in 1 MiB to 1 TiB");
        }
        if self.changelog.bytes == 0 {
            return problem("changelog.bytes", "less than 1");
        }
        if self.history.checkpoints > 0 && self.durability != Durability::Changelog {
            return problem("history", "there is no changelog to keep");
        }
        if self.retained_checkpoints == 0 {
            return problem("retained_checkpoints", "less than 1");
        }
        self.checkpoint_policy.validate()
    }
}
