//! A directory as its host takes part in it: what is written is handed on while it is written, and what isn't here is
//! asked for.

use super::fetches::Fetches;
use super::{
    AppendFile, Backend, Buffer, Fault, FileEntry, IoCounters, LogFile, Mapping, ReadFile, ReadRequest, ReadStream,
    Storage, StorageError, names, sys,
};
use std::fmt::Debug;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Takes the bytes of segments while they are written, by whichever threads of the engine write them: a host that copies
/// them away need not read them from disk again. Which of them belong to a checkpoint says
/// [`Store::files`](crate::Store::files).
pub trait SegmentSink: Send + Sync + Debug {
    /// The next bytes of a segment: each begins where the last ended, the first at 0.
    fn write(&self, name: &str, offset: u64, bytes: &[u8]);

    /// A segment is whole.
    fn complete(&self, name: &str, len: u64);

    /// A segment will never be whole; forget what came of it.
    fn abandon(&self, name: &str);
}

/// See the module's head.
#[derive(Debug)]
pub struct Hosted {
    inner: Arc<dyn Storage>,
    sink: Option<Arc<dyn SegmentSink>>,
    fetches: Option<Arc<Fetches>>,
}

impl Hosted {
    /// A storage with its host; the storage itself where the host takes no part.
    pub fn over(
        inner: Arc<dyn Storage>,
        sink: Option<Arc<dyn SegmentSink>>,
        fetches: Option<Arc<Fetches>>,
    ) -> Arc<dyn Storage> {
        if sink.is_none() && fetches.is_none() { inner } else { Arc::new(Self { inner, sink, fetches }) }
    }
}

impl Storage for Hosted {
    fn backend(&self) -> Backend {
        self.inner.backend()
    }

    fn root(&self) -> &Path {
        self.inner.root()
    }

    fn counters(&self) -> &IoCounters {
        self.inner.counters()
    }

    fn free_bytes(&self) -> Result<u64, StorageError> {
        self.inner.free_bytes()
    }

    fn list(&self) -> Result<Vec<FileEntry>, StorageError> {
        self.inner.list()
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        self.inner.names()
    }

    fn is_here(&self, name: &str) -> bool {
        self.fetches.as_ref().is_none_or(|fetches| fetches.absent(name).is_none())
    }

    fn create(&self, name: &str) -> Result<Box<dyn AppendFile>, StorageError> {
        let file = self.inner.create(name)?;
        Ok(match &self.sink {
            Some(sink) if names::parse_segment_name(name).is_some() => {
                Box::new(Handed { file: Some(file), name: name.to_owned(), sink: Arc::clone(sink) })
            }
            _ => file,
        })
    }

    fn create_log(&self, name: &str, first: &[u8], len: u64) -> Result<Box<dyn LogFile>, StorageError> {
        self.inner.create_log(name, first, len)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn ReadFile>, StorageError> {
        let Some(fetches) = &self.fetches else { return self.inner.open(name) };
        match fetches.absent(name) {
            None => self.inner.open(name),
            Some(len) => Ok(Arc::new(Absent {
                inner: Arc::clone(&self.inner),
                fetches: Arc::clone(fetches),
                path: self.root().join(name),
                name: name.to_owned(),
                len,
                here: OnceLock::new(),
            })),
        }
    }

    fn read_all(&self, name: &str, max_bytes: u64) -> Result<Vec<u8>, StorageError> {
        self.inner.read_all(name, max_bytes)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        if let Some(fetches) = &self.fetches {
            let forgotten = fetches.forget(name);
            forgotten.map_err(|error| StorageError::from_io(&error, self.root().join(name), 0))?;
        }
        self.inner.remove(name)
    }

    fn sync_file(&self, name: &str) -> Result<(), StorageError> {
        self.inner.sync_file(name)
    }

    fn sync_dir(&self) -> Result<(), StorageError> {
        self.inner.sync_dir()
    }

    fn link_to(&self, name: &str, directory: &Path) -> Result<(), StorageError> {
        if let Some(fetches) = &self.fetches
            && let Some(len) = fetches.absent(name)
        {
            fetches.need_whole(name, len)?;
        }
        self.inner.link_to(name, directory)
    }

    fn sync_other(&self, directory: &Path) -> Result<(), StorageError> {
        self.inner.sync_other(directory)
    }

    fn link_from(&self, name: &str, directory: &Path, durable: bool) -> Result<(), StorageError> {
        self.inner.link_from(name, directory, durable)
    }

    fn cache_all_reads(&self, all: bool) {
        self.inner.cache_all_reads(all);
    }

    fn read_batch(&self, batch: &mut [ReadRequest]) {
        self.inner.read_batch(batch);
    }

    fn read_stream(&self, stream: &mut dyn ReadStream) {
        self.inner.read_stream(stream);
    }
}

/// A segment that is written here and handed on.
struct Handed {
    file: Option<Box<dyn AppendFile>>,
    name: String,
    sink: Arc<dyn SegmentSink>,
}

impl AppendFile for Handed {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let offset = file.len();
        file.append(bytes)?;
        self.sink.write(&self.name, offset, bytes);
        Ok(())
    }

