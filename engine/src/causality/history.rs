//! The traced events that the changelog has, run by run.

use super::lines::{Line, counts, line_of};
use crate::barrier;
use crate::changelog::History;
use crate::changelog::access::Accesses;
use crate::changelog::record::{Event, Record, Rollback};
use crate::changelog::trace::{Gathered, RolledBack, Run};
use crate::error::{Error, Result};
use crate::ids::{EventId, KeyGroup};
use crate::shard::Shard;
use crate::store::StoreInner;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// How long a run is made that is gathered from the files, about, in bytes.
const RUN_BYTES: u64 = 256 << 10;
/// How many bytes of decoded runs are kept.
const KEPT_BYTES: usize = 32 << 20;
/// So often the index is completed before it is given up.
const COMPLETED_MAX: usize = 16;

/// An event as the changelog has it.
#[derive(Clone, Copy, Debug)]
pub struct Logged<'a> {
    /// The position of its record.
    pub position: u64,
    /// Its id.
    pub id: EventId,
    /// Its key group.
    pub group: KeyGroup,
    /// The handler's name and version.
    pub handler: (&'a str, u32),
    /// What is given to the handler.
    pub event: Event<'a>,
    /// What it read and wrote.
    pub accesses: Accesses<'a>,
}

/// The events of a run.
#[derive(Debug, Default)]
pub struct Events {
    bytes: Vec<u8>,
    handlers: Vec<(String, u32)>,
    all: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    position: u64,
    id: EventId,
    group: KeyGroup,
    now_ms: u64,
    handler: usize,
    number: u32,
    event: Range<usize>,
    determinants: Range<usize>,
    accesses: Range<usize>,
}

impl Events {
    fn push(&mut self, position: u64, handler: usize, (id, event, accesses): (EventId, Event<'_>, Accesses<'_>)) {
        let bytes = &mut self.bytes;
        let mut keep = |part: &[u8]| {
            let from = bytes.len();
            bytes.extend_from_slice(part);
            from..bytes.len()
        };
        let (kept, determinants) = (keep(event.event), keep(event.determinants));
        let accesses = keep(accesses.bytes());
        let Event { handler: number, group, now_ms, .. } = event;
        self.all.push(Place { position, id, group, now_ms, handler, number, event: kept, determinants, accesses });
    }

    /// Each, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Logged<'_>> {
        self.all.iter().map(|place| {
            let bytes = &self.bytes;
            let (name, version) = &self.handlers[place.handler];
            let event = Event {
                handler: place.number,
                group: place.group,
                now_ms: place.now_ms,
                event: &bytes[place.event.clone()],
                determinants: &bytes[place.determinants.clone()],
            };
            let accesses = Accesses::new(&bytes[place.accesses.clone()]).unwrap_or_default();
            Logged {
                position: place.position,
                id: place.id,
                group: place.group,
                handler: (name, *version),
                event,
                accesses,
            }
        })
    }
}

/// The changelog's traced events up to a moment.
#[derive(Debug)]
pub struct Past {
    store: Arc<StoreInner>,
    log: History,
    /// All that it has: the index may be cut meanwhile.
    runs: Vec<Arc<Run>>,
    rolled_back: Vec<RolledBack>,
    lines: HashMap<KeyGroup, Arc<Line>>,
    kept: HashMap<u64, Arc<Events>>,
    kept_bytes: usize,
}

impl Past {
    /// All that was appended up to now by all writers, of which `own` is the caller's. Waits until it is in the files.
    pub fn open(store: &Arc<StoreInner>, own: Option<barrier::Own<'_>>) -> Result<Self> {
        if !store.log.is_on() {
            let problem = "what depends on an event is in the changelog, which this store has not".into();
            return Err(Error::Options { option: "durability", problem });
        }
        let to = sync_log(store, own)?;
        for _ in 0..COMPLETED_MAX {
            let log = whole_history(store, to)?;
            complete(store, &log)?;
            let index = store.log.trace();
            if index.from() > log.from() {
                // Another thread has cut it, or completed less of it, since the history was looked at.
                continue;
            }
            let mut runs = index.behind(log.from());
            runs.retain(|run| run.position >= log.from() && run.end <= log.to());
            let rolled_back = index.rolled_back().to_vec();
            drop(index);
            let (store, lines, kept) = (Arc::clone(store), HashMap::new(), HashMap::new());
            return Ok(Self { store, log, runs, rolled_back, lines, kept, kept_bytes: 0 });
        }
        Err(Error::Busy { problem: "checkpoints cut the changelog faster than it is looked through" })
    }

    /// The position that it goes up to.
    pub const fn end(&self) -> u64 {
        self.log.to()
    }

    /// The store.
    pub const fn store(&self) -> &Arc<StoreInner> {
        &self.store
    }

    /// The first position that it has.
    pub const fn begin(&self) -> u64 {
        self.log.from()
    }

    /// The runs behind a position.
    pub fn runs(&self, position: u64) -> Vec<Arc<Run>> {
        let first = self.runs.partition_point(|run| run.end <= position);
        self.runs[first..].to_vec()
    }

    /// What counts of the stream for a key group.
    pub fn line(&mut self, group: KeyGroup) -> Arc<Line> {
        let (all, to) = (&self.rolled_back, self.log.to());
        Arc::clone(self.lines.entry(group).or_insert_with(|| Arc::new(line_of(all, group, to))))
    }

    /// Whether some states of a key group were rolled back apart from others since a position.
    pub fn was_torn(&self, group: KeyGroup, since: u64) -> bool {
        let mut of_group = self.rolled_back.iter().filter(|rollback| rollback.groups.contains(group));
        of_group.any(|rollback| !rollback.whole && rollback.position > since)
    }

