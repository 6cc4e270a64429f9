//! What was found by looking for it: each was wrong once.

use crate::model::options;
use alluvium::{
    Applying, Barrier, Commit, Engine, EngineOptions, Error, EventId, Handler, HandlerId, Key, KeyGroup, KeyGroupRange,
    LogMode, MergeOperator, Result, Scope, State, StateOptions, Store, StoreOptions, Way, Writer,
};
use std::path::Path;
use std::sync::Arc;

type Apply = dyn Fn(&[u8], &mut Applying<'_>, &States) -> Result<()> + Send + Sync;

/// A handler of any name, version and deed.
struct Does {
    name: &'static str,
    version: u32,
    states: States,
    apply: Box<Apply>,
}

impl std::fmt::Debug for Does {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Handler for Does {
    fn name(&self) -> &str {
        self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> Result<()> {
        (self.apply)(event, applying, &self.states)
    }
}

#[derive(Clone, Copy, Debug)]
struct States {
    numbers: State,
    sums: State,
    lists: State,
    plain: State,
}

struct World {
    store: Store,
    writer: Writer,
    states: States,
}

const GROUP: KeyGroup = KeyGroup(1);

fn engine(megabytes: usize) -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: megabytes << 20, ..EngineOptions::default() }).unwrap()
}

fn states(store: &Store) -> States {
    let traced = |options: StateOptions| store.state(options.log(LogMode::Event).traced()).unwrap();
    States {
        numbers: traced(StateOptions::value("numbers")),
        sums: traced(StateOptions::merging("sums", MergeOperator::U64Add)),
        lists: traced(StateOptions::list("lists")),
        plain: store.state(StateOptions::value("plain")).unwrap(),
    }
}

fn open(engine: &Engine, path: &Path, options: StoreOptions) -> (Store, States) {
    let store = (0..2_000)
        .find_map(|_| match Store::open_or_create(engine, path, options.clone()) {
            Err(error) if error.class() == alluvium::Class::Retry => {
                std::thread::sleep(std::time::Duration::from_millis(1));
                None
            }
            outcome => Some(outcome.unwrap()),
        })
        .unwrap();
    let states = states(&store);
    (store, states)
}

impl World {
    fn new(engine: &Engine, path: &Path, options: StoreOptions) -> Self {
        let (store, states) = open(engine, path, options);
        let writer = store.writer(store.range()).unwrap();
        Self { store, writer, states }
    }

    fn handler(
        &self,
        name: &'static str,
        version: u32,
        apply: impl Fn(&[u8], &mut Applying<'_>, &States) -> Result<()> + Send + Sync + 'static,
    ) -> HandlerId {
        register(&self.store, self.states, name, version, apply)
    }

    fn apply(&mut self, handler: HandlerId, offset: u64, event: &[u8]) {
        assert!(self.writer.apply_event_once(handler, GROUP, id(offset), event).unwrap());
    }

    fn number(&mut self, state: State, name: &[u8]) -> Option<u64> {
        let value = self.writer.get(state, Key::new(GROUP, name)).unwrap();
        value.map(|value| u64::from_le_bytes(value.try_into().unwrap()))
    }
}

fn register(
    store: &Store,
    states: States,
    name: &'static str,
    version: u32,
    apply: impl Fn(&[u8], &mut Applying<'_>, &States) -> Result<()> + Send + Sync + 'static,
) -> HandlerId {
    store.handler(Arc::new(Does { name, version, states, apply: Box::new(apply) })).unwrap()
}

fn id(offset: u64) -> EventId {
    EventId { source: 0, offset }
}

fn key(applying: &Applying<'_>) -> Key<'static> {
    Key::new(applying.group(), b"k")
}

fn word(n: u64) -> [u8; 8] {
    n.to_le_bytes()
}

fn add(world: &World) -> HandlerId {
    world.handler("add", 1, |event, applying, states| {
        applying.merge(states.sums, key(applying), &word(u64::from(event[0])))
    })
}

fn delete(world: &World) -> HandlerId {
    world.handler("delete", 1, |_, applying, states| applying.delete(states.sums, key(applying)))
}

#[test]
fn an_event_of_several_key_groups_has_an_inverse() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(2));
    let add = add(&world);
    for offset in 0..3 {
        for group in 0..3 {
            assert!(world.writer.apply_event_once(add, KeyGroup(group), id(offset), &[10 + offset as u8]).unwrap());
        }
    }
    let closure = world.store.closure(&[id(1)]).unwrap();
    assert_eq!(closure.events.len(), 3);
    let repaired = world.writer.repair(&[id(1)], Way::Inverse).unwrap();
    assert_eq!(repaired.groups.len(), 3);
    assert!(repaired.groups.iter().all(|repair| repair.dependents == 0));
    assert_eq!((repaired.closure.events.len(), repaired.closure.keys), (3, 3));
    assert_eq!(world.number(world.states.sums, b"k"), Some(22));
}

#[test]
fn an_inverse_leaves_nothing_where_another_event_had_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(2));
    let (add, delete) = (add(&world), delete(&world));
    world.apply(add, 0, &[5]);
    world.apply(delete, 1, &[]);
    world.apply(add, 2, &[7]);
    world.writer.repair(&[id(2)], Way::Auto).unwrap();
    assert_eq!(world.number(world.states.sums, b"k"), None);
}