    fn len(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.len())
    }

    fn finish(mut self: Box<Self>, durable: bool) -> Result<(), StorageError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let len = file.len();
        match file.finish(durable) {
            Ok(()) => self.sink.complete(&self.name, len),
            Err(error) => {
                self.sink.abandon(&self.name);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if self.file.is_some() {
            self.sink.abandon(&self.name);
        }
    }
}

/// A file that was elsewhere when it was opened.
#[derive(Debug)]
struct Absent {
    inner: Arc<dyn Storage>,
    fetches: Arc<Fetches>,
    path: PathBuf,
    name: String,
    len: u64,
    /// The file, once it is whole.
    here: OnceLock<Arc<dyn ReadFile>>,
}

impl Absent {
    fn here(&self) -> Result<&Arc<dyn ReadFile>, StorageError> {
        if let Some(here) = self.here.get() {
            return Ok(here);
        }
        let file = self.inner.open(&self.name)?;
        Ok(self.here.get_or_init(|| file))
    }

    fn check(&self, offset: u64, len: usize) -> Result<(), StorageError> {
        if offset.checked_add(len as u64).is_some_and(|end| end <= self.len) {
            return Ok(());
        }
        let detail = format!("{len} bytes from {offset} of a file of {}", self.len);
        Err(StorageError::new(Fault::Length, &self.path, offset, detail))
    }
}

impl ReadFile for Absent {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Buffer, StorageError> {
        self.check(offset, len)?;
        if self.here.get().is_none()
            && let Some(partial) = self.fetches.need(&self.name, offset, len)?
        {
            let mut buffer = Buffer::allocate(len, &self.path, offset)?;
            while buffer.len() < len {
                let from = offset + buffer.len() as u64;
                let read = sys::read_at(partial.file().as_fd(), &mut buffer, len, from);
                if read.map_err(|error| StorageError::from_io(&error, &self.path, from))? == 0 {
                    return Err(StorageError::new(Fault::Length, &self.path, from, "it is shorter than it was"));
                }
            }
            return Ok(buffer);
        }
        self.here()?.read_at(offset, len)
    }

    fn read_single(&self, offset: u64, len: usize) -> Result<Buffer, StorageError> {
        match self.here.get() {
            Some(here) => here.read_single(offset, len),
            None => self.read_at(offset, len),
        }
    }

    fn map(&self, offset: u64, len: usize) -> Result<Mapping, StorageError> {
        self.check(offset, len)?;
        if self.here.get().is_none()
            && let Some(partial) = self.fetches.need(&self.name, offset, len)?
        {
            let mapped = Mapping::new(partial.file().as_fd(), offset, len);
            return mapped.map_err(|error| StorageError::from_io(&error, &self.path, offset));
        }
        self.here()?.map(offset, len)
    }

    fn descriptor(&self) -> Option<(Arc<OwnedFd>, bool)> {
        if self.here.get().is_none() && self.fetches.absent(&self.name).is_some() {
            return None;
        }
        self.here().ok()?.descriptor()
    }

    fn descriptor_for_single(&self) -> Option<(Arc<OwnedFd>, bool)> {
        self.here.get().map_or_else(|| self.descriptor(), |here| here.descriptor_for_single())
    }
}
