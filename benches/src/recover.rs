//! Recovery with a cold page cache: time to the first correct read, and the random reads behind it against the disk's
//! own; by bytes and by number of segments; and with a changelog that is to be replayed.

use crate::harness::disk::{RawReads, directory_bytes, drop_caches};
use crate::harness::generate::{KEY_BYTES, KEY_GROUPS, Op, Random, value};
use crate::harness::table::{Table, engine, store_options};
use crate::harness::{Outcome, Run, Target, median, wrong};
use alluvium::{CheckpointSource, Durability, Key, KeyGroup, KeyGroupRange, Store, StoreOptions};
use std::path::Path;
use std::time::Instant;

mod tail;
mod warm;

const VALUE_BYTES: usize = 100;
const BUDGET_BYTES: usize = 256 << 20;
/// Reads of one kind after a recovery, in turns with those of the other.
const READS: usize = 100_000;
const TURNS: usize = 4;
/// Reads at once.
const BATCH: usize = 512;

pub fn run(run: &mut Run) -> Outcome {
    let sizes: &[u64] = if run.settings().quick { &[100, 1_000] } else { &[500, 5_000] };
    for &megabytes in sizes {
        let case = format!("{megabytes} MB");
        if run.wants(&case) {
            by_bytes(run, megabytes * 1_000_000, &case)?;
        }
    }
    let megabytes = run.pick(500, 5_000);
    let case = format!("{megabytes} MB, warming up");
    if run.wants(&case) {
        warm::run(run, megabytes * 1_000_000, &case)?;
    }
    let megabytes = run.pick(32, 256);
    let case = format!("{megabytes} MiB of changelog");
    if run.wants(&case) {
        tail::run(run, megabytes << 20, &case)?;
    }
    for stores in if run.settings().quick { [25, 250] } else { [250, 2_500] } {
        let case = format!("{} segments", stores * SEGMENTS_EACH);
        if run.wants(&case) {
            by_segments(run, stores, &case)?;
        }
    }
    Ok(())
}

fn by_bytes(run: &mut Run, bytes: u64, case: &str) -> Outcome {
    let n = bytes / (KEY_BYTES + VALUE_BYTES) as u64;
    let directory = run.directory()?;
    let mut table = Table::create(&engine(BUDGET_BYTES)?, directory.path(), store_options())?;
    run.note(&format!("{case}: loading {n} records"));
    table.load_values::<VALUE_BYTES>(n, (n / 16).max(1))?;
    table.checkpoint()?;
    table.close()?;
    let disk = directory_bytes(directory.path())?;
    run.figure(case, "on disk", disk as f64 / 1e6, "MB")?;
    let mut random = Random::new(run.seed());
    let mut times = Vec::new();
    for turn in 0..run.pick(3, 7) {
        let (mut table, ms, open_ms) = first_read(run, directory.path(), random.below(n))?;
        times.push(ms);
        run.note(&format!("{case}: first read after {ms:.2} ms, {open_ms:.2} of them to open"));
        if turn == 0 {
            drop_caches(run, directory.path())?;
            next_reads(run, &mut table, directory.path(), n, case)?;
            if directory_bytes(directory.path())? > disk + disk / 100 {
                return wrong("recovery copied segments");
            }
        }
        table.close()?;
    }
    run.result(case, "open to first correct read, median", median(times.clone()), "ms", Target::AtMost(10.0))?;
    run.figure(case, "open to first correct read, longest", times.into_iter().fold(0.0, f64::max), "ms")
}

/// Opens with an empty page cache and reads the `i`-th key: gives the store, and how long both took and opening took.
fn first_read(run: &Run, path: &Path, i: u64) -> Outcome<(Table, f64, f64)> {
    let engine = engine(BUDGET_BYTES)?;
    let mut wanted = [0; VALUE_BYTES];
    value(i, 0, &mut wanted);
    let op = Op::of(i);
    drop_caches(run, path)?;
    let started = Instant::now();
    let mut table = Table::open(&engine, path)?;
    let opened = started.elapsed();
    let found = table.writer.get(table.state, op.key())?;
    let elapsed = started.elapsed();
    if found.as_deref() != Some(&wanted[..]) {
        return wrong(format!("the first read, of key {i}, is wrong"));
    }
    Ok((table, elapsed.as_secs_f64() * 1e3, opened.as_secs_f64() * 1e3))
}

/// Random reads through batches, in turns with raw reads of the same files.
fn next_reads(run: &mut Run, table: &mut Table, path: &Path, n: u64, case: &str) -> Outcome {
    let mut raw = RawReads::open(path, run.seed())?;
    let mut random = Random::new(run.seed() + 1);
    let (mut ours, mut disk) = (0.0, 0.0);
    for _ in 0..TURNS {
        let numbers: Vec<u64> = (0..READS / TURNS).map(|_| random.below(n)).collect();
        let ops: Vec<Op> = numbers.iter().map(|&i| Op::of(i)).collect();
        let wanted: Vec<[u8; 8]> = numbers.iter().map(|&i| head(i)).collect();
        let mut right = 0;
        let started = Instant::now();
        for (ops, wanted) in ops.chunks(BATCH).zip(wanted.chunks(BATCH)) {
            let keys: Vec<Key<'_>> = ops.iter().map(Op::key).collect();
            table.writer.get_many(table.state, &keys, |index, found| {
                right += usize::from(found.and_then(<[u8]>::first_chunk) == Some(&wanted[index]));
            })?;
        }
        ours += started.elapsed().as_secs_f64();
        if right != ops.len() {
            return wrong(format!("{} of {} reads are wrong", ops.len() - right, ops.len()));
        }
        disk += (READS / TURNS) as f64 / raw.rate(READS / TURNS, BATCH)?;
    }
    let metrics = table.store.metrics();
    run.figure(case, "next 100,000 reads", ours * 1e3, "ms")?;
    run.figure(case, "the same number of the disk's", disk * 1e3, "ms")?;
    run.figure(case, "blocks read a read", metrics.owner.blocks_read as f64 / READS as f64, "")?;
    run.result(case, "next 100,000 reads / the disk's", ours / disk, "x", Target::AtMost(1.5))
}

