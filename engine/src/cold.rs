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
const MANY: usize = 64;

/// A lookup, and which key of the batch it is for.
pub type ColdKey = (usize, Lookup);

/// Runs lookups to their ends, as many of the first ones as give no more than some MiB of values, and at least one;
/// returns how many, and how many blocks they looked into. What they go by is immutable.
pub fn finish_together(storage: &dyn Storage, lookups: &mut [ColdKey]) -> Result<(usize, u64)> {
    if lookups.len() >= MANY {
        expect_many(lookups);
    }
    let mut together = Together {
        lookups,
        started: 0,
        ready: Vec::new(),
        flights: Vec::new(),
        on_the_way: HashMap::new(),
        held_bytes: 0,
        blocks_read: 0,
        failed: None,
    };
    storage.read_stream(&mut together);
    match together.failed {
        Some(error) => Err(error),
        None => Ok((together.started, together.blocks_read)),
    }
}

/// Tells the segments under these lookups that much of their metadata will be asked for.
fn expect_many(lookups: &[ColdKey]) {
    let mut slices = HashSet::new();
    for (_, lookup) in lookups {
        if slices.insert(Arc::as_ptr(lookup.slice())) {
            // One that can't be opened is reported by the lookup that needs it.
            lookup.open_layers();
            let segments = lookup.slice().layers.iter().filter_map(|layer| layer.segment.get().ok());
            segments.for_each(|segment| segment.expect_many());
        }
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
struct Together<'a> {
    lookups: &'a mut [ColdKey],
    /// The lookups before this one were started.
    started: usize,
    /// Lookups whose block came, and which may need another.
    ready: Vec<usize>,
    /// Every block that was asked for; a read's tag is its index here.
    flights: Vec<Flight>,
    /// Where in `flights` the blocks are that are not here yet: neighbours in one block read it once.
    on_the_way: HashMap<(*const Segment, u32), usize>,
    /// Bytes of the values found.
    held_bytes: usize,
    blocks_read: u64,
    failed: Option<Error>,
}

impl Together<'_> {
    fn next_lookup(&mut self) -> Option<usize> {
        if let Some(ready) = self.ready.pop() {
            return Some(ready);
        }
        let index = self.started;
        if index == self.lookups.len() || self.held_bytes >= HELD_BYTES {
            return None;
        }
        self.started += 1;
        Some(index)
    }

    /// Takes a lookup to its end, or to a block that has to be read and isn't on its way.
    fn advance(&mut self, index: usize) -> Result<Option<ReadRequest>> {
        let lookup = &mut self.lookups[index].1;
        while let Some((segment, block)) = lookup.next()? {
            self.blocks_read += 1;
            if let Some(cached) = segment.cached(block) {
                lookup.offer(&segment, &cached);
                continue;
            }
            let flight = self.flights.len();
            let place = Flight::place(&segment, block);
            if let Some(&flight) = self.on_the_way.get(&place) {
                self.flights[flight].waiting.push(index);
                return Ok(None);
            }
            self.on_the_way.insert(place, flight);
            let request = segment.read_request(block);
            self.flights.push(Flight { segment, block, waiting: vec![index] });
            return Ok(Some(ReadRequest { tag: flight, ..request }));
        }
        self.held_bytes += lookup.found_bytes();
        Ok(None)
    }
}

impl ReadStream for Together<'_> {
    fn next(&mut self) -> Option<ReadRequest> {
        while self.failed.is_none() {
            let index = self.next_lookup()?;
            match self.advance(index) {
                Ok(None) => {}
                Ok(request) => return request,
                Err(error) => self.failed = Some(error),
            }
        }
        None
    }

    fn landed(&mut self, request: ReadRequest) {
        if self.failed.is_some() {
            return;
        }
        let flight = &mut self.flights[request.tag];
        self.on_the_way.remove(&Flight::place(&flight.segment, flight.block));
        match flight.decode(request.outcome) {
            Ok(content) => {
                for index in std::mem::take(&mut flight.waiting) {
                    self.lookups[index].1.offer(&flight.segment, &content);
                    self.ready.push(index);
                }
            }
            Err(error) => self.failed = Some(error),
        }
    }
}
