//! The record of an event that was taken back: an entry of a map of the engine's own, in the event's key group.
//!
//! ```text
//! user key     source u32 | offset u64, big-endian; of the parts of a long one behind the first also the number of the part u32
//! value        position of the event u64 | position of the repair u64 | number of touched u32 | each: position u64, unit u64 | number of states |
//!              each: len | name | retractions, to the end
//! touched      at the position of another event; at the event's own what a function of the host's read or wrote to make up for it
//! retraction   which of these states | flags u8 | len(key), len(namespace), [len(user key)] | these | [before] | [after]
//! content      of a value: len | it; of a list: number of elements | len | each
//! ```
//!
//! A value that is longer than 64 KiB is cut into parts of that length. Little-endian where nothing else is said; lengths, and numbers with no
//! other width, are varints. States are told by their names: in another store, to which the key group may go, their numbers are others.
//! Positions are of the changelog of the store that the repair was done in; that of a store which was restored from others begins
//! behind all of theirs. Pure: no I/O, no clock, no panic on any input.

use super::{Content, Retraction};
use crate::codec::{DecodeError, Reader, push_varint};
use crate::ids::{EventId, KeyGroup, StateId};
use crate::states::StateDef;
use crate::store::State;
use std::collections::BTreeSet;
use std::sync::Arc;

const HAS_USER_KEY: u8 = 1;
const HAS_BEFORE: u8 = 2;
const HAS_AFTER: u8 = 4;
const LISTS: u8 = 8;

/// Marks a unit, which has 40 bits, that was only added to.
pub const ONLY_ADDED: u64 = 1 << 63;
/// In the place of a unit, with a position: any unit may be read or written by what came before that.
pub const ANY: u64 = 1 << 62;

/// How long a part is: what changed in all may be more than memory has room for in one piece.
const PART_BYTES: usize = 64 << 10;
const USER_KEY_BYTES: usize = 12;

/// The user key of an event's record.
pub fn name_of(id: EventId) -> [u8; USER_KEY_BYTES] {
    let mut name = [0; USER_KEY_BYTES];
    name[..4].copy_from_slice(&id.source.to_be_bytes());
    name[4..].copy_from_slice(&id.offset.to_be_bytes());
    name
}

/// Adds an entry of the map, met in order, to the user keys and values of whole records.
pub fn join(whole: &mut Vec<(Vec<u8>, Vec<u8>)>, user_key: &[u8], value: &[u8]) {
    match whole.last_mut() {
        Some((of, so_far)) if user_key.len() > USER_KEY_BYTES && user_key.starts_with(of) => {
            so_far.extend_from_slice(value);
        }
        _ => whole.push((user_key.to_vec(), value.to_vec())),
    }
}

/// An event that was taken back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The event.
    pub id: EventId,
    /// The position of its record in the changelog.
    pub position: u64,
    /// The position up to which the repair went: what came later came after it.
    pub at: u64,
    /// What events touched, when they were applied again, that the changelog doesn't have: position and unit. At the position of the event
    /// itself: see [`Record::by_host`].
    pub touched: Vec<(u64, u64)>,
    /// What changed, until the host has said that it has it.
    pub retractions: Vec<Retraction>,
}

impl Record {
    /// Where a function of the host's made up for the event: the units that it read or wrote, or that the event wrote, and whether both only
    /// added to them; [`ANY`] with the position of the last of other events where it made up for what these did as well. They lie at the event's own
    /// position, as nothing else does: an event that was taken back isn't applied again.
    pub fn by_host(&self) -> impl Iterator<Item = (u64, bool)> {
        let own = self.touched.iter().filter(|(position, _)| *position == self.position);
        own.map(|(_, unit)| (unit & !ONLY_ADDED, unit & ONLY_ADDED != 0))
    }

    /// What is among [`Record::touched`] of what events touched when they were applied again.
    pub fn by_events(&self) -> impl Iterator<Item = (u64, u64)> {
        self.touched.iter().copied().filter(|(position, _)| *position != self.position)
    }

