//! The bytes of a checkpoint in a remote directory: a manifest, and the checksums of the segments that it names.
//!
//! ```text
//! head      64 bytes
//!   0  magic          8  "ALVREMOT"
//!   8  version        u32
//!  12  chunk_bytes    u32   what each checksum is of
//!  16  sequence       u64   the number that the object's name says
//!  24  manifest_bytes u64
//!  32  sums           u64   how many checksums there are
//!  40  object_bytes   u64   the length of the whole object
//!  48  reserved       u64   0
//!  56  checksum       u64   of bytes 0 to 55
//! manifest  as the engine encodes it
//! sums      u64 each: xxh3_64 of every chunk of every segment, in the manifest's order; a segment's last may be shorter
//! digest    16 bytes: xxh3_128 of everything before
//! ```
//!
//! The manifest's own head lies in bytes 64 to 191, so that a checkpoint can be told without reading it all. All numbers are
//! little-endian. Pure: no I/O, no clock, and no panic on any input.

use super::error::{RemoteError, RemoteFault, RemoteResult};
use crate::checksum::{checksum, digest};
use crate::codec::{u32_at, u64_at};
use crate::manifest::{self, Head, Manifest};
use std::path::Path;
use std::sync::Arc;

/// The first bytes of every checkpoint.
pub const MAGIC: [u8; 8] = *b"ALVREMOT";
/// The format version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// The length of the head, in bytes.
pub const HEAD_BYTES: usize = 64;
/// How much of a segment each checksum is of, in bytes.
pub const SUM_CHUNK_BYTES: u64 = 256 << 10;
/// The head and the manifest's head: what [`decode_heads`] needs.
pub const HEADS_BYTES: usize = HEAD_BYTES + manifest::format::HEAD_BYTES;
/// The longest checkpoint object, in bytes.
pub const OBJECT_BYTES_MAX: u64 = 4 << 30;

const DIGEST_BYTES: usize = 16;
const CHECKSUM_AT: usize = HEAD_BYTES - 8;

/// The checksums of a file's chunks.
pub fn sums_of(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks(SUM_CHUNK_BYTES as usize).map(checksum)
}

/// How many checksums a file of this length has.
pub const fn sums_count(file_bytes: u64) -> u64 {
    file_bytes.div_ceil(SUM_CHUNK_BYTES)
}

/// Compares bytes of a file with its checksums: where, in bytes of the file, the first chunk starts that differs. `offset` is where they begin, at the start of a
/// chunk; they end at the end of one, or of the file.
pub fn first_difference(sums: &[u64], offset: u64, bytes: &[u8]) -> Option<u64> {
    let first = usize::try_from(offset / SUM_CHUNK_BYTES).unwrap_or(usize::MAX);
    let found = sums_of(bytes);
    let wanted = sums.get(first..).unwrap_or_default().iter().copied().map(Some).chain(std::iter::repeat(None));
    let at = found.zip(wanted).position(|(found, wanted)| Some(found) != wanted)?;
    Some(offset + at as u64 * SUM_CHUNK_BYTES)
}

/// A checkpoint that was read.
#[derive(Debug)]
pub struct Checkpoint {
    /// Its number in the directory, which rises.
    pub sequence: u64,
    /// What it holds.
    pub manifest: Manifest,
    /// The manifest as the engine encoded it.
    pub manifest_bytes: Vec<u8>,
    /// The checksums of each segment, in the manifest's order.
    pub sums: Vec<Arc<[u64]>>,
}

/// The bytes of a checkpoint; `sums` are in the order of the manifest's segments.
pub fn encode(sequence: u64, manifest: &[u8], sums: &[Arc<[u64]>]) -> Vec<u8> {
    let count: usize = sums.iter().map(|sums| sums.len()).sum();
    let object_bytes = HEAD_BYTES + manifest.len() + count * 8 + DIGEST_BYTES;
    let mut out = Vec::with_capacity(object_bytes);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(SUM_CHUNK_BYTES as u32).to_le_bytes());
    for word in [sequence, manifest.len() as u64, count as u64, object_bytes as u64, 0] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&checksum(&out).to_le_bytes());
    debug_assert_eq!(out.len(), HEAD_BYTES);
    out.extend_from_slice(manifest);
    sums.iter().flat_map(|sums| sums.iter()).for_each(|sum| out.extend_from_slice(&sum.to_le_bytes()));
    out.extend_from_slice(&digest(&out).to_le_bytes());
    out
}

struct Outline {
    sequence: u64,
    manifest_bytes: u64,
    sums: u64,
    object_bytes: u64,
}

