//! Handles: numbers that stand for objects, and that nobody can do harm with.
//!
//! A handle names a slot ([`crate::slot`]) of a table that never moves or shrinks, the generation of what is in it, and of which kind
//! that is. One comparison tells whether it is good: one that is null, made up, closed or of another kind is none. Generations go up with every object of a slot, and free slots are used again in the order
//! in which they became free, so that four million objects have to come and go in one slot before a number returns.
//!
//! How an object is reached depends on its kind ([`Object::Mode`]):
//!
//! - [`Many`]: by any number of threads at once. Each call counts itself, and nothing is closed while there are any.
//! - [`One`]: by one call at a time, from any thread; a second one is refused.
//! - [`Own`]: by the thread that made it, until it gives it away. No counting, no lock: what another thread can do is to look at
//!   whose it is. Closing is a call of the owner, too. With [`share`] any thread may use it, one waiting for the other.
//!
//! What a callback calls is refused throughout: it would wait for the call that it came from.
//!
//! An object counts as a child of the one that it was made from, and nothing is closed that has children.
#![expect(unsafe_code, reason = "objects are reached through numbers, and their rules are kept here")]

use crate::kind::{Kind, Kinds};
use crate::slot::{Entered, Slot, is_whole, kind_of};
use crate::status::Misuse;
use crate::threads::{self, Caller};
use parking_lot::Mutex;
use std::any::TypeId;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A handle as other languages hold it. 0 is never one.
pub type Handle = u64;

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

/// The smallest chunk of slots; each further one is twice as long.
const FIRST_CHUNK: usize = 64;
const CHUNKS: usize = 26;

/// What lies in a slot: a box whose type the handle's kind says.
#[derive(Debug)]
pub struct Boxed {
    /// Of `Box::into_raw`.
    pointer: *mut (),
    drop: unsafe fn(*mut ()),
}

// SAFETY: objects are `Send`.
unsafe impl Send for Boxed {}

impl Boxed {
    fn new<T: Object>(object: T) -> Self {
        /// Drops what `new` boxed.
        unsafe fn drop<T>(pointer: *mut ()) {
            // SAFETY: of `Box::into_raw` and of this type, once.
            std::mem::drop(unsafe { Box::from_raw(pointer.cast::<T>()) });
        }
        Self { pointer: Box::into_raw(Box::new(object)).cast(), drop: drop::<T> }
    }

    /// # Safety
    /// It was made of a `T`.
    unsafe fn into_inner<T>(self) -> T {
        let pointer = ManuallyDrop::new(self).pointer.cast::<T>();
        // SAFETY: of `Box::into_raw`, and not dropped by the line above.
        *unsafe { Box::from_raw(pointer) }
    }
}

impl Drop for Boxed {
    fn drop(&mut self) {
        // SAFETY: the function that goes with the pointer.
        unsafe { (self.drop)(self.pointer) };
    }
}

static TABLE: [OnceLock<Box<[Slot<Boxed>]>>; CHUNKS] = [const { OnceLock::new() }; CHUNKS];
static FREE: Mutex<VecDeque<u32>> = Mutex::new(VecDeque::new());
static MADE: AtomicU32 = AtomicU32::new(0);

#[inline]
fn slot_of(handle: Handle) -> Result<&'static Slot<Boxed>, Misuse> {
    let index = handle as u32 as usize + FIRST_CHUNK;
    let chunk = (index.ilog2() - FIRST_CHUNK.ilog2()) as usize;
    let slots = TABLE.get(chunk).and_then(OnceLock::get).ok_or(Misuse::Handle)?;
    slots.get(index - (FIRST_CHUNK << chunk)).ok_or(Misuse::Handle)
}

/// A slot that nothing is in, and its index. Adding to the table is done under the lock of the free ones.
fn free_slot() -> Result<(u32, &'static Slot<Boxed>), Misuse> {
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
    let slots = slots.get_or_init(|| (0..FIRST_CHUNK << chunk).map(|_| Slot::default()).collect());
    MADE.store(made + 1, Ordering::Relaxed);
    drop(free);
    Ok((made, slots.get(index - (FIRST_CHUNK << chunk)).ok_or(Misuse::InUse)?))
}

/// Gives an object a handle. It belongs to the calling thread, where that matters, and is a child of `parent` unless that is 0.
pub fn insert<T: Object>(object: T, parent: Handle) -> Result<Handle, Misuse> {
    reserve_child(parent)?.insert(object)
}

/// Counts a child that is yet to be made, of `parent` unless that is 0: before something is done that stays done, so that it isn't done in vain
/// where there is no room for the handle of what it gives.
pub fn reserve_child(parent: Handle) -> Result<Parent, Misuse> {
    if parent != 0 {
        slot_of(parent)?.add_child(parent)?;
    }
    Ok(Parent(parent))
}

/// How rights to an object are taken.
mod sealed {
    use super::{Boxed, Entered, Handle, Inside, Misuse, Slot, found, kind_of, slot_for, threads};

