//! What is merged at once: the same of several slices, so that they take one file together and not one each.
//!
//! A host copies and counts the files that are new to a checkpoint, so there are to be few. Segments of a bottom grow with
//! the store, up to a bound; neighbours that are small are merged into one; runs are merged for all slices that have too
//! many; and where many files are new since the last checkpoint, what is not pressing waits for the next.

use super::Schedule;
use super::pick::{self, BOTTOM, Choice, bytes_in};
use crate::ids::SegmentId;
use crate::stack::{LazySegment, Slice, Version};
use crate::store::StoreInner;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A bottom has about so many segments, as long as they don't become too long.
const FRAGMENTS: f64 = 10.0;
/// Neighbours become one segment of up to so many of that length; from one and a half on it would be cut again.
const JOINED: f64 = 1.25;
/// They become no longer than so many of the shortest.
const FRAGMENT_BOUND: u64 = 4;
/// From so many files on that are new since the last checkpoint bottoms wait for the next, unless that takes too much room.
const NEW_FILES_MAX: usize = 12;

/// What is merged of a slice.
#[derive(Clone, Debug)]
pub struct Part {
    /// The slice as it was when it was picked.
    pub slice: Arc<Slice>,
    /// Which of its layers.
    pub choice: Choice,
}

/// What is merged into the same files: whole neighbouring slices, or the runs of any, in the order of their key groups.
#[derive(Clone, Debug)]
pub struct Work {
    /// The parts, at least one.
    pub parts: Vec<Part>,
    /// Whether they are all that lies below them.
    pub bottom: bool,
    /// About how long a segment of a bottom is to become, in bytes.
    pub fragment_bytes: u64,
    /// The first key group that was not looked at.
    pub next_group: u32,
}

impl Part {
    /// The layers to be merged, as a slice of their own.
    pub fn inputs(&self) -> Slice {
        Slice { range: self.slice.range, layers: self.slice.layers[self.choice.layers.clone()].to_vec() }
    }

    fn bytes(&self) -> f64 {
        bytes_of(&self.slice, &self.choice)
    }

    /// About how many will be left: what lies above a bottom mostly replaces what is in it. Where it doesn't, the bottom
    /// grows, and is cut when it is merged the next time.
    fn bytes_left(&self) -> f64 {
        let bottoms = self.slice.layers[self.choice.layers.clone()].iter();
        let bytes = bottoms
            .filter(|layer| layer.segment.meta().level == BOTTOM)
            .map(|layer| bytes_in(&self.slice, layer))
            .sum();
        if bytes > 0.0 { bytes } else { self.bytes() }
    }

    fn is_here(&self) -> bool {
        self.slice.layers[self.choice.layers.clone()].iter().all(|layer| layer.segment.is_here())
    }
}

impl Work {
    /// The segments to be merged, each once.
    pub fn inputs(&self) -> Vec<Arc<LazySegment>> {
        let mut seen = HashSet::new();
        let layers = self.parts.iter().flat_map(|part| &part.slice.layers[part.choice.layers.clone()]);
        layers.filter(|layer| seen.insert(layer.segment.id())).map(|layer| Arc::clone(&layer.segment)).collect()
    }

    /// About how many bytes will be left of them.
    pub fn bytes_left(&self) -> f64 {
        self.parts.iter().map(Part::bytes_left).sum()
    }
}

fn bytes_of(slice: &Slice, choice: &Choice) -> f64 {
    slice.layers[choice.layers.clone()].iter().map(|layer| bytes_in(slice, layer)).sum()
}

/// The segments that the newest checkpoint names; `None` where there is none.
pub fn known(store: &StoreInner) -> Option<HashSet<SegmentId>> {
    let catalogue = store.catalogue.lock();
    let (_, newest) = catalogue.kept.last_key_value()?;
    Some(newest.manifest.segments.iter().map(|meta| meta.id).collect())
}

fn has_many_new(store: &StoreInner, version: &Version) -> bool {
    let Some(known) = known(store) else { return false };
    version.segments().iter().filter(|segment| !known.contains(&segment.id())).count() >= NEW_FILES_MAX
}

/// Picks what is to be merged, from a key group on.
pub struct Picker<'a> {
    version: &'a Version,
    schedule: &'a Schedule,
    everything: bool,
    /// Whether whole slices are merged for what has expired in them alone.
    expires: bool,
    /// Whether so many files are new that bottoms had better wait.
    waits: bool,
    fragment_bytes: u64,
}

