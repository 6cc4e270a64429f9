//! How long it takes after a crash until the throughput of before is there again, by what is brought into memory meanwhile.

use super::{VALUE_BYTES, head};
use crate::harness::disk::{directory_bytes, drop_caches};
use crate::harness::generate::{Draw, KEY_BYTES, Op, Random};
use crate::harness::table::{Every, Table, engine, store_options};
use crate::harness::{Outcome, Run, Target, median, wrong};
use alluvium::{Key, RecoveryStage, Store, StoreOptions, WarmUp};
use std::path::Path;
use std::time::{Duration, Instant};

/// Memory is so many times smaller than the state.
const STATE_OVER_BUDGET: usize = 5;
/// Keys of a batch; every other one is read, the others are read and written.
const BATCH: usize = 128;
/// Between two checkpoints, before the crash and after it.
const CHECKPOINTS: Duration = Duration::from_secs(2);
/// Throughput is looked at in steps of this, and counts as there again where so many in a row have it.
const STEP: Duration = Duration::from_millis(50);
const STEPS: usize = 10;
/// How long it is looked at after the crash.
const AFTER: Duration = Duration::from_secs(12);
/// The share of the throughput before that has to be there again.
const SHARE: f64 = 0.9;

/// What is brought, and what it is called.
type Way = (&'static str, fn() -> WarmUp);

/// All that are compared.
const WAYS: [Way; 3] = [
    ("hottest first", || WarmUp::Hottest),
    ("in the order of keys", || WarmUp::Declared(Vec::new())),
    ("nothing", || WarmUp::Nothing),
];

/// Operations of a skewed workload on a table.
struct Load<'a> {
    table: &'a mut Table,
    draw: &'a Draw,
    random: Random,
    checkpoints: Every,
    reads: bool,
}

impl Load<'_> {
    /// Does operations until a moment, checkpoints among them; how many.
    fn run(&mut self, until: Instant) -> Outcome<u64> {
        let mut done = 0;
        while Instant::now() < until {
            let numbers: Vec<u64> = (0..BATCH).map(|_| self.draw.next(&mut self.random)).collect();
            let ops: Vec<Op> = numbers.iter().map(|&i| Op::of(i)).collect();
            let keys: Vec<Key<'_>> = ops.iter().map(Op::key).collect();
            let mut right = 0;
            let mut check = |index: usize, found: Option<&[u8]>| {
                right += usize::from(found.and_then(<[u8]>::first_chunk) == Some(&head(numbers[index])));
            };
            let Table { writer, state, .. } = &mut *self.table;
            self.reads = !self.reads;
            if self.reads {
                writer.get_many(*state, &keys, check)?;
            } else {
                writer.update_many(*state, &keys, |index, old| {
                    check(index, old);
                    let mut new = old.map_or_else(|| vec![0; VALUE_BYTES], <[u8]>::to_vec);
                    new[8] = new[8].wrapping_add(1);
                    Some(new)
                })?;
            }
            if right != BATCH {
                return wrong(format!("{} of {BATCH} values are wrong", BATCH - right));
            }
            done += BATCH as u64;
            if self.checkpoints.is_due() {
                drop(self.table.barrier()?);
            }
        }
        Ok(done)
    }
}

/// Throughput in steps, from a moment on: operations a second.
fn steps(load: &mut Load<'_>, from: Instant, span: Duration) -> Outcome<Vec<f64>> {
    let mut rates = Vec::new();
    let mut began = from;
    while began < from + span {
        let done = load.run((began + STEP).max(Instant::now() + STEP / 2))?;
        let now = Instant::now();
        rates.push(done as f64 / (now - began).as_secs_f64());
        began = now;
    }
    Ok(rates)
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / rates.len().max(1) as f64
}

