//! Schedules of lock-free readers beside an owner that inserts, swings, removes, updates in place and grows; and of a
//! flusher that reads what the owner supersedes.
//!
//! The code is what ships: `shared` on the reader's side, `Head`, `Record`, `DirtyList` and `Memory` on the owner's.
//! The steps of `Hot` itself are spelled out here, in its order. Blocks are reused at once where reclamation lets them,
//! for a record of another key with bytes that no reader may see.

mod commits;

use crate::hot::Memory;
use crate::hot::Probe;
use crate::hot::dirty::DirtyList;
use crate::hot::record::{BASE, CHAIN, DEAD, ENTRY, Parts, ROOT, Record, TOMBSTONE, VALUE, hash_entry};
use crate::hot::shared::{SharedChain, SharedGet, get_cell, get_chain, get_entry};
use crate::hot::table::{Head, Place};
use crate::platform::arena::{Arena, CHUNK_BYTES, Ref, Share};
use crate::platform::sync::atomic::Ordering;
use crate::platform::sync::gate::GatedCell;
use crate::platform::sync::reclaim::{Domain, Slot};
use crate::platform::sync::thread;
use std::sync::Arc;

const KEY: &[u8] = b"key";
const OTHER: &[u8] = b"another";
const REUSED: [u8; 16] = [0xEE; 16];
const FLUSHED: u32 = 4;
const CURRENT: u32 = 6;

fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// Models tell records by small hashes, all of one home: the tag is the first byte of the key.
fn hash(area: &[u8]) -> u64 {
    u64::from(area[0])
}

fn probe(area: &[u8]) -> Probe<'_> {
    Probe { state: 0, group: 0, area, namespaced: false, hash: hash(area) }
}

fn value(n: u8) -> [u8; 16] {
    [n; 16]
}

/// What owner and readers share.
struct Table {
    arena: Arc<Arena>,
    head: Head,
}

/// What the owner has of it.
struct Owner {
    table: Arc<Table>,
    memory: Memory,
    dirty: DirtyList,
}

fn set_up(chunks: usize) -> (Owner, Reader) {
    let arena = Arc::new(Arena::new(chunks * CHUNK_BYTES, (chunks + 1) * CHUNK_BYTES).unwrap());
    let domain = crate::platform::sync::Arc::new(Domain::new());
    let memory = Memory::new(Arc::clone(&arena), &Share::of(&arena), &domain);
    let table = Arc::new(Table { arena, head: Head::default() });
    let reader = Reader { table: Arc::clone(&table), slot: Domain::register(&domain) };
    (Owner { table, memory, dirty: DirtyList::default() }, reader)
}

impl Owner {
    fn create(&mut self, tag: u8, stamp: u32, link: u64, area: &[u8], value: &[u8]) -> Record {
        let parts = Parts { tag, stamp, link, expiry_ms: 0, area, value: [value, &[]], spare: 0 };
        Record::create(&mut self.memory, parts).unwrap()
    }

    fn insert(&mut self, tag: u8, stamp: u32, area: &[u8], value: &[u8]) -> Record {
        let record = self.create(tag, stamp, 0, area, value);
        self.add(hash(area), record);
        record
    }

    fn add(&mut self, hash: u64, record: Record) {
        let hash_of = |arena: &Arena, at: Ref| {
            let mut first = Vec::new();
            arena.read_words(Record::load(arena, at).area_at(), 1, &mut first);
            u64::from(first[0])
        };
        self.table.head.insert(&mut self.memory, hash, record.at, &hash_of).unwrap();
    }

    fn find(&self, hash: u64, record: Record) -> Place {
        self.table.head.find(&self.table.arena, hash, |at| at == record.at).unwrap().1
    }

    fn swing(&mut self, area: &[u8], old: Record, new: Record) {
        self.find(hash(area), old).swing(&self.table.arena, new.at);
    }

    fn remove(&mut self, hash: u64, record: Record) {
        self.table.head.remove(&self.table.arena, self.find(hash, record));
    }

