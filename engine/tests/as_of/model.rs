//! A store beside its model, which keeps a copy of itself for every checkpoint and position: whatever was done since, the past is what
//! the copies say, and what is brought back is too.

use crate::rng::Rng;
use alluvium::{
    AsOf, Barrier, Commit, Cursor, Durability, Engine, EngineOptions, Error, History, Key, KeyGroup, KeyGroupRange,
    KeyScope, MapRange, MergeOperator, Packed, Past, Reader, RolledBack, Snapshot, State, StateOptions, Store,
    StoreOptions, Ttl, Writer,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::path::Path;

const GROUPS: u16 = 4;
const NUMBERS: usize = 24;
const NAMESPACES: usize = 2;
const USER_KEYS: usize = 40;
const TTL_MS: u64 = 1_000;
const KEPT: usize = 3;

/// Where: state, key group, number of the key, of the namespace.
type At = (usize, u16, u8, u8);

/// What is where, and when it expires: one value, elements, or user keys and values.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Content {
    Value(Vec<u8>, Option<u64>),
    List(Vec<(Vec<u8>, Option<u64>)>),
    Map(BTreeMap<u8, (Vec<u8>, Option<u64>)>),
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Model(BTreeMap<At, Content>);

/// What is seen of it.
type Seen = BTreeMap<At, Vec<Vec<u8>>>;

const fn lives(expiry_ms: Option<u64>, now_ms: u64) -> bool {
    match expiry_ms {
        None => true,
        Some(at) => at > now_ms,
    }
}

impl Content {
    fn at(&self, now_ms: u64) -> Option<Self> {
        Some(match self {
            Self::Value(value, expiry) => {
                return lives(*expiry, now_ms).then(|| Self::Value(value.clone(), *expiry));
            }
            Self::List(elements) => {
                Self::List(elements.iter().filter(|(_, expiry)| lives(*expiry, now_ms)).cloned().collect())
            }
            Self::Map(entries) => {
                let entries = entries.iter().filter(|(_, (_, expiry))| lives(*expiry, now_ms));
                Self::Map(entries.map(|(user_key, entry)| (*user_key, entry.clone())).collect())
            }
        })
        .filter(|content| !matches!(content, Self::List(elements) if elements.is_empty()))
        .filter(|content| !matches!(content, Self::Map(entries) if entries.is_empty()))
    }

    fn seen(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Value(value, _) => vec![value.clone()],
            Self::List(elements) => elements.iter().map(|(element, _)| element.clone()).collect(),
            Self::Map(entries) => entries.iter().flat_map(|(user, (value, _))| [vec![*user], value.clone()]).collect(),
        }
    }
}

impl Model {
    fn at(&self, at: At, now_ms: u64) -> Option<Content> {
        self.0.get(&at).and_then(|content| content.at(now_ms))
    }

    fn seen(&self, now_ms: u64) -> Seen {
        let seen = self.0.iter().filter_map(|(at, content)| Some((*at, content.at(now_ms)?.seen())));
        seen.collect()
    }

    fn set(&mut self, at: At, content: Option<Content>) {
        match content {
            Some(content) => drop(self.0.insert(at, content)),
            None => drop(self.0.remove(&at)),
        }
    }

    fn map(&mut self, at: At) -> &mut BTreeMap<u8, (Vec<u8>, Option<u64>)> {
        match self.0.entry(at).or_insert_with(|| Content::Map(BTreeMap::new())) {
            Content::Map(entries) => entries,
            other => panic!("{other:?}"),
        }
    }
}

/// The bytes of a key: a third of them begin with each of three letters.
fn key_of(at: At, bytes: &mut Vec<u8>) -> Key<'_> {
    let (_, group, number, namespace) = at;
    *bytes = vec![b'a' + number % 3, number];
    let key = Key::new(KeyGroup(group), bytes);
    if namespace == 0 { key } else { key.in_namespace(b"window") }
}

fn at_of(state: usize, group: KeyGroup, key: &[u8], namespace: &[u8]) -> At {
    (state, group.0, key[1], u8::from(!namespace.is_empty()))
}

fn states_of(store: &Store) -> Vec<State> {
    let ttl = |refresh_on_read| Ttl { duration_ms: TTL_MS, refresh_on_read };
    [
        StateOptions::value("values"),
        StateOptions::value("aging values").ttl(ttl(true)),
        StateOptions::list("lists"),
        StateOptions::list("aging lists").ttl(ttl(false)),
        StateOptions::merging("sums", MergeOperator::U64Add),
        StateOptions::merging("aging sums", MergeOperator::U64Add).ttl(ttl(true)),
        StateOptions::map("maps"),
        StateOptions::map("aging maps").ttl(ttl(true)),
    ]
    .into_iter()
    .map(|options| store.state(options).unwrap())
    .collect()
}

