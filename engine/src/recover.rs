//! Recovery: from a directory to a store that serves, by one manifest; the others there are read to know what they name.
//!
//! ```text
//! located   the directory is locked and its storage opened
//! described the manifest is read, the states and the arrangement are known
//! live      the store; segments are opened when they are first touched
//! ```

use crate::changelog::files::Files;
use crate::changelog::{self, Changelog, Tail};
use crate::checkpoint::{self, Catalogue, CheckpointInfo, Kept};
use crate::commit::CommitInfo;
use crate::convert::Conversions;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::ids::{Epoch, KeyGroupRange, SegmentId};
use crate::manifest::{self, Manifest, ManifestFile, StoreInfo, Unsynced};
use crate::metrics::StoreCounts;
use crate::options::{Durability, StoreOptions};
use crate::platform::arena::Share;
use crate::platform::random::random;
use crate::platform::safeguards::{Safeguard, stands};
use crate::platform::storage::{self, DirLock, Fault, Fetches, Hosted, Storage, StorageError, names};
use crate::platform::threads::{self, Mutex, RwLock};
use crate::purge_clock::PurgeClock;
use crate::replay::Replay;
use crate::rescale;
use crate::stack::Version;
use crate::states::StateDef;
use crate::store::{CheckpointSource, Paced, Store, StoreInner, add_logged_state, state_defs};
use crate::warm::Warm;
use crate::worker::Task;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Instant;

struct Located {
    storage: Arc<dyn Storage>,
    fetches: Option<Arc<Fetches>>,
    share: Arc<Share>,
    lock: Arc<DirLock>,
}

struct Described {
    located: Located,
    info: StoreInfo,
    states: Vec<Arc<StateDef>>,
    version: Version,
    conversions: Conversions,
    epoch: u32,
    purge_clock_ms: u64,
    catalogue: Catalogue,
    restored: Option<CheckpointInfo>,
    /// What the changelog has behind the checkpoint; none where there is no changelog.
    tail: Option<Tail>,
    /// Whether the checkpoint has rollbacks that the changelog doesn't have: no commit came after them.
    has_lost_rollbacks: bool,
    /// The position in it of the checkpoint.
    log_position: u64,
    /// The names of the hot lists.
    hot_lists: Vec<String>,
}

fn locate(engine: &Engine, path: &Path, create: bool, store: &StoreOptions) -> Result<Located> {
    let share = engine.share_of(store)?;
    let options = &engine.inner.options;
    let storage =
        storage::open(path, options.storage, options.page_cache, create).map_err(|error| none_in(path, error))?;
    let lock = Arc::new(storage::lock(path)?);
    let durable = store.durability != Durability::Host;
    let fetches = store.fetch.then(|| Arc::new(Fetches::new(storage.root(), durable)));
    let storage = Hosted::over(storage, store.sink.clone(), fetches.clone());
    Ok(Located { storage, fetches, share, lock })
}

impl Located {
    /// Has the host asked for the segments of these manifests that aren't among the files of the directory.
    fn expect_absent<'a>(&self, manifests: impl Iterator<Item = &'a Manifest>, files: &[String]) {
        let Some(fetches) = &self.fetches else { return };
        let files: HashSet<&str> = files.iter().map(String::as_str).collect();
        let mut seen = HashSet::new();
        for meta in manifests.flat_map(|manifest| &manifest.segments).filter(|meta| seen.insert(meta.id)) {
            let name = names::segment_name(meta.id.0);
            if !files.contains(name.as_str()) {
                fetches.register(&name, meta.file_bytes);
            }
        }
    }
}

/// A directory that isn't there has no checkpoint either.
fn none_in(directory: &Path, error: StorageError) -> Error {
    if error.fault == Fault::Missing { Error::NoCheckpoint { directory: directory.to_owned() } } else { error.into() }
}

