//! Rolling one key group of 128, and the whole store, back to a checkpoint: how long until it is visible, whether that depends on
//! how much is undone, what the other key groups feel of it, and what to copy the checkpoint and open it costs instead.

use crate::harness::generate::{KEY_GROUPS, Op, Random, scramble, value};
use crate::harness::latency::Latency;
use crate::harness::table::{Table, engine, plus_one, store_options};
use crate::harness::{Outcome, Run, Target, median, wrong};
use alluvium::{Engine, KeyGroupRange, Scope, Store};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The checkpoint that is gone back to.
const LABEL: u64 = 1;
/// The key group that is rolled back alone.
const GROUP: u16 = 7;
/// Where one key group is rolled back at a time, every so manieth is.
const STRIDE: usize = 16;
/// Bytes of a long value.
const LONG: usize = 1_000;
/// How long it is until the next rollback, where others are measured beside them.
const PERIOD: Duration = Duration::from_millis(20);

pub fn run(run: &mut Run) -> Outcome {
    let n: u64 = run.pick(500_000, 10_000_000);
    let mut whole_ms = Vec::new();
    for (case, share) in [("1 % undone", 100), ("10 % undone", 10), ("all undone", 1)] {
        if run.wants(case) {
            whole_ms.push(counters(run, case, n, n / share)?);
        }
    }
    if let [first, .., last] = whole_ms[..] {
        run.figure("all undone", "over 1 %", last / first, "x")?;
    }
    if run.wants("long values") {
        long_values(run, "long values")?;
    }
    if run.wants("bystanders") {
        bystanders(run, "bystanders")?;
    }
    Ok(())
}

fn one_group(group: u16) -> Scope {
    Scope::groups(KeyGroupRange::new(group, group))
}

fn whole(store: &Store) -> Scope {
    Scope::groups(store.range())
}

/// A store with room for it.
fn create(run: &Run, path: &Path) -> Outcome<(Engine, Table)> {
    let engine = engine(run.pick(1 << 30, 4 << 30))?;
    let table = Table::create(&engine, path, store_options())?;
    Ok((engine, table))
}

/// Makes the checkpoint that is gone back to.
fn retain(table: &mut Table) -> Outcome {
    table.checkpoint()?;
    Ok(table.store.retain(LABEL)?)
}

/// Rolls a scope back; how long that takes, and reading the first key of it, which reads as it was from then on, in ms.
fn roll_back(table: &mut Table, scope: &Scope, keys: u64, before: &[u8]) -> Outcome<(f64, f64)> {
    let at = (0..keys).map(Op::of).find(|op| scope.range().contains(op.key().group));
    let Some(at) = at else { return wrong("no key lies in the scope") };
    let started = Instant::now();
    table.store.rollback(scope, LABEL)?;
    let visible_ms = started.elapsed().as_secs_f64() * 1e3;
    let started = Instant::now();
    let is_back =
        table.writer.read(table.state, at.key(), |found| found.is_some_and(|found| found.starts_with(before)))?;
    let read_ms = started.elapsed().as_secs_f64() * 1e3;
    if is_back { Ok((visible_ms, read_ms)) } else { wrong("a key isn't what it was") }
}

/// Rolls some key groups back one at a time, then the whole store.
fn both(run: &mut Run, case: &str, table: &mut Table, keys: u64, before: &[u8]) -> Outcome<f64> {
    let (mut groups_ms, mut reads_ms) = (Vec::new(), Vec::new());
    for group in (GROUP..KEY_GROUPS as u16).step_by(STRIDE) {
        let (visible_ms, read_ms) = roll_back(table, &one_group(group), keys, before)?;
        groups_ms.push(visible_ms);
        reads_ms.push(read_ms);
    }
    run.result(case, "one group of 128, visible (median)", median(groups_ms), "ms", Target::AtMost(5.0))?;
    let scope = whole(&table.store);
    let (whole_ms, read_ms) = roll_back(table, &scope, keys, before)?;
    run.result(case, "the whole store, visible", whole_ms, "ms", Target::AtMost(10.0))?;
    reads_ms.push(read_ms);
    run.figure(case, "the first read afterwards, from disk (median)", median(reads_ms), "ms")?;
    for i in (0..keys).step_by(97) {
        let starts = |found: Option<&[u8]>| found.is_some_and(|found| found.starts_with(before));
        if !table.writer.read(table.state, Op::of(i).key(), starts)? {
            return wrong(format!("key {i} isn't what it was"));
        }
    }
    Ok(whole_ms)
}

