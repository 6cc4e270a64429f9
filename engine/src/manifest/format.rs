//! The bytes of a manifest.
//!
//! ```text
//! head     128 bytes of fixed fields with their own checksum, so that a manifest can be told without reading it all
//! body     states | offsets | metadata | segments | maps | marks, if any | slices
//! digest   16 bytes: xxh3_128 of everything before
//! ```
//!
//! All numbers are little-endian; `docs/format.md` gives every field. Pure: no I/O, no clock, and no panic on any
//! input. Nothing is allocated for a count that the bytes left can't hold.

use crate::platform::safeguards::{Safeguard, stands};
use std::path::Path;
use std::sync::Arc;

use super::check::Section;
use super::marks::{Numbered, has_marks, push_marks, take_marks};
use super::{
    Invalid, MANIFEST_BYTES_MAX, Manifest, Marks, NAME_BYTES_MAX, OPAQUE_BYTES_MAX, Parent, Slice, StackEntry,
    StateInfo, StateMap, StoreInfo,
};
use crate::checksum;
use crate::codec::{DecodeError, Reader, push_prefixed, u32_at};
use crate::ids::{Epoch, KeyGroupRange, StateId};
use crate::platform::storage::{Fault, StorageError};
use crate::segment::SegmentMeta;

/// The first bytes of every manifest.
pub const MAGIC: [u8; 8] = *b"ALVMANIF";
/// The format version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// The length of the head, in bytes.
pub const HEAD_BYTES: usize = 128;
/// The length of the digest at the end, in bytes.
pub const DIGEST_BYTES: usize = 16;

const FLAG_LABEL: u32 = 1;
const FLAG_PARENT: u32 = 2;
const FLAG_MARKS: u32 = 4;
const FLAG_ROLLBACKS: u32 = 8;
const FLAG_SYNCED: u32 = 16;
/// Where the head's checksum lies, which covers everything before it.
const HEAD_CHECKSUM_AT: usize = HEAD_BYTES - 8;
const FILE_BYTES_AT: usize = 16;
/// Where the number lies.
pub(super) const NUMBER_AT: usize = 24;

// No item takes fewer bytes: what bounds a count by the bytes left.
const STATE_BYTES_MIN: usize = 10;
pub(super) const OFFSET_BYTES_MIN: usize = 8;
const SEGMENT_BYTES_MIN: usize = 128;
const MAP_BYTES_MIN: usize = 4;
const PAIR_BYTES: usize = 4;
const SLICE_BYTES_MIN: usize = 12;
const ENTRY_BYTES: usize = 8;

/// The fixed part at the front of a manifest: what it is, without what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// See [`Manifest::number`].
    pub number: u64,
    /// See [`Manifest::store`].
    pub store: StoreInfo,
    /// See [`Manifest::label`].
    pub label: Option<u64>,
    /// See [`Manifest::created_ms`].
    pub created_ms: u64,
    /// See [`Manifest::epoch`].
    pub epoch: Epoch,
    /// See [`Manifest::purge_clock_ms`].
    pub purge_clock_ms: u64,
    /// See [`Manifest::log_position`].
    pub log_position: u64,
    /// See [`Manifest::parent`].
    pub parent: Option<Parent>,
    /// Whether the body has a section of marks: some state was migrated.
    pub has_marks: bool,
    /// See [`Manifest::has_rollbacks`].
    pub has_rollbacks: bool,
    /// See [`Manifest::is_synced`].
    pub is_synced: bool,
    /// The length of the whole file.
    pub file_bytes: u64,
}

