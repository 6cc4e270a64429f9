//! Every allocation of every operation refused, one at a time: the operation makes room, is run again from where it halted or from its
//! beginning, and comes to what it would have come to, beside a model; so do what is committed, logged and on disk afterwards. And again with
//! the one refused that is asked for next.

use crate::batch::{Batch, Operation};
use crate::commit::Commit;
use crate::cursor::Cursor;
use crate::engine::Engine;
use crate::ids::KeyGroup;
use crate::key::Key;
use crate::options::{Durability, EngineOptions, StoreOptions};
use crate::packed::Packed;
use crate::scan::MapRange;
use crate::states::{Merge, MergeOperator, StateOptions};
use crate::store::{State, Store};
use crate::writer::Writer;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

mod batches;
mod events;
mod queues;

type Bytes = Vec<u8>;

/// What is in the store: cells, counters, what is joined and lists by key and namespace, maps.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Model {
    cells: BTreeMap<u8, Bytes>,
    sums: BTreeMap<u8, u64>,
    joined: BTreeMap<(u8, u8), Bytes>,
    lists: BTreeMap<(u8, u8), Vec<Bytes>>,
    maps: BTreeMap<u8, BTreeMap<u64, Bytes>>,
}

#[derive(Clone, Copy, Debug)]
struct States {
    cells: State,
    sums: State,
    joined: State,
    lists: State,
    maps: State,
}

/// An operator of the host's: one behind the other.
struct Join;

impl Merge for Join {
    fn name(&self) -> &str {
        "join"
    }

    fn merge(&self, older: &[u8], newer: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(older);
        out.extend_from_slice(newer);
    }
}

const KEYS: u8 = 4;
const ENTRIES: u64 = 25;

fn key(bytes: &[u8; 1]) -> Key<'_> {
    Key::new(KeyGroup(u16::from(bytes[0] % 2)), bytes)
}

fn value(n: u64) -> Bytes {
    vec![n as u8; [8, 40, 8, 300, 8, 70, 2_000][n as usize % 7]]
}

impl States {
    fn of(store: &Store, traced: bool) -> Self {
        let state = |options: StateOptions| store.state(if traced { options.traced() } else { options }).unwrap();
        Self {
            cells: state(StateOptions::value("cells")),
            sums: state(StateOptions::merging("sums", MergeOperator::U64Add)),
            joined: state(StateOptions::merging("joined", MergeOperator::User(Arc::new(Join)))),
            lists: state(StateOptions::list("lists")),
            maps: state(StateOptions::map("maps")),
        }
    }

    /// Makes it all what it is at the beginning.
    fn fill(self, writer: &mut Writer, salt: u64) -> Model {
        let mut model = Model::default();
        for n in 0..KEYS {
            let (bytes, salted) = ([n], salt + u64::from(n));
            let key = key(&bytes);
            writer.put(self.cells, key, &value(salted)).unwrap();
            model.cells.insert(n, value(salted));
            writer.delete(self.sums, key).unwrap();
            writer.merge(self.sums, key, &salted.to_le_bytes()).unwrap();
            model.sums.insert(n, salted);
            for namespace in 0..3_u8 {
                let elements = [value(salted), value(salted + 1)];
                let count = usize::from(namespace);
                let given: Vec<&[u8]> = elements[..count].iter().map(Vec::as_slice).collect();
                writer.put_list(self.lists, key.in_namespace(&[namespace]), &given).unwrap();
                model.lists.insert((n, namespace), elements[..count].to_vec());
                writer.delete(self.joined, key.in_namespace(&[namespace])).unwrap();
                for operand in given {
                    writer.merge(self.joined, key.in_namespace(&[namespace]), operand).unwrap();
                    model.joined.entry((n, namespace)).or_default().extend_from_slice(operand);
                }
            }
            writer.map_clear(self.maps, key).unwrap();
            for entry in 0..ENTRIES {
                writer.map_put(self.maps, key, &entry.to_be_bytes(), &value(salted + entry)).unwrap();
            }
            model.maps.insert(n, (0..ENTRIES).map(|entry| (entry, value(salted + entry))).collect());
        }
        model
    }

