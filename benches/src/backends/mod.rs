//! The engines that `compare` compares, each behind the same few operations of keyed state.
//!
//! A workload is written once, for any [`Backend`], and so is the check of its answers. What an engine does better in its own way
//! it does in its own way: [`ours`] has states, [`hash`] has one map for each, [`heap`] has timers only; the rest are ordered key-value stores ([`kv`]),
//! which keep state as Flink keeps it in RocksDB.

mod btree;
#[cfg(test)]
pub mod faulty;
#[cfg(feature = "peers")]
mod fjall;
mod hash;
mod heap;
mod kv;
#[cfg(feature = "peers")]
mod lmdb;
mod ours;
#[cfg(feature = "peers")]
mod redb;
#[cfg(feature = "peers")]
mod rocks;

use crate::harness::generate::Op;
use crate::harness::{Outcome, wrong};
use alluvium::{KeyGroup, KeyGroupRange};
use std::path::PathBuf;

pub use hash::Hash;
pub use ours::Ours;
/// Heaps of timers with sets of them.
pub type Heap = heap::Heap<true>;
/// Heaps of timers alone.
pub type PlainHeap = heap::Heap<false>;
/// All by a `BTreeMap`.
pub type BTree = kv::Keyed<btree::BTree>;
/// fjall.
#[cfg(feature = "peers")]
pub type Fjall = kv::Keyed<fjall::Fjall>;
/// LMDB.
#[cfg(feature = "peers")]
pub type Lmdb = kv::Keyed<lmdb::Lmdb>;
/// redb.
#[cfg(feature = "peers")]
pub type Redb = kv::Keyed<redb::Redb>;
/// RocksDB as Flink sets it up.
#[cfg(feature = "peers")]
pub type RocksFlink = kv::Keyed<rocks::Rocks<false>>;
/// RocksDB tuned.
#[cfg(feature = "peers")]
pub type RocksTuned = kv::Keyed<rocks::Rocks<true>>;

/// What a table holds for each cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One value.
    Value,
    /// Elements of this many bytes.
    List(usize),
    /// Values by user key, in order.
    Map,
    /// User keys in order, without values, for each key group: timers.
    Queue,
}

/// A table's place among those that were declared.
pub type Table = usize;

/// Where in a table: key and, where there is one, window.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// The key with its key group.
    pub op: Op,
    /// The window, as a namespace.
    window: Option<[u8; 8]>,
}

impl Cell {
    /// A key's cell outside of windows.
    pub fn of(op: Op) -> Self {
        Self { op, window: None }
    }

    /// A key's cell in a window.
    pub fn in_window(op: Op, window: u64) -> Self {
        Self { op, window: Some(window.to_be_bytes()) }
    }

    /// The window's bytes; none outside of windows.
    pub fn namespace(&self) -> &[u8] {
        self.window.as_ref().map_or(&[], |window| &window[..])
    }

    /// Bytes of key and window.
    pub fn bytes(&self) -> u64 {
        (self.op.bytes.len() + self.namespace().len()) as u64
    }
}

/// Where a backend is, and what it may use.
#[derive(Clone, Debug)]
pub struct Place {
    /// A directory: empty, or what the same backend left there.
    pub path: PathBuf,
    /// Memory for records, buffers and caches.
    pub budget_bytes: usize,
    /// The tables, always the same for a directory.
    pub tables: Vec<Kind>,
}

impl Place {
    /// A directory below this one with half of the memory, for one of two that have nothing in common.
    fn half(&self, half: u16) -> Outcome<Self> {
        let path = self.path.join(format!("half-{half}"));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path, budget_bytes: self.budget_bytes / 2, tables: self.tables.clone() })
    }
}

/// What stores of other key groups are made of.
#[derive(Debug)]
pub enum Source<B> {
    /// A directory with a checkpoint, which nobody has open.
    Checkpoint(Place),
    /// What has nothing but memory.
    Memory(B),
}

/// An engine, as workloads use it: by one thread.
pub trait Backend: Sized {
    /// What two threads have in common that each work on half of the key groups.
    type Common: Sync;

    /// Opens a directory: the newest checkpoint that is there, or nothing.
    fn open(place: &Place) -> Outcome<Self>;

    /// Opens a new directory for two threads.
    fn open_common(place: &Place) -> Outcome<Self::Common>;

    /// The lower (0) or the upper (1) half of the key groups, for the thread that asks.
    fn open_half(common: &Self::Common, half: u16) -> Outcome<Self>;

