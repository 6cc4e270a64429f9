//! Finding and reading the manifests of a directory.
//!
//! A damaged manifest is never passed over for an older one: [`newest`] and [`newest_checkpoint`] fail then. To open an
//! older checkpoint is the caller's choice, by [`checkpoint`] or [`read`].

use std::sync::Arc;

use super::{Head, MANIFEST_BYTES_MAX, Manifest, format};
use crate::platform::storage::{Fault, ReadFile, Storage, StorageError, names};

/// A manifest that was read, and what identifies its file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestFile {
    /// What it says.
    pub manifest: Arc<Manifest>,
    /// What a child's [`super::Parent::digest`] has to say.
    pub digest: u64,
    /// The length of the file.
    pub file_bytes: u64,
}

/// The numbers of the directory's manifests, ascending; nothing is opened.
pub fn numbers(storage: &dyn Storage) -> Result<Vec<u64>, StorageError> {
    Ok(numbers_among(&storage.names()?))
}

/// The numbers of the manifests among a directory's files, ascending.
pub fn numbers_among(files: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = files.iter().filter_map(|name| names::parse_manifest_name(name)).collect();
    numbers.sort_unstable();
    numbers
}

/// The manifest of this number, checked in full; [`Fault::Missing`] where there is none.
pub fn read(storage: &dyn Storage, number: u64) -> Result<ManifestFile, StorageError> {
    let name = names::manifest_name(number);
    let path = storage.root().join(&name);
    let bytes = storage.read_all(&name, MANIFEST_BYTES_MAX)?;
    let manifest = format::decode(&bytes, &path)?;
    check_number(manifest.number, number, storage)?;
    Ok(ManifestFile { manifest: Arc::new(manifest), digest: format::digest_of(&bytes), file_bytes: bytes.len() as u64 })
}

/// The head of the manifest of this number, whatever the manifest's size; the rest of the file is not checked.
pub fn head(storage: &dyn Storage, number: u64) -> Result<Head, StorageError> {
    let file: Arc<dyn ReadFile> = storage.open(&names::manifest_name(number))?;
    let len = file.len();
    let shown = usize::try_from(len).map_or(format::HEAD_BYTES, |len| len.min(format::HEAD_BYTES));
    let head = format::decode_head(&file.read_at(0, shown)?, file.path())?;
    if head.file_bytes != len {
        let detail = format!("{len} bytes where the head says {}", head.file_bytes);
        return Err(StorageError::new(Fault::Length, file.path(), len.min(head.file_bytes), detail));
    }
    check_number(head.number, number, storage)?;
    Ok(head)
}

/// The manifest with the highest number; `None` where there is none.
pub fn newest(storage: &dyn Storage) -> Result<Option<ManifestFile>, StorageError> {
    numbers(storage)?.last().map(|&number| read(storage, number)).transpose()
}

/// The manifest with the highest number among those with a label; `None` where there is none.
///
/// `numbers` are those of the directory, ascending.
pub fn newest_checkpoint(storage: &dyn Storage, numbers: &[u64]) -> Result<Option<ManifestFile>, StorageError> {
    for &number in numbers.iter().rev() {
        let file = read(storage, number)?;
        if file.manifest.label.is_some() {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// The manifest with this label, the one with the highest number if a host used the label again; `None` where there is
/// none.
///
/// A damaged head elsewhere in the directory is no obstacle, unless the label isn't found: then it is the error, for
/// it may have been the one. `numbers` are those of the directory, ascending.
pub fn checkpoint(storage: &dyn Storage, numbers: &[u64], label: u64) -> Result<Option<ManifestFile>, StorageError> {
    let mut damaged = None;
    for &number in numbers.iter().rev() {
        match head(storage, number) {
            Ok(head) if head.label == Some(label) => return read(storage, number).map(Some),
            Ok(_) => {}
            Err(error) => damaged = damaged.or(Some(error)),
        }
    }
    damaged.map_or(Ok(None), Err)
}

/// The heads of all manifests, in ascending order of their numbers; what is wrong with one doesn't hide the others.
#[expect(clippy::type_complexity, reason = "an outcome for each number, within the outcome of listing them")]
pub fn heads(storage: &dyn Storage) -> Result<Vec<(u64, Result<Head, StorageError>)>, StorageError> {
    Ok(numbers(storage)?.into_iter().map(|number| (number, head(storage, number))).collect())
}

/// A manifest under another's name was swapped or copied.
fn check_number(found: u64, wanted: u64, storage: &dyn Storage) -> Result<(), StorageError> {
    if found == wanted {
        return Ok(());
    }
    let path = storage.root().join(names::manifest_name(wanted));
    let detail = format!("the file holds manifest {found}, its name says {wanted}");
    Err(StorageError::new(Fault::Corrupt, path, format::NUMBER_AT as u64, detail))
}
