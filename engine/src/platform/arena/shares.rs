//! Shares: parts of a budget, each with a limit and a guaranteed minimum, one in another.
//!
//! A share *claims* what it has taken and what it has promised to those in it; towards the share that it lies in it counts for
//! the greater of that and its minimum. So what is guaranteed to one is taken by nobody else, used or not, and a limit
//! holds for all that lies in a share. All of it is kept under the arena's lock, which is taken for each chunk anyway.
//!
//! Heap memory that grows with the data counts as chunks do. Of it what is *favoured* is worth having where memory is full, as it mostly is:
//! it may go beyond a limit, but all that is in a share by no more than one part in [`FAVOURED_SHARE`] of what the share may take,
//! and the little that each owner of such memory has in any case.

use super::Arena;
use std::sync::Arc;

/// So much of what a share may take is favoured at most, one part in so many, where there is no room for it.
const FAVOURED_SHARE: usize = 32;
/// And one part in so many each owner may have in any case,
const FAVOURED_OWN_SHARE: usize = 256;
/// up to so many bytes.
const FAVOURED_OWN_BYTES_MAX: usize = 64 << 10;

/// A share's numbers.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The share that it lies in; `None` for the whole budget, whose limit is the arena's.
    parent: Option<usize>,
    limit_bytes: usize,
    minimum_bytes: usize,
    claimed_bytes: usize,
    used_bytes: usize,
    /// The minimums of those in it.
    promised_bytes: usize,
    /// Of what is used, what is favoured,
    favoured_bytes: usize,
    /// and of how many pieces it is.
    favoured: usize,
    in_use: bool,
}

impl Node {
    const fn new(parent: Option<usize>, limit_bytes: usize) -> Self {
        Self {
            parent,
            limit_bytes,
            minimum_bytes: 0,
            claimed_bytes: 0,
            used_bytes: 0,
            promised_bytes: 0,
            favoured_bytes: 0,
            favoured: 0,
            in_use: true,
        }
    }

    /// What the share that it lies in has promised it.
    const fn pledge(&self) -> usize {
        if self.minimum_bytes > self.promised_bytes { self.minimum_bytes } else { self.promised_bytes }
    }

    /// What it counts for in the share that it lies in.
    const fn weight(&self) -> usize {
        if self.minimum_bytes > self.claimed_bytes { self.minimum_bytes } else { self.claimed_bytes }
    }
}

/// All shares of an arena; the first is the whole budget.
#[derive(Debug)]
pub(super) struct Shares {
    nodes: Vec<Node>,
}

impl Shares {
    pub fn new() -> Self {
        Self { nodes: vec![Node::new(None, usize::MAX)] }
    }

    /// Where taking `bytes` for a share is stopped, if anywhere: by its limit, that of one that it lies in, or the whole
    /// budget's, `budget_bytes`.
    pub fn stopped_at(&self, mut at: usize, bytes: usize, budget_bytes: usize) -> Option<usize> {
        let mut more = bytes;
        loop {
            let node = &self.nodes[at];
            let claimed = node.claimed_bytes + more;
            let Some(parent) = node.parent else { return (more > 0 && claimed > budget_bytes).then_some(at) };
            if more > 0 && claimed > node.limit_bytes {
                return Some(at);
            }
            more = node.minimum_bytes.max(claimed) - node.weight();
            at = parent;
        }
    }

    /// How much a share could take.
    pub fn free_bytes(&self, at: usize, budget_bytes: usize) -> usize {
        let node = &self.nodes[at];
        let Some(parent) = node.parent else { return budget_bytes.saturating_sub(node.claimed_bytes) };
        let unused = node.minimum_bytes.saturating_sub(node.claimed_bytes);
        let above = self.free_bytes(parent, budget_bytes).saturating_add(unused);
        node.limit_bytes.saturating_sub(node.claimed_bytes).min(above)
    }

    /// Whether a share may take `bytes` more within what is guaranteed to it, or to one that it lies in, and one part in `part` of that
    /// is left then.
    fn is_promised(&self, mut at: usize, bytes: usize, part: usize) -> bool {
        let mut more = bytes;
        loop {
            let node = &self.nodes[at];
            let claimed = node.claimed_bytes + more;
            let Some(parent) = node.parent.filter(|_| claimed <= node.limit_bytes) else { return false };
            if claimed + node.minimum_bytes / part <= node.minimum_bytes {
                return true;
            }
            more = node.minimum_bytes.max(claimed) - node.weight();
            at = parent;
        }
    }

