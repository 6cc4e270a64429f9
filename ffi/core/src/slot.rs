//! A slot: a place for one object at a time, and who may reach it.
//!
//! ```text
//! handle   generation 22 | kind 5 |                      5 | index 32
//! word     generation 22 | kind 5 | closing 1 | children 20 | calls 16
//! ```
//!
//! The word says what is in the slot; its upper 27 bits are those of the handle that is good for it. There are three ways to the
//! object, of which each slot's users take one:
//!
//! - [`Slot::enter_many`]: a call counts itself in the word. Nothing is taken out while there are calls.
//! - [`Slot::enter_one`]: the same, but only the first call is let in.
//! - [`Slot::enter_own`]: the owner's calls look at the word and at whose the slot is, and count nothing. Only the owner takes its
//!   right away ([`Slot::give_away`], [`Slot::share`]), or the object ([`Slot::take`]), so what it found holds until then, and it needn't
//!   look again ([`Slot::enter_again`]). In a slot that is shared, others count themselves and wait for a lock.
//!
//! Threads are told apart by tokens, numbers that are neither 0 nor the greatest: those are no thread's, and with them nobody is let in as
//! an owner. A thread whose end won't be heard of says so in its token ([`UNHEARD`]). Nobody can tell whether it has ended, so what it has
//! can be adopted at any time, unless it is inside: its calls count themselves, and so does who adopts from it.
#![expect(unsafe_code, reason = "the object is reached by those alone who have the right to")]

use crate::kind::{Kind, Kinds};
use crate::status::Misuse;
use alluvium::platform::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use alluvium::platform::sync::cell::UnsafeCell;
use alluvium::platform::sync::{Mutex, MutexGuard};

const CALL: u64 = 1;
const CALLS: u64 = (1 << 16) - 1;
const CHILD: u64 = 1 << 16;
const CHILDREN: u64 = ((1 << 20) - 1) << 16;
const CLOSING: u64 = 1 << 36;
const KIND_SHIFT: u32 = 37;
const KINDS: u64 = (1 << 5) - 1;
const GENERATION_SHIFT: u32 = 42;
const GENERATIONS: u64 = (1 << 22) - 1;

/// In the token of a thread whose end won't be heard of. No thread that is heard of has it, as they are counted from 1.
pub const UNHEARD: u64 = 1 << 63;

/// Whether the end of a slot's owner won't be heard of.
#[inline]
const fn is_unheard(token: u64) -> bool {
    token & UNHEARD != 0 && token != SHARED
}

/// Whose a slot is when any thread may use it.
const SHARED: u64 = u64::MAX;

/// Whether the bits of a handle that mean nothing are as they were given out.
#[inline]
pub const fn is_whole(handle: u64) -> bool {
    handle >> 32 & KINDS == 0
}

/// The kind in a handle.
#[inline]
pub const fn kind_of(handle: u64) -> u64 {
    (handle >> KIND_SHIFT) & KINDS
}

/// See the module's head.
#[derive(Debug)]
pub struct Slot<T> {
    word: AtomicU64,
    /// The owner's token, 0 while it is nobody's, or [`SHARED`].
    owner: AtomicU64,
    /// Whether the owner is inside, if its end will be heard of. Only such an owner touches it.
    busy: AtomicBool,
    poisoned: AtomicBool,
    /// Held by calls on what is shared.
    lock: Mutex<()>,
    parent: AtomicU64,
    object: UnsafeCell<Option<T>>,
}

// SAFETY: `object` is reached through the protocol alone, which lets several in at once only by `enter_many`; who uses that with what isn't
// `Sync` breaks the promise of `handles::Object`.
unsafe impl<T: Send> Sync for Slot<T> {}

/// How a call came in, to be given back by [`Slot::leave`].
#[derive(Debug)]
pub enum Entered<'a> {
    /// It counted itself: one of many, or alone.
    Counted,
    /// It is the owner's.
    Owned,
    /// It counted itself, and holds the lock.
    Locked(MutexGuard<'a, ()>),
}