    /// As `Hot::dispose` does with a clean record.
    fn retire(&mut self, mut record: Record) {
        record.set_tag(&self.table.arena, DEAD);
        self.memory.retire_record(record.at, record.class());
    }

    /// As `Hot::dispose` does with one of the current epoch.
    fn bury(&mut self, mut record: Record) {
        self.dirty.bury(&self.table.arena, &mut record);
    }

    /// Takes back what no reader keeps, and writes over as much of it as there is: with records that a reader which
    /// should not be there takes for its own, and then finds [`REUSED`] in.
    fn reuse(&mut self, blocks: usize) {
        self.memory.collect();
        for _ in 0..blocks {
            self.create(VALUE, CURRENT, 0, KEY, &REUSED);
        }
    }
}

struct Reader {
    table: Arc<Table>,
    slot: Slot,
}

impl Reader {
    /// The value's first byte, the stamp, and whether it is a tombstone; all bytes are the same.
    fn get(&self, area: &[u8]) -> Option<(u8, u32, u8)> {
        let _pin = self.slot.pin();
        let mut out = Vec::new();
        let seen = get_cell(&self.table.head, &self.table.arena, &probe(area), &mut out);
        Self::judge(seen, &out)
    }

    fn judge(seen: SharedGet, out: &[u8]) -> Option<(u8, u32, u8)> {
        let first = out.first().copied().unwrap_or_default();
        assert!(out.iter().all(|&byte| byte == first), "a torn value: {out:?}");
        assert!(first != REUSED[0], "reused memory");
        match seen {
            SharedGet::Found { kind, stamp, .. } => Some((first, stamp, kind)),
            SharedGet::Absent => None,
            // As if it had asked the owner: nothing to be judged.
            SharedGet::Contended => Some((0, 0, 0)),
        }
    }
}

/// A reader that looks once while `change` runs; all that it may say passes `judge`.
fn beside(
    preemptions: usize,
    prepare: impl Fn(&mut Owner) -> Record + Sync + Send + 'static,
    change: impl Fn(&mut Owner, Record) + Sync + Send + 'static,
    judge: impl Fn(Option<(u8, u32, u8)>) + Copy + Sync + Send + 'static,
) {
    bounded(preemptions, move || {
        let (mut owner, reader) = set_up(3);
        let record = prepare(&mut owner);
        let reading = thread::spawn(move || judge(reader.get(KEY)));
        change(&mut owner, record);
        reading.join().unwrap();
    });
}

/// The same for a reader of what is committed.
fn beside_commits(
    preemptions: usize,
    prepare: impl Fn(&mut Owner, &commits::Transaction) -> Record + Sync + Send + 'static,
    change: impl Fn(&mut Owner, &commits::Transaction, Record) + Sync + Send + 'static,
    judge: impl Fn(Option<(u8, u32, u8)>) + Copy + Sync + Send + 'static,
) {
    bounded(preemptions, move || {
        let (mut owner, reader) = set_up(4);
        let transaction = Arc::new(commits::Transaction::default());
        let record = prepare(&mut owner, &transaction);
        let of_reader = Arc::clone(&transaction);
        let reading = thread::spawn(move || judge(reader.get_committed(&of_reader)));
        change(&mut owner, &transaction, record);
        reading.join().unwrap();
    });
}

#[test]
fn loom_hot_insert_is_seen_whole() {
    bounded(6, || {
        let (mut owner, reader) = set_up(3);
        let reading = thread::spawn(move || {
            let first = reader.get(KEY);
            assert!(matches!(first, None | Some((1, CURRENT, VALUE))), "{first:?}");
            assert!(first.is_none() || reader.get(KEY) == first, "it went again");
        });
        owner.insert(VALUE, CURRENT, KEY, &value(1));
        reading.join().unwrap();
    });
}

