//! The records of one table that changed in one epoch: a list of references in small blocks.
//!
//! ```text
//! word 0   next block u32 | class u8 << 32 | filled u16 << 40        then two references a word
//! ```
//!
//! While its epoch is current the owner appends to it. Once sealed it belongs to the flusher, until the owner takes it
//! apart after the flush. A record that dies before its epoch is sealed stays in the list, marked dead, until there
//! are as many dead ones as living. The dead are linked to each other: a list that is taken apart doesn't look at its
//! records, as those that lived may have been freed and reused since the flush.

use crate::hot::record::{DEAD, Record};
use crate::hot::{Memory, OutOfMemory};
use crate::platform::arena::{Arena, NONE, Ref};
use crate::platform::sync::atomic::Ordering;

const FIRST_BYTES: usize = 64;
const BLOCK_BYTES_MAX: usize = 4096;
/// How many records ahead of a sweep are fetched into the cache.
const AHEAD: usize = 16;

/// A list of references; see the module's head.
#[derive(Clone, Copy, Debug, Default)]
pub struct DirtyList {
    head: Ref,
    tail: Ref,
    count: u32,
    dead: u32,
    /// The record that died last.
    grave: Ref,
    /// The record that died first: the end of the links between the dead.
    oldest: Ref,
}

#[derive(Clone, Copy)]
struct BlockHead {
    next: Ref,
    class: u8,
    filled: u16,
}

impl BlockHead {
    fn load(arena: &Arena, at: Ref) -> Self {
        let word = arena.word(at).load(Ordering::Relaxed);
        Self { next: word as u32, class: (word >> 32) as u8, filled: (word >> 40) as u16 }
    }

    fn store(self, arena: &Arena, at: Ref) {
        let word = u64::from(self.next) | u64::from(self.class) << 32 | u64::from(self.filled) << 40;
        arena.word(at).store(word, Ordering::Relaxed);
    }
}

impl DirtyList {
    /// How many references it holds, dead ones too.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether it holds none, and no dead record either.
    pub const fn is_bare(&self) -> bool {
        self.count == 0 && self.grave == NONE
    }

    /// Appends a reference.
    #[inline]
    pub fn push(&mut self, memory: &mut Memory, record: Ref) -> Result<(), OutOfMemory> {
        if self.tail != NONE {
            let head = BlockHead::load(memory.arena(), self.tail);
            let capacity = (memory.list_capacity(self.tail, head.class) / 8 - 1) * 2;
            if usize::from(head.filled) < capacity {
                self.put(memory.arena(), head, record);
                return Ok(());
            }
        }
        self.push_block(memory, record)
    }

    fn put(&mut self, arena: &Arena, head: BlockHead, record: Ref) {
        let word = arena.word(self.tail + 1 + Ref::from(head.filled / 2));
        let shift = u32::from(head.filled % 2) * 32;
        word.store(
            word.load(Ordering::Relaxed) & !(0xFFFF_FFFF << shift) | u64::from(record) << shift,
            Ordering::Relaxed,
        );
        BlockHead { filled: head.filled + 1, ..head }.store(arena, self.tail);
        self.count += 1;
    }

    #[cold]
    fn push_block(&mut self, memory: &mut Memory, record: Ref) -> Result<(), OutOfMemory> {
        // Each block is about as large as all before it, so a barely used table keeps one cache line.
        let bytes = (self.count as usize * 4).next_power_of_two().clamp(FIRST_BYTES, BLOCK_BYTES_MAX);
        let (at, class) = memory.allocate_list(bytes).ok_or(OutOfMemory { bytes })?;
        let arena = memory.arena();
        if self.tail == NONE {
            self.head = at;
        } else {
            let last = BlockHead::load(arena, self.tail);
            BlockHead { next: at, ..last }.store(arena, self.tail);
        }
        self.tail = at;
        let head = BlockHead { next: NONE, class, filled: 0 };
        self.put(arena, head, record);
        Ok(())
    }

    /// Marks a record of the list as dead; true where it pays to [`DirtyList::sweep`].
    pub fn bury(&mut self, arena: &Arena, record: &mut Record) -> bool {
        self.bury_for_good(arena, record);
        self.dead += 1;
        self.dead > 32 && self.dead * 2 > self.count
    }

