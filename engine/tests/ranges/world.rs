//! A store of maps beside a model of it, for random operations.

use crate::rng::Rng;
use alluvium::{
    Barrier, Batch, CheckpointSource, Cursor, Engine, EngineOptions, Key, KeyGroup, KeyGroupRange, MapRange, Operation,
    Packed, Reader, Snapshot, State, StateOptions, Store, StoreOptions, Writer,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

const GROUPS: u16 = 4;
/// Key group, key, namespace of a map.
type At = (u16, Vec<u8>, Vec<u8>);
type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Content = BTreeMap<At, Map>;

fn key(at: &At) -> Key<'_> {
    Key::new(KeyGroup(at.0), &at.1).in_namespace(&at.2)
}

fn options() -> StoreOptions {
    StoreOptions {
        key_groups: u32::from(GROUPS),
        range: KeyGroupRange::new(0, GROUPS - 1),
        // The one before is still there when a story asks to keep it, however soon the next is complete.
        retained_checkpoints: 2,
        ..Default::default()
    }
}

struct Open {
    store: Store,
    writer: Writer,
    reader: Reader,
    maps: State,
    filler: State,
}

impl Open {
    fn over(store: Store) -> Self {
        let maps = store.state(StateOptions::map("maps")).unwrap();
        let filler = store.state(StateOptions::value("filler")).unwrap();
        let writer = store.writer(store.range()).unwrap();
        let reader = store.reader();
        Self { store, writer, reader, maps, filler }
    }
}

pub struct World {
    engine: Engine,
    directory: tempfile::TempDir,
    open: Option<Open>,
    ats: Vec<At>,
    /// About how many user keys a map has.
    spread: usize,
    pub rng: Rng,
    content: Content,
    label: u64,
    /// Up to which time maps expired.
    expired: u64,
    snapshots: Vec<(Snapshot, Content)>,
}

impl World {
    pub fn new(seed: u64, budget_bytes: usize, spread: usize) -> Self {
        let engine = EngineOptions { memory_budget_bytes: budget_bytes, ..Default::default() };
        let engine = Engine::open(engine).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(&engine, directory.path(), options()).unwrap();
        // So that "maps" isn't the first state of this store.
        store.state(StateOptions::list("unused")).unwrap();
        let ats = (0..5_u8).map(|map| {
            let namespace = if map == 3 { b"window".to_vec() } else { Vec::new() };
            (u16::from(map) % GROUPS, vec![b'm'; usize::from(map)], namespace)
        });
        Self {
            open: Some(Open::over(store)),
            engine,
            directory,
            ats: ats.collect(),
            spread,
            rng: Rng::new(seed),
            content: Content::new(),
            label: 0,
            expired: 0,
            snapshots: Vec::new(),
        }
    }

    fn at(&mut self) -> At {
        // Mostly the first, so that one becomes large.
        let index = if self.rng.one_in(2) { 0 } else { self.rng.below(self.ats.len()) };
        self.ats[index].clone()
    }

    fn user_key(&mut self) -> Vec<u8> {
        let time = self.rng.below(self.spread) as u64;
        let mut user_key = time.to_be_bytes().to_vec();
        match self.rng.below(12) {
            0 => user_key.extend_from_slice(b"more"),
            1 => user_key.truncate(7),
            2 => user_key.push(0),
            _ => {}
        }
        user_key
    }

    fn range_between<'a>(&mut self, a: &'a [u8], b: &'a [u8]) -> MapRange<'a> {
        let (from, to) = if a <= b { (a, b) } else { (b, a) };
        let bound = |rng: &mut Rng, key| match rng.below(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Excluded(key),
            _ => Bound::Included(key),
        };
        let range = match self.rng.below(8) {
            0 => MapRange::prefix(&a[..a.len().min(7)]),
            1 => MapRange::all(),
            _ => MapRange::between(bound(&mut self.rng, from), bound(&mut self.rng, to)),
        };
        if self.rng.one_in(2) { range.reversed() } else { range }
    }

    fn wanted(map: Option<&Map>, range: &MapRange<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let inside = |user_key: &[u8]| is_in(range, user_key);
        let entries = map.into_iter().flatten().filter(|(user_key, _)| inside(user_key));
        let mut entries: Vec<_> = entries.map(|(user_key, value)| (user_key.clone(), value.clone())).collect();
        if range.reverse {
            entries.reverse();
        }
        entries
    }

