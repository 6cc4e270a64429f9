//! Looking at an image: it is made, opened, and compared with the model; and at what a crash in the middle of that leaves.

use super::Kind;
use super::disk::{Disk, Image, choices};
use super::runs::{committed_steps, logged_options};
use super::workload::{Model, Plan, Rng, Subject, check_store, engine, store_options};
use alluvium::inspect::{self, Severity};
use alluvium::recorder::Recorder;
use alluvium::{Engine, Error, StorageChoice, Store, StoreOptions};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

/// What is to be found in an image.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub kind: Kind,
    pub plan: Plan,
    /// The steps that were said to last.
    pub least: u64,
    /// The steps after which something was begun that may last: a commit or a checkpoint.
    pub begun: Vec<u64>,
}

/// How many images were looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looked {
    pub images: u64,
    /// Of them, those without a checkpoint, as none had become complete.
    pub empty: u64,
    /// Images of crashes during a recovery from one.
    pub again: u64,
}

impl Looked {
    pub fn add(&mut self, other: &Self) {
        self.images += other.images;
        self.empty += other.empty;
        self.again += other.again;
    }
}

/// How many crashes of each recovery that is recorded are looked at.
const CRASHES_OF_A_RECOVERY: usize = 4;
/// One in so many recoveries is recorded.
const RECORDED: u64 = 4;
/// One in so many images is verified file by file, too.
const VERIFIED: u64 = 6;

/// A place for images: in memory where the system offers that.
pub fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a directory")
}

/// Opens images, one after the other.
pub struct Looker {
    engine: Engine,
    place: Option<tempfile::TempDir>,
    model: Model,
    pub looked: Looked,
}

impl Drop for Looker {
    fn drop(&mut self) {
        // What failed can be looked at.
        if std::thread::panicking()
            && let Some(place) = self.place.take()
        {
            println!("the image is left in {}", place.keep().display());
        }
    }
}

impl Looker {
    pub fn new() -> Self {
        let plan = Plan { seed: 0, steps: 0, every: 1, keys: 1, value_bytes_max: 1, waits: false, migrates: 0 };
        Self {
            engine: engine(StorageChoice::Posix, 8 << 20),
            place: Some(place()),
            model: Model::new(plan),
            looked: Looked::default(),
        }
    }

    fn path(&self) -> PathBuf {
        self.place.as_ref().expect("a place").path().canonicalize().unwrap().join("store")
    }

    /// Looks at an image, and perhaps at what crashes in the middle of the recovery leave.
    pub fn look(&mut self, image: &Image, wanted: &Wanted, seed: u64, what: &str) {
        let mut rng = Rng(seed);
        let path = self.path();
        image.write_to(&path);
        self.looked.images += 1;
        if rng.below(VERIFIED) == 0 {
            let findings = inspect::verify(&path).unwrap();
            let faults: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Fault).collect();
            assert!(faults.is_empty(), "{what}: {faults:?}");
        }
        let names: Vec<PathBuf> = image.files.keys().cloned().collect();
        let recorder = (rng.below(RECORDED) == 0).then(|| Recorder::start(&path, &names));
        let found = self.open(&path, wanted, what);
        self.looked.empty += u64::from(found.is_none());
        std::fs::remove_dir_all(&path).unwrap();
        let Some(recorder) = recorder else { return };
        let ops = recorder.finish();
        // What was found is on disk, and has to be found again.
        let again = Wanted { least: found.unwrap_or(0), begun: found.into_iter().collect(), ..wanted.clone() };
        for _ in 0..CRASHES_OF_A_RECOVERY {
            let done = rng.below(ops.len() as u64 + 1) as usize;
            let mut disk = Disk::new(&path, image);
            ops[..done].iter().for_each(|op| disk.step(op));
            let found = choices(disk.unit_count(), CRASHES_OF_A_RECOVERY, &mut rng);
            let choice = &found[rng.below(found.len() as u64) as usize];
            disk.image(choice).write_to(&path);
            self.looked.again += 1;
            let what = format!("{what}; then a crash after {done} of {} changes: {choice:?}", ops.len());
            self.open(&path, &again, &what);
            std::fs::remove_dir_all(&path).unwrap();
        }
    }

    /// Whether an image isn't what is wanted, in whatever way.
    pub fn fails(&mut self, image: &Image, wanted: &Wanted) -> bool {
        let path = self.path();
        image.write_to(&path);
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| self.open(&path, wanted, "expected to fail")));
        if opened.is_err() {
            self.model = Model::new(wanted.plan);
        }
        std::fs::remove_dir_all(&path).unwrap();
        opened.is_err()
    }

    /// Opens what is there and compares it with the model; how many steps it has, none where there is no checkpoint.
    fn open(&mut self, path: &Path, wanted: &Wanted, what: &str) -> Option<u64> {
        if self.model.plan != wanted.plan {
            self.model = Model::new(wanted.plan);
        }
        let store = match Store::open(&self.engine, path, options(wanted)) {
            Ok(store) => store,
            Err(Error::NoCheckpoint { .. }) if wanted.least == 0 => return None,
            Err(error) => panic!("{what}: {} steps lasted, but: {error}", wanted.least),
        };
        let logged = wanted.kind == Kind::Changelog;
        let committed = if logged { committed_steps(&store) } else { 0 };
        let mut subject = Subject::over(store).unwrap();
        let steps = if logged {
            let contents = self.model.at(committed).clone();
            subject.check_reads(&contents, what);
            subject.check_absences(wanted.plan, &contents, what);
            committed
        } else {
            check_store(wanted.plan, &mut self.model, &mut subject, what).label
        };
        assert!(steps >= wanted.least, "{what}: {steps} steps are there, {} lasted", wanted.least);
        let known = steps == 0 || wanted.begun.contains(&steps);
        assert!(known, "{what}: {steps} steps were never to last: {:?}", wanted.begun);
        subject.store.close().unwrap();
        Some(steps)
    }
}

fn options(wanted: &Wanted) -> StoreOptions {
    match wanted.kind {
        Kind::Checkpoints => store_options(),
        Kind::Transactions => StoreOptions { transactional: true, ..store_options() },
        Kind::Changelog => logged_options(wanted.plan),
    }
}