impl<'a> Picker<'a> {
    /// For an arrangement; `everything`: all that can be merged, wherever it is and however many files it makes.
    pub fn new(store: &'a StoreInner, version: &'a Version, everything: bool, expires: bool) -> Self {
        let schedule = &store.compaction;
        let least = schedule.fragment_bytes.load(Ordering::Relaxed);
        let all = |slice: &Arc<Slice>| slice.layers.iter().map(|layer| bytes_in(slice, layer)).sum::<f64>();
        let bytes: f64 = version.slices.iter().map(all).sum();
        let fragment_bytes = ((bytes / FRAGMENTS) as u64).clamp(least, least * FRAGMENT_BOUND);
        let waits = !everything && has_many_new(store, version);
        Self { version, schedule, everything, expires, waits, fragment_bytes }
    }

    /// Slices are gone through in turn, so that one that is always full doesn't keep the others waiting.
    pub fn pick(&self, from: u32) -> Option<Work> {
        let starts = self.version.slices.partition_point(|slice| u32::from(slice.range.first()) < from);
        for (at, slice) in self.version.slices.iter().enumerate().skip(starts) {
            let Some(part) = self.part(slice) else { continue };
            return Some(if part.choice.bottom { self.bottoms(at, part) } else { self.runs(at, part) });
        }
        None
    }

    /// What is to be merged of a slice. What the host has yet to bring is merged when it is here, unless somebody waits.
    fn part(&self, slice: &Arc<Slice>) -> Option<Part> {
        let choice = match self.waits {
            false => pick::choose(slice, self.everything),
            true => pick::choose_runs(slice, pick::RUNS_MAX + 1),
        };
        let choice = choice.or_else(|| if self.expires { pick::all_of(slice) } else { None });
        let is_wanted = choice.is_some();
        // While a bottom is elsewhere, the runs above it go on being merged.
        let runs = || pick::choose_runs(slice, pick::RUNS_MAX + 1).filter(|runs| is_wanted && !runs.bottom);
        self.available(slice, choice).or_else(|| self.available(slice, runs()))
    }

    fn available(&self, slice: &Arc<Slice>, choice: Option<Choice>) -> Option<Part> {
        let part = Part { slice: Arc::clone(slice), choice: choice? };
        (self.everything || part.is_here() && !self.schedule.is_put_off(slice)).then_some(part)
    }

    /// A slice, and the neighbours behind it as long as all fits into about one segment: those that are to be merged as well, and
    /// those that are so small that they had better have been one with it.
    fn bottoms(&self, at: usize, first: Part) -> Work {
        let fragment_bytes = self.fragment_bytes;
        let mut bytes = first.bytes_left();
        let mut parts = vec![first];
        for slice in &self.version.slices[at + 1..] {
            let small = || pick::all_of(slice).filter(|all| bytes_of(slice, all) < fragment_bytes as f64 / 4.0);
            let is_convertible = slice.layers.iter().all(|layer| layer.obstacle().is_none());
            let wanted = self.part(slice).filter(|part| part.choice.bottom);
            let Some(part) = wanted.or_else(|| self.available(slice, small().filter(|_| is_convertible))) else {
                break;
            };
            bytes += part.bytes_left();
            if bytes > fragment_bytes as f64 * JOINED {
                break;
            }
            parts.push(part);
        }
        let next_group = parts.last().map_or(0, |part| u32::from(part.slice.range.last()) + 1);
        Work { parts, bottom: true, fragment_bytes, next_group }
    }

    /// The runs of a slice, and those of all others that have many, too.
    fn runs(&self, at: usize, first: Part) -> Work {
        let fragment_bytes = self.fragment_bytes;
        let next_group = u32::from(first.slice.range.last()) + 1;
        let mut bytes = first.bytes();
        let mut parts = vec![(at, first)];
        let (before, behind) = self.version.slices.split_at(at);
        let others = behind.iter().enumerate().skip(1).map(|(ahead, slice)| (at + ahead, slice));
        for (at, slice) in others.chain(before.iter().enumerate()) {
            let Some(part) = self.available(slice, pick::runs_to_join(slice, self.waits)) else { continue };
            bytes += part.bytes();
            parts.push((at, part));
            if bytes > (fragment_bytes * FRAGMENT_BOUND) as f64 {
                break;
            }
        }
        parts.sort_unstable_by_key(|(at, _)| *at);
        let parts = parts.into_iter().map(|(_, part)| part).collect();
        Work { parts, bottom: false, fragment_bytes, next_group }
    }
}
