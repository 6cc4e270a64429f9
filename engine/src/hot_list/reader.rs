//! A hot list that is read.

use super::format::{self, Chunk, TRAILER_BYTES, Trailer};
use crate::codec::DecodeError;
use crate::platform::storage::{Buffer, Fault, ReadFile, Storage, StorageError, names};
use std::sync::Arc;

/// A complete list, whose chunks are read when they are asked for.
#[derive(Debug)]
pub struct List {
    file: Arc<dyn ReadFile>,
    /// In the order of the file.
    chunks: Vec<Chunk>,
}

impl List {
    /// Opens the list of this number, of a store with this identity. Any other file is refused, as is one that is damaged.
    pub fn open(storage: &dyn Storage, number: u64, store: u128) -> Result<Self, StorageError> {
        let file = storage.open(&names::hot_list_name(number))?;
        let wrong = |at: u64, error: DecodeError| {
            StorageError::new(Fault::Corrupt, file.path(), at + error.at as u64, error.problem)
        };
        let trailer_at = file.len().saturating_sub(TRAILER_BYTES as u64);
        let end = file.read_at(trailer_at, (file.len() - trailer_at) as usize)?;
        let trailer = Trailer::decode(&end, file.len()).map_err(|error| wrong(trailer_at, error))?;
        if trailer.store != store {
            return Err(wrong(trailer_at, DecodeError::new(16, "a list of another store")));
        }
        let bytes = file.read_at(trailer.table_at, (trailer_at - trailer.table_at) as usize)?;
        let chunks = format::table(&trailer, &bytes).map_err(|error| wrong(trailer.table_at, error))?;
        Ok(Self { file, chunks })
    }

    /// Its chunks, in the order of the file.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The bytes of a chunk; [`format::entries`] checks them.
    pub fn read(&self, chunk: &Chunk) -> Result<Buffer, StorageError> {
        self.file.read_at(chunk.offset, chunk.bytes as usize)
    }
}
