//! Checkpoints: manifests with a label, how they become complete, and which are kept.

use crate::barrier::{Barrier, Shared, aborted};
use crate::cache::BlockCache;
use crate::changelog::record::Rollback;
use crate::convert::{Conversions, Older};
use crate::error::{Error, Result};
use crate::ids::{Epoch, KeyGroupRange, SegmentId, StateId};
use crate::key::SortKey;
use crate::manifest::{self, Manifest, Marks, Parent, StackEntry, StateInfo, StateMap};
use crate::merged::{Base, Merged, SliceBounds};
use crate::options::Durability;
use crate::platform::safeguards::{Safeguard, stands};
use crate::platform::storage::{Storage, names};
use crate::platform::threads;
use crate::purge_clock::Reading;
use crate::reclaim;
use crate::stack::{Layer, LazySegment, Slice, Version};
use crate::states::{StateDef, StateKind};
use crate::store::{Mark, StoreInner};
use crate::warm;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// What is known of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckpointInfo {
    /// The host's label.
    pub label: u64,
    /// The number of its manifest, which rises.
    pub number: u64,
    /// Every record in it is of this epoch or an earlier one.
    pub epoch: Epoch,
    /// When it was made, by the machine's clock, in ms since 1970.
    pub created_ms: u64,
    /// The position in the changelog before which it has everything; 0 without a changelog.
    pub position: u64,
    /// Where the sources stood.
    pub offsets: Vec<(KeyGroupRange, Vec<u8>)>,
    /// The host's metadata.
    pub metadata: Vec<u8>,
    /// The segments that it names.
    pub segments: usize,
    /// Those of them that the checkpoint before it did not name.
    pub new_segments: usize,
    /// Bytes of all files that it names, the manifest included.
    pub total_bytes: u64,
    /// Bytes of those files that the checkpoint before it did not name, compaction's included.
    pub new_bytes: u64,
    /// Bytes of those of them that hold changes: what flushes wrote.
    pub flushed_bytes: u64,
    /// Bytes of keys and values in these.
    pub changed_bytes: u64,
}

/// A checkpoint asked for and not complete yet.
#[derive(Debug)]
pub struct Request {
    store: Weak<StoreInner>,
    barrier: Barrier,
    epoch: Epoch,
    log_position: u64,
    has_rollbacks: bool,
    purge_clock: Reading,
    started: Instant,
    shared: Arc<Shared>,
    /// What the store's pacer knows it by.
    paced: u64,
}

impl Drop for Request {
    /// Whoever waits for it must not wait for ever, whatever became of it.
    fn drop(&mut self) {
        self.shared.finish(Err(Error::Background("a checkpoint was given up".into())));
        if let Some(store) = self.store.upgrade() {
            store.paced.ended(self.paced);
            store.open_checkpoints.lock().retain(|open| !Arc::ptr_eq(&open.shared, &self.shared));
        }
    }
}

impl Request {
    /// What `barrier` asked for, when the cut, which began at `mark`, had reached an epoch, the changelog a position, with what was rolled back
    /// behind it or without, and the writers' clocks a time in ms.
    pub(crate) fn new(
        store: &Arc<StoreInner>,
        barrier: Barrier,
        mark: Mark,
        (epoch, (log_position, has_rollbacks), purge_clock): (Epoch, (u64, bool), Reading),
        started: Instant,
        shared: Arc<Shared>,
    ) -> Self {
        let open = Open { label: barrier.label, shared: Arc::clone(&shared), confirmed: false, number: None };
        store.open_checkpoints.lock().push(open);
        let paced = store.paced.begun(mark);
        let store = Arc::downgrade(store);
        Self { store, barrier, epoch, log_position, has_rollbacks, purge_clock, started, shared, paced }
    }

