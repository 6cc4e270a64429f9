//! The state that a handler of events is given, as other languages hold it: a number.
//!
//! It is good while the handler runs, on its thread alone. Everything else of the engine is refused there, as in any callback. What a
//! handler's operation fails with is remembered, so that a handler that passes on a status alone fails with all of the error.
#![expect(unsafe_code, reason = "what is lent for a call is reached through a number")]

use crate::status::{Failure, Misuse, status_of};
use crate::threads::callback;
use alluvium::{Applying, Error};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy)]
struct Lent {
    id: u64,
    /// Null while an operation uses it.
    applying: *mut Applying<'static>,
    key_groups: u32,
    /// What it came to can't be come to again.
    spoiled: bool,
}

thread_local! {
    static LENT: Cell<Option<Lent>> = const { Cell::new(None) };
    static PANICKED: Cell<bool> = const { Cell::new(false) };
    /// A box's, or null: without anything to be dropped, so that it is there until the very end of a thread.
    static FAILED: Cell<*mut Error> = const { Cell::new(std::ptr::null_mut()) };
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Takes what the last operation failed with, and notes another.
fn replace_failed(error: Option<Error>) -> Option<Box<Error>> {
    let new = error.map_or(std::ptr::null_mut(), |error| Box::into_raw(Box::new(error)));
    let old = FAILED.replace(new);
    // SAFETY: of `Box::into_raw`, and taken out just now.
    (!old.is_null()).then(|| unsafe { Box::from_raw(old) })
}

/// Puts back what was lent before.
struct Before(Option<Lent>);

impl Drop for Before {
    fn drop(&mut self) {
        LENT.set(self.0);
    }
}

/// Runs a host's handler of this name, which is given a number for `applying` and says 0 where it did its work.
///
/// # Panics
/// Where an operation of the handler panicked: what the writer has is as unknown as after any other panic.
pub fn lend(
    name: &str,
    applying: &mut Applying<'_>,
    key_groups: u32,
    handler: impl FnOnce(u64) -> i32,
) -> alluvium::Result<()> {
    lend_for(name, applying, key_groups, handler, |number| (number == 0).then_some(()))
}

/// Runs a host's function of this name that says whether something holds: 1, or 0 where it doesn't.
///
/// # Panics
/// As [`lend`].
pub fn lend_asking(
    name: &str,
    applying: &mut Applying<'_>,
    key_groups: u32,
    holds: impl FnOnce(u64) -> i32,
) -> alluvium::Result<bool> {
    lend_for(name, applying, key_groups, holds, |number| match number {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    })
}

/// The same of any function, and which of its numbers are answers.
fn lend_for<R>(
    name: &str,
    applying: &mut Applying<'_>,
    key_groups: u32,
    function: impl FnOnce(u64) -> i32,
    answer: impl FnOnce(i32) -> Option<R>,
) -> alluvium::Result<R> {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let lent = Lent { id, applying: std::ptr::from_mut(applying).cast(), key_groups, spoiled: false };
    let before = Before(LENT.replace(Some(lent)));
    replace_failed(None);
    let number = callback(|| function(id));
    let spoiled = LENT.get().is_some_and(|lent| lent.spoiled);
    drop(before);
    let failed = replace_failed(None);
    assert!(!PANICKED.replace(false), "an operation of the handler {name:?} panicked");
    if spoiled {
        let problem = "what was drawn is no bytes, or longer than 1 GiB".to_owned();
        return Err(Error::Handler { handler: name.to_owned(), problem });
    }
    match (answer(number), failed) {
        (Some(answer), _) => Ok(answer),
        (None, Some(error)) if status_of(&error).code() == number => Err(*error),
        (None, _) => Err(Error::Handler { handler: name.to_owned(), problem: format!("it came to {number}") }),
    }
}

/// Reaches what a handler was given, and how many key groups its store has.
///
/// # Errors
/// [`Misuse::Handle`] where it isn't of the handler that this thread runs, [`Misuse::InUse`] inside a callback of another operation on it.
pub fn with<R>(id: u64, operation: impl FnOnce(&mut Applying<'_>, u32) -> Result<R, Failure>) -> Result<R, Failure> {
    /// Notes a panic.
    struct Watch;
    impl Drop for Watch {
        fn drop(&mut self) {
            if std::thread::panicking() {
                PANICKED.set(true);
            }
        }
    }
    let lent = LENT.get().filter(|lent| lent.id == id).ok_or(Misuse::Handle)?;
    if lent.applying.is_null() {
        return Err(Misuse::InUse.into());
    }
    LENT.set(Some(Lent { applying: std::ptr::null_mut(), ..lent }));
    let _back = Before(Some(lent));
    let _watch = Watch;
    // SAFETY: `lend` has it, on this thread, until the handler returns, and nobody else reaches it until `_back` goes.
    let done = operation(unsafe { &mut *lent.applying }, lent.key_groups);
    if let Err(Failure::Engine(error)) = &done {
        replace_failed(Some(error.clone()));
    }
    done
}

/// Has the handler fail, whatever it says itself: it was told something that it won't be when the event is applied again.
pub fn spoil(id: u64) {
    if let Some(lent) = LENT.get().filter(|lent| lent.id == id) {
        LENT.set(Some(Lent { spoiled: true, ..lent }));
    }
}