/// A new store in a directory without checkpoints. Segments may be there: a process that died before its first
/// checkpoint left them, and nothing will ever name them.
pub(crate) fn create(engine: &Engine, path: &Path, options: StoreOptions) -> Result<Store> {
    options.validate()?;
    let started = threads::now();
    let located = locate(engine, path, true, &options)?;
    let files = located.storage.names()?;
    refuse_occupied(&*located.storage, &files)?;
    let info = StoreInfo {
        uuid: u128::from(random()) << 64 | u128::from(random()),
        hash_seed: options.hash_seed.unwrap_or_else(random),
        key_groups: options.key_groups,
        range: options.range,
    };
    let described = Described {
        located,
        info,
        states: Vec::new(),
        version: Version::empty(options.range),
        conversions: Conversions::default(),
        epoch: 1,
        purge_clock_ms: 0,
        catalogue: Catalogue { next_number: 1, ..Catalogue::default() },
        restored: None,
        tail: None,
        has_lost_rollbacks: false,
        log_position: 0,
        hot_lists: Vec::new(),
    };
    let found = clear_up(&described, files)?;
    let described = if options.durability == Durability::Changelog { born(described)? } else { described };
    Ok(go_live(engine, described, options, found, started))
}

/// A store whose commits last before it has a checkpoint begins with a manifest of nothing: recovery begins there.
fn born(mut described: Described) -> Result<Described> {
    let number = described.catalogue.next_number;
    let manifest = Manifest::of_nothing(number, described.info);
    manifest::writer::publish(&*described.located.storage, &manifest, true)?;
    described.catalogue.birth = Some(number);
    described.catalogue.next_number = number + 1;
    Ok(described)
}

fn refuse_occupied(storage: &dyn Storage, files: &[String]) -> Result<()> {
    match files.iter().find(|name| names::parse_manifest_name(name).is_some()) {
        None => Ok(()),
        Some(name) => {
            let path = storage.root().join(name);
            Err(StorageError::new(Fault::Exists, path, 0, "the directory holds a store already").into())
        }
    }
}

/// A store at its newest checkpoint, or a new one where there is none.
pub(crate) fn open_or_create(engine: &Engine, path: &Path, options: StoreOptions) -> Result<Store> {
    options.validate()?;
    let located = locate(engine, path, true, &options)?;
    let is_new = !located.storage.names()?.iter().any(|name| names::parse_manifest_name(name).is_some());
    drop(located);
    if is_new { create(engine, path, options) } else { open(engine, path, None, options) }
}

/// A store at a checkpoint: the newest one, or the one with this label.
pub(crate) fn open(engine: &Engine, path: &Path, label: Option<u64>, options: StoreOptions) -> Result<Store> {
    options.validate()?;
    let started = threads::now();
    let located = locate(engine, path, false, &options)?;
    let mut files = located.storage.names()?;
    if let Some(label) = label
        && (options.durability == Durability::Changelog
            || files.iter().any(|name| names::parse_changelog_name(name).is_some()))
    {
        rebase(&*located.storage, &files, label)?;
        files = located.storage.names()?;
    }
    let described = describe(engine, located, &files, label, &options)?;
    check_options(&described.info, &options)?;
    let described = if described.has_lost_rollbacks && options.durability == Durability::Changelog {
        let Described { located, restored, .. } = described;
        let label = restored.map(|info| info.label);
        label.map_or(Ok(()), |label| rebase(&*located.storage, &files, label))?;
        files = located.storage.names()?;
        describe(engine, located, &files, None, &options)?
    } else {
        described
    };
    if options.durability == Durability::Changelog {
        sync_found(&described)?;
    }
    let manifests = described.catalogue.kept.values().map(|kept| &*kept.manifest);
    described.located.expect_absent(manifests, &files);
    let found = if label.is_none() { clear_up(&described, files)? } else { Vec::new() };
    let store = go_live(engine, described, options, found, started);
    tracing::info!(path = %path.display(), checkpoint = store.restored().map(|info| info.number), "recovered");
    Ok(store)
}

/// Makes durable what was found of the changelog, which counts as durable from here on: a process may have written it and died before it synced
/// it. The files before the last one were synced when that was begun.
fn sync_found(described: &Described) -> Result<()> {
    let last = described.tail.as_ref().and_then(|tail| tail.there.last());
    let Some(last) = last else { return Ok(()) };
    if !stands(Safeguard::FoundSynced) {
        return Ok(());
    }
    Ok(described.located.storage.sync_file(&names::changelog_name(last.number))?)
}

fn check_options(info: &StoreInfo, options: &StoreOptions) -> Result<()> {
    let problem = |option, problem: String| Err(Error::Options { option, problem });
    if info.key_groups != options.key_groups {
        return problem("key_groups", format!("{} given, the store has {}", options.key_groups, info.key_groups));
    }
    if info.range != options.range {
        return problem("range", format!("{} given, the store has {}", options.range, info.range));
    }
    Ok(())
}

