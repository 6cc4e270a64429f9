//! Fetching ahead for operations that are yet to come: what a lookup would wait for, one cache miss after the other, is asked
//! for of many at once (Chen, Ailamaki, Gibbons, Mowry, *Improving Hash Join Performance through Prefetching*, ICDE 2004: group
//! prefetching).

use crate::hot::Hot;
use crate::hot::order::fetch_node;
use crate::hot::record::{ROOT, Record};

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

impl Hot {
    /// Fetches the buckets of these places, then the records that they lead to, then what a map's container leads to. Changes
    /// nothing; what isn't there, or is of another key, costs the fetching alone.
    pub fn fetch(&self, spots: &[Spot]) {
        let arena = self.arena();
        let head =
            |spot: &Spot| self.heads.get(usize::from(spot.state)).and_then(|heads| heads.get(usize::from(spot.group)));
        let heads = || spots.iter().filter_map(|spot| Some((head(spot)?, spot.hash)));
        heads().for_each(|(head, hash)| head.prefetch(arena, hash));
        heads().for_each(|(head, hash)| head.prefetch_record(arena, hash));
        for (head, hash) in heads() {
            let record = head.first_alike(arena, hash).map(|at| Record::load(arena, at));
            if let Some(root) = record.filter(|record| record.kind() == ROOT) {
                fetch_node(arena, self.tree(root).root);
            }
        }
    }
}
