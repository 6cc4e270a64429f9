//! Doing logged changes again in the gate of a shard whose owner may be there, a few at a time.

use crate::change;
use crate::changelog::record::Change;
use crate::changelog::tail::Logged;
use crate::delete_range;
use crate::error::Error;
use crate::hot::Probe;
use crate::hot::fetch::{SPOTS, Spot};
use crate::hot::record::hash_area;
use crate::read;
use crate::shard::{Core, Shard};
use crate::states::StateDef;
use crate::store::StoreInner;
use crate::write::{self, Halt};
use std::sync::Arc;

/// So many changes are done in one visit to the gate: the owner waits for some dozen microseconds.
const VISIT: usize = 256;

/// Does changes again; `pause` is called before each visit to the gate. Says how many were done where it fails.
pub(super) fn all(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    lot: &[Logged<'_>],
    pause: impl Fn(),
) -> Result<(), (usize, Error)> {
    let defs = store.states.read().clone();
    let mut done = 0;
    while done < lot.len() {
        pause();
        let until = lot.len().min(done + VISIT);
        let visit = write::run_beside(store, shard, |core| visit(core, shard, &defs, &lot[..until], &mut done));
        if let Err(error) = visit {
            return Err((done, error));
        }
    }
    Ok(())
}

/// Does the changes that aren't done yet. Nothing of them is logged, and nothing expires meanwhile: they say themselves what had.
fn visit(
    core: &mut Core,
    shard: &Shard,
    defs: &[Arc<StateDef>],
    lot: &[Logged<'_>],
    done: &mut usize,
) -> Result<(), Halt> {
    let log = core.log.take();
    let now_ms = std::mem::take(&mut core.hot.now_ms);
    // What the owner's operation is at is its own.
    let is_unfinished = core.hot.is_unfinished();
    let mut scratch = std::mem::take(&mut core.scratch);
    let mut outcome = Ok(());
    while *done < lot.len() && outcome.is_ok() {
        let some = &lot[*done..lot.len().min(*done + SPOTS)];
        let spots = fetch(core, shard, some, &mut scratch);
        for (logged, spot) in some.iter().zip(&spots) {
            outcome = again(core, defs, logged, spot, &mut scratch);
            if outcome.is_err() {
                break;
            }
            *done += 1;
        }
    }
    core.scratch = scratch;
    core.hot.set_unfinished(is_unfinished);
    core.hot.now_ms = now_ms;
    core.log = log;
    outcome
}

/// Fetches what memory has of the keys of some changes.
fn fetch(core: &Core, shard: &Shard, some: &[Logged<'_>], scratch: &mut Vec<u8>) -> [Spot; SPOTS] {
    let mut spots = [Spot::default(); SPOTS];
    for (logged, spot) in some.iter().zip(&mut spots) {
        let (area, namespaced) = read::area(logged.key, scratch);
        let group = logged.key.group.0 - shard.range.first();
        *spot = Spot { state: logged.state.0, group, hash: hash_area(area, namespaced, core.hot.seed) };
    }
    core.hot.fetch(&spots[..some.len()]);
    spots
}

fn again(
    core: &mut Core,
    defs: &[Arc<StateDef>],
    logged: &Logged<'_>,
    spot: &Spot,
    scratch: &mut Vec<u8>,
) -> Result<(), Halt> {
    let Logged { state, key, change, expiry_ms, .. } = *logged;
    let Some(def) = defs.get(usize::from(state.0)) else {
        let problem = "the changelog has changes of it, and no state of this number".into();
        return Err(Error::State { state: format!("number {}", state.0), problem }.into());
    };
    change::check_redo(def, change)?;
    if let (Change::Put(value), None) = (change, expiry_ms)
        && def.is_plain()
        && key.namespace.is_empty()
        && let Some(record) = core.hot.quick_record(spot.state, spot.group, spot.hash, key.key)
        && core.hot.change_quickly(record, |_| Some(value)).is_ok()
    {
        return Ok(());
    }
    let (area, namespaced) = read::area(key, scratch);
    let probe = Probe { state: spot.state, group: spot.group, area, namespaced, hash: spot.hash };
    let is_done = change::redo(core, def, key, &probe, change, expiry_ms)?;
    if let (false, Change::MapDeleteRange(from, to)) = (is_done, change) {
        let mut from = from.to_vec();
        while delete_range::one_by_one(core, def, key, &probe, &mut from, to)? {}
    }
    Ok(())
}