    /// Counts what was taken: `claimed` more is claimed, of which `used` more is in use.
    pub fn add(&mut self, mut at: usize, mut claimed: usize, used: usize) {
        loop {
            let node = &mut self.nodes[at];
            let before = node.weight();
            node.used_bytes += used;
            node.claimed_bytes += claimed;
            claimed = node.weight() - before;
            let Some(parent) = node.parent else { return };
            at = parent;
        }
    }

    /// Counts what was given back, likewise.
    pub fn subtract(&mut self, mut at: usize, mut claimed: usize, used: usize) {
        loop {
            let node = &mut self.nodes[at];
            let before = node.weight();
            node.used_bytes -= used;
            node.claimed_bytes -= claimed;
            claimed = before - node.weight();
            let Some(parent) = node.parent else { return };
            at = parent;
        }
    }

    /// A share and those that it lies in.
    fn path(&self, at: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(at), |&at| self.nodes[at].parent)
    }

    /// Whether `bytes` more may be favoured, of an owner who has `own_bytes`.
    fn favours(&self, at: usize, bytes: usize, own_bytes: usize, budget_bytes: usize) -> bool {
        let limit = |at: usize| self.nodes[at].limit_bytes.min(budget_bytes);
        let least = self.path(at).map(limit).min().unwrap_or_default();
        own_bytes + bytes <= (least / FAVOURED_OWN_SHARE).min(FAVOURED_OWN_BYTES_MAX)
            || self.path(at).all(|at| self.nodes[at].favoured_bytes + bytes <= limit(at) / FAVOURED_SHARE)
    }

    /// Counts what is favoured, or takes it back.
    fn favour(&mut self, at: usize, (bytes, pieces): (usize, usize), forth: bool) {
        let mut next = Some(at);
        while let Some(at) = next {
            let node = &mut self.nodes[at];
            let change = |of: usize, by: usize| if forth { of + by } else { of - by };
            node.favoured_bytes = change(node.favoured_bytes, bytes);
            node.favoured = change(node.favoured, pieces);
            next = node.parent;
        }
    }

    /// Whether `from` lies in the share `at`, and giving memory back would make room in it: nothing on the way is below its
    /// minimum.
    pub fn gives_to(&self, mut from: usize, at: usize) -> bool {
        while from != at {
            let node = &self.nodes[from];
            let Some(parent) = node.parent.filter(|_| node.claimed_bytes > node.minimum_bytes) else { return false };
            from = parent;
        }
        true
    }

    /// Whether a share can promise so much more to one in it, and those above it so much more to it, as far as
    /// `budget_bytes` go.
    fn can_promise(&self, mut at: usize, minimum_bytes: usize, budget_bytes: usize) -> bool {
        let mut more = minimum_bytes;
        while more > 0 {
            let node = &self.nodes[at];
            let promised = node.promised_bytes.saturating_add(more);
            let Some(parent) = node.parent else { return promised <= budget_bytes };
            if promised > node.limit_bytes {
                return false;
            }
            more = node.minimum_bytes.max(promised) - node.pledge();
            at = parent;
        }
        true
    }

    /// Counts a promise of a share to one in it, or takes it back, all the way up.
    fn promise(&mut self, mut at: usize, mut bytes: usize, forth: bool) {
        loop {
            let node = &mut self.nodes[at];
            let before = node.pledge();
            node.promised_bytes = if forth { node.promised_bytes + bytes } else { node.promised_bytes - bytes };
            bytes = node.pledge().abs_diff(before);
            let Some(parent) = node.parent.filter(|_| bytes > 0) else { return };
            at = parent;
        }
    }

    /// A share in another.
    fn open(&mut self, parent: usize, minimum_bytes: usize, limit_bytes: usize) -> usize {
        self.promise(parent, minimum_bytes, true);
        let node = Node::new(Some(parent), limit_bytes);
        let at = self.nodes.iter().position(|node| !node.in_use).unwrap_or(self.nodes.len());
        if at == self.nodes.len() {
            self.nodes.push(node);
        } else {
            self.nodes[at] = node;
        }
        self.set_minimum(at, minimum_bytes);
        at
    }

    fn set_minimum(&mut self, at: usize, minimum_bytes: usize) {
        let node = &mut self.nodes[at];
        let before = node.weight();
        node.minimum_bytes = minimum_bytes;
        let after = node.weight();
        let Some(parent) = node.parent else { return };
        match after.checked_sub(before) {
            Some(more) => self.add(parent, more, 0),
            None => self.subtract(parent, before - after, 0),
        }
    }

    /// Takes a promise back.
    fn release(&mut self, at: usize) {
        let before = self.nodes[at].pledge();
        self.set_minimum(at, 0);
        let less = before - self.nodes[at].pledge();
        if let Some(parent) = self.nodes[at].parent {
            self.promise(parent, less, false);
        }
    }
}

