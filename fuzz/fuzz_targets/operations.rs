//! Any sequence of operations on a small store, beside a model: what is read is what the model says, also after
//! checkpoints, compactions, crashes and reopenings, commits and aborts, with too little memory for all of it.
#![no_main]

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::OnceLock;

use alluvium::{
    Barrier, Commit, Engine, EngineOptions, Key, KeyGroupRange, MapRange, MergeOperator, PageCache, State,
    StateOptions, StorageChoice, Store, StoreOptions, Writer,
};
use libfuzzer_sys::fuzz_target;

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let options = EngineOptions {
            memory_budget_bytes: 4 << 20,
            threads: 1,
            storage: StorageChoice::Posix,
            page_cache: PageCache::Everything,
            ..Default::default()
        };
        Engine::open(options).expect("an engine")
    })
}

fn options(transactional: bool) -> StoreOptions {
    let range = KeyGroupRange::new(0, 3);
    StoreOptions { key_groups: 4, range, hash_seed: Some(1), transactional, ..Default::default() }
}

#[derive(Clone, Default)]
struct Model {
    values: BTreeMap<u8, Vec<u8>>,
    lists: BTreeMap<u8, Vec<Vec<u8>>>,
    maps: BTreeMap<u8, BTreeMap<Vec<u8>, Vec<u8>>>,
    sums: BTreeMap<u8, u64>,
}

struct Subject {
    store: Store,
    writer: Writer,
    values: State,
    lists: State,
    maps: State,
    sums: State,
}

impl Subject {
    fn over(store: Store) -> Self {
        let state = |options| store.state(options).expect("a state");
        let values = state(StateOptions::value("values"));
        let lists = state(StateOptions::list("lists"));
        let maps = state(StateOptions::map("maps"));
        let sums = state(StateOptions::merging("sums", MergeOperator::U64Add));
        let writer = store.writer(store.range()).expect("a writer");
        Self { store, writer, values, lists, maps, sums }
    }

    fn check(&mut self, model: &Model, id: u8) {
        let name = [id];
        let key = self.store.key(&name);
        assert_eq!(self.writer.get(self.values, key).unwrap().as_ref(), model.values.get(&id));
        let list = self.writer.list(self.lists, key).unwrap();
        assert_eq!(&list, model.lists.get(&id).unwrap_or(&Vec::new()));
        let sum = self.writer.get(self.sums, key).unwrap();
        assert_eq!(sum, model.sums.get(&id).map(|sum| sum.to_le_bytes().to_vec()));
        for range in [MapRange::all(), MapRange::all().reversed()] {
            let mut wanted: Vec<_> = model.maps.get(&id).into_iter().flatten().collect();
            if range.reverse {
                wanted.reverse();
            }
            let mut wanted = wanted.into_iter();
            let each = |user_key: &[u8], value: &[u8]| {
                let next = wanted.next().map(|(user_key, value)| (&user_key[..], &value[..]));
                assert_eq!(next, Some((user_key, value)));
                ControlFlow::Continue(())
            };
            self.writer.map_scan(self.maps, key, &range, each).unwrap();
            assert_eq!(wanted.next(), None);
        }
    }
}

/// Takes the operations from the fuzzer's bytes; `None` at their end.
struct Source<'a>(std::slice::Iter<'a, u8>);

impl Source<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.0.next().copied()
    }

    /// Mostly short values; some fill much of the memory.
    fn value(&mut self) -> Option<Vec<u8>> {
        let (len, fill) = (self.byte()?, self.byte()?);
        let len = if len >= 224 { (usize::from(len) - 223) << 13 } else { usize::from(len) };
        Some(vec![fill; len])
    }
}

