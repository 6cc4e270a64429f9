//! Any bytes as a block of a segment, its checksum put right, as an index node, and as what a Clear clears: decoded and
//! searched.
#![no_main]

use alluvium::segment::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (key, bytes) = input;
    fuzzing::block(bytes, key);
    // Blocks are a multiple of 64 long; others are refused at once.
    let mut whole = bytes.to_vec();
    whole.resize(bytes.len().next_multiple_of(64), 0);
    fuzzing::block(&whole, key);
    fuzzing::index_node(bytes, key);
    fuzzing::clear(bytes, key);
});
