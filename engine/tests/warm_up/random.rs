//! Random histories, with hot lists written on the way: whatever a store is opened at, it has what a model has.

use super::*;
use std::ops::Bound;

/// Small and fast: SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % n
    }
}

type Maps = BTreeMap<(u32, u32), Vec<u8>>;

/// What a store has to have.
#[derive(Clone, Default)]
struct Model {
    values: BTreeMap<u32, Vec<u8>>,
    maps: Maps,
    lists: BTreeMap<u32, Vec<Vec<u8>>>,
}

const KEYS: u64 = 400;
const USER_KEYS: u64 = 8;
/// Of one map, which takes many steps to be brought.
const USER_KEYS_OF_FIRST: u64 = 3_000;
const RETAINED: usize = 3;

fn user_keys(i: u32) -> u64 {
    if i == 0 { USER_KEYS_OF_FIRST } else { USER_KEYS }
}

struct Open {
    store: Store,
    states: [State; 3],
    writer: Writer,
}

impl Open {
    fn new(store: Store) -> Self {
        let options = [StateOptions::value("v"), StateOptions::map("m"), StateOptions::list("l")];
        let states = options.map(|options| store.state(options).unwrap());
        let writer = store.writer(store.range()).unwrap();
        Self { store, states, writer }
    }

    fn change(&mut self, random: &mut Random, model: &mut Model) {
        let Self { store, states: [v, m, l], writer } = self;
        // Half of the time one of few keys.
        let i = if random.below(2) == 0 { random.below(KEYS / 10) } else { random.below(KEYS) } as u32;
        let (bytes, user) = (key(i), random.below(user_keys(i)) as u32);
        let (key, new) = (store.key(&bytes), value(i, random.below(1 << 30) as u32));
        match random.below(16) {
            0..=5 => {
                writer.put(*v, key, &new).unwrap();
                model.values.insert(i, new);
            }
            6 => {
                writer.delete(*v, key).unwrap();
                model.values.remove(&i);
            }
            7..=10 => {
                writer.map_put(*m, key, &user.to_be_bytes(), &new).unwrap();
                model.maps.insert((i, user), new);
            }
            11 => {
                writer.map_delete(*m, key, &user.to_be_bytes()).unwrap();
                model.maps.remove(&(i, user));
            }
            12 => {
                let end = user + random.below(USER_KEYS) as u32;
                let range = [user, end].map(u32::to_be_bytes);
                let range = MapRange::between(Bound::Included(&range[0]), Bound::Excluded(&range[1]));
                writer.map_delete_range(*m, key, &range).unwrap();
                model.maps.retain(|&(of, at), _| of != i || !(user..end).contains(&at));
            }
            13 if i > 0 => {
                writer.map_clear(*m, key).unwrap();
                model.maps.retain(|&(of, _), _| of != i);
            }
            14 => {
                writer.append(*l, key, &new).unwrap();
                model.lists.entry(i).or_default().push(new);
            }
            _ => {
                assert_eq!(writer.get(*v, key).unwrap().as_ref(), model.values.get(&i));
            }
        }
    }

    fn check(&mut self, model: &Model, what: &str) {
        let Self { store, states: [v, m, l], writer } = self;
        for i in 0..KEYS as u32 {
            let bytes = key(i);
            let key = store.key(&bytes);
            assert_eq!(writer.get(*v, key).unwrap().as_ref(), model.values.get(&i), "value {i} {what}");
            for user in 0..user_keys(i) as u32 {
                let found = writer.map_get(*m, key, &user.to_be_bytes()).unwrap();
                assert_eq!(found.as_ref(), model.maps.get(&(i, user)), "entry {i} {user} {what}");
            }
            assert_eq!(
                writer.list(*l, key).unwrap(),
                model.lists.get(&i).cloned().unwrap_or_default(),
                "list {i} {what}"
            );
        }
    }
}

/// Opens a store again, at its newest checkpoint or at another, with a list that is of now or of before.
fn reopen(engine: &Engine, directory: &Path, label: Option<u64>, warm_up: WarmUp) -> Open {
    let options = StoreOptions { retained_checkpoints: RETAINED, ..options(warm_up) };
    let store = match label {
        Some(label) => Store::open_checkpoint(engine, directory, label, options),
        None => Store::open(engine, directory, options),
    };
    Open::new(store.unwrap())
}

