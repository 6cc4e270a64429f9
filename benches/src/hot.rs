//! Counters in memory, one thread, against `hashbrown::HashMap<Box<[u8]>, u64>` on the same keys in the same run.

use crate::harness::generate::{Draw, KEY_BYTES, Op};
use crate::harness::latency::Latency;
use crate::harness::process::CpuClock;
use crate::harness::table::{Table, engine, plus_one, store_options};
use crate::harness::{Outcome, Run, Target, median, wrong};
use alluvium::Key;
use std::time::Instant;

type Map = hashbrown::HashMap<Box<[u8]>, u64, foldhash::fast::RandomState>;

/// Keys in a batch.
const BATCH: usize = 32;

/// Operations/s of the three ways, and latencies of the first two.
struct Figures {
    map: Vec<f64>,
    plain: Vec<f64>,
    batched: Vec<f64>,
    map_latency: Latency,
    plain_latency: Latency,
}

pub fn run(run: &mut Run) -> Outcome {
    for n in [1_000_000, run.pick(4_000_000, 10_000_000)] {
        let size = format!("{} M", n / 1_000_000);
        if run.wants(&size) {
            one_size(run, n, &size)?;
        }
    }
    Ok(())
}

fn one_size(run: &mut Run, n: u64, size: &str) -> Outcome {
    let directory = run.directory()?;
    let engine = engine(2 << 30)?;
    let mut table = Table::create(&engine, directory.path(), store_options())?;
    run.note(&format!("{size} keys: loading"));
    let started = Instant::now();
    table.load_counters(n)?;
    run.figure(size, "load", n as f64 / started.elapsed().as_secs_f64(), "op/s")?;
    let overhead = |table: &Table| table.store.metrics().memory_bytes as f64 / n as f64 - (KEY_BYTES + 8) as f64;
    run.figure(size, "memory a record, beside key and value, all changed", overhead(&table), "B")?;
    table.checkpoint()?;
    // What a flush leaves behind is freed bit by bit, by the operations that follow.
    for i in 0..n / 10 {
        table.writer.read(table.state, Op::of(i).key(), |_| ())?;
    }
    run.result(size, "memory a record, beside key and value", overhead(&table), "B", Target::AtMost(24.0))?;
    let mut map = Map::default();
    for i in 0..n {
        map.insert(Op::of(i).bytes.into(), 0);
    }
    let count = run.pick(2_000_000, 8_000_000);
    for (name, draw) in [("zipf", Draw::zipf(n)), ("uniform", Draw::uniform(n))] {
        run.note(&format!("{size} keys: {name}"));
        let ops = draw.sequence(count, run.seed());
        let figures = compare(run, &mut table, &mut map, &ops)?;
        report(run, &format!("{size} {name}"), &figures)?;
    }
    check(&mut table, &map, n)?;
    table.close()
}

/// Repeats all ways in turn, so that whatever disturbs the machine disturbs all.
fn compare(run: &Run, table: &mut Table, map: &mut Map, ops: &[Op]) -> Outcome<Figures> {
    let mut figures = Figures {
        map: Vec::new(),
        plain: Vec::new(),
        batched: Vec::new(),
        map_latency: Latency::new()?,
        plain_latency: Latency::new()?,
    };
    for repeat in 0..=run.pick(3, 7) {
        let plain = plain_updates(table, ops, &mut figures.plain_latency)?;
        let batched = batched_updates(table, ops)?;
        // Twice, as the engine counted each operation twice as well.
        let twice = [0, 1].map(|_| map_updates(map, ops, &mut figures.map_latency));
        let mapped = (twice[0] + twice[1]) / 2.0;
        if repeat > 0 {
            figures.map.push(mapped);
            figures.plain.push(plain);
            figures.batched.push(batched);
        }
    }
    Ok(figures)
}

fn rate(ops: &[Op], started: CpuClock) -> f64 {
    ops.len() as f64 / started.elapsed().as_secs_f64()
}

fn map_updates(map: &mut Map, ops: &[Op], latency: &mut Latency) -> f64 {
    let started = CpuClock::start();
    for (index, op) in ops.iter().enumerate() {
        latency.sample(index, || {
            if let Some(counter) = map.get_mut(&op.bytes[..]) {
                *counter += 1;
            }
        });
    }
    rate(ops, started)
}

fn plain_updates(table: &mut Table, ops: &[Op], latency: &mut Latency) -> Outcome<f64> {
    let (state, writer) = (table.state, &mut table.writer);
    let started = CpuClock::start();
    for (index, op) in ops.iter().enumerate() {
        latency.sample(index, || writer.update(state, op.key(), plus_one))?;
    }
    Ok(rate(ops, started))
}

fn batched_updates(table: &mut Table, ops: &[Op]) -> Outcome<f64> {
    let (state, writer) = (table.state, &mut table.writer);
    let mut keys: Vec<Key<'_>> = Vec::with_capacity(BATCH);
    let started = CpuClock::start();
    for batch in ops.chunks(BATCH) {
        keys.clear();
        keys.extend(batch.iter().map(Op::key));
        writer.update_many(state, &keys, |_, old| plus_one(old))?;
    }
    Ok(rate(ops, started))
}

fn report(run: &mut Run, case: &str, figures: &Figures) -> Outcome {
    run.figure(case, "hashbrown", median(figures.map.clone()), "op/cpu s")?;
    run.figure(case, "update", median(figures.plain.clone()), "op/cpu s")?;
    run.figure(case, "update_many(32)", median(figures.batched.clone()), "op/cpu s")?;
    let ratio = |ours: &[f64]| median(ours.iter().zip(&figures.map).map(|(ours, map)| ours / map).collect());
    run.result(case, "update / hashbrown", ratio(&figures.plain), "x", Target::AtLeast(1.0))?;
    run.result(case, "update_many(32) / hashbrown", ratio(&figures.batched), "x", Target::AtLeast(2.0))?;
    figures.map_latency.report(run, case, "hashbrown")?;
    figures.plain_latency.report(run, case, "update")
}

/// Both counted the same.
fn check(table: &mut Table, map: &Map, n: u64) -> Outcome {
    for i in (0..n).step_by(997) {
        let op = Op::of(i);
        let ours = table.writer.get(table.state, op.key())?;
        let theirs = map.get(&op.bytes[..]).map(|counter| counter.to_le_bytes().to_vec());
        if ours != theirs {
            return wrong(format!("key {i}: {ours:?}, should be {theirs:?}"));
        }
    }
    Ok(())
}
