//! The hash table beside a `BTreeMap`.

use super::{Random, memory, with_seeds};
use crate::hot::record::{Parts, Record, VALUE, hash_area};
use crate::hot::table::Head;
use crate::hot::{Memory, OutOfMemory};
use crate::platform::arena::{Arena, Ref};
use std::collections::BTreeMap;

struct Pair {
    memory: Memory,
    head: Head,
    model: BTreeMap<Vec<u8>, (Ref, u8)>,
    /// Bits that hashes are cut to, so that they meet.
    mask: u64,
}

impl Pair {
    fn new(chunks: usize, mask: u64) -> Self {
        Self { memory: memory(chunks), head: Head::default(), model: BTreeMap::new(), mask }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        hash_area(key, false, 7) & self.mask
    }

    fn find(&self, key: &[u8]) -> Option<Ref> {
        let arena = self.memory.arena();
        let found = self.head.find(arena, self.hash(key), |at| Record::load(arena, at).is_at(arena, key, false));
        found.map(|(at, _)| at)
    }

    fn insert(&mut self, key: &[u8]) -> Result<(), OutOfMemory> {
        let value: [&[u8]; 2] = [key, &[]];
        let parts = Parts { tag: VALUE, stamp: 1, link: 0, expiry_ms: 0, area: key, value, spare: 0 };
        let record = Record::create(&mut self.memory, parts).ok_or(OutOfMemory { bytes: 0 })?;
        let (hash, mask) = (self.hash(key), self.mask);
        let hash_of = move |arena: &Arena, at: Ref| hash_area(Record::load(arena, at).area(arena), false, 7) & mask;
        if let Err(error) = self.head.insert(&mut self.memory, hash, record.at, &hash_of) {
            self.memory.records().free(record.at, record.class());
            return Err(error);
        }
        self.model.insert(key.to_vec(), (record.at, record.class()));
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) {
        let arena = self.memory.arena();
        let found = self.head.find(arena, self.hash(key), |at| Record::load(arena, at).is_at(arena, key, false));
        let (at, place) = found.unwrap();
        self.head.remove(self.memory.arena(), place);
        let (known, class) = self.model.remove(key).unwrap();
        assert_eq!(at, known);
        self.memory.records().free(at, class);
    }

    fn check(&self) {
        for (key, &(at, _)) in &self.model {
            assert_eq!(self.find(key), Some(at), "{key:?} of {}", self.model.len());
        }
        let mut visited = Vec::new();
        for page in 0..self.head.page_count() {
            self.head.visit_page(self.memory.arena(), page, |at| visited.push(at));
        }
        let mut expected: Vec<Ref> = self.model.values().map(|&(at, _)| at).collect();
        visited.sort_unstable();
        expected.sort_unstable();
        assert_eq!(visited, expected, "a walk over the pages sees each record once");
    }

    fn clear(mut self) {
        self.head.clear(&mut self.memory);
        for &(at, class) in self.model.values() {
            self.memory.records().free(at, class);
        }
        self.memory.collect();
        assert_eq!(self.memory.used_bytes(), 0, "pages or directories were left over");
    }
}

#[test]
fn random_changes() {
    with_seeds(0..8, |seed| {
        let mut random = Random::new(seed);
        // Cut hashes: full; few homes within a page; few pages.
        let mask = [u64::MAX, 0xFF00_0000_FFFF_FFFF, u64::MAX, 0xFFFF_FFFF_FFF0_0F03][seed as usize % 4];
        let mut pair = Pair::new(400, mask);
        let spread = [50, 3_000, 30_000, 2_000][seed as usize % 4];
        for step in 0..60_000 {
            let key = (random.below(spread) as u32).to_be_bytes();
            let grows = step / 15_000 % 2 == 0;
            match (pair.model.contains_key(key.as_slice()), random.below(10) < 2) {
                (true, rarely) if rarely == grows => pair.remove(&key),
                (false, rarely) if rarely != grows => pair.insert(&key).unwrap(),
                (there, _) => assert_eq!(pair.find(&key).is_some(), there),
            }
            if random.once_in(5_000) {
                pair.check();
            }
        }
        pair.check();
        pair.clear();
    });
}

#[test]
fn the_directory_doubles_and_goes() {
    let mut pair = Pair::new(1_000, u64::MAX);
    let mut deepest = 0;
    for n in 0..60_000_u32 {
        pair.insert(&n.to_be_bytes()).unwrap();
        if pair.head.page_count() > deepest {
            deepest = pair.head.page_count();
            pair.check();
        }
    }
    assert!(deepest >= 64, "{deepest} pages");
    for n in (0..60_000_u32).step_by(3) {
        pair.remove(&n.to_be_bytes());
    }
    pair.check();
    pair.clear();
}

#[test]
fn without_memory_nothing_changes() {
    with_seeds(0..8, |seed| {
        let mut random = Random::new(seed);
        let mut pair = Pair::new(3 + seed as usize, u64::MAX);
        let mut refused = 0;
        for _ in 0..40_000 {
            let key = (random.word() as u32).to_be_bytes();
            if !pair.model.contains_key(key.as_slice()) && pair.insert(&key).is_err() {
                refused += 1;
                pair.memory.collect();
                if refused % 16 == 1 {
                    pair.check();
                }
                let gone: Vec<_> = pair.model.keys().step_by(random.below(9) + 2).cloned().collect();
                gone.iter().for_each(|key| pair.remove(key));
            }
        }
        assert!(refused > 0, "the budget never ran out");
        pair.check();
        pair.clear();
    });
}
