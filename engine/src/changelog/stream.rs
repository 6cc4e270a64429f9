//! The end of a store's changelog that is being written: what was appended, what is durable, and who waits for that.
//!
//! Appending is moving a buffer; nobody waits for the disk in it. Whoever appends holds the store's `sealing` lock, so the stream has
//! each key group's changes in their order, and a commit stands behind all that it commits.

use super::buffer::Contents;
use super::files::Files;
use super::format::BLOCK_BYTES;
use super::record::{self, Rollback};
use super::trace::{Gathered, TraceIndex};
use crate::error::{Error, Result};
use crate::ids::KeyGroupRange;
use crate::options::ChangelogOptions;
use crate::platform::threads::{self, Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So much may wait to be written before writers wait, in bytes.
pub const PENDING_BYTES_MAX: usize = 8 << 20;
/// So many buffers are kept for the next ones, and none that is longer than this.
const FREE_MAX: usize = 8;
const FREE_BYTES_MAX: usize = 1 << 20;
/// What is longer than any clock goes is looked at so often.
const LONG: Duration = Duration::from_secs(3_600);
/// How long a writer waits before it looks again.
const PATIENCE: Duration = Duration::from_millis(100);

/// A run of whole records.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The records.
    pub bytes: Vec<u8>,
    /// The position of the first byte.
    pub position: u64,
    /// Where the last commit ends; 0 where there is none.
    pub commit_end: usize,
    /// Whether there are registrations of states, or rollbacks.
    pub has_states: bool,
    /// Whether there are aborts.
    pub has_aborts: bool,
    /// Whether there are events.
    pub has_events: bool,
    /// Of the traced events.
    pub gathered: Gathered,
}

/// What was taken to be written.
#[derive(Debug)]
pub struct Taken {
    /// The chunks, in order; none may be left.
    pub chunks: Vec<Chunk>,
    /// Up to where the stream was durable.
    pub durable: u64,
    /// Whether a commit among them, or before them, is to be durable.
    pub sync: bool,
    /// The position behind them.
    pub end: u64,
}

/// What is called when a commit is durable, or can't become so.
pub type Durable = Box<dyn FnOnce(Result<()>) + Send>;

#[derive(Default)]
struct Stream {
    chunks: VecDeque<Chunk>,
    /// Bytes of these, and of what is being written.
    pending: usize,
    appended: u64,
    /// Up to where the stream itself is durable.
    synced: u64,
    /// Up to where everything is, in the stream or in a checkpoint.
    durable: u64,
    /// Where the last commit in the stream ends.
    committed: u64,
    /// Where the last commit ends that the files have.
    recorded: u64,
    /// Up to where the files have it, synced or not.
    written: u64,
    /// Somebody wants to read the files up to here.
    asked: u64,
    /// A commit up to here is to be durable.
    wanted: u64,
    /// Up to here it is to be in the files, whatever a checkpoint has: somebody reads it back.
    read: u64,
    /// Since when.
    wanted_since: Option<Instant>,
    hurried: bool,
    /// Where the first and the last change belong that the stream doesn't have: of a load, say, that only a checkpoint has.
    unlogged: Option<(u64, u64)>,
    waiting: Vec<(u64, Durable)>,
    /// It can't be written any more.
    failure: Option<Error>,
    /// It couldn't be written the last time; it is tried again then.
    trouble: Option<(Error, Instant)>,
    free: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("appended", &self.appended)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

/// A store's changelog.
#[derive(Debug)]
pub struct Changelog {
    options: Option<ChangelogOptions>,
    stream: Mutex<Stream>,
    moved: Condvar,
    files: Mutex<Files>,
    trace: Mutex<TraceIndex>,
}

impl Changelog {
    /// A changelog whose next byte is at `position`, behind the files that are there. Without options nothing is appended to it.
    pub fn new(options: Option<ChangelogOptions>, position: u64, files: Files) -> Self {
        let stream =
            Stream { appended: position, synced: position, written: position, durable: position, ..Stream::default() };
        let trace = Mutex::new(TraceIndex::new(position));
        Self { options, stream: Mutex::new(stream), moved: Condvar::new(), files: Mutex::new(files), trace }
    }

    /// Whether changes are appended.
    #[inline]
    pub const fn is_on(&self) -> bool {
        self.options.is_some()
    }

    /// The position behind what was appended.
    pub fn position(&self) -> u64 {
        self.stream.lock().appended
    }

    /// Where its events are.
    pub fn trace(&self) -> MutexGuard<'_, TraceIndex> {
        self.trace.lock()
    }

