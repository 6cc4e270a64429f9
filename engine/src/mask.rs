//! What hides entries of one map from those who walk through its segments: what was cleared of it, by span.
//!
//! A Clear hides what lies in strictly older layers, a marker in memory what lies in any: so a mask counts from some
//! layer on downwards.

use crate::key::{ENTRY_MARK, prefix_end};
use crate::spans::{SpanRef, Spans};

/// The masks of one container.
#[derive(Debug, Default)]
pub struct Masks {
    /// The container's sort key, in the store's numbering of states.
    container: Vec<u8>,
    /// Spans, and the first layer that they hide entries of, counted from the newest.
    masks: Vec<(usize, Spans)>,
    /// The same in one: from which user key on which layer is the first in which entries are hidden, the first step from the empty
    /// key on. Made when it is asked for, and empty before.
    steps: Vec<(Vec<u8>, usize)>,
    /// The step that was found last: walks come to it again, or to its neighbour.
    at: usize,
}

impl Masks {
    /// Nothing of this container is hidden yet.
    pub fn new(container: &[u8]) -> Self {
        Self { container: container.to_vec(), ..Self::default() }
    }

    /// Hides these spans in the layer `from` and all older ones.
    pub fn add(&mut self, from: usize, spans: Spans) {
        if !spans.is_empty() {
            self.masks.push((from, spans));
            self.steps.clear();
        }
    }

    /// Whether nothing is hidden.
    pub const fn is_empty(&self) -> bool {
        self.masks.is_empty()
    }

    /// The container.
    pub fn container(&self) -> &[u8] {
        &self.container
    }

    /// The user key of an entry of this container.
    pub fn user_key<'a>(&self, sort_key: &'a [u8]) -> Option<&'a [u8]> {
        sort_key.strip_prefix(&self.container[..])?.strip_prefix(&[ENTRY_MARK])
    }

    /// The first layer in which an entry is hidden; `usize::MAX` where it is in none.
    pub fn hidden_from(&mut self, sort_key: &[u8]) -> usize {
        if self.masks.is_empty() {
            return usize::MAX;
        }
        if self.steps.is_empty() {
            self.steps = steps(&self.masks);
        }
        let Some(user_key) = self.user_key(sort_key) else { return usize::MAX };
        let steps = &self.steps;
        let has = |at: usize| {
            let from = steps.get(at).is_some_and(|(from, _)| from.as_slice() <= user_key);
            from && steps.get(at + 1).is_none_or(|(next, _)| user_key < next.as_slice())
        };
        let near = [self.at, self.at + 1].into_iter().find(|&at| has(at));
        let search = || steps.partition_point(|(from, _)| from.as_slice() <= user_key) - 1;
        let at = near.unwrap_or_else(search);
        let layer = steps[at].1;
        self.at = at;
        layer
    }

    /// The first sort key behind what hides an entry in a layer: `None` where nothing does, and in it, where nothing more of the
    /// store follows.
    pub fn behind(&self, sort_key: &[u8], layer: usize) -> Option<Option<Vec<u8>>> {
        let span = self.hiding(sort_key, layer)?;
        let mut end = self.container.clone();
        end.push(ENTRY_MARK);
        Some(span.to.map_or_else(|| prefix_end(&end), |to| Some([&end[..], to].concat())))
    }

    /// The span that hides an entry in a layer.
    pub fn hiding(&self, sort_key: &[u8], layer: usize) -> Option<SpanRef<'_>> {
        let user_key = self.user_key(sort_key)?;
        self.masks.iter().filter(|(from, _)| *from <= layer).find_map(|(_, spans)| spans.find(user_key))
    }
}

/// See [`Masks::steps`].
fn steps(masks: &[(usize, Spans)]) -> Vec<(Vec<u8>, usize)> {
    let spans = || masks.iter().flat_map(|(layer, spans)| spans.iter().map(|span| (*layer, span)));
    let mut keys: Vec<&[u8]> = spans().flat_map(|(_, span)| [Some(span.from), span.to]).flatten().collect();
    keys.push(&[]);
    keys.sort_unstable();
    keys.dedup();
    let mut layers = vec![usize::MAX; keys.len()];
    let place = |key: &[u8]| keys.partition_point(|&known| known < key);
    for (layer, span) in spans() {
        let end = span.to.map_or(keys.len(), place);
        layers[place(span.from)..end].iter_mut().for_each(|first| *first = layer.min(*first));
    }
    let mut steps: Vec<(Vec<u8>, usize)> = Vec::with_capacity(keys.len());
    for (key, layer) in keys.into_iter().zip(layers) {
        if steps.last().is_none_or(|(_, last)| *last != layer) {
            steps.push((key.to_vec(), layer));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random spans in random layers, asked in order, backwards and at random, beside a look at each of them.
    #[test]
    fn the_first_hiding_layer_is_that_of_all_spans() {
        let mut random = crate::manifest::sample::Random::announced("hiding layers");
        for round in 0..200 {
            let mut masks = Masks::new(b"container");
            let mut all = Vec::new();
            for _ in 0..random.below(6) {
                let (layer, mut spans) = (random.below(5), Spans::default());
                for _ in 0..=random.below(3) {
                    let (from, to) = (random.below(40) as u8, random.below(44) as u8);
                    spans.insert(&[from], (to < 40).then_some(&[to]), 0);
                }
                all.push((layer, spans.clone()));
                masks.add(layer, spans);
            }
            let ask = |masks: &mut Masks, key: u8| {
                let expected =
                    all.iter().filter(|(_, spans)| spans.find(&[key]).is_some()).map(|(layer, _)| *layer).min();
                let sort_key = [b"container", &[ENTRY_MARK][..], &[key]].concat();
                assert_eq!(masks.hidden_from(&sort_key), expected.unwrap_or(usize::MAX), "round {round}, key {key}");
            };
            (0..45).for_each(|key| ask(&mut masks, key));
            (0..45).rev().for_each(|key| ask(&mut masks, key));
            (0..45).for_each(|_| ask(&mut masks, random.below(45) as u8));
            assert_eq!(masks.hidden_from(b"another"), usize::MAX);
        }
    }
}
