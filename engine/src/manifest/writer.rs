//! Publishing a manifest: it is there whole and for good, or not at all.

use super::{Manifest, format};
use crate::error::{Error, Result};
use crate::platform::safeguards::{Safeguard, stands};
use crate::platform::storage::{Fault, Storage, StorageError, names};

/// A manifest that was published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// What a child's [`super::Parent::digest`] has to say.
    pub digest: u64,
    /// The length of the file.
    pub file_bytes: u64,
}

/// Writes `manifest` to the directory under its number.
///
/// The segments that it names must be complete (and synced, if `durable`). The directory is synced *before* the
/// rename too, so that a manifest never outlives a crash that lost the directory entry of one of its segments.
/// Without `durable` nothing is synced; the file still appears whole or not at all, to everyone but a power cut.
///
/// [`Error::Checkpoint`] where it is no manifest, or too long for one: nothing was done then. [`Fault::Exists`] where the directory has a
/// manifest of this number: one is never replaced. After any other error
/// the manifest may or may not be there (the last sync can fail after the rename); its number isn't to be used again.
pub fn publish(storage: &dyn Storage, manifest: &Manifest, durable: bool) -> Result<Published> {
    let name = names::manifest_name(manifest.number);
    let bytes = format::encode(manifest).map_err(|invalid| Error::Checkpoint {
        label: manifest.label.unwrap_or(0),
        problem: format!("its manifest can't be written: {invalid}"),
    })?;
    match storage.open(&name) {
        Err(error) if error.fault == Fault::Missing => {}
        Err(error) => return Err(error.into()),
        Ok(_) => {
            let path = storage.root().join(&name);
            return Err(StorageError::new(Fault::Exists, path, 0, "there is a manifest of this number").into());
        }
    }

    let temporary = names::temporary_manifest_name(manifest.number);
    // What an attempt that died here left behind.
    storage.remove(&temporary)?;
    let mut file = storage.create(&temporary)?;
    file.append(&bytes)?;
    file.finish(durable && stands(Safeguard::ManifestSynced))?;
    if durable && stands(Safeguard::NamesBeforeManifest) {
        storage.sync_dir()?;
    }
    storage.rename(&temporary, &name)?;
    if durable && stands(Safeguard::ManifestNamed) {
        storage.sync_dir()?;
    }
    Ok(Published { digest: format::digest_of(&bytes), file_bytes: bytes.len() as u64 })
}
