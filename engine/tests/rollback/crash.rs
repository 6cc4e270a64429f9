//! Kills around rollbacks: what a process leaves is what the model has after one of its steps, at least the last one that it saw
//! committed, or complete.

use crate::rng::Rng;
use alluvium::{
    Barrier, Class, Commit, Durability, Engine, EngineOptions, History, Key, KeyGroup, KeyGroupRange, MergeOperator,
    Scope, State, StateOptions, Store, StoreOptions, Writer,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const GROUPS: u16 = 8;
const KEYS: u16 = 20;
/// How many steps there are from one checkpoint to the next.
const CHECKPOINT_STEPS: u64 = 4;
/// The directory, and before it what it does: `l` with a changelog, `t` transactional, `p` rolling back to positions, for a child.
const WORK: &str = "ALLUVIUM_ROLLBACK_CRASH";

/// Sums by key group and key, and how many steps were done.
type Model = BTreeMap<(u16, u16), u64>;

fn options(flags: &str) -> StoreOptions {
    let (logs, transactional) = (flags.contains('l'), flags.contains('t'));
    let durability = if logs { Durability::Changelog } else { Durability::Checkpoint };
    let range = KeyGroupRange::new(0, GROUPS);
    StoreOptions {
        key_groups: u32::from(GROUPS) + 1,
        range,
        durability,
        transactional,
        // A checkpoint that a crash came after is made again, with the same label.
        retained_checkpoints: 12,
        // On the way to a position there are rollbacks to earlier ones.
        history: History { checkpoints: if flags.contains('p') { 24 } else { 0 } },
        ..StoreOptions::default()
    }
}

/// What a step does is told by its number: which key groups it changes, and what it rolls back to which checkpoint.
struct Step {
    number: u64,
    checkpoints: bool,
    rolls_back: Option<(KeyGroupRange, u64)>,
    rng: Rng,
}

impl Step {
    fn new(number: u64, options: &StoreOptions) -> Self {
        // Rollbacks to positions lie on each other's way: what all of them lead back to has to be in the history.
        let every = if options.history.checkpoints > 0 { 9 } else { 3 };
        let mut rng = Rng::new(number);
        let newest = number / CHECKPOINT_STEPS * CHECKPOINT_STEPS;
        let (a, b) = (rng.below(GROUPS.into()) as u16, rng.below(GROUPS.into()) as u16);
        // To the newest or the one before it.
        let to = if rng.one_in(2) { newest } else { newest.saturating_sub(CHECKPOINT_STEPS) };
        let rolls_back = (number % every == every - 1 && to > 0).then(|| (KeyGroupRange::new(a, b), to));
        Self { number, checkpoints: number.is_multiple_of(CHECKPOINT_STEPS), rolls_back, rng }
    }

    fn changes(&mut self) -> Vec<(u16, u16, u64)> {
        let mut change =
            || (self.rng.below(GROUPS.into()) as u16, self.rng.below(KEYS.into()) as u16, self.rng.below(1_000) as u64);
        (0..60).map(|_| change()).collect()
    }
}

/// How many of a step's changes come before what it rolls back: none where they would be staged.
const fn changes_before(options: &StoreOptions) -> usize {
    if options.transactional { 0 } else { 30 }
}

/// What there is after so many steps.
fn model(steps: u64, options: &StoreOptions) -> Model {
    let (mut live, mut checkpoints) = (Model::new(), BTreeMap::new());
    for number in 1..=steps {
        let mut step = Step::new(number, options);
        if step.checkpoints {
            checkpoints.insert(number, live.clone());
        }
        let changes = step.changes();
        let (before, after) = changes.split_at(changes_before(options));
        let add = |live: &mut Model, changes: &[(u16, u16, u64)]| {
            changes.iter().for_each(|(group, key, operand)| *live.entry((*group, *key)).or_default() += operand);
        };
        add(&mut live, before);
        if let Some((range, to)) = step.rolls_back {
            live.retain(|(group, _), _| !range.contains(KeyGroup(*group)));
            let of_checkpoint = checkpoints[&to].iter().filter(|((group, _), _)| range.contains(KeyGroup(*group)));
            live.extend(of_checkpoint.map(|(at, sum)| (*at, *sum)));
        }
        add(&mut live, after);
    }
    live
}

fn open(path: &Path, options: &StoreOptions) -> (Store, State, State, Writer) {
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 16 << 20, ..EngineOptions::default() }).unwrap();
    let store = loop {
        match Store::open_or_create(&engine, path, options.clone()) {
            Err(error) if error.class() == Class::Retry => std::thread::sleep(Duration::from_millis(1)),
            opened => break opened.unwrap(),
        }
    };
    let sums = store.state(StateOptions::merging("sums", MergeOperator::U64Add)).unwrap();
    let steps = store.state(StateOptions::value("steps")).unwrap();
    let writer = store.writer(store.range()).unwrap();
    (store, sums, steps, writer)
}