/// Counters, of which so many updates are undone.
fn counters(run: &mut Run, case: &str, n: u64, undone: u64) -> Outcome<f64> {
    let keys = n / 10;
    let directory = run.directory()?;
    let (_engine, mut table) = create(run, directory.path())?;
    table.load_counters(keys)?;
    retain(&mut table)?;
    let mut random = Random::new(undone);
    for _ in 0..undone {
        table.writer.update(table.state, Op::of(random.below(keys)).key(), plus_one)?;
    }
    let whole_ms = both(run, case, &mut table, keys, &0_u64.to_le_bytes())?;
    table.close()?;
    Ok(whole_ms)
}

/// A gigabyte of long values, all of them overwritten; and the same by copying the checkpoint.
fn long_values(run: &mut Run, case: &str) -> Outcome {
    let n: u64 = run.pick(100_000, 1_000_000);
    let directory = run.directory()?;
    let (engine, mut table) = create(run, directory.path())?;
    let mut bytes = [0; LONG];
    for (version, before) in [(1_u8, true), (2, false)] {
        for i in 0..n {
            value(i, version.into(), &mut bytes);
            bytes[0] = version;
            table.writer.put(table.state, Op::of(scramble(i, n)).key(), &bytes)?;
        }
        if before {
            retain(&mut table)?;
        }
    }
    let whole_ms = both(run, case, &mut table, n, &[1])?;
    let copy = run.directory()?;
    let files = table.store.files(LABEL)?;
    let started = Instant::now();
    for file in files.list() {
        let to = copy.path().join(&file.name);
        std::fs::copy(directory.path().join(&file.name), &to)?;
        std::fs::File::open(&to)?.sync_all()?;
    }
    let mut opened = Table::open(&engine, copy.path())?;
    let is_there = opened.writer.read(opened.state, Op::of(0).key(), |found| found.is_some())?;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    if !is_there {
        return wrong("the copy lacks a key");
    }
    opened.close()?;
    run.figure(case, "copying the checkpoint and opening it", ms, "ms")?;
    run.result(case, "copying and opening, over rolling back", ms / whole_ms, "x", Target::AtLeast(100.0))?;
    table.close()
}

/// Updates of all key groups but one, each timed, without and with rollbacks of that one beside them.
fn bystanders(run: &mut Run, case: &str) -> Outcome {
    let (keys, operations) = (run.pick(200_000, 1_000_000), run.pick(2_000_000, 20_000_000));
    let directory = run.directory()?;
    let (_engine, mut table) = create(run, directory.path())?;
    table.load_counters(keys)?;
    retain(&mut table)?;
    let store = table.store.clone();
    let (stop, rollbacks) = (AtomicBool::new(true), AtomicU64::new(0));
    let mut p99 = Vec::new();
    for beside in [false, true] {
        stop.store(!beside, Ordering::Relaxed);
        let outcome = std::thread::scope(|scope| -> Outcome<Latency> {
            let other = scope.spawn(|| -> alluvium::Result<()> {
                while !stop.load(Ordering::Relaxed) {
                    store.rollback(&one_group(GROUP), LABEL)?;
                    rollbacks.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(PERIOD);
                }
                Ok(())
            });
            let timed = timed(&mut table, keys, operations);
            stop.store(true, Ordering::Relaxed);
            if let Ok(rolled_back) = other.join() {
                rolled_back?;
            }
            timed
        })?;
        outcome.report(run, case, if beside { "update beside rollbacks" } else { "update" })?;
        p99.push(outcome.percentile(99.0));
    }
    run.figure(case, "rollbacks", rollbacks.load(Ordering::Relaxed) as f64, "")?;
    run.result(case, "p99 beside rollbacks, over without", p99[1] / p99[0], "x", Target::AtMost(1.1))?;
    table.close()
}

fn timed(table: &mut Table, keys: u64, operations: u64) -> Outcome<Latency> {
    let (mut latency, mut random) = (Latency::new()?, Random::new(u64::from(KEY_GROUPS)));
    for _ in 0..operations {
        let op = Op::of(random.below(keys));
        let started = Instant::now();
        table.writer.update(table.state, op.key(), plus_one)?;
        if op.key().group.0 != GROUP {
            latency.add(started.elapsed().as_nanos() as u64);
        }
    }
    Ok(latency)
}
