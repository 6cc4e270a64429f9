//! A store to be edited, and what is done with it then.

use super::files::Files;
use super::workload::{Model, Plan, Subject, contents_of, engine, store_options};
use alluvium::{
    Barrier, ChangelogOptions, CheckpointSource, Commit, Durability, Engine, Key, MapRange, RecoveryStage,
    StorageChoice, Store, StoreOptions, WarmUp, inspect,
};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub const PLAN: Plan =
    Plan { seed: 11, steps: 300, every: 100, keys: 20, value_bytes_max: 600, waits: true, migrates: 0 };

/// The most that may be asked for at once: more than anything that these files can need, or the engine sets aside for itself.
const BYTES_MAX: usize = 8 << 20;

/// How many panics there were on threads of engines: not all of them come to whoever waits.
static PANICS: AtomicU64 = AtomicU64::new(0);

fn count_panics() {
    static HOOK: OnceLock<()> = OnceLock::new();
    HOOK.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name().is_some_and(|name| name.starts_with("alluvium")) {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            before(info);
        }));
    });
}

/// The options of the store: everything that has files of its own.
pub fn options() -> StoreOptions {
    let changelog = ChangelogOptions { file_bytes: 1 << 20, bytes: 64 << 10, ..ChangelogOptions::default() };
    StoreOptions {
        durability: Durability::Changelog,
        changelog,
        hot_list_bytes: 64 << 10,
        warm_up: WarmUp::Hottest,
        ..store_options()
    }
}

/// The files of a store with two checkpoints, a hot list, and commits behind them; and a place for edited ones.
pub struct Scene {
    place: tempfile::TempDir,
    engine: Engine,
    pub files: Files,
}

impl Scene {
    pub fn new() -> Self {
        count_panics();
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let engine = engine(StorageChoice::Posix, 4 << 20);
        let path = place.path().join("made");
        let store = Store::create(&engine, &path, options()).unwrap();
        let mut subject = Subject::over(store).unwrap();
        for n in 1..=PLAN.steps {
            subject.step(PLAN, n - 1).unwrap();
            if n % 20 == 0 {
                let Barrier { offsets, metadata, .. } = Subject::barrier(n);
                subject.writer.commit(Commit { offsets, metadata, ..Commit::default() }).unwrap().wait().unwrap();
            }
            if n % PLAN.every == 0 && n < PLAN.steps {
                subject.store.barrier(Subject::barrier(n)).unwrap().wait().unwrap();
            }
        }
        // It is written in the background.
        let started = Instant::now();
        let is_list = |entry: fs::DirEntry| entry.file_name().to_str().is_some_and(|name| name.ends_with(".hotlist"));
        while !fs::read_dir(&path).unwrap().any(|entry| is_list(entry.unwrap())) {
            assert!(started.elapsed() < Duration::from_secs(60), "no hot list is written");
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(subject.writer);
        subject.store.close().unwrap();
        let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
        let named =
            entries.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()));
        let files: Files = named.filter(|(name, _)| name != "LOCK").collect();
        fs::remove_dir_all(&path).unwrap();
        for suffix in [".manifest", ".segment", ".changelog", ".hotlist"] {
            assert!(!super::files::names(&files, suffix).is_empty(), "no {suffix}: {:?}", files.keys());
        }
        Self { place, engine, files }
    }

    /// Where edited files go.
    pub fn path(&self) -> PathBuf {
        self.place.path().join("edited")
    }

    /// Lays files out.
    pub fn lay_out(&self, files: &Files) {
        fs::create_dir(self.path()).unwrap();
        for (name, bytes) in files {
            fs::write(self.path().join(name), bytes).unwrap();
        }
    }

    /// Does all there is to do with edited files; how many of the ways there found a store.
    pub fn drive(&self, files: &Files, what: &str) -> usize {
        self.lay_out(files);
        let (path, panics) = (self.path(), PANICS.load(Ordering::Relaxed));
        super::largest();
        let _ = inspect::describe(&path);
        let _ = inspect::verify(&path);
        let mut found = 0;
        let restored = self.place.path().join("restored");
        let source = CheckpointSource { directory: path.clone(), label: None };
        if let Ok(store) = Store::restore(&self.engine, &restored, &[source], options()) {
            self.use_up(store);
            found += 1;
        }
        let _ = fs::remove_dir_all(&restored);
        if let Ok(store) = Store::open(&self.engine, &path, options()) {
            self.use_up(store);
            found += 1;
        }
        fs::remove_dir_all(&path).unwrap();
        self.lay_out(files);
        if let Ok(store) = Store::open_checkpoint(&self.engine, &path, PLAN.every, options()) {
            self.use_up(store);
            found += 1;
        }
        assert_eq!(PANICS.load(Ordering::Relaxed), panics, "{what}: it panicked");
        let largest = super::largest();
        assert!(largest <= BYTES_MAX, "{what}: {largest} bytes were asked for at once");
        let beside: Vec<_> = fs::read_dir(self.place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside, ["edited"], "{what}: something came beside the directory");
        fs::remove_dir_all(&path).unwrap();
        found
    }

    /// Reads everything, writes, merges, and closes. Whatever fails may; it is to end.
    fn use_up(&self, store: Store) {
        for info in store.checkpoints() {
            let _ = contents_of(&store, info.label);
        }
        if let Ok(mut subject) = Subject::over(store.clone()) {
            Self::read_all(&mut subject);
            Self::await_warmth(&store);
            for n in PLAN.steps..PLAN.steps + 40 {
                let _ = subject.step(PLAN, n);
            }
            let _ = subject.store.snapshot().and_then(|snapshot| snapshot.wait());
            let _ = subject.store.barrier(Subject::barrier(PLAN.steps + 40)).and_then(|pending| pending.wait());
            let _ = subject.store.compact();
            Self::read_all(&mut subject);
            let _ = subject.store.barrier(Subject::barrier(PLAN.steps + 41)).and_then(|pending| pending.wait());
        }
        let _ = store.close();
    }

    /// Waits until what was hot is in memory, as far as it can be: that ends, too.
    fn await_warmth(store: &Store) {
        let started = Instant::now();
        while store.recovery().stage != RecoveryStage::Complete {
            assert!(started.elapsed() < Duration::from_secs(60), "warming up hangs");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn read_all(subject: &mut Subject) {
        let mut model = Model::new(PLAN);
        for (state, name, namespace, user_key) in model.at(PLAN.steps).keys() {
            let key = Key::new(subject.store.key(name).group, name).in_namespace(namespace);
            let _ = subject.read(state, key, user_key.as_deref());
        }
        for id in 0..PLAN.keys {
            let name = format!("key-{id}").into_bytes();
            let key = Key::new(subject.store.key(&name).group, &name);
            let maps = subject.maps();
            let mut count = 0;
            let _ = subject.writer.map_scan(maps, key, &MapRange::all(), |_, _| {
                count += 1;
                ControlFlow::Continue(())
            });
            let _ = subject.writer.map_first(maps, key);
            let _ = subject.writer.map_last(maps, key);
        }
    }
}
