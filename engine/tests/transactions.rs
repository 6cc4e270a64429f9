//! Transactional stores beside a model of two views: what the owner staged, and what was committed.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;

use alluvium::{
    Barrier, CheckpointSource, Class, Commit, Convert, Cursor, Engine, EngineOptions, Error, Key, KeyGroup,
    KeyGroupRange, MapRange, MergeOperator, Packed, Reader, State, StateOptions, Store, StoreOptions, Writer,
};
use rng::Rng;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const GROUPS: u16 = 4;
const VALUE: usize = 0;
const LIST: usize = 1;
const SUM: usize = 2;
const MAP: usize = 3;
const FILLER: usize = 4;

/// State, key group, key, namespace.
type Address = (usize, u16, Vec<u8>, Vec<u8>);

#[derive(Clone, PartialEq, Debug)]
enum Content {
    Value(Vec<u8>),
    List(Vec<Vec<u8>>),
    Sum(u64),
    Map(BTreeMap<Vec<u8>, Vec<u8>>),
}

type Model = BTreeMap<Address, Content>;

fn key_of(address: &Address) -> Key<'_> {
    Key::new(KeyGroup(address.1), &address.2).in_namespace(&address.3)
}

fn options() -> StoreOptions {
    StoreOptions { key_groups: GROUPS.into(), range: KeyGroupRange::new(0, GROUPS - 1), ..transactional() }
}

fn transactional() -> StoreOptions {
    StoreOptions { transactional: true, retained_checkpoints: 3, ..Default::default() }
}

struct World {
    directory: tempfile::TempDir,
    engine: Engine,
    store: Option<Store>,
    writer: Option<Writer>,
    reader: Option<Reader>,
    committed_reader: Option<Reader>,
    states: Vec<State>,
    staged: Model,
    committed: Model,
    commits: u64,
    /// What the newest complete checkpoint has, and which commit that was.
    durable: (Model, u64),
    label: u64,
    rng: Rng,
}