/// The bytes of a manifest, which must be consistent ([`Manifest::check`]) and at most [`MANIFEST_BYTES_MAX`] long.
pub fn encode(manifest: &Manifest) -> Result<Vec<u8>, Invalid> {
    manifest.check()?;
    let entries: usize = manifest.slices.iter().map(|slice| slice.stack.len()).sum();
    let mut out = Vec::with_capacity(4096 + manifest.segments.len() * 256 + entries * ENTRY_BYTES);
    push_head(&mut out, manifest);
    push_states(&mut out, &manifest.states);
    push_len(&mut out, manifest.offsets.len());
    for (range, bytes) in &manifest.offsets {
        push_range(&mut out, *range);
        push_prefixed(&mut out, bytes);
    }
    push_prefixed(&mut out, &manifest.metadata);
    push_len(&mut out, manifest.segments.len());
    for segment in &manifest.segments {
        segment.encode(&mut out);
    }
    push_maps(&mut out, &manifest.maps);
    let numbered = Numbered::of(manifest);
    if has_marks(manifest) {
        push_marks(&mut out, manifest, &numbered);
    }
    push_slices(&mut out, &manifest.slices, &numbered);

    let file_bytes = (out.len() + DIGEST_BYTES) as u64;
    if file_bytes > MANIFEST_BYTES_MAX {
        let detail = format!("{file_bytes} bytes are more than {MANIFEST_BYTES_MAX}");
        return Err(Invalid { section: Section::Head, detail });
    }
    out[FILE_BYTES_AT..FILE_BYTES_AT + 8].copy_from_slice(&file_bytes.to_le_bytes());
    let checksum = checksum::checksum(&out[..HEAD_CHECKSUM_AT]);
    out[HEAD_CHECKSUM_AT..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    let digest = checksum::digest(&out);
    out.extend_from_slice(&digest.to_le_bytes());
    Ok(out)
}

/// Reads what [`encode`] wrote. `path` is for errors alone.
pub fn decode(bytes: &[u8], path: &Path) -> Result<Manifest, StorageError> {
    let head = decode_head(bytes, path)?;
    let body = verified_body(bytes, &head, path)?;
    let corrupt = |at: usize, detail| StorageError::new(Fault::Corrupt, path, (HEAD_BYTES + at) as u64, detail);
    let (manifest, starts) = take_body(head, body).map_err(|error| corrupt(error.at, error.problem.to_owned()))?;
    manifest.check().map_err(|invalid| corrupt(starts.of(invalid.section), invalid.to_string()))?;
    Ok(manifest)
}

/// Reads the head of a manifest from its first [`HEAD_BYTES`] bytes; what follows them is neither read nor needed.
///
/// Magic, version and the checksum over both keep their places in every version, so that a newer manifest is told from
/// a damaged one.
pub fn decode_head(bytes: &[u8], path: &Path) -> Result<Head, StorageError> {
    let refuse = |fault, at: usize, detail: &str| Err(StorageError::new(fault, path, at as u64, detail));
    let shown = bytes.len().min(MAGIC.len());
    if bytes[..shown] != MAGIC[..shown] {
        return refuse(Fault::Foreign, 0, "not a manifest: wrong magic");
    }
    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
        return refuse(Fault::Length, bytes.len(), "shorter than the head of a manifest");
    };
    let (covered, sum) = head.split_at(HEAD_CHECKSUM_AT);
    if stands(Safeguard::ManifestChecksum) && checksum::checksum(covered).to_le_bytes() != sum {
        return refuse(Fault::Corrupt, HEAD_CHECKSUM_AT, "the head's checksum differs");
    }
    match u32_at(covered, MAGIC.len()) {
        Some(VERSION) => take_head(covered).or_else(|error| refuse(Fault::Corrupt, error.at, error.problem)),
        Some(0) | None => refuse(Fault::Corrupt, MAGIC.len(), "there is no version 0"),
        Some(version) => {
            let detail = format!("format version {version}; this program reads up to version {VERSION}");
            refuse(Fault::NewerVersion, MAGIC.len(), &detail)
        }
    }
}

/// The digest of an encoded manifest as [`Parent::digest`] keeps it: the first 8 of its last 16 bytes.
///
/// Meant for bytes that [`encode`] made or [`decode`] took; 0 for anything too short to be a manifest.
pub fn digest_of(bytes: &[u8]) -> u64 {
    bytes
        .last_chunk::<DIGEST_BYTES>()
        .and_then(|digest| digest.first_chunk::<8>())
        .map_or(0, |low| u64::from_le_bytes(*low))
}

/// The body, once length and digest hold.
fn verified_body<'a>(bytes: &'a [u8], head: &Head, path: &Path) -> Result<&'a [u8], StorageError> {
    let len = bytes.len() as u64;
    if len != head.file_bytes {
        let detail = format!("{len} bytes where the head says {}", head.file_bytes);
        return Err(StorageError::new(Fault::Length, path, len.min(head.file_bytes), detail));
    }
    let split = bytes.split_last_chunk::<DIGEST_BYTES>();
    let parts = split.and_then(|(covered, digest)| Some((covered, covered.get(HEAD_BYTES..)?, digest)));
    let Some((covered, body, digest)) = parts else {
        return Err(StorageError::new(Fault::Corrupt, path, FILE_BYTES_AT as u64, "no room for a body and a digest"));
    };
    if stands(Safeguard::ManifestChecksum) && checksum::digest(covered).to_le_bytes() != *digest {
        let detail = "the file's digest differs";
        return Err(StorageError::new(Fault::Corrupt, path, covered.len() as u64, detail));
    }
    Ok(body)
}

