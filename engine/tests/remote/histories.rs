//! Random histories: a job that uploads, crashes, is taken over, restored, split and joined, in a remote that is slow and loses
//! requests; beside a model.

use super::faulty::{Faulty, Settings};
use super::rng::Rng;
use super::world::{GROUPS, Job, Model, all, engine, faulty, named_and_there, options, over, part, quick};
use alluvium::Engine;
use alluvium::KeyGroupRange;
use alluvium::remote::object_store::memory::InMemory;
use alluvium::remote::{Remote, RemoteOptions, RemoteSource, RestoreOptions, Restoring, restore};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A part of the job, with the directory that is its own.
struct Part {
    job: Job,
    remote: Remote,
    prefix: String,
    restoring: Option<Restoring>,
}

struct History<'a> {
    engine: &'a Engine,
    root: &'a Path,
    rng: Rng,
    far: Arc<Faulty>,
    inner: Arc<InMemory>,
    parts: Vec<Part>,
    /// What each checkpoint in each directory holds.
    known: BTreeMap<(String, u64), Model>,
    label: u64,
    directories: u32,
    counts: BTreeMap<&'static str, u32>,
}

impl<'a> History<'a> {
    fn new(engine: &'a Engine, root: &'a Path, seed: u64) -> Self {
        let (inner, far) = faulty();
        let mut history = Self {
            engine,
            root,
            rng: Rng::new(seed),
            far,
            inner,
            parts: Vec::new(),
            known: BTreeMap::new(),
            label: 0,
            directories: 0,
            counts: BTreeMap::new(),
        };
        history.trouble(seed);
        let (path, prefix) = (history.directory(), history.prefix());
        let remote = history.remote(&prefix);
        let job = Job::create(engine, &path, all());
        history.parts.push(Part { job, remote, prefix, restoring: None });
        history
    }