    /// Enters in the index what was just written. Not under the stream's lock: it is sorted first.
    fn index(&self, chunks: &mut [Chunk]) {
        for chunk in chunks.iter_mut().filter(|chunk| !chunk.gathered.is_empty()) {
            let end = chunk.position + chunk.bytes.len() as u64;
            let run = std::mem::take(&mut chunk.gathered).into_run(chunk.position, end);
            self.trace.lock().push(run);
        }
    }

    /// Its files, for those who write and cut it.
    pub fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock()
    }

    /// Moves a buffer to the end of the stream; says whether it is time to write. `swap` takes the buffer out, and leaves an empty one.
    pub fn append(&self, swap: impl FnOnce(Vec<u8>) -> Contents) -> bool {
        let mut stream = self.stream.lock();
        let free = stream.free.pop().unwrap_or_default();
        let Contents { bytes, has_events, gathered } = swap(free);
        if bytes.is_empty() {
            stream.recycle(bytes);
            return false;
        }
        let position = stream.appended;
        stream.appended += bytes.len() as u64;
        stream.pending += bytes.len();
        stream.chunks.push_back(Chunk { bytes, position, has_events, gathered, ..Chunk::default() });
        self.options.as_ref().is_some_and(|options| stream.is_full(options))
    }

    /// Whether it is time to write, commit or not.
    pub fn is_full(&self) -> bool {
        self.options.as_ref().is_some_and(|options| self.stream.lock().is_full(options))
    }

    /// Whether it was ended.
    pub fn has_ended(&self) -> bool {
        self.stream.lock().failure.is_some()
    }

    /// Appends a commit of everything before it; the position behind it. While the stream lacks changes there is no record of it: then it lasts
    /// with the next commit that has one, or with a checkpoint behind it. With `durable` it is to become so.
    pub fn commit(&self, offsets: &[(KeyGroupRange, Vec<u8>)], metadata: &[u8], durable: bool, now: Instant) -> u64 {
        let mut stream = self.stream.lock();
        if stream.unlogged.is_some() {
            // So that no two commits have one position.
            stream.control(record::push_nothing);
            return stream.appended;
        }
        let chunk = stream.control(|out| record::push_commit(out, offsets, metadata));
        chunk.commit_end = chunk.bytes.len();
        stream.committed = stream.appended;
        if durable {
            stream.wanted = stream.appended;
            stream.wanted_since.get_or_insert(now);
        }
        stream.appended
    }

    /// Appends that everything since the last commit was undone.
    pub fn abort(&self) {
        let mut stream = self.stream.lock();
        stream.control(record::push_abort).has_aborts = true;
    }

    /// Appends a rollback; the position behind it.
    pub fn rollback(&self, rollback: &Rollback) -> u64 {
        let mut stream = self.stream.lock();
        // Found when a store is opened, like the registration of a state.
        stream.control(|out| record::push_rollback(out, rollback)).has_states = true;
        stream.appended
    }

    /// Appends the registration of a state.
    pub fn state(&self, described: &[u8]) {
        let mut stream = self.stream.lock();
        stream.control(|out| record::push_state(out, described)).has_states = true;
    }

    /// Says that something was changed that the stream will not have: until a checkpoint has it, no commit is appended. The caller
    /// holds the `sealing` lock: what is cut off later has it, what was cut off before has not.
    pub fn skip(&self) {
        if !self.is_on() {
            return;
        }
        let mut stream = self.stream.lock();
        let at = stream.appended;
        // So that what is cut off from now on stands behind it.
        stream.control(record::push_nothing);
        let first = stream.unlogged.map_or(at, |(first, _)| first);
        stream.unlogged = Some((first, at));
    }

    /// Says that a checkpoint is durable which has everything before `position`.
    pub fn checkpointed(&self, position: u64) {
        let mut stream = self.stream.lock();
        stream.unlogged = match stream.unlogged {
            Some((_, last)) if last < position => None,
            Some((first, last)) if first < position => Some((last, last)),
            unlogged => unlogged,
        };
        let durable = stream.durable.max(position);
        self.reached(stream, durable);
    }

    fn reached(&self, mut stream: MutexGuard<'_, Stream>, durable: u64) {
        stream.durable = durable;
        let (done, waiting) = std::mem::take(&mut stream.waiting).into_iter().partition(|(at, _)| *at <= durable);
        stream.waiting = waiting;
        drop(stream);
        self.moved.notify_all();
        let done: Vec<(u64, Durable)> = done;
        done.into_iter().for_each(|(_, call)| tell(call, Ok(())));
    }

    /// When it is to be written, if not `now`; `None` where nothing has to be.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let options = self.options.as_ref()?;
        let stream = self.stream.lock();
        if stream.failure.is_some() {
            return None;
        }
        let (wants, asked) = (stream.wants(), stream.asked > stream.written);
        if let Some((_, again)) = &stream.trouble {
            return (wants || asked || stream.is_full(options)).then_some(*again);
        }
        if stream.is_full(options) || asked || (stream.hurried && wants) {
            return Some(now);
        }
        stream.wanted_since.filter(|_| wants).map(|since| since.checked_add(options.delay).unwrap_or(now + LONG))
    }

    /// Takes what there is to be written, about `max` bytes.
    pub fn take(&self, max: usize) -> Taken {
        let mut stream = self.stream.lock();
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        while bytes < max
            && let Some(chunk) = stream.chunks.pop_front()
        {
            bytes += chunk.bytes.len();
            chunks.push(chunk);
        }
        let end = stream.chunks.front().map_or(stream.appended, |chunk| chunk.position);
        let sync = stream.wants();
        if stream.wanted.max(stream.read) <= end {
            stream.wanted_since = None;
            stream.hurried = false;
        }
        Taken { chunks, durable: stream.synced, sync, end }
    }

    /// Says what became of what was taken.
    pub fn wrote(&self, mut taken: Taken, outcome: Result<()>) {
        if outcome.is_ok() {
            self.index(&mut taken.chunks);
        }
        let mut stream = self.stream.lock();
        match outcome {
            Ok(()) => {
                stream.trouble = None;
                stream.written = stream.written.max(taken.end);
                let last = taken.chunks.iter().rev().find(|chunk| chunk.commit_end > 0);
                stream.recorded = last.map_or(stream.recorded, |last| last.position + last.commit_end as u64);
                for chunk in taken.chunks {
                    stream.pending -= chunk.bytes.len();
                    debug_assert!(chunk.gathered.is_empty(), "it is in the index");
                    stream.recycle(chunk.bytes);
                }
                if taken.sync {
                    stream.synced = stream.synced.max(taken.end);
                    // Recovery goes to a commit: what has none behind it isn't found by it, however well it is synced.
                    let durable = stream.durable.max(stream.recorded);
                    return self.reached(stream, durable);
                }
            }
            Err(error) if error.class() == crate::error::Class::Retry => {
                // In front again, and tried again.
                taken.chunks.into_iter().rev().for_each(|chunk| stream.chunks.push_front(chunk));
                stream.wanted_since.get_or_insert_with(threads::now);
                stream.trouble = Some((error, threads::now() + PATIENCE));
            }
            Err(error) => {
                drop(stream);
                return self.end(error);
            }
        }
        drop(stream);
        self.moved.notify_all();
    }

    /// Waits until all that was committed is durable, as far as the changelog can make it so.
    pub fn finish(&self, hurry: impl FnOnce()) -> Result<()> {
        let mut stream = self.stream.lock();
        stream.wanted = stream.wanted.max(stream.committed);
        if !stream.wants() {
            return Ok(());
        }
        stream.hurried = true;
        drop(stream);
        hurry();
        let mut stream = self.stream.lock();
        while stream.wants() {
            if let Some(error) = stream.obstacle() {
                return Err(error);
            }
            self.moved.wait_for(&mut stream, PATIENCE);
        }
        Ok(())
    }

    /// Waits until the files have all that was appended before a position, synced or not.
    pub fn write_out(&self, position: u64, hurry: impl FnOnce()) -> Result<()> {
        let mut stream = self.stream.lock();
        if stream.written >= position {
            return Ok(());
        }
        stream.asked = stream.asked.max(position.min(stream.appended));
        drop(stream);
        hurry();
        let mut stream = self.stream.lock();
        while stream.written < position {
            if let Some(error) = stream.obstacle() {
                return Err(error);
            }
            self.moved.wait_for(&mut stream, PATIENCE);
        }
        Ok(())
    }

    /// Ends it: nothing becomes durable any more.
    pub fn end(&self, error: Error) {
        let mut stream = self.stream.lock();
        let error = stream.failure.get_or_insert(error).clone();
        let waiting = std::mem::take(&mut stream.waiting);
        drop(stream);
        self.moved.notify_all();
        waiting.into_iter().for_each(|(_, call)| tell(call, Err(error.clone())));
    }

    /// Whether everything before a position is durable; an error where it can't become so, or couldn't so far.
    pub fn poll(&self, position: u64) -> Option<Result<()>> {
        let stream = self.stream.lock();
        stream.look(position)
    }

    /// Waits until it is, and hurries it.
    pub fn wait(&self, position: u64, hurry: impl FnOnce()) -> Result<()> {
        let mut stream = self.stream.lock();
        if stream.durable >= position {
            return Ok(());
        }
        if stream.committed < position && stream.failure.is_none() {
            // It has no record, nor has any behind it: it would wait for ever where nobody asks for either.
            return Err(Error::Busy {
                problem: "a load or a migration came before it: it lasts with the next checkpoint, or with a commit after one",
            });
        }
        // Also where it couldn't be written so far: it is tried again only for what is wanted. And up to a record, which it may not have itself.
        stream.hurried = true;
        stream.wanted = stream.wanted.max(stream.committed);
        drop(stream);
        hurry();
        let mut stream = self.stream.lock();
        loop {
            if let Some(outcome) = stream.look(position) {
                return outcome;
            }
            self.moved.wait(&mut stream);
        }
    }

    /// Has everything before a position written some time, whether a checkpoint has it or not; at the latest when the stream is finished.
    pub fn want_written(&self, position: u64) {
        let mut stream = self.stream.lock();
        stream.read = stream.read.max(position.min(stream.appended));
        if stream.wants() {
            stream.wanted_since.get_or_insert_with(threads::now);
        }
    }

    /// Has `call` called when it is, by whichever thread finds so; at once where it is already.
    pub fn when(&self, position: u64, call: Durable) {
        let mut stream = self.stream.lock();
        match stream.look(position).filter(|outcome| outcome.is_ok() || stream.failure.is_some()) {
            Some(outcome) => {
                drop(stream);
                call(outcome);
            }
            None => stream.waiting.push((position, call)),
        }
    }

    /// Whether more waits to be written than should.
    pub fn is_behind(&self) -> bool {
        let stream = self.stream.lock();
        stream.pending > PENDING_BYTES_MAX && stream.failure.is_none()
    }

    /// Waits until less waits to be written. Fails where it can't be.
    pub fn catch_up(&self) -> Result<()> {
        let mut stream = self.stream.lock();
        while stream.pending > PENDING_BYTES_MAX {
            if let Some(error) = stream.obstacle() {
                return Err(error);
            }
            self.moved.wait_for(&mut stream, PATIENCE);
        }
        Ok(())
    }
}

