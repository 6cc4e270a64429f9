//! Any bytes as a hot list's trailer, table and chunks, with checksums that are right and as they come. What is read is written again.
#![no_main]

use alluvium::checksum::checksum;
use alluvium::hot_list::{Chunk, Entry, Stack, format};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = format::Trailer::decode(bytes, bytes.len() as u64);
    // A table is gone into only where its checksum is right.
    let chunks = (bytes.len() / format::CHUNK_ENTRY_BYTES) as u32;
    let trailer = format::Trailer { store: 1, chunks, table_at: u64::MAX / 2, table_checksum: checksum(bytes) };
    assert!(format::Trailer::decode(&trailer.encode(), 0).is_err(), "it doesn't fit");
    if let Ok(chunks) = format::table(&trailer, bytes) {
        let mut again = Vec::new();
        chunks.iter().for_each(|chunk| format::push_chunk(&mut again, chunk));
        assert_eq!(again, bytes);
    }
    let (records, bytes) = bytes.split_first().map_or((0, bytes), |(records, rest)| (u32::from(*records), rest));
    let len = bytes.len() as u32;
    let (stack, checksum) = (Stack::default(), checksum(bytes));
    let chunk = Chunk { offset: 0, bytes: len, records, first: 0, last: 0, tier: 0, stack, checksum };
    if let Ok(entries) = format::entries(&chunk, bytes) {
        let mut again = Vec::new();
        entries.iter().for_each(|entry: &Entry<'_>| entry.encode(&mut again));
        assert_eq!(again, bytes);
    }
});
