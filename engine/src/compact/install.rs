//! Putting the outputs of a merge where its inputs were.

use super::merge::{self, Output};
use super::share_segments;
use super::work::{Part, Work};
use crate::error::{Error, Result};
use crate::ids::KeyGroupRange;
use crate::reclaim;
use crate::stack::{Layer, Slice, Version};
use crate::store::StoreInner;
use std::sync::Arc;

/// Puts the outputs where the inputs were, in the version of now. Flushes may have come on top meanwhile. Where slices were `rearranged` more
/// often for rollbacks since, the outputs are for nothing: the inputs may not be there any more, and the purge clock was set back.
pub fn install(store: &Arc<StoreInner>, work: &Work, outputs: &[Output], rearranged: u64) -> Result<()> {
    let made: Vec<Layer> = outputs.iter().map(|output| output.layer(store)).collect();
    let mut catalogue = store.catalogue.lock();
    let mut version = store.version.lock();
    if store.rollbacks.lock().rearranged() != rearranged {
        outputs.iter().for_each(|output| merge::remove(store, output));
        return Ok(());
    }
    let slices = replaced(&version, work, outputs, &made)?;
    *version = Arc::new(Version { slices: share_segments(slices) });
    for shard in store.shards.lock().iter() {
        shard.publish(Arc::clone(&version), None);
    }
    reclaim::note(&mut catalogue, &work.inputs());
    Ok(())
}

/// The slices with the outputs in them.
fn replaced(version: &Version, work: &Work, outputs: &[Output], made: &[Layer]) -> Result<Vec<Arc<Slice>>> {
    let mut slices = version.slices.clone();
    if work.bottom {
        whole(&mut slices, work, outputs, made)?;
        return Ok(slices);
    }
    for part in &work.parts {
        let at = position(&slices, part)?;
        let (above, below) = around(&slices[at], part)?;
        let reaching = made.iter().filter(|layer| reaches(layer, part.slice.range));
        let layers = above.iter().chain(reaching).chain(below).cloned().collect();
        slices[at] = Arc::new(Slice { range: part.slice.range, layers });
    }
    Ok(slices)
}

fn reaches(layer: &Layer, range: KeyGroupRange) -> bool {
    layer.segment.meta().groups.intersect(range).is_some()
}

/// Neighbouring slices become as many as the outputs need, usually one.
fn whole(slices: &mut Vec<Arc<Slice>>, work: &Work, outputs: &[Output], made: &[Layer]) -> Result<()> {
    let (Some(first), Some(last)) = (work.parts.first(), work.parts.last()) else { return Ok(()) };
    let at = position(slices, first)?;
    let mut above: Vec<(KeyGroupRange, Vec<Layer>)> = Vec::with_capacity(work.parts.len());
    for (ahead, part) in work.parts.iter().enumerate() {
        let now = slices.get(at + ahead).filter(|now| now.range == part.slice.range).ok_or_else(changed)?;
        above.push((now.range, around(now, part)?.0.to_vec()));
    }
    let range = KeyGroupRange::new(first.slice.range.first(), last.slice.range.last());
    let mut replaced = Vec::new();
    for range in merge::ranges(range, outputs, true) {
        let on_top: Vec<_> = above.iter().filter(|(of, _)| of.intersect(range).is_some()).collect();
        let mut add = |range, mut layers: Vec<Layer>| {
            layers.extend(made.iter().cloned());
            layers.retain(|layer| reaches(layer, range));
            replaced.push(Arc::new(Slice { range, layers }));
        };
        match united(on_top.iter().map(|(_, layers)| layers)).filter(|_| are_alike(&on_top)) {
            Some(layers) => add(range, layers),
            None => {
                for (of, layers) in on_top {
                    of.intersect(range).into_iter().for_each(|range| add(range, layers.clone()));
                }
            }
        }
    }
    slices.splice(at..at + work.parts.len(), replaced);
    Ok(())
}

/// Whether each layer that lies on top of a slice lies on top of every other that it reaches, and shows the same there. It doesn't where
/// what it has of some key groups was rolled back. Then the slices stay apart, as they do where they are of no one order.
fn are_alike(stacks: &[&(KeyGroupRange, Vec<Layer>)]) -> bool {
    let shows = |(range, others): &(KeyGroupRange, Vec<Layer>), layer: &Layer| {
        !reaches(layer, *range)
            || others.iter().any(|other| other.segment.id() == layer.segment.id() && is_same(other, layer))
    };
    stacks.iter().flat_map(|(_, layers)| layers).all(|layer| stacks.iter().all(|stack| shows(stack, layer)))
}

/// Whether two layers of one segment show the same of it.
fn is_same(a: &Layer, b: &Layer) -> bool {
    let is_of_one_schema = match (&a.older, &b.older) {
        (Some(a), Some(b)) => a.is_same(b),
        (a, b) => a.is_none() && b.is_none(),
    };
    is_of_one_schema && (Arc::ptr_eq(&a.map, &b.map) || a.map == b.map)
}

/// What lies on top of several slices, newest first. Each stack is part of one order, that in which all of it came on top
/// (no order of epochs: each shard counts its own). What lies above in one slice was merged in none, so that a layer comes into a
/// slice that had nothing of it changes nothing.
/// `None` where they are of no one order.
fn united<'a>(stacks: impl Iterator<Item = &'a Vec<Layer>>) -> Option<Vec<Layer>> {
    let mut stacks: Vec<&[Layer]> = stacks.map(Vec::as_slice).collect();
    let mut all: Vec<Layer> = Vec::new();
    loop {
        let is_under = |id| stacks.iter().any(|stack| stack.iter().skip(1).any(|layer| layer.segment.id() == id));
        let next = stacks.iter().filter_map(|stack| stack.first()).find(|layer| !is_under(layer.segment.id()));
        let Some(next) = next.cloned() else { return stacks.iter().all(|stack| stack.is_empty()).then_some(all) };
        for stack in &mut stacks {
            if let Some((first, rest)) = stack.split_first()
                && first.segment.id() == next.segment.id()
            {
                *stack = rest;
            }
        }
        all.push(next);
    }
}

fn changed() -> Error {
    Error::Background("a slice changed under its compaction".into())
}

fn position(slices: &[Arc<Slice>], part: &Part) -> Result<usize> {
    slices.iter().position(|now| now.range == part.slice.range).ok_or_else(changed)
}

/// What lies above and below the inputs now.
fn around<'a>(now: &'a Slice, part: &Part) -> Result<(&'a [Layer], &'a [Layer])> {
    let inputs = &part.slice.layers[part.choice.layers.clone()];
    let under = part.slice.layers.len() - part.choice.layers.start;
    let first = now.layers.len().checked_sub(under).ok_or_else(changed)?;
    let contiguous = now.layers.get(first..first + inputs.len()).is_some_and(|layers| {
        layers.iter().zip(inputs).all(|(a, b)| a.segment.id() == b.segment.id() && is_same(a, b))
    });
    if !contiguous {
        return Err(Error::Background("the inputs of a compaction are not contiguous any more".into()));
    }
    Ok((&now.layers[..first], &now.layers[first + inputs.len()..]))
}
