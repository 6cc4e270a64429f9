//! A store: one directory of state.

mod history;
mod paced;
mod recovery;

use crate::platform::threads::{Mutex, RwLock};
pub(crate) use paced::{Mark, Paced};
pub use recovery::{Recovery, RecoveryStage, Warming};

use crate::as_of::Past;
use crate::barrier::{self, Barrier, Pending};
use crate::bulk::BulkLoad;
use crate::changelog::Changelog;
use crate::checkpoint::{Catalogue, CheckpointInfo};
use crate::commit::{self, Commit, CommitInfo, Committed};
use crate::convert::{Conversions, Convert};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::{self, Handler, HandlerId};
use crate::flush::Queue;
use crate::hot::Memory;
use crate::ids::{Epoch, KeyGroupRange, SegmentId, StateId};
use crate::key::Key;
use crate::life_cycle::{self, CheckpointFiles};
use crate::manifest::format::encode_state;
use crate::manifest::{StateInfo, StoreInfo, Unsynced};
use crate::metrics::{Metrics, StoreCounts};
use crate::migrate::{self, Migration};
use crate::options::StoreOptions;
use crate::platform::arena::Share;
use crate::platform::storage::{DirLock, Fetches, Storage};
use crate::purge_clock::PurgeClock;
use crate::reader::Reader;
use crate::shard::{Shard, ShardKind};
use crate::snapshot::Snapshot;
use crate::stack::Version;
use crate::states::{StateDef, StateKind, StateOptions};
use crate::triggers::Triggers;
use crate::undone::{Clearing, Rollbacks};
use crate::writer::Writer;
use crate::{checkpoint, recover, replay};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

mod registry;

pub(crate) use registry::{add_logged_state, check_room, state_defs};
use registry::{check_same, new_state, state_info};

/// A state of a store, as [`Store::state`] returns it. Only good for the store (and its writers and readers) that it
/// comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct State(pub(crate) StateId);

impl State {
    /// The state's number in the store.
    pub const fn id(self) -> StateId {
        self.0
    }

    /// The state of this number, for bindings that hold numbers: [`Store::state`] said it. What is done with one that the store
    /// doesn't have fails with [`Error::State`].
    pub const fn numbered(id: StateId) -> Self {
        Self(id)
    }
}

/// One directory of state: one operator subtask, or one stream task's store. Cheap to clone.
///
/// Dropping the last clone, writer and reader without [`Store::close`] is like a crash: what was not checkpointed is lost.
///
/// **Opening and restoring** fail with [`Error::NoCheckpoint`] where there is nothing to open, with [`Error::Options`]
/// where `options` contradict what is there, and with an [`Error::Storage`] that names file and offset: the directory is
/// open elsewhere ([`Fault::Locked`](crate::platform::storage::Fault::Locked)), in use by another store (`Exists`), of a
/// newer format (`NewerVersion`), or something in it is damaged, missing or foreign. **Every call** fails with
/// [`Error::Closed`] once the store is closed, and with what background work failed with once that failed for good.
///
/// ```
/// use alluvium::{Barrier, Engine, EngineOptions, Key, StateOptions, Store, StoreOptions};
/// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
/// # let path = directory.path();
/// let engine = Engine::open(EngineOptions::default())?;
/// let store = Store::create(&engine, path, StoreOptions::default())?;
/// let counts = store.state(StateOptions::value("counts"))?;
/// let mut writer = store.writer(store.range())?;
/// let key = store.key(b"JFK-SEA");
/// writer.put(counts, key, &1_u64.to_le_bytes())?;
/// store.barrier(Barrier::new(7))?.wait()?;
/// assert_eq!(writer.get(counts, key)?, Some(1_u64.to_le_bytes().to_vec()));
/// # Ok::<(), alluvium::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<StoreInner>,
}

/// A checkpoint to restore from: its directory and label (`None`: the newest one there).
#[derive(Clone, Debug)]
pub struct CheckpointSource {
    /// The store's directory, or one that a checkpoint was exported to.
    pub directory: PathBuf,
    /// Which checkpoint.
    pub label: Option<u64>,
}

/// Where a store's epochs end: they are never used again, and wrapping around would break the stamp rule. One that is cut
/// a thousand times a second gets there after seven weeks, once a second after 136 years.
pub(crate) const EPOCH_MAX: u32 = u32::MAX - (1 << 20);

/// A store that can cut no more epochs off.
pub(crate) fn epochs_used_up() -> Error {
    Error::Background("the store's epochs are used up; what it holds can be read, and exported by iterating".into())
}

