//! A store that comes back: what is to be in memory first, and how far that is.

use crate::arguments::{array, call, give, give_optional, long_bytes, place, range, text};
use crate::store::{StoreObject, alluvium_store_options};
use crate::types::*;
use alluvium::{RecoveryStage, Store, WarmPart, WarmUp, Warming};
use alluvium_ffi::handles::{self, Many};
use alluvium_ffi::packed;
use alluvium_ffi::{Failure, Kind, Misuse, Object, Status};
use std::ffi::c_char;

/// Nothing is brought into memory after a store was opened: what is asked for is read from disk, and stays.
pub const ALLUVIUM_WARM_UP_NOTHING: u32 = 0;
/// What was used most before is, hottest first, by sequential reads; where the store has a hot list (`hot_list_bytes`).
pub const ALLUVIUM_WARM_UP_HOTTEST: u32 = 1;
/// The parts that the options name are, one after the other; all that there is, where they name none.
pub const ALLUVIUM_WARM_UP_DECLARED: u32 = 2;
/// All that there is is, in the order of its keys, where memory has room for all of it; else what `ALLUVIUM_WARM_UP_HOTTEST` brings.
pub const ALLUVIUM_WARM_UP_FITTING: u32 = 3;

/// Something of the changelog is still to be replayed: key groups that nobody asked for yet are replayed meanwhile, or wait for a writer.
pub const ALLUVIUM_RECOVERY_REPLAYING: u32 = 0;
/// What was hot is still to be brought into memory. The store serves, and reads from disk what isn't there.
pub const ALLUVIUM_RECOVERY_WARMING_UP: u32 = 1;
/// Nothing is left to be done.
pub const ALLUVIUM_RECOVERY_COMPLETE: u32 = 2;

/// A part of a store that is to be in memory.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_warm_part {
    /// The state's name; null: all states. One that isn't there is passed over.
    pub state: *const c_char,
    /// Whether it is `groups` alone: 0 or 1.
    pub has_groups: u32,
    /// The key groups.
    pub groups: alluvium_range,
}

/// How far the recovery of a store is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_recovery {
    /// `ALLUVIUM_RECOVERY_...`.
    pub stage: u32,
    /// The part of all bytes, to be replayed and to be brought into memory, that is done, in thousandths. It stays below 1,000 where memory was
    /// too small.
    pub restored_permille: u32,
    /// Since the store began to be opened, in us.
    pub elapsed_us: u64,
    /// How long the rest will take, at the rate so far, in us; `UINT64_MAX` before there is one.
    pub remaining_us: u64,
    /// Bytes of the changelog that there were to be replayed.
    pub replay_bytes: u64,
    /// How many of them were.
    pub replayed_bytes: u64,
    /// Bytes that there are to be brought into memory, about; 0 before the first writer was opened.
    pub warm_up_bytes: u64,
    /// How many of them were gone through.
    pub warmed_up_bytes: u64,
    /// Records that there are to be brought into memory, about.
    pub warm_up_records: u64,
    /// How many of them were gone through.
    pub warmed_up_records: u64,
    /// Records that were brought into memory, those for `alluvium_store_warm` included.
    pub brought_records: u64,
    /// Their keys and values, in bytes.
    pub brought_bytes: u64,
}

/// What a store's options say of warming up.
pub(crate) unsafe fn warm_up(given: &alluvium_store_options) -> Result<WarmUp, Misuse> {
    Ok(match given.warm_up {
        ALLUVIUM_WARM_UP_NOTHING => WarmUp::Nothing,
        ALLUVIUM_WARM_UP_HOTTEST => WarmUp::Hottest,
        ALLUVIUM_WARM_UP_DECLARED => {
            // SAFETY: the caller's parts.
            let parts = unsafe { array(given.warm_parts, given.warm_parts_len) }?;
            let part = |part: &alluvium_warm_part| {
                let state = match part.state.is_null() {
                    true => None,
                    // SAFETY: as above.
                    false => Some(unsafe { text(part.state, "state") }?.to_owned()),
                };
                let groups = if crate::arguments::flag(part.has_groups)? { Some(range(part.groups)?) } else { None };
                Ok(WarmPart { state, groups })
            };
            WarmUp::Declared(parts.iter().map(part).collect::<Result<_, Misuse>>()?)
        }
        ALLUVIUM_WARM_UP_FITTING => WarmUp::Fitting,
        _ => return Err(Misuse::Argument("an unknown way to warm up")),
    })
}

/// What the handle of keys that are being brought into memory stands for.
#[derive(Debug)]
pub struct WarmingObject(Warming);

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for WarmingObject {
    const KIND: Kind = Kind::Warming;
    type Mode = Many;
}

