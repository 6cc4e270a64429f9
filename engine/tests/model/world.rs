//! What happens to stores besides operations: barriers, crashes, reopening, export, rescaling, compaction.

use crate::instance::{Asked, Instance, Log, Shape};
use crate::oracle::{Content, EARLY, Spec, specs};
use crate::rng::Rng;
use alluvium::{
    Barrier, ChangelogOptions, CheckpointSource, Class, Commit, Durability, Engine, EngineOptions, Error,
    KeyGroupRange, Lasting, StorageChoice, Store, StoreOptions,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// How a run is set up; all of it is drawn from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub stores: usize,
    pub budget_mib: usize,
    pub threads: usize,
    pub posix: bool,
    pub retained: usize,
    pub compress: bool,
    pub shape: Shape,
    pub steps: usize,
    /// Stores have changelogs, and are committed now and then.
    pub changelog: bool,
    /// Whether the changelog is replayed key group by key group, however short it is.
    pub by_group: bool,
}

pub struct World {
    pub rng: Rng,
    pub log: Log,
    pub setup: Setup,
    pub instances: Vec<Instance>,
    pub engine: Engine,
    specs: Arc<Vec<Spec>>,
}

/// Tries again while another task of the engine still holds the directory.
fn patiently<T>(mut open: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 0..2_000 {
        match open() {
            Err(error) if error.class() == Class::Retry => crate::turns::sleep(std::time::Duration::from_millis(5)),
            outcome => return outcome,
        }
    }
    panic!("the directory stayed locked");
}

impl Instance {
    pub fn barrier(&mut self, metadata: &[u8]) -> u64 {
        let label = self.next_label;
        self.next_label += 1;
        let offsets = vec![(self.options.range, label.to_le_bytes().to_vec())];
        let pending =
            self.store.barrier(Barrier { offsets, metadata: metadata.to_vec(), ..Barrier::new(label) }).unwrap();
        self.snapshots.insert(label, self.content.clone());
        self.committed_at.insert(label, self.last_commit);
        self.asked.push(Asked { pending, label });
        label
    }

    /// Waits for all that was asked for, the last one included.
    pub fn wait(&mut self) {
        for asked in self.asked.drain(..) {
            let info = asked.pending.wait().unwrap();
            assert_eq!((info.label, asked.pending.label()), (asked.label, asked.label));
            assert_eq!(info.offsets, [(self.options.range, asked.label.to_le_bytes().to_vec())]);
        }
    }

    /// The labels of the checkpoints that there are when all that were asked for are complete and those that they
    /// subsume are gone.
    pub fn labels(&mut self) -> Vec<u64> {
        self.wait();
        let now = |store: &Store| store.checkpoints().iter().map(|info| info.label).collect::<Vec<u64>>();
        let mut labels = now(&self.store);
        loop {
            crate::turns::sleep(std::time::Duration::from_millis(4));
            let later = now(&self.store);
            if later == labels {
                return labels;
            }
            labels = later;
        }
    }

    /// Commits; with `wait` it lasts from then on.
    pub fn commit(&mut self, lasting: Lasting, wait: bool) -> u64 {
        self.last_commit += 1;
        let number = self.last_commit;
        let offsets = vec![(self.options.range, number.to_le_bytes().to_vec())];
        let commit = Commit { offsets, metadata: commit_name(number), lasting };
        let committed = match self.writers.first_mut() {
            Some(writer) if number.is_multiple_of(2) => writer.commit(commit).unwrap(),
            _ => self.store.commit(commit).unwrap(),
        };
        assert_eq!(committed.metadata, commit_name(number));
        self.commits.insert(number, self.content.clone());
        if wait {
            committed.wait().unwrap();
            self.lasted = number;
        }
        number
    }

    pub fn barrier_and_wait(&mut self) -> u64 {
        let label = self.barrier(b"meta");
        self.wait();
        label
    }
}

fn commit_name(number: u64) -> Vec<u8> {
    format!("commit {number}").into_bytes()
}

/// The number of the commit that a store stands at; `None` where that is a checkpoint's cut.
fn commit_of(store: &Store) -> Option<u64> {
    let metadata = String::from_utf8(store.last_commit().metadata.clone()).ok()?;
    metadata.strip_prefix("commit ")?.parse().ok()
}