    /// It can't become complete.
    pub fn fail(&self, error: &Error) {
        self.shared.finish(Err(error.clone()));
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub info: CheckpointInfo,
    pub manifest: Arc<Manifest>,
    pub digest: u64,
    pub retained: bool,
    /// How many exports of it are under way.
    pub exports: usize,
    /// The host said that it is complete everywhere.
    pub confirmed: bool,
    /// The host said that it doesn't need it any more.
    pub given_up: bool,
    /// It shares nothing: it neither subsumes others nor is subsumed.
    pub standalone: bool,
    /// It is of a history that was left when the store was opened at an earlier checkpoint.
    pub left: bool,
}

/// A checkpoint that is on its way.
#[derive(Debug)]
pub(crate) struct Open {
    pub label: u64,
    pub shared: Arc<Shared>,
    /// The host's word came before the checkpoint was published.
    pub confirmed: bool,
    /// Its number, once it is published.
    pub number: Option<u64>,
}

/// The checkpoints of a store's directory.
#[derive(Debug, Default)]
pub struct Catalogue {
    pub(crate) kept: BTreeMap<u64, Kept>,
    pub(crate) next_number: u64,
    /// The manifest that a store begins with whose changelog is to be found before there is a checkpoint.
    pub(crate) birth: Option<u64>,
    /// The checkpoint that the store was opened at, until it has one of its own: until then nothing goes that the host didn't name.
    pub(crate) opened: Option<u64>,
    /// Segments that may be needed no more, held weakly: a file goes when nobody holds its segment.
    pub(crate) garbage: HashMap<SegmentId, Weak<LazySegment>>,
    /// Checkpoints that are gone, but that somebody may still be reading: whoever does holds the manifest.
    pub(crate) gone: Vec<Weak<Manifest>>,
    /// Checkpoints from which on the changelog is being read: it isn't cut behind one that is held.
    pub(crate) read: Vec<Weak<Manifest>>,
    /// Checkpoints that recovery needs to roll back again what the changelog says.
    pub(crate) pinned: Vec<Pin>,
    /// Manifests that were let go of and whose files may still be there: as long as one is, no segment is deleted.
    pub(crate) doomed: Vec<u64>,
}

/// A checkpoint that recovery needs to roll something back again, until another one has that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pin {
    /// The number of its manifest; 0 for the beginning of the store.
    pub number: u64,
    /// The position behind the record of the rollback.
    pub position: u64,
    /// From where on the changelog is needed besides, where something went back to a position behind the checkpoint.
    pub log_from: Option<u64>,
}

impl Kept {
    /// Nobody needs it any more.
    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
        self.retained = false;
    }
}

impl Catalogue {
    /// All, oldest first.
    pub fn list(&self) -> Vec<CheckpointInfo> {
        self.kept.values().map(|kept| kept.info.clone()).collect()
    }

    /// Keeps one until it is released.
    pub fn retain(&mut self, label: u64) -> Result<()> {
        self.find_mut(label)?.retained = true;
        Ok(())
    }

    /// The newest checkpoints, which the store's history begins at: newest first.
    pub(crate) fn history(&self, checkpoints: usize) -> impl Iterator<Item = &Kept> {
        self.kept.values().rev().take(checkpoints)
    }

    /// Where the history begins: at the oldest checkpoint that is kept for it, or with the store where there is none yet.
    pub(crate) fn history_from(&self, checkpoints: usize) -> u64 {
        self.history(checkpoints.max(1)).last().map_or(0, |kept| kept.manifest.log_position)
    }

    /// The position from which on the changelog is needed, where a checkpoint has everything before `covered`.
    fn frontier(&mut self, checkpoints: usize, covered: u64) -> u64 {
        self.forget_unread();
        let read = self.read.iter().filter_map(Weak::upgrade).map(|manifest| manifest.log_position);
        let kept = self.history(checkpoints).map(|kept| kept.manifest.log_position);
        let pinned = self.pinned.iter().filter_map(|pin| pin.log_from);
        read.chain(kept).chain(pinned).fold(covered, u64::min)
    }

    /// The changelog is read from this checkpoint on, as long as somebody else holds its manifest.
    pub(crate) fn note_read(&mut self, manifest: &Arc<Manifest>) {
        self.forget_unread();
        if self.read.iter().all(|read| read.as_ptr() != Arc::as_ptr(manifest)) {
            self.read.push(Arc::downgrade(manifest));
        }
    }

    fn forget_unread(&mut self) {
        // The catalogue's own hold of one that is kept is nobody's who reads.
        let kept: HashSet<*const Manifest> = self.kept.values().map(|kept| Arc::as_ptr(&kept.manifest)).collect();
        self.read.retain(|manifest| manifest.strong_count() > usize::from(kept.contains(&manifest.as_ptr())));
    }

    /// Lets go of the manifest that the store began with, if it is still there: a checkpoint of its own takes its place.
    fn doom_birth(&mut self) {
        self.opened = None;
        self.doomed.extend(self.birth.take());
    }

