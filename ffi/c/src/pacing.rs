//! When checkpoints are due, and what a recovery would take.

use crate::arguments::{call, give, give_optional, place};
use crate::store::{StoreObject, alluvium_store_options};
use crate::types::*;
use alluvium::pacing::{Cause, Kept, Policy, Rates, Reason};
use alluvium_ffi::handles;
use alluvium_ffi::{Misuse, Status};
use std::time::Duration;

/// Checkpoints are taken whenever the host wants; none is ever due.
pub const ALLUVIUM_POLICY_MANUAL: u32 = 0;
/// One is due `policy_time_us` after the barrier of the last one.
pub const ALLUVIUM_POLICY_FIXED: u32 = 1;
/// They are due as often as makes checkpoints and work that is redone cost least together (Young's formula), for a mean time of `policy_time_us`
/// between failures.
pub const ALLUVIUM_POLICY_YOUNG: u32 = 2;
/// They are due as seldom as a recovery within `policy_time_us` allows, after a crash at any moment. The cap `max_write_amplification` goes
/// before it where both can't be had: `alluvium_store_checkpoint_conflict` says so.
pub const ALLUVIUM_POLICY_RECOVERY_TIME: u32 = 3;

/// A checkpoint is due as time has passed since the last one.
pub const ALLUVIUM_REASON_INTERVAL: u32 = 0;
/// It is due as what would have to be redone has grown.
pub const ALLUVIUM_REASON_LOG: u32 = 1;
/// It is due as that grows faster than on average.
pub const ALLUVIUM_REASON_BURST: u32 = 2;
/// It is due as memory is short and much of it holds changes, which are about to be spilled.
pub const ALLUVIUM_REASON_MEMORY: u32 = 3;

/// The recovery time can't be kept as it takes more writing than is allowed.
pub const ALLUVIUM_CAUSE_WRITE_AMPLIFICATION: u32 = 0;
/// It can't be kept as opening the store alone takes longer.
pub const ALLUVIUM_CAUSE_OPEN_COST: u32 = 1;
/// It can't be kept as more comes in during a checkpoint than may have to be redone.
pub const ALLUVIUM_CAUSE_CHECKPOINTS: u32 = 2;
/// It can't be kept as input comes in too fast to catch up with it in time.
pub const ALLUVIUM_CAUSE_CATCHING_UP: u32 = 3;

/// The cap on write amplification is kept.
pub const ALLUVIUM_KEPT_WRITE_AMPLIFICATION: u32 = 0;
/// Neither the recovery time nor the cap is kept.
pub const ALLUVIUM_KEPT_NEITHER: u32 = 1;

/// A recovery time that can't be kept, as things are.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_conflict {
    /// What stands in the way: `ALLUVIUM_CAUSE_...`.
    pub cause: u32,
    /// What is kept all the same: `ALLUVIUM_KEPT_...`.
    pub kept: u32,
    /// How long a recovery may take instead, in us; `UINT64_MAX` where there is no end to it.
    pub reachable_us: u64,
    /// The write amplification that the recovery time would take, about.
    pub needed_write_amplification: f64,
}

/// The policy of a store's options.
pub(crate) fn policy(given: &alluvium_store_options) -> Result<Policy, Misuse> {
    let time = Duration::from_micros(given.policy_time_us);
    Ok(match given.checkpoint_policy {
        ALLUVIUM_POLICY_MANUAL => Policy::Manual,
        ALLUVIUM_POLICY_FIXED => Policy::Fixed(time),
        ALLUVIUM_POLICY_YOUNG => Policy::Young { mtbf: time },
        ALLUVIUM_POLICY_RECOVERY_TIME => {
            Policy::RecoveryTime { target: time, max_write_amplification: given.max_write_amplification }
        }
        _ => return Err(Misuse::Argument("an unknown policy")),
    })
}

/// In us, rounded up: what isn't over isn't 0.
fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}

/// How long it is until the next checkpoint is due by the store's policy, in us, 0 when it is due now, and why (`ALLUVIUM_REASON_...`); either
/// may be null. `ALLUVIUM_NOT_FOUND` where the policy knows of none. The library takes no checkpoint by itself: a host that wants them by
/// policy asks in its loop, and cuts one when it is due. Asking takes about as long as a barrier; what happens between two
/// times isn't noticed, so ask at least ten times within the policy's time, or when `*due_in_us` is over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_next_checkpoint(
    store: alluvium_store,
    due_in_us: *mut u64,
    reason: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<StoreObject>(store.id)?;
            let Some(next) = object.store.next_checkpoint() else { return Ok(Status::NotFound) };
            let why = match next.reason {
                Reason::Interval => ALLUVIUM_REASON_INTERVAL,
                Reason::Log => ALLUVIUM_REASON_LOG,
                Reason::Burst => ALLUVIUM_REASON_BURST,
                Reason::Memory => ALLUVIUM_REASON_MEMORY,
            };
            give_optional(due_in_us, "due_in_us", microseconds(next.due_in))?;
            give_optional(reason, "reason", why)?;
            Ok(Status::Ok)
        })
    }
}