/// Where each section of the body starts, for errors that are found after reading.
#[derive(Default)]
struct Starts([usize; 8]);

impl Starts {
    fn set(&mut self, section: Section, reader: &Reader<'_>) {
        self.0[section as usize] = reader.at();
    }

    fn of(&self, section: Section) -> usize {
        self.0[section as usize]
    }
}

fn take_body(head: Head, body: &[u8]) -> Result<(Manifest, Starts), DecodeError> {
    let mut reader = Reader::new(body);
    let mut starts = Starts::default();
    starts.set(Section::States, &reader);
    let mut states = take_states(&mut reader)?;
    starts.set(Section::Offsets, &reader);
    let offsets = take_offsets(&mut reader)?;
    starts.set(Section::Metadata, &reader);
    let metadata = take_opaque(&mut reader)?;
    starts.set(Section::Segments, &reader);
    let segments = take_segments(&mut reader)?;
    starts.set(Section::Maps, &reader);
    let maps = take_maps(&mut reader)?;
    starts.set(Section::Marks, &reader);
    let numbered = Numbered::new(&maps);
    let (marks, numbered) = if head.has_marks {
        take_marks(&mut reader, &mut states, numbered)?
    } else {
        (vec![Marks::default()], numbered)
    };
    starts.set(Section::Slices, &reader);
    let slices = take_slices(&mut reader, &numbered)?;
    reader.finish()?;
    let Head { number, store, label, created_ms, epoch, purge_clock_ms, log_position, parent, .. } = head;
    let manifest = Manifest {
        number,
        store,
        label,
        created_ms,
        epoch,
        purge_clock_ms,
        states,
        offsets,
        metadata,
        log_position,
        has_rollbacks: head.has_rollbacks,
        is_synced: head.is_synced,
        parent,
        segments,
        maps,
        marks,
        slices,
    };
    Ok((manifest, starts))
}

fn push_head(out: &mut Vec<u8>, manifest: &Manifest) {
    let mut flags = 0;
    if manifest.label.is_some() {
        flags |= FLAG_LABEL;
    }
    if manifest.parent.is_some() {
        flags |= FLAG_PARENT;
    }
    if has_marks(manifest) {
        flags |= FLAG_MARKS;
    }
    if manifest.has_rollbacks {
        flags |= FLAG_ROLLBACKS;
    }
    if manifest.is_synced {
        flags |= FLAG_SYNCED;
    }
    let parent = manifest.parent.unwrap_or(Parent { number: 0, digest: 0 });
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    for number in [0, manifest.number, manifest.label.unwrap_or(0), manifest.created_ms] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&manifest.epoch.0.to_le_bytes());
    out.extend_from_slice(&manifest.store.key_groups.to_le_bytes());
    push_range(out, manifest.store.range);
    out.extend_from_slice(&0_u32.to_le_bytes());
    out.extend_from_slice(&manifest.store.uuid.to_le_bytes());
    let last = [
        manifest.store.hash_seed,
        manifest.purge_clock_ms,
        manifest.log_position,
        parent.number,
        parent.digest,
        0, // the checksum, once the length is known
    ];
    for number in last {
        out.extend_from_slice(&number.to_le_bytes());
    }
    debug_assert_eq!(out.len(), HEAD_BYTES);
}

