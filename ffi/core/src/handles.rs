//! Handles: numbers that stand for objects, and that nobody can do harm with.
//!
//! ```text
//! handle   generation 22 | kind 5 |                      5 | index 32
//! slot     generation 22 | kind 5 | closing 1 | children 20 | calls 16
//! ```
//!
//! A handle names a slot of a table that never moves or shrinks, the generation of what is in it, and of which kind that is. A
//! slot's word says the same of what is there now, so one comparison tells whether a handle is good: one that is null, made up,
//! closed or of another kind is none. Generations go up with every object of a slot, and free slots are used again in the order
//! in which they became free, so that four million objects have to come and go in one slot before a number returns.
//!
//! How an object is reached depends on its kind ([`Object::Mode`]):
//!
//! - [`Many`]: by any number of threads at once. Each call counts itself in the slot's word, and nothing is closed while there are any.
//! - [`One`]: by one call at a time, from any thread; a second one is refused.
//! - [`Own`]: by the thread that made it, until it gives it away. No counting, no lock: what another thread can do is to look at
//!   whose it is. Closing is a call of the owner, too. With [`share`] any thread may use it, one waiting for the other.
//!
//! What a callback calls is refused throughout: it would wait for the call that it came from.
//!
//! An object counts as a child of the one that it was made from, and nothing is closed that has children.
#![expect(unsafe_code, reason = "objects are reached through numbers, and their rules are kept here")]

use crate::status::Misuse;
use crate::threads;
use parking_lot::{Mutex, RawMutex, lock_api::RawMutex as _};
use std::any::Any;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// A handle as other languages hold it. 0 is never one.
pub type Handle = u64;

/// What a handle stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// An engine.
    Engine = 1,
    /// A part of an engine's memory budget.
    Share = 2,
    /// A store.
    Store = 3,
    /// A writer.
    Writer = 4,
    /// A reader.
    Reader = 5,
    /// A snapshot.
    Snapshot = 6,
    /// A cursor.
    Cursor = 7,
    /// Reads in flight.
    Ticket = 8,
    /// A checkpoint on its way.
    Pending = 9,
    /// What is known of a checkpoint or commit.
    Info = 10,
    /// A checkpoint's files.
    Files = 11,
    /// What a store wants of its host.
    Fetches = 12,
    /// A walk through a checkpoint.
    Iterator = 13,
    /// A load of sorted data.
    BulkLoad = 14,
    /// Bytes that calls leave for their caller.
    Buffer = 15,
    /// What went wrong.
    Error = 16,
}

/// Any number of threads at once.
#[derive(Debug)]
pub struct Many;
/// One call at a time.
#[derive(Debug)]
pub struct One;
/// One thread, or with [`share`] one call at a time of any.
#[derive(Debug)]
pub struct Own;

/// How objects of a kind are reached.
pub trait Mode: sealed::Mode {}
impl Mode for Many {}
impl Mode for One {}
impl Mode for Own {}

/// What can stand behind a handle.
///
/// # Safety
/// No two types have the same kind, and a type of the mode [`Many`] is [`Sync`].
pub unsafe trait Object: Send + 'static {
    /// Its kind.
    const KIND: Kind;
    /// How it is reached.
    type Mode: Mode;
}

const CALL: u64 = 1;
const CALLS: u64 = (1 << 16) - 1;
const CHILD: u64 = 1 << 16;
const CHILDREN: u64 = ((1 << 20) - 1) << 16;
const CLOSING: u64 = 1 << 36;
const NAME_SHIFT: u32 = 37;
const GENERATION_SHIFT: u32 = 42;

/// Who a slot's object belongs to when any thread may use it.
const SHARED: u64 = u64::MAX;

