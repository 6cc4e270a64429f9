//! A store beside the store: a scratch directory, a store in it and its writer, all of which go together.

use crate::error::{Error, Result};
use crate::platform::random::random;
use crate::platform::storage::{make_scratch, names, remove_directory};
use crate::store::{Store, StoreInner};
use crate::writer::Writer;
use std::path::Path;
use std::sync::Arc;

/// It, and its directory, which goes with it.
#[derive(Debug)]
pub struct Beside {
    // In this order: the writer goes before the store, and the directory last.
    writer: Option<Writer>,
    store: Option<Store>,
    directory: std::path::PathBuf,
}

impl Beside {
    /// Makes a directory among a store's files, and has `open` open a store and its writer there.
    pub fn new(of: &StoreInner, open: impl FnOnce(&Path) -> Result<(Store, Writer)>) -> Result<Self> {
        let directory = of.storage.root().join(names::scratch_name(random()));
        make_scratch(&directory)?;
        let mut beside = Self { writer: None, store: None, directory };
        let (store, writer) = open(&beside.directory)?;
        (beside.store, beside.writer) = (Some(store), Some(writer));
        Ok(beside)
    }

    /// Its writer.
    pub fn writer(&mut self) -> Result<&mut Writer> {
        self.writer.as_mut().ok_or(Error::Closed)
    }

    /// The store.
    pub fn inner(&self) -> Result<&Arc<StoreInner>> {
        self.store.as_ref().map(|store| &store.inner).ok_or(Error::Closed)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.writer = None;
        if let Some(Err(error)) = self.store.take().map(Store::close) {
            tracing::warn!(%error, "closing a scratch store");
        }
        if let Err(error) = remove_directory(&self.directory) {
            tracing::warn!(%error, "a scratch store's directory is left");
        }
    }
}
