//! The process that is killed or starved: this test binary again, running the one test below.

use super::runs::{Report, run_logged, run_plan, run_transactions};
use super::workload::Plan;
use alluvium::StorageChoice;
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
    let mut report = ReportFile::open(&directory.join("report"));
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
pub struct ReportFile(File);

impl ReportFile {
    fn open(path: &Path) -> Self {
        Self(OpenOptions::new().create(true).append(true).open(path).unwrap())
    }
}

impl Report for ReportFile {
    fn say(&mut self, word: &str, label: u64) {
        // In one write, so that a line is there or not.
        self.0.write_all(format!("{word} {label}\n").as_bytes()).unwrap();
    }
}