    /// Whether the changelog needs a checkpoint.
    pub(crate) fn is_pinned(&self, number: u64) -> bool {
        self.pinned.iter().any(|pin| pin.number == number)
    }

    /// A durable checkpoint has everything that the changelog has before a position.
    fn unpin(&mut self, position: u64) {
        self.pinned.retain(|pin| pin.position > position);
    }

    /// Something was rolled back, and the position behind the record of it is `position`: keeps what doing it again takes. Where it went
    /// back to a position, that is all that there is now, with the changelog behind it: on the way there other rollbacks may lie, to any of
    /// these, or, as `from_beginning` says, to the beginning of the store.
    pub(crate) fn pin(&mut self, rollback: &Rollback, position: u64, from_beginning: bool) {
        if rollback.to.is_none() {
            self.pinned.push(Pin { number: rollback.number, position, log_from: None });
            return;
        }
        let mut all: BTreeMap<u64, Option<u64>> = BTreeMap::new();
        all.extend(self.pinned.iter().map(|pin| (pin.number, pin.log_from)));
        // It has no manifest to be kept, but the changelog.
        all.extend(from_beginning.then_some((0, Some(0))));
        all.extend(self.kept.values().map(|kept| (kept.info.number, Some(kept.manifest.log_position))));
        self.pinned = all.into_iter().map(|(number, log_from)| Pin { number, position, log_from }).collect();
    }

    pub(crate) fn find_mut(&mut self, label: u64) -> Result<&mut Kept> {
        let number = self.find(label)?.info.number;
        self.kept.get_mut(&number).ok_or(Error::Checkpoint { label, problem: "it is gone".into() })
    }

    pub(crate) fn find(&self, label: u64) -> Result<&Kept> {
        self.kept.values().rev().find(|kept| kept.info.label == label).ok_or_else(|| self.unknown(label))
    }

    /// All of a label, oldest first: one that a store with a changelog was opened at is published anew then.
    fn numbers_of(&self, label: u64) -> Result<Vec<u64>> {
        let of_label = self.kept.values().map(|kept| &kept.info).filter(|info| info.label == label);
        let numbers: Vec<u64> = of_label.map(|info| info.number).collect();
        if numbers.is_empty() { Err(self.unknown(label)) } else { Ok(numbers) }
    }

    fn unknown(&self, label: u64) -> Error {
        let labels: Vec<String> = self.kept.values().map(|kept| kept.info.label.to_string()).collect();
        let problem = format!("not among the retained checkpoints: [{}]", labels.join(", "));
        Error::Checkpoint { label, problem }
    }
}

/// Fails where a checkpoint has something else for a state than its values in the schema of now. What it doesn't know was registered
/// since, and is empty in it.
pub(crate) fn check_state(manifest: &Manifest, def: &StateDef) -> Result<()> {
    let refused = |problem: &str| Err(Error::State { state: def.name.clone(), problem: problem.to_owned() });
    match manifest.states.get(usize::from(def.id.0)) {
        Some(info) if info.name != def.name || info.kind != def.kind as u8 => {
            refused("another state had its number in the checkpoint that is read")
        }
        Some(info) if info.lineage != def.lineage => {
            refused("it was migrated since the checkpoint that is read, which has its values in another schema")
        }
        _ => Ok(()),
    }
}

/// Publishes the manifest of a checkpoint whose changes are all flushed; `rollback` was the last one before it was cut.
pub(crate) fn complete(store: &Arc<StoreInner>, request: Request, rollback: u64) -> Result<()> {
    let label = request.barrier.label;
    if request.shared.is_aborted() {
        request.shared.finish(Err(aborted(label)));
        return Ok(());
    }
    if !stands(Safeguard::CutBehindCheckpoint) {
        log_is_covered(store, request.log_position);
    }
    let outcome = publish(store, &request, rollback);
    match outcome {
        Ok(Some(info)) => {
            let elapsed = u64::try_from(threads::since(request.started).as_nanos()).unwrap_or(u64::MAX);
            store.counts.checkpoints.fetch_add(1, Ordering::Relaxed);
            store.counts.checkpoint_ns.record(elapsed);
            tracing::info!(label, number = info.number, bytes = info.new_bytes, elapsed_ns = elapsed, "checkpoint");
            {
                let mut catalogue = store.catalogue.lock();
                catalogue.doom_birth();
                catalogue.unpin(request.log_position);
            }
            log_is_covered(store, request.log_position);
            store.paced.completed(request.paced, &info, Duration::from_nanos(elapsed));
            request.shared.finish(Ok(info));
            warm::checkpointed(store);
            reclaim::run(store);
            Ok(())
        }
        Ok(None) => {
            tracing::info!(label, "taken back");
            reclaim::remove_manifests(store)?;
            reclaim::run(store);
            Ok(())
        }
        Err(error) => {
            request.fail(&error);
            if error.class() == crate::error::Class::Retry { Ok(()) } else { Err(error) }
        }
    }
}