/// The word, if the handle is that of the object that is in the slot, and open.
#[inline]
fn check(word: u64, handle: u64) -> Result<u64, Misuse> {
    if (word ^ handle) >> KIND_SHIFT != 0 || word & CLOSING != 0 { Err(Misuse::Handle) } else { Ok(word) }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            // No handle has generation 0, nor kind 0.
            word: AtomicU64::new(1 << GENERATION_SHIFT),
            owner: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            lock: Mutex::new(()),
            parent: AtomicU64::new(0),
            object: UnsafeCell::new(None),
        }
    }
}

impl<T> Slot<T> {
    /// Puts an object into a free slot, and gives the upper part of its handle; the lower 32 bits are the caller's.
    ///
    /// # Safety
    /// The slot is free, and nobody else fills it.
    pub unsafe fn fill(&self, kind: u8, object: T, owner: u64, parent: u64) -> u64 {
        self.owner.store(owner, Ordering::Relaxed);
        self.busy.store(false, Ordering::Relaxed);
        self.poisoned.store(false, Ordering::Relaxed);
        self.parent.store(parent, Ordering::Relaxed);
        // SAFETY: nobody reaches the object of a free slot.
        self.object.with_mut(|place| unsafe { *place = Some(object) });
        let generation = self.word.load(Ordering::Relaxed) >> GENERATION_SHIFT;
        let name = (generation << 5 | u64::from(kind)) << KIND_SHIFT;
        // Whoever finds the handle good has acquired this.
        self.word.store(name, Ordering::Release);
        name
    }

    /// Changes the word of an open object as `change` says.
    fn change(&self, handle: u64, change: impl Fn(u64) -> Result<u64, Misuse>) -> Result<(), Misuse> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let changed = change(check(word, handle)?)?;
            match self.word.compare_exchange_weak(word, changed, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    fn count(&self, handle: u64, calls_max: u64) -> Result<(), Misuse> {
        self.change(handle, |word| if word & CALLS >= calls_max { Err(Misuse::InUse) } else { Ok(word + CALL) })
    }

    /// Lets any number of calls in.
    #[inline]
    pub fn enter_many(&self, handle: u64) -> Result<Entered<'_>, Misuse> {
        self.count(handle, CALLS)?;
        Ok(Entered::Counted)
    }

