//! What readers see while a writer goes on: histories of both, each operation with the moments of its begin and its end, are
//! linearizable. In memory in place, while records are flushed, evicted and merged, and while key groups are rolled back; in
//! transactional stores what is staged and what is committed.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod history;

use alluvium::{
    Barrier, Commit, Cursor, Engine, EngineOptions, Key, KeyGroup, KeyGroupRange, MapRange, Packed, Pending, Reader,
    Scope, State, StateOptions, Store, StoreOptions, Writer,
};
use history::{Contents, Read, Seen, Span, Version};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const CELLS: usize = 12;
const LISTS: usize = 3;
const MAPS: usize = 5;
const OBJECTS: usize = CELLS + LISTS + MAPS;
/// User keys of maps lie below this; those of the last map rise instead, as timers do.
const ENTRIES: u64 = 40;
const GROUPS: u16 = 4;

/// Numbers drawn one after the other from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// The bytes of a number: it, and then what tells whether they are of one value. Cells whose numbers are alike in their lowest
/// bits are of one length, so they are written in place.
fn bytes(number: u64) -> Vec<u8> {
    let len = [8, 8, 100, 100, 100, 600, 30, 2_000][number as usize % 8];
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((8..len).map(|at| (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (at % 7 * 8)) as u8));
    bytes
}

fn number(found: &[u8]) -> u64 {
    let number = u64::from_le_bytes(found[..8].try_into().unwrap());
    assert!(found == bytes(number), "a torn value of {} bytes", found.len());
    number
}

fn group(object: usize) -> KeyGroup {
    KeyGroup(object as u16 % GROUPS)
}

/// What all threads go by.
struct Scene {
    store: Store,
    cells: State,
    lists: State,
    maps: State,
    clock: AtomicU64,
    ended: AtomicBool,
}

impl Scene {
    fn new(engine: &Engine, path: &std::path::Path, transactional: bool) -> Self {
        let options = StoreOptions { transactional, ..Default::default() };
        let store = Store::create(engine, path, options).unwrap();
        let cells = store.state(StateOptions::value("cells")).unwrap();
        let lists = store.state(StateOptions::list("lists")).unwrap();
        let maps = store.state(StateOptions::map("maps")).unwrap();
        Self { store, cells, lists, maps, clock: AtomicU64::new(1), ended: AtomicBool::new(false) }
    }

    /// One atomic counter: an operation that ended before another one began drew its moment first, on whatever processor.
    fn moment(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn timed<R>(&self, operation: impl FnOnce() -> R) -> (Span, R) {
        let begun = self.moment();
        let result = operation();
        (Span { begun, done: self.moment() }, result)
    }
}

fn empty(object: usize) -> Contents {
    match object {
        0..CELLS => Contents::Cell(None),
        object if object < CELLS + LISTS => Contents::List(Vec::new()),
        _ => Contents::Map(BTreeMap::new()),
    }
}

fn name(object: usize) -> [u8; 8] {
    (object as u64).to_be_bytes()
}

fn map_of(contents: &mut Contents) -> &mut BTreeMap<u64, u64> {
    match contents {
        Contents::Map(map) => map,
        other => panic!("not a map: {other:?}"),
    }
}

/// Versions of all objects.
type Versions = Vec<Vec<Version>>;

/// The writer, and what it has done.
struct Author<'a> {
    scene: &'a Scene,
    writer: Writer,
    random: Random,
    /// What everybody sees who isn't a reader of what is committed.
    versions: Versions,
    /// What is committed, of a transactional store.
    committed: Option<Versions>,
    /// When what was staged was undone: entry by entry, so that plain readers beside it see maps undone in part.
    aborts: Vec<Span>,
    number: u64,
    label: u64,
    pending: Option<(u64, Pending, Vec<Contents>)>,
    complete: Option<(u64, Vec<Contents>)>,
}

impl<'a> Author<'a> {
    fn new(scene: &'a Scene, seed: u64, transactional: bool) -> Self {
        let writer = scene.store.writer(scene.store.range()).unwrap();
        let first = |object| vec![Version { span: Span { begun: 0, done: 0 }, contents: empty(object) }];
        let versions: Versions = (0..OBJECTS).map(first).collect();
        let committed = transactional.then(|| versions.clone());
        let (pending, complete) = Default::default();
        let random = Random(seed);
        Self { scene, writer, random, versions, committed, aborts: Vec::new(), number: 0, label: 0, pending, complete }
    }

    fn now(&self, object: usize) -> Contents {
        self.versions[object].last().unwrap().contents.clone()
    }

