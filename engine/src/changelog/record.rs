//! The records of a changelog: what was changed, and what was committed.
//!
//! ```text
//! change    kind | state (varint) | key group u16 | [expiry] | len(key), [namespace], [user key], [value] | the parts
//! state     kind | len (varint) | what the registry knows of it
//! commit    kind | offsets and metadata
//! abort     kind; so is what says nothing
//! handler   kind | number | version | len, name: whose the events of this number are that follow
//! event     kind | number | key group u16 | clock | len(event) | len(determinants) | both
//! traced    as an event, with its id (source, offset) before the clock, and behind it all what it read and wrote, its length before
//! rollback  kind | number | label | [position] | first and last key group u16 | count of states, 0 for all | the states, ascending
//! ```
//!
//! `[..]` stands for what the kind has; expiries and lengths are varints. Changes say what became of the state, not how: an update is
//! the value that it left and when it expires, so replaying needs neither the host's code nor its clock. Those that add to what is
//! there without reading it (elements, an operand) stay what they are. Pure: no I/O, no clock, and no panic on any input.

use super::access::Accesses;
use crate::codec::{DecodeError, Head, Reader, VARINT_BYTES_MAX, push_varint};
use crate::ids::{EventId, KeyGroup, KeyGroupRange, StateId};
use crate::key::Key;
use crate::scope::Scope;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const APPEND: u8 = 3;
const MERGE: u8 = 4;
const TOUCH: u8 = 5;
const MAP_PUT: u8 = 6;
const MAP_DELETE: u8 = 7;
const MAP_DELETE_RANGE: u8 = 8;
const MAP_DELETE_FROM: u8 = 9;
const MAP_CLEAR: u8 = 10;
const MAP_TOUCH: u8 = 11;
const STATE: u8 = 24;
const COMMIT: u8 = 25;
const ABORT: u8 = 26;
const NOTHING: u8 = 27;
const HANDLER: u8 = 28;
const EVENT: u8 = 29;
const TRACED: u8 = 32;
const ROLLBACK: u8 = 40;
const ROLLBACK_TO: u8 = 41;
/// The key has a namespace.
const NAMESPACED: u8 = 0x80;
/// What is written expires.
const EXPIRING: u8 = 0x40;

/// How many bytes come before the parts of a change, at most, about.
const HEAD_BYTES: usize = 32;

/// What comes before the parts of an event, at most: kind and key group, the numbers of handler and source, and five of 64 bits.
type EventHead = Head<{ 3 + 2 * 5 + 5 * VARINT_BYTES_MAX }>;

