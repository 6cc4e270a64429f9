//! Playing a case: writers, readers and checkpoints at once, in a world, on a disk whose changes are recorded.

use super::case::Case;
use super::disk::{Disk, Image};
use super::notes::Notes;
use super::workload::{Model, Rng, Subject};
use alluvium::recorder::{Op, Recorder};
use alluvium::simulated::{self, world};
use alluvium::{Barrier, Commit, Lasting, Pending, StateOptions, Store};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How far a writer is: the step that it began, and those that it has done.
#[derive(Debug, Default)]
struct Progress {
    begun: AtomicU64,
    done: AtomicU64,
}

/// How far all of them are.
#[derive(Clone, Debug)]
struct Writers(Arc<Vec<Progress>>);

impl Writers {
    fn new(count: u64) -> Self {
        Self(Arc::new((0..count).map(|_| Progress::default()).collect()))
    }

    /// The steps that each of them has done.
    fn done(&self) -> Vec<u64> {
        // Worlds run one thread at a time.
        self.0.iter().map(|progress| progress.done.load(Ordering::Relaxed)).collect()
    }
}

/// What was said to last: how long the record was then, and how many steps of each writer at least.
pub type Lasts = Vec<(usize, Vec<u64>)>;

/// A case as it was played.
pub struct Played {
    pub ran: world::Ran,
    pub ops: Vec<Op>,
    pub lasts: Lasts,
    /// Of a case that knows ([`Case::has_known_commits`]), after how many steps it committed.
    pub commits: BTreeSet<u64>,
    /// What readers read.
    pub reads: u64,
}

impl Played {
    /// Has `each` see the disk as it was at some random moments, the earlier first: after how many changes.
    pub fn at_moments(&self, case: Case, path: &Path, rng: &mut Rng, mut each: impl FnMut(usize, &Disk, &mut Rng)) {
        let mut moments: Vec<usize> =
            (0..case.crashes).map(|_| rng.below(self.ops.len() as u64 + 1) as usize).collect();
        moments.sort_unstable();
        let (mut disk, mut done) = (Disk::new(path, &Image::default()), 0);
        for moment in moments {
            self.ops[done..moment].iter().for_each(|op| disk.step(op));
            done = moment;
            each(moment, &disk, rng);
        }
    }

    /// How many steps of each writer are there at least, after a crash that came after so many changes.
    pub fn least(&self, case: Case, changes: usize) -> Vec<u64> {
        let mut least = vec![0; case.writers as usize];
        for (_, steps) in self.lasts.iter().filter(|(at, _)| *at <= changes) {
            least.iter_mut().zip(steps).for_each(|(least, steps)| *least = (*least).max(*steps));
        }
        least
    }
}

/// What the threads of a world have in common here.
#[derive(Clone)]
struct Scene {
    case: Case,
    writers: Writers,
    recorder: Arc<Recorder>,
    lasts: Arc<Mutex<Lasts>>,
    /// How many steps of each writer were committed, where there are transactions.
    committed: Arc<Mutex<Vec<u64>>>,
    commits: Arc<Mutex<BTreeSet<u64>>>,
    reads: Arc<AtomicU64>,
}

impl Scene {
    fn lasts(&self, steps: Vec<u64>) {
        // Nobody waits for this lock: no turn ends while it is held.
        let at = self.recorder.len();
        self.lasts.lock().unwrap().push((at, steps));
    }

    /// How many steps of each writer are in a checkpoint that is begun now, at least.
    fn to_last(&self) -> Vec<u64> {
        if self.case.is_transactional() { self.committed.lock().unwrap().clone() } else { self.writers.done() }
    }

    /// Commits what is staged; says how many steps of each writer that are, at least.
    fn commit(&self, commit: impl FnOnce()) -> Vec<u64> {
        let steps = self.writers.done();
        commit();
        let mut committed = self.committed.lock().unwrap();
        committed.iter_mut().zip(&steps).for_each(|(committed, steps)| *committed = (*committed).max(*steps));
        steps
    }
}

/// Plays a case in a directory that isn't there, nor is when it has ended.
pub fn play(case: Case, path: &Path) -> Played {
    let scene = Scene {
        case,
        writers: Writers::new(case.writers),
        recorder: Arc::new(Recorder::start(path, &[])),
        lasts: Arc::default(),
        committed: Arc::new(Mutex::new(vec![0; case.writers as usize])),
        commits: Arc::new(Mutex::new(BTreeSet::from([0, case.steps]))),
        reads: Arc::default(),
    };
    let ran = world::run(world::Schedule::new(case.schedule), || host(&scene, path));
    std::fs::remove_dir_all(path).unwrap();
    let Scene { recorder, lasts, commits, reads, .. } = scene;
    let ops = Arc::into_inner(recorder).expect("nobody else has it").finish();
    let lasts = std::mem::take(&mut *lasts.lock().unwrap());
    let commits = std::mem::take(&mut *commits.lock().unwrap());
    Played { ran, ops, lasts, commits, reads: reads.load(Ordering::Relaxed) }
}