#[test]
fn loom_hot_swing_of_a_clean_record() {
    beside(
        5,
        |owner| owner.insert(VALUE, FLUSHED, KEY, &value(1)),
        |owner, old| {
            let new = owner.create(VALUE, CURRENT, 0, KEY, &value(2));
            owner.swing(KEY, old, new);
            owner.retire(old);
            owner.reuse(1);
        },
        |seen| assert!(matches!(seen, Some((1, FLUSHED, VALUE) | (2, CURRENT, VALUE) | (0, 0, 0))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_swing_of_a_record_of_the_current_epoch() {
    beside(
        4,
        |owner| {
            let record = owner.insert(VALUE, CURRENT, KEY, &value(1));
            owner.dirty.push(&mut owner.memory, record.at).unwrap();
            record
        },
        |owner, old| {
            let new = owner.create(VALUE, CURRENT, 0, KEY, &value(2));
            owner.swing(KEY, old, new);
            owner.bury(old);
            owner.dirty.free_dead(&mut owner.memory, 1);
            owner.reuse(1);
        },
        |seen| assert!(matches!(seen, Some((1 | 2, CURRENT, VALUE) | (0, 0, 0))), "{seen:?}"),
    );
}

/// A reader that was stopped in the middle of its copy found the sequence as it had been at first: the link to no other
/// dead record, where the sequence was.
#[test]
fn loom_hot_change_in_place_and_burial() {
    beside(
        4,
        |owner| {
            let record = owner.insert(VALUE, CURRENT, KEY, &value(1));
            owner.dirty.push(&mut owner.memory, record.at).unwrap();
            record
        },
        |owner, mut old| {
            old.replace(&owner.table.arena, old.tag(), None, &value(2));
            let new = owner.create(VALUE, CURRENT, 0, KEY, &value(3));
            owner.swing(KEY, old, new);
            owner.bury(old);
        },
        |seen| assert!(matches!(seen, Some((1..=3, CURRENT, VALUE) | (0, 0, 0))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_one_swing_is_never_contended() {
    // Two looks suffice for one change: the second finds what took the place of the dead.
    beside(
        6,
        |owner| owner.insert(VALUE, FLUSHED, KEY, &value(1)),
        |owner, old| {
            let new = owner.create(VALUE, CURRENT, 0, KEY, &value(2));
            owner.swing(KEY, old, new);
            owner.retire(old);
        },
        |seen| assert!(matches!(seen, Some((1 | 2, _, VALUE))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_remove_and_reuse() {
    beside(
        5,
        |owner| owner.insert(VALUE, CURRENT, KEY, &value(1)),
        |owner, old| {
            owner.remove(hash(KEY), old);
            owner.retire(old);
            owner.reuse(1);
        },
        |seen| assert!(matches!(seen, None | Some((1, CURRENT, VALUE) | (0, 0, 0))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_slot_and_block_are_used_again() {
    // The slot still names the block that went: whoever sees its new tag must see its new reference.
    beside(
        4,
        |owner| owner.insert(VALUE, CURRENT, KEY, &value(1)),
        |owner, old| {
            let new = owner.create(VALUE, CURRENT, 0, KEY, &value(2));
            owner.remove(hash(KEY), old);
            owner.retire(old);
            owner.reuse(1);
            owner.add(hash(KEY), new);
        },
        |seen| assert!(matches!(seen, None | Some((1 | 2, CURRENT, VALUE) | (0, 0, 0))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_update_in_place_of_several_words() {
    beside(
        4,
        |owner| owner.insert(VALUE, CURRENT, KEY, &value(1)),
        |owner, mut record| record.replace(&owner.table.arena, VALUE, None, &value(2)),
        |seen| assert!(matches!(seen, Some((1 | 2, CURRENT, VALUE) | (0, 0, 0))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_claimed_and_updated_in_place() {
    beside(
        2,
        |owner| owner.insert(VALUE, FLUSHED - 1, KEY, &value(1)),
        |owner, mut record| {
            record.set_stamp(&owner.table.arena, CURRENT);
            record.replace(&owner.table.arena, VALUE, None, &value(2));
        },
        |seen| assert!(matches!(seen, Some((1, _, VALUE) | (2, CURRENT, VALUE) | (0, 0, 0))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_a_stamp_alone_goes_with_the_value_before_it() {
    beside(
        3,
        |owner| owner.insert(VALUE, FLUSHED, KEY, &value(1)),
        |owner, mut record| {
            record.replace(&owner.table.arena, VALUE, None, &value(2));
            record.set_stamp(&owner.table.arena, CURRENT);
        },
        // Whoever sees the stamp sees the value that was there before it.
        |seen| assert!(matches!(seen, Some((1 | 2, FLUSHED, VALUE) | (2, CURRENT, VALUE) | (0, 0, 0))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_update_in_place_of_one_word() {
    beside(
        8,
        |owner| owner.insert(VALUE, CURRENT, KEY, &[1; 8]),
        |owner, mut record| {
            record.replace(&owner.table.arena, VALUE, None, &[2; 8]);
            record.replace(&owner.table.arena, VALUE, None, &[3; 8]);
        },
        // Without the sequence: such an update never makes a reader look again.
        |seen| assert!(matches!(seen, Some((1..=3, CURRENT, VALUE))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_delete_in_place_leaves_a_tombstone() {
    beside(
        3,
        |owner| owner.insert(VALUE, CURRENT, KEY, &value(1)),
        |owner, mut record| {
            record.replace(&owner.table.arena, TOMBSTONE, None, &[]);
            record.replace(&owner.table.arena, VALUE, None, &[2; 8]);
        },
        |seen| assert!(matches!(seen, Some((1 | 2, _, VALUE) | (0, _, TOMBSTONE) | (0, 0, 0))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_page_grows_under_a_reader() {
    bounded(5, || {
        let (mut owner, reader) = set_up(4);
        // A full bucket; the thirteenth makes the page grow. The key's record is the last one looked at.
        for n in 0..11 {
            owner.insert(VALUE, CURRENT, &[n + 1], &[]);
        }
        owner.insert(VALUE, CURRENT, KEY, &[1; 8]);
        let reading = thread::spawn(move || assert_eq!(reader.get(KEY), Some((1, CURRENT, VALUE))));
        owner.insert(VALUE, CURRENT, OTHER, &[9; 8]);
        // What was the old page is written over, if the reader has left it.
        owner.memory.collect();
        if let Some((at, _)) = owner.memory.allocate_index(64) {
            owner.table.arena.word(at).store(u64::MAX, Ordering::Relaxed);
        }
        reading.join().unwrap();
    });
}

#[test]
fn loom_hot_entry_beside_its_container_s_end() {
    bounded(4, || {
        let (mut owner, reader) = set_up(3);
        let root = owner.insert(ROOT, 0, KEY, &[0; 16]);
        let entry = owner.create(ENTRY, CURRENT, u64::from(root.at), b"user", &value(1));
        let entry_hash = hash_entry(b"user", hash(KEY));
        owner.add(entry_hash, entry);
        let reading = thread::spawn(move || {
            let _pin = reader.slot.pin();
            let mut out = Vec::new();
            let seen =
                get_entry(&reader.table.head, &reader.table.head, &reader.table.arena, &probe(KEY), b"user", &mut out);
            let seen = Reader::judge(seen, &out);
            assert!(matches!(seen, None | Some((1, CURRENT, ENTRY) | (0, 0, 0))), "{seen:?}");
        });
        owner.remove(entry_hash, entry);
        owner.retire(entry);
        owner.remove(hash(KEY), root);
        owner.retire(root);
        owner.memory.collect();
        for _ in 0..2 {
            owner.create(ENTRY, CURRENT, u64::from(root.at), b"user", &REUSED);
        }
        reading.join().unwrap();
    });
}

/// A range is cut out of a map, an entry is put anew, and the old one is freed: who saw the new one never sees the old one
/// again, nor none.
#[test]
fn loom_hot_cut_and_put_anew() {
    bounded(3, || {
        let (mut owner, reader) = set_up(3);
        let root = owner.insert(ROOT, 0, KEY, &[]);
        let entry_hash = hash_entry(b"user", hash(KEY));
        let old = owner.create(ENTRY, CURRENT, u64::from(root.at), b"user", &value(1));
        owner.table.head.insert(&mut owner.memory, entry_hash, old.at, &|_, _| entry_hash).unwrap();
        let reading = thread::spawn(move || {
            let look = || {
                let _pin = reader.slot.pin();
                let mut out = Vec::new();
                let head = &reader.table.head;
                let seen = get_entry(head, head, &reader.table.arena, &probe(KEY), b"user", &mut out);
                Reader::judge(seen, &out)
            };
            let (first, second) = (look(), look());
            for seen in [first, second] {
                assert!(matches!(seen, None | Some((1 | 2, CURRENT, ENTRY) | (0, 0, 0))), "{seen:?}");
            }
            if matches!(first, Some((2, ..))) {
                assert!(matches!(second, Some((2, CURRENT, ENTRY) | (0, 0, 0))), "{second:?} after the new one");
            }
        });
        // As `Hot::cut`, `Hot::put_entry` and `Hot::free_cut_off` do.
        root.set_link(&owner.table.arena, 1 | 1 << 32);
        let new = owner.create(ENTRY, CURRENT, u64::from(root.at) | 1 << 32, b"user", &value(2));
        owner.table.head.insert(&mut owner.memory, entry_hash, new.at, &|_, _| entry_hash).unwrap();
        owner.remove(entry_hash, old);
        owner.retire(old);
        root.set_link(&owner.table.arena, 1 << 32);
        owner.reuse(1);
        reading.join().unwrap();
    });
}

/// The elements of a list, oldest first; `None` where the reader was told to ask the owner.
fn list(reader: &Reader) -> Option<(Vec<u8>, bool)> {
    let _pin = reader.slot.pin();
    let (mut chunks, mut out) = (Vec::new(), Vec::new());
    match get_chain(&reader.table.head, &reader.table.arena, &probe(KEY), &mut chunks, &mut out) {
        SharedChain::Found { complete, .. } => {
            let list = chunks.iter().rev().flat_map(|chunk| out[chunk.bytes.clone()].to_vec()).collect();
            Some((list, complete))
        }
        SharedChain::Absent => panic!("the list was there all the time"),
        SharedChain::Contended => None,
    }
}

#[test]
fn loom_hot_chain_grows_in_place_and_by_a_chunk() {
    bounded(3, || {
        let (mut owner, reader) = set_up(3);
        let mut first = owner.insert(CHAIN | BASE, CURRENT - 1, KEY, b"z");
        let reading = thread::spawn(move || {
            let seen = list(&reader);
            let known = [&b"z"[..], b"zab", b"zabc"];
            assert!(seen.is_none_or(|(list, complete)| complete && known.contains(&&list[..])));
        });
        // The element in two parts, as append puts the frame before it.
        first.extend(&owner.table.arena, [b"a", b"b"], None);
        let second = owner.create(CHAIN, CURRENT, u64::from(first.at), KEY, b"c");
        owner.swing(KEY, first, second);
        reading.join().unwrap();
    });
}

#[test]
fn loom_hot_chain_is_joined_below_its_head() {
    bounded(4, || {
        let (mut owner, reader) = set_up(3);
        let oldest = owner.create(CHAIN | BASE, FLUSHED - 1, 0, KEY, b"a");
        let older = owner.create(CHAIN, FLUSHED, u64::from(oldest.at), KEY, b"b");
        let head = owner.create(CHAIN, CURRENT, u64::from(older.at), KEY, b"c");
        owner.add(hash(KEY), head);
        let reading = thread::spawn(move || {
            let seen = list(&reader);
            assert!(seen.as_ref().is_none_or(|(list, complete)| *complete && list == b"abc"), "{seen:?}");
        });
        let joined = owner.create(CHAIN | BASE, FLUSHED, 0, KEY, b"ab");
        head.set_link(&owner.table.arena, u64::from(joined.at));
        owner.retire(older);
        owner.retire(oldest);
        owner.reuse(2);
        reading.join().unwrap();
    });
}

#[test]
fn loom_hot_chain_is_cut_or_completed_below_its_head() {
    bounded(4, || {
        let (mut owner, reader) = set_up(3);
        let older = owner.create(CHAIN, FLUSHED, 0, KEY, b"b");
        let head = owner.create(CHAIN, CURRENT, u64::from(older.at), KEY, b"c");
        owner.add(hash(KEY), head);
        let reading = thread::spawn(move || {
            // With `ab` on disk: what is flushed counts from there where the chain is incomplete.
            let known = [(&b"bc"[..], false), (b"c", false), (b"abc", true)];
            let seen = list(&reader);
            assert!(seen.as_ref().is_none_or(|(list, complete)| known.contains(&(&list[..], *complete))), "{seen:?}");
        });
        head.set_link(&owner.table.arena, 0);
        owner.retire(older);
        let base = owner.create(VALUE, FLUSHED, 0, KEY, b"ab");
        head.set_link(&owner.table.arena, u64::from(base.at));
        owner.reuse(1);
        reading.join().unwrap();
    });
}

/// A shard behind its gate: enough of `Hot` to seal, supersede and learn of a flush.
struct Shard {
    owner: Owner,
    record: Record,
    current: u32,
    flushed: u32,
    sealed: Option<(u32, DirtyList)>,
    superseded: Vec<Record>,
}

impl Shard {
    fn seal(&mut self) {
        let list = std::mem::take(&mut self.owner.dirty);
        self.sealed = Some((self.current, list));
        self.current += 1;
    }

    /// The stamp rule.
    fn update(&mut self, value: &[u8]) {
        let stamp = self.record.stamp(&self.owner.table.arena);
        if stamp == self.current || stamp <= self.flushed {
            if stamp != self.current {
                self.owner.dirty.push(&mut self.owner.memory, self.record.at).unwrap();
                self.record.set_stamp(&self.owner.table.arena, self.current);
            }
            self.record.replace(&self.owner.table.arena, VALUE, None, value);
            return;
        }
        let new = self.owner.create(VALUE, self.current, 0, KEY, value);
        self.owner.dirty.push(&mut self.owner.memory, new.at).unwrap();
        self.owner.swing(KEY, self.record, new);
        self.superseded.push(self.record);
        self.record = new;
    }

    fn adopt_flushed(&mut self) {
        if let Some((epoch, mut list)) = self.sealed.take() {
            self.flushed = epoch;
            while list.pop_block(&mut self.owner.memory) {}
            for record in std::mem::take(&mut self.superseded) {
                self.owner.retire(record);
            }
            self.owner.reuse(1);
        }
    }
}

#[test]
fn loom_hot_flusher_reads_what_the_owner_supersedes() {
    bounded(4, || {
        let (mut owner, _) = set_up(3);
        let record = owner.insert(VALUE, CURRENT, KEY, &value(1));
        owner.dirty.push(&mut owner.memory, record.at).unwrap();
        let arena = Arc::clone(&owner.table.arena);
        let (sealed, superseded) = (None, Vec::new());
        let shard = Shard { owner, record, current: CURRENT, flushed: FLUSHED, sealed, superseded };
        let cell = crate::platform::sync::Arc::new(GatedCell::new(shard));
        let mut token = GatedCell::claim(&cell).unwrap();
        // An engine thread cuts the epoch of an owner that may be idle, and flushes what it cut.
        let flusher = thread::spawn(move || {
            let (epoch, list) = {
                let mut shard = cell.borrow();
                shard.seal();
                shard.sealed.unwrap()
            };
            list.for_each(&arena, |at| {
                let mut out = Vec::new();
                let record = Record::copy(&arena, at, &mut out).unwrap().record;
                assert_eq!((record.kind(), record.stamp(&arena)), (VALUE, epoch));
                // As it was when the epoch was cut: before the owner's update, or after it.
                assert!(out == value(1) || out == value(2), "{out:?}");
            });
            cell.borrow().adopt_flushed();
        });
        token.enter().update(&value(2));
        flusher.join().unwrap();
        let mut shard = token.enter();
        let mut out = Vec::new();
        Record::copy(&shard.owner.table.arena, shard.record.at, &mut out).unwrap();
        assert_eq!(out, value(2));
        assert_eq!((shard.current, shard.flushed), (CURRENT + 1, CURRENT));
        shard.owner.reuse(1);
    });
}
