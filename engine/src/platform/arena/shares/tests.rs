//! Shares by themselves.

use super::*;
use crate::platform::arena::CHUNK_BYTES;

const MIB: usize = 1 << 20;

#[test]
fn what_is_guaranteed_is_taken_by_nobody_else_and_limits_hold() {
    let arena = Arc::new(Arena::new(8 * MIB, 0).unwrap());
    let slot = Share::open(&arena, None, 2 * MIB, 4 * MIB).unwrap();
    let inner = Share::open(&arena, Some(&slot), MIB, usize::MAX).unwrap();
    let other = Share::open(&arena, Some(&slot), 0, usize::MAX).unwrap();
    let free = Share::open(&arena, None, 0, usize::MAX).unwrap();
    assert_eq!([&slot, &inner, &other, &free].map(|share| share.free_bytes() / MIB), [3, 4, 3, 6]);
    assert!(Share::open(&arena, Some(&slot), 4 * MIB, usize::MAX).is_none(), "5 MiB of 4 promised");
    assert!(Share::open(&arena, None, 7 * MIB, usize::MAX).is_none(), "9 MiB of 8 promised");
    let take_all = |share: &Share| {
        let mut taken = Vec::new();
        while let Some(chunk) = arena.take(share, 1) {
            taken.push(chunk);
        }
        taken
    };
    // 2 MiB are the slot's.
    let of_free = take_all(&free);
    assert_eq!(of_free.len() * CHUNK_BYTES, 6 * MIB);
    // 1 MiB of these is the inner one's.
    let of_other = take_all(&other);
    assert_eq!(of_other.len() * CHUNK_BYTES, MIB);
    assert!(other.is_helped_by(&free, CHUNK_BYTES, 0) && !free.is_helped_by(&inner, CHUNK_BYTES, 0));
    let of_inner = take_all(&inner);
    assert!((MIB - CHUNK_BYTES..=MIB).contains(&(of_inner.len() * CHUNK_BYTES)), "chunk 0 is nobody's");
    of_free.iter().for_each(|&chunk| arena.give_back(&free, chunk, 1));
    // The slot's limit stops both now.
    let more = take_all(&inner);
    assert_eq!((of_other.len() + of_inner.len() + more.len()) * CHUNK_BYTES, 4 * MIB);
    assert!(inner.is_helped_by(&other, CHUNK_BYTES, 0) && !inner.is_helped_by(&free, CHUNK_BYTES, 0));
    assert_eq!((slot.used_bytes(), free.used_bytes(), free.free_bytes()), (4 * MIB, 0, 4 * MIB));
    of_inner.iter().chain(&more).for_each(|&chunk| arena.give_back(&inner, chunk, 1));
    of_other.iter().for_each(|&chunk| arena.give_back(&other, chunk, 1));
    drop((inner, other, slot));
    assert_eq!(free.free_bytes(), 8 * MIB);
    assert_eq!(arena.used_bytes(), 0);
}

#[test]
fn what_is_left_to_others_is_short_where_it_would_be_taken() {
    let arena = Arc::new(Arena::new(16 * MIB, 0).unwrap());
    let slot = Share::open(&arena, None, 0, 4 * MIB).unwrap();
    let [full, new] = [0; 2].map(|_| Share::open(&arena, Some(&slot), 0, usize::MAX).unwrap());
    let stranger = Share::open(&arena, None, 0, usize::MAX).unwrap();
    let take = |share: &Share, bytes: usize| -> Vec<u32> {
        (0..bytes / CHUNK_BYTES).map(|_| arena.take(share, 1).unwrap()).collect()
    };
    let mut taken = vec![(&full, take(&full, 4 * MIB - MIB / 4)), (&stranger, take(&stranger, 8 * MIB))];
    // A chunk could be had, but with nothing left in the slot for others.
    assert!(!new.has_room_above(MIB / 4, CHUNK_BYTES, 16));
    assert!(new.is_helped_by(&full, CHUNK_BYTES, MIB / 4) && !new.is_helped_by(&stranger, CHUNK_BYTES, MIB / 4));
    // The whole budget is what is short first.
    taken.push((&stranger, take(&stranger, 4 * MIB)));
    assert!(new.is_helped_by(&full, MIB / 4 + CHUNK_BYTES, 0) && new.is_helped_by(&full, CHUNK_BYTES, MIB / 4));
    let rest = arena.free_bytes() / CHUNK_BYTES * CHUNK_BYTES;
    taken.push((&stranger, take(&stranger, rest.min(MIB / 4 - CHUNK_BYTES))));
    assert!(new.is_helped_by(&stranger, MIB / 16, MIB / 4), "the whole stops it, not what is to be left");
    for (share, chunks) in taken {
        chunks.into_iter().for_each(|chunk| arena.give_back(share, chunk, 1));
    }
    assert_eq!(arena.used_bytes(), 0);
}