/// A durable checkpoint has everything that the changelog has before a position.
fn log_is_covered(store: &Arc<StoreInner>, position: u64) {
    store.log.checkpointed(position);
    let checkpoints = store.options.history.checkpoints;
    let frontier = store.catalogue.lock().frontier(checkpoints, position);
    store.log.trace().cut(frontier);
    if checkpoints > 0 {
        // The checkpoint has it, but not how it was in between.
        store.log.want_written(position);
        store.engine.log(store);
    }
    let mut files = store.log.files();
    let cut = if store.log.is_on() { files.cut(frontier) } else { files.remove_all() };
    if let Err(error) = cut {
        tracing::warn!(%error, "a file of the changelog could not be removed");
    }
}

/// Writes the manifest; `None` where the host gave the checkpoint up meanwhile, and the manifest is to go again.
fn publish(store: &Arc<StoreInner>, request: &Request, rollback: u64) -> Result<Option<CheckpointInfo>> {
    // Not at the cut: a compaction that purged by a later barrier's clock would take from this checkpoint what was
    // alive then.
    store.purge_clock.reach(&request.purge_clock);
    let version = store.version_before(rollback);
    // What is staged stays outside.
    let version = if store.options.transactional { Version::up_to(&version, request.epoch.0) } else { version };
    let (number, parent) = {
        let mut catalogue = store.catalogue.lock();
        let number = catalogue.next_number;
        catalogue.next_number += 1;
        let before = catalogue.kept.iter().rev().find(|(_, kept)| !kept.left);
        let parent = before.map(|(&number, kept)| Parent { number, digest: kept.digest });
        (number, parent)
    };
    let manifest = describe(store, &version, number, parent, request);
    let durable = store.options.durability != Durability::Host;
    if store.log.is_on() {
        store.log.files().cut_overhang()?;
    }
    let published = manifest::writer::publish(&*store.storage, &manifest, durable)?;
    store.counts.manifest_bytes.fetch_add(published.file_bytes, Ordering::Relaxed);
    let mut catalogue = store.catalogue.lock();
    // Said before anybody finds it among those that are kept: as soon as it is there, the one before it may go.
    if !request.shared.is_published(number) {
        catalogue.doomed.push(number);
        return Ok(None);
    }
    let before: HashSet<SegmentId> = parent
        .and_then(|parent| catalogue.kept.get(&parent.number))
        .map(|kept| kept.manifest.segments.iter().map(|meta| meta.id).collect())
        .unwrap_or_default();
    let info = info_of(&manifest, published.file_bytes, &before);
    let is_confirmed = {
        let mut open = store.open_checkpoints.lock();
        let own = open.iter_mut().find(|open| Arc::ptr_eq(&open.shared, &request.shared));
        own.is_some_and(|open| {
            // From here on the host's word goes to the published one.
            open.number = Some(number);
            open.confirmed
        })
    };
    let kept = Kept {
        info: info.clone(),
        manifest: Arc::new(manifest),
        digest: published.digest,
        retained: false,
        exports: 0,
        confirmed: is_confirmed,
        given_up: false,
        standalone: request.barrier.standalone,
        left: false,
    };
    catalogue.kept.insert(number, kept);
    Ok(Some(info))
}