#[derive(Debug)]
pub(crate) struct StoreInner {
    pub engine: Engine,
    pub storage: Arc<dyn Storage>,
    pub info: StoreInfo,
    pub options: StoreOptions,
    pub states: RwLock<Vec<Arc<StateDef>>>,
    /// Moves on, under the lock of the states, whenever one is registered or changes.
    pub states_number: AtomicU64,
    /// What values of older schemas go through.
    pub conversions: Conversions,
    /// How many of the states were there when the store was opened: only they can have anything on disk then.
    pub restored_states: usize,
    /// Held while a range is being claimed.
    pub claims: Mutex<()>,
    pub shards: Mutex<Vec<Arc<Shard>>>,
    /// The current arrangement. Changed under this lock only, together with the shards' views.
    pub version: Mutex<Arc<Version>>,
    pub epoch: AtomicU32,
    /// The changelog; nothing is appended to it where the store has none.
    pub log: Arc<Changelog>,
    /// What the host does with events: by name, each version, of which the last is applied.
    pub handlers: RwLock<Vec<Vec<Arc<dyn Handler>>>>,
    /// See [`StoreInner::applied_state`].
    pub applied: OnceLock<State>,
    /// See [`StoreInner::repairs_state`].
    pub repairs: OnceLock<State>,
    /// What the host wants to be told of.
    pub triggers: Triggers,
    /// What of it is still to be replayed.
    pub replay: crate::replay::Replay,
    /// What was committed last, in a transactional store or in the changelog.
    pub last_commit: Mutex<Arc<CommitInfo>>,
    /// Up to where it was committed at the cuts whose checkpoints and snapshots are not complete.
    pub cuts: Mutex<Vec<u32>>,
    pub attempt: u64,
    pub segments_named: AtomicU64,
    pub queue: Queue,
    /// What was rolled back, as far as something in line was cut off before.
    pub rollbacks: Mutex<Rollbacks>,
    /// What is to become of what rollbacks left behind in memory. Locked alone.
    pub clearing: Mutex<Clearing>,
    pub reads: crate::inflight::Reads,
    pub warm: crate::warm::Warm,
    pub compaction: crate::compact::Schedule,
    /// The snapshots that live.
    pub snapshots: Mutex<Vec<std::sync::Weak<crate::flush::Taking>>>,
    pub catalogue: Mutex<Catalogue>,
    /// What of them may not be durable.
    pub unsynced: Unsynced,
    /// The checkpoints on their way, oldest first. Locked after the catalogue: a barrier takes this lock alone.
    pub open_checkpoints: Mutex<Vec<crate::checkpoint::Open>>,
    pub counts: StoreCounts,
    pub purge_clock: PurgeClock,
    pub failure: Mutex<Option<Error>>,
    /// What the flush that is being tried again failed with last; gone when it succeeds.
    pub trouble: Mutex<Option<Error>>,
    pub closed: AtomicBool,
    pub restored: Option<CheckpointInfo>,
    /// When checkpoints are due.
    pub paced: Paced,
    /// Its part of the memory budget.
    pub share: Arc<Share>,
    /// What is elsewhere, if anything may be.
    pub fetches: Option<Arc<Fetches>>,
    /// Held as long as the store is open.
    pub lock: Mutex<Option<Arc<DirLock>>>,
}

impl Store {
    /// Creates a store in an empty or missing directory. A directory with a checkpoint in it is refused; segments that no
    /// checkpoint names, as a process leaves that dies before its first one, are deleted.
    pub fn create(engine: &Engine, path: &Path, options: StoreOptions) -> Result<Self> {
        recover::create(engine, path, options)
    }

    /// Opens a store at its newest checkpoint; a directory without one is refused.
    ///
    /// Key groups and range are the checkpoint's; those in `options` must agree with them. So is the seed of its hashes;
    /// the one in `options` counts for new stores alone.
    pub fn open(engine: &Engine, path: &Path, options: StoreOptions) -> Result<Self> {
        recover::open(engine, path, None, options)
    }

    /// Opens a store at its newest checkpoint, or creates one where there is none. A damaged checkpoint is an error, as
    /// with [`Store::open`].
    pub fn open_or_create(engine: &Engine, path: &Path, options: StoreOptions) -> Result<Self> {
        recover::open_or_create(engine, path, options)
    }

    /// Opens a store at the checkpoint of this label, which the caller so chooses instead of the newest. Younger
    /// checkpoints stay on disk until the next one of this store is complete. [`Error::Checkpoint`] where there is none of
    /// this label.
    pub fn open_checkpoint(engine: &Engine, path: &Path, label: u64, options: StoreOptions) -> Result<Self> {
        recover::open(engine, path, Some(label), options)
    }