fn describe(
    engine: &Engine,
    located: Located,
    files: &[String],
    label: Option<u64>,
    options: &StoreOptions,
) -> Result<Described> {
    let storage = &*located.storage;
    let numbers = manifest::reader::numbers_among(files);
    let file = match label {
        Some(label) => manifest::reader::checkpoint(storage, &numbers, label)?.ok_or_else(|| unknown(label))?,
        None => match manifest::reader::newest_checkpoint(storage, &numbers)? {
            Some(file) => file,
            // It died before its first checkpoint.
            None => manifest::reader::newest(storage)?
                .filter(|file| is_birth(&file.manifest))
                .ok_or_else(|| Error::NoCheckpoint { directory: storage.root().to_owned() })?,
        },
    };
    let manifest = Arc::clone(&file.manifest);
    let mut catalogue = catalogue_of(storage, &numbers, file, label.is_some())?;
    catalogue.opened = Some(manifest.number);
    catalogue.birth = catalogue.birth.or(is_birth(&manifest).then_some(manifest.number));
    let restored = catalogue.kept.get(&manifest.number).map(|kept| kept.info.clone());
    let (mut states, conversions) = (state_defs(&manifest)?, Conversions::default());
    let unchecked_bytes = options.changelog.whole_replay_bytes;
    let tail = changelog::tail::find(storage, files, manifest.store.uuid, manifest.log_position, unchecked_bytes)?;
    for described in tail.iter().flat_map(|tail| &tail.states) {
        add_logged_state(&mut states, described)?;
    }
    // Also those of a history that was left: no epoch comes twice.
    let epoch = catalogue.kept.values().fold(manifest.epoch.0, |epoch, kept| epoch.max(kept.manifest.epoch.0));
    let rollbacks = tail.iter().flat_map(|tail| &tail.rollbacks);
    rollbacks.for_each(|(rollback, position)| catalogue.pin(rollback, *position, true));
    let cache = &engine.inner.cache;
    Ok(Described {
        info: manifest.store,
        version: checkpoint::version_of(&located.storage, cache, &manifest, &states, &conversions),
        states,
        conversions,
        epoch: epoch.saturating_add(1).min(crate::store::EPOCH_MAX),
        // What is replayed may have been written by an earlier time than the checkpoint's.
        purge_clock_ms: if tail.as_ref().is_none_or(Tail::is_empty) { manifest.purge_clock_ms } else { 0 },
        catalogue,
        restored,
        log_position: manifest.log_position,
        has_lost_rollbacks: manifest.has_rollbacks && tail.as_ref().is_none_or(Tail::is_empty),
        hot_lists: files.iter().filter(|name| names::parse_hot_list_name(name).is_some()).cloned().collect(),
        tail,
        located,
    })
}

/// Whether a manifest is what a store with a changelog begins with.
fn is_birth(manifest: &Manifest) -> bool {
    manifest.label.is_none() && manifest.parent.is_none() && manifest.segments.is_empty()
}

/// Makes a checkpoint the newest one, behind all that the changelog has: its caller chose it, and what came after it is void.
fn rebase(storage: &dyn Storage, files: &[String], label: u64) -> Result<()> {
    let numbers = manifest::reader::numbers_among(files);
    let file = manifest::reader::checkpoint(storage, &numbers, label)?.ok_or_else(|| unknown(label))?;
    let bound = changelog::tail::bound(storage, files)?;
    let has_rollbacks = file.manifest.has_rollbacks;
    if numbers.last() == Some(&file.manifest.number) && file.manifest.log_position >= bound && !has_rollbacks {
        return Ok(());
    }
    // Also behind what the others have: the changelog's last positions may never have been written.
    let mut log_position = bound;
    for (_, head) in manifest::reader::heads(storage)? {
        match head {
            Ok(head) => log_position = log_position.max(head.log_position),
            Err(error) if error.fault.is_passing() => return Err(error.into()),
            Err(_) => {}
        }
    }
    let number = numbers.last().map_or(1, |number| number + 1);
    let parent = Some(manifest::Parent { number: file.manifest.number, digest: file.digest });
    // What it has that was rolled back comes before the new position, which is none that there was.
    log_position += u64::from(has_rollbacks);
    let manifest = Manifest { number, parent, log_position, has_rollbacks: false, ..(*file.manifest).clone() };
    manifest::writer::publish(storage, &manifest, true)?;
    Ok(())
}