    /// All that there is.
    fn all(self, writer: &mut Writer) -> Model {
        let mut model = Model::default();
        for n in 0..KEYS {
            let bytes = [n];
            let key = key(&bytes);
            model.cells.extend(writer.get(self.cells, key).unwrap().map(|value| (n, value)));
            let sum = writer.get(self.sums, key).unwrap();
            model.sums.extend(sum.map(|sum| (n, u64::from_le_bytes(sum.try_into().unwrap()))));
            for namespace in 0..3 {
                let list = writer.list(self.lists, key.in_namespace(&[namespace])).unwrap();
                model.lists.insert((n, namespace), list);
                let joined = writer.get(self.joined, key.in_namespace(&[namespace])).unwrap();
                model.joined.extend(joined.map(|joined| ((n, namespace), joined)));
            }
            let mut map = BTreeMap::new();
            let visit = |entry: &[u8], value: &[u8]| {
                map.insert(u64::from_be_bytes(entry.try_into().unwrap()), value.to_vec());
                ControlFlow::Continue(())
            };
            writer.map_scan(self.maps, key, &MapRange::all(), visit).unwrap();
            model.maps.insert(n, map);
        }
        model
    }
}

/// One operation on the store, which is done to the model, too; what it gives is that of the model.
type Operate = fn(&mut Writer, States, &mut Model);

const NEW: [u8; 1] = [3];
const OLD: [u8; 1] = [1];

fn pop_below(writer: &mut Writer, states: States, model: &mut Model, to: u64) {
    let mut popped = BTreeMap::new();
    let take = |entry: &[u8], value: &[u8]| {
        popped.insert(u64::from_be_bytes(entry.try_into().unwrap()), value.to_vec());
    };
    writer.map_pop_below(states.maps, key(&OLD), &to.to_be_bytes(), take).unwrap();
    let map = model.maps.get_mut(&OLD[0]).unwrap();
    let rest = map.split_off(&to);
    assert_eq!(popped, std::mem::replace(map, rest), "what was popped");
}

