//! One map with very many entries in one key group: entry gets against cell gets, popping the front, and scans.

use crate::harness::generate::{Draw, Random, scramble};
use crate::harness::process::Watch;
use crate::harness::table::{Table, engine, store_options};
use crate::harness::{Outcome, Run, Target, median, wrong};
use alluvium::{Key, KeyGroup, MapRange, State, StateOptions};
use std::ops::{Bound, ControlFlow};
use std::time::Instant;

/// Entries visited by one range scan.
const SCANNED: u64 = 100;

pub fn run(run: &mut Run) -> Outcome {
    let hot: u64 = run.pick(1_000_000, 10_000_000);
    if run.wants("in memory") {
        one_size(run, "in memory", hot, run.pick(1 << 30, 4 << 30))?;
    }
    if run.wants("beyond memory") {
        let n = run.pick(5_000_000, 100_000_000);
        one_size(run, "beyond memory", n, run.pick(64 << 20, 1 << 30))?;
    }
    Ok(())
}

/// The map, and beside it as many cells in the same key group.
struct Both {
    table: Table,
    map: State,
    n: u64,
}

/// The key that the map is under.
fn container() -> Key<'static> {
    Key::new(KeyGroup(5), b"the map")
}

/// The key of a cell in the key group of the map.
fn cell(bytes: &[u8]) -> Key<'_> {
    Key::new(KeyGroup(5), bytes)
}

fn one_size(run: &mut Run, case: &str, n: u64, budget_bytes: usize) -> Outcome {
    let directory = run.directory()?;
    let watch = Watch::start();
    let before_bytes = watch.anonymous_bytes();
    let table = Table::create(&engine(budget_bytes)?, directory.path(), store_options())?;
    let map = table.store.state(StateOptions::map("map"))?;
    let mut both = Both { table, map, n };
    run.note(&format!("{case}: loading {n} entries and {n} cells"));
    load(run, &mut both, case)?;
    gets(run, &mut both, case)?;
    scans(run, &mut both, case)?;
    pops(run, &mut both, case)?;
    let over = watch.anonymous_bytes().saturating_sub(before_bytes) as f64 - budget_bytes as f64;
    run.figure(case, "RssAnon over the budget, most", over / f64::from(1 << 20), "MiB")?;
    both.table.close()
}

fn load(run: &mut Run, both: &mut Both, case: &str) -> Outcome {
    let (n, state) = (both.n, both.table.state);
    let started = Instant::now();
    for i in 0..n {
        let at = scramble(i, n);
        both.table.writer.map_put(both.map, container(), &at.to_be_bytes(), &at.to_le_bytes())?;
        if i % (n / 8) == n / 8 - 1 {
            both.table.checkpoint()?;
        }
    }
    run.figure(case, "map_put", n as f64 / started.elapsed().as_secs_f64(), "op/s")?;
    let started = Instant::now();
    for i in 0..n {
        let at = scramble(i, n);
        both.table.writer.put(state, cell(&at.to_be_bytes()), &at.to_le_bytes())?;
        if i % (n / 8) == n / 8 - 1 {
            both.table.checkpoint()?;
        }
    }
    run.figure(case, "put", n as f64 / started.elapsed().as_secs_f64(), "op/s")
}

