//! A host in whose run something goes wrong: it does what each error says, and looks at all there is.

use super::disk::{Choice, Disk, Image};
use super::sites;
use super::workload::{Contents, Model, Plan, Rng, Subject, assert_same, contents_of, engine, store_options};
use alluvium::faults::{Call, Injection, Injector, Site};
use alluvium::inspect::{self, Severity};
use alluvium::platform::threads::sleep;
use alluvium::recorder::Recorder;
use alluvium::{
    Barrier, ChangelogOptions, CheckpointSource, Class, Commit, Durability, Engine, Error, Key, Lasting, Pending,
    StorageChoice, Store, StoreOptions, WarmUp,
};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What kind of store it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Changelog,
    Checkpoints,
}

const STEPS: u64 = 240;
/// A checkpoint each so many steps, a commit each so many, and another look each so many.
const EVERY: u64 = 60;
const BETWEEN: u64 = 12;
/// How often, and with which pauses, a call is repeated that can succeed later.
const TRIES: usize = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// What a store has to have after each number of steps at which it is looked at.
pub struct Models {
    kind: Kind,
    plan: Plan,
    at: BTreeMap<u64, Contents>,
}

impl Models {
    pub fn new(kind: Kind) -> Self {
        let (steps, every) = (STEPS, EVERY);
        let plan = Plan { seed: 5, steps, every, keys: 40, value_bytes_max: 250_000, waits: false, migrates: 0 };
        let mut model = Model::new(plan);
        let at = (0..=STEPS).step_by(BETWEEN as usize).map(|n| (n, model.at(n).clone())).collect();
        Self { kind, plan, at }
    }
}

/// What was done is lost: the host has to recover.
#[derive(Debug)]
struct Failed;

type Outcome<T> = Result<T, Failed>;

/// A run in which a call goes wrong.
pub struct Host<'a> {
    models: &'a Models,
    root: PathBuf,
    engine: Engine,
    injection: Option<Injection>,
    injector: Injector,
    /// What a power cut would leave follows from it; until the first recovery.
    recorder: RefCell<Option<Recorder>>,
    /// The steps that were said to last, and those after which something was begun that may.
    least: Cell<u64>,
    begun: RefCell<BTreeSet<u64>>,
    told: Cell<u64>,
    recoveries: Cell<u64>,
}

impl<'a> Host<'a> {
    pub fn new(place: &Path, models: &'a Models, storage: StorageChoice, injection: Option<Injection>) -> Self {
        let root = place.canonicalize().unwrap().join("run");
        fs::create_dir(&root).unwrap();
        let injector = Injector::start(&root, injection);
        let recorder = RefCell::new(Some(Recorder::start(&root.join("store"), &[])));
        let (least, begun, told, recoveries) = (Cell::new(0), RefCell::default(), Cell::new(0), Cell::new(0));
        let engine = engine(storage, 4 << 20);
        Self { models, root, engine, injection, injector, recorder, least, begun, told, recoveries }
    }

    /// How many calls of each kind there were.
    pub fn calls(&self) -> BTreeMap<Site, u64> {
        self.injector.counts()
    }

    /// How many of them went wrong.
    pub fn struck(&self) -> u64 {
        self.injector.struck()
    }

    /// How many errors the host saw.
    pub fn told(&self) -> u64 {
        self.told.get()
    }

    /// Whether it had to recover.
    pub fn recovered(&self) -> bool {
        self.recoveries.get() > 0
    }

    fn path(&self) -> PathBuf {
        self.root.join("store")
    }

    fn is_logged(&self) -> bool {
        self.models.kind == Kind::Changelog
    }

    fn options(&self) -> StoreOptions {
        let plain = StoreOptions { hot_list_bytes: 256 << 10, warm_up: WarmUp::Hottest, ..store_options() };
        if self.is_logged() {
            let changelog = ChangelogOptions { file_bytes: 1 << 20, bytes: 64 << 10, ..ChangelogOptions::default() };
            StoreOptions { durability: Durability::Changelog, changelog, ..plain }
        } else {
            plain
        }
    }