unsafe fn warm(store: &Store, batch: alluvium_slice) -> Result<Warming, Failure> {
    // SAFETY: the caller's batch.
    let operations = packed::decode(unsafe { long_bytes(batch) }?)?;
    let ranges = packed::ranges(&operations);
    let batch = packed::batch(&operations, &ranges, store.key_groups())?;
    Ok(store.warm(&batch)?)
}

/// Has what the reads of a packed batch would find on disk brought into memory, in the background and many keys at once, for operations that
/// are yet to come: those of events that wait to be processed, above all after a recovery. Its other operations are passed over, as are
/// keys of key groups that nobody has a writer of. `taken` (may be null) is how many of the reads were taken up: at most 131,072 of a store
/// wait, and of more the last are passed over. Who asks for one of the keys meanwhile reads it at once, and what is written meanwhile stays. Any
/// thread may call this. See `alluvium_writer_submit` for the batch, and `alluvium_writer_prefetch` for what is in memory already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_warm(
    store: alluvium_store,
    batch: alluvium_slice,
    taken: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<StoreObject>(store.id)?;
            let warming = warm(&object.store, batch)?;
            give_optional(taken, "taken", warming.keys() as u64)?;
            Ok(Status::Ok)
        })
    }
}

/// As `alluvium_store_warm`, and gives what to ask for how far that is. Close it with `alluvium_warming_close`; until then the store stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_warming(
    store: alluvium_store,
    batch: alluvium_slice,
    warming: *mut alluvium_warming,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(warming, "warming")?;
            let object = handles::get::<StoreObject>(store.id)?;
            let begun = warm(&object.store, batch)?;
            let id = handles::insert(WarmingObject(begun), store.id)?;
            give(warming, "warming", alluvium_warming { id })?;
            Ok(Status::Ok)
        })
    }
}

/// How many keys were taken up: fewer than the batch has reads where too many wait already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_warming_keys(
    warming: alluvium_warming,
    count: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let keys = handles::get::<WarmingObject>(warming.id)?.0.keys();
            give(count, "count", keys as u64)?;
            Ok(Status::Ok)
        })
    }
}

/// How many of them were brought into memory so far: the others are there already, have nothing on disk, or are still to be seen to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_warming_brought(
    warming: alluvium_warming,
    brought: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let so_far = handles::get::<WarmingObject>(warming.id)?.0.brought();
            give(brought, "brought", so_far)?;
            Ok(Status::Ok)
        })
    }
}

/// Whether all of them were seen to: 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_warming_is_done(
    warming: alluvium_warming,
    is_done: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let done = handles::get::<WarmingObject>(warming.id)?.0.is_done();
            give(is_done, "is_done", u32::from(done))?;
            Ok(Status::Ok)
        })
    }
}

/// Waits until all of them were seen to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_warming_wait(
    warming: alluvium_warming,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<WarmingObject>(warming.id)?.0.wait();
            Ok(Status::Ok)
        })
    }
}

/// Closes the handle; the keys are brought all the same. `ALLUVIUM_IN_USE` while a call waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_warming_close(
    warming: alluvium_warming,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<WarmingObject>(warming.id).map(|_| Status::Ok)?)) }
}

/// How far a store is with coming back since it was opened: with replaying the changelog and with warming up. It serves all the while.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_recovery(
    store: alluvium_store,
    recovery: *mut alluvium_recovery,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let now = handles::get::<StoreObject>(store.id)?.store.recovery();
            let in_us = |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            let told = alluvium_recovery {
                stage: match now.stage {
                    RecoveryStage::Replaying => ALLUVIUM_RECOVERY_REPLAYING,
                    RecoveryStage::WarmingUp => ALLUVIUM_RECOVERY_WARMING_UP,
                    RecoveryStage::Complete => ALLUVIUM_RECOVERY_COMPLETE,
                },
                restored_permille: (now.restored * 1_000.0) as u32,
                elapsed_us: in_us(now.elapsed),
                remaining_us: now.remaining.map_or(u64::MAX, in_us),
                replay_bytes: now.replay_bytes,
                replayed_bytes: now.replayed_bytes,
                warm_up_bytes: now.warm_up_bytes,
                warmed_up_bytes: now.warmed_up_bytes,
                warm_up_records: now.warm_up_records,
                warmed_up_records: now.warmed_up_records,
                brought_records: now.brought_records,
                brought_bytes: now.brought_bytes,
            };
            give(recovery, "recovery", told)?;
            Ok(Status::Ok)
        })
    }
}
