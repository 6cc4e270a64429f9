//! What is to be brought here from elsewhere: files that a store refers to and that are not in its directory. The host
//! asks what is wanted, and brings it.
//!
//! A file comes in chunks, into a file of a temporary name; with the last chunk it gets its own. What a reader waits for
//! comes first, the rest after it, one file after another.

use super::files::Partial;
use super::{Fault, StorageError};
use crate::platform::threads::{Condvar, Mutex};
use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What is brought at once at least, in bytes.
pub const CHUNK_BYTES: u64 = 256 << 10;
/// And at most, in chunks.
const CHUNKS_MAX: usize = 16;
/// How often what nobody waits for is asked for.
const TRIES_MAX: u32 = 5;

/// Bytes of a file that the store wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchRequest {
    /// What the answer names.
    pub id: u64,
    /// The file: a segment's name, as in [`FileInfo`](crate::FileInfo).
    pub file: String,
    /// From where, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub len: usize,
    /// Whether somebody waits for it.
    pub on_demand: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chunk {
    Absent,
    /// In line, or with the host.
    Asked,
    Present,
}

#[derive(Debug)]
struct File {
    len: u64,
    chunks: Vec<Chunk>,
    /// How often the host could not bring each chunk.
    failures: Vec<u32>,
    present: usize,
    partial: Option<Arc<Partial>>,
    /// What it said last, and what whoever reads is told for it.
    problem: String,
    fault: Fault,
    /// How often each chunk may fail before nobody is asked for it but on demand.
    tries: u32,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<String, File>,
    /// What somebody waits for.
    demanded: VecDeque<FetchRequest>,
    /// Chunks of files to be brought in the background before all others.
    preferred: VecDeque<(String, std::ops::Range<usize>)>,
    /// Files to be brought in the background.
    rest: VecDeque<String>,
    /// What the host was asked for, by id.
    asked: HashMap<u64, FetchRequest>,
    next_id: u64,
    /// How often waits were called off.
    cancelled: u64,
    /// How many answers are just being written down.
    putting: usize,
    closed: bool,
}

/// The files that are elsewhere, and what is wanted of them. A host asks from a thread of its own
/// ([`Fetches::poll`], [`Fetches::wait`]), and answers each request with [`Fetches::complete`] or [`Fetches::fail`], in
/// any order.
///
/// Reads wait for what they need, flushes and checkpoints don't; compaction leaves out what isn't here. A file that has
/// been brought whole is here for good.
#[derive(Debug)]
pub struct Fetches {
    root: PathBuf,
    durable: bool,
    state: Mutex<State>,
    /// A request was added.
    wanted: Condvar,
    /// A part came, or won't.
    landed: Condvar,
}

impl Fetches {
    /// For a directory; with `durable`, files are synced when they are whole.
    pub(crate) fn new(root: &Path, durable: bool) -> Self {
        let (root, state) = (root.to_owned(), Mutex::default());
        Self { root, durable, state, wanted: Condvar::new(), landed: Condvar::new() }
    }

    /// Registers a file that is elsewhere.
    pub(crate) fn register(&self, name: &str, len: u64) {
        let mut state = self.state.lock();
        let chunks = vec![Chunk::Absent; len.div_ceil(CHUNK_BYTES) as usize];
        let failures = vec![0; chunks.len()];
        let (partial, problem, fault, tries) = (None, String::new(), Fault::Absent, TRIES_MAX);
        let file = File { len, chunks, failures, present: 0, partial, problem, fault, tries };
        if state.files.insert(name.to_owned(), file).is_none() {
            state.rest.push_back(name.to_owned());
        }
        self.wanted.notify_all();
    }

    /// The length of a file that is elsewhere, or on its way; `None` where it is none, or here.
    pub(crate) fn absent(&self, name: &str) -> Option<u64> {
        self.state.lock().files.get(name).map(|file| file.len)
    }

