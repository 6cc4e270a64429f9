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

/// For models with too many schedules to see all: a bug of a protocol this small shows within a few preemptions.
fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// What a slot leads to by a pointer that outlives its place there: loom takes note of what is done with it, and `None` is what was dropped.
struct Desk(UnsafeCell<Option<u64>>);

// SAFETY: the slot keeps its users apart, which is what the models look at.
unsafe impl Send for Desk {}
// SAFETY: as above.
unsafe impl Sync for Desk {}

type Pointer = std::sync::Arc<Desk>;

fn desk(number: u64) -> Pointer {
    Pointer::new(Desk(UnsafeCell::new(Some(number))))
}

impl Desk {
    fn add(&self, number: u64) {
        // SAFETY: the callers are inside, alone.
        self.0.with_mut(|place| unsafe { *(*place).as_mut().unwrap() += number });
    }

    fn close(&self) -> u64 {
        // SAFETY: the callers took it out.
        self.0.with_mut(|place| unsafe { (*place).take().unwrap() })
    }
}

fn filled_with_desk(owner: u64) -> (Arc<Slot<Pointer>>, u64) {
    let slot = Arc::new(Slot::default());
    // SAFETY: it is new.
    let handle = unsafe { slot.fill(KIND, desk(0), owner, 0) };
    (slot, handle)
}

/// A thread that uses slots as `handles` does: it keeps where its last object is, and goes there without a look at the slot.
struct Caller {
    token: u64,
    kept: Option<(u64, Pointer)>,
}

impl Caller {
    const fn new(token: u64) -> Self {
        Self { token, kept: None }
    }

    fn enter<'a>(&mut self, slot: &'a Slot<Pointer>, handle: u64) -> Result<(Entered<'a>, Pointer), Misuse> {
        let kept = self.kept.as_ref().filter(|(kept, _)| *kept == handle);
        if let Some((_, desk)) = kept.filter(|_| slot.enter_again()) {
            return Ok((Entered::Owned, desk.clone()));
        }
        let entered = slot.enter_own(handle, self.token)?;
        // SAFETY: it is inside.
        let desk = unsafe { slot.object() }.unwrap().clone();
        if matches!(entered, Entered::Owned) {
            self.kept = Some((handle, desk.clone()));
        }
        Ok((entered, desk))
    }

    fn add(&mut self, slot: &Slot<Pointer>, handle: u64, number: u64) -> Result<u64, Misuse> {
        let (entered, desk) = self.enter(slot, handle)?;
        desk.add(number);
        slot.leave(entered);
        Ok(number)
    }

    /// Twice, so that the second time may be by what was kept; gives what was added.
    fn add_twice(&mut self, slot: &Slot<Pointer>, handle: u64, number: u64) -> u64 {
        (0..2).map(|_| self.add(slot, handle, number).unwrap_or(0)).sum()
    }

    fn give_away(&mut self, slot: &Slot<Pointer>, handle: u64) -> Result<(), Misuse> {
        self.kept = None;
        slot.give_away(handle, self.token)
    }

    fn share(&mut self, slot: &Slot<Pointer>, handle: u64) -> Result<(), Misuse> {
        self.kept = None;
        slot.share(handle, self.token)
    }

    fn adopt(&mut self, slot: &Slot<Pointer>, handle: u64, is_alive: impl FnOnce(u64) -> bool) -> Result<(), Misuse> {
        self.kept = None;
        slot.adopt(handle, self.token, is_alive)
    }

    fn take(&mut self, slot: &Slot<Pointer>, handle: u64) -> Result<u64, Misuse> {
        self.kept = None;
        slot.take(handle, Some(self.token)).map(|(desk, _)| desk.unwrap().close())
    }
}

/// The handle of what is put into a slot next.
const fn next_of(handle: u64) -> u64 {
    handle + (1 << GENERATION_SHIFT)
}

