//! Events that handlers apply: logged as events, as what they changed, or as the shorter of both, recovery finds the same.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Applying, Barrier, ChangelogOptions, Class, Commit, Durability, Engine, EngineOptions, Error, Handler, HandlerId,
    Key, KeyGroup, KeyGroupRange, LogMode, MapRange, Result, State, StateOptions, Store, StoreOptions, Writer,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PANES: u8 = 10;
const GROUPS: u16 = 4;

/// Counts an event in ten panes, keeps it in a list, and when and as what it came in a map. Events of key 9 fail half-way.
#[derive(Debug)]
struct Panes {
    version: u32,
    states: [State; 3],
    draws: AtomicU64,
}

impl Handler for Panes {
    fn name(&self) -> &str {
        "panes"
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> Result<()> {
        let [panes, list, map] = self.states;
        let key = Key::new(applying.group(), &event[..1]);
        for pane in 0..PANES {
            applying.update(panes, key.in_namespace(&[pane]), |old| {
                let old = old.map_or(0, |old| u64::from_le_bytes(old.try_into().unwrap()));
                Some((old + u64::from(event[1])).to_le_bytes())
            })?;
        }
        // Never the same twice: it is what was logged that counts.
        let drawn = applying.determinant(&mut |out| {
            out.extend_from_slice(&self.draws.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        })?;
        applying.append(list, key, event)?;
        if event[0] == 9 {
            return Err(Error::Options { option: "event", problem: "nine".into() });
        }
        let now_ms = applying.now_ms().to_be_bytes();
        applying.map_put(map, key, &drawn, &now_ms)
    }
}

/// User keys and values, in order.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// What a store should hold: sums by key and pane, lists by key, maps by key.
#[derive(Clone, PartialEq, Default, Debug)]
struct Content {
    sums: BTreeMap<(u8, u8), u64>,
    lists: BTreeMap<u8, Vec<Vec<u8>>>,
    maps: BTreeMap<u8, Entries>,
}

struct Subject {
    writer: Writer,
    handler: HandlerId,
    states: [State; 3],
    draws: Arc<Panes>,
}

fn options() -> StoreOptions {
    StoreOptions {
        key_groups: GROUPS.into(),
        range: KeyGroupRange::new(0, GROUPS - 1),
        durability: Durability::Changelog,
        changelog: ChangelogOptions { file_bytes: 1 << 20, ..ChangelogOptions::default() },
        ..StoreOptions::default()
    }
}

/// Opens a store in whose directory an engine's thread may still be at something.
fn open(engine: &Engine, path: &std::path::Path) -> Store {
    for _ in 0..2_000 {
        match Store::open_or_create(engine, path, options()) {
            Err(error) if error.class() == Class::Retry => std::thread::sleep(std::time::Duration::from_millis(5)),
            outcome => return outcome.unwrap(),
        }
    }
    panic!("the directory stayed locked");
}

fn group_of(key: u8) -> KeyGroup {
    KeyGroup(u16::from(key) % GROUPS)
}

fn states(store: &Store, mode: LogMode) -> [State; 3] {
    [StateOptions::value("panes"), StateOptions::list("list"), StateOptions::map("map")]
        .map(|options| store.state(options.log(mode)).unwrap())
}

fn subject(store: Store, mode: LogMode, draws: u64) -> Subject {
    let states = states(&store, mode);
    let draws = Arc::new(Panes { version: 3, states, draws: AtomicU64::new(draws) });
    let handler = store.handler(Arc::clone(&draws) as Arc<dyn Handler>).unwrap();
    let writer = store.writer(store.range()).unwrap();
    Subject { writer, handler, states, draws }
}

impl Subject {
    fn event(&mut self, content: &mut Content, event: [u8; 3], now_ms: u64) {
        let drawn = self.draws.draws.load(Ordering::Relaxed).to_be_bytes().to_vec();
        self.writer.set_time_ms(now_ms);
        let outcome = self.writer.apply_event(self.handler, group_of(event[0]), &event);
        assert_eq!(outcome.is_err(), event[0] == 9, "{outcome:?}");
        for pane in 0..PANES {
            *content.sums.entry((event[0], pane)).or_default() += u64::from(event[1]);
        }
        content.lists.entry(event[0]).or_default().push(event.to_vec());
        if event[0] != 9 {
            content.maps.entry(event[0]).or_default().push((drawn, now_ms.to_be_bytes().to_vec()));
        }
    }

    fn content(&mut self) -> Content {
        let [panes, list, map] = self.states;
        let mut content = Content::default();
        for byte in 0..12 {
            let name = [byte];
            let key = Key::new(group_of(byte), &name);
            for pane in 0..PANES {
                if let Some(sum) = self.writer.get(panes, key.in_namespace(&[pane])).unwrap() {
                    content.sums.insert((byte, pane), u64::from_le_bytes(sum.try_into().unwrap()));
                }
            }
            let elements = self.writer.list(list, key).unwrap();
            if !elements.is_empty() {
                content.lists.insert(byte, elements);
            }
            let mut entries = Vec::new();
            let visit = |user_key: &[u8], value: &[u8]| {
                entries.push((user_key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            };
            self.writer.map_scan(map, key, &MapRange::all(), visit).unwrap();
            if !entries.is_empty() {
                content.maps.insert(byte, entries);
            }
        }
        content
    }
}

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..EngineOptions::default() }).unwrap()
}

/// Deterministic numbers (splitmix64).
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *seed;
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

#[test]
fn what_events_changed_is_found_again_in_every_mode() {
    let mut positions = Vec::new();
    for mode in [LogMode::State, LogMode::Event, LogMode::Auto] {
        let (directory, engine, mut seed) = (tempfile::tempdir().unwrap(), engine(), 7);
        println!("seed {seed}, {mode:?}");
        let mut content = Content::default();
        let mut committed = content.clone();
        let mut position = 0;
        for life in 0..6_u64 {
            let store = open(&engine, directory.path());
            let mut subject = subject(store, mode, life << 32);
            assert_eq!(subject.content(), committed, "{mode:?}, life {life}");
            content.clone_from(&committed);
            for step in 0..400 {
                let event = [next(&mut seed) as u8 % 12, next(&mut seed) as u8, step as u8];
                subject.event(&mut content, event, life * 1_000 + step);
                if next(&mut seed).is_multiple_of(16) {
                    let key = [next(&mut seed) as u8 % 12];
                    // What isn't done for an event is logged as it is, between them.
                    subject.writer.append(subject.states[1], Key::new(group_of(key[0]), &key), b"plain").unwrap();
                    content.lists.entry(key[0]).or_default().push(b"plain".to_vec());
                }
                if next(&mut seed).is_multiple_of(40) {
                    subject.writer.commit(Commit::default()).unwrap().wait().unwrap();
                    committed.clone_from(&content);
                }
                if next(&mut seed).is_multiple_of(300) {
                    subject.writer.barrier(Barrier::new(life)).unwrap().wait().unwrap();
                    committed.clone_from(&content);
                }
            }
            position = subject.writer.commit(Commit::default()).unwrap().position;
            subject.writer.commit(Commit::default()).unwrap().wait().unwrap();
            committed.clone_from(&content);
            subject.event(&mut content, [1, 1, 1], 1);
            // It dies with what came last uncommitted.
        }
        positions.push(position);
    }
    let [state, event, auto] = positions[..] else { panic!("{positions:?}") };
    assert!(event * 3 < state, "events take {event} bytes, changes {state}");
    assert!(auto <= event, "the shorter of both takes {auto} bytes, events {event}");
}

#[test]
fn another_version_and_no_handler_at_all_are_refused_and_nothing_is_lost() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let mut first = subject(store, LogMode::Event, 0);
    let mut content = Content::default();
    first.event(&mut content, [1, 2, 3], 5);
    first.writer.commit(Commit::default()).unwrap().wait().unwrap();
    drop(first);