pub fn run(run: &mut Run, bytes: u64, case: &str) -> Outcome {
    let n = bytes / (KEY_BYTES + VALUE_BYTES) as u64;
    let budget_bytes = bytes as usize / STATE_OVER_BUDGET;
    let directory = run.directory()?;
    let path = directory.path().join("store");
    std::fs::create_dir(&path)?;
    let options = |warm_up| StoreOptions { hot_list_bytes: budget_bytes / 2, warm_up, ..store_options() };
    run.note(&format!("{case}: loading {n} records"));
    let draw = Draw::zipf(n);
    let before = {
        let mut table = Table::create(&engine(budget_bytes)?, &path, store_options())?;
        table.load_values::<VALUE_BYTES>(n, (n / 16).max(1))?;
        table.checkpoint()?;
        table.close()?;
        let mut table = Table::of(Store::open(&engine(budget_bytes)?, &path, options(WarmUp::Nothing))?)?;
        let before = rate_before(run, &mut table, &draw, case)?;
        table.close()?;
        before
    };
    run.figure(case, "throughput before", before / 1e3, "k/s")?;
    let mut found = WAYS.map(|_| (Vec::new(), Vec::new()));
    for turn in 0..run.pick(1, 3) {
        for ((name, warm_up), (times, losses)) in WAYS.iter().zip(&mut found) {
            let copy = directory.path().join(format!("{turn} {name}"));
            link_all(&path, &copy)?;
            let what = (case, *name, turn);
            let (there_s, lost_s) = recovered(run, &copy, (&draw, before), options(warm_up()), budget_bytes, what)?;
            std::fs::remove_dir_all(&copy)?;
            times.push(there_s);
            losses.push(lost_s);
        }
    }
    for ((name, _), (times, losses)) in WAYS.iter().zip(found) {
        let target = if *name == "hottest first" { Target::AtMost(2.0) } else { Target::None };
        run.result(case, &format!("{name}: to 90 % of the throughput before"), median(times), "s", target)?;
        run.figure(case, &format!("{name}: work lost in 12 s"), median(losses), "s")?;
    }
    Ok(())
}

/// The throughput once it is steady, with the hot list written.
fn rate_before(run: &mut Run, table: &mut Table, draw: &Draw, case: &str) -> Outcome<f64> {
    let (store, started) = (table.store.clone(), Instant::now());
    let span = Duration::from_secs(run.pick(20, 60));
    let mut load =
        Load { table, draw, random: Random::new(run.seed()), checkpoints: Every::new(CHECKPOINTS), reads: false };
    let rates = steps(&mut load, started, span)?;
    let before = mean(&rates[rates.len() * 3 / 4..]);
    let table = load.table;
    table.checkpoint()?;
    let patience = Instant::now() + Duration::from_secs(60);
    while store.metrics().hot_list_bytes == 0 {
        if Instant::now() > patience {
            return wrong("no hot list was written");
        }
        std::thread::sleep(STEP);
    }
    let metrics = store.metrics();
    let written = metrics.flushed_bytes + metrics.compacted_bytes;
    run.figure(case, "hot lists / what else was written", metrics.hot_list_bytes as f64 / written as f64, "")?;
    Ok(before)
}

/// Links a store's files into another directory: none of them is ever changed.
fn link_all(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if name != "LOCK" {
            std::fs::hard_link(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Opens a store with an empty page cache, and goes on with what was done before: after how many seconds the throughput is there again, and how
/// many seconds of work were lost.
fn recovered(
    run: &mut Run,
    path: &Path,
    (draw, before): (&Draw, f64),
    options: StoreOptions,
    budget_bytes: usize,
    (case, name, turn): (&str, &str, u64),
) -> Outcome<(f64, f64)> {
    let engine = engine(budget_bytes)?;
    drop_caches(run, path)?;
    let disk = directory_bytes(path)?;
    let opened = Instant::now();
    let mut table = Table::of(Store::open(&engine, path, options)?)?;
    let store = table.store.clone();
    // Other draws than before, of the same keys.
    let random = Random::new(run.seed() + 1 + turn);
    let mut load = Load { table: &mut table, draw, random, checkpoints: Every::new(CHECKPOINTS), reads: false };
    let rates = steps(&mut load, opened, AFTER)?;
    let there = rates.windows(STEPS).position(|rates| mean(rates) >= SHARE * before);
    // Where it isn't there again within the time that was looked at, it took longer than that.
    let there_s = there.map_or(AFTER.as_secs_f64(), |steps| steps as f64 * STEP.as_secs_f64());
    let lost: f64 = rates.iter().map(|rate| (before - rate).max(0.0) / before * STEP.as_secs_f64()).sum();
    let recovery = store.recovery();
    run.note(&format!(
        "{case}, {name}: 90 % after {there_s:.2} s{}, {lost:.2} s of work lost, {} records brought, {:?}, {:.0} MB on disk; the first steps: {:.0?} k/s",
        if there.is_none() { " or more" } else { "" },
        recovery.brought_records,
        recovery.stage,
        disk as f64 / 1e6,
        rates.iter().take(20).map(|rate| rate / 1e3).collect::<Vec<_>>(),
    ));
    if name == "nothing" && recovery.stage != RecoveryStage::Complete {
        return wrong("something is brought where nothing was to be");
    }
    drop(store);
    table.close()?;
    Ok((there_s, lost))
}
