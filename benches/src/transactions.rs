//! Transactions: how long a commit holds its caller, what it leaves to the operations behind it, what an abort takes, and
//! what committed scans cost of what wasn't touched.

use crate::harness::generate::{Draw, Op};
use crate::harness::table::{Table, engine, store_options};
use crate::harness::{Outcome, Run, Target, median, wrong};
use alluvium::{Commit, Cursor, Key, MapRange, Packed, Reader, State, StateOptions, StoreOptions};
use std::time::Instant;

pub fn run(run: &mut Run) -> Outcome {
    if run.wants("commit") {
        commits(run)?;
    }
    if run.wants("scan") {
        scans(run)?;
    }
    Ok(())
}

fn transactional() -> StoreOptions {
    StoreOptions { transactional: true, ..store_options() }
}

/// Adds one to every counter of `keys`; returns the longest that one took, in ns.
fn touch(table: &mut Table, keys: &[Op]) -> Outcome<f64> {
    let mut longest = 0;
    for op in keys {
        let key = table.store.key(&op.bytes);
        let started = Instant::now();
        table.writer.update(table.state, key, |old| {
            let old = old.and_then(|old| old.try_into().ok()).map_or(0, u64::from_le_bytes);
            Some((old + 1).to_le_bytes())
        })?;
        longest = longest.max(started.elapsed().as_nanos());
    }
    Ok(longest as f64)
}

fn commits(run: &mut Run) -> Outcome {
    let n = run.pick(200_000, 2_000_000);
    let touched = run.pick(100_000, 1_000_000);
    let directory = run.directory()?;
    let mut table = Table::create(&engine(2 << 30)?, directory.path(), transactional())?;
    run.note(&format!("{n} keys: loading"));
    table.load_counters(n)?;
    table.writer.commit(Commit::default())?;
    let keys: Vec<Op> = (0..touched).map(Op::of).collect();
    let draws = Draw::uniform(n).sequence(touched as usize, run.seed());
    let (mut pauses, mut behind, mut rates, mut aborts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let rounds = run.pick(3, 9);
    for _ in 0..rounds {
        let started = Instant::now();
        touch(&mut table, &keys)?;
        rates.push(touched as f64 / started.elapsed().as_secs_f64());
        let started = Instant::now();
        table.writer.commit(Commit::default())?;
        pauses.push(started.elapsed().as_secs_f64() * 1e6);
        // What was kept is freed behind these; they are undone again.
        behind.push(touch(&mut table, &draws)? / 1e3);
        let started = Instant::now();
        table.writer.abort_transaction()?;
        aborts.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let value = table.writer.get(table.state, table.store.key(&Op::of(0).bytes))?;
    if value != Some((rounds as u64).to_le_bytes().to_vec()) {
        return wrong(format!("{value:?} after {rounds} commits"));
    }
    let case = format!("{} k records touched", touched / 1_000);
    let longest = pauses.iter().copied().fold(0.0, f64::max);
    run.result(&case, "longest commit", longest, "us", Target::AtMost(1_000.0))?;
    run.figure(&case, "commit", median(pauses), "us")?;
    run.figure(&case, "longest update behind it", median(behind), "us")?;
    run.figure(&case, "abort", median(aborts), "ms")?;
    run.figure(&case, "first updates of a transaction", median(rates), "updates/s")?;
    table.close()
}

/// A whole scan by a reader; entries/s.
fn scan(reader: &Reader, state: State, key: Key<'_>, wanted: u64) -> Outcome<f64> {
    let (mut cursor, mut out) = (Cursor::entries(state, key, &MapRange::all()), Packed::default());
    let mut found = 0;
    let started = Instant::now();
    while reader.fetch(&mut cursor, &mut out)? {
        found += out.len() as u64;
    }
    let rate = found as f64 / started.elapsed().as_secs_f64();
    if found == wanted { Ok(rate) } else { wrong(format!("{found} entries, should be {wanted}")) }
}

fn scans(run: &mut Run) -> Outcome {
    let n: u64 = run.pick(200_000, 2_000_000);
    let directory = run.directory()?;
    let mut table = Table::create(&engine(2 << 30)?, directory.path(), transactional())?;
    let state = table.store.state(StateOptions::map("map"))?;
    run.note(&format!("a map of {n} entries: loading"));
    let key = Key::new(alluvium::KeyGroup(0), b"map");
    for entry in 0..n {
        table.writer.map_put(state, key, &entry.to_be_bytes(), &[1; 16])?;
    }
    table.writer.commit(Commit::default())?;
    let (plain, committed) = (table.store.reader(), table.store.reader().committed());
    for (case, staged) in [("nothing staged", 0), ("one in 100 staged", n / 100)] {
        for entry in 0..staged {
            table.writer.map_put(state, key, &(entry * 100).to_be_bytes(), &[2; 16])?;
        }
        let mut ratios = Vec::new();
        let mut rates = Vec::new();
        for _ in 0..run.pick(3, 9) {
            let whole = scan(&plain, state, key, n)?;
            rates.push(whole);
            ratios.push(scan(&committed, state, key, n)? / whole);
        }
        run.figure(case, "scan of all", median(rates), "entries/s")?;
        run.figure(case, "committed scan / scan of all", median(ratios), "x")?;
    }
    table.close()
}
