//! What memory has of the keys of one (key group, state), copied and, where that is needed, sorted.

use crate::hot::Hot;
use crate::hot::record::{CHAIN, ENTRY, NAMESPACE, ROOT, Record, TOMBSTONE, VALUE};
use crate::key::sort_prefix;
use crate::platform::arena::Arena;
use crate::read::is_expired;
use crate::states::{StateDef, StateKind, frames};
use std::cmp::Ordering;
use std::sync::Arc;

/// Whether a key is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// It isn't, and nothing that is on disk counts.
    Dead,
    /// That can't be told from this.
    Unknown,
    /// It is.
    Live,
}

/// A key in the window.
#[derive(Clone, Copy, Debug)]
struct Item {
    prefix: u64,
    at: u32,
    key_len: u16,
    namespace_len: u16,
    verdict: Verdict,
}

/// A part of a window holds no more than this and a 16th of the budget, in bytes.
const BYTES_MAX: usize = 8 << 20;
/// Nor less than this.
const BYTES_MIN: usize = 64 << 10;

/// See the module's head. Its memory is charged to the budget by force: it is bounded, and walks are few.
#[derive(Debug)]
pub struct Window {
    arena: Arc<Arena>,
    bytes: Vec<u8>,
    items: Vec<Item>,
    next: usize,
    bytes_max: usize,
    charged: usize,
    /// Keys from this one on found no room: key and namespace.
    bound: Option<(Vec<u8>, Vec<u8>)>,
    has_namespaces: bool,
}

impl Window {
    /// An empty window.
    pub fn new(arena: &Arc<Arena>) -> Self {
        let bytes_max = (arena.budget_bytes() / 16).clamp(BYTES_MIN, BYTES_MAX);
        Self {
            arena: Arc::clone(arena),
            bytes: Vec::new(),
            items: Vec::new(),
            next: 0,
            bytes_max,
            charged: 0,
            bound: None,
            has_namespaces: false,
        }
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        self.next = 0;
        self.bound = None;
        self.has_namespaces = false;
    }

    /// Whether there are keys behind the last one that found no room.
    pub const fn is_truncated(&self) -> bool {
        self.bound.is_some()
    }

    /// Whether a key in it has a namespace.
    pub const fn has_namespaces(&self) -> bool {
        self.has_namespaces
    }

    /// Notes a record's key, if the record says anything of it and it lies behind `after`: (key, namespace). Then more
    /// is noted than there is room for, at times: [`Window::settle`].
    #[inline]
    pub fn note(&mut self, noting: &Noting<'_>, record: Record, after: Option<(&[u8], &[u8])>) {
        let Some(verdict) = noting.verdict(record) else { return };
        let (key, namespace) = record.key_parts(noting.hot.arena());
        let is_before = |(bound, of): &(Vec<u8>, Vec<u8>)| compare((key, namespace), (bound, of)) == Ordering::Less;
        if after.is_some_and(|after| compare((key, namespace), after) != Ordering::Greater)
            || !self.bound.as_ref().is_none_or(is_before)
        {
            return;
        }
        self.has_namespaces |= record.has(NAMESPACE);
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(namespace);
        let (key_len, namespace_len) = (key.len() as u16, namespace.len() as u16);
        self.items.push(Item { prefix: sort_prefix(key), at, key_len, namespace_len, verdict });
    }

    /// Drops the last keys where there are more than there is room for.
    pub fn settle(&mut self) {
        let bytes = self.bytes.len() + self.items.len() * size_of::<Item>();
        if bytes > self.bytes_max * 2 && self.items.len() > 1 {
            let half = self.items.len() / 2;
            let keys = &self.bytes;
            let (_, &mut bound, _) = self.items.select_nth_unstable_by(half, |a, b| order(keys, a, b));
            self.items.truncate(half);
            // A map's container and its marker stay together.
            self.items.retain(|item| order(keys, item, &bound) == Ordering::Less);
            let (key, namespace) = parts(keys, &bound);
            self.bound = Some((key.to_vec(), namespace.to_vec()));
            let mut kept = Vec::with_capacity(self.bytes.len() / 2);
            for item in &mut self.items {
                let parts =
                    &self.bytes[item.at as usize..][..usize::from(item.key_len) + usize::from(item.namespace_len)];
                item.at = kept.len() as u32;
                kept.extend_from_slice(parts);
            }
            self.bytes = kept;
        }
        let held = self.bytes.capacity() + self.items.capacity() * size_of::<Item>();
        if held > self.charged {
            self.arena.charge_forced(held - self.charged);
            self.charged = held;
        }
    }

    /// Puts the keys in their order on disk.
    pub fn sort(&mut self) {
        let keys = &self.bytes;
        self.items.sort_unstable_by(|a, b| order(keys, a, b));
    }

    fn parts(&self, item: &Item) -> (&[u8], &[u8]) {
        parts(&self.bytes, item)
    }

