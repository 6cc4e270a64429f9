//! The process that is killed or starved: this test binary again, running the one test below.

use super::workload::{Plan, Subject, engine, store_options};
use alluvium::{Barrier, ChangelogOptions, Commit, Durability, Error, Lasting, StorageChoice, Store, StoreOptions};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ROLE: &str = "ALLUVIUM_TEST_ROLE";
const DIRECTORY: &str = "ALLUVIUM_TEST_DIRECTORY";
const PLAN: &str = "ALLUVIUM_TEST_PLAN";
const STORAGE: &str = "ALLUVIUM_TEST_STORAGE";

/// A place for one store and for what the processes that work on it report.
#[derive(Debug)]
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    pub fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn report(&self) -> PathBuf {
        self.directory.path().join("report")
    }

    /// What the processes reported so far: the labels of one word.
    pub fn reported(&self, word: &str) -> Vec<u64> {
        let text = fs::read_to_string(self.report()).unwrap_or_default();
        // A line that was cut off by a kill doesn't count.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().filter_map(|line| line.split_once(' '));
        lines.filter(|(first, _)| *first == word).map(|(_, label)| label.parse().unwrap()).collect()
    }

    /// What the last process said on its way out.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// A process of a role over the store.
    pub fn process(&self, role: &str, plan: Plan, storage: StorageChoice) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        self.arrange(&mut command, role, plan, storage);
        command.args(ARGUMENTS);
        command
    }

    /// The same under `strace`, with the options given.
    pub fn under_strace(&self, options: &[&str], role: &str, plan: Plan, storage: StorageChoice) -> Command {
        let mut command = Command::new("strace");
        self.arrange(&mut command, role, plan, storage);
        command.args(["-f", "-qq", "-e", "signal=none", "-o"]).arg(self.directory.path().join("strace"));
        command.args(options).arg(std::env::current_exe().unwrap()).args(ARGUMENTS);
        command
    }

    fn arrange(&self, command: &mut Command, role: &str, plan: Plan, storage: StorageChoice) {
        let log = File::create(self.directory.path().join("log")).unwrap();
        command.env(ROLE, role).env(DIRECTORY, self.directory.path()).env(PLAN, plan.to_word());
        command.env(STORAGE, if storage == StorageChoice::Posix { "posix" } else { "auto" });
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    }
}

const ARGUMENTS: [&str; 4] = ["support::child::process", "--exact", "--nocapture", "--test-threads=1"];

/// Not a test by itself: what the processes of the others run.
#[test]
fn process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let plan = Plan::from_word(&std::env::var(PLAN).unwrap());
    let storage = match std::env::var(STORAGE).unwrap().as_str() {
        "posix" => StorageChoice::Posix,
        _ => StorageChoice::Auto,
    };
    let mut report = Report::open(&directory.join("report"));
    let store = directory.join("store");
    // Whoever traces the process counts from this call on.
    let _ = std::os::unix::process::parent_id();
    match role.as_str() {
        "work" => run_plan(&store, &mut report, plan, storage),
        "transact" => run_transactions(&store, &mut report, plan, storage),
        "log" => run_logged(&store, &mut report, plan, storage),
        _ => crate::faults::role(&role, &store, &mut report, plan, storage),
    }
}

/// What a process tells its parent; it outlives a kill.
pub struct Report(File);

impl Report {
    fn open(path: &Path) -> Self {
        Self(OpenOptions::new().create(true).append(true).open(path).unwrap())
    }

    pub fn say(&mut self, word: &str, label: u64) {
        // In one write, so that a line is there or not.
        self.0.write_all(format!("{word} {label}\n").as_bytes()).unwrap();
    }
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
pub fn run_plan(path: &Path, report: &mut Report, plan: Plan, storage: StorageChoice) {
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
fn run_logged(path: &Path, report: &mut Report, plan: Plan, storage: StorageChoice) {
    let store = Store::open_or_create(&engine(storage, 4 << 20), path, logged_options(plan)).unwrap();
    let mut n = committed_steps(&store);
    let mut subject = Subject::over(store).unwrap();
    report.say("opened", n);
    let mut rng = super::workload::Rng(plan.seed ^ n);
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
fn run_transactions(path: &Path, report: &mut Report, plan: Plan, storage: StorageChoice) {
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
