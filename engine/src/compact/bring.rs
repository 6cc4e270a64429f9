//! Bringing what one store wrote into another: some layers become one segment of the other's.

use super::merge::{Sink, merge_into, remove_named};
use crate::error::Result;
use crate::ids::Epoch;
use crate::stack::{LazySegment, Slice};
use crate::store::StoreInner;
use std::collections::HashMap;
use std::sync::Arc;

/// Writes what these layers have to a segment of the store `into`, as if it had flushed it in an epoch; `None` where they have nothing. Both
/// stores number their states alike, and the layers are `of` the one.
pub(crate) fn bring(
    of: &Arc<StoreInner>,
    into: &Arc<StoreInner>,
    slices: &[Slice],
    epoch: Epoch,
) -> Result<Option<Arc<LazySegment>>> {
    let layers = slices.iter().flat_map(|slice| &slice.layers);
    let inputs: HashMap<_, _> = layers.map(|layer| (layer.segment.id(), Arc::clone(&layer.segment))).collect();
    let inputs: Vec<Arc<LazySegment>> = inputs.into_values().collect();
    if inputs.is_empty() {
        return Ok(None);
    }
    let mut sink = Sink::of_flushes(into, &inputs).of_epoch(epoch);
    for slice in slices.iter().filter(|slice| !slice.layers.is_empty()) {
        merge_into(of, &mut sink, slice, (false, of.purge_clock.now_ms()), || false)?;
    }
    let output = sink.finish()?.into_iter().next();
    Ok(output.map(|output| output.layer(into).segment))
}

/// Deletes a segment that was brought and that nothing names.
pub(crate) fn take_away(store: &StoreInner, segment: &LazySegment) {
    remove_named(store, segment.id());
}