fn unknown(label: u64) -> Error {
    Error::Checkpoint { label, problem: "not in the directory".into() }
}

/// The checkpoints of the directory. One that is damaged is left out where the caller chose another (`chosen`), or
/// where it is not the one to be opened; nothing of it is deleted. For one that only can't be read just now that would be to give it up,
/// and with it segments that it names: it is read again, or there is an error.
fn catalogue_of(storage: &dyn Storage, numbers: &[u64], opened: ManifestFile, chosen: bool) -> Result<Catalogue> {
    let mut catalogue = Catalogue::default();
    let mut before = HashSet::new();
    for &number in numbers {
        catalogue.next_number = catalogue.next_number.max(number);
        let is_opened = number == opened.manifest.number;
        let read = || if is_opened { Ok(opened.clone()) } else { manifest::reader::read(storage, number) };
        let again = |error: StorageError| if error.fault == Fault::Io { read() } else { Err(error) };
        let file = match read().or_else(again) {
            Ok(file) => file,
            Err(error) if error.fault.is_passing() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, chosen, "a checkpoint that is not being opened is damaged");
                continue;
            }
        };
        if file.manifest.label.is_none() {
            if is_birth(&file.manifest) {
                catalogue.birth = Some(number);
            }
            continue;
        }
        let info = checkpoint::info_of(&file.manifest, file.file_bytes, &before);
        if numbers.last() != Some(&number) {
            before = file.manifest.segments.iter().map(|meta| meta.id).collect();
        }
        // The one that is opened is the host's choice, so it is complete as far as the host knows.
        let confirmed = is_opened;
        let (manifest, digest) = (file.manifest, file.digest);
        let (retained, exports, given_up, standalone, left) = (false, 0, false, false, false);
        let kept = Kept { info, manifest, digest, retained, exports, confirmed, given_up, standalone, left };
        catalogue.kept.insert(number, kept);
    }
    catalogue.next_number += 1;
    mark_left(&mut catalogue, &opened.manifest);
    Ok(catalogue)
}

/// Tells those that didn't lead to the one that is opened, as far as the manifests that are there still say.
fn mark_left(catalogue: &mut Catalogue, opened: &Manifest) {
    let (mut lead, mut lowest, mut parent) = (HashSet::from([opened.number]), opened.number, opened.parent);
    while let Some(before) = parent.map(|parent| parent.number).filter(|before| *before < lowest) {
        lead.insert(before);
        lowest = before;
        parent = catalogue.kept.get(&before).and_then(|kept| kept.manifest.parent);
    }
    for (number, kept) in &mut catalogue.kept {
        kept.left = *number > lowest && !lead.contains(number);
    }
}

/// Deletes the half-written files and scratch stores that a crash left behind, and says which files were there: the segments among them
/// that no manifest names are deleted in the background. None where a manifest can't be read: it might name any of them.
fn clear_up(described: &Described, files: Vec<String>) -> Result<Vec<String>> {
    let storage = &*described.located.storage;
    storage::remove_scratches(storage.root())?;
    let known = described.catalogue.kept.len() + usize::from(described.catalogue.birth.is_some());
    if manifest::reader::numbers_among(&files).len() != known {
        return Ok(Vec::new());
    }
    for name in files.iter().filter(|name| names::is_temporary_name(name)) {
        storage.remove(name)?;
    }
    Ok(files)
}

/// The files of its changelog.
fn files_of(described: &Described, file_bytes: u64) -> Files {
    let tail = described.tail.as_ref();
    let (there, void) = tail.map(|tail| (tail.there.clone(), tail.void.clone())).unwrap_or_default();
    let ended = tail.map(|tail| (tail.end(), tail.to));
    Files::new(&described.located.storage, described.info.uuid, file_bytes, there, ended, void)
}

/// What of its checkpoints is to be synced before anything lasts that builds on them.
fn unsynced_of(described: &Described, durability: Durability) -> Unsynced {
    match durability {
        Durability::Host => Unsynced::default(),
        _ => Unsynced::of(described.catalogue.kept.values().map(|kept| &*kept.manifest)),
    }
}