/// How many steps were done: in a key group that is never rolled back.
fn steps_of(writer: &mut Writer, steps: State) -> u64 {
    let found = writer.get(steps, Key::new(KeyGroup(GROUPS), b"steps")).unwrap();
    found.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}

fn work(path: &Path, flags: &str) {
    let options = &options(flags);
    let (store, sums, steps, mut writer) = open(path, options);
    let commits = options.durability == Durability::Changelog || options.transactional;
    if flags.contains('p') && store.checkpoints().is_empty() {
        // The history begins with the oldest checkpoint, and the first rollback goes to before checkpoint 4.
        store.barrier(Barrier::new(u64::MAX)).unwrap().wait().unwrap();
    }
    for number in steps_of(&mut writer, steps) + 1.. {
        let mut step = Step::new(number, options);
        // Where the step before was committed: in a key group that is never rolled back.
        let position = store.last_commit().position.to_le_bytes();
        writer.put(steps, Key::new(KeyGroup(GROUPS), &(number - 1).to_le_bytes()), &position).unwrap();
        if step.checkpoints {
            store.barrier(Barrier::new(number)).unwrap().wait().unwrap();
            println!("done {}", number - 1);
        }
        let changes = step.changes();
        let (before, after) = changes.split_at(changes_before(options));
        let merge = |writer: &mut Writer, changes: &[(u16, u16, u64)]| {
            for (group, key, operand) in changes {
                let at = key.to_le_bytes();
                writer.merge(sums, Key::new(KeyGroup(*group), &at), &operand.to_le_bytes()).unwrap();
            }
        };
        merge(&mut writer, before);
        if let Some((range, to)) = step.rolls_back {
            let scope = Scope::groups(range);
            if flags.contains('p') {
                let at = writer.get(steps, Key::new(KeyGroup(GROUPS), &(to - 1).to_le_bytes())).unwrap().unwrap();
                store.rollback_to_position(&scope, u64::from_le_bytes(at.try_into().unwrap())).unwrap();
            } else {
                store.rollback(&scope, to).unwrap();
            }
        }
        merge(&mut writer, after);
        writer.put(steps, Key::new(KeyGroup(GROUPS), b"steps"), &step.number.to_le_bytes()).unwrap();
        if commits {
            let committed = store.commit(Commit::default()).unwrap();
            if options.durability == Durability::Changelog {
                committed.wait().unwrap();
                println!("done {number}");
            }
        }
    }
}

/// Does the work of the tests below until it is killed; nothing where it isn't asked to.
#[test]
fn child() {
    let Ok(asked) = std::env::var(WORK) else { return };
    let (flags, path) = asked.split_once(':').unwrap();
    work(Path::new(path), flags);
}

fn killed_at_random_moments(flags: &str) {
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    std::fs::create_dir(&path).unwrap();
    for round in 0..8 {
        let output = std::fs::File::create(directory.path().join("output")).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--nocapture"])
            .env(WORK, format!("{flags}:{}", path.display()))
            .stdout(output.try_clone().unwrap())
            .stderr(Stdio::from(output))
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(150 + rng.below(500) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        let output = std::fs::read_to_string(directory.path().join("output")).unwrap();
        assert!(!output.contains("panicked"), "round {round}: {output}");
        let seen = output.lines().filter_map(|line| line.split_once("done ")?.1.trim().parse::<u64>().ok()).max();
        let options = options(flags);
        let (store, sums, steps, mut writer) = open(&path, &options);
        let done = steps_of(&mut writer, steps);
        println!("round {round}: {done} steps, {seen:?} seen");
        assert!(done >= seen.unwrap_or(0), "round {round}: {done} steps after {seen:?} were done\n{output}");
        let wanted = model(done, &options);
        let reader = store.reader();
        for group in 0..GROUPS {
            for key in 0..KEYS {
                let found = reader.get(sums, Key::new(KeyGroup(group), &key.to_le_bytes())).unwrap();
                let wanted = wanted.get(&(group, key)).map(|sum| sum.to_le_bytes().to_vec());
                assert_eq!(found, wanted, "round {round}, after {done} steps: {key} of key group {group}");
            }
        }
        drop(writer);
        store.close().unwrap();
    }
}

#[test]
fn with_checkpoints_alone() {
    killed_at_random_moments("c");
}

#[test]
fn with_a_changelog() {
    killed_at_random_moments("l");
}

#[test]
fn to_positions() {
    killed_at_random_moments("lp");
}

#[test]
fn to_positions_with_transactions() {
    killed_at_random_moments("ltp");
}

#[test]
fn with_transactions_and_a_changelog() {
    killed_at_random_moments("lt");
}
