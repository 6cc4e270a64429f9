//! A hot list being written.

use super::TIERS;
use super::format::{CHUNK_ENTRY_BYTES, Chunk, Stack, TRAILER_BYTES, Trailer, push_chunk};
use crate::checksum::checksum;
use crate::platform::storage::{AppendFile, Storage, StorageError, names};

/// A chunk is written when it is so long, in bytes: long enough for a disk to be read at its full rate.
const CHUNK_BYTES: usize = 256 << 10;

/// The records of a tier that aren't written yet.
#[derive(Debug, Default)]
struct Open {
    bytes: Vec<u8>,
    records: u32,
    groups: Option<(u16, u16)>,
    stack: Stack,
}

/// Writes a list; dropped without [`ListWriter::finish`] it leaves nothing behind.
pub struct ListWriter {
    number: u64,
    file: Box<dyn AppendFile>,
    store: u128,
    tiers: [Open; TIERS],
    chunks: Vec<Chunk>,
}

impl std::fmt::Debug for ListWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListWriter").field("number", &self.number).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl ListWriter {
    /// Begins the list of this number, of a store with this identity.
    pub fn create(storage: &dyn Storage, number: u64, store: u128) -> Result<Self, StorageError> {
        let temporary = names::temporary_name(&names::hot_list_name(number));
        storage.remove(&temporary)?;
        Ok(Self { number, file: storage.create(&temporary)?, store, tiers: Default::default(), chunks: Vec::new() })
    }

    /// About how long it is, in bytes.
    pub fn bytes(&self) -> u64 {
        let table = self.chunks.len() * CHUNK_ENTRY_BYTES + TRAILER_BYTES;
        self.file.len() + (self.tiers.iter().map(|open| open.bytes.len()).sum::<usize>() + table) as u64
    }

    /// Adds a record of a key group ([`Entry::encode`](super::Entry::encode) gives its bytes), which was found in a stack.
    pub fn add(&mut self, tier: usize, stack: Stack, group: u16, record: &[u8]) -> Result<(), StorageError> {
        let tier = tier.min(TIERS - 1);
        let open = &self.tiers[tier];
        if open.records > 0 && (open.stack != stack || open.bytes.len() >= CHUNK_BYTES) {
            self.close(tier)?;
        }
        let open = &mut self.tiers[tier];
        open.bytes.extend_from_slice(record);
        open.records += 1;
        open.stack = stack;
        let (first, last) = open.groups.unwrap_or((group, group));
        open.groups = Some((first.min(group), last.max(group)));
        Ok(())
    }

    /// Writes what a tier has.
    fn close(&mut self, tier: usize) -> Result<(), StorageError> {
        let open = std::mem::take(&mut self.tiers[tier]);
        let Some((first, last)) = open.groups else { return Ok(()) };
        self.chunks.push(Chunk {
            offset: self.file.len(),
            bytes: open.bytes.len() as u32,
            records: open.records,
            first,
            last,
            tier: tier as u8,
            stack: open.stack,
            checksum: checksum(&open.bytes),
        });
        self.file.append(&open.bytes)
    }

    /// Completes the file under its name, for good if `durable`; says how long it is.
    pub fn finish(mut self, storage: &dyn Storage, durable: bool) -> Result<u64, StorageError> {
        for tier in 0..TIERS {
            self.close(tier)?;
        }
        let mut table = Vec::with_capacity(self.chunks.len() * CHUNK_ENTRY_BYTES);
        self.chunks.iter().for_each(|chunk| push_chunk(&mut table, chunk));
        let trailer = Trailer {
            store: self.store,
            chunks: self.chunks.len() as u32,
            table_at: self.file.len(),
            table_checksum: checksum(&table),
        };
        self.file.append(&table)?;
        self.file.append(&trailer.encode())?;
        let bytes = self.file.len();
        self.file.finish(durable)?;
        let name = names::hot_list_name(self.number);
        storage.rename(&names::temporary_name(&name), &name)?;
        if durable {
            storage.sync_dir()?;
        }
        Ok(bytes)
    }
}
