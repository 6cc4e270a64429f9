//! What a shard's owner appended to the changelog and nobody has taken yet.

use super::access::{Access, Accesses};
use super::record::{self, Change, Event};
use super::trace::Gathered;
use crate::ids::{EventId, KeyGroup, StateId};
use crate::key::Key;

/// A buffer that holds so much is to be moved to the stream, in bytes.
pub const FULL_BYTES: usize = 256 << 10;
/// A buffer that holds so much holds its writer up until it can be moved, in bytes.
pub const HELD_BYTES_MAX: usize = 4 << 20;

/// A shard's buffer; it lies inside the shard's gate.
#[derive(Debug, Default)]
pub struct LogBuffer {
    bytes: Vec<u8>,
    /// How often it was taken.
    taken: u64,
    /// The handlers that were named since: number and version.
    named: Vec<(u32, u32)>,
    /// For events that are weighed.
    scratch: Vec<u8>,
    /// Of the traced events.
    gathered: Gathered,
}

/// What was taken out of a buffer.
#[derive(Debug, Default)]
pub struct Contents {
    /// Whole records.
    pub bytes: Vec<u8>,
    /// Whether there are events among them.
    pub has_events: bool,
    /// Of the traced events among them.
    pub gathered: Gathered,
}

/// A place in a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    len: usize,
    taken: u64,
}

impl LogBuffer {
    /// Appends a change.
    pub fn change(&mut self, state: StateId, key: Key<'_>, change: Change<'_>, expiry_ms: Option<u64>) {
        record::push_change(&mut self.bytes, state, key, change, expiry_ms);
    }

    /// Appends that a word was put.
    #[inline(never)]
    pub fn word(&mut self, state: StateId, group: KeyGroup, key: &[u8], word: [u8; 8]) {
        record::push_word(&mut self.bytes, state, group, key, word);
    }

    /// How much was appended, in bytes.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Where it stands now.
    pub const fn mark(&self) -> Mark {
        Mark { len: self.bytes.len(), taken: self.taken }
    }

    /// Appends an event in place of what it changed, which was appended since `mark`; with `shorter` only if that makes it shorter. Nothing
    /// is done where some of that was taken meanwhile.
    pub fn event(&mut self, mark: Mark, (name, version): (&str, u32), event: Event<'_>, shorter: bool) {
        if mark.taken != self.taken {
            return;
        }
        self.scratch.clear();
        if !self.is_named(event.handler, version) {
            record::push_handler(&mut self.scratch, event.handler, version, name);
        }
        let naming = self.scratch.len();
        record::push_event(&mut self.scratch, event);
        // Its name is shared by all that follow.
        if shorter && self.scratch.len() - naming >= self.bytes.len() - mark.len {
            return;
        }
        self.bytes.truncate(mark.len);
        self.bytes.extend_from_slice(&self.scratch);
        if naming > 0 {
            self.note_named(mark.len, event.handler, (name, version));
        }
    }

    /// Appends a traced event in place of what it changed, which was appended since `mark`. Where some of that was taken meanwhile it stays,
    /// and the event follows it: whoever does it again comes to the same. What it read and wrote is given as its record has it, and one by one.
    pub fn traced(
        &mut self,
        mark: Mark,
        (name, version): (&str, u32),
        (id, event): (EventId, Event<'_>),
        (accesses, each): (Accesses<'_>, &[Access]),
    ) {
        if mark.taken == self.taken {
            self.bytes.truncate(mark.len);
        }
        let begin = self.bytes.len();
        if !self.is_named(event.handler, version) {
            record::push_handler(&mut self.bytes, event.handler, version, name);
            self.note_named(begin, event.handler, (name, version));
        }
        record::push_traced(&mut self.bytes, id, event, accesses);
        self.gathered.add(begin as u64, id, each.iter().copied());
    }

    #[cold]
    fn note_named(&mut self, at: usize, number: u32, (name, version): (&str, u32)) {
        self.named.push((number, version));
        self.gathered.name(at as u64, number, (name, version));
    }

    /// Whether a number was last said to be that of this version.
    fn is_named(&self, handler: u32, version: u32) -> bool {
        self.named.iter().rfind(|(number, _)| *number == handler).is_some_and(|(_, last)| *last == version)
    }

    /// Takes what was appended; leaves an empty buffer in its place.
    pub fn take(&mut self, empty: Vec<u8>) -> Contents {
        let has_events = !self.named.is_empty();
        self.taken += 1;
        self.named.clear();
        let (bytes, next) = (std::mem::replace(&mut self.bytes, empty), self.gathered.next());
        let gathered = std::mem::replace(&mut self.gathered, next);
        Contents { bytes, has_events, gathered }
    }

    /// Whether nothing was appended.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
