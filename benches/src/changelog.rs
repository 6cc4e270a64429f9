//! The changelog: what it takes of the writer's throughput, how long commits of many stores take to last, and how fast it is
//! replayed.

use crate::harness::generate::{Draw, Op};
use crate::harness::table::{Every, Table, engine, plus_one, store_options};
use crate::harness::{Outcome, Run, Target, median, wrong};
use alluvium::{
    Applying, Barrier, ChangelogOptions, Class, Commit, Durability, Engine, Handler, Key, LogMode, State, StateOptions,
    Store, StoreOptions,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How many updates go by between two looks at the clock.
const BETWEEN_LOOKS: usize = 64;
/// From one commit to the next.
const COMMIT_EVERY: Duration = Duration::from_millis(10);

pub fn run(run: &mut Run) -> Outcome {
    for (case, function) in [
        ("throughput", throughput as fn(&mut Run) -> Outcome),
        ("stores", stores),
        ("replay", replay),
        ("events", events),
    ] {
        if run.wants(case) {
            function(run)?;
        }
    }
    Ok(())
}

/// Opens what was just dropped: a thread of its engine may be at something for some moments more.
fn reopen(engine: &Engine, path: &std::path::Path) -> Outcome<Store> {
    loop {
        match Store::open(engine, path, logged()) {
            Err(error) if error.class() == Class::Retry => std::thread::sleep(Duration::from_millis(1)),
            outcome => return Ok(outcome?),
        }
    }
}

fn logged() -> StoreOptions {
    let changelog = ChangelogOptions { whole_replay_bytes: u64::MAX, ..ChangelogOptions::default() };
    StoreOptions { durability: Durability::Changelog, changelog, ..store_options() }
}

/// Adds one to counters for a while, with a commit every so often if the store has a changelog, and a checkpoint at the end;
/// updates/s until then.
fn turn(table: &mut Table, draws: &[Op], at: &mut usize, time: Duration, commits: bool) -> Outcome<f64> {
    let (started, mut due, mut count) = (Instant::now(), Every::new(COMMIT_EVERY), 0_u64);
    while started.elapsed() < time {
        for _ in 0..BETWEEN_LOOKS {
            table.writer.update(table.state, draws[*at].key(), plus_one)?;
            *at = (*at + 1) % draws.len();
        }
        count += BETWEEN_LOOKS as u64;
        if commits && due.is_due() {
            table.writer.commit(Commit::default())?;
        }
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    table.checkpoint()?;
    Ok(rate)
}

/// One thread's counters with a changelog, over the same without one, in turns.
fn throughput(run: &mut Run) -> Outcome {
    let n = run.pick(100_000, 1_000_000);
    let (rounds, time) = (run.pick(3, 9), Duration::from_millis(run.pick(300, 1_500)));
    for (case, draw) in [("uniform", Draw::uniform(n)), ("zipf 0.99", Draw::zipf(n))] {
        let directory = run.directory()?;
        let engine = engine(512 << 20)?;
        let mut plain = Table::create(&engine, &directory.path().join("plain"), store_options())?;
        let mut logs = Table::create(&engine, &directory.path().join("logs"), logged())?;
        let draws = draw.sequence(run.pick(1 << 18, 1 << 22), run.seed());
        for table in [&mut plain, &mut logs] {
            table.load_counters(n)?;
            table.checkpoint()?;
        }
        let (mut at, mut rates, mut ratios, mut bytes) = ([0; 2], Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let without = turn(&mut plain, &draws, &mut at[0], time, false)?;
            let before = logs.store.metrics().io.written_bytes;
            let with = turn(&mut logs, &draws, &mut at[1], time, true)?;
            bytes.push((logs.store.metrics().io.written_bytes - before) as f64 / (with * time.as_secs_f64()));
            rates.push(with);
            ratios.push(with / without);
        }
        let case = format!("{n} counters, {case}");
        run.figure(&case, "with a changelog", median(rates), "updates/s")?;
        run.figure(&case, "written per update, checkpoints included", median(bytes), "bytes")?;
        run.result(&case, "over checkpoints alone", median(ratios), "x", Target::AtLeast(0.9))?;
        logs.close()?;
        plain.close()?;
    }
    Ok(())
}

/// Stores that commit every 100 ms each: how long it takes until a commit lasts.
fn stores(run: &mut Run) -> Outcome {
    for count in [1_usize, 16, 200] {
        let directory = run.directory()?;
        let engine = engine(512 << 20)?;
        let mut tables = Vec::new();
        for number in 0..count {
            tables.push(Table::create(&engine, &directory.path().join(format!("{number}")), logged())?);
        }
        let samples = Arc::new(Mutex::new(Vec::new()));
        let rounds = run.pick(10, 50);
        let (period, mut committed) = (Duration::from_millis(100), 0_usize);
        let started = Instant::now();
        for round in 0..rounds {
            for (number, table) in tables.iter_mut().enumerate() {
                for key in 0..20 {
                    table.writer.update(table.state, Op::of(key).key(), plus_one)?;
                }
                // Spread over the period, as stores of many tasks are.
                let due = started + period * round + period * number as u32 / count as u32;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let (samples, asked) = (Arc::clone(&samples), Instant::now());
                table.writer.commit(Commit::default())?.when_lasting(move |outcome| {
                    let took = asked.elapsed().as_secs_f64() * 1e3;
                    if let (Ok(()), Ok(mut samples)) = (outcome, samples.lock()) {
                        samples.push(took);
                    }
                });
                committed += 1;
            }
        }
        let elapsed = started.elapsed().as_secs_f64();
        let fsyncs: u64 = tables.iter().map(|table| table.store.metrics().io.fsyncs).sum();
        for table in tables {
            table.close()?;
        }
        let mut samples =
            samples.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |samples| samples.clone());
        if samples.len() != committed {
            return wrong(format!("{} of {committed} commits lasted", samples.len()));
        }
        samples.sort_by(f64::total_cmp);
        let case = format!("{count} stores, 10 commits/s each");
        run.figure(&case, "commits", committed as f64 / elapsed, "commits/s")?;
        run.figure(&case, "until it lasts, median", samples[samples.len() / 2], "ms")?;
        run.figure(&case, "until it lasts, p99", samples[samples.len() * 99 / 100], "ms")?;
        run.figure(&case, "syncs per commit", fsyncs as f64 / committed as f64, "")?;
    }
    Ok(())
}

/// From opening a store to the first read, and to its last change, with a changelog behind its checkpoint.
fn replay(run: &mut Run) -> Outcome {
    let n = run.pick(200_000, 4_000_000);
    let updates = run.pick(500_000, 30_000_000);
    let directory = run.directory()?;
    let budget = 1 << 30;
    let engine_one = engine(budget)?;
    let mut table = Table::create(&engine_one, directory.path(), logged())?;
    table.load_counters(n)?;
    table.checkpoint()?;
    run.note(&format!("{n} counters, {updates} updates behind the checkpoint"));
    let draw = Draw::zipf(n);
    let draws = draw.sequence(run.pick(1 << 18, 1 << 22), run.seed());
    let mut expected = 0_u64;
    for index in 0..updates {
        let op = &draws[index % draws.len()];
        expected += u64::from(op.bytes == draws[0].bytes);
        table.writer.update(table.state, op.key(), plus_one)?;
    }
    table.writer.commit(Commit::default())?.wait()?;
    let before = table.store.last_commit().position;
    drop((table, engine_one));
    let started = Instant::now();
    let second: Engine = engine(budget)?;
    let store = reopen(&second, directory.path())?;
    run.figure("log tail", "length", before as f64 / (1 << 20) as f64, "MiB")?;
    run.figure("log tail", "opened", started.elapsed().as_secs_f64() * 1e3, "ms")?;
    let mut table = Table::of(store)?;
    let found = table.writer.get(table.state, draws[0].key())?;
    let elapsed = started.elapsed().as_secs_f64();
    if found != Some(expected.to_le_bytes().to_vec()) {
        return wrong(format!("{found:?} after recovery, should be {expected}"));
    }
    run.figure("log tail", "first read, all replayed", elapsed * 1e3, "ms")?;
    run.figure("log tail", "replayed", updates as f64 / elapsed, "updates/s")?;
    table.close()
}

/// How many panes of a sliding window an event falls into.
const PANES: u64 = 10;
/// How long an event is, its key included.
const EVENT_BYTES: usize = 60;

/// Adds an event's amount to the sums of its key in ten panes.
#[derive(Debug)]
struct Sliding(State);

impl Handler for Sliding {
    fn name(&self) -> &str {
        "sliding"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> alluvium::Result<()> {
        let key = Key::new(applying.group(), &event[..16]);
        let first = u64::from(event[16]);
        for pane in first..first + PANES {
            applying.update(self.0, key.in_namespace(&pane.to_be_bytes()), |old| {
                let old = old.and_then(|old| old.try_into().ok()).map_or(0, u64::from_le_bytes);
                Some((old + u64::from(event[17])).to_le_bytes())
            })?;
        }
        Ok(())
    }
}

/// What one mode of logging came to.
struct Logged {
    log_bytes: f64,
    events_per_s: f64,
    recovery_ms: f64,
    sums: u64,
}

/// Events behind a checkpoint in one mode, and a recovery from them.
fn events_in(run: &Run, mode: LogMode, draws: &[Op], events: u64) -> Outcome<Logged> {
    let directory = run.directory()?;
    let first = engine(1 << 30)?;
    let register = |store: &Store| -> Outcome<_> {
        let state = store.state(StateOptions::value("sums").log(mode))?;
        Ok((state, store.handler(Arc::new(Sliding(state)))?))
    };
    let store = Store::create(&first, directory.path(), logged())?;
    let (_, handler) = register(&store)?;
    let mut writer = store.writer(store.range())?;
    writer.barrier(Barrier::new(1))?.wait()?;
    let (started, mut due) = (Instant::now(), Every::new(COMMIT_EVERY));
    for index in 0..events {
        let op = &draws[index as usize % draws.len()];
        let mut event = [1; EVENT_BYTES];
        event[..16].copy_from_slice(&op.bytes);
        event[16] = (index / 10_000 % 200) as u8;
        writer.apply_event(handler, op.key().group, &event)?;
        if due.is_due() {
            writer.commit(Commit::default())?;
        }
    }
    let committed = writer.commit(Commit::default())?;
    committed.wait()?;
    let events_per_s = events as f64 / started.elapsed().as_secs_f64();
    let log_bytes = committed.position as f64;
    drop((writer, store, first));
    // The first one finds what is left of the process before it, and lets it end.
    drop(reopen(&engine(1 << 30)?, directory.path())?);
    let started = Instant::now();
    let second = engine(1 << 30)?;
    let store = reopen(&second, directory.path())?;
    let (state, _) = register(&store)?;
    let mut writer = store.writer(store.range())?;
    let recovery_ms = started.elapsed().as_secs_f64() * 1e3;
    let mut sums = 0;
    for op in &draws[..1_000.min(draws.len())] {
        for pane in 0..256_u64 {
            let sum = writer.get(state, op.key().in_namespace(&pane.to_be_bytes()))?;
            sums += sum.and_then(|sum| sum[..].try_into().ok()).map_or(0, u64::from_le_bytes);
        }
    }
    drop(writer);
    store.close()?;
    Ok(Logged { log_bytes, events_per_s, recovery_ms, sums })
}

/// Events that fall into ten panes each: logged as changes, as events, and as the shorter of both.
fn events(run: &mut Run) -> Outcome {
    let events = run.pick(50_000, 1_000_000);
    let draws = Draw::zipf(100_000).sequence(1 << 16, run.seed());
    let (mut bytes, mut times, mut sums) = (Vec::new(), Vec::new(), Vec::new());
    for (mode, name) in [(LogMode::State, "state"), (LogMode::Event, "event"), (LogMode::Auto, "auto")] {
        run.note(&format!("{events} events, logged as {name}"));
        let (mut rates, mut recoveries, mut log_bytes) = (Vec::new(), Vec::new(), 0.0);
        for _ in 0..run.pick(1, 3) {
            let logged = events_in(run, mode, &draws, events)?;
            rates.push(logged.events_per_s);
            recoveries.push(logged.recovery_ms);
            log_bytes = logged.log_bytes;
            sums.push(logged.sums);
        }
        let case = format!("{PANES} panes, {name}");
        run.figure(&case, "events", median(rates), "events/s")?;
        run.figure(&case, "logged", log_bytes / events as f64, "bytes/event")?;
        let recovery = median(recoveries);
        run.figure(&case, "recovered", recovery, "ms")?;
        bytes.push(log_bytes);
        times.push(recovery);
    }
    if sums.iter().any(|sum| *sum != sums[0]) {
        return wrong(format!("the modes recover different sums: {sums:?}"));
    }
    let auto = format!("{PANES} panes, auto");
    run.result(&auto, "bytes over the shorter", bytes[2] / bytes[0].min(bytes[1]), "x", Target::AtMost(1.1))?;
    run.result(&auto, "recovery over the faster", times[2] / times[0].min(times[1]), "x", Target::AtMost(1.2))
}