/// The first bytes of a key's value.
fn head(i: u64) -> [u8; 8] {
    let mut bytes = [0; 8];
    value(i, 0, &mut bytes);
    bytes
}

/// Segments of each of the stores that are joined: fewer than compaction would merge.
const SEGMENTS_EACH: u64 = 4;
/// Records in each of these segments.
const RECORDS_EACH: u64 = 200;

/// The key groups of one of `stores` stores.
fn share(store: u64, stores: u64) -> KeyGroupRange {
    KeyGroupRange::new(store as u16, if store + 1 == stores { GROUPS - 1 } else { store as u16 })
}

/// Key groups of the job of many stores.
const GROUPS: u16 = 4096;

/// Many small stores joined into one, which then has all their segments.
fn by_segments(run: &mut Run, stores: u64, case: &str) -> Outcome {
    let parent = run.directory()?;
    let small = engine(64 << 20)?;
    run.note(&format!("{case}: making {stores} stores"));
    let options = |range| StoreOptions {
        key_groups: u32::from(GROUPS),
        range,
        durability: Durability::Host,
        hash_seed: Some(7),
        ..store_options()
    };
    let mut sources = Vec::new();
    for store in 0..stores {
        let path = parent.path().join(format!("{store}"));
        let mut table = Table::create(&small, &path, options(share(store, stores)))?;
        for segment in 0..SEGMENTS_EACH {
            for record in 0..RECORDS_EACH {
                let i = (store * SEGMENTS_EACH + segment) * RECORDS_EACH + record;
                let mut bytes = [0; VALUE_BYTES];
                value(i, 0, &mut bytes);
                table.writer.put(table.state, grouped(&Op::of(i), store), &bytes)?;
            }
            table.checkpoint()?;
        }
        table.close()?;
        sources.push(CheckpointSource { directory: path, label: None });
    }
    let path = parent.path().join("joined");
    let started = Instant::now();
    let joined = Store::restore(&small, &path, &sources, options(KeyGroupRange::new(0, GROUPS - 1)))?;
    run.figure(case, "restore", started.elapsed().as_secs_f64() * 1e3, "ms")?;
    let mut table = Table::of(joined)?;
    table.checkpoint()?;
    let segments = table.store.metrics().segments;
    run.figure(case, "segments", segments as f64, "")?;
    table.close()?;
    reopen_segments(run, &path, stores, case, &options(KeyGroupRange::new(0, GROUPS - 1)))
}

/// The key in a store's first key group.
fn grouped(op: &Op, store: u64) -> Key<'_> {
    Key::new(KeyGroup(store as u16), &op.bytes)
}

fn reopen_segments(run: &mut Run, path: &Path, stores: u64, case: &str, options: &StoreOptions) -> Outcome {
    debug_assert!(u32::from(GROUPS) > KEY_GROUPS);
    let mut random = Random::new(run.seed());
    let mut times = Vec::new();
    let n = stores * SEGMENTS_EACH * RECORDS_EACH;
    for turn in 0..run.pick(3, 7) {
        let engine = engine(BUDGET_BYTES)?;
        let i = random.below(n);
        let op = Op::of(i);
        drop_caches(run, path)?;
        let started = Instant::now();
        let mut table = Table::of(Store::open(&engine, path, options.clone())?)?;
        let opened = started.elapsed();
        let found = table.writer.get(table.state, grouped(&op, i / SEGMENTS_EACH / RECORDS_EACH))?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        run.note(&format!("{case}: opened after {:.2} ms", opened.as_secs_f64() * 1e3));
        if found.and_then(|found| found.first_chunk().copied()) != Some(head(i)) {
            return wrong(format!("the first read, of key {i}, is wrong"));
        }
        if turn == 0 {
            read_all_over(&mut table, n, &mut random)?;
        }
        table.close()?;
    }
    run.result(case, "open to first correct read, median", median(times.clone()), "ms", Target::AtMost(10.0))?;
    run.figure(case, "open to first correct read, longest", times.into_iter().fold(0.0, f64::max), "ms")
}

/// Reads that touch every segment, so that all of them get opened.
fn read_all_over(table: &mut Table, n: u64, random: &mut Random) -> Outcome {
    for i in (0..n).step_by(RECORDS_EACH as usize) {
        let i = i + random.below(RECORDS_EACH);
        let op = Op::of(i);
        let found = table.writer.get(table.state, grouped(&op, i / SEGMENTS_EACH / RECORDS_EACH))?;
        if found.and_then(|found| found.first_chunk().copied()) != Some(head(i)) {
            return wrong(format!("the value of key {i} is wrong"));
        }
    }
    Ok(())
}
