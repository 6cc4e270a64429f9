//! The life of checkpoints as a host lives it: it copies their files away, completes some, gives others up, forgets to
//! say so, takes up the work from any that it still has; and segments that are elsewhere, and come when they are asked for.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;

use alluvium::platform::storage::Fault;
use alluvium::{
    Barrier, Batch, Class, Durability, Engine, EngineOptions, Error, Fetches, Key, KeyGroup, KeyGroupRange, Operation,
    Pending, Retention, SegmentSink, State, StateOptions, Store, StoreOptions, Writer,
};
use rng::Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap()
}

/// The store of a remote file system: names to bytes.
type Remote = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// Gathers what is written, and checks that it comes in order.
#[derive(Debug, Default)]
struct Gatherer {
    parts: Mutex<HashMap<String, Vec<u8>>>,
    whole: Mutex<HashMap<String, Vec<u8>>>,
    abandoned: AtomicUsize,
}

impl SegmentSink for Gatherer {
    fn write(&self, name: &str, offset: u64, bytes: &[u8]) {
        let mut parts = self.parts.lock().unwrap();
        let part = parts.entry(name.to_owned()).or_default();
        assert_eq!(part.len() as u64, offset);
        part.extend_from_slice(bytes);
    }

    fn complete(&self, name: &str, len: u64) {
        let part = self.parts.lock().unwrap().remove(name).unwrap();
        assert_eq!(part.len() as u64, len);
        self.whole.lock().unwrap().insert(name.to_owned(), part);
    }

    fn abandon(&self, name: &str) {
        self.parts.lock().unwrap().remove(name);
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }
}

fn options(sink: Option<Arc<Gatherer>>) -> StoreOptions {
    StoreOptions {
        key_groups: 8,
        range: KeyGroupRange::new(0, 7),
        durability: Durability::Host,
        retention: Retention::Host { unconfirmed_max: 8 },
        fetch: true,
        sink: sink.map(|sink| sink as Arc<dyn SegmentSink>),
        ..Default::default()
    }
}

