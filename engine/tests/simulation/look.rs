//! Looking at what a crash leaves: it is opened in a world of its own, compared with the model, and worked on; and so is what a crash in the
//! middle of that leaves.

use super::case::Case;
use super::disk::{Disk, Image, choices};
use super::notes::Notes;
use super::play::Played;
use super::workload::{Contents, Model, Plan, Rng, Subject, assert_same};
use alluvium::recorder::{Op, Recorder};
use alluvium::simulated::world;
use alluvium::{Barrier, Commit, Error, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How many combinations a crash's image is chosen from.
const CHOICES: usize = 16;
/// How many steps each writer does after a recovery.
const STEPS_AFTER: u64 = 10;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looked {
    pub crashes: u64,
    /// Of them, those that left nothing, as nothing had lasted.
    pub empty: u64,
    /// Of them, those during a recovery.
    pub again: u64,
}

/// Looks at crashes at random moments of what was played.
pub fn look(case: Case, path: &Path, played: &Played) -> Looked {
    let mut looked = Looked::default();
    played.at_moments(case, path, &mut Rng(case.schedule ^ 3), |moment, disk, rng| {
        looked.crashes += 1;
        // The power goes, or the process alone.
        let (image, after, how) = if rng.below(3) == 0 {
            let (image, after) = disk.outlived();
            (image, after, "the process died")
        } else {
            let image = image_of(disk, rng);
            let after = Disk::new(path, &image);
            (image, after, "the power went")
        };
        let what = format!("{how} after {moment} of {} changes", played.ops.len());
        let mut wanted = Wanted { least: played.least(case, moment), commits: played.commits.clone() };
        let Recovered { ops, found } = recover(case, path, &image, &wanted, rng.next(), &what);
        let Some((begun, found)) = found else {
            looked.empty += 1;
            return;
        };
        // Then a crash of the recovery. It opened the store twice, and worked on each time.
        let again = rng.below(ops.len() as u64 + 1) as usize;
        wanted.commits.extend(found.iter().flat_map(|steps| [steps + STEPS_AFTER, steps + 2 * STEPS_AFTER]));
        // Once the store was open, what was found has to be found again; before that, what lasted.
        if again >= begun {
            wanted.least = found;
        }
        let mut disk = after;
        ops[..again].iter().for_each(|op| disk.step(op));
        looked.again += 1;
        let what = format!("{what}, and {again} of {} of the recovery (worked on from {begun})", ops.len());
        recover(case, path, &image_of(&disk, rng), &wanted, rng.next(), &what);
    });
    looked
}

fn image_of(disk: &Disk, rng: &mut Rng) -> Image {
    let found = choices(disk.unit_count(), CHOICES, rng);
    disk.image(&found[rng.below(found.len() as u64) as usize])
}

/// What is to be found.
#[derive(Clone, Debug)]
struct Wanted {
    /// How many steps of each writer, at least.
    least: Vec<u64>,
    /// Of a case that knows, after how many steps.
    commits: BTreeSet<u64>,
}

/// What came of opening an image.
struct Recovered {
    ops: Vec<Op>,
    /// How long the record was when it was open, and how many steps of each writer were there; `None` where there was no store.
    found: Option<(usize, Vec<u64>)>,
}

fn recover(case: Case, path: &Path, image: &Image, wanted: &Wanted, schedule: u64, what: &str) -> Recovered {
    println!("{what}: {:?} lasted, schedule {schedule}", wanted.least);
    image.write_to(path);
    let names: Vec<PathBuf> = image.files.keys().cloned().collect();
    let recorder = Recorder::start(path, &names);
    let mut found = None;
    world::run(world::Schedule::new(schedule), || {
        found = open(case, path, wanted).map(|steps| (recorder.len(), steps));
        if let Some((_, steps)) = &found {
            let further: Vec<u64> = steps.iter().map(|steps| steps + STEPS_AFTER).collect();
            let wanted = Wanted { least: further.clone(), commits: further.iter().copied().collect() };
            assert_eq!(open(case, path, &wanted), Some(further));
        }
    });
    let ops = recorder.finish();
    std::fs::remove_dir_all(path).unwrap();
    Recovered { ops, found }
}

/// Opens what is there, compares it with the models, and goes on by some steps: how many each writer had done before these.
fn open(case: Case, path: &Path, wanted: &Wanted) -> Option<Vec<u64>> {
    let least = &wanted.least;
    let store = match Store::open(&case.engine(), path, case.options()) {
        Ok(store) => store,
        Err(Error::NoCheckpoint { .. }) if least.iter().all(|steps| *steps == 0) => return None,
        Err(error) => panic!("{least:?} steps lasted, but: {error}"),
    };
    let mut all = Vec::new();
    for ((writer, part), least) in case.parts().into_iter().enumerate().zip(least) {
        let plan = case.plan(writer);
        let mut subject = Subject::over_part(store.clone(), part).unwrap();
        let notes = Notes::of(&store).unwrap();
        let noted = notes.noted(&mut subject).unwrap();
        let contents = contents_of(&mut subject, plan).unwrap();
        check_commit(case, noted, &contents, &wanted.commits);
        let mut model = Model::new(plan);
        // It may have been cut between a step and the note of it.
        let steps = if contents == *model.at(noted) { noted } else { noted + 1 };
        assert_same(&contents, model.at(steps), &format!("writer {writer} after {noted} steps"));
        assert!(steps >= *least, "writer {writer}: {steps} steps are there, {least} lasted");
        for n in steps..steps + STEPS_AFTER {
            subject.step(plan, n).unwrap();
        }
        notes.note(&mut subject, steps + STEPS_AFTER).unwrap();
        all.push(steps);
    }
    // The checkpoints before are whole as well.
    for info in store.checkpoints() {
        store.iterate(info.label).unwrap().for_each(|item| drop(item.unwrap()));
    }
    if case.is_transactional() {
        store.commit(Commit::default()).unwrap();
    }
    let label = store.restored().map_or(0, |info| info.label) + 1;
    store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
    store.close().unwrap();
    Some(all)
}

/// Where it is known what was committed: it is one of that, as a whole.
pub fn check_commit(case: Case, noted: u64, contents: &Contents, commits: &BTreeSet<u64>) {
    if case.has_known_commits() {
        assert!(commits.contains(&noted), "{noted} steps are there, and were never committed: {commits:?}");
        assert_same(contents, Model::new(case.plan(0)).at(noted), &format!("the commit after {noted} steps"));
    }
}

/// Everything that a writer's part has.
pub fn contents_of(subject: &mut Subject, plan: Plan) -> alluvium::Result<Contents> {
    let mut contents = BTreeMap::new();
    for id in 0..plan.keys {
        let name = format!("key-{id}").into_bytes();
        for namespace in [&b""[..], b"w0", b"w1", b"w2"] {
            for state in ["values", "sums", "lists"] {
                let key = subject.key(&name).in_namespace(namespace);
                let found = subject.read(state, key, None)?.filter(|found| state != "lists" || !found.is_empty());
                if let Some(found) = found {
                    contents.insert((state.to_owned(), name.clone(), namespace.to_vec(), None), found);
                }
            }
            let key = subject.key(&name).in_namespace(namespace);
            subject.each_entry(key, |user_key, value| {
                let place = ("maps".to_owned(), name.clone(), namespace.to_vec(), Some(user_key.to_vec()));
                contents.insert(place, value.to_vec());
            })?;
        }
    }
    Ok(contents)
}
