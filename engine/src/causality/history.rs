//! The traced events that the changelog has, run by run.

use super::lines::{Line, counts, line_of, next_of, passes};
use crate::barrier::{self, Whole};
use crate::changelog::History;
use crate::changelog::access::Accesses;
use crate::changelog::record::{Event, Record, Rollback};
use crate::changelog::trace::{Gathered, Named, RolledBack, Run};
use crate::error::{Error, Result};
use crate::ids::{EventId, KeyGroup};
use crate::store::StoreInner;
use std::collections::HashMap;
use std::sync::Arc;

/// How long a run is made that is gathered from the files, about, in bytes.
const RUN_BYTES: u64 = 256 << 10;
/// How many bytes of decoded runs are kept.
const KEPT_BYTES: usize = 32 << 20;
/// How long the record of a short event is, about, in bytes.
const EVENT_BYTES: usize = 24;
/// So much room is made for events at once, in bytes.
const ROOM_BYTES_MAX: usize = 1 << 20;
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

/// The events of a part of a run.
#[derive(Debug, Default)]
pub struct Events {
    bytes: Vec<u8>,
    handlers: Vec<(String, u32)>,
    all: Vec<Place>,
}

/// Where one of them is: its parts lie one behind the other.
#[derive(Debug)]
struct Place {
    position: u64,
    id: EventId,
    now_ms: u64,
    from: u32,
    event: u32,
    determinants: u32,
    accesses: u32,
    number: u32,
    handler: u32,
    group: KeyGroup,
}

impl Events {
    /// An empty one, with room for what so many bytes of the changelog have: memory that is touched for the first time is the most of what
    /// reading a few events takes.
    fn with_room(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(0).min(ROOM_BYTES_MAX);
        Self { bytes: Vec::with_capacity(bytes), handlers: Vec::new(), all: Vec::with_capacity(bytes / EVENT_BYTES) }
    }

    fn push(&mut self, position: u64, handler: usize, (id, event, accesses): (EventId, Event<'_>, Accesses<'_>)) {
        let from = self.bytes.len() as u32;
        let Event { handler: number, group, now_ms, event, determinants } = event;
        let parts = [event, determinants, accesses.bytes()];
        parts.into_iter().for_each(|part| self.bytes.extend_from_slice(part));
        // A block of the changelog, which they are of, is shorter than 4 GiB.
        let [event, determinants, accesses] = parts.map(|part| part.len() as u32);
        let handler = handler as u32;
        self.all.push(Place { position, id, now_ms, from, event, determinants, accesses, number, handler, group });
    }

