//! A transactional store beside two models: what its writer staged, and what was committed.

use crate::rng::Rng;
use alluvium::{
    Barrier, CheckpointSource, Commit, Cursor, Durability, Engine, EngineOptions, Key, KeyGroup, KeyGroupRange,
    MapRange, MergeOperator, Packed, Reader, State, StateOptions, Store, StoreOptions, Writer,
};
use std::collections::BTreeMap;
use std::ops::Bound;

pub const GROUPS: u16 = 4;
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

pub fn options() -> StoreOptions {
    StoreOptions { key_groups: GROUPS.into(), range: KeyGroupRange::new(0, GROUPS - 1), ..transactional() }
}

pub fn transactional() -> StoreOptions {
    StoreOptions { transactional: true, retained_checkpoints: 3, ..Default::default() }
}

fn logging(logs: bool) -> StoreOptions {
    let durability = if logs { Durability::Changelog } else { Durability::Checkpoint };
    StoreOptions { durability, ..options() }
}

pub struct World {
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
    /// The store has a changelog: what is committed lasts.
    logs: bool,
    rng: Rng,
}

impl World {
    pub fn new(seed: u64, budget_bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: budget_bytes, ..Default::default() }).unwrap();
        let logs = seed % 2 == 1;
        let store = Store::create(&engine, directory.path(), logging(logs)).unwrap();
        let mut world = Self {
            logs,
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
            3 if self.rng.below(2) == 0 => {
                let below = self.rng.below(30).to_be_bytes();
                let mut popped = Vec::new();
                let take = |user_key: &[u8], value: &[u8]| popped.push((user_key.to_vec(), value.to_vec()));
                self.writer().map_pop_below(state, key, &below, take).unwrap();
                let rest = map.split_off(&below[..]);
                assert!(popped.into_iter().eq(std::mem::replace(&mut map, rest)), "not what was due");
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
            ..Commit::default()
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
    pub fn reopen(&mut self) {
        self.checkpoint(true);
        // Committed, but in no checkpoint.
        if self.rng.one_in(2) {
            self.change_value();
            self.commit();
        }
        (self.writer, self.reader, self.committed_reader) = (None, None, None);
        let store = self.store.take().unwrap();
        if self.logs && self.rng.one_in(2) {
            // Something is staged when it dies, and some of it is in the changelog.
            self.writer = Some(store.writer(store.range()).unwrap());
            self.change_value();
            self.fill();
            self.writer = None;
        }
        store.close().unwrap();
        let store = if self.rng.one_in(3) {
            (self.committed, self.commits) = self.durable.clone();
            self.rescaled()
        } else {
            if !self.logs {
                (self.committed, self.commits) = self.durable.clone();
            }
            Store::open(&self.engine, self.directory.path(), logging(self.logs)).unwrap()
        };
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
            let options = StoreOptions { range: KeyGroupRange::new(first, last), ..logging(self.logs) };
            let from = CheckpointSource { directory: self.directory.path().to_owned(), label: None };
            let store = Store::restore(&self.engine, half.path(), &[from], options).unwrap();
            store.close().unwrap();
            half
        });
        let sources = halves.each_ref().map(|half| CheckpointSource { directory: half.path().to_owned(), label: None });
        let whole = tempfile::tempdir().unwrap();
        let store = Store::restore(&self.engine, whole.path(), &sources, logging(self.logs)).unwrap();
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

    pub fn check_all(&mut self) {
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

    pub fn step(&mut self, pressure: bool) {
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
