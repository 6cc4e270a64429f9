//! What the operator knows, as a value of the state.

use super::rows::of_bytes;
use super::{Due, Flights, Matches, OPERATOR, bytes_of, words};
use crate::backends::{Backend, Cell};
use crate::harness::generate::{KEY_BYTES, Op};
use crate::harness::{Outcome, wrong};
use crate::workloads::Answers;
use alluvium::KeyGroup;

/// Where the operator's own is kept.
fn operator() -> Cell {
    Cell::of(Op { bytes: [0; KEY_BYTES], group: KeyGroup(0) })
}

/// Bytes of something due: when, what, whose, of which hour.
const DUE_BYTES: usize = 8 + 8 + KEY_BYTES + 8;
/// Numbers before these.
const NUMBERS: usize = 7;

impl Flights {
    /// Puts what the operator knows, and has read so far, into the state.
    pub fn save<B: Backend>(&self, backend: &mut B, answers: &Answers) -> Outcome {
        let Matches { weather, planes } = self.matches;
        let live = self.live as u64;
        let numbers = [self.done, answers.digest(), self.now_ms, self.fired, weather, planes, live];
        let mut bytes = bytes_of::<NUMBERS>(numbers);
        for (time_ms, due) in self.due.iter().flat_map(|(time_ms, due)| due.iter().map(move |due| (time_ms, due))) {
            let (kind, op, hour_ms) = match due {
                Due::Window(carrier, hour_ms) => (0, carrier, *hour_ms),
                Due::Session(tail) => (1, tail, 0),
                Due::Weather(airport, hour_ms) => (2, airport, *hour_ms),
                Due::Early(airport, hour_ms) => (3, airport, *hour_ms),
            };
            bytes.extend(bytes_of([*time_ms, kind]));
            bytes.extend(op.bytes);
            bytes.extend(hour_ms.to_le_bytes());
        }
        backend.put(OPERATOR, &operator(), &bytes)
    }

    /// Goes on from what was saved in a state; from the beginning where nothing was. Gives what was read until there.
    pub fn restore<B: Backend>(&mut self, backend: &mut B) -> Outcome<Answers> {
        let Some(bytes) = backend.get(OPERATOR, &operator(), |bytes| bytes.map(<[u8]>::to_vec))? else {
            return Ok(Answers::default());
        };
        let [done, digest, now_ms, fired, weather, planes, live] = words::<NUMBERS>(&bytes);
        (self.made, self.done, self.now_ms, self.fired) = (done, done, now_ms, fired);
        (self.matches, self.live) = (Matches { weather, planes }, live as i64);
        for part in bytes[NUMBERS * 8..].chunks_exact(DUE_BYTES) {
            let [time_ms, kind, _, _, hour_ms] = words(part);
            let Some(op) = part[16..].first_chunk().map(|bytes| of_bytes(*bytes)) else { continue };
            let due = match kind {
                0 => Due::Window(op, hour_ms),
                1 => Due::Session(op),
                2 => Due::Weather(op, hour_ms),
                3 => Due::Early(op, hour_ms),
                other => return wrong(format!("nothing of kind {other} is ever due")),
            };
            self.at(time_ms, due);
        }
        Ok(Answers::from_digest(digest))
    }
}