    /// The events of a run, but for those that a rollback undid.
    pub fn events(&mut self, run: &Run) -> Result<Arc<Events>> {
        if let Some(events) = self.kept.get(&run.position) {
            return Ok(Arc::clone(events));
        }
        let mut events = Events::default();
        let mut named: HashMap<u32, usize> = HashMap::new();
        let (all, to, lines) = (&self.rolled_back, self.log.to(), &mut self.lines);
        for (number, name, version) in &run.named {
            named.insert(*number, events.handlers.len());
            events.handlers.push((name.clone(), *version));
        }
        self.log.stretch(run.position, run.end, |record, position, _| {
            match record {
                Record::Handler { number, version, name } => {
                    named.insert(number, events.handlers.len());
                    events.handlers.push((name.to_owned(), version));
                }
                Record::Traced(id, event, accesses) => {
                    let unnamed = || Error::Background("a traced event whose handler isn't named".into());
                    let handler = named.get(&event.handler).copied().ok_or_else(unnamed)?;
                    let line = lines.entry(event.group).or_insert_with(|| Arc::new(line_of(all, event.group, to)));
                    if counts(line, position) {
                        events.push(position, handler, (id, event, accesses));
                    }
                }
                _ => {}
            }
            Ok(true)
        })?;
        let events = Arc::new(events);
        if self.kept_bytes > KEPT_BYTES {
            (self.kept_bytes, self.kept) = (0, HashMap::new());
        }
        self.kept_bytes += events.bytes.len();
        self.kept.insert(run.position, Arc::clone(&events));
        Ok(events)
    }
}

/// What the files have without a gap up to a position. There is one where the store was opened at a checkpoint that is newer than what of
/// the stream was written by then.
fn whole_history(store: &StoreInner, to: u64) -> Result<History> {
    let (there, written) = store.log.files().known();
    let frontier = store.catalogue.lock().history_from(store.options.history.checkpoints);
    let mut from = there.first().map_or(to, |(_, first)| frontier.max(*first));
    loop {
        match History::open(&*store.storage, store.info.uuid, (&there, &written), from, to) {
            Err(Error::Position { position, .. }) if position > from => from = position,
            outcome => return outcome,
        }
    }
}

/// Has everything that was appended so far written to the files; the position behind it.
fn sync_log(store: &Arc<StoreInner>, mut own: Option<barrier::Own<'_>>) -> Result<u64> {
    store.check()?;
    let sealing = barrier::lock_sealing(store, own.as_ref().map(|(shard, _)| *shard), Shard::is_in_event);
    for shard in store.shards.lock().clone() {
        match own.as_mut().filter(|(of, _)| Arc::ptr_eq(of, &shard)) {
            Some((_, token)) => store.log.append(|empty| token.enter().take_log(empty)),
            None => store.log.append(|empty| shard.cell.borrow().take_log(empty)),
        };
    }
    let to = store.log.position();
    drop(sealing);
    store.engine.hurry(|| store.log.write_out(to, || store.engine.log(store)))?;
    Ok(to)
}

/// Gathers the runs that lie before where the index begins: those from before the store was opened.
fn complete(store: &StoreInner, log: &History) -> Result<()> {
    let (from, to) = (log.from(), store.log.trace().from().min(log.to()));
    if from >= to {
        return Ok(());
    }
    let (mut runs, mut gathered, mut begin) = (Vec::new(), Gathered::default(), from);
    let mut named: Vec<(u32, String, u32)> = Vec::new();
    let mut named_before = Vec::new();
    // The index is cut at checkpoints, and files at their ends: no run lies on both sides.
    let mut borders: Vec<u64> = store.log.files().known().0.iter().map(|(_, first)| *first).collect();
    borders.extend(store.catalogue.lock().kept.values().map(|kept| kept.manifest.log_position));
    borders.sort_unstable();
    let mut rolled_back = Vec::new();
    log.records(from, to, |record, position, end| {
        let is_border = borders.binary_search(&position).is_ok() && position > begin;
        if is_border || position - begin >= RUN_BYTES {
            let before = std::mem::replace(&mut named_before, named.clone());
            runs.extend(finished(std::mem::take(&mut gathered), begin, position, before));
            begin = position;
        }
        match record {
            Record::Handler { number, version, name } => {
                named.retain(|(known, ..)| *known != number);
                named.push((number, name.to_owned(), version));
            }
            Record::Traced(id, _, accesses) => gathered.add(id, accesses),
            Record::Rollback(rollback) => rolled_back.push(rolled_back_by(store, &rollback, end)),
            _ => {}
        }
        Ok(true)
    })?;
    runs.extend(finished(gathered, begin, to, named_before));
    let mut index = store.log.trace();
    // Another thread may have done the same meanwhile.
    if index.from() == to {
        index.complete(from, runs, rolled_back);
    }
    Ok(())
}

fn rolled_back_by(store: &StoreInner, rollback: &Rollback, position: u64) -> RolledBack {
    let target = store.catalogue.lock().kept.get(&rollback.number).map(|kept| kept.manifest.log_position);
    let (groups, whole) = (rollback.scope.range(), rollback.scope.state_ids().is_empty());
    RolledBack { position, groups, target, whole }
}

fn finished(gathered: Gathered, begin: u64, end: u64, named: Vec<(u32, String, u32)>) -> Option<Run> {
    if gathered.is_empty() {
        return None;
    }
    let mut run = gathered.into_run(begin, end);
    run.named = named;
    Some(run)
}
