//! Any bytes as the record of an event that was taken back, and as a multiset. What is read is written again.
#![no_main]

use alluvium::ids::StateId;
use alluvium::repair::record::{Record, join};
use alluvium::states::{StateDef, definition};
use alluvium::{KeyGroup, MergeOperator, StateOptions, multiset};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|bytes: &[u8]| {
    // Retractions name their states.
    let defs: Vec<Arc<StateDef>> = ["", "a", "b"]
        .into_iter()
        .zip(0..)
        .map(|(name, number)| Arc::new(definition(StateId(number), StateOptions::value(name))))
        .collect();
    if let Some((user_key, value)) = bytes.split_first_chunk::<12>() {
        if let Ok(record) = Record::decode(&defs, KeyGroup(3), user_key, value) {
            let mut whole = Vec::new();
            for (user_key, part) in record.parts(&defs) {
                join(&mut whole, &user_key, &part);
            }
            // Lengths may be written longer than they have to be: what is written is read as the same.
            let [(key_again, again)] = &whole[..] else { panic!("one record, not {}", whole.len()) };
            assert_eq!(Record::decode(&defs, KeyGroup(3), key_again, again).as_ref(), Ok(&record));
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