impl World {
    fn new(seed: u64, budget_bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: budget_bytes, ..Default::default() }).unwrap();
        let store = Store::create(&engine, directory.path(), options()).unwrap();
        let mut world = Self {
            directory,
            engine,
            store: None,
            writer: None,
            reader: None,
            committed_reader: None,
            states: Vec::new(),
            staged: Model::new(),
            committed: Model::new(),
            commits: 0,
            durable: (Model::new(), 0),
            label: 0,
            rng: Rng::new(seed),
        };
        world.adopt(store);
        world.commit();
        world.checkpoint(true);
        world
    }

    fn adopt(&mut self, store: Store) {
        self.states = [
            StateOptions::value("value"),
            StateOptions::list("list"),
            StateOptions::merging("sum", MergeOperator::U64Add),
            StateOptions::map("map"),
            StateOptions::value("filler"),
        ]
        .map(|options| store.state(options).unwrap())
        .to_vec();
        self.writer = Some(store.writer(store.range()).unwrap());
        self.reader = Some(store.reader());
        self.committed_reader = Some(store.reader().committed());
        self.store = Some(store);
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    fn address(&mut self, state: usize) -> Address {
        let rng = &mut self.rng;
        let namespace = if rng.one_in(3) { vec![rng.below(3) as u8; 2] } else { Vec::new() };
        let key = (rng.below(12) as u32).to_be_bytes()[..1 + rng.below(4)].to_vec();
        (state, rng.below(GROUPS.into()) as u16, key, namespace)
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.rng.below(8) {
            0 => 300,
            1..=4 => 8,
            len => len * 3,
        };
        self.rng.bytes(len)
    }

    fn change_value(&mut self) {
        let address = self.address(VALUE);
        let (state, value, delete) = (self.states[VALUE], self.value(), self.rng.one_in(3));
        let key = key_of(&address);
        match self.rng.below(4) {
            0 => self.writer().update(state, key, |_| (!delete).then_some(value.clone())).unwrap(),
            1 => {
                let change = |_: usize, _: Option<&[u8]>| (!delete).then_some(value.clone());
                self.writer().update_many(state, &[key], change).unwrap();
            }
            _ if delete => self.writer().delete(state, key).unwrap(),
            _ => self.writer().put(state, key, &value).unwrap(),
        }
        if delete {
            self.staged.remove(&address)
        } else {
            self.staged.insert(address, Content::Value(value))
        };
    }

    fn change_list(&mut self) {
        let address = self.address(LIST);
        let (state, element) = (self.states[LIST], self.value());
        let key = key_of(&address);
        match self.rng.below(8) {
            0 => {
                self.writer().delete(state, key).unwrap();
                self.staged.remove(&address);
            }
            1 => {
                self.writer().put_list(state, key, &[&element, b"second"]).unwrap();
                self.staged.insert(address, Content::List(vec![element, b"second".to_vec()]));
            }
            _ => {
                self.writer().append(state, key, &element).unwrap();
                match self.staged.entry(address).or_insert(Content::List(Vec::new())) {
                    Content::List(list) => list.push(element),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn change_sum(&mut self) {
        let address = self.address(SUM);
        let (state, operand) = (self.states[SUM], self.rng.next());
        let key = key_of(&address);
        let sum = match self.rng.below(6) {
            0 => {
                self.writer().delete(state, key).unwrap();
                self.staged.remove(&address);
                return;
            }
            1 => {
                self.writer().put(state, key, &operand.to_le_bytes()).unwrap();
                operand
            }
            _ => {
                self.writer().merge(state, key, &operand.to_le_bytes()).unwrap();
                match self.staged.get(&address) {
                    Some(Content::Sum(sum)) => sum.wrapping_add(operand),
                    _ => operand,
                }
            }
        };
        self.staged.insert(address, Content::Sum(sum));
    }

    fn change_map(&mut self) {
        let address = self.address(MAP);
        let (state, user_key, value) = (self.states[MAP], self.rng.below(20).to_be_bytes().to_vec(), self.value());
        let key = key_of(&address);
        let before = match self.staged.get(&address) {
            Some(Content::Map(map)) => map.clone(),
            _ => BTreeMap::new(),
        };
        let mut map = before;
        match self.rng.below(12) {
            0 => {
                self.writer().map_clear(state, key).unwrap();
                map.clear();
            }
            1..=2 => {
                self.writer().map_delete(state, key, &user_key).unwrap();
                map.remove(&user_key);
            }
            4 => {
                let from = self.rng.below(20);
                let ends = [from, from + self.rng.below(8)].map(usize::to_be_bytes);
                let range = MapRange::between(Bound::Included(&ends[0]), Bound::Excluded(&ends[1]));
                self.writer().map_delete_range(state, key, &range).unwrap();
                map.retain(|user_key, _| !(ends[0][..] <= user_key[..] && user_key[..] < ends[1][..]));
            }
            3 => {
                let popped = self.writer().map_pop_first(state, key).unwrap();
                assert_eq!(popped, map.pop_first());
            }
            _ => {
                self.writer().map_put(state, key, &user_key, &value).unwrap();
                map.insert(user_key, value);
            }
        }
        if map.is_empty() {
            self.staged.remove(&address)
        } else {
            self.staged.insert(address, Content::Map(map))
        };
    }

    fn change_namespaces(&mut self) {
        let state = if self.rng.one_in(2) { LIST } else { SUM };
        let target = self.address(state);
        let sources: Vec<Vec<u8>> = (0..3).map(|n| vec![n; 2]).collect();
        let of: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        let number = self.states[state];
        self.writer().merge_namespaces(number, key_of(&target), &of).unwrap();
        for source in sources.into_iter().filter(|source| *source != target.3) {
            let moved = self.staged.remove(&(target.0, target.1, target.2.clone(), source));
            match (moved, self.staged.get_mut(&target)) {
                (Some(Content::List(moved)), Some(Content::List(list))) => list.extend(moved),
                (Some(Content::Sum(moved)), Some(Content::Sum(sum))) => *sum = sum.wrapping_add(moved),
                (Some(moved), None) => drop(self.staged.insert(target.clone(), moved)),
                _ => {}
            }
        }
    }

    /// Writes so much that what is staged has to leave memory.
    fn fill(&mut self) {
        let state = self.states[FILLER];
        for _ in 0..1_500 {
            let address =
                (FILLER, self.rng.below(GROUPS.into()) as u16, self.rng.below(4_000).to_be_bytes().to_vec(), vec![]);
            let value = self.rng.bytes(1_000);
            self.writer().put(state, key_of(&address), &value).unwrap();
            self.staged.insert(address, Content::Value(value));
        }
    }

    fn commit(&mut self) {
        self.commits += 1;
        let commit = Commit {
            offsets: vec![(KeyGroupRange::new(0, GROUPS - 1), self.commits.to_be_bytes().to_vec())],
            metadata: self.commits.to_le_bytes().to_vec(),
        };
        let own = self.rng.one_in(2);
        let info =
            if own { self.writer().commit(commit) } else { self.store.as_ref().unwrap().commit(commit) }.unwrap();
        assert_eq!(info.metadata, self.commits.to_le_bytes());
        self.committed = self.staged.clone();
    }

    fn abort(&mut self) {
        if self.rng.one_in(2) {
            self.writer().abort_transaction().unwrap();
        } else {
            self.store.as_ref().unwrap().abort_transaction().unwrap();
        }
        assert_eq!(self.store.as_ref().unwrap().staged_bytes(), 0);
        self.staged = self.committed.clone();
    }

    fn checkpoint(&mut self, wait: bool) {
        self.label += 1;
        let pending = self.store.as_ref().unwrap().barrier(Barrier::new(self.label)).unwrap();
        if wait {
            let info = pending.wait().unwrap();
            assert_eq!(info.metadata, self.commits.to_le_bytes());
            assert_eq!(info.offsets[0].1, self.commits.to_be_bytes());
            self.durable = (self.committed.clone(), self.commits);
        }
    }

    /// The process dies, as far as the store can tell, or closes in order: either way what is staged is gone.
    fn reopen(&mut self) {
        self.checkpoint(true);
        // Committed, but in no checkpoint.
        if self.rng.one_in(2) {
            self.change_value();
            self.commit();
        }
        (self.writer, self.reader, self.committed_reader) = (None, None, None);
        self.store.take().unwrap().close().unwrap();
        let store = if self.rng.one_in(3) {
            self.rescaled()
        } else {
            Store::open(&self.engine, self.directory.path(), options()).unwrap()
        };
        (self.committed, self.commits) = self.durable.clone();
        self.staged = self.committed.clone();
        assert_eq!(store.last_commit().offsets[0].1, self.commits.to_be_bytes());
        self.adopt(store);
        // One of several inputs has no metadata for all of them.
        self.commit();
        self.checkpoint(true);
    }

    /// The newest checkpoint in two stores, and those in one again.
    fn rescaled(&mut self) -> Store {
        let halves = [(0, 1), (2, 3)].map(|(first, last)| {
            let half = tempfile::tempdir().unwrap();
            let options = StoreOptions { range: KeyGroupRange::new(first, last), ..options() };
            let from = CheckpointSource { directory: self.directory.path().to_owned(), label: None };
            let store = Store::restore(&self.engine, half.path(), &[from], options).unwrap();
            store.close().unwrap();
            half
        });
        let sources = halves.each_ref().map(|half| CheckpointSource { directory: half.path().to_owned(), label: None });
        let whole = tempfile::tempdir().unwrap();
        let store = Store::restore(&self.engine, whole.path(), &sources, options()).unwrap();
        self.directory = whole;
        store
    }

    fn read(&mut self, address: &Address, who: usize) -> Option<Content> {
        let (state, key) = (self.states[address.0], key_of(address));
        let reader = if who == 1 { &self.reader } else { &self.committed_reader }.clone().unwrap();
        let scan = |cursor: &mut Cursor, reader: &Reader| {
            let (mut out, mut map) = (Packed::new(3, 1 << 16), BTreeMap::new());
            while reader.fetch(cursor, &mut out).unwrap() {
                map.extend(out.iter().map(|entry| (entry.user_key.to_vec(), entry.value.to_vec())));
            }
            map
        };
        let range = if self.rng.one_in(2) { MapRange::all() } else { MapRange::all().reversed() };
        let writer = self.writer();
        match (address.0, who) {
            (LIST, 0) => Some(Content::List(writer.list(state, key).unwrap())),
            (LIST, _) => Some(Content::List(reader.list(state, key).unwrap())),
            (MAP, 0) => {
                let mut map = BTreeMap::new();
                let visit = |user_key: &[u8], value: &[u8]| {
                    map.insert(user_key.to_vec(), value.to_vec());
                    std::ops::ControlFlow::Continue(())
                };
                writer.map_scan(state, key, &range, visit).unwrap();
                Some(Content::Map(map))
            }
            (MAP, _) => {
                let map = scan(&mut Cursor::entries(state, key, &range), &reader);
                for n in 0..20_usize {
                    let user_key = n.to_be_bytes();
                    assert_eq!(
                        reader.map_get(state, key, &user_key).unwrap().as_ref(),
                        map.get(&user_key[..]),
                        "{address:?} {n}"
                    );
                }
                Some(Content::Map(map))
            }
            (kind, who) => {
                let value = if who == 0 { writer.get(state, key) } else { reader.get(state, key) }.unwrap();
                value.map(|value| match kind {
                    SUM => Content::Sum(u64::from_le_bytes(value.try_into().unwrap())),
                    _ => Content::Value(value),
                })
            }
        }
        .filter(|content| *content != Content::List(Vec::new()) && *content != Content::Map(BTreeMap::new()))
    }

    fn check_one(&mut self) {
        let state = self.rng.below(4);
        let address = self.address(state);
        let who = self.rng.below(3);
        let expected = if who == 2 { &self.committed } else { &self.staged }.get(&address).cloned();
        assert_eq!(self.read(&address, who), expected, "{address:?} by {who}");
    }

    fn check_all(&mut self) {
        let (staged, committed) = (self.staged.clone(), self.committed.clone());
        let addresses: Vec<&Address> = staged.keys().chain(committed.keys()).collect();
        for address in addresses {
            for who in 0..3 {
                let expected = if who == 2 { &committed } else { &staged }.get(address);
                assert_eq!(self.read(address, who).as_ref(), expected, "{address:?} by {who}");
            }
        }
        for (model, committed) in [(&staged, false), (&committed, true)] {
            for state in [VALUE, LIST, SUM, MAP] {
                let reader = if committed { &self.committed_reader } else { &self.reader }.clone().unwrap();
                let mut cursor = Cursor::keys_and_namespaces(self.states[state], KeyGroupRange::new(0, GROUPS - 1));
                let (mut out, mut found) = (Packed::new(50, 1 << 16), Vec::new());
                while reader.fetch(&mut cursor, &mut out).unwrap() {
                    found.extend(out.iter().map(|at| (state, at.group.0, at.key.to_vec(), at.namespace.to_vec())));
                }
                found.sort();
                let expected: Vec<Address> = model.keys().filter(|at| at.0 == state).cloned().collect();
                assert_eq!(found, expected, "committed: {committed}");
            }
        }
    }

    fn check_snapshot(&mut self) {
        let snapshot = self.store.as_ref().unwrap().snapshot().unwrap();
        let committed = self.committed.clone();
        self.change_value();
        for state in [VALUE, SUM] {
            for _ in 0..10 {
                let address = self.address(state);
                let value = snapshot.get(self.states[state], key_of(&address)).unwrap();
                let expected = committed.get(&address).map(|content| match content {
                    Content::Value(value) => value.clone(),
                    Content::Sum(sum) => sum.to_le_bytes().to_vec(),
                    other => panic!("{other:?}"),
                });
                assert_eq!(value, expected, "{address:?}");
            }
        }
    }

    fn step(&mut self, pressure: bool) {
        match self.rng.below(1_000) {
            0..200 => self.change_value(),
            200..350 => self.change_list(),
            350..450 => self.change_sum(),
            450..650 => self.change_map(),
            650..665 => self.change_namespaces(),
            665..940 => self.check_one(),
            940..955 => self.commit(),
            955..965 => self.abort(),
            965..975 => {
                let wait = self.rng.one_in(2);
                self.checkpoint(wait);
            }
            975..980 => self.check_snapshot(),
            980..983 => self.check_all(),
            983..985 => self.store.as_ref().unwrap().compact().unwrap(),
            985..987 => self.reopen(),
            987..993 if pressure => self.fill(),
            _ => self.check_one(),
        }
    }
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("ALLUVIUM_TEST_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=count).collect(),
    }
}

fn run(seed: u64, steps: usize, pressure: bool) {
    println!("ALLUVIUM_TEST_SEED={seed}");
    let mut world = World::new(seed, if pressure { 4 << 20 } else { 64 << 20 });
    for _ in 0..steps {
        world.step(pressure);
    }
    world.check_all();
    world.reopen();
    world.check_all();
}

#[test]
fn two_views_beside_a_model() {
    for seed in seeds(20) {
        run(seed, 4_000, false);
    }
}

#[test]
fn two_views_beside_a_model_when_memory_is_short() {
    for seed in seeds(12) {
        run(seed, 1_500, true);
    }
}

/// A store of one value state, and its writer.
fn small(path: &Path, budget_bytes: usize, options: StoreOptions) -> (Engine, Store, State, Writer) {
    let engine = Engine::open(EngineOptions { memory_budget_bytes: budget_bytes, ..Default::default() }).unwrap();
    let store = Store::create(&engine, path, options).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let writer = store.writer(store.range()).unwrap();
    (engine, store, state, writer)
}

#[test]
fn what_is_staged_is_in_no_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, store, state, mut writer) = small(directory.path(), 8 << 20, transactional());
    let key = store.key(b"k");
    writer.put(state, key, b"committed").unwrap();
    writer.commit(Commit { metadata: b"1".to_vec(), ..Default::default() }).unwrap();
    writer.put(state, key, b"staged").unwrap();
    writer.put(state, store.key(b"new"), b"staged").unwrap();
    let info = store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    assert_eq!(info.metadata, b"1");
    assert_eq!(writer.get(state, key).unwrap().unwrap(), b"staged");
    let refused = writer.barrier(Barrier { metadata: b"2".to_vec(), ..Barrier::new(2) });
    assert!(matches!(refused, Err(Error::Checkpoint { .. })), "{refused:?}");
    drop(writer);
    store.close().unwrap();
    let store = Store::open(&engine, directory.path(), transactional()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    assert_eq!(store.reader().get(state, store.key(b"k")).unwrap().unwrap(), b"committed");
    assert_eq!(store.reader().get(state, store.key(b"new")).unwrap(), None);
    assert_eq!(store.last_commit().metadata, b"1");
}

#[test]
fn more_than_memory_is_staged_and_undone() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, state, mut writer) = small(directory.path(), 4 << 20, transactional());
    let keys: Vec<[u8; 4]> = (0..20_000_u32).map(u32::to_be_bytes).collect();
    for key in &keys {
        writer.put(state, store.key(key), &[1; 500]).unwrap();
    }
    writer.commit(Commit::default()).unwrap();
    let committed = store.reader().committed();
    for (value, commits) in [(2_u8, false), (3, true)] {
        for key in &keys {
            writer.put(state, store.key(key), &[value; 500]).unwrap();
        }
        assert!(store.staged_bytes() > 20_000 * 500, "{}", store.staged_bytes());
        assert!(store.metrics().spills > 3);
        for key in keys.iter().step_by(97) {
            assert_eq!(committed.get(state, store.key(key)).unwrap().unwrap(), [1; 500]);
            assert_eq!(writer.get(state, store.key(key)).unwrap().unwrap(), [value; 500]);
        }
        // None of it is in a checkpoint that is cut meanwhile.
        store.barrier(Barrier::new(value.into())).unwrap().wait().unwrap();
        let old = store.iterate(value.into()).unwrap().map(|item| item.unwrap().value);
        assert!(old.into_iter().all(|found| found == [1; 500]));
        if commits {
            writer.commit(Commit::default()).unwrap()
        } else {
            writer.abort_transaction().map(|()| store.last_commit()).unwrap()
        };
        let expected = if commits { value } else { 1 };
        assert_eq!(store.staged_bytes(), 0);
        for key in &keys {
            assert_eq!(writer.get(state, store.key(key)).unwrap().unwrap(), [expected; 500]);
        }
    }
    store.barrier(Barrier::new(4)).unwrap().wait().unwrap();
    assert_eq!(store.iterate(4).unwrap().filter(|item| item.as_ref().unwrap().value == [3; 500]).count(), keys.len());
}

#[test]
fn what_may_be_staged_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { staged_bytes_max: 100_000, ..transactional() };
    let (_engine, store, state, mut writer) = small(directory.path(), 8 << 20, options);
    let put = |writer: &mut Writer| {
        (0..1_000_u32).find_map(|n| writer.put(state, store.key(&n.to_be_bytes()), &[1; 1_000]).err())
    };
    let refused = put(&mut writer).unwrap();
    assert!(matches!(refused, Error::Staged { bytes: 100_000..102_000, max_bytes: 100_000 }), "{refused:?}");
    assert_eq!(refused.class(), Class::Retry);
    assert!(writer.get(state, store.key(&0_u32.to_be_bytes())).unwrap().is_some());
    writer.commit(Commit::default()).unwrap();
    assert!(put(&mut writer).is_some());
    writer.abort_transaction().unwrap();
    assert!(writer.put(state, store.key(b"k"), b"v").is_ok());
}

