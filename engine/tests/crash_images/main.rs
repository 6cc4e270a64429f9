//! Power cuts: a crash at any moment, with any part of what wasn't synced on disk or not, leaves a commit that is whole, and at least
//! the last one that was said to last; so does a crash in the middle of the recovery from one.
//!
//! A run of the engine is recorded (`alluvium::recorder`), change by change. `disk` says what a crash after each change may leave, by
//! the rules of a disk and not of a file system that happens to be kinder; each of these images is made, opened, and compared whole
//! with a model. `ALLUVIUM_IMAGES` is how many distinct images are looked at (20,000), `ALLUVIUM_IMAGES_SEED` where the random ones begin.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

#[expect(dead_code, reason = "shared with other tests")]
mod disk;
mod look;
mod reopened;
#[path = "../durability/support/runs.rs"]
mod runs;
mod safeguards;
mod unsynced;
#[path = "../durability/support/workload.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod workload;

use disk::{Disk, Image, choices};
use look::{Looked, Looker, Wanted};
use runs::{Report, run_logged, run_plan, run_transactions};
use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use workload::{Plan, Rng};

use alluvium::StorageChoice;
use alluvium::recorder::{Op, Recorder};

/// The kinds of runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Checkpoints,
    Transactions,
    Changelog,
}

/// What a run said, and how long its record was then.
struct Marks<'a> {
    recorder: &'a Recorder,
    said: Vec<(usize, String, u64)>,
}

impl Report for Marks<'_> {
    fn say(&mut self, word: &str, label: u64) {
        self.said.push((self.recorder.len(), word.to_owned(), label));
    }
}

/// A recorded run.
struct Run {
    kind: Kind,
    plan: Plan,
    ops: Vec<Op>,
    said: Vec<(usize, String, u64)>,
}

impl Run {
    fn new(kind: Kind, seed: u64, path: &Path) -> Self {
        let plan = Plan {
            seed,
            steps: 240,
            every: 40,
            keys: 30,
            value_bytes_max: 2_000,
            waits: seed.is_multiple_of(3),
            migrates: if kind == Kind::Checkpoints { 90 } else { 0 },
        };
        let storage = if (seed / 2).is_multiple_of(2) { StorageChoice::Auto } else { StorageChoice::Posix };
        let recorder = Recorder::start(path, &[]);
        let mut marks = Marks { recorder: &recorder, said: Vec::new() };
        match kind {
            Kind::Checkpoints => run_plan(path, &mut marks, plan, storage),
            Kind::Transactions => run_transactions(path, &mut marks, plan, storage),
            Kind::Changelog => run_logged(path, &mut marks, plan, storage),
        }
        let said = marks.said;
        Self { kind, plan, ops: recorder.finish(), said }
    }

    /// What is to be found after the first `done` steps of the record.
    fn wanted(&self, done: usize) -> Wanted {
        let lasting = self.said.iter().filter(|(at, word, _)| *at <= done && (word == "complete" || word == "lasts"));
        let begun = self.said.iter().filter(|(_, word, _)| word == "started" || word == "asked");
        Wanted {
            kind: self.kind,
            plan: self.plan,
            least: lasting.map(|(.., steps)| *steps).max().unwrap_or(0),
            begun: begun.map(|(.., steps)| *steps).collect(),
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().expect("a number"))
}

/// An image, what is to be found in it, and how it came about.
struct Item {
    image: Image,
    wanted: Wanted,
    what: String,
    seed: u64,
}

/// How many images are made of what a run leaves at one moment, at most.
const IMAGES_OF_A_MOMENT: usize = 64;

/// Makes all images of a run, hands those that are new to `give`, and says how many those were.
fn images_of(
    run: &Run,
    path: &Path,
    rng: &mut Rng,
    seen: &mut HashSet<u64>,
    most: usize,
    give: impl Fn(Item),
) -> usize {
    let mut disk = Disk::new(path, &Image::default());
    let mut count = 0;
    for done in 0..=run.ops.len() {
        if let Some(op) = done.checked_sub(1).map(|last| &run.ops[last]) {
            disk.step(op);
        }
        let units = disk.unit_count();
        for (number, choice) in choices(units, IMAGES_OF_A_MOMENT, rng).into_iter().enumerate() {
            let image = disk.image(&choice);
            if count == most || !seen.insert(image.digest()) {
                continue;
            }
            count += 1;
            let what = format!(
                "{:?} of {:?}, crash after {done} of {} changes, {units} units, choice {number}: {choice:?}",
                run.kind,
                run.plan,
                run.ops.len()
            );
            give(Item { image, wanted: run.wanted(done), what, seed: rng.next() });
        }
    }
    count
}

fn look_at_images(kind: Kind) {
    let target = number("ALLUVIUM_IMAGES", 20_000) as usize / 3;
    let first = number("ALLUVIUM_IMAGES_SEED", 1);
    println!("ALLUVIUM_IMAGES_SEED={first}");
    let (mut rng, mut seen) = (Rng(first), HashSet::new());
    let total = Mutex::new(Looked::default());
    let (send, receive) = sync_channel::<Item>(64);
    let receive = Arc::new(Mutex::new(receive));
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..threads {
            let receive = Arc::clone(&receive);
            let total = &total;
            scope.spawn(move || {
                let mut looker = Looker::new();
                while let Ok(item) = { receive.lock().unwrap().recv() } {
                    looker.look(&item.image, &item.wanted, item.seed, &item.what);
                }
                total.lock().unwrap().add(&looker.looked);
            });
        }
        // The last looker that fails takes the channel with it.
        drop(receive);
        let (mut left, mut runs) = (target, 0_u64);
        while left > 0 {
            let place = look::place();
            let path = place.path().canonicalize().unwrap().join("store");
            let run = Run::new(kind, first.wrapping_add(runs), &path);
            // A fifth of them at a time, so that no run is all that there is.
            let most = left.min(target / 5 + 1);
            let give = |item| send.send(item).expect("somebody looks at images");
            left -= images_of(&run, &path, &mut rng, &mut seen, most, give);
            runs += 1;
        }
        println!("{kind:?}: {runs} runs");
        drop(send);
    });
    let looked = total.into_inner().unwrap();
    println!("{kind:?}: {target} distinct images, {looked:?}");
    assert_eq!(looked.images, target as u64);
    assert!(looked.empty < looked.images && looked.again > 0, "{looked:?}");
}

#[test]
fn a_crash_leaves_a_checkpoint() {
    look_at_images(Kind::Checkpoints);
}

#[test]
fn a_crash_leaves_a_checkpoint_of_a_commit() {
    look_at_images(Kind::Transactions);
}

#[test]
fn a_crash_leaves_a_commit_of_the_changelog() {
    look_at_images(Kind::Changelog);
}