/// How long a recovery would take after a crash now, in us: opening the store, replaying what came in since the barrier of the newest
/// complete checkpoint and, where `alluvium_store_observe_rates` said enough for it, catching up; `UINT64_MAX` where there is no end to that. As
/// long as the host counts no input (`alluvium_store_observe_input`), or replayed none, the time since that barrier is taken for the replay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_predicted_recovery(
    store: alluvium_store,
    recovery_us: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let predicted = handles::get::<StoreObject>(store.id)?.store.predicted_recovery();
            give(recovery_us, "recovery_us", microseconds(predicted))?;
            Ok(Status::Ok)
        })
    }
}

/// What stands in the way of `ALLUVIUM_POLICY_RECOVERY_TIME`, as of the last `alluvium_store_next_checkpoint`; `ALLUVIUM_NOT_FOUND` where nothing
/// does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_checkpoint_conflict(
    store: alluvium_store,
    conflict: *mut alluvium_conflict,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(conflict, "conflict")?;
            let object = handles::get::<StoreObject>(store.id)?;
            let Some(found) = object.store.checkpoint_conflict() else { return Ok(Status::NotFound) };
            let told = alluvium_conflict {
                cause: match found.cause {
                    Cause::WriteAmplification => ALLUVIUM_CAUSE_WRITE_AMPLIFICATION,
                    Cause::OpenCost => ALLUVIUM_CAUSE_OPEN_COST,
                    Cause::Checkpoints => ALLUVIUM_CAUSE_CHECKPOINTS,
                    Cause::CatchingUp => ALLUVIUM_CAUSE_CATCHING_UP,
                },
                kept: match found.kept {
                    Kept::WriteAmplification => ALLUVIUM_KEPT_WRITE_AMPLIFICATION,
                    Kept::Neither => ALLUVIUM_KEPT_NEITHER,
                },
                reachable_us: microseconds(found.reachable),
                needed_write_amplification: found.needed_write_amplification,
            };
            give(conflict, "conflict", told)?;
            Ok(Status::Ok)
        })
    }
}

/// The host took so much from its sources: events or bytes, whatever it counts by. What it takes a second time after a recovery counts too.
/// Nothing comes of it in a store with a changelog, whose bytes are counted instead.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_observe_input(
    store: alluvium_store,
    units: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<StoreObject>(store.id)?.store.observe_input(units);
            Ok(Status::Ok)
        })
    }
}

/// After a recovery the host replayed so much from its sources, in units of `alluvium_store_observe_input`, in this time, in us. Nothing comes
/// of it while no input is counted, or in a store with a changelog, which measures its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_observe_replay(
    store: alluvium_store,
    units: u64,
    took_us: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<StoreObject>(store.id)?.store.observe_replay(units, Duration::from_micros(took_us));
            Ok(Status::Ok)
        })
    }
}

/// How fast input comes in, and how fast it could be worked off, per second, in any unit: then recovery includes catching up, and a
/// checkpoint begins early enough for input that comes at full speed. To be said again when it changes; `NAN` for what isn't known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_observe_rates(
    store: alluvium_store,
    input: f64,
    capacity: f64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<StoreObject>(store.id)?;
            object.store.observe_rates(Rates { input: rate(input)?, capacity: rate(capacity)? });
            Ok(Status::Ok)
        })
    }
}

fn rate(rate: f64) -> Result<Option<f64>, Misuse> {
    match rate {
        _ if rate.is_nan() => Ok(None),
        _ if rate >= 0.0 && rate.is_finite() => Ok(Some(rate)),
        _ => Err(Misuse::Argument("a rate below 0, or without end")),
    }
}

/// How much processing time a checkpoint costs, in us, as the host measures it: throughput lost, not how long it takes. Until it is said, one
/// processor's time from the barrier to the end, divided by all processors. For `ALLUVIUM_POLICY_YOUNG`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_observe_checkpoint_cost(
    store: alluvium_store,
    lost_us: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<StoreObject>(store.id)?.store.observe_checkpoint_cost(Duration::from_micros(lost_us));
            Ok(Status::Ok)
        })
    }
}