#[test]
fn what_is_guaranteed_has_a_floor_of_its_own() {
    let arena = Arc::new(Arena::new(64 * MIB, 0).unwrap());
    let slot = Share::open(&arena, None, 2 * MIB, 32 * MIB).unwrap();
    let guaranteed = Share::open(&arena, Some(&slot), MIB, usize::MAX).unwrap();
    let [in_slot, other] = [Some(&slot), None].map(|of| Share::open(&arena, of, 0, usize::MAX).unwrap());
    while arena.take(&other, 1).is_some() {}
    let take_all = |share: &Share| {
        let has_room = || share.has_room_above(4 * MIB, CHUNK_BYTES, 16);
        (0..).take_while(|_| has_room() && arena.take(share, 1).is_some()).count() * CHUNK_BYTES
    };
    assert_eq!(take_all(&other), 0);
    // One part in 16 of the slot's is left, and of the store's.
    assert_eq!([take_all(&in_slot), take_all(&guaranteed)], [MIB - MIB / 8, MIB]);
    assert_eq!(slot.free_bytes(), MIB / 8);
}

#[test]
fn heap_memory_counts_as_chunks_do() {
    let arena = Arc::new(Arena::new(16 * MIB, 0).unwrap());
    let slot = Share::open(&arena, None, 0, 4 * MIB).unwrap();
    let inner = Share::open(&arena, Some(&slot), MIB, usize::MAX).unwrap();
    let other = Share::open(&arena, None, 0, usize::MAX).unwrap();
    assert!(inner.is_below_minimum());
    assert!(inner.charge(MIB / 2) && inner.is_below_minimum() && !slot.is_helped_by(&inner, 4 * MIB, 0));
    assert!(inner.charge(MIB + MIB / 2) && !inner.is_below_minimum());
    assert!(!inner.charge(2 * MIB + 1), "beyond the slot's limit");
    assert_eq!([&slot, &inner, &other].map(|share| share.used_bytes()), [2 * MIB, 2 * MIB, 0]);
    assert_eq!([&slot, &inner, &other].map(|share| share.free_bytes()), [2 * MIB, 2 * MIB, 14 * MIB]);
    assert!(other.is_helped_by(&inner, 15 * MIB, 0), "it has more than is guaranteed to it");
    assert_eq!(arena.used_bytes(), 2 * MIB);
    assert!(other.charge(14 * MIB) && !other.charge(1) && arena.take(&inner, 1).is_none());
    inner.uncharge(2 * MIB);
    // One is the inner one's.
    assert!(!other.charge(MIB + 1) && other.charge(MIB) && inner.charge(MIB) && !inner.charge(1));
    inner.uncharge(MIB);
    other.uncharge(15 * MIB);
    assert_eq!((arena.used_bytes(), other.free_bytes()), (0, 15 * MIB));
}

#[test]
fn what_is_favoured_goes_beyond_limits_by_a_part_of_them() {
    let arena = Arc::new(Arena::new(64 * MIB, 0).unwrap());
    let slot = Share::open(&arena, None, 0, 8 * MIB).unwrap();
    let [a, b] = [0; 2].map(|_| Share::open(&arena, Some(&slot), 0, usize::MAX).unwrap());
    let other = Share::of(&arena);
    assert!(a.charge(8 * MIB) && other.charge(56 * MIB), "memory is full");
    let (part, own) = (8 * MIB / FAVOURED_SHARE, 8 * MIB / FAVOURED_OWN_SHARE);
    assert_eq!(a.favoured_part_bytes(0), part);
    assert!(!a.charge_favoured((part + 1, 1), 0) && a.charge_favoured((part - own, 1), 0));
    assert_eq!((slot.used_bytes(), arena.used_bytes()), (8 * MIB + part - own, 64 * MIB + part - own));
    // The other store of the slot may have what is left of both.
    assert_eq!(b.favoured_part_bytes(0), own);
    assert!(b.charge_favoured((own, 1), 0));
    assert!(!b.charge_favoured((1, 1), own) && !a.charge_favoured((1, 0), part - own));
    // An owner who has none gets a little of it nevertheless, and from then on each has a third.
    assert_eq!(b.favoured_part_bytes(0), 0);
    assert!(!b.charge_favoured((own + 1, 1), 0) && b.charge_favoured((own, 1), 0));
    assert_eq!(a.favoured_part_bytes(part - own), part / 3);
    // What lies elsewhere is bounded by the whole alone.
    assert_eq!(other.favoured_part_bytes(0), 64 * MIB / FAVOURED_SHARE / 3);
    assert!(!other.charge_favoured((2 * MIB - part, 1), 0) && other.charge_favoured((2 * MIB - part - own, 1), 0));
    other.uncharge_favoured((2 * MIB - part - own, 1));
    b.uncharge_favoured((2 * own, 2));
    a.uncharge_favoured((part - own, 1));
    assert_eq!((slot.used_bytes(), arena.used_bytes()), (8 * MIB, 64 * MIB));
    // Where there is room it is no matter how much.
    a.uncharge(8 * MIB);
    assert!(a.charge_favoured((MIB, 1), 0));
    a.uncharge_favoured((MIB, 1));
    other.uncharge(56 * MIB);
    assert_eq!(arena.used_bytes(), 0);
}
