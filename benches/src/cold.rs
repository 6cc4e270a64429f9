//! State 8 times the budget: reads and read-modify-writes one by one and through batches, against what the disk gives
//! in the same run.

use crate::harness::disk::RawReads;
use crate::harness::generate::{Draw, KEY_BYTES, Op, Random};
use crate::harness::latency::Latency;
use crate::harness::table::{Every, Table, engine, store_options};
use crate::harness::{Outcome, Run, Target, median, wrong};
use alluvium::{Batch, Key, Operation, Ticket};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 256;
/// Keys in a batch.
const BATCH: usize = 256;

/// Batches that are in flight at once where they are submitted.
const IN_FLIGHT: usize = 4;

/// RocksDB's figures in the same setting on a machine of this kind (docs/benchmarks.md), in op/s: only to orient.
const ROCKSDB: [(&str, f64, f64); 2] = [("uniform", 16_000.0, 3.0), ("zipf", 41_000.0, 5.0)];

pub fn run(run: &mut Run) -> Outcome {
    let budget: usize = run.pick(64 << 20, 512 << 20);
    let n = 8 * budget as u64 / (KEY_BYTES + VALUE_BYTES) as u64;
    let directory = run.directory()?;
    let mut table = Table::create(&engine(budget)?, directory.path(), store_options())?;
    run.note(&format!("loading {n} records"));
    table.load_values::<VALUE_BYTES>(n, n / 8)?;
    table.check_values::<VALUE_BYTES>(n, 1000)?;
    let mut raw = RawReads::open(directory.path(), run.seed())?;
    for (name, rocksdb, factor) in ROCKSDB {
        if !run.wants(name) {
            continue;
        }
        let draw = if name == "zipf" { Draw::zipf(n) } else { Draw::uniform(n) };
        one_draw(run, &mut table, &mut raw, &draw, name, rocksdb * factor)?;
        // Compaction has taken files away meanwhile; those that are held open can still be read.
        raw = RawReads::open(directory.path(), run.seed())?;
    }
    table.close()
}

fn one_draw(run: &mut Run, table: &mut Table, raw: &mut RawReads, draw: &Draw, name: &str, goal: f64) -> Outcome {
    let time = run.pick(Duration::from_secs(3), Duration::from_secs(10));
    let mut random = Random::new(run.seed());
    let mut latency = Latency::new()?;
    run.note(&format!("{name}: warming up"));
    batched(table, draw, &mut random, time * 2)?;
    let before = table.store.metrics();
    let (mut plain_rates, mut batch_rates, mut raw_1, mut raw_256) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut ticket_rates = Vec::new();
    for _ in 0..run.pick(3, 5) {
        plain_rates.push(plain(table, draw, &mut random, time, &mut latency)?);
        batch_rates.push(batched(table, draw, &mut random, time)?);
        ticket_rates.push(tickets(table, draw, &mut random, time)?);
        raw_1.push(raw.rate(5_000, 1)?);
        raw_256.push(raw.rate(50_000, BATCH)?);
    }
    let after = table.store.metrics();
    let operations = (after.owner.operations - before.owner.operations) as f64;
    let blocks = (after.owner.blocks_read - before.owner.blocks_read) as f64;
    let cold = (after.owner.cold_lookups - before.owner.cold_lookups) as f64;
    let (plain, batched, raw_batch) = (median(plain_rates), median(batch_rates), median(raw_256));
    run.figure(name, "plain", plain, "op/s")?;
    run.result(name, "batches of 256", batched, "op/s", Target::AtLeast(goal))?;
    run.figure(name, "the disk, one read at once", median(raw_1), "reads/s")?;
    run.figure(name, "the disk, 256 reads at once", raw_batch, "reads/s")?;
    run.figure(name, "batches / the disk", batched / raw_batch, "x")?;
    let submitted = median(ticket_rates);
    run.figure(name, "submitted reads that the disk is needed for", submitted, "op/s")?;
    run.result(name, "those / the disk", submitted / raw_batch, "x", Target::AtLeast(0.6))?;
    run.figure(name, "cold lookups an operation (a batch of 32 in memory counts as one)", cold / operations, "")?;
    run.figure(name, "blocks read a cold lookup", blocks / cold.max(1.0), "")?;
    latency.report(run, name, "plain")
}

