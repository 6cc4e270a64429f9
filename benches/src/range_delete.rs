//! Deleting nearly all of a map of ten million entries by range: how long the caller is held up, wherever they are, and
//! what the operations after it feel of it.

use crate::harness::latency::Latency;
use crate::harness::table::{Table, engine, plus_one, store_options};
use crate::harness::{Outcome, Run, Target, wrong};
use alluvium::{Key, KeyGroup, MapRange, State, StateOptions};
use std::ops::ControlFlow;
use std::time::Instant;

/// Entries that stay, at the end of the map.
const LEFT: u64 = 1_000;
/// Counters that are updated before and afterwards.
const COUNTERS: u64 = 10_000;

/// Where the entries are when they are deleted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In memory, and on disk as well.
    Clean,
    /// In memory alone.
    Dirty,
    /// In memory, and being flushed.
    InFlight,
    /// On disk, but for a few.
    Disk,
}

pub fn run(run: &mut Run) -> Outcome {
    let places = [
        ("clean", Place::Clean),
        ("dirty", Place::Dirty),
        ("being flushed", Place::InFlight),
        ("on disk", Place::Disk),
    ];
    for (case, place) in places {
        if run.wants(case) {
            one_place(run, case, place)?;
        }
    }
    Ok(())
}

/// The key that the map is under.
fn container() -> Key<'static> {
    Key::new(KeyGroup(5), b"the map")
}

fn one_place(run: &mut Run, case: &str, place: Place) -> Outcome {
    let n: u64 = run.pick(1_000_000, 10_000_000);
    let budget_bytes = if place == Place::Disk { run.pick(16 << 20, 64 << 20) } else { run.pick(1 << 30, 4 << 30) };
    let directory = run.directory()?;
    let mut table = Table::create(&engine(budget_bytes)?, directory.path(), store_options())?;
    let map = table.store.state(StateOptions::map("map"))?;
    run.note(&format!("{case}: loading {n} entries"));
    table.load_counters(COUNTERS)?;
    for i in 0..n {
        table.writer.map_put(map, container(), &i.to_be_bytes(), &i.to_le_bytes())?;
    }
    let pending = match place {
        Place::Dirty => None,
        Place::InFlight => Some(table.barrier()?),
        Place::Clean | Place::Disk => {
            table.checkpoint()?;
            None
        }
    };
    let operations = run.pick(100_000, 1_000_000);
    updates(run, &mut table, &format!("{case}, before"), operations)?;
    let started = Instant::now();
    table.writer.map_expire(map, container(), n - LEFT)?;
    let pause_ms = started.elapsed().as_secs_f64() * 1e3;
    run.result(case, "the call that deletes", pause_ms, "ms", Target::AtMost(1.0))?;
    after(run, &mut table, map, case, n)?;
    updates(run, &mut table, &format!("{case}, after"), operations)?;
    if let Some(pending) = pending {
        pending.wait()?;
        // What waited for the flush comes free now.
        updates(run, &mut table, &format!("{case}, flush ended"), operations)?;
    }
    table.checkpoint()?;
    after(run, &mut table, map, &format!("{case}, flushed"), n)?;
    table.close()
}

/// The first entry and a whole scan, both checked.
fn after(run: &mut Run, table: &mut Table, map: State, case: &str, n: u64) -> Outcome {
    let started = Instant::now();
    let first = table.writer.map_first(map, container())?;
    run.figure(case, "map_first", started.elapsed().as_secs_f64() * 1e3, "ms")?;
    if first.is_none_or(|(user_key, _)| user_key != (n - LEFT).to_be_bytes()) {
        return wrong("the first entry is another one");
    }
    let mut entries = 0;
    let started = Instant::now();
    table.writer.map_scan(map, container(), &MapRange::all(), |_, _| {
        entries += 1;
        ControlFlow::Continue(())
    })?;
    run.figure(case, "scan of the 1,000 left", started.elapsed().as_secs_f64() * 1e3, "ms")?;
    let started = Instant::now();
    let gone = table.writer.map_get(map, container(), &7_u64.to_be_bytes())?;
    run.figure(case, "map_get of one that is gone", started.elapsed().as_secs_f64() * 1e3, "ms")?;
    if entries != LEFT || gone.is_some() {
        return wrong(format!("{entries} entries are left, should be {LEFT}"));
    }
    Ok(())
}

/// Updates of counters, each timed.
fn updates(run: &mut Run, table: &mut Table, case: &str, operations: u64) -> Outcome {
    let mut latency = Latency::new()?;
    let started = Instant::now();
    for i in 0..operations {
        let op = crate::harness::generate::Op::of(i % COUNTERS);
        let begun = Instant::now();
        table.writer.update(table.state, op.key(), plus_one)?;
        latency.add(begun.elapsed().as_nanos() as u64);
    }
    run.figure(case, "update", operations as f64 / started.elapsed().as_secs_f64(), "op/s")?;
    run.figure(case, "update, p99.9", latency.percentile(99.9) / 1e3, "us")?;
    run.figure(case, "update, the longest", latency.max() / 1e3, "us")
}