    /// Reads a value.
    fn get<R>(&mut self, table: Table, cell: &Cell, use_it: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R>;

    /// Writes a value.
    fn put(&mut self, table: Table, cell: &Cell, value: &[u8]) -> Outcome;

    /// Removes a value or a list.
    fn delete(&mut self, table: Table, cell: &Cell) -> Outcome;

    /// Reads a value and writes what `change` makes of it; `None` removes.
    fn update<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        cell: &Cell,
        change: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Outcome;

    /// These cells of these tables are the next to be worked on, in any way: whoever can fetch something ahead does.
    fn look_ahead<const N: usize>(&mut self, _tables: [Table; N], _cells: &[Cell]) {}

    /// Reads many values.
    fn get_many(&mut self, table: Table, cells: &[Cell], mut use_it: impl FnMut(usize, Option<&[u8]>)) -> Outcome {
        for (index, cell) in cells.iter().enumerate() {
            self.get(table, cell, |value| use_it(index, value))?;
        }
        Ok(())
    }

    /// Many updates, of one cell in order.
    fn update_many<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        cells: &[Cell],
        mut change: impl FnMut(usize, Option<&[u8]>) -> Option<V>,
    ) -> Outcome {
        for (index, cell) in cells.iter().enumerate() {
            self.update(table, cell, |old| change(index, old))?;
        }
        Ok(())
    }

    /// Appends to a list.
    fn append(&mut self, table: Table, cell: &Cell, element: &[u8]) -> Outcome;

    /// Writes a list over what is there.
    fn put_list(&mut self, table: Table, cell: &Cell, elements: &[&[u8]]) -> Outcome {
        self.delete(table, cell)?;
        self.append_all(table, cell, elements)
    }

    /// Appends several elements to a list.
    fn append_all(&mut self, table: Table, cell: &Cell, elements: &[&[u8]]) -> Outcome {
        elements.iter().try_for_each(|element| self.append(table, cell, element))
    }

    /// A list's elements, in order.
    fn list(&mut self, table: Table, cell: &Cell, use_it: impl FnMut(&[u8])) -> Outcome;

    /// Writes an entry of a map.
    fn map_put(&mut self, table: Table, cell: &Cell, user_key: &[u8], value: &[u8]) -> Outcome;

    /// Reads an entry of a map.
    fn map_get<R>(
        &mut self,
        table: Table,
        cell: &Cell,
        user_key: &[u8],
        use_it: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Outcome<R>;

    /// Removes an entry of a map.
    fn map_delete(&mut self, table: Table, cell: &Cell, user_key: &[u8]) -> Outcome;

    /// A map's entries from a user key on and below another, in order.
    fn map_scan(&mut self, table: Table, cell: &Cell, span: Span<'_>, visit: impl FnMut(&[u8], &[u8])) -> Outcome;

    /// Enters a user key into a key group's queue.
    fn enqueue(&mut self, table: Table, group: KeyGroup, user_key: &[u8]) -> Outcome;

    /// Takes all user keys below one out of a key group's queue, in order.
    fn dequeue(&mut self, table: Table, group: KeyGroup, below: &[u8], visit: impl FnMut(&[u8])) -> Outcome;

    /// Begins to make durable what is there; returns when the caller may go on.
    fn begin_checkpoint(&mut self) -> Outcome;

    /// Whether what was begun last is durable.
    fn checkpoint_is_complete(&mut self) -> Outcome<bool>;

    /// Makes durable what is there.
    fn checkpoint(&mut self) -> Outcome {
        self.begin_checkpoint()?;
        while !self.checkpoint_is_complete()? {
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        Ok(())
    }

    /// From now on a process that is killed comes back to its last checkpoint, and to nothing after it; false where it can't.
    fn keep_to_checkpoints(&mut self) -> bool {
        false
    }

    /// Ends it in order.
    fn close(self) -> Outcome;

    /// Ends it after a checkpoint, so that other stores can be made of what it has in its place.
    fn into_source(self, place: &Place) -> Outcome<Source<Self>> {
        self.close()?;
        Ok(Source::Checkpoint(place.clone()))
    }

    /// New stores for ranges of key groups, from stores that together have these. `group_of` gives a key's group, for those who
    /// don't keep it.
    fn rescale(
        sources: Vec<Source<Self>>,
        to: &[(Place, KeyGroupRange)],
        group_of: impl Fn(&[u8]) -> KeyGroup,
    ) -> Outcome<Vec<Self>> {
        let _ = (sources, to, group_of);
        wrong("it has no way to other key groups")
    }

    /// How many cells a table of values has.
    fn count(&mut self, table: Table) -> Outcome<u64> {
        wrong(format!("it can't say how many cells table {table} has"))
    }
}

/// User keys from `from` on and below `below`; without an end where that is empty.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// The first that belongs to it.
    pub from: &'a [u8],
    /// The first behind it.
    pub below: &'a [u8],
}

impl Span<'static> {
    /// All of a map.
    pub const ALL: Self = Self { from: &[], below: &[] };
}