impl World {
    pub fn new(seed: u64, setup: Setup) -> Self {
        let mut rng = Rng::new(seed);
        let head = format!("ALLUVIUM_TEST_SEED={seed} {setup:?}");
        let engine = Engine::open(EngineOptions {
            memory_budget_bytes: setup.budget_mib << 20,
            threads: setup.threads,
            storage: if setup.posix { StorageChoice::Posix } else { StorageChoice::Auto },
            ..EngineOptions::default()
        })
        .unwrap();
        let specs = Arc::new(specs());
        let mut instances = Vec::new();
        for name in 0..setup.stores {
            let directory = Arc::new(tempfile::tempdir().unwrap());
            let options = StoreOptions {
                key_groups: u32::from(setup.shape.groups),
                range: KeyGroupRange::new(0, setup.shape.groups - 1),
                retained_checkpoints: setup.retained,
                compress: setup.compress,
                durability: if setup.changelog { Durability::Changelog } else { Durability::Checkpoint },
                changelog: ChangelogOptions {
                    file_bytes: 1 << 20,
                    bytes: 64 << 10,
                    whole_replay_bytes: if setup.by_group { 0 } else { ChangelogOptions::default().whole_replay_bytes },
                    ..ChangelogOptions::default()
                },
                ..StoreOptions::default()
            };
            let store = Store::create(&engine, directory.path(), options.clone()).unwrap();
            let mut instance = instance(name, directory, options, store, &specs, setup.shape);
            instance.register(&mut rng, EARLY);
            instance.claim(&ranges(&mut rng, instance.options.range));
            instances.push(instance);
        }
        Self { rng, log: Log::new(head), setup, instances, engine, specs }
    }

    pub fn run(&mut self) {
        for _ in 0..self.setup.steps {
            self.step();
        }
        for at in 0..self.instances.len() {
            self.instances[at].compare_all("at the end");
            self.reopen(at);
            self.instances[at].compare_all("reopened at the end");
        }
    }

    fn step(&mut self) {
        let at = self.rng.below(self.instances.len());
        match self.rng.below(1_000) {
            0..8 => {
                let forward_ms = 1 + self.rng.below(400) as u64;
                self.log.add(format!("{at}: {forward_ms} ms on"));
                self.instances[at].tick(forward_ms);
            }
            8..22 => self.begin_checkpoint(at),
            22..34 => self.wait(at),
            34..37 => self.abort(at),
            37..40 => self.reclaim_ranges(at),
            40..43 => self.reopen(at),
            43..45 => self.open_older(at),
            45..47 => self.export(at),
            47..49 => self.compact(at),
            49..51 => self.rescale(at),
            51..53 => self.iterate(at),
            53..55 => self.retain_or_release(at),
            55 => {
                self.log.add(format!("{at}: compare all"));
                self.instances[at].compare_all("in between");
            }
            56..70 if self.setup.changelog => self.commit(at),
            _ => self.instances[at].operate(&mut self.rng, &mut self.log),
        }
        // What a flush that is under way needs is counted by force: it makes room.
        let most = self.engine.budget_bytes() + (256 << 10);
        assert!(self.engine.used_bytes() <= most, "more memory in use than the budget");
    }

    fn begin_checkpoint(&mut self, at: usize) {
        let instance = &mut self.instances[at];
        let label = instance.barrier(b"pending");
        self.log.add(format!("{at}: barrier {label}"));
    }

    fn wait(&mut self, at: usize) {
        let label = self.instances[at].barrier_and_wait();
        self.log.add(format!("{at}: checkpoint {label} complete"));
        let newest = self.instances[at].newest().unwrap();
        assert_eq!((newest.label, &newest.metadata[..]), (label, &b"meta"[..]));
    }

    fn commit(&mut self, at: usize) {
        let wait = self.rng.one_in(3);
        let lasting = if wait || self.rng.one_in(2) { Lasting::Soon } else { Lasting::WithLater };
        let number = self.instances[at].commit(lasting, wait);
        self.log.add(format!("{at}: commit {number}, {lasting:?}, waited for: {wait}"));
    }