/// Calls what the host gave. A panic in it would end the thread that writes all changelogs.
fn tell(call: Durable, outcome: Result<()>) {
    let told = crate::error::catch(|| {
        call(outcome);
        Ok(())
    });
    if let Err(error) = told {
        tracing::error!(%error, "telling what became of a commit");
    }
}

impl Stream {
    /// Adds a record to the last chunk.
    fn control(&mut self, push: impl FnOnce(&mut Vec<u8>)) -> &mut Chunk {
        if self.chunks.back().is_none_or(|last| last.bytes.len() >= BLOCK_BYTES) {
            let (bytes, position) = (self.free.pop().unwrap_or_default(), self.appended);
            self.chunks.push_back(Chunk { bytes, position, ..Chunk::default() });
        }
        let at = self.chunks.len() - 1;
        let chunk = &mut self.chunks[at];
        let before = chunk.bytes.len();
        push(&mut chunk.bytes);
        let added = chunk.bytes.len() - before;
        self.appended += added as u64;
        self.pending += added;
        chunk
    }

    /// Why it isn't written.
    fn obstacle(&self) -> Option<Error> {
        self.failure.clone().or_else(|| self.trouble.as_ref().map(|(error, _)| error.clone()))
    }

    /// Whether it is time to write, commit or not: never later than writers wait for it.
    fn is_full(&self, options: &ChangelogOptions) -> bool {
        self.pending >= options.bytes.min(PENDING_BYTES_MAX)
    }

    /// Whether something is to become durable that syncing can make so.
    fn wants(&self) -> bool {
        self.wanted > self.synced.max(self.durable) || self.read > self.synced
    }

    fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.free.len() < FREE_MAX && bytes.capacity() <= FREE_BYTES_MAX {
            bytes.clear();
            self.free.push(bytes);
        }
    }

    fn look(&self, position: u64) -> Option<Result<()>> {
        if self.durable >= position {
            return Some(Ok(()));
        }
        self.obstacle().map(Err)
    }
}