/// What a manifest says of its checkpoint; `before` are the segments of the one before it.
pub(crate) fn info_of(manifest: &Manifest, file_bytes: u64, before: &HashSet<SegmentId>) -> CheckpointInfo {
    let new = || manifest.segments.iter().filter(|meta| !before.contains(&meta.id));
    let flushed = || new().filter(|meta| meta.level == 0);
    CheckpointInfo {
        label: manifest.label.unwrap_or(0),
        number: manifest.number,
        epoch: manifest.epoch,
        created_ms: manifest.created_ms,
        position: manifest.log_position,
        offsets: manifest.offsets.clone(),
        metadata: manifest.metadata.clone(),
        segments: manifest.segments.len(),
        new_segments: new().count(),
        total_bytes: file_bytes + manifest.segments.iter().map(|meta| meta.file_bytes).sum::<u64>(),
        new_bytes: file_bytes + new().map(|meta| meta.file_bytes).sum::<u64>(),
        flushed_bytes: flushed().map(|meta| meta.file_bytes).sum(),
        changed_bytes: flushed().map(|meta| meta.logical_bytes).sum(),
    }
}

fn describe(store: &StoreInner, version: &Version, number: u64, parent: Option<Parent>, request: &Request) -> Manifest {
    let segments = version.segments();
    let index: HashMap<SegmentId, u32> = segments.iter().zip(0..).map(|(segment, at)| (segment.id(), at)).collect();
    let mut maps = vec![StateMap::Identity];
    let mut known: HashMap<StateMap, u32> = HashMap::from([(StateMap::Identity, 0)]);
    let (mut states, mut marking) = (store.state_infos(), Marking::default());
    let mut slices = Vec::with_capacity(version.slices.len());
    for slice in &version.slices {
        let mut stack = Vec::with_capacity(slice.layers.len());
        for layer in &slice.layers {
            let map = *known.entry((*layer.map).clone()).or_insert_with(|| {
                maps.push((*layer.map).clone());
                maps.len() as u32 - 1
            });
            let marks = layer.older.as_ref().map_or(0, |older| marking.number(older));
            stack.push(StackEntry { segment: index[&layer.segment.id()], map, marks });
        }
        slices.push(manifest::Slice { range: slice.range, stack, hot: Vec::new() });
    }
    for (state, names) in marking.pending {
        if let Some(info) = states.get_mut(usize::from(state.0)) {
            info.conversions = names;
        }
    }
    let highest = segments.iter().map(|segment| segment.meta().epoch_high).max().unwrap_or_default();
    let created_ms = threads::unix_time().as_millis() as u64;
    Manifest {
        number,
        store: store.info,
        label: Some(request.barrier.label),
        created_ms,
        epoch: request.epoch.max(highest),
        purge_clock_ms: request.purge_clock.ms(),
        states,
        offsets: request.barrier.offsets.clone(),
        metadata: request.barrier.metadata.clone(),
        log_position: request.log_position,
        has_rollbacks: request.has_rollbacks,
        // What comes from elsewhere may yet be brought for a store that syncs nothing.
        is_synced: store.options.durability != Durability::Host && segments.iter().all(|segment| segment.is_here()),
        parent,
        segments: segments.iter().map(|segment| Arc::clone(segment.meta())).collect(),
        maps,
        marks: marking.marks,
        slices,
    }
}

/// The marks of a manifest as they grow, and the conversions of each state that some layer has yet to go through: what
/// one layer lacks is the end of what another lacks.
struct Marking {
    marks: Vec<Marks>,
    known: HashMap<Marks, u32>,
    pending: HashMap<StateId, Vec<String>>,
}

impl Default for Marking {
    fn default() -> Self {
        let (known, pending) = (HashMap::new(), HashMap::new());
        Self { marks: vec![Marks::default()], known, pending }
    }
}

impl Marking {
    fn number(&mut self, older: &Older) -> u32 {
        for (state, conversions) in older.states() {
            let names = self.pending.entry(*state).or_default();
            if names.len() < conversions.len() {
                *names = conversions.iter().map(|conversion| conversion.name().to_owned()).collect();
            }
        }
        let steps = older.states().iter().map(|(state, conversions)| (*state, conversions.len() as u16));
        let marks = Marks(steps.collect());
        *self.known.entry(marks.clone()).or_insert_with(|| {
            self.marks.push(marks);
            self.marks.len() as u32 - 1
        })
    }
}

