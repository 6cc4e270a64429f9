//! Stores beside a model, and what they upload.

use super::faulty::Faulty;
use super::rng::Rng;
use alluvium::remote::object_store::memory::InMemory;
use alluvium::remote::object_store::path::Path as ObjectPath;
use alluvium::remote::object_store::{ObjectStore, ObjectStoreExt};
use alluvium::remote::{Remote, RemoteOptions, RestoreOptions, Restoring, RetryOptions, Uploaded};
use alluvium::{
    Barrier, Durability, Engine, EngineOptions, Key, KeyGroup, KeyGroupRange, Retention, State, StateOptions, Store,
    StoreOptions, Writer,
};
use futures_util::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const GROUPS: u16 = 8;
pub const NUMBERS: u32 = 300;

pub type Model = BTreeMap<(u16, u32), Vec<u8>>;

pub fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap()
}

pub fn options(range: KeyGroupRange) -> StoreOptions {
    StoreOptions {
        key_groups: u32::from(GROUPS),
        range,
        durability: Durability::Host,
        retention: Retention::Host { unconfirmed_max: 4 },
        ..Default::default()
    }
}

pub fn all() -> KeyGroupRange {
    KeyGroupRange::new(0, GROUPS - 1)
}

/// Tries again quickly, a few times.
pub fn quick() -> RemoteOptions {
    let retry = RetryOptions {
        tries: 8,
        first: Duration::from_millis(1),
        longest: Duration::from_millis(4),
        timeout: Duration::from_secs(20),
    };
    RemoteOptions { retry, keep: 2, ..RemoteOptions::default() }
}

/// Tries once.
pub fn once() -> RemoteOptions {
    let retry = RetryOptions { tries: 1, ..quick().retry };
    RemoteOptions { retry, ..quick() }
}

pub fn over(store: &Arc<impl ObjectStore>, prefix: &str, options: RemoteOptions) -> Remote {
    Remote::with_store(Arc::clone(store) as Arc<dyn ObjectStore>, prefix, options).unwrap()
}

/// A store in memory whose requests go wrong as one says.
pub fn faulty() -> (Arc<InMemory>, Arc<Faulty>) {
    let inner = Arc::new(InMemory::new());
    let faulty = Faulty::over(Arc::clone(&inner) as Arc<dyn ObjectStore>);
    (inner, Arc::new(faulty))
}

pub fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// The objects of a store with their lengths.
pub fn objects(store: &dyn ObjectStore, prefix: &str) -> BTreeMap<String, u64> {
    let prefix = ObjectPath::from(prefix);
    let listed: Vec<_> = block(store.list(Some(&prefix)).try_collect()).unwrap();
    listed.into_iter().map(|meta| (meta.location.to_string(), meta.size)).collect()
}

/// Changes an object where it lies; to nothing: deletes it.
pub fn damage(store: &InMemory, object: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = ObjectPath::from(object);
    let mut bytes = block(async { store.get(&path).await.unwrap().bytes().await.unwrap() }).to_vec();
    change(&mut bytes);
    if bytes.is_empty() {
        block(store.delete(&path)).unwrap();
    } else {
        block(store.put(&path, bytes.into())).unwrap();
    }
}

/// A store with its writer, and what it should hold.
pub struct Job {
    pub store: Store,
    pub writer: Writer,
    pub values: State,
    pub maps: State,
    pub model: Model,
}

impl Job {
    pub fn create(engine: &Engine, path: &Path, range: KeyGroupRange) -> Self {
        Self::adopt(Store::create(engine, path, options(range)).unwrap(), Model::new())
    }

    pub fn adopt(store: Store, model: Model) -> Self {
        let values = store.state(StateOptions::value("values")).unwrap();
        let maps = store.state(StateOptions::map("maps")).unwrap();
        let writer = store.writer(store.range()).unwrap();
        Self { store, writer, values, maps, model }
    }

    pub fn restore(
        engine: &Engine,
        path: &Path,
        remote: &Remote,
        label: Option<u64>,
        model: &Model,
    ) -> (Self, Restoring) {
        let (store, restoring) =
            remote.restore(engine, path, label, options(all()), RestoreOptions::default()).unwrap();
        (Self::adopt(store, model.clone()), restoring)
    }