/// Entries and cells of the same numbers, in turns.
fn gets(run: &mut Run, both: &mut Both, case: &str) -> Outcome {
    run.note(&format!("{case}: gets"));
    let cold = case != "in memory";
    for (name, draw) in [("uniform", Draw::uniform(both.n)), ("zipf", Draw::zipf(both.n))] {
        let count = if cold { run.pick(20_000, 200_000) } else { run.pick(500_000, 2_000_000) };
        let (mut entries, mut cells, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..run.pick(3, 7) {
            let numbers = draw.numbers(count, run.seed() + turn);
            let entry = entry_gets(both, &numbers)?;
            let cell = cell_gets(both, &numbers)?;
            entries.push(entry);
            cells.push(cell);
            ratios.push(entry / cell);
        }
        run.figure(case, &format!("{name} entry get"), median(entries), "op/s")?;
        run.figure(case, &format!("{name} cell get"), median(cells), "op/s")?;
        run.result(case, &format!("{name} entry get / cell get"), median(ratios), "x", Target::AtLeast(0.5))?;
    }
    Ok(())
}

fn entry_gets(both: &mut Both, numbers: &[u64]) -> Outcome<f64> {
    let started = Instant::now();
    let mut right = 0;
    for &i in numbers {
        let expected = i.to_le_bytes();
        let same = |found: Option<&[u8]>| found == Some(&expected[..]);
        right += usize::from(both.table.writer.map_read(both.map, container(), &i.to_be_bytes(), same)?);
    }
    all_right(right, numbers.len(), started)
}

fn cell_gets(both: &mut Both, numbers: &[u64]) -> Outcome<f64> {
    let started = Instant::now();
    let mut right = 0;
    for &i in numbers {
        let expected = i.to_le_bytes();
        let same = |found: Option<&[u8]>| found == Some(&expected[..]);
        right += usize::from(both.table.writer.read(both.table.state, cell(&i.to_be_bytes()), same)?);
    }
    all_right(right, numbers.len(), started)
}

fn all_right(right: usize, count: usize, started: Instant) -> Outcome<f64> {
    if right != count {
        return wrong(format!("{} of {count} reads are wrong", count - right));
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

fn scans(run: &mut Run, both: &mut Both, case: &str) -> Outcome {
    run.note(&format!("{case}: scans"));
    // Changes here and there, so that scans merge memory and disk.
    let mut random = Random::new(run.seed());
    for _ in 0..10_000 {
        let i = random.below(both.n);
        both.table.writer.map_put(both.map, container(), &i.to_be_bytes(), &i.to_le_bytes())?;
    }
    let count = run.pick(500, 5_000);
    for (name, reverse) in [("range scan", false), ("reverse scan", true)] {
        let started = Instant::now();
        for _ in 0..count {
            short_scan(both, random.below(both.n - SCANNED), reverse)?;
        }
        let ns = started.elapsed().as_nanos() as f64 / count as f64;
        run.figure(case, &format!("{name} of {SCANNED}, each"), ns / 1e3, "us")?;
    }
    for (name, range) in [("whole scan", MapRange::all()), ("whole reverse scan", MapRange::all().reversed())] {
        let started = Instant::now();
        whole_scan(both, &range, name == "whole reverse scan")?;
        run.figure(case, name, both.n as f64 / started.elapsed().as_secs_f64(), "entries/s")?;
    }
    Ok(())
}

fn short_scan(both: &mut Both, from: u64, reverse: bool) -> Outcome {
    let (low, high) = (from.to_be_bytes(), (from + SCANNED).to_be_bytes());
    let range = MapRange::between(Bound::Included(&low), Bound::Excluded(&high));
    let range = if reverse { range.reversed() } else { range };
    let mut visited = 0;
    let mut right = true;
    both.table.writer.map_scan(both.map, container(), &range, |user_key, _| {
        let expected = if reverse { from + SCANNED - 1 - visited } else { from + visited };
        right &= user_key == expected.to_be_bytes();
        visited += 1;
        ControlFlow::Continue(())
    })?;
    if right && visited == SCANNED { Ok(()) } else { wrong(format!("a scan from {from} saw {visited} entries")) }
}

fn whole_scan(both: &mut Both, range: &MapRange<'_>, reverse: bool) -> Outcome {
    let n = both.n;
    let mut visited = 0;
    let mut right = true;
    both.table.writer.map_scan(both.map, container(), range, |user_key, value| {
        let expected = if reverse { n - 1 - visited } else { visited };
        right &= user_key == expected.to_be_bytes() && value == expected.to_le_bytes();
        visited += 1;
        ControlFlow::Continue(())
    })?;
    if right && visited == n { Ok(()) } else { wrong(format!("a whole scan saw {visited} of {n} entries")) }
}

/// The front, popped early and after very many pops.
fn pops(run: &mut Run, both: &mut Both, case: &str) -> Outcome {
    let many = run.pick(both.n / 2, (both.n / 2).min(10_000_000));
    let counted = 10_000;
    run.note(&format!("{case}: {many} pops"));
    let mut next = 0;
    let early = pop(both, &mut next, counted)?;
    let all = pop(both, &mut next, many)?;
    let late = pop(both, &mut next, counted)?;
    run.figure(case, "pop_first, the first", early, "ns")?;
    run.figure(case, &format!("pop_first, the next {} M", many as f64 / 1e6), all, "ns")?;
    run.figure(case, "pop_first, after them", late, "ns")?;
    run.result(case, "pop_first, after them / the first", late / early, "x", Target::AtMost(3.0))?;
    // As a queue of timers: put somewhere behind the front, pop the front.
    let mut random = Random::new(run.seed());
    let started = Instant::now();
    for _ in 0..counted {
        let at = next + 1 + random.below(both.n - next - 1);
        both.table.writer.map_put(both.map, container(), &at.to_be_bytes(), &at.to_le_bytes())?;
        pop(both, &mut next, 1)?;
    }
    run.figure(case, "put behind the front and pop_first", started.elapsed().as_nanos() as f64 / counted as f64, "ns")
}

/// Pops `count` times, which must give the entries in order; gives ns for each.
fn pop(both: &mut Both, next: &mut u64, count: u64) -> Outcome<f64> {
    let started = Instant::now();
    for _ in 0..count {
        let popped = both.table.writer.map_pop_first(both.map, container())?;
        let right =
            popped.is_some_and(|(user_key, value)| user_key == next.to_be_bytes() && value == next.to_le_bytes());
        if !right {
            return wrong(format!("the pop after {next} is wrong"));
        }
        *next += 1;
    }
    Ok(started.elapsed().as_nanos() as f64 / count as f64)
}
