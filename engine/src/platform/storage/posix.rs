//! The back end of plain system calls: `pread` and `pwrite`, and threads for many reads at once.

use std::path::Path;
use std::sync::Arc;

use super::append::Appender;
use super::files::Directory;
use super::log_file::PreallocatedFile;
use super::read_threads::ReadThreads;
use super::reading::Reading;
use super::{AppendFile, Backend, FileEntry, IoCounters, LogFile, ReadFile, ReadRequest, Storage, StorageError};

/// Batches of fewer reads are done by the calling thread: waking others takes longer.
const SHARED_MIN_READS: usize = 4;

/// One directory, by plain system calls.
#[derive(Debug)]
pub struct Posix {
    directory: Arc<Directory>,
    threads: ReadThreads,
}

impl Posix {
    /// A back end over an open directory.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self { directory, threads: ReadThreads::default() }
    }
}

impl Storage for Posix {
    fn backend(&self) -> Backend {
        Backend::Posix
    }

    fn root(&self) -> &Path {
        self.directory.root()
    }

    fn counters(&self) -> &IoCounters {
        self.directory.counters()
    }

    fn free_bytes(&self) -> Result<u64, StorageError> {
        self.directory.free_bytes()
    }

    fn list(&self) -> Result<Vec<FileEntry>, StorageError> {
        self.directory.list()
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        self.directory.names()
    }

    fn create(&self, name: &str) -> Result<Box<dyn AppendFile>, StorageError> {
        Ok(Box::new(Appender::create(&self.directory, name)?))
    }

    fn create_log(&self, name: &str, first: &[u8], len: u64) -> Result<Box<dyn LogFile>, StorageError> {
        Ok(Box::new(PreallocatedFile::create(&self.directory, name, first, len)?))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn ReadFile>, StorageError> {
        Ok(Arc::new(Reading::open(&self.directory, name)?))
    }

    fn read_all(&self, name: &str, max_bytes: u64) -> Result<Vec<u8>, StorageError> {
        self.directory.read_all(name, max_bytes)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.directory.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.directory.remove(name)
    }

    fn sync_file(&self, name: &str) -> Result<(), StorageError> {
        self.directory.sync_file(name)
    }

    fn sync_dir(&self) -> Result<(), StorageError> {
        self.directory.sync()
    }

    fn sync_other(&self, directory: &Path) -> Result<(), StorageError> {
        self.directory.sync_other(directory)
    }

    fn link_to(&self, name: &str, directory: &Path) -> Result<(), StorageError> {
        self.directory.link_to(name, directory)
    }

    fn link_from(&self, name: &str, directory: &Path, durable: bool) -> Result<(), StorageError> {
        self.directory.link_from(name, directory, durable)
    }

    fn cache_all_reads(&self, all: bool) {
        self.directory.cache_all_reads(all);
    }

    fn read_batch(&self, batch: &mut [ReadRequest]) {
        if let [single] = batch {
            single.outcome = Some(single.file.read_single(single.offset, single.len));
        } else if batch.len() < SHARED_MIN_READS {
            for request in batch {
                request.outcome = Some(request.read());
            }
        } else {
            self.threads.read_batch(batch);
        }
    }
}