/// One change of what `id` names, in the store and in the model.
fn change(subject: &mut Subject, model: &mut Model, source: &mut Source<'_>, operation: u8, id: u8) -> Option<()> {
    let name = [id];
    let key: Key<'_> = subject.store.key(&name);
    let writer = &mut subject.writer;
    match operation {
        0..3 => {
            let value = source.value()?;
            writer.put(subject.values, key, &value).unwrap();
            model.values.insert(id, value);
        }
        3 => {
            writer.delete(subject.values, key).unwrap();
            model.values.remove(&id);
        }
        4..6 => {
            let element = source.value()?;
            writer.append(subject.lists, key, &element).unwrap();
            model.lists.entry(id).or_default().push(element);
        }
        6 => {
            writer.delete(subject.lists, key).unwrap();
            model.lists.remove(&id);
        }
        7..10 => {
            let (user_key, value) = ([source.byte()? % 16], source.value()?);
            writer.map_put(subject.maps, key, &user_key, &value).unwrap();
            model.maps.entry(id).or_default().insert(user_key.to_vec(), value);
        }
        10 => {
            let user_key = [source.byte()? % 16];
            writer.map_delete(subject.maps, key, &user_key).unwrap();
            model.maps.entry(id).or_default().remove(&user_key[..]);
        }
        11 => {
            writer.map_clear(subject.maps, key).unwrap();
            model.maps.remove(&id);
        }
        12 => {
            let popped = writer.map_pop_first(subject.maps, key).unwrap();
            assert_eq!(popped, model.maps.entry(id).or_default().pop_first());
        }
        13 if source.byte()? % 2 == 0 => {
            let below = [source.byte()? % 17];
            let mut popped = Vec::new();
            let take = |user_key: &[u8], value: &[u8]| popped.push((user_key.to_vec(), value.to_vec()));
            writer.map_pop_below(subject.maps, key, &below, take).unwrap();
            let entries = model.maps.entry(id).or_default();
            let rest = entries.split_off(&below[..]);
            assert!(popped.into_iter().eq(std::mem::replace(entries, rest)));
        }
        13 => {
            let number = u64::from(source.byte()?);
            writer.merge(subject.sums, key, &number.to_le_bytes()).unwrap();
            *model.sums.entry(id).or_default() += number;
        }
        14 => {
            writer.delete(subject.sums, key).unwrap();
            model.sums.remove(&id);
        }
        15 => {
            let (from, to) = ([source.byte()? % 16], [source.byte()? % 18]);
            let range = MapRange::between(Bound::Included(&from), Bound::Excluded(&to));
            writer.map_delete_range(subject.maps, key, &range).unwrap();
            model.maps.entry(id).or_default().retain(|user_key, _| user_key[..] < from[..] || user_key[..] >= to[..]);
        }
        _ => {}
    }
    Some(())
}

fn run(path: &Path, source: &mut Source<'_>) -> Option<()> {
    let transactional = source.byte()? % 2 == 1;
    let mut model = Model::default();
    let mut committed = Model::default();
    let mut saved: Option<Model> = None;
    let mut subject = Subject::over(Store::create(engine(), path, options(transactional)).expect("a store"));
    let mut label = 0;
    loop {
        let (operation, id) = (source.byte()?, source.byte()? % 24);
        match operation % 23 {
            operation @ 0..16 => change(&mut subject, &mut model, source, operation, id)?,
            16 => {
                label += 1;
                subject.store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
                saved = Some(if transactional { committed.clone() } else { model.clone() });
            }
            17 => subject.store.compact().unwrap(),
            18 if saved.is_some() => {
                let Subject { store, writer, .. } = subject;
                drop(writer);
                store.close().unwrap();
                let store = Store::open(engine(), path, options(transactional)).unwrap();
                assert_eq!(store.restored().map(|info| info.label), Some(label));
                subject = Subject::over(store);
                model.clone_from(saved.as_ref()?);
                committed.clone_from(&model);
            }
            19 if transactional => {
                subject.writer.commit(Commit::default()).unwrap();
                committed.clone_from(&model);
            }
            20 if transactional => {
                subject.writer.abort_transaction().unwrap();
                model.clone_from(&committed);
            }
            _ => subject.check(&model, id),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let path = base.join(format!("alluvium-fuzz-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    run(&path, &mut Source(bytes.iter()));
    let _ = std::fs::remove_dir_all(&path);
});
