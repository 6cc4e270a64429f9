//! Bytes written for bytes updated, and disk for live bytes, in the steady state of uniform read-modify-write over
//! state 8 times the budget; and the disk after windows were opened and closed.

use crate::harness::disk::directory_bytes;
use crate::harness::generate::{Draw, KEY_BYTES, Op, Random};
use crate::harness::table::{Every, Table, engine, live_bytes, store_options};
use crate::harness::{Outcome, Run, Target, median};
use alluvium::Key;
use std::path::Path;
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 100;
/// Keys in a batch.
const BATCH: usize = 256;

pub fn run(run: &mut Run) -> Outcome {
    if run.wants("uniform RMW") {
        steady_state(run)?;
    }
    if run.wants("windows") {
        windows(run)?;
    }
    Ok(())
}

/// What was done and written up to a moment.
#[derive(Clone, Copy)]
struct Mark {
    updates: u64,
    written_bytes: u64,
    flushed_bytes: u64,
    compacted_bytes: u64,
}

fn mark(table: &Table, updates: u64) -> Mark {
    let metrics = table.store.metrics();
    Mark {
        updates,
        written_bytes: metrics.io.written_bytes,
        flushed_bytes: metrics.flushed_bytes,
        compacted_bytes: metrics.compacted_bytes,
    }
}

fn steady_state(run: &mut Run) -> Outcome {
    let case = "uniform RMW";
    let budget: usize = run.pick(64 << 20, 256 << 20);
    let n = 8 * budget as u64 / (KEY_BYTES + VALUE_BYTES) as u64;
    let live = live_bytes(n, VALUE_BYTES);
    let directory = run.directory()?;
    let mut table = Table::create(&engine(budget)?, directory.path(), store_options())?;
    run.note(&format!("loading {n} records, {} MB", live / 1_000_000));
    table.load_values::<VALUE_BYTES>(n, n / 8)?;
    table.check_values::<VALUE_BYTES>(n, 1000)?;
    // Steady once the state was written over so often, or when time is out.
    let (rounds, limit) = run.pick((3, Duration::from_secs(90)), (6, Duration::from_secs(1800)));
    let started = Instant::now();
    let mut random = Random::new(run.seed());
    let mut period = Every::new(Duration::from_secs(10));
    let mut marks = vec![mark(&table, 0)];
    let mut disk = Vec::new();
    let mut updates = 0;
    while updates < rounds * n && started.elapsed() < limit {
        updates += update_batch(&mut table, n, &mut random)?;
        if period.is_due() {
            table.checkpoint()?;
            marks.push(mark(&table, updates));
            disk.push(directory_bytes(directory.path())? as f64 / live as f64);
            run.note(&format!("{updates} updates, disk {:.2} x live", disk.last().unwrap_or(&0.0)));
        }
    }
    table.checkpoint()?;
    marks.push(mark(&table, updates));
    disk.push(directory_bytes(directory.path())? as f64 / live as f64);
    run.figure(case, "updates / records", updates as f64 / n as f64, "x")?;
    run.figure(case, "updates", updates as f64 / started.elapsed().as_secs_f64(), "op/s")?;
    report(run, case, &marks, disk)?;
    table.close()
}

fn update_batch(table: &mut Table, n: u64, random: &mut Random) -> Outcome<u64> {
    let ops: Vec<Op> = (0..BATCH).map(|_| Op::of(random.below(n))).collect();
    let keys: Vec<Key<'_>> = ops.iter().map(Op::key).collect();
    table.writer.update_many(table.state, &keys, |_, _| {
        let mut value = [0; VALUE_BYTES];
        random.fill(&mut value);
        Some(value)
    })?;
    Ok(BATCH as u64)
}

/// Of the second half of the run, in which what loading left behind is gone.
fn report(run: &mut Run, case: &str, marks: &[Mark], disk: Vec<f64>) -> Outcome {
    let (Some(middle), Some(last)) = (marks.get(marks.len() / 2 - 1), marks.last()) else { return Ok(()) };
    let logical = ((last.updates - middle.updates) * (KEY_BYTES + VALUE_BYTES) as u64) as f64;
    let over = |bytes: fn(&Mark) -> u64| (bytes(last) - bytes(middle)) as f64 / logical;
    run.result(case, "written / updated", over(|mark| mark.written_bytes), "x", Target::AtMost(5.0))?;
    run.figure(case, "of it flushes", over(|mark| mark.flushed_bytes), "x")?;
    run.figure(case, "of it compactions", over(|mark| mark.compacted_bytes), "x")?;
    let greatest = disk.iter().copied().fold(0.0, f64::max);
    run.result(case, "disk / live, median", median(disk), "x", Target::AtMost(1.5))?;
    run.figure(case, "disk / live, greatest", greatest, "x")
}

/// Windows as namespaces: each is filled, and deleted key by key when it is closed.
fn windows(run: &mut Run) -> Outcome {
    let case = "windows";
    let budget: usize = run.pick(32 << 20, 256 << 20);
    let directory = run.directory()?;
    let mut table = Table::create(&engine(budget)?, directory.path(), store_options())?;
    let open = 8_u64;
    // All open windows together are twice the budget.
    let keys = 2 * budget as u64 / open / (KEY_BYTES + 8 + VALUE_BYTES) as u64;
    let windows = run.pick(24, 64);
    run.note(&format!("{windows} windows of {keys} keys"));
    let mut random = Random::new(run.seed());
    let mut most = 0;
    for window in 0..windows + open {
        if window < windows {
            fill(&mut table, window, keys, &mut random)?;
        }
        if let Some(closed) = window.checked_sub(open) {
            close(&mut table, closed, keys)?;
        }
        table.checkpoint()?;
        most = most.max(directory_bytes(directory.path())?);
    }
    let left = directory_bytes(directory.path())?;
    let started = Instant::now();
    table.store.compact()?;
    table.checkpoint()?;
    run.figure(case, "compaction and checkpoint", started.elapsed().as_secs_f64() * 1e3, "ms")?;
    run.figure(case, "disk, greatest", most as f64 / 1e6, "MB")?;
    run.figure(case, "disk, all closed", left as f64 / 1e6, "MB")?;
    settled(directory.path())?;
    let end = directory_bytes(directory.path())?;
    run.result(case, "disk, all closed and compacted", end as f64 / 1e6, "MB", Target::AtMost(1.0))?;
    table.close()
}

/// Files are removed behind a checkpoint: waits until their bytes stay the same.
fn settled(path: &Path) -> Outcome {
    let mut last = directory_bytes(path)?;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(250));
        let now = directory_bytes(path)?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(())
}

fn fill(table: &mut Table, window: u64, keys: u64, random: &mut Random) -> Outcome {
    let namespace = window.to_be_bytes();
    let mut value = [0; VALUE_BYTES];
    let draw = Draw::uniform(keys);
    for _ in 0..keys {
        random.fill(&mut value);
        let op = Op::of(draw.next(random));
        table.writer.put(table.state, op.key().in_namespace(&namespace), &value)?;
    }
    Ok(())
}

fn close(table: &mut Table, window: u64, keys: u64) -> Outcome {
    let namespace = window.to_be_bytes();
    for i in 0..keys {
        table.writer.delete(table.state, Op::of(i).key().in_namespace(&namespace))?;
    }
    Ok(())
}