/// The head's fields; magic, version and checksum hold.
fn take_head(bytes: &[u8]) -> Result<Head, DecodeError> {
    let reader = &mut Reader::new(bytes);
    reader.bytes(MAGIC.len() + 4)?;
    let flags_at = reader.at();
    let flags = reader.u32()?;
    if flags & !(FLAG_LABEL | FLAG_PARENT | FLAG_MARKS | FLAG_ROLLBACKS | FLAG_SYNCED) != 0 {
        return Err(DecodeError::new(flags_at, "unknown flags"));
    }
    let file_bytes = reader.u64()?;
    let number = reader.u64()?;
    let label = reader.u64()?;
    let created_ms = reader.u64()?;
    let epoch = Epoch(reader.u32()?);
    let key_groups_at = reader.at();
    let key_groups = reader.u32()?;
    let range = take_range(reader)?;
    let reserved = reader.u32()?;
    let uuid = reader.u128()?;
    let hash_seed = reader.u64()?;
    let purge_clock_ms = reader.u64()?;
    let log_position = reader.u64()?;
    let parent = Parent { number: reader.u64()?, digest: reader.u64()? };
    let store = StoreInfo { uuid, hash_seed, key_groups, range };
    let outside = DecodeError::new(key_groups_at, "the range lies outside of 1 to 65,536 key groups");
    store.check().map_err(|_| outside)?;
    let (has_label, has_parent) = (flags & FLAG_LABEL != 0, flags & FLAG_PARENT != 0);
    let absent = (has_label || label == 0) && (has_parent || parent == Parent { number: 0, digest: 0 });
    if reserved != 0 || !absent {
        return Err(DecodeError::new(flags_at, "a field that is absent is not zero"));
    }
    Ok(Head {
        number,
        store,
        label: has_label.then_some(label),
        created_ms,
        epoch,
        purge_clock_ms,
        log_position,
        parent: has_parent.then_some(parent),
        has_marks: flags & FLAG_MARKS != 0,
        has_rollbacks: flags & FLAG_ROLLBACKS != 0,
        is_synced: flags & FLAG_SYNCED != 0,
        file_bytes,
    })
}

fn push_states(out: &mut Vec<u8>, states: &[StateInfo]) {
    push_len(out, states.len());
    states.iter().for_each(|state| push_state(out, state));
}

fn push_state(out: &mut Vec<u8>, state: &StateInfo) {
    out.push(state.kind);
    out.push(u8::from(state.ttl.is_some()));
    push_name(out, &state.name);
    push_name(out, &state.merge);
    if let Some(ttl) = &state.ttl {
        push_prefixed(out, ttl);
    }
    push_prefixed(out, &state.user);
}

/// A state by itself, with its number in front: what a changelog says of it. Migrations are not part of it.
pub fn encode_state(state: &StateInfo) -> Vec<u8> {
    let mut out = state.id.0.to_le_bytes().to_vec();
    push_state(&mut out, state);
    out
}

/// Reads what [`encode_state`] wrote.
pub fn decode_state(bytes: &[u8]) -> Result<StateInfo, DecodeError> {
    let mut reader = Reader::new(bytes);
    let id = StateId(reader.u16()?);
    let state = take_state(&mut reader, id)?;
    reader.finish()?;
    Ok(state)
}

fn take_states(reader: &mut Reader<'_>) -> Result<Vec<StateInfo>, DecodeError> {
    let count = reader.count(STATE_BYTES_MIN)?;
    let mut states = Vec::with_capacity(count);
    for index in 0..count {
        let Ok(id) = u16::try_from(index) else {
            return Err(reader.error("more states than numbers"));
        };
        states.push(take_state(reader, StateId(id))?);
    }
    Ok(states)
}

fn take_state(reader: &mut Reader<'_>, id: StateId) -> Result<StateInfo, DecodeError> {
    let kind = reader.u8()?;
    let has_ttl = take_flag(reader)?;
    let name = take_name(reader)?;
    let merge = take_name(reader)?;
    let ttl = if has_ttl { Some(take_opaque(reader)?) } else { None };
    let user = take_opaque(reader)?;
    // Those of migrations come with the marks.
    let (lineage, conversions) = (0, Vec::new());
    Ok(StateInfo { name, id, kind, ttl, merge, user, lineage, conversions })
}

fn take_offsets(reader: &mut Reader<'_>) -> Result<Vec<(KeyGroupRange, Vec<u8>)>, DecodeError> {
    let count = reader.count(OFFSET_BYTES_MIN)?;
    let mut offsets = Vec::with_capacity(count);
    for _ in 0..count {
        offsets.push((take_range(reader)?, take_opaque(reader)?));
    }
    Ok(offsets)
}

fn take_segments(reader: &mut Reader<'_>) -> Result<Vec<Arc<SegmentMeta>>, DecodeError> {
    let count = reader.count(SEGMENT_BYTES_MIN)?;
    let mut segments = Vec::with_capacity(count);
    for _ in 0..count {
        segments.push(Arc::new(SegmentMeta::decode(reader)?));
    }
    Ok(segments)
}