#[test]
fn an_inverse_minds_what_was_overwritten_before_an_earlier_repair() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(2));
    let (add, delete) = (add(&world), delete(&world));
    let put = world.handler("put", 1, |_, applying, states| applying.put(states.numbers, key(applying), &word(1)));
    world.apply(put, 0, &[]);
    world.apply(add, 1, &[100]);
    world.apply(delete, 2, &[]);
    world.apply(add, 3, &[7]);
    world.writer.repair(&[id(0)], Way::Auto).unwrap();
    world.writer.repair(&[id(1)], Way::Auto).unwrap();
    assert_eq!(world.number(world.states.sums, b"k"), Some(7));
}

#[test]
fn what_a_bad_event_did_to_untraced_states_is_not_left() {
    for way in [Way::Inverse, Way::Reexecute] {
        let directory = tempfile::tempdir().unwrap();
        let engine = engine(16);
        let mut world = World::new(&engine, directory.path(), options(2));
        let both = world.handler("both", 1, |_, applying, states| {
            applying.put(states.plain, key(applying), &word(9))?;
            applying.merge(states.sums, key(applying), &word(5))
        });
        world.apply(both, 0, &[]);
        let refused = world.writer.repair(&[id(0)], way);
        assert!(refused.is_err(), "{way:?}: {:?}", world.number(world.states.plain, b"k"));
    }
}

#[test]
fn what_is_added_to_untraced_states_is_not_left() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(2));
    let plain = world.store.state(StateOptions::merging("plain sums", MergeOperator::U64Add)).unwrap();
    let both = world.handler("both", 1, move |_, applying, states| {
        applying.merge(plain, key(applying), &word(9))?;
        applying.merge(states.sums, key(applying), &word(5))
    });
    world.apply(both, 0, &[]);
    let refused = world.writer.repair(&[id(0)], Way::Auto);
    assert!(refused.is_err(), "{refused:?}, {:?} is left", world.number(plain, b"k"));
}

#[test]
fn an_inverse_minds_that_some_states_were_rolled_back() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(3));
    let add = add(&world);
    let read = world.handler("read", 1, |_, applying, states| {
        let sum = applying.get(states.sums, key(applying))?;
        applying.put(states.numbers, key(applying), &sum.unwrap_or_default())
    });
    world.writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    world.apply(add, 0, &[5]);
    world.writer.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    world.apply(read, 1, &[]);
    let scope = Scope::groups(KeyGroupRange::new(GROUP.0, GROUP.0)).states(&[world.states.lists]);
    world.store.rollback(&scope, 2).unwrap();
    assert_eq!(world.number(world.states.numbers, b"k"), Some(5));
    let closure = world.store.closure(&[id(0)]).unwrap();
    assert_eq!(closure.events.len(), 2, "what was not rolled back depends on it");
    let refused = world.writer.repair(&[id(0)], Way::Auto);
    assert!(refused.is_err(), "{refused:?}, {:?}", world.number(world.states.numbers, b"k"));
}

