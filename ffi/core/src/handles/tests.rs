use super::*;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

struct Shop(#[expect(dead_code, reason = "counts how many live")] Arc<()>, u64);
struct Till(u64);
struct Desk(Vec<u64>);
struct Cart(u64);

// SAFETY: each has a kind of its own here, and `Shop` is `Sync`.
unsafe impl Object for Shop {
    const KIND: Kind = Kind::Store;
    type Mode = Many;
}
// SAFETY: as above.
unsafe impl Object for Till {
    const KIND: Kind = Kind::Cursor;
    type Mode = One;
}
// SAFETY: as above.
unsafe impl Object for Desk {
    const KIND: Kind = Kind::Writer;
    type Mode = Own;
}
// SAFETY: as above.
unsafe impl Object for Cart {
    const KIND: Kind = Kind::BulkLoad;
    type Mode = Own;
}

fn shop(number: u64) -> Handle {
    insert(Shop(Arc::default(), number), 0).unwrap()
}

#[test]
fn what_is_no_handle_is_told_from_what_is_one() {
    let good = shop(7);
    assert_eq!(get::<Shop>(good).unwrap().1, 7);
    for bad in [0, 1, u64::MAX, good ^ (1 << 63), good ^ (1 << 37), u64::from(u32::MAX), good | (1 << 31)] {
        assert_eq!(get::<Shop>(bad).err(), Some(Misuse::Handle), "{bad:x}");
        assert_eq!(remove::<Shop>(bad).err(), Some(Misuse::Handle), "{bad:x}");
    }
    assert_eq!(get::<Till>(good).err(), Some(Misuse::Handle));
    assert_eq!(remove::<Till>(good).err(), Some(Misuse::Handle));
    assert_eq!(remove::<Shop>(good).unwrap().1, 7);
    assert_eq!(get::<Shop>(good).err(), Some(Misuse::Handle));
    assert_eq!(remove::<Shop>(good).err(), Some(Misuse::Handle));
}

#[test]
fn a_slot_that_is_used_again_has_another_handle() {
    let mut seen = std::collections::HashSet::new();
    for number in 0..1_000 {
        let handle = shop(number);
        assert!(seen.insert(handle));
        assert_eq!(remove::<Shop>(handle).unwrap().1, number);
    }
    for handle in seen {
        assert_eq!(get::<Shop>(handle).err(), Some(Misuse::Handle));
    }
}

#[test]
fn many_handles_at_once() {
    let handles: Vec<_> = (0..5_000).map(shop).collect();
    for (number, &handle) in handles.iter().enumerate() {
        assert_eq!(get::<Shop>(handle).unwrap().1, number as u64);
    }
    for handle in handles {
        remove::<Shop>(handle).unwrap();
    }
}

#[test]
fn nothing_is_closed_that_has_children_or_is_in_use() {
    let parent = shop(1);
    let child = insert(Till(2), parent).unwrap();
    assert_eq!(remove::<Shop>(parent).err(), Some(Misuse::HasChildren(Kinds::NONE.with(Kind::Cursor))));
    let using = get::<Till>(child).unwrap();
    assert_eq!(get::<Till>(child).err(), Some(Misuse::InUse), "one call at a time");
    assert_eq!(remove::<Till>(child).err(), Some(Misuse::InUse));
    drop(using);
    get::<Till>(child).unwrap().as_mut().0 += 1;
    assert_eq!(remove::<Till>(child).unwrap().0, 3);
    let (first, second) = (get::<Shop>(parent).unwrap(), get::<Shop>(parent).unwrap());
    assert_eq!((first.1, second.1), (1, 1));
    drop(first);
    assert_eq!(remove::<Shop>(parent).err(), Some(Misuse::InUse));
    drop(second);
    remove::<Shop>(parent).unwrap();
    assert_eq!(insert(Till(1), parent).err(), Some(Misuse::Handle), "a child of nothing");
}

/// A child that takes long to end must not lose its parent meanwhile.
#[test]
fn a_parent_stays_open_until_its_child_is_dropped() {
    let parent = shop(1);
    let removed = remove::<Till>(insert(Till(2), parent).unwrap()).unwrap();
    assert_eq!(remove::<Shop>(parent).err(), Some(Misuse::HasChildren(Kinds::NONE)));
    let (till, keeps) = removed.into_parts();
    assert_eq!(till.0, 2);
    assert_eq!(remove::<Shop>(parent).err(), Some(Misuse::HasChildren(Kinds::NONE)), "taken out, not dropped");
    drop(keeps);
    remove::<Shop>(parent).unwrap();
}

#[test]
fn a_child_that_is_yet_to_be_made_keeps_its_parent_open() {
    let parent = shop(1);
    let (first, second) = (reserve_child(parent).unwrap(), reserve_child(parent).unwrap());
    drop(first);
    assert_eq!(remove::<Shop>(parent).err(), Some(Misuse::HasChildren(Kinds::NONE)), "none that has a handle");
    let child = second.insert(Till(2)).unwrap();
    assert_eq!(remove::<Shop>(parent).err(), Some(Misuse::HasChildren(Kinds::NONE.with(Kind::Cursor))));
    assert_eq!(remove::<Till>(child).unwrap().0, 2);
    remove::<Shop>(parent).unwrap();
    assert_eq!(reserve_child(parent).err(), Some(Misuse::Handle));
    let orphan = reserve_child(0).unwrap().insert(Till(3)).unwrap();
    assert_eq!(remove::<Till>(orphan).unwrap().0, 3);
}

#[test]
fn an_owned_object_is_its_threads_until_it_is_given_away() {
    let handle = insert(Desk(vec![1]), 0).unwrap();
    let elsewhere = |call: fn(Handle) -> Option<Misuse>| std::thread::spawn(move || call(handle)).join().unwrap();
    assert_eq!(elsewhere(|handle| get::<Desk>(handle).err()), Some(Misuse::WrongThread));
    assert_eq!(elsewhere(|handle| remove::<Desk>(handle).err()), Some(Misuse::WrongThread));
    assert_eq!(elsewhere(|handle| adopt::<Desk>(handle).err()), Some(Misuse::WrongThread));
    assert_eq!(elsewhere(|handle| share::<Desk>(handle).err()), Some(Misuse::WrongThread));
    let using = get::<Desk>(handle).unwrap();
    assert_eq!(get::<Desk>(handle).err(), Some(Misuse::InUse), "not twice by its owner either");
    assert_eq!(remove::<Desk>(handle).err(), Some(Misuse::InUse));
    drop(using);
    give_away::<Desk>(handle).unwrap();
    assert_eq!(get::<Desk>(handle).err(), Some(Misuse::WrongThread));
    // The thread that adopts it ends, and leaves it to whoever wants it.
    let adopted = elsewhere(|handle| {
        adopt::<Desk>(handle).unwrap();
        get::<Desk>(handle).unwrap().0.push(2);
        None
    });
    assert_eq!(adopted, None);
    assert_eq!(get::<Desk>(handle).err(), Some(Misuse::WrongThread));
    adopt::<Desk>(handle).unwrap();
    assert_eq!(remove::<Desk>(handle).unwrap().0, [1, 2]);
}

#[test]
fn a_shared_object_is_used_by_one_after_the_other() {
    let handle = insert(Desk(Vec::new()), 0).unwrap();
    share::<Desk>(handle).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for _ in 0..1_000 {
                    get::<Desk>(handle).unwrap().0.push(thread);
                }
            });
        }
    });
    let mut all = remove::<Desk>(handle).unwrap().0.clone();
    all.sort_unstable();
    assert_eq!(all, (0..4).flat_map(|thread| [thread; 1_000]).collect::<Vec<_>>());
}