/// A place of the table, which an object is in, or none.
pub struct Slot {
    /// See the module's head. Every change of it that gives the right to reach the object is an acquire, every one that gives it
    /// back a release.
    word: AtomicU64,
    /// Of [`Own`]: the owner's token, 0 while it is nobody's, or [`SHARED`].
    owner: AtomicU64,
    /// Of [`Own`]: whether its owner is inside a call. Only the owner touches it.
    busy: AtomicBool,
    poisoned: AtomicBool,
    /// Held by calls on what is [`SHARED`].
    lock: RawMutex,
    parent: AtomicU64,
    object: UnsafeCell<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `object` is reached by those alone whom `word`, `owner` and `lock` let: see `Guard`. What lies in it is `Send`, and `Sync` where
// several reach it at once (`many` asks for that).
unsafe impl Sync for Slot {}

impl Slot {
    const fn new() -> Self {
        Self {
            word: AtomicU64::new(1 << GENERATION_SHIFT),
            owner: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            lock: RawMutex::INIT,
            parent: AtomicU64::new(0),
            object: UnsafeCell::new(None),
        }
    }

    /// Changes the word of an open object as `change` says, if `handle` is its own.
    fn change(&self, handle: Handle, change: impl Fn(u64) -> Result<u64, Misuse>) -> Result<(), Misuse> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let changed = change(check(word, handle)?)?;
            match self.word.compare_exchange_weak(word, changed, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }
}

/// The word, if the handle is that of the object that is in the slot, and open.
#[inline]
fn check(word: u64, handle: Handle) -> Result<u64, Misuse> {
    if (word ^ handle) >> NAME_SHIFT != 0 || word & CLOSING != 0 { Err(Misuse::Handle) } else { Ok(word) }
}

/// The smallest chunk of slots; each further one is twice as long.
const FIRST_CHUNK: usize = 64;
const CHUNKS: usize = 26;

static TABLE: [OnceLock<Box<[Slot]>>; CHUNKS] = [const { OnceLock::new() }; CHUNKS];
static FREE: Mutex<VecDeque<u32>> = Mutex::new(VecDeque::new());
static MADE: AtomicU32 = AtomicU32::new(0);

#[inline]
fn slot_of(handle: Handle) -> Result<&'static Slot, Misuse> {
    let index = handle as u32 as usize + FIRST_CHUNK;
    let chunk = (index.ilog2() - FIRST_CHUNK.ilog2()) as usize;
    let slots = TABLE.get(chunk).and_then(OnceLock::get).ok_or(Misuse::Handle)?;
    slots.get(index - (FIRST_CHUNK << chunk)).ok_or(Misuse::Handle)
}

/// A slot that nothing is in, and its index. Adding to the table is done under the lock of the free ones.
fn free_slot() -> Result<(u32, &'static Slot), Misuse> {
    let mut free = FREE.lock();
    // Not the one that became free just now, if it can be helped.
    let index = if free.len() >= FIRST_CHUNK / 2 { free.pop_front() } else { None };
    if let Some(index) = index {
        return Ok((index, slot_of(u64::from(index))?));
    }
    let made = MADE.load(Ordering::Relaxed);
    let index = made as usize + FIRST_CHUNK;
    let chunk = (index.ilog2() - FIRST_CHUNK.ilog2()) as usize;
    let Some(slots) = TABLE.get(chunk) else { return Err(Misuse::InUse) };
    let slots = slots.get_or_init(|| (0..FIRST_CHUNK << chunk).map(|_| Slot::new()).collect());
    MADE.store(made + 1, Ordering::Relaxed);
    drop(free);
    Ok((made, slots.get(index - (FIRST_CHUNK << chunk)).ok_or(Misuse::InUse)?))
}

/// Gives an object a handle. It belongs to the calling thread, where that matters, and is a child of `parent` unless that is 0.
pub fn insert<T: Object>(object: T, parent: Handle) -> Result<Handle, Misuse> {
    if parent != 0 {
        slot_of(parent)?
            .change(parent, |word| if word & CHILDREN == CHILDREN { Err(Misuse::InUse) } else { Ok(word + CHILD) })?;
    }
    let (index, slot) = match free_slot() {
        Ok(found) => found,
        Err(misuse) => {
            disown(parent);
            return Err(misuse);
        }
    };
    slot.owner.store(threads::token(), Ordering::Relaxed);
    slot.busy.store(false, Ordering::Relaxed);
    slot.poisoned.store(false, Ordering::Relaxed);
    slot.parent.store(parent, Ordering::Relaxed);
    // SAFETY: the slot is free, and was taken off the free ones by this call.
    unsafe { *slot.object.get() = Some(Box::new(object)) };
    let generation = slot.word.load(Ordering::Relaxed) >> GENERATION_SHIFT;
    let name = (generation << 5) | T::KIND as u64;
    // Whoever finds the handle good has loaded this.
    slot.word.store(name << NAME_SHIFT, Ordering::Release);
    Ok((name << NAME_SHIFT) | u64::from(index))
}