#[test]
fn a_range_with_an_open_transaction_is_not_cut_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, state, mut writer) = small(directory.path(), 8 << 20, options());
    writer.put(state, Key::new(KeyGroup(0), b"k"), b"staged").unwrap();
    drop(writer);
    let half = KeyGroupRange::new(0, 1);
    assert!(matches!(store.writer(half), Err(Error::Busy { .. })));
    // The same range goes on with it.
    let mut writer = store.writer(store.range()).unwrap();
    assert_eq!(writer.get(state, Key::new(KeyGroup(0), b"k")).unwrap().unwrap(), b"staged");
    drop(writer);
    store.commit(Commit::default()).unwrap();
    let mut writer = store.writer(half).unwrap();
    assert_eq!(writer.get(state, Key::new(KeyGroup(0), b"k")).unwrap().unwrap(), b"staged");
}

#[test]
fn one_commit_for_all_writers() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap();
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writers = [(0, 1), (2, 3)].map(|(first, last)| store.writer(KeyGroupRange::new(first, last)).unwrap());
    let keys = [Key::new(KeyGroup(0), b"a"), Key::new(KeyGroup(3), b"b")];
    let committed = store.reader().committed();
    for round in 0..4_u8 {
        for (writer, key) in writers.iter_mut().zip(keys) {
            writer.put(state, key, &[round]).unwrap();
        }
        if round % 2 == 0 {
            drop(writers[0].commit(Commit::default()).unwrap())
        } else {
            writers[1].abort_transaction().unwrap()
        }
        for (writer, key) in writers.iter_mut().zip(keys) {
            let expected = Some(vec![round - round % 2]);
            assert_eq!(writer.get(state, key).unwrap(), expected);
            assert_eq!(committed.get(state, key).unwrap(), expected);
        }
    }
}

