//! Callbacks that do what they may: what each comes to is said by what it is given, so that the same is done again.

use crate::arguments::{Argument, Source};
use alluvium_c::compensation::{alluvium_bad_event, alluvium_undo_fn};
use alluvium_c::events::*;
use alluvium_c::types::*;
use std::ffi::c_void;
use std::ptr::null_mut;

/// Gives each of these types one callback, or none.
macro_rules! callbacks {
    ($($kind:ty = $callback:ident;)*) => {$(
        impl Argument for $kind {
            fn make(source: &mut Source<'_>) -> Self {
                if source.byte() == 255 { None } else { Some($callback) }
            }
        }
    )*};
}

// Of some the types are the same: what takes an entry is asked as what sees one is, invariants as handlers are, and what is done as contexts are let go.
callbacks!(
    alluvium_update_fn = change;
    alluvium_read_fn = look;
    alluvium_entry_fn = see;
    alluvium_done_fn = end;
    alluvium_lasting_fn = last;
    alluvium_convert_fn = convert;
    alluvium_handler_fn = apply;
    alluvium_undo_fn = undo;
);

/// Longer by a byte, and wrong or deleted now and then.
unsafe extern "C" fn change(_: *mut c_void, index: usize, old: alluvium_slice, value: *mut alluvium_slice) -> i32 {
    static BYTES: [u8; 64] = [7; 64];
    match old.len.wrapping_add(index) % 8 {
        5 => ALLUVIUM_DELETE,
        6 => ALLUVIUM_KEEP,
        7 => 99,
        3 if old.len > 0 => {
            // SAFETY: a place for the value; a part of what was given may be given back.
            unsafe { *value = alluvium_slice { data: old.data, len: old.len - 1 } };
            ALLUVIUM_PUT
        }
        _ => {
            let len = (old.len + 1).min(BYTES.len());
            // SAFETY: a place for the value.
            unsafe { *value = alluvium_slice { data: BYTES.as_ptr(), len } };
            ALLUVIUM_PUT
        }
    }
}

unsafe extern "C" fn look(_: *mut c_void, _: alluvium_slice) {}

unsafe extern "C" fn see(_: *mut c_void, user_key: alluvium_slice, value: alluvium_slice) -> i32 {
    i32::from((user_key.len + value.len) % 4 == 3)
}

unsafe extern "C" fn end(_: *mut c_void) {}

unsafe extern "C" fn last(_: *mut c_void, _: alluvium_status) {}

unsafe extern "C" fn convert(_: *mut c_void, old: alluvium_slice, output: alluvium_output) -> i32 {
    if let Some(write) = output.write {
        // SAFETY: what is there, for as long as this runs.
        unsafe { write(output.context, old.data, old.len / 2) };
    }
    i32::from(old.len % 5 == 4)
}

unsafe extern "C" fn undo(_: *mut c_void, _: *const alluvium_bad_event, applying: alluvium_applying) -> i32 {
    let nothing = alluvium_slice { data: std::ptr::null(), len: 0 };
    // SAFETY: of this call.
    unsafe { apply(null_mut(), nothing, applying) }
}

/// Changes something of each kind in the event's key group, whatever states there are: with those of other kinds it fails there.
unsafe extern "C" fn apply(_: *mut c_void, event: alluvium_slice, applying: alluvium_applying) -> i32 {
    let mut group = 0;
    let none = null_mut();
    // SAFETY: the event's bytes, and places for what is asked, for as long as this runs.
    unsafe {
        alluvium_applying_group(applying, &raw mut group, none);
        let ns = alluvium_slice { data: std::ptr::null(), len: 0 };
        let key = alluvium_key { group: i32::from(group), key: event, ns };
        let key = &raw const key;
        match event.len % 6 {
            0 => alluvium_applying_put(applying, 0, key, event, none),
            1 => alluvium_applying_append(applying, 1, key, event, none),
            2 => alluvium_applying_map_put(applying, 2, key, event, event, none),
            3 => alluvium_applying_delete(applying, 0, key, none),
            4 => alluvium_applying_map_clear(applying, 2, key, none),
            _ => 5,
        }
    }
}