/// What was changed at a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// A value was put, or an update left it, or a list, in its frames.
    Put(&'a [u8]),
    /// A value, a list or a merging state's value was deleted.
    Delete,
    /// Elements were appended to a list, in their frames.
    Append(&'a [u8]),
    /// An operand was merged.
    Merge(&'a [u8]),
    /// A value was read, which changed when it expires.
    Touch,
    /// User key and value.
    MapPut(&'a [u8], &'a [u8]),
    /// User key.
    MapDelete(&'a [u8]),
    /// From a user key up to another, which stays; or to the end.
    MapDeleteRange(&'a [u8], Option<&'a [u8]>),
    /// All entries.
    MapClear,
    /// A map's entry was read, which changed when it expires.
    MapTouch(&'a [u8]),
}

/// A record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record<'a> {
    /// A change.
    Change {
        /// The state.
        state: StateId,
        /// Where in it.
        key: Key<'a>,
        /// What became of it.
        change: Change<'a>,
        /// When it expires, in ms.
        expiry_ms: Option<u64>,
    },
    /// A state was registered, or changed: opaque here.
    State(&'a [u8]),
    /// Everything before is committed: offsets and metadata, see [`commit_parts`].
    Commit(&'a [u8]),
    /// Everything since the last commit was undone.
    Abort,
    /// Nothing.
    Nothing,
    /// The events of this number that follow are of this handler.
    Handler {
        /// The number.
        number: u32,
        /// The handler's version.
        version: u32,
        /// Its name.
        name: &'a str,
    },
    /// An event, in place of what it changed.
    Event(Event<'a>),
    /// One that is known by its id, and what it read and wrote.
    Traced(EventId, Event<'a>, Accesses<'a>),
    /// Some key groups and states went back to what a checkpoint has of them, or to what they were at a position behind one.
    Rollback(Rollback),
}

/// A rollback to a checkpoint, or to a position behind one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rollback {
    /// The number of the checkpoint's manifest; 0 for the beginning of the store.
    pub number: u64,
    /// Its label.
    pub label: u64,
    /// The position: at the checkpoint or behind it, and before this record; `None` where it is the checkpoint that was gone back to.
    pub to: Option<u64>,
    /// What went back.
    pub scope: Scope,
}

/// An event that was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// The number of its handler.
    pub handler: u32,
    /// The key group that it is for.
    pub group: KeyGroup,
    /// The writer's clock, in ms.
    pub now_ms: u64,
    /// The event itself.
    pub event: &'a [u8],
    /// What the handler drew, each with its length (varint) before it.
    pub determinants: &'a [u8],
}

/// Appends a change.
#[inline(never)]
pub fn push_change(out: &mut Vec<u8>, state: StateId, key: Key<'_>, change: Change<'_>, expiry_ms: Option<u64>) {
    let (kind, user_key, value) = match change {
        Change::Put(value) => (PUT, None, Some(value)),
        Change::Delete => (DELETE, None, None),
        Change::Append(frames) => (APPEND, None, Some(frames)),
        Change::Merge(operand) => (MERGE, None, Some(operand)),
        Change::Touch => (TOUCH, None, None),
        Change::MapPut(user_key, value) => (MAP_PUT, Some(user_key), Some(value)),
        Change::MapDelete(user_key) => (MAP_DELETE, Some(user_key), None),
        Change::MapDeleteRange(from, Some(to)) => (MAP_DELETE_RANGE, Some(from), Some(to)),
        Change::MapDeleteRange(from, None) => (MAP_DELETE_FROM, Some(from), None),
        Change::MapClear => (MAP_CLEAR, None, None),
        Change::MapTouch(user_key) => (MAP_TOUCH, Some(user_key), None),
    };
    let namespace = (!key.namespace.is_empty()).then_some(key.namespace);
    let parts = [Some(key.key), namespace, user_key, value];
    out.reserve(HEAD_BYTES + parts.iter().flatten().map(|part| part.len()).sum::<usize>());
    let flags = if namespace.is_some() { NAMESPACED } else { 0 } | if expiry_ms.is_some() { EXPIRING } else { 0 };
    out.push(kind | flags);
    push_varint(out, u64::from(state.0));
    out.extend_from_slice(&key.group.0.to_le_bytes());
    if let Some(expiry_ms) = expiry_ms {
        push_varint(out, expiry_ms);
    }
    parts.iter().flatten().for_each(|part| push_varint(out, part.len() as u64));
    parts.iter().flatten().for_each(|part| out.extend_from_slice(part));
}

/// Appends [`Change::Put`] of a short key and a word in a state of a low number, quickly.
#[inline]
pub fn push_word(out: &mut Vec<u8>, state: StateId, group: KeyGroup, key: &[u8], word: [u8; 8]) {
    if state.0 >= 0x80 || key.len() >= 0x80 {
        let key = Key { group, key, namespace: &[] };
        return push_change(out, state, key, Change::Put(&word), None);
    }
    let [low, high] = group.0.to_le_bytes();
    let head = [PUT, state.0 as u8, low, high, key.len() as u8, 8];
    // Of one piece of a known length where keys are as they mostly are: it is copied in a few instructions.
    match key.len() {
        8 => push_whole::<22>(out, head, key, word),
        16 => push_whole::<30>(out, head, key, word),
        _ => {
            out.reserve(14 + key.len());
            out.extend_from_slice(&head);
            out.extend_from_slice(key);
            out.extend_from_slice(&word);
        }
    }
}

#[inline(always)]
fn push_whole<const LEN: usize>(out: &mut Vec<u8>, head: [u8; 6], key: &[u8], word: [u8; 8]) {
    let mut whole = [0; LEN];
    whole[..6].copy_from_slice(&head);
    whole[6..LEN - 8].copy_from_slice(key);
    whole[LEN - 8..].copy_from_slice(&word);
    out.extend_from_slice(&whole);
}

/// Appends the registration of a state.
pub fn push_state(out: &mut Vec<u8>, described: &[u8]) {
    out.push(STATE);
    push_varint(out, described.len() as u64);
    out.extend_from_slice(described);
}

/// Appends a commit.
pub fn push_commit(out: &mut Vec<u8>, offsets: &[(KeyGroupRange, Vec<u8>)], metadata: &[u8]) {
    let mut parts = Vec::new();
    push_varint(&mut parts, offsets.len() as u64);
    for (range, bytes) in offsets {
        parts.extend_from_slice(&range.first().to_le_bytes());
        parts.extend_from_slice(&range.last().to_le_bytes());
        push_varint(&mut parts, bytes.len() as u64);
        parts.extend_from_slice(bytes);
    }
    push_varint(&mut parts, metadata.len() as u64);
    parts.extend_from_slice(metadata);
    out.push(COMMIT);
    push_varint(out, parts.len() as u64);
    out.extend_from_slice(&parts);
}

/// Appends a record that says nothing: a place in the stream of its own. It stands only where the stream lacks changes, or did until a
/// checkpoint that isn't complete yet has them: the past isn't told across it.
pub fn push_nothing(out: &mut Vec<u8>) {
    out.push(NOTHING);
}

/// Appends whose events of a number are that follow.
pub fn push_handler(out: &mut Vec<u8>, number: u32, version: u32, name: &str) {
    out.push(HANDLER);
    push_varint(out, u64::from(number));
    push_varint(out, u64::from(version));
    push_varint(out, name.len() as u64);
    out.extend_from_slice(name.as_bytes());
}

/// Appends an event.
pub fn push_event(out: &mut Vec<u8>, event: Event<'_>) {
    let Event { handler, group, now_ms, event, determinants } = event;
    let mut head = EventHead::new(EVENT);
    head.varint(u64::from(handler));
    group.0.to_le_bytes().into_iter().for_each(|byte| head.byte(byte));
    head.varint(now_ms);
    [event, determinants].iter().for_each(|part| head.varint(part.len() as u64));
    push_parts(out, &[head.bytes(), event, determinants]);
}

/// Appends an event with its id, and what it read and wrote.
pub fn push_traced(out: &mut Vec<u8>, id: EventId, event: Event<'_>, accesses: Accesses<'_>) {
    let (Event { handler, group, now_ms, event, determinants }, accesses) = (event, accesses.bytes());
    let mut head = EventHead::new(TRACED);
    head.varint(u64::from(handler));
    group.0.to_le_bytes().into_iter().for_each(|byte| head.byte(byte));
    head.varint(u64::from(id.source));
    head.varint(id.offset);
    head.varint(now_ms);
    [event, determinants, accesses].iter().for_each(|part| head.varint(part.len() as u64));
    push_parts(out, &[head.bytes(), event, determinants, accesses]);
}

fn push_parts(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.reserve(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn take_traced<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, DecodeError> {
    let handler = small(reader)?;
    let group = KeyGroup(reader.u16()?);
    let id = EventId { source: small(reader)?, offset: reader.varint()? };
    let now_ms = reader.varint()?;
    let (event, determinants, accesses) = (count(reader)?, count(reader)?, count(reader)?);
    let (event, determinants) = (reader.bytes(event)?, reader.bytes(determinants)?);
    let accesses = reader.bytes(accesses)?;
    let accesses = Accesses::new(accesses).ok_or_else(|| reader.error("what an event read and wrote is cut off"))?;
    Ok(Record::Traced(id, Event { handler, group, now_ms, event, determinants }, accesses))
}

fn take_handler<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, DecodeError> {
    let (number, version) = (small(reader)?, small(reader)?);
    let name = std::str::from_utf8(part(reader)?).map_err(|_| reader.error("a name that isn't UTF-8"))?;
    Ok(Record::Handler { number, version, name })
}

fn take_event<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, DecodeError> {
    let handler = small(reader)?;
    let (group, now_ms) = (KeyGroup(reader.u16()?), reader.varint()?);
    let (event, determinants) = (count(reader)?, count(reader)?);
    let (event, determinants) = (reader.bytes(event)?, reader.bytes(determinants)?);
    Ok(Record::Event(Event { handler, group, now_ms, event, determinants }))
}

fn small(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(reader.varint()?).map_err(|_| reader.error("a number of more than 32 bits"))
}

/// Appends an abort.
pub fn push_abort(out: &mut Vec<u8>) {
    out.push(ABORT);
}

/// Appends a rollback.
pub fn push_rollback(out: &mut Vec<u8>, rollback: &Rollback) {
    let Rollback { number, label, to, scope } = rollback;
    out.push(if to.is_some() { ROLLBACK_TO } else { ROLLBACK });
    push_varint(out, *number);
    push_varint(out, *label);
    if let Some(to) = to {
        push_varint(out, *to);
    }
    out.extend_from_slice(&scope.range().first().to_le_bytes());
    out.extend_from_slice(&scope.range().last().to_le_bytes());
    push_varint(out, scope.state_ids().len() as u64);
    scope.state_ids().iter().for_each(|state| push_varint(out, u64::from(state.0)));
}

fn take_rollback<'a>(reader: &mut Reader<'_>, has_position: bool) -> Result<Record<'a>, DecodeError> {
    let (number, label) = (reader.varint()?, reader.varint()?);
    let to = if has_position { Some(reader.varint()?) } else { None };
    let (first, last) = (reader.u16()?, reader.u16()?);
    if first > last {
        return Err(reader.error("a range of key groups that ends before it begins"));
    }
    let mut states = Vec::new();
    for _ in 0..count(reader)? {
        states
            .push(StateId(u16::try_from(reader.varint()?).map_err(|_| reader.error("a state's number is too large"))?));
    }
    if !states.is_sorted_by(|a, b| a < b) {
        return Err(reader.error("states that don't ascend"));
    }
    let scope = Scope::groups(KeyGroupRange::new(first, last)).of_states(states);
    Ok(Record::Rollback(Rollback { number, label, to, scope }))
}

/// What a commit carries.
pub type CommitParts = (Vec<(KeyGroupRange, Vec<u8>)>, Vec<u8>);

/// Offsets and metadata of a commit.
pub fn commit_parts(bytes: &[u8]) -> Result<CommitParts, DecodeError> {
    let mut reader = Reader::new(bytes);
    let count = count(&mut reader)?;
    let mut offsets = Vec::new();
    for _ in 0..count {
        let (first, last) = (reader.u16()?, reader.u16()?);
        if first > last {
            return Err(reader.error("a range of key groups that ends before it begins"));
        }
        offsets.push((KeyGroupRange::new(first, last), part(&mut reader)?.to_vec()));
    }
    let metadata = part(&mut reader)?.to_vec();
    reader.finish()?;
    Ok((offsets, metadata))
}

fn count(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let count = reader.varint()?;
    usize::try_from(count).ok().filter(|count| *count <= reader.remaining()).ok_or(reader.error("ends too early"))
}

fn part<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let len = count(reader)?;
    reader.bytes(len)
}

/// Key group and length of a change that is short and plain, as most are: without namespace, expiry or user key, and with numbers of one byte each.
/// `None` of any other record, and of what is none.
#[inline]
pub fn short_change(bytes: &[u8]) -> Option<(KeyGroup, usize)> {
    let &[kind, state, low, high, key, value] = bytes.first_chunk::<6>()?;
    let is_short = matches!(kind, PUT | APPEND | MERGE) && (state | key | value) < 0x80;
    let len = 6 + usize::from(key) + usize::from(value);
    (is_short && len <= bytes.len()).then(|| (KeyGroup(u16::from_le_bytes([low, high])), len))
}

/// The next record.
pub fn take<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, DecodeError> {
    let kind = reader.u8()?;
    match kind {
        STATE => return Ok(Record::State(part(reader)?)),
        COMMIT => return Ok(Record::Commit(part(reader)?)),
        ABORT => return Ok(Record::Abort),
        NOTHING => return Ok(Record::Nothing),
        HANDLER => return take_handler(reader),
        EVENT => return take_event(reader),
        TRACED => return take_traced(reader),
        ROLLBACK | ROLLBACK_TO => return take_rollback(reader, kind == ROLLBACK_TO),
        _ => {}
    }
    let (namespaced, expiring) = (kind & NAMESPACED != 0, kind & EXPIRING != 0);
    let kind = kind & !(NAMESPACED | EXPIRING);
    let (has_user_key, has_value) = match kind {
        PUT | APPEND | MERGE => (false, true),
        DELETE | MAP_CLEAR | TOUCH => (false, false),
        MAP_PUT | MAP_DELETE_RANGE => (true, true),
        MAP_DELETE | MAP_DELETE_FROM | MAP_TOUCH => (true, false),
        _ => return Err(reader.error("no such kind of record")),
    };
    let state = u16::try_from(reader.varint()?).map_err(|_| reader.error("a state's number is too large"))?;
    let group = KeyGroup(reader.u16()?);
    let expiry_ms = if expiring { Some(reader.varint()?) } else { None };
    let mut lens = [0; 4];
    for (len, has) in lens.iter_mut().zip([true, namespaced, has_user_key, has_value]) {
        if has {
            *len = count(reader)?;
        }
    }
    let [key, namespace, user_key, value] = lens;
    let (key, namespace) = (reader.bytes(key)?, reader.bytes(namespace)?);
    if namespaced && namespace.is_empty() {
        return Err(reader.error("an empty namespace is none"));
    }
    let (user_key, value) = (reader.bytes(user_key)?, reader.bytes(value)?);
    let change = match kind {
        PUT => Change::Put(value),
        DELETE => Change::Delete,
        APPEND => Change::Append(value),
        MERGE => Change::Merge(value),
        TOUCH => Change::Touch,
        MAP_PUT => Change::MapPut(user_key, value),
        MAP_DELETE => Change::MapDelete(user_key),
        MAP_DELETE_RANGE => Change::MapDeleteRange(user_key, Some(value)),
        MAP_DELETE_FROM => Change::MapDeleteRange(user_key, None),
        MAP_CLEAR => Change::MapClear,
        _ => Change::MapTouch(user_key),
    };
    Ok(Record::Change { state: StateId(state), key: Key { group, key, namespace }, change, expiry_ms })
}

#[cfg(test)]
mod unit {
    use super::super::access::{Access, AccessKind};
    use super::*;

    #[test]
    fn records_are_read_back() {
        let plain = Key { group: KeyGroup(65_535), key: b"key", namespace: b"" };
        let spaced = Key { group: KeyGroup(1), key: b"", namespace: b"ns" };
        let changes = [
            Change::Put(b"value"),
            Change::Delete,
            Change::Append(b""),
            Change::Merge(b"m"),
            Change::Touch,
            Change::MapPut(b"uk", b"v"),
            Change::MapDelete(b""),
            Change::MapDeleteRange(b"a", Some(b"")),
            Change::MapDeleteRange(b"a", None),
            Change::MapClear,
            Change::MapTouch(b"uk"),
        ];
        let mut bytes = Vec::new();
        for (key, expiry_ms) in [(plain, None), (spaced, Some(u64::MAX)), (plain, Some(0)), (spaced, None)] {
            changes.iter().for_each(|change| push_change(&mut bytes, StateId(300), key, *change, expiry_ms));
        }
        let long = [7; 200];
        push_word(&mut bytes, StateId(3), KeyGroup(9), b"counter", [1; 8]);
        push_word(&mut bytes, StateId(300), KeyGroup(9), &long, [2; 8]);
        push_word(&mut bytes, StateId(3), KeyGroup(9), b"8 bytes.", [3; 8]);
        push_word(&mut bytes, StateId(3), KeyGroup(9), b"16 bytes of key.", [4; 8]);
        push_state(&mut bytes, b"described");
        push_commit(&mut bytes, &[(KeyGroupRange::new(3, 9), vec![5; 300])], b"meta");
        push_abort(&mut bytes);
        push_nothing(&mut bytes);
        push_handler(&mut bytes, 300, u32::MAX, "panes");
        let event =
            Event { handler: 300, group: KeyGroup(7), now_ms: 1 << 40, event: b"event", determinants: b"\x011" };
        push_event(&mut bytes, event);
        let whole = Scope::groups(KeyGroupRange::new(0, 65_535));
        let part = Scope::groups(KeyGroupRange::new(5, 5)).of_states(vec![StateId(300), StateId(2)]);
        let rollback = |scope: &Scope, to| Rollback { number: 1 << 40, label: u64::MAX, to, scope: scope.clone() };
        let rollbacks =
            [rollback(&whole, None), rollback(&part, None), rollback(&whole, Some(0)), rollback(&part, Some(u64::MAX))];
        rollbacks.iter().for_each(|rollback| push_rollback(&mut bytes, rollback));

        let reader = &mut Reader::new(&bytes);
        for (key, expiry_ms) in [(plain, None), (spaced, Some(u64::MAX)), (plain, Some(0)), (spaced, None)] {
            for change in changes {
                assert_eq!(take(reader), Ok(Record::Change { state: StateId(300), key, change, expiry_ms }));
            }
        }
        let word = |state, key, word| {
            let key = Key { group: KeyGroup(9), key, namespace: &[] };
            Ok(Record::Change { state: StateId(state), key, change: Change::Put(word), expiry_ms: None })
        };
        assert_eq!(take(reader), word(3, b"counter", &[1; 8]));
        assert_eq!(take(reader), word(300, &long, &[2; 8]));
        assert_eq!(take(reader), word(3, b"8 bytes.", &[3; 8]));
        assert_eq!(take(reader), word(3, b"16 bytes of key.", &[4; 8]));
        assert_eq!(take(reader), Ok(Record::State(b"described")));
        let Ok(Record::Commit(parts)) = take(reader) else { panic!("a commit") };
        assert_eq!(commit_parts(parts), Ok((vec![(KeyGroupRange::new(3, 9), vec![5; 300])], b"meta".to_vec())));
        assert_eq!(take(reader), Ok(Record::Abort));
        assert_eq!(take(reader), Ok(Record::Nothing));
        assert_eq!(take(reader), Ok(Record::Handler { number: 300, version: u32::MAX, name: "panes" }));
        assert_eq!(take(reader), Ok(Record::Event(event)));
        for rollback in rollbacks {
            assert_eq!(take(reader), Ok(Record::Rollback(rollback)));
        }
        assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn short_changes_are_told_without_being_read() {
        let key = Key { group: KeyGroup(0x1234), key: b"key", namespace: b"" };
        let mut bytes = Vec::new();
        for change in [Change::Put(b"value"), Change::Append(b""), Change::Merge(&[1; 127])] {
            bytes.clear();
            push_change(&mut bytes, StateId(127), key, change, None);
            assert_eq!(short_change(&bytes), Some((key.group, bytes.len())));
            // Cut off it is none.
            (0..bytes.len()).for_each(|len| assert_eq!(short_change(&bytes[..len]), None));
        }
        let namespaced = Key { namespace: b"n", ..key };
        for (state, key, change, expiry_ms) in [
            (128, key, Change::Put(b"value"), None),
            (1, key, Change::Put(b"value"), Some(1)),
            (1, namespaced, Change::Put(b"value"), None),
            (1, key, Change::Put(&[1; 128]), None),
            (1, key, Change::Delete, None),
            (1, key, Change::MapPut(b"u", b"v"), None),
        ] {
            bytes.clear();
            push_change(&mut bytes, StateId(state), key, change, expiry_ms);
            assert_eq!(short_change(&bytes), None, "{change:?}");
        }
    }

    #[test]
    fn traced_events_are_read_back() {
        let event = Event { handler: 3, group: KeyGroup(7), now_ms: 1 << 40, event: b"event", determinants: b"\x011" };
        let mut bytes = Vec::new();
        let mut accessed = Vec::new();
        Access::of(AccessKind::Update, 1 << 39).push(&mut accessed);
        let id = EventId { source: u32::MAX, offset: u64::MAX };
        push_traced(&mut bytes, id, event, Accesses::new(&accessed).unwrap());
        let reader = &mut Reader::new(&bytes);
        let Ok(Record::Traced(found, traced, accesses)) = take(reader) else { panic!("a traced event") };
        assert_eq!((found, traced), (id, event));
        assert_eq!(accesses.iter().collect::<Vec<_>>(), [Access::of(AccessKind::Update, 1 << 39)]);
        assert_eq!(reader.remaining(), 0);
        // Accesses that are none are refused.
        *bytes.last_mut().unwrap() = 0;
        let at = bytes.len() - accessed.len();
        bytes[at] = 9;
        assert!(take(&mut Reader::new(&bytes)).is_err());
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bytes in [
            &[0_u8; 9][..],
            &[77],
            // A range that ends before it begins; states that don't ascend.
            &[ROLLBACK, 1, 1, 2, 0, 1, 0, 0],
            &[ROLLBACK, 1, 1, 0, 0, 1, 0, 2, 5, 5],
            &[ROLLBACK_TO, 1, 1, 9, 2, 0, 1, 0, 0],
            &[ROLLBACK_TO, 1, 1],
            &[PUT],
            &[PUT, 0, 0, 0, 200],
            &[PUT | EXPIRING, 0, 0, 0, 0x80],
            &[COMMIT, 9, 1],
            &[STATE],
        ] {
            assert!(take(&mut Reader::new(bytes)).is_err(), "{bytes:?}");
        }
        assert!(commit_parts(&[1, 9, 0, 3, 0, 0, 0]).is_err(), "a range the wrong way round");
        assert!(commit_parts(&[0, 0, 1]).is_err(), "bytes behind it");
        assert!(commit_parts(&[0xFF, 0xFF, 3]).is_err(), "more offsets than bytes");
    }
}
