//! Packed batches, as callers of the bindings send them: any bytes are refused or decoded, and what is decoded packs into the
//! same bytes again.
#![no_main]

use alluvium_ffi::packed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(operations) = packed::decode(bytes) else { return };
    let mut again = Vec::new();
    for operation in &operations {
        assert!(operation.push(&mut again).is_ok(), "what was decoded fits");
        assert!(u32::from(operation.key(128).group.0) < 1 << 16);
    }
    assert_eq!(again, bytes);
    let ranges = packed::ranges(&operations);
    if let Ok(batch) = packed::batch(&operations, &ranges, 128) {
        assert_eq!(batch.len(), operations.len());
    }
});