/// The arrangement that a manifest describes; its segments are opened when they are needed.
pub(crate) fn version_of(
    storage: &Arc<dyn Storage>,
    cache: &Arc<BlockCache>,
    manifest: &Manifest,
    states: &[Arc<StateDef>],
    conversions: &Conversions,
) -> Version {
    let segments: Vec<Arc<LazySegment>> =
        manifest.segments.iter().map(|meta| Arc::new(LazySegment::new(storage, cache, Arc::clone(meta)))).collect();
    let maps: Vec<Arc<StateMap>> = manifest.maps.iter().cloned().map(Arc::new).collect();
    let older: Vec<Option<Arc<Older>>> =
        manifest.marks.iter().map(|marks| older_of(marks, manifest, states, conversions)).collect();
    let slice = |slice: &manifest::Slice| {
        let layer = |entry: &StackEntry| Layer {
            segment: Arc::clone(&segments[entry.segment as usize]),
            map: Arc::clone(&maps[entry.map as usize]),
            older: older[entry.marks as usize].clone(),
        };
        Arc::new(Slice { range: slice.range, layers: slice.stack.iter().map(layer).collect() })
    };
    Version { slices: manifest.slices.iter().map(slice).collect() }
}

/// What marks say: for each state the last of its conversions.
fn older_of(
    Marks(marks): &Marks,
    manifest: &Manifest,
    states: &[Arc<StateDef>],
    conversions: &Conversions,
) -> Option<Arc<Older>> {
    let mut older = Older::default();
    for &(state, steps) in marks {
        let at = usize::from(state.0);
        let (Some(info), Some(def)) = (manifest.states.get(at), states.get(at)) else { continue };
        for name in info.conversions.iter().skip(info.conversions.len().saturating_sub(usize::from(steps))) {
            older = older.with(state, &conversions.find(def, name));
        }
    }
    (!older.states().is_empty()).then(|| Arc::new(older))
}

/// Lets go of the checkpoint with a label.
pub(crate) fn release(store: &Arc<StoreInner>, label: u64) -> Result<()> {
    store.check_open()?;
    let numbers = store.catalogue.lock().numbers_of(label)?;
    numbers.into_iter().try_for_each(|number| release_number(store, number))
}

/// Lets go of a checkpoint, which may be gone already; the newest one, those that the history begins at, and one that is being exported,
/// stay until they aren't so any more and the next is complete.
pub(crate) fn release_number(store: &Arc<StoreInner>, number: u64) -> Result<()> {
    store.check_open()?;
    {
        let mut catalogue = store.catalogue.lock();
        // The newest in any case.
        let needed = store.options.history.checkpoints.max(1);
        let is_needed =
            catalogue.opened == Some(number) || catalogue.history(needed).any(|kept| kept.info.number == number);
        let Some(kept) = catalogue.kept.get_mut(&number) else { return Ok(()) };
        kept.give_up();
        if is_needed || kept.exports > 0 || catalogue.is_pinned(number) {
            return Ok(());
        }
        let version = Arc::clone(&store.version.lock());
        reclaim::drop_checkpoint(&mut catalogue, number, &version);
    }
    reclaim::remove_manifests(store)?;
    reclaim::run(store);
    Ok(())
}

/// Puts a checkpoint's files into another directory, durably. Its manifest comes last.
pub(crate) fn export(store: &Arc<StoreInner>, label: u64, directory: &Path) -> Result<()> {
    store.check_open()?;
    if !directory.is_dir() {
        // Said here: a link to nowhere fails as if the segment were missing.
        let problem = format!("{} is no directory: an export goes into one that exists", directory.display());
        return Err(Error::Options { option: "directory", problem });
    }
    let manifest = {
        let mut catalogue = store.catalogue.lock();
        let kept = catalogue.find_mut(label)?;
        // Counted so that its manifest stays, and held so that its segments do.
        kept.exports += 1;
        Arc::clone(&kept.manifest)
    };
    let outcome = link_all(&*store.storage, &manifest, directory);
    if let Some(kept) = store.catalogue.lock().kept.get_mut(&manifest.number) {
        kept.exports -= 1;
    }
    outcome
}

fn link_all(storage: &dyn Storage, manifest: &Manifest, directory: &Path) -> Result<()> {
    for meta in &manifest.segments {
        storage.link_to(&names::segment_name(meta.id.0), directory)?;
    }
    storage.sync_other(directory)?;
    storage.link_to(&names::manifest_name(manifest.number), directory)?;
    Ok(storage.sync_other(directory)?)
}

/// A record of a checkpoint: see [`Iter`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The state's name.
    pub state: String,
    /// The key group.
    pub group: crate::ids::KeyGroup,
    /// The key.
    pub key: Vec<u8>,
    /// The namespace.
    pub namespace: Vec<u8>,
    /// The user key of a map entry.
    pub user_key: Option<Vec<u8>>,
    /// The value; of a list: its elements in their frames, see [`crate::states::frames`].
    pub value: Vec<u8>,
    /// When it expires, in ms.
    pub expiry_ms: Option<u64>,
}

