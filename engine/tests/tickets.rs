//! Reads that were submitted, beside a model: each answer is what was there at its place in the order, whatever came
//! after it, and whatever was flushed, evicted and merged meanwhile.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;

#[path = "support/turns.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod turns;

use alluvium::{
    Barrier, Batch, Class, Engine, EngineOptions, Error, Key, KeyGroup, KeyGroupRange, MergeOperator, Operation,
    ReadsInFlight, State, StateOptions, StorageChoice, Store, StoreOptions, Ticket, Ttl, Writer,
};
use rng::Rng;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::channel;
use turns::in_turns;

const TTL: Ttl = Ttl { duration_ms: 400, refresh_on_read: false };

fn options() -> StoreOptions {
    StoreOptions { key_groups: 8, range: KeyGroupRange::new(0, 7), ..Default::default() }
}

fn engine(storage: StorageChoice) -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, storage, ..Default::default() }).unwrap()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Value,
    Expiring,
    List,
    Sum,
    Map,
}

const KINDS: [Kind; 5] = [Kind::Value, Kind::Expiring, Kind::List, Kind::Sum, Kind::Map];

/// What a key of a state, or an entry of a map, has.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Content {
    Bytes(Vec<u8>, u64),
    Elements(Vec<Vec<u8>>),
    Sum(u64),
}

type At = (Kind, u16, Vec<u8>);

struct World {
    store: Store,
    writer: Writer,
    states: BTreeMap<Kind, State>,
    content: BTreeMap<At, Content>,
    now_ms: u64,
    rng: Rng,
    /// With what each read is to be answered.
    tickets: Vec<(Ticket, BTreeMap<usize, Option<Content>>)>,
    label: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>),
    Delete,
    Read,
}

impl World {
    fn open(engine: &Engine, path: &Path, seed: u64) -> Self {
        let store = Store::open_or_create(engine, path, options()).unwrap();
        let register = |kind| {
            let options = match kind {
                Kind::Value => StateOptions::value("value"),
                Kind::Expiring => StateOptions::value("expiring").ttl(TTL),
                Kind::List => StateOptions::list("list"),
                Kind::Sum => StateOptions::merging("sum", MergeOperator::U64Add),
                Kind::Map => StateOptions::map("map"),
            };
            (kind, store.state(options).unwrap())
        };
        let states = KINDS.into_iter().map(register).collect();
        let mut writer = store.writer(store.range()).unwrap();
        writer.set_time_ms(1);
        let rng = Rng::new(seed);
        Self { store, writer, states, content: BTreeMap::new(), now_ms: 1, rng, tickets: Vec::new(), label: 0 }
    }

    fn at(&mut self) -> At {
        let kind = *self.rng.pick(&KINDS);
        (kind, self.rng.below(8) as u16, format!("key-{}", self.rng.below(500)).into_bytes())
    }

    fn expected(&self, at: &At) -> Option<Content> {
        match self.content.get(at)? {
            Content::Bytes(_, expiry_ms) if *expiry_ms <= self.now_ms => None,
            content => Some(content.clone()),
        }
    }

    /// What an operation makes of the model.
    fn note(&mut self, at: &At, step: &Step) {
        let expiry_ms = if at.0 == Kind::Expiring { self.now_ms + TTL.duration_ms } else { u64::MAX };
        match (step, at.0) {
            (Step::Delete, _) => {
                self.content.remove(at);
            }
            (Step::Put(bytes), Kind::List) => {
                match self.content.entry(at.clone()).or_insert(Content::Elements(Vec::new())) {
                    Content::Elements(elements) => elements.push(bytes.clone()),
                    _ => unreachable!(),
                }
            }
            (Step::Put(_), Kind::Sum) => match self.content.entry(at.clone()).or_insert(Content::Sum(0)) {
                Content::Sum(sum) => *sum += 3,
                _ => unreachable!(),
            },
            (Step::Put(bytes), _) => {
                self.content.insert(at.clone(), Content::Bytes(bytes.clone(), expiry_ms));
            }
            (Step::Read, _) => {}
        }
    }

