//! Any bytes as a manifest: refused with an error that names the file, or read; and what was read can be written and
//! read again.
#![no_main]

use std::path::Path;

use alluvium::checksum;
use alluvium::manifest::{Manifest, format};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8]) {
    let path = Path::new("fuzzed");
    let decoded: Manifest = match format::decode(bytes, path) {
        Ok(decoded) => decoded,
        Err(error) => {
            assert_eq!(error.path, path);
            assert!(error.offset <= bytes.len() as u64);
            return;
        }
    };
    let encoded = format::encode(&decoded).expect("what was read is consistent");
    assert_eq!(format::decode(&encoded, path).expect("what was written is read"), decoded);
}

/// The same bytes with magic, version, length and checksums put right, so that the fuzzer gets at the fields.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    sealed.resize(bytes.len().max(format::HEAD_BYTES), 0);
    sealed[..8].copy_from_slice(&format::MAGIC);
    sealed[8..12].copy_from_slice(&format::VERSION.to_le_bytes());
    let file_bytes = (sealed.len() + format::DIGEST_BYTES) as u64;
    sealed[16..24].copy_from_slice(&file_bytes.to_le_bytes());
    let checksum_at = format::HEAD_BYTES - 8;
    let head = checksum::checksum(&sealed[..checksum_at]);
    sealed[checksum_at..format::HEAD_BYTES].copy_from_slice(&head.to_le_bytes());
    let digest = checksum::digest(&sealed);
    sealed.extend_from_slice(&digest.to_le_bytes());
    sealed
}

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    read(&sealed(bytes));
});
