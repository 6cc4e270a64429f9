//! A store that comes back: what is to be in memory first, and how far that is. Times are in ns.

use crate::entry::{Outcome, answer, copied_bytes, natives};
use crate::store::StoreObject;
use crate::wire::{Request, Response};
use alluvium::{RecoveryStage, WarmPart, WarmUp, Warming};
use alluvium_ffi::Misuse;
use alluvium_ffi::copied::Room;
use alluvium_ffi::handles::{self, Handle};
use alluvium_ffi::packed;
use jni::sys::{jint, jlong};

/// What is brought into memory: which (0 nothing, 1 the hottest, 2 parts), and the parts: each whether it has a state, its name, whether it has key
/// groups, and these.
pub fn warm_up(request: &mut Request<'_>) -> Result<WarmUp, Misuse> {
    let which = request.int()?;
    let parts = request.list(|request| {
        let (has_state, state) = (request.flag()?, request.text()?);
        let (has_groups, groups) = (request.flag()?, request.range()?);
        Ok(WarmPart { state: has_state.then(|| state.to_owned()), groups: has_groups.then_some(groups) })
    })?;
    Ok(match which {
        0 => WarmUp::Nothing,
        1 => WarmUp::Hottest,
        2 => WarmUp::Declared(parts),
        3 => WarmUp::Fitting,
        _ => return Err(Misuse::Argument("an unknown way to warm up")),
    })
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).map_or(jlong::MAX as u64, |ns| ns.min(jlong::MAX as u64))
}

/// Has what a batch reads brought into memory, and tells of it. Until then the store stays open.
fn warm(store: jlong, address: jlong, len: jint, told: impl FnOnce(&Warming) -> jlong) -> Outcome {
    let object = handles::get::<StoreObject>(store as Handle)?;
    // A copy, as of every batch.
    let mut room = Room::new();
    let operations = packed::decode(copied_bytes(&mut room, address, len)?)?;
    let ranges = packed::ranges(&operations);
    let batch = packed::batch(&operations, &ranges, object.store.key_groups())?;
    Ok(told(&object.store.warm(&batch)?))
}

natives! {
    /// Has what a batch reads brought into memory; how many of its reads were taken up.
    fn storeWarm(store: jlong, address: jlong, len: jint) {
        warm(store, address, len, |warming| warming.keys() as jlong)
    }

    /// The same, and waits until all that were taken up were seen to; how many were brought.
    fn storeAwaitWarm(store: jlong, address: jlong, len: jint) {
        warm(store, address, len, |warming| {
            warming.wait();
            warming.brought() as jlong
        })
    }

    /// How far a store is with coming back: the stage, thousandths that are done, and then as `io.alluvium.Recovery` reads it; -1 for a rest of
    /// which nothing is known yet.
    fn storeRecovery(store: jlong, into: jlong, capacity: jint) {
        let now = handles::get::<StoreObject>(store as Handle)?.store.recovery();
        let mut out = Response::default();
        out.int(match now.stage {
            RecoveryStage::Replaying => 0,
            RecoveryStage::WarmingUp => 1,
            RecoveryStage::Complete => 2,
        });
        out.int((now.restored * 1_000.0) as i32);
        out.long(nanoseconds(now.elapsed)).long(now.remaining.map_or(u64::MAX, nanoseconds));
        out.long(now.replay_bytes).long(now.replayed_bytes);
        out.long(now.warm_up_bytes).long(now.warmed_up_bytes);
        out.long(now.warm_up_records).long(now.warmed_up_records);
        out.long(now.brought_records).long(now.brought_bytes);
        answer(out.0, into, capacity)
    }
}