    fn submit(&mut self) {
        let count = 1 + self.rng.below(120);
        let mut steps = Vec::with_capacity(count);
        for _ in 0..count {
            let at = self.at();
            let step = match self.rng.below(10) {
                0..=2 => Step::Put(vec![self.rng.below(256) as u8; 1 + self.rng.below(500)]),
                3 => Step::Delete,
                _ => Step::Read,
            };
            steps.push((at, step));
        }
        let sum = 3_u64.to_le_bytes();
        let mut batch = Batch::new();
        for ((kind, group, key), step) in &steps {
            let operation = match (step, kind) {
                (Step::Put(bytes), Kind::List) => Operation::Append(bytes),
                (Step::Put(_), Kind::Sum) => Operation::Merge(&sum),
                (Step::Put(bytes), Kind::Map) => Operation::MapPut(key, bytes),
                (Step::Put(bytes), _) => Operation::Put(bytes),
                (Step::Delete, Kind::Map) => Operation::MapDelete(key),
                (Step::Delete, _) => Operation::Delete,
                (Step::Read, Kind::List) => Operation::List,
                (Step::Read, Kind::Map) => Operation::MapGet(key),
                (Step::Read, _) => Operation::Get,
            };
            // All entries of a key group lie in one map.
            let key = if *kind == Kind::Map { &b"map"[..] } else { key };
            batch.push(self.states[kind], Key::new(KeyGroup(*group), key), operation);
        }
        if self.writer.is_full() {
            let refused = self.writer.submit(&batch).unwrap_err();
            assert!(matches!(refused, Error::Busy { .. }) && refused.class() == Class::Retry);
            return;
        }
        let ticket = self.writer.submit(&batch).unwrap();
        let mut expected = BTreeMap::new();
        for (index, (at, step)) in steps.iter().enumerate() {
            if matches!(step, Step::Read) {
                expected.insert(index, self.expected(at));
            }
            self.note(at, step);
        }
        self.tickets.push((ticket, expected));
    }

    /// Takes what answers there are of some ticket.
    fn poll(&mut self, at: usize) {
        let (ticket, expected) = &mut self.tickets[at];
        let answers = match self.rng.one_in(4) {
            true => ticket.poll(),
            false => self.writer.poll(ticket).unwrap(),
        };
        for answer in answers {
            let wanted = expected.remove(&answer.index());
            let wanted = wanted.unwrap_or_else(|| panic!("read {} was answered twice", answer.index()));
            let found = answer.value().unwrap().map(<[u8]>::to_vec);
            match wanted {
                None => assert_eq!(found, None, "read {}", answer.index()),
                Some(Content::Bytes(bytes, _)) => assert_eq!(found, Some(bytes), "read {}", answer.index()),
                Some(Content::Sum(sum)) => assert_eq!(found, Some(sum.to_le_bytes().to_vec())),
                Some(Content::Elements(elements)) => assert!(answer.elements().eq(elements.iter().map(Vec::as_slice))),
            }
        }
        if ticket.is_done() {
            assert!(expected.is_empty(), "{} reads were not answered", expected.len());
            self.tickets.swap_remove(at);
        }
    }

    fn drain(&mut self) {
        while !self.tickets.is_empty() {
            self.tickets[0].0.wait();
            self.poll(0);
        }
    }

    fn direct(&mut self) {
        let at = self.at();
        let (state, map) = (self.states[&at.0], Key::new(KeyGroup(at.1), b"map"));
        let key = Key::new(KeyGroup(at.1), &at.2);
        let bytes = vec![7; 1 + self.rng.below(400)];
        let delete = self.rng.one_in(3);
        match (at.0, delete) {
            (Kind::Map, false) => self.writer.map_put(state, map, &at.2, &bytes),
            (Kind::Map, true) => self.writer.map_delete(state, map, &at.2),
            (_, true) => self.writer.delete(state, key),
            (Kind::List, _) => self.writer.append(state, key, &bytes),
            (Kind::Sum, _) => self.writer.merge(state, key, &3_u64.to_le_bytes()),
            _ => self.writer.put(state, key, &bytes),
        }
        .unwrap();
        self.note(&at, &if delete { Step::Delete } else { Step::Put(bytes) });
    }

