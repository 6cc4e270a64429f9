//! The record of an event that was taken back: an entry of a map of the engine's own, in the event's key group.
//!
//! ```text
//! user key     source u32 | offset u64, big-endian; of the parts of a long one behind the first also the number of the part u32
//! value        position of the event u64 | position of the repair u64 | number of touched u32 | each: position u64, unit u64 | retractions, to
//!              the end
//! retraction   state u16 | flags u8 | len(key), len(namespace), [len(user key)] | these | [before] | [after]
//! content      of a value: len | it; of a list: number of elements | len | each
//! ```
//!
//! A value that is longer than 64 KiB is cut into parts of that length. Little-endian where nothing else is said; lengths and numbers of elements are varints. Pure: no I/O, no clock, no panic on any input.

use super::{Content, Retraction};
use crate::codec::{DecodeError, Reader, push_varint};
use crate::ids::{EventId, KeyGroup, StateId};
use crate::store::State;

const HAS_USER_KEY: u8 = 1;
const HAS_BEFORE: u8 = 2;
const HAS_AFTER: u8 = 4;
const LISTS: u8 = 8;

/// How long a part is: what changed in all may be more than memory has room for in one piece.
const PART_BYTES: usize = 64 << 10;
const USER_KEY_BYTES: usize = 12;

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
    /// What events touched, when they were applied again, that the changelog doesn't have: position and unit.
    pub touched: Vec<(u64, u64)>,
    /// What changed, until the host has said that it has it.
    pub retractions: Vec<Retraction>,
}

impl Record {
    /// User key and value.
    pub fn encode(&self) -> ([u8; 12], Vec<u8>) {
        let mut user_key = [0; 12];
        user_key[..4].copy_from_slice(&self.id.source.to_be_bytes());
        user_key[4..].copy_from_slice(&self.id.offset.to_be_bytes());
        let mut out = [self.position.to_le_bytes(), self.at.to_le_bytes()].concat();
        out.extend_from_slice(&(self.touched.len() as u32).to_le_bytes());
        for (position, unit) in &self.touched {
            out.extend_from_slice(&position.to_le_bytes());
            out.extend_from_slice(&unit.to_le_bytes());
        }
        self.retractions.iter().for_each(|retraction| push_retraction(&mut out, retraction));
        (user_key, out)
    }

    /// The entries of the map.
    pub fn parts(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (first, bytes) = self.encode();
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

    /// Reads what [`Record::encode`] made, of a key group.
    pub fn decode(group: KeyGroup, user_key: &[u8], value: &[u8]) -> Result<Self, DecodeError> {
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
        let mut retractions = Vec::new();
        while reader.remaining() > 0 {
            retractions.push(take_retraction(&mut reader, group)?);
        }
        Ok(Self { id, position, at, touched, retractions })
    }
}

fn push_retraction(out: &mut Vec<u8>, retraction: &Retraction) {
    let Retraction { state, key, namespace, user_key, before, after, .. } = retraction;
    let lists = [before, after].into_iter().flatten().any(|content| matches!(content, Content::List(_)));
    let flag = |has: bool, flag| if has { flag } else { 0 };
    out.extend_from_slice(&state.id().0.to_le_bytes());
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

fn take_retraction(reader: &mut Reader<'_>, group: KeyGroup) -> Result<Retraction, DecodeError> {
    let state = State::numbered(StateId(reader.u16()?));
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

    #[test]
    fn records_are_read_back_and_cut_off_ones_refused() {
        let group = KeyGroup(7);
        let retraction = |user_key: Option<&[u8]>, before, after| Retraction {
            state: State::numbered(StateId(3)),
            group,
            key: b"key".to_vec(),
            namespace: b"".to_vec(),
            user_key: user_key.map(<[u8]>::to_vec),
            before,
            after,
        };
        let list = Content::List(vec![b"".to_vec(), b"element".to_vec()]);
        let value = Content::Value(b"value".to_vec());
        let record = Record {
            id: EventId { source: 1, offset: u64::MAX - 1 },
            position: 5,
            at: 9,
            touched: vec![(7, u64::MAX), (8, 1)],
            retractions: vec![
                retraction(None, None, Some(value.clone())),
                retraction(Some(b"user"), Some(value), None),
                retraction(None, Some(list.clone()), Some(list)),
            ],
        };
        let long = Record { touched: (0..9_000).map(|n| (n, n)).collect(), ..record.clone() };
        let mut whole = Vec::new();
        for (user_key, part) in record.parts().into_iter().chain(long.parts()) {
            // Another one's, so that the two are told apart.
            let user_key =
                if part.len() < 1_000 && user_key.len() == 12 { user_key } else { [&[9], &user_key[1..]].concat() };
            join(&mut whole, &user_key, &part);
        }
        assert_eq!(
            whole.iter().map(|(_, value)| value.len()).collect::<Vec<_>>(),
            [record.encode().1.len(), long.encode().1.len()]
        );
        assert_eq!(long.parts().len(), 3);
        let (user_key, bytes) = record.encode();
        assert_eq!(Record::decode(group, &user_key, &bytes), Ok(record.clone()));
        // What is cut off is refused, or it ends between two retractions.
        for len in 0..bytes.len() {
            if let Ok(found) = Record::decode(group, &user_key, &bytes[..len]) {
                assert!(record.retractions.starts_with(&found.retractions), "{len} bytes");
            }
        }
        assert!(Record::decode(group, &user_key[1..], &bytes).is_err());
    }
}