    fn trouble(&self, seed: u64) {
        let latency = Duration::from_micros(300);
        self.far.plan.set(Settings { latency, one_in: Some((seed, 25)), ..Settings::default() });
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn directory(&mut self) -> PathBuf {
        self.directories += 1;
        self.root.join(self.directories.to_string())
    }

    fn prefix(&mut self) -> String {
        format!("jobs/{}", self.directories)
    }

    fn remote(&self, prefix: &str) -> Remote {
        over(&self.far, prefix, RemoteOptions { concurrency: 3, ..quick() })
    }

    /// A consistent cut of all parts, uploaded.
    fn checkpoint(&mut self) {
        self.label += 1 + self.rng.below(3) as u64;
        for at in 0..self.parts.len() {
            let part = &self.parts[at];
            let model = part.job.checkpoint(self.label);
            part.remote.upload(&part.job.store, self.label).unwrap();
            self.known.insert((part.prefix.clone(), self.label), model);
        }
        self.count("checkpoints");
    }

    /// The process dies in an upload; another takes over from what is there.
    fn die(&mut self) {
        let at = self.rng.below(self.parts.len());
        self.label += 1;
        let (label, calls) = (self.label, self.far.plan.calls() + self.rng.below(20) as u64);
        let part = &self.parts[at];
        let model = part.job.checkpoint(label);
        let dead_from = Some((calls, self.rng.one_in(2)));
        self.far.plan.set(Settings { dead_from, ..Settings::default() });
        let dying = over(&self.far, &part.prefix, super::world::once());
        let outcome = dying.upload(&part.job.store, label);
        let seed = self.rng.next();
        self.trouble(seed);
        // It may be there, whether its process learned of it or not.
        self.known.insert((self.parts[at].prefix.clone(), label), model);
        self.count(if outcome.is_ok() { "survived" } else { "died" });
        self.recover(at);
    }

    /// A part starts again elsewhere, from what its directory has.
    fn recover(&mut self, at: usize) {
        let Part { job, prefix, .. } = self.parts.swap_remove(at);
        job.close();
        let remote = self.remote(&prefix);
        let listed = remote.list().unwrap();
        let Some(from) = listed.last() else {
            // Nothing was ever there.
            let path = self.directory();
            let job = Job::create(self.engine, &path, all());
            return self.parts.push(Part { job, remote, prefix, restoring: None });
        };
        let label = from.label().unwrap();
        let model = self.known[&(prefix.clone(), label)].clone();
        let range = from.head.as_ref().unwrap().store.range;
        let path = self.directory();
        let how = RestoreOptions { concurrency: 2, ..RestoreOptions::default() };
        let (store, restoring) = remote.restore(self.engine, &path, None, options(range), how).unwrap();
        let mut job = Job::adopt(store, model);
        job.check_some(&mut self.rng, 40);
        self.parts.push(Part { job, remote, prefix, restoring: Some(restoring) });
        self.count("restored");
    }

    /// One becomes two, or two one, from their last checkpoint.
    fn rescale(&mut self) {
        self.checkpoint();
        let mut sources = Vec::new();
        let mut model = Model::new();
        for part in std::mem::take(&mut self.parts) {
            model.extend(part.job.model.clone());
            part.job.close();
            sources.push(RemoteSource { remote: part.remote, label: Some(self.label) });
        }
        let middle = 1 + self.rng.below(usize::from(GROUPS) - 1) as u16;
        let halves = [KeyGroupRange::new(0, middle - 1), KeyGroupRange::new(middle, GROUPS - 1)];
        let ranges = if sources.len() == 1 { halves.to_vec() } else { vec![all()] };
        for range in ranges {
            let (path, prefix) = (self.directory(), self.prefix());
            let how = RestoreOptions::default();
            let (store, restoring) = restore(self.engine, &path, &sources, options(range), how).unwrap();
            let mut job = Job::adopt(store, part(&model, range));
            job.check_some(&mut self.rng, 40);
            let remote = self.remote(&prefix);
            // Its own directory has a checkpoint before the old ones may go.
            job.upload(&remote, self.label);
            self.known.insert((prefix.clone(), self.label), job.model.clone());
            self.parts.push(Part { job, remote, prefix, restoring: Some(restoring) });
        }
        self.count("rescaled");
    }

    fn step(&mut self) {
        for at in 0..self.parts.len() {
            let (changes, mut rng) = (self.rng.below(200), self.rng.clone());
            self.parts[at].job.work(&mut rng, changes, 500);
            self.rng = rng;
        }
        match self.rng.below(14) {
            0..=5 => self.checkpoint(),
            6 | 7 => self.die(),
            8 => {
                self.checkpoint();
                let at = self.rng.below(self.parts.len());
                self.recover(at);
            }
            9 => self.rescale(),
            10 => {
                for part in &mut self.parts {
                    if let Some(restoring) = part.restoring.take() {
                        restoring.wait().unwrap();
                    }
                }
                self.count("waited for");
            }
            11 => self.parts[0].job.store.compact().unwrap(),
            _ => {
                let at = self.rng.below(self.parts.len());
                let mut rng = self.rng.clone();
                self.parts[at].job.check_some(&mut rng, 60);
                self.rng = rng;
            }
        }
    }

    fn end(mut self) -> BTreeMap<&'static str, u32> {
        self.checkpoint();
        for part in &mut self.parts {
            part.job.check();
            let removed = part.remote.prune(2).unwrap();
            assert!(removed.checkpoints.is_empty());
            // With one store each, a restore of all key groups is one of this part's alone.
            if part.job.store.range() == all() {
                let (named, there) = named_and_there(self.engine, &*self.inner, &part.remote, &part.prefix);
                assert!(named.is_subset(&there), "{:?} are needed and gone", named.difference(&there));
                assert_eq!(named, there, "dead segments are kept");
            }
        }
        self.counts
    }
}

#[test]
fn random_histories_end_as_their_model_says() {
    let given = std::env::var("ALLUVIUM_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = given.map_or(1..25, |seed: u64| seed..seed + 1);
    let mut counts = BTreeMap::new();
    for seed in seeds {
        println!("seed {seed}");
        let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
        let mut history = History::new(&engine, directory.path(), seed);
        for _ in 0..25 {
            history.step();
        }
        for (what, count) in history.end() {
            *counts.entry(what).or_insert(0) += count;
        }
    }
    println!("{counts:?}");
    if given.is_none() {
        for what in ["checkpoints", "died", "restored", "rescaled", "waited for"] {
            assert!(counts.get(what).is_some_and(|&count| count > 10), "{what}: too few: {counts:?}");
        }
    }
}