/// Whoever finds a handle good finds what was put there for it, wherever it has the handle from.
#[test]
fn loom_slot_is_filled_again_while_a_call_looks() {
    loom::model(|| {
        let (slot, handle) = filled(1);
        let next = next_of(handle);
        let other = Arc::clone(&slot);
        let other = thread::spawn(move || {
            let entered = other.enter_many(next).ok()?;
            let found = look(&other);
            other.leave(entered);
            found
        });
        assert_eq!(slot.take(handle, Some(1)), Ok((Some(1), 0)));
        // SAFETY: it was freed by this thread, the only one that fills it.
        assert_eq!(unsafe { slot.fill(KIND, 2, 1, 0) }, next);
        assert!(matches!(other.join().unwrap(), None | Some(2)));
        assert_eq!(slot.take(next, Some(1)), Ok((Some(2), 0)));
    });
}

/// The next owner closes it and fills the slot again, and gives that away, too, while the first one tries its old handle, and a third one adopts
/// what is there now. Within three preemptions.
#[test]
fn loom_slot_is_filled_again_under_an_old_handle() {
    bounded(3, || {
        let (slot, handle) = filled_with_desk(1);
        let next = next_of(handle);
        let third = Arc::clone(&slot);
        let third = thread::spawn(move || {
            let mut caller = Caller::new(3);
            caller.adopt(&third, next, |_| true).ok()?;
            let added = caller.add_twice(&third, next, 1_000);
            caller.give_away(&third, next).unwrap();
            Some(added)
        });
        let other = Arc::clone(&slot);
        let other = thread::spawn(move || {
            let mut second = Caller::new(2);
            second.adopt(&other, handle, |_| true).ok()?;
            assert_eq!(second.add_twice(&other, handle, 10), 20);
            assert_eq!(second.take(&other, handle), Ok(22));
            // SAFETY: it was freed by this thread, the only one that fills it.
            assert_eq!(unsafe { other.fill(KIND, desk(0), 2, 0) }, next);
            assert_eq!(second.add_twice(&other, next, 100), 200);
            second.give_away(&other, next).unwrap();
            Some(())
        });
        let mut first = Caller::new(1);
        assert_eq!(first.add_twice(&slot, handle, 1), 2);
        first.give_away(&slot, handle).unwrap();
        assert!(matches!(first.add(&slot, handle, 1), Err(Misuse::WrongThread | Misuse::Handle)));
        let adopted = first.adopt(&slot, handle, |_| true);
        let taken = adopted.map(|()| first.take(&slot, handle));
        let thirds = third.join().unwrap();
        assert!(matches!(thirds, None | Some(2_000)));
        match (taken, other.join().unwrap()) {
            (Ok(taken), None) => assert_eq!((taken, thirds), (Ok(2), None)),
            (Err(Misuse::WrongThread | Misuse::Handle), Some(())) => {
                assert_eq!(first.adopt(&slot, handle, |_| true), Err(Misuse::Handle));
                let mut last = Caller::new(4);
                last.adopt(&slot, next, |_| true).unwrap();
                assert_eq!(last.add(&slot, next, 1), Ok(1));
                assert_eq!(last.take(&slot, next), Ok(201 + thirds.unwrap_or(0)));
            }
            both => panic!("two had it, or none: {both:?}"),
        }
    });
}

/// A thread ends inside a call. Another adopts what it had, and so does one that calls when it was struck from the living already.
#[test]
fn loom_slot_of_a_thread_that_ended_is_adopted_once() {
    loom::model(|| {
        let (slot, handle) = filled_with_desk(1);
        let is_alive = Arc::new(Mutex::new(true));
        let (other, heard) = (Arc::clone(&slot), Arc::clone(&is_alive));
        let other = thread::spawn(move || {
            let mut second = Caller::new(2);
            second.adopt(&other, handle, |owner| owner != 1 || *heard.lock()).ok()?;
            assert_eq!(second.add_twice(&other, handle, 10), 20);
            Some(second.take(&other, handle))
        });
        let mut first = Caller::new(1);
        assert_eq!(first.add_twice(&slot, handle, 1), 2);
        let (_never_left, desk) = first.enter(&slot, handle).unwrap();
        desk.add(1);
        *is_alive.lock() = false;
        let mut third = Caller::new(3);
        let adopted = third.adopt(&slot, handle, |owner| owner != 1 || *is_alive.lock());
        let taken = adopted.map(|()| {
            assert_eq!(third.add_twice(&slot, handle, 100), 200);
            third.take(&slot, handle)
        });
        match (taken, other.join().unwrap()) {
            (Ok(taken), None) => assert_eq!(taken, Ok(203)),
            (Err(Misuse::WrongThread | Misuse::Handle), Some(taken)) => assert_eq!(taken, Ok(23)),
            both => panic!("two had it, or none: {both:?}"),
        }
    });
}

