//! The order of a map's entries in memory: a B+-tree of references, private to the owner.
//!
//! ```text
//! node    word 0: count u16 | capacity u16 << 16 | leaf u8 << 32 | class u8 << 40
//!         words 1..=capacity: the first 8 bytes of the user keys, big-endian      then references u32, two a word
//! ```
//!
//! A leaf's references are entries, an inner node's are nodes. A node's prefix in its parent is at most that of its
//! smallest entry; where prefixes tie, keys are compared through the records, for a node through its leftmost entry.
//! So deleting never touches separators, and they never point at memory that is gone. Small maps are one small leaf.
//! Nodes that run empty are freed, and one that is nearly empty is merged with a neighbour below the same parent: eviction takes
//! entries from everywhere, and would leave as many nodes as there ever were.

use crate::hot::{Memory, OutOfMemory};
use crate::key::prefix_of;
use crate::platform::arena::{Arena, NONE, Ref};
use crate::platform::sync::atomic::Ordering;
use std::cmp::Ordering as Order;

mod cut;

pub use cut::Pieces;

const CAPACITY_MAX: usize = 40;
const CAPACITIES: [usize; 4] = [4, 9, 19, CAPACITY_MAX];

/// A node with so few children is merged with a neighbour,
const MERGED_BELOW: usize = CAPACITY_MAX / 4;
/// where both together have no more than so many: so what was merged isn't split again soon.
const MERGED_MAX: usize = CAPACITY_MAX * 3 / 4;

/// How many entries ahead of a walk are fetched into the cache.
const AHEAD: usize = 12;

/// The tree's root, as a map's container keeps it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tree {
    /// The root node; [`NONE`] while the tree is empty.
    pub root: Ref,
    /// How many entries there are, about; 0 where that isn't known. By it the root is fetched: no more of it than is likely used.
    pub entries: usize,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    at: Ref,
    count: usize,
    capacity: usize,
    leaf: bool,
    class: u8,
}

const fn node_bytes(capacity: usize) -> usize {
    8 + capacity * 8 + capacity.div_ceil(2) * 8
}

impl Node {
    fn load(arena: &Arena, at: Ref) -> Self {
        let word = arena.word(at).load(Ordering::Relaxed);
        Self {
            at,
            count: usize::from(word as u16),
            capacity: usize::from((word >> 16) as u16),
            leaf: (word >> 32) & 1 == 1,
            class: (word >> 40) as u8,
        }
    }

    fn save(self, arena: &Arena) {
        let word =
            self.count as u64 | (self.capacity as u64) << 16 | u64::from(self.leaf) << 32 | u64::from(self.class) << 40;
        arena.word(self.at).store(word, Ordering::Relaxed);
    }

    fn new(memory: &mut Memory, capacity: usize, leaf: bool) -> Result<Self, OutOfMemory> {
        let bytes = node_bytes(capacity);
        let (at, class) = memory.allocate_index(bytes).ok_or(OutOfMemory { bytes })?;
        Ok(Self { at, count: 0, capacity, leaf, class })
    }

    fn prefix(self, arena: &Arena, index: usize) -> u64 {
        arena.word(self.at + 1 + index as Ref).load(Ordering::Relaxed)
    }

    fn set_prefix(self, arena: &Arena, index: usize, prefix: u64) {
        arena.word(self.at + 1 + index as Ref).store(prefix, Ordering::Relaxed);
    }

    fn refs_at(self, index: usize) -> (Ref, u32) {
        (self.at + (1 + self.capacity + index / 2) as Ref, (index % 2) as u32 * 32)
    }

    fn child(self, arena: &Arena, index: usize) -> Ref {
        let (word, shift) = self.refs_at(index);
        (arena.word(word).load(Ordering::Relaxed) >> shift) as Ref
    }

    fn set_child(self, arena: &Arena, index: usize, child: Ref) {
        let (at, shift) = self.refs_at(index);
        let word = arena.word(at);
        word.store(
            word.load(Ordering::Relaxed) & !(0xFFFF_FFFF << shift) | u64::from(child) << shift,
            Ordering::Relaxed,
        );
    }