fn disown(parent: Handle) {
    if parent == 0 {
        return;
    }
    if let Ok(slot) = slot_of(parent) {
        slot.word.fetch_sub(CHILD, Ordering::Release);
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("word", &self.word).finish_non_exhaustive()
    }
}

/// How rights to an object are taken and given back.
mod sealed {
    use super::{CALL, CALLS, Handle, Misuse, Ordering, SHARED, Slot, check, threads};
    use parking_lot::lock_api::RawMutex as _;

    pub trait Mode {
        /// Takes the right to the object of a slot; says whether its lock is held.
        fn enter(slot: &Slot, handle: Handle) -> Result<bool, Misuse>;
        /// Gives it back.
        fn leave(slot: &Slot, locked: bool);
    }

    fn add_call(slot: &Slot, handle: Handle, calls_max: u64) -> Result<(), Misuse> {
        slot.change(handle, |word| if word & CALLS >= calls_max { Err(Misuse::InUse) } else { Ok(word + CALL) })
    }

    fn take_call(slot: &Slot) {
        slot.word.fetch_sub(CALL, Ordering::Release);
    }

    impl Mode for super::Many {
        #[inline]
        fn enter(slot: &Slot, handle: Handle) -> Result<bool, Misuse> {
            add_call(slot, handle, CALLS)?;
            Ok(false)
        }

        #[inline]
        fn leave(slot: &Slot, _: bool) {
            take_call(slot);
        }
    }

    impl Mode for super::One {
        #[inline]
        fn enter(slot: &Slot, handle: Handle) -> Result<bool, Misuse> {
            add_call(slot, handle, 1)?;
            Ok(false)
        }

        #[inline]
        fn leave(slot: &Slot, _: bool) {
            take_call(slot);
        }
    }

    impl Mode for super::Own {
        #[inline]
        fn enter(slot: &Slot, handle: Handle) -> Result<bool, Misuse> {
            // Pairs with the release of `insert`: with the word comes the owner.
            check(slot.word.load(Ordering::Acquire), handle)?;
            // Nobody but the owner takes its own token away, so where it is found, it stays. What another thread that was the owner
            // before did comes with `adopt`'s acquire.
            if slot.owner.load(Ordering::Relaxed) != threads::token() {
                return enter_shared(slot, handle);
            }
            if slot.busy.load(Ordering::Relaxed) {
                return Err(Misuse::InUse);
            }
            slot.busy.store(true, Ordering::Relaxed);
            Ok(false)
        }

        #[inline]
        fn leave(slot: &Slot, locked: bool) {
            if !locked {
                slot.busy.store(false, Ordering::Relaxed);
                return;
            }
            // SAFETY: `enter_shared` took it.
            unsafe { slot.lock.unlock() };
            take_call(slot);
        }
    }

    fn enter_shared(slot: &Slot, handle: Handle) -> Result<bool, Misuse> {
        if slot.owner.load(Ordering::Relaxed) != SHARED {
            return Err(Misuse::WrongThread);
        }
        // Counted, so that nothing is closed while a call waits for the lock.
        add_call(slot, handle, CALLS)?;
        slot.lock.lock();
        Ok(true)
    }
}

/// An object that a call is using.
#[derive(Debug)]
pub struct Guard<T: Object> {
    slot: &'static Slot,
    /// Whether the slot's lock is held.
    locked: bool,
    object: *mut T,
}

