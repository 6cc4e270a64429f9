//! Dirty lists by themselves.

use super::memory;
use crate::hot::Memory;
use crate::hot::dirty::DirtyList;
use crate::hot::record::{Parts, Record, VALUE};

fn record(memory: &mut Memory) -> Record {
    let (area, value): (&[u8], [&[u8]; 2]) = (b"key", [b"value", b""]);
    let parts = Parts { tag: VALUE, stamp: 1, link: 0, expiry_ms: 0, area, value, spare: 0 };
    Record::create(memory, parts).unwrap()
}

/// What had died in a list that held nothing was forgotten when another joined it.
#[test]
fn what_died_in_either_of_two_lists_is_freed_when_they_are_one() {
    for filled in [[false, false], [false, true], [true, false], [true, true]] {
        for dead in [[0, 3], [3, 0], [2, 3]] {
            let mut memory = memory(8);
            let mut lists = [DirtyList::default(), DirtyList::default()];
            let mut living = Vec::new();
            for ((list, is_filled), dead) in lists.iter_mut().zip(filled).zip(dead) {
                if is_filled {
                    let record = record(&mut memory);
                    list.push(&mut memory, record.at).unwrap();
                    living.push(record.at);
                }
                for _ in 0..dead {
                    let mut record = record(&mut memory);
                    list.bury_for_good(memory.arena(), &mut record);
                }
            }
            let [mut list, other] = lists;
            list.join(memory.arena(), other);
            let mut seen = Vec::new();
            list.for_each(memory.arena(), |at| seen.push(at));
            assert_eq!(seen, living, "{filled:?}, {dead:?}");
            let (before, dead) = (memory.retired_bytes(), dead[0] + dead[1]);
            assert!(!list.free_dead(&mut memory, usize::MAX));
            let freed = memory.retired_bytes() - before;
            // A block of 16 bytes of words, 8 of key and 8 of value.
            assert_eq!(freed, dead * 32, "{filled:?}, {dead}");
        }
    }
}