    fn now_all(&self) -> Vec<Contents> {
        (0..OBJECTS).map(|object| self.now(object)).collect()
    }

    fn became(&mut self, object: usize, span: Span, contents: Contents) {
        self.versions[object].push(Version { span, contents });
    }

    /// A number for this object, mostly of those whose bytes are as many as before.
    fn next(&mut self, object: usize) -> u64 {
        let kind = if self.random.below(8) == 0 { self.random.below(8) } else { object % 8 };
        self.number += 1;
        self.number * 8 + kind as u64
    }

    fn cell(&mut self, object: usize) {
        let (scene, next, name) = (self.scene, self.next(object), name(object));
        let key = Key::new(group(object), &name);
        let before = self.now(object);
        let (span, contents) = match self.random.below(10) {
            0 => (scene.timed(|| self.writer.delete(scene.cells, key).unwrap()).0, Contents::Cell(None)),
            1..5 => {
                (scene.timed(|| self.writer.put(scene.cells, key, &bytes(next)).unwrap()).0, Contents::Cell(Some(next)))
            }
            _ => {
                let (span, found) = scene.timed(|| {
                    let mut found = None;
                    let mut change = |old: Option<&[u8]>| {
                        found = old.map(number);
                        Some(bytes(next))
                    };
                    self.writer.update(scene.cells, key, &mut change).unwrap();
                    found
                });
                assert_eq!(Contents::Cell(found), before, "what the writer itself finds");
                (span, Contents::Cell(Some(next)))
            }
        };
        self.became(object, span, contents);
    }

    /// Many cells by one call; each is changed at some moment of it.
    fn cells(&mut self) {
        let scene = self.scene;
        let numbers: Vec<u64> = (0..CELLS).map(|object| self.next(object)).collect();
        let names: Vec<[u8; 8]> = (0..CELLS).map(name).collect();
        let keys: Vec<Key<'_>> = names.iter().enumerate().map(|(object, name)| Key::new(group(object), name)).collect();
        let change = |index: usize, _: Option<&[u8]>| Some(bytes(numbers[index]));
        let (span, ()) = scene.timed(|| self.writer.update_many(scene.cells, &keys, change).unwrap());
        for (object, &number) in numbers.iter().enumerate() {
            self.became(object, span, Contents::Cell(Some(number)));
        }
    }

    fn list(&mut self, object: usize) {
        let (scene, next, name) = (self.scene, self.next(object), name(object));
        let key = Key::new(group(object), &name);
        let Contents::List(mut list) = self.now(object) else { panic!("not a list") };
        let span = if list.len() > 30 || self.random.below(15) == 0 {
            list.clear();
            scene.timed(|| self.writer.delete(scene.lists, key).unwrap()).0
        } else if self.random.below(6) == 0 {
            list = vec![next, next + 8];
            self.number += 1;
            let elements = [bytes(next), bytes(next + 8)];
            scene.timed(|| self.writer.put_list(scene.lists, key, &[&elements[0], &elements[1]]).unwrap()).0
        } else {
            list.push(next);
            scene.timed(|| self.writer.append(scene.lists, key, &bytes(next)).unwrap()).0
        };
        self.became(object, span, Contents::List(list));
    }

    fn map(&mut self, object: usize) {
        let (scene, next, name) = (self.scene, self.next(object), name(object));
        let key = Key::new(group(object), &name);
        let mut contents = self.now(object);
        let map = map_of(&mut contents);
        let entry = self.random.below(ENTRIES as usize) as u64;
        let span = match self.random.below(20) {
            0 => {
                let to = entry + 1 + self.random.below(10) as u64;
                map.retain(|at, _| *at < entry || *at >= to);
                let (from, to) = (entry.to_be_bytes(), to.to_be_bytes());
                let range = MapRange::between(Bound::Included(&from), Bound::Excluded(&to));
                scene.timed(|| self.writer.map_delete_range(scene.maps, key, &range).unwrap()).0
            }
            1..5 => {
                map.remove(&entry);
                scene.timed(|| self.writer.map_delete(scene.maps, key, &entry.to_be_bytes()).unwrap()).0
            }
            _ => {
                map.insert(entry, next);
                scene.timed(|| self.writer.map_put(scene.maps, key, &entry.to_be_bytes(), &bytes(next)).unwrap()).0
            }
        };
        self.became(object, span, contents);
    }

