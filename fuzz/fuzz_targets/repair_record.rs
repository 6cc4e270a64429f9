//! Any bytes as the record of an event that was taken back, and as a multiset. What is read is written again.
#![no_main]

use alluvium::repair::record::Record;
use alluvium::{KeyGroup, MergeOperator, multiset};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((user_key, value)) = bytes.split_first_chunk::<12>() {
        if let Ok(record) = Record::decode(KeyGroup(3), user_key, value) {
            let (key_again, again) = record.encode();
            // Lengths may be written longer than they have to be: what is written is read as the same.
            assert_eq!(Record::decode(KeyGroup(3), &key_again, &again).as_ref(), Ok(&record));
        }
    }
    let _ = multiset::top(bytes, 3);
    if multiset::elements(bytes).is_ok() {
        let operator = MergeOperator::Multiset;
        let inverse = operator.invert(bytes).expect("a multiset has an inverse");
        let mut nothing = Vec::new();
        operator.merge(bytes, &inverse, &mut nothing);
        assert!(operator.is_identity(&nothing));
    }
});