    /// The next key and namespace.
    #[inline]
    pub fn peek(&self) -> Option<(&[u8], &[u8])> {
        self.items.get(self.next).map(|item| self.parts(item))
    }

    /// The last key and namespace.
    pub fn last(&self) -> Option<(&[u8], &[u8])> {
        self.items.last().map(|item| self.parts(item))
    }

    /// Passes the next key, and says whether it is there: a map's container and its marker are two records of one key.
    #[inline]
    pub fn pass(&mut self) -> Verdict {
        let Some(item) = self.items.get(self.next) else { return Verdict::Unknown };
        let mut verdict = item.verdict;
        self.next += 1;
        while let Some(item) = self.items.get(self.next)
            && self.parts(item) == self.parts(&self.items[self.next - 1])
        {
            verdict = verdict.max(item.verdict);
            self.next += 1;
        }
        verdict
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.arena.uncharge(self.charged);
    }
}

fn parts<'a>(bytes: &'a [u8], item: &Item) -> (&'a [u8], &'a [u8]) {
    let start = item.at as usize;
    let (key, rest) = bytes[start..].split_at(usize::from(item.key_len));
    (key, &rest[..usize::from(item.namespace_len)])
}

fn order(bytes: &[u8], a: &Item, b: &Item) -> Ordering {
    a.prefix.cmp(&b.prefix).then_with(|| compare(parts(bytes, a), parts(bytes, b)))
}

/// How two addresses compare on disk.
pub fn compare(a: (&[u8], &[u8]), b: (&[u8], &[u8])) -> Ordering {
    let order = |(key, namespace): (&[u8], &[u8])| (key.len(), namespace.len());
    let ((a_len, a_space), (b_len, b_space)) = (order(a), order(b));
    a_len.cmp(&b_len).then_with(|| a.0.cmp(b.0)).then(a_space.cmp(&b_space)).then_with(|| a.1.cmp(b.1))
}

/// Of what a window notes keys.
#[derive(Clone, Copy, Debug)]
pub struct Noting<'a> {
    /// The tables.
    pub hot: &'a Hot,
    /// The state.
    pub def: &'a StateDef,
    /// The key group, counted from the first of the range.
    pub group: u16,
    /// The clock, in ms.
    pub now_ms: u64,
    /// Whether only what is committed counts.
    pub committed: bool,
}

impl Noting<'_> {
    fn version(&self, record: Record) -> Option<Record> {
        if self.committed { self.hot.committed_of(self.def.id.0, self.group, record) } else { Some(record) }
    }

    /// What a record says of its key; `None` where that is nothing.
    fn verdict(&self, record: Record) -> Option<Verdict> {
        let Self { hot, def, now_ms, .. } = *self;
        let Some(record) = self.version(record) else { return Some(Verdict::Unknown) };
        let arena = hot.arena();
        let said = match record.kind() {
            VALUE | CHAIN => return Some(chain_verdict(hot, def, record, now_ms)),
            // A clear that is on disk is found there, and masks nothing that was put after it.
            TOMBSTONE if def.kind == StateKind::Map && record.stamp(arena) <= hot.flushed => return None,
            // One of a part says nothing of the rest.
            TOMBSTONE if def.kind == StateKind::Map && !hot.hides_all(record) => Verdict::Unknown,
            TOMBSTONE => Verdict::Dead,
            // Without entries it is there for its floor alone.
            ROOT if hot.entries(record) == 0 && !hot.has_far(record) => return None,
            ROOT => {
                let mut live = hot.has_far(record) && {
                    let (area, namespaced) = (record.area(arena), record.has(NAMESPACE));
                    hot.has_live_far(&hot.probe(def.id.0, self.group, area, namespaced), record)
                };
                hot.tree(record).ascend(arena, None, |at| {
                    let Some(entry) = self.version(Record::load(arena, at)) else { return true };
                    live |= entry.kind() == ENTRY && !is_expired(entry.expiry_ms(arena), now_ms);
                    !live
                });
                if live { Verdict::Live } else { Verdict::Unknown }
            }
            _ => return None,
        };
        Some(said)
    }
}

/// The same for what may be a chain.
pub fn chain_verdict(hot: &Hot, def: &StateDef, head: Record, now_ms: u64) -> Verdict {
    if head.kind() == VALUE && def.kind != StateKind::List {
        let expired = is_expired(head.expiry_ms(hot.arena()), now_ms);
        return if expired { Verdict::Dead } else { Verdict::Live };
    }
    let chunks = hot.chunks(head);
    let live = chunks.records.iter().any(|&chunk| match def.kind {
        StateKind::List if def.ttl.is_some() => {
            frames(hot.value_of(chunk), true).any(|(expiry_ms, _)| !is_expired(expiry_ms, now_ms))
        }
        StateKind::List => true,
        _ => !is_expired(chunk.expiry_ms(hot.arena()), now_ms),
    });
    match (live, chunks.complete) {
        (true, _) => Verdict::Live,
        (false, true) => Verdict::Dead,
        (false, false) => Verdict::Unknown,
    }
}