    fn insert_at(&mut self, arena: &Arena, index: usize, prefix: u64, child: Ref) {
        for to in (index + 1..=self.count).rev() {
            self.set_prefix(arena, to, self.prefix(arena, to - 1));
            self.set_child(arena, to, self.child(arena, to - 1));
        }
        self.set_prefix(arena, index, prefix);
        self.set_child(arena, index, child);
        self.count += 1;
        self.save(arena);
    }

    fn remove_at(&mut self, arena: &Arena, index: usize) {
        for to in index..self.count - 1 {
            self.set_prefix(arena, to, self.prefix(arena, to + 1));
            self.set_child(arena, to, self.child(arena, to + 1));
        }
        self.count -= 1;
        self.save(arena);
    }

    /// Merges a child with the one behind it, or before it where it is the last; false where they don't fit into one. Every key of
    /// the right one is above those of the left one, and so is its separator, so both keep their order.
    fn merge_child(&mut self, memory: &mut Memory, index: usize) -> bool {
        let arena = memory.arena();
        let Some(index) = index.checked_sub(usize::from(index + 1 == self.count)) else {
            return false;
        };
        let (mut left, right) =
            (Self::load(arena, self.child(arena, index)), Self::load(arena, self.child(arena, index + 1)));
        if left.count + right.count > MERGED_MAX.min(left.capacity) {
            return false;
        }
        for from in 0..right.count {
            left.set_prefix(arena, left.count + from, right.prefix(arena, from));
            left.set_child(arena, left.count + from, right.child(arena, from));
        }
        left.count += right.count;
        left.save(arena);
        self.remove_at(arena, index + 1);
        memory.free_index(right.at, right.class);
        true
    }

    /// The first entry below a node; [`NONE`] where there is none, which no whole tree has.
    fn leftmost(self, arena: &Arena) -> Ref {
        let mut node = self;
        // What lies at NONE looks like an inner node without children, whose first one is NONE again.
        while !node.leaf && node.at != NONE {
            node = Self::load(arena, node.child(arena, 0));
        }
        if node.count == 0 { NONE } else { node.child(arena, 0) }
    }

    /// How the key of the `index`-th child compares with `key`.
    fn compare(self, arena: &Arena, index: usize, prefix: u64, key: &[u8]) -> Order {
        self.prefix(arena, index).cmp(&prefix).then_with(|| {
            let child = self.child(arena, index);
            let entry = if self.leaf { child } else { Self::load(arena, child).leftmost(arena) };
            compare_entry(arena, entry, key)
        })
    }

    /// Calls `visit` with the entries of a leaf from the `first`-th on until it says false.
    fn ascend(self, arena: &Arena, first: usize, mut visit: impl FnMut(Ref) -> bool) {
        (first..self.count.min(first + AHEAD)).for_each(|ahead| arena.prefetch(self.child(arena, ahead)));
        for index in first..self.count {
            if index + AHEAD < self.count {
                arena.prefetch(self.child(arena, index + AHEAD));
            }
            if !visit(self.child(arena, index)) {
                return;
            }
        }
    }

    /// Whether the `index`-th child of a leaf is the entry with this key.
    fn has(self, arena: &Arena, index: usize, key: &[u8]) -> bool {
        index < self.count && self.compare(arena, index, prefix_of(key), key) == Order::Equal
    }