#[test]
fn a_store_that_is_not_transactional_commits_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, state, mut writer) = small(directory.path(), 8 << 20, StoreOptions::default());
    assert!(matches!(writer.commit(Commit::default()), Err(Error::Options { .. })));
    assert!(matches!(store.abort_transaction(), Err(Error::Options { .. })));
    writer.put(state, store.key(b"k"), b"v").unwrap();
    assert_eq!(store.reader().committed().get(state, store.key(b"k")).unwrap().unwrap(), b"v");
}

/// What was staged when a checkpoint was cut, and committed before it was published, was merged with what it has, and so
/// came into it, under the offsets of the commit before.
#[test]
fn what_is_committed_behind_a_barrier_is_not_merged_into_its_checkpoint() {
    for round in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let (_engine, store, state, mut writer) = small(directory.path(), 4 << 20, transactional());
        let keys: Vec<[u8; 4]> = (0..14_000_u32).map(u32::to_be_bytes).collect();
        let put = |writer: &mut Writer, value: u8| {
            keys.iter().for_each(|key| writer.put(state, store.key(key), &[value; 900]).unwrap());
        };
        put(&mut writer, 1);
        writer.commit(Commit::default()).unwrap();
        put(&mut writer, 2);
        // Its last spills are still under way; the checkpoint comes behind them.
        let pending = writer.barrier(Barrier::new(1)).unwrap();
        writer.commit(Commit::default()).unwrap();
        if round % 2 == 0 {
            store.compact().unwrap();
        }
        pending.wait().unwrap();
        let old = store.iterate(1).unwrap().filter(|item| item.as_ref().unwrap().value == [1; 900]).count();
        assert_eq!(old, keys.len(), "round {round}");
        store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
        assert!(store.iterate(2).unwrap().all(|item| item.unwrap().value == [2; 900]));
    }
}