    /// Lets one call in.
    #[inline]
    pub fn enter_one(&self, handle: u64) -> Result<Entered<'_>, Misuse> {
        self.count(handle, 1)?;
        Ok(Entered::Counted)
    }

    /// Lets the owner in again, once: false while it is inside. For the owner alone, who came in before by [`Slot::enter_own`], and has
    /// taken none of its rights away since; so what that found still holds.
    #[inline(always)]
    pub fn enter_again(&self) -> bool {
        let is_free = !self.busy.load(Ordering::Relaxed);
        if is_free {
            self.busy.store(true, Ordering::Relaxed);
        }
        is_free
    }

    /// Lets the owner in, once; and any thread, one after the other, where it is shared.
    #[inline]
    pub fn enter_own(&self, handle: u64, token: u64) -> Result<Entered<'_>, Misuse> {
        // Acquires what `fill` released: with the word comes the owner.
        check(self.word.load(Ordering::Acquire), handle)?;
        // A thread that finds itself the owner has made itself so (`fill`, `adopt`), and nobody else takes that away.
        if self.owner.load(Ordering::Relaxed) != token {
            return self.enter_shared(handle);
        }
        if is_unheard(token) {
            self.hold(handle, token)?;
            return Ok(Entered::Counted);
        }
        if self.enter_again() { Ok(Entered::Owned) } else { Err(Misuse::InUse) }
    }

    /// Counts one in alone while it is its owner's whose end won't be heard of: until [`Slot::uncount`] nobody adopts it or takes it out.
    fn hold(&self, handle: u64, owner: u64) -> Result<(), Misuse> {
        self.count(handle, 1)?;
        // Who adopted it was counted in as well, so counting acquired whose it is now.
        if self.owner.load(Ordering::Relaxed) == owner {
            return Ok(());
        }
        self.uncount();
        Err(Misuse::WrongThread)
    }

    fn enter_shared(&self, handle: u64) -> Result<Entered<'_>, Misuse> {
        if self.owner.load(Ordering::Relaxed) != SHARED {
            return Err(Misuse::WrongThread);
        }
        // Counted before it waits, so that nothing is taken out meanwhile.
        self.count(handle, CALLS)?;
        Ok(Entered::Locked(self.lock.lock()))
    }

    /// Ends a call.
    #[inline]
    pub fn leave(&self, entered: Entered<'_>) {
        match entered {
            Entered::Owned => self.busy.store(false, Ordering::Relaxed),
            Entered::Counted => self.uncount(),
            Entered::Locked(lock) => {
                drop(lock);
                self.uncount();
            }
        }
    }

    fn uncount(&self) {
        // Acquired by whoever counts up from this, or takes the object out.
        self.word.fetch_sub(CALL, Ordering::Release);
    }

    /// The object, to be looked at by calls that are inside; `None` in a free slot.
    ///
    /// # Safety
    /// The caller is inside, and lets the reference go before it leaves.
    #[inline]
    pub unsafe fn object(&self) -> Option<&T> {
        // SAFETY: while somebody is inside, nothing is put in or taken out.
        self.object.with(|place| unsafe { (*place).as_ref() })
    }

    /// Notes that a call panicked inside.
    pub fn poison(&self) {
        self.poisoned.store(true, Ordering::Relaxed);
    }

    /// Whether one did.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// Counts a child.
    pub fn add_child(&self, handle: u64) -> Result<(), Misuse> {
        // Not something to be tried again: who makes so many leaks them.
        const TOO_MANY: Misuse = Misuse::Argument("a million things that were made from one object are open");
        self.change(handle, |word| if word & CHILDREN == CHILDREN { Err(TOO_MANY) } else { Ok(word + CHILD) })
    }

    /// A child is gone.
    pub fn remove_child(&self) {
        self.word.fetch_sub(CHILD, Ordering::Release);
    }

    /// Takes the object out, with its parent's handle. The slot is free from then on. `token` where the object has an owner.
    pub fn take(&self, handle: u64, token: Option<u64>) -> Result<(Option<T>, u64), Misuse> {
        check(self.word.load(Ordering::Acquire), handle)?;
        let held = token.map_or(Ok(0), |token| self.hold_to_take(handle, token))?;
        let closing = self.change(handle, |word| match word {
            word if word & CALLS != held => Err(Misuse::InUse),
            word if word & CHILDREN != 0 => Err(Misuse::HasChildren(Kinds::NONE)),
            word => Ok((word - held) | CLOSING),
        });
        if closing.is_err() && held != 0 {
            self.uncount();
        }
        closing?;
        // SAFETY: who set `CLOSING` has the only right to the object, which nobody gets any more.
        let object = self.object.with_mut(|place| unsafe { (*place).take() });
        let parent = self.parent.load(Ordering::Relaxed);
        let generation = ((handle >> GENERATION_SHIFT) + 1) & GENERATIONS;
        self.word.store(generation.max(1) << GENERATION_SHIFT, Ordering::Release);
        Ok((object, parent))
    }

    /// Checks that the thread may take the object out, and says how many calls it counted for that.
    fn hold_to_take(&self, handle: u64, token: u64) -> Result<u64, Misuse> {
        // Acquires what `share` released: others may have used it since, or nobody.
        match self.owner.load(Ordering::Acquire) {
            SHARED => Ok(0),
            owner if owner != token => Err(Misuse::WrongThread),
            owner if is_unheard(owner) => self.hold(handle, owner).map(|()| CALL),
            _ if self.busy.load(Ordering::Relaxed) => Err(Misuse::InUse),
            _ => Ok(0),
        }
    }

    /// Makes it nobody's. By its owner, who is not inside.
    pub fn give_away(&self, handle: u64, token: u64) -> Result<(), Misuse> {
        self.check_owner(handle, token)?;
        self.hand_on(token, 0)
    }

    /// Gives it from its owner to nobody or to all, unless another thread adopted it, as it can from one whose end won't be heard of.
    fn hand_on(&self, token: u64, to: u64) -> Result<(), Misuse> {
        // Acquired by `adopt`, or by `take` of what is shared: they see what this owner did.
        let given = self.owner.compare_exchange(token, to, Ordering::Release, Ordering::Relaxed);
        given.map(|_| ()).map_err(|_| Misuse::WrongThread)
    }

    /// Makes it this thread's if it is nobody's, or its owner isn't known to be alive. [`Misuse::InUse`] while one is inside whose end won't
    /// be heard of.
    pub fn adopt(&self, handle: u64, token: u64, is_alive: impl FnOnce(u64) -> bool) -> Result<(), Misuse> {
        check(self.word.load(Ordering::Acquire), handle)?;
        let owner = self.owner.load(Ordering::Relaxed);
        if owner == token {
            return Ok(());
        }
        // What a thread did that has ended is visible: it was struck from the living under a lock.
        if owner == SHARED || (owner != 0 && is_alive(owner)) {
            return Err(Misuse::WrongThread);
        }
        if !is_unheard(owner) {
            return self.replace_owner(handle, owner, token);
        }
        self.hold(handle, owner)?;
        let adopted = self.replace_owner(handle, owner, token);
        self.uncount();
        adopted
    }

    fn replace_owner(&self, handle: u64, owner: u64, token: u64) -> Result<(), Misuse> {
        let taken = self.owner.compare_exchange(owner, token, Ordering::Acquire, Ordering::Relaxed);
        taken.map_err(|_| Misuse::WrongThread)?;
        if let Err(misuse) = check(self.word.load(Ordering::Acquire), handle) {
            // It was taken out meanwhile, and what is there now was nobody's as well.
            self.owner.store(owner, Ordering::Release);
            return Err(misuse);
        }
        // A thread that ended may have been inside.
        self.busy.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Makes it any thread's. By its owner, who is not inside.
    pub fn share(&self, handle: u64, token: u64) -> Result<(), Misuse> {
        self.check_owner(handle, token)?;
        // The next one to lock sees what the owner did, as does who takes it out without having locked.
        let _lock = self.lock.lock();
        self.hand_on(token, SHARED)
    }

    /// Makes it this thread's, whoever's it was.
    ///
    /// # Safety
    /// No thread is inside or comes in any more, and what they did happened before.
    pub unsafe fn seize(&self, handle: u64, token: u64) -> Result<(), Misuse> {
        check(self.word.load(Ordering::Acquire), handle)?;
        self.owner.store(token, Ordering::Relaxed);
        self.busy.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// The upper part of the handle of what is in it, if there is something that has no children.
    pub fn childless(&self) -> Option<u64> {
        let word = self.word.load(Ordering::Acquire);
        let is_open = kind_of(word) != 0 && word & CLOSING == 0;
        (is_open && word & CHILDREN == 0).then_some(word >> KIND_SHIFT << KIND_SHIFT)
    }

    /// The kind of what is in it, if that was made from the object of this handle.
    pub fn kind_under(&self, parent: u64) -> Option<Kind> {
        let kind = Kind::of(kind_of(self.word.load(Ordering::Acquire)))?;
        (self.parent.load(Ordering::Relaxed) == parent).then_some(kind)
    }

    fn check_owner(&self, handle: u64, token: u64) -> Result<(), Misuse> {
        let word = check(self.word.load(Ordering::Acquire), handle)?;
        if self.owner.load(Ordering::Relaxed) != token {
            return Err(Misuse::WrongThread);
        }
        let is_inside = if is_unheard(token) { word & CALLS != 0 } else { self.busy.load(Ordering::Relaxed) };
        if is_inside { Err(Misuse::InUse) } else { Ok(()) }
    }
}

#[cfg(all(test, loom))]
#[path = "slot/loom_models.rs"]
mod loom_models;