#[test]
fn events_of_two_versions_of_a_handler_are_recovered() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(2));
    let both = |store: &Store, states: States, version: u32| {
        register(store, states, "put", version, move |_, applying, states| {
            let old = applying.get(states.numbers, key(applying))?.map_or(0, |old| old[0]);
            applying.put(states.numbers, key(applying), &word(u64::from(old) * 10 + u64::from(version)))
        })
    };
    for (offset, version) in [(0, 1), (1, 2), (2, 1)] {
        let handler = both(&world.store, world.states, version);
        world.apply(handler, offset, &[]);
    }
    assert_eq!(world.number(world.states.numbers, b"k"), Some(121));
    world.writer.commit(Commit::default()).unwrap().wait().unwrap();
    drop(world);
    let (store, states) = open(&engine, directory.path(), options(2));
    both(&store, states, 1);
    both(&store, states, 2);
    let writer = store.writer(store.range()).unwrap();
    let mut world = World { store, writer, states };
    assert_eq!(world.number(states.numbers, b"k"), Some(121));
    world.writer.repair(&[id(1)], Way::Reexecute).unwrap();
    assert_eq!(world.number(states.numbers, b"k"), Some(11));
}

#[test]
fn what_is_read_in_the_middle_of_an_event_does_not_split_it() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(2));
    let store = world.store.clone();
    let count = |store: Option<Store>| {
        move |_: &[u8], applying: &mut Applying<'_>, states: &States| {
            let change = |old: Option<&[u8]>| Some(word(old.map_or(0, |old| u64::from(old[0])) + 1));
            applying.update(states.numbers, key(applying), change)?;
            if let Some(store) = &store {
                let store = store.clone();
                let other = std::thread::spawn(move || drop(store.position()));
                std::thread::sleep(std::time::Duration::from_millis(300));
                drop(other);
            }
            applying.update(states.numbers, key(applying), change)
        }
    };
    let handler = world.handler("count", 1, count(Some(store)));
    world.apply(handler, 0, &[]);
    assert_eq!(world.number(world.states.numbers, b"k"), Some(2));
    world.writer.commit(Commit::default()).unwrap().wait().unwrap();
    let World { store, writer, .. } = world;
    drop(writer);
    store
        .handler(Arc::new(Does { name: "count", version: 1, states: states(&store), apply: Box::new(count(None)) }))
        .unwrap();
    store.close().unwrap();
    let (store, states) = open(&engine, directory.path(), options(2));
    register(&store, states, "count", 1, count(None));
    let writer = store.writer(store.range()).unwrap();
    let mut world = World { store, writer, states };
    assert_eq!(world.number(states.numbers, b"k"), Some(2));
}

#[test]
fn a_handler_that_panics_without_the_bad_event_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(2));
    let put = world.handler("put", 1, |_, applying, states| applying.put(states.numbers, key(applying), &word(1)));
    let expects = world.handler("expects", 1, |_, applying, states| {
        let found = applying.get(states.numbers, key(applying))?.unwrap();
        applying.put(states.numbers, Key::new(applying.group(), b"other"), &found)
    });
    world.apply(put, 0, &[]);
    world.apply(expects, 1, &[]);
    let refused = world.writer.repair(&[id(0)], Way::Auto);
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(world.number(world.states.numbers, b"other"), Some(1));
    world.apply(put, 2, &[]);
    let scratches = std::fs::read_dir(directory.path()).unwrap();
    let is_scratch = |name: &std::ffi::OsString| name.to_str().unwrap().starts_with("scratch-");
    assert_eq!(scratches.filter(|entry| is_scratch(&entry.as_ref().unwrap().file_name())).count(), 0);
}