/// Brings what a store asks for, until it is dropped.
struct Carrier {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Carrier {
    fn new(fetches: Arc<Fetches>, remote: Remote) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let carry = move || {
            while !stopped.load(Ordering::Relaxed) {
                for request in fetches.wait(4, Duration::from_millis(5)) {
                    let from = usize::try_from(request.offset).unwrap();
                    let bytes = remote.lock().unwrap()[&request.file][from..from + request.len].to_vec();
                    fetches.complete(request.id, &bytes).unwrap();
                }
            }
        };
        Self { stop, thread: Some(std::thread::spawn(carry)) }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

type Model = BTreeMap<(u16, u32), Vec<u8>>;

/// A checkpoint that the host has whole.
#[derive(Clone)]
struct Copied {
    label: u64,
    manifest: Vec<u8>,
    segments: BTreeSet<String>,
    model: Model,
}

struct Job {
    store: Store,
    writer: Writer,
    values: State,
    maps: State,
    model: Model,
    carrier: Option<Carrier>,
}

struct Host {
    engine: Engine,
    root: PathBuf,
    directories: u32,
    remote: Remote,
    sink: Arc<Gatherer>,
    job: Option<Job>,
    pending: Vec<(Pending, Model, bool)>,
    /// Copied and confirmed, oldest first; and those that stand alone.
    completed: Vec<Copied>,
    savepoints: Vec<Copied>,
    label: u64,
    rng: Rng,
    counts: BTreeMap<&'static str, u32>,
}

impl Host {
    fn new(root: &Path, seed: u64) -> Self {
        let sink = Arc::new(Gatherer::default());
        let engine = engine();
        let store = Store::create(&engine, &root.join("0"), options(Some(Arc::clone(&sink)))).unwrap();
        let mut host = Self {
            engine,
            root: root.to_owned(),
            directories: 1,
            remote: Remote::default(),
            sink,
            job: None,
            pending: Vec::new(),
            completed: Vec::new(),
            savepoints: Vec::new(),
            label: 0,
            rng: Rng::new(seed),
            counts: BTreeMap::new(),
        };
        host.adopt(store, Model::new());
        host
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn adopt(&mut self, store: Store, model: Model) {
        let values = store.state(StateOptions::value("values")).unwrap();
        let maps = store.state(StateOptions::map("maps")).unwrap();
        let writer = store.writer(store.range()).unwrap();
        let carrier = Carrier::new(store.fetches().unwrap(), Arc::clone(&self.remote));
        self.job = Some(Job { store, writer, values, maps, model, carrier: Some(carrier) });
    }

    fn job(&mut self) -> &mut Job {
        self.job.as_mut().unwrap()
    }

    fn work(&mut self) {
        for _ in 0..self.rng.below(120) {
            let (group, number) = (self.rng.below(8) as u16, self.rng.below(400) as u32);
            let bytes = vec![self.rng.below(256) as u8; self.rng.below(600)];
            let delete = self.rng.one_in(4);
            self.job().change(group, number, (!delete).then_some(bytes));
        }
    }

    fn barrier(&mut self) {
        self.label += 1 + self.rng.below(3) as u64;
        let standalone = self.rng.one_in(12);
        let label = self.label;
        let job = self.job();
        let pending = job.store.barrier(Barrier { standalone, ..Barrier::new(label) }).unwrap();
        let model = job.model.clone();
        self.pending.push((pending, model, standalone));
        self.count("barriers");
    }

    /// Deals with one checkpoint that is complete here, in any order.
    fn attend(&mut self) {
        let Some(at) = (!self.pending.is_empty()).then(|| self.rng.below(self.pending.len())) else { return };
        if self.rng.one_in(12) {
            let (pending, ..) = self.pending.swap_remove(at);
            let label = pending.label();
            self.count("aborted on their way");
            return self.job().store.abort(label).unwrap();
        }
        if self.rng.one_in(10) {
            // The word of its completion comes before anything else is known of it.
            let label = self.pending[at].0.label();
            self.job().store.confirm(label + 1_000_000).unwrap();
        }
        if self.pending[at].0.poll().is_none() && self.rng.one_in(2) {
            return;
        }
        let (pending, model, standalone) = self.pending.swap_remove(at);
        pending.wait().unwrap();
        // A host has no use for one that a later one overtook, and it may be gone here by now.
        if !standalone && self.completed.last().is_some_and(|last| last.label > pending.label()) {
            return self.count("overtaken");
        }
        let Some(copied) = self.copy(pending.label(), model) else { return self.count("overtaken") };
        match self.rng.below(10) {
            0 => self.count("lost"),
            1 => {
                self.job().store.abort(copied.label).unwrap();
                self.count("aborted");
            }
            _ if standalone => {
                self.savepoints.push(copied.clone());
                self.job().store.release(copied.label).unwrap();
                self.count("savepoints");
            }
            _ => self.complete(copied),
        }
    }

    fn complete(&mut self, copied: Copied) {
        let label = copied.label;
        self.completed.push(copied);
        self.count("completed");
        if !self.rng.one_in(5) {
            self.job().store.confirm(label).unwrap();
            if self.rng.one_in(5) {
                self.job().store.confirm(label).unwrap();
            }
        }
        while self.completed.len() > 3 {
            let old = self.completed.remove(0);
            if self.rng.one_in(2) {
                self.job().store.subsume(old.label).unwrap();
                self.count("subsumed");
            }
        }
        // What no checkpoint that the host has refers to goes.
        let used: BTreeSet<&String> =
            self.completed.iter().chain(&self.savepoints).flat_map(|copied| &copied.segments).collect();
        let used: BTreeSet<String> = used.into_iter().cloned().collect();
        self.remote.lock().unwrap().retain(|name, _| used.contains(name));
    }

    /// Copies a checkpoint's files away; `None` where it is gone already.
    fn copy(&mut self, label: u64, model: Model) -> Option<Copied> {
        let store = self.job().store.clone();
        let files = match store.files(label) {
            Ok(files) => files,
            Err(Error::Checkpoint { .. }) => return None,
            Err(error) => panic!("{error}"),
        };
        let mut segments = BTreeSet::new();
        let (segment_files, manifest) = files.list().split_at(files.list().len() - 1);
        for (index, file) in segment_files.iter().enumerate() {
            segments.insert(file.name.clone());
            if self.remote.lock().unwrap().contains_key(&file.name) {
                continue;
            }
            // What a confirmed checkpoint has, the host has as long as it has that one.
            assert!(!file.shared || self.completed.is_empty(), "{} is called shared", file.name);
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < file.bytes {
                let len = (1 + self.rng.below(100_000)).min(usize::try_from(file.bytes).unwrap() - bytes.len());
                bytes.extend_from_slice(&files.read(index, bytes.len() as u64, len).unwrap());
            }
            if let Some(written) = self.sink.whole.lock().unwrap().get(&file.name) {
                assert!(*written == bytes, "{}: what was handed on is not what is there", file.name);
            }
            self.remote.lock().unwrap().insert(file.name.clone(), bytes);
        }
        assert_eq!(manifest[0].bytes, files.manifest().len() as u64);
        assert_eq!(files.read(segment_files.len(), 0, files.manifest().len()).unwrap(), files.manifest());
        Some(Copied { label, manifest: files.manifest().to_vec(), segments, model })
    }

    /// The job dies; it goes on from a checkpoint that the host has.
    fn fail_over(&mut self) {
        let all: Vec<Copied> = self.completed.iter().chain(&self.savepoints).cloned().collect();
        if all.is_empty() {
            return;
        }
        let from = self.rng.pick(&all).clone();
        self.pending.clear();
        let Job { store, writer, carrier, .. } = self.job.take().unwrap();
        drop((writer, carrier));
        store.close().unwrap();
        let path = self.root.join(self.directories.to_string());
        self.directories += 1;
        let store_options = options(Some(Arc::clone(&self.sink)));
        let store = Store::restore_absent(&self.engine, &path, &[&from.manifest], store_options).unwrap();
        self.adopt(store, from.model);
        // Whatever the host thinks that it completed after the one it went back to is void.
        self.completed.retain(|copied| copied.label <= from.label);
        self.job().check();
        self.count("restored");
    }

    /// With nothing under way, the directory has what the checkpoints name, and nothing else.
    fn settle(&mut self) {
        for (pending, ..) in std::mem::take(&mut self.pending) {
            pending.wait().unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            self.label += 1;
            let (label, model) = (self.label, self.job().model.clone());
            self.job().store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
            let copied = self.copy(label, model).unwrap();
            self.complete(copied);
            self.job().store.confirm(label).unwrap();
            let store = self.job().store.clone();
            let named = named_by(&store);
            let absent = store.fetches().unwrap().files_absent();
            let there: BTreeSet<String> = std::fs::read_dir(self.root.join((self.directories - 1).to_string()))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.ends_with(".segment") || name.ends_with(".manifest"))
                .collect();
            // What is named before and after is named all the time.
            let still = named_by(&store);
            let gone = named.difference(&there).filter(|name| name.ends_with(".segment") && still.contains(*name));
            let gone = gone.count();
            assert!(gone <= absent, "{gone} files that are named are gone, {absent} were never here");
            if there.is_subset(&named) && absent == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "dead files are kept: {:?}", there.difference(&named));
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The files that a store's checkpoints name.
fn named_by(store: &Store) -> BTreeSet<String> {
    let files = store.checkpoints().into_iter().filter_map(|info| store.files(info.label).ok());
    files.flat_map(|files| files.list().iter().map(|file| file.name.clone()).collect::<Vec<_>>()).collect()
}

impl Job {
    fn change(&mut self, group: u16, number: u32, value: Option<Vec<u8>>) {
        let user_key = number.to_be_bytes();
        let (key, map) = (Key::new(KeyGroup(group), &user_key), Key::new(KeyGroup(group), b"map"));
        match &value {
            Some(value) => {
                self.writer.put(self.values, key, value).unwrap();
                self.writer.map_put(self.maps, map, &user_key, value).unwrap();
                self.model.insert((group, number), value.clone());
            }
            None => {
                self.writer.delete(self.values, key).unwrap();
                self.writer.map_delete(self.maps, map, &user_key).unwrap();
                self.model.remove(&(group, number));
            }
        }
    }

    fn check(&mut self) {
        for group in 0..8 {
            for number in 0..400_u32 {
                let user_key = number.to_be_bytes();
                let wanted = self.model.get(&(group, number));
                let found = self.writer.get(self.values, Key::new(KeyGroup(group), &user_key)).unwrap();
                assert_eq!(found.as_ref(), wanted, "value {number} of {group}");
                let map = Key::new(KeyGroup(group), b"map");
                let found = self.writer.map_get(self.maps, map, &user_key).unwrap();
                assert_eq!(found.as_ref(), wanted, "entry {number} of {group}");
            }
        }
    }
}

/// A thousand checkpoints over all seeds.
#[test]
fn checkpoints_live_and_die_by_their_hosts_word() {
    let (mut barriers, mut counts) = (0, BTreeMap::new());
    for seed in 1.. {
        println!("seed {seed}");
        let directory = tempfile::tempdir().unwrap();
        let mut host = Host::new(directory.path(), seed);
        for step in 0..260 {
            host.work();
            host.barrier();
            while host.rng.one_in(2) || host.pending.len() > 5 {
                host.attend();
            }
            if host.rng.one_in(40) {
                host.fail_over();
            }
            if step % 50 == 49 {
                host.settle();
            }
        }
        host.settle();
        host.job().check();
        barriers += host.counts["barriers"];
        for (what, count) in host.counts {
            *counts.entry(what).or_insert(0) += count;
        }
        if barriers >= 1_000 {
            break;
        }
    }
    println!("{counts:?}");
    for what in ["completed", "aborted", "aborted on their way", "lost", "subsumed", "savepoints", "restored"] {
        assert!(counts[what] > 5, "{what}: too few to say anything: {counts:?}");
    }
}

/// A store of which the host has everything, and this machine nothing.
fn elsewhere(directory: &Path, engine: &Engine, keys: u32) -> (Vec<u8>, Remote) {
    let options = StoreOptions { key_groups: 8, range: KeyGroupRange::new(0, 7), ..Default::default() };
    let store = Store::create(engine, directory, options).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for number in 0..keys {
        let mut rng = Rng::new(u64::from(number));
        writer.put(state, store.key(&number.to_be_bytes()), &rng.bytes(400)).unwrap();
    }
    store.barrier(Barrier::new(7)).unwrap().wait().unwrap();
    let files = store.files(7).unwrap();
    let remote = Remote::default();
    for (index, file) in files.list().iter().enumerate() {
        let bytes = files.read(index, 0, usize::try_from(file.bytes).unwrap()).unwrap();
        remote.lock().unwrap().insert(file.name.clone(), bytes);
    }
    let manifest = files.manifest().to_vec();
    drop((files, writer));
    store.close().unwrap();
    (manifest, remote)
}

/// The directory may be another store's by then, which is bringing the same files.
#[test]
fn what_is_brought_to_a_store_that_was_dropped_is_not_written_down() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let (manifest, remote) = elsewhere(&directory.path().join("a"), &engine, 5_000);
    let path = directory.path().join("b");
    let store = Store::restore_absent(&engine, &path, &[&manifest], options(None)).unwrap();
    let late = store.fetches().unwrap();
    let asked = late.poll(1).remove(0);
    drop(store);
    let since = std::time::Instant::now();
    let store = loop {
        match Store::open(&engine, &path, options(None)) {
            // The engine's threads let go of it a little later.
            Err(error) if error.class() == alluvium::Class::Retry && since.elapsed().as_secs() < 60 => {}
            opened => break opened.unwrap(),
        }
    };
    let bytes = remote.lock().unwrap()[&asked.file].clone();
    let at = usize::try_from(asked.offset).unwrap();
    late.complete(asked.id, &bytes[at..at + asked.len]).unwrap();
    let partial = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(partial.filter(|name| name.ends_with(".tmp")).collect::<Vec<_>>(), [""; 0]);
    store.close().unwrap();
}

#[test]
fn what_is_needed_comes_first_and_the_rest_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let (manifest, remote) = elsewhere(&directory.path().join("a"), &engine, 30_000);
    let path = directory.path().join("b");
    let store = Store::restore_absent(&engine, &path, &[&manifest], options(None)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let fetches = store.fetches().unwrap();
    assert!(fetches.files_absent() > 0);
    // A flush and a checkpoint wait for nothing.
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(state, store.key(b"new"), b"1").unwrap();
    let info = store.barrier(Barrier::new(8)).unwrap().wait().unwrap();
    assert_eq!(info.segments, fetches.files_absent() + 1);
    // Nobody brings anything: the wait can be called off, or the host says that it can't.
    for called_off in [true, false] {
        let waiting = std::thread::scope(|scope| {
            let reader = store.reader();
            let key = 17_u32.to_be_bytes();
            let store = &store;
            let waiting = scope.spawn(move || reader.get(state, store.key(&key)));
            let mut asked = Vec::new();
            while !waiting.is_finished() {
                asked.extend(fetches.wait(1, Duration::from_millis(1)));
                if called_off {
                    fetches.cancel_waits();
                } else {
                    asked.drain(..).for_each(|request| fetches.fail(request.id, "no network"));
                }
            }
            // Given back for the next reader.
            asked.into_iter().for_each(|request| fetches.fail(request.id, "no network"));
            waiting.join().unwrap()
        });
        let error = waiting.unwrap_err();
        assert!(matches!(&error, Error::Storage(error) if error.fault == Fault::Absent), "{error}");
        assert_eq!(error.class(), Class::Retry);
    }
    assert!(fetches.complete(999_999, b"x").is_ok(), "an id that was never given out");
    let carrier = Carrier::new(Arc::clone(&fetches), remote);
    for number in (0..30_000_u32).step_by(97) {
        let value = writer.get(state, store.key(&number.to_be_bytes())).unwrap().unwrap();
        assert_eq!(value, Rng::new(u64::from(number)).bytes(400));
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    // What failed is not asked for in the background again, so read everything.
    for number in 0..30_000_u32 {
        assert!(writer.get(state, store.key(&number.to_be_bytes())).unwrap().is_some());
    }
    store.compact().unwrap();
    while fetches.files_absent() > 0 && Instant::now() < deadline {
        store.barrier(Barrier::new(9)).unwrap().wait().unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(fetches.files_absent(), 0);
    drop((carrier, writer));
    store.close().unwrap();
    // All of it is here now.
    let store = Store::open(&engine, &path, StoreOptions { fetch: false, ..options(None) }).unwrap();
    let reader = store.reader();
    assert_eq!(reader.get(state, store.key(b"new")).unwrap().unwrap(), b"1");
    assert_eq!(reader.get(state, store.key(&5_u32.to_be_bytes())).unwrap().unwrap(), Rng::new(5).bytes(400));
}

/// A store that waits for its host held up the reads in flight of all others.
#[test]
fn a_store_that_waits_for_its_host_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let (manifest, remote) = elsewhere(&directory.path().join("a"), &engine, 2_000);
    let absent = Store::restore_absent(&engine, &directory.path().join("b"), &[&manifest], options(None)).unwrap();
    let local = Store::open(&engine, &directory.path().join("a"), options(None)).unwrap();
    let key = 17_u32.to_be_bytes();
    let submit = |store: &Store| {
        let state = store.state(StateOptions::value("v")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let mut batch = Batch::new();
        batch.push(state, store.key(&key), Operation::Get);
        let ticket = writer.submit(&batch).unwrap();
        (writer, ticket)
    };
    let value = Rng::new(17).bytes(400);
    let (mut waiting, mut for_later) = submit(&absent);
    let (mut going_on, mut at_once) = submit(&local);
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut answers = Vec::new();
    while answers.is_empty() && Instant::now() < deadline {
        answers = going_on.poll(&mut at_once).unwrap();
    }
    assert!(!answers.is_empty(), "it waits for the other");
    assert_eq!(answers[0].value().unwrap(), Some(&value[..]));
    assert!(waiting.poll(&mut for_later).unwrap().is_empty(), "nobody has brought anything");
    let carrier = Carrier::new(absent.fetches().unwrap(), remote);
    for_later.wait();
    let answers = waiting.poll(&mut for_later).unwrap();
    assert_eq!(answers[0].value().unwrap(), Some(&value[..]));
    drop(carrier);
}

/// A process that dies while segments are on their way opens again, and asks for what isn't here.
#[test]
fn a_store_that_was_not_brought_whole_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let (manifest, remote) = elsewhere(&directory.path().join("a"), &engine, 20_000);
    let path = directory.path().join("b");
    let store = Store::restore_absent(&engine, &path, &[&manifest], options(None)).unwrap();
    let fetches = store.fetches().unwrap();
    for request in fetches.poll(1) {
        let from = usize::try_from(request.offset).unwrap();
        let bytes = remote.lock().unwrap()[&request.file][from..from + request.len].to_vec();
        fetches.complete(request.id, &bytes).unwrap();
    }
    store.close().unwrap();
    let refused = Store::restore_absent(
        &engine,
        &directory.path().join("c"),
        &[&manifest],
        StoreOptions { fetch: false, ..options(None) },
    );
    assert!(matches!(refused, Err(Error::Options { option: "fetch", .. })));
    let store = Store::open(&engine, &path, options(None)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let carrier = Carrier::new(store.fetches().unwrap(), remote);
    let reader = store.reader();
    for number in (0..20_000_u32).step_by(1_111) {
        assert_eq!(
            reader.get(state, store.key(&number.to_be_bytes())).unwrap().unwrap(),
            Rng::new(u64::from(number)).bytes(400)
        );
    }
    drop(carrier);
}

/// Files stay as long as somebody copies them, whatever becomes of their checkpoint.
#[test]
fn files_that_are_being_copied_stay() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let options = StoreOptions { key_groups: 8, range: KeyGroupRange::new(0, 7), ..Default::default() };
    let store = Store::create(&engine, directory.path(), options).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for number in 0..2_000_u32 {
        writer.put(state, store.key(&number.to_be_bytes()), &[3; 300]).unwrap();
    }
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    let files = store.files(1).unwrap();
    for label in 2..6 {
        for number in 0..2_000_u32 {
            writer.put(state, store.key(&number.to_be_bytes()), &[label; 300]).unwrap();
        }
        store.barrier(Barrier::new(u64::from(label))).unwrap().wait().unwrap();
    }
    store.compact().unwrap();
    store.barrier(Barrier::new(9)).unwrap().wait().unwrap();
    assert!(store.files(1).is_err(), "it was subsumed");
    let target = tempfile::tempdir().unwrap();
    for (index, file) in files.list().iter().enumerate() {
        let bytes = files.read(index, 0, usize::try_from(file.bytes).unwrap()).unwrap();
        std::fs::write(target.path().join(&file.name), bytes).unwrap();
    }
    drop(files);
    let copy = StoreOptions { key_groups: 8, range: KeyGroupRange::new(0, 7), ..Default::default() };
    let copy = Store::open(&engine, target.path(), copy).unwrap();
    assert_eq!(copy.reader().get(state, copy.key(&7_u32.to_be_bytes())).unwrap().unwrap(), [3; 300]);
    assert_eq!(copy.restored().unwrap().label, 1);
}

/// Memory is spilled a hundred times between two checkpoints, and merged on the way: what is new to a checkpoint is few
/// files all the same.
#[test]
fn few_files_are_new_to_a_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let options = StoreOptions { key_groups: 128, range: KeyGroupRange::new(0, 127), ..Default::default() };
    let store = Store::create(&engine, directory.path(), options).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let mut rng = Rng::new(5);
    for label in 0..6 {
        let spills = store.metrics().spills;
        for _ in 0..120_000 {
            let number = rng.below(100_000) as u32;
            writer.put(state, store.key(&number.to_be_bytes()), &rng.bytes(250)).unwrap();
        }
        let info = store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
        println!("{} spills, {} segments, {} new", store.metrics().spills - spills, info.segments, info.new_segments);
        assert!(store.metrics().spills - spills > 5, "too few spills to say anything");
        assert!(info.new_segments <= 20, "{} new files", info.new_segments);
    }
}

/// A host that says its word as soon as it hears of the checkpoint was not heard: the word went to the request for it, which
/// nobody looked at any more.
#[test]
fn a_word_that_comes_at_once_is_heard() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = Store::create(&engine, directory.path(), options(None)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for label in 1..200_u64 {
        writer.put(state, store.key(&label.to_be_bytes()), &[1; 50]).unwrap();
        let pending = store.barrier(Barrier::new(label)).unwrap();
        if label % 3 == 0 {
            // Even before.
            store.confirm(label).unwrap();
        }
        pending.wait().unwrap();
        store.confirm(label).unwrap();
        writer.put(state, store.key(b"last"), &label.to_be_bytes()).unwrap();
        store.barrier(Barrier::new(1_000_000 + label)).unwrap().wait().unwrap();
        let files = store.files(1_000_000 + label).unwrap();
        let named: BTreeSet<String> = match store.files(label) {
            Ok(files) => files.list().iter().map(|file| file.name.clone()).collect(),
            Err(error) => panic!("the confirmed one is gone: {error}"),
        };
        for file in files.list() {
            assert_eq!(file.shared, named.contains(&file.name), "{} of checkpoint {label}", file.name);
        }
    }
}
