//! Alluvium: an embedded state backend storage engine for stream processing.
//!
//! Hot state lives in memory and is updated in place by one owner per key-group range; cold state lies in immutable
//! segments; a checkpoint is an immutable manifest that names segments. Start at [`Engine`] and [`Store`].
//!
//! The code is layered, imports go down only: what users hold ([`engine`], [`store`], [`writer`], [`reader`], [`snapshot`],
//! [`as_of`], [`rollback_keys`], [`batch`], [`ticket`], [`cursor`], [`bulk`], [`events`], [`state`], [`inspect`], and `remote` with the feature `object-store`); flows, one verb a file (`write`,
//! `change`, `read`, `cold`, `inflight`, `past`, [`scan`], `walk`, `namespaces`, `pop`, `delete_range`, `barrier`, [`commit`], `group_commit`, `replay`, `flush`,
//! `compact`, [`migrate`], [`checkpoint`], [`life_cycle`], `recover`, `rescale`, `reclaim`, `worker`); structures, one thing a
//! folder (`hot`, [`segment`], [`manifest`], [`changelog`], `cache`, `stack`, `merged`, `mask`, `shard`); base; [`platform`].
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests may panic"))]
#![cfg_attr(loom, expect(dead_code, reason = "loom builds the lock-free parts without those who call them"))]

/// The example of the README is run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

// api
#[cfg(not(loom))]
pub mod as_of;
#[cfg(not(loom))]
pub mod batch;
#[cfg(not(loom))]
pub mod bulk;
#[cfg(not(loom))]
pub mod cursor;
#[cfg(not(loom))]
pub mod engine;
#[cfg(not(loom))]
pub mod events;
#[cfg(not(loom))]
pub mod inspect;
#[cfg(not(loom))]
pub mod reader;
#[cfg(all(feature = "object-store", not(loom)))]
pub mod remote;
#[cfg(not(loom))]
pub mod repair;
#[cfg(not(loom))]
pub mod rollback_keys;
#[cfg(not(loom))]
pub mod snapshot;
#[cfg(not(loom))]
pub mod state;
#[cfg(not(loom))]
pub mod store;
#[cfg(not(loom))]
pub mod ticket;
#[cfg(not(loom))]
pub mod triggers;
#[cfg(not(loom))]
pub mod writer;

// flows
#[cfg(not(loom))]
mod barrier;
#[cfg(not(loom))]
mod beside;
#[cfg(not(loom))]
pub mod causality;
#[cfg(not(loom))]
mod change;
#[cfg(not(loom))]
pub mod checkpoint;
#[cfg(not(loom))]
mod cold;
#[cfg(not(loom))]
pub mod commit;
#[cfg(not(loom))]
mod compact;
#[cfg(not(loom))]
mod delete_range;
#[cfg(not(loom))]
mod flush;
#[cfg(not(loom))]
mod group_commit;
#[cfg(not(loom))]
mod inflight;
#[cfg(not(loom))]
pub mod life_cycle;
#[cfg(not(loom))]
pub mod migrate;
#[cfg(not(loom))]
mod namespaces;
#[cfg(not(loom))]
mod past;
#[cfg(not(loom))]
mod pop;
#[cfg(not(loom))]
mod read;
#[cfg(not(loom))]
mod reclaim;
#[cfg(not(loom))]
mod recover;
#[cfg(not(loom))]
mod replay;
mod rescale;
#[cfg(not(loom))]
pub mod rollback;
#[cfg(not(loom))]
pub mod scan;
#[cfg(not(loom))]
mod walk;
#[cfg(not(loom))]
mod warm;
#[cfg(not(loom))]
mod worker;
#[cfg(not(loom))]
mod write;

// structures
mod cache;
pub mod changelog;
mod hot;
pub mod hot_list;
pub mod manifest;
mod mask;
mod merged;
pub mod segment;
#[cfg(not(loom))]
mod shard;
mod splice;
mod stack;
#[cfg(not(loom))]
mod undone;

// base
pub mod checksum;
pub mod codec;
pub mod convert;
pub mod error;
pub mod ids;
pub mod key;
#[cfg(not(loom))]
pub mod metrics;
pub mod multiset;
pub mod options;
pub mod pacing;
pub mod packed;
mod purge_clock;
pub mod scope;
mod spans;
pub mod states;
pub mod stats;

// platform
pub mod platform;

#[cfg(not(loom))]
#[doc(hidden)]
pub use compact::measuring;
#[cfg(all(feature = "recorder", not(loom)))]
#[doc(hidden)]
pub use platform::storage::{faults, recorder};
#[cfg(all(feature = "simulation", not(loom)))]
#[doc(hidden)]
pub use platform::threads::simulated;
#[cfg(not(loom))]
pub use {
    as_of::{AsOf, Past},
    barrier::{Barrier, Pending, ReadsInFlight},
    batch::{Batch, Operation},
    bulk::BulkLoad,
    causality::{Closure, EventAt},
    checkpoint::CheckpointInfo,
    commit::{Commit, CommitInfo, Committed, Lasting},
    cursor::Cursor,
    engine::Engine,
    events::{Applying, Handler, HandlerId},
    life_cycle::{CheckpointFiles, FileInfo},
    metrics::Metrics,
    migrate::Migration,
    reader::Reader,
    repair::{BadEvent, Compensation, Content, Dependents, GroupRepair, Repaired, Retraction, Undo, Way},
    rollback::Rewound,
    rollback_keys::{KeyScope, RolledBack},
    scan::MapRange,
    snapshot::Snapshot,
    store::{CheckpointSource, Recovery, RecoveryStage, State, Store, Warming},
    ticket::{Answer, Ticket},
    triggers::{Fired, Invariant, Trigger, TriggerId},
    writer::{SharedWriter, Writer},
};
pub use {
    convert::Convert,
    error::{Class, Error, Result},
    ids::{Epoch, EventId, KeyGroup, KeyGroupRange, SegmentId, StateId},
    key::Key,
    options::{
        ChangelogOptions, Durability, EngineOptions, History, MemoryShare, Retention, StoreOptions, WarmPart, WarmUp,
    },
    pacing::Policy,
    packed::{Packed, PackedRecord},
    platform::storage::{FetchRequest, Fetches, PageCache, SegmentSink, StorageChoice},
    scope::Scope,
    states::{LogMode, Merge, MergeOperator, Purge, StateKind, StateOptions, Ttl},
};
