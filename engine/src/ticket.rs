//! Tickets: reads that were submitted, and the answers that come for them.

use crate::error::Result;
use crate::inflight::{Answered, Shared};
use crate::states::{StateDef, StateKind, frames};
use std::sync::Arc;

/// A batch that was submitted ([`Writer::submit`](crate::Writer::submit)), and whose answers are taken as they come.
/// Dropping it changes nothing but that they are lost.
///
/// ```
/// # use alluvium::{Engine, EngineOptions, StateOptions, Store, StoreOptions};
/// use alluvium::{Batch, Operation};
/// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
/// # let engine = Engine::open(EngineOptions::default())?;
/// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
/// let counts = store.state(StateOptions::value("counts"))?;
/// let mut writer = store.writer(store.range())?;
/// let mut batch = Batch::new();
/// batch.push(counts, store.key(b"JFK"), Operation::Put(b"1"));
/// batch.push(counts, store.key(b"JFK"), Operation::Get);
/// let mut ticket = writer.submit(&batch)?;
/// writer.put(counts, store.key(b"JFK"), b"2")?; // later, so the ticket's answer is another
/// while !ticket.is_done() {
///     for answer in writer.poll(&mut ticket)? {
///         assert_eq!((answer.index(), answer.value()?), (1, Some(&b"1"[..])));
///     }
/// }
/// # Ok::<(), alluvium::Error>(())
/// ```
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<Shared>,
    done: bool,
}

/// What a read of a batch found.
#[derive(Debug)]
pub struct Answer {
    index: usize,
    value: Result<Option<Vec<u8>>>,
    def: Arc<StateDef>,
}

impl Answer {
    pub(crate) fn new(answered: Answered) -> Self {
        Self { index: answered.index, value: answered.value, def: answered.def }
    }

    /// The read's place in its batch.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Of which kind the state is that was read.
    pub fn kind(&self) -> StateKind {
        self.def.kind
    }

    /// The value; of a list its elements in their frames ([`Answer::elements`] takes them out). What is wrong with a
    /// file that it lies in is this read's error alone.
    pub fn value(&self) -> Result<Option<&[u8]>> {
        match &self.value {
            Ok(value) => Ok(value.as_deref()),
            Err(error) => Err(error.clone()),
        }
    }

    /// The value, without a copy.
    pub fn into_value(self) -> Result<Option<Vec<u8>>> {
        self.value
    }

    /// The elements of a list, in the order of their appending; of other kinds none.
    pub fn elements(&self) -> impl Iterator<Item = &[u8]> {
        let bytes = match &self.value {
            Ok(Some(value)) if self.def.kind == StateKind::List => value.as_slice(),
            _ => &[],
        };
        frames(bytes, self.def.ttl.is_some()).map(|(_, element)| element)
    }
}

impl Ticket {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, done: false }
    }

    /// Whether all answers were taken.
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Whether all answers are there to be taken.
    pub fn is_complete(&self) -> bool {
        self.shared.is_complete()
    }

    /// The answers that came since it was last asked, in no particular order. What was read from disk is not kept in
    /// memory; [`Writer::poll`](crate::Writer::poll) does so.
    pub fn poll(&mut self) -> Vec<Answer> {
        self.take().into_iter().map(Answer::new).collect()
    }

    /// Waits until every answer is there to be taken. On the thread of a writer, too: it isn't needed for that.
    pub fn wait(&self) {
        self.shared.wait();
    }

    /// Has `callback` called once, when every answer is there to be taken: now, if they are, else by a thread of the engine,
    /// which reads nothing more until it returns: it must be short, and neither ask for a barrier nor close a store, which
    /// would wait for that thread. The last callback given counts.
    pub fn on_complete(&self, callback: impl FnOnce() + Send + 'static) {
        self.shared.on_complete(Box::new(callback));
    }

    pub(crate) fn take(&mut self) -> Vec<Answered> {
        let (answers, done) = self.shared.take();
        self.done = done;
        answers
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}