    /// The whole run, with as many recoveries as it takes.
    pub fn run(&self) {
        while self.live().is_err() {
            self.recoveries.set(self.recoveries.get() + 1);
            assert!(self.recoveries.get() <= 2, "it fails again and again");
            self.cut_power();
        }
        self.cut_power();
        if self.injection.is_none() {
            assert_eq!((self.told(), self.recoveries.get()), (0, 0));
            return;
        }
        self.injector.lift();
        let findings = inspect::verify(&self.path()).unwrap();
        let faults: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Fault).collect();
        assert!(faults.is_empty(), "{faults:?}");
    }

    /// Looks at an error: whether it may come, and is of the right class.
    fn judge(&self, error: &Error) {
        let injection = self.injection.unwrap_or_else(|| panic!("nothing goes wrong, but: {error}"));
        assert!(self.struck() > 0, "nothing went wrong yet, but: {error}");
        assert_eq!(self.recoveries.get(), 0, "it was recovered from, but: {error}");
        assert!(sites::classes(injection).contains(&error.class()), "{:?}: {error}", error.class());
        assert!(!error.to_string().contains("panicked"), "{error}");
        self.told.set(self.told.get() + 1);
        self.injector.lift();
    }

    /// Repeats a call for as long as it is told that it can succeed later.
    fn insist<T>(&self, mut call: impl FnMut() -> alluvium::Result<T>) -> Outcome<T> {
        for _ in 0..TRIES {
            match call() {
                Ok(done) => return Ok(done),
                Err(error) => {
                    self.judge(&error);
                    if error.class() != Class::Retry {
                        return Err(Failed);
                    }
                }
            }
            sleep(PAUSE);
        }
        panic!("it never succeeds");
    }

    /// The same for what only reads: an error is of that one call.
    fn insist_on_reading<T>(&self, mut call: impl FnMut() -> alluvium::Result<T>) -> Outcome<T> {
        match call() {
            Ok(done) => Ok(done),
            Err(error) if self.injection.is_some_and(|injection| sites::only_reads(injection.site)) => {
                self.judge(&error);
                let again = call();
                Ok(again.unwrap_or_else(|error| panic!("it can be read again, but: {error}")))
            }
            Err(error) => {
                self.judge(&error);
                if error.class() == Class::Retry { self.insist(call) } else { Err(Failed) }
            }
        }
    }

    /// From where the store stands to the end of the plan.
    fn live(&self) -> Outcome<()> {
        loop {
            let (mut subject, n) = self.open()?;
            let to = if n < STEPS / 2 { STEPS / 2 } else { STEPS };
            let outcome = self.look(&mut subject, n).and_then(|()| self.work(&mut subject, n, to));
            let outcome = outcome.and_then(|()| if to == STEPS { self.export(&subject) } else { Ok(()) });
            let Subject { store, writer, .. } = subject;
            drop(writer);
            let closed = store.close();
            outcome?;
            if let Err(error) = closed {
                self.judge(&error);
                return Err(Failed);
            }
            if to == STEPS {
                break;
            }
        }
        self.restore()?;
        let (mut subject, n) = self.open()?;
        assert_eq!(n, STEPS);
        let outcome = self.look(&mut subject, n);
        drop(subject.writer);
        let closed = subject.store.close();
        outcome?;
        closed.map_err(|error| {
            self.judge(&error);
            Failed
        })
    }

    /// Opens the store, as a host does that doesn't know whether there is one; how many steps it has.
    fn open(&self) -> Outcome<(Subject, u64)> {
        let store = self.insist(|| self.open_or_create(&self.path()))?;
        let n = self.steps_in(&store);
        let opened = self.insist(|| Subject::over(store.clone()));
        if opened.is_err() {
            let _ = store.close();
        }
        Ok((opened?, n))
    }

    fn open_or_create(&self, path: &Path) -> alluvium::Result<Store> {
        if self.is_logged() {
            return Store::open_or_create(&self.engine, path, self.options());
        }
        match Store::open(&self.engine, path, self.options()) {
            Err(Error::NoCheckpoint { .. }) if self.least.get() == 0 => {
                Store::create(&self.engine, path, self.options())
            }
            opened => opened,
        }
    }

    /// How many steps a store has that was just opened: those of a commit, and all that were said to last.
    fn steps_in(&self, store: &Store) -> u64 {
        let n = if self.is_logged() {
            let last = store.last_commit();
            last.metadata[..].try_into().map_or(0, |metadata| !u64::from_be_bytes(metadata))
        } else {
            store.restored().map_or(0, |info| info.label)
        };
        let least = self.least.get();
        assert!(n >= least, "{n} steps are there, {least} lasted");
        assert!(n == 0 || self.begun.borrow().contains(&n), "{n} steps were never to last: {:?}", self.begun);
        n
    }

    fn work(&self, subject: &mut Subject, from: u64, to: u64) -> Outcome<()> {
        let plan = self.models.plan;
        let mut pending: Option<Pending> = None;
        for n in from..to {
            self.insist(|| subject.step(plan, n))?;
            let n = n + 1;
            if n % BETWEEN == 0 && self.is_logged() {
                self.commit(subject, n)?;
            }
            if n % EVERY == EVERY / 5 && n > EVERY {
                self.insist(|| subject.store.snapshot()?.wait())?;
            }
            if n % EVERY == EVERY * 2 / 5 {
                self.look(subject, n)?;
            }
            if n % EVERY == EVERY * 3 / 5 {
                if let Some(pending) = pending.take() {
                    self.complete(subject, n, &pending)?;
                }
                self.insist(|| subject.store.compact())?;
            }
            if n % EVERY == 0 {
                self.begun.borrow_mut().insert(n);
                let begun = self.insist(|| subject.store.barrier(Subject::barrier(n)))?;
                if n == to || (n / EVERY).is_multiple_of(2) {
                    self.complete(subject, n, &begun)?;
                } else {
                    pending = Some(begun);
                }
            }
        }
        Ok(())
    }

    fn commit(&self, subject: &mut Subject, n: u64) -> Outcome<()> {
        self.begun.borrow_mut().insert(n);
        let mut rng = Rng(n);
        let Barrier { offsets, metadata, .. } = Subject::barrier(n);
        let lasting = if rng.below(4) == 0 { Lasting::WithLater } else { Lasting::Soon };
        let commit = Commit { offsets, metadata, lasting };
        let committed = self.insist(|| subject.writer.commit(commit.clone()))?;
        if rng.below(2) == 0 {
            self.insist(|| committed.wait())?;
            self.least.set(n);
        }
        Ok(())
    }

    /// Waits for a checkpoint; one that found no room is asked for again, of now.
    fn complete(&self, subject: &Subject, n: u64, pending: &Pending) -> Outcome<()> {
        let label = match pending.wait() {
            Ok(info) => info.label,
            Err(error) => {
                self.judge(&error);
                if error.class() != Class::Retry {
                    return Err(Failed);
                }
                self.begun.borrow_mut().insert(n);
                let again = || subject.store.barrier(Subject::barrier(n)).and_then(|pending| pending.wait());
                self.insist(again)?.label
            }
        };
        self.least.set(self.least.get().max(label));
        Ok(())
    }

    /// Compares all that can be read with the model: what the writer reads, and each checkpoint.
    fn look(&self, subject: &mut Subject, n: u64) -> Outcome<()> {
        let wanted = &self.models.at[&n];
        for ((state, name, namespace, user_key), value) in wanted {
            let key = Key::new(subject.store.key(name).group, name).in_namespace(namespace);
            let found = self.insist_on_reading(|| subject.read(state, key, user_key.as_deref()))?;
            assert!(
                found.as_ref() == Some(value),
                "{state} of {key:?} after {n} steps: {:?}",
                found.map(|found| found.len())
            );
        }
        for id in 0..self.models.plan.keys {
            let name = format!("key-{id}").into_bytes();
            if !wanted.contains_key(&("values".to_owned(), name.clone(), Vec::new(), None)) {
                let key = Key::new(subject.store.key(&name).group, &name);
                let found = self.insist_on_reading(|| subject.read("values", key, None))?;
                assert_eq!(found, None, "{key:?} after {n} steps");
            }
        }
        for info in subject.store.checkpoints() {
            // A younger one may just have made it superfluous; it doesn't while it is held.
            if subject.store.retain(info.label).is_ok() {
                let found = self.insist_on_reading(|| contents_of(&subject.store, info.label))?;
                assert_same(&found, &self.models.at[&info.label], &format!("checkpoint {}", info.label));
                if let Err(error) = subject.store.release(info.label) {
                    self.judge(&error);
                    if error.class() != Class::Retry {
                        return Err(Failed);
                    }
                }
            }
        }
        Ok(())
    }

    fn exported(&self) -> PathBuf {
        self.root.join("exported")
    }

    /// Exports the last checkpoint into a directory of its own.
    fn export(&self, subject: &Subject) -> Outcome<()> {
        let exported = self.exported();
        let _ = fs::remove_dir_all(&exported);
        fs::create_dir(&exported).unwrap();
        if subject.store.checkpoints().iter().all(|info| info.label != STEPS) {
            // What was recovered are commits.
            self.insist(|| subject.store.barrier(Subject::barrier(STEPS)).and_then(|pending| pending.wait()))?;
        }
        self.insist(|| subject.store.export(STEPS, &exported))
    }

    /// Makes a new store of the exported checkpoint, and compares what is in it.
    fn restore(&self) -> Outcome<()> {
        let path = self.root.join("restored");
        let _ = fs::remove_dir_all(&path);
        let sources = [CheckpointSource { directory: self.exported(), label: None }];
        let store = self.insist(|| Store::restore(&self.engine, &path, &sources, self.options()))?;
        let found = self.insist_on_reading(|| contents_of(&store, STEPS));
        let closed = store.close();
        assert_same(&found?, &self.models.at[&STEPS], "restored");
        closed.map_err(|error| {
            self.judge(&error);
            Failed
        })
    }

    /// What a power cut leaves now, if a sync failed: nothing that wasn't synced, and of what should have been when it failed, nothing.
    fn cut_power(&self) {
        let Some(recorder) = self.recorder.take() else { return };
        let ops = recorder.finish();
        self.injector.lift();
        if self.injection.is_none_or(|injection| injection.site.call != Call::Sync) || self.struck() == 0 {
            return;
        }
        let mut disk = Disk::new(&self.path(), &Image::default());
        ops.iter().for_each(|op| disk.step(op));
        let kept = vec![false; disk.unit_count()];
        let image = disk.image(&Choice { kept, garbage: None, torn: None, full_length: false });
        let path = self.root.join("cut");
        image.write_to(&path);
        let store = match self.open_or_create(&path) {
            Ok(store) => store,
            Err(error) => panic!("after a power cut, {} steps lasted, but: {error}", self.least.get()),
        };
        let n = self.steps_in(&store);
        let mut subject = Subject::over(store).unwrap();
        subject.check_reads(&self.models.at[&n], "after a power cut");
        drop(subject.writer);
        subject.store.close().unwrap();
    }
}