/// A part of an arena's budget. What lies in it, shares and allocators, keeps it.
#[derive(Debug)]
pub struct Share {
    pub(super) arena: Arc<Arena>,
    pub(super) at: usize,
    /// The share that it lies in is there as long as this is.
    _parent: Option<Arc<Share>>,
    limited: bool,
}

impl Share {
    /// A share of the whole budget, or of another share, that is guaranteed `minimum_bytes` and takes no more than
    /// `limit_bytes`. `None` where that can't be promised any more.
    pub fn open(
        arena: &Arc<Arena>,
        parent: Option<&Arc<Self>>,
        minimum_bytes: usize,
        limit_bytes: usize,
    ) -> Option<Arc<Self>> {
        let of = parent.map_or(0, |parent| parent.at);
        let at = arena.with_shares(|shares, budget| {
            let fits = minimum_bytes <= limit_bytes && shares.can_promise(of, minimum_bytes, budget);
            fits.then(|| shares.open(of, minimum_bytes, limit_bytes))
        })?;
        let limited = minimum_bytes > 0 || limit_bytes < usize::MAX || parent.is_some_and(|parent| parent.limited);
        Some(Arc::new(Self { arena: Arc::clone(arena), at, _parent: parent.cloned(), limited }))
    }

    /// A share of the whole budget without limit or minimum.
    pub fn of(arena: &Arc<Arena>) -> Arc<Self> {
        let at = arena.with_shares(|shares, _| shares.open(0, 0, usize::MAX));
        Arc::new(Self { arena: Arc::clone(arena), at, _parent: None, limited: false })
    }

    /// Whether it has a limit or a minimum, or lies in one that has; else the whole budget's numbers are its own.
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// The most that it may take, in bytes: the least of its limit and those above it, and of the whole budget.
    pub fn limit_bytes(&self) -> usize {
        let own = self.arena.with_shares(|shares, budget| {
            let (mut at, mut limit) = (self.at, budget);
            while let Some(parent) = shares.nodes[at].parent {
                limit = limit.min(shares.nodes[at].limit_bytes);
                at = parent;
            }
            limit
        });
        own.min(self.arena.budget_bytes())
    }

    /// Changes its own limit; a smaller one takes effect as its users give memory back.
    pub fn set_limit_bytes(&self, bytes: usize) {
        self.arena.with_shares(|shares, _| shares.nodes[self.at].limit_bytes = bytes);
    }

    /// What was taken of that which the least limit bounds, in bytes: of the share that has it, or of the whole budget.
    pub fn used_of_limit_bytes(&self) -> usize {
        let (limit, used) = self.arena.with_shares(|shares, _| {
            let (mut at, mut least) = (self.at, (usize::MAX, 0));
            while let Some(parent) = shares.nodes[at].parent {
                least = least.min((shares.nodes[at].limit_bytes, shares.nodes[at].used_bytes));
                at = parent;
            }
            least
        });
        if limit < self.arena.budget_bytes() { used } else { self.arena.used_bytes() }
    }

    /// What it has taken, in bytes.
    pub fn used_bytes(&self) -> usize {
        self.arena.with_shares(|shares, _| shares.nodes[self.at].used_bytes)
    }

    /// What it could take now, in bytes.
    pub fn free_bytes(&self) -> usize {
        self.arena.with_shares(|shares, budget| shares.free_bytes(self.at, budget))
    }

