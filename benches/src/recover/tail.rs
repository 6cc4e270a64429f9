//! From opening a store with a changelog behind its checkpoint to the first read, and until everything is replayed: key group by key group, and as a
//! whole.

use crate::harness::disk::drop_caches;
use crate::harness::generate::{Op, Random};
use crate::harness::table::{Table, engine, store_options};
use crate::harness::{Outcome, Run, median, wrong};
use alluvium::{ChangelogOptions, Class, Commit, Durability, Engine, RecoveryStage, Store, StoreOptions};
use std::path::Path;
use std::time::{Duration, Instant};

const BUDGET_BYTES: usize = 1 << 30;
/// Between two looks whether everything is replayed.
const LOOK: Duration = Duration::from_micros(200);
/// Reads right after the first, of keys all over.
const READS: usize = 20;

/// What is replayed as a whole, and what that is called.
const WAYS: [(&str, u64); 2] = [("by key group", 0), ("as a whole", u64::MAX)];

fn options(whole_replay_bytes: u64) -> StoreOptions {
    let changelog = ChangelogOptions { whole_replay_bytes, ..ChangelogOptions::default() };
    StoreOptions { durability: Durability::Changelog, changelog, ..store_options() }
}

/// One that was dropped lives until the engine's threads have let go of it.
fn open(engine: &Engine, path: &Path, whole_replay_bytes: u64) -> Outcome<Store> {
    loop {
        match Store::open(engine, path, options(whole_replay_bytes)) {
            Err(error) if error.class() == Class::Retry => std::thread::sleep(Duration::from_millis(1)),
            outcome => return Ok(outcome?),
        }
    }
}

pub fn run(run: &mut Run, bytes: u64, case: &str) -> Outcome {
    let n = run.pick(200_000, 1_000_000);
    let directory = run.directory()?;
    let wanted = leave(run, directory.path(), n, bytes, case)?;
    let mut random = Random::new(run.seed());
    for (way, whole_replay_bytes) in WAYS {
        for cached in [true, false] {
            let cache = if cached { "page cache full" } else { "page cache empty" };
            let case = format!("{case}, {way}, {cache}");
            let mut times: [Vec<f64>; 4] = Default::default();
            for _ in 0..run.pick(3, 5) {
                if !cached {
                    drop_caches(run, directory.path())?;
                }
                let turn = recover(directory.path(), whole_replay_bytes, &wanted, &mut random)?;
                times.iter_mut().zip(turn).for_each(|(times, ms)| times.push(ms));
            }
            let [opened, first, next, all] = times;
            run.figure(&case, "opened, median", median(opened), "ms")?;
            let longest = first.iter().copied().fold(0.0, f64::max);
            run.figure(&case, "open to first correct read, median", median(first), "ms")?;
            run.figure(&case, "open to first correct read, longest", longest, "ms")?;
            run.figure(&case, "open to 20 more reads, median", median(next), "ms")?;
            run.figure(&case, "open to everything replayed, median", median(all), "ms")?;
        }
    }
    Ok(())
}

/// Leaves counters with so many bytes of changes behind their checkpoint; what they are.
fn leave(run: &Run, path: &Path, n: u64, bytes: u64, case: &str) -> Outcome<Vec<u64>> {
    let mut table = Table::create(&engine(BUDGET_BYTES)?, path, options(u64::MAX))?;
    table.load_counters(n)?;
    table.checkpoint()?;
    let (from, mut random, mut wanted) = (table.store.position()?, Random::new(run.seed()), vec![0; n as usize]);
    run.note(&format!("{case}: {n} counters"));
    let mut number = 0_u64;
    while table.store.position()? < from + bytes {
        for _ in 0..50_000 {
            let i = random.below(n);
            number += 1;
            table.writer.put(table.state, Op::of(i).key(), &number.to_le_bytes())?;
            wanted[i as usize] = number;
        }
    }
    table.writer.commit(Commit::default())?.wait()?;
    run.note(&format!("{case}: {number} changes behind the checkpoint, {} bytes", table.store.position()? - from));
    Ok(wanted)
}

/// Opens the store; how long it took to be open, to the first read, to some more, and until everything was replayed, in ms.
fn recover(path: &Path, whole_replay_bytes: u64, wanted: &[u64], random: &mut Random) -> Outcome<[f64; 4]> {
    let engine = engine(BUDGET_BYTES)?;
    let started = Instant::now();
    let ms = || started.elapsed().as_secs_f64() * 1e3;
    let store = open(&engine, path, whole_replay_bytes)?;
    let opened = ms();
    let mut table = Table::of(store)?;
    let mut check = |table: &mut Table| -> Outcome {
        let i = random.below(wanted.len() as u64);
        let found = table.writer.get(table.state, Op::of(i).key())?;
        if found.as_deref() != Some(&wanted[i as usize].to_le_bytes()[..]) {
            return wrong(format!("counter {i} is {found:?}"));
        }
        Ok(())
    };
    check(&mut table)?;
    let first = ms();
    (0..READS).try_for_each(|_| check(&mut table))?;
    let next = ms();
    while table.store.recovery().stage == RecoveryStage::Replaying {
        std::thread::sleep(LOOK);
    }
    let all = ms();
    (0..10_000).try_for_each(|_| check(&mut table))?;
    table.close()?;
    Ok([opened, first, next, all])
}