    /// One operation, and what it answers.
    pub fn step(&mut self) {
        match self.rng.below(1_000) {
            0..300 => self.put(),
            300..420 => self.delete(),
            420..560 => self.delete_range(),
            560..570 => self.clear(),
            570..620 => self.pop(),
            620..890 => self.read(),
            890..925 => self.barrier(),
            925..970 => self.fill(),
            970..978 => self.open.as_ref().unwrap().store.compact().unwrap(),
            978..986 => self.snapshot(),
            986..993 => self.reopen(),
            993..996 => self.rescale(),
            _ => self.compare(),
        }
    }

    fn put(&mut self) {
        let at = self.at();
        let start = self.user_key();
        // A run, so that ranges are long.
        let run = if self.rng.one_in(6) { 1 + self.rng.below(300) as u64 } else { 1 };
        let time = prefix(&start);
        for next in 0..run {
            let mut user_key = start.clone();
            if run > 1 {
                user_key = (time + next).to_be_bytes().to_vec();
            }
            let len = self.rng.below(60);
            let value = self.rng.bytes(len);
            let open = self.open.as_mut().unwrap();
            open.writer.map_put(open.maps, key(&at), &user_key, &value).unwrap();
            self.content.entry(at.clone()).or_default().insert(user_key, value);
        }
    }

    fn delete(&mut self) {
        let (at, user_key) = (self.at(), self.user_key());
        let open = self.open.as_mut().unwrap();
        open.writer.map_delete(open.maps, key(&at), &user_key).unwrap();
        self.content.entry(at).or_default().remove(&user_key);
    }

    fn delete_range(&mut self) {
        let (at, a, b) = (self.at(), self.user_key(), self.user_key());
        let expires = self.rng.one_in(2);
        if expires {
            self.expired = match self.rng.below(10) {
                0 => 0,
                _ => (self.expired + self.rng.below(self.spread / 10 + 1) as u64) % (self.spread as u64 + 10),
            };
        }
        let (before, in_batch) = (self.expired.to_be_bytes(), self.rng.one_in(3));
        let range = if expires {
            MapRange::between(Bound::Unbounded, Bound::Excluded(&before))
        } else {
            self.range_between(&a, &b)
        };
        let open = self.open.as_mut().unwrap();
        if in_batch {
            let operation =
                if expires { Operation::MapExpire(self.expired) } else { Operation::MapDeleteRange(&range) };
            let mut batch = Batch::new();
            batch.push(open.maps, key(&at), operation);
            open.writer.apply(&batch).unwrap();
        } else if expires {
            open.writer.map_expire(open.maps, key(&at), self.expired).unwrap();
        } else {
            open.writer.map_delete_range(open.maps, key(&at), &range).unwrap();
        }
        self.content.entry(at).or_default().retain(|user_key, _| !is_in(&range, user_key));
    }

    fn clear(&mut self) {
        let at = self.at();
        let open = self.open.as_mut().unwrap();
        open.writer.map_clear(open.maps, key(&at)).unwrap();
        self.content.remove(&at);
    }

    fn pop(&mut self) {
        let at = self.at();
        let open = self.open.as_mut().unwrap();
        for _ in 0..1 + self.rng.below(5) {
            let popped = open.writer.map_pop_first(open.maps, key(&at)).unwrap();
            assert_eq!(popped, self.content.entry(at.clone()).or_default().pop_first(), "pop of {at:?}");
        }
    }