/// Looks up what a handle stands for.
///
/// # Errors
/// [`Misuse::Handle`] where it is none of this kind, and what the kind's mode refuses: [`Misuse::InUse`], [`Misuse::WrongThread`];
/// [`Misuse::Poisoned`] after a panic; [`Misuse::InsideCallback`].
#[inline]
pub fn get<T: Object>(handle: Handle) -> Result<Guard<T>, Misuse> {
    if threads::is_inside_callback() {
        return Err(Misuse::InsideCallback);
    }
    let slot = slot_of(handle)?;
    check_kind::<T>(handle)?;
    let locked = <T::Mode as sealed::Mode>::enter(slot, handle)?;
    // SAFETY: nobody replaces or drops the object while somebody has a right to it. Where several have, they all only read here.
    let object = unsafe { &*slot.object.get() };
    // The kind says that it is a `T`, so there is no need to look.
    let object = object.as_ref().map(|object| std::ptr::from_ref::<dyn Any>(&**object).cast::<T>().cast_mut());
    let guard = Guard { slot, locked, object: object.unwrap_or(std::ptr::null_mut()) };
    if guard.object.is_null() || slot.poisoned.load(Ordering::Relaxed) {
        return Err(Misuse::Poisoned);
    }
    Ok(guard)
}

#[inline]
fn check_kind<T: Object>(handle: Handle) -> Result<(), Misuse> {
    if (handle >> NAME_SHIFT) & 31 == T::KIND as u64 { Ok(()) } else { Err(Misuse::Handle) }
}

impl<T: Object> Deref for Guard<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's right to the object.
        unsafe { &*self.object }
    }
}

impl<T: Object<Mode = One>> AsMut<T> for Guard<T> {
    #[inline]
    fn as_mut(&mut self) -> &mut T {
        // SAFETY: no other call uses the object: this one counted itself as the only one.
        unsafe { &mut *self.object }
    }
}

impl<T: Object<Mode = Own>> DerefMut for Guard<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: no other call uses the object: this one is its owner's, and the only one of it, or holds the lock.
        unsafe { &mut *self.object }
    }
}

impl<T: Object> Drop for Guard<T> {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.slot.poisoned.store(true, Ordering::Relaxed);
        }
        <T::Mode as sealed::Mode>::leave(self.slot, self.locked);
    }
}

/// Takes an object out of the table: its handle is none from then on.
///
/// # Errors
/// [`Misuse::InUse`] while a call uses it, [`Misuse::HasChildren`] while something that was made from it is open; else as [`get`],
/// but that a panic before is no hindrance.
pub fn remove<T: Object>(handle: Handle) -> Result<T, Misuse> {
    if threads::is_inside_callback() {
        return Err(Misuse::InsideCallback);
    }
    check_kind::<T>(handle)?;
    let slot = slot_of(handle)?;
    check(slot.word.load(Ordering::Acquire), handle)?;
    let owner = slot.owner.load(Ordering::Relaxed);
    if std::any::TypeId::of::<T::Mode>() == std::any::TypeId::of::<Own>() && owner != SHARED {
        if owner != threads::token() {
            return Err(Misuse::WrongThread);
        }
        if slot.busy.load(Ordering::Relaxed) {
            return Err(Misuse::InUse);
        }
    }
    slot.change(handle, |word| match word {
        word if word & CALLS != 0 => Err(Misuse::InUse),
        word if word & CHILDREN != 0 => Err(Misuse::HasChildren),
        word => Ok(word | CLOSING),
    })?;
    // SAFETY: who set `CLOSING` has the only right to the object, which nobody gets any more.
    let object = unsafe { (*slot.object.get()).take() };
    free(slot, handle);
    let object: Option<Box<T>> = object.and_then(|object| (object as Box<dyn Any>).downcast().ok());
    object.map(|object| *object).ok_or(Misuse::Handle)
}

/// [`remove`] for a host that knows better whose an object is: one whose memory management found that nobody refers to it.
///
/// # Safety
/// No thread is inside a call on the object or makes one any more, and what they did happened before.
pub unsafe fn reclaim<T: Object<Mode = Own>>(handle: Handle) -> Result<T, Misuse> {
    check_kind::<T>(handle)?;
    let slot = slot_of(handle)?;
    check(slot.word.load(Ordering::Acquire), handle)?;
    slot.owner.store(threads::token(), Ordering::Relaxed);
    slot.busy.store(false, Ordering::Relaxed);
    remove(handle)
}

