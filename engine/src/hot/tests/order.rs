//! The order of a map's entries beside a `BTreeMap`.

use super::{Random, memory, with_seeds};
use crate::hot::Memory;
use crate::hot::order::Tree;
use crate::hot::record::{ENTRY, Parts, Record};
use crate::platform::arena::{NONE, Ref};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::Ordering;

/// A tree, the entries that it should hold, and all that it should answer.
struct Pair {
    memory: Memory,
    tree: Tree,
    model: BTreeMap<Vec<u8>, (Ref, u8)>,
}

impl Pair {
    fn new(chunks: usize) -> Self {
        Self { memory: memory(chunks), tree: Tree::default(), model: BTreeMap::new() }
    }

    fn entry(&mut self, key: &[u8]) -> Option<Record> {
        let value: [&[u8]; 2] = [&[], &[]];
        let parts = Parts { tag: ENTRY, stamp: 1, link: 0, expiry_ms: 0, area: key, value, spare: 0 };
        Record::create(&mut self.memory, parts)
    }

    /// Inserts a key, or swings it to a new record. False where memory is out; then nothing changed.
    fn put(&mut self, key: &[u8]) -> bool {
        let Some(record) = self.entry(key) else { return false };
        let placed = (record.at, record.class());
        if self.model.contains_key(key) {
            assert!(self.tree.swing(self.memory.arena(), key, record.at), "{key:?} is there");
            let (at, class) = self.model.insert(key.to_vec(), placed).unwrap();
            self.memory.records().free(at, class);
            return true;
        }
        assert!(!self.tree.swing(self.memory.arena(), key, record.at), "{key:?} is not there");
        if self.tree.insert(&mut self.memory, key, record.at).is_err() {
            self.memory.records().free(record.at, record.class());
            return false;
        }
        self.model.insert(key.to_vec(), placed);
        true
    }

    fn remove(&mut self, key: &[u8]) {
        let removed = self.tree.remove(&mut self.memory, key);
        let known = self.model.remove(key);
        assert_eq!(removed, known.is_some(), "{key:?}");
        if let Some((at, class)) = known {
            self.memory.records().free(at, class);
        }
    }

    fn check_up(&self, from: Option<&[u8]>, limit: usize) {
        let mut seen = Vec::new();
        self.tree.ascend(self.memory.arena(), from, |at| {
            seen.push(at);
            seen.len() < limit
        });
        let low = from.map_or(Bound::Unbounded, Bound::Included);
        let range = self.model.range::<[u8], _>((low, Bound::Unbounded));
        let expected: Vec<Ref> = range.map(|(_, &(at, _))| at).take(limit).collect();
        assert_eq!(seen, expected, "upwards from {from:?}");
    }

    fn check_down(&self, before: Option<&[u8]>, limit: usize) {
        let mut seen = Vec::new();
        self.tree.descend_from(self.memory.arena(), before, |at| {
            seen.push(at);
            seen.len() < limit
        });
        let high = before.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.model.range::<[u8], _>((Bound::Unbounded, high));
        let expected: Vec<Ref> = range.rev().map(|(_, &(at, _))| at).take(limit).collect();
        assert_eq!(seen, expected, "downwards from {before:?}");
    }

    /// Cuts a range out and takes what was cut apart, so much at a time.
    fn cut(&mut self, from: &[u8], to: Option<&[u8]>, limit: usize) {
        let mut pieces = self.tree.cut(&mut self.memory, from, to);
        let mut found = Vec::new();
        while !pieces.is_empty() {
            let some = pieces.take(&mut self.memory, limit);
            assert!(!some.is_empty() && some.len() <= limit, "{} of {limit} at once", some.len());
            found.extend(some);
        }
        let is_in = |key: &[u8]| key >= from && to.is_none_or(|to| key < to);
        let gone: Vec<(Ref, u8)> = self.model.iter().filter(|(key, _)| is_in(key)).map(|(_, &placed)| placed).collect();
        self.model.retain(|key, _| !is_in(key));
        found.sort_unstable();
        let mut expected: Vec<Ref> = gone.iter().map(|&(at, _)| at).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "from {from:?} to {to:?}");
        gone.into_iter().for_each(|(at, class)| self.memory.records().free(at, class));
    }

    fn take_apart(mut self) {
        self.cut(&[], None, 100);
        assert_eq!(self.tree.root, NONE);
        assert_eq!(self.memory.used_bytes(), 0, "nodes were left over");
    }
}

/// Keys that meet in their first 8 bytes, are prefixes of each other, end in zeros, or are plain.
pub fn key(random: &mut Random, spread: usize) -> Vec<u8> {
    let n = random.below(spread) as u32;
    match random.below(5) {
        0 => n.to_be_bytes().to_vec(),
        1 => [b"the same".as_slice(), &n.to_be_bytes()].concat(),
        2 => vec![b'p'; n as usize % 40],
        3 => vec![0; n as usize % 20],
        _ => [&n.to_le_bytes()[..2], &vec![0; n as usize % 11]].concat(),
    }
}

#[test]
fn random_changes_and_walks() {
    with_seeds(0..8, |seed| {
        let mut random = Random::new(seed);
        let mut pair = Pair::new(200);
        let spread = [10, 100, 1_000, 20_000][seed as usize % 4];
        for step in 0..20_000 {
            // Grows first, then shrinks, then both.
            let removes = [2, 8, 5][step / 4_000 % 3];
            let key = key(&mut random, spread);
            if random.below(10) < removes {
                pair.remove(&key)
            } else {
                assert!(pair.put(&key))
            }
            if random.once_in(20) {
                let limit = random.below(60) + 1;
                let from = self::key(&mut random, spread);
                pair.check_up(Some(&from), limit);
                pair.check_down(Some(&from), limit);
            }
            if random.once_in(500) {
                pair.check_up(None, usize::MAX);
                pair.check_down(None, usize::MAX);
            }
        }
        pair.take_apart();
    });
}

