//! The files of a store, edited by somebody who knows the formats: every checksum is put right again.

use alluvium::changelog::format::{BLOCK_HEADER_BYTES, BlockHeader, FileHeader, PAGE_BYTES, payload_sum};
use alluvium::checksum::{checksum, digest, place};
use alluvium::hot_list::{Chunk, format as hot_list};
use alluvium::manifest::{Manifest, format};
use alluvium::segment::SegmentMeta;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// By name.
pub type Files = BTreeMap<String, Vec<u8>>;

pub fn names(files: &Files, suffix: &str) -> Vec<String> {
    files.keys().filter(|name| name.ends_with(suffix)).cloned().collect()
}

/// Puts length and checksums of a manifest right.
pub fn seal_manifest(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().max(format::HEAD_BYTES + format::DIGEST_BYTES), 0);
    let file_bytes = bytes.len() as u64;
    bytes[16..24].copy_from_slice(&file_bytes.to_le_bytes());
    let at = format::HEAD_BYTES - 8;
    let head = checksum(&bytes[..at]);
    bytes[at..at + 8].copy_from_slice(&head.to_le_bytes());
    bytes.truncate(bytes.len() - format::DIGEST_BYTES);
    let digest = digest(bytes);
    bytes.extend_from_slice(&digest.to_le_bytes());
}

/// What a manifest that is right says.
pub fn manifest(bytes: &[u8]) -> Manifest {
    format::decode(bytes, Path::new("edited")).expect("it was right before")
}

/// Edits a manifest; says whether what came out is one that can be written at all. Else nothing is changed.
pub fn edit_manifest(files: &mut Files, name: &str, edit: impl FnOnce(&mut Manifest)) -> bool {
    let mut manifest = manifest(&files[name]);
    edit(&mut manifest);
    let Ok(bytes) = format::encode(&manifest) else { return false };
    files.insert(name.to_owned(), bytes);
    true
}

/// The id in a segment's name.
fn id_of(name: &str) -> u128 {
    u128::from_str_radix(name.trim_end_matches(".segment"), 16).expect("a segment")
}

/// What the manifests say of a segment.
pub fn meta_of(files: &Files, name: &str) -> Option<SegmentMeta> {
    let manifests = names(files, ".manifest").into_iter().map(|name| manifest(&files[&name]));
    manifests.flat_map(|manifest| manifest.segments).find(|meta| meta.id.0 == id_of(name)).map(|meta| (*meta).clone())
}

/// Where the blocks of a segment are, and how long.
pub fn blocks_of(bytes: &[u8], meta: &SegmentMeta) -> Vec<(usize, usize)> {
    let table = meta.metadata.offset as usize + 64 * meta.filter_blocks as usize;
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize * 64;
    (0..meta.blocks as usize).map(|index| (word(table + 8 * index), word(table + 8 * index + 4))).collect()
}

/// Edits a segment and its description, and puts checksums, footer, and the manifests that name it right.
pub fn edit_segment(files: &mut Files, name: &str, edit: impl FnOnce(&mut [u8], &mut SegmentMeta)) {
    let Some(old) = meta_of(files, name) else { return };
    let (mut bytes, mut meta) = (files[name].clone(), old.clone());
    let blocks = blocks_of(&bytes, &old);
    let (start, len) = (old.metadata.offset as usize, old.metadata.len as usize);
    edit(&mut bytes[..start + len], &mut meta);
    for (at, len) in blocks {
        let sum = checksum(&bytes[at..at + len - 8]) ^ place(old.id.0, at as u64);
        bytes[at + len - 8..at + len].copy_from_slice(&sum.to_le_bytes());
    }
    bytes.truncate(start + len);
    let sums: Vec<u8> = bytes[start..].chunks(16 << 10).flat_map(|page| checksum(page).to_le_bytes()).collect();
    bytes.extend_from_slice(&sums);
    if meta.metadata.checksum == old.metadata.checksum {
        meta.metadata.checksum = checksum(&sums);
    }
    let closing = files[name][files[name].len() - 128..].to_vec();
    let (mut record, at) = (Vec::new(), bytes.len());
    meta.encode(&mut record);
    let file_bytes = (at + record.len() + 128) as u64;
    if meta.file_bytes == old.file_bytes {
        meta.file_bytes = file_bytes;
        record.clear();
        meta.encode(&mut record);
    }
    bytes.extend_from_slice(&record);
    bytes.extend_from_slice(&seal_closing(closing, file_bytes, at as u64, &record, &meta));
    let opening = seal_closing(bytes[..128].to_vec(), 0, 0, &[], &meta);
    bytes[..128].copy_from_slice(&opening);
    files.insert(name.to_owned(), bytes);
    for name in names(files, ".manifest") {
        edit_manifest(files, &name, |manifest| {
            for named in manifest.segments.iter_mut().filter(|named| named.id == old.id) {
                *named = Arc::new(meta.clone());
            }
        });
    }
}

