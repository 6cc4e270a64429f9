//! Any bytes as a superblock, its checksum put right, and as the description of a segment: what is taken for one
//! comes out as it went in.
#![no_main]

use alluvium::checksum::checksum;
use alluvium::segment::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::superblock(bytes);
    fuzzing::meta(bytes);
    let mut sealed = bytes.to_vec();
    sealed.resize(128, 0);
    sealed[..8].copy_from_slice(b"ALVSEGMT");
    let sum = checksum(&sealed[..120]).to_le_bytes();
    sealed[120..].copy_from_slice(&sum);
    fuzzing::superblock(&sealed);
});