    /// Forgets a file, which nothing refers to any more.
    pub(crate) fn forget(&self, name: &str) -> std::io::Result<()> {
        let known = self.state.lock().files.remove(name).is_some();
        self.landed.notify_all();
        if known { Partial::remove(&self.root, name) } else { Ok(()) }
    }

    /// How many files are not here yet.
    pub fn files_absent(&self) -> usize {
        self.state.lock().files.len()
    }

    /// How many bytes are not here yet, of all files; what came of a chunk counts when all of it is here.
    pub fn bytes_absent(&self) -> u64 {
        self.state.lock().files.values().map(|file| file.len.saturating_sub(file.present as u64 * CHUNK_BYTES)).sum()
    }

    /// Whether the store was closed: it wants nothing any more.
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Has these bytes of a file brought in the background before what was not preferred, in the order of these calls, and also
    /// where the host failed to bring them before. No matter where the file is here, or none of the store's.
    pub fn prefer(&self, name: &str, offset: u64, len: u64) {
        let mut state = self.state.lock();
        let Some(file) = state.files.get_mut(name) else { return };
        let end = offset.saturating_add(len).min(file.len);
        let chunks = (offset / CHUNK_BYTES) as usize..end.div_ceil(CHUNK_BYTES) as usize;
        file.tries = file.failures.iter().max().map_or(TRIES_MAX, |failures| failures + TRIES_MAX);
        let is_missing = chunks.clone().any(|chunk| file.chunks[chunk] != Chunk::Present);
        let is_queued = |(queued, parts): &(String, std::ops::Range<usize>)| queued == name && *parts == chunks;
        // A host that says it again and again, and asks for none of it, must not fill memory.
        if is_missing && !state.preferred.iter().any(is_queued) {
            state.preferred.push_back((name.to_owned(), chunks));
        }
        drop(state);
        self.wanted.notify_all();
    }

    /// What is wanted now, at most so many requests: what somebody waits for first. Each is given out once.
    pub fn poll(&self, requests_max: usize) -> Vec<FetchRequest> {
        self.state.lock().take(requests_max)
    }

    /// As [`Fetches::poll`], but waits until something is wanted, or for so long.
    pub fn wait(&self, requests_max: usize, timeout: Duration) -> Vec<FetchRequest> {
        let mut state = self.state.lock();
        let requests = state.take(requests_max);
        if !requests.is_empty() || state.closed {
            return requests;
        }
        self.wanted.wait_for(&mut state, timeout);
        state.take(requests_max)
    }

    /// As [`Fetches::wait`], but gives out only what somebody waits for: for a host that brings the rest more slowly.
    pub fn wait_demanded(&self, requests_max: usize, timeout: Duration) -> Vec<FetchRequest> {
        let mut state = self.state.lock();
        let requests = state.take_demanded(requests_max);
        if !requests.is_empty() || state.closed {
            return requests;
        }
        self.wanted.wait_for(&mut state, timeout);
        state.take_demanded(requests_max)
    }

    /// Has the host's threads that wait for something to be wanted return, with or without anything.
    pub fn wake(&self) {
        self.wanted.notify_all();
    }

    /// Brings what a request asked for: all of it. An id that was answered before, or whose file nothing refers to any
    /// more, and a store that is closed are no matter. The store checks what it reads of it, as it does with all files.
    ///
    /// # Errors
    /// [`Fault::Length`] where these are not as many bytes as were asked for, and what writing them down failed with; then
    /// they are asked for again when they are needed.
    pub fn complete(&self, id: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let Some(request) = self.answered(id, 1) else { return Ok(()) };
        let outcome = self.put(&request, bytes);
        if let Err(error) = &outcome {
            self.give_up(&request, Fault::Absent, &error.detail);
        }
        self.state.lock().putting -= 1;
        self.landed.notify_all();
        outcome
    }

