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
        traced(run, "traced", Does::Updates)?;
    }
    if run.wants("traced panes") {
        traced(run, "traced panes", Does::Slides)?;
    }
    if run.wants("inverse") {
        taken_back(run, "inverse", Way::Inverse)?;
    }
    if run.wants("reexecute") {
        taken_back(run, "reexecute", Way::Reexecute)?;
    }
    Ok(())
}

/// What an event does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Does {
    /// Adds to its key's counter.
    Adds,
    /// Reads and writes it.
    Updates,
    /// Reads and writes ten of it, one for each pane of a sliding window.
    Slides,
}

/// Panes of a sliding window that an event falls into.
const PANES: u8 = 10;

/// Counts an event's key.
#[derive(Debug)]
struct Count {
    state: State,
    does: Does,
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
        match self.does {
            Does::Adds => applying.merge(self.state, key, &1_u64.to_le_bytes()),
            Does::Updates => applying.update(self.state, key, plus_one),
            Does::Slides => {
                (0..PANES).try_for_each(|pane| applying.update(self.state, key.in_namespace(&[pane]), plus_one))
            }
        }
    }
}

/// What the engine is to know of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// Nothing.
    No,
    /// Their ids, so that each is applied once.
    Ids,
    /// Those, and what each reads and writes.
    Traced,
}

struct Subject {
    store: Store,
    writer: Writer,
    handler: HandlerId,
    state: State,
    known: Known,
}

impl Subject {
    fn create(engine: &Engine, path: &Path, known: Known, does: Does) -> Outcome<Self> {
        let history = History { checkpoints: usize::from(known == Known::Traced) };
        let options = StoreOptions { durability: Durability::Changelog, history, ..store_options() };
        let store = Store::create(engine, path, options)?;
        let options = match does {
            Does::Adds => StateOptions::merging("counts", MergeOperator::U64Add),
            Does::Updates | Does::Slides => StateOptions::value("counts"),
        };
        let options = options.log(LogMode::Event);
        let state = store.state(if known == Known::Traced { options.traced() } else { options })?;
        let handler = store.handler(Arc::new(Count { state, does }))?;
        let mut writer = store.writer(store.range())?;
        writer.barrier(Barrier::new(1))?.wait()?;
        Ok(Self { store, writer, handler, state, known })
    }

    /// Applies events of the keys that were drawn, and commits now and then; events/s, and bytes logged for each.
    fn apply(&mut self, draws: &[Op], from: u64, events: u64) -> Outcome<(f64, f64)> {
        let first = self.store.position()?;
        let (started, mut due) = (Instant::now(), Every::new(COMMIT_EVERY));
        for offset in from..from + events {
            let op = &draws[offset as usize % draws.len()];
            let group = op.key().group;
            if self.known == Known::No {
                self.writer.apply_event(self.handler, group, &op.bytes)?;
            } else {
                let id = EventId { source: 0, offset };
                self.writer.apply_event_once(self.handler, group, id, &op.bytes)?;
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

/// Events of counters that are read and written, logged as events: known by their ids and traced, known by their ids, and neither.
fn traced(run: &mut Run, case: &str, does: Does) -> Outcome {
    const ALL: [Known; 3] = [Known::No, Known::Ids, Known::Traced];
    let (keys, events) = match does {
        Does::Slides => (KEYS / 10, run.pick(100_000, 1_000_000)),
        _ => (KEYS, run.pick(500_000, 3_000_000)),
    };
    let draws = Draw::zipf(keys).sequence(1 << 20, run.seed());
    let (mut rates, mut bytes) = ([const { Vec::new() }; ALL.len()], Vec::new());
    for turn in 0..run.pick(3, 7) {
        let mut logged = [0.0; ALL.len()];
        for slot in 0..ALL.len() {
            // Who is first changes with each turn.
            let slot = (slot + turn) % ALL.len();
            let (directory, engine) = (run.directory()?, engine(1 << 30)?);
            let mut subject = Subject::create(&engine, directory.path(), ALL[slot], does)?;
            // Keys that are there already: the first events make them.
            subject.apply(&draws, 0, events / 3)?;
            let (rate, each) = subject.apply(&draws, events / 3, events)?;
            (logged[slot], rates[slot]) = (each, [&rates[slot][..], &[rate]].concat());
            subject.close()?;
        }
        bytes.push(logged[2] - logged[0]);
    }
    let over = |one: usize, other: usize| {
        median(rates[one].iter().zip(&rates[other]).map(|(one, other)| one / other).collect())
    };
    run.figure(case, "events", median(rates[2].clone()), "events/s")?;
    run.figure(case, "ids over neither", over(1, 0), "x")?;
    run.figure(case, "traced over ids", over(2, 1), "x")?;
    run.result(case, "traced over neither", over(2, 0), "x", Target::AtLeast(0.9))?;
    // Ten accesses are ten accesses.
    let most = if does == Does::Slides { Target::None } else { Target::AtMost(16.0) };
    run.result(case, "logged besides", median(bytes), "bytes/event", most)
}

/// One bad event among many, at the beginning, in the middle and at the end, taken back; and all events applied again in its place.
fn taken_back(run: &mut Run, case: &str, way: Way) -> Outcome {
    let events = run.pick(1_000_000, 10_000_000);
    // Uniform: on a hot key that is read and written everything depends on everything.
    let draws = Draw::uniform(KEYS).sequence(1 << 22, run.seed());
    let (directory, engine) = (run.directory()?, engine(2 << 30)?);
    let does = if way == Way::Inverse { Does::Adds } else { Does::Updates };
    let mut subject = Subject::create(&engine, directory.path(), Known::Traced, does)?;
    let (rate, _) = subject.apply(&draws, 0, events)?;
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
