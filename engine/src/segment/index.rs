//! The index: from a sort key to the block that would hold it.
//!
//! Each block has a *separator*: the shortest byte string above every key of the block before and not above its own
//! first key (the first block's is its whole first key). The index is a static search tree over the separators, of
//! nodes with up to 64 children; a key belongs to the last child whose separator is not above it. What the separators
//! of a node begin with in common is stored once, the next 8 bytes of each stand in a dense array that is searched
//! without touching anything else, and the separators' whole rests decide only between equal ones. Keys that share
//! long prefixes thus cost no more than others, at any level.
//!
//! A node, at a multiple of 64:
//!
//! ```text
//!  0  count       u16     children, 1 to 64
//!  2  level       u8      0: children are blocks, from `first` on; else nodes of the level below
//!  3  zero        u8
//!  4  prefix_len  u32
//!  8  first       u32     the first block (level 0), else 0
//! 12  node_len    u32     the node's whole length, a multiple of 64
//! 16  prefix              then zeros to a multiple of 8
//!     heads       u64     x count: 8 bytes of each separator behind the prefix, zeros where it is shorter, as a
//!                         big-endian number
//!     children    u64     x count: where the child node starts in the index, / 64 (levels above 0 only)
//!     ends        u32     x count: where in `rests` each separator's rest ends
//!     rests               what follows the prefix in each separator; then zeros to a multiple of 64
//! ```

use crate::codec::{DecodeError, common_prefix, u16_at, u32_at, u64_at};

use super::format::UNIT_BYTES;

const FANOUT: usize = 64;
/// The length of a node's fixed part.
pub(super) const NODE_HEADER_BYTES: usize = 16;
/// No index of 2^32 blocks is deeper.
const LEVELS_MAX: u8 = 8;

/// The shortest separator between a key and the one before, with which it has `shared` bytes in common.
pub(super) fn separator(key: &[u8], shared: usize) -> &[u8] {
    key.get(..=shared).unwrap_or(key)
}

/// Where one looks on for a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The key is below the node's first separator.
    Below,
    /// The block's number.
    Block(u32),
    /// Where the next node starts in the index, and its level.
    Node(u64, u8),
}

/// A node's fixed part: enough to know how long it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeHeader {
    count: usize,
    pub level: u8,
    prefix_len: usize,
    first: u32,
    pub len: usize,
}

impl NodeHeader {
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let error = DecodeError::new(0, "no index node");
        let word = |at| u32_at(bytes, at).ok_or(error);
        let count = usize::from(u16_at(bytes, 0).ok_or(error)?);
        let level = *bytes.get(2).ok_or(error)?;
        let (prefix_len, first, len) = (word(4)? as usize, word(8)?, word(12)? as usize);
        let fits = (1..=FANOUT).contains(&count)
            && level <= LEVELS_MAX
            && bytes.get(3) == Some(&0)
            && (level == 0 || first == 0)
            && len.is_multiple_of(UNIT_BYTES as usize)
            && prefix_len <= len
            && first.checked_add(count as u32).is_some();
        if fits { Ok(Self { count, level, prefix_len, first, len }) } else { Err(error) }
    }
}

/// A node in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    header: NodeHeader,
    prefix: &'a [u8],
    heads: &'a [[u8; 8]],
    children: &'a [u8],
    ends: &'a [u8],
    rests: &'a [u8],
}

impl<'a> Node<'a> {
    /// Lays the parts of a node out; `bytes` are its whole length.
    pub fn decode(header: NodeHeader, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let error = DecodeError::new(NODE_HEADER_BYTES, "an index node shorter than its parts");
        let mut left = bytes.get(NODE_HEADER_BYTES..).ok_or(error)?;
        let mut take = |len: usize| {
            let (taken, rest) = left.split_at_checked(len)?;
            left = rest;
            Some(taken)
        };
        let prefix = take(header.prefix_len.next_multiple_of(8)).ok_or(error)?;
        let heads = take(header.count * 8).ok_or(error)?.as_chunks().0;
        let children = take(if header.level == 0 { 0 } else { header.count * 8 }).ok_or(error)?;
        let ends = take(header.count * 4).ok_or(error)?;
        Ok(Self { header, prefix: &prefix[..header.prefix_len], heads, children, ends, rests: left })
    }

    /// Where to look on for `key`.
    pub fn step(&self, key: &[u8]) -> Result<Step, DecodeError> {
        let common = common_prefix(key, self.prefix);
        let below = if common == self.prefix.len() {
            self.children_not_above(&key[common..])?
        } else if key.get(common) > self.prefix.get(common) {
            self.header.count
        } else {
            0
        };
        match below.checked_sub(1) {
            Some(index) => self.child(index),
            None => Ok(Step::Below),
        }
    }

    /// Where the child `index` is.
    pub fn child(&self, index: usize) -> Result<Step, DecodeError> {
        match self.header.level.checked_sub(1) {
            None => Ok(Step::Block(self.header.first + index as u32)),
            Some(level) => {
                let units = u64_at(self.children, index * 8).ok_or(DecodeError::new(0, "no such child"))?;
                let offset = units.checked_mul(UNIT_BYTES).ok_or(DecodeError::new(0, "a child out of bounds"))?;
                Ok(Step::Node(offset, level))
            }
        }
    }