    /// The value, in a store with these states.
    fn encode(&self, defs: &[Arc<StateDef>]) -> Vec<u8> {
        let mut out = [self.position.to_le_bytes(), self.at.to_le_bytes()].concat();
        out.extend_from_slice(&(self.touched.len() as u32).to_le_bytes());
        for (position, unit) in &self.touched {
            out.extend_from_slice(&position.to_le_bytes());
            out.extend_from_slice(&unit.to_le_bytes());
        }
        let states: BTreeSet<State> = self.retractions.iter().map(|retraction| retraction.state).collect();
        let states: Vec<State> = states.into_iter().collect();
        push_varint(&mut out, states.len() as u64);
        for state in &states {
            let def = defs.get(usize::from(state.id().0));
            push_part(&mut out, def.map_or(&[], |def| def.name.as_bytes()));
        }
        for retraction in &self.retractions {
            // All of them are there.
            push_varint(&mut out, states.partition_point(|state| *state < retraction.state) as u64);
            push_retraction(&mut out, retraction);
        }
        out
    }

    /// The entries of the map, in a store with these states.
    pub fn parts(&self, defs: &[Arc<StateDef>]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (first, bytes) = (name_of(self.id), self.encode(defs));
        let parts = bytes.chunks(PART_BYTES).zip(0_u32..);
        let named = parts.map(|(part, number)| {
            let mut user_key = first.to_vec();
            if number > 0 {
                user_key.extend_from_slice(&number.to_be_bytes());
            }
            (user_key, part.to_vec())
        });
        named.collect()
    }

    /// Reads what [`Record::parts`] made, put together again, of a key group of a store with these states.
    pub fn decode(defs: &[Arc<StateDef>], group: KeyGroup, user_key: &[u8], value: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        let (Some(source), Some(offset)) = (user_key.first_chunk::<4>(), user_key.last_chunk::<8>()) else {
            return Err(reader.error("the user key is no event"));
        };
        if user_key.len() != 12 {
            return Err(reader.error("the user key is no event"));
        }
        let id = EventId { source: u32::from_be_bytes(*source), offset: u64::from_be_bytes(*offset) };
        let (position, at) = (reader.u64()?, reader.u64()?);
        let count = reader.count(16)?;
        let touched = (0..count).map(|_| Ok((reader.u64()?, reader.u64()?))).collect::<Result<_, DecodeError>>()?;
        let (count, mut states, mut retractions) = (take_count(&mut reader)?, Vec::new(), Vec::new());
        for _ in 0..count {
            let name = take_part(&mut reader)?;
            let at = defs.iter().position(|def| def.name.as_bytes() == name);
            let state = at.and_then(|at| u16::try_from(at).ok()).ok_or(reader.error("no state of this name"))?;
            states.push(State::numbered(StateId(state)));
        }
        while reader.remaining() > 0 {
            let state = usize::try_from(reader.varint()?).ok().and_then(|at| states.get(at).copied());
            let state = state.ok_or(reader.error("none of its states"))?;
            retractions.push(take_retraction(&mut reader, group, state)?);
        }
        Ok(Self { id, position, at, touched, retractions })
    }
}

fn push_retraction(out: &mut Vec<u8>, retraction: &Retraction) {
    let Retraction { key, namespace, user_key, before, after, .. } = retraction;
    let lists = [before, after].into_iter().flatten().any(|content| matches!(content, Content::List(_)));
    let flag = |has: bool, flag| if has { flag } else { 0 };
    out.push(
        flag(user_key.is_some(), HAS_USER_KEY)
            | flag(before.is_some(), HAS_BEFORE)
            | flag(after.is_some(), HAS_AFTER)
            | flag(lists, LISTS),
    );
    for part in [Some(key), Some(namespace), user_key.as_ref()].into_iter().flatten() {
        push_part(out, part);
    }
    for content in [before, after].into_iter().flatten() {
        match content {
            Content::Value(value) => push_part(out, value),
            Content::List(elements) => {
                push_varint(out, elements.len() as u64);
                elements.iter().for_each(|element| push_part(out, element));
            }
        }
    }
}

fn push_part(out: &mut Vec<u8>, part: &[u8]) {
    push_varint(out, part.len() as u64);
    out.extend_from_slice(part);
}