/// What readers of now and of then have in common.
trait Look {
    fn fetch(&self, cursor: &mut Cursor, out: &mut Packed) -> bool;
    fn get(&self, state: State, key: Key<'_>) -> Option<Vec<u8>>;
    fn list(&self, state: State, key: Key<'_>) -> Vec<Vec<u8>>;
}

macro_rules! look {
    ($kind:ty) => {
        impl Look for $kind {
            fn fetch(&self, cursor: &mut Cursor, out: &mut Packed) -> bool {
                <$kind>::fetch(self, cursor, out).unwrap()
            }
            fn get(&self, state: State, key: Key<'_>) -> Option<Vec<u8>> {
                <$kind>::get(self, state, key).unwrap()
            }
            fn list(&self, state: State, key: Key<'_>) -> Vec<Vec<u8>> {
                <$kind>::list(self, state, key).unwrap()
            }
        }
    };
}
look!(Reader);
look!(Snapshot);

/// Everything, by iteration.
fn everything(look: &impl Look, states: &[State]) -> Seen {
    let mut seen = Seen::new();
    for (number, &state) in states.iter().enumerate() {
        let mut cursor = Cursor::keys_and_namespaces(state, KeyGroupRange::new(0, GROUPS - 1));
        let mut found = Packed::default();
        while look.fetch(&mut cursor, &mut found) {
            for found in found.iter() {
                let key = Key { group: found.group, key: found.key, namespace: found.namespace };
                let content = match number {
                    2 | 3 => look.list(state, key),
                    6 | 7 => {
                        let mut entries = Vec::new();
                        let (mut cursor, mut out) = (Cursor::entries(state, key, &MapRange::all()), Packed::default());
                        while look.fetch(&mut cursor, &mut out) {
                            entries
                                .extend(out.iter().flat_map(|entry| [entry.user_key.to_vec(), entry.value.to_vec()]));
                        }
                        entries
                    }
                    _ => vec![look.get(state, key).unwrap()],
                };
                let before = seen.insert(at_of(number, found.group, found.key, found.namespace), content);
                assert_eq!(before, None, "found twice");
            }
        }
    }
    seen
}

fn of_past(past: &Past, states: &[State], at: At) -> Option<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    let (state, key) = (states[at.0], key_of(at, &mut bytes));
    let found = match at.0 {
        2 | 3 => past.list(state, key).unwrap(),
        6 | 7 => {
            let mut entries = Vec::new();
            past.map_scan(state, key, &MapRange::all(), |user_key, value| {
                entries.push([user_key.to_vec(), value.to_vec()]);
                ControlFlow::Continue(())
            })
            .unwrap();
            let mut down = Vec::new();
            past.map_scan(state, key, &MapRange::all().reversed(), |user_key, value| {
                down.insert(0, [user_key.to_vec(), value.to_vec()]);
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(down, entries);
            let middle = past.map_get(state, key, &[USER_KEYS as u8 / 2]).unwrap();
            let expected = entries.iter().find(|entry| entry[0] == [USER_KEYS as u8 / 2]);
            assert_eq!(middle.as_ref(), expected.map(|entry| &entry[1]));
            entries.concat()
        }
        _ => past.get(state, key).unwrap().into_iter().collect(),
    };
    (!found.is_empty()).then_some(found)
}

struct World {
    engine: Engine,
    directory: tempfile::TempDir,
    store: Option<Store>,
    writers: Vec<Writer>,
    states: Vec<State>,
    model: Model,
    now_ms: u64,
    labels: BTreeMap<u64, (Model, u64)>,
    positions: BTreeMap<u64, (Model, u64)>,
    next_label: u64,
    rng: Rng,
    checks: usize,
}

fn options() -> StoreOptions {
    StoreOptions {
        key_groups: u32::from(GROUPS),
        range: KeyGroupRange::new(0, GROUPS - 1),
        durability: Durability::Changelog,
        changelog: alluvium::ChangelogOptions { file_bytes: 1 << 20, ..Default::default() },
        history: History { checkpoints: KEPT },
        ..Default::default()
    }
}

fn open(engine: &Engine, path: &Path) -> (Store, Vec<State>, Vec<Writer>) {
    let store = Store::open_or_create(engine, path, options()).unwrap();
    let states = states_of(&store);
    let writers = [(0, 1), (2, GROUPS - 1)].map(|(a, b)| store.writer(KeyGroupRange::new(a, b)).unwrap());
    (store, states, writers.into())
}

impl World {
    fn new(seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
        let (store, states, writers) = open(&engine, directory.path());
        Self {
            engine,
            directory,
            store: Some(store),
            writers,
            states,
            model: Model::default(),
            now_ms: 1,
            labels: BTreeMap::new(),
            positions: BTreeMap::from([(0, (Model::default(), 0))]),
            next_label: 1,
            rng: Rng::new(seed),
            checks: 0,
        }
    }

    const fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn some_at(&mut self) -> At {
        let rng = &mut self.rng;
        let number = rng.below(NUMBERS) as u8;
        (rng.below(8), u16::from(number) % GROUPS, number, rng.below(NAMESPACES) as u8)
    }

    fn tick(&mut self) {
        self.now_ms += self.rng.below(300) as u64;
        let now_ms = self.now_ms;
        self.writers.iter_mut().for_each(|writer| writer.set_time_ms(now_ms));
    }

    /// One change of one key, or a read that has it live longer.
    fn change(&mut self) {
        let at = self.some_at();
        let mut bytes = Vec::new();
        let (state, key) = (self.states[at.0], key_of(at, &mut bytes));
        let (rng, model, now_ms) = (&mut self.rng, &mut self.model, self.now_ms);
        let len = rng.below(1_500);
        let value = rng.bytes(len);
        let expiry = (at.0 % 2 == 1).then_some(now_ms + TTL_MS);
        let refreshed =
            |old: Option<u64>| old.map(|old| if now_ms + TTL_MS > old + TTL_MS / 16 { now_ms + TTL_MS } else { old });
        let writer = &mut self.writers[usize::from(at.1 > 1)];
        match (at.0, rng.below(8)) {
            (0 | 1, 0) => {
                writer.delete(state, key).unwrap();
                model.set(at, None);
            }
            (0 | 1 | 4 | 5, 1) => {
                let is = model.at(at, now_ms);
                let found = writer.get(state, key).unwrap();
                assert_eq!(found, is.as_ref().map(|is| is.seen().remove(0)));
                if let Some(Content::Value(value, old)) = is {
                    model.set(at, Some(Content::Value(value, refreshed(old))));
                }
            }
            (0 | 1, 2) => {
                let mut left = Vec::new();
                writer
                    .update(state, key, |old| {
                        left = [old.unwrap_or_default(), b"+"].concat();
                        Some(left.clone())
                    })
                    .unwrap();
                model.set(at, Some(Content::Value(left, expiry)));
            }
            (0 | 1, _) => {
                writer.put(state, key, &value).unwrap();
                model.set(at, Some(Content::Value(value, expiry)));
            }
            (2 | 3, 0) => {
                writer.delete(state, key).unwrap();
                model.set(at, None);
            }
            (2 | 3, 1) => {
                writer.put_list(state, key, &[b"first", &value]).unwrap();
                model.set(at, Some(Content::List(vec![(b"first".to_vec(), expiry), (value, expiry)])));
            }
            (2 | 3, _) => {
                writer.append(state, key, &value[..len / 10]).unwrap();
                match model.0.entry(at).or_insert_with(|| Content::List(Vec::new())) {
                    Content::List(elements) => elements.push((value[..len / 10].to_vec(), expiry)),
                    other => panic!("{other:?}"),
                }
            }
            (4 | 5, 0) => {
                writer.delete(state, key).unwrap();
                model.set(at, None);
            }
            (4 | 5, _) => {
                writer.merge(state, key, &(len as u64).to_le_bytes()).unwrap();
                let before = model.at(at, now_ms).map_or(0, |is| number_of(&is.seen()[0]));
                model.set(at, Some(Content::Value((before + len as u64).to_le_bytes().to_vec(), expiry)));
            }
            (_, of) => {
                let user = rng.below(USER_KEYS) as u8;
                change_map(writer, (state, key), (user, value, expiry, now_ms), of, rng, model.map(at), &refreshed);
            }
        }
    }

    fn remember(&mut self, position: u64) {
        let copy = (self.model.clone(), self.now_ms);
        // What ends at a position that is known already changed nothing.
        self.positions.entry(position).or_insert(copy);
    }

    fn commit(&mut self) -> u64 {
        let committed = self.store().commit(Commit::default()).unwrap();
        if self.rng.one_in(2) {
            committed.wait().unwrap();
        }
        self.remember(committed.position);
        committed.position
    }

    fn checkpoint(&mut self) {
        let label = self.next_label;
        self.next_label += 1;
        let info = self.store().barrier(Barrier::new(label)).unwrap().wait().unwrap();
        self.labels.insert(label, (self.model.clone(), self.now_ms));
        self.remember(info.position);
        if self.rng.one_in(4) {
            self.store().retain(label).unwrap();
        }
    }

    fn check_now(&self) {
        let reader = self.store().reader();
        reader.set_time_ms(self.now_ms);
        assert_eq!(everything(&reader, &self.states), self.model.seen(self.now_ms));
    }

    /// Checkpoints that are kept are what they were, others are refused.
    fn check_label(&mut self, label: u64) {
        let kept: BTreeSet<u64> = self.store().checkpoints().iter().map(|info| info.label).collect();
        let (model, then_ms) = &self.labels[&label];
        match self.store().as_of(label) {
            Ok(snapshot) => {
                assert!(kept.contains(&label));
                let now_ms = then_ms + self.rng.below(1_200) as u64;
                snapshot.set_time_ms(now_ms);
                assert_eq!(everything(&snapshot, &self.states), model.seen(now_ms), "checkpoint {label}");
                self.checks += 1;
            }
            Err(Error::Checkpoint { label: of, problem }) => {
                assert!(of == label && !kept.contains(&label), "{problem}");
                let list: Vec<String> = kept.iter().map(u64::to_string).collect();
                assert!(problem.ends_with(&format!("[{}]", list.join(", "))), "{problem} {kept:?}");
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The position from which on the past can be read.
    fn history_begin(&self) -> u64 {
        let infos = self.store().checkpoints();
        infos[infos.len().saturating_sub(KEPT)..].first().map_or(0, |info| info.position)
    }

    fn some_position(&mut self) -> u64 {
        let all: Vec<u64> = self.positions.keys().copied().collect();
        // The later half mostly, which is within the history.
        let from = if self.rng.one_in(4) { 0 } else { all.len() / 2 };
        *self.rng.pick(&all[from..])
    }

    fn check_position(&mut self) {
        let position = self.some_position();
        let past = match self.store().as_of_position(position) {
            Err(Error::Position { .. }) => {
                assert!(position < self.history_begin(), "{position} {}", self.history_begin());
                return;
            }
            outcome => outcome.unwrap(),
        };
        assert!(position >= self.history_begin());
        let (model, then_ms) = self.positions[&position].clone();
        let now_ms = then_ms + self.rng.below(1_200) as u64;
        past.set_time_ms(now_ms);
        for _ in 0..12 {
            let at = self.some_at();
            let expected = model.at(at, now_ms).map(|content| content.seen());
            assert_eq!(of_past(&past, &self.states, at), expected, "{at:?} at position {position}, {now_ms} ms");
        }
        self.checks += 1;
    }

    /// Brings some keys back, and says whether that could be.
    fn roll_back(&mut self) {
        let (to, (then, _)) = if self.rng.one_in(2) {
            let kept: Vec<u64> = self.store().checkpoints().iter().map(|info| info.label).collect();
            if kept.is_empty() {
                return;
            }
            let label = *self.rng.pick(&kept);
            (AsOf::Label(label), self.labels[&label].clone())
        } else {
            let position = self.some_position();
            if position < self.history_begin() {
                return;
            }
            (AsOf::Position(position), self.positions[&position].clone())
        };
        let (number, now_ms) = (self.rng.below(8), self.now_ms);
        let letter = b'a' + self.rng.below(3) as u8;
        let is_by_prefix = self.rng.one_in(2);
        let few: BTreeSet<At> = (0..6).map(|_| self.some_at()).collect();
        let is_in = |at: &At| match is_by_prefix {
            true => at.0 == number && b'a' + at.2 % 3 == letter,
            false => few.contains(at),
        };
        let all: BTreeSet<At> = self.model.0.keys().chain(then.0.keys()).copied().filter(is_in).collect();
        let differing = all.iter().filter(|at| self.model.at(**at, now_ms) != then.at(**at, now_ms)).count() as u64;
        let mut done = RolledBack::default();
        for round in 0..2 {
            let mut round_done = RolledBack::default();
            for writer in &mut self.writers {
                let groups = writer.range();
                let mut bytes: Vec<Vec<u8>> = vec![Vec::new(); few.len()];
                let own = few.iter().zip(&mut bytes).filter(|(at, _)| groups.contains(KeyGroup(at.1)));
                let keys: Vec<_> = own.map(|(at, bytes)| (self.states[at.0], key_of(*at, bytes))).collect();
                let scope = match is_by_prefix {
                    true => KeyScope::Prefix { state: self.states[number], groups, prefix: &[letter] },
                    false => KeyScope::Keys(&keys),
                };
                let one = writer.rollback_keys(&scope, to).unwrap();
                round_done.keys += one.keys;
                round_done.changes += one.changes;
            }
            if round == 0 {
                done = round_done;
            } else {
                assert_eq!(round_done, RolledBack::default(), "it is as it was, so nothing is written");
            }
        }
        assert_eq!(done.keys, differing, "{to:?}");
        for at in all {
            self.model.set(at, then.at(at, now_ms));
        }
        self.checks += 1;
    }

    fn reopen(&mut self) {
        if self.rng.one_in(2) {
            self.commit();
        }
        let store = self.store.take().unwrap();
        let newest = store.checkpoints().last().map_or(0, |info| info.position);
        let recovered = store.last_commit().position.max(newest);
        self.writers.clear();
        store.close().unwrap();
        let (store, states, writers) = open(&self.engine, self.directory.path());
        assert_eq!(store.position().unwrap(), recovered);
        (self.store, self.states, self.writers) = (Some(store), states, writers);
        self.positions.retain(|position, _| *position <= recovered);
        self.model = self.positions[&recovered].0.clone();
        self.tick();
    }
}

fn number_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

fn change_map(
    writer: &mut Writer,
    (state, key): (State, Key<'_>),
    (user, value, expiry, now_ms): (u8, Vec<u8>, Option<u64>, u64),
    of: usize,
    rng: &mut Rng,
    entries: &mut BTreeMap<u8, (Vec<u8>, Option<u64>)>,
    refreshed: &dyn Fn(Option<u64>) -> Option<u64>,
) {
    match of {
        0 => {
            writer.map_delete(state, key, &[user]).unwrap();
            entries.remove(&user);
        }
        1 => {
            let found = writer.map_get(state, key, &[user]).unwrap();
            let is = entries.get_mut(&user).filter(|(_, expiry)| lives(*expiry, now_ms));
            assert_eq!(found.as_ref(), is.as_ref().map(|(value, _)| value));
            if let Some((_, old)) = is {
                *old = refreshed(*old);
            }
        }
        2 if rng.one_in(4) => {
            writer.map_clear(state, key).unwrap();
            entries.clear();
        }
        2 => {
            let to = user + rng.below(8) as u8;
            let (from, end) = ([user], [to]);
            let range = MapRange::between(Bound::Included(&from), Bound::Excluded(&end));
            writer.map_delete_range(state, key, &range).unwrap();
            entries.retain(|of, _| !(user..to).contains(of));
        }
        3 => {
            let found = writer.map_pop_first(state, key).unwrap();
            let first = entries.iter().find(|(_, (_, expiry))| lives(*expiry, now_ms)).map(|(user, _)| *user);
            assert_eq!(found.map(|(user, _)| user[0]), first);
            first.map(|user| entries.remove(&user));
        }
        _ => {
            writer.map_put(state, key, &[user], &value).unwrap();
            entries.insert(user, (value, expiry));
        }
    }
}

#[test]
fn the_past_is_what_copies_of_a_model_say() {
    let seeds = std::env::var("ALLUVIUM_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in seeds.map_or(vec![1, 2, 3, 4], |seed: u64| vec![seed]) {
        println!("ALLUVIUM_TEST_SEED={seed}");
        let mut world = World::new(seed);
        for round in 0..60 {
            world.tick();
            for _ in 0..world.rng.below(400) {
                world.change();
            }
            match world.rng.below(12) {
                0 | 1 => world.checkpoint(),
                2..=4 => drop(world.commit()),
                5 | 6 => {
                    // Not committed yet, and perhaps never.
                    let position = world.store().position().unwrap();
                    world.remember(position);
                    world.check_position();
                }
                7 => world.store().compact().unwrap(),
                8 => {
                    let labels: Vec<u64> = world.store().checkpoints().iter().map(|info| info.label).collect();
                    if let Some(&label) = labels.first() {
                        world.store().release(label).unwrap();
                    }
                }
                9 => world.reopen(),
                _ => world.roll_back(),
            }
            world.check_position();
            if round % 4 == 0 {
                let labels: Vec<u64> = world.labels.keys().copied().collect();
                labels.into_iter().for_each(|label| world.check_label(label));
                world.check_now();
            }
        }
        assert!(world.checks > 40, "{}", world.checks);
    }
}
