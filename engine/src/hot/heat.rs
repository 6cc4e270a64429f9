//! What is hot: a walk over the records of a table that says of each how it was used lately.

use crate::hot::Hot;
use crate::hot::epoch::hash_of;
use crate::hot::record::{CHAIN, ENTRY, Record, USED, VALUE};
use crate::platform::arena::Ref;

/// A record in memory that holds something, and how it was used.
#[derive(Clone, Copy, Debug)]
pub struct Heated<'a> {
    /// Its hash in its table.
    pub hash: u64,
    /// The key, and the namespace.
    pub key: (&'a [u8], &'a [u8]),
    /// The user key of a map's entry.
    pub user_key: Option<&'a [u8]>,
    /// The value, where it is on disk as it is here, in one piece.
    pub value: Option<&'a [u8]>,
    /// When it expires, in ms.
    pub expiry_ms: Option<u64>,
    /// The epoch of its last change.
    pub stamp: u32,
    /// Used since the clock's hand passed.
    pub used: bool,
    /// What it takes in memory, in bytes.
    pub bytes: usize,
}

impl Hot {
    /// Calls `visit` with the records of the page that a hash leads to in the table of a (state, key group index), and says which hash the
    /// next page begins with; `None` where that was the last. A walk begins with 0, and passes over nothing that stays, however
    /// the table grows meanwhile.
    pub fn visit_heated(&self, state: u16, group: u16, hash: u64, mut visit: impl FnMut(&Heated<'_>)) -> Option<u64> {
        let arena = self.arena();
        self.table_head(state, group).visit_page_of(arena, hash, |at| {
            let record = Record::load(arena, at);
            let container = match record.kind() {
                ENTRY if !self.is_cut_off(record) => Record::load(arena, record.link(arena) as Ref),
                VALUE | CHAIN => record,
                _ => return,
            };
            let stamp = record.stamp(arena);
            let is_on_disk = stamp <= self.flushed && record.kind() != CHAIN;
            visit(&Heated {
                hash: hash_of(arena, at, self.seed),
                key: container.key_parts(arena),
                user_key: (record.kind() == ENTRY).then(|| record.area(arena)),
                value: is_on_disk.then(|| self.value_of(record)),
                expiry_ms: record.expiry_ms(arena),
                stamp,
                used: record.has(USED),
                bytes: self.memory.record_capacity(at, record.class()),
            });
        })
    }
}
