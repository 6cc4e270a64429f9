//! Entry points of the fuzz targets: each takes any bytes, and must neither panic, nor hang, nor allocate without
//! bounds. Not part of the API.

use crate::checksum::{checksum, place};
use crate::codec::Reader;

use crate::spans::{self, Spans};

use super::SegmentMeta;
use super::block::{Block, Position};
use super::format::{DirectoryEntry, Superblock};
use super::index::{Node, NodeHeader};

/// Decodes a superblock; one that decodes must come out as it went in.
pub fn superblock(bytes: &[u8]) {
    if let Ok(superblock) = Superblock::decode(bytes) {
        assert_eq!(superblock.encode(), bytes[..superblock.encode().len()]);
    }
}

/// Decodes a meta record; one that decodes must come out as it went in.
pub fn meta(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    if let Ok(meta) = SegmentMeta::decode(&mut reader) {
        let mut out = Vec::new();
        meta.encode(&mut out);
        assert_eq!(out, bytes[..reader.at()]);
    }
    let _ = DirectoryEntry::decode(bytes);
}

/// Searches an index node for `key`.
pub fn index_node(bytes: &[u8], key: &[u8]) {
    let Ok(header) = NodeHeader::decode(bytes) else { return };
    if let Ok(node) = Node::decode(header, bytes) {
        let _ = node.step(key);
        let _ = node.child(0);
    }
}

/// Takes the value of a Clear apart, and looks for `key` in it; one that may stand in a segment must come out as it went in.
pub fn clear(bytes: &[u8], key: &[u8]) {
    let clears = spans::clears(bytes, key);
    let decoded = Spans::of_clear(bytes);
    if spans::is_clear_value(bytes) && !bytes.is_empty() {
        assert_eq!(decoded.to_clear().as_deref(), Some(bytes));
        assert_eq!(decoded.find(key).is_some(), clears);
    }
    // As a marker in memory has them.
    let _ = (spans::hides(bytes, 0, key), spans::hides_all(bytes, 0), spans::clear_of_epochs(bytes, 0, 1));
}

/// Decodes a block, with its checksum mended so that what lies behind it is reached, and looks for `key` in it.
pub fn block(bytes: &[u8], key: &[u8]) {
    let place = place(1, 4096);
    let mut bytes = bytes.to_vec();
    if let Some(end) = bytes.len().checked_sub(8) {
        let sum = (checksum(&bytes[..end]) ^ place).to_le_bytes();
        bytes[end..].copy_from_slice(&sum);
    }
    let Ok(block) = Block::decode_copy(&bytes, place) else { return };
    let mut position = Position::default();
    let mut walked = 0;
    block.first(&mut position);
    while block.entry(&position).is_some() {
        walked += 1;
        block.next(&mut position);
    }
    assert_eq!(walked, block.len());
    block.seek(&mut position, key);
    block.prev(&mut position);
    block.seek_before(&mut position, key);
    block.next(&mut position);
    block.last(&mut position);
    assert!(block.entry(&position).is_some());
    let _ = block.get(key);
}