    /// Makes a new store in `path` that holds the key groups of `options.range`, from checkpoints that together cover
    /// them: one store from one, several from one, one from several. Metadata only: segments are linked, or copied
    /// where the file system can't link. [`Error::Options`] where the sources don't cover the range or overlap in it, or
    /// are of jobs with different key groups; [`Error::State`] where they use one name for states of different kinds.
    pub fn restore(engine: &Engine, path: &Path, sources: &[CheckpointSource], options: StoreOptions) -> Result<Self> {
        recover::restore(engine, path, sources, options)
    }

    /// Makes a new store in `path` that holds the key groups of `options.range`, from the manifests of checkpoints that
    /// together cover them, as [`Store::restore`] does; their segments are elsewhere ([`CheckpointFiles::manifest`] is where
    /// the manifests come from). It serves at once: what it needs of the segments is asked of the host on demand, the rest
    /// in the background ([`Store::fetches`]). Needs [`StoreOptions::fetch`].
    pub fn restore_absent(engine: &Engine, path: &Path, manifests: &[&[u8]], options: StoreOptions) -> Result<Self> {
        recover::restore_absent(engine, path, manifests, options)
    }

    /// What the store wants of its host: the segments that aren't in its directory. `None` without
    /// [`StoreOptions::fetch`].
    pub fn fetches(&self) -> Option<Arc<Fetches>> {
        self.inner.fetches.clone()
    }

    /// The store's key groups.
    pub fn range(&self) -> KeyGroupRange {
        self.inner.info.range
    }

    /// How many key groups the whole job has.
    pub fn key_groups(&self) -> u32 {
        self.inner.info.key_groups
    }