/// Everything in a checkpoint, in the order of key groups, then states, then keys; for maps in the order of user keys.
///
/// It reads the checkpoint's own segments and holds up neither writers nor later checkpoints.
///
/// One that failed gives the same error each time from then on, and never says that it is at the end: what passes over errors goes on for
/// ever. Begin with a new one, after an error of [`Class::Retry`](crate::Class::Retry) too.
#[derive(Debug)]
pub struct Iter {
    /// Held while the checkpoint's segments are needed, so that they aren't reclaimed meanwhile.
    _pinned: Arc<Manifest>,
    slices: std::vec::IntoIter<Arc<Slice>>,
    states: Vec<Arc<StateDef>>,
    now_ms: u64,
    /// What is still to be gone through in the slice.
    bounds: Option<SliceBounds>,
    slice: Option<Arc<Slice>>,
    merged: Option<Merged>,
    /// What is given from now on.
    failed: Option<Error>,
}

/// Iterates a retained checkpoint.
pub(crate) fn iterate(store: &Arc<StoreInner>, label: u64) -> Result<Iter> {
    store.check_open()?;
    let manifest = Arc::clone(&store.catalogue.lock().find(label)?.manifest);
    let states = store.states.read().clone();
    for StateInfo { name, kind, id, .. } in &manifest.states {
        // A younger one than that which the store was opened at.
        if states.get(usize::from(id.0)).is_none_or(|def| (&def.name, def.kind as u8) != (name, *kind)) {
            let problem = "the checkpoint has a state that the store has not, or another of its number".into();
            return Err(Error::State { state: name.clone(), problem });
        }
    }
    let version = version_of(&store.storage, &store.engine.inner.cache, &manifest, &states, &store.conversions);
    Ok(Iter::new(manifest, &version, states))
}

impl Iter {
    fn new(manifest: Arc<Manifest>, version: &Version, states: Vec<Arc<StateDef>>) -> Self {
        let (slices, now_ms) = (version.slices.clone().into_iter(), manifest.purge_clock_ms);
        Self { _pinned: manifest, slices, states, now_ms, bounds: None, slice: None, merged: None, failed: None }
    }

    fn advance(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(merged) = &mut self.merged {
                while let Some(resolved) = merged.next()? {
                    let Some(parts) = SortKey::decode(&resolved.sort_key) else { continue };
                    let Some(def) = self.states.get(usize::from(parts.state.0)) else { continue };
                    let versions = resolved.operands.len() + usize::from(resolved.base == Base::Value);
                    if versions > 1 {
                        def.check_operator()?;
                    }
                    let operands = resolved.operands.iter().rev().map(Vec::as_slice);
                    let value = match resolved.base {
                        Base::Value => def.fold(Some(&resolved.value), operands, self.now_ms),
                        _ if resolved.operands.is_empty() => continue,
                        _ => def.fold(None, operands, self.now_ms),
                    };
                    if def.kind == StateKind::List && value.is_empty() {
                        continue;
                    }
                    return Ok(Some(Item {
                        state: def.name.clone(),
                        group: parts.key.group,
                        key: parts.key.key.to_vec(),
                        namespace: parts.key.namespace.to_vec(),
                        user_key: parts.user_key.map(<[u8]>::to_vec),
                        value,
                        expiry_ms: resolved.expiry_ms,
                    }));
                }
                self.merged = None;
            }
            let bounds = self.bounds.as_mut().and_then(Iterator::next).transpose()?;
            if let (Some(bounds), Some(slice)) = (bounds, &self.slice) {
                self.merged = Some(Merged::new(&slice.layers, bounds, self.now_ms)?);
                continue;
            }
            let Some(slice) = self.slices.next() else { return Ok(None) };
            self.bounds = Some(SliceBounds::of(&slice, self.states.len())?);
            self.slice = Some(slice);
        }
    }
}

impl Iterator for Iter {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        let item = self.advance().transpose();
        if let Some(Err(error)) = &item {
            // Behind damage there is no telling what is the newest of a key.
            (self.merged, self.slice, self.slices) = (None, None, Vec::new().into_iter());
            (self.bounds, self.failed) = (None, Some(error.clone()));
        }
        item
    }
}
