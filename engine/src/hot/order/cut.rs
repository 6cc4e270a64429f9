//! Cutting a range out of a tree without going through it: what lies between the ways to its two ends is detached as whole
//! subtrees, so it takes as long as two descents, however many entries there are.

use super::{Node, Tree};
use crate::hot::Memory;
use crate::platform::arena::{NONE, Ref};

/// What was cut out of a tree and waits to be taken apart. Nothing compares keys through it any more.
#[derive(Debug, Default)]
pub struct Pieces {
    /// Roots of subtrees.
    nodes: Vec<Ref>,
    /// Entries of leaves that were cut through or taken apart.
    entries: Vec<Ref>,
}

impl Pieces {
    /// All of a tree, which nothing else may lead to any more.
    pub fn of(tree: Tree) -> Self {
        Self { nodes: vec![tree.root], entries: Vec::new() }
    }

    /// Takes some entries out: at least one, if there are any, and about `limit` at most. The nodes above them are freed.
    pub fn take(&mut self, memory: &mut Memory, limit: usize) -> Vec<Ref> {
        while self.entries.len() < limit
            && let Some(at) = self.nodes.pop()
        {
            if at == NONE {
                continue;
            }
            let node = Node::load(memory.arena(), at);
            let below = if node.leaf { &mut self.entries } else { &mut self.nodes };
            below.extend((0..node.count).map(|index| node.child(memory.arena(), index)));
            memory.free_index(at, node.class);
        }
        let rest = self.entries.len().saturating_sub(limit);
        self.entries.split_off(rest)
    }

    /// Puts back what was taken out last.
    pub fn put_back(&mut self, entries: &[Ref]) {
        self.entries.extend_from_slice(entries);
    }

    /// Whether all was taken out.
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.entries.is_empty()
    }
}

impl Tree {
    /// Takes all entries from `from` up to `to` (left out; `None`: to the end) out.
    pub fn cut(&mut self, memory: &mut Memory, from: &[u8], to: Option<&[u8]>) -> Pieces {
        let mut pieces = Pieces::default();
        if self.root != NONE && cut_node(memory, self.root, Some(from), to, &mut pieces) {
            self.root = NONE;
        }
        pieces
    }
}

/// Cuts from a node on, from `from` (`None`: from its first entry) up to `to`; true where nothing is left of it, and then
/// it was freed. Goes down each of the two ways once.
fn cut_node(memory: &mut Memory, at: Ref, from: Option<&[u8]>, to: Option<&[u8]>, pieces: &mut Pieces) -> bool {
    if at == NONE {
        return true;
    }
    let node = Node::load(memory.arena(), at);
    if node.leaf {
        let first = from.map_or(0, |from| node.rank(memory.arena(), from, false));
        let end = to.map_or(node.count, |to| node.rank(memory.arena(), to, false)).max(first);
        pieces.entries.extend((first..end).map(|index| node.child(memory.arena(), index)));
        return close_up(memory, node, first, end);
    }
    // The child that a key would be in, as in a descent.
    let child_of = |memory: &Memory, key: &[u8]| node.rank(memory.arena(), key, true).saturating_sub(1);
    let lower = from.map(|from| child_of(memory, from));
    let upper = to.map(|to| child_of(memory, to));
    if let (Some(only), true) = (lower, lower == upper) {
        let gone = cut_node(memory, node.child(memory.arena(), only), from, to, pieces);
        return close_up(memory, node, only, only + usize::from(gone));
    }
    // Children that are cut through stay unless nothing is left of them; those between go as they are.
    let (mut first, mut end) = (lower.map_or(0, |lower| lower + 1), upper.unwrap_or(node.count));
    pieces.nodes.extend((first..end).map(|index| node.child(memory.arena(), index)));
    if let Some(lower) = lower
        && cut_node(memory, node.child(memory.arena(), lower), from, None, pieces)
    {
        first = lower;
    }
    if let Some(upper) = upper
        && cut_node(memory, node.child(memory.arena(), upper), None, to, pieces)
    {
        end = upper + 1;
    }
    close_up(memory, node, first, end)
}

/// Takes the children from `first` up to `end` out of a node; frees it where none is left.
fn close_up(memory: &mut Memory, mut node: Node, first: usize, end: usize) -> bool {
    let gone = end - first;
    if gone == node.count {
        memory.free_index(node.at, node.class);
        return true;
    }
    let arena = memory.arena();
    for from in end..node.count {
        node.set_prefix(arena, from - gone, node.prefix(arena, from));
        node.set_child(arena, from - gone, node.child(arena, from));
    }
    if gone > 0 {
        node.count -= gone;
        node.save(arena);
    }
    false
}
