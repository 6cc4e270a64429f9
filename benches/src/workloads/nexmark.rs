//! `nexmark`: the state of queries 9 (winning bids) and 20 (bids with their auctions): both sides of a join that never ends, and
//! the best bid of each auction.
//!
//! The generator is the crate `nexmark`. By default half of all bids go to one auction and the rest to the latest hundred, so
//! that the state which is touched stays small however much there is; the *cold* setting spreads bids over a million auctions.

use super::{Answers, Workload};
use crate::backends::{Backend, Cell, Kind, Span};
use crate::harness::Outcome;
use crate::harness::generate::{KEY_BYTES, Op};
use ::nexmark::EventGenerator;
use ::nexmark::config::NexmarkConfig;
use ::nexmark::event::Event as Generated;
use std::collections::HashMap;

const AUCTIONS: usize = 0;
const BIDS: usize = 1;
const BEST: usize = 2;

/// The rows' sizes, as in the benchmark's defaults.
const AUCTION_BYTES: usize = 500;
const BID_BYTES: usize = 100;

/// An auction that begins, or a bid.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    number: u64,
    auction: Op,
    is_bid: bool,
    price: u64,
    /// The auction's end, or the bid's time.
    time_ms: u64,
}

/// The workload.
#[derive(Debug)]
pub struct Nexmark {
    generator: EventGenerator,
    events: u64,
    made: u64,
    auctions: u64,
    bids: u64,
    /// Auctions with a best bid.
    bests: u64,
    /// Events that the operator is given at once.
    batch: usize,
    /// The cells of a batch.
    cells: Vec<Cell>,
    /// Whether the rows of a batch are read before it, all at once.
    reads_ahead: bool,
    /// What was read of a batch's auctions, and what its events made of it since.
    read: HashMap<[u8; KEY_BYTES], Read>,
}

/// The rows of an auction.
#[derive(Debug, Default)]
struct Read {
    auction: Option<Vec<u8>>,
    best: Option<Vec<u8>>,
}

/// A row of a size that begins with these numbers, the rest of which doesn't compress.
fn row<const LEN: usize>(event: &Event) -> [u8; LEN] {
    let mut row = [0; LEN];
    crate::harness::generate::value(event.number, 1, &mut row[16..]);
    row[..8].copy_from_slice(&event.time_ms.to_le_bytes());
    row[8..16].copy_from_slice(&event.price.to_le_bytes());
    row
}

fn numbers(row: &[u8]) -> (u64, u64) {
    let number = |part: Option<&[u8; 8]>| part.map_or(0, |part| u64::from_le_bytes(*part));
    (number(row.first_chunk()), number(row[8..].first_chunk()))
}

impl Nexmark {
    pub fn new(cold: bool, events: u64, batch: usize) -> Self {
        let mut config = NexmarkConfig { base_time: 1_700_000_000_000, ..NexmarkConfig::default() };
        if cold {
            config.in_flight_auctions = 1_000_000;
            config.hot_auction_ratio = 1;
        }
        let generator = EventGenerator::new(config);
        let (cells, read, reads_ahead) = (Vec::new(), HashMap::new(), cold && batch > 1);
        Self { generator, events, made: 0, auctions: 0, bids: 0, bests: 0, batch, cells, reads_ahead, read }
    }

    /// Reads the rows of a batch's auctions, which few of have been touched lately: all at once, as an operator does that has
    /// the disk to wait for.
    fn read_ahead<B: Backend>(&mut self, backend: &mut B, events: &[Event]) -> Outcome {
        self.read.clear();
        self.cells.clear();
        for event in events {
            if self.read.insert(event.auction.bytes, Read::default()).is_none() {
                self.cells.push(Cell::of(event.auction));
            }
        }
        let mut rows = vec![(None, None); self.cells.len()];
        let kept = |row: Option<&[u8]>| row.map(<[u8]>::to_vec);
        backend.get_many(AUCTIONS, &self.cells, |index, row| rows[index].0 = kept(row))?;
        backend.get_many(BEST, &self.cells, |index, row| rows[index].1 = kept(row))?;
        for (cell, (auction, best)) in self.cells.iter().zip(rows) {
            self.read.insert(cell.op.bytes, Read { auction, best });
        }
        Ok(())
    }