    /// A key in the key group that its hash gives it ([`crate::key::key_group_of`]).
    pub fn key<'a>(&self, key: &'a [u8]) -> Key<'a> {
        Key::hashed(self.inner.info.key_groups, key)
    }

    /// Registers a state, or finds it where there is one of this name and the same kind and merge operator (by its name).
    ///
    /// What `options` say of the time to live holds for what is written and read from now on, also where they say nothing
    /// of it: then nothing expires that is written from now on, and reading refreshes nothing. What was written before
    /// keeps the expiry that it has, or has not. So a state that expires is registered with its time to live each time,
    /// by whoever registers it. Only whether the values of a list or merging state expire is settled when it is made:
    /// asking for the other fails.
    ///
    /// A schema stays where `options` have none. Of several operators of one name the first since the store was opened is
    /// used.
    ///
    /// # Errors
    /// [`Error::State`] where `options` contradict what is known of the state, or a limit: names of 1 to 1,024 bytes, a
    /// time to live of at least 1 ms, 65,536 states, [`STATES_BYTES_MAX`](crate::states::STATES_BYTES_MAX).
    pub fn state(&self, options: StateOptions) -> Result<State> {
        options.validate()?;
        let brings = !options.conversions.is_empty();
        let state = self.inner.register(options)?;
        if brings {
            // What waited for them in the background goes on.
            crate::compact::consider(&self.inner);
        }
        Ok(state)
    }

    /// Migrates a state to another schema: from the return of this call on every value that is read went through
    /// `conversion`, and every value that is written has to be of the new schema. What is on disk is converted as it is
    /// read, and rewritten in the background ([`Store::migration`] says how far that is). So the call takes about as long
    /// as a small checkpoint, however large the state is. Keys, namespaces and user keys stay as they are.
    ///
    /// `schema` becomes the host's schema of the state, unless it is empty ([`StateOptions::user`]). Like everything else the
    /// migration lasts from the next checkpoint on; a store that is opened at an older one has the old schema. A store that
    /// is opened in the middle needs the conversion again ([`StateOptions::conversion`]). Snapshots that were taken before,
    /// reads in flight, and checkpoints that were cut before give values of the old schema. A state whose last migration is
    /// still under way can be migrated again; what is left of it goes through both.
    ///
    /// Writers may be there, and be busy with other states; but nobody may use the state while this call is under way:
    /// what a thread writes that doesn't know of it yet would count as of the new schema. A bulk load of the state that is
    /// open fails when it is finished.
    ///
    /// # Errors
    /// [`Error::State`] where the conversion's name has not 1 to 1,024 bytes, or a conversion of this name is under way, or
    /// more than 64 are. [`Error::Busy`] where the state is written to again and again meanwhile, or
    /// something is staged; else as [`Store::barrier`].
    /// In any case nothing has changed then. What a conversion fails with, a panic too, is told to those who read such a
    /// value, as [`Error::Conversion`]: nothing is lost, and in the background it is left alone until a conversion of the
    /// same name is registered that gets on with it.
    pub fn migrate(&self, state: State, schema: &[u8], conversion: Arc<dyn Convert>) -> Result<()> {
        migrate::run(&self.inner, state, schema, &conversion)
    }

    /// How far the migrations of a state are; `None` where none is under way.
    pub fn migration(&self, state: State) -> Result<Option<Migration>> {
        migrate::progress(&self.inner, state)
    }

    /// Registers what the host does with events ([`Writer::apply_event`]); one of the same name takes the place of the earlier, which is kept
    /// for what it applied where it is of another version. Where the changelog has events, their handlers have to be registered, in all
    /// versions that applied them, before the first writer is claimed or the first reader read from; the present one last.
    ///
    /// # Errors
    /// [`Error::Options`] where the name has not 1 to 1,024 bytes.
    pub fn handler(&self, handler: Arc<dyn Handler>) -> Result<HandlerId> {
        events::register(&self.inner, handler)
    }

    /// The states, in the order of their numbers.
    pub fn states(&self) -> Vec<Arc<StateDef>> {
        self.inner.states.read().clone()
    }

    /// Claims a range of key groups for writing; refused ([`Error::RangeClaimed`]) while another writer holds any of them.
    /// A range that was held otherwise before has its state flushed first, which waits for the disk and fails like it;
    /// [`Error::Busy`] where something is staged in it.
    ///
    /// What the changelog has of the range behind the checkpoint that the store was opened at is replayed first, unless it was already. Where
    /// that is [long](crate::ChangelogOptions::whole_replay_bytes) each key group is when it is first asked for, and the others meanwhile.
    /// Merge operators of the host have to be registered before ([`Error::State`] where one isn't).
    pub fn writer(&self, range: KeyGroupRange) -> Result<Writer> {
        self.inner.claim(range)
    }

    /// Begins a load of sorted data, of about so many records. See [`BulkLoad`].
    pub fn bulk_load(&self, records: u64) -> Result<BulkLoad<'_>> {
        BulkLoad::new(&self.inner, records)
    }

    /// A reader, which sees what writers did without holding them up.
    pub fn reader(&self) -> Reader {
        Reader::new(&self.inner)
    }

    /// Cuts the store's epoch: everything written before is in the checkpoint, nothing written after. The checkpoint
    /// becomes complete in the background.
    ///
    /// It takes some microseconds ([`Writer::barrier`] fewer), but waits for an operation that is under way (a scan is
    /// one), and, where two epochs of a writer are in flight already, for the first of them to be flushed. A writer of
    /// another thread is cut between two of its operations, wherever it stands in an event. Fails with a [`Class::Retry`](crate::Class::Retry)
    /// error where that finds the disk full, with [`Error::Checkpoint`] where offsets or metadata are not what
    /// [`Barrier`] says, and once background work failed for good.
    pub fn barrier(&self, barrier: Barrier) -> Result<Pending> {
        barrier::cut(&self.inner, barrier, None)
    }

    /// Commits what all writers did, as one, with the sources' offsets. Takes microseconds, however much it is ([`Writer::commit`] fewer).
    ///
    /// With a changelog ([`Durability::Changelog`](crate::Durability::Changelog)) it comes to last without a checkpoint, soon after:
    /// [`Committed`] says when. Of a transactional store, with or without one, what was staged is from now on in committed reads and in
    /// every checkpoint. Without a changelog it lasts with the next checkpoint, and a crash before that goes back to the last commit
    /// that a checkpoint has.
    ///
    /// A writer of another thread is cut between two of its operations, wherever it stands in an event.
    ///
    /// ```
    /// # use alluvium::{Commit, Durability, Engine, EngineOptions, StateOptions, Store, StoreOptions};
    /// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
    /// # let engine = Engine::open(EngineOptions::default())?;
    /// let options = StoreOptions { durability: Durability::Changelog, ..StoreOptions::default() };
    /// let store = Store::create(&engine, directory.path(), options.clone())?;
    /// let counts = store.state(StateOptions::value("counts"))?;
    /// let mut writer = store.writer(store.range())?;
    /// writer.put(counts, store.key(b"JFK"), b"1")?;
    /// writer.commit(Commit { offsets: vec![(store.range(), b"event 17".to_vec())], ..Commit::default() })?.wait()?;
    /// drop(writer);
    /// store.close()?; // Without a checkpoint.
    /// let store = Store::open(&engine, directory.path(), options)?;
    /// assert_eq!(store.last_commit().offsets[0].1, b"event 17");
    /// assert_eq!(store.reader().get(counts, store.key(b"JFK"))?, Some(b"1".to_vec()));
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Options`] where the store has no changelog and isn't transactional, or where offsets or metadata are not what [`Commit`]
    /// says; and once background work failed for good.
    pub fn commit(&self, commit: Commit) -> Result<Committed> {
        commit::commit(&self.inner, commit, None)
    }

    /// Undoes what is staged in a transactional store, by all its writers, as one: everything is as the last commit left it.
    /// Takes time by how much is staged, and, where
    /// some of it was spilled, by how much of the tables that it belongs to is in memory; where some of it is just being spilled it
    /// waits for that. Meanwhile the store's writers wait. A full disk is no hindrance.
    ///
    /// # Errors
    /// [`Error::Options`] where the store isn't transactional; and once background work failed for good.
    pub fn abort_transaction(&self) -> Result<()> {
        commit::abort(&self.inner, None)
    }

    /// What was committed last; of a store that was just opened, what its changelog or, where that has nothing newer, its checkpoint has.
    /// A store that neither has a changelog nor is transactional says what it was opened with.
    pub fn last_commit(&self) -> Arc<CommitInfo> {
        Arc::clone(&self.inner.last_commit.lock())
    }

    /// How much is staged, in memory and on disk, in bytes, about.
    pub fn staged_bytes(&self) -> usize {
        self.inner.shards.lock().iter().map(|shard| shard.cell.borrow().hot.staged_bytes()).sum()
    }

    /// The store as it is now, to be read while it goes on. See [`Snapshot`]. Of a transactional store, as the last commit
    /// left it.
    ///
    /// # Errors
    /// [`Error::Busy`] where [`StoreOptions::snapshots_max`] of them live; else as [`Store::barrier`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::take(&self.inner)
    }

    /// The store as it was at a checkpoint that is kept ([`Store::checkpoints`]), to be read while it goes on; nothing is flushed for it. The
    /// checkpoint's segments stay on disk while it lives, whatever becomes of the checkpoint.
    ///
    /// States that were registered later are empty. One that was migrated since is refused with [`Error::State`], as what the checkpoint has
    /// is of another schema; where the migration was under way already at the checkpoint, values are given through its conversions. A
    /// [`Snapshot`]'s clock begins at 0: nothing is expired before [`Snapshot::set_time_ms`].
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where no checkpoint of this label is kept; it says which are. [`Error::Busy`] as of [`Store::snapshot`].
    pub fn as_of(&self, label: u64) -> Result<Snapshot> {
        Snapshot::of_checkpoint(&self.inner, label)
    }

    /// The store as it was at a position of its changelog, to be read while it goes on: see [`Past`]. Positions are those of commits
    /// ([`CommitInfo::position`]) and checkpoints ([`CheckpointInfo::position`]), of [`Store::position`], and all between them. What lies
    /// behind the last sync is synced first.
    ///
    /// # Errors
    /// [`Error::Options`] without [`StoreOptions::history`]; [`Error::Position`] where the history doesn't go back so far, or the changelog
    /// not so far forward; [`Error::Busy`] as of [`Store::snapshot`].
    pub fn as_of_position(&self, position: u64) -> Result<Past> {
        Past::new(&self.inner, position)
    }

    /// The position in the changelog behind everything that was done so far, committed or not; 0 where there never was one.
    pub fn position(&self) -> Result<u64> {
        commit::log_all(&self.inner)
    }

    /// The retained checkpoints, oldest first. One that a new one makes superfluous is among them until it has been let go of,
    /// in the background.
    pub fn checkpoints(&self) -> Vec<CheckpointInfo> {
        self.inner.catalogue.lock().list()
    }

    /// The checkpoint that the store was opened at.
    pub fn restored(&self) -> Option<&CheckpointInfo> {
        self.inner.restored.as_ref()
    }

    /// Keeps a checkpoint until it is released or the store is closed, however many come after it. Opening a store finds all
    /// checkpoints of the directory; those to be kept have to be named again before the next one is complete.
    /// [`Error::Checkpoint`] where there is none of this label.
    pub fn retain(&self, label: u64) -> Result<()> {
        self.inner.check_open()?;
        self.inner.catalogue.lock().retain(label)
    }

    /// Lets go of a checkpoint. The newest one always stays; for now so do that which the store was opened at, until the next is complete, and those that
    /// the history begins at ([`StoreOptions::history`]). [`Error::Checkpoint`] where there is none of this label. With an error of the storage it is let go of, too.
    pub fn release(&self, label: u64) -> Result<()> {
        checkpoint::release(&self.inner, label)
    }

    /// The host's word that a checkpoint is complete, its parts in other places included: later ones build on its files
    /// ([`Store::files`]), and it is kept in place of those before it. Of one that is on its way the word is remembered;
    /// where there is none of this label, nothing happens: words come late, twice, or for what is gone.
    pub fn confirm(&self, label: u64) -> Result<()> {
        life_cycle::confirm(&self.inner, label)
    }

    /// The host's word that it gave a checkpoint up. One that is on its way is aborted as by [`Pending::abort`], a complete
    /// one let go of as by [`Store::release`], in the background; where there is none of this label, nothing happens.
    pub fn abort(&self, label: u64) -> Result<()> {
        life_cycle::abort(&self.inner, label)
    }

    /// The host's word that it needs neither this checkpoint nor those before it any more, but for those that stand alone
    /// ([`Barrier::standalone`]), and those that it [retains](Store::retain). Where there is none of this label, nothing happens.
    pub fn subsume(&self, label: u64) -> Result<()> {
        life_cycle::subsume(&self.inner, label)
    }

    /// The files of a checkpoint that is complete, for a host that copies them away. They are pinned as long as what is
    /// returned lives. [`Error::Checkpoint`] where there is none of this label.
    pub fn files(&self, label: u64) -> Result<CheckpointFiles> {
        life_cycle::files(&self.inner, label)
    }

    /// Puts a checkpoint's files into another, existing directory, durably: hard links, or copies where links can't be.
    /// The directory can then be opened or restored from. What is there already from an earlier export is left as it is;
    /// any other file of the same name is refused. [`Error::Options`] where there is no such directory.
    pub fn export(&self, label: u64, directory: &Path) -> Result<()> {
        checkpoint::export(&self.inner, label, directory)
    }

    /// Everything in a checkpoint, in the order of key groups, then states, then keys. [`Error::Checkpoint`] where there is
    /// none of this label, [`Error::State`] where it has a state that the store has not; the iterator gives an [`Error::Storage`] at damage, and no end.
    pub fn iterate(&self, label: u64) -> Result<checkpoint::Iter> {
        checkpoint::iterate(&self.inner, label)
    }

    /// What the store counted since it was opened.
    pub fn metrics(&self) -> Metrics {
        self.inner.metrics()
    }

    /// Merges all that can be merged now, and waits for it. Not needed for correctness; useful before measuring space. Where
    /// a state's values expire or are purged, what is due goes. Fails while the operator of a merging state was not registered since the store was opened;
    /// with [`Error::TooLong`], all else being merged, where a list has become longer than a value may be, flush by flush.
    pub fn compact(&self) -> Result<()> {
        crate::compact::all(&self.inner)
    }

    /// Waits for what is under way and closes the store. What was written after the last barrier is lost, by design:
    /// take a checkpoint first. Writers, readers and other clones that live on get [`Error::Closed`] from then on; the
    /// memory is given back at once. Says so where background work had failed.
    pub fn close(self) -> Result<()> {
        self.inner.close()
    }
}

impl StoreInner {
    /// Fails where the store is closed or its background work failed for good.
    pub fn check(&self) -> Result<()> {
        self.check_open()?;
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// As [`StoreInner::check`], and fails where no epoch can be cut off any more.
    pub fn check_cut(&self) -> Result<()> {
        self.check()?;
        if self.epoch.load(Ordering::Acquire) < EPOCH_MAX { Ok(()) } else { Err(epochs_used_up()) }
    }

    /// Fails where the store is closed: its directory may be another's by now.
    pub fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// The definition of a state of one of these kinds.
    pub fn def(&self, state: State, kinds: &[StateKind]) -> Result<Arc<StateDef>> {
        let def = self.states.read().get(usize::from(state.0.0)).cloned();
        let def = def.ok_or_else(|| Error::State {
            state: format!("{:?}", state.0),
            problem: "not a state of this store".into(),
        })?;
        if !kinds.contains(&def.kind) {
            let problem = format!("a {:?} state, the operation is for {kinds:?}", def.kind);
            return Err(Error::State { state: def.name.clone(), problem });
        }
        Ok(def)
    }

    /// What is of later epochs isn't committed; nothing is where nothing has to be.
    pub fn committed_epoch(&self) -> u32 {
        if self.options.transactional { self.last_commit.lock().epoch.0 } else { u32::MAX }
    }

    /// Segments of epochs up to this may be merged with each other: what every checkpoint that is yet to be published has, or
    /// all of it not.
    pub fn mergeable_epoch(&self) -> u32 {
        // In this order: what is committed after a cut finds the cut there.
        let committed = self.committed_epoch();
        self.cuts.lock().iter().copied().fold(committed, u32::min)
    }

    /// An empty shard.
    pub fn new_shard(&self, range: KeyGroupRange, memory: Memory, version: Arc<Version>) -> Arc<Shard> {
        let (seed, epoch) = (self.info.hash_seed, self.next_epoch());
        let (transactional, logs) = (self.options.transactional, self.log.is_on());
        let kind = ShardKind { transactional, logs, replaying: self.replay.has_waiting(range) };
        Arc::new(Shard::new(range, memory, seed, epoch, version, kind))
    }

    /// A writer of a range, with everything in it that was committed.
    pub fn claim(self: &Arc<Self>, range: KeyGroupRange) -> Result<Writer> {
        let writer = replay::claim(self, range)?;
        if !self.replay.puts_off_warming(range) {
            crate::warm::claimed(self, range);
        }
        Ok(writer)
    }

    /// Memory for a shard, of this store's share.
    pub fn fresh_memory(&self) -> Memory {
        Memory::new(Arc::clone(&self.engine.inner.arena), &self.share, &self.engine.inner.domain)
    }

    /// The memory that bounds this store, in bytes: how much there may be, how much of it is used, and how much it could
    /// take now. The whole budget's, unless the store has a share of its own.
    pub fn memory_room(&self) -> (usize, usize, usize) {
        let (arena, share) = (&self.engine.inner.arena, &self.share);
        if share.is_limited() {
            return (share.limit_bytes(), share.used_of_limit_bytes(), share.free_bytes());
        }
        (arena.budget_bytes(), arena.used_bytes(), arena.free_bytes())
    }

    /// The next epoch, above all earlier ones.
    pub fn next_epoch(&self) -> u32 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub fn next_segment(&self) -> SegmentId {
        SegmentId::new(self.attempt, self.segments_named.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Whether anything was flushed since the store was opened.
    pub fn has_flushed(&self) -> bool {
        self.counts.flushes.load(Ordering::Relaxed) > 0
    }

    pub fn register(&self, options: StateOptions) -> Result<State> {
        let mut states = self.states.write();
        if let Some(at) = states.iter().position(|state| state.name == options.name) {
            let known = &states[at];
            check_same(known, &options)?;
            self.conversions.bring(known, &options.conversions);
            // An operator that is there stays: another of the same name does the same. A schema stays unless one is given.
            let merge = known.merge.clone().or(options.merge);
            let user = if options.user.is_empty() { &known.user } else { &options.user };
            let brought = merge.is_some() != known.merge.is_some();
            let expiry = (options.ttl, options.purge);
            let logged = (known.log, known.traced) != (options.log, options.traced);
            if (known.ttl, known.purge) != expiry || brought || known.user != *user || logged {
                let ((ttl, purge), user, log, traced) = (expiry, user.clone(), options.log, options.traced);
                let def = StateDef { ttl, purge, merge, user, log, traced, ..(**known).clone() };
                check_room(&states, &def)?;
                self.log_state(&def);
                states[at] = Arc::new(def);
                self.states_number.fetch_add(1, Ordering::Release);
            }
            return Ok(State(states[at].id));
        }
        let def = new_state(&states, options)?;
        check_room(&states, &def)?;
        let id = def.id;
        // Before anything of it is.
        self.log_state(&def);
        states.push(Arc::new(def));
        // Under the states' lock, so that shards get their tables in the order of the numbers.
        for shard in self.shards.lock().iter() {
            shard.add_state(false);
        }
        self.states_number.fetch_add(1, Ordering::Release);
        Ok(State(id))
    }

    fn log_state(&self, def: &StateDef) {
        if self.log.is_on() {
            self.log.state(&encode_state(&state_info(def)));
        }
    }

    pub fn state_infos(&self) -> Vec<StateInfo> {
        self.states.read().iter().map(|state| state_info(state)).collect()
    }

    /// Remembers a failure that background work can't get over.
    pub fn fail(&self, error: &Error) {
        tracing::error!(error = %error, "background work failed");
        let mut failure = self.failure.lock();
        failure.get_or_insert_with(|| error.clone());
        drop(failure);
        for shard in self.shards.lock().iter() {
            shard.signal();
        }
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        self.counts.fill(&mut metrics);
        for shard in self.shards.lock().iter() {
            let core = shard.cell.borrow();
            metrics.owner.add(&core.counts);
            for (sum, latency) in metrics.latency.iter_mut().zip(&shard.latency) {
                latency.add_to(sum);
            }
            metrics.copies += core.hot.copies;
            metrics.memory_bytes += core.hot.held_bytes() as u64;
            metrics.unflushed_bytes += core.hot.unflushed_bytes() as u64;
            metrics.staged_bytes += core.hot.staged_bytes() as u64;
        }
        metrics.trace_bytes = self.log.trace().bytes() as u64;
        self.fill_recovery(&mut metrics);
        let mut known = std::collections::HashSet::new();
        for segment in self.version.lock().segments() {
            known.insert(segment.id());
            metrics.segments += 1;
            metrics.segment_bytes += segment.meta().file_bytes;
        }
        for taking in self.snapshots.lock().iter().filter_map(std::sync::Weak::upgrade) {
            metrics.snapshots += 1;
            let Some(Ok(version)) = taking.poll() else { continue };
            let pinned = version.segments().into_iter().filter(|segment| known.insert(segment.id()));
            metrics.snapshot_bytes += pinned.map(|segment| segment.meta().file_bytes).sum::<u64>();
        }
        (metrics.cache_hits, metrics.cache_misses) = self.engine.inner.cache.hits_and_misses();
        metrics.huge_pages_denied = !self.engine.inner.arena.has_huge_pages();
        metrics.io = self.storage.counters().snapshot();
        metrics
    }

    fn close(self: &Arc<Self>) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        {
            // A new number for the same view: each writer's next operation looks, and learns that the store is closed.
            let version = self.version.lock();
            for shard in self.shards.lock().iter() {
                shard.publish(Arc::clone(&version), None);
            }
        }
        if let Some(fetches) = &self.fetches {
            fetches.close();
        }
        // Whoever cuts an epoch off looks, under this lock, whether the store is closed: after it nobody does.
        drop(self.queue.sealing.lock());
        self.engine.hurry(|| self.replay.close());
        let logged = self.finish_log();
        self.engine.hurry(|| self.queue.wait_idle());
        self.engine.hurry(|| self.compaction.wait_idle());
        self.reads.wait_idle();
        self.warm.wait_idle();
        let shards = self.shards.lock().clone();
        for shard in shards {
            // A writer that lives on would keep memory that others need.
            let mut core = shard.cell.borrow();
            core.hot.forget(self.fresh_memory());
            // Somebody may have looked for it meanwhile: its next operation does itself, and learns that the store is closed.
            core.unsettle();
        }
        self.share.give_up_minimum();
        *self.lock.lock() = None;
        self.failure.lock().clone().map_or(logged, Err)
    }

    /// What was committed is to last, whether somebody waits for it or not.
    fn finish_log(self: &Arc<Self>) -> Result<()> {
        if !self.log.is_on() {
            return Ok(());
        }
        let synced = self.log.finish(|| self.engine.log(self));
        self.log.end(Error::Closed);
        // What is just being written is the last of it: then the directory may be another's.
        drop(self.log.files());
        synced
    }
}

impl Drop for StoreInner {
    /// Whoever waits for a commit must not wait for ever; and what a host brings late must not go to a directory that may be another's then.
    fn drop(&mut self) {
        self.log.end(Error::Closed);
        self.fetches.iter().for_each(|fetches| fetches.close());
    }
}

pub(crate) fn epoch_of(inner: &StoreInner) -> Epoch {
    Epoch(inner.epoch.load(Ordering::Acquire))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::EngineOptions;

    #[test]
    fn epochs_never_wrap_around() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
        let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        store.inner.epoch.store(EPOCH_MAX - 1, Ordering::Release);
        writer.put(state, store.key(b"k"), b"1").unwrap();
        store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        writer.put(state, store.key(b"k"), b"2").unwrap();
        assert!(matches!(store.barrier(Barrier::new(2)), Err(Error::Background(_))));
        assert_eq!(writer.get(state, store.key(b"k")).unwrap().unwrap(), b"2");
        let full = (0..10_000_u32).find_map(|i| writer.put(state, store.key(&i.to_be_bytes()), &[0; 1_000]).err());
        assert!(matches!(full, Some(Error::Background(_))), "{full:?}");
        drop(writer);
        store.close().unwrap();
        let store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        assert_eq!(store.reader().get(state, store.key(b"k")).unwrap().unwrap(), b"1");
    }
}