/// The maps but the first, which is the identity and takes no bytes.
fn push_maps(out: &mut Vec<u8>, maps: &[StateMap]) {
    push_len(out, maps.len().saturating_sub(1));
    for map in maps.iter().skip(1) {
        let pairs = match map {
            StateMap::Identity => &[][..],
            StateMap::Pairs(pairs) => pairs,
        };
        push_len(out, pairs.len());
        for (from, to) in pairs {
            out.extend_from_slice(&from.0.to_le_bytes());
            out.extend_from_slice(&to.0.to_le_bytes());
        }
    }
}

fn take_maps(reader: &mut Reader<'_>) -> Result<Vec<StateMap>, DecodeError> {
    let count = reader.count(MAP_BYTES_MIN)?;
    let mut maps = Vec::with_capacity(count + 1);
    maps.push(StateMap::Identity);
    for _ in 0..count {
        let len = reader.count(PAIR_BYTES)?;
        let mut pairs = Vec::with_capacity(len);
        for _ in 0..len {
            pairs.push((StateId(reader.u16()?), StateId(reader.u16()?)));
        }
        maps.push(StateMap::Pairs(pairs));
    }
    Ok(maps)
}

fn push_slices(out: &mut Vec<u8>, slices: &[Slice], numbered: &Numbered) {
    push_len(out, slices.len());
    for slice in slices {
        push_range(out, slice.range);
        push_len(out, slice.stack.len());
        for entry in &slice.stack {
            out.extend_from_slice(&entry.segment.to_le_bytes());
            out.extend_from_slice(&numbered.number(entry).to_le_bytes());
        }
        push_prefixed(out, &slice.hot);
    }
}

fn take_slices(reader: &mut Reader<'_>, numbered: &Numbered) -> Result<Vec<Slice>, DecodeError> {
    let count = reader.count(SLICE_BYTES_MIN)?;
    let mut slices = Vec::with_capacity(count);
    for _ in 0..count {
        let range = take_range(reader)?;
        let len = reader.count(ENTRY_BYTES)?;
        // At once: a store may have a million entries.
        let (entries, _) = reader.bytes(len * ENTRY_BYTES)?.as_chunks::<ENTRY_BYTES>();
        let stack = entries.iter().map(|bytes| entry_from(bytes, numbered)).collect();
        slices.push(Slice { range, stack, hot: take_opaque(reader)? });
    }
    Ok(slices)
}

fn entry_from(bytes: &[u8; ENTRY_BYTES], numbered: &Numbered) -> StackEntry {
    let both = u64::from_le_bytes(*bytes);
    let (map, marks) = numbered.pair((both >> 32) as u32);
    StackEntry { segment: both as u32, map, marks }
}

pub(super) fn push_len(out: &mut Vec<u8>, len: usize) {
    debug_assert!(u32::try_from(len).is_ok(), "checked by Manifest::check");
    out.extend_from_slice(&(len as u32).to_le_bytes());
}

pub(super) fn push_name(out: &mut Vec<u8>, name: &str) {
    debug_assert!(name.len() <= NAME_BYTES_MAX, "checked by Manifest::check");
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(name.as_bytes());
}

fn push_range(out: &mut Vec<u8>, range: KeyGroupRange) {
    out.extend_from_slice(&range.first().to_le_bytes());
    out.extend_from_slice(&range.last().to_le_bytes());
}

fn take_opaque(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    reader.prefixed(OPAQUE_BYTES_MAX).map(<[u8]>::to_vec)
}

pub(super) fn take_name(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let len = usize::from(reader.u16()?);
    let at = reader.at();
    let name = std::str::from_utf8(reader.bytes(len)?);
    name.map(str::to_owned).map_err(|_| DecodeError::new(at, "a name that is not UTF-8"))
}

fn take_range(reader: &mut Reader<'_>) -> Result<KeyGroupRange, DecodeError> {
    let at = reader.at();
    let (first, last) = (reader.u16()?, reader.u16()?);
    if first <= last { Ok(KeyGroupRange::new(first, last)) } else { Err(DecodeError::new(at, "a range backwards")) }
}

fn take_flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    let at = reader.at();
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::new(at, "a flag that is neither 0 nor 1")),
    }
}
