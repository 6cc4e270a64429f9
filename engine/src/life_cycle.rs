//! The life of a checkpoint as its host sees it: many can be open at once, and what becomes of them is said in any order,
//! late, twice, or never.
//!
//! A host completes a checkpoint when all its parts, those of other tasks too, are safe; only then may a later one build
//! on its files. So a checkpoint that is complete here is *confirmed* by the host, or given up, or subsumed by a later
//! one; and its files are kept as long as the host may still read them or build on them.

use crate::checkpoint::{Catalogue, CheckpointInfo, Kept};
use crate::error::{Error, Result};
use crate::ids::SegmentId;
use crate::manifest::{self, Manifest};
use crate::options::{Retention, StoreOptions};
use crate::platform::storage::{ReadFile, names};
use crate::platform::threads::Mutex;
use crate::store::StoreInner;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The checkpoints that nothing needs any more, by the host's word or by their age. The newest one always stays.
pub(crate) fn superfluous(catalogue: &Catalogue, options: &StoreOptions) -> Vec<u64> {
    // One after another, so that nothing is missing between a checkpoint and the changelog behind it.
    let newest = catalogue.history(options.history.checkpoints.max(1));
    let mut wanted: HashSet<u64> = newest.map(|kept| kept.info.number).collect();
    let joint = || catalogue.kept.iter().rev().filter(|(_, kept)| !kept.standalone && !kept.given_up);
    match options.retention {
        Retention::Newest => wanted.extend(joint().take(options.retained_checkpoints).map(|(&number, _)| number)),
        Retention::Host { unconfirmed_max } => {
            let is_confirmed = |kept: &Kept| kept.confirmed;
            let confirmed = joint().filter(|(_, kept)| is_confirmed(kept)).map(|(&number, _)| number);
            wanted.extend(confirmed.take(options.retained_checkpoints));
            // A confirmed one ends the wait for those before it.
            let open = joint().take_while(|(_, kept)| !is_confirmed(kept)).map(|(&number, _)| number);
            wanted.extend(open.take(unconfirmed_max));
        }
    }
    let is_pinned = |kept: &Kept| kept.exports > 0 || catalogue.is_pinned(kept.info.number);
    // A host that has just opened the store says what it retains only now.
    let is_spared = |kept: &Kept| catalogue.opened.is_some_and(|opened| !kept.given_up || kept.info.number == opened);
    let is_held =
        |kept: &Kept| kept.retained || (kept.standalone && !kept.given_up) || is_pinned(kept) || is_spared(kept);
    let rest = catalogue.kept.iter().filter(|(number, kept)| !wanted.contains(number) && !is_held(kept));
    rest.map(|(&number, _)| number).collect()
}

/// The host completed a checkpoint. Nothing happens where there is none of this label.
pub(crate) fn confirm(store: &Arc<StoreInner>, label: u64) -> Result<()> {
    store.check_open()?;
    {
        let mut catalogue = store.catalogue.lock();
        let mut open = store.open_checkpoints.lock();
        let number = match open.iter_mut().rev().find(|open| open.label == label) {
            // The host heard of it earlier than our thread that completes it.
            Some(open) => {
                open.confirmed = true;
                open.number
            }
            None => catalogue.find(label).ok().map(|kept| kept.info.number),
        };
        let Some(kept) = number.and_then(|number| catalogue.kept.get_mut(&number)) else { return Ok(()) };
        kept.confirmed = true;
    }
    tidy_up(store)
}

/// The host gave a checkpoint up: it is aborted if it is on its way, else let go of.
pub(crate) fn abort(store: &Arc<StoreInner>, label: u64) -> Result<()> {
    store.check_open()?;
    let open = {
        let open = store.open_checkpoints.lock();
        open.iter().rev().find(|open| open.label == label).map(|open| Arc::clone(&open.shared))
    };
    {
        let mut catalogue = store.catalogue.lock();
        // Of two with one label the younger is the one that is on its way.
        let number = match open {
            Some(shared) => shared.abort(label),
            None => catalogue.find(label).ok().map(|kept| kept.info.number),
        };
        let Some(kept) = number.and_then(|number| catalogue.kept.get_mut(&number)) else { return Ok(()) };
        kept.give_up();
    }
    tidy_up(store)
}