const OPERATIONS: &[(&str, Operate)] = &[
    ("put", |writer, states, model| {
        writer.put(states.cells, key(&OLD), &value(3)).unwrap();
        model.cells.insert(OLD[0], value(3));
    }),
    ("delete", |writer, states, model| {
        writer.delete(states.cells, key(&OLD)).unwrap();
        model.cells.remove(&OLD[0]);
    }),
    ("update", |writer, states, model| {
        let mut old = None;
        let change = |found: Option<&[u8]>| {
            old = found.map(<[u8]>::to_vec);
            Some(value(10))
        };
        writer.update(states.cells, key(&OLD), change).unwrap();
        assert_eq!(old, model.cells.insert(OLD[0], value(10)));
    }),
    ("update that deletes", |writer, states, model| {
        writer.update(states.cells, key(&OLD), |_| None::<Bytes>).unwrap();
        model.cells.remove(&OLD[0]);
    }),
    ("update_many", |writer, states, model| {
        let keys: Vec<[u8; 1]> = [0, 1, 0, 2, 1].map(|n| [n]).to_vec();
        let keys: Vec<Key<'_>> = keys.iter().map(key).collect();
        let grown = |old: Option<&[u8]>| Some([old.unwrap_or_default(), &[1; 30]].concat());
        writer.update_many(states.cells, &keys, |_, old| grown(old)).unwrap();
        for n in [0, 1, 0, 2, 1] {
            let grown = grown(model.cells.get(&n).map(Vec::as_slice));
            model.cells.extend(grown.map(|value| (n, value)));
        }
    }),
    ("get_many", |writer, states, model| {
        let mut found = BTreeMap::new();
        let (keys, names) = ([[0], [1], [3]], [0, 1, 3]);
        let keys: Vec<Key<'_>> = keys.iter().map(key).collect();
        let take = |at: usize, value: Option<&[u8]>| found.extend(value.map(|value| (names[at], value.to_vec())));
        writer.get_many(states.cells, &keys, take).unwrap();
        assert!(found.iter().all(|(n, value)| model.cells.get(n) == Some(value)) && found.len() == 3);
    }),
    ("merge", |writer, states, model| {
        writer.merge(states.sums, key(&OLD), &5_u64.to_le_bytes()).unwrap();
        *model.sums.get_mut(&OLD[0]).unwrap() += 5;
    }),
    ("merge by the host's operator", |writer, states, model| {
        writer.merge(states.joined, key(&OLD).in_namespace(&[2]), b"end").unwrap();
        model.joined.get_mut(&(OLD[0], 2)).unwrap().extend_from_slice(b"end");
    }),
    ("merge_namespaces by the host's operator", |writer, states, model| {
        writer.merge_namespaces(states.joined, key(&OLD).in_namespace(&[0]), &[&[2], &[1], &[2]]).unwrap();
        let moved = [2, 1].map(|namespace| model.joined.remove(&(OLD[0], namespace)).unwrap());
        model.joined.insert((OLD[0], 0), moved.concat());
    }),
    ("append", |writer, states, model| {
        writer.append(states.lists, key(&OLD).in_namespace(&[1]), &value(6)).unwrap();
        model.lists.get_mut(&(OLD[0], 1)).unwrap().push(value(6));
    }),
    ("append_all", |writer, states, model| {
        let elements = [value(7), value(8)];
        writer.append_all(states.lists, key(&OLD).in_namespace(&[1]), &[&elements[0], &elements[1]]).unwrap();
        model.lists.get_mut(&(OLD[0], 1)).unwrap().extend(elements);
    }),
    ("put_list", |writer, states, model| {
        let elements = [value(3), value(4)];
        writer.put_list(states.lists, key(&OLD).in_namespace(&[2]), &[&elements[0], &elements[1]]).unwrap();
        model.lists.insert((OLD[0], 2), elements.to_vec());
    }),
    ("merge_namespaces", |writer, states, model| {
        writer.merge_namespaces(states.lists, key(&OLD).in_namespace(&[0]), &[&[1], &[2]]).unwrap();
        let moved = [1, 2].map(|namespace| std::mem::take(model.lists.get_mut(&(OLD[0], namespace)).unwrap()));
        model.lists.get_mut(&(OLD[0], 0)).unwrap().extend(moved.concat());
    }),
    ("map_put of a new entry", |writer, states, model| {
        writer.map_put(states.maps, key(&OLD), &100_u64.to_be_bytes(), &value(1)).unwrap();
        model.maps.get_mut(&OLD[0]).unwrap().insert(100, value(1));
    }),
    ("map_put of an old one", |writer, states, model| {
        writer.map_put(states.maps, key(&OLD), &7_u64.to_be_bytes(), &value(3)).unwrap();
        model.maps.get_mut(&OLD[0]).unwrap().insert(7, value(3));
    }),
    ("map_delete", |writer, states, model| {
        writer.map_delete(states.maps, key(&OLD), &7_u64.to_be_bytes()).unwrap();
        model.maps.get_mut(&OLD[0]).unwrap().remove(&7);
    }),
    ("map_delete_range", |writer, states, model| {
        let (from, to) = (5_u64.to_be_bytes(), 12_u64.to_be_bytes());
        let range = MapRange::between(Bound::Included(&from), Bound::Excluded(&to));
        writer.map_delete_range(states.maps, key(&OLD), &range).unwrap();
        model.maps.get_mut(&OLD[0]).unwrap().retain(|entry, _| !(5..12).contains(entry));
    }),
    ("map_clear", |writer, states, model| {
        writer.map_clear(states.maps, key(&OLD)).unwrap();
        model.maps.get_mut(&OLD[0]).unwrap().clear();
    }),
    ("map_pop_first", |writer, states, model| {
        let popped = writer.map_pop_first(states.maps, key(&OLD)).unwrap();
        let first = model.maps.get_mut(&OLD[0]).unwrap().pop_first();
        assert_eq!(popped, first.map(|(entry, value)| (entry.to_be_bytes().to_vec(), value)));
    }),
    ("map_pop_below", |writer, states, model| pop_below(writer, states, model, 15)),
    ("map_pop_below everything", |writer, states, model| pop_below(writer, states, model, u64::MAX)),
    ("fetch by cursor", |writer, states, model| {
        let mut cursor = Cursor::entries(states.maps, key(&OLD), &MapRange::all());
        let (mut out, mut seen) = (Packed::new(4, 10_000), BTreeMap::new());
        while writer.fetch(&mut cursor, &mut out).unwrap() {
            let entries = out.iter().map(|found| (found.user_key.try_into().unwrap(), found.value.to_vec()));
            seen.extend(entries.map(|(entry, value)| (u64::from_be_bytes(entry), value)));
        }
        assert_eq!(seen, model.maps[&OLD[0]]);
    }),
    ("submit", batches::submit),
    ("a batch", |writer, states, model| {
        let (entry, range) = (9_u64.to_be_bytes(), MapRange::all());
        let (put, sum, element) = (value(24), 2_u64.to_le_bytes(), value(2));
        let mut batch = Batch::new();
        batch.push(states.cells, key(&NEW), Operation::Put(&put));
        batch.push(states.sums, key(&OLD), Operation::Merge(&sum));
        batch.push(states.lists, key(&OLD).in_namespace(&[1]), Operation::Append(&element));
        batch.push(states.maps, key(&NEW), Operation::MapDeleteRange(&range));
        batch.push(states.maps, key(&NEW), Operation::MapPut(&entry, &put));
        writer.apply(&batch).unwrap();
        model.cells.insert(NEW[0], put.clone());
        *model.sums.get_mut(&OLD[0]).unwrap() += 2;
        model.lists.get_mut(&(OLD[0], 1)).unwrap().push(element);
        model.maps.insert(NEW[0], BTreeMap::from([(9, put)]));
    }),
];

