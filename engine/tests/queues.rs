//! Queues larger than memory: whatever is put far behind their fronts and taken from them, and whoever looks at them meanwhile, the
//! answers are those of a model.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "support/turns.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod turns;

use alluvium::{
    Barrier, Cursor, Engine, EngineOptions, Key, KeyGroup, KeyGroupRange, MapRange, Packed, Pending, Scope, State,
    StateOptions, Store, StoreOptions, Writer,
};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use turns::in_turns;

type Queue = BTreeMap<Vec<u8>, Vec<u8>>;
type Pair = (Vec<u8>, Vec<u8>);

const QUEUES: usize = 4;
/// How far ahead timers are set, at most.
const AHEAD: usize = 20_000;

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

/// Two queues of one key group, one of which is in a namespace, and one of each of two others.
fn key(queue: usize) -> Key<'static> {
    match queue {
        0 => Key::new(KeyGroup(0), b"first"),
        1 => Key::new(KeyGroup(0), b"first").in_namespace(b"second"),
        2 => Key::new(KeyGroup(1), b""),
        _ => Key::new(KeyGroup(2), b"fourth"),
    }
}

fn owned((user_key, value): (&Vec<u8>, &Vec<u8>)) -> Pair {
    (user_key.clone(), value.clone())
}

struct World<'a> {
    path: &'a Path,
    engine: Engine,
    store: Option<Store>,
    writer: Option<Writer>,
    state: State,
    model: Vec<Queue>,
    random: Random,
    now: usize,
    label: u64,
    /// Checkpoints on their way, with what they have.
    pending: Vec<(u64, Pending, Vec<Queue>)>,
    /// The last one that is complete.
    complete: Option<(u64, Vec<Queue>)>,
}