fn host(scene: &Scene, path: &Path) {
    let case = scene.case;
    let store = Store::open_or_create(&case.engine(), path, case.options()).unwrap();
    let mut working = Vec::new();
    for writer in 0..case.writers as usize {
        let (scene, store) = (scene.clone(), store.clone());
        let work = move || write(&scene, store, writer);
        working.push(simulated::start(format!("writer-{writer}"), work).unwrap());
    }
    let stops = Arc::new(AtomicU64::new(0));
    let mut reading = Vec::new();
    for reader in 0..case.readers {
        let (scene, store, stops) = (scene.clone(), store.clone(), Arc::clone(&stops));
        let work = move || read(&scene, &store, reader, &stops);
        reading.push(simulated::start(format!("reader-{reader}"), work).unwrap());
    }
    let mut rng = Rng(case.schedule ^ 1);
    let (mut label, mut pending): (u64, Option<(Vec<u64>, Pending)>) = (0, None);
    while !working.iter().all(simulated::JoinHandle::is_finished) {
        simulated::sleep(Duration::from_micros(case.pause_us));
        if let Some((steps, pending)) = pending.take() {
            pending.wait().unwrap();
            scene.lasts(steps);
        }
        label += 1;
        let steps = scene.to_last();
        let begun = store.barrier(Barrier::new(label)).unwrap();
        match rng.below(8) {
            // Given up, or not: its changes are in the next one.
            0 => begun.abort().unwrap(),
            _ => pending = Some((steps, begun)),
        }
        if rng.below(6) == 0 {
            store.compact().unwrap();
        }
    }
    working.into_iter().for_each(|thread| thread.join().unwrap());
    stops.store(1, Ordering::Relaxed);
    reading.into_iter().for_each(|thread| thread.join().unwrap());
    if case.is_transactional() {
        scene.commit(|| drop(store.commit(Commit::default()).unwrap()));
    }
    let steps = scene.to_last();
    assert_eq!(steps, vec![case.steps; case.writers as usize]);
    store.barrier(Barrier::new(label + 1)).unwrap().wait().unwrap();
    scene.lasts(steps);
    store.close().unwrap();
}

fn write(scene: &Scene, store: Store, writer: usize) {
    let (case, progress) = (scene.case, &scene.writers.0[writer]);
    let (part, plan) = (case.parts()[writer], case.plan(writer));
    let notes = Notes::of(&store).unwrap();
    let mut subject = Subject::over_part(store, part).unwrap();
    let mut rng = Rng(case.schedule ^ writer as u64);
    let mut n = 0;
    while n < case.steps {
        progress.begun.store(n + 1, Ordering::Relaxed);
        subject.step(plan, n).unwrap();
        notes.note(&mut subject, n + 1).unwrap();
        progress.done.store(n + 1, Ordering::Relaxed);
        if rng.below(2) == 0 {
            // What a host does between two events.
            simulated::sleep(Duration::from_micros(rng.below(200)));
        }
        n += 1;
        if case.kind != 0 && rng.below(case.commit_one_in) == 0 {
            let lasting = if rng.below(4) == 0 { Lasting::WithLater } else { Lasting::Soon };
            let mut committed = None;
            scene.commits.lock().unwrap().insert(n);
            let commit = Commit { lasting, ..Commit::default() };
            let steps = scene.commit(|| committed = Some(subject.writer.commit(commit).unwrap()));
            if case.has_changelog() && rng.below(3) == 0 {
                committed.unwrap().wait().unwrap();
                scene.lasts(steps);
            }
        } else if case.has_aborts() && rng.below(30) == 0 {
            subject.writer.abort_transaction().unwrap();
            n = notes.noted(&mut subject).unwrap();
        }
    }
}

/// Reads values at random while they are written: each is one that was there at some moment of the read.
fn read(scene: &Scene, store: &Store, number: u64, stops: &AtomicU64) {
    let case = scene.case;
    let (reader, values) = (store.reader(), store.state(StateOptions::value("values")).unwrap());
    let mut models: Vec<Model> = (0..case.writers as usize).map(|writer| Model::new(case.plan(writer))).collect();
    let mut rng = Rng(case.schedule ^ 2 ^ number << 32);
    while stops.load(Ordering::Relaxed) == 0 {
        let writer = rng.below(case.writers) as usize;
        let name = format!("key-{}", rng.below(case.keys)).into_bytes();
        let progress = &scene.writers.0[writer];
        let before = progress.done.load(Ordering::Relaxed);
        let found = reader.get(values, Subject::key_in(store, case.parts()[writer], &name)).unwrap();
        let after = progress.begun.load(Ordering::Relaxed);
        models[writer].at(before);
        let mut model = models[writer].clone();
        let place = ("values".to_owned(), name, Vec::new(), None);
        let fits = (before..=after).any(|steps| model.at(steps).get(&place) == found.as_ref());
        assert!(fits, "{place:?} is {found:?}, which it never was in between steps {before} and {after}");
        scene.reads.fetch_add(1, Ordering::Relaxed);
        simulated::sleep(Duration::from_micros(rng.below(200)));
    }
}