/// Half gets, half read-modify-writes, one by one.
fn plain(table: &mut Table, draw: &Draw, random: &mut Random, time: Duration, latency: &mut Latency) -> Outcome<f64> {
    let mut checkpoints = Every::new(Duration::from_secs(5));
    let mut value = [0; VALUE_BYTES];
    let (mut count, mut missing, mut spent) = (0, 0, Duration::ZERO);
    while spent < time {
        let ops: Vec<Op> = (0..BATCH).map(|_| Op::of(draw.next(random))).collect();
        random.fill(&mut value);
        let started = Instant::now();
        for (index, op) in ops.iter().enumerate() {
            let (writer, state) = (&mut table.writer, table.state);
            if index % 2 == 0 {
                missing += u64::from(latency.sample(index, || writer.read(state, op.key(), |found| found.is_none()))?);
            } else {
                writer.update(state, op.key(), |old| {
                    missing += u64::from(old.is_none());
                    Some(&value[..])
                })?;
            }
        }
        if checkpoints.is_due() {
            table.barrier()?;
        }
        spent += started.elapsed();
        count += BATCH;
    }
    none_missing(missing)?;
    Ok(count as f64 / spent.as_secs_f64())
}

/// Batches of gets and of read-modify-writes in turn.
fn batched(table: &mut Table, draw: &Draw, random: &mut Random, time: Duration) -> Outcome<f64> {
    let mut checkpoints = Every::new(Duration::from_secs(5));
    let mut value = [0; VALUE_BYTES];
    let (mut count, mut missing, mut spent, mut turn) = (0, 0, Duration::ZERO, 0);
    while spent < time {
        let ops: Vec<Op> = (0..BATCH).map(|_| Op::of(draw.next(random))).collect();
        let keys: Vec<Key<'_>> = ops.iter().map(Op::key).collect();
        random.fill(&mut value);
        let started = Instant::now();
        if turn % 2 == 0 {
            table.writer.get_many(table.state, &keys, |_, found| missing += u64::from(found.is_none()))?;
        } else {
            table.writer.update_many(table.state, &keys, |_, old| {
                missing += u64::from(old.is_none());
                Some(&value[..])
            })?;
        }
        if checkpoints.is_due() {
            table.barrier()?;
        }
        spent += started.elapsed();
        count += BATCH;
        turn += 1;
    }
    none_missing(missing)?;
    Ok(count as f64 / spent.as_secs_f64())
}

/// Batches of gets, submitted and polled, some of them in flight at once; how many of them the disk was needed for, a
/// second.
fn tickets(table: &mut Table, draw: &Draw, random: &mut Random, time: Duration) -> Outcome<f64> {
    let (mut missing, mut spent) = (0, Duration::ZERO);
    let mut in_flight: VecDeque<Ticket> = VecDeque::new();
    let before = table.store.metrics().owner.cold_lookups;
    while spent < time {
        let ops: Vec<Op> = (0..BATCH).map(|_| Op::of(draw.next(random))).collect();
        let mut batch = Batch::new();
        ops.iter().for_each(|op| batch.push(table.state, op.key(), Operation::Get));
        let started = Instant::now();
        in_flight.push_back(table.writer.submit(&batch)?);
        if in_flight.len() == IN_FLIGHT {
            let Some(mut oldest) = in_flight.pop_front() else { continue };
            while !oldest.is_done() {
                oldest.wait();
                for answer in table.writer.poll(&mut oldest)? {
                    missing += u64::from(answer.value()?.is_none());
                }
            }
        }
        spent += started.elapsed();
    }
    for mut ticket in in_flight {
        ticket.wait();
        for answer in table.writer.poll(&mut ticket)? {
            missing += u64::from(answer.value()?.is_none());
        }
    }
    none_missing(missing)?;
    let cold = table.store.metrics().owner.cold_lookups - before;
    Ok(cold as f64 / spent.as_secs_f64())
}

fn none_missing(missing: u64) -> Outcome {
    if missing == 0 { Ok(()) } else { wrong(format!("{missing} records were not found")) }
}