    /// Puts all of another list behind this one's, dead ones too: O(1), whatever they hold.
    #[cfg(not(loom))]
    pub fn join(&mut self, arena: &Arena, other: Self) {
        if other.head != NONE {
            if self.head == NONE {
                self.head = other.head;
            } else {
                let last = BlockHead::load(arena, self.tail);
                BlockHead { next: other.head, ..last }.store(arena, self.tail);
            }
            self.tail = other.tail;
        }
        // Records die in a list that has none as well.
        if other.grave != NONE {
            if self.grave == NONE {
                self.oldest = other.oldest;
            } else {
                // The links run through the other's dead first, and end where this list's did.
                Record::load(arena, other.oldest).set_next_dead(arena, self.grave);
            }
            self.grave = other.grave;
        }
        self.count += other.count;
        self.dead += other.dead;
    }

    /// Frees the list and those that died in it; the living are the caller's. Only for a list whose epoch is current.
    #[cfg(not(loom))]
    pub fn take_apart(&mut self, memory: &mut Memory) {
        self.free_dead(memory, usize::MAX);
        free_blocks(memory, self.head);
        *self = Self::default();
    }

    /// The same, but the record doesn't count for whether it pays to sweep.
    pub fn bury_for_good(&mut self, arena: &Arena, record: &mut Record) {
        record.bury(arena, self.grave);
        if self.grave == NONE {
            self.oldest = record.at;
        }
        self.grave = record.at;
    }

    /// Calls `visit` with every reference, dead ones too.
    pub fn for_each(&self, arena: &Arena, mut visit: impl FnMut(Ref)) {
        let mut at = self.head;
        while at != NONE {
            let head = BlockHead::load(arena, at);
            for index in 0..head.filled {
                let word = arena.word(at + 1 + Ref::from(index / 2)).load(Ordering::Relaxed);
                visit((word >> (u32::from(index % 2) * 32)) as Ref);
            }
            at = head.next;
        }
    }

    /// Frees up to `limit` dead records; true while there are more.
    pub fn free_dead(&mut self, memory: &mut Memory, limit: usize) -> bool {
        for _ in 0..limit {
            if self.grave == NONE {
                return false;
            }
            let record = Record::load(memory.arena(), self.grave);
            self.grave = record.next_dead(memory.arena());
            memory.retire_record(record.at, record.class());
        }
        self.grave != NONE
    }

    /// Drops and frees the dead, keeping the others in order. Blocks left over are freed. Only for a list whose epoch
    /// is current.
    pub fn sweep(&mut self, memory: &mut Memory) {
        let mut listed = Vec::with_capacity(self.count as usize);
        self.for_each(memory.arena(), |at| listed.push(at));
        let mut kept = Vec::with_capacity((self.count - self.dead.min(self.count)) as usize);
        for (index, &at) in listed.iter().enumerate() {
            // One after the other they would cost a wait each.
            if let Some(&ahead) = listed.get(index + AHEAD) {
                memory.arena().prefetch(ahead);
            }
            if Record::load(memory.arena(), at).kind() != DEAD {
                kept.push(at);
            }
        }
        self.free_dead(memory, usize::MAX);
        // Refill the blocks from the front; what was allocated suffices, so this can't fail.
        let (mut at, mut rest) = (self.head, kept.as_slice());
        (self.count, self.dead) = (0, 0);
        while at != NONE {
            let head = BlockHead::load(memory.arena(), at);
            let fill = rest.len().min((memory.list_capacity(at, head.class) / 8 - 1) * 2);
            let (now, later) = rest.split_at(fill);
            if fill == 0 {
                break;
            }
            self.tail = at;
            BlockHead { filled: 0, ..head }.store(memory.arena(), at);
            for &record in now {
                let head = BlockHead::load(memory.arena(), at);
                self.put(memory.arena(), head, record);
            }
            rest = later;
            at = head.next;
        }
        if self.count == 0 {
            (self.head, self.tail) = (NONE, NONE);
        } else {
            let last = BlockHead::load(memory.arena(), self.tail);
            BlockHead { next: NONE, ..last }.store(memory.arena(), self.tail);
        }
        free_blocks(memory, at);
    }

    /// Frees the first block; false where there was none left, or this was the last. The dead must be freed before.
    pub fn pop_block(&mut self, memory: &mut Memory) -> bool {
        debug_assert!(self.grave == NONE, "dead records left over");
        if self.head == NONE {
            return false;
        }
        let at = self.head;
        let head = BlockHead::load(memory.arena(), at);
        memory.free_list(at, head.class);
        self.head = head.next;
        if head.next == NONE {
            *self = Self::default();
        }
        head.next != NONE
    }
}

fn free_blocks(memory: &mut Memory, mut at: Ref) {
    while at != NONE {
        let head = BlockHead::load(memory.arena(), at);
        memory.free_list(at, head.class);
        at = head.next;
    }
}