    fn put(&self, request: &FetchRequest, bytes: &[u8]) -> Result<(), StorageError> {
        if bytes.len() != request.len {
            let detail = format!("{} bytes were brought of {}", bytes.len(), request.len);
            return Err(StorageError::new(Fault::Length, self.root.join(&request.file), request.offset, detail));
        }
        let partial = self.partial(&mut self.state.lock(), &request.file)?;
        partial.write(request.offset, bytes)?;
        let is_whole = {
            let mut state = self.state.lock();
            let Some(file) = state.files.get_mut(&request.file) else { return Ok(()) };
            for chunk in chunks_of(request.offset, request.len) {
                file.present += usize::from(file.chunks[chunk] != Chunk::Present);
                file.chunks[chunk] = Chunk::Present;
            }
            file.present == file.chunks.len()
        };
        if is_whole {
            let finished = partial.finish(&request.file, self.durable);
            let mut state = self.state.lock();
            match finished {
                Ok(()) => drop(state.files.remove(&request.file)),
                Err(error) => {
                    state.begin_anew(&request.file, &partial);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Says that the host can't bring what a request asked for: whoever waits for it fails with [`Fault::Absent`], and it
    /// is asked for again when it is needed again.
    pub fn fail(&self, id: u64, problem: &str) {
        self.refuse(id, Fault::Absent, problem);
    }

    /// As [`Fetches::fail`], where the host knows that it will never have it as it was: whoever waits fails with this fault
    /// ([`Fault::Missing`], [`Fault::Length`], [`Fault::Corrupt`]).
    pub fn refuse(&self, id: u64, fault: Fault, problem: &str) {
        if let Some(request) = self.answered(id, 0) {
            self.give_up(&request, fault, problem);
        }
    }

    /// Has everybody who waits now fail with [`Fault::Absent`]: a task that is cancelled must not wait for the network.
    pub fn cancel_waits(&self) {
        self.state.lock().cancelled += 1;
        self.landed.notify_all();
    }

    /// Nobody will answer any more: waits for those who are at it, as the directory may be another's from then on.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.landed.notify_all();
        self.wanted.notify_all();
        while state.putting > 0 {
            self.landed.wait(&mut state);
        }
    }

    /// Waits until these bytes of a file are here: the file that they are in, or `None` where it is whole by now.
    pub(crate) fn need(&self, name: &str, offset: u64, len: usize) -> Result<Option<Arc<Partial>>, StorageError> {
        self.await_chunks(name, offset, len, false)
    }

    /// Waits until a file is here whole, under its name.
    pub(crate) fn need_whole(&self, name: &str, len: u64) -> Result<(), StorageError> {
        self.await_chunks(name, 0, len as usize, true).map(drop)
    }

    fn await_chunks(
        &self,
        name: &str,
        offset: u64,
        len: usize,
        whole: bool,
    ) -> Result<Option<Arc<Partial>>, StorageError> {
        let mut state = self.state.lock();
        let cancelled = state.cancelled;
        let Some(failures) = state.files.get(name).map(|file| file.failed(offset, len)) else { return Ok(None) };
        loop {
            let Some(file) = state.files.get(name) else { return Ok(None) };
            let failed = |fault, problem: &str| StorageError::new(fault, self.root.join(name), offset, problem);
            if !whole && chunks_of(offset, len).all(|chunk| file.chunks.get(chunk) == Some(&Chunk::Present)) {
                return self.partial(&mut state, name).map(Some);
            }
            if state.cancelled != cancelled || state.closed {
                return Err(failed(Fault::Absent, "the wait for it was called off"));
            }
            if file.failed(offset, len) != failures {
                return Err(failed(file.fault, &file.problem));
            }
            state.demand(name, offset, len);
            self.wanted.notify_all();
            self.landed.wait(&mut state);
        }
    }

    /// The request of an id, if the answer is wanted; `putting` is 1 where it is about to be written down.
    fn answered(&self, id: u64, putting: usize) -> Option<FetchRequest> {
        let mut state = self.state.lock();
        let request = state.asked.remove(&id)?;
        let is_wanted = !state.closed && state.files.contains_key(&request.file);
        state.putting += if is_wanted { putting } else { 0 };
        is_wanted.then_some(request)
    }

    fn partial(&self, state: &mut State, name: &str) -> Result<Arc<Partial>, StorageError> {
        let missing = || StorageError::new(Fault::Missing, self.root.join(name), 0, "nothing refers to it");
        let file = state.files.get_mut(name).ok_or_else(missing)?;
        if let Some(partial) = &file.partial {
            return Ok(Arc::clone(partial));
        }
        let partial = Arc::new(Partial::create(&self.root, name, file.len)?);
        file.partial = Some(Arc::clone(&partial));
        Ok(partial)
    }

    /// Has what a request asked for asked for again: later, if nobody waits for it. All of it, also what came and could not
    /// be kept.
    fn give_up(&self, request: &FetchRequest, fault: Fault, problem: &str) {
        let mut state = self.state.lock();
        if let Some(file) = state.files.get_mut(&request.file) {
            for chunk in chunks_of(request.offset, request.len) {
                file.present -= usize::from(file.chunks[chunk] == Chunk::Present);
                file.chunks[chunk] = Chunk::Absent;
                file.failures[chunk] += 1;
            }
            problem.clone_into(&mut file.problem);
            file.fault = fault;
            state.rest.retain(|name| *name != request.file);
            state.rest.push_back(request.file.clone());
        }
        drop(state);
        self.landed.notify_all();
    }
}

fn chunks_of(offset: u64, len: usize) -> std::ops::Range<usize> {
    let end = offset.saturating_add(len as u64);
    (offset / CHUNK_BYTES) as usize..end.div_ceil(CHUNK_BYTES) as usize
}

impl State {
    /// Nothing counts of a file that was whole and could not be kept: where a sync failed, a second one may say that all is well and have lost
    /// some of it; nor can be told which name it has.
    fn begin_anew(&mut self, name: &str, partial: &Partial) {
        let Some(file) = self.files.get_mut(name) else { return };
        (file.partial, file.present) = (None, 0);
        file.chunks.fill(Chunk::Absent);
        partial.discard(name);
    }

    /// Puts what is missing of these bytes in line, before what nobody waits for.
    fn demand(&mut self, name: &str, offset: u64, len: usize) {
        let Some(file) = self.files.get_mut(name) else { return };
        let mut wanted = chunks_of(offset, len);
        while let Some(first) = wanted.by_ref().find(|&chunk| file.chunks.get(chunk) == Some(&Chunk::Absent)) {
            let request = file.ask(name, first, wanted.end, self.next_id, true);
            wanted.start = (request.offset / CHUNK_BYTES) as usize + request.len.div_ceil(CHUNK_BYTES as usize);
            self.next_id += 1;
            self.demanded.push_back(request);
        }
    }

    fn take(&mut self, requests_max: usize) -> Vec<FetchRequest> {
        let mut requests = self.take_demanded(requests_max);
        while requests.len() < requests_max {
            let Some(request) = self.background() else { break };
            self.asked.insert(request.id, request.clone());
            requests.push(request);
        }
        requests
    }

    fn take_demanded(&mut self, requests_max: usize) -> Vec<FetchRequest> {
        let mut requests = Vec::new();
        while requests.len() < requests_max {
            let Some(request) = self.demanded.pop_front() else { break };
            if self.files.contains_key(&request.file) {
                self.asked.insert(request.id, request.clone());
                requests.push(request);
            }
        }
        requests
    }

    /// The next request that nobody waits for. What the host failed to bring a few times is left until it is needed.
    fn background(&mut self) -> Option<FetchRequest> {
        while let Some((name, chunks)) = self.preferred.front().cloned() {
            if let Some(request) = self.next_of(&name, chunks) {
                return Some(request);
            }
            self.preferred.pop_front();
        }
        while let Some(name) = self.rest.front().cloned() {
            if let Some(request) = self.next_of(&name, 0..usize::MAX) {
                return Some(request);
            }
            self.rest.pop_front();
        }
        None
    }

    /// The next request for these chunks of a file.
    fn next_of(&mut self, name: &str, chunks: std::ops::Range<usize>) -> Option<FetchRequest> {
        let file = self.files.get_mut(name)?;
        let end = chunks.end.min(file.chunks.len());
        let first = (chunks.start..end).find(|&chunk| file.is_due(chunk))?;
        let until = (first..end).find(|&chunk| !file.is_due(chunk)).unwrap_or(end);
        let request = file.ask(name, first, until, self.next_id, false);
        self.next_id += 1;
        Some(request)
    }
}

impl File {
    /// How often the host failed to bring these bytes.
    fn failed(&self, offset: u64, len: usize) -> u64 {
        let failures = chunks_of(offset, len).filter_map(|chunk| self.failures.get(chunk));
        failures.map(|&failures| u64::from(failures)).sum()
    }

    fn is_due(&self, chunk: usize) -> bool {
        self.chunks[chunk] == Chunk::Absent && self.failures[chunk] < self.tries
    }

    /// A request for the absent chunks from `first` on, up to one that isn't, or to `end`.
    fn ask(&mut self, name: &str, first: usize, end: usize, id: u64, on_demand: bool) -> FetchRequest {
        let end = end.min(first + CHUNKS_MAX);
        let count = self.chunks[first..end].iter().take_while(|chunk| **chunk == Chunk::Absent).count();
        self.chunks[first..first + count].fill(Chunk::Asked);
        let offset = first as u64 * CHUNK_BYTES;
        let len = (self.len - offset).min(count as u64 * CHUNK_BYTES) as usize;
        FetchRequest { id, file: name.to_owned(), offset, len, on_demand }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 5 * CHUNK_BYTES + 17;

    fn content(offset: u64, len: usize) -> Vec<u8> {
        (offset..offset + len as u64).map(|at| (at / 7) as u8).collect()
    }

    /// The directory may be another store's by then.
    #[test]
    fn what_comes_after_the_end_is_not_written_down() {
        let directory = tempfile::tempdir().unwrap();
        let fetches = Fetches::new(directory.path(), true);
        fetches.register("a.segment", LEN);
        let request = &fetches.poll(1)[0];
        fetches.close();
        fetches.complete(request.id, &content(0, request.len)).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_somebody_waits_for_comes_first_and_each_part_once() {
        let directory = tempfile::tempdir().unwrap();
        let fetches = Fetches::new(directory.path(), true);
        fetches.register("a.segment", LEN);
        fetches.register("b.segment", CHUNK_BYTES);
        let first = &fetches.poll(1)[0];
        assert_eq!((first.offset, first.len as u64, first.on_demand), (0, LEN, false), "the rest, in one piece");
        fetches.fail(first.id, "not now");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| fetches.need("a.segment", 3 * CHUNK_BYTES - 1, 2));
            let mut asked = Vec::new();
            while asked.is_empty() {
                asked = fetches.poll(1);
                if let Some(request) = asked.first().filter(|request| !request.on_demand) {
                    assert_eq!(request.file, "b.segment", "what failed comes last");
                    fetches.complete(request.id, &content(0, request.len)).unwrap();
                    asked.clear();
                    // Before what failed is asked for again, the other thread has to say what it needs.
                    while fetches.state.lock().demanded.is_empty() {
                        std::thread::yield_now();
                    }
                }
            }
            let request = &asked[0];
            assert_eq!((request.offset, request.len as u64), (2 * CHUNK_BYTES, 2 * CHUNK_BYTES));
            assert!(fetches.complete(request.id, b"too short").is_err());
            let refused = waiting.join().unwrap().unwrap_err();
            assert_eq!(refused.fault, Fault::Absent);
        });
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| fetches.need("a.segment", 0, LEN as usize));
            while !waiting.is_finished() {
                for request in fetches.wait(2, Duration::from_millis(1)) {
                    fetches.complete(request.id, &content(request.offset, request.len)).unwrap();
                    fetches.complete(request.id, b"once more").unwrap();
                }
            }
            waiting.join().unwrap().unwrap();
        });
        assert!(fetches.poll(9).is_empty());
        let whole = std::fs::read(directory.path().join("a.segment")).unwrap();
        assert!(whole == content(0, LEN as usize));
        assert_eq!(fetches.absent("a.segment"), None);
    }

    #[test]
    fn what_is_preferred_comes_before_the_rest_and_what_is_demanded_before_both() {
        let directory = tempfile::tempdir().unwrap();
        let fetches = Fetches::new(directory.path(), false);
        fetches.register("a.segment", LEN);
        fetches.register("b.segment", LEN);
        fetches.prefer("none.segment", 0, 9);
        fetches.prefer("b.segment", LEN - 1, 1);
        fetches.prefer("b.segment", CHUNK_BYTES + 1, 2 * CHUNK_BYTES);
        assert_eq!(fetches.bytes_absent(), 2 * LEN);
        assert!(fetches.wait_demanded(1, Duration::ZERO).is_empty(), "nobody waits");
        let asked = fetches.poll(3);
        let places: Vec<_> = asked.iter().map(|asked| (&*asked.file, asked.offset, asked.len as u64)).collect();
        let wanted =
            [("b.segment", 5 * CHUNK_BYTES, 17), ("b.segment", CHUNK_BYTES, 3 * CHUNK_BYTES), ("a.segment", 0, LEN)];
        assert_eq!(places, wanted);
        fetches.complete(asked[0].id, &content(5 * CHUNK_BYTES, 17)).unwrap();
        fetches.complete(asked[1].id, &content(CHUNK_BYTES, asked[1].len)).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| fetches.need("b.segment", 0, 1));
            let mut demanded = Vec::new();
            while demanded.is_empty() {
                demanded = fetches.wait_demanded(9, Duration::from_millis(1));
            }
            fetches.refuse(demanded[0].id, Fault::Corrupt, "altered");
            assert_eq!(waiting.join().unwrap().unwrap_err().fault, Fault::Corrupt);
        });
        // What failed too often is asked for again where it is preferred again.
        for _ in 1..TRIES_MAX {
            let again = fetches.poll(1);
            assert_eq!((&*again[0].file, again[0].offset), ("b.segment", 0));
            fetches.fail(again[0].id, "no network");
        }
        fetches.fail(asked[2].id, "no network");
        let again: Vec<_> = fetches.poll(9).into_iter().map(|asked| (asked.file, asked.offset)).collect();
        assert_eq!(again, [("b.segment".to_owned(), 4 * CHUNK_BYTES), ("a.segment".to_owned(), 0)]);
        fetches.prefer("b.segment", 0, LEN);
        let again: Vec<_> = fetches.poll(9).into_iter().map(|asked| (asked.file, asked.offset)).collect();
        assert_eq!(again, [("b.segment".to_owned(), 0)]);
        assert!(!fetches.is_closed());
        // Whatever is said again and again, or of what isn't wanted, is kept once or not at all.
        for _ in 0..100 {
            fetches.prefer("a.segment", 0, 1);
            fetches.prefer("a.segment", u64::MAX, u64::MAX);
            fetches.prefer("b.segment", 5 * CHUNK_BYTES, 1);
        }
        assert_eq!(fetches.state.lock().preferred.len(), 1);
    }

    /// What could not be kept stayed asked for: nobody asked again, and who waited for it waited for ever.
    #[test]
    fn what_can_not_be_kept_is_asked_for_again() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("store");
        let fetches = Fetches::new(&root, false);
        fetches.register("a.segment", LEN);
        // First there is no directory to begin the file in; then its name is taken when it is whole.
        for taken in [false, true] {
            if taken {
                std::fs::create_dir_all(root.join("a.segment").join("in the way")).unwrap();
            }
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| fetches.need_whole("a.segment", LEN));
                while !waiting.is_finished() {
                    for request in fetches.wait(1, Duration::from_millis(1)) {
                        let bytes = content(request.offset, request.len);
                        assert!(fetches.complete(request.id, &bytes).is_err());
                    }
                }
                assert_eq!(waiting.join().unwrap().unwrap_err().fault, Fault::Absent);
            });
            assert_eq!(fetches.files_absent(), 1);
        }
        std::fs::remove_dir_all(root.join("a.segment")).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| fetches.need_whole("a.segment", LEN));
            while !waiting.is_finished() {
                for request in fetches.wait(1, Duration::from_millis(1)) {
                    fetches.complete(request.id, &content(request.offset, request.len)).unwrap();
                }
            }
            waiting.join().unwrap().unwrap();
        });
        assert!(std::fs::read(root.join("a.segment")).unwrap() == content(0, LEN as usize));
    }

    /// A sync that had failed was asked again, of the same file; and a file that had got its name and not kept it was looked for under the
    /// other one for ever.
    #[cfg(feature = "recorder")]
    #[test]
    fn a_file_that_could_not_be_finished_is_begun_anew() {
        use super::super::faults::{Call, Injection, Injector, Kind, Outcome, Site};
        use super::super::names;
        use super::super::recorder::{Entry, Op, Recorder};
        const LONG: u64 = 2 * CHUNKS_MAX as u64 * CHUNK_BYTES - 9;
        for (call, kind) in [(Call::Sync, Kind::Segment), (Call::Rename, Kind::Segment), (Call::Sync, Kind::Directory)]
        {
            let directory = tempfile::tempdir().unwrap();
            let (root, name) = (directory.path().canonicalize().unwrap(), names::segment_name(7));
            let recorder = Recorder::start(&root, &[]);
            let (site, outcome) = (Site { call, kind }, Outcome::Error(libc::EIO));
            let injector = Injector::start(&root, Some(Injection { site, nth: 0, outcome, lasts: false }));
            let fetches = Fetches::new(&root, true);
            fetches.register(&name, LONG);
            let (mut failed, mut asked) = (0, 0);
            for _ in 0..20 {
                for request in fetches.poll(9) {
                    asked += request.len as u64;
                    let brought = fetches.complete(request.id, &content(request.offset, request.len));
                    failed += usize::from(brought.is_err());
                }
            }
            assert_eq!((failed, injector.struck(), asked), (1, 1, 2 * LONG), "{site:?}: all of it is brought again");
            assert_eq!(fetches.absent(&name), None);
            assert!(std::fs::read(root.join(&name)).unwrap() == content(0, LONG as usize));
            assert_eq!(std::fs::read_dir(&root).unwrap().count(), 1, "{site:?}");
            let ops = recorder.finish();
            let named = ops.iter().rev().find_map(|op| match op {
                Op::Named { names, .. } => names.iter().find(|(to, entry)| *to == name && entry.is_some()),
                _ => None,
            });
            let Some((_, Some(Entry::File(file)))) = named else { panic!("{site:?}: {named:?}") };
            assert!(ops.contains(&Op::Synced { file: *file }) && !ops.contains(&Op::SyncFailed { file: *file }));
        }
    }

    #[test]
    fn a_file_that_nothing_refers_to_is_not_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let fetches = Fetches::new(directory.path(), false);
        fetches.register("a.segment", LEN);
        let asked = fetches.poll(1);
        fetches.register("b.segment", 1);
        fetches.forget("a.segment").unwrap();
        fetches.forget("b.segment").unwrap();
        fetches.complete(asked[0].id, &content(0, asked[0].len)).unwrap();
        assert!(fetches.poll(9).is_empty());
        assert!(fetches.need("a.segment", 0, 1).unwrap().is_none());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "its beginnings are left");
    }

    #[test]
    fn a_closed_store_asks_for_nothing_and_nobody_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let fetches = Fetches::new(directory.path(), false);
        fetches.register("a.segment", LEN);
        let asked = fetches.poll(1);
        fetches.close();
        fetches.complete(asked[0].id, &content(0, asked[0].len)).unwrap();
        assert_eq!(fetches.need("a.segment", 0, 1).unwrap_err().fault, Fault::Absent);
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            0,
            "a closed store's directory was written to"
        );
    }
}
