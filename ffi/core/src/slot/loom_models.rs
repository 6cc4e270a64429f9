//! Every schedule of a few calls: nobody reaches an object that another call changes or drops.

use super::*;
use alluvium::platform::sync::{Arc, thread};

const KIND: u8 = 3;

fn filled(owner: u64) -> (Arc<Slot<u64>>, u64) {
    let slot = Arc::new(Slot::default());
    // SAFETY: it is new.
    let handle = unsafe { slot.fill(KIND, 1, owner, 0) };
    (slot, handle)
}

/// Adds to the object, which loom takes note of.
fn add(slot: &Slot<u64>, number: u64) {
    // SAFETY: the callers are inside, alone.
    slot.object.with_mut(|place| unsafe { *place.as_mut().and_then(|place| place.as_mut()).unwrap() += number });
}

fn look(slot: &Slot<u64>) -> Option<u64> {
    // SAFETY: the callers are inside.
    slot.object.with(|place| unsafe { *place })
}

#[test]
fn loom_slot_many_calls_and_a_close() {
    loom::model(|| {
        let (slot, handle) = filled(1);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let slot = Arc::clone(&slot);
                thread::spawn(move || {
                    let Ok(entered) = slot.enter_many(handle) else { return };
                    assert_eq!(look(&slot), Some(1));
                    slot.leave(entered);
                })
            })
            .collect();
        let taken = slot.take(handle, None);
        assert!(matches!(taken, Ok((Some(1), 0)) | Err(Misuse::InUse)));
        for reader in readers {
            reader.join().unwrap();
        }
        assert_eq!(slot.take(handle, None).is_ok(), taken.is_err(), "taken once");
        assert_eq!(slot.enter_many(handle).err(), Some(Misuse::Handle));
    });
}

#[test]
fn loom_slot_one_call_at_a_time() {
    loom::model(|| {
        let (slot, handle) = filled(1);
        let try_to_add = |slot: &Slot<u64>| {
            let Ok(entered) = slot.enter_one(handle) else { return 0 };
            add(slot, 1);
            slot.leave(entered);
            1
        };
        let other = Arc::clone(&slot);
        let other = thread::spawn(move || {
            let Ok(entered) = other.enter_one(handle) else { return 0 };
            add(&other, 1);
            other.leave(entered);
            1
        });
        let added = try_to_add(&slot) + other.join().unwrap();
        assert!(added >= 1);
        assert_eq!(slot.take(handle, None), Ok((Some(1 + added), 0)));
    });
}

#[test]
fn loom_slot_is_handed_over() {
    loom::model(|| {
        let (slot, handle) = filled(1);
        let other = Arc::clone(&slot);
        let other = thread::spawn(move || {
            if other.adopt(handle, 2, |_| true).is_err() {
                assert_eq!(other.enter_own(handle, 2).err(), Some(Misuse::WrongThread));
                return false;
            }
            let entered = other.enter_own(handle, 2).unwrap();
            add(&other, 10);
            other.leave(entered);
            true
        });
        let entered = slot.enter_own(handle, 1).unwrap();
        add(&slot, 1);
        slot.leave(entered);
        slot.give_away(handle, 1).unwrap();
        assert_eq!(slot.enter_own(handle, 1).err(), Some(Misuse::WrongThread));
        let expected = if other.join().unwrap() { 12 } else { slot.adopt(handle, 2, |_| true).map_or(0, |()| 2) };
        assert_eq!(slot.take(handle, Some(2)), Ok((Some(expected), 0)));
    });
}

#[test]
fn loom_slot_is_shared_and_closed_by_another() {
    loom::model(|| {
        let (slot, handle) = filled(1);
        let other = Arc::clone(&slot);
        let other = thread::spawn(move || match other.take(handle, Some(2)) {
            Ok((object, _)) => object,
            Err(_) => None,
        });
        let entered = slot.enter_own(handle, 1).unwrap();
        add(&slot, 1);
        slot.leave(entered);
        slot.share(handle, 1).unwrap();
        let added = slot.enter_own(handle, 1).map_or(0, |entered| {
            add(&slot, 1);
            slot.leave(entered);
            1
        });
        let taken = other.join().unwrap();
        let left = slot.take(handle, Some(1)).ok().and_then(|(object, _)| object);
        assert_eq!(taken.or(left), Some(2 + added));
    });
}

#[test]
fn loom_slot_shared_calls_wait_for_each_other() {
    loom::model(|| {
        let (slot, handle) = filled(1);
        slot.share(handle, 1).unwrap();
        let other = Arc::clone(&slot);
        let other = thread::spawn(move || {
            let entered = other.enter_own(handle, 2).unwrap();
            add(&other, 1);
            other.leave(entered);
        });
        let entered = slot.enter_own(handle, 1).unwrap();
        add(&slot, 1);
        slot.leave(entered);
        other.join().unwrap();
        assert_eq!(slot.take(handle, Some(1)), Ok((Some(3), 0)));
    });
}

#[test]
fn loom_slot_parents_outlive_children() {
    loom::model(|| {
        let (slot, handle) = filled(1);
        let other = Arc::clone(&slot);
        let other = thread::spawn(move || other.add_child(handle).map(|()| other.remove_child()).is_ok());
        let taken = slot.take(handle, None);
        let was_child = other.join().unwrap();
        match taken {
            Ok(_) => assert_eq!(slot.add_child(handle), Err(Misuse::Handle)),
            Err(misuse) => assert!(misuse == Misuse::HasChildren(Kinds::NONE) && was_child),
        }
    });
}
