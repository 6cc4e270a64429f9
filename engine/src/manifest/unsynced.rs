//! What of the checkpoints that a store was opened with may not be durable: whoever wrote them had nothing synced
//! ([`Durability::Host`](crate::Durability)).
//!
//! Invariant: before anything of a store that syncs comes to last that builds on them, a manifest or a commit in the changelog, they are
//! synced, once. Not when the store is opened: that takes no longer for how many files there are.

use super::Manifest;
use crate::platform::storage::{Fault, Storage, StorageError, names};
use crate::platform::threads::Mutex;
use std::collections::HashSet;

/// The names of the files, until they are synced.
#[derive(Debug, Default)]
pub struct Unsynced(Mutex<Vec<String>>);

impl Unsynced {
    /// What these manifests name, and they themselves, unless they say that it was synced.
    pub fn of<'a>(manifests: impl Iterator<Item = &'a Manifest>) -> Self {
        let (mut names, mut seen) = (Vec::new(), HashSet::new());
        for manifest in manifests.filter(|manifest| !manifest.is_synced) {
            names.push(names::manifest_name(manifest.number));
            let segments = manifest.segments.iter().filter(|meta| seen.insert(meta.id));
            names.extend(segments.map(|meta| names::segment_name(meta.id.0)));
        }
        Self(Mutex::new(names))
    }

    /// Syncs them, unless that was done before.
    pub fn sync(&self, storage: &dyn Storage) -> Result<(), StorageError> {
        // Held meanwhile: who comes next mustn't go on before they are durable.
        let mut names = self.0.lock();
        if names.is_empty() {
            return Ok(());
        }
        // What is elsewhere is synced when it comes.
        for name in names.iter().filter(|name| storage.is_here(name)) {
            match storage.sync_file(name) {
                // It was superfluous meanwhile.
                Err(error) if error.fault == Fault::Missing => {}
                outcome => outcome?,
            }
        }
        storage.sync_dir()?;
        names.clear();
        Ok(())
    }
}