fn take_retraction(reader: &mut Reader<'_>, group: KeyGroup, state: State) -> Result<Retraction, DecodeError> {
    let flags = reader.u8()?;
    if flags & !(HAS_USER_KEY | HAS_BEFORE | HAS_AFTER | LISTS) != 0 {
        return Err(reader.error("no such flags"));
    }
    let (key, namespace) = (take_part(reader)?, take_part(reader)?);
    let user_key = if flags & HAS_USER_KEY != 0 { Some(take_part(reader)?) } else { None };
    let mut content = |flag| {
        if flags & flag == 0 {
            return Ok(None);
        }
        if flags & LISTS == 0 {
            return take_part(reader).map(|value| Some(Content::Value(value)));
        }
        let count = take_count(reader)?;
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(take_part(reader)?);
        }
        Ok(Some(Content::List(elements)))
    };
    let (before, after) = (content(HAS_BEFORE)?, content(HAS_AFTER)?);
    Ok(Retraction { state, group, key, namespace, user_key, before, after })
}

fn take_count(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let count = reader.varint()?;
    usize::try_from(count).ok().filter(|count| *count <= reader.remaining()).ok_or(reader.error("ends too early"))
}

fn take_part(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let len = take_count(reader)?;
    reader.bytes(len).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::states::{StateOptions, definition};

    const GROUP: KeyGroup = KeyGroup(7);

    fn retraction(state: u16, user_key: Option<&[u8]>, before: Option<Content>, after: Option<Content>) -> Retraction {
        Retraction {
            state: State::numbered(StateId(state)),
            group: GROUP,
            key: b"key".to_vec(),
            namespace: b"".to_vec(),
            user_key: user_key.map(<[u8]>::to_vec),
            before,
            after,
        }
    }

    /// Of states 1 and 3.
    fn record() -> Record {
        let list = Content::List(vec![b"".to_vec(), b"element".to_vec()]);
        let value = Content::Value(b"value".to_vec());
        Record {
            id: EventId { source: 1, offset: u64::MAX - 1 },
            position: 5,
            at: 9,
            touched: vec![(5, 2), (5, 3 | ONLY_ADDED), (7, u64::MAX), (8, 1)],
            retractions: vec![
                retraction(1, None, None, Some(value.clone())),
                retraction(3, Some(b"user"), Some(value), None),
                retraction(3, None, Some(list.clone()), Some(list)),
            ],
        }
    }

    fn states(names: &[&str]) -> Vec<Arc<StateDef>> {
        let numbered = (0..).map(StateId).zip(names);
        numbered.map(|(id, name)| Arc::new(definition(id, StateOptions::value(name)))).collect()
    }

    #[test]
    fn records_are_read_back_and_cut_off_ones_refused() {
        let (record, defs) = (record(), states(&["a", "b", "c", "d"]));
        assert!(record.by_host().eq([(2, false), (3, true)]) && record.by_events().eq([(7, u64::MAX), (8, 1)]));
        let long = Record { touched: (0..9_000).map(|n| (n, n)).collect(), ..record.clone() };
        let mut whole = Vec::new();
        for (user_key, part) in record.parts(&defs).into_iter().chain(long.parts(&defs)) {
            // Another one's, so that the two are told apart.
            let user_key =
                if part.len() < 1_000 && user_key.len() == 12 { user_key } else { [&[9], &user_key[1..]].concat() };
            join(&mut whole, &user_key, &part);
        }
        assert_eq!(
            whole.iter().map(|(_, value)| value.len()).collect::<Vec<_>>(),
            [record.encode(&defs).len(), long.encode(&defs).len()]
        );
        assert_eq!(long.parts(&defs).len(), 3);
        let (user_key, bytes) = (name_of(record.id), record.encode(&defs));
        assert_eq!(Record::decode(&defs, GROUP, &user_key, &bytes), Ok(record.clone()));
        // What is cut off is refused, or it ends between two retractions.
        for len in 0..bytes.len() {
            if let Ok(found) = Record::decode(&defs, GROUP, &user_key, &bytes[..len]) {
                assert!(record.retractions.starts_with(&found.retractions), "{len} bytes");
            }
        }
        assert!(Record::decode(&defs, GROUP, &user_key[1..], &bytes).is_err());
    }

    #[test]
    fn states_are_found_by_their_names() {
        let record = record();
        let (user_key, bytes) = (name_of(record.id), record.encode(&states(&["a", "b", "c", "d"])));
        let elsewhere = Record::decode(&states(&["d", "x", "b"]), GROUP, &user_key, &bytes).unwrap();
        let found: Vec<u16> = elsewhere.retractions.iter().map(|retraction| retraction.state.id().0).collect();
        assert_eq!(found, [2, 0, 0]);
        assert!(Record::decode(&states(&["b"]), GROUP, &user_key, &bytes).is_err());
    }
}