    fn auction<B: Backend>(&mut self, backend: &mut B, event: &Event, answers: &mut Answers) -> Outcome {
        let cell = Cell::of(event.auction);
        let row = row::<AUCTION_BYTES>(event);
        backend.put(AUCTIONS, &cell, &row)?;
        if let Some(read) = self.read.get_mut(&event.auction.bytes) {
            read.auction = Some(row.to_vec());
        }
        // Bids may have been before it.
        let mut bid = event.number << 20;
        backend.map_scan(BIDS, &cell, Span::ALL, |user_key, row| {
            answers.see_entry(bid, user_key, row);
            bid += 1;
        })?;
        self.auctions += 1;
        answers.did(2);
        answers.wrote((KEY_BYTES + AUCTION_BYTES) as u64);
        Ok(())
    }

    fn bid<B: Backend>(&mut self, backend: &mut B, event: &Event, answers: &mut Answers) -> Outcome {
        let cell = Cell::of(event.auction);
        let bid = row::<BID_BYTES>(event);
        backend.map_put(BIDS, &cell, &event.number.to_be_bytes(), &bid)?;
        self.bids += 1;
        let read = self.read.get(&event.auction.bytes);
        let mut see = |auction: Option<&[u8]>| {
            answers.see(event.number, auction);
            auction.map(|auction| numbers(auction).0)
        };
        let ends_ms = match read {
            Some(read) => see(read.auction.as_deref()),
            None => backend.get(AUCTIONS, &cell, see)?,
        };
        answers.did(2);
        answers.wrote((KEY_BYTES + 8 + BID_BYTES) as u64);
        if ends_ms.is_none_or(|ends_ms| event.time_ms >= ends_ms) {
            return Ok(());
        }
        let mut see = |best: Option<&[u8]>| {
            answers.see(event.number ^ 1 << 40, best);
            best.map(|best| numbers(best).1)
        };
        let best = match read {
            Some(read) => see(read.best.as_deref()),
            None => backend.get(BEST, &cell, see)?,
        };
        answers.did(1);
        if event.price > best.unwrap_or(0) {
            self.bests += u64::from(best.is_none());
            backend.put(BEST, &cell, &bid)?;
            if let Some(read) = self.read.get_mut(&event.auction.bytes) {
                read.best = Some(bid.to_vec());
            }
            answers.did(1);
            answers.wrote((KEY_BYTES + BID_BYTES) as u64);
        }
        Ok(())
    }
}

impl Workload for Nexmark {
    type Event = Event;

    fn tables(&self) -> Vec<Kind> {
        vec![Kind::Value, Kind::Map, Kind::Value]
    }

    fn events(&self) -> u64 {
        self.events
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn generate(&mut self, count: usize, out: &mut Vec<Event>) {
        let wanted = out.len() + count;
        while out.len() < wanted {
            let number = self.made;
            let event = |auction: usize, is_bid, price: usize, time_ms| Event {
                number,
                auction: Op::of(auction as u64),
                is_bid,
                price: price as u64,
                time_ms,
            };
            out.push(match self.generator.next() {
                Some(Generated::Auction(auction)) => event(auction.id, false, auction.initial_bid, auction.expires),
                Some(Generated::Bid(bid)) => event(bid.auction, true, bid.price, bid.date_time),
                // Nobody keeps people here.
                Some(Generated::Person(_)) => continue,
                None => return,
            });
            self.made += 1;
        }
    }

    fn process<B: Backend>(&mut self, backend: &mut B, events: &[Event], answers: &mut Answers) -> Outcome {
        if self.reads_ahead {
            self.read_ahead(backend, events)?;
        } else {
            self.cells.clear();
            self.cells.extend(events.iter().map(|event| Cell::of(event.auction)));
            backend.look_ahead([AUCTIONS, BIDS, BEST], &self.cells);
        }
        for event in events {
            if event.is_bid {
                self.bid(backend, event, answers)?;
            } else {
                self.auction(backend, event, answers)?;
            }
        }
        Ok(())
    }

    fn check<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome {
        // Ids count up from the generator's first one.
        for id in (1_000..1_000 + self.auctions).step_by((self.auctions / 300).max(1) as usize) {
            let cell = Cell::of(Op::of(id));
            backend.get(AUCTIONS, &cell, |row| answers.see(id, row))?;
            backend.get(BEST, &cell, |row| answers.see(id << 20, row))?;
        }
        Ok(())
    }

    fn live_bytes(&self) -> u64 {
        let (bids, bests) =
            (self.bids * (KEY_BYTES + 8 + BID_BYTES) as u64, self.bests * (KEY_BYTES + BID_BYTES) as u64);
        self.auctions * (KEY_BYTES + AUCTION_BYTES) as u64 + bids + bests
    }
}