/// Readers on other threads, while batches of changes are staged, committed or undone: only committed values are seen, each
/// key's in the order of the commits.
#[test]
fn committed_readers_on_other_threads() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let values = store.state(StateOptions::value("values")).unwrap();
    let lists = store.state(StateOptions::list("lists")).unwrap();
    let maps = store.state(StateOptions::map("maps")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let keys: Vec<[u8; 2]> = (0..300_u16).map(u16::to_be_bytes).collect();
    let value = |round: u64| [round.to_le_bytes().to_vec(), vec![0; 500]].concat();
    let round_of = |value: &[u8]| u64::from_le_bytes(value[..8].try_into().unwrap());
    let stage = |writer: &mut Writer, round: u64| {
        for key in &keys {
            let key = store.key(key);
            writer.put(values, key, &value(round)).unwrap();
            writer.delete(lists, key).unwrap();
            writer.append(lists, key, &round.to_le_bytes()).unwrap();
            writer.append(lists, key, &value(round)).unwrap();
            writer.map_clear(maps, key).unwrap();
            writer.map_put(maps, key, b"u", &value(round)).unwrap();
        }
    };
    stage(&mut writer, 0);
    writer.commit(Commit::default()).unwrap();
    let (ended, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (reader, keys, ended, reads, store) = (store.reader().committed(), &keys, &ended, &reads, &store);
            scope.spawn(move || {
                let (mut rng, mut seen) = (Rng::new(number), vec![0; keys.len()]);
                while !ended.load(Ordering::Relaxed) {
                    let at = rng.below(keys.len());
                    let key = store.key(&keys[at]);
                    let round = match rng.below(3) {
                        0 => round_of(&reader.get(values, key).unwrap().unwrap()),
                        1 => round_of(&reader.map_get(maps, key, b"u").unwrap().unwrap()),
                        _ => {
                            let list = reader.list(lists, key).unwrap();
                            assert_eq!((list.len(), round_of(&list[0])), (2, round_of(&list[1])), "{at}");
                            round_of(&list[0])
                        }
                    };
                    assert!(round % 2 == 0 && round >= seen[at], "round {round} of {at} after {}", seen[at]);
                    seen[at] = round;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Until they have seen enough, however slow they are.
        for round in (1..).take_while(|round| *round < 120 || reads.load(Ordering::Relaxed) < 20_000) {
            stage(&mut writer, round);
            if round % 2 == 0 {
                writer.commit(Commit::default()).unwrap();
            } else {
                writer.abort_transaction().unwrap();
            }
            if round % 16 == 0 {
                drop(store.barrier(Barrier::new(round)).unwrap());
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
}

/// A migration empties the state's tables: what is staged has no place to go.
#[test]
fn a_state_is_not_migrated_in_the_middle_of_a_transaction() {
    #[derive(Debug)]
    struct Longer;
    impl Convert for Longer {
        fn name(&self) -> &str {
            "longer"
        }
        fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
            out.extend_from_slice(old);
            out.push(b'!');
            Ok(())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, state, mut writer) = small(directory.path(), 8 << 20, transactional());
    let key = store.key(b"k");
    writer.put(state, key, b"old").unwrap();
    writer.commit(Commit::default()).unwrap();
    writer.put(state, key, b"staged").unwrap();
    assert!(matches!(store.migrate(state, b"2", Arc::new(Longer)), Err(Error::Busy { .. })));
    writer.abort_transaction().unwrap();
    store.migrate(state, b"2", Arc::new(Longer)).unwrap();
    let committed = store.reader().committed();
    assert_eq!(committed.get(state, key).unwrap().unwrap(), b"old!");
    writer.put(state, key, b"new").unwrap();
    assert_eq!(committed.get(state, key).unwrap().unwrap(), b"old!");
    writer.commit(Commit::default()).unwrap();
    assert_eq!(committed.get(state, key).unwrap().unwrap(), b"new");
}

/// An operation that waited for memory while another thread undid the transaction went on with what it had read before.
#[test]
fn what_was_undone_is_not_written_by_who_had_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, state, mut writer) = small(directory.path(), 4 << 20, transactional());
    let filler = store.state(StateOptions::value("filler")).unwrap();
    let key = store.key(b"k");
    writer.put(state, key, b"committed").unwrap();
    writer.commit(Commit::default()).unwrap();
    for round in 0..12_u32 {
        writer.put(state, key, b"staged").unwrap();
        for number in 0..3_000_u32 {
            writer.put(filler, store.key(&number.to_be_bytes()), &[round as u8; 1_000]).unwrap();
        }
        let go = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            let aborting = scope.spawn(|| {
                while !go.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
                store.abort_transaction().unwrap();
            });
            let change = |old: Option<&[u8]>| {
                go.store(true, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(10));
                Some([old.unwrap_or_default(), &vec![b'+'; 1 << 20][..]].concat())
            };
            let outcome = if round % 2 == 0 {
                writer.update(state, key, change)
            } else {
                writer.update_many(state, &[key], |_, old| change(old))
            };
            aborting.join().unwrap();
            outcome
        });
        match outcome {
            Ok(()) => {}
            Err(error) => assert!(matches!(error, Error::Busy { .. }), "{error}"),
        }
        let now = writer.get(state, key).unwrap().unwrap();
        assert!(now.starts_with(b"committed"), "round {round}: {:?}", &now[..9]);
        writer.abort_transaction().unwrap();
        assert_eq!(writer.get(state, key).unwrap().unwrap(), b"committed");
    }
}

#[test]
fn a_value_that_grows_and_shrinks_is_staged_once() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { staged_bytes_max: 1 << 20, ..transactional() };
    let (_engine, store, state, mut writer) = small(directory.path(), 8 << 20, options);
    for number in 0..20_000 {
        let len = if number % 2 == 0 { 300 } else { 8 };
        writer.put(state, store.key(b"k"), &vec![1; len]).unwrap();
    }
    assert!(store.staged_bytes() < 1_000, "{}", store.staged_bytes());
}

/// What commits leave behind is freed as fast as it comes: also of many small tables, and beside flushes.
#[test]
fn many_commits_take_no_more_memory() {
    for barriers in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let many_groups = StoreOptions { key_groups: 4_096, range: KeyGroupRange::new(0, 4_095), ..transactional() };
        let (_engine, store, state, mut writer) = small(directory.path(), 512 << 20, many_groups);
        let keys: Vec<[u8; 8]> = (0..4_096_u64).map(u64::to_be_bytes).collect();
        let key = |group: usize| Key::new(KeyGroup(group as u16), &keys[group]);
        let all: Vec<Key<'_>> = (0..keys.len()).map(key).collect();
        for round in 1..=150_u64 {
            if barriers {
                all.iter().for_each(|&key| writer.put(state, key, &round.to_le_bytes()).unwrap());
            } else {
                writer.update_many(state, &all, |_, _| Some(round.to_le_bytes())).unwrap();
            }
            writer.commit(Commit::default()).unwrap();
            if barriers && round % 8 == 0 {
                writer.barrier(Barrier::new(round)).unwrap().wait().unwrap();
            }
        }
        let memory = store.metrics().memory_bytes;
        assert!(memory < 24 << 20, "{memory} bytes for 4,096 counters, barriers: {barriers}");
    }
}