    /// Whether it could take `bytes` more and leave `floor_bytes` to others; or one part in `part` of what is guaranteed to it, or to
    /// one that it lies in, as that is for it alone.
    pub(super) fn has_room_above(&self, floor_bytes: usize, bytes: usize, part: usize) -> bool {
        self.arena.with_shares(|shares, budget| {
            shares.free_bytes(self.at, budget) >= floor_bytes.saturating_add(bytes)
                || shares.is_promised(self.at, bytes, part)
        })
    }

    /// Whether it has less than is guaranteed to it.
    pub fn is_below_minimum(&self) -> bool {
        let below = |node: &Node| node.claimed_bytes < node.minimum_bytes;
        self.limited && self.arena.with_shares(|shares, _| below(&shares.nodes[self.at]))
    }

    /// Whether others have what is promised to it: it may take `bytes` more, and so much isn't there.
    pub fn is_owed(&self, bytes: usize) -> bool {
        let may_take = || self.arena.with_shares(|shares, budget| shares.stopped_at(self.at, bytes, budget).is_none());
        self.limited && self.arena.free_bytes() < bytes && may_take()
    }

    /// Whether giving back what `other` has would let this one take `bytes` more, and leave `floor_bytes` where it found none.
    pub fn is_helped_by(&self, other: &Self, bytes: usize, floor_bytes: usize) -> bool {
        let is_there = self.arena.free_bytes() >= bytes;
        self.arena.with_shares(|shares, budget| {
            let stopped_at = |bytes| shares.stopped_at(self.at, bytes, budget);
            // What could be had was to be left to others: it is short where these would be stopped.
            let short_at = stopped_at(bytes).or_else(|| stopped_at(bytes + floor_bytes).filter(|_| is_there));
            // Where nothing stops it, memory itself is short: somebody took what is guaranteed to this one.
            shares.gives_to(other.at, short_at.unwrap_or(0))
        })
    }

    /// Counts heap memory against it; false, and nothing counted, where there is no room.
    pub fn charge(&self, bytes: usize) -> bool {
        self.arena.charge_to(self.at, bytes, |_, fits, _| fits)
    }

    /// Takes a charge back.
    pub fn uncharge(&self, bytes: usize) {
        if bytes > 0 {
            self.arena.uncharge_from(self.at, bytes, |_| ());
        }
    }

    /// Counts bytes of heap memory that is favoured, in so many more pieces, of an owner who has `own_bytes` of it already; false, and
    /// nothing counted, where there is no room.
    pub fn charge_favoured(&self, (bytes, pieces): (usize, usize), own_bytes: usize) -> bool {
        self.arena.charge_to(self.at, bytes, |shares, fits, budget_bytes| {
            let is_kept = fits || shares.favours(self.at, bytes, own_bytes, budget_bytes);
            if is_kept {
                shares.favour(self.at, (bytes, pieces), true);
            }
            is_kept
        })
    }

    /// Takes a charge of favoured memory back.
    pub fn uncharge_favoured(&self, (bytes, pieces): (usize, usize)) {
        self.arena.uncharge_from(self.at, bytes, |shares| shares.favour(self.at, (bytes, pieces), false));
    }

    /// How many bytes one more piece of favoured memory may have, or one of `own_bytes` instead, as a fair part of what all may.
    pub fn favoured_part_bytes(&self, own_bytes: usize) -> usize {
        let budget_bytes = self.arena.budget_bytes();
        let part = |node: &Node| {
            let all = node.limit_bytes.min(budget_bytes) / FAVOURED_SHARE;
            (all + own_bytes).saturating_sub(node.favoured_bytes).min(all / node.favoured.max(1))
        };
        let least = |shares: &Shares| shares.path(self.at).map(|at| part(&shares.nodes[at])).min();
        self.arena.with_shares(|shares, _| least(shares)).unwrap_or_default()
    }

    /// The arena that it is a part of.
    pub fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    /// Gives up what is guaranteed to it.
    pub fn give_up_minimum(&self) {
        self.arena.with_shares(|shares, _| shares.release(self.at));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.arena.with_shares(|shares, _| {
            shares.release(self.at);
            shares.nodes[self.at].in_use = false;
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