    fn abort(&mut self, at: usize) {
        let label = self.instances[at].barrier(b"aborted");
        let asked = self.instances[at].asked.pop().unwrap();
        if self.rng.one_in(2) {
            let until = self.rng.below(200);
            for _ in 0..until {
                self.instances[at].operate(&mut self.rng, &mut self.log);
            }
        }
        self.log.add(format!("{at}: abort {label}"));
        asked.pending.abort().unwrap();
    }

    fn reclaim_ranges(&mut self, at: usize) {
        let instance = &mut self.instances[at];
        let ranges = ranges(&mut self.rng, instance.options.range);
        self.log.add(format!("{at}: claim {ranges:?}"));
        instance.claim(&ranges);
        let error = instance.store.writer(ranges[0]).unwrap_err();
        assert!(matches!(error, Error::RangeClaimed { .. }), "{error}");
    }

    /// Closes a store, or drops it as a crash would, and opens it again: what came after the checkpoint is lost.
    fn reopen(&mut self, at: usize) {
        if self.instances[at].newest().is_none() && (!self.setup.changelog || self.rng.one_in(2)) {
            self.wait(at);
        }
        let close = self.rng.one_in(2);
        self.log.add(format!("{at}: reopen, closed: {close}"));
        let path = self.instances[at].directory.path().to_owned();
        let mut possible: Vec<u64> = self.instances[at].asked.iter().map(|asked| asked.label).collect();
        if close {
            self.instances[at].wait();
        }
        possible.extend(self.instances[at].newest().map(|info| info.label));
        self.leave(at, close);
        let options = self.instances[at].options.clone();
        let store = patiently(|| Store::open(&self.engine, &path, options.clone())).unwrap();
        let label = store.restored().map(|info| info.label);
        let commit = commit_of(&store);
        self.log.add(format!("{at}: reopened at checkpoint {label:?}, commit {commit:?}"));
        // An aborted checkpoint may have been complete already.
        let aborted = store.restored().is_some_and(|info| info.metadata == b"aborted");
        match label {
            Some(label) => assert!(possible.contains(&label) || aborted, "opened {label}, possible: {possible:?}"),
            None => assert!(possible.is_empty() || !close, "no checkpoint, possible: {possible:?}"),
        }
        let instance = &mut self.instances[at];
        let of_label = |label| instance.committed_at.get(&label).copied().unwrap_or(0);
        let reached = commit.or(label.map(of_label)).unwrap_or(0);
        let lasted = if close { instance.last_commit } else { instance.lasted };
        assert!(reached >= lasted, "commit {reached} is found, {lasted} lasted");
        let content = match (commit, label) {
            (Some(number), _) => instance.commits[&number].clone(),
            (None, Some(label)) => instance.snapshots[&label].clone(),
            (None, None) => Content { now_ms: instance.content.now_ms, ..Content::default() },
        };
        (instance.last_commit, instance.lasted) = (reached, reached);
        self.enter(at, store, content);
        self.instances[at].chosen = false;
    }

    fn open_older(&mut self, at: usize) {
        let labels = self.instances[at].labels();
        if labels.is_empty() {
            return;
        }
        let label = *self.rng.pick(&labels);
        self.log.add(format!("{at}: open checkpoint {label} of {labels:?}"));
        self.leave(at, true);
        let instance = &self.instances[at];
        let (path, options) = (instance.directory.path(), instance.options.clone());
        let store = patiently(|| Store::open_checkpoint(&self.engine, path, label, options.clone())).unwrap();
        assert_eq!(store.restored().unwrap().label, label);
        let instance = &mut self.instances[at];
        let reached = instance.committed_at.get(&label).copied().unwrap_or(0);
        (instance.last_commit, instance.lasted) = (reached, reached);
        let content = instance.snapshots[&label].clone();
        self.enter(at, store, content);
        self.instances[at].chosen = true;
    }

    /// Lets go of the store.
    fn leave(&mut self, at: usize, close: bool) {
        let instance = &mut self.instances[at];
        instance.writers.clear();
        instance.asked.clear();
        // A store in a directory of its own takes the place, so that the old one is really gone.
        let spare = tempfile::tempdir().unwrap();
        let placeholder = Store::create(&self.engine, spare.path(), instance.options.clone()).unwrap();
        let old = std::mem::replace(&mut instance.store, placeholder);
        if close {
            old.close().unwrap();
        }
    }