fn history(seed: u64) -> u64 {
    println!("seed {seed}");
    let mut random = Random(seed);
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(6);
    let kept = StoreOptions { retained_checkpoints: RETAINED, ..options(WarmUp::Nothing) };
    let mut open = Open::new(Store::create(&engine, directory.path(), kept).unwrap());
    let mut model = Model::default();
    // What each checkpoint has, and a list of some time before.
    let mut checkpoints: BTreeMap<u64, Model> = BTreeMap::new();
    let (mut label, mut brought) = (0, 0);
    let mut old_list: Option<(PathBuf, Vec<u8>)> = None;
    for _ in 0..10 {
        for _ in 0..6 {
            for _ in 0..random.below(800) {
                open.change(&mut random, &mut model);
            }
            label += 1;
            open.store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
            checkpoints.insert(label, model.clone());
            match random.below(6) {
                0 => open.store.compact().unwrap(),
                1 => roll_back_some(&open, &mut random, &mut model, &checkpoints),
                2 => {
                    if let Some(list) = lists(directory.path()).pop() {
                        // It may just be making room for the next.
                        old_list = std::fs::read(&list).ok().map(|bytes| (list, bytes)).or(old_list);
                    }
                }
                _ => {}
            }
        }
        // Those that stay: an older one may be listed until it has been let go of, in the background.
        let labels: Vec<u64> = open.store.checkpoints().iter().rev().take(RETAINED).map(|info| info.label).collect();
        let at = (random.below(4) == 0).then(|| labels[random.below(labels.len() as u64) as usize]);
        let then = at.unwrap_or(labels[0]);
        let Open { store, writer, .. } = open;
        drop(writer);
        store.close().unwrap();
        if let (Some((list, bytes)), 0) = (&old_list, random.below(3)) {
            lists(directory.path()).iter().for_each(|list| std::fs::remove_file(list).unwrap());
            std::fs::write(list, bytes).unwrap();
        }
        model = checkpoints[&then].clone();
        let way = [WarmUp::Declared(Vec::new()), WarmUp::Fitting, WarmUp::Hottest][random.below(3) as usize].clone();
        open = reopen(&engine, directory.path(), at, way);
        // Meanwhile it is written to, and what is written wins; its segments change; and some of it is rolled back.
        for _ in 0..random.below(6) {
            match random.below(4) {
                0 => {
                    label += 1;
                    open.store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
                    checkpoints.insert(label, model.clone());
                }
                1 => roll_back_some(&open, &mut random, &mut model, &checkpoints),
                _ => (0..random.below(400)).for_each(|_| open.change(&mut random, &mut model)),
            }
        }
        until_warm(&open.store);
        open.check(&model, &format!("of checkpoint {then}, seed {seed}"));
        brought += open.store.recovery().brought_records;
    }
    brought
}

/// Takes a part of a store back to its oldest checkpoint, where that can be gone back to: a range, with all states or with one.
fn roll_back_some(open: &Open, random: &mut Random, model: &mut Model, checkpoints: &BTreeMap<u64, Model>) {
    let range = KeyGroupRange::new(random.below(128) as u16, 127);
    let which = [None, Some(0), Some(1), Some(2)][random.below(4) as usize];
    let scope = Scope::groups(range);
    let scope = which.map_or(scope.clone(), |which| scope.states(&[open.states[which]]));
    let to = open.store.checkpoints().first().unwrap().label;
    if open.store.rollback(&scope, to).is_ok() {
        roll_back(&open.store, model, &checkpoints[&to], (range, which));
    }
}

/// Takes the model's keys of a range back, of one of the states or all.
fn roll_back(store: &Store, model: &mut Model, then: &Model, (range, which): (KeyGroupRange, Option<usize>)) {
    let is_its = |i: u32| range.contains(store.key(&key(i)).group);
    let of = |state: usize| which.is_none_or(|which| which == state);
    if of(0) {
        model.values.retain(|i, _| !is_its(*i));
        model.values.extend(then.values.iter().filter(|(i, _)| is_its(**i)).map(|(i, value)| (*i, value.clone())));
    }
    if of(1) {
        model.maps.retain(|(i, _), _| !is_its(*i));
        model.maps.extend(then.maps.iter().filter(|((i, _), _)| is_its(*i)).map(|(at, value)| (*at, value.clone())));
    }
    if of(2) {
        model.lists.retain(|i, _| !is_its(*i));
        model.lists.extend(then.lists.iter().filter(|(i, _)| is_its(**i)).map(|(i, list)| (*i, list.clone())));
    }
}

#[test]
fn a_store_that_is_warmed_up_has_what_it_had() {
    let seeds: Vec<u64> = match std::env::var("ALLUVIUM_TEST_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=3).collect(),
    };
    let brought: u64 = seeds.into_iter().map(history).sum();
    assert!(brought > 1_000, "warming up brought {brought} records: nothing was tested");
}