fn decode_head(bytes: &[u8], object: &str) -> RemoteResult<Outline> {
    let refuse = |fault, at: usize, detail: &str| Err(RemoteError::object(object, fault, at as u64, detail));
    let shown = bytes.len().min(MAGIC.len());
    if bytes[..shown] != MAGIC[..shown] {
        return refuse(RemoteFault::Foreign, 0, "not a checkpoint: wrong magic");
    }
    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
        return refuse(RemoteFault::Length, bytes.len(), "shorter than the head of a checkpoint");
    };
    let word = |at: usize| u64_at(head, at).unwrap_or_default();
    if checksum(&head[..CHECKSUM_AT]) != word(CHECKSUM_AT) {
        return refuse(RemoteFault::Corrupt, CHECKSUM_AT, "the head's checksum differs");
    }
    match u32_at(head, 8) {
        Some(VERSION) => {}
        version => {
            let detail = format!("format version {version:?}; this program reads up to version {VERSION}");
            return refuse(RemoteFault::NewerVersion, 8, &detail);
        }
    }
    if u32_at(head, 12).map(u64::from) != Some(SUM_CHUNK_BYTES) || word(48) != 0 {
        return refuse(RemoteFault::Corrupt, 12, "a fixed field is not what it should be");
    }
    let outline = Outline { sequence: word(16), manifest_bytes: word(24), sums: word(32), object_bytes: word(40) };
    let fixed = (HEAD_BYTES + DIGEST_BYTES) as u64;
    let sums_bytes = outline.sums.checked_mul(8);
    let whole = sums_bytes.and_then(|sums| sums.checked_add(outline.manifest_bytes)?.checked_add(fixed));
    if whole != Some(outline.object_bytes) || outline.object_bytes > OBJECT_BYTES_MAX {
        return refuse(RemoteFault::Corrupt, 24, "the lengths don't add up");
    }
    Ok(outline)
}

/// Reads what lies in the first [`HEADS_BYTES`] of an object of `object_bytes`: the checkpoint's number and the manifest's head.
pub fn decode_heads(bytes: &[u8], object_bytes: u64, object: &str) -> RemoteResult<(u64, Head)> {
    let outline = decode_head(bytes, object)?;
    check_length(&outline, object_bytes, object)?;
    let head = manifest::format::decode_head(&bytes[HEAD_BYTES..], Path::new(object));
    let head = head.map_err(|error| RemoteError::of_decoding(object.to_owned(), moved(error)))?;
    Ok((outline.sequence, head))
}

fn check_length(outline: &Outline, object_bytes: u64, object: &str) -> RemoteResult<()> {
    if outline.object_bytes == object_bytes {
        return Ok(());
    }
    let detail = format!("{object_bytes} bytes where the head says {}", outline.object_bytes);
    Err(RemoteError::object(object, RemoteFault::Length, object_bytes.min(outline.object_bytes), detail))
}

/// The same failure, in the object that the manifest lies in.
fn moved(mut error: crate::platform::storage::StorageError) -> crate::platform::storage::StorageError {
    error.offset += HEAD_BYTES as u64;
    error
}

/// Reads what [`encode`] wrote. `object` is for errors alone.
pub fn decode(bytes: &[u8], object: &str) -> RemoteResult<Checkpoint> {
    let outline = decode_head(bytes, object)?;
    check_length(&outline, bytes.len() as u64, object)?;
    let corrupt = |at: usize, detail: &str| RemoteError::object(object, RemoteFault::Corrupt, at as u64, detail);
    let (covered, found) = bytes.split_last_chunk::<DIGEST_BYTES>().ok_or_else(|| corrupt(0, "no digest"))?;
    if digest(covered).to_le_bytes() != *found {
        return Err(corrupt(covered.len(), "the object's digest differs"));
    }
    let body = covered.get(HEAD_BYTES..).unwrap_or_default();
    let split = usize::try_from(outline.manifest_bytes).ok().and_then(|at| body.split_at_checked(at));
    let (manifest_bytes, sums) = split.ok_or_else(|| corrupt(24, "the manifest is longer than the object"))?;
    let decoded = manifest::format::decode(manifest_bytes, Path::new(object));
    let manifest = decoded.map_err(|error| RemoteError::of_decoding(object.to_owned(), moved(error)))?;
    let mut words = sums.chunks_exact(8).filter_map(|word| u64_at(word, 0));
    let wanted = manifest.segments.iter().fold(0_u64, |sum, meta| sum.saturating_add(sums_count(meta.file_bytes)));
    if wanted != outline.sums {
        return Err(corrupt(32, "not as many checksums as the segments have chunks"));
    }
    let of_segment = |bytes: u64| words.by_ref().take(sums_count(bytes) as usize).collect::<Arc<[u64]>>();
    let sums = manifest.segments.iter().map(|meta| meta.file_bytes).map(of_segment).collect();
    Ok(Checkpoint { sequence: outline.sequence, manifest, manifest_bytes: manifest_bytes.to_vec(), sums })
}