impl<'a> World<'a> {
    fn new(path: &'a Path, seed: u64) -> Self {
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
        let store = Store::create(&engine, path, StoreOptions::default()).unwrap();
        let state = store.state(StateOptions::map("queues")).unwrap();
        let writer = Some(store.writer(store.range()).unwrap());
        let (model, random) = (vec![Queue::new(); QUEUES], Random(seed));
        let (pending, complete) = Default::default();
        Self { path, engine, store: Some(store), writer, state, model, random, now: 0, label: 0, pending, complete }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    fn timer(&mut self, due: usize) -> Vec<u8> {
        [&(due as u64).to_be_bytes()[..], &(self.random.below(3) as u16).to_be_bytes()].concat()
    }

    /// A user key that is there, or perhaps isn't.
    fn some(&mut self, queue: usize) -> Vec<u8> {
        let due = self.now + self.random.below(AHEAD);
        let timer = self.timer(due);
        let near = self.model[queue].range(timer.clone()..).next().map(|(timer, _)| timer.clone());
        if self.random.below(4) == 0 { timer } else { near.unwrap_or(timer) }
    }

    fn put(&mut self, queue: usize) {
        let user_key = match self.random.below(20) {
            0 => self.some(queue),
            1 => self.timer(self.now.saturating_sub(50)),
            2..4 => {
                let due = self.now + self.random.below(60);
                self.timer(due)
            }
            _ => {
                let due = self.now + self.random.below(AHEAD);
                self.timer(due)
            }
        };
        let bytes = if self.random.below(500) == 0 { self.random.below(9_000) } else { self.random.below(60) };
        let value = vec![self.random.below(256) as u8; bytes];
        let state = self.state;
        self.writer().map_put(state, key(queue), &user_key, &value).unwrap();
        self.model[queue].insert(user_key, value);
    }

    fn pop_below(&mut self, queue: usize) {
        self.now += self.random.below(30);
        let below = (self.now as u64).to_be_bytes();
        let (state, mut popped) = (self.state, Vec::new());
        let take = |user_key: &[u8], value: &[u8]| popped.push((user_key.to_vec(), value.to_vec()));
        self.writer().map_pop_below(state, key(queue), &below, take).unwrap();
        let rest = self.model[queue].split_off(&below[..]);
        let due = std::mem::replace(&mut self.model[queue], rest);
        assert!(popped.into_iter().eq(due), "not what was due");
    }

    fn pop_first(&mut self, queue: usize) {
        let state = self.state;
        let popped = self.writer().map_pop_first(state, key(queue)).unwrap();
        assert_eq!(popped, self.model[queue].pop_first());
    }

    fn look(&mut self, queue: usize) {
        let (state, user_key) = (self.state, self.some(queue));
        let wanted = self.model[queue].get(&user_key).cloned();
        match self.random.below(4) {
            0 => assert_eq!(self.writer().map_get(state, key(queue), &user_key).unwrap(), wanted),
            1 => {
                let first = self.model[queue].first_key_value().map(owned);
                assert_eq!(self.writer().map_first(state, key(queue)).unwrap(), first);
            }
            _ => assert_eq!(self.store().reader().map_get(state, key(queue), &user_key).unwrap(), wanted),
        }
    }

    fn delete(&mut self, queue: usize) {
        let (state, from) = (self.state, self.some(queue));
        if self.random.below(3) > 0 {
            self.writer().map_delete(state, key(queue), &from).unwrap();
            self.model[queue].remove(&from);
            return;
        }
        let from = if self.random.below(4) == 0 { Vec::new() } else { from };
        let due = self.now + self.random.below(AHEAD / 8);
        let to = self.timer(due);
        let range = MapRange::between(Bound::Included(&from), Bound::Excluded(&to));
        self.writer().map_delete_range(state, key(queue), &range).unwrap();
        self.model[queue].retain(|user_key, _| *user_key < from || *user_key >= to);
    }

    /// Goes through some entries, in either direction, as the writer or a reader does.
    fn walk(&mut self, queue: usize) {
        let (state, from, reverse) = (self.state, self.some(queue), self.random.below(2) == 0);
        let (most, how) = (self.random.below(300), self.random.below(3));
        let range = MapRange::between(Bound::Included(&from), Bound::Unbounded);
        let range = if reverse { range.reversed() } else { range };
        let mut seen: Vec<Pair> = Vec::new();
        if how == 0 {
            let visit = |user_key: &[u8], value: &[u8]| {
                seen.push((user_key.to_vec(), value.to_vec()));
                if seen.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            self.writer().map_scan(state, key(queue), &range, visit).unwrap();
        } else {
            let (mut cursor, mut out) = (Cursor::entries(state, key(queue), &range), Packed::new(100, 2_000));
            let reader = self.store().reader();
            while seen.len() < most {
                let more = match how {
                    1 => reader.fetch(&mut cursor, &mut out).unwrap(),
                    _ => self.writer().fetch(&mut cursor, &mut out).unwrap(),
                };
                seen.extend(out.iter().map(|record| (record.user_key.to_vec(), record.value.to_vec())));
                if !more {
                    break;
                }
            }
        }
        let all = self.model[queue].range(from..).map(owned);
        let count = if seen.len() < most { usize::MAX } else { seen.len() };
        let wanted: Vec<Pair> = if reverse { all.rev().take(count).collect() } else { all.take(count).collect() };
        assert!(seen == wanted, "queue {queue}: {} entries aren't those of the model", seen.len());
    }

    /// Which queues there are.
    fn keys(&mut self) {
        let (mut cursor, mut out) =
            (Cursor::keys_and_namespaces(self.state, KeyGroupRange::new(0, 2)), Packed::new(100, 2_000));
        let mut seen = Vec::new();
        while self.writer().fetch(&mut cursor, &mut out).unwrap() {
            seen.extend(out.iter().map(|of| (of.group.0, of.key.to_vec(), of.namespace.to_vec())));
        }
        let there = (0..QUEUES).filter(|&queue| !self.model[queue].is_empty()).map(key);
        let mut wanted: Vec<_> = there.map(|of| (of.group.0, of.key.to_vec(), of.namespace.to_vec())).collect();
        seen.sort();
        wanted.sort();
        assert_eq!(seen, wanted);
    }

    fn barrier(&mut self) {
        self.label += 1;
        let pending = self.store().barrier(Barrier::new(self.label)).unwrap();
        self.pending.push((self.label, pending, self.model.clone()));
        if self.pending.len() > 2 {
            self.complete();
        }
    }

    /// Waits for the checkpoints that are on their way.
    fn complete(&mut self) {
        for (label, pending, model) in self.pending.drain(..) {
            pending.wait().unwrap();
            self.complete = Some((label, model));
        }
    }

    fn roll_back(&mut self) {
        self.complete();
        let Some((label, before)) = self.complete.clone() else { return };
        let group = self.random.below(3) as u16;
        self.store().rollback(&Scope::groups(KeyGroupRange::new(group, group)), label).unwrap();
        for queue in (0..QUEUES).filter(|&queue| key(queue).group.0 == group) {
            self.model[queue].clone_from(&before[queue]);
        }
    }

    /// Opens the store anew; what came after the last checkpoint is gone.
    fn again(&mut self) {
        if self.random.below(2) == 0 {
            self.barrier();
        }
        self.complete();
        let Some((_, model)) = self.complete.clone() else { return };
        drop(self.writer.take());
        self.store.take().unwrap().close().unwrap();
        let store = Store::open(&self.engine, self.path, StoreOptions::default()).unwrap();
        self.state = store.state(StateOptions::map("queues")).unwrap();
        self.writer = Some(store.writer(store.range()).unwrap());
        self.store = Some(store);
        self.model = model;
    }

    /// One step; of queues that are only put into and taken from, or of any kind.
    fn step(&mut self, plain: bool) {
        let queue = self.random.below(QUEUES);
        match self.random.below(if plain { 700 } else { 1_000 }) {
            0..500 => self.put(queue),
            500..620 => self.pop_below(queue),
            620..670 => self.pop_first(queue),
            670..673 => self.barrier(),
            673..700 => {}
            700..780 => self.look(queue),
            780..850 => self.delete(queue),
            850..950 => self.walk(queue),
            950..970 => self.keys(),
            970..990 => self.barrier(),
            990..996 => self.roll_back(),
            _ => self.again(),
        }
    }

    /// Takes everything out.
    fn empty(&mut self) {
        let state = self.state;
        for queue in 0..QUEUES {
            while let Some(entry) = self.model[queue].pop_first() {
                assert_eq!(self.writer().map_pop_first(state, key(queue)).unwrap(), Some(entry), "queue {queue}");
            }
            assert_eq!(self.writer().map_pop_first(state, key(queue)).unwrap(), None);
        }
    }
}

fn queues_are_those_of_a_model(seed: u64) {
    let seed = std::env::var("QUEUES_SEED").map_or(seed, |seed| seed.parse().unwrap());
    println!("QUEUES_SEED={seed}");
    let directory = tempfile::tempdir().unwrap();
    in_turns(seed, || {
        let mut world = World::new(directory.path(), seed);
        for n in 0..40_000 {
            world.put(n % QUEUES);
        }
        for _ in 0..60 {
            // So that queues are what they are for a while, and now and then something else is asked of them.
            for _ in 0..500 {
                world.step(true);
            }
            for _ in 0..world.random.below(80) {
                world.step(false);
            }
        }
        world.empty();
    });
}

#[test]
fn queues_are_those_of_a_model_1() {
    queues_are_those_of_a_model(0x5EED);
}

#[test]
fn queues_are_those_of_a_model_2() {
    queues_are_those_of_a_model(77);
}

/// Queues that were filled before anybody popped them lie in memory as records. Once they are popped, and memory is short, what is far
/// behind their fronts leaves with the first runs, not one by one when room is needed.
#[test]
fn what_was_put_before_a_queue_was_popped_leaves_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new(directory.path(), 0xFA5);
    for n in 0..40_000 {
        world.put(n % QUEUES);
    }
    world.barrier();
    world.complete();
    let evicted = |world: &World<'_>| world.store().metrics().owner.evicted_bytes;
    let before = evicted(&world);
    for queue in 0..QUEUES {
        world.pop_first(queue);
    }
    let left = evicted(&world) - before;
    assert!(left > 256 << 10, "{left} bytes left memory");
    world.empty();
}

/// A walk looked at all that was put far for each of its batches. It looks at as much as a batch takes, and misses nothing where timers were set
/// several times, in one epoch or in several, and where some lie in memory as records and others on disk.
#[test]
fn walks_in_small_batches_find_what_was_put_far() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new(directory.path(), 0xFA6);
    for n in 0..40_000 {
        world.put(n % QUEUES);
    }
    for round in 0..2 {
        world.barrier();
        (0..4 * QUEUES).for_each(|n| world.pop_below(n % QUEUES));
        for n in 0..3_000 {
            let (queue, due) = (n % QUEUES, 15_000 + world.random.below(1_000));
            let (state, timer, value) = (world.state, world.timer(due), vec![round, n as u8, (n >> 8) as u8]);
            world.writer().map_put(state, key(queue), &timer, &value).unwrap();
            world.model[queue].insert(timer, value);
        }
    }
    let ways = [(1, false), (1, true), (7, false), (7, true), (100, false), (100, true)];
    for (turn, (records_max, reverse)) in ways.into_iter().cycle().take(QUEUES * ways.len()).enumerate() {
        let (queue, as_writer) = (turn / ways.len(), turn % 3 == 0);
        let range = if reverse { MapRange::all().reversed() } else { MapRange::all() };
        let (reader, mut cursor) = (world.store().reader(), Cursor::entries(world.state, key(queue), &range));
        let (mut out, mut seen) = (Packed::new(records_max, 1 << 20), Vec::new());
        loop {
            let more = match as_writer {
                true => world.writer().fetch(&mut cursor, &mut out).unwrap(),
                false => reader.fetch(&mut cursor, &mut out).unwrap(),
            };
            seen.extend(out.iter().map(|record| (record.user_key.to_vec(), record.value.to_vec())));
            if !more {
                break;
            }
        }
        let all = world.model[queue].iter().map(owned);
        let wanted: Vec<Pair> = if reverse { all.rev().collect() } else { all.collect() };
        assert!(seen == wanted, "queue {queue}: {} entries, not {}", seen.len(), wanted.len());
    }
    world.complete();
    world.empty();
}
