//! Checkpoints in a remote directory: on S3, Google Cloud Storage, Azure, a local or shared file system, or anything else that
//! has an [`ObjectStore`]. Feature `object-store`.
//!
//! A [`Remote`] is one store's directory there: its segments, and its checkpoints that name them. [`Remote::upload`] brings a
//! checkpoint there, of which only the segments that aren't there yet travel; [`restore`] makes a store of one or several,
//! which serves at once and asks for what it needs while the rest streams in.
//!
//! Invariants:
//! - an object under its final name is whole, and never changed; a checkpoint's object is put after the segments that it names
//!   were seen there, and only where none of its number is;
//! - a segment is deleted only after every checkpoint that names it is, and only by who has the directory
//!   ([`RemoteError::Superseded`] for everybody else);
//! - no byte reaches a store before its checksum, which the checkpoint carries, was found right.
//!
//! It builds on what every host has: [`Store::files`], [`Store::confirm`], [`Store::restore_absent`] and
//! [`Fetches`](crate::Fetches).

mod access;
mod carrier;
mod error;
mod format;
mod ledger;
mod options;
mod restore;
mod runtime;
#[cfg(test)]
mod tests;
mod upload;

pub use carrier::{RestoreProgress, Restoring};
pub use error::{RemoteError, RemoteFault, RemoteResult};
pub use ledger::Removed;
pub use object_store;
pub use options::{PART_BYTES_MIN, RemoteOptions, RestoreOptions, RetryOptions};
pub use restore::{RemoteSource, restore, resume};
pub use upload::Uploaded;

use crate::engine::Engine;
use crate::manifest::Head;
use crate::options::StoreOptions;
use crate::store::Store;
use access::Access;
use ledger::{Ledger, Listing};
use object_store::ObjectStore;
use runtime::Runtime;
use std::sync::Arc;

/// A remote directory: what one store uploads, and what stores are restored from. Cheap to clone; its thread ends with the
/// last clone, and the last restore from it.
///
/// The calls wait for the remote; they may be made from any thread that may wait, one of an asynchronous runtime of the
/// caller's included, but that one waits, too.
///
/// **A directory belongs to one store.** Who uploads takes it over from whoever uploaded before: a process that was taken
/// for dead finds itself [superseded](RemoteError::Superseded). Reading takes nothing over.
///
/// ```
/// use alluvium::remote::{Remote, RemoteOptions, RestoreOptions};
/// use alluvium::{Barrier, Engine, EngineOptions, StateOptions, Store, StoreOptions};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let (here, there) = (directory.path().join("here"), directory.path().join("there"));
/// # let url = format!("file://{}", directory.path().join("remote").display());
/// let remote = Remote::open(&url, RemoteOptions::default())?; // s3://bucket/job/store-0, gs://, az://, file://
/// let engine = Engine::open(EngineOptions::default())?;
/// let store = Store::create(&engine, &here, StoreOptions::default())?;
/// let counts = store.state(StateOptions::value("counts"))?;
/// store.writer(store.range())?.put(counts, store.key(b"JFK-SEA"), b"1")?;
/// store.barrier(Barrier::new(7))?.wait()?;
/// remote.upload(&store, 7)?;
/// store.close()?;
///
/// // On another machine: it serves as soon as the manifest is read.
/// let (store, restoring) =
///     remote.restore(&engine, &there, None, StoreOptions::default(), RestoreOptions::default())?;
/// let counts = store.state(StateOptions::value("counts"))?;
/// assert_eq!(store.reader().get(counts, store.key(b"JFK-SEA"))?, Some(b"1".to_vec()));
/// restoring.wait()?; // all of it is here
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Remote {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    access: Access,
    options: RemoteOptions,
    runtime: Runtime,
    /// What is known of the directory; held by whoever changes it.
    ledger: tokio::sync::Mutex<Ledger>,
}

/// A checkpoint of a remote directory.
#[derive(Clone, Debug)]
pub struct RemoteCheckpoint {
    /// Its number in the directory, which rises.
    pub sequence: u64,
    /// The object, as errors name it.
    pub object: String,
    /// The length of the object: manifest and checksums, without the segments.
    pub object_bytes: u64,
    /// What its manifest says first, or why it can't be read.
    pub head: RemoteResult<Head>,
}

impl RemoteCheckpoint {
    /// The host's label; `None` where the checkpoint can't be read.
    pub fn label(&self) -> Option<u64> {
        self.head.as_ref().ok().and_then(|head| head.label)
    }
}