/// The store, which began to be opened at `started`; the segments among the files `found` are to be deleted unless a manifest
/// names them.
fn go_live(
    engine: &Engine,
    described: Described,
    options: StoreOptions,
    found: Vec<String>,
    started: Instant,
) -> Store {
    let paced = Paced::new(options.checkpoint_policy, started);
    let is_new = described.version.segments().is_empty();
    let warm = Warm::new(&options.warm_up, described.info.range, &described.hot_lists, is_new, started);
    let Described { tail, log_position, .. } = &described;
    let position = tail.as_ref().map_or(*log_position, |tail| tail.to);
    if options.durability == Durability::Changelog {
        paced.opened_at(*log_position, position);
    }
    let logs = options.durability == Durability::Changelog;
    let files = files_of(&described, options.changelog.file_bytes);
    let log = Changelog::new(logs.then(|| options.changelog.clone()), position, files);
    let last_commit = CommitInfo::restored(described.restored.as_ref(), tail.as_ref(), described.epoch, position);
    let unsynced = unsynced_of(&described, options.durability);
    let inner = Arc::new(StoreInner {
        log: Arc::new(log),
        handlers: RwLock::default(),
        applied: std::sync::OnceLock::new(),
        repairs: std::sync::OnceLock::new(),
        triggers: Default::default(),
        replay: Replay::new(described.tail, described.info.range, &options),
        engine: engine.clone(),
        storage: described.located.storage,
        info: described.info,
        options,
        restored_states: described.states.len(),
        states: RwLock::new(described.states),
        states_number: AtomicU64::new(1),
        conversions: described.conversions,
        claims: Mutex::new(()),
        shards: Mutex::new(Vec::new()),
        version: Mutex::new(Arc::new(described.version)),
        epoch: AtomicU32::new(described.epoch),
        cuts: Mutex::default(),
        last_commit: Mutex::new(Arc::new(last_commit)),
        attempt: random(),
        segments_named: AtomicU64::new(0),
        queue: crate::flush::Queue::default(),
        rollbacks: Mutex::default(),
        clearing: Mutex::default(),
        reads: crate::inflight::Reads::default(),
        warm,
        compaction: crate::compact::Schedule::default(),
        snapshots: Mutex::default(),
        open_checkpoints: Mutex::default(),
        catalogue: Mutex::new(described.catalogue),
        unsynced,
        counts: StoreCounts::default(),
        purge_clock: PurgeClock::new(described.purge_clock_ms),
        failure: Mutex::new(None),
        trouble: Mutex::new(None),
        closed: AtomicBool::new(false),
        restored: described.restored,
        paced,
        share: described.located.share,
        fetches: described.located.fetches,
        lock: Mutex::new(Some(described.located.lock)),
    });
    engine.enlist(&inner);
    if !found.is_empty() {
        engine.submit(Task::Reclaim(Arc::clone(&inner), found));
    }
    Store { inner }
}

/// A store beside another, for a range of its key groups, which begins with an arrangement of the other's segments, of an epoch or earlier
/// ones, and has its states. It lies in a directory of its own, holds memory of the other's share, and nothing of it lasts. Its stacks
/// aren't merged: what is new stays apart.
pub(crate) fn beside(
    of: &StoreInner,
    path: &Path,
    (range, version, epoch): (KeyGroupRange, Version, Epoch),
) -> Result<Store> {
    let started = threads::now();
    let options = StoreOptions {
        // Nothing is synced.
        durability: Durability::Host,
        key_groups: of.info.key_groups,
        range,
        memory_share: of.options.memory_share.clone(),
        ..StoreOptions::default()
    };
    options.validate()?;
    let located = locate(&of.engine, path, true, &options)?;
    let uuid = u128::from(random()) << 64 | u128::from(random());
    let info = StoreInfo { uuid, hash_seed: of.info.hash_seed, key_groups: of.info.key_groups, range };
    let described = Described {
        located,
        info,
        states: of.states.read().clone(),
        version,
        conversions: Conversions::default(),
        epoch: epoch.0.saturating_add(1).min(crate::store::EPOCH_MAX),
        purge_clock_ms: 0,
        catalogue: Catalogue { next_number: 1, ..Catalogue::default() },
        restored: None,
        tail: None,
        has_lost_rollbacks: false,
        log_position: 0,
        hot_lists: Vec::new(),
    };
    let store = go_live(&of.engine, described, options, Vec::new(), started);
    store.inner.compaction.leave();
    Ok(store)
}