    pub trait Mode: 'static {
        fn enter(handle: Handle, kind: u8) -> Result<Inside, Misuse>;
    }

    impl Mode for super::Many {
        #[inline]
        fn enter(handle: Handle, kind: u8) -> Result<Inside, Misuse> {
            let slot = slot_for(handle, kind)?;
            found(slot, slot.enter_many(handle)?)
        }
    }

    impl Mode for super::One {
        #[inline]
        fn enter(handle: Handle, kind: u8) -> Result<Inside, Misuse> {
            let slot = slot_for(handle, kind)?;
            found(slot, slot.enter_one(handle)?)
        }
    }

    impl Mode for super::Own {
        /// A thread that calls on the same object as before finds it without looking for it, and that it does tells that it is in no
        /// callback. Whatever is not so is told apart afterwards.
        #[inline(always)]
        fn enter(handle: Handle, kind: u8) -> Result<Inside, Misuse> {
            let kept = threads::with_caller(|caller| {
                // What a thread has in a handle's place that is none has no kind.
                let (slot, object) = caller.kept(handle).filter(|_| kind_of(handle) == u64::from(kind))?;
                // SAFETY: `enter_own` put it there, and slots stay where they are for ever.
                let slot = unsafe { &*slot.cast::<Slot<Boxed>>() };
                slot.enter_again().then_some(Inside { slot, entered: Entered::Owned, object })
            });
            kept.map_or_else(|| enter_own(handle, kind), Ok)
        }
    }

    #[cold]
    #[inline(never)]
    fn enter_own(handle: Handle, kind: u8) -> Result<Inside, Misuse> {
        let slot = slot_for(handle, kind)?;
        let inside = found(slot, slot.enter_own(handle, threads::token())?)?;
        if matches!(inside.entered, Entered::Owned) {
            let place = std::ptr::from_ref(slot).cast();
            threads::with_caller(|caller| caller.keep(handle, place, inside.object));
        }
        Ok(inside)
    }
}

/// A call that is inside, and the object of its slot.
#[derive(Debug)]
pub struct Inside {
    slot: &'static Slot<Boxed>,
    entered: Entered<'static>,
    object: *mut (),
}

/// The object of a slot, for a call that is inside.
#[inline]
fn found(slot: &'static Slot<Boxed>, entered: Entered<'static>) -> Result<Inside, Misuse> {
    // SAFETY: the call is inside.
    match unsafe { slot.object() }.map(|boxed| boxed.pointer) {
        Some(object) if !slot.is_poisoned() => Ok(Inside { slot, entered, object }),
        _ => {
            slot.leave(entered);
            Err(Misuse::Poisoned)
        }
    }
}

/// An object that a call is using.
#[derive(Debug)]
pub struct Guard<T: Object> {
    slot: &'static Slot<Boxed>,
    entered: ManuallyDrop<Entered<'static>>,
    object: *mut T,
}

/// Looks up what a handle stands for.
///
/// # Errors
/// [`Misuse::Handle`] where it is none of this kind, and what the kind's mode refuses: [`Misuse::InUse`], [`Misuse::WrongThread`];
/// [`Misuse::Poisoned`] after a panic; [`Misuse::InsideCallback`].
#[inline(always)]
pub fn get<T: Object>(handle: Handle) -> Result<Guard<T>, Misuse> {
    let Inside { slot, entered, object } = <T::Mode as sealed::Mode>::enter(handle, T::KIND as u8)?;
    // The kind, which was checked, says that the pointer is to a `T`.
    Ok(Guard { slot, entered: ManuallyDrop::new(entered), object: object.cast() })
}

#[inline]
fn slot_for(handle: Handle, kind: u8) -> Result<&'static Slot<Boxed>, Misuse> {
    // Errors wait for nothing, and somebody may want to know what they say.
    if threads::is_inside_callback() && kind != Kind::Error as u8 {
        return Err(Misuse::InsideCallback);
    }
    if kind_of(handle) != u64::from(kind) || !is_whole(handle) {
        return Err(Misuse::Handle);
    }
    slot_of(handle)
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
        // SAFETY: no other call uses the object: this one is its owner's, and the only one of it or counted alone, or holds the lock.
        unsafe { &mut *self.object }
    }
}

impl<T: Object> Drop for Guard<T> {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.slot.poison();
            threads::with_caller(Caller::forget);
        }
        // SAFETY: taken once, as this is dropped.
        self.slot.leave(unsafe { ManuallyDrop::take(&mut self.entered) });
    }
}

/// An object that was taken out of the table. Its parent has it as a child until it is dropped, however long what is done with it
/// takes.
#[derive(Debug)]
pub struct Removed<T> {
    // Dropped in this order.
    object: T,
    parent: Parent,
}

/// Keeps an object open for a child: one that is yet to get a handle, or that has none any more.
#[derive(Debug)]
pub struct Parent(Handle);