#[test]
fn after_a_panic_an_object_can_only_be_closed() {
    let handle = insert(Desk(vec![1]), 0).unwrap();
    let panicked = std::panic::catch_unwind(|| {
        let mut desk = get::<Desk>(handle).unwrap();
        desk.0.clear();
        panic!("on purpose");
    });
    assert!(panicked.is_err());
    assert_eq!(get::<Desk>(handle).err(), Some(Misuse::Poisoned));
    assert!(remove::<Desk>(handle).unwrap().0.is_empty());
}

#[test]
fn callbacks_reach_nothing() {
    let handle = shop(1);
    assert_eq!(threads::callback(|| get::<Shop>(handle).err()), Some(Misuse::InsideCallback));
    assert_eq!(threads::callback(|| remove::<Shop>(handle).err()), Some(Misuse::InsideCallback));
    remove::<Shop>(handle).unwrap();
}

/// What a thread used last it finds without looking for it, which is no reason to let it in.
#[test]
fn what_was_used_last_is_refused_where_anything_else_is() {
    let (desk, other) = (insert(Desk(vec![1]), 0).unwrap(), insert(Desk(vec![2]), 0).unwrap());
    let cart = insert(Cart(3), 0).unwrap();
    for handle in [desk, desk, other, desk] {
        let expected = if handle == desk { 1 } else { 2 };
        assert_eq!(get::<Desk>(handle).unwrap().0, [expected]);
    }
    assert_eq!(threads::callback(|| get::<Desk>(desk).err()), Some(Misuse::InsideCallback));
    assert_eq!(get::<Cart>(desk).err(), Some(Misuse::Handle), "of another kind");
    assert_eq!(get::<Desk>(cart).err(), Some(Misuse::Handle));
    assert_eq!(get::<Cart>(cart).unwrap().0, 3);
    assert_eq!(get::<Desk>(desk).unwrap().0, [1]);
    let using = get::<Desk>(desk).unwrap();
    assert_eq!(get::<Desk>(desk).err(), Some(Misuse::InUse));
    drop(using);
    let elsewhere = std::thread::spawn(move || get::<Desk>(desk).err());
    assert_eq!(elsewhere.join().unwrap(), Some(Misuse::WrongThread));
    give_away::<Desk>(desk).unwrap();
    assert_eq!(get::<Desk>(desk).err(), Some(Misuse::WrongThread));
    adopt::<Desk>(desk).unwrap();
    assert_eq!(get::<Desk>(desk).unwrap().0, [1]);
    share::<Desk>(desk).unwrap();
    assert_eq!(get::<Desk>(desk).unwrap().0, [1]);
    remove::<Desk>(desk).unwrap();
    assert_eq!(get::<Desk>(desk).err(), Some(Misuse::Handle));
    // Also when something else is where it was: free slots are used again in turn.
    for round in 0..200 {
        let later = insert(Desk(vec![round]), 0).unwrap();
        assert_eq!(get::<Desk>(desk).err(), Some(Misuse::Handle));
        assert_eq!(get::<Desk>(later).unwrap().0, [round]);
        remove::<Desk>(later).unwrap();
    }
    remove::<Desk>(other).unwrap();
    remove::<Cart>(cart).unwrap();
}

