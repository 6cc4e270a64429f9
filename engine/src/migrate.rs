//! Migrating a state to another schema, at once.
//!
//! What memory has of the state is flushed and leaves memory; then, in one step, every layer that is there is marked: its
//! values of the state have yet to go through the conversion. What is flushed from then on isn't. Whoever reads a layer
//! goes by its marks, and compaction rewrites the slices with marked layers until there are none.

use crate::barrier;
use crate::compact;
use crate::convert::{Conversion, Convert, Older, STEPS_MAX, is_name, lineage_of};
use crate::error::{Error, Result};
use crate::ids::StateId;
use crate::stack::{Layer, Slice, Version};
use crate::states::{StateDef, StateKind};
use crate::store::{State, StoreInner, check_room};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How often what the state's writers wrote meanwhile is flushed before they are found to be too busy.
const ROUNDS: u32 = 16;

/// The migrations of a state that are under way: [`Store::migration`](crate::Store::migration).
#[derive(Clone, Debug)]
pub struct Migration {
    /// The names of the conversions that some values have yet to go through, in the order in which they are applied.
    pub conversions: Vec<String>,
    /// The segments that hold such values, or may.
    pub segments: usize,
    /// Bytes of these segments: what is still to be rewritten, other states' share included.
    pub bytes: u64,
    /// Why it doesn't go on in the background: a conversion was not registered since the store was opened, or failed.
    pub obstacle: Option<Error>,
}

const ALL: [StateKind; 4] = [StateKind::Value, StateKind::List, StateKind::Map, StateKind::Merging];

pub(crate) fn run(store: &Arc<StoreInner>, state: State, schema: &[u8], conversion: &Arc<dyn Convert>) -> Result<()> {
    let def = store.def(state, &ALL)?;
    if !is_name(conversion.name()) {
        return Err(refused(&def, "a conversion's name has 1 to 1,024 bytes".into()));
    }
    for _ in 0..ROUNDS {
        let flushed = barrier::cut_snapshot(store)?;
        store.engine.hurry(|| flushed.wait())?;
        if compact::alone(store, || install(store, def.id, schema, conversion))? {
            compact::consider(store);
            return Ok(());
        }
    }
    Err(Error::Busy { problem: "the state to be migrated is being written to" })
}

fn refused(def: &StateDef, problem: String) -> Error {
    Error::State { state: def.name.clone(), problem }
}

/// Marks all layers, while nothing is claimed, cut off, flushed or merged; false where memory has something of the state
/// that is not on disk.
fn install(store: &Arc<StoreInner>, id: StateId, schema: &[u8], function: &Arc<dyn Convert>) -> Result<bool> {
    store.check()?;
    let mut states = store.states.write();
    let at = usize::from(id.0);
    let mut version = store.version.lock();
    let known = Arc::clone(&states[at]);
    check_pending(&known, &version, function.name())?;
    let user = if schema.is_empty() { known.user.clone() } else { schema.to_vec() };
    let def = StateDef { user, lineage: lineage_of(known.lineage, function.name()), ..(*known).clone() };
    check_room(&states, &def)?;
    let shards = store.shards.lock().clone();
    // Inside all of them at once, so that what was found to be on disk stays so until the layers are marked.
    let mut cores: Vec<_> = shards.iter().map(|shard| (shard, shard.cell.borrow())).collect();
    cores.iter_mut().for_each(|(shard, core)| core.settle(shard));
    if cores.iter().any(|(_, core)| core.hot.has_staged()) {
        return Err(Error::Busy { problem: "a transaction is open" });
    }
    if !cores.iter_mut().all(|(_, core)| core.hot.evict_state(id.0)) {
        return Ok(false);
    }
    // The changelog will not have it, and has what was written before in the older schema.
    store.log.skip();
    let conversion = store.conversions.replace(&def, Arc::clone(function));
    *version = Arc::new(marked(&version, id, &conversion));
    states[at] = Arc::new(def);
    store.states_number.fetch_add(1, Ordering::Release);
    for shard in &shards {
        shard.publish(Arc::clone(&version), None);
    }
    drop(cores);
    tracing::info!(state = known.name, conversion = function.name(), "migration");
    Ok(true)
}

fn check_pending(def: &StateDef, version: &Version, name: &str) -> Result<()> {
    let pending = pending_of(version, def.id);
    if pending.iter().any(|conversion| conversion.name() == name) {
        return Err(refused(def, format!("a conversion {name:?} of it is under way")));
    }
    if pending.len() >= STEPS_MAX {
        return Err(refused(def, format!("{STEPS_MAX} conversions of it are under way")));
    }
    Ok(())
}

/// The conversions that some values of a state have yet to go through: those of the layer that lacks most, whose end is
/// what each other lacks.
fn pending_of(version: &Version, id: StateId) -> Vec<Arc<Conversion>> {
    let layers = version.slices.iter().flat_map(|slice| &slice.layers);
    let lacking = layers.filter_map(|layer| layer.older.as_ref()).map(|older| older.of(id));
    lacking.max_by_key(|conversions| conversions.len()).unwrap_or_default().to_vec()
}

/// The same arrangement, its values of a state of an older schema.
fn marked(version: &Version, id: StateId, conversion: &Arc<Conversion>) -> Version {
    let mark = |layer: &Layer| {
        let mut layer = layer.clone();
        // Where the map hides the state, the segment has nothing of it.
        if layer.map.to_segment(id).is_some() {
            let before = layer.older.take().unwrap_or_default();
            layer.older = Some(Arc::new(before.with(id, conversion)));
        }
        layer
    };
    // New slices, be they as before: what was read from the old ones is not kept.
    let slice =
        |slice: &Arc<Slice>| Arc::new(Slice { range: slice.range, layers: slice.layers.iter().map(mark).collect() });
    Version { slices: version.slices.iter().map(slice).collect() }
}

/// How far the migrations of a state are.
pub(crate) fn progress(store: &Arc<StoreInner>, state: State) -> Result<Option<Migration>> {
    store.check_open()?;
    let def = store.def(state, &ALL)?;
    let version = Arc::clone(&store.version.lock());
    let pending = pending_of(&version, def.id);
    if pending.is_empty() {
        return Ok(None);
    }
    let lacks = |older: &Arc<Older>| !older.of(def.id).is_empty();
    let layers = version.slices.iter().flat_map(|slice| &slice.layers);
    let (mut seen, mut segments, mut bytes) = (HashSet::new(), 0, 0);
    for layer in layers.filter(|layer| layer.older.as_ref().is_some_and(lacks)) {
        if seen.insert(layer.segment.id()) {
            segments += 1;
            bytes += layer.segment.meta().file_bytes;
        }
    }
    Ok(Some(Migration {
        conversions: pending.iter().map(|conversion| conversion.name().to_owned()).collect(),
        segments,
        bytes,
        obstacle: pending.iter().find_map(|conversion| conversion.obstacle()),
    }))
}
