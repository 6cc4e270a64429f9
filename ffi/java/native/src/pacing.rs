//! When checkpoints are due, and what a recovery would take. Times are in ns.

use crate::entry::{NOT_FOUND, answer, count, natives};
use crate::store::StoreObject;
use crate::wire::{Request, Response};
use alluvium::pacing::{Cause, Kept, Policy, Rates, Reason};
use alluvium_ffi::Misuse;
use alluvium_ffi::handles::{self, Handle};
use jni::sys::{jdouble, jint, jlong};
use std::time::Duration;

/// A policy: which (0 manual, 1 fixed, 2 Young's, 3 a recovery time), its time, its cap on write amplification.
pub fn policy(request: &mut Request<'_>) -> Result<Policy, Misuse> {
    let (which, time, max_write_amplification) =
        (request.int()?, Duration::from_nanos(request.count()? as u64), request.double()?);
    Ok(match which {
        0 => Policy::Manual,
        1 => Policy::Fixed(time),
        2 => Policy::Young { mtbf: time },
        3 => Policy::RecoveryTime { target: time, max_write_amplification },
        _ => return Err(Misuse::Argument("an unknown policy")),
    })
}

fn duration(ns: jlong) -> Result<Duration, Misuse> {
    Ok(Duration::from_nanos(count(ns)? as u64))
}

/// The longest that Java has a number for where it is longer.
fn nanoseconds(duration: Duration) -> jlong {
    jlong::try_from(duration.as_nanos()).unwrap_or(jlong::MAX)
}

fn rate(rate: jdouble) -> Result<Option<f64>, Misuse> {
    match rate {
        _ if rate.is_nan() => Ok(None),
        _ if rate >= 0.0 && rate.is_finite() => Ok(Some(rate)),
        _ => Err(Misuse::Argument("a rate below 0, or without end")),
    }
}

natives! {
    /// How long it is until the next checkpoint is due, and why.
    fn storeNextCheckpoint(store: jlong, into: jlong, capacity: jint) {
        let Some(next) = handles::get::<StoreObject>(store as Handle)?.store.next_checkpoint() else { return Ok(NOT_FOUND) };
        let mut out = Response::default();
        out.long(nanoseconds(next.due_in) as u64).int(match next.reason {
            Reason::Interval => 0,
            Reason::Log => 1,
            Reason::Burst => 2,
            Reason::Memory => 3,
        });
        answer(out.0, into, capacity)
    }

    /// How long a recovery would take after a crash now.
    fn storePredictedRecovery(store: jlong) {
        Ok(nanoseconds(handles::get::<StoreObject>(store as Handle)?.store.predicted_recovery()))
    }

    /// What stands in the way of a recovery time: the cause, what is kept, how long a recovery may take instead (the longest there is where there
    /// is no end to it), the write amplification that it would take.
    fn storeCheckpointConflict(store: jlong, into: jlong, capacity: jint) {
        let conflict = handles::get::<StoreObject>(store as Handle)?.store.checkpoint_conflict();
        let Some(conflict) = conflict else { return Ok(NOT_FOUND) };
        let mut out = Response::default();
        out.int(match conflict.cause {
            Cause::WriteAmplification => 0,
            Cause::OpenCost => 1,
            Cause::Checkpoints => 2,
            Cause::CatchingUp => 3,
        });
        out.int(match conflict.kept {
            Kept::WriteAmplification => 0,
            Kept::Neither => 1,
        });
        out.long(nanoseconds(conflict.reachable) as u64).long(conflict.needed_write_amplification.to_bits());
        answer(out.0, into, capacity)
    }

    /// The host took so much from its sources.
    fn storeObserveInput(store: jlong, units: jlong) {
        handles::get::<StoreObject>(store as Handle)?.store.observe_input(count(units)? as u64);
        Ok(0)
    }

    /// The host replayed so much from its sources in this time.
    fn storeObserveReplay(store: jlong, units: jlong, took: jlong) {
        handles::get::<StoreObject>(store as Handle)?.store.observe_replay(count(units)? as u64, duration(took)?);
        Ok(0)
    }

    /// How fast input comes in, and how fast it could be worked off; not a number where that isn't known.
    fn storeObserveRates(store: jlong, input: jdouble, capacity: jdouble) {
        let rates = Rates { input: rate(input)?, capacity: rate(capacity)? };
        handles::get::<StoreObject>(store as Handle)?.store.observe_rates(rates);
        Ok(0)
    }

    /// How much processing time a checkpoint costs.
    fn storeObserveCheckpointCost(store: jlong, lost: jlong) {
        handles::get::<StoreObject>(store as Handle)?.store.observe_checkpoint_cost(duration(lost)?);
        Ok(0)
    }
}