    pub fn change(&mut self, group: u16, number: u32, value: Option<Vec<u8>>) {
        let user_key = number.to_be_bytes();
        let (key, map) = (Key::new(KeyGroup(group), &user_key), Key::new(KeyGroup(group), b"map"));
        match value {
            Some(value) => {
                self.writer.put(self.values, key, &value).unwrap();
                self.writer.map_put(self.maps, map, &user_key, &value).unwrap();
                self.model.insert((group, number), value);
            }
            None => {
                self.writer.delete(self.values, key).unwrap();
                self.writer.map_delete(self.maps, map, &user_key).unwrap();
                self.model.remove(&(group, number));
            }
        }
    }

    pub fn work(&mut self, rng: &mut Rng, changes: usize, len_max: usize) {
        let range = self.store.range();
        for _ in 0..changes {
            let group = range.first() + rng.below(range.count()) as u16;
            let number = rng.below(NUMBERS as usize) as u32;
            let len = rng.below(len_max);
            let value = (!rng.one_in(5)).then(|| rng.bytes(len));
            self.change(group, number, value);
        }
    }

    /// Records that don't compress, of about so many bytes.
    pub fn fill(&mut self, rng: &mut Rng, bytes: usize) {
        for at in 0..bytes / 8_192 {
            let mut value = Vec::with_capacity(8_192);
            while value.len() < 8_192 / 2 {
                value.extend_from_slice(&rng.next().to_le_bytes());
            }
            self.change(at as u16 % GROUPS, (at / usize::from(GROUPS)) as u32, Some(value));
        }
    }

    pub fn checkpoint(&self, label: u64) -> Model {
        self.store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
        self.model.clone()
    }

    pub fn upload(&self, remote: &Remote, label: u64) -> Uploaded {
        self.checkpoint(label);
        remote.upload(&self.store, label).unwrap()
    }

    pub fn get(&mut self, group: u16, number: u32) -> alluvium::Result<Option<Vec<u8>>> {
        self.writer.get(self.values, Key::new(KeyGroup(group), &number.to_be_bytes()))
    }

    /// Compares some keys, in random order.
    pub fn check_some(&mut self, rng: &mut Rng, keys: usize) {
        let range = self.store.range();
        for _ in 0..keys {
            let (group, number) = (range.first() + rng.below(range.count()) as u16, rng.below(NUMBERS as usize) as u32);
            let found = self.get(group, number).unwrap();
            assert_eq!(found.as_ref(), self.model.get(&(group, number)), "value {number} of {group}");
        }
    }

    pub fn check(&mut self) {
        for group in self.store.range().iter() {
            let last = self.model.range((group.0, 0)..=(group.0, u32::MAX)).next_back().map_or(0, |(key, _)| key.1);
            for number in 0..NUMBERS.max(last + 1) {
                let wanted = self.model.get(&(group.0, number));
                let user_key = number.to_be_bytes();
                let found = self.writer.get(self.values, Key::new(group, &user_key)).unwrap();
                assert_eq!(found.as_ref(), wanted, "value {number} of {}", group.0);
                let found = self.writer.map_get(self.maps, Key::new(group, b"map"), &user_key).unwrap();
                assert_eq!(found.as_ref(), wanted, "entry {number} of {}", group.0);
            }
        }
    }

    pub fn close(self) {
        let Self { store, writer, .. } = self;
        drop(writer);
        store.close().unwrap();
    }
}

/// What a model holds of a range.
pub fn part(model: &Model, range: KeyGroupRange) -> Model {
    model.range((range.first(), 0)..=(range.last(), u32::MAX)).map(|(key, value)| (*key, value.clone())).collect()
}

/// The segments that the checkpoints of a remote name, with those that are there.
pub fn named_and_there(
    engine: &Engine,
    store: &dyn ObjectStore,
    remote: &Remote,
    prefix: &str,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut named = BTreeSet::new();
    for checkpoint in remote.list().unwrap() {
        let directory = tempfile::tempdir().unwrap();
        let how = RestoreOptions { background: false, ..RestoreOptions::default() };
        let label = checkpoint.label().unwrap();
        let (store, _) = remote.restore(engine, directory.path(), Some(label), options(all()), how).unwrap();
        let files = store.files(label).unwrap();
        named.extend(files.list().iter().map(|file| file.name.clone()).filter(|name| name.ends_with(".segment")));
        drop(files);
        store.close().unwrap();
    }
    let there = objects(store, &format!("{prefix}/segments")).into_keys();
    (named, there.map(|object| object.rsplit('/').next().unwrap().to_owned()).collect())
}