    let store = open(&engine, directory.path());
    let states = states(&store, LogMode::Event);
    let refused = |store: &Store| match store.writer(store.range()) {
        Err(Error::Handler { handler, problem }) => {
            assert_eq!(handler, "panes");
            problem
        }
        other => panic!("{other:?}"),
    };
    assert!(refused(&store).contains("not registered"));
    store.handler(Arc::new(Panes { version: 4, states, draws: AtomicU64::new(0) })).unwrap();
    assert!(refused(&store).contains("version 4"));
    assert!(matches!(store.reader().get(states[0], Key::new(KeyGroup(0), b"k")), Err(Error::Handler { .. })));
    assert!(matches!(store.barrier(Barrier::new(1)), Err(Error::Handler { .. })));
    let mut again = subject(store, LogMode::Event, 77);
    assert_eq!(again.content(), content);
}

/// Asks for more, or for less, than it did when its events were logged; or, asking for nothing, says to try again.
#[derive(Debug)]
struct Fickle {
    state: State,
    draws: usize,
}

impl Handler for Fickle {
    fn name(&self) -> &str {
        "fickle"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> Result<()> {
        if self.draws == 0 {
            return Err(Error::Busy { problem: "what it asks is elsewhere" });
        }
        for _ in 0..self.draws {
            applying.determinant(&mut |out| out.push(1))?;
        }
        let elsewhere = Key::new(KeyGroup(applying.group().0 + 1), event);
        assert!(matches!(applying.get(self.state, elsewhere), Err(Error::OutsideRange { .. })));
        applying.put(self.state, Key::new(applying.group(), event), b"v")
    }
}

#[test]
fn a_handler_that_is_not_the_same_is_found_out() {
    // Whatever it failed for, half of the changelog is replayed: to call again is no help, and nobody is told to.
    for (before, after) in [(2, 3), (2, 1), (2, 0)] {
        let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
        let open = |draws| {
            let store = open(&engine, directory.path());
            let state = store.state(StateOptions::value("v").log(LogMode::Event)).unwrap();
            let handler = store.handler(Arc::new(Fickle { state, draws })).unwrap();
            (store.writer(store.range()), handler, store)
        };
        let (writer, handler, store) = open(before);
        let mut writer = writer.unwrap();
        writer.apply_event(handler, KeyGroup(0), b"k").unwrap();
        writer.commit(Commit::default()).unwrap().wait().unwrap();
        drop((writer, store));
        let (writer, _, store) = open(after);
        assert!(matches!(writer, Err(Error::Background(_))), "{before} draws, then {after}: {writer:?}");
        drop(store);
        let (writer, _, store) = open(before);
        let state = store.state(StateOptions::value("v").log(LogMode::Event)).unwrap();
        assert_eq!(writer.unwrap().get(state, Key::new(KeyGroup(0), b"k")).unwrap().unwrap(), b"v");
    }
}