    fn read(&mut self) {
        let (at, a, b) = (self.at(), self.user_key(), self.user_key());
        let range = self.range_between(&a, &b);
        let map = self.content.get(&at);
        let (by_reader, choice) = (self.rng.one_in(2), self.rng.below(10));
        let limit = if self.rng.one_in(2) { usize::MAX } else { 1 + self.rng.below(30) };
        let open = self.open.as_mut().unwrap();
        let pair = |entry: (&Vec<u8>, &Vec<u8>)| (entry.0.clone(), entry.1.clone());
        match choice {
            0 => {
                let first = open.writer.map_first(open.maps, key(&at)).unwrap();
                assert_eq!(first, map.and_then(BTreeMap::first_key_value).map(pair), "first of {at:?}");
            }
            1 => {
                let last = open.writer.map_last(open.maps, key(&at)).unwrap();
                assert_eq!(last, map.and_then(BTreeMap::last_key_value).map(pair), "last of {at:?}");
            }
            2..6 => {
                let found = if by_reader {
                    open.reader.map_get(open.maps, key(&at), &a).unwrap()
                } else if choice == 2 {
                    let mut batch = Batch::new();
                    batch.push(open.maps, key(&at), Operation::MapGet(&a));
                    let mut ticket = open.writer.submit(&batch).unwrap();
                    ticket.wait();
                    open.writer.poll(&mut ticket).unwrap().remove(0).into_value().unwrap()
                } else {
                    open.writer.map_get(open.maps, key(&at), &a).unwrap()
                };
                assert_eq!(found.as_ref(), map.and_then(|map| map.get(&a)), "{a:?} of {at:?}");
            }
            6..8 => {
                let mut found = Vec::new();
                open.writer
                    .map_scan(open.maps, key(&at), &range, |user_key, value| {
                        found.push((user_key.to_vec(), value.to_vec()));
                        if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                    })
                    .unwrap();
                let mut wanted = Self::wanted(map, &range);
                wanted.truncate(limit);
                assert_eq!(found, wanted, "{range:?} of {at:?}");
            }
            _ => self.walk(&at, &range, by_reader, choice == 8),
        }
    }

    /// By cursor: through the entries of a map, or through all keys.
    fn walk(&mut self, at: &At, range: &MapRange<'_>, by_reader: bool, entries: bool) {
        let open = self.open.as_mut().unwrap();
        let mut cursor = match entries {
            true => Cursor::entries(open.maps, key(at), range),
            false => Cursor::keys_and_namespaces(open.maps, open.store.range()),
        };
        let (mut out, mut found, mut ats) = (Packed::new(7, 1 << 20), Vec::new(), BTreeSet::new());
        loop {
            let more = match by_reader {
                true => open.reader.fetch(&mut cursor, &mut out).unwrap(),
                false => open.writer.fetch(&mut cursor, &mut out).unwrap(),
            };
            if !more {
                break;
            }
            found.extend(out.iter().map(|record| (record.user_key.to_vec(), record.value.to_vec())));
            ats.extend(out.iter().map(|record| (record.group.0, record.key.to_vec(), record.namespace.to_vec())));
        }
        if entries {
            assert_eq!(found, Self::wanted(self.content.get(at), range), "cursor over {range:?} of {at:?}");
            return;
        }
        let there = self.content.iter().filter(|(_, map)| !map.is_empty());
        assert_eq!(ats, there.map(|(at, _)| at.clone()).collect(), "keys");
    }

    fn barrier(&mut self) {
        self.label += 1;
        let pending = self.open.as_mut().unwrap().writer.barrier(Barrier::new(self.label)).unwrap();
        if self.rng.one_in(2) {
            pending.wait().unwrap();
        }
    }

    /// What makes memory short.
    fn fill(&mut self) {
        let open = self.open.as_mut().unwrap();
        for _ in 0..self.rng.below(60) {
            let number = self.rng.below(2_000) as u32;
            open.writer.put(open.filler, open.store.key(&number.to_be_bytes()), &[number as u8; 3_000]).unwrap();
        }
    }

    fn snapshot(&mut self) {
        if self.snapshots.len() < 3 {
            let snapshot = self.open.as_ref().unwrap().store.snapshot().unwrap();
            self.snapshots.push((snapshot, self.content.clone()));
            return;
        }
        let (snapshot, content) = self.snapshots.remove(0);
        let maps = self.open.as_ref().unwrap().maps;
        for at in self.ats.clone() {
            let mut cursor = Cursor::entries(maps, key(&at), &MapRange::all());
            let (mut out, mut found) = (Packed::default(), Map::new());
            while snapshot.fetch(&mut cursor, &mut out).unwrap() {
                found.extend(out.iter().map(|record| (record.user_key.to_vec(), record.value.to_vec())));
            }
            assert_eq!(&found, content.get(&at).unwrap_or(&Map::new()), "snapshot of {at:?}");
            for _ in 0..5 {
                let user_key = self.user_key();
                let found = snapshot.map_get(maps, key(&at), &user_key).unwrap();
                assert_eq!(found.as_ref(), content.get(&at).and_then(|map| map.get(&user_key)), "in a snapshot");
            }
        }
    }