/// How a thread lets go of what it has.
#[derive(Clone, Copy)]
enum End {
    Take,
    GiveAway,
    Share,
}

/// A thread whose end won't be heard of uses what it has, and lets go of it, while another adopts it and closes it. Within five preemptions.
fn adopted_from_one_who_is_not_heard_of(end: End, adopter: u64) {
    bounded(5, move || {
        let (slot, handle) = filled_with_desk(UNHEARD | 1);
        let other = Arc::clone(&slot);
        let other = thread::spawn(move || {
            let mut second = Caller::new(adopter);
            if second.adopt(&other, handle, |_| false).is_err() {
                return (0, None);
            }
            let added = second.add_twice(&other, handle, 10);
            assert!(added == 20 || is_unheard(adopter), "the first one looked whose it is");
            (added, second.take(&other, handle).ok())
        });
        let mut first = Caller::new(UNHEARD | 1);
        let mut added = first.add_twice(&slot, handle, 1);
        let mut taken = None;
        match end {
            End::Take => taken = first.take(&slot, handle).ok(),
            End::GiveAway => _ = first.give_away(&slot, handle),
            End::Share => {
                if first.share(&slot, handle).is_ok() {
                    added += first.add(&slot, handle, 1).unwrap();
                }
            }
        }
        let (others, others_taken) = other.join().unwrap();
        assert!(taken.is_none() || others_taken.is_none(), "taken once");
        let left = || {
            let own = first.take(&slot, handle).or_else(|_| Caller::new(adopter).take(&slot, handle));
            own.or_else(|_| {
                let mut third = Caller::new(3);
                third.adopt(&slot, handle, |_| true)?;
                third.take(&slot, handle)
            })
        };
        assert_eq!(taken.or(others_taken).map_or_else(left, Ok), Ok(added + others));
    });
}

#[test]
fn loom_slot_is_adopted_from_one_who_is_not_heard_of_and_takes_it_out() {
    adopted_from_one_who_is_not_heard_of(End::Take, 2);
    adopted_from_one_who_is_not_heard_of(End::Take, UNHEARD | 2);
}

#[test]
fn loom_slot_is_adopted_from_one_who_is_not_heard_of_and_gives_it_away() {
    adopted_from_one_who_is_not_heard_of(End::GiveAway, 2);
    adopted_from_one_who_is_not_heard_of(End::GiveAway, UNHEARD | 2);
}

#[test]
fn loom_slot_is_adopted_from_one_who_is_not_heard_of_and_shares_it() {
    adopted_from_one_who_is_not_heard_of(End::Share, 2);
    adopted_from_one_who_is_not_heard_of(End::Share, UNHEARD | 2);
}

/// Whoever knows that nobody uses it any more takes it out, though its owner is inside for ever.
#[test]
fn loom_slot_is_seized_when_its_owner_is_done() {
    loom::model(|| {
        let (slot, handle) = filled_with_desk(1);
        let other = Arc::clone(&slot);
        let other = thread::spawn(move || {
            let mut first = Caller::new(1);
            assert_eq!(first.add_twice(&other, handle, 1), 2);
            let (_never_left, desk) = first.enter(&other, handle).unwrap();
            desk.add(1);
        });
        let mut second = Caller::new(2);
        assert_eq!(second.adopt(&slot, handle, |_| true), Err(Misuse::WrongThread));
        other.join().unwrap();
        // SAFETY: the only other thread has ended.
        unsafe { slot.seize(handle, 2) }.unwrap();
        assert_eq!(second.add_twice(&slot, handle, 10), 20);
        assert_eq!(second.take(&slot, handle), Ok(23));
        assert_eq!(Caller::new(1).add(&slot, handle, 1), Err(Misuse::Handle));
        // SAFETY: it is free.
        let next = unsafe { slot.fill(KIND, desk(0), 2, 0) };
        assert_eq!(second.add(&slot, handle, 1), Err(Misuse::Handle));
        assert_eq!(second.add(&slot, next, 1), Ok(1));
        assert_eq!(second.take(&slot, next), Ok(1));
    });
}