/// A shard that was claimed beside a commit of another thread had epochs on both sides of it: what it staged then was
/// flushed as if it were committed, and an abort left it there.
#[test]
fn a_range_is_claimed_beside_commits() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, state, writer) = small(directory.path(), 16 << 20, options());
    drop(writer);
    let (stop, between) = (AtomicBool::new(false), std::sync::Mutex::new(()));
    let key = Key::new(KeyGroup(0), b"k");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                {
                    let _alone = between.lock().unwrap();
                    store.commit(Commit::default()).unwrap();
                }
                std::thread::yield_now();
            }
        });
        let committed = store.reader().committed();
        for round in 0..300_u64 {
            let range = KeyGroupRange::new(0, if round % 2 == 0 { 3 } else { 1 });
            let mut writer = loop {
                match store.writer(range) {
                    Ok(writer) => break writer,
                    Err(error) => assert!(matches!(error, Error::Busy { .. }), "{error}"),
                }
            };
            writer.put(state, key, &round.to_le_bytes()).unwrap();
            let alone = between.lock().unwrap();
            // Nobody commits now: either it is committed, or it is undone.
            let seen = committed.get(state, key).unwrap();
            writer.abort_transaction().unwrap();
            assert_eq!(writer.get(state, key).unwrap(), seen, "round {round}");
            drop((writer, alone));
        }
        stop.store(true, Ordering::SeqCst);
    });
}