#[test]
fn a_checkpoint_in_the_middle_of_a_repair_has_nothing_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(3));
    let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (trigger, store) = (Arc::clone(&armed), world.store.clone());
    let count = world.handler("count", 1, move |_, applying, states| {
        if trigger.swap(false, std::sync::atomic::Ordering::Relaxed) {
            let store = store.clone();
            let done = std::thread::spawn(move || store.barrier(Barrier::new(2)).unwrap().wait().map(drop));
            done.join().unwrap().unwrap();
        }
        let change = |old: Option<&[u8]>| Some(word(old.map_or(0, |old| u64::from(old[0])) + 1));
        applying.update(states.numbers, key(applying), change)
    });
    world.writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    (0..3).for_each(|offset| world.apply(count, offset, &[]));
    armed.store(true, std::sync::atomic::Ordering::Relaxed);
    world.writer.repair(&[id(1)], Way::Auto).unwrap();
    assert_eq!(world.number(world.states.numbers, b"k"), Some(2));
    world.apply(count, 3, &[]);
    world.writer.repair(&[id(3)], Way::Auto).unwrap();
    assert_eq!(world.number(world.states.numbers, b"k"), Some(2));
}

#[test]
fn little_memory_is_enough() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let mut world = World::new(&engine, directory.path(), options(3));
    let much = world.handler("much", 1, |event, applying, states| {
        for n in 0..6_000_u32 {
            let name = n.to_le_bytes();
            let old = applying.get(states.numbers, Key::new(applying.group(), &name))?.unwrap_or_default();
            let mut value = vec![event[0]; 1_000];
            value[0] ^= old.first().copied().unwrap_or(0);
            applying.put(states.numbers, Key::new(applying.group(), &name), &value)?;
        }
        if event[0] == 9 { Err(Error::Background("no".into())) } else { Ok(()) }
    });
    world.apply(much, 0, &[1]);
    world.writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    world.apply(much, 1, &[2]);
    world.apply(much, 2, &[4]);
    world.writer.commit(Commit::default()).unwrap().wait().unwrap();
    let repaired = world.writer.repair(&[id(1)], Way::Auto).unwrap();
    for n in [0, 17, 5_999_u32] {
        let value = world.writer.get(world.states.numbers, Key::new(GROUP, &n.to_le_bytes())).unwrap().unwrap();
        assert_eq!((value[0], value[1], value.len()), (1 ^ 4, 4, 1_000));
    }
    let kept = world.writer.retractions().unwrap();
    assert_eq!((kept.len(), kept[0].0, &kept[0].1), (1, id(1), &repaired.retractions));
    world.writer.commit(Commit::default()).unwrap().wait().unwrap();
    world.writer.acknowledge(GROUP, id(1)).unwrap();
    assert_eq!(world.writer.retractions().unwrap(), []);
    assert_eq!(world.writer.repair(&[id(1)], Way::Auto).unwrap().before, [id(1)]);
}

#[test]
fn events_of_a_transaction_that_was_committed_with_a_checkpoint_count() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), StoreOptions { transactional: true, ..options(9) });
    let put = world.handler("put", 1, |event, applying, states| {
        applying.update(states.numbers, key(applying), |old| {
            Some(word(old.map_or(0, |old| u64::from(old[0])) + u64::from(event[0])))
        })
    });
    world.apply(put, 0, &[1]);
    world.writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    world.apply(put, 1, &[2]);
    world.writer.commit(Commit::default()).unwrap().wait().unwrap();
    world.writer.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    world.apply(put, 2, &[4]);
    world.writer.barrier(Barrier::new(3)).unwrap().wait().unwrap();
    world.writer.abort_transaction().unwrap();
    world.apply(put, 2, &[8]);
    world.writer.barrier(Barrier::new(4)).unwrap().wait().unwrap();
    world.apply(put, 3, &[16]);
    assert_eq!(world.number(world.states.numbers, b"k"), Some(27));
    world.writer.repair(&[id(2)], Way::Auto).unwrap();
    assert_eq!(world.number(world.states.numbers, b"k"), Some(19));
    world.writer.abort_transaction().unwrap();
    assert_eq!(world.number(world.states.numbers, b"k"), Some(3));
    world.apply(put, 2, &[32]);
    world.writer.commit(Commit::default()).unwrap().wait().unwrap();
    world.writer.repair(&[id(1)], Way::Auto).unwrap();
    assert_eq!(world.number(world.states.numbers, b"k"), Some(33));
    world.writer.commit(Commit::default()).unwrap().wait().unwrap();
    drop(world);
    let (store, states) = open(&engine, directory.path(), StoreOptions { transactional: true, ..options(9) });
    register(&store, states, "put", 1, |event, applying, states| {
        applying.update(states.numbers, key(applying), |old| {
            Some(word(old.map_or(0, |old| u64::from(old[0])) + u64::from(event[0])))
        })
    });
    let writer = store.writer(store.range()).unwrap();
    let mut world = World { store, writer, states };
    assert_eq!(world.number(states.numbers, b"k"), Some(33));
    world.writer.repair(&[id(2)], Way::Auto).unwrap();
    assert_eq!(world.number(states.numbers, b"k"), Some(1));
}

