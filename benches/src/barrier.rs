//! Barriers at full speed: how long they hold the writer, what they do to the operations behind them, and to
//! throughput, closed loop and at half of peak load.

use crate::harness::disk::SlowDisk;
use crate::harness::generate::{Draw, Op};
use crate::harness::latency::Latency;
use crate::harness::table::{Table, engine, plus_one, store_options};
use crate::harness::{Outcome, Run, Target, median};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Operations between two looks at the clock where single ones are not timed.
const SLICE: usize = 128;

/// What the slow disk writes.
const SLOW_BYTES_PER_S: u64 = 24 << 20;

/// A store under load: operations made beforehand, gone through again and again.
struct Load {
    table: Table,
    ops: Vec<Op>,
    at: usize,
}

pub fn run(run: &mut Run) -> Outcome {
    for n in [1_000_000, run.pick(4_000_000, 10_000_000)] {
        let size = format!("{} M", n / 1_000_000);
        if !run.wants(&size) {
            continue;
        }
        let directory = run.directory()?;
        let mut table = Table::create(&engine(2 << 30)?, directory.path(), store_options())?;
        run.note(&format!("{size} keys: loading"));
        table.load_counters(n)?;
        table.checkpoint()?;
        let ops = Draw::zipf(n).sequence(run.pick(4_000_000, 16_000_000), run.seed());
        let mut load = Load { table, ops, at: 0 };
        load.updates_for(Duration::from_secs(1))?;
        pauses(run, &mut load, &size)?;
        closed_loop(run, &mut load, &size)?;
        half_load(run, &mut load, &size)?;
        let busy = BusyDisk::start(directory.path().to_owned());
        half_load(run, &mut load, &format!("{size} busy disk"))?;
        drop(busy);
        match SlowDisk::start(directory.path(), SLOW_BYTES_PER_S) {
            Ok(slow) => {
                half_load(run, &mut load, &format!("{size} slow disk"))?;
                drop(slow);
            }
            Err(error) => run.note(&format!("{size} slow disk: left out, writes can't be limited here: {error}")),
        }
        load.table.close()?;
    }
    Ok(())
}

impl Load {
    #[inline]
    fn update(&mut self) -> Outcome {
        let op = &self.ops[self.at];
        self.at = if self.at + 1 == self.ops.len() { 0 } else { self.at + 1 };
        Ok(self.table.writer.update(self.table.state, op.key(), plus_one)?)
    }

    /// Updates without a pause until `done` says so; gives operations/s.
    fn updates_until(&mut self, mut done: impl FnMut(Instant) -> bool) -> Outcome<f64> {
        let started = Instant::now();
        let mut count = 0_usize;
        loop {
            for _ in 0..SLICE {
                self.update()?;
            }
            count += SLICE;
            let now = Instant::now();
            if done(now) {
                return Ok(count as f64 / (now - started).as_secs_f64());
            }
        }
    }

    fn updates_for(&mut self, time: Duration) -> Outcome<f64> {
        let until = Instant::now() + time;
        self.updates_until(|now| now >= until)
    }

    /// Updates, every one timed, from the end of one to the end of the next.
    fn timed_until(&mut self, latency: &mut Latency, mut done: impl FnMut(Instant) -> bool) -> Outcome {
        let mut last = Instant::now();
        loop {
            self.update()?;
            let now = Instant::now();
            latency.add((now - last).as_nanos() as u64);
            last = now;
            if done(now) {
                return Ok(());
            }
        }
    }
}

/// Many barriers, each after the one before is complete and some updates were made.
fn pauses(run: &mut Run, load: &mut Load, size: &str) -> Outcome {
    let wanted = run.pick(300, 4_000);
    run.note(&format!("{size} keys: {wanted} barriers"));
    let (mut barriers, mut during, mut between) = (Latency::new()?, Latency::new()?, Latency::new()?);
    let started = Instant::now();
    let mut checkpoints_ms = Vec::new();
    while barriers.count() < wanted {
        let until = Instant::now() + Duration::from_millis(5);
        load.timed_until(&mut between, |now| now >= until)?;
        let cut = Instant::now();
        let pending = load.table.barrier()?;
        barriers.add(cut.elapsed().as_nanos() as u64);
        // Looked at now and then only: it takes a lock.
        let mut turn = 0_u32;
        load.timed_until(&mut during, |_| {
            turn = turn.wrapping_add(1);
            turn.is_multiple_of(64) && pending.poll().is_some()
        })?;
        pending.wait()?;
        checkpoints_ms.push(cut.elapsed().as_secs_f64() * 1e3);
    }
    run.figure(size, "barriers", barriers.count() as f64, "")?;
    run.figure(size, "barriers, all together", started.elapsed().as_secs_f64(), "s")?;
    run.figure(size, "barrier p50", barriers.percentile(50.0) / 1e3, "us")?;
    run.figure(size, "barrier p99", barriers.percentile(99.0) / 1e3, "us")?;
    run.result(size, "barrier p99.9", barriers.percentile(99.9) / 1e3, "us", Target::AtMost(100.0))?;
    run.figure(size, "barrier longest", barriers.max() / 1e3, "us")?;
    run.figure(size, "complete after", median(checkpoints_ms), "ms")?;
    during.report(run, size, "operation until complete")?;
    between.report(run, size, "operation between checkpoints")
}