    fn checkpoint(&mut self) {
        self.label += 1;
        let refuse = self.rng.one_in(2);
        let reads = if refuse { ReadsInFlight::Refuse } else { ReadsInFlight::Drain };
        let outcome = self.store.barrier(Barrier { reads, ..Barrier::new(self.label) });
        match outcome {
            Ok(pending) => {
                if !refuse {
                    assert!(self.tickets.iter().all(|(ticket, _)| ticket.is_complete()), "a barrier did not drain");
                }
                if self.rng.one_in(2) {
                    pending.wait().unwrap();
                }
            }
            Err(error) => assert!(refuse && matches!(error, Error::Busy { .. }), "{error}"),
        }
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0..=9 => self.submit(),
            10..=13 if !self.tickets.is_empty() => {
                let at = self.rng.below(self.tickets.len());
                self.poll(at);
            }
            14 => (0..50).for_each(|_| self.direct()),
            15 => self.checkpoint(),
            16 => {
                self.now_ms += self.rng.below(200) as u64;
                self.writer.set_time_ms(self.now_ms);
            }
            17 if self.rng.one_in(10) => self.store.compact().unwrap(),
            18 if !self.tickets.is_empty() && self.rng.one_in(3) => {
                let at = self.rng.below(self.tickets.len());
                drop(self.tickets.swap_remove(at));
            }
            _ => {}
        }
    }
}

fn run(storage: StorageChoice, seed: u64) {
    println!("seed {seed}, {storage:?}");
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(storage);
    let mut world = World::open(&engine, directory.path(), seed);
    for round in 0..4 {
        (0..150).for_each(|_| world.step());
        world.drain();
        // Everything once more, from what is on disk alone.
        world.store.barrier(Barrier::new(1_000 + round)).unwrap().wait().unwrap();
        let World { store, writer, content, now_ms, .. } = world;
        drop(writer);
        store.close().unwrap();
        world = World { content, now_ms, ..World::open(&engine, directory.path(), seed * 100 + round) };
        world.writer.set_time_ms(now_ms);
        (0..40).for_each(|_| world.submit());
        world.drain();
    }
}

#[test]
fn answers_are_what_was_there_when_it_was_asked() {
    let from = std::env::var("ALLUVIUM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let runs = std::env::var("ALLUVIUM_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(3);
    for seed in from..from + runs {
        in_turns(seed, || run(StorageChoice::Auto, seed));
        in_turns(seed, || run(StorageChoice::Posix, seed));
    }
}

/// A store with some MiB of values, of which memory has none.
fn cold(engine: &Engine, path: &Path, keys: u32) -> (Store, Writer, State) {
    let store = Store::create(engine, path, options()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for number in 0..keys {
        writer.put(state, store.key(&number.to_be_bytes()), &[1; 400]).unwrap();
    }
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();
    let store = Store::open(engine, path, options()).unwrap();
    let writer = store.writer(store.range()).unwrap();
    (store, writer, state)
}

#[test]
fn a_store_takes_only_so_many_reads_and_more_when_answers_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(StorageChoice::Auto);
    let (store, mut writer, state) = cold(&engine, directory.path(), 40_000);
    let mut tickets = Vec::new();
    let mut next = 0_u32;
    let mut submit = |writer: &mut Writer| {
        let keys: Vec<[u8; 4]> = (next..next + 1_000).map(u32::to_be_bytes).collect();
        let mut batch = Batch::new();
        keys.iter().for_each(|key| batch.push(state, store.key(key), Operation::Get));
        let ticket = writer.submit(&batch);
        next += 1_000;
        ticket
    };
    while !writer.is_full() {
        tickets.push(submit(&mut writer).unwrap());
    }
    assert_eq!(tickets.len(), 9);
    assert!(matches!(submit(&mut writer), Err(Error::Busy { .. })));
    let (told, complete) = channel();
    tickets[0].on_complete(move || told.send(()).unwrap());
    complete.recv().unwrap();
    let answers = writer.poll(&mut tickets[0]).unwrap();
    assert!(answers.len() == 1_000 && tickets[0].is_done());
    assert!(answers.iter().all(|answer| answer.value().unwrap() == Some(&[1; 400])));
    drop(tickets.split_off(5));
    tickets.iter().for_each(Ticket::wait);
    assert!(!writer.is_full());
    tickets.push(submit(&mut writer).unwrap());
    // What was taken through the writer is in memory now.
    let before = store.metrics().owner.cold_lookups;
    assert!(writer.get(state, store.key(&0_u32.to_be_bytes())).unwrap().is_some());
    assert_eq!(store.metrics().owner.cold_lookups, before);
    // Closing waits for the rest; an answer that is there can still be taken.
    let mut last = tickets.pop().unwrap();
    store.close().unwrap();
    assert_eq!(last.poll().len(), 1_000);
    assert!(writer.submit(&Batch::new()).is_err());
}

/// A value whose time reading starts anew: where it is read from disk, that happens when its answer is taken.
#[test]
fn taking_an_answer_through_the_writer_starts_a_values_time_anew() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(StorageChoice::Auto);
    let ttl = Ttl { duration_ms: 1_000, refresh_on_read: true };
    for (round, through_writer) in [(0, true), (1, false)] {
        let path = directory.path().join(round.to_string());
        let store = Store::create(&engine, &path, options()).unwrap();
        store.state(StateOptions::value("v").ttl(ttl)).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let value = store.state(StateOptions::value("v").ttl(ttl)).unwrap();
        writer.put(value, store.key(b"k"), b"1").unwrap();
        store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        drop(writer);
        store.close().unwrap();
        let store = Store::open(&engine, &path, options()).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        writer.set_time_ms(900);
        let mut batch = Batch::new();
        batch.push(value, store.key(b"k"), Operation::Get);
        let mut ticket = writer.submit(&batch).unwrap();
        ticket.wait();
        let answers = if through_writer { writer.poll(&mut ticket).unwrap() } else { ticket.poll() };
        assert_eq!(answers[0].value().unwrap(), Some(&b"1"[..]));
        writer.set_time_ms(1_800);
        assert_eq!(writer.get(value, store.key(b"k")).unwrap().is_some(), through_writer);
    }
}