    /// Closes the store after a checkpoint; at times, as in a crash, with changes that come after it and are lost.
    fn close(&mut self) {
        self.snapshots.clear();
        self.label += 1;
        let open = self.open.as_mut().unwrap();
        open.writer.barrier(Barrier::new(self.label)).unwrap().wait().unwrap();
        let saved = self.content.clone();
        self.check_iteration();
        if self.rng.one_in(2) {
            for _ in 0..self.rng.below(40) {
                match self.rng.below(3) {
                    0 => self.put(),
                    1 => self.delete_range(),
                    _ => self.fill(),
                }
            }
        }
        let Open { store, writer, .. } = self.open.take().unwrap();
        drop(writer);
        store.close().unwrap();
        self.content = saved;
    }

    fn check_iteration(&self) {
        let mut found = Content::new();
        for item in self.open.as_ref().unwrap().store.iterate(self.label).unwrap() {
            let item = item.unwrap();
            if item.state == "maps" {
                let at = (item.group.0, item.key, item.namespace);
                found.entry(at).or_default().insert(item.user_key.unwrap(), item.value);
            }
        }
        let mut wanted = self.content.clone();
        wanted.retain(|_, map| !map.is_empty());
        assert_eq!(found, wanted, "iteration");
    }

    fn reopen(&mut self) {
        self.close();
        let store = Store::open(&self.engine, self.directory.path(), options()).unwrap();
        self.open = Some(Open::over(store));
    }

    /// Into two stores of half the key groups each, which number states otherwise, and back into one.
    fn rescale(&mut self) {
        self.close();
        let halves: Vec<tempfile::TempDir> = [(0, 1), (2, 3)]
            .into_iter()
            .map(|(first, last)| {
                let directory = tempfile::tempdir().unwrap();
                let range = KeyGroupRange::new(first, last);
                let source = CheckpointSource { directory: self.directory.path().to_owned(), label: None };
                let options = StoreOptions { range, ..options() };
                let store = Store::restore(&self.engine, directory.path(), &[source], options).unwrap();
                store.state(StateOptions::value(&format!("of {first}"))).unwrap();
                let mut open = Open::over(store);
                for at in self.ats.iter().filter(|at| range.contains(KeyGroup(at.0))) {
                    let before = (self.spread as u64 / 20).to_be_bytes();
                    let range = MapRange::between(Bound::Unbounded, Bound::Excluded(&before));
                    open.writer.map_delete_range(open.maps, key(at), &range).unwrap();
                    self.content.entry(at.clone()).or_default().retain(|user_key, _| !is_in(&range, user_key));
                }
                open.writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
                drop(open.writer);
                open.store.close().unwrap();
                directory
            })
            .collect();
        self.directory = tempfile::tempdir().unwrap();
        let source = |half: &tempfile::TempDir| CheckpointSource { directory: half.path().to_owned(), label: None };
        let sources: Vec<_> = halves.iter().map(source).collect();
        let store = Store::restore(&self.engine, self.directory.path(), &sources, options()).unwrap();
        self.open = Some(Open::over(store));
        self.label += 1;
        self.compare();
    }

    /// All of it.
    pub fn compare(&mut self) {
        let open = self.open.as_mut().unwrap();
        for at in &self.ats {
            for range in [MapRange::all(), MapRange::all().reversed()] {
                let mut found = Vec::new();
                open.writer
                    .map_scan(open.maps, key(at), &range, |user_key, value| {
                        found.push((user_key.to_vec(), value.to_vec()));
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                assert_eq!(found, Self::wanted(self.content.get(at), &range), "all of {at:?}");
            }
        }
    }
}

fn prefix(user_key: &[u8]) -> u64 {
    user_key.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn is_in(range: &MapRange<'_>, user_key: &[u8]) -> bool {
    let above = match range.from {
        Bound::Unbounded => true,
        Bound::Included(from) => user_key >= from,
        Bound::Excluded(from) => user_key > from,
    };
    let below = match range.to {
        Bound::Unbounded => true,
        Bound::Included(to) => user_key <= to,
        Bound::Excluded(to) => user_key < to,
    };
    above && below && user_key.starts_with(range.prefix)
}
