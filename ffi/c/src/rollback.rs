//! Rolling key groups back to a checkpoint, while the store goes on.

use crate::arguments::{array, call, place, range};
use crate::checkpoint::leave_rewound;
use crate::store::StoreObject;
use crate::types::*;
use alluvium::{Scope, StateId};
use alluvium_ffi::handles;

/// Takes key groups, with these states or, with none, all of them, back to a checkpoint that is kept, at once, while the store goes on: writers and
/// readers see them as they were at the checkpoint. It takes some milliseconds at most, however much it undoes. `info` says where the sources of
/// these key groups are to go on from (`alluvium_info_offset`), and has the checkpoint's label, number, metadata and position; close it with
/// `alluvium_info_close`. It lasts with the next commit of a store with a changelog, else with the next checkpoint.
///
/// `ALLUVIUM_CHECKPOINT` where none of this label is kept, or it can't be gone back to; `ALLUVIUM_OUTSIDE_RANGE` and `ALLUVIUM_STATE` where the store
/// doesn't have these key groups or states; `ALLUVIUM_BUSY` where something is staged in them. Nothing has changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_rollback(
    store: alluvium_store,
    groups: alluvium_range,
    states: *const u16,
    states_len: usize,
    label: u64,
    info: *mut alluvium_info,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(info, "info")?;
            let states = array(states, states_len)?.iter().map(|state| StateId(*state)).collect();
            let scope = Scope::groups(range(groups)?).of_states(states);
            let rewound = handles::get::<StoreObject>(store.id)?.store.rollback(&scope, label)?;
            leave_rewound(info, rewound, store.id)
        })
    }
}