/// Threads that use, close and make objects of the same few handles: each object is dropped once, and nobody reaches one
/// that is gone.
#[test]
fn closing_races_with_everything() {
    let alive = Arc::new(());
    let handles: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
    let used = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let (alive, handles, used) = (&alive, &handles, &used);
            scope.spawn(move || {
                for round in 0..20_000_usize {
                    let place = &handles[(round * 7 + thread) % handles.len()];
                    let handle = place.load(Ordering::Relaxed);
                    match round % 5 {
                        0 => {
                            let made = insert(Shop(Arc::clone(alive), 42), 0).unwrap();
                            let before = place.swap(made, Ordering::Relaxed);
                            while remove::<Shop>(before).err() == Some(Misuse::InUse) {}
                        }
                        1 => drop(remove::<Shop>(handle)),
                        _ => {
                            let Ok(shop) = get::<Shop>(handle) else { continue };
                            assert_eq!(shop.1, 42);
                            used.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    for place in &handles {
        drop(remove::<Shop>(place.load(Ordering::Relaxed)));
    }
    assert!(used.load(Ordering::Relaxed) > 0, "no handle was ever good");
    assert_eq!(Arc::strong_count(&alive), 1, "an object is left, or was dropped twice");
}

#[test]
fn what_nobody_refers_to_is_reclaimed_from_the_thread_that_had_it() {
    let desk = std::thread::spawn(|| insert(Desk(vec![1, 2]), 0).unwrap());
    let handle = desk.join().unwrap();
    assert_eq!(remove::<Desk>(handle).err(), Some(Misuse::WrongThread));
    // SAFETY: that thread has ended.
    assert_eq!(unsafe { reclaim::<Desk>(handle) }.unwrap().0, [1, 2]);
    assert_eq!(get::<Desk>(handle).err(), Some(Misuse::Handle));
    // SAFETY: as above.
    assert_eq!(unsafe { reclaim::<Desk>(handle) }.err(), Some(Misuse::Handle));
}