#[test]
fn a_batch_with_reads_is_submitted_not_applied() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(StorageChoice::Auto);
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let value = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let mut batch = Batch::new();
    batch.push(value, store.key(b"k"), Operation::Put(b"1"));
    batch.push(value, store.key(b"k"), Operation::Get);
    assert!(matches!(writer.apply(&batch), Err(Error::Options { .. })));
    assert_eq!(writer.get(value, store.key(b"k")).unwrap(), None, "half of a refused batch was done");
    let mut wrong = Batch::new();
    wrong.push(value, store.key(b"k"), Operation::List);
    assert!(matches!(writer.submit(&wrong), Err(Error::State { .. })));
    let mut ticket = writer.submit(&batch).unwrap();
    assert!(ticket.is_complete() && !ticket.is_done());
    assert_eq!(ticket.poll()[0].value().unwrap(), Some(&b"1"[..]));
    assert!(ticket.is_done());
}

/// An answer that was taken after its value had expired brought it back to life.
#[test]
fn what_has_expired_when_its_answer_is_taken_stays_so() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(StorageChoice::Auto);
    let ttl = Ttl { duration_ms: 100, refresh_on_read: true };
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let value = store.state(StateOptions::value("v").ttl(ttl)).unwrap();
    let map = store.state(StateOptions::map("m").ttl(ttl)).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(value, store.key(b"k"), b"1").unwrap();
    writer.map_put(map, store.key(b"k"), b"u", b"1").unwrap();
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();
    let store = Store::open(&engine, directory.path(), options()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.set_time_ms(90);
    let mut batch = Batch::new();
    batch.push(value, store.key(b"k"), Operation::Get);
    batch.push(map, store.key(b"k"), Operation::MapGet(b"u"));
    let mut ticket = writer.submit(&batch).unwrap();
    ticket.wait();
    writer.set_time_ms(200);
    let answers = writer.poll(&mut ticket).unwrap();
    assert!(answers.iter().all(|answer| answer.value().unwrap() == Some(b"1")), "what was there when it was asked");
    assert_eq!(writer.get(value, store.key(b"k")).unwrap(), None);
    assert_eq!(writer.map_get(map, store.key(b"k"), b"u").unwrap(), None);
}