#[derive(Debug)]
struct Fails;

impl alluvium::Invariant for Fails {
    fn holds(&self, _: &[u8], _: &mut Applying<'_>) -> Result<bool> {
        Err(Error::Background("no".into()))
    }
}

#[test]
fn an_invariant_that_fails_takes_nothing_from_other_triggers() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(2));
    let add = add(&world);
    let poison = world.store.watch(alluvium::Trigger::Event(id(0)));
    world.store.watch(alluvium::Trigger::Invariant(Arc::new(Fails)));
    let outcome = world.writer.apply_event_once(add, GROUP, id(0), &[5]);
    let fired: Vec<_> = world.store.fired().0.iter().map(|fired| fired.trigger).collect();
    assert_eq!(fired, [poison], "{outcome:?}");
}

#[test]
fn who_draws_less_without_the_bad_event_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(2));
    let put = world.handler("put", 1, |_, applying, states| applying.put(states.numbers, key(applying), &word(1)));
    let draws = world.handler("draws", 1, |_, applying, states| {
        if applying.get(states.numbers, key(applying))?.is_some() {
            let drawn = applying.determinant(&mut |out| out.extend_from_slice(&word(77)))?;
            return applying.put(states.numbers, Key::new(applying.group(), b"drawn"), &drawn);
        }
        applying.put(states.numbers, Key::new(applying.group(), b"drawn"), &word(0))
    });
    world.apply(put, 0, &[]);
    world.apply(draws, 1, &[]);
    assert_eq!(world.number(world.states.numbers, b"drawn"), Some(77));
    world.writer.repair(&[id(0)], Way::Auto).unwrap();
    assert_eq!(world.number(world.states.numbers, b"drawn"), Some(0));
}

#[test]
fn a_plan_says_the_way_that_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(2));
    let (add, delete) = (add(&world), delete(&world));
    world.apply(add, 0, &[5]);
    world.apply(delete, 1, &[]);
    world.apply(add, 2, &[7]);
    let planned = world.writer.plan_repair(&[id(2)], Way::Auto).unwrap();
    let repaired = world.writer.repair(&[id(2)], Way::Auto).unwrap();
    assert_eq!(planned.groups, repaired.groups);
}

#[test]
fn who_reads_since_a_repair_what_it_wrote_before_depends_on_it() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let mut world = World::new(&engine, directory.path(), options(2));
    let put = world.handler("put", 1, |event, applying, states| {
        applying.put(states.numbers, Key::new(applying.group(), &event[..1]), &word(u64::from(event[1])))
    });
    let chooses = world.handler("chooses", 1, |_, applying, states| {
        let at = |name: &'static [u8]| Key::new(applying.group(), name);
        let (a, b, c) = (at(b"a"), at(b"b"), at(b"c"));
        if applying.get(states.numbers, a)?.is_some() {
            return applying.put(states.numbers, b, &word(9));
        }
        let found = applying.get(states.numbers, b)?.unwrap_or(word(0).to_vec());
        applying.put(states.numbers, c, &found)
    });
    world.apply(put, 0, b"a\x01");
    world.apply(put, 1, b"b\x05");
    world.apply(chooses, 2, b"");
    world.writer.repair(&[id(0)], Way::Auto).unwrap();
    assert_eq!(world.number(world.states.numbers, b"c"), Some(5));
    let closure = world.store.closure(&[id(1)]).unwrap();
    assert_eq!(closure.events.len(), 2);
    world.writer.repair(&[id(1)], Way::Auto).unwrap();
    assert_eq!(world.number(world.states.numbers, b"b"), None);
    assert_eq!(world.number(world.states.numbers, b"c"), Some(0));
}
/// Cuts, commits or asks between the events of writers.
fn disturb(store: &Store, label: u64, n: u64, first: EventId) {
    match n % 4 {
        0 => drop(store.barrier(Barrier::new(label)).unwrap().wait().unwrap()),
        1 => drop(store.commit(Commit::default()).unwrap()),
        2 => drop(store.position().unwrap()),
        _ => drop(store.closure(&[first])),
    }
}

