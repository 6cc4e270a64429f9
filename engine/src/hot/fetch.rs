//! Fetching ahead for operations that are yet to come: what a lookup would wait for, one cache miss after the other, is asked
//! for of many at once (Chen, Ailamaki, Gibbons, Mowry, *Improving Hash Join Performance through Prefetching*, ICDE 2004: group
//! prefetching).

use crate::hot::Hot;
use crate::hot::record::{ROOT, Record};
use crate::hot::table::Head;
use crate::platform::arena::{Arena, Ref};

/// How many places are fetched together: as many as a core's caches hold beside everything else.
pub const SPOTS: usize = 32;

/// Where something is about to be looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spot {
    /// The state's number.
    pub state: u16,
    /// The key group, counted from the first of the range.
    pub group: u16,
    /// The hash of the key area.
    pub hash: u64,
}

/// The beginning of a value that comes with its record, in bytes: what 32 records have of it fits into the smallest cache beside everything
/// else. What is longer is fetched by who goes through it, as it comes near.
const BEGINNING_BYTES: usize = 256;
/// What a value has behind this many bytes the processor fetches by itself, once it was seen to go through it line by line.
const VALUE_BYTES: usize = 2048;
/// A cache line, of which the arena's first is the first.
const LINE_WORDS: Ref = 8;
/// What [`Head::prefetch_record`] fetches: the line of this word of a record, after the line of its first.
const FETCHED_WORD: Ref = 4;

impl Hot {
    /// Fetches the buckets of these places, then the records that they lead to, then what a map's container leads to, and what
    /// values of some length go on in. Changes nothing; what isn't there, or is of another key, costs the fetching alone.
    pub fn fetch(&self, spots: &[Spot]) {
        let arena = self.arena();
        let heads = || spots.iter().filter_map(|spot| Some((self.head_at(spot)?, spot.hash)));
        heads().for_each(|(head, hash)| head.prefetch(arena, hash));
        heads().for_each(|(head, hash)| head.prefetch_record(arena, hash));
        for (head, hash) in heads() {
            let Some(record) = head.first_alike(arena, hash).map(|at| Record::load(arena, at)) else { continue };
            if record.kind() == ROOT {
                self.tree(record).fetch_root(arena);
            } else {
                fetch_value(arena, record, 0..BEGINNING_BYTES);
            }
        }
    }

    /// Fetches what [`Hot::fetch`] left of a long value.
    #[inline]
    pub fn fetch_rest(&self, spot: &Spot) {
        let arena = self.arena();
        let record = self.head_at(spot).and_then(|head| head.first_alike(arena, spot.hash));
        if let Some(at) = record {
            fetch_value(arena, Record::load(arena, at), BEGINNING_BYTES..VALUE_BYTES);
        }
    }

    #[inline]
    fn head_at(&self, spot: &Spot) -> Option<&Head> {
        self.heads.get(usize::from(spot.state))?.get(usize::from(spot.group))
    }
}

/// Whether [`Hot::fetch`] leaves some of a value of this length.
#[inline]
pub const fn has_rest(value_len: usize) -> bool {
    value_len > BEGINNING_BYTES
}

/// Fetches the lines of a part of a value, but for those that come with its record.
#[inline]
fn fetch_value(arena: &Arena, record: Record, part: std::ops::Range<usize>) {
    // The line behind the one in which so many bytes end.
    let behind = |bytes: usize| match bytes.min(record.value_len()) {
        0 => record.value_at() / LINE_WORDS,
        bytes => (record.value_at() + (bytes as Ref - 1) / 8) / LINE_WORDS + 1,
    };
    let first = behind(part.start).max((record.at + FETCHED_WORD) / LINE_WORDS + 1);
    for line in first..behind(part.end) {
        arena.prefetch(line * LINE_WORDS);
    }
}