/// As fast as it goes: before, during and after a checkpoint.
fn closed_loop(run: &mut Run, load: &mut Load, size: &str) -> Outcome {
    let repeats = run.pick(5, 11);
    run.note(&format!("{size} keys: closed loop, {repeats} checkpoints"));
    let second = Duration::from_secs(1);
    let (mut after, mut dips, mut during_ms, mut rates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repeats {
        let before = load.updates_for(second)?;
        let started = Instant::now();
        let pending = load.table.barrier()?;
        let during = load.updates_until(|_| pending.poll().is_some())?;
        pending.wait()?;
        during_ms.push(started.elapsed().as_secs_f64() * 1e3);
        after.push(load.updates_for(second)? / before);
        dips.push((1.0 - during / before) * 100.0);
        rates.push(before);
    }
    run.figure(size, "closed loop, before", median(rates), "op/s")?;
    run.figure(size, "closed loop, checkpoint of a second's changes", median(during_ms), "ms")?;
    run.result(size, "second after / second before", median(after), "x", Target::AtLeast(0.9))?;
    run.result(size, "closed loop, dip during", median(dips), "%", Target::AtMost(30.0))
}

/// At half of what it could do, operations coming whether those before are done or not.
fn half_load(run: &mut Run, load: &mut Load, case: &str) -> Outcome {
    let peak = load.updates_for(Duration::from_secs(2))?;
    let per_second = peak / 2.0;
    run.note(&format!("{case} keys: open loop at {per_second:.0} op/s"));
    let (mut dips, mut worst_dips, mut during_ms, mut late) = (Vec::new(), Vec::new(), Vec::new(), Latency::new()?);
    for _ in 0..run.pick(5, 11) {
        let mut pace = Pace::new(per_second);
        pace.go(load, &mut late, |elapsed| elapsed >= Duration::from_secs(1))?;
        let pending = load.table.barrier()?;
        let (cut, done_before) = (pace.elapsed(), pace.done);
        pace.bins.clear();
        pace.go(load, &mut late, |_| pending.poll().is_some())?;
        pending.wait()?;
        let during = (pace.elapsed() - cut).as_secs_f64();
        during_ms.push(during * 1e3);
        let expected = during * per_second;
        dips.push((1.0 - (pace.done - done_before) as f64 / expected) * 100.0);
        worst_dips.push((1.0 - pace.worst_bin() / (per_second * BIN.as_secs_f64())) * 100.0);
    }
    run.figure(case, "half load", per_second, "op/s")?;
    run.figure(case, "half load, checkpoint of a second's changes", median(during_ms), "ms")?;
    run.result(case, "half load, dip during", median(dips), "%", Target::AtMost(10.0))?;
    run.figure(case, "half load, dip in the worst 100 ms", median(worst_dips), "%")?;
    run.figure(case, "half load, p99.9 from when it was due", late.percentile(99.9) / 1e3, "us")?;
    run.figure(case, "half load, longest from when it was due", late.max() / 1e3, "us")
}

/// How long throughput is averaged for the worst dip.
const BIN: Duration = Duration::from_millis(100);
/// Operations that come together at half load.
const ARRIVAL: usize = 64;

/// Operations that come at a steady rate.
struct Pace {
    started: Instant,
    period: Duration,
    /// Arrivals so far.
    arrivals: u32,
    done: usize,
    /// Operations done in each stretch of [`BIN`] since the bins were cleared.
    bins: Vec<(Duration, usize)>,
}

impl Pace {
    fn new(per_second: f64) -> Self {
        let period = Duration::from_secs_f64(ARRIVAL as f64 / per_second);
        Self { started: Instant::now(), period, arrivals: 0, done: 0, bins: Vec::new() }
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn go(&mut self, load: &mut Load, late: &mut Latency, mut done: impl FnMut(Duration) -> bool) -> Outcome {
        loop {
            let due = self.period * self.arrivals;
            while self.elapsed() < due {
                std::hint::spin_loop();
            }
            for _ in 0..ARRIVAL {
                load.update()?;
            }
            self.arrivals += 1;
            self.done += ARRIVAL;
            let now = self.elapsed();
            late.add((now - due).as_nanos() as u64);
            match self.bins.last_mut() {
                Some((start, count)) if now < *start + BIN => *count += ARRIVAL,
                _ => self.bins.push((now, ARRIVAL)),
            }
            if done(now) {
                return Ok(());
            }
        }
    }

    /// Operations done in the worst full stretch; the last one is rarely full.
    fn worst_bin(&self) -> f64 {
        let full = &self.bins[..self.bins.len().saturating_sub(1)];
        let fewest = full.iter().map(|&(_, count)| count).min();
        fewest.map_or(self.period.as_secs_f64().recip() * ARRIVAL as f64 * BIN.as_secs_f64(), |count| count as f64)
    }
}

/// Something else that keeps the disk busy: 4 MiB written and synced again and again.
struct BusyDisk {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl BusyDisk {
    fn start(directory: std::path::PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || -> std::io::Result<()> {
            let bytes = vec![7_u8; 4 << 20];
            let mut file = tempfile::tempfile_in(directory)?;
            while !stopped.load(Ordering::Relaxed) {
                std::io::Seek::rewind(&mut file)?;
                file.write_all(&bytes)?;
                file.sync_data()?;
            }
            Ok(())
        };
        let thread = std::thread::spawn(move || {
            if let Err(error) = work() {
                eprintln!("barrier: the disk isn't kept busy: {error}");
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for BusyDisk {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What went wrong there was printed there.
            let _ = thread.join();
        }
    }
}
