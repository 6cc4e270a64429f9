//! Batches do what their operations do one by one, however short the way is that some of them take.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Barrier, Batch, Commit, Durability, Engine, EngineOptions, Error, Key, KeyGroup, Operation, Pending, State,
    StateOptions, Store, StoreOptions, Ttl, Writer,
};
use std::collections::BTreeMap;
use std::path::Path;

/// Multiplier and increment of Knuth's MMIX.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

const STATES: usize = 4;
const LIST: usize = 3;
/// Where the model has it: state, key group, key, namespace.
type Address = (usize, u16, Vec<u8>, Vec<u8>);
type Model = BTreeMap<Address, Vec<u8>>;

fn key_of(address: &Address) -> Key<'_> {
    Key::new(KeyGroup(address.1), &address.2).in_namespace(&address.3)
}

fn states(store: &Store) -> [State; STATES] {
    let ttl = Ttl { duration_ms: 1 << 40, refresh_on_read: false };
    [
        StateOptions::value("a"),
        StateOptions::value("b"),
        StateOptions::value("expiring").ttl(ttl),
        StateOptions::list("l"),
    ]
    .map(|options| store.state(options).unwrap())
}

/// An address of few, of keys of all lengths; the states that there is a short way to most often.
fn address(random: &mut Random) -> Address {
    let number = random.below(400);
    let state = [0, 0, 0, 0, 1, 1, 2, 3][random.below(8) as usize];
    let namespace = if random.below(10) == 0 { vec![7; 1 + random.below(3) as usize] } else { Vec::new() };
    (state, (number % 4) as u16 * 31, vec![(number / 164) as u8; (number / 4 % 41) as usize], namespace)
}

/// A value as long as the one before, mostly.
fn value(random: &mut Random, old: Option<&Vec<u8>>) -> Vec<u8> {
    let lens = [0, 1, 8, 8, 100, 256, 257, 1_024, 3_000, 5_000];
    let len = match old {
        Some(old) if random.below(20) > 0 => old.len(),
        _ => lens[random.below(lens.len() as u64) as usize],
    };
    (0..len).map(|_| random.below(256) as u8).collect()
}

/// Does a batch, to the store and the model.
fn step(random: &mut Random, writer: &mut Writer, states: &[State; STATES], model: &mut Model) {
    let count = [1, 5, 40, 100][random.below(4) as usize];
    let mut made: Vec<(Address, Option<Vec<u8>>)> = Vec::new();
    for _ in 0..count {
        let address = address(random);
        let change = if address.0 == LIST {
            vec![5; 3]
        } else {
            // As long as what the batch itself left there, if it did.
            let before = made.iter().rev().find(|(made, _)| *made == address).and_then(|(_, value)| value.as_ref());
            value(random, before.or_else(|| model.get(&address)))
        };
        let is_deleted = random.below(40) == 0;
        made.push((address, (!is_deleted).then_some(change)));
    }
    let mut batch = Batch::with_capacity(made.len());
    for (address, change) in &made {
        let operation = match change {
            None => Operation::Delete,
            Some(element) if address.0 == LIST => Operation::Append(element),
            Some(value) => Operation::Put(value),
        };
        batch.push(states[address.0], key_of(address), operation);
    }
    writer.apply(&batch).unwrap();
    for (address, change) in made {
        match change {
            None => _ = model.remove(&address),
            Some(element) if address.0 == LIST => model.entry(address).or_default().extend(element),
            Some(value) => _ = model.insert(address, value),
        }
    }
}

fn check(writer: &mut Writer, states: &[State; STATES], model: &Model) {
    for number in 0..400 {
        let (group, key) = ((number % 4) as u16 * 31, vec![(number / 164) as u8; (number / 4 % 41) as usize]);
        for (state, namespace) in (0..STATES).flat_map(|state| (0..4).map(move |len| (state, vec![7; len]))) {
            let address = (state, group, key.clone(), namespace);
            let found = match state {
                LIST => Some(writer.list(states[state], key_of(&address)).unwrap().concat()),
                _ => writer.get(states[state], key_of(&address)).unwrap(),
            };
            let expected = model.get(&address).cloned().or((state == LIST).then(Vec::new));
            assert!(found == expected, "{address:?}: {:?}, not {:?}", found, expected);
        }
    }
}

fn options(seed: u64) -> StoreOptions {
    let durability = if seed % 2 == 1 { Durability::Changelog } else { Durability::Checkpoint };
    StoreOptions { durability, transactional: seed / 2 % 2 == 1, ..StoreOptions::default() }
}

/// Where anything has to be committed.
fn commit(writer: &mut Writer, options: &StoreOptions) {
    if options.durability == Durability::Changelog {
        writer.commit(Commit::default()).unwrap().wait().unwrap();
    } else if options.transactional {
        drop(writer.commit(Commit::default()).unwrap());
    }
}

/// Rounds of batches, with checkpoints under way meanwhile; then what is committed is there after the store was opened again.
fn run(path: &Path, seed: u64) {
    let mut random = Random(seed);
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 32 << 20, ..Default::default() }).unwrap();
    let store = Store::create(&engine, path, options(seed)).unwrap();
    let known = states(&store);
    let mut writer = store.writer(store.range()).unwrap();
    let mut model = Model::new();
    let mut pending: Option<Pending> = None;
    for round in 0..400 {
        step(&mut random, &mut writer, &known, &mut model);
        if random.below(20) == 0 {
            commit(&mut writer, &options(seed));
        }
        if random.below(20) == 0 {
            pending.take().map(|pending| pending.wait().unwrap());
            pending = Some(writer.barrier(Barrier::new(round)).unwrap());
        }
    }
    check(&mut writer, &known, &model);
    pending.take().map(|pending| pending.wait().unwrap());
    commit(&mut writer, &options(seed));
    if options(seed).durability == Durability::Checkpoint {
        store.barrier(Barrier::new(1_000)).unwrap().wait().unwrap();
    }
    drop(writer);
    store.close().unwrap();
    let store = Store::open(&engine, path, options(seed)).unwrap();
    let known = states(&store);
    let mut writer = store.writer(store.range()).unwrap();
    check(&mut writer, &known, &model);
}