/// Counts a thread that has ended, also where it panicked.
struct Done<'a>(&'a std::sync::atomic::AtomicU64);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Release);
    }
}

/// Two writers with their events, a third thread that commits, cuts and asks, and crashes in between: each event is in all of it once.
#[test]
fn threads_do_not_split_events() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let program = |event: &[u8], applying: &mut Applying<'_>, states: &States| {
        let change = |old: Option<&[u8]>| {
            let old = old.map_or(0, |old| u64::from_le_bytes(old[..8].try_into().unwrap()));
            let mut value = (old + 1).to_le_bytes().to_vec();
            value.resize(8 + usize::from(event[0]) * 40, 7);
            Some(value)
        };
        for name in [b"a", b"b", b"c"] {
            applying.update(states.numbers, Key::new(applying.group(), name), change)?;
        }
        applying.merge(states.sums, key(applying), &word(1))?;
        applying.append(states.lists, key(applying), &event[1..9])
    };
    let (mut expected, mut offset) = ([0_u64; 4], 0);
    for round in 0..6 {
        let (store, states) = open(&engine, directory.path(), options(3));
        let handler = register(&store, states, "program", 1, program);
        let is_done = std::sync::atomic::AtomicU64::new(0);
        let first = offset;
        let mut writers: Vec<Writer> =
            [(0, 1), (2, 3)].map(|(from, to)| store.writer(KeyGroupRange::new(from, to)).unwrap()).into();
        for (at, writer) in writers.iter_mut().enumerate() {
            for group in [2 * at, 2 * at + 1] {
                let group_key = KeyGroup(group as u16);
                for name in [b"a", b"b", b"c"] {
                    let value = writer.get(states.numbers, Key::new(group_key, name)).unwrap();
                    let value = value.map_or(0, |value| u64::from_le_bytes(value[..8].try_into().unwrap()));
                    assert_eq!(value, expected[group], "round {round}, group {group}");
                }
                let sum = writer.get(states.sums, Key::new(group_key, b"k")).unwrap();
                assert_eq!(sum.map_or(0, |sum| u64::from_le_bytes(sum.try_into().unwrap())), expected[group]);
                assert_eq!(writer.list(states.lists, Key::new(group_key, b"k")).unwrap().len() as u64, expected[group]);
            }
        }
        std::thread::scope(|scope| {
            for (at, writer) in writers.iter_mut().enumerate() {
                let is_done = &is_done;
                scope.spawn(move || {
                    let _done = Done(is_done);
                    for n in 0..300_u64 {
                        for group in [2 * at, 2 * at + 1] {
                            let event = [&[(n * 37 % 256) as u8][..], &(first + n).to_le_bytes()].concat();
                            let group = KeyGroup(group as u16);
                            assert!(writer.apply_event_once(handler, group, id(first + n), &event).unwrap());
                        }
                    }
                });
            }
            let mut n = 0;
            while is_done.load(std::sync::atomic::Ordering::Acquire) < 2 {
                n += 1;
                let label = round * 1_000_000 + n;
                disturb(&store, label, n, id(first));
            }
        });
        offset += 300;
        expected = expected.map(|expected| expected + 300);
        store.commit(Commit::default()).unwrap().wait().unwrap();
        drop(writers);
    }
}