    /// How many children compare below `key` (`or_equal`: below or equal).
    fn rank(self, arena: &Arena, key: &[u8], or_equal: bool) -> usize {
        let prefix = prefix_of(key);
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = (low + high) / 2;
            let below = match self.compare(arena, middle, prefix, key) {
                Order::Less => true,
                Order::Equal => or_equal,
                Order::Greater => false,
            };
            if below { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// Fetches a node of a capacity into the cache: a search in it would wait for several of its lines, one after the other.
fn fetch_node(arena: &Arena, at: Ref, capacity: usize) {
    const LINE_WORDS: usize = 8;
    (0..node_bytes(capacity) / 8).step_by(LINE_WORDS).for_each(|line| arena.prefetch(at + line as Ref));
}

/// Fetches a node's head and the first of its references into the cache.
fn prefetch_node(arena: &Arena, at: Ref) {
    arena.prefetch(at);
    arena.prefetch(at + 1 + CAPACITY_MAX as Ref);
}

/// How the key of an entry compares with `key`; none is below all.
fn compare_entry(arena: &Arena, entry: Ref, key: &[u8]) -> Order {
    if entry == NONE {
        return Order::Less;
    }
    crate::hot::entry_key(arena, entry).cmp(key)
}

/// The way from the root to a leaf: nodes and the child taken in each.
type Path = Vec<(Node, usize)>;

impl Tree {
    /// Fetches the root into the cache.
    #[inline]
    pub fn fetch_root(self, arena: &Arena) {
        fetch_node(arena, self.root, self.root_capacity());
    }

    /// For how many entries there is room in the root, most likely: leaves grow by twice.
    const fn root_capacity(self) -> usize {
        if self.entries == 0 || self.entries > CAPACITY_MAX / 2 { CAPACITY_MAX } else { self.entries * 2 }
    }

    /// The leaf that is all of the tree; `None` where there are more nodes, or none.
    #[inline]
    fn only_leaf(self, arena: &Arena) -> Option<Node> {
        if self.root == NONE {
            return None;
        }
        self.fetch_root(arena);
        Some(Node::load(arena, self.root)).filter(|node| node.leaf)
    }

    /// Whether there is no entry with this key, where one leaf tells; false also where more would have to be looked at.
    #[inline]
    pub fn lacks(self, arena: &Arena, key: &[u8]) -> bool {
        let lacks = |leaf: Node| !leaf.has(arena, leaf.rank(arena, key, false), key);
        self.root == NONE || self.only_leaf(arena).is_some_and(lacks)
    }

    /// The way to the leaf that a key is in or would be; empty where there is none, which only an empty tree has.
    fn descend(self, arena: &Arena, key: &[u8]) -> Path {
        let mut path = Vec::with_capacity(6);
        let mut at = self.root;
        while at != NONE {
            fetch_node(arena, at, if at == self.root { self.root_capacity() } else { CAPACITY_MAX });
            let node = Node::load(arena, at);
            if node.leaf {
                path.push((node, node.rank(arena, key, false)));
                break;
            }
            let index = node.rank(arena, key, true).saturating_sub(1);
            path.push((node, index));
            at = node.child(arena, index);
        }
        if at == NONE {
            path.clear();
        }
        path
    }

    /// Adds an entry whose key is not there yet.
    pub fn insert(&mut self, memory: &mut Memory, key: &[u8], entry: Ref) -> Result<(), OutOfMemory> {
        if self.root == NONE {
            let mut leaf = Node::new(memory, CAPACITIES[0], true)?;
            leaf.insert_at(memory.arena(), 0, prefix_of(key), entry);
            self.root = leaf.at;
            return Ok(());
        }
        if let Some(mut leaf) = self.only_leaf(memory.arena()).filter(|leaf| leaf.count < leaf.capacity) {
            let index = leaf.rank(memory.arena(), key, false);
            leaf.insert_at(memory.arena(), index, prefix_of(key), entry);
            return Ok(());
        }
        let mut path = self.descend(memory.arena(), key);
        if let Some(&(leaf, _)) = path.last()
            && leaf.count == leaf.capacity
        {
            self.make_room(memory, &path)?;
            path = self.descend(memory.arena(), key);
        }
        if let Some((mut leaf, index)) = path.pop() {
            leaf.insert_at(memory.arena(), index, prefix_of(key), entry);
        }
        // A key below all others lowers the separators on its way, so that they stay at most the smallest key's.
        let prefix = prefix_of(key);
        for (node, index) in path {
            if node.prefix(memory.arena(), index) > prefix {
                node.set_prefix(memory.arena(), index, prefix);
            }
        }
        Ok(())
    }

    /// Gives the leaf at the end of `path` room for one more: by a larger block, or by splitting what is full on the
    /// way, from the topmost full node that has a parent with room.
    fn make_room(&mut self, memory: &mut Memory, path: &Path) -> Result<(), OutOfMemory> {
        let Some(mut level) = path.len().checked_sub(1) else { return Ok(()) };
        if path[level].0.capacity < CAPACITY_MAX {
            return self.enlarge(memory, path, level);
        }
        while level > 0 && path[level - 1].0.count == CAPACITY_MAX {
            level -= 1;
        }
        // From the top down, so that every split finds room in its parent; indexes shift, so descend anew each time.
        if level == 0 {
            let (node, _) = path[0];
            let mut root = Node::new(memory, CAPACITY_MAX, false)?;
            let prefix = if node.count > 0 { node.prefix(memory.arena(), 0) } else { 0 };
            root.insert_at(memory.arena(), 0, prefix, node.at);
            self.root = root.at;
            self.split(memory, root, 0)?;
            return self.retry(memory, path);
        }
        let (parent, index) = path[level - 1];
        self.split(memory, parent, index)?;
        self.retry(memory, path)
    }

    /// After one split: goes on until the leaf that `path` led to has room.
    fn retry(&mut self, memory: &mut Memory, path: &Path) -> Result<(), OutOfMemory> {
        let Some(&(leaf, _)) = path.last() else { return Ok(()) };
        let leaf = Node::load(memory.arena(), leaf.at);
        if leaf.count < leaf.capacity {
            return Ok(());
        }
        let first = crate::hot::entry_key(memory.arena(), leaf.child(memory.arena(), 0)).to_vec();
        let path = self.descend(memory.arena(), &first);
        self.make_room(memory, &path)
    }

    fn enlarge(&mut self, memory: &mut Memory, path: &Path, level: usize) -> Result<(), OutOfMemory> {
        let (old, _) = path[level];
        let capacity = CAPACITIES.iter().copied().find(|&capacity| capacity > old.capacity).unwrap_or(CAPACITY_MAX);
        let mut node = Node::new(memory, capacity, old.leaf)?;
        let arena = memory.arena();
        for index in 0..old.count {
            node.set_prefix(arena, index, old.prefix(arena, index));
            node.set_child(arena, index, old.child(arena, index));
        }
        node.count = old.count;
        node.save(arena);
        match level.checked_sub(1).map(|above| path[above]) {
            None => self.root = node.at,
            Some((parent, index)) => parent.set_child(arena, index, node.at),
        }
        memory.free_index(old.at, old.class);
        Ok(())
    }

    /// Splits the full `index`-th child of a parent that has room.
    fn split(&self, memory: &mut Memory, mut parent: Node, index: usize) -> Result<(), OutOfMemory> {
        let mut left = Node::load(memory.arena(), parent.child(memory.arena(), index));
        let mut right = Node::new(memory, CAPACITY_MAX, left.leaf)?;
        let arena = memory.arena();
        // A split at the end of everything is most likely an ascending load: leave the left node nearly full.
        let last = index + 1 == parent.count && left.leaf;
        let keep = if last { left.count - left.count / 8 } else { left.count / 2 };
        for from in keep..left.count {
            right.set_prefix(arena, from - keep, left.prefix(arena, from));
            right.set_child(arena, from - keep, left.child(arena, from));
        }
        (right.count, left.count) = (left.count - keep, keep);
        left.save(arena);
        right.save(arena);
        parent.insert_at(arena, index + 1, right.prefix(arena, 0), right.at);
        Ok(())
    }

    /// Takes the entry with this key out; false where there is none.
    pub fn remove(&mut self, memory: &mut Memory, key: &[u8]) -> bool {
        if let Some(mut leaf) = self.only_leaf(memory.arena()).filter(|leaf| leaf.count > 1) {
            let index = leaf.rank(memory.arena(), key, false);
            let is_there = leaf.has(memory.arena(), index, key);
            if is_there {
                leaf.remove_at(memory.arena(), index);
            }
            return is_there;
        }
        let mut path = self.descend(memory.arena(), key);
        let Some((mut leaf, index)) = path.pop() else { return false };
        let arena = memory.arena();
        if !leaf.has(arena, index, key) {
            return false;
        }
        leaf.remove_at(arena, index);
        let mut lower = leaf;
        while let Some((mut parent, index)) = path.pop() {
            if lower.count == 0 {
                memory.free_index(lower.at, lower.class);
                parent.remove_at(memory.arena(), index);
            } else if lower.count > MERGED_BELOW || !parent.merge_child(memory, index) {
                return true;
            }
            lower = parent;
        }
        if lower.count == 0 {
            memory.free_index(lower.at, lower.class);
            self.root = NONE;
        } else if !lower.leaf && lower.count == 1 {
            self.root = lower.child(memory.arena(), 0);
            memory.free_index(lower.at, lower.class);
        }
        true
    }

    /// Makes the entry with this key refer to another record of the same key; false where there is none.
    pub fn swing(&self, arena: &Arena, key: &[u8], to: Ref) -> bool {
        match self.descend(arena, key).last() {
            Some(&(leaf, index)) if leaf.has(arena, index, key) => {
                leaf.set_child(arena, index, to);
                true
            }
            _ => false,
        }
    }

    /// Calls `visit` with the entries from `from` upwards (`None`: from the first) until it says false.
    pub fn ascend(&self, arena: &Arena, from: Option<&[u8]>, mut visit: impl FnMut(Ref) -> bool) {
        if let Some(leaf) = self.only_leaf(arena) {
            return leaf.ascend(arena, from.map_or(0, |from| leaf.rank(arena, from, false)), visit);
        }
        let mut path = match from {
            Some(from) => self.descend(arena, from),
            None => self.edge(arena, false),
        };
        if let Some(&(leaf, index)) = path.last() {
            (index..leaf.count.min(index + AHEAD)).for_each(|ahead| arena.prefetch(leaf.child(arena, ahead)));
        }
        loop {
            let Some(&mut (leaf, ref mut index)) = path.last_mut() else { return };
            if *index < leaf.count {
                if !leaf.leaf {
                    if *index + 1 < leaf.count {
                        prefetch_node(arena, leaf.child(arena, *index + 1));
                    }
                    let below = Node::load(arena, leaf.child(arena, *index));
                    if below.leaf {
                        (0..below.count.min(AHEAD)).for_each(|ahead| arena.prefetch(below.child(arena, ahead)));
                    }
                    path.push((below, 0));
                    continue;
                }
                let entry = leaf.child(arena, *index);
                if *index + AHEAD < leaf.count {
                    arena.prefetch(leaf.child(arena, *index + AHEAD));
                }
                *index += 1;
                if !visit(entry) {
                    return;
                }
                continue;
            }
            path.pop();
            if let Some((_, index)) = path.last_mut() {
                *index += 1;
            }
        }
    }

    /// Calls `visit` with the entries below `before` downwards (`None`: from the last) until it says false.
    pub fn descend_from(&self, arena: &Arena, before: Option<&[u8]>, mut visit: impl FnMut(Ref) -> bool) {
        // In each element the index is one above the child to be taken next, for inner nodes the one just taken.
        let mut path = match before {
            Some(before) => self.descend(arena, before),
            None => self.edge(arena, true),
        };
        loop {
            let Some(&mut (node, ref mut index)) = path.last_mut() else { return };
            if *index == 0 {
                path.pop();
                continue;
            }
            *index -= 1;
            let child = node.child(arena, *index);
            if node.leaf {
                if *index >= AHEAD {
                    arena.prefetch(node.child(arena, *index - AHEAD));
                }
                if !visit(child) {
                    return;
                }
            } else {
                let below = Node::load(arena, child);
                if below.leaf {
                    let first = below.count.saturating_sub(AHEAD);
                    (first..below.count).for_each(|ahead| arena.prefetch(below.child(arena, ahead)));
                }
                path.push((below, below.count));
            }
        }
    }

    /// The way to the first leaf, at its first entry, or to the last one, behind its last.
    fn edge(self, arena: &Arena, last: bool) -> Path {
        let mut path = Vec::with_capacity(6);
        let mut at = self.root;
        while at != NONE {
            let node = Node::load(arena, at);
            let index = if !last {
                0
            } else if node.leaf {
                node.count
            } else {
                node.count.saturating_sub(1)
            };
            path.push((node, index));
            at = if node.leaf { NONE } else { node.child(arena, index) };
        }
        path
    }
}