#[test]
fn a_batch_does_what_its_operations_do_one_by_one() {
    let asked = std::env::var("ALLUVIUM_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in asked.map_or(0..8, |seed| seed..seed + 1) {
        println!("ALLUVIUM_SEED={seed}");
        let directory = tempfile::tempdir().unwrap();
        run(directory.path(), seed);
    }
}

/// What fails in the middle of a batch leaves what came before it, and nothing of what comes after it.
#[test]
fn a_batch_ends_where_one_of_it_fails() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions::default()).unwrap();
    let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::value("a")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let keys: Vec<[u8; 4]> = (0..70_u32).map(u32::to_be_bytes).collect();
    for key in &keys {
        writer.put(state, store.key(key), &[0; 20]).unwrap();
    }
    for (round, fails) in (1..).zip([0, 1, 31, 32, 33, 69]) {
        let value = [round; 20];
        let mut batch = Batch::new();
        for (number, key) in keys.iter().enumerate() {
            let key = if number == fails { Key::new(KeyGroup(128), key) } else { store.key(key) };
            batch.push(state, key, Operation::Put(&value));
        }
        let failed = writer.apply(&batch).unwrap_err();
        assert!(matches!(failed, Error::OutsideRange { .. }), "{failed:?}");
        for (number, key) in keys.iter().enumerate() {
            let is_new = writer.get(state, store.key(key)).unwrap().unwrap() == value;
            assert_eq!(is_new, number < fails, "{number} of a batch that fails at {fails}");
        }
    }
}

/// Each operation counts, so that what is due every so many of them isn't put off by those that take the short way.
#[test]
fn each_put_of_a_batch_counts() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions::default()).unwrap();
    let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::value("a")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let keys: Vec<[u8; 4]> = (0..100_u32).map(u32::to_be_bytes).collect();
    let mut timed = 0;
    for round in 0..64_u8 {
        let value = [round; 20];
        let mut batch = Batch::new();
        keys.iter().for_each(|key| batch.push(state, store.key(key), Operation::Put(&value)));
        writer.apply(&batch).unwrap();
        let metrics = store.metrics();
        assert_eq!(metrics.owner.operations, u64::from(round + 1) * 100);
        timed = metrics.latency.iter().map(|latency| latency.count()).sum();
    }
    assert_eq!(timed, 100, "one in 64 is looked at");
}

/// A key that memory didn't know when it came up first was changed the second time before the first, where warming up had brought it in between.
#[test]
fn a_key_that_is_brought_in_the_middle_of_a_batch_is_changed_in_order() {
    const KEYS: u64 = 8_000;
    let (directory, engine) = (tempfile::tempdir().unwrap(), Engine::open(EngineOptions::default()).unwrap());
    let create = || Store::open_or_create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let names: Vec<[u8; 8]> = (0..KEYS).map(u64::to_le_bytes).collect();
    let store = create();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for name in &names {
        writer.put(state, store.key(name), &[0; 8]).unwrap();
    }
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();
    let mut brought = 0;
    for _ in 0..10 {
        let store = create();
        let state = store.state(StateOptions::value("v")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let keys: Vec<Key<'_>> = names.iter().map(|name| store.key(name)).collect();
        writer.get_many(state, &keys[1..], |_, value| assert_eq!(value, Some(&[0; 8][..]))).unwrap();
        // The first one is not in memory: at both ends, and twice in a row in the middle.
        let cold = keys[0];
        let (left, right) = keys[1..].split_at(keys.len() / 2);
        let batch = [&[cold][..], left, &[cold, cold], right, &[cold]].concat();
        let places: Vec<usize> = (0..batch.len()).filter(|at| batch[*at] == cold).collect();
        let mut warming: Option<alluvium::Warming> = None;
        let mut seen = Vec::new();
        writer
            .update_many(state, &batch, |at, old| {
                if warming.is_none() {
                    let mut wanted = Batch::new();
                    wanted.push(state, cold, Operation::Get);
                    warming = Some(store.warm(&wanted).unwrap());
                }
                if at.is_multiple_of(256) && warming.as_ref().is_some_and(|warming| !warming.is_done()) {
                    // It comes in when this group of keys is done.
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                if batch[at] == cold {
                    seen.push(at);
                    return Some((u64::from_le_bytes(old.unwrap().try_into().unwrap()) * 7 + at as u64).to_le_bytes());
                }
                Some([0; 8])
            })
            .unwrap();
        let warming = warming.unwrap();
        warming.wait();
        brought += warming.brought();
        assert_eq!(seen, places);
        let wanted = places.iter().fold(0_u64, |old, at| old * 7 + *at as u64);
        assert_eq!(writer.get(state, cold).unwrap().as_deref(), Some(&wanted.to_le_bytes()[..]));
        drop(writer);
        store.close().unwrap();
    }
    assert!(brought > 0, "it was never brought in the middle of a batch");
}
