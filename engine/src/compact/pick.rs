//! Which layers of a slice to merge.

use super::hidden::hidden_in;
use crate::segment::SegmentMeta;
use crate::stack::{Layer, Slice};
use std::ops::Range;

/// The overlay is merged into the bottom when it is this share of it.
const OVERLAY_SHARE: f64 = 0.3;
/// With more layers than this above the bottom, they are merged among themselves.
pub const RUNS_MAX: usize = 10;
/// With so many a slice takes part in a merge that another one needs.
const RUNS_TO_JOIN: usize = 8;
/// The level of segments that a whole stack was merged into.
pub const BOTTOM: u8 = 2;
/// The level of segments that flushes were merged into.
pub const TIER: u8 = 1;

/// Layers to be merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Which layers, newest first.
    pub layers: Range<usize>,
    /// Whether they are all that lies below them: then tombstones go.
    pub bottom: bool,
}

/// About how many bytes of a layer lie in the slice.
pub fn bytes_in(slice: &Slice, layer: &Layer) -> f64 {
    layer.segment.meta().file_bytes as f64 * share_in(slice, layer)
}

/// Which share of a layer's key groups lies in the slice.
fn share_in(slice: &Slice, layer: &Layer) -> f64 {
    let meta = layer.segment.meta();
    let count = meta.groups.intersect(slice.range).map_or(0, |range| range.count());
    count as f64 / meta.groups.count() as f64
}

/// About how many bytes of a bottom the tombstones of single records above it take away: each a record of its mean size. A
/// tombstone is small, so state that is deleted key by key would keep its room until much else is written. As many as there are
/// puts above may be of those, which come and go without reaching the bottom.
fn deleted_of(slice: &Slice, above: &[Layer], below: &[Layer]) -> f64 {
    let (puts, deleted) = (count_in(slice, above, puts_of), count_in(slice, above, deletions_of));
    mean_bytes(slice, below) * (deleted - puts).clamp(0.0, count_in(slice, below, puts_of))
}

/// The same of layers without a bottom.
fn deleted_among(slice: &Slice, layers: &[Layer]) -> f64 {
    mean_bytes(slice, layers) * count_in(slice, layers, deletions_of).min(count_in(slice, layers, puts_of))
}

const fn puts_of(meta: &SegmentMeta) -> u64 {
    meta.entries - meta.tombstones
}

const fn deletions_of(meta: &SegmentMeta) -> u64 {
    meta.tombstones - meta.clears
}

/// About how many records of a kind these layers have in the slice.
fn count_in(slice: &Slice, layers: &[Layer], of: fn(&SegmentMeta) -> u64) -> f64 {
    layers.iter().map(|layer| of(layer.segment.meta()) as f64 * share_in(slice, layer)).sum()
}

/// About what a record of these layers takes.
fn mean_bytes(slice: &Slice, layers: &[Layer]) -> f64 {
    let bytes: f64 = layers.iter().map(|layer| bytes_in(slice, layer)).sum();
    bytes / count_in(slice, layers, puts_of).max(1.0)
}

/// All layers of a slice, if it has any.
pub fn all_of(slice: &Slice) -> Option<Choice> {
    (!slice.layers.is_empty()).then_some(Choice { layers: 0..slice.layers.len(), bottom: true })
}

/// What to merge in a slice, if anything; `everything`: all that can be merged.
pub fn choose(slice: &Slice, everything: bool) -> Option<Choice> {
    let layers = &slice.layers;
    let overlay = overlay_of(slice);
    let bottoms = layers.len() - overlay;
    let all = all_of(slice);
    if layers.iter().any(|layer| layer.older.is_some()) {
        // Values of an older schema are converted by rewriting the slice. What can't be converted yet is left alone.
        return all.filter(|_| layers.iter().all(|layer| layer.obstacle().is_none()));
    }
    if everything {
        let clean = overlay == 0 && layers.iter().all(|layer| layer.segment.meta().tombstones == 0);
        return all.filter(|_| !clean);
    }
    if overlay == 0 {
        return None;
    }
    let (above, below) = layers.split_at(overlay);
    let bytes = |layers: &[Layer]| layers.iter().map(|layer| bytes_in(slice, layer)).sum::<f64>();
    if bottoms == 0 {
        // Nothing to be rewritten below, so the first merge waits for a few runs only, or until much of them is deleted.
        let much_deleted = deleted_among(slice, layers) >= bytes(layers) * OVERLAY_SHARE;
        return all.filter(|_| overlay >= RUNS_MAX / 2 || much_deleted);
    }
    // What is hidden or deleted below is as good a reason as what lies above.
    let over = bytes(above) + hidden_in(slice) + deleted_of(slice, above, below);
    if over >= bytes(below) * OVERLAY_SHARE {
        return all;
    }
    if overlay <= RUNS_MAX {
        return None;
    }
    Some(newest_runs(slice, overlay))
}

/// What to merge in a slice whose bottom had better wait: it doesn't where what lies above is as large as itself.
pub fn choose_runs(slice: &Slice, runs_min: usize) -> Option<Choice> {
    let overlay = overlay_of(slice);
    let bytes = |layers: &[Layer]| layers.iter().map(|layer| bytes_in(slice, layer)).sum::<f64>();
    if bytes(&slice.layers[..overlay]) + hidden_in(slice) >= bytes(&slice.layers[overlay..]) {
        return choose(slice, false);
    }
    let choice = (overlay >= runs_min).then(|| newest_runs(slice, overlay))?;
    slice.layers[choice.layers.clone()].iter().all(|layer| layer.obstacle().is_none()).then_some(choice)
}

/// The newest runs of a slice, if it has so many that they can as well be merged when another slice's have to be. One that
/// is to be merged into its bottom isn't merged before, unless that `waits`.
pub fn runs_to_join(slice: &Slice, waits: bool) -> Option<Choice> {
    let whole = choose(slice, false).is_some_and(|choice| choice.bottom);
    choose_runs(slice, RUNS_TO_JOIN).filter(|choice| !choice.bottom && (waits || !whole))
}

/// How many layers lie above the bottom.
pub fn overlay_of(slice: &Slice) -> usize {
    let bottoms = slice.layers.iter().rev().take_while(|layer| layer.segment.meta().level == BOTTOM).count();
    slice.layers.len() - bottoms
}

/// The newest runs of an overlay of so many layers.
fn newest_runs(slice: &Slice, overlay: usize) -> Choice {
    let layers = &slice.layers;
    // Merge the newest runs that are of a kind: those up to the first that is larger than all before it together.
    let mut sum = 0.0;
    let mut count = 0;
    for layer in &layers[..overlay] {
        let bytes = bytes_in(slice, layer);
        if count >= RUNS_MAX / 2 && bytes > sum {
            break;
        }
        sum += bytes;
        count += 1;
    }
    Choice { layers: 0..count, bottom: false }
}