    /// Goes on with a store that was opened and should have this content.
    fn enter(&mut self, at: usize, store: Store, content: Content) {
        let instance = &mut self.instances[at];
        let now_ms = instance.content.now_ms;
        instance.content = content;
        if self.rng.one_in(2) {
            instance.content.now_ms = now_ms.max(instance.content.now_ms);
        }
        instance.store = store;
        instance.first_label = instance.next_label;
        let known = instance.states.iter().filter(|state| state.is_some()).count();
        let early = self.rng.one_in(2);
        let ranges = ranges(&mut self.rng, instance.options.range);
        // Writers may be there before their states are, and the other way round; but what is replayed needs its operators.
        let early = early && !self.setup.changelog;
        if early {
            instance.claim(&ranges);
        }
        instance.register(&mut self.rng, known);
        if !early {
            instance.claim(&ranges);
        }
        instance.compare_states();
        if self.rng.one_in(3) {
            instance.compare_all("reopened");
        }
    }

    fn export(&mut self, at: usize) {
        let label = self.instances[at].barrier_and_wait();
        self.log.add(format!("{at}: export {label}"));
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let instance = &self.instances[at];
        instance.store.export(label, directory.path()).unwrap();
        let store = Store::open(&self.engine, directory.path(), instance.options.clone()).unwrap();
        let mut copy = self.copy_of(at, directory, instance.options.clone(), store, instance.snapshots[&label].clone());
        copy.compare_all("exported");
        if self.rng.one_in(2) {
            self.leave(at, false);
            self.instances[at] = copy;
        }
    }

    /// An instance over another directory that goes on with this content.
    fn copy_of(
        &self,
        at: usize,
        directory: Arc<tempfile::TempDir>,
        options: StoreOptions,
        store: Store,
        content: Content,
    ) -> Instance {
        let of = &self.instances[at];
        let mut copy = instance(of.name, directory, options, store, &self.specs, of.shape);
        copy.content = content;
        copy.next_label = of.next_label;
        let known = of.states.iter().filter(|state| state.is_some()).count();
        let mut rng = self.rng.clone();
        copy.register(&mut rng, known);
        let ranges = ranges(&mut rng, copy.options.range);
        copy.claim(&ranges);
        if let Some(info) = copy.newest() {
            copy.snapshots.insert(info.label, copy.content.clone());
        }
        copy
    }

    fn restored(
        &mut self,
        at: usize,
        sources: &[CheckpointSource],
        range: KeyGroupRange,
        content: Content,
    ) -> Instance {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let options = StoreOptions { range, ..self.instances[at].options.clone() };
        let store = Store::restore(&self.engine, directory.path(), sources, options.clone()).unwrap();
        let mut restored = self.copy_of(at, directory, options, store, content);
        if self.rng.one_in(2) {
            restored.compare_all("restored");
        }
        restored
    }

    /// One store becomes several, which register states in different orders, and then one again.
    fn rescale(&mut self, at: usize) {
        let label = self.instances[at].barrier_and_wait();
        let parts = if self.rng.one_in(4) {
            vec![self.instances[at].options.range]
        } else {
            ranges(&mut self.rng, self.instances[at].options.range)
        };
        self.log.add(format!("{at}: rescale {label} to {parts:?} and back"));
        let source = |path: &Path, label| CheckpointSource { directory: path.to_owned(), label };
        let content = self.instances[at].snapshots[&label].clone();
        let from = source(self.instances[at].directory.path(), Some(label));
        let mut sources = Vec::new();
        let mut joined = Content { now_ms: content.now_ms, ..Content::default() };
        let mut kept = Vec::new();
        for &part in &parts {
            let mut store = self.restored(at, std::slice::from_ref(&from), part, content.clipped(part));
            // New states, in an order of their own: the parts number them differently.
            let count = EARLY + self.rng.below(store.specs.len() - EARLY + 1);
            let known = store.states.iter().filter(|state| state.is_some()).count();
            store.register(&mut self.rng, count.max(known));
            for _ in 0..self.rng.below(300) {
                store.operate(&mut self.rng, &mut self.log);
            }
            let label = store.barrier_and_wait();
            for _ in 0..self.rng.below(20) {
                store.operate(&mut self.rng, &mut self.log);
            }
            let at_label = store.snapshots[&label].clone();
            joined.join(at_label);
            sources.push(source(store.directory.path(), if self.rng.one_in(2) { Some(label) } else { None }));
            kept.push(Arc::clone(&store.directory));
            store.writers.clear();
            store.store.close().unwrap();
        }
        let range = self.instances[at].options.range;
        self.instances[at].next_label += 10;
        self.rng.shuffle(&mut sources);
        let whole = self.restored(at, &sources, range, joined);
        self.leave(at, true);
        self.instances[at] = whole;
        // Restored states keep those that only some parts had.
        let known = self.instances[at].store.states().len();
        let names: Vec<String> = self.instances[at].store.states().iter().map(|def| def.name.clone()).collect();
        let last = self.specs.iter().rposition(|spec| names.iter().any(|name| name == spec.name)).unwrap();
        assert!(known <= last + 1);
        self.instances[at].register(&mut self.rng, last + 1);
        drop(kept);
    }