/// A list, and a sum of which more is on disk, got a chunk with each commit, and each operation walked through all of them.
#[test]
fn chains_don_t_grow_with_commits() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, store, _, writer) = small(directory.path(), 64 << 20, transactional());
    let list = store.state(StateOptions::list("list")).unwrap();
    let sum = store.state(StateOptions::merging("sum", MergeOperator::U64Add)).unwrap();
    drop(writer);
    let (mut store, mut elements) = (store, Vec::new());
    for round in 0..3_u64 {
        let mut writer = store.writer(store.range()).unwrap();
        for number in 0..3_000_u64 {
            let element = (round * 10_000 + number).to_le_bytes()[..1 + number as usize % 8].to_vec();
            writer.append(list, store.key(b"k"), &element).unwrap();
            writer.merge(sum, store.key(b"k"), &1_u64.to_le_bytes()).unwrap();
            elements.push(element);
            if number % 1_000 == 500 {
                writer.append(list, store.key(b"k"), b"undone").unwrap();
                writer.abort_transaction().unwrap();
                elements.pop();
                writer.append(list, store.key(b"k"), elements.last().unwrap()).unwrap();
                elements.push(elements.last().unwrap().clone());
                writer.merge(sum, store.key(b"k"), &1_u64.to_le_bytes()).unwrap();
            }
            writer.commit(Commit::default()).unwrap();
        }
        let committed = store.reader().committed();
        assert_eq!(writer.list(list, store.key(b"k")).unwrap(), elements);
        assert_eq!(committed.list(list, store.key(b"k")).unwrap(), elements);
        let counted = ((round + 1) * 3_000).to_le_bytes();
        assert_eq!(writer.get(sum, store.key(b"k")).unwrap().unwrap(), counted);
        assert_eq!(committed.get(sum, store.key(b"k")).unwrap().unwrap(), counted);
        store.barrier(Barrier::new(round)).unwrap().wait().unwrap();
        drop(writer);
        store.close().unwrap();
        store = Store::open(&engine, directory.path(), transactional()).unwrap();
        store.state(StateOptions::merging("sum", MergeOperator::U64Add)).unwrap();
        assert_eq!(store.reader().list(list, store.key(b"k")).unwrap(), elements);
    }
}

/// Where memory runs out in the middle of a clear its writer waits, and another thread's commit took the half that was done.
#[test]
fn a_clear_is_committed_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, _, mut writer) = small(directory.path(), 4 << 20, transactional());
    let map = store.state(StateOptions::map("map")).unwrap();
    let key = store.key(b"k");
    let committed = store.reader().committed();
    let entries = || {
        let (mut cursor, mut out) = (Cursor::entries(map, key, &MapRange::all()), Packed::new(100_000, 16 << 20));
        committed.fetch(&mut cursor, &mut out).unwrap();
        out.len()
    };
    for round in 0..6_u8 {
        for number in 0..14_000_u32 {
            writer.map_put(map, key, &number.to_be_bytes(), &[round; 24]).unwrap();
        }
        writer.commit(Commit::default()).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    store.commit(Commit::default()).unwrap();
                    let seen = entries();
                    assert!(seen == 0 || seen == 14_000, "{seen} entries in round {round}");
                }
            });
            writer.map_clear(map, key).unwrap();
            done.store(true, Ordering::SeqCst);
        });
        writer.commit(Commit::default()).unwrap();
        assert_eq!(entries(), 0);
    }
}