/// A store, and where its records are before an operation.
struct Scene {
    directory: tempfile::TempDir,
    engine: Engine,
    options: StoreOptions,
    /// Whether its states are.
    traced: bool,
    open: Option<(Store, Writer, States)>,
    label: u64,
}

/// Places of what there is before an operation: dirty in memory, clean in memory, on disk alone, and half of it brought back from there.
const PLACES: usize = 4;

impl Scene {
    fn new(options: &StoreOptions, traced: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 16 << 20, ..Default::default() }).unwrap();
        let mut scene = Self { directory, engine, options: options.clone(), traced, open: None, label: 0 };
        scene.reopen();
        scene
    }

    fn reopen(&mut self) {
        if let Some((store, writer, _)) = self.open.take() {
            drop(writer);
            store.close().unwrap();
        }
        let store = Store::open_or_create(&self.engine, self.directory.path(), self.options.clone()).unwrap();
        let states = States::of(&store, self.traced);
        events::register(&store, states);
        let writer = store.writer(store.range()).unwrap();
        self.open = Some((store, writer, states));
    }

    fn parts(&mut self) -> (&Store, &mut Writer, States) {
        let (store, writer, states) = self.open.as_mut().unwrap();
        (store, writer, *states)
    }

    fn checkpoint(&mut self) {
        self.label += 1;
        let label = self.label;
        self.parts().0.barrier(crate::barrier::Barrier::new(label)).unwrap().wait().unwrap();
    }

    fn commit(&mut self) {
        let with_commits = self.options.transactional || self.options.durability == Durability::Changelog;
        if with_commits {
            drop(self.parts().1.commit(Commit::default()).unwrap());
        }
    }

    /// Has everything leave memory that is on disk.
    fn evict(&mut self) {
        for shard in &*self.parts().0.inner.shards.lock() {
            shard.cell.borrow().hot.evict(usize::MAX);
        }
    }

    /// Makes it all anew, in one of the [`PLACES`].
    fn prepare(&mut self, place: usize, salt: u64) -> Model {
        let (_, writer, states) = self.parts();
        let model = states.fill(writer, salt);
        self.commit();
        if place > 0 {
            self.checkpoint();
        }
        if place > 1 {
            self.evict();
        }
        if place > 2 {
            let (_, writer, states) = self.parts();
            for n in [0_u8, 3] {
                let bytes = [n];
                writer.get(states.cells, key(&bytes)).unwrap();
            }
            writer.get(states.sums, key(&OLD)).unwrap();
            writer.get(states.joined, key(&OLD).in_namespace(&[2])).unwrap();
            writer.list(states.lists, key(&OLD).in_namespace(&[1])).unwrap();
            for entry in (0..ENTRIES).step_by(2) {
                writer.map_get(states.maps, key(&OLD), &entry.to_be_bytes()).unwrap();
            }
        }
        model
    }

    /// Does an operation, with so many allocations done before one is refused, and so many before the next; whether any was.
    fn refusing(&mut self, mut refused: Vec<u32>, operate: impl FnOnce(&Store, &mut Writer, States)) -> bool {
        let (store, writer, states) = self.parts();
        let shard = store.inner.shards.lock()[0].clone();
        let count = refused.len();
        refused.reverse();
        shard.cell.borrow().hot.memory.refused = refused;
        operate(store, writer, states);
        std::mem::take(&mut shard.cell.borrow().hot.memory.refused).len() < count
    }

    fn check(&mut self, model: &Model, what: &str) {
        let (_, writer, states) = self.parts();
        assert_eq!(&states.all(writer), model, "{what}");
    }
}

