//! Rolling key groups back to a checkpoint, or to a position of the changelog, while the store goes on.

use crate::arguments::{array, call, place, range, room_optional};
use crate::checkpoint::leave_rewound;
use crate::store::StoreObject;
use crate::types::*;
use alluvium::{Rewound, Scope, State, StateId, Store};
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
    unsafe { roll_back(store, (groups, states, states_len), info, error, |store, scope| store.rollback(scope, label)) }
}

/// The same to a position of the changelog, as commits and checkpoints tell them: as far back as `history_checkpoints` says. The changes between the
/// nearest checkpoint before it and the position are done again beside the store, events by their handlers, and then swapped in; meanwhile the
/// store goes on. `info` has the position, label and number of that checkpoint (0 where there is none), and offsets and metadata of the last commit
/// there, or of the checkpoint.
///
/// `ALLUVIUM_POSITION` where the history doesn't have the position, or a bulk load or a migration lies on the way; `ALLUVIUM_EVENT_HANDLER` where a
/// handler isn't there in the version that applied an event on the way; else as `alluvium_store_rollback`. Nothing has changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_rollback_to_position(
    store: alluvium_store,
    groups: alluvium_range,
    states: *const u16,
    states_len: usize,
    position: u64,
    info: *mut alluvium_info,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        roll_back(store, (groups, states, states_len), info, error, |store, scope| {
            store.rollback_to_position(scope, position)
        })
    }
}

unsafe fn roll_back(
    store: alluvium_store,
    (groups, states, states_len): (alluvium_range, *const u16, usize),
    info: *mut alluvium_info,
    error: *mut alluvium_error,
    run: impl FnOnce(&Store, &Scope) -> alluvium::Result<Rewound>,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(info, "info")?;
            let states = array(states, states_len)?.iter().map(|state| State::numbered(StateId(*state)));
            let scope = Scope::groups(range(groups)?).states(&states.collect::<Vec<_>>());
            let object = handles::get::<StoreObject>(store.id)?;
            let room = room_optional(info, "info", store.id)?;
            leave_rewound(info, room, run(&object.store, &scope)?)
        })
    }
}
