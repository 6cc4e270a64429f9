//! Many lookups on disk at once: while blocks are on their way, those that came are taken apart and the next lookups are
//! asked which blocks they need.

use crate::error::{Error, Result};
use crate::platform::storage::{Buffer, ReadRequest, ReadStream, Storage, StorageError};
use crate::segment::{Block, BlockRef, Segment};
use crate::stack::Lookup;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Values of so many bytes are held together; what is still to be looked up then waits for the next time.
const HELD_BYTES: usize = 16 << 20;

/// So many lookups touch most of the segments under them.
pub const MANY: usize = 64;

/// A lookup, and which key of the batch it is for.
pub type ColdKey = (usize, Lookup);

/// Where lookups come from and go to. What they go by is immutable.
pub trait Lookups {
    /// The next one, and what it is known by; `None` where there is none for now: it is asked again after each block that
    /// came.
    fn next(&mut self) -> Option<ColdKey>;

    /// Takes one that is done, in no particular order, or what it failed with.
    fn done(&mut self, name: usize, outcome: Result<Lookup>);
}

/// Runs lookups to their ends, until there are no more; how many blocks they looked into. Those that are `few` read as single
/// ones do, through the page cache where that is so.
pub fn run(storage: &dyn Storage, lookups: &mut impl Lookups, few: bool) -> u64 {
    let mut together = Together {
        lookups,
        active: Slab::default(),
        ready: Vec::new(),
        flights: Slab::default(),
        on_the_way: HashMap::new(),
        few,
        blocks_read: 0,
    };
    storage.read_stream(&mut together);
    together.blocks_read
}

/// Runs lookups to their ends, as many of the first ones as give no more than some MiB of values, and at least one; those
/// are taken out and returned in their order, with how many blocks they looked into.
pub fn finish_together(storage: &dyn Storage, lookups: &mut Vec<ColdKey>) -> Result<(Vec<ColdKey>, u64)> {
    if lookups.len() >= MANY {
        expect_many(lookups);
    }
    let few = lookups.len() < MANY;
    let mut some = Few { waiting: std::mem::take(lookups).into_iter(), done: Vec::new(), held_bytes: 0, failed: None };
    let blocks_read = run(storage, &mut some, few);
    *lookups = some.waiting.collect();
    some.done.sort_unstable_by_key(|(index, _)| *index);
    some.failed.map_or(Ok((some.done, blocks_read)), Err)
}

/// Tells the segments under these lookups that much of their metadata will be asked for.
pub fn expect_many(lookups: &mut [ColdKey]) {
    let mut slices = HashSet::new();
    for (_, lookup) in lookups {
        if slices.insert(Arc::as_ptr(lookup.slice())) {
            // One that can't be opened is reported by the lookup that needs it.
            lookup.look_ahead();
            let segments = lookup.slice().layers.iter().filter_map(|layer| layer.segment.get().ok());
            segments.for_each(|segment| segment.expect_many());
        }
    }
}

/// The lookups of a batch; their names rise.
struct Few {
    waiting: std::vec::IntoIter<ColdKey>,
    done: Vec<ColdKey>,
    /// Bytes of the values found.
    held_bytes: usize,
    failed: Option<Error>,
}

impl Lookups for Few {
    fn next(&mut self) -> Option<ColdKey> {
        if self.failed.is_some() || self.held_bytes >= HELD_BYTES { None } else { self.waiting.next() }
    }

    fn done(&mut self, name: usize, outcome: Result<Lookup>) {
        match outcome {
            Ok(lookup) => {
                self.held_bytes += lookup.found_bytes();
                self.done.push((name, lookup));
            }
            Err(error) => self.failed = Some(error),
        }
    }
}

/// Things with numbers, which are used again.
struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    fn add(&mut self, thing: T) -> usize {
        let at = self.free.pop().unwrap_or(self.places.len());
        if at == self.places.len() {
            self.places.push(None);
        }
        self.places[at] = Some(thing);
        at
    }

    fn get(&mut self, at: usize) -> Option<&mut T> {
        self.places[at].as_mut()
    }

    fn take(&mut self, at: usize) -> Option<T> {
        let thing = self.places[at].take();
        if thing.is_some() {
            self.free.push(at);
        }
        thing
    }
}

/// A block on its way, and the lookups that wait for it.
struct Flight {
    segment: Arc<Segment>,
    block: BlockRef,
    waiting: Vec<usize>,
}

impl Flight {
    /// Equal for the same block of the same open segment.
    fn place(segment: &Arc<Segment>, block: BlockRef) -> (*const Segment, u32) {
        (Arc::as_ptr(segment), block.index)
    }

    fn decode(&self, outcome: Option<Result<Buffer, StorageError>>) -> Result<Arc<Block>> {
        let stored = outcome.ok_or_else(|| Error::Background("a read was left undone".into()))??;
        let content = Arc::new(self.segment.decode(self.block, stored)?);
        self.segment.offer_to_cache(self.block, &content);
        Ok(content)
    }
}

/// Lookups under way together.
struct Together<'a, S> {
    lookups: &'a mut S,
    active: Slab<ColdKey>,
    /// Lookups whose block came, and which may need another.
    ready: Vec<usize>,
    /// The blocks that were asked for and are not here yet; a read's tag is its number here.
    flights: Slab<Flight>,
    /// Where in `flights` a block is: neighbours in one block read it once.
    on_the_way: HashMap<(*const Segment, u32), usize>,
    /// Whether what is read had better be in the page cache afterwards.
    few: bool,
    blocks_read: u64,
}

impl<S: Lookups> Together<'_, S> {
    /// Takes a lookup to its end, or to a block that has to be read and isn't on its way.
    fn advance(&mut self, at: usize) -> Option<ReadRequest> {
        let outcome = loop {
            let (_, lookup) = self.active.get(at)?;
            let (segment, block) = match lookup.next() {
                Ok(Some(wanted)) => wanted,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            self.blocks_read += 1;
            if let Some(cached) = segment.cached(block) {
                lookup.offer(&segment, &cached);
                continue;
            }
            let place = Flight::place(&segment, block);
            if let Some(&flight) = self.on_the_way.get(&place) {
                self.flights.get(flight)?.waiting.push(at);
                return None;
            }
            let request = segment.read_request(block);
            let flight = self.flights.add(Flight { segment, block, waiting: vec![at] });
            self.on_the_way.insert(place, flight);
            return Some(ReadRequest { tag: flight, cached: self.few, ..request });
        };
        self.end(at, outcome);
        None
    }

    fn end(&mut self, at: usize, outcome: Result<()>) {
        if let Some((name, lookup)) = self.active.take(at) {
            self.lookups.done(name, outcome.map(|()| lookup));
        }
    }
}

impl<S: Lookups> ReadStream for Together<'_, S> {
    fn next(&mut self) -> Option<ReadRequest> {
        loop {
            let at = match self.ready.pop() {
                Some(at) => at,
                None => self.active.add(self.lookups.next()?),
            };
            if let Some(request) = self.advance(at) {
                return Some(request);
            }
        }
    }

    fn landed(&mut self, request: ReadRequest) {
        let Some(flight) = self.flights.take(request.tag) else { return };
        self.on_the_way.remove(&Flight::place(&flight.segment, flight.block));
        let content = flight.decode(request.outcome);
        for &at in &flight.waiting {
            match &content {
                Ok(content) => {
                    if let Some((_, lookup)) = self.active.get(at) {
                        lookup.offer(&flight.segment, content);
                        self.ready.push(at);
                    }
                }
                Err(error) => self.end(at, Err(error.clone())),
            }
        }
    }
}