    fn compact(&mut self, at: usize) {
        self.log.add(format!("{at}: compact"));
        self.instances[at].store.compact().unwrap();
        match self.rng.below(3) {
            0 => self.instances[at].compare_all("compacted"),
            1 => {
                self.instances[at].wait();
                let idle = !self.instances[at].chosen;
                self.instances[at].compare_files(idle);
            }
            _ => {}
        }
    }

    fn iterate(&mut self, at: usize) {
        if self.rng.one_in(2) {
            self.wait(at);
        }
        let labels = self.instances[at].labels();
        if labels.is_empty() {
            return;
        }
        let label = *self.rng.pick(&labels);
        self.log.add(format!("{at}: iterate {label} of {labels:?}"));
        self.instances[at].compare_checkpoint(label);
    }

    fn retain_or_release(&mut self, at: usize) {
        let labels = self.instances[at].labels();
        if labels.is_empty() {
            return;
        }
        let label = *self.rng.pick(&labels);
        let store = self.instances[at].store.clone();
        if self.rng.one_in(2) {
            self.log.add(format!("{at}: retain {label}"));
            store.retain(label).unwrap();
            self.wait(at);
            self.wait(at);
            assert!(store.checkpoints().iter().any(|info| info.label == label), "{label} was not retained");
        } else {
            self.log.add(format!("{at}: release {label}"));
            store.release(label).unwrap();
            let newest = *labels.last().unwrap() == label;
            // What the store was opened at stays until there is one of its own.
            let own = labels.iter().any(|&of| of >= self.instances[at].first_label);
            let stays = newest || !own && store.restored().is_some_and(|info| info.label == label);
            assert_eq!(store.checkpoints().iter().any(|info| info.label == label), stays, "release of {label}");
        }
    }
}

fn instance(
    name: usize,
    directory: Arc<tempfile::TempDir>,
    options: StoreOptions,
    store: Store,
    specs: &Arc<Vec<Spec>>,
    shape: Shape,
) -> Instance {
    Instance {
        name,
        directory,
        options,
        store,
        writers: Vec::new(),
        specs: Arc::clone(specs),
        states: Vec::new(),
        content: Content::default(),
        snapshots: BTreeMap::new(),
        committed_at: BTreeMap::new(),
        commits: BTreeMap::new(),
        last_commit: 0,
        lasted: 0,
        asked: Vec::new(),
        next_label: 1,
        chosen: false,
        first_label: 1,
        shape,
    }
}

/// Cuts a range into one to four.
fn ranges(rng: &mut Rng, range: KeyGroupRange) -> Vec<KeyGroupRange> {
    let mut cuts = vec![range.first()];
    for _ in 0..rng.below(4) {
        cuts.push(range.first() + rng.below(range.count()) as u16);
    }
    cuts.sort_unstable();
    cuts.dedup();
    let ends = cuts.iter().skip(1).map(|&next| next - 1).chain([range.last()]);
    cuts.iter().zip(ends).map(|(&first, last)| KeyGroupRange::new(first, last)).collect()
}