#[test]
fn ranges_are_cut_out() {
    with_seeds(0..12, |seed| {
        let mut random = Random::new(seed);
        let mut pair = Pair::new(200);
        let spread = [10, 100, 1_000, 20_000][seed as usize % 4];
        for _ in 0..300 {
            for _ in 0..random.below(400) {
                let key = key(&mut random, spread);
                if random.once_in(5) { pair.remove(&key) } else { assert!(pair.put(&key)) }
            }
            let (from, to) = (key(&mut random, spread), key(&mut random, spread));
            let (from, to) = if from <= to { (from, to) } else { (to, from) };
            let from = if random.once_in(4) { Vec::new() } else { from };
            let to = Some(to.as_slice()).filter(|_| !random.once_in(6));
            pair.cut(&from, to, random.below(100) + 1);
            pair.check_up(None, usize::MAX);
            pair.check_down(None, usize::MAX);
            pair.check_up(Some(&from), 5);
            pair.check_down(to, 5);
        }
        pair.take_apart();
    });
}

#[test]
fn loads_in_order_and_pops_from_the_ends() {
    for descending in [false, true] {
        let mut pair = Pair::new(400);
        for n in 0..30_000_u32 {
            let n = if descending { 30_000 - n } else { n };
            assert!(pair.put(&[b"12345678".as_slice(), &n.to_be_bytes()].concat()));
        }
        pair.check_up(None, usize::MAX);
        pair.check_down(None, usize::MAX);
        // As timers do: the first goes, a later one comes.
        for n in 0..20_000_u32 {
            let first = pair.model.keys().next().unwrap().clone();
            pair.remove(&first);
            pair.check_up(None, 3);
            if n % 2 == 0 {
                assert!(pair.put(&[b"12345678".as_slice(), &(40_000 + n).to_be_bytes()].concat()));
            }
        }
        pair.check_down(None, usize::MAX);
        while let Some(last) = pair.model.keys().next_back().cloned() {
            pair.remove(&last);
        }
        assert_eq!(pair.tree.root, NONE);
        pair.take_apart();
    }
}

#[test]
fn without_memory_nothing_changes() {
    with_seeds(0..8, |seed| {
        let mut random = Random::new(seed);
        let mut pair = Pair::new(4 + seed as usize);
        let mut refused = 0;
        for _ in 0..20_000 {
            let key = key(&mut random, 20_000);
            if !pair.put(&key) {
                refused += 1;
                pair.check_up(None, usize::MAX);
                let gone: Vec<_> = pair.model.keys().step_by(random.below(9) + 2).cloned().collect();
                gone.iter().for_each(|key| pair.remove(key));
            }
        }
        assert!(refused > 0, "the budget never ran out");
        pair.check_down(None, usize::MAX);
        pair.take_apart();
    });
}

#[test]
fn what_is_removed_everywhere_leaves_few_nodes() {
    // Eviction takes entries in the order of their hashes: a tree of which one entry in twenty was left kept nearly all its nodes.
    let mut pair = Pair::new(200);
    let mut random = Random::new(5);
    let mut keys: Vec<u32> = (0..50_000).collect();
    for at in (1..keys.len()).rev() {
        keys.swap(at, random.below(at + 1));
    }
    let nodes_bytes = |pair: &mut Pair| pair.memory.used_bytes() - pair.memory.records().used_bytes();
    keys.iter().for_each(|n| assert!(pair.put(&n.to_be_bytes())));
    let full = nodes_bytes(&mut pair);
    for n in &keys[2_500..] {
        pair.remove(&n.to_be_bytes());
    }
    let left = nodes_bytes(&mut pair);
    assert!(left <= full / 8, "{left} of {full} bytes for a twentieth");
    pair.check_up(None, usize::MAX);
    pair.check_down(None, usize::MAX);
    pair.take_apart();
}

/// A tree that a key was put into which changed meanwhile had a node without a child, and a descent followed what isn't there for
/// ever. However such a tree came to be: every way down ends.
#[test]
fn a_way_that_leads_nowhere_ends() {
    const CAPACITY: u64 = 40;
    for count in [0, 1, 3, CAPACITY] {
        let mut memory = memory(4);
        let (at, _) = memory.allocate_index(8 + 40 * 12).unwrap();
        // An inner node whose children are none: new memory is of zeros.
        memory.arena().word(at).store(count | CAPACITY << 16, Ordering::Relaxed);
        let mut tree = Tree { root: at, ..Tree::default() };
        for key in [&b""[..], b"\0\0\0\0\0\0\0\0", b"a key that is longer"] {
            assert!(!tree.swing(memory.arena(), key, 8));
            assert!(!tree.remove(&mut memory, key));
            tree.insert(&mut memory, key, 8).unwrap();
            for from in [None, Some(key)] {
                tree.ascend(memory.arena(), from, |at| panic!("an entry at {at}"));
                tree.descend_from(memory.arena(), from, |at| panic!("an entry at {at}"));
            }
        }
        let mut pieces = tree.cut(&mut memory, b"", None);
        while !pieces.is_empty() {
            assert!(pieces.take(&mut memory, 10).is_empty());
        }
    }
}