impl Parent {
    /// Gives its child a handle. It belongs to the calling thread, where that matters.
    pub fn insert<T: Object>(self, child: T) -> Result<Handle, Misuse> {
        let (index, slot) = free_slot()?;
        // The slot has it from here on.
        let parent = ManuallyDrop::new(self).0;
        // SAFETY: it was taken off the free ones by this call.
        let name = unsafe { slot.fill(T::KIND as u8, Boxed::new(child), threads::token(), parent) };
        let handle = name | u64::from(index);
        // What the thread keeps may be of the object that had this handle four million objects ago.
        threads::with_caller(|caller| {
            if caller.kept(handle).is_some() {
                caller.forget();
            }
        });
        Ok(handle)
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        if self.0 != 0
            && let Ok(slot) = slot_of(self.0)
        {
            slot.remove_child();
        }
    }
}

impl<T> Removed<T> {
    /// The object, and what keeps its parent open.
    pub fn into_parts(self) -> (T, Parent) {
        (self.object, self.parent)
    }
}

impl<T> Deref for Removed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

/// Takes an object out of the table: its handle is none from then on.
///
/// # Errors
/// [`Misuse::InUse`] while a call uses it, [`Misuse::HasChildren`] while something that was made from it is open; else as [`get`],
/// but that a panic before is no hindrance.
pub fn remove<T: Object>(handle: Handle) -> Result<Removed<T>, Misuse> {
    let slot = slot_for(handle, T::KIND as u8)?;
    let has_owner = TypeId::of::<T::Mode>() == TypeId::of::<Own>();
    threads::with_caller(Caller::forget);
    let (boxed, parent) = take(slot, handle, has_owner.then(threads::token)).map_err(|misuse| match misuse {
        Misuse::HasChildren(_) => Misuse::HasChildren(children_of(handle)),
        other => other,
    })?;
    // SAFETY: the kind, which was checked, says that it is a `T`.
    let object = boxed.map(|boxed| unsafe { boxed.into_inner() }).ok_or(Misuse::Handle)?;
    Ok(Removed { object, parent })
}

/// What is open that was made from an object, for the one who has to close it: by a look at all slots.
#[cold]
fn children_of(handle: Handle) -> Kinds {
    let slots = (0..MADE.load(Ordering::Acquire)).filter_map(|index| slot_of(u64::from(index)).ok());
    slots.filter_map(|slot| slot.kind_under(handle)).fold(Kinds::NONE, Kinds::with)
}

/// Takes an object out of its slot, and gives that to the next one.
fn take(slot: &Slot<Boxed>, handle: Handle, token: Option<u64>) -> Result<(Option<Boxed>, Parent), Misuse> {
    let (boxed, parent) = slot.take(handle, token)?;
    FREE.lock().push_back(handle as u32);
    Ok((boxed, Parent(parent)))
}

/// [`remove`] for a host that knows better whose an object is: one whose memory management found that nobody refers to it.
///
/// # Safety
/// No thread is inside a call on the object or makes one any more, and what they did happened before.
pub unsafe fn reclaim<T: Object<Mode = Own>>(handle: Handle) -> Result<Removed<T>, Misuse> {
    // SAFETY: the caller's word.
    unsafe { slot_for(handle, T::KIND as u8)?.seize(handle, threads::token()) }?;
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
            let Some(name) = slot.childless() else { continue };
            if let Ok((boxed, parent)) = take(slot, name | u64::from(index), None) {
                drop(boxed);
                drop(parent);
                dropped += 1;
            }
        }
    }
    dropped
}

/// Gives an object up to whichever thread [adopts](adopt) it first.
pub fn give_away<T: Object<Mode = Own>>(handle: Handle) -> Result<(), Misuse> {
    threads::with_caller(Caller::forget);
    slot_for(handle, T::KIND as u8)?.give_away(handle, threads::token())
}

/// Makes an object the calling thread's that was given away, or whose owner has ended. [`Misuse::WrongThread`] while it belongs to
/// another; where the owner's end can't be heard of, [`Misuse::InUse`] while that is inside.
pub fn adopt<T: Object<Mode = Own>>(handle: Handle) -> Result<(), Misuse> {
    threads::with_caller(Caller::forget);
    slot_for(handle, T::KIND as u8)?.adopt(handle, threads::token(), threads::is_alive)
}

/// Lets any thread use an object, one waiting for the other, from now on. Only its owner can.
pub fn share<T: Object<Mode = Own>>(handle: Handle) -> Result<(), Misuse> {
    threads::with_caller(Caller::forget);
    slot_for(handle, T::KIND as u8)?.share(handle, threads::token())
}

/// How many objects are open, of all kinds.
pub fn open_objects() -> usize {
    let free = FREE.lock();
    MADE.load(Ordering::Relaxed) as usize - free.len()
}

#[cfg(test)]
mod tests;