/// The host needs neither this checkpoint nor any that came before it, but for those that stand alone, and what it retains.
pub(crate) fn subsume(store: &Arc<StoreInner>, label: u64) -> Result<()> {
    store.check_open()?;
    {
        let mut catalogue = store.catalogue.lock();
        let Ok(of) = catalogue.find(label).map(|kept| kept.info.number) else { return Ok(()) };
        let before = catalogue.kept.range_mut(..=of).map(|(_, kept)| kept);
        before.filter(|kept| kept.info.number == of || !kept.standalone).for_each(|kept| kept.given_up = true);
    }
    tidy_up(store)
}

/// Has what nothing needs any more deleted, in the background: the host speaks from threads that must not wait for a disk.
fn tidy_up(store: &Arc<StoreInner>) -> Result<()> {
    store.queue.tidy_up(store)
}

/// A file of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileInfo {
    /// Its name in the store's directory, the same for ever; no two files of any stores have the same, but for manifests.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether the newest confirmed checkpoint before this one names it too, so that the host has it already. Never for
    /// a checkpoint that stands alone.
    pub shared: bool,
}

/// A checkpoint's files, for a host that copies them away. They stay readable as long as this lives, whatever becomes of
/// the checkpoint meanwhile.
#[derive(Debug)]
pub struct CheckpointFiles {
    store: Arc<StoreInner>,
    /// Held so that its segments are not reclaimed.
    kept: Arc<Manifest>,
    info: CheckpointInfo,
    files: Vec<FileInfo>,
    manifest: Vec<u8>,
    opened: Mutex<HashMap<usize, Arc<dyn ReadFile>>>,
}

/// The files of a checkpoint that is complete.
pub(crate) fn files(store: &Arc<StoreInner>, label: u64) -> Result<CheckpointFiles> {
    store.check_open()?;
    let catalogue = store.catalogue.lock();
    let kept = catalogue.find(label)?;
    let (info, manifest) = (kept.info.clone(), Arc::clone(&kept.manifest));
    let base = catalogue.kept.range(..info.number).rev().map(|(_, kept)| kept);
    let base = base.filter(|of| of.confirmed && !of.standalone && !kept.standalone).map(|of| &of.manifest).next();
    let base: HashSet<SegmentId> = base.map(|of| of.segments.iter().map(|meta| meta.id).collect()).unwrap_or_default();
    drop(catalogue);
    let bytes = manifest::format::encode(&manifest)
        .map_err(|invalid| Error::Checkpoint { label, problem: invalid.to_string() })?;
    let segments = manifest.segments.iter().map(|meta| FileInfo {
        name: names::segment_name(meta.id.0),
        bytes: meta.file_bytes,
        shared: base.contains(&meta.id),
    });
    let own = FileInfo { name: names::manifest_name(info.number), bytes: bytes.len() as u64, shared: false };
    let files = segments.chain([own]).collect();
    let (store, opened) = (Arc::clone(store), Mutex::default());
    Ok(CheckpointFiles { store, kept: manifest, info, files, manifest: bytes, opened })
}

impl CheckpointFiles {
    /// The checkpoint.
    pub fn info(&self) -> &CheckpointInfo {
        &self.info
    }

    /// The files: the segments, and last the manifest. Copied under their names into one directory they are a store at
    /// this checkpoint.
    pub fn list(&self) -> &[FileInfo] {
        &self.files
    }

    /// The manifest's bytes.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// Reads `len` bytes of a file, by its place in [`CheckpointFiles::list`], from `offset`. [`Error::Storage`] where the
    /// file ends before, or can't be read; [`Error::Checkpoint`] where there is no such place.
    pub fn read(&self, file: usize, offset: u64, len: usize) -> Result<Vec<u8>> {
        let missing = |problem: &str| Error::Checkpoint { label: self.info.label, problem: problem.to_owned() };
        let info = self.files.get(file).ok_or_else(|| missing("it has no such file"))?;
        if file == self.kept.segments.len() {
            let bytes = usize::try_from(offset).ok().and_then(|from| self.manifest.get(from..)?.get(..len));
            return Ok(bytes.ok_or_else(|| missing("its manifest ends before"))?.to_vec());
        }
        let opened = self.opened.lock().get(&file).cloned();
        let opened = match opened {
            Some(opened) => opened,
            None => {
                let opened = self.store.storage.open(&info.name)?;
                self.opened.lock().insert(file, Arc::clone(&opened));
                opened
            }
        };
        Ok(opened.read_at(offset, len)?.to_vec())
    }
}