    /// A map whose user keys rise, and which is popped: what is put behind its front isn't in the table.
    fn queue(&mut self, object: usize) {
        let (scene, next, name) = (self.scene, self.next(object), name(object));
        let key = Key::new(group(object), &name);
        let mut contents = self.now(object);
        if map_of(&mut contents).len() < 60 && self.random.below(3) > 0 {
            let entry = self.number / 40 + self.random.below(30) as u64;
            map_of(&mut contents).insert(entry, next);
            let put = || self.writer.map_put(scene.maps, key, &entry.to_be_bytes(), &bytes(next)).unwrap();
            let (span, ()) = scene.timed(put);
            return self.became(object, span, contents);
        }
        let below = self.number / 40;
        let mut popped = Vec::new();
        let (span, ()) = scene.timed(|| {
            let take = |entry: &[u8], value: &[u8]| popped.push((entry.to_vec(), number(value)));
            self.writer.map_pop_below(scene.maps, key, &below.to_be_bytes(), take).unwrap();
        });
        // One after the other, so others may see it done in part.
        for (entry, value) in popped {
            let first = map_of(&mut contents).pop_first();
            assert_eq!(first, Some((u64::from_be_bytes(entry.try_into().unwrap()), value)));
            self.became(object, span, contents.clone());
        }
    }
}

impl Author<'_> {
    /// What else is there, so that not all of it fits into memory.
    fn fill(&mut self) {
        let scene = self.scene;
        for _ in 0..60 {
            let name = (1_000 + self.random.below(20_000)).to_be_bytes();
            let value = vec![name[7]; 500 + self.random.below(1_500)];
            let key = Key::new(KeyGroup(self.random.below(usize::from(GROUPS)) as u16), &name);
            self.writer.put(scene.cells, key, &value).unwrap();
        }
    }

    fn barrier(&mut self) {
        self.finish();
        self.label += 1;
        let pending = self.writer.barrier(Barrier::new(self.label)).unwrap();
        self.pending = Some((self.label, pending, self.now_all()));
    }

    fn finish(&mut self) {
        if let Some((label, pending, contents)) = self.pending.take() {
            pending.wait().unwrap();
            self.complete = Some((label, contents));
        }
    }

    /// Has some key groups go back to a checkpoint: that writes all of their objects at once.
    fn roll_back(&mut self) {
        self.finish();
        let Some((label, before)) = self.complete.clone() else { return };
        let first = self.random.below(usize::from(GROUPS)) as u16;
        let scope = KeyGroupRange::new(first, (first + 1).min(GROUPS - 1));
        let (span, _) = self.scene.timed(|| self.scene.store.rollback(&Scope::groups(scope), label).unwrap());
        for object in (0..OBJECTS).filter(|&object| scope.contains(group(object))) {
            self.became(object, span, before[object].clone());
        }
    }

    /// Commits, or undoes, what is staged.
    fn end_transaction(&mut self) {
        let Some(mut committed) = self.committed.take() else { return };
        let aborts = self.random.below(4) == 0;
        let (span, ()) = self.scene.timed(|| match aborts {
            true => self.writer.abort_transaction().unwrap(),
            false => drop(self.writer.commit(Commit::default()).unwrap()),
        });
        if aborts {
            self.aborts.push(span);
        }
        let (from, to) = if aborts { (&committed, &mut self.versions) } else { (&self.versions, &mut committed) };
        for (from, to) in from.iter().zip(to) {
            let contents = from.last().unwrap().contents.clone();
            to.push(Version { span, contents });
        }
        self.committed = Some(committed);
    }

    fn step(&mut self) {
        match self.random.below(1_000) {
            0..450 => {
                let object = self.random.below(CELLS);
                self.cell(object);
            }
            450..500 => self.cells(),
            500..600 => {
                let object = CELLS + self.random.below(LISTS);
                self.list(object);
            }
            600..800 => {
                let object = CELLS + LISTS + self.random.below(MAPS - 1);
                self.map(object);
            }
            800..950 => self.queue(OBJECTS - 1),
            950..985 => self.fill(),
            985..990 => self.barrier(),
            990..992 if self.committed.is_none() => self.roll_back(),
            _ => self.end_transaction(),
        }
    }
}