/// Of an operation of more allocations than this not all are refused: one in nine, and ever fewer.
const ALL: u32 = 16;

/// Calls `refuse` with what is refused, which says whether it was: each allocation, or each together with the next.
fn each_refusal(name: &str, with_next: bool, mut refuse: impl FnMut(Vec<u32>) -> bool) -> u32 {
    let (mut nth, mut refused) = (0, 0);
    while refuse(if with_next { vec![nth, 0] } else { vec![nth] }) {
        nth += 1 + if nth > ALL { nth / 2 } else { 0 };
        refused += 1;
        assert!(nth < 9_000, "{name} doesn't come to an end");
    }
    refused
}

fn every_allocation_is_refused_once(options: &StoreOptions) {
    let mut scene = Scene::new(options, false);
    let (mut salt, mut refused) = (0, 0);
    for &(name, operate) in OPERATIONS {
        let mut model = Model::default();
        for place in 0..PLACES {
            refused += each_refusal(name, place % 2 == 1, |which| {
                salt += 1;
                let before = scene.prepare(place, salt);
                model.clone_from(&before);
                let what = format!("{name}, place {place}, allocation {which:?}");
                let was_refused = scene.refusing(which, |_, writer, states| operate(writer, states, &mut model));
                scene.check(&model, &what);
                if options.transactional && salt % 2 == 1 {
                    scene.parts().1.abort_transaction().unwrap();
                    scene.check(&before, &format!("{what}, undone"));
                    model = before;
                }
                scene.commit();
                was_refused
            });
        }
        // From the changelog, where there is one.
        if options.durability == Durability::Checkpoint {
            scene.checkpoint();
        }
        scene.reopen();
        scene.check(&model, &format!("{name}, opened again"));
    }
    println!("{refused} allocations were refused");
    assert!(refused > 100);
}

#[test]
fn every_allocation_is_refused_once_and_operations_come_to_the_same() {
    every_allocation_is_refused_once(&StoreOptions::default());
}

#[test]
fn every_allocation_is_refused_once_in_a_transaction() {
    every_allocation_is_refused_once(&StoreOptions { transactional: true, ..Default::default() });
}

#[test]
fn every_allocation_is_refused_once_with_a_changelog() {
    every_allocation_is_refused_once(&StoreOptions { durability: Durability::Changelog, ..Default::default() });
}

#[test]
fn every_allocation_is_refused_once_in_a_transaction_with_a_changelog() {
    let durability = Durability::Changelog;
    every_allocation_is_refused_once(&StoreOptions { transactional: true, durability, ..Default::default() });
}
