//! What the stores under test go through: a plan from its beginning, or from where a crash left it, to its end.

use super::workload::{Plan, Rng, Subject, engine, store_options};
use alluvium::{Barrier, ChangelogOptions, Commit, Durability, Error, Lasting, StorageChoice, Store, StoreOptions};
use std::fs;
use std::path::Path;

/// Who is told what a run has come to: a word, and how many steps it is about.
pub trait Report {
    fn say(&mut self, word: &str, label: u64);
}

/// Opens the store, or begins anew where no checkpoint ever became complete, as a host does.
fn open_or_create(path: &Path, storage: StorageChoice, options: &StoreOptions) -> Subject {
    let engine = engine(storage, 4 << 20);
    let store = match Store::open(&engine, path, options.clone()) {
        Err(Error::NoCheckpoint { .. }) => {
            let _ = fs::remove_dir_all(path);
            Store::create(&engine, path, options.clone())
        }
        opened => opened,
    };
    Subject::over(store.unwrap()).unwrap()
}

/// Goes through the plan from where the store stands to its end.
pub fn run_plan(path: &Path, report: &mut dyn Report, plan: Plan, storage: StorageChoice) {
    let mut subject = open_or_create(path, storage, &store_options());
    let mut n = subject.store.restored().map_or(0, |info| info.label);
    report.say("opened", n);
    let mut pending: Option<alluvium::Pending> = None;
    while n < plan.steps {
        subject.step(plan, n).unwrap();
        n += 1;
        if !n.is_multiple_of(plan.every) && n != plan.steps {
            continue;
        }
        if let Some(pending) = pending.take() {
            let info = pending.wait().unwrap();
            report.say("complete", info.label);
        }
        report.say("started", n);
        let begun = subject.store.barrier(Subject::barrier(n)).unwrap();
        if plan.waits {
            begun.wait().unwrap();
            report.say("complete", n);
        } else {
            pending = Some(begun);
        }
        if n / plan.every % 7 == 4 {
            subject.store.compact().unwrap();
        }
    }
    if let Some(pending) = pending {
        report.say("complete", pending.wait().unwrap().label);
    }
    report.say("fallbacks", subject.store.metrics().io.uring_fallbacks);
    subject.store.close().unwrap();
    report.say("closed", n);
}

/// The options of the stores that have changelogs.
pub fn logged_options(plan: Plan) -> StoreOptions {
    let changelog = ChangelogOptions { file_bytes: 1 << 20, bytes: 64 << 10, ..ChangelogOptions::default() };
    let transactional = plan.seed.is_multiple_of(2);
    StoreOptions { durability: Durability::Changelog, changelog, transactional, ..store_options() }
}

/// How many steps a store has done, by what was committed last.
pub fn committed_steps(store: &Store) -> u64 {
    let last = store.last_commit();
    last.metadata[..].try_into().map_or(0, |metadata| !u64::from_be_bytes(metadata))
}

/// The same with commits in a changelog: ten for each checkpoint, of which some are waited for.
pub fn run_logged(path: &Path, report: &mut dyn Report, plan: Plan, storage: StorageChoice) {
    let store = Store::open_or_create(&engine(storage, 4 << 20), path, logged_options(plan)).unwrap();
    let mut n = committed_steps(&store);
    let mut subject = Subject::over(store).unwrap();
    report.say("opened", n);
    let mut rng = Rng(plan.seed ^ n);
    let mut pending: Option<alluvium::Pending> = None;
    let between = (plan.every / 10).max(1);
    while n < plan.steps {
        subject.step(plan, n).unwrap();
        n += 1;
        if n.is_multiple_of(between) || n == plan.steps {
            let Barrier { offsets, metadata, .. } = Subject::barrier(n);
            report.say("asked", n);
            let lasting = if rng.below(4) == 0 { Lasting::WithLater } else { Lasting::Soon };
            let committed = subject.writer.commit(Commit { offsets, metadata, lasting }).unwrap();
            if rng.below(3) == 0 {
                committed.wait().unwrap();
                report.say("lasts", n);
            }
        }
        if n.is_multiple_of(plan.every) {
            if let Some(pending) = pending.take() {
                report.say("complete", pending.wait().unwrap().label);
            }
            report.say("started", n);
            let transactional = logged_options(plan).transactional;
            let barrier = if transactional { Barrier::new(n) } else { Subject::barrier(n) };
            pending = Some(subject.writer.barrier(barrier).unwrap());
        }
    }
    subject.store.close().unwrap();
    report.say("closed", n);
}

/// The same in transactions: each interval is committed, and the first third of the next is staged when the checkpoint of
/// it is cut. Every other time that is undone, and done again.
pub fn run_transactions(path: &Path, report: &mut dyn Report, plan: Plan, storage: StorageChoice) {
    let options = StoreOptions { transactional: true, ..store_options() };
    let mut subject = open_or_create(path, storage, &options);
    let mut n = subject.store.restored().map_or(0, |info| info.label);
    report.say("opened", n);
    let mut pending: Option<alluvium::Pending> = None;
    while n < plan.steps {
        subject.step(plan, n).unwrap();
        n += 1;
        if !n.is_multiple_of(plan.every) && n != plan.steps {
            continue;
        }
        let Barrier { offsets, metadata, .. } = Subject::barrier(n);
        subject.writer.commit(Commit { offsets, metadata, ..Commit::default() }).unwrap();
        let ahead = (n + plan.every / 3).min(plan.steps);
        for step in n..ahead {
            subject.step(plan, step).unwrap();
        }
        if let Some(pending) = pending.take() {
            report.say("complete", pending.wait().unwrap().label);
        }
        report.say("started", n);
        pending = Some(subject.writer.barrier(Barrier::new(n)).unwrap());
        if n / plan.every % 2 == 1 || ahead == plan.steps {
            subject.writer.abort_transaction().unwrap();
        } else {
            n = ahead;
        }
    }
    if let Some(pending) = pending {
        report.say("complete", pending.wait().unwrap().label);
    }
    subject.store.close().unwrap();
    report.say("closed", n);
}
