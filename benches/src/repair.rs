//! Taking bad events back: what being able to costs each event, and how long it takes against applying everything again.

use crate::harness::generate::{Draw, Op};
use crate::harness::table::{Every, engine, plus_one, store_options};
use crate::harness::{Outcome, Run, Target, median, wrong};
use alluvium::{
    Applying, Barrier, Commit, Durability, Engine, EventId, Handler, HandlerId, History, Key, LogMode, MergeOperator,
    State, StateOptions, Store, StoreOptions, Way, Writer,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const COMMIT_EVERY: Duration = Duration::from_millis(10);
/// Keys of the counters.
const KEYS: u64 = 1_000_000;

pub fn run(run: &mut Run) -> Outcome {
    if run.wants("traced") {
        traced(run)?;
    }
    if run.wants("inverse") {
        taken_back(run, "inverse", Way::Inverse)?;
    }
    if run.wants("reexecute") {
        taken_back(run, "reexecute", Way::Reexecute)?;
    }
    Ok(())
}

/// Counts an event's key, by reading and writing it, or by adding to it alone.
#[derive(Debug)]
struct Count {
    state: State,
    adds: bool,
}

impl Handler for Count {
    fn name(&self) -> &str {
        "count"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> alluvium::Result<()> {
        let key = Key::new(applying.group(), event);
        if self.adds {
            applying.merge(self.state, key, &1_u64.to_le_bytes())
        } else {
            applying.update(self.state, key, plus_one)
        }
    }
}

struct Subject {
    store: Store,
    writer: Writer,
    handler: HandlerId,
    state: State,
}

impl Subject {
    fn create(engine: &Engine, path: &Path, traced: bool, adds: bool) -> Outcome<Self> {
        let history = History { checkpoints: usize::from(traced) };
        let options = StoreOptions { durability: Durability::Changelog, history, ..store_options() };
        let store = Store::create(engine, path, options)?;
        let options =
            if adds { StateOptions::merging("counts", MergeOperator::U64Add) } else { StateOptions::value("counts") };
        let options = options.log(LogMode::Event);
        let state = store.state(if traced { options.traced() } else { options })?;
        let handler = store.handler(Arc::new(Count { state, adds }))?;
        let mut writer = store.writer(store.range())?;
        writer.barrier(Barrier::new(1))?.wait()?;
        Ok(Self { store, writer, handler, state })
    }

    /// Applies events of the keys that were drawn, and commits now and then; events/s, and bytes logged for each.
    fn apply(&mut self, draws: &[Op], from: u64, events: u64, known_by_id: bool) -> Outcome<(f64, f64)> {
        let first = self.store.position()?;
        let (started, mut due) = (Instant::now(), Every::new(COMMIT_EVERY));
        for offset in from..from + events {
            let op = &draws[offset as usize % draws.len()];
            let group = op.key().group;
            if known_by_id {
                let id = EventId { source: 0, offset };
                self.writer.apply_event_once(self.handler, group, id, &op.bytes)?;
            } else {
                self.writer.apply_event(self.handler, group, &op.bytes)?;
            }
            if due.is_due() {
                self.writer.commit(Commit::default())?;
            }
        }
        self.writer.commit(Commit::default())?.wait()?;
        let elapsed = started.elapsed().as_secs_f64();
        Ok((events as f64 / elapsed, (self.store.position()? - first) as f64 / events as f64))
    }

    fn sum(&mut self, draws: &[Op]) -> Outcome<u64> {
        let mut sum = 0;
        for op in draws {
            let found = self.writer.get(self.state, op.key())?;
            sum += found.and_then(|found| found.try_into().ok()).map_or(0, u64::from_le_bytes);
        }
        Ok(sum)
    }

    fn close(self) -> Outcome {
        drop(self.writer);
        Ok(self.store.close()?)
    }
}

/// Events of counters that are read and written, logged as events: known by their ids and traced, and not.
fn traced(run: &mut Run) -> Outcome {
    let (case, events) = ("traced", run.pick(500_000, 3_000_000));
    let draws = Draw::zipf(KEYS).sequence(1 << 20, run.seed());
    let (mut ratios, mut rates, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..run.pick(3, 7) {
        let mut turn = [(0.0, 0.0); 2];
        for (slot, traced) in turn.iter_mut().zip([false, true]) {
            let (directory, engine) = (run.directory()?, engine(1 << 30)?);
            let mut subject = Subject::create(&engine, directory.path(), traced, false)?;
            // Keys that are there already: the first events make them.
            subject.apply(&draws, 0, draws.len() as u64, traced)?;
            *slot = subject.apply(&draws, draws.len() as u64, events, traced)?;
            subject.close()?;
        }
        ratios.push(turn[1].0 / turn[0].0);
        rates.push(turn[1].0);
        bytes.push(turn[1].1 - turn[0].1);
    }
    run.figure(case, "events", median(rates), "events/s")?;
    run.result(case, "over not traced", median(ratios), "x", Target::AtLeast(0.9))?;
    run.result(case, "logged besides", median(bytes), "bytes/event", Target::AtMost(16.0))
}

/// One bad event among many, at the beginning, in the middle and at the end, taken back; and all events applied again in its place.
fn taken_back(run: &mut Run, case: &str, way: Way) -> Outcome {
    let events = run.pick(1_000_000, 10_000_000);
    // Uniform: on a hot key that is read and written everything depends on everything.
    let draws = Draw::uniform(KEYS).sequence(1 << 22, run.seed());
    let (directory, engine) = (run.directory()?, engine(2 << 30)?);
    let mut subject = Subject::create(&engine, directory.path(), true, way == Way::Inverse)?;
    let (rate, _) = subject.apply(&draws, 0, events, true)?;
    let again_ms = 1e3 * events as f64 / rate;
    run.figure(case, "all applied", again_ms, "ms")?;
    let mut slowest = 0.0_f64;
    for (age, offset) in [("first", 3), ("middle", events / 2), ("last", events - 3)] {
        let looked_at = &draws[offset as usize % draws.len()..][..1];
        let before = subject.sum(looked_at)?;
        let id = EventId { source: 0, offset };
        let started = Instant::now();
        let repaired = subject.writer.repair(&[id], way)?;
        let took_ms = started.elapsed().as_secs_f64() * 1e3;
        if subject.sum(looked_at)? + 1 != before {
            return wrong("the event still counts");
        }
        run.figure(case, &format!("{age}, dependents"), repaired.groups[0].dependents as f64, "events")?;
        run.figure(case, age, took_ms, "ms")?;
        slowest = slowest.max(took_ms);
    }
    subject.writer.commit(Commit::default())?.wait()?;
    if way == Way::Inverse {
        run.result(case, "slowest", slowest, "ms", Target::AtMost(1.0))?;
    }
    run.result(case, "all applied over slowest", again_ms / slowest, "x", Target::AtLeast(100.0))?;
    subject.close()
}