/// Drops whatever is open, children before their parents, and says how many there were: for a library that is unloaded.
///
/// # Safety
/// No thread is inside a call on any object or makes one any more, and what they did happened before.
pub unsafe fn drop_all() -> usize {
    let (mut dropped, mut before) = (0, usize::MAX);
    while dropped != before {
        before = dropped;
        for index in 0..MADE.load(Ordering::Acquire) {
            let Ok(slot) = slot_of(u64::from(index)) else { continue };
            let word = slot.word.load(Ordering::Acquire);
            if (word >> NAME_SHIFT) & 31 == 0 || word & CHILDREN != 0 {
                continue;
            }
            // SAFETY: nobody uses it, by this function's contract.
            drop(unsafe { (*slot.object.get()).take() });
            free(slot, (word >> NAME_SHIFT << NAME_SHIFT) | u64::from(index));
            dropped += 1;
        }
    }
    dropped
}

/// Gives the slot of an object that was taken out of it to the next one.
fn free(slot: &Slot, handle: Handle) {
    disown(slot.parent.load(Ordering::Relaxed));
    let generation = ((handle >> GENERATION_SHIFT) + 1) & ((1 << (64 - GENERATION_SHIFT)) - 1);
    // Generation 0 is left out, so that no handle is 0.
    slot.word.store(generation.max(1) << GENERATION_SHIFT, Ordering::Release);
    FREE.lock().push_back(handle as u32);
}

/// Gives an object up to whichever thread [adopts](adopt) it first.
pub fn give_away<T: Object<Mode = Own>>(handle: Handle) -> Result<(), Misuse> {
    let guard = get::<T>(handle)?;
    if guard.locked {
        return Err(Misuse::WrongThread);
    }
    let slot = guard.slot;
    drop(guard);
    // Pairs with the acquire of `adopt`: the next owner sees what this one did.
    slot.owner.store(0, Ordering::Release);
    Ok(())
}

/// Makes an object the calling thread's that was given away, or whose owner has ended. [`Misuse::WrongThread`] while it belongs to
/// another.
pub fn adopt<T: Object<Mode = Own>>(handle: Handle) -> Result<(), Misuse> {
    if threads::is_inside_callback() {
        return Err(Misuse::InsideCallback);
    }
    check_kind::<T>(handle)?;
    let slot = slot_of(handle)?;
    check(slot.word.load(Ordering::Acquire), handle)?;
    let (own, owner) = (threads::token(), slot.owner.load(Ordering::Relaxed));
    if owner == own {
        return Ok(());
    }
    // What a thread did that has ended is visible: it was struck from the living under a lock.
    if owner == SHARED || (owner != 0 && threads::is_alive(owner)) {
        return Err(Misuse::WrongThread);
    }
    let taken = slot.owner.compare_exchange(owner, own, Ordering::Acquire, Ordering::Relaxed);
    taken.map_err(|_| Misuse::WrongThread)?;
    if let Err(misuse) = check(slot.word.load(Ordering::Acquire), handle) {
        // It was closed meanwhile, and what is there now was nobody's as well.
        slot.owner.store(owner, Ordering::Release);
        return Err(misuse);
    }
    // A thread that ended may have been inside a call: then the object is poisoned, but free.
    slot.busy.store(false, Ordering::Relaxed);
    Ok(())
}

/// Lets any thread use an object, one waiting for the other, from now on. Only its owner can.
pub fn share<T: Object<Mode = Own>>(handle: Handle) -> Result<(), Misuse> {
    let guard = get::<T>(handle)?;
    if !guard.locked {
        let slot = guard.slot;
        drop(guard);
        // Pairs with the lock that others take: what was done before happens before that.
        slot.lock.lock();
        slot.owner.store(SHARED, Ordering::Relaxed);
        // SAFETY: locked above.
        unsafe { slot.lock.unlock() };
    }
    Ok(())
}

/// How many objects are open, of all kinds.
pub fn open_objects() -> usize {
    let free = FREE.lock();
    MADE.load(Ordering::Relaxed) as usize - free.len()
}

#[cfg(test)]
mod tests;