/// A superblock that says where the record is; of an opening one nothing is said.
fn seal_closing(mut block: Vec<u8>, file_bytes: u64, at: u64, record: &[u8], meta: &SegmentMeta) -> Vec<u8> {
    block[32..40].copy_from_slice(&meta.hash_seed.to_le_bytes());
    block[40..44].copy_from_slice(&meta.epoch_low.0.to_le_bytes());
    block[44..48].copy_from_slice(&meta.epoch_high.0.to_le_bytes());
    block[48] = meta.level;
    if file_bytes > 0 {
        for (field, word) in [file_bytes, at, record.len() as u64, checksum(record)].into_iter().enumerate() {
            block[56 + 8 * field..64 + 8 * field].copy_from_slice(&word.to_le_bytes());
        }
    }
    let sum = checksum(&block[..120]);
    block[120..128].copy_from_slice(&sum.to_le_bytes());
    block
}

/// A changelog's file: its header, and its blocks with their payloads.
pub struct Log {
    pub header: FileHeader,
    pub blocks: Vec<(BlockHeader, Vec<u8>)>,
    len: usize,
}

impl Log {
    pub fn of(bytes: &[u8]) -> Self {
        let header = FileHeader::decode(bytes).expect("it was right before");
        let (mut blocks, mut at) = (Vec::new(), PAGE_BYTES);
        while let Some(block) = bytes.get(at..).and_then(|rest| BlockHeader::decode(rest, header.nonce, at as u64)) {
            let from = at + BLOCK_HEADER_BYTES;
            blocks.push((block, bytes[from..from + block.len as usize].to_vec()));
            at += block.file_bytes() as usize;
        }
        Self { header, blocks, len: bytes.len() }
    }

    /// Its bytes, with checksums that are right; where lengths say something else than what is there, so do they.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.header.encode().to_vec();
        out.resize(PAGE_BYTES, 0);
        for (block, payload) in &self.blocks {
            let at = out.len() as u64;
            let mut block = *block;
            block.payload_sum = payload_sum(payload, self.header.nonce, at);
            out.extend_from_slice(&block.encode(self.header.nonce, at));
            out.extend_from_slice(payload);
            out.resize(out.len().next_multiple_of(PAGE_BYTES), 0);
        }
        out.resize(out.len().max(self.len), 0);
        out
    }
}

/// A hot list: its trailer, and its chunks with their bytes.
pub struct HotList {
    pub trailer: hot_list::Trailer,
    pub chunks: Vec<(Chunk, Vec<u8>)>,
}

impl HotList {
    pub fn of(bytes: &[u8]) -> Self {
        let end = bytes.len() - hot_list::TRAILER_BYTES;
        let trailer = hot_list::Trailer::decode(&bytes[end..], bytes.len() as u64).expect("it was right before");
        let table = hot_list::table(&trailer, &bytes[trailer.table_at as usize..end]).expect("it was right before");
        let bytes_of = |chunk: &Chunk| bytes[chunk.offset as usize..][..chunk.bytes as usize].to_vec();
        Self { trailer, chunks: table.into_iter().map(|chunk| (chunk, bytes_of(&chunk))).collect() }
    }

    /// Its bytes, with checksums that are right.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (mut out, mut table) = (Vec::new(), Vec::new());
        for (chunk, bytes) in &self.chunks {
            out.extend_from_slice(bytes);
            hot_list::push_chunk(&mut table, &Chunk { checksum: checksum(bytes), ..*chunk });
        }
        let trailer = hot_list::Trailer { table_checksum: checksum(&table), ..self.trailer };
        out.extend_from_slice(&table);
        out.extend_from_slice(&trailer.encode());
        out
    }
}