    /// How many separators are not above a key that goes on with `rest` behind the prefix.
    fn children_not_above(&self, rest: &[u8]) -> Result<usize, DecodeError> {
        let head = head_of(rest);
        let mut high = heads_not_above(self.heads, head);
        let mut low = high;
        if high > 0 && u64::from_le_bytes(self.heads[high - 1]) == head {
            low = self.heads.partition_point(|&bytes| u64::from_le_bytes(bytes) < head);
        }
        while low < high {
            let middle = low.midpoint(high);
            if self.rest(middle)? <= rest { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn rest(&self, index: usize) -> Result<&'a [u8], DecodeError> {
        let error = DecodeError::new(0, "a separator out of bounds");
        let end = u32_at(self.ends, index * 4).ok_or(error)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => u32_at(self.ends, before * 4).ok_or(error)? as usize,
            None => 0,
        };
        self.rests.get(start..end).ok_or(error)
    }
}

/// How many of the ascending `heads` are at most `head`.
///
/// One look at each cache line of them, then one line: a binary search would wait for one miss after the other.
#[inline]
fn heads_not_above(heads: &[[u8; 8]], head: u64) -> usize {
    let not_above = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes) <= head;
    let lines = heads.as_chunks::<8>().0;
    let reached = lines.iter().filter(|line| not_above(&line[0])).count();
    let start = reached.saturating_sub(1) * 8;
    let end = if reached == lines.len() { heads.len() } else { start + 8 };
    start + heads[start..end].iter().filter(|bytes| not_above(bytes)).count()
}

/// The first 8 bytes as a number that orders as they do; zeros where there are fewer.
#[inline]
fn head_of(rest: &[u8]) -> u64 {
    match rest.first_chunk::<8>() {
        Some(head) => u64::from_be_bytes(*head),
        None => {
            let mut head = [0; 8];
            head[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(head)
        }
    }
}

/// The nodes of one level that have no parent yet.
#[derive(Default)]
struct Level {
    separators: Vec<u8>,
    ends: Vec<usize>,
    children: Vec<u64>,
    first: u32,
}

/// Builds the index as separators come in. Holds the finished nodes and one unfinished node a level.
#[derive(Default)]
pub(super) struct IndexBuilder {
    nodes: Vec<u8>,
    levels: Vec<Level>,
    blocks: u32,
}

impl IndexBuilder {
    /// The length of the finished nodes.
    pub fn bytes(&self) -> usize {
        self.nodes.len()
    }

    /// Adds the next block.
    pub fn add(&mut self, separator: &[u8]) {
        self.push(0, separator, u64::from(self.blocks));
        self.blocks += 1;
    }

    fn push(&mut self, level: usize, separator: &[u8], child: u64) {
        if self.levels.len() == level {
            self.levels.push(Level::default());
        }
        if self.levels[level].ends.len() == FANOUT {
            self.close(level);
        }
        let node = &mut self.levels[level];
        if node.ends.is_empty() {
            node.first = self.blocks;
        }
        node.separators.extend_from_slice(separator);
        node.ends.push(node.separators.len());
        node.children.push(child);
    }

    /// Writes the open node of a level and hands it to the level above.
    fn close(&mut self, level: usize) {
        let node = std::mem::take(&mut self.levels[level]);
        let offset = self.nodes.len() as u64;
        node.encode(level as u8, &mut self.nodes);
        self.push(level + 1, &node.separators[..node.ends[0]], offset / UNIT_BYTES);
    }

    /// The nodes, and where the root starts among them. There was at least one block.
    pub fn finish(mut self) -> (Vec<u8>, u64) {
        let mut level = 0;
        while level + 1 < self.levels.len() {
            self.close(level);
            level += 1;
        }
        let root = self.nodes.len() as u64;
        if let Some(node) = self.levels.get(level) {
            node.encode(level as u8, &mut self.nodes);
        }
        (self.nodes, root)
    }
}

impl Level {
    fn separator(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.separators[start..self.ends[index]]
    }

    fn encode(&self, level: u8, out: &mut Vec<u8>) {
        let start = out.len();
        let count = self.ends.len();
        // Sorted: what the first and the last have in common, all between them have too.
        let prefix_len = common_prefix(self.separator(0), self.separator(count - 1));
        out.extend_from_slice(&(count as u16).to_le_bytes());
        out.extend_from_slice(&[level, 0]);
        out.extend_from_slice(&(prefix_len as u32).to_le_bytes());
        out.extend_from_slice(&(if level == 0 { self.first } else { 0 }).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.separators[..prefix_len]);
        out.resize(out.len() + prefix_len.next_multiple_of(8) - prefix_len, 0);
        let rests = || (0..count).map(|index| &self.separator(index)[prefix_len..]);
        rests().for_each(|rest| out.extend_from_slice(&head_of(rest).to_le_bytes()));
        if level > 0 {
            self.children.iter().for_each(|child| out.extend_from_slice(&child.to_le_bytes()));
        }
        let mut end = 0_u32;
        for rest in rests() {
            end += rest.len() as u32;
            out.extend_from_slice(&end.to_le_bytes());
        }
        rests().for_each(|rest| out.extend_from_slice(rest));
        out.resize(start + (out.len() - start).next_multiple_of(UNIT_BYTES as usize), 0);
        let len = ((out.len() - start) as u32).to_le_bytes();
        out[start + 12..start + 16].copy_from_slice(&len);
    }
}