/// A new store from checkpoints of others.
pub(crate) fn restore(
    engine: &Engine,
    path: &Path,
    sources: &[CheckpointSource],
    options: StoreOptions,
) -> Result<Store> {
    let mut inputs: Vec<(Manifest, usize)> = Vec::with_capacity(sources.len());
    for (origin, source) in sources.iter().enumerate() {
        inputs.push((read_source(engine, source)?, origin));
    }
    let durable = options.durability != Durability::Host;
    restore_combined(engine, path, (&inputs, durable), options, |storage, segment, origin| {
        Ok(storage.link_from(&names::segment_name(segment.0), &sources[origin].directory, durable)?)
    })
}

/// A new store from manifests of others, whose segments are elsewhere.
pub(crate) fn restore_absent(
    engine: &Engine,
    path: &Path,
    manifests: &[&[u8]],
    options: StoreOptions,
) -> Result<Store> {
    if !options.fetch {
        let problem = "the segments of these manifests would never come".into();
        return Err(Error::Options { option: "fetch", problem });
    }
    let mut inputs: Vec<(Manifest, usize)> = Vec::with_capacity(manifests.len());
    for (origin, bytes) in manifests.iter().enumerate() {
        inputs.push((manifest::format::decode(bytes, &path.join(format!("manifest {origin}")))?, origin));
    }
    // Who opens the store later may not have synced what came of them.
    restore_combined(engine, path, (&inputs, false), options, |_, _, _| Ok(()))
}

/// A new store from manifests; `bring` puts a segment of one of them into its directory, and `is_synced` says that it is durable there, or
/// leaves it where it is.
fn restore_combined(
    engine: &Engine,
    path: &Path,
    (inputs, is_synced): (&[(Manifest, usize)], bool),
    options: StoreOptions,
    bring: impl Fn(&dyn Storage, SegmentId, usize) -> Result<()>,
) -> Result<Store> {
    options.validate()?;
    let started = threads::now();
    let located = locate(engine, path, true, &options)?;
    let files = located.storage.names()?;
    refuse_occupied(&*located.storage, &files)?;
    // Those of an attempt that a crash cut short; the same may be linked now.
    for name in files.iter().filter(|name| names::parse_segment_name(name).is_some()) {
        located.storage.remove(name)?;
    }
    let Some((first, _)) = inputs.first() else {
        return Err(Error::Options { option: "sources", problem: "no checkpoint to restore from".into() });
    };
    let label = first.label;
    let info = StoreInfo {
        uuid: u128::from(random()) << 64 | u128::from(random()),
        hash_seed: options.hash_seed.unwrap_or(first.store.hash_seed),
        key_groups: options.key_groups,
        range: options.range,
    };
    let combined = rescale::combine(inputs, options.range, info)?;
    for (segment, origin) in rescale::segment_origins(inputs, &combined) {
        bring(&*located.storage, segment, origin)?;
    }
    let manifest = Manifest { number: 1, label, is_synced, ..combined };
    let durable = options.durability != Durability::Host;
    let (storage, _held) = (Arc::clone(&located.storage), Arc::clone(&located.lock));
    manifest::writer::publish(&*storage, &manifest, durable)?;
    let described = located.storage.names().map_err(Error::from).and_then(|files| {
        located.expect_absent(std::iter::once(&manifest), &files);
        describe(engine, located, &files, None, &options)
    });
    if described.is_err() {
        // Whoever tries again must not find the directory occupied.
        drop(storage.remove(&names::manifest_name(manifest.number)));
    }
    Ok(go_live(engine, described?, options, Vec::new(), started))
}

fn read_source(engine: &Engine, source: &CheckpointSource) -> Result<Manifest> {
    let options = &engine.inner.options;
    let directory = &source.directory;
    let storage = storage::open(directory, options.storage, options.page_cache, false);
    let storage = storage.map_err(|error| none_in(directory, error))?;
    let numbers = manifest::reader::numbers(&*storage)?;
    let file = match source.label {
        Some(label) => manifest::reader::checkpoint(&*storage, &numbers, label)?.ok_or_else(|| unknown(label))?,
        None => manifest::reader::newest_checkpoint(&*storage, &numbers)?
            .ok_or_else(|| Error::NoCheckpoint { directory: directory.clone() })?,
    };
    Ok(Arc::unwrap_or_clone(file.manifest))
}