/// Reads one object after the other until the writer is at its end; which, and what of them.
fn look(scene: &Scene, reader: &Reader, mut random: Random) -> Vec<(usize, Read)> {
    let mut reads = Vec::new();
    let mut packed = Packed::new(1_000, 1 << 20);
    while !scene.ended.load(Ordering::Relaxed) {
        let object = random.below(OBJECTS);
        let name = name(object);
        let key = Key::new(group(object), &name);
        let entry = match object {
            object if object == OBJECTS - 1 => scene.clock.load(Ordering::Relaxed) / 100,
            _ => random.below(ENTRIES as usize) as u64,
        };
        let (span, seen) = match (empty(object), random.below(3)) {
            (Contents::Cell(_), _) => scene.timed(|| {
                let found = reader.get(scene.cells, key).unwrap();
                Seen::Whole(Contents::Cell(found.map(|found| number(&found))))
            }),
            (Contents::List(_), _) => scene.timed(|| {
                let list = reader.list(scene.lists, key).unwrap();
                Seen::Whole(Contents::List(list.iter().map(|element| number(element)).collect()))
            }),
            (_, 0) => scene.timed(|| {
                let found = reader.map_get(scene.maps, key, &entry.to_be_bytes()).unwrap();
                Seen::Entry(entry, found.map(|found| number(&found)))
            }),
            (_, 1) => {
                scene.timed(|| Seen::There(entry, reader.map_contains(scene.maps, key, &entry.to_be_bytes()).unwrap()))
            }
            _ => scene.timed(|| {
                let mut cursor = Cursor::entries(scene.maps, key, &MapRange::all());
                let mut map = BTreeMap::new();
                // All of a map lies in one batch, which is of one moment.
                if reader.fetch(&mut cursor, &mut packed).unwrap() {
                    let entries = packed.iter().map(|found| (found.user_key.try_into().unwrap(), number(found.value)));
                    map.extend(entries.map(|(entry, value)| (u64::from_be_bytes(entry), value)));
                }
                Seen::Whole(Contents::Map(map))
            }),
        };
        reads.push((object, Read { span, seen }));
    }
    reads
}

fn check(versions: &Versions, reads: Vec<(usize, Read)>) {
    let mut of_objects: Vec<Vec<Read>> = (0..OBJECTS).map(|_| Vec::new()).collect();
    reads.into_iter().for_each(|(object, read)| of_objects[object].push(read));
    for (object, reads) in of_objects.into_iter().enumerate() {
        assert!(reads.len() > 20, "object {object} was read {} times only", reads.len());
        if let Err(unexplained) = history::check(&versions[object], reads) {
            panic!("object {object}: {unexplained}");
        }
    }
}

fn histories_are_linearizable(seed: u64, transactional: bool) {
    let seed = std::env::var("LINEARIZABLE_SEED").map_or(seed, |seed| seed.parse().unwrap());
    let steps = std::env::var("LINEARIZABLE_STEPS").map_or(30_000, |steps| steps.parse().unwrap());
    println!("LINEARIZABLE_SEED={seed}");
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
    let scene = &Scene::new(&engine, directory.path(), transactional);
    let mut author = Author::new(scene, seed, transactional);
    let looking = |committed: bool, n: u64| {
        let reader = if committed { scene.store.reader().committed() } else { scene.store.reader() };
        move || look(scene, &reader, Random(seed * 31 + n + 1))
    };
    let (plain, committed) = std::thread::scope(|scope| {
        let plain = [scope.spawn(looking(false, 1)), scope.spawn(looking(false, 2))];
        let committed = [scope.spawn(looking(transactional, 3)), scope.spawn(looking(transactional, 4))];
        // The readers end also where a step panics.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (0..steps).for_each(|_| author.step())));
        scene.ended.store(true, Ordering::Relaxed);
        let all = |threads: [std::thread::ScopedJoinHandle<'_, Vec<(usize, Read)>>; 2]| {
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        };
        let reads = (all(plain), all(committed));
        outcome.unwrap();
        reads
    });
    let metrics = scene.store.metrics();
    println!("{} and {} reads, {} bytes evicted", plain.len(), committed.len(), metrics.owner.evicted_bytes);
    assert!(metrics.owner.evicted_bytes > 1 << 20, "everything stayed in memory");
    match &author.committed {
        Some(versions) => {
            let beside = |read: &Read| author.aborts.iter().any(|abort| read.span.overlaps(abort));
            let plain = plain.into_iter().filter(|(object, read)| *object < CELLS + LISTS || !beside(read));
            check(&author.versions, plain.collect());
            check(versions, committed);
        }
        None => check(&author.versions, plain.into_iter().chain(committed).collect()),
    }
}

#[test]
fn what_readers_see_is_linearizable() {
    histories_are_linearizable(0x5EED, false);
}

#[test]
fn what_is_staged_and_what_is_committed_is_linearizable() {
    histories_are_linearizable(0xC0FF, true);
}