    /// Each, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Logged<'_>> {
        self.all.iter().map(|place| {
            let (name, version) = &self.handlers[place.handler as usize];
            let (kept, behind) = self.bytes[place.from as usize..].split_at(place.event as usize);
            let (determinants, behind) = behind.split_at(place.determinants as usize);
            let event =
                Event { handler: place.number, group: place.group, now_ms: place.now_ms, event: kept, determinants };
            let accesses = Accesses::pushed(&behind[..place.accesses as usize]);
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
    /// Whether the stream began with the empty store, and it has all of it.
    is_whole: bool,
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
            let (log, is_whole) = whole_history(store, to)?;
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
            return Ok(Self { store, log, is_whole, runs, rolled_back, lines, kept, kept_bytes: 0 });
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

    /// Whether the empty store is what a key group began with, so that all that it went through since is here.
    pub fn begins_with_nothing(&mut self, group: KeyGroup) -> bool {
        self.is_whole && passes(&self.line(group), 0)
    }

    /// Whether it has all that a key group went through since a position on its way.
    pub fn has_since(&mut self, group: KeyGroup, position: u64) -> bool {
        next_of(&self.line(group), position) >= self.begin()
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

    /// Whether a key group was rolled back behind a position.
    pub fn was_rolled_back(&self, group: KeyGroup, since: u64) -> bool {
        self.rolled_back.iter().any(|rollback| rollback.groups.contains(group) && rollback.position > since)
    }

    /// Whether some states of a key group were rolled back apart from others since a position.
    pub fn was_torn(&self, group: KeyGroup, since: u64) -> bool {
        let mut of_group = self.rolled_back.iter().filter(|rollback| rollback.groups.contains(group));
        of_group.any(|rollback| !rollback.whole && rollback.position > since)
    }

    /// The events of a part of a run, but for those that a rollback undid.
    pub fn events(&mut self, run: &Run, part: usize) -> Result<Arc<Events>> {
        let (from, end) = run.part(part);
        if let Some(events) = self.kept.get(&from) {
            return Ok(Arc::clone(events));
        }
        let mut events = Events::with_room(end - from);
        let (mut named, mut last): (HashMap<u32, usize>, Option<(u32, usize)>) = (HashMap::new(), None);
        let unnamed = || Error::Background("a traced event whose handler isn't named".into());
        let (all, to, lines) = (&self.rolled_back, self.log.to(), &mut self.lines);
        for Named { number, name, version, .. } in run.named.iter().filter(|named| named.position <= from) {
            named.insert(*number, events.handlers.len());
            events.handlers.push((name.clone(), *version));
        }
        self.log.stretch(from, end, |record, position, _| {
            match record {
                Record::Handler { number, version, name } => {
                    last = None;
                    named.insert(number, events.handlers.len());
                    events.handlers.push((name.to_owned(), version));
                }
                Record::Traced(id, event, accesses) => {
                    let handler = match last {
                        Some((number, handler)) if number == event.handler => handler,
                        _ => named.get(&event.handler).copied().ok_or_else(unnamed)?,
                    };
                    last = Some((event.handler, handler));
                    let is_left = all.is_empty() || {
                        let line = lines.entry(event.group);
                        counts(line.or_insert_with(|| Arc::new(line_of(all, event.group, to))), position)
                    };
                    if is_left {
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
        self.kept.insert(from, Arc::clone(&events));
        Ok(events)
    }
}

/// What the files have without a gap up to a position, and whether it is all since there was nothing. There is a gap where the store was
/// opened at a checkpoint that is newer than what of the stream was written by then.
fn whole_history(store: &StoreInner, to: u64) -> Result<(History, bool)> {
    let (there, written) = store.log.files().known();
    let (frontier, is_new) = {
        let catalogue = store.catalogue.lock();
        (catalogue.history_from(store.options.history.checkpoints), catalogue.kept.is_empty())
    };
    let mut from = there.first().map_or(to, |file| frontier.max(file.first));
    loop {
        match History::open(&*store.storage, store.info.uuid, (&there, &written), from, to) {
            Err(Error::Position { position, .. }) if position > from => from = position,
            outcome => return outcome.map(|log| (log, is_new && from == 0)),
        }
    }
}

/// Has everything that was appended so far written to the files; the position behind it.
fn sync_log(store: &Arc<StoreInner>, mut own: Option<barrier::Own<'_>>) -> Result<u64> {
    store.check()?;
    let sealing = barrier::lock_sealing(store, own.as_ref().map(|(shard, _)| *shard), Whole::Events);
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
    // The index is cut at checkpoints, and files at their ends: no run lies on both sides.
    let mut borders: Vec<u64> = store.log.files().known().0.iter().map(|file| file.first).collect();
    borders.extend(store.catalogue.lock().kept.values().map(|kept| kept.manifest.log_position));
    borders.sort_unstable();
    let mut rolled_back = Vec::new();
    log.records(from, to, |record, position, end| {
        let is_border = borders.binary_search(&position).is_ok() && position > begin;
        if is_border || position - begin >= RUN_BYTES {
            runs.extend(finished(std::mem::take(&mut gathered), begin, position));
            begin = position;
            named.iter().for_each(|(number, name, version)| gathered.name(0, *number, (name, *version)));
        }
        match record {
            Record::Handler { number, version, name } => {
                named.retain(|(known, ..)| *known != number);
                named.push((number, name.to_owned(), version));
                gathered.name(position - begin, number, (name, version));
            }
            Record::Traced(id, _, accesses) => {
                gathered.add(position - begin, id, accesses.iter());
            }
            Record::Rollback(rollback) => rolled_back.push(rolled_back_by(store, &rollback, end)),
            _ => {}
        }
        Ok(true)
    })?;
    runs.extend(finished(gathered, begin, to));
    let mut index = store.log.trace();
    // Another thread may have done the same meanwhile.
    if index.from() == to {
        index.complete(from, runs, rolled_back);
    }
    Ok(())
}

fn rolled_back_by(store: &StoreInner, rollback: &Rollback, position: u64) -> RolledBack {
    let of_checkpoint = || {
        let catalogue = store.catalogue.lock();
        let manifest = &catalogue.kept.get(&rollback.number)?.manifest;
        (!manifest.has_rollbacks).then_some(manifest.log_position)
    };
    let target = rollback.to.or_else(of_checkpoint);
    let (groups, whole) = (rollback.scope.range(), rollback.scope.state_ids().is_empty());
    RolledBack { position, groups, target, whole }
}

fn finished(gathered: Gathered, begin: u64, end: u64) -> Option<Run> {
    (!gathered.is_empty()).then(|| gathered.into_run(begin, end))
}