impl Remote {
    /// The directory that a URL names: `file:///path`, `memory:///` (of this value and its clones alone), and, with the features
    /// `object-store-aws`, `-gcp`, `-azure` and `-http`, `s3://bucket/path`, `gs://bucket/path`, `az://container/path`, `https://host/path`
    /// and the other forms that `object_store` knows. Credentials and the like come from
    /// [`RemoteOptions::configuration`] and the environment. Nothing is asked of the remote yet.
    ///
    /// # Errors
    /// [`RemoteFault::Unsupported`] where the URL is none of these, or its feature is off.
    pub fn open(url: &str, options: RemoteOptions) -> RemoteResult<Self> {
        options.validate()?;
        Self::over(Access::of_url(url, &options)?, options)
    }

    /// The directory `prefix` (empty: all of it) of an object store that the caller configured.
    pub fn with_store(store: Arc<dyn ObjectStore>, prefix: &str, options: RemoteOptions) -> RemoteResult<Self> {
        options.validate()?;
        let invalid =
            |error: object_store::path::Error| RemoteError::Options { option: "prefix", problem: error.to_string() };
        let prefix = object_store::path::Path::parse(prefix).map_err(invalid)?;
        Self::over(Access::new(store, prefix, options.retry), options)
    }

    fn over(access: Access, options: RemoteOptions) -> RemoteResult<Self> {
        let (runtime, ledger) = (Runtime::start()?, tokio::sync::Mutex::default());
        Ok(Self { inner: Arc::new(Inner { access, options, runtime, ledger }) })
    }

    /// Its name, as errors give it.
    pub fn name(&self) -> String {
        self.inner.access.name()
    }

    /// Uploads a checkpoint of a store that is complete there: the segments that the directory lacks, several at once, then
    /// the checkpoint itself. When this returns, everything was seen in the remote ([`RemoteOptions::read_back`]), the store was
    /// told ([`RemoteOptions::confirm`]), and what [`RemoteOptions::keep`] doesn't keep was deleted, or [`Uploaded::removed`] says why
    /// not. Where it fails, no checkpoint of the directory has changed; what it left is used or deleted by the next.
    ///
    /// One upload at a time: others of the same `Remote` wait. A checkpoint that is the newest there already is not
    /// uploaded again.
    ///
    /// # Errors
    /// [`RemoteError::Engine`] where the store has no checkpoint of this label ([`Store::files`]), or a segment can't be read;
    /// [`RemoteError::Superseded`]; and what the remote says, once it was asked as often as [`RemoteOptions::retry`] says.
    pub fn upload(&self, store: &Store, label: u64) -> RemoteResult<Uploaded> {
        let files = Arc::new(store.files(label)?);
        let uploaded = self.inner.runtime.begin(upload::run(Arc::clone(&self.inner), files)).wait()?;
        if self.inner.options.confirm {
            store.confirm(label)?;
            let removed = uploaded.removed.iter().flat_map(|removed| &removed.checkpoints);
            removed
                .filter_map(|&(_, label)| label)
                .filter(|&old| old != label)
                .try_for_each(|old| store.subsume(old))?;
        }
        Ok(uploaded)
    }

    /// Deletes all checkpoints but the newest `keep` (at least 1), and the segments that only they name. Takes the directory over.
    pub fn prune(&self, keep: usize) -> RemoteResult<Removed> {
        RemoteOptions { keep, ..self.inner.options.clone() }.validate()?;
        let inner = Arc::clone(&self.inner);
        let prune = async move {
            let mut ledger = inner.ledger.lock().await;
            let listing = Listing::take(&inner.access).await?;
            ledger.claim(&inner.access, &listing).await?;
            ledger.read(&inner.access, &listing).await;
            ledger.retain(&inner.access, &listing, keep).await
        };
        self.inner.runtime.begin(prune).wait()
    }

    /// The checkpoints of the directory, oldest first. What is wrong with one doesn't hide the others.
    pub fn list(&self) -> RemoteResult<Vec<RemoteCheckpoint>> {
        let inner = Arc::clone(&self.inner);
        self.inner.runtime.begin(async move { ledger::heads(&inner.access).await }).wait()
    }

    /// Makes a new store in `path` of a checkpoint of this directory: the one with this label, or the newest. See
    /// [`restore()`], which does the same for several.
    pub fn restore(
        &self,
        engine: &Engine,
        path: &std::path::Path,
        label: Option<u64>,
        options: StoreOptions,
        how: RestoreOptions,
    ) -> RemoteResult<(Store, Restoring)> {
        restore(engine, path, &[RemoteSource { remote: self.clone(), label }], options, how)
    }
}
