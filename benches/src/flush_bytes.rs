//! What a checkpoint writes against what changed: bytes of files new to it over unique changed key and value bytes,
//! counted here and not by the engine.

use crate::harness::generate::{Draw, KEY_BYTES, Op, Random};
use crate::harness::table::{Table, engine, store_options};
use crate::harness::{Outcome, Run, Target, median};
use alluvium::{CheckpointInfo, StoreOptions};
use std::time::{Duration, Instant};

/// A kind of changes.
struct Case {
    name: &'static str,
    zipf: bool,
    value_bytes: usize,
    /// Whether values are drawn at random instead of counted.
    random: bool,
    compress: bool,
    interval: Duration,
    checkpoints: usize,
}

pub fn run(run: &mut Run) -> Outcome {
    let case = |name, zipf, value_bytes, random, compress, seconds, checkpoints| Case {
        name,
        zipf,
        value_bytes,
        random,
        compress,
        interval: Duration::from_secs(seconds),
        checkpoints,
    };
    let (many, few) = run.pick((6, 2), (30, 6));
    let cases = [
        case("counters zipf, 1 s", true, 8, false, true, 1, many),
        case("counters zipf, 10 s", true, 8, false, true, 10, few),
        case("counters uniform, 1 s", false, 8, false, true, 1, many),
        case("counters zipf, uncompressed, 1 s", true, 8, false, false, 1, many),
        case("random 100 B zipf, 1 s", true, 100, true, true, 1, many),
        case("random 100 B zipf, 10 s", true, 100, true, true, 10, few),
    ];
    for case in &cases {
        if run.wants(case.name) {
            one_case(run, case)?;
        }
    }
    Ok(())
}

/// Which keys were changed since the last checkpoint.
struct Changed {
    seen: Vec<bool>,
    keys: Vec<u64>,
}

impl Changed {
    fn add(&mut self, i: u64) {
        if !std::mem::replace(&mut self.seen[i as usize], true) {
            self.keys.push(i);
        }
    }

    fn take(&mut self) -> u64 {
        let count = self.keys.len() as u64;
        for i in self.keys.drain(..) {
            self.seen[i as usize] = false;
        }
        count
    }
}

fn one_case(run: &mut Run, case: &Case) -> Outcome {
    run.note(case.name);
    let n: u64 = run.pick(1_000_000, 5_000_000);
    let directory = run.directory()?;
    let options = StoreOptions { compress: case.compress, ..store_options() };
    let mut table = Table::create(&engine(2 << 30)?, directory.path(), options)?;
    let mut random = Random::new(run.seed());
    let mut value = vec![0; case.value_bytes];
    for i in 0..n {
        table.writer.put(table.state, Op::of(i).key(), &value)?;
    }
    table.checkpoint()?;
    let draw = if case.zipf { Draw::zipf(n) } else { Draw::uniform(n) };
    let numbers = draw.numbers(1 << 20, run.seed());
    let mut changed = Changed { seen: vec![false; n as usize], keys: Vec::new() };
    let mut results: Vec<(u64, CheckpointInfo)> = Vec::new();
    let mut turn = 0_u64;
    for _ in 0..case.checkpoints {
        let until = Instant::now() + case.interval;
        while Instant::now() < until {
            for _ in 0..256 {
                let i = numbers[(turn % numbers.len() as u64) as usize];
                turn += 1;
                if case.random {
                    random.fill(&mut value);
                } else {
                    value[..8].copy_from_slice(&turn.to_le_bytes());
                }
                table.writer.put(table.state, Op::of(i).key(), &value)?;
                changed.add(i);
            }
        }
        let info = table.checkpoint()?;
        results.push((changed.take() * (KEY_BYTES + case.value_bytes) as u64, info));
    }
    report(run, case, &results)?;
    table.close()
}

fn report(run: &mut Run, case: &Case, results: &[(u64, CheckpointInfo)]) -> Outcome {
    let over = |bytes: fn(&CheckpointInfo) -> u64| {
        median(results.iter().map(|(changed, info)| bytes(info) as f64 / *changed as f64).collect())
    };
    let mean = |bytes: fn(&CheckpointInfo) -> u64| {
        let changed: u64 = results.iter().map(|(changed, _)| changed).sum();
        results.iter().map(|(_, info)| bytes(info)).sum::<u64>() as f64 / changed as f64
    };
    let changed = median(results.iter().map(|(changed, _)| *changed as f64 / 1e6).collect());
    run.figure(case.name, "unique changes a checkpoint", changed, "MB")?;
    run.result(case.name, "flushed / changed, median", over(|info| info.flushed_bytes), "x", Target::AtMost(1.3))?;
    run.figure(case.name, "all new files / changed, median", over(|info| info.new_bytes), "x")?;
    run.figure(case.name, "all new files / changed, together", mean(|info| info.new_bytes), "x")?;
    // The engine's own count, which only differs where a change came to nothing.
    run.figure(case.name, "changed by the engine's count / changed", over(|info| info.changed_bytes), "x")
}
